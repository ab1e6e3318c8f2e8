//! What the enclave tells its operator: events of a closed list (spec/link.md §9), counted here until the host takes them.
//!
//! The enclave prints nothing. What happened is noted in a table with one place for each event, so it never grows; one that happens again before
//! it was told is one more in its count. Each is told at once when it is new, and then at most once in [`EVERY`].
//! - **Invariant:** nothing of a request is noted: integers and digests here are the boot's own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use candor_link::{EnclaveEvent, LogEvent};
use candor_verify::Hash32;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Between two tellings of one event: strangers can make some of them happen as often as they like.
pub(crate) const EVERY: Duration = Duration::from_secs(10);

/// Between two tries while something waits: for its turn, or for a host.
const AGAIN: Duration = Duration::from_secs(1);

/// Events that wait to be told. A clone is the same table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events(Arc<Table>);

#[derive(Debug, Default)]
struct Table {
    // Guarded for the moment of one change.
    slots: Mutex<[Slot; EnclaveEvent::ALL.len()]>,
    noted: Notify,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    count: u64,
    integers: Vec<u64>,
    digest: Option<Hash32>,
    told: Option<Instant>,
}

impl Slot {
    fn is_due(&self, now: Instant) -> bool {
        self.count != 0 && self.told.is_none_or(|told| EVERY <= now.saturating_duration_since(told))
    }
}

impl Events {
    /// It happened, and says nothing more.
    pub(crate) fn note(&self, event: EnclaveEvent) {
        self.note_with(event, &[], None);
    }

    /// It happened. The integers and the digest are those that the event names.
    pub(crate) fn note_with(&self, event: EnclaveEvent, integers: &[u64], digest: Option<Hash32>) {
        let at = EnclaveEvent::ALL.iter().position(|other| *other == event);
        let mut slots = self.lock();
        if let Some(slot) = at.and_then(|at| slots.get_mut(at)) {
            slot.count = slot.count.saturating_add(1);
            (slot.integers, slot.digest) = (integers.to_vec(), digest);
        }
        drop(slots);
        self.0.noted.notify_one();
    }

    /// A thread panicked, perhaps this table's own: it is not waited for.
    pub(crate) fn note_panic(&self, line: u32) {
        let at = EnclaveEvent::ALL.iter().position(|event| *event == EnclaveEvent::Panicked);
        let Ok(mut slots) = self.0.slots.try_lock() else { return };
        if let Some(slot) = at.and_then(|at| slots.get_mut(at)) {
            slot.count = slot.count.saturating_add(1);
            slot.integers = vec![line.into()];
        }
        drop(slots);
        self.0.noted.notify_one();
    }

    /// Tells what is due. What `tell` does not take stays. Whether anything waits.
    fn tell_due(&self, now: Instant, tell: impl Fn(&LogEvent) -> bool) -> bool {
        let mut slots = self.lock();
        for (slot, event) in slots.iter_mut().zip(EnclaveEvent::ALL).filter(|(slot, _)| slot.is_due(now)) {
            let said = LogEvent { event, count: slot.count, integers: slot.integers.clone(), digest: slot.digest };
            if tell(&said) {
                (slot.count, slot.told) = (0, Some(now));
            }
        }
        slots.iter().any(|slot| slot.count != 0)
    }

    /// Tells for ever. `tell` says whether the host took one; it must not block.
    pub(crate) async fn run(self, tell: impl Fn(&LogEvent) -> bool) {
        loop {
            let waits = self.tell_due(Instant::now(), &tell);
            let noted = self.0.noted.notified();
            if waits {
                // Something new is told at once, whatever waits.
                drop(tokio::time::timeout(AGAIN, noted).await);
            } else {
                noted.await;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, [Slot; EnclaveEvent::ALL.len()]> {
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// What is told at this moment, by a host that takes it or does not.
    fn told(events: &Events, now: Instant, is_taken: bool) -> Vec<(EnclaveEvent, u64)> {
        let said = RefCell::new(Vec::new());
        events.tell_due(now, |event| {
            assert!(event.is_whole(), "{event:?}");
            said.borrow_mut().push((event.event, event.count));
            is_taken
        });
        said.into_inner()
    }

    #[test]
    fn an_event_is_told_at_once_and_then_seldom_and_none_is_lost() {
        let (events, start) = (Events::default(), Instant::now());
        events.note(EnclaveEvent::HandshakeFailed);
        assert_eq!(told(&events, start, true), [(EnclaveEvent::HandshakeFailed, 1)]);
        (0..1_000_000).for_each(|_| events.note(EnclaveEvent::HandshakeFailed));
        assert_eq!(told(&events, start + EVERY - Duration::from_millis(1), true), []);
        // Another one is not held up by it.
        events.note_with(EnclaveEvent::ModelTaken, &[16], Some(Hash32([1; 32])));
        assert_eq!(told(&events, start, true), [(EnclaveEvent::ModelTaken, 1)]);
        assert_eq!(told(&events, start + EVERY, true), [(EnclaveEvent::HandshakeFailed, 1_000_000)]);
        assert_eq!(told(&events, start + 9 * EVERY, true), []);
    }

    #[test]
    fn a_panic_is_told_by_its_line_alone_also_while_the_table_is_in_use() {
        let (events, start) = (Events::default(), Instant::now());
        let held = events.lock();
        events.note_panic(7);
        drop(held);
        events.note_panic(42);
        let told = RefCell::new(Vec::new());
        events.tell_due(start, |event| {
            told.borrow_mut().push(event.clone());
            true
        });
        let expected = LogEvent { event: EnclaveEvent::Panicked, count: 1, integers: vec![42], digest: None };
        assert_eq!(told.into_inner(), [expected]);
    }

    #[test]
    fn what_no_host_takes_waits_in_one_place_for_each_event() {
        let (events, start) = (Events::default(), Instant::now());
        for _ in 0..100 {
            EnclaveEvent::ALL.iter().for_each(|event| {
                let digest = event.digest().map(|_| Hash32([2; 32]));
                events.note_with(*event, &vec![7; event.integers().len()], digest);
            });
            assert_eq!(told(&events, start, false).len(), EnclaveEvent::ALL.len());
        }
        assert!(told(&events, start, true).iter().all(|(_, count)| *count == 100));
        assert_eq!(told(&events, start + EVERY, true), []);
    }
}
