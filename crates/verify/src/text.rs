//! Text of strangers, before anybody sees it: which characters are instructions to whatever shows them.
//!
//! A model's name, an error message, an answer are anybody's text. An escape sequence clears the line of a terminal that bears the
//! verdict, and writes another; a bidirectional control lets a name read backwards. Signed terms have none of these characters
//! (terms-and-manifest.md TERMS-3), and a program that shows text passes it through [`visible`].
//! Not here: letters that look like other letters, which no list of characters catches.

use alloc::borrow::Cow;
use alloc::string::String;

/// Whether a character is an instruction and not text: C0, DEL and C1 (line feed and tab among them), bidirectional controls, line and
/// paragraph separators, the byte order mark. A zero-width joiner is text: emoji are made with it.
#[must_use]
pub const fn is_control(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
    )
}

/// The text with U+FFFD for each control but line feed and tab: what a terminal may be sent.
///
/// # Examples
/// ```
/// use candor_verify::text::visible;
/// assert_eq!(visible("two\nlines"), "two\nlines");
/// assert_eq!(visible("\u{1b}[2K\rVERIFIED"), "\u{fffd}[2K\u{fffd}VERIFIED");
/// ```
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    replaced(text, |c| !matches!(c, '\n' | '\t') && is_control(c))
}

/// The same on one line: for a stranger's text inside a line of ours, where a line feed would begin a line that looks like ours.
///
/// # Examples
/// ```
/// use candor_verify::text::one_line;
/// assert_eq!(one_line("no\nVERIFIED"), "no\u{fffd}VERIFIED");
/// ```
#[must_use]
pub fn one_line(text: &str) -> Cow<'_, str> {
    replaced(text, is_control)
}

fn replaced(text: &str, is_hidden: impl Fn(char) -> bool + Copy) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if is_hidden(c) { char::REPLACEMENT_CHARACTER } else { c }).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_as_it_is_and_instructions_do_not() {
        for text in ["", "größer 收据 \u{1f469}\u{200d}\u{1f52c}", "a\tb\nc", "שלום"] {
            assert_eq!(visible(text), text);
        }
        for c in ['\0', '\u{7}', '\u{8}', '\r', '\u{1b}', '\u{7f}', '\u{80}', '\u{9b}', '\u{9f}', '\u{61c}', '\u{200e}', '\u{200f}'] {
            assert_eq!(visible(&alloc::format!("a{c}b")), "a\u{fffd}b", "{c:?}");
        }
        for c in ['\u{2028}', '\u{2029}', '\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}', '\u{feff}'] {
            assert_eq!(visible(&alloc::format!("a{c}b")), "a\u{fffd}b", "{c:?}");
        }
    }
}
