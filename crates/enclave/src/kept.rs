//! Whole answers kept for a retry of the same payment for the same request (ADR 0005).
//!
//! The calldata of a whole answer is out before its body is, so the body must be there when its client asks again. A place for it is taken
//! before anything runs. When all places are taken, answers that were handed over make room, oldest first.
//!
//! Invariant: what was not handed over, and so may have been paid for and not received, is never thrown away before its time. Handing over
//! comes after the transfer was seen, so this holds for what is not settled too. Not here: whether it is settled (`settle`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candor_verify::bytes::{Address, Hash32};
use candor_verify::time::UnixSeconds;
use hyper::body::Bytes;

use crate::receipt::Ids;

/// How long after validBefore an answer is still kept, in seconds: a transfer in the last block before it is answered too.
const KEPT_AFTER_SECONDS: u64 = 300;

/// The connection takes a body before the client has it. If it breaks off, the client comes again within this time, in seconds, and finds
/// its answer whatever others do. Short: at many answers a second all places hold answers that were just handed over.
const RECEIVED_AFTER_SECONDS: u64 = 5;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Answers of everybody.
    answers: usize,
    /// Answers of one payer: many accounts are needed to take all places, and each must pay for what it leaves here.
    answers_per_payer: usize,
    /// Bytes of everybody.
    bytes: usize,
    /// Bytes that an answer counts for while it is being made: more than most have. A longer one counts in full once it is there.
    bytes_awaited: usize,
}

const LIMITS: Limits = Limits { answers: 1024, answers_per_payer: 64, bytes: 128 << 20, bytes_awaited: 64 << 10 };

/// A whole answer whose calldata is out.
pub(crate) struct Kept {
    /// Names the request and the payment header.
    pub(crate) key: Hash32,
    pub(crate) body: Bytes,
    pub(crate) payment_id: Hash32,
    pub(crate) ids: Ids,
    pub(crate) valid_before: UnixSeconds,
    /// Chain of the payment.
    pub(crate) chain_id: u64,
    /// Another authorization of the same payment id was claimed: this one ended unsettled, and the chain's answer is no longer about it.
    pub(crate) outdated: AtomicBool,
}

/// The answers of one boot.
#[derive(Default)]
pub(crate) struct KeptAnswers(
    // Guards the shelf; held for one synchronous step.
    Arc<Mutex<Shelf>>,
);

#[derive(Default)]
struct Shelf {
    answers: HashMap<Hash32, Held>,
    // Invariant: the sum over `answers`.
    bytes: usize,
    /// Places taken and not filled, by payer.
    awaited: HashMap<Address, usize>,
    // Counts answers, so that the oldest is known.
    made: u64,
}

struct Held {
    kept: Arc<Kept>,
    payer: Address,
    number: u64,
    handed_over: Option<UnixSeconds>,
}

/// Room for one answer. Dropped, it is free again.
#[must_use]
pub(crate) struct Place {
    shelf: Arc<Mutex<Shelf>>,
    payer: Address,
}

impl KeptAnswers {
    /// Takes a place for an answer to this payer, if there is one or an answer that was handed over can make room.
    pub(crate) fn place(&self, payer: Address, now: UnixSeconds) -> Option<Place> {
        self.place_within(&LIMITS, payer, now)
    }

    fn place_within(&self, limits: &Limits, payer: Address, now: UnixSeconds) -> Option<Place> {
        let mut shelf = lock(&self.0);
        shelf.make_room(limits, &payer, now).then(|| {
            let awaited = shelf.awaited.entry(payer).or_default();
            *awaited = awaited.saturating_add(1);
            Place { shelf: Arc::clone(&self.0), payer }
        })
    }

    /// Gives up the answer to an earlier authorization of a payment that is claimed again: one transfer must not pay for two answers.
    pub(crate) fn outdate(&self, payment_id: &Hash32) {
        let mut shelf = lock(&self.0);
        let earlier = shelf.answers.iter().filter(|(_, held)| held.kept.payment_id == *payment_id);
        for key in earlier.map(|(key, _)| *key).collect::<Vec<_>>() {
            if let Some(held) = shelf.answers.get(&key) {
                held.kept.outdated.store(true, Ordering::Release);
            }
            shelf.remove(&key);
        }
    }

