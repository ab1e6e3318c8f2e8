//! Responses: how answers, refusals and settlements are said in HTTP.
//!
//! | response | headers besides |
//! |---|---|
//! | an answer, whole or streamed, and a refusal after the claim | `x-receipt-id`, `x-candor-transcript-seed`, `x-candor-ignored` |
//! | an answer | `x-candor-answer-recovery` |
//! | whatever is said about an answer once it is made | `payment-response` |
//! | a refusal that another payment would mend | `payment-required`, `x-candor-ignored`, `x-candor-max-tokens` |
//! | a refusal that waiting would mend | `retry-after` |
//! | an answer and a refusal | `cache-control` |
//! | a refusal of a request that carried a payment | `x-candor-refusal` |
//! | every response | that a page of any origin may read it, `x-candor-manifest` |
//!
//! Not here: what is refused and why (`refusal` and whoever makes one).

use std::collections::BTreeSet;

use candor_verify::bytes::Hash32;
use candor_x402::protocol::{
    CACHE_CONTROL_UNPAID, Eip155, HEADER_PAYMENT_REQUIRED, HEADER_PAYMENT_RESPONSE, SettleResponse, cache_control_paid, encode_header,
};
use hyper::body::Bytes;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ALLOW,
    CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};

use crate::answer::Whole;
use crate::body::ApiBody;
use crate::kept::Look;
use crate::quote::{self, Quote};
use crate::receipt::Ids;
use crate::refusal::Refusal;
use crate::serving::Serving;
use crate::settle::Standing;

/// Response header with the id of the receipt.
const RECEIPT_ID: HeaderName = HeaderName::from_static("x-receipt-id");

/// Response header with the blinding seed of the transcript: sent before the first token.
const TRANSCRIPT_SEED: HeaderName = HeaderName::from_static("x-candor-transcript-seed");

/// Response header with the fields of the request that changed nothing, if there are any.
const IGNORED: HeaderName = HeaderName::from_static("x-candor-ignored");

/// Response header with the tokens that are offered, if they are fewer than were asked for.
const MAX_TOKENS: HeaderName = HeaderName::from_static("x-candor-max-tokens");

/// Response header that says whether the answer can be had again by the same request with the same payment.
const ANSWER_RECOVERY: HeaderName = HeaderName::from_static("x-candor-answer-recovery");

/// Response header with the hash of the boot's manifest: whoever talks to a node for long notices another boot before its next prompt.
const MANIFEST: HeaderName = HeaderName::from_static("x-candor-manifest");

/// Response header with a signed refusal: its encoding and K_sig's signature, in base64.
const REFUSAL: HeaderName = HeaderName::from_static("x-candor-refusal");

/// Methods that a page of another origin may use.
const ALLOWED_METHODS: &str = "DELETE, GET, HEAD, POST";

/// Headers that a page of another origin may send: a payment, and whatever SDKs add. The star does not cover `authorization`, which SDKs
/// always send, and which may be a key.
const ALLOWED_HEADERS: &str = "authorization, content-type, payment-signature, *";

/// Headers that a page of another origin may read.
const EXPOSED_HEADERS: &str = "payment-required, payment-response, retry-after, x-receipt-id, x-candor-transcript-seed, x-candor-answer-recovery, x-candor-ignored, \
     x-candor-max-tokens, x-candor-manifest, x-candor-refusal";

const EVENT_STREAM: &str = "text/event-stream";

pub(crate) type ApiResponse = Response<ApiBody>;

