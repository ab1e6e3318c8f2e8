//! The two halves of a node, each a process: the enclave, SIMULATED here, and its host. Both read one node.toml.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use candor_attestor::Quorum;
use candor_chain::{ChainClient, Finality};
use candor_devtee::{Hypervisor, Measurements, Request, permitted_chain};
use candor_enclave::{Attester, AttesterError};
use candor_engine::merkle_root;
use candor_host::{BootConfig, ClientLimits, Host, HostConfig, HostError, ModelFile, Notice, Stage, Timing};
use candor_report::{LimitsPart, NodeText};
use candor_verify::attest::parse_document;
use candor_verify::bytes::{Amount, Hash32};
use candor_verify::terms::SignedTerms;
use candor_verify::time::UnixMs;
use serde_json::{Value, json};

use super::{BOOT, DRAINED, HANDED_OVER, HANDING_OVER, REFUSED};
use crate::config::{Settings, rpc_of, within_ceiling};
use crate::deployment::Deployed;
use crate::dev::{self, Development};
use crate::keys::{self, HostKeys};
use crate::lifetime::{asked_to_stop, handed_line, parent_says};
use crate::listeners::MetricsListen;
use crate::logging::{self, LogArgs};
use crate::output::{Done, Failure, read, say};
use crate::registrar::{Attestors, NodeRegistrar};
use crate::{prices, terms};

/// Bytes of a MiB.
const MIB: u64 = 1 << 20;

#[derive(clap::Args)]
pub(crate) struct EnclaveArgs {
    /// The node's file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Another socket than the file's.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[arg(long, hide = true)]
    confirm_seconds: Option<u64>,
}

#[derive(clap::Args)]
pub(crate) struct HostArgs {
    /// The node's file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Another socket than the file's.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Other terms than the file's.
    #[arg(long, value_name = "FILE")]
    terms: Option<PathBuf>,
    /// Where metrics are served, or off, if not as the file says.
    #[arg(long, value_name = "ADDRESS|off", value_parser = MetricsListen::parse)]
    metrics_listen: Option<MetricsListen>,
    #[command(flatten)]
    log: LogArgs,
    /// In the smallest unit of the first asset.
    #[arg(long, hide = true)]
    anchor_value: Option<u64>,
    /// For tests that play a host which leads clients to a boot that nobody has registered.
    #[arg(long, hide = true)]
    serve_unregistered: bool,
    /// The first line of standard input has the keys, the second one says which boot is beside this one. Without it: the keys of the file's
    /// directory, or, on the development chain, those that everybody knows, and no other boot.
    #[arg(long, hide = true)]
    keys_follow: bool,
}

impl HostArgs {
    /// Whether standard input begins with what [`Handed::read`] reads.
    pub(crate) fn expects_keys(&self) -> bool {
        self.keys_follow
    }
}

/// What `serve` hands its host, before anything else.
pub(crate) struct Handed {
    keys: String,
    beside: String,
}

impl Handed {
    /// Reads it from standard input.
    pub(crate) fn read() -> Result<Self, Failure> {
        Ok(Self { keys: handed_line()?, beside: handed_line()? })
    }
}

/// The enclave process.
pub(crate) async fn enclave(args: EnclaveArgs, state: &Path) -> Done {
    let settings = Settings::read(&args.config)?;
    let hypervisor = Hypervisor::open_or_create(&settings.tee(state)).map_err(|error| Failure::cannot(error.to_string()))?;
    let attester = Arc::new(SimulatedAttester { hypervisor, measurements: dev::measurements()? });
    let LimitsPart { generation_seconds, answers, connections, unsettled_per_payer, .. } = settings.text.limits;
    let mut config = candor_enclave::Config::default();
    config.tells_panics = true;
    config.generation_cap_s = generation_seconds;
    config.max_running = answers.unwrap_or(config.max_running);
    config.max_connections = connections;
    config.max_unsettled_per_payer = unsettled_per_payer;
    if let Some(seconds) = args.confirm_seconds {
        config.confirm_max = Duration::from_secs(seconds);
    }
    let socket = args.socket.unwrap_or_else(|| settings.socket());
    remove_stale(&socket)?;
    tokio::select! {
        ended = candor_enclave::run(&socket, config, attester) => match ended {
            // The log is over, which its events have said. An enclave prints nothing from the moment on at which somebody could ask it something.
            Err(error) if error.kind() == std::io::ErrorKind::Other => Ok(ExitCode::from(2)),
            ended => ended.map(|()| ExitCode::SUCCESS).map_err(|error| Failure::cannot(error.to_string())),
        },
        () = asked_to_stop() => Ok(ExitCode::SUCCESS),
    }
}

