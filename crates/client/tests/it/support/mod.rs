//! A node and a chain in this process, each of which says what a test wants: the node has genuine SIMULATED evidence and signs whatever it
//! is told to, the chain is a JSON-RPC server with a table of answers.
//!
//! | room | what |
//! |---|---|
//! | here | [`Scene`]: both, and a buyer with an empty book |
//! | `node` | the node: quotes honestly, answers paid requests as [`node::Conduct`] says |
//! | `rpc` | the chain |

pub(crate) mod node;
pub(crate) mod rpc;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use candor_chain::ChainClient;
use candor_client::{
    Again, BundleIndex, Buyer, ClientError, Endpoint, Keep, KeepMode, OwnChain, SpendBook, VerifiedNode, VerifiedResponse, Wallet, ask,
    verify_live,
};
use candor_testkit::fresh_hypervisor;
use candor_verify::bytes::{Amount, Hash32};
use candor_verify::policy::{Policy, Workloads};
use candor_x402::client::{AssetLimit, SpendPolicy};
use candor_x402::protocol::Eip155;

use self::node::{Boot, Server};
use self::rpc::Rpc;

/// Chain of the scene.
pub(crate) const CHAIN_ID: u64 = 31337;

/// What is asked, unless a test asks something else.
pub(crate) const BODY: &[u8] = br#"{"model":"fixture","messages":[{"role":"user","content":"What is a receipt?"}]}"#;

/// A node, a chain, and a buyer.
pub(crate) struct Scene {
    pub(crate) rpc: Rpc,
    pub(crate) node: Server,
    pub(crate) policy: Policy,
    pub(crate) spend: SpendPolicy,
    pub(crate) state: PathBuf,
    pub(crate) pay_again: bool,
    pub(crate) keep: KeepMode,
}

impl Scene {
    /// A new one, with a directory of its own.
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let state = std::env::temp_dir().join(format!("candor-client-{name}"));
        std::fs::create_dir_all(&state).unwrap();
        let hypervisor = Arc::new(fresh_hypervisor(&name));
        let policy = Policy { roots: vec![hypervisor.trust_root()], workloads: Workloads::DangerousAny, ..Policy::default() };
        let node = Server::start(Boot::new(hypervisor, 0x33));
        let limit = AssetLimit {
            network: Eip155(CHAIN_ID),
            asset: node::ASSET,
            max_per_request: Amount(10_000),
            max_per_day: Amount(node::price().0 * 3),
            max_unresolved: candor_verify::payment::MAX_UNRESOLVED,
        };
        let spend = SpendPolicy { assets: vec![limit] };
        Self { rpc: Rpc::start(), node, policy, spend, state, pay_again: false, keep: KeepMode::Full }
    }

    /// A new one whose buyer keeps so much.
    pub(crate) fn keeping(keep: KeepMode) -> Self {
        let mut scene = Self::new();
        scene.keep = keep;
        scene
    }

    /// A client of its chain.
    pub(crate) async fn chain(&self) -> ChainClient {
        ChainClient::connect(&self.rpc.url, None).await.unwrap()
    }

    /// The node, verified.
    pub(crate) async fn verified(&self) -> VerifiedNode {
        let endpoint = Endpoint::parse(&self.node.url()).unwrap();
        verify_live(&self.chain().await, &self.policy, endpoint, None).await.unwrap()
    }

    /// Asks as a process of its own would: the book is opened again.
    pub(crate) async fn ask(&self, body: &[u8]) -> Result<VerifiedResponse, ClientError> {
        self.buy(body, &self.book()).await
    }

    /// Asks with this book.
    pub(crate) async fn buy(&self, body: &[u8], book: &SpendBook) -> Result<VerifiedResponse, ClientError> {
        let chain = OwnChain::new(self.chain().await);
        self.buy_over(&chain, &mut self.verified().await, body, book).await
    }

    /// Asks a node that was verified before, over this chain.
    pub(crate) async fn buy_over(
        &self,
        chain: &OwnChain,
        node: &mut VerifiedNode,
        body: &[u8],
        book: &SpendBook,
    ) -> Result<VerifiedResponse, ClientError> {
        let (wallet, keep) = (wallet(), Keep::new(self.index(), self.keep));
        let (spend, policy) = (&self.spend, &self.policy);
        let buyer = Buyer {
            chain,
            wallet: Some(&wallet),
            key: None,
            book,
            spend,
            policy,
            keep: &keep,
            again: if self.pay_again { Again::Always } else { Again::No },
            caller: None,
            race: None,
        };
        ask(node, &buyer, body, &mut |_| {}).await
    }

    /// The book, as it is on disk.
    pub(crate) fn book(&self) -> SpendBook {
        SpendBook::open(&self.database()).unwrap()
    }

    /// The file that it is in.
    pub(crate) fn database(&self) -> PathBuf {
        self.state.join("client.db")
    }

    /// The rows of the book.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let database = rusqlite::Connection::open(self.database()).unwrap();
        let mut statement = database.prepare("SELECT nonce, state, payment FROM spends").unwrap();
        let row = |row: &rusqlite::Row<'_>| Ok(Row { nonce: Hash32(row.get(0)?), state: row.get(1)?, payment: row.get(2)? });
        statement.query_map([], row).unwrap().map(Result::unwrap).collect()
    }

    /// Changes every row of the book.
    pub(crate) fn rewrite(&self, set: &str) {
        rusqlite::Connection::open(self.database()).unwrap().execute(&format!("UPDATE spends SET {set}"), []).unwrap();
    }

    /// What is kept, by its ids.
    pub(crate) fn index(&self) -> BundleIndex {
        BundleIndex::open(&self.database(), &self.bundles()).unwrap()
    }

    /// Where answers are kept.
    pub(crate) fn bundles(&self) -> PathBuf {
        self.state.join("bundles")
    }

    /// Names of the kept files.
    pub(crate) fn kept(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.bundles()) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// A row of the book, as far as tests look at it.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) nonce: Hash32,
    /// [`RESERVED`], [`UNRESOLVED`] or [`CHARGED`].
    pub(crate) state: u8,
    pub(crate) payment: Option<String>,
}

pub(crate) const RESERVED: u8 = 0;
pub(crate) const UNRESOLVED: u8 = 1;
pub(crate) const CHARGED: u8 = 4;

impl Drop for Scene {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.state));
    }
}

/// Who pays.
pub(crate) fn wallet() -> Wallet {
    Wallet::from_bytes(&[0x44; 32]).unwrap()
}

/// Permissions of a file.
pub(crate) fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// A hash of one byte.
pub(crate) fn h(byte: u8) -> Hash32 {
    Hash32([byte; 32])
}
