//! The sequencer: gives every record its place in the log, and lets nothing out before that place is stored and signed.
//!
//! It runs in the enclave, holds the log's edge and at most one group of leaves in flight, and does no I/O: [`Sequencer::step`] takes an
//! event and the time and returns actions for the shell to run in order. Spec: log.md §5.
//!
//! ```text
//!            Seal            SendAppend           SignCheckpoint         SendCheckpoint           Release
//! Idle ─────────▶ AwaitingLeaves ─▶ AwaitingAppend ─▶ AwaitingSignature ─▶ AwaitingCheckpoint ─▶ Idle
//!       enough,        Sealed         AppendAcked            Signed          CheckpointStored
//!       link up
//! ```
//!
//! A receipt is signed over its leaf index, so the index must be known before the leaf exists. There is no reservation that could be left
//! hanging: [`Action::Seal`] names the tickets of a group with their indexes, and the shell answers with all their leaves *in the same
//! turn* ([`Event::Sealed`]), before it hands in any other event. A ticket has no index before, and cannot lose it after.
//!
//! Not here: the records and calldata (the caller keeps them by [`Ticket`]), keys, frames on the wire.
//!
//! **Invariant:** a leaf is released only when the host has stored it, has stored a checkpoint over it, and its proofs verify.
//! **Invariant:** signed trees form one chain: each is the edge of the last released one plus one group, and a group once sealed never changes.
//! **Trust:** the host can stop or close the log with a lie, never fork it: roots are computed here, proofs are verified here.

use std::collections::VecDeque;

use candor_verify::Hash32;
use candor_verify::Signature65;
use candor_verify::checkpoint::{Checkpoint, Ed25519Signature, SignedCheckpoint};
use candor_verify::time::UnixMs;
use candor_verify::tlog::{Tree, verify_consistency, verify_inclusion};

use crate::edge::Edge;
pub use crate::event::{Action, CloseReason, Config, Event, Refused, Released, ReleasedLeaf};
use crate::host::{CheckpointAck, HostState};
use crate::{GROUP_MAX, LeafData, Ticket, count};

/// The state machine. One per boot.
///
/// ```
/// use candor_log::{Ticket, sequencer::{Action, Config, Event, Refused, Sequencer}};
/// let mut sequencer = Sequencer::new(Config::default(), Default::default());
/// let submit = Event::Submit { ticket: Ticket(7), bytes: 1000 };
/// // Nobody listens yet, so nothing is sealed; and one ticket is one leaf.
/// assert_eq!(sequencer.step(submit.clone(), 0), []);
/// assert_eq!(sequencer.step(submit, 0), [Action::Refuse { ticket: Ticket(7), reason: Refused::Duplicate }]);
/// ```
#[derive(Clone, Debug)]
pub struct Sequencer {
    config: Config,
    log_id: Hash32,
    // Every ticket once, oldest first.
    queue: VecDeque<Waiting>,
    // Invariant: all of it is released.
    released: Edge,
    // Invariant: size of the last tree we asked a signature for; at least the released size.
    signed_size: u64,
    flight: Flight,
    link_up: bool,
    closed: bool,
    // Invariant: never decreases, so checkpoint times never do, whatever the clock does.
    now_ms: u64,
}

/// A ticket that waits for a group.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    ticket: Ticket,
    since_ms: u64,
    // Invariant: at most `group_bytes_max`.
    bytes: usize,
}

/// Where the one group is. Each state is named by what it awaits.
#[derive(Clone, Debug)]
enum Flight {
    Idle,
    AwaitingLeaves { tickets: Vec<Ticket>, since_ms: u64 },
    AwaitingAppend(Group),
    AwaitingSignature { group: Group, checkpoint: Checkpoint },
    AwaitingCheckpoint { group: Group, signed: SignedCheckpoint },
}

/// A sealed group. It never changes, so sending it again is sending the same.
#[derive(Clone, Debug)]
struct Group {
    leaves: Vec<(Ticket, LeafData)>,
    // Invariant: the released edge plus these leaves.
    after: Edge,
    since_ms: u64,
}

impl Sequencer {
    /// A new, empty log without a connection. The first event that moves it is `LinkRestored`.
    #[must_use]
    pub fn new(config: Config, log_id: Hash32) -> Self {
        Self {
            config,
            log_id,
            queue: VecDeque::new(),
            released: Edge::new(),
            signed_size: 0,
            flight: Flight::Idle,
            link_up: false,
            closed: false,
            now_ms: 0,
        }
    }