/// A socket left by an enclave that is gone would keep this one from listening. One at which somebody answers stays.
fn remove_stale(socket: &Path) -> Result<(), Failure> {
    if std::os::unix::net::UnixStream::connect(socket).is_ok() {
        return Err(Failure::cannot(format!("{}: another enclave listens there", socket.display())));
    }
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Failure::cannot(format!("{}: {error}", socket.display()))),
        _ => Ok(()),
    }
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

/// The host process. `handed` is what `serve` handed over.
pub(crate) async fn host(args: HostArgs, state: &Path, handed: Option<Handed>) -> Done {
    let mut settings = Settings::read(&args.config)?;
    if let Some(listen) = args.metrics_listen {
        listen.put(&mut settings);
    }
    args.log.put(&mut settings);
    logging::start(&settings.text.log)?;
    let mut chain = settings.connect().await?;
    let deployed = super::complete(&mut settings, chain.chain_id())?;
    let data = settings.text.node.data.clone();
    candor_client::private_directory(&data)?;
    super::setup::place_built_in(&mut settings, &data)?;
    let text = &settings.text;
    if let Some(part) = settings.chain() {
        chain = within_ceiling(chain, part);
    }
    let is_dev = Development::of(chain.chain_id()).is_some();
    let Some(path) = args.terms.as_ref().or(text.terms.file.as_ref()) else {
        let what = "terms.file: expected the signed terms, got none; sign them with: candor terms renew";
        return Err(Failure::cannot(format!("{}: {what}", args.config.display())));
    };
    let signed_terms = read(path)?;
    // Whoever hands keys over holds their files, and has held the terms to the file.
    let (HostKeys { registrar, gas }, _held) = match &handed {
        Some(handed) => (HostKeys::from_line(&handed.keys)?, Vec::new()),
        None => alone(&settings, &deployed, args.terms.is_some(), chain.chain_id())?,
    };
    let policy = own_policy(&settings, state, &deployed, &signed_terms)?;
    let attestors = Attestors::of(settings.attestors()?, &deployed, &policy, &chain)?;
    let socket = args.socket.unwrap_or_else(|| settings.socket());
    let mut config = HostConfig::new(socket.clone(), text.node.data.join("host"), Vec::new(), chain.clone(), gas);
    put_settings(&mut config, text);
    let registers = Registers { chain, key: registrar, quorum: deployed.quorum(), turn: Arc::default() };
    // `serve` has read each model, and has held the terms to what it read.
    let models = if handed.is_some() { listed_models(text, &signed_terms)? } else { hashed_models(text)? };
    config.boot = boot_config(text, socket, signed_terms, models, registers.registrar(policy, attestors));
    config.beside = match handed.as_ref().map(|handed| Beside::from_line(&handed.beside)) {
        Some(Some(Beside::Begin(stage, file))) => {
            Some((stage, boot_of(&file, &registers, state).map_err(|failure| failure.message().to_owned())))
        }
        Some(Some(Beside::Nobody)) | None => None,
        Some(None) => return Err(Failure::cannot("standard input: expected which boot is beside this one, got something else")),
    };
    config.payment_chains = payment_chains(text).await?;
    config.price_list = Some(data.join(prices::FILE));
    config.serve_unregistered = args.serve_unregistered;
    config.anchor_value = args.anchor_value.map(|units| Amount(units.into())).or_else(|| text.anchor_value());
    config.notices = if handed.is_some() { Arc::new(tell) } else { Arc::new(logging::notice) };
    // A chain without a tag for what stays: two blocks, as many as the enclave's newest lies below the head.
    config.finality = config.anchor_chain.finality(config.head_depth).await?;
    if is_dev {
        config.timing.anchor = text.anchor.seconds.map_or(Duration::from_millis(200), Duration::from_secs);
        config.timing.head_max = config.timing.head;
        config.head_depth = 0;
        config.finality = Finality::Depth(0);
        config.settlement.poll = Duration::from_millis(50);
    }
    run_host(config, &registers, state).await
}

/// What a host tells whoever started it, beside the log.
fn tell(notice: &Notice) {
    logging::notice(notice);
    let said = match notice {
        Notice::HandingOver { .. } => json!({"said": HANDING_OVER}),
        Notice::HandedOver { to, .. } => json!({"said": HANDED_OVER, "log_id": to.to_string()}),
        Notice::Drained { still, .. } => json!({"said": DRAINED, "still": still}),
        Notice::BootRefused { message } => json!({"said": REFUSED, "why": message}),
        _ => return,
    };
    say!("{BOOT}{said}");
}

