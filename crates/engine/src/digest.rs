//! The model digest: a Merkle root over the whole file, so that a light verifier can later check single slices of it.
//!
//! Spec: det-1.md §1 "Digest"; the tree is RFC 9162 §2.1.1. Not here: inclusion proofs.

use sha2::{Digest, Sha256};

/// Bytes under one leaf (1 MiB).
pub const CHUNK_BYTES: usize = 1 << 20;

/// The Merkle tree hash of `bytes` cut into [`CHUNK_BYTES`]; of no bytes, SHA-256 of nothing (RFC 9162).
#[must_use]
pub fn merkle_root(bytes: &[u8]) -> [u8; 32] {
    // `open[i]` is the root of a full subtree of 2^i leaves still waiting for its right sibling.
    let mut open: Vec<Option<[u8; 32]>> = Vec::new();
    for chunk in bytes.chunks(CHUNK_BYTES) {
        let mut carry = Some(leaf_hash(chunk));
        for slot in &mut open {
            let Some(right) = carry else { break };
            carry = match slot.take() {
                Some(left) => Some(node_hash(&left, &right)),
                None => {
                    *slot = Some(right);
                    None
                }
            };
        }
        if carry.is_some() {
            open.push(carry);
        }
    }
    let mut root = None;
    for left in open.into_iter().flatten() {
        root = Some(match root {
            Some(right) => node_hash(&left, &right),
            None => left,
        });
    }
    root.unwrap_or_else(|| Sha256::digest([]).into())
}

fn leaf_hash(chunk: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update([0]).chain_update(chunk).finalize().into()
}

fn node_hash(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9162 §2.1.1 as written.
    fn slow_root(chunks: &[&[u8]]) -> [u8; 32] {
        match chunks {
            [] => Sha256::digest([]).into(),
            [one] => leaf_hash(one),
            _ => {
                let split = chunks.len().next_power_of_two() / 2;
                node_hash(&slow_root(&chunks[..split]), &slow_root(&chunks[split..]))
            }
        }
    }

    #[test]
    fn root_equals_the_recursive_definition() {
        for chunks in 0..=9usize {
            for tail in [0usize, 1, 77] {
                let bytes: Vec<u8> = (0..chunks * CHUNK_BYTES + tail).map(|i| (i / 1000 + i) as u8).collect();
                let parts: Vec<&[u8]> = bytes.chunks(CHUNK_BYTES).collect();
                assert_eq!(merkle_root(&bytes), slow_root(&parts), "{chunks} chunks and {tail} bytes");
            }
        }
    }
}
