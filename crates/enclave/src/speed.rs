//! How fast a node answers: measured once at boot, for each model, so that it sells no more tokens than it can make in the time that it gives
//! one answer.
//!
//! An estimate, and half of what was measured: an answer alone on the machine, at the beginning of a context, is faster than one among
//! others at its end. What the cap cuts all the same says so in its receipt (receipt.md §4, *cut by node*).

use std::time::{Duration, Instant};

use candor_engine::{Model, Options, Session};

/// Time for each of the two measurements; one piece is fed however long it takes.
const PHASE: Duration = Duration::from_millis(100);

/// Tokens of the context that is measured in, at most: its memory grows with them.
const ROOM_MAX: usize = 1024;

/// Tokens of a prompt that are read together. Any ordinary token will do: each costs the same.
const PIECE: [u32; 32] = [0x61; 32];

/// Tokens in 1,000 seconds, so that a slow model does not stand at zero.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "any value is valid")]
pub struct Speed {
    /// Tokens of a prompt that are read.
    pub prompt_per_1000_s: u64,
    /// Tokens of an answer that are made.
    pub answer_per_1000_s: u64,
}

impl Speed {
    /// No limit on what is offered: only the cap cuts.
    pub const UNBOUNDED: Self = Self { prompt_per_1000_s: u64::MAX, answer_per_1000_s: u64::MAX };

    /// What this model promises on this machine.
    pub(crate) fn of(model: &Model) -> Self {
        // It fails for a context that is shorter than what is measured in: such answers are over at once.
        Self::measure(model).unwrap_or(Self::UNBOUNDED)
    }

    fn measure(model: &Model) -> Option<Self> {
        let room = usize::try_from(model.config().context).unwrap_or(usize::MAX).min(ROOM_MAX);
        let half = room / 2;
        let mut session = Session::new(model, room, Options::default()).ok()?;
        let prompt_per_1000_s = feed(&mut session, &PIECE, half)?;
        let [token, ..] = PIECE;
        let answer_per_1000_s = feed(&mut session, &[token], room.saturating_sub(half))?;
        Some(Self { prompt_per_1000_s, answer_per_1000_s })
    }

    /// How long it takes to read and to make so many tokens.
    pub(crate) fn milliseconds(self, prompt_tokens: u64, answer_tokens: u64) -> u64 {
        let of = |tokens: u64, speed: u64| tokens.saturating_mul(1_000_000).checked_div(speed).unwrap_or(u64::MAX);
        of(prompt_tokens, self.prompt_per_1000_s).saturating_add(of(answer_tokens, self.answer_per_1000_s))
    }

    /// How many tokens of answer this time has room for, after a prompt; one at least.
    pub(crate) fn tokens_within(self, cap_ms: u64, prompt_tokens: u64) -> u32 {
        let left_ms = cap_ms.saturating_sub(self.milliseconds(prompt_tokens, 0));
        let tokens = u128::from(left_ms).saturating_mul(self.answer_per_1000_s.into()) / 1_000_000;
        u32::try_from(tokens).unwrap_or(u32::MAX).max(1)
    }
}

/// Feeds piece by piece until the time is over or no further piece fits, and promises half of that speed.
fn feed(session: &mut Session<'_>, piece: &[u32], most: usize) -> Option<u64> {
    let (began, mut fed) = (Instant::now(), 0usize);
    loop {
        session.feed(piece).ok()?;
        fed = fed.saturating_add(piece.len());
        let taken = began.elapsed();
        if PHASE <= taken || most < fed.saturating_add(piece.len()) {
            return Some(promised(fed, taken));
        }
    }
}

/// Half of so many tokens in so much time, in 1,000 seconds.
fn promised(tokens: usize, taken: Duration) -> u64 {
    let tokens = u128::from(u64::try_from(tokens).unwrap_or(u64::MAX));
    let half = tokens.saturating_mul(500_000_000).checked_div(taken.as_micros().max(1)).unwrap_or_default();
    u64::try_from(half).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_promised_is_half_of_what_was_measured() {
        assert_eq!(promised(300, Duration::from_secs(3)), 50_000);
        // A model that takes a minute for a token.
        assert_eq!(promised(1, Duration::from_secs(60)), 8);
        assert!(0 < promised(1, Duration::ZERO));
    }

    #[test]
    fn a_prompt_takes_its_share_and_one_token_is_always_left() {
        // 100 tokens of a prompt and 10 of an answer in a second.
        let speed = Speed { prompt_per_1000_s: 100_000, answer_per_1000_s: 10_000 };
        let rows = [(60_000, 0, 600), (60_000, 1_000, 500), (60_000, 6_000, 1), (60_000, u64::MAX, 1), (0, 0, 1), (u64::MAX, 0, u32::MAX)];
        for (cap_ms, prompt_tokens, tokens) in rows {
            assert_eq!(speed.tokens_within(cap_ms, prompt_tokens), tokens, "{cap_ms} {prompt_tokens}");
        }
        assert_eq!(Speed { prompt_per_1000_s: 0, answer_per_1000_s: 0 }.tokens_within(60_000, 1), 1);
        assert_eq!(Speed::UNBOUNDED.tokens_within(1_000, 8_000), u32::MAX);
    }

    #[test]
    fn a_model_is_measured() {
        let speed = Speed::of(&Model::load(&candor_engine::fixture::model()).unwrap());
        assert!(0 < speed.prompt_per_1000_s && 0 < speed.answer_per_1000_s);
        assert_ne!(speed, Speed::UNBOUNDED);
    }
}
