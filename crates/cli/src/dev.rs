//! The cast of a development set-up: who holds which well-known key, and where state lies.
//!
//! Every key here is public (the "test test … junk" mnemonic). They exist so that the first command needs no set-up.
//! - **Invariant:** they are used on the development chain (31337) and nowhere else: only a [`Development`] gives one. What nodes need on
//!   other chains is in `keys.rs`.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use candor_chain::{DeployConfig, Signer};
use candor_client::{PolicyFile, SpendBook, Wallet, private_directory};
use candor_devchain::dev_accounts;
use candor_devtee::{Hypervisor, Measurements, permitted_chain};
use candor_verify::attest::TrustRoot;
use candor_verify::bytes::{Address, Amount, Hash32};
use candor_verify::manifest::{TeeKind, workload_id};
use candor_verify::policy::{Accept, Policy, Workloads};
use candor_verify::time::UnixMs;
use candor_x402::client::{AssetLimit, SpendPolicy};
use candor_x402::protocol::Eip155;

use crate::deployment::Deployed;
use crate::output::Failure;
use crate::state;

/// The client's database in a state directory: book of payments and index of bundles.
pub(crate) const DATABASE: &str = "client.db";

/// Where `candor chain` listens unless told otherwise.
pub(crate) const RPC_URL: &str = "http://127.0.0.1:8545";

/// The fact that a chain is the development chain. Whoever has it may use keys that everybody knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Development(());

/// Roles, by index of the well-known accounts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    Deployer = 0,
    Operator = 1,
    Payee = 2,
    Registrar = 3,
    Payer = 4,
    Attestor = 5,
    Faucet = 6,
    Gas = 7,
    Anchor = 8,
}

impl Development {
    /// `None` on every other chain, test networks included: what is settled there is anybody's to look at, and to take.
    pub(crate) fn of(chain_id: u64) -> Option<Self> {
        (chain_id == candor_devchain::DEFAULT_CHAIN_ID).then_some(Self(()))
    }

    /// The key of a role.
    pub(crate) fn signer(self, role: Role) -> Signer {
        let account = &dev_accounts::ALL[role as usize];
        Signer::from_bytes(&account.private_key.0).expect("the well-known keys are valid")
    }

    /// The address of a role.
    pub(crate) fn address(self, role: Role) -> Address {
        self.signer(role).address()
    }

    /// The funded development wallet.
    pub(crate) fn wallet(self) -> Wallet {
        Wallet::from_bytes(&self.signer(Role::Payer).to_bytes()).expect("the well-known keys are valid")
    }

    /// The contracts: one attestor, whom everybody knows, and play money.
    pub(crate) fn deployed(self) -> &'static Deployed {
        // Hashes all the creation code: once is enough.
        static DEPLOYED: LazyLock<Deployed> = LazyLock::new(|| {
            let attestors = vec![Development(()).address(Role::Attestor)];
            let config = DeployConfig { attestors, threshold: 1, with_play_money: true };
            Deployed::of(candor_devchain::DEFAULT_CHAIN_ID, config).expect("the artifacts of this build are whole")
        });
        &DEPLOYED
    }
}

/// `~/.candor`.
pub(crate) fn default_state() -> Result<PathBuf, Failure> {
    let home = std::env::var_os("HOME").ok_or_else(|| Failure::cannot("HOME is not set; say where state lies with --state DIR"))?;
    Ok(Path::new(&home).join(".candor"))
}

/// The directory where state lies, made if it is not there: for its owner only, and of this program's version.
pub(crate) fn make_state(directory: &Path) -> Result<(), Failure> {
    private_directory(directory).map_err(|error| Failure::cannot(format!("{error}; say where state may lie with --state DIR")))?;
    state::mark(directory)
}

/// The book of payments of this state directory.
pub(crate) fn book(state: &Path) -> Result<SpendBook, Failure> {
    make_state(state)?;
    Ok(SpendBook::open(&state.join(DATABASE))?)
}

