//! The account nonces of one gas key: which the chain has used, which are free, which must be filled.
//!
//! A transaction waits in every node until all lower nonces are used. So a nonce that was given to a settlement which ended otherwise
//! (somebody else settled it, it expired) is *moot*: it must be used up before later ones can land, by a filler that does nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::event::BroadcastOutcome;

/// Answers in a row that must go back before one is believed: a node that lags catches up before, and a wrong belief costs one transaction
/// that is refused.
const BACK_AFTER: u8 = 20;

/// What is known of one gas key.
#[derive(Debug, Default)]
pub(super) struct Nonces {
    chain: Option<ChainNonce>,
    // Answers in a row that went back.
    back: u8,
    moot: BTreeMap<u64, Moot>,
    pub(super) poll_at_ms: u64,
}

/// The first nonce that the chain has not used, and a block by which that was so.
#[derive(Clone, Copy, Debug)]
struct ChainNonce {
    next: u64,
    block: u64,
}

#[derive(Clone, Copy, Debug)]
struct Moot {
    gas_level: u8,
    due_at_ms: u64,
    /// A node has, or perhaps has, a transaction with this nonce.
    was_sent: bool,
}

/// A filler to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filler {
    pub(super) account_nonce: u64,
    pub(super) gas_level: u8,
}

impl Nonces {
    /// The chain says that `next` is the first unused nonce. A number that goes back is ignored at first: some nodes lag. Said again and
    /// again by later blocks it is true: a block with a transaction of ours was taken out, or an endpoint had invented it. Without the
    /// numbers in between nothing could land any more.
    pub(super) fn learn(&mut self, next: u64, block: u64) {
        let goes_back = self.chain.is_some_and(|known| next < known.next && known.block < block);
        self.back = if goes_back { self.back.saturating_add(1) } else { 0 };
        if BACK_AFTER <= self.back {
            self.chain = None;
        }
        self.raise_to(next, block);
    }

    /// A transaction of ours with this nonce was included in this block.
    pub(super) fn included(&mut self, account_nonce: u64, block: u64) {
        self.raise_to(account_nonce.saturating_add(1), block);
    }

    fn raise_to(&mut self, next: u64, block: u64) {
        let is_news = self.chain.is_none_or(|known| known.next < next);
        if is_news {
            self.chain = Some(ChainNonce { next, block });
            self.back = 0;
            self.moot = self.moot.split_off(&next);
        }
    }

    /// Whether the chain has used this nonce, by a block at or before `block`.
    pub(super) fn is_used_by(&self, account_nonce: u64, block: u64) -> bool {
        self.chain.is_some_and(|known| account_nonce < known.next && known.block <= block)
    }

    /// Whether the chain has used this nonce.
    pub(super) fn is_used(&self, account_nonce: u64) -> bool {
        self.is_used_by(account_nonce, u64::MAX)
    }

    /// The lowest nonce that nobody has; `None` while the chain's is unknown.
    pub(super) fn lowest_free(&self, live: &BTreeSet<u64>) -> Option<u64> {
        let mut nonce = self.chain?.next;
        while live.contains(&nonce) || self.moot.contains_key(&nonce) {
            nonce = nonce.checked_add(1)?;
        }
        Some(nonce)
    }

    /// A settlement ended without its nonce being used.
    pub(super) fn abandon(&mut self, account_nonce: u64, gas_level: u8) {
        if !self.is_used(account_nonce) {
            self.moot.insert(account_nonce, Moot { gas_level, due_at_ms: 0, was_sent: false });
        }
    }

    /// The first nonce that the chain has not used; `None` while it is unknown.
    pub(super) fn next(&self) -> Option<u64> {
        self.chain.map(|chain| chain.next)
    }

