//! Routes of the API, inside TLS that ends here.
//!
//! | route | what |
//! |---|---|
//! | `POST /v1/chat/completions` | an answer, paid with x402 |
//! | `GET /v1/models` | what is served, at which price |
//! | `GET /v1/receipts/{id}[?prefix=k]` | a receipt from the host's store, with proofs |
//! | `GET /candor/evidence[?nonce=0x…]` | evidence of this enclave |
//! | `GET /health`, `GET /metrics` | for operators; metrics are at most a minute old |
//!
//! Errors have OpenAI's shape. Nothing here logs. Every read has a limit and a time.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use candor_engine::chat::{ApiError, MAX_BODY_BYTES};
use candor_link::{EnclaveRequest, HostReply, RefusalCode, StoredReceipt};
use candor_log::tree::FullTree;
use candor_verify::bytes::{Hash32, from_hex, to_hex};
use candor_verify::hash::sha256;
use candor_x402::protocol::{
    CACHE_CONTROL_UNPAID, Eip155, HEADER_PAYMENT_REQUIRED, HEADER_PAYMENT_RESPONSE, HEADER_PAYMENT_SIGNATURE, SettleResponse,
    cache_control_paid, encode_header, parse_single_header,
};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;
use tokio::sync::mpsc;

use crate::answer::{Job, Whole};
use crate::boot::Boot;
use crate::clock;
use crate::kept::Kept;
use crate::ledger::LedgerError;
use crate::metrics::count;
use crate::node::Node;
use crate::pay::{self, PayError};
use crate::quote::{self, Quote, internal};
use crate::seat::Seat;
use crate::settle;

/// A body that trickles is cut off.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// Quotes that one connection gets until it pays one: signing is the dearest thing a stranger can ask for.
const UNPAID_QUOTES_MAX: u32 = 64;

/// Challenges that one connection may send: a client needs one for each verification, and each costs the device a signature.
const CHALLENGES_MAX: u32 = 8;

/// How long a challenge waits for the device. Whoever came first is served first, so that nobody is starved by others who ask without end.
const ATTEST_WAIT: Duration = Duration::from_secs(5);

/// How long the host may take to find a receipt.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// Response header with the id of the receipt.
const RECEIPT_ID: HeaderName = HeaderName::from_static("x-receipt-id");

/// Response header with the blinding seed of the transcript: sent before the first token.
const TRANSCRIPT_SEED: HeaderName = HeaderName::from_static("x-candor-transcript-seed");

/// The stream was cut before its end: no receipt could be stored, so there is no terminal frame.
#[derive(Debug)]
pub(crate) struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the answer was cut before its receipt was stored")
    }
}

impl std::error::Error for Cut {}

/// One piece of a streamed body.
pub(crate) type StreamItem = Result<Bytes, Cut>;

/// One client connection.
pub(crate) struct Session {
    node: Arc<Node>,
    boot: Arc<Boot>,
    seat: Arc<Seat>,
    unpaid_quotes: AtomicU32,
    challenges: AtomicU32,
}

impl Session {
    pub(crate) fn new(node: Arc<Node>, boot: Arc<Boot>, seat: Arc<Seat>) -> Self {
        Self { node, boot, seat, unpaid_quotes: AtomicU32::new(0), challenges: AtomicU32::new(0) }
    }

    /// A payment was claimed: whoever pays may come back for as long as it likes. False if nobody is there any more.
    fn paid(&self) -> bool {
        self.unpaid_quotes.store(0, Ordering::Relaxed);
        self.seat.claimed()
    }
}

/// A body: whole, or streamed from a job.
pub(crate) enum ApiBody {
    Whole(Option<Bytes>),
    Stream {
        items: mpsc::Receiver<StreamItem>,
        taken: Arc<AtomicU64>,
    },
    /// A whole answer, which may make room once it was taken.
    Kept {
        body: Option<Bytes>,
        key: Hash32,
        node: Arc<Node>,
    },
}

impl Body for ApiBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Kept { body, key, node } => Poll::Ready(body.take().map(|body| {
                node.kept.handed_over(key, clock::now_ms() / 1000);
                Ok(Frame::data(body))
            })),
            Self::Stream { items, taken } => items.poll_recv(cx).map(|item| {
                let item = item?;
                if item.is_ok() {
                    taken.fetch_add(1, Ordering::AcqRel);
                }
                Some(item.map(Frame::data))
            }),
        }
    }
}

type ApiResponse = Response<ApiBody>;

