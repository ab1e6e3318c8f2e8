//! `candor serve`: a node. The parent signs operator terms, starts the enclave and the host as two processes of this program, and
//! starts again what ends: the host goes on with its log; an enclave's log is over, and the next boot continues it as its successor.
//!
//! | file | what |
//! |---|---|
//! | here | the options |
//! | `running` | who starts whom again, and one boot beside another |
//! | `upgrade` | `candor upgrade`, and how it reaches a running `serve` |
//! | `setup` | what follows from node.toml, options and chain: the files that both halves read |
//! | `halves` | the two processes |
//!
//! Under two users of a system the halves are started apart, `candor enclave` and `candor host`, and terms are signed beforehand.
//! - **Invariant:** one `serve` per directory: it holds the directory's lock before it touches anything there.

mod halves;
mod reach;
mod running;
mod setup;
mod upgrade;

use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use candor_attestor::AttestorUrl;
use candor_report::{ChainPart, NodeModel, NodeText};
use candor_verify::bytes::{Address, Hash32};

pub(crate) use self::halves::{EnclaveArgs, Handed, HostArgs, enclave, host};
use self::setup::set_up;
pub(crate) use self::setup::{Sold, complete, models};
pub(crate) use self::upgrade::{UpgradeArgs, upgrade};
use crate::config::{ConfigArg, Settings, UNKNOWN, chain_part, from_here};
use crate::deployment::DeploymentArg;
use crate::dev;
use crate::keys::{NodeKeyArgs, address};
use crate::lifetime::asked_to_stop;
use crate::listeners::{self, MetricsListen};
use crate::logging::{self, LogArgs};
use crate::output::{Done, Failure};
use crate::rpc::RpcArgs;

/// The lock of a node's directory.
pub(crate) const LOCK: &str = "serve.lock";

/// The options of `candor serve`: each goes over what node.toml says.
#[derive(clap::Args, Clone)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    config: ConfigArg,
    #[command(flatten)]
    rpc: RpcArgs,
    /// Where clients connect (TLS, ended in the enclave); 127.0.0.1:8443 if nothing says.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where the host serves the log (plain HTTP, public data); 127.0.0.1:8444 if nothing says.
    #[arg(long, value_name = "ADDRESS")]
    log_listen: Option<SocketAddr>,
    /// How clients reach the node, as its terms publish it: https://NAME:PORT. By the address where it listens, if nothing says.
    #[arg(long = "public-url", value_name = "URL")]
    public_urls: Vec<String>,
    /// Model container (.cnd1); a small built-in model if nothing says.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Name under which the model is offered; candor-mini if nothing says.
    #[arg(long)]
    model_id: Option<String>,
    /// Seconds between anchors, at least: what is new is anchored at once if the last anchor is so old. Each costs gas. A minute if nothing
    /// says; on the development chain, where gas is free, a fifth of a second.
    #[arg(long)]
    anchor_seconds: Option<u64>,
    /// Anchor at once when so much was charged since the last anchor, in the smallest unit of the first asset.
    #[arg(long, value_name = "UNITS")]
    anchor_value: Option<u64>,
    /// Most that a transaction pays per gas. While the chain asks more, nothing is registered, anchored or settled; payments wait until their end.
    #[arg(long, value_name = "GWEI", value_parser = clap::value_parser!(u32).range(1..))]
    max_fee_gwei: Option<u32>,
    /// Seconds after which receipts that the host does not confirm end the log. To be set shorter than it is, by tests that wait for it.
    #[arg(long, hide = true, value_parser = clap::value_parser!(u64).range(1..=90))]
    confirm_seconds: Option<u64>,
    /// Answer anybody for nothing: no prices, no payments. Receipts, log and anchors are as ever.
    #[arg(long)]
    open: bool,
    /// SHA-256 of a key that opens the node without payment (candor access new); once for each. Whoever pays is served beside.
    #[arg(long = "access-key-hash", value_name = "HASH", value_parser = hash)]
    access_keys: Vec<Hash32>,
    /// Do not serve this payer; once for each.
    #[arg(long = "deny", value_name = "ADDRESS", value_parser = address)]
    denied: Vec<Address>,
    /// Requests that one payer, or one key, may make in a minute; no cap if nothing says. Part of the terms.
    #[arg(long, value_name = "NUMBER")]
    payer_requests_per_minute: Option<u32>,
    /// Tokens that one payer, or one key, may have in a day; no cap if nothing says. Part of the terms.
    #[arg(long, value_name = "NUMBER")]
    payer_tokens_per_day: Option<u64>,
    /// Where metrics are served for Prometheus, and whether the node is well (/metrics, /live, /ready): a loopback address, or off. Nowhere if
    /// nothing says.
    #[arg(long, value_name = "ADDRESS|off", value_parser = MetricsListen::parse)]
    metrics_listen: Option<MetricsListen>,
    /// Let --metrics-listen be an address that other machines reach. Metrics say what the node earns: for a network of your own.
    #[arg(long)]
    metrics_remote: bool,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    keys: NodeKeyArgs,
    #[command(flatten)]
    deployment: DeploymentArg,
    /// Where an attestor of the deployment's quorum is asked; once for each. On the development chain its own attestor is part of the node,
    /// if none is named; on any other they are needed.
    #[arg(long = "attestor", value_name = "URL", value_parser = AttestorUrl::parse)]
    attestors: Vec<AttestorUrl>,
}

