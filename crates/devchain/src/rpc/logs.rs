//! `eth_getLogs`: the filter is alloy's, the walk over blocks is ours and bounded.

use alloy::eips::BlockNumberOrTag;
use alloy::rpc::types::{Filter, FilterBlockOption, Log};
use serde_json::Value;

use super::json;
use super::params::Params;
use crate::chain::DevChain;
use crate::error::ChainError;

/// The most logs one query may return, as at public RPC providers.
pub const MAX_LOGS: usize = 10_000;

impl DevChain {
    pub(super) fn eth_get_logs(&self, params: Params<'_>) -> Result<Value, ChainError> {
        let filter: Filter = params.required(0, "filter")?;
        let (from, to) = self.log_range(&filter)?;
        let mut found: Vec<&Log> = Vec::new();
        // The walk ends at the head: numbers above it name no block.
        for number in from..=to.min(self.visible_head()) {
            let Some(block) = self.visible_block(number) else { break };
            if !filter.matches_bloom(block.header.logs_bloom) {
                continue;
            }
            let logs = block.receipts().flat_map(|receipt| receipt.inner.logs());
            found.extend(logs.filter(|log| filter.matches(&log.inner)));
            if MAX_LOGS < found.len() {
                return Err(ChainError::TooManyLogs { limit: MAX_LOGS });
            }
        }
        json(&found)
    }

    fn log_range(&self, filter: &Filter) -> Result<(u64, u64), ChainError> {
        match filter.block_option {
            FilterBlockOption::AtBlockHash(got) => {
                let number = self.ledger().number_of(got);
                let number = number.filter(|number| *number <= self.visible_head());
                let number = number.ok_or(ChainError::UnknownBlockHash { got })?;
                Ok((number, number))
            }
            FilterBlockOption::Range { from_block, to_block } => {
                let from = self.number(from_block.unwrap_or(BlockNumberOrTag::Latest));
                let to = self.number(to_block.unwrap_or(BlockNumberOrTag::Latest));
                // A start beyond the head with an open end is how clients poll for what is next: not an error.
                if to < from && to_block.is_some_and(|tag| tag.as_number().is_some()) {
                    return Err(ChainError::InvalidBlockRange { from, to });
                }
                Ok((from, to))
            }
        }
    }
}
