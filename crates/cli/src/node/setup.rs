//! What follows from node.toml, the options and the chain: every value that was left open, the terms, and the files that both halves read.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use candor_chain::ChainClient;
use candor_client::PolicyFile;
use candor_engine::Model;
use candor_report::{AssetPart, Decimal, NodeModel, NodeText, PricePart};
use candor_verify::bytes::Hash32;
use candor_verify::terms::SignedTerms;
use serde_json::{Value, json};

use super::halves::Beside;
use super::reach::{self, Reach};
use super::running::registered_prose;
use crate::config::Settings;
use crate::deployment::Deployed;
use crate::keys::{self, HostKeys, NodeKeys};
use crate::lifetime::Child;
use crate::listeners::fixed;
use crate::logging;
use crate::output::{Failure, print_json, read, say};
use crate::registrar::Attestors;
use crate::{dev, policy, terms, tokens};

/// One boot: what its two halves are started with, and started again with.
#[derive(Clone)]
pub(super) struct Setup {
    settings: Settings,
    state: PathBuf,
    terms: SignedTerms,
    // What the registrar accepts as this boot's enclave; `None` where the operator's file says it.
    judge: Option<PolicyFile>,
    // The program that is the enclave.
    program: PathBuf,
    place: Place,
    node: Arc<Held>,
}

/// What all boots of one `serve` have in common.
struct Held {
    // The operator's key is not among them: it has signed.
    keys: HostKeys,
    // As long as this node runs no other has its accounts.
    _files: Vec<File>,
    // Of the first boot. The next has another one, and the one after it this again.
    socket: PathBuf,
}

/// The files of one boot: what both halves read, its terms, what its registrar accepts.
const FILES: [&str; 3] = ["in-force.toml", "terms.cbor", "own-policy.toml"];

/// Which boot the files of a directory are of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    /// The one that sells: what `candor status` and `candor prices` read.
    InForce,
    /// The one that is to take over.
    Next,
    /// The one that has handed over.
    Former,
}

impl Place {
    fn path(self, directory: &Path, name: &str) -> PathBuf {
        directory.join(match self {
            Self::InForce => name.to_owned(),
            Self::Next => format!("next-{name}"),
            Self::Former => format!("former-{name}"),
        })
    }
}

/// What the next boot is to be, beside what node.toml says now.
pub(super) struct Asked {
    /// Signed terms, instead of what node.toml says of them.
    pub(super) terms: Option<PathBuf>,
    /// The program that is its enclave.
    pub(super) program: PathBuf,
}

/// Writes the files that the halves read. Addresses are fixed here.
pub(super) async fn set_up(mut settings: Settings, state: &Path, chain: &ChainClient) -> Result<Setup, Failure> {
    let chain_id = chain.chain_id();
    // First: on a chain that this node must not serve nobody is asked for keys.
    dev::check_simulated(chain_id)?;
    let deployed = complete(&mut settings, chain_id)?;
    let needs_operator = settings.text.terms.file.is_none();
    let keys = keys::load(&settings.text.keys, needs_operator, chain_id)?;
    let files = keys::hold(&settings.text.keys)?;
    let node = &mut settings.text.node;
    node.listen = fixed(node.listen, "--listen").await?;
    node.log_listen = fixed(node.log_listen, "--log-listen").await?;
    if let Some(listen) = &mut settings.text.metrics.listen {
        *listen = fixed(*listen, "--metrics-listen").await?;
    }
    let socket = settings.socket();
    settings.text.node.socket = Some(socket.clone());
    let (terms, judge) = decide(&mut settings, state, &deployed, (&keys, &dev::this_program()?), chain).await?;
    let operator = terms.terms.operator;
    let node = Arc::new(Held { keys: keys.host, _files: files, socket });
    let mut setup = Setup { settings, state: state.to_owned(), terms, judge, program: dev::this_program()?, place: Place::InForce, node };
    setup.write(Place::InForce)?;
    // Clients on this machine find a policy that accepts what runs here; it says SIMULATED in its first lines.
    if !policy::default_path(state).exists() {
        let path = policy::default_path(state);
        policy::write_dev(&path, state, &deployed, operator)?;
        logging::wrote_policy(&path, chain_id);
    }
    Ok(setup)
}

/// The terms of a boot, and whom its registrar accepts; `None` where the operator's file says it. What has to be there is looked for.
async fn decide(
    settings: &mut Settings,
    state: &Path,
    deployed: &Deployed,
    (keys, program): (&NodeKeys, &Path),
    chain: &ChainClient,
) -> Result<(SignedTerms, Option<PolicyFile>), Failure> {
    let directory = settings.text.node.data.clone();
    let sold = models(settings, &directory)?;
    let signed = terms::for_node(settings, deployed, keys, &sold)?;
    let judge = dev::policy_for(program, &settings.tee(state), deployed, signed.terms.operator)?;
    Attestors::of(settings.attestors()?, deployed, &judge.policy, chain)?;
    deployed.check_there(chain).await?;
    tokens::check(&settings.text, chain).await?;
    settings.text.node.tee = Some(settings.tee(state));
    Ok((signed, settings.text.node.policy.is_none().then_some(judge)))
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
    let guard = text.guard.model.clone();
    // The guard is asked, and not sold.
    let is_unpriced = |model: &NodeModel| model.prices.is_empty() && guard.as_ref() != Some(&model.id);
    let unpriced = text.models.iter().find(|model| is_unpriced(model)).map(|model| model.id.clone());
    if let Some(id) = unpriced.filter(|_| text.access.paid) {
        // Money that somebody named has prices that somebody named; only play money has usual ones.
        if !text.assets.is_empty() {
            return Err(Failure::cannot(format!(
                "model {id:?}: expected a [[model.price]] in an [[asset]], or that guard.model names it, got neither"
            )));
        }
        let asset = play_money(&deployed)?;
        for model in text.models.iter_mut().filter(|model| is_unpriced(model)) {
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
        if settings.text.guard.model.as_ref() == Some(&id) {
            candor_enclave::check_guard(&model)
                .map_err(|what| Failure::cannot(format!("guard.model: {id:?}: {what}; candor-mini is none")))?;
        }
        Ok(Sold { id, digest: Hash32(model.digest()), context_tokens: model.config().context })
    });
    sold.collect()
}

