//! `candor serve`: a node. The parent makes operator terms, starts the enclave and the host as two processes of this program, and
//! starts again what ends: the host goes on with its log; an enclave's log is over, and the next boot continues it as its successor.
//! - **Invariant:** one `serve` per directory: it holds the directory's lock before it touches anything there.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use candor_attestor::AttestorUrl;
use candor_chain::{ChainClient, Finality};
use candor_devtee::{Hypervisor, Measurements, Request, permitted_chain};
use candor_enclave::{Attester, AttesterError};
use candor_engine::{Model, merkle_root};
use candor_host::{Host, HostConfig, HostError, ModelFile, Notice, Timing};
use candor_link::MAX_DENIED;
use candor_verify::attest::parse_document;
use candor_verify::bytes::{Address, Amount, Hash32};
use candor_verify::terms::{self, Access, Guard, ways};
use candor_verify::time::UnixMs;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::ChildStdout;

use crate::deployment::{Deployed, DeploymentArg};
use crate::dev::{self, Development};
use crate::keys::{HostKeys, NodeKeyArgs, NodeKeys, address};
use crate::lifetime::{Child, asked_to_stop};
use crate::output::{Done, Failure, free_address, note, print_json, read, say};
use crate::policy;
use crate::prices;
use crate::registrar::{Attestors, NodeRegistrar};
use crate::rpc::RpcArgs;

const WEI_PER_GWEI: u128 = 1_000_000_000;

/// How long operator terms of `serve` are good for.
const TERMS_DAYS: u64 = 30;

/// Pause before a half that ended is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// How often a host may end in a row before that is an error of its own: a full disk does not go away by trying.
const HOST_ENDS_MAX: u32 = 5;

/// A host that ran this long was well; what ends it now is something new.
const HOST_IS_WELL: Duration = Duration::from_secs(60);

/// Time for a half to end by itself; less than the demo gives `serve`.
const HALF_GRACE: Duration = Duration::from_secs(3);

#[derive(clap::Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    rpc: RpcArgs,
    /// Where clients connect (TLS, ended in the enclave).
    #[arg(long, default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// Where the host serves the log (plain HTTP, public data).
    #[arg(long, default_value = "127.0.0.1:8444")]
    log_listen: SocketAddr,
    /// Model container (.cnd1); a small built-in model if not said.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Name under which the model is offered.
    #[arg(long, default_value = "candor-mini")]
    model_id: String,
    /// Seconds between anchors, at least: what is new is anchored at once if the last anchor is so old. Each costs gas. A minute if not said;
    /// on the development chain, where gas is free, a fifth of a second.
    #[arg(long)]
    anchor_seconds: Option<u64>,
    /// Anchor at once when so much was charged since the last anchor, in the smallest unit of the first asset.
    #[arg(long, value_name = "UNITS")]
    anchor_value: Option<u64>,
    /// Most that a transaction pays per gas. While the chain asks more, nothing is registered, anchored or settled; payments wait until their end.
    #[arg(long, value_name = "GWEI", value_parser = clap::value_parser!(u32).range(1..))]
    max_fee_gwei: Option<u32>,
    /// Answer anybody for nothing: no prices, no payments. Receipts, log and anchors are as ever.
    #[arg(long)]
    open: bool,
    /// SHA-256 of a key that opens the node without payment (candor access new); once for each. Whoever pays is served beside.
    #[arg(long = "access-key-hash", value_name = "HASH", value_parser = hash)]
    access_keys: Vec<Hash32>,
    /// Do not serve this payer; once for each.
    #[arg(long = "deny", value_name = "ADDRESS", value_parser = address)]
    denied: Vec<Address>,
    /// Requests that one payer, or one key, may make in a minute; no cap if not said. Part of the terms.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    payer_requests_per_minute: u32,
    /// Tokens that one payer, or one key, may have in a day; no cap if not said. Part of the terms.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    payer_tokens_per_day: u64,
    /// Seconds after which receipts that the host does not confirm end the log. To be set shorter than it is, by tests that wait for it.
    #[arg(long, hide = true, value_parser = clap::value_parser!(u64).range(1..=90))]
    confirm_seconds: Option<u64>,
    #[command(flatten)]
    keys: NodeKeyArgs,
    #[command(flatten)]
    deployment: DeploymentArg,
    /// Where an attestor of the deployment's quorum is asked; once for each. On the development chain its own attestor is part of the node,
    /// if none is named; on any other they are needed.
    #[arg(long = "attestor", value_name = "URL", value_parser = AttestorUrl::parse)]
    attestors: Vec<AttestorUrl>,
}

