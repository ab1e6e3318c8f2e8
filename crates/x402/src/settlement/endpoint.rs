//! Whether the endpoint answers: after each failure in a row it is left alone for longer.

/// The pause grows to 64 times the first.
const MAX_DOUBLINGS: u32 = 6;

/// The endpoint of a chain, as its answers show it.
#[derive(Debug, Default)]
pub(super) struct Endpoint {
    failures: u32,
    paused_until_ms: u64,
}

impl Endpoint {
    pub(super) fn is_up(&self, now_ms: u64) -> bool {
        self.paused_until_ms <= now_ms
    }

    pub(super) fn on_answer(&mut self) {
        *self = Self::default();
    }

    pub(super) fn on_failure(&mut self, now_ms: u64, first_pause_ms: u64) {
        let pause_ms = first_pause_ms.saturating_mul(1 << self.failures.min(MAX_DOUBLINGS));
        self.failures = self.failures.saturating_add(1);
        self.paused_until_ms = now_ms.saturating_add(pause_ms);
    }
}