/// Answers one request.
pub(crate) async fn route(session: Arc<Session>, request: Request<Incoming>) -> Result<ApiResponse, Infallible> {
    let node = Arc::clone(&session.node);
    count(&node.metrics.requests);
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let response = match (request.method(), path.as_str()) {
        (&Method::POST, "/v1/chat/completions") => chat(&session, request).await,
        (&Method::GET, "/v1/models") => ok_json(models(&node)),
        (&Method::GET, "/candor/evidence") => evidence(&session, &query).await,
        (&Method::GET, "/health") => health(&node),
        (&Method::GET, "/metrics") => whole(StatusCode::OK, "text/plain; version=0.0.4", node.metrics.published(clock::now_ms()).into()),
        (&Method::GET, path) if path.starts_with("/v1/receipts/") => receipt(&node, path, &query).await,
        (_, "/v1/chat/completions" | "/v1/models" | "/candor/evidence" | "/health" | "/metrics") => {
            error(&ApiError { status: 405, ..ApiError::invalid_request("This method is not allowed here.") })
        }
        _ => error(&ApiError { status: 404, ..ApiError::invalid_request("Unknown request URL.") }),
    };
    Ok(response)
}

async fn chat(session: &Session, request: Request<Incoming>) -> ApiResponse {
    let node = &session.node;
    let path = request.uri().path_and_query().map_or("/v1/chat/completions", |path| path.as_str()).to_owned();
    let headers = request.headers().clone();
    if !is_json(&headers) {
        let message = "The content type must be application/json.";
        return error(&ApiError { status: 415, ..ApiError::invalid_request(message) });
    }
    let body = match read_body(request).await {
        Ok(body) => body,
        Err(refused) => return error(&refused),
    };
    let payments = headers.get_all(HEADER_PAYMENT_SIGNATURE).iter().map(HeaderValue::as_bytes);
    let payment = match parse_single_header(payments) {
        Ok(payment) => payment.map(<[u8]>::to_vec),
        Err(refused) => return pay_error(session, None, &path, refused.into()),
    };
    let key = payment.as_ref().map(|header| sha256(&[&sha256(&[header]).0, path.as_bytes(), b"\n", &body]));
    if let Some(kept) = key.as_ref().and_then(|key| node.kept.get(key)) {
        return finished(&kept, settle::settle(node, &kept).await, node);
    }
    let quote = match quote::quote(node, "POST", &path, &body, clock::now_ms() / 1000) {
        Ok(quote) => quote,
        Err(refused) => return error(&refused),
    };
    let (Some(header), Some(key)) = (payment, key) else {
        return unpaid(session, &quote, &path, "payment_required", "This request must be paid for.", None);
    };
    if let Err(full) = node.ledger().has_room() {
        return ledger_error(full);
    }
    let paid = match pay::claim(node, &quote, &header).await {
        Ok(paid) => paid,
        // It may have been finished since it was looked for above.
        Err(refused) => match node.kept.get(&key) {
            Some(kept) => return finished(&kept, settle::settle(node, &kept).await, node),
            None => return pay_error(session, Some(&quote), &path, refused),
        },
    };
    if !session.paid() {
        // The connection was ended for another one while the chain was asked: a claim would charge for an answer that nobody reads.
        node.claims().release(paid.claim);
        return ledger_error(LedgerError::Full);
    }
    if quote.request.stream {
        let (job, execution) = Job::new(Arc::clone(node), quote, paid);
        return stream(job, execution);
    }
    // Before anything runs: a whole answer that cannot be kept could be paid for and lost.
    let Some(place) = node.kept.place(paid.payment.authorization().from, clock::now_ms() / 1000) else {
        node.claims().release(paid.claim);
        return ledger_error(LedgerError::Full);
    };
    let (job, execution) = Job::new(Arc::clone(node), quote, paid);
    let (receipt_id, transcript_seed) = (job.receipt_id(), job.transcript_seed());
    // Its own task: a client that hangs up does not undo a claim or lose an answer that will be charged.
    let ended = tokio::spawn(async move { job.whole(execution, key, place).await }).await.unwrap_or(Whole::NotLogged);
    match node.kept.get(&key) {
        Some(kept) => finished(&kept, ended, node),
        None => with_ids(outcome(ended, None, node), &receipt_id, &transcript_seed),
    }
}

