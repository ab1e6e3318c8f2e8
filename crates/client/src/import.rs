//! A bundle of what somebody bought with another client. Whoever pays a node with a stock x402 client has every byte that a bundle keeps,
//! and needs only to have saved it:
//!
//! | saved | what of it is kept |
//! |---|---|
//! | request: method, path, body | all of it: the receipt commits to it |
//! | head of the answer | the blinding seed of the transcript |
//! | body of the answer | the frames, and the delivery that rides in the last one |
//! | `PAYMENT-SIGNATURE` | the payment; and offer and salt, which clients echo in its extensions |
//! | `PAYMENT-REQUIRED` of the 402 | offer and salt, if the payment does not echo them |
//! | evidence | all of it; it must be of this boot and have been current when the answer was made |
//!
//! Of an answer that nobody paid for the last three rows are not there: the delivery tells the salt.
//!
//! In: bytes, exactly as they travelled. Out: a [`Bundle`] that nobody has believed: what it is worth, the verdict says. A stock client's
//! payment names no offer, so at best that is *equal price only*.
//! Not here: files and sockets (`candor-cli`), and any check. `PAYMENT-RESPONSE` is not kept: it is the node's word, and the chain knows
//! better.

use std::fmt;

use candor_verify::bundle::{Bundle, Request, Response, Sale};
use candor_verify::bytes::Hash32;
use candor_verify::cbor::CborError;
use candor_verify::delivery::Delivery;
use candor_verify::evidence::Evidence;
use candor_verify::scheme::Scheme;
use candor_verify::transcript::unsplice;
use candor_x402::PaymentError;
use candor_x402::extension::{ExtensionError, SignedOffer, SignedOffers};
use candor_x402::protocol::{MAX_HEADER_BYTES, ProtocolError, parse_payment_payload, parse_payment_required};
use candor_x402::scheme::parse_payment;
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use crate::ask::{read_member, transcript_seed};
use crate::http::{SseEvent, SseSplitter, is_event_stream};
use crate::proxy::as_the_node_sent;

/// Longest head that is read, in bytes: room for the longest payment header twice. Also keeps a [`HeaderMap`] far from its own limit.
const HEAD_MAX: usize = 2 * MAX_HEADER_BYTES;

/// A saved stream is cut in pieces of this many bytes, so that each is looked at once.
const PIECE: usize = 1 << 16;

/// What was saved of one exchange, byte for byte.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "complete: what a bundle is made of")]
pub struct Exchange<'a> {
    /// HTTP method of the request.
    pub method: &'a str,
    /// Path and query of the request.
    pub path: &'a str,
    /// Body of the request.
    pub request: &'a [u8],
    /// Head of the answer: as HTTP/1 has it, or a JSON object of its headers, or one with `status` and `headers`.
    pub head: &'a [u8],
    /// Body of the answer: JSON, or the stream of events.
    pub response: &'a [u8],
    /// Value of `PAYMENT-SIGNATURE`; `None` if nobody paid.
    pub payment: Option<&'a [u8]>,
    /// Value of `PAYMENT-REQUIRED`, for a payment that does not echo its extensions.
    pub required: Option<&'a [u8]>,
    /// What `GET /candor/evidence` gave.
    pub evidence: &'a [u8],
}

/// One thing that was saved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: the parts of an exchange that are read")]
pub enum Saved {
    /// [`Exchange::head`].
    Head,
    /// [`Exchange::response`].
    Response,
    /// [`Exchange::payment`].
    Payment,
    /// [`Exchange::required`].
    Required,
    /// [`Exchange::evidence`].
    Evidence,
}

impl fmt::Display for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head => "the head of the answer",
            Self::Response => "the body of the answer",
            Self::Payment => "the payment (PAYMENT-SIGNATURE)",
            Self::Required => "the requirements of the 402 (PAYMENT-REQUIRED)",
            Self::Evidence => "the evidence",
        })
    }
}

