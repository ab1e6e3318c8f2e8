//! What a client has paid or may have paid: never two payments for one request, never more than the day's budget.
//!
//! A payment is *unresolved* from the moment it is signed until the chain or a receipt says what became of it. The enclave may be dead
//! and still have handed out the calldata; so until its deadline an unresolved payment counts as spent, and its request is not paid
//! elsewhere (ADR 0005). After the deadline the client asks the chain and tells [`Ledger::resolve`].
//! Sans I/O: the shell writes [`Ledger::spends`] to disk **before** it sends a payment.

use std::collections::BTreeMap;
use std::fmt;

use candor_verify::bytes::{Address, Amount, Hash32};
use candor_verify::payment::{MAX_SKEW_SECONDS, MAX_TIMEOUT_SECONDS};

use super::choose::Choice;
use crate::protocol::Eip155;

/// Seconds over which the budget of a day is counted.
const DAY_SECONDS: u64 = 24 * 60 * 60;

/// At most this many payments are remembered; more in a day is a different kind of client.
const MAX_SPENDS: usize = 100_000;

/// A payment of ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: the record that shells store")]
pub struct Spend {
    /// Names the request, by whatever the client uses (its own digest of method, URL and body, or an idempotency key).
    pub request: Hash32,
    /// Chain of the token.
    pub network: Eip155,
    /// Token contract.
    pub asset: Address,
    /// Amount in the asset's smallest unit.
    pub amount: Amount,
    /// Unix seconds when it was reserved.
    pub reserved_at: u64,
    /// Unix seconds before which it can move.
    pub valid_before: u64,
    /// What is known of it.
    pub state: SpendState,
}

/// What is known of a payment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: callers must decide for each")]
pub enum SpendState {
    /// It may move, or may have moved.
    Unresolved,
    /// It moved, or a receipt says that it is owed.
    Charged,
}

/// What the client learned about an unresolved payment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete")]
pub enum Resolution {
    /// It moved, or a verified receipt charges it.
    Charged,
    /// The authorization is unused at a block with this timestamp (Unix seconds), read over the client's own RPC.
    UnusedAt {
        /// Timestamp of the block.
        block_seconds: u64,
    },
    /// It was reserved and never sent to anybody.
    NeverSent,
}

/// Permission to sign one payment. Not `Clone`: one reservation, one signature.
#[derive(Debug)]
#[must_use = "sign with it, or resolve it as never sent"]
pub struct Reservation {
    pub(super) choice: Choice,
    request: Hash32,
    valid_before: u64,
}

impl Reservation {
    /// The request that it pays for.
    #[must_use]
    pub fn request(&self) -> Hash32 {
        self.request
    }

    /// `validBefore` of the payment to be signed, Unix seconds.
    #[must_use]
    pub fn valid_before(&self) -> u64 {
        self.valid_before
    }
}

/// Why a payment must not be made now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LedgerError {
    /// The request is paid for. Send the same payment again to get the same answer.
    AlreadyPaid,
    /// An earlier payment for the request may still move. Unix seconds.
    Unresolved {
        /// When it can be resolved.
        until: u64,
    },
    /// An earlier payment for the request has ended: ask the chain whether it moved, and resolve it.
    AskTheChain {
        /// Its deadline, Unix seconds.
        valid_before: u64,
    },
    /// The day's budget in this asset.
    PerDay {
        /// Limit.
        limit: Amount,
        /// What the day would come to; the largest amount there is, if it is even larger.
        got: Amount,
    },
    /// Too many payments are remembered.
    Full {
        /// Limit.
        limit: usize,
    },
    /// The payment that was to be resolved is not known.
    Unknown,
    /// The payment could still move at that block.
    TooEarly {
        /// The block's timestamp must reach this, Unix seconds.
        at_least: u64,
        /// The block's timestamp.
        got: u64,
    },
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyPaid => f.write_str("this request is paid for"),
            Self::Unresolved { until } => write!(f, "an earlier payment for this request is unresolved until {until}"),
            Self::AskTheChain { valid_before } => {
                write!(f, "an earlier payment for this request ended at {valid_before}: ask the chain whether it moved")
            }
            Self::PerDay { limit, got } => write!(f, "the day would come to {got}; the spend policy allows {limit}"),
            Self::Full { limit } => write!(f, "{limit} payments are remembered"),
            Self::Unknown => f.write_str("no such payment"),
            Self::TooEarly { at_least, got } => write!(f, "a block from {at_least} on expected, got {got}: the payment could still move"),
        }
    }
}

