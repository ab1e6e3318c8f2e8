//! Steps 7 to 11: does the leaf certificate stand under a root the caller named?
//!
//! In: the opaque certificates of a [`Document`], the caller's roots and time. Out: the [`Leaf`], whose key may sign documents at that
//! time.
//!
//! Stricter than RFC 5280 §6: the path is exactly the bundle, in its order; names compare byte by byte; a self-issued certificate counts
//! towards path lengths. Not here: revocation.
//!
//! Invariant: a chain of n certificates costs n parses and, only if all else holds, n − 1 signatures.

use alloc::vec::Vec;

use p384::ecdsa::{VerifyingKey, signature::Verifier as _};

use super::TrustRoot;
use super::error::{AttestError, CertificateAt, ConstraintFault};
use super::nitro::Document;
use super::x509::{Certificate, DIGITAL_SIGNATURE, Extensions, KEY_CERT_SIGN, parse_certificate};

/// The believed end of a chain.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) key: VerifyingKey,
    pub(super) not_after_ms: u64,
    /// The earliest end of validity in the chain.
    pub(super) chain_not_after_ms: u64,
}

/// Walks the chain of `document` at `at_ms` (Unix milliseconds).
pub(super) fn verify_chain(document: &Document<'_>, roots: &[TrustRoot], at_ms: u64) -> Result<Leaf, AttestError> {
    check_root(document, roots)?;
    let (issuers, leaf) = parse_chain(document)?;
    check_links(&issuers, &leaf)?;
    check_constraints(&issuers, &leaf)?;
    check_validity(&issuers, &leaf, at_ms)?;
    check_signatures(&issuers, &leaf)?;
    let ends = issuers.iter().map(|placed| placed.certificate.not_after_ms);
    let not_after_ms = leaf.certificate.not_after_ms;
    Ok(Leaf { key: leaf.certificate.key, not_after_ms, chain_not_after_ms: ends.fold(not_after_ms, u64::min) })
}

/// A certificate and where it stands.
#[derive(Debug)]
struct Placed<'a> {
    at: CertificateAt,
    certificate: Certificate<'a>,
}

fn check_root(document: &Document<'_>, roots: &[TrustRoot]) -> Result<(), AttestError> {
    if roots.contains(&document.root) {
        return Ok(());
    }
    Err(AttestError::UntrustedRoot { expected: Vec::from(roots), got: document.root })
}

/// Root first, then the leaf apart.
fn parse_chain<'a>(document: &Document<'a>) -> Result<(Vec<Placed<'a>>, Placed<'a>), AttestError> {
    let place = |at, der| match parse_certificate(der) {
        Ok(certificate) => Ok(Placed { at, certificate }),
        Err(error) => Err(AttestError::CertificateForm { at, error }),
    };
    let issuers = document
        .cabundle
        .iter()
        .enumerate()
        .map(|(index, der)| place(CertificateAt::CaBundle(index), *der))
        .collect::<Result<Vec<_>, _>>()?;
    Ok((issuers, place(CertificateAt::Leaf, document.certificate)?))
}

/// Each certificate with the one above it. The root has none: it is believed by its fingerprint.
fn pairs<'a, 'c>(issuers: &'a [Placed<'c>], leaf: &'a Placed<'c>) -> impl Iterator<Item = (&'a Placed<'c>, &'a Placed<'c>)> {
    // The second list is the first one moved up by one and closed with the leaf: equal lengths.
    let subjects = issuers.iter().skip(1).chain(core::iter::once(leaf));
    issuers.iter().zip(subjects)
}

