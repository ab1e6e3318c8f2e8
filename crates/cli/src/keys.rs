//! Whose key signs what for a node, and where it comes from.
//!
//! | role | signs | where from, off the development chain |
//! |---|---|---|
//! | operator | the terms: when `serve` starts, or elsewhere (`candor terms sign`) | `operator.json` in `keys.directory` of node.toml |
//! | registrar | each registration, and pays for it and for renewals | `registrar.json` |
//! | gas | settlements | `gas.json` |
//! | anchor | anchors | `anchor.json` |
//! | payee | nothing here: an address | `keys.payee` |
//!
//! On the development chain each has a default that everybody knows (`dev.rs`). On any other there is none: a role without a key of its own
//! refuses to start, and so does one whose "own" key is one of those.
//! - **Invariant:** the operator's key stays in `serve`. Its host gets the other three over a pipe: no key is in an argument, in the
//!   environment or in a file that was not there before.

use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use candor_chain::Signer;
use candor_devchain::dev_accounts;
use candor_host::GasKeys;
use candor_report::KeysPart;
use candor_verify::bytes::{Address, Hash32};
use serde_json::{Value, json};

use crate::config::{Settings, from_here};
use crate::dev::{Development, Role};
use crate::output::Failure;
use crate::wallet::{self, Passphrase};

/// Where the keys of a node are, over what its file says.
#[derive(clap::Args, Clone)]
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

impl NodeKeyArgs {
    pub(crate) fn put(self, settings: &mut Settings) {
        settings.set(self.keys.map(from_here), |text, path| text.keys.directory = Some(path));
        settings.set(self.payee, |text, payee| text.keys.payee = Some(payee));
        settings.set(self.passphrase.file().map(from_here), |text, path| text.keys.passphrase_file = Some(path));
    }
}

/// An address on the command line.
pub(crate) fn address(text: &str) -> Result<Address, &'static str> {
    Address::from_hex(text).filter(|address| !address.is_zero()).ok_or("expected 0x and 40 hex digits, not all zero")
}

/// Whether only its owner can open a file, as one with a secret has to be.
pub(crate) fn check_private(path: &Path) -> Result<(), Failure> {
    let mode = std::fs::metadata(path).map_err(|error| Failure::cannot(format!("{}: {error}", path.display())))?.mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let what = "expected a file that only its owner can open (mode 600)";
    Err(Failure::cannot(format!("{}: {what}, got mode {mode:o}; chmod 600 it", path.display())))
}

/// Everything of a node that has a key, or is one's address.
pub(crate) struct NodeKeys {
    /// `None`: it is elsewhere, and has signed.
    pub(crate) operator: Option<Signer>,
    pub(crate) payee: Address,
    pub(crate) host: HostKeys,
}

/// What the host half signs with.
#[derive(Clone)]
pub(crate) struct HostKeys {
    pub(crate) registrar: Signer,
    pub(crate) gas: GasKeys,
}

/// The roles whose keystores a host needs.
pub(crate) const HOST_ROLES: [&str; 3] = ["registrar", "gas", "anchor"];

/// The role that signs the terms.
pub(crate) const OPERATOR: &str = "operator";

/// Where the keystore of a role is.
pub(crate) fn keystore(directory: &Path, role: &str) -> PathBuf {
    directory.join(format!("{role}.json"))
}

/// The keys for a node on this chain. Where the operator's is not needed, it may be missing.
pub(crate) fn load(part: &KeysPart, needs_operator: bool, chain_id: u64) -> Result<NodeKeys, Failure> {
    let development = Development::of(chain_id);
    if part.directory.is_none() && development.is_none() {
        return Err(missing(OPERATOR, chain_id, "keys.directory or --keys DIR", "candor init, or each with candor wallet new"));
    }
    let payee = payee(part, chain_id)?;
    let (operator, host) = match (&part.directory, development) {
        (Some(directory), _) => read(directory, part, needs_operator, chain_id)?,
        (None, Some(development)) => (Some(development.signer(Role::Operator)), HostKeys::development(development)),
        // Refused above.
        (None, None) => return Err(missing(OPERATOR, chain_id, "keys.directory", "candor init")),
    };
    Ok(NodeKeys { operator, payee, host })
}

