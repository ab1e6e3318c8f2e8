//! The one place where the client reads a clock; every verdict takes the time as a parameter.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use candor_verify::UnixMs;

/// Now.
pub(crate) fn now() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    UnixMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
