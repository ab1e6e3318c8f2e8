//! Deterministic CBOR for what we write ourselves: operator terms, evidence, bundles, link messages.
//!
//! Arrays of known length, unsigned integers, byte and text strings, nothing else; one encoding per value. Reading is [`values::Reader`] in
//! its definite mode with our own value types on top. Spec: bundle.md §1. Not here: maps, negative numbers, floats, tags. No format of ours
//! has one.

use alloc::vec::Vec;
use core::fmt;

use super::values;
use crate::abi::AbiError;
use crate::bytes::{Address, Amount, Hash32, Signature65};

/// Items read at most, a bound on work before any limit of a list applies. A bundle of 64k frames has about 130k.
const ITEMS_MAX: u32 = 1 << 18;

/// Members of a versioned value, at most.
const VERSIONED_MAX: u64 = 64;

/// Bytes of a struct of ABI words, at most: room for a version with more words than any has.
const WORDS_MAX: usize = 64 * 32;

/// Why bytes are not what was to be read, and where.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CborError {
    /// Not the CBOR item that was expected.
    Item(values::CborError),
    /// The value is of another version: of before the first release, or of a later one.
    Version {
        /// The version that this code reads.
        expected: u64,
        /// The version of the bytes.
        got: u64,
    },
    /// The item is well formed but its value is not one of those allowed (an unknown version, a number too large).
    Value {
        /// Bytes read before the value.
        offset: usize,
    },
}

impl fmt::Display for CborError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Item(error) => write!(f, "{error}"),
            Self::Version { expected, got } => write!(f, "CBOR: version {got}, this program reads version {expected} only"),
            Self::Value { offset } => write!(f, "CBOR before byte {offset}: a value that is not allowed here"),
        }
    }
}

impl core::error::Error for CborError {}

impl From<values::CborError> for CborError {
    fn from(error: values::CborError) -> Self {
        Self::Item(error)
    }
}

/// Appends items in their one encoding.
#[derive(Clone, Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn head(&mut self, major: u8, value: u64) -> &mut Self {
        let major = major << 5;
        let be = value.to_be_bytes();
        let width = match value {
            0..=23 => 0,
            24..=0xff => 1,
            0x100..=0xffff => 2,
            0x1_0000..=0xffff_ffff => 4,
            _ => 8,
        };
        let short = match width {
            0 => be.last().copied().unwrap_or_default(),
            1 => 24,
            2 => 25,
            4 => 26,
            _ => 27,
        };
        self.0.push(major | short);
        self.0.extend(be.iter().skip(8_usize.saturating_sub(width)));
        self
    }

    /// An unsigned integer.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.head(0, value)
    }

    /// A byte string.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.head(2, len64(value.len()));
        self.0.extend_from_slice(value);
        self
    }

    /// A text string.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.head(3, len64(value.len()));
        self.0.extend_from_slice(value.as_bytes());
        self
    }

    /// The head of an array; its members follow.
    pub fn array(&mut self, len: usize) -> &mut Self {
        self.head(4, len64(len))
    }

    /// An amount: a byte string of 16, big-endian.
    pub fn amount(&mut self, value: Amount) -> &mut Self {
        self.bytes(&value.0.to_be_bytes())
    }

    /// A list of hashes.
    pub fn hashes(&mut self, values: &[Hash32]) -> &mut Self {
        self.array(values.len());
        for value in values {
            self.bytes(&value.0);
        }
        self
    }

    /// The bytes.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

