//! Reads. Every value is checked on its way out: the database is a file, and files rot.

use candor_log::LeafData;
use candor_verify::checkpoint::{Checkpoint, Ed25519Signature, SignedCheckpoint};
use candor_verify::manifest::Manifest;
use candor_verify::time::{UnixMs, UnixSeconds};
use candor_verify::tlog::Tree;
use candor_verify::{Hash32, Signature65};
use candor_x402::settlement::StoredIntent;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::rows::{array, split, unsigned};
use super::{AnchorRow, LogRow, ReceiptRow, StoreError};

/// Settlements read at start; the machine has room for fewer.
const INTENTS_MAX: i64 = 65_536;

fn raw_hash(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<u8>> {
    row.get(column)
}

pub(super) fn hash(what: &str, bytes: &[u8]) -> Result<Hash32, StoreError> {
    array(what, bytes).map(Hash32)
}

pub(super) fn log_ids(connection: &Connection) -> Result<Vec<Hash32>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT log_id FROM logs ORDER BY number")?;
    let rows = statement.query_map([], |row| raw_hash(row, 0))?;
    rows.map(|bytes| hash("log id", &bytes?)).collect()
}

/// Logs whose newest checkpoint is larger than any anchor of theirs that was seen.
pub(super) fn unanchored(connection: &Connection) -> Result<Vec<Hash32>, StoreError> {
    let newest = |table| format!("COALESCE((SELECT MAX(size) FROM {table} t WHERE t.log_id = logs.log_id), 0)");
    let sql = format!("SELECT log_id FROM logs WHERE {} < {} ORDER BY number", newest("anchors"), newest("checkpoints"));
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([], |row| raw_hash(row, 0))?;
    rows.map(|bytes| hash("log id", &bytes?)).collect()
}

pub(super) fn log_row(connection: &Connection, log_id: &Hash32) -> Result<Option<LogRow>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT manifest, evidence FROM logs WHERE log_id = ?1")?;
    let row = statement.query_row([&log_id.0[..]], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?))).optional()?;
    let Some((manifest, evidence)) = row else { return Ok(None) };
    let manifest = Manifest::parse(&manifest).map_err(|error| StoreError::Contradiction(format!("stored manifest: {error}")))?;
    if manifest.log_id() != *log_id {
        return Err(StoreError::Contradiction("a stored manifest is of another log".to_owned()));
    }
    Ok(Some(LogRow { manifest, evidence }))
}

/// Whether a later boot has a log: then this one has ended.
pub(super) fn has_later_log(connection: &Connection, log_id: &Hash32) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM logs WHERE number > (SELECT number FROM logs WHERE log_id = ?1))";
    Ok(connection.prepare_cached(sql)?.query_row([&log_id.0[..]], |row| row.get(0))?)
}

/// All leaves in order; a hole is a broken database.
pub(super) fn leaves(connection: &Connection, log_id: &Hash32) -> Result<Vec<LeafData>, StoreError> {
    let sql = "SELECT sequence, leaf_data FROM receipts WHERE log_id = ?1 ORDER BY sequence";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([&log_id.0[..]], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
    let mut leaves = Vec::new();
    for row in rows {
        let (sequence, leaf) = row?;
        if usize::try_from(sequence) != Ok(leaves.len()) {
            return Err(StoreError::Contradiction(format!("expected leaf {}, the database has {sequence}", leaves.len())));
        }
        leaves.push(LeafData(hash("leaf", &leaf)?));
    }
    Ok(leaves)
}

pub(super) fn newest_checkpoint(connection: &Connection, log_id: &Hash32) -> Result<Option<SignedCheckpoint>, StoreError> {
    let sql = "SELECT size, root, timestamp_ms, note_signature, signature FROM checkpoints WHERE log_id = ?1 ORDER BY size DESC LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    let row = statement.query_row([&log_id.0[..]], |row| {
        let tree = (row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, i64>(2)?);
        Ok((tree, row.get::<_, Vec<u8>>(3)?, row.get::<_, Vec<u8>>(4)?))
    });
    let Some(((size, root, timestamp), note_signature, signature)) = row.optional()? else { return Ok(None) };
    let tree = Tree { size: unsigned("size", size)?, root: hash("root", &root)? };
    Ok(Some(SignedCheckpoint {
        checkpoint: Checkpoint { log_id: *log_id, tree, timestamp: UnixMs(unsigned("time", timestamp)?) },
        note_signature: Ed25519Signature(array("signature", &note_signature)?),
        signature: Signature65(array("signature", &signature)?),
        // Witnesses are a later part; what they add will be a table of its own.
        cosignatures: Vec::new(),
    }))
}