impl ServeArgs {
    /// The file with these options over it.
    fn settings(self, state: &Path) -> Result<Settings, Failure> {
        let mut settings = self.config.load(state)?;
        self.rpc.put(&mut settings);
        settings.set(self.listen, |text, listen| text.node.listen = listen);
        settings.set(self.log_listen, |text, listen| text.node.log_listen = listen);
        let urls = (!self.public_urls.is_empty()).then_some(self.public_urls);
        settings.set(urls, |text, urls| text.node.urls = urls);
        settings.set(self.model_id, |text, id| first_model(text).id = id);
        let model = self.model.map(from_here);
        settings.set(model, |text, path| first_model(text).file = Some(path));
        settings.set(self.anchor_seconds, |text, seconds| text.anchor.seconds = Some(seconds));
        settings.set(self.max_fee_gwei, |text, gwei| first_chain(text).max_fee_gwei = Some(gwei));
        let deployment = self.deployment.deployment.map(from_here);
        settings.set(deployment, |text, path| first_chain(text).deployment = Some(path));
        let attestors: Vec<String> = self.attestors.iter().map(|url| url.as_str().to_owned()).collect();
        let attestors = (!attestors.is_empty()).then_some(attestors);
        settings.set(attestors, |text, urls| first_chain(text).attestors = urls);
        settings.set(self.open.then_some(()), |text, ()| (text.access.open, text.access.paid) = (true, false));
        let keys = (!self.access_keys.is_empty()).then_some(self.access_keys);
        settings.set(keys, |text, keys| text.access.keys = keys);
        settings.set((!self.denied.is_empty()).then_some(self.denied), |text, payers| text.guard.deny = payers);
        let per_minute = self.payer_requests_per_minute;
        settings.set(per_minute, |text, cap| text.guard.payer_requests_per_minute = cap);
        settings.set(self.payer_tokens_per_day, |text, cap| text.guard.payer_tokens_per_day = cap);
        if let Some(listen) = self.metrics_listen {
            listen.put(&mut settings);
        }
        settings.set(self.metrics_remote.then_some(true), |text, remote| text.metrics.remote = remote);
        self.log.put(&mut settings);
        self.keys.put(&mut settings);
        settings.anchor_units = self.anchor_value;
        settings.confirm_seconds = self.confirm_seconds;
        Ok(settings)
    }
}

fn hash(text: &str) -> Result<Hash32, &'static str> {
    Hash32::from_hex(text).ok_or("expected 0x and 64 hex digits")
}

/// The chain of which options speak.
fn first_chain(text: &mut NodeText) -> &mut ChainPart {
    if text.chains.is_empty() {
        text.chains.push(chain_part(UNKNOWN));
    }
    &mut text.chains[0]
}

/// The model of which options speak.
fn first_model(text: &mut NodeText) -> &mut NodeModel {
    if text.models.is_empty() {
        text.models.push(setup::built_in());
    }
    &mut text.models[0]
}

/// Runs a node until interrupted.
pub(crate) async fn serve(args: ServeArgs, state: &Path, json_output: bool) -> Done {
    let settings = args.clone().settings(state)?;
    logging::start(&settings.text.log)?;
    listeners::check(&settings.text)?;
    dev::make_state(state)?;
    let directory = settings.text.node.data.clone();
    candor_client::private_directory(&directory)?;
    // Before anything of the directory is touched: it may be another node's.
    let _held = hold(&directory)?;
    let stop = pin!(asked_to_stop());
    let chain = settings.connect().await?;
    let setup = set_up(settings, state, &chain).await?;
    let state = state.to_owned();
    running::run(setup, stop, Arc::new(move || args.clone().settings(&state)), json_output).await
}

/// Takes the lock of a node's directory. The system lets it go when the process ends, however it ends.
pub(crate) fn hold(directory: &Path) -> Result<File, Failure> {
    let path = directory.join(LOCK);
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

/// Before the JSON line in which the host tells `serve` of a registration.
pub(crate) const REGISTERED: &str = "registered ";

/// Before the JSON line in which the host tells `serve` of two boots.
const BOOT: &str = "boot ";

// What it says in it.
const HANDING_OVER: &str = "handing_over";
const HANDED_OVER: &str = "handed_over";
const DRAINED: &str = "drained";
const REFUSED: &str = "refused";
