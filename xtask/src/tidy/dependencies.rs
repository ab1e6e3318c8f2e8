//! Code of others: what the enclave stands on, what is forbidden, under which licences, and what we carry twice.
//!
//! Two snapshots are committed and compared, so that a change of either is seen in a diff: `xtask/enclave-deps.txt` and
//! `xtask/duplicates.txt`. `cargo xtask tidy --bless` rewrites them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::metadata::Metadata;
use super::{Report, licence};
use crate::workspace::{Workspace, output};

/// More than a person can read through is no trusted computing base.
const MAX_ENCLAVE_CRATES: usize = 150;

/// The platform whose dependencies are counted: the one that images are built for.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// Nowhere in the product: one TLS stack, in Rust.
const FORBIDDEN: &[&str] = &["openssl", "openssl-sys", "native-tls", "hyper-tls", "tokio-native-tls"];

/// Not in the enclave: what parses much, or what could pretend to be hardware. A trailing `*` stands for any rest.
const FORBIDDEN_IN_ENCLAVE: &[&str] =
    &["alloy*", "revm*", "rusqlite", "libsqlite3-sys", "reqwest", "candor-chain", "candor-devchain", "candor-devtee", "candor-test*"];

/// Crates whose licence is accepted for this crate alone, and why.
const LICENCE_EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("fastrlp", "MPL-2.0", "copyleft by file, unchanged; in the lock file through a feature of ruint that is off"),
    ("webpki-root-certs", "CDLA-Permissive-2.0", "data, not code: a list of certificate authorities; not built on Linux"),
];

const ENCLAVE_SNAPSHOT: Snapshot = Snapshot {
    path: "xtask/enclave-deps.txt",
    header: "# Every crate that candor-enclave is built from on x86_64 Linux, macros included: its trusted computing base.\n\
             # Written by `cargo xtask tidy --bless`. A new line here needs a reason in the commit.\n",
};

const DUPLICATES_SNAPSHOT: Snapshot = Snapshot {
    path: "xtask/duplicates.txt",
    header: "# Crates of the product that are built in more than one incompatible version on x86_64 Linux.\n\
             # Written by `cargo xtask tidy --bless`. Fewer is better.\n",
};

pub(super) fn check(workspace: &Workspace, metadata: &Metadata, bless: bool, report: &mut Report) {
    licences(metadata, report);
    one_build(workspace, report);
    published_levels(workspace, report);
    match crates(workspace, &["--package", "candor-enclave", "--edges", "normal"]) {
        Ok(enclave) => {
            check_enclave(&enclave, report);
            let lines = enclave.iter().map(|(name, version)| format!("{name} {version}"));
            ENCLAVE_SNAPSHOT.compare(workspace, lines.collect(), bless, report);
        }
        Err(error) => report.error("enclave", ENCLAVE_SNAPSHOT.path, error),
    }
    match crates(workspace, &["--workspace", "--edges", "normal,build"]) {
        Ok(product) => {
            for (name, version) in product.iter().filter(|(name, _)| FORBIDDEN.contains(&name.as_str())) {
                report.error("forbidden", "Cargo.lock", format!("{name} {version}: TLS is rustls with aws-lc-rs, and nothing else"));
            }
            DUPLICATES_SNAPSHOT.compare(workspace, duplicates(&product), bless, report);
        }
        Err(error) => report.error("duplicates", DUPLICATES_SNAPSHOT.path, error),
    }
}

/// The demo builds the program, the tests build the workspace. Where a library of tests turns on a feature of a crate that the program is
/// built on, cargo would build that crate and all above it twice. `workspace-hack` turns the same feature on for the program.
fn one_build(workspace: &Workspace, report: &mut Report) {
    const PLACE: &str = "crates/workspace-hack/Cargo.toml";
    let demo = features(workspace, &["--package", "candor-cli", "--edges", "normal,build"]);
    let tests = features(workspace, &["--workspace", "--edges", "normal,build,dev"]);
    match (demo, tests) {
        (Ok(demo), Ok(tests)) => {
            for (name, of_demo) in &demo {
                let missing: Vec<&str> =
                    tests.get(name).into_iter().flat_map(|of_tests| of_tests.difference(of_demo)).map(String::as_str).collect();
                if !missing.is_empty() {
                    let message = format!("tests build {name} with {}, the demo without: name them there", missing.join(", "));
                    report.error("one build", PLACE, message);
                }
            }
        }
        (Err(error), _) | (_, Err(error)) => report.error("one build", PLACE, error),
    }
}

/// What is compiled faster here is published as fast as anything: each crate with a level of its own in `release` has one in `dist`, which inherits it.
fn published_levels(workspace: &Workspace, report: &mut Report) {
    const PLACE: &str = "Cargo.toml";
    let text = match fs::read_to_string(workspace.root.join(PLACE)) {
        Ok(text) => text,
        Err(error) => return report.error("published levels", PLACE, error.to_string()),
    };
    for name in unpublished(&text) {
        report.error("published levels", PLACE, format!("[profile.release.package.{name}] has no [profile.dist.package.{name}]"));
    }
}

/// Crates with a level in `release` and none in `dist`.
fn unpublished(text: &str) -> BTreeSet<&str> {
    let of = |profile: &str| -> BTreeSet<&str> {
        text.lines().filter_map(|line| line.trim().strip_prefix(profile)?.strip_suffix(']')).collect()
    };
    &of("[profile.release.package.") - &of("[profile.dist.package.")
}

