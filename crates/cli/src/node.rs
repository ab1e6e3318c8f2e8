//! `candor serve`: a node. The parent makes an operator order, starts the enclave and the host as two processes of this program, and
//! starts the enclave again if it ends (its log is over then; the next boot continues it as its successor).

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use candor_chain::{ChainClient, EnclaveStatus, renew_calldata};
use candor_devtee::{Hypervisor, Measurements, Request, permitted_chain};
use candor_enclave::{Attester, AttesterError};
use candor_engine::Model;
use candor_host::{GasKeys, Host, HostConfig, ModelFile, Notice, Registering, Registrar, RegistrarError, Timing, load_or_create_keys};
use candor_link::Ready;
use candor_verify::bytes::Hash32;
use candor_verify::evidence::Evidence;
use candor_verify::order;
use candor_verify::policy::Policy;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::dev::{self, Role};
use crate::output::{Done, Failure, print_json, read};
use crate::{attestor, policy};

/// How long an operator order of `serve` is good for.
const ORDER_DAYS: u64 = 30;

/// Pause before an enclave that ended is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub(crate) struct ServeArgs {
    /// RPC of the chain.
    #[arg(long, default_value = dev::RPC_URL)]
    rpc: String,
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
    /// Seconds between anchors. Each costs gas.
    #[arg(long, default_value_t = 1)]
    anchor_seconds: u64,
}

#[derive(clap::Args)]
pub(crate) struct EnclaveArgs {
    #[arg(long)]
    socket: PathBuf,
    #[arg(long)]
    tee: PathBuf,
}

#[derive(clap::Args)]
pub(crate) struct HostArgs {
    #[arg(long)]
    socket: PathBuf,
    #[arg(long)]
    data: PathBuf,
    #[arg(long)]
    order: PathBuf,
    #[arg(long)]
    model: PathBuf,
    #[arg(long)]
    policy: PathBuf,
    #[arg(long)]
    rpc: String,
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    log_listen: SocketAddr,
    #[arg(long)]
    anchor_seconds: u64,
}

/// Runs a node until interrupted.
pub(crate) async fn serve(args: ServeArgs, state: &Path, json_output: bool) -> Done {
    let chain = ChainClient::connect(&args.rpc, None).await?;
    let directory = state.join("node");
    std::fs::create_dir_all(&directory).map_err(|error| Failure::cannot(format!("{}: {error}", directory.display())))?;
    let (listen, log_listen) = (fixed(args.listen)?, fixed(args.log_listen)?);
    let model = model_file(args.model.as_deref(), &directory)?;
    let order = order_file(&chain, &args, &model, listen, log_listen, &directory)?;
    let policy_path = directory.join("attestor-policy.toml");
    let policy_file = dev::policy(state, chain.chain_id())?;
    candor_client::write_private(&policy_path, candor_client::template(&policy_file).as_bytes())?;
    // Clients on this machine find a policy that accepts what runs here; it says SIMULATED in its first lines.
    if !policy::default_path(state).exists() {
        candor_client::write_private(&policy::default_path(state), candor_client::template(&policy_file).as_bytes())?;
    }
    let socket = directory.join("enclave.sock");
    let mut enclave = start_enclave(&socket, state)?;
    let mut host = start_host(&args, &directory, &socket, &order, &model, &policy_path, listen, log_listen)?;
    let mut lines = BufReader::new(host.stdout.take().ok_or_else(|| Failure::cannot("the host has no standard output"))?).lines();
    announce(&mut lines, &enclave, &host, &socket, listen, log_listen, json_output).await?;
    loop {
        tokio::select! {
            () = crate::output::asked_to_stop() => break,
            status = host.wait() => return Err(Failure::cannot(format!("the host ended ({status:?})"))),
            _ = enclave.wait() => {
                eprintln!("candor serve: the enclave ended; starting another, whose log continues this one");
                tokio::time::sleep(RESTART_PAUSE).await;
                enclave = start_enclave(&socket, state)?;
            }
            line = lines.next_line() => if let (Ok(Some(line)), false) = (line, json_output) { println!("{line}") },
        }
    }
    drop(host.kill().await);
    drop(enclave.kill().await);
    Ok(ExitCode::SUCCESS)
}

