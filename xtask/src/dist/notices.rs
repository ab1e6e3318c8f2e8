//! The licences of what is linked into the program. Most ask to be handed on with it, and a static program has no other place for them.
//!
//! Each text once, under the crates that bring it. musl and Rust's own library are in it too, and are no crates.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::PACKAGE;
use super::target::{Target, notice_of_musl};
use crate::workspace::{Workspace, output};

pub(super) const NAME: &str = "THIRD-PARTY.txt";

/// How a file with a licence or a notice is called.
const CALLED: &[&str] = &["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];

/// C that a crate carries lies this deep, with a licence of its own.
const MAX_DEPTH: usize = 2;

/// A longer file is no licence.
const MAX_BYTES: u64 = 256 * 1024;

pub(super) fn text(workspace: &Workspace, target: Target) -> Result<String, String> {
    let linked = linked(workspace, target)?;
    let metadata = workspace.metadata(&[])?;
    let members = metadata.field("workspace_members")?.list()?;
    let mut expressions = Vec::new();
    let mut texts: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
    for package in metadata.field("packages")?.list()? {
        let (name, version) = (package.field("name")?.text()?, package.field("version")?.text()?);
        let id = format!("{name} {version}");
        if members.contains(package.field("id")?) || !linked.contains(&id) {
            continue;
        }
        let expression = package.get("license").and_then(|value| value.text().ok()).unwrap_or("see its files");
        expressions.push(format!("{id}: {expression}"));
        let manifest = Path::new(package.field("manifest_path")?.text()?);
        let mut found = Vec::new();
        collect(manifest.parent().ok_or("a manifest has no directory")?, MAX_DEPTH, &mut found)?;
        for text in found {
            // Line ends and indentation differ between copies of one licence.
            let key = text.split_whitespace().collect::<Vec<_>>().join(" ");
            texts.entry(key).or_insert_with(|| (text, BTreeSet::new())).1.insert(id.clone());
        }
    }
    if expressions.is_empty() || texts.is_empty() {
        return Err(format!("{PACKAGE} for {target}: no licence of another's was found, which cannot be"));
    }
    expressions.push("rust standard library: MIT OR Apache-2.0".into());
    expressions.push("musl: MIT".into());
    let musl = notice_of_musl(workspace)?;
    texts.insert(musl.clone(), (musl, BTreeSet::from(["musl".to_string()])));
    Ok(render(expressions, texts))
}

/// Name and version of every crate that the program is linked from.
fn linked(workspace: &Workspace, target: Target) -> Result<BTreeSet<String>, String> {
    let mut command =
        workspace.cargo(["tree", "--locked", "--package", PACKAGE, "--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    let tree = output(command.args(["--target", target.name()]))?;
    let id = |line: &str| {
        let mut words = line.split_whitespace();
        Some(format!("{} {}", words.next()?, words.next()?.strip_prefix('v')?))
    };
    Ok(tree.lines().filter_map(id).collect())
}

fn collect(directory: &Path, depth: usize, out: &mut Vec<String>) -> Result<(), String> {
    let problem = |error: std::io::Error| format!("{}: {error}", directory.display());
    let mut entries = fs::read_dir(directory).map_err(problem)?.collect::<Result<Vec<_>, _>>().map_err(problem)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type().map_err(problem)?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        let is_called_so = CALLED.iter().any(|called| name.starts_with(called));
        if kind.is_dir() && (is_called_so || 0 < depth) {
            collect(&entry.path(), depth.saturating_sub(1), out)?;
        } else if kind.is_file() && is_called_so && entry.metadata().map_err(problem)?.len() <= MAX_BYTES {
            let bytes = fs::read(entry.path()).map_err(problem)?;
            out.push(String::from_utf8_lossy(&bytes).replace("\r\n", "\n"));
        }
    }
    Ok(())
}

fn render(mut expressions: Vec<String>, texts: BTreeMap<String, (String, BTreeSet<String>)>) -> String {
    expressions.sort();
    let mut out = String::from("What others made and this program contains, under the licences that they gave it.\n\n");
    out += &expressions.join("\n");
    // By who comes first: the key is a text, whose order says nothing.
    let mut texts: Vec<_> = texts.into_values().collect();
    texts.sort_by(|a, b| (&a.1, &a.0).cmp(&(&b.1, &b.0)));
    for (text, ids) in texts {
        let ids: Vec<String> = ids.into_iter().collect();
        out += &format!("\n\n{}\n{}\n\n{}\n", "=".repeat(80), ids.join(", "), text.trim_end());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{BTreeMap, render};

    #[test]
    fn a_text_is_there_once_under_all_who_bring_it() {
        let text = |text: &str, ids: &[&str]| (text.to_string(), (format!("{text}\n\n"), ids.iter().map(|id| (*id).to_string()).collect()));
        let texts = BTreeMap::from([text("MIT", &["b 2", "a 1"]), text("Apache", &["c 3"])]);
        let out = render(vec!["b 2: MIT".into(), "a 1: MIT".into()], texts);
        let line = "=".repeat(80);
        assert!(out.ends_with(&format!("a 1: MIT\nb 2: MIT\n\n{line}\na 1, b 2\n\nMIT\n\n\n{line}\nc 3\n\nApache\n")), "{out}");
    }
}
