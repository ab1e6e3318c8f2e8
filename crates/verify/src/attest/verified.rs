//! Steps 7 to 15: from a [`Document`] to a [`VerifiedDocument`], the fact that an enclave of these measurements signed these bytes under a
//! root the caller named.
//!
//! In: a well-formed document, roots, a time, and what freshness means to the caller. Out: the only value later steps (workload, manifest,
//! policy) may take claims from.
//!
//! Not here: whether the measurements are good, what `user_data` binds, and (in the historical mode) whether the document existed at the
//! time given. Genuine, fresh and allowed are three checks.
//!
//! Invariant: nothing but [`verify_document`] makes a [`VerifiedDocument`].

use alloc::string::String;
use alloc::vec::Vec;

use p384::ecdsa::{VerifyingKey, signature::hazmat::PrehashVerifier as _};
use sha2::{Digest as _, Sha256, Sha384};

use super::TrustRoot;
use super::chain::verify_chain;
use super::error::AttestError;
use super::nitro::{Document, PCR_BYTES, PCRS_MAX, PROTECTED_ES384};

/// What "fresh" means to the caller.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Freshness {
    /// The document is part of a record, and the caller knows from elsewhere (a log, an anchor) that it existed at the time given. Its age
    /// is not looked at.
    Historical,
    /// The document speaks for an enclave that runs now; the time given is now.
    Live {
        /// How old it may be (milliseconds).
        max_age_ms: u64,
        /// How far its clock may be ahead of ours (milliseconds).
        skew_ms: u64,
    },
}

/// Verifies `document` under one of `roots` at `at_ms` (Unix milliseconds), steps 7 to 15.
///
/// # Errors
/// An [`AttestError`] of check `attest.root`, `attest.cert.der`, `attest.cert.chain`, `attest.cert.constraints`, `attest.cert.validity`,
/// `attest.cert.signature`, `attest.signature`, `attest.freshness` or `attest.debug`. An empty list of roots refuses everything.
///
/// # Security
/// Proves that the holder of the chain's keys signed the document. Does not prove: that the measurements are good; that the root's owner,
/// or somebody who broke its hardware, did not forge it; that no certificate was revoked; in the historical mode, that the document existed
/// at `at_ms`; nor that it was made for this caller (a document is replayed freely for as long as `max_age_ms` allows; a challenge is bound
/// by `user_data`).
///
/// # Examples
/// ```
/// use candor_verify::attest::{Freshness, TrustRoot, parse_document, verify_document};
/// # let bytes = include_bytes!("../../../../vectors/attestation/aws-us-east-2-2026-02-12.cose");
///
/// let document = parse_document(bytes)?;
/// let at_ms = document.claimed_timestamp_ms();
/// let roots = [TrustRoot::AWS_NITRO_G1];
/// let verified = verify_document(&document, &roots, at_ms, Freshness::Historical)?;
/// assert_eq!(verified.module_id(), "i-0340e0cb833504eb6-enc019c12d31f78864d");
///
/// // The same document a day later: its leaf certificate lived three hours.
/// let later = at_ms + 86_400_000;
/// let refused = verify_document(&document, &roots, later, Freshness::Historical).unwrap_err();
/// assert_eq!(refused.check(), "attest.cert.validity");
/// # Ok::<(), candor_verify::attest::AttestError>(())
/// ```
pub fn verify_document(
    document: &Document<'_>,
    roots: &[TrustRoot],
    at_ms: u64,
    freshness: Freshness,
) -> Result<VerifiedDocument, AttestError> {
    let leaf = verify_chain(document, roots, at_ms)?;
    check_signature(document, &leaf.key)?;
    check_freshness(document, at_ms, freshness)?;
    let measurements = check_measurements(document)?;
    Ok(VerifiedDocument {
        module_id: String::from(document.module_id),
        timestamp_ms: document.timestamp_ms,
        pcrs: document.pcrs.map(Option::<&_>::copied),
        measurements,
        public_key: document.public_key.map(Vec::from),
        user_data: document.user_data.map(Vec::from),
        nonce: document.nonce.map(Vec::from),
        root: document.root,
        leaf_not_after_ms: leaf.not_after_ms,
        chain_not_after_ms: leaf.chain_not_after_ms,
        payload_digest: Sha256::digest(document.payload).into(),
    })
}

/// An attestation document that was verified: its claims, and under which root they hold.
///
/// Only [`verify_document`] makes one:
///
/// ```compile_fail,E0451
/// fn forge(real: candor_verify::attest::VerifiedDocument) -> candor_verify::attest::VerifiedDocument {
///     candor_verify::attest::VerifiedDocument { timestamp_ms: 0, ..real }
/// }
/// ```
///
/// ```compile_fail,E0277
/// fn make<T: Default>() -> T { T::default() }
/// let forged: candor_verify::attest::VerifiedDocument = make();
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub struct VerifiedDocument {
    module_id: String,
    timestamp_ms: u64,
    pcrs: [Option<[u8; PCR_BYTES]>; PCRS_MAX],
    measurements: [u8; MEASUREMENTS_BYTES],
    public_key: Option<Vec<u8>>,
    user_data: Option<Vec<u8>>,
    nonce: Option<Vec<u8>>,
    root: TrustRoot,
    leaf_not_after_ms: u64,
    chain_not_after_ms: u64,
    payload_digest: [u8; 32],
}

