//! `deployment.toml`: which contracts stand on a chain, and what their addresses follow from. Written by `candor deploy`, read by nodes,
//! attestors and whoever writes a policy.
//!
//! Unknown fields are refused, and nothing here is believed: an address counts if it is the one that code and arguments say, which is
//! computed where the code is (`candor-chain`), and a chain says what stands there.

use candor_verify::bytes::{Address, Hash32};
use serde::Deserialize;

use crate::toml_text::list;

/// What a deployment file says.
///
/// ```
/// use candor_report::{DeploymentText, DeploymentTextError};
///
/// let text = "chain_id = 84532\n[quorum]\nthreshold = 1\nattestors = [\"0x0101010101010101010101010101010101010101\"]";
/// let read = DeploymentText::parse(text).unwrap();
/// assert_eq!((read.chain_id, read.threshold, read.contracts.len()), (84532, 1, 0));
/// assert!(matches!(DeploymentText::parse("chain = 84532"), Err(DeploymentTextError::Toml(_))), "not a field");
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "any value can be written; whether it is true, its reader computes")]
pub struct DeploymentText {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// How many attestors of the quorum must agree.
    pub threshold: u64,
    /// The quorum, ascending, each once.
    pub attestors: Vec<Address>,
    /// The contracts: in the order given when written, by name when read.
    pub contracts: Vec<ContractText>,
}

/// One contract of a deployment.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "any value can be written")]
pub struct ContractText {
    /// Name of the contract, in letters and digits.
    pub name: String,
    /// Where it is.
    pub address: Address,
    /// keccak256 of creation code and constructor arguments, which the address follows from.
    pub init_code_hash: Hash32,
    /// keccak256 of the code that the chain has there.
    pub code_hash: Hash32,
}

/// Why a text is no deployment.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DeploymentTextError {
    /// No TOML, or a field that is unknown, missing or of another kind, in the words of the TOML reader.
    Toml(String),
    /// A value that its field cannot have.
    Value {
        /// The field.
        field: String,
        /// What it takes.
        expected: &'static str,
        /// What stands there.
        got: String,
    },
    /// More attestors must agree than there are, or none.
    Threshold {
        /// How many there are: the most that it can be.
        expected: usize,
        /// What `quorum.threshold` says.
        got: u64,
    },
}

impl std::fmt::Display for DeploymentTextError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Toml(message) => f.write_str(message),
            Self::Value { field, expected, got } => write!(f, "{field}: expected {expected}, got {got:?}"),
            Self::Threshold { expected, got } => {
                write!(f, "quorum.threshold: expected 1 to {expected}, the number of quorum.attestors, got {got}")
            }
        }
    }
}

impl std::error::Error for DeploymentTextError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    chain_id: u64,
    quorum: Quorum,
    #[serde(default)]
    contracts: toml::Table,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Quorum {
    threshold: u64,
    attestors: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Contract {
    address: String,
    init_code_hash: String,
    code_hash: String,
}

impl DeploymentText {
    /// Reads the text of a deployment file.
    ///
    /// # Errors
    /// `Toml` for the form, `Value` and `Threshold` for what it says; each names the field.
    pub fn parse(text: &str) -> Result<Self, DeploymentTextError> {
        let document: Document = toml::from_str(text).map_err(|error| malformed(&error))?;
        let Document { chain_id, quorum: Quorum { threshold, attestors: named }, contracts } = document;
        let mut attestors = Vec::new();
        for text in &named {
            let attestor = address("quorum.attestors", text)?;
            // A set, in the one order that the contract takes it in: two texts of one quorum would be two files of one deployment.
            if attestors.last().is_some_and(|last| attestor <= *last) {
                return Err(value("quorum.attestors", "addresses in ascending order, each once", text));
            }
            attestors.push(attestor);
        }
        if threshold == 0 || usize::try_from(threshold).is_ok_and(|threshold| attestors.len() < threshold) {
            return Err(DeploymentTextError::Threshold { expected: attestors.len(), got: threshold });
        }
        let contracts = contracts.into_iter().map(contract).collect::<Result<_, _>>()?;
        Ok(Self { chain_id, threshold, attestors, contracts })
    }

    /// The text of a deployment file with these values, commented.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let Self { chain_id, threshold, attestors, contracts } = self;
        let mut out = format!(
            "# Contracts of Candor on chain {chain_id}, in the order of their deployment: CREATE2 by 0x4e59b44847b379578588920ca78fbf26c0b4956c, salt 0.\n\
             # Anybody can check it: candor deploy --check --rpc URL --threshold {threshold} and an --attestor for each.\n\
             chain_id = {chain_id}\n\n[quorum]\nthreshold = {threshold}\nattestors = {}\n",
            list(attestors)
        );
        for ContractText { name, address, init_code_hash, code_hash } in contracts {
            out.push_str(&format!(
                "\n[contracts.{name}]\naddress = \"{address}\"\ninit_code_hash = \"{init_code_hash}\"\ncode_hash = \"{code_hash}\"\n"
            ));
        }
        out
    }
}

