//! The forge against the verifier, and the files on disk against the generator.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use candor_testkit::cases::{self, Case, Facts};
use candor_testkit::forge::{Forge, Lie};
use candor_testkit::{flat, fresh_hypervisor};
use candor_verify::bundle::Bundle;
use candor_verify::bytes::{Address, Hash32};
use candor_verify::check::verify_bundle;
use candor_verify::eip712::K256;
use candor_verify::evidence::{Moment, verify_evidence};
use candor_verify::manifest::Manifest;
use candor_verify::step::Step;
use candor_verify::verdict::{Outcome, Status, Verdict};

fn judge(case: &Case) -> Result<Verdict, String> {
    let bundle = Bundle::parse(&case.bytes).map_err(|error| error.to_string())?;
    assert_eq!(bundle.encode(), case.bytes, "{}: one encoding", case.name);
    let (verdict, verified) = verify_bundle(&bundle, &case.policy, case.facts.as_chain_facts(), &K256);
    assert_eq!(verified.is_some(), verdict.outcome() == Outcome::Verified, "{}", case.name);
    Ok(verdict)
}

#[test]
fn every_case_ends_as_it_says_and_every_step_has_both_kinds() {
    let (forge, stranger) = (Forge::new(fresh_hypervisor("ours")), Forge::new(fresh_hypervisor("strangers")));
    let (mut wrong, mut passed, mut refused) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    for case in cases::all(&forge, &stranger) {
        let got = match judge(&case) {
            Err(_) => "parse",
            Ok(verdict) => {
                let ids: Vec<&str> = verdict.checks().iter().map(|check| check.step.id()).collect();
                assert!(
                    ids.len() == Step::BUNDLE.len() && Step::BUNDLE.iter().all(|step| ids.contains(&step.id())),
                    "{}: {ids:?}",
                    case.name
                );
                if verdict.outcome() == Outcome::Verified {
                    let held = verdict.checks().iter().filter(|check| check.status == Status::Passed);
                    held.for_each(|check| *passed.entry(check.step.id()).or_insert(0) += 1);
                }
                if let Some(check) = verdict.refused() {
                    *refused.entry(check.step.id()).or_insert(0) += 1;
                }
                assert_eq!(verdict.log_level(), case.level, "{}", case.name);
                verdict.refused().map_or(verdict.outcome().as_str(), |check| check.id)
            }
        };
        if got != case.expect {
            wrong.push(format!("{}: expected {}, got {got}", case.name, case.expect));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for step in Step::BUNDLE.iter().copied() {
        assert!(passed.contains_key(step.id()), "no accepting case for {}", step.id());
        // A block that a chain does not have refuses nothing (BNDL-9): its cases end in *cannot tell*.
        let is_block = [Step::EvidenceBlock, Step::ReceiptBlock].contains(&step);
        assert_eq!(refused.contains_key(step.id()), !is_block, "rejecting cases for {}", step.id());
    }
}

#[test]
fn a_verdict_tells_what_the_log_before_holds_beyond_what_is_continued() {
    let forge = Forge::new(fresh_hypervisor("left behind"));
    let told = |size, anchored| {
        let manifest: fn(&mut Manifest) = if size == 0 {
            |manifest| (manifest.predecessor_log, manifest.predecessor_size) = (Hash32([1; 32]), 0)
        } else {
            |manifest| (manifest.predecessor_log, manifest.predecessor_size) = (Hash32([1; 32]), 7)
        };
        let bundle = forge.bundle(&Lie { manifest, ..Lie::default() });
        let mut facts = Facts::honest(&bundle);
        facts.registry.as_mut().unwrap().predecessor_anchored = anchored;
        let (verdict, verified) = verify_bundle(&bundle, &forge.policy(), facts.as_chain_facts(), &K256);
        assert!(verified.is_some(), "it refuses nothing: {:?}", verdict.refused());
        verdict.not_proven().iter().find(|line| line.starts_with("that this log continues")).cloned()
    };
    assert_eq!((told(7, Some(7)), told(7, None)), (None, None));
    assert!(told(7, Some(9)).is_some_and(|line| line.contains("the first 7 of 9 receipts")));
    assert!(told(0, Some(9)).is_some_and(|line| line.contains("the first 0 of 9 receipts")));
    assert!(told(0, None).is_some_and(|line| line.contains("none of its receipts")));
    // It never anchored: there was nothing to name.
    assert_eq!(told(0, Some(0)), None);
}

#[test]
fn a_manifest_that_does_not_follow_from_its_terms_is_refused_by_the_name_of_its_field() {
    let forge = Forge::new(fresh_hypervisor("fields"));
    type Change = (&'static str, fn(&mut Manifest));
    let changes: [Change; 8] = [
        ("operator", |manifest| manifest.operator = Address([1; 20])),
        ("payee", |manifest| manifest.payee = Address([1; 20])),
        ("registry", |manifest| manifest.registry = Address([1; 20])),
        ("anchor chain", |manifest| manifest.anchor_chain_id = 1),
        ("contracts", |manifest| manifest.contracts_hash = Hash32([1; 32])),
        ("models", |manifest| manifest.model_set_root = Hash32([1; 32])),
        ("prices", |manifest| manifest.price_table_hash = Hash32([1; 32])),
        ("further keys", |manifest| manifest.keys_hash = Hash32([1; 32])),
    ];
    for (name, manifest) in changes {
        let evidence = forge.evidence(&Lie { manifest, ..Lie::default() });
        let (verdict, enclave) = verify_evidence(&evidence, &forge.policy(), Moment::OwnTime, &K256);
        let refused = verdict.refused().unwrap_or_else(|| panic!("{name} is believed"));
        let named = refused.expected.starts_with(name) && refused.got.starts_with(name) && refused.expected != refused.got;
        assert!(refused.id == "evidence.manifest" && named && enclave.is_none(), "{name}: {refused:?}");
    }
}

#[test]
fn names_are_unique_and_shared_files_are_equal() {
    let forge = Forge::new(fresh_hypervisor("names"));
    let (mut names, mut files) = (BTreeMap::new(), BTreeMap::new());
    for case in cases::all(&forge, &Forge::new(fresh_hypervisor("other"))) {
        assert!(names.insert(case.name, ()).is_none(), "{} twice", case.name);
        assert_eq!(files.entry(case.file).or_insert_with(|| case.bytes.clone()), &case.bytes, "{}", case.name);
    }
}

#[test]
fn the_deterministic_files_on_disk_are_the_generated_ones() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors");
    for (name, content) in flat::all() {
        let path = dir.join(format!("{name}.json"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let same = text == flat::text(&content);
        assert!(same, "{name}.json differs: cargo run --release -p candor-testkit --bin vectors -- vectors");
    }
}
