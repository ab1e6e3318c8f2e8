//! Proofs: every case of `vectors/proof/` ends as it says, alone and with the caller's copy; a proof is never verified alone; and no flipped byte of
//! one goes unnoticed by who has the copy.

mod support;

use std::fs;

use candor_testkit::proofs;
use candor_verify::bundle::Bundle;
use candor_verify::check::{ChainFacts, verify_bundle, verify_without_texts};
use candor_verify::eip712::K256;
use candor_verify::grade::Grade;
use candor_verify::proof::{Kept, Proof, ProofEvidenceError, evidence_hash};
use candor_verify::verdict::{Outcome, Question, Status, Verdict};
use proptest::prelude::*;
use serde_json::Value;
use support::{Case, flipped, json, mutated, policy_of, read};

fn bundle(name: &str) -> Bundle {
    Bundle::parse(&read(&format!("bundle/{name}.candor"))).expect("a bundle")
}

fn cases() -> Vec<Case> {
    let Value::Array(items) = json("proof/cases.json") else { panic!("no list") };
    items.into_iter().map(Case).collect()
}

/// The proof of a case, whole; or none.
fn proof(case: &Case, bytes: &[u8]) -> Option<Proof> {
    let proof = Proof::parse(bytes).ok()?;
    assert_eq!(proof.encode(), bytes, "{}: one encoding", case.name());
    match case.get("evidence_of").as_str() {
        Some(name) => proof.holding(bundle(name).evidence).ok(),
        None => Some(proof),
    }
}

fn end(verdict: &Verdict) -> &'static str {
    verdict.refused().map_or(verdict.outcome().as_str(), |check| check.id)
}

#[test]
fn every_proof_ends_as_it_says_alone_and_with_the_callers_copy() {
    let cases = cases();
    assert!(25 < cases.len(), "cases.json lost its cases: {}", cases.len());
    for case in &cases {
        let proof = proof(case, &read(&format!("proof/{}", case.text("file"))));
        let policy = policy_of(case.text("policy_of"));
        let (alone, with_copy) = match &proof {
            None => ("parse", "parse"),
            Some(proof) => {
                let copy = bundle(case.text("copy_of"));
                let hollow = proof.to_bundle(Vec::new(), Vec::new()).expect("it holds its evidence");
                let whole = proof.to_bundle(copy.request.body, copy.response.frames).expect("it holds its evidence");
                let alone = verify_without_texts(&hollow, &policy, ChainFacts::default(), &K256);
                assert_ne!(alone.outcome(), Outcome::Verified, "{}", case.name());
                (end(&alone), end(&verify_bundle(&whole, &policy, ChainFacts::default(), &K256).0))
            }
        };
        assert_eq!((alone, with_copy), (case.text("alone"), case.text("expect")), "{}", case.name());
    }
}

#[test]
fn a_proof_with_the_copy_is_the_very_same_bundle() {
    for case in cases().iter().filter(|case| case.text("expect") == "verified") {
        let of = bundle(case.text("copy_of"));
        let proof = proof(case, &read(&format!("proof/{}", case.text("file")))).expect("a proof");
        let again = proof.to_bundle(of.request.body.clone(), of.response.frames.clone()).expect("whole");
        assert_eq!(again.encode(), of.encode(), "{}", case.name());
        let bytes = proof.encode();
        for text in of.response.frames.iter().chain([&of.request.body]) {
            assert!(!bytes.windows(text.len()).any(|window| window == text), "{}: it holds a text", case.name());
        }
    }
}

#[test]
fn a_proof_alone_says_what_it_needs_and_claims_no_more() {
    let proof = Proof::of(&bundle("honest"));
    let hollow = proof.to_bundle(Vec::new(), Vec::new()).expect("whole");
    let verdict = verify_without_texts(&hollow, &policy_of("honest"), ChainFacts::default(), &K256);
    for id in ["request.commitment", "response.commitment", "work.claim"] {
        let check = verdict.checks().iter().find(|check| check.id == id).expect("a row");
        assert!(check.status == Status::NotChecked && check.expected.contains("your copy"), "{check:?}");
    }
    assert_eq!(verdict.grade(Question::Ran), Some(Grade::Local), "nobody can run again what is not there");
    assert!(verdict.not_proven()[0].starts_with("what was asked and what was answered"), "{:?}", verdict.not_proven());
    // And whoever takes it for a bundle is told that it is none.
    let (taken, _) = verify_bundle(&hollow, &policy_of("honest"), ChainFacts::default(), &K256);
    assert_eq!(taken.refused().map(|check| check.id), Some("request.commitment"));
}

#[test]
fn evidence_is_named_by_its_hash_and_no_other_is_taken() {
    let (honest, other) = (bundle("honest"), bundle("answers_a_challenge"));
    let named = Proof::of(&honest).naming();
    let expected = evidence_hash(&honest.evidence);
    assert_eq!(named.evidence_hash(), expected);
    assert_eq!(named.to_bundle(vec![], vec![]), Err(ProofEvidenceError::NoEvidence { expected }));
    let got = evidence_hash(&other.evidence);
    assert_eq!(named.clone().holding(other.evidence), Err(ProofEvidenceError::OtherEvidence { expected, got }));
    assert_eq!(named.holding(honest.evidence.clone()), Ok(Proof::of(&honest)));
}

#[test]
fn a_file_is_a_bundle_or_a_proof_and_never_both() {
    let honest = bundle("honest");
    let (whole, proof) = (honest.encode(), Proof::of(&honest).encode());
    assert_eq!(Kept::parse(&whole), Ok(Kept::Bundle(Box::new(honest.clone()))));
    assert_eq!(Kept::parse(&proof), Ok(Kept::Proof(Box::new(Proof::of(&honest)))));
    assert!(Bundle::parse(&proof).is_err() && Proof::parse(&whole).is_err() && Kept::parse(b"").is_err());
}

#[test]
fn the_vectors_are_what_the_generator_makes() {
    let made = proofs::all(&|name| read(&format!("bundle/{name}.candor")));
    assert_eq!(fs::read_to_string(support::path("proof/cases.json")).expect("cases"), proofs::cases_text(&made));
    for case in &made {
        assert_eq!(read(&format!("proof/{}.candor", case.name)), case.bytes, "{}", case.name);
    }
    let files = fs::read_dir(support::path("proof")).expect("vectors/proof").count();
    assert_eq!(files, made.len() + 1, "a file that no case names");
}

#[test]
fn any_flipped_byte_of_a_proof_is_noticed_by_who_has_the_copy() {
    let (of, policy) = (bundle("honest_cosigned"), policy_of("honest_cosigned"));
    let bytes = Proof::of(&of).encode();
    let judge = |bytes: &[u8]| {
        let Ok(proof) = Proof::parse(bytes) else { return "parse" };
        let Ok(whole) = proof.to_bundle(of.request.body.clone(), of.response.frames.clone()) else { return "parse" };
        end(&verify_bundle(&whole, &policy, ChainFacts::default(), &K256).0)
    };
    assert_eq!(judge(&bytes), "verified");
    let ends = flipped(&bytes, 0, |at| vec![1 << (at % 8)], judge);
    assert_eq!((ends.get("verified"), ends.get("cannot tell")), (None, None));
}

proptest! {
    #[test]
    fn mutated_proofs_never_panic_and_have_one_encoding(bytes in mutated("proof/proof_that_names_its_evidence.candor")) {
        if let Ok(proof) = Proof::parse(&bytes) {
            prop_assert_eq!(proof.encode(), &bytes[..]);
        }
    }
}
