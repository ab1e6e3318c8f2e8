//! Words of others in a page: prompt, answer, names, file name, what a check found. All of them are hostile until shown.
//!
//! Each is escaped, isolated by its element, cut by characters, and whatever would act on the reader instead of being read stands in a box
//! with its number: controls, marks of direction, zero-width and tag characters. Not here: letters that look like other letters.
//!
//! - **Invariant:** text of a bundle, of a policy or of a file name gets into a page through this file and no other way.

use candor_verify::text::is_control;

/// Characters of a prompt or an answer that a page shows: what a person reads before taking the file itself.
pub(super) const TEXT_MAX: usize = 4_000;

/// Lines likewise: a text of line feeds would push whatever follows it off the page.
const LINES_MAX: usize = 200;

/// Bytes of markup that a text may take for each character that it may have: three is what a letter of Chinese takes. A text of boxes and
/// escapes takes more and is cut sooner, so that no answer makes a large page.
const BYTES_PER_CHARACTER: usize = 3;

/// A text of several lines, for an element that keeps white space and has `dir=auto`.
pub(super) fn said(text: &str, characters_max: usize) -> String {
    let bytes_max = characters_max.saturating_mul(BYTES_PER_CHARACTER);
    let mut out = String::new();
    let (mut lines, mut before) = (0_usize, ' ');
    for (at, c) in text.chars().enumerate() {
        if characters_max <= at || bytes_max <= out.len() || LINES_MAX <= lines {
            let left = text.chars().count().saturating_sub(at);
            out.push_str(&cut_notice(left));
            break;
        }
        lines = lines.saturating_add(usize::from(c == '\n'));
        push(&mut out, before, c);
        before = c;
    }
    out
}

/// A text on one line of ours, isolated from it: its direction is its own, and a line feed is shown as what it is. One that has more than a
/// name has, a space for instance, is quoted: a host called `nobody: all is proven` must not read as our sentence.
pub(super) fn name(text: &str, characters_max: usize) -> String {
    let is_name = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-:/+".contains(&b));
    let mut out = String::from(if is_name { "<bdi>" } else { "<bdi>“" });
    let mut characters = text.chars();
    let mut before = ' ';
    for c in characters.by_ref().take(characters_max) {
        match c {
            '\n' | '\t' => boxed(&mut out, c),
            c => push(&mut out, before, c),
        }
        before = c;
    }
    if characters.next().is_some() {
        out.push('…');
    }
    out.push_str(if is_name { "</bdi>" } else { "”</bdi>" });
    out
}

/// A text where no markup can stand: a title, an attribute. Controls become U+FFFD.
pub(super) fn plain(text: &str, characters_max: usize) -> String {
    let mut out = String::new();
    let mut before = ' ';
    for c in text.chars().take(characters_max) {
        if matches!(c, '\n' | '\t') || is_hidden(before, c) {
            out.push(char::REPLACEMENT_CHARACTER)
        } else {
            escape(&mut out, c)
        }
        before = c;
    }
    out
}

fn push(out: &mut String, before: char, c: char) {
    if is_hidden(before, c) { boxed(out, c) } else { escape(out, c) }
}

fn escape(out: &mut String, c: char) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '"' => out.push_str("&quot;"),
        '\'' => out.push_str("&#39;"),
        c => out.push(c),
    }
}

fn boxed(out: &mut String, c: char) {
    out.push_str(&format!("<span class=\"ctl\">U+{:04X}</span>", u32::from(c)));
}

fn cut_notice(left: usize) -> String {
    format!("<span class=\"ctl\">… {} more characters, in the file</span>", super::values::grouped(left.try_into().unwrap_or(u128::MAX)))
}

/// Whether a character acts, or is nothing to be seen. Line feed and tab are text here.
const fn is_hidden(before: char, c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        // Joiners are spelling in Persian and Hindi, and make one emoji of two. Behind a letter of ASCII they only hide.
        '\u{200c}' | '\u{200d}' => before.is_ascii() || is_joiner(before),
        '\u{ad}'
        | '\u{34f}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{180e}'
        | '\u{200b}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}' => true,
        c => is_control(c),
    }
}

const fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_text() {
        assert_eq!(said("<script>alert('1')</script> & \"x\"", 99), "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;x&quot;");
        assert_eq!(plain("\"><b onload='x'>", 99), "&quot;&gt;&lt;b onload=&#39;x&#39;&gt;");
    }

    #[test]
    fn what_acts_or_hides_stands_in_a_box_and_text_does_not() {
        for c in
            ['\0', '\r', '\u{1b}', '\u{9b}', '\u{61c}', '\u{200b}', '\u{202e}', '\u{2066}', '\u{2028}', '\u{feff}', '\u{ad}', '\u{e0041}']
        {
            let number = format!("U+{:04X}", u32::from(c));
            for shown in [said(&format!("a{c}b"), 99), name(&format!("a{c}b"), 99)] {
                assert!(shown.contains(&number) && !shown.contains(c), "{number}: {shown}");
            }
            assert_eq!(plain(&format!("a{c}b"), 99), "a\u{fffd}b");
        }
        for text in ["two\nlines\tand a tab", "größer 收据 שלום", "\u{1f469}\u{200d}\u{1f52c}", "می\u{200c}خواهم"] {
            assert_eq!(said(text, 99), text);
        }
        assert!(said("a\u{200d}b", 99).contains("U+200D"), "behind a letter of ASCII a joiner only hides");
        assert!(name("two\nlines", 99).contains("U+000A"), "one line of ours stays one line");
    }

    #[test]
    fn a_text_is_cut_by_characters_lines_and_bytes_and_says_how_much_is_left() {
        assert_eq!(said("größer", 6), "größer");
        assert_eq!(said("größer", 3), "grö<span class=\"ctl\">… 3 more characters, in the file</span>");
        assert!(said(&"x".repeat(1_234_567), 4_000).ends_with("… 1,230,567 more characters, in the file</span>"));
        assert!(said(&"\n".repeat(5_000), 4_000).contains("… 4,800 more"));
        let boxes = said(&"\u{202e}".repeat(4_000), 4_000);
        assert!(boxes.len() < 4_000 * 3 + 100, "{} bytes", boxes.len());
        assert_eq!(name("größer", 3), "<bdi>“grö…”</bdi>");
    }

    #[test]
    fn a_name_that_could_be_a_sentence_of_ours_is_quoted() {
        assert_eq!(name("api.example:443", 99), "<bdi>api.example:443</bdi>");
        assert_eq!(name("nobody. All of it is proven", 99), "<bdi>“nobody. All of it is proven”</bdi>");
    }
}
