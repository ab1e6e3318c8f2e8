//! Wallet files: the Web3 Secret Storage form (scrypt, AES-128-CTR), which every Ethereum wallet reads. Mode 0600.
//!
//! What a passphrase protects against: a copied file. Not: a stranger on this machine while the key is in use.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use alloy::signers::local::PrivateKeySigner;
use candor_verify::Address;
use rand::rngs::OsRng;
use serde_json::Value;

use crate::submit::Signer;

/// Why a wallet file cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeystoreError {
    /// The file cannot be read or written, or is there already.
    Io(std::io::Error),
    /// Others than its owner can read it.
    Exposed {
        /// Its mode.
        mode: u32,
    },
    /// Wrong passphrase, or no wallet file.
    Keystore(String),
}

impl std::fmt::Display for KeystoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Exposed { mode } => write!(f, "others can read this wallet (mode {mode:o}); expected 600"),
            Self::Keystore(what) => write!(f, "wrong passphrase, or no wallet file ({what})"),
        }
    }
}

impl std::error::Error for KeystoreError {}

impl From<std::io::Error> for KeystoreError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl Signer {
    /// Writes the key, encrypted, to a file that must not exist yet, in a directory that must. Nobody else can read it at any moment.
    ///
    /// # Errors
    /// `Io`, `Keystore`. Crash: a half-written temporary file holds only ciphertext and is never taken for the wallet.
    pub fn store(&self, path: &Path, passphrase: &str) -> Result<(), KeystoreError> {
        if path.exists() {
            return Err(std::io::Error::new(std::io::ErrorKind::AlreadyExists, "is there already; it was not touched").into());
        }
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !directory.is_dir() {
            let what = format!("there is no directory {}", directory.display());
            return Err(std::io::Error::new(std::io::ErrorKind::NotFound, what).into());
        }
        let name = format!(".wallet-{}", std::process::id());
        let temporary = directory.join(&name);
        // Left by a process of our number that was stopped here, with whatever mode it had.
        drop(fs::remove_file(&temporary));
        // Made before there is ciphertext: the library that encrypts keeps the mode of a file that is there, and else takes the umask's.
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        PrivateKeySigner::encrypt_keystore(directory, &mut OsRng, self.to_bytes(), passphrase, Some(&name))
            .map_err(|error| KeystoreError::Keystore(error.to_string()))?;
        note_address(&temporary, &self.address())?;
        fs::File::open(&temporary)?.sync_all()?;
        fs::rename(&temporary, path)?;
        Ok(fs::File::open(directory)?.sync_all()?)
    }

    /// Reads a key that [`Self::store`] or another wallet wrote.
    ///
    /// # Errors
    /// `Io`, `Exposed`, `Keystore`.
    pub fn load(path: &Path, passphrase: &str) -> Result<Self, KeystoreError> {
        let mode = fs::metadata(path)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeystoreError::Exposed { mode });
        }
        let key = PrivateKeySigner::decrypt_keystore(path, passphrase).map_err(|error| KeystoreError::Keystore(error.to_string()))?;
        Self::from_bytes(&key.to_bytes().0).ok_or_else(|| KeystoreError::Keystore("not a secp256k1 key".into()))
    }
}

/// The address that a wallet file shows without its passphrase, as geth's and ours do; `None` if it shows none. Only as good as the file:
/// for looking, not for paying.
///
/// # Errors
/// `Io`.
pub fn keystore_address(path: &Path) -> Result<Option<Address>, KeystoreError> {
    let file: Value = serde_json::from_slice(&fs::read(path)?).unwrap_or_default();
    Ok(file["address"].as_str().and_then(|text| Address::from_hex(&format!("0x{}", text.trim_start_matches("0x")))))
}

/// Adds the address, in geth's form, which the library that encrypts leaves out.
fn note_address(path: &Path, address: &Address) -> Result<(), KeystoreError> {
    let mut file: Value = serde_json::from_slice(&fs::read(path)?).map_err(|error| KeystoreError::Keystore(error.to_string()))?;
    file["address"] = address.to_string().trim_start_matches("0x").into();
    Ok(fs::write(path, file.to_string())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wallet_reads_back_only_with_its_passphrase_and_only_if_private() {
        let directory = std::env::temp_dir().join(format!("candor-keystore-{}", std::process::id()));
        let path = directory.join("wallet.json");
        let signer = Signer::random();
        assert!(matches!(signer.store(&path, "right"), Err(KeystoreError::Io(_))), "no directory is made for a wallet");
        fs::create_dir_all(&directory).unwrap();
        signer.store(&path, "right").unwrap();
        // Nothing but the mode it was made with: it is changed nowhere.
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Signer::load(&path, "right").unwrap().address(), signer.address());
        assert!(matches!(Signer::load(&path, "wrong"), Err(KeystoreError::Keystore(_))));
        assert!(matches!(signer.store(&path, "right"), Err(KeystoreError::Io(_))));
        assert_eq!(keystore_address(&path).unwrap(), Some(signer.address()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Signer::load(&path, "right"), Err(KeystoreError::Exposed { mode: 0o644 })));
        fs::remove_dir_all(directory).unwrap();
    }
}
