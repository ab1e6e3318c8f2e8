//! What a request wishes of the nodes that may answer it: `provider`, as OpenRouter's clients send it, and its model and size. The member is read
//! here and taken out, because it is a question to whoever chooses, and an enclave refuses what it does not know.
//!
//! Read are `order`, `only`, `allow_fallbacks` and `max_price`; another member is refused by its name: to ignore it would be to choose otherwise
//! than was asked. A price is an exact decimal from its bytes in the request to the comparison; no float.
//! Not here: who is asked in the end (`rank`, `buy`).

use candor_report::{Decimal, is_dollar};
use candor_verify::bytes::{Address, Amount};
use candor_verify::terms::{Asset, Classes};
use hyper::body::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::record::short;
use crate::cut::asked_tokens;
use crate::members::Members;

/// The member of a request.
const PROVIDER: &str = "provider";

/// Names in one list: more than nodes are kept.
const NAMES_MAX: usize = 32;

/// Tokens of an answer that is thought of where a request names no limit: for the order of nodes only, the price is the offer's.
const UNNAMED_TOKENS: u64 = 1_024;

/// Bytes of a request that are thought of as one token, likewise.
const TOKEN_BYTES: u64 = 4;

/// Decimals in which caps and prices are compared: as many as any token has.
const COMMON_DECIMALS: u8 = 18;

/// What a request says about who may answer it.
#[derive(Clone, Debug, Default)]
pub(super) struct Wishes {
    pub(super) model: Option<String>,
    pub(super) is_streamed: bool,
    pub(super) size: Size,
    /// These first, in this order.
    pub(super) order: Vec<String>,
    /// No others; `None`: anybody.
    pub(super) only: Option<Vec<String>>,
    /// Whether others are asked when the first one, or all of `order`, do not answer.
    pub(super) allow_fallbacks: bool,
    pub(super) max_price: MaxPrice,
    /// Nodes of these payees only, by the key of whoever asks; of any, if there is none.
    pub(super) payees: Vec<Address>,
}

/// How large a request is, for comparing prices.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Size {
    pub(super) prompt_tokens: u64,
    pub(super) completion_tokens: u64,
}

/// Most that may be asked, in US dollars: per million tokens, and per request.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct MaxPrice {
    prompt: Option<Decimal>,
    completion: Option<Decimal>,
    request: Option<Decimal>,
}

/// What is wrong with `provider`.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct WishError {
    pub(super) param: String,
    pub(super) expected: &'static str,
}

/// Members that the proxy reads of a request; the node gets them as they came.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Read {
    model: Option<String>,
    stream: Option<bool>,
}

/// A request as a proxy sends it on, without what was wished of the proxy: for a copy that somebody saved before it.
#[must_use]
pub fn proxied_request(body: &[u8]) -> Vec<u8> {
    Wishes::take(Bytes::copy_from_slice(body)).map_or_else(|_| body.to_vec(), |(_, rest)| rest.to_vec())
}

impl Wishes {
    /// Reads a request, and gives what is sent of it. A body that is no object is the node's to refuse.
    pub(super) fn take(body: Bytes) -> Result<(Self, Bytes), WishError> {
        let read: Read = serde_json::from_slice(&body).unwrap_or_default();
        let prompt_tokens = u64::try_from(body.len()).unwrap_or(u64::MAX).div_ceil(TOKEN_BYTES);
        let size = Size { prompt_tokens, completion_tokens: asked_tokens(&body).unwrap_or(UNNAMED_TOKENS) };
        let mut wishes = Self { model: read.model, is_streamed: read.stream == Some(true), size, allow_fallbacks: true, ..Self::default() };
        let Some(mut members) = Members::parse(&body) else { return Ok((wishes, body)) };
        match members.all(PROVIDER).collect::<Vec<_>>().as_slice() {
            [] => return Ok((wishes, body)),
            [one] if one.get() == "null" => {}
            [one] => wishes.read_provider(one)?,
            _ => return Err(error("", "to be named once")),
        }
        members.remove(PROVIDER);
        let shorter = members.encode().into_bytes();
        Ok((wishes, shorter.into()))
    }

