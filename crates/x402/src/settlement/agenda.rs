//! Which open settlement is to be looked at when: indexes over all of them, so that a step costs what is due and not what is open.
//!
//! A settlement has one [`Place`], which follows from its state alone. Payers decide how many settlements are open and when they end;
//! nothing here is walked from end to end, and every look into it has a bound.

use std::collections::BTreeSet;

use candor_verify::bytes::Hash32;
use candor_verify::time::UnixSeconds;

/// Settlements that one step takes out of one index at most. The rest is due at the next step.
pub(super) const MAX_PER_STEP: usize = 64;

/// What may be asked about one settlement, in this order and one at a time.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Question {
    Receipt,
    Authorization,
    Simulation,
}

/// Whose question goes first; lower does.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Rank {
    /// Tries in vain come first here: whoever lets the most tries fail waits longest, whatever deadline it chose.
    pub(super) tries: u32,
    pub(super) valid_before: UnixSeconds,
}

/// Where one settlement stands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Place {
    /// When the chain is to be looked at.
    pub(super) poll_at_ms: Option<u64>,
    /// When a write is to be repeated or something to be told.
    pub(super) chore_at_ms: Option<u64>,
    /// It waits to ask how something stands.
    pub(super) looks: Option<Rank>,
    /// It waits to try its call.
    pub(super) tries: Option<Rank>,
    /// It asked, and waits for the answer.
    pub(super) asked_at_ms: Option<u64>,
    pub(super) account_nonce: Option<u64>,
    /// When the chain's clock will have passed its end.
    pub(super) ends_at_s: Option<u64>,
}

/// The open settlements, by what they wait for.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    // Invariant: what stands in these of a settlement is its last `Place`.
    polls: BTreeSet<(u64, Hash32)>,
    chores: BTreeSet<(u64, Hash32)>,
    looks: BTreeSet<(Rank, Hash32)>,
    tries: BTreeSet<(Rank, Hash32)>,
    asked: BTreeSet<(u64, Hash32)>,
    in_flight: BTreeSet<(u64, Hash32)>,
    ends: BTreeSet<(u64, Hash32)>,
}

impl Agenda {
    /// Moves a settlement from one place to another; the default is nowhere.
    pub(super) fn put(&mut self, payment_id: Hash32, from: &Place, to: &Place) {
        replace(&mut self.polls, payment_id, from.poll_at_ms, to.poll_at_ms);
        replace(&mut self.chores, payment_id, from.chore_at_ms, to.chore_at_ms);
        replace(&mut self.looks, payment_id, from.looks, to.looks);
        replace(&mut self.tries, payment_id, from.tries, to.tries);
        replace(&mut self.asked, payment_id, from.asked_at_ms, to.asked_at_ms);
        replace(&mut self.in_flight, payment_id, from.account_nonce, to.account_nonce);
        replace(&mut self.ends, payment_id, from.ends_at_s, to.ends_at_s);
    }

    /// Those whose time to look at the chain has come.
    pub(super) fn due_polls(&self, now_ms: u64) -> Vec<Hash32> {
        until(&self.polls, now_ms)
    }

    /// Those with something to write or to tell.
    pub(super) fn due_chores(&self, now_ms: u64) -> Vec<Hash32> {
        until(&self.chores, now_ms)
    }

    /// Those whose question was asked by then and is not answered.
    pub(super) fn asked_until(&self, at_ms: u64) -> Vec<Hash32> {
        until(&self.asked, at_ms)
    }

    /// Those that no block from this time on can include. Unix seconds.
    pub(super) fn ended(&self, chain_time: UnixSeconds) -> Vec<Hash32> {
        until(&self.ends, chain_time.0)
    }

    /// Who asks next; `may_try` if a call may be tried.
    pub(super) fn next_to_ask(&self, may_try: bool) -> Option<Hash32> {
        let (look, attempt) = (self.looks.first(), self.tries.first().filter(|_| may_try));
        let first = match (look, attempt) {
            (Some(look), Some(attempt)) => Some(look.min(attempt)),
            (look, attempt) => look.or(attempt),
        };
        first.map(|(_, payment_id)| *payment_id)
    }

    /// Those with a question that is not answered. At most `MAX_QUESTIONS`.
    pub(super) fn asked(&self) -> impl Iterator<Item = Hash32> {
        self.asked.iter().map(|(_, payment_id)| *payment_id)
    }

    /// Account nonces that settlements have, and who has them.
    pub(super) fn in_flight(&self) -> impl DoubleEndedIterator<Item = (u64, Hash32)> {
        self.in_flight.iter().copied()
    }

    /// Who has this account nonce. Two have it if a crash came between the write of the one that got it and of the one that gave it up.
    pub(super) fn holder(&self, account_nonce: u64) -> Option<Hash32> {
        let all = (account_nonce, LOWEST)..=(account_nonce, HIGHEST);
        self.in_flight.range(all).next_back().map(|(_, payment_id)| *payment_id)
    }
}

const LOWEST: Hash32 = Hash32([0; 32]);
const HIGHEST: Hash32 = Hash32([0xff; 32]);

fn until(index: &BTreeSet<(u64, Hash32)>, time: u64) -> Vec<Hash32> {
    index.range(..=(time, HIGHEST)).take(MAX_PER_STEP).map(|(_, payment_id)| *payment_id).collect()
}

fn replace<K: Copy + Ord>(index: &mut BTreeSet<(K, Hash32)>, payment_id: Hash32, from: Option<K>, to: Option<K>) {
    if from == to {
        return;
    }
    if let Some(key) = from {
        index.remove(&(key, payment_id));
    }
    if let Some(key) = to {
        index.insert((key, payment_id));
    }
}
