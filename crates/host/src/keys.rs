//! The host's own keys: gas money only. They can pay for transactions and nothing else; losing one loses its balance.
//!
//! Hex in a file of mode 0600. A file that others can read is refused: somebody has seen it.

use std::fmt;
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use candor_chain::Signer;
use candor_verify::Hash32;

use crate::config::GasKeys;

/// Why a key cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyError {
    /// The file cannot be read or made.
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// Others than its owner can read it.
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It does not hold `0x` and 64 hex digits of a key.
    Malformed {
        /// Which.
        path: PathBuf,
    },
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, error } => write!(f, "key file {}: {error}", path.display()),
            Self::Exposed { path, mode } => {
                write!(f, "key file {}: others can read it (mode {mode:o}); expected 600", path.display())
            }
            Self::Malformed { path } => write!(f, "key file {}: expected 0x and 64 hex digits of a secp256k1 key", path.display()),
        }
    }
}

impl std::error::Error for KeyError {}

/// Reads a key, or makes it at the first run.
///
/// # Errors
/// [`KeyError`]; an existing file is never changed.
pub fn load_or_create_key(path: &Path) -> Result<Signer, KeyError> {
    match load(path) {
        Err(KeyError::Io { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => create(path),
        other => other,
    }
}

/// `gas.key` and `anchor.key` in a directory, made at the first run.
///
/// # Errors
/// As [`load_or_create_key`].
pub fn load_or_create_keys(directory: &Path) -> Result<GasKeys, KeyError> {
    Ok(GasKeys { gas: load_or_create_key(&directory.join("gas.key"))?, anchor: load_or_create_key(&directory.join("anchor.key"))? })
}

fn load(path: &Path) -> Result<Signer, KeyError> {
    let io = |error| KeyError::Io { path: path.to_owned(), error };
    let file = std::fs::File::open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    // A key is 67 bytes; a longer file is not one.
    file.take(128).read_to_string(&mut text).map_err(io)?;
    let key = Hash32::from_hex(text.trim_end()).and_then(|key| Signer::from_bytes(&key.0));
    key.ok_or_else(|| KeyError::Malformed { path: path.to_owned() })
}

fn create(path: &Path) -> Result<Signer, KeyError> {
    let io = |error| KeyError::Io { path: path.to_owned(), error };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(io)?;
    }
    let key = Signer::random();
    // Crash: an empty or half file is `Malformed` at the next start, and nobody has sent money to it yet: delete it.
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path).map_err(io)?;
    writeln!(file, "{}", Hash32(key.to_bytes())).map_err(io)?;
    file.sync_all().map_err(io)?;
    Ok(key)
}
