//! The host's half of the protocol: what it admits, what it answers, and nothing about how it stores.
//!
//! Each durable step is *plan*, then the host's own database transaction, then *apply*. A plan says what is new (a re-offer may hold
//! nothing new); applying makes it visible. If the transaction fails its outcome is unknown: drop the [`HostLog`] and [`HostLog::load`]
//! it again from the database, exactly as after a restart. Spec: log.md §5.
//!
//! Not here: the database, the receipts and calldata beside the leaves (stored in the same transactions), serving, anchoring.
//!
//! **Invariant:** memory never holds what the database does not.
//! **Trust:** the enclave is the only writer, but a host that checks finds its own broken disk, and a broken enclave, before the world does.

use std::fmt;

use candor_verify::Hash32;
use candor_verify::checkpoint::SignedCheckpoint;
use candor_verify::eip712::Recover;
use candor_verify::tlog::{Tree, empty_root};

use crate::note::{CheckpointError, verify_checkpoint, write_note};
use crate::publish::{Batch, BatchError};
use crate::tiles::Growth;
use crate::tree::FullTree;
use crate::{GROUP_MAX, LeafData, LogKeys, SIZE_MAX, count, position};

/// A log as the host holds it: every leaf, the tree over them, the last checkpoint, the last anchor.
#[derive(Clone, Debug)]
pub struct HostLog {
    keys: LogKeys,
    // Invariant: leaves.len() == tree.size().
    leaves: Vec<LeafData>,
    tree: FullTree,
    // Invariant: both its signatures verified, and its tree is this tree at its size.
    checkpoint: Option<SignedCheckpoint>,
    // Invariant: it is this tree at its size.
    anchored: Tree,
}

/// What to store for an append. Made by [`HostLog::plan_append`], spent by [`HostLog::apply_append`].
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub struct AppendPlan {
    // Size of the log that the plan was made for.
    size: u64,
    held: usize,
    new: Vec<LeafData>,
}

impl AppendPlan {
    /// How many of the offered leaves are stored already: skip as many records.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    /// Leaves to store, in order. Empty for a whole re-offer: then there is nothing to write, and applying is still right.
    #[must_use]
    pub fn new_leaves(&self) -> &[LeafData] {
        &self.new
    }
}

/// What to store for a checkpoint. Made by [`HostLog::plan_checkpoint`], spent by [`HostLog::apply_checkpoint`].
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub struct CheckpointPlan {
    size: u64,
    first_index: u64,
    new: Option<SignedCheckpoint>,
}

impl CheckpointPlan {
    /// The checkpoint to store with its settlement calldata, or `None` for a re-offer of what is stored already.
    #[must_use]
    pub fn new_checkpoint(&self) -> Option<&SignedCheckpoint> {
        self.new.as_ref()
    }
}

/// The plan is for a log of another size: something was applied in between. Plan again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: expected and got")]
pub struct PlanStale {
    /// Size that the plan was made for.
    pub expected: u64,
    /// Size of the log.
    pub got: u64,
}

impl fmt::Display for PlanStale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "planned for a log of {} leaves, it has {}", self.expected, self.got)
    }
}

impl std::error::Error for PlanStale {}

/// Why leaves are not admitted. The enclave closes the log on any of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum AppendRefused {
    /// It starts after the end.
    Gap {
        /// Size of the log: the highest index it could start at.
        expected: u64,
        /// Where it starts.
        got: u64,
    },
    /// Another leaf is stored at this index already. One of the two sides has forked, and this is the evidence.
    Contradiction {
        /// Which leaf.
        index: u64,
        /// What is stored.
        expected: LeafData,
        /// What was offered.
        got: LeafData,
    },
    /// No leaf, or more than [`GROUP_MAX`].
    Count {
        /// The most leaves of one append.
        max: usize,
        /// How many there were.
        got: usize,
    },
    /// The log would pass [`SIZE_MAX`].
    Full,
}

