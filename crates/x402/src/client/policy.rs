//! What a client may spend: which assets, how much per request and per day. Integers in the asset's smallest unit. To whom is no matter of
//! policy: only the payee of a verified offer is ever paid, and that is the attested one.

use std::fmt;

use candor_verify::bytes::{Address, Amount};

use crate::protocol::Eip155;
use crate::scheme::Requirements;

/// The limits of one asset. An asset without limits may not be spent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: any value is valid")]
pub struct AssetLimit {
    /// Chain of the token.
    pub network: Eip155,
    /// Token contract.
    pub asset: Address,
    /// Most for one request.
    pub max_per_request: Amount,
    /// Most for any 24 hours, unresolved payments included.
    pub max_per_day: Amount,
    /// Most payments that may stand unresolved once a request is paid for at another node beside one that was sent and not answered; zero or one:
    /// it is never paid for twice.
    pub max_unresolved: u32,
}

/// What a client may spend. The default may spend nothing.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: any value is valid")]
pub struct SpendPolicy {
    /// Assets that may be spent.
    pub assets: Vec<AssetLimit>,
}

/// Why requirements are outside the policy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PolicyError {
    /// The asset has no limits.
    Asset {
        /// Chain of the token.
        network: Eip155,
        /// Token contract.
        asset: Address,
    },
    /// Too much for one request.
    PerRequest {
        /// Token contract, in whose smallest unit both amounts are.
        asset: Address,
        /// Limit.
        limit: Amount,
        /// Price.
        got: Amount,
    },
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asset { network, asset } => write!(f, "the spend policy does not name asset {asset} on {network}"),
            Self::PerRequest { asset, limit, got } => {
                write!(f, "the price is {got}, the spend policy allows {limit} per request (smallest units of asset {asset})")
            }
        }
    }
}

impl std::error::Error for PolicyError {}

impl SpendPolicy {
    /// The limits under which these requirements may be paid. The day's total is the ledger's to check.
    ///
    /// # Errors
    /// See [`PolicyError`].
    pub fn check(&self, requirements: &Requirements) -> Result<AssetLimit, PolicyError> {
        let (network, asset) = (requirements.network, requirements.asset);
        let limit = self.assets.iter().find(|limit| limit.network == network && limit.asset == asset);
        let limit = limit.ok_or(PolicyError::Asset { network, asset })?;
        if limit.max_per_request < requirements.amount {
            return Err(PolicyError::PerRequest { asset, limit: limit.max_per_request, got: requirements.amount });
        }
        Ok(*limit)
    }
}