/// Where the software hypervisor of this state directory lies. SIMULATED.
pub(crate) fn tee(state: &Path) -> PathBuf {
    state.join("tee")
}

fn open_hypervisor(tee: &Path) -> Result<Hypervisor, Failure> {
    Hypervisor::open_or_create(tee).map_err(|error| Failure::cannot(error.to_string()))
}

/// What the software hypervisor measures: the bytes of this very program.
pub(crate) fn measurements() -> Result<Measurements, Failure> {
    measurements_of(&this_program()?)
}

/// The path of this very program.
pub(crate) fn this_program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|error| Failure::cannot(format!("no path to this program: {error}")))
}

fn measurements_of(path: &Path) -> Result<Measurements, Failure> {
    // Not read as a whole: it is large, and `serve`, which measures it more than once, would keep its size in memory as long as it runs.
    let measured = std::fs::File::open(path).and_then(Measurements::of_reader);
    measured.map_err(|error| Failure::cannot(format!("{}: {error}", path.display())))
}

/// The workload of this very program under this state's software hypervisor; `None` if it has none: whoever only looks makes none.
pub(crate) fn workload(state: &Path) -> Option<Hash32> {
    let tee = tee(state);
    let hypervisor = tee.is_dir().then(|| open_hypervisor(&tee).ok())??;
    workload_under(&hypervisor.trust_root(), &this_program().ok()?).ok()
}

fn workload_under(root: &TrustRoot, program: &Path) -> Result<Hash32, Failure> {
    Ok(workload_id(TeeKind::Nitro, &Hash32(root.fingerprint), &measurements_of(program)?.concatenated()))
}

/// SIMULATED evidence vouches for nothing where anything has value.
pub(crate) fn check_simulated(chain_id: u64) -> Result<(), Failure> {
    permitted_chain(chain_id).map(drop).map_err(|error| Failure::cannot(format!("no policy that accepts SIMULATED evidence: {error}")))
}

/// A policy that accepts this program, measured by this state's software hypervisor, and small payments in the test token, where there is
/// one. For no chain on which anything has value: SIMULATED evidence vouches for nothing there.
pub(crate) fn policy(tee: &Path, deployed: &Deployed, operator: Address) -> Result<PolicyFile, Failure> {
    policy_for(&this_program()?, tee, deployed, operator)
}

/// The same that accepts another program.
pub(crate) fn policy_for(program: &Path, tee: &Path, deployed: &Deployed, operator: Address) -> Result<PolicyFile, Failure> {
    let deployment = &deployed.addresses;
    let chain_id = deployment.chain_id;
    check_simulated(chain_id)?;
    let root = open_hypervisor(tee)?.trust_root();
    let workload = workload_under(&root, program)?;
    let policy = Policy {
        roots: vec![root],
        workloads: Workloads::Only(vec![workload]),
        operators: Accept::Only(vec![operator]),
        registries: Accept::Only(vec![(chain_id, deployment.registry)]),
        ..Policy::default()
    };
    Ok(PolicyFile::new(policy, budget(deployed)))
}

/// Small payments in the test token, where there is one.
pub(crate) fn budget(deployed: &Deployed) -> SpendPolicy {
    let Deployed { addresses: deployment, config } = deployed;
    let limit = AssetLimit {
        network: Eip155(deployment.chain_id),
        asset: deployment.test_usd,
        max_per_request: Amount(10_000),
        max_per_day: Amount(1_000_000),
        max_unresolved: candor_verify::payment::MAX_UNRESOLVED,
    };
    SpendPolicy { assets: config.with_play_money.then_some(limit).into_iter().collect() }
}

/// Amount of the test token for people.
pub(crate) fn usd(amount: Amount) -> String {
    format!("{} USDC", candor_report::decimal_text(amount, 6))
}

/// Now.
pub(crate) fn now() -> UnixMs {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    UnixMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The model that `serve` offers unless told otherwise: small, trained by tools/train to answer questions about Candor.
pub(crate) fn built_in_model() -> Vec<u8> {
    include_bytes!("../../engine/models/candor-mini-1.cnd1").to_vec()
}
