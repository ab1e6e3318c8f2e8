//! Which open settlement is to be looked at when, and whose turn it is to ask: indexes over all of them, so that a step costs what is due
//! and not what is open.
//!
//! A settlement has one [`Place`], which follows from its state alone. Payers decide how many settlements are open and when they end;
//! nothing here is walked from end to end, and every look into it has a bound.

use std::collections::BTreeSet;

use candor_verify::bytes::{Address, Hash32};
use candor_verify::time::UnixSeconds;

use super::line::{Line, Ticket};
use super::shares::Shares;

/// Settlements that one step takes out of one index at most. The rest is due at the next step.
pub(super) const MAX_PER_STEP: usize = 64;

/// Where one settlement stands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Place {
    pub(super) is_open: bool,
    /// When the chain is to be looked at.
    pub(super) round_at_ms: Option<u64>,
    /// When a write is to be repeated or something to be told.
    pub(super) chore_at_ms: Option<u64>,
    /// When the chain's clock will have passed its end, in Unix seconds.
    pub(super) ends_at_s: Option<u64>,
    pub(super) waits: Waits,
    /// It has an account nonce, or one that waits for it.
    pub(super) has_seat: bool,
}

/// In which line it stands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Waits {
    #[default]
    Nowhere,
    /// To ask how something stands.
    ToLook(Ticket),
    /// To try its call.
    ToTry(Ticket),
}

/// The open settlements, by what they wait for.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    // Invariant: what stands in these of a settlement is its last `Place`.
    rounds: BTreeSet<(u64, Hash32)>,
    chores: BTreeSet<(u64, Hash32)>,
    ends: BTreeSet<(u64, Hash32)>,
    looks: Line,
    tries: Line,
    shares: Shares,
    try_is_next: bool,
}

impl Agenda {
    /// Moves a settlement from one place to another; the default is nowhere.
    pub(super) fn put(&mut self, payment_id: Hash32, payer: Address, from: &Place, to: &Place) {
        replace(&mut self.rounds, payment_id, from.round_at_ms, to.round_at_ms);
        replace(&mut self.chores, payment_id, from.chore_at_ms, to.chore_at_ms);
        replace(&mut self.ends, payment_id, from.ends_at_s, to.ends_at_s);
        self.shares.move_open(payer, from.is_open, to.is_open);
        self.shares.move_seat(payer, from.has_seat, to.has_seat);
        if from.waits == to.waits {
            return;
        }
        match &from.waits {
            Waits::Nowhere => {}
            Waits::ToLook(ticket) => self.looks.leave(ticket, payment_id),
            Waits::ToTry(ticket) => self.tries.leave(ticket, payment_id),
        }
        match &to.waits {
            Waits::Nowhere => {}
            Waits::ToLook(ticket) => self.looks.join(ticket, payment_id),
            Waits::ToTry(ticket) => self.tries.join(ticket, payment_id),
        }
    }

    /// Settlements of this payer that are not over.
    pub(super) fn open_of(&self, payer: &Address) -> usize {
        self.shares.open(payer)
    }

    /// Those whose time to look at the chain has come.
    pub(super) fn due_rounds(&self, now_ms: u64) -> Vec<Hash32> {
        until(&self.rounds, now_ms)
    }

    /// Those with something to write or to tell.
    pub(super) fn due_chores(&self, now_ms: u64) -> Vec<Hash32> {
        until(&self.chores, now_ms)
    }

    /// Those that no block from this time on can include.
    pub(super) fn ended(&self, chain_time: UnixSeconds) -> Vec<Hash32> {
        until(&self.ends, chain_time.0)
    }

    /// Whose turn it is to ask; `may_try` if a call may be tried now, by a payer with less than so many seats. Of those who look and those
    /// who try, equally far in front, every other one is served: neither can keep the other from being served.
    pub(super) fn next_to_ask(&mut self, may_try: bool, max_seats: usize) -> Option<Hash32> {
        let shares = &self.shares;
        // So many seats are half of all, so that it is never more than a few payers that are passed over.
        let has_seat_left = |payer: &Address| shares.seats(payer) < max_seats;
        let look = self.looks.first_tier(|_| true);
        let attempt = if may_try { self.tries.first_tier(has_seat_left) } else { None };
        let looks_first = match (look, attempt) {
            (Some(look), Some(attempt)) => look < attempt || (look == attempt && !self.try_is_next),
            (look, _) => look.is_some(),
        };
        self.try_is_next = looks_first;
        if looks_first { self.looks.take_turn(look?, |_| true) } else { self.tries.take_turn(attempt?, has_seat_left) }
    }
}

const HIGHEST: Hash32 = Hash32([0xff; 32]);

fn until(index: &BTreeSet<(u64, Hash32)>, time: u64) -> Vec<Hash32> {
    index.range(..=(time, HIGHEST)).take(MAX_PER_STEP).map(|(_, payment_id)| *payment_id).collect()
}

fn replace(index: &mut BTreeSet<(u64, Hash32)>, payment_id: Hash32, from: Option<u64>, to: Option<u64>) {
    if from == to {
        return;
    }
    if let Some(time) = from {
        index.remove(&(time, payment_id));
    }
    if let Some(time) = to {
        index.insert((time, payment_id));
    }
}
