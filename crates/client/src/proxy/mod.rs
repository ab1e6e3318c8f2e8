//! A plain OpenAI endpoint on loopback that verifies, pays within the spend policy, and keeps what `Keep` says of every answer.
//!
//! SDKs cannot pay or verify; this does both for them. Frames are passed on as the node sent them; the last one is held back until the
//! whole answer has verified, so an SDK never sees an end that was not checked. Loopback only: whoever can reach it spends the wallet.
//! Without a [`ProxyToken`] that is every program and user of the machine; with one, whoever has it.
//! Not here: other routes than chat completions and models; which fields of a request are taken out (`unknown`).
//!
//! | file | what |
//! |---|---|
//! | here | the listener, the routes, health |
//! | `admission` | whose requests are taken |
//! | `answer` | one request over HTTP: read, forwarded, held back until it is verified |
//! | `buy` | one request bought: node after node |
//! | `nodes`, `rank`, `wishes` | who may be asked, in which order, and what a request wishes of it |
//! | `carried` | what an answer carries besides the node's words |
//! | `late` | answers that nobody waits for, and requests whose payment is followed |
//! | `errors` | refusals and failures in OpenAI's shape |
//! | `page` | what a browser is shown |
//! | `record` | what is told of each request |

mod admission;
mod answer;
mod buy;
mod carried;
mod errors;
mod keys;
mod late;
mod nodes;
mod page;
mod rank;
mod record;
mod wishes;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use candor_report::{LiveNode, ProxyKeyText};
use candor_verify::bytes::{Address, Amount};
use candor_verify::terms::Asset;
use candor_verify::verdict::LogLevel;
use candor_x402::client::AssetLimit;
use http_body_util::combinators::BoxBody;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore, mpsc};

pub use self::admission::ProxyToken;
use self::admission::admit;
use self::answer::chat;
use self::buy::FOLLOWED_MAX;
pub(crate) use self::carried::as_the_node_sent;
use self::errors::{PROXY_CODE, failure, refusal, whole};
pub use self::keys::ProxyKeys;
use self::late::Late;
use self::nodes::{Look, Nodes};
use self::page::{ANSWERS_PATH, Records, is_browser};
use self::record::Begun;
pub use self::record::{ProxyAnswer, ProxyEnd, ProxyEvent, ProxyRecord};
use self::wishes::Wishes;
pub use self::wishes::proxied_request;
use crate::ask::{CHAT_PATH, VerifiedResponse};
use crate::error::ClientError;
use crate::free::AccessKey;
use crate::keep::Keep;
use crate::left::Left;
use crate::own_chain::OwnChain;
use crate::policy_file::PolicyFile;
use crate::resolve::VerifiedNode;
use crate::spend::SpendBook;
use crate::tls::Endpoint;
use crate::unknown::Told;
use crate::wallet::Wallet;

/// Requests at once; more wait.
const RUNNING_MAX: usize = 16;

/// Connections at once, each a file descriptor; more wait in the system's queue. Well below the 256 descriptors that some systems give.
const CONNECTIONS_MAX: usize = 128;

/// Pause after an accept that failed: connections that end give descriptors back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A client that does not finish its request head is cut off.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// What is served, and by which methods.
const ROUTES: [(&str, &str); 5] =
    [("POST", CHAT_PATH), ("GET, HEAD", MODELS_PATH), ("GET, HEAD", HEALTH_PATH), ("GET, HEAD", "/"), ("GET, HEAD", ANSWER_ROUTE)];

/// Pages of answers, as their route is said.
const ANSWER_ROUTE: &str = "/answers/RECEIPT_ID";

const MODELS_PATH: &str = "/v1/models";

/// Longest wait for one node's list of models, where several have one.
const MODELS_WAIT: Duration = Duration::from_secs(5);

/// Models of one node that are listed.
const MODELS_MAX: usize = 256;

/// Whether an answer can be had now.
const HEALTH_PATH: &str = "/health";

