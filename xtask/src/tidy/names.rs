//! One name, one type: who searches for a public type finds one, and two crates do not mean different things by one word.
//!
//! A name that several types have is listed with its crates and the reason. Types that a macro makes are not seen, and those of programs
//! and tests are not looked at.

use std::collections::BTreeMap;

use super::{Report, Tree};

/// A name that several public types have.
struct Shared {
    name: &'static str,
    /// Their crates, in the order of their files.
    crates: &'static [&'static str],
    reason: &'static str,
}

const SHARED: &[Shared] = &[
    Shared { name: "Action", crates: &["log", "x402"], reason: "what a core wants done; no shell runs both cores" },
    Shared { name: "Candidate", crates: &["client", "x402"], reason: "an enclave that may be asked; an offer that may be meant" },
    Shared { name: "CborError", crates: &["verify", "verify"], reason: "of our encoding; of a TEE vendor's document" },
    Shared { name: "ChainError", crates: &["chain", "devchain"], reason: "a chain that fails us; a chain that refuses" },
    Shared { name: "Check", crates: &["log", "verify"], reason: "a row of a report about a log; a row of a verdict" },
    Shared { name: "Config", crates: &["devchain", "enclave", "engine", "log"], reason: "of the crate; named with it where two meet" },
    Shared { name: "Decoding", crates: &["engine", "verify"], reason: "one record; the engine stands on nothing of ours" },
    Shared { name: "Event", crates: &["log", "x402"], reason: "what a core is told; no shell runs both cores" },
    Shared { name: "Facts", crates: &["client", "testkit"], reason: "of the chain about a bundle: asked for; made up" },
    Shared { name: "Freshness", crates: &["verify", "verify"], reason: "what fresh means to a caller; what a manifest's tag is made of" },
    Shared { name: "Head", crates: &["chain", "engine"], reason: "of a chain; of an answer. No crate names both" },
    Shared { name: "Model", crates: &["engine", "verify"], reason: "weights; an entry of operator terms" },
    Shared { name: "Outcome", crates: &["log", "verify", "x402"], reason: "how a check, an answer or verdict, a settlement ended" },
    Shared { name: "PayerState", crates: &["chain", "link"], reason: "one record; neither crate may use the other" },
    Shared { name: "Progress", crates: &["client", "x402"], reason: "of an answer; of a settlement" },
    Shared { name: "Reader", crates: &["verify", "verify"], reason: "of our encoding; of a TEE vendor's document" },
    Shared { name: "Refused", crates: &["link", "log"], reason: "a request of the link; a ticket of the sequencer" },
    Shared { name: "Reply", crates: &["devchain", "testhttp"], reason: "what the chain gives to its door; what a test's client got" },
    Shared { name: "Request", crates: &["devtee", "verify"], reason: "for a document; for an answer" },
    Shared { name: "Role", crates: &["engine", "link"], reason: "who speaks in a chat; what a connection is for" },
    Shared { name: "Step", crates: &["engine", "log", "verify"], reason: "a token; of the check of a log; of the check of a bundle" },
    Shared { name: "StoreError", crates: &["host", "log", "x402"], reason: "each store has a contract of its own" },
    Shared { name: "Verdict", crates: &["chain", "verify"], reason: "what a contract's attestors sign; what the verifier says" },
];

pub(super) fn check(tree: &Tree, report: &mut Report) {
    let types = public_types(tree);
    for (name, places) in types.iter().filter(|(_, places)| 1 < places.len()) {
        let crates: Vec<&str> = places.iter().map(|place| place.in_crate).collect();
        let shared = SHARED.iter().find(|shared| shared.name == *name);
        if shared.is_some_and(|shared| shared.crates == crates.as_slice()) {
            continue;
        }
        let all: Vec<String> = places.iter().map(|place| format!("{}:{}", place.path, place.line)).collect();
        let known = shared.map_or_else(String::new, |shared| format!(" (known in {:?}: {})", shared.crates, shared.reason));
        let message = format!("{name} is {} public types{known}: rename, or say why in xtask/src/tidy/names.rs", places.len());
        report.error("names", all.join(", "), message);
    }
    for shared in SHARED.iter().filter(|shared| types.get(shared.name).map_or(0, Vec::len) < 2) {
        report.error("names", "xtask/src/tidy/names.rs", format!("{} is no longer shared: remove its line", shared.name));
    }
}

