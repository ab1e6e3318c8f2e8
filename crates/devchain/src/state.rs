//! Accounts and storage, with every earlier version kept.
//!
//! Each write is stamped with a revision; each block remembers the revision it ended at. Reading "as of block N" is then a
//! binary search and a snapshot is one number, so historical calls and `evm_revert` need no copies. Versions are never
//! thrown away: a development chain lives minutes, in memory, and is not persisted.
//!
//! Not here: execution (`execute`), blocks (`ledger`).
//!
//! Invariants: versions of one value are in ascending revision order, at most one per revision; every code hash that an
//! account names is in `codes` or is the hash of nothing.

use std::collections::HashMap;
use std::convert::Infallible;

use alloy::primitives::{Address, B256, KECCAK256_EMPTY, U256};
use revm::Database;
use revm::bytecode::Bytecode;
use revm::state::{AccountInfo, EvmState};

use crate::ledger::Ledger;

/// A point in the history of writes.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Revision(u64);

/// What an account is, apart from its storage.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct AccountRecord {
    pub(crate) balance: U256,
    pub(crate) nonce: u64,
    pub(crate) code_hash: B256,
}

impl Default for AccountRecord {
    fn default() -> Self {
        Self { balance: U256::ZERO, nonce: 0, code_hash: KECCAK256_EMPTY }
    }
}

/// All accounts at all revisions.
#[derive(Debug, Default)]
pub(crate) struct State {
    accounts: HashMap<Address, AccountHistory>,
    codes: HashMap<B256, Bytecode>,
    revision: Revision,
}

impl State {
    pub(crate) const fn revision(&self) -> Revision {
        self.revision
    }

    /// Opens the next revision: writes from here on are newer than everything before.
    pub(crate) const fn advance(&mut self) {
        self.revision.0 = self.revision.0.saturating_add(1);
    }

    /// Forgets every write after `revision`.
    pub(crate) fn rewind(&mut self, revision: Revision) {
        self.accounts.retain(|_, account| {
            account.record.rewind(revision);
            account.storage.retain(|_, slot| {
                slot.rewind(revision);
                !slot.is_empty()
            });
            !(account.record.is_empty() && account.storage.is_empty())
        });
        self.revision = revision;
    }

    /// The account as of `revision`, `None` if it did not exist.
    pub(crate) fn account(&self, address: Address, revision: Revision) -> Option<AccountRecord> {
        *self.accounts.get(&address)?.record.at(revision)?
    }

    pub(crate) fn storage(&self, address: Address, slot: U256, revision: Revision) -> U256 {
        self.accounts.get(&address).and_then(|account| account.storage.get(&slot)?.at(revision)).copied().unwrap_or_default()
    }

    pub(crate) fn code(&self, code_hash: B256) -> Bytecode {
        self.codes.get(&code_hash).cloned().unwrap_or_default()
    }

    pub(crate) fn set_account(&mut self, address: Address, record: Option<AccountRecord>) {
        let revision = self.revision;
        self.accounts.entry(address).or_default().record.set(revision, record);
    }

    pub(crate) fn set_storage(&mut self, address: Address, slot: U256, value: U256) {
        let revision = self.revision;
        let storage = &mut self.accounts.entry(address).or_default().storage;
        storage.entry(slot).or_default().set(revision, value);
    }

    /// Keeps `code` and returns the hash to put into an [`AccountRecord`].
    pub(crate) fn keep_code(&mut self, code: Bytecode) -> B256 {
        if code.is_empty() {
            return KECCAK256_EMPTY;
        }
        let hash = code.hash_slow();
        self.codes.entry(hash).or_insert(code);
        hash
    }

    /// Writes what one executed transaction changed.
    pub(crate) fn apply(&mut self, changes: EvmState) {
        for (address, account) in changes {
            if !account.is_touched() {
                continue;
            }
            // Since Cancun an account is destroyed only in the transaction that created it.
            if account.is_selfdestructed() {
                self.clear_storage(address);
                self.set_account(address, None);
                continue;
            }
            if account.is_created() {
                self.clear_storage(address);
            }
            let info = account.info;
            let code_hash = match info.code {
                Some(code) => self.keep_code(code),
                None => info.code_hash,
            };
            let record = AccountRecord { balance: info.balance, nonce: info.nonce, code_hash };
            // EIP-161: a touched account with nothing in it does not exist.
            let exists = record != AccountRecord::default();
            self.set_account(address, exists.then_some(record));
            for (slot, value) in account.storage {
                if value.is_changed() {
                    self.set_storage(address, slot, value.present_value);
                }
            }
        }
    }

