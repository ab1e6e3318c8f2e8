//! The development chain itself: a state, a ledger of blocks and a clock, all in memory.
//!
//! Each accepted transaction is executed at once and becomes a block of its own. The methods here are the Rust door, used by
//! tests and the CLI; `rpc` is the JSON door over the same object.
//!
//! Not here, on purpose: a transaction pool (a nonce gap is an error), persistence (when the process ends the chain is
//! gone), real consensus, a state root. A reorganisation can be played with [`DevChain::snapshot`], [`DevChain::revert`] and
//! other blocks.
//!
//! Invariants: the time the EVM sees in a block is the time in its header; the hash `BLOCKHASH` gives is the hash the RPC
//! reports; a block is either wholly in (state, receipt, indexes) or not at all.

use alloy::consensus::transaction::{Recovered, SignerRecoverable};
use alloy::consensus::{Transaction as _, TxEnvelope};
use alloy::eips::eip2718::Decodable2718;
use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::rpc::types::TransactionRequest;
use revm::bytecode::Bytecode;
use revm::context::result::{ExecutionResult, HaltReason};

use crate::clock::{ChainClock, MAX_TIMESTAMP};
use crate::config::{Config, ConfigError, check_chain_id, check_genesis};
use crate::error::ChainError;
use crate::execute::{CALL_GAS_CAP, Rules, TRANSACTION_GAS_CAP, call_tx, execute, output, signed_tx};
use crate::fault::Fault;
use crate::ledger::{Block, BlockPlan, Ledger, Outcome};
use crate::state::{AccountRecord, Revision, State, StateView};

/// An EVM chain in memory, for development and tests only.
///
/// # Examples
/// ```
/// use candor_devchain::{Config, ConfigError, DevChain};
/// let chain = DevChain::new(Config::default().with_dev_accounts())?;
/// assert_eq!(chain.head().number, 0);
///
/// let pretender = Config { chain_id: 1, ..Config::default() };
/// assert!(matches!(DevChain::new(pretender), Err(ConfigError::Mainnet { .. })));
/// # Ok::<(), ConfigError>(())
/// ```
#[derive(Debug)]
pub struct DevChain {
    chain_id: u64,
    state: State,
    ledger: Ledger,
    clock: ChainClock,
    snapshots: Vec<Snapshot>,
    next_snapshot: u64,
    fault: Fault,
    lets_in_null_origin: bool,
}

/// A block's identity and time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct BlockInfo {
    /// Height; genesis is 0.
    pub number: u64,
    /// Keccak of the header, as the RPC reports it and `BLOCKHASH` returns it.
    pub hash: B256,
    /// Unix seconds.
    pub timestamp: u64,
}

/// Names a snapshot of one chain.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct SnapshotId(pub(crate) u64);

/// Which state and block a read or call refers to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Position {
    /// The head, with the clock's time: an idle development chain mines nothing, and a call must not see the time of hours ago.
    Latest,
    /// The block that would be mined now.
    Pending,
    /// A block by number, exactly as it was.
    Number(u64),
}

#[derive(Clone, Copy, Debug)]
struct Snapshot {
    id: SnapshotId,
    head: u64,
    revision: Revision,
    clock: ChainClock,
}

