//! What a client has paid or may have paid: never two payments for one request that is open, never more than the day's budget.
//!
//! ```text
//! reserve ──▶ Reserved ── sent ──▶ Unresolved ── answered, or used on chain ──▶ Charged ── a day ──▶ forgotten
//!                └── never sent ───────┼── unused at a block after its end ──▶ gone
//!                                      ├── a boot of its payee had no answer ──▶ GivenUp ── a week ──▶ forgotten
//!                                      └── a receipt says that nobody pays ──▶ TurnedAway ── unused at a block after its end ──▶ gone
//! ```
//!
//! A payment is *unresolved* from the moment it is sent until the chain or a receipt says what became of it. The enclave may be dead and
//! still have handed out the calldata; so until its deadline an unresolved payment counts as spent, its request is not paid elsewhere, and
//! the same boot is sent the same payment again (ADR 0005), and so is a later boot for the same payee if the payment echoed the salt of its
//! answer: that boot cannot run it, and may have the answer (recovery.md). After the deadline the client asks the chain and tells [`Ledger::resolve`].
//! Sans I/O: the shell writes [`Ledger::spends`] to disk **before** it signs, and again before it sends. A shell that keeps what is forgotten
//! here, as the record of what was spent, gives the ledger what is open, and of the rest the sum of a day.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use candor_verify::bytes::{Address, Amount, Hash32};
use candor_verify::payment::{MAX_SKEW_SECONDS, MAX_TIMEOUT_SECONDS, offer_nonce};
use candor_verify::recovery::KEPT_SECONDS;
use candor_verify::scheme::Scheme;
use candor_verify::time::{UnixMs, UnixSeconds};

use super::choose::Choice;
use super::pay::SentPayment;
use crate::protocol::Eip155;

/// Seconds over which the budget of a day is counted.
pub const DAY_SECONDS: u64 = 24 * 60 * 60;

/// At most this many payments are remembered; more in a day is a different kind of client.
const MAX_SPENDS: usize = 100_000;

/// What is to be paid for, by whom.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: callers must give each")]
pub struct Purchase {
    /// Names the request: the client's own digest of method, path and body, the same each time it asks the same.
    pub request: Hash32,
    /// Who pays.
    pub payer: Address,
    /// 32 fresh random bytes, with which the nonce commits to the offer.
    pub client_salt: Hash32,
}

/// A payment of ours.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: the record that shells store")]
pub struct Spend {
    /// Names the payment: the nonce of what is signed.
    pub nonce: Hash32,
    /// How it pays.
    pub scheme: Scheme,
    /// Names the request. Several payments may be for the same request, one after the other.
    pub request: Hash32,
    /// Manifest hash of the boot that made the offer: nobody else can run the request for this payment.
    pub boot: Hash32,
    /// Who pays.
    pub payer: Address,
    /// Chain of the token.
    pub network: Eip155,
    /// Token contract.
    pub asset: Address,
    /// Amount in the asset's smallest unit: what was signed, until a receipt says what is charged.
    pub amount: Amount,
    /// What was signed, and may move until its end.
    pub signed: Amount,
    /// Unix seconds when it was reserved.
    pub reserved_at: UnixSeconds,
    /// Unix seconds before which it can move.
    pub valid_before: UnixSeconds,
    /// What is known of it.
    pub state: SpendState,
}

/// What is known of a payment.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: callers must decide for each")]
pub enum SpendState {
    /// It may be signed, and was sent to nobody.
    Reserved,
    /// It may move, or may have moved.
    Unresolved(SentPayment),
    /// It counts as charged: it can move no more, and a boot of its payee had no answer for it. Another may have, so before its request is paid for
    /// anew its answer is asked for, as long as one may be kept.
    GivenUp(SentPayment),
    /// A verified receipt says that its request was refused and that nobody pays for that. Its request may be paid for anew; it is sent to nobody
    /// again, and counts until a chain shows that it did not move.
    TurnedAway,
    /// It moved, or a receipt says that it is owed.
    Charged,
}

/// What the client learned about an unresolved payment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete")]
pub enum Resolution {
    /// It moved, or a verified receipt charges it; how much, if a receipt says so.
    Charged {
        /// In the asset's smallest unit; what was signed if nobody knows.
        amount: Option<Amount>,
    },
    /// The authorization is unused at a block with this timestamp (Unix seconds), read over the client's own RPC.
    UnusedAt {
        /// Timestamp of the block.
        block_time: UnixSeconds,
    },
    /// It can move no more, and a boot of its payee had no answer for it.
    GivenUp,
    /// A verified receipt says that its request was refused and that nobody pays for that.
    TurnedAway,
    /// It was reserved and never sent to anybody.
    NeverSent,
}

