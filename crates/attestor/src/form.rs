//! What travels between a registrar and an attestor: two JSON objects and an error. Spec: attestor.md §1, §3.

use candor_chain::Verdict;
use candor_verify::bytes::{Address, Signature65, from_hex, to_hex};
use candor_verify::evidence::DOCUMENT_MAX;
use candor_verify::manifest::Manifest;
use candor_verify::terms::SIGNED_TERMS_MAX;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::attestor::SignedVerdict;
use crate::judge::Quorum;

/// The one route.
pub(crate) const PATH: &str = "/v1/attest";

/// Longest question, in bytes: in hex, one document without collateral or further keys, which is what this version judges, manifest and
/// terms, with room for what stands between them. Of strangers' bytes that could not pass none are kept.
pub(crate) const QUESTION_MAX: usize = (DOCUMENT_MAX + Manifest::WORDS * 32 + SIGNED_TERMS_MAX + 512) * 2 + 512;

/// Longest answer that a registrar reads, in bytes. Real ones are under 1 KiB; an error may tell more.
pub(crate) const ANSWER_MAX: usize = 16 * 1024;

/// Most characters of a word or sentence of an attestor that are shown.
const SHOWN_MAX: usize = 300;

/// A question. The evidence is as it travels everywhere, and not believed.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Question {
    pub(crate) chain_id: u64,
    pub(crate) verifier: Address,
    pub(crate) evidence: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QuestionText {
    chain_id: u64,
    verifier: String,
    evidence: String,
}

impl Question {
    pub(crate) fn write(quorum: &Quorum, evidence: &[u8]) -> String {
        json!({"chain_id": quorum.chain_id, "verifier": quorum.verifier.to_string(), "evidence": to_hex(evidence)}).to_string()
    }

    /// `Err` says what is wrong with it.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, String> {
        let text: QuestionText = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let verifier = Address::from_hex(&text.verifier).ok_or("verifier: expected an address")?;
        let evidence = from_hex(&text.evidence).ok_or("evidence: expected 0x and bytes of hex")?;
        Ok(Self { chain_id: text.chain_id, verifier, evidence })
    }
}

pub(crate) fn write_answer(attestation: &SignedVerdict) -> Value {
    let SignedVerdict { attestor, verdict, signature } = attestation;
    let Verdict { evidence_hash, inner_kind, inner_root, inner_measurements, attested_hash, document_time } = verdict;
    json!({
        "attestor": attestor.to_string(),
        "signature": to_hex(&signature.0),
        "verdict": {
            "evidence_hash": evidence_hash.to_string(), "inner_kind": inner_kind, "inner_root": inner_root.to_string(),
            "inner_measurements": inner_measurements.to_string(), "attested_hash": attested_hash.to_string(), "document_time": document_time,
        },
    })
}

pub(crate) fn write_error(code: &str, message: &str) -> Value {
    json!({"error": {"code": code, "message": message}})
}

/// An answer as a registrar reads it. The verdict in it is for people: what counts is what the signature recovers over.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Answer {
    Signed(Signature65),
    Refused { code: String, message: String },
}

impl Answer {
    /// `None` for whatever is neither.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(body).ok()?;
        if let Some(signature) = value.get("signature").and_then(Value::as_str) {
            return Signature65::from_hex(signature).map(Self::Signed);
        }
        let error = value.get("error")?;
        let text = |key: &str| error.get(key).and_then(Value::as_str).map(|text| text.chars().take(SHOWN_MAX).collect());
        Some(Self::Refused { code: text("code")?, message: text("message").unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_that_of_the_specification() {
        assert_eq!(QUESTION_MAX, 166_592);
    }

    #[test]
    fn a_question_reads_back_and_another_field_is_refused() {
        let quorum = Quorum { chain_id: 84532, verifier: Address([7; 20]), registry: Address([8; 20]), threshold: 1, members: Vec::new() };
        let text = Question::write(&quorum, &[1, 2, 3]);
        let read = Question { chain_id: 84532, verifier: Address([7; 20]), evidence: vec![1, 2, 3] };
        assert_eq!(Question::parse(text.as_bytes()), Ok(read));
        for (from, to) in [("\"chain_id\":", "\"chain\":"), ("0x07", "07"), ("0x010203", "0x01020"), ("{", "{\"more\":1,")] {
            assert!(Question::parse(text.replacen(from, to, 1).as_bytes()).is_err(), "{to}");
        }
    }

    #[test]
    fn an_answer_is_a_signature_or_an_error_and_nothing_else() {
        let signature = to_hex(&[5; 65]);
        assert_eq!(Answer::parse(format!("{{\"signature\":\"{signature}\"}}").as_bytes()), Some(Answer::Signed(Signature65([5; 65]))));
        let error = write_error("refused", "attest.root").to_string();
        assert_eq!(
            Answer::parse(error.as_bytes()),
            Some(Answer::Refused { code: "refused".to_owned(), message: "attest.root".to_owned() })
        );
        for nothing in ["", "{}", "[]", "{\"signature\":\"0x05\"}", "{\"error\":\"no\"}"] {
            assert_eq!(Answer::parse(nothing.as_bytes()), None, "{nothing}");
        }
    }
}