/// What a host needs that nobody started for its enclave: keys of its own, held, and terms that say what its file says. Other terms than the
/// file's are a test's.
fn alone(settings: &Settings, deployed: &Deployed, has_other_terms: bool, chain_id: u64) -> Result<(HostKeys, Vec<File>), Failure> {
    let keys = keys::load(&settings.text.keys, false, chain_id)?;
    let held = keys::hold(&settings.text.keys)?;
    if !has_other_terms {
        let sold = super::setup::sold(settings)?;
        terms::for_node(settings, deployed, &keys, &sold)?;
    }
    Ok((keys.host, held))
}

async fn run_host(config: HostConfig, registers: &Registers, state: &Path) -> Done {
    let mut host = Host::start(config).await.map_err(|error| Failure::cannot(error.to_string()))?;
    let (mut stop, mut lines) = (pin!(asked_to_stop()), None);
    let ended = loop {
        let line = tokio::select! {
            () = &mut stop => break Ok(ExitCode::SUCCESS),
            error = host.ended() => break match error {
                // A notice has said it.
                HostError::Refused(_) => Ok(ExitCode::from(2)),
                error => Err(Failure::cannot(error.to_string())),
            },
            line = parent_says(&mut lines) => line,
        };
        match Beside::from_line(&line) {
            Some(Beside::Begin(Stage::Coming, file)) => {
                let begun =
                    boot_of(&file, registers, state).and_then(|boot| host.begin(boot).map_err(|error| Failure::cannot(error.to_string())));
                if let Err(failure) = begun {
                    tell(&Notice::BootRefused { message: failure.message().to_owned() });
                }
            }
            Some(Beside::Nobody) => host.end_beside(),
            Some(Beside::Begin(..)) | None => logging::no_order(),
        }
    };
    host.stop().await;
    ended
}

/// What `serve` tells its host of a boot beside the one that sells.
pub(super) enum Beside {
    /// Drive the enclave that this file names: it is to take over, or, when the host starts, has handed over.
    Begin(Stage, PathBuf),
    /// There is none, or none any more.
    Nobody,
}

impl Beside {
    /// As one line between the two.
    pub(super) fn to_line(&self) -> String {
        match self {
            Self::Begin(stage, config) => json!({"stage": stage.as_str(), "config": config}).to_string(),
            Self::Nobody => json!({"stage": null}).to_string(),
        }
    }

    fn from_line(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let stage = [Stage::Coming, Stage::Draining].into_iter().find(|stage| value["stage"] == stage.as_str());
        match (stage, value["config"].as_str()) {
            (Some(stage), Some(config)) => Some(Self::Begin(stage, config.into())),
            (None, None) if value["stage"].is_null() && value.is_object() => Some(Self::Nobody),
            _ => None,
        }
    }
}

/// The boot that this file names.
fn boot_of(file: &Path, registers: &Registers, state: &Path) -> Result<BootConfig, Failure> {
    let settings = Settings::read(file)?;
    let deployed = settings.deployed(registers.chain.chain_id())?;
    let text = &settings.text;
    let path = text.terms.file.as_ref().ok_or_else(|| Failure::cannot("terms.file: expected the signed terms, got none"))?;
    let signed_terms = read(path)?;
    let policy = own_policy(&settings, state, &deployed, &signed_terms)?;
    let attestors = Attestors::of(settings.attestors()?, &deployed, &policy, &registers.chain)?;
    let models = listed_models(text, &signed_terms)?;
    Ok(boot_config(text, settings.socket(), signed_terms, models, registers.registrar(policy, attestors)))
}

