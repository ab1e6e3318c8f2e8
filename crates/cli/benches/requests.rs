//! Processor time per request of a running node, beside a bare axum route in the same run.
//!
//! Every figure is user and system time of whole processes (`/proc/PID/stat`) divided by requests: it does not change with the load
//! of the machine, and it counts both halves of a node. The client's and the chain's time are not in it. All rows but the first use TLS
//! 1.3, and every connection carries [`PER_CONNECTION`] requests, so handshakes weigh the same in each.
//!
//! The model of the node is a tiny random one and the answers are eight tokens, so that what is measured is everything around the
//! engine: parsing, pricing, offers, payment checks, claims, transcript, receipt, log, store, settlement, anchors. The engine's own
//! speed is `cargo xtask bench engine`.
//!
//! Last come whole commands of the client, whose processor time is that of ended child processes, and what the idle node holds in memory.

#[path = "../tests/it/support/mod.rs"]
#[allow(dead_code, reason = "a bench uses a part")]
mod support;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::post;
use candor_engine::{Config, fixture};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use support::World;
use support::http::{CHAT, Http, own_key};
use support::payer::{Offered, Payer, question};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

/// Clients at once, each with a connection.
const CLIENTS: usize = 16;

/// Requests per connection: as many as an enclave quotes for nothing.
const PER_CONNECTION: usize = 60;

/// Streams that one account pays for: a node lets it have eight unsettled ones.
const PER_PAYER: usize = 6;

/// Connections of each client for the rows without payment.
const ROUNDS: usize = 10;

/// Runs of each command of the client, after one that is not counted.
const COMMANDS: usize = 10;

/// What the bare route answers: a completion of the same length, made beforehand.
const BODY: &str = r#"{"id":"chatcmpl-0123456789abcdef","object":"chat.completion","created":1790000000,"model":"candor-mini","choices":[{"index":0,"message":{"role":"assistant","content":"eight tokens of an answer are this long"},"logprobs":null,"finish_reason":"length"}],"usage":{"prompt_tokens":9,"completion_tokens":8,"total_tokens":17}}"#;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match arguments.get(1).map(String::as_str) {
        Some("--axum") => runtime.block_on(axum_server()),
        _ => runtime.block_on(compare()),
    }
}

async fn compare() {
    let floor = Floor::start();
    let world = Arc::new(tiny());
    let node = [world.node.pid_of("enclave_pid"), world.node.pid_of("host_pid")];
    let floor_pid = [floor.child.id()];

    println!("\nprocessor time per request, {CLIENTS} clients, {PER_CONNECTION} requests per connection\n");
    println!("{:34} {:>8} {:>12} {:>12} {:>9} {:>8}", "", "requests", "us first", "us second", "us sum", "x axum");
    let plain = measure("axum, plain HTTP", &floor_pid, None, load(&floor.plain, Method::POST, CHAT, 200)).await;
    let base = measure("axum, TLS", &floor_pid, None, load(&floor.tls, Method::POST, CHAT, 200)).await;
    measure("node, GET /health", &node, Some(base), load(&world.api(), Method::GET, "/health", 200)).await;
    measure("node, 402 with a signed offer", &node, Some(base), load(&world.api(), Method::POST, CHAT, 402)).await;
    let prepared = prepare(&world).await;
    measure("node, paid stream of 8 tokens", &node, Some(base), paid(&world, prepared)).await;
    println!("\nfirst, second: the two processes of a node, enclave and host (copying both ways, SQLite, submission, anchors, tiles).");
    println!("axum is one process; plain HTTP took {plain:.1} us of it.");

    println!("\ncommands as processes, {COMMANDS} times\n{:34} {:>12} {:>12}", "", "ms cpu", "ms wall");
    let bundle = commands("candor ask, to ANCHORED", &world, &["ask", "Hi", "--max-tokens", "8", "--rpc", &world.rpc()]);
    commands("candor verify, offline", &world, &["verify", &bundle]);
    commands("candor verify --rpc", &world, &["verify", &bundle, "--rpc", &world.rpc()]);
    println!("\nidle memory (PSS): serve {:.1}, enclave {:.1}, host {:.1} MiB", pss(world.node.pid()), pss(node[0]), pss(node[1]));
}