/// A free port for `:0`: the order names endpoints, so they must be known before anybody listens.
fn fixed(address: SocketAddr) -> Result<SocketAddr, Failure> {
    if address.port() != 0 {
        return Ok(address);
    }
    let bound = TcpListener::bind(address).and_then(|listener| listener.local_addr());
    bound.map_err(|error| Failure::cannot(format!("{address}: {error}")))
}

/// The model as a file, with the digest that the order will name.
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

fn order_file(
    chain: &ChainClient,
    args: &ServeArgs,
    model: &(PathBuf, Hash32, u32),
    listen: SocketAddr,
    log_listen: SocketAddr,
    directory: &Path,
) -> Result<PathBuf, Failure> {
    let models = vec![order::Model { id: args.model_id.clone(), digest: model.1, context_tokens: model.2 }];
    let endpoints = vec![format!("https://{listen}"), format!("http://{log_listen}")];
    let not_after = dev::now_ms() + ORDER_DAYS * 86_400_000;
    let signed = dev::order(chain.chain_id(), models, endpoints, not_after)?;
    let path = directory.join("order.cbor");
    std::fs::write(&path, signed.encode()).map_err(|error| Failure::cannot(format!("{}: {error}", path.display())))?;
    Ok(path)
}

fn start_enclave(socket: &Path, state: &Path) -> Result<Child, Failure> {
    // A socket left by an enclave that is gone would keep the next one from listening.
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Failure::cannot(format!("{}: {error}", socket.display())));
        }
        _ => {}
    }
    let mut command = this_program()?;
    command.arg("enclave").arg("--socket").arg(socket).arg("--tee").arg(state.join("tee"));
    command.stdin(Stdio::null()).kill_on_drop(true).spawn().map_err(|error| Failure::cannot(error.to_string()))
}

#[expect(clippy::too_many_arguments, reason = "one call that spells out the host's command line")]
fn start_host(
    args: &ServeArgs,
    directory: &Path,
    socket: &Path,
    order: &Path,
    model: &(PathBuf, Hash32, u32),
    policy: &Path,
    listen: SocketAddr,
    log_listen: SocketAddr,
) -> Result<Child, Failure> {
    let mut command = this_program()?;
    command.arg("--state").arg(directory).arg("host").arg("--socket").arg(socket).arg("--data").arg(directory.join("host"));
    command.arg("--order").arg(order).arg("--model").arg(&model.0).arg("--policy").arg(policy).arg("--rpc").arg(&args.rpc);
    command.arg("--listen").arg(listen.to_string()).arg("--log-listen").arg(log_listen.to_string());
    command.arg("--anchor-seconds").arg(args.anchor_seconds.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn().map_err(|error| Failure::cannot(error.to_string()))
}

fn this_program() -> Result<Command, Failure> {
    let program = std::env::current_exe().map_err(|error| Failure::cannot(format!("no path to this program: {error}")))?;
    Ok(Command::new(program))
}

/// Waits for the host's word that the boot is registered, and says where everything is.
async fn announce(
    lines: &mut tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
    enclave: &Child,
    host: &Child,
    socket: &Path,
    listen: SocketAddr,
    log_listen: SocketAddr,
    json_output: bool,
) -> Result<(), Failure> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    // Most often the last thing the host said is why.
    let mut said = "nothing".to_owned();
    let registered = loop {
        let line = tokio::time::timeout_at(deadline, lines.next_line()).await;
        let line = line.map_err(|_| Failure::cannot(format!("the node was not registered within a minute; last, {said}")))?;
        let ended = || Failure::cannot(format!("the host ended before the node was registered; last, {said}"));
        let line = line.ok().flatten().ok_or_else(ended)?;
        if let Some(json) = line.strip_prefix("registered ") {
            break serde_json::from_str::<serde_json::Value>(json).unwrap_or_default();
        }
        if !json_output {
            println!("{line}");
        }
        said = line;
    };
    if json_output {
        print_json(&json!({
            "enclave_pid": enclave.id(), "host_pid": host.id(), "socket": socket.display().to_string(), "api": format!("https://{listen}"),
            "log": format!("http://{log_listen}"), "k_sig": registered["k_sig"], "log_id": registered["log_id"], "gas": registered["gas"],
        }));
    } else {
        println!("enclave pid {}, host pid {}", enclave.id().unwrap_or_default(), host.id().unwrap_or_default());
        println!("serving https://{listen}   log http://{log_listen}   SIMULATED");
    }
    Ok(())
}

