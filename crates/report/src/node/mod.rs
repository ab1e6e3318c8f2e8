//! `node.toml`: everything that an operator decides about a node. Written commented by `candor init`, read by both halves of a node and by
//! whoever signs its terms.
//!
//! | file | what |
//! |---|---|
//! | here | what the file says, as values |
//! | `fields` | how each field is read, so that an error shows its place |
//! | `error` | errors: the place with a caret, and the nearest name |
//! | `write` | the commented file |
//! | `money` | amounts as people write them |
//!
//! Unknown fields are refused: a slip must not sell at another price. What is absent has the default that stands here. Secrets are only named
//! by their files. Not here: files, chains, keys and whether the values fit a machine (`candor-cli`).

mod error;
mod fields;
mod money;
mod write;

use core::net::SocketAddr;
use std::path::PathBuf;

use candor_verify::bytes::{Address, Amount, Hash32};
use serde::Deserialize;

pub use error::NodeTextError;
pub(crate) use error::meant;
pub use money::{Decimal, DecimalError, decimal_text};

/// Version of the form.
pub const NODE_VERSION: u64 = 1;

/// What `node.toml` says.
///
/// ```
/// use candor_report::NodeText;
///
/// let text = "version = 1\n[keys]\ndirectory = \"keys\"\n[limits]\ngeneration_seconds = 30";
/// assert_eq!(NodeText::parse(text).unwrap().limits.generation_seconds, 30);
///
/// let error = NodeText::parse("version = 1\n[limits]\ngeneration_second = 30").unwrap_err().to_string();
/// assert!(error.contains("^") && error.contains("did you mean `generation_seconds`?"), "{error}");
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "any value can be written; whether a node can be that is asked where it is started")]
pub struct NodeText {
    /// [`NODE_VERSION`].
    #[serde(deserialize_with = "fields::version")]
    pub version: u64,
    /// Where it answers.
    #[serde(default)]
    pub node: NodePart,
    /// Who signs, and who is paid.
    #[serde(default)]
    pub keys: KeysPart,
    /// The terms that follow from all this.
    #[serde(default)]
    pub terms: TermsPart,
    /// Chains; the boots are registered and the log is anchored on the first.
    #[serde(default, rename = "chain", deserialize_with = "fields::chains")]
    pub chains: Vec<ChainPart>,
    /// Tokens that prices name.
    #[serde(default, rename = "asset", deserialize_with = "fields::assets")]
    pub assets: Vec<AssetPart>,
    /// What is sold.
    #[serde(default, rename = "model", deserialize_with = "fields::models")]
    pub models: Vec<NodeModel>,
    /// Who gets answers.
    #[serde(default)]
    pub access: AccessPart,
    /// What stands before the models.
    #[serde(default)]
    pub guard: GuardPart,
    /// How much at once, and how long.
    #[serde(default)]
    pub limits: LimitsPart,
    /// When the log is anchored.
    #[serde(default)]
    pub anchor: AnchorPart,
    /// When the registration is renewed.
    #[serde(default)]
    pub renewal: RenewalPart,
    /// What is kept.
    #[serde(default)]
    pub storage: StoragePart,
    /// What the node says about itself to its operator.
    #[serde(default)]
    pub log: LogPart,
    /// What it tells programs.
    #[serde(default)]
    pub metrics: MetricsPart,
}

/// `[node]`.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "any value can be written")]
pub struct NodePart {
    /// Where clients connect: TLS, ended in the enclave.
    #[serde(deserialize_with = "fields::listen")]
    pub listen: SocketAddr,
    /// Where the log and the state of the host are served: plain HTTP, public data.
    #[serde(deserialize_with = "fields::listen")]
    pub log_listen: SocketAddr,
    /// How clients reach the first, as the terms publish it; empty: by its address.
    #[serde(deserialize_with = "fields::client_urls")]
    pub urls: Vec<String>,
    /// How they reach the log; empty: by its address.
    #[serde(deserialize_with = "fields::log_urls")]
    pub log_urls: Vec<String>,
    /// What it means if nobody answers there.
    #[serde(deserialize_with = "fields::check_urls")]
    pub check_urls: CheckUrls,
    /// Directory of the node's state, beside the file if it is relative.
    pub data: PathBuf,
    /// Socket on which the enclave listens and the host connects; in `data` if not said.
    pub socket: Option<PathBuf>,
    /// What the registrar accepts as this node's own enclave: a policy. Without it, SIMULATED evidence of this very program.
    pub policy: Option<PathBuf>,
    /// SIMULATED: directory of the software hypervisor's root.
    pub tee: Option<PathBuf>,
}

