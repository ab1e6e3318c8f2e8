//! A plain OpenAI endpoint on loopback that verifies, pays within the spend policy, and keeps a bundle of every answer.
//!
//! SDKs cannot pay or verify; this does both for them. Frames are passed on as the node sent them; the last one is held back until the
//! whole answer has verified, so an SDK never sees an end that was not checked. Loopback only: whoever can reach it spends the wallet.
//! Without a [`ProxyToken`] that is every program and user of the machine; with one, whoever has it.
//! Not here: other routes than chat completions and models; which fields of a request are taken out (`unknown`).

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use candor_engine::chat::MAX_BODY_BYTES;
use candor_verify::bytes::{Address, Hash32, to_hex};
use candor_verify::hash::sha256;
use candor_verify::time::UnixMs;
use candor_verify::verdict::LogLevel;
use http_body_util::{BodyExt, LengthLimitError, Limited, StreamBody, combinators::BoxBody};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore, mpsc};

use crate::ask::{Buyer, CHAT_PATH, Progress, VerifiedResponse, ask};
use crate::clock;
use crate::cut::cut_notice;
use crate::error::{CHAIN_UNAVAILABLE, ClientError};
use crate::free::AccessKey;
use crate::keep::Keep;
use crate::own_chain::OwnChain;
use crate::policy_file::PolicyFile;
use crate::resolve::{VerifiedNode, random32, resolve};
use crate::spend::{SpendBook, Wallet};
use crate::unknown::{Dropped, Told};

/// Requests at once; more wait.
const RUNNING_MAX: usize = 16;

/// Evidence is asked for again after this long, well before the policy's age limit.
const EVIDENCE_AGE_MS: u64 = 30 * 60 * 1000;

/// Connections at once, each a file descriptor; more wait in the system's queue. Well below the 256 descriptors that some systems give.
const CONNECTIONS_MAX: usize = 128;

/// Pause after an accept that failed: connections that end give descriptors back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A client that does not finish its request head is cut off.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// Longest wait for a request's body, which comes from this machine.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Shortest token taken: what can be tried out is none.
const TOKEN_MIN: usize = 16;

/// The paid route and the free one, for whoever asked for another.
const ROUTES: [&str; 2] = ["POST /v1/chat/completions", "GET /v1/models"];

/// Id of the receipt, as nodes name it too.
const RECEIPT_ID: HeaderName = HeaderName::from_static("x-receipt-id");

/// Where the bundle of the answer is kept.
const BUNDLE: HeaderName = HeaderName::from_static("x-candor-bundle");

/// How the answer ended, in a word of its receipt.
const OUTCOME: HeaderName = HeaderName::from_static("x-candor-outcome");

/// Fields that were taken out of the request.
const DROPPED: HeaderName = HeaderName::from_static("x-candor-dropped");

/// Between the word of an error in a stream and its cut.
const FLUSH_PAUSE: Duration = Duration::from_millis(100);

/// What a proxy needs.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "what a proxy needs")]
pub struct ProxyConfig {
    /// Where to listen. Anything but loopback is refused.
    pub listen: SocketAddr,
    /// The registry's chain, over the caller's own endpoints.
    pub chain: OwnChain,
    /// Where nodes are looked for.
    pub registry: Address,
    /// What counts as verified, and what may be spent.
    pub policy: PolicyFile,
    /// Who pays. Without one, only nodes are asked that answer for nothing.
    pub wallet: Option<Wallet>,
    /// Opens nodes whose terms list it; then nothing is paid.
    pub key: Option<AccessKey>,
    /// Payments across runs.
    pub book: SpendBook,
    /// Where answers are kept.
    pub keep: Keep,
    /// What every request must bring; `None` takes all.
    pub token: Option<ProxyToken>,
    /// Take out of a request what the node refuses as unknown, instead of passing the refusal on.
    pub drops_unknown: bool,
    /// Lines for whoever runs the proxy: answers that were cut, fields that were taken out.
    pub notices: mpsc::UnboundedSender<String>,
}

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

