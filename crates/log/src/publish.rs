//! Publishing: which files, and in which order, so that no reader ever sees a checkpoint whose tiles are not there.
//!
//! A [`Batch`] is made from memory ([`crate::host::HostLog::batch`]) and written by [`publish`] without holding the log: first every tile
//! and bundle, durable one by one, then the checkpoint in one atomic step, then the deletion of partials that nobody needs. Starting up
//! is the same loop: read what is published, write what is missing. Spec: log.md §4.
//!
//! ```text
//! let mut at = published(&store, &recover, &keys)?;
//! loop {
//!     let batch = log.batch(at)?;
//!     publish(&store, &batch)?;
//!     match batch.after() { After::Published(_) => break, After::More(tree) => at = Some(tree) }
//! }
//! ```
//!
//! **Invariant:** files are functions of the leaves, so writing one twice writes the same bytes; another byte is [`StoreError::Conflict`].

use std::fmt;

use candor_verify::eip712::Recover;
use candor_verify::tlog::Tree;

use crate::note::{CheckpointError, verify_note};
use crate::store::{LogStore, StoreError};
use crate::tiles::{Growth, Resource, encode_entries, encode_tile};
use crate::tree::FullTree;
use crate::{LeafData, LogKeys};

/// The most leaves of one batch: about 4 MB of files. All but the last batch end where a tile of level 0 does.
pub const BATCH_LEAVES_MAX: u64 = 65_536;

/// Files to write, and the checkpoint if they are all that it needs.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub struct Batch {
    files: Vec<(Resource, Vec<u8>)>,
    checkpoint: Option<String>,
    covered: Tree,
}

/// Where a batch leaves the published log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: done or not")]
pub enum After {
    /// The checkpoint is published; so far for now.
    Published(Tree),
    /// More files come first: ask for the batch after this tree.
    More(Tree),
}

/// Why there is no batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum BatchError {
    /// No checkpoint is stored yet.
    NothingSigned,
    /// What is published is no beginning of what is stored: a fork, another log's directory, or a database put back from a copy.
    NotOurs {
        /// Ours at that size, or the last signed tree if that is smaller.
        expected: Tree,
        /// What is published.
        got: Tree,
    },
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingSigned => f.write_str("no checkpoint is stored yet"),
            Self::NotOurs { expected, got } => write!(
                f,
                "what is published is not this log: expected root {} at size {}, got root {} at size {}",
                expected.root, expected.size, got.root, got.size
            ),
        }
    }
}

impl std::error::Error for BatchError {}

/// Why the published checkpoint cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PublishedError {
    /// The store.
    Store(StoreError),
    /// It is not UTF-8.
    Text,
    /// It is not one of this log.
    Checkpoint(CheckpointError),
}

impl fmt::Display for PublishedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Text => f.write_str("the published checkpoint is not UTF-8"),
            Self::Checkpoint(error) => write!(f, "the published checkpoint: {error}"),
        }
    }
}

impl std::error::Error for PublishedError {}

impl Batch {
    /// Files for `growth` or the beginning of it.
    pub(crate) fn plan(tree: &FullTree, leaves: &[LeafData], growth: Growth, checkpoint: impl FnOnce() -> String) -> Self {
        let whole = growth.to.saturating_sub(growth.from) <= BATCH_LEAVES_MAX;
        // Not the last batch: stop at a full tile. Tiles of higher levels may be partial there; they are written all the same, because
        // a level that does not grow in the next batch would not be written by it either.
        let end = growth.from.saturating_add(BATCH_LEAVES_MAX);
        let to = if whole { growth.to } else { end.saturating_sub(end % 256) };
        let resources = Resource::added_by(Growth { to, ..growth }).into_iter();
        let files = resources.filter_map(|resource| Some((resource, contents(tree, leaves, resource)?))).collect();
        let covered = tree.at(to).unwrap_or(tree.now()).tree();
        Self { files, checkpoint: whole.then(checkpoint), covered }
    }

    /// Where the log is after [`publish`].
    #[must_use]
    pub fn after(&self) -> After {
        if self.checkpoint.is_some() { After::Published(self.covered) } else { After::More(self.covered) }
    }

    /// The files and their bytes, in the order of writing, without the checkpoint.
    #[must_use]
    pub fn files(&self) -> &[(Resource, Vec<u8>)] {
        &self.files
    }
}

/// The bytes of a tile or bundle, or `None` if the tree does not reach so far.
fn contents(tree: &FullTree, leaves: &[LeafData], resource: Resource) -> Option<Vec<u8>> {
    match resource {
        Resource::Checkpoint => None,
        Resource::Tile { level, span } => tree.row(u32::from(level).saturating_mul(8)).get(span.members()).map(encode_tile),
        Resource::Entries { span } => leaves.get(span.members()).map(encode_entries),
    }
}

/// Writes a batch.
///
/// # Errors
/// The first that the store has. The outcome is unknown then: write the same batch again, or start again from [`published`].
pub fn publish(store: &dyn LogStore, batch: &Batch) -> Result<(), StoreError> {
    for (resource, bytes) in &batch.files {
        store.put(*resource, bytes)?;
        // Crash: some files of a tree that no published checkpoint names. The next run puts the same bytes there; partial widths of a
        // size that is never published stay until their tile is full.
    }
    if let Some(checkpoint) = &batch.checkpoint {
        store.replace_checkpoint(checkpoint)?;
    }
    // Crash: the checkpoint is published with all it needs; partials that could go are left for ever. They cost a few kilobytes and harm
    // nobody. Readers of the last checkpoint that miss a partial take the complete tile (C2SP tlog-tiles).
    for (resource, _) in &batch.files {
        if resource.span().is_some_and(|span| span.is_full()) {
            store.remove_partials(*resource)?;
        }
    }
    Ok(())
}

/// The tree of the published checkpoint, or `None` if none is.
///
/// # Errors
/// The store failed, or what is published is not this log: never publish over it.
pub fn published(store: &dyn LogStore, recover: &dyn Recover, keys: &LogKeys) -> Result<Option<Tree>, PublishedError> {
    let Some(bytes) = store.fetch(Resource::Checkpoint).map_err(PublishedError::Store)? else { return Ok(None) };
    let text = String::from_utf8(bytes).map_err(|_not_utf8| PublishedError::Text)?;
    let checkpoint = verify_note(recover, keys, &text).map_err(PublishedError::Checkpoint)?;
    Ok(Some(checkpoint.tree()))
}
