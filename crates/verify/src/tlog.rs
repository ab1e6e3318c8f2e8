//! The log's mathematics: is this leaf in that tree, and did that tree only grow?
//!
//! RFC 9162 §2.1 over SHA-256: leaf 0x00, node 0x01. In: a tree that a checkpoint commits to and a proof nobody believes. Out:
//! [`Included`] and [`Extends`], the only values with which later steps may call a receipt logged or a log append-only. Each names the
//! trees it is about, so it cannot be spent on others. Spec: log.md §1.
//! Not here: who signed the tree (`checkpoint`), and building trees (crate `candor-log`).
//!
//! Invariant: the work is bounded by the proof, which is bounded by [`PATH_MAX`].

use alloc::vec::Vec;
use core::fmt;

use crate::bytes::{Hash32, Signature65};
use crate::hash::{sha256, whole};
use crate::tags;

/// The most hashes an inclusion path can have (one per bit of an index); a consistency proof has at most one more.
pub const PATH_MAX: usize = 64;

/// A tree: its number of leaves and its root. Plain data; whether anyone signed it is another question.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete by RFC 9162")]
pub struct Tree {
    /// Number of leaves.
    pub size: u64,
    /// Root hash.
    pub root: Hash32,
}

/// The fact that a leaf is in a tree. Only [`verify_inclusion`] makes one:
///
/// ```compile_fail,E0451
/// use candor_verify::tlog::{Included, Tree};
/// fn forge(real: Included, tree: Tree) -> Included {
///     Included { tree, ..real }
/// }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub struct Included {
    leaf_hash: Hash32,
    index: u64,
    tree: Tree,
}

impl Included {
    /// Hash of the leaf that was found.
    #[must_use]
    pub fn leaf_hash(&self) -> Hash32 {
        self.leaf_hash
    }

    /// Its position, counted from zero.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The tree it was found in.
    #[must_use]
    pub fn tree(&self) -> Tree {
        self.tree
    }
}

/// The fact that a newer tree has an older one as its beginning. Only [`verify_consistency`] makes one:
///
/// ```compile_fail,E0451
/// use candor_verify::tlog::{Extends, Tree};
/// fn forge(real: Extends, new: Tree) -> Extends {
///     Extends { new, ..real }
/// }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub struct Extends {
    old: Tree,
    new: Tree,
}

impl Extends {
    /// The older tree.
    #[must_use]
    pub fn old(&self) -> Tree {
        self.old
    }

    /// The newer tree.
    #[must_use]
    pub fn new_tree(&self) -> Tree {
        self.new
    }
}

/// Why a proof was refused. Fields are expected before got.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ProofError {
    /// The index is not below the size, or the older tree is larger than the newer.
    OutsideTree {
        /// The bound.
        size: u64,
        /// The index or older size.
        got: u64,
    },
    /// The proof does not have the one length that index and sizes allow.
    Length {
        /// Hashes expected.
        expected: usize,
        /// Hashes got.
        got: usize,
    },
    /// The proof leads to another root: log and proof disagree, and this is evidence.
    Root {
        /// Root of the tree.
        expected: Hash32,
        /// Root that the proof leads to.
        got: Hash32,
    },
}

impl fmt::Display for ProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutsideTree { size, got } => write!(f, "{got} lies outside a tree of {size}"),
            Self::Length { expected, got } => write!(f, "a proof of {got} hashes where {expected} are needed"),
            Self::Root { expected, got } => write!(f, "the proof leads to root {got}, not to {expected}"),
        }
    }
}

impl core::error::Error for ProofError {}

/// Hash of a leaf from its data.
#[must_use]
pub fn leaf_hash(data: &[u8]) -> Hash32 {
    leaf_of(data, sha256)
}

/// What [`leaf_hash`] hashes.
#[must_use]
pub fn leaf_preimage(data: &[u8]) -> Vec<u8> {
    leaf_of(data, whole)
}

fn leaf_of<T>(data: &[u8], with: impl FnOnce(&[&[u8]]) -> T) -> T {
    with(&[&[0], data])
}

/// Hash of an inner node.
#[must_use]
pub fn node_hash(left: &Hash32, right: &Hash32) -> Hash32 {
    node_of(left, right, sha256)
}

/// What [`node_hash`] hashes.
#[must_use]
pub fn node_preimage(left: &Hash32, right: &Hash32) -> Vec<u8> {
    node_of(left, right, whole)
}

fn node_of<T>(left: &Hash32, right: &Hash32, with: impl FnOnce(&[&[u8]]) -> T) -> T {
    with(&[&[1], &left.0, &right.0])
}

