//! Bundle vectors: every case of `vectors/bundle/` ends as it says, read from disk with nothing but this crate.
//!
//! An unexpected accept fails as loudly as an unexpected refusal, and a refusal by another check fails too. Each step of the spec must
//! have a case that passes it and a case that it refuses. Format: `vectors/README.md`.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use candor_verify::attest::TrustRoot;
use candor_verify::bundle::Bundle;
use candor_verify::check::{ChainFacts, verify_bundle, verify_bundle_at};
use candor_verify::eip712::K256;
use candor_verify::evidence::{Moment, verify_evidence};
use candor_verify::grade::Grade;
use candor_verify::policy::Policy;
use candor_verify::step::Step;
use candor_verify::time::UnixMs;
use candor_verify::verdict::{LogLevel, Outcome, Question, Status, Verdict};
use serde_json::Value;
use support::{Case, Facts, hash, json, policy, read};

#[test]
fn every_bundle_case_ends_as_it_says() {
    let cases = cases("bundle/cases.json");
    assert!(150 < cases.len(), "cases.json lost its cases: {}", cases.len());
    let (mut wrong, mut passed, mut refused) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for case in &cases {
        let verdict = judge(case);
        let got = end(&verdict);
        if got != case.text("expect") {
            wrong.push(format!("{}: expected {}, got {got}", case.name(), case.text("expect")));
        }
        let level = verdict.as_ref().map_or(LogLevel::None, Verdict::log_level);
        assert_eq!(level.as_str(), case.text("log_level"), "{}", case.name());
        let grades = case.get("grades");
        assert_eq!(verdict.is_none(), grades.is_null(), "{}", case.name());
        for (question, grade) in verdict.iter().flat_map(grades_of) {
            assert_eq!(grades[question.key()], grade.as_str(), "{}", case.name());
        }
        let Some(verdict) = verdict else { continue };
        assert_complete(&verdict, case.name());
        let held = |check: &&candor_verify::verdict::Check| check.status == Status::Passed && verdict.outcome() == Outcome::Verified;
        passed.extend(verdict.checks().iter().filter(held).map(|check| check.step.id()));
        refused.extend(verdict.refused().map(|check| check.step.id()));
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    for step in Step::BUNDLE.iter().copied() {
        assert!(passed.contains(step.id()), "no accepting case for {}", step.id());
        // A block that a chain does not have refuses nothing (BNDL-9): its cases end in *cannot tell*.
        let is_block = [Step::EvidenceBlock, Step::ReceiptBlock].contains(&step);
        assert_eq!(refused.contains(step.id()), !is_block, "rejecting cases for {}", step.id());
    }
}

fn grades_of(verdict: &Verdict) -> impl Iterator<Item = (Question, Grade)> + '_ {
    Question::ALL.iter().map(|question| (*question, verdict.grade(*question).expect("a whole bundle has four")))
}

/// By hand, so that a fault of the verifier that also wrote the vectors is not repeated by both.
#[test]
fn each_grade_has_a_case() {
    use Grade::{
        Anchored, Local, NobodyPaid, NotProvenHere, NotReached, Refused, Relayed, Replayable, Sealed, SelfLogged, Settled, Signed,
        Witnessed,
    };
    let expected = [
        ("honest", [Replayable, NotProvenHere, Signed, SelfLogged]),
        ("local_work_that_nobody_promises_to_replay", [Local, NotProvenHere, Signed, SelfLogged]),
        ("aborted_before_the_first_frame", [Local, NotProvenHere, Signed, SelfLogged]),
        ("engine_of_64_bytes", [Local, NotProvenHere, Signed, SelfLogged]),
        ("proxied_work", [Relayed, NotProvenHere, Signed, SelfLogged]),
        ("sealed_to_an_attested_key", [Replayable, Sealed, Signed, SelfLogged]),
        ("nobody_paid", [Replayable, NotProvenHere, NobodyPaid, SelfLogged]),
        ("honest_cosigned", [Replayable, NotProvenHere, Signed, Witnessed]),
        ("anchored", [Replayable, NotProvenHere, Settled, Anchored]),
        ("not_charged_so_far", [Replayable, NotProvenHere, Signed, Anchored]),
        ("offline_where_an_anchor_is_required", [Replayable, NotProvenHere, Signed, SelfLogged]),
        ("evidence_from_another_root", [Refused, NotReached, NotReached, NotReached]),
        ("sealed_to_no_key", [Replayable, Refused, NotReached, NotReached]),
        ("receipt_for_another_payer", [Replayable, NotProvenHere, Refused, NotReached]),
        ("cosignature_by_a_stranger", [Replayable, NotProvenHere, Signed, Refused]),
    ];
    let cases = cases("bundle/cases.json");
    for (name, expected) in expected {
        let case = cases.iter().find(|case| case.name() == name).unwrap_or_else(|| panic!("no case {name}"));
        let verdict = judge(case).expect("a bundle");
        let grades: Vec<Grade> = grades_of(&verdict).map(|(_, grade)| grade).collect();
        assert_eq!(grades, expected, "{name}");
        assert_eq!(verdict.is_simulated(), Some(true), "{name}: its root was read");
        assert_eq!(verdict.root().is_some(), name != "evidence_from_another_root", "{name}");
        assert_eq!(verdict.anchored().is_some(), expected[3] == Anchored, "{name}");
    }
}

