//! The name of an EVM chain on the x402 wire: CAIP-2 `eip155:N`.

use std::fmt;

/// An EVM chain by its EIP-155 id. `Display` and [`Eip155::parse`] are CAIP-2 (`eip155:8453`).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_structs, reason = "a newtype: any value is valid")]
pub struct Eip155(pub u64);

impl Eip155 {
    /// Reads `eip155:` and a plain decimal without leading zeros; other namespaces and the names of v1 are `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("eip155:")?;
        let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
        if plain { digits.parse().ok().map(Self) } else { None }
    }
}

impl fmt::Display for Eip155 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "eip155:{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_eip155_names_are_read() {
        assert_eq!(Eip155::parse("eip155:84532"), Some(Eip155(84532)));
        assert_eq!(Eip155(31337).to_string(), "eip155:31337");
        for text in
            ["eip155:", "eip155:01", "eip155:+1", "eip155: 1", "EIP155:1", "base-sepolia", "solana:1", "eip155:18446744073709551616"]
        {
            assert_eq!(Eip155::parse(text), None, "{text}");
        }
    }
}
