//! The commented TOML form of a policy. Unknown fields are refused: a typing error must not loosen anything.

use std::path::Path;

use candor_verify::attest::TrustRoot;
use candor_verify::bytes::{Address, Amount, Hash32};
use candor_verify::policy::{Accept, Policy, Workloads};
use candor_verify::verdict::LogLevel;
use candor_x402::client::{AssetLimit, SpendPolicy};
use candor_x402::protocol::Eip155;
use serde::Deserialize;

use crate::error::ClientError;
use crate::spend::file_error;

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
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    accept: AcceptTable,
    #[serde(default)]
    log: Log,
    #[serde(default)]
    spend: Vec<Spend>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AcceptTable {
    roots: Vec<String>,
    workloads: Vec<String>,
    dangerous_any_workload: bool,
    operators: AnyOf<String>,
    registries: AnyOf<Registry>,
    models: AnyOf<String>,
    max_age_seconds: Option<u64>,
}

/// `"any"`, or a list. Left out, it is "any"; an empty list is refused, since it would accept nothing and look like everything.
#[derive(Deserialize)]
#[serde(untagged)]
enum AnyOf<T> {
    Word(String),
    List(Vec<T>),
}

impl<T> Default for AnyOf<T> {
    fn default() -> Self {
        Self::Word("any".into())
    }
}

