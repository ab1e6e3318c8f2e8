//! What a bundle holds, as people read it: moments in UTC, money in decimals of its asset, hashes by their ends. Integers only, no float, and
//! no clock: a page of one bundle and one verdict is the same page tomorrow.

use candor_verify::bytes::{Address, Amount, Hash32};
use candor_verify::terms::OperatorTerms;
use candor_verify::time::UnixMs;

use super::said;

/// A hash or an address by its ends, whole where a pointer rests on it, and whole again under "Full values".
pub(super) fn brief(value: impl ToString) -> String {
    let whole = said::plain(&value.to_string(), 80);
    format!("<span class=\"h\" title=\"{whole}\">{}</span>", ends(&whole))
}

/// A hash or an address as short as a person compares it: the first six digits and the last four, without 0x.
#[must_use]
pub fn ends(whole: &str) -> String {
    let digits = whole.strip_prefix("0x").unwrap_or(whole);
    let tail = digits.len().saturating_sub(4);
    match (digits.get(..6), digits.get(tail..)) {
        (Some(head), Some(tail)) if 12 < digits.len() => format!("{head}…{tail}"),
        _ => digits.to_owned(),
    }
}

/// `28 November 2026, 17:23:40 UTC`. The number alone where no calendar of four digits has it.
pub(super) fn moment(at: UnixMs) -> String {
    match Civil::of(at) {
        Some(civil) => format!("{} {} {}, {} UTC", civil.day, civil.month, civil.year, civil.time),
        None => format!("{at} ms since 1970"),
    }
}

/// `17:23:40`, for a picture that has the day beside it.
pub(super) fn time_of_day(at: UnixMs) -> String {
    Civil::of(at).map(|civil| civil.time).unwrap_or_default()
}

struct Civil {
    year: u64,
    month: &'static str,
    day: u64,
    time: String,
}

impl Civil {
    /// The civil calendar by eras of 400 years that begin in March, so that a leap day is the last of its year.
    fn of(at: UnixMs) -> Option<Self> {
        let seconds = at.seconds().0;
        // Days from 1 March of year 0 to 1 January 1970.
        let days = (seconds / 86_400).checked_add(719_468)?;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let leap_days = (day_of_era / 1_460).checked_add(day_of_era / 146_096)?;
        let year_of_era = day_of_era.checked_add(day_of_era / 36_524)?.checked_sub(leap_days)? / 365;
        let days_before = year_of_era.checked_mul(365)?.checked_add(year_of_era / 4)?.checked_sub(year_of_era / 100)?;
        let day_of_year = day_of_era.checked_sub(days_before)?;
        let from_march = day_of_year.checked_mul(5)?.checked_add(2)? / 153;
        let day = day_of_year.checked_sub(from_march.checked_mul(153)?.checked_add(2)? / 5)?.checked_add(1)?;
        let month = MONTHS_FROM_MARCH.get(usize::try_from(from_march).ok()?)?;
        let year = era.checked_mul(400)?.checked_add(year_of_era)?.checked_add(u64::from(10 <= from_march))?;
        let time = format!("{:02}:{:02}:{:02}", seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
        if 9_999 < year { None } else { Some(Self { year, month, day, time }) }
    }
}

const MONTHS_FROM_MARCH: [&str; 12] =
    ["March", "April", "May", "June", "July", "August", "September", "October", "November", "December", "January", "February"];

/// Which token amounts are in, by the signed terms.
pub(super) struct Unit<'a> {
    decimals: usize,
    symbol: Option<&'a str>,
}

impl<'a> Unit<'a> {
    /// The token's own decimals and name, where the terms list it with decimals that anybody uses; else its smallest units.
    pub(super) fn of(terms: &'a OperatorTerms, chain_id: u64, asset: &Address) -> Self {
        let listed = terms.asset(chain_id, asset).filter(|asset| asset.decimals <= DECIMALS_MAX);
        Self { decimals: listed.map_or(0, |asset| asset.decimals.into()), symbol: listed.map(|asset| asset.name.as_str()) }
    }

    /// `0.000301`
    pub(super) fn number(&self, amount: Amount) -> String {
        let digits = format!("{:0>width$}", amount.0, width = self.decimals.saturating_add(1));
        match digits.split_at_checked(digits.len().saturating_sub(self.decimals)) {
            Some((whole, part)) if !part.is_empty() => format!("{whole}.{part}"),
            _ => digits,
        }
    }

