//! The account nonces of one gas key: which the chain has used, which are free, which must be filled.
//!
//! A transaction waits in every node until all lower nonces are used. So a nonce that was given to a settlement which ended otherwise
//! (somebody else settled it, it expired) is *moot*: it must be used up before later ones can land, by a filler that does nothing.

use std::collections::{BTreeMap, BTreeSet};

/// At most this many fillers are sent per step: a bound on work, not a target.
const MAX_FILLERS: usize = 64;

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
    sent_at_ms: Option<u64>,
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
            self.moot.insert(account_nonce, Moot { gas_level, sent_at_ms: None });
        }
    }

    /// A filler was refused as underpriced: next time one class higher, at once.
    pub(super) fn raise(&mut self, account_nonce: u64, gas_level: u8, max_level: u8) {
        let is_latest = |moot: &&mut Moot| moot.gas_level == gas_level && gas_level < max_level;
        if let Some(moot) = self.moot.get_mut(&account_nonce).filter(is_latest) {
            moot.sent_at_ms = None;
        }
    }

    /// The fillers that are due: every nonce below a live one that no live one has.
    pub(super) fn due_fillers(&mut self, live: &BTreeSet<u64>, now_ms: u64, every_ms: u64, max_level: u8) -> Vec<Filler> {
        let (Some(chain), Some(highest)) = (self.chain, live.last().copied()) else { return Vec::new() };
        let gaps = (chain.next..highest).filter(|nonce| !live.contains(nonce)).take(MAX_FILLERS);
        let mut due = Vec::new();
        for account_nonce in gaps {
            // A gap that nobody remembers (after a crash) gets a filler of the lowest class.
            let moot = self.moot.entry(account_nonce).or_insert(Moot { gas_level: 0, sent_at_ms: None });
            if moot.sent_at_ms.is_some_and(|sent_at_ms| now_ms < sent_at_ms.saturating_add(every_ms)) {
                continue;
            }
            moot.gas_level = moot.gas_level.saturating_add(1).min(max_level);
            moot.sent_at_ms = Some(now_ms);
            due.push(Filler { account_nonce, gas_level: moot.gas_level });
        }
        due
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
        let due = nonces.due_fillers(&live, 100, 50, 7);
        assert_eq!(due.iter().map(|f| (f.account_nonce, f.gas_level)).collect::<Vec<_>>(), [(6, 3)]);
        assert!(nonces.due_fillers(&live, 149, 50, 7).is_empty());
        assert_eq!(nonces.due_fillers(&live, 150, 50, 3)[0].gas_level, 3);
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
        assert_eq!(nonces.due_fillers(&BTreeSet::from([6]), 0, 50, 7)[0].account_nonce, 5);
    }
}
