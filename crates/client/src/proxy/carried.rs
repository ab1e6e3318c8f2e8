//! What an answer carries besides the node's words: headers, a member `candor`, `usage.cost`. Written here after the whole answer verified, from
//! its receipt and its verdict; what the node itself sends under these names is taken out, so that nobody can take it for ours.
//!
//! The node's frame stays as it was hashed in the bundle. What an SDK gets is that frame with members put in and taken out as bytes
//! (`members`): every value of the node's keeps its own.
//! Not here: what the words mean (docs/proxy.md), and who pays (`answer`).

use candor_report::{Charge, headline_words};
use candor_verify::text::one_line;
use hyper::header::{HeaderName, HeaderValue};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::ask::VerifiedResponse;
use crate::members::Members;

/// Id of the receipt, as nodes name it too.
const RECEIPT_ID: HeaderName = HeaderName::from_static("x-receipt-id");

/// Where the bundle of the answer is kept.
const BUNDLE: HeaderName = HeaderName::from_static("x-candor-bundle");

/// How the answer ended, in a word of its receipt.
const OUTCOME: HeaderName = HeaderName::from_static("x-candor-outcome");

/// What the answer cost.
const CHARGE: HeaderName = HeaderName::from_static("x-candor-charge");

/// The verdict in words.
const VERDICT: HeaderName = HeaderName::from_static("x-candor-verdict");

/// Which node answers. Known before the first frame.
pub(super) const NODE: HeaderName = HeaderName::from_static("x-candor-node");

/// Ours in every frame. A node's own is taken out.
const MEMBER: &str = "candor";

/// Where OpenRouter's clients look for what an answer cost, in US dollars.
const USAGE: &str = "usage";
const COST: &str = "cost";

/// What is said of one verified answer.
pub(super) struct Carried {
    receipt_id: String,
    // Nothing is kept where the proxy was told so.
    bundle: Option<String>,
    outcome: &'static str,
    verdict: String,
    charge: String,
    node: String,
    member: Value,
    dollars: Option<String>,
}

impl Carried {
    pub(super) fn of(response: &VerifiedResponse, node: &str) -> Self {
        let charge = Charge::of(&response.bundle);
        let (receipt_id, bundle) = (response.receipt_id.clone(), response.path.as_ref().map(|path| path.display().to_string()));
        let outcome = response.bundle.delivery.receipt.work.outcome.as_str();
        let words = headline_words(&response.verdict);
        let member = json!({
            "receipt_id": receipt_id, "bundle": bundle, "outcome": outcome, "verdict": words, "charge": charge.json(), "node": node,
        });
        Self {
            receipt_id,
            bundle,
            outcome,
            verdict: words.join(", "),
            charge: charge.text(),
            node: node.to_owned(),
            member,
            dollars: charge.dollars(),
        }
    }

    /// For an answer that goes out whole. A value that no header can carry is left out.
    pub(super) fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let values = [
            (RECEIPT_ID, HeaderValue::from_str(&self.receipt_id).ok()),
            (BUNDLE, self.bundle.as_ref().and_then(|bundle| HeaderValue::from_bytes(bundle.as_bytes()).ok())),
            (OUTCOME, HeaderValue::from_str(self.outcome).ok()),
            (CHARGE, HeaderValue::from_str(&ascii(&self.charge)).ok()),
            (VERDICT, HeaderValue::from_str(&self.verdict).ok()),
            (NODE, HeaderValue::from_str(&self.node).ok()),
        ];
        values.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }

    /// The last frame of a stream, or the body of a whole answer: the node's, with ours at its end. `None` of what is no object that we can read: it
    /// has no place for ours, and may hold a node's word that an SDK reads as ours.
    pub(super) fn put_into(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let mut members = without_ours(frame)?;
        if let Some(dollars) = &self.dollars {
            members.change(USAGE, |usage| {
                let mut usage = Members::parse(usage.get().as_bytes())?;
                usage.put(COST, dollars.clone());
                Some(usage.encode())
            });
        }
        members.put(MEMBER, self.member.to_string());
        Some(one_event(members.encode()))
    }

    /// The same as a comment, for whoever reads the stream by lines: the head was sent before there was a receipt.
    pub(super) fn comment(&self) -> String {
        format!(": candor {}\n\n", self.member)
    }
}

/// A frame of the node's as it goes on to an SDK before the last one; `None` if it is no JSON object, which no SDK reads.
pub(super) fn forwardable(frame: &[u8]) -> Option<Vec<u8>> {
    without_ours(frame).map(|members| one_event(members.encode()))
}

/// A frame that a proxy wrote into, as its node sent it: for a copy that somebody saved behind a proxy.
pub(crate) fn as_the_node_sent(frame: &[u8]) -> Option<Vec<u8>> {
    without_ours(frame).map(|members| members.encode().into_bytes())
}

