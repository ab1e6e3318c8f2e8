//! What an enclave may tell its operator: a closed list of events, each with a fixed text, a few integers and at most one digest. Spec: link.md §9.
//!
//! Not here: when one is told, and how often (the enclave), how it is shown (the host's log).
//!
//! **Invariant:** no event holds text of anybody. What an event says is written below; whatever could quote a request stays inside.

use std::fmt;

use candor_verify::Hash32;

/// How much an event matters.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: a level more is another version")]
pub enum EventLevel {
    /// Something is not done.
    Error,
    /// Something may soon not be done.
    Warning,
    /// Something was done.
    Info,
}

macro_rules! events {
    ($($number:literal $variant:ident $name:literal $level:ident [$($integer:literal),*] $digest:expr, $text:literal;)*) => {
        /// Something that happened in an enclave. The number is what crosses the link.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[expect(clippy::exhaustive_enums, reason = "complete: an event more is another version")]
        pub enum EnclaveEvent {
            $(#[doc = $text] $variant,)*
        }

        impl EnclaveEvent {
            /// Every event, in the order of their numbers.
            pub const ALL: [Self; [$($number),*].len()] = [$(Self::$variant),*];

            /// The number on the wire.
            #[must_use]
            pub fn number(self) -> u64 {
                match self { $(Self::$variant => $number,)* }
            }

            /// A stable name: what a log is searched for.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// How much it matters.
            #[must_use]
            pub fn level(self) -> EventLevel {
                match self { $(Self::$variant => EventLevel::$level,)* }
            }

            /// Names of its integers, in their order.
            #[must_use]
            pub fn integers(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($integer),*],)* }
            }

            /// Name of its digest, if it has one.
            #[must_use]
            pub fn digest(self) -> Option<&'static str> {
                match self { $(Self::$variant => $digest,)* }
            }

            /// What it means, for people.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

events! {
    1 TermsTaken "terms_taken" Info ["models", "not_after_ms"] Some("terms"), "the operator's terms were taken";
    2 ModelTaken "model_taken" Info ["bytes"] Some("model"), "a model is loaded";
    3 Serving "serving" Info ["models"] Some("manifest"), "keys are made and attested; the boot serves";
    4 EvidenceRenewed "evidence_renewed" Info [] None, "fresh evidence was made";
    5 AttestationFailed "attestation_failed" Error [] None, "the attestation device refused; clients will call the evidence stale";
    6 HostOutOfStep "host_out_of_step" Warning [] None, "the host did not confirm receipts; it is asked where it stands";
    7 HostContradicts "host_contradicts" Error [] None, "the host holds other receipts than were offered";
    8 LogClosed "log_closed" Error [] Some("log"), "the log is over; this boot signs nothing more and ends";
    9 ReceiptTooLong "receipt_too_long" Warning [] None, "a receipt was longer than a message; its answer was not charged";
    10 AnswerFailed "answer_failed" Error [] None, "an answer could not be made, or found no place in time; nothing was charged";
    11 HostUnavailable "host_unavailable" Warning [] None, "requests were refused because host or chain could not be reached";
    12 ConnectionEnded "connection_ended" Warning [] None, "connections without a payment were ended to make room for others";
    13 ConnectionRefused "connection_refused" Warning [] None, "connections were refused because every place was in use";
    14 HandshakeFailed "handshake_failed" Info [] None, "connections did not finish their TLS handshake";
    15 AcceptFailed "accept_failed" Warning [] None, "connections could not be taken; is the limit on open files too low?";
    16 LinkSuperseded "link_superseded" Info [] None, "another control connection took the place of this one";
    17 SellingStopped "selling_stopped" Warning [] None, "no new work is taken: the registry says that this key was ended";
    18 Panicked "panicked" Error ["line"] None, "a part of the enclave panicked, which is a bug of ours; what it did is not done";
}

impl EnclaveEvent {
    /// The event with this number.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.number() == number)
    }
}

/// Integers of one event at most.
pub const MAX_EVENT_INTEGERS: usize = 4;

/// Something that the enclave tells its operator.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct LogEvent {
    /// What happened.
    pub event: EnclaveEvent,
    /// How often since it was last told. The other fields are those of the last time.
    pub count: u64,
    /// As many as [`EnclaveEvent::integers`] names.
    pub integers: Vec<u64>,
    /// There if [`EnclaveEvent::digest`] names one.
    pub digest: Option<Hash32>,
}

impl LogEvent {
    /// Whether it has the fields of its event.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.integers.len() == self.event.integers().len() && self.digest.is_some() == self.event.digest().is_some()
    }
}

impl fmt::Display for LogEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.event.text())?;
        for (name, integer) in self.event.integers().iter().zip(&self.integers) {
            write!(f, ", {name} {integer}")?;
        }
        if let (Some(name), Some(digest)) = (self.event.digest(), &self.digest) {
            write!(f, ", {name} {digest:#}")?;
        }
        if self.count != 1 { write!(f, " ({} times)", self.count) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_of_events_are_each_used_once() {
        for (at, event) in (1..).zip(EnclaveEvent::ALL) {
            assert_eq!((event.number(), EnclaveEvent::from_number(at)), (at, Some(event)));
            assert!(EnclaveEvent::ALL.iter().filter(|other| other.name() == event.name()).count() == 1, "{event:?}");
            assert!(event.integers().len() <= MAX_EVENT_INTEGERS);
            assert!(event.name().bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'_')), "{event:?}");
        }
        assert_eq!(EnclaveEvent::from_number(0), None);
    }

    #[test]
    fn the_spec_lists_every_event_as_it_is() {
        let spec = include_str!("../../../spec/link.md");
        for event in EnclaveEvent::ALL {
            let level = match event.level() {
                EventLevel::Error => "error",
                EventLevel::Warning => "warning",
                EventLevel::Info => "info",
            };
            let fields = event.integers().iter().copied().chain(event.digest().map(|_| "digest"));
            let fields = if event.integers().is_empty() && event.digest().is_none() {
                "–".to_owned()
            } else {
                fields.collect::<Vec<_>>().join(", ")
            };
            let fields = fields.replace("digest", &format!("digest of the {}", event.digest().unwrap_or_default()));
            let row = format!("| {} | `{}` | {level} | {fields} | {} |", event.number(), event.name(), event.text());
            assert!(spec.contains(&row), "link.md lacks {row}");
        }
    }
}