/// Prints a row: processor time of one run and the median of the wall clock. Returns the bundle that the last run names, if it does.
fn commands(name: &str, world: &World, arguments: &[&str]) -> String {
    let run = || {
        let ran = world.candor(arguments);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.json["bundle"].as_str().unwrap_or_default().to_owned()
    };
    // Writes what later runs find: the policy for one.
    let mut bundle = run();
    let (before, mut walls) = (children_time(), Vec::new());
    for _ in 0..COMMANDS {
        let started = Instant::now();
        bundle = run();
        walls.push(started.elapsed());
    }
    let each = (children_time() - before).as_secs_f64() * 1e3 / COMMANDS as f64;
    walls.sort_unstable();
    println!("{name:34} {each:>12.1} {:>12.1}", walls[COMMANDS / 2].as_secs_f64() * 1e3);
    bundle
}

/// A node with a model that costs next to nothing.
fn tiny() -> World {
    let shape = Config { dim: 64, layers: 1, heads: 4, kv_heads: 2, head_dim: 16, ffn: 64, context: 256, norm_eps: 1e-5, tied: false };
    let directory = support::process::new_directory();
    let path = directory.join("tiny.cnd1");
    std::fs::write(&path, fixture::random(shape, 7)).unwrap();
    let world = World::start(&["--model", path.to_str().unwrap()]);
    std::fs::remove_dir_all(directory).unwrap();
    world
}

/// Prints a row: microseconds of each process per request, their sum, and its ratio. Returns the sum.
async fn measure(name: &str, pids: &[u32], base: Option<f64>, load: impl Future<Output = usize>) -> f64 {
    let before: Vec<Duration> = pids.iter().map(|pid| processor_time(*pid)).collect();
    let requests = load.await;
    let each: Vec<f64> =
        pids.iter().zip(&before).map(|(pid, before)| (processor_time(*pid) - *before).as_secs_f64() * 1e6 / requests as f64).collect();
    let sum: f64 = each.iter().sum();
    let second = each.get(1).map_or(String::new(), |us| format!("{us:.1}"));
    let ratio = base.map_or(String::new(), |base| format!("{:.1}", sum / base));
    println!("{name:34} {requests:>8} {:>12.1} {second:>12} {sum:>9.1} {ratio:>8}", each[0]);
    sum
}

/// User and system time of a process so far (proc(5): fields 14 and 15).
fn processor_time(pid: u32) -> Duration {
    time_of(pid, 14)
}

/// User and system time of our children that have ended (proc(5): fields 16 and 17).
fn children_time() -> Duration {
    time_of(std::process::id(), 16)
}

/// Two neighbouring fields of a process's times, in ticks of 10 ms. The first field behind the name is the third.
fn time_of(pid: u32, field: usize) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[field - 3].parse::<u64>().unwrap() + fields[field - 2].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// Memory of a process, with its share of what it shares, in MiB.
fn pss(pid: u32) -> f64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

/// The same request over and over. Returns how many.
async fn load(api: &str, method: Method, path: &'static str, status: u16) -> usize {
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (api, method) = (api.to_owned(), method.clone());
        let body = if method == Method::GET { Vec::new() } else { question(&format!("client {client}"), true).to_string().into_bytes() };
        clients.spawn(async move {
            for _ in 0..ROUNDS {
                let mut connection = Http::connect(&api).await.unwrap();
                for _ in 0..PER_CONNECTION {
                    let reply = connection.send(method.clone(), path, &[("content-type", "application/json")], body.clone()).await;
                    assert_eq!(reply.status, status, "{reply:?}");
                }
            }
        });
    }
    clients.join_all().await;
    CLIENTS * ROUNDS * PER_CONNECTION
}

/// One client's requests with their payments, signed beforehand: the client's work is not what is measured.
struct Prepared {
    payers: Vec<Payer>,
    owed: Vec<u128>,
    requests: Vec<(Value, String)>,
}

