//! The three hash functions of the protocol, and nothing that chooses between them.
//!
//! SHA-256 for commitments and the log (RFC 9162), Keccak-256 for everything the EVM recomputes, HMAC-SHA-256 for salts.
//! Every caller hashes a domain tag first (`tags.rs`). Not here: EIP-712 structure hashing (`eip712.rs`).

use alloc::vec::Vec;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use sha3::Keccak256;

use crate::bytes::Hash32;

/// SHA-256 over the parts in order, with nothing between them: callers fix widths or prefix lengths.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> Hash32 {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    Hash32(hasher.finalize().into())
}

/// Keccak-256 (the EVM's) over the parts in order.
#[must_use]
pub fn keccak256(parts: &[&[u8]]) -> Hash32 {
    let mut hasher = Keccak256::new();
    for part in parts {
        hasher.update(part);
    }
    Hash32(hasher.finalize().into())
}

/// The parts in order: what [`sha256`] and [`keccak256`] hash. A digest and its preimage come from one function that is given one of these.
#[must_use]
pub fn whole(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// HMAC-SHA-256 (RFC 2104) with a 32-byte key over the parts in order.
#[must_use]
pub fn hmac_sha256(key: &Hash32, parts: &[&[u8]]) -> Hash32 {
    // A 32-byte key is within HMAC-SHA-256's block: construction has no failing case, and a fixed-size key says so.
    let mut mac = Hmac::<Sha256>::new(&pad_key(key).into());
    for part in parts {
        mac.update(part);
    }
    Hash32(mac.finalize().into_bytes().into())
}

/// RFC 2104 pads a short key with zeros to the block length (64 bytes for SHA-256).
fn pad_key(key: &Hash32) -> [u8; 64] {
    let mut block = [0; 64];
    for (to, from) in block.iter_mut().zip(key.0) {
        *to = from;
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_functions_give_their_published_answers() {
        let hex = |h: Hash32| alloc::format!("{h}");
        assert_eq!(hex(sha256(&[b"a", b"bc"])), "0xba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(hex(keccak256(&[])), "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
        // RFC 4231 test case 1 has a 20-byte key; padded with zeros it is the same HMAC.
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        assert_eq!(
            hex(hmac_sha256(&Hash32(key), &[b"Hi ", b"There"])),
            "0xb0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
    }
}
