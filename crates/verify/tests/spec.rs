//! The specification against the code: what `spec/` says about steps, sections, tags, vectors and bytes is so.
//!
//! Documents of other crates (log, link, det/1) are held by their own tests.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use candor_verify::bytes::to_hex;
use candor_verify::check::verify_bundle;
use candor_verify::eip712::{K256, candor_domain};
use candor_verify::step::Step;
use candor_verify::verdict::Status;
use candor_verify::{bundle::Bundle, tags};
use serde_json::Value;
use support::{json, read};

const DOCUMENTS: [&str; 9] = [
    "terms-and-manifest.md",
    "attestation.md",
    "receipt.md",
    "transcript.md",
    "payment.md",
    "recovery.md",
    "policy.md",
    "bundle.md",
    "domain-tags.md",
];

fn spec(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../spec").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn each_step_names_a_section_that_exists() {
    for step in Step::BUNDLE.iter().chain(Step::EVIDENCE) {
        let (document, section) = step.spec().split_once(" §").unwrap_or_else(|| panic!("{}: {}", step.id(), step.spec()));
        let heading = format!("\n## {section}. ");
        assert!(spec(document).contains(&heading), "{} names {}", step.id(), step.spec());
    }
}

#[test]
fn the_table_of_steps_is_the_codes() {
    let text = spec("bundle.md");
    let rows =
        text.lines().filter(|line| line.starts_with("| ") && line.split('|').nth(1).is_some_and(|cell| cell.trim().parse::<u8>().is_ok()));
    let expected = Step::BUNDLE.iter().zip(1..).map(|(step, n)| format!("| {n} | `{}` | {} | {} |", step.id(), step.title(), step.spec()));
    assert_eq!(rows.map(str::to_owned).collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[test]
fn each_must_has_an_accepting_and_a_rejecting_vector() {
    let mut files = BTreeMap::new();
    for document in DOCUMENTS {
        let text = spec(document);
        let defined: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("**")?.split_once("** ").map(|(id, _)| id)).collect();
        let defined: Vec<&str> = defined.into_iter().filter(|id| id.chars().last().is_some_and(|c| c.is_ascii_digit())).collect();
        let rows: Vec<Vec<&str>> = text
            .lines()
            .filter(|line| defined.iter().any(|id| line.starts_with(&format!("| {id} |"))))
            .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
            .collect();
        assert!(!defined.is_empty(), "{document} has no rules");
        assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), defined, "{document}: rules and rows");
        for row in rows {
            for (column, accepting) in [(1, true), (2, false)] {
                let named: Vec<&str> = row[column].split('`').skip(1).step_by(2).collect();
                assert!(!named.is_empty(), "{} has no vector in column {column}", row[0]);
                for name in named {
                    let got = is_accepting(&mut files, name).unwrap_or_else(|| panic!("{}: no vector {name}", row[0]));
                    assert_eq!(got, accepting, "{}: {name}", row[0]);
                }
            }
        }
    }
}

/// Whether `file: case` is an accepting case; `None` if there is no such case.
fn is_accepting(files: &mut BTreeMap<String, Value>, name: &str) -> Option<bool> {
    let (file, case) = name.split_once(": ")?;
    let content = files.entry(file.to_owned()).or_insert_with(|| json(file));
    let find = |list: &Value| list.as_array()?.iter().find(|entry| entry["name"] == case).cloned();
    if content.is_array() {
        let expect = find(content)?["expect"].clone();
        return Some(expect == "verified" || expect == "accept");
    }
    match find(&content["cases"]) {
        Some(case) => Some(case["valid"] != Value::Bool(false)),
        None => find(&content["rejects"]).map(|_| false),
    }
}

#[test]
fn each_must_of_http_names_tests_that_exist() {
    let text = spec("http.md");
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| HTTP-")).collect();
    let tests = every_test();
    for (number, row) in (1..).zip(&rows) {
        assert!(row.starts_with(&format!("| HTTP-{number} |")), "rows ascend: {row}");
        assert!(text.contains(&format!("**HTTP-{number}** ")), "HTTP-{number} has a row and no rule");
        let named: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "{row}");
        for name in named {
            assert!(tests.contains(name), "HTTP-{number}: no test {name}");
        }
    }
    assert_eq!(text.matches("**HTTP-").count(), rows.len(), "a rule without a row");
    assert!(28 <= rows.len());
}

/// Name of every test of every crate: they are in the crates that speak HTTP, and one file of theirs is not worth a list here.
fn every_test() -> BTreeSet<String> {
    let crates = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let (mut folders, mut tests) = (vec![crates], BTreeSet::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("text");
                // Between the attribute and the function there may be further attributes.
                let mut after_attribute = false;
                for line in text.lines().map(str::trim_start) {
                    let name = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn ")).and_then(|rest| rest.split_once('('));
                    match name {
                        Some((name, _)) if after_attribute => drop(tests.insert(name.to_owned())),
                        _ => {}
                    }
                    let is_attribute = line.starts_with("#[test]") || line.starts_with("#[tokio::test");
                    after_attribute = is_attribute || (after_attribute && line.starts_with("#["));
                }
            }
        }
    }
    tests
}

#[test]
fn each_long_hex_string_is_in_a_vector() {
    let mut haystack = to_hex(&candor_domain().0) + &to_hex(&read("bundle/honest.candor"));
    for entry in fs::read_dir(support::path("")).expect("vectors") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "json") {
            haystack += &fs::read_to_string(path).expect("text");
        }
    }
    let mut seen = 0;
    for document in DOCUMENTS.into_iter().chain(["README.md"]) {
        let text = spec(document);
        for word in text.split(|c: char| !c.is_ascii_alphanumeric()) {
            let digits = word.strip_prefix("0x").unwrap_or(word);
            if 16 <= digits.len() && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                assert!(haystack.contains(digits), "{document}: {word} is in no vector");
                seen += 1;
            }
        }
    }
    assert!(50 < seen, "{seen}");
    assert!(spec("README.md").contains(&candor_domain().to_string()), "the domain separator is {}", candor_domain());
}

#[test]
fn the_listed_tags_are_the_codes() {
    let text = spec("domain-tags.md");
    let listed: Vec<&[u8]> =
        text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |")).map(|(tag, _)| tag.as_bytes()).collect();
    assert_eq!(listed.len(), tags::ALL.len());
    tags::ALL.iter().for_each(|tag| assert!(listed.contains(tag), "{:?}", std::str::from_utf8(tag)));
}

#[test]
fn the_verdict_on_the_example_is_the_one_told() {
    let case =
        json("bundle/cases.json").as_array().and_then(|cases| cases.iter().find(|case| case["name"] == "honest").cloned()).expect("it");
    let bundle = Bundle::parse(&read("bundle/honest.candor")).expect("a bundle");
    let (verdict, _) = verify_bundle(&bundle, &support::policy(&case["policy"]), Default::default(), &K256);
    let count = |status| verdict.checks().iter().filter(|check| check.status == status).count();
    let told = format!("{} steps pass, {} are *not checked*", count(Status::Passed), count(Status::NotChecked));
    assert!(spec("bundle.md").contains(&told), "{told}");
}
