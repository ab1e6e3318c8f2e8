//! How transactions become blocks, and how blocks are taken back.
//!
//! With [`Mining::Instant`] an accepted transaction is executed at once and is a block of its own. Else it waits in the pool, and
//! [`DevChain::mine`] fills a block: the best tips first, each sender's by nonce, up to the block's gas limit.
//!
//! Invariants: what can fail comes before the first change; after each block the pool holds nothing whose nonce is used.

use std::collections::BinaryHeap;

use alloy::consensus::transaction::{Recovered, SignerRecoverable};
use alloy::consensus::{Transaction as _, TxEnvelope};
use alloy::eips::eip2718::Decodable2718;
use alloy::primitives::B256;
use alloy::rpc::types::Transaction;
use revm::context::result::ResultAndState;
use tokio::sync::watch;

use super::{BlockInfo, DevChain, MAX_BLOCKS};
use crate::config::Mining;
use crate::error::ChainError;
use crate::execute::{Rules, check, execute, signed_tx};
use crate::fault::Fault;
use crate::ledger::{BLOCK_GAS_LIMIT, BlockPlan, Executed, Outcome};
use crate::pool::PoolStatus;
use crate::state::StateView;

/// What becomes of the transactions of blocks that a reorganisation removes. This list is complete.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// They wait in the pool again, as on a real node, unless it would not take them now (their sender's money came in a removed block).
    /// The next block may take them; with [`Mining::Instant`] that is the one of [`DevChain::mine`].
    Pooled,
    /// They are gone: nobody sends them again but their sender.
    Dropped,
}

impl DevChain {
    /// Takes a signed, EIP-2718 encoded transaction; returns its hash.
    ///
    /// With [`Mining::Instant`] it is in a block when this returns, else it waits in the pool. One that reverts is mined too, with status 0.
    ///
    /// # Errors
    /// [`ChainError`] when the transaction can never or not now be in a block (or in the pool); then nothing changed.
    pub fn send_raw_transaction(&mut self, raw: &[u8]) -> Result<B256, ChainError> {
        let transaction = decode_transaction(raw)?;
        if let Some(got) = transaction.chain_id().filter(|got| *got != self.chain_id) {
            return Err(ChainError::WrongChain { expected: self.chain_id, got });
        }
        match self.mining() {
            Mining::Instant => self.mine_at_once(transaction),
            Mining::Manual | Mining::Every(_) => self.pool(transaction),
        }
    }

    /// Mines a block with what the pool has for it; without transactions if that is nothing.
    ///
    /// # Errors
    /// [`ChainError::Full`] at [`MAX_BLOCKS`].
    pub fn mine(&mut self) -> Result<BlockInfo, ChainError> {
        let plan = self.next_block()?;
        self.state.advance();
        let executed = self.fill(&plan);
        self.append(&plan, executed);
        Ok(self.head())
    }

    /// Replaces the last `depth` blocks by as many empty ones, with the same times and other hashes, as when another fork wins.
    ///
    /// State goes back to where it was before them, and edits of accounts made since with it; snapshots taken since are used up. That
    /// the blocks were `safe` or `finalized` protects nothing here.
    ///
    /// # Errors
    /// [`ChainError::ReorgTooDeep`] beyond genesis, or [`MAX_REORG_DEPTH`].
    pub fn reorg(&mut self, depth: u64, fate: Fate) -> Result<BlockInfo, ChainError> {
        let head = self.head().number;
        let deepest = head.min(MAX_REORG_DEPTH);
        if deepest < depth {
            return Err(ChainError::ReorgTooDeep { deepest, got: depth });
        }
        let fork = head.saturating_sub(depth);
        let removed = self.ledger.truncate(fork);
        self.state.rewind(self.ledger.head().revision);
        self.snapshots.retain(|snapshot| snapshot.head <= fork);
        self.branch = self.branch.saturating_add(1);
        for block in &removed {
            let plan = self.following(self.ledger.head(), block.header.timestamp);
            self.state.advance();
            self.ledger.append(&plan, Vec::new(), self.state.revision());
        }
        if fate == Fate::Pooled {
            for mined in removed.into_iter().flat_map(|block| block.transactions) {
                // What the pool does not take now is dropped: that is its rule for everybody.
                drop(self.pool(mined.transaction));
            }
        }
        self.forget_unusable();
        Ok(self.head())
    }

    /// When blocks are made.
    #[must_use]
    pub fn mining(&self) -> Mining {
        *self.mining.borrow()
    }

    /// Makes blocks in another way from now on. What waits in the pool stays there: with [`Mining::Instant`] until [`DevChain::mine`].
    pub fn set_mining(&mut self, mining: Mining) {
        self.mining.send_replace(mining);
    }

    /// How many transactions wait.
    #[must_use]
    pub fn pool_status(&self) -> PoolStatus {
        self.pool.status(|sender| self.head_view().account(sender).nonce)
    }

