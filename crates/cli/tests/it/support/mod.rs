//! A chain and a node of the built program, for the tests beside this folder: real processes, real sockets, everything on loopback,
//! ports chosen free, everything ended when the last holder lets go (or when the test process dies).
//!
//! | room | what |
//! |---|---|
//! | here | [`World`]: chain and node, what they say, what the chain says |
//! | `process` | children: started, signalled, ended with everything they started |
//! | `hostile` | strangers whose texts are for a terminal and not for a reader |
//! | `liar` | a chain endpoint that fails and lies |
//! | `payer` | payments, right or wrong in one place |
//! | `recorder` | a server with another key that remembers what it was sent |
//! | `split` | a node whose halves are processes of the test |
//! | `tap` | a socket between the halves that ends the enclave at a message |

pub(crate) mod hostile;
pub(crate) mod liar;
pub(crate) mod payer;
pub(crate) mod process;
pub(crate) mod recorder;
pub(crate) mod split;
pub(crate) mod tap;

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use candor_chain::{ChainClient, Signer, mint_calldata};
use candor_devchain::dev_accounts;
use candor_engine::{Config, fixture};
pub(crate) use candor_testhttp as http;
pub(crate) use candor_testhttp::PATIENCE;
use candor_verify::bytes::{Address, Amount, Hash32};
use candor_verify::hash::keccak256;
use serde_json::{Value, json};

use self::process::Process;

/// Index of the well-known account that mints and pays gas for tests. The host and the set-up use others.
const FAUCET: usize = 9;

/// A chain and a node, and the directory that both keep their state in.
pub(crate) struct World {
    // Ended in this order: the node first, so that it does not complain about its chain.
    pub(crate) node: Process,
    pub(crate) chain: Process,
    pub(crate) state: PathBuf,
    // Directory of a model of its own.
    model: Option<PathBuf>,
    asked: OnceLock<PathBuf>,
}

