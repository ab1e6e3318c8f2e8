//! What an enclave counts, and how it is told to its host: sums over many requests, as integers in a fixed order. Spec: link.md §10.
//!
//! Not here: when a snapshot is taken (the enclave), how it is shown (the host).
//!
//! **Invariant:** nothing per request, per payer or per prompt has a place in these values.

/// Bounds of each histogram. What is above the last has a bucket of its own.
pub const HISTOGRAM_BOUNDS: usize = 8;

macro_rules! counters {
    ($($variant:ident $name:literal $help:literal;)*) => {
        /// One of an enclave's counters, in the order in which they cross the link.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[expect(clippy::exhaustive_enums, reason = "complete: a counter more is another version")]
        pub enum EnclaveCounter {
            $(#[doc = $help] $variant,)*
        }

        impl EnclaveCounter {
            /// Every counter, in order.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// Its stable name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it counts.
            #[must_use]
            pub fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)* }
            }
        }
    };
}

counters! {
    Requests "requests" "HTTP requests parsed.";
    Quotes "quotes" "402 answers with a signed offer.";
    PaymentsRefused "payments_refused" "Payments refused before a claim.";
    Claims "claims" "Payments claimed.";
    Free "free" "Answers begun that nobody pays for.";
    Aborted "aborted" "Answers cut by their client or by their time.";
    RefusedByGuard "refused_by_guard" "Requests that the guard of the terms refused to have answered.";
    HostUnavailable "host_unavailable" "Requests refused because host or chain could not be reached.";
    Receipts "receipts" "Receipts logged.";
    PromptTokens "prompt_tokens" "Prompt tokens of logged receipts.";
    CompletionTokens "completion_tokens" "Completion tokens of logged receipts.";
}

macro_rules! histograms {
    ($($variant:ident $name:literal [$($bound:literal),*] $help:literal;)*) => {
        /// One of an enclave's histograms, in the order in which they cross the link.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[expect(clippy::exhaustive_enums, reason = "complete: a histogram more is another version")]
        pub enum EnclaveHistogram {
            $(#[doc = $help] $variant,)*
        }

        impl EnclaveHistogram {
            /// Every histogram, in order.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// Its stable name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What is measured.
            #[must_use]
            pub fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)* }
            }

            /// Upper bounds of its buckets, in thousandths of its unit: few and far apart, so that a bucket says little of what is in it.
            #[must_use]
            pub fn bounds(self) -> [u64; HISTOGRAM_BOUNDS] {
                match self { $(Self::$variant => [$($bound),*],)* }
            }
        }
    };
}

histograms! {
    FirstFrame "first_frame" [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000] "Seconds from a claimed payment to the first frame of a streamed answer.";
    Answer "answer" [500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 120_000] "Seconds from a claimed payment to the end of its answer.";
    TokenRate "token_rate" [1_000, 2_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000] "Completion tokens per second of an answer, its wait for a place included.";
}

/// One histogram: how many fell between its bounds, and their sum in thousandths of its unit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Tally {
    /// One for each bound, and one for what is above the last. Not cumulative.
    pub buckets: [u64; HISTOGRAM_BOUNDS + 1],
    /// Sum, in thousandths.
    pub sum: u64,
}

impl Tally {
    /// Takes one measurement, in thousandths.
    fn take(&mut self, histogram: EnclaveHistogram, thousandths: u64) {
        let at = histogram.bounds().iter().position(|bound| thousandths <= *bound).unwrap_or(HISTOGRAM_BOUNDS);
        if let Some(bucket) = self.buckets.get_mut(at) {
            *bucket = bucket.saturating_add(1);
        }
        self.sum = self.sum.saturating_add(thousandths);
    }

    /// How many were measured.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, bucket| sum.saturating_add(*bucket))
    }
}

/// A snapshot of all that one boot counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct EnclaveCounts {
    /// In the order of [`EnclaveCounter::ALL`].
    pub counters: [u64; EnclaveCounter::ALL.len()],
    /// In the order of [`EnclaveHistogram::ALL`].
    pub histograms: [Tally; Self::HISTOGRAMS],
}

impl EnclaveCounts {
    /// How many histograms there are.
    pub const HISTOGRAMS: usize = EnclaveHistogram::ALL.len();

    /// A counter.
    #[must_use]
    pub fn counter(&self, counter: EnclaveCounter) -> u64 {
        Self::place(counter).and_then(|at| self.counters.get(at)).copied().unwrap_or_default()
    }

    /// The same, to be changed.
    pub fn add(&mut self, counter: EnclaveCounter, more: u64) {
        if let Some(value) = Self::place(counter).and_then(|at| self.counters.get_mut(at)) {
            *value = value.saturating_add(more);
        }
    }

    /// Takes one measurement, in thousandths of its unit.
    pub fn measure(&mut self, histogram: EnclaveHistogram, thousandths: u64) {
        let at = EnclaveHistogram::ALL.iter().position(|other| *other == histogram);
        if let Some(tally) = at.and_then(|at| self.histograms.get_mut(at)) {
            tally.take(histogram, thousandths);
        }
    }

    fn place(counter: EnclaveCounter) -> Option<usize> {
        EnclaveCounter::ALL.iter().position(|other| *other == counter)
    }
}
