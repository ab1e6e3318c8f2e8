//! Attestation: which measured enclave signed these bytes, and under whose root?
//!
//! The AWS Nitro document format (COSE_Sign1 over a CBOR payload, with its certificate chain), real or SIMULATED: one code path, another
//! root. [`parse_document`] turns bytes into a [`Document`]: well formed, unbelieved. [`verify_document`] turns that, with roots and a time
//! the caller names, into a [`VerifiedDocument`], or refuses with an [`AttestError`] that names the check.
//!
//! | step | check id | in |
//! |---|---|---|
//! | 1 length | `attest.size` | `nitro.rs` |
//! | 2 outer array | `attest.cose` | |
//! | 3 headers | `attest.protected` | |
//! | 4 payload and signature form | `attest.payload`, `attest.signature` | |
//! | 5 payload map | `attest.payload`, `attest.fields` | |
//! | 6 fields | `attest.fields`, `attest.pcrs` | |
//! | 7 root | `attest.root` | `chain.rs` |
//! | 8 certificates and links | `attest.cert.der`, `attest.cert.chain`, `attest.cert.constraints` | |
//! | 9 constraints | `attest.cert.constraints` | |
//! | 10 validity | `attest.cert.validity` | |
//! | 11 chain signatures | `attest.cert.signature` | |
//! | 12 document signature | `attest.signature` | `verified.rs` |
//! | 14 freshness | `attest.freshness` | |
//! | 15 debug mode | `attest.debug` | |
//!
//! Deliberately not here: revocation (step 13; AWS publishes none), which measurements are good, what `user_data` means (a challenge
//! travels in it: `manifest`), and whether the document existed at the time given. Those are the caller's policy, manifest and log checks.
//!
//! Invariants: no panic is reachable from input; work is bounded by the named limits; only the caller's list names roots, and "hardware"
//! follows from the root's fingerprint alone.

mod chain;
mod der;
mod error;
mod explain;
mod nitro;
mod verified;
mod x509;

use core::fmt;

pub use der::{DerError, DerErrorKind};
pub use error::{AttestError, CertificateAt, ConstraintFault, Field};
pub(crate) use explain::explain_document;
pub use nitro::{Document, parse_document};
pub use verified::{Freshness, VerifiedDocument, verify_document};

/// A root that a policy accepts: the SHA-256 of its certificate's DER bytes.
///
/// Any fingerprint may be named; [`TrustRoot::is_hardware`] says which of them belong to a vendor.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct TrustRoot {
    /// SHA-256 of the root certificate's DER bytes.
    pub fingerprint: [u8; 32],
}

impl TrustRoot {
    /// AWS Nitro Enclaves Root G1, valid 2019-10-28 to 2049-10-28. The only hardware root.
    pub const AWS_NITRO_G1: Self = Self {
        fingerprint: [
            0x64, 0x1a, 0x03, 0x21, 0xa3, 0xe2, 0x44, 0xef, 0xe4, 0x56, 0x46, 0x31, 0x95, 0xd6, 0x06, 0x31, 0x7e, 0xd7, 0xcd, 0xcc, 0x3c,
            0x17, 0x56, 0xe0, 0x98, 0x93, 0xf3, 0xc6, 0x8f, 0x79, 0xbb, 0x5b,
        ],
    };

    /// Whether this is a compiled-in hardware root. Everything else is SIMULATED.
    #[must_use]
    pub fn is_hardware(&self) -> bool {
        *self == Self::AWS_NITRO_G1
    }
}

impl fmt::Display for TrustRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.fingerprint)
    }
}

impl fmt::Debug for TrustRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustRoot({self})")
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}
