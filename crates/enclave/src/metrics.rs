//! What this boot counts, aggregated: nothing per request, per payer or per prompt (ARCHITECTURE.md). Goes to the host, which shows it; spec:
//! link.md §10.
//!
//! What is told is a snapshot: the difference of two looks at the counts themselves would be the tokens and the time of somebody's one request.
//! And a snapshot takes no difference of fewer than [`CROWD`]. Does not hide a request among others of the same client.

use std::sync::{Mutex, MutexGuard, PoisonError};

use candor_link::{EnclaveCounter, EnclaveCounts, EnclaveHistogram};
use candor_verify::time::UnixMs;

/// How long a snapshot is shown: as often as operators' tools ask, and long enough for the requests of a busy node to be one sum.
const SNAPSHOT_MS: u64 = 60_000;

/// Requests, or receipts, that a snapshot must differ by from the one before. Whoever sends four of them can still tell the fifth; whoever only
/// looks cannot.
const CROWD: u64 = 5;

/// What a request shows of itself; shown anew by a crowd of requests.
const TRAFFIC: [EnclaveCounter; 8] = [
    EnclaveCounter::Requests,
    EnclaveCounter::Quotes,
    EnclaveCounter::PaymentsRefused,
    EnclaveCounter::Claims,
    EnclaveCounter::Free,
    EnclaveCounter::Aborted,
    EnclaveCounter::RefusedByGuard,
    EnclaveCounter::HostUnavailable,
];

/// What an answer shows of itself; shown anew, with the histograms, by a crowd of receipts.
const WORK: [EnclaveCounter; 3] = [EnclaveCounter::Receipts, EnclaveCounter::PromptTokens, EnclaveCounter::CompletionTokens];

/// The counts of one boot.
#[derive(Debug)]
pub(crate) struct Metrics {
    // Guarded for the moment of one change.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    now: EnclaveCounts,
    shown: EnclaveCounts,
    made: UnixMs,
}

/// An answer whose receipt is logged.
pub(crate) struct Answered {
    pub(crate) prompt_tokens: u32,
    pub(crate) completion_tokens: u32,
    /// From the claim, in milliseconds. The first frame's is there for streams.
    pub(crate) first_frame_ms: Option<u64>,
    pub(crate) answer_ms: u64,
}

impl Metrics {
    /// All zero, and shown so.
    pub(crate) fn new(now: UnixMs) -> Self {
        Self { state: Mutex::new(State { now: EnclaveCounts::default(), shown: EnclaveCounts::default(), made: now }) }
    }

    /// Adds one.
    pub(crate) fn count(&self, counter: EnclaveCounter) {
        self.lock().now.add(counter, 1);
    }

    /// Takes one answer, whole: no snapshot has a part of it.
    pub(crate) fn answered(&self, answered: &Answered) {
        let Answered { prompt_tokens, completion_tokens, first_frame_ms, answer_ms } = *answered;
        let counts = &mut self.lock().now;
        counts.add(EnclaveCounter::Receipts, 1);
        counts.add(EnclaveCounter::PromptTokens, prompt_tokens.into());
        counts.add(EnclaveCounter::CompletionTokens, completion_tokens.into());
        if let Some(first_frame_ms) = first_frame_ms {
            counts.measure(EnclaveHistogram::FirstFrame, first_frame_ms);
        }
        counts.measure(EnclaveHistogram::Answer, answer_ms);
        // Tokens per second, in thousandths.
        let rate = u64::from(completion_tokens).saturating_mul(1_000_000).checked_div(answer_ms.max(1));
        counts.measure(EnclaveHistogram::TokenRate, rate.unwrap_or_default());
    }

