//! Source files say what they are, stay readable, and are finished.

use super::{File, Report, Tree};

/// A reader gives up somewhere here.
const WARN_LINES: usize = 600;
const MAX_LINES: usize = 700;

/// How far down the `//!` may begin: after nothing but attributes.
const HEADER_WITHIN: usize = 5;

/// Words that promise work, and must carry their reason in parentheses: written apart, so that this file does not find itself.
const PROMISES: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

pub(super) fn check(tree: &Tree, report: &mut Report) {
    for file in &tree.files {
        let code = matches!(file.extension(), "rs" | "sol" | "mjs" | "js" | "cjs" | "ts" | "py" | "sh");
        if !code {
            continue;
        }
        lengths(file, report);
        promises(file, report);
        if file.extension() == "rs" {
            header(file, report);
            unfinished(file, report);
        }
    }
}

fn lengths(file: &File, report: &mut Report) {
    let lines = file.text.lines().count();
    if MAX_LINES < lines {
        report.error("length", &file.path, format!("{lines} lines, at most {MAX_LINES}: split it by concept"));
    } else if WARN_LINES < lines {
        report.warning("length", &file.path, format!("{lines} lines, more than {WARN_LINES}"));
    }
}

fn header(file: &File, report: &mut Report) {
    if !file.text.lines().take(HEADER_WITHIN).any(|line| line.starts_with("//!")) {
        report.error("header", &file.path, "no `//!` in its first lines: say what it is, its place, and what is not here");
    }
}

fn promises(file: &File, report: &mut Report) {
    for (number, line) in file.text.lines().enumerate() {
        for word in PROMISES {
            if promise_without_reason(line, word) {
                let message = format!("a {word} says why it is not done, or which issue does it: `{word}(reason): ...`");
                report.error("promise", format!("{}:{}", file.path, number + 1), message);
            }
        }
    }
}

fn promise_without_reason(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let rest = &line[at + word.len()..];
        let whole =
            !before.is_some_and(|c| c.is_alphanumeric() || c == '_') && !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        let reason = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).is_some_and(|(reason, _)| 2 < reason.trim().len());
        whole && !reason
    })
}

fn unfinished(file: &File, report: &mut Report) {
    for (number, line) in file.text.lines().enumerate() {
        let code = line.trim_start();
        if code.starts_with("//") {
            continue;
        }
        let place = || format!("{}:{}", file.path, number + 1);
        for call in [concat!("todo", "!("), concat!("unimplemented", "!(")] {
            if code.contains(call) {
                report.error("unfinished", place(), format!("`{call}...)` must not be committed"));
            }
        }
        if code.contains(concat!("#[", "ignore]")) {
            report.error("unfinished", place(), "an ignored test says why: `#[ignore = \"reason\"]`");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{PROMISES, promise_without_reason};

    #[test]
    fn a_promise_needs_a_reason() {
        let word = PROMISES[0];
        for bad in [format!("// {word}: later"), word.to_string(), format!("// {word}(): x"), format!("// {word}(reason) and {word}")] {
            assert!(promise_without_reason(&bad, word), "{bad}");
        }
        for good in [format!("// {word}(issue 7): later"), format!("MAS{word}"), format!("{word}S_DONE")] {
            assert!(!promise_without_reason(&good, word), "{good}");
        }
    }
}
