//! Every way an attestation document is refused, each with the check that refused it.
//!
//! One enum for the whole door. Payloads are `expected` before `got`, or the bound before the value, so that a verdict can show the
//! evidence. [`AttestError::check`] is the stable name: vectors, the CLI and other languages compare that, never the human text.

use alloc::vec::Vec;
use core::fmt;

use super::der::DerError;
use super::{TrustRoot, write_hex};
use crate::cbor::values::CborError;

/// Why a document was refused.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the variant says what its fields are")]
pub enum AttestError {
    /// Step 1: the document is empty or too long (bytes).
    Size { limit: usize, got: usize },
    /// Step 2: not an untagged array of four and nothing after it.
    Cose(CborError),
    /// Step 2: the outer array has another number of elements.
    CoseElements { expected: u64, got: u64 },
    /// Step 3: the protected header is not ES384 and nothing else.
    ProtectedHeader { expected: [u8; 4], got: Vec<u8> },
    /// Step 3: a header is not what its place asks for, or the unprotected one is not empty.
    Headers(CborError),
    /// Step 4: the payload is empty.
    PayloadEmpty,
    /// Steps 4 and 5: the payload is not one well-formed map within limits.
    Payload(CborError),
    /// Step 4: the signature is not a byte string of 96 bytes.
    SignatureForm(CborError),
    /// Step 4: a signature number is zero or not below the group order.
    SignatureRange,
    /// Step 5: a required field is missing.
    FieldMissing(Field),
    /// Step 5: a field is there twice.
    FieldRepeated(Field),
    /// Step 5: an unknown key is there twice, or more unknown keys than the limit.
    UnknownFields { limit: usize },
    /// Step 6: a field has another type, or is outside its limits.
    FieldForm { field: Field, error: CborError },
    /// Step 6: a field that must hold something is empty or zero.
    FieldEmpty(Field),
    /// Step 6: `digest` is not "SHA384".
    Digest,
    /// Step 6: `pcrs` is not a map of integers to 48 bytes.
    PcrForm(CborError),
    /// Step 6: a register beyond the limit.
    PcrIndex { limit: u64, got: u64 },
    /// Step 6: a register twice.
    PcrRepeated { index: u64 },
    /// Step 7: the chain's root is not one the caller named.
    UntrustedRoot { expected: Vec<TrustRoot>, got: TrustRoot },
    /// Step 8: a certificate is not in the strict subset.
    CertificateForm { at: CertificateAt, error: DerError },
    /// Step 8: a certificate's issuer is not the subject above it.
    IssuerMismatch { at: CertificateAt },
    /// Step 8: a certificate's authority key identifier is not the subject key identifier above it.
    KeyIdMismatch { at: CertificateAt },
    /// Steps 8 and 9: a certificate may not stand where it stands.
    Constraint { at: CertificateAt, fault: ConstraintFault },
    /// Step 10: a certificate is not valid yet at the caller's time (Unix milliseconds).
    NotYetValid { at: CertificateAt, not_before_ms: u64, got_ms: u64 },
    /// Step 10: a certificate is no longer valid at the caller's time (Unix milliseconds).
    Expired { at: CertificateAt, not_after_ms: u64, got_ms: u64 },
    /// Step 11: a certificate was not signed by the key above it.
    CertificateSignature { at: CertificateAt },
    /// Step 12: the document was not signed by the leaf.
    Signature,
    /// Step 14: the document is older than the caller allows (Unix milliseconds).
    Stale { oldest_ms: u64, got_ms: u64 },
    /// Step 14: the document is from later than the caller's time plus skew (Unix milliseconds).
    FromTheFuture { newest_ms: u64, got_ms: u64 },
    /// Step 15: PCR 0, 1 or 2 is absent.
    DebugPcrAbsent { index: u8 },
    /// Step 15: PCR 0, 1 or 2 is zero, as in debug mode, where the host reads the enclave's memory.
    DebugPcrZero { index: u8 },
}