/// A response with this body.
pub(crate) fn with_body(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> ApiResponse {
    let mut response = Response::new(ApiBody::Whole(Some(body.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The same response; the right to look for its answer is given back when its body was read.
pub(crate) fn held(response: ApiResponse, look: Option<Look>) -> ApiResponse {
    response.map(|body| match body {
        ApiBody::Whole(Some(rest)) => ApiBody::Kept { rest, _look: look },
        other => other,
    })
}

/// 200 with this object.
pub(crate) fn json(value: &serde_json::Value) -> ApiResponse {
    with_body(StatusCode::OK, "application/json", value.to_string())
}

/// 204.
pub(crate) fn done() -> ApiResponse {
    let mut response = Response::new(ApiBody::Whole(None));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// What a browser asks before a page of another origin may send a request.
pub(crate) fn preflight() -> ApiResponse {
    let mut response = done();
    set(response.headers_mut(), ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
    set(response.headers_mut(), ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
    response
}

/// Lets a page of any origin read the response. Nothing is given to who is logged in: no cookie or session means anything here, and a key is
/// sent by whoever has it and by no browser, so a page gets by its visitor's browser what it would get by itself.
pub(crate) fn for_any_origin(mut response: ApiResponse) -> ApiResponse {
    set(response.headers_mut(), ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    set(response.headers_mut(), ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
    response
}

/// The same response, saying which boot it is of.
pub(crate) fn of_boot(mut response: ApiResponse, manifest_hash: &Hash32) -> ApiResponse {
    set(response.headers_mut(), MANIFEST, &manifest_hash.to_string());
    response
}

/// The error code of a response that is a refusal, beside it for whoever signs one.
#[derive(Clone, Copy)]
struct Code(&'static str);

/// Statuses of refusals that are signed: what a node that takes payments and gives nothing would say.
const SIGNED: [StatusCode; 4] =
    [StatusCode::PAYMENT_REQUIRED, StatusCode::CONFLICT, StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];

/// Status and code of a refusal that may be signed; `None` for every other response.
pub(crate) fn refusal_of(response: &ApiResponse) -> Option<(u16, &'static str)> {
    let code = response.extensions().get::<Code>()?;
    SIGNED.contains(&response.status()).then(|| (response.status().as_u16(), code.0))
}

/// The same refusal, with K_sig's word for it.
pub(crate) fn with_refusal(mut response: ApiResponse, signed: &[u8]) -> ApiResponse {
    use base64::Engine as _;
    set(response.headers_mut(), REFUSAL, &base64::engine::general_purpose::STANDARD.encode(signed));
    response
}

/// A refusal.
pub(crate) fn refused(refusal: &Refusal) -> ApiResponse {
    let error = refusal.error();
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = with_body(status, "application/json", error.to_json());
    if let Some(code) = error.code {
        response.extensions_mut().insert(Code(code));
    }
    set(response.headers_mut(), CACHE_CONTROL, CACHE_CONTROL_UNPAID);
    if let Some(seconds) = refusal.retry_after_s() {
        set(response.headers_mut(), RETRY_AFTER, &seconds.to_string());
    }
    if let Some(methods) = refusal.allow() {
        set(response.headers_mut(), ALLOW, methods);
    }
    if refusal.is_last() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// A refusal that another payment would mend, with a signed offer. x402 clients read the header; the body has the shape that OpenAI's know.
pub(crate) fn unpaid(serving: &Serving, quote: &Quote, path: &str, refusal: &Refusal) -> ApiResponse {
    let mut response = refused(refusal);
    let error = refusal.error();
    let required = quote::payment_required(serving, quote, path, error.code.unwrap_or(error.kind));
    set(response.headers_mut(), HeaderName::from_static(HEADER_PAYMENT_REQUIRED), &encode_header(&required));
    set_ignored(response.headers_mut(), &quote.counted.request.ignored);
    let capped = quote.counted.is_capped.then_some(quote.counted.request.max_tokens);
    with_max_tokens(response, capped)
}

/// The same response; if fewer tokens are offered than were asked for, it says so.
fn with_max_tokens(mut response: ApiResponse, capped: Option<u32>) -> ApiResponse {
    if let Some(tokens) = capped {
        set(response.headers_mut(), MAX_TOKENS, &tokens.to_string());
    }
    response
}

/// The head of a stream.
pub(crate) fn stream(body: ApiBody, ids: &Ids, is_kept: bool) -> ApiResponse {
    with_recovery(streamed(body, ids), is_kept)
}

/// The head of a stream that nobody pays for.
pub(crate) fn free_stream(body: ApiBody, ids: &Ids, capped: Option<u32>) -> ApiResponse {
    with_max_tokens(streamed(body, ids), capped)
}

fn streamed(body: ApiBody, ids: &Ids) -> ApiResponse {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    set(response.headers_mut(), CACHE_CONTROL, &cache_control_paid(Some("no-cache")));
    with_ids(response, ids)
}

/// What became of a whole answer that nobody pays for.
pub(crate) fn free_whole(serving: &Serving, ended: Whole, ids: &Ids, capped: Option<u32>) -> ApiResponse {
    let refusal = match ended {
        Whole::Given(body) => {
            let mut response = with_body(StatusCode::OK, "application/json", body);
            set(response.headers_mut(), CACHE_CONTROL, &cache_control_paid(None));
            return with_max_tokens(with_ids(response, ids), capped);
        }
        Whole::TurnedAway { body, is_stream } => return turned_away(body, is_stream, ids),
        Whole::Cut => {
            let cap = serving.config().generation_cap_s;
            let message =
                format!("The answer was not finished within the {cap} seconds that this node spends on one. Ask for fewer tokens.");
            Refusal::new(422, message).code("out_of_time").param("max_tokens")
        }
        Whole::Lost | Whole::NotLogged | Whole::Finished { .. } => {
            Refusal::unavailable("No answer could be made, or no receipt be stored, so nothing is answered. Ask again.")
                .code("receipt_unavailable")
        }
    };
    with_ids(refused(&refusal), ids)
}

/// What a guard refused: said in the form of an answer, since its receipt is in it.
fn turned_away(body: Bytes, is_stream: bool, ids: &Ids) -> ApiResponse {
    let mut response = with_body(StatusCode::OK, if is_stream { EVENT_STREAM } else { "application/json" }, body);
    set(response.headers_mut(), CACHE_CONTROL, &cache_control_paid(None));
    with_ids(response, ids)
}

/// What became of a whole answer that was claimed.
pub(crate) fn whole(serving: &Serving, ended: Whole, ids: &Ids) -> ApiResponse {
    let refusal = match ended {
        Whole::Finished { finished, standing } => return self::finished(finished, &standing),
        Whole::TurnedAway { body, is_stream } => return turned_away(body, is_stream, ids),
        Whole::Lost => {
            let message = "The log ended before the host confirmed this receipt. The payment may still be charged until its end. If it echoed \
                           a salt, send the same request with it again, later; otherwise ask a chain before you pay again.";
            Refusal::unavailable(message).code("settlement_pending")
        }
        Whole::Cut => {
            let message = format!(
                "The answer was not finished by the end of the payment, or within the {} seconds that this node spends on one. Nothing was \
                 charged; the payment counts as unsettled until it ends. Ask for fewer tokens.",
                serving.config().generation_cap_s
            );
            // Not a 5xx: an SDK would ask, and pay, again.
            Refusal::new(422, message).code("out_of_time").param("max_tokens")
        }
        Whole::NotLogged | Whole::Given(_) => {
            let message = "No answer could be made, or no receipt be stored, so nothing is answered and nothing was charged. This payment was executed and cannot be \
                           used here again: sign a new one.";
            Refusal::unavailable(message).code("receipt_unavailable")
        }
    };
    with_ids(refused(&refusal), ids)
}

/// An answer that was made, with its receipt in its last frame.
pub(crate) struct Finished {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: Bytes,
    pub(crate) ids: Ids,
    /// Chain of the payment.
    pub(crate) chain_id: u64,
    /// Whether the same request with the same payment gets it again.
    pub(crate) is_kept: bool,
}

/// An answer if its payment is settled; otherwise where the payment stands.
pub(crate) fn finished(finished: Finished, standing: &Standing) -> ApiResponse {
    let Finished { status, content_type, body, ids, chain_id, is_kept } = finished;
    let mut response = match standing {
        Standing::Settled { .. } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut response = with_body(status, "application/json", body);
            set(response.headers_mut(), CONTENT_TYPE, &content_type);
            set(response.headers_mut(), CACHE_CONTROL, &cache_control_paid(None));
            response
        }
        Standing::Pending { .. } if is_kept => {
            let message = "The transfer is not final yet. Send the same request with the same payment again to get the answer.";
            refused(&Refusal::under_way(message).code("settlement_pending"))
        }
        Standing::Pending { .. } => {
            let message =
                "Nobody can say what became of the transfer, and the answer was not to be kept: ask a chain before you pay again.";
            refused(&Refusal::unavailable(message).code("settlement_pending"))
        }
        Standing::Failed(failure) => {
            let message = format!(
                "Not charged as far as the host says ({}). Your authorization can no longer be used; ask a chain of your own.",
                failure.as_str()
            );
            refused(&Refusal::new(402, message).code("settlement_failed"))
        }
    };
    let statement = encode_header(&statement(Eip155(chain_id), standing));
    set(response.headers_mut(), HeaderName::from_static(HEADER_PAYMENT_RESPONSE), &statement);
    with_recovery(with_ids(response, &ids), is_kept)
}

/// What x402 says about a payment: success only when the transfer was seen.
fn statement(network: Eip155, standing: &Standing) -> SettleResponse {
    let (error_reason, tx_hash) = match standing {
        Standing::Settled { tx_hash } => (None, Some(*tx_hash)),
        Standing::Pending { tx_hash } => (Some("settlement_pending"), *tx_hash),
        Standing::Failed(_) => (Some("invalid_transaction_state"), None),
    };
    SettleResponse {
        success: error_reason.is_none(),
        error_reason: error_reason.map(str::to_owned),
        payer: None,
        transaction: tx_hash.as_ref().map(Hash32::to_string).unwrap_or_default(),
        network: network.to_string(),
        amount: None,
        extensions: None,
    }
}

fn with_recovery(mut response: ApiResponse, is_kept: bool) -> ApiResponse {
    set(response.headers_mut(), ANSWER_RECOVERY, if is_kept { "kept" } else { "none" });
    response
}

fn with_ids(mut response: ApiResponse, ids: &Ids) -> ApiResponse {
    set(response.headers_mut(), RECEIPT_ID, &ids.receipt_id);
    set(response.headers_mut(), TRANSCRIPT_SEED, &ids.transcript_seed.to_string());
    set_ignored(response.headers_mut(), &ids.ignored);
    response
}

/// Names that we chose: only fields that are known are ignored.
fn set_ignored(headers: &mut HeaderMap, ignored: &BTreeSet<String>) {
    if !ignored.is_empty() {
        set(headers, IGNORED, &ignored.iter().map(String::as_str).collect::<Vec<_>>().join(", "));
    }
}

/// Sets a header whose value we made: ASCII by construction, dropped if it ever were not.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use candor_link::SettlementFailure;

    use super::*;

    #[test]
    fn a_payment_is_said_to_have_succeeded_only_when_its_transfer_was_seen() {
        let tx_hash = Hash32([7; 32]);
        let rows = [
            (Standing::Settled { tx_hash }, true, None, tx_hash.to_string()),
            (Standing::Pending { tx_hash: Some(tx_hash) }, false, Some("settlement_pending"), tx_hash.to_string()),
            (Standing::Pending { tx_hash: None }, false, Some("settlement_pending"), String::new()),
            (Standing::Failed(SettlementFailure::Expired), false, Some("invalid_transaction_state"), String::new()),
        ];
        for (standing, success, reason, transaction) in rows {
            let said = statement(Eip155(31337), &standing);
            assert_eq!((said.success, said.error_reason.as_deref(), said.transaction), (success, reason, transaction));
            // Of the payment's own chain, whatever it says.
            assert_eq!(said.network, "eip155:31337");
        }
    }

    #[test]
    fn a_refusal_says_when_to_come_again_and_is_kept_by_nobody() {
        let response = refused(&Refusal::unavailable("not now").code("chain_unavailable"));
        let header = |name: HeaderName| response.headers().get(name).map(HeaderValue::as_bytes);
        assert_eq!((response.status().as_u16(), header(RETRY_AFTER)), (503, Some(b"2".as_slice())));
        assert_eq!(header(CACHE_CONTROL), Some(b"no-store".as_slice()));
        assert_eq!(refused(&Refusal::new(400, "no")).headers().get(RETRY_AFTER), None);
    }
}