/// That of one role of the host alone: who sets prices needs the registrar's and no other.
pub(crate) fn one(part: &KeysPart, role: &str, chain_id: u64) -> Result<Signer, Failure> {
    let known = || {
        let role = HOST_ROLES.iter().zip([Role::Registrar, Role::Gas, Role::Anchor]).find(|(name, _)| **name == role)?.1;
        Some(Development::of(chain_id)?.signer(role))
    };
    match &part.directory {
        Some(directory) => wallet::load(&keystore(directory, role), &Passphrase::of(part.passphrase_file.clone()), chain_id),
        None => known().ok_or_else(|| missing(role, chain_id, "keys.directory or --keys DIR", "candor init")),
    }
}

fn payee(part: &KeysPart, chain_id: u64) -> Result<Address, Failure> {
    match (part.payee, Development::of(chain_id)) {
        (Some(payee), _) => own(payee, "payee", chain_id),
        (None, Some(development)) => Ok(development.address(Role::Payee)),
        (None, None) => {
            let make = "candor wallet new FILE, which shows the address";
            Err(missing("payee", chain_id, "keys.payee or --payee ADDRESS", make))
        }
    }
}

/// The keys for another boot of a node that runs, whose host has its keys already. Nobody is asked for a passphrase: whoever runs `serve` may
/// not be there.
pub(crate) fn load_beside(part: &KeysPart, needs_operator: bool, host: &HostKeys, chain_id: u64) -> Result<NodeKeys, Failure> {
    let operator = match (&part.directory, Development::of(chain_id)) {
        _ if !needs_operator => None,
        (Some(directory), _) if part.passphrase_file.is_some() => {
            Some(wallet::load(&keystore(directory, OPERATOR), &Passphrase::of(part.passphrase_file.clone()), chain_id)?)
        }
        (Some(_), _) => {
            return Err(Failure::cannot(
                "the operator's key has a passphrase that this node was not given in a file; sign terms beforehand (candor terms renew, or \
                 draft and sign) and give them: --terms FILE",
            ));
        }
        (None, Some(development)) => Some(development.signer(Role::Operator)),
        (None, None) => return Err(missing(OPERATOR, chain_id, "keys.directory or --keys DIR", "candor init")),
    };
    Ok(NodeKeys { operator, payee: payee(part, chain_id)?, host: host.clone() })
}

/// Takes the host's keystores for one node, until the files are dropped: two nodes with one account would replace each other's transactions.
/// Does not see a copy of a keystore, nor another machine.
pub(crate) fn hold(part: &KeysPart) -> Result<Vec<File>, Failure> {
    let Some(directory) = &part.directory else { return Ok(Vec::new()) };
    let lock = |role: &str| {
        let path = keystore(directory, role);
        let cannot = |error: std::io::Error| Failure::cannot(format!("{}: {error}", path.display()));
        let file = File::open(&path).map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(Failure::cannot(format!(
                "{role}: another node uses {}: each account has one writer; give this node keys of its own (candor init)",
                path.display()
            ))),
            Err(TryLockError::Error(error)) => Err(cannot(error)),
        }
    };
    HOST_ROLES.iter().map(|role| lock(role)).collect()
}

fn read(directory: &Path, part: &KeysPart, needs_operator: bool, chain_id: u64) -> Result<(Option<Signer>, HostKeys), Failure> {
    let path = |role: &str| keystore(directory, role);
    // Before the passphrase is asked for.
    for role in needs_operator.then_some(OPERATOR).into_iter().chain(HOST_ROLES) {
        let path = path(role);
        if !path.exists() {
            let make = format!("candor wallet new {}", path.display());
            return Err(missing(role, chain_id, &format!("{role}.json in {}", directory.display()), &make));
        }
    }
    let passphrase = Passphrase::of(part.passphrase_file.clone()).get(&format!("passphrase of the keys in {}: ", directory.display()))?;
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
    Ok((needs_operator.then(|| load(OPERATOR)).transpose()?, host))
}

/// The account of one role of the host, from its keystore, which is not opened.
pub(crate) fn address_of(part: &KeysPart, role: &str, chain_id: u64) -> Result<Address, Failure> {
    match &part.directory {
        Some(directory) => address_in(&keystore(directory, role)),
        None => Ok(one(part, role, chain_id)?.address()),
    }
}

/// The address that a keystore shows.
pub(crate) fn address_in(path: &Path) -> Result<Address, Failure> {
    let address = candor_chain::keystore_address(path).map_err(|error| Failure::cannot(format!("{}: {error}", path.display())))?;
    address.ok_or_else(|| Failure::cannot(format!("{}: the file does not show its address", path.display())))
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