#[derive(clap::Args)]
pub(crate) struct EnclaveArgs {
    #[arg(long)]
    socket: PathBuf,
    #[arg(long)]
    tee: PathBuf,
    #[arg(long)]
    confirm_seconds: Option<u64>,
}

#[derive(clap::Args)]
pub(crate) struct HostArgs {
    #[arg(long)]
    socket: PathBuf,
    #[arg(long)]
    data: PathBuf,
    #[arg(long)]
    terms: PathBuf,
    #[arg(long = "deny", value_parser = address)]
    denied: Vec<Address>,
    #[arg(long)]
    price_list: Option<PathBuf>,
    #[arg(long)]
    model: PathBuf,
    #[arg(long)]
    policy: PathBuf,
    #[command(flatten)]
    rpc: RpcArgs,
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    log_listen: SocketAddr,
    #[arg(long)]
    anchor_seconds: Option<u64>,
    #[arg(long)]
    anchor_value: Option<u64>,
    #[arg(long)]
    max_fee_gwei: Option<u32>,
    /// For tests that play a host which leads clients to a boot that nobody has registered.
    #[arg(long)]
    serve_unregistered: bool,
    #[command(flatten)]
    deployment: DeploymentArg,
    #[arg(long = "attestor", value_parser = AttestorUrl::parse)]
    attestors: Vec<AttestorUrl>,
    /// The first line of standard input has the keys. Without it: those that everybody knows, on the development chain.
    #[arg(long)]
    keys_follow: bool,
}

impl HostArgs {
    /// Whether standard input begins with a line for [`host`].
    pub(crate) fn expects_keys(&self) -> bool {
        self.keys_follow
    }
}

/// Runs a node until interrupted.
pub(crate) async fn serve(args: ServeArgs, state: &Path, json_output: bool) -> Done {
    let directory = state.join("node");
    check_apart(args.listen, args.log_listen)?;
    dev::make_state(state)?;
    candor_client::private_directory(&directory)?;
    // Before anything of the directory is touched: it may be another node's.
    let _held = hold(&directory)?;
    let mut stop = pin!(asked_to_stop());
    let chain = args.rpc.connect().await?;
    let setup = set_up(args, state, directory, &chain).await?;
    let mut enclave = setup.start_enclave()?;
    let mut host = setup.start_host().await?;
    let mut lines = BufReader::new(host.stdout()?).lines();
    tokio::select! {
        biased;
        () = &mut stop => return Ok(ExitCode::SUCCESS),
        ended = enclave.ended() => return Err(Failure::cannot(format!("the enclave ended before the node was registered ({ended})"))),
        announced = announce(&mut lines, json_output) => setup.say(&announced?, &enclave, &host, json_output),
    }
    let mut host_lines = tokio::spawn(forward(lines, json_output));
    let (mut host_ends, mut host_started) = (0, Instant::now());
    loop {
        let half = tokio::select! {
            biased;
            () = &mut stop => break,
            ended = host.ended() => {
                host_ends = if host_started.elapsed() < HOST_IS_WELL { host_ends + 1 } else { 1 };
                if HOST_ENDS_MAX < host_ends {
                    let message = format!("the host ended {host_ends} times in a row, at last with {ended}; what it said is above. \
                                           Nothing acknowledged is lost: start `candor serve` again when the cause is gone");
                    return Err(Failure::cannot(message));
                }
                Half::Host(ended)
            }
            ended = enclave.ended() => Half::Enclave(ended),
        };
        // On Ctrl-C the halves end with us, not before us.
        tokio::select! {
            biased;
            () = &mut stop => break,
            () = tokio::time::sleep(RESTART_PAUSE) => {}
        }
        match half {
            Half::Host(ended) => {
                note!(
                    "candor serve: the host ended ({ended}); starting it again, its log goes on ({host_ends} of at most {HOST_ENDS_MAX})"
                );
                host = setup.start_host().await?;
                host_started = Instant::now();
                host_lines = tokio::spawn(forward(BufReader::new(host.stdout()?).lines(), json_output));
            }
            Half::Enclave(ended) => {
                note!("candor serve: the enclave ended ({ended}); starting another, whose log continues this one");
                enclave = setup.start_enclave()?;
            }
        }
    }
    tokio::join!(host.stop(HALF_GRACE), enclave.stop(HALF_GRACE));
    drop(host_lines.await);
    Ok(ExitCode::SUCCESS)
}