    /// The newest snapshot.
    pub(crate) fn published(&self, now: UnixMs) -> EnclaveCounts {
        let mut state = self.lock();
        if state.made.saturating_add(SNAPSHOT_MS) <= now {
            // Also where nothing is shown anew: otherwise the moment at which the last of a crowd came would be seen.
            state.made = now;
            let State { now, shown, .. } = &mut *state;
            for (group, driver) in [(&TRAFFIC[..], EnclaveCounter::Requests), (&WORK[..], EnclaveCounter::Receipts)] {
                if now.counter(driver).saturating_sub(shown.counter(driver)) < CROWD {
                    continue;
                }
                for counter in group {
                    shown.add(*counter, now.counter(*counter).saturating_sub(shown.counter(*counter)));
                }
                if driver == EnclaveCounter::Receipts {
                    shown.histograms = now.histograms;
                }
            }
        }
        state.shown
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while holding the lock leaves sums that lack a part of one request.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: UnixMs = UnixMs(1_790_000_000_000);

    fn answered(completion_tokens: u32) -> Answered {
        Answered { prompt_tokens: 3, completion_tokens, first_frame_ms: Some(120), answer_ms: 2_000 }
    }

    /// After so many minutes.
    fn at(metrics: &Metrics, minutes: u64) -> EnclaveCounts {
        metrics.published(BOOT.saturating_add(minutes * SNAPSHOT_MS))
    }

    #[test]
    fn what_is_published_does_not_show_a_single_request() {
        let metrics = Metrics::new(BOOT);
        assert_eq!(at(&metrics, 0), EnclaveCounts::default());
        (0..CROWD).for_each(|_| metrics.answered(&answered(17)));
        assert_eq!(metrics.published(BOOT.saturating_add(SNAPSHOT_MS - 1)), EnclaveCounts::default());
        let first = at(&metrics, 1);
        assert_eq!((first.counter(EnclaveCounter::Receipts), first.counter(EnclaveCounter::CompletionTokens)), (CROWD, 85));
        // A clock that steps back shows no more.
        (0..CROWD).for_each(|_| metrics.answered(&answered(17)));
        for now in [UnixMs(0), BOOT.saturating_add(2 * SNAPSHOT_MS - 1)] {
            assert_eq!(metrics.published(now), first);
        }
    }

    #[test]
    fn a_snapshot_differs_from_the_last_by_a_crowd_or_not_at_all() {
        let metrics = Metrics::new(BOOT);
        let mut last = EnclaveCounts::default();
        for minute in 1..=40 {
            // One to three answers a minute, each preceded by two requests.
            for _ in 0..=minute % 3 {
                metrics.count(EnclaveCounter::Requests);
                metrics.count(EnclaveCounter::Requests);
                metrics.count(EnclaveCounter::Quotes);
                metrics.answered(&answered(minute as u32));
            }
            let next = at(&metrics, minute);
            let more = |counter| next.counter(counter) - last.counter(counter);
            let receipts = more(EnclaveCounter::Receipts);
            assert!(receipts == 0 || CROWD <= receipts, "{receipts}");
            assert!(more(EnclaveCounter::Requests) == 0 || CROWD <= more(EnclaveCounter::Requests));
            if receipts == 0 {
                assert_eq!((more(EnclaveCounter::CompletionTokens), next.histograms), (0, last.histograms));
            }
            for tally in next.histograms {
                assert_eq!(tally.count(), next.counter(EnclaveCounter::Receipts), "a histogram shows as many answers as the counter");
            }
            last = next;
        }
        assert!(70 < last.counter(EnclaveCounter::Receipts));
    }

    #[test]
    fn nothing_that_was_kept_back_is_lost() {
        let metrics = Metrics::new(BOOT);
        (1..CROWD).for_each(|_| metrics.answered(&answered(10)));
        assert_eq!(at(&metrics, 1), EnclaveCounts::default());
        metrics.answered(&answered(10));
        assert_eq!(at(&metrics, 1), EnclaveCounts::default(), "not at the moment at which the last of them came");
        let shown = at(&metrics, 2);
        assert_eq!(shown.counter(EnclaveCounter::PromptTokens), 3 * CROWD);
        assert_eq!(shown.histograms.map(|tally| tally.sum), [120 * CROWD, 2_000 * CROWD, 5_000 * CROWD]);
    }

    #[test]
    fn every_counter_is_in_one_group() {
        let grouped: Vec<_> = TRAFFIC.into_iter().chain(WORK).collect();
        // In order and each once: `ALL` has no two alike.
        assert_eq!(grouped, EnclaveCounter::ALL);
    }
}
