//! Why the software hypervisor did not do what it was asked.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why the software hypervisor did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the variant says what its fields are")]
pub enum DevteeError {
    /// A chain on which something may have value.
    ForbiddenChain { chain_id: u64 },
    /// The state could not be read or written: what was tried, on what.
    State { action: &'static str, path: PathBuf, kind: io::ErrorKind },
    /// The state file is not ours, or damaged. Move it away to get another root.
    StateMalformed { path: PathBuf },
    /// Others may read the root's key (bits of the file's mode).
    StateReadable { path: PathBuf, mode: u32 },
    /// The system gave no randomness.
    Randomness,
    /// A field of the request is longer than a document carries (bytes).
    TooLong { field: &'static str, limit: usize, got: usize },
    /// A public key was given and is empty.
    EmptyPublicKey,
    /// A time at which the root is not valid, or ends within a chain's life (Unix milliseconds).
    Time { first_ms: u64, last_ms: u64, got_ms: u64 },
}

impl fmt::Display for DevteeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForbiddenChain { chain_id } => {
                write!(f, "SIMULATED evidence is not made for chain {chain_id}: only for the development chain and listed testnets")
            }
            Self::State { action, path, kind } => write!(f, "{action} {}: {kind}", path.display()),
            Self::StateMalformed { path } => write!(f, "{} is not the key of a SIMULATED root", path.display()),
            Self::StateReadable { path, mode } => write!(f, "{} has mode {mode:04o}, 0600 expected", path.display()),
            Self::Randomness => f.write_str("the system gave no randomness"),
            Self::TooLong { field, limit, got } => write!(f, "{field} has {got} bytes, at most {limit} allowed"),
            Self::EmptyPublicKey => f.write_str("public_key is empty"),
            Self::Time { first_ms, last_ms, got_ms } => {
                write!(f, "time {got_ms} ms is outside {first_ms} to {last_ms} ms")
            }
        }
    }
}

impl std::error::Error for DevteeError {}
