//! The small words of the protocol: 32-byte hashes, 20-byte addresses, amounts, signatures.
//!
//! Each is its own type, so that values of different kinds can never be swapped: an address is not a hash, an amount is not a time. All
//! 32-byte values share one type; which of them one is, its field or parameter says by name.
//! Text form is `0x` + lower-case hex for bytes and plain decimal for amounts. Nothing here is believed; these are only shapes.
//! Not here: hashing (`hash.rs`), the 32-byte words of the EVM ABI (`abi.rs`).

use alloc::string::String;
use core::fmt;

/// A 32-byte value: a digest, a root, a salt, an id. Which one it is, and what about, is said by the name of the field that holds it.
#[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Hash32(pub [u8; 32]);

/// A 20-byte EVM address. `Display` is lower-case hex; checksummed input is accepted as bytes.
#[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Address(pub [u8; 20]);

/// A 65-byte recoverable secp256k1 signature, r ‖ s ‖ v with v in {27, 28}. Never an identity: malleable twins exist.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Signature65(pub [u8; 65]);

/// An amount of one asset in its smallest unit. Which asset is said by the field beside it (Invariant 9: integers only).
///
/// Amounts above 2^128 − 1 are refused when parsed: no token we price has that many units, and the refusal is typed.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Amount(pub u128);

impl Hash32 {
    /// Thirty-two zero bytes, which the protocol uses for "none" where a field is optional.
    pub const ZERO: Self = Self([0; 32]);

    /// Whether every byte is zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 32]
    }

    /// Reads `0x` + 64 hex digits, nothing else.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        hex_array(text).map(Self)
    }

    /// A slice of exactly 32 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl Address {
    /// The zero address, which the protocol uses for "not offered".
    pub const ZERO: Self = Self([0; 20]);

    /// Whether every byte is zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 20]
    }

    /// Reads `0x` + 40 hex digits in any letter case. The EIP-55 checksum is not enforced: addresses compare as bytes.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        hex_array(text).map(Self)
    }

    /// A slice of exactly 20 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl Signature65 {
    /// Reads `0x` + 130 hex digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        hex_array(text).map(Self)
    }

    /// A slice of exactly 65 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// r, s and v, as contracts take them.
    #[must_use]
    pub fn split(&self) -> (Hash32, Hash32, u8) {
        let [rs @ .., v] = &self.0;
        let (r, s) = rs.split_at(32);
        (Hash32::from_slice(r).unwrap_or_default(), Hash32::from_slice(s).unwrap_or_default(), *v)
    }
}

impl Amount {
    /// Zero units.
    pub const ZERO: Self = Self(0);

    /// Reads a plain decimal: digits only, no sign, space, exponent, separator or leading zero (but "0" itself).
    #[must_use]
    pub fn from_decimal(text: &str) -> Option<Self> {
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let canonical = text == "0" || !text.starts_with('0');
        if plain && canonical { text.parse().ok().map(Self) } else { None }
    }

    /// The sum, or `None` past 2^128 − 1.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, or `None` below zero.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }
}

/// Lower-case hex with a `0x` prefix.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    use fmt::Write;
    let mut text = String::with_capacity(bytes.len().saturating_mul(2).saturating_add(2));
    text.push_str("0x");
    for byte in bytes {
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{byte:02x}");
    }
    text
}

/// Reads `0x` + an even number of hex digits. The length is the caller's to check.
#[must_use]
pub fn from_hex(text: &str) -> Option<alloc::vec::Vec<u8>> {
    let digits = text.strip_prefix("0x")?.as_bytes();
    if digits.len() % 2 != 0 {
        return None;
    }
    digits.chunks(2).map(hex_pair).collect()
}

fn hex_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    from_hex(text)?.try_into().ok()
}

fn hex_pair(pair: &[u8]) -> Option<u8> {
    let [high, low] = pair else { return None };
    let high = char::from(*high).to_digit(16)?;
    let low = char::from(*low).to_digit(16)?;
    u8::try_from(high.checked_mul(16)?.checked_add(low)?).ok()
}

fn short(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    let text = to_hex(bytes);
    if f.alternate() { write!(f, "{}…", text.get(..10).unwrap_or(&text)) } else { f.write_str(&text) }
}

/// `{}` is the whole value, `{:#}` its first four bytes.
impl fmt::Display for Hash32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        short(f, &self.0)
    }
}

impl fmt::Debug for Hash32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash32({self})")
    }
}

/// `{}` is the whole value, `{:#}` its first four bytes.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        short(f, &self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// Signatures are never printed: a payment signature is a bearer instrument until its nonce is used.
impl fmt::Debug for Signature65 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature65(65 bytes, not shown)")
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_not_amounts_are_rejected() {
        for text in
            ["", "1abc", "USD 10", "$1", "1e3", "+1", " 1", "1 ", "-1", "01", "1.0", "1_000", "340282366920938463463374607431768211456"]
        {
            assert_eq!(Amount::from_decimal(text), None, "{text:?}");
        }
        assert_eq!(Amount::from_decimal("0"), Some(Amount(0)));
        assert_eq!(Amount::from_decimal("340282366920938463463374607431768211455"), Some(Amount(u128::MAX)));
    }

    #[test]
    fn hex_of_another_length_is_rejected() {
        assert_eq!(Address::from_hex("0x00"), None);
        assert_eq!(Address::from_hex("1234567890123456789012345678901234567890"), None);
        assert_eq!(Hash32::from_hex(&to_hex(&[7; 32])), Some(Hash32([7; 32])));
        assert_eq!(from_hex("0x0"), None);
        assert_eq!(from_hex("0x0g"), None);
        assert_eq!(from_hex("0x"), Some(alloc::vec![]));
    }

    #[test]
    fn a_signature_never_prints_its_bytes() {
        assert!(!alloc::format!("{:?}", Signature65([0xab; 65])).contains("ab"));
    }
}
