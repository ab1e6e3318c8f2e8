//! Kept answers: sealed blobs that wait for clients who paid and lost their connection, and the evidence that such a client needs.
//!
//! A blob comes in pieces, before the checkpoint that names it; until then nobody is given it. It is erased when its client has it, when a
//! later payment under the same id takes its place, and [`KEPT_SECONDS`] after its payment's end. The host cannot read it, and what it says
//! of itself in clear is what the settlement says too. Spec: link.md LINK-18 to LINK-21, recovery.md.
//!
//! Invariant: what a checkpoint names is whole and never changes.
//! Not here: when a blob may be handed out (the enclave decides), what is in it.

use candor_link::{AnswerPage, AnswerPart, AnswerPiece, AnswerRef};
use candor_verify::Hash32;
use candor_verify::recovery::{BlobHead, KEPT_SECONDS};
use candor_verify::time::UnixSeconds;
use candor_x402::settlement::Intent;
use rusqlite::{Connection, OptionalExtension, params};

use super::StoreError;
use super::rows::{integer, unsigned};

/// Bytes of kept answers that the enclave is told it may fill: a disk that every machine has. None has less than 4 KiB, so it is a bound of
/// their number too: a million.
const ROOM_BYTES: u64 = 4 << 30;

/// Beyond [`ROOM_BYTES`] so much is still taken: what the enclave has reserved and not stored yet when it is told how much room there is.
const SLACK_BYTES: u64 = 512 << 20;

/// Evidence is as old as the oldest answer that may need it, and a day more.
const EVIDENCE_KEPT_MS: u64 = (KEPT_SECONDS + 24 * 60 * 60) * 1000;

/// Answers erased in one turn of the writer: receipts and checkpoints wait behind it.
const ERASED_AT_ONCE: i64 = 256;

/// After its end, an answer whose payment did not move: the enclave waits two minutes for a chain's clock that is behind.
const UNPAID_KEPT_SECONDS: u64 = 10 * 60;

/// What is stored of one answer.
struct Held {
    payment_id: Vec<u8>,
    chain_id: i64,
    receipt_id: Vec<u8>,
    total: i64,
    sha256: Option<Vec<u8>>,
    end_s: Option<i64>,
}

fn held(connection: &Connection, answer_id: &Hash32) -> Result<Option<Held>, StoreError> {
    let sql = "SELECT payment_id, chain_id, receipt_id, total, sha256, end_s FROM answers WHERE answer_id = ?1";
    let row = connection.prepare_cached(sql)?.query_row([&answer_id.0[..]], |row| {
        Ok(Held {
            payment_id: row.get(0)?,
            chain_id: row.get(1)?,
            receipt_id: row.get(2)?,
            total: row.get(3)?,
            sha256: row.get(4)?,
            end_s: row.get(5)?,
        })
    });
    Ok(row.optional()?)
}

/// Bytes of an answer that are stored from its beginning.
fn size(connection: &Connection, answer_id: &Hash32) -> Result<u64, StoreError> {
    let sql = "SELECT COALESCE(MAX(start + LENGTH(bytes)), 0) FROM answer_parts WHERE answer_id = ?1";
    unsigned("size", connection.prepare_cached(sql)?.query_row([&answer_id.0[..]], |row| row.get(0))?)
}

fn piece(connection: &Connection, answer_id: &Hash32, start: i64) -> Result<Option<Vec<u8>>, StoreError> {
    let sql = "SELECT bytes FROM answer_parts WHERE answer_id = ?1 AND start = ?2";
    Ok(connection.prepare_cached(sql)?.query_row(params![&answer_id.0[..], start], |row| row.get(0)).optional()?)
}

