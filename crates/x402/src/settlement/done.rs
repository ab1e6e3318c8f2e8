//! The settlements that are over, for as long as their intents may be told again.

use std::collections::{BTreeMap, BTreeSet};

use candor_verify::bytes::Hash32;
use candor_verify::scheme::Transfer;

use super::outcome::{Outcome, SettlementStatus};
use super::store::StoredIntent;

/// At most this many are remembered, whatever the retention: the host's database has the rest.
const MAX_DONE: usize = 65_536;

/// One that is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub(super) outcome: Outcome,
    pub(super) transfer: Transfer,
    pub(super) revision: u64,
    forget_at_ms: u64,
}

/// Those that are over.
#[derive(Debug, Default)]
pub(super) struct DoneSet {
    by_id: BTreeMap<Hash32, Done>,
    // Invariant: one element per element of `by_id`.
    by_age: BTreeSet<(u64, Hash32)>,
}

impl DoneSet {
    pub(super) fn get(&self, payment_id: &Hash32) -> Option<&Done> {
        self.by_id.get(payment_id)
    }

    /// Remembers how it ended; the oldest make room.
    pub(super) fn remember(&mut self, record: &StoredIntent, status: SettlementStatus, retention_ms: u64) {
        let payment_id = record.intent.payment_id();
        self.remove(&payment_id);
        while MAX_DONE <= self.by_id.len() {
            let Some((_, oldest)) = self.by_age.first().copied() else { break };
            self.remove(&oldest);
        }
        let forget_at_ms = record.intent.ends_at_ms().saturating_add(retention_ms);
        let (transfer, outcome) = (*record.intent.transfer(), Outcome::of(&record.intent, status));
        self.by_age.insert((forget_at_ms, payment_id));
        self.by_id.insert(payment_id, Done { outcome, transfer, revision: record.revision, forget_at_ms });
    }

    pub(super) fn remove(&mut self, payment_id: &Hash32) -> Option<Done> {
        let done = self.by_id.remove(payment_id)?;
        self.by_age.remove(&(done.forget_at_ms, *payment_id));
        Some(done)
    }

    /// Forgets those whose time is over.
    pub(super) fn forget(&mut self, now_ms: u64) {
        while let Some((forget_at_ms, payment_id)) = self.by_age.first().copied()
            && forget_at_ms <= now_ms
        {
            self.remove(&payment_id);
        }
    }
}
