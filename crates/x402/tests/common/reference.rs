//! What the settlement machine is compared with: the same job, done slowly and simply.
//!
//! A list of payments, all of which are looked at on every step; what the chain said last of each; and from that, by a few sentences, what is
//! over and what may be sent. It asks everything about everybody at every poll, has no queue, no share, no bound and no states. It is
//! written from the invariants of the machine and shares no code with it but the words between machine and shell.

use std::collections::BTreeMap;

use candor_verify::bytes::Hash32;
use candor_x402::scheme::Calldata;
use candor_x402::settlement::*;

use crate::chain::Settles;

pub struct Reference {
    config: MachineConfig,
    payments: Vec<Slow>,
    /// The first account nonce that the chain has not used, and the block that said so first.
    next: Option<(u64, u64)>,
    /// Price, time of the last sending, and whether a node was reached, of account nonces that nobody needs any more.
    fillers: BTreeMap<u64, Sent>,
    poll_at_ms: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    gas_level: u8,
    at_ms: Option<u64>,
    reached: bool,
}

struct Slow {
    record: StoredIntent,
    /// The revision that is known to be durable.
    durable: Option<u64>,
    written_ms: Option<u64>,
    told: bool,
    sent: Sent,
    receipt: Option<TxReceipt>,
    authorization: Option<(AuthorizationState, BlockRef)>,
}

impl Slow {
    fn new(record: StoredIntent, durable: Option<u64>) -> Self {
        let sent = Sent { gas_level: slot(&record).map_or(0, |slot| slot.gas_level), ..Sent::default() };
        Self { record, durable, written_ms: None, told: false, sent, receipt: None, authorization: None }
    }

    fn id(&self) -> Hash32 {
        self.record.intent.payment_id()
    }

    fn is_durable(&self) -> bool {
        self.durable == Some(self.record.revision)
    }

    fn ends_ms(&self) -> u64 {
        self.record.intent.valid_before().0 * 1000
    }

    fn set(&mut self, progress: Progress) {
        if progress != self.record.progress {
            self.record.progress = progress;
            self.record.revision += 1;
            self.written_ms = None;
        }
    }

    /// What a transaction that used the authorization means.
    fn judge(&self, receipt: &TxReceipt, by: SettledBy) -> SettlementStatus {
        let intent = &self.record.intent;
        if receipt.status == TxStatus::Success && intent.transfer().is_shown_by(&receipt.logs) {
            return SettlementStatus::Settled { tx_hash: receipt.hash, block: receipt.block, by };
        }
        SettlementStatus::Failed { code: FailureCode::NonceAlreadyUsed }
    }

    /// The end, if what the chain said shows one.
    fn end(&self, config: &MachineConfig, now_ms: u64) -> Option<SettlementStatus> {
        if let Some(receipt) = &self.receipt
            && receipt.status == TxStatus::Success
            && config.confirmations <= receipt.confirmations
        {
            return Some(self.judge(receipt, SettledBy::Us));
        }
        match self.authorization.as_ref()? {
            (AuthorizationState::Used { transaction: Some(receipt) }, _) => {
                let by = if receipt.from == config.gas_account { SettledBy::Us } else { SettledBy::ThirdParty };
                (config.confirmations <= receipt.confirmations).then(|| self.judge(receipt, by))
            }
            (AuthorizationState::Used { transaction: None }, _) => (self.ends_ms() + config.lookup_grace_ms <= now_ms)
                .then_some(SettlementStatus::Failed { code: FailureCode::NonceAlreadyUsed }),
            (AuthorizationState::Unused, at) => (self.record.intent.valid_before() <= at.timestamp).then_some(SettlementStatus::Expired),
        }
    }