/// What is done with a published address that cannot be reached. One that leads to another key is an error whatever stands here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete")]
pub enum CheckUrls {
    /// It is said, and the node goes on: some networks do not let a machine reach itself by its public name.
    Warn,
    /// The node does not go on.
    Require,
}

/// `[keys]`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "any value can be written")]
pub struct KeysPart {
    /// Directory with the keystores of operator, registrar, gas and anchor.
    pub directory: Option<PathBuf>,
    /// File with their passphrase; asked for if there is none.
    pub passphrase_file: Option<PathBuf>,
    /// Who is paid.
    #[serde(deserialize_with = "fields::some_address")]
    pub payee: Option<Address>,
}

/// `[terms]`.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "any value can be written")]
pub struct TermsPart {
    /// Days for which terms are signed.
    #[serde(deserialize_with = "fields::terms_days")]
    pub days: u64,
    /// Terms that were signed elsewhere; without it they are signed at each start.
    pub file: Option<PathBuf>,
}

/// One `[[chain]]`.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "any value can be written")]
pub struct ChainPart {
    /// EIP-155 chain id.
    #[serde(deserialize_with = "fields::chain_id")]
    pub id: u64,
    /// Endpoints, asked in this order.
    #[serde(default)]
    pub rpc: Vec<String>,
    /// How many of them must give the same answer.
    #[serde(default = "one", deserialize_with = "fields::agree")]
    pub rpc_agree: u16,
    /// File of endpoints whose keys are headers, instead of the list.
    #[serde(default)]
    pub rpc_file: Option<PathBuf>,
    /// What `candor deploy` wrote; not needed on the development chain.
    #[serde(default)]
    pub deployment: Option<PathBuf>,
    /// Where attestors of its quorum are asked.
    #[serde(default)]
    pub attestors: Vec<String>,
    /// Most that a transaction pays per gas; while the chain asks more, what can wait waits.
    #[serde(default, deserialize_with = "fields::gwei")]
    pub max_fee_gwei: Option<u32>,
}

const fn one() -> u16 {
    1
}

/// One `[[asset]]`.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "any value can be written")]
pub struct AssetPart {
    /// How prices of this file name it.
    #[serde(deserialize_with = "fields::symbol")]
    pub symbol: String,
    /// Chain of the token.
    #[serde(deserialize_with = "fields::chain_id")]
    pub chain_id: u64,
    /// Token contract.
    #[serde(deserialize_with = "fields::address")]
    pub address: Address,
    /// EIP-712 domain name of the token there.
    #[serde(deserialize_with = "fields::short_text")]
    pub name: String,
    /// EIP-712 domain version of the token.
    #[serde(deserialize_with = "fields::short_text")]
    pub version: String,
    /// Decimals in which prices are written.
    #[serde(deserialize_with = "fields::decimals")]
    pub decimals: u8,
}

/// One `[[model]]`.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "any value can be written")]
pub struct NodeModel {
    /// Name under which it is offered.
    #[serde(deserialize_with = "fields::model_id")]
    pub id: String,
    /// Model container (.cnd1); without it the small one that is built in.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// Prices: the ceiling in each asset that it is sold for. The first is the one that is quoted.
    #[serde(default, rename = "price", deserialize_with = "fields::prices")]
    pub prices: Vec<PricePart>,
}

/// One `[[model.price]]`: money per million tokens, and per request.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "any value can be written")]
pub struct PricePart {
    /// Symbol of an `[[asset]]`.
    pub asset: String,
    /// For a million tokens that are read.
    pub input: Decimal,
    /// For a million tokens that are written.
    pub output: Decimal,
    /// For each request.
    #[serde(default)]
    pub request: Decimal,
}

/// `[access]`.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "any value can be written")]
pub struct AccessPart {
    /// Whoever pays gets answers.
    pub paid: bool,
    /// Anybody does, without payment.
    pub open: bool,
    /// Whoever has one of the keys with these SHA-256 does, without payment.
    #[serde(deserialize_with = "fields::key_hashes")]
    pub keys: Vec<Hash32>,
}

/// `[guard]`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "any value can be written")]
pub struct GuardPart {
    /// A model of this file that judges each conversation before another answers it. It is not sold.
    pub model: Option<String>,
    /// Requests of one payer a minute; 0 for no cap.
    pub payer_requests_per_minute: u32,
    /// Tokens of one payer a day; 0 for no cap.
    pub payer_tokens_per_day: u64,
    /// Payers who get nothing.
    #[serde(deserialize_with = "fields::denied")]
    pub deny: Vec<Address>,
}

