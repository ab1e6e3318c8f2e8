//! Publishes each checkpoint to the log directory, in the order that `candor_log::publish` prescribes.
//!
//! `data/log/<64 hex digits>/…`, one directory per log. Starting up is the same loop as running: read what is published, write what is
//! missing. A full disk stops publication and nothing else; the next checkpoint tries again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use candor_log::publish::{After, publish, published};
use candor_log::store::DirStore;
use candor_verify::Hash32;
use candor_verify::bytes::to_hex;
use candor_x402::Libsecp;
use tokio::sync::watch;

use crate::shared::Shared;
use crate::store::OpenLog;

/// Pause before a publication that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Publishes after each checkpoint, and again after a failure, until stopped.
pub(crate) async fn run(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut stored = shared.stored.subscribe();
    let mut current = shared.current.subscribe();
    let mut publisher = Publisher { shared, directory: None };
    let mut is_behind = true;
    loop {
        tokio::select! {
            changed = stored.changed() => if changed.is_err() { return },
            changed = current.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY), if is_behind => {}
            _ = stopped.changed() => return,
        }
        let Some(open) = publisher.shared.current() else { continue };
        let outcome = publisher.publish(open).await;
        is_behind = outcome.is_err();
        match outcome {
            Ok(size) => {
                publisher.shared.clear_trouble("publish");
                publisher.shared.update(|status| status.published_size = size);
            }
            Err(message) => publisher.shared.trouble("publish", message),
        }
    }
}

/// Writes one log after another.
struct Publisher {
    shared: Arc<Shared>,
    // Of the log that was published last; it holds the lock of its directory.
    directory: Option<(Hash32, Arc<DirStore>)>,
}

impl Publisher {
    /// Brings the published log up to the newest checkpoint. Returns the published size.
    async fn publish(&mut self, open: OpenLog) -> Result<u64, String> {
        let store = self.open_directory(open.row().manifest.log_id()).await?;
        blocking(move || bring_up_to_date(&open, &store)).await
    }

    async fn open_directory(&mut self, log_id: Hash32) -> Result<Arc<DirStore>, String> {
        if let Some((held, store)) = &self.directory
            && *held == log_id
        {
            return Ok(Arc::clone(store));
        }
        // The lock of the former log's directory is let go first.
        self.directory = None;
        let path = log_directory(&self.shared.config.data_dir, &log_id);
        let store = Arc::new(blocking(move || DirStore::open(&path).map_err(|error| error.to_string())).await?);
        self.directory = Some((log_id, Arc::clone(&store)));
        Ok(store)
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
fn bring_up_to_date(open: &OpenLog, store: &DirStore) -> Result<u64, String> {
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