/// A forger puts the vendor's public certificate into a document: what is read out of a refused one must not say "real hardware".
#[test]
fn a_refused_document_that_names_a_hardware_root_is_not_called_real() {
    let mut genuine = fs::read(support::path("attestation").join("aws-us-east-2-2026-02-12.cose")).expect("a document");
    let judged = |document: &[u8]| {
        let honest = fs::read(support::path("bundle").join("honest.candor")).expect("a bundle");
        let mut bundle = Bundle::parse(&honest).expect("a bundle");
        bundle.evidence.attestations[0].document = document.to_vec();
        verify_bundle(&bundle, &Policy::hardware(), ChainFacts::default(), &K256).0
    };
    let real = judged(&genuine);
    assert_eq!((real.is_simulated(), real.root()), (Some(false), Some(TrustRoot::AWS_NITRO_G1)), "of another enclave, and real");
    *genuine.last_mut().expect("bytes") ^= 1;
    let forged = judged(&genuine);
    assert_eq!(forged.refused().map(|check| check.id), Some("attest.signature"));
    assert_eq!((forged.is_simulated(), forged.root()), (None, None));
    let unreadable = judged(b"none");
    assert_eq!((unreadable.is_simulated(), unreadable.root()), (None, None));
}

#[test]
fn every_file_is_named_by_a_case_and_every_name_is_unique() {
    let cases = cases("bundle/cases.json");
    let named: BTreeSet<&str> = cases.iter().map(|case| case.text("file")).collect();
    let on_disk: BTreeSet<String> = fs::read_dir(support::path("bundle"))
        .expect("vectors/bundle")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .filter(|name| name.ends_with(".candor"))
        .collect();
    assert_eq!(named, on_disk.iter().map(String::as_str).collect());
    let mut names = BTreeMap::new();
    cases.iter().for_each(|case| assert!(names.insert(case.name(), ()).is_none(), "{} twice", case.name()));
}

#[test]
fn evidence_is_judged_at_its_moment() {
    let mut ends = BTreeSet::new();
    for case in cases("bundle/live.json") {
        let bundle = Bundle::parse(&read(&format!("bundle/{}", case.text("file")))).expect("a bundle");
        let nonce = (!case.get("nonce").is_null()).then(|| hash(case.get("nonce")));
        let moment = Moment::Live { now: UnixMs(case.number("now_ms")), nonce };
        let (verdict, enclave) = verify_evidence(&bundle.evidence, &policy(case.get("policy")), moment, &K256);
        assert_eq!(verdict.checks().len(), Step::EVIDENCE.len(), "{}", case.name());
        assert_eq!(enclave.is_some(), verdict.outcome() == Outcome::Verified, "{}", case.name());
        assert_eq!(end(&Some(verdict)), case.text("expect"), "{}", case.name());
        ends.insert(case.text("expect").to_owned());
    }
    for expected in ["verified", "attest.freshness", "attest.nonce"] {
        assert!(ends.contains(expected), "no case for {expected}");
    }
}

#[test]
fn the_honest_verdict_says_what_it_does_not_prove() {
    let honest = cases("bundle/cases.json").into_iter().find(|case| case.name() == "honest").expect("it is there");
    let verdict = judge(&honest).expect("a bundle");
    let unchecked: Vec<&str> = verdict.checks().iter().filter(|c| c.status == Status::NotChecked).map(|c| c.id).collect();
    let expected = ["evidence.block", "registry.listed", "receipt.block", "privacy.channel", "payment.transfer", "log.anchored"];
    assert_eq!(unchecked, expected);
    let unasked: Vec<&str> = verdict.checks().iter().filter(|c| c.status == Status::NotAsked).map(|c| c.id).collect();
    assert_eq!(unasked, ["log.witnesses"]);
    assert!(verdict.assurance().as_str().starts_with("SIMULATED"));
    let [_delivery, _privacy, moment, chain] = verdict.not_proven() else { panic!("{:?}", verdict.not_proven()) };
    assert!(moment.starts_with("when it was signed: SELF-LOGGED does not bound that"), "{moment}");
    assert_eq!(chain, "what needs a chain: evidence.block, registry.listed, receipt.block, payment.transfer, log.anchored");
}

