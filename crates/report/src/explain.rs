//! How each check came to its digest, as JSON: every byte that is hashed, so that another program can hash it again.
//!
//! Not here: the same in words (`candor-cli`), and any opinion about it.

use candor_verify::bytes::to_hex;
use candor_verify::explain::{Explained, HashFunction, Hashed, Part, Signed};
use serde_json::{Value, json};

/// One object per step, in the order of bundle.md §4.
///
/// # Security
/// These are words about a bundle, forged or not; whether to believe it is the verdict's to say.
#[must_use]
pub fn explained_json(explained: &[Explained]) -> Value {
    let step = |explained: &Explained| {
        json!({
            "check": explained.step.id(), "title": explained.step.title(), "spec": explained.step.spec(),
            "parts": explained.parts.iter().map(part_json).collect::<Vec<_>>(),
        })
    };
    explained.iter().map(step).collect()
}

fn part_json(part: &Part) -> Value {
    match part {
        Part::Hashed(hashed) => hashed_json(hashed),
        Part::Signed(signed) => signed_json(signed),
        Part::Told { name, text } => json!({"is": "told", "name": name, "text": text}),
        _ => Value::Null,
    }
}

fn hashed_json(hashed: &Hashed) -> Value {
    let layout: Vec<Value> = hashed.layout.iter().map(|(name, length)| json!({"name": name, "bytes": length})).collect();
    let key = if let HashFunction::HmacSha256 { key } = hashed.function { Some(key.to_string()) } else { None };
    json!({
        "is": "hash", "name": hashed.name, "function": hashed.function.as_str(), "key": key, "type": hashed.type_string,
        "preimage": to_hex(&hashed.preimage), "layout": layout, "digest": to_hex(&hashed.digest),
    })
}

fn signed_json(signed: &Signed) -> Value {
    json!({
        "is": "signature", "name": signed.name, "scheme": signed.scheme.as_str(), "message": to_hex(&signed.message),
        "signature": to_hex(&signed.signature), "expected": signed.expected, "got": signed.got,
    })
}
