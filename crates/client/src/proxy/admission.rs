//! Whose requests are taken: programs of this machine, and with a token those that have it. Never a web page.

use std::fmt;

use candor_verify::bytes::{Hash32, to_hex};
use candor_verify::hash::sha256;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, ORIGIN};
use hyper::{Method, Response, StatusCode};

use super::ProxyBody;
use super::errors::refusal;
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

    fn admits(&self, headers: &HeaderMap) -> bool {
        let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (scheme, text) = value.split_once(' ').unwrap_or_default();
        let got = sha256(&[text.trim().as_bytes()]);
        let differing = self.0.0.iter().zip(got.0).fold(0, |differing, (ours, theirs)| differing | (ours ^ theirs));
        scheme.eq_ignore_ascii_case("bearer") && differing == 0
    }
}

impl fmt::Debug for ProxyToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyToken")
    }
}

/// Web pages can send requests to loopback, and names can be rebound to it: neither may spend the wallet, nor learn that it is there. SDKs
/// send neither Origin nor `Sec-Fetch-Site`, and the JSON content type forces a page into a preflight that is never answered.
pub(super) fn refuse_strangers(headers: &HeaderMap, method: &Method, token: Option<&ProxyToken>) -> Option<Response<ProxyBody>> {
    let header = |name: &str| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let refuse = |status: StatusCode, message: &str| Some(refusal(status, Some("candor_proxy"), message));
    // A page's plain GET has no Origin; browsers say of it where it comes from.
    if headers.contains_key(ORIGIN) || header("sec-fetch-site") == Some("cross-site") {
        return refuse(StatusCode::FORBIDDEN, "the proxy serves programs on this machine, not web pages");
    }
    let host = header("host").unwrap_or_default();
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host, |(name, _)| name);
    if !matches!(name, "127.0.0.1" | "localhost" | "[::1]") {
        return refuse(StatusCode::FORBIDDEN, "the Host header must name loopback");
    }
    if token.is_some_and(|token| !token.admits(headers)) {
        let message = "this proxy was started with --token: send that token as your API key (Authorization: Bearer TOKEN)";
        return Some(refusal(StatusCode::UNAUTHORIZED, Some("invalid_api_key"), message));
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
        refuse_strangers(&headers(of), &Method::GET, token).map(|refused| refused.status().as_u16())
    }

    #[test]
    fn web_pages_are_refused_on_every_route_whatever_they_ask() {
        assert_eq!(status_of(&[OURS], None), None);
        assert_eq!(status_of(&[OURS, ("sec-fetch-site", "cross-site")], None), Some(403));
        assert_eq!(status_of(&[OURS, ("origin", "null")], None), Some(403));
        assert_eq!(status_of(&[("host", "rebound.example:8080")], None), Some(403));
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
