//! Publishes checkpoints to the log directory, in the order that `candor_log::publish` prescribes.
//!
//! `data/log/<64 hex digits>/…`, one directory per log. Starting up is the same loop as running: read what is published, write what is
//! missing. A full disk stops publication and nothing else; it is tried again.
//!
//! Each file costs a durable write of its own, so checkpoints are not published one by one: the newest one is, a moment after the first
//! that is not published yet. Nothing waits for it, because receipts carry their proofs.
//!
//! - **Invariant:** a log is published before each anchor, unless the disk refuses; a checkpoint stored since then, and anchored with it, a
//!   moment later. So whoever sees an anchor can soon read its tree.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use candor_log::publish::{After, publish, published};
use candor_log::store::DirStore;
use candor_verify::Hash32;
use candor_verify::bytes::to_hex;
use candor_x402::Libsecp;
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::time::Instant;

use crate::shared::Shared;
use crate::slot::Slot;
use crate::store::OpenLog;

/// From the first checkpoint that is not published to its publication. Busy nodes sign some hundred checkpoints in this time.
const PUBLISH_DELAY: Duration = Duration::from_millis(250);

/// Pause before a publication that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Publishes until stopped, and then once more.
pub(crate) async fn run(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let (mut stored, mut changes) = (shared.stored.subscribe(), shared.logs.subscribe());
    // Also after their enclaves have ended: they may have left checkpoints that are not published.
    let mut logs = Vec::new();
    keep_open(&shared, &mut logs);
    let mut due = (!logs.is_empty()).then(Instant::now);
    let mut is_stopped = false;
    while !is_stopped {
        tokio::select! {
            changed = stored.changed(), if due.is_none() => {
                if changed.is_err() {
                    return;
                }
                due = Some(Instant::now() + PUBLISH_DELAY);
                continue;
            }
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            _ = stopped.changed() => is_stopped = true,
        }
        if due.is_some() || stored.has_changed().unwrap_or_default() {
            // Before they are read: what is stored meanwhile counts as new.
            stored.mark_unchanged();
            let mut is_done = true;
            for (slot, open) in &logs {
                is_done &= bring_up_to_date(&shared, slot, open).await;
            }
            due = (!is_done).then(|| Instant::now() + RETRY);
        }
        if keep_open(&shared, &mut logs) {
            due = Some(Instant::now() + PUBLISH_DELAY);
        }
    }
}

/// Adds the logs that are open, and forgets one whose slot has another or is gone. True if one was added.
fn keep_open(shared: &Shared, logs: &mut Vec<(Arc<Slot>, OpenLog)>) -> bool {
    let (open, slots) = (shared.open_logs(), shared.slots());
    let id = |open: &OpenLog| open.row().manifest.log_id();
    logs.retain(|(slot, log)| {
        let is_there = slots.iter().any(|other| Arc::ptr_eq(other, slot));
        is_there && slot.current_id().is_none_or(|current| current == id(log))
    });
    let new: Vec<_> = open.into_iter().filter(|(_, log)| !logs.iter().any(|(_, known)| id(known) == id(log))).collect();
    let is_any = !new.is_empty();
    logs.extend(new);
    is_any
}

/// Publishes what a log has, if that is more than what it has published. For logs that are about to be anchored.
pub(crate) async fn before_anchor(shared: &Shared, open: &OpenLog) {
    let id = open.row().manifest.log_id();
    let slot = shared.slots().into_iter().find(|slot| slot.current_id() == Some(id));
    let newest = open.read().checkpoint().map(|signed| signed.checkpoint.tree.size);
    let is_behind = newest.is_some_and(|size| !shared.publisher.is_published(&id, size));
    if is_behind {
        // A failure is told, and is no reason not to anchor.
        publish_one(shared, slot.as_deref(), open).await;
    }
}

/// Publishes the log of a slot up to its newest checkpoint. Tells the operator of a failure; false if there was one.
async fn bring_up_to_date(shared: &Shared, slot: &Slot, open: &OpenLog) -> bool {
    let newest = open.read().checkpoint().map(|signed| signed.checkpoint.tree.size);
    // Of two logs mostly one has grown.
    let is_done = newest.is_none_or(|size| shared.publisher.is_published(&open.row().manifest.log_id(), size));
    is_done || publish_one(shared, Some(slot), open).await
}

async fn publish_one(shared: &Shared, slot: Option<&Slot>, open: &OpenLog) -> bool {
    match shared.publisher.publish(&shared.config.data_dir, open).await {
        Ok(size) => {
            shared.clear_trouble("publish");
            if let Some(slot) = slot {
                slot.update(|status| status.published_size = size);
            }
            true
        }
        Err(message) => {
            shared.trouble_once("publish", message);
            false
        }
    }
}

/// Writes one log after another.
#[derive(Debug, Default)]
pub(crate) struct Publisher {
    // The directory that was written last; holds its lock. One publication at a time.
    directory: AsyncMutex<Option<(Hash32, Arc<DirStore>)>>,
    // Sizes of the last publications, of two logs at most. Guarded for moments.
    last: Mutex<Vec<(Hash32, u64)>>,
}

impl Publisher {
    fn is_published(&self, log_id: &Hash32, size: u64) -> bool {
        self.last().iter().any(|(last_id, last_size)| last_id == log_id && size <= *last_size)
    }

    /// Brings the published log up to the newest checkpoint. Returns the published size.
    async fn publish(&self, data_dir: &Path, open: &OpenLog) -> Result<u64, String> {
        let (log_id, open) = (open.row().manifest.log_id(), open.clone());
        let mut directory = self.directory.lock().await;
        let store = match directory.as_ref().filter(|(held, _)| *held == log_id) {
            Some((_, store)) => Arc::clone(store),
            None => {
                // The lock of the former log's directory is let go first.
                *directory = None;
                let path = log_directory(data_dir, &log_id);
                let store = Arc::new(blocking(move || DirStore::open(&path).map_err(|error| error.to_string())).await?);
                *directory = Some((log_id, Arc::clone(&store)));
                store
            }
        };
        let size = blocking(move || write_missing(&open, &store)).await?;
        let mut last = self.last();
        last.retain(|(last_id, _)| *last_id != log_id);
        let excess = last.len().saturating_sub(1);
        last.drain(..excess);
        last.push((log_id, size));
        Ok(size)
    }

    fn last(&self) -> MutexGuard<'_, Vec<(Hash32, u64)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}

/// Directory of a log below the data directory.
pub(crate) fn log_directory(data_dir: &Path, log_id: &Hash32) -> PathBuf {
    data_dir.join("log").join(log_name(log_id))
}

/// The name of a log in paths and URLs: 64 hex digits.
pub(crate) fn log_name(log_id: &Hash32) -> String {
    to_hex(&log_id.0).split_off(2)
}

/// Writes whatever of the newest checkpoint is not published yet. Blocking. Returns the published size.
///
/// # Errors
/// What went wrong, for the operator. Repeating is right.
// Crash: see `candor_log::publish::publish`; this function is its own recovery.
fn write_missing(open: &OpenLog, store: &DirStore) -> Result<u64, String> {
    let keys = open.row().keys();
    let mut at = published(store, &Libsecp, &keys).map_err(|error| error.to_string())?;
    loop {
        if open.read().checkpoint().is_none() {
            return Ok(0);
        }
        // The lock is held to make the batch and not to write it.
        let batch = open.read().batch(at).map_err(|error| error.to_string())?;
        publish(store, &batch).map_err(|error| error.to_string())?;
        match batch.after() {
            After::Published(tree) => return Ok(tree.size),
            After::More(tree) => at = Some(tree),
        }
    }
}
