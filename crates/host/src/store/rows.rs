//! The database file: its schema, its settings, and its rows as values.
//!
//! Integers are stored as SQLite's signed 64 bits; what does not fit is refused, never wrapped.

use std::path::{Path, PathBuf};
use std::time::Duration;

use candor_link::LoggedReceipt;
use candor_log::LogKeys;
use candor_verify::manifest::Manifest;
use candor_verify::time::UnixSeconds;
use candor_verify::tlog::Tree;
use candor_verify::{Hash32, Signature65};
use rusqlite::{Connection, OpenFlags};

use super::{StoreError, StoreOptions};

/// Schema of this version. Another one is refused: migrations are written when one was released.
const SCHEMA_VERSION: i64 = 3;

/// Statements that stay prepared: more than there are, so that none is parsed twice.
const STATEMENTS: usize = 64;

/// Marks the file as ours ("cndr").
const APPLICATION_ID: i64 = 0x636e_6472;

const SCHEMA: &str = "
    CREATE TABLE logs (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        log_id BLOB NOT NULL UNIQUE,
        manifest BLOB NOT NULL,
        evidence BLOB NOT NULL
    ) STRICT;
    CREATE TABLE receipts (
        log_id BLOB NOT NULL,
        sequence INTEGER NOT NULL,
        leaf_data BLOB NOT NULL,
        receipt_id BLOB NOT NULL UNIQUE,
        receipt BLOB NOT NULL,
        signature BLOB NOT NULL,
        frame_leaf_hashes BLOB NOT NULL,
        UNIQUE (log_id, sequence)
    ) STRICT;
    CREATE TABLE checkpoints (
        log_id BLOB NOT NULL,
        size INTEGER NOT NULL,
        root BLOB NOT NULL,
        timestamp_ms INTEGER NOT NULL,
        note_signature BLOB NOT NULL,
        signature BLOB NOT NULL,
        PRIMARY KEY (log_id, size)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE intents (
        payment_id BLOB NOT NULL PRIMARY KEY,
        chain_id INTEGER NOT NULL,
        valid_before INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        is_done INTEGER NOT NULL,
        log_id BLOB NOT NULL,
        sequence INTEGER NOT NULL,
        record BLOB NOT NULL
    ) STRICT;
    CREATE INDEX intents_open ON intents (chain_id, is_done, valid_before);
    CREATE TABLE anchors (
        log_id BLOB NOT NULL,
        size INTEGER NOT NULL,
        root BLOB NOT NULL,
        anchored_at_s INTEGER NOT NULL,
        tx_hash BLOB,
        PRIMARY KEY (log_id, size)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE evidences (
        manifest_hash BLOB NOT NULL,
        made_at_ms INTEGER NOT NULL,
        evidence BLOB NOT NULL,
        PRIMARY KEY (manifest_hash, made_at_ms)
    ) STRICT;
    CREATE TABLE answers (
        answer_id BLOB NOT NULL PRIMARY KEY,
        payment_id BLOB NOT NULL,
        chain_id INTEGER NOT NULL,
        receipt_id BLOB NOT NULL,
        total INTEGER NOT NULL,
        sha256 BLOB,
        end_s INTEGER
    ) STRICT;
    CREATE INDEX answers_payment ON answers (payment_id);
    CREATE INDEX answers_end ON answers (end_s);
    CREATE TABLE answer_parts (
        answer_id BLOB NOT NULL,
        start INTEGER NOT NULL,
        bytes BLOB NOT NULL,
        PRIMARY KEY (answer_id, start)
    ) STRICT;
    CREATE TABLE answer_sum (bytes INTEGER NOT NULL) STRICT;
    INSERT INTO answer_sum VALUES (0);
    CREATE TRIGGER answer_added AFTER INSERT ON answers BEGIN
        UPDATE answer_sum SET bytes = bytes + NEW.total;
    END;
    CREATE TRIGGER answer_erased AFTER DELETE ON answers BEGIN
        UPDATE answer_sum SET bytes = bytes - OLD.total;
        DELETE FROM answer_parts WHERE answer_id = OLD.answer_id;
    END;
";

/// The log of one boot.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a row")]
pub struct LogRow {
    /// Keys and promises; the log id follows from it.
    pub manifest: Manifest,
    /// Evidence as it was at boot.
    pub evidence: Vec<u8>,
}

impl LogRow {
    /// The two keys that sign its checkpoints.
    #[must_use]
    pub fn keys(&self) -> LogKeys {
        LogKeys::new(self.manifest.k_sig, self.manifest.k_log)
    }
}

/// A stored receipt.
#[derive(Clone, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a row")]
pub struct ReceiptRow {
    /// Log.
    pub log_id: Hash32,
    /// Leaf index.
    pub sequence: u64,
    /// The 32 bytes in the tree.
    pub leaf_data: Hash32,
    /// Words of the receipt.
    pub receipt: [u8; LoggedReceipt::RECEIPT_LEN],
    /// By K_sig.
    pub signature: Signature65,
    /// Leaf hashes of the transcript.
    pub frame_leaf_hashes: Vec<Hash32>,
}

impl std::fmt::Debug for ReceiptRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReceiptRow({:#}, {})", self.log_id, self.sequence)
    }
}

/// An anchor that was seen on the chain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a row")]
pub struct AnchorRow {
    /// Anchored tree.
    pub tree: Tree,
    /// Block time in Unix seconds.
    pub anchored_at: UnixSeconds,
    /// Transaction, if it was ours.
    pub tx_hash: Option<Hash32>,
}

pub(super) fn open_writer(path: &Path, options: StoreOptions) -> Result<Connection, StoreError> {
    let connection = Connection::open(path)?;
    // Nobody else writes (the lock says so); a backup tool may hold the file for a moment.
    connection.busy_timeout(Duration::from_secs(1))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    match (version, application) {
        (0, 0) => {
            // Crash: the whole schema is one transaction; without it the file is empty and made again.
            let marks = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};");
            connection.execute_batch(&format!("BEGIN IMMEDIATE; {SCHEMA} {marks} COMMIT;"))?;
        }
        (SCHEMA_VERSION, APPLICATION_ID) => {}
        _ => {
            let message = format!("expected schema {SCHEMA_VERSION} of application {APPLICATION_ID:#x}, got {version} of {application:#x}");
            return Err(StoreError::Contradiction(message));
        }
    }
    set_quota(&connection, options.quota_bytes)?;
    Ok(connection)
}

/// Applies to what is written from now on; a database that is larger already stays as it is.
/// SQLite's journal beside the file.
pub(super) fn journal(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

/// Pages that must be left for [`probe`]: as many as a long receipt takes.
const PROBE: i64 = 16;

/// Whether there is room under the quota, and whether the disk takes a page: one that is written as it was. The room is counted and not tried: a
/// write without room would end the transaction of everybody who is in it.
pub(super) fn probe(connection: &Connection) -> Result<(), StoreError> {
    let pages = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (most, used, free) = (pages("max_page_count")?, pages("page_count")?, pages("freelist_count")?);
    if most.saturating_sub(used).saturating_add(free) < PROBE {
        return Err(StoreError::Full);
    }
    connection.prepare_cached("UPDATE answer_sum SET bytes = bytes")?.execute([])?;
    Ok(())
}

pub(super) fn set_quota(connection: &Connection, quota_bytes: Option<u64>) -> Result<(), StoreError> {
    let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let pages = match quota_bytes {
        Some(bytes) => i64::try_from(bytes).unwrap_or(i64::MAX) / page.max(1),
        // SQLite's own upper bound.
        None => 0xffff_fffe,
    };
    connection.pragma_update_and_check(None, "max_page_count", pages.max(1), |row| row.get::<_, i64>(0))?;
    Ok(())
}

pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// For a column; what SQLite cannot hold is refused.
pub(super) fn integer(what: &str, value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::Malformed(format!("{what} {value} is beyond what can be stored")))
}

pub(super) fn unsigned(what: &str, value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::Contradiction(format!("{what} {value} in the database")))
}

pub(super) fn array<const N: usize>(what: &str, bytes: &[u8]) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| StoreError::Contradiction(format!("{what} of {} bytes in the database", bytes.len())))
}

pub(super) fn join(hashes: &[Hash32]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(hashes.len().saturating_mul(32));
    for hash in hashes {
        bytes.extend_from_slice(&hash.0);
    }
    bytes
}

pub(super) fn split(bytes: &[u8]) -> Result<Vec<Hash32>, StoreError> {
    let (chunks, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() {
        return Err(StoreError::Contradiction(format!("hashes of {} bytes in the database", bytes.len())));
    }
    Ok(chunks.iter().copied().map(Hash32).collect())
}
