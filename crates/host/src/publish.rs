//! Publishes each checkpoint to the log directory, in the order that `candor_log::publish` prescribes.
//!
//! `data/log/<64 hex digits>/…`, one directory per log. Starting up is the same loop as running: read what is published, write what is
//! missing. A full disk stops publication and nothing else; the next checkpoint tries again.

use std::path::{Path, PathBuf};

use candor_log::publish::{After, publish, published};
use candor_log::store::DirStore;
use candor_verify::Hash32;
use candor_verify::bytes::to_hex;
use candor_x402::Libsecp;

use crate::store::OpenLog;

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
pub(crate) fn bring_up_to_date(open: &OpenLog, store: &DirStore) -> Result<u64, String> {
    let keys = open.row().keys();
    let mut at = published(store, &Libsecp, &keys).map_err(|error| format!("{error:?}"))?;
    loop {
        if open.read().checkpoint().is_none() {
            return Ok(0);
        }
        // The lock is held to make the batch and not to write it.
        let batch = open.read().batch(at).map_err(|error| format!("{error:?}"))?;
        publish(store, &batch).map_err(|error| error.to_string())?;
        match batch.after() {
            After::Published(tree) => return Ok(tree.size),
            After::More(tree) => at = Some(tree),
        }
    }
}