/// A bound proxy.
#[derive(Debug)]
pub struct Proxy {
    listener: TcpListener,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: ProxyConfig,
    running: Semaphore,
    // Guards the verified node that connections are made from; held while it is verified anew, so that it happens once.
    node: Mutex<Option<(UnixMs, VerifiedNode)>>,
    told: Told,
}

impl Proxy {
    /// Binds, and verifies a node before anything is taken.
    ///
    /// # Errors
    /// `Usage` for an address that is not loopback, `Unreachable` if it cannot be bound, and whatever `resolve` says.
    pub async fn bind(config: ProxyConfig) -> Result<Self, ClientError> {
        if !config.listen.ip().is_loopback() {
            return Err(ClientError::Usage(format!("{} is not loopback: whoever reaches the proxy spends the wallet", config.listen)));
        }
        // An answer goes to its SDK at once, and what a log is worth by then is the enclave's own word.
        let level = config.policy.policy.require_level;
        if LogLevel::SelfLogged < level {
            return Err(ClientError::Usage(format!(
                "the policy requires {} (log.require_level), and no answer is that when it arrives: require self-logged for the proxy, and \
                 `candor verify FILE --rpc URL` the bundles that it keeps",
                level.as_str()
            )));
        }
        let listener = TcpListener::bind(config.listen)
            .await
            .map_err(|error| ClientError::Unreachable { endpoint: config.listen.to_string(), what: error.to_string() })?;
        let (running, node) = (Semaphore::new(RUNNING_MAX), Mutex::new(None));
        let shared = Arc::new(Shared { config, running, node, told: Told::default() });
        drop(shared.connection().await?);
        Ok(Self { listener, shared })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// `Unreachable` if the system does not say.
    pub fn local_addr(&self) -> Result<SocketAddr, ClientError> {
        self.listener.local_addr().map_err(|error| ClientError::Unreachable { endpoint: "proxy".into(), what: error.to_string() })
    }

    /// Serves until it is dropped.
    pub async fn serve(self) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        // The semaphore is never closed.
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            let Ok((stream, _)) = self.listener.accept().await else {
                // Out of file descriptors, for example: what is running goes on.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let shared = Arc::clone(&self.shared);
            tokio::spawn(async move {
                let _place = place;
                let service = hyper::service::service_fn(move |request| route(Arc::clone(&shared), request));
                // Errors of one connection concern that connection only.
                drop(
                    hyper::server::conn::http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(HEAD_TIMEOUT)
                        .serve_connection(TokioIo::new(stream), service)
                        .await,
                );
            });
        }
    }
}

impl Shared {
    /// A line for whoever runs the proxy, if anybody listens.
    fn tell(&self, line: String) {
        drop(self.config.notices.send(line));
    }

    /// A connection of its own to the verified node.
    async fn connection(&self) -> Result<VerifiedNode, ClientError> {
        if let Some(another) = to_known(self.node.lock().await.as_ref()).await {
            return Ok(another);
        }
        // Before the lock, so that all who wait hear of a chain that hangs at the same time, and not one after the other.
        let _well = self.config.chain.check().await?;
        let mut current = self.node.lock().await;
        if let Some(another) = to_known(current.as_ref()).await {
            return Ok(another);
        }
        // Too old, or gone: perhaps another boot is registered by now, and payments to the last one can be told from the chain.
        let chain = self.config.chain.client();
        self.config.book.settle_up(chain).await;
        let node = resolve(chain, &self.config.registry, &self.config.policy.policy, &self.config.policy.find).await?;
        let another = node.another().await?;
        *current = Some((clock::now(), node));
        Ok(another)
    }
}