/// The boot that is about to be asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: callers must give each")]
pub struct Seller {
    /// Its manifest hash.
    pub boot: Hash32,
    /// Whom it attests as its payee.
    pub payee: Address,
}

/// Permission to sign one payment. Not `Clone`: one reservation, one signature.
#[derive(Debug)]
#[must_use = "sign with it, or resolve it as never sent"]
pub struct Reservation {
    pub(super) choice: Choice,
    pub(super) purchase: Purchase,
    pub(super) nonce: Hash32,
    pub(super) valid_before: UnixSeconds,
}

impl Reservation {
    /// Names the payment that it is for.
    #[must_use]
    pub fn nonce(&self) -> Hash32 {
        self.nonce
    }

    /// When the offer that it answers ends, Unix milliseconds: a payment that is signed later is not to be sent.
    #[must_use]
    pub fn offer_ends(&self) -> UnixMs {
        self.choice.signed.offer.valid_until
    }

    /// `validBefore` of the payment to be signed, Unix seconds.
    #[must_use]
    pub fn valid_before(&self) -> UnixSeconds {
        self.valid_before
    }
}

/// Why a payment must not be made now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LedgerError {
    /// This very payment was made already, or is known to be charged.
    AlreadyPaid,
    /// An earlier payment for the request may still move. Unix seconds.
    Unresolved {
        /// When it can be resolved.
        until: UnixSeconds,
    },
    /// An earlier payment for the request has ended: ask the chain whether it moved, and resolve it.
    AskTheChain {
        /// Its deadline, Unix seconds.
        valid_before: UnixSeconds,
    },
    /// The day's budget in this asset.
    PerDay {
        /// Limit.
        limit: Amount,
        /// What the day would come to; the largest amount there is, if it is even larger.
        got: Amount,
    },
    /// As many payments that were sent and not answered stand unresolved as the policy allows beside each other.
    TooManyUnresolved {
        /// Limit.
        limit: u32,
        /// How many there are.
        got: usize,
        /// When the first of them can be resolved, Unix seconds.
        until: UnixSeconds,
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
        at_least: UnixSeconds,
        /// The block's timestamp.
        got: UnixSeconds,
    },
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyPaid => f.write_str("this payment was made already"),
            Self::Unresolved { until } => write!(f, "an earlier payment for this request is unresolved until {until}"),
            Self::AskTheChain { valid_before } => {
                write!(f, "an earlier payment for this request ended at {valid_before}: ask the chain whether it moved")
            }
            Self::PerDay { limit, got } => write!(f, "the day would come to {got}; the spend policy allows {limit}"),
            Self::TooManyUnresolved { limit, got, until } => write!(
                f,
                "{got} payments that were sent and not answered are unresolved, the first until {until}; another beside them would be more than \
                 the {limit} that the spend policy allows (max_unresolved)"
            ),
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
    // By nonce.
    spends: BTreeMap<Hash32, Spend>,
    // What was charged within the day by payments that are not among them.
    charged: Vec<(Eip155, Address, Amount)>,
}

impl Ledger {
    /// A ledger that goes on from what was stored. The later of two records for one payment wins.
    #[must_use]
    pub fn new(spends: impl IntoIterator<Item = Spend>) -> Self {
        Self { spends: spends.into_iter().map(|spend| (spend.nonce, spend)).collect(), charged: Vec::new() }
    }

    /// The same, with what was charged in an asset within the last [`DAY_SECONDS`] by payments that it is not given one by one: a shell with
    /// many has only their sum.
    #[must_use]
    pub fn with_charged(mut self, network: Eip155, asset: Address, amount: Amount) -> Self {
        self.charged.push((network, asset, amount));
        self
    }

    /// The records to store.
    pub fn spends(&self) -> impl Iterator<Item = &Spend> {
        self.spends.values()
    }

    /// The payments of which nobody knows yet what became of them.
    pub fn open(&self) -> impl Iterator<Item = &Spend> {
        self.spends.values().filter(|spend| spend.state != SpendState::Charged)
    }

