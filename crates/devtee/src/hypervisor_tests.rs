//! Chains that are correctly signed and wrong: what a verifier must refuse although every signature
//! holds, and what it must accept although AWS does not write it so.

use candor_verify::attest::{AttestError, CertificateAt, ConstraintFault, Freshness, VerifiedDocument, parse_document, verify_document};

use super::*;
use crate::der;

const NOW_MS: u64 = 1_795_172_079_000;

fn hypervisor() -> Hypervisor {
    Hypervisor::with_key(SigningKey::from_slice(&[7; 48]).expect("below the order")).expect("randomness")
}

fn signed_with(change: impl FnOnce(&mut DocumentPlan)) -> (Hypervisor, Vec<u8>) {
    let hypervisor = hypervisor();
    let mut plan = hypervisor.plan(&Measurements::of_image(b"image"), &Request::default(), NOW_MS).expect("randomness");
    change(&mut plan);
    let bytes = hypervisor.sign(&plan).expect("randomness");
    (hypervisor, bytes)
}

fn verify_with(change: impl FnOnce(&mut DocumentPlan)) -> Result<VerifiedDocument, AttestError> {
    let (hypervisor, bytes) = signed_with(change);
    verify_document(&parse_document(&bytes)?, &[hypervisor.trust_root()], NOW_MS, Freshness::Historical)
}

fn refused_with(change: impl FnOnce(&mut DocumentPlan)) -> AttestError {
    verify_with(change).expect_err("must be refused")
}

fn constraint(at: CertificateAt, fault: ConstraintFault) -> AttestError {
    AttestError::Constraint { at, fault }
}

#[test]
fn root_follows_from_its_key_alone() {
    // If this changes, every existing state directory gets another root: raise the file's version.
    let expected = "c16c1326660755e4d8ecb071967b8f20c6bbba928bf267327980353c4b6c7338";
    assert_eq!(hex(&hypervisor().root_fingerprint()), expected);
    assert_eq!(hypervisor().root_der(), hypervisor().root_der());
}

#[test]
fn unchanged_plan_is_accepted() {
    let verified = verify_with(|_| {}).expect("accepted");
    assert!(!verified.is_hardware_root());
    assert_eq!(verified.leaf_not_after_ms(), NOW_MS + 3 * HOUR_S * 1000);
    assert_eq!(verified.chain_not_after_ms(), verified.leaf_not_after_ms());
}

#[test]
fn sizes_are_those_of_real_documents() {
    let (_, bytes) = signed_with(|_| {});
    assert!((4_300..=4_900).contains(&bytes.len()), "{}", bytes.len());
    assert_eq!(bytes[..7], [0x84, 0x44, 0xa1, 0x01, 0x38, 0x22, 0xa0]);
    assert_eq!(bytes[10], 0xbf);
}

#[test]
fn leaf_used_as_an_issuer_is_refused() {
    let refused = refused_with(|plan| plan.issuers[2].extensions[0] = Extension::BasicConstraints { ca: false, path_len: None });
    assert_eq!(refused, constraint(CertificateAt::CaBundle(3), ConstraintFault::NotCa));
}

#[test]
fn issuer_without_key_cert_sign_is_refused() {
    let refused = refused_with(|plan| plan.issuers[2].extensions[1] = LEAF_KEY_USAGE);
    assert_eq!(refused, constraint(CertificateAt::CaBundle(3), ConstraintFault::NoKeyCertSign));
}

#[test]
fn issuer_without_key_usage_is_refused() {
    let refused = refused_with(|plan| {
        plan.issuers[2].extensions.remove(1);
    });
    assert_eq!(refused, constraint(CertificateAt::CaBundle(3), ConstraintFault::NoKeyCertSign));
}

#[test]
fn path_length_below_the_issuers_left_is_refused() {
    let refused = refused_with(|plan| plan.issuers[0].extensions[0] = Extension::BasicConstraints { ca: true, path_len: Some(1) });
    assert_eq!(refused, constraint(CertificateAt::CaBundle(1), ConstraintFault::PathLength { limit: 1, got: 2 }));
    let refused = refused_with(|plan| plan.issuers.push(plan.issuers[2].clone()));
    assert_eq!(refused, constraint(CertificateAt::CaBundle(1), ConstraintFault::PathLength { limit: 2, got: 3 }));
}

#[test]
fn basic_constraints_not_critical_are_refused_in_an_issuer() {
    let refused = refused_with(|plan| {
        let value = der::sequence(&[der::TRUE]);
        plan.issuers[1].extensions[0] = Extension::Raw { id: vec![0x55, 0x1d, 0x13], critical: false, value };
    });
    assert_eq!(refused, constraint(CertificateAt::CaBundle(2), ConstraintFault::BasicConstraintsNotCritical));
}

#[test]
fn leaf_that_is_a_ca_is_refused() {
    let refused = refused_with(|plan| plan.leaf.extensions[0] = Extension::BasicConstraints { ca: true, path_len: None });
    assert_eq!(refused, constraint(CertificateAt::Leaf, ConstraintFault::LeafIsCa));
}

#[test]
fn leaf_without_digital_signature_is_refused() {
    let refused = refused_with(|plan| plan.leaf.extensions[1] = INSTANCE_KEY_USAGE);
    assert_eq!(refused, constraint(CertificateAt::Leaf, ConstraintFault::NoDigitalSignature));
}

