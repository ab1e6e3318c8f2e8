//! What a host is told: addresses, files, chains, keys, limits. Every number has a default with its reason; nothing is read from the
//! environment.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use candor_chain::{ChainClient, Finality, Signer};
use candor_verify::{Address, Amount, Hash32};

use crate::notice::{Notice, NoticeSink};
use crate::overlap::DRAIN_MAX;
use crate::registrar::{NoRegistrar, Registrar};
use crate::slot::Stage;

/// A model that the terms list, and the file that holds it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a digest and where its bytes are")]
pub struct ModelFile {
    /// Digest, as the terms name it. The enclave checks it over the bytes it copied.
    pub digest: Hash32,
    /// The container.
    pub path: PathBuf,
}

/// How clients' connections are treated before the enclave sees a byte of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: any value works")]
pub struct ClientLimits {
    /// Connections at once; more are closed. More than the enclave holds (`candor_enclave::Config::max_connections`): it alone can tell
    /// who pays, and makes room by ending who does not, so a new connection must reach it.
    pub max_connections: usize,
    /// Connections at once from one address (IPv6: one /64), of which a NAT may hide many people.
    pub max_per_address: usize,
    /// Time without a byte in either direction. Longer than the slowest gap in a stream of tokens.
    pub idle: Duration,
    /// Time without a byte once the client has ended its direction (a half-open connection).
    pub half_closed: Duration,
    /// Time for the client to take the last bytes once the enclave has ended its direction.
    pub linger: Duration,
    /// Time to reach the enclave.
    pub dial: Duration,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            max_connections: 1280,
            max_per_address: 128,
            idle: Duration::from_secs(300),
            half_closed: Duration::from_secs(60),
            linger: Duration::from_secs(2),
            dial: Duration::from_secs(5),
        }
    }
}

/// How often things are done. How soon a log is published is `PUBLISH_DELAY` (`publish.rs`): no operator gains by another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: any value works")]
pub struct Timing {
    /// Between questions for the newest block, at least: half of the chain's time between blocks, as it shows.
    pub head: Duration,
    /// The same, at most. A development chain makes blocks when somebody sends something, and its times say nothing.
    pub head_max: Duration,
    /// Between anchors, at least. An anchor costs gas: minutes on a public chain, a moment in the demo.
    pub anchor: Duration,
    /// Between documents that are kept for the registry and for bundles: less than the two hours for which one counts.
    pub attest: Duration,
    /// Between renewals of the registration on chain: less than the week for which the registry takes a document, and less than half of it,
    /// because clients pay no key whose newest document on chain is older.
    pub renew: Duration,
    /// Without its enclave for so long, a host takes the boot for one that has gone.
    pub gone: Duration,
    /// After so long no chain takes a renewal's block back: then the last renewal of a boot that has gone is looked at once more.
    pub stays: Duration,
    /// How long a boot that has handed over may take to end: after the usual time nothing of it can matter.
    pub drain: Duration,
    /// First pause before a failed connection or registration is tried again; doubles up to 64 times this.
    pub retry: Duration,
    /// Time for the enclave to answer a small request.
    pub request: Duration,
    /// Time for the enclave to take a model part or to start (digests, keys, attestation).
    pub boot_step: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            head: Duration::from_millis(250),
            head_max: Duration::from_secs(6),
            anchor: Duration::from_secs(60),
            attest: Duration::from_secs(50 * 60),
            renew: Duration::from_secs(24 * 60 * 60),
            gone: Duration::from_secs(60),
            // Ethereum finalizes in thirteen minutes, and takes longer in trouble.
            stays: Duration::from_secs(30 * 60),
            drain: DRAIN_MAX,
            retry: Duration::from_millis(250),
            request: Duration::from_secs(30),
            boot_step: Duration::from_secs(120),
        }
    }
}

/// How settlements are submitted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: any value works")]
pub struct SettlementConfig {
    /// Time between questions about one settlement.
    pub poll: Duration,
    /// Time without a receipt after which a transaction is sent again at a higher price.
    pub bump_after: Duration,
}

impl Default for SettlementConfig {
    fn default() -> Self {
        Self { poll: Duration::from_secs(1), bump_after: Duration::from_secs(15) }
    }
}

/// One boot: which enclave, under which terms, with what. A host has one; a second one can begin beside it ([`crate::Host::begin`]).
#[derive(Clone)]
#[expect(clippy::exhaustive_structs, reason = "complete: any value is tried, and refused by name if it does not work")]
pub struct BootConfig {
    /// Unix socket on which the enclave listens.
    pub enclave_socket: PathBuf,
    /// The operator's signed terms, CBOR.
    pub signed_terms: Vec<u8>,
    /// Files of the models that the terms list.
    pub models: Vec<ModelFile>,
    /// Payers that are not served, 4,096 at most.
    pub denied: Vec<Address>,
    /// Registers the boot, and renews those that have gone.
    pub registrar: Arc<dyn Registrar>,
}

