//! Limits of what is read, each at its edge: the longest is read, one more is refused.

use candor_testkit::honest::terms_of_length;
use candor_verify::bytes::{Hash32, Signature65};
use candor_verify::cbor::{CborError, Reader, Writer};
use candor_verify::checkpoint::{COSIGNATURES_MAX, Checkpoint, Cosignature, Ed25519Signature, SignedCheckpoint};
use candor_verify::delivery::{read_checkpoint, write_checkpoint};
use candor_verify::evidence::{
    ATTESTATIONS_MAX, Attestation, COLLATERAL_MAX, DOCUMENT_MAX, EVIDENCE_MAX, Evidence, FURTHER_KEY_MAX, FURTHER_KEYS_MAX,
};
use candor_verify::manifest::{Freshness, FurtherKey, Manifest};
use candor_verify::terms::{MAX_LIST, Model, SIGNED_TERMS_MAX, SignedTerms};
use candor_verify::time::{UnixMs, UnixSeconds};
use candor_verify::tlog::Tree;

/// Consistent terms whose signed encoding has so many bytes.
fn terms_of(len: usize) -> SignedTerms {
    let signed = terms_of_length(Model::local("m", Hash32([8; 32]), 512), len);
    assert_eq!(signed.terms.check_consistent(), Ok(()));
    signed
}

#[test]
fn signed_terms_are_read_up_to_their_greatest_length_and_no_further() {
    let longest = terms_of(SIGNED_TERMS_MAX);
    let bytes = longest.encode();
    assert_eq!(bytes.len(), SIGNED_TERMS_MAX);
    assert_eq!(SignedTerms::parse(&bytes), Ok(longest));
    // Its lists and texts are within their own limits; only the whole is too long.
    let bytes = terms_of(SIGNED_TERMS_MAX + 1).encode();
    assert_eq!(bytes.len(), SIGNED_TERMS_MAX + 1);
    assert_eq!(SignedTerms::parse(&bytes), Err(CborError::Value { offset: SIGNED_TERMS_MAX }));
}

#[test]
fn the_registry_takes_terms_of_the_same_greatest_length() {
    let contract = include_str!("../../../contracts/src/registry/Keys.sol");
    let limit = contract.lines().find_map(|line| line.trim().strip_prefix("uint256 public constant MAX_BYTES = "));
    let limit = limit.map(|rest| rest.trim_end_matches(';').replace('_', "").parse::<usize>());
    assert_eq!(limit, Some(Ok(SIGNED_TERMS_MAX)));
}

#[test]
fn whatever_terms_are_read_fit_into_evidence_that_is_read() {
    let freshness = Freshness { chain_id: u64::MAX, block_number: u64::MAX, block_hash: Hash32([1; 32]), nonce: Hash32([2; 32]) };
    let evidence = |document: usize, terms: usize, keys: usize| {
        let attestation = Attestation { kind: u16::MAX, document: vec![0; document], collateral: vec![0; COLLATERAL_MAX] };
        let key = FurtherKey { purpose: u16::MAX, algorithm: u16::MAX, bytes: vec![0; FURTHER_KEY_MAX] };
        Evidence {
            attestations: vec![attestation; ATTESTATIONS_MAX],
            keys: vec![key; keys],
            ..Evidence::nitro(Vec::new(), Manifest::default(), freshness, terms_of(terms))
        }
    };
    let longest = evidence(DOCUMENT_MAX, SIGNED_TERMS_MAX, FURTHER_KEYS_MAX);
    let bytes = longest.encode();
    assert!(bytes.len() <= EVIDENCE_MAX, "{} bytes", bytes.len());
    assert_eq!(Evidence::parse(&bytes), Ok(longest));
    for (document, terms, keys) in [
        (DOCUMENT_MAX + 1, SIGNED_TERMS_MAX, FURTHER_KEYS_MAX),
        (DOCUMENT_MAX, SIGNED_TERMS_MAX + 1, FURTHER_KEYS_MAX),
        (DOCUMENT_MAX, SIGNED_TERMS_MAX, FURTHER_KEYS_MAX + 1),
    ] {
        assert!(Evidence::parse(&evidence(document, terms, keys).encode()).is_err(), "{document}, {terms} and {keys}");
    }
}

#[test]
fn a_list_of_terms_that_is_too_long_is_named_with_its_limit() {
    let mut signed = terms_of(SIGNED_TERMS_MAX - 1_000);
    signed.terms.endpoints.push("https://127.0.0.1:8443".into());
    let refused = signed.terms.check_consistent().unwrap_err();
    assert!(refused.contains(&format!("longer than {MAX_LIST} entries")), "{refused}");
    assert!(SignedTerms::parse(&signed.encode()).is_err());
}

#[test]
fn a_checkpoint_has_so_many_cosignatures_and_no_more() {
    let cosignature = Cosignature { witness: Hash32([1; 32]), time: UnixSeconds(u64::MAX), signature: Ed25519Signature([2; 64]) };
    let signed = |cosignatures: usize| SignedCheckpoint {
        checkpoint: Checkpoint { log_id: Hash32([3; 32]), tree: Tree { size: 1, root: Hash32([4; 32]) }, timestamp: UnixMs(5) },
        note_signature: Ed25519Signature([6; 64]),
        signature: Signature65([7; 65]),
        cosignatures: vec![cosignature; cosignatures],
    };
    let read = |signed: &SignedCheckpoint| {
        let mut w = Writer::new();
        write_checkpoint(&mut w, signed);
        read_checkpoint(&mut Reader::new(&w.into_vec()))
    };
    let most = signed(COSIGNATURES_MAX);
    assert_eq!(read(&most), Ok(most));
    assert!(read(&signed(COSIGNATURES_MAX + 1)).is_err());
}