impl DevChain {
    /// A chain with only its genesis block.
    ///
    /// # Errors
    /// [`ConfigError`] when the chain id is not one a development chain may have, or the genesis list is not consistent.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        check_chain_id(config.chain_id)?;
        check_genesis(&config.genesis)?;
        let (clock, timestamp) = ChainClock::start(config.clock, config.genesis_timestamp);
        if MAX_TIMESTAMP < timestamp {
            return Err(ConfigError::TimestampTooLate { latest: MAX_TIMESTAMP, got: timestamp });
        }
        let mut state = State::default();
        for account in config.genesis {
            let address = account.address;
            let code = Bytecode::new_raw_checked(account.code).map_err(|_| ConfigError::InvalidCode { address })?;
            let record = AccountRecord { balance: account.balance, nonce: u64::from(!code.is_empty()), code_hash: state.keep_code(code) };
            state.set_account(address, Some(record));
            for (slot, value) in account.storage {
                state.set_storage(address, slot, value);
            }
        }
        Ok(Self {
            chain_id: config.chain_id,
            ledger: Ledger::new(config.chain_id, timestamp, state.revision()),
            state,
            clock,
            snapshots: Vec::new(),
            next_snapshot: 0,
            fault: Fault::None,
            lets_in_null_origin: config.lets_in_null_origin,
        })
    }

    /// The chain id transactions must be signed for.
    #[must_use]
    pub const fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// The last block.
    #[must_use]
    pub fn head(&self) -> BlockInfo {
        info(self.ledger.head())
    }

    /// A block by number, if it exists.
    #[must_use]
    pub fn block(&self, number: u64) -> Option<BlockInfo> {
        self.ledger.block(number).map(info)
    }

    /// The time a block mined now would have, in Unix seconds.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.clock.next_block_time(self.ledger.head().header.timestamp)
    }

    /// Wei that `address` has now.
    #[must_use]
    pub fn balance(&self, address: Address) -> U256 {
        self.head_view().account(address).balance
    }

    /// Executes a signed, EIP-2718 encoded transaction and mines a block with it; returns its hash.
    ///
    /// A transaction that reverts is mined too, with status 0.
    ///
    /// # Errors
    /// [`ChainError`] when the transaction can never or not now be in a block; then nothing changed.
    pub fn send_raw_transaction(&mut self, raw: &[u8]) -> Result<B256, ChainError> {
        let transaction = decode_transaction(raw)?;
        if let Some(got) = transaction.chain_id().filter(|got| *got != self.chain_id) {
            return Err(ChainError::WrongChain { expected: self.chain_id, got });
        }
        let hash = *transaction.tx_hash();
        let plan = self.next_block()?;
        let tx = signed_tx(&transaction);
        let executed = execute(self.head_view(), self.chain_id, &plan, tx, Rules::Transaction)?;
        if self.fault == Fault::DropTransactions {
            return Ok(hash);
        }
        self.state.advance();
        self.state.apply(executed.state);
        let outcome =
            Outcome { succeeded: executed.result.is_success(), gas_used: executed.result.tx_gas_used(), logs: executed.result.into_logs() };
        self.ledger.append(&plan, transaction, outcome, self.state.revision());
        self.clock.block_was_mined(plan.timestamp);
        Ok(hash)
    }

    /// Mines a block without transactions.
    ///
    /// # Errors
    /// [`ChainError::Full`] at [`MAX_BLOCKS`].
    pub fn mine(&mut self) -> Result<BlockInfo, ChainError> {
        let plan = self.next_block()?;
        self.state.advance();
        self.ledger.append_empty(&plan, self.state.revision());
        self.clock.block_was_mined(plan.timestamp);
        Ok(self.head())
    }

    /// Moves the chain's clock forward; returns the whole shift so far, in seconds. The next block shows it.
    ///
    /// # Errors
    /// [`ChainError::TimestampTooLate`].
    pub fn increase_time(&mut self, seconds: u64) -> Result<i64, ChainError> {
        self.clock.advance(seconds)
    }

    /// Fixes the time of the next block, in Unix seconds; the clock goes on from there.
    ///
    /// # Errors
    /// [`ChainError::TimestampTooEarly`] before the head, [`ChainError::TimestampTooLate`].
    pub fn set_next_block_timestamp(&mut self, timestamp: u64) -> Result<(), ChainError> {
        let not_before = self.ledger.head().header.timestamp;
        self.clock.set_next(timestamp, not_before)
    }

    /// Remembers blocks, state and clock as they are now.
    ///
    /// # Errors
    /// [`ChainError::Full`] at [`MAX_SNAPSHOTS`].
    pub fn snapshot(&mut self) -> Result<SnapshotId, ChainError> {
        if MAX_SNAPSHOTS <= self.snapshots.len() {
            return Err(ChainError::Full { what: "snapshots", limit: MAX_SNAPSHOTS });
        }
        let id = SnapshotId(self.next_snapshot);
        self.next_snapshot = self.next_snapshot.saturating_add(1);
        self.snapshots.push(Snapshot { id, head: self.ledger.head().header.number, revision: self.state.revision(), clock: self.clock });
        Ok(id)
    }

    /// Goes back to a snapshot; false if there is none of that name. The snapshot and all later ones are used up.
    pub fn revert(&mut self, id: SnapshotId) -> bool {
        let Some(index) = self.snapshots.iter().position(|snapshot| snapshot.id == id) else {
            return false;
        };
        let Some(snapshot) = self.snapshots.drain(index..).next() else {
            return false;
        };
        self.ledger.truncate(snapshot.head);
        self.state.rewind(snapshot.revision);
        self.clock = snapshot.clock;
        self.open_revision();
        true
    }

    /// Replaces an account's code. Empty code removes it.
    ///
    /// # Errors
    /// [`ChainError::InvalidParams`] for a malformed EIP-7702 delegation.
    pub fn set_code(&mut self, address: Address, code: Bytes) -> Result<(), ChainError> {
        let code = Bytecode::new_raw_checked(code).map_err(|error| ChainError::InvalidParams { reason: error.to_string() })?;
        let code_hash = self.state.keep_code(code);
        self.edit_account(address, |account| account.code_hash = code_hash);
        Ok(())
    }

    /// Sets an account's balance, in wei.
    pub fn set_balance(&mut self, address: Address, balance: U256) {
        self.edit_account(address, |account| account.balance = balance);
    }

    /// Sets an account's nonce.
    pub fn set_nonce(&mut self, address: Address, nonce: u64) {
        self.edit_account(address, |account| account.nonce = nonce);
    }

    /// Writes one storage slot.
    pub fn set_storage(&mut self, address: Address, slot: U256, value: U256) {
        self.open_revision();
        self.state.set_storage(address, slot, value);
    }

    /// What goes wrong for JSON-RPC clients from now on.
    pub fn set_fault(&mut self, fault: Fault) {
        self.fault = fault;
    }

    /// What goes wrong for JSON-RPC clients now.
    #[must_use]
    pub const fn fault(&self) -> &Fault {
        &self.fault
    }

    pub(crate) const fn lets_in_null_origin(&self) -> bool {
        self.lets_in_null_origin
    }

    /// The last block that JSON-RPC clients see.
    pub(crate) fn visible_head(&self) -> u64 {
        let head = self.ledger.head().header.number;
        match self.fault {
            Fault::Lag { blocks } => head.saturating_sub(blocks),
            _ => head,
        }
    }

    /// A block that JSON-RPC clients see.
    pub(crate) fn visible_block(&self, number: u64) -> Option<&Block> {
        self.ledger.block(number).filter(|block| block.header.number <= self.visible_head())
    }

    /// The state at `position`.
    pub(crate) fn view(&self, position: Position) -> Result<StateView<'_>, ChainError> {
        Ok(self.view_of(self.base_block(position)?))
    }

    /// Runs a call and returns its output; changes are dropped.
    pub(crate) fn call(&self, request: TransactionRequest, position: Position) -> Result<Bytes, ChainError> {
        let gas = request.gas.unwrap_or(CALL_GAS_CAP).min(CALL_GAS_CAP);
        output(self.simulate(request, position, gas)?)
    }

    /// The least gas limit, within 1.5 %, with which the call succeeds: geth's bisection.
    pub(crate) fn estimate_gas(&self, request: TransactionRequest, position: Position) -> Result<u64, ChainError> {
        let allowance = request.gas.unwrap_or(TRANSACTION_GAS_CAP).min(TRANSACTION_GAS_CAP);
        let first = self.simulate(request.clone(), position, allowance)?;
        let gas = match &first {
            ExecutionResult::Halt { reason: HaltReason::OutOfGas(_), .. } => {
                return Err(ChainError::GasRequiredExceedsAllowance { allowance });
            }
            _ => *first.gas(),
        };
        output(first)?;

        let succeeds = |limit: u64| match self.simulate(request.clone(), position, limit) {
            Ok(result) => Ok(result.is_success()),
            Err(ChainError::IntrinsicGasTooLow { .. }) => Ok(false),
            Err(error) => Err(error),
        };
        let used = gas.tx_gas_used();
        if used == PLAIN_TRANSFER_GAS && succeeds(used)? {
            return Ok(used);
        }
        let mut low = used.saturating_sub(1);
        let mut high = allowance;
        // What a call needs at once is what it used, what was refunded and the 1/64 each caller holds back.
        let guess = used.saturating_add(gas.inner_refunded()).saturating_add(CALL_STIPEND);
        let guess = guess.saturating_add(guess / 63);
        if guess < high {
            if succeeds(guess)? {
                high = guess;
            } else {
                low = guess;
            }
        }
        // Halving: at most 24 runs below the transaction gas cap.
        while ESTIMATE_TOLERANCE_PER_MILLE.saturating_mul(high) / 1000 < high.saturating_sub(low).saturating_sub(1) {
            let middle = low.midpoint(high).min(low.saturating_mul(2));
            if succeeds(middle)? {
                high = middle;
            } else {
                low = middle;
            }
        }
        Ok(high)
    }

    pub(crate) const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn simulate(&self, request: TransactionRequest, position: Position, gas: u64) -> Result<ExecutionResult, ChainError> {
        let base = self.base_block(position)?;
        let plan = self.plan_at(base, position);
        let tx = call_tx(request, self.chain_id, gas)?;
        let executed = execute(self.view_of(base), self.chain_id, &plan, tx, Rules::Call)?;
        Ok(executed.result)
    }

    /// The block whose state `position` reads.
    fn base_block(&self, position: Position) -> Result<&Block, ChainError> {
        let head = self.visible_head();
        let got = match position {
            Position::Latest | Position::Pending => head,
            Position::Number(number) => number,
        };
        self.visible_block(got).ok_or(ChainError::UnknownBlockNumber { head, got })
    }

    fn plan_at(&self, base: &Block, position: Position) -> BlockPlan {
        let timestamp = self.clock.next_block_time(base.header.timestamp);
        match position {
            Position::Pending => following(base, timestamp),
            Position::Latest => BlockPlan { timestamp, ..same(base) },
            Position::Number(_) => same(base),
        }
    }

    /// The one place that decides number, parent and time of the block being mined.
    fn next_block(&self) -> Result<BlockPlan, ChainError> {
        let head = self.ledger.head();
        if MAX_BLOCKS <= head.header.number {
            return Err(ChainError::Full { what: "blocks", limit: usize::try_from(MAX_BLOCKS).unwrap_or(usize::MAX) });
        }
        Ok(following(head, self.clock.next_block_time(head.header.timestamp)))
    }

    fn head_view(&self) -> StateView<'_> {
        self.view_of(self.ledger.head())
    }

    const fn view_of(&self, block: &Block) -> StateView<'_> {
        StateView { state: &self.state, revision: block.revision, ledger: &self.ledger }
    }

    /// Makes room for a write between blocks, visible at the head from now on.
    fn open_revision(&mut self) {
        self.state.advance();
        self.ledger.head_mut().revision = self.state.revision();
    }

    fn edit_account(&mut self, address: Address, edit: impl FnOnce(&mut AccountRecord)) {
        let mut account = self.head_view().account(address);
        edit(&mut account);
        self.open_revision();
        let exists = account != AccountRecord::default();
        self.state.set_account(address, exists.then_some(account));
    }
}