async fn prepare(world: &Arc<World>) -> Vec<Prepared> {
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let (mut payers, count) = (Vec::new(), PER_CONNECTION.div_ceil(PER_PAYER));
        for _ in 0..count {
            payers.push(Payer::funded(world).await);
        }
        clients.push(Prepared { payers, owed: vec![0; count], requests: Vec::new() });
    }
    // Offers are good for a minute or two: these are made in one go.
    let mut tasks = JoinSet::new();
    for (at, mut client) in clients.into_iter().enumerate() {
        let api = world.api();
        tasks.spawn(async move {
            let mut connection = Http::connect(&api).await.unwrap();
            for number in 0..PER_CONNECTION {
                let body = question(&format!("client {at} asks {number}"), true);
                let json = [("content-type", "application/json")];
                let reply = connection.send(Method::POST, CHAT, &json, body.to_string().into_bytes()).await;
                let offered = Offered::read(&reply);
                let signed = client.payers[number / PER_PAYER].pay(&offered);
                client.owed[number / PER_PAYER] += offered.amount();
                client.requests.push((body, signed.header));
            }
            client
        });
    }
    tasks.join_all().await
}

/// Sends them, reads every answer to its end, and waits until the last payment is on the chain.
async fn paid(world: &Arc<World>, prepared: Vec<Prepared>) -> usize {
    let started = Instant::now();
    let mut clients = JoinSet::new();
    for client in prepared {
        let api = world.api();
        clients.spawn(async move {
            let mut connection = Http::connect(&api).await.unwrap();
            for (body, payment) in &client.requests {
                let headers = [("content-type", "application/json"), ("payment-signature", payment.as_str())];
                let reply = connection.send(Method::POST, CHAT, &headers, body.to_string().into_bytes()).await;
                assert_eq!(reply.status, 200, "{reply:?}");
                assert!(reply.body.ends_with(b"data: [DONE]\n\n"), "{reply:?}");
            }
            client
        });
    }
    let clients = clients.join_all().await;
    println!("{:34} answered in {:.1} s", "", started.elapsed().as_secs_f64());
    for (payer, owed) in clients.iter().flat_map(|client| client.payers.iter().zip(&client.owed)) {
        let settled = || async { (payer.balance().await == support::payer::FUNDS - owed).then_some(()) };
        support::eventually("every payment is on the chain", settled).await;
    }
    println!("{:34} settled in {:.1} s", "", started.elapsed().as_secs_f64());
    clients.iter().map(|client| client.requests.len()).sum()
}

/// The bare route, in a process of its own.
struct Floor {
    child: Child,
    plain: String,
    tls: String,
}

impl Floor {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap()).arg("--axum").stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = || lines.next().unwrap().unwrap();
        let (plain, tls) = (format!("http://{}", next()), format!("https://{}", next()));
        Self { child, plain, tls }
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// One route that reads the body and answers. Served by hyper as the enclave is, without and with TLS.
async fn axum_server() {
    let router = Router::new().route(CHAT, post(|body: Bytes| async move { ([("content-type", "application/json")], answer(&body)) }));
    let acceptor = TlsAcceptor::from(Arc::new(own_key().0));
    let (plain, tls) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    println!("{}\n{}", plain.local_addr().unwrap(), tls.local_addr().unwrap());
    loop {
        let (router, acceptor) = (router.clone(), acceptor.clone());
        tokio::select! {
            stream = plain.accept() => {
                let tcp = nodelay(stream.unwrap().0);
                tokio::spawn(async move { serve(tcp, router).await });
            }
            stream = tls.accept() => {
                let tcp = nodelay(stream.unwrap().0);
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(tcp).await {
                        serve(stream, router).await;
                    }
                });
            }
        }
    }
}

/// As every server sets it: without it an answer in two writes waits for the client's delayed acknowledgement.
fn nodelay(tcp: TcpStream) -> TcpStream {
    tcp.set_nodelay(true).unwrap();
    tcp
}

fn answer(body: &Bytes) -> &'static str {
    if body.is_empty() { "" } else { BODY }
}

async fn serve(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin, router: Router) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| router.clone().call(request));
    drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}
