//! What the operator lets one payer have: so many requests a minute and so many tokens a day, by the terms; and whom it does not serve at all.
//!
//! The caps are in the signed terms, and whoever asks can read them there. They are counted in this memory alone, for each payer, each key and,
//! where anybody is let in, each address, and forgotten with the boot. A request counts when it is taken, tokens when they were made; so the
//! last answer of a day may go over. The list of denied payers is the host's, which may refuse to serve anybody anyway.
//!
//! **Invariant:** the table is bounded: where it is full, whoever was idle longest is forgotten.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use candor_link::Party;
use candor_verify::bytes::Address;
use candor_verify::terms::Guard;
use candor_verify::time::UnixMs;

use crate::refusal::Refusal;

/// Payers that are remembered at once: some megabytes.
const PAYERS_MAX: usize = 1 << 16;

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 86_400_000;

/// Who is counted.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Whom {
    Payer(Address),
    /// By its place in the terms.
    Key(usize),
    At(Party),
}

/// The caps of one boot, and who used how much of them.
#[derive(Debug)]
pub(crate) struct Caps {
    terms: Guard,
    used: Mutex<HashMap<Whom, Used>>,
    denied: Mutex<HashSet<Address>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Used {
    minute_from: UnixMs,
    requests: u32,
    day_from: UnixMs,
    tokens: u64,
    last: UnixMs,
}

impl Used {
    /// What is left of it now: windows that are over begin anew.
    fn at(self, now: UnixMs) -> Self {
        let mut used = Self { last: now, ..self };
        if MINUTE_MS <= now.since(used.minute_from) {
            (used.minute_from, used.requests) = (now, 0);
        }
        if DAY_MS <= now.since(used.day_from) {
            (used.day_from, used.tokens) = (now, 0);
        }
        used
    }
}

/// Why somebody gets no more now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Capped {
    /// Requests of this minute; seconds until the next.
    Requests(u64),
    /// Tokens of this day; seconds until the next.
    Tokens(u64),
    /// The operator does not serve them.
    Denied,
}

impl Caps {
    pub(crate) fn new(terms: Guard) -> Self {
        Self { terms, used: Mutex::default(), denied: Mutex::default() }
    }

    /// Takes the place of the list before.
    pub(crate) fn deny(&self, payers: Vec<Address>) {
        *lock(&self.denied) = payers.into_iter().collect();
    }

    /// Counts a request, if one more is let in.
    pub(crate) fn enter(&self, whom: Whom, now: UnixMs) -> Result<(), Capped> {
        if matches!(whom, Whom::Payer(payer) if lock(&self.denied).contains(&payer)) {
            return Err(Capped::Denied);
        }
        if self.is_none() {
            return Ok(());
        }
        let mut table = lock(&self.used);
        let used = table.get(&whom).copied().unwrap_or_default().at(now);
        let left = |from: UnixMs, window: u64| window.saturating_sub(now.since(from)).div_ceil(1000).max(1);
        let Guard { payer_requests_per_minute: requests, payer_tokens_per_day: tokens, .. } = self.terms;
        if requests != 0 && requests <= used.requests {
            return Err(Capped::Requests(left(used.minute_from, MINUTE_MS)));
        }
        if tokens != 0 && tokens <= used.tokens {
            return Err(Capped::Tokens(left(used.day_from, DAY_MS)));
        }
        if PAYERS_MAX <= table.len() && !table.contains_key(&whom) {
            forget_oldest(&mut table);
        }
        table.insert(whom, Used { requests: used.requests.saturating_add(1), ..used });
        Ok(())
    }

    /// Counts what an answer used.
    pub(crate) fn made(&self, whom: Whom, tokens: u64, now: UnixMs) {
        if let Some(used) = lock(&self.used).get_mut(&whom) {
            *used = used.at(now);
            used.tokens = used.tokens.saturating_add(tokens);
        }
    }

    fn is_none(&self) -> bool {
        self.terms.payer_requests_per_minute == 0 && self.terms.payer_tokens_per_day == 0
    }
}

fn forget_oldest(table: &mut HashMap<Whom, Used>) {
    if let Some(whom) = table.iter().min_by_key(|(_, used)| used.last).map(|(whom, _)| *whom) {
        table.remove(&whom);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl From<Capped> for Refusal {
    fn from(capped: Capped) -> Self {
        match capped {
            Capped::Requests(seconds) => {
                let message = "The operator's terms let nobody have so many requests in one minute. Nothing was charged.";
                Self::new(429, message).code("candor_payer_requests").in_seconds(seconds)
            }
            Capped::Tokens(seconds) => {
                let message = "The operator's terms let nobody have so many tokens in one day. Nothing was charged.";
                Self::new(429, message).code("candor_payer_tokens").in_seconds(seconds)
            }
            Capped::Denied => {
                Self::new(403, "The operator of this node does not serve this payer. Nothing was charged.").code("candor_payer_denied")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(requests: u32, tokens: u64) -> Caps {
        Caps::new(Guard { payer_requests_per_minute: requests, payer_tokens_per_day: tokens, ..Guard::default() })
    }

    const NOW: UnixMs = UnixMs(1_790_000_000_000);

    fn later(ms: u64) -> UnixMs {
        NOW.saturating_add(ms)
    }

    #[test]
    fn each_payer_has_so_many_requests_a_minute_and_so_many_tokens_a_day() {
        let caps = caps(2, 100);
        let (one, other) = (Whom::Payer(Address([1; 20])), Whom::Key(0));
        assert_eq!((caps.enter(one, NOW), caps.enter(one, later(10_000))), (Ok(()), Ok(())));
        assert_eq!(caps.enter(one, later(20_500)), Err(Capped::Requests(40)));
        assert_eq!(caps.enter(other, later(20_500)), Ok(()), "each has its own");
        assert_eq!(caps.enter(one, later(60_000)), Ok(()));
        caps.made(one, 99, later(60_000));
        assert_eq!(caps.enter(one, later(60_001)), Ok(()));
        caps.made(one, 1, later(60_002));
        assert_eq!(caps.enter(one, later(200_000)), Err(Capped::Tokens(86_200)));
        assert_eq!(caps.enter(one, later(DAY_MS)), Ok(()));
    }

    #[test]
    fn without_caps_nothing_is_remembered_and_a_full_table_forgets_whoever_was_idle_longest() {
        let none = caps(0, 0);
        assert_eq!(none.enter(Whom::Key(1), NOW), Ok(()));
        assert!(lock(&none.used).is_empty());
        let full = caps(1, 0);
        for number in 0..=PAYERS_MAX {
            assert_eq!(full.enter(Whom::Key(number), later(u64::try_from(number).unwrap() / 4096)), Ok(()));
        }
        assert_eq!(lock(&full.used).len(), PAYERS_MAX);
    }

    #[test]
    fn who_is_denied_is_not_served_until_a_list_without_them_comes() {
        let caps = caps(0, 0);
        let (denied, other) = (Whom::Payer(Address([1; 20])), Whom::Payer(Address([2; 20])));
        caps.deny(vec![Address([1; 20])]);
        assert_eq!((caps.enter(denied, NOW), caps.enter(other, NOW)), (Err(Capped::Denied), Ok(())));
        caps.deny(vec![]);
        assert_eq!(caps.enter(denied, NOW), Ok(()));
    }
}