/// Root of the tree without leaves.
#[must_use]
pub fn empty_root() -> Hash32 {
    sha256(&[])
}

/// Leaf data of a receipt: 32 bytes that show order and count, not payer, price or prompt. Spec: log.md §2.
#[must_use]
pub fn leaf_data(salt: &Hash32, receipt_digest: &Hash32, signature: &Signature65) -> Hash32 {
    leaf_data_of(salt, receipt_digest, signature, sha256)
}

/// What [`leaf_data`] hashes.
#[must_use]
pub fn leaf_data_preimage(salt: &Hash32, receipt_digest: &Hash32, signature: &Signature65) -> Vec<u8> {
    leaf_data_of(salt, receipt_digest, signature, whole)
}

fn leaf_data_of<T>(salt: &Hash32, receipt_digest: &Hash32, signature: &Signature65, with: impl FnOnce(&[&[u8]]) -> T) -> T {
    with(&[tags::LEAF, &salt.0, &receipt_digest.0, &signature.0])
}

/// Walks from a leaf to the root of `tree` (RFC 9162 §2.1.3.2). Siblings are lowest first.
///
/// Proves membership only: a log may hold an entry that is stale or about another enclave. Those are other checks.
///
/// # Errors
/// `OutsideTree` and `Length` mean a malformed proof; `Root` means the log and the proof disagree.
pub fn verify_inclusion(leaf_hash: Hash32, index: u64, siblings: &[Hash32], tree: &Tree) -> Result<Included, ProofError> {
    let Some(last) = tree.size.checked_sub(1).filter(|last| index <= *last) else {
        return Err(ProofError::OutsideTree { size: tree.size, got: index });
    };
    // Checked before the walk: a short path must not end the loop early and look like success, and a long one must cost nothing.
    let (inner, border) = path_shape(index, last);
    let expected = inner.saturating_add(border);
    if siblings.len() != expected {
        return Err(ProofError::Length { expected, got: siblings.len() });
    }
    let got = walk_path(leaf_hash, index, inner, siblings, node_hash);
    if got != tree.root {
        return Err(ProofError::Root { expected: tree.root, got });
    }
    Ok(Included { leaf_hash, index, tree: *tree })
}

/// Below the fork the index says on which side the sibling is; above it, always left.
pub(crate) fn walk_path(
    mut hash: Hash32,
    index: u64,
    inner: usize,
    siblings: &[Hash32],
    mut node_hash: impl FnMut(&Hash32, &Hash32) -> Hash32,
) -> Hash32 {
    let mut bits = index;
    for (level, sibling) in siblings.iter().enumerate() {
        let sibling_is_left = inner <= level || bits & 1 == 1;
        hash = if sibling_is_left { node_hash(sibling, &hash) } else { node_hash(&hash, sibling) };
        bits >>= 1;
    }
    hash
}

/// How many siblings lie below and above the level where the ways to `index` and to `last` part.
pub(crate) fn path_shape(index: u64, last: u64) -> (usize, usize) {
    let inner = u64::BITS.saturating_sub((index ^ last).leading_zeros());
    let border = index.checked_shr(inner).unwrap_or(0).count_ones();
    (usize::try_from(inner).unwrap_or(usize::MAX), usize::try_from(border).unwrap_or(usize::MAX))
}

/// Shows that `new` begins with all of `old` (RFC 9162 §2.1.4.2).
///
/// An empty `old` is the beginning of every tree: its root must be that of the empty tree and the proof empty.
///
/// # Errors
/// `OutsideTree` and `Length` mean a malformed proof; `Root` means a fork, or a wrong proof.
pub fn verify_consistency(old: &Tree, new: &Tree, proof: &[Hash32]) -> Result<Extends, ProofError> {
    if new.size < old.size {
        return Err(ProofError::OutsideTree { size: new.size, got: old.size });
    }
    let fact = Extends { old: *old, new: *new };
    if old.size == 0 || old.size == new.size {
        let expected = if old.size == 0 { empty_root() } else { new.root };
        if !proof.is_empty() {
            return Err(ProofError::Length { expected: 0, got: proof.len() });
        }
        if old.root != expected {
            return Err(ProofError::Root { expected, got: old.root });
        }
        return Ok(fact);
    }
    let expected = consistency_length(old.size, new.size);
    // A power-of-two old tree is itself a node of the new one: its root is the seed and is not repeated in the proof.
    let (seed, rest) = if old.size.is_power_of_two() {
        (old.root, proof)
    } else {
        match proof.split_first() {
            Some((first, rest)) => (*first, rest),
            None => return Err(ProofError::Length { expected, got: 0 }),
        }
    };
    if proof.len() != expected {
        return Err(ProofError::Length { expected, got: proof.len() });
    }
    let (old_root, new_root) = walk_consistency(old.size, new.size, seed, rest, node_hash);
    if old_root != old.root {
        return Err(ProofError::Root { expected: old.root, got: old_root });
    }
    if new_root != new.root {
        return Err(ProofError::Root { expected: new.root, got: new_root });
    }
    Ok(fact)
}

