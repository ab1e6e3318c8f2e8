//! The calldata of a settlement: `transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)`.
//!
//! The (v, r, s) overload, which every EIP-3009 token has. Everything about the payment can be read back from these 292 bytes, so the
//! link and the database carry them and nothing beside them that could disagree. Reference: EIP-3009.

use std::fmt;

use candor_verify::abi::{AbiError, WordReader, Words};
use candor_verify::bytes::{Hash32, Signature65};
use candor_verify::payment::Authorization;
use candor_verify::time::UnixSeconds;

/// First four bytes of the call.
pub const TRANSFER_SELECTOR: [u8; 4] = [0xe3, 0xee, 0x16, 0x0e];

/// Arguments of the call, in words.
const ARGUMENT_WORDS: usize = 9;

/// Bytes of a call. `Debug` shows the length only: they hold the payer's signature.
#[derive(Clone, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a newtype: any value is valid")]
pub struct Calldata(pub Vec<u8>);

impl fmt::Debug for Calldata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Calldata({} bytes, not shown)", self.0.len())
    }
}

/// Why bytes are not this call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CalldataError {
    /// Another function, or none.
    Selector,
    /// The arguments are not nine words of the right types.
    Arguments(AbiError),
}

impl fmt::Display for CalldataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Selector => f.write_str("not a call of transferWithAuthorization(v, r, s)"),
            Self::Arguments(error) => write!(f, "arguments of transferWithAuthorization: {error}"),
        }
    }
}

impl std::error::Error for CalldataError {}

/// The call that moves the money.
#[must_use]
pub fn encode_transfer(authorization: &Authorization, signature: &Signature65) -> Calldata {
    let (r, s, v) = split(signature);
    let words = Words::new()
        .address(&authorization.from)
        .address(&authorization.to)
        .amount(authorization.value)
        .u64(authorization.valid_after.0)
        .u64(authorization.valid_before.0)
        .hash(&authorization.nonce)
        .u64(v.into())
        .hash(&r)
        .hash(&s);
    let mut bytes = TRANSFER_SELECTOR.to_vec();
    bytes.extend_from_slice(words.as_slice());
    Calldata(bytes)
}

/// Reads the call back. Believes nothing.
///
/// # Errors
/// See [`CalldataError`].
pub fn decode_transfer(calldata: &Calldata) -> Result<(Authorization, Signature65), CalldataError> {
    let arguments = calldata.0.strip_prefix(&TRANSFER_SELECTOR).ok_or(CalldataError::Selector)?;
    let mut r = WordReader::new(arguments, ARGUMENT_WORDS).map_err(CalldataError::Arguments)?;
    read(&mut r).map_err(CalldataError::Arguments)
}

fn read(r: &mut WordReader<'_>) -> Result<(Authorization, Signature65), AbiError> {
    let authorization = Authorization {
        from: r.address()?,
        to: r.address()?,
        value: r.amount()?,
        valid_after: UnixSeconds(r.u64()?),
        valid_before: UnixSeconds(r.u64()?),
        nonce: r.hash()?,
    };
    let v = r.u8()?;
    let (r_word, s_word) = (r.hash()?, r.hash()?);
    let mut signature = [0; 65];
    for (to, from) in signature.iter_mut().zip(r_word.0.iter().chain(&s_word.0).chain(std::iter::once(&v))) {
        *to = *from;
    }
    Ok((authorization, Signature65(signature)))
}

fn split(signature: &Signature65) -> (Hash32, Hash32, u8) {
    let [rs @ .., v] = &signature.0;
    let (r, s) = rs.split_at(32);
    (Hash32::from_slice(r).unwrap_or_default(), Hash32::from_slice(s).unwrap_or_default(), *v)
}

#[cfg(test)]
mod tests {
    use candor_verify::bytes::{Address, Amount};
    use candor_verify::hash::keccak256;

    use super::*;

    fn sample() -> (Authorization, Signature65) {
        let authorization = Authorization {
            from: Address([1; 20]),
            to: Address([2; 20]),
            value: Amount(1000),
            valid_after: UnixSeconds(0),
            valid_before: UnixSeconds(2_000_000_000),
            nonce: Hash32([3; 32]),
        };
        let mut signature = [0; 65];
        signature[..32].fill(4);
        signature[32..64].fill(5);
        signature[64] = 28;
        (authorization, Signature65(signature))
    }

    #[test]
    fn the_selector_is_that_of_the_signature() {
        let name = b"transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)";
        assert_eq!(keccak256(&[name]).0[..4], TRANSFER_SELECTOR);
    }

    #[test]
    fn a_call_reads_back_and_other_lengths_and_functions_are_refused() {
        let (authorization, signature) = sample();
        let calldata = encode_transfer(&authorization, &signature);
        assert_eq!(calldata.0.len(), 292);
        assert_eq!(decode_transfer(&calldata), Ok((authorization, signature)));
        let mut longer = calldata.clone();
        longer.0.push(0);
        assert!(matches!(decode_transfer(&longer), Err(CalldataError::Arguments(AbiError::Length { .. }))));
        let mut other = calldata.clone();
        other.0[0] ^= 1;
        assert_eq!(decode_transfer(&other), Err(CalldataError::Selector));
        assert_eq!(decode_transfer(&Calldata(vec![])), Err(CalldataError::Selector));
        let mut wide = calldata;
        wide.0[4] = 1;
        assert_eq!(decode_transfer(&wide), Err(CalldataError::Arguments(AbiError::Range { word: 0 })));
    }

    #[test]
    fn debug_does_not_show_the_signature() {
        let (authorization, signature) = sample();
        assert_eq!(format!("{:?}", encode_transfer(&authorization, &signature)), "Calldata(292 bytes, not shown)");
    }
}
