//! The logs in memory: the open ones, which the writer changes, and a few former ones, which readers load for proofs.
//!
//! Loading costs time and 96 bytes per leaf, and anybody may ask for a proof of any log. So former logs are loaded on a connection of their
//! own, one at a time, and never by the writer: a reader can make other readers wait, never a write.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use candor_log::host::HostLog;
use candor_verify::Hash32;
use candor_x402::Libsecp;
use rusqlite::Connection;
use tokio::sync::Mutex as AsyncMutex;

use super::{LogRow, StoreError, read};

/// Former logs kept in memory at once; the one that was asked for longest ago goes first.
const FORMER_LOGS: usize = 8;

/// A log in memory. Invariant: it never holds what the database does not.
#[derive(Clone, Debug)]
pub struct OpenLog {
    row: Arc<LogRow>,
    // Written by the writer thread only, for moments; readers make proofs.
    log: Arc<RwLock<HostLog>>,
}

impl OpenLog {
    /// The log as the database holds it: after a start, and after a transaction whose outcome is unknown.
    pub(super) fn load(connection: &Connection, row: LogRow) -> Result<Self, StoreError> {
        let log = load(connection, &row)?;
        Ok(Self { row: Arc::new(row), log: Arc::new(RwLock::new(log)) })
    }

    pub(super) fn reload(&self, connection: &Connection) -> Result<(), StoreError> {
        let log = load(connection, &self.row)?;
        self.update(|held| *held = log);
        Ok(())
    }

    /// Keys and manifest.
    #[must_use]
    pub fn row(&self) -> &LogRow {
        &self.row
    }

    /// The leaves, tree and newest checkpoint, for proofs. Not to be held over an `await`.
    pub fn read(&self) -> RwLockReadGuard<'_, HostLog> {
        self.log.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn update<T>(&self, change: impl FnOnce(&mut HostLog) -> T) -> T {
        change(&mut self.log.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn id(&self) -> Hash32 {
        self.row.manifest.log_id()
    }
}

fn load(connection: &Connection, row: &LogRow) -> Result<HostLog, StoreError> {
    let keys = row.keys();
    let leaves = read::leaves(connection, &keys.log_id())?;
    let checkpoint = read::newest_checkpoint(connection, &keys.log_id())?;
    let mut log =
        HostLog::load(&Libsecp, keys, leaves, checkpoint).map_err(|error| StoreError::Contradiction(format!("stored log: {error}")))?;
    if let Some(anchor) = read::newest_anchor(connection, &keys.log_id())? {
        log.set_anchored(anchor.tree).map_err(|error| StoreError::Contradiction(format!("stored anchor: {error}")))?;
    }
    Ok(log)
}

/// What is in memory, and the way to what is not.
#[derive(Debug)]
pub(super) struct Logs {
    // Guarded for moments.
    held: Mutex<Held>,
    // Held by the one load that runs, also if whoever asked has left.
    loader: Arc<AsyncMutex<Connection>>,
}

#[derive(Debug, Default)]
struct Held {
    // One, or two while a boot hands over to another.
    open: Vec<OpenLog>,
    // Oldest use first; never an open one.
    former: Vec<OpenLog>,
    // Counts changes of the open logs: what was loaded before one may be old after it.
    opened: u64,
}

impl Logs {
    pub(super) fn new(loader: Connection) -> Self {
        Self { held: Mutex::default(), loader: Arc::new(AsyncMutex::new(loader)) }
    }

    /// A log that is in memory, or loaded now; `None` if the host never had it.
    pub(super) async fn get(self: &Arc<Self>, log_id: &Hash32) -> Result<Option<OpenLog>, StoreError> {
        if let Some(open) = self.lock().find(log_id) {
            return Ok(Some(open));
        }
        let connection = Arc::clone(&self.loader).lock_owned().await;
        let (logs, log_id) = (Arc::clone(self), *log_id);
        // Invariant: remembered by the same task that loads, so that askers who give up cannot have it loaded again and again.
        let loaded = tokio::task::spawn_blocking(move || logs.load(&connection, &log_id)).await;
        loaded.map_err(|error| StoreError::Io(error.to_string()))?
    }

    fn load(&self, connection: &Connection, log_id: &Hash32) -> Result<Option<OpenLog>, StoreError> {
        loop {
            let opened = {
                let mut held = self.lock();
                if let Some(open) = held.find(log_id) {
                    return Ok(Some(open));
                }
                held.opened
            };
            // One snapshot: leaves and checkpoint of the same moment.
            let snapshot = connection.unchecked_transaction()?;
            let Some(row) = read::log_row(&snapshot, log_id)? else { return Ok(None) };
            let open = OpenLog::load(&snapshot, row)?;
            if read::has_later_log(&snapshot, log_id)? {
                // Its enclave is gone: the log ended at its last checkpoint. The rows behind it stay; nobody was promised them. (Were it
                // there all the same, beside a later boot, its log would be opened anew, with them.)
                let _ended = open.update(HostLog::end);
            }
            drop(snapshot);
            let mut held = self.lock();
            // Otherwise a boot began meanwhile, which is rare: this may be its log now, or have ended by it.
            if held.opened == opened {
                if FORMER_LOGS <= held.former.len() {
                    held.former.remove(0);
                }
                held.former.push(open.clone());
                return Ok(Some(open));
            }
        }
    }

    pub(super) fn open(&self) -> Vec<OpenLog> {
        self.lock().open.clone()
    }

    /// Makes this an open log, beside these. With `is_new_boot` every other one has ended, also for those who still hold it.
    pub(super) fn set_open(&self, open: &OpenLog, is_new_boot: bool, beside: &[Hash32]) {
        let mut held = self.lock();
        if held.open.iter().any(|other| other.id() == open.id()) {
            return;
        }
        let (stay, over) = std::mem::take(&mut held.open).into_iter().partition(|other| beside.contains(&other.id()));
        held.open = stay;
        held.open.push(open.clone());
        held.former.clear();
        held.opened = held.opened.wrapping_add(1);
        let over: Vec<OpenLog> = over;
        for before in over.iter().filter(|_| is_new_boot) {
            let _ended = before.update(HostLog::end);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn find(&mut self, log_id: &Hash32) -> Option<OpenLog> {
        if let Some(open) = self.open.iter().find(|open| open.id() == *log_id) {
            return Some(open.clone());
        }
        let at = self.former.iter().position(|open| open.id() == *log_id)?;
        let open = self.former.remove(at);
        self.former.push(open.clone());
        Some(open)
    }
}
