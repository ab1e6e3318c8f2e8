//! One open settlement inside the machine: what is durable about it, what is only remembered, and what each fact about it means.
//!
//! Facts are judged here, one function per fact; whose turn it is to ask and to send is `machine.rs`. A fact names its block, so that a
//! late or doubled answer can never be taken for a newer one.

use std::collections::BTreeSet;

use candor_verify::bytes::{Address, Hash32};

use super::agenda::{Place, Question, Rank};
use super::event::{AuthorizationState, BlockRef, BroadcastOutcome, ChainRequest, Purpose, Simulation, TxReceipt, TxStatus};
use super::machine::MachineConfig;
use super::nonces::Nonces;
use super::outcome::{FailureCode, SettledBy, SettlementStatus};
use super::store::{MAX_HASHES, Progress, Slot, StoredIntent};

/// The pause after the first try in vain. In seconds and not in polls: a chain that is polled often is no reason to try more often.
const RETRY_MS: u64 = 1_000;

/// The pause grows to 32 times the first.
const MAX_DOUBLINGS: u32 = 5;

/// A settlement that waits for nothing but its turn is looked at again after so many polls, lest it wait for ever.
const IDLE_POLLS: u64 = 32;

/// An open settlement.
#[derive(Debug)]
pub(super) struct Entry {
    /// What is, or is about to be, durable.
    pub(super) stored: StoredIntent,
    /// The record changed since it was last handed out to be written.
    pub(super) dirty: bool,
    /// When the latest record was handed out, until it is known to be durable.
    pub(super) writing_since_ms: Option<u64>,
    pub(super) created_ms: u64,
    pub(super) told_pending: bool,
    /// Where the machine's indexes have it.
    pub(super) placed: Place,
    send: Send,
    poll_at_ms: u64,
    /// Questions that are to be asked, and the one that is out.
    wanted: BTreeSet<Question>,
    asked: Option<Asked>,
    /// When the call was last seen to pass, or a moment before.
    passed_ms: u64,
    /// By the chain's clock it is over: all that is left to learn is how it ended.
    is_over: bool,
    /// A transaction of this slot may be known to somebody. Invariant: false only if it was never handed to the shell, or the shell said
    /// that it was not sent.
    may_be_out: bool,
    /// Whether a node has a transaction with the slot's account nonce, so that the next higher one makes no gap.
    reached: Reached,
    /// Slots it was given since the start.
    attempt: u32,
    /// How often it was tried in vain: the call would have reverted, or did. Lengthens the pause before the next try.
    in_vain: u32,
    /// Not to be tried before.
    not_before_ms: u64,
    seen: Seen,
}

/// A question that is not answered yet.
#[derive(Clone, Copy, Debug)]
struct Asked {
    question: Question,
    at_ms: u64,
}

/// Whether a node was reached with an account nonce.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reached {
    No,
    /// The outcome is not known.
    Perhaps,
    Yes,
}

/// Where the current slot stands between us and the network.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Send {
    /// Restored: the chain is asked before anything is sent again.
    AwaitingAnswer,
    /// To be sent as soon as the record is durable and every lower account nonce was sent; not before this time.
    AwaitingTurn { simulation: Simulation, from_ms: u64 },
    /// Handed to the shell.
    Out { at_ms: u64, simulation: Simulation, raise: bool },
}

/// A transfer in a block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Transfer {
    pub(super) tx_hash: Hash32,
    pub(super) block: u64,
    pub(super) by: SettledBy,
}

/// Facts that do not end the settlement by themselves.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Our transaction is included, not yet deep enough.
    included: bool,
    /// The transfer that the last look found in a block, until it is told.
    transfer: Option<Transfer>,
    /// The authorization is used, not yet explained or not yet deep enough.
    used: bool,
    /// Our transaction reverted in this block.
    reverted_at: Option<u64>,
    /// The call would revert at this block, and nothing was sent: why, the authorization says.
    would_revert_at: Option<u64>,
}

impl Entry {
    pub(super) fn new(stored: StoredIntent, now_ms: u64) -> Self {
        Self {
            stored,
            dirty: true,
            writing_since_ms: None,
            created_ms: now_ms,
            told_pending: false,
            placed: Place::default(),
            send: Send::AwaitingAnswer,
            poll_at_ms: 0,
            wanted: BTreeSet::new(),
            asked: None,
            passed_ms: 0,
            is_over: false,
            may_be_out: false,
            reached: Reached::No,
            attempt: 0,
            in_vain: 0,
            not_before_ms: 0,
            seen: Seen::default(),
        }
    }

