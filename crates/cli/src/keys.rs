//! Whose key signs what for a node, and where it comes from.
//!
//! | role | signs | where from, off the development chain |
//! |---|---|---|
//! | operator | the terms, once, when `serve` starts | `operator.json` in the directory of `--keys` |
//! | registrar | each registration, and pays for it and for renewals | `registrar.json` |
//! | gas | settlements | `gas.json` |
//! | anchor | anchors | `anchor.json` |
//! | payee | nothing here: an address | `--payee` |
//!
//! On the development chain each has a default that everybody knows (`dev.rs`). On any other there is none: a role without a key of its own
//! refuses to start, and so does one whose "own" key is one of those.
//! - **Invariant:** the operator's key stays in `serve`. Its host gets the other three over a pipe: no key is in an argument, in the
//!   environment or in a file that was not there before.

use std::path::{Path, PathBuf};

use candor_chain::Signer;
use candor_devchain::dev_accounts;
use candor_host::GasKeys;
use candor_verify::bytes::{Address, Hash32};
use serde_json::{Value, json};

use crate::dev::{Development, Role};
use crate::output::Failure;
use crate::wallet::{self, Passphrase};

/// Where the keys of a node are.
#[derive(clap::Args)]
pub(crate) struct NodeKeyArgs {
    /// Directory with the node's keys, as `candor wallet new` makes them: operator.json, registrar.json, gas.json, anchor.json, all with one
    /// passphrase. On the development chain keys that everybody knows, if not said; on any other it is needed.
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// Who is paid. On the development chain an account that everybody knows, if not said; on any other it is needed.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    payee: Option<Address>,
    #[command(flatten)]
    passphrase: Passphrase,
}

/// An address on the command line.
pub(crate) fn address(text: &str) -> Result<Address, &'static str> {
    Address::from_hex(text).filter(|address| !address.is_zero()).ok_or("expected 0x and 40 hex digits, not all zero")
}

/// Everything of a node that has a key, or is one's address.
pub(crate) struct NodeKeys {
    pub(crate) operator: Signer,
    pub(crate) payee: Address,
    pub(crate) host: HostKeys,
}

/// What the host half signs with.
pub(crate) struct HostKeys {
    pub(crate) registrar: Signer,
    pub(crate) gas: GasKeys,
}

/// Where the keys come from.
enum From<'a> {
    Directory(&'a Path),
    Everybody(Development),
}

impl NodeKeyArgs {
    /// The keys for a node on this chain.
    pub(crate) fn load(&self, chain_id: u64) -> Result<NodeKeys, Failure> {
        let development = Development::of(chain_id);
        let from = match (&self.keys, development) {
            (Some(directory), _) => From::Directory(directory),
            (None, Some(development)) => From::Everybody(development),
            (None, None) => {
                let make = "mkdir -m 700 KEYS && candor wallet new KEYS/operator.json, and so for registrar, gas and anchor";
                return Err(missing("operator", chain_id, "--keys DIR", make));
            }
        };
        let payee = match (self.payee, development) {
            (Some(payee), _) => own(payee, "payee", chain_id)?,
            (None, Some(development)) => development.address(Role::Payee),
            (None, None) => return Err(missing("payee", chain_id, "--payee ADDRESS", "candor wallet new FILE, which shows the address")),
        };
        let (operator, host) = match from {
            From::Everybody(development) => (development.signer(Role::Operator), HostKeys::development(development)),
            From::Directory(directory) => self.read(directory, chain_id)?,
        };
        Ok(NodeKeys { operator, payee, host })
    }

    /// The registrar's alone: who sets prices needs no other.
    pub(crate) fn registrar(&self, chain_id: u64) -> Result<Signer, Failure> {
        match (&self.keys, Development::of(chain_id)) {
            (Some(directory), _) => {
                let path = directory.join("registrar.json");
                let passphrase = self.passphrase.get(&format!("passphrase of {}: ", path.display()))?;
                let signer = wallet::decrypt(&path, &passphrase)?;
                own(signer.address(), "registrar", chain_id)?;
                Ok(signer)
            }
            (None, Some(development)) => Ok(development.signer(Role::Registrar)),
            (None, None) => Err(missing("registrar", chain_id, "--keys DIR", "candor wallet new KEYS/registrar.json")),
        }
    }

