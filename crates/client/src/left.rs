//! Payments that were sent and left: their node did not answer, and somebody else was asked instead or may be; and those that were made beside
//! them. Whoever pays beside them counts them first (`max_unresolved`).
//!
//! Of this process only; what another left behind when it ended is found in the book, because nobody waits for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use candor_verify::bytes::Hash32;

/// The payments of this process that were left. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Left {
    // By nonce, how many say so. Held for one step, never across an await.
    nonces: Arc<Mutex<BTreeMap<Hash32, usize>>>,
}

/// Says that one payment was left, until it is dropped.
#[derive(Debug)]
#[must_use = "the payment counts as left as long as this lives"]
pub(crate) struct LeftBehind {
    left: Left,
    nonce: Hash32,
}

impl Left {
    /// From now on this one counts.
    pub(crate) fn add(&self, nonce: Hash32) -> LeftBehind {
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        let count = nonces.entry(nonce).or_default();
        *count = count.saturating_add(1);
        drop(nonces);
        LeftBehind { left: self.clone(), nonce }
    }

    /// Those that are left now.
    pub(crate) fn now(&self) -> Vec<Hash32> {
        self.nonces.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }
}

impl Drop for LeftBehind {
    fn drop(&mut self) {
        let mut nonces = self.left.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = nonces.get_mut(&self.nonce) {
            *count = count.saturating_sub(1);
        }
        nonces.retain(|_, count| *count != 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payment_counts_as_left_until_the_last_that_says_so_is_gone() {
        let (left, nonce) = (Left::default(), Hash32([1; 32]));
        let (one, other) = (left.add(nonce), left.clone().add(nonce));
        drop(one);
        assert_eq!(left.now(), [nonce]);
        drop(other);
        assert!(left.now().is_empty());
    }
}
