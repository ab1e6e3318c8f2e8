//! Limits of what is read, each at its edge: the longest is read, one more is refused.

use candor_testkit::honest::terms_of_length;
use candor_verify::bundle::Bundle;
use candor_verify::bytes::{Hash32, Signature65};
use candor_verify::cbor::{CborError, Reader, Writer};
use candor_verify::checkpoint::{COSIGNATURES_MAX, Checkpoint, Cosignature, Ed25519Signature, SignedCheckpoint};
use candor_verify::delivery::{Delivery, read_checkpoint, write_checkpoint};
use candor_verify::evidence::{
    ATTESTATIONS_MAX, Attestation, COLLATERAL_MAX, DOCUMENT_MAX, EVIDENCE_MAX, Evidence, FURTHER_KEY_MAX, FURTHER_KEYS_MAX,
};
use candor_verify::manifest::{Freshness, FurtherKey, Manifest};
use candor_verify::recovery::{KeptAnswer, RecoveryError};
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

/// The bytes with one ABI struct in them, as a byte string of its own, in the form of version 1: so many words, the first of which is 1.
fn with_version_1(bytes: &[u8], words: &[u8], first_had: usize) -> Vec<u8> {
    let at = bytes.windows(words.len()).position(|window| window == words).expect("it is inside");
    let mut w = Writer::new();
    let mut first = vec![7; first_had * 32];
    first[..31].fill(0);
    first[31] = 1;
    w.bytes(&first);
    // The head of so long a string has three bytes.
    [&bytes[..at - 3], &w.into_vec(), &bytes[at + words.len()..]].concat()
}

#[test]
fn a_nested_struct_of_version_1_is_refused_by_its_version_and_not_by_its_length() {
    let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/bundle/honest.candor")).expect("the honest bundle");
    let bundle = Bundle::parse(&bytes).expect("a bundle");
    let version_1 = CborError::Version { expected: 2, got: 1 };
    let offer = bundle.sale.as_ref().expect("it is sold").offer.encode();
    assert_eq!(Bundle::parse(&with_version_1(&bytes, &offer, 14)), Err(version_1));
    let (evidence, manifest) = (bundle.evidence.encode(), bundle.evidence.manifest.encode());
    assert_eq!(Evidence::parse(&with_version_1(&evidence, &manifest, 18)), Err(version_1));
    let (delivery, receipt) = (bundle.delivery.encode(), bundle.delivery.receipt.encode());
    for words in [30, 34] {
        assert_eq!(Delivery::parse(&with_version_1(&delivery, &receipt, words)), Err(version_1));
    }
    let kept = KeptAnswer {
        status: 200,
        content_type: "application/json".into(),
        is_stream: false,
        frames: vec![b"{}".to_vec()],
        receipt: bundle.delivery.receipt.clone(),
        signature: bundle.delivery.signature,
        leaf_salt: bundle.delivery.leaf_salt,
        transcript_seed: bundle.response.seed,
        decoding: bundle.delivery.decoding.clone(),
        seed_share: None,
        source: None,
        manifest_hash: bundle.evidence.manifest.hash(),
    };
    let content = kept.encode();
    assert_eq!(KeptAnswer::parse(&content), Ok(kept));
    assert_eq!(KeptAnswer::parse(&with_version_1(&content, &receipt, 30)), Err(RecoveryError::Cbor(version_1)));
    // The content of before had twelve members and says so by its version.
    let first = [&[0x8c, 0x01], &content[2..]].concat();
    assert_eq!(KeptAnswer::parse(&first), Err(RecoveryError::Cbor(version_1)));
    // A struct that is longer than any version could have is none.
    assert!(matches!(Delivery::parse(&with_version_1(&delivery, &receipt, 65)), Err(CborError::Item(_))));
}