impl<T> AnyOf<T> {
    fn accept<U>(&self, field: &str, read: impl Fn(&T) -> Result<U, String>) -> Result<Accept<U>, String> {
        match self {
            Self::Word(word) if word == "any" => Ok(Accept::Any),
            Self::Word(word) => Err(format!("{field}: {word:?} is neither \"any\" nor a list")),
            Self::List(items) if items.is_empty() => Err(format!("{field}: an empty list accepts nothing; write \"any\", or name some")),
            Self::List(items) => items.iter().map(read).collect::<Result<_, _>>().map(Accept::Only),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Registry {
    chain_id: u64,
    address: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Log {
    require: Option<String>,
    witnesses: Vec<String>,
    threshold: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spend {
    chain_id: u64,
    asset: String,
    max_per_request: String,
    max_per_day: String,
}

impl PolicyFile {
    /// Reads a policy file.
    ///
    /// # Errors
    /// `File`, naming the field.
    pub fn read(path: &Path) -> Result<Self, ClientError> {
        let text = std::fs::read_to_string(path).map_err(|error| file_error(path, &error))?;
        Self::parse(&text).map_err(|what| file_error(path, &what))
    }

    /// Reads the text of a policy file.
    ///
    /// # Errors
    /// What is wrong, naming the field.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        let accept = file.accept;
        let default = Policy::default();
        let policy = Policy {
            roots: accept.roots.iter().map(|text| root(text)).collect::<Result<_, _>>()?,
            workloads: match hashes("accept.workloads", &accept.workloads)? {
                _ if accept.dangerous_any_workload => Workloads::DangerousAny,
                listed => Workloads::Only(listed),
            },
            operators: accept.operators.accept("accept.operators", |text| address("accept.operators", text))?,
            registries: accept.registries.accept("accept.registries", |registry| {
                Ok((registry.chain_id, address("accept.registries.address", &registry.address)?))
            })?,
            models: accept.models.accept("accept.models", |text| hash("accept.models", text))?,
            max_age_ms: accept.max_age_seconds.map_or(default.max_age_ms, |seconds| seconds.saturating_mul(1000)),
            witnesses: hashes("log.witnesses", &file.log.witnesses)?,
            witness_threshold: file.log.threshold,
            require_level: level(file.log.require.as_deref())?,
            ..default
        };
        if policy.witnesses.len() < policy.witness_threshold {
            return Err(format!("log.threshold is {}, there are {} witnesses", policy.witness_threshold, policy.witnesses.len()));
        }
        let assets = file.spend.iter().map(Spend::limit).collect::<Result<_, _>>()?;
        Ok(Self::new(policy, SpendPolicy { assets }))
    }
}

impl Spend {
    fn limit(&self) -> Result<AssetLimit, String> {
        let amount = |field: &str, text: &str| Amount::from_decimal(text).ok_or(format!("spend.{field}: {text:?} is not a plain decimal"));
        Ok(AssetLimit {
            network: Eip155(self.chain_id),
            asset: address("spend.asset", &self.asset)?,
            max_per_request: amount("max_per_request", &self.max_per_request)?,
            max_per_day: amount("max_per_day", &self.max_per_day)?,
        })
    }
}

fn root(text: &str) -> Result<TrustRoot, String> {
    if text == "aws-nitro-g1" {
        return Ok(TrustRoot::AWS_NITRO_G1);
    }
    let hash = Hash32::from_hex(text).ok_or(format!("accept.roots: {text:?} is neither \"aws-nitro-g1\" nor a SHA-256 in hex"))?;
    Ok(TrustRoot { fingerprint: hash.0 })
}

fn address(field: &str, text: &str) -> Result<Address, String> {
    Address::from_hex(text).ok_or(format!("{field}: {text:?} is not an address"))
}

fn hashes(field: &str, texts: &[String]) -> Result<Vec<Hash32>, String> {
    texts.iter().map(|text| hash(field, text)).collect()
}

fn hash(field: &str, text: &str) -> Result<Hash32, String> {
    Hash32::from_hex(text).ok_or(format!("{field}: {text:?} is not 32 bytes of hex"))
}

fn level(text: Option<&str>) -> Result<LogLevel, String> {
    match text {
        None | Some("self-logged") => Ok(LogLevel::SelfLogged),
        Some("witnessed") => Ok(LogLevel::Witnessed),
        Some("anchored") => Ok(LogLevel::Anchored),
        Some(other) => Err(format!("log.require: {other:?} is none of self-logged, witnessed, anchored")),
    }
}

/// The text of a new policy file, commented; the values are the caller's.
#[must_use]
pub fn template(policy: &PolicyFile) -> String {
    let quoted = |items: Vec<String>| items.iter().map(|item| format!("\"{item}\"")).collect::<Vec<_>>().join(", ");
    let p = &policy.policy;
    let roots = p.roots.iter().map(|root| if root.is_hardware() { "aws-nitro-g1".into() } else { Hash32(root.fingerprint).to_string() });
    let registries = any_or_list(&p.registries, |(chain_id, address)| format!("{{ chain_id = {chain_id}, address = \"{address}\" }}"));
    let workloads = match &p.workloads {
        Workloads::DangerousAny => &[],
        Workloads::Only(listed) => listed.as_slice(),
    };
    let level = match p.require_level {
        LogLevel::Anchored => "anchored",
        LogLevel::Witnessed => "witnessed",
        _ => "self-logged",
    };
    let mut out = format!(
        "# What you accept as verified, and what may be spent in your name. Unknown fields are refused.\n\n\
         [accept]\n\
         # Roots of attestation: \"aws-nitro-g1\", or the SHA-256 of a root certificate. Anything but a hardware root is SIMULATED.\n\
         roots = [{}]\n\
         # Workload ids: kind, root and measurements in one hash. An empty list accepts none.\n\
         workloads = [{}]\n\
         # For development only: accept whatever is measured under an accepted root. The verdict says so.\n\
         dangerous_any_workload = {}\n\
         # Operators (addresses) you deal with, or \"any\": then whoever registered last gets your payments.\n\
         operators = {}\n\
         # Registries where nodes are looked for, the first is the default; or \"any\".\n\
         registries = {registries}\n\
         # Model digests, or \"any\" of the operator's signed terms.\n\
         models = {}\n\
         # Oldest attestation accepted live, in seconds.\n\
         max_age_seconds = {}\n\n\
         [log]\n\
         # What counts as verified: \"self-logged\", \"witnessed\" or \"anchored\" (needs --rpc).\n\
         require = \"{level}\"\n\
         # Ed25519 keys of witnesses, and how many must have cosigned.\n\
         witnesses = [{}]\n\
         threshold = {}\n",
        quoted(roots.collect()),
        quoted(workloads.iter().map(ToString::to_string).collect()),
        p.workloads == Workloads::DangerousAny,
        any_or_list(&p.operators, |operator| format!("\"{operator}\"")),
        any_or_list(&p.models, |model| format!("\"{model}\"")),
        p.max_age_ms / 1000,
        quoted(p.witnesses.iter().map(ToString::to_string).collect()),
        p.witness_threshold,
    );
    for asset in &policy.spend.assets {
        out.push_str(&format!(
            "\n[[spend]]\n# Only the attested payee is ever paid. Amounts in the asset's smallest unit.\nchain_id = {}\nasset = \"{}\"\n\
             max_per_request = \"{}\"\nmax_per_day = \"{}\"\n",
            asset.network.0, asset.asset, asset.max_per_request, asset.max_per_day
        ));
    }
    out
}

fn any_or_list<T>(accept: &Accept<T>, text: impl Fn(&T) -> String) -> String {
    match accept {
        Accept::Any => "\"any\"".into(),
        Accept::Only(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(", ")),
    }
}

impl PolicyFile {
    /// A policy file from its parts.
    #[must_use]
    pub fn new(policy: Policy, spend: SpendPolicy) -> Self {
        let registry = policy.registries.named().first().copied();
        Self { policy, spend, registry }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> PolicyFile {
        let policy = Policy {
            roots: vec![TrustRoot::AWS_NITRO_G1, TrustRoot { fingerprint: [7; 32] }],
            workloads: Workloads::Only(vec![Hash32([1; 32])]),
            operators: Accept::Only(vec![Address([2; 20])]),
            registries: Accept::Only(vec![(31337, Address([3; 20]))]),
            witnesses: vec![Hash32([4; 32])],
            witness_threshold: 1,
            require_level: LogLevel::Anchored,
            ..Policy::default()
        };
        let limit = AssetLimit { network: Eip155(31337), asset: Address([5; 20]), max_per_request: Amount(10), max_per_day: Amount(100) };
        PolicyFile::new(policy, SpendPolicy { assets: vec![limit] })
    }

    #[test]
    fn the_commented_form_reads_back_as_written() {
        let read = PolicyFile::parse(&template(&sample())).unwrap();
        assert_eq!(read.policy, sample().policy);
        assert_eq!(read.spend, sample().spend);
        assert_eq!(read.registry, Some((31337, Address([3; 20]))));
    }

    #[test]
    fn unknown_fields_and_malformed_values_are_rejected_by_name() {
        for (text, word) in [
            ("[accept]\nrots = []", "rots"),
            ("[accept]\nroots = [\"aws\"]", "accept.roots"),
            ("[accept]\noperators = []", "accept.operators: an empty list accepts nothing"),
            ("[accept]\nmodels = \"all\"", "accept.models"),
            ("[accept]\nworkloads = [\"0x01\"]", "accept.workloads"),
            ("[log]\nrequire = \"notarised\"", "log.require"),
            ("[log]\nthreshold = 1", "log.threshold"),
            (
                "[[spend]]\nchain_id = 1\nasset = \"0x0000000000000000000000000000000000000001\"\nmax_per_request = \"1e3\"\nmax_per_day = \"1\"",
                "max_per_request",
            ),
        ] {
            assert!(PolicyFile::parse(text).unwrap_err().contains(word), "{text}");
        }
        let empty = PolicyFile::parse("").unwrap();
        assert!(empty.policy.roots.is_empty() && empty.policy.workloads == Workloads::Only(vec![]) && empty.spend.assets.is_empty());
    }
}
