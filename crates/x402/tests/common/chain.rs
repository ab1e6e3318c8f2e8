//! A chain and a host for the settlement machine: a mempool, blocks, a token, a database, and every way in which they fail.

use std::collections::{BTreeMap, BTreeSet};

use candor_verify::abi::Words;
use candor_verify::bytes::{Address, Amount, Hash32, Signature65};
use candor_verify::hash::{keccak256, sha256};
use candor_verify::payment::Authorization;
use candor_verify::scheme::{Log, TRANSFER_TOPIC, Through, Transfer};
use candor_verify::time::UnixSeconds;
use candor_x402::scheme::{Calldata, decode_transfer, encode_transfer};
use candor_x402::settlement::*;

pub const GAS: Address = Address([0x6a; 20]);
pub const STRANGER: Address = Address([0x57; 20]);
pub const TOKEN: Address = Address([0xa7; 20]);
pub const PAYEE: Address = Address([0xb2; 20]);
pub const CHAIN: u64 = 31337;
pub const START_S: u64 = 1_800_000_000;

pub fn config() -> MachineConfig {
    MachineConfig {
        confirmations: 0,
        poll_ms: 1_000,
        bump_after_ms: 5_000,
        max_gas_level: 3,
        pending_after_ms: 10_000,
        lookup_grace_ms: 20_000,
        question_timeout_ms: 5_000,
        ..MachineConfig::new(CHAIN, GAS)
    }
}

/// The `n`th payment, by payer `n`.
pub fn intent(n: u8, valid_before: u64) -> Intent {
    intent_by(Address([n; 20]), Hash32([n; 32]), valid_before, Signature65([n; 65]))
}

/// The `n`th of many payments, by a payer of its own.
pub fn intent_of_many(n: u32, valid_before: u64) -> Intent {
    let nonce = sha256(&[b"many", &n.to_be_bytes()]);
    let mut payer = [0; 20];
    payer.copy_from_slice(&nonce.0[..20]);
    intent_by(Address(payer), nonce, valid_before, Signature65([1; 65]))
}

/// The `n`th of many payments by one payer.
pub fn intent_of_payer(payer: u8, n: u32, valid_before: u64) -> Intent {
    intent_by(Address([payer; 20]), sha256(&[b"of one", &[payer], &n.to_be_bytes()]), valid_before, Signature65([1; 65]))
}

fn intent_by(from: Address, nonce: Hash32, valid_before: u64, signature: Signature65) -> Intent {
    let (through, value, valid_before) = (Through::Token, Amount(1000), UnixSeconds(valid_before));
    let authorization = Authorization { through, from, to: PAYEE, value, valid_after: UnixSeconds(0), valid_before, nonce };
    Intent::parse(CHAIN, TOKEN, encode_transfer(&authorization, &signature)).unwrap()
}

#[derive(Clone, Debug)]
pub struct Tx {
    pub hash: Hash32,
    pub calldata: Calldata,
}

#[derive(Debug, Default)]
pub struct Chain {
    pub block: u64,
    pub time: UnixSeconds,
    pub mempool: BTreeMap<u64, Vec<Tx>>,
    /// Next account nonce after each block.
    pub nonce_at: Vec<u64>,
    pub receipts: BTreeMap<Hash32, TxReceipt>,
    /// Which transaction used an authorization.
    pub used: BTreeMap<(Address, Hash32), Hash32>,
    pub drained: BTreeSet<Address>,
    /// A token that takes a fee.
    pub fee: bool,
    /// No mempool: a transaction is mined as it comes or refused, like on our dev chain.
    pub no_pool: bool,
    /// Transactions refused because a lower account nonce was missing.
    pub gaps: usize,
}

impl Chain {
    pub fn new() -> Self {
        Self { time: UnixSeconds(START_S), nonce_at: vec![0], ..Self::default() }
    }

    pub fn next_nonce(&self) -> u64 {
        *self.nonce_at.last().unwrap()
    }

    /// Mines one block; of the twins of a nonce, `pick` chooses.
    pub fn mine(&mut self, time: UnixSeconds, pick: usize) {
        self.block += 1;
        self.time = self.time.max(time);
        let mut nonce = self.next_nonce();
        while let Some(twins) = self.mempool.remove(&nonce) {
            let tx = twins[pick % twins.len()].clone();
            self.execute(tx.hash, GAS, &tx.calldata);
            nonce += 1;
        }
        self.mempool = self.mempool.split_off(&nonce);
        self.nonce_at.push(nonce);
    }

    pub fn execute(&mut self, hash: Hash32, from: Address, calldata: &Calldata) {
        let logs = if calldata.0.is_empty() { Some(vec![]) } else { self.transfer(hash, calldata) };
        let status = if logs.is_some() { TxStatus::Success } else { TxStatus::Reverted };
        let receipt = TxReceipt { hash, from, status, logs: logs.unwrap_or_default(), block: self.block, confirmations: 0 };
        self.receipts.insert(hash, receipt);
    }

