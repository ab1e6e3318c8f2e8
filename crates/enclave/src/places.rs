//! Who may stay connected: a bounded number of places, given so that whoever pays is not shut out by whoever only connects.
//!
//! - **Full** is not "closed to the next": the connection that is longest without a payment goes, and the newcomer stays. One with a
//!   running answer never goes.
//! - **A quarter** is kept for parties with no other connection. A party is an address as the host tells it: a lie costs availability, which
//!   the host can take anyway.
//! - **An unpaid life** ends after a time or a number of requests, and begins anew with each payment.
//!
//! Here is the bookkeeping alone: no socket and no clock, times are milliseconds from any one moment. `seat` acts on it. Does not keep
//! out an attacker with as many addresses as there are places; each of his connections then still has to be renewed within one unpaid life.
//!
//! Cost: a newcomer to a full house looks at every place once.

use std::collections::{BTreeMap, HashMap};

use candor_link::Party;

/// How many, and how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections at once.
    pub(crate) places: usize,
    /// Milliseconds without a payment.
    pub(crate) unpaid_ms: u64,
    /// Requests without a payment.
    pub(crate) unpaid_requests: u32,
}

/// The number of a connection; never given twice.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct PlaceId(u64);

/// The places of one boot. `T` is how a connection is told to go: whoever gets it back lets it go.
#[derive(Debug)]
pub(crate) struct Places<T> {
    limits: Limits,
    // In the order in which they came.
    held: BTreeMap<PlaceId, Held<T>>,
    // Invariant: for each party as many as it has in `held`; no zeros.
    parties: HashMap<Party, usize>,
    next: u64,
}

#[derive(Debug)]
struct Held<T> {
    party: Party,
    handle: T,
    /// When it came, or when its last paid answer ended.
    since_ms: u64,
    unpaid_requests: u32,
    running: Running,
}

/// Whether an answer is being made for a connection: one that has it is not ended for anybody.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Running {
    Nothing,
    Paid,
    /// How many there can be is bounded elsewhere (`shares`).
    Free,
}

/// A place that was given.
#[derive(Debug)]
#[must_use]
pub(crate) struct Entered<T> {
    pub(crate) id: PlaceId,
    /// Who has to go for it.
    pub(crate) evicted: Option<T>,
}

