//! What a node's transactions cost: gas as measured (docs/contracts.md), and the same in ether and in the money of a price.

use candor_report::Decimal;
use candor_verify::bytes::Amount;

/// One payment settled: a transfer with authorization of a token behind a proxy, with its calldata.
pub(crate) const SETTLE_GAS: u64 = 90_000;

/// One boot registered, the first of its operator.
pub(crate) const REGISTER_GAS: u64 = 360_000;

/// One renewal with a document of 4,500 bytes, which calldata alone (EIP-7623) makes 207,000.
pub(crate) const RENEW_GAS: u64 = 220_000;

/// One anchor.
pub(crate) const ANCHOR_GAS: u64 = 90_000;

const WEI_PER_ETHER: u128 = 1_000_000_000_000_000_000;

/// So much gas in the smallest unit of a money in which one ether costs `ether`; rounded up. More than can be counted is the most.
pub(crate) fn in_money(gas: u64, wei_per_gas: u128, ether: Decimal, decimals: u8) -> Amount {
    let per_ether = ether.units(decimals).unwrap_or(Amount(u128::MAX));
    let wei = u128::from(gas).saturating_mul(wei_per_gas);
    // In two steps, so that neither product is beyond 128 bits at any price that there is: by the gwei first.
    let gwei = wei.div_ceil(1_000_000_000);
    Amount(gwei.saturating_mul(per_ether.0).div_ceil(WEI_PER_ETHER / 1_000_000_000))
}

/// What somebody has, in ether for people: six digits after the point, rounded down.
pub(crate) fn ether_held(wei: u128) -> String {
    let micro = wei / (WEI_PER_ETHER / 1_000_000);
    format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000)
}

/// What somebody needs, in ether for people: six digits after the point, rounded up.
pub(crate) fn ether(wei: u128) -> String {
    let micro = wei.div_ceil(WEI_PER_ETHER / 1_000_000);
    format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000)
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
        assert_eq!(in_money(u64::MAX, u128::MAX, ether_at("3000"), 18), Amount(u128::MAX.div_ceil(1_000_000_000)));
        assert_eq!(ether(90_000_000_000_000), "0.000090");
        assert_eq!((ether(1).as_str(), ether_held(1).as_str()), ("0.000001", "0.000000"));
    }
}