fn len64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// Reads items in their one encoding.
#[derive(Clone, Debug)]
pub struct Reader<'a>(values::Reader<'a>);

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(values::Reader::new(bytes, values::Lengths::Definite, ITEMS_MAX))
    }

    pub(crate) fn value_error(&self) -> CborError {
        CborError::Value { offset: self.0.offset() }
    }

    /// Everything has been read.
    ///
    /// # Errors
    /// Trailing bytes.
    pub fn end(&self) -> Result<(), CborError> {
        Ok(self.0.end()?)
    }

    /// An unsigned integer.
    ///
    /// # Errors
    /// Another item, or not its shortest form.
    pub fn u64(&mut self) -> Result<u64, CborError> {
        Ok(self.0.u64()?)
    }

    /// An unsigned integer below 2^32.
    ///
    /// # Errors
    /// As [`Self::u64`], or too large.
    pub fn u32(&mut self) -> Result<u32, CborError> {
        u32::try_from(self.u64()?).map_err(|_| self.value_error())
    }

    /// An unsigned integer below 2^16.
    ///
    /// # Errors
    /// As [`Self::u64`], or too large.
    pub fn u16(&mut self) -> Result<u16, CborError> {
        u16::try_from(self.u64()?).map_err(|_| self.value_error())
    }

    /// An unsigned integer below 256.
    ///
    /// # Errors
    /// As [`Self::u64`], or too large.
    pub fn u8(&mut self) -> Result<u8, CborError> {
        u8::try_from(self.u64()?).map_err(|_| self.value_error())
    }

    /// Exactly this integer: a version or a discriminant.
    ///
    /// # Errors
    /// Any other value.
    pub fn exactly(&mut self, value: u64) -> Result<(), CborError> {
        if self.u64()? == value { Ok(()) } else { Err(self.value_error()) }
    }

    /// An integer that must be one of the codes that `read` knows.
    ///
    /// # Errors
    /// As [`Self::u8`], or none of them.
    pub fn code<T>(&mut self, read: impl FnOnce(u8) -> Option<T>) -> Result<T, CborError> {
        let code = self.u8()?;
        read(code).ok_or(self.value_error())
    }

    /// The head of an array whose first member says how many there are: at most `limit`.
    ///
    /// # Errors
    /// Another item, or a longer array.
    pub fn array_up_to(&mut self, limit: u64) -> Result<u64, CborError> {
        Ok(self.0.array_header(limit)?)
    }

    /// The head of an array with exactly `len` members, the first of which is this version, and is read. Another version is told before
    /// another length: older values have other members.
    ///
    /// # Errors
    /// `Version`, another item, or another length.
    pub fn versioned_array_of(&mut self, len: u64, version: u8) -> Result<(), CborError> {
        let got_len = self.0.array_header(VERSIONED_MAX)?;
        let got = self.u64()?;
        if got != u64::from(version) {
            return Err(CborError::Version { expected: version.into(), got });
        }
        if got_len == len { Ok(()) } else { Err(self.value_error()) }
    }

    /// A byte string of at most `limit`.
    ///
    /// # Errors
    /// Another item, or longer.
    pub fn bytes(&mut self, limit: usize) -> Result<&'a [u8], CborError> {
        Ok(self.0.bytes(limit)?)
    }

    /// A text string of at most `limit` bytes.
    ///
    /// # Errors
    /// Another item, longer, or not UTF-8.
    pub fn text(&mut self, limit: usize) -> Result<&'a str, CborError> {
        Ok(self.0.text(limit)?)
    }

    /// The head of an array with exactly `len` members.
    ///
    /// # Errors
    /// Another item or another length.
    pub fn array_of(&mut self, len: u64) -> Result<(), CborError> {
        if self.0.array_header(len)? == len { Ok(()) } else { Err(self.value_error()) }
    }

    /// An array of at most `limit` members, each read by `read`.
    ///
    /// # Errors
    /// Another item, a longer array, or what `read` refuses.
    pub fn list<T>(&mut self, limit: usize, mut read: impl FnMut(&mut Self) -> Result<T, CborError>) -> Result<Vec<T>, CborError> {
        let len = self.0.array_header(len64(limit))?;
        let mut items = Vec::new();
        for _ in 0..len {
            items.push(read(self)?);
        }
        Ok(items)
    }

    /// An array of no or one member.
    ///
    /// # Errors
    /// Another item, a longer array, or what `read` refuses.
    pub fn optional<T>(&mut self, read: impl FnMut(&mut Self) -> Result<T, CborError>) -> Result<Option<T>, CborError> {
        Ok(self.list(1, read)?.pop())
    }

    /// A struct of ABI words in a byte string. One of another version is told by its version, also where it is of another length.
    ///
    /// # Errors
    /// `Version`; another item, more than `WORDS_MAX` bytes, or bytes that are not the struct.
    pub(crate) fn words<T>(&mut self, parse: impl FnOnce(&[u8]) -> Result<T, AbiError>) -> Result<T, CborError> {
        let bytes = self.bytes(WORDS_MAX)?;
        parse(bytes).map_err(|error| match error {
            AbiError::Version { expected, got } => CborError::Version { expected: expected.into(), got: got.into() },
            AbiError::Length { .. } | AbiError::Range { .. } => self.value_error(),
        })
    }

    /// A byte string of exactly `N`.
    ///
    /// # Errors
    /// Another item or another length.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], CborError> {
        Ok(*self.0.byte_array::<N>()?)
    }

    /// A 32-byte value.
    ///
    /// # Errors
    /// Another item or another length.
    pub fn hash(&mut self) -> Result<Hash32, CborError> {
        self.fixed().map(Hash32)
    }

    /// A list of at most `limit` hashes.
    ///
    /// # Errors
    /// Another item or a longer list.
    pub fn hashes(&mut self, limit: usize) -> Result<Vec<Hash32>, CborError> {
        self.list(limit, Self::hash)
    }

    /// An address.
    ///
    /// # Errors
    /// Another item or another length.
    pub fn address(&mut self) -> Result<Address, CborError> {
        self.fixed().map(Address)
    }

    /// A signature.
    ///
    /// # Errors
    /// Another item or another length.
    pub fn signature(&mut self) -> Result<Signature65, CborError> {
        self.fixed().map(Signature65)
    }

    /// An amount.
    ///
    /// # Errors
    /// Another item or another length.
    pub fn amount(&mut self) -> Result<Amount, CborError> {
        self.fixed().map(|be| Amount(u128::from_be_bytes(be)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_reads_back(a in any::<u64>(), b in proptest::collection::vec(any::<u8>(), 0..600), c in ".{0,40}", d in any::<u128>()) {
            let mut w = Writer::new();
            w.array(4).u64(a).bytes(&b).text(&c).amount(Amount(d));
            let bytes = w.into_vec();
            let mut r = Reader::new(&bytes);
            r.array_of(4).unwrap();
            prop_assert_eq!(r.u64().unwrap(), a);
            prop_assert_eq!(r.bytes(600).unwrap(), &b[..]);
            prop_assert_eq!(r.text(400).unwrap(), &c);
            prop_assert_eq!(r.amount().unwrap(), Amount(d));
            r.end().unwrap();
        }
    }

    #[test]
    fn integers_take_their_shortest_form() {
        for (value, len) in [(0, 1), (23, 1), (24, 2), (255, 2), (256, 3), (65535, 3), (65536, 5), (u64::from(u32::MAX), 5), (1 << 32, 9)] {
            let mut w = Writer::new();
            w.u64(value);
            assert_eq!(w.into_vec().len(), len, "{value}");
        }
    }

    #[test]
    fn trailing_bytes_other_versions_and_longer_lists_are_rejected() {
        let mut r = Reader::new(&[0x01, 0x00]);
        r.exactly(1).unwrap();
        assert!(r.end().is_err());
        assert_eq!(Reader::new(&[0x02]).exactly(1), Err(CborError::Value { offset: 1 }));
        assert!(Reader::new(&[0x82, 0x00, 0x00]).list(1, Reader::u64).is_err());
        assert!(Reader::new(&[0x18, 0x01]).u64().is_err());
        let versioned = |bytes: &[u8]| Reader::new(bytes).versioned_array_of(2, 2);
        assert_eq!(versioned(&[0x82, 0x02, 0x00]), Ok(()));
        assert_eq!(versioned(&[0x81, 0x01]), Err(CborError::Version { expected: 2, got: 1 }));
        assert_eq!(versioned(&[0x83, 0x02, 0x00, 0x00]), Err(CborError::Value { offset: 2 }));
        assert!(versioned(&[0x80]).is_err() && versioned(&[0x98, 0x41, 0x02]).is_err());
    }
}
