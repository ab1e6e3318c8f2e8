//! A second opinion: the crate `nitro_attest` (ring, x509-parser, serde_cbor) on the same documents.
//!
//! We are stricter by intent, so one direction is compared: whatever we accept under the AWS root the
//! other accepts too, with the same claims. Here and not in `verify`, because a SIMULATED document is
//! one of those compared: the other verifier knows only AWS's root and must stop at exactly that.

use std::fs;
use std::path::PathBuf;

use candor_devtee::{Hypervisor, Measurements, Request};
use candor_verify::attest::{Freshness, TrustRoot, VerifiedDocument, parse_document, verify_document};
use nitro_attest::{Error, UnparsedAttestationDoc};
use time::OffsetDateTime;

#[test]
fn genuine_documents_have_the_same_claims() {
    for (name, at_s) in [("aws-us-east-2-2026-02-12.cose", 1_770_919_200), ("aws-eu-central-1-2025-01-06.cose", 1_736_179_800)] {
        let bytes = vector(name);
        let ours = ours(&bytes, at_s).expect("we accept");
        let theirs = theirs(&bytes, at_s).expect("they accept");
        assert_eq!(ours.module_id(), theirs.module_id);
        assert_eq!(i128::from(ours.timestamp_ms() / 1000), i128::from(theirs.timestamp.unix_timestamp()));
        assert_eq!(ours.user_data(), theirs.user_data.map(|data| data.into_vec()).unwrap_or_default());
        assert_eq!(ours.nonce().map(<[u8]>::to_vec), theirs.nonce.map(|nonce| nonce.into_vec()));
        assert_eq!(ours.public_key().map(<[u8]>::to_vec), theirs.public_key.map(|key| key.into_vec()));
        for index in 0..32_u8 {
            // They leave out registers that are zero.
            let ours = ours.pcr(index).filter(|pcr| pcr.iter().any(|byte| *byte != 0)).map(|pcr| pcr.to_vec());
            assert_eq!(ours, theirs.pcrs.get(&u16::from(index)).map(|pcr| pcr.value.clone()), "PCR{index} of {name}");
        }
    }
}

#[test]
fn times_of_validity_are_the_same_to_the_second() {
    let bytes = vector("aws-us-east-2-2026-02-12.cose");
    // 2026-02-12T17:55:59Z and 20:56:02Z.
    for (edge_s, within) in [(1_770_918_958, false), (1_770_918_959, true), (1_770_929_762, true), (1_770_929_763, false)] {
        assert_eq!(ours(&bytes, edge_s).is_ok(), within);
        assert_eq!(theirs(&bytes, edge_s).is_ok(), within);
    }
}

#[test]
fn whatever_we_accept_of_a_mutated_document_they_accept() {
    let original = vector("aws-us-east-2-2026-02-12.cose");
    let mut bytes = original.clone();
    for at in (0..bytes.len()).step_by(if cfg!(debug_assertions) { 211 } else { 5 }) {
        for mask in [0x01, 0x20, 0x80] {
            bytes[at] ^= mask;
            if ours(&bytes, 1_770_919_200).is_ok() {
                assert!(theirs(&bytes, 1_770_919_200).is_ok(), "byte {at} ^ {mask:#04x}");
            }
            bytes[at] ^= mask;
        }
    }
    assert_eq!(bytes, original);
}

/// They stop at the root and nowhere before: the document's form and the root certificate are AWS's.
#[test]
fn simulated_document_is_like_a_real_one_but_for_its_root() {
    let dir = std::env::temp_dir().join(format!("candor-devtee-oracle-{}", std::process::id()));
    let hypervisor = Hypervisor::open_or_create(&dir).expect("state");
    fs::remove_dir_all(&dir).expect("state removed");
    let request = Request { user_data: Some(&[1; 64]), ..Request::default() };
    let bytes = hypervisor.attest(&Measurements::of_image(b"image"), &request, 1_770_919_200_000).expect("signed");
    match theirs(&bytes, 1_770_919_200) {
        Err(Error::CertificateRootInvalid { have, .. }) => {
            let own: String = hypervisor.root_fingerprint().iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(have.to_lowercase(), own);
        }
        other => panic!("expected a refusal of the root, got {:?}", other.map(|document| document.module_id)),
    }
}

fn ours(bytes: &[u8], at_s: u64) -> Result<VerifiedDocument, candor_verify::attest::AttestError> {
    verify_document(&parse_document(bytes)?, &[TrustRoot::AWS_NITRO_G1], at_s * 1000, Freshness::Historical)
}

fn theirs(bytes: &[u8], at_s: u64) -> Result<nitro_attest::AttestationDoc, Error> {
    UnparsedAttestationDoc::from(bytes).parse_and_verify(OffsetDateTime::from_unix_timestamp(at_s.cast_signed()).expect("in range"))
}

fn vector(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../vectors/attestation");
    fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}