impl fmt::Display for AppendRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap { expected, got } => write!(f, "the log has {expected} leaves, the append begins at {got}"),
            Self::Contradiction { index, expected, got } => {
                write!(f, "leaf {index} is stored as {}, offered as {}", expected.0, got.0)
            }
            Self::Count { max, got } => write!(f, "expected 1 to {max} leaves, got {got}"),
            Self::Full => write!(f, "the log would have more than {SIZE_MAX} leaves"),
        }
    }
}

impl std::error::Error for AppendRefused {}

/// Why a checkpoint is not admitted. The enclave closes the log on any of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CheckpointRefused {
    /// One of its signatures is wrong, or it is about another log.
    Signature(CheckpointError),
    /// It does not cover exactly the leaves that are stored.
    Size {
        /// Size of the log.
        expected: u64,
        /// Size it is about.
        got: u64,
    },
    /// The stored leaves have another root. One of the two sides has forked, and this is the evidence.
    Root {
        /// The stored leaves.
        expected: Tree,
        /// What was signed.
        got: Tree,
    },
    /// It covers no new leaf from `first_index` on, or more than [`GROUP_MAX`] of them.
    Group {
        /// First leaf that proofs were asked for.
        first_index: u64,
        /// Size it is about.
        size: u64,
    },
}

impl fmt::Display for CheckpointRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signature(error) => error.fmt(f),
            Self::Size { expected, got } => write!(f, "the log has {expected} leaves, the checkpoint is over {got}"),
            Self::Root { expected, got } => {
                write!(f, "the {} stored leaves have root {}, {} was signed", expected.size, expected.root, got.root)
            }
            Self::Group { first_index, size } => {
                write!(f, "expected 1 to {GROUP_MAX} new leaves, got those from {first_index} on in a tree of {size}")
            }
        }
    }
}

impl std::error::Error for CheckpointRefused {}

/// Why stored leaves and a stored checkpoint are not a log: the database is broken, and nothing may be built on it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LoadError {
    /// More leaves than [`SIZE_MAX`].
    Full,
    /// The checkpoint's signatures are wrong.
    Checkpoint(CheckpointError),
    /// The leaves do not have the root that was signed, or there are too few of them (got: the leaves there are).
    Tree {
        /// What was signed.
        expected: Tree,
        /// What is stored.
        got: Tree,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => write!(f, "more than {SIZE_MAX} leaves"),
            Self::Checkpoint(error) => error.fmt(f),
            Self::Tree { expected, got } => {
                write!(f, "expected root {} at size {}, got root {} at size {}", expected.root, expected.size, got.root, got.size)
            }
        }
    }
}

impl std::error::Error for LoadError {}

/// An older tree that the chain is said to hold, and the proof that the new one extends it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a tree and its proof")]
pub struct Anchored {
    /// The anchored tree; the empty tree if nothing is anchored yet.
    pub tree: Tree,
    /// Consistency proof from it to the checkpoint.
    pub consistency: Vec<Hash32>,
}

/// The host's answer to a checkpoint: it is stored, and here are the proofs.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: one answer of the protocol")]
pub struct CheckpointAck {
    /// The tree of the checkpoint.
    pub tree: Tree,
    /// One inclusion path per leaf of the group, in order.
    pub inclusions: Vec<Vec<Hash32>>,
    /// From the last anchored size.
    pub anchored: Anchored,
}

/// What the host says it has, when a connection begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: one message of the protocol")]
pub struct HostState {
    /// Its leaves.
    pub tree: Tree,
    /// Size of its last checkpoint; zero if it has none.
    pub checkpoint_size: u64,
}

/// How a log ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: what is kept and what is not")]
pub struct Ended {
    /// The last signed tree.
    pub tree: Tree,
    /// Leaves behind it, which were never acknowledged. Delete them with their records.
    pub discarded: u64,
}

