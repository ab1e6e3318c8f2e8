//! The requests of one side of a control connection that wait for their answers: their ids, how many there may be, and what becomes of
//! each.
//!
//! ```text
//! begin ─▶ waiting ─ answer ─▶ answered ─▶ the caller has it
//!             ├ end ─▶ lost: the connection is over, and what was asked is neither done nor undone
//!             └ the caller drops its Call ─▶ given up: an answer that comes later is dropped
//! ```
//!
//! Sans I/O: a [`Call`] is a future for any executor, and whoever reads the stream hands the answers in. Spec: link.md LINK-5 to LINK-7.
//! Not here: bytes (`frame`, `to_enclave`, `to_host`), how long a caller waits (the shells).
//!
//! **Invariant:** an id is in the table only while its [`Call`] lives, so the table is as large as what callers hold, whatever the other
//! side sends or withholds.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::limits::MAX_IN_FLIGHT;

/// The calls of one connection in one direction. A clone is the same calls: callers and the reader of the stream each have one.
///
/// # Examples
/// ```
/// use candor_link::{Calls, NotBegun};
///
/// let calls = Calls::new();
/// let call = calls.begin()?;
/// calls.answer(call.id(), "an answer");
/// calls.answer(7, "to a call that nobody made: dropped");
/// assert_eq!(calls.in_flight(), 1);
/// drop(call); // Or `call.await`, which gives the answer.
/// assert_eq!(calls.in_flight(), 0);
/// # Ok::<(), NotBegun>(())
/// ```
pub struct Calls<R>(Arc<Mutex<Table<R>>>);

struct Table<R> {
    next_id: u64,
    slots: HashMap<u64, Slot<R>>,
    // Once set, no answer comes and no call begins.
    is_over: bool,
}

enum Slot<R> {
    // The waker of the caller's task, once the call was polled.
    Waiting(Option<Waker>),
    // The answer, until the caller takes it.
    Answered(R),
}

impl<R> Calls<R> {
    /// No calls yet, on a connection that has begun.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Table { next_id: 1, slots: HashMap::new(), is_over: false })))
    }

    /// Takes an id for a request that is about to be sent.
    ///
    /// # Errors
    /// [`NotBegun`]: the request is not to be sent.
    pub fn begin(&self) -> Result<Call<R>, NotBegun> {
        let mut table = self.lock();
        if table.is_over {
            return Err(NotBegun::Lost);
        }
        if MAX_IN_FLIGHT <= table.slots.len() {
            return Err(NotBegun::TooMany);
        }
        let id = table.next_id;
        // Nobody makes 2^64 calls on one connection, so no id comes twice. Zero is the id of notices.
        table.next_id = id.saturating_add(1);
        table.slots.insert(id, Slot::Waiting(None));
        Ok(Call { calls: self.clone(), id })
    }

    /// Hands in the answer that came under this id. It is dropped if no call waits for one: the caller has given up, the call is answered
    /// already, or the other side made the id up.
    pub fn answer(&self, id: u64, reply: R) {
        let mut table = self.lock();
        let Some(slot) = table.slots.get_mut(&id) else { return };
        let Slot::Waiting(waker) = slot else { return };
        let waker = waker.take();
        *slot = Slot::Answered(reply);
        drop(table);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The connection is over. Every call that waits is [`Lost`], and none begins any more; an answer that came before is still there.
    pub fn end(&self) {
        let mut wakers = Vec::new();
        let mut table = self.lock();
        table.is_over = true;
        table.slots.retain(|_, slot| match slot {
            Slot::Waiting(waker) => {
                wakers.extend(waker.take());
                false
            }
            Slot::Answered(_) => true,
        });
        drop(table);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Calls that live.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.lock().slots.len()
    }

    fn lock(&self) -> MutexGuard<'_, Table<R>> {
        // A panic under the lock leaves the table usable: a slot is inserted, replaced or removed whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> Clone for Calls<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R> Default for Calls<R> {
    fn default() -> Self {
        Self::new()
    }
}

/// Numbers only: answers hold receipts.
impl<R> fmt::Debug for Calls<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Calls({} in flight)", self.in_flight())
    }
}

/// One request in flight. Awaiting it gives the answer; dropping it gives the call up.
#[must_use = "a call that is dropped is given up"]
pub struct Call<R> {
    calls: Calls<R>,
    id: u64,
}

impl<R> Call<R> {
    /// The id to send the request under.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }
}

impl<R> Future for Call<R> {
    type Output = Result<R, Lost>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut table = self.calls.lock();
        match table.slots.remove(&self.id) {
            Some(Slot::Answered(reply)) => Poll::Ready(Ok(reply)),
            Some(Slot::Waiting(_)) => {
                table.slots.insert(self.id, Slot::Waiting(Some(context.waker().clone())));
                Poll::Pending
            }
            None => Poll::Ready(Err(Lost)),
        }
    }
}