/// `[limits]`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "any value can be written")]
pub struct LimitsPart {
    /// Seconds that one answer is generated at most.
    #[serde(deserialize_with = "fields::generation_seconds")]
    pub generation_seconds: u64,
    /// Answers generated at once; one for each core if not said.
    #[serde(deserialize_with = "fields::some_count")]
    pub answers: Option<usize>,
    /// Connections at once.
    #[serde(deserialize_with = "fields::count")]
    pub connections: usize,
    /// Connections at once from one address.
    #[serde(deserialize_with = "fields::count")]
    pub connections_per_address: usize,
    /// Answers of one payer whose payment was not seen on chain yet.
    #[serde(deserialize_with = "fields::count")]
    pub unsettled_per_payer: usize,
}

/// `[anchor]`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "any value can be written")]
pub struct AnchorPart {
    /// Seconds between anchors, at least; a minute, and on the development chain a moment, if not said.
    #[serde(deserialize_with = "fields::anchor_seconds")]
    pub seconds: Option<u64>,
    /// At once when so much was charged since the last, in the first asset.
    pub value: Option<Decimal>,
}

/// `[renewal]`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "any value can be written")]
pub struct RenewalPart {
    /// Hours between renewals on chain.
    #[serde(deserialize_with = "fields::renewal_hours")]
    pub hours: u64,
}

/// `[storage]`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "any value can be written")]
pub struct StoragePart {
    /// Most MiB of the database; none if not said.
    #[serde(deserialize_with = "fields::quota")]
    pub quota_mib: Option<u64>,
    /// Whether sealed answers are kept for clients who lost the connection.
    pub keep_answers: bool,
}

/// `[log]`.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "any value can be written")]
pub struct LogPart {
    /// For people or for programs.
    #[serde(deserialize_with = "fields::log_format")]
    pub format: LogFormat,
    /// A level, or levels by target.
    #[serde(deserialize_with = "fields::log_level")]
    pub level: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete")]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object per line.
    Json,
}

/// `[metrics]`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::exhaustive_structs, reason = "any value can be written")]
pub struct MetricsPart {
    /// Where Prometheus asks; nowhere if not said.
    #[serde(deserialize_with = "fields::some_listen")]
    pub listen: Option<SocketAddr>,
    /// Whether that may be an address that others reach.
    pub remote: bool,
}

impl Default for NodeText {
    fn default() -> Self {
        Self {
            version: NODE_VERSION,
            node: NodePart::default(),
            keys: KeysPart::default(),
            terms: TermsPart::default(),
            chains: Vec::new(),
            assets: Vec::new(),
            models: Vec::new(),
            access: AccessPart::default(),
            guard: GuardPart::default(),
            limits: LimitsPart::default(),
            anchor: AnchorPart::default(),
            renewal: RenewalPart::default(),
            storage: StoragePart::default(),
            log: LogPart::default(),
            metrics: MetricsPart::default(),
        }
    }
}

impl Default for NodePart {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8443)),
            log_listen: SocketAddr::from(([127, 0, 0, 1], 8444)),
            urls: Vec::new(),
            log_urls: Vec::new(),
            check_urls: CheckUrls::Warn,
            data: PathBuf::from("node"),
            socket: None,
            policy: None,
            tee: None,
        }
    }
}

impl Default for TermsPart {
    fn default() -> Self {
        Self { days: 30, file: None }
    }
}

impl Default for AccessPart {
    fn default() -> Self {
        Self { paid: true, open: false, keys: Vec::new() }
    }
}

impl Default for LimitsPart {
    fn default() -> Self {
        Self { generation_seconds: 60, answers: None, connections: 1024, connections_per_address: 128, unsettled_per_payer: 8 }
    }
}

impl Default for RenewalPart {
    fn default() -> Self {
        Self { hours: 24 }
    }
}

impl Default for StoragePart {
    fn default() -> Self {
        Self { quota_mib: None, keep_answers: true }
    }
}

impl Default for LogPart {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

impl NodeText {
    /// Reads the text of a `node.toml`.
    ///
    /// # Errors
    /// [`NodeTextError`]: which field, what it takes, and where that stands in the text.
    pub fn parse(text: &str) -> Result<Self, NodeTextError> {
        let read: Self = toml::from_str(text).map_err(|error| NodeTextError::of_toml(&error, text))?;
        read.check()?;
        Ok(read)
    }