    fn transfer(&mut self, hash: Hash32, calldata: &Calldata) -> Option<Vec<Log>> {
        let (a, _) = decode_transfer(calldata).unwrap();
        if self.would_revert(calldata) {
            return None;
        }
        self.used.insert((a.from, a.nonce), hash);
        let topic = |address: &Address| Hash32::from_slice(Words::new().address(address).as_slice()).unwrap();
        let value = if self.fee { Amount(a.value.0 - 1) } else { a.value };
        Some(vec![
            Log {
                address: TOKEN,
                topics: vec![keccak256(&[b"AuthorizationUsed(address,bytes32)"]), topic(&a.from), a.nonce],
                data: vec![],
            },
            Log { address: TOKEN, topics: vec![TRANSFER_TOPIC, topic(&a.from), topic(&a.to)], data: Words::new().amount(value).into_vec() },
        ])
    }

    pub fn would_revert(&self, calldata: &Calldata) -> bool {
        let (a, _) = decode_transfer(calldata).unwrap();
        a.valid_before <= self.time || self.used.contains_key(&(a.from, a.nonce)) || self.drained.contains(&a.from)
    }

    pub fn moved(&self, intent: &Intent) -> Option<Hash32> {
        self.used.get(&(intent.payer(), intent.nonce())).copied()
    }

    fn head(&self) -> BlockRef {
        BlockRef { number: self.block, timestamp: self.time }
    }

    fn receipt(&self, hash: &Hash32) -> Option<TxReceipt> {
        self.receipts.get(hash).map(|r| TxReceipt { confirmations: self.block - r.block, ..r.clone() })
    }

    /// Runs a request as an honest node does.
    pub fn run(&mut self, request: &ChainRequest, confirmations: u64) -> ChainAnswer {
        match request.clone() {
            ChainRequest::SignAndBroadcast { purpose, account_nonce, gas_level, simulation, calldata, .. } => {
                let outcome = self.broadcast(account_nonce, gas_level, simulation, calldata);
                ChainAnswer::Broadcast { purpose, account_nonce, gas_level, outcome }
            }
            ChainRequest::Simulate { payment_id, calldata, .. } => {
                let reverts_at = self.would_revert(&calldata).then_some(self.block);
                ChainAnswer::Simulated { payment_id, reverts_at }
            }
            ChainRequest::QueryReceipt { payment_id, hashes } => match hashes.iter().find_map(|hash| self.receipt(hash)) {
                Some(receipt) => ChainAnswer::ReceiptFound { payment_id, receipt },
                None => ChainAnswer::ReceiptMissing { payment_id },
            },
            ChainRequest::QueryAuthorization { transfer: Transfer { payment_id, payer, nonce, .. } } => {
                let at = self.head();
                let state = match self.used.get(&(payer, nonce)) {
                    Some(hash) => AuthorizationState::Used { transaction: self.receipt(hash) },
                    None => AuthorizationState::Unused,
                };
                ChainAnswer::AuthorizationState { payment_id, state, at }
            }
            ChainRequest::QueryAccountNonce => {
                let deep = usize::try_from(self.block.saturating_sub(confirmations)).unwrap();
                ChainAnswer::AccountNonce { next: self.nonce_at[deep], at: self.head() }
            }
        }
    }

    fn broadcast(&mut self, nonce: u64, level: u8, simulation: Simulation, calldata: Calldata) -> BroadcastOutcome {
        if simulation == Simulation::First && self.would_revert(&calldata) {
            return BroadcastOutcome::WouldRevert { block: self.block };
        }
        if nonce < self.next_nonce() {
            return BroadcastOutcome::NonceTooLow;
        }
        let hash = sha256(&[&nonce.to_be_bytes(), &[level], &calldata.0]);
        if self.no_pool {
            if self.next_nonce() < nonce {
                self.gaps += 1;
                return BroadcastOutcome::NonceTooHigh;
            }
            self.mempool.insert(nonce, vec![Tx { hash, calldata }]);
            self.mine(self.time, 0);
            return BroadcastOutcome::Sent { hash };
        }
        let twins = self.mempool.entry(nonce).or_default();
        if !twins.iter().any(|tx| tx.hash == hash) {
            twins.push(Tx { hash, calldata });
        }
        BroadcastOutcome::Sent { hash }
    }
}

/// What turns intents into money: the machine, or what it is compared with.
pub trait Settles {
    fn start(config: MachineConfig, stored: Vec<StoredIntent>) -> Self;
    fn step(&mut self, event: Event, now_ms: u64) -> Vec<Action>;
    fn status(&self, payment_id: &Hash32) -> Option<SettlementStatus>;
}

