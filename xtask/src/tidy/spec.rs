//! Spec against code: the domain tags are the same list, and every check step is specified where it says.

use std::collections::BTreeSet;

use super::{File, Report, Tree};

const TAGS_CODE: &str = "crates/verify/src/tags.rs";
const TAGS_SPEC: &str = "spec/domain-tags.md";
const TAG_START: &str = "candor/";
const STEPS: &str = "crates/verify/src/step.rs";

pub(super) fn check(tree: &Tree, report: &mut Report) {
    tags(tree, report);
    steps(tree, report);
}

/// The table of the spec is the list of tags.rs; a tag that one crate alone knows is named in the spec's text.
fn tags(tree: &Tree, report: &mut Report) {
    let Some(central) = tree.get(TAGS_CODE) else { return report.error("tags", TAGS_CODE, "missing") };
    let Some(spec) = tree.get(TAGS_SPEC) else { return report.error("tags", TAGS_SPEC, "missing: it lists the tags of tags.rs") };
    let in_code: BTreeSet<&str> = central.code().flat_map(|(_, line)| tags_of(line)).collect();
    let in_table: BTreeSet<&str> = spec.text.lines().filter_map(first_cell).filter(|cell| cell.starts_with(TAG_START)).collect();
    if in_code.is_empty() {
        report.error("tags", TAGS_CODE, "no tag found: one `pub const NAME: &[u8] = b\"candor/...\"` per line");
    }
    for tag in in_code.difference(&in_table) {
        report.error("tags", TAGS_SPEC, format!("`{tag}` is in tags.rs and in no table row here (first cell, in backticks)"));
    }
    for tag in in_table.difference(&in_code) {
        report.error("tags", TAGS_SPEC, format!("`{tag}` is a table row here and not in {TAGS_CODE}"));
    }
    for file in tree.files.iter().filter(|file| is_product(file) && file.path != TAGS_CODE) {
        for (number, line) in file.code() {
            let place = || format!("{}:{number}", file.path);
            for tag in tags_of(line) {
                if in_code.contains(tag) {
                    report.error("tags", place(), format!("`{tag}` is a constant of {TAGS_CODE}: use it"));
                } else if !spec.text.contains(&format!("`{tag}`")) {
                    report.error("tags", place(), format!("`{tag}` is not named in {TAGS_SPEC}"));
                }
            }
        }
    }
}

/// devtee's tags enter simulated measurements only, and testkit's nothing at all.
fn is_product(file: &File) -> bool {
    let in_product = file.in_crate().is_some_and(|name| !matches!(name, "devtee" | "testkit"));
    in_product && file.extension() == "rs" && file.path.contains("/src/") && !file.is_test()
}

fn tags_of(line: &str) -> impl Iterator<Item = &str> {
    byte_strings(line).filter(|text| text.starts_with(TAG_START))
}

fn steps(tree: &Tree, report: &mut Report) {
    let specs: Vec<&File> = tree.files.iter().filter(|file| file.path.starts_with("spec/") && file.extension() == "md").collect();
    let mut found = 0;
    for file in tree.files.iter().filter(|file| file.path.starts_with("crates/verify/src/") && file.extension() == "rs") {
        for declared in declared_steps(&file.text) {
            found += 1;
            check_step(&declared, &file.path, &specs, report);
        }
    }
    if found == 0 {
        report.error("steps", STEPS, "no `step(\"id\", ..., \"title\", \"file.md §n\")` found");
    }
}

fn check_step(step: &DeclaredStep<'_>, path: &str, specs: &[&File], report: &mut Report) {
    let id = step.id;
    if !specs.iter().any(|spec| spec.text.contains(&format!("`{id}`"))) {
        report.error("steps", path, format!("step `{id}` is in no file of spec/ (in backticks)"));
    }
    let (name, section) = step.spec.split_once(" §").unwrap_or((step.spec, ""));
    match specs.iter().find(|spec| spec.path == format!("spec/{name}")) {
        None => report.error("steps", path, format!("step `{id}` names spec/{name}, which does not exist")),
        Some(spec) if !has_section(&spec.text, section) => {
            report.error("steps", path, format!("step `{id}` names {}, which has no section {section}", spec.path));
        }
        Some(_) => {}
    }
}

/// One call of the function `step` in the verifier: its first and its last string.
struct DeclaredStep<'a> {
    id: &'a str,
    spec: &'a str,
}

fn declared_steps(text: &str) -> Vec<DeclaredStep<'_>> {
    let mut out = Vec::new();
    for (at, call) in text.match_indices("step(") {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '.') {
            continue;
        }
        let strings: Vec<&str> = strings_of_call(&text[at + call.len()..]);
        if let [id, .., spec] = strings[..]
            && id.contains('.')
            && !id.contains(' ')
        {
            out.push(DeclaredStep { id, spec });
        }
    }
    out
}

/// The string literals of a call up to its closing parenthesis. Step texts contain no quotes and no escapes.
fn strings_of_call(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    for (at, part) in text.split('"').enumerate() {
        if at % 2 == 1 {
            out.push(part);
        } else if part.contains(')') || part.contains(';') {
            break;
        }
    }
    out
}

/// Whether a heading such as `## 4. Steps` or `## 4 Steps` exists. No number asks for nothing.
fn has_section(text: &str, section: &str) -> bool {
    section.is_empty()
        || text
            .lines()
            .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')))
            .any(|heading| heading.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', ' ', ':'])))
}

/// The contents of `b"..."` literals of a line.
fn byte_strings(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("b\"").filter_map(|(at, start)| line[at + start.len()..].split('"').next())
}

/// The first cell of a table row, without backticks and quotes.
fn first_cell(line: &str) -> Option<&str> {
    let cell = line.trim().strip_prefix('|')?.split('|').next()?.trim();
    cell.strip_prefix('`')?.split('`').next().map(|text| text.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::{byte_strings, declared_steps, first_cell, has_section};

    #[test]
    fn steps_are_read_over_line_ends() {
        let text = "const fn step(id: &str) {}\nstep(\"a.b\", Q::Ran, \"title, with (no) end\", \"x.md §4\"),\n step(\n  \"c.d\",\n \"t\", \"y.md §1\");\n self.step(\"e.f\", \"g\")";
        let steps = declared_steps(text);
        let found: Vec<(&str, &str)> = steps.iter().map(|step| (step.id, step.spec)).collect();
        assert_eq!(found, [("a.b", "x.md §4"), ("c.d", "y.md §1")]);
    }

    #[test]
    fn headings_match_whole_numbers() {
        let text = "# t\n## 4. Steps\n### 5.1 Levels\n4 no heading";
        assert!(has_section(text, "4") && has_section(text, "5.1") && has_section(text, ""));
        assert!(has_section(text, "5"), "a subsection stands for its section");
        assert!(!has_section(text, "1") && !has_section(text, "40"));
    }

    #[test]
    fn tags_are_found_in_code_and_table() {
        let line = "pub const LEAF: &[u8] = b\"candor/leaf/1\";";
        assert_eq!(byte_strings(line).collect::<Vec<_>>(), ["candor/leaf/1"]);
        assert_eq!(first_cell("| `candor/leaf/1` | leaf data |"), Some("candor/leaf/1"));
        assert_eq!(first_cell("| `\"candor/leaf/1\"` | leaf data |"), Some("candor/leaf/1"));
        assert_eq!(first_cell("candor/leaf/1"), None);
    }
}
