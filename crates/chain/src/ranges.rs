//! Events of many blocks: as few questions as the endpoint allows.
//!
//! Endpoints limit `eth_getLogs` by blocks, by results or by time, each by another number and with another error, so no number here is right
//! for all: the first question is about the whole range, a refusal halves it, and what was accepted is remembered for the next.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};

use alloy::rpc::types::{Filter, Log};

use crate::client::ChainClient;
use crate::error::{ChainError, Outage};
use crate::pool::is_of_rate;

/// Questions for one range: an endpoint that takes ten blocks at once shows 40,000 blocks, and then it is an error that says so.
const QUESTIONS_MAX: u32 = 4_096;

/// Blocks at once that every endpoint reads in time.
const SLOW_WIDTH: u64 = 1_000;

/// Blocks that an endpoint is asked about at once, as far as is known. Shared by the clones of a client.
#[derive(Debug)]
pub(crate) struct Width(AtomicU64);

impl Default for Width {
    fn default() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

impl ChainClient {
    /// The events that a filter finds in these blocks, oldest first.
    ///
    /// # Errors
    /// What the endpoint says of one block alone; `Malformed` if it would take more questions than anybody should ask.
    pub(crate) async fn logs_in(&self, filter: &Filter, blocks: RangeInclusive<u64>) -> Result<Vec<Log>, ChainError> {
        let (mut from, last) = (*blocks.start(), *blocks.end());
        // Twice what was answered the last time: an endpoint that was in trouble for a moment is not narrow for ever.
        let mut width = self.width().0.load(Ordering::Relaxed).saturating_mul(2).max(1);
        let mut found = Vec::new();
        for _ in 0..QUESTIONS_MAX {
            if last < from {
                return Ok(found);
            }
            let asked = width.min((last - from).saturating_add(1));
            let to = from.saturating_add(asked - 1);
            match self.logs(&filter.clone().from_block(from).to_block(to)).await {
                Ok(logs) => {
                    found.extend(logs);
                    // What is left of a range says nothing of how much would be answered.
                    if asked == width {
                        self.width().0.store(width, Ordering::Relaxed);
                    }
                    let Some(next) = to.checked_add(1) else { return Ok(found) };
                    from = next;
                }
                Err(error) => width = narrower(&error, asked).ok_or(error)?,
            }
        }
        let detail =
            format!("block {from} of {last} is reached after {QUESTIONS_MAX} questions; use an endpoint that shows more blocks at once");
        Err(ChainError::Malformed { what: "eth_getLogs", detail })
    }
}

/// How many blocks at once may be answered instead; `None` if it is not the range that is refused. A rate limit is not always told from a
/// limit of the range; then the last question, about one block, says it.
fn narrower(error: &ChainError, width: u64) -> Option<u64> {
    let narrower = match error {
        // Each costs the caller the whole wait: few of them.
        ChainError::Timeout { .. } => SLOW_WIDTH,
        ChainError::Rejected { code, message, .. } if is_of_something_else(*code, message) => return None,
        ChainError::Rejected { .. } => width / 2,
        ChainError::Unavailable { outage: Outage::Status(400 | 413 | 422 | 500 | 504), .. } => width / 2,
        ChainError::Unavailable { .. }
        | ChainError::Differ { .. }
        | ChainError::TooDear { .. }
        | ChainError::Malformed { .. }
        | ChainError::Misuse { .. } => {
            return None;
        }
    };
    (0 < narrower && narrower < width).then_some(narrower)
}

/// A refusal that fewer blocks would not mend: too many questions, or a block that this endpoint does not have yet.
pub(crate) fn is_of_something_else(code: i64, message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    code == 429
        || is_of_rate(&message)
        || ["header not found", "unknown block", "beyond", "future"].iter().any(|part| message.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_about_the_range_is_not_asked_again() {
        let unavailable = |outage| ChainError::Unavailable { what: "eth_getLogs", endpoint: String::new(), outage };
        let rejected = ChainError::Rejected { what: "eth_getLogs", code: -32005, message: String::new(), data: Vec::new() };
        let late = ChainError::Timeout { what: "eth_getLogs", after: std::time::Duration::ZERO };
        assert_eq!((narrower(&rejected, 9), narrower(&unavailable(Outage::Status(413)), 2)), (Some(4), Some(1)));
        assert_eq!((narrower(&late, u64::MAX), narrower(&late, SLOW_WIDTH)), (Some(SLOW_WIDTH), None));
        assert_eq!(narrower(&rejected, 1), None);
        for (code, message) in [(429, "slow down"), (-32005, "Too Many Requests"), (-32000, "header not found")] {
            let other = ChainError::Rejected { what: "eth_getLogs", code, message: message.to_owned(), data: Vec::new() };
            assert_eq!(narrower(&other, 1_000), None, "{message}");
        }
        assert_eq!((narrower(&unavailable(Outage::Connection), 9), narrower(&unavailable(Outage::Status(401)), 9)), (None, None));
        assert_eq!(narrower(&ChainError::Malformed { what: "eth_getLogs", detail: String::new() }, 9), None);
    }
}
