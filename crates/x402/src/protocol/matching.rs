//! Comparing what came back with what we sent: the chosen requirements, and the echoed extensions.
//!
//! The client returns one entry of `accepts` and our extensions. It may add to `extra` and to extensions; it may change nothing.
//! Addresses compare as bytes, because letter case is not meaning. Reference: x402 v2, HTTP transport.

use candor_verify::bytes::Address;
use serde_json::Value;

use super::types::{JsonObject, PaymentRequirements};

/// A member of our extensions that did not come back as it went out.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: the name says all")]
pub struct EchoMismatch {
    /// Key of the extension (ours, so not foreign text).
    pub extension: String,
}

/// The first field in which the client's choice is not what we offer, or `None` if it is.
///
/// Scheme and network are compared too; callers that owe those two their own error string compare them first.
#[must_use]
pub fn accepted_mismatch(offered: &PaymentRequirements, accepted: &PaymentRequirements) -> Option<&'static str> {
    let fields = [
        ("scheme", offered.scheme == accepted.scheme),
        ("network", offered.network == accepted.network),
        ("amount", offered.amount == accepted.amount),
        ("asset", same_address(&offered.asset, &accepted.asset)),
        ("payTo", same_address(&offered.pay_to, &accepted.pay_to)),
        ("maxTimeoutSeconds", offered.max_timeout_seconds == accepted.max_timeout_seconds),
        ("extra", contains_object(accepted.extra.as_ref(), offered.extra.as_ref())),
    ];
    fields.into_iter().find(|(_, same)| !same).map(|(name, _)| name)
}

/// Whether the client echoed every extension that we sent, with at least our `info`.
///
/// A client that sends no extensions at all has opted out, which x402 allows; then there is nothing to compare. Whoever makes what it sent
/// anew leaves out what was random in it (`candor`'s `answerSalt`): any well-formed value of that may come back.
///
/// # Errors
/// The first extension that is missing or changed.
pub fn check_echo(sent: &JsonObject, echoed: Option<&JsonObject>) -> Result<(), EchoMismatch> {
    let Some(echoed) = echoed.filter(|echoed| !echoed.0.is_empty()) else { return Ok(()) };
    for (key, ours) in &sent.0 {
        let ours = ours.get("info").unwrap_or(&Value::Null);
        let theirs = echoed.member(key).and_then(|theirs| theirs.get("info")).unwrap_or(&Value::Null);
        if !contains(theirs, ours) {
            return Err(EchoMismatch { extension: key.clone() });
        }
    }
    Ok(())
}

fn same_address(ours: &str, theirs: &str) -> bool {
    match (Address::from_hex(ours), Address::from_hex(theirs)) {
        (Some(ours), Some(theirs)) => ours == theirs,
        _ => ours == theirs,
    }
}

fn contains_object(theirs: Option<&JsonObject>, ours: Option<&JsonObject>) -> bool {
    let Some(ours) = ours else { return true };
    ours.0.iter().all(|(key, value)| contains(theirs.and_then(|theirs| theirs.0.get(key)).unwrap_or(&Value::Null), value))
}

/// Whether `theirs` is `ours` with nothing changed and perhaps members added. Null is absent. Depth is bounded by the JSON reader.
fn contains(theirs: &Value, ours: &Value) -> bool {
    match (theirs, ours) {
        (_, Value::Null) => true,
        (Value::Object(theirs), Value::Object(ours)) => {
            ours.iter().all(|(key, value)| contains(theirs.get(key).unwrap_or(&Value::Null), value))
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            theirs.len() == ours.len() && theirs.iter().zip(ours).all(|(theirs, ours)| contains(theirs, ours))
        }
        _ => theirs == ours,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::requirements::tests::sample;

    fn object(json: &str) -> JsonObject {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn addresses_match_in_any_letter_case_and_extra_may_grow() {
        let offered = sample().to_entry();
        let mut accepted = offered.clone();
        accepted.pay_to = offered.pay_to.to_uppercase().replace("0X", "0x");
        accepted.extra.as_mut().unwrap().0.insert("more".into(), 1.into());
        assert_eq!(accepted_mismatch(&offered, &accepted), None);
    }

    #[test]
    fn each_changed_field_is_named() {
        let offered = sample().to_entry();
        type Change = fn(&mut PaymentRequirements);
        let changes: [(Change, &str); 8] = [
            (|a| a.scheme = "upto".into(), "scheme"),
            (|a| a.network = "eip155:1".into(), "network"),
            (|a| a.amount = "999".into(), "amount"),
            (|a| a.asset = Address([1; 20]).to_string(), "asset"),
            (|a| a.pay_to = Address([1; 20]).to_string(), "payTo"),
            (|a| a.max_timeout_seconds = 301, "maxTimeoutSeconds"),
            (|a| a.extra = None, "extra"),
            (|a| a.extra = Some(object(r#"{"name":"USD Coin","version":"2"}"#)), "extra"),
        ];
        for (change, field) in changes {
            let mut accepted = offered.clone();
            change(&mut accepted);
            assert_eq!(accepted_mismatch(&offered, &accepted), Some(field));
        }
    }

    #[test]
    fn an_echo_may_add_and_may_not_delete_or_overwrite() {
        let sent = object(r#"{"x":{"info":{"a":[1],"b":{"c":"d"}},"schema":{"big":1}}}"#);
        let check = |json: &str| check_echo(&sent, Some(&object(json)));
        assert_eq!(check_echo(&sent, None), Ok(()));
        assert_eq!(check("{}"), Ok(()));
        assert_eq!(check(r#"{"x":{"info":{"a":[1],"b":{"c":"d","e":1},"f":2}},"y":{}}"#), Ok(()));
        let mismatch = Err(EchoMismatch { extension: "x".into() });
        for json in [
            r#"{"y":{}}"#,
            r#"{"x":null}"#,
            r#"{"x":{"info":{"a":[1]}}}"#,
            r#"{"x":{"info":{"a":[1,2],"b":{"c":"d"}}}}"#,
            r#"{"x":{"info":{"a":[2],"b":{"c":"d"}}}}"#,
            r#"{"x":{"info":{"a":[1],"b":{"c":"D"}}}}"#,
        ] {
            assert_eq!(check(json), mismatch, "{json}");
        }
    }
}