impl Settles for Machine {
    fn start(config: MachineConfig, stored: Vec<StoredIntent>) -> Self {
        Self::new(config, stored)
    }

    fn step(&mut self, event: Event, now_ms: u64) -> Vec<Action> {
        self.step(event, now_ms)
    }

    fn status(&self, payment_id: &Hash32) -> Option<SettlementStatus> {
        self.status(payment_id)
    }
}

/// A machine with its database and its chain.
pub struct Host<M = Machine> {
    pub config: MachineConfig,
    pub machine: M,
    pub chain: Chain,
    pub database: BTreeMap<Hash32, Vec<u8>>,
    pub intents: Vec<Intent>,
    /// Actions that the shell has not run yet.
    pub actions: Vec<Action>,
    pub now_ms: u64,
    pub finished: BTreeMap<Hash32, SettlementStatus>,
    pub pending: Vec<(Hash32, Option<Hash32>)>,
    /// Account nonces with which each payment was handed out, and how often without the answer that nothing was sent.
    pub sent: BTreeMap<Hash32, BTreeMap<u64, usize>>,
    pub fillers: usize,
    /// Latest block at which the machine was told that an authorization is unused.
    pub unused_at: BTreeMap<Hash32, u64>,
    /// Transfers that were told to be in a block, not deep enough.
    pub included: BTreeMap<Hash32, (Hash32, u64)>,
}

impl Host {
    pub fn new(config: MachineConfig) -> Self {
        Self::of(config)
    }
}

impl<M: Settles> Host<M> {
    pub fn of(config: MachineConfig) -> Self {
        Self {
            config,
            machine: M::start(config, vec![]),
            chain: Chain::new(),
            database: BTreeMap::new(),
            intents: vec![],
            actions: vec![],
            now_ms: START_S * 1000,
            finished: BTreeMap::new(),
            pending: vec![],
            sent: BTreeMap::new(),
            fillers: 0,
            unused_at: BTreeMap::new(),
            included: BTreeMap::new(),
        }
    }

    pub fn tell(&mut self, intent: Intent) {
        self.intents.push(intent.clone());
        self.step(Event::Intent(intent));
    }

    pub fn step(&mut self, event: Event) {
        if let Event::Chain(ChainAnswer::AuthorizationState { payment_id, state: AuthorizationState::Unused, at }) = &event {
            let latest = self.unused_at.entry(*payment_id).or_default();
            *latest = at.number.max(*latest);
        }
        let actions = self.machine.step(event, self.now_ms);
        for action in actions {
            match &action {
                Action::Chain(request) => self.check_request(request),
                Action::Finished(outcome) => self.check_outcome(outcome),
                Action::StillPending { payment_id, tx_hash } => self.pending.push((*payment_id, *tx_hash)),
                Action::Included { payment_id, tx_hash, block, .. } => {
                    assert!(self.machine.status(payment_id).is_some_and(|status| matches!(status, SettlementStatus::Pending { .. })));
                    self.included.insert(*payment_id, (*tx_hash, *block));
                }
                Action::Persist(_) | Action::Refused { .. } => {}
            }
            if matches!(action, Action::Chain(_) | Action::Persist(_)) {
                self.actions.push(action);
            }
        }
    }

    /// The invariants of the machine, at every transaction it hands out.
    fn check_request(&mut self, request: &ChainRequest) {
        let ChainRequest::SignAndBroadcast { purpose, account_nonce, gas_level, to, calldata, .. } = request else { return };
        let Purpose::Settle { payment_id, .. } = purpose else {
            assert!(calldata.0.is_empty() && *to == GAS);
            self.fillers += 1;
            return;
        };
        let intent = self.intents.iter().find(|intent| intent.payment_id() == *payment_id).unwrap();
        assert_eq!((calldata, *to), (intent.calldata(), TOKEN), "the call is the authorization's");
        let durable = StoredIntent::parse(&self.database[payment_id]).unwrap();
        let Progress::AwaitingReceipt(slot) = durable.progress else { panic!("sent before it was durable") };
        assert_eq!((slot.account_nonce, slot.gas_level), (*account_nonce, *gas_level), "sent as it is durable");
        let used = self.sent.entry(*payment_id).or_default();
        *used.entry(*account_nonce).or_default() += 1;
        let alive = used.iter().filter(|(nonce, requests)| self.chain.next_nonce() <= **nonce && **requests != 0).count();
        assert!(alive <= 1, "two different transactions for one authorization are alive");
    }

