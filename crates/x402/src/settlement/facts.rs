//! What each fact of the chain means to a payment: one function per fact, and the only places where its state changes.
//!
//! A fact names its block, so that a late or doubled answer can never be taken for a newer one.

use candor_verify::bytes::{Address, Hash32};

use super::config::MachineConfig;
use super::event::{AuthorizationState, BlockRef, TxReceipt, TxStatus};
use super::lane::{Lane, TxKey};
use super::outcome::{FailureCode, SettledBy, SettlementStatus};
use super::payment::{Awaiting, Payment, Record, Revert};

/// The pause after the first try in vain. In seconds and not in polls: a chain that is polled often is no reason to try more often.
const RETRY_MS: u64 = 1_000;

/// The pause grows to 32 times the first.
const MAX_DOUBLINGS: u32 = 5;

/// A transfer in a block that is not deep.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Included {
    pub(super) tx_hash: Hash32,
    pub(super) block: u64,
    pub(super) by: SettledBy,
}

impl Payment {
    /// The call would revert: the authorization says why.
    pub(super) fn on_tried_in_vain(&mut self, block: u64) {
        if self.awaiting == Awaiting::Try {
            self.go_at_once(Awaiting::Reason { revert: Revert::Tried, block });
        }
    }

    /// The call passed, and this transaction is to make it. It is sent once that is durable.
    pub(super) fn on_transaction(&mut self, tx: TxKey, now_ms: u64, config: &MachineConfig) {
        self.go(Awaiting::Landing { tx });
        self.record = Record::Changed;
        self.round_at_ms = now_ms.saturating_add(config.poll_ms);
    }

    /// Its transaction was tried once more instead of being sent, and would revert.
    pub(super) fn on_unsent(&mut self, block: u64) {
        if let Awaiting::Landing { tx } = self.awaiting {
            self.go_at_once(Awaiting::Reason { revert: Revert::Unsent { tx }, block });
        }
    }

    /// Price or hashes of its transaction are others now.
    pub(super) fn on_transaction_changed(&mut self) {
        if self.tx().is_some() {
            self.record = Record::Changed;
        }
    }

    /// By the chain's clock no block from now on can include it.
    pub(super) fn on_over(&mut self) {
        if matches!(self.awaiting, Awaiting::Pause { .. } | Awaiting::Try | Awaiting::Landing { .. }) {
            self.go_at_once(Awaiting::End { tx: self.tx() });
        }
    }

    /// One of the transactions is in a block. Gives a transfer that is not deep.
    pub(super) fn on_receipt(&mut self, receipt: &TxReceipt, config: &MachineConfig, lane: &mut Lane) -> Option<Included> {
        let tx = self.tx()?;
        let transaction = lane.get_mut(tx).filter(|transaction| transaction.hashes().contains(&receipt.hash))?;
        transaction.on_in_block();
        let status = self.judge(receipt, SettledBy::Us);
        if receipt.confirmations < config.confirmations {
            return not_deep(status);
        }
        lane.on_deep(tx, receipt.block);
        let may_be_open = receipt.status == TxStatus::Reverted || self.intent.transfer().may_be_untouched_by(&receipt.logs);
        match &self.awaiting {
            _ if !may_be_open => self.finish(status, config, lane),
            // It is known, and the authorization has not said why yet.
            Awaiting::Reason { .. } => {}
            // Perhaps because a third party was first: the authorization decides.
            _ => self.go_at_once(Awaiting::Reason { revert: Revert::Mined { tx }, block: receipt.block }),
        }
        None
    }

    /// None of the transactions is in a block.
    pub(super) fn on_receipt_missing(&mut self, now_ms: u64, lane: &mut Lane) {
        // A deep revert is no more taken out of its block.
        let is_deep = matches!(self.awaiting, Awaiting::Reason { revert: Revert::Mined { .. }, .. });
        if let Some(transaction) = self.tx().filter(|_| !is_deep).and_then(|tx| lane.get_mut(tx)) {
            transaction.on_in_no_block(now_ms);
        }
    }