/// Why no bundle can be made of what was saved. Names the input.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ImportError {
    /// It lacks something that a bundle keeps.
    Missing {
        /// Which input.
        input: Saved,
        /// What it lacks.
        what: &'static str,
    },
    /// It cannot be read as what it is said to be.
    Malformed {
        /// Which input.
        input: Saved,
        /// In which way.
        what: &'static str,
    },
    /// It is the head of another answer than a paid one.
    Status {
        /// 200.
        expected: u16,
        /// What it says.
        got: u16,
    },
    /// A header's value is no x402 object.
    Header {
        /// Which input.
        input: Saved,
        /// Why not.
        error: ProtocolError,
    },
    /// The payment is none that a bundle can keep.
    Payment(PaymentError),
    /// The 402 has no readable offer.
    Offer(ExtensionError),
    /// The evidence is none.
    Evidence(CborError),
    /// A part is longer than a bundle holds, or there are too many frames.
    Limit,
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { input, what } => write!(f, "{input} lacks {what}"),
            Self::Malformed { input, what } => write!(f, "{input}: {what}"),
            Self::Status { expected, got } => {
                write!(f, "{}: expected status {expected}, got {got}; save the answer to the paid request", Saved::Head)
            }
            Self::Header { input, error } => write!(f, "{input}: {error}"),
            Self::Payment(error) => write!(f, "{}: {error}", Saved::Payment),
            Self::Offer(error) => write!(f, "{}: {error}", Saved::Required),
            Self::Evidence(error) => write!(f, "{}: {error}", Saved::Evidence),
            Self::Limit => f.write_str("a part of the exchange is longer than a bundle holds"),
        }
    }
}

impl std::error::Error for ImportError {}

/// Puts a bundle together. Believes nothing: judge it.
///
/// # Errors
/// The first input that is not what it should be, and in which way.
pub fn assemble(exchange: &Exchange<'_>) -> Result<Bundle, ImportError> {
    let head = parse_head(exchange.head)?;
    let missing = ImportError::Missing { input: Saved::Head, what: "a readable x-candor-transcript-seed" };
    let seed = transcript_seed(&head).ok_or(missing)?;
    let (frames, delivery) = parse_answer(&head, exchange.response)?;
    let (salt, sale) = match (exchange.payment, delivery.request_salt) {
        (Some(payment), _) => parse_sale(payment, exchange.required).map(|(salt, sale)| (salt, Some(sale)))?,
        (None, Some(salt)) => (salt, None),
        (None, None) => return Err(ImportError::Missing { input: Saved::Payment, what: "everything; the answer was paid for" }),
    };
    let bundle = Bundle {
        evidence: Evidence::parse(exchange.evidence).map_err(ImportError::Evidence)?,
        request: Request { salt, method: exchange.method.to_owned(), path: exchange.path.to_owned(), body: exchange.request.to_vec() },
        response: Response { seed, frames },
        sale,
        delivery,
        later_trees: Vec::new(),
    };
    // A file that nobody can read is no bundle: the reader's limits are the limits here.
    match Bundle::parse(&bundle.encode()) {
        Ok(read) if read == bundle => Ok(bundle),
        Ok(_) | Err(_) => Err(ImportError::Limit),
    }
}

/// How it was sold, and the salt of the request.
fn parse_sale(payment: &[u8], required: Option<&[u8]>) -> Result<(Hash32, Sale), ImportError> {
    let payload = parse_payment_payload(payment).map_err(|error| ImportError::Header { input: Saved::Payment, error })?;
    let (payment, echoed) = parse_payment(&payload).map_err(ImportError::Payment)?;
    // What was echoed comes first: the node took the payment for that offer.
    let signed = match echoed {
        Some(signed) => signed,
        None => parse_offer(required, payment.authorization.through.scheme())?,
    };
    let sale = Sale { offer: signed.offer, offer_signature: signed.signature, payment, price_list: None };
    Ok((signed.request_salt, sale))
}

/// The offer of the 402 that is paid by this scheme.
fn parse_offer(required: Option<&[u8]>, scheme: Scheme) -> Result<SignedOffer, ImportError> {
    let what = "the offer in its extensions; PAYMENT-REQUIRED of the 402 has it too";
    let value = required.ok_or(ImportError::Missing { input: Saved::Payment, what })?;
    let required = parse_payment_required(value).map_err(|error| ImportError::Header { input: Saved::Required, error })?;
    let offers = SignedOffers::parse(required.extensions.as_ref()).map_err(ImportError::Offer)?;
    offers
        .as_ref()
        .and_then(|offers| offers.of(scheme))
        .cloned()
        .ok_or(ImportError::Missing { input: Saved::Required, what: "extensions.candor" })
}

/// Frames as they were hashed, and the delivery cut out of the last one.
fn parse_answer(head: &HeaderMap, body: &[u8]) -> Result<(Vec<Vec<u8>>, Delivery), ImportError> {
    let missing = |what| ImportError::Missing { input: Saved::Response, what };
    let mut frames = if is_event_stream(head) { parse_stream(body)? } else { vec![body.to_vec()] };
    let last = frames.pop().ok_or_else(|| missing("every frame"))?;
    let (value, member) =
        unsplice(&last).ok_or_else(|| missing("the delivery in its last frame; is it saved byte for byte, and not parsed before?"))?;
    let (_, delivery) = read_member(member)
        .ok_or(ImportError::Malformed { input: Saved::Response, what: "the delivery in its last frame is unreadable" })?;
    frames.push(value);
    Ok((frames, delivery))
}

