//! The host's memory: receipts, checkpoints, settlement intents and anchors in one SQLite file, written by one thread.
//!
//! Callers are async; every write goes through a bounded queue to the writer (`writer.rs`), which groups what waits into one transaction
//! (WAL, `synchronous=FULL`: durable when answered). Reads use connections of their own. The tree of a log lives in memory ([`OpenLog`],
//! `logs.rs`), rebuilt from the stored leaves by `candor_log`, which also decides what a log admits.
//!
//! Trust: the database is the operator's. The worst a changed file can do is make the host refuse to go on, or publish what enclave,
//! clients and anchors contradict. It holds payment signatures (calldata of intents): mode 0600, never logged, never served.
//!
//! It also holds sealed answers for clients that lost their connection (`answers.rs`): ciphertexts, which it can erase and not read.
//!
//! Not here: when to submit or anchor (`settle`, `anchor`), the published files (`publish`).

mod answers;
mod books;
mod health;
mod logs;
mod read;
mod rows;
mod writer;

use std::fmt;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use candor_link::{AnswerPage, AnswerPart, AppendRequest, CheckpointRequest, CheckpointStored, RefusalCode, Refused};
use candor_verify::Hash32;
use candor_verify::manifest::Manifest;
use candor_verify::time::UnixSeconds;
use candor_verify::tlog::Tree;
use candor_x402::settlement::{Intent, StoredIntent};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

pub use books::{BookedSale, Books};
pub(crate) use health::StoreHealth;
use logs::Logs;
pub use logs::OpenLog;
pub use rows::{AnchorRow, LogRow, ReceiptRow};
use writer::{Job, Writer};

/// Writes that may wait. More make callers wait, which the enclave sees as back-pressure.
const QUEUE: usize = 1024;

/// Why a storage operation did not give a value.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk is full, or the quota is used up. Nothing was written; try again later.
    Full,
    /// The disk or the database fails. What was being written is unknown, and is read back before the next write.
    Io(String),
    /// Stored and offered disagree, or the file is not ours.
    Contradiction(String),
    /// Something is missing that must be there first: leaves, pieces, or an answer.
    Gap(String),
    /// The request makes no sense.
    Malformed(String),
    /// Another process has this database open.
    Locked,
    /// The store is closing.
    Closed,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("store: the disk is full"),
            Self::Io(text) => write!(f, "store: {text}"),
            Self::Contradiction(text) => write!(f, "store: contradiction: {text}"),
            Self::Gap(text) => write!(f, "store: gap: {text}"),
            Self::Malformed(text) => write!(f, "store: malformed: {text}"),
            Self::Locked => f.write_str("store: another process has this database open"),
            Self::Closed => f.write_str("store: closed"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            // A unique id or key that exists already, with other contents: SQLite's text names the columns, never values.
            Some(ErrorCode::ConstraintViolation) => Self::Contradiction(error.to_string()),
            _ => Self::Io(error.to_string()),
        }
    }
}

impl StoreError {
    /// What the enclave is told.
    #[must_use]
    pub fn refusal(&self) -> Refused {
        let code = match self {
            Self::Full => RefusalCode::StorageFull,
            Self::Io(_) | Self::Locked | Self::Closed => RefusalCode::Unavailable,
            Self::Contradiction(_) => RefusalCode::Contradiction,
            Self::Gap(_) => RefusalCode::Gap,
            Self::Malformed(_) => RefusalCode::Malformed,
        };
        Refused::new(code, self.to_string())
    }
}

/// How a store is opened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct StoreOptions {
    /// Most bytes of the database; beyond it writes are refused as if the disk were full. `None`: as much as the disk has.
    pub quota_bytes: Option<u64>,
}

/// The store. Cheap to clone; the writer stops when the last clone is gone.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    jobs: Option<mpsc::Sender<Job>>,
    // Guarded for the moment of one read; SQLite connections are not shared between threads.
    reader: Mutex<Connection>,
    logs: Arc<Logs>,
    thread: Option<JoinHandle<()>>,
    health: Arc<StoreHealth>,
    path: PathBuf,
    // Zero: none.
    quota_bytes: AtomicU64,
    // Held as long as the store lives; the system lets it go when the process dies.
    _lock: File,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The writer ends when its queue is closed; then everything it was given is durable or refused.
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

