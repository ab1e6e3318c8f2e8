//! A few counters, aggregated: nothing per request, per payer or per prompt (ARCHITECTURE.md).
//!
//! Everybody may read them, so what is read is a snapshot: the difference of two readings of the counters themselves would be the tokens
//! and the time of somebody's one request. Does not hide the only request of a whole interval.

use candor_verify::time::UnixMs;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// How long a snapshot is shown: as often as operators' tools ask, and long enough for the requests of a busy node to be one sum.
const SNAPSHOT_MS: u64 = 60_000;

/// What was published last, and when it was made.
#[derive(Debug)]
struct Snapshot {
    made: UnixMs,
    text: String,
}

macro_rules! counters {
    ($($name:ident $metric:literal $help:literal;)*) => {
        /// The counters of one boot.
        #[derive(Debug)]
        pub(crate) struct Metrics {
            $(pub(crate) $name: AtomicU64,)*
            // Guards the snapshot; replaced whole.
            snapshot: Mutex<Snapshot>,
        }

        impl Metrics {
            /// All zero, and published so.
            pub(crate) fn new(now: UnixMs) -> Self {
                let snapshot = Mutex::new(Snapshot { made: now, text: String::new() });
                let metrics = Self { $($name: AtomicU64::new(0),)* snapshot };
                metrics.snapshot.lock().unwrap_or_else(PoisonError::into_inner).text = metrics.render();
                metrics
            }

            /// Prometheus text format.
            fn render(&self) -> String {
                let mut out = String::new();
                $(
                    let value = self.$name.load(Ordering::Relaxed);
                    // Writing to a String cannot fail.
                    let _infallible = write!(out, "# HELP {0} {1}\n# TYPE {0} counter\n{0} {2}\n", $metric, $help, value);
                )*
                out
            }
        }
    };
}

counters! {
    requests "candor_requests_total" "HTTP requests parsed.";
    quotes "candor_quotes_total" "402 answers with a signed offer.";
    payments_refused "candor_payments_refused_total" "Payments refused before a claim.";
    claims "candor_claims_total" "Payments claimed.";
    free "candor_free_total" "Answers begun that nobody pays for.";
    receipts "candor_receipts_total" "Receipts logged.";
    prompt_tokens "candor_prompt_tokens_total" "Prompt tokens of logged receipts.";
    completion_tokens "candor_completion_tokens_total" "Completion tokens of logged receipts.";
    aborted "candor_aborted_total" "Answers cut by their client or by their time.";
    host_unavailable "candor_host_unavailable_total" "Requests refused because host or chain could not be reached.";
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Metrics {
    /// The newest snapshot.
    pub(crate) fn published(&self, now: UnixMs) -> String {
        let mut snapshot = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        if snapshot.made.saturating_add(SNAPSHOT_MS) <= now {
            *snapshot = Snapshot { made: now, text: self.render() };
        }
        snapshot.text.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_does_not_show_a_single_request() {
        const BOOT: UnixMs = UnixMs(1_790_000_000_000);
        let metrics = Metrics::new(BOOT);
        let first = metrics.published(BOOT);
        assert!(first.contains("\ncandor_completion_tokens_total 0\n"));
        metrics.completion_tokens.fetch_add(17, Ordering::Relaxed);
        assert_eq!(metrics.published(BOOT.saturating_add(SNAPSHOT_MS - 1)), first);
        metrics.completion_tokens.fetch_add(25, Ordering::Relaxed);
        assert!(metrics.published(BOOT.saturating_add(SNAPSHOT_MS)).contains("\ncandor_completion_tokens_total 42\n"));
        metrics.completion_tokens.fetch_add(1, Ordering::Relaxed);
        // A clock that steps back shows no more.
        for now in [UnixMs(0), BOOT.saturating_add(2 * SNAPSHOT_MS - 1)] {
            assert!(metrics.published(now).contains("\ncandor_completion_tokens_total 42\n"));
        }
    }
}
