//! The one place where the enclave reads a clock.
//!
//! Trust: inside a TEE the wall clock comes from the hypervisor. A false clock can make payments or evidence look early or late (service),
//! never move more money than was signed; receipts also carry a recent block, which clients check.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use candor_verify::UnixMs;

/// Now.
pub(crate) fn now() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    UnixMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