impl Store {
    /// Opens or creates the database and starts the writer.
    ///
    /// # Errors
    /// The file cannot be opened, is in use by another host, or has another schema.
    // Crash: SQLite recovers its own journal here; whatever was answered as durable is there.
    pub fn open(path: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        create_private(path)?;
        let lock = lock(path)?;
        let connection = rows::open_writer(path, options)?;
        let reader = rows::open_reader(path)?;
        let logs = Arc::new(Logs::new(rows::open_reader(path)?));
        let (jobs, queue) = mpsc::channel(QUEUE);
        let health = Arc::<StoreHealth>::default();
        let writer = Writer::new(connection, Arc::clone(&logs), Arc::clone(&health));
        let thread = std::thread::Builder::new().name("candor-store".to_owned()).spawn(move || writer.run(queue)).map_err(io)?;
        let quota_bytes = AtomicU64::new(options.quota_bytes.unwrap_or_default());
        let (reader, path) = (Mutex::new(reader), path.to_owned());
        Ok(Self(Arc::new(Inner { jobs: Some(jobs), reader, logs, thread: Some(thread), health, path, quota_bytes, _lock: lock })))
    }

    /// Resolves when the writer is gone, which is a bug of ours. From then on every write is answered with `Closed`.
    pub async fn ended(&self) {
        if let Some(jobs) = &self.0.jobs {
            jobs.closed().await;
        }
    }

    /// Whether the writer takes jobs.
    pub(crate) fn is_alive(&self) -> bool {
        self.0.jobs.as_ref().is_some_and(|jobs| !jobs.is_closed())
    }

    /// How it does.
    pub(crate) fn health(&self) -> &StoreHealth {
        &self.0.health
    }

    /// Bytes of the database and its journal, as the file system says. Zero if it says nothing.
    pub(crate) fn bytes(&self) -> u64 {
        let journal = rows::journal(&self.0.path);
        [&self.0.path, &journal].into_iter().filter_map(|path| std::fs::metadata(path).ok()).map(|file| file.len()).sum()
    }

    /// Most bytes of the database.
    pub(crate) fn quota_bytes(&self) -> Option<u64> {
        Some(self.0.quota_bytes.load(Ordering::Relaxed)).filter(|bytes| *bytes != 0)
    }

    /// Looks for room and writes a page: [`StoreHealth::is_writable`] is about it.
    ///
    /// # Errors
    /// As the database.
    pub(crate) async fn probe(&self) -> Result<(), StoreError> {
        self.submit(|reply| Job::Probe { reply }).await?.wait().await
    }

    async fn submit<T>(&self, make: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job) -> Result<Waiting<T>, StoreError> {
        let (reply, answer) = oneshot::channel();
        let jobs = self.0.jobs.as_ref().ok_or(StoreError::Closed)?;
        jobs.send(make(reply)).await.map_err(|_| StoreError::Closed)?;
        Ok(Waiting(answer))
    }

    /// Registers the log of a boot, or finds it again after a restart of the host, and loads its tree.
    ///
    /// # Errors
    /// `Contradiction` if what is stored is not a log, or the log has another manifest.
    pub async fn open_log(&self, manifest: &Manifest, evidence: Vec<u8>) -> Result<OpenLog, StoreError> {
        self.open_log_beside(manifest, evidence, None).await
    }

    /// The same, while other boots of this host go on beside it: of these logs, and perhaps of one that is not known yet. Nothing of theirs is
    /// ended or erased. `None` where there is no other.
    ///
    /// # Errors
    /// As [`Self::open_log`].
    pub async fn open_log_beside(
        &self,
        manifest: &Manifest,
        evidence: Vec<u8>,
        beside: Option<Vec<Hash32>>,
    ) -> Result<OpenLog, StoreError> {
        let row = LogRow { manifest: manifest.clone(), evidence };
        self.submit(|reply| Job::OpenLog { row: Box::new(row), beside, reply }).await?.wait().await
    }

    /// A log that is in memory, or loaded now: current and former ones. Loads wait for each other, and no write waits for a load.
    ///
    /// # Errors
    /// As [`Self::open_log`]; `None` if the host never had it.
    pub async fn log(&self, log_id: &Hash32) -> Result<Option<OpenLog>, StoreError> {
        self.0.logs.get(log_id).await
    }

    /// Queues an append; the order of calls is the order of writes.
    ///
    /// # Errors
    /// `Closed` only; the outcome comes from [`Waiting::wait`]: the durable size.
    pub async fn append(&self, log_id: Hash32, request: AppendRequest) -> Result<Waiting<u64>, StoreError> {
        self.submit(|reply| Job::Append { log_id, request, reply }).await
    }

    /// Queues a checkpoint with its settlements; the order of calls is the order of writes.
    ///
    /// # Errors
    /// `Closed` only; the outcome comes from [`Waiting::wait`]: the answer for the enclave, and the intents to settle.
    pub async fn checkpoint(
        &self,
        log_id: Hash32,
        request: Box<CheckpointRequest>,
    ) -> Result<Waiting<(CheckpointStored, Vec<Intent>)>, StoreError> {
        self.submit(|reply| Job::Checkpoint { log_id, request, reply }).await
    }

