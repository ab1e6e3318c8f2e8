//! The `eth_` methods: calls, transactions, blocks, accounts.

use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::primitives::{Address, B256, Bytes, U64, U256};
use alloy::rpc::types::TransactionRequest;
use serde_json::Value;

use super::json;
use super::params::Params;
use crate::chain::{DevChain, Position};
use crate::error::ChainError;
use crate::ledger::{Block, Contents};

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

    /// One that waits is shown too, in no block.
    pub(super) fn eth_get_transaction_by_hash(&self, params: Params<'_>) -> Result<Value, ChainError> {
        let hash: B256 = params.required(0, "transaction hash")?;
        let mined = self.visible_transaction(hash).and_then(|(block, index)| block.rpc_transaction(index));
        json(&mined.or_else(|| self.waiting_transaction(hash)))
    }

    pub(super) fn eth_get_transaction_receipt(&self, params: Params<'_>) -> Result<Value, ChainError> {
        let hash: B256 = params.required(0, "transaction hash")?;
        json(&self.visible_transaction(hash).and_then(|(block, index)| block.receipts().nth(index)))
    }

    /// At `pending`, what waits in the pool counts.
    pub(super) fn eth_get_transaction_count(&self, params: Params<'_>) -> Result<Value, ChainError> {
        let address: Address = params.required(0, "address")?;
        let position = self.position_param(params, 1)?;
        let nonce = self.view(position)?.account(address).nonce;
        json(&U64::from(match position {
            Position::Pending => self.pending_nonce(address, nonce),
            Position::Latest | Position::Number(_) => nonce,
        }))
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

    /// The optional block parameter at `index`; the default is `latest`, as on other nodes.
    fn position_param(&self, params: Params<'_>, index: usize) -> Result<Position, ChainError> {
        match params.optional(index, "block")? {
            Some(block) => self.position(block),
            None => Ok(Position::Latest),
        }
    }

    fn visible_transaction(&self, hash: B256) -> Option<(&Block, usize)> {
        self.ledger().transaction(hash).filter(|(block, _)| block.header.number <= self.visible_head())
    }
}

fn contents(params: Params<'_>) -> Result<Contents, ChainError> {
    match params.optional(1, "full transactions")? {
        Some(true) => Ok(Contents::Full),
        Some(false) | None => Ok(Contents::Hashes),
    }
}

const NO_OVERRIDES: &str = "state and block overrides are not supported";
