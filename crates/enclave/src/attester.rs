//! The port to whatever measures and attests this process: the Nitro security module, or a SIMULATED hypervisor in development.
//!
//! One act, because every kind of TEE can do this one thing: sign a statement about its measured content and 64 bytes of ours. Beside it one
//! question: may this attester serve a node on this chain.
//! Which implementation stands behind it is not said by anything the enclave signs; a verifier tells by the root (ADR 0002).

use std::fmt;

use candor_verify::time::UnixMs;

/// Something that attests this process.
pub trait Attester: Send + Sync {
    /// An attestation document over `user_data` (spec/attestation.md §2), made now: COSE_Sign1 without its tag.
    ///
    /// # Errors
    /// The device refused or is not there; the text is for the operator.
    fn attest(&self, user_data: &[u8; 64]) -> Result<Vec<u8>, AttesterError>;

    /// The device's own time: that of a document which is made for this and shown to nobody. For kinds without a clock, that of the newest
    /// block the host has told of.
    ///
    /// # Errors
    /// As [`Self::attest`].
    fn now(&self) -> Result<UnixMs, AttesterError>;

    /// Whether this attester may serve a node whose money is on this chain. Simulated ones refuse real chains.
    ///
    /// # Errors
    /// The reason, for the operator.
    fn check_chain(&self, chain_id: u64) -> Result<(), AttesterError>;
}

/// Why there is no attestation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AttesterError(pub String);

impl fmt::Display for AttesterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AttesterError {}
