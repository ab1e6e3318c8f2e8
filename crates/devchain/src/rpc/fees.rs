//! What gas costs: `eth_gasPrice` and its siblings, and the base fee that a test sets.

use alloy::eips::BlockNumberOrTag;
use alloy::primitives::U256;
use alloy::rpc::types::FeeHistory;
use serde_json::Value;

use super::json;
use super::params::Params;
use crate::chain::{DevChain, tips_at};
use crate::error::ChainError;
use crate::ledger::{BLOCK_GAS_LIMIT, Block};

impl DevChain {
    /// The next base fee and the suggested tip.
    pub(super) fn eth_gas_price(&self) -> Result<Value, ChainError> {
        let base_fee = self.visible_block(self.visible_head()).map_or(0, |head| self.base_fee_after(head));
        json(&U256::from(u128::from(base_fee).saturating_add(self.suggested_tip())))
    }

    pub(super) fn eth_max_priority_fee_per_gas(&self) -> Result<Value, ChainError> {
        json(&U256::from(self.suggested_tip()))
    }

    pub(super) fn eth_fee_history(&self, params: Params<'_>) -> Result<Value, ChainError> {
        let count = params.loose_number(0, "block count")?.unwrap_or(1).min(MAX_FEE_HISTORY_BLOCKS);
        let newest: BlockNumberOrTag = params.optional(1, "newest block")?.unwrap_or_default();
        let percentiles: Option<Vec<f64>> = params.optional(2, "reward percentiles")?;
        if percentiles.as_ref().is_some_and(|list| MAX_PERCENTILES < list.len()) {
            return Err(ChainError::InvalidParams { reason: format!("more than {MAX_PERCENTILES} reward percentiles") });
        }
        let head = self.visible_head();
        let newest = self.number(newest);
        if head < newest {
            return Err(ChainError::UnknownBlockNumber { head, got: newest });
        }
        let oldest = newest.saturating_add(1).saturating_sub(count);
        let blocks: Vec<&Block> = (oldest..=newest).filter_map(|number| self.visible_block(number)).collect();
        // One row more than blocks: that of the block after the newest.
        let base_fee_after = |block: &Block| {
            let child = self.visible_block(block.header.number.saturating_add(1));
            child.map_or_else(|| self.base_fee_after(block), Block::base_fee)
        };
        let following = self.visible_block(newest).map(base_fee_after);
        let base_fees: Vec<u64> = blocks.iter().map(|block| block.base_fee()).chain(following).collect();
        json(&FeeHistory {
            oldest_block: oldest,
            base_fee_per_blob_gas: vec![1; base_fees.len()],
            base_fee_per_gas: base_fees.into_iter().map(u128::from).collect(),
            gas_used_ratio: blocks.iter().map(|block| gas_used_ratio(block)).collect(),
            blob_gas_used_ratio: vec![0.0; blocks.len()],
            reward: percentiles.map(|list| blocks.iter().map(|block| tips_at(block, &list)).collect()),
        })
    }

    pub(super) fn set_next_block_base_fee(&mut self, params: Params<'_>) -> Result<Value, ChainError> {
        let wei = params.required_number(0, "base fee in wei")?;
        self.set_next_base_fee(wei)?;
        Ok(Value::Null)
    }
}

/// A float because the RPC says so; nothing is decided by it.
fn gas_used_ratio(block: &Block) -> f64 {
    block.header.gas_used as f64 / BLOCK_GAS_LIMIT as f64
}

/// As in geth.
const MAX_FEE_HISTORY_BLOCKS: u64 = 1024;

/// As in geth.
const MAX_PERCENTILES: usize = 100;
