//! Whose requests are taken: programs of this machine, and with a token those that have it. Never a web page.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use candor_report::ProxyKeyText;
use candor_verify::bytes::{Hash32, to_hex};
use candor_verify::hash::sha256;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, ORIGIN, WWW_AUTHENTICATE};
use hyper::{Method, Response, StatusCode};

use super::ProxyBody;
use super::errors::{PROXY_CODE, refusal};
use super::keys::{holder, is_equal};
use super::page::is_browser;
use crate::caller::Caller;
use crate::error::ClientError;
use crate::resolve::random32;

/// Shortest token taken: what can be tried out is none.
const TOKEN_MIN: usize = 16;

/// What requests bring as `Authorization: Bearer …`, where SDKs send their API key. Only its hash is kept: how long two hashes take to
/// compare says nothing about a token.
#[derive(Clone)]
pub struct ProxyToken(Hash32);

impl ProxyToken {
    /// The token with this text.
    ///
    /// # Errors
    /// `Usage` if it is short, or cannot be sent in a header.
    pub fn new(text: &str) -> Result<Self, ClientError> {
        if text.len() < TOKEN_MIN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let expected = format!("expected a token of at least {TOKEN_MIN} letters, digits and marks, without spaces");
            return Err(ClientError::Usage(expected));
        }
        Ok(Self(sha256(&[text.as_bytes()])))
    }

    /// The text of a new one.
    ///
    /// # Errors
    /// `Usage` if the system has no randomness.
    pub fn random() -> Result<String, ClientError> {
        Ok(to_hex(&random32()?.0).trim_start_matches("0x").to_owned())
    }

    /// Whether a request brings it: as a bearer; or a browser, which only reads, as the password of Basic.
    fn admits(&self, headers: &HeaderMap, method: &Method) -> bool {
        let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (scheme, text) = value.split_once(' ').unwrap_or_default();
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        let text = match scheme.to_ascii_lowercase().as_str() {
            "bearer" => text.trim().as_bytes().to_vec(),
            // A browser sends it by itself once it was told, so nothing may be bought with it.
            "basic" if is_read => {
                let pair = STANDARD.decode(text.trim()).unwrap_or_default();
                pair.iter().position(|byte| *byte == b':').and_then(|at| pair.get(at.saturating_add(1)..)).unwrap_or_default().to_vec()
            }
            _ => return false,
        };
        is_equal(&self.0, &sha256(&[&text]))
    }
}

impl fmt::Debug for ProxyToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyToken")
    }
}

/// Who asks: with a key of its own, or as anybody who may. With a token or keys, nobody else may.
pub(super) fn admit(
    headers: &HeaderMap,
    method: &Method,
    token: Option<&ProxyToken>,
    keys: Option<&[ProxyKeyText]>,
) -> Result<Option<Caller>, Box<Response<ProxyBody>>> {
    if let Some(refused) = refuse_strangers(headers, method) {
        return Err(Box::new(refused));
    }
    if token.is_some_and(|token| token.admits(headers, method)) {
        return Ok(None);
    }
    if let Some(caller) = bearer(headers).zip(keys).and_then(|(key, keys)| holder(keys, key)) {
        return Ok(Some(caller));
    }
    if token.is_none() && keys.is_none() {
        return Ok(None);
    }
    let message = match token.is_some() {
        true => {
            "this proxy was started with --token: send that token, or a key of this proxy, as your API key (Authorization: Bearer TOKEN)"
        }
        false => "this proxy has keys (candor proxy key): send one as your API key (Authorization: Bearer KEY)",
    };
    let mut refused = refusal(StatusCode::UNAUTHORIZED, Some("invalid_api_key"), message);
    if token.is_some() && is_browser(headers) {
        refused.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"candor proxy: the token is the password\""));
    }
    Err(Box::new(refused))
}

/// What stands where SDKs send their API key.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, text) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| text.trim().as_bytes())
}

