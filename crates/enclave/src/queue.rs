//! Whose turn it is at the source: who paid first, and then who did not.
//!
//! There are so many places at which answers are made. While anybody who paid waits for one, nobody else is given one, and where there are
//! two or more a part of them is never given to work that nobody pays for: a flood of it costs who pays one answer's time at most, on a
//! machine with a single place. Within a kind, who came first goes first.
//!
//! Not here: how much free work is let in at all (`shares`).
//! **Invariant:** a place that was given is given back when it is dropped, also by a task that was dropped while it waited.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Whether somebody pays for the work.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pays {
    Somebody,
    Nobody,
}

/// The places of one boot.
#[derive(Clone, Debug)]
pub(crate) struct Queue(Arc<Mutex<Line>>);

#[derive(Debug)]
struct Line {
    idle: usize,
    /// Of the places, how many more may go to who does not pay. May be above `idle`.
    free_idle: usize,
    paid: VecDeque<oneshot::Sender<Place>>,
    free: VecDeque<oneshot::Sender<Place>>,
}

/// One place. Dropped, it goes to whoever is next.
#[derive(Debug)]
#[must_use]
pub(crate) struct Place {
    // `None` once it was given back.
    queue: Option<Queue>,
    pays: Pays,
}

impl Queue {
    /// So many places, of which so many may go to work that nobody pays for.
    pub(crate) fn new(places: usize, free: usize) -> Self {
        let line = Line { idle: places, free_idle: free, paid: VecDeque::new(), free: VecDeque::new() };
        Self(Arc::new(Mutex::new(line)))
    }

    /// Waits for a place. Whoever stops waiting leaves nothing behind. `None` cannot be while the queue is there.
    pub(crate) async fn place(&self, pays: Pays) -> Option<Place> {
        let receiver = {
            let mut line = self.line();
            let (sender, receiver) = oneshot::channel();
            let waiting = match pays {
                Pays::Somebody => &mut line.paid,
                Pays::Nobody => &mut line.free,
            };
            waiting.retain(|waits| !waits.is_closed());
            waiting.push_back(sender);
            receiver
        };
        self.serve();
        receiver.await.ok()
    }

    /// Gives places to those who wait, as long as there are both.
    fn serve(&self) {
        loop {
            let Some((sender, pays)) = self.line().next() else { return };
            // Nobody waits there any more: the place comes back by its drop.
            if let Err(place) = sender.send(Place { queue: Some(self.clone()), pays }) {
                place.forget();
                self.line().take_back(pays);
            }
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        // Each change is one step: a panic while holding the lock leaves numbers and lists that are whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Who is next, if there is a place for them; it is taken.
    fn next(&mut self) -> Option<(oneshot::Sender<Place>, Pays)> {
        self.idle.checked_sub(1)?;
        let next = match self.paid.pop_front() {
            Some(sender) => (sender, Pays::Somebody),
            None => {
                self.free_idle = self.free_idle.checked_sub(usize::from(!self.free.is_empty()))?;
                (self.free.pop_front()?, Pays::Nobody)
            }
        };
        self.idle = self.idle.saturating_sub(1);
        Some(next)
    }

    fn take_back(&mut self, pays: Pays) {
        self.idle = self.idle.saturating_add(1);
        self.free_idle = self.free_idle.saturating_add(usize::from(pays == Pays::Nobody));
    }
}

impl Place {
    fn forget(mut self) {
        self.queue = None;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            queue.line().take_back(self.pays);
            queue.serve();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs every other task until it waits.
    async fn others_wait() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    fn waiter(queue: &Queue, pays: Pays) -> tokio::task::JoinHandle<Option<Place>> {
        let queue = queue.clone();
        tokio::spawn(async move { queue.place(pays).await })
    }

    #[tokio::test]
    async fn who_pays_goes_before_who_does_not_however_long_those_wait() {
        let queue = Queue::new(1, 1);
        let held = queue.place(Pays::Nobody).await.unwrap();
        let free: Vec<_> = (0..3).map(|_| waiter(&queue, Pays::Nobody)).collect();
        others_wait().await;
        let paid = waiter(&queue, Pays::Somebody);
        others_wait().await;
        drop(held);
        let place = paid.await.unwrap().unwrap();
        others_wait().await;
        assert!(free.iter().all(|waits| !waits.is_finished()));
        drop(place);
        for waits in free {
            drop(waits.await.unwrap().unwrap());
        }
    }

    #[tokio::test]
    async fn a_part_of_the_places_is_never_given_to_who_does_not_pay() {
        let queue = Queue::new(4, 2);
        let held = [queue.place(Pays::Nobody).await.unwrap(), queue.place(Pays::Nobody).await.unwrap()];
        let third = waiter(&queue, Pays::Nobody);
        others_wait().await;
        assert!(!third.is_finished());
        let paid = [queue.place(Pays::Somebody).await.unwrap(), queue.place(Pays::Somebody).await.unwrap()];
        // One who pays may also have the places that are not kept for them.
        let fifth = waiter(&queue, Pays::Somebody);
        others_wait().await;
        assert!(!fifth.is_finished());
        drop(held);
        assert!(fifth.await.unwrap().is_some() && third.await.unwrap().is_some());
        drop(paid);
    }

    #[tokio::test]
    async fn who_stops_waiting_leaves_no_gap_and_takes_no_place_along() {
        let queue = Queue::new(1, 1);
        let held = queue.place(Pays::Somebody).await.unwrap();
        let gone = [waiter(&queue, Pays::Somebody), waiter(&queue, Pays::Nobody)];
        let next = waiter(&queue, Pays::Nobody);
        others_wait().await;
        gone.iter().for_each(|waits| waits.abort());
        others_wait().await;
        drop(held);
        drop(next.await.unwrap().unwrap());
        // A place that was given to somebody who is gone before it looked comes back too.
        let late = waiter(&queue, Pays::Somebody);
        others_wait().await;
        drop(late);
        others_wait().await;
        assert!(queue.place(Pays::Nobody).await.is_some());
        let line = queue.line();
        assert_eq!((line.idle, line.free_idle), (1, 1));
    }
}
