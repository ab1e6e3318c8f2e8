//! How much work that nobody pays for is let in at once: all of it together, and of it one share for each key and each address.
//!
//! Counted from the moment at which a request is let in until its answer has ended, whether it waits or runs. What is beyond is told to come
//! again; nothing of it waits here. An address is the host's word: a lie costs service, which the host can take anyway.
//!
//! Not here: who goes first (`queue`), who stays connected (`places`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candor_link::Party;

/// Who asks for work without paying for it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Who {
    /// Whoever has this key, by its place in the terms.
    Key(usize),
    /// Anybody, at this address.
    Address(Party),
}

/// How many at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShareLimits {
    pub(crate) all: usize,
    pub(crate) per_key: usize,
    pub(crate) per_address: usize,
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Full {
    /// This node does as much for nothing as it does.
    All,
    /// This key, or this address, has its share.
    Share,
}

/// What is let in.
#[derive(Debug)]
pub(crate) struct Shares {
    limits: ShareLimits,
    // Invariant: no zeros, and their sum is at most `limits.all`.
    held: Arc<Mutex<HashMap<Who, usize>>>,
}

/// One request that was let in. Dropped, it makes room.
#[derive(Debug)]
#[must_use]
pub(crate) struct Share {
    held: Arc<Mutex<HashMap<Who, usize>>>,
    who: Who,
}

impl Shares {
    pub(crate) fn new(limits: ShareLimits) -> Self {
        Self { limits, held: Arc::default() }
    }

    pub(crate) fn enter(&self, who: Who) -> Result<Share, Full> {
        let mut held = lock(&self.held);
        let limit = match who {
            Who::Key(_) => self.limits.per_key,
            Who::Address(_) => self.limits.per_address,
        };
        let (has, all) = (held.get(&who).copied().unwrap_or_default(), held.values().sum::<usize>());
        // The share first: who has theirs is told so, also where the rest is full.
        if limit <= has {
            return Err(Full::Share);
        }
        if self.limits.all <= all {
            return Err(Full::All);
        }
        held.insert(who, has.saturating_add(1));
        Ok(Share { held: Arc::clone(&self.held), who })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        match held.get_mut(&self.who) {
            Some(has @ 2..) => *has = has.saturating_sub(1),
            Some(_) | None => drop(held.remove(&self.who)),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_and_each_address_has_its_share_and_all_together_have_no_more() {
        let shares = Shares::new(ShareLimits { all: 4, per_key: 2, per_address: 1 });
        let (address, other) = (Who::Address(Party([1; 8])), Who::Address(Party([2; 8])));
        let first = shares.enter(address).unwrap();
        assert_eq!(shares.enter(address).unwrap_err(), Full::Share);
        let keys = [shares.enter(Who::Key(0)).unwrap(), shares.enter(Who::Key(0)).unwrap()];
        assert_eq!(shares.enter(Who::Key(0)).unwrap_err(), Full::Share);
        let last = shares.enter(Who::Key(1)).unwrap();
        assert_eq!(shares.enter(other).unwrap_err(), Full::All);
        // What ended makes room, and nothing is remembered of who left.
        drop(first);
        drop(shares.enter(other).unwrap());
        drop((keys, last));
        assert!(lock(&shares.held).is_empty());
    }
}