#[test]
fn unknown_critical_extension_is_refused_and_a_plain_one_passes() {
    let with = |critical| {
        move |plan: &mut DocumentPlan| {
            plan.leaf.extensions.push(Extension::Raw { id: vec![0x2a, 0x03], critical, value: vec![0x05, 0x00] });
        }
    };
    assert_eq!(refused_with(with(true)), constraint(CertificateAt::Leaf, ConstraintFault::UnknownCriticalExtension));
    assert!(verify_with(with(false)).is_ok());
}

#[test]
fn leaf_whose_key_may_sign_certificates_is_refused_though_it_is_no_ca() {
    let both = Extension::KeyUsage { critical: false, unused_bits: 2, bits: 0x84 };
    let refused = refused_with(|plan| plan.leaf.extensions[1] = both);
    assert_eq!(refused, constraint(CertificateAt::Leaf, ConstraintFault::LeafSignsCertificates));
}

#[test]
fn constraints_and_extended_key_usage_are_refused_in_any_certificate_critical_or_not() {
    // Names, policy mappings, policies, extended key usage, inhibit any policy.
    for id in [0x1e, 0x21, 0x24, 0x25, 0x36] {
        let raw = |critical| Extension::Raw { id: vec![0x55, 0x1d, id], critical, value: der::sequence(&[]) };
        let refused = refused_with(|plan| plan.leaf.extensions.push(raw(false)));
        assert_eq!(refused, constraint(CertificateAt::Leaf, ConstraintFault::ForeignConstraint));
        let refused = refused_with(|plan| plan.issuers[1].extensions.push(raw(false)));
        assert_eq!(refused, constraint(CertificateAt::CaBundle(2), ConstraintFault::ForeignConstraint));
        let refused = refused_with(|plan| plan.issuers[1].extensions.push(raw(true)));
        assert_eq!(refused, constraint(CertificateAt::CaBundle(2), ConstraintFault::UnknownCriticalExtension));
    }
}

#[test]
fn critical_authority_key_id_is_refused_even_of_the_right_key() {
    let value = der::sequence(&[&der::value(0x80, &key_id(hypervisor().root_key.verifying_key()))]);
    let with = |critical| Extension::Raw { id: vec![0x55, 0x1d, 0x23], critical, value: value.clone() };
    assert!(verify_with(|plan| plan.issuers[0].extensions[1] = with(false)).is_ok());
    let refused = refused_with(|plan| plan.issuers[0].extensions[1] = with(true));
    assert_eq!(refused, constraint(CertificateAt::CaBundle(1), ConstraintFault::UnknownCriticalExtension));
}

#[test]
fn authority_key_id_of_another_key_is_refused_and_none_passes() {
    let other = Extension::Raw { id: vec![0x55, 0x1d, 0x23], critical: false, value: der::sequence(&[&der::value(0x80, &[1; 20])]) };
    let refused = refused_with(|plan| plan.issuers[1].extensions[1] = other);
    assert_eq!(refused, AttestError::KeyIdMismatch { at: CertificateAt::CaBundle(2) });
    let accepted = verify_with(|plan| {
        plan.issuers[1].extensions.remove(1);
    });
    assert!(accepted.is_ok());
}

#[test]
fn each_expired_certificate_is_refused_by_place() {
    let end_s = NOW_MS / 1000 - 1;
    for (index, at) in [CertificateAt::CaBundle(1), CertificateAt::CaBundle(2), CertificateAt::CaBundle(3)].into_iter().enumerate() {
        let refused = refused_with(|plan| plan.issuers[index].not_after_s = end_s);
        assert_eq!(refused, AttestError::Expired { at, not_after_ms: end_s * 1000, got_ms: NOW_MS });
    }
    let refused = refused_with(|plan| plan.leaf.not_after_s = end_s);
    assert_eq!(refused, AttestError::Expired { at: CertificateAt::Leaf, not_after_ms: end_s * 1000, got_ms: NOW_MS });
}

#[test]
fn chain_ends_with_its_first_certificate() {
    let verified = verify_with(|plan| plan.issuers[2].not_after_s = NOW_MS / 1000 + 60).expect("accepted");
    assert_eq!(verified.chain_not_after_ms(), NOW_MS + 60_000);
}

#[test]
fn certificate_valid_beyond_2049_is_read() {
    let verified = verify_with(|plan| plan.leaf.not_after_s = 2_524_608_000).expect("accepted");
    assert_eq!(verified.leaf_not_after_ms(), 2_524_608_000_000);
}

#[test]
fn shorter_chain_is_accepted() {
    assert!(verify_with(|plan| plan.issuers.clear()).is_ok());
}

#[test]
fn each_measurement_absent_or_zero_is_debug_mode() {
    for index in 0..3_u8 {
        let refused = refused_with(|plan| plan.payload.pcrs.retain(|(register, _)| *register != index));
        assert_eq!(refused, AttestError::DebugPcrAbsent { index });
        let refused = refused_with(|plan| plan.payload.pcrs[usize::from(index)].1 = [0; 48]);
        assert_eq!(refused, AttestError::DebugPcrZero { index });
        assert_eq!(refused.check(), "attest.debug");
        // One bit is enough not to be zero; whether it is good is the policy's question.
        assert!(verify_with(|plan| plan.payload.pcrs[usize::from(index)].1[47] = 1).is_ok());
    }
}