impl World {
    /// The one that tests share while at least one of them runs. Any of them may ask its node at any moment.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<World>> = Mutex::new(Weak::new());
        Self::share(&SHARED)
    }

    /// The one of the tests that read the files of a log: it is asked once, by [`World::bundle`], and none of these tests asks its node
    /// again, so its log is published and anchored whole and no file of it changes.
    pub(crate) fn at_rest() -> Arc<Self> {
        static AT_REST: Mutex<Weak<World>> = Mutex::new(Weak::new());
        let world = Self::share(&AT_REST);
        assert!(world.bundle().exists());
        world
    }

    fn share(place: &Mutex<Weak<Self>>) -> Arc<Self> {
        let mut shared = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(world) = shared.upgrade() {
            return world;
        }
        let world = Arc::new(Self::start(&[]));
        *shared = Arc::downgrade(&world);
        world
    }

    /// A new one, with further arguments for `serve`.
    pub(crate) fn start(serve: &[&str]) -> Self {
        Self::start_through(serve, str::to_owned)
    }

    /// A new one whose node reaches the chain through another endpoint, which is made when the chain is there. Clients ask the chain.
    pub(crate) fn start_through(serve: &[&str], endpoint: impl FnOnce(&str) -> String) -> Self {
        Self::start_after(serve, endpoint, |_, _| ())
    }

    /// The same, after something was put into the state directory, which gets the address of the test token.
    pub(crate) fn start_after(serve: &[&str], endpoint: impl FnOnce(&str) -> String, prepare: impl FnOnce(&Path, &str)) -> Self {
        let state = process::new_directory();
        let chain = Process::start(&state, &["chain", "--port", "0"]);
        let rpc = endpoint(&chain.text("url"));
        prepare(&state, &chain.text("test_usd"));
        let mut arguments = vec!["serve", "--rpc", &rpc, "--listen", "127.0.0.1:0", "--log-listen", "127.0.0.1:0"];
        arguments.extend_from_slice(serve);
        let node = Process::start(&state, &arguments);
        Self { node, chain, state, model: None, asked: OnceLock::new() }
    }

    /// A new one whose model is slow enough for something to happen in the middle of an answer: a thousand times the work of the
    /// fixture's. With further arguments for `serve`.
    pub(crate) fn slow(serve: &[&str]) -> Self {
        let shape =
            Config { dim: 512, layers: 6, heads: 8, kv_heads: 8, head_dim: 64, ffn: 2048, context: 2048, norm_eps: 1e-5, tied: false };
        let directory = process::new_directory();
        let path = directory.join("slow.cnd1");
        std::fs::write(&path, fixture::random(shape, 7)).unwrap();
        let mut world = Self::start(&[&["--model", path.to_str().unwrap()][..], serve].concat());
        // Read again by each host and each boot.
        world.model = Some(directory);
        world
    }

    /// JSON-RPC of the chain.
    pub(crate) fn rpc(&self) -> String {
        self.chain.text("url")
    }

    /// `https://` of the node.
    pub(crate) fn api(&self) -> String {
        self.node.text("api")
    }

    /// `http://` of the log.
    pub(crate) fn log(&self) -> String {
        self.node.text("log")
    }

    /// The test token.
    pub(crate) fn token(&self) -> Address {
        Address::from_hex(&self.chain.text("test_usd")).unwrap()
    }

    /// Runs the program to its end in this state directory. Always with `--json`.
    pub(crate) fn candor(&self, arguments: &[&str]) -> Ran {
        process::run(&self.state, arguments)
    }

    /// A client of the chain, of the caller's runtime.
    pub(crate) async fn client(&self) -> ChainClient {
        ChainClient::connect(&self.rpc(), None).await.unwrap()
    }

    /// Units of the test token.
    pub(crate) async fn balance(&self, who: &Address) -> Amount {
        self.client().await.token_balance(&self.token(), who).await.unwrap()
    }

    /// Transfers of the test token from this account, by amount.
    pub(crate) async fn transfers_from(&self, who: &Address) -> Vec<u128> {
        let topic = keccak256(&[b"Transfer(address,address,uint256)"]);
        let from = Hash32(std::array::from_fn(|at| at.checked_sub(12).map_or(0, |at| who.0[at])));
        let filter = json!({"fromBlock": "0x0", "toBlock": "latest", "address": self.token().to_string(), "topics": [topic.to_string(), from.to_string()]});
        let logs = http::rpc(&self.rpc(), "eth_getLogs", json!([filter])).await;
        let amount = |log: &Value| u128::from_str_radix(log["data"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
        logs.as_array().unwrap().iter().map(amount).collect()
    }

    /// Sends a transaction of the faucet; one at a time, because they share an account.
    pub(crate) async fn send(&self, to: &Address, calldata: &[u8]) -> bool {
        static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let _turn = ONE_AT_A_TIME.lock().await;
        let signer = Signer::from_bytes(&dev_accounts::ALL[FAUCET].private_key.0).unwrap();
        self.client().await.send_and_wait(&signer, Some(to), calldata).await.unwrap().is_success
    }

    /// Gives test tokens.
    pub(crate) async fn mint(&self, to: &Address, units: u128) {
        assert!(self.send(&self.token(), &mint_calldata(to, Amount(units))).await);
    }

    /// A bundle from one `candor ask`, made once per world.
    pub(crate) fn bundle(&self) -> &Path {
        self.asked.get_or_init(|| {
            let path = self.state.join("asked.candor");
            let ran = self.candor(&["ask", "Who are you?", "--rpc", &self.rpc(), "--bundle", path.to_str().unwrap(), "--max-tokens", "16"]);
            assert_eq!(ran.code, 0, "{ran:?}");
            path
        })
    }

    /// Directory of the node's published log.
    pub(crate) fn log_directory(&self, log_id: &str) -> PathBuf {
        self.state.join("node/host/log").join(log_id.trim_start_matches("0x"))
    }

    /// `candor log check` of a log by the keys that the registry shows for it.
    pub(crate) fn check_log(&self, log_id: &str) -> Ran {
        let listed = self.candor(&["registry", "list", "--rpc", &self.rpc()]);
        let row = listed.json.as_array().unwrap().iter().find(|row| row["log_id"] == *log_id).unwrap_or_else(|| panic!("{listed:?}"));
        let keys = [row["k_sig"].as_str().unwrap(), row["k_log"].as_str().unwrap()];
        let directory = self.log_directory(log_id);
        self.candor(&["log", "check", directory.to_str().unwrap(), "--k-sig", keys[0], "--k-log", keys[1]])
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.node.end();
        self.chain.end();
        // Kept after a failure: it holds what the processes said.
        if !std::thread::panicking() {
            drop(std::fs::remove_dir_all(&self.state));
            drop(self.model.as_ref().map(std::fs::remove_dir_all));
        }
    }
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    /// Its last line of standard output as JSON, null if that is none.
    pub(crate) json: Value,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(output: &Output) -> Self {
        let stdout = String::from_utf8_lossy(&output.stdout);
        let json = stdout.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
        Self { code: output.status.code().unwrap_or(-1), json, stderr: String::from_utf8_lossy(&output.stderr).into_owned() }
    }
}

/// Gives a new state the software hypervisor of the world's: a state of the same version, under the same root.
pub(crate) fn take_hypervisor(world: &World, state: &Path) {
    copy_directory(&world.state.join("tee"), &state.join("tee"));
    std::fs::copy(world.state.join("VERSION"), state.join("VERSION")).unwrap();
}

pub(crate) fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Tries until it is so. Panics with `what` if it never is.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut attempt: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
