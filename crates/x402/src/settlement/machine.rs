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
//! 6. A settlement that cannot succeed holds up no other: it has no account nonce before its call was seen to pass, and whoever failed
//!    once is tried after all that never did. Payers choose their deadlines and empty their accounts; neither is a place in front.
//! 7. At most [`MAX_QUESTIONS`] questions are out, at most one about one settlement; a step costs what is due, not what is open.

use std::collections::{BTreeMap, BTreeSet};

use candor_verify::bytes::{Address, Hash32};
use candor_verify::time::UnixSeconds;

use super::agenda::{Agenda, MAX_PER_STEP, Place, Question};
use super::done::{Done, DoneSet};
use super::entry::{Entry, Transfer};
use super::event::{Action, BroadcastOutcome, ChainAnswer, ChainRequest, Event, PersistResult, Purpose, RefuseReason, Simulation};
use super::intent::Intent;
use super::nonces::{Filler, Nonces};
use super::outcome::{Outcome, SettlementStatus};
use super::store::{Progress, StoredIntent};
use crate::scheme::Calldata;

/// Questions to the chain at once. Enough for a few hundred a second over a slow RPC, few enough for any endpoint and any limit on sockets.
pub const MAX_QUESTIONS: usize = 16;

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
    /// Time after which a question that was not answered may be asked again.
    pub question_timeout_ms: u64,
    /// Pause after the first [`ChainAnswer::RpcDown`]; doubles up to 64 times this.
    pub rpc_backoff_ms: u64,
    /// Time after the end of a used authorization for its log to be found.
    pub lookup_grace_ms: u64,
    /// Time after its end for which a finished settlement is remembered, to answer a second intent for it.
    pub retention_ms: u64,
    /// From sending to a block, at most, as a rule. A settlement with less time left gets no account nonce: under load the first in the queue
    /// would always be the one that comes too late, its transaction would revert, and nothing would settle any more.
    pub inclusion_ms: u64,
    /// Account nonces given out and not yet in a block.
    pub max_in_flight: usize,
    /// Account nonces given out, also those in a block that is not as deep as it must be: on some chains that takes minutes.
    pub max_unsafe: usize,
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
            question_timeout_ms: 60_000,
            rpc_backoff_ms: 250,
            lookup_grace_ms: 600_000,
            retention_ms: 3_600_000,
            inclusion_ms: 4_000,
            max_in_flight: 16,
            max_unsafe: 512,
            max_open: 16_384,
            max_attempts: 3,
        }
    }
}

/// The machine.
#[derive(Debug)]
pub struct Machine {
    config: MachineConfig,
    open: BTreeMap<Hash32, Entry>,
    // Invariant: has every open settlement where its `placed` says.
    agenda: Agenda,
    done: DoneSet,
    nonces: Nonces,
    /// When the question about the gas account was asked that is not answered.
    nonce_asked_ms: Option<u64>,
    /// The chain's clock, as last heard. One for all: nobody's end is asked for before.
    chain_time: UnixSeconds,
    rpc_failures: u32,
    rpc_pause_until_ms: u64,
}

impl Machine {
    /// A machine that goes on from what is stored. Give it every unfinished record, and the finished ones of the last `retention_ms`.
    #[must_use]
    pub fn new(config: MachineConfig, stored: Vec<StoredIntent>) -> Self {
        let mut machine = Self {
            config,
            open: BTreeMap::new(),
            agenda: Agenda::default(),
            done: DoneSet::default(),
            nonces: Nonces::default(),
            nonce_asked_ms: None,
            chain_time: UnixSeconds::default(),
            rpc_failures: 0,
            rpc_pause_until_ms: 0,
        };
        for record in stored {
            match &record.progress {
                Progress::Done { status, slot } => {
                    if let Some(slot) = slot {
                        machine.nonces.abandon(slot.account_nonce, slot.gas_level);
                    }
                    machine.done.remember(&record, *status, config.retention_ms);
                }
                Progress::AwaitingNonce { .. } | Progress::AwaitingReceipt(_) => machine.insert(Entry::restored(record)),
            }
        }
        machine
    }

