//! The lane of one gas key: its transactions in the order of their account nonces, with their rows.
//!
//! A transaction waits in every node until all lower account nonces are used. So one that may be out and whose payment ended otherwise
//! (somebody else settled it, it expired) cannot be dropped: it loses its row and becomes a *filler*, which uses its account nonce up and
//! does nothing else. So does a gap that nobody remembers after a crash.

use std::collections::BTreeMap;
use std::ops::Bound;

use candor_verify::bytes::Hash32;

use super::account::GasAccount;
use super::config::MachineConfig;
use super::event::{BroadcastOutcome, Simulation};
use super::store::Slot;
use super::transaction::{Told, Transaction};

/// Which transaction. Two have the same account nonce only after a crash between the write of the payment that got it and of the one that
/// gave it up: both stay until the chain has used it, and one of them is sent.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct TxKey {
    pub(super) account_nonce: u64,
    /// Counts the transactions of this machine, so that a late answer about an earlier one is not taken for one about this one.
    pub(super) serial: u32,
}

/// The transactions of one gas key.
#[derive(Debug, Default)]
pub(super) struct Lane {
    account: GasAccount,
    transactions: BTreeMap<TxKey, Transaction>,
    last_serial: u32,
}

impl Lane {
    /// The chain says that `next` is the first account nonce that it has not used.
    pub(super) fn learn(&mut self, next: u64, block: u64) {
        self.account.learn(next, block);
        self.forget_used_fillers();
    }

    /// A new transaction for this payment, with the lowest account nonce that nobody has; `None` while the chain's is unknown.
    pub(super) fn give(&mut self, row: Hash32, passed_ms: u64) -> Option<TxKey> {
        let account_nonce = self.lowest_free()?;
        Some(self.insert(account_nonce, Transaction::new(row, passed_ms)))
    }

    /// A transaction that a record names.
    pub(super) fn restore(&mut self, row: Hash32, slot: &Slot) -> TxKey {
        self.insert(slot.account_nonce, Transaction::restored(row, slot))
    }

    /// A transaction that a record names whose payment is over.
    pub(super) fn restore_filler(&mut self, slot: &Slot, max_level: u8) {
        let gas_level = slot.gas_level.saturating_add(1).min(max_level);
        self.insert(slot.account_nonce, Transaction::filler(gas_level));
    }

    pub(super) fn get(&self, key: TxKey) -> Option<&Transaction> {
        self.transactions.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: TxKey) -> Option<&mut Transaction> {
        self.transactions.get_mut(&key)
    }

    /// What the record of a row says of its transaction.
    pub(super) fn slot(&self, key: TxKey, attempts: u8) -> Option<Slot> {
        let transaction = self.get(key)?;
        let hashes = transaction.hashes().to_vec();
        Some(Slot { account_nonce: key.account_nonce, gas_level: transaction.gas_level(), attempts, hashes })
    }

    /// Whether the chain has used its account nonce.
    pub(super) fn is_used(&self, key: TxKey) -> bool {
        self.account.is_used(key.account_nonce)
    }

    /// Whether the chain has used its account nonce, by a block at or before this one.
    pub(super) fn is_used_by(&self, key: TxKey, block: u64) -> bool {
        self.account.is_used_by(key.account_nonce, block)
    }

    /// It is in this block, for good.
    pub(super) fn on_deep(&mut self, key: TxKey, block: u64) {
        self.account.learn_of_block(key.account_nonce, block);
        self.forget_used_fillers();
    }

    /// Nothing of it can land any more, or nobody ever had it: its account nonce is used, or free.
    pub(super) fn drop(&mut self, key: TxKey) {
        self.transactions.remove(&key);
    }

    /// Its row is over. What nobody has is free for others at once; what may be out must be used up first.
    pub(super) fn abandon(&mut self, key: TxKey, max_level: u8) {
        match self.transactions.get_mut(&key) {
            Some(transaction) if transaction.may_be_out() && !self.account.is_used(key.account_nonce) => transaction.lose_row(max_level),
            Some(_) | None => self.drop(key),
        }
    }

    /// What became of handing one out; gives what that means to its rows.
    pub(super) fn on_outcome(&mut self, key: TxKey, gas_level: u8, outcome: BroadcastOutcome, now_ms: u64, config: &MachineConfig) -> Told {
        let (from, to) = (TxKey { serial: 0, ..key }, TxKey { serial: u32::MAX, ..key });
        match outcome {
            BroadcastOutcome::Sent { .. } => {
                let above = (Bound::Excluded(to), Bound::Unbounded);
                self.transactions.range_mut(above).for_each(|(_, transaction)| transaction.on_sent_below());
            }
            BroadcastOutcome::NonceTooHigh => self.transactions.range_mut(..from).for_each(|(_, transaction)| transaction.on_gap_above()),
            _ => {}
        }
        self.get_mut(key).map_or(Told::Nothing, |transaction| transaction.on_outcome(gas_level, outcome, now_ms, config))
    }

