//! The JSON objects of x402 v2, as strings and numbers that nobody has believed yet.
//!
//! Shapes only: a requirement of another scheme or chain must read as well as ours, so amounts and addresses stay text here and become
//! typed in `scheme`. Reference: x402 v2, HTTP transport.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A JSON object whose content this layer does not know. `Debug` shows its keys only: values may be signatures.
#[derive(Clone, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
#[expect(clippy::exhaustive_structs, reason = "a newtype: any value is valid")]
pub struct JsonObject(pub Map<String, Value>);

impl JsonObject {
    /// The member, with null as absent.
    #[must_use]
    pub fn member(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    /// The member if it is a string.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.member(key).and_then(Value::as_str)
    }
}

impl fmt::Debug for JsonObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl FromIterator<(String, Value)> for JsonObject {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(members: I) -> Self {
        Self(members.into_iter().collect())
    }
}

/// What a 402 says: the requirements under which the resource is served.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "complete by x402 v2")]
pub struct PaymentRequired {
    /// Always [`super::X402_VERSION`].
    pub x402_version: u64,
    /// Why the payment that came was refused, or that there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What is sold.
    pub resource: ResourceInfo,
    /// Ways to pay, the preferred one first.
    pub accepts: Vec<PaymentRequirements>,
    /// Extensions by key, each `{info, schema?}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extensions: Option<JsonObject>,
}

/// What is sold.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "complete for what we send; other members are ignored when read")]
pub struct ResourceInfo {
    /// Absolute URL.
    pub url: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
}

/// One way to pay.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "complete by x402 v2")]
pub struct PaymentRequirements {
    /// For example `exact`.
    pub scheme: String,
    /// CAIP-2 name of the chain.
    pub network: String,
    /// Decimal, in the asset's smallest unit.
    pub amount: String,
    /// Token contract, for EVM chains.
    pub asset: String,
    /// Payee.
    pub pay_to: String,
    /// Seconds that the payment may stay open.
    pub max_timeout_seconds: u64,
    /// What the scheme adds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<JsonObject>,
}

/// What a client pays with.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "complete by x402 v2")]
pub struct PaymentPayload {
    /// Always [`super::X402_VERSION`].
    pub x402_version: u64,
    /// What is bought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceInfo>,
    /// The entry of `accepts` that the client chose.
    pub accepted: PaymentRequirements,
    /// What the scheme defines. Holds the payer's signature.
    pub payload: JsonObject,
    /// The server's extensions, echoed, and what the client adds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extensions: Option<JsonObject>,
}

/// What became of the payment.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::exhaustive_structs, reason = "complete by x402 v2")]
pub struct SettleResponse {
    /// Whether money moved.
    pub success: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_reason: Option<String>,
    /// Who paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<String>,
    /// Transaction hash; empty if there is none.
    pub transaction: String,
    /// CAIP-2 name of the chain.
    pub network: String,
    /// What moved, in the asset's smallest unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    /// Extensions by key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extensions: Option<JsonObject>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_an_object_shows_keys_and_no_values() {
        let object: JsonObject = serde_json::from_str(r#"{"signature":"0xdeadbeef"}"#).unwrap();
        let shown = format!("{object:?}");
        assert!(shown.contains("signature") && !shown.contains("deadbeef"), "{shown}");
    }

    #[test]
    fn null_members_are_absent() {
        let object: JsonObject = serde_json::from_str(r#"{"a":null,"b":"x"}"#).unwrap();
        assert_eq!((object.member("a"), object.text("b")), (None, Some("x")));
    }
}
