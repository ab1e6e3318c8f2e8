//! `candor verify --explain` as text: what each check hashes, piece by piece, and whose signatures it takes.
//!
//! Long bytes are shown by their length, their SHA-256 and both ends; `--json` has them whole (`candor-report`).

use candor_verify::bytes::to_hex;
use candor_verify::explain::{Explained, HashFunction, Hashed, Part, Signed};
use candor_verify::hash::sha256;

use crate::output::say;

/// One step. A step that hashes nothing says nothing.
pub(crate) fn print(explained: &Explained) {
    if explained.parts.is_empty() {
        return;
    }
    say!("\n{} — {} ({})", explained.step.id(), explained.step.title(), explained.step.spec());
    let (shown, rest) = explained.parts.split_at(explained.parts.len().min(FIRST_PARTS));
    shown.iter().for_each(print_part);
    // The end is what the check compares: it is always shown.
    let (skipped, last) = rest.split_at(rest.len().saturating_sub(LAST_PARTS));
    if !skipped.is_empty() {
        say!("  … {} parts, which --json shows", skipped.len());
    }
    last.iter().for_each(print_part);
}

fn print_part(part: &Part) {
    match part {
        Part::Hashed(hashed) => print_hashed(hashed),
        Part::Signed(signed) => print_signed(signed),
        Part::Told { name, text } => say!("  {name}: {text}"),
        _ => {}
    }
}

fn print_hashed(hashed: &Hashed) {
    let Hashed { name, function, type_string, preimage, layout, digest, .. } = hashed;
    say!("  {name} = {} {}", function.as_str(), to_hex(digest));
    if let Some(text) = type_string {
        say!("    type {text}");
    }
    if let HashFunction::HmacSha256 { key } = function {
        say!("    key {key}");
    }
    if layout.is_empty() {
        return say!("    of {}", brief(preimage));
    }
    let mut rest = preimage.as_slice();
    for (name, length) in layout {
        let Some((piece, behind)) = rest.split_at_checked(*length) else { return };
        say!("    {name:<22} {}", brief(piece));
        rest = behind;
    }
}

fn print_signed(signed: &Signed) {
    let Signed { name, scheme, message, signature, expected, got, .. } = signed;
    say!("  {name}, {}", scheme.as_str());
    say!("    {:<22} {}", "over", brief(message));
    say!("    {:<22} {}", "signature", brief(signature));
    say!("    {:<22} {expected}", "expected");
    say!("    {:<22} {}", "got", got.as_deref().unwrap_or("no valid signature"));
}

/// Bytes that fit into a line or two; else length, SHA-256 and both ends.
fn brief(bytes: &[u8]) -> String {
    match (bytes.first_chunk::<END>(), bytes.last_chunk::<END>()) {
        (Some(first), Some(last)) if WHOLE_MAX < bytes.len() => {
            format!("{} bytes, sha256 {}: {} … {}", bytes.len(), sha256(&[bytes]), to_hex(first), to_hex(last))
        }
        _ => to_hex(bytes),
    }
}

/// Bytes that are shown whole: a public key and two hashes and a byte.
const WHOLE_MAX: usize = 97;

/// Bytes of each end of what is longer.
const END: usize = 32;

/// Parts of a step that are shown at its beginning: enough for every step but those with a part per frame or per entry of a list.
const FIRST_PARTS: usize = 24;

/// Parts of a step that are shown at its end.
const LAST_PARTS: usize = 8;
