//! Payers that were just found without the money: refused for a few seconds without a question to the chain.
//!
//! A signed payment costs its sender nothing, and each question about it costs the operator's RPC. So an answer "has too little" holds for
//! a moment, also for the next payment of the same payer. Not here: what is too little (`claims`).

use std::collections::{BTreeMap, BTreeSet};

use crate::claims::{Account, Balance};
use candor_verify::time::UnixSeconds;

/// How long an answer holds: long against a loop of requests, short against a payer who gets money and tries again.
pub(crate) const POOR_SECONDS: u64 = 3;

/// Payers remembered at most. More only means more questions.
const MAX_POOR: usize = 4_096;

/// What the chain last said of payers that had too little.
#[derive(Debug, Default)]
pub(crate) struct PoorPayers {
    found: BTreeMap<Account, (UnixSeconds, Balance)>,
    // Invariant: one element per element of `found`.
    by_age: BTreeSet<(UnixSeconds, Account)>,
}

impl PoorPayers {
    /// Remembers an answer, in the place of an older one.
    pub(crate) fn remember(&mut self, account: Account, balance: Balance, now: UnixSeconds) {
        if let Some((since, _)) = self.found.insert(account, (now, balance)) {
            self.by_age.remove(&(since, account));
        }
        self.by_age.insert((now, account));
        while MAX_POOR < self.found.len() {
            let Some((_, oldest)) = self.by_age.pop_first() else { return };
            self.found.remove(&oldest);
        }
    }

    /// What was answered a moment ago.
    pub(crate) fn balance(&self, account: &Account, now: UnixSeconds) -> Option<Balance> {
        let (since, balance) = self.found.get(account)?;
        (now < since.saturating_add(POOR_SECONDS)).then_some(*balance)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        assert_eq!(self.found.len(), self.by_age.len());
        self.found.len()
    }
}

#[cfg(test)]
mod tests {
    use candor_verify::bytes::{Address, Amount};

    use super::*;
    use crate::claims::{Funds, Sums};

    fn account(n: usize) -> Account {
        let mut payer = [0; 20];
        payer[..8].copy_from_slice(&(n as u64).to_be_bytes());
        Account { payer: Address(payer), chain_id: 1, asset: Address([1; 20]) }
    }

    #[test]
    fn a_stranger_with_many_accounts_fills_no_memory_and_the_youngest_answers_stay() {
        let mut poor = PoorPayers::default();
        for n in 0..(3 * MAX_POOR) {
            poor.remember(
                account(n),
                Balance::new(Funds { balance: Amount(1), ..Funds::default() }, Sums::default()),
                UnixSeconds(n as u64),
            );
            poor.remember(
                account(n),
                Balance::new(Funds { balance: Amount(2), ..Funds::default() }, Sums::default()),
                UnixSeconds(n as u64),
            );
        }
        assert_eq!(poor.len(), MAX_POOR);
        let last = 3 * MAX_POOR - 1;
        assert!(poor.balance(&account(last), UnixSeconds(last as u64)).is_some());
        assert!(poor.balance(&account(last), UnixSeconds(last as u64 + POOR_SECONDS)).is_none());
        assert!(poor.balance(&account(last - MAX_POOR), UnixSeconds(0)).is_none());
    }
}
