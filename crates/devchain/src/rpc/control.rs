//! Methods only a development chain has: time travel, mining, reorganisations, snapshots, edits of accounts. Names and results as in
//! anvil, but for `devchain_reorg`, which it does not have.

use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes, U64, U256};
use serde_json::Value;

use super::json;
use super::params::{Params, parse_loose_number};
use crate::chain::{DevChain, Fate, SnapshotId};
use crate::config::Mining;
use crate::error::ChainError;

/// The most blocks one request may mine.
pub const MAX_MINED_AT_ONCE: u64 = 10_000;

impl DevChain {
    pub(super) fn evm_increase_time(&mut self, params: Params<'_>) -> Result<Value, ChainError> {
        let seconds = params.required_number(0, "seconds")?;
        json(&self.increase_time(seconds)?)
    }

    pub(super) fn evm_set_next_block_timestamp(&mut self, params: Params<'_>) -> Result<Value, ChainError> {
        let timestamp = params.required_number(0, "timestamp")?;
        self.set_next_block_timestamp(timestamp)?;
        Ok(Value::Null)
    }

    /// Takes nothing, a timestamp, or `{timestamp, blocks}`.
    pub(super) fn evm_mine(&mut self, params: Params<'_>) -> Result<Value, ChainError> {
        let (timestamp, blocks) = match params.0.first() {
            Some(Value::Object(options)) => {
                let option = |name| match options.get(name) {
                    None | Some(Value::Null) => Ok(None),
                    Some(value) => parse_loose_number(value)
                        .map(Some)
                        .ok_or_else(|| ChainError::InvalidParams { reason: format!("{name} is not a number of 64 bits") }),
                };
                (option("timestamp")?, option("blocks")?)
            }
            _ => (params.loose_number(0, "timestamp")?, None),
        };
        let blocks = blocks.unwrap_or(1);
        check_mined_at_once(blocks)?;
        if let Some(timestamp) = timestamp {
            self.set_next_block_timestamp(timestamp)?;
        }
        for _ in 0..blocks {
            self.mine()?;
        }
        json("0x0")
    }

    /// Blocks, and the seconds between them.
    pub(super) fn mine_many(&mut self, params: Params<'_>) -> Result<Value, ChainError> {
        let blocks = params.loose_number(0, "blocks")?.unwrap_or(1);
        let interval = params.loose_number(1, "interval")?.unwrap_or(0);
        check_mined_at_once(blocks)?;
        for index in 0..blocks {
            if 0 < index && 0 < interval {
                let timestamp = self.head().timestamp.saturating_add(interval);
                self.set_next_block_timestamp(timestamp)?;
            }
            self.mine()?;
        }
        Ok(Value::Null)
    }

    /// True: each transaction is a block at once. False: blocks are made by `evm_mine` only.
    pub(super) fn evm_set_automine(&mut self, params: Params<'_>) -> Result<Value, ChainError> {
        let is_on: bool = params.required(0, "on or off")?;
        self.set_mining(if is_on { Mining::Instant } else { Mining::Manual });
        Ok(Value::Null)
    }

    /// Seconds between blocks; with 0, blocks are made by `evm_mine` only.
    pub(super) fn evm_set_interval_mining(&mut self, params: Params<'_>) -> Result<Value, ChainError> {
        let seconds = params.required_number(0, "seconds")?;
        self.set_mining(match seconds {
            0 => Mining::Manual,
            seconds => Mining::Every(Duration::from_secs(seconds)),
        });
        Ok(Value::Null)
    }

    pub(super) fn txpool_status(&self) -> Result<Value, ChainError> {
        let status = self.pool_status();
        json(&serde_json::json!({"pending": U256::from(status.pending), "queued": U256::from(status.queued)}))
    }

    /// Returns the hash if the transaction waited, null if not.
    pub(super) fn rpc_drop_transaction(&mut self, params: Params<'_>) -> Result<Value, ChainError> {
        let hash: B256 = params.required(0, "transaction hash")?;
        json(&self.drop_transaction(hash).then_some(hash))
    }

    /// As anvil's with no transactions to put into the new blocks: those of the old ones are gone.
    pub(super) fn anvil_reorg(&mut self, params: Params<'_>) -> Result<Value, ChainError> {
        let depth = params.required_number(0, "depth")?;
        let transactions: Option<Vec<Value>> = params.optional(1, "transactions")?;
        if transactions.is_some_and(|list| !list.is_empty()) {
            return Err(ChainError::InvalidParams {
                reason: "transactions for the new blocks are not supported; see devchain_reorg".to_owned(),
            });
        }
        self.reorg(depth, Fate::Dropped)?;
        Ok(Value::Null)
    }

    /// Depth, and what becomes of the transactions: "pooled" or "dropped".
    pub(super) fn devchain_reorg(&mut self, params: Params<'_>) -> Result<Value, ChainError> {
        let depth = params.required_number(0, "depth")?;
        let fate: String = params.required(1, "fate")?;
        let fate = match fate.as_str() {
            "pooled" => Fate::Pooled,
            "dropped" => Fate::Dropped,
            _ => return Err(ChainError::InvalidParams { reason: "parameter 1 (fate): neither \"pooled\" nor \"dropped\"".to_owned() }),
        };
        json(&self.reorg(depth, fate)?.hash)
    }

    pub(super) fn evm_snapshot(&mut self, _: Params<'_>) -> Result<Value, ChainError> {
        json(&U64::from(self.snapshot()?.0))
    }

    pub(super) fn evm_revert(&mut self, params: Params<'_>) -> Result<Value, ChainError> {
        let id = params.required_number(0, "snapshot")?;
        json(&self.revert(SnapshotId(id)))
    }

    pub(super) fn rpc_set_code(&mut self, params: Params<'_>) -> Result<Value, ChainError> {
        let address: Address = params.required(0, "address")?;
        let code: Bytes = params.required(1, "code")?;
        self.set_code(address, code)?;
        Ok(Value::Null)
    }

    pub(super) fn rpc_set_balance(&mut self, params: Params<'_>) -> Result<Value, ChainError> {
        let address: Address = params.required(0, "address")?;
        let balance: U256 = params.required(1, "balance")?;
        self.set_balance(address, balance);
        Ok(Value::Null)
    }

    pub(super) fn rpc_set_nonce(&mut self, params: Params<'_>) -> Result<Value, ChainError> {
        let address: Address = params.required(0, "address")?;
        let nonce = params.required_number(1, "nonce")?;
        self.set_nonce(address, nonce);
        Ok(Value::Null)
    }

    pub(super) fn rpc_set_storage_at(&mut self, params: Params<'_>) -> Result<Value, ChainError> {
        let address: Address = params.required(0, "address")?;
        let slot: U256 = params.required(1, "slot")?;
        let value: U256 = params.required(2, "value")?;
        self.set_storage(address, slot, value);
        Ok(Value::Bool(true))
    }
}

const fn check_mined_at_once(got: u64) -> Result<(), ChainError> {
    if MAX_MINED_AT_ONCE < got {
        return Err(ChainError::TooManyBlocks { limit: MAX_MINED_AT_ONCE, got });
    }
    Ok(())
}