    /// The authorization itself: what decides whenever our own transactions do not. Gives a transfer that is not deep.
    pub(super) fn on_authorization(
        &mut self,
        state: &AuthorizationState,
        at: BlockRef,
        now_ms: u64,
        config: &MachineConfig,
        lane: &mut Lane,
    ) -> Option<Included> {
        if matches!(self.awaiting, Awaiting::Record { .. }) {
            return None;
        }
        match state {
            AuthorizationState::Used { transaction: Some(receipt) } => {
                let status = self.judge(receipt, self.submitter(receipt, &config.gas_account, lane));
                if config.confirmations <= receipt.confirmations {
                    self.finish(status, config, lane);
                    return None;
                }
                self.on_used(lane);
                return not_deep(status);
            }
            // Used, and the logs do not say how for so long that they never will.
            AuthorizationState::Used { transaction: None } if self.intent.ends_at_ms().saturating_add(config.lookup_grace_ms) <= now_ms => {
                self.finish(SettlementStatus::Failed { code: FailureCode::NonceAlreadyUsed }, config, lane);
            }
            AuthorizationState::Used { transaction: None } => self.on_used(lane),
            AuthorizationState::Unused => self.on_unused(at, now_ms, config, lane),
        }
        None
    }

    /// Nothing more is to be sent. An account nonce that nobody has is given back: all higher ones wait for it, and payers can use their
    /// authorizations up themselves, one after the other.
    fn on_used(&mut self, lane: &mut Lane) {
        let tx = self.tx();
        match tx {
            // It did nothing, in a deep block: what the use was is not to be read from it.
            Some(_) if matches!(self.awaiting, Awaiting::Reason { revert: Revert::Mined { .. }, .. }) => {
                self.drop_transaction(Awaiting::Use { tx: None }, lane);
            }
            Some(unknown) if lane.get(unknown).is_none_or(|transaction| !transaction.may_be_out()) => {
                self.drop_transaction(Awaiting::Use { tx: None }, lane);
            }
            Some(_) | None => self.go(Awaiting::Use { tx }),
        }
    }

    fn on_unused(&mut self, at: BlockRef, now_ms: u64, config: &MachineConfig, lane: &mut Lane) {
        // Token bounds are strict: no block from validBefore on can include it. By the block's clock, not ours.
        if self.intent.valid_before() <= at.timestamp {
            let code = FailureCode::SimulationFailed;
            let status = if self.in_vain == 0 { SettlementStatus::Expired } else { SettlementStatus::Failed { code } };
            return self.finish(status, config, lane);
        }
        match self.awaiting {
            // Nothing was sent, so an account nonce that it has is free again. While the authorization lasts, a revert is no end: a payer
            // who could end it by an empty account for the moment of one block would have the answer for nothing.
            Awaiting::Reason { revert: Revert::Tried | Revert::Unsent { .. }, block } if block <= at.number => self.try_later(now_ms, lane),
            Awaiting::Reason { revert: Revert::Mined { .. }, block } if block <= at.number => {
                if self.use_up_attempt(config, lane) {
                    self.try_later(now_ms, lane);
                }
            }
            // From before the revert: it does not explain it.
            Awaiting::Reason { .. } => {}
            // A reorganisation took the use out again, or this node's clock is behind the one that said it is over.
            Awaiting::Use { tx } | Awaiting::End { tx } => match tx {
                Some(tx) => {
                    self.awaiting = Awaiting::Landing { tx };
                    self.on_unused_while_landing(tx, at, config, lane);
                }
                None => self.awaiting = Awaiting::Try,
            },
            Awaiting::Landing { tx } => self.on_unused_while_landing(tx, at, config, lane),
            Awaiting::Pause { .. } | Awaiting::Try | Awaiting::Record { .. } => {}
        }
    }

