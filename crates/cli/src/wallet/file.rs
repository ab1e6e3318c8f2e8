//! What pays from a state directory: a keystore, a program that signs, or on the development chain the wallet that everybody knows.
//!
//! - **Invariant:** there is one. Two files are an error and not a choice.

use std::path::{Path, PathBuf};

use candor_chain::{KeystoreError, Signer, keystore_address};
use candor_client::{SignerProgram, Wallet, read_text};
use candor_report::WalletText;
use candor_verify::bytes::Address;

use super::Passphrase;
use crate::dev::{Development, Role};
use crate::keys::{check_private, missing, own};
use crate::output::{Failure, note};

/// Name of a keystore in a state directory.
pub(crate) const KEYSTORE: &str = "wallet.json";

/// Name of the file that names a program.
pub(crate) const PROGRAM: &str = "wallet.toml";

/// Both: what a state that is begun anew may keep.
pub(crate) const FILES: [&str; 2] = [KEYSTORE, PROGRAM];

/// Largest file that names a program, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 16;

/// What pays.
pub(super) enum Kind {
    Keystore(PathBuf),
    Program(WalletText),
    Development(Development),
}

impl Kind {
    /// For whoever reads `--json`.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Keystore(_) => "keystore",
            Self::Program(_) => "program",
            Self::Development(_) => "development",
        }
    }

    /// Who pays. No key is opened if the keystore shows its address.
    pub(super) fn address(&self, passphrase: &Passphrase) -> Result<Address, Failure> {
        let cannot = |path: &Path, error: KeystoreError| Failure::cannot(format!("{}: {error}", path.display()));
        match self {
            Self::Keystore(path) => match keystore_address(path).map_err(|error| cannot(path, error))? {
                Some(address) => Ok(address),
                None => Ok(decrypt(path, &passphrase.get(&format!("passphrase of {}: ", path.display()))?)?.address()),
            },
            Self::Program(text) => Ok(text.address),
            Self::Development(development) => Ok(development.address(Role::Payer)),
        }
    }
}

/// What pays from this state directory, on whatever chain; `None`: no wallet of its own.
pub(super) fn find_own(state: &Path) -> Result<Option<Kind>, Failure> {
    let [keystore, program] = FILES.map(|name| state.join(name));
    match (keystore.exists(), program.exists()) {
        (true, true) => Err(Failure::cannot(format!(
            "two wallets: expected {} or {}, got both; move away the one that is not to pay",
            keystore.display(),
            program.display()
        ))),
        (true, false) => Ok(Some(Kind::Keystore(keystore))),
        (false, true) => Ok(Some(Kind::Program(read_program(&program)?))),
        (false, false) => Ok(None),
    }
}

/// What pays from this state directory on this chain.
pub(super) fn find(state: &Path, chain_id: u64) -> Result<Kind, Failure> {
    let own = find_own(state)?.or_else(|| Development::of(chain_id).map(Kind::Development));
    own.ok_or_else(|| missing("wallet", chain_id, &state.join(KEYSTORE).display().to_string(), "candor wallet new"))
}

fn read_program(path: &Path) -> Result<WalletText, Failure> {
    // Whoever can write it runs programs as its owner.
    check_private(path)?;
    WalletText::parse(&read_text(path, FILE_BYTES_MAX)?).map_err(|error| Failure::cannot(format!("{}: {error}", path.display())))
}

/// The wallet of this state directory, to pay with; on the development chain, without one, the development wallet.
pub(crate) fn open(state: &Path, chain_id: u64, passphrase: &Passphrase) -> Result<Wallet, Failure> {
    match find(state, chain_id)? {
        Kind::Program(text) => {
            own(text.address, "wallet.toml", chain_id)?;
            Ok(of_program(text))
        }
        kind => Ok(Wallet::from_bytes(&kind.signer(chain_id, passphrase)?.to_bytes())?),
    }
}

/// A wallet that a program signs for.
pub(super) fn of_program(text: WalletText) -> Wallet {
    Wallet::of_program(text.address, SignerProgram::new(text.command, |line| note!("signer: {line}")))
}

/// Whether there is one to pay with.
pub(crate) fn is_there(state: &Path, chain_id: u64) -> bool {
    FILES.iter().any(|name| state.join(name).exists()) || Development::of(chain_id).is_some()
}

/// The same, to send transactions with.
pub(crate) fn signer(state: &Path, chain_id: u64, passphrase: &Passphrase) -> Result<Signer, Failure> {
    find(state, chain_id)?.signer(chain_id, passphrase)
}

impl Kind {
    fn signer(&self, chain_id: u64, passphrase: &Passphrase) -> Result<Signer, Failure> {
        match self {
            Self::Keystore(path) => load(path, passphrase, chain_id),
            Self::Development(development) => Ok(development.signer(Role::Payer)),
            Self::Program(_) => Err(Failure::cannot(
                "this command sends a transaction, and the program in wallet.toml signs payments only; name a state directory with a \
                 keystore instead: candor wallet new --state DIR, and some ether for its address",
            )),
        }
    }
}

/// A keystore of the caller's choice, for use on this chain.
pub(crate) fn load(path: &Path, passphrase: &Passphrase, chain_id: u64) -> Result<Signer, Failure> {
    let passphrase = passphrase.get(&format!("passphrase of {}: ", path.display()))?;
    let signer = decrypt(path, &passphrase)?;
    own(signer.address(), &path.display().to_string(), chain_id)?;
    Ok(signer)
}

/// Who pays for a transaction that anybody may send: the keystore that is named, else on the development chain an account that everybody knows.
pub(crate) fn gas_payer(key: Option<&Path>, passphrase: &Passphrase, chain_id: u64) -> Result<Signer, Failure> {
    match (key, Development::of(chain_id)) {
        (Some(path), _) => load(path, passphrase, chain_id),
        (None, Some(development)) => Ok(development.signer(Role::Faucet)),
        (None, None) => Err(missing("sender", chain_id, "--key FILE", "candor wallet new FILE, and give it some ether for gas")),
    }
}

/// A keystore whose passphrase is known.
pub(crate) fn decrypt(path: &Path, passphrase: &str) -> Result<Signer, Failure> {
    Signer::load(path, passphrase).map_err(|error| Failure::cannot(format!("{}: {error}", path.display())))
}
