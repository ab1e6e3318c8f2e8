//! The deterministic vectors: digests, commitments and proofs, for readers in Rust, Solidity and TypeScript.
//!
//! Each file is `{"cases": […], "rejects": […]}`. A case of `cases` is right in every key (`inclusion` and `consistency` also hold wrong
//! proofs there, with `valid: false`, because the contracts read one list). A case of `rejects` is wrong, and `refusedBy` names the check
//! that must say so; `parse` means that the reader must. Shapes: vectors/README.md and contracts/README.md.
//!
//! Invariant: no clock, no randomness; the same bytes in every run.

mod commitments;
mod digests;
mod proofs;
mod recovery;
mod terms;

use candor_verify::bytes::{Address, Hash32, to_hex};
use serde_json::{Value, json};

/// A file: its name without `.json`, and its content.
pub type File = (&'static str, Value);

/// Every file.
#[must_use]
pub fn all() -> Vec<File> {
    [digests::files(), terms::files(), proofs::files(), commitments::files(), recovery::files()].concat()
}

/// The text of a file: one case per line.
#[must_use]
pub fn text(content: &Value) -> String {
    let list = |key: &str| content[key].as_array().cloned().unwrap_or_default();
    let lines = |items: Vec<Value>| items.iter().map(|item| format!("    {item}")).collect::<Vec<_>>().join(",\n");
    let parts = ["cases", "rejects"].map(|key| (key, list(key)));
    let parts = parts.into_iter().filter(|(key, items)| *key == "cases" || !items.is_empty());
    let parts: Vec<_> = parts.map(|(key, items)| format!("  \"{key}\": [\n{}\n  ]", lines(items))).collect();
    format!("{{\n{}\n}}\n", parts.join(",\n"))
}

fn file(name: &'static str, cases: Vec<Value>, rejects: Vec<Value>) -> File {
    (name, json!({ "cases": cases, "rejects": rejects }))
}

/// A number as the readers want it: an integer, or a decimal string above 2^53 − 1.
fn number(value: u64) -> Value {
    if value < 1 << 53 { json!(value) } else { json!(value.to_string()) }
}

fn hex(bytes: &[u8]) -> Value {
    json!(to_hex(bytes))
}

fn hash(value: &Hash32) -> Value {
    hex(&value.0)
}

fn address(value: &Address) -> Value {
    hex(&value.0)
}

fn hashes(values: &[Hash32]) -> Value {
    values.iter().map(hash).collect()
}

/// A hash whose bytes are all `byte`.
fn h(byte: u8) -> Hash32 {
    Hash32([byte; 32])
}

/// An address whose bytes are all `byte`.
fn a(byte: u8) -> Address {
    Address([byte; 20])
}
