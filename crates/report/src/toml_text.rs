//! The words of the TOML files that are written here: texts in quotes, lists, tables and fields with what they mean.
//!
//! Not here: reading, and what a file is about.

use std::fmt::{Display, Write as _};

/// The head of a table, with what it is about.
pub(crate) fn section(out: &mut String, name: &str, about: &str) {
    let comment = if about.is_empty() { String::new() } else { format!("# {about}\n") };
    push(out, format_args!("\n{comment}{name}\n"));
}

/// A field with what it means.
pub(crate) fn field(out: &mut String, about: &str, name: &str, value: &dyn Display) {
    push(out, format_args!("# {about}\n{name} = {value}\n"));
}

/// A field whose name says it all.
pub(crate) fn bare(out: &mut String, name: &str, value: &dyn Display) {
    push(out, format_args!("{name} = {value}\n"));
}

/// A field that may have no value: then an example stands in a comment.
pub(crate) fn maybe(out: &mut String, about: &str, name: &str, value: Option<String>, example: &str) {
    if !about.is_empty() {
        push(out, format_args!("# {about}\n"));
    }
    match value {
        Some(value) => bare(out, name, &value),
        None => push(out, format_args!("# {name} = {example}\n")),
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _infallible = out.write_fmt(text);
}

/// A TOML text: what stands in it may be a path of anybody's.
pub(crate) fn quoted(value: &impl Display) -> String {
    toml::Value::String(value.to_string()).to_string()
}

/// A TOML list of texts.
pub(crate) fn list<T: Display>(items: &[T]) -> String {
    format!("[{}]", items.iter().map(quoted).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_stands_in_a_text_it_is_read_back_as_it_was_and_ends_no_line() {
        let words = ["", "plain", "\"quoted\" \\ ünï", "two\nlines", "\u{1b}[2K"];
        let text = format!("one = {}\nall = {}\n", quoted(&words[2]), list(&words));
        let read: toml::Table = text.parse().unwrap();
        assert_eq!(read["one"].as_str(), Some(words[2]));
        assert_eq!(read["all"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect::<Vec<_>>(), words);
    }
}
