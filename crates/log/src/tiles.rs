//! Where a published log keeps what: the checkpoint, tiles of hashes, bundles of entries, and their paths.
//!
//! The C2SP tlog-tiles layout with height 8. A [`Resource`] is the only way to name a file of a log, and [`Resource::parse`] accepts
//! exactly the paths that [`Resource`] writes: a server that parses first cannot be led out of its directory. Spec: log.md §4.
//! Not here: reading and writing ([`crate::store`]), which bytes belong where ([`crate::publish`]), whether they are right
//! ([`crate::check`]).

use std::fmt;

use candor_verify::Hash32;

use crate::{LeafData, SIZE_MAX, count, position};

/// Hashes in a full tile and entries in a full bundle.
pub const WIDTH: u16 = 256;

/// Bytes of one entry in a bundle: big-endian u16 length, then 32 bytes of leaf data.
pub const ENTRY_BYTES: usize = 34;

/// The most bytes of a checkpoint note: our two lines and room for 16 witnesses and more.
const CHECKPOINT_BYTES_MAX: usize = 16 * 1024;

/// The highest level of tiles: level 5 of a log of [`SIZE_MAX`] leaves is one hash.
pub const LEVEL_MAX: u8 = 5;

/// A run of at most 256 neighbours: the `index`-th of its row, holding `width` of them.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Span {
    // Invariant: index ≤ SIZE_MAX / 256.
    index: u64,
    // Invariant: 1 ≤ width ≤ 256.
    width: u16,
}

/// One file of a published log.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_enums, reason = "complete: these are all the files there are")]
pub enum Resource {
    /// The signed note at `checkpoint`; the only file that changes.
    Checkpoint,
    /// Hashes of level 8·level of the tree, at `tile/<level>/<index>[.p/<width>]`.
    Tile {
        /// 0 holds leaf hashes; each level above, roots of full tiles below.
        level: u8,
        /// Which hashes of that level.
        span: Span,
    },
    /// Leaf data at `tile/entries/<index>[.p/<width>]`.
    Entries {
        /// Which leaves.
        span: Span,
    },
}

/// A tree that grows, by its sizes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: two sizes")]
pub struct Growth {
    /// Size before.
    pub from: u64,
    /// Size after.
    pub to: u64,
}

impl Span {
    /// The full span that is `index`-th in its row, or `None` beyond [`SIZE_MAX`].
    #[must_use]
    pub fn full(index: u64) -> Option<Self> {
        (index <= SIZE_MAX / 256).then_some(Self { index, width: WIDTH })
    }

    /// The same run with only `width` members, or `None` unless 1 ≤ width ≤ 256.
    #[must_use]
    pub fn of_width(self, width: u16) -> Option<Self> {
        (1..=WIDTH).contains(&width).then_some(Self { width, ..self })
    }

    /// The spans of a row of `length` members from the `first` span on: full ones, then the partial one if there is a rest.
    fn of_row(first: u64, length: u64) -> impl Iterator<Item = Self> {
        let whole = length / 256;
        let rest = u16::try_from(length % 256).ok().filter(|rest| 0 < *rest);
        let partial = rest.filter(|_| first <= whole).map(|width| Self { index: whole, width });
        (first..whole).map(|index| Self { index, width: WIDTH }).chain(partial)
    }

    /// Position in the row of spans.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Number of members.
    #[must_use]
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Whether it will never grow.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.width == WIDTH
    }

    /// The same run, complete.
    #[must_use]
    pub fn completed(self) -> Self {
        Self { width: WIDTH, ..self }
    }

    /// Positions of its members in their row.
    #[must_use]
    pub fn members(&self) -> std::ops::Range<usize> {
        let start = self.index.saturating_mul(256);
        position(start)..position(start.saturating_add(self.width.into()))
    }
}