    /// Takes a transaction out of the pool, as when nodes forget it; false if it does not wait there.
    pub fn drop_transaction(&mut self, hash: B256) -> bool {
        self.pool.remove(hash).is_some()
    }

    /// Says each time that [`DevChain::set_mining`] is called.
    pub(crate) fn watch_mining(&self) -> watch::Receiver<Mining> {
        self.mining.subscribe()
    }

    /// A transaction that waits, as JSON-RPC shows it: in no block.
    pub(crate) fn waiting_transaction(&self, hash: B256) -> Option<Transaction> {
        let transaction = self.pool.get(hash)?;
        Some(Transaction {
            inner: transaction.clone(),
            block_hash: None,
            block_number: None,
            transaction_index: None,
            effective_gas_price: None,
            block_timestamp: None,
        })
    }

    fn mine_at_once(&mut self, transaction: Recovered<TxEnvelope>) -> Result<B256, ChainError> {
        let hash = *transaction.tx_hash();
        let plan = self.next_block()?;
        let result = execute(self.head_view(), self.chain_id, &plan, signed_tx(&transaction), Rules::Transaction)?;
        if self.fault == Fault::DropTransactions {
            return Ok(hash);
        }
        self.state.advance();
        let executed = self.apply(transaction, result);
        self.append(&plan, vec![executed]);
        Ok(hash)
    }

    fn pool(&mut self, transaction: Recovered<TxEnvelope>) -> Result<B256, ChainError> {
        let hash = *transaction.tx_hash();
        let sender = transaction.signer();
        let head = self.ledger.head();
        let account = self.head_view().account(sender);
        // Said before anything else of a transaction that was mined meanwhile: it could pay then, and cannot now.
        if transaction.nonce() < account.nonce {
            return Err(ChainError::NonceTooLow { expected: account.nonce, got: transaction.nonce() });
        }
        let plan = self.following(head, head.header.timestamp);
        check(self.head_view(), self.chain_id, &plan, signed_tx(&transaction))?;
        if self.fault == Fault::DropTransactions {
            return Ok(hash);
        }
        self.pool.add(transaction, account)?;
        Ok(hash)
    }

    /// Executes what the pool has for the block of `plan`; the state's open revision has the changes.
    fn fill(&mut self, plan: &BlockPlan) -> Vec<Executed> {
        let next_of = |sender| self.pool.candidate(sender, self.head_view().account(sender).nonce, plan.base_fee);
        let mut candidates: BinaryHeap<_> = self.pool.senders().filter_map(next_of).collect();
        let mut gas_left = BLOCK_GAS_LIMIT;
        let mut block = Vec::new();
        while let Some(next) = candidates.pop() {
            // Too large for what is left: it waits, and so do those of its sender behind it.
            if self.pool.gas_limit(next).is_none_or(|limit| gas_left < limit) {
                continue;
            }
            let Some(transaction) = self.pool.take(next.sender, next.nonce) else { continue };
            let view = StateView { state: &self.state, revision: self.state.revision(), ledger: &self.ledger };
            // Who could pay at the door and cannot now (the block before, or this one, took the money) is forgotten, as in geth.
            let Ok(result) = execute(view, self.chain_id, plan, signed_tx(&transaction), Rules::Transaction) else { continue };
            let executed = self.apply(transaction, result);
            gas_left = gas_left.saturating_sub(executed.outcome.gas_used);
            block.push(executed);
            candidates.extend(next.nonce.checked_add(1).and_then(|nonce| self.pool.candidate(next.sender, nonce, plan.base_fee)));
        }
        block
    }

    /// Writes what a transaction changed into the open revision.
    fn apply(&mut self, transaction: Recovered<TxEnvelope>, result: ResultAndState) -> Executed {
        self.state.apply(result.state);
        let result = result.result;
        let outcome = Outcome { succeeded: result.is_success(), gas_used: result.tx_gas_used(), logs: result.into_logs() };
        Executed { transaction, outcome }
    }

    /// Appends the block whose changes are in the open revision.
    fn append(&mut self, plan: &BlockPlan, executed: Vec<Executed>) {
        self.ledger.append(plan, executed, self.state.revision());
        self.clock.block_was_mined(plan.timestamp);
        self.next_base_fee = None;
        self.forget_unusable();
    }

    fn forget_unusable(&mut self) {
        let view = StateView { state: &self.state, revision: self.state.revision(), ledger: &self.ledger };
        self.pool.forget_unusable(|sender| view.account(sender));
    }

    /// The one place that decides number, parent, time and base fee of the block being mined.
    fn next_block(&self) -> Result<BlockPlan, ChainError> {
        let head = self.ledger.head();
        if MAX_BLOCKS <= head.header.number {
            return Err(ChainError::Full { what: "blocks", limit: usize::try_from(MAX_BLOCKS).unwrap_or(usize::MAX) });
        }
        Ok(self.following(head, self.clock.next_block_time(head.header.timestamp)))
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

/// The most blocks one reorganisation replaces: more than any chain's finality takes.
pub const MAX_REORG_DEPTH: u64 = 10_000;
