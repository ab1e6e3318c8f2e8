//! The checker: given only a log's keys and its files, is every byte what it must be?
//!
//! It trusts nothing that it reads. From the entries it derives every hash of every tile, the root, and the root at every size that
//! somebody remembers; from the keys, both signatures of the checkpoint. It works over a directory or over HTTP, through [`LogReader`],
//! in memory that does not grow with the log. Spec: log.md §6, one [`Check`] per numbered step.
//! Not here: whether the keys are attested, whether receipts hash to these entries, what the chain holds (the caller passes it in).
//!
//! **Does not detect** a log that shows other files to other people: that is what `remembered` trees, witnesses and anchors are for.
//!
//! Invariant: the work is one file per 256 leaves and level, and the check gives up after [`FAILURES_MAX`] failures.

use std::fmt;

use candor_verify::Hash32;
use candor_verify::eip712::Recover;
use candor_verify::tlog::Tree;
use candor_verify::transcript::root_of;

use crate::edge::Edge;
use crate::note::{CheckpointError, VerifiedCheckpoint, verify_note};
use crate::store::{LogReader, StoreError};
use crate::tiles::{LEVEL_MAX, Resource, Span, TileError, WIDTH, parse_entries, parse_tile};
use crate::{LogKeys, SIZE_MAX};

/// Failures after which the check stops: a log so broken is broken, and a hostile one must not cost more.
pub const FAILURES_MAX: usize = 64;

/// The steps of log.md §6, in their order.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// The checkpoint is there and both keys signed it.
    Checkpoint,
    /// Every entry bundle that the size demands is there and well formed.
    Entries,
    /// Every tile that the size demands is there and is what the entries give.
    Tiles,
    /// The entries have the signed root.
    Root,
    /// Every remembered tree is a beginning of the log.
    Remembered,
}

impl Step {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [Self::Checkpoint, Self::Entries, Self::Tiles, Self::Root, Self::Remembered];

    /// Where the spec says it.
    #[must_use]
    pub fn spec(self) -> &'static str {
        match self {
            Self::Checkpoint => "log.md LOG-5",
            Self::Entries => "log.md LOG-2",
            Self::Tiles => "log.md LOG-7",
            Self::Root => "log.md LOG-1",
            Self::Remembered => "log.md LOG-9",
        }
    }

    /// The word for people and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Entries => "entries",
            Self::Tiles => "tiles",
            Self::Root => "root",
            Self::Remembered => "remembered",
        }
    }
}

/// The outcome of one step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: done well, done badly, not done")]
pub enum Outcome {
    /// All of it was examined and is right.
    Passed,
    /// Some of it is wrong.
    Failed,
    /// An earlier failure kept it from being done. Not a pass.
    NotChecked,
}

/// One step of the report.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Check {
    /// Which.
    pub step: Step,
    /// How it ended.
    pub outcome: Outcome,
    /// Files or trees that were examined.
    pub examined: u64,
    /// What is wrong, at most [`FAILURES_MAX`] over all steps.
    pub failures: Vec<Failure>,
}

/// Something wrong. Fields are expected before got.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Failure {
    /// The file could not be read.
    Store(StoreError),
    /// There is no such file.
    Missing {
        /// Which.
        resource: Resource,
    },
    /// The checkpoint is not UTF-8.
    Text,
    /// The checkpoint is not signed as it must be.
    Checkpoint(CheckpointError),
    /// The log says that it is larger than a log can be.
    Size {
        /// The limit.
        expected: u64,
        /// What it says.
        got: u64,
    },
    /// The file is truncated, too long or malformed.
    Malformed {
        /// Which.
        resource: Resource,
        /// How.
        error: TileError,
    },
    /// A hash in a tile is not what the entries give.
    Hash {
        /// Which tile.
        resource: Resource,
        /// Position of the hash in the tile; others may be wrong as well.
        position: usize,
        /// What the level below gives.
        expected: Hash32,
        /// What is there.
        got: Hash32,
    },
    /// The entries have another root than was signed.
    Root {
        /// What was signed.
        expected: Tree,
        /// What the entries give.
        got: Tree,
    },
    /// The log is not an extension of a remembered tree: a fork, or a log put back to an earlier state.
    Remembered {
        /// What is remembered.
        expected: Tree,
        /// The log at that size, or the whole log if it is smaller.
        got: Tree,
    },
}