    /// After a restart: what was written is durable, and whatever a slot names may be out.
    pub(super) fn restored(stored: StoredIntent) -> Self {
        let (may_be_out, reached) = match &stored.progress {
            Progress::AwaitingReceipt(slot) if !slot.hashes.is_empty() => (true, Reached::Perhaps),
            Progress::AwaitingReceipt(_) => (true, Reached::No),
            Progress::AwaitingNonce { .. } | Progress::Done { .. } => (false, Reached::No),
        };
        Self { dirty: false, may_be_out, reached, ..Self::new(stored, 0) }
    }

    pub(super) fn payment_id(&self) -> Hash32 {
        self.stored.intent.payment_id()
    }

    pub(super) fn is_durable(&self) -> bool {
        !self.dirty && self.writing_since_ms.is_none()
    }

    /// It ended, and nothing more is to be learned.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.stored.progress, Progress::Done { .. })
    }

    /// Where it belongs in the indexes.
    pub(super) fn place(&self, config: &MachineConfig) -> Place {
        let write_at_ms = self.writing_since_ms.map(|since_ms| since_ms.saturating_add(config.persist_retry_ms));
        let asked_at_ms = self.asked.map(|asked| asked.at_ms);
        if self.is_done() {
            return Place { chore_at_ms: write_at_ms, asked_at_ms, ..Place::default() };
        }
        let tell_at_ms = (!self.told_pending).then(|| self.created_ms.saturating_add(config.pending_after_ms));
        let question = self.wanted.first().filter(|_| self.asked.is_none());
        let rank = Rank { tries: self.tries(), valid_before: self.stored.intent.valid_before() };
        let may_rank = |is_try: bool| question.filter(|question| is_try == (**question == Question::Simulation)).map(|_| rank);
        Place {
            poll_at_ms: Some(self.poll_at_ms),
            chore_at_ms: write_at_ms.into_iter().chain(tell_at_ms).min(),
            looks: may_rank(false),
            tries: may_rank(true),
            asked_at_ms,
            account_nonce: self.slot().map(|slot| slot.account_nonce),
            ends_at_s: (!self.is_over).then(|| self.stored.intent.valid_before().0),
        }
    }

    /// Tries in vain, as far as its turn is concerned. First whoever may hold up others, then whoever was never tried.
    fn tries(&self) -> u32 {
        match (self.slot(), self.is_over || self.seen.used) {
            (Some(_), _) => 0,
            // It is asked about once more, or a few times: before all that will be tried again and again.
            (None, true) => 2,
            (None, false) => self.in_vain.saturating_add(if self.seen.would_revert_at.is_some() { 2 } else { 1 }),
        }
    }

    pub(super) fn slot(&self) -> Option<&Slot> {
        match &self.stored.progress {
            Progress::AwaitingReceipt(slot) => Some(slot),
            Progress::AwaitingNonce { .. } | Progress::Done { .. } => None,
        }
    }

    /// Whether a transaction may still be sent: time is left, and nothing says that it would be in vain.
    pub(super) fn may_send(&self, now_ms: u64, nonces: &Nonces) -> bool {
        let in_vain = self.seen.used || self.seen.included || self.seen.reverted_at.is_some() || self.seen.would_revert_at.is_some();
        let used_up = self.slot().is_some_and(|slot| nonces.is_used(slot.account_nonce));
        self.not_before_ms <= now_ms && now_ms < self.stored.intent.ends_at_ms() && !in_vain && !used_up
    }

    /// Whether it may be given an account nonce: a transaction that is sent now would come in time.
    pub(super) fn may_begin(&self, now_ms: u64, config: &MachineConfig, nonces: &Nonces) -> bool {
        self.may_send(now_ms, nonces) && now_ms.saturating_add(config.inclusion_ms) < self.stored.intent.ends_at_ms()
    }

    /// Gives the settlement an account nonce, because its call passed when it was tried. It is sent once that is durable.
    pub(super) fn assign(&mut self, account_nonce: u64, passed_ms: u64, now_ms: u64, config: &MachineConfig) {
        let Progress::AwaitingNonce { attempts } = self.stored.progress else { return };
        let slot = Slot { account_nonce, gas_level: 0, attempts, hashes: Vec::new() };
        self.change(Progress::AwaitingReceipt(slot));
        self.attempt = self.attempt.saturating_add(1);
        self.passed_ms = passed_ms;
        self.poll_at_ms = now_ms.saturating_add(config.poll_ms);
        self.wanted.clear();
        self.may_be_out = false;
        self.reached = Reached::No;
        self.seen = Seen::default();
        self.send = Send::AwaitingTurn { simulation: Simulation::First, from_ms: 0 };
    }

    /// Whether a node has, or perhaps has, a transaction with this account nonce: a higher one may follow.
    pub(super) fn was_sent(&self) -> bool {
        self.reached != Reached::No
    }

    /// A higher account nonce was refused because of a gap: what is not known to have been sent is sent again, at the same price.
    pub(super) fn on_gap_above(&mut self) {
        if self.reached == Reached::Perhaps && matches!(self.send, Send::Out { .. }) {
            self.send = Send::AwaitingTurn { simulation: Simulation::Skip, from_ms: 0 };
        }
    }

    /// A lower account nonce was taken: one that was refused because of a gap need not wait any longer.
    pub(super) fn on_sent_below(&mut self) {
        if let Send::AwaitingTurn { from_ms, .. } = &mut self.send {
            *from_ms = 0;
        }
    }

    /// The request to send the current slot, if its record is durable and sending makes sense.
    pub(super) fn take_broadcast(&mut self, now_ms: u64, config: &MachineConfig, nonces: &Nonces) -> Option<ChainRequest> {
        let Send::AwaitingTurn { simulation, from_ms } = self.send else { return None };
        if now_ms < from_ms || !self.is_durable() || !self.may_send(now_ms, nonces) {
            return None;
        }
        // It passed before it got its account nonce. If it waited for its turn since, it is tried once more.
        let is_fresh = now_ms < self.passed_ms.saturating_add(config.poll_ms);
        let simulation = if is_fresh { Simulation::Skip } else { simulation };
        let slot = self.slot()?;
        let request = ChainRequest::SignAndBroadcast {
            purpose: Purpose::Settle { payment_id: self.payment_id(), attempt: self.attempt },
            account_nonce: slot.account_nonce,
            gas_level: slot.gas_level,
            simulation,
            to: self.stored.intent.to(),
            calldata: self.stored.intent.calldata().clone(),
        };
        // Crash: here or in the shell: the record names the nonce, so a restart asks the chain and then sends the same call with the same
        // nonce. Whether this one was sent does not matter: of the two at most one can land.
        self.may_be_out = true;
        self.send = Send::Out { at_ms: now_ms, simulation, raise: true };
        Some(request)
    }

    /// Notes what there is to ask, if the time has come, and sends again what is late.
    pub(super) fn poll(&mut self, now_ms: u64, config: &MachineConfig, nonces: &Nonces) {
        if now_ms < self.poll_at_ms || self.is_done() {
            return;
        }
        let late = matches!(self.send, Send::Out { at_ms, .. } if at_ms.saturating_add(config.bump_after_ms) <= now_ms);
        let mut ask_authorization = self.is_over || late || self.seen.used || self.seen.would_revert_at.is_some();
        if let Some(slot) = self.slot() {
            let used_up = nonces.is_used(slot.account_nonce);
            let (has_hashes, unknown) = (!slot.hashes.is_empty(), slot.hashes.is_empty() && self.send == Send::AwaitingAnswer);
            ask_authorization |= used_up || unknown || self.seen.reverted_at.is_some();
            if has_hashes {
                self.wanted.insert(Question::Receipt);
            }
        } else if self.may_begin(now_ms, config, nonces) {
            self.wanted.insert(Question::Simulation);
        }
        if ask_authorization {
            self.wanted.insert(Question::Authorization);
        }
        self.poll_at_ms = if self.slot().is_some() || ask_authorization {
            now_ms.saturating_add(config.poll_ms)
        } else if now_ms < self.not_before_ms {
            self.not_before_ms
        } else {
            now_ms.saturating_add(config.poll_ms.saturating_mul(IDLE_POLLS))
        };
        if late && self.may_send(now_ms, nonces) {
            self.send_again(config);
        }
    }

    /// No block from now on can include it.
    pub(super) fn on_over(&mut self) {
        self.is_over = true;
        self.poll_at_ms = 0;
    }

    /// The next question, if there is one that makes sense by now.
    pub(super) fn take_question(&mut self, now_ms: u64, config: &MachineConfig, nonces: &Nonces) -> Option<(Question, ChainRequest)> {
        while let Some(question) = self.wanted.pop_first() {
            if let Some(request) = self.request(question, now_ms, config, nonces) {
                self.asked = Some(Asked { question, at_ms: now_ms });
                return Some((question, request));
            }
        }
        None
    }

    fn request(&self, question: Question, now_ms: u64, config: &MachineConfig, nonces: &Nonces) -> Option<ChainRequest> {
        let (intent, payment_id) = (&self.stored.intent, self.payment_id());
        match question {
            Question::Receipt => {
                let hashes = self.slot().filter(|slot| !slot.hashes.is_empty())?.hashes.clone();
                Some(ChainRequest::QueryReceipt { payment_id, hashes })
            }
            Question::Authorization => Some(ChainRequest::QueryAuthorization { transfer: *intent.transfer() }),
            Question::Simulation if self.slot().is_none() && self.may_begin(now_ms, config, nonces) => {
                Some(ChainRequest::Simulate { payment_id, to: intent.to(), calldata: intent.calldata().clone() })
            }
            Question::Simulation => None,
        }
    }

    /// Whether this question is out.
    pub(super) fn awaits(&self, question: Question) -> bool {
        self.asked.is_some_and(|asked| asked.question == question)
    }

    /// The answer to this question has come; when it was asked, if it was out.
    pub(super) fn on_answered(&mut self, question: Question) -> Option<u64> {
        let asked = self.asked.take_if(|asked| asked.question == question)?;
        Some(asked.at_ms)
    }

    /// No answer came, or none will: whatever there is to ask is asked again.
    pub(super) fn on_unanswered(&mut self) {
        self.asked = None;
        self.poll_at_ms = 0;
    }

    /// The call passed, but there is no account nonce to send it with now.
    pub(super) fn on_passed_in_vain(&mut self) {
        self.poll_at_ms = 0;
    }

    /// The call would revert, and nothing was sent: the authorization says why.
    pub(super) fn on_would_revert(&mut self, block: u64) {
        self.seen.would_revert_at = Some(block);
        self.poll_at_ms = 0;
    }

    /// What became of a transaction of this settlement.
    pub(super) fn on_broadcast(
        &mut self,
        (attempt, account_nonce, gas_level): (u32, u64, u8),
        outcome: BroadcastOutcome,
        now_ms: u64,
        config: &MachineConfig,
    ) {
        let is_current = |slot: &&Slot| slot.account_nonce == account_nonce && attempt == self.attempt;
        let Some(slot) = self.slot().filter(is_current) else { return };
        let is_latest = slot.gas_level == gas_level;
        self.reached = match (outcome, self.reached) {
            (BroadcastOutcome::Sent { .. } | BroadcastOutcome::NonceTooLow | BroadcastOutcome::Underpriced, _) => Reached::Yes,
            (BroadcastOutcome::Unknown { .. }, Reached::No) => Reached::Perhaps,
            (_, reached) => reached,
        };
        match outcome {
            BroadcastOutcome::Sent { hash } | BroadcastOutcome::Unknown { hash } => {
                // Crash: before this is durable: the hash is lost, the transaction is not. The authorization's own event leads to it.
                self.remember_hash(hash);
                if let Send::Out { simulation, .. } = &mut self.send {
                    *simulation = Simulation::Skip;
                }
            }
            // Somebody used the nonce: one of ours, or a second writer. The chain says which.
            BroadcastOutcome::NonceTooLow => self.poll_at_ms = 0,
            // At the highest class there is nothing to raise: it is sent again when it is late, not in a loop.
            BroadcastOutcome::Underpriced if is_latest && gas_level < config.max_gas_level => self.send_again(config),
            BroadcastOutcome::NoGasFunds => {
                if let Send::Out { raise, .. } = &mut self.send {
                    *raise = false;
                }
            }
            BroadcastOutcome::WouldRevert { block } if matches!(self.send, Send::Out { simulation: Simulation::First, .. }) => {
                self.may_be_out = false;
                self.on_would_revert(block);
            }
            // The node lost a lower one, or another node was asked, or none could be: again soon, at the same price. Without a
            // simulation, because a doubled answer can come when the next attempt is out.
            BroadcastOutcome::NonceTooHigh | BroadcastOutcome::NotSent if is_latest && matches!(self.send, Send::Out { .. }) => {
                self.send = Send::AwaitingTurn { simulation: Simulation::Skip, from_ms: now_ms.saturating_add(config.poll_ms) };
            }
            // Late answers about transactions that have been replaced since.
            BroadcastOutcome::Underpriced
            | BroadcastOutcome::WouldRevert { .. }
            | BroadcastOutcome::NonceTooHigh
            | BroadcastOutcome::NotSent => {}
        }
    }

    /// One of our transactions is included.
    pub(super) fn on_receipt(&mut self, receipt: &TxReceipt, config: &MachineConfig, nonces: &mut Nonces) {
        let Some(slot) = self.slot().filter(|slot| slot.hashes.contains(&receipt.hash)) else { return };
        let account_nonce = slot.account_nonce;
        self.seen.included = true;
        if receipt.confirmations < config.confirmations {
            self.on_transfer(self.judge(receipt, SettledBy::Us));
            return;
        }
        nonces.included(account_nonce, receipt.block);
        match receipt.status {
            TxStatus::Success => self.finish(self.judge(receipt, SettledBy::Us), nonces),
            // Perhaps because a third party was first: the authorization decides.
            TxStatus::Reverted if self.seen.reverted_at.is_none() => {
                self.seen.reverted_at = Some(receipt.block);
                // At once, but once: the same receipt will be found again at every poll.
                self.poll_at_ms = 0;
            }
            TxStatus::Reverted => {}
        }
    }

    /// None of our transactions is included.
    pub(super) fn on_receipt_missing(&mut self) {
        // A reorganisation can take an included transaction out again.
        if self.seen.reverted_at.is_none() {
            self.seen.included = false;
        }
        if self.send == Send::AwaitingAnswer && self.slot().is_some_and(|slot| !slot.hashes.is_empty()) {
            self.send = Send::AwaitingTurn { simulation: Simulation::Skip, from_ms: 0 };
        }
    }

    /// The authorization itself: what decides whenever our own transactions do not.
    pub(super) fn on_authorization(
        &mut self,
        state: &AuthorizationState,
        at: BlockRef,
        now_ms: u64,
        config: &MachineConfig,
        nonces: &mut Nonces,
    ) {
        if self.is_done() {
            return;
        }
        match state {
            AuthorizationState::Used { transaction: Some(receipt) } => {
                self.on_used();
                let status = self.judge(receipt, self.submitter(receipt, &config.gas_account));
                match config.confirmations <= receipt.confirmations {
                    true => self.finish(status, nonces),
                    false => self.on_transfer(status),
                }
            }
            AuthorizationState::Used { transaction: None } => {
                self.on_used();
                // Used, and the logs do not say how for so long that they never will.
                if self.stored.intent.ends_at_ms().saturating_add(config.lookup_grace_ms) <= now_ms {
                    self.finish(SettlementStatus::Failed { code: FailureCode::NonceAlreadyUsed }, nonces);
                }
            }
            AuthorizationState::Unused => self.on_unused(at, now_ms, config, nonces),
        }
    }

    /// Nothing more is to be sent. An account nonce that was never sent is given back: all higher ones wait for it, and payers can use
    /// their authorizations up themselves, one after the other.
    fn on_used(&mut self) {
        if let Some(attempts) = self.slot().filter(|_| !self.may_be_out).map(|slot| slot.attempts) {
            self.release(attempts);
        }
        self.seen.used = true;
    }

    fn on_unused(&mut self, at: BlockRef, now_ms: u64, config: &MachineConfig, nonces: &mut Nonces) {
        self.seen.used = false;
        // Token bounds are strict: no block from validBefore on can include it. By the block's clock, not ours.
        if self.stored.intent.valid_before() <= at.timestamp {
            let code = FailureCode::SimulationFailed;
            let status = if self.in_vain == 0 { SettlementStatus::Expired } else { SettlementStatus::Failed { code } };
            return self.finish(status, nonces);
        }
        if self.seen.would_revert_at.is_some_and(|block| block <= at.number) {
            // Nothing was sent, so an account nonce that it has is free again. While the authorization lasts, a revert is no end: a payer
            // who could end it by an empty account for the moment of one block would have the answer for nothing.
            return self.try_later(self.slot().map_or(0, |slot| slot.attempts), now_ms);
        }
        let Some(slot) = self.slot() else { return };
        let (attempts, used_up) = (slot.attempts, nonces.is_used_by(slot.account_nonce, at.number) && !self.seen.included);
        if used_up || self.seen.reverted_at.is_some_and(|block| block <= at.number) {
            let attempts = attempts.saturating_add(1);
            if config.max_attempts <= attempts {
                return self.finish(SettlementStatus::Failed { code: FailureCode::TransactionFailed }, nonces);
            }
            // The nonce is gone and the authorization is not: no transaction of this slot can land any more, so another slot is not a
            // second transaction beside a live first one.
            match self.seen.reverted_at {
                Some(_) => self.try_later(attempts, now_ms),
                None => self.release(attempts),
            }
        } else if self.send == Send::AwaitingAnswer && slot.hashes.is_empty() {
            self.send = Send::AwaitingTurn { simulation: Simulation::Skip, from_ms: 0 };
        }
    }

    /// Gives up the slot if there is one, of which nothing can land any more, and waits: twice as long every time.
    fn try_later(&mut self, attempts: u8, now_ms: u64) {
        let pause_ms = RETRY_MS.saturating_mul(1 << self.in_vain.min(MAX_DOUBLINGS));
        self.in_vain = self.in_vain.saturating_add(1);
        self.release(attempts);
        self.not_before_ms = now_ms.saturating_add(pause_ms);
        self.poll_at_ms = self.not_before_ms;
    }

    fn release(&mut self, attempts: u8) {
        self.seen = Seen::default();
        self.may_be_out = false;
        self.reached = Reached::No;
        self.send = Send::AwaitingAnswer;
        self.poll_at_ms = 0;
        // Without a slot the record says so already: a try in vain costs no write.
        if self.slot().is_some() {
            self.change(Progress::AwaitingNonce { attempts });
        }
    }

    /// What a successful transaction that used the authorization (or should have) means.
    /// What a receipt shows that is not deep enough yet.
    fn on_transfer(&mut self, shown: SettlementStatus) {
        if let SettlementStatus::Settled { tx_hash, block, by } = shown {
            self.seen.transfer = Some(Transfer { tx_hash, block, by });
        }
    }

    /// A transfer in a block that was not told yet.
    pub(super) fn take_transfer(&mut self) -> Option<Transfer> {
        self.seen.transfer.take()
    }

    /// Whether its transaction is in a block, and only that block's depth is waited for.
    pub(super) fn is_included(&self) -> bool {
        self.seen.included
    }

    fn judge(&self, receipt: &TxReceipt, by: SettledBy) -> SettlementStatus {
        if receipt.status == TxStatus::Success && self.stored.intent.transfer().is_shown_by(&receipt.logs) {
            return SettlementStatus::Settled { tx_hash: receipt.hash, block: receipt.block, by };
        }
        let code = match by {
            SettledBy::Us => FailureCode::TransferEventMismatch,
            SettledBy::ThirdParty => FailureCode::NonceAlreadyUsed,
        };
        SettlementStatus::Failed { code }
    }

    fn submitter(&self, receipt: &TxReceipt, gas_account: &Address) -> SettledBy {
        let known = self.slot().is_some_and(|slot| slot.hashes.contains(&receipt.hash));
        if known || receipt.from == *gas_account { SettledBy::Us } else { SettledBy::ThirdParty }
    }

    fn finish(&mut self, status: SettlementStatus, nonces: &mut Nonces) {
        // What never left is free for others at once; what may be out must be used up first.
        let slot = self.slot().filter(|_| self.may_be_out).cloned();
        if let Some(slot) = &slot {
            nonces.abandon(slot.account_nonce, slot.gas_level);
        }
        // Crash: before this is durable: the older record is found, the chain is asked again and says the same.
        self.change(Progress::Done { status, slot });
    }

    fn send_again(&mut self, config: &MachineConfig) {
        let raise = !matches!(self.send, Send::Out { raise: false, .. });
        self.send = Send::AwaitingTurn { simulation: Simulation::Skip, from_ms: 0 };
        let Progress::AwaitingReceipt(slot) = &mut self.stored.progress else { return };
        if raise && slot.gas_level < config.max_gas_level {
            slot.gas_level = slot.gas_level.saturating_add(1);
            self.dirty = true;
        }
    }

    fn remember_hash(&mut self, hash: Hash32) {
        let Progress::AwaitingReceipt(slot) = &mut self.stored.progress else { return };
        if slot.hashes.contains(&hash) {
            return;
        }
        if MAX_HASHES <= slot.hashes.len() {
            slot.hashes.remove(0);
        }
        slot.hashes.push(hash);
        self.dirty = true;
    }

    fn change(&mut self, progress: Progress) {
        self.stored.progress = progress;
        self.dirty = true;
    }
}
