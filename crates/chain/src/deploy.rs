//! Every contract at an address that its own code says: CREATE2 through the deterministic deployer, salt zero. So the same contracts are at the
//! same addresses on every chain, whoever sends the transactions, and code at such an address is that code.
//!
//! An address depends on the creation code and its constructor arguments (attestors, threshold, other addresses) and on nothing else:
//! [`Deployment::of`] asks no chain. [`Deployment::deploy`] sends what is not there yet, and goes on where a run was interrupted.

use alloy::primitives::{B256, U256};
use alloy::sol_types::SolConstructor;
use candor_verify::hash::keccak256;
use candor_verify::scheme::UPTO_PROXY;
use candor_verify::{Address, Hash32};

use crate::bindings::{Artifact, CandorRegistry, QuorumVerifier, SettlerFactory};
use crate::client::ChainClient;
use crate::convert::{address, evm_address};
use crate::error::ChainError;
use crate::submit::Signer;

/// The deterministic deployer, at one address on nearly every chain: calldata is a salt and creation code.
/// Source: github.com/Arachnid/deterministic-deployment-proxy.
pub const DETERMINISTIC_DEPLOYER: Address = address_of("4e59b44847b379578588920ca78fbf26c0b4956c");

/// The canonical `x402ExactPermit2Proxy` (facts of x402 v2).
pub const EXACT_PROXY: Address = address_of("402085c248eea27d92e8b30b2c58ed07f9e20001");

/// Multicall3, at one address on nearly every chain.
pub const MULTICALL3: Address = address_of("ca11bde05977b3631167028862be2a173976ca11");

const fn address_of(hex: &str) -> Address {
    const fn digit(byte: u8) -> u8 {
        match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => panic!("a hex digit"),
        }
    }
    let (hex, mut out, mut at) = (hex.as_bytes(), [0; 20], 0);
    while at < 20 {
        out[at] = digit(hex[2 * at]) << 4 | digit(hex[2 * at + 1]);
        at += 1;
    }
    Address(out)
}

/// Addresses of one deployment on one chain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Deployment {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// `TestUSD`, play money: on development chains only.
    pub test_usd: Address,
    /// `QuorumVerifier`.
    pub quorum_verifier: Address,
    /// `WorkloadPolicy`.
    pub workload_policy: Address,
    /// `CandorRegistry`.
    pub registry: Address,
    /// `ForwarderFactory`.
    pub forwarder_factory: Address,
    /// `AuthorizerFactory`.
    pub authorizer_factory: Address,
    /// `SettlerFactory`: only on chains that have [`UPTO_PROXY`].
    pub settler_factory: Address,
    /// The proxy that its settlers call, and payers sign for: [`UPTO_PROXY`], where the chain has it.
    pub upto_proxy: Address,
}

/// What a deployment needs to be told.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: what is no address of this deployment")]
pub struct DeployConfig {
    /// Attestors of the quorum kind, in any order.
    pub attestors: Vec<Address>,
    /// How many of them must sign.
    pub threshold: u64,
    /// Whether `TestUSD` is deployed too.
    pub with_play_money: bool,
}

/// One contract of a deployment.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: what decides its address, and what a chain has there")]
pub struct Piece {
    /// Name of the contract.
    pub name: &'static str,
    /// Where it is on every chain.
    pub address: Address,
    /// keccak256 of creation code and constructor arguments.
    pub init_code_hash: Hash32,
    /// keccak256 of the code that the chain has there; `None` if it has none.
    pub code_hash: Option<Hash32>,
}

/// Why contracts were not deployed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DeployError {
    /// The chain refused or could not be reached.
    Chain(ChainError),
    /// The chain has no deterministic deployer. Anyone can put it there with its one presigned transaction.
    NoDeployer,
    /// This program was built with a file under contracts/artifacts that is no artifact.
    BrokenArtifact {
        /// Which.
        name: &'static str,
    },
    /// The deployer took the transaction and there is no contract.
    NotCreated {
        /// Which.
        name: &'static str,
        /// Where it should be.
        expected: Address,
    },
}

impl std::fmt::Display for DeployError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Chain(error) => write!(f, "deploy: {error}"),
            Self::NoDeployer => {
                let how = "send its presigned transaction first (github.com/Arachnid/deterministic-deployment-proxy)";
                write!(f, "deploy: this chain has no deterministic deployer at {DETERMINISTIC_DEPLOYER}; {how}")
            }
            Self::BrokenArtifact { name } => write!(f, "deploy: contracts/artifacts/{name}.json is no artifact"),
            Self::NotCreated { name, expected } => write!(f, "deploy: {name} should be at {expected}, and is not"),
        }
    }
}

impl std::error::Error for DeployError {}

impl From<ChainError> for DeployError {
    fn from(error: ChainError) -> Self {
        Self::Chain(error)
    }
}

/// Creation code with arguments, and where it comes to.
struct Creation {
    artifact: Artifact,
    init_code: Vec<u8>,
    address: Address,
}

