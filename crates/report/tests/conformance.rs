//! Every case of `vectors/` through the judge of the conformance contract: each ends as its file says, and no kind is missing.
//!
//! The same cases go through `candor conformance` and, in `tests/interop/`, through the second verifier.

use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use candor_report::conformance::{CaseEnd, Suite, Surroundings, judge};
use serde_json::{Value, json};

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors")
}

fn file(folder: &str, name: &str) -> Option<Vec<u8>> {
    fs::read(vectors().join(folder).join(name)).ok()
}

fn unseal(key: &[u8; 32], nonce: [u8; 12], aad: &[u8], chunk: &[u8]) -> Option<Vec<u8>> {
    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).ok()?);
    let mut chunk = chunk.to_vec();
    Some(key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut chunk).ok()?.to_vec())
}

const AROUND: Surroundings<'static> = Surroundings { file: &file, unseal: &unseal };

fn read(path: PathBuf) -> Value {
    serde_json::from_slice(&fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).expect("JSON")
}

/// Every file of the folder.
fn suites() -> Vec<Suite> {
    let flat = fs::read_dir(vectors()).expect("vectors").map(|entry| entry.expect("an entry").path());
    let flat = flat.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let flat = flat.map(|path| (path.file_stem().expect("a name").to_string_lossy().into_owned(), path));
    let whole = Suite::WHOLE.iter().map(|(kind, folder, name)| ((*kind).to_owned(), vectors().join(folder).join(name)));
    flat.chain(whole).map(|(kind, path)| Suite::read(&kind, &read(path), &file).unwrap_or_else(|error| panic!("{kind}: {error}"))).collect()
}

#[test]
fn every_case_of_every_file_ends_as_it_says() {
    let (mut wrong, mut ends, mut total) = (Vec::new(), [0; 3], 0);
    for suite in suites() {
        for case in &suite.cases {
            let ruling = judge(&case.request, AROUND).unwrap_or_else(|error| panic!("{}: {}: {error}", suite.kind, case.name));
            let answer = ruling.to_json();
            if !case.expected.is(&answer) {
                wrong.push(format!("{}: {}: expected {}, got {answer}", suite.kind, case.name, case.expected.to_json()));
            }
            ends[CaseEnd::ALL.iter().position(|ending| *ending == ruling.ending).expect("one of them")] += 1;
            total += 1;
        }
    }
    assert!(wrong.is_empty(), "{} of {total}:\n{}", wrong.len(), wrong.join("\n"));
    let [accepted, refused, open] = ends;
    assert!(150 < accepted && 400 < refused && 10 < open, "the folder lost its cases: {ends:?}");
}

const SPEC: &str = include_str!("../../../spec/conformance.md");

#[test]
fn the_page_lists_every_kind_with_every_check_that_can_refuse_it() {
    let suites = suites();
    let rows: Vec<&str> = SPEC.lines().filter(|line| line.starts_with("| `") && line.matches(" | ").count() == 2).collect();
    assert_eq!(rows.len(), suites.len(), "a kind has no row, or a row no kind");
    for suite in suites {
        let row = rows.iter().find(|row| row.starts_with(&format!("| `{}` |", suite.kind)));
        let row = row.unwrap_or_else(|| panic!("{} has no row", suite.kind));
        if row.contains("the check of") || row.contains("likewise") {
            continue;
        }
        for check in suite.cases.iter().filter_map(|case| case.expected.check.as_deref()) {
            assert!(row.contains(&format!("`{check}`")), "{row}: no {check}");
        }
    }
}

#[test]
fn every_must_of_the_page_has_its_tests() {
    let tests = [include_str!("conformance.rs"), include_str!("../../cli/tests/it/conformance.rs")];
    let rows: Vec<&str> = SPEC.lines().filter(|line| line.starts_with("| CONF-")).collect();
    for (number, row) in (1..).zip(&rows) {
        assert!(row.starts_with(&format!("| CONF-{number} |")) && SPEC.contains(&format!("**CONF-{number}**")), "{row}");
        for name in row.split('`').skip(1).step_by(2) {
            assert!(tests.iter().any(|source| source.contains(&format!("fn {name}("))), "{row}: no test {name}");
        }
    }
    assert!(!SPEC.contains(&format!("**CONF-{}**", rows.len() + 1)), "a rule without a row");
    assert_eq!(rows.len(), SPEC.matches("**CONF-").count());
}

