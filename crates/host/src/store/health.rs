//! How the store does: writes, groups, failures, how long a durable group takes, and whether it can be written to now.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use candor_chain::Latency;

use super::StoreError;
use crate::metrics::Count;

/// Shared by the writer, who fills it, and whoever shows it.
#[derive(Debug, Default)]
pub(crate) struct StoreHealth {
    pub(crate) writes: Count,
    pub(crate) groups: Count,
    pub(crate) failures: Count,
    /// Of groups that became durable.
    pub(crate) latency: Latency,
    is_failing: AtomicBool,
}

impl StoreHealth {
    /// Whether the last look at the disk, and the last write that needed room, found it well.
    pub(crate) fn is_writable(&self) -> bool {
        !self.is_failing.load(Ordering::Relaxed)
    }

    pub(super) fn group(&self, writes: usize, took: Duration) {
        self.groups.one();
        self.writes.add(u64::try_from(writes).unwrap_or(u64::MAX));
        self.latency.take(took);
    }

    /// What became of a write. Only what the disk says counts: a refusal for any other reason says nothing of it.
    pub(super) fn outcome<T>(&self, outcome: &Result<T, StoreError>) {
        if matches!(outcome, Err(StoreError::Full | StoreError::Io(_))) {
            self.failures.one();
            self.is_failing.store(true, Ordering::Relaxed);
        }
    }

    /// Room was looked for, and a page was written.
    pub(super) fn is_well(&self) {
        self.is_failing.store(false, Ordering::Relaxed);
    }
}