    /// Takes an event and gives what is to be done now. Never blocks, never fails.
    #[must_use = "the actions are to be run"]
    pub fn step(&mut self, event: Event, now_ms: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        let concerned = match event {
            Event::Intent(intent) => self.on_intent(intent, now_ms, &mut actions),
            Event::Persisted { payment_id, revision, result } => self.on_persisted(payment_id, revision, result, now_ms),
            Event::Chain(answer) => self.on_answer(answer, now_ms),
            Event::Tick => {
                self.done.forget(now_ms);
                None
            }
        };
        if let Some(payment_id) = concerned {
            self.tend(payment_id, now_ms, &mut actions);
        }
        for payment_id in self.due(now_ms) {
            self.tend(payment_id, now_ms, &mut actions);
        }
        if self.chain_is_up(now_ms) {
            self.ask(now_ms, &mut actions);
            self.send_in_order(now_ms, &mut actions);
        }
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

    /// Those of them for which a transaction was given an account nonce.
    #[must_use]
    pub fn sent_count(&self) -> usize {
        self.agenda.in_flight().count()
    }

    /// Whether nothing more is sent because so many transfers are in no block that is as deep as it must be ([`MachineConfig::max_unsafe`]).
    #[must_use]
    pub fn waits_for_depth(&self) -> bool {
        let sent = self.sent_count();
        self.config.max_unsafe <= sent && sent < self.open.len()
    }

    /// Whether there is room again, and not for the next one alone: what [`Self::waits_for_depth`] told is over.
    #[must_use]
    pub fn has_depth_again(&self) -> bool {
        self.sent_count() < self.config.max_unsafe.saturating_sub(self.config.max_unsafe / 4)
    }

    fn on_intent(&mut self, intent: Intent, now_ms: u64, actions: &mut Vec<Action>) -> Option<Hash32> {
        let payment_id = intent.payment_id();
        // The payment id leaves out amount and end: after an unsettled end the payer can sign the nonce again, and that is told anew.
        let done = self.done.get(&payment_id).copied();
        let begins_anew = |done: &Done| done.outcome.status.is_unsettled_end() && done.transfer != *intent.transfer();
        if let Some(done) = done.filter(|done| !begins_anew(done)) {
            actions.push(Action::Finished(done.outcome));
            return None;
        }
        if let Some(open) = self.open.get(&payment_id) {
            // The database may know of the earlier one's end a moment before this machine does.
            if open.stored.intent.transfer() != intent.transfer() {
                actions.push(Action::Refused { payment_id, reason: RefuseReason::OtherOpen });
            }
            return None;
        }
        if intent.chain_id() != self.config.chain_id {
            let reason = RefuseReason::WrongChain { expected: self.config.chain_id, got: intent.chain_id() };
            actions.push(Action::Refused { payment_id, reason });
            return None;
        }
        if self.config.max_open <= self.open.len() {
            let reason = RefuseReason::Full { limit: self.config.max_open };
            actions.push(Action::Refused { payment_id, reason });
            return None;
        }
        // Crash: before the first record is durable: whoever told the intent keeps it (the host stores it with the receipt) and tells
        // it again.
        // Revisions go on where the earlier one's ended: a late report about its record must not pass for one about this record.
        let revision = self.done.remove(&payment_id).map_or(0, |done| done.revision);
        let stored = StoredIntent { intent, revision, progress: Progress::AwaitingNonce { attempts: 0 } };
        self.insert(Entry::new(stored, now_ms));
        Some(payment_id)
    }

    fn on_persisted(&mut self, payment_id: Hash32, revision: u64, result: PersistResult, now_ms: u64) -> Option<Hash32> {
        let entry = self.open.get_mut(&payment_id).filter(|entry| entry.stored.revision == revision)?;
        match result {
            PersistResult::Durable => entry.writing_since_ms = None,
            // Failed means unknown: the same record is written again, which is harmless if it is there.
            PersistResult::Failed => entry.writing_since_ms = entry.writing_since_ms.map(|_| now_ms),
        }
        Some(payment_id)
    }

    /// Takes what the chain said; gives the settlement that it was about.
    fn on_answer(&mut self, answer: ChainAnswer, now_ms: u64) -> Option<Hash32> {
        if matches!(answer, ChainAnswer::RpcDown { .. } | ChainAnswer::Broadcast { outcome: BroadcastOutcome::NotSent, .. }) {
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
                self.on_broadcast(purpose, (account_nonce, gas_level), outcome, now_ms)
            }
            ChainAnswer::Simulated { payment_id, reverts_at } => self.on_simulated(payment_id, reverts_at, now_ms),
            ChainAnswer::ReceiptFound { payment_id, receipt } => {
                let entry = self.open.get_mut(&payment_id)?;
                entry.on_answered(Question::Receipt);
                entry.on_receipt(&receipt, config, nonces);
                Some(payment_id)
            }
            ChainAnswer::ReceiptMissing { payment_id } => {
                let entry = self.open.get_mut(&payment_id)?;
                entry.on_answered(Question::Receipt);
                entry.on_receipt_missing();
                Some(payment_id)
            }
            ChainAnswer::AuthorizationState { payment_id, state, at } => {
                let entry = self.open.get_mut(&payment_id)?;
                entry.on_answered(Question::Authorization);
                entry.on_authorization(&state, at, now_ms, config, nonces);
                Some(payment_id)
            }
            ChainAnswer::AccountNonce { next, at } => {
                self.nonce_asked_ms = None;
                self.chain_time = at.timestamp;
                nonces.learn(next, at.number);
                None
            }
            ChainAnswer::RpcDown { about: Some(payment_id) } => {
                self.open.get_mut(&payment_id)?.on_unanswered();
                Some(payment_id)
            }
            ChainAnswer::RpcDown { about: None } => {
                self.nonce_asked_ms = None;
                None
            }
        }
    }

