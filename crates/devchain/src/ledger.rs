//! Blocks, the transactions in them and their receipts.
//!
//! A block holds at most one transaction, because each is mined as it arrives. Headers are complete Osaka headers and the
//! block hash is the keccak of the encoded header, so whoever recomputes it agrees; the one lie is the state root, which is
//! zero (computing it would cost more than everything else here and nobody reads it on a development chain).
//!
//! Invariants: there is always a genesis block; `block(n).number == n`; hashes point at blocks that exist.

use std::collections::HashMap;

use alloy::consensus::constants::{EMPTY_RECEIPTS, EMPTY_TRANSACTIONS, EMPTY_WITHDRAWALS};
use alloy::consensus::proofs::{calculate_receipt_root, calculate_transaction_root};
use alloy::consensus::transaction::Recovered;
use alloy::consensus::{Header, Receipt, ReceiptEnvelope, ReceiptWithBloom, Sealed, Transaction as _, TxEnvelope, TxReceipt as _};
use alloy::eips::eip7685::EMPTY_REQUESTS_HASH;
use alloy::primitives::{Address, B256, Bytes, Log, U256, keccak256};
use alloy::rpc::types::{Block as RpcBlock, BlockTransactions, Header as RpcHeader, Log as RpcLog, Transaction, TransactionReceipt};

use crate::state::Revision;

/// The base fee of every block, in wei per gas: 1 gwei, so that costs in tests are easy to predict.
pub const BASE_FEE: u64 = 1_000_000_000;

/// The gas limit of every block.
pub const BLOCK_GAS_LIMIT: u64 = 60_000_000;

/// One mined block.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) header: Header,
    pub(crate) hash: B256,
    pub(crate) transaction: Option<Mined>,
    /// The state after this block, and after any later `setBalance` and the like until the next block.
    pub(crate) revision: Revision,
}

/// A transaction that is in a block.
#[derive(Debug)]
pub(crate) struct Mined {
    pub(crate) transaction: Recovered<TxEnvelope>,
    pub(crate) receipt: TransactionReceipt,
}

/// What executing a transaction left for its receipt.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) succeeded: bool,
    pub(crate) gas_used: u64,
    pub(crate) logs: Vec<Log>,
}

/// What is fixed about a block before it is executed. The EVM and the header are both filled from this one value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockPlan {
    pub(crate) number: u64,
    pub(crate) timestamp: u64,
    pub(crate) parent_hash: B256,
}

impl BlockPlan {
    /// Not random: a hash of the parent, so that it differs from block to block.
    pub(crate) fn prevrandao(&self) -> B256 {
        keccak256(self.parent_hash)
    }
}

/// The chain of blocks with its indexes.
#[derive(Debug)]
pub(crate) struct Ledger {
    genesis: Block,
    later: Vec<Block>,
    number_by_hash: HashMap<B256, u64>,
    number_by_transaction: HashMap<B256, u64>,
}

impl Ledger {
    pub(crate) fn new(chain_id: u64, timestamp: u64, revision: Revision) -> Self {
        let plan = BlockPlan { number: 0, timestamp, parent_hash: B256::ZERO };
        let mut header = empty_header(&plan);
        // Two chains with equal clocks still differ in every hash.
        header.extra_data = Bytes::copy_from_slice(&chain_id.to_be_bytes());
        let genesis = seal(header, None, revision);
        Self { number_by_hash: HashMap::from([(genesis.hash, 0)]), number_by_transaction: HashMap::new(), genesis, later: Vec::new() }
    }

    pub(crate) fn head(&self) -> &Block {
        self.later.last().unwrap_or(&self.genesis)
    }

    pub(crate) fn head_mut(&mut self) -> &mut Block {
        self.later.last_mut().unwrap_or(&mut self.genesis)
    }

    pub(crate) fn block(&self, number: u64) -> Option<&Block> {
        match number.checked_sub(1) {
            None => Some(&self.genesis),
            Some(index) => self.later.get(usize::try_from(index).ok()?),
        }
    }

    pub(crate) fn number_of(&self, hash: B256) -> Option<u64> {
        self.number_by_hash.get(&hash).copied()
    }

    pub(crate) fn block_of_transaction(&self, hash: B256) -> Option<&Block> {
        self.block(*self.number_by_transaction.get(&hash)?)
    }

    /// Appends a block without a transaction.
    pub(crate) fn append_empty(&mut self, plan: &BlockPlan, revision: Revision) {
        self.push(seal(empty_header(plan), None, revision));
    }