#[test]
fn the_example_of_the_page_is_what_is_answered() {
    let example: String = SPEC.split("```").nth(1).expect("an example").lines().map(|line| format!("{}\n", line.trim())).collect();
    let asked = example.split("> {\"kind\"").skip(1).map(|text| {
        let request = text.split('<').next().unwrap_or_default().replace("> ", "");
        serde_json::from_str::<Value>(&format!("{{\"kind\"{request}")).unwrap_or_else(|error| panic!("{request}: {error}"))
    });
    let ends: Vec<Value> = asked.map(|request| judge(&request, AROUND).expect("a case").to_json()).collect();
    assert_eq!(ends.len(), 2);
    assert_eq!(ends[0], json!({"verdict": "accept", "check": null}));
    assert_eq!((&ends[1]["verdict"], &ends[1]["check"]), (&json!("refuse"), &json!("receipt.id")));
}

#[test]
fn what_a_case_says_of_its_end_changes_nothing_and_is_not_asked() {
    for suite in suites() {
        let case = suite.cases.first().expect("a case");
        let asked = case.request["case"].as_object().expect("an object");
        let told = ["name", "file", "refusedBy", "valid", "expect", "log_level", "grades"];
        assert!(told.iter().all(|key| !asked.contains_key(*key)), "{}", suite.kind);
        let mut told_otherwise = case.request.clone();
        for (key, value) in [
            ("refusedBy", json!("parse")),
            ("valid", json!(false)),
            ("expect", json!("x")),
            ("log_level", json!("x")),
            ("grades", json!("x")),
        ] {
            told_otherwise["case"][key] = value;
        }
        assert_eq!(judge(&case.request, AROUND), judge(&told_otherwise, AROUND), "{}", suite.kind);
    }
}

#[test]
fn what_is_no_case_is_neither_accepted_nor_refused() {
    let messages = [
        (json!({"kind": "receipt"}), "expected {\"kind\""),
        (json!([]), "expected {\"kind\""),
        (json!({"kind": "no-such", "case": {}}), "is not known"),
        (json!({"kind": "receipt", "case": {}}), "must have \"encoded\""),
        (json!({"kind": "receipt", "case": {"encoded": "12"}}), "must be bytes as 0x hex"),
        (json!({"kind": "bundle", "case": {"policy": {}, "chain_facts": {}, "file": "x"}}), "must have"),
        (json!({"kind": "key-end", "case": {"act": "pause"}}), "must be retire or revoke"),
        (json!({"kind": "attestation", "case": {"bytes": "0x", "edits": [{"at": 1, "remove": 1, "insert": ""}]}}), "goes beyond"),
    ];
    for (request, message) in messages {
        let error = judge(&request, AROUND).expect_err("no case");
        assert!(error.message.contains(message), "{request}: {error}");
        assert_eq!(error.is_unknown_kind, message == "is not known");
    }
}

#[test]
fn a_policy_with_a_field_too_many_or_too_few_is_no_policy() {
    let bundles = suites().into_iter().find(|suite| suite.kind == "bundle").expect("bundles");
    let honest = &bundles.cases[0].request;
    let (mut more, mut less) = (honest.clone(), honest.clone());
    more["case"]["policy"]["root"] = json!([]);
    less["case"]["policy"].as_object_mut().expect("an object").remove("models");
    for (request, message) in [(more, "it has \"root\""), (less, "must have \"models\"")] {
        assert!(judge(&request, AROUND).expect_err("no case").message.contains(message));
    }
}

#[test]
fn a_proof_without_the_evidence_that_it_names_and_half_a_copy_are_no_case() {
    let proofs = suites().into_iter().find(|suite| suite.kind == "proof").expect("proofs");
    let naming = &proofs.cases.iter().find(|case| case.name == "proof_that_names_its_evidence").expect("it").request;
    for (key, value, message) in [
        ("evidence", Value::Null, "names evidence"),
        ("copy", json!({"body": "0x"}), "must have \"frames\""),
        ("copy", json!({"body": "0x", "frames": [], "stream": "0x"}), "it has \"stream\""),
    ] {
        let mut request = naming.clone();
        request["case"][key] = value;
        let error = judge(&request, AROUND).expect_err("no case");
        assert!(error.message.contains(message), "{error}");
    }
}
