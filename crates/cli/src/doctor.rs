//! `candor doctor`: what stands between a node and its first sale, looked at before it starts. Each line is one look and, where it is not
//! well, what to do.
//!
//! No key is made and nothing is sent; a port is held for the moment of a look, and the node's directory is made with the built-in model in
//! it, as the node would. Not here: a running node (`status.rs`).

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use candor_chain::{ChainClient, Deployment, Piece};
use candor_report::{CheckUrls, Decimal, NodeText};
use candor_verify::bytes::Address;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::config::{ConfigArg, Settings, chain_of, within_ceiling};
use crate::deployment::Deployed;
use crate::keys::{self, HOST_ROLES, NodeKeys, OPERATOR, keystore};
use crate::output::{Done, Failure, print_json, say};
use crate::paint::{Ink, Line};
use crate::{costs, dev, node, terms, tokens};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// What one ether costs in the money of the first asset, to compare gas with prices.
    #[arg(long, value_name = "AMOUNT", default_value = "3000")]
    ether_price: String,
}

/// How a look went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Health {
    Well,
    /// It works, and may not be what is meant.
    Warn,
    /// The node would not start, or not earn.
    Ill,
}

/// One look.
struct Look {
    what: &'static str,
    health: Health,
    found: String,
    /// What to do; empty if it is well.
    then: String,
}

/// All looks, in their order.
#[derive(Default)]
struct Looks(Vec<Look>);

impl Looks {
    fn well(&mut self, what: &'static str, found: impl Into<String>) {
        self.0.push(Look { what, health: Health::Well, found: found.into(), then: String::new() });
    }

    fn warn(&mut self, what: &'static str, found: impl Into<String>, then: impl Into<String>) {
        self.0.push(Look { what, health: Health::Warn, found: found.into(), then: then.into() });
    }

    fn ill(&mut self, what: &'static str, found: impl Into<String>, then: impl Into<String>) {
        self.0.push(Look { what, health: Health::Ill, found: found.into(), then: then.into() });
    }
}

/// A clock may be off by so much before evidence and payments are refused for it.
const CLOCK_SECONDS_MAX: u64 = 60;

/// Less room than this on the disk is soon none.
const DISK_MIB_MIN: u64 = 512;

/// Open files beside one for each connection: database, log, sockets.
const FILES_BESIDE: u64 = 256;

pub(crate) async fn run(args: Args, state: &Path, json_output: bool) -> Done {
    let ether = Decimal::parse(&args.ether_price)
        .map_err(|error| Failure::cannot(format!("--ether-price: expected {error}, got {:?}", args.ether_price)))?;
    let mut settings = args.config.load(state)?;
    let mut looks = Looks::default();
    looks.well("file", settings.name());
    for (field, path) in settings.missing_files() {
        looks.ill("files", format!("{field}: no file {path}"), "make it, or name another in the file");
    }
    let is_running = is_running(&settings);
    match settings.connect().await {
        Err(failure) => looks.ill("chain", failure.message(), "start it, or name another endpoint: chain.rpc"),
        Ok(chain) => {
            let chain = settings.chain().map_or(chain.clone(), |part| within_ceiling(chain, part));
            look_at_chain(&mut looks, &mut settings, &chain, ether).await;
        }
    }
    look_at_machine(&mut looks, &settings, is_running);
    if !is_running {
        look_at_ports(&mut looks, &settings.text).await;
    }
    report(&looks, is_running, &settings.option(state), json_output)
}

