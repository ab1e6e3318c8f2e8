//! The settlement machine of the host: from intents to money, whatever crashes, lies or gets stuck on the way.
//!
//! One machine per gas key, single writer, sans I/O: [`Machine::step`] takes an event and the time, and gives actions. A crash at any
//! point is a restart with what was durable: [`Machine::new`] goes through the same steps as the first time, only asking before sending.
//!
//! ```text
//! Machine ─┬─ open: Payment      what is awaited about each payment            payment.rs, facts.rs
//!          ├─ lane: Transaction  what is awaited about each transaction        lane.rs, transaction.rs, account.rs
//!          ├─ agenda             who is due, and whose turn it is to ask       agenda.rs, line.rs, shares.rs
//!          ├─ waiters            questions that are out                        waiters.rs
//!          └─ done               how those that are over ended                 done.rs
//! ```
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
//! 7. At most [`MAX_QUESTIONS`](super::MAX_QUESTIONS) questions are out, at most one about one settlement; a step costs what is due, not
//!    what is open.
//! 8. Payers take turns, whatever number of settlements each has, and no payer has more than a part of the open settlements and of the
//!    account nonces: one who pays for much delays another's one payment no more than one who pays for little.

use std::collections::BTreeMap;

use candor_verify::bytes::Hash32;
use candor_verify::time::UnixSeconds;

use super::agenda::{Agenda, MAX_PER_STEP, Place};
use super::config::MachineConfig;
use super::done::{Done, DoneSet};
use super::endpoint::Endpoint;
use super::event::{Action, BroadcastOutcome, ChainAnswer, ChainRequest, Event, PersistResult, Purpose, RefuseReason, Simulation};
use super::facts::Included;
use super::intent::Intent;
use super::lane::{Lane, TxKey};
use super::outcome::{Outcome, SettlementStatus};
use super::payment::Payment;
use super::store::{Progress, StoredIntent};
use super::transaction::Told;
use super::waiters::{Question, Waiters};
use crate::scheme::Calldata;

/// The machine.
#[derive(Debug)]
pub struct Machine {
    config: MachineConfig,
    open: BTreeMap<Hash32, Payment>,
    lane: Lane,
    // Invariant: has every open settlement where its `placed` says.
    agenda: Agenda,
    waiters: Waiters,
    done: DoneSet,
    /// When to ask for the account nonce again.
    account_at_ms: u64,
    /// The chain's clock, as last heard. One for all: nobody's end is asked for before.
    chain_time: UnixSeconds,
    endpoint: Endpoint,
}

