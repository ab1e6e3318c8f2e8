//! `spec/contracts.md` against the contracts: every function, event and error of `contracts/artifacts/` is on the page, with the selector or
//! topic that follows from what the page itself says of its types, and nothing else is; every type hash is that of its text, and every text
//! stands in the source that the row names.
//!
//! Whoever adds a function to a contract is told here which row is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use candor_verify::hash::keccak256;
use candor_verify::terms::OperatorTerms;
use serde_json::Value;

fn root(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(root(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn page() -> String {
    read("spec/contracts.md")
}

/// Members of the structs of §2, by name.
type Structs = BTreeMap<String, String>;

fn structs(page: &str) -> Structs {
    let section = page.split("\n## 2. ").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("§2");
    let texts = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(text, _)| text));
    texts.filter_map(|text| text.strip_suffix(')')?.split_once('(')).map(|(name, members)| (name.to_owned(), members.to_owned())).collect()
}

/// Types of a list of members, each struct written out.
fn canonical(members: &str, structs: &Structs) -> String {
    let types = members.split(", ").filter(|member| !member.is_empty()).map(|member| {
        let named = member.split(' ').next().unwrap_or_default();
        let (base, list) = named.split_at(named.find('[').unwrap_or(named.len()));
        match structs.get(base) {
            Some(inner) => format!("({}){list}", canonical(inner, structs)),
            None => named.to_owned(),
        }
    });
    types.collect::<Vec<_>>().join(",")
}

fn keccak(text: &str) -> String {
    keccak256(&[text.as_bytes()]).to_string()
}

/// One thing that a contract has: its signature with everything that a caller must know of it.
type Entry = String;

/// What the ABI says.
fn of_abi(contract: &str) -> BTreeSet<Entry> {
    let artifact: Value = serde_json::from_str(&read(&format!("contracts/artifacts/{contract}.json"))).expect("JSON");
    let entries = artifact["abi"].as_array().expect("an ABI").iter();
    let entries = entries.filter(|entry| ["function", "event", "error"].contains(&entry["type"].as_str().unwrap_or_default()));
    entries
        .map(|entry| {
            let kind = entry["type"].as_str().expect("a kind");
            let list = |key: &str| entry[key].as_array().cloned().unwrap_or_default();
            let inputs: Vec<String> = list("inputs").iter().map(type_of).collect();
            let signature = format!("{}({})", entry["name"].as_str().expect("a name"), inputs.join(","));
            let outputs: Vec<String> = list("outputs").iter().map(type_of).collect();
            let indexed: Vec<bool> = list("inputs").iter().map(|input| input["indexed"] == true).collect();
            let mutability = entry["stateMutability"].as_str().filter(|word| ["view", "pure"].contains(word)).unwrap_or_default();
            format!("{kind} {signature} -> {} {indexed:?} {mutability} {}", outputs.join(","), id(kind, &signature))
        })
        .collect()
}

fn type_of(value: &Value) -> String {
    let text = value["type"].as_str().expect("a type");
    match text.strip_prefix("tuple") {
        Some(list) => {
            format!("({}){list}", value["components"].as_array().expect("members").iter().map(type_of).collect::<Vec<_>>().join(","))
        }
        None => text.to_owned(),
    }
}

fn id(kind: &str, signature: &str) -> String {
    let hash = keccak(signature);
    if kind == "event" { hash } else { hash[..10].to_owned() }
}

/// What the section of a contract says. The id is the one that is written there.
fn of_page(section: &str, structs: &Structs) -> BTreeSet<Entry> {
    let (mut kind, mut entries) = ("", BTreeSet::new());
    for line in section.lines() {
        for word in ["function", "event", "error"] {
            if line.starts_with(&format!("| {word} |")) {
                kind = word;
            }
        }
        let Some(row) = line.strip_prefix("| `") else { continue };
        let cells: Vec<&str> = row.split(" | ").collect();
        let (call, outputs) = cells[0].split_once("` → `(").unwrap_or((cells[0], ""));
        let (name, members) = call.trim_end_matches('`').strip_suffix(')').and_then(|call| call.split_once('(')).expect("a call");
        let signature = format!("{name}({})", canonical(members, structs));
        let outputs = canonical(outputs.trim_end_matches(")`"), structs);
        let indexed: Vec<bool> = members.split(", ").filter(|one| !one.is_empty()).map(|one| one.contains(" indexed")).collect();
        let mutability = cells.get(2).copied().filter(|word| kind == "function" && ["view", "pure"].contains(word)).unwrap_or_default();
        let written = cells[1].trim_matches('`');
        entries.insert(format!("{kind} {signature} -> {outputs} {indexed:?} {mutability} {written}"));
    }
    entries
}

#[test]
fn every_function_event_and_error_is_on_the_page_with_its_selector_and_nothing_else_is() {
    let page = page();
    let structs = structs(&page);
    assert!(20 < structs.len());
    let artifacts = fs::read_dir(root("contracts/artifacts")).expect("artifacts");
    let contracts = artifacts.map(|entry| entry.expect("an entry").path().file_stem().expect("a name").to_string_lossy().into_owned());
    let (mut wrong, mut total) = (Vec::new(), 0);
    for contract in contracts {
        let Some((_, rest)) = page.split_once(&format!(". `{contract}`\n")) else {
            panic!("spec/contracts.md has no section of {contract}")
        };
        let said = of_page(rest.split("\n## ").next().expect("a section"), &structs);
        let is = of_abi(&contract);
        total += is.len();
        wrong.extend(is.difference(&said).map(|entry| format!("{contract}: not on the page: {entry}")));
        wrong.extend(said.difference(&is).map(|entry| format!("{contract}: not in the ABI: {entry}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(250 < total, "{total}");
}

/// The rows of the table of §1 and the texts below it.
fn signed(page: &str) -> Vec<(Vec<String>, String)> {
    let section = page.split("\n## 1. ").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("§1");
    let rows = section.lines().filter(|line| line.starts_with("| ") && line.matches(" | ").count() == 5 && !line.starts_with("| type |"));
    let rows: Vec<Vec<String>> = rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect();
    let texts: Vec<String> = section.split("```\n").nth(1).expect("texts").lines().map(str::to_owned).collect();
    assert_eq!(rows.len(), texts.len());
    rows.into_iter().zip(texts).collect()
}

#[test]
fn every_type_hash_is_of_its_text_and_every_text_is_in_its_source() {
    let page = page();
    for (row, text) in signed(&page) {
        let name = row[0].split(' ').next().expect("a name");
        assert!(text.starts_with(&format!("{name}(")), "{name}: {text}");
        assert_eq!(row[3], format!("`{}`", keccak(&text)), "{name}");
        let Some((_, path)) = row[5].split_once("](../") else {
            assert!(row[2].contains("not in this version"), "{name} has no source");
            continue;
        };
        let source = read(path.trim_end_matches(')'));
        match name {
            // Put together from its parts.
            "OperatorTerms" => assert_eq!(text, OperatorTerms::default().message().body().type_string()),
            _ => assert!(source.contains(&format!("\"{text}\"")) || in_pieces(&source).contains(&text), "{name}: not in {path}"),
        }
    }
}

/// A source with the strings that it joins from two lines joined.
fn in_pieces(source: &str) -> String {
    source.split('"').map(str::trim).filter(|piece| !piece.is_empty()).collect()
}

#[test]
fn every_type_that_our_code_signs_is_in_the_table() {
    let named: BTreeSet<String> = signed(&page()).into_iter().map(|(_, text)| text).collect();
    let mut seen = BTreeSet::new();
    for path in ["receipt", "offer", "checkpoint", "manifest", "refusal", "payment", "registration"] {
        let source = read(&format!("crates/verify/src/{path}.rs"));
        // Whatever is a struct type and is signed, not only a part of one.
        for piece in source.split('"').filter(|piece| piece.ends_with(')')) {
            let is_type = piece.split_once('(').is_some_and(|(name, rest)| {
                let is_name =
                    name.chars().next().is_some_and(|c| c.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_alphanumeric());
                is_name && ["address ", "bytes32 ", "string ", "uint"].iter().any(|word| rest.starts_with(word))
            });
            if is_type && !["Money(", "Work(", "Key(", "EIP712Domain("].iter().any(|part| piece.starts_with(part)) {
                assert!(named.iter().any(|text| text.starts_with(piece)), "{path}.rs: {piece} is not in the table");
                seen.insert(piece.to_owned());
            }
        }
    }
    assert!(9 < seen.len(), "{seen:?}");
}

#[test]
fn the_domains_are_those_of_the_code() {
    let page = page();
    assert!(page.contains(&candor_verify::eip712::candor_domain().to_string()));
    for line in page.lines().filter(|line| line.contains("`EIP712Domain(")) {
        let (text, rest) = line.split_once("`EIP712Domain(").and_then(|(_, rest)| rest.split_once("` `")).expect("a domain");
        assert!(rest.starts_with(&keccak(&format!("EIP712Domain({text}"))), "{line}");
    }
    // The selector of the example.
    assert_eq!(&keccak("newest(bytes32)")[..10], "0x99f29055");
}
