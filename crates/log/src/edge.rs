//! The right edge of the tree: all that is needed to append and to know the root.
//!
//! One hash per full subtree, at most [`u64::BITS`] of them, so the enclave keeps a log of any length in two kilobytes. It cannot make
//! proofs about the past: the host does ([`crate::tree`]), and the enclave verifies them. Spec: log.md §1.
//!
//! Invariant: one subtree root per set bit of the size, largest first.

use candor_verify::Hash32;
use candor_verify::tlog::{Tree, node_hash};
use candor_verify::transcript::fold_subtrees;

use crate::SIZE_MAX;

/// An append-only tree without its inside.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Edge {
    size: u64,
    // Invariant: subtrees.len() == size.count_ones(), largest first.
    subtrees: Vec<Hash32>,
}

/// The log has [`SIZE_MAX`] leaves and takes no more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a fact without parts")]
pub struct LogFull;

/// Why bytes are not an [`Edge`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum EdgeError {
    /// Another length than the size in the first eight bytes demands (bytes expected, bytes got).
    Length {
        /// Bytes the size demands; 8 if there is no size.
        expected: usize,
        /// Bytes given.
        got: usize,
    },
    /// The size is above [`SIZE_MAX`].
    Size {
        /// The limit.
        max: u64,
        /// The size.
        got: u64,
    },
}

impl Edge {
    /// The edge of the empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a leaf by its hash.
    ///
    /// # Errors
    /// [`LogFull`] at [`SIZE_MAX`]; the edge is unchanged.
    pub fn push(&mut self, leaf_hash: Hash32) -> Result<(), LogFull> {
        if SIZE_MAX <= self.size {
            return Err(LogFull);
        }
        // Each trailing one bit is a full subtree of the size that the new node has just reached.
        let mut node = leaf_hash;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.subtrees.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.subtrees.push(node);
        self.size = self.size.saturating_add(1);
        Ok(())
    }

    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Size and root.
    #[must_use]
    pub fn tree(&self) -> Tree {
        Tree { size: self.size, root: fold_subtrees(&self.subtrees) }
    }

    /// The one encoding: u64 size, big-endian, then the subtree roots, largest first.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.size.to_be_bytes().to_vec();
        for subtree in &self.subtrees {
            bytes.extend_from_slice(&subtree.0);
        }
        bytes
    }

    /// Reads the one encoding. The roots are taken as they are: whoever stores an edge must be trusted with it.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, EdgeError> {
        let Some((size, roots)) = bytes.split_first_chunk::<8>() else {
            return Err(EdgeError::Length { expected: 8, got: bytes.len() });
        };
        let size = u64::from_be_bytes(*size);
        if SIZE_MAX < size {
            return Err(EdgeError::Size { max: SIZE_MAX, got: size });
        }
        let (roots, rest) = roots.as_chunks::<32>();
        if crate::count(roots.len()) != u64::from(size.count_ones()) || !rest.is_empty() {
            let expected = crate::position(u64::from(size.count_ones()).saturating_mul(32).saturating_add(8));
            return Err(EdgeError::Length { expected, got: bytes.len() });
        }
        Ok(Self { size, subtrees: roots.iter().copied().map(Hash32).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candor_verify::tlog::{empty_root, leaf_hash};
    use candor_verify::transcript::root_of;
    use proptest::prelude::*;

    fn edge_of(leaves: &[Hash32]) -> Edge {
        let mut edge = Edge::new();
        for leaf in leaves {
            edge.push(*leaf).unwrap();
        }
        edge
    }

    #[test]
    fn the_edge_has_the_root_of_the_slow_reference_for_every_small_size() {
        let leaves: Vec<_> = (0..520u64).map(|i| leaf_hash(&i.to_be_bytes())).collect();
        let mut edge = Edge::new();
        assert_eq!(edge.tree(), Tree { size: 0, root: empty_root() });
        for (i, leaf) in leaves.iter().enumerate() {
            edge.push(*leaf).unwrap();
            assert_eq!(edge.tree(), Tree { size: i as u64 + 1, root: root_of(&leaves[..=i]) });
        }
    }

    #[test]
    fn a_full_log_takes_no_leaf_and_is_unchanged() {
        let mut bytes = SIZE_MAX.to_be_bytes().to_vec();
        bytes.extend_from_slice(&[7; 32]);
        let mut edge = Edge::parse(&bytes).unwrap();
        let before = edge.clone();
        assert_eq!(edge.push(Hash32::ZERO), Err(LogFull));
        assert_eq!(edge, before);
    }

    #[test]
    fn bytes_that_are_not_an_edge_are_rejected() {
        assert_eq!(Edge::parse(&[0; 7]), Err(EdgeError::Length { expected: 8, got: 7 }));
        assert_eq!(Edge::parse(&[0; 9]), Err(EdgeError::Length { expected: 8, got: 9 }));
        let mut bytes = 3u64.to_be_bytes().to_vec();
        bytes.extend_from_slice(&[1; 32]);
        assert_eq!(Edge::parse(&bytes), Err(EdgeError::Length { expected: 72, got: 40 }));
        assert_eq!(Edge::parse(&u64::MAX.to_be_bytes()), Err(EdgeError::Size { max: SIZE_MAX, got: u64::MAX }));
    }

    proptest! {
        #[test]
        fn an_edge_reads_back_and_goes_on_as_if_it_had_never_stopped(first in 0u64..3000, more in 0u64..300) {
            let leaves: Vec<_> = (0..first + more).map(|i| leaf_hash(&i.to_be_bytes())).collect();
            let (head, tail) = leaves.split_at(first as usize);
            let mut edge = Edge::parse(&edge_of(head).encode()).unwrap();
            prop_assert_eq!(edge.tree().root, root_of(head));
            for leaf in tail {
                edge.push(*leaf).unwrap();
            }
            prop_assert_eq!(&edge, &edge_of(&leaves));
            prop_assert_eq!(edge.tree().root, root_of(&leaves));
        }

        #[test]
        fn any_bytes_are_rejected_or_are_the_one_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(edge) = Edge::parse(&bytes) {
                prop_assert_eq!(edge.encode(), bytes);
            }
        }
    }
}
