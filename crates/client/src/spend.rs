//! The book of payments that outlives the process.
//!
//! The book is written and synced *before* a payment is signed, and again with the payment itself before it is sent: a payment that left is
//! never forgotten, whatever stops next, and can be sent again. Payments that nobody can move any more are found on the chain and freed.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use candor_chain::ChainClient;
use candor_verify::bytes::{Address, Amount, Hash32};
use candor_verify::time::UnixSeconds;
use candor_x402::client::{Choice, Ledger, LedgerError, Purchase, Reservation, Resolution, Seller, SentPayment, Spend, SpendState};
use candor_x402::protocol::Eip155;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::error::ClientError;
use crate::files::{file_error, private_directory, write_private};

/// How long a start waits for the chain to say what became of old payments.
const SETTLE_UP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a change of the book waits for another process. A change takes milliseconds: who has the lock for longer hangs, or is no
/// candor.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Between two looks at a lock that another has.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The book of payments, in one file; beside it a directory of locks, one per payment that an ask is waiting for.
#[derive(Debug)]
pub struct SpendBook {
    path: PathBuf,
    // One at a time in this process; the lock file does the same between processes.
    turn: Mutex<()>,
}

/// Says to every process that somebody waits for this payment. It ends with its owner, however that ends.
#[derive(Debug)]
pub(crate) struct InFlight {
    _lock: File,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Row {
    nonce: String,
    request: String,
    boot: String,
    payer: String,
    chain_id: u64,
    asset: String,
    amount: String,
    reserved_at: u64,
    valid_before: u64,
    state: RowState,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum RowState {
    Reserved,
    /// With the value of `PAYMENT-SIGNATURE`: whoever reads the book can send it.
    Unresolved(String),
    /// With the same: its answer may still be had for it.
    GivenUp(String),
    Charged,
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

    /// The payment that was sent for this request, nobody waits for any more, and this boot may answer; it is the caller's now.
    ///
    /// # Errors
    /// `Held` if it was sent to another boot, which alone can answer it, or has passed its deadline; `File`.
    pub(crate) fn resume(&self, request: &Hash32, seller: &Seller) -> Result<Option<(SentPayment, InFlight)>, ClientError> {
        self.change(|ledger| {
            let in_flight = self.in_flight(ledger)?;
            let Some(sent) = ledger.resume(request, seller, &in_flight, clock::now().seconds()).map_err(refusal)? else { return Ok(None) };
            let lock = self.hold(&sent.payment().authorization.nonce)?;
            // Nobody else can have taken it: the book is ours.
            Ok(lock.map(|lock| (sent, lock)))
        })
    }

    /// Reserves a payment, durably, and says that somebody waits for it.
    ///
    /// # Errors
    /// `Spend` if the ledger says no; `File` if it cannot be written, and then nothing is reserved.
    pub(crate) fn reserve(&self, purchase: Purchase, choice: Choice) -> Result<(Reservation, InFlight), ClientError> {
        self.change(|ledger| {
            let reservation = ledger.reserve(purchase, choice, clock::now().seconds()).map_err(refusal)?;
            let lock = self.hold(&reservation.nonce())?.ok_or_else(|| refusal(LedgerError::AlreadyPaid))?;
            Ok((reservation, lock))
        })
    }

    /// Records a payment that is about to be sent, durably and whole: it can be sent again, whatever stops next.
    ///
    /// # Errors
    /// `Spend`, `File`.
    pub(crate) fn sent(&self, sent: SentPayment) -> Result<(), ClientError> {
        self.change(|ledger| ledger.sent(sent).map_err(refusal))
    }

    /// Records what became of a payment, durably.
    ///
    /// # Errors
    /// `Spend`, `File`.
    pub(crate) fn resolve(&self, nonce: &Hash32, resolution: Resolution) -> Result<(), ClientError> {
        self.change(|ledger| ledger.resolve(nonce, resolution).map_err(refusal))?;
        // Nobody waits for what is resolved; an empty file that stays does no harm.
        drop(fs::remove_file(self.lock_path(nonce)));
        Ok(())
    }

    /// Asks the chain what became of the payments whose deadline has passed. Best effort, within some seconds: what cannot be told, or
    /// not yet, stays as it is. Before the deadline nothing is asked: an unused authorization may still move. One that moved stays as it is
    /// while its answer may still be had for it.
    pub async fn settle_up(&self, chain: &ChainClient) {
        let work = async {
            let Ok(ended) = self.change(|ledger| {
                let (in_flight, now) = (self.in_flight(ledger)?, clock::now().seconds());
                let is_ended = |spend: &&Spend| spend.valid_before <= now && !in_flight.contains(&spend.nonce);
                Ok(ledger.open().filter(is_ended).filter(|spend| spend.network.0 == chain.chain_id()).cloned().collect::<Vec<_>>())
            }) else {
                return;
            };
            if ended.is_empty() {
                return;
            }
            let Ok(head) = chain.finalized().await else { return };
            for spend in ended {
                // Trust: our own endpoint. If it lies, the worst is that the day's budget counts too little, or that a request asked
                // for again after its payment's deadline is paid again; it cannot make a payment.
                let resolution = match chain.is_authorization_used_at(&spend.asset, &spend.payer, &spend.nonce, &head).await {
                    Ok(true) if spend.may_have_answer(clock::now().seconds()) => continue,
                    Ok(true) => Resolution::Charged,
                    Ok(false) => Resolution::UnusedAt { block_time: head.timestamp },
                    // One that cannot be asked about (a token without code) must not hide those after it.
                    Err(_) => continue,
                };
                // A block from before the deadline shows nothing yet.
                drop(self.resolve(&spend.nonce, resolution));
            }
        };
        drop(tokio::time::timeout(SETTLE_UP_TIMEOUT, work).await);
    }

    /// The open payments that somebody waits for.
    fn in_flight(&self, ledger: &Ledger) -> Result<Vec<Hash32>, ClientError> {
        let mut held = Vec::new();
        for spend in ledger.open() {
            // Taken for a moment, while the book is ours: nobody else looks.
            if self.hold(&spend.nonce)?.is_none() {
                held.push(spend.nonce);
            }
        }
        Ok(held)
    }

    /// Takes the lock of a payment; `None` if somebody has it. Only while the book is locked.
    fn hold(&self, nonce: &Hash32) -> Result<Option<InFlight>, ClientError> {
        let path = self.lock_path(nonce);
        let lock = open_lock(&path)?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(InFlight { _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(file_error(&path, &error)),
        }
    }

    /// Where the refusals of its payments are kept, beside it.
    pub(crate) fn refusals(&self) -> PathBuf {
        self.path.with_file_name("refusals")
    }

    fn lock_path(&self, nonce: &Hash32) -> PathBuf {
        self.path.with_extension("waiting").join(nonce.to_string())
    }

    /// Reads, changes and writes the book, alone among all processes that use it.
    fn change<T>(&self, change: impl FnOnce(&mut Ledger) -> Result<T, ClientError>) -> Result<T, ClientError> {
        let _turn: MutexGuard<'_, ()> = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // Held until it is dropped, at the end of this function.
        let _lock = lock_within(&self.path.with_extension("lock"), LOCK_WAIT)?;
        let mut ledger = read_ledger(&self.path)?;
        let before: Vec<Spend> = ledger.spends().cloned().collect();
        let result = change(&mut ledger)?;
        if !ledger.spends().eq(&before) {
            self.store(&ledger)?;
        }
        Ok(result)
    }

    /// Crash: the old file or the new one is there, never half of one; the rename is synced before a signature is made, and again before
    /// one is sent.
    fn store(&self, ledger: &Ledger) -> Result<(), ClientError> {
        let rows: Vec<Row> = ledger.spends().map(Row::of).collect();
        let bytes = serde_json::to_vec_pretty(&rows).map_err(|error| file_error(&self.path, &error))?;
        write_private(&self.path, &bytes)
    }
}

/// What the ledger refuses, by what to do next.
fn refusal(error: LedgerError) -> ClientError {
    match error {
        LedgerError::Unresolved { until } | LedgerError::AskTheChain { valid_before: until } => {
            ClientError::Held { until, what: error.to_string() }
        }
        error => ClientError::Spend(error.to_string()),
    }
}

/// Takes a lock that nobody should have for longer than moments; if somebody does, says who.
fn lock_within(path: &Path, wait: Duration) -> Result<File, ClientError> {
    let lock = open_lock(path)?;
    let mut left = wait;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::Error(error)) => return Err(file_error(path, &error)),
            Err(TryLockError::WouldBlock) if left.is_zero() => {
                let who = holder(&lock).map_or("another process".to_owned(), |pid| format!("process {pid}"));
                return Err(file_error(path, &format!("{who} has had this lock for {} s; end it, and ask again", wait.as_secs())));
            }
            Err(TryLockError::WouldBlock) => {
                std::thread::sleep(LOCK_PAUSE);
                left = left.saturating_sub(LOCK_PAUSE);
            }
        }
    }
}

