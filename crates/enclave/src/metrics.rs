//! A few counters, aggregated: nothing per request, per payer or per prompt (ARCHITECTURE.md).

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($name:ident $metric:literal $help:literal;)*) => {
        /// The counters of one boot.
        #[derive(Debug, Default)]
        pub(crate) struct Metrics { $(pub(crate) $name: AtomicU64,)* }

        impl Metrics {
            /// Prometheus text format.
            pub(crate) fn render(&self) -> String {
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
