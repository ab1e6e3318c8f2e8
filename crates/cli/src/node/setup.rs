//! What follows from node.toml, the options and the chain: every value that was left open, the terms, and the files that both halves read.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use candor_chain::ChainClient;
use candor_engine::Model;
use candor_report::{AssetPart, Decimal, NodeModel, NodeText, PricePart};
use candor_verify::bytes::Hash32;
use serde_json::{Value, json};

use super::reach::{self, Reach};
use super::registered_prose;
use crate::config::Settings;
use crate::deployment::Deployed;
use crate::keys::{self, HostKeys};
use crate::lifetime::Child;
use crate::listeners::fixed;
use crate::logging;
use crate::output::{Failure, print_json, read, say};
use crate::registrar::Attestors;
use crate::{dev, policy, terms, tokens};

/// What both halves are started with, and started again with.
pub(super) struct Setup {
    settings: Settings,
    state: PathBuf,
    // The operator's key is not among them: it has signed.
    host_keys: HostKeys,
    // As long as this node runs no other has its accounts.
    _held: Vec<File>,
}

/// Writes the files that the halves read. Addresses are fixed here.
pub(super) async fn set_up(mut settings: Settings, state: &Path, chain: &ChainClient) -> Result<Setup, Failure> {
    let chain_id = chain.chain_id();
    // First: on a chain that this node must not serve nobody is asked for keys.
    dev::check_simulated(chain_id)?;
    let deployed = complete(&mut settings, chain_id)?;
    let needs_operator = settings.text.terms.file.is_none();
    let keys = keys::load(&settings.text.keys, needs_operator, chain_id)?;
    let held = keys::hold(&settings.text.keys)?;
    let directory = settings.text.node.data.clone();
    let node = &mut settings.text.node;
    node.listen = fixed(node.listen, "--listen").await?;
    node.log_listen = fixed(node.log_listen, "--log-listen").await?;
    if let Some(listen) = &mut settings.text.metrics.listen {
        *listen = fixed(*listen, "--metrics-listen").await?;
    }
    let sold = models(&mut settings, &directory)?;
    let signed = terms::for_node(&settings, &deployed, &keys, &sold)?;
    let operator = signed.terms.operator;
    let judge = dev::policy(&settings.tee(state), &deployed, operator)?;
    Attestors::of(settings.attestors()?, &deployed, &judge.policy, chain)?;
    deployed.check_there(chain).await?;
    tokens::check(&settings.text, chain).await?;
    let path = directory.join("terms.cbor");
    std::fs::write(&path, signed.encode()).map_err(|error| Failure::cannot(format!("{}: {error}", path.display())))?;
    settings.text.terms.file = Some(path);
    if settings.text.node.policy.is_none() {
        let path = directory.join("own-policy.toml");
        candor_client::write_private(&path, candor_client::template(&judge).as_bytes())?;
        settings.text.node.policy = Some(path);
    }
    settings.text.node.tee = Some(settings.tee(state));
    settings.text.node.socket = Some(settings.socket());
    settings.write(&in_force(&directory))?;
    // Clients on this machine find a policy that accepts what runs here; it says SIMULATED in its first lines.
    if !policy::default_path(state).exists() {
        let path = policy::default_path(state);
        policy::write_dev(&path, state, &deployed, operator)?;
        logging::wrote_policy(&path, chain_id);
    }
    Ok(Setup { settings, state: state.to_owned(), host_keys: keys.host, _held: held })
}

/// What both halves of a node in this directory read.
fn in_force(directory: &Path) -> PathBuf {
    directory.join("in-force.toml")
}

/// Fills in what was left open and follows from the chain; the contracts there.
pub(crate) fn complete(settings: &mut Settings, chain_id: u64) -> Result<Deployed, Failure> {
    if settings.text.chains.is_empty() {
        settings.text.chains.push(crate::config::chain_part(chain_id));
    }
    if let Some(chain) = settings.text.chains.first_mut() {
        chain.id = chain_id;
        if chain.rpc.is_empty() && chain.rpc_file.is_none() {
            chain.rpc = vec![dev::RPC_URL.to_owned()];
        }
    }
    let deployed = settings.deployed(chain_id)?;
    let text = &mut settings.text;
    if text.models.is_empty() {
        text.models.push(built_in());
    }
    let unpriced = text.models.iter().find(|model| model.prices.is_empty()).map(|model| model.id.clone());
    if let Some(id) = unpriced.filter(|_| text.access.paid) {
        // Money that somebody named has prices that somebody named; only play money has usual ones.
        if !text.assets.is_empty() {
            return Err(Failure::cannot(format!("model {id:?}: expected a [[model.price]] in an [[asset]], got none")));
        }
        let asset = play_money(&deployed)?;
        for model in text.models.iter_mut().filter(|model| model.prices.is_empty()) {
            model.prices.push(usual_price(asset.symbol.clone()));
        }
        text.assets.push(asset);
    }
    Ok(deployed)
}

