//! JSON numbers read from their decimal text, without a float in between.
//!
//! Spec: det-1.md §9. `0.7` is exactly 700000 millionths for every implementation; a double would depend on how it is rounded.

/// The value of a JSON number in millionths, rounded half up in magnitude; saturates at 10^15. None if it is negative or no JSON number.
///
/// Takes time linear in the text, whatever the exponent.
pub(super) fn millionths(text: &str) -> Option<u64> {
    const LIMIT: u64 = 1_000_000_000_000_000;
    let (negative, magnitude) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match magnitude.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
        None => (magnitude, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    if !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let digits = whole.bytes().chain(fraction.bytes()).map(|byte| u64::from(byte - b'0'));
    // Digits at 0..point count whole millionths; the one at `point` decides the rounding.
    let point = i64::try_from(whole.len()).ok()?.checked_add(exponent)?.checked_add(6)?;
    let mut value = 0u64;
    let mut position = 0i64;
    let mut round_up = false;
    for digit in digits {
        if position < point {
            value = (value * 10 + digit).min(LIMIT);
        } else if position == point {
            round_up = digit >= 5;
        }
        position += 1;
    }
    // Zeros that the exponent calls for beyond the digits written.
    while position < point && (1..LIMIT).contains(&value) {
        value = (value * 10).min(LIMIT);
        position += 1;
    }
    let is_zero = mantissa.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    if negative && !is_zero {
        return None;
    }
    Some((value + u64::from(round_up)).min(LIMIT))
}

/// Whether a JSON number is exactly zero.
pub(super) fn is_zero(text: &str) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    !mantissa.is_empty() && mantissa.bytes().all(|byte| matches!(byte, b'-' | b'0' | b'.'))
}

/// The exponent, saturating far outside of what matters.
fn parse_exponent(text: &str) -> Option<i64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, text.get(1..)?),
        b'+' => (1, text.get(1..)?),
        _ => (1, text),
    };
    if !is_digits(digits) {
        return None;
    }
    // A body has at most 2^20 digits, so an exponent beyond 2^30 decides alone.
    Some(sign * digits.bytes().fold(0i64, |value, byte| (value * 10 + i64::from(byte - b'0')).min(1 << 30)))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_exact() {
        let cases = [
            ("0", 0),
            ("1", 1_000_000),
            ("0.7", 700_000),
            ("0.1", 100_000),
            ("2.0", 2_000_000),
            ("0.0000005", 1),
            ("0.00000049999999999999999999999", 0),
            ("1e-6", 1),
            ("5E-7", 1),
            ("4e-7", 0),
            ("5e-8", 0),
            ("0.00007e4", 700_000),
            ("7000e-4", 700_000),
            ("-0", 0),
            ("-0.0e9", 0),
            ("1e2", 100_000_000),
            ("1e999999999999999999999", 1_000_000_000_000_000),
            ("1e-999999999999999999999", 0),
            ("0e999999999999999999999", 0),
        ];
        for (text, expected) in cases {
            assert_eq!(millionths(text), Some(expected), "{text}");
        }
        for text in ["-1", "-1e-9", "", "-", "1.", ".5", "1e", "1e+", "x", "\"1\"", "true", "1 ", "+1"] {
            assert_eq!(millionths(text), None, "{text}");
        }
        assert!(is_zero("0") && is_zero("-0.00e5") && !is_zero("0.01") && !is_zero("\"0\"") && !is_zero("null"));
    }

    proptest! {
        #[test]
        fn six_decimals_round_trip(value in 0u64..5_000_000) {
            prop_assert_eq!(millionths(&format!("{}.{:06}", value / 1_000_000, value % 1_000_000)), Some(value));
            prop_assert_eq!(millionths(&format!("{value}e-6")), Some(value));
        }

        #[test]
        fn any_text_is_near_its_float_or_refused(text in "[-+0-9.eE]{0,12}") {
            if let (Some(exact), Ok(float)) = (millionths(&text), text.parse::<f64>()) {
                prop_assert!((exact as f64 - float * 1e6).abs() <= 0.5 + float * 1e-6 || float * 1e6 > 1e14, "{} {}", exact, float);
            }
        }
    }
}
