//! The policy file of a client: what counts as verified, what may be spent, and where to look for nodes.
//!
//! Its text is `candor-report`'s, which knows the fields and their errors; here it becomes a file and a budget of `candor-x402`.

use std::path::Path;

use candor_report::{PolicyText, SpendLimit};
use candor_verify::bytes::{Address, Hash32};
use candor_verify::policy::Policy;
use candor_x402::client::{AssetLimit, SpendPolicy};
use candor_x402::protocol::Eip155;

use crate::error::ClientError;
use crate::files::{file_error, read_text};

/// A policy file: what counts as verified, and what may be spent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PolicyFile {
    /// For verdicts.
    pub policy: Policy,
    /// For payments.
    pub spend: SpendPolicy,
    /// Where to look for nodes: chain id and registry address.
    pub registry: Option<(u64, Address)>,
    /// Listed ids under which they are looked for there; none: among all that accepted operators registered.
    pub find: Vec<Hash32>,
}

impl PolicyFile {
    /// Largest file that is read, in bytes: thousands of operators and models.
    pub const BYTES_MAX: u64 = 1 << 20;

    /// Reads a policy file.
    ///
    /// # Errors
    /// `File`, naming the field, or the limit.
    pub fn read(path: &Path) -> Result<Self, ClientError> {
        let text = read_text(path, Self::BYTES_MAX)?;
        PolicyText::parse(&text).map(Self::from).map_err(|error| file_error(path, &error))
    }

    /// A policy file from its parts.
    #[must_use]
    pub fn new(policy: Policy, spend: SpendPolicy) -> Self {
        let registry = policy.registries.named().first().copied();
        Self { policy, spend, registry, find: Vec::new() }
    }
}

impl From<PolicyText> for PolicyFile {
    fn from(text: PolicyText) -> Self {
        let assets = text.spend.into_iter().map(|limit| AssetLimit {
            network: Eip155(limit.chain_id),
            asset: limit.asset,
            max_per_request: limit.max_per_request,
            max_per_day: limit.max_per_day,
            max_unresolved: limit.max_unresolved,
        });
        Self { find: text.find, ..Self::new(text.policy, SpendPolicy { assets: assets.collect() }) }
    }
}

/// The text of a new policy file, commented; the values are the caller's.
#[must_use]
pub fn template(file: &PolicyFile) -> String {
    let limits = file.spend.assets.iter().map(|limit| SpendLimit {
        chain_id: limit.network.0,
        asset: limit.asset,
        max_per_request: limit.max_per_request,
        max_per_day: limit.max_per_day,
        max_unresolved: limit.max_unresolved,
    });
    PolicyText { policy: file.policy.clone(), spend: limits.collect(), find: file.find.clone() }.to_toml()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candor_verify::bytes::Amount;
    use candor_verify::policy::Accept;

    #[test]
    fn a_file_that_no_policy_is_as_long_as_is_refused_with_the_limit() {
        let path = std::env::temp_dir().join(format!("candor-policy-{}", std::process::id()));
        std::fs::write(&path, vec![b'#'; usize::try_from(PolicyFile::BYTES_MAX).unwrap() + 1]).unwrap();
        let refused = PolicyFile::read(&path).unwrap_err().to_string();
        assert!(refused.contains("expected at most 1048576 bytes"), "{refused}");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_budget_and_the_first_registry_come_back_from_a_file() {
        let policy = Policy { registries: Accept::Only(vec![(31337, Address([3; 20])), (1, Address([4; 20]))]), ..Policy::default() };
        let limit = AssetLimit {
            network: Eip155(31337),
            asset: Address([5; 20]),
            max_per_request: Amount(10),
            max_per_day: Amount(100),
            max_unresolved: 3,
        };
        let file = PolicyFile { find: vec![Hash32([7; 32])], ..PolicyFile::new(policy, SpendPolicy { assets: vec![limit] }) };
        let read = PolicyFile::from(PolicyText::parse(&template(&file)).unwrap());
        assert_eq!((read.policy, read.spend, read.find), (file.policy, file.spend, file.find));
        assert_eq!(read.registry, Some((31337, Address([3; 20]))));
    }
}
