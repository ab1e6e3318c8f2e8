//! What gas costs: the base fee of each block, and the tips that were paid.

use alloy::eips::eip1559::{BaseFeeParams, calc_next_block_base_fee};

use super::DevChain;
use crate::config::{BaseFee, Mining};
use crate::error::ChainError;
use crate::ledger::{BLOCK_GAS_LIMIT, Block};

impl DevChain {
    /// The base fee of the block that is mined next, in wei per gas.
    #[must_use]
    pub fn next_base_fee(&self) -> u64 {
        self.base_fee_after(self.ledger.head())
    }

    /// Fixes the base fee of the next block, in wei per gas; later ones follow from it by [`BaseFee`].
    ///
    /// # Errors
    /// [`ChainError::BaseFeeTooHigh`] above [`MAX_BASE_FEE`].
    pub fn set_next_base_fee(&mut self, wei: u64) -> Result<(), ChainError> {
        if MAX_BASE_FEE < wei {
            return Err(ChainError::BaseFeeTooHigh { limit: MAX_BASE_FEE, got: wei });
        }
        self.next_base_fee = Some(wei);
        Ok(())
    }

    /// How the base fee goes on from the head.
    pub fn set_base_fee(&mut self, base_fee: BaseFee) {
        self.base_fee = base_fee;
    }

    /// The base fee of the block after `block`, which need not exist.
    pub(crate) fn base_fee_after(&self, block: &Block) -> u64 {
        let fixed = self.next_base_fee.filter(|_| block.hash == self.ledger.head().hash);
        fixed.unwrap_or_else(|| match self.base_fee {
            BaseFee::Fixed => block.base_fee(),
            BaseFee::Moving => {
                let next = calc_next_block_base_fee(block.header.gas_used, BLOCK_GAS_LIMIT, block.base_fee(), BaseFeeParams::ethereum());
                next.min(MAX_BASE_FEE)
            }
        })
    }

    /// The tip that a sender in a hurry would pay, in wei per gas: the median of recent ones. Zero where there is no competition.
    pub(crate) fn suggested_tip(&self) -> u128 {
        if self.mining() == Mining::Instant {
            return 0;
        }
        let head = self.visible_head();
        let recent = (head.saturating_sub(TIP_BLOCKS)..=head).filter_map(|number| self.visible_block(number));
        let mut tips: Vec<u128> =
            recent.flat_map(|block| block.receipts().map(|receipt| tip(block, receipt.effective_gas_price))).collect();
        tips.sort_unstable();
        tips.get(tips.len() / 2).copied().unwrap_or(0)
    }
}

/// The tips of a block at percentiles of its gas, in wei per gas, as `eth_feeHistory` defines them; zeros for an empty block.
pub(crate) fn tips_at(block: &Block, percentiles: &[f64]) -> Vec<u128> {
    let mut paid: Vec<(u128, u64)> = block.receipts().map(|receipt| (tip(block, receipt.effective_gas_price), receipt.gas_used)).collect();
    paid.sort_unstable();
    let mut sum = 0_u64;
    for (_, gas) in &mut paid {
        sum = sum.saturating_add(*gas);
        *gas = sum;
    }
    let at = |percentile: &f64| {
        // Floats because the RPC says so. What is out of range saturates, and is answered with the first or last tip.
        let threshold = (block.header.gas_used as f64 * percentile / 100.0) as u64;
        let index = paid.partition_point(|(_, until)| *until < threshold);
        paid.get(index).or(paid.last()).map_or(0, |(tip, _)| *tip)
    };
    percentiles.iter().map(at).collect()
}

fn tip(block: &Block, effective_gas_price: u128) -> u128 {
    effective_gas_price.saturating_sub(u128::from(block.base_fee()))
}

/// The highest base fee, in wei per gas: one ether. Far from where its arithmetic could overflow.
pub const MAX_BASE_FEE: u64 = 1_000_000_000_000_000_000;

/// How many blocks the suggested tip looks back, as in geth.
const TIP_BLOCKS: u64 = 19;
