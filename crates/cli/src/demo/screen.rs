//! The demo's screen: some thirty lines of at most 79 columns, for somebody who sees this for the first time.
//!
//! What is told is the verdict's and the story's; here is only how it looks. Details are the caller's, with `--verbose`.

use candor_report::ends;
use candor_verify::bundle::Bundle;
use candor_verify::bytes::{Amount, Hash32};
use candor_verify::public::answer_text;
use candor_verify::receipt::Receipt;
use candor_verify::verdict::{LogLevel, Verdict};

use super::lies::Told;
use crate::dev::usd;
use crate::output::say;
use crate::paint::{Ink, Line};
use crate::told;

/// Columns of a screen, and where its text begins.
const WIDTH: usize = 79;
const INDENT: usize = 13;

/// Lines of an answer that are shown; the page has more of it, and the file all.
const ANSWER_LINES: usize = 12;

pub(super) fn title() {
    Line::new().put(Ink::Bold, "Candor").plain("  AI inference that shows its work").say();
    Line::new().put(Ink::Warn, "SIMULATED").plain("  no protected hardware here: a demonstration, not evidence").say();
    say!();
}

/// A part of the stage that is up.
pub(super) fn part(name: &str, what: &str) {
    Line::new().plain("  ").put(Ink::Good, "✓").plain(format!(" {name:<9}")).dim(what).say();
}

/// What only somebody who asked for it wants to know.
pub(super) fn detail(text: &str) {
    say!("{:INDENT$}{text}", "");
}

pub(super) fn asked(question: &str) {
    say!();
    told("Asked", question, "");
}

/// What came, what it cost, and where the money went.
pub(super) fn answered(bundle: &Bundle, seconds: f64, transfer: Option<Hash32>) {
    let Receipt { work, money, .. } = &bundle.delivery.receipt;
    let text = answer_text(bundle.response.frames.iter().map(Vec::as_slice)).unwrap_or_default();
    told("Answered", &text, &format!("{} tokens in {seconds:.2} s", work.completion_tokens));
    let transaction = transfer.map(|hash| format!("   transaction {}", ends(&hash.to_string()))).unwrap_or_default();
    Line::new().plain(format!("  {:<11}{} to {}", "Paid", usd(money.charged), ends(&money.payee.to_string()))).dim(transaction).say();
    let offered = bundle.sale.as_ref().map_or(Amount(0), |sale| sale.offer.amount);
    if offered != money.charged {
        Line::new().dim(format!("{:INDENT$}offered for {}", "", usd(offered))).say();
    }
}

/// The verdict in one line, and each question in one.
pub(super) fn verdict(bundle: &Bundle, verdict: &Verdict, required: LogLevel) {
    let told = told::Told { bundle, verdict, required, is_live: true };
    say!();
    told.headline().say();
    say!();
    told.questions();
}

/// That a process which was not there, and asks no chain, says so too.
pub(super) fn offline() {
    told::row("And offline?", Ink::Good, "VERIFIED", "the same file by a fresh process alone");
}

/// All of them, two in a row.
pub(super) fn lies(told: &[Told]) {
    say!();
    Line::new()
        .put(Ink::Bold, "Ten lies about this answer, ")
        .put(Ink::Good, "ten refused")
        .dim("   each by the check that guards it")
        .say();
    say!();
    let (left, right) = told.split_at(told.len().div_ceil(2));
    for (at, lie) in left.iter().enumerate() {
        let mut line = Line::new().plain("  ");
        for (lie, width) in [Some((lie, 20)), right.get(at).map(|lie| (lie, 0))].into_iter().flatten() {
            line = line.put(Ink::Bad, "✗").plain(format!(" {:<17}", lie.short)).dim(format!("{:<width$}", lie.check));
        }
        line.say();
    }
}

/// A thing to do, and what for.
pub(super) fn to_do(name: &str, what: &str, why: &str) {
    Line::new().plain(format!("  {name:<11}{what}")).dim(if why.is_empty() { String::new() } else { format!("   {why}") }).say();
}

pub(super) fn end(seconds: f64, is_kept: bool) {
    let stopped = if is_kept {
        "Chain, enclave and host are left running."
    } else {
        "Chain, enclave and host are stopped; --keep leaves them running."
    };
    Line::new().dim(format!("  {seconds:.1} s. {stopped}")).say();
}

/// A text of somebody under its name, wrapped, and a word of ours behind it.
fn told(name: &str, text: &str, note: &str) {
    let mut lines = wrapped(text, WIDTH - INDENT);
    let is_cut = ANSWER_LINES < lines.len();
    lines.truncate(ANSWER_LINES);
    let count = lines.len().max(1);
    for (at, text) in lines.iter().map(String::as_str).chain(lines.is_empty().then_some("")).enumerate() {
        let name = if at == 0 { name } else { "" };
        let line = Line::new().plain(format!("  {name:<11}")).put(if note.is_empty() { Ink::Bold } else { Ink::Plain }, text);
        let is_last = at.saturating_add(1) == count;
        let line = if is_last && is_cut { line.dim(" …") } else { line };
        let fits = text.chars().count().saturating_add(note.len()).saturating_add(3) <= WIDTH - INDENT;
        match (is_last && !note.is_empty(), fits) {
            (true, true) => line.dim(format!("   {note}")).say(),
            (true, false) => {
                line.say();
                Line::new().dim(format!("{:INDENT$}{note}", "")).say();
            }
            (false, _) => line.say(),
        }
    }
}

/// Broken at blanks into lines of so many characters at most; a longer word is broken within.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let pieces: Vec<char> = word.chars().collect();
        for piece in pieces.chunks(width.max(1)) {
            let piece: String = piece.iter().collect();
            let room = |line: &String| line.chars().count().saturating_add(1).saturating_add(piece.chars().count()) <= width;
            match lines.last_mut().filter(|line| room(line)) {
                Some(line) => {
                    line.push(' ');
                    line.push_str(&piece);
                }
                None => lines.push(piece),
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn text_is_wrapped_at_blanks_and_long_words_within() {
        assert_eq!(wrapped("a bc  def\nghi", 5), ["a bc", "def", "ghi"]);
        assert_eq!(wrapped("abcdefg h", 3), ["abc", "def", "g h"]);
        assert_eq!(wrapped("größer als", 6), ["größer", "als"]);
        assert!(wrapped("  ", 3).is_empty() && wrapped("ab", 0) == ["a", "b"]);
    }
}
