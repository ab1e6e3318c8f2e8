//! The JSON-RPC methods of the chain, by name.
//!
//! `read` has what every client needs, `logs` the log queries, `fees` what gas costs, `control` the time travel, snapshots, mining and
//! account edits that only a development chain has. This file routes a method name to its function and reads parameters; envelopes, batches
//! and injected faults are in `shared`.

mod control;
mod fees;
mod logs;
mod params;
mod read;

use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::primitives::U64;
use serde::Serialize;
use serde_json::Value;

use crate::chain::{DevChain, Position};
use crate::error::ChainError;
use params::Params;

pub use control::MAX_MINED_AT_ONCE;
pub use logs::MAX_LOGS;

impl DevChain {
    /// Executes one method.
    pub(crate) fn call_method(&mut self, method: &str, params: &[Value]) -> Result<Value, ChainError> {
        let params = Params(params);
        match method {
            "eth_chainId" => json(&U64::from(self.chain_id())),
            "net_version" => json(&self.chain_id().to_string()),
            "net_listening" => Ok(Value::Bool(true)),
            "web3_clientVersion" => json(CLIENT_VERSION),
            "eth_accounts" => json::<[u8; 0]>(&[]),
            "eth_syncing" => Ok(Value::Bool(false)),
            "eth_blockNumber" => json(&U64::from(self.visible_head())),
            "eth_call" => self.eth_call(params),
            "eth_estimateGas" => self.eth_estimate_gas(params),
            "eth_gasPrice" => self.eth_gas_price(),
            "eth_maxPriorityFeePerGas" => self.eth_max_priority_fee_per_gas(),
            "eth_feeHistory" => self.eth_fee_history(params),
            "eth_sendRawTransaction" => self.eth_send_raw_transaction(params),
            "eth_getTransactionByHash" => self.eth_get_transaction_by_hash(params),
            "eth_getTransactionReceipt" => self.eth_get_transaction_receipt(params),
            "eth_getTransactionCount" => self.eth_get_transaction_count(params),
            "eth_getBalance" => self.eth_get_balance(params),
            "eth_getCode" => self.eth_get_code(params),
            "eth_getStorageAt" => self.eth_get_storage_at(params),
            "eth_getBlockByNumber" => self.eth_get_block_by_number(params),
            "eth_getBlockByHash" => self.eth_get_block_by_hash(params),
            "eth_getBlockReceipts" => self.eth_get_block_receipts(params),
            "eth_getLogs" => self.eth_get_logs(params),
            "txpool_status" => self.txpool_status(),
            "evm_increaseTime" => self.evm_increase_time(params),
            "evm_setNextBlockTimestamp" => self.evm_set_next_block_timestamp(params),
            "evm_mine" => self.evm_mine(params),
            "anvil_mine" | "hardhat_mine" => self.mine_many(params),
            "evm_setAutomine" | "anvil_setAutomine" => self.evm_set_automine(params),
            "evm_setIntervalMining" | "anvil_setIntervalMining" => self.evm_set_interval_mining(params),
            "anvil_setNextBlockBaseFeePerGas" | "hardhat_setNextBlockBaseFeePerGas" => self.set_next_block_base_fee(params),
            "anvil_dropTransaction" | "hardhat_dropTransaction" => self.rpc_drop_transaction(params),
            "anvil_reorg" => self.anvil_reorg(params),
            "devchain_reorg" => self.devchain_reorg(params),
            "evm_snapshot" => self.evm_snapshot(params),
            "evm_revert" => self.evm_revert(params),
            "anvil_setCode" | "hardhat_setCode" => self.rpc_set_code(params),
            "anvil_setBalance" | "hardhat_setBalance" => self.rpc_set_balance(params),
            "anvil_setNonce" | "hardhat_setNonce" => self.rpc_set_nonce(params),
            "anvil_setStorageAt" | "hardhat_setStorageAt" => self.rpc_set_storage_at(params),
            _ => Err(ChainError::UnknownMethod {
                // A method name of megabytes is not worth repeating.
                method: method.chars().take(MAX_QUOTED_CHARS).collect(),
            }),
        }
    }

    /// The position a block parameter names. A hash must be of a block that is visible.
    fn position(&self, block: BlockId) -> Result<Position, ChainError> {
        match block {
            BlockId::Hash(hash) => {
                let got = hash.block_hash;
                self.ledger()
                    .number_of(got)
                    .filter(|number| *number <= self.visible_head())
                    .map(Position::Number)
                    .ok_or(ChainError::UnknownBlockHash { got })
            }
            BlockId::Number(BlockNumberOrTag::Pending) => Ok(Position::Pending),
            BlockId::Number(BlockNumberOrTag::Latest) => Ok(Position::Latest),
            BlockId::Number(tag @ (BlockNumberOrTag::Safe | BlockNumberOrTag::Finalized)) if self.number(tag) == self.visible_head() => {
                Ok(Position::Latest)
            }
            BlockId::Number(tag) => Ok(Position::Number(self.number(tag))),
        }
    }
}

/// A result as JSON.
fn json<T: Serialize + ?Sized>(value: &T) -> Result<Value, ChainError> {
    serde_json::to_value(value).map_err(|error| ChainError::Bug { what: error.to_string() })
}

const CLIENT_VERSION: &str = concat!("candor-devchain/", env!("CARGO_PKG_VERSION"), " (development only, nothing here has value)");

const MAX_QUOTED_CHARS: usize = 64;