fn decode_transaction(raw: &[u8]) -> Result<Recovered<TxEnvelope>, ChainError> {
    let envelope = TxEnvelope::decode_2718_exact(raw).map_err(|_| ChainError::UndecodableTransaction)?;
    if let TxEnvelope::Eip4844(_) = envelope {
        return Err(ChainError::UnsupportedTransactionType { got: 3 });
    }
    let signer = envelope.recover_signer().map_err(|_| ChainError::InvalidSignature)?;
    Ok(Recovered::new_unchecked(envelope, signer))
}

const fn info(block: &Block) -> BlockInfo {
    BlockInfo { number: block.header.number, hash: block.hash, timestamp: block.header.timestamp }
}

const fn same(block: &Block) -> BlockPlan {
    BlockPlan { number: block.header.number, timestamp: block.header.timestamp, parent_hash: block.header.parent_hash }
}

const fn following(block: &Block, timestamp: u64) -> BlockPlan {
    BlockPlan { number: block.header.number.saturating_add(1), timestamp, parent_hash: block.hash }
}

/// The most blocks one chain holds: about a gigabyte of transactions and receipts.
pub const MAX_BLOCKS: u64 = 1_000_000;

/// The most snapshots at a time.
pub const MAX_SNAPSHOTS: usize = 1024;

const PLAIN_TRANSFER_GAS: u64 = 21_000;
const CALL_STIPEND: u64 = 2_300;
const ESTIMATE_TOLERANCE_PER_MILLE: u64 = 15;
