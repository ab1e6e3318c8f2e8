//! How the endpoints of a chain do: questions, failures by kind, how long answers took. For an operator's graphs; nothing is decided by it.
//!
//! **Invariant:** nothing here names an endpoint. They are told apart by their place in the list that the operator wrote.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of [`Latency`], in milliseconds: from a database on the same machine to an endpoint that is about to be given up.
pub const LATENCY_BOUNDS_MS: [u64; 8] = [1, 5, 25, 100, 250, 1_000, 2_500, 10_000];

/// How long things took. Counts only; shared by reference.
#[derive(Debug, Default)]
pub struct Latency {
    buckets: [AtomicU64; LATENCY_BOUNDS_MS.len() + 1],
    sum_us: AtomicU64,
}

/// A look at a [`Latency`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: counts and their sum")]
pub struct LatencyCounts {
    /// One for each of [`LATENCY_BOUNDS_MS`], and one for what is above. Not cumulative.
    pub buckets: [u64; LATENCY_BOUNDS_MS.len() + 1],
    /// Sum in microseconds.
    pub sum_us: u64,
}

impl Latency {
    /// Takes one.
    pub fn take(&self, took: Duration) {
        let at = LATENCY_BOUNDS_MS.iter().position(|bound| took <= Duration::from_millis(*bound)).unwrap_or(LATENCY_BOUNDS_MS.len());
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What was taken until now.
    #[must_use]
    pub fn counts(&self) -> LatencyCounts {
        let buckets = self.buckets.each_ref().map(|bucket| bucket.load(Ordering::Relaxed));
        LatencyCounts { buckets, sum_us: self.sum_us.load(Ordering::Relaxed) }
    }
}

/// In which way a question to one endpoint came to nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: what a pool tells apart")]
pub enum RpcFailure {
    /// It is over its limits.
    Limited,
    /// It took too long.
    Slow,
    /// It cannot be reached, fails, or is of another chain.
    Away,
}

impl RpcFailure {
    /// Every way.
    pub const ALL: [Self; 3] = [Self::Limited, Self::Slow, Self::Away];

    /// A stable word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Limited => "limited",
            Self::Slow => "slow",
            Self::Away => "away",
        }
    }
}

/// What one endpoint was asked and how it did.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    requests: AtomicU64,
    failures: [AtomicU64; RpcFailure::ALL.len()],
    latency: Latency,
}

impl Asked {
    pub(crate) fn began(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn answered(&self, after: Duration) {
        self.latency.take(after);
    }

    pub(crate) fn failed(&self, how: RpcFailure) {
        let at = RpcFailure::ALL.iter().position(|other| *other == how);
        if let Some(count) = at.and_then(|at| self.failures.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn health(&self, is_well: bool) -> EndpointHealth {
        EndpointHealth {
            is_well,
            requests: self.requests.load(Ordering::Relaxed),
            failures: self.failures.each_ref().map(|count| count.load(Ordering::Relaxed)),
            latency: self.latency.counts(),
        }
    }
}

/// How one endpoint does, since this process connected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct EndpointHealth {
    /// Whether it is asked: one that failed rests for a while.
    pub is_well: bool,
    /// Questions, answered or not.
    pub requests: u64,
    /// Those that came to nothing, in the order of [`RpcFailure::ALL`].
    pub failures: [u64; RpcFailure::ALL.len()],
    /// Of those that were answered.
    pub latency: LatencyCounts,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_long_is_above_the_last_bound() {
        let latency = Latency::default();
        for took in [Duration::ZERO, Duration::from_millis(1), Duration::from_micros(1_001), Duration::from_secs(3_600)] {
            latency.take(took);
        }
        assert_eq!(latency.counts(), LatencyCounts { buckets: [2, 1, 0, 0, 0, 0, 0, 0, 1], sum_us: 3_600_002_001 });
    }
}
