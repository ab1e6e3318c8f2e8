//! Who waits for an answer of the chain: one question about one payment at a time, and a bound on all of them.
//!
//! A question counts until its answer has come or nobody expects one any more, also if what it was about is over since: the endpoint has
//! to answer it all the same.

use std::collections::{BTreeMap, BTreeSet};

use candor_verify::bytes::Hash32;

/// Questions to the chain at once. Enough for a few hundred a second over a slow RPC, few enough for any endpoint and any limit on sockets.
pub const MAX_QUESTIONS: usize = 16;

/// What may be asked about one payment, in this order.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Question {
    Receipt,
    Authorization,
    Try,
}

/// Questions that are out.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    // Invariant: at most `MAX_QUESTIONS` in all, so that walking through them costs nothing.
    by_payment: BTreeMap<Hash32, Waiter>,
    /// Questions about payments that are over, with the time they were asked.
    orphans: BTreeSet<(u64, Hash32)>,
    /// When the question about the gas account was asked.
    account_since_ms: Option<u64>,
}

/// A question that is out.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    question: Question,
    since_ms: u64,
}

impl Waiters {
    pub(super) fn are_full(&self) -> bool {
        let payments = self.by_payment.len().saturating_add(self.orphans.len());
        MAX_QUESTIONS <= payments.saturating_add(usize::from(self.account_since_ms.is_some()))
    }

    /// Whether a question about this payment is out.
    pub(super) fn has(&self, payment_id: &Hash32) -> bool {
        self.by_payment.contains_key(payment_id)
    }

    /// Whether the call of this payment is being tried.
    pub(super) fn tries(&self, payment_id: &Hash32) -> bool {
        self.by_payment.get(payment_id).is_some_and(|waiter| waiter.question == Question::Try)
    }

    /// Calls that are being tried.
    pub(super) fn trying(&self) -> usize {
        self.by_payment.values().filter(|waiter| waiter.question == Question::Try).count()
    }

    pub(super) fn ask(&mut self, payment_id: Hash32, question: Question, now_ms: u64) {
        self.by_payment.insert(payment_id, Waiter { question, since_ms: now_ms });
    }

    /// The answer to this question has come; when it was asked, if it was out.
    pub(super) fn on_answer(&mut self, payment_id: &Hash32, question: Question) -> Option<u64> {
        match self.by_payment.get(payment_id) {
            Some(waiter) if waiter.question == question => {
                let since_ms = waiter.since_ms;
                self.by_payment.remove(payment_id);
                Some(since_ms)
            }
            Some(_) => None,
            None => {
                self.orphans.retain(|(_, orphan)| orphan != payment_id);
                None
            }
        }
    }

    /// No answer to the question about this payment will come.
    pub(super) fn on_unanswered(&mut self, payment_id: &Hash32) {
        if self.by_payment.remove(payment_id).is_none() {
            self.orphans.retain(|(_, orphan)| orphan != payment_id);
        }
    }

    /// The payment is over: an answer that still comes must not be taken for one about a later payment of the same name.
    pub(super) fn orphan(&mut self, payment_id: &Hash32) {
        if let Some(waiter) = self.by_payment.remove(payment_id) {
            self.orphans.insert((waiter.since_ms, *payment_id));
        }
    }

    /// Forgets what was asked until then; gives the payments that waited.
    pub(super) fn give_up(&mut self, asked_by_ms: u64) -> Vec<Hash32> {
        let late = |waiter: &Waiter| waiter.since_ms <= asked_by_ms;
        let given_up: Vec<_> = self.by_payment.iter().filter(|(_, waiter)| late(waiter)).map(|(payment_id, _)| *payment_id).collect();
        self.by_payment.retain(|_, waiter| !late(waiter));
        self.orphans.retain(|(since_ms, _)| asked_by_ms < *since_ms);
        self.account_since_ms = self.account_since_ms.filter(|since_ms| asked_by_ms < *since_ms);
        given_up
    }

    /// Whether the question about the gas account is out.
    pub(super) fn has_account(&self) -> bool {
        self.account_since_ms.is_some()
    }

    pub(super) fn ask_account(&mut self, now_ms: u64) {
        self.account_since_ms = Some(now_ms);
    }

    /// The question about the gas account was answered, or will not be.
    pub(super) fn on_account(&mut self) {
        self.account_since_ms = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_about_one_that_is_over_counts_until_it_is_answered_and_answers_nobody_else() {
        let mut waiters = Waiters::default();
        let id = |n: usize| Hash32([u8::try_from(n).unwrap(); 32]);
        for n in 0..MAX_QUESTIONS {
            assert!(!waiters.are_full());
            waiters.ask(id(n), Question::Try, 10);
        }
        assert!(waiters.are_full());
        waiters.orphan(&id(3));
        assert!(waiters.are_full() && !waiters.has(&id(3)) && waiters.trying() == MAX_QUESTIONS - 1);
        assert_eq!(waiters.on_answer(&id(3), Question::Try), None);
        assert!(!waiters.are_full());
        assert_eq!(waiters.on_answer(&id(4), Question::Receipt), None);
        assert_eq!(waiters.on_answer(&id(4), Question::Try), Some(10));
        waiters.ask_account(11);
        waiters.orphan(&id(5));
        assert_eq!(waiters.give_up(10).len(), MAX_QUESTIONS - 3);
        assert!(waiters.has_account() && !waiters.are_full() && waiters.orphans.is_empty());
    }
}
