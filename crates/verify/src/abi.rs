//! EVM ABI words: how our static structs look as bytes, the same in Rust, Solidity and on the wire.
//!
//! A static struct is the concatenation of its 32-byte words; there is exactly one encoding and the reader refuses all others (a
//! `uint8` above 255, an address with high bytes set, a missing or trailing word). Spec: receipt.md §2.
//! Not here: dynamic ABI types. No signed structure of ours has one; lists enter as digests.

use alloc::vec::Vec;
use core::fmt;

use crate::bytes::{Address, Amount, Hash32};

/// Why bytes are not the encoding of the struct that was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum AbiError {
    /// The length is not the struct's (bytes expected, bytes got).
    Length {
        /// Length of the encoding in bytes.
        expected: usize,
        /// Length of what was given.
        got: usize,
    },
    /// The struct is of another version: of before the first release, or of a later one.
    Version {
        /// The version that this code reads.
        expected: u8,
        /// The version of the bytes.
        got: u8,
    },
    /// The word at this index does not fit its type.
    Range {
        /// Index of the word, counted from zero.
        word: usize,
    },
}

impl fmt::Display for AbiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { expected, got } => write!(f, "ABI: expected {expected} bytes, got {got}"),
            Self::Version { expected, got } => write!(f, "ABI: version {got}, this program reads version {expected} only"),
            Self::Range { word } => write!(f, "ABI: word {word} does not fit its type"),
        }
    }
}

impl core::error::Error for AbiError {}

/// Appends words. Every method adds exactly one.
#[derive(Clone, Debug, Default)]
pub struct Words(Vec<u8>);

impl Words {
    /// No words yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A `bytes32`.
    #[must_use]
    pub fn hash(mut self, value: &Hash32) -> Self {
        self.0.extend_from_slice(&value.0);
        self
    }

    /// An `address`, left-padded.
    #[must_use]
    pub fn address(mut self, value: &Address) -> Self {
        self.0.extend_from_slice(&[0; 12]);
        self.0.extend_from_slice(&value.0);
        self
    }

    /// Any unsigned integer up to 64 bits.
    #[must_use]
    pub fn u64(self, value: u64) -> Self {
        self.amount(Amount(value.into()))
    }

    /// A `uint256` amount.
    #[must_use]
    pub fn amount(mut self, value: Amount) -> Self {
        self.0.extend_from_slice(&[0; 16]);
        self.0.extend_from_slice(&value.0.to_be_bytes());
        self
    }

    /// The bytes so far.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The bytes.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

/// Reads words in order, exactly as many as [`WordReader::new`] was told.
#[derive(Debug)]
pub struct WordReader<'a> {
    rest: core::slice::Iter<'a, [u8; 32]>,
    index: usize,
}

impl<'a> WordReader<'a> {
    /// A reader over exactly `words` words.
    ///
    /// # Errors
    /// `Length` if there are more or fewer bytes.
    pub fn new(bytes: &'a [u8], words: usize) -> Result<Self, AbiError> {
        let expected = words.saturating_mul(32);
        let (chunks, tail) = bytes.as_chunks::<32>();
        if chunks.len() != words || !tail.is_empty() {
            return Err(AbiError::Length { expected, got: bytes.len() });
        }
        Ok(Self { rest: chunks.iter(), index: 0 })
    }

    /// A reader over a struct of exactly `words` words whose first word is this version, which is read. Another version is told before
    /// another length: older structs are shorter.
    ///
    /// # Errors
    /// `Version`, `Length`; `Range` if the first word is no version.
    pub fn versioned(bytes: &'a [u8], words: usize, version: u8) -> Result<Self, AbiError> {
        match bytes.split_first_chunk::<32>() {
            Some(([zeros @ .., got], _)) if *zeros == [0; 31] && *got != version => {
                return Err(AbiError::Version { expected: version, got: *got });
            }
            Some(_) | None => {}
        }
        let mut reader = Self::new(bytes, words)?;
        reader.code(|got| (got == version).then_some(()))?;
        Ok(reader)
    }

