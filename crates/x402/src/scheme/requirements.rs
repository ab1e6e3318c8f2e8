//! What must be signed so that it pays, typed: what our server asks and what our client reads out of a foreign entry of `accepts`.
//!
//! One struct, two directions: [`Requirements::to_entry`] for the 402, [`Requirements::parse`] for whoever reads one. Reserved members of
//! `extra` (`paymentFlow`, `assetTransferMethod`) are read here too. Reference: x402 v2, `exact` and `upto` on EVM.

use std::fmt;

use candor_verify::bytes::{Address, Amount};
use candor_verify::payment::TokenDomain;
use candor_verify::scheme::Through;
use serde_json::Value;

use super::{eip3009, permit2};
use crate::protocol::{Eip155, JsonObject, PaymentRequirements};

/// Verify, handle, settle: the only flow of this crate, and the default when `extra` names none.
pub const FLOW_AUTHORIZATION: &str = "authorization";

/// Longest token name or version that is read, in bytes.
const MAX_DOMAIN_TEXT: usize = 128;

/// What must be signed so that it pays, in the flow `authorization`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete by the schemes")]
pub struct Requirements {
    /// Through which contract.
    pub through: Through,
    /// Chain of the token.
    pub network: Eip155,
    /// Token contract.
    pub asset: Address,
    /// Payee.
    pub pay_to: Address,
    /// Price, or its ceiling, in the asset's smallest unit. What is signed is neither less nor more.
    pub amount: Amount,
    /// Seconds that the payment may stay open.
    pub max_timeout_seconds: u64,
    /// EIP-712 name of the token on that chain ("USDC" on one, "USD Coin" on another).
    pub token_name: String,
    /// EIP-712 version of the token.
    pub token_version: String,
}

/// Why an entry of `accepts` is not payable by this crate. Names the field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RequirementsError {
    /// Another scheme than `exact` and `upto`.
    Scheme,
    /// Not an EVM chain.
    Network,
    /// A payment flow other than `authorization`.
    PaymentFlow,
    /// A transfer method other than the scheme's.
    TransferMethod,
    /// It does not say who alone may submit.
    Facilitator,
    /// Not a plain decimal below 2^128.
    Amount,
    /// Not an address.
    Asset,
    /// Not an address.
    PayTo,
    /// Zero.
    MaxTimeout,
    /// `extra.name` or `extra.version` is missing or over-long.
    Domain,
}

impl fmt::Display for RequirementsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "its scheme is neither `exact` nor `upto`",
            Self::Network => "its network is not an EVM chain",
            Self::PaymentFlow => "its payment flow is not `authorization`",
            Self::TransferMethod => "its transfer method is not EIP-3009 (`exact`) or Permit2 (`upto`)",
            Self::Facilitator => "it does not name the address that alone may submit",
            Self::Amount => "its amount is not a plain decimal below 2^128",
            Self::Asset => "its asset is not an address",
            Self::PayTo => "its payee is not an address",
            Self::MaxTimeout => "it leaves no time to pay",
            Self::Domain => "it does not name the token's domain",
        })
    }
}

impl std::error::Error for RequirementsError {}

impl Requirements {
    /// Reads an entry of `accepts`. Believes nothing.
    ///
    /// # Errors
    /// The first field that this crate cannot pay.
    pub fn parse(entry: &PaymentRequirements) -> Result<Self, RequirementsError> {
        let extra = entry.extra.as_ref();
        let read: fn(Option<&JsonObject>) -> Result<Through, RequirementsError> = match entry.scheme.as_str() {
            eip3009::SCHEME => eip3009::through,
            permit2::SCHEME => permit2::through,
            _ => return Err(RequirementsError::Scheme),
        };
        if payment_flow(extra) != Some(FLOW_AUTHORIZATION) {
            return Err(RequirementsError::PaymentFlow);
        }
        let text = |key| extra.and_then(|extra| extra.text(key)).filter(|text| text.len() <= MAX_DOMAIN_TEXT).map(str::to_owned);
        Ok(Self {
            through: read(extra)?,
            network: Eip155::parse(&entry.network).ok_or(RequirementsError::Network)?,
            asset: Address::from_hex(&entry.asset).ok_or(RequirementsError::Asset)?,
            pay_to: Address::from_hex(&entry.pay_to).ok_or(RequirementsError::PayTo)?,
            amount: Amount::from_decimal(&entry.amount).ok_or(RequirementsError::Amount)?,
            max_timeout_seconds: Some(entry.max_timeout_seconds).filter(|s| *s != 0).ok_or(RequirementsError::MaxTimeout)?,
            token_name: text("name").ok_or(RequirementsError::Domain)?,
            token_version: text("version").ok_or(RequirementsError::Domain)?,
        })
    }

    /// The entry of `accepts`.
    #[must_use]
    pub fn to_entry(&self) -> PaymentRequirements {
        let text = |key: &str, value: &str| (key.to_owned(), Value::from(value));
        let (scheme, more) = match self.through {
            Through::Token => (eip3009::SCHEME, vec![]),
            Through::UptoProxy { facilitator, .. } => (permit2::SCHEME, permit2::extra(&facilitator)),
        };
        let domain = [text("name", &self.token_name), text("version", &self.token_version)];
        PaymentRequirements {
            scheme: scheme.to_owned(),
            network: self.network.to_string(),
            amount: self.amount.to_string(),
            asset: self.asset.to_string(),
            pay_to: self.pay_to.to_string(),
            max_timeout_seconds: self.max_timeout_seconds,
            extra: Some(domain.into_iter().chain(more).collect()),
        }
    }

