//! What an answer cost, in the decimals and by the name that the signed terms give its token: for a terminal, a header, a member of JSON.
//!
//! The amount is what the receipt charges. Not here: whether the receipt holds (the verdict), and whether the money moved (a chain).

use std::fmt;

use candor_verify::bundle::Bundle;
use candor_verify::bytes::Amount;
use candor_verify::receipt::Money;
use candor_verify::terms::Asset;
use candor_verify::text::one_line;
use serde_json::{Value, json};

use crate::decimal_text;

/// Names under which tokens of one US dollar each are known. The terms' name is the operator's word; that the token behind it is worth what
/// its name says is vouched for by who put its contract into the spend policy.
const DOLLARS: [&str; 5] = ["USDC", "USD Coin", "USDT", "Tether USD", "PYUSD"];

/// Tokens have 18 decimals at most; with more than this a number is wider than a line.
const DECIMALS_MAX: u8 = 36;

/// Characters of a token's name that are shown.
const NAME_MAX: usize = 32;

/// What one answer cost.
///
/// # Security
/// It is a claim until the bundle was verified.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'a> {
    money: &'a Money,
    is_sold: bool,
    asset: Option<&'a Asset>,
}

impl<'a> Charge<'a> {
    /// Of the answer in this bundle.
    #[must_use]
    pub fn of(bundle: &'a Bundle) -> Self {
        let money = &bundle.delivery.receipt.money;
        let listed = bundle.evidence.terms.terms.asset(money.chain_id, &money.asset);
        Self { money, is_sold: bundle.sale.is_some(), asset: listed.filter(|asset| asset.decimals <= DECIMALS_MAX) }
    }

    /// `0.000301 USDC`; `301 units of 0x…` of a token that the terms do not list; `nobody paid`.
    #[must_use]
    pub fn text(&self) -> String {
        if self.is_sold { self.amount(self.money.charged) } else { "nobody paid".to_owned() }
    }

    /// Another amount of the same money.
    #[must_use]
    pub fn amount(&self, amount: Amount) -> String {
        money_text(amount, self.asset.map(|asset| (asset.name.as_str(), asset.decimals)), &self.money.asset)
    }

    /// In US dollars, as a number of JSON; `None` of a token that is not known to be one each.
    #[must_use]
    pub fn dollars(&self) -> Option<String> {
        match (self.is_sold, self.asset) {
            (false, _) => Some("0".to_owned()),
            (true, Some(asset)) => is_dollar(asset).then(|| decimal_text(self.money.charged, asset.decimals)),
            (true, None) => None,
        }
    }

    /// For programs: the integer in the token's smallest unit, and what it is of.
    #[must_use]
    pub fn json(&self) -> Value {
        let Money { asset, chain_id, charged, .. } = self.money;
        let charged = if self.is_sold { *charged } else { Amount::ZERO };
        let decimals = self.asset.map(|asset| asset.decimals);
        let (asset, chain_id) = if self.is_sold { (json!(asset.to_string()), json!(chain_id)) } else { (Value::Null, Value::Null) };
        json!({"text": self.text(), "amount": charged.to_string(), "decimals": decimals, "asset": asset, "chain_id": chain_id})
    }
}

/// An amount for people, in the decimals and by the name of its token, which are somebody's word: `0.000301 USDC`; `301 units of 0x…` of a token of
/// which neither is known. Of one line, however it is named.
#[must_use]
pub fn money_text(amount: Amount, token: Option<(&str, u8)>, asset: &dyn fmt::Display) -> String {
    match token.filter(|(_, decimals)| *decimals <= DECIMALS_MAX) {
        Some((name, decimals)) => {
            let name: String = one_line(name).chars().take(NAME_MAX).collect();
            format!("{} {name}", decimal_text(amount, decimals))
        }
        None => format!("{amount} units of {asset}"),
    }
}

/// Whether a token is known as one US dollar.
#[must_use]
pub fn is_dollar(asset: &Asset) -> bool {
    DOLLARS.contains(&asset.name.as_str())
}

#[cfg(test)]
mod tests {
    use candor_verify::bytes::{Address, Hash32};

    use super::*;

    fn charge<'a>(money: &'a Money, asset: Option<&'a Asset>) -> Charge<'a> {
        Charge { money, is_sold: true, asset }
    }

    fn asset(name: &str) -> Asset {
        Asset { chain_id: 1, asset: Address([1; 20]), name: name.into(), version: "2".into(), decimals: 6 }
    }

    #[test]
    fn a_charge_has_the_decimals_and_the_name_of_its_token_and_only_dollars_are_dollars() {
        let money = Money { charged: Amount(301), asset: Address([1; 20]), ..Money::unpaid(1, Address([2; 20]), &Hash32::ZERO, 0) };
        let (usdc, euros) = (asset("USDC"), asset("EURC"));
        let dollar = charge(&money, Some(&usdc));
        assert_eq!((dollar.text().as_str(), dollar.dollars().as_deref()), ("0.000301 USDC", Some("0.000301")));
        assert_eq!(dollar.json()["amount"], "301");
        assert_eq!((charge(&money, Some(&euros)).text().as_str(), charge(&money, Some(&euros)).dollars()), ("0.000301 EURC", None));
        let unlisted = charge(&money, None);
        assert_eq!((unlisted.text(), unlisted.dollars()), (format!("301 units of {}", Address([1; 20])), None));
        let free = Charge { is_sold: false, ..dollar };
        assert_eq!((free.text().as_str(), free.dollars().as_deref(), free.json()["asset"].is_null()), ("nobody paid", Some("0"), true));
    }

    #[test]
    fn the_name_of_a_token_stays_on_its_line_and_has_an_end() {
        let money = Money { charged: Amount(1), ..Money::unpaid(1, Address([2; 20]), &Hash32::ZERO, 0) };
        let hostile = asset(&format!("US\r\nD\u{1b}[2K{}", "x".repeat(500)));
        let text = charge(&money, Some(&hostile)).text();
        assert!(!text.chars().any(char::is_control) && text.chars().count() < 60, "{text:?}");
        assert_eq!(money_text(Amount(1), Some(("X", 255)), &"a token"), "1 units of a token", "no number is wider than a line");
    }
}