impl Resource {
    /// Reads a path. Accepts only the one spelling of each resource.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        if path == "checkpoint" {
            return Some(Self::Checkpoint);
        }
        // The longest path of a log of SIZE_MAX leaves has fewer than 48 characters; a longer one costs nothing.
        let (level, rest) = path.strip_prefix("tile/").filter(|_| path.len() < 48)?.split_once('/')?;
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, width.parse().ok().filter(|width| *width < WIDTH)?),
            None => (rest, WIDTH),
        };
        let index = index.split('/').try_fold(0u64, |index, digits| {
            let digits: u64 = digits.trim_start_matches('x').parse().ok().filter(|value| *value < 1000)?;
            index.checked_mul(1000)?.checked_add(digits)
        })?;
        let span = Span::full(index)?.of_width(width)?;
        let resource = match level {
            "entries" => Self::Entries { span },
            level => Self::Tile { level: level.parse().ok().filter(|level| *level <= LEVEL_MAX)?, span },
        };
        // One spelling only: signs, leading zeros, missing or spare `x` all end here.
        (resource.to_string() == path).then_some(resource)
    }

    /// Files that a log of `growth.to` leaves has and one of `growth.from` leaves has not, lowest level first, entries last.
    ///
    /// The work is one file per 256 leaves of growth and two per level.
    #[must_use]
    pub fn added_by(growth: Growth) -> Vec<Self> {
        let mut added = Vec::new();
        for level in 0..=LEVEL_MAX {
            let shift = u32::from(level).saturating_mul(8);
            let [before, after] = [growth.from, growth.to].map(|size| size.checked_shr(shift).unwrap_or(0));
            if before < after {
                added.extend(Span::of_row(before / 256, after).map(|span| Self::Tile { level, span }));
            }
        }
        if growth.from < growth.to {
            added.extend(Span::of_row(growth.from / 256, growth.to).map(|span| Self::Entries { span }));
        }
        added
    }

    /// Its members, or `None` for the checkpoint.
    #[must_use]
    pub fn span(&self) -> Option<Span> {
        match self {
            Self::Checkpoint => None,
            Self::Tile { span, .. } | Self::Entries { span } => Some(*span),
        }
    }

    /// The same tile or bundle, complete.
    #[must_use]
    pub fn completed(self) -> Self {
        match self {
            Self::Checkpoint => Self::Checkpoint,
            Self::Tile { level, span } => Self::Tile { level, span: span.completed() },
            Self::Entries { span } => Self::Entries { span: span.completed() },
        }
    }

    /// The most bytes it can have; exactly as many for a tile or bundle.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        match self {
            Self::Checkpoint => CHECKPOINT_BYTES_MAX,
            Self::Tile { span, .. } => usize::from(span.width).saturating_mul(32),
            Self::Entries { span } => usize::from(span.width).saturating_mul(ENTRY_BYTES),
        }
    }
}

/// The path relative to the log's prefix.
impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = match self {
            Self::Checkpoint => return f.write_str("checkpoint"),
            Self::Tile { level, span } => {
                write!(f, "tile/{level}/")?;
                span
            }
            Self::Entries { span } => {
                f.write_str("tile/entries/")?;
                span
            }
        };
        // Four groups of three digits hold every index below SIZE_MAX / 256 < 10^12.
        let groups = [1_000_000_000, 1_000_000, 1000].map(|unit| span.index.checked_div(unit).unwrap_or(0));
        for group in groups.into_iter().filter(|group| 0 < *group) {
            write!(f, "x{:03}/", group % 1000)?;
        }
        write!(f, "{:03}", span.index % 1000)?;
        if span.is_full() { Ok(()) } else { write!(f, ".p/{}", span.width) }
    }
}

/// The bytes of a tile: its hashes, one after the other.
#[must_use]
pub fn encode_tile(hashes: &[Hash32]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// The bytes of an entry bundle: each entry after its big-endian u16 length, which is 32.
#[must_use]
pub fn encode_entries(leaves: &[LeafData]) -> Vec<u8> {
    leaves.iter().flat_map(|leaf| [0, 32].into_iter().chain(leaf.0.0)).collect()
}

/// Why bytes are not the tile or bundle of this width.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TileError {
    /// Too short or too long, in bytes.
    Length {
        /// Bytes that the width demands.
        expected: usize,
        /// Bytes given.
        got: usize,
    },
    /// An entry says that it has another length than 32.
    Entry {
        /// Its position in the bundle.
        position: usize,
        /// The length it says.
        got: u16,
    },
}

impl fmt::Display for TileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { expected, got } => write!(f, "expected {expected} bytes, got {got}"),
            Self::Entry { position, got } => write!(f, "entry {position}: expected 32 bytes, got {got}"),
        }
    }
}

impl std::error::Error for TileError {}

/// Reads a tile of this width.
///
/// # Errors
/// `Length`.
pub fn parse_tile(bytes: &[u8], width: u16) -> Result<Vec<Hash32>, TileError> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    if count(hashes.len()) != u64::from(width) || !rest.is_empty() {
        return Err(TileError::Length { expected: usize::from(width).saturating_mul(32), got: bytes.len() });
    }
    Ok(hashes.iter().copied().map(Hash32).collect())
}

