//! A plain OpenAI endpoint on loopback that verifies, pays within the spend policy, and keeps a bundle of every answer.
//!
//! SDKs cannot pay or verify; this does both for them. Frames are passed on as the node sent them; the last one is held back until the
//! whole answer has verified, so an SDK never sees an end that was not checked. Loopback only: whoever can reach it spends the wallet.
//! Not here: keys of the SDK (any is accepted and ignored), other routes than chat completions and models.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use candor_chain::ChainClient;
use candor_verify::bytes::Address;
use candor_verify::verdict::LogLevel;
use http_body_util::{BodyExt, Limited, StreamBody, combinators::BoxBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, ORIGIN};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore, mpsc};

use crate::ask::{Buyer, Progress, VerifiedResponse, ask};
use crate::clock;
use crate::error::ClientError;
use crate::keep::Keep;
use crate::policy_file::PolicyFile;
use crate::resolve::{VerifiedNode, resolve};
use crate::spend::{SpendBook, Wallet};

/// Largest request body taken.
const BODY_MAX: usize = 1 << 20;

/// Requests at once; more wait.
const RUNNING_MAX: usize = 16;

/// Evidence is asked for again after this long, well before the policy's age limit.
const EVIDENCE_AGE_MS: u64 = 30 * 60 * 1000;

/// A client that does not finish its request head is cut off.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// Between the word of an error in a stream and its cut.
const FLUSH_PAUSE: Duration = Duration::from_millis(100);

/// What a proxy needs.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "what a proxy needs")]
pub struct ProxyConfig {
    /// Where to listen. Anything but loopback is refused.
    pub listen: SocketAddr,
    /// The registry's chain, over the caller's own RPC.
    pub chain: ChainClient,
    /// Where nodes are looked for.
    pub registry: Address,
    /// What counts as verified, and what may be spent.
    pub policy: PolicyFile,
    /// Who pays.
    pub wallet: Wallet,
    /// Payments across runs.
    pub book: SpendBook,
    /// Where answers are kept.
    pub keep: Keep,
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
    node: Mutex<Option<(u64, VerifiedNode)>>,
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
        let shared = Arc::new(Shared { config, running: Semaphore::new(RUNNING_MAX), node: Mutex::new(None) });
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