/// What every boot of a node is registered with: one account, whose transactions go one after another.
struct Registers {
    chain: ChainClient,
    key: candor_chain::Signer,
    quorum: Quorum,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Registers {
    fn registrar(&self, policy: candor_verify::policy::Policy, attestors: Attestors) -> Arc<NodeRegistrar> {
        let Self { chain, key, quorum, turn } = self;
        let (chain, key, quorum, turn) = (chain.clone(), key.clone(), quorum.clone(), Arc::clone(turn));
        Arc::new(NodeRegistrar { chain, key, policy, quorum, attestors, turn })
    }
}

/// What a file says of one boot.
fn boot_config(
    text: &NodeText,
    socket: PathBuf,
    signed_terms: Vec<u8>,
    models: Vec<ModelFile>,
    registrar: Arc<NodeRegistrar>,
) -> BootConfig {
    let mut boot = BootConfig::new(socket, signed_terms);
    boot.denied.clone_from(&text.guard.deny);
    (boot.models, boot.registrar) = (models, registrar);
    boot
}

/// The files of a boot's models, by what is in them. The digest is enough here: whether it is a model, the enclave says.
fn hashed_models(text: &NodeText) -> Result<Vec<ModelFile>, Failure> {
    let files = text.models.iter().filter_map(|model| model.file.as_ref());
    files.map(|path| Ok(ModelFile { digest: Hash32(merkle_root(&read(path)?)), path: path.clone() })).collect()
}

/// The files of a boot's models, by what its terms say of them. They are not read: a boot that runs has its models, and goes on whatever became of
/// the files since. One that loads them compares what it was sent.
fn listed_models(text: &NodeText, signed_terms: &[u8]) -> Result<Vec<ModelFile>, Failure> {
    let terms = SignedTerms::parse(signed_terms).map_err(|error| Failure::cannot(format!("the signed terms: {error}")))?.terms;
    let listed = terms.models.iter().filter_map(|listed| {
        let path = text.models.iter().find(|model| model.id == listed.id)?.file.clone()?;
        Some(ModelFile { digest: listed.digest, path })
    });
    Ok(listed.collect())
}

/// What the file says of the host itself.
fn put_settings(config: &mut HostConfig, text: &NodeText) {
    config.client_listen = text.node.listen;
    config.http_listen = text.node.log_listen;
    (config.metrics_listen, config.metrics_remote) = (text.metrics.listen, text.metrics.remote);
    let usual = Timing::default();
    config.timing = Timing {
        anchor: text.anchor.seconds.map_or(usual.anchor, Duration::from_secs),
        renew: Duration::from_secs(text.renewal.hours.saturating_mul(3600)),
        ..usual
    };
    // More than the enclave holds: it alone can tell who pays, and makes room by ending who does not.
    let max_connections = text.limits.connections.saturating_add(text.limits.connections / 4);
    config.clients = ClientLimits { max_connections, max_per_address: text.limits.connections_per_address, ..ClientLimits::default() };
    config.quota_bytes = text.storage.quota_mib.map(|mib| mib.saturating_mul(MIB));
}

/// Chains on which payments settle and no boot is registered.
async fn payment_chains(text: &NodeText) -> Result<Vec<ChainClient>, Failure> {
    let mut chains = Vec::new();
    for part in text.chains.iter().skip(1) {
        chains.push(within_ceiling(ChainClient::connect(rpc_of(part)?, Some(part.id)).await?, part));
    }
    Ok(chains)
}

/// What the registrar accepts as this node's own enclave.
fn own_policy(settings: &Settings, state: &Path, deployed: &Deployed, terms: &[u8]) -> Result<candor_verify::policy::Policy, Failure> {
    if let Some(path) = &settings.text.node.policy {
        return Ok(candor_client::PolicyFile::read(path)?.policy);
    }
    let terms = SignedTerms::parse(terms).map_err(|error| Failure::cannot(format!("the signed terms: {error}")))?;
    Ok(dev::policy(&settings.tee(state), deployed, terms.terms.operator)?.policy)
}

#[cfg(test)]
mod tests {
    use candor_testkit::forge::Key;
    use candor_testkit::honest::{sign_terms, terms};

    use super::*;

    #[test]
    fn the_models_of_a_boot_that_was_signed_for_are_those_of_its_terms_whatever_became_of_their_files() {
        let signed = sign_terms(terms(), &Key::of(1));
        let mut text = NodeText::default();
        for id in [signed.terms.models[0].id.as_str(), "another"] {
            let file = Some(PathBuf::from("/nowhere/at/all.cnd1"));
            text.models.push(candor_report::NodeModel { id: id.to_owned(), file, prices: Vec::new() });
        }
        let listed = listed_models(&text, &signed.encode()).unwrap();
        assert_eq!(listed, [ModelFile { digest: signed.terms.models[0].digest, path: "/nowhere/at/all.cnd1".into() }]);
        assert!(hashed_models(&text).is_err());
    }

    #[test]
    fn what_is_beside_a_boot_is_one_line_and_any_other_is_none() {
        for order in [Beside::Begin(Stage::Coming, "/a b/c".into()), Beside::Begin(Stage::Draining, "/d".into()), Beside::Nobody] {
            assert_eq!(Beside::from_line(&order.to_line()).map(|read| read.to_line()), Some(order.to_line()));
        }
        for bad in ["", "{}x", "[]", "{\"stage\":\"selling\",\"config\":\"/a\"}", "{\"stage\":\"coming\"}"] {
            assert!(Beside::from_line(bad).is_none(), "{bad}");
        }
    }
}