/// Clients and log are two listeners: one port cannot be both.
fn check_apart(listen: SocketAddr, log_listen: SocketAddr) -> Result<(), Failure> {
    let is_one_host = listen.ip() == log_listen.ip() || listen.ip().is_unspecified() || log_listen.ip().is_unspecified();
    if listen.port() == 0 || listen.port() != log_listen.port() || !is_one_host {
        return Ok(());
    }
    Err(Failure::cannot(format!("--listen {listen} and --log-listen {log_listen} are one port; give the log another with --log-listen")))
}

fn hash(text: &str) -> Result<Hash32, &'static str> {
    Hash32::from_hex(text).ok_or("expected 0x and 64 hex digits")
}

/// Who gets answers.
fn access(args: &ServeArgs) -> Access {
    let ways = if args.open { ways::OPEN } else { ways::PAID } | if args.access_keys.is_empty() { 0 } else { ways::KEYS };
    Access { ways, keys: args.access_keys.clone() }
}

/// What one payer may have.
fn guard(args: &ServeArgs) -> Guard {
    let (requests, tokens) = (args.payer_requests_per_minute, args.payer_tokens_per_day);
    Guard { payer_requests_per_minute: requests, payer_tokens_per_day: tokens, ..Guard::default() }
}

/// Which half ended, and how.
enum Half {
    Enclave(String),
    Host(String),
}

/// Takes the lock of a node's directory. The system lets it go when the process ends, however it ends.
pub(crate) fn hold(directory: &Path) -> Result<File, Failure> {
    let path = directory.join("serve.lock");
    let cannot = |error: std::io::Error| Failure::cannot(format!("{}: {error}", path.display()));
    let mut file = File::options().create(true).read(true).write(true).truncate(false).open(&path).map_err(cannot)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            drop(file.read_to_string(&mut pid));
            return Err(Failure::cannot(format!(
                "another `candor serve` (process {}) has {} and goes on serving; end it first, or for a second node give a state and ports of \
                 its own: --state DIR --listen ADDRESS --log-listen ADDRESS",
                pid.trim(),
                directory.display()
            )));
        }
        Err(TryLockError::Error(error)) => return Err(cannot(error)),
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(cannot)?;
    Ok(file)
}

/// What both halves are started with, and started again with.
struct Setup {
    args: ServeArgs,
    state: PathBuf,
    directory: PathBuf,
    model: PathBuf,
    terms: PathBuf,
    policy: PathBuf,
    // The operator's key is not among them: it has signed.
    host_keys: HostKeys,
}

/// Writes the files that the halves read. Addresses are fixed here.
async fn set_up(mut args: ServeArgs, state: &Path, directory: PathBuf, chain: &ChainClient) -> Result<Setup, Failure> {
    // First: on a chain that this node must not serve nobody is asked for keys.
    dev::check_simulated(chain.chain_id())?;
    let deployed = args.deployment.on(chain.chain_id())?;
    let keys = args.keys.load(chain.chain_id())?;
    let judge = dev::policy(state, &deployed, keys.operator.address())?;
    Attestors::of(args.attestors.clone(), &deployed, &judge.policy, chain)?;
    deployed.check_there(chain).await?;
    args.listen = fixed(args.listen, "--listen").await?;
    args.log_listen = fixed(args.log_listen, "--log-listen").await?;
    let (model, digest, context_tokens) = model_file(args.model.as_deref(), &directory)?;
    let models = vec![terms::Model::local(&args.model_id, digest, context_tokens)];
    let terms = terms_file(&deployed, &keys, &args, models, &directory)?;
    let policy = directory.join("attestor-policy.toml");
    candor_client::write_private(&policy, candor_client::template(&judge).as_bytes())?;
    // Clients on this machine find a policy that accepts what runs here; it says SIMULATED in its first lines.
    if !policy::default_path(state).exists() {
        let path = policy::default_path(state);
        policy::write_dev(&path, state, &deployed, keys.operator.address())?;
        note!("wrote {}: it accepts SIMULATED evidence of this very program, on chain {} only", path.display(), chain.chain_id());
    }
    Ok(Setup { args, state: state.to_owned(), directory, model, terms, policy, host_keys: keys.host })
}