/// The members of a frame but for those that only we write.
fn without_ours(frame: &[u8]) -> Option<Members<'_>> {
    let mut members = Members::parse(frame)?;
    members.remove(MEMBER);
    // One that we cannot look into may have a cost in it.
    let is_opaque = |usage: &RawValue| usage.get() != "null" && Members::parse(usage.get().as_bytes()).is_none();
    if members.all(USAGE).any(is_opaque) {
        members.remove(USAGE);
    }
    members.change(USAGE, |usage| {
        let mut usage = Members::parse(usage.get().as_bytes())?;
        usage.remove(COST).then(|| usage.encode())
    });
    Some(members)
}

/// A carriage return ends a line of an event stream, and what follows would be a line that looks like ours. JSON has it between its tokens only.
fn one_event(json: String) -> Vec<u8> {
    json.replace(['\r', '\n'], " ").into_bytes()
}

/// A token's name is any text of its operator's, and headers are ASCII.
fn ascii(text: &str) -> String {
    one_line(text).chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(dollars: Option<&str>) -> Carried {
        Carried {
            receipt_id: "0a".into(),
            bundle: Some("/b/0a.candor".into()),
            outcome: "complete",
            verdict: "VERIFIED, SIMULATED".into(),
            charge: "0.000301 USDC\u{20ac}".into(),
            node: "127.0.0.1:1".into(),
            member: json!({"receipt_id": "0a"}),
            dollars: dollars.map(str::to_owned),
        }
    }

    fn put(frame: &str, dollars: Option<&str>) -> String {
        String::from_utf8(carried(dollars).put_into(frame.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn ours_is_put_at_the_end_and_every_value_of_the_node_keeps_its_bytes() {
        let frame = r#"{"id":"x","n":1.0e2,"usage":{"total_tokens":9},"choices":[ {"text":"\u0041"} ]}"#;
        let expected = r#"{"id":"x","n":1.0e2,"usage":{"total_tokens":9,"cost":0.000301},"choices":[ {"text":"\u0041"} ],"candor":{"receipt_id":"0a"}}"#;
        assert_eq!(put(frame, Some("0.000301")), expected);
        assert!(!put(frame, None).contains("cost"), "of a token that is no dollar nothing is said in dollars");
        assert_eq!(put(r#"{"usage":null}"#, Some("1")), r#"{"usage":null,"candor":{"receipt_id":"0a"}}"#);
        // What we cannot write into is passed on to nobody, and what we cannot look into is taken out.
        for opaque in ["[1]", "VERIFIED", r#"{"\ud800":1,"candor":{"verdict":["VERIFIED"]}}"#] {
            assert_eq!(carried(Some("1")).put_into(opaque.as_bytes()), None, "{opaque}");
        }
        assert_eq!(put(r#"{"a":1,"usage":{"\ud800":1,"cost":0}}"#, Some("1")), r#"{"a":1,"candor":{"receipt_id":"0a"}}"#);
    }

    #[test]
    fn what_a_node_sends_under_our_names_never_arrives() {
        let lie = r#"{"candor":{"verdict":"VERIFIED"},"cand\u006fr":1,"usage":{"cost":0,"cos\u0074":1,"total_tokens":9},"a":1}"#;
        assert_eq!(forwardable(lie.as_bytes()).unwrap(), br#"{"usage":{"total_tokens":9},"a":1}"#);
        assert_eq!(put(lie, Some("2.5")), r#"{"usage":{"total_tokens":9,"cost":2.5},"a":1,"candor":{"receipt_id":"0a"}}"#);
        assert_eq!(put(lie, None), r#"{"usage":{"total_tokens":9},"a":1,"candor":{"receipt_id":"0a"}}"#);
        // A line that an SSE reader would take for one of ours.
        let line = b"{\"a\":\r[1,\r: candor {}\r2]}";
        assert!(forwardable(line).is_none(), "no JSON");
        assert_eq!(forwardable(b"{\"a\":\r[1,\r2]}").unwrap(), b"{\"a\":[1, 2]}");
        assert!(forwardable(b"VERIFIED").is_none() && forwardable(b"[]").is_none());
    }

    #[test]
    fn headers_are_ascii_and_a_receipt_leads_to_its_bundle() {
        let headers: Vec<(HeaderName, HeaderValue)> = carried(None).headers().collect();
        let text = |name: &str| headers.iter().find(|(known, _)| known == name).unwrap().1.to_str().unwrap().to_owned();
        assert_eq!((text("x-candor-charge"), text("x-candor-verdict")), ("0.000301 USDC?".into(), "VERIFIED, SIMULATED".into()));
        assert_eq!((text("x-receipt-id"), text("x-candor-bundle")), ("0a".into(), "/b/0a.candor".into()));
    }
}