/// Stores a piece. The same piece again is confirmed again; one at offset 0 begins an answer anew that no checkpoint names.
///
/// Crash: a blob of which pieces are missing, or that no checkpoint names, is given to nobody; the enclave stores it again before it sends
/// the checkpoint again, and the next boot erases it.
pub(super) fn store(connection: &Connection, part: &AnswerPart) -> Result<u64, StoreError> {
    let AnswerPart { answer_id, offset, total, bytes } = part;
    let malformed = |what: &str| Err(StoreError::Malformed(format!("answer {answer_id:#}: {what}")));
    let start = integer("offset", *offset)?;
    let held = held(connection, answer_id)?;
    if let Some(held) = &held
        && held.end_s.is_some()
    {
        let is_same = integer("total", *total)? == held.total && piece(connection, answer_id, start)?.as_ref() == Some(bytes);
        return if is_same { Ok(*total) } else { malformed("a checkpoint names it with other bytes") };
    }
    if *offset == 0 {
        connection.prepare_cached("DELETE FROM answers WHERE answer_id = ?1")?.execute([&answer_id.0[..]])?;
        begin(connection, part)?;
    } else if held.map(|held| held.total) != Some(integer("total", *total)?) {
        return Err(StoreError::Gap(format!("answer {answer_id:#} was not begun")));
    }
    let size = size(connection, answer_id)?;
    if *offset < size {
        return if piece(connection, answer_id, start)?.as_ref() == Some(bytes) { Ok(size) } else { malformed("pieces overlap") };
    }
    if size < *offset {
        return Err(StoreError::Gap(format!("answer {answer_id:#} has {size} bytes, a piece begins at {offset}")));
    }
    let sql = "INSERT INTO answer_parts (answer_id, start, bytes) VALUES (?1, ?2, ?3)";
    connection.prepare_cached(sql)?.execute(params![&answer_id.0[..], start, bytes])?;
    let size = size.saturating_add(bytes.len() as u64);
    if size == *total {
        complete(connection, answer_id)?;
    }
    Ok(size)
}

/// A row for an answer whose first piece has come. The piece has the head, which says whose it is.
fn begin(connection: &Connection, part: &AnswerPart) -> Result<(), StoreError> {
    let (head, _) = BlobHead::parse(&part.bytes).map_err(|error| StoreError::Malformed(error.to_string()))?;
    if ROOM_BYTES.saturating_add(SLACK_BYTES) < stored(connection)?.saturating_add(part.total) {
        return Err(StoreError::Full);
    }
    let sql = "INSERT INTO answers (answer_id, payment_id, chain_id, receipt_id, total) VALUES (?1, ?2, ?3, ?4, ?5)";
    connection.prepare_cached(sql)?.execute(params![
        &part.answer_id.0[..],
        &head.payment_id.0[..],
        integer("chain id", head.chain_id)?,
        &head.receipt_id[..],
        integer("total", part.total)?,
    ])?;
    Ok(())
}

/// Every piece is there: the blob has a digest, by which a checkpoint can name it, and blobs of its payment that no checkpoint names go.
fn complete(connection: &Connection, answer_id: &Hash32) -> Result<(), StoreError> {
    let mut blob = Vec::new();
    let mut statement = connection.prepare_cached("SELECT bytes FROM answer_parts WHERE answer_id = ?1 ORDER BY start")?;
    for bytes in statement.query_map([&answer_id.0[..]], |row| row.get::<_, Vec<u8>>(0))? {
        blob.extend_from_slice(&bytes?);
    }
    let digest = candor_verify::hash::sha256(&[&blob]);
    let sql = "UPDATE answers SET sha256 = ?2 WHERE answer_id = ?1";
    connection.prepare_cached(sql)?.execute(params![&answer_id.0[..], &digest.0[..]])?;
    let (head, _) = BlobHead::parse(&blob).map_err(|error| StoreError::Malformed(error.to_string()))?;
    // Those that one names may be paid for: this one's settlement decides about them.
    let sql = "DELETE FROM answers WHERE payment_id = ?1 AND answer_id <> ?2 AND end_s IS NULL";
    connection.prepare_cached(sql)?.execute(params![&head.payment_id.0[..], &answer_id.0[..]])?;
    Ok(())
}

/// A settlement names an answer: from now on it can be fetched, until a week after its payment's end.
pub(super) fn name(connection: &Connection, intent: &Intent, kept: &AnswerRef, receipt_id: &[u8]) -> Result<(), StoreError> {
    let AnswerRef { answer_id, sha256 } = kept;
    // Not a contradiction: the enclave has the blob and sends it again (LINK-19).
    let missing = || StoreError::Gap(format!("answer {answer_id:#} is not stored as the settlement names it"));
    let held = held(connection, answer_id)?.ok_or_else(missing)?;
    let is_of = (held.payment_id.as_slice(), held.chain_id, held.receipt_id.as_slice());
    let names = (&intent.payment_id().0[..], integer("chain id", intent.chain_id())?, receipt_id);
    if held.sha256.as_deref() != Some(&sha256.0[..]) || is_of != names {
        return Err(missing());
    }
    let sql = "UPDATE answers SET end_s = ?2 WHERE answer_id = ?1";
    connection.prepare_cached(sql)?.execute(params![&answer_id.0[..], integer("validBefore", intent.valid_before().0)?])?;
    Ok(())
}

/// Erases the answers of a payment but this one.
pub(super) fn erase_others(connection: &Connection, payment_id: &Hash32, but: Option<&Hash32>) -> Result<(), StoreError> {
    let but: &[u8] = but.map_or(&[], |answer_id| answer_id.0.as_slice());
    let sql = "DELETE FROM answers WHERE payment_id = ?1 AND answer_id <> ?2";
    connection.prepare_cached(sql)?.execute(params![&payment_id.0[..], but])?;
    Ok(())
}

