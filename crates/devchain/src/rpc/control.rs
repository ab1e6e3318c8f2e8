//! Methods only a development chain has: time travel, mining, snapshots, edits of accounts. Names and results as in anvil.

use alloy::primitives::{Address, Bytes, U64, U256};
use serde_json::Value;

use super::json;
use super::params::{Params, parse_loose_number};
use crate::chain::{DevChain, SnapshotId};
use crate::error::ChainError;

/// The most blocks one request may mine.
pub const MAX_MINED_AT_ONCE: u64 = 10_000;

impl DevChain {
    pub(super) fn evm_increase_time(&mut self, params: Params<'_>) -> Result<Value, ChainError> {
        let seconds = required_number(params, 0, "seconds")?;
        json(&self.increase_time(seconds)?)
    }

    pub(super) fn evm_set_next_block_timestamp(&mut self, params: Params<'_>) -> Result<Value, ChainError> {
        let timestamp = required_number(params, 0, "timestamp")?;
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

    pub(super) fn evm_snapshot(&mut self, _: Params<'_>) -> Result<Value, ChainError> {
        json(&U64::from(self.snapshot()?.0))
    }

    pub(super) fn evm_revert(&mut self, params: Params<'_>) -> Result<Value, ChainError> {
        let id = required_number(params, 0, "snapshot")?;
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
        let nonce = required_number(params, 1, "nonce")?;
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

fn required_number(params: Params<'_>, index: usize, name: &str) -> Result<u64, ChainError> {
    params.loose_number(index, name)?.ok_or_else(|| ChainError::InvalidParams { reason: format!("missing parameter {index} ({name})") })
}

const fn check_mined_at_once(got: u64) -> Result<(), ChainError> {
    if MAX_MINED_AT_ONCE < got {
        return Err(ChainError::TooManyBlocks { limit: MAX_MINED_AT_ONCE, got });
    }
    Ok(())
}