impl HostLog {
    /// A log from what the database holds; an empty one for a new boot.
    ///
    /// # Errors
    /// The database contradicts itself.
    pub fn load(
        recover: &dyn Recover,
        keys: LogKeys,
        leaves: impl IntoIterator<Item = LeafData>,
        checkpoint: Option<SignedCheckpoint>,
    ) -> Result<Self, LoadError> {
        let anchored = Tree { size: 0, root: empty_root() };
        let mut log = Self { keys, leaves: Vec::new(), tree: FullTree::new(), checkpoint: None, anchored };
        for leaf in leaves {
            log.push(leaf).map_err(|_full| LoadError::Full)?;
        }
        if let Some(checkpoint) = &checkpoint {
            let expected = verify_checkpoint(recover, &keys, checkpoint).map_err(LoadError::Checkpoint)?.tree();
            let got = log.tree.at(expected.size).unwrap_or(log.tree.now()).tree();
            if expected != got {
                return Err(LoadError::Tree { expected, got });
            }
        }
        Ok(Self { checkpoint, ..log })
    }

    /// Admits leaves from `first_index` on, which may be stored already in whole or in part.
    ///
    /// # Errors
    /// Why not. Nothing has changed.
    pub fn plan_append(&self, first_index: u64, leaves: &[LeafData]) -> Result<AppendPlan, AppendRefused> {
        let size = self.tree.size();
        if leaves.is_empty() || GROUP_MAX < leaves.len() {
            return Err(AppendRefused::Count { max: GROUP_MAX, got: leaves.len() });
        }
        let stored = self.leaves.get(position(first_index)..).filter(|_| first_index <= size);
        let stored = stored.ok_or(AppendRefused::Gap { expected: size, got: first_index })?;
        // The shorter of the two ends the comparison on purpose: what follows in `stored` is later, in `leaves` it is new.
        for ((index, expected), got) in (first_index..).zip(stored).zip(leaves) {
            if expected != got {
                return Err(AppendRefused::Contradiction { index, expected: *expected, got: *got });
            }
        }
        let new = leaves.get(stored.len()..).unwrap_or_default().to_vec();
        if SIZE_MAX.saturating_sub(size) < count(new.len()) {
            return Err(AppendRefused::Full);
        }
        Ok(AppendPlan { size, held: leaves.len().saturating_sub(new.len()), new })
    }

    /// Makes stored leaves visible. Call after the transaction that stored them and their records is durable.
    ///
    /// # Errors
    /// The plan is for another size; plan again.
    // Crash: before the transaction, the enclave offers the leaves again; after it and before this call, `load` finds them and the
    // re-offer is found to be held.
    pub fn apply_append(&mut self, plan: AppendPlan) -> Result<(), PlanStale> {
        self.check_fresh(plan.size)?;
        for leaf in plan.new {
            // The plan has checked the room, so this never refuses.
            self.push(leaf).map_err(|_full| PlanStale { expected: plan.size, got: SIZE_MAX })?;
        }
        Ok(())
    }

    /// Admits a checkpoint over exactly the stored leaves, of which those from `first_index` on will be proven.
    ///
    /// # Errors
    /// Why not. Nothing has changed.
    pub fn plan_checkpoint(
        &self,
        recover: &dyn Recover,
        first_index: u64,
        signed: &SignedCheckpoint,
    ) -> Result<CheckpointPlan, CheckpointRefused> {
        let got = verify_checkpoint(recover, &self.keys, signed).map_err(CheckpointRefused::Signature)?.tree();
        let expected = self.tree.now().tree();
        if got.size != expected.size {
            return Err(CheckpointRefused::Size { expected: expected.size, got: got.size });
        }
        if got != expected {
            return Err(CheckpointRefused::Root { expected, got });
        }
        let group = got.size.checked_sub(first_index).filter(|group| 0 < *group && *group <= count(GROUP_MAX));
        if group.is_none() {
            return Err(CheckpointRefused::Group { first_index, size: got.size });
        }
        // Same size and root as the stored one: a re-offer, even if its time differs. The stored one stays.
        let held = self.checkpoint.as_ref().is_some_and(|held| held.checkpoint.tree == got);
        Ok(CheckpointPlan { size: got.size, first_index, new: (!held).then(|| signed.clone()) })
    }