impl std::error::Error for LedgerError {}

/// The payments of one wallet. One ledger per wallet, one owner per ledger.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    // Invariant: one payment per request.
    spends: BTreeMap<Hash32, Spend>,
}

impl Ledger {
    /// A ledger that goes on from what was stored. The later of two records for one request wins.
    #[must_use]
    pub fn new(spends: impl IntoIterator<Item = Spend>) -> Self {
        Self { spends: spends.into_iter().map(|spend| (spend.request, spend)).collect() }
    }

    /// The records to store.
    pub fn spends(&self) -> impl Iterator<Item = &Spend> {
        self.spends.values()
    }

    /// Reserves the payment of a request, on the chosen terms and no others.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn reserve(&mut self, request: Hash32, choice: Choice, now_seconds: u64) -> Result<Reservation, LedgerError> {
        self.forget(now_seconds);
        if let Some(earlier) = self.spends.get(&request) {
            return Err(earlier.why_not_again(now_seconds));
        }
        if MAX_SPENDS <= self.spends.len() {
            return Err(LedgerError::Full { limit: MAX_SPENDS });
        }
        let (terms, limit) = (&choice.terms, choice.limit.max_per_day);
        let day = self.day_total(terms.network, &terms.asset, now_seconds).checked_add(terms.amount);
        match day {
            Some(day) if day <= limit => {}
            day => return Err(LedgerError::PerDay { limit, got: day.unwrap_or(Amount(u128::MAX)) }),
        }
        let valid_before = now_seconds.saturating_add(terms.max_timeout_seconds.min(MAX_TIMEOUT_SECONDS));
        let spend = Spend {
            request,
            network: terms.network,
            asset: terms.asset,
            amount: terms.amount,
            reserved_at: now_seconds,
            valid_before,
            state: SpendState::Unresolved,
        };
        self.spends.insert(request, spend);
        Ok(Reservation { choice, request, valid_before })
    }

    /// Records what became of a payment.
    ///
    /// # Errors
    /// `Unknown`; `AlreadyPaid` if it is charged and is said not to be; `TooEarly` if the block that shows it unused is before its end.
    pub fn resolve(&mut self, request: &Hash32, resolution: Resolution) -> Result<(), LedgerError> {
        let spend = self.spends.get_mut(request).ok_or(LedgerError::Unknown)?;
        match (resolution, spend.state) {
            (Resolution::Charged, _) => spend.state = SpendState::Charged,
            (Resolution::UnusedAt { .. } | Resolution::NeverSent, SpendState::Charged) => return Err(LedgerError::AlreadyPaid),
            (Resolution::UnusedAt { block_seconds }, SpendState::Unresolved) => {
                if block_seconds < spend.valid_before {
                    return Err(LedgerError::TooEarly { at_least: spend.valid_before, got: block_seconds });
                }
                self.spends.remove(request);
            }
            (Resolution::NeverSent, SpendState::Unresolved) => {
                self.spends.remove(request);
            }
        }
        Ok(())
    }

    /// What was, or may have been, spent in the last 24 hours.
    #[must_use]
    pub fn day_total(&self, network: Eip155, asset: &Address, now_seconds: u64) -> Amount {
        let since = now_seconds.saturating_sub(DAY_SECONDS);
        let counts = |spend: &&Spend| {
            let recent = since < spend.reserved_at || spend.state == SpendState::Unresolved;
            recent && spend.network == network && spend.asset == *asset
        };
        let sum = self.spends.values().filter(counts).try_fold(Amount::ZERO, |sum, spend| sum.checked_add(spend.amount));
        sum.unwrap_or(Amount(u128::MAX))
    }

    /// Forgets charged payments after a day. Unresolved ones are kept until somebody resolves them.
    fn forget(&mut self, now_seconds: u64) {
        let since = now_seconds.saturating_sub(DAY_SECONDS);
        self.spends.retain(|_, spend| spend.state == SpendState::Unresolved || since < spend.reserved_at);
    }
}

impl Spend {
    fn why_not_again(&self, now_seconds: u64) -> LedgerError {
        let until = self.valid_before.saturating_add(MAX_SKEW_SECONDS);
        match self.state {
            SpendState::Charged => LedgerError::AlreadyPaid,
            SpendState::Unresolved if now_seconds <= until => LedgerError::Unresolved { until },
            SpendState::Unresolved => LedgerError::AskTheChain { valid_before: self.valid_before },
        }
    }
}
