//! The commented TOML form of a policy: what counts as verified, and what may be spent. Spec: policy.md §1, whose names the fields have.
//!
//! Unknown fields are refused: a typing error must not loosen anything. A field that is absent has the default of
//! [`Policy::default`]: no root and no workload, any operator, registry and model. Not here: the file, and who pays within the amounts (`candor-client`, `candor-x402`).

use std::fmt;

use candor_verify::attest::TrustRoot;
use candor_verify::bytes::{Address, Amount, Hash32};
use candor_verify::payment::MAX_UNRESOLVED;
use candor_verify::policy::{Accept, Policy, Workloads};
use candor_verify::verdict::LogLevel;
use serde::Deserialize;

use crate::node::meant;
use crate::toml_text::{list, quoted};

/// What a policy file says.
///
/// ```
/// use candor_report::{PolicyText, PolicyTextError};
///
/// let text = PolicyText::parse("[accept]\nroots = [\"aws-nitro-g1\"]\nskew_ms = 1000").unwrap();
/// assert_eq!(text.policy.skew_ms, 1000);
/// assert_eq!(text.policy.workloads, candor_verify::policy::Workloads::Only(vec![]), "what is not named is not accepted");
/// assert!(matches!(PolicyText::parse("[accept]\nrots = []"), Err(PolicyTextError::Toml(_))));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "any value is valid")]
pub struct PolicyText {
    /// For verdicts.
    pub policy: Policy,
    /// For payments, by asset. An asset that is not named may not be spent.
    pub spend: Vec<SpendLimit>,
    /// Listed ids under which nodes are looked for on chain; none: among all that the accepted operators registered. Says where to look and
    /// decides nothing: what is found there is judged by [`Self::policy`].
    pub find: Vec<Hash32>,
}

/// What may be spent of one asset, in its smallest unit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "any value is valid")]
pub struct SpendLimit {
    /// Chain of the token (EIP-155).
    pub chain_id: u64,
    /// Token contract.
    pub asset: Address,
    /// Most for one request.
    pub max_per_request: Amount,
    /// Most for any 24 hours.
    pub max_per_day: Amount,
    /// Most payments unresolved at a time once a request is paid for at another node beside one that did not answer.
    pub max_unresolved: u32,
}

/// Why a text is no policy.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PolicyTextError {
    /// No TOML, or a field that is unknown, missing or of another kind, in the words of the TOML reader: they show the place, and name the
    /// fields that there are.
    Toml(String),
    /// A value that its field cannot have.
    Value {
        /// The field.
        field: &'static str,
        /// What it takes.
        expected: &'static str,
        /// What stands there.
        got: String,
    },
    /// More witnesses must cosign than are named, so that no log would ever be WITNESSED.
    Threshold {
        /// `log.witness_threshold`.
        expected: usize,
        /// How many witnesses there are.
        got: usize,
    },
}

impl fmt::Display for PolicyTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Toml(message) => f.write_str(message),
            Self::Value { field, expected, got } => write!(f, "{field}: expected {expected}, got {got:?}"),
            Self::Threshold { expected, got } => write!(f, "log.witness_threshold is {expected}, and log.witnesses names {got}"),
        }
    }
}

impl std::error::Error for PolicyTextError {}

