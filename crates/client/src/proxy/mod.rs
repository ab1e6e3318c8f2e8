//! A plain OpenAI endpoint on loopback that verifies, pays within the spend policy, and keeps a bundle of every answer.
//!
//! SDKs cannot pay or verify; this does both for them. Frames are passed on as the node sent them; the last one is held back until the
//! whole answer has verified, so an SDK never sees an end that was not checked. Loopback only: whoever can reach it spends the wallet.
//! Without a [`ProxyToken`] that is every program and user of the machine; with one, whoever has it.
//! Not here: other routes than chat completions and models; which fields of a request are taken out (`unknown`).
//!
//! | file | what |
//! |---|---|
//! | here | the listener, the verified node, the routes |
//! | `admission` | whose requests are taken |
//! | `answer` | one request: asked, forwarded, held back until it is verified |
//! | `errors` | refusals and failures in OpenAI's shape |

mod admission;
mod answer;
mod errors;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use candor_verify::bytes::Address;
use candor_verify::time::UnixMs;
use candor_verify::verdict::LogLevel;
use http_body_util::combinators::BoxBody;
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore, mpsc};

pub use self::admission::ProxyToken;
use self::admission::refuse_strangers;
use self::answer::chat;
use self::errors::{failure, refusal, whole};
use crate::ask::CHAT_PATH;
use crate::clock;
use crate::error::ClientError;
use crate::free::AccessKey;
use crate::keep::Keep;
use crate::own_chain::OwnChain;
use crate::policy_file::PolicyFile;
use crate::resolve::{VerifiedNode, resolve};
use crate::spend::SpendBook;
use crate::unknown::Told;
use crate::wallet::Wallet;

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

/// The paid route and the free one, for whoever asked for another.
const ROUTES: [&str; 2] = ["POST /v1/chat/completions", "GET /v1/models"];

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