impl AttestError {
    /// The stable, dotted name of the check that refused.
    #[must_use]
    pub const fn check(&self) -> &'static str {
        match self {
            Self::Size { .. } => "attest.size",
            Self::Cose(_) | Self::CoseElements { .. } => "attest.cose",
            Self::ProtectedHeader { .. } | Self::Headers(_) => "attest.protected",
            Self::PayloadEmpty | Self::Payload(_) => "attest.payload",
            Self::FieldMissing(_)
            | Self::FieldRepeated(_)
            | Self::UnknownFields { .. }
            | Self::FieldForm { .. }
            | Self::FieldEmpty(_)
            | Self::Digest => "attest.fields",
            Self::PcrForm(_) | Self::PcrIndex { .. } | Self::PcrRepeated { .. } => "attest.pcrs",
            Self::UntrustedRoot { .. } => "attest.root",
            Self::CertificateForm { .. } => "attest.cert.der",
            Self::IssuerMismatch { .. } | Self::KeyIdMismatch { .. } => "attest.cert.chain",
            Self::Constraint { .. } => "attest.cert.constraints",
            Self::NotYetValid { .. } | Self::Expired { .. } => "attest.cert.validity",
            Self::CertificateSignature { .. } => "attest.cert.signature",
            Self::SignatureForm(_) | Self::SignatureRange | Self::Signature => "attest.signature",
            Self::Stale { .. } | Self::FromTheFuture { .. } => "attest.freshness",
            Self::DebugPcrAbsent { .. } | Self::DebugPcrZero { .. } => "attest.debug",
        }
    }
}

impl fmt::Display for AttestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.check())?;
        match self {
            Self::Size { limit, got } => {
                write!(f, "document of 1 to {limit} bytes expected, got {got}")
            }
            Self::Cose(error) | Self::Headers(error) | Self::Payload(error) => error.fmt(f),
            Self::CoseElements { expected, got } => {
                write!(f, "{expected} elements expected, got {got}")
            }
            Self::ProtectedHeader { expected, got } => {
                f.write_str("expected ")?;
                write_hex(f, expected)?;
                f.write_str(" (ES384), got ")?;
                write_hex(f, got)
            }
            Self::PayloadEmpty => f.write_str("the payload is empty"),
            Self::SignatureForm(error) => error.fmt(f),
            Self::SignatureRange => f.write_str("r or s out of range"),
            Self::FieldMissing(field) => write!(f, "{} is missing", field.key()),
            Self::FieldRepeated(field) => write!(f, "{} is there twice", field.key()),
            Self::UnknownFields { limit } => {
                write!(f, "an unknown key twice, or more than {limit} unknown keys")
            }
            Self::FieldForm { field, error } => write!(f, "{}: {error}", field.key()),
            Self::FieldEmpty(field) => write!(f, "{} is empty", field.key()),
            Self::Digest => f.write_str("digest is not SHA384"),
            Self::PcrForm(error) => error.fmt(f),
            Self::PcrIndex { limit, got } => write!(f, "register {got}, at most {limit} allowed"),
            Self::PcrRepeated { index } => write!(f, "register {index} is there twice"),
            Self::UntrustedRoot { expected, got } => {
                write!(f, "root {got} is not one of the {} named", expected.len())?;
                expected.iter().try_for_each(|root| write!(f, " {root}"))
            }
            Self::CertificateForm { at, error } => write!(f, "{at}: {error}"),
            Self::IssuerMismatch { at } => write!(f, "{at}: issuer is not the subject above"),
            Self::KeyIdMismatch { at } => write!(f, "{at}: key identifier is not the one above"),
            Self::Constraint { at, fault } => write!(f, "{at}: {fault}"),
            Self::NotYetValid { at, not_before_ms, got_ms } => {
                write!(f, "{at}: valid from {not_before_ms} ms, checked at {got_ms} ms")
            }
            Self::Expired { at, not_after_ms, got_ms } => {
                write!(f, "{at}: valid until {not_after_ms} ms, checked at {got_ms} ms")
            }
            Self::CertificateSignature { at } => write!(f, "{at}: not signed by the key above"),
            Self::Signature => f.write_str("the document is not signed by its leaf certificate"),
            Self::Stale { oldest_ms, got_ms } => {
                write!(f, "{oldest_ms} ms or later expected, got {got_ms} ms")
            }
            Self::FromTheFuture { newest_ms, got_ms } => {
                write!(f, "{newest_ms} ms or earlier expected, got {got_ms} ms")
            }
            Self::DebugPcrAbsent { index } => write!(f, "PCR{index} is absent"),
            Self::DebugPcrZero { index } => write!(f, "PCR{index} is zero: DEBUG MODE"),
        }
    }
}