    /// What became of a filler.
    pub(super) fn on_filler(&mut self, filler: Filler, outcome: BroadcastOutcome, retry_at_ms: u64, max_level: u8) {
        let Some(moot) = self.moot.get_mut(&filler.account_nonce).filter(|moot| moot.gas_level == filler.gas_level) else { return };
        match outcome {
            BroadcastOutcome::Sent { .. } | BroadcastOutcome::Unknown { .. } | BroadcastOutcome::NonceTooLow => moot.was_sent = true,
            BroadcastOutcome::Underpriced => {
                moot.was_sent = true;
                // One class higher, at once.
                if moot.gas_level < max_level {
                    moot.due_at_ms = 0;
                }
            }
            BroadcastOutcome::NonceTooHigh | BroadcastOutcome::NotSent => moot.due_at_ms = retry_at_ms,
            BroadcastOutcome::NoGasFunds | BroadcastOutcome::WouldRevert { .. } => {}
        }
    }

    /// The filler of a nonce below a live one that no live one has, if it is due.
    pub(super) fn due_filler(&mut self, account_nonce: u64, now_ms: u64, every_ms: u64, max_level: u8) -> Option<Filler> {
        // A gap that nobody remembers (after a crash) gets a filler of the lowest class.
        let moot = self.moot.entry(account_nonce).or_insert(Moot { gas_level: 0, due_at_ms: 0, was_sent: false });
        if now_ms < moot.due_at_ms {
            return None;
        }
        moot.gas_level = moot.gas_level.saturating_add(1).min(max_level);
        moot.due_at_ms = now_ms.saturating_add(every_ms);
        Some(Filler { account_nonce, gas_level: moot.gas_level })
    }

    /// Whether a filler of this nonce was sent: a higher one may follow.
    pub(super) fn is_filled(&self, account_nonce: u64) -> bool {
        self.moot.get(&account_nonce).is_some_and(|moot| moot.was_sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_are_given_from_the_lowest_and_moot_ones_are_filled() {
        let mut nonces = Nonces::default();
        assert_eq!(nonces.lowest_free(&BTreeSet::new()), None);
        nonces.learn(5, 10);
        nonces.learn(4, 11);
        let live = BTreeSet::from([5, 7]);
        assert_eq!(nonces.lowest_free(&live), Some(6));
        nonces.abandon(6, 2);
        nonces.abandon(3, 2);
        assert_eq!(nonces.lowest_free(&live), Some(8));
        let filler = nonces.due_filler(6, 100, 50, 7).unwrap();
        assert_eq!((filler.account_nonce, filler.gas_level), (6, 3));
        assert!(nonces.due_filler(6, 149, 50, 7).is_none() && !nonces.is_filled(6));
        nonces.on_filler(filler, BroadcastOutcome::NonceTooHigh, 120, 7);
        assert!(!nonces.is_filled(6));
        let filler = nonces.due_filler(6, 120, 50, 3).unwrap();
        assert_eq!(filler.gas_level, 3);
        nonces.on_filler(filler, BroadcastOutcome::NonceTooLow, 0, 3);
        assert!(nonces.is_filled(6));
        assert!(nonces.is_used(4) && nonces.is_used_by(4, 10) && !nonces.is_used_by(4, 9) && !nonces.is_used(5));
        nonces.included(6, 20);
        assert_eq!(nonces.lowest_free(&BTreeSet::from([7])), Some(8));
    }

    #[test]
    fn a_number_that_goes_back_is_believed_when_later_blocks_insist() {
        let mut nonces = Nonces::default();
        nonces.learn(5, 10);
        nonces.included(5, 11);
        for block in 12..(11 + u64::from(BACK_AFTER)) {
            nonces.learn(5, block);
            assert!(nonces.is_used(5), "block {block}");
        }
        // One answer that agrees, and the count begins again; the block of what is known says nothing new.
        nonces.learn(6, 40);
        for _ in 0..100 {
            nonces.learn(5, 11);
        }
        for block in 41..(41 + u64::from(BACK_AFTER)) {
            assert!(nonces.is_used(5), "block {block}");
            nonces.learn(5, block);
        }
        assert!(!nonces.is_used(5) && nonces.is_used(4));
        // What waits behind the gap gets a filler.
        assert_eq!(nonces.due_filler(5, 0, 50, 7).map(|filler| filler.account_nonce), Some(5));
    }
}
