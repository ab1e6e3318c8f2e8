//! Answers that nobody pays for: the key that opens a node, when it is shown, and what becomes of such an answer.
//!
//! Which answers cost nothing the node's signed terms say; whoever asks finds out by asking, and judges the receipt like any other. No wallet,
//! no book: nothing can be charged, so who loses an answer asks again.
//!
//! - **Invariant:** a key leaves only over a connection whose TLS key is attested, and only to a node whose terms list its hash.
//! - **Invariant:** who shows a key does not pay: a price is an error then.

use std::fmt;
use std::time::Duration;

use candor_verify::bundle::{Bundle, Request, Response};
use candor_verify::bytes::Hash32;
use candor_verify::hash::sha256;
use candor_verify::terms::OperatorTerms;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use zeroize::Zeroizing;

use crate::ask::{Answer, Buyer, CHAT_PATH, Progress, VerifiedResponse, answer_text, evidence_of, judge, read_answer};
use crate::error::ClientError;
use crate::resolve::{VerifiedNode, random32};

/// Longest time that an answer is read for: twice the time that a payment could give it.
const ANSWER_SECONDS: u64 = 600;

/// What a new key begins with, so that who finds one knows what it is.
const PREFIX: &str = "ck_";

/// Shortest and longest key, in characters. The terms publish its hash: what can be tried out is no key.
const LENGTH: std::ops::RangeInclusive<usize> = 32..=256;

/// What opens a node without a payment. `Debug` does not show it.
#[derive(Clone)]
pub struct AccessKey(Zeroizing<String>);

impl AccessKey {
    /// The key with this text.
    ///
    /// # Errors
    /// `Usage` if it is too short to be one, or cannot be sent in a header.
    pub fn new(text: &str) -> Result<Self, ClientError> {
        if !LENGTH.contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let (least, most) = (LENGTH.start(), LENGTH.end());
            let expected = format!("expected a key of {least} to {most} letters, digits and marks, without spaces");
            return Err(ClientError::Usage(expected));
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// A new one, of 32 random bytes.
    ///
    /// # Errors
    /// `Usage` if the system has no randomness.
    pub fn random() -> Result<Self, ClientError> {
        use base64::Engine as _;
        let bytes = Zeroizing::new(random32()?.0);
        Ok(Self(Zeroizing::new(format!("{PREFIX}{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes.as_slice())))))
    }

    /// What terms list it by.
    #[must_use]
    pub fn hash(&self) -> Hash32 {
        sha256(&[self.0.as_bytes()])
    }

    /// The key itself, for whoever is to have it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// As `authorization`, not shown by `Debug` either.
    fn to_header(&self) -> Result<HeaderValue, ClientError> {
        let value = HeaderValue::from_str(&format!("Bearer {}", *self.0));
        let mut value = value.map_err(|_| ClientError::Usage("the key does not fit a header".into()))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessKey")
    }
}

/// Whether who asks for this model needs a wallet, by what the operator signed. A price list may make less of it and never more.
#[must_use]
pub fn needs_wallet(terms: &OperatorTerms, model: Option<&str>, key: Option<&AccessKey>) -> bool {
    let named = terms.answering_models().find(|listed| model.is_none_or(|id| listed.id == id));
    key.is_none() && named.is_none_or(|model| !terms.is_given_away(&model.digest))
}

/// The key as it goes to this node, if there is one; an error if it opens nothing there.
pub(crate) fn shown_to(node: &VerifiedNode, key: Option<&AccessKey>) -> Result<Option<HeaderValue>, ClientError> {
    let Some(key) = key else { return Ok(None) };
    match node.enclave.terms().access.key_number(key.0.as_bytes()) {
        Some(_) => key.to_header().map(Some),
        None => Err(ClientError::Usage(format!(
            "expected a key that the terms of {} list, got one with SHA-256 {}; it was not sent, and nothing was asked",
            node.endpoint.authority(),
            key.hash()
        ))),
    }
}

/// Reads, judges and keeps an answer that came without a price.
pub(crate) async fn take(
    node: &mut VerifiedNode,
    buyer: &Buyer<'_>,
    response: hyper::Response<Incoming>,
    body: &[u8],
    on_progress: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<VerifiedResponse, ClientError> {
    let refused = |check, what, kept| ClientError::RefusedGift { check, what, kept };
    let endpoint = node.endpoint.authority();
    let read = tokio::time::timeout(Duration::from_secs(ANSWER_SECONDS), read_answer(node, response, on_progress)).await;
    let answer = match read {
        Ok(Ok(answer)) => answer,
        Ok(Err(ClientError::Dishonest { check, what })) => return Err(refused(check, what, Err("no bundle can be made of it".into()))),
        Ok(Err(error)) => return Err(error),
        Err(_) => return Err(ClientError::Unreachable { endpoint, what: format!("the answer did not end in {ANSWER_SECONDS} s") }),
    };
    let (receipt_id, misnamed) = (answer.receipt_id(), answer.misnamed());
    let Answer { seed, frames, delivery, .. } = answer;
    let Some(salt) = delivery.request_salt else {
        let what = "an answer without a price whose delivery does not tell the salt of its request".to_owned();
        return Err(refused("request.commitment", what, Err("no bundle can be made of it".into())));
    };
    let bundle = Bundle {
        evidence: evidence_of(node, &delivery.receipt).await,
        request: Request { salt, method: "POST".into(), path: CHAT_PATH.into(), body: body.to_vec() },
        response: Response { seed, frames },
        sale: None,
        delivery,
        later_trees: Vec::new(),
    };
    let judged = judge(&bundle, buyer.policy).and_then(|judged| misnamed.map_or(Ok(judged), |what| Err(("response.form", what))));
    let (verdict, verified) = judged.map_err(|(check, what)| refused(check, what, buyer.keep.refused(&bundle, check)))?;
    let path = buyer.keep.accepted(&bundle, &verdict)?;
    let Some(verified) = verified else { return Err(ClientError::CannotTell(Box::new(verdict))) };
    let text = answer_text(&bundle.response.frames);
    Ok(VerifiedResponse { bundle, verdict, verified, text, receipt_id, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_long_random_and_shown_to_nobody_who_only_prints_it() {
        let (one, other) = (AccessKey::random().unwrap(), AccessKey::random().unwrap());
        assert!(one.reveal().starts_with(PREFIX) && one.reveal().len() == PREFIX.len() + 43);
        assert_ne!(one.hash(), other.hash());
        assert_eq!(AccessKey::new(one.reveal()).unwrap().hash(), one.hash());
        assert!(!format!("{one:?} {:?}", one.to_header().unwrap()).contains(&one.reveal()[3..9]));
        for weak in ["", "ck_short", "thirty two characters with spaces", "ck_thirty-two-characters-and-a-\nbreak"] {
            assert!(AccessKey::new(weak).is_err(), "{weak:?}");
        }
    }
}