/// RFC 9162 §2.1.4.2 steps 4 to 6: both roots from one walk.
pub(crate) fn walk_consistency(
    old_size: u64,
    new_size: u64,
    seed: Hash32,
    rest: &[Hash32],
    mut node_hash: impl FnMut(&Hash32, &Hash32) -> Hash32,
) -> (Hash32, Hash32) {
    let mut from = old_size.saturating_sub(1);
    let mut to = new_size.saturating_sub(1);
    while from & 1 == 1 {
        from >>= 1;
        to >>= 1;
    }
    let (mut old_root, mut new_root) = (seed, seed);
    for hash in rest {
        if from & 1 == 1 || from == to {
            old_root = node_hash(hash, &old_root);
            new_root = node_hash(hash, &new_root);
            while from & 1 == 0 && from != 0 {
                from >>= 1;
                to >>= 1;
            }
        } else {
            new_root = node_hash(&new_root, hash);
        }
        from >>= 1;
        to >>= 1;
    }
    (old_root, new_root)
}

/// The one length of a consistency proof between these sizes (0 < old < new).
pub(crate) fn consistency_length(old_size: u64, new_size: u64) -> usize {
    // The proof is the inclusion path of the last leaf of the old tree in the new one, cut below the largest full subtree that
    // ends there, plus that subtree's own hash unless the old tree is exactly it.
    let index = old_size.saturating_sub(1);
    let (inner, border) = path_shape(index, new_size.saturating_sub(1));
    let full = usize::try_from(old_size.trailing_zeros()).unwrap_or(usize::MAX);
    let path = inner.saturating_add(border).saturating_sub(full);
    if old_size.is_power_of_two() { path } else { path.saturating_add(1) }
}

/// The inclusion path of a leaf in a newer tree, from its path in an older one and the consistency proof between the two: whoever holds a bundle
/// asks nobody for it. `None` unless all of them hold.
///
/// A sibling on the new path lies before the old tree's end, and is on the old path; or behind it, and is in the consistency proof; or on both
/// sides, and then its parts are in the proof.
#[must_use]
pub fn carried_inclusion(
    leaf_hash: Hash32,
    index: u64,
    siblings: &[Hash32],
    (old, new): (&Tree, &Tree),
    consistency: &[Hash32],
) -> Option<Vec<Hash32>> {
    let hold = verify_inclusion(leaf_hash, index, siblings, old).is_ok() && verify_consistency(old, new, consistency).is_ok();
    if !hold {
        return None;
    }
    if old.size == new.size {
        return Some(siblings.to_vec());
    }
    let mut known: Vec<(Range, Hash32)> = Vec::new();
    known.extend(path_ranges(index, old.size).into_iter().zip(siblings.iter().copied()));
    known.extend(consistency_ranges(old.size, new.size).into_iter().zip(consistency.iter().copied()));
    known.push((Range { start: 0, size: old.size }, old.root));
    let path: Option<Vec<Hash32>> = path_ranges(index, new.size).into_iter().map(|range| hash_of(range, old.size, &known)).collect();
    path.filter(|path| verify_inclusion(leaf_hash, index, path, new).is_ok())
}

/// Neighbouring leaves that a node of a tree stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Range {
    start: u64,
    size: u64,
}

impl Range {
    /// Its two children. For more than one leaf.
    fn halves(self) -> (Self, Self) {
        // The largest power of two below it. Not by the next one above, which a size of a stranger's choice may not have.
        let left = 1_u64.checked_shl(self.size.saturating_sub(1).checked_ilog2().unwrap_or(0)).unwrap_or(1);
        let right = Self { start: self.start.saturating_add(left), size: self.size.saturating_sub(left) };
        (Self { size: left, ..self }, right)
    }
}