    /// Appends a block with one executed transaction.
    pub(crate) fn append(&mut self, plan: &BlockPlan, transaction: Recovered<TxEnvelope>, outcome: Outcome, revision: Revision) {
        let receipt = Receipt { status: outcome.succeeded.into(), cumulative_gas_used: outcome.gas_used, logs: outcome.logs };
        let envelope = ReceiptEnvelope::from_typed(transaction.tx_type(), receipt);
        let mut header = empty_header(plan);
        header.gas_used = outcome.gas_used;
        header.logs_bloom = envelope.bloom();
        header.transactions_root = calculate_transaction_root(std::slice::from_ref(transaction.inner()));
        header.receipts_root = calculate_receipt_root(std::slice::from_ref(&envelope));
        let hash = header.hash_slow();
        let receipt = rpc_receipt(plan, hash, &transaction, envelope, outcome.gas_used);
        self.number_by_transaction.insert(receipt.transaction_hash, plan.number);
        self.push(seal(header, Some(Mined { transaction, receipt }), revision));
    }

    /// Drops every block after `number`.
    pub(crate) fn truncate(&mut self, number: u64) {
        while number < self.head().header.number {
            let Some(block) = self.later.pop() else { return };
            self.number_by_hash.remove(&block.hash);
            if let Some(mined) = block.transaction {
                self.number_by_transaction.remove(&mined.receipt.transaction_hash);
            }
        }
    }

    fn push(&mut self, block: Block) {
        debug_assert_eq!(block.header.number, self.head().header.number + 1);
        self.number_by_hash.insert(block.hash, block.header.number);
        self.later.push(block);
    }
}

impl Block {
    /// The block as JSON-RPC shows it, with whole transactions or only their hashes.
    pub(crate) fn to_rpc(&self, contents: Contents) -> RpcBlock {
        let transactions = match contents {
            Contents::Hashes => BlockTransactions::Hashes(self.receipts().map(|receipt| receipt.transaction_hash).collect()),
            Contents::Full => BlockTransactions::Full(self.rpc_transaction().into_iter().collect()),
        };
        let sealed = Sealed::new_unchecked(self.header.clone(), self.hash);
        let size = U256::from(self.header.size());
        RpcBlock {
            header: RpcHeader::from_consensus(sealed, None, Some(size)),
            uncles: Vec::new(),
            transactions,
            withdrawals: Some(Default::default()),
        }
    }

    pub(crate) fn receipts(&self) -> impl Iterator<Item = &TransactionReceipt> {
        self.transaction.iter().map(|mined| &mined.receipt)
    }

    pub(crate) fn rpc_transaction(&self) -> Option<Transaction> {
        let mined = self.transaction.as_ref()?;
        Some(Transaction {
            inner: mined.transaction.clone(),
            block_hash: Some(self.hash),
            block_number: Some(self.header.number),
            transaction_index: Some(0),
            effective_gas_price: Some(mined.receipt.effective_gas_price),
            block_timestamp: Some(self.header.timestamp),
        })
    }
}

/// How much of each transaction a block shows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Contents {
    Hashes,
    Full,
}

fn empty_header(plan: &BlockPlan) -> Header {
    Header {
        parent_hash: plan.parent_hash,
        number: plan.number,
        timestamp: plan.timestamp,
        mix_hash: plan.prevrandao(),
        beneficiary: Address::ZERO,
        state_root: B256::ZERO,
        transactions_root: EMPTY_TRANSACTIONS,
        receipts_root: EMPTY_RECEIPTS,
        gas_limit: BLOCK_GAS_LIMIT,
        base_fee_per_gas: Some(BASE_FEE),
        withdrawals_root: Some(EMPTY_WITHDRAWALS),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        requests_hash: Some(EMPTY_REQUESTS_HASH),
        ..Header::default()
    }
}

fn seal(header: Header, transaction: Option<Mined>, revision: Revision) -> Block {
    Block { hash: header.hash_slow(), header, transaction, revision }
}

fn rpc_receipt(
    plan: &BlockPlan,
    block_hash: B256,
    transaction: &Recovered<TxEnvelope>,
    envelope: ReceiptEnvelope,
    gas_used: u64,
) -> TransactionReceipt {
    let transaction_hash = *transaction.tx_hash();
    let logs = (0..)
        .zip(envelope.logs())
        .map(|(index, log)| RpcLog {
            inner: log.clone(),
            block_hash: Some(block_hash),
            block_number: Some(plan.number),
            block_timestamp: Some(plan.timestamp),
            transaction_hash: Some(transaction_hash),
            transaction_index: Some(0),
            log_index: Some(index),
            removed: false,
        })
        .collect();
    let receipt = ReceiptWithBloom {
        receipt: Receipt { status: envelope.status().into(), cumulative_gas_used: envelope.cumulative_gas_used(), logs },
        logs_bloom: envelope.bloom(),
    };
    let from = transaction.signer();
    TransactionReceipt {
        inner: ReceiptEnvelope::from_typed(transaction.tx_type(), receipt),
        transaction_hash,
        transaction_index: Some(0),
        block_hash: Some(block_hash),
        block_number: Some(plan.number),
        gas_used,
        effective_gas_price: transaction.effective_gas_price(Some(BASE_FEE)),
        blob_gas_used: None,
        blob_gas_price: None,
        from,
        to: transaction.to(),
        contract_address: transaction.kind().is_create().then(|| from.create(transaction.nonce())),
    }
}
