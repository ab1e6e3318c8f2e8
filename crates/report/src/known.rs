//! `known.toml`: deployments and releases that a program suggests to whoever has no policy yet. A suggestion is shown and asked about; nothing is
//! accepted because it stands there.
//!
//! Not here: the file of this release, and what of it is true on a chain (`candor-cli`).

use std::fmt;

use candor_verify::attest::TrustRoot;
use candor_verify::bytes::{Address, Hash32};
use candor_verify::payment::MAX_UNRESOLVED;
use candor_verify::policy::{Accept, Policy, Workloads};
use serde::Deserialize;

use crate::policy::{self, PolicyText, PolicyTextError, SpendLimit};
use crate::{Decimal, DecimalError};

/// What is known.
///
/// ```
/// use candor_report::{KnownPlace, KnownText};
///
/// let text = "[[deployment]]\nname = \"development chain\"\nchain_id = 31337\nof_this_build = true";
/// let known = KnownText::parse(text).unwrap();
/// assert!(matches!(known.deployment(31337).unwrap().place, KnownPlace::OfThisBuild));
/// assert!(known.deployment(8453).is_none());
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct KnownText {
    /// At most one for each chain.
    pub deployments: Vec<KnownDeployment>,
    /// Builds whose measurements were published.
    pub releases: Vec<KnownRelease>,
}

/// A deployment of the contracts.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct KnownDeployment {
    /// What it is called.
    pub name: String,
    /// Its chain (EIP-155).
    pub chain_id: u64,
    /// What is there.
    pub place: KnownPlace,
}

/// What a deployment consists of.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: whoever suggests decides for each")]
pub enum KnownPlace {
    /// Addresses, keys and measurements follow from the program itself: a development chain.
    OfThisBuild,
    /// One that others run.
    Public {
        /// The registry.
        registry: Address,
        /// Listed ids under which its nodes are registered.
        listed: Vec<Hash32>,
        /// Operators that sell there.
        operators: Vec<Address>,
        /// What may be spent.
        spend: Vec<KnownSpend>,
    },
}

/// What is suggested to be spent of one asset.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct KnownSpend {
    /// What the asset is called.
    pub symbol: String,
    /// Digits after the point of its money.
    pub decimals: u8,
    /// In the asset's smallest unit.
    pub limit: SpendLimit,
}

/// A release: what its enclaves measure.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct KnownRelease {
    /// Its version.
    pub version: String,
    /// The root under which it is attested.
    pub root: TrustRoot,
    /// Workload ids of its images.
    pub workloads: Vec<Hash32>,
}

/// Why a text is not one.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum KnownTextError {
    /// No TOML, or a field that is unknown, missing or of another kind.
    Toml(String),
    /// A value that its field cannot have.
    Value(PolicyTextError),
    /// An amount that is none of its asset.
    Amount(DecimalError),
    /// A deployment that says neither what it consists of nor that this build does, or both; or one that names nobody.
    Place {
        /// Its name.
        name: String,
        /// What it takes.
        expected: &'static str,
    },
    /// Two deployments on one chain.
    Twice {
        /// Its id.
        chain_id: u64,
    },
}

impl fmt::Display for KnownTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Toml(message) => f.write_str(message),
            Self::Value(error) => error.fmt(f),
            Self::Amount(error) => write!(f, "deployment.spend: expected {error}, got something else"),
            Self::Place { name, expected } => write!(f, "deployment {name:?}: expected {expected}"),
            Self::Twice { chain_id } => write!(f, "deployment.chain_id: expected each chain once, got {chain_id} twice"),
        }
    }
}

impl std::error::Error for KnownTextError {}