/// Everything the check found.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
#[must_use]
pub struct Report {
    /// The checkpoint, if its signatures are right.
    pub checkpoint: Option<VerifiedCheckpoint>,
    /// One per step, in order.
    pub checks: Vec<Check>,
}

impl Report {
    /// Whether every step was done and passed. Anything else is not a sound log.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(|check| check.outcome == Outcome::Passed)
    }

    /// All failures, in order of their steps.
    pub fn failures(&self) -> impl Iterator<Item = &Failure> {
        self.checks.iter().flat_map(|check| &check.failures)
    }
}

/// Re-derives a whole log. `remembered` are trees of this log seen earlier: old checkpoints, anchors.
///
/// # Security
/// A sound report says that these files are one append-only log, signed by these keys, extending what is remembered. It does not say
/// that the keys are attested or that everybody sees the same log.
pub fn check(reader: &dyn LogReader, recover: &dyn Recover, keys: &LogKeys, remembered: &[Tree]) -> Report {
    let mut findings = Findings::new();
    let checkpoint = check_checkpoint(reader, recover, keys, &mut findings);
    if let Some(signed) = checkpoint.map(|checkpoint| checkpoint.tree())
        && let Some(derived) = derive(reader, signed, remembered, &mut findings)
    {
        check_root(signed, &derived, &mut findings);
        check_remembered(remembered, &derived, &mut findings);
    }
    Report { checkpoint, checks: findings.0 }
}

/// Step 1. The checkpoint is there and both keys signed it.
fn check_checkpoint(reader: &dyn LogReader, recover: &dyn Recover, keys: &LogKeys, findings: &mut Findings) -> Option<VerifiedCheckpoint> {
    findings.examined(Step::Checkpoint);
    let read = || {
        let bytes = reader.fetch(Resource::Checkpoint).map_err(Failure::Store)?;
        let bytes = bytes.ok_or(Failure::Missing { resource: Resource::Checkpoint })?;
        let text = String::from_utf8(bytes).map_err(|_not_utf8| Failure::Text)?;
        let signed = verify_note(recover, keys, &text).map_err(Failure::Checkpoint)?;
        let size = signed.tree().size;
        if SIZE_MAX < size { Err(Failure::Size { expected: SIZE_MAX, got: size }) } else { Ok(signed) }
    };
    let checkpoint = read().map_err(|failure| findings.fail(Step::Checkpoint, failure)).ok();
    findings.complete(Step::Checkpoint);
    checkpoint
}

/// For people: what was expected, then what was found.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => write!(f, "{error}"),
            Self::Missing { resource } => write!(f, "{resource}: expected a file, got none"),
            Self::Text => f.write_str("checkpoint: expected UTF-8"),
            Self::Checkpoint(error) => write!(f, "checkpoint: {error}"),
            Self::Size { expected, got } => write!(f, "checkpoint: expected a size of at most {expected}, got {got}"),
            Self::Malformed { resource, error } => write!(f, "{resource}: {error}"),
            Self::Hash { resource, position, expected, got } => {
                write!(f, "{resource}: hash {position}: expected {expected}, got {got}")
            }
            Self::Root { expected, got } => write!(f, "size {}: signed root {}, entries give {}", expected.size, expected.root, got.root),
            Self::Remembered { expected, got } => {
                write!(f, "remembered root {} at size {}, the log has {} at size {}", expected.root, expected.size, got.root, got.size)
            }
        }
    }
}

