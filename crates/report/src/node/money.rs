//! Amounts as people write them: digits with a point, exact. No float is between a price and its token.

use std::fmt;

use candor_verify::bytes::Amount;
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};

/// Most digits after the point: as many as any token has.
const FRACTION_MAX: u8 = 18;

/// Most characters: as many as the largest amount has, and a point.
const TEXT_MAX: usize = 40;

/// A number of at most 18 digits after the point, not negative: `"0.0001"`.
///
/// ```
/// use candor_report::Decimal;
/// use candor_verify::bytes::Amount;
///
/// assert_eq!(Decimal::parse("1.50").unwrap().units(6), Ok(Amount(1_500_000)));
/// assert!(Decimal::parse("0.0000001").unwrap().units(6).is_err(), "less than the token's smallest unit");
/// assert!(Decimal::parse("-1").is_err() && Decimal::parse("1e3").is_err() && Decimal::parse("").is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Decimal {
    // value = digits / 10^scale, without zeros at the end: one number is one value.
    digits: u128,
    scale: u8,
}

/// Why a text is no amount, or not one of this token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DecimalError {
    /// Something else than digits with a point among them.
    NoNumber,
    /// More than any amount.
    TooLarge,
    /// More digits after the point than the token has.
    TooFine {
        /// How many it has.
        decimals: u8,
    },
}

impl fmt::Display for DecimalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNumber => f.write_str("an amount in digits such as \"0.25\""),
            Self::TooLarge => f.write_str("an amount below 2^128 of the smallest unit"),
            Self::TooFine { decimals } => write!(f, "at most {decimals} digits after the point, as the token has"),
        }
    }
}

impl std::error::Error for DecimalError {}

impl Decimal {
    /// Reads an amount.
    ///
    /// # Errors
    /// [`DecimalError`].
    pub fn parse(text: &str) -> Result<Self, DecimalError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if TEXT_MAX < text.len() || !is_number(whole) || !is_number(fraction) {
            return Err(DecimalError::NoNumber);
        }
        let fraction = fraction.trim_end_matches('0');
        let scale = u8::try_from(fraction.len()).ok().filter(|scale| *scale <= FRACTION_MAX);
        let scale = scale.ok_or(DecimalError::TooFine { decimals: FRACTION_MAX })?;
        let digits = format!("{whole}{fraction}").parse().map_err(|_| DecimalError::TooLarge)?;
        Ok(Self { digits, scale })
    }

    /// What it is in the smallest unit of a token.
    ///
    /// # Errors
    /// [`DecimalError`]: it is not a whole number of them, or more than there can be.
    pub fn units(&self, decimals: u8) -> Result<Amount, DecimalError> {
        let power = decimals.checked_sub(self.scale).ok_or(DecimalError::TooFine { decimals })?;
        let factor = 10_u128.checked_pow(power.into()).ok_or(DecimalError::TooLarge)?;
        self.digits.checked_mul(factor).map(Amount).ok_or(DecimalError::TooLarge)
    }

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        self.digits == 0
    }

    /// So many smallest units of a token.
    #[must_use]
    pub fn of(amount: Amount, decimals: u8) -> Self {
        let (mut digits, mut scale) = (amount.0, decimals);
        while 0 < scale && digits.is_multiple_of(10) {
            (digits, scale) = (digits / 10, scale.saturating_sub(1));
        }
        Self { digits, scale }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.digits.to_string();
        let scale = usize::from(self.scale);
        if scale == 0 {
            return f.write_str(&digits);
        }
        let padded = format!("{digits:0>width$}", width = scale.saturating_add(1));
        let (whole, fraction) = padded.split_at(padded.len().saturating_sub(scale));
        write!(f, "{whole}.{fraction}")
    }
}

/// An amount for people, with every digit that its token has: `"0.000301"`.
#[must_use]
pub fn decimal_text(amount: Amount, decimals: u8) -> String {
    let scale = usize::from(decimals);
    let padded = format!("{:0>width$}", amount.0, width = scale.saturating_add(1));
    let (whole, fraction) = padded.split_at(padded.len().saturating_sub(scale));
    if scale == 0 { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Decimal;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount in quotes, such as \"0.25\": a number without them would be rounded")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Decimal, E> {
                Decimal::parse(text).map_err(|error| E::custom(format!("expected {error}, got {text:?}")))
            }
        }
        deserializer.deserialize_any(Text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_as_the_same_number() {
        for text in ["0", "1", "0.1", "12.5", "0.000001", "340282366920938463463374607431768211455", "100"] {
            let read = Decimal::parse(text).unwrap();
            assert_eq!(read.to_string(), text);
            assert_eq!(Decimal::parse(&read.to_string()), Ok(read));
        }
        assert_eq!(Decimal::parse("1.500"), Decimal::parse("1.5"));
        for units in [0, 1, 10, 999_999, 1_000_000, 1_500_000, u128::MAX] {
            assert_eq!(Decimal::of(Amount(units), 6).units(6), Ok(Amount(units)));
        }
    }

    #[test]
    fn what_is_no_exact_amount_is_refused() {
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", " 1", "١", "0x10", "1.2.3", &"1".repeat(41)] {
            assert_eq!(Decimal::parse(text), Err(DecimalError::NoNumber), "{text:?}");
        }
        assert_eq!(Decimal::parse("340282366920938463463374607431768211456"), Err(DecimalError::TooLarge));
        assert_eq!(Decimal::parse("0.0000000000000000001"), Err(DecimalError::TooFine { decimals: 18 }));
        assert_eq!(Decimal::parse("0.0000001").unwrap().units(6), Err(DecimalError::TooFine { decimals: 6 }));
        assert_eq!(Decimal::parse("340282366920938463463374607431768211455").unwrap().units(6), Err(DecimalError::TooLarge));
    }

    #[test]
    fn amounts_for_people_have_every_digit_of_the_token() {
        assert_eq!(decimal_text(Amount(301), 6), "0.000301");
        assert_eq!(decimal_text(Amount(12_000_000), 6), "12.000000");
        assert_eq!(decimal_text(Amount(7), 0), "7");
    }
}
