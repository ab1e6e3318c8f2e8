//! Moments: Unix time in milliseconds, and in seconds. Two types, so that neither can be taken for the other.
//!
//! Structures of ours carry milliseconds; EVM contracts, EIP-3009 and the registry carry seconds. Leap seconds do not exist, as everywhere in
//! Unix time. Both stop at the ends of `u64` and never wrap. Not here: a clock (this crate reads none), and lengths of time, which are plain
//! integers with their unit in the name.

use core::fmt;

/// A moment in Unix milliseconds.
///
/// ```
/// use candor_verify::time::{UnixMs, UnixSeconds};
///
/// assert_eq!(UnixMs(1_999).seconds(), UnixSeconds(1), "what contracts read is floored");
/// assert_eq!(UnixMs(5).since(UnixMs(9)), 0, "what is later has not passed");
/// ```
///
/// ```compile_fail,E0308
/// # use candor_verify::time::{UnixMs, UnixSeconds};
/// let valid_before: UnixSeconds = UnixMs(1);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UnixMs(pub u64);

/// A moment in Unix seconds.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UnixSeconds(pub u64);

impl UnixMs {
    /// The second that this moment is in.
    #[must_use]
    pub const fn seconds(self) -> UnixSeconds {
        UnixSeconds(self.0 / 1000)
    }

    /// So many milliseconds later.
    #[must_use]
    pub const fn saturating_add(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// So many milliseconds earlier.
    #[must_use]
    pub const fn saturating_sub(self, ms: u64) -> Self {
        Self(self.0.saturating_sub(ms))
    }

    /// Milliseconds that have passed since an earlier moment; zero if it is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl UnixSeconds {
    /// The first millisecond of this second.
    #[must_use]
    pub const fn ms(self) -> UnixMs {
        UnixMs(self.0.saturating_mul(1000))
    }

    /// So many seconds later.
    #[must_use]
    pub const fn saturating_add(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// So many seconds earlier.
    #[must_use]
    pub const fn saturating_sub(self, seconds: u64) -> Self {
        Self(self.0.saturating_sub(seconds))
    }

    /// Seconds that have passed since an earlier moment; zero if it is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The number alone: the unit is said beside it.
impl fmt::Display for UnixMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The number alone: the unit is said beside it.
impl fmt::Display for UnixSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
