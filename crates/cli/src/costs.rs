//! What a node's transactions cost: gas as measured (docs/contracts.md), and the same in ether and in the money of a price.

use candor_report::{Decimal, decimal_text};
use candor_verify::bytes::Amount;

/// One payment settled: a transfer with authorization of a token behind a proxy, with its calldata.
pub(crate) const SETTLE_GAS: u64 = 90_000;

/// One boot registered, the first of its operator.
pub(crate) const REGISTER_GAS: u64 = 360_000;

/// One renewal with a document of 4,500 bytes, which calldata alone (EIP-7623) makes 207,000.
pub(crate) const RENEW_GAS: u64 = 220_000;

/// One anchor.
pub(crate) const ANCHOR_GAS: u64 = 90_000;

/// Digits of an ether after its point.
pub(crate) const ETHER_DECIMALS: u8 = 18;

const WEI_PER_ETHER: u128 = 10_u128.pow(ETHER_DECIMALS as u32);

/// The unit of gas prices.
pub(crate) const WEI_PER_GWEI: u128 = 1_000_000_000;

/// So much gas in the smallest unit of a money in which one ether costs `ether`; rounded up. More than can be counted is the most.
pub(crate) fn in_money(gas: u64, wei_per_gas: u128, ether: Decimal, decimals: u8) -> Amount {
    let counted = || {
        let per_ether = ether.units(decimals).ok()?;
        // In two steps, so that neither product is beyond 128 bits at any price that there is: by the gwei first.
        let gwei = u128::from(gas).checked_mul(wei_per_gas)?.div_ceil(WEI_PER_GWEI);
        Some(gwei.checked_mul(per_ether.0)?.div_ceil(WEI_PER_ETHER / WEI_PER_GWEI))
    };
    Amount(counted().unwrap_or(u128::MAX))
}

/// A millionth of an ether: the last digit that people are shown.
const WEI_PER_MICRO: u128 = WEI_PER_ETHER / 1_000_000;

/// What somebody has, in ether for people: six digits after the point, rounded down.
pub(crate) fn ether_held(wei: u128) -> String {
    decimal_text(Amount(wei / WEI_PER_MICRO), 6)
}

/// What somebody needs, in ether for people: six digits after the point, rounded up.
pub(crate) fn ether(wei: u128) -> String {
    decimal_text(Amount(wei.div_ceil(WEI_PER_MICRO)), 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gas_in_money_is_what_one_counts_by_hand_and_never_too_little() {
        let ether_at = |text: &str| Decimal::parse(text).unwrap();
        // 90,000 gas at 1 gwei are 0.00009 ether; at 3,000 that is 0.27.
        assert_eq!(in_money(90_000, 1_000_000_000, ether_at("3000"), 6), Amount(270_000));
        // At a thousandth of a gwei 0.00027; a unit less would be a loss.
        assert_eq!(in_money(90_000, 1_000_000, ether_at("3000"), 6), Amount(270));
        assert_eq!(in_money(1, 1, ether_at("3000"), 6), Amount(3), "a gwei at least");
        assert_eq!(in_money(u64::MAX, u128::MAX, ether_at("3000"), 18), Amount(u128::MAX), "no sum that wrapped or stopped on its way");
        assert_eq!(ether(90_000_000_000_000), "0.000090");
        assert_eq!((ether(1).as_str(), ether_held(1).as_str()), ("0.000001", "0.000000"));
    }
}