/// Erases an answer that its client has.
pub(super) fn erase(connection: &Connection, answer_id: &Hash32) -> Result<(), StoreError> {
    // Not one that is still being stored: its checkpoint would be refused until it is sent again.
    let sql = "DELETE FROM answers WHERE answer_id = ?1 AND end_s IS NOT NULL";
    connection.prepare_cached(sql)?.execute([&answer_id.0[..]])?;
    Ok(())
}

/// Erases what no checkpoint names.
pub(super) fn erase_unnamed(connection: &Connection) -> Result<(), StoreError> {
    connection.execute("DELETE FROM answers WHERE end_s IS NULL", [])?;
    Ok(())
}

/// Erases answers whose week is over, a few at once, and evidence that is older than any answer. Returns how many answers.
pub(super) fn erase_ended(connection: &Connection, now: UnixSeconds) -> Result<u64, StoreError> {
    let ended = integer("time", now.saturating_sub(KEPT_SECONDS).0)?;
    let sql = "DELETE FROM answers WHERE answer_id IN (SELECT answer_id FROM answers WHERE end_s <= ?1 LIMIT ?2)";
    let erased = connection.prepare_cached(sql)?.execute(params![ended, ERASED_AT_ONCE])?;
    let old = integer("time", now.0.saturating_mul(1000).saturating_sub(EVIDENCE_KEPT_MS))?;
    connection.prepare_cached("DELETE FROM evidences WHERE made_at_ms < ?1")?.execute([old])?;
    Ok(erased as u64)
}

/// The payment of these answers ended without a transfer: nobody will be given them. They go as soon as the enclave, by its own clock, has
/// given the payment up too.
pub(super) fn unpaid(connection: &Connection, payment_id: &Hash32, valid_before: UnixSeconds) -> Result<(), StoreError> {
    // As if the week had begun so much earlier.
    let end = integer("validBefore", valid_before.saturating_add(UNPAID_KEPT_SECONDS).saturating_sub(KEPT_SECONDS).0)?;
    let sql = "UPDATE answers SET end_s = ?2 WHERE payment_id = ?1 AND end_s IS NOT NULL";
    connection.prepare_cached(sql)?.execute(params![&payment_id.0[..], end])?;
    Ok(())
}

/// What is stored of an answer that a checkpoint names, from an offset on, and the room that is left.
pub(super) fn page(connection: &Connection, answer_id: &Hash32, offset: u64) -> Result<AnswerPage, StoreError> {
    let room = ROOM_BYTES.saturating_sub(stored(connection)?);
    let Some(held) = held(connection, answer_id)?.filter(|held| held.end_s.is_some()) else {
        return Ok(AnswerPage { room, piece: None });
    };
    // An offset beyond what SQLite counts to is beyond every end.
    let start = i64::try_from(offset).unwrap_or(i64::MAX);
    let total = unsigned("total", held.total)?;
    let piece = piece(connection, answer_id, start)?.map(|bytes| AnswerPiece { total, bytes });
    Ok(AnswerPage { room, piece })
}

/// Bytes of all answers. A trigger of the schema keeps the sum: half a million rows are too many to add up for each question.
fn stored(connection: &Connection) -> Result<u64, StoreError> {
    unsigned("bytes", connection.prepare_cached("SELECT bytes FROM answer_sum")?.query_row([], |row| row.get(0))?)
}

/// Remembers evidence of a boot.
pub(super) fn put_evidence(connection: &Connection, manifest_hash: &Hash32, made_at_ms: u64, evidence: &[u8]) -> Result<(), StoreError> {
    let sql = "INSERT OR IGNORE INTO evidences (manifest_hash, made_at_ms, evidence) VALUES (?1, ?2, ?3)";
    connection.prepare_cached(sql)?.execute(params![&manifest_hash.0[..], integer("time", made_at_ms)?, evidence])?;
    Ok(())
}

/// The newest evidence of a boot that was made at this time or before; if there is none, the oldest: two clocks may differ by a little.
pub(super) fn evidence(connection: &Connection, manifest_hash: &Hash32, not_after_ms: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let sql = "SELECT evidence FROM evidences WHERE manifest_hash = ?1
               ORDER BY made_at_ms > ?2, CASE WHEN made_at_ms > ?2 THEN made_at_ms ELSE -made_at_ms END LIMIT 1";
    let not_after_ms = i64::try_from(not_after_ms).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row(params![&manifest_hash.0[..], not_after_ms], |row| row.get(0)).optional()?)
}