    /// Whether its account nonce is gone and its authorization is not.
    fn is_spent(&self, config: &MachineConfig, next: Option<(u64, u64)>) -> bool {
        let (Some(slot), Some((AuthorizationState::Unused, at))) = (slot(&self.record), &self.authorization) else { return false };
        let reverted = self.receipt.as_ref().filter(|receipt| config.confirmations <= receipt.confirmations);
        let used = next.filter(|(next, _)| slot.account_nonce < *next).map(|(_, block)| block);
        reverted.map(|receipt| receipt.block).or(used).is_some_and(|block| block <= at.number)
    }

    fn is_used(&self) -> bool {
        matches!(self.authorization, Some((AuthorizationState::Used { .. }, _)))
    }
}

fn slot(record: &StoredIntent) -> Option<&Slot> {
    match &record.progress {
        Progress::AwaitingReceipt(slot) => Some(slot),
        _ => None,
    }
}

impl Settles for Reference {
    fn start(config: MachineConfig, stored: Vec<StoredIntent>) -> Self {
        let mut fillers = BTreeMap::new();
        for record in &stored {
            if let Progress::Done { slot: Some(slot), .. } = &record.progress {
                fillers.insert(slot.account_nonce, Sent { gas_level: slot.gas_level + 1, ..Sent::default() });
            }
        }
        let payments =
            stored.into_iter().map(|record| (record.revision, record)).map(|(revision, record)| Slow::new(record, Some(revision)));
        Self { config, payments: payments.collect(), next: None, fillers, poll_at_ms: 0 }
    }

    fn step(&mut self, event: Event, now_ms: u64) -> Vec<Action> {
        let mut actions = vec![];
        match event {
            Event::Intent(intent) => self.on_intent(intent),
            Event::Persisted { payment_id, revision, result: PersistResult::Durable } => {
                self.about(&payment_id, |payment| payment.durable = Some(revision).max(payment.durable));
            }
            Event::Persisted { .. } | Event::Tick => {}
            Event::Chain(answer) => self.on_answer(answer, now_ms),
        }
        let may_ask = self.poll_at_ms <= now_ms;
        if may_ask {
            self.poll_at_ms = now_ms + self.config.poll_ms;
            actions.push(Action::Chain(ChainRequest::QueryAccountNonce));
        }
        for payment in &mut self.payments {
            if let Some(status) = payment.end(&self.config, now_ms).filter(|_| !matches!(payment.record.progress, Progress::Done { .. })) {
                let slot = slot(&payment.record).cloned();
                if let Some(slot) = &slot {
                    self.fillers.insert(slot.account_nonce, Sent { gas_level: slot.gas_level + 1, ..Sent::default() });
                }
                payment.set(Progress::Done { status, slot });
            }
            if payment.is_spent(&self.config, self.next) {
                let attempts = slot(&payment.record).map_or(0, |slot| slot.attempts) + 1;
                (payment.receipt, payment.sent) = (None, Sent::default());
                payment.set(match attempts < self.config.max_attempts {
                    true => Progress::AwaitingNonce { attempts },
                    false => Progress::Done { status: SettlementStatus::Failed { code: FailureCode::TransactionFailed }, slot: None },
                });
            }
            write_and_tell(payment, now_ms, &self.config, &mut actions);
            if may_ask {
                ask(payment, &mut actions);
            }
        }
        self.send(now_ms, &mut actions);
        actions
    }

    fn status(&self, payment_id: &Hash32) -> Option<SettlementStatus> {
        let payment = self.payments.iter().find(|payment| payment.id() == *payment_id)?;
        match &payment.record.progress {
            Progress::Done { status, .. } if payment.is_durable() => Some(*status),
            _ => Some(SettlementStatus::Pending { tx_hash: slot(&payment.record).and_then(|slot| slot.hashes.last().copied()) }),
        }
    }
}

impl Reference {
    fn about(&mut self, payment_id: &Hash32, change: impl FnOnce(&mut Slow)) {
        if let Some(payment) = self.payments.iter_mut().find(|payment| payment.id() == *payment_id) {
            change(payment);
        }
    }

    fn on_intent(&mut self, intent: Intent) {
        if !self.payments.iter().any(|payment| payment.id() == intent.payment_id()) {
            let record = StoredIntent { intent, revision: 1, progress: Progress::AwaitingNonce { attempts: 0 } };
            self.payments.push(Slow::new(record, None));
        }
    }