fn report(looks: &Looks, is_running: bool, option: &str, json_output: bool) -> Done {
    let ill = looks.0.iter().filter(|look| look.health == Health::Ill).count();
    let warned = looks.0.iter().filter(|look| look.health == Health::Warn).count();
    if json_output {
        let row = |look: &Look| json!({"look": look.what, "health": look.health.word(), "found": look.found, "do": look.then});
        print_json(
            &json!({"ok": ill == 0, "running": is_running, "ill": ill, "warnings": warned, "looks": looks.0.iter().map(row).collect::<Vec<_>>()}),
        );
        return Ok(ExitCode::from(u8::from(ill != 0)));
    }
    for look in &looks.0 {
        let (ink, sign) = look.health.shown();
        Line::new().put(ink, sign).plain(format!(" {:<12} {}", look.what, look.found)).say();
        if !look.then.is_empty() {
            Line::new().dim(format!("  {:<12} {}", "", look.then)).say();
        }
    }
    match (ill, is_running) {
        (0, true) => say!("nothing stands in its way; it runs: candor status{option}"),
        (0, false) => {
            say!("nothing stands in its way{}; next: candor serve{option}", if warned == 0 { "" } else { ", with the warnings above" })
        }
        (count, _) => say!("{count} to mend before: candor serve{option}"),
    }
    Ok(ExitCode::from(u8::from(ill != 0)))
}

impl Health {
    fn word(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Warn => "warning",
            Self::Ill => "ill",
        }
    }

    fn shown(self) -> (Ink, &'static str) {
        match self {
            Self::Well => (Ink::Good, "✓"),
            Self::Warn => (Ink::Warn, "!"),
            Self::Ill => (Ink::Bad, "✗"),
        }
    }
}

/// Whether a `candor serve` holds the directory. Looks without writing: a `serve` that starts at this moment must not find it held for long.
fn is_running(settings: &Settings) -> bool {
    let lock = std::fs::File::open(settings.text.node.data.join(node::LOCK));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)))
}

async fn look_at_chain(looks: &mut Looks, settings: &mut Settings, chain: &ChainClient, ether: Decimal) {
    let chain_id = chain.chain_id();
    look_at_endpoints(looks, chain).await;
    if let Err(failure) = dev::check_simulated(chain_id) {
        looks.ill("TEE", failure.message(), "SIMULATED nodes are for development and test networks");
    } else {
        look_at_tee(looks);
    }
    look_at_clock(looks, chain).await;
    let deployed = match node::complete(settings, chain_id) {
        Ok(deployed) => deployed,
        Err(failure) => {
            looks.ill("contracts", failure.message(), "candor deploy writes such a file; or take that of a deployment that is there");
            return;
        }
    };
    look_at_contracts(looks, chain, &deployed).await;
    look_at_attestors(looks, settings, &deployed).await;
    look_at_tokens(looks, &settings.text, chain).await;
    look_at_prices(looks, &settings.text, chain, ether).await;
    let keys = keys::load(&settings.text.keys, settings.text.terms.file.is_none(), chain_id);
    match keys {
        Err(failure) => looks.ill("keys", failure.message(), "candor init makes them"),
        Ok(keys) => {
            look_at_keys(looks, settings, &keys);
            look_at_funds(looks, settings, &keys, chain).await;
            look_at_other_chains(looks, settings, &keys, chain).await;
            look_at_terms(looks, settings, &deployed, &keys);
        }
    }
}

/// Each endpoint by itself: a spare that is down is found out now, and not when it is needed.
async fn look_at_endpoints(looks: &mut Looks, chain: &ChainClient) {
    for endpoint in chain.endpoints() {
        let shown = endpoint.endpoint().to_owned();
        match endpoint.chain_id_now().await {
            Ok(id) if id == chain.chain_id() => looks.well("chain", format!("{id} at {shown}")),
            Ok(id) => {
                looks.ill("chain", format!("{shown} is of chain {id}"), format!("chain.rpc: endpoints of chain {}", chain.chain_id()))
            }
            Err(error) => looks.ill("chain", format!("{shown}: {error}"), "chain.rpc: another endpoint, or none in its place"),
        }
    }
}

fn look_at_tee(looks: &mut Looks) {
    let devices = ["/dev/nsm", "/dev/tdx_guest", "/dev/sev-guest"];
    match devices.iter().find(|device| Path::new(device).exists()) {
        Some(device) => looks.warn(
            "TEE",
            format!("{device} is here; this version does not use it and runs SIMULATED"),
            "buyers see SIMULATED and are right",
        ),
        None => looks.warn("TEE", "none: SIMULATED", "for trying; whoever holds the software root's key can forge its evidence"),
    }
}

