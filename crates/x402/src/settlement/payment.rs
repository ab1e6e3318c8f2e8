//! One open settlement of a payment: what is awaited about it.
//!
//! ```text
//!            ┌──────────── Pause ◀───────────┐ the authorization is unused
//!            ▼                               │
//! told ──▶  Try ── would revert ──────────▶ Reason
//!            │                               ▲
//!            │ passes: an account nonce      │ would revert, or did
//!            ▼                               │
//!          Landing ──────────────────────────┘
//!
//! any ── used, not deep ──▶ Use          any ── past its end ──▶ End          any ── a deep fact ──▶ Record ──▶ told
//! ```
//!
//! Here are the states, what is to be asked, sent and written in each, and what is durable; the arrows are in `facts.rs`. How a transaction is on
//! its way is `transaction.rs`; whose turn it is to ask is `line.rs`.

use std::collections::BTreeSet;

use candor_verify::bytes::Hash32;

use super::agenda::{Place, Waits};
use super::config::MachineConfig;
use super::event::ChainRequest;
use super::intent::Intent;
use super::lane::{Lane, TxKey};
use super::line::{MAX_TIER, Ticket};
use super::outcome::SettlementStatus;
use super::store::{Progress, Slot, StoredIntent};
use super::waiters::Question;

/// A settlement that waits for nothing but its turn is looked at again after so many polls, lest it wait for ever.
const IDLE_POLLS: u64 = 32;

/// An open settlement.
#[derive(Debug)]
pub(super) struct Payment {
    pub(super) intent: Intent,
    /// Of the record that was last handed out to be written.
    revision: u64,
    /// Account nonces that it used up without effect.
    pub(super) attempts: u8,
    /// How often it was tried in vain: the call would have reverted, or did. Lengthens the pause before the next try, and the line.
    pub(super) in_vain: u32,
    pub(super) awaiting: Awaiting,
    pub(super) record: Record,
    /// When to see again what is to be asked.
    pub(super) round_at_ms: u64,
    /// What is to be asked in this round.
    pub(super) wanted: BTreeSet<Question>,
    /// When it takes long, until that is told.
    tell_pending_at_ms: Option<u64>,
    /// Where the machine's indexes have it.
    pub(super) placed: Place,
}

/// What is awaited about a payment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Awaiting {
    /// The time to be tried again. No transaction.
    Pause { until_ms: u64 },
    /// That its call is seen to pass, which gives it a transaction. Whoever has no time left to land waits here for its end.
    Try,
    /// What the authorization says about a revert at this block.
    Reason { revert: Revert, block: u64 },
    /// That its transaction lands, and is as deep as it must be.
    Landing { tx: TxKey },
    /// That a use of the authorization is explained and deep. Nothing is sent meanwhile.
    Use { tx: Option<TxKey> },
    /// How it ended: by the chain's clock no block from now on can include it. Nothing is sent meanwhile.
    End { tx: Option<TxKey> },
    /// That its end is durable.
    Record { status: SettlementStatus, slot: Option<Slot> },
}

/// Which revert.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Revert {
    /// Of the call, when it was tried without a transaction.
    Tried,
    /// Of the call, when it was tried once more instead of being sent: nobody has the transaction.
    Unsent { tx: TxKey },
    /// Of the transaction, in a deep block: the account nonce is gone.
    Mined { tx: TxKey },
}

/// What of a settlement is on disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Record {
    /// It as it is.
    Durable,
    /// It as it was. Written before the step ends.
    Changed,
    /// It as it is, or as it was: the write was handed out then, and no report has come.
    Written { since_ms: u64 },
}

impl Payment {
    /// One that was told. Its revisions go on from this one.
    pub(super) fn new(intent: Intent, revision: u64, now_ms: u64, config: &MachineConfig) -> Self {
        Self {
            intent,
            revision,
            attempts: 0,
            in_vain: 0,
            awaiting: Awaiting::Try,
            record: Record::Changed,
            round_at_ms: 0,
            wanted: BTreeSet::new(),
            tell_pending_at_ms: Some(now_ms.saturating_add(config.pending_after_ms)),
            placed: Place::default(),
        }
    }

    /// After a restart: what was written is durable. `None` if it is over.
    pub(super) fn restored(record: StoredIntent, lane: &mut Lane, config: &MachineConfig) -> Option<Self> {
        let (attempts, awaiting) = match &record.progress {
            Progress::AwaitingNonce { attempts } => (*attempts, Awaiting::Try),
            Progress::AwaitingReceipt(slot) => (slot.attempts, Awaiting::Landing { tx: lane.restore(record.intent.payment_id(), slot) }),
            Progress::Done { .. } => return None,
        };
        Some(Self { attempts, awaiting, record: Record::Durable, ..Self::new(record.intent, record.revision, 0, config) })
    }

