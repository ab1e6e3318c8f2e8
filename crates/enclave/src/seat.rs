//! A client connection's place among all of them: [`Places`] with a lock, a clock, and a way to tell a connection that it has to go.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use candor_link::Party;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::places::{Limits, PlaceId, Places};

/// All places of one enclave.
pub(crate) struct House {
    // Guarded for the moment of one update. A connection is told to go by dropping its sender.
    places: Mutex<Places<oneshot::Sender<()>>>,
    // How many there are, and whether they are asked to go.
    taken: watch::Sender<usize>,
    closing: watch::Sender<bool>,
    start: Instant,
}

impl House {
    pub(crate) fn new(limits: Limits) -> Self {
        let (taken, closing) = (watch::Sender::new(0), watch::Sender::new(false));
        Self { places: Mutex::new(Places::new(limits)), taken, closing, start: Instant::now() }
    }

    /// A place and what resolves when it is needed for somebody else; `None` if nobody can go for it.
    pub(crate) fn enter(self: &Arc<Self>, party: Party) -> Option<(Seat, oneshot::Receiver<()>)> {
        let (stay, gone) = oneshot::channel();
        let entered = self.lock().enter(party, self.now_ms(), stay)?;
        drop(entered.evicted);
        self.taken.send_modify(|taken| *taken = taken.saturating_add(1));
        Some((Seat { house: Arc::clone(self), id: entered.id }, gone))
    }

    /// Asks every connection to end with the answer at hand, and waits until all have: what was being told is told whole. Not longer than
    /// `patience`, which no client can stretch.
    pub(crate) async fn close(&self, patience: Duration) {
        self.closing.send_replace(true);
        let mut taken = self.taken.subscribe();
        // Whoever is not gone by then is cut off.
        drop(tokio::time::timeout(patience, taken.wait_for(|taken| *taken == 0)).await);
    }

    fn lock(&self) -> MutexGuard<'_, Places<oneshot::Sender<()>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A place. Leaves when dropped.
pub(crate) struct Seat {
    house: Arc<House>,
    id: PlaceId,
}

impl Seat {
    /// A request came. Its answer is over when the turn is dropped.
    pub(crate) fn request(self: &Arc<Self>) -> Turn {
        self.house.lock().request(self.id);
        Turn(Arc::clone(self))
    }

    /// A payment of this connection was claimed. False if the connection was ended for another one before.
    #[must_use]
    pub(crate) fn claimed(&self) -> bool {
        self.house.lock().claimed(self.id)
    }

    /// An answer of this connection is about to be made that nobody pays for. False if the connection was ended for another one before.
    #[must_use]
    pub(crate) fn serves_free(&self) -> bool {
        self.house.lock().serves_free(self.id)
    }

    /// Whether the answer at hand must be the last.
    pub(crate) fn is_spent(&self) -> bool {
        self.house.lock().is_spent(self.id)
    }

    /// Resolves when the house closes.
    pub(crate) async fn closing(&self) {
        // The sender is in the house, which this seat holds.
        drop(self.house.closing.subscribe().wait_for(|closing| *closing).await);
    }

    /// Resolves when nothing was paid for too long.
    pub(crate) async fn unpaid_life(&self) {
        loop {
            let left_ms = self.house.lock().left_ms(self.id, self.house.now_ms());
            if left_ms == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(left_ms)).await;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        drop(self.house.lock().leave(self.id));
        self.house.taken.send_modify(|taken| *taken = taken.saturating_sub(1));
    }
}

/// From a request to the end of its answer: handed to the socket, or dropped with the connection.
#[must_use]
pub(crate) struct Turn(Arc<Seat>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.house.lock().ended(self.0.id, self.0.house.now_ms());
    }
}

/// A body that ends its turn.
pub(crate) struct Answer<B> {
    pub(crate) body: B,
    pub(crate) _turn: Turn,
}

impl<B: Body + Unpin> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