/// So long what was found out about health is told again: whoever looks often asks no chain often.
const HEALTH_FRESH: Duration = Duration::from_secs(5);

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
    /// These nodes are asked, and none is looked for; if none is named, those of the registry.
    pub nodes: Vec<Endpoint>,
    /// What counts as verified, and what may be spent.
    pub policy: PolicyFile,
    /// Decimals of assets that may be spent, by chain and contract, as their tokens say. A node whose terms say otherwise is not paid in them: by the
    /// operator's word alone a price could be shown off by powers of ten.
    pub decimals: BTreeMap<(u64, Address), u8>,
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
    /// Who may ask besides, each within a budget of its own. Once there is a file of keys, whoever has neither one nor the token is refused.
    pub keys: Option<ProxyKeys>,
    /// Take out of a request what the node refuses as unknown, instead of passing the refusal on.
    pub drops_unknown: bool,
    /// What whoever runs the proxy is told: each request that is over, answers that were cut, fields that were taken out.
    pub events: mpsc::UnboundedSender<ProxyEvent>,
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
    nodes: Nodes,
    left: Left,
    following: Semaphore,
    late: Late,
    told: Told,
    records: Records,
    // Guards what was last found out; held while it is found out again, so that it happens once.
    health: Mutex<Option<(Instant, Vec<String>)>>,
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
        let shared = Arc::new(Shared {
            config,
            running: Semaphore::new(RUNNING_MAX),
            nodes: Nodes::default(),
            left: Left::default(),
            following: Semaphore::new(FOLLOWED_MAX),
            late: Late::default(),
            told: Told::default(),
            records: Records::default(),
            health: Mutex::new(None),
        });
        shared.look(Look::ForOne).await?;
        Ok(Self { listener, shared })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// `Unreachable` if the system does not say.
    pub fn local_addr(&self) -> Result<SocketAddr, ClientError> {
        self.listener.local_addr().map_err(|error| ClientError::Unreachable { endpoint: "proxy".into(), what: error.to_string() })
    }

    /// Serves until it is dropped, and looks after the nodes meanwhile.
    pub async fn serve(self) {
        let shared = Arc::clone(&self.shared);
        tokio::select! {
            () = self.accept() => {}
            () = shared.nodes.watch(&shared.config) => {}
        }
    }

    async fn accept(self) {
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

impl ProxyConfig {
    /// Whether signed terms give an asset the decimals that it has, as far as these are known.
    fn agrees(&self, asset: &Asset) -> bool {
        self.decimals.get(&(asset.chain_id, asset.asset)).is_none_or(|decimals| *decimals == asset.decimals)
    }
}

impl Shared {
    /// An answer that was paid for, and that nobody has read: kept whole, and told of.
    fn unread(&self, response: &VerifiedResponse, node: &str) {
        let kept = match self.config.keep.unread(&response.bundle, &response.verdict) {
            Ok(path) => format!("it is kept in {}", path.display()),
            Err(error) => format!("it could not be kept: {error}"),
        };
        self.tell(format!("{node} answered late, and was paid; nobody waits for its answer: {kept}"));
    }

    /// The keys that count now; `None` if there never were any. Of a file that cannot be read none counts: nobody is admitted by guessing.
    fn keys(&self) -> Option<Arc<Vec<ProxyKeyText>>> {
        self.config.keys.as_ref()?.now().unwrap_or_else(|error| {
            self.tell(format!("no key is admitted: {error}"));
            Some(Arc::default())
        })
    }

    /// A line for whoever runs the proxy, if anybody listens.
    fn tell(&self, line: String) {
        drop(self.config.events.send(ProxyEvent::Notice(line)));
    }

    /// A request is over.
    fn over(&self, record: ProxyRecord) {
        if record.path == CHAT_PATH {
            self.records.add(record.clone());
        }
        drop(self.config.events.send(ProxyEvent::Request(Box::new(record))));
    }

    /// Looks for nodes on a chain that is well: before the nodes are locked, so that all who wait hear of a chain that hangs at the same time.
    async fn look(&self, look: Look) -> Result<(), ClientError> {
        let _well = self.config.chain.check().await?;
        self.nodes.look(&self.config, look).await
    }

    /// Connections to the verified nodes that answer, in their order for no request in particular.
    async fn connections(&self) -> Result<Vec<VerifiedNode>, ClientError> {
        for has_looked in [false, true] {
            let mut connections = Vec::new();
            for kept in self.nodes.ranked(&Wishes { allow_fallbacks: true, ..Wishes::default() }, &self.config) {
                match kept.node.another().await {
                    Ok(node) => connections.push(node),
                    Err(error) => kept.fails(&error.to_string()),
                }
            }
            if !connections.is_empty() {
                return Ok(connections);
            }
            if !has_looked {
                self.look(Look::ForOne).await?;
            }
        }
        Err(ClientError::NoNode("none of the verified nodes answers".into()))
    }
}

type ProxyBody = BoxBody<Bytes, std::io::Error>;

async fn route(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<ProxyBody>, Infallible> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let begun = Begun::now(&method, &path);
    let keys = shared.keys();
    let admitted = admit(request.headers(), &method, shared.config.token.as_ref(), keys.as_ref().map(|keys| keys.as_slice()));
    if let Err(refused) = admitted {
        let code = if refused.status() == StatusCode::UNAUTHORIZED { "invalid_api_key" } else { PROXY_CODE };
        shared.over(begun.over(refused.status().as_u16(), ProxyEnd::Failed(code.to_owned())));
        return Ok(*refused);
    }
    let caller = admitted.unwrap_or_default();
    let is_read = matches!(method, Method::GET | Method::HEAD);
    let answer = path.strip_prefix(ANSWERS_PATH);
    let is_page = answer.is_some() || (path == "/" && is_browser(request.headers()));
    let response = match path.as_str() {
        // It tells itself when it is over.
        CHAT_PATH if method == Method::POST => return Ok(chat(shared, request, begun, caller).await),
        MODELS_PATH if is_read => models(&shared).await.unwrap_or_else(|error| failure(&error, &[])),
        HEALTH_PATH if is_read => shared.health().await,
        // They show what everybody asked: not for whoever has a key of their own.
        _ if is_read && is_page && caller.is_some() => {
            refusal(StatusCode::FORBIDDEN, Some(PROXY_CODE), "pages are for whoever has the proxy's token: start it with --token")
        }
        "/" if is_read && is_page => shared.live_page(request.uri().query()),
        "/" if is_read => about(),
        _ if is_read && answer.is_some() => shared.answer_page(answer.unwrap_or_default()),
        _ => not_served(&path),
    };
    shared.over(begun.over(response.status().as_u16(), ProxyEnd::Served));
    Ok(response)
}

/// For whoever opens the address to see what it is.
fn about() -> Response<ProxyBody> {
    let what =
        "candor proxy: verifies a node, pays it within your policy, verifies each answer and keeps its evidence; use /v1 as base_url";
    whole(StatusCode::OK, json!({"about": what, "routes": routes()}).to_string().into())
}

fn routes() -> Vec<String> {
    ROUTES.iter().map(|(methods, path)| format!("{methods} {path}")).collect()
}

/// 405 for what is served by another method, 404 for what is not served; either says what is.
fn not_served(path: &str) -> Response<ProxyBody> {
    let served = routes().join("; ");
    let known = if path.starts_with(ANSWERS_PATH) { ANSWER_ROUTE } else { path };
    let Some((methods, _)) = ROUTES.iter().find(|(_, route)| *route == known) else {
        return refusal(StatusCode::NOT_FOUND, None, &format!("not served here; what is: {served}"));
    };
    let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, None, &format!("served by {methods} only; what is served: {served}"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

/// The models of all nodes; of one that several have, the node's that would be asked first.
async fn models(shared: &Shared) -> Result<Response<ProxyBody>, ClientError> {
    let mut nodes = shared.connections().await?;
    if let [node] = nodes.as_mut_slice() {
        let (status, body) = node.http.get(MODELS_PATH).await?;
        return Ok(whole(status, body));
    }
    let mut listed: Vec<Value> = Vec::new();
    for node in &mut nodes {
        let Ok(Ok((StatusCode::OK, body))) = tokio::time::timeout(MODELS_WAIT, node.http.get(MODELS_PATH)).await else { continue };
        let theirs: Value = serde_json::from_slice(&body).unwrap_or_default();
        for model in theirs["data"].as_array().into_iter().flatten().take(MODELS_MAX) {
            if !listed.iter().any(|known| known["id"] == model["id"]) {
                listed.push(model.clone());
            }
        }
    }
    Ok(whole(StatusCode::OK, json!({"object": "list", "data": listed}).to_string().into()))
}

impl Shared {
    /// 200 if an answer can be had, and 503 with what that needs.
    async fn health(&self) -> Response<ProxyBody> {
        let mut known = self.health.lock().await;
        let needs = match known.take().filter(|(at, _)| at.elapsed() < HEALTH_FRESH) {
            Some((at, needs)) => known.insert((at, needs)).1.clone(),
            None => {
                let needs = self.needs().await;
                known.insert((Instant::now(), needs)).1.clone()
            }
        };
        let (status, word) = if needs.is_empty() { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
        let payer = self.config.wallet.as_ref().map(|wallet| wallet.address().to_string());
        let row = |node: LiveNode| json!({"node": node.authority, "operator": node.operator.to_string(), "failing": node.failing});
        let nodes: Vec<Value> = self.nodes.shown().into_iter().map(row).collect();
        whole(status, json!({"status": word, "needs": needs, "payer": payer, "nodes": nodes}).to_string().into())
    }

    /// What an answer would need that is not there, in words.
    async fn needs(&self) -> Vec<String> {
        let mut needs = Vec::new();
        if let Err(trouble) = self.config.chain.check().await {
            needs.push(format!("a chain that is well: {trouble}"));
        } else if let Err(error) = self.connections().await {
            needs.push(format!("a verified node that answers: {error}"));
        }
        if self.config.wallet.is_some() {
            match self.spent() {
                Ok(spent) if !spent.is_empty() && spent.iter().all(|(limit, spent)| limit.max_per_day <= *spent) => {
                    needs.push("an amount left of the day's budget: raise max_per_day in the policy, or wait".to_owned());
                }
                Ok(_) => {}
                Err(error) => needs.push(format!("the book of payments: {error}")),
            }
        }
        needs
    }

    /// What was spent in the last 24 hours of each asset that may be spent on this chain, beside its limits.
    fn spent(&self) -> Result<Vec<(AssetLimit, Amount)>, ClientError> {
        let assets = self.config.policy.spend.assets.iter();
        let here = assets.filter(|limit| limit.network.0 == self.config.chain.client().chain_id());
        here.map(|limit| Ok((*limit, self.config.book.day_total(limit.network, &limit.asset)?))).collect()
    }
}