    /// Writes a record of the settlement machine, unless one with a higher revision is there.
    ///
    /// # Errors
    /// Failed means unknown.
    pub async fn put_intent(&self, record: StoredIntent) -> Result<(), StoreError> {
        self.submit(|reply| Job::PutIntent { record: Box::new(record), reply }).await?.wait().await
    }

    /// Remembers what the chain holds of a log, from which later answers prove consistency.
    ///
    /// # Errors
    /// `Contradiction` if it is not a tree of this log, `Malformed` if there is no such log.
    pub async fn put_anchor(&self, log_id: Hash32, anchor: AnchorRow) -> Result<(), StoreError> {
        let open = self.log(&log_id).await?.ok_or_else(|| StoreError::Malformed(format!("there is no log {log_id:#}")))?;
        self.submit(|reply| Job::PutAnchor { open, anchor, reply }).await?.wait().await
    }

    /// Keeps a piece of a sealed answer; how much of the answer is durable then.
    ///
    /// # Errors
    /// `Full` if there is no room for kept answers, `Gap` if pieces are missing before it, `Malformed` if it is none, or other bytes than
    /// those that a checkpoint already names.
    pub async fn store_answer(&self, part: AnswerPart) -> Result<u64, StoreError> {
        self.submit(|reply| Job::StoreAnswer { part, reply }).await?.wait().await
    }

    /// Erases a kept answer that its client has. Nothing happens if there is none.
    ///
    /// # Errors
    /// As the database.
    pub async fn erase_answer(&self, answer_id: Hash32) -> Result<(), StoreError> {
        self.submit(|reply| Job::EraseAnswer { answer_id, reply }).await?.wait().await
    }

    /// Erases kept answers whose time is over at `now`, a few at once, and evidence that none of them needs. Returns how many: to
    /// be repeated until it is none.
    ///
    /// # Errors
    /// As the database.
    pub async fn erase_ended(&self, now: UnixSeconds) -> Result<u64, StoreError> {
        self.submit(|reply| Job::EraseEnded { now, reply }).await?.wait().await
    }

    /// Remembers evidence of a boot, made at this time by our clock.
    ///
    /// # Errors
    /// As the database.
    pub async fn put_evidence(&self, manifest_hash: Hash32, made_at_ms: u64, evidence: Vec<u8>) -> Result<(), StoreError> {
        self.submit(|reply| Job::PutEvidence { manifest_hash, made_at_ms, evidence, reply }).await?.wait().await
    }

    /// Changes the quota while running.
    ///
    /// # Errors
    /// As the database.
    pub async fn set_quota(&self, quota_bytes: Option<u64>) -> Result<(), StoreError> {
        self.submit(|reply| Job::SetQuota { quota_bytes, reply }).await?.wait().await?;
        self.0.quota_bytes.store(quota_bytes.unwrap_or_default(), Ordering::Relaxed);
        Ok(())
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || read(&inner.reader.lock().unwrap_or_else(PoisonError::into_inner)))
            .await
            .map_err(|error| StoreError::Io(error.to_string()))?
    }

    /// A receipt by its unguessable id, in any log.
    ///
    /// # Errors
    /// As the database.
    pub async fn receipt(&self, receipt_id: [u8; 16]) -> Result<Option<ReceiptRow>, StoreError> {
        self.read(move |connection| read::receipt(connection, &receipt_id)).await
    }

    /// The record of a settlement.
    ///
    /// # Errors
    /// As the database.
    pub async fn intent(&self, payment_id: Hash32) -> Result<Option<StoredIntent>, StoreError> {
        self.read(move |connection| read::intent(connection, &payment_id)).await
    }

    /// A kept answer from an offset on, if a checkpoint names it, and how much room there is for more.
    ///
    /// # Errors
    /// As the database.
    pub async fn answer(&self, answer_id: Hash32, offset: u64) -> Result<AnswerPage, StoreError> {
        self.read(move |connection| answers::page(connection, &answer_id, offset)).await
    }

    /// The newest evidence of a boot that was made at this time or before; if there is none, the oldest.
    ///
    /// # Errors
    /// As the database.
    pub async fn evidence(&self, manifest_hash: Hash32, not_after_ms: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(move |connection| answers::evidence(connection, &manifest_hash, not_after_ms)).await
    }

    /// Records of a chain that are not over, and those that ended after `since` (Unix seconds of validBefore).
    ///
    /// # Errors
    /// As the database.
    pub async fn intents(&self, chain_id: u64, since: UnixSeconds) -> Result<Vec<StoredIntent>, StoreError> {
        self.read(move |connection| read::intents(connection, chain_id, since)).await
    }

    /// Ids of all logs, oldest boot first.
    ///
    /// # Errors
    /// As the database.
    pub async fn log_ids(&self) -> Result<Vec<Hash32>, StoreError> {
        self.read(read::log_ids).await
    }

    /// Ids of the logs of which no anchor is known that is as large as their newest checkpoint, oldest boot first.
    ///
    /// # Errors
    /// As the database.
    pub async fn unanchored(&self) -> Result<Vec<Hash32>, StoreError> {
        self.read(read::unanchored).await
    }

    /// The newest anchor of a log that was recorded.
    ///
    /// # Errors
    /// As the database.
    pub async fn newest_anchor(&self, log_id: Hash32) -> Result<Option<AnchorRow>, StoreError> {
        self.read(move |connection| read::newest_anchor(connection, &log_id)).await
    }
}