    fn on_broadcast(
        &mut self,
        purpose: Purpose,
        (account_nonce, gas_level): (u64, u8),
        outcome: BroadcastOutcome,
        now_ms: u64,
    ) -> Option<Hash32> {
        if outcome == BroadcastOutcome::NonceTooLow {
            self.nonces.poll_at_ms = 0;
        }
        let concerned = match purpose {
            Purpose::Settle { payment_id, attempt } => {
                if let Some(entry) = self.open.get_mut(&payment_id) {
                    entry.on_broadcast((attempt, account_nonce, gas_level), outcome, now_ms, &self.config);
                }
                Some(payment_id)
            }
            Purpose::Fill => {
                let retry_at_ms = now_ms.saturating_add(self.config.poll_ms);
                self.nonces.on_filler(Filler { account_nonce, gas_level }, outcome, retry_at_ms, self.config.max_gas_level);
                None
            }
        };
        for (other, payment_id) in self.agenda.in_flight() {
            let Some(entry) = self.open.get_mut(&payment_id) else { continue };
            match outcome {
                BroadcastOutcome::Sent { .. } if account_nonce < other => entry.on_sent_below(),
                BroadcastOutcome::NonceTooHigh if other < account_nonce => entry.on_gap_above(),
                _ => {}
            }
        }
        concerned
    }

    /// A call that passes gets the lowest free account nonce, at once: what it says is true for this moment only.
    fn on_simulated(&mut self, payment_id: Hash32, reverts_at: Option<u64>, now_ms: u64) -> Option<Hash32> {
        let live: BTreeSet<u64> = self.agenda.in_flight().map(|(account_nonce, _)| account_nonce).collect();
        let asked_ms = self.open.get_mut(&payment_id)?.on_answered(Question::Simulation)?;
        let has_room = self.has_room(0);
        let entry = self.open.get_mut(&payment_id)?;
        let free = self.nonces.lowest_free(&live).filter(|_| has_room);
        match (reverts_at, free) {
            (Some(block), _) => entry.on_would_revert(block),
            (None, Some(account_nonce)) if entry.may_begin(now_ms, &self.config, &self.nonces) => {
                entry.assign(account_nonce, asked_ms, now_ms, &self.config);
            }
            (None, _) => entry.on_passed_in_vain(),
        }
        Some(payment_id)
    }

    /// The settlements whose time has come, by the clock, by the chain's clock, or because a question of theirs was never answered.
    fn due(&mut self, now_ms: u64) -> Vec<Hash32> {
        let asked_by_ms = now_ms.checked_sub(self.config.question_timeout_ms);
        self.nonce_asked_ms = self.nonce_asked_ms.filter(|asked_ms| asked_by_ms.is_none_or(|by_ms| by_ms < *asked_ms));
        let mut due = asked_by_ms.map_or_else(Vec::new, |by_ms| self.agenda.asked_until(by_ms));
        for payment_id in &due {
            if let Some(entry) = self.open.get_mut(payment_id) {
                entry.on_unanswered();
            }
        }
        let ended = self.agenda.ended(self.chain_time);
        for payment_id in &ended {
            if let Some(entry) = self.open.get_mut(payment_id) {
                entry.on_over();
            }
        }
        due.extend(ended);
        due.extend(self.agenda.due_chores(now_ms));
        if self.chain_is_up(now_ms) {
            due.extend(self.agenda.due_polls(now_ms));
        }
        due
    }

    /// After something happened to a settlement, or its time has come: looks, writes, tells, and notes when to come back.
    fn tend(&mut self, payment_id: Hash32, now_ms: u64, actions: &mut Vec<Action>) {
        let chain_is_up = self.chain_is_up(now_ms);
        let Some(entry) = self.open.get_mut(&payment_id) else { return };
        if chain_is_up {
            entry.poll(now_ms, &self.config, &self.nonces);
        }
        write_if_due(entry, now_ms, &self.config, actions);
        tell_pending(entry, now_ms, &self.config, actions);
        if let Some(Transfer { tx_hash, block, by }) = entry.take_transfer() {
            actions.push(Action::Included { payment_id, tx_hash, block, by });
        }
        // What is over is told and forgotten once that is durable: a restart must not be able to tell another story.
        match entry.stored.progress {
            Progress::Done { status, .. } if entry.is_durable() => {
                let outcome = Outcome::of(&entry.stored.intent, status);
                self.retire(payment_id, status);
                // Crash: before the shell has told it: the record is durable, and a second intent for it gets the same outcome.
                actions.push(Action::Finished(outcome));
            }
            Progress::AwaitingNonce { .. } | Progress::AwaitingReceipt(_) | Progress::Done { .. } => self.replace(payment_id),
        }
    }

