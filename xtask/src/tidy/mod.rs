//! `cargo xtask tidy`: what the compiler does not check and a reviewer should not have to.
//!
//! Each rule is a function from the tree to findings. A rule that cannot run is a finding too: nothing is skipped in silence.
//!
//! | file | rules |
//! |---|---|
//! | `edges` | who may use whom |
//! | `purity` | no I/O, clock or environment where there must be none; no scheme told from another outside of `scheme/` |
//! | `sources` | headers, lengths, unfinished work |
//! | `dependencies` | the enclave's list, forbidden crates, licences, duplicates, one build for demo and tests |
//! | `names` | one public type per name |
//! | `spec` | domain tags and check steps against spec/ |
//! | `references` | documents that are named exist; no host names, no machine paths |

mod dependencies;
mod edges;
mod licence;
mod metadata;
mod names;
mod purity;
mod references;
mod sources;
mod spec;

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Failure;
use crate::workspace::{Workspace, output};
use metadata::Metadata;

/// Larger files are data, not text that a person wrote.
const MAX_TEXT_BYTES: u64 = 2_000_000;

pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    match arguments {
        [] => Ok(check(workspace, false)?),
        [bless] if bless == "--bless" => Ok(check(workspace, true)?),
        [other, ..] => Err(Failure::Usage(format!("tidy has no option `{other}`"))),
    }
}

/// Runs every rule, prints every finding, and fails if one of them is an error.
pub(crate) fn check(workspace: &Workspace, bless: bool) -> Result<(), String> {
    let tree = Tree::load(workspace)?;
    let mut report = Report::default();
    match workspace.metadata(&[]).and_then(|value| Metadata::read(&value)) {
        Ok(metadata) => {
            edges::check(&metadata, &mut report);
            dependencies::check(workspace, &metadata, bless, &mut report);
        }
        Err(error) => report.error("metadata", "Cargo.lock", format!("{error}; `cargo metadata` without --locked brings it up to date")),
    }
    purity::check(&tree, &mut report);
    sources::check(&tree, &mut report);
    names::check(&tree, &mut report);
    spec::check(&tree, &mut report);
    references::check(&tree, &mut report);
    report.finish(tree.files.len())
}

/// Every text file that is, or is about to be, in version control.
struct Tree {
    files: Vec<File>,
}

struct File {
    /// Relative to the root, with slashes.
    path: String,
    text: String,
}

impl File {
    fn extension(&self) -> &str {
        Path::new(&self.path).extension().and_then(|extension| extension.to_str()).unwrap_or_default()
    }

    fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The name under crates/, if the file belongs to one.
    fn in_crate(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split('/').next()
    }

    /// Compiled only for tests, by place or by name.
    fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.name() == "tests.rs" || self.name().ends_with("_tests.rs")
    }

    /// Numbered lines of code: without comment lines, and without what follows the first `#[cfg(test)]` before an inline module.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines: Vec<&str> = self.text.lines().collect();
        let is_module = |line: &str| line.trim_start().trim_start_matches("pub(crate) ").starts_with("mod ") && line.ends_with('{');
        let inline_tests = |pair: &[&str]| pair[0].trim() == "#[cfg(test)]" && is_module(pair[1]);
        let end = lines.windows(2).position(inline_tests).unwrap_or(lines.len());
        let numbered = lines.into_iter().take(end).enumerate().map(|(at, line)| (at + 1, line));
        numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

impl Tree {
    fn load(workspace: &Workspace) -> Result<Self, String> {
        let mut git = Command::new("git");
        git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(&workspace.root);
        let listed = output(&mut git).map_err(|error| format!("tidy reads the files that git lists: {error}"))?;
        let mut files = Vec::new();
        for path in listed.split('\0').filter(|path| !path.is_empty()) {
            let full = workspace.root.join(path);
            // Deleted and not committed yet, or a directory of its own (a link, a submodule).
            let Ok(metadata) = fs::metadata(&full) else { continue };
            if !metadata.is_file() || MAX_TEXT_BYTES < metadata.len() {
                continue;
            }
            let bytes = fs::read(&full).map_err(|error| format!("{path}: {error}"))?;
            if let Ok(text) = String::from_utf8(bytes) {
                files.push(File { path: path.to_string(), text });
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files.dedup_by(|a, b| a.path == b.path);
        Ok(Self { files })
    }

    fn get(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// What the rules found.
#[derive(Default)]
struct Report {
    errors: usize,
    warnings: usize,
}

impl Report {
    fn error(&mut self, rule: &str, place: impl AsRef<str>, message: impl AsRef<str>) {
        self.errors += 1;
        println!("error[{rule}] {}: {}", place.as_ref(), message.as_ref());
    }

    fn warning(&mut self, rule: &str, place: impl AsRef<str>, message: impl AsRef<str>) {
        self.warnings += 1;
        println!("warning[{rule}] {}: {}", place.as_ref(), message.as_ref());
    }

    fn finish(self, files: usize) -> Result<(), String> {
        println!("tidy: {files} files, {} errors, {} warnings", self.errors, self.warnings);
        if self.errors == 0 { Ok(()) } else { Err(format!("tidy found {} errors", self.errors)) }
    }
}