    fn on_unused_while_landing(&mut self, tx: TxKey, at: BlockRef, config: &MachineConfig, lane: &mut Lane) {
        let Some(transaction) = lane.get(tx) else { return };
        if lane.is_used_by(tx, at.number) && !transaction.is_in_block() {
            // The nonce is gone and the authorization is not: nothing of this transaction can land any more, so another one is not a second
            // beside a live first.
            if self.use_up_attempt(config, lane) {
                self.drop_transaction(Awaiting::Try, lane);
                self.hurry();
            }
        } else if let Some(transaction) = lane.get_mut(tx) {
            transaction.on_rows_unsettled();
        }
    }

    /// An account nonce was used up without effect. False if it was the last that may be.
    fn use_up_attempt(&mut self, config: &MachineConfig, lane: &mut Lane) -> bool {
        self.attempts = self.attempts.saturating_add(1);
        let may_go_on = self.attempts < config.max_attempts;
        if !may_go_on {
            self.finish(SettlementStatus::Failed { code: FailureCode::TransactionFailed }, config, lane);
        }
        may_go_on
    }

    /// Gives up the transaction, if there is one, of which nothing can land any more, and waits: twice as long every time.
    fn try_later(&mut self, now_ms: u64, lane: &mut Lane) {
        let pause_ms = RETRY_MS.saturating_mul(1 << self.in_vain.min(MAX_DOUBLINGS));
        self.in_vain = self.in_vain.saturating_add(1);
        self.round_at_ms = now_ms.saturating_add(pause_ms);
        self.drop_transaction(Awaiting::Pause { until_ms: self.round_at_ms }, lane);
    }

    fn drop_transaction(&mut self, to: Awaiting, lane: &mut Lane) {
        // Without a transaction the record says so already: a try in vain costs no write.
        if let Some(tx) = self.tx() {
            lane.drop(tx);
            self.record = Record::Changed;
        }
        self.go(to);
    }

    fn finish(&mut self, status: SettlementStatus, config: &MachineConfig, lane: &mut Lane) {
        let is_out = |tx: &TxKey| lane.get(*tx).is_some_and(|transaction| transaction.may_be_out());
        let slot = self.tx().filter(is_out).and_then(|tx| lane.slot(tx, self.attempts));
        if let Some(tx) = self.tx() {
            lane.abandon(tx, config.max_gas_level);
        }
        // Crash: before this is durable: the older record is found, the chain is asked again and says the same.
        self.go(Awaiting::Record { status, slot });
        self.record = Record::Changed;
    }

    /// What was to be asked was about another state.
    fn go(&mut self, to: Awaiting) {
        self.awaiting = to;
        self.wanted.clear();
    }

    fn go_at_once(&mut self, to: Awaiting) {
        self.go(to);
        self.hurry();
    }

    /// What a transaction that used the authorization, or should have, means.
    fn judge(&self, receipt: &TxReceipt, by: SettledBy) -> SettlementStatus {
        if receipt.status == TxStatus::Success && self.intent.transfer().is_shown_by(&receipt.logs) {
            return SettlementStatus::Settled { tx_hash: receipt.hash, block: receipt.block, by };
        }
        let code = match by {
            SettledBy::Us => FailureCode::TransferEventMismatch,
            SettledBy::ThirdParty => FailureCode::NonceAlreadyUsed,
        };
        SettlementStatus::Failed { code }
    }

    fn submitter(&self, receipt: &TxReceipt, gas_account: &Address, lane: &Lane) -> SettledBy {
        let ours = self.tx().and_then(|tx| lane.get(tx)).is_some_and(|transaction| transaction.hashes().contains(&receipt.hash));
        if ours || receipt.from == *gas_account { SettledBy::Us } else { SettledBy::ThirdParty }
    }
}

fn not_deep(status: SettlementStatus) -> Option<Included> {
    let SettlementStatus::Settled { tx_hash, block, by } = status else { return None };
    Some(Included { tx_hash, block, by })
}