/// Which features are on, by crate and version; whatever is built for macros and build scripts included.
fn features(workspace: &Workspace, selection: &[&str]) -> Result<BTreeMap<String, BTreeSet<String>>, String> {
    let mut command = workspace.cargo(["tree", "--locked", "--target", PLATFORM, "--prefix", "none", "--format", "{p}|{f}"]);
    command.args(selection);
    let mut out: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in output(&mut command)?.lines().filter(|line| !line.is_empty()) {
        let (package, features) = line.split_once('|').ok_or_else(|| format!("cargo tree printed {line:?}"))?;
        let features = features.trim_end_matches(" (*)");
        out.entry(package.to_string()).or_default().extend(features.split(',').filter(|name| !name.is_empty()).map(str::to_string));
    }
    Ok(out)
}

fn check_enclave(crates: &BTreeSet<(String, String)>, report: &mut Report) {
    if MAX_ENCLAVE_CRATES < crates.len() {
        let message = format!("the enclave is built from {} crates, at most {MAX_ENCLAVE_CRATES}", crates.len());
        report.error("enclave", "crates/enclave/Cargo.toml", message);
    }
    for (name, version) in crates {
        let forbidden = FORBIDDEN_IN_ENCLAVE.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == pattern,
        });
        if forbidden {
            report.error("forbidden", "crates/enclave/Cargo.toml", format!("{name} {version} must not be in the enclave"));
        }
    }
}

/// Over everything in the lock file, whether this platform builds it or not.
fn licences(metadata: &Metadata, report: &mut Report) {
    for package in metadata.packages.iter().filter(|package| !package.in_workspace) {
        let place = format!("{} {}", package.name, package.version);
        let Some(expression) = &package.licence else {
            report.error("licence", place, "its manifest names no licence");
            continue;
        };
        let exception = LICENCE_EXCEPTIONS.iter().any(|(name, licence, _)| *name == package.name && licence == expression);
        match licence::acceptable(expression) {
            Ok(true) => {}
            Ok(false) if exception => {}
            Ok(false) => report.error("licence", place, format!("{expression}: not on the list of xtask/src/tidy/licence.rs")),
            Err(error) => report.error("licence", place, error),
        }
    }
}

/// The crates that cargo builds for a selection, by name and version. Cargo's own tree knows which features are on; metadata does not.
fn crates(workspace: &Workspace, selection: &[&str]) -> Result<BTreeSet<(String, String)>, String> {
    let mut command = workspace.cargo(["tree", "--locked", "--target", PLATFORM, "--prefix", "none", "--format", "{p}"]);
    command.args(selection);
    let mut out = BTreeSet::new();
    for line in output(&mut command)?.lines().filter(|line| !line.is_empty()) {
        let mut words = line.split_whitespace();
        let (Some(name), Some(version)) = (words.next(), words.next().and_then(|word| word.strip_prefix('v'))) else {
            return Err(format!("cargo tree printed {line:?}"));
        };
        out.insert((name.to_string(), version.to_string()));
    }
    Ok(out)
}

fn duplicates(crates: &BTreeSet<(String, String)>) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, version) in crates {
        versions.entry(name).or_default().push(version);
    }
    let twice = versions.into_iter().filter(|(_, versions)| 1 < versions.len());
    twice.map(|(name, versions)| format!("{name} {}", versions.join(" "))).collect()
}

/// A committed list that the tree must agree with.
struct Snapshot {
    path: &'static str,
    header: &'static str,
}

impl Snapshot {
    fn compare(&self, workspace: &Workspace, now: Vec<String>, bless: bool, report: &mut Report) {
        let file = workspace.root.join(self.path);
        if bless {
            let body: String = now.iter().map(|line| format!("{line}\n")).collect();
            match fs::write(&file, format!("{}{body}", self.header)) {
                Ok(()) => println!("wrote {} ({} lines)", self.path, now.len()),
                Err(error) => report.error("snapshot", self.path, error.to_string()),
            }
            return;
        }
        let committed = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) => return report.error("snapshot", self.path, format!("{error}; `cargo xtask tidy --bless` writes it")),
        };
        let before: BTreeSet<&str> = committed.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        let now: BTreeSet<&str> = now.iter().map(String::as_str).collect();
        let added = now.difference(&before).map(|line| format!("+ {line}"));
        let removed = before.difference(&now).map(|line| format!("- {line}"));
        let changes: Vec<String> = added.chain(removed).collect();
        if !changes.is_empty() {
            report.error("snapshot", self.path, format!("{}; if meant: cargo xtask tidy --bless", changes.join(", ")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{duplicates, unpublished};

    #[test]
    fn a_level_of_every_day_without_one_of_what_is_published_is_named() {
        let text = "[profile.release.package.a]\nopt-level = 1\n[profile.release.package.b]\n[profile.dist.package.b]\nopt-level = 3\n";
        assert_eq!(unpublished(text).into_iter().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn only_crates_with_two_versions_are_duplicates() {
        let set = [("a", "1.0.0"), ("b", "0.1.0"), ("b", "0.2.0")].map(|(name, version)| (name.to_string(), version.to_string()));
        assert_eq!(duplicates(&set.into()), ["b 0.1.0 0.2.0"]);
    }
}