/// Where a public type is defined.
struct Place<'a> {
    in_crate: &'a str,
    path: &'a str,
    line: usize,
}

fn public_types(tree: &Tree) -> BTreeMap<&str, Vec<Place<'_>>> {
    let mut types: BTreeMap<&str, Vec<Place<'_>>> = BTreeMap::new();
    let sources = tree.files.iter().filter(|file| file.extension() == "rs" && file.path.contains("/src/") && !file.is_test());
    for file in sources {
        let Some(in_crate) = file.in_crate() else { continue };
        for (line, text) in file.code() {
            if let Some(name) = public_type(text) {
                types.entry(name).or_default().push(Place { in_crate, path: &file.path, line });
            }
        }
    }
    types
}

/// The name of the public type whose definition begins on this line.
fn public_type(line: &str) -> Option<&str> {
    let item = line.trim_start().strip_prefix("pub ")?;
    let rest = ["struct ", "enum ", "trait "].iter().find_map(|kind| item.strip_prefix(*kind))?;
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
    let name = &rest[..end];
    // `$name` in a macro.
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::{SHARED, check, public_type, public_types};
    use crate::tidy::{File, Report, Tree};

    fn tree(files: &[(&str, &str)]) -> Tree {
        let file = |(path, text): &(&str, &str)| File { path: (*path).to_string(), text: (*text).to_string() };
        Tree { files: files.iter().map(file).collect() }
    }

    #[test]
    fn public_types_are_found_and_nothing_else() {
        for (line, name) in
            [("pub struct A;", "A"), ("pub enum B2<'a> {", "B2"), ("    pub trait C_d: E {", "C_d"), ("pub struct F(u8);", "F")]
        {
            assert_eq!(public_type(line), Some(name), "{line}");
        }
        for line in ["pub(crate) struct A;", "struct A;", "pub fn a() {}", "pub struct $name(u8);", "pub type A = u8;", "pub structure: A,"]
        {
            assert_eq!(public_type(line), None, "{line}");
        }
    }

    #[test]
    fn a_name_of_two_types_is_an_error_and_those_of_tests_do_not_count() {
        // Nothing that is listed is shared in this tree, so each line of the list is an error too.
        let errors = |files: &[(&str, &str)]| {
            let mut report = Report::default();
            check(&tree(files), &mut report);
            report.errors - SHARED.len()
        };
        let ours = ("crates/link/src/a.rs", "pub struct Once;\npub struct Twice;\n");
        assert_eq!(errors(&[ours, ("crates/log/tests/b.rs", "pub struct Twice;"), ("xtask/src/c.rs", "pub struct Twice;")]), 0);
        assert_eq!(errors(&[ours, ("crates/log/src/b.rs", "#[cfg(test)]\nmod tests {\n    pub struct Twice;\n}")]), 0);
        assert_eq!(errors(&[ours, ("crates/log/src/b.rs", "pub enum Twice {}")]), 1);
        assert_eq!(errors(&[ours, ("crates/link/src/b.rs", "pub trait Twice {}")]), 1, "also within a crate");
    }

    #[test]
    fn a_listed_name_may_have_the_listed_crates_and_no_other() {
        let both = [("crates/log/src/a.rs", "pub enum Action {}"), ("crates/x402/src/a.rs", "pub enum Action {}")];
        let errors = |files: &[(&str, &str)]| {
            let mut report = Report::default();
            check(&tree(files), &mut report);
            report.errors
        };
        assert_eq!(errors(&both), SHARED.len() - 1);
        assert_eq!(errors(&both[..1]), SHARED.len());
        let three = [both[0], both[1], ("crates/x402/src/b.rs", "pub enum Action {}")];
        assert_eq!((errors(&three), public_types(&tree(&three))["Action"].len()), (SHARED.len(), 3));
    }
}
