//! A small world to break: an enclave that signs, a link that loses messages, a host with a database and a published log, and a fault
//! that strikes at a chosen durable step. Everything is deterministic.

#![allow(dead_code, reason = "each test file uses its part")]

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use candor_log::check::{Report, check};
use candor_log::host::{AppendRefused, CheckpointAck, CheckpointRefused, HostLog};
use candor_log::publish::{After, publish, published};
use candor_log::sequencer::{Action, CloseReason, Config, Event, Refused, Released, ReleasedLeaf, Sequencer};
use candor_log::store::{LogReader, LogStore, StoreError};
use candor_log::tiles::Resource;
use candor_log::{LeafData, LogKeys, Ticket};
use candor_verify::checkpoint::{Checkpoint, Ed25519Signature, SignedCheckpoint};
use candor_verify::eip712::{K256, address_of};
use candor_verify::hash::sha256;
use candor_verify::time::UnixMs;
use candor_verify::tlog::Tree;
use candor_verify::{Hash32, Signature65};
use ed25519_dalek::Signer;

/// The two keys of a boot.
pub(crate) struct Keys {
    sig: k256::ecdsa::SigningKey,
    log: ed25519_dalek::SigningKey,
    pub(crate) public: LogKeys,
}

impl Keys {
    pub(crate) fn new(seed: u8) -> Self {
        let sig = k256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap();
        let log = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
        let k_sig = address_of(&sig.verifying_key().to_sec1_point(false).as_bytes()[1..]).unwrap();
        let public = LogKeys::new(k_sig, Hash32(log.verifying_key().to_bytes()));
        Self { sig, log, public }
    }

    pub(crate) fn sign(&self, checkpoint: &Checkpoint) -> (Ed25519Signature, Signature65) {
        let note = Ed25519Signature(self.log.sign(checkpoint.note_body().as_bytes()).to_bytes());
        let (rs, id) = self.sig.sign_prehash_recoverable(&checkpoint.digest().0);
        let mut signature = [0; 65];
        signature[..64].copy_from_slice(&rs.to_bytes());
        signature[64] = 27 + id.to_byte();
        (note, Signature65(signature))
    }

    pub(crate) fn checkpoint(&self, tree: Tree, timestamp: u64) -> SignedCheckpoint {
        let checkpoint = Checkpoint { log_id: self.public.log_id(), tree, timestamp: UnixMs(timestamp) };
        let (note_signature, signature) = self.sign(&checkpoint);
        SignedCheckpoint { checkpoint, note_signature, signature, cosignatures: Vec::new() }
    }
}

pub(crate) fn leaf(number: u64) -> LeafData {
    LeafData(sha256(&[b"test leaf", &number.to_be_bytes()]))
}

/// A host log of `size` leaves under a checkpoint.
pub(crate) fn log_of(keys: &Keys, size: u64) -> HostLog {
    let unsigned = HostLog::load(&K256, keys.public, (0..size).map(leaf), None).unwrap();
    let checkpoint = keys.checkpoint(unsigned.tree().now().tree(), 1_700_000_000_000);
    HostLog::load(&K256, keys.public, (0..size).map(leaf), Some(checkpoint)).unwrap()
}