/// What the siblings of a leaf stand for, from the leaf up. RFC 9162 section 2.1.3.1.
fn path_ranges(index: u64, size: u64) -> Vec<Range> {
    let (mut node, mut out) = (Range { start: 0, size }, Vec::new());
    while 1 < node.size {
        let (left, right) = node.halves();
        if index < right.start {
            out.push(right);
            node = left;
        } else {
            out.push(left);
            node = right;
        }
    }
    out.reverse();
    out
}

/// What the hashes of a consistency proof stand for, in its order. RFC 9162 section 2.1.4.1.
fn consistency_ranges(old_size: u64, new_size: u64) -> Vec<Range> {
    let (mut node, mut out) = (Range { start: 0, size: new_size }, Vec::new());
    // Whether the old tree's own root is the first of them: then it is left out.
    let mut is_whole = true;
    while old_size != node.start.saturating_add(node.size) && 1 < node.size {
        let (left, right) = node.halves();
        if old_size <= right.start {
            out.push(right);
            node = left;
        } else {
            out.push(left);
            node = right;
            is_whole = false;
        }
    }
    if !is_whole {
        out.push(node);
    }
    out.reverse();
    out
}

/// The hash of a node: known, or made of its parts if it lies on both sides of the old tree's end. As deep as a tree at most.
fn hash_of(range: Range, old_size: u64, known: &[(Range, Hash32)]) -> Option<Hash32> {
    if let Some((_, hash)) = known.iter().find(|(known, _)| *known == range) {
        return Some(*hash);
    }
    let is_across = range.start < old_size && old_size < range.start.saturating_add(range.size);
    if !is_across {
        return None;
    }
    let (left, right) = range.halves();
    Some(node_hash(&hash_of(left, old_size, known)?, &hash_of(right, old_size, known)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(i: u64) -> Hash32 {
        leaf_hash(&i.to_be_bytes())
    }

    /// Slow reference, straight from RFC 9162 §2.1.1.
    fn mth(leaves: &[Hash32]) -> Hash32 {
        match leaves {
            [] => empty_root(),
            [one] => *one,
            many => {
                let k = many.len().next_power_of_two() / 2;
                node_hash(&mth(&many[..k]), &mth(&many[k..]))
            }
        }
    }

    /// RFC 9162 §2.1.3.1.
    fn path(m: usize, leaves: &[Hash32]) -> Vec<Hash32> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let k = leaves.len().next_power_of_two() / 2;
        let (mut p, sibling) =
            if m < k { (path(m, &leaves[..k]), mth(&leaves[k..])) } else { (path(m - k, &leaves[k..]), mth(&leaves[..k])) };
        p.push(sibling);
        p
    }

    /// RFC 9162 §2.1.4.1.
    fn subproof(m: usize, leaves: &[Hash32], whole: bool) -> Vec<Hash32> {
        let n = leaves.len();
        if m == n {
            return if whole { Vec::new() } else { alloc::vec![mth(leaves)] };
        }
        let k = n.next_power_of_two() / 2;
        let (mut p, sibling) = if m <= k {
            (subproof(m, &leaves[..k], whole), mth(&leaves[k..]))
        } else {
            (subproof(m - k, &leaves[k..], false), mth(&leaves[..k]))
        };
        p.push(sibling);
        p
    }

    fn tree(leaves: &[Hash32]) -> Tree {
        Tree { size: leaves.len() as u64, root: mth(leaves) }
    }

    #[test]
    fn a_refused_proof_says_in_words_what_was_expected_and_what_came() {
        let (expected, got) = (Hash32([1; 32]), Hash32([2; 32]));
        let words = ProofError::Root { expected, got }.to_string();
        assert!(words.contains(&expected.to_string()) && words.contains(&got.to_string()), "{words}");
        assert_eq!(ProofError::OutsideTree { size: 3, got: 4 }.to_string(), "4 lies outside a tree of 3");
        assert_eq!(ProofError::Length { expected: 1, got: 2 }.to_string(), "a proof of 2 hashes where 1 are needed");
    }

    #[test]
    fn every_leaf_of_every_small_tree_is_included_and_any_change_is_rejected() {
        for n in 1..=40u64 {
            let leaves: Vec<_> = (0..n).map(leaf).collect();
            let t = tree(&leaves);
            for i in 0..n {
                let p = path(i as usize, &leaves);
                let fact = verify_inclusion(leaf(i), i, &p, &t).unwrap();
                assert_eq!((fact.index(), fact.tree(), fact.leaf_hash()), (i, t, leaf(i)));
                for k in 0..p.len() {
                    let mut q = p.clone();
                    q[k].0[0] ^= 1;
                    assert!(matches!(verify_inclusion(leaf(i), i, &q, &t), Err(ProofError::Root { .. })));
                }
                let mut long = p.clone();
                long.push(Hash32::ZERO);
                assert_eq!(verify_inclusion(leaf(i), i, &long, &t), Err(ProofError::Length { expected: p.len(), got: p.len() + 1 }));
                for j in (0..n).filter(|j| *j != i) {
                    assert!(verify_inclusion(leaf(i), j, &p, &t).is_err(), "{i} at {j} of {n}");
                }
            }
            assert_eq!(verify_inclusion(leaf(0), n, &[], &t), Err(ProofError::OutsideTree { size: n, got: n }));
        }
        let huge = Tree { size: u64::MAX, root: Hash32::ZERO };
        for i in [0, 1, u64::MAX - 1, u64::MAX] {
            assert!(verify_inclusion(leaf(0), i, &[], &huge).is_err());
        }
    }

    #[test]
    fn every_pair_of_small_trees_is_consistent_and_any_change_is_rejected() {
        for n in 0..=40usize {
            let leaves: Vec<_> = (0..n as u64).map(leaf).collect();
            let new = tree(&leaves);
            for m in 0..=n {
                let old = tree(&leaves[..m]);
                let p = if m == 0 { Vec::new() } else { subproof(m, &leaves, true) };
                let fact = verify_consistency(&old, &new, &p).unwrap_or_else(|e| panic!("{m} -> {n}: {e:?}"));
                assert_eq!((fact.old(), fact.new_tree()), (old, new));
                for k in 0..p.len() {
                    let mut q = p.clone();
                    q[k].0[31] ^= 1;
                    assert!(matches!(verify_consistency(&old, &new, &q), Err(ProofError::Root { .. })), "{m} -> {n}, hash {k}");
                    assert!(matches!(verify_consistency(&old, &new, &p[..k]), Err(ProofError::Length { .. })));
                }
                let mut long = p.clone();
                long.push(Hash32::ZERO);
                assert!(matches!(verify_consistency(&old, &new, &long), Err(ProofError::Length { .. })));
                let forked = Tree { root: Hash32([9; 32]), ..old };
                assert!(matches!(verify_consistency(&forked, &new, &p), Err(ProofError::Root { .. })), "{m} -> {n}");
                if m < n {
                    assert!(matches!(verify_consistency(&new, &old, &p), Err(ProofError::OutsideTree { .. })));
                }
            }
        }
    }

    #[test]
    fn a_path_is_carried_to_every_newer_tree() {
        let leaves: Vec<Hash32> = (0..40).map(leaf).collect();
        let tree = |n: usize| Tree { size: n as u64, root: mth(&leaves[..n]) };
        for n in 1..=leaves.len() {
            for m in n..=leaves.len() {
                let consistency = if m == n { Vec::new() } else { subproof(n, &leaves[..m], true) };
                for i in 0..n {
                    let old = path(i, &leaves[..n]);
                    let carried = carried_inclusion(leaves[i], i as u64, &old, (&tree(n), &tree(m)), &consistency);
                    assert_eq!(carried, Some(path(i, &leaves[..m])), "{i} of {n} in {m}");
                }
            }
        }
    }

    #[test]
    fn no_path_is_carried_by_proofs_that_do_not_hold() {
        let leaves: Vec<Hash32> = (0..11).map(leaf).collect();
        let tree = |n: usize| Tree { size: n as u64, root: mth(&leaves[..n]) };
        let (old, proof) = (path(2, &leaves[..6]), subproof(6, &leaves, true));
        let carry = |leaf: Hash32, path: &[Hash32], new: Tree, proof: &[Hash32]| carried_inclusion(leaf, 2, path, (&tree(6), &new), proof);
        assert!(carry(leaves[2], &old, tree(11), &proof).is_some());
        assert!(carry(leaves[3], &old, tree(11), &proof).is_none());
        assert!(carry(leaves[2], &old[1..], tree(11), &proof).is_none());
        assert!(carry(leaves[2], &old, Tree { root: leaves[0], ..tree(11) }, &proof).is_none());
        assert!(carry(leaves[2], &old, tree(11), &proof[1..]).is_none());
        assert!(carry(leaves[2], &old, tree(5), &proof).is_none());
        // Sizes that only a stranger makes up: halved like every other.
        for size in [u64::MAX, (1 << 63) + 1, 1 << 63] {
            assert_eq!(path_ranges(0, size).len(), if size == 1 << 63 { 63 } else { 64 });
            assert!(consistency_ranges(6, size).len() <= 65);
        }
    }
}