    /// The payment to send again for this request, if this boot was sent one or may have the answer to one that another was sent; `None` if a
    /// new one may be made. After one that was given up a new one may be made too, if this boot has no answer either.
    ///
    /// Sending a payment to another boot is safe: its nonce commits to an offer of the other's key, so no later boot can run it. It may only
    /// hand out what is kept for it.
    ///
    /// `in_flight` are the payments that some ask is still waiting for. They are that ask's alone: who asks the same thing at the same
    /// time wants a second answer. An abandoned payment that nobody was sent is forgotten here.
    ///
    /// # Errors
    /// `Unresolved` or `AskTheChain`: another boot was sent a payment for this request, or its deadline has passed.
    pub fn resume(
        &mut self,
        request: &Hash32,
        seller: &Seller,
        in_flight: &[Hash32],
        now: UnixSeconds,
    ) -> Result<Option<SentPayment>, LedgerError> {
        let is_abandoned = |spend: &Spend| spend.request == *request && !in_flight.contains(&spend.nonce);
        self.spends.retain(|_, spend| !(is_abandoned(spend) && spend.state == SpendState::Reserved));
        let (mut blocked, mut given_up) = (None, None);
        for spend in self.spends.values().filter(|spend| is_abandoned(spend)) {
            match &spend.state {
                SpendState::Reserved | SpendState::TurnedAway | SpendState::Charged => {}
                // Also after the node would run it no more: the answer may be kept.
                SpendState::Unresolved(sent) if spend.may_be_sent_again(sent, seller, now) => return Ok(Some(sent.clone())),
                SpendState::Unresolved(_) => blocked = Some(spend.why_not_again(now)),
                SpendState::GivenUp(sent) if spend.may_be_sent_again(sent, seller, now) => given_up = Some(sent.clone()),
                SpendState::GivenUp(_) => {}
            }
        }
        blocked.map_or(Ok(given_up), Err)
    }

    /// Reserves a payment, on the chosen requirements and no others.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn reserve(&mut self, purchase: Purchase, choice: Choice, now: UnixSeconds) -> Result<Reservation, LedgerError> {
        self.forget(now);
        let offer = &choice.signed.offer;
        let nonce = offer_nonce(&offer.digest(), &purchase.client_salt);
        if self.spends.contains_key(&nonce) {
            return Err(LedgerError::AlreadyPaid);
        }
        if MAX_SPENDS <= self.spends.len() {
            return Err(LedgerError::Full { limit: MAX_SPENDS });
        }
        let (requirements, limit) = (&choice.requirements, choice.limit.max_per_day);
        let day = self.day_total(requirements.network, &requirements.asset, now).checked_add(requirements.amount);
        match day {
            Some(day) if day <= limit => {}
            day => return Err(LedgerError::PerDay { limit, got: day.unwrap_or(Amount(u128::MAX)) }),
        }
        let valid_before = now.saturating_add(requirements.max_timeout_seconds.min(MAX_TIMEOUT_SECONDS));
        let spend = Spend {
            nonce,
            scheme: requirements.through.scheme(),
            request: purchase.request,
            boot: offer.manifest_hash,
            payer: purchase.payer,
            network: requirements.network,
            asset: requirements.asset,
            amount: requirements.amount,
            signed: requirements.amount,
            reserved_at: now,
            valid_before,
            state: SpendState::Reserved,
        };
        self.spends.insert(nonce, spend);
        Ok(Reservation { choice, purchase, nonce, valid_before })
    }

    /// Reserves a payment for a request that was paid for already, at a node that did not answer: beside that payment, which may still move. `left`
    /// are all payments that were sent and left unanswered, for whatever request; each once.
    ///
    /// # Errors
    /// `TooManyUnresolved` if with this one more of them would be unresolved than the policy allows; otherwise as [`Self::reserve`].
    pub fn reserve_beside(
        &mut self,
        purchase: Purchase,
        choice: Choice,
        left: &BTreeSet<Hash32>,
        now: UnixSeconds,
    ) -> Result<Reservation, LedgerError> {
        let is_open = |spend: &&Spend| matches!(spend.state, SpendState::Reserved | SpendState::Unresolved(_));
        let open: Vec<&Spend> = left.iter().filter_map(|nonce| self.spends.get(nonce)).filter(is_open).collect();
        let (limit, got) = (choice.limit.max_unresolved, open.len());
        if usize::try_from(limit).unwrap_or(usize::MAX) <= got.max(1) {
            let until = open.iter().map(|spend| spend.valid_before).min().unwrap_or(now).saturating_add(MAX_SKEW_SECONDS);
            return Err(LedgerError::TooManyUnresolved { limit, got, until });
        }
        self.reserve(purchase, choice, now)
    }

    /// Records a payment that is about to be sent.
    ///
    /// # Errors
    /// `Unknown` if it was not reserved, `AlreadyPaid` if it was sent before.
    pub fn sent(&mut self, sent: SentPayment) -> Result<(), LedgerError> {
        let spend = self.spends.get_mut(&sent.payment().authorization.nonce).ok_or(LedgerError::Unknown)?;
        match spend.state {
            SpendState::Reserved => spend.state = SpendState::Unresolved(sent),
            SpendState::Unresolved(_) | SpendState::GivenUp(_) | SpendState::TurnedAway | SpendState::Charged => {
                return Err(LedgerError::AlreadyPaid);
            }
        }
        Ok(())
    }

    /// Records what became of a payment.
    ///
    /// # Errors
    /// `Unknown`; `AlreadyPaid` if it is charged, or was sent, and is said not to be; `TooEarly` if the block that shows it unused is
    /// before its end.
    pub fn resolve(&mut self, nonce: &Hash32, resolution: Resolution) -> Result<(), LedgerError> {
        let spend = self.spends.get_mut(nonce).ok_or(LedgerError::Unknown)?;
        match (resolution, &spend.state) {
            (Resolution::Charged { amount }, _) => {
                spend.amount = amount.unwrap_or(spend.amount).min(spend.amount);
                spend.state = SpendState::Charged;
            }
            (Resolution::UnusedAt { .. }, SpendState::Charged) => return Err(LedgerError::AlreadyPaid),
            (Resolution::GivenUp, SpendState::Unresolved(sent)) => spend.state = SpendState::GivenUp(sent.clone()),
            (Resolution::TurnedAway, SpendState::Unresolved(_)) => spend.state = SpendState::TurnedAway,
            (Resolution::GivenUp, SpendState::GivenUp(_)) | (Resolution::TurnedAway, SpendState::TurnedAway) => {}
            (Resolution::GivenUp | Resolution::TurnedAway, _) => return Err(LedgerError::Unknown),
            (Resolution::UnusedAt { block_time }, _) => {
                let at_least = spend.scheme.over_at(spend.valid_before);
                if block_time < at_least {
                    return Err(LedgerError::TooEarly { at_least, got: block_time });
                }
                self.spends.remove(nonce);
            }
            (Resolution::NeverSent, SpendState::Reserved) => {
                self.spends.remove(nonce);
            }
            (Resolution::NeverSent, _) => return Err(LedgerError::AlreadyPaid),
        }
        Ok(())
    }

    /// What was, or may have been, spent in the last 24 hours.
    #[must_use]
    pub fn day_total(&self, network: Eip155, asset: &Address, now: UnixSeconds) -> Amount {
        let since = now.saturating_sub(DAY_SECONDS);
        let counts = |spend: &&Spend| {
            let recent = since < spend.reserved_at || matches!(spend.state, SpendState::Reserved | SpendState::Unresolved(_));
            recent && spend.network == network && spend.asset == *asset
        };
        let charged = self.charged.iter().filter(|(of, token, _)| *of == network && token == asset).map(|(_, _, amount)| *amount);
        let mut amounts = self.spends.values().filter(counts).map(|spend| spend.counts(now)).chain(charged);
        let sum = amounts.try_fold(Amount::ZERO, Amount::checked_add);
        sum.unwrap_or(Amount(u128::MAX))
    }

    /// Forgets charged payments after a day, and those that were given up when no answer can be kept for them any more. Unresolved ones are kept
    /// until somebody resolves them.
    fn forget(&mut self, now: UnixSeconds) {
        let since = now.saturating_sub(DAY_SECONDS);
        self.spends.retain(|_, spend| match spend.state {
            SpendState::Reserved | SpendState::Unresolved(_) | SpendState::TurnedAway => true,
            SpendState::GivenUp(_) => spend.may_have_answer(now) || since < spend.reserved_at,
            SpendState::Charged => since < spend.reserved_at,
        });
    }
}