    fn next(&mut self) -> Result<&'a [u8; 32], AbiError> {
        let word = self.rest.next().ok_or(AbiError::Range { word: self.index })?;
        self.index = self.index.saturating_add(1);
        Ok(word)
    }

    /// The error for the word that was just read.
    fn range(&self) -> AbiError {
        AbiError::Range { word: self.index.saturating_sub(1) }
    }

    /// A `bytes32`.
    ///
    /// # Errors
    /// `Range` past the end.
    pub fn hash(&mut self) -> Result<Hash32, AbiError> {
        self.next().map(|word| Hash32(*word))
    }

    /// A `bytes1`: the first byte of the word, and zeros behind it. Also the end of a `bytes` of one more byte than words.
    ///
    /// # Errors
    /// `Range` if anything else is behind it.
    pub fn first_byte(&mut self) -> Result<u8, AbiError> {
        match self.next()? {
            [byte, zeros @ ..] if *zeros == [0; 31] => Ok(*byte),
            _ => Err(self.range()),
        }
    }

    /// This number and no other.
    ///
    /// # Errors
    /// `Range` if it is another.
    pub fn exactly(&mut self, value: u64) -> Result<(), AbiError> {
        if self.amount()? == Amount(value.into()) { Ok(()) } else { Err(self.range()) }
    }

    /// An `address` whose twelve high bytes are zero.
    ///
    /// # Errors
    /// `Range` if they are not.
    pub fn address(&mut self) -> Result<Address, AbiError> {
        let word = self.next()?;
        match word.split_first_chunk::<12>() {
            Some(([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], low)) => Address::from_slice(low).ok_or(self.range()),
            _ => Err(self.range()),
        }
    }

    /// A `uint256` that fits our amounts.
    ///
    /// # Errors
    /// `Range` if it does not.
    pub fn amount(&mut self) -> Result<Amount, AbiError> {
        let word = self.next()?;
        match word.split_first_chunk::<16>() {
            Some((high, low)) if *high == [0; 16] => low.try_into().map(|low| Amount(u128::from_be_bytes(low))).map_err(|_| self.range()),
            _ => Err(self.range()),
        }
    }

    /// A `uint64` (also for narrower types whose values the caller matches).
    ///
    /// # Errors
    /// `Range` if it does not fit.
    pub fn u64(&mut self) -> Result<u64, AbiError> {
        let value = self.amount()?;
        u64::try_from(value.0).map_err(|_| self.range())
    }

    /// A `uint16`.
    ///
    /// # Errors
    /// `Range` if it does not fit.
    pub fn u16(&mut self) -> Result<u16, AbiError> {
        let value = self.amount()?;
        u16::try_from(value.0).map_err(|_| self.range())
    }

    /// A `uint32`.
    ///
    /// # Errors
    /// `Range` if it does not fit.
    pub fn u32(&mut self) -> Result<u32, AbiError> {
        let value = self.amount()?;
        u32::try_from(value.0).map_err(|_| self.range())
    }

    /// A `uint8`.
    ///
    /// # Errors
    /// `Range` if it does not fit.
    pub fn u8(&mut self) -> Result<u8, AbiError> {
        let value = self.amount()?;
        u8::try_from(value.0).map_err(|_| self.range())
    }

    /// A `uint8` that must be one of the codes that `read` knows.
    ///
    /// # Errors
    /// `Range` if it does not fit, or is none of them.
    pub fn code<T>(&mut self, read: impl FnOnce(u8) -> Option<T>) -> Result<T, AbiError> {
        let code = self.u8()?;
        read(code).ok_or(self.range())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back_and_other_encodings_are_rejected() {
        let words = Words::new().u64(7).address(&Address([9; 20])).amount(Amount(u128::MAX)).hash(&Hash32([1; 32])).into_vec();
        let mut reader = WordReader::new(&words, 4).unwrap();
        assert_eq!(reader.u8(), Ok(7));
        assert_eq!(reader.address(), Ok(Address([9; 20])));
        assert_eq!(reader.amount(), Ok(Amount(u128::MAX)));
        assert_eq!(reader.hash(), Ok(Hash32([1; 32])));
        assert_eq!(reader.hash(), Err(AbiError::Range { word: 4 }));

        assert_eq!(WordReader::new(&words[1..], 4).err(), Some(AbiError::Length { expected: 128, got: 127 }));
        assert_eq!(WordReader::new(&words, 3).err(), Some(AbiError::Length { expected: 96, got: 128 }));
        let mut high = [0u8; 32];
        high[11] = 1;
        assert_eq!(WordReader::new(&high, 1).unwrap().address(), Err(AbiError::Range { word: 0 }));
        assert_eq!(WordReader::new(&[0xff; 32], 1).unwrap().amount(), Err(AbiError::Range { word: 0 }));
        let mut wide = [0u8; 32];
        wide[30] = 1;
        assert_eq!(WordReader::new(&wide, 1).unwrap().u8(), Err(AbiError::Range { word: 0 }));
    }

    #[test]
    fn an_unknown_code_is_rejected_at_its_own_word() {
        let words = Words::new().u64(1).u64(1).u64(2).into_vec();
        let mut reader = WordReader::new(&words, 3).unwrap();
        let known = |code| (code == 1).then_some("known");
        assert_eq!((reader.u64(), reader.code(known)), (Ok(1), Ok("known")));
        assert_eq!(reader.code(known), Err(AbiError::Range { word: 2 }));
    }

    #[test]
    fn another_version_is_named_whatever_the_length() {
        let words = Words::new().u64(1).u64(7).into_vec();
        assert_eq!(WordReader::versioned(&words, 3, 2).err(), Some(AbiError::Version { expected: 2, got: 1 }));
        assert_eq!(WordReader::versioned(&words, 3, 1).err(), Some(AbiError::Length { expected: 96, got: 64 }));
        assert_eq!(WordReader::versioned(&words, 2, 1).and_then(|mut reader| reader.u64()), Ok(7));
        let wide = Words::new().u64(258).u64(7).into_vec();
        assert_eq!(WordReader::versioned(&wide, 2, 2).err(), Some(AbiError::Range { word: 0 }));
        assert_eq!(WordReader::versioned(&[], 2, 2).err(), Some(AbiError::Length { expected: 64, got: 0 }));
    }
}