    fn on_answer(&mut self, answer: ChainAnswer, now_ms: u64) {
        match answer {
            ChainAnswer::AccountNonce { next, at } => {
                if self.next.is_none_or(|(known, _)| known < next) {
                    self.next = Some((next, at.number));
                }
            }
            ChainAnswer::ReceiptFound { payment_id, receipt } => self.about(&payment_id, |payment| {
                if slot(&payment.record).is_some_and(|slot| slot.hashes.contains(&receipt.hash)) {
                    payment.receipt = Some(receipt);
                }
            }),
            ChainAnswer::AuthorizationState { payment_id, state, at } => self.about(&payment_id, |payment| {
                if payment.authorization.as_ref().is_none_or(|(_, known)| known.number <= at.number) {
                    payment.authorization = Some((state, at));
                }
            }),
            ChainAnswer::Simulated { payment_id, reverts_at: None } => self.on_passed(&payment_id, now_ms),
            ChainAnswer::Broadcast { purpose, account_nonce, gas_level, outcome } => {
                self.on_broadcast(purpose, account_nonce, gas_level, outcome);
            }
            ChainAnswer::Simulated { .. } | ChainAnswer::ReceiptMissing { .. } | ChainAnswer::RpcDown { .. } => {}
        }
    }

    /// A call that passes gets the lowest account nonce that is not used, held, or left over.
    fn on_passed(&mut self, payment_id: &Hash32, now_ms: u64) {
        let Some((next, _)) = self.next else { return };
        let held = |nonce: u64| self.payments.iter().any(|payment| slot(&payment.record).is_some_and(|slot| slot.account_nonce == nonce));
        let Some(account_nonce) = (next..).find(|nonce| !held(*nonce) && !self.fillers.contains_key(nonce)) else { return };
        let inclusion_ms = self.config.inclusion_ms;
        self.about(payment_id, |payment| {
            if let Progress::AwaitingNonce { attempts } = payment.record.progress
                && !payment.is_used()
                && now_ms + inclusion_ms < payment.ends_ms()
            {
                payment.sent = Sent::default();
                payment.set(Progress::AwaitingReceipt(Slot { account_nonce, gas_level: 0, attempts, hashes: vec![] }));
            }
        });
    }

    fn on_broadcast(&mut self, purpose: Purpose, account_nonce: u64, gas_level: u8, outcome: BroadcastOutcome) {
        let update = |sent: &mut Sent| match outcome {
            BroadcastOutcome::NotSent | BroadcastOutcome::NonceTooHigh if sent.gas_level == gas_level => sent.at_ms = None,
            BroadcastOutcome::Sent { .. } | BroadcastOutcome::Unknown { .. } | BroadcastOutcome::NonceTooLow => sent.reached = true,
            _ => {}
        };
        let Purpose::Settle { payment_id, .. } = purpose else {
            return self.fillers.get_mut(&account_nonce).into_iter().for_each(update);
        };
        self.about(&payment_id, |payment| {
            let Progress::AwaitingReceipt(mut slot) = payment.record.progress.clone() else { return };
            if slot.account_nonce != account_nonce {
                return;
            }
            update(&mut payment.sent);
            if let BroadcastOutcome::Sent { hash } | BroadcastOutcome::Unknown { hash } = outcome
                && !slot.hashes.contains(&hash)
            {
                slot.hashes.push(hash);
                payment.set(Progress::AwaitingReceipt(slot));
            }
        });
    }

