//! Transactions that wait for a block, under geth's rules.
//!
//! Of each sender the nonces that follow the account's without a gap are *pending*: a block may take them. Those behind a gap are
//! *queued* until it is filled. One nonce has one transaction; another takes its place only for a tenth more on both fee and tip.
//! A fee cap below the base fee is no fault: such a transaction waits, and those of its sender behind it.
//!
//! Not here: what makes a transaction valid by itself (`execute::check`), and blocks (`chain::mining`).
//!
//! Invariants: `places` and `senders` name the same transactions; no sender has an empty list; `slots` is the sum over all.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use alloy::consensus::transaction::Recovered;
use alloy::consensus::{Transaction as _, TxEnvelope};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{Address, B256, U256};

use crate::error::ChainError;
use crate::state::AccountRecord;

/// How many transactions wait.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct PoolStatus {
    /// Those that a block may take, if their fee is enough.
    pub pending: usize,
    /// Those behind a nonce gap.
    pub queued: usize,
}

/// The transactions that wait.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    senders: HashMap<Address, BTreeMap<u64, Waiting>>,
    places: HashMap<B256, (Address, u64)>,
    slots: usize,
    arrivals: u64,
}

#[derive(Debug)]
struct Waiting {
    transaction: Recovered<TxEnvelope>,
    slots: usize,
    /// Breaks ties between equal tips: who came first goes first.
    arrival: u64,
}

/// The next transaction of one sender. The greatest is the one that a block takes first: the field order is that of the comparison.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Candidate {
    tip: u128,
    arrival: Reverse<u64>,
    pub(crate) sender: Address,
    pub(crate) nonce: u64,
}

impl Pool {
    /// Takes a transaction that is valid by itself; `account` is its sender at the head.
    pub(crate) fn add(&mut self, transaction: Recovered<TxEnvelope>, account: AccountRecord) -> Result<(), ChainError> {
        let (sender, nonce) = (transaction.signer(), transaction.nonce());
        let slots = slots(&transaction)?;
        if self.places.contains_key(transaction.tx_hash()) {
            return Err(ChainError::AlreadyKnown);
        }
        if nonce < account.nonce {
            return Err(ChainError::NonceTooLow { expected: account.nonce, got: nonce });
        }
        let replaced = self.at(sender, nonce);
        if let Some(old) = replaced {
            check_replacement(&old.transaction, &transaction)?;
        }
        self.check_funds(&transaction, account)?;
        if replaced.is_none()
            && self.next_nonce(sender, account.nonce) < nonce
            && MAX_QUEUED_PER_SENDER <= self.queued(sender, account.nonce)
        {
            return Err(ChainError::PoolFull { what: "transactions of one sender behind a nonce gap", limit: MAX_QUEUED_PER_SENDER });
        }
        let kept = self.slots.saturating_sub(replaced.map_or(0, |old| old.slots));
        if MAX_POOL_SLOTS < kept.saturating_add(slots) {
            return Err(ChainError::PoolFull { what: "slots of 32 KiB", limit: MAX_POOL_SLOTS });
        }
        self.take(sender, nonce);
        self.insert(transaction, slots);
        Ok(())
    }

    pub(crate) fn get(&self, hash: B256) -> Option<&Recovered<TxEnvelope>> {
        let (sender, nonce) = self.places.get(&hash)?;
        Some(&self.at(*sender, *nonce)?.transaction)
    }

    /// Takes the transaction of that hash out.
    pub(crate) fn remove(&mut self, hash: B256) -> Option<Recovered<TxEnvelope>> {
        let (sender, nonce) = *self.places.get(&hash)?;
        self.take(sender, nonce)
    }

    /// Takes the transaction of that sender and nonce out.
    pub(crate) fn take(&mut self, sender: Address, nonce: u64) -> Option<Recovered<TxEnvelope>> {
        let list = self.senders.get_mut(&sender)?;
        let waiting = list.remove(&nonce)?;
        if list.is_empty() {
            self.senders.remove(&sender);
        }
        self.places.remove(waiting.transaction.tx_hash());
        self.slots = self.slots.saturating_sub(waiting.slots);
        Some(waiting.transaction)
    }

    pub(crate) fn senders(&self) -> impl Iterator<Item = Address> {
        self.senders.keys().copied()
    }

    /// The transaction of that sender and nonce as a candidate for a block; none if it is not there or bids less than the base fee.
    pub(crate) fn candidate(&self, sender: Address, nonce: u64, base_fee: u64) -> Option<Candidate> {
        let waiting = self.at(sender, nonce)?;
        let tip = waiting.transaction.effective_tip_per_gas(base_fee)?;
        Some(Candidate { tip, arrival: Reverse(waiting.arrival), sender, nonce })
    }

    pub(crate) fn gas_limit(&self, candidate: Candidate) -> Option<u64> {
        Some(self.at(candidate.sender, candidate.nonce)?.transaction.gas_limit())
    }