impl Machine {
    /// A machine that goes on from what is stored. Give it every unfinished record, and the finished ones of the last `retention_ms`.
    #[must_use]
    pub fn new(config: MachineConfig, stored: Vec<StoredIntent>) -> Self {
        let mut machine = Self {
            config,
            open: BTreeMap::new(),
            lane: Lane::default(),
            agenda: Agenda::default(),
            waiters: Waiters::default(),
            done: DoneSet::default(),
            account_at_ms: 0,
            chain_time: UnixSeconds::default(),
            endpoint: Endpoint::default(),
        };
        for record in stored {
            if let Progress::Done { status, slot } = &record.progress {
                if let Some(slot) = slot {
                    machine.lane.restore_filler(slot, config.max_gas_level);
                }
                machine.done.remember(&record, *status, config.retention_ms);
            } else if let Some(payment) = Payment::restored(record, &mut machine.lane, &config) {
                machine.insert(payment);
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
            Event::Chain(answer) => self.on_answer(answer, now_ms, &mut actions),
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
        if self.endpoint.is_up(now_ms) {
            self.ask(now_ms, &mut actions);
            self.send_in_order(now_ms, &mut actions);
        }
        actions
    }

    /// How a settlement stands; `None` if it was never told here, or long ago.
    #[must_use]
    pub fn status(&self, payment_id: &Hash32) -> Option<SettlementStatus> {
        if let Some(payment) = self.open.get(payment_id) {
            return Some(SettlementStatus::Pending { tx_hash: self.latest_hash(payment) });
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
        self.lane.len_with_rows()
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
            if open.intent().transfer() != intent.transfer() {
                actions.push(Action::Refused { payment_id, reason: RefuseReason::OtherOpen });
            }
            return None;
        }
        if let Some(reason) = self.refuses(&intent) {
            actions.push(Action::Refused { payment_id, reason });
            return None;
        }
        // Crash: before the first record is durable: whoever told the intent keeps it (the host stores it with the receipt) and tells
        // it again.
        // Revisions go on where the earlier one's ended: a late report about its record must not pass for one about this record.
        let revision = self.done.remove(&payment_id).map_or(0, |done| done.revision);
        self.insert(Payment::new(intent, revision, now_ms, &self.config));
        Some(payment_id)
    }

    fn refuses(&self, intent: &Intent) -> Option<RefuseReason> {
        let (all, of_payer) = (self.config.max_open, self.config.max_open_of_payer());
        if intent.chain_id() != self.config.chain_id {
            return Some(RefuseReason::WrongChain { expected: self.config.chain_id, got: intent.chain_id() });
        }
        if all <= self.open.len() {
            return Some(RefuseReason::Full { limit: all });
        }
        (of_payer <= self.agenda.open_of(&intent.payer())).then_some(RefuseReason::Full { limit: of_payer })
    }

    fn on_persisted(&mut self, payment_id: Hash32, revision: u64, result: PersistResult, now_ms: u64) -> Option<Hash32> {
        let payment = self.open.get_mut(&payment_id)?;
        match result {
            PersistResult::Durable => payment.on_durable(revision),
            PersistResult::Failed => payment.on_write_failed(revision, now_ms),
        }
        Some(payment_id)
    }

    /// Takes what the chain said; gives the settlement that it was about.
    fn on_answer(&mut self, answer: ChainAnswer, now_ms: u64, actions: &mut Vec<Action>) -> Option<Hash32> {
        if matches!(answer, ChainAnswer::RpcDown { .. } | ChainAnswer::Broadcast { outcome: BroadcastOutcome::NotSent, .. }) {
            self.endpoint.on_failure(now_ms, self.config.rpc_backoff_ms);
        } else {
            self.endpoint.on_answer();
        }
        let (config, lane) = (&self.config, &mut self.lane);
        match answer {
            ChainAnswer::Broadcast { purpose, account_nonce, gas_level, outcome } => {
                self.on_broadcast(purpose, (account_nonce, gas_level), outcome, now_ms)
            }
            ChainAnswer::Simulated { payment_id, reverts_at } => self.on_tried(payment_id, reverts_at, now_ms),
            ChainAnswer::ReceiptFound { payment_id, receipt } => {
                self.waiters.on_answer(&payment_id, Question::Receipt);
                let transfer = self.open.get_mut(&payment_id)?.on_receipt(&receipt, config, lane);
                actions.extend(transfer.map(|transfer| included(payment_id, transfer)));
                Some(payment_id)
            }
            ChainAnswer::ReceiptMissing { payment_id } => {
                self.waiters.on_answer(&payment_id, Question::Receipt);
                self.open.get_mut(&payment_id)?.on_receipt_missing(now_ms, lane);
                Some(payment_id)
            }
            ChainAnswer::AuthorizationState { payment_id, state, at } => {
                self.waiters.on_answer(&payment_id, Question::Authorization);
                let transfer = self.open.get_mut(&payment_id)?.on_authorization(&state, at, now_ms, config, lane);
                actions.extend(transfer.map(|transfer| included(payment_id, transfer)));
                Some(payment_id)
            }
            ChainAnswer::AccountNonce { next, at } => {
                self.waiters.on_account();
                self.chain_time = at.timestamp;
                lane.learn(next, at.number);
                None
            }
            ChainAnswer::RpcDown { about: Some(payment_id) } => {
                self.waiters.on_unanswered(&payment_id);
                self.open.get_mut(&payment_id)?.hurry();
                Some(payment_id)
            }
            ChainAnswer::RpcDown { about: None } => {
                self.waiters.on_account();
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
        let tx = match purpose {
            Purpose::Settle { attempt, .. } => TxKey { account_nonce, serial: attempt },
            Purpose::Fill => self.lane.filler(account_nonce)?,
        };
        let told = self.lane.on_outcome(tx, gas_level, outcome, now_ms, &self.config);
        if told == Told::NonceUsed {
            self.account_at_ms = 0;
        }
        let payment_id = self.lane.get(tx)?.rows().next()?;
        let payment = self.open.get_mut(&payment_id)?;
        match told {
            Told::Nothing => {}
            Told::Changed => payment.on_transaction_changed(),
            Told::NonceUsed => payment.hurry(),
            Told::WouldRevert { block } => payment.on_unsent(block),
        }
        Some(payment_id)
    }

    /// A call that passes gets the lowest free account nonce, at once: what it says is true for this moment only.
    fn on_tried(&mut self, payment_id: Hash32, reverts_at: Option<u64>, now_ms: u64) -> Option<Hash32> {
        let passed_ms = self.waiters.on_answer(&payment_id, Question::Try)?;
        let payment = self.open.get_mut(&payment_id)?;
        let may_begin = payment.may_begin(now_ms, &self.config) && 0 < self.lane.room(&self.config);
        match reverts_at {
            Some(block) => payment.on_tried_in_vain(block),
            None => match may_begin.then(|| self.lane.give(payment_id, passed_ms)).flatten() {
                Some(tx) => payment.on_transaction(tx, now_ms, &self.config),
                // There is no account nonce to send it with now.
                None => payment.hurry(),
            },
        }
        Some(payment_id)
    }

    /// The settlements whose time has come, by the clock, by the chain's clock, or because a question of theirs was never answered.
    fn due(&mut self, now_ms: u64) -> Vec<Hash32> {
        let asked_by_ms = now_ms.checked_sub(self.config.question_timeout_ms);
        let mut due = asked_by_ms.map_or_else(Vec::new, |by_ms| self.waiters.give_up(by_ms));
        for payment_id in &due {
            self.open.get_mut(payment_id).into_iter().for_each(Payment::hurry);
        }
        let ended = self.agenda.ended(self.chain_time);
        for payment_id in &ended {
            self.open.get_mut(payment_id).into_iter().for_each(Payment::on_over);
        }
        due.extend(ended);
        due.extend(self.agenda.due_chores(now_ms));
        if self.endpoint.is_up(now_ms) {
            due.extend(self.agenda.due_rounds(now_ms));
        }
        due
    }

    /// After something happened to a settlement, or its time has come: looks, writes, tells, and notes when to come back.
    fn tend(&mut self, payment_id: Hash32, now_ms: u64, actions: &mut Vec<Action>) {
        let Some(payment) = self.open.get_mut(&payment_id) else { return };
        if self.endpoint.is_up(now_ms) {
            payment.begin_round(now_ms, &self.config, &mut self.lane);
        }
        actions.extend(payment.take_write(now_ms, &self.config, &self.lane).map(Action::Persist));
        if payment.take_pending(now_ms) {
            let tx_hash = self.open.get(&payment_id).and_then(|payment| self.latest_hash(payment));
            actions.push(Action::StillPending { payment_id, tx_hash });
        }
        // What is over is told and forgotten once that is durable: a restart must not be able to tell another story.
        match self.open.get(&payment_id).and_then(Payment::durable_end) {
            Some(status) => self.retire(payment_id, status, actions),
            None => self.replace(payment_id),
        }
    }

    /// Asks as many questions as may be out, those first whose turn it is.
    fn ask(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        if !self.open.is_empty() && self.account_at_ms <= now_ms && !self.waiters.has_account() && !self.waiters.are_full() {
            self.account_at_ms = now_ms.saturating_add(self.config.poll_ms);
            self.waiters.ask_account(now_ms);
            actions.push(Action::Chain(ChainRequest::QueryAccountNonce));
        }
        let (room, max_seats) = (self.lane.room(&self.config), self.config.max_seats_of_payer());
        for _ in 0..MAX_PER_STEP {
            if self.waiters.are_full() {
                return;
            }
            // Every call that is being tried has an account nonce waiting, so that none is tried for nothing.
            let may_try = self.waiters.trying() < room;
            let Some(payment_id) = self.agenda.next_to_ask(may_try, max_seats) else { return };
            let asked = self.open.get_mut(&payment_id).and_then(|payment| payment.take_question(now_ms, &self.config, &self.lane));
            if let Some((question, request)) = asked {
                self.waiters.ask(payment_id, question, now_ms);
                actions.push(Action::Chain(request));
            }
            // Whoever had nothing to ask after all leaves the line by this.
            self.tend(payment_id, now_ms, actions);
        }
    }

    /// Transactions in the order of their account nonces, up to the first with which no node was reached yet.
    fn send_in_order(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        for tx in self.lane.due(now_ms, &self.config) {
            let row = self.lane.get(tx).and_then(|transaction| transaction.rows().next());
            let payment = row.and_then(|payment_id| self.open.get(&payment_id));
            if payment.is_none_or(|payment| payment.may_be_sent(now_ms, &self.lane)) {
                // Crash: here or in the shell: the record names the nonce, so a restart asks the chain and then sends the same call with
                // the same nonce. Whether this one was sent does not matter: of the two at most one can land.
                let handed_out = self.lane.hand_out(tx, now_ms, &self.config);
                actions.extend(handed_out.map(|at| Action::Chain(broadcast(tx, at, payment, &self.config))));
            }
        }
    }

    fn latest_hash(&self, payment: &Payment) -> Option<Hash32> {
        self.lane.get(payment.tx()?)?.hashes().last().copied()
    }

    fn insert(&mut self, payment: Payment) {
        let payment_id = payment.payment_id();
        self.open.insert(payment_id, payment);
        self.replace(payment_id);
    }

    fn replace(&mut self, payment_id: Hash32) {
        let Some(payment) = self.open.get_mut(&payment_id) else { return };
        let place = payment.place(self.waiters.has(&payment_id), self.waiters.tries(&payment_id), &self.config);
        self.agenda.put(payment_id, payment.intent().payer(), &payment.placed, &place);
        payment.placed = place;
    }

    fn retire(&mut self, payment_id: Hash32, status: SettlementStatus, actions: &mut Vec<Action>) {
        let Some(payment) = self.open.remove(&payment_id) else { return };
        self.agenda.put(payment_id, payment.intent().payer(), &payment.placed, &Place::default());
        self.waiters.orphan(&payment_id);
        self.done.remember(&payment.stored(&self.lane), status, self.config.retention_ms);
        // Crash: before the shell has told it: the record is durable, and a second intent for it gets the same outcome.
        actions.push(Action::Finished(Outcome::of(payment.intent(), status)));
    }
}

fn included(payment_id: Hash32, Included { tx_hash, block, by }: Included) -> Action {
    Action::Included { payment_id, tx_hash, block, by }
}

/// The request to send a transaction: the call of its row, or nothing, to ourselves.
fn broadcast(tx: TxKey, (gas_level, simulation): (u8, Simulation), row: Option<&Payment>, config: &MachineConfig) -> ChainRequest {
    let account_nonce = tx.account_nonce;
    match row {
        Some(payment) => ChainRequest::SignAndBroadcast {
            purpose: Purpose::Settle { payment_id: payment.payment_id(), attempt: tx.serial },
            account_nonce,
            gas_level,
            simulation,
            to: payment.intent().to(),
            calldata: payment.intent().calldata().clone(),
        },
        None => ChainRequest::SignAndBroadcast {
            purpose: Purpose::Fill,
            account_nonce,
            gas_level,
            simulation,
            to: config.gas_account,
            calldata: Calldata::default(),
        },
    }
}

#[cfg(test)]
mod tests {
    use candor_verify::bytes::{Address, Amount, Signature65};
    use candor_verify::payment::Authorization;
    use candor_verify::scheme::Through;

    use super::super::waiters::MAX_QUESTIONS;
    use super::*;
    use crate::scheme::encode_transfer;

    const OPEN: u32 = 5_000;

    fn intent(n: u32) -> Intent {
        let mut nonce = [0; 32];
        nonce[..4].copy_from_slice(&n.to_be_bytes());
        let mut from = [0; 20];
        from[..4].copy_from_slice(&n.to_be_bytes());
        let (from, nonce, valid_before) = (Address(from), Hash32(nonce), UnixSeconds(1_000_000));
        let authorization = Authorization {
            through: Through::Token,
            from,
            to: Address([2; 20]),
            value: Amount(1),
            valid_after: UnixSeconds(0),
            valid_before,
            nonce,
        };
        Intent::parse(1, Address([3; 20]), encode_transfer(&authorization, &Signature65([4; 65]))).unwrap()
    }

    /// Reports every write, and gives the settlements that were written.
    fn report_writes(machine: &mut Machine, actions: Vec<Action>, now_ms: u64) -> usize {
        let mut written = 0;
        for action in actions {
            if let Action::Persist(record) = action {
                let (payment_id, revision, result) = (record.intent.payment_id(), record.revision, PersistResult::Durable);
                let _no_more = machine.step(Event::Persisted { payment_id, revision, result }, now_ms);
                written += 1;
            }
        }
        written
    }

    #[test]
    fn a_step_looks_at_what_is_due_and_not_at_what_is_open() {
        let config = MachineConfig { pending_after_ms: 10_000, ..MachineConfig::new(1, Address([1; 20])) };
        let mut machine = Machine::new(config, vec![]);
        for n in 0..OPEN {
            let actions = machine.step(Event::Intent(intent(n)), 1_000);
            assert_eq!(report_writes(&mut machine, actions, 1_000), 1);
        }
        let at = super::super::event::BlockRef { number: 1, timestamp: UnixSeconds(1) };
        let asked = machine.step(Event::Chain(ChainAnswer::AccountNonce { next: 0, at }), 1_000);
        assert_eq!(asked.len(), MAX_QUESTIONS, "as many tries as there is room for");
        // They wait for their turn, or for an answer: nothing of them is due, whatever time passes.
        assert_eq!(machine.due(10_999), []);
        // All are to be told at once that they take long: some in each step, each once.
        let mut told = 0;
        for _ in 0..OPEN.div_ceil(64) {
            let actions = machine.step(Event::Tick, 11_000);
            assert!(actions.len() <= MAX_PER_STEP + 1, "{}", actions.len());
            told += actions.iter().filter(|action| matches!(action, Action::StillPending { .. })).count();
        }
        assert_eq!((told, machine.due(11_000)), (5_000, vec![]));
    }

    #[test]
    fn those_that_end_at_once_are_taken_up_some_in_each_step() {
        let mut machine = Machine::new(MachineConfig::new(1, Address([1; 20])), vec![]);
        for n in 0..OPEN {
            let actions = machine.step(Event::Intent(intent(n)), 1_000);
            report_writes(&mut machine, actions, 1_000);
        }
        machine.chain_time = UnixSeconds(1_000_000);
        for _ in 0..OPEN.div_ceil(64) {
            assert_ne!(machine.agenda.ended(machine.chain_time), []);
            let actions = machine.step(Event::Tick, 1_000);
            assert!(actions.len() <= MAX_QUESTIONS, "{}", actions.len());
        }
        assert_eq!(machine.agenda.ended(machine.chain_time), []);
    }
}
