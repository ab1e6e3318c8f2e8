//! The wallet, and the book of payments that outlives the process.
//!
//! The book is written and synced *before* a payment is signed: a payment that left is never forgotten, whatever stops next.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use candor_verify::bytes::{Address, Amount, Hash32, Signature65};
use candor_verify::eip712::address_of;
use candor_x402::client::{Choice, Ledger, LedgerError, Reservation, Resolution, Spend, SpendState};
use candor_x402::protocol::Eip155;
use k256::ecdsa::SigningKey;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::error::ClientError;

/// A key that pays. `Debug` shows its address only.
pub struct Wallet {
    key: SigningKey,
    address: Address,
}

impl Wallet {
    /// A wallet from a secret key.
    ///
    /// # Errors
    /// `Usage` if it is no secp256k1 key.
    pub fn from_bytes(secret: &[u8; 32]) -> Result<Self, ClientError> {
        let key = SigningKey::from_slice(secret).map_err(|_| ClientError::Usage("not a secp256k1 secret key".into()))?;
        let point = key.verifying_key().to_sec1_point(false);
        let address = point.as_bytes().get(1..).and_then(address_of).unwrap_or_default();
        Ok(Self { key, address })
    }

    /// Who pays.
    #[must_use]
    pub fn address(&self) -> Address {
        self.address
    }

    /// A low-s recoverable signature over a digest.
    #[must_use]
    pub fn sign(&self, digest: &Hash32) -> Signature65 {
        let (rs, id) = self.key.sign_prehash_recoverable(&digest.0);
        let mut out = [0; 65];
        for (to, from) in out.iter_mut().zip(rs.to_bytes().into_iter().chain([27_u8.saturating_add(id.to_byte())])) {
            *to = from;
        }
        Signature65(out)
    }
}

impl std::fmt::Debug for Wallet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Wallet({})", self.address)
    }
}

/// The book of payments, in one file.
#[derive(Debug)]
pub struct SpendBook {
    path: PathBuf,
    // One at a time in this process; the lock file does the same between processes.
    turn: Mutex<()>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Row {
    request: String,
    chain_id: u64,
    asset: String,
    amount: String,
    reserved_at: u64,
    valid_before: u64,
    charged: bool,
}

impl SpendBook {
    /// Opens the book, empty if there is none yet.
    ///
    /// # Errors
    /// `File` if it is there and unreadable: guessing it empty could pay twice.
    pub fn open(path: &Path) -> Result<Self, ClientError> {
        drop(read_ledger(path)?);
        Ok(Self { path: path.to_owned(), turn: Mutex::new(()) })
    }

    /// Reserves a payment, durably.
    ///
    /// # Errors
    /// `Spend` if the ledger says no; `File` if it cannot be written, and then nothing is reserved.
    pub fn reserve(&self, request: Hash32, choice: Choice) -> Result<Reservation, ClientError> {
        self.change(|ledger| ledger.reserve(request, choice, clock::now_ms() / 1000))
    }

    /// Records what became of a payment, durably.
    ///
    /// # Errors
    /// `Spend`, `File`.
    pub fn resolve(&self, request: &Hash32, resolution: Resolution) -> Result<(), ClientError> {
        self.change(|ledger| ledger.resolve(request, resolution))
    }

    /// Reads, changes and writes the book, alone among all processes that use it.
    fn change<T>(&self, change: impl FnOnce(&mut Ledger) -> Result<T, LedgerError>) -> Result<T, ClientError> {
        let _turn: MutexGuard<'_, ()> = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let lock_path = self.path.with_extension("lock");
        if let Some(directory) = lock_path.parent() {
            fs::create_dir_all(directory).map_err(|error| file_error(directory, &error))?;
        }
        let mut options = OpenOptions::new();
        let lock = options.create(true).truncate(false).write(true).open(&lock_path).map_err(|error| file_error(&lock_path, &error))?;
        // Held until the file is dropped, at the end of this function.
        lock.lock().map_err(|error| file_error(&lock_path, &error))?;
        let mut ledger = read_ledger(&self.path)?;
        let result = change(&mut ledger).map_err(|error| ClientError::Spend(error.to_string()))?;
        self.store(&ledger)?;
        Ok(result)
    }

    /// Crash: the old file or the new one is there, never half of one; the rename is synced before a signature is made.
    fn store(&self, ledger: &Ledger) -> Result<(), ClientError> {
        let rows: Vec<Row> = ledger.spends().map(Row::of).collect();
        let bytes = serde_json::to_vec_pretty(&rows).map_err(|error| file_error(&self.path, &error))?;
        write_private(&self.path, &bytes)
    }
}

fn read_ledger(path: &Path) -> Result<Ledger, ClientError> {
    let rows: Vec<Row> = match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| file_error(path, &error))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(file_error(path, &error)),
    };
    let spends: Option<Vec<Spend>> = rows.iter().map(Row::to_spend).collect();
    Ok(Ledger::new(spends.ok_or_else(|| file_error(path, &"a row is malformed"))?))
}

impl Row {
    fn of(spend: &Spend) -> Self {
        Self {
            request: spend.request.to_string(),
            chain_id: spend.network.0,
            asset: spend.asset.to_string(),
            amount: spend.amount.to_string(),
            reserved_at: spend.reserved_at,
            valid_before: spend.valid_before,
            charged: spend.state == SpendState::Charged,
        }
    }

    fn to_spend(&self) -> Option<Spend> {
        Some(Spend {
            request: Hash32::from_hex(&self.request)?,
            network: Eip155(self.chain_id),
            asset: Address::from_hex(&self.asset)?,
            amount: Amount::from_decimal(&self.amount)?,
            reserved_at: self.reserved_at,
            valid_before: self.valid_before,
            state: if self.charged { SpendState::Charged } else { SpendState::Unresolved },
        })
    }
}

/// Writes a file that only its owner can read: temporary file, sync, rename, sync of the directory.
///
/// # Errors
/// `File`.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), ClientError> {
    let write = || -> std::io::Result<()> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(|error| file_error(path, &error))
}

pub(crate) fn file_error(path: &Path, what: &dyn std::fmt::Display) -> ClientError {
    ClientError::File { path: path.display().to_string(), what: what.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_book_is_not_taken_for_an_empty_one() {
        let directory = std::env::temp_dir().join(format!("candor-book-{}", std::process::id()));
        let path = directory.join("spends.json");
        assert!(SpendBook::open(&path).is_ok());
        write_private(&path, b"[{\"request\":\"0x\"}]").unwrap();
        assert!(matches!(SpendBook::open(&path), Err(ClientError::File { .. })));
        write_private(&path, b"not json").unwrap();
        assert!(matches!(SpendBook::open(&path), Err(ClientError::File { .. })));
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_wallet_signs_as_its_address_and_never_prints_its_key() {
        let wallet = Wallet::from_bytes(&[7; 32]).unwrap();
        let signature = wallet.sign(&Hash32([1; 32]));
        let signer = candor_verify::eip712::signer(&candor_verify::eip712::K256, &Hash32([1; 32]), &signature);
        assert_eq!(signer, Some(wallet.address()));
        assert!(!format!("{wallet:?}").contains("0707"));
        assert!(Wallet::from_bytes(&[0; 32]).is_err());
    }
}
