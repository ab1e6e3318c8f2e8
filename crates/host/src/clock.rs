//! The one place where the host reads the wall clock.
//!
//! Trust: nobody believes this host's time but the host: it decides when to look, to send again and to erase, never what is true.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use candor_verify::time::UnixMs;

/// Now.
pub(crate) fn now() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    UnixMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