    /// The answer to exactly this request with exactly this payment header.
    pub(crate) fn get(&self, key: &Hash32) -> Option<Arc<Kept>> {
        lock(&self.0).answers.get(key).map(|held| Arc::clone(&held.kept))
    }

    /// The body was taken by the connection, after its transfer was seen.
    pub(crate) fn handed_over(&self, key: &Hash32, now: UnixSeconds) {
        if let Some(held) = lock(&self.0).answers.get_mut(key) {
            held.handed_over = Some(now);
        }
    }
}

impl Place {
    /// Puts the answer in its place.
    pub(crate) fn keep(self, kept: Kept) -> Arc<Kept> {
        let kept = Arc::new(kept);
        let mut shelf = lock(&self.shelf);
        let number = shelf.made;
        shelf.made = number.saturating_add(1);
        shelf.bytes = shelf.bytes.saturating_add(kept.body.len());
        // A key is one claimed payment: it cannot be here already.
        let held = Held { kept: Arc::clone(&kept), payer: self.payer, number, handed_over: None };
        shelf.answers.insert(kept.key, held);
        kept
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut shelf = lock(&self.shelf);
        let left = shelf.awaited.get(&self.payer).copied().unwrap_or_default().saturating_sub(1);
        match left {
            0 => drop(shelf.awaited.remove(&self.payer)),
            left => drop(shelf.awaited.insert(self.payer, left)),
        }
    }
}

impl Shelf {
    /// Whether one more fits, after those that are over and as many of those handed over as it takes are gone.
    fn make_room(&mut self, limits: &Limits, payer: &Address, now: UnixSeconds) -> bool {
        let is_over = |held: &Held| held.kept.valid_before.saturating_add(KEPT_AFTER_SECONDS) <= now;
        for key in self.answers.iter().filter(|(_, held)| is_over(held)).map(|(key, _)| *key).collect::<Vec<_>>() {
            self.remove(&key);
        }
        let of_payer = |held: &Held| held.payer == *payer;
        loop {
            let own = self.answers.values().filter(|held| of_payer(held)).count();
            let oldest = if limits.answers_per_payer <= own.saturating_add(self.awaited.get(payer).copied().unwrap_or_default()) {
                // It goes on taking answers, so it has received the older ones.
                self.oldest_handed_over(of_payer, UnixSeconds(u64::MAX))
            } else if self.has_room(limits) {
                return true;
            } else {
                self.oldest_handed_over(|_| true, now)
            };
            let Some(oldest) = oldest else { return false };
            self.remove(&oldest);
        }
    }

    fn has_room(&self, limits: &Limits) -> bool {
        let awaited = self.awaited.values().fold(0_usize, |sum, count| sum.saturating_add(*count)).saturating_add(1);
        let bytes = self.bytes.saturating_add(awaited.saturating_mul(limits.bytes_awaited));
        self.answers.len().saturating_add(awaited) <= limits.answers && bytes <= limits.bytes
    }

    fn oldest_handed_over(&self, of: impl Fn(&Held) -> bool, now: UnixSeconds) -> Option<Hash32> {
        let is_received = |held: &Held| held.handed_over.is_some_and(|at_s| at_s.saturating_add(RECEIVED_AFTER_SECONDS) <= now);
        let handed_over = self.answers.iter().filter(|(_, held)| is_received(held) && of(held));
        handed_over.min_by_key(|(_, held)| held.number).map(|(key, _)| *key)
    }

    fn remove(&mut self, key: &Hash32) {
        if let Some(held) = self.answers.remove(key) {
            self.bytes = self.bytes.saturating_sub(held.kept.body.len());
        }
    }
}