fn check_links(issuers: &[Placed<'_>], leaf: &Placed<'_>) -> Result<(), AttestError> {
    for (above, below) in pairs(issuers, leaf) {
        let (issuer, subject) = (&above.certificate, &below.certificate);
        if subject.issuer != issuer.subject {
            return Err(AttestError::IssuerMismatch { at: below.at });
        }
        let key_ids = subject.extensions.authority_key_id.zip(issuer.extensions.subject_key_id);
        if key_ids.is_some_and(|(named, own)| named != own) {
            return Err(AttestError::KeyIdMismatch { at: below.at });
        }
    }
    Ok(())
}

fn check_constraints(issuers: &[Placed<'_>], leaf: &Placed<'_>) -> Result<(), AttestError> {
    let checked_issuers = issuers.iter().enumerate().map(|(index, placed)| {
        let issuers_below = issuers.len().saturating_sub(index).saturating_sub(1);
        (placed, issuer_fault(&placed.certificate, issuers_below))
    });
    let checked_leaf = core::iter::once((leaf, leaf_fault(&leaf.certificate)));
    for (placed, fault) in checked_issuers.chain(checked_leaf) {
        if let Some(fault) = fault {
            return Err(AttestError::Constraint { at: placed.at, fault });
        }
    }
    Ok(())
}

fn issuer_fault(certificate: &Certificate<'_>, issuers_below: usize) -> Option<ConstraintFault> {
    let extensions = &certificate.extensions;
    if let Some(fault) = extension_fault(extensions) {
        return Some(fault);
    }
    let Some(constraints) = extensions.basic_constraints else {
        return Some(ConstraintFault::BasicConstraintsMissing);
    };
    if !constraints.ca {
        return Some(ConstraintFault::NotCa);
    }
    if !constraints.critical {
        return Some(ConstraintFault::BasicConstraintsNotCritical);
    }
    match constraints.path_len {
        Some(limit) if usize::from(limit) < issuers_below => {
            return Some(ConstraintFault::PathLength { limit, got: issuers_below });
        }
        _ => {}
    }
    match extensions.key_usage {
        Some(usage) if usage & KEY_CERT_SIGN != 0 => None,
        _ => Some(ConstraintFault::NoKeyCertSign),
    }
}

fn leaf_fault(certificate: &Certificate<'_>) -> Option<ConstraintFault> {
    let extensions = &certificate.extensions;
    if let Some(fault) = extension_fault(extensions) {
        return Some(fault);
    }
    match extensions.basic_constraints {
        None => return Some(ConstraintFault::BasicConstraintsMissing),
        Some(constraints) if constraints.ca || constraints.path_len.is_some() => {
            return Some(ConstraintFault::LeafIsCa);
        }
        Some(_) => {}
    }
    match extensions.key_usage {
        Some(usage) if usage & DIGITAL_SIGNATURE != 0 => {
            // RFC 5280 §4.2.1.9: with this bit it would have to be a CA.
            (usage & KEY_CERT_SIGN != 0).then_some(ConstraintFault::LeafSignsCertificates)
        }
        _ => Some(ConstraintFault::NoDigitalSignature),
    }
}

fn extension_fault(extensions: &Extensions<'_>) -> Option<ConstraintFault> {
    match (extensions.unknown_critical, extensions.foreign_constraint) {
        (true, _) => Some(ConstraintFault::UnknownCriticalExtension),
        (false, true) => Some(ConstraintFault::ForeignConstraint),
        (false, false) => None,
    }
}

/// Both ends of a validity are inclusive, to the millisecond.
fn check_validity(issuers: &[Placed<'_>], leaf: &Placed<'_>, got_ms: u64) -> Result<(), AttestError> {
    for Placed { at, certificate } in issuers.iter().chain(core::iter::once(leaf)) {
        let Certificate { not_before_ms, not_after_ms, .. } = *certificate;
        if got_ms < not_before_ms {
            return Err(AttestError::NotYetValid { at: *at, not_before_ms, got_ms });
        }
        if not_after_ms < got_ms {
            return Err(AttestError::Expired { at: *at, not_after_ms, got_ms });
        }
    }
    Ok(())
}

fn check_signatures(issuers: &[Placed<'_>], leaf: &Placed<'_>) -> Result<(), AttestError> {
    for (above, below) in pairs(issuers, leaf) {
        let Certificate { signed, signature, .. } = &below.certificate;
        if above.certificate.key.verify(signed, signature).is_err() {
            return Err(AttestError::CertificateSignature { at: below.at });
        }
    }
    Ok(())
}