impl Spend {
    /// What counts as spent: a receipt that charges less than was signed is the enclave's word, and all of it may move before its end.
    #[must_use]
    pub fn counts(&self, now: UnixSeconds) -> Amount {
        let is_over = self.scheme.over_at(self.valid_before).saturating_add(MAX_SKEW_SECONDS) <= now;
        if is_over { self.amount } else { self.signed }
    }

    /// Whether its answer may still be had with it, however the payment ended.
    #[must_use]
    pub fn may_have_answer(&self, now: UnixSeconds) -> bool {
        let echoes_salt = matches!(&self.state, SpendState::Unresolved(sent) | SpendState::GivenUp(sent) if sent.echoes_salt());
        echoes_salt && now < self.valid_before.saturating_add(KEPT_SECONDS)
    }

    fn may_be_sent_again(&self, sent: &SentPayment, seller: &Seller, now: UnixSeconds) -> bool {
        let is_its_boot = self.boot == seller.boot;
        if self.may_have_answer(now) {
            return is_its_boot || sent.payment().authorization.to == seller.payee;
        }
        is_its_boot && now < self.valid_before
    }

    fn why_not_again(&self, now: UnixSeconds) -> LedgerError {
        let until = self.valid_before.saturating_add(MAX_SKEW_SECONDS);
        if now <= until { LedgerError::Unresolved { until } } else { LedgerError::AskTheChain { valid_before: self.valid_before } }
    }
}