impl BootConfig {
    /// A boot without models and without a registrar.
    #[must_use]
    pub fn new(enclave_socket: PathBuf, signed_terms: Vec<u8>) -> Self {
        Self { enclave_socket, signed_terms, models: Vec::new(), denied: Vec::new(), registrar: Arc::new(NoRegistrar) }
    }
}

/// Everything a host is told.
#[derive(Clone)]
#[expect(clippy::exhaustive_structs, reason = "complete: any value is tried, and refused by name if it does not work")]
pub struct HostConfig {
    /// The boot that sells.
    pub boot: BootConfig,
    /// The boot beside it, of which a host that is started again is told before it drives either; or why it cannot be driven.
    pub beside: Option<(Stage, Result<BootConfig, String>)>,
    /// Where clients connect.
    pub client_listen: SocketAddr,
    /// Where the log is served, plain HTTP, read-only.
    pub http_listen: SocketAddr,
    /// Where metrics are served, plain HTTP; nowhere if `None`. A loopback address, unless `metrics_remote`.
    pub metrics_listen: Option<SocketAddr>,
    /// Whether metrics may be asked from other machines, and under any name. They say what the operator earns: for networks of his own.
    pub metrics_remote: bool,
    /// Database, published logs. Created with mode 0700.
    pub data_dir: PathBuf,
    /// Where the operator's tool puts price lists, one at a time. `None`: the prices are those of the terms.
    pub price_list: Option<PathBuf>,
    /// Chain of registry and anchors.
    pub anchor_chain: ChainClient,
    /// Further chains on which payments settle.
    pub payment_chains: Vec<ChainClient>,
    /// Which blocks these chains are not expected to take back. An answer is handed over, and an anchor shown, once they are in a block; the
    /// books, the anchor that later proofs begin at, and whether this node may serve a newcomer go by blocks that stay.
    pub finality: Finality,
    /// Whether clients are served before the registration is in a block that stays. What is sold then can turn out to be unprovable, if the registration never comes to be.
    pub serve_unregistered: bool,
    /// An anchor is made at once when so much was charged since the last, in the smallest unit of the terms' first asset. `None`: only
    /// [`Timing::anchor`] counts.
    pub anchor_value: Option<Amount>,
    /// How many blocks below the newest one the block lies that the enclave is told of. What a chain takes back of itself is mostly the
    /// newest, and a receipt that names a block which is gone cannot be verified against that chain.
    pub head_depth: u64,
    /// Pays for settlements. One process in the world may use it: it owns the account's nonces.
    pub gas_key: Signer,
    /// Pays for anchors. Another account than `gas_key`, for the same reason.
    pub anchor_key: Signer,
    /// What happened, for the operator's eyes.
    pub notices: NoticeSink,
    /// Clients.
    pub clients: ClientLimits,
    /// Intervals.
    pub timing: Timing,
    /// Settlements.
    pub settlement: SettlementConfig,
    /// Most bytes of the database.
    pub quota_bytes: Option<u64>,
}

impl HostConfig {
    /// A host on loopback with free ports, without a registrar, with every default.
    #[must_use]
    pub fn new(enclave_socket: PathBuf, data_dir: PathBuf, signed_terms: Vec<u8>, anchor_chain: ChainClient, keys: GasKeys) -> Self {
        Self {
            boot: BootConfig::new(enclave_socket, signed_terms),
            beside: None,
            client_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            http_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            metrics_listen: None,
            metrics_remote: false,
            data_dir,
            price_list: None,
            anchor_chain,
            payment_chains: Vec::new(),
            finality: Finality::Depth(2),
            anchor_value: None,
            serve_unregistered: false,
            head_depth: 2,
            gas_key: keys.gas,
            anchor_key: keys.anchor,
            notices: Arc::new(|_: &Notice| {}),
            clients: ClientLimits::default(),
            timing: Timing::default(),
            settlement: SettlementConfig::default(),
            quota_bytes: None,
        }
    }
}

impl std::fmt::Debug for BootConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BootConfig").field("enclave_socket", &self.enclave_socket).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for HostConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostConfig")
            .field("enclave_socket", &self.boot.enclave_socket)
            .field("client_listen", &self.client_listen)
            .field("http_listen", &self.http_listen)
            .field("data_dir", &self.data_dir)
            .finish_non_exhaustive()
    }
}

/// The two accounts of a host.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "complete: two keys")]
pub struct GasKeys {
    /// For settlements.
    pub gas: Signer,
    /// For anchors.
    pub anchor: Signer,
}