/// The terms name endpoints, so they must be known, and free, before anybody listens. The host of a `serve` that was killed a moment
/// ago may still have them.
async fn fixed(address: SocketAddr, flag: &str) -> Result<SocketAddr, Failure> {
    for _ in 0..20 {
        if let Ok(address) = free_address(address, flag) {
            return Ok(address);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    free_address(address, flag)
}

/// The model as a file, with the digest that the terms will name, and its context.
fn model_file(named: Option<&Path>, directory: &Path) -> Result<(PathBuf, Hash32, u32), Failure> {
    let bytes = match named {
        Some(path) => read(path)?,
        None => crate::dev::built_in_model(),
    };
    let model = Model::load(&bytes).map_err(|error| Failure::cannot(format!("the model is refused: {error}")))?;
    let path = directory.join("model.cnd1");
    std::fs::write(&path, &bytes).map_err(|error| Failure::cannot(format!("{}: {error}", path.display())))?;
    Ok((path, Hash32(model.digest()), model.config().context))
}

fn terms_file(
    deployed: &Deployed,
    keys: &NodeKeys,
    args: &ServeArgs,
    models: Vec<terms::Model>,
    directory: &Path,
) -> Result<PathBuf, Failure> {
    let endpoints = vec![format!("https://{}", args.listen), format!("http://{}", args.log_listen)];
    let not_after = dev::now().saturating_add(TERMS_DAYS * 86_400_000);
    let signed = dev::terms(deployed, keys, dev::Sale { models, endpoints, not_after, access: access(args), guard: guard(args) })?;
    let path = directory.join("terms.cbor");
    std::fs::write(&path, signed.encode()).map_err(|error| Failure::cannot(format!("{}: {error}", path.display())))?;
    Ok(path)
}

impl Setup {
    fn socket(&self) -> PathBuf {
        self.directory.join("enclave.sock")
    }

    fn start_enclave(&self) -> Result<Child, Failure> {
        let socket = self.socket();
        // A socket left by an enclave that is gone would keep the next one from listening.
        match std::fs::remove_file(&socket) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::cannot(format!("{}: {error}", socket.display())));
            }
            _ => {}
        }
        let mut command = Child::command()?;
        command.arg("enclave").arg("--socket").arg(socket).arg("--tee").arg(self.state.join("tee"));
        if let Some(seconds) = self.args.confirm_seconds {
            command.arg("--confirm-seconds").arg(seconds.to_string());
        }
        Child::start(command)
    }

    async fn start_host(&self) -> Result<Child, Failure> {
        let (args, directory) = (&self.args, &self.directory);
        let mut command = Child::command()?;
        command.arg("--state").arg(directory).arg("host").arg("--socket").arg(self.socket()).arg("--data").arg(directory.join("host"));
        command
            .arg("--terms")
            .arg(&self.terms)
            .arg("--price-list")
            .arg(directory.join(prices::FILE))
            .arg("--model")
            .arg(&self.model)
            .arg("--policy")
            .arg(&self.policy)
            .args(args.rpc.arguments());
        command.arg("--listen").arg(args.listen.to_string()).arg("--log-listen").arg(args.log_listen.to_string());
        if let Some(seconds) = args.anchor_seconds {
            command.arg("--anchor-seconds").arg(seconds.to_string());
        }
        if let Some(units) = args.anchor_value {
            command.arg("--anchor-value").arg(units.to_string());
        }
        if let Some(gwei) = args.max_fee_gwei {
            command.arg("--max-fee-gwei").arg(gwei.to_string());
        }
        if let Some(path) = &args.deployment.deployment {
            command.arg("--deployment").arg(path);
        }
        for payer in &args.denied {
            command.arg("--deny").arg(payer.to_string());
        }
        for url in &args.attestors {
            command.arg("--attestor").arg(url.as_str());
        }
        command.arg("--keys-follow").stdout(Stdio::piped());
        let mut host = Child::start(command)?;
        host.hand_over(&self.host_keys.to_line()).await?;
        Ok(host)
    }

    /// Where everything is.
    fn say(&self, registered: &Value, enclave: &Child, host: &Child, json_output: bool) {
        let (api, log) = (format!("https://{}", self.args.listen), format!("http://{}", self.args.log_listen));
        if json_output {
            return print_json(&json!({
                "enclave_pid": enclave.pid(), "host_pid": host.pid(), "socket": self.socket().display().to_string(), "api": api, "log": log,
                "k_sig": registered["k_sig"], "log_id": registered["log_id"], "gas": registered["gas"],
            }));
        }
        say!("{}", registered_prose(registered));
        say!("enclave pid {}, host pid {}", enclave.pid(), host.pid());
        say!("serving {api}   log {log}   SIMULATED");
    }
}