fn lock(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    // A panic while holding the lock leaves the shelf usable: at worst a count is too high until the boot ends.
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_790_000_000);
    const SMALL: Limits = Limits { answers: 4, answers_per_payer: 3, bytes: 1000, bytes_awaited: 100 };

    fn payer(byte: u8) -> Address {
        Address([byte; 20])
    }

    fn answer(key: u8, len: usize) -> Kept {
        Kept {
            key: Hash32([key; 32]),
            body: vec![0; len].into(),
            payment_id: Hash32::ZERO,
            ids: Ids { receipt_id: String::new(), transcript_seed: Hash32::ZERO, ignored: Default::default() },
            valid_before: NOW.saturating_add(300),
            chain_id: 31337,
            outdated: AtomicBool::new(false),
        }
    }

    /// Keeps answers 1.. of these payers, 100 bytes each.
    fn shelf(payers: &[u8]) -> KeptAnswers {
        let kept = KeptAnswers::default();
        for (key, byte) in (1..).zip(payers) {
            kept.place_within(&SMALL, payer(*byte), NOW).expect("a place").keep(answer(key, 100));
        }
        kept
    }

    fn keys(kept: &KeptAnswers) -> Vec<u8> {
        (0..=9).filter(|key| kept.get(&Hash32([*key; 32])).is_some()).collect()
    }

    #[test]
    fn a_full_shelf_makes_room_with_the_oldest_answer_that_was_handed_over() {
        let kept = shelf(&[1, 2, 3, 4]);
        for key in [3, 2] {
            kept.handed_over(&Hash32([key; 32]), NOW.saturating_sub(5));
        }
        assert!(kept.place_within(&SMALL, payer(5), NOW).is_some());
        assert_eq!(keys(&kept), [1, 3, 4]);
    }

    #[test]
    fn what_was_not_handed_over_is_kept_to_its_end() {
        let kept = shelf(&[1, 2, 3, 4]);
        // A connection that breaks off now has not delivered it.
        kept.handed_over(&Hash32([1; 32]), NOW.saturating_add(596));
        assert!(kept.place_within(&SMALL, payer(5), NOW.saturating_add(599)).is_none());
        assert_eq!(keys(&kept), [1, 2, 3, 4]);
        assert!(kept.place_within(&SMALL, payer(5), NOW.saturating_add(600)).is_some());
        assert_eq!(keys(&kept), [0_u8; 0]);
    }

    #[test]
    fn one_payer_has_its_own_limit_and_makes_its_own_room() {
        let kept = shelf(&[2, 1, 1, 1]);
        kept.handed_over(&Hash32([1; 32]), NOW.saturating_sub(5));
        assert!(kept.place_within(&SMALL, payer(1), NOW).is_none());
        assert_eq!(keys(&kept), [1, 2, 3, 4]);
        kept.handed_over(&Hash32([4; 32]), NOW.saturating_sub(5));
        assert!(kept.place_within(&SMALL, payer(1), NOW).is_some());
        assert_eq!(keys(&kept), [1, 2, 3]);
    }

    #[test]
    fn an_answer_is_given_up_when_its_payment_is_claimed_again() {
        let kept = KeptAnswers::default();
        for key in [1, 2] {
            let answer = Kept { payment_id: Hash32([key; 32]), ..answer(key, 100) };
            kept.place_within(&SMALL, payer(1), NOW).expect("a place").keep(answer);
        }
        let waiting = kept.get(&Hash32([1; 32])).unwrap();
        kept.outdate(&Hash32([1; 32]));
        assert_eq!(keys(&kept), [2]);
        assert!(waiting.outdated.load(Ordering::Acquire), "a retry that waits already must not be answered by the next transfer");
        assert!(!kept.get(&Hash32([2; 32])).unwrap().outdated.load(Ordering::Acquire));
    }

    #[test]
    fn bytes_are_bounded_too() {
        let kept = KeptAnswers::default();
        kept.place_within(&SMALL, payer(1), NOW).expect("a place").keep(answer(1, 901));
        assert!(kept.place_within(&SMALL, payer(2), NOW).is_none());
        kept.handed_over(&Hash32([1; 32]), NOW.saturating_sub(5));
        assert!(kept.place_within(&SMALL, payer(2), NOW).is_some());
    }

    #[test]
    fn a_place_counts_until_it_is_filled_or_dropped() {
        let kept = KeptAnswers::default();
        let places: Vec<_> = (1..=4).filter_map(|byte| kept.place_within(&SMALL, payer(byte), NOW)).collect();
        assert_eq!(places.len(), 4);
        assert!(kept.place_within(&SMALL, payer(5), NOW).is_none());
        drop(places);
        assert!(kept.place_within(&SMALL, payer(5), NOW).is_some());
    }
}