    pub(super) fn intent(&self) -> &Intent {
        &self.intent
    }

    pub(super) fn payment_id(&self) -> Hash32 {
        self.intent.payment_id()
    }

    /// Its transaction, if it has one.
    pub(super) fn tx(&self) -> Option<TxKey> {
        match &self.awaiting {
            Awaiting::Landing { tx } | Awaiting::Reason { revert: Revert::Unsent { tx } | Revert::Mined { tx }, .. } => Some(*tx),
            Awaiting::Use { tx } | Awaiting::End { tx } => *tx,
            Awaiting::Pause { .. } | Awaiting::Try | Awaiting::Reason { revert: Revert::Tried, .. } | Awaiting::Record { .. } => None,
        }
    }

    /// How it ended, if that is durable.
    pub(super) fn durable_end(&self) -> Option<SettlementStatus> {
        match self.awaiting {
            Awaiting::Record { status, .. } if self.record == Record::Durable => Some(status),
            _ => None,
        }
    }

    /// Whether its transaction may be handed out: the record that names it is durable, and nothing says that it would be in vain.
    pub(super) fn may_be_sent(&self, now_ms: u64, lane: &Lane) -> bool {
        self.record == Record::Durable && self.wants_sending(now_ms, lane)
    }

    /// Whether it may be given an account nonce: a transaction that is sent now would come in time.
    pub(super) fn may_begin(&self, now_ms: u64, config: &MachineConfig) -> bool {
        self.awaiting == Awaiting::Try && now_ms.saturating_add(config.inclusion_ms) < self.intent.ends_at_ms()
    }

    /// Where it belongs in the indexes; `asks` if a question about it is out, `tries` if it is its call that is tried.
    pub(super) fn place(&self, asks: bool, tries: bool, config: &MachineConfig) -> Place {
        let is_over = matches!(self.awaiting, Awaiting::Record { .. });
        let write_at_ms = match self.record {
            Record::Durable | Record::Changed => None,
            Record::Written { since_ms } => Some(since_ms.saturating_add(config.persist_retry_ms)),
        };
        let may_end = matches!(self.awaiting, Awaiting::Pause { .. } | Awaiting::Try | Awaiting::Landing { .. });
        // Whoever has no transaction to be sent again needs no round while it waits to ask, or for the answer.
        let has_round = !is_over && (self.tx().is_some() || (!asks && self.wanted.is_empty()));
        Place {
            is_open: true,
            round_at_ms: has_round.then_some(self.round_at_ms),
            chore_at_ms: write_at_ms.into_iter().chain(self.tell_pending_at_ms.filter(|_| !is_over)).min(),
            ends_at_s: may_end.then(|| self.intent.valid_before().0),
            waits: if asks { Waits::Nowhere } else { self.waits() },
            has_seat: tries || self.tx().is_some(),
        }
    }

    fn waits(&self) -> Waits {
        let ticket = Ticket { tier: self.tier(), payer: self.intent.payer(), valid_before: self.intent.valid_before() };
        match self.wanted.first() {
            None => Waits::Nowhere,
            Some(Question::Try) => Waits::ToTry(ticket),
            Some(Question::Receipt | Question::Authorization) => Waits::ToLook(ticket),
        }
    }

    /// In front is whoever may hold up others, and whoever was never tried; then all the others, by what was in vain.
    fn tier(&self) -> u8 {
        let in_vain = u8::try_from(self.in_vain).unwrap_or(MAX_TIER);
        let tier = match (self.tx(), &self.awaiting) {
            (Some(_), _) => 0,
            (None, Awaiting::Try) => in_vain,
            (None, Awaiting::Reason { .. }) => in_vain.saturating_add(1),
            // It is asked about once more, or a few times: before what will be tried again and again.
            (None, _) => 1,
        };
        tier.min(MAX_TIER)
    }

    /// Sees what there is to ask, if it is time, and sends again what is late.
    pub(super) fn begin_round(&mut self, now_ms: u64, config: &MachineConfig, lane: &mut Lane) {
        if now_ms < self.round_at_ms {
            return;
        }
        let mut next_ms = now_ms.saturating_add(config.poll_ms);
        match self.awaiting {
            Awaiting::Pause { until_ms } if now_ms < until_ms => next_ms = until_ms,
            Awaiting::Pause { .. } | Awaiting::Try => {
                self.awaiting = Awaiting::Try;
                if self.may_begin(now_ms, config) {
                    self.wanted.insert(Question::Try);
                }
                next_ms = now_ms.saturating_add(config.poll_ms.saturating_mul(IDLE_POLLS));
            }
            Awaiting::Reason { .. } => {
                self.wanted.insert(Question::Authorization);
            }
            Awaiting::Landing { tx } => self.look_after(tx, now_ms, config, lane),
            Awaiting::Use { tx } | Awaiting::End { tx } => {
                self.wanted.insert(Question::Authorization);
                self.want_receipt(tx, lane);
            }
            Awaiting::Record { .. } => return,
        }
        self.round_at_ms = next_ms;
    }

