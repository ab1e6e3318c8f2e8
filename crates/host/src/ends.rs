//! Who waits for the end of which settlement. Each is woken by its own payment and by no other: under load there are thousands of both.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candor_verify::Hash32;
use tokio::sync::watch;

/// Ends that are waited for. Cheap to clone; clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends(Arc<Mutex<HashMap<Hash32, Awaited>>>);

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
        let awaited = ends.entry(payment_id).or_insert_with(|| Awaited { end: watch::Sender::new(()), waiting: 0 });
        awaited.waiting += 1;
        Waiting { ends: self.clone(), payment_id, end: awaited.end.subscribe() }
    }

    /// Wakes everybody who waits for this one.
    pub(crate) fn tell(&self, payment_id: &Hash32) {
        self.lock().remove(payment_id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Hash32, Awaited>> {
        // Held for single operations on the map only, which a panic does not leave half done.
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
        if let Some(awaited) = ends.get_mut(&self.payment_id) {
            awaited.waiting = awaited.waiting.saturating_sub(1);
            if awaited.waiting == 0 {
                ends.remove(&self.payment_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        assert!(ends.lock().is_empty());
    }
}