/// Before the JSON line in which the host tells `serve` of a registration.
pub(crate) const REGISTERED: &str = "registered ";

fn registered_prose(registered: &Value) -> String {
    let text = |key: &str| registered[key].as_str().unwrap_or_default().to_owned();
    format!("registered {} through {}, log {}, gas {}", text("k_sig"), text("attested_by"), text("log_id"), registered["gas"])
}

/// Waits for the host's word that the boot is registered.
async fn announce(lines: &mut Lines<BufReader<ChildStdout>>, json_output: bool) -> Result<Value, Failure> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let mut said: Option<String> = None;
    loop {
        let line = tokio::time::timeout_at(deadline, lines.next_line()).await;
        let cannot = |what: &str| Failure::cannot(format!("{what}; {}", where_it_says_why(said.as_deref(), json_output)));
        let line = line.map_err(|_| cannot("the node was not registered within a minute"))?;
        let line = line.ok().flatten().ok_or_else(|| cannot("the host ended before the node was registered"))?;
        if let Some(json) = line.strip_prefix(REGISTERED) {
            return Ok(serde_json::from_str(json).unwrap_or_default());
        }
        if !json_output {
            say!("{line}");
        }
        said = Some(line);
    }
}

/// Most often the last thing that the host said is why. Text has shown it already, and a reason is told once.
fn where_it_says_why(said: Option<&str>, json_output: bool) -> String {
    match said {
        Some(said) if json_output => format!("last it said: {said}"),
        None if json_output => "why is on standard error".to_owned(),
        _ => "why is above".to_owned(),
    }
}

/// Passes on what the host says, for people, until it ends.
async fn forward(mut lines: Lines<BufReader<ChildStdout>>, json_output: bool) {
    while let Ok(Some(line)) = lines.next_line().await {
        match line.strip_prefix(REGISTERED).map(serde_json::from_str) {
            _ if json_output => {}
            Some(Ok(registered)) => say!("{}", registered_prose(&registered)),
            _ => say!("{line}"),
        }
    }
}