impl core::error::Error for AttestError {}

/// A field of the payload map.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "named as in the document")]
pub enum Field {
    ModuleId,
    Digest,
    Timestamp,
    Pcrs,
    Certificate,
    CaBundle,
    PublicKey,
    UserData,
    Nonce,
}

impl Field {
    /// The key in the payload map.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::ModuleId => "module_id",
            Self::Digest => "digest",
            Self::Timestamp => "timestamp",
            Self::Pcrs => "pcrs",
            Self::Certificate => "certificate",
            Self::CaBundle => "cabundle",
            Self::PublicKey => "public_key",
            Self::UserData => "user_data",
            Self::Nonce => "nonce",
        }
    }

    pub(super) fn from_key(key: &str) -> Option<Self> {
        let all = [
            Self::ModuleId,
            Self::Digest,
            Self::Timestamp,
            Self::Pcrs,
            Self::Certificate,
            Self::CaBundle,
            Self::PublicKey,
            Self::UserData,
            Self::Nonce,
        ];
        all.into_iter().find(|field| field.key() == key)
    }
}

/// Which certificate of a document.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CertificateAt {
    /// `cabundle[i]`; 0 is the root.
    CaBundle(usize),
    /// `certificate`, which signed the document.
    Leaf,
}

impl fmt::Display for CertificateAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CaBundle(index) => write!(f, "cabundle[{index}]"),
            Self::Leaf => f.write_str("certificate"),
        }
    }
}

/// Why a certificate may not stand where it stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the variant says what its fields are")]
pub enum ConstraintFault {
    /// An extension is critical and we do not process it so.
    UnknownCriticalExtension,
    /// Constraints of names or policies, or an extended key usage, which no certificate of the vendor has.
    ForeignConstraint,
    /// No basic constraints.
    BasicConstraintsMissing,
    /// A CA's basic constraints are not critical.
    BasicConstraintsNotCritical,
    /// It issues a certificate and is not a CA.
    NotCa,
    /// More CAs below it than its path length allows.
    PathLength { limit: u8, got: usize },
    /// It issues a certificate and its key is not for that.
    NoKeyCertSign,
    /// The leaf is a CA, or has a path length as only CAs may.
    LeafIsCa,
    /// The leaf's key is not for signing.
    NoDigitalSignature,
    /// The leaf is no CA, and its key is for signing certificates.
    LeafSignsCertificates,
}

impl fmt::Display for ConstraintFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownCriticalExtension => f.write_str("unknown critical extension"),
            Self::ForeignConstraint => f.write_str("name or policy constraints, or an extended key usage"),
            Self::BasicConstraintsMissing => f.write_str("no basic constraints"),
            Self::BasicConstraintsNotCritical => f.write_str("basic constraints not critical"),
            Self::NotCa => f.write_str("issues a certificate but is not a CA"),
            Self::PathLength { limit, got } => {
                write!(f, "path length {limit}, but {got} CAs below")
            }
            Self::NoKeyCertSign => f.write_str("key may not sign certificates"),
            Self::LeafIsCa => f.write_str("leaf is a CA"),
            Self::NoDigitalSignature => f.write_str("key may not sign documents"),
            Self::LeafSignsCertificates => f.write_str("leaf is no CA but its key may sign certificates"),
        }
    }
}