    /// What one field alone cannot say: that names which stand in several places are one another's.
    fn check(&self) -> Result<(), NodeTextError> {
        let refuse = |field: String, expected: &str, got: String| Err(NodeTextError::value(field, expected, got));
        for (at, asset) in self.assets.iter().enumerate() {
            if !self.chains.is_empty() && !self.chains.iter().any(|chain| chain.id == asset.chain_id) {
                return refuse(format!("asset[{at}].chain_id"), "the id of a [[chain]]", asset.chain_id.to_string());
            }
            if self.assets.iter().skip(at.saturating_add(1)).any(|other| other.symbol == asset.symbol) {
                return refuse(format!("asset[{at}].symbol"), "each symbol once", asset.symbol.clone());
            }
        }
        for (at, model) in self.models.iter().enumerate() {
            if self.models.iter().skip(at.saturating_add(1)).any(|other| other.id == model.id) {
                return refuse(format!("model[{at}].id"), "each model once", model.id.clone());
            }
            for (nth, price) in model.prices.iter().enumerate() {
                let field = |part: &str| format!("model[{at}].price[{nth}].{part}");
                let Some(asset) = self.asset(&price.asset) else {
                    let known: Vec<&str> = self.assets.iter().map(|asset| asset.symbol.as_str()).collect();
                    let expected = format!(
                        "the symbol of an [[asset]] ({})",
                        if known.is_empty() { "none is there".into() } else { known.join(", ") }
                    );
                    return refuse(field("asset"), &expected, price.asset.clone());
                };
                for (part, amount) in [("input", price.input), ("output", price.output), ("request", price.request)] {
                    if let Err(error) = amount.units(asset.decimals) {
                        return refuse(field(part), &error.to_string(), amount.to_string());
                    }
                }
            }
        }
        if let Some(value) = self.anchor.value {
            let Some(asset) = self.assets.first() else {
                return refuse("anchor.value".into(), "an [[asset]] whose money it is", value.to_string());
            };
            if let Err(error) = value.units(asset.decimals) {
                return refuse("anchor.value".into(), &error.to_string(), value.to_string());
            }
        }
        let built_in = || self.models.iter().enumerate().filter(|(_, model)| model.file.is_none());
        if let [(_, first), (at, second), ..] = built_in().collect::<Vec<_>>()[..] {
            let expected = format!("a file: without one it is the built-in model, which {:?} is already", first.id);
            return refuse(format!("model[{at}].file"), &expected, format!("none for {:?}", second.id));
        }
        if let Some(id) = &self.guard.model {
            let known: Vec<&str> = self.models.iter().map(|model| model.id.as_str()).collect();
            let Some((at, guard)) = self.models.iter().enumerate().find(|(_, model)| model.id == *id) else {
                return refuse("guard.model".into(), &format!("the id of a [[model]] ({})", known.join(", ")), format!("{id:?}"));
            };
            if self.models.len() == 1 {
                return refuse("guard.model".into(), "another [[model]] than the only one, which would answer nobody", format!("{id:?}"));
            }
            if !guard.prices.is_empty() {
                let got = format!("{} of them", guard.prices.len());
                return refuse(format!("model[{at}].price"), &format!("no price: {id:?} is the guard, which is not sold"), got);
            }
        }
        if !(self.access.paid || self.access.open || !self.access.keys.is_empty()) {
            return refuse("access".into(), "paid, open or keys", "nobody".into());
        }
        Ok(())
    }

    /// The asset with this symbol.
    #[must_use]
    pub fn asset(&self, symbol: &str) -> Option<&AssetPart> {
        self.assets.iter().find(|asset| asset.symbol == symbol)
    }

    /// What [`AnchorPart::value`] is in the smallest unit of the first asset; `None` without either.
    #[must_use]
    pub fn anchor_value(&self) -> Option<Amount> {
        let (value, asset) = (self.anchor.value?, self.assets.first()?);
        value.units(asset.decimals).ok()
    }
}

/// The fields of a text that was read before and their values as they stand there, as `part.name` and `part[0].name`.
#[must_use]
pub fn node_fields(text: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    walk("", toml::Value::Table(text.parse().unwrap_or_default()), &mut out);
    out
}

fn walk(path: &str, value: toml::Value, out: &mut Vec<(String, String)>) {
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                walk(&if path.is_empty() { name } else { format!("{path}.{name}") }, value, out);
            }
        }
        toml::Value::Array(items) if items.iter().any(toml::Value::is_table) => {
            for (at, item) in items.into_iter().enumerate() {
                walk(&format!("{path}[{at}]"), item, out);
            }
        }
        value => out.push((path.to_owned(), value.to_string())),
    }
}

#[cfg(test)]
mod tests;