    fn check_outcome(&mut self, outcome: &Outcome) {
        let intent = self.intents.iter().find(|intent| intent.payment_id() == outcome.payment_id).unwrap();
        let before = self.finished.insert(outcome.payment_id, outcome.status);
        assert!(before.is_none_or(|before| before == outcome.status), "{before:?} became {:?}", outcome.status);
        if before.is_some() {
            return;
        }
        let moved = self.chain.moved(intent);
        match outcome.status {
            SettlementStatus::Settled { tx_hash, by, .. } => {
                assert_eq!(moved, Some(tx_hash), "settled, and the chain agrees");
                let depth = self.chain.block - self.chain.receipts[&tx_hash].block;
                assert!(self.config.confirmations <= depth, "settled by a block that is not deep");
                assert_eq!(by == SettledBy::Us, self.chain.receipts[&tx_hash].from == GAS);
            }
            SettlementStatus::Failed { .. } if self.chain.fee => {}
            // It stopped trying on a fact. Somebody else may have moved the money since, our own key cannot.
            SettlementStatus::Failed { .. } => {
                let unused_at = self.unused_at[&outcome.payment_id];
                let since = moved.map(|hash| &self.chain.receipts[&hash]);
                assert!(since.is_none_or(|tx| tx.from == STRANGER && unused_at < tx.block), "failed, but the money moved");
            }
            SettlementStatus::Expired => {
                assert_eq!(moved, None);
                assert!(intent.valid_before() <= self.chain.time);
            }
            SettlementStatus::Pending { .. } => panic!("pending is no end"),
        }
    }

    pub fn store(&mut self, record: &StoredIntent) {
        let bytes = record.encode();
        assert_eq!(StoredIntent::parse(&bytes).as_ref(), Ok(record));
        let id = record.intent.payment_id();
        let newer = self.database.get(&id).is_none_or(|old| StoredIntent::parse(old).unwrap().revision < record.revision);
        if newer {
            self.database.insert(id, bytes);
        }
    }

    /// Process dies and starts again; the sender of intents tells all of them again.
    pub fn restart(&mut self) {
        let stored = self.database.values().map(|bytes| StoredIntent::parse(bytes).unwrap()).collect();
        self.machine = M::start(self.config, stored);
        self.actions.clear();
        for intent in self.intents.clone() {
            self.step(Event::Intent(intent));
        }
    }

    /// Runs one action to its event, without faults.
    pub fn run(&mut self, action: &Action) -> Option<Event> {
        match action {
            Action::Persist(record) => {
                self.store(record);
                Some(persisted(record, PersistResult::Durable))
            }
            Action::Chain(request) => {
                let answer = self.chain.run(request, self.config.confirmations);
                self.forget_if_not_sent(&answer);
                Some(Event::Chain(answer))
            }
            Action::Finished(_) | Action::Included { .. } | Action::StillPending { .. } | Action::Refused { .. } => None,
        }
    }

    /// A request that ended in "would revert" is no transaction.
    fn forget_if_not_sent(&mut self, answer: &ChainAnswer) {
        let ChainAnswer::Broadcast { purpose, account_nonce, outcome: BroadcastOutcome::WouldRevert { .. }, .. } = answer else { return };
        let Purpose::Settle { payment_id, .. } = purpose else { return };
        if let Some(requests) = self.sent.get_mut(payment_id).and_then(|used| used.get_mut(account_nonce)) {
            *requests -= 1;
        }
    }

    /// Runs everything that is to be done, and what follows from it.
    pub fn settle_down(&mut self) {
        self.settle_down_but(|_| false);
    }

    /// The same, but what is held back stays to be done.
    pub fn settle_down_but(&mut self, held: impl Fn(&Action) -> bool) {
        for _ in 0..1000 {
            let Some(at) = self.actions.iter().position(|action| !held(action)) else { return };
            let action = self.actions.remove(at);
            if let Some(event) = self.run(&action) {
                self.step(event);
            }
        }
        panic!("the machine does not come to rest: {:?}", self.actions);
    }

    pub fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
        self.step(Event::Tick);
        self.settle_down();
    }

    pub fn mine(&mut self) {
        self.chain.mine(UnixSeconds(self.now_ms / 1000), 0);
    }

    pub fn third_party(&mut self, intent: &Intent) {
        self.chain.block += 1;
        self.chain.time = self.chain.time.max(UnixSeconds(self.now_ms / 1000));
        let nonce = self.chain.next_nonce();
        self.chain.nonce_at.push(nonce);
        let hash = sha256(&[b"stranger", &intent.calldata().0, &self.chain.block.to_be_bytes()]);
        self.chain.execute(hash, STRANGER, intent.calldata());
    }

    pub fn status(&self, intent: &Intent) -> Option<SettlementStatus> {
        self.machine.status(&intent.payment_id())
    }
}

/// The answer of an RPC that gives none.
pub fn down(request: &ChainRequest) -> Event {
    Event::Chain(ChainAnswer::RpcDown { about: request.about() })
}

pub fn persisted(record: &StoredIntent, result: PersistResult) -> Event {
    Event::Persisted { payment_id: record.intent.payment_id(), revision: record.revision, result }
}