impl<R> Drop for Call<R> {
    fn drop(&mut self) {
        let forgotten = self.calls.lock().slots.remove(&self.id);
        // After the lock is open again: a waker may be the last owner of a task that holds other calls.
        drop(forgotten);
    }
}

impl<R> fmt::Debug for Call<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Call({})", self.id)
    }
}

/// Why a call does not begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: the connection is over, or it is full")]
pub enum NotBegun {
    /// The connection is over.
    Lost,
    /// [`MAX_IN_FLIGHT`] calls live.
    TooMany,
}

impl fmt::Display for NotBegun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => Lost.fmt(f),
            Self::TooMany => write!(f, "{MAX_IN_FLIGHT} requests wait for their answers already"),
        }
    }
}

impl std::error::Error for NotBegun {}

/// The connection ended before the answer came: what was asked may or may not have happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a fact without parts")]
pub struct Lost;

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection ended before the answer came")
    }
}

impl std::error::Error for Lost {}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    /// Counts how often a task is woken.
    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Task {
        fn poll<R>(self: &Arc<Self>, call: &mut Call<R>) -> Poll<Result<R, Lost>> {
            Pin::new(call).poll(&mut Context::from_waker(&Arc::clone(self).into()))
        }

        fn woken(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn an_answer_reaches_the_call_of_its_id_and_wakes_its_task_alone() {
        let (calls, task, other) = (Calls::new(), Arc::new(Task::default()), Arc::new(Task::default()));
        let (mut first, mut second) = (calls.begin().unwrap(), calls.begin().unwrap());
        assert!(first.id() != 0 && second.id() != 0 && first.id() != second.id());
        assert_eq!((other.poll(&mut first), task.poll(&mut second)), (Poll::Pending, Poll::Pending));
        calls.answer(second.id(), "second");
        assert_eq!((other.woken(), task.woken()), (0, 1));
        assert_eq!((other.poll(&mut first), task.poll(&mut second)), (Poll::Pending, Poll::Ready(Ok("second"))));
        // Also one that comes before anybody waits.
        let mut third = calls.begin().unwrap();
        calls.answer(third.id(), "third");
        assert_eq!(task.poll(&mut third), Poll::Ready(Ok("third")));
    }

    #[test]
    fn a_second_a_late_and_an_invented_answer_are_dropped() {
        let (calls, task) = (Calls::new(), Arc::new(Task::default()));
        let mut call = calls.begin().unwrap();
        let id = call.id();
        calls.answer(id + 1, "invented");
        calls.answer(0, "invented");
        calls.answer(id, "first");
        calls.answer(id, "second");
        assert_eq!(task.poll(&mut call), Poll::Ready(Ok("first")));
        calls.answer(id, "late");
        drop(call);
        calls.answer(id, "later");
        assert_eq!(calls.in_flight(), 0);
        assert_ne!(calls.begin().unwrap().id(), id);
    }

    #[test]
    fn a_call_that_is_dropped_leaves_nothing_behind() {
        let (calls, task) = (Calls::<&str>::new(), Arc::new(Task::default()));
        let (unpolled, mut polled, answered) = (calls.begin().unwrap(), calls.begin().unwrap(), calls.begin().unwrap());
        assert_eq!(task.poll(&mut polled), Poll::Pending);
        calls.answer(answered.id(), "nobody takes it");
        assert_eq!(calls.in_flight(), 3);
        drop((unpolled, polled, answered));
        assert_eq!(calls.in_flight(), 0);
    }

    #[test]
    fn no_more_calls_begin_than_may_be_in_flight_until_one_is_given_up() {
        let calls = Calls::<&str>::new();
        let mut held: Vec<_> = (0..MAX_IN_FLIGHT).map(|_| calls.begin().unwrap()).collect();
        assert_eq!(calls.begin().map(|call| call.id()), Err(NotBegun::TooMany));
        // An answer alone makes no room: it is held for its caller.
        calls.answer(held[0].id(), "answer");
        assert_eq!(calls.begin().map(|call| call.id()), Err(NotBegun::TooMany));
        held.pop();
        assert!(calls.begin().is_ok());
    }

    #[test]
    fn when_the_connection_ends_what_waits_is_lost_and_what_was_answered_is_not() {
        let (calls, task) = (Calls::new(), Arc::new(Task::default()));
        let (mut waiting, mut unpolled, mut answered) = (calls.begin().unwrap(), calls.begin().unwrap(), calls.begin().unwrap());
        assert_eq!(task.poll(&mut waiting), Poll::Pending);
        calls.answer(answered.id(), "in time");
        calls.end();
        assert_eq!(task.woken(), 1);
        calls.answer(waiting.id(), "too late");
        let ends = [&mut waiting, &mut unpolled, &mut answered].map(|call| task.poll(call));
        assert_eq!(ends, [Poll::Ready(Err(Lost)), Poll::Ready(Err(Lost)), Poll::Ready(Ok("in time"))]);
        assert_eq!(calls.begin().map(|call| call.id()), Err(NotBegun::Lost));
    }
}
