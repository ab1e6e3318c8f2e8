//! The settlement machine of the host: from intents to money, whatever crashes, lies or gets stuck on the way.
//!
//! One machine per gas key, single writer, sans I/O: [`Machine::step`] takes an event and the time, and gives actions. A crash at any
//! point is a restart with what was durable: [`Machine::new`] goes through the same steps as the first time, only asking before sending.
//!
//! **Invariants:**
//! 1. Nothing is sent before the record that names its account nonce is durable.
//! 2. One authorization has one account nonce until the chain has used that nonce: two different transactions for it can never both be
//!    alive. A timeout changes nothing about that; it only raises the price of the same transaction.
//! 3. A settlement ends only on a fact of the chain: its transfer, its revert, its nonce used otherwise, or a block past its end.
//! 4. Told twice, doubled or late answers change nothing.
//! 5. Nothing is sent before a node was reached with every lower account nonce: not every chain keeps what comes after a gap.

use std::collections::{BTreeMap, BTreeSet};

use candor_verify::bytes::{Address, Hash32};
use candor_verify::payment::Authorization;

use super::calldata::Calldata;
use super::entry::Entry;
use super::event::{Action, BroadcastOutcome, ChainAnswer, ChainRequest, Event, PersistResult, Purpose, RefuseReason, Simulation};
use super::intent::Intent;
use super::nonces::{Filler, Nonces};
use super::outcome::{Outcome, SettlementStatus};
use super::store::{Progress, StoredIntent};

/// At most this many finished settlements are remembered, whatever the retention: the host's database has the rest.
const MAX_DONE: usize = 65_536;

/// How a machine behaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: any value works")]
pub struct MachineConfig {
    /// Chain it settles on.
    pub chain_id: u64,
    /// Account of the gas key.
    pub gas_account: Address,
    /// Blocks on top of a transaction before it counts. Zero on a chain that does not reorganise.
    pub confirmations: u64,
    /// Time between questions about one settlement.
    pub poll_ms: u64,
    /// Time without a receipt after which the same transaction is sent again at a higher price.
    pub bump_after_ms: u64,
    /// Highest gas price class.
    pub max_gas_level: u8,
    /// Time after which [`Action::StillPending`] is told.
    pub pending_after_ms: u64,
    /// Time after which a write that was not confirmed is repeated.
    pub persist_retry_ms: u64,
    /// Pause after the first [`ChainAnswer::RpcDown`]; doubles up to 64 times this.
    pub rpc_backoff_ms: u64,
    /// Time after the end of a used authorization for its log to be found.
    pub lookup_grace_ms: u64,
    /// Time after its end for which a finished settlement is remembered, to answer a second intent for it.
    pub retention_ms: u64,
    /// Account nonces given out and not yet used on chain.
    pub max_in_flight: usize,
    /// Settlements open at once.
    pub max_open: usize,
    /// Account nonces that one settlement may use up without effect.
    pub max_attempts: u8,
}

impl MachineConfig {
    /// Values for a public chain with blocks of a few seconds; the dev chain does with shorter times and no confirmations.
    #[must_use]
    pub fn new(chain_id: u64, gas_account: Address) -> Self {
        Self {
            chain_id,
            gas_account,
            confirmations: 2,
            poll_ms: 1_000,
            bump_after_ms: 15_000,
            max_gas_level: 8,
            pending_after_ms: 30_000,
            persist_retry_ms: 1_000,
            rpc_backoff_ms: 250,
            lookup_grace_ms: 600_000,
            retention_ms: 3_600_000,
            max_in_flight: 16,
            max_open: 4_096,
            max_attempts: 3,
        }
    }
}

/// The machine.
#[derive(Debug)]
pub struct Machine {
    config: MachineConfig,
    open: BTreeMap<Hash32, Entry>,
    done: BTreeMap<Hash32, Done>,
    nonces: Nonces,
    rpc_failures: u32,
    rpc_pause_until_ms: u64,
}

#[derive(Clone, Copy, Debug)]
struct Done {
    outcome: Outcome,
    authorization: Authorization,
    revision: u64,
    forget_at_ms: u64,
}

