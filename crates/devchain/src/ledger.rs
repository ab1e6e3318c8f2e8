//! Blocks, the transactions in them and their receipts.
//!
//! Headers are complete Osaka headers and the block hash is the keccak of the encoded header, so whoever recomputes it agrees;
//! the one lie is the state root, which is zero (computing it would cost more than everything else here and nobody reads it on
//! a development chain).
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

/// The base fee of genesis, in wei per gas, and of every block unless asked otherwise: 1 gwei, so that costs in tests are easy to predict.
pub const BASE_FEE: u64 = 1_000_000_000;

/// The gas limit of every block.
pub const BLOCK_GAS_LIMIT: u64 = 60_000_000;

/// One mined block.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) header: Header,
    pub(crate) hash: B256,
    pub(crate) transactions: Vec<Mined>,
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

/// A transaction and its outcome, before there is a block around it.
#[derive(Debug)]
pub(crate) struct Executed {
    pub(crate) transaction: Recovered<TxEnvelope>,
    pub(crate) outcome: Outcome,
}

/// What is fixed about a block before it is executed. The EVM and the header are both filled from this one value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockPlan {
    pub(crate) number: u64,
    pub(crate) timestamp: u64,
    pub(crate) parent_hash: B256,
    pub(crate) base_fee: u64,
    /// How many reorganisations there were: what tells a block from the one it replaces, which may be equal in all else.
    pub(crate) branch: u64,
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
    /// Number of the block and place in it.
    place_by_transaction: HashMap<B256, (u64, usize)>,
}

impl Ledger {
    pub(crate) fn new(chain_id: u64, timestamp: u64, revision: Revision) -> Self {
        let plan = BlockPlan { number: 0, timestamp, parent_hash: B256::ZERO, base_fee: BASE_FEE, branch: 0 };
        let mut header = empty_header(&plan);
        // Two chains with equal clocks still differ in every hash.
        header.extra_data = Bytes::copy_from_slice(&chain_id.to_be_bytes());
        let genesis = Block { hash: header.hash_slow(), header, transactions: Vec::new(), revision };
        Self { number_by_hash: HashMap::from([(genesis.hash, 0)]), place_by_transaction: HashMap::new(), genesis, later: Vec::new() }
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

    /// The block that has the transaction, and its place there.
    pub(crate) fn transaction(&self, hash: B256) -> Option<(&Block, usize)> {
        let (number, index) = *self.place_by_transaction.get(&hash)?;
        Some((self.block(number)?, index))
    }

    /// Appends a block with executed transactions, in their order.
    pub(crate) fn append(&mut self, plan: &BlockPlan, executed: Vec<Executed>, revision: Revision) {
        let mut header = empty_header(plan);
        let mut envelopes = Vec::with_capacity(executed.len());
        for Executed { transaction, outcome } in &executed {
            header.gas_used = header.gas_used.saturating_add(outcome.gas_used);
            let receipt = Receipt { status: outcome.succeeded.into(), cumulative_gas_used: header.gas_used, logs: outcome.logs.clone() };
            let envelope = ReceiptEnvelope::from_typed(transaction.tx_type(), receipt);
            header.logs_bloom |= envelope.bloom();
            envelopes.push(envelope);
        }
        let signed: Vec<&TxEnvelope> = executed.iter().map(|executed| executed.transaction.inner()).collect();
        header.transactions_root = calculate_transaction_root(&signed);
        header.receipts_root = calculate_receipt_root(&envelopes);

        let mut place = Place { header: &header, hash: header.hash_slow(), index: 0, log_index: 0 };
        let mut transactions = Vec::with_capacity(executed.len());
        for (Executed { transaction, outcome }, envelope) in executed.into_iter().zip(envelopes) {
            let receipt = rpc_receipt(place, &transaction, envelope, outcome.gas_used);
            self.place_by_transaction.insert(receipt.transaction_hash, (plan.number, transactions.len()));
            place.index = place.index.saturating_add(1);
            place.log_index = place.log_index.saturating_add(outcome.logs.len());
            transactions.push(Mined { transaction, receipt });
        }
        let hash = place.hash;
        self.push(Block { header, hash, transactions, revision });
    }

    /// Takes every block after `number` off; returns them, the oldest first.
    pub(crate) fn truncate(&mut self, number: u64) -> Vec<Block> {
        let keep = usize::try_from(number).unwrap_or(usize::MAX).min(self.later.len());
        let removed = self.later.split_off(keep);
        for block in &removed {
            self.number_by_hash.remove(&block.hash);
            for mined in &block.transactions {
                self.place_by_transaction.remove(&mined.receipt.transaction_hash);
            }
        }
        removed
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
            Contents::Full => {
                BlockTransactions::Full((0..self.transactions.len()).filter_map(|index| self.rpc_transaction(index)).collect())
            }
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
        self.transactions.iter().map(|mined| &mined.receipt)
    }

    pub(crate) fn base_fee(&self) -> u64 {
        self.header.base_fee_per_gas.unwrap_or(BASE_FEE)
    }

    pub(crate) fn rpc_transaction(&self, index: usize) -> Option<Transaction> {
        let mined = self.transactions.get(index)?;
        Some(Transaction {
            inner: mined.transaction.clone(),
            block_hash: Some(self.hash),
            block_number: Some(self.header.number),
            transaction_index: mined.receipt.transaction_index,
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
        base_fee_per_gas: Some(plan.base_fee),
        withdrawals_root: Some(EMPTY_WITHDRAWALS),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        requests_hash: Some(EMPTY_REQUESTS_HASH),
        extra_data: if plan.branch == 0 { Bytes::new() } else { Bytes::copy_from_slice(&plan.branch.to_be_bytes()) },
        ..Header::default()
    }
}

/// Where a transaction is.
#[derive(Clone, Copy)]
struct Place<'a> {
    header: &'a Header,
    hash: B256,
    index: u64,
    /// Of the transaction's first log in the block.
    log_index: usize,
}

fn rpc_receipt(place: Place<'_>, transaction: &Recovered<TxEnvelope>, envelope: ReceiptEnvelope, gas_used: u64) -> TransactionReceipt {
    let transaction_hash = *transaction.tx_hash();
    let header = place.header;
    let logs = (place.log_index..)
        .zip(envelope.logs())
        .map(|(index, log)| RpcLog {
            inner: log.clone(),
            block_hash: Some(place.hash),
            block_number: Some(header.number),
            block_timestamp: Some(header.timestamp),
            transaction_hash: Some(transaction_hash),
            transaction_index: Some(place.index),
            log_index: u64::try_from(index).ok(),
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
        transaction_index: Some(place.index),
        block_hash: Some(place.hash),
        block_number: Some(header.number),
        gas_used,
        effective_gas_price: transaction.effective_gas_price(header.base_fee_per_gas),
        blob_gas_used: None,
        blob_gas_price: None,
        from,
        to: transaction.to(),
        contract_address: transaction.kind().is_create().then(|| from.create(transaction.nonce())),
    }
}