fn stream(job: Job, execution: candor_x402::Execution) -> ApiResponse {
    let (sender, items) = mpsc::channel(1);
    let taken = Arc::new(AtomicU64::new(0));
    let (receipt_id, seed) = (job.receipt_id(), job.transcript_seed());
    tokio::spawn(job.stream(execution, sender, Arc::clone(&taken)));
    let mut response = Response::new(ApiBody::Stream { items, taken });
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    set(headers, CACHE_CONTROL, &cache_control_paid(Some("no-cache")));
    with_ids(response, &receipt_id, &seed)
}

fn with_ids(mut response: ApiResponse, receipt_id: &str, seed: &Hash32) -> ApiResponse {
    set(response.headers_mut(), RECEIPT_ID, receipt_id);
    set(response.headers_mut(), TRANSCRIPT_SEED, &seed.to_string());
    response
}

fn finished(kept: &Kept, ended: Whole, node: &Arc<Node>) -> ApiResponse {
    with_ids(outcome(ended, Some(kept), node), &kept.receipt_id, &kept.transcript_seed)
}

/// The response to a whole answer, with PAYMENT-RESPONSE whenever a settlement was asked for.
fn outcome(ended: Whole, kept: Option<&Kept>, node: &Arc<Node>) -> ApiResponse {
    // Without a kept answer nothing is settled, and the statement is about no payment.
    let chain = kept.map_or(0, |kept| kept.chain_id);
    let settle = |success: bool, reason: Option<&str>, tx: Option<Hash32>| SettleResponse {
        success,
        error_reason: reason.map(str::to_owned),
        payer: None,
        transaction: tx.map(|hash| hash.to_string()).unwrap_or_default(),
        network: Eip155(chain).to_string(),
        amount: None,
        extensions: None,
    };
    let (mut response, settled) = match ended {
        Whole::Settled { body, tx_hash } => {
            let mut response = whole(StatusCode::OK, "application/json", body.clone());
            if let Some(Kept { key, .. }) = kept {
                *response.body_mut() = ApiBody::Kept { body: Some(body), key: *key, node: Arc::clone(node) };
            }
            set(response.headers_mut(), CACHE_CONTROL, &cache_control_paid(None));
            (response, settle(true, None, Some(tx_hash)))
        }
        Whole::Pending { tx_hash } => {
            let message = match kept {
                Some(_) => "The transfer is not final yet. Send the same request with the same payment again to get the answer.",
                None => {
                    "The log ended before the host confirmed this receipt, and the answer is lost. The payment may still be charged until \
                     its end: ask a chain before you pay again."
                }
            };
            let api =
                ApiError { status: 503, kind: "server_error", code: Some("settlement_pending"), param: None, message: message.into() };
            (retry_later(error(&api), 2), settle(false, Some("settlement_pending"), tx_hash))
        }
        Whole::Failed(failure) => {
            let message = format!(
                "Not charged as far as the host says ({}). Your authorization can no longer be used; ask a chain of your own.",
                failure.as_str()
            );
            let api = ApiError { status: 402, kind: "payment_required", code: Some("settlement_failed"), param: None, message };
            (error(&api), settle(false, Some("invalid_transaction_state"), None))
        }
        Whole::Cut => {
            let message = format!(
                "The answer was not finished by the end of the payment, or within the {} seconds that this node spends on one. Nothing was \
                 charged; the payment counts as unsettled until it ends. Ask for fewer tokens, or for a stream.",
                node.config().generation_cap_s
            );
            // Not a 5xx: an SDK would ask, and pay, again.
            let api = ApiError {
                status: 422,
                code: Some("out_of_time"),
                param: Some("max_tokens".into()),
                ..ApiError::invalid_request(&message)
            };
            return error(&api);
        }
        Whole::NotLogged => return ledger_error(LedgerError::Closed),
    };
    if kept.is_some() {
        set(response.headers_mut(), HeaderName::from_static("payment-response"), &encode_header(&settled));
        debug_assert_eq!(HEADER_PAYMENT_RESPONSE.to_ascii_lowercase(), "payment-response");
    }
    response
}

fn ledger_error(refused: LedgerError) -> ApiResponse {
    let message = match refused {
        LedgerError::Full => "Too many answers are waiting for their receipt. Nothing was charged; try again.",
        // What is unknown is answered as pending (`Job::whole`), or cuts its stream; it does not come here.
        LedgerError::TooLong | LedgerError::Closed | LedgerError::Unknown => {
            "No receipt could be stored, so nothing is answered and nothing was charged; try again."
        }
    };
    let api = ApiError { status: 503, kind: "server_error", code: Some("receipt_unavailable"), param: None, message: message.into() };
    retry_later(error(&api), 2)
}