impl VerifiedDocument {
    /// The hypervisor's name for the enclave.
    #[must_use]
    pub fn module_id(&self) -> &str {
        &self.module_id
    }

    /// When the hypervisor made the document, by its own clock (Unix milliseconds).
    #[must_use]
    pub fn timestamp_ms(&self) -> u64 {
        self.timestamp_ms
    }

    /// Register `index`, if the document carries it. Zero means never extended; neither zero nor absent is ever a match for a policy.
    #[must_use]
    pub fn pcr(&self, index: u8) -> Option<&[u8; 48]> {
        self.pcrs.get(usize::from(index))?.as_ref()
    }

    /// PCR0 ‖ PCR1 ‖ PCR2: all present, none zero.
    #[must_use]
    pub fn measurements(&self) -> &[u8; 144] {
        &self.measurements
    }

    /// What the enclave put beside its measurements; empty if it put nothing.
    #[must_use]
    pub fn user_data(&self) -> &[u8] {
        self.user_data.as_deref().unwrap_or_default()
    }

    /// What the document has in the field of that name, if anything. Evidence leaves it empty: its challenge is bound by `user_data`.
    #[must_use]
    pub fn nonce(&self) -> Option<&[u8]> {
        self.nonce.as_deref()
    }

    /// The key the enclave put in the field of that name, if any.
    #[must_use]
    pub fn public_key(&self) -> Option<&[u8]> {
        self.public_key.as_deref()
    }

    /// The root the document stands under: one of those the caller named.
    #[must_use]
    pub fn root(&self) -> TrustRoot {
        self.root
    }

    /// SHA-256 of the root certificate's DER bytes.
    #[must_use]
    pub fn root_fingerprint(&self) -> [u8; 32] {
        self.root.fingerprint
    }

    /// Whether the root is a compiled-in hardware root. If not, the evidence is SIMULATED, whatever the document says of itself.
    #[must_use]
    pub fn is_hardware_root(&self) -> bool {
        self.root.is_hardware()
    }

    /// The last millisecond at which the leaf certificate is valid (Unix milliseconds).
    #[must_use]
    pub fn leaf_not_after_ms(&self) -> u64 {
        self.leaf_not_after_ms
    }

    /// The last millisecond at which the whole chain is valid (Unix milliseconds).
    #[must_use]
    pub fn chain_not_after_ms(&self) -> u64 {
        self.chain_not_after_ms
    }

    /// SHA-256 of the signed payload: the document's identity. The same for every re-encoding and signature twin, which the bytes of the
    /// document are not.
    #[must_use]
    pub fn payload_digest(&self) -> [u8; 32] {
        self.payload_digest
    }
}

/// Step 12: COSE `Sig_structure = ["Signature1", protected, h'', payload]` (RFC 9052 §4.4).
fn check_signature(document: &Document<'_>, key: &VerifyingKey) -> Result<(), AttestError> {
    let digest = sig_structure(document).iter().fold(Sha384::new(), |hasher, part| hasher.chain_update(part)).finalize();
    key.verify_prehash(&digest, &document.signature).map_err(|_| AttestError::Signature)
}

/// What the leaf's key signs, in parts: RFC 9052 §4.4.
pub(super) fn sig_structure<'a>(document: &Document<'a>) -> [&'a [u8]; 4] {
    [SIG_STRUCTURE_HEAD, &PROTECTED_ES384, &EMPTY_BYTE_STRING, document.payload_item]
}

fn check_freshness(document: &Document<'_>, at_ms: u64, freshness: Freshness) -> Result<(), AttestError> {
    let Freshness::Live { max_age_ms, skew_ms } = freshness else {
        return Ok(());
    };
    let got_ms = document.timestamp_ms;
    let oldest_ms = at_ms.saturating_sub(max_age_ms);
    if got_ms < oldest_ms {
        return Err(AttestError::Stale { oldest_ms, got_ms });
    }
    let newest_ms = at_ms.saturating_add(skew_ms);
    if newest_ms < got_ms {
        return Err(AttestError::FromTheFuture { newest_ms, got_ms });
    }
    Ok(())
}

/// PCR0 to PCR2, or why they measure nothing. Any of them zero is debug mode.
pub(super) fn check_measurements(document: &Document<'_>) -> Result<[u8; MEASUREMENTS_BYTES], AttestError> {
    let mut measurements = [0; MEASUREMENTS_BYTES];
    for (index, room) in (0_u8..).zip(measurements.as_chunks_mut::<PCR_BYTES>().0) {
        let pcr = document.pcrs.get(usize::from(index)).copied().flatten();
        match pcr {
            None => return Err(AttestError::DebugPcrAbsent { index }),
            Some(pcr) if pcr.iter().all(|byte| *byte == 0) => {
                return Err(AttestError::DebugPcrZero { index });
            }
            Some(pcr) => *room = *pcr,
        }
    }
    Ok(measurements)
}

/// PCR0, PCR1 and PCR2.
pub(super) const MEASUREMENTS_BYTES: usize = 3 * PCR_BYTES;
/// An array of four, the text "Signature1", and the header of the four protected bytes.
const SIG_STRUCTURE_HEAD: &[u8] = b"\x84\x6aSignature1\x44";
/// The external data: none.
const EMPTY_BYTE_STRING: [u8; 1] = [0x40];