impl Creation {
    fn new(artifact: Artifact, arguments: &[u8]) -> Result<Self, DeployError> {
        let code = artifact.creation_code().ok_or(DeployError::BrokenArtifact { name: artifact.name() })?;
        let init_code = [&code[..], arguments].concat();
        let at = evm_address(&DETERMINISTIC_DEPLOYER).create2(B256::ZERO, keccak256(&[&init_code]).0);
        Ok(Self { artifact, init_code, address: address(at) })
    }
}

/// The contracts in the order in which they are deployed, and their addresses.
struct Plan {
    deployment: Deployment,
    creations: Vec<Creation>,
}

impl Plan {
    fn of(chain_id: u64, config: &DeployConfig) -> Result<Self, DeployError> {
        let mut members: Vec<_> = config.attestors.iter().map(evm_address).collect();
        members.sort_unstable();
        let quorum = QuorumVerifier::constructorCall { threshold_: U256::from(config.threshold), sortedMembers: members };
        let test_usd = Creation::new(Artifact::TestUsd, &[])?;
        let quorum = Creation::new(Artifact::QuorumVerifier, &quorum.abi_encode())?;
        let policy = Creation::new(Artifact::WorkloadPolicy, &[])?;
        let registry = CandorRegistry::constructorCall { policies_: evm_address(&policy.address) };
        let registry = Creation::new(Artifact::CandorRegistry, &registry.abi_encode())?;
        let forwarders = Creation::new(Artifact::ForwarderFactory, &[])?;
        let authorizers = Creation::new(Artifact::AuthorizerFactory, &[])?;
        let settlers = SettlerFactory::constructorCall { proxy: evm_address(&UPTO_PROXY) };
        let settlers = Creation::new(Artifact::SettlerFactory, &settlers.abi_encode())?;
        let deployment = Deployment {
            chain_id,
            test_usd: test_usd.address,
            quorum_verifier: quorum.address,
            workload_policy: policy.address,
            registry: registry.address,
            forwarder_factory: forwarders.address,
            authorizer_factory: authorizers.address,
            settler_factory: settlers.address,
            upto_proxy: UPTO_PROXY,
        };
        let money = config.with_play_money.then_some(test_usd);
        let creations = money.into_iter().chain([quorum, policy, registry, forwarders, authorizers, settlers]).collect();
        Ok(Self { deployment, creations })
    }
}

impl Deployment {
    /// Where the contracts are, whether deployed yet or not.
    ///
    /// # Errors
    /// `BrokenArtifact`.
    pub fn of(chain_id: u64, config: &DeployConfig) -> Result<Self, DeployError> {
        Ok(Plan::of(chain_id, config)?.deployment)
    }

    /// Deploys what is not there yet. The settlers' factory only where the chain has the contract that it is for.
    ///
    /// # Errors
    /// [`DeployError`]. A run that was interrupted goes on where it stopped.
    pub async fn deploy(client: &ChainClient, payer: &Signer, config: &DeployConfig) -> Result<Self, DeployError> {
        let plan = Plan::of(client.chain_id(), config)?;
        for Creation { artifact, init_code, address } in &plan.creations {
            if client.has_code(address).await? {
                continue;
            }
            if *artifact == Artifact::SettlerFactory && !client.has_code(&UPTO_PROXY).await? {
                continue;
            }
            if !client.has_code(&DETERMINISTIC_DEPLOYER).await? {
                return Err(DeployError::NoDeployer);
            }
            client.send_and_wait(payer, Some(&DETERMINISTIC_DEPLOYER), &[&[0; 32][..], init_code].concat()).await?;
            if !client.has_code(address).await? {
                return Err(DeployError::NotCreated { name: artifact.name(), expected: *address });
            }
        }
        Ok(plan.deployment)
    }

    /// The contracts in the order of deployment, without asking any chain: `code_hash` is `None` in each.
    ///
    /// # Errors
    /// `BrokenArtifact`.
    pub fn planned(config: &DeployConfig) -> Result<Vec<Piece>, DeployError> {
        let piece = |Creation { artifact, init_code, address }: Creation| Piece {
            name: artifact.name(),
            address,
            init_code_hash: keccak256(&[&init_code]),
            code_hash: None,
        };
        // No address follows from the chain.
        Ok(Plan::of(0, config)?.creations.into_iter().map(piece).collect())
    }

    /// What the chain has of each contract, in the order of deployment.
    ///
    /// # Errors
    /// As [`Self::deploy`].
    pub async fn pieces(client: &ChainClient, config: &DeployConfig) -> Result<Vec<Piece>, DeployError> {
        let mut out = Self::planned(config)?;
        for piece in &mut out {
            piece.code_hash = client.code_hash(&piece.address).await?;
        }
        Ok(out)
    }

    /// The fixed address of `TestUSD`: its code has no arguments.
    ///
    /// # Errors
    /// `BrokenArtifact`.
    pub fn play_money() -> Result<Address, DeployError> {
        Ok(Creation::new(Artifact::TestUsd, &[])?.address)
    }
}
