//! Who gets an answer without paying: whoever has a key that the terms list, anybody where they say so, anybody whose model costs nothing.
//!
//! ```text
//! a payment beside it ──▶ the payment decides, `authorization` is not read
//! a key ──▶ listed: free · not listed: 401, never a price instead
//! neither ──▶ free if the terms are open or the model costs nothing · else a price (402) · else, where keys alone open: 401
//! ```
//!
//! Terms that list no keys read no `authorization`: SDKs always send one. Spec: http.md §4.6, terms-and-manifest.md §1.
//! **Invariant:** a key is hashed and compared here, and is nowhere after that: no log, no metric, no receipt has it, or which one it was.

use candor_verify::terms::{Access, ways};
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use crate::refusal::Refusal;
use crate::session::Session;
use crate::shares::{Full, Share, Who};

/// Longest value of `authorization` that is hashed, in bytes: a key is 32 random bytes in some writing.
const KEY_MAX: usize = 512;

/// What a request brings besides its body, if it brings no payment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Brings {
    Nothing,
    /// A key that the terms list, by its place there.
    Key(usize),
}

/// The key of a request. Cheap, and done before the body is read.
pub(crate) fn key_of(access: &Access, headers: &HeaderMap) -> Result<Brings, Refusal> {
    if !access.has(ways::KEYS) {
        return Ok(Brings::Nothing);
    }
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(Brings::Nothing),
        (Some(value), None) => bearer(value).and_then(|key| access.key_number(key)).map(Brings::Key).ok_or_else(wrong_key),
        // Two are not one of which somebody has to guess.
        (Some(_), Some(_)) => Err(wrong_key()),
    }
}

fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let bytes = Some(value.as_bytes()).filter(|bytes| bytes.len() <= KEY_MAX)?;
    let (scheme, key) = bytes.split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
}

fn wrong_key() -> Refusal {
    Refusal::unauthorized("This key opens nothing here. Who pays here sends no authorization header.").code("invalid_api_key")
}

/// Nobody buys here, and who has no key gets nothing.
pub(crate) fn key_needed() -> Refusal {
    Refusal::unauthorized("A key is needed here: Authorization: Bearer KEY.").code("candor_key_needed")
}

/// A payment where nothing is sold. It was not taken.
pub(crate) fn not_sold() -> Refusal {
    Refusal::new(400, "Nothing was charged: this is not sold here. Send the request without a payment.").code("candor_not_sold")
}

/// Who is let in to have this for nothing; `None` if it has a price, and there is no other way to it.
pub(crate) fn grant(session: &Session, brings: Brings, costs_nothing: bool) -> Option<Who> {
    let access = &session.serving().terms().access;
    match brings {
        Brings::Key(number) => Some(Who::Key(number)),
        Brings::Nothing if access.has(ways::OPEN) || (access.has(ways::PAID) && costs_nothing) => Some(Who::Address(session.party())),
        Brings::Nothing => None,
    }
}

/// A share of the work that nobody pays for.
pub(crate) fn enter(session: &Session, who: Who) -> Result<Share, Refusal> {
    session.serving().shares().enter(who).map_err(|full| match full {
        Full::Share => {
            let message = "As many of your requests are being answered as get an answer for nothing at once. Wait for one of them.";
            Refusal::too_many(message).code("candor_free_share")
        }
        Full::All => busy(),
    })
}

/// The node answers as much for nothing as it does, or those who pay keep it busy.
pub(crate) fn busy() -> Refusal {
    Refusal::busy("This node is busy, and who pays goes first. Try again.").code("candor_free_busy")
}

#[cfg(test)]
mod tests {
    use candor_verify::bytes::Hash32;
    use candor_verify::hash::sha256;

    use super::*;

    fn brings(ways: u32, values: &[&str]) -> Result<Brings, (u16, Option<&'static str>)> {
        let keys: [&[u8]; 2] = [b"ck_one", b"ck_two"];
        let access = Access { ways, keys: keys.iter().map(|key| sha256(&[key])).collect() };
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        key_of(&access, &headers).map_err(|refusal| (refusal.error().status, refusal.error().code))
    }

    #[test]
    fn a_key_is_one_of_those_that_the_terms_list_and_any_other_is_refused_as_a_key() {
        let both = ways::PAID | ways::KEYS;
        assert_eq!((brings(both, &[]), brings(both, &["Bearer ck_two"])), (Ok(Brings::Nothing), Ok(Brings::Key(1))));
        assert_eq!(brings(both, &["bearer  ck_one "]), Ok(Brings::Key(0)));
        let hash = sha256(&[b"ck_one"]).to_string();
        for wrong in ["Bearer ck_onf", "Bearer", "Bearer ", "", "ck_one", "Basic ck_one", "Bearer ck_one ck_two", &format!("Bearer {hash}")]
        {
            assert_eq!(brings(both, &[wrong]), Err((401, Some("invalid_api_key"))), "{wrong:?}");
        }
        assert_eq!(brings(both, &["Bearer ck_one", "Bearer ck_one"]), Err((401, Some("invalid_api_key"))));
        assert_eq!(brings(both, &[&format!("Bearer {}", "k".repeat(KEY_MAX))]), Err((401, Some("invalid_api_key"))));
    }

    #[test]
    fn where_no_key_opens_anything_what_sdks_send_is_not_read() {
        for ways in [ways::PAID, ways::OPEN, ways::PAID | ways::OPEN] {
            assert_eq!(brings(ways, &["Bearer ck_one"]), Ok(Brings::Nothing));
        }
        // The terms list it; the way is what counts.
        assert_eq!(Access { ways: ways::OPEN, keys: vec![Hash32::ZERO] }.key_number(b"ck_one"), None);
    }
}