/// A connection to a node that was verified not too long ago and answers.
async fn to_known(known: Option<&(UnixMs, VerifiedNode)>) -> Option<VerifiedNode> {
    let (verified_at, node) = known?;
    let is_fresh = clock::now().since(*verified_at) < EVIDENCE_AGE_MS;
    if is_fresh { node.another().await.ok() } else { None }
}

type ProxyBody = BoxBody<Bytes, std::io::Error>;

async fn route(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<ProxyBody>, Infallible> {
    if let Some(refused) = refuse_strangers(request.headers(), request.method(), shared.config.token.as_ref()) {
        return Ok(refused);
    }
    let result = match (request.method(), request.uri().path()) {
        (&Method::POST, CHAT_PATH) => chat(shared, request).await,
        (&Method::GET | &Method::HEAD, "/v1/models") => models(&shared).await,
        (&Method::GET | &Method::HEAD, "/") => Ok(about()),
        _ => Ok(refusal(StatusCode::NOT_FOUND, None, &format!("not served here; what is: {}", ROUTES.join(", ")))),
    };
    Ok(result.unwrap_or_else(|error| failure(&error)))
}

/// Web pages can send requests to loopback, and names can be rebound to it: neither may spend the wallet, nor learn that it is there. SDKs
/// send neither Origin nor `Sec-Fetch-Site`, and the JSON content type forces a page into a preflight that is never answered.
fn refuse_strangers(headers: &HeaderMap, method: &Method, token: Option<&ProxyToken>) -> Option<Response<ProxyBody>> {
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

/// For whoever opens the address to see what it is.
fn about() -> Response<ProxyBody> {
    let what = "candor proxy: verifies a node, pays it within your policy, verifies each answer and keeps its bundle; use /v1 as base_url";
    whole(StatusCode::OK, json!({"about": what, "routes": ROUTES}).to_string().into())
}

async fn models(shared: &Shared) -> Result<Response<ProxyBody>, ClientError> {
    let mut node = shared.connection().await?;
    let (status, body) = node.http.get("/v1/models").await?;
    Ok(whole(status, body))
}

/// A whole body, in time; or with which status and words it is refused.
async fn read_body<B>(body: B, within: Duration) -> Result<Bytes, (StatusCode, String)>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match tokio::time::timeout(within, Limited::new(body, MAX_BODY_BYTES).collect()).await {
        Ok(Ok(read)) => Ok(read.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err((StatusCode::PAYLOAD_TOO_LARGE, format!("the request's body is longer than {MAX_BODY_BYTES} bytes")))
        }
        Ok(Err(error)) => Err((StatusCode::BAD_REQUEST, format!("the request's body: {error}"))),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the request's body did not come in time".to_owned())),
    }
}

async fn chat(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<ProxyBody>, ClientError> {
    let body = match read_body(request.into_body(), BODY_TIMEOUT).await {
        Ok(body) => body,
        Err((status, message)) => return Ok(refusal(status, Some("candor_proxy"), &message)),
    };
    let dropped = Dropped::default();
    let mut response = forwarded(shared, body, dropped.clone()).await.unwrap_or_else(|error| failure(&error));
    if let Some(Ok(names)) = dropped.listed().map(|names| HeaderValue::from_str(&names)) {
        response.headers_mut().insert(DROPPED, names);
    }
    Ok(response)
}

/// The answer, or its head: by then it is known what was taken out.
async fn forwarded(shared: Arc<Shared>, body: Bytes, dropped: Dropped) -> Result<Response<ProxyBody>, ClientError> {
    let streamed = serde_json::from_slice::<serde_json::Value>(&body).ok().and_then(|json| json["stream"].as_bool()).unwrap_or(false);
    let (sender, mut events) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move { answer(&shared, &body, &dropped, &sender).await });
    if !streamed {
        let response = join(task).await?;
        let body = response.bundle.response.frames.first().cloned().unwrap_or_default();
        let mut answer = whole(StatusCode::OK, body.into());
        answer.headers_mut().extend(kept_headers(&response));
        return Ok(answer);
    }
    // An error before the first frame is an HTTP error; after it, only the stream can be cut.
    let Some(first) = events.recv().await else {
        return match join(task).await {
            Ok(_) => Err(ClientError::Usage("an answer without frames".into())),
            Err(error) => Err(error),
        };
    };
    let (out, items) = mpsc::channel::<Result<Frame<Bytes>, std::io::Error>>(16);
    tokio::spawn(async move {
        let mut held = first;
        while let Some(next) = events.recv().await {
            // One frame is always held: the last must not go out before the verdict.
            if out.send(Ok(sse(&held))).await.is_err() {
                return;
            }
            held = next;
        }
        let end = match join(task).await {
            // A comment, which SDKs skip: the head was sent before there was a receipt.
            Ok(response) => vec![Ok(sse(&held)), Ok(kept_comment(&response)), Ok(Frame::data(Bytes::from_static(b"data: [DONE]\n\n")))],
            // SDKs raise an `error` member as it is; the cut after it says to everybody else that this is no end.
            Err(error) => {
                let (_, body) = error_body(&error);
                drop(out.send(Ok(sse(body.to_string().as_bytes()))).await);
                // The server drops what it has not sent yet when a body fails.
                tokio::time::sleep(FLUSH_PAUSE).await;
                vec![Err(std::io::Error::other(error.to_string()))]
            }
        };
        for item in end {
            if out.send(item).await.is_err() {
                return;
            }
        }
    });
    let body = StreamBody::new(ReceiverStream(items));
    let mut response = Response::new(BodyExt::boxed(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Ok(response)
}

/// Its own task: a payment that was made is followed to its end even if the SDK hangs up.
async fn answer(
    shared: &Shared,
    body: &[u8],
    dropped: &Dropped,
    frames: &mpsc::UnboundedSender<Vec<u8>>,
) -> Result<VerifiedResponse, ClientError> {
    let _permit = shared.running.acquire().await.map_err(|_| ClientError::Usage("the proxy is closing".into()))?;
    let mut node = shared.connection().await?;
    let config = &shared.config;
    let buyer = Buyer {
        chain: &config.chain,
        wallet: config.wallet.as_ref(),
        key: config.key.as_ref(),
        book: &config.book,
        spend: &config.policy.spend,
        policy: &config.policy.policy,
        keep: &config.keep,
        pay_again: false,
    };
    let mut forward = |progress: Progress<'_>| {
        if let Progress::Frame(frame) = progress {
            drop(frames.send(frame.to_vec()));
        }
    };
    let mut body = Cow::Borrowed(body);
    let mut is_moved = false;
    let response = loop {
        match ask(&mut node, &buyer, &body, &mut forward).await {
            Ok(response) => break response,
            // Before anything was paid: what is found out after a payment was sent is not `AnotherBoot`. Its connections are closed by itself.
            Err(ClientError::AnotherBoot { .. }) if !is_moved => {
                shared.tell("another boot answered in the place of the verified one: it is verified before it is asked".into());
                is_moved = true;
                node = shared.connection().await?;
            }
            // Refused before anything was paid: what is refused after a payment was sent is not `Node`.
            Err(error) => match config.drops_unknown.then(|| dropped.without(&body, &error)).flatten() {
                Some((name, shorter)) => {
                    if shared.told.is_new(&name) {
                        shared.tell(format!("dropped {name:?} from a request: the node refuses it as unknown (said once)"));
                    }
                    body = Cow::Owned(shorter);
                }
                None => {
                    if matches!(error, ClientError::ChainTrouble(_)) {
                        // When the chain is back it may be another one, on which this node was never verified.
                        *shared.node.lock().await = None;
                    }
                    return Err(error);
                }
            },
        }
    };
    if let Some(notice) = cut_notice(&response.bundle) {
        shared.tell(format!("receipt {}: {notice}", response.receipt_id));
    }
    Ok(response)
}

/// How an answer ended, as its receipt says.
fn outcome(response: &VerifiedResponse) -> &'static str {
    response.bundle.delivery.receipt.work.outcome.as_str()
}

async fn join(task: tokio::task::JoinHandle<Result<VerifiedResponse, ClientError>>) -> Result<VerifiedResponse, ClientError> {
    task.await.unwrap_or_else(|error| Err(ClientError::Usage(format!("the proxy's task ended: {error}"))))
}

/// From an answer to its evidence.
fn kept_headers(response: &VerifiedResponse) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let path = response.path.display().to_string();
    // A path that no header can carry is left out.
    let values = [
        (RECEIPT_ID, HeaderValue::from_str(&response.receipt_id)),
        (BUNDLE, HeaderValue::from_bytes(path.as_bytes())),
        (OUTCOME, HeaderValue::from_str(outcome(response))),
    ];
    values.into_iter().filter_map(|(name, value)| Some((name, value.ok()?)))
}