/// The chain's newest block against this machine's clock. A development chain makes a block when somebody sends something.
async fn look_at_clock(looks: &mut Looks, chain: &ChainClient) {
    let head = match chain.head().await {
        Ok(head) => head,
        Err(error) => return looks.ill("clock", error.to_string(), "is the endpoint well?"),
    };
    let (now, block) = (dev::now().seconds().0, head.timestamp.0);
    let ahead = block.saturating_sub(now);
    let behind = now.saturating_sub(block);
    if CLOCK_SECONDS_MAX < ahead {
        looks.ill(
            "clock",
            format!("this machine is {ahead} s behind the chain's newest block"),
            "set the clock (chrony, systemd-timesyncd)",
        );
    } else if CLOCK_SECONDS_MAX < behind && dev::Development::of(chain.chain_id()).is_none() {
        looks.warn("clock", format!("the newest block is {behind} s old"), "the endpoint lags, or this machine's clock is ahead");
    } else {
        looks.well("clock", "agrees with the chain");
    }
}

async fn look_at_contracts(looks: &mut Looks, chain: &ChainClient, deployed: &Deployed) {
    let pieces = match Deployment::pieces(chain, &deployed.config).await {
        Ok(pieces) => pieces,
        Err(error) => return looks.ill("contracts", error.to_string(), "is the endpoint well?"),
    };
    let (there, missing): (Vec<&Piece>, Vec<&Piece>) = pieces.iter().partition(|piece| piece.code_hash.is_some());
    // A chain without x402's contract has no settlers; nothing else depends on it.
    let needed: Vec<&str> = missing.iter().map(|piece| piece.name).filter(|name| *name != "SettlerFactory").collect();
    let without = if missing.is_empty() { "" } else { "; no SettlerFactory" };
    match needed.is_empty() {
        true => looks.well(
            "contracts",
            format!("registry {} and {} others, by their code{without}", deployed.addresses.registry, there.len().saturating_sub(1)),
        ),
        false => looks.ill(
            "contracts",
            format!("not on chain {}: {}", chain.chain_id(), needed.join(", ")),
            "candor deploy --rpc URL … deploys what is missing",
        ),
    }
}

async fn look_at_attestors(looks: &mut Looks, settings: &Settings, deployed: &Deployed) {
    let urls = match settings.attestors() {
        Ok(urls) => urls,
        Err(failure) => return looks.ill("attestors", failure.message(), "chain.attestors: http://HOST:PORT"),
    };
    let quorum = deployed.quorum();
    if urls.is_empty() && dev::Development::of(quorum.chain_id).is_some() {
        return looks.well("attestors", "the development chain's own, inside the node");
    }
    // Each once: one that is named three times is one. Its text is scheme, host and port.
    let shown: std::collections::BTreeSet<String> = urls.iter().map(ToString::to_string).collect();
    let mut answering = 0_u64;
    for shown in &shown {
        let authority = shown.split_once("://").map_or(shown.as_str(), |(_, rest)| rest);
        let with_port = if authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
            authority.to_owned()
        } else {
            format!("{authority}:{}", if shown.starts_with("https") { 443 } else { 80 })
        };
        let reached = tokio::time::timeout(Duration::from_secs(5), tokio::net::TcpStream::connect(&with_port)).await;
        answering += u64::from(matches!(reached, Ok(Ok(_))));
    }
    let found = format!("{answering} of {} named can be reached, {} of {} must sign", shown.len(), quorum.threshold, quorum.members.len());
    match quorum.threshold <= answering {
        true => looks.well("attestors", found),
        false => looks.ill("attestors", found, "chain.attestors names those of the deployment's quorum; candor attestor runs one"),
    }
}