    /// The domain of the token.
    #[must_use]
    pub fn token(&self) -> TokenDomain {
        TokenDomain { name: self.token_name.clone(), version: self.token_version.clone(), chain_id: self.network.0, asset: self.asset }
    }
}

/// The payment flow that `extra` names, the default if it names none, `None` if the member is not a string.
#[must_use]
pub fn payment_flow(extra: Option<&JsonObject>) -> Option<&str> {
    reserved(extra, "paymentFlow", FLOW_AUTHORIZATION)
}

/// The transfer method that `extra` names, the scheme's own if it names none, `None` if the member is not a string.
#[must_use]
pub(super) fn transfer_method<'a>(extra: Option<&'a JsonObject>, default: &'static str) -> Option<&'a str> {
    reserved(extra, "assetTransferMethod", default)
}

fn reserved<'a>(extra: Option<&'a JsonObject>, key: &str, default: &'static str) -> Option<&'a str> {
    extra.and_then(|extra| extra.member(key)).map_or(Some(default), Value::as_str)
}

#[cfg(test)]
pub(crate) mod tests {
    use candor_verify::scheme::UPTO_PROXY;

    use super::*;

    pub(crate) fn sample() -> Requirements {
        Requirements {
            through: Through::Token,
            network: Eip155(31337),
            asset: Address([7; 20]),
            pay_to: Address([2; 20]),
            amount: Amount(1000),
            max_timeout_seconds: 300,
            token_name: "USDC".into(),
            token_version: "2".into(),
        }
    }

    fn upto() -> Requirements {
        let through = Through::UptoProxy { spender: UPTO_PROXY, facilitator: Address([3; 20]) };
        Requirements { through, ..sample() }
    }

    #[test]
    fn upto_must_name_who_submits_and_go_through_permit2() {
        let change = |key: &str, value: Value| {
            let mut entry = upto().to_entry();
            entry.extra.as_mut().unwrap().0.insert(key.into(), value);
            Requirements::parse(&entry)
        };
        assert_eq!(change("facilitatorAddress", Value::Null), Err(RequirementsError::Facilitator));
        assert_eq!(change("facilitatorAddress", "0x00".into()), Err(RequirementsError::Facilitator));
        assert_eq!(change("assetTransferMethod", "eip3009".into()), Err(RequirementsError::TransferMethod));
        assert_eq!(change("assetTransferMethod", Value::Null), Ok(upto()));
    }

    #[test]
    fn terms_read_back_as_written() {
        assert_eq!(Requirements::parse(&sample().to_entry()), Ok(sample()));
        let upto = upto();
        assert_eq!(Requirements::parse(&upto.to_entry()), Ok(upto));
    }

    #[test]
    fn each_field_that_cannot_be_paid_is_named() {
        let change = |key: &str, value: Value| {
            let mut entry = sample().to_entry();
            entry.extra.as_mut().unwrap().0.insert(key.into(), value);
            Requirements::parse(&entry)
        };
        assert_eq!(change("paymentFlow", "upfront".into()), Err(RequirementsError::PaymentFlow));
        assert_eq!(change("paymentFlow", "barter".into()), Err(RequirementsError::PaymentFlow));
        assert_eq!(change("paymentFlow", 7.into()), Err(RequirementsError::PaymentFlow));
        assert_eq!(change("paymentFlow", "authorization".into()), Ok(sample()));
        assert_eq!(change("paymentFlow", Value::Null), Ok(sample()));
        assert_eq!(change("assetTransferMethod", "permit2".into()), Err(RequirementsError::TransferMethod));
        assert_eq!(change("assetTransferMethod", "eip3009".into()), Ok(sample()));
        assert_eq!(change("name", Value::Null), Err(RequirementsError::Domain));
        assert_eq!(change("version", "x".repeat(129).into()), Err(RequirementsError::Domain));
        let change = |break_it: fn(&mut PaymentRequirements)| {
            let mut entry = sample().to_entry();
            break_it(&mut entry);
            Requirements::parse(&entry)
        };
        assert_eq!(change(|e| e.scheme = "barter".into()), Err(RequirementsError::Scheme));
        assert_eq!(change(|e| e.scheme = "upto".into()), Err(RequirementsError::Facilitator));
        assert_eq!(change(|e| e.network = "solana:x".into()), Err(RequirementsError::Network));
        assert_eq!(change(|e| e.asset = "USD".into()), Err(RequirementsError::Asset));
        assert_eq!(change(|e| e.pay_to = "merchant".into()), Err(RequirementsError::PayTo));
        assert_eq!(change(|e| e.max_timeout_seconds = 0), Err(RequirementsError::MaxTimeout));
        assert_eq!(change(|e| e.extra = None), Err(RequirementsError::Domain));
    }

    #[test]
    fn amounts_that_are_not_plain_decimals_are_refused() {
        for text in ["", "1abc", "USD 10", "$1", "1e3", "+1", " 1", "-1", "01", "1.0", "0x10", "340282366920938463463374607431768211456"] {
            let entry = PaymentRequirements { amount: text.into(), ..sample().to_entry() };
            assert_eq!(Requirements::parse(&entry), Err(RequirementsError::Amount), "{text}");
        }
    }
}