/// The frames of an answer whose head was not saved, as the node sent them: of a stream of events, or of one body. What a proxy of ours wrote into
/// the last one is taken out of it; the node's delivery stays, for [`Proof::with_copy`](candor_verify::proof::Proof::with_copy) to cut.
///
/// # Errors
/// `Missing` if a stream was cut before its end, `Limit`.
pub fn saved_frames(body: &[u8]) -> Result<Vec<Vec<u8>>, ImportError> {
    let is_one_body = body.iter().find(|byte| !byte.is_ascii_whitespace()).is_none_or(|first| *first == b'{');
    let mut frames = if is_one_body { vec![body.to_vec()] } else { parse_stream(body)? };
    if let Some(last) = frames.pop() {
        let is_ours = unsplice(&last).is_some_and(|(_, member)| read_member(member).is_none());
        let sent = if is_ours { as_the_node_sent(&last) } else { None };
        frames.push(sent.unwrap_or(last));
    }
    Ok(frames)
}

fn parse_stream(body: &[u8]) -> Result<Vec<Vec<u8>>, ImportError> {
    let (mut splitter, mut frames) = (SseSplitter::default(), Vec::new());
    for piece in body.chunks(PIECE) {
        for event in splitter.push(piece).map_err(|_| ImportError::Limit)? {
            match event {
                SseEvent::Frame(frame) => frames.push(frame),
                SseEvent::Done => return Ok(frames),
            }
        }
    }
    Err(ImportError::Missing { input: Saved::Response, what: "its end, `data: [DONE]`: it was cut before its receipt" })
}

fn bad_head(what: &'static str) -> ImportError {
    ImportError::Malformed { input: Saved::Head, what }
}

fn parse_head(bytes: &[u8]) -> Result<HeaderMap, ImportError> {
    if HEAD_MAX < bytes.len() {
        return Err(ImportError::Limit);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| bad_head("not text"))?;
    if text.trim_start().starts_with('{') { head_of_json(text) } else { head_of_text(text) }
}

/// As `curl -D` writes it.
fn head_of_text(text: &str) -> Result<HeaderMap, ImportError> {
    let (mut headers, mut status) = (HeaderMap::new(), None);
    for line in text.lines() {
        if let Some(status_line) = line.strip_prefix("HTTP/") {
            // One head per answer on the way: the last is of the body that was saved.
            headers.clear();
            status = status_line.split_whitespace().nth(1).and_then(|code| code.parse().ok());
        } else if !line.is_empty() {
            let (name, value) = line.split_once(':').ok_or(bad_head("a line that is no header"))?;
            add(&mut headers, name, value)?;
        }
    }
    check_status(status)?;
    Ok(headers)
}

/// `{"name": "value"}`, or that under `headers` with `status` beside it.
fn head_of_json(text: &str) -> Result<HeaderMap, ImportError> {
    let whole: Value = serde_json::from_str(text).map_err(|_| bad_head("neither a head of HTTP/1 nor JSON"))?;
    check_status(whole.get("status").and_then(Value::as_u64).map(|status| u16::try_from(status).unwrap_or(u16::MAX)))?;
    let object = whole.get("headers").unwrap_or(&whole).as_object().ok_or(bad_head("its headers are no JSON object"))?;
    let mut headers = HeaderMap::new();
    for (name, value) in object.iter().filter(|(name, _)| name.as_str() != "status") {
        match value {
            Value::String(text) => add(&mut headers, name, text)?,
            Value::Array(texts) => texts.iter().filter_map(Value::as_str).try_for_each(|text| add(&mut headers, name, text))?,
            _ => return Err(bad_head("a header that is no text")),
        }
    }
    Ok(headers)
}

fn check_status(status: Option<u16>) -> Result<(), ImportError> {
    let expected = StatusCode::OK.as_u16();
    match status {
        Some(got) if got != expected => Err(ImportError::Status { expected, got }),
        Some(_) | None => Ok(()),
    }
}

