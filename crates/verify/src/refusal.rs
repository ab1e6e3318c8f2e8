//! A signed refusal: an enclave's word that it refused a request that carried a payment. Evidence against a node that takes payments and
//! answers with errors; it is not logged, and it settles nothing. Spec: payment.md §7.
//!
//! Not here: when an enclave signs one, and the header that it travels in.

use alloc::vec::Vec;

use crate::VERSION;
use crate::abi::{AbiError, WordReader, Words};
use crate::bytes::{Address, Hash32, Signature65};
use crate::eip712::{self, Recover};
use crate::hash::keccak256;
use crate::time::UnixMs;

/// What K_sig signs when it refuses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Refusal {
    /// The request, by the commitment that a receipt would carry.
    pub request_commitment: Hash32,
    /// Manifest of the boot.
    pub manifest_hash: Hash32,
    /// HTTP status.
    pub status: u16,
    /// [`code_hash`] of the error code.
    pub code_hash: Hash32,
    /// What the payer signed, by its EIP-712 digest (P of recovery.md §1).
    pub signed_digest: Hash32,
    /// Unix milliseconds by the enclave's clock.
    pub at: UnixMs,
}

/// keccak256 of an error code's ASCII.
#[must_use]
pub fn code_hash(code: &str) -> Hash32 {
    keccak256(&[code.as_bytes()])
}

impl Refusal {
    /// Words in the encoding: the version, and six of the struct.
    pub const WORDS: usize = 7;

    const TYPE: &str =
        "Refusal(bytes32 requestCommitment,bytes32 manifestHash,uint16 status,bytes32 codeHash,bytes32 signedDigest,uint64 at)";

    fn words(&self, words: Words) -> Words {
        words
            .hash(&self.request_commitment)
            .hash(&self.manifest_hash)
            .u64(self.status.into())
            .hash(&self.code_hash)
            .hash(&self.signed_digest)
            .u64(self.at.0)
    }

    /// The EIP-712 digest that K_sig signs.
    #[must_use]
    pub fn digest(&self) -> Hash32 {
        eip712::digest(&eip712::candor_domain(), &eip712::hash_struct(Self::TYPE, &self.words(Words::new())))
    }

    /// The one encoding: 224 bytes. The signature follows it where it travels.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.words(Words::new().u64(VERSION.into())).into_vec()
    }

    /// Reads the one encoding. Believes nothing.
    ///
    /// # Errors
    /// `Version`, `Length` or `Range`.
    pub fn parse(bytes: &[u8]) -> Result<Self, AbiError> {
        let mut r = WordReader::versioned(bytes, Self::WORDS, VERSION)?;
        Ok(Self {
            request_commitment: r.hash()?,
            manifest_hash: r.hash()?,
            status: r.u16()?,
            code_hash: r.hash()?,
            signed_digest: r.hash()?,
            at: UnixMs(r.u64()?),
        })
    }
}

/// A refusal as it travels: its encoding and K_sig's signature. `None` unless this key signed it.
#[must_use]
pub fn verify_refusal(bytes: &[u8], k_sig: &Address, recover: &dyn Recover) -> Option<Refusal> {
    let (words, signature) = bytes.split_last_chunk::<65>()?;
    let refusal = Refusal::parse(words).ok()?;
    (eip712::signer(recover, &refusal.digest(), &Signature65(*signature)) == Some(*k_sig)).then_some(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_reads_back_as_written_and_every_byte_counts() {
        let refusal = Refusal {
            request_commitment: Hash32([1; 32]),
            manifest_hash: Hash32([2; 32]),
            status: 503,
            code_hash: code_hash("chain_unavailable"),
            signed_digest: Hash32([4; 32]),
            at: UnixMs(5),
        };
        let bytes = refusal.encode();
        assert_eq!(Refusal::parse(&bytes), Ok(refusal));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            if let Ok(other) = Refusal::parse(&flipped) {
                assert_ne!(other.digest(), refusal.digest(), "byte {at}");
            }
        }
    }
}