/// Reads a bundle of this width, all of whose entries are leaf data.
///
/// # Errors
/// `Length`, or `Entry` at the first entry that says another length.
pub fn parse_entries(bytes: &[u8], width: u16) -> Result<Vec<LeafData>, TileError> {
    let (entries, rest) = bytes.as_chunks::<ENTRY_BYTES>();
    if count(entries.len()) != u64::from(width) || !rest.is_empty() {
        return Err(TileError::Length { expected: usize::from(width).saturating_mul(ENTRY_BYTES), got: bytes.len() });
    }
    let leaf = |(position, entry): (usize, &[u8; ENTRY_BYTES])| match entry.split_first_chunk::<2>() {
        Some((length, data)) if *length == [0, 32] => Hash32::from_slice(data).map(LeafData).ok_or(TileError::Entry { position, got: 32 }),
        Some((length, _)) => Err(TileError::Entry { position, got: u16::from_be_bytes(*length) }),
        None => Err(TileError::Entry { position, got: 0 }),
    };
    entries.iter().enumerate().map(leaf).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tile(level: u8, index: u64, width: u16) -> Resource {
        Resource::Tile { level, span: Span::full(index).unwrap().of_width(width).unwrap() }
    }

    #[test]
    fn paths_are_those_of_the_c2sp_specification() {
        assert_eq!(tile(4, 1_234_067, 256).to_string(), "tile/4/x001/x234/067");
        assert_eq!(tile(0, 0, 5).to_string(), "tile/0/000.p/5");
        assert_eq!(tile(1, 1000, 256).to_string(), "tile/1/x001/000");
        assert_eq!(tile(0, 4_000_000_000, 1).to_string(), "tile/0/x004/x000/x000/000.p/1");
        // "A tree of size 70,000": 273 full and one partial at level 0, one full and one partial at level 1, one partial at level 2.
        let added = Resource::added_by(Growth { from: 0, to: 70_000 });
        let of = |wanted: u8| added.iter().filter(move |r| matches!(r, Resource::Tile { level, .. } if *level == wanted)).copied();
        assert_eq!(of(0).count(), 274);
        assert_eq!(of(0).next_back(), Some(tile(0, 273, 112)));
        assert_eq!(of(1).collect::<Vec<_>>(), [tile(1, 0, 256), tile(1, 1, 17)]);
        assert_eq!(of(2).collect::<Vec<_>>(), [tile(2, 0, 1)]);
        assert_eq!(of(3).count(), 0);
        let exact = Resource::added_by(Growth { from: 0, to: 256 });
        assert_eq!(exact[..2], [tile(0, 0, 256), tile(1, 0, 1)]);
    }

    #[test]
    fn other_spellings_of_a_path_are_rejected() {
        for path in [
            "",
            "/checkpoint",
            "checkpoint/",
            "Checkpoint",
            "tile",
            "tile/",
            "tile/0",
            "tile/0/",
            "tile/0/0",
            "tile/0/00",
            "tile/0/0000",
            "tile/00/000",
            "tile/+0/000",
            "tile/6/000",
            "tile/64/000",
            "tile/0/x000/001",
            "tile/0/001/000",
            "tile/0/x001/x000",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/",
            "tile/0/000.p/+1",
            "tile/0/000.p/1/",
            "tile/0/+01",
            "tile/entries/../checkpoint",
            "tile/0/..",
            "tile/0/000/../000",
            "tile/8/0/000",
            "tile/data/000",
            "tile/0/x999/x999/x999/x999/999",
            "tile/0/xx01/000",
            "tile/0/000.p/1.p/1",
        ] {
            assert_eq!(Resource::parse(path), None, "{path}");
        }
    }

    #[test]
    fn bundles_whose_entries_have_another_length_are_rejected() {
        let leaves = [LeafData(Hash32([1; 32])), LeafData(Hash32([2; 32]))];
        let mut bytes = encode_entries(&leaves);
        assert_eq!(parse_entries(&bytes, 2), Ok(leaves.to_vec()));
        assert_eq!(parse_entries(&bytes, 3), Err(TileError::Length { expected: 102, got: 68 }));
        bytes[35] = 31;
        assert_eq!(parse_entries(&bytes, 2), Err(TileError::Entry { position: 1, got: 31 }));
        bytes.pop();
        assert_eq!(parse_entries(&bytes, 2), Err(TileError::Length { expected: 68, got: 67 }));
        assert_eq!(parse_tile(&[0; 63], 2), Err(TileError::Length { expected: 64, got: 63 }));
        assert_eq!(parse_tile(&[0; 96], 2), Err(TileError::Length { expected: 64, got: 96 }));
    }

    proptest! {
        #[test]
        fn every_path_reads_back(level in 0u8..=LEVEL_MAX, index in 0u64..=SIZE_MAX / 256, width in 1u16..=256, entries: bool) {
            let span = Span::full(index).unwrap().of_width(width).unwrap();
            let resource = if entries { Resource::Entries { span } } else { Resource::Tile { level, span } };
            prop_assert!(resource.to_string().len() < 48);
            prop_assert_eq!(Resource::parse(&resource.to_string()), Some(resource));
        }

        #[test]
        fn paths_and_growth_agree_with_tlog_tiles(from in 0u64..200_000, more in 0u64..70_000) {
            let growth = Growth { from, to: from + more };
            // That crate has the height as a first directory, as the Go checksum database has.
            let theirs: Vec<_> = tlog_tiles::Tile::new_tiles(8, growth.from, growth.to)
                .iter().map(|tile| tile.path().replacen("tile/8/", "tile/", 1)).collect();
            let ours: Vec<_> = Resource::added_by(growth)
                .iter().filter(|r| matches!(r, Resource::Tile { .. })).map(ToString::to_string).collect();
            prop_assert_eq!(ours, theirs);
        }

        #[test]
        fn no_text_is_a_second_spelling(path in "(tile/)?[0-9a-z./]{0,20}") {
            if let Some(resource) = Resource::parse(&path) {
                prop_assert_eq!(resource.to_string(), path);
            }
        }
    }
}
