//! `proxy-keys.toml`: who may ask through a proxy, and what each may spend. A key itself is not in it, only its SHA-256.
//!
//! Not here: whether a request brings one (`candor-client`), and who may write the file (`candor-cli`).

use std::fmt;

use candor_verify::bytes::{Address, Hash32};
use serde::Deserialize;

use crate::toml_text::{bare, list, quoted, section};
use crate::{Decimal, DecimalError};

/// Most keys of one proxy: each is compared with what a request brings.
pub const PROXY_KEYS_MAX: usize = 1_000;

/// Longest name of a key, in bytes, and most models or payees that one may be held to.
const NAME_MAX: usize = 64;
const LIST_MAX: usize = 100;

/// The keys of a proxy.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a list of keys")]
pub struct ProxyKeysText {
    /// No two of one name, nor of one hash.
    pub keys: Vec<ProxyKeyText>,
}

/// One key, and what whoever has it may do. A limit that is not there is the policy's alone.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: who, and how much")]
pub struct ProxyKeyText {
    /// Letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// SHA-256 of the key.
    pub hash: Hash32,
    /// Most for one request, in the money of the asset that is paid.
    pub per_request: Option<Decimal>,
    /// Most in any hour.
    pub per_hour: Option<Decimal>,
    /// Most in any 24 hours.
    pub per_day: Option<Decimal>,
    /// Models that may be asked; any, if there is none.
    pub models: Vec<String>,
    /// Payees that may be paid; any of the policy, if there is none.
    pub payees: Vec<Address>,
}

/// Why a text names no keys.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ProxyKeysError {
    /// No TOML, or a field that is unknown, missing or of another kind, in the words of the TOML reader.
    Toml(String),
    /// A value that its field cannot have.
    Value {
        /// The field.
        field: &'static str,
        /// What it takes.
        expected: &'static str,
    },
    /// An amount that is none.
    Amount(DecimalError),
}

impl fmt::Display for ProxyKeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Toml(message) => f.write_str(message),
            Self::Value { field, expected } => write!(f, "key.{field}: expected {expected}, got something else"),
            Self::Amount(error) => write!(f, "key: expected {error}"),
        }
    }
}

impl std::error::Error for ProxyKeysError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    key: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    hash: String,
    per_request: Option<String>,
    per_hour: Option<String>,
    per_day: Option<String>,
    #[serde(default)]
    models: Vec<String>,
    #[serde(default)]
    payees: Vec<String>,
}

impl ProxyKeysText {
    /// Largest file that is read, in bytes: of the most keys, with many models and payees each.
    pub const BYTES_MAX: u64 = 1 << 24;

    /// Reads a file.
    ///
    /// # Errors
    /// [`ProxyKeysError`].
    pub fn parse(text: &str) -> Result<Self, ProxyKeysError> {
        let Document { key } = toml::from_str(text).map_err(|error| ProxyKeysError::Toml(error.to_string()))?;
        let value = |field, expected| ProxyKeysError::Value { field, expected };
        if PROXY_KEYS_MAX < key.len() {
            return Err(value("name", "at most 1000 keys"));
        }
        let keys = key.into_iter().map(Row::key).collect::<Result<Vec<_>, _>>()?;
        for (at, key) in keys.iter().enumerate() {
            let before = keys.get(..at).unwrap_or_default();
            if before.iter().any(|known| known.name == key.name || known.hash == key.hash) {
                return Err(value("name", "a name and a hash that no other key has"));
            }
        }
        Ok(Self { keys })
    }

    /// The text of a file, with what each part means.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let head =
            "# Who may ask through `candor proxy`, written by `candor proxy key`. Amounts are in the money of the asset that is paid.\n";
        self.keys.iter().fold(head.to_owned(), |mut out, key| {
            let ProxyKeyText { name, hash, per_request, per_hour, per_day, models, payees } = key;
            section(&mut out, "[[key]]", "");
            bare(&mut out, "name", &quoted(name));
            bare(&mut out, "hash", &quoted(hash));
            for (name, limit) in [("per_request", per_request), ("per_hour", per_hour), ("per_day", per_day)] {
                limit.iter().for_each(|limit| bare(&mut out, name, &quoted(limit)));
            }
            for (name, only) in [("models", list(models)), ("payees", list(payees))].iter().filter(|(_, only)| only != "[]") {
                bare(&mut out, name, only);
            }
            out
        })
    }
}

/// Whether this may be the name of a key.
#[must_use]
pub fn is_key_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(is_plain)
}

impl Row {
    fn key(self) -> Result<ProxyKeyText, ProxyKeysError> {
        let value = |field, expected| ProxyKeysError::Value { field, expected };
        let amount = |text: Option<String>| text.map(|text| Decimal::parse(&text)).transpose().map_err(ProxyKeysError::Amount);
        let Self { name, hash, per_request, per_hour, per_day, models, payees } = self;
        if !is_key_name(&name) {
            return Err(value("name", "1 to 64 letters, digits, -, _ and ."));
        }
        if LIST_MAX < models.len() || LIST_MAX < payees.len() {
            return Err(value("models", "at most 100 models and payees"));
        }
        let hash = Hash32::from_hex(&hash).ok_or(value("hash", "0x and 64 hex digits"))?;
        let payee = |text: &String| Address::from_hex(text).ok_or(value("payees", "addresses of 0x and 40 hex digits"));
        let payees = payees.iter().map(payee).collect::<Result<_, _>>()?;
        let (per_request, per_hour, per_day) = (amount(per_request)?, amount(per_hour)?, amount(per_day)?);
        Ok(ProxyKeyText { name, hash, per_request, per_hour, per_day, models, payees })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, byte: u8) -> ProxyKeyText {
        let amount = |text: &str| Some(Decimal::parse(text).unwrap());
        ProxyKeyText {
            name: name.into(),
            hash: Hash32([byte; 32]),
            per_request: amount("0.001"),
            per_hour: None,
            per_day: amount("2"),
            models: vec!["candor \"mini\"\n".into()],
            payees: vec![Address([7; 20])],
        }
    }

    #[test]
    fn what_is_written_is_read_and_what_cannot_be_meant_is_refused_by_its_field() {
        let keys = ProxyKeysText { keys: vec![key("ci", 1), key("a.b-c_1", 2)] };
        assert_eq!(ProxyKeysText::parse(&keys.to_toml()), Ok(keys));
        assert_eq!(ProxyKeysText::parse(""), Ok(ProxyKeysText::default()));
        let of = |text: &str| ProxyKeysText::parse(text).unwrap_err().to_string();
        let hash = Hash32([1; 32]);
        let row = |rest: &str| format!("[[key]]\nname = \"a\"\nhash = \"{hash}\"\n{rest}");
        for (text, words) in [
            ("[[key]]\nname = \"a b\"\nhash = \"0x\"".to_owned(), "key.name"),
            ("[[key]]\nname = \"a\"\nhash = \"0x01\"".to_owned(), "key.hash"),
            (row("per_day = \"1e3\""), "an amount in digits"),
            (row("per_day = 1.5"), "per_day"),
            (row("payees = [\"0x01\"]"), "key.payees"),
            (row("per_week = \"1\""), "per_week"),
            (row("") + &row(""), "no other key"),
        ] {
            assert!(of(&text).contains(words), "{text}: {}", of(&text));
        }
    }
}