/// 402 with a signed offer; bounded per connection.
fn unpaid(session: &Session, quote: &Quote, path: &str, code: &str, message: &str, retry_after: Option<u64>) -> ApiResponse {
    if UNPAID_QUOTES_MAX <= session.unpaid_quotes.fetch_add(1, Ordering::Relaxed) {
        let message = "Too many unpaid quotes on this connection, which ends now. Open another.";
        let api = ApiError { status: 429, kind: "rate_limit_error", code: Some("too_many_quotes"), param: None, message: message.into() };
        let mut response = retry_later(error(&api), 1);
        // A pool of connections would else come back to this one for ever.
        set(response.headers_mut(), CONNECTION, "close");
        return response;
    }
    count(&session.node.metrics.quotes);
    let required = quote::payment_required(&session.node, quote, path, code);
    // The body is OpenAI's error shape for their clients; x402 v2 clients read the header.
    let body = json!({"error": {"message": message, "type": "payment_required", "param": null, "code": code}});
    let mut response = whole(StatusCode::PAYMENT_REQUIRED, "application/json", body.to_string().into());
    set(response.headers_mut(), HeaderName::from_static("payment-required"), &encode_header(&required));
    debug_assert_eq!(HEADER_PAYMENT_REQUIRED.to_ascii_lowercase(), "payment-required");
    set(response.headers_mut(), CACHE_CONTROL, CACHE_CONTROL_UNPAID);
    match retry_after {
        Some(seconds) => retry_later(response, seconds),
        None => response,
    }
}

fn pay_error(session: &Session, quote: Option<&Quote>, path: &str, refused: PayError) -> ApiResponse {
    match (refused, quote) {
        (PayError::Refused { code, message, retry_after }, Some(quote)) => unpaid(session, quote, path, &code, &message, retry_after),
        (PayError::Refused { message, .. }, None) => error(&ApiError::invalid_request(&message)),
        (PayError::Api(api, retry_after), _) => {
            let response = error(&api);
            retry_after.map_or_else(|| error(&api), |seconds| retry_later(response, seconds))
        }
    }
}

fn models(node: &Node) -> serde_json::Value {
    let created = node.boot_seconds();
    let data: Vec<_> = node
        .models()
        .map(|served| {
            json!({
                "id": served.id, "object": "model", "created": created, "owned_by": node.terms().operator.to_string(),
                "candor": {
                    "digest": served.digest.to_string(), "engine": candor_engine::ENGINE,
                    "context_tokens": served.model.config().context, "generation_cap_seconds": node.config().generation_cap_s,
                    "price": {
                        "network": Eip155(served.price.chain_id).to_string(), "asset": served.price.asset.to_string(),
                        "per_million_prompt_tokens": served.price.per_million_prompt.to_string(),
                        "per_million_completion_tokens": served.price.per_million_completion.to_string(),
                        "per_request": served.price.per_request.to_string(),
                    },
                },
            })
        })
        .collect();
    json!({"object": "list", "data": data})
}

fn health(node: &Node) -> ApiResponse {
    let open = node.ledger().has_room().is_ok();
    let status = if open { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    whole(status, "application/json", json!({"status": if open { "ok" } else { "log closed" }}).to_string().into())
}

/// Current evidence, or evidence made for a challenge.
async fn evidence(session: &Session, query: &str) -> ApiResponse {
    let Some(nonce) = query.strip_prefix("nonce=") else {
        return whole(StatusCode::OK, "application/cbor", session.node.evidence().to_vec().into());
    };
    let Some(nonce) = Hash32::from_hex(nonce).filter(|nonce| !nonce.is_zero()) else {
        return error(&ApiError::invalid_request("nonce must be 0x and 64 hex digits, not all zero."));
    };
    let (boot, node) = (Arc::clone(&session.boot), Arc::clone(&session.node));
    let refuse = |code, message: &str| {
        let api = ApiError { status: 429, kind: "rate_limit_error", code: Some(code), param: None, message: message.to_owned() };
        retry_later(error(&api), 1)
    };
    if CHALLENGES_MAX <= session.challenges.fetch_add(1, Ordering::Relaxed) {
        return refuse("too_many_challenges", "Too many challenges on this connection. Open another.");
    }
    let Ok(Ok(permit)) = tokio::time::timeout(ATTEST_WAIT, Arc::clone(&node.attesting).acquire_owned()).await else {
        return refuse("attestation_busy", "The attestation device is busy.");
    };
    // After the wait: the newest block.
    let head = node.head();
    let attested = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        boot.re_attest(&node, &head, nonce)
    });
    match attested.await {
        Ok(Ok(evidence)) => whole(StatusCode::OK, "application/cbor", evidence.into()),
        Ok(Err(_)) | Err(_) => error(&internal("The attestation device refused.")),
    }
}