/// The enclave process.
pub(crate) async fn enclave(args: EnclaveArgs) -> Done {
    let hypervisor = Hypervisor::open_or_create(&args.tee).map_err(|error| Failure::cannot(error.to_string()))?;
    let attester = Arc::new(SimulatedAttester { hypervisor, measurements: dev::measurements()? });
    candor_enclave::run(&args.socket, candor_enclave::Config::default(), attester)
        .await
        .map_err(|error| Failure::cannot(error.to_string()))?;
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
        self.hypervisor.attest(&self.measurements, &request, dev::now_ms()).map_err(|error| AttesterError(error.to_string()))
    }

    fn check_chain(&self, chain_id: u64) -> Result<(), AttesterError> {
        permitted_chain(chain_id).map(drop).map_err(|error| AttesterError(error.to_string()))
    }
}

/// The host process.
pub(crate) async fn host(args: HostArgs) -> Done {
    let chain = ChainClient::connect(&args.rpc, None).await?;
    let is_dev = chain.chain_id() == candor_devchain::DEFAULT_CHAIN_ID;
    let keys = match is_dev {
        true => GasKeys { gas: Role::Gas.signer(), anchor: Role::Anchor.signer() },
        false => load_or_create_keys(&args.data).map_err(|error| Failure::cannot(error.to_string()))?,
    };
    let model = Model::load(&read(&args.model)?).map_err(|error| Failure::cannot(error.to_string()))?;
    let policy = candor_client::PolicyFile::read(&args.policy)?.policy;
    let mut config = HostConfig::new(args.socket, args.data, read(&args.order)?, chain.clone(), keys);
    config.client_listen = args.listen;
    config.http_listen = args.log_listen;
    config.models = vec![ModelFile { digest: Hash32(model.digest()), path: args.model }];
    config.registrar = Arc::new(DevRegistrar { chain, policy });
    config.notices = Arc::new(notice);
    let anchor = Duration::from_secs(args.anchor_seconds);
    let fast = Timing { head: Duration::from_millis(250), anchor, ..Timing::default() };
    config.timing = fast;
    if is_dev {
        config.settlement.confirmations = 0;
        config.settlement.poll = Duration::from_millis(50);
    }
    let mut host = Host::start(config).await.map_err(|error| Failure::cannot(error.to_string()))?;
    let ended = tokio::select! {
        () = crate::output::asked_to_stop() => Ok(ExitCode::SUCCESS),
        error = host.ended() => Err(Failure::cannot(error.to_string())),
    };
    host.stop().await;
    ended
}

/// What the operator sees: a line per event.
fn notice(notice: &Notice) {
    notice_line(&notice.to_string());
}

/// One line on standard output. Whoever read it may be gone (`serve` was killed): that must not stop the host.
fn notice_line(line: &str) {
    use std::io::Write as _;
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// Registers each boot through the development attestor and the registrar's key.
struct DevRegistrar {
    chain: ChainClient,
    policy: Policy,
}

impl Registrar for DevRegistrar {
    fn submit<'a>(&'a self, ready: &'a Ready) -> Registering<'a> {
        Box::pin(async move {
            self.register(ready).await.map_err(|failure| RegistrarError { is_temporary: true, message: failure.message().to_owned() })
        })
    }
}

impl DevRegistrar {
    async fn register(&self, ready: &Ready) -> Result<(), Failure> {
        let evidence = Evidence::parse(&ready.evidence).map_err(|error| Failure::cannot(error.to_string()))?;
        let manifest = &evidence.manifest;
        let payer = Role::Registrar.signer();
        let status = self.chain.status_at(&manifest.registry, &manifest.k_sig, dev::now_ms() / 1000).await?;
        if status == EnclaveStatus::Unregistered {
            let gas = attestor::register(&self.chain, &evidence, ready.boot_signature, &self.policy, &payer).await?;
            let (k_sig, log_id) = (manifest.k_sig.to_string(), manifest.log_id().to_string());
            notice_line(&format!("registered {}", json!({"k_sig": k_sig, "log_id": log_id, "gas": gas})));
            return Ok(());
        }
        let data = attestor::attest(&evidence, &self.policy, self.chain.chain_id(), &Role::Attestor.signer())?;
        let calldata = renew_calldata(&manifest.k_sig, &evidence.document, &data, &evidence.freshness);
        self.chain.send_and_wait(&payer, Some(&manifest.registry), &calldata).await?;
        Ok(())
    }
}