pub(super) fn newest_anchor(connection: &Connection, log_id: &Hash32) -> Result<Option<AnchorRow>, StoreError> {
    let sql = "SELECT size, root, anchored_at_s, tx_hash FROM anchors WHERE log_id = ?1 ORDER BY size DESC LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    let row = statement.query_row([&log_id.0[..]], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, i64>(2)?, row.get::<_, Option<Vec<u8>>>(3)?))
    });
    let Some((size, root, anchored_at, tx_hash)) = row.optional()? else { return Ok(None) };
    Ok(Some(AnchorRow {
        tree: Tree { size: unsigned("size", size)?, root: hash("root", &root)? },
        anchored_at: UnixSeconds(unsigned("time", anchored_at)?),
        tx_hash: tx_hash.map(|bytes| hash("transaction", &bytes)).transpose()?,
    }))
}

type RawReceipt = (Vec<u8>, i64, Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>);

fn receipt_row(raw: RawReceipt) -> Result<ReceiptRow, StoreError> {
    let (log_id, sequence, leaf_data, receipt, signature, frames) = raw;
    Ok(ReceiptRow {
        log_id: hash("log id", &log_id)?,
        sequence: unsigned("sequence", sequence)?,
        leaf_data: hash("leaf", &leaf_data)?,
        receipt: array("receipt", &receipt)?,
        signature: Signature65(array("signature", &signature)?),
        frame_leaf_hashes: split(&frames)?,
    })
}

fn raw_receipt(row: &Row<'_>) -> rusqlite::Result<RawReceipt> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
}

pub(super) fn receipt(connection: &Connection, receipt_id: &[u8; 16]) -> Result<Option<ReceiptRow>, StoreError> {
    let sql = "SELECT log_id, sequence, leaf_data, receipt, signature, frame_leaf_hashes FROM receipts WHERE receipt_id = ?1";
    let raw = connection.prepare_cached(sql)?.query_row([&receipt_id[..]], raw_receipt).optional()?;
    raw.map(receipt_row).transpose()
}

pub(super) fn receipt_at(connection: &Connection, log_id: &Hash32, sequence: i64) -> Result<Option<(Vec<u8>, ReceiptRow)>, StoreError> {
    let sql = "SELECT log_id, sequence, leaf_data, receipt, signature, frame_leaf_hashes, receipt_id
               FROM receipts WHERE log_id = ?1 AND sequence = ?2";
    let raw = connection
        .prepare_cached(sql)?
        .query_row(params![&log_id.0[..], sequence], |row| Ok((row.get::<_, Vec<u8>>(6)?, raw_receipt(row)?)))
        .optional()?;
    raw.map(|(id, raw)| Ok((id, receipt_row(raw)?))).transpose()
}

fn record(bytes: &[u8]) -> Result<StoredIntent, StoreError> {
    StoredIntent::parse(bytes).map_err(|error| StoreError::Contradiction(format!("stored intent: {error}")))
}

pub(super) fn intent(connection: &Connection, payment_id: &Hash32) -> Result<Option<StoredIntent>, StoreError> {
    let sql = "SELECT record FROM intents WHERE payment_id = ?1";
    let bytes: Option<Vec<u8>> = connection.prepare_cached(sql)?.query_row([&payment_id.0[..]], |row| row.get(0)).optional()?;
    bytes.map(|bytes| record(&bytes)).transpose()
}

pub(super) fn intents(connection: &Connection, chain_id: u64, since: UnixSeconds) -> Result<Vec<StoredIntent>, StoreError> {
    let sql = "SELECT record FROM intents WHERE chain_id = ?1 AND (is_done = 0 OR valid_before >= ?2)
               ORDER BY is_done, valid_before LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    // A chain id or time beyond 63 bits was never stored.
    let keys = (i64::try_from(chain_id).unwrap_or(-1), i64::try_from(since.0).unwrap_or(i64::MAX), INTENTS_MAX);
    let rows = statement.query_map(keys, |row| row.get::<_, Vec<u8>>(0))?;
    rows.map(|bytes| record(&bytes?)).collect()
}
