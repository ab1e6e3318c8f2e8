//! Who waits for the end of which settlement, and whose transfer is in a block that may be taken back. Each is woken by its own payment and by no
//! other: under load there are thousands of both.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use candor_link::SettlementState;
use candor_verify::Hash32;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a transfer counts as in a block without being seen there again: a few looks of the settlement machine, which has one a second.
const INCLUDED_FOR: Duration = Duration::from_secs(4);

/// Most transfers that are remembered so; each is open in the settlement machine, which has its own limit.
const INCLUDED_MAX: usize = 16_384;

/// Ends that are waited for. Cheap to clone; clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    awaited: HashMap<Hash32, Awaited>,
    included: HashMap<Hash32, (SettlementState, Instant)>,
}

#[derive(Debug)]
struct Awaited {
    // Nothing is ever sent: its drop wakes.
    end: watch::Sender<()>,
    // Never zero.
    waiting: usize,
}

/// One who waits for one end, from the moment this was made.
#[derive(Debug)]
pub(crate) struct Waiting {
    ends: Ends,
    payment_id: Hash32,
    end: watch::Receiver<()>,
}

impl Ends {
    /// Waits for an end from now on. Look at the store after this and before [`Waiting::ended`].
    pub(crate) fn wait(&self, payment_id: Hash32) -> Waiting {
        let mut ends = self.lock();
        let awaited = ends.awaited.entry(payment_id).or_insert_with(|| Awaited { end: watch::Sender::new(()), waiting: 0 });
        awaited.waiting += 1;
        Waiting { ends: self.clone(), payment_id, end: awaited.end.subscribe() }
    }

    /// Wakes everybody who waits for this one: it is over.
    pub(crate) fn tell(&self, payment_id: &Hash32) {
        let mut ends = self.lock();
        ends.included.remove(payment_id);
        ends.awaited.remove(payment_id);
    }

    /// Wakes everybody who waits for this one: its transfer is in a block. Said again as long as it is.
    pub(crate) fn include(&self, payment_id: Hash32, state: SettlementState) {
        let mut ends = self.lock();
        if INCLUDED_MAX <= ends.included.len() {
            ends.included.retain(|_, (_, at)| at.elapsed() < INCLUDED_FOR);
        }
        if ends.included.len() < INCLUDED_MAX {
            ends.included.insert(payment_id, (state, Instant::now()));
        }
        ends.awaited.remove(&payment_id);
    }

    /// The transfer that was in a block a moment ago.
    pub(crate) fn included(&self, payment_id: &Hash32) -> Option<SettlementState> {
        self.lock().included.get(payment_id).filter(|(_, at)| at.elapsed() < INCLUDED_FOR).map(|(state, _)| *state)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Held for single operations on the maps only, which a panic does not leave half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Returns at the end, or sooner: look again.
    pub(crate) async fn ended(mut self) {
        while self.end.changed().await.is_ok() {}
    }
}

impl Drop for Waiting {
    // After an end, the name may stand for those who wait for another one; at worst they are woken without need.
    fn drop(&mut self) {
        let mut ends = self.ends.lock();
        if let Some(awaited) = ends.awaited.get_mut(&self.payment_id) {
            awaited.waiting = awaited.waiting.saturating_sub(1);
            if awaited.waiting == 0 {
                ends.awaited.remove(&self.payment_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_end_wakes_those_who_wait_for_it_and_whoever_leaves_leaves_nothing() {
        let ends = Ends::default();
        let (one, two) = (Hash32([1; 32]), Hash32([2; 32]));
        let (first, second, other) = (ends.wait(one), ends.wait(one), ends.wait(two));
        ends.tell(&one);
        first.ended().await;
        second.ended().await;
        let other = tokio::time::timeout(Duration::from_millis(20), other.ended()).await;
        assert!(other.is_err(), "another payment's end is none of its business");
        assert!(ends.lock().awaited.is_empty());
    }

    #[tokio::test]
    async fn a_transfer_in_a_block_wakes_and_is_known_until_the_end() {
        let (ends, id) = (Ends::default(), Hash32([1; 32]));
        let state = SettlementState::Settled { tx_hash: Hash32([2; 32]), block_number: 7, by_third_party: false };
        let waiting = ends.wait(id);
        assert_eq!(ends.included(&id), None);
        ends.include(id, state);
        waiting.ended().await;
        assert_eq!(ends.included(&id), Some(state));
        ends.tell(&id);
        assert_eq!(ends.included(&id), None);
    }
}
