//! On which chains SIMULATED evidence may be used: those where nothing has value.

use crate::error::DevteeError;

/// The development chain (31337) and public testnets: Base Sepolia, Sepolia, Polygon Amoy, Avalanche
/// Fuji, Arbitrum Sepolia, OP Sepolia.
pub const PERMITTED_CHAINS: &[u64] = &[31_337, 84_532, 11_155_111, 80_002, 43_113, 421_614, 11_155_420];

/// The fact that a chain is one of [`PERMITTED_CHAINS`]. Only [`permitted_chain`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct PermittedChain(u64);

impl PermittedChain {
    /// The EIP-155 chain id.
    #[must_use]
    pub fn chain_id(self) -> u64 {
        self.0
    }
}

/// Whether SIMULATED evidence may be made for a node that settles on this chain.
///
/// # Errors
///
/// [`DevteeError::ForbiddenChain`] for every other chain, mainnets among them.
///
/// # Examples
///
/// ```
/// use candor_devtee::permitted_chain;
///
/// assert_eq!(permitted_chain(31_337)?.chain_id(), 31_337);
/// assert!(permitted_chain(1).is_err());
/// # Ok::<(), candor_devtee::DevteeError>(())
/// ```
pub fn permitted_chain(chain_id: u64) -> Result<PermittedChain, DevteeError> {
    if PERMITTED_CHAINS.contains(&chain_id) { Ok(PermittedChain(chain_id)) } else { Err(DevteeError::ForbiddenChain { chain_id }) }
}