/// What the entries give.
struct Derived {
    whole: Tree,
    // The tree at each remembered size that the log has reached, smallest first.
    earlier: Vec<Tree>,
}

/// Steps 2 and 3: walks the log bundle by bundle, comparing every tile as soon as it is complete. `None` if it had to give up.
fn derive(reader: &dyn LogReader, signed: Tree, remembered: &[Tree], findings: &mut Findings) -> Option<Derived> {
    let mut derivation = Derivation { edge: Edge::new(), levels: vec![Level::default(); usize::from(LEVEL_MAX).saturating_add(1)] };
    let mut sizes: Vec<u64> = remembered.iter().map(|tree| tree.size).collect();
    sizes.sort_unstable();
    let mut earlier: Vec<Tree> = sizes.first().filter(|size| **size == 0).map(|_| derivation.edge.tree()).into_iter().collect();
    while let Some(left) = signed.size.checked_sub(derivation.edge.size()).filter(|left| 0 < *left) {
        let width = u16::try_from(left).unwrap_or(WIDTH).min(WIDTH);
        let span = Span::full(derivation.edge.size() / 256)?.of_width(width)?;
        let leaves = leaf_hashes(reader, span, findings)?;
        for leaf in leaves {
            derivation.edge.push(leaf).ok()?;
            if sizes.binary_search(&derivation.edge.size()).is_ok() {
                earlier.push(derivation.edge.tree());
            }
            derivation.push(reader, leaf, findings);
        }
        if FAILURES_MAX <= findings.count() {
            return None;
        }
    }
    derivation.finish(reader, findings);
    findings.complete(Step::Entries);
    findings.complete(Step::Tiles);
    Some(Derived { whole: derivation.edge.tree(), earlier })
}

/// Step 4. The entries have the signed root.
fn check_root(signed: Tree, derived: &Derived, findings: &mut Findings) {
    findings.examined(Step::Root);
    if derived.whole != signed {
        findings.fail(Step::Root, Failure::Root { expected: signed, got: derived.whole });
    }
    findings.complete(Step::Root);
}

/// Step 5. Every remembered tree is a beginning of the log.
fn check_remembered(remembered: &[Tree], derived: &Derived, findings: &mut Findings) {
    for expected in remembered {
        findings.examined(Step::Remembered);
        let found = derived.earlier.binary_search_by_key(&expected.size, |tree| tree.size).ok();
        let got = found.and_then(|at| derived.earlier.get(at)).copied().unwrap_or(derived.whole);
        if *expected != got {
            findings.fail(Step::Remembered, Failure::Remembered { expected: *expected, got });
        }
    }
    findings.complete(Step::Remembered);
}

/// Leaf hashes of one bundle. If the bundle is unusable the tile's are taken, so that what is behind it can still be checked.
fn leaf_hashes(reader: &dyn LogReader, span: Span, findings: &mut Findings) -> Option<Vec<Hash32>> {
    findings.examined(Step::Entries);
    let resource = Resource::Entries { span };
    let leaves = fetch_span(reader, resource).and_then(|(read, bytes)| {
        let entries = parse_entries(&bytes, read.width()).map_err(|error| Failure::Malformed { resource, error })?;
        Ok(entries.iter().take(span.width().into()).map(crate::LeafData::hash).collect())
    });
    match leaves {
        Ok(leaves) => Some(leaves),
        Err(failure) => {
            findings.fail(Step::Entries, failure);
            fetch_tile(reader, Resource::Tile { level: 0, span }).ok()
        }
    }
}

/// Reads a tile or bundle with the span that was found: the complete one stands in for a partial one that is deleted (C2SP tlog-tiles).
fn fetch_span(reader: &dyn LogReader, resource: Resource) -> Result<(Span, Vec<u8>), Failure> {
    for candidate in [resource, resource.completed()] {
        let found = reader.fetch(candidate).map_err(Failure::Store)?;
        if let Some((span, bytes)) = candidate.span().zip(found) {
            return Ok((span, bytes));
        }
    }
    Err(Failure::Missing { resource })
}