impl Machine {
    /// A machine that goes on from what is stored. Give it every unfinished record, and the finished ones of the last `retention_ms`.
    #[must_use]
    pub fn new(config: MachineConfig, stored: Vec<StoredIntent>) -> Self {
        let mut machine = Self {
            config,
            open: BTreeMap::new(),
            done: BTreeMap::new(),
            nonces: Nonces::default(),
            rpc_failures: 0,
            rpc_pause_until_ms: 0,
        };
        for record in stored {
            match &record.progress {
                Progress::Done { status, slot } => {
                    if let Some(slot) = slot {
                        machine.nonces.abandon(slot.account_nonce, slot.gas_level);
                    }
                    machine.remember(&record, *status);
                }
                Progress::AwaitingNonce { .. } | Progress::AwaitingReceipt(_) => {
                    machine.open.insert(record.intent.payment_id(), Entry::restored(record));
                }
            }
        }
        machine
    }

    /// Takes an event and gives what is to be done now. Never blocks, never fails.
    #[must_use = "the actions are to be run"]
    pub fn step(&mut self, event: Event, now_ms: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Intent(intent) => self.on_intent(intent, now_ms, &mut actions),
            Event::Persisted { payment_id, revision, result } => self.on_persisted(&payment_id, revision, result, now_ms),
            Event::Chain(answer) => self.on_answer(answer, now_ms),
            Event::Tick => self.done.retain(|_, done| now_ms < done.forget_at_ms),
        }
        self.assign_nonces(now_ms);
        let chain_is_up = self.rpc_pause_until_ms <= now_ms;
        for entry in self.open.values_mut() {
            if chain_is_up && entry.poll_at_ms <= now_ms && !matches!(entry.stored.progress, Progress::Done { .. }) {
                entry.poll_at_ms = now_ms.saturating_add(self.config.poll_ms);
                actions.extend(entry.questions(now_ms, &self.config, &self.nonces).into_iter().map(Action::Chain));
            }
            write_if_due(entry, now_ms, &self.config, &mut actions);
            tell_pending(entry, now_ms, &self.config, &mut actions);
        }
        if chain_is_up {
            self.send_in_order(now_ms, &mut actions);
            self.ask_account_nonce(now_ms, &mut actions);
        }
        self.retire(&mut actions);
        actions
    }

    /// How a settlement stands; `None` if it was never told here, or long ago.
    #[must_use]
    pub fn status(&self, payment_id: &Hash32) -> Option<SettlementStatus> {
        if let Some(entry) = self.open.get(payment_id) {
            return Some(SettlementStatus::Pending { tx_hash: latest_hash(entry) });
        }
        self.done.get(payment_id).map(|done| done.outcome.status)
    }

    /// Settlements that are not over.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    fn on_intent(&mut self, intent: Intent, now_ms: u64, actions: &mut Vec<Action>) {
        let payment_id = intent.payment_id();
        // The payment id leaves out amount and end: after an unsettled end the payer can sign the nonce again, and that is told anew.
        let done = self.done.get(&payment_id).copied();
        let begins_anew = |done: &Done| done.outcome.status.is_unsettled_end() && done.authorization != *intent.authorization();
        if let Some(done) = done.filter(|done| !begins_anew(done)) {
            return actions.push(Action::Finished(done.outcome));
        }
        if let Some(open) = self.open.get(&payment_id) {
            // The database may know of the earlier one's end a moment before this machine does.
            if open.stored.intent.authorization() != intent.authorization() {
                actions.push(Action::Refused { payment_id, reason: RefuseReason::OtherOpen });
            }
            return;
        }
        if intent.chain_id() != self.config.chain_id {
            let reason = RefuseReason::WrongChain { expected: self.config.chain_id, got: intent.chain_id() };
            return actions.push(Action::Refused { payment_id, reason });
        }
        if self.config.max_open <= self.open.len() {
            let reason = RefuseReason::Full { limit: self.config.max_open };
            return actions.push(Action::Refused { payment_id, reason });
        }
        // Crash: before the first record is durable: whoever told the intent keeps it (the host stores it with the receipt) and tells
        // it again.
        // Revisions go on where the earlier one's ended: a late report about its record must not pass for one about this record.
        let revision = self.done.remove(&payment_id).map_or(0, |done| done.revision);
        let stored = StoredIntent { intent, revision, progress: Progress::AwaitingNonce { attempts: 0 } };
        self.open.insert(payment_id, Entry::new(stored, now_ms));
    }

    fn on_persisted(&mut self, payment_id: &Hash32, revision: u64, result: PersistResult, now_ms: u64) {
        let Some(entry) = self.open.get_mut(payment_id).filter(|entry| entry.stored.revision == revision) else { return };
        match result {
            PersistResult::Durable => entry.writing_since_ms = None,
            // Failed means unknown: the same record is written again, which is harmless if it is there.
            PersistResult::Failed => entry.writing_since_ms = entry.writing_since_ms.map(|_| now_ms),
        }
    }

    fn on_answer(&mut self, answer: ChainAnswer, now_ms: u64) {
        if matches!(answer, ChainAnswer::RpcDown | ChainAnswer::Broadcast { outcome: BroadcastOutcome::NotSent, .. }) {
            let pause_ms = self.config.rpc_backoff_ms.saturating_mul(1 << self.rpc_failures.min(6));
            self.rpc_failures = self.rpc_failures.saturating_add(1);
            self.rpc_pause_until_ms = now_ms.saturating_add(pause_ms);
        } else {
            self.rpc_failures = 0;
            self.rpc_pause_until_ms = 0;
        }
        let (config, nonces) = (&self.config, &mut self.nonces);
        match answer {
            ChainAnswer::Broadcast { purpose, account_nonce, gas_level, outcome } => {
                if outcome == BroadcastOutcome::NonceTooLow {
                    nonces.poll_at_ms = 0;
                }
                match purpose {
                    Purpose::Settle { payment_id, attempt } => {
                        if let Some(entry) = self.open.get_mut(&payment_id) {
                            entry.on_broadcast((attempt, account_nonce, gas_level), outcome, now_ms, config);
                        }
                    }
                    Purpose::Fill => {
                        let retry_at_ms = now_ms.saturating_add(config.poll_ms);
                        nonces.on_filler(Filler { account_nonce, gas_level }, outcome, retry_at_ms, config.max_gas_level);
                    }
                }
                for entry in self.open.values_mut() {
                    match (outcome, entry.slot().map(|slot| slot.account_nonce)) {
                        (BroadcastOutcome::Sent { .. }, Some(other)) if account_nonce < other => entry.on_sent_below(),
                        (BroadcastOutcome::NonceTooHigh, Some(other)) if other < account_nonce => entry.on_gap_above(),
                        _ => {}
                    }
                }
            }
            ChainAnswer::ReceiptFound { payment_id, receipt } => {
                if let Some(entry) = self.open.get_mut(&payment_id) {
                    entry.on_receipt(&receipt, config, nonces);
                }
            }
            ChainAnswer::ReceiptMissing { payment_id } => {
                if let Some(entry) = self.open.get_mut(&payment_id) {
                    entry.on_receipt_missing();
                }
            }
            ChainAnswer::AuthorizationState { payment_id, state, at } => {
                if let Some(entry) = self.open.get_mut(&payment_id) {
                    entry.on_authorization(&state, at, now_ms, config, nonces);
                }
            }
            ChainAnswer::AccountNonce { next, block } => nonces.learn(next, block),
            ChainAnswer::RpcDown => {}
        }
    }

    /// Gives free account nonces to waiting settlements, the most urgent first.
    fn assign_nonces(&mut self, now_ms: u64) {
        let mut live = self.live_nonces();
        while live.len() < self.config.max_in_flight {
            let Some(account_nonce) = self.nonces.lowest_free(&live) else { return };
            let waiting = self
                .open
                .values_mut()
                .filter(|entry| matches!(entry.stored.progress, Progress::AwaitingNonce { .. }) && entry.may_send(now_ms, &self.nonces));
            let Some(entry) = waiting.min_by_key(|entry| entry.stored.intent.valid_before()) else { return };
            entry.assign(account_nonce);
            live.insert(account_nonce);
        }
    }

    /// Transactions in the order of their account nonces, up to the first with which no node was reached yet.
    fn send_in_order(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let Some(next) = self.nonces.next() else { return };
        let mut live: BTreeMap<u64, &mut Entry> =
            self.open.values_mut().filter_map(|entry| Some((entry.slot()?.account_nonce, entry))).collect();
        let Some(highest) = live.keys().next_back().copied() else { return };
        // Ends at the first that waits, so it is as long as what is in flight.
        for account_nonce in next..=highest {
            let was_sent = match live.get_mut(&account_nonce) {
                Some(entry) => {
                    actions.extend(entry.take_broadcast(now_ms, &self.nonces).map(Action::Chain));
                    entry.was_sent()
                }
                None => {
                    let (every_ms, max_level) = (self.config.bump_after_ms, self.config.max_gas_level);
                    let filler = self.nonces.due_filler(account_nonce, now_ms, every_ms, max_level);
                    actions.extend(filler.map(|filler| fill(filler, &self.config)));
                    self.nonces.is_filled(account_nonce)
                }
            };
            if !was_sent {
                return;
            }
        }
    }

    fn ask_account_nonce(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        if !self.open.is_empty() && self.nonces.poll_at_ms <= now_ms {
            self.nonces.poll_at_ms = now_ms.saturating_add(self.config.poll_ms);
            actions.push(Action::Chain(ChainRequest::QueryAccountNonce));
        }
    }

    /// Tells and forgets what is over, once that is durable: a restart must not be able to tell another story.
    fn retire(&mut self, actions: &mut Vec<Action>) {
        let is_over = |entry: &Entry| entry.is_durable() && matches!(entry.stored.progress, Progress::Done { .. });
        let over: Vec<Hash32> = self.open.values().filter(|entry| is_over(entry)).map(Entry::payment_id).collect();
        for payment_id in over {
            let Some(entry) = self.open.remove(&payment_id) else { continue };
            if let Progress::Done { status, .. } = entry.stored.progress {
                self.remember(&entry.stored, status);
                // Crash: before the shell has told it: the record is durable, and a second intent for it gets the same outcome.
                actions.push(Action::Finished(Outcome { payment_id, status }));
            }
        }
    }

    fn remember(&mut self, record: &StoredIntent, status: SettlementStatus) {
        let payment_id = record.intent.payment_id();
        let forget_at_ms = record.intent.ends_at_ms().saturating_add(self.config.retention_ms);
        if MAX_DONE <= self.done.len()
            && let Some(oldest) = self.done.iter().min_by_key(|(_, done)| done.forget_at_ms).map(|(key, _)| *key)
        {
            self.done.remove(&oldest);
        }
        let (authorization, outcome) = (*record.intent.authorization(), Outcome { payment_id, status });
        self.done.insert(payment_id, Done { outcome, authorization, revision: record.revision, forget_at_ms });
    }

    fn live_nonces(&self) -> BTreeSet<u64> {
        self.open.values().filter_map(Entry::slot).map(|slot| slot.account_nonce).collect()
    }
}