async fn look_at_tokens(looks: &mut Looks, text: &NodeText, chain: &ChainClient) {
    for asset in &text.assets {
        let other = match chain_of(text, asset.chain_id, chain).await {
            Ok(other) => other,
            Err(failure) => {
                looks.ill("token", failure.message(), "chain.rpc of its chain");
                continue;
            }
        };
        match tokens::check_one(asset, &other).await {
            Ok(()) => {
                looks.well("token", format!("{} at {}, its domain is {:?} {:?}", asset.symbol, asset.address, asset.name, asset.version))
            }
            Err(failure) => looks.ill("token", failure.message(), "[[asset]]: as the token on its chain says"),
        }
    }
}

async fn look_at_prices(looks: &mut Looks, text: &NodeText, chain: &ChainClient, ether: Decimal) {
    // What is wrong with them is said with the funds.
    let Ok(fees) = chain.fees().await else { return };
    for model in &text.models {
        for price in &model.prices {
            let Some(asset) = text.asset(&price.asset).filter(|asset| asset.chain_id == chain.chain_id()) else { continue };
            let cost = costs::in_money(costs::SETTLE_GAS, fees.max_fee_per_gas, ether, asset.decimals);
            let Ok(request) = price.request.units(asset.decimals) else { continue };
            let cost_text = candor_report::decimal_text(cost, asset.decimals);
            let found = format!("{}: {} {} a request, settling one costs about {cost_text} of gas", model.id, price.request, asset.symbol);
            match cost <= request {
                // Neither the gas nor the money of such a chain is worth anything.
                _ if asset.symbol == tokens::TEST_USD => looks.well("price", format!("{found}; play money")),
                true => looks.well("price", found),
                false => looks.warn("price", found, "short answers lose money: raise model.price.request"),
            }
        }
    }
}

fn look_at_keys(looks: &mut Looks, settings: &Settings, keys: &NodeKeys) {
    let Some(directory) = &settings.text.keys.directory else {
        return looks.warn("keys", "those that everybody knows", "for the development chain only; candor init makes others");
    };
    let text = &settings.text;
    let stores = HOST_ROLES.iter().chain([&OPERATOR]).map(|role| keystore(directory, role));
    let others =
        text.keys.passphrase_file.iter().chain(settings.file.as_ref().filter(|_| text.chains.iter().any(|chain| !chain.rpc.is_empty())));
    let open: Vec<String> = stores
        .chain(others.cloned())
        .filter(|path| path.exists() && keys::check_private(path).is_err())
        .map(|path| path.display().to_string())
        .collect();
    match open.is_empty() {
        true => looks.well("keys", format!("in {}, their passphrase opens them", directory.display())),
        false => looks.ill("keys", format!("others can read {}", open.join(", ")), "chmod 600 them"),
    }
    if keys.operator.is_some() && settings.text.chains.first().is_some_and(|chain| dev::Development::of(chain.id).is_none()) {
        looks.warn(
            OPERATOR,
            "its key is on this machine",
            "keep it elsewhere and sign there: candor terms draft, then sign; terms.file names the result",
        );
    }
}