impl PolicyTextError {
    fn of_toml(error: &toml::de::Error) -> Self {
        let shown = error.to_string().trim_end().to_owned();
        Self::Toml(match meant(error) {
            Some(nearest) => format!("{shown}\ndid you mean `{nearest}`?"),
            None => shown,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    accept: AcceptTable,
    #[serde(default)]
    log: Log,
    #[serde(default)]
    find: Find,
    #[serde(default)]
    spend: Vec<Spend>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Find {
    listed: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AcceptTable {
    roots: Vec<String>,
    workloads: Option<AnyOr<String>>,
    operators: Option<AnyOr<String>>,
    registries: Option<AnyOr<Registry>>,
    models: Option<AnyOr<String>>,
    max_age_ms: Option<u64>,
    skew_ms: Option<u64>,
    require_offer_binding: Option<bool>,
}

/// A word for all, or a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum AnyOr<T> {
    Word(String),
    List(Vec<T>),
}

impl<T> AnyOr<T> {
    fn accept<U>(
        &self,
        field: &'static str,
        any: (&str, &'static str),
        item: impl Fn(&T) -> Result<U, PolicyTextError>,
    ) -> Result<Accept<U>, PolicyTextError> {
        let (word, expected) = any;
        match self {
            Self::Word(got) if got == word => Ok(Accept::Any),
            Self::Word(got) => Err(malformed(field, expected, got)),
            Self::List(items) => items.iter().map(item).collect::<Result<_, _>>().map(Accept::Only),
        }
    }
}

/// The word that accepts all, and what is said to another word.
const ANY: (&str, &str) = ("any", "\"any\" or a list");
const DANGEROUS_ANY: (&str, &str) = ("dangerous-any", "\"dangerous-any\" or a list");

/// The accepted ones of a field that may be absent.
fn accepted<T, U>(
    field: &'static str,
    given: Option<AnyOr<T>>,
    absent: Accept<U>,
    item: impl Fn(&T) -> Result<U, PolicyTextError>,
) -> Result<Accept<U>, PolicyTextError> {
    given.map_or(Ok(absent), |given| given.accept(field, ANY, item))
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
    require_level: Option<String>,
    witnesses: Vec<String>,
    witness_threshold: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spend {
    chain_id: u64,
    asset: String,
    max_per_request: String,
    max_per_day: String,
    #[serde(default = "max_unresolved")]
    max_unresolved: u32,
}

fn max_unresolved() -> u32 {
    MAX_UNRESOLVED
}

impl PolicyText {
    /// Reads the text of a policy file.
    ///
    /// # Errors
    /// `Toml` for the form, `Value` and `Threshold` for what it says; each names the field.
    pub fn parse(text: &str) -> Result<Self, PolicyTextError> {
        let document: Document = toml::from_str(text).map_err(|error| PolicyTextError::of_toml(&error))?;
        let Document { accept, log, find, spend } = document;
        let default = Policy::default();
        let policy = Policy {
            roots: accept.roots.iter().map(|text| root("accept.roots", text)).collect::<Result<_, _>>()?,
            workloads: accept.workloads.map_or(Ok(default.workloads), |given| workloads(&given))?,
            operators: accepted("accept.operators", accept.operators, default.operators, |text| address("accept.operators", text))?,
            registries: accepted("accept.registries", accept.registries, default.registries, Registry::pair)?,
            models: accepted("accept.models", accept.models, default.models, |text| hash("accept.models", text))?,
            max_age_ms: accept.max_age_ms.unwrap_or(default.max_age_ms),
            skew_ms: accept.skew_ms.unwrap_or(default.skew_ms),
            witnesses: hashes("log.witnesses", &log.witnesses)?,
            witness_threshold: log.witness_threshold,
            require_level: log.require_level.map_or(Ok(default.require_level), |text| level(&text))?,
            require_offer_binding: accept.require_offer_binding.unwrap_or(default.require_offer_binding),
        };
        if policy.witnesses.len() < policy.witness_threshold {
            return Err(PolicyTextError::Threshold { expected: policy.witness_threshold, got: policy.witnesses.len() });
        }
        if LISTED_MAX < find.listed.len() {
            let got = find.listed.len().to_string();
            return Err(PolicyTextError::Value { field: "find.listed", expected: "at most 32 listed ids", got });
        }
        let find = hashes("find.listed", &find.listed)?;
        Ok(Self { policy, spend: spend.iter().map(Spend::limit).collect::<Result<_, _>>()?, find })
    }

    /// The text of a policy file with these values: every field, each with what it means.
    #[must_use]
    pub fn to_toml(&self) -> String {
        // Named one by one, so that a new field of the policy is not forgotten here.
        let Policy {
            roots,
            workloads,
            operators,
            registries,
            models,
            max_age_ms,
            skew_ms,
            witnesses,
            witness_threshold,
            require_level,
            require_offer_binding,
        } = &self.policy;
        let roots = list(&roots.iter().map(root_text).collect::<Vec<_>>());
        let workloads = match workloads {
            Workloads::DangerousAny => quoted(&DANGEROUS_ANY.0),
            Workloads::Only(listed) => list(listed),
        };
        let registry = |(chain_id, address): &(u64, Address)| format!("{{ chain_id = {chain_id}, address = \"{address}\" }}");
        let registries = any_or(registries, registry);
        let (operators, models) = (any_or(operators, quoted), any_or(models, quoted));
        let (witnesses, find) = (list(witnesses), list(&self.find));
        let level = level_text(*require_level);
        let mut out = format!(
            "# What you accept as verified, and what may be spent in your name. Unknown fields are refused.\n\n\
             [accept]\n\
             # Roots of attestation: \"aws-nitro-g1\", or the SHA-256 of a root certificate. Anything but a hardware root is SIMULATED.\n\
             roots = {roots}\n\
             # Workload ids: kind, root and measurements in one hash. An empty list accepts none. For development only, \"dangerous-any\"\n\
             # accepts whatever is measured under an accepted root, and the verdict says so.\n\
             workloads = {workloads}\n\
             # Operators (addresses) you deal with, or \"any\": then whoever registered last gets your payments.\n\
             operators = {operators}\n\
             # Registries where nodes are looked for, the first is the default; or \"any\".\n\
             registries = {registries}\n\
             # Model digests, or \"any\" model of the operator's signed terms.\n\
             models = {models}\n\
             # Oldest attestation accepted live, and longest time from attestation to receipt in a bundle, in milliseconds.\n\
             max_age_ms = {max_age_ms}\n\
             # How far clocks may differ, in milliseconds.\n\
             skew_ms = {skew_ms}\n\
             # Refuse payments whose nonce does not commit to the offer. A stock x402 client makes such payments: false accepts them, and\n\
             # then the verdict shows an equal price to the same payee, which may have been meant for another request.\n\
             require_offer_binding = {require_offer_binding}\n\n\
             [log]\n\
             # What counts as verified: \"self-logged\", \"witnessed\" or \"anchored\" (needs --rpc).\n\
             require_level = \"{level}\"\n\
             # Ed25519 keys of witnesses, and how many must have cosigned; 0: nothing is ever \"witnessed\".\n\
             witnesses = {witnesses}\n\
             witness_threshold = {witness_threshold}\n\n\
             [find]\n\
             # Listed ids (verifier contract, its code and workload in one hash) under which nodes are looked for on chain: strangers who\n\
             # register by verifiers of their own are not even read. Empty: whoever an accepted operator registered.\n\
             listed = {find}\n"
        );
        for SpendLimit { chain_id, asset, max_per_request, max_per_day, max_unresolved } in &self.spend {
            out.push_str(&format!(
                "\n[[spend]]\n# Only the attested payee is ever paid. Amounts in the asset's smallest unit.\nchain_id = {chain_id}\n\
                 asset = \"{asset}\"\nmax_per_request = \"{max_per_request}\"\nmax_per_day = \"{max_per_day}\"\n\
                 # A node that was paid may not answer, and its payment may move until its deadline. Meanwhile `candor proxy` pays another node for the\n\
                 # same request while fewer than so many such payments are unresolved: all may be charged. 1: never.\n\
                 max_unresolved = {max_unresolved}\n"
            ));
        }
        out
    }
}

impl Registry {
    fn pair(&self) -> Result<(u64, Address), PolicyTextError> {
        Ok((self.chain_id, address("accept.registries.address", &self.address)?))
    }
}

impl Spend {
    fn limit(&self) -> Result<SpendLimit, PolicyTextError> {
        Ok(SpendLimit {
            chain_id: self.chain_id,
            asset: address("spend.asset", &self.asset)?,
            max_per_request: amount("spend.max_per_request", &self.max_per_request)?,
            max_per_day: amount("spend.max_per_day", &self.max_per_day)?,
            max_unresolved: self.max_unresolved,
        })
    }
}

pub(crate) fn root(field: &'static str, text: &str) -> Result<TrustRoot, PolicyTextError> {
    if text == AWS_NITRO_G1 {
        return Ok(TrustRoot::AWS_NITRO_G1);
    }
    let hash = Hash32::from_hex(text).ok_or_else(|| malformed(field, "\"aws-nitro-g1\" or a SHA-256 in hex", text))?;
    Ok(TrustRoot { fingerprint: hash.0 })
}

fn root_text(root: &TrustRoot) -> String {
    if *root == TrustRoot::AWS_NITRO_G1 { AWS_NITRO_G1.to_owned() } else { Hash32(root.fingerprint).to_string() }
}

pub(crate) fn address(field: &'static str, text: &str) -> Result<Address, PolicyTextError> {
    Address::from_hex(text).ok_or_else(|| malformed(field, "an address", text))
}

fn amount(field: &'static str, text: &str) -> Result<Amount, PolicyTextError> {
    Amount::from_decimal(text).ok_or_else(|| malformed(field, "a plain decimal", text))
}

pub(crate) fn hashes(field: &'static str, texts: &[String]) -> Result<Vec<Hash32>, PolicyTextError> {
    texts.iter().map(|text| hash(field, text)).collect()
}

fn hash(field: &'static str, text: &str) -> Result<Hash32, PolicyTextError> {
    Hash32::from_hex(text).ok_or_else(|| malformed(field, "32 bytes of hex", text))
}

fn workloads(given: &AnyOr<String>) -> Result<Workloads, PolicyTextError> {
    let accept = given.accept("accept.workloads", DANGEROUS_ANY, |text| hash("accept.workloads", text))?;
    Ok(match accept {
        Accept::Any => Workloads::DangerousAny,
        Accept::Only(listed) => Workloads::Only(listed),
    })
}

/// `"any"`, or a TOML list.
fn any_or<T>(accept: &Accept<T>, text: impl Fn(&T) -> String) -> String {
    match accept {
        Accept::Any => "\"any\"".to_owned(),
        Accept::Only(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(", ")),
    }
}

fn level(text: &str) -> Result<LogLevel, PolicyTextError> {
    let known = LEVELS.iter().find(|(word, _)| *word == text).map(|(_, level)| *level);
    known.ok_or_else(|| malformed("log.require_level", "self-logged, witnessed or anchored", text))
}

fn level_text(level: LogLevel) -> &'static str {
    LEVELS.iter().find(|(_, known)| *known == level).map_or("self-logged", |(word, _)| *word)
}

fn malformed(field: &'static str, expected: &'static str, got: &str) -> PolicyTextError {
    PolicyTextError::Value { field, expected, got: got.to_owned() }
}

/// The hardware root by name, so that nobody has to compare 64 digits.
const AWS_NITRO_G1: &str = "aws-nitro-g1";

/// Each is a walk of its own through the registry.
const LISTED_MAX: usize = 32;

/// The levels that a policy can require.
const LEVELS: [(&str, LogLevel); 3] =
    [("self-logged", LogLevel::SelfLogged), ("witnessed", LogLevel::Witnessed), ("anchored", LogLevel::Anchored)];