    /// Makes a stored checkpoint visible and answers with the proofs. Call after the transaction that stored it and its calldata is durable.
    ///
    /// # Errors
    /// The plan is for another size; plan again.
    // Crash: before the transaction, the enclave offers the checkpoint again; after it, `load` finds it and the re-offer gets the same
    // proofs.
    pub fn apply_checkpoint(&mut self, plan: CheckpointPlan) -> Result<CheckpointAck, PlanStale> {
        self.check_fresh(plan.size)?;
        if let Some(checkpoint) = plan.new {
            self.checkpoint = Some(checkpoint);
        }
        let now = self.tree.now();
        let inclusions = (plan.first_index..plan.size).map(|index| now.inclusion(index).unwrap_or_default()).collect();
        let consistency = now.consistency_from(self.anchored.size).unwrap_or_default();
        Ok(CheckpointAck { tree: now.tree(), inclusions, anchored: Anchored { tree: self.anchored, consistency } })
    }

    /// Remembers what the chain holds, from which later answers prove consistency. Smaller than the last one is ignored.
    ///
    /// # Errors
    /// The chain holds a tree that is not this log's (expected: ours at that size, or now if it never had so many leaves).
    pub fn set_anchored(&mut self, anchored: Tree) -> Result<(), LoadError> {
        let ours = self.tree.at(anchored.size).unwrap_or(self.tree.now()).tree();
        if ours != anchored {
            return Err(LoadError::Tree { expected: ours, got: anchored });
        }
        if self.anchored.size < anchored.size {
            self.anchored = anchored;
        }
        Ok(())
    }

    /// What the host tells the enclave when a connection begins.
    #[must_use]
    pub fn state(&self) -> HostState {
        HostState { tree: self.tree.now().tree(), checkpoint_size: self.checkpoint_size() }
    }

    /// Ends the log after its enclave is gone: forgets the leaves that no checkpoint covers.
    // Crash: the log is still whole in the database; ending it again gives the same.
    pub fn end(&mut self) -> Ended {
        let size = self.checkpoint_size();
        let discarded = self.tree.size().saturating_sub(size);
        self.tree.truncate(size);
        self.leaves.truncate(position(size));
        Ended { tree: self.tree.now().tree(), discarded }
    }

    /// The next files to publish, given the tree of the published checkpoint ([`crate::publish::published`]).
    ///
    /// # Errors
    /// Nothing is signed yet, or what is published is not a beginning of this log.
    pub fn batch(&self, published: Option<Tree>) -> Result<Batch, BatchError> {
        let checkpoint = self.checkpoint.as_ref().ok_or(BatchError::NothingSigned)?;
        let from = published.unwrap_or(Tree { size: 0, root: empty_root() });
        let ours = self.tree.at(from.size).filter(|_| from.size <= checkpoint.checkpoint.tree.size);
        match ours.map(|ours| ours.tree()) {
            Some(ours) if ours == from => {}
            ours => return Err(BatchError::NotOurs { expected: ours.unwrap_or(checkpoint.checkpoint.tree), got: from }),
        }
        let growth = Growth { from: from.size, to: checkpoint.checkpoint.tree.size };
        Ok(Batch::plan(&self.tree, &self.leaves, growth, || write_note(&self.keys, checkpoint)))
    }

    /// The tree over the stored leaves, for proofs of any kind.
    #[must_use]
    pub fn tree(&self) -> &FullTree {
        &self.tree
    }

    /// The leaves.
    #[must_use]
    pub fn leaves(&self) -> &[LeafData] {
        &self.leaves
    }

    /// The last checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> Option<&SignedCheckpoint> {
        self.checkpoint.as_ref()
    }

    fn checkpoint_size(&self) -> u64 {
        self.checkpoint.as_ref().map_or(0, |held| held.checkpoint.tree.size)
    }

    fn push(&mut self, leaf: LeafData) -> Result<(), crate::edge::LogFull> {
        self.tree.push(leaf.hash())?;
        self.leaves.push(leaf);
        Ok(())
    }

    fn check_fresh(&self, expected: u64) -> Result<(), PlanStale> {
        let got = self.tree.size();
        if expected == got { Ok(()) } else { Err(PlanStale { expected, got }) }
    }
}