    /// The filler with this account nonce.
    pub(super) fn filler(&self, account_nonce: u64) -> Option<TxKey> {
        self.with_nonce(account_nonce).find(|(_, transaction)| !transaction.has_rows()).map(|(key, _)| key)
    }

    /// Transactions with rows: each of them may be wanted in a block, or in a deeper one.
    pub(super) fn len_with_rows(&self) -> usize {
        self.with_rows().count()
    }

    /// How many more may be given out now.
    pub(super) fn room(&self, config: &MachineConfig) -> usize {
        if self.account.next().is_none() {
            return 0;
        }
        let all = self.len_with_rows();
        let in_block = self.with_rows().filter(|(_, transaction)| transaction.is_in_block()).count();
        let in_flight = all.saturating_sub(in_block);
        config.max_unsafe.saturating_sub(all).min(config.max_in_flight.saturating_sub(in_flight))
    }

    /// The transactions whose turn it is, in the order of their account nonces, up to the first with which no node was reached: what comes
    /// after a gap is not kept everywhere. A gap gets a new filler, and what is above the highest row is nobody's concern.
    pub(super) fn due(&mut self, now_ms: u64, config: &MachineConfig) -> Vec<TxKey> {
        let mut due = Vec::new();
        let highest = self.with_rows().next_back().map(|(key, _)| key.account_nonce);
        let (Some(first), Some(highest)) = (self.account.next(), highest) else { return due };
        let from = TxKey { account_nonce: first, serial: 0 };
        let mut rest = self.transactions.range(from..).peekable();
        // The walk is no longer than the list of those that may be unsafe.
        for account_nonce in first..=highest {
            let mut sender: Option<(&TxKey, &Transaction)> = None;
            while let Some(found) = rest.next_if(|(key, _)| key.account_nonce == account_nonce) {
                if sender.is_none_or(|(_, sender)| !sender.has_rows() && found.1.has_rows()) {
                    sender = Some(found);
                }
            }
            let Some((key, transaction)) = sender else {
                due.push(self.insert(account_nonce, Transaction::filler(0)));
                break;
            };
            if transaction.awaits_turn(now_ms) || (!transaction.has_rows() && transaction.is_late(now_ms, config)) {
                due.push(*key);
            }
            if !transaction.has_reached_node() {
                break;
            }
        }
        due
    }

    /// Hands out a transaction if it awaits its turn; gives its price and whether the call is to be tried before.
    pub(super) fn hand_out(&mut self, key: TxKey, now_ms: u64, config: &MachineConfig) -> Option<(u8, Simulation)> {
        let transaction = self.get_mut(key)?;
        if !transaction.has_rows() && transaction.is_late(now_ms, config) {
            transaction.send_again(config.max_gas_level);
        }
        let simulation = transaction.hand_out(now_ms, config)?;
        Some((transaction.gas_level(), simulation))
    }

    fn insert(&mut self, account_nonce: u64, transaction: Transaction) -> TxKey {
        self.last_serial = self.last_serial.wrapping_add(1);
        let key = TxKey { account_nonce, serial: self.last_serial };
        self.transactions.insert(key, transaction);
        key
    }

    fn lowest_free(&self) -> Option<u64> {
        let mut free = self.account.next()?;
        let from = TxKey { account_nonce: free, serial: 0 };
        for key in self.transactions.range(from..).map(|(key, _)| key) {
            if free < key.account_nonce {
                break;
            }
            free = key.account_nonce.checked_add(1)?;
        }
        Some(free)
    }

    fn forget_used_fillers(&mut self) {
        let account = &self.account;
        self.transactions.retain(|key, transaction| transaction.has_rows() || !account.is_used(key.account_nonce));
    }

    fn with_rows(&self) -> impl DoubleEndedIterator<Item = (TxKey, &Transaction)> {
        self.transactions.iter().map(|(key, transaction)| (*key, transaction)).filter(|(_, transaction)| transaction.has_rows())
    }

    fn with_nonce(&self, account_nonce: u64) -> impl Iterator<Item = (TxKey, &Transaction)> {
        let all = TxKey { account_nonce, serial: 0 }..=TxKey { account_nonce, serial: u32::MAX };
        self.transactions.range(all).map(|(key, transaction)| (*key, transaction))
    }
}