    /// The same with two decimals at least and no zeros after them: `1.00`, `0.0001`.
    pub(super) fn rate(&self, amount: Amount) -> String {
        let number = self.number(amount);
        let Some((whole, part)) = number.split_once('.') else { return number };
        format!("{whole}.{:0<2}", part.trim_end_matches('0'))
    }

    /// What stands behind a number, as markup.
    pub(super) fn symbol(&self) -> String {
        self.symbol.map_or_else(|| "units".to_owned(), |symbol| said::name(symbol, 24))
    }
}

/// Tokens have 18 at most; past this a number is wider than a page.
const DECIMALS_MAX: u8 = 36;

/// `1,234,567`
pub(super) fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at != 0 && digits.len().saturating_sub(at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// What people call a chain, if they call it anything.
pub(super) fn chain(chain_id: u64) -> &'static str {
    match chain_id {
        1 => "Ethereum",
        8453 => "Base",
        31337 => "development chain",
        84532 => "Base Sepolia, a test network",
        11_155_111 => "Sepolia, a test network",
        _ => "",
    }
}

/// A text that is one hash or one address and nothing else.
pub(super) fn is_digest(text: &str) -> bool {
    Hash32::from_hex(text).is_some() || Address::from_hex(text).is_some()
}

#[cfg(test)]
mod tests {
    use candor_verify::terms::Asset;

    use super::*;

    #[test]
    fn moments_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1 January 1970, 00:00:00 UTC"),
            (951_782_399, "28 February 2000, 23:59:59 UTC"),
            (951_782_400, "29 February 2000, 00:00:00 UTC"),
            (951_868_800, "1 March 2000, 00:00:00 UTC"),
            (1_709_164_800, "29 February 2024, 00:00:00 UTC"),
            (4_107_542_400, "1 March 2100, 00:00:00 UTC"),
            (1_795_886_620, "28 November 2026, 17:23:40 UTC"),
            (253_402_300_799, "31 December 9999, 23:59:59 UTC"),
        ] {
            assert_eq!(moment(UnixMs(seconds * 1_000 + 999)), text);
        }
        for beyond in [253_402_300_800_000, u64::MAX] {
            assert_eq!(moment(UnixMs(beyond)), format!("{beyond} ms since 1970"));
            assert_eq!(time_of_day(UnixMs(beyond)), "");
        }
    }

    #[test]
    fn money_has_the_decimals_of_its_asset_and_loses_no_digit() {
        let asset = |decimals| Asset { chain_id: 1, asset: Address([1; 20]), name: "USDC".into(), version: "2".into(), decimals };
        let number = |decimals, amount| {
            let terms = OperatorTerms { assets: vec![asset(decimals)], ..OperatorTerms::default() };
            Unit::of(&terms, 1, &Address([1; 20])).number(Amount(amount))
        };
        assert_eq!(number(6, 301), "0.000301");
        assert_eq!((number(6, 0), number(6, 1_000_000), number(0, 7)), ("0.000000".into(), "1.000000".into(), "7".into()));
        assert_eq!(number(18, u128::MAX), "340282366920938463463.374607431768211455");
        assert_eq!(number(36, 1).len(), 38);
        assert_eq!(number(255, 5), "5", "decimals that no token has are not believed");
        let terms = OperatorTerms { assets: vec![asset(6)], ..OperatorTerms::default() };
        let (known, other) = (Unit::of(&terms, 1, &Address([1; 20])), Unit::of(&terms, 2, &Address([1; 20])));
        assert_eq!((known.symbol(), other.symbol()), ("<bdi>USDC</bdi>".into(), "units".into()));
        assert_eq!(
            (known.rate(Amount(1_000_000)), known.rate(Amount(100)), known.rate(Amount(0))),
            ("1.00".into(), "0.0001".into(), "0.00".into())
        );
    }

    #[test]
    fn hashes_are_shown_by_their_ends() {
        assert_eq!(ends(&Hash32([0xab; 32]).to_string()), "ababab…abab");
        assert_eq!((ends("0x0102"), ends("")), ("0102".into(), String::new()));
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!((grouped(0), grouped(999), grouped(1_000)), ("0".into(), "999".into(), "1,000".into()));
    }
}
