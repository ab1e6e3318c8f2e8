//! Proofs: every case of `vectors/proof/` ends as it says; a proof is never verified alone; and no flipped byte of one goes unnoticed by who has the
//! copy, nor by anybody else but where only a copy can tell.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use candor_testkit::proofs;
use candor_verify::bundle::Bundle;
use candor_verify::bytes::from_hex;
use candor_verify::check::{ChainFacts, verify_bundle, verify_without_texts};
use candor_verify::eip712::K256;
use candor_verify::evidence::Evidence;
use candor_verify::grade::Grade;
use candor_verify::policy::Policy;
use candor_verify::proof::{Kept, Proof, ProofEvidenceError, evidence_hash};
use candor_verify::verdict::{LogLevel, Outcome, Question, Status, Verdict};
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{Case, Facts, flipped, mutated, policy, policy_of, read};

fn bundle(name: &str) -> Bundle {
    Bundle::parse(&read(&format!("bundle/{name}.candor"))).expect("a bundle")
}

fn cases() -> Vec<Case> {
    let Value::Array(items) = support::json("proof/cases.json") else { panic!("no list") };
    items.into_iter().map(Case).collect()
}

/// The proof of a case, whole; or none.
fn proof(case: &Case) -> Option<Proof> {
    let bytes = read(&format!("proof/{}", case.text("file")));
    let proof = Proof::parse(&bytes).ok()?;
    assert_eq!(proof.encode(), bytes, "{}: one encoding", case.name());
    match case.get("evidence") {
        Value::Null => Some(proof),
        _ => proof.holding(Evidence::parse(&case.bytes("evidence")).expect("evidence")).ok(),
    }
}

/// Body and frames of the caller's copy, if the caller has one.
fn copy(case: &Case) -> Option<(Vec<u8>, Vec<Vec<u8>>)> {
    let copy = Case(case.get("copy").as_object().cloned()?.into());
    let frames = copy.get("frames").as_array().expect("a list").iter();
    Some((copy.bytes("body"), frames.map(|frame| frame.as_str().and_then(from_hex).expect("bytes")).collect()))
}

/// The verdict on a case, or none of bytes that are no proof.
fn judge(case: &Case) -> Option<Verdict> {
    let proof = proof(case)?;
    let (policy, facts) = (policy(case.get("policy")), Facts::from_json(case.get("chain_facts")));
    Some(match copy(case) {
        None => alone(&proof, &policy, facts.as_chain_facts()),
        Some((body, frames)) => {
            let whole = proof.with_copy(body, frames).expect("it holds its evidence");
            verify_bundle(&whole, &policy, facts.as_chain_facts(), &K256).0
        }
    })
}

fn alone(proof: &Proof, policy: &Policy, facts: ChainFacts<'_>) -> Verdict {
    let hollow = proof.to_bundle(Vec::new(), Vec::new()).expect("it holds its evidence");
    verify_without_texts(&hollow, policy, facts, &K256)
}

fn end(verdict: &Verdict) -> &'static str {
    verdict.refused().map_or(verdict.outcome().as_str(), |check| check.id)
}