/// The hashes of a tile.
fn fetch_tile(reader: &dyn LogReader, resource: Resource) -> Result<Vec<Hash32>, Failure> {
    let (found, bytes) = fetch_span(reader, resource)?;
    let mut hashes = parse_tile(&bytes, found.width()).map_err(|error| Failure::Malformed { resource, error })?;
    hashes.truncate(resource.span().map_or(0, |span| span.width().into()));
    Ok(hashes)
}

/// The tree as far as it is derived: its edge, and the unfinished tile of each level.
struct Derivation {
    edge: Edge,
    levels: Vec<Level>,
}

/// One level of tiles.
#[derive(Clone, Default)]
struct Level {
    // Index of the tile that is being filled.
    tile: u64,
    // Invariant: fewer than 256.
    hashes: Vec<Hash32>,
}

impl Derivation {
    /// Adds a hash to its tile; a full tile is compared, and its root goes one level up.
    fn push(&mut self, reader: &dyn LogReader, leaf: Hash32, findings: &mut Findings) {
        let mut carried = leaf;
        for (number, level) in (0u8..).zip(&mut self.levels) {
            level.hashes.push(carried);
            if level.hashes.len() < usize::from(WIDTH) {
                return;
            }
            level.check(reader, number, findings);
            carried = root_of(&level.hashes);
            level.hashes.clear();
            level.tile = level.tile.saturating_add(1);
        }
    }

    /// Compares the partial tiles at the right edge.
    fn finish(&self, reader: &dyn LogReader, findings: &mut Findings) {
        for (number, level) in (0u8..).zip(&self.levels) {
            if !level.hashes.is_empty() {
                level.check(reader, number, findings);
            }
        }
    }
}

impl Level {
    /// Step 3 for one tile.
    fn check(&self, reader: &dyn LogReader, number: u8, findings: &mut Findings) {
        findings.examined(Step::Tiles);
        let width = u16::try_from(self.hashes.len()).unwrap_or(WIDTH);
        let Some(span) = Span::full(self.tile).and_then(|span| span.of_width(width)) else { return };
        let resource = Resource::Tile { level: number, span };
        match fetch_tile(reader, resource) {
            // Equal in length: `fetch_tile` returns exactly the width.
            Ok(found) => {
                let wrong = self.hashes.iter().zip(&found).enumerate().find(|(_, (expected, got))| expected != got);
                if let Some((position, (expected, got))) = wrong {
                    findings.fail(Step::Tiles, Failure::Hash { resource, position, expected: *expected, got: *got });
                }
            }
            Err(failure) => findings.fail(Step::Tiles, failure),
        }
    }
}

/// What was found so far: one check per step, each [`Outcome::NotChecked`] until it is completed or failed.
struct Findings(Vec<Check>);

impl Findings {
    fn new() -> Self {
        let check = |step| Check { step, outcome: Outcome::NotChecked, examined: 0, failures: Vec::new() };
        Self(Step::ALL.map(check).into())
    }

    fn of(&mut self, step: Step) -> impl Iterator<Item = &mut Check> {
        self.0.iter_mut().filter(move |check| check.step == step)
    }

    fn examined(&mut self, step: Step) {
        self.of(step).for_each(|check| check.examined = check.examined.saturating_add(1));
    }

    fn fail(&mut self, step: Step, failure: Failure) {
        let room = self.count() < FAILURES_MAX;
        for check in self.of(step) {
            check.outcome = Outcome::Failed;
            check.failures.extend(room.then(|| failure.clone()));
        }
    }

    /// All of the step was examined: it passed unless it failed.
    fn complete(&mut self, step: Step) {
        for check in self.of(step).filter(|check| check.outcome == Outcome::NotChecked) {
            check.outcome = Outcome::Passed;
        }
    }

    fn count(&self) -> usize {
        self.0.iter().map(|check| check.failures.len()).sum()
    }
}
