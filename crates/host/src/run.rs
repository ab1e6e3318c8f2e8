//! Starts every part of a host, owns their tasks, and stops them.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use candor_link::Refused;
use candor_verify::cbor::CborError;
use candor_verify::terms::SignedTerms;
use tokio::net::TcpListener;
use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc, watch};
use tokio::task::JoinSet;

use crate::anchor::Anchorer;
use crate::config::{BootConfig, HostConfig};
use crate::metrics::{self, HostCounts};
use crate::notice::Notice;
use crate::publish::Publisher;
use crate::settle::Settler;
use crate::shared::{Shared, follow_head};
use crate::slot::{Slot, Stage};
use crate::store::{Store, StoreError, StoreOptions};
use crate::{accounts, anchor, clients, clock, control, http, overlap, publish, registration};

/// Between two looks for kept answers whose time is over: an hour is little beside a week.
const ERASE_EVERY: Duration = Duration::from_secs(60 * 60);

/// Between two looks at the disk: one page each.
const PROBE_EVERY: Duration = Duration::from_secs(10);

/// Why a host does not start, or cannot go on. Whatever else goes wrong is told by notices and recovers by itself.
#[derive(Debug)]
#[non_exhaustive]
pub enum HostError {
    /// An address cannot be listened on.
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// The data directory cannot be made.
    Directory {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The database.
    Store(StoreError),
    /// The terms' bytes are no terms.
    Terms(CborError),
    /// A task that should run for ever has ended.
    TaskEnded(String),
    /// The enclave refused the terms or a model. It would refuse the same bytes again.
    Refused(Refused),
    /// The terms and what this host is told do not fit.
    Config(String),
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { address, error } => write!(f, "cannot listen on {address}: {error}"),
            Self::Directory { path, error } => write!(f, "cannot make {}: {error}", path.display()),
            Self::Store(error) => error.fmt(f),
            Self::Terms(error) => write!(f, "the signed terms: {error}"),
            Self::TaskEnded(message) => write!(f, "a part of the host has ended: {message}"),
            Self::Refused(refused) => write!(f, "the enclave refused: {refused}"),
            Self::Config(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for HostError {}

/// A running host. Dropping it aborts its tasks; [`Host::stop`] is gentler to the disk.
#[derive(Debug)]
pub struct Host {
    client_address: SocketAddr,
    http_address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    // Each gives its name when it returns, which it should not before the stop.
    tasks: JoinSet<&'static str>,
    // The control task says here why it was refused, before it ends.
    refuse: mpsc::Sender<Refused>,
    refused: mpsc::Receiver<Refused>,
    shared: Arc<Shared>,
}

impl Host {
    /// Opens store and listeners and starts every task. Returns at once; the enclave is dialled until it answers.
    ///
    /// # Errors
    /// [`HostError`]: nothing was started.
    pub async fn start(config: HostConfig) -> Result<Self, HostError> {
        check(&config)?;
        let terms = check_boot(&config, &config.boot)?;
        let make = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&config.data_dir);
        make.map_err(|error| HostError::Directory { path: config.data_dir.clone(), error })?;
        let options = StoreOptions { quota_bytes: config.quota_bytes };
        let store = open_store(&config.data_dir.join("host.db"), options).await.map_err(HostError::Store)?;
        let (clients, client_address) = listen(config.client_listen).await?;
        let (readers, http_address) = listen(config.http_listen).await?;
        let metrics = match config.metrics_listen {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let metrics_address = metrics.as_ref().map(|(_, address)| *address);
        let counts = Arc::<HostCounts>::default();
        let assets = terms.terms.assets.iter().map(|asset| (asset.chain_id, asset.asset)).collect();
        let mut config = HostConfig { notices: counts.counting(assets, Arc::clone(&config.notices)), ..config };
        let beside = config.beside.take();

        let (stop, stopped) = watch::channel(false);
        let resets = watch::Sender::new(0);
        let mut tasks = JoinSet::new();
        let chains: HashMap<_, _> =
            config.payment_chains.iter().chain([&config.anchor_chain]).map(|chain| (chain.chain_id(), chain.clone())).collect();
        let mut settlers = HashMap::new();
        for (chain_id, chain) in &chains {
            let (settler, runner) = Settler::new(
                chain.clone(),
                &config.gas_key,
                (&config.settlement, config.finality),
                store.clone(),
                Arc::clone(&config.notices),
                stopped.clone(),
                resets.subscribe(),
            );
            tasks.spawn(named("settlement", runner));
            settlers.insert(*chain_id, settler);
        }
        let anchorer = Anchorer::new(config.anchor_chain.clone(), config.anchor_key.clone(), store.clone(), config.finality);
        let slot = Arc::new(Slot::new(config.boot.clone(), terms, Stage::Selling, config.serve_unregistered));
        let shared = Arc::new(Shared {
            door: watch::Sender::new(None),
            seller: Mutex::new(Arc::clone(&slot)),
            slots: watch::Sender::new(vec![slot]),
            opening: AsyncMutex::default(),
            logs: watch::Sender::new(0),
            store,
            chains,
            settlers,
            anchorer: AsyncMutex::new(anchorer),
            publisher: Publisher::default(),
            head: watch::Sender::new(None),
            resets,
            worth: Notify::new(),
            stored: watch::Sender::new(0),
            status: Mutex::default(),
            counts: Arc::clone(&counts),
            started: clock::now().seconds(),
            config,
        });
        // Invariant: before a client is led anywhere and before either enclave is driven: what one is told depends on the other.
        if let Some((stage, boot)) = beside {
            overlap::begin_with(&shared, stage, boot);
        }
        shared.lead_clients();
        shared.notice(&Notice::Listening { clients: client_address, http: http_address });
        if let Some((listener, address)) = metrics {
            shared.notice(&Notice::Metrics { address });
            tasks.spawn(named("metrics", metrics::serve(listener, Arc::clone(&shared), stopped.clone())));
        }
        let (config, notices) = (&shared.config, Arc::clone(&shared.config.notices));
        tasks.spawn(named("clients", clients::serve(clients, shared.door.subscribe(), config.clients, notices, counts, stopped.clone())));
        tasks.spawn(named("overlap", overlap::run(Arc::clone(&shared), stopped.clone())));
        tasks.spawn(named("accounts", accounts::watch(Arc::clone(&shared), stopped.clone())));
        tasks.spawn(named("http", http::serve(readers, Arc::clone(&shared), stopped.clone())));
        tasks.spawn(named("chain", follow_head(Arc::clone(&shared), stopped.clone())));
        tasks.spawn(named("publish", publish::run(Arc::clone(&shared), stopped.clone())));
        tasks.spawn(named("anchor", anchor::run(Arc::clone(&shared), stopped.clone())));
        tasks.spawn(named("renewal", registration::renew_former(Arc::clone(&shared), stopped.clone())));
        tasks.spawn(named("store", writer_ended(shared.store.clone(), stopped.clone())));
        tasks.spawn(named("disk", probe(shared.store.clone(), stopped.clone())));
        tasks.spawn(named("answers", erase_ended(Arc::clone(&shared), stopped.clone())));
        let (refuse, refused) = mpsc::channel(1);
        let mut host = Self { client_address, http_address, metrics_address, stop, tasks, refuse, refused, shared };
        for slot in host.shared.slots() {
            host.drive(slot);
        }
        Ok(host)
    }

    /// Drives the enclave of a slot, until the slot ends.
    fn drive(&mut self, slot: Arc<Slot>) {
        let (shared, mut stopped, refuse) = (Arc::clone(&self.shared), self.stop.subscribe(), self.refuse.clone());
        let control = async move {
            match control::run(&shared, &slot, stopped.clone()).await {
                control::Over::Stopped => return,
                // It was not needed yet, or any more: whoever started it is told, and the one that sells goes on.
                control::Over::Refused(refused) if !Arc::ptr_eq(&slot, &shared.seller()) => {
                    overlap::remove(&shared, &slot);
                    shared.clear_trouble("enclave");
                    shared.notice(&Notice::BootRefused { message: refused.to_string() });
                }
                control::Over::Refused(refused) => {
                    // A host that was dropped has nobody left to ask why it ended.
                    let _host_gone = refuse.try_send(refused);
                    return;
                }
                control::Over::SlotEnded => {}
            }
            drop((shared, slot));
            // A task that returns ends the host.
            let _until_the_stop = stopped.changed().await;
        };
        self.tasks.spawn(named("control", control));
    }

    /// Begins to drive another enclave beside the one that sells, which is to take over.
    ///
    /// # Errors
    /// [`HostError::Config`], [`HostError::Terms`]: nothing has changed.
    pub fn begin(&mut self, boot: BootConfig) -> Result<(), HostError> {
        let slot = overlap::begin(&self.shared, boot, Stage::Coming)?;
        self.drive(slot);
        Ok(())
    }

    /// The enclave beside the one that sells has ended.
    pub fn end_beside(&self) {
        overlap::end_beside(&self.shared);
    }

    /// Starts, and runs until the future is dropped.
    ///
    /// # Errors
    /// As [`Self::start`], or as [`Self::ended`].
    pub async fn run(config: HostConfig) -> Result<(), HostError> {
        let mut host = Self::start(config).await?;
        Err(host.ended().await)
    }

    /// Waits until a task ends that should run for ever. Unless it was [`HostError::Refused`], that is a bug of ours: let the process
    /// end, so that it is started again.
    pub async fn ended(&mut self) -> HostError {
        let ended = self.tasks.join_next().await;
        if let Ok(refused) = self.refused.try_recv() {
            return HostError::Refused(refused);
        }
        match ended {
            Some(Err(error)) => HostError::TaskEnded(error.to_string()),
            Some(Ok(part)) => HostError::TaskEnded(part.to_owned()),
            None => HostError::TaskEnded("all of them".to_owned()),
        }
    }

    /// Where clients connect.
    #[must_use]
    pub fn client_address(&self) -> SocketAddr {
        self.client_address
    }

    /// Where the log is served.
    #[must_use]
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// Where metrics are served.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// Stops every task and waits for it; what was queued for the disk is written.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn named(part: &'static str, task: impl Future<Output = ()>) -> &'static str {
    task.await;
    part
}

/// Without its writer a host can only refuse: better to end and be started again.
async fn writer_ended(store: Store, mut stopped: watch::Receiver<bool>) {
    tokio::select! {
        () = store.ended() => {}
        _ = stopped.changed() => {}
    }
}

/// Looks at the disk now and again, so that a full one is seen before a receipt needs it. What it finds is in the store's health.
async fn probe(store: Store, mut stopped: watch::Receiver<bool>) {
    loop {
        let _in_its_health = store.probe().await;
        tokio::select! {
            () = tokio::time::sleep(PROBE_EVERY) => {}
            _ = stopped.changed() => return,
        }
    }
}

/// Kept answers go a week after their payment's end: looked for at the start and then now and again.
async fn erase_ended(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    loop {
        match shared.store.erase_ended(clock::now().seconds()).await {
            Ok(0) => shared.clear_trouble("answers"),
            // A few at once, so that nothing else waits for long.
            Ok(_) => continue,
            Err(error) => shared.trouble_once("answers", error.to_string()),
        }
        tokio::select! {
            () = tokio::time::sleep(ERASE_EVERY) => {}
            _ = stopped.changed() => return,
        }
    }
}

/// A host that was just stopped may hold the database for a moment more.
async fn open_store(path: &Path, options: StoreOptions) -> Result<Store, StoreError> {
    for _ in 0..30 {
        match Store::open(path, options) {
            Err(StoreError::Locked) => tokio::time::sleep(Duration::from_millis(100)).await,
            other => return other,
        }
    }
    Store::open(path, options)
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), HostError> {
    let failed = |error| HostError::Listen { address, error };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// What can be said about terms before an enclave reads them.
///
/// # Errors
/// `Config`, `Terms`.
pub(crate) fn check_boot(config: &HostConfig, boot: &BootConfig) -> Result<SignedTerms, HostError> {
    let refuse = |message: String| Err(HostError::Config(message));
    let signed = SignedTerms::parse(&boot.signed_terms).map_err(HostError::Terms)?;
    let terms = &signed.terms;
    if let Err(rule) = terms.check_consistent() {
        return refuse(format!("the signed terms: {rule}"));
    }
    if terms.anchor_chain_id != config.anchor_chain.chain_id() {
        return refuse(format!(
            "the terms' anchor chain is {}, the endpoint's is {}",
            terms.anchor_chain_id,
            config.anchor_chain.chain_id()
        ));
    }
    for model in &terms.models {
        if !boot.models.iter().any(|file| file.digest == model.digest) {
            return refuse(format!("the terms list model {} ({}), no file is given for it", model.id, model.digest));
        }
    }
    let reachable = |chain_id: u64| config.payment_chains.iter().chain([&config.anchor_chain]).any(|chain| chain.chain_id() == chain_id);
    if let Some(asset) = terms.assets.iter().find(|asset| !reachable(asset.chain_id)) {
        return refuse(format!("the terms price in an asset of chain {}, no endpoint is given for it", asset.chain_id));
    }
    Ok(signed)
}

/// What can be said about a configuration without its terms.
fn check(config: &HostConfig) -> Result<(), HostError> {
    let refuse = |message: String| Err(HostError::Config(message));
    if let Some(address) = config.metrics_listen.filter(|address| !config.metrics_remote && !address.ip().is_loopback()) {
        return refuse(format!(
            "metrics at {address}: expected a loopback address, because they say what this node earns; to let other machines ask, say so \
             (--metrics-remote)"
        ));
    }
    if config.gas_key.address() == config.anchor_key.address() {
        return refuse("gas key and anchor key must be two accounts: each owner numbers its account's transactions".to_owned());
    }
    Ok(())
}
