//! Standing in line: who asks next, fairly among payers.
//!
//! Payers decide how many payments they make, when these end and whether they can be paid, so none of this is a place in front. Those who wait
//! stand in tiers, by what was in vain before; in a tier payers take turns, whatever number of payments each has there. Every other turn
//! goes to the payer who came last: strangers who came in a crowd, each with a payment or two, delay nobody who comes after them, and
//! whoever came before them waits twice as long at most.

use std::collections::{BTreeMap, BTreeSet};

use candor_verify::bytes::{Address, Hash32};
use candor_verify::time::UnixSeconds;

/// Highest tier. In each a turn costs what a turn costs; more of them would only tell apart what waits for half a minute anyway.
pub(super) const MAX_TIER: u8 = 7;

/// A place in a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Ticket {
    /// Lower ones go first.
    pub(super) tier: u8,
    pub(super) payer: Address,
    /// Among the payments of one payer, those that end first go first.
    pub(super) valid_before: UnixSeconds,
}

/// Those who wait for one kind of thing.
#[derive(Debug, Default)]
pub(super) struct Line {
    groups: BTreeMap<(u8, Address), Group>,
    // Invariant: one element per group, at its turn; the newcomers are those that had no turn yet since they came.
    turns: BTreeMap<(u8, u64), Address>,
    newcomers: BTreeSet<(u8, u64)>,
    last_turn: u64,
    newest_is_next: bool,
}

/// What one payer has in one tier. Never empty.
#[derive(Debug)]
struct Group {
    turn: u64,
    waiting: BTreeSet<(UnixSeconds, Hash32)>,
}

impl Line {
    pub(super) fn join(&mut self, ticket: &Ticket, payment_id: Hash32) {
        let place = (ticket.tier, ticket.payer);
        if !self.groups.contains_key(&place) {
            let turn = self.stand_last(place);
            self.newcomers.insert((ticket.tier, turn));
            self.groups.insert(place, Group { turn, waiting: BTreeSet::new() });
        }
        if let Some(group) = self.groups.get_mut(&place) {
            group.waiting.insert((ticket.valid_before, payment_id));
        }
    }

    pub(super) fn leave(&mut self, ticket: &Ticket, payment_id: Hash32) {
        let place = (ticket.tier, ticket.payer);
        let Some(group) = self.groups.get_mut(&place) else { return };
        group.waiting.remove(&(ticket.valid_before, payment_id));
        if group.waiting.is_empty() {
            let turn = (ticket.tier, group.turn);
            self.groups.remove(&place);
            self.turns.remove(&turn);
            self.newcomers.remove(&turn);
        }
    }

    /// The lowest tier in which a payer waits that may be served.
    pub(super) fn first_tier(&self, may_serve: impl Fn(&Address) -> bool) -> Option<u8> {
        self.turns.iter().find(|(_, payer)| may_serve(payer)).map(|((tier, _), _)| *tier)
    }

    /// Whose turn it is in this tier. It stays in line until it leaves; its payer goes to the end.
    pub(super) fn take_turn(&mut self, tier: u8, may_serve: impl Fn(&Address) -> bool) -> Option<Hash32> {
        let all = (tier, 0)..=(tier, u64::MAX);
        let may_take = |turn: &&(u8, u64)| self.turns.get(turn).is_some_and(&may_serve);
        let newest = self.newcomers.range(all.clone()).rev().find(may_take).filter(|_| self.newest_is_next);
        let turn = newest.or_else(|| self.turns.range(all).map(|(turn, _)| turn).find(may_take)).copied()?;
        self.newest_is_next = !self.newest_is_next;
        let place = (tier, self.turns.remove(&turn)?);
        self.newcomers.remove(&turn);
        let next_turn = self.stand_last(place);
        let group = self.groups.get_mut(&place)?;
        group.turn = next_turn;
        group.waiting.first().map(|(_, payment_id)| *payment_id)
    }

    fn stand_last(&mut self, (tier, payer): (u8, Address)) -> u64 {
        self.last_turn = self.last_turn.saturating_add(1);
        self.turns.insert((tier, self.last_turn), payer);
        self.last_turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(tier: u8, payer: u8) -> Ticket {
        Ticket { tier, payer: Address([payer; 20]), valid_before: UnixSeconds(0) }
    }

    fn id(n: u8) -> Hash32 {
        Hash32([n; 32])
    }

    /// Serves until nobody is left.
    fn served(line: &mut Line, tickets: &[(Ticket, u8)]) -> Vec<u8> {
        let mut served = vec![];
        while let Some(tier) = line.first_tier(|_| true) {
            let payment_id = line.take_turn(tier, |_| true).unwrap();
            let (ticket, n) = tickets.iter().find(|(_, n)| id(*n) == payment_id).unwrap();
            line.leave(ticket, payment_id);
            served.push(*n);
        }
        assert!(line.groups.is_empty() && line.turns.is_empty() && line.newcomers.is_empty());
        served
    }

    fn joined(tickets: &[(Ticket, u8)]) -> Line {
        let mut line = Line::default();
        for (ticket, n) in tickets {
            line.join(ticket, id(*n));
        }
        line
    }

    #[test]
    fn payers_take_turns_whatever_number_each_has() {
        let of = |payer: u8, ids: std::ops::RangeInclusive<u8>| ids.map(move |n| (ticket(0, payer), n));
        let mut tickets: Vec<_> = of(1, 11..=15).chain(of(2, 21..=23)).chain(of(3, 31..=31)).collect();
        tickets.push((ticket(1, 4), 41));
        assert_eq!(served(&mut joined(&tickets), &tickets), [11, 31, 21, 12, 22, 13, 23, 14, 15, 41]);
    }

    #[test]
    fn every_other_turn_is_the_newcomers() {
        let tickets: Vec<_> = (1..=6).map(|n| (ticket(0, n), n)).collect();
        assert_eq!(served(&mut joined(&tickets), &tickets), [1, 6, 2, 5, 3, 4]);
    }

    #[test]
    fn a_payer_who_may_not_be_served_keeps_its_place() {
        let tickets: Vec<_> = (1..=3).map(|n| (ticket(0, n), n)).collect();
        let mut line = joined(&tickets);
        let may_serve = |payer: &Address| *payer != Address([1; 20]);
        assert_eq!(line.take_turn(line.first_tier(may_serve).unwrap(), may_serve), Some(id(2)));
        line.leave(&tickets[1].0, id(2));
        assert_eq!(line.take_turn(0, may_serve), Some(id(3)));
        line.leave(&tickets[2].0, id(3));
        assert_eq!(line.first_tier(may_serve), None);
        assert_eq!(line.take_turn(0, |_| true), Some(id(1)));
    }
}