/// A transaction that does nothing but use up its account nonce.
fn fill(filler: Filler, config: &MachineConfig) -> Action {
    Action::Chain(ChainRequest::SignAndBroadcast {
        purpose: Purpose::Fill,
        account_nonce: filler.account_nonce,
        gas_level: filler.gas_level,
        simulation: Simulation::Skip,
        to: config.gas_account,
        calldata: Calldata::default(),
    })
}

fn write_if_due(entry: &mut Entry, now_ms: u64, config: &MachineConfig, actions: &mut Vec<Action>) {
    let repeat = entry.writing_since_ms.is_some_and(|since_ms| since_ms.saturating_add(config.persist_retry_ms) <= now_ms);
    if entry.dirty {
        entry.stored.revision = entry.stored.revision.saturating_add(1);
    } else if !repeat {
        return;
    }
    entry.dirty = false;
    entry.writing_since_ms = Some(now_ms);
    actions.push(Action::Persist(entry.stored.clone()));
}

fn tell_pending(entry: &mut Entry, now_ms: u64, config: &MachineConfig, actions: &mut Vec<Action>) {
    let is_over = matches!(entry.stored.progress, Progress::Done { .. });
    if entry.told_pending || is_over || now_ms < entry.created_ms.saturating_add(config.pending_after_ms) {
        return;
    }
    entry.told_pending = true;
    actions.push(Action::StillPending { payment_id: entry.payment_id(), tx_hash: latest_hash(entry) });
}

fn latest_hash(entry: &Entry) -> Option<Hash32> {
    entry.slot().and_then(|slot| slot.hashes.last().copied())
}
