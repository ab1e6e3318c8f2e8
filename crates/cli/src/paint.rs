//! Colour and signs: what a line looks like on a terminal, and what is left of it elsewhere.
//!
//! - **Invariant:** a colour says nothing that a word or a sign beside it does not say too.
//! - **Invariant:** escape sequences are made here and by `spinner` and nowhere else, and stand between texts that were made harmless by themselves.

use std::env;
use std::io::IsTerminal as _;

use candor_verify::text::one_line;

use crate::output::{write_err_line, write_line};

/// How a text looks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ink {
    Plain,
    Bold,
    Dim,
    /// It held.
    Good,
    /// It did not.
    Bad,
    /// It holds, and proves less than it seems to.
    Warn,
    /// Whatever the ground: a picture of black and white.
    WhiteOnBlack,
}

impl Ink {
    /// Of the 16 colours that every terminal has, so that it can be read on whatever ground its user chose.
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "0",
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Good => "1;32",
            Self::Bad => "1;31",
            Self::Warn => "1;33",
            Self::WhiteOnBlack => "97;40",
        }
    }
}

/// What the reader's side can show.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Screen {
    has_colour: bool,
    is_utf8: bool,
}

impl Screen {
    /// Of standard output, or of standard error.
    pub(crate) fn of(is_error: bool) -> Self {
        let is_terminal = if is_error { std::io::stderr().is_terminal() } else { std::io::stdout().is_terminal() };
        let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        Self::new(is_terminal, &set)
    }

    /// Whether lines may be drawn over: a terminal that does as it is told, and a user who did not say no.
    pub(crate) fn is_rich(self) -> bool {
        self.has_colour
    }

    /// Whether it shows more than ASCII.
    pub(crate) fn is_utf8(self) -> bool {
        self.is_utf8
    }

    /// No colour where nobody looks, where NO_COLOR is set, and on a terminal that calls itself dumb. The first of the three variables of the
    /// locale that says anything says whether it is UTF-8.
    fn new(is_terminal: bool, set: &dyn Fn(&str) -> Option<String>) -> Self {
        let has_colour = is_terminal && set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb");
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| set(name)).unwrap_or_default().to_ascii_lowercase();
        Self { has_colour, is_utf8: ["utf-8", "utf8"].iter().any(|form| locale.ends_with(form)) }
    }
}

/// One line, in parts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line(Vec<(Ink, String)>);

impl Line {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn put(mut self, ink: Ink, text: impl Into<String>) -> Self {
        self.0.push((ink, text.into()));
        self
    }

    pub(crate) fn plain(self, text: impl Into<String>) -> Self {
        self.put(Ink::Plain, text)
    }

    pub(crate) fn dim(self, text: impl Into<String>) -> Self {
        self.put(Ink::Dim, text)
    }

    /// Says it.
    pub(crate) fn say(&self) {
        write_line(self);
    }

    /// Says it on standard error.
    pub(crate) fn note(&self) {
        write_err_line(self);
    }

    /// The line for this screen, with its end.
    pub(crate) fn render(&self, screen: Screen) -> String {
        let mut out = String::new();
        for (ink, text) in &self.0 {
            let text = if screen.is_utf8 { one_line(text).into_owned() } else { ascii(&one_line(text)) };
            match (screen.has_colour, ink) {
                (false, _) | (_, Ink::Plain) => out.push_str(&text),
                (true, ink) => out.push_str(&format!("\u{1b}[{}m{text}\u{1b}[{}m", ink.code(), Ink::Plain.code())),
            }
        }
        out.push('\n');
        out
    }
}

/// These five signs by letters, whoever wrote them.
fn ascii(text: &str) -> String {
    text.replace('✓', "+").replace('✗', "x").replace('·', "-").replace('…', "..").replace('’', "'")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(is_terminal: bool, variables: &[(&str, &str)]) -> Screen {
        Screen::new(is_terminal, &|name| {
            let found = variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
            found.filter(|value| !value.is_empty())
        })
    }

    #[test]
    fn colour_is_for_terminals_whose_user_did_not_say_no() {
        for (is_terminal, variables, expected) in [
            (true, &[][..], true),
            (false, &[], false),
            (true, &[("NO_COLOR", "1")], false),
            (true, &[("NO_COLOR", "")], true),
            (true, &[("TERM", "dumb")], false),
            (true, &[("TERM", "xterm")], true),
        ] {
            assert_eq!(screen(is_terminal, variables).has_colour, expected, "{is_terminal} {variables:?}");
        }
        for (variables, expected) in [
            (&[("LANG", "de_DE.UTF-8")][..], true),
            (&[("LANG", "C.utf8")], true),
            (&[("LANG", "de_DE.UTF-8"), ("LC_ALL", "C")], false),
            (&[("LANG", "C"), ("LC_CTYPE", "en_US.UTF-8")], true),
            (&[], false),
        ] {
            assert_eq!(screen(false, variables).is_utf8, expected, "{variables:?}");
        }
    }

    #[test]
    fn every_meaning_stays_in_words_and_no_text_brings_a_sequence_of_its_own() {
        let line = Line::new().put(Ink::Good, "✓").plain(" who’s ").dim("there\u{1b}[31m…");
        let of = |has_colour, is_utf8| line.render(Screen { has_colour, is_utf8 });
        assert_eq!(of(false, false).matches('\u{1b}').count(), 0);
        assert!(of(false, false).starts_with("+ who's there") && of(false, false).ends_with("..\n"));
        assert!(of(false, true).starts_with("✓ who’s there"));
        let coloured = of(true, true);
        assert!(coloured.starts_with("\u{1b}[1;32m✓\u{1b}[0m who’s \u{1b}[2mthere"), "{coloured:?}");
        assert_eq!(coloured.matches('\u{1b}').count(), 4, "those of the two parts that have one");
    }
}