    /// Takes an event at `now_ms` (Unix milliseconds) and says what to do. Work is bounded by the size of one group.
    pub fn step(&mut self, event: Event, now_ms: u64) -> Vec<Action> {
        self.now_ms = self.now_ms.max(now_ms);
        let mut actions = Vec::new();
        if let Err(reason) = self.handle(event, &mut actions) {
            self.close(reason, &mut actions);
        }
        self.close_if_overdue(&mut actions);
        self.seal_if_due(&mut actions);
        actions
    }

    /// When `Tick` is due at the latest, in Unix milliseconds; `None` if nothing waits for time.
    #[must_use]
    pub fn next_tick_ms(&self) -> Option<u64> {
        let waits = self.queue.front().map(|oldest| oldest.since_ms.saturating_add(self.config.wait_max_ms));
        match self.in_flight_since_ms() {
            Some(since) => Some(since.saturating_add(self.config.confirm_max_ms)),
            None => waits.filter(|_| self.link_up && !self.closed),
        }
    }

    /// The last released tree.
    #[must_use]
    pub fn released(&self) -> Tree {
        self.released.tree()
    }

    /// How many more tickets would be taken now. Ask before the work, so that no finished answer is refused.
    #[must_use]
    pub fn room(&self) -> usize {
        if self.closed { 0 } else { self.config.queue_max.saturating_sub(self.queue.len()) }
    }