    fn read_provider(&mut self, value: &RawValue) -> Result<(), WishError> {
        let members = Members::parse(value.get().as_bytes()).ok_or_else(|| error("", "an object"))?;
        if let Some(unknown) = members.names().find(|name| !["order", "only", "allow_fallbacks", "max_price"].contains(name)) {
            return Err(error(unknown, "order, only, allow_fallbacks or max_price, and nothing else"));
        }
        let value = |name: &'static str| members.all(name).last().filter(|value| value.get() != "null");
        if let Some(order) = value("order") {
            self.order = names("order", order)?;
        }
        self.only = value("only").map(|only| names("only", only)).transpose()?;
        if let Some(allowed) = value("allow_fallbacks") {
            self.allow_fallbacks = serde_json::from_str(allowed.get()).map_err(|_| error("allow_fallbacks", "true or false"))?;
        }
        if let Some(price) = value("max_price") {
            self.max_price = MaxPrice::read(price)?;
        }
        Ok(())
    }
}

impl MaxPrice {
    fn read(value: &RawValue) -> Result<Self, WishError> {
        let members = Members::parse(value.get().as_bytes()).ok_or_else(|| error("max_price", "an object"))?;
        let mut max = Self::default();
        for name in members.names() {
            let place = match name {
                "prompt" => &mut max.prompt,
                "completion" => &mut max.completion,
                "request" => &mut max.request,
                other => return Err(error(&format!("max_price.{other}"), "prompt, completion or request, and nothing else")),
            };
            let raw = members.all(name).last().map(RawValue::get).filter(|raw| *raw != "null");
            // OpenRouter's clients send numbers or texts; either is taken digit by digit.
            let digits = raw.map(|raw| raw.trim_matches('"'));
            let wrong = |_| error(&format!("max_price.{name}"), "US dollars in digits such as 0.25, with 18 behind the point at most");
            *place = digits.map(|digits| Decimal::parse(digits).map_err(wrong)).transpose()?;
        }
        Ok(max)
    }

    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether prices in this token are within it. What is no dollar cannot be compared, and is not.
    pub(super) fn allows(&self, classes: &Classes, asset: &Asset) -> bool {
        let caps = [(self.prompt, classes.input), (self.completion, classes.output), (self.request, classes.request)];
        self.is_none() || (is_dollar(asset) && caps.into_iter().all(|(cap, price)| is_within(price, cap, asset.decimals)))
    }

    /// Whether a signed price of so many tokens is within it, whatever list it was made by.
    pub(super) fn allows_amount(&self, amount: Amount, tokens: Size, asset: &Asset) -> bool {
        if self.is_none() {
            return true;
        }
        let units = |cap: Option<Decimal>| cap.map_or(Some(u128::MAX), |cap| cap.units(COMMON_DECIMALS).ok().map(|units| units.0));
        let most = || -> Option<u128> {
            let [prompt, completion, request] = [units(self.prompt)?, units(self.completion)?, units(self.request)?];
            let part = |cap: u128, tokens: u64| cap.saturating_mul(tokens.into()).div_ceil(1_000_000);
            let metered = part(prompt, tokens.prompt_tokens).saturating_add(part(completion, tokens.completion_tokens));
            Some(metered.saturating_add(request))
        };
        is_dollar(asset) && most().zip(common(amount, asset.decimals)).is_some_and(|(most, amount)| amount <= most)
    }
}

/// Both in one scale; what does not fit into it is not within.
fn is_within(price: Amount, cap: Option<Decimal>, decimals: u8) -> bool {
    let Some(cap) = cap else { return true };
    let cap = cap.units(COMMON_DECIMALS).ok().map(|units| units.0);
    common(price, decimals).zip(cap).is_some_and(|(price, cap)| price <= cap)
}

fn common(amount: Amount, decimals: u8) -> Option<u128> {
    let factor = 10_u128.checked_pow(COMMON_DECIMALS.checked_sub(decimals)?.into())?;
    amount.0.checked_mul(factor)
}

fn names(field: &str, value: &RawValue) -> Result<Vec<String>, WishError> {
    let wrong = || error(field, "a list of at most 32 names: an operator's address, a node's host:port, or its https URL");
    let names: Vec<String> = serde_json::from_str(value.get()).map_err(|_| wrong())?;
    if names.len() <= NAMES_MAX { Ok(names) } else { Err(wrong()) }
}

fn error(member: &str, expected: &'static str) -> WishError {
    let param = if member.is_empty() { PROVIDER.to_owned() } else { format!("{PROVIDER}.{}", short(member)) };
    WishError { param, expected }
}

#[cfg(test)]
mod tests {
    use candor_verify::bytes::Address;

    use super::*;

    fn take(body: &str) -> Result<(Wishes, String), WishError> {
        let (wishes, rest) = Wishes::take(Bytes::copy_from_slice(body.as_bytes()))?;
        Ok((wishes, String::from_utf8(rest.to_vec()).unwrap()))
    }

