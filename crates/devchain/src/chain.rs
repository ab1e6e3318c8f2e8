//! The development chain itself: a state, a ledger of blocks and a clock, all in memory.
//!
//! The methods here are the Rust door, used by tests and the CLI; `rpc` is the JSON door over the same object. `mining` makes blocks
//! of transactions, `fees` prices them, [`crate::pool`] holds those that wait.
//!
//! Not here, on purpose: persistence (when the process ends the chain is gone), real consensus, a state root.
//!
//! Invariants: the time the EVM sees in a block is the time in its header; the hash `BLOCKHASH` gives is the hash the RPC
//! reports; a block is either wholly in (state, receipt, indexes) or not at all.

mod fees;
mod mining;

use alloy::eips::BlockNumberOrTag;
use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::rpc::types::TransactionRequest;
use revm::bytecode::Bytecode;
use revm::context::result::{ExecutionResult, HaltReason};
use tokio::sync::watch;

use crate::clock::{ChainClock, MAX_TIMESTAMP};
use crate::config::{BaseFee, Config, ConfigError, FinalityLag, Mining, check_chain_id, check_finality, check_genesis};
use crate::error::ChainError;
use crate::execute::{CALL_GAS_CAP, Rules, TRANSACTION_GAS_CAP, call_tx, execute, output};
use crate::fault::Fault;
use crate::ledger::{Block, BlockPlan, Ledger};
use crate::pool::Pool;
use crate::state::{AccountRecord, Revision, State, StateView};

pub use fees::MAX_BASE_FEE;
pub(crate) use fees::tips_at;
pub use mining::{Fate, MAX_REORG_DEPTH};

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
    pool: Pool,
    clock: ChainClock,
    /// Read here, and watched by whoever makes blocks by the clock.
    mining: watch::Sender<Mining>,
    base_fee: BaseFee,
    /// The base fee of the next block, if someone fixed it.
    next_base_fee: Option<u64>,
    finality: FinalityLag,
    /// Reorganisations so far; see [`BlockPlan`].
    branch: u64,
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
    next_base_fee: Option<u64>,
}

impl DevChain {
    /// A chain with only its genesis block.
    ///
    /// # Errors
    /// [`ConfigError`] when the chain id is not one a development chain may have, or genesis list or lags are not consistent.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        check_chain_id(config.chain_id)?;
        check_genesis(&config.genesis)?;
        check_finality(config.finality)?;
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
            pool: Pool::default(),
            clock,
            mining: watch::Sender::new(config.mining),
            base_fee: config.base_fee,
            next_base_fee: None,
            finality: config.finality,
            branch: 0,
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
        self.snapshots.push(Snapshot {
            id,
            head: self.ledger.head().header.number,
            revision: self.state.revision(),
            clock: self.clock,
            next_base_fee: self.next_base_fee,
        });
        Ok(id)
    }

    /// Goes back to a snapshot; false if there is none of that name. The snapshot and all later ones are used up.
    ///
    /// The transactions of the blocks that go are gone ([`DevChain::reorg`] can keep them); what waits in the pool is not touched, since a
    /// pool is a node's and not the chain's.
    pub fn revert(&mut self, id: SnapshotId) -> bool {
        let Some(index) = self.snapshots.iter().position(|snapshot| snapshot.id == id) else {
            return false;
        };
        let Some(snapshot) = self.snapshots.drain(index..).next() else {
            return false;
        };
        drop(self.ledger.truncate(snapshot.head));
        self.state.rewind(snapshot.revision);
        self.clock = snapshot.clock;
        self.next_base_fee = snapshot.next_base_fee;
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

    /// How far `safe` and `finalized` are behind the head.
    #[must_use]
    pub const fn finality(&self) -> FinalityLag {
        self.finality
    }

    /// Lets `safe` and `finalized` lag in another way from now on.
    ///
    /// # Errors
    /// [`ConfigError::FinalizedBeforeSafe`].
    pub fn set_finality(&mut self, finality: FinalityLag) -> Result<(), ConfigError> {
        check_finality(finality)?;
        self.finality = finality;
        Ok(())
    }

    /// The block that a tag names for JSON-RPC clients; a number is itself, and need not exist. Before there are enough blocks, `safe` and
    /// `finalized` are genesis.
    pub(crate) fn number(&self, tag: BlockNumberOrTag) -> u64 {
        match tag {
            BlockNumberOrTag::Number(number) => number,
            BlockNumberOrTag::Earliest => 0,
            BlockNumberOrTag::Latest | BlockNumberOrTag::Pending => self.visible_head(),
            BlockNumberOrTag::Safe => self.visible_head().saturating_sub(self.finality.safe_lag),
            BlockNumberOrTag::Finalized => self.visible_head().saturating_sub(self.finality.finalized_lag),
        }
    }

    /// The nonce that the sender's next transaction should have, with those that wait before it.
    pub(crate) fn pending_nonce(&self, sender: Address, account_nonce: u64) -> u64 {
        self.pool.next_nonce(sender, account_nonce)
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
            Position::Pending => self.following(base, timestamp),
            Position::Latest => BlockPlan { timestamp, ..same(base) },
            Position::Number(_) => same(base),
        }
    }

    /// What a block after `block` would be, at `timestamp`.
    fn following(&self, block: &Block, timestamp: u64) -> BlockPlan {
        BlockPlan {
            number: block.header.number.saturating_add(1),
            timestamp,
            parent_hash: block.hash,
            base_fee: self.base_fee_after(block),
            branch: self.branch,
        }
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

const fn info(block: &Block) -> BlockInfo {
    BlockInfo { number: block.header.number, hash: block.hash, timestamp: block.header.timestamp }
}

/// The block itself once more, for calls in it.
fn same(block: &Block) -> BlockPlan {
    let header = &block.header;
    // Nothing is sealed from this plan, so it is of no branch.
    BlockPlan { number: header.number, timestamp: header.timestamp, parent_hash: header.parent_hash, base_fee: block.base_fee(), branch: 0 }
}

/// The most blocks one chain holds: about a gigabyte of transactions and receipts.
pub const MAX_BLOCKS: u64 = 1_000_000;

/// The most snapshots at a time.
pub const MAX_SNAPSHOTS: usize = 1024;

const PLAIN_TRANSFER_GAS: u64 = 21_000;
const CALL_STIPEND: u64 = 2_300;
const ESTIMATE_TOLERANCE_PER_MILLE: u64 = 15;