    fn clear_storage(&mut self, address: Address) {
        let revision = self.revision;
        if let Some(account) = self.accounts.get_mut(&address) {
            for slot in account.storage.values_mut() {
                slot.set(revision, U256::ZERO);
            }
        }
    }
}

/// The state as of one revision, readable by the EVM.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StateView<'a> {
    pub(crate) state: &'a State,
    pub(crate) revision: Revision,
    /// For `BLOCKHASH`; the EVM itself enforces the window of 256 blocks.
    pub(crate) ledger: &'a Ledger,
}

impl StateView<'_> {
    pub(crate) fn account(&self, address: Address) -> AccountRecord {
        self.state.account(address, self.revision).unwrap_or_default()
    }

    pub(crate) fn storage(&self, address: Address, slot: U256) -> U256 {
        self.state.storage(address, slot, self.revision)
    }

    pub(crate) fn code(&self, address: Address) -> Bytecode {
        self.state.code(self.account(address).code_hash)
    }
}

impl Database for StateView<'_> {
    type Error = Infallible;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Infallible> {
        let Some(record) = self.state.account(address, self.revision) else {
            return Ok(None);
        };
        let code = self.state.code(record.code_hash);
        let info = AccountInfo::new(record.balance, record.nonce, record.code_hash, code);
        Ok(Some(info))
    }

    fn code_by_hash(&mut self, code_hash: B256) -> Result<Bytecode, Infallible> {
        Ok(self.state.code(code_hash))
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, Infallible> {
        Ok(self.state.storage(address, slot, self.revision))
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, Infallible> {
        Ok(self.ledger.block(number).map(|block| block.hash).unwrap_or_default())
    }
}

#[derive(Debug, Default)]
struct AccountHistory {
    record: History<Option<AccountRecord>>,
    storage: HashMap<U256, History<U256>>,
}

/// The versions of one value, oldest first.
#[derive(Debug)]
struct History<T> {
    versions: Vec<(Revision, T)>,
}

impl<T: PartialEq> History<T> {
    fn at(&self, revision: Revision) -> Option<&T> {
        let (_, value) = self.versions.get(..self.count_until(revision))?.last()?;
        Some(value)
    }

    /// Records `value`; a second write in one revision replaces the first.
    fn set(&mut self, revision: Revision, value: T) {
        match self.versions.last_mut() {
            Some((last, slot)) if *last == revision => *slot = value,
            Some((_, last)) if *last == value => {}
            _ => self.versions.push((revision, value)),
        }
    }

    fn rewind(&mut self, revision: Revision) {
        self.versions.truncate(self.count_until(revision));
    }

    const fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }

    fn count_until(&self, revision: Revision) -> usize {
        self.versions.partition_point(|(at, _)| *at <= revision)
    }
}

impl<T> Default for History<T> {
    fn default() -> Self {
        Self { versions: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: Address = Address::with_last_byte(1);

    fn balance(wei: u64) -> Option<AccountRecord> {
        Some(AccountRecord { balance: U256::from(wei), ..AccountRecord::default() })
    }

    #[test]
    fn each_revision_keeps_its_own_values() {
        let mut state = State::default();
        let before = state.revision();
        state.advance();
        state.set_account(WHO, balance(1));
        let first = state.revision();
        state.advance();
        state.set_account(WHO, balance(2));
        state.set_storage(WHO, U256::ZERO, U256::from(7));
        let second = state.revision();

        assert_eq!(state.account(WHO, before), None);
        assert_eq!(state.account(WHO, first), balance(1));
        assert_eq!(state.account(WHO, second), balance(2));
        assert_eq!(state.storage(WHO, U256::ZERO, first), U256::ZERO);
        assert_eq!(state.storage(WHO, U256::ZERO, second), U256::from(7));
    }

    #[test]
    fn rewinding_forgets_later_writes_and_only_those() {
        let mut state = State::default();
        state.advance();
        state.set_account(WHO, balance(1));
        let first = state.revision();
        state.advance();
        state.set_account(WHO, balance(2));
        state.set_storage(WHO, U256::ZERO, U256::from(7));
        state.rewind(first);
        state.advance();

        assert_eq!(state.account(WHO, state.revision()), balance(1));
        assert_eq!(state.storage(WHO, U256::ZERO, state.revision()), U256::ZERO);
    }
}
