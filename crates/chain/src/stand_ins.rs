//! Contracts of others that payments and libraries look for at fixed addresses, as development chains have them: with code of ours.
//!
//! Public chains have the deployed ones, and nothing here is for them. Who makes a development chain places these in its first block; the
//! code has no constructor and keeps nothing from before. What each does not do is in the NatSpec of its source (contracts/src/dev/).
//!
//! Not here: the chain (`candor-devchain`, which knows nothing of us); `TestUSD`, which is deployed like our own contracts (`deploy.rs`).

use candor_verify::Address;
use candor_verify::scheme::{PERMIT2, UPTO_PROXY};

use crate::bindings::Artifact;
use crate::deploy::{DeployError, EXACT_PROXY, MULTICALL3};

/// A contract of ours in the place of somebody else's.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: what a chain is told to place, and what it is called")]
pub struct StandIn {
    /// Name of the contract that it stands in for.
    pub name: &'static str,
    /// Where that one is on other chains.
    pub address: Address,
    /// Runtime code.
    pub code: Vec<u8>,
}

/// What a development chain has from its first block on: Permit2, x402's two proxies for it, Multicall3.
///
/// # Errors
/// `BrokenArtifact`.
pub fn stand_ins() -> Result<[StandIn; 4], DeployError> {
    Ok([
        stand_in("Permit2", PERMIT2, Artifact::DevPermit2)?,
        stand_in("x402ExactPermit2Proxy", EXACT_PROXY, Artifact::DevExactProxy)?,
        stand_in("x402UptoPermit2Proxy", UPTO_PROXY, Artifact::DevUptoProxy)?,
        stand_in("Multicall3", MULTICALL3, Artifact::DevMulticall3)?,
    ])
}

fn stand_in(name: &'static str, address: Address, artifact: Artifact) -> Result<StandIn, DeployError> {
    let code = artifact.runtime_code().ok_or(DeployError::BrokenArtifact { name: artifact.name() })?;
    Ok(StandIn { name, address, code: code.into() })
}