impl<T> Places<T> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, held: BTreeMap::new(), parties: HashMap::new(), next: 0 }
    }

    /// A place for a newcomer; `None` if everybody who could go for it has a running answer.
    pub(crate) fn enter(&mut self, party: Party, now_ms: u64, handle: T) -> Option<Entered<T>> {
        let is_first = !self.parties.contains_key(&party);
        let evicted = if !is_first && self.shared() <= self.further() {
            // Only among those who have more than one: the quarter is not theirs.
            Some(self.longest_unpaid(|of_party| 1 < of_party)?)
        } else if self.limits.places <= self.held.len() {
            Some(self.longest_unpaid(|_| true)?)
        } else {
            None
        };
        let evicted = evicted.and_then(|id| self.leave(id));
        let id = PlaceId(self.next);
        self.next = self.next.saturating_add(1);
        self.held.insert(id, Held { party, handle, since_ms: now_ms, unpaid_requests: 0, running: Running::Nothing });
        let count = self.parties.entry(party).or_default();
        *count = count.saturating_add(1);
        Some(Entered { id, evicted })
    }

    /// A connection has ended, or has to. Nothing if it left before.
    pub(crate) fn leave(&mut self, id: PlaceId) -> Option<T> {
        let held = self.held.remove(&id)?;
        if let Some(count) = self.parties.get_mut(&held.party) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.parties.remove(&held.party);
            }
        }
        Some(held.handle)
    }

    /// A request came.
    pub(crate) fn request(&mut self, id: PlaceId) {
        if let Some(held) = self.held.get_mut(&id) {
            held.unpaid_requests = held.unpaid_requests.saturating_add(1);
        }
    }

    /// Whether a connection may make no further request without having paid.
    pub(crate) fn is_spent(&self, id: PlaceId) -> bool {
        self.held.get(&id).is_none_or(|held| self.limits.unpaid_requests <= held.unpaid_requests)
    }

    /// A payment was claimed: from now until [`Self::ended`] the connection is not ended for anybody. False if it just was.
    #[must_use]
    pub(crate) fn claimed(&mut self, id: PlaceId) -> bool {
        let Some(held) = self.held.get_mut(&id) else { return false };
        (held.unpaid_requests, held.running) = (0, Running::Paid);
        true
    }

    /// An answer is made that nobody pays for: until [`Self::ended`] the connection is not ended for anybody either, and lives no longer for
    /// it. False if it just was.
    #[must_use]
    pub(crate) fn serves_free(&mut self, id: PlaceId) -> bool {
        let Some(held) = self.held.get_mut(&id) else { return false };
        held.running = Running::Free;
        true
    }

    /// An answer has ended, or was broken off. One that was paid for begins an unpaid life anew.
    pub(crate) fn ended(&mut self, id: PlaceId, now_ms: u64) {
        let Some(held) = self.held.get_mut(&id) else { return };
        if std::mem::replace(&mut held.running, Running::Nothing) == Running::Paid {
            held.since_ms = now_ms;
        }
    }

    /// Milliseconds that a connection has left if it does not pay; a whole life while an answer runs, nothing if it left.
    pub(crate) fn left_ms(&self, id: PlaceId, now_ms: u64) -> u64 {
        match self.held.get(&id) {
            None => 0,
            Some(held) if held.running == Running::Paid => self.limits.unpaid_ms,
            Some(held) => held.since_ms.saturating_add(self.limits.unpaid_ms).saturating_sub(now_ms),
        }
    }

    /// Places that are not kept for parties with no other connection.
    fn shared(&self) -> usize {
        self.limits.places.saturating_sub(self.limits.places / 4)
    }

    /// Connections beyond the first of their party.
    fn further(&self) -> usize {
        self.held.len().saturating_sub(self.parties.len())
    }

    fn longest_unpaid(&self, is_wanted: impl Fn(usize) -> bool) -> Option<PlaceId> {
        let of_party = |held: &Held<T>| self.parties.get(&held.party).copied().unwrap_or_default();
        let may_go = self.held.iter().filter(|(_, held)| held.running == Running::Nothing && is_wanted(of_party(held)));
        // The first of equals: the one that came first.
        may_go.min_by_key(|(_, held)| held.since_ms).map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: usize = 1024;

    fn places(places: usize) -> Places<u32> {
        Places::new(Limits { places, unpaid_ms: 60_000, unpaid_requests: 100 })
    }

    fn party(number: u8) -> Party {
        Party([number; 8])
    }

    #[test]
    fn a_thousand_idle_connections_of_nine_addresses_do_not_shut_out_a_tenth() {
        let mut places = places(PLACES);
        let mut now = 0;
        // They come again as fast as they are ended, for a hundred seconds.
        for _ in 0..10 {
            for number in 0..PLACES as u32 {
                now += 10;
                let entered = places.enter(party((number % 9) as u8), now, number).unwrap();
                assert!(entered.evicted.is_none() || places.further() == places.shared());
            }
            let honest = places.enter(party(200), now, 9999).unwrap();
            assert_eq!(honest.evicted, None, "there is room for whoever has no other connection");
            // It looks around, pays, and is served, while they go on.
            places.request(honest.id);
            assert!(places.claimed(honest.id));
            for number in 0..PLACES as u32 {
                let entered = places.enter(party((number % 9) as u8), now, number).unwrap();
                assert_ne!(entered.evicted, Some(9999));
            }
            places.ended(honest.id, now);
            assert_eq!(places.leave(honest.id), Some(9999));
        }
        assert_eq!(places.held.len(), 9 + PLACES * 3 / 4);
    }

    #[test]
    fn when_full_the_one_longest_without_a_payment_goes() {
        let mut places = places(4);
        let ids: Vec<PlaceId> = (0..4).map(|number| places.enter(party(number), number.into(), number.into()).unwrap().id).collect();
        assert!(places.claimed(ids[0]));
        places.ended(ids[0], 10);
        assert_eq!(places.enter(party(4), 11, 4).unwrap().evicted, Some(1));
        assert!(places.claimed(ids[2]) && !places.claimed(ids[1]));
        // The third has a running answer, however long it takes.
        assert_eq!(places.enter(party(5), 100_000, 5).unwrap().evicted, Some(3));
        assert_eq!(places.enter(party(6), 100_001, 6).unwrap().evicted, Some(0));
    }

    #[test]
    fn where_every_answer_runs_nobody_is_ended_for_a_newcomer() {
        let mut places = places(4);
        for number in 0..4 {
            let id = places.enter(party(number), 0, number.into()).unwrap().id;
            assert!(places.claimed(id));
        }
        assert!(places.enter(party(9), 1_000_000, 9).is_none());
        assert!(places.enter(party(0), 1_000_000, 9).is_none());
        assert_eq!(places.held.len(), 4);
    }

    #[test]
    fn an_unpaid_life_has_an_end_and_a_payment_begins_another() {
        let mut places = places(4);
        let id = places.enter(party(0), 1000, 0).unwrap().id;
        assert_eq!((places.left_ms(id, 1000), places.left_ms(id, 60_999), places.left_ms(id, 61_000)), (60_000, 1, 0));
        for _ in 0..99 {
            places.request(id);
        }
        assert!(!places.is_spent(id));
        places.request(id);
        assert!(places.is_spent(id));
        assert!(places.claimed(id) && !places.is_spent(id));
        assert_eq!(places.left_ms(id, 500_000), 60_000);
        places.ended(id, 500_000);
        // An answer that nobody paid for begins nothing.
        places.ended(id, 510_000);
        assert_eq!(places.left_ms(id, 510_000), 50_000);
        assert_eq!(places.leave(id), Some(0));
        assert!(places.leave(id).is_none() && places.is_spent(id) && places.left_ms(id, 510_000) == 0);
    }

    #[test]
    fn an_answer_that_nobody_pays_for_ends_for_nobody_and_gives_its_connection_no_longer_life() {
        let mut places = places(2);
        let [first, second] = [0, 1].map(|number| places.enter(party(number), 1000, number.into()).unwrap().id);
        assert!(places.serves_free(first) && places.serves_free(second));
        assert!(places.enter(party(9), 2000, 9).is_none(), "both are being answered");
        places.ended(first, 50_000);
        assert_eq!(places.left_ms(first, 50_000), 11_000);
        assert_eq!(places.enter(party(9), 50_000, 9).unwrap().evicted, Some(0));
        assert!(!places.serves_free(first));
    }

    /// The same rules over a plain list, recounted each time.
    #[derive(Default)]
    struct Slow(Vec<(u32, u8, u64, bool)>);

    impl Slow {
        fn of_party(&self, party: u8) -> usize {
            self.0.iter().filter(|held| held.1 == party).count()
        }

        fn enter(&mut self, places: usize, name: u32, party: u8, now: u64) -> Result<Option<u32>, ()> {
            let firsts = (0..=255).filter(|party| self.of_party(*party) != 0).count();
            let only_further = self.of_party(party) != 0 && self.0.len() - firsts >= places - places / 4;
            let mut evicted = None;
            if only_further || self.0.len() >= places {
                let may_go = self.0.iter().filter(|held| !held.3 && (!only_further || self.of_party(held.1) > 1));
                let goes = may_go.min_by_key(|held| (held.2, held.0)).ok_or(())?.0;
                self.0.retain(|held| held.0 != goes);
                evicted = Some(goes);
            }
            self.0.push((name, party, now, false));
            Ok(evicted)
        }
    }

    #[test]
    fn places_equal_a_slow_reference_and_never_end_a_running_answer() {
        for seed in 1..200_u64 {
            let (mut random, size) = (seed, 1 + seed as usize % 12);
            let mut next = |below: u64| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (random >> 33) % below
            };
            let (mut fast, mut slow) = (places(size), Slow::default());
            let mut ids: Vec<(u32, PlaceId)> = Vec::new();
            for name in 0..300_u32 {
                let now = u64::from(name) / 3;
                let chosen = (!ids.is_empty()).then(|| ids[next(ids.len() as u64) as usize]);
                match (next(5), chosen) {
                    (0, Some((name, id))) => {
                        assert_eq!(fast.claimed(id), slow.0.iter().any(|held| held.0 == name));
                        slow.0.iter_mut().filter(|held| held.0 == name).for_each(|held| held.3 = true);
                    }
                    (1, Some((name, id))) => {
                        fast.ended(id, now);
                        slow.0.iter_mut().filter(|held| held.0 == name && held.3).for_each(|held| (held.2, held.3) = (now, false));
                    }
                    (2, Some((name, id))) => {
                        fast.leave(id);
                        slow.0.retain(|held| held.0 != name);
                    }
                    _ => {
                        let number = next(6) as u8;
                        let running: Vec<u32> = slow.0.iter().filter(|held| held.3).map(|held| held.0).collect();
                        let expected = slow.enter(size, name, number, now);
                        let entered = fast.enter(party(number), now, name);
                        ids.extend(entered.as_ref().map(|entered| (name, entered.id)));
                        let got = entered.map(|entered| entered.evicted).ok_or(());
                        assert_eq!(got, expected, "seed {seed}, name {name}");
                        assert!(got.ok().flatten().is_none_or(|evicted| !running.contains(&evicted)));
                    }
                }
                assert!(fast.held.len() <= size);
                assert!(fast.held.values().map(|held| held.handle).eq(slow.0.iter().map(|held| held.0)));
                assert_eq!(fast.parties.values().sum::<usize>(), fast.held.len());
            }
        }
    }
}