    /// Serves until the listener fails.
    ///
    /// # Errors
    /// `Unreachable`.
    pub async fn serve(self) -> Result<(), ClientError> {
        loop {
            let (stream, _) = self
                .listener
                .accept()
                .await
                .map_err(|error| ClientError::Unreachable { endpoint: "proxy".into(), what: error.to_string() })?;
            let shared = Arc::clone(&self.shared);
            tokio::spawn(async move {
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
    /// A connection of its own to the verified node.
    async fn connection(&self) -> Result<VerifiedNode, ClientError> {
        let mut current = self.node.lock().await;
        let fresh = matches!(&*current, Some((at, _)) if clock::now_ms().saturating_sub(*at) < EVIDENCE_AGE_MS);
        if fresh
            && let Some((_, node)) = current.as_ref()
            && let Ok(another) = node.another().await
        {
            return Ok(another);
        }
        // Too old, or gone: perhaps another boot is registered by now, and payments to the last one can be told from the chain.
        self.config.book.settle_up(&self.config.chain).await;
        let node = resolve(&self.config.chain, &self.config.registry, &self.config.policy.policy).await?;
        let another = node.another().await?;
        *current = Some((clock::now_ms(), node));
        Ok(another)
    }
}

type ProxyBody = BoxBody<Bytes, std::io::Error>;

async fn route(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<ProxyBody>, Infallible> {
    if let Some(refused) = refuse_strangers(&request) {
        return Ok(refused);
    }
    let result = match (request.method(), request.uri().path()) {
        (&Method::POST, "/v1/chat/completions") => chat(shared, request).await,
        (&Method::GET, "/v1/models") => models(&shared).await,
        _ => Err(ClientError::Node { status: 404, code: String::new(), message: "the proxy serves chat completions and models".into() }),
    };
    Ok(result.unwrap_or_else(|error| failure(&error)))
}

/// Web pages can send requests to loopback, and names can be rebound to it: neither may spend the wallet. SDKs send no Origin, and the
/// JSON content type forces a page into a preflight that is never answered.
fn refuse_strangers(request: &Request<Incoming>) -> Option<Response<ProxyBody>> {
    let header = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let refuse = |status: StatusCode, message: &str| {
        let body = json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": "candor_proxy"}});
        Some(whole(status, body.to_string().into()))
    };
    if request.headers().contains_key(ORIGIN) {
        return refuse(StatusCode::FORBIDDEN, "the proxy serves programs on this machine, not web pages");
    }
    let host = header(HOST).unwrap_or_default();
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host, |(name, _)| name);
    if !matches!(name, "127.0.0.1" | "localhost" | "[::1]") {
        return refuse(StatusCode::FORBIDDEN, "the Host header must name loopback");
    }
    let json = header(CONTENT_TYPE).is_some_and(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == "application/json"));
    if request.method() == Method::POST && !json {
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the content type must be application/json");
    }
    None
}

async fn models(shared: &Shared) -> Result<Response<ProxyBody>, ClientError> {
    let mut node = shared.connection().await?;
    let (status, body) = node.http.get("/v1/models").await?;
    Ok(whole(status, body))
}

async fn chat(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<ProxyBody>, ClientError> {
    let read = Limited::new(request.into_body(), BODY_MAX).collect().await;
    let body = read.map_err(|error| ClientError::Usage(format!("the request body: {error}")))?.to_bytes();
    let streamed = serde_json::from_slice::<serde_json::Value>(&body).ok().and_then(|json| json["stream"].as_bool()).unwrap_or(false);
    let (sender, mut events) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move { answer(&shared, &body, &sender).await });
    if !streamed {
        let response = join(task).await?;
        let body = response.bundle.response.frames.first().cloned().unwrap_or_default();
        return Ok(whole(StatusCode::OK, body.into()));
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
            Ok(_) => vec![Ok(sse(&held)), Ok(Frame::data(Bytes::from_static(b"data: [DONE]\n\n")))],
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
async fn answer(shared: &Shared, body: &[u8], frames: &mpsc::UnboundedSender<Vec<u8>>) -> Result<VerifiedResponse, ClientError> {
    let _permit = shared.running.acquire().await.map_err(|_| ClientError::Usage("the proxy is closing".into()))?;
    let mut node = shared.connection().await?;
    let config = &shared.config;
    let buyer = Buyer {
        wallet: &config.wallet,
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
    ask(&mut node, &buyer, body, &mut forward).await
}

async fn join(task: tokio::task::JoinHandle<Result<VerifiedResponse, ClientError>>) -> Result<VerifiedResponse, ClientError> {
    task.await.unwrap_or_else(|error| Err(ClientError::Usage(format!("the proxy's task ended: {error}"))))
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

/// Errors in OpenAI's shape: what the node refused as it said it, everything else as a bad gateway with the refusing check.
fn failure(error: &ClientError) -> Response<ProxyBody> {
    let (status, body) = error_body(error);
    let mut response = whole(status, body.to_string().into());
    // OpenAI's SDKs obey this header; what is safe to send again was sent again here already.
    response.headers_mut().insert("x-should-retry", HeaderValue::from_static("false"));
    response
}

fn error_body(error: &ClientError) -> (StatusCode, serde_json::Value) {
    let (status, code) = match error {
        ClientError::Node { status, code, .. } => (*status, code.clone()),
        // 402 is not retried by SDKs: a second try would be a second payment while the first may still be charged.
        ClientError::Unresolved { .. } | ClientError::Held { .. } => (402, "candor_unresolved".to_owned()),
        ClientError::RefusedAnswer { .. } => (402, "candor_answer_refused".to_owned()),
        other => (502, other.check().unwrap_or("candor_proxy").to_owned()),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let message = match error {
        ClientError::Node { message, .. } => message.clone(),
        other => other.to_string(),
    };
    let kind = if status.is_client_error() { "invalid_request_error" } else { "server_error" };
    let mut body = json!({"error": {"message": message, "type": kind, "param": null, "code": code}});
    if let ClientError::RefusedAnswer { check, kept, .. } = error {
        let file = kept.as_ref().ok().map(|path| path.display().to_string());
        body["error"]["candor"] = json!({"check": check, "bundle": file});
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

    #[test]
    fn what_may_have_been_charged_is_told_so_that_no_sdk_tries_again() {
        let kept = Ok("bundles/0a.refused.candor".into());
        let payment_id = candor_verify::Hash32::ZERO;
        let refused = ClientError::RefusedAnswer { check: "receipt.signature", what: "w".into(), kept, payment_id, until_seconds: 1 };
        let (status, body) = error_body(&refused);
        assert_eq!((status.as_u16(), body["error"]["code"].as_str()), (402, Some("candor_answer_refused")));
        assert_eq!(body["error"]["candor"], json!({"check": "receipt.signature", "bundle": "bundles/0a.refused.candor"}));
        let unresolved = ClientError::Unresolved { payment_id, until_seconds: 1, what: "w".into() };
        for error in [refused, unresolved] {
            let response = failure(&error);
            assert_eq!((response.status().as_u16(), response.headers()["x-should-retry"].to_str().unwrap()), (402, "false"));
        }
    }
}