#[cfg(test)]
mod tests {
    use candor_verify::bytes::Address;

    use super::*;

    fn config() -> MachineConfig {
        MachineConfig { poll_ms: 20, bump_after_ms: 50, max_gas_level: 3, ..MachineConfig::new(1, Address([1; 20])) }
    }

    fn row(n: u8) -> Hash32 {
        Hash32([n; 32])
    }

    fn slot(account_nonce: u64, gas_level: u8) -> Slot {
        Slot { account_nonce, gas_level, attempts: 0, hashes: vec![] }
    }

    #[test]
    fn account_nonces_are_given_from_the_lowest_that_nobody_has() {
        let mut lane = Lane::default();
        assert_eq!(lane.give(row(1), 0), None);
        lane.learn(5, 10);
        lane.restore(row(1), &slot(5, 0));
        lane.restore(row(2), &slot(7, 0));
        lane.restore(row(3), &slot(7, 0));
        lane.restore_filler(&slot(3, 0), 3);
        lane.restore_filler(&slot(9, 0), 3);
        let given: Vec<_> = (4..8).map(|n| lane.give(row(n), 0).unwrap().account_nonce).collect();
        assert_eq!(given, [6, 8, 10, 11]);
        assert_eq!((lane.len_with_rows(), lane.with_rows().next_back().map(|(key, _)| key.account_nonce)), (7, Some(11)));
    }

    #[test]
    fn what_may_be_out_is_used_up_by_a_filler_that_pays_more_and_what_nobody_has_is_free() {
        let (mut lane, config) = (Lane::default(), config());
        lane.learn(5, 10);
        let (first, second) = (lane.give(row(1), 0).unwrap(), lane.give(row(2), 0).unwrap());
        assert_eq!(lane.hand_out(first, 10, &config), Some((0, Simulation::Skip)));
        lane.abandon(first, config.max_gas_level);
        lane.abandon(second, config.max_gas_level);
        assert!(lane.get(second).is_none() && lane.due(10, &config).is_empty());
        assert_eq!(lane.give(row(3), 0).unwrap().account_nonce, 6);
        assert_eq!((lane.due(10, &config), lane.filler(5)), (vec![first], Some(first)));
        // Sent at once, and each time that it is late one class higher, up to the highest.
        let mut sent = vec![];
        for now_ms in 20..250 {
            for tx in lane.due(now_ms, &config) {
                sent.push((now_ms, lane.hand_out(tx, now_ms, &config).unwrap().0));
            }
        }
        assert_eq!(sent, [(20, 1), (70, 2), (120, 3), (170, 3), (220, 3)]);
        // What a node refuses because of a gap is sent again soon, at the same price.
        assert!(!lane.get(first).unwrap().has_reached_node());
        lane.on_outcome(first, 3, BroadcastOutcome::NonceTooHigh, 230, &config);
        assert_eq!((lane.due(249, &config), lane.due(250, &config)), (vec![], vec![first]));
        assert_eq!(lane.hand_out(first, 250, &config), Some((3, Simulation::Skip)));
        lane.on_outcome(first, 3, BroadcastOutcome::NonceTooLow, 250, &config);
        assert_eq!(lane.due(250, &config).len(), 1, "the one above it");
        lane.learn(6, 11);
        assert!(lane.get(first).is_none());
    }

    #[test]
    fn a_gap_gets_a_filler_of_the_lowest_price() {
        let (mut lane, config) = (Lane::default(), config());
        lane.learn(5, 10);
        lane.restore(row(1), &slot(6, 0));
        let filler = lane.due(0, &config);
        assert_eq!((filler[0].account_nonce, lane.hand_out(filler[0], 0, &config)), (5, Some((0, Simulation::Skip))));
        assert!(lane.due(0, &config).is_empty());
    }

    #[test]
    fn of_two_payments_with_one_account_nonce_the_one_that_is_not_over_is_sent() {
        let mut lane = Lane::default();
        lane.learn(5, 10);
        let (first, second) = (lane.restore(row(1), &slot(5, 0)), lane.restore(row(2), &slot(5, 0)));
        let word = |lane: &mut Lane| [first, second].map(|tx| lane.get_mut(tx).unwrap().on_rows_unsettled());
        word(&mut lane);
        assert_eq!(lane.due(0, &config()), [first]);
        lane.abandon(first, 3);
        assert_eq!(lane.due(0, &config()), [second]);
        lane.restore(row(3), &slot(6, 0));
        lane.abandon(second, 3);
        assert_eq!(lane.due(0, &config()), [first]);
    }
}
