//! A settlement in simulated time: a chain that answers late and mines in seconds, and what goes wrong on the way, by a plan.
//!
//! What goes wrong is a matter of time and of payments, not of how much is asked: whoever settles under the same plan meets the same.

use std::collections::BTreeMap;

use candor_verify::bytes::Hash32;
use candor_verify::hash::sha256;
use candor_x402::settlement::*;

use crate::chain::{Host, Settles, down, persisted};

/// Simulated time goes on by this.
pub const STEP_MS: u64 = 50;

/// What goes wrong, and when.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub seed: u64,
    pub faults: Vec<(Fault, std::ops::Range<u64>)>,
    /// The process dies at these times.
    pub crashes: Vec<u64>,
}

/// A way to go wrong. Times are milliseconds since the start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The endpoint does nothing, and says so.
    Down,
    /// The endpoint does what is asked, and says that it could not.
    DownButDone,
    /// No answer comes to half of the questions, nor to transactions.
    Lost,
    /// It is not known whether a transaction was sent; half of them were not.
    Unknown,
    /// Nothing is sent, as the endpoint says.
    NotSent,
    /// Nothing is written.
    NotWritten,
    /// All is written, and reported as failed.
    WrittenButFailed,
    /// Answers come twice, the second time late.
    Doubled,
}

pub const FAULTS: [Fault; 8] = [
    Fault::Down,
    Fault::DownButDone,
    Fault::Lost,
    Fault::Unknown,
    Fault::NotSent,
    Fault::NotWritten,
    Fault::WrittenButFailed,
    Fault::Doubled,
];

/// A host on its way through simulated time.
pub struct Sim<M = Machine> {
    pub host: Host<M>,
    pub plan: Plan,
    /// From question to answer.
    pub latency_ms: u64,
    pub block_ms: u64,
    pub started_ms: u64,
    /// When the transfer of a payment was first seen on the chain.
    pub landed_ms: BTreeMap<Hash32, u64>,
    /// Most questions that were out at once.
    pub most_questions: usize,
    on_the_way: Vec<(u64, Action)>,
    late: Vec<(u64, Event)>,
    happened: u64,
}

impl<M: Settles> Sim<M> {
    pub fn new(host: Host<M>, plan: Plan) -> Self {
        let started_ms = host.now_ms;
        Self {
            host,
            plan,
            latency_ms: 100,
            block_ms: 1_000,
            started_ms,
            landed_ms: BTreeMap::new(),
            most_questions: 0,
            on_the_way: vec![],
            late: vec![],
            happened: 0,
        }
    }

    pub fn elapsed_ms(&self) -> u64 {
        self.host.now_ms - self.started_ms
    }

    pub fn tell(&mut self, payment: Intent) {
        self.host.tell(payment);
        self.start();
    }

    /// Polls until this payment has landed.
    pub fn polls_until_landed(&mut self, payment: &Intent, most: u64) -> u64 {
        for polls in 0..most {
            if self.host.chain.moved(payment).is_some() {
                return polls;
            }
            self.pass(self.host.config.poll_ms);
        }
        panic!("not settled after {most} polls")
    }

    pub fn pass(&mut self, ms: u64) {
        let until_ms = self.host.now_ms + ms;
        while self.host.now_ms < until_ms {
            self.host.now_ms += STEP_MS;
            self.moment();
        }
    }

    fn moment(&mut self) {
        let elapsed_ms = self.elapsed_ms();
        if self.plan.crashes.contains(&elapsed_ms) {
            self.on_the_way.clear();
            self.late.clear();
            self.host.restart();
            self.start();
        }
        if elapsed_ms.is_multiple_of(self.block_ms) {
            self.host.mine();
            self.note_landed();
        }
        self.step(Event::Tick);
        let now_ms = self.host.now_ms;
        while let Some(at) = self.on_the_way.iter().position(|(at_ms, _)| *at_ms <= now_ms) {
            let (_, action) = self.on_the_way.remove(at);
            if let Some(event) = self.run(&action) {
                self.step(event);
            }
        }
        while let Some(at) = self.late.iter().position(|(at_ms, _)| *at_ms <= now_ms) {
            let (_, event) = self.late.remove(at);
            self.step(event);
        }
    }

    fn note_landed(&mut self) {
        for payment in &self.host.intents {
            if self.host.chain.moved(payment).is_some() {
                self.landed_ms.entry(payment.payment_id()).or_insert(self.host.now_ms);
            }
        }
    }

    fn step(&mut self, event: Event) {
        self.host.step(event);
        self.start();
    }

    /// Writes come at once and requests on their way.
    fn start(&mut self) {
        while !self.host.actions.is_empty() {
            for action in std::mem::take(&mut self.host.actions) {
                if matches!(action, Action::Chain(_)) {
                    self.on_the_way.push((self.host.now_ms + self.latency_ms, action));
                } else if let Some(event) = self.run(&action) {
                    self.host.step(event);
                }
            }
        }
        let is_question = |action: &Action| !matches!(action, Action::Chain(ChainRequest::SignAndBroadcast { .. }));
        self.most_questions = self.on_the_way.iter().filter(|(_, action)| is_question(action)).count().max(self.most_questions);
    }

    /// A coin of this plan.
    fn tails(&mut self) -> bool {
        self.happened += 1;
        sha256(&[&self.plan.seed.to_be_bytes(), &self.happened.to_be_bytes()]).0[0] & 1 == 0
    }

    fn has(&self, fault: Fault) -> bool {
        let elapsed_ms = self.elapsed_ms();
        self.plan.faults.iter().any(|(planned, when)| *planned == fault && when.contains(&elapsed_ms))
    }

    fn run(&mut self, action: &Action) -> Option<Event> {
        match action {
            Action::Persist(record) if self.has(Fault::NotWritten) => Some(persisted(record, PersistResult::Failed)),
            Action::Persist(record) if self.has(Fault::WrittenButFailed) => {
                self.host.store(record);
                Some(persisted(record, PersistResult::Failed))
            }
            Action::Chain(request) => self.run_request(request, action),
            _ => self.host.run(action),
        }
    }

    fn run_request(&mut self, request: &ChainRequest, action: &Action) -> Option<Event> {
        if self.has(Fault::Down) {
            return Some(down(request));
        }
        if let ChainRequest::SignAndBroadcast { purpose, account_nonce, gas_level, calldata, .. } = request {
            let answer =
                |outcome| ChainAnswer::Broadcast { purpose: *purpose, account_nonce: *account_nonce, gas_level: *gas_level, outcome };
            if self.has(Fault::NotSent) {
                return Some(Event::Chain(answer(BroadcastOutcome::NotSent)));
            }
            if self.has(Fault::Unknown) && self.tails() {
                let hash = sha256(&[&account_nonce.to_be_bytes(), &[*gas_level], &calldata.0]);
                return Some(Event::Chain(answer(BroadcastOutcome::Unknown { hash })));
            }
        }
        let event = self.host.run(action);
        if self.has(Fault::DownButDone) {
            return Some(down(request));
        }
        if self.has(Fault::Lost) && (request.about().is_none() || self.tails()) {
            return None;
        }
        if self.has(Fault::Doubled) {
            self.late.extend(event.clone().map(|event| (self.host.now_ms + 700, event)));
        }
        event
    }
}
