//! The time rule: five lines that tie a receipt's end to the life of its key and to the moment at which a chain saw its tree. The same
//! lines are on chain. Spec: bundle.md §6.
//!
//! A key that lapsed long ago proves nothing new: whoever gets hold of it later can write any time into a receipt, but cannot have had it
//! anchored then. Times are whole seconds, because a chain counts so.

use crate::policy::RegistryRecord;
use crate::time::UnixSeconds;

/// How far the clocks of an enclave and of a chain may differ, in seconds.
pub const CLOCK_SKEW_SECONDS: u64 = 120;

/// The longest time from the end of an answer to the block in which its tree was anchored or observed, in seconds (7 days): longer than any
/// forced inclusion and a weekend.
pub const MAX_ANCHOR_DELAY_SECONDS: u64 = 7 * 86_400;

/// How long one attestation document makes a key valid, in seconds (2 hours).
pub const MAX_EVIDENCE_AGE_SECONDS: u64 = 2 * 3_600;

/// Line 1: the receipt was finished after its enclave booted.
pub(super) fn is_after_boot(finished: UnixSeconds, booted_at: UnixSeconds) -> bool {
    booted_at <= finished.saturating_add(CLOCK_SKEW_SECONDS)
}

/// Line 2: it was finished while its key was valid, by what the registry was shown or by the document at hand, which anybody may show it.
pub(super) fn is_within_validity(finished: UnixSeconds, valid_until: UnixSeconds, document_until: UnixSeconds) -> bool {
    finished <= valid_until.max(document_until)
}

/// Line 3: it was finished before a chain saw its tree.
pub(super) fn is_before_seen(finished: UnixSeconds, seen_at: UnixSeconds) -> bool {
    finished <= seen_at.saturating_add(CLOCK_SKEW_SECONDS)
}

/// Line 4: the chain saw its tree soon after.
pub(super) fn is_seen_in_time(finished: UnixSeconds, seen_at: UnixSeconds) -> bool {
    seen_at <= finished.saturating_add(MAX_ANCHOR_DELAY_SECONDS)
}

/// Line 5, of a key that its operator retired: the answer came before the end.
pub(super) fn is_before_retirement(finished: UnixSeconds, record: &RegistryRecord) -> bool {
    record.invalid_from.is_none_or(|from| finished <= from)
}

/// How an answer stands to the moment at which its key was revoked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Revocation {
    /// The key was not revoked, or a chain saw the answer's tree before, in time.
    Before,
    /// No sighting before is known to the caller. There may be one: an anchor of a size that the bundle does not name.
    Open,
    /// No tree that a chain saw before can hold the answer.
    After,
}

/// Line 5, of a key that its operator revoked: a chain saw the tree before, in time.
pub(super) fn revocation(finished: UnixSeconds, seen_at: Option<UnixSeconds>, record: &RegistryRecord) -> Revocation {
    let Some(revoked_at) = record.revoked_at else { return Revocation::Before };
    if seen_at.is_some_and(|seen| is_seen_in_time(finished, seen) && seen < revoked_at) {
        Revocation::Before
    } else if is_before_seen(finished, revoked_at.saturating_sub(1)) {
        Revocation::Open
    } else {
        Revocation::After
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: UnixSeconds = UnixSeconds(1_000_000);

    fn later(seconds: u64) -> UnixSeconds {
        AT.saturating_add(seconds)
    }

    fn earlier(seconds: u64) -> UnixSeconds {
        AT.saturating_sub(seconds)
    }

    #[test]
    fn each_line_holds_up_to_its_last_second() {
        assert!(is_after_boot(AT, later(120)) && !is_after_boot(AT, later(121)));
        assert!(is_within_validity(AT, AT, earlier(1)) && is_within_validity(AT, earlier(1), AT));
        assert!(!is_within_validity(AT, earlier(1), earlier(1)));
        assert!(is_before_seen(AT, earlier(120)) && !is_before_seen(AT, earlier(121)));
        assert!(is_seen_in_time(AT, later(604_800)) && !is_seen_in_time(AT, later(604_801)));
    }

    #[test]
    fn a_retired_key_is_judged_by_the_answer_and_a_revoked_one_by_the_block() {
        let record = RegistryRecord::default();
        let retired = |from| RegistryRecord { invalid_from: Some(from), ..record };
        let revoked = |at| RegistryRecord { revoked_at: Some(at), ..record };
        assert!(is_before_retirement(AT, &record));
        assert!(is_before_retirement(AT, &retired(AT)) && !is_before_retirement(AT, &retired(earlier(1))));
        assert_eq!(revocation(AT, None, &record), Revocation::Before);
        assert_eq!(revocation(AT, Some(later(5)), &revoked(later(6))), Revocation::Before);
        assert_eq!(revocation(AT, Some(later(6)), &revoked(later(6))), Revocation::Open);
        assert_eq!(revocation(AT, None, &revoked(later(6))), Revocation::Open);
        // Seen before the end, and a week and a second after the answer: that is no time at all.
        assert_eq!(revocation(AT, Some(later(604_801)), &revoked(later(604_802))), Revocation::Open);
        // Seen in the last second before, by a chain whose clock is behind: and not one second later.
        assert_eq!(revocation(AT, None, &revoked(earlier(119))), Revocation::Open);
        assert_eq!(revocation(AT, None, &revoked(earlier(120))), Revocation::After);
        assert_eq!(revocation(AT, None, &revoked(UnixSeconds(0))), Revocation::After);
    }
}
