//! The honest bundle's evidence judged at one moment, as a client does before it sends anything.
//!
//! A bundle judges its document at the document's own time; these cases are about age and challenge. Spec: attestation.md §3.

use candor_verify::bytes::Hash32;
use candor_verify::policy::Policy;
use serde_json::{Value, json};

use crate::forge::{Forge, NOW_MS};
use crate::json::policy_json;

/// `live.json`: evidence of a bundle's file, a policy, a time, a challenge, and `verified` or the check that refuses.
#[must_use]
pub fn text(forge: &Forge) -> String {
    let lines: Vec<String> = cases(&forge.policy()).iter().map(|case| format!("  {case}")).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

fn cases(policy: &Policy) -> Vec<Value> {
    let hour = 3_600_000;
    let case = |name: &str, file: &str, now_ms: u64, nonce: Option<Hash32>, expect: &str| {
        json!({
            "name": name, "file": format!("{file}.candor"), "policy": policy_json(policy), "now_ms": now_ms,
            "nonce": nonce.map(|nonce| nonce.to_string()), "expect": expect,
        })
    };
    let challenge = Some(Hash32([0x85; 32]));
    vec![
        case("just made", "honest", NOW_MS, None, "verified"),
        case("as old as the policy allows", "honest", NOW_MS + 2 * hour, None, "verified"),
        case("one millisecond too old", "honest", NOW_MS + 2 * hour + 1, None, "attest.freshness"),
        case("as far ahead as clocks may differ", "honest", NOW_MS - 120_000, None, "verified"),
        case("from the future", "honest", NOW_MS - 120_001, None, "attest.cert.validity"),
        case("answers the challenge", "answers_a_challenge", NOW_MS, challenge, "verified"),
        case("answers another challenge", "answers_a_challenge", NOW_MS, Some(Hash32([1; 32])), "attest.nonce"),
        case("answers no challenge", "honest", NOW_MS, challenge, "attest.nonce"),
        case("challenged, and nobody asked", "answers_a_challenge", NOW_MS, None, "verified"),
        case("another key under the same document", "manifest_key_changed", NOW_MS, None, "evidence.binding"),
    ]
}
