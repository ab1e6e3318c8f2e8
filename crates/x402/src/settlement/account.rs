//! How many transactions of the gas key the chain has: what separates an account nonce that is used from one that is not.
//!
//! Endpoints lag behind each other and chains reorganise, so the number is believed when it grows, and when it shrinks only after a while.

/// Answers in a row that must go back before one is believed: a node that lags catches up before, and a wrong belief costs one transaction
/// that is refused.
const BACK_AFTER: u8 = 20;

/// What is known of the account nonce of one gas key.
#[derive(Debug, Default)]
pub(super) struct GasAccount {
    known: Option<Known>,
    /// Answers in a row that went back.
    back: u8,
}

/// The first nonce that the chain has not used, and a block by which that was so.
#[derive(Clone, Copy, Debug)]
struct Known {
    next: u64,
    block: u64,
}

impl GasAccount {
    /// The chain says that `next` is the first unused nonce. A number that goes back is ignored at first: some nodes lag. Said again and
    /// again by later blocks it is true: a block with a transaction of ours was taken out, or an endpoint had invented it. Without the
    /// numbers in between nothing could land any more.
    pub(super) fn learn(&mut self, next: u64, block: u64) {
        let goes_back = self.known.is_some_and(|known| next < known.next && known.block < block);
        self.back = if goes_back { self.back.saturating_add(1) } else { 0 };
        if BACK_AFTER <= self.back {
            self.known = None;
        }
        self.raise_to(next, block);
    }

    /// A transaction of ours with this nonce is in this block, for good.
    pub(super) fn learn_of_block(&mut self, account_nonce: u64, block: u64) {
        self.raise_to(account_nonce.saturating_add(1), block);
    }

    /// The first nonce that the chain has not used; `None` while it is unknown.
    pub(super) fn next(&self) -> Option<u64> {
        self.known.map(|known| known.next)
    }

    /// Whether the chain has used this nonce.
    pub(super) fn is_used(&self, account_nonce: u64) -> bool {
        self.is_used_by(account_nonce, u64::MAX)
    }

    /// Whether the chain has used this nonce, by a block at or before `block`.
    pub(super) fn is_used_by(&self, account_nonce: u64, block: u64) -> bool {
        self.known.is_some_and(|known| account_nonce < known.next && known.block <= block)
    }

    fn raise_to(&mut self, next: u64, block: u64) {
        if self.known.is_none_or(|known| known.next < next) {
            self.known = Some(Known { next, block });
            self.back = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_goes_back_is_believed_when_later_blocks_insist() {
        let mut account = GasAccount::default();
        account.learn(5, 10);
        account.learn_of_block(5, 11);
        for block in 12..(11 + u64::from(BACK_AFTER)) {
            account.learn(5, block);
            assert!(account.is_used(5), "block {block}");
        }
        // One answer that agrees, and the count begins again; the block of what is known says nothing new.
        account.learn(6, 40);
        for _ in 0..100 {
            account.learn(5, 11);
        }
        for block in 41..(41 + u64::from(BACK_AFTER)) {
            assert!(account.is_used(5), "block {block}");
            account.learn(5, block);
        }
        assert!(!account.is_used(5) && account.is_used(4));
        assert_eq!(account.next(), Some(5));
    }

    #[test]
    fn a_nonce_is_used_from_the_block_on_that_showed_it() {
        let mut account = GasAccount::default();
        assert!(account.next().is_none() && !account.is_used(0));
        account.learn(5, 10);
        account.learn(4, 11);
        assert!(account.is_used(4) && account.is_used_by(4, 10) && !account.is_used_by(4, 9) && !account.is_used(5));
    }
}
