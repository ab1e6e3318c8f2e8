//! What each payer has of what there is only so much of: open settlements and account nonces.

use std::collections::BTreeMap;

use candor_verify::bytes::Address;

/// What payers have. Those who have nothing are not in it.
#[derive(Debug, Default)]
pub(super) struct Shares {
    open: BTreeMap<Address, usize>,
    seats: BTreeMap<Address, usize>,
}

impl Shares {
    /// Settlements of this payer that are not over.
    pub(super) fn open(&self, payer: &Address) -> usize {
        self.open.get(payer).copied().unwrap_or(0)
    }

    /// Account nonces that this payer has, or has one waiting for while its call is tried.
    pub(super) fn seats(&self, payer: &Address) -> usize {
        self.seats.get(payer).copied().unwrap_or(0)
    }

    pub(super) fn move_open(&mut self, payer: Address, from: bool, to: bool) {
        change(&mut self.open, payer, from, to);
    }

    pub(super) fn move_seat(&mut self, payer: Address, from: bool, to: bool) {
        change(&mut self.seats, payer, from, to);
    }
}

fn change(counts: &mut BTreeMap<Address, usize>, payer: Address, from: bool, to: bool) {
    if from == to {
        return;
    }
    let count = counts.entry(payer).or_default();
    *count = if to { count.saturating_add(1) } else { count.saturating_sub(1) };
    if *count == 0 {
        counts.remove(&payer);
    }
}