    /// Asks as many questions as may be out, those first whose turn it is.
    fn ask(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        self.ask_account_nonce(now_ms, actions);
        let mut questions = self.agenda.asked().count().saturating_add(usize::from(self.nonce_asked_ms.is_some()));
        let is_try = |payment_id: &Hash32| self.open.get(payment_id).is_some_and(|entry| entry.awaits(Question::Simulation));
        // Every call that is being tried has an account nonce waiting, so that none is tried for nothing.
        let mut trying = self.agenda.asked().filter(is_try).count();
        for _ in 0..MAX_PER_STEP {
            if MAX_QUESTIONS <= questions {
                return;
            }
            let may_try = self.nonces.next().is_some() && self.has_room(trying);
            let Some(payment_id) = self.agenda.next_to_ask(may_try) else { return };
            let asked = self.open.get_mut(&payment_id).and_then(|entry| entry.take_question(now_ms, &self.config, &self.nonces));
            // Whoever had nothing to ask after all leaves the queue by this.
            self.tend(payment_id, now_ms, actions);
            if let Some((question, request)) = asked {
                questions = questions.saturating_add(1);
                trying = trying.saturating_add(usize::from(question == Question::Simulation));
                actions.push(Action::Chain(request));
            }
        }
    }

    fn ask_account_nonce(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let has_room = self.nonce_asked_ms.is_none() && self.agenda.asked().count() < MAX_QUESTIONS;
        if has_room && !self.open.is_empty() && self.nonces.poll_at_ms <= now_ms {
            self.nonces.poll_at_ms = now_ms.saturating_add(self.config.poll_ms);
            self.nonce_asked_ms = Some(now_ms);
            actions.push(Action::Chain(ChainRequest::QueryAccountNonce));
        }
    }

    /// Transactions in the order of their account nonces, up to the first with which no node was reached yet.
    fn send_in_order(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let Some(next) = self.nonces.next() else { return };
        let Some((highest, _)) = self.agenda.in_flight().next_back() else { return };
        // The walk ends at the first transaction that reached no node, so it is no longer than the list of those in flight.
        for account_nonce in next..=highest {
            let holder = self.agenda.holder(account_nonce);
            let was_sent = match holder.and_then(|payment_id| self.open.get_mut(&payment_id)) {
                Some(entry) => {
                    actions.extend(entry.take_broadcast(now_ms, &self.config, &self.nonces).map(Action::Chain));
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

    /// Whether one more may be given an account nonce, beside those that are being tried.
    fn has_room(&self, trying: usize) -> bool {
        let all = self.agenda.in_flight().count();
        let is_included = |payment_id: &Hash32| self.open.get(payment_id).is_some_and(Entry::is_included);
        let deep_enough_later = self.agenda.in_flight().filter(|(_, payment_id)| is_included(payment_id)).count();
        all.saturating_add(trying) < self.config.max_unsafe
            && all.saturating_sub(deep_enough_later).saturating_add(trying) < self.config.max_in_flight
    }

    fn chain_is_up(&self, now_ms: u64) -> bool {
        self.rpc_pause_until_ms <= now_ms
    }

    fn insert(&mut self, entry: Entry) {
        let payment_id = entry.payment_id();
        self.open.insert(payment_id, entry);
        self.replace(payment_id);
    }

    fn replace(&mut self, payment_id: Hash32) {
        let Some(entry) = self.open.get_mut(&payment_id) else { return };
        let place = entry.place(&self.config);
        self.agenda.put(payment_id, &entry.placed, &place);
        entry.placed = place;
    }

    fn retire(&mut self, payment_id: Hash32, status: SettlementStatus) {
        let Some(entry) = self.open.remove(&payment_id) else { return };
        self.agenda.put(payment_id, &entry.placed, &Place::default());
        self.done.remember(&entry.stored, status, self.config.retention_ms);
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
    if entry.told_pending || entry.is_done() || now_ms < entry.created_ms.saturating_add(config.pending_after_ms) {
        return;
    }
    entry.told_pending = true;
    actions.push(Action::StillPending { payment_id: entry.payment_id(), tx_hash: latest_hash(entry) });
}

fn latest_hash(entry: &Entry) -> Option<Hash32> {
    entry.slot().and_then(|slot| slot.hashes.last().copied())
}
