//! Who waits for which payment: a directory of locks beside the book, one per payment. The system lets a lock go when its owner ends, however
//! that ends; so a payment is abandoned as soon as nobody follows it any more.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use candor_verify::bytes::Hash32;

use crate::error::ClientError;
use crate::files::{file_error, private_directory};
use crate::left::LeftBehind;

/// The directory of locks.
#[derive(Debug)]
pub(super) struct Waiting(pub(super) PathBuf);

/// Says to every process that somebody waits for this payment. It ends with its owner, however that ends.
#[derive(Debug)]
pub(crate) struct InFlight {
    _lock: File,
    // A payment that was made beside others counts with them while it is waited for; afterwards because nobody waits for it.
    _beside: Option<LeftBehind>,
}

impl InFlight {
    /// Of a payment that is made beside others.
    pub(super) fn beside(self, beside: LeftBehind) -> Self {
        Self { _beside: Some(beside), ..self }
    }
}

impl Waiting {
    /// Takes the lock of a payment; `None` if somebody has it. Only while the book is locked.
    pub(super) fn hold(&self, nonce: &Hash32) -> Result<Option<InFlight>, ClientError> {
        let path = self.path(nonce);
        let lock = open_lock(&path)?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(InFlight { _lock: lock, _beside: None })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(file_error(&path, &error)),
        }
    }

    /// Those that somebody waits for. Only while the book is locked: each lock is taken for a moment, and nobody else looks.
    pub(super) fn among<'a>(&self, nonces: impl IntoIterator<Item = &'a Hash32>) -> Result<Vec<Hash32>, ClientError> {
        let mut held = Vec::new();
        for nonce in nonces {
            if self.hold(nonce)?.is_none() {
                held.push(*nonce);
            }
        }
        Ok(held)
    }

    /// Nobody waits for what is resolved; an empty file that stays does no harm.
    pub(super) fn forget(&self, nonce: &Hash32) {
        drop(fs::remove_file(self.path(nonce)));
    }

    fn path(&self, nonce: &Hash32) -> PathBuf {
        self.0.join(nonce.to_string())
    }
}

/// Opens a lock that its owner only can open: whoever can open it can take it, and with it keep a payment from being followed.
fn open_lock(path: &Path) -> Result<File, ClientError> {
    if let Some(directory) = path.parent() {
        private_directory(directory)?;
    }
    let open = || -> std::io::Result<File> {
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
        // Made by somebody else, as the umask had it.
        if lock.metadata()?.mode() & 0o077 != 0 {
            lock.set_permissions(Permissions::from_mode(0o600))?;
        }
        Ok(lock)
    };
    open().map_err(|error| file_error(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_its_owners_and_tells_everybody_that_somebody_waits_until_its_owner_ends() {
        let directory = std::env::temp_dir().join(format!("candor-locks-{}", std::process::id()));
        let waiting = Waiting(directory.join("client.waiting"));
        let (one, other) = (Hash32([1; 32]), Hash32([2; 32]));
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        let held = waiting.hold(&one).unwrap().unwrap();
        assert_eq!((mode(&waiting.path(&one)), mode(&waiting.0), mode(&directory)), (0o600, 0o700, 0o700));
        assert_eq!(waiting.among([&one, &other]).unwrap(), [one]);
        assert!(waiting.hold(&one).unwrap().is_none());
        drop(held);
        assert_eq!(waiting.among([&one, &other]).unwrap(), []);
        fs::set_permissions(waiting.path(&one), Permissions::from_mode(0o644)).unwrap();
        assert!(waiting.hold(&one).unwrap().is_some());
        assert_eq!(mode(&waiting.path(&one)), 0o600);
        fs::remove_dir_all(directory).unwrap();
    }
}