impl From<PolicyTextError> for KnownTextError {
    fn from(error: PolicyTextError) -> Self {
        Self::Value(error)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    deployment: Vec<Deployment>,
    #[serde(default)]
    release: Vec<Release>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Deployment {
    name: String,
    chain_id: u64,
    #[serde(default)]
    of_this_build: bool,
    registry: Option<String>,
    #[serde(default)]
    listed: Vec<String>,
    #[serde(default)]
    operators: Vec<String>,
    #[serde(default)]
    spend: Vec<Spend>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spend {
    asset: String,
    symbol: String,
    decimals: u8,
    max_per_request: Decimal,
    max_per_day: Decimal,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Release {
    version: String,
    root: String,
    workloads: Vec<String>,
}

impl KnownText {
    /// Reads the text.
    ///
    /// # Errors
    /// [`KnownTextError`].
    pub fn parse(text: &str) -> Result<Self, KnownTextError> {
        let document: Document = toml::from_str(text).map_err(|error| KnownTextError::Toml(error.to_string().trim_end().to_owned()))?;
        let mut deployments: Vec<KnownDeployment> = Vec::new();
        for deployment in document.deployment {
            let chain_id = deployment.chain_id;
            if deployments.iter().any(|known| known.chain_id == chain_id) {
                return Err(KnownTextError::Twice { chain_id });
            }
            deployments.push(deployment.known()?);
        }
        Ok(Self { deployments, releases: document.release.iter().map(Release::known).collect::<Result<_, _>>()? })
    }

    /// The deployment on a chain.
    #[must_use]
    pub fn deployment(&self, chain_id: u64) -> Option<&KnownDeployment> {
        self.deployments.iter().find(|known| known.chain_id == chain_id)
    }

    /// The policy that accepts every release on a public deployment; `None` where there is none, or no release to accept.
    #[must_use]
    pub fn policy(&self, chain_id: u64) -> Option<PolicyText> {
        let KnownPlace::Public { registry, listed, operators, spend } = &self.deployment(chain_id)?.place else { return None };
        let (mut roots, mut workloads) = (Vec::new(), Vec::new());
        for release in &self.releases {
            if !roots.contains(&release.root) {
                roots.push(release.root);
            }
            workloads.extend(&release.workloads);
        }
        if workloads.is_empty() {
            return None;
        }
        let policy = Policy {
            roots,
            workloads: Workloads::Only(workloads),
            operators: Accept::Only(operators.clone()),
            registries: Accept::Only(vec![(chain_id, *registry)]),
            ..Policy::default()
        };
        Some(PolicyText { policy, spend: spend.iter().map(|spend| spend.limit).collect(), find: listed.clone() })
    }
}

impl Deployment {
    fn known(self) -> Result<KnownDeployment, KnownTextError> {
        let Self { name, chain_id, of_this_build, registry, listed, operators, spend } = self;
        let refused = |name: &str, expected| Err(KnownTextError::Place { name: name.to_owned(), expected });
        let place = match (of_this_build, registry) {
            (true, None) if listed.is_empty() && operators.is_empty() && spend.is_empty() => KnownPlace::OfThisBuild,
            (false, Some(registry)) => KnownPlace::Public {
                registry: policy::address("deployment.registry", &registry)?,
                listed: policy::hashes("deployment.listed", &listed)?,
                operators: operators.iter().map(|text| policy::address("deployment.operators", text)).collect::<Result<_, _>>()?,
                spend: spend.iter().map(|spend| spend.known(chain_id)).collect::<Result<_, _>>()?,
            },
            _ => return refused(&name, "either of_this_build and nothing else, or a registry, operators and spend"),
        };
        match &place {
            // "Any" operator would be whoever registered last.
            KnownPlace::Public { operators, .. } if operators.is_empty() => refused(&name, "at least one operator"),
            _ => Ok(KnownDeployment { name, chain_id, place }),
        }
    }
}

impl Spend {
    fn known(&self, chain_id: u64) -> Result<KnownSpend, KnownTextError> {
        let units = |amount: &Decimal| amount.units(self.decimals).map_err(KnownTextError::Amount);
        let (max_per_request, max_per_day) = (units(&self.max_per_request)?, units(&self.max_per_day)?);
        let asset = policy::address("deployment.spend.asset", &self.asset)?;
        Ok(KnownSpend {
            symbol: self.symbol.clone(),
            decimals: self.decimals,
            limit: SpendLimit { chain_id, asset, max_per_request, max_per_day, max_unresolved: MAX_UNRESOLVED },
        })
    }
}

impl Release {
    fn known(&self) -> Result<KnownRelease, KnownTextError> {
        let workloads = policy::hashes("release.workloads", &self.workloads)?;
        Ok(KnownRelease { version: self.version.clone(), root: policy::root("release.root", &self.root)?, workloads })
    }
}

#[cfg(test)]
mod tests {
    use candor_verify::bytes::Amount;

    use super::*;

    const PUBLIC: &str = r#"
        [[deployment]]
        name = "test"
        chain_id = 84532
        registry = "0x0101010101010101010101010101010101010101"
        listed = ["0x0505050505050505050505050505050505050505050505050505050505050505"]
        operators = ["0x0202020202020202020202020202020202020202"]
        [[deployment.spend]]
        asset = "0x0303030303030303030303030303030303030303"
        symbol = "USDC"
        decimals = 6
        max_per_request = "0.01"
        max_per_day = "1"
        [[release]]
        version = "0.2.0"
        root = "aws-nitro-g1"
        workloads = ["0x0404040404040404040404040404040404040404040404040404040404040404"]
    "#;

    #[test]
    fn a_public_deployment_and_a_release_make_a_policy_that_accepts_just_those() {
        let policy = KnownText::parse(PUBLIC).unwrap().policy(84_532).unwrap();
        assert_eq!(policy.policy.roots, [TrustRoot::AWS_NITRO_G1]);
        assert_eq!(policy.policy.workloads, Workloads::Only(vec![Hash32([4; 32])]));
        assert_eq!(policy.policy.operators, Accept::Only(vec![Address([2; 20])]));
        assert_eq!(policy.policy.registries, Accept::Only(vec![(84_532, Address([1; 20]))]));
        assert_eq!(policy.find, [Hash32([5; 32])]);
        let spend = &policy.spend[0];
        assert_eq!((spend.chain_id, spend.max_per_request, spend.max_per_day), (84_532, Amount(10_000), Amount(1_000_000)));
        assert_eq!(PolicyText::parse(&policy.to_toml()), Ok(policy));
    }

    #[test]
    fn without_a_release_or_on_another_chain_there_is_no_policy() {
        let known = KnownText::parse(PUBLIC).unwrap();
        assert_eq!(known.policy(1), None);
        assert_eq!(KnownText { releases: Vec::new(), ..known }.policy(84_532), None);
    }

    #[test]
    fn a_deployment_that_names_nobody_or_says_two_things_is_refused() {
        let of = |from: &str, to: &str| KnownText::parse(&PUBLIC.replace(from, to)).unwrap_err();
        assert!(matches!(of("\"0x0202020202020202020202020202020202020202\"", ""), KnownTextError::Place { .. }));
        assert!(matches!(of("name = \"test\"", "name = \"test\"\nof_this_build = true"), KnownTextError::Place { .. }));
        assert!(matches!(of("\"0.01\"", "\"0.0000001\""), KnownTextError::Amount(_)));
        assert!(matches!(of("operators", "operator"), KnownTextError::Toml(_)));
        assert!(of("0x0404", "0x04").to_string().starts_with("release.workloads"));
        assert!(of("aws-nitro-g1", "aws").to_string().starts_with("release.root"), "by its own field, and not that of a policy");
        let twice = format!("{PUBLIC}\n[[deployment]]\nname = \"again\"\nchain_id = 84532\nof_this_build = true");
        assert_eq!(KnownText::parse(&twice), Err(KnownTextError::Twice { chain_id: 84_532 }));
    }
}
