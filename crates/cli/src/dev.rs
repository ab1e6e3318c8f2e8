//! The cast of a development set-up: who holds which well-known key, and where state lies.
//!
//! Every key here is public (the "test test … junk" mnemonic). They exist so that the first command needs no set-up, and they are used
//! on development and test chains only: `devtee` refuses to attest for any other chain.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use candor_chain::{DeployConfig, Deployment, Signer};
use candor_client::{PolicyFile, SpendBook, Wallet, private_directory};
use candor_devchain::dev_accounts;
use candor_devtee::{Hypervisor, Measurements, permitted_chain};
use candor_verify::bytes::{Address, Amount, Hash32};
use candor_verify::manifest::{TeeKind, workload_id};
use candor_verify::policy::{Accept, Policy, Workloads};
use candor_verify::terms::{Asset, Chain, Classes, Model, OperatorTerms, Price, SignedTerms, storage};
use candor_verify::time::UnixMs;
use candor_x402::client::{AssetLimit, SpendPolicy};
use candor_x402::protocol::Eip155;

use crate::output::Failure;
use crate::state;

/// Where `candor chain` listens unless told otherwise.
pub(crate) const RPC_URL: &str = "http://127.0.0.1:8545";

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

impl Role {
    /// The key of a role.
    pub(crate) fn signer(self) -> Signer {
        let account = &dev_accounts::ALL[self as usize];
        Signer::from_bytes(&account.private_key.0).expect("the well-known keys are valid")
    }

    /// The address of a role.
    pub(crate) fn address(self) -> Address {
        self.signer().address()
    }
}

/// The funded development wallet.
pub(crate) fn wallet() -> Wallet {
    Wallet::from_bytes(&Role::Payer.signer().to_bytes()).expect("the well-known keys are valid")
}

/// One attestor, whom everybody knows, and play money.
pub(crate) fn deploy_config() -> DeployConfig {
    DeployConfig { attestors: vec![Role::Attestor.address()], threshold: 1, with_play_money: true }
}

/// Where the contracts of a development chain are.
pub(crate) fn deployment(chain_id: u64) -> Deployment {
    // Hashes all the creation code: once is enough.
    static SOMEWHERE: LazyLock<Deployment> = LazyLock::new(|| {
        Deployment::of(candor_devchain::DEFAULT_CHAIN_ID, &deploy_config()).expect("the artifacts of this build are whole")
    });
    let mut deployment = *SOMEWHERE;
    deployment.chain_id = chain_id;
    deployment
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
    Ok(SpendBook::open(&state.join("spends.json"))?)
}

/// The software hypervisor of this state directory. SIMULATED.
pub(crate) fn hypervisor(state: &Path) -> Result<Hypervisor, Failure> {
    make_state(state)?;
    Hypervisor::open_or_create(&state.join("tee")).map_err(|error| Failure::cannot(error.to_string()))
}

/// What the software hypervisor measures: the bytes of this very program.
pub(crate) fn measurements() -> Result<Measurements, Failure> {
    let path = std::env::current_exe().map_err(|error| Failure::cannot(format!("no path to this program: {error}")))?;
    // Not read as a whole: it is large, and `serve`, which measures it more than once, would keep its size in memory as long as it runs.
    let measured = std::fs::File::open(&path).and_then(Measurements::of_reader);
    measured.map_err(|error| Failure::cannot(format!("{}: {error}", path.display())))
}

/// The workload of this very program under this state's software hypervisor.
pub(crate) fn workload(state: &Path) -> Result<Hash32, Failure> {
    let root = hypervisor(state)?.trust_root();
    Ok(workload_id(TeeKind::Nitro, &Hash32(root.fingerprint), &measurements()?.concatenated()))
}

/// A policy that accepts this program, measured by this state's software hypervisor, and small payments in the test token. For no chain
/// on which anything has value: SIMULATED evidence vouches for nothing there.
pub(crate) fn policy(state: &Path, chain_id: u64) -> Result<PolicyFile, Failure> {
    permitted_chain(chain_id).map(drop).map_err(|error| Failure::cannot(format!("no policy that accepts SIMULATED evidence: {error}")))?;
    let root = hypervisor(state)?.trust_root();
    let workload = workload(state)?;
    let deployment = deployment(chain_id);
    let policy = Policy {
        roots: vec![root],
        workloads: Workloads::Only(vec![workload]),
        operators: Accept::Only(vec![Role::Operator.address()]),
        registries: Accept::Only(vec![(chain_id, deployment.registry)]),
        ..Policy::default()
    };
    let limit = AssetLimit {
        network: Eip155(chain_id),
        asset: deployment.test_usd,
        max_per_request: Amount(10_000),
        max_per_day: Amount(1_000_000),
    };
    Ok(PolicyFile::new(policy, SpendPolicy { assets: vec![limit] }))
}

/// Operator terms for one model on a development chain, signed by the development operator.
pub(crate) fn terms(chain_id: u64, models: Vec<Model>, endpoints: Vec<String>, not_after: UnixMs) -> Result<SignedTerms, Failure> {
    let deployment = deployment(chain_id);
    let ceiling = Classes { input: Amount(1_000_000), output: Amount(3_000_000), request: Amount(100), ..Classes::default() };
    let prices = models.iter().map(|model| Price::at_most(model.digest, chain_id, deployment.test_usd, ceiling));
    let terms = OperatorTerms {
        operator: Role::Operator.address(),
        payee: Role::Payee.address(),
        registrar: Role::Registrar.address(),
        registry: deployment.registry,
        anchor_chain_id: chain_id,
        not_after,
        flags: 0,
        storage: storage::KEEPS_ANSWERS,
        chains: vec![Chain { chain_id, registry: deployment.registry, ..Chain::default() }],
        assets: vec![Asset { chain_id, asset: deployment.test_usd, name: "USDC".into(), version: "2".into(), decimals: 6 }],
        prices: prices.collect(),
        models,
        endpoints,
        ..OperatorTerms::default()
    };
    let signature = Role::Operator.signer().sign_digest(&terms.digest())?;
    Ok(SignedTerms { terms, signature })
}

/// Amount of the test token for people: six decimals.
pub(crate) fn usd(amount: Amount) -> String {
    format!("{}.{:06} USDC", amount.0 / 1_000_000, amount.0 % 1_000_000)
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
