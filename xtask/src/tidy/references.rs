//! What a text names must exist for its reader: documents of this repository, and nothing of the machine it was written on.

use super::{File, Report, Tree};

/// This file, whose lists and tests are what it looks for.
const SELF: &str = "xtask/src/tidy/references.rs";

/// Hosts of package registries. A lock file or a script that names one ties the build to it.
const REGISTRY_HOSTS: &[&str] = &[
    concat!("registry", ".npmjs.org"),
    concat!("registry", ".yarnpkg.com"),
    concat!("static", ".crates.io"),
    concat!("index", ".crates.io"),
    concat!("pypi", ".org/simple"),
    concat!("files", ".pythonhosted.org"),
];

/// Directories of one machine.
const MACHINE_PATHS: &[&str] = &[concat!("/wo", "rk/"), concat!("/fa", "rm/")];

/// Folders whose documents may be named by path.
const DOCUMENT_FOLDERS: &[&str] = &["spec/", "docs/"];

/// Folders whose files our documents name: what is named there exists, so that a map does not outlive its land.
const MAPPED_FOLDERS: &[&str] = &["crates/", "contracts/", "tests/", "tools/", "xtask/", "vectors/"];

/// A document that is not in this repository, by the way texts cite it: `facts/...`, `DESIGN D3`.
const FOREIGN: &[&str] = &["facts/", "DESIGN", "STYLE.md", "X402-"];

pub(super) fn check(tree: &Tree, report: &mut Report) {
    for file in tree.files.iter().filter(|file| file.name() != "Cargo.lock" && file.path != SELF) {
        for (number, line) in file.text.lines().enumerate() {
            let place = || format!("{}:{}", file.path, number + 1);
            for host in REGISTRY_HOSTS.iter().filter(|host| line.contains(**host)) {
                report.error("hosts", place(), format!("names a package registry, {host}"));
            }
            for path in MACHINE_PATHS.iter().filter(|path| names_path(line, path)) {
                report.error("hosts", place(), format!("names a directory of one machine, {path}"));
            }
            if file.name() == "package-lock.json" && line.contains("\"resolved\": \"http") {
                report.error("hosts", place(), "a locked address: `omit-lockfile-registry-resolved=true` in .npmrc keeps only the hashes");
            }
            if !is_data(file) {
                documents(tree, file, line, &place(), report);
            }
        }
    }
}

fn is_data(file: &File) -> bool {
    matches!(file.extension(), "json" | "txt" | "lock" | "pem") || file.path.starts_with("LICENSE")
}

fn documents(tree: &Tree, file: &File, line: &str, place: &str, report: &mut Report) {
    for word in FOREIGN.iter().filter(|word| starts_word(line, word)) {
        report.error(
            "references",
            place,
            format!("cites `{word}`, which is not in this repository: cite spec/, docs/adr/ or ARCHITECTURE.md"),
        );
    }
    if cites_decision(line) {
        report.error("references", place, "cites a decision by letter and number, which nothing here defines: cite an ADR");
    }
    for folder in DOCUMENT_FOLDERS {
        for (at, _) in line.match_indices(folder).filter(|(at, _)| !continues_path(&line[..*at])) {
            let path = path_at(&line[at..]).trim_end_matches('.');
            if path.ends_with(".md") && tree.get(path).is_none() {
                report.error("references", place, format!("{path} does not exist"));
            }
        }
    }
    if is_map(file) {
        for folder in MAPPED_FOLDERS {
            for (at, _) in line.match_indices(folder).filter(|(at, _)| !continues_path(&line[..*at])) {
                let path = path_at(&line[at..]).trim_end_matches(['/', '.']);
                if !tree.files.iter().any(|file| file.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
                {
                    report.error("references", place, format!("{path} does not exist"));
                }
            }
        }
    }
    for (at, start) in line.match_indices("ADR ") {
        let number: String = line[at + start.len()..].chars().take_while(char::is_ascii_digit).collect();
        let exists = || tree.files.iter().any(|file| file.path.starts_with(&format!("docs/adr/{number}-")));
        if number.len() == 4 && !exists() {
            report.error("references", place, format!("ADR {number} does not exist"));
        }
    }
}

/// `(D8)` or `(D3, ...)`.
fn cites_decision(line: &str) -> bool {
    line.match_indices("(D").any(|(at, start)| {
        let rest = &line[at + start.len()..];
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        (1..=2).contains(&end) && rest[end..].starts_with([')', ','])
    })
}

/// Documents about the whole repository.
fn is_map(file: &File) -> bool {
    file.extension() == "md" && (!file.path.contains('/') || file.path.starts_with("docs/"))
}

/// The path that a text begins with.
fn path_at(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.')));
    &text[..end.unwrap_or(text.len())]
}

/// A longer path that only ends like ours: `../other/spec/x.md`.
fn continues_path(before: &str) -> bool {
    let before = before.strip_suffix("../").unwrap_or(before);
    let before = before.strip_suffix("../").unwrap_or(before);
    before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '/' | '-' | '_' | '.'))
}

fn starts_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '/' | '-')))
}

/// `/name/` at the start of a path: not in the middle of a longer one, and not in a URL.
fn names_path(line: &str, path: &str) -> bool {
    line.match_indices(path)
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '~' | '}' | ')')))
}

#[cfg(test)]
mod tests {
    use super::{MACHINE_PATHS, cites_decision, continues_path, names_path, starts_word};

    #[test]
    fn a_machine_path_is_absolute() {
        let path = MACHINE_PATHS[0];
        assert!(names_path(&format!("cd {path}main"), path) && names_path(&format!("\"{path}x\""), path));
        assert!(!names_path(&format!("https://example.org{path}x"), path) && !names_path(&format!("some{path}x"), path));
    }

    #[test]
    fn decisions_are_cited_by_their_adr() {
        assert!(cites_decision("see (D8)") && cites_decision("(D13, 2)"));
        assert!(!cites_decision("(D)") && !cites_decision("(DER)") && !cites_decision("(D8x)") && !cites_decision("D8"));
    }

    #[test]
    fn only_whole_words_and_whole_paths_are_references() {
        assert!(starts_word("see facts/x.md", "facts/") && !starts_word("artifacts/x.json", "facts/"));
        assert!(continues_path("other/") && !continues_path("(../") && !continues_path("see "));
    }
}