fn add(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), ImportError> {
    let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| bad_head("a header whose name is none"))?;
    let value = HeaderValue::from_bytes(value.trim().as_bytes()).map_err(|_| bad_head("a header whose value is none"))?;
    headers.append(name, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use candor_verify::bytes::to_hex;
    use candor_verify::check::{ChainFacts, verify_bundle};
    use candor_verify::eip712::K256;
    use candor_verify::policy::Policy;
    use candor_verify::transcript::splice;
    use candor_verify::verdict::{Outcome, PaymentBinding};
    use candor_x402::extension::AnswerRecovery;
    use candor_x402::protocol::encode_header;
    use serde_json::json;

    use candor_testkit::forge::{Forge, Lie};
    use candor_testkit::fresh_hypervisor;

    use super::*;

    /// What a stock client has in its hands after it bought this bundle.
    struct Bought {
        bundle: Bundle,
        policy: Policy,
        payload: Value,
        response: Vec<u8>,
        head: String,
        evidence: Vec<u8>,
    }

    impl Bought {
        /// Without a client salt: the payment names no offer.
        fn new(name: &str) -> Self {
            let forge = Forge::new(fresh_hypervisor(name));
            let lie = Lie { bundle: |bundle| bundle.sale.as_mut().unwrap().payment.client_salt = None, ..Lie::default() };
            let bundle = forge.bundle(&lie);
            let policy = Policy { require_offer_binding: false, ..forge.policy() };
            let sale = bundle.sale.as_ref().unwrap();
            let (offer, payment) = (&sale.offer, &sale.payment.authorization);
            let signed = SignedOffer { offer: offer.clone(), signature: sale.offer_signature, request_salt: bundle.request.salt };
            let payload = json!({
                "x402Version": 2, "extensions": SignedOffers::from(signed).to_extensions(&AnswerRecovery::None),
                "accepted": {
                    "scheme": "exact", "network": "eip155:31337", "amount": offer.amount.to_string(), "asset": offer.asset.to_string(),
                    "payTo": offer.payee.to_string(), "maxTimeoutSeconds": 300, "extra": {"name": "USDC", "version": "2"},
                },
                "payload": {
                    "signature": to_hex(&sale.payment.signature.0),
                    "authorization": {
                        "from": payment.from.to_string(), "to": payment.to.to_string(), "value": payment.value.to_string(),
                        "validAfter": payment.valid_after.to_string(), "validBefore": payment.valid_before.to_string(),
                        "nonce": payment.nonce.to_string(),
                    },
                },
            });
            let member = format!(r#""receipt_id":"{}","delivery":"{}""#, "0".repeat(32), STANDARD.encode(bundle.delivery.encode()));
            let (last, before) = bundle.response.frames.split_last().unwrap();
            let spliced = splice(last, member.as_bytes()).unwrap();
            let mut response: Vec<u8> = b": a comment\n\n".to_vec();
            for frame in before.iter().chain([&spliced]) {
                response.extend([b"data: ", &frame[..], b"\n\n"].concat());
            }
            response.extend_from_slice(b"data: [DONE]\n\n");
            let seed = bundle.response.seed;
            let head = format!(
                "HTTP/1.1 402 Payment Required\r\nx-candor-transcript-seed: {}\r\n\r\n\
                 HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Candor-Transcript-Seed: {seed}\r\n\r\n",
                Hash32::ZERO
            );
            let evidence = bundle.evidence.encode();
            Self { bundle, policy, payload, response, head, evidence }
        }

        /// Puts it together with one thing changed.
        fn assemble<'a>(&'a self, change: impl FnOnce(&mut Exchange<'a>)) -> Result<Bundle, ImportError> {
            let payment: &str = encode_header(&self.payload).leak();
            let request = &self.bundle.request;
            let mut exchange = Exchange {
                method: &request.method,
                path: &request.path,
                request: &request.body,
                head: self.head.as_bytes(),
                response: &self.response,
                payment: Some(payment.as_bytes()),
                required: None,
                evidence: &self.evidence,
            };
            change(&mut exchange);
            assemble(&exchange)
        }
    }

    #[test]
    fn what_a_stock_client_saved_is_the_bundle_and_is_verified_as_equal_price_only() {
        let bought = Bought::new("import-stock");
        let bundle = bought.assemble(|_| {}).unwrap();
        assert_eq!(bundle, bought.bundle);
        let (verdict, _) = verify_bundle(&bundle, &bought.policy, ChainFacts::default(), &K256);
        assert_eq!(verdict.outcome(), Outcome::Verified, "{:?}", verdict.refused());
        assert_eq!(verdict.payment_binding(), Some(PaymentBinding::EqualPriceOnly));
        // Another byte of what was asked is another request.
        let (verdict, _) =
            verify_bundle(&bought.assemble(|exchange| exchange.request = b"{}").unwrap(), &bought.policy, ChainFacts::default(), &K256);
        assert_eq!(verdict.refused().map(|check| check.id), Some("request.commitment"));
    }

    #[test]
    fn a_head_is_read_as_curl_writes_it_and_as_json() {
        let bought = Bought::new("import-head");
        let seed = bought.bundle.response.seed.to_string();
        let headers = json!({"content-type": "text/event-stream; charset=utf-8", "x-candor-transcript-seed": [seed]});
        for head in [headers.clone(), json!({"status": 200, "headers": headers})] {
            let head = head.to_string();
            assert_eq!(bought.assemble(|exchange| exchange.head = head.as_bytes()), Ok(bought.bundle.clone()));
        }
        for (head, error) in [
            ("HTTP/2 402\n", ImportError::Status { expected: 200, got: 402 }),
            ("{\"status\":503}", ImportError::Status { expected: 200, got: 503 }),
            ("HTTP/2 200\nno header\n", bad_head("a line that is no header")),
            ("{", bad_head("neither a head of HTTP/1 nor JSON")),
            ("{\"headers\":[]}", bad_head("its headers are no JSON object")),
            ("{\"a\":1}", bad_head("a header that is no text")),
            ("a b: c\n", bad_head("a header whose name is none")),
        ] {
            assert_eq!(bought.assemble(|exchange| exchange.head = head.as_bytes()), Err(error), "{head}");
        }
        let without = bought.assemble(|exchange| exchange.head = b"content-type: text/event-stream\n");
        assert!(matches!(without, Err(ImportError::Missing { input: Saved::Head, .. })), "{without:?}");
        assert_eq!(bought.assemble(|exchange| exchange.head = &[b'a'; HEAD_MAX + 1]), Err(ImportError::Limit));
    }

    #[test]
    fn each_input_that_is_missing_or_malformed_is_named() {
        let bought = Bought::new("import-parts");
        let cut = &bought.response[..bought.response.len() - 14];
        for response in [cut, b"data: {}\n\ndata: [DONE]\n\n", b"data: [DONE]\n\n"] {
            let error = bought.assemble(|exchange| exchange.response = response);
            assert!(matches!(error, Err(ImportError::Missing { input: Saved::Response, .. })), "{error:?}");
        }
        let unreadable = bought.assemble(|exchange| exchange.response = b"data: {\"a\":1,\"candor\":{\"b\":2}}\n\ndata: [DONE]\n\n");
        assert!(matches!(unreadable, Err(ImportError::Malformed { input: Saved::Response, .. })), "{unreadable:?}");
        let payment = bought.assemble(|exchange| exchange.payment = Some(b"no base64!"));
        assert_eq!(payment, Err(ImportError::Header { input: Saved::Payment, error: ProtocolError::Base64 }));
        let unpaid = bought.assemble(|exchange| exchange.payment = None).unwrap_err();
        assert!(matches!(unpaid, ImportError::Missing { input: Saved::Payment, .. }), "{unpaid}");
        let evidence = bought.assemble(|exchange| exchange.evidence = b"{}");
        assert!(matches!(evidence, Err(ImportError::Evidence(_))), "{evidence:?}");
        let path = "/".repeat(4_000);
        assert_eq!(bought.assemble(|exchange| exchange.path = &path), Err(ImportError::Limit));
    }

    #[test]
    fn the_offer_comes_from_the_402_if_the_payment_echoes_none() {
        let mut bought = Bought::new("import-offer");
        let extensions = bought.payload["extensions"].take();
        let missing = bought.assemble(|_| {}).unwrap_err();
        assert!(matches!(missing, ImportError::Missing { input: Saved::Payment, .. }), "{missing}");
        assert!(missing.to_string().contains("PAYMENT-REQUIRED"), "{missing}");
        let required = |extensions: &Value| {
            let accepts = json!([bought.payload["accepted"]]);
            encode_header(&json!({"x402Version": 2, "resource": {"url": "u"}, "accepts": accepts, "extensions": extensions}))
        };
        let (with, without) = (required(&extensions), required(&Value::Null));
        assert_eq!(bought.assemble(|exchange| exchange.required = Some(with.as_bytes())), Ok(bought.bundle.clone()));
        let empty = bought.assemble(|exchange| exchange.required = Some(without.as_bytes()));
        assert_eq!(empty, Err(ImportError::Missing { input: Saved::Required, what: "extensions.candor" }));
        // And a signature that is no account's is not one that a bundle can keep.
        bought.payload["payload"]["signature"] = "0x00".into();
        assert!(matches!(bought.assemble(|_| {}), Err(ImportError::Payment(_))));
    }
}
