//! Why a text is no `node.toml`: the field, what it takes, the place with a caret, and for a name that is not known the nearest one.

use std::fmt;

/// Why a text is no `node.toml`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NodeTextError {
    /// The form or one field, in the words of the TOML reader: they show the place.
    Place {
        /// With line, column and a caret.
        shown: String,
        /// The name that was probably meant, if one was not known.
        nearest: Option<String>,
    },
    /// A value that does not fit others.
    Value {
        /// The field.
        field: String,
        /// What it takes.
        expected: String,
        /// What stands there.
        got: String,
    },
}

impl fmt::Display for NodeTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Place { shown, nearest: None } => f.write_str(shown),
            Self::Place { shown, nearest: Some(nearest) } => write!(f, "{shown}\ndid you mean `{nearest}`?"),
            Self::Value { field, expected, got } => write!(f, "{field}: expected {expected}, got {got}"),
        }
    }
}

impl std::error::Error for NodeTextError {}

impl NodeTextError {
    pub(super) fn of_toml(error: &toml::de::Error, text: &str) -> Self {
        let (nearest, is_unknown) = (meant(error), error.message().starts_with("unknown field"));
        let span = error.span().unwrap_or_default();
        let before = text.get(..span.start).unwrap_or_default();
        let begins = before.rfind('\n').map_or(0, |at| at.saturating_add(1));
        let (line, column) = (before.matches('\n').count().saturating_add(1), before.len().saturating_sub(begins).saturating_add(1));
        let shown_lines: String =
            text.get(begins..).unwrap_or_default().lines().take(text.get(span).map_or(1, |part| part.lines().count().max(1))).collect();
        if is_public(&shown_lines) || (!may_hold_a_key(&shown_lines) && !may_hold_a_key(error.message())) {
            return Self::Place { shown: error.to_string().trim_end().to_owned(), nearest };
        }
        // A message names fields and kinds up to its colon, and after it what stands there.
        let is_of_form =
            ["unknown field", "missing field", "invalid type", "duplicate key"].iter().any(|part| error.message().starts_with(part));
        let message = match is_of_form {
            true if is_unknown => error.message().to_owned(),
            true => error.message().split(':').next().unwrap_or_default().to_owned(),
            false => "a value that its field does not take".to_owned(),
        };
        Self::Place { shown: format!("line {line}, column {column}: {message} (the line is not shown: it may hold a key)"), nearest }
    }

    pub(super) fn value(field: String, expected: &str, got: String) -> Self {
        Self::Value { field, expected: expected.to_owned(), got }
    }
}

/// The name that was probably meant, if one was not known. The reader names the fields that there are: `unknown field `a`, expected one of `b`, `c``.
pub(crate) fn meant(error: &toml::de::Error) -> Option<String> {
    let mut names = error.message().split('`').skip(1).step_by(2);
    let is_unknown = error.message().starts_with("unknown field");
    names.next().filter(|_| is_unknown).and_then(|unknown| nearest(unknown, names))
}

/// The field of a line.
fn field(line: &str) -> &str {
    line.trim_start().split(['=', ' ', '.']).next().unwrap_or_default()
}

/// Whether a line is one of addresses that are published.
fn is_public(line: &str) -> bool {
    ["urls", "log_urls"].contains(&field(line))
}

/// Whether a text may hold an RPC URL, whose path is a key, or a key that opens the node.
fn may_hold_a_key(text: &str) -> bool {
    let has_key = text.contains("://") || text.contains("\"ck_") || text.contains("'ck_");
    has_key || ["rpc", "attestors", "keys"].iter().any(|name| field(text).starts_with(name))
}

/// The one of these that a slip away from is `unknown`: fewer changes than a third of its letters, or two.
fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let near = known.map(|name| (changes(unknown, name), name)).min()?;
    let limit = (near.1.len() / 3).max(2);
    (near.0 <= limit).then(|| near.1.to_owned())
}

/// Letters to put in, take out or change between two words (Levenshtein).
fn changes(from: &str, to: &str) -> usize {
    /// Longer words are no slips.
    const LETTERS_MAX: usize = 64;
    if LETTERS_MAX < from.len() || LETTERS_MAX < to.len() {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, letter) in from.bytes().enumerate() {
        let mut next = vec![i.saturating_add(1)];
        for (above, other) in row.windows(2).zip(to.bytes()) {
            let &[diagonal, over] = above else { continue };
            let left = next.last().copied().unwrap_or_default();
            let changed = diagonal.saturating_add(usize::from(letter != other));
            next.push(changed.min(over.saturating_add(1)).min(left.saturating_add(1)));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_counted_as_by_hand() {
        for (from, to, count) in [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3), ("lisen", "listen", 1), ("abc", "abc", 0)] {
            assert_eq!(changes(from, to), count, "{from} {to}");
        }
    }

    #[test]
    fn only_a_slip_has_a_nearest_name() {
        let known = || ["listen", "log_listen", "urls"].into_iter();
        assert_eq!(nearest("lisen", known()).as_deref(), Some("listen"));
        assert_eq!(nearest("url", known()).as_deref(), Some("urls"));
        assert_eq!(nearest("passphrase", known()), None);
    }
}
