//! The operator's books: what was sold, and what became of the money. Read only, beside a host that may be running.
//!
//! Rows are read newest first, one at a time. Trust: it is the host's own database; the chain says what was paid.
//! Not here: anything of a request or an answer, which the host does not have.

use std::path::Path;

use candor_verify::Hash32;
use candor_verify::receipt::Receipt;
use candor_verify::time::UnixMs;
use candor_x402::settlement::{Progress, SettlementStatus, StoredIntent};
use rusqlite::Connection;

use super::{StoreError, read, rows};

/// One sale.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a receipt and its settlement")]
pub struct BookedSale {
    /// What the enclave signed.
    pub receipt: Receipt,
    /// What became of its payment; `None`: there was nothing to settle.
    pub settlement: Option<SettlementStatus>,
}

/// A database of a host, open for reading.
#[derive(Debug)]
pub struct Books(Connection);

impl Books {
    /// Opens the database in a host's directory; `None` if it has none yet.
    ///
    /// # Errors
    /// The file is no database of a host, or cannot be read.
    pub fn open(data_dir: &Path) -> Result<Option<Self>, StoreError> {
        let path = data_dir.join("host.db");
        if !path.exists() {
            return Ok(None);
        }
        rows::open_reader(&path).map(|connection| Some(Self(connection)))
    }

    /// Shows every sale that finished in `[since, until)`, the newest first, until `take` says that it has enough (`false`).
    ///
    /// # Errors
    /// As the database; a row that is no receipt is a contradiction.
    pub fn sales(&self, since: UnixMs, until: UnixMs, take: &mut dyn FnMut(BookedSale) -> bool) -> Result<(), StoreError> {
        // A boot's receipts are in the order of their ends; two boots may overlap by no more than one answer takes.
        let sql = "SELECT receipt FROM receipts JOIN logs USING (log_id) ORDER BY number DESC, sequence DESC";
        let mut statement = self.0.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let bytes: Vec<u8> = row.get(0)?;
            let receipt = Receipt::parse(&bytes).map_err(|error| StoreError::Contradiction(format!("a stored receipt: {error}")))?;
            let finished = receipt.work.finished_at;
            if finished.saturating_add(OVERLAP_MS) < since {
                return Ok(());
            }
            if finished < since || until <= finished {
                continue;
            }
            let settlement = self.settlement(&receipt)?;
            if !take(BookedSale { receipt, settlement }) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// How the payment of a receipt stands.
    fn settlement(&self, receipt: &Receipt) -> Result<Option<SettlementStatus>, StoreError> {
        let money = &receipt.money;
        if !money.scheme.is_paid() || money.charged.0 == 0 {
            return Ok(None);
        }
        Ok(read::intent(&self.0, &money.payment_id)?.map(|stored| status_of(&stored)))
    }

    /// Payments whose settlement is open, oldest first: what is owed.
    ///
    /// # Errors
    /// As the database.
    pub fn open_settlements(&self) -> Result<Vec<(Hash32, SettlementStatus)>, StoreError> {
        let mut statement = self.0.prepare_cached("SELECT record FROM intents WHERE is_done = 0 ORDER BY valid_before LIMIT ?1")?;
        let rows = statement.query_map([OPEN_MAX], |row| row.get::<_, Vec<u8>>(0))?;
        rows.map(|bytes| {
            let stored = StoredIntent::parse(&bytes?).map_err(|error| StoreError::Contradiction(format!("stored intent: {error}")))?;
            Ok((stored.intent.payment_id(), status_of(&stored)))
        })
        .collect()
    }

    /// Bytes of the database.
    ///
    /// # Errors
    /// As the database.
    pub fn bytes(&self) -> Result<u64, StoreError> {
        let page: i64 = self.0.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let pages: i64 = self.0.pragma_query_value(None, "page_count", |row| row.get(0))?;
        Ok(rows::unsigned("page size", page)?.saturating_mul(rows::unsigned("pages", pages)?))
    }
}

/// The longest that an answer takes: so far a former boot's receipts may lie beside those of its successor.
const OVERLAP_MS: u64 = 600_000;

/// Open settlements that are shown; the machine has room for no more.
const OPEN_MAX: i64 = 65_536;

fn status_of(stored: &StoredIntent) -> SettlementStatus {
    match &stored.progress {
        Progress::AwaitingNonce { .. } => SettlementStatus::Pending { tx_hash: None },
        Progress::AwaitingReceipt(slot) => SettlementStatus::Pending { tx_hash: slot.hashes.last().copied() },
        Progress::Done { status, .. } => *status,
    }
}