    fn token(name: &str, decimals: u8) -> Asset {
        Asset { chain_id: 1, asset: Address([1; 20]), name: name.into(), version: "2".into(), decimals }
    }

    #[test]
    fn what_is_wished_is_read_and_taken_out_and_the_rest_keeps_its_bytes() {
        let body = r#"{"model":"m","provider":{"order":["a:1"],"only":["a:1","0xAB"],"allow_fallbacks":false,"max_price":{"prompt":0.5,"request":"1"}},"seed":1.0,"stream":true,"max_tokens":7}"#;
        let (wishes, rest) = take(body).unwrap();
        assert_eq!(rest, r#"{"model":"m","seed":1.0,"stream":true,"max_tokens":7}"#);
        assert_eq!((wishes.order.as_slice(), wishes.only.as_deref().map(<[_]>::len)), (["a:1".to_owned()].as_slice(), Some(2)));
        assert_eq!((wishes.allow_fallbacks, wishes.is_streamed, wishes.model.as_deref()), (false, true, Some("m")));
        assert_eq!((wishes.size.completion_tokens, wishes.max_price.completion), (7, None));
        let (none, same) = take(r#"{"model":"m" }"#).unwrap();
        assert!(none.allow_fallbacks && none.only.is_none() && none.max_price.is_none());
        assert_eq!(same, r#"{"model":"m" }"#, "to the byte");
        assert_eq!(take(r#"{"provider":null,"a":1}"#).unwrap().1, r#"{"a":1}"#);
        assert_eq!(take("not JSON").unwrap().1, "not JSON");
    }

    #[test]
    fn what_is_not_known_or_makes_no_sense_is_refused_by_its_name() {
        for (provider, param) in [
            (r#"{"sort":"price"}"#, "provider.sort"),
            (r#"{"order":"a"}"#, "provider.order"),
            (r#"{"only":[1]}"#, "provider.only"),
            (r#"{"allow_fallbacks":"no"}"#, "provider.allow_fallbacks"),
            (r#"{"max_price":{"image":1}}"#, "provider.max_price.image"),
            (r#"{"max_price":{"prompt":1e-6}}"#, "provider.max_price.prompt"),
            (r#"{"max_price":{"prompt":-1}}"#, "provider.max_price.prompt"),
            ("[]", "provider"),
        ] {
            assert_eq!(take(&format!(r#"{{"provider":{provider}}}"#)).unwrap_err().param, param);
        }
        assert_eq!(take(r#"{"provider":{},"provider":{}}"#).unwrap_err().param, "provider");
        let long = take(&format!(r#"{{"provider":{{"{}":1}}}}"#, "x".repeat(10_000))).unwrap_err().param;
        assert!(long.len() < 100);
    }

    #[test]
    fn a_cap_is_compared_digit_by_digit_and_only_with_dollars() {
        let cap = |text: &str| take(&format!(r#"{{"provider":{{"max_price":{text}}}}}"#)).unwrap().0.max_price;
        let classes = Classes { input: Amount(300_000), output: Amount(900_000), request: Amount(5), ..Classes::default() };
        let usdc = token("USDC", 6);
        for (text, allows) in [
            (r#"{"prompt":0.3}"#, true),
            (r#"{"prompt":0.299999999999999999}"#, false),
            (r#"{"prompt":"0.3","completion":0.9,"request":0.000005}"#, true),
            (r#"{"request":0.000004}"#, false),
            ("{}", true),
        ] {
            assert_eq!(cap(text).allows(&classes, &usdc), allows, "{text}");
        }
        assert!(!cap(r#"{"prompt":9}"#).allows(&classes, &token("EURC", 6)) && cap("{}").allows(&classes, &token("EURC", 6)));
        assert!(!cap(r#"{"prompt":9}"#).allows(&classes, &token("USDC", 30)), "decimals that no token has");
        // 100 tokens in at 0.3, 50 out at 0.9 per million: 75 units.
        let (size, capped) = (Size { prompt_tokens: 100, completion_tokens: 50 }, cap(r#"{"prompt":0.3,"completion":0.9,"request":0}"#));
        assert!(capped.allows_amount(Amount(75), size, &usdc) && !capped.allows_amount(Amount(76), size, &usdc));
        assert!(cap(r#"{"prompt":0.3}"#).allows_amount(Amount(u128::from(u64::MAX)), size, &usdc), "no cap on the rest");
    }
}