    /// In the order of account nonces, and nothing above one with which no node was reached.
    fn send(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let Some((next, _)) = self.next else { return };
        let Some(highest) = self.payments.iter().filter_map(|payment| slot(&payment.record)).map(|slot| slot.account_nonce).max() else {
            return;
        };
        let (every_ms, max_level, gas_account) = (self.config.bump_after_ms, self.config.max_gas_level, self.config.gas_account);
        let is_due = |sent: &Sent| sent.at_ms.is_none_or(|at_ms| at_ms + every_ms <= now_ms);
        for account_nonce in next..=highest {
            let holder = |payment: &&mut Slow| slot(&payment.record).is_some_and(|slot| slot.account_nonce == account_nonce);
            let reached = match self.payments.iter_mut().find(holder) {
                Some(payment) => {
                    let wanted = !payment.is_used() && payment.receipt.is_none() && now_ms < payment.ends_ms();
                    if wanted && is_due(&payment.sent) {
                        send_payment(payment, now_ms, max_level, actions);
                    }
                    payment.sent.reached
                }
                None => {
                    let sent = self.fillers.entry(account_nonce).or_default();
                    if is_due(sent) {
                        let raise = u8::from(sent.at_ms.is_some());
                        *sent = Sent { gas_level: (sent.gas_level + raise).min(max_level), at_ms: Some(now_ms), reached: sent.reached };
                        let (purpose, simulation, calldata) = (Purpose::Fill, Simulation::Skip, Calldata::default());
                        let gas_level = sent.gas_level;
                        let request =
                            ChainRequest::SignAndBroadcast { purpose, account_nonce, gas_level, simulation, to: gas_account, calldata };
                        actions.push(Action::Chain(request));
                    }
                    sent.reached
                }
            };
            if !reached {
                return;
            }
        }
    }
}

/// Sends it as it is durable. Once it is late, its price is raised first, and that is made durable.
fn send_payment(payment: &mut Slow, now_ms: u64, max_level: u8, actions: &mut Vec<Action>) {
    let Progress::AwaitingReceipt(mut slot) = payment.record.progress.clone() else { return };
    if payment.sent.at_ms.is_some() && slot.gas_level < max_level && payment.sent.gas_level == slot.gas_level {
        slot.gas_level += 1;
        return payment.set(Progress::AwaitingReceipt(slot));
    }
    if !payment.is_durable() {
        return;
    }
    payment.sent = Sent { gas_level: slot.gas_level, at_ms: Some(now_ms), reached: payment.sent.reached };
    let intent = &payment.record.intent;
    actions.push(Action::Chain(ChainRequest::SignAndBroadcast {
        purpose: Purpose::Settle { payment_id: payment.id(), attempt: 0 },
        account_nonce: slot.account_nonce,
        gas_level: slot.gas_level,
        simulation: Simulation::Skip,
        to: intent.to(),
        calldata: intent.calldata().clone(),
    }));
}

fn write_and_tell(payment: &mut Slow, now_ms: u64, config: &MachineConfig, actions: &mut Vec<Action>) {
    if !payment.is_durable() && payment.written_ms.is_none_or(|at_ms| at_ms + config.persist_retry_ms <= now_ms) {
        payment.written_ms = Some(now_ms);
        actions.push(Action::Persist(payment.record.clone()));
    }
    if let Progress::Done { status, .. } = payment.record.progress
        && payment.is_durable()
        && !payment.told
    {
        payment.told = true;
        let (payment_id, asset, amount) = (payment.id(), payment.record.intent.asset(), payment.record.intent.amount());
        actions.push(Action::Finished(Outcome { payment_id, status, asset, amount }));
    }
}

/// Everything about it.
fn ask(payment: &Slow, actions: &mut Vec<Action>) {
    let (intent, payment_id) = (&payment.record.intent, payment.id());
    let mut ask = |request| actions.push(Action::Chain(request));
    match &payment.record.progress {
        Progress::Done { .. } => return,
        Progress::AwaitingReceipt(slot) => ask(ChainRequest::QueryReceipt { payment_id, hashes: slot.hashes.clone() }),
        Progress::AwaitingNonce { .. } => ask(ChainRequest::Simulate { payment_id, to: intent.to(), calldata: intent.calldata().clone() }),
    }
    ask(ChainRequest::QueryAuthorization { transfer: *intent.transfer() });
}