    /// The first nonce of `sender`, from that of the account on, that no transaction here has.
    pub(crate) fn next_nonce(&self, sender: Address, account_nonce: u64) -> u64 {
        let Some(list) = self.senders.get(&sender) else { return account_nonce };
        let mut next = account_nonce;
        for (nonce, _) in list.range(account_nonce..) {
            if *nonce != next {
                break;
            }
            next = next.saturating_add(1);
        }
        next
    }

    pub(crate) fn status(&self, nonce_of: impl Fn(Address) -> u64) -> PoolStatus {
        let queued = self.senders().map(|sender| self.queued(sender, nonce_of(sender))).sum();
        PoolStatus { pending: self.places.len().saturating_sub(queued), queued }
    }

    /// Drops what can be in no block any more: nonces that are used, and costs that the sender cannot pay.
    pub(crate) fn forget_unusable(&mut self, account_of: impl Fn(Address) -> AccountRecord) {
        let mut unusable = Vec::new();
        for (sender, list) in &self.senders {
            let account = account_of(*sender);
            let is_unusable = |(nonce, waiting): &(&u64, &Waiting)| **nonce < account.nonce || account.balance < cost(&waiting.transaction);
            unusable.extend(list.iter().filter(is_unusable).map(|(nonce, _)| (*sender, *nonce)));
        }
        for (sender, nonce) in unusable {
            self.take(sender, nonce);
        }
    }

    fn at(&self, sender: Address, nonce: u64) -> Option<&Waiting> {
        self.senders.get(&sender)?.get(&nonce)
    }

    fn insert(&mut self, transaction: Recovered<TxEnvelope>, slots: usize) {
        let (sender, nonce) = (transaction.signer(), transaction.nonce());
        self.places.insert(*transaction.tx_hash(), (sender, nonce));
        self.slots = self.slots.saturating_add(slots);
        let waiting = Waiting { transaction, slots, arrival: self.arrivals };
        self.arrivals = self.arrivals.saturating_add(1);
        self.senders.entry(sender).or_default().insert(nonce, waiting);
    }

    /// How many of the sender's transactions are behind a gap.
    fn queued(&self, sender: Address, account_nonce: u64) -> usize {
        let next = self.next_nonce(sender, account_nonce);
        self.senders.get(&sender).map_or(0, |list| list.range(next..).count())
    }

    /// As in geth: the sender must be able to pay this transaction and all that are pending, but for the one it replaces.
    fn check_funds(&self, transaction: &Recovered<TxEnvelope>, account: AccountRecord) -> Result<(), ChainError> {
        let (sender, nonce) = (transaction.signer(), transaction.nonce());
        let next = self.next_nonce(sender, account.nonce);
        let pending = self.senders.get(&sender).into_iter().flat_map(|list| list.range(account.nonce..next));
        let others = pending.filter(|(other, _)| **other != nonce).map(|(_, waiting)| cost(&waiting.transaction));
        let needed = others.fold(cost(transaction), U256::saturating_add);
        if account.balance < needed {
            return Err(ChainError::InsufficientFunds { needed, balance: account.balance });
        }
        Ok(())
    }
}

/// The most that a transaction may take from its sender, in wei.
fn cost(transaction: &TxEnvelope) -> U256 {
    let gas = U256::from(transaction.gas_limit()).saturating_mul(U256::from(transaction.max_fee_per_gas()));
    gas.saturating_add(transaction.value())
}

/// geth's price bump: both fee cap and tip must be above the old ones, by a tenth.
fn check_replacement(old: &TxEnvelope, new: &TxEnvelope) -> Result<(), ChainError> {
    let outbids = |old: u128, new: u128| old < new && old.saturating_add(old / PRICE_BUMP_DIVISOR) <= new;
    if outbids(old.max_fee_per_gas(), new.max_fee_per_gas()) && outbids(old.priority_fee_or_price(), new.priority_fee_or_price()) {
        return Ok(());
    }
    Err(ChainError::ReplacementUnderpriced)
}

fn slots(transaction: &TxEnvelope) -> Result<usize, ChainError> {
    let got = transaction.encode_2718_len();
    if MAX_POOLED_BYTES < got {
        return Err(ChainError::OversizedTransaction { limit: MAX_POOLED_BYTES, got });
    }
    Ok(got.div_ceil(SLOT_BYTES))
}

/// The most that waits, in slots of 32 KiB (a small transaction takes one): 128 MiB.
pub const MAX_POOL_SLOTS: usize = 4096;

/// The most transactions of one sender behind a nonce gap, as in geth.
pub const MAX_QUEUED_PER_SENDER: usize = 64;

/// The largest transaction that waits, as in geth.
const MAX_POOLED_BYTES: usize = 4 * SLOT_BYTES;

const SLOT_BYTES: usize = 32 * 1024;

/// A tenth.
const PRICE_BUMP_DIVISOR: u128 = 10;