fn contract((name, table): (String, toml::Value)) -> Result<ContractText, DeploymentTextError> {
    let Contract { address: at, init_code_hash, code_hash } = table.try_into().map_err(|error: toml::de::Error| malformed(&error))?;
    let field = |part: &str| format!("contracts.{name}.{part}");
    let hash = |part: &str, text: &str| Hash32::from_hex(text).ok_or_else(|| value(&field(part), "32 bytes of hex", text));
    Ok(ContractText {
        address: address(&field("address"), &at)?,
        init_code_hash: hash("init_code_hash", &init_code_hash)?,
        code_hash: hash("code_hash", &code_hash)?,
        name,
    })
}

fn address(field: &str, text: &str) -> Result<Address, DeploymentTextError> {
    Address::from_hex(text).filter(|address| !address.is_zero()).ok_or_else(|| value(field, "an address, not zero", text))
}

fn value(field: &str, expected: &'static str, got: &str) -> DeploymentTextError {
    DeploymentTextError::Value { field: field.to_owned(), expected, got: got.to_owned() }
}

fn malformed(error: &toml::de::Error) -> DeploymentTextError {
    DeploymentTextError::Toml(error.to_string().trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment() -> DeploymentText {
        let contract = |name: &str, at| ContractText {
            name: name.to_owned(),
            address: Address([at; 20]),
            init_code_hash: Hash32([at; 32]),
            code_hash: Hash32([at.wrapping_add(1); 32]),
        };
        DeploymentText {
            chain_id: 84532,
            threshold: 2,
            attestors: vec![Address([1; 20]), Address([2; 20]), Address([3; 20])],
            contracts: vec![contract("CandorRegistry", 7), contract("QuorumVerifier", 9)],
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        assert_eq!(DeploymentText::parse(&deployment().to_toml()), Ok(deployment()));
    }

    #[test]
    fn a_field_that_is_unknown_or_missing_is_refused() {
        let text = deployment().to_toml();
        for (from, to) in
            [("chain_id =", "chain ="), ("threshold =", "treshold ="), ("code_hash =", "codehash ="), ("[contracts.", "[contract.")]
        {
            let changed = text.replacen(&format!("\n{from}"), &format!("\n{to}"), 1);
            assert_ne!(changed, text, "{from}");
            assert!(matches!(DeploymentText::parse(&changed), Err(DeploymentTextError::Toml(_))), "{from}");
        }
    }

    #[test]
    fn a_value_that_its_field_cannot_have_is_refused_by_name() {
        let text = deployment().to_toml();
        let refused = |from: &str, to: &str| {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            DeploymentText::parse(&changed).unwrap_err()
        };
        let field = |error: DeploymentTextError| match error {
            DeploymentTextError::Value { field, .. } => field,
            other => panic!("{other:?}"),
        };
        let (registry, first) = (Address([7; 20]).to_string(), Address([1; 20]).to_string());
        assert_eq!(field(refused(&registry, "0x07")), "contracts.CandorRegistry.address");
        assert_eq!(field(refused(&Hash32([7; 32]).to_string(), &registry)), "contracts.CandorRegistry.init_code_hash");
        assert_eq!(field(refused(&first, &Address([2; 20]).to_string())), "quorum.attestors", "a member twice");
        assert_eq!(field(refused(&first, &Address([4; 20]).to_string())), "quorum.attestors", "another order");
        for threshold in [0, 4] {
            let error = refused("threshold = 2", &format!("threshold = {threshold}"));
            assert_eq!(error, DeploymentTextError::Threshold { expected: 3, got: threshold });
        }
    }
}