    /// A round of one that waits for its transaction to land.
    fn look_after(&mut self, tx: TxKey, now_ms: u64, config: &MachineConfig, lane: &mut Lane) {
        self.want_receipt(Some(tx), lane);
        let is_late = lane.get(tx).is_some_and(|transaction| transaction.is_late(now_ms, config));
        let only_the_payer_knows = lane.get(tx).is_some_and(|transaction| transaction.awaits_word_of_rows());
        if is_late || only_the_payer_knows || lane.is_used(tx) {
            self.wanted.insert(Question::Authorization);
        }
        let again = is_late && self.wants_sending(now_ms, lane);
        if again && lane.get_mut(tx).is_some_and(|transaction| transaction.send_again(config.max_gas_level)) {
            self.record = Record::Changed;
        }
    }

    fn wants_sending(&self, now_ms: u64, lane: &Lane) -> bool {
        let Awaiting::Landing { tx } = self.awaiting else { return false };
        now_ms < self.intent.ends_at_ms() && !lane.is_used(tx)
    }

    fn want_receipt(&mut self, tx: Option<TxKey>, lane: &Lane) {
        if tx.and_then(|tx| lane.get(tx)).is_some_and(|transaction| !transaction.hashes().is_empty()) {
            self.wanted.insert(Question::Receipt);
        }
    }

    /// The next question, if there is one that makes sense by now.
    pub(super) fn take_question(&mut self, now_ms: u64, config: &MachineConfig, lane: &Lane) -> Option<(Question, ChainRequest)> {
        while let Some(question) = self.wanted.pop_first() {
            if let Some(request) = self.request(question, now_ms, config, lane) {
                return Some((question, request));
            }
        }
        None
    }

    fn request(&self, question: Question, now_ms: u64, config: &MachineConfig, lane: &Lane) -> Option<ChainRequest> {
        let (intent, payment_id) = (&self.intent, self.payment_id());
        match question {
            Question::Receipt => {
                let hashes = lane.get(self.tx()?)?.hashes().to_vec();
                Some(ChainRequest::QueryReceipt { payment_id, hashes })
            }
            Question::Authorization => Some(ChainRequest::QueryAuthorization { transfer: *intent.transfer() }),
            Question::Try => self.may_begin(now_ms, config).then(|| ChainRequest::Simulate {
                payment_id,
                to: intent.to(),
                calldata: intent.calldata().clone(),
            }),
        }
    }

    /// Whatever there is to ask is asked at once, not at the next poll.
    pub(super) fn hurry(&mut self) {
        self.round_at_ms = 0;
    }

    /// What is to be written now: after a change, or because no report of the last write has come.
    pub(super) fn take_write(&mut self, now_ms: u64, config: &MachineConfig, lane: &Lane) -> Option<StoredIntent> {
        match self.record {
            Record::Changed => self.revision = self.revision.saturating_add(1),
            Record::Written { since_ms } if since_ms.saturating_add(config.persist_retry_ms) <= now_ms => {}
            Record::Written { .. } | Record::Durable => return None,
        }
        self.record = Record::Written { since_ms: now_ms };
        Some(self.stored(lane))
    }

    /// Its record: what is to be durable of it.
    pub(super) fn stored(&self, lane: &Lane) -> StoredIntent {
        let slot = self.tx().and_then(|tx| lane.slot(tx, self.attempts));
        let progress = match (&self.awaiting, slot) {
            (Awaiting::Record { status, slot }, _) => Progress::Done { status: *status, slot: slot.clone() },
            (_, Some(slot)) => Progress::AwaitingReceipt(slot),
            (_, None) => Progress::AwaitingNonce { attempts: self.attempts },
        };
        StoredIntent { intent: self.intent.clone(), revision: self.revision, progress }
    }

    /// The record with this revision is durable.
    pub(super) fn on_durable(&mut self, revision: u64) {
        if self.revision == revision && matches!(self.record, Record::Written { .. }) {
            self.record = Record::Durable;
        }
    }

    /// Failed means unknown: the same record is written again after a while, which is harmless if it is there.
    pub(super) fn on_write_failed(&mut self, revision: u64, now_ms: u64) {
        if let Record::Written { since_ms } = &mut self.record
            && self.revision == revision
        {
            *since_ms = now_ms;
        }
    }

    /// Whether it is to be told now that it takes long.
    pub(super) fn take_pending(&mut self, now_ms: u64) -> bool {
        let is_over = matches!(self.awaiting, Awaiting::Record { .. });
        self.tell_pending_at_ms.take_if(|at_ms| *at_ms <= now_ms && !is_over).is_some()
    }
}