/// A write that was queued.
#[derive(Debug)]
#[must_use = "the write may be refused"]
pub struct Waiting<T>(oneshot::Receiver<Result<T, StoreError>>);

impl<T> Waiting<T> {
    /// Waits until it is durable.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn wait(self) -> Result<T, StoreError> {
        self.0.await.unwrap_or(Err(StoreError::Closed))
    }
}

fn io(error: std::io::Error) -> StoreError {
    if error.kind() == std::io::ErrorKind::StorageFull { StoreError::Full } else { StoreError::Io(error.to_string()) }
}

/// Two hosts on one database would number transactions of one account: refused at start, and not discovered later.
fn lock(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    create_private(&name)?;
    let file = File::open(&name).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked),
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}

/// The file exists before SQLite opens it, so that nobody else can read it for a moment; its journals inherit the mode.
fn create_private(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(io)?;
    }
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(io)?;
    Ok(())
}

/// What the enclave is told about a log that it asks for.
pub(crate) fn log_state(open: Option<&OpenLog>) -> candor_link::LogState {
    match open {
        Some(open) => {
            let state = open.read().state();
            candor_link::LogState { durable: state.tree, checkpointed: state.checkpoint_size }
        }
        None => candor_link::LogState { durable: Tree { size: 0, root: candor_verify::tlog::empty_root() }, checkpointed: 0 },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use candor_verify::manifest::Manifest;

    use super::*;

    #[tokio::test]
    async fn a_store_without_room_is_not_writable_until_there_is_some_and_a_look_takes_none() {
        let path = std::env::temp_dir().join(format!("candor-host-room-{}", std::process::id())).join("host.db");
        let store = Store::open(&path, StoreOptions::default()).unwrap();
        store.probe().await.unwrap();
        let pages =
            |path: &Path| rows::open_reader(path).unwrap().pragma_query_value(None, "page_count", |row| row.get::<_, i64>(0)).unwrap();
        let before = pages(&path);
        store.set_quota(Some(u64::try_from(before).unwrap() * 4096 + 4096)).await.unwrap();
        assert_eq!(store.probe().await, Err(StoreError::Full));
        assert!(!store.health().is_writable() && store.health().failures.get() == 1);
        // A write that needs no room says nothing of it.
        store.set_quota(None).await.unwrap();
        assert!(!store.health().is_writable());
        store.probe().await.unwrap();
        assert!(store.health().is_writable() && store.is_alive() && store.quota_bytes().is_none());
        assert_eq!(pages(&path), before);
        assert!(u64::try_from(before).unwrap() * 4096 <= store.bytes());
        drop(store);
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[tokio::test]
    async fn a_writer_that_is_gone_is_noticed_and_nobody_waits_for_it() {
        let path = std::env::temp_dir().join(format!("candor-host-writer-{}", std::process::id())).join("host.db");
        let mut inner = Arc::into_inner(Store::open(&path, StoreOptions::default()).unwrap().0).unwrap();
        // The queue of a writer that panicked.
        let (jobs, mut queue) = mpsc::channel(1);
        inner.jobs = Some(jobs);
        let store = Store(Arc::new(inner));
        let waiting = tokio::time::timeout(Duration::from_secs(5), store.set_quota(None));
        let (waiting, _) = tokio::join!(waiting, async { drop(queue.recv().await) });
        assert_eq!(waiting, Ok(Err(StoreError::Closed)));
        drop(queue);
        tokio::time::timeout(Duration::from_secs(5), store.ended()).await.unwrap();
        assert!(matches!(store.open_log(&Manifest::default(), vec![]).await, Err(StoreError::Closed)));
        drop(store);
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
