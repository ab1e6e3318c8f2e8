//! What the sequencer is told and what it asks for: the whole language between it and its shell. What it does with it is `sequencer.rs`.

use candor_verify::checkpoint::{Checkpoint, Ed25519Signature, SignedCheckpoint};
use candor_verify::tlog::{ProofError, Tree};
use candor_verify::{Hash32, Signature65};

use crate::host::{Anchored, AppendRefused, CheckpointAck, CheckpointRefused, HostState};
use crate::{LeafData, Ticket};

/// Bounds of a sequencer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "any values are valid; they are clamped where they are used")]
pub struct Config {
    /// The most leaves of a group, at most [`crate::GROUP_MAX`] and at least one.
    pub group_max: usize,
    /// The most bytes of a group, as its tickets say them: what fits in one message of the link.
    pub group_bytes_max: usize,
    /// The most tickets that wait for a group; at least as many as requests can run at once, so that none is refused after its work.
    pub queue_max: usize,
    /// How long the oldest ticket waits for company, in milliseconds. 0 is right unless signing is dearer than waiting: while one group
    /// is in flight the next one gathers anyway.
    pub wait_max_ms: u64,
    /// How long a group may be in flight, in milliseconds, link or no link, before the log closes as neither confirmed nor refuted.
    pub confirm_max_ms: u64,
}

impl Default for Config {
    /// 64 leaves cost one signature of each kind and one durable write; a minute and a half outlives a host's restart, not its loss.
    fn default() -> Self {
        Self { group_max: 64, group_bytes_max: usize::MAX, queue_max: 1024, wait_max_ms: 0, confirm_max_ms: 90_000 }
    }
}

/// What happened.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A record wants a leaf. Answered by a later `Seal`, or at once by `Refuse`.
    Submit {
        /// Its name.
        ticket: Ticket,
        /// Bytes that its record and its settlement take in a message, at most.
        bytes: usize,
    },
    /// Time passed. Due at [`crate::sequencer::Sequencer::next_tick_ms`] at the latest.
    Tick,
    /// The leaves of the group that `Seal` named, one per ticket, in order.
    Sealed {
        /// Leaf data.
        leaves: Vec<LeafData>,
    },
    /// Both signatures of the checkpoint that `SignCheckpoint` named.
    Signed {
        /// By K_log over the note body.
        note_signature: Ed25519Signature,
        /// By K_sig over the digest.
        signature: Signature65,
    },
    /// The host made the leaves and records durable.
    AppendAcked {
        /// As sent.
        first_index: u64,
        /// As sent.
        count: u64,
    },
    /// The host holds something else.
    AppendRefused(AppendRefused),
    /// The host made the checkpoint and calldata durable.
    CheckpointStored(CheckpointAck),
    /// The host holds something else.
    CheckpointRefused(CheckpointRefused),
    /// What was to be sent is longer than a message can be, so it never left.
    Unsendable,
    /// The host refused what was sent as contradicting what it holds, without saying what that is.
    Contradicted,
    /// The connection is gone. What was sent on it may or may not have arrived.
    LinkLost,
    /// A connection begins, the first one too. Events of an earlier one must not follow.
    LinkRestored(HostState),
}