async fn look_at_funds(looks: &mut Looks, settings: &Settings, keys: &NodeKeys, chain: &ChainClient) {
    let price = match chain.fees().await {
        Ok(fees) => fees.max_fee_per_gas,
        Err(error) => return looks.ill("gas", error.to_string(), "is the endpoint well? chain.max_fee_gwei is the most that is paid"),
    };
    let needs: [(&'static str, Address, u64, &str); 3] = [
        ("registrar", keys.host.registrar.address(), costs::REGISTER_GAS, "one registration"),
        ("gas", keys.host.gas.gas.address(), costs::SETTLE_GAS * 10, "ten payments"),
        ("anchor", keys.host.gas.anchor.address(), costs::ANCHOR_GAS, "one anchor"),
    ];
    let (sells, is_dev) = (settings.text.access.paid, dev::Development::of(chain.chain_id()).is_some());
    for (role, address, gas, what) in needs {
        let need = u128::from(gas).saturating_mul(price);
        match chain.native_balance(&address).await {
            Err(error) => looks.ill("funds", format!("{role}: {error}"), "is the endpoint well?"),
            Ok(has) if need <= has.0 => looks.well("funds", format!("{role} {address} has {} ether", costs::ether_held(has.0))),
            Ok(has) => {
                let found = format!("{role} {address} has {} ether", costs::ether_held(has.0));
                let then = format!(
                    "send it {} ether at least, for {what}{}",
                    costs::ether(need),
                    if is_dev { "; a chain for trying: candor chain --fund ADDRESS, once for each" } else { "" }
                );
                // Without payments nothing is settled.
                match role == "gas" && !sells {
                    true => looks.well("funds", found),
                    false => looks.ill("funds", found, then),
                }
            }
        }
    }
}

/// Payments of other chains settle from the same account there.
async fn look_at_other_chains(looks: &mut Looks, settings: &Settings, keys: &NodeKeys, chain: &ChainClient) {
    for part in settings.text.chains.iter().skip(1) {
        let (gas, id) = (keys.host.gas.gas.address(), part.id);
        let found = match chain_of(&settings.text, id, chain).await {
            Ok(other) => other.native_balance(&gas).await.map_err(Failure::from),
            Err(failure) => Err(failure),
        };
        match found {
            Ok(has) if has.0 == 0 => {
                looks.ill("funds", format!("gas {gas} has nothing on chain {id}"), "send it ether there: it settles that chain's payments")
            }
            Ok(has) => looks.well("funds", format!("gas {gas} has {} ether on chain {id}", costs::ether_held(has.0))),
            Err(failure) => looks.ill("funds", failure.message(), "chain.rpc of that chain"),
        }
    }
}

fn look_at_terms(looks: &mut Looks, settings: &mut Settings, deployed: &Deployed, keys: &NodeKeys) {
    let directory = settings.text.node.data.clone();
    let made = candor_client::private_directory(&directory).map_err(Failure::from).and_then(|()| node::models(settings, &directory));
    let sold = match made {
        Ok(sold) => sold,
        Err(failure) => return looks.ill("models", failure.message(), "model.file: a .cnd1 container"),
    };
    let names: Vec<String> =
        sold.iter().map(|model| format!("{} ({:#}), context {}", model.id, model.digest, model.context_tokens)).collect();
    looks.well("models", names.join("; "));
    match terms::for_node(settings, deployed, keys, &sold) {
        Ok(signed) => {
            looks.well("terms", format!("operator {}, until {}", signed.terms.operator, crate::calendar::utc(signed.terms.not_after.0)))
        }
        Err(failure) => looks.ill("terms", failure.message(), "candor terms renew, or draft and sign"),
    }
}

/// Disk, open files, memory for the models.
fn look_at_machine(looks: &mut Looks, settings: &Settings, is_running: bool) {
    let data = &settings.text.node.data;
    match free_mib(data) {
        Some(mib) if mib < DISK_MIB_MIN => {
            looks.ill("disk", format!("{mib} MiB free at {}", data.display()), "make room, or name another node.data")
        }
        Some(mib) => looks.well("disk", format!("{mib} MiB free at {}", data.display())),
        None => looks.warn("disk", format!("no answer of `df` for {}", data.display()), "see to its room yourself"),
    }
    let need = u64::try_from(settings.text.limits.connections).unwrap_or(u64::MAX).saturating_mul(2).saturating_add(FILES_BESIDE);
    match open_files() {
        Some(limit) if limit < need => looks.warn(
            "open files",
            format!("at most {limit}, limits.connections asks for {need}"),
            "ulimit -n, or LimitNOFILE= of the unit",
        ),
        Some(limit) => looks.well("open files", format!("at most {limit}")),
        None => {}
    }
    let size: u64 = settings
        .text
        .models
        .iter()
        .filter_map(|model| model.file.as_ref())
        .filter_map(|path| std::fs::metadata(path).ok())
        .map(|data| data.len())
        .sum();
    // The enclave copies the weights, and the host has them on their way.
    let (need, available) = (size.saturating_mul(2) / 1_048_576, available_mib());
    match available {
        Some(mib) if mib < need && !is_running => {
            looks.ill("memory", format!("{mib} MiB available, the models need about {need}"), "a smaller model, or more memory")
        }
        Some(mib) => looks.well("memory", format!("{mib} MiB available")),
        None => {}
    }
}

/// By `df` of POSIX: no call of the system gives it without a library of its own.
fn free_mib(path: &Path) -> Option<u64> {
    // What is not there yet will be made where its parent is.
    let there = path.ancestors().find(|path| path.exists())?;
    let output = std::process::Command::new("df").arg("-Pk").arg(there).env("LC_ALL", "C").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let kib: u64 = text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
    Some(kib / 1024)
}

fn open_files() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    limits.lines().find(|line| line.starts_with("Max open files"))?.split_whitespace().nth(3)?.parse().ok()
}