fn kept_comment(response: &VerifiedResponse) -> Frame<Bytes> {
    let kept = json!({"receipt_id": response.receipt_id, "bundle": response.path.display().to_string(), "outcome": outcome(response)});
    Frame::data(format!(": candor {kept}\n\n").into())
}

fn sse(frame: &[u8]) -> Frame<Bytes> {
    Frame::data([b"data: ".as_slice(), frame, b"\n\n"].concat().into())
}

fn whole(status: StatusCode, body: Bytes) -> Response<ProxyBody> {
    let body = http_body_util::Full::new(body).map_err(|never: Infallible| match never {});
    let mut response = Response::new(BodyExt::boxed(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A refusal of the proxy's own, in OpenAI's shape.
fn refusal(status: StatusCode, code: Option<&str>, message: &str) -> Response<ProxyBody> {
    let body = json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": code}});
    whole(status, body.to_string().into())
}

/// Errors in OpenAI's shape: what the node refused as it said it, everything else as a bad gateway with the refusing check.
fn failure(error: &ClientError) -> Response<ProxyBody> {
    let (status, body) = error_body(error);
    let mut response = whole(status, body.to_string().into());
    // OpenAI's SDKs obey this header; what is safe to send again was sent again here already. But a node that is busy with what nobody pays for
    // asked whoever wants it to come again, and has charged nothing.
    let is_busy = matches!(error, ClientError::Node { status: 429, code, .. } if code.starts_with("candor_free_"));
    if !is_busy {
        response.headers_mut().insert("x-should-retry", HeaderValue::from_static("false"));
    }
    response
}

fn error_body(error: &ClientError) -> (StatusCode, serde_json::Value) {
    let (status, code) = match error {
        ClientError::Node { status, code, .. } => (*status, code.clone()),
        // 402 is not retried by SDKs: a second try would be a second payment while the first may still be charged.
        ClientError::Unresolved { .. } | ClientError::Held { .. } => (402, "candor_unresolved".to_owned()),
        ClientError::RefusedAnswer { .. } => (402, "candor_answer_refused".to_owned()),
        ClientError::RefusedGift { .. } => (502, "candor_answer_refused".to_owned()),
        ClientError::Chain(_) | ClientError::ChainTrouble(_) => (503, CHAIN_UNAVAILABLE.to_owned()),
        other => (502, other.check().unwrap_or("candor_proxy").to_owned()),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let message = match error {
        ClientError::Node { message, .. } => message.clone(),
        other => other.to_string(),
    };
    let kind = if status.is_client_error() { "invalid_request_error" } else { "server_error" };
    let param = match error {
        ClientError::Node { param, .. } => param.as_deref(),
        _ => None,
    };
    let code = Some(code).filter(|code| !code.is_empty());
    let mut body = json!({"error": {"message": message, "type": kind, "param": param, "code": code}});
    if let ClientError::RefusedAnswer { check, kept, .. } | ClientError::RefusedGift { check, kept, .. } = error {
        let file = kept.as_ref().ok().map(|path| path.display().to_string());
        body["error"]["candor"] = json!({"check": check, "bundle": file});
    }
    if let ClientError::ChainTrouble(trouble) = error {
        body["error"]["candor"] = json!({"chain": trouble.kind()});
    }
    (status, body)
}

/// A receiver as a stream, for `StreamBody`.
struct ReceiverStream(mpsc::Receiver<Result<Frame<Bytes>, std::io::Error>>);

impl futures_core::Stream for ReceiverStream {
    type Item = Result<Frame<Bytes>, std::io::Error>;

    fn poll_next(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain_health::ChainTrouble;
    use candor_verify::time::UnixSeconds;

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

    #[tokio::test]
    async fn a_body_that_is_too_long_or_never_ends_is_refused_as_what_it_is() {
        let long = http_body_util::Full::new(Bytes::from(vec![b' '; MAX_BODY_BYTES + 1]));
        assert_eq!(read_body(long, BODY_TIMEOUT).await.unwrap_err().0, StatusCode::PAYLOAD_TOO_LARGE);
        let (_open, items) = mpsc::channel(1);
        let endless = StreamBody::new(ReceiverStream(items));
        assert_eq!(read_body(endless, Duration::ZERO).await.unwrap_err().0, StatusCode::REQUEST_TIMEOUT);
        let whole = http_body_util::Full::new(Bytes::from_static(b"{}"));
        assert_eq!(read_body(whole, BODY_TIMEOUT).await.unwrap(), "{}");
    }

    #[test]
    fn what_a_node_says_of_a_field_is_passed_on_and_no_code_is_null() {
        let param = Some("temperature".to_owned());
        let refused = ClientError::Node { status: 400, code: "invalid_value".into(), message: "m".into(), param };
        assert_eq!(error_body(&refused).1["error"]["param"], "temperature");
        let silent = ClientError::Node { status: 500, code: String::new(), message: "m".into(), param: None };
        let body = error_body(&silent).1;
        assert!(body["error"]["code"].is_null() && body["error"]["param"].is_null(), "{body}");
    }

    #[test]
    fn a_chain_in_trouble_is_a_503_that_names_it_and_no_sdk_tries_again() {
        let trouble = ChainTrouble::WentBack { endpoint: "http://127.0.0.1:1".into(), from: 9, to: 7 };
        let (status, body) = error_body(&trouble.clone().into());
        let error = &body["error"];
        assert_eq!((status.as_u16(), error["code"].as_str()), (503, Some("chain_unavailable")));
        assert_eq!(error["candor"], json!({"chain": "went_back"}));
        assert_eq!(failure(&trouble.into()).headers()["x-should-retry"].to_str().unwrap(), "false");
        assert_eq!(error_body(&ClientError::Chain("w".into())).0.as_u16(), 503);
    }

    #[test]
    fn what_may_have_been_charged_is_told_so_that_no_sdk_tries_again() {
        let kept = Ok("bundles/0a.refused.candor".into());
        let payment_id = candor_verify::Hash32::ZERO;
        let refused = ClientError::RefusedAnswer { check: "receipt.signature", what: "w".into(), kept, payment_id, until: UnixSeconds(1) };
        let (status, body) = error_body(&refused);
        assert_eq!((status.as_u16(), body["error"]["code"].as_str()), (402, Some("candor_answer_refused")));
        assert_eq!(body["error"]["candor"], json!({"check": "receipt.signature", "bundle": "bundles/0a.refused.candor"}));
        let unresolved = ClientError::Unresolved { payment_id, until: UnixSeconds(1), what: "w".into() };
        for error in [refused, unresolved] {
            let response = failure(&error);
            assert_eq!((response.status().as_u16(), response.headers()["x-should-retry"].to_str().unwrap()), (402, "false"));
        }
    }
}
