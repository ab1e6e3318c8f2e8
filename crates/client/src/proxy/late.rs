//! Answers that came when nobody waited for them any more, and requests whose payment is still followed: whoever asks the same again is given the one,
//! or told of the other, and pays for neither anew.
//!
//! Of this process only. What another left behind when it ended is in the book, and is sent again from there.
//!
//! - **Invariant:** while a payment for a request is followed, or its asker is gone and its answer not there, the same request makes no other payment
//!   through this proxy. Two that are asked at the same time, each by somebody who waits, are two answers, and each is paid.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use candor_verify::bytes::Hash32;
use candor_verify::time::UnixSeconds;
use tokio::sync::mpsc::UnboundedSender;

use super::buy::Bought;

/// So long an answer waits for whoever paid for it to ask again.
const KEPT: Duration = Duration::from_secs(30 * 60);

/// Answers that wait; the oldest goes first, and is in its file all the same.
const ANSWERS_MAX: usize = 64;

/// Frames on their way to whoever asked; closed when nobody waits.
pub(super) type Asker = UnboundedSender<(String, Vec<u8>)>;

/// What is late.
#[derive(Clone, Debug, Default)]
pub(super) struct Late(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    answers: VecDeque<(Hash32, Instant, Bought)>,
    followed: Vec<Followed>,
    running: Vec<(Hash32, u64, Asker)>,
    next: u64,
}

/// A payment that is followed.
struct Followed {
    request: Hash32,
    number: u64,
    /// When it can move no more.
    until: UnixSeconds,
    /// Whether its answer is wanted: not if another node's was given.
    is_wanted: Box<dyn Fn() -> bool + Send>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answers, {} followed, {} running", self.answers.len(), self.followed.len(), self.running.len())
    }
}

/// What whoever asks is told.
pub(super) enum Earlier {
    /// It was paid for: here it is.
    Answer(Box<Bought>),
    /// It was paid for, and may still be answered.
    Held(Option<UnixSeconds>),
    Nothing,
}

/// Says that something goes on, until it is dropped.
#[derive(Debug)]
#[must_use = "it goes on as long as this lives"]
pub(super) struct GoingOn {
    late: Late,
    number: u64,
}

impl Late {
    /// What there is of a request.
    pub(super) fn earlier(&self, request: &Hash32) -> Earlier {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.answers.retain(|(_, at, _)| at.elapsed() < KEPT);
        if let Some(at) = state.answers.iter().position(|(of, ..)| of == request)
            && let Some((_, _, bought)) = state.answers.remove(at)
        {
            return Earlier::Answer(Box::new(bought));
        }
        if let Some(followed) = state.followed.iter().find(|followed| followed.request == *request && (followed.is_wanted)()) {
            return Earlier::Held(Some(followed.until));
        }
        match state.running.iter().any(|(of, _, asker)| of == request && asker.is_closed()) {
            true => Earlier::Held(None),
            false => Earlier::Nothing,
        }
    }

    /// A verified answer that nobody waits for.
    pub(super) fn deliver(&self, request: Hash32, bought: Bought) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ANSWERS_MAX <= state.answers.len() {
            drop(state.answers.pop_front());
        }
        state.answers.push_back((request, Instant::now(), bought));
    }

    /// A payment of this request is followed.
    pub(super) fn follow(&self, request: Hash32, until: UnixSeconds, is_wanted: impl Fn() -> bool + Send + 'static) -> GoingOn {
        self.begin(|state, number| state.followed.push(Followed { request, number, until, is_wanted: Box::new(is_wanted) }))
    }

    /// This request is being bought for whoever asked.
    pub(super) fn run(&self, request: Hash32, asker: Asker) -> GoingOn {
        self.begin(|state, number| state.running.push((request, number, asker)))
    }

    fn begin(&self, put: impl FnOnce(&mut State, u64)) -> GoingOn {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = state.next;
        state.next = number.wrapping_add(1);
        put(&mut state, number);
        drop(state);
        GoingOn { late: self.clone(), number }
    }
}

impl Drop for GoingOn {
    fn drop(&mut self) {
        let mut state = self.late.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.followed.retain(|followed| followed.number != self.number);
        state.running.retain(|(_, number, _)| *number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[test]
    fn a_request_is_held_while_its_payment_is_followed_or_its_asker_is_gone_and_not_otherwise() {
        let (late, request, other) = (Late::default(), Hash32([1; 32]), Hash32([2; 32]));
        let is_held = |of: &Hash32| matches!(late.earlier(of), Earlier::Held(_));
        let following = late.follow(request, UnixSeconds(9), || true);
        assert!(matches!(late.earlier(&request), Earlier::Held(Some(UnixSeconds(9)))) && !is_held(&other));
        drop(following);
        assert!(!is_held(&request));
        let _another_answered = late.follow(request, UnixSeconds(9), || false);
        assert!(!is_held(&request), "who has an answer may want another");
        let (asker, waits) = unbounded_channel();
        let running = late.run(request, asker);
        assert!(!is_held(&request), "two who wait at the same time are two answers");
        drop(waits);
        assert!(is_held(&request), "its asker is gone, and the payment is not");
        drop(running);
        assert!(!is_held(&request));
    }
}
