//! A strict DER reader, as much as the certificates of an attestation chain need.
//!
//! In: the bytes of one certificate. Out: borrowed contents, or a [`DerError`] with an offset. One encoding per value: definite shortest
//! lengths, one-byte tags, shortest integers, `TRUE` as `ff`, named bits without trailing zeros, and no byte after the end of anything.
//!
//! Not here: what the fields mean (`x509.rs`).
//!
//! Invariant: no call moves past the end of the input; nothing allocates or recurses.

use core::fmt;

/// A cursor over the contents of one DER value.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    input: &'a [u8],
    // Invariant: at most input.len().
    at: usize,
    /// Where `input` begins in the certificate, so that errors name one offset.
    base: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(input: &'a [u8]) -> Self {
        Self { input, at: 0, base: 0 }
    }

    /// Where the next value begins, in bytes from the start of the certificate.
    pub(super) const fn offset(&self) -> usize {
        self.base.saturating_add(self.at)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.input.len() <= self.at
    }

    pub(super) fn end(&self) -> Result<(), DerError> {
        if self.is_empty() { Ok(()) } else { Err(self.error(DerErrorKind::TrailingBytes)) }
    }

    /// The tag of the next value, if there is one.
    pub(super) fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    /// The next value, which must have this tag.
    pub(super) fn value(&mut self, expected: u8) -> Result<Value<'a>, DerError> {
        let start = self.at;
        match self.peek() {
            Some(got) if got == expected => {}
            got => return Err(self.error(DerErrorKind::WrongTag { expected, got })),
        }
        let offset = self.offset();
        let error = |kind| DerError { offset, kind };
        self.take(1)?;
        let length = match self.take(1)? {
            [short @ 0..=0x7f] => usize::from(*short),
            [0x81] => match self.take(1)? {
                [length @ 0x80..=0xff] => usize::from(*length),
                _ => return Err(error(DerErrorKind::Length)),
            },
            [0x82] => match self.take(2)? {
                [high @ 1..=0xff, low] => usize::from(u16::from_be_bytes([*high, *low])),
                _ => return Err(error(DerErrorKind::Length)),
            },
            // Indefinite, or longer than any certificate we read.
            _ => return Err(error(DerErrorKind::Length)),
        };
        let base = self.offset();
        let content = self.take(length)?;
        let whole = self.input.get(start..self.at).unwrap_or_default();
        Ok(Value { whole, content: Reader { input: content, at: 0, base } })
    }

    /// Opens the next value, which must have this tag.
    pub(super) fn open(&mut self, expected: u8) -> Result<Self, DerError> {
        Ok(self.value(expected)?.content)
    }

    /// The contents of the next value, which must have this tag.
    pub(super) fn content(&mut self, expected: u8) -> Result<&'a [u8], DerError> {
        Ok(self.value(expected)?.content.input)
    }

    /// An INTEGER that is not negative, big-endian, without the sign byte; zero is empty.
    pub(super) fn unsigned(&mut self) -> Result<&'a [u8], DerError> {
        let error = self.error(DerErrorKind::Integer);
        match self.content(tag::INTEGER)? {
            [0] => Ok(&[]),
            [0, rest @ ..] if rest.first().is_some_and(|first| 0x80 <= *first) => Ok(rest),
            content @ [1..=0x7f, ..] => Ok(content),
            _ => Err(error),
        }
    }

    /// BOOLEAN DEFAULT FALSE: `true` if present, which DER allows only for TRUE.
    pub(super) fn true_if_next(&mut self) -> Result<bool, DerError> {
        if self.peek() != Some(tag::BOOLEAN) {
            return Ok(false);
        }
        let error = self.error(DerErrorKind::Boolean);
        match self.content(tag::BOOLEAN)? {
            [0xff] => Ok(true),
            _ => Err(error),
        }
    }

    /// A BIT STRING of whole bytes.
    pub(super) fn bit_string(&mut self) -> Result<Self, DerError> {
        let error = self.error(DerErrorKind::BitString);
        let mut content = self.open(tag::BIT_STRING)?;
        match content.take(1)? {
            [0] => Ok(content),
            _ => Err(error),
        }
    }

    /// A BIT STRING of at most 16 named bits; bit 0 is the highest of the result.
    pub(super) fn named_bits(&mut self) -> Result<u16, DerError> {
        let error = self.error(DerErrorKind::BitString);
        let (unused, last, bits) = match self.content(tag::BIT_STRING)? {
            [unused, only] => (*unused, *only, u16::from_be_bytes([*only, 0])),
            [unused, first, last] => (*unused, *last, u16::from_be_bytes([*first, *last])),
            _ => return Err(error),
        };
        // DER drops trailing zero bits (X.690 §11.2.2): the string ends with its last one bit. A last byte of zeros has eight and is
        // refused with them.
        if unused < 8 && u32::from(unused) == last.trailing_zeros() { Ok(bits) } else { Err(error) }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], DerError> {
        let taken = self.at.checked_add(count).and_then(|end| Some((self.input.get(self.at..end)?, end)));
        let Some((bytes, end)) = taken else {
            return Err(self.error(DerErrorKind::Truncated));
        };
        self.at = end;
        Ok(bytes)
    }

    pub(super) fn error(&self, kind: DerErrorKind) -> DerError {
        DerError { offset: self.offset(), kind }
    }
}