#[test]
fn every_proof_ends_as_it_says() {
    let cases = cases();
    assert!(60 < cases.len(), "cases.json lost its cases: {}", cases.len());
    let (mut wrong, mut names) = (Vec::new(), BTreeSet::new());
    for case in &cases {
        let (name, verdict) = (case.name(), judge(case));
        assert!(names.insert(name), "{name} twice");
        let got = verdict.as_ref().map_or("parse", end);
        if got != case.text("expect") {
            wrong.push(format!("{name}: expected {}, got {got}", case.text("expect")));
        }
        let level = verdict.as_ref().map_or(LogLevel::None, Verdict::log_level);
        assert_eq!(level.as_str(), case.text("log_level"), "{name}");
        let grades = |verdict: &Verdict| -> Value {
            Question::ALL.iter().map(|question| (question.key().to_owned(), json!(verdict.grade(*question).map(Grade::as_str)))).collect()
        };
        assert_eq!(&verdict.as_ref().map(grades).unwrap_or_default(), case.get("grades"), "{name}");
        let is_verified = verdict.is_some_and(|verdict| verdict.outcome() == Outcome::Verified);
        assert!(!is_verified || copy(case).is_some(), "{name}: verified alone");
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn a_proof_with_the_copy_is_the_very_same_bundle() {
    for of in ["honest", "honest_upgraded_but_offline", "nobody_paid", "public_answer", "proxied_work", "aborted_before_the_first_frame"] {
        let of = bundle(of);
        let proof = Proof::of(&of);
        let again = proof.with_copy(of.request.body.clone(), of.response.frames.clone()).expect("whole");
        assert_eq!(again, of);
        let bytes = proof.encode();
        for text in of.response.frames.iter().chain([&of.request.body]) {
            assert!(!bytes.windows(text.len()).any(|window| window == text), "it holds a text");
        }
    }
}

#[test]
fn a_proof_alone_says_what_it_needs_and_claims_no_more() {
    let proof = Proof::of(&bundle("honest"));
    let verdict = alone(&proof, &policy_of("honest"), ChainFacts::default());
    for id in ["request.commitment", "response.commitment", "work.claim"] {
        let check = verdict.checks().iter().find(|check| check.id == id).expect("a row");
        assert!(check.status == Status::NotChecked && check.expected.contains("your copy"), "{check:?}");
    }
    assert_eq!(verdict.grade(Question::Ran), Some(Grade::Local), "nobody can run again what is not there");
    assert!(verdict.not_proven()[0].starts_with("what was asked and what was answered"), "{:?}", verdict.not_proven());
    // And whoever takes it for a bundle is told that it is none.
    let hollow = proof.to_bundle(Vec::new(), Vec::new()).expect("whole");
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
    let text = proofs::cases_text(&made, &support::json("bundle/cases.json"));
    assert_eq!(fs::read_to_string(support::path("proof/cases.json")).expect("cases"), text);
    let mut files = BTreeSet::from(["cases.json".to_owned()]);
    for case in &made {
        assert_eq!(read(&format!("proof/{}.candor", case.file)), case.bytes, "{}", case.name);
        files.insert(format!("{}.candor", case.file));
    }
    let there = fs::read_dir(support::path("proof")).expect("vectors/proof");
    let there: BTreeSet<_> = there.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
    assert_eq!(there, files, "a file that no case names");
}

/// How this judge ends on each flip of a byte of this proof, whose evidence lies beside it.
fn flips(of: &Bundle, proof: &Proof, judge: impl Fn(&Proof) -> Verdict + Sync) -> BTreeMap<&'static str, BTreeSet<usize>> {
    flipped(
        &proof.encode(),
        0,
        |at| vec![1 << (at % 8)],
        |bytes| {
            let proof = Proof::parse(bytes).ok().and_then(|proof| proof.holding(of.evidence.clone()).ok());
            proof.as_ref().map_or("parse", |proof| end(&judge(proof)))
        },
    )
}

#[test]
fn any_flipped_byte_of_a_proof_is_refused_by_a_named_check_and_alone_all_but_what_only_a_copy_can_tell() {
    for (name, parts) in [("honest_cosigned", ["log.witnesses", "payment.signature"]), ("nobody_paid", ["log.inclusion", "work.seed"])] {
        let (of, policy) = (bundle(name), policy_of(name));
        let (body, frames) = (&of.request.body, &of.response.frames);
        let with_copy = |proof: &Proof| {
            let whole = proof.with_copy(body.clone(), frames.clone()).expect("it holds its evidence");
            verify_bundle(&whole, &policy, ChainFacts::default(), &K256).0
        };
        assert_eq!(end(&with_copy(&Proof::of(&of))), "verified");
        let proof = Proof::of(&of).naming();
        let ends = flips(&of, &proof, with_copy);
        assert_eq!((ends.get("verified"), ends.get("cannot tell")), (None, None), "{name}");
        for check in ["parse", "request.commitment", "response.commitment", "receipt.signature", "work.decoding"].iter().chain(&parts) {
            assert!(ends.contains_key(check), "{name}: no flip was refused by {check}: {:?}", ends.keys());
        }
        // Salt (unless the delivery has it too), method, path and seed. A text that is not UTF-8 any more is refused.
        let bytes = proof.encode();
        let at = |part: &[u8]| {
            let start = bytes.windows(part.len()).position(|window| window == part).expect("it has the part");
            start..start + part.len()
        };
        let salt = at(&of.request.salt.0).filter(|_| of.sale.is_some());
        let open = salt.chain(at(of.request.method.as_bytes())).chain(at(of.request.path.as_bytes())).chain(at(&of.response.seed.0));
        let ends = flips(&of, &proof, |proof| alone(proof, &policy, ChainFacts::default()));
        assert_eq!(ends.get("verified"), None, "{name}");
        let unnoticed = ends.get("cannot tell").cloned().unwrap_or_default();
        let not_utf8 = |at: &usize| ends.get("parse").is_some_and(|refused| refused.contains(at));
        assert_eq!(unnoticed, open.filter(|at| !not_utf8(at)).collect(), "{name}");
    }
}

#[test]
fn any_flipped_byte_of_the_evidence_in_a_proof_is_refused_without_a_copy_too() {
    let (of, policy) = (bundle("honest"), policy_of("honest"));
    let proof = Proof::of(&of).encode();
    let evidence = of.evidence.encode();
    let start = proof.windows(evidence.len()).position(|window| window == evidence).expect("it holds it");
    let (before, after) = (&proof[..start], &proof[start + evidence.len()..]);
    let ends = flipped(
        &evidence,
        0,
        |at| vec![1 << (at % 8)],
        |evidence| {
            Proof::parse(&[before, evidence, after].concat()).map_or("parse", |proof| end(&alone(&proof, &policy, ChainFacts::default())))
        },
    );
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