impl Setup {
    /// The boot that is to take over from this one, by what node.toml says now.
    pub(super) async fn next(&self, mut settings: Settings, asked: Asked) -> Result<Self, Failure> {
        if let Some(file) = asked.terms {
            settings.text.terms.file = Some(file);
        }
        let chain = settings.connect().await?;
        let deployed = complete(&mut settings, chain.chain_id())?;
        self.keep_addresses(&mut settings)?;
        let needs_operator = settings.text.terms.file.is_none();
        let keys = keys::load_beside(&settings.text.keys, needs_operator, &self.node.keys, chain.chain_id())?;
        let base = &self.node.socket;
        let other = PathBuf::from(format!("{}.2", base.display()));
        settings.text.node.socket = Some(if self.settings.socket() == *base { other } else { base.clone() });
        let (terms, judge) = decide(&mut settings, &self.state, &deployed, (&keys, &asked.program), &chain).await?;
        let (state, program, node) = (self.state.clone(), asked.program, Arc::clone(&self.node));
        let mut next = Self { settings, state, terms, judge, program, place: Place::Next, node };
        next.write(Place::Next)?;
        Ok(next)
    }

    /// Two boots of one host are behind one door.
    fn keep_addresses(&self, settings: &mut Settings) -> Result<(), Failure> {
        let running = &self.settings.text;
        let moved = |field: &str, expected: &dyn std::fmt::Display, got: &dyn std::fmt::Display| {
            Failure::cannot(format!(
                "{field}: expected {expected}, where this node serves, got {got}; to serve elsewhere, end it and start it again"
            ))
        };
        let text = &mut settings.text;
        let rows = [
            ("node.listen", &mut text.node.listen, running.node.listen),
            ("node.log_listen", &mut text.node.log_listen, running.node.log_listen),
        ];
        for (field, listen, expected) in rows {
            // Port 0 is any port: the one that was found.
            if listen.port() != 0 && *listen != expected {
                return Err(moved(field, &expected, listen));
            }
            *listen = expected;
        }
        if text.node.data != running.node.data {
            return Err(moved("node.data", &running.node.data.display(), &text.node.data.display()));
        }
        text.metrics = running.metrics;
        Ok(())
    }

    /// Writes this boot's files to a place. From then on its halves are started with them; if that fails, with those that they are started with now.
    pub(super) fn write(&mut self, place: Place) -> Result<(), Failure> {
        let mut settings = self.settings.clone();
        let [in_force, terms, own_policy] = FILES.map(|name| place.path(self.directory(), name));
        std::fs::write(&terms, self.terms.encode()).map_err(|error| Failure::cannot(format!("{}: {error}", terms.display())))?;
        settings.text.terms.file = Some(terms);
        if let Some(judge) = &self.judge {
            candor_client::write_private(&own_policy, candor_client::template(judge).as_bytes())?;
            settings.text.node.policy = Some(own_policy);
        }
        settings.write(&in_force)?;
        (self.settings, self.place) = (settings, place);
        Ok(())
    }

    /// Whether this boot's files are at this place.
    pub(super) fn is_at(&self, place: Place) -> bool {
        self.place == place
    }

    /// Removes the files of a place at which no boot is any more: they may hold keys of endpoints.
    pub(super) fn clear(&self, place: Place) {
        for name in FILES {
            drop(std::fs::remove_file(place.path(self.directory(), name)));
        }
    }

    /// What both halves of this boot read.
    pub(super) fn config(&self) -> PathBuf {
        self.place.path(self.directory(), FILES[0])
    }

    /// Where this node keeps its things.
    pub(super) fn directory(&self) -> &Path {
        &self.settings.text.node.data
    }

    pub(super) fn start_enclave(&self) -> Result<Child, Failure> {
        let mut command = Child::command_of(&self.program);
        command.arg("enclave").arg("--config").arg(self.config());
        if let Some(seconds) = self.settings.confirm_seconds {
            command.arg("--confirm-seconds").arg(seconds.to_string());
        }
        Child::start(command)
    }

    /// The host, which is told of a boot beside this one if there is one.
    pub(super) async fn start_host(&self, beside: Option<Beside>) -> Result<Child, Failure> {
        let mut command = Child::command()?;
        command.arg("--state").arg(&self.state).arg("host").arg("--config").arg(self.config());
        if let Some(units) = self.settings.anchor_units {
            command.arg("--anchor-value").arg(units.to_string());
        }
        command.arg("--keys-follow").stdout(Stdio::piped());
        let mut host = Child::start(command)?;
        host.hand_over(&self.node.keys.to_line()).await?;
        host.hand_over(&beside.unwrap_or(Beside::Nobody).to_line()).await?;
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

    /// The program that is this boot's enclave.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// Of its terms.
    pub(super) fn terms_digest(&self) -> Hash32 {
        self.terms.terms.digest()
    }
}