/// The enclave process.
pub(crate) async fn enclave(args: EnclaveArgs) -> Done {
    let hypervisor = Hypervisor::open_or_create(&args.tee).map_err(|error| Failure::cannot(error.to_string()))?;
    let attester = Arc::new(SimulatedAttester { hypervisor, measurements: dev::measurements()? });
    let mut config = candor_enclave::Config::default();
    if let Some(seconds) = args.confirm_seconds {
        config.confirm_max = Duration::from_secs(seconds);
    }
    tokio::select! {
        ended = candor_enclave::run(&args.socket, config, attester) => {
            ended.map_err(|error| Failure::cannot(error.to_string()))?;
        }
        () = asked_to_stop() => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// SIMULATED: documents of the software hypervisor, in the format of the real ones.
struct SimulatedAttester {
    hypervisor: Hypervisor,
    measurements: Measurements,
}

impl Attester for SimulatedAttester {
    fn attest(&self, user_data: &[u8; 64]) -> Result<Vec<u8>, AttesterError> {
        let request = Request { user_data: Some(user_data), ..Request::default() };
        self.hypervisor.attest(&self.measurements, &request, dev::now().0).map_err(|error| AttesterError(error.to_string()))
    }

    fn now(&self) -> Result<UnixMs, AttesterError> {
        let cannot = |message: String| AttesterError(message);
        let shown_to_nobody = self.hypervisor.attest(&self.measurements, &Request::default(), dev::now().0);
        let document = shown_to_nobody.map_err(|error| cannot(error.to_string()))?;
        let parsed = parse_document(&document).map_err(|error| cannot(error.to_string()))?;
        Ok(UnixMs(parsed.claimed_timestamp_ms()))
    }

    fn check_chain(&self, chain_id: u64) -> Result<(), AttesterError> {
        permitted_chain(chain_id).map(drop).map_err(|error| AttesterError(error.to_string()))
    }
}

/// The host process. `handed` is the line that `serve` handed over.
pub(crate) async fn host(args: HostArgs, handed: Option<&str>) -> Done {
    let mut chain = args.rpc.connect().await?;
    if let Some(gwei) = args.max_fee_gwei {
        chain = chain.with_fee_ceiling(u128::from(gwei) * WEI_PER_GWEI);
    }
    let development = Development::of(chain.chain_id());
    let is_dev = development.is_some();
    let HostKeys { registrar, gas } = match (handed, development) {
        (Some(line), _) => HostKeys::from_line(line)?,
        (None, Some(development)) => HostKeys::development(development),
        (None, None) => return Err(Failure::cannot("registrar: no key; a host is started by `candor serve`, which has it")),
    };
    // The digest is enough here: whether it is a model, the enclave says.
    let digest = Hash32(merkle_root(&read(&args.model)?));
    let policy = candor_client::PolicyFile::read(&args.policy)?.policy;
    let deployed = args.deployment.on(chain.chain_id())?;
    let attestors = Attestors::of(args.attestors, &deployed, &policy, &chain)?;
    let mut config = HostConfig::new(args.socket, args.data, read(&args.terms)?, chain.clone(), gas);
    if MAX_DENIED < args.denied.len() {
        return Err(Failure::cannot(format!("expected at most {MAX_DENIED} denied payers, got {}", args.denied.len())));
    }
    config.denied = args.denied;
    config.price_list = args.price_list;
    config.client_listen = args.listen;
    config.http_listen = args.log_listen;
    config.serve_unregistered = args.serve_unregistered;
    config.anchor_value = args.anchor_value.map(|units| Amount(u128::from(units)));
    config.models = vec![ModelFile { digest, path: args.model }];
    config.registrar = Arc::new(NodeRegistrar {
        chain,
        key: registrar,
        policy,
        quorum: deployed.quorum(),
        attestors,
        turn: tokio::sync::Mutex::default(),
    });
    // What the operator sees: a line per event.
    config.notices = Arc::new(|notice: &Notice| say!("{notice}"));
    let usual = if is_dev { Duration::from_millis(200) } else { Timing::default().anchor };
    let anchor = args.anchor_seconds.map_or(usual, Duration::from_secs);
    config.timing = Timing { anchor, ..Timing::default() };
    // A chain without a tag for what stays: two blocks, as many as the enclave's newest lies below the head.
    config.finality = config.anchor_chain.finality(config.head_depth).await?;
    if is_dev {
        config.timing.head_max = config.timing.head;
        config.head_depth = 0;
        config.finality = Finality::Depth(0);
        config.settlement.poll = Duration::from_millis(50);
    }
    let mut host = Host::start(config).await.map_err(|error| Failure::cannot(error.to_string()))?;
    let ended = tokio::select! {
        () = asked_to_stop() => Ok(ExitCode::SUCCESS),
        error = host.ended() => match error {
            // A notice has said it.
            HostError::Refused(_) => Ok(ExitCode::from(2)),
            error => Err(Failure::cannot(error.to_string())),
        },
    };
    host.stop().await;
    ended
}
