//! Every contract, deployed by one key in one fixed order, so that addresses follow from the key and nobody needs flags.
//!
//! For development chains. `CREATE` addresses depend on the deployer and its nonce only: [`Deployment::of`] knows them before, and
//! [`Deployment::deploy`] finds a chain that has them already. On public networks the terms' addresses are given instead.

use alloy::primitives::U256;
use alloy::sol_types::SolConstructor;
use candor_verify::Address;

use crate::bindings::{Artifact, CandorRegistry, QuorumVerifier};
use crate::client::{ChainClient, NonceAt};
use crate::convert::{address, evm_address};
use crate::error::ChainError;
use crate::submit::Signer;

/// Addresses of one deployment on one chain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Deployment {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// `TestUSD`.
    pub test_usd: Address,
    /// `QuorumVerifier`.
    pub quorum_verifier: Address,
    /// `WorkloadPolicy`.
    pub workload_policy: Address,
    /// `CandorRegistry`.
    pub registry: Address,
}

/// What a deployment needs to be told.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: constructor arguments that are not addresses of this deployment")]
pub struct DeployConfig {
    /// Attestors of the quorum kind, in any order.
    pub attestors: Vec<Address>,
    /// How many of them must sign.
    pub threshold: u64,
}

/// Why contracts were not deployed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DeployError {
    /// The chain refused or could not be reached.
    Chain(ChainError),
    /// The deployer has sent other transactions, so the contracts would be elsewhere. Take a fresh key or a fresh chain.
    DeployerUsed {
        /// Transactions it has sent.
        nonce: u64,
    },
    /// This program was built with a file under contracts/artifacts that is no artifact.
    BrokenArtifact {
        /// Which.
        name: &'static str,
    },
    /// A contract came to another address than expected.
    WrongAddress {
        /// Where it should be.
        expected: Address,
        /// Where it is.
        got: Option<Address>,
    },
}

impl std::fmt::Display for DeployError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Chain(error) => write!(f, "deploy: {error}"),
            Self::DeployerUsed { nonce } => write!(f, "deploy: the deployer has sent {nonce} transactions already; addresses would differ"),
            Self::BrokenArtifact { name } => write!(f, "deploy: contracts/artifacts/{name}.json is no artifact"),
            Self::WrongAddress { expected, got: Some(got) } => write!(f, "deploy: a contract should be at {expected}, is at {got}"),
            Self::WrongAddress { expected, got: None } => write!(f, "deploy: a contract should be at {expected}, was not created"),
        }
    }
}

impl std::error::Error for DeployError {}

impl From<ChainError> for DeployError {
    fn from(error: ChainError) -> Self {
        Self::Chain(error)
    }
}

/// Transactions of a deployment.
const STEPS: u64 = 4;

impl Deployment {
    /// Where the contracts of a deployer are, whether deployed yet or not.
    #[must_use]
    pub fn of(chain_id: u64, deployer: &Address) -> Self {
        let at = |nonce| address(evm_address(deployer).create(nonce));
        Self { chain_id, test_usd: at(0), quorum_verifier: at(1), workload_policy: at(2), registry: at(3) }
    }

    /// Deploys what is not there yet.
    ///
    /// # Errors
    /// [`DeployError`]. A run that was interrupted goes on where it stopped.
    pub async fn deploy(client: &ChainClient, deployer: &Signer, config: &DeployConfig) -> Result<Self, DeployError> {
        let deployment = Self::of(client.chain_id(), &deployer.address());
        let nonce = client.nonce(&deployer.address(), NonceAt::Pending).await?;
        for (step, (expected, artifact, arguments)) in (0..STEPS).zip(deployment.creations(config)) {
            if step < nonce {
                if !client.has_code(&expected).await? {
                    return Err(DeployError::DeployerUsed { nonce });
                }
                continue;
            }
            let code = artifact.creation_code().ok_or(DeployError::BrokenArtifact { name: artifact.name() })?;
            let got = client.send_and_wait(deployer, None, &[&code[..], &arguments].concat()).await?.contract;
            if got != Some(expected) {
                return Err(DeployError::WrongAddress { expected, got });
            }
        }
        Ok(deployment)
    }

    /// Contracts with their constructor arguments, in the order of nonces.
    fn creations(&self, config: &DeployConfig) -> [(Address, Artifact, Vec<u8>); 4] {
        let mut members: Vec<_> = config.attestors.iter().map(evm_address).collect();
        members.sort_unstable();
        let quorum = QuorumVerifier::constructorCall { threshold_: U256::from(config.threshold), sortedMembers: members };
        let registry = CandorRegistry::constructorCall { policies_: evm_address(&self.workload_policy) };
        [
            (self.test_usd, Artifact::TestUsd, Vec::new()),
            (self.quorum_verifier, Artifact::QuorumVerifier, quorum.abi_encode()),
            (self.workload_policy, Artifact::WorkloadPolicy, Vec::new()),
            (self.registry, Artifact::CandorRegistry, registry.abi_encode()),
        ]
    }
}