#[test]
fn a_price_whose_list_is_not_shown_does_not_pass() {
    for (name, status) in [
        ("honest", Status::Passed),
        ("offer_by_a_price_list", Status::Passed),
        ("offer_by_a_price_list_that_is_not_shown", Status::NotChecked),
        ("offer_at_the_floor_by_a_price_list_that_is_not_shown", Status::NotChecked),
    ] {
        let case = cases("bundle/cases.json").into_iter().find(|case| case.name() == name).expect("it is there");
        let verdict = judge(&case).expect("a bundle");
        let check = verdict.checks().iter().find(|check| check.id == "offer.price").expect("a row");
        assert_eq!(check.status, status, "{name}");
        let is_open = status == Status::NotChecked;
        assert_eq!(check.expected.contains("not above the ceiling"), is_open, "{name}: {}", check.expected);
        assert_eq!(verdict.not_proven().iter().any(|text| text.starts_with("the price")), is_open, "{name}");
    }
}

#[test]
fn an_answer_that_only_a_list_can_make_free_says_that_none_is_shown() {
    for (name, is_said) in [("nobody_paid", false), ("nobody_paid_where_a_list_may_say_so", true), ("honest", false)] {
        let case = cases("bundle/cases.json").into_iter().find(|case| case.name() == name).expect("it is there");
        let verdict = judge(&case).expect("a bundle");
        assert_eq!(verdict.outcome(), Outcome::Verified, "{name}");
        assert_eq!(verdict.not_proven().iter().any(|text| text.starts_with("that it could be free")), is_said, "{name}");
    }
}

#[test]
fn a_level_given_apart_stands_in_place_of_the_policys() {
    let case = cases("bundle/cases.json").into_iter().find(|case| case.text("expect") == "cannot tell").expect("it is there");
    let bundle = Bundle::parse(&read(&format!("bundle/{}", case.text("file")))).expect("a bundle");
    let (policy, facts) = (policy(case.get("policy")), Facts::from_json(case.get("chain_facts")));
    let judged = |required| verify_bundle_at(&bundle, &policy, required, facts.as_chain_facts(), &K256).0.outcome();
    assert_eq!(judged(LogLevel::SelfLogged), Outcome::Verified);
    assert_eq!(judged(policy.require_level), Outcome::CannotTell);
}

fn cases(name: &str) -> Vec<Case> {
    let Value::Array(items) = json(name) else { panic!("{name} is no list") };
    items.into_iter().map(Case).collect()
}

/// The verdict on a case, or `None` if its file is no bundle.
fn judge(case: &Case) -> Option<Verdict> {
    let bytes = read(&format!("bundle/{}", case.text("file")));
    let bundle = Bundle::parse(&bytes).ok()?;
    assert_eq!(bundle.encode(), bytes, "{}: one encoding", case.name());
    let facts = Facts::from_json(case.get("chain_facts"));
    let (verdict, verified) = verify_bundle(&bundle, &policy(case.get("policy")), facts.as_chain_facts(), &K256);
    assert_eq!(verified.is_some(), verdict.outcome() == Outcome::Verified, "{}", case.name());
    Some(verdict)
}

fn end(verdict: &Option<Verdict>) -> &'static str {
    match verdict {
        None => "parse",
        Some(verdict) => verdict.refused().map_or(verdict.outcome().as_str(), |check| check.id),
    }
}

/// One check per step, and a reason in each check that was made.
fn assert_complete(verdict: &Verdict, name: &str) {
    let ids: Vec<&str> = verdict.checks().iter().map(|check| check.step.id()).collect();
    assert_eq!(ids, Step::BUNDLE.iter().map(|step| step.id()).collect::<Vec<_>>(), "{name}");
    for check in verdict.checks() {
        let made = check.status != Status::NotReached;
        assert_eq!(made, !check.expected.is_empty() && !check.got.is_empty(), "{name}: {}", check.id);
        assert!(!check.step.title().is_empty() && !check.step.spec().is_empty(), "{}", check.id);
    }
}