    /// Leaves that are sealed and not released, for gauges.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.flight.tickets().len()
    }

    /// Whether the log is over.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    fn handle(&mut self, event: Event, actions: &mut Vec<Action>) -> Result<(), CloseReason> {
        match event {
            Event::Submit { ticket, bytes } => self.submit(ticket, bytes, actions),
            // A closed log answers submissions and nothing else.
            _ if self.closed => {}
            Event::Tick => {}
            Event::Sealed { leaves } => self.sealed(leaves, actions)?,
            Event::Signed { note_signature, signature } => self.signed(note_signature, signature, actions)?,
            Event::Unsendable => return Err(CloseReason::Bug("a group longer than a message")),
            Event::LinkLost => self.link_up = false,
            Event::LinkRestored(host) => self.link_restored(host, actions)?,
            // What a lost connection still says is old: the next one begins with the truth.
            _ if !self.link_up => {}
            Event::AppendAcked { first_index, count } => self.append_acked(first_index.saturating_add(count), actions)?,
            Event::AppendRefused(refused) => return Err(CloseReason::AppendRefused(refused)),
            Event::CheckpointStored(ack) => self.checkpoint_stored(ack, actions)?,
            Event::CheckpointRefused(refused) => return Err(CloseReason::CheckpointRefused(refused)),
            Event::Contradicted => return Err(CloseReason::Contradicted),
        }
        Ok(())
    }

    fn submit(&mut self, ticket: Ticket, bytes: usize, actions: &mut Vec<Action>) {
        // Bounded by queue_max and group_max.
        let waits = self.queue.iter().any(|queued| queued.ticket == ticket) || self.flight.tickets().contains(&ticket);
        let reason = if self.closed {
            Refused::Closed
        } else if waits {
            Refused::Duplicate
        } else if self.config.queue_max <= self.queue.len() {
            Refused::QueueFull { max: self.config.queue_max }
        } else if self.config.group_bytes_max < bytes {
            Refused::TooLong { max: self.config.group_bytes_max, got: bytes }
        } else {
            self.queue.push_back(Waiting { ticket, since_ms: self.now_ms, bytes });
            return;
        };
        actions.push(Action::Refuse { ticket, reason });
    }

    /// Starts a group when none is in flight, the host listens, and the group is full or its oldest ticket has waited long enough.
    fn seal_if_due(&mut self, actions: &mut Vec<Action>) {
        let group_max = self.config.group_max.clamp(1, GROUP_MAX);
        let Some(oldest) = self.queue.front() else { return };
        let waited = oldest.since_ms.saturating_add(self.config.wait_max_ms) <= self.now_ms;
        let group = self.fitting().min(group_max);
        let due = waited || group_max <= self.queue.len() || group < self.queue.len();
        if self.closed || !self.link_up || !matches!(self.flight, Flight::Idle) || !due {
            return;
        }
        let tickets: Vec<Ticket> = self.queue.drain(..group).map(|waiting| waiting.ticket).collect();
        actions.push(Action::Seal { first_index: self.released.size(), tickets: tickets.clone() });
        self.flight = Flight::AwaitingLeaves { tickets, since_ms: self.now_ms };
    }

    /// How many of the oldest tickets fit in one message; at least one, because none waits that does not.
    fn fitting(&self) -> usize {
        let mut bytes = 0_usize;
        let fits = |waiting: &&Waiting| {
            bytes = bytes.saturating_add(waiting.bytes);
            bytes <= self.config.group_bytes_max
        };
        self.queue.iter().take_while(fits).count()
    }

    fn sealed(&mut self, leaves: Vec<LeafData>, actions: &mut Vec<Action>) -> Result<(), CloseReason> {
        let Flight::AwaitingLeaves { tickets, since_ms } = &self.flight else {
            return Err(CloseReason::Misuse("Sealed without Seal"));
        };
        if tickets.len() != leaves.len() {
            return Err(CloseReason::Misuse("Sealed with another number of leaves than Seal had tickets"));
        }
        let mut after = self.released.clone();
        for leaf in &leaves {
            after.push(leaf.hash()).map_err(|_full| CloseReason::Full)?;
        }
        let group = Group { leaves: tickets.iter().copied().zip(leaves).collect(), after, since_ms: *since_ms };
        if self.link_up {
            actions.push(self.send_append(&group));
        }
        self.flight = Flight::AwaitingAppend(group);
        Ok(())
    }

    fn append_acked(&mut self, size: u64, actions: &mut Vec<Action>) -> Result<(), CloseReason> {
        match &self.flight {
            Flight::AwaitingAppend(group) if group.after.size() == size => {
                let group = group.clone();
                self.sign_checkpoint(group, actions)
            }
            // The host may say twice what is true.
            Flight::AwaitingSignature { group, .. } | Flight::AwaitingCheckpoint { group, .. } if group.after.size() == size => Ok(()),
            _ => Err(CloseReason::UnexpectedAck { released: self.released.tree(), got: size }),
        }
    }

    fn sign_checkpoint(&mut self, group: Group, actions: &mut Vec<Action>) -> Result<(), CloseReason> {
        let checkpoint = Checkpoint { log_id: self.log_id, tree: group.after.tree(), timestamp: UnixMs(self.now_ms) };
        // Invariant: no two signed trees of one size, and none that does not end the group it is for. Its pair is in
        // `checkpoint_stored`, where every leaf of the group is proven to be in this tree at its index.
        let end = self.released.size().saturating_add(count(group.leaves.len()));
        if checkpoint.tree.size != end || end <= self.signed_size {
            return Err(CloseReason::Bug("a checkpoint that does not end its group"));
        }
        self.signed_size = end;
        actions.push(Action::SignCheckpoint { checkpoint });
        self.flight = Flight::AwaitingSignature { group, checkpoint };
        Ok(())
    }

    fn signed(&mut self, note_signature: Ed25519Signature, signature: Signature65, actions: &mut Vec<Action>) -> Result<(), CloseReason> {
        let Flight::AwaitingSignature { group, checkpoint } = &self.flight else {
            return Err(CloseReason::Misuse("Signed without SignCheckpoint"));
        };
        let signed = SignedCheckpoint { checkpoint: *checkpoint, note_signature, signature, cosignatures: Vec::new() };
        if self.link_up {
            actions.push(self.send_checkpoint(group, &signed));
        }
        self.flight = Flight::AwaitingCheckpoint { group: group.clone(), signed };
        Ok(())
    }

    fn checkpoint_stored(&mut self, ack: CheckpointAck, actions: &mut Vec<Action>) -> Result<(), CloseReason> {
        let Flight::AwaitingCheckpoint { group, signed } = &self.flight else {
            // A second acknowledgement of what is released already says nothing new.
            if ack.tree == self.released.tree() {
                return Ok(());
            }
            return Err(CloseReason::UnexpectedAck { released: self.released.tree(), got: ack.tree.size });
        };
        let tree = signed.checkpoint.tree;
        if ack.tree != tree {
            return Err(CloseReason::UnexpectedAck { released: self.released.tree(), got: ack.tree.size });
        }
        if ack.inclusions.len() != group.leaves.len() {
            return Err(CloseReason::ProofCount { expected: group.leaves.len(), got: ack.inclusions.len() });
        }
        // Trust: the anchored tree is the host's word, but a proof from it to our own tree shows that it was ours.
        let proven = verify_consistency(&ack.anchored.tree, &tree, &ack.anchored.consistency);
        let _extends = proven.map_err(|error| CloseReason::Proof { index: None, error })?;
        let mut leaves = Vec::with_capacity(group.leaves.len());
        for ((index, (ticket, leaf)), inclusion) in (self.released.size()..).zip(&group.leaves).zip(ack.inclusions) {
            let proven = verify_inclusion(leaf.hash(), index, &inclusion, &tree);
            let _included = proven.map_err(|error| CloseReason::Proof { index: Some(index), error })?;
            leaves.push(ReleasedLeaf { ticket: *ticket, index, leaf: *leaf, inclusion });
        }
        actions.push(Action::Release(Released { signed: signed.clone(), anchored: ack.anchored, leaves }));
        self.released = group.after.clone();
        self.flight = Flight::Idle;
        Ok(())
    }

    /// A connection begins: the host says what it has, and gets again what it did not acknowledge.
    fn link_restored(&mut self, host: HostState, actions: &mut Vec<Action>) -> Result<(), CloseReason> {
        self.check_host(host)?;
        self.link_up = true;
        match &self.flight {
            // In the first two nothing was sent, or all is acknowledged; in the third the shell still owes `Signed`.
            Flight::Idle | Flight::AwaitingLeaves { .. } | Flight::AwaitingSignature { .. } => {}
            // Stored, and only the acknowledgement was lost.
            Flight::AwaitingAppend(group) if host.tree.size == group.after.size() => {
                let group = group.clone();
                self.sign_checkpoint(group, actions)?;
            }
            Flight::AwaitingAppend(group) => actions.push(self.send_append(group)),
            // Sent again even if it is stored: the proofs are in the acknowledgement.
            Flight::AwaitingCheckpoint { group, signed } => actions.push(self.send_checkpoint(group, signed)),
        }
        Ok(())
    }

    /// What the host has must be what it can have: everything it acknowledged, nothing it was not sent, and the same leaves.
    fn check_host(&self, host: HostState) -> Result<(), CloseReason> {
        let ours = self.released.tree();
        // Sizes of leaves and of checkpoint that are possible in each state.
        let (trees, checkpoints) = match &self.flight {
            Flight::Idle | Flight::AwaitingLeaves { .. } => (vec![ours], vec![ours.size]),
            Flight::AwaitingAppend(group) => (self.trees_within(group), vec![ours.size]),
            Flight::AwaitingSignature { group, .. } => (vec![group.after.tree()], vec![ours.size]),
            Flight::AwaitingCheckpoint { group, .. } => (vec![group.after.tree()], vec![ours.size, group.after.size()]),
        };
        if trees.contains(&host.tree) && checkpoints.contains(&host.checkpoint_size) {
            return Ok(());
        }
        let expected = trees.iter().rfind(|tree| tree.size <= host.tree.size).copied().unwrap_or(ours);
        Err(CloseReason::HostTree { expected, got: host })
    }

    /// Every tree from the released one to the group's end: a host may store a group in parts.
    fn trees_within(&self, group: &Group) -> Vec<Tree> {
        let mut edge = self.released.clone();
        let mut trees = vec![edge.tree()];
        for (_, leaf) in &group.leaves {
            // Room was checked when the group was sealed.
            if edge.push(leaf.hash()).is_ok() {
                trees.push(edge.tree());
            }
        }
        trees
    }

    fn send_append(&self, group: &Group) -> Action {
        Action::SendAppend { first_index: self.released.size(), leaves: group.leaves.clone() }
    }

    fn send_checkpoint(&self, group: &Group, signed: &SignedCheckpoint) -> Action {
        let tickets = group.leaves.iter().map(|(ticket, _)| *ticket).collect();
        Action::SendCheckpoint { first_index: self.released.size(), tickets, signed: signed.clone() }
    }

    fn in_flight_since_ms(&self) -> Option<u64> {
        match &self.flight {
            Flight::Idle => None,
            Flight::AwaitingLeaves { since_ms, .. } => Some(*since_ms),
            Flight::AwaitingAppend(group) | Flight::AwaitingSignature { group, .. } | Flight::AwaitingCheckpoint { group, .. } => {
                Some(group.since_ms)
            }
        }
    }

    fn close_if_overdue(&mut self, actions: &mut Vec<Action>) {
        let waited_ms = self.in_flight_since_ms().map(|since| self.now_ms.saturating_sub(since));
        if let Some(waited_ms) = waited_ms.filter(|waited| self.config.confirm_max_ms <= *waited) {
            self.close(CloseReason::Unconfirmed { first_index: self.released.size(), waited_ms }, actions);
        }
    }

    fn close(&mut self, reason: CloseReason, actions: &mut Vec<Action>) {
        // Whatever this step wanted to send is void, but refusals stand.
        actions.retain(|action| matches!(action, Action::Refuse { .. } | Action::Release(_)));
        let mut abandoned = self.flight.tickets();
        abandoned.extend(self.queue.drain(..).map(|waiting| waiting.ticket));
        self.flight = Flight::Idle;
        self.closed = true;
        actions.push(Action::Close { reason, abandoned });
    }
}

impl Flight {
    fn tickets(&self) -> Vec<Ticket> {
        match self {
            Self::Idle => Vec::new(),
            Self::AwaitingLeaves { tickets, .. } => tickets.clone(),
            Self::AwaitingAppend(group) | Self::AwaitingSignature { group, .. } | Self::AwaitingCheckpoint { group, .. } => {
                group.leaves.iter().map(|(ticket, _)| *ticket).collect()
            }
        }
    }
}