    fn read(&self, directory: &Path, chain_id: u64) -> Result<(Signer, HostKeys), Failure> {
        let path = |role: &str| directory.join(format!("{role}.json"));
        // Before the passphrase is asked for.
        for role in ["operator", "registrar", "gas", "anchor"] {
            let path = path(role);
            if !path.exists() {
                let make = format!("candor wallet new {}", path.display());
                return Err(missing(role, chain_id, &format!("{role}.json in the directory of --keys"), &make));
            }
        }
        let passphrase = self.passphrase.get(&format!("passphrase of the keys in {}: ", directory.display()))?;
        let load = |role: &'static str| -> Result<Signer, Failure> {
            let signer = wallet::decrypt(&path(role), &passphrase)?;
            own(signer.address(), role, chain_id)?;
            Ok(signer)
        };
        let host = HostKeys { registrar: load("registrar")?, gas: GasKeys { gas: load("gas")?, anchor: load("anchor")? } };
        // Each account has its nonces, and one writer.
        let accounts = [host.registrar.address(), host.gas.gas.address(), host.gas.anchor.address()];
        if accounts[0] == accounts[1] || accounts[1] == accounts[2] || accounts[0] == accounts[2] {
            return Err(Failure::cannot("registrar, gas and anchor are to be three accounts: each owns the nonces of its own"));
        }
        Ok((load("operator")?, host))
    }
}

impl HostKeys {
    /// Those that everybody knows.
    pub(crate) fn development(development: Development) -> Self {
        let signer = |role| development.signer(role);
        Self { registrar: signer(Role::Registrar), gas: GasKeys { gas: signer(Role::Gas), anchor: signer(Role::Anchor) } }
    }

    /// As one line, for the pipe between `serve` and its host. Never to be shown.
    pub(crate) fn to_line(&self) -> String {
        let key = |signer: &Signer| Hash32(signer.to_bytes()).to_string();
        json!({"registrar": key(&self.registrar), "gas": key(&self.gas.gas), "anchor": key(&self.gas.anchor)}).to_string()
    }

    /// Reads that line. What is wrong with it is not shown.
    pub(crate) fn from_line(line: &str) -> Result<Self, Failure> {
        let value: Value = serde_json::from_str(line).unwrap_or_default();
        let key = |name: &str| {
            let key = value[name].as_str().and_then(Hash32::from_hex).and_then(|key| Signer::from_bytes(&key.0));
            key.ok_or_else(|| Failure::cannot(format!("expected the {name} key on standard input from `candor serve`, got none")))
        };
        Ok(Self { registrar: key("registrar")?, gas: GasKeys { gas: key("gas")?, anchor: key("anchor")? } })
    }
}

/// An account of a role, if it may be one on this chain: off the development chain nobody signs with, pays to or believes a key that
/// everybody knows.
pub(crate) fn own(account: Address, role: &str, chain_id: u64) -> Result<Address, Failure> {
    let is_published = dev_accounts::ALL.iter().any(|known| known.address.0.0 == account.0);
    if is_published && Development::of(chain_id).is_none() {
        return Err(Failure::cannot(format!(
            "{role}: {account} has a private key that everybody knows, and chain {chain_id} is not the development chain (31337): whoever reads \
             this could sign in its place. Make another with: candor wallet new FILE"
        )));
    }
    Ok(account)
}

/// A role without a key, on a chain where it has no default.
pub(crate) fn missing(role: &str, chain_id: u64, flag: &str, make: &str) -> Failure {
    Failure::cannot(format!(
        "{role}: no key of its own on chain {chain_id}, where none is a default; expected {flag}; make one with: {make}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_arrive_over_the_pipe_as_they_were_sent_and_no_other_line_is_taken() {
        let keys = HostKeys { registrar: Signer::random(), gas: GasKeys { gas: Signer::random(), anchor: Signer::random() } };
        let line = keys.to_line();
        assert!(!line.contains('\n'));
        let read = HostKeys::from_line(&line).unwrap();
        let accounts = |keys: &HostKeys| [&keys.registrar, &keys.gas.gas, &keys.gas.anchor].map(Signer::address);
        assert_eq!(accounts(&read), accounts(&keys));
        for bad in ["", "{}", &line.replace("gas", "gaz"), &line[1..]] {
            let failure = HostKeys::from_line(bad).err().unwrap();
            assert!(!failure.message().contains(&line[20..40]), "no key is shown");
        }
    }

    #[test]
    fn a_key_that_everybody_knows_is_nobodys_own_off_the_development_chain() {
        let known = Address(dev_accounts::ALL[1].address.0.0);
        assert!(own(known, "operator", 31337).is_ok());
        let refused = own(known, "operator", 84532).err().unwrap();
        assert!(refused.message().contains("operator") && refused.message().contains("84532"));
        assert!(own(Signer::random().address(), "operator", 84532).is_ok());
    }
}