/// Publishes all there is, from whatever is published.
pub(crate) fn publish_all(store: &dyn LogStore, keys: &Keys, log: &HostLog) -> Result<Tree, StoreError> {
    let mut at = match published(store, &K256, &keys.public) {
        Ok(at) => at,
        Err(candor_log::publish::PublishedError::Store(error)) => return Err(error),
        Err(error) => panic!("{error:?}"),
    };
    loop {
        let batch = log.batch(at).expect("what is published is ours");
        publish(store, &batch)?;
        match batch.after() {
            After::Published(tree) => return Ok(tree),
            After::More(tree) => at = Some(tree),
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    Failed,
    FailedButPersisted,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Recovery {
    Retry,
    Restart,
}

/// Counts durable steps and makes one of them fail.
#[derive(Clone, Default)]
pub(crate) struct Faults(Rc<RefCell<Steps>>);

#[derive(Default)]
struct Steps {
    done: u64,
    fault: Option<(u64, Fault)>,
}

impl Faults {
    pub(crate) fn at(step: u64, fault: Fault) -> Self {
        Self(Rc::new(RefCell::new(Steps { done: 0, fault: Some((step, fault)) })))
    }

    /// The next durable step fails.
    pub(crate) fn arm(&self, fault: Fault) {
        let mut state = self.0.borrow_mut();
        state.fault = Some((state.done, fault));
    }

    pub(crate) fn disarm(&self) {
        self.0.borrow_mut().fault = None;
    }

    /// Whether the fault is still to come.
    pub(crate) fn pending(&self) -> bool {
        self.0.borrow().fault.is_some()
    }

    fn durable(&self, apply: impl FnOnce()) -> Result<(), ()> {
        let mut state = self.0.borrow_mut();
        let struck = state.fault.filter(|(step, _)| *step == state.done);
        state.done += 1;
        match struck {
            None => {
                apply();
                Ok(())
            }
            Some((_, fault)) => {
                state.fault = None;
                if fault == Fault::FailedButPersisted {
                    apply();
                }
                Err(())
            }
        }
    }
}

/// A published log in memory.
#[derive(Clone, Default)]
pub(crate) struct MemStore {
    pub(crate) files: Rc<RefCell<BTreeMap<Resource, Vec<u8>>>>,
    pub(crate) faults: Faults,
}

impl MemStore {
    fn io(resource: Resource) -> StoreError {
        StoreError::Io { resource, operation: "write", kind: std::io::ErrorKind::StorageFull }
    }
}

impl LogReader for MemStore {
    fn fetch(&self, resource: Resource) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.files.borrow().get(&resource).cloned();
        match found {
            Some(bytes) if resource.bytes_max() < bytes.len() => Err(StoreError::TooLong { resource, max: resource.bytes_max() }),
            found => Ok(found),
        }
    }
}

impl LogStore for MemStore {
    fn put(&self, resource: Resource, bytes: &[u8]) -> Result<(), StoreError> {
        if self.fetch(resource)?.is_some_and(|held| held != bytes) {
            return Err(StoreError::Conflict { resource });
        }
        let write = || drop(self.files.borrow_mut().insert(resource, bytes.to_vec()));
        self.faults.durable(write).map_err(|()| Self::io(resource))
    }

    fn replace_checkpoint(&self, text: &str) -> Result<(), StoreError> {
        let write = || drop(self.files.borrow_mut().insert(Resource::Checkpoint, text.as_bytes().to_vec()));
        self.faults.durable(write).map_err(|()| Self::io(Resource::Checkpoint))
    }

    fn remove_partials(&self, full: Resource) -> Result<(), StoreError> {
        let remove = || {
            self.files.borrow_mut().retain(|resource, _| *resource == full || resource.completed() != full || full == Resource::Checkpoint)
        };
        self.faults.durable(remove).map_err(|()| Self::io(full))
    }
}

/// The host's database: what survives its death.
#[derive(Default)]
pub(crate) struct Db {
    /// Leaf and record, in one transaction.
    pub(crate) leaves: Vec<(LeafData, Ticket)>,
    /// Every checkpoint with its calldata, in one transaction.
    pub(crate) checkpoints: Vec<(SignedCheckpoint, Vec<Ticket>)>,
}

pub(crate) enum ToHost {
    Append { first_index: u64, leaves: Vec<(Ticket, LeafData)> },
    Checkpoint { first_index: u64, tickets: Vec<Ticket>, signed: Box<SignedCheckpoint> },
}

pub(crate) enum ToEnclave {
    AppendAcked { first_index: u64, count: u64 },
    AppendRefused(AppendRefused),
    CheckpointStored(CheckpointAck),
    CheckpointRefused(CheckpointRefused),
}

pub(crate) struct World {
    pub(crate) keys: Keys,
    pub(crate) now_ms: u64,
    pub(crate) faults: Faults,
    pub(crate) recovery: Recovery,
    // The enclave.
    pub(crate) sequencer: Sequencer,
    pub(crate) sealed: BTreeMap<u64, (Ticket, LeafData)>,
    pub(crate) signed: Vec<Tree>,
    pub(crate) released: BTreeMap<Ticket, ReleasedLeaf>,
    pub(crate) refused: Vec<(Ticket, Refused)>,
    pub(crate) closed: Option<(CloseReason, Vec<Ticket>)>,
    // The link.
    pub(crate) linked: bool,
    pub(crate) to_host: VecDeque<ToHost>,
    pub(crate) to_enclave: VecDeque<ToEnclave>,
    // The host. `None` while it is dead.
    pub(crate) db: Db,
    pub(crate) host: Option<HostLog>,
    pub(crate) store: MemStore,
}

impl World {
    pub(crate) fn new(config: Config, faults: Faults, recovery: Recovery) -> Self {
        let keys = Keys::new(7);
        let sequencer = Sequencer::new(config, keys.public.log_id());
        let store = MemStore { faults: faults.clone(), ..MemStore::default() };
        let mut world = Self {
            keys,
            now_ms: 1_700_000_000_000,
            faults,
            recovery,
            sequencer,
            sealed: BTreeMap::new(),
            signed: Vec::new(),
            released: BTreeMap::new(),
            refused: Vec::new(),
            closed: None,
            linked: false,
            to_host: VecDeque::new(),
            to_enclave: VecDeque::new(),
            db: Db::default(),
            host: None,
            store,
        };
        world.start_host();
        world
    }

    /// Gives the sequencer an event and runs its actions, as the enclave's shell must.
    pub(crate) fn event(&mut self, event: Event) {
        let mut actions = VecDeque::from(self.sequencer.step(event, self.now_ms));
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Seal { first_index, tickets } => {
                    let mut leaves = Vec::new();
                    for (index, ticket) in (first_index..).zip(tickets) {
                        let data = LeafData(sha256(&[b"receipt", &ticket.0.to_be_bytes(), &index.to_be_bytes()]));
                        assert!(self.sealed.insert(index, (ticket, data)).is_none(), "index {index} is given twice");
                        leaves.push(data);
                    }
                    actions.extend(self.sequencer.step(Event::Sealed { leaves }, self.now_ms));
                }
                Action::SignCheckpoint { checkpoint } => {
                    assert!(
                        self.signed.iter().all(|tree| tree.size < checkpoint.tree.size),
                        "signed {:?} after {:?}",
                        checkpoint,
                        self.signed
                    );
                    self.signed.push(checkpoint.tree);
                    let (note_signature, signature) = self.keys.sign(&checkpoint);
                    actions.extend(self.sequencer.step(Event::Signed { note_signature, signature }, self.now_ms));
                }
                Action::SendAppend { first_index, leaves } => self.to_host.push_back(ToHost::Append { first_index, leaves }),
                Action::SendCheckpoint { first_index, tickets, signed } => {
                    self.to_host.push_back(ToHost::Checkpoint { first_index, tickets, signed: Box::new(signed) });
                }
                Action::Release(group) => self.release(group),
                Action::Refuse { ticket, reason } => self.refused.push((ticket, reason)),
                Action::Close { reason, abandoned } => {
                    assert!(self.closed.is_none(), "closed twice");
                    self.closed = Some((reason, abandoned));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn release(&mut self, group: Released) {
        // Acknowledged means: the leaf, its record, the checkpoint and the calldata are in the database at this very moment.
        let stored = self.db.checkpoints.iter().any(|(held, _)| held.checkpoint.tree == group.signed.checkpoint.tree);
        assert!(stored, "released under a checkpoint that is not stored");
        for leaf in group.leaves {
            assert_eq!(self.db.leaves.get(leaf.index as usize), Some(&(leaf.leaf, leaf.ticket)), "released but not stored");
            assert!(self.released.insert(leaf.ticket, leaf).is_none(), "released twice");
        }
    }

    pub(crate) fn submit(&mut self, ticket: u64) {
        self.event(Event::Submit { ticket: Ticket(ticket), bytes: 1_000 });
    }

    pub(crate) fn drop_link(&mut self) {
        if self.linked {
            self.linked = false;
            self.to_host.clear();
            self.to_enclave.clear();
            self.event(Event::LinkLost);
        }
    }

    /// Kills the host between two instructions: memory and messages are gone, the database and the files are not.
    pub(crate) fn kill_host(&mut self) {
        self.host = None;
        self.drop_link();
    }

    /// Starts the host if it is dead and connects it.
    pub(crate) fn start_host(&mut self) {
        if self.host.is_none() {
            self.host = Some(self.load());
        }
        if !self.linked {
            self.linked = true;
            let state = self.host.as_ref().unwrap().state();
            self.event(Event::LinkRestored(state));
        }
    }

    pub(crate) fn load(&self) -> HostLog {
        let leaves = self.db.leaves.iter().map(|(leaf, _)| *leaf);
        let checkpoint = self.db.checkpoints.last().map(|(signed, _)| signed.clone());
        HostLog::load(&K256, self.keys.public, leaves, checkpoint).expect("the database is a log")
    }

    /// A transaction failed: nobody knows whether it happened.
    fn recover(&mut self, message: ToHost) {
        match self.recovery {
            Recovery::Retry => {
                self.host = Some(self.load());
                self.to_host.push_front(message);
            }
            Recovery::Restart => {
                self.kill_host();
                self.start_host();
            }
        }
    }

    /// The host takes one message.
    pub(crate) fn deliver_to_host(&mut self) -> bool {
        let Some(message) = self.to_host.pop_front() else { return false };
        let Some(mut host) = self.host.take() else { return false };
        let answer = match &message {
            ToHost::Append { first_index, leaves } => {
                let data: Vec<_> = leaves.iter().map(|(_, leaf)| *leaf).collect();
                match host.plan_append(*first_index, &data) {
                    Err(refused) => ToEnclave::AppendRefused(refused),
                    Ok(plan) => {
                        let new = leaves[plan.held()..].iter().map(|(ticket, leaf)| (*leaf, *ticket));
                        let written = plan.new_leaves().is_empty() || self.faults.durable(|| self.db.leaves.extend(new)).is_ok();
                        if !written {
                            return {
                                self.recover(message);
                                true
                            };
                        }
                        host.apply_append(plan).unwrap();
                        ToEnclave::AppendAcked { first_index: *first_index, count: leaves.len() as u64 }
                    }
                }
            }
            ToHost::Checkpoint { first_index, tickets, signed } => match host.plan_checkpoint(&K256, *first_index, signed) {
                Err(refused) => ToEnclave::CheckpointRefused(refused),
                Ok(plan) => {
                    if let Some(new) = plan.new_checkpoint() {
                        let row = (new.clone(), tickets.clone());
                        if self.faults.durable(|| self.db.checkpoints.push(row)).is_err() {
                            return {
                                self.recover(message);
                                true
                            };
                        }
                    }
                    ToEnclave::CheckpointStored(host.apply_checkpoint(plan).unwrap())
                }
            },
        };
        self.host = Some(host);
        self.to_enclave.push_back(answer);
        true
    }

    /// The enclave takes one message.
    pub(crate) fn deliver_to_enclave(&mut self) -> bool {
        let Some(message) = self.to_enclave.pop_front() else { return false };
        self.event(match message {
            ToEnclave::AppendAcked { first_index, count } => Event::AppendAcked { first_index, count },
            ToEnclave::AppendRefused(refused) => Event::AppendRefused(refused),
            ToEnclave::CheckpointStored(ack) => Event::CheckpointStored(ack),
            ToEnclave::CheckpointRefused(refused) => Event::CheckpointRefused(refused),
        });
        true
    }

    /// Lets everything arrive.
    pub(crate) fn settle(&mut self) {
        self.start_host();
        for _ in 0..10_000 {
            self.now_ms += 1;
            self.event(Event::Tick);
            if !(self.deliver_to_host() | self.deliver_to_enclave()) && self.sequencer.next_tick_ms().is_none() {
                return;
            }
        }
        panic!("the world does not come to rest");
    }

    /// Publishes, meeting a fault as the recovery says.
    pub(crate) fn publish(&mut self) {
        if self.db.checkpoints.is_empty() {
            return;
        }
        let Some(host) = &self.host else { return };
        if publish_all(&self.store, &self.keys, host).is_err() {
            if self.recovery == Recovery::Restart {
                self.kill_host();
                self.start_host();
            }
            let host = self.host.as_ref().unwrap();
            publish_all(&self.store, &self.keys, host).expect("one fault at a time");
        }
    }

    /// Re-verifies the whole log, remembering every tree that was ever signed and is not beyond the published one.
    pub(crate) fn check(&self) -> Report {
        let published = published(&self.store, &K256, &self.keys.public).unwrap().map_or(0, |tree| tree.size);
        let remembered: Vec<_> = self.signed.iter().copied().filter(|tree| tree.size <= published).collect();
        check(&self.store, &K256, &self.keys.public, &remembered)
    }

    /// After `settle`: nothing is lost, nothing is forked, everything submitted and not refused is released.
    pub(crate) fn assert_whole(&mut self, submitted: u64) {
        assert_eq!(self.closed, None);
        assert_eq!(self.released.len() as u64 + self.refused.len() as u64, submitted);
        assert_eq!(self.db.leaves.len(), self.released.len());
        for (index, (leaf, ticket)) in self.db.leaves.iter().enumerate() {
            assert_eq!(self.sealed.get(&(index as u64)), Some(&(*ticket, *leaf)));
            assert_eq!(self.released.get(ticket).map(|released| released.index), Some(index as u64));
        }
        // Each record has its calldata under exactly one checkpoint: the first one over it.
        let calldata: Vec<_> = self.db.checkpoints.iter().flat_map(|(_, tickets)| tickets.iter().copied()).collect();
        assert_eq!(calldata, self.db.leaves.iter().map(|(_, ticket)| *ticket).collect::<Vec<_>>());
        self.publish();
        let report = self.check();
        assert!(self.db.leaves.is_empty() || report.is_sound(), "{report:#?}");
        assert!(report.checkpoint.map(|signed| signed.tree()) == self.signed.last().copied());
    }
}