/// One value: its contents, and itself with tag and length (what signatures and names cover).
#[derive(Clone, Debug)]
pub(super) struct Value<'a> {
    pub(super) whole: &'a [u8],
    pub(super) content: Reader<'a>,
}

/// The tags we read.
pub(super) mod tag {
    pub(in super::super) const BOOLEAN: u8 = 0x01;
    pub(in super::super) const INTEGER: u8 = 0x02;
    pub(in super::super) const BIT_STRING: u8 = 0x03;
    pub(in super::super) const OCTET_STRING: u8 = 0x04;
    pub(in super::super) const OID: u8 = 0x06;
    pub(in super::super) const UTF8_STRING: u8 = 0x0c;
    pub(in super::super) const PRINTABLE_STRING: u8 = 0x13;
    pub(in super::super) const UTC_TIME: u8 = 0x17;
    pub(in super::super) const GENERALIZED_TIME: u8 = 0x18;
    pub(in super::super) const SEQUENCE: u8 = 0x30;
    pub(in super::super) const SET: u8 = 0x31;
    pub(in super::super) const EXPLICIT_0: u8 = 0xa0;
    pub(in super::super) const EXPLICIT_3: u8 = 0xa3;
    pub(in super::super) const IMPLICIT_0: u8 = 0x80;
}

/// Why bytes are not a certificate of the kind we read, and where.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DerError {
    /// Where the refused value begins, in bytes from the start of the certificate.
    pub offset: usize,
    /// What is wrong with it.
    pub kind: DerErrorKind,
}

/// What is wrong with a value. Fields are `expected` before `got`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the variant says what its fields are")]
pub enum DerErrorKind {
    /// The value needs more bytes than are left.
    Truncated,
    /// Bytes follow the last value.
    TrailingBytes,
    /// Another tag was expected; `None` is the end of the input.
    WrongTag { expected: u8, got: Option<u8> },
    /// A length that is indefinite, not in its shortest form, or above 65,535.
    Length,
    /// An integer that is negative, not in its shortest form, or out of its range.
    Integer,
    /// A BOOLEAN that is not the one way to write TRUE.
    Boolean,
    /// A BIT STRING that is not in its one form.
    BitString,
    /// A time that does not exist, or not in the form RFC 5280 asks for.
    Time,
    /// Not X.509 v3.
    Version,
    /// Not `ecdsa-with-SHA384`, inside or outside.
    SignatureAlgorithm,
    /// Not an uncompressed point on P-384.
    PublicKey,
    /// A signature number is zero or not below the group order.
    SignatureRange,
    /// An empty name, or one with too many parts.
    Name,
    /// The same extension twice.
    RepeatedExtension,
    /// More extensions than we read.
    TooManyExtensions,
}

impl fmt::Display for DerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DER at byte {}: ", self.offset)?;
        match self.kind {
            DerErrorKind::Truncated => f.write_str("more bytes needed than are left"),
            DerErrorKind::TrailingBytes => f.write_str("bytes after the end"),
            DerErrorKind::WrongTag { expected, got: Some(got) } => {
                write!(f, "expected tag {expected:#04x}, got {got:#04x}")
            }
            DerErrorKind::WrongTag { expected, got: None } => {
                write!(f, "expected tag {expected:#04x}, got the end")
            }
            DerErrorKind::Length => f.write_str("length not definite, shortest and small"),
            DerErrorKind::Integer => f.write_str("integer negative, not shortest or out of range"),
            DerErrorKind::Boolean => f.write_str("boolean not in its one form"),
            DerErrorKind::BitString => f.write_str("bit string not in its one form"),
            DerErrorKind::Time => f.write_str("no such time, or not in its one form"),
            DerErrorKind::Version => f.write_str("not X.509 v3"),
            DerErrorKind::SignatureAlgorithm => f.write_str("not ecdsa-with-SHA384"),
            DerErrorKind::PublicKey => f.write_str("not an uncompressed point on P-384"),
            DerErrorKind::SignatureRange => f.write_str("signature number out of range"),
            DerErrorKind::Name => f.write_str("name empty or too long"),
            DerErrorKind::RepeatedExtension => f.write_str("extension repeated"),
            DerErrorKind::TooManyExtensions => f.write_str("too many extensions"),
        }
    }
}

impl core::error::Error for DerError {}