/// The model that is sold if nothing else is said.
pub(super) fn built_in() -> NodeModel {
    NodeModel { id: "candor-mini".to_owned(), file: None, prices: Vec::new() }
}

/// What is asked where nothing is said: 1 and 3 for a million tokens, and a ten-thousandth for the request.
fn usual_price(asset: String) -> PricePart {
    let price = |text: &str| Decimal::parse(text).unwrap_or_default();
    PricePart { asset, input: price("1"), output: price("3"), request: price("0.0001") }
}

/// The token of a deployment for trying.
fn play_money(deployed: &Deployed) -> Result<AssetPart, Failure> {
    if !deployed.config.with_play_money {
        return Err(Failure::cannot(
            "asset: expected an [[asset]] and prices in node.toml (`candor init` writes them), got none, and the deployment has no TestUSD \
             (`candor deploy --test-usd`: anybody mints it)",
        ));
    }
    Ok(tokens::play_money(deployed.addresses.chain_id, deployed.addresses.test_usd))
}

/// A model that is here: its file was read once.
pub(crate) struct Sold {
    pub(crate) id: String,
    pub(crate) digest: Hash32,
    pub(crate) context_tokens: u32,
}

/// Writes the built-in model to a file where one is sold, so that every model has one. What is there already stays: a host may be sending it.
pub(super) fn place_built_in(settings: &mut Settings, directory: &Path) -> Result<(), Failure> {
    for model in settings.text.models.iter_mut().filter(|model| model.file.is_none()) {
        let (path, bytes) = (directory.join("candor-mini-1.cnd1"), dev::built_in_model());
        if std::fs::read(&path).ok().as_ref() != Some(&bytes) {
            candor_client::write_private(&path, &bytes)?;
        }
        model.file = Some(path);
    }
    Ok(())
}

/// Reads each model; the built-in one is written to a file first.
pub(crate) fn models(settings: &mut Settings, directory: &Path) -> Result<Vec<Sold>, Failure> {
    place_built_in(settings, directory)?;
    sold(settings)
}

/// Reads each model from its file.
pub(super) fn sold(settings: &Settings) -> Result<Vec<Sold>, Failure> {
    let files = settings.text.models.iter().filter_map(|model| Some((model.id.clone(), model.file.as_ref()?)));
    let sold = files.map(|(id, path)| {
        let model =
            Model::load(&read(path)?).map_err(|error| Failure::cannot(format!("{}: the model is refused: {error}", path.display())))?;
        Ok(Sold { id, digest: Hash32(model.digest()), context_tokens: model.config().context })
    });
    sold.collect()
}

impl Setup {
    pub(super) fn start_enclave(&self) -> Result<Child, Failure> {
        let mut command = Child::command()?;
        command.arg("enclave").arg("--config").arg(in_force(&self.settings.text.node.data));
        if let Some(seconds) = self.settings.confirm_seconds {
            command.arg("--confirm-seconds").arg(seconds.to_string());
        }
        Child::start(command)
    }

    pub(super) async fn start_host(&self) -> Result<Child, Failure> {
        let mut command = Child::command()?;
        command.arg("--state").arg(&self.state).arg("host").arg("--config").arg(in_force(&self.settings.text.node.data));
        if let Some(units) = self.settings.anchor_units {
            command.arg("--anchor-value").arg(units.to_string());
        }
        command.arg("--keys-follow").stdout(Stdio::piped());
        let mut host = Child::start(command)?;
        host.hand_over(&self.host_keys.to_line()).await?;
        Ok(host)
    }

    /// Tries the published addresses, once clients are served.
    pub(super) fn reach(&self) -> Reach {
        reach::check(self.settings.text.clone())
    }

    /// Where everything is.
    pub(super) fn say(&self, registered: &Value, enclave: &Child, host: &Child, json_output: bool) {
        let NodeText { node, .. } = &self.settings.text;
        let (api, log) = (format!("https://{}", node.listen), format!("http://{}", node.log_listen));
        let metrics = self.settings.text.metrics.listen.map(|address| format!("http://{address}/metrics"));
        if json_output {
            return print_json(&json!({
                "enclave_pid": enclave.pid(), "host_pid": host.pid(), "socket": self.settings.socket().display().to_string(), "api": api,
                "log": log, "metrics": metrics, "k_sig": registered["k_sig"], "log_id": registered["log_id"], "gas": registered["gas"],
            }));
        }
        say!("{}", registered_prose(registered));
        say!("enclave pid {}, host pid {}", enclave.pid(), host.pid());
        if let Some(metrics) = metrics {
            say!("metrics {metrics}");
        }
        let published = if node.urls.is_empty() { String::new() } else { format!("   published as {}", node.urls.join(", ")) };
        say!("serving {api}{published}   log {log}   SIMULATED");
    }
}
