//! The whole tree in memory, level by level, and the proofs that only somebody who keeps it can make.
//!
//! The host's side of RFC 9162 §2.1: 64 bytes per leaf, rebuilt from the stored leaves at each start, proofs for any leaf and any two
//! sizes it has seen. What it returns is verified by `candor_verify::tlog` in tests and by the enclave before use. Spec: log.md §1.
//!
//! Invariant: row k holds the roots of all complete subtrees of 2^k leaves, and nothing else.

use candor_verify::Hash32;
use candor_verify::tlog::{Tree, node_hash};
use candor_verify::transcript::fold_subtrees;

use crate::edge::LogFull;
use crate::{SIZE_MAX, count, position};

/// A tree of leaf hashes that remembers every complete subtree.
#[derive(Clone, Debug, Default)]
pub struct FullTree {
    rows: Vec<Vec<Hash32>>,
}

/// The same tree as it was at an earlier size (or is now). Cheap: it borrows.
#[derive(Clone, Copy, Debug)]
pub struct TreeAt<'a> {
    full: &'a FullTree,
    // Invariant: size ≤ full.size().
    size: u64,
}

impl FullTree {
    /// The empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a leaf by its hash.
    ///
    /// # Errors
    /// [`LogFull`] at [`SIZE_MAX`]; the tree is unchanged.
    pub fn push(&mut self, leaf_hash: Hash32) -> Result<(), LogFull> {
        if SIZE_MAX <= self.size() {
            return Err(LogFull);
        }
        let mut carried = Some(leaf_hash);
        for row in &mut self.rows {
            let Some(node) = carried else { return Ok(()) };
            row.push(node);
            carried = match row.as_slice() {
                [.., left, right] if row.len() % 2 == 0 => Some(node_hash(left, right)),
                _ => None,
            };
        }
        self.rows.extend(carried.map(|node| vec![node]));
        Ok(())
    }

    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.rows.first().map_or(0, |row| count(row.len()))
    }

    /// Forgets every leaf at and after `size`. Does nothing if there is none.
    pub fn truncate(&mut self, size: u64) {
        for (level, row) in (0u32..).zip(&mut self.rows) {
            row.truncate(position(size.checked_shr(level).unwrap_or(0)));
        }
        self.rows.retain(|row| !row.is_empty());
    }

    /// The tree as it was with `size` leaves, or `None` if it never had so many.
    #[must_use]
    pub fn at(&self, size: u64) -> Option<TreeAt<'_>> {
        (size <= self.size()).then_some(TreeAt { full: self, size })
    }

    /// The tree as it is.
    #[must_use]
    pub fn now(&self) -> TreeAt<'_> {
        TreeAt { full: self, size: self.size() }
    }

    /// Roots of complete subtrees of 2^level leaves, in order. Empty above the highest.
    #[must_use]
    pub fn row(&self, level: u32) -> &[Hash32] {
        self.rows.get(position(level.into())).map_or(&[], Vec::as_slice)
    }
}

impl TreeAt<'_> {
    /// Size and root.
    #[must_use]
    pub fn tree(&self) -> Tree {
        Tree { size: self.size, root: self.root_from(0) }
    }

    /// Siblings from the leaf to the root, lowest first (RFC 9162 §2.1.3.1), or `None` if this tree has no such leaf.
    #[must_use]
    pub fn inclusion(&self, index: u64) -> Option<Vec<Hash32>> {
        (index < self.size).then(|| self.siblings(0, index))
    }

    /// Proof that the tree of `old_size` is this tree's beginning (RFC 9162 §2.1.4.1), or `None` if this tree is smaller.
    ///
    /// Empty from the empty tree and from this very size: nothing needs to be shown.
    #[must_use]
    pub fn consistency_from(&self, old_size: u64) -> Option<Vec<Hash32>> {
        if self.size < old_size {
            return None;
        }
        if old_size == 0 || old_size == self.size {
            return Some(Vec::new());
        }
        // The old tree ends with a complete subtree; the proof is that subtree (unless it is the whole old tree) and its way up.
        let level = old_size.trailing_zeros();
        let last = old_size.checked_shr(level).unwrap_or(0).saturating_sub(1);
        let mut proof = Vec::new();
        if !old_size.is_power_of_two() {
            proof.push(self.subtree(level, last));
        }
        proof.extend(self.siblings(level, last));
        Some(proof)
    }

    /// The way from a node up to the root. `level` and `index` name a node of this tree.
    fn siblings(&self, mut level: u32, mut index: u64) -> Vec<Hash32> {
        let last_leaf = self.size.saturating_sub(1);
        let mut path = Vec::new();
        // At most 40 rounds: `last` halves each time.
        while let Some(last) = last_leaf.checked_shr(level).filter(|last| 0 < *last) {
            let sibling = index ^ 1;
            if sibling <= last {
                path.push(self.subtree(level, sibling));
            }
            index >>= 1;
            level = level.saturating_add(1);
        }
        path
    }

    /// Root of the leaves under a node, of which only the last of a row may be incomplete.
    fn subtree(&self, level: u32, index: u64) -> Hash32 {
        let complete = self.size.checked_shr(level).unwrap_or(0);
        if index < complete {
            return self.full.row(level).get(position(index)).copied().unwrap_or_default();
        }
        self.root_from(index.checked_shl(level).unwrap_or(u64::MAX))
    }

    /// Root of the leaves from `start` to the end. `start` is a multiple of a power of two above the number of those leaves, or zero.
    fn root_from(&self, start: u64) -> Hash32 {
        let mut roots = Vec::new();
        let mut at = start;
        while let Some(level) = self.size.checked_sub(at).and_then(u64::checked_ilog2) {
            let index = at.checked_shr(level).unwrap_or(0);
            roots.push(self.full.row(level).get(position(index)).copied().unwrap_or_default());
            at = at.saturating_add(1u64.checked_shl(level).unwrap_or(u64::MAX));
        }
        fold_subtrees(&roots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candor_verify::tlog::{leaf_hash, verify_consistency, verify_inclusion};
    use candor_verify::transcript::root_of;

    fn leaf(i: u64) -> Hash32 {
        leaf_hash(&i.to_be_bytes())
    }

    fn full(size: u64) -> FullTree {
        let mut tree = FullTree::new();
        for i in 0..size {
            tree.push(leaf(i)).unwrap();
        }
        tree
    }

    #[test]
    fn every_proof_of_every_small_tree_verifies() {
        let whole = full(70);
        let leaves: Vec<_> = (0..70).map(leaf).collect();
        for size in 0..=70u64 {
            let at = whole.at(size).unwrap();
            assert_eq!(at.tree(), Tree { size, root: root_of(&leaves[..size as usize]) });
            for index in 0..size {
                let included = verify_inclusion(leaf(index), index, &at.inclusion(index).unwrap(), &at.tree()).unwrap();
                assert_eq!(included.index(), index);
            }
            assert_eq!(at.inclusion(size), None);
            for old in 0..=size {
                let proof = at.consistency_from(old).unwrap();
                let extends = verify_consistency(&whole.at(old).unwrap().tree(), &at.tree(), &proof).unwrap();
                assert_eq!(extends.new_tree(), at.tree());
            }
            assert_eq!(at.consistency_from(size + 1), None);
        }
        assert!(whole.at(71).is_none());
    }

    #[test]
    fn a_truncated_tree_is_the_tree_that_never_grew() {
        for size in 0..40 {
            let mut tree = full(40);
            tree.truncate(size);
            assert_eq!(tree.rows, full(size).rows);
            tree.truncate(size + 1);
            assert_eq!(tree.rows, full(size).rows);
        }
    }
}
