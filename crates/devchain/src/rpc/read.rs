//! The `eth_` methods: calls, transactions, blocks, accounts, fees.

use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::primitives::{Address, B256, Bytes, U64, U256};
use alloy::rpc::types::{FeeHistory, TransactionRequest};
use serde_json::Value;

use super::json;
use super::params::Params;
use crate::chain::{DevChain, Position};
use crate::error::ChainError;
use crate::ledger::{BASE_FEE, BLOCK_GAS_LIMIT, Block, Contents};

impl DevChain {
    pub(super) fn eth_call(&self, params: Params<'_>) -> Result<Value, ChainError> {
        params.at_most(2, NO_OVERRIDES)?;
        let request: TransactionRequest = params.required(0, "transaction")?;
        json(&self.call(request, self.position_param(params, 1)?)?)
    }

    pub(super) fn eth_estimate_gas(&self, params: Params<'_>) -> Result<Value, ChainError> {
        params.at_most(2, NO_OVERRIDES)?;
        let request: TransactionRequest = params.required(0, "transaction")?;
        let gas = self.estimate_gas(request, self.position_param(params, 1)?)?;
        json(&U64::from(gas))
    }

    pub(super) fn eth_send_raw_transaction(&mut self, params: Params<'_>) -> Result<Value, ChainError> {
        let raw: Bytes = params.required(0, "signed transaction")?;
        json(&self.send_raw_transaction(&raw)?)
    }

    pub(super) fn eth_get_transaction_by_hash(&self, params: Params<'_>) -> Result<Value, ChainError> {
        let block = self.block_of_transaction(params)?;
        json(&block.and_then(Block::rpc_transaction))
    }

    pub(super) fn eth_get_transaction_receipt(&self, params: Params<'_>) -> Result<Value, ChainError> {
        let block = self.block_of_transaction(params)?;
        json(&block.and_then(|block| block.receipts().next()))
    }

    pub(super) fn eth_get_transaction_count(&self, params: Params<'_>) -> Result<Value, ChainError> {
        let address: Address = params.required(0, "address")?;
        let view = self.view(self.position_param(params, 1)?)?;
        json(&U64::from(view.account(address).nonce))
    }

    pub(super) fn eth_get_balance(&self, params: Params<'_>) -> Result<Value, ChainError> {
        let address: Address = params.required(0, "address")?;
        let view = self.view(self.position_param(params, 1)?)?;
        json(&view.account(address).balance)
    }

    pub(super) fn eth_get_code(&self, params: Params<'_>) -> Result<Value, ChainError> {
        let address: Address = params.required(0, "address")?;
        let view = self.view(self.position_param(params, 1)?)?;
        json(&view.code(address).original_bytes())
    }

    pub(super) fn eth_get_storage_at(&self, params: Params<'_>) -> Result<Value, ChainError> {
        let address: Address = params.required(0, "address")?;
        let slot: U256 = params.required(1, "slot")?;
        let view = self.view(self.position_param(params, 2)?)?;
        json(&B256::from(view.storage(address, slot)))
    }

    pub(super) fn eth_get_block_by_number(&self, params: Params<'_>) -> Result<Value, ChainError> {
        let tag: BlockNumberOrTag = params.required(0, "block")?;
        let contents = contents(params)?;
        let block = self.visible_block(self.number(tag));
        json(&block.map(|block| block.to_rpc(contents)))
    }

    pub(super) fn eth_get_block_by_hash(&self, params: Params<'_>) -> Result<Value, ChainError> {
        let hash: B256 = params.required(0, "block hash")?;
        let contents = contents(params)?;
        let number = self.ledger().number_of(hash);
        let block = number.and_then(|number| self.visible_block(number));
        json(&block.map(|block| block.to_rpc(contents)))
    }

    pub(super) fn eth_get_block_receipts(&self, params: Params<'_>) -> Result<Value, ChainError> {
        let id: BlockId = params.required(0, "block")?;
        let number = match self.position(id) {
            Ok(Position::Number(number)) => number,
            Ok(Position::Latest | Position::Pending) => self.visible_head(),
            Err(_) => return Ok(Value::Null),
        };
        let block = self.visible_block(number);
        json(&block.map(|block| block.receipts().collect::<Vec<_>>()))
    }

    pub(super) fn eth_fee_history(&self, params: Params<'_>) -> Result<Value, ChainError> {
        let count = params.loose_number(0, "block count")?.unwrap_or(1).min(MAX_FEE_HISTORY_BLOCKS);
        let newest: BlockNumberOrTag = params.optional(1, "newest block")?.unwrap_or_default();
        let percentiles: Option<Vec<f64>> = params.optional(2, "reward percentiles")?;
        let columns = percentiles.map(|list| list.len());
        if columns.is_some_and(|columns| MAX_PERCENTILES < columns) {
            return Err(ChainError::InvalidParams { reason: format!("more than {MAX_PERCENTILES} reward percentiles") });
        }
        let head = self.visible_head();
        let newest = self.number(newest);
        if head < newest {
            return Err(ChainError::UnknownBlockNumber { head, got: newest });
        }
        let oldest = newest.saturating_add(1).saturating_sub(count);
        let blocks: Vec<&Block> = (oldest..=newest).filter_map(|number| self.visible_block(number)).collect();
        let rows = blocks.len().saturating_add(1);
        json(&FeeHistory {
            oldest_block: oldest,
            base_fee_per_gas: vec![u128::from(BASE_FEE); rows],
            gas_used_ratio: blocks.iter().map(|block| gas_used_ratio(block)).collect(),
            base_fee_per_blob_gas: vec![1; rows],
            blob_gas_used_ratio: vec![0.0; blocks.len()],
            // With one transaction per block every percentile is its tip.
            reward: columns.map(|columns| blocks.iter().map(|block| vec![tip(block); columns]).collect()),
        })
    }

    /// The optional block parameter at `index`; the default is `latest`, as on other nodes.
    fn position_param(&self, params: Params<'_>, index: usize) -> Result<Position, ChainError> {
        match params.optional(index, "block")? {
            Some(block) => self.position(block),
            None => Ok(Position::Latest),
        }
    }

    fn block_of_transaction(&self, params: Params<'_>) -> Result<Option<&Block>, ChainError> {
        let hash: B256 = params.required(0, "transaction hash")?;
        let block = self.ledger().block_of_transaction(hash);
        Ok(block.filter(|block| block.header.number <= self.visible_head()))
    }
}

fn contents(params: Params<'_>) -> Result<Contents, ChainError> {
    match params.optional(1, "full transactions")? {
        Some(true) => Ok(Contents::Full),
        Some(false) | None => Ok(Contents::Hashes),
    }
}

fn tip(block: &Block) -> u128 {
    block.receipts().next().map_or(0, |receipt| receipt.effective_gas_price.saturating_sub(u128::from(BASE_FEE)))
}

/// A float because the RPC says so; nothing is decided by it.
fn gas_used_ratio(block: &Block) -> f64 {
    block.header.gas_used as f64 / BLOCK_GAS_LIMIT as f64
}

const NO_OVERRIDES: &str = "state and block overrides are not supported";

/// As in geth.
const MAX_FEE_HISTORY_BLOCKS: u64 = 1024;

/// As in geth.
const MAX_PERCENTILES: usize = 100;
