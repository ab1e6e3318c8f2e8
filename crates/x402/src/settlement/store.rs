//! What the host keeps on disk about a settlement, and its one encoding.
//!
//! Written before anything irreversible. A record with a higher revision replaces one with a lower; a record is a superset of what came
//! before, so losing the latest write only means asking the chain again.

use std::fmt;

use candor_verify::bytes::Hash32;
use candor_verify::cbor::{CborError, Reader, Writer};

use super::intent::Intent;
use super::outcome::{FailureCode, SettledBy, SettlementStatus};
use crate::scheme::{Calldata, CalldataError};

/// At most this many transaction hashes of one slot are kept; older ones can still be found through the authorization's own event.
pub(super) const MAX_HASHES: usize = 16;

/// Longest calldata that is read back, in bytes.
const MAX_CALLDATA: usize = 4096;

/// Version of the encoding.
const VERSION: u64 = 1;

/// A settlement on disk. Key = payment id.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct StoredIntent {
    /// What is to be settled.
    pub intent: Intent,
    /// Grows with every write.
    pub revision: u64,
    /// How far it is.
    pub progress: Progress,
}

/// How far a settlement is; named by what it awaits.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: a variant more is another version")]
pub enum Progress {
    /// No transaction of ours can be out.
    AwaitingNonce {
        /// Slots used up before without effect.
        attempts: u8,
    },
    /// A transaction of ours may be out, with this account nonce and no other.
    AwaitingReceipt(Slot),
    /// Over.
    Done {
        /// `Settled`, `Failed` or `Expired`.
        status: SettlementStatus,
        /// A slot of ours that may still be unused on chain.
        slot: Option<Slot>,
    },
}

/// One account nonce of the gas key, given to one settlement.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Slot {
    /// Account nonce of the gas key.
    pub account_nonce: u64,
    /// Gas price class: each is a valid replacement of the one below.
    pub gas_level: u8,
    /// Slots used up before this one.
    pub attempts: u8,
    /// Transactions sent in this slot, as far as known; at most one of them can land.
    pub hashes: Vec<Hash32>,
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum StoreError {
    /// Not the CBOR of a record.
    Cbor(CborError),
    /// The calldata is not a settlement.
    Calldata(CalldataError),
    /// A value that this version does not know.
    Value {
        /// Where.
        field: &'static str,
    },
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cbor(error) => error.fmt(f),
            Self::Calldata(error) => error.fmt(f),
            Self::Value { field } => write!(f, "stored intent: unknown {field}"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<CborError> for StoreError {
    fn from(error: CborError) -> Self {
        Self::Cbor(error)
    }
}

impl StoredIntent {
    /// Deterministic CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(8).u64(VERSION).u64(self.revision).u64(self.intent.chain_id()).bytes(&self.intent.to().0);
        w.bytes(&self.intent.calldata().0);
        match &self.progress {
            Progress::AwaitingNonce { attempts } => {
                w.u64(0).array(1).u64((*attempts).into()).array(0);
            }
            Progress::AwaitingReceipt(slot) => {
                w.u64(1).array(0);
                write_slot(&mut w, Some(slot));
            }
            Progress::Done { status, slot } => {
                w.u64(2);
                write_status(&mut w, status);
                write_slot(&mut w, slot.as_ref());
            }
        }
        w.into_vec()
    }

    /// Reads the one encoding.
    ///
    /// # Errors
    /// Where and why the bytes are not a record.
    pub fn parse(bytes: &[u8]) -> Result<Self, StoreError> {
        let mut r = Reader::new(bytes);
        r.array_of(8)?;
        r.exactly(VERSION)?;
        let revision = r.u64()?;
        let (chain_id, to) = (r.u64()?, r.address()?);
        let calldata = Calldata(r.bytes(MAX_CALLDATA)?.to_vec());
        let intent = Intent::parse(chain_id, to, calldata).map_err(StoreError::Calldata)?;
        let progress = match r.u64()? {
            0 => {
                r.array_of(1)?;
                let attempts = r.u8()?;
                r.array_of(0)?;
                Progress::AwaitingNonce { attempts }
            }
            1 => {
                r.array_of(0)?;
                Progress::AwaitingReceipt(read_slot(&mut r)?.ok_or(StoreError::Value { field: "slot" })?)
            }
            2 => Progress::Done { status: read_status(&mut r)?, slot: read_slot(&mut r)? },
            _ => return Err(StoreError::Value { field: "progress" }),
        };
        r.end()?;
        Ok(Self { intent, revision, progress })
    }
}

fn write_slot(w: &mut Writer, slot: Option<&Slot>) {
    let Some(slot) = slot else {
        w.array(0);
        return;
    };
    w.array(1).array(4).u64(slot.account_nonce).u64(slot.gas_level.into()).u64(slot.attempts.into());
    w.hashes(&slot.hashes);
}

fn read_slot(r: &mut Reader<'_>) -> Result<Option<Slot>, CborError> {
    r.optional(|r| {
        r.array_of(4)?;
        Ok(Slot { account_nonce: r.u64()?, gas_level: r.u8()?, attempts: r.u8()?, hashes: r.hashes(MAX_HASHES)? })
    })
}

fn write_status(w: &mut Writer, status: &SettlementStatus) {
    match status {
        SettlementStatus::Settled { tx_hash, block, by } => {
            let by = match by {
                SettledBy::Us => 0,
                SettledBy::ThirdParty => 1,
            };
            w.array(4).u64(0).u64(by).u64(*block).bytes(&tx_hash.0);
        }
        SettlementStatus::Failed { code } => {
            w.array(4).u64(1).u64(code.code().into()).u64(0).bytes(&[0; 32]);
        }
        // Pending is never stored as done; it would read back as expired, which a restart checks against the chain.
        SettlementStatus::Expired | SettlementStatus::Pending { .. } => {
            w.array(4).u64(2).u64(0).u64(0).bytes(&[0; 32]);
        }
    }
}

fn read_status(r: &mut Reader<'_>) -> Result<SettlementStatus, StoreError> {
    r.array_of(4)?;
    let (kind, detail, block, tx_hash) = (r.u64()?, r.u8()?, r.u64()?, r.hash()?);
    match (kind, detail, FailureCode::from_code(detail)) {
        (0, 0, _) => Ok(SettlementStatus::Settled { tx_hash, block, by: SettledBy::Us }),
        (0, 1, _) => Ok(SettlementStatus::Settled { tx_hash, block, by: SettledBy::ThirdParty }),
        (1, _, Some(code)) => Ok(SettlementStatus::Failed { code }),
        (2, 0, _) => Ok(SettlementStatus::Expired),
        _ => Err(StoreError::Value { field: "status" }),
    }
}