fn available_mib() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib: u64 = info.lines().find(|line| line.starts_with("MemAvailable:"))?.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024)
}

/// Ports that can be listened on, and addresses that lead to them.
async fn look_at_ports(looks: &mut Looks, text: &NodeText) {
    let all =
        [("node.listen", Some(text.node.listen)), ("node.log_listen", Some(text.node.log_listen)), ("metrics.listen", text.metrics.listen)];
    let mut clients = None;
    for (field, address) in all.into_iter().filter_map(|(field, address)| Some((field, address?))) {
        match TcpListener::bind(address) {
            Err(error) => looks.ill("port", format!("{field} {address}: {error}"), "end what listens there, or choose another"),
            Ok(listener) => {
                looks.well("port", format!("{field} {address} is free"));
                if field == "node.listen" {
                    clients = Some(listener);
                }
            }
        }
    }
    if let Some(listener) = clients {
        for url in &text.node.urls {
            look_back(looks, &listener, url, text.node.check_urls).await;
        }
    }
}

/// Whether a published address leads here: 32 random bytes that are sent to it have to arrive at our own listener.
async fn look_back(looks: &mut Looks, listener: &TcpListener, url: &str, check: CheckUrls) {
    let authority = url.trim_start_matches("https://");
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let target = if has_port { authority.to_owned() } else { format!("{authority}:443") };
    let found = match tokio::time::timeout(Duration::from_secs(10), echo(listener, &target)).await {
        Ok(Ok(true)) => return looks.well("address", format!("{url} leads here")),
        Ok(Ok(false)) => {
            return looks.ill(
                "address",
                format!("{url} leads to another server"),
                "clients would be led there: mend the name, or node.urls",
            );
        }
        Ok(Err(error)) => format!("{url}: {error}"),
        Err(_) => format!("{url}: no answer in 10 s"),
    };
    let then = "mend name, port forwarding or firewall; some networks do not let a machine reach itself by its public name";
    match check {
        CheckUrls::Warn => looks.warn("address", found, then),
        CheckUrls::Require => looks.ill("address", found, then),
    }
}

/// Whether what is sent to the target arrives at the listener.
async fn echo(listener: &TcpListener, target: &str) -> std::io::Result<bool> {
    let listener = listener.try_clone()?;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let sent = candor_chain::Signer::random().to_bytes();
    let (tell, mut told) = tokio::sync::mpsc::channel(1);
    let arrives = async {
        loop {
            let (mut stream, _): (_, SocketAddr) = tokio::select! {
                biased;
                _ = told.recv() => return std::io::Result::Ok(()),
                accepted = listener.accept() => accepted?,
            };
            let tell = tell.clone();
            // Others may connect meanwhile, and say nothing: they hold up nobody.
            tokio::spawn(async move {
                let mut got = [0; 32];
                let read = tokio::time::timeout(Duration::from_secs(5), stream.read_exact(&mut got)).await;
                if matches!(read, Ok(Ok(_))) && got == sent {
                    let _told = tell.send(()).await;
                }
            });
        }
    };
    let sends = async {
        let mut stream = tokio::net::TcpStream::connect(target).await?;
        stream.write_all(&sent).await?;
        // Whoever else took it will not pass it on.
        tokio::time::sleep(Duration::from_secs(2)).await;
        std::io::Result::Ok(())
    };
    tokio::select! {
        biased;
        arrived = arrives => arrived.map(|()| true),
        sent = sends => sent.map(|()| false),
    }
}
