//! The chain's time: the machine's clock (or a clock that stands still) shifted by time travel.
//!
//! One reading is taken per block and used for the EVM and for the header, so the two cannot differ. Invariant: readings
//! after `not_before` are never earlier than it, so block times never go back.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::Clock;
use crate::error::ChainError;

/// The latest block time, in Unix seconds: the end of the year 9999. Sums of two times below it cannot overflow.
pub const MAX_TIMESTAMP: u64 = 253_402_300_799;

/// Decides block times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChainClock {
    base: Base,
    /// Added to the base, in seconds. Negative after a jump to a time before the machine's.
    shift: i64,
    /// The time of the next block, if someone fixed it.
    next: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Base {
    System,
    Fixed(u64),
}

impl ChainClock {
    /// A clock and the genesis time it starts with.
    pub(crate) fn start(clock: Clock, genesis: Option<u64>) -> (Self, u64) {
        let genesis = genesis.unwrap_or_else(unix_seconds);
        let base = match clock {
            Clock::System => Base::System,
            Clock::Manual => Base::Fixed(genesis),
        };
        let clock = Self { base, shift: 0, next: None };
        (clock, genesis)
    }

    /// The time a block mined now would get.
    pub(crate) fn next_block_time(&self, not_before: u64) -> u64 {
        self.next.unwrap_or_else(|| self.now()).clamp(not_before, MAX_TIMESTAMP.max(not_before))
    }

    /// Call when a block with time `timestamp` was mined: a time fixed for it is used up, and time goes on from there.
    pub(crate) fn block_was_mined(&mut self, timestamp: u64) {
        if self.next.take().is_some() {
            self.shift = difference(timestamp, self.base());
        }
    }

    /// Moves time forward; returns the whole shift in seconds.
    pub(crate) fn advance(&mut self, seconds: u64) -> Result<i64, ChainError> {
        let got = self.now().saturating_add(seconds);
        if MAX_TIMESTAMP < got {
            return Err(ChainError::TimestampTooLate { latest: MAX_TIMESTAMP, got });
        }
        let by = i64::try_from(seconds).unwrap_or(i64::MAX);
        self.shift = self.shift.saturating_add(by);
        self.next = self.next.map(|time| time.saturating_add(seconds).min(MAX_TIMESTAMP));
        Ok(self.shift)
    }

    /// Fixes the time of the next block.
    pub(crate) const fn set_next(&mut self, timestamp: u64, not_before: u64) -> Result<(), ChainError> {
        if timestamp < not_before {
            return Err(ChainError::TimestampTooEarly { earliest: not_before, got: timestamp });
        }
        if MAX_TIMESTAMP < timestamp {
            return Err(ChainError::TimestampTooLate { latest: MAX_TIMESTAMP, got: timestamp });
        }
        self.next = Some(timestamp);
        Ok(())
    }

    fn now(&self) -> u64 {
        self.base().saturating_add_signed(self.shift)
    }

    fn base(&self) -> u64 {
        match self.base {
            Base::System => unix_seconds(),
            Base::Fixed(seconds) => seconds,
        }
    }
}

fn difference(to: u64, from: u64) -> i64 {
    let to = i64::try_from(to).unwrap_or(i64::MAX);
    let from = i64::try_from(from).unwrap_or(i64::MAX);
    to.saturating_sub(from)
}

/// The only reading of the machine's clock in this crate. A clock before 1970 reads as 1970.
fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manual() -> ChainClock {
        ChainClock::start(Clock::Manual, Some(1000)).0
    }

    #[test]
    fn block_times_never_go_back() {
        assert_eq!(manual().next_block_time(2000), 2000);
    }

    #[test]
    fn time_goes_on_from_a_fixed_block_time() {
        let mut clock = manual();
        assert_eq!(clock.set_next(5000, 1000), Ok(()));
        assert_eq!(clock.next_block_time(1000), 5000);
        clock.block_was_mined(5000);
        assert_eq!(clock.advance(10), Ok(4010));
        assert_eq!(clock.next_block_time(5000), 5010);
    }

    #[test]
    fn a_block_time_before_the_head_is_refused() {
        assert_eq!(manual().set_next(999, 1000), Err(ChainError::TimestampTooEarly { earliest: 1000, got: 999 }));
    }

    #[test]
    fn time_travel_past_the_year_9999_is_refused() {
        assert_eq!(manual().advance(u64::MAX), Err(ChainError::TimestampTooLate { latest: MAX_TIMESTAMP, got: u64::MAX }));
    }
}