/// Opens a lock that its owner only can open: whoever can open it can take it, and with it stop every payment.
fn open_lock(path: &Path) -> Result<File, ClientError> {
    if let Some(directory) = path.parent() {
        private_directory(directory)?;
    }
    let open = || -> std::io::Result<File> {
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
        // Made by an earlier version, as the umask had it.
        if lock.metadata()?.mode() & 0o077 != 0 {
            lock.set_permissions(Permissions::from_mode(0o600))?;
        }
        Ok(lock)
    };
    open().map_err(|error| file_error(path, &error))
}

/// Who has a lock, where the system lists them (Linux).
fn holder(lock: &File) -> Option<u32> {
    let inode = lock.metadata().ok()?.ino().to_string();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    // `1: FLOCK ADVISORY WRITE 4711 08:01:131 0 EOF`: process, then device and inode.
    locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find_map(|fields| {
        let is_it = fields.get(5).and_then(|place| place.rsplit(':').next()) == Some(inode.as_str());
        fields.get(4).filter(|_| is_it).and_then(|pid| pid.parse().ok())
    })
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
            nonce: spend.nonce.to_string(),
            request: spend.request.to_string(),
            boot: spend.boot.to_string(),
            payer: spend.payer.to_string(),
            chain_id: spend.network.0,
            asset: spend.asset.to_string(),
            amount: spend.amount.to_string(),
            reserved_at: spend.reserved_at.0,
            valid_before: spend.valid_before.0,
            state: match &spend.state {
                SpendState::Reserved => RowState::Reserved,
                SpendState::Unresolved(sent) => RowState::Unresolved(sent.header().to_owned()),
                SpendState::GivenUp(sent) => RowState::GivenUp(sent.header().to_owned()),
                SpendState::Charged => RowState::Charged,
            },
        }
    }

    fn to_spend(&self) -> Option<Spend> {
        let nonce = Hash32::from_hex(&self.nonce)?;
        let sent = |header: &str| SentPayment::parse(header).filter(|sent| sent.payment().authorization.nonce == nonce);
        Some(Spend {
            nonce,
            request: Hash32::from_hex(&self.request)?,
            boot: Hash32::from_hex(&self.boot)?,
            payer: Address::from_hex(&self.payer)?,
            network: Eip155(self.chain_id),
            asset: Address::from_hex(&self.asset)?,
            amount: Amount::from_decimal(&self.amount)?,
            reserved_at: UnixSeconds(self.reserved_at),
            valid_before: UnixSeconds(self.valid_before),
            state: match &self.state {
                RowState::Reserved => SpendState::Reserved,
                RowState::Unresolved(header) => SpendState::Unresolved(sent(header)?),
                RowState::GivenUp(header) => SpendState::GivenUp(sent(header)?),
                RowState::Charged => SpendState::Charged,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_book_is_not_taken_for_an_empty_one() {
        let directory = std::env::temp_dir().join(format!("candor-book-{}", std::process::id()));
        let path = directory.join("spends.json");
        assert!(SpendBook::open(&path).is_ok());
        assert!(matches!(write_private(&path, b"[]"), Err(ClientError::File { .. })), "no directory is made for a file");
        private_directory(&directory).unwrap();
        write_private(&path, b"[{\"request\":\"0x\"}]").unwrap();
        assert!(matches!(SpendBook::open(&path), Err(ClientError::File { .. })));
        write_private(&path, b"not json").unwrap();
        assert!(matches!(SpendBook::open(&path), Err(ClientError::File { .. })));
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_lock_is_its_owners_and_one_that_is_held_is_named_instead_of_waited_for() {
        let directory = std::env::temp_dir().join(format!("candor-locks-{}", std::process::id()));
        let path = directory.join("spends.waiting").join("0x01");
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        let held = lock_within(&path, Duration::ZERO).unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap()), mode(&directory)), (0o600, 0o700, 0o700));
        let refused = lock_within(&path, LOCK_PAUSE).unwrap_err();
        assert!(refused.to_string().starts_with(path.to_str().unwrap()) && refused.to_string().contains("lock"), "{refused}");
        drop(held);
        // As an earlier version left it.
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        drop(lock_within(&path, Duration::ZERO).unwrap());
        assert_eq!(mode(&path), 0o600);
        fs::remove_dir_all(directory).unwrap();
    }
}