/// What the shell must do, in order.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
#[must_use]
pub enum Action {
    /// Sign one receipt per ticket over its index (`first_index` and up) and answer `Sealed` before any other event.
    Seal {
        /// Index of the first ticket.
        first_index: u64,
        /// Who, in order.
        tickets: Vec<Ticket>,
    },
    /// Send the leaves with the record of each ticket; the host answers `AppendAcked` or `AppendRefused`. Repeated on a new connection.
    SendAppend {
        /// Index of the first leaf.
        first_index: u64,
        /// What to store, in order.
        leaves: Vec<(Ticket, LeafData)>,
    },
    /// Sign with both keys and answer `Signed` before any other event.
    SignCheckpoint {
        /// What to sign.
        checkpoint: Checkpoint,
    },
    /// Send the checkpoint with the settlement calldata of each ticket, in one message. Repeated, the same, on a new connection.
    SendCheckpoint {
        /// Index of the group's first leaf.
        first_index: u64,
        /// The group, in order.
        tickets: Vec<Ticket>,
        /// What to store.
        signed: SignedCheckpoint,
    },
    /// Let the terminal frames of these tickets go.
    Release(Released),
    /// The ticket gets no leaf. Nothing about it was stored or signed.
    Refuse {
        /// Which.
        ticket: Ticket,
        /// Why.
        reason: Refused,
    },
    /// The log is over. Tickets named here were never acknowledged: no terminal frame, no settlement. Boot again with new keys.
    Close {
        /// Why, with the evidence.
        reason: CloseReason,
        /// Queued and in flight.
        abandoned: Vec<Ticket>,
    },
}

/// A group that is stored and signed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: what an answer carries about the log")]
pub struct Released {
    /// The checkpoint, its cosignatures empty.
    pub signed: SignedCheckpoint,
    /// From the last anchored size; the proof is verified, that the chain holds it is for the client to ask.
    pub anchored: Anchored,
    /// The leaves, in order.
    pub leaves: Vec<ReleasedLeaf>,
}

/// One leaf of a released group.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a place and its proof")]
pub struct ReleasedLeaf {
    /// Whose.
    pub ticket: Ticket,
    /// Its place: the receipt's sequence number.
    pub index: u64,
    /// Its data.
    pub leaf: LeafData,
    /// Path to the checkpoint's root, lowest first. Verified.
    pub inclusion: Vec<Hash32>,
}

/// Why a ticket is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Refused {
    /// The queue is full; try later.
    QueueFull {
        /// Its bound.
        max: usize,
    },
    /// Not even a group of its own could hold it.
    TooLong {
        /// Most bytes of a group.
        max: usize,
        /// Its bytes.
        got: usize,
    },
    /// The ticket waits already.
    Duplicate,
    /// The log is closed.
    Closed,
}

/// Why the log is over. Fields are expected before got.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CloseReason {
    /// A group was neither confirmed nor refuted in time.
    Unconfirmed {
        /// Index of its first leaf.
        first_index: u64,
        /// How long it was in flight, in milliseconds.
        waited_ms: u64,
    },
    /// The host refused leaves.
    AppendRefused(AppendRefused),
    /// The host refused a checkpoint.
    CheckpointRefused(CheckpointRefused),
    /// The host refused leaves or a checkpoint, and its code is all that is known.
    Contradicted,
    /// The host has fewer leaves, more leaves or another tree than it acknowledged or was sent.
    HostTree {
        /// Our tree at the nearest size it could have.
        expected: Tree,
        /// What it says.
        got: HostState,
    },
    /// The host acknowledged what is not in flight.
    UnexpectedAck {
        /// The last released tree.
        released: Tree,
        /// The size that was acknowledged.
        got: u64,
    },
    /// A proof that came with an acknowledgement is wrong.
    Proof {
        /// The leaf it is about, or `None` for the consistency proof.
        index: Option<u64>,
        /// What is wrong.
        error: ProofError,
    },
    /// There were not as many inclusion proofs as leaves.
    ProofCount {
        /// Leaves.
        expected: usize,
        /// Proofs.
        got: usize,
    },
    /// The log has as many leaves as a log can have.
    Full,
    /// The caller broke the contract of `Seal` or `SignCheckpoint`.
    Misuse(&'static str),
    /// We did. Nothing was signed because of it.
    Bug(&'static str),
}

impl CloseReason {
    /// Whether the host is to blame by its own words, rather than by silence or by us.
    #[must_use]
    pub fn is_host_contradiction(&self) -> bool {
        !matches!(self, Self::Unconfirmed { .. } | Self::Full | Self::Misuse(_) | Self::Bug(_))
    }
}