/// Web pages can send requests to loopback, and names can be rebound to it: neither may spend the wallet, nor learn that it is there. SDKs
/// send neither Origin nor `Sec-Fetch-Site`, and the JSON content type forces a page into a preflight that is never answered.
fn refuse_strangers(headers: &HeaderMap, method: &Method) -> Option<Response<ProxyBody>> {
    let header = |name: &str| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let refuse = |status: StatusCode, message: &str| Some(refusal(status, Some(PROXY_CODE), message));
    // A page's plain GET has no Origin; browsers say of it where it comes from. Another port of loopback is the same site, and somebody else's.
    let is_foreign = headers.get("sec-fetch-site").is_some_and(|site| site != "none" && site != "same-origin");
    if headers.contains_key(ORIGIN) || is_foreign {
        return refuse(StatusCode::FORBIDDEN, "the proxy serves programs on this machine, not web pages");
    }
    let host = header("host").unwrap_or_default();
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host, |(name, _)| name);
    if !matches!(name, "127.0.0.1" | "localhost" | "[::1]") {
        return refuse(StatusCode::FORBIDDEN, "the Host header must name loopback");
    }
    let kind = header("content-type").and_then(|kind| kind.split(';').next()).unwrap_or_default();
    let is_json = kind.trim().eq_ignore_ascii_case("application/json");
    if *method == Method::POST && !is_json {
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the content type must be application/json");
    }
    None
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderName;

    use super::*;

    fn headers(of: &[(&'static str, &str)]) -> HeaderMap {
        of.iter().map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())).collect()
    }

    const OURS: (&str, &str) = ("host", "127.0.0.1:8080");

    fn status_of(of: &[(&'static str, &str)], token: Option<&ProxyToken>) -> Option<u16> {
        admit(&headers(of), &Method::GET, token, None).err().map(|refused| refused.status().as_u16())
    }

    #[test]
    fn web_pages_are_refused_on_every_route_whatever_they_ask() {
        assert_eq!(status_of(&[OURS], None), None);
        for site in ["cross-site", "same-site", "elsewhere", ""] {
            assert_eq!(status_of(&[OURS, ("sec-fetch-site", site)], None), Some(403), "{site:?}");
        }
        for site in ["none", "same-origin"] {
            assert_eq!(status_of(&[OURS, ("sec-fetch-site", site)], None), None, "{site:?}");
        }
        assert_eq!(status_of(&[OURS, ("origin", "null")], None), Some(403));
        assert_eq!(status_of(&[("host", "rebound.example:8080")], None), Some(403));
    }

    #[test]
    fn a_browser_brings_the_token_as_a_password_and_can_only_read_with_it() {
        let text = ProxyToken::random().unwrap();
        let token = ProxyToken::new(&text).unwrap();
        let basic = |password: &str| format!("Basic {}", STANDARD.encode(format!("anybody:{password}")));
        let status = |method: Method, value: &str| {
            let of = headers(&[OURS, ("authorization", value), ("accept", "text/html"), ("content-type", "application/json")]);
            admit(&of, &method, Some(&token), None).err()
        };
        assert!(status(Method::GET, &basic(&text)).is_none() && status(Method::HEAD, &basic(&text)).is_none());
        assert_eq!(status(Method::POST, &basic(&text)).unwrap().status().as_u16(), 401, "what a browser sends by itself buys nothing");
        let refused = status(Method::GET, &basic("wrong")).unwrap();
        assert!(refused.status().as_u16() == 401 && refused.headers().contains_key(WWW_AUTHENTICATE));
        for value in ["Basic", "Basic !", &format!("Basic {}", STANDARD.encode(&text))] {
            assert!(status(Method::GET, value).is_some(), "{value}");
        }
    }

    #[test]
    fn where_there_are_keys_their_holders_are_admitted_by_name_and_nobody_else_is() {
        let key = |name: &str, key: &str| ProxyKeyText {
            name: name.into(),
            hash: sha256(&[key.as_bytes()]),
            per_request: None,
            per_hour: None,
            per_day: None,
            models: Vec::new(),
            payees: Vec::new(),
        };
        let keys = [key("a", "one"), key("b", "two")];
        let text = ProxyToken::random().unwrap();
        let token = ProxyToken::new(&text).unwrap();
        let name = |method: Method, value: &str, token: Option<&ProxyToken>, keys: &[ProxyKeyText]| {
            let of = headers(&[OURS, ("authorization", value), ("content-type", "application/json")]);
            let caller = admit(&of, &method, token, Some(keys)).map_err(|refused| refused.status().as_u16())?;
            Ok(caller.map(|caller| caller.name().to_owned()))
        };
        for token in [None, Some(&token)] {
            assert_eq!(name(Method::POST, "Bearer two", token, &keys), Ok(Some("b".into())));
            for wrong in ["", "Bearer", "Bearer three", "Basic two", "two"] {
                assert_eq!(name(Method::POST, wrong, token, &keys), Err(401), "{wrong}");
            }
            assert_eq!(name(Method::POST, "Bearer one", token, &[]), Err(401), "all keys were taken away");
        }
        assert_eq!(name(Method::POST, &format!("Bearer {text}"), Some(&token), &keys), Ok(None), "the token has no budget of its own");
        assert_eq!((name(Method::GET, "", None, &keys), name(Method::GET, "", Some(&token), &keys)), (Err(401), Err(401)));
    }

    #[test]
    fn a_token_admits_whoever_sends_it_and_nobody_else() {
        let text = ProxyToken::random().unwrap();
        let token = ProxyToken::new(&text).unwrap();
        let status = |value: &str| status_of(&[OURS, ("authorization", value)], Some(&token));
        assert_eq!(status_of(&[OURS], Some(&token)), Some(401));
        for wrong in
            ["", "Bearer", "Bearer ", &text, &format!("Basic {text}"), &format!("Bearer {text}0"), &format!("Bearer {}", &text[1..])]
        {
            assert_eq!(status(wrong), Some(401), "{wrong}");
        }
        assert_eq!((status(&format!("Bearer {text}")), status(&format!("bearer {text}"))), (None, None));
        assert!(!format!("{token:?}").contains(&text[..8]));
        for weak in ["", "short", "with a space in it", "sixteen\ncharacters"] {
            assert!(ProxyToken::new(weak).is_err(), "{weak:?}");
        }
    }
}