async fn receipt(node: &Node, path: &str, query: &str) -> ApiResponse {
    let not_found = || error(&ApiError { status: 404, ..ApiError::invalid_request("There is no receipt with this id.") });
    let id = path.strip_prefix("/v1/receipts/").and_then(|hex| from_hex(&format!("0x{hex}")));
    let Some(receipt_id) = id.and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()) else { return not_found() };
    match node.port().request(EnclaveRequest::FetchReceipt { receipt_id }, STORE_TIMEOUT).await {
        Ok(HostReply::Receipt(Some(stored))) => stored_receipt(&stored, query),
        Ok(HostReply::Receipt(None)) => not_found(),
        Ok(_) | Err(_) => {
            let code = RefusalCode::Unavailable.as_str();
            let message = "The receipt store cannot be reached now.".to_owned();
            retry_later(error(&ApiError { status: 503, kind: "server_error", code: Some(code), param: None, message }), 2)
        }
    }
}

/// A stored receipt, and with `prefix=k` the proof that the first k frames are the beginning of what it commits to.
fn stored_receipt(stored: &StoredReceipt, query: &str) -> ApiResponse {
    let mut tree = FullTree::new();
    for leaf in &stored.frame_leaf_hashes {
        if tree.push(*leaf).is_err() {
            return error(&internal("The stored receipt has too many frames."));
        }
    }
    let hashes = |list: &[Hash32]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let prefix = match query.strip_prefix("prefix=").map(str::parse::<u64>) {
        None => None,
        Some(Ok(size)) if size != 0 && size <= tree.size() => tree.now().consistency_from(size).map(|proof| (size, proof)),
        Some(_) => {
            let message = format!("prefix must be a number from 1 to {}.", tree.size());
            return error(&ApiError::invalid_request(&message));
        }
    };
    let proof = stored.proof.as_ref().map(|proof| {
        let c = &proof.checkpoint.checkpoint;
        json!({"size": c.tree.size, "root": c.tree.root.to_string(), "timestamp": c.timestamp, "inclusion": hashes(&proof.inclusion)})
    });
    ok_json(json!({
        "object": "candor.receipt",
        "receipt": to_hex(&stored.receipt), "signature": to_hex(&stored.signature.0), "leaf_data": stored.leaf_data.to_string(),
        "frames": tree.size(), "frames_root": tree.now().tree().root.to_string(), "checkpoint": proof,
        "prefix": prefix.map(|(size, proof)| json!({"frames": size, "consistency": hashes(&proof)})),
    }))
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

async fn read_body(request: Request<Incoming>) -> Result<Bytes, ApiError> {
    let limited = Limited::new(request.into_body(), MAX_BODY_BYTES);
    match tokio::time::timeout(BODY_TIMEOUT, limited.collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(refused)) if refused.is::<http_body_util::LengthLimitError>() => {
            let message = format!("The request body has more than {MAX_BODY_BYTES} bytes.");
            Err(ApiError { status: 413, ..ApiError::invalid_request(&message) })
        }
        Ok(Err(_)) => Err(ApiError::invalid_request("The request body could not be read to its end.")),
        Err(_) => Err(ApiError { status: 408, ..ApiError::invalid_request("The request body took too long.") }),
    }
}

fn whole(status: StatusCode, content_type: &'static str, body: Bytes) -> ApiResponse {
    let mut response = Response::new(ApiBody::Whole(Some(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn ok_json(value: serde_json::Value) -> ApiResponse {
    whole(StatusCode::OK, "application/json", value.to_string().into())
}

fn error(api: &ApiError) -> ApiResponse {
    let status = StatusCode::from_u16(api.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = whole(status, "application/json", api.to_json().into());
    set(response.headers_mut(), CACHE_CONTROL, CACHE_CONTROL_UNPAID);
    response
}

fn retry_later(mut response: ApiResponse, seconds: u64) -> ApiResponse {
    set(response.headers_mut(), RETRY_AFTER, &seconds.to_string());
    response
}

/// Sets a header whose value we made: ASCII by construction, dropped if it ever were not.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
