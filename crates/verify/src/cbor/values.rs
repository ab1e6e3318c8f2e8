//! A strict CBOR reader: one way to write each value, and a bound on everything.
//!
//! Attestation documents and bundles are CBOR (RFC 8949). This reader walks such bytes item by item, as the caller's schema says; it builds
//! no tree and allocates nothing. In: bytes nobody believes. Out: borrowed values, or a [`CborError`] with the offset of the item that was
//! refused.
//!
//! Refused always: integers and lengths not in their shortest form, strings of indefinite length, reserved headers, tags (but the one a
//! caller asks for), floats, `undefined` and other simple values, lengths beyond the input, more items than the budget. Containers of
//! indefinite length are accepted only under [`Lengths::DefiniteOrIndefinite`], because AWS sends them. Maps under the deterministic
//! encoding (RFC 8949 §4.2.1) read their keys with [`KeyOrder`], which also refuses duplicates; readers of other maps look for duplicates
//! themselves.
//!
//! Not here: writing CBOR, and what the values mean.
//!
//! Invariant: no call moves past the end of the input, and each call costs at most the bytes it passes.

use core::fmt;

/// Which container lengths a [`Reader`] takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Lengths {
    /// Only counted arrays and maps: the deterministic encoding, as in bundles.
    Definite,
    /// Also arrays and maps that end in a break byte: attestation documents as AWS writes them.
    DefiniteOrIndefinite,
}

/// A cursor over CBOR bytes.
///
/// # Examples
/// ```
/// use candor_verify::cbor::values::{CborErrorKind, Lengths, Reader};
///
/// let mut reader = Reader::new(&[0x82, 0x18, 0x2a, 0x41, 0xff], Lengths::Definite, 8);
/// assert_eq!(reader.array_header(4), Ok(2));
/// assert_eq!(reader.u64(), Ok(42));
/// assert_eq!(reader.bytes(16), Ok(&[0xff][..]));
/// assert_eq!(reader.end(), Ok(()));
///
/// // 0x1801 is 1 in two bytes where one would do: a second encoding of the same value.
/// let refused = Reader::new(&[0x18, 0x01], Lengths::Definite, 8).u64().unwrap_err();
/// assert_eq!(refused.kind, CborErrorKind::NotShortest);
/// ```
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    input: &'a [u8],
    // Invariant: at most input.len().
    at: usize,
    lengths: Lengths,
    items_left: u32,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `input` that will read at most `items_max` item headers.
    pub const fn new(input: &'a [u8], lengths: Lengths, items_max: u32) -> Self {
        Self { input, at: 0, lengths, items_left: items_max }
    }

    /// Bytes passed so far.
    pub const fn offset(&self) -> usize {
        self.at
    }

    /// The bytes from `start` to here, for hashing what was read. Empty if `start` lies ahead.
    pub fn since(&self, start: usize) -> &'a [u8] {
        self.input.get(start..self.at).unwrap_or_default()
    }

    /// Succeeds only if every byte was read.
    ///
    /// # Errors
    /// [`CborErrorKind::TrailingBytes`].
    pub fn end(&self) -> Result<(), CborError> {
        match self.left() {
            0 => Ok(()),
            got => Err(self.error(self.at, CborErrorKind::TrailingBytes { got })),
        }
    }

    /// What the next item is, without reading it.
    ///
    /// # Errors
    /// [`CborErrorKind::Truncated`] at the end of the input.
    pub fn peek(&self) -> Result<Kind, CborError> {
        match self.input.get(self.at) {
            Some(initial) => Ok(Kind::of(*initial)),
            None => Err(self.error(self.at, CborErrorKind::Truncated { needed: 1, left: 0 })),
        }
    }

    /// An unsigned integer.
    ///
    /// # Errors
    /// Any syntax error, or [`CborErrorKind::WrongKind`].
    pub fn u64(&mut self) -> Result<u64, CborError> {
        let head = self.expect(Kind::Unsigned)?;
        Ok(head.argument)
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// Any syntax error, or [`CborErrorKind::WrongKind`].
    pub fn bool(&mut self) -> Result<bool, CborError> {
        let head = self.expect(Kind::Bool)?;
        Ok(head.argument == SIMPLE_TRUE)
    }

    /// `null`.
    ///
    /// # Errors
    /// Any syntax error, or [`CborErrorKind::WrongKind`].
    pub fn null(&mut self) -> Result<(), CborError> {
        self.expect(Kind::Null).map(|_| ())
    }

    /// Reads a `null` if one is next; otherwise reads nothing and says `false`.
    ///
    /// # Errors
    /// [`CborErrorKind::Truncated`] at the end, [`CborErrorKind::Budget`].
    pub fn null_if_next(&mut self) -> Result<bool, CborError> {
        if self.peek()? != Kind::Null {
            return Ok(false);
        }
        self.null().map(|()| true)
    }

    /// A byte string of at most `limit` bytes.
    ///
    /// # Errors
    /// Any syntax error, [`CborErrorKind::WrongKind`] or [`CborErrorKind::Limit`].
    pub fn bytes(&mut self, limit: usize) -> Result<&'a [u8], CborError> {
        let head = self.expect(Kind::Bytes)?;
        self.string(&head, limit)
    }

    /// A byte string of exactly `N` bytes.
    ///
    /// # Errors
    /// Any syntax error, [`CborErrorKind::WrongKind`] or [`CborErrorKind::Length`].
    pub fn byte_array<const N: usize>(&mut self) -> Result<&'a [u8; N], CborError> {
        let head = self.expect(Kind::Bytes)?;
        let bytes = self.string(&head, usize::MAX)?;
        bytes.try_into().map_err(|_| self.error(head.at, CborErrorKind::Length { expected: N, got: bytes.len() }))
    }

    /// A text string of at most `limit` bytes of UTF-8.
    ///
    /// # Errors
    /// Any syntax error, [`CborErrorKind::WrongKind`], [`CborErrorKind::Limit`] or [`CborErrorKind::NotUtf8`].
    pub fn text(&mut self, limit: usize) -> Result<&'a str, CborError> {
        let head = self.expect(Kind::Text)?;
        let bytes = self.string(&head, limit)?;
        core::str::from_utf8(bytes).map_err(|_| self.error(head.at, CborErrorKind::NotUtf8))
    }

    /// The number of elements of a counted array, at most `limit` and at most the bytes left (so it is safe to reserve room for as many).
    ///
    /// # Errors
    /// Any syntax error, [`CborErrorKind::WrongKind`], [`CborErrorKind::Limit`], or [`CborErrorKind::Indefinite`] in every mode.
    pub fn array_header(&mut self, limit: u64) -> Result<u64, CborError> {
        let at = self.at;
        self.array(limit)?.left().ok_or(self.error(at, CborErrorKind::Indefinite))
    }

    /// The number of pairs of a counted map; otherwise as [`Reader::array_header`].
    ///
    /// # Errors
    /// As [`Reader::array_header`].
    pub fn map_header(&mut self, limit: u64) -> Result<u64, CborError> {
        let at = self.at;
        self.map(limit)?.left().ok_or(self.error(at, CborErrorKind::Indefinite))
    }

    /// Opens an array of at most `limit` elements, counted or (if the mode allows) ended by a break. Ask [`Reader::more`] before each
    /// element.
    ///
    /// # Errors
    /// Any syntax error, [`CborErrorKind::WrongKind`] or [`CborErrorKind::Limit`].
    pub fn array(&mut self, limit: u64) -> Result<Items, CborError> {
        let head = self.expect(Kind::Array)?;
        self.container(&head, limit, 1)
    }

    /// Opens a map of at most `limit` pairs. Ask [`Reader::more`] before each key.
    ///
    /// # Errors
    /// As [`Reader::array`].
    pub fn map(&mut self, limit: u64) -> Result<Items, CborError> {
        let head = self.expect(Kind::Map)?;
        self.container(&head, limit, 2)
    }

    /// Whether the container has another element (or pair); if not, its break byte has been read.
    ///
    /// # Errors
    /// [`CborErrorKind::Truncated`] where the break is missing, [`CborErrorKind::Limit`] where a container of indefinite length outgrows
    /// its limit.
    pub fn more(&mut self, items: &mut Items) -> Result<bool, CborError> {
        if let Some(left) = items.counted {
            items.counted = left.checked_sub(1).or(Some(0));
            return Ok(left != 0);
        }
        if self.input.get(self.at) == Some(&BREAK) {
            self.take(self.at, 1)?;
            return Ok(false);
        }
        self.peek()?;
        match items.room.checked_sub(1) {
            Some(room) => {
                items.room = room;
                Ok(true)
            }
            None => Err(self.error(self.at, CborErrorKind::Limit { limit: items.limit, got: items.limit.saturating_add(1) })),
        }
    }

    /// Passes over one whole value of any supported kind, at most `depth_max` containers deep.
    ///
    /// # Errors
    /// Any syntax error, [`CborErrorKind::Depth`] or [`CborErrorKind::Budget`]. Duplicate keys inside what is skipped are not looked for.
    pub fn skip(&mut self, depth_max: u8) -> Result<(), CborError> {
        let kind = self.peek()?;
        match kind {
            Kind::Array | Kind::Map => {
                let Some(depth) = depth_max.checked_sub(1) else {
                    return Err(self.error(self.at, CborErrorKind::Depth));
                };
                let mut items = if kind == Kind::Map { self.map(u64::MAX)? } else { self.array(u64::MAX)? };
                while self.more(&mut items)? {
                    self.skip(depth)?;
                    if kind == Kind::Map {
                        self.skip(depth)?;
                    }
                }
                Ok(())
            }
            Kind::Bytes | Kind::Text => {
                let head = self.head()?;
                let bytes = self.string(&head, usize::MAX)?;
                if kind == Kind::Text && core::str::from_utf8(bytes).is_err() {
                    return Err(self.error(head.at, CborErrorKind::NotUtf8));
                }
                Ok(())
            }
            Kind::Tag => Err(self.error(self.at, CborErrorKind::Unsupported)),
            Kind::Unsigned | Kind::Negative | Kind::Bool | Kind::Null | Kind::Other => self.head().map(|_| ()),
        }
    }

    fn expect(&mut self, expected: Kind) -> Result<Head, CborError> {
        let head = self.head()?;
        if head.kind != expected {
            return Err(self.error(head.at, CborErrorKind::WrongKind { expected, got: head.kind }));
        }
        Ok(head)
    }

    fn head(&mut self) -> Result<Head, CborError> {
        let at = self.at;
        let Some(items_left) = self.items_left.checked_sub(1) else {
            return Err(self.error(at, CborErrorKind::Budget));
        };
        self.items_left = items_left;
        let initial = match self.take(at, 1)? {
            [initial] => *initial,
            _ => return Err(self.error(at, CborErrorKind::Truncated { needed: 1, left: 0 })),
        };
        let (kind, info) = (Kind::of(initial), initial & 0x1f);
        let argument = match (kind, info) {
            (Kind::Bool | Kind::Null, _) => u64::from(info),
            (Kind::Other, 31) => return Err(self.error(at, CborErrorKind::UnexpectedBreak)),
            (Kind::Other, _) => return Err(self.error(at, CborErrorKind::Unsupported)),
            (_, 0..=23) => u64::from(info),
            (_, 24) => self.argument(at, 1, 24)?,
            (_, 25) => self.argument(at, 2, 1 << 8)?,
            (_, 26) => self.argument(at, 4, 1 << 16)?,
            (_, 27) => self.argument(at, 8, 1 << 32)?,
            (Kind::Array | Kind::Map, 31) if self.lengths == Lengths::DefiniteOrIndefinite => {
                return Ok(Head { at, kind, argument: 0, indefinite: true });
            }
            (Kind::Array | Kind::Map | Kind::Bytes | Kind::Text, 31) => {
                return Err(self.error(at, CborErrorKind::Indefinite));
            }
            _ => return Err(self.error(at, CborErrorKind::Reserved)),
        };
        Ok(Head { at, kind, argument, indefinite: false })
    }

    fn argument(&mut self, at: usize, width: u64, least: u64) -> Result<u64, CborError> {
        let bytes = self.take(at, width)?;
        let value = bytes.iter().fold(0_u64, |value, byte| (value << 8) | u64::from(*byte));
        if value < least { Err(self.error(at, CborErrorKind::NotShortest)) } else { Ok(value) }
    }

    fn string(&mut self, head: &Head, limit: usize) -> Result<&'a [u8], CborError> {
        // A usize fits a u64 on every target we build for; the fallback only loosens the limit to the input's own length.
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        if limit < head.argument {
            return Err(self.error(head.at, CborErrorKind::Limit { limit, got: head.argument }));
        }
        self.take(head.at, head.argument)
    }

    /// `width` is the least number of bytes an entry takes.
    fn container(&self, head: &Head, limit: u64, width: u64) -> Result<Items, CborError> {
        if head.indefinite {
            return Ok(Items { counted: None, room: limit, limit });
        }
        let count = head.argument;
        if limit < count {
            return Err(self.error(head.at, CborErrorKind::Limit { limit, got: count }));
        }
        let (needed, left) = (count.saturating_mul(width), self.left());
        if u64::try_from(left).unwrap_or(u64::MAX) < needed {
            return Err(self.error(head.at, CborErrorKind::Truncated { needed, left }));
        }
        Ok(Items { counted: Some(count), room: limit, limit })
    }

    fn take(&mut self, at: usize, count: u64) -> Result<&'a [u8], CborError> {
        let taken = usize::try_from(count)
            .ok()
            .and_then(|count| self.at.checked_add(count))
            .and_then(|end| Some((self.input.get(self.at..end)?, end)));
        match taken {
            Some((bytes, end)) => {
                self.at = end;
                Ok(bytes)
            }
            None => {
                let kind = CborErrorKind::Truncated { needed: count, left: self.left() };
                Err(self.error(at, kind))
            }
        }
    }

    fn left(&self) -> usize {
        self.input.len().saturating_sub(self.at)
    }

    fn error(&self, offset: usize, kind: CborErrorKind) -> CborError {
        CborError { offset, kind }
    }
}

/// An array or map that was opened and is being walked with [`Reader::more`].
#[derive(Debug)]
#[must_use]
pub struct Items {
    counted: Option<u64>,
    room: u64,
    limit: u64,
}

impl Items {
    /// Entries not yet read, if the container is counted.
    #[must_use]
    pub const fn left(&self) -> Option<u64> {
        self.counted
    }
}

/// Reads map keys that must ascend by their encoded bytes (RFC 8949 §4.2.1), so that a map has one encoding and no key twice. One value per
/// map.
///
/// # Examples
/// ```
/// use candor_verify::cbor::values::{CborErrorKind, KeyOrder, Lengths, Reader};
///
/// // {1: null, 1: null}
/// let mut reader = Reader::new(&[0xa2, 0x01, 0xf6, 0x01, 0xf6], Lengths::Definite, 8);
/// let mut keys = KeyOrder::new();
/// assert_eq!((reader.map_header(4), keys.u64(&mut reader), reader.null()), (Ok(2), Ok(1), Ok(())));
/// assert_eq!(keys.u64(&mut reader).unwrap_err().kind, CborErrorKind::KeyOrder);
/// ```
#[derive(Clone, Debug, Default)]
pub struct KeyOrder<'a> {
    last: Option<&'a [u8]>,
}

impl<'a> KeyOrder<'a> {
    /// No key read yet.
    pub const fn new() -> Self {
        Self { last: None }
    }

    /// The next key, an unsigned integer.
    ///
    /// # Errors
    /// As [`Reader::u64`], or [`CborErrorKind::KeyOrder`].
    pub fn u64(&mut self, reader: &mut Reader<'a>) -> Result<u64, CborError> {
        self.key(reader, Reader::u64)
    }

    /// The next key, a text of at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Reader::text`], or [`CborErrorKind::KeyOrder`].
    pub fn text(&mut self, reader: &mut Reader<'a>, limit: usize) -> Result<&'a str, CborError> {
        self.key(reader, |reader| reader.text(limit))
    }

    fn key<T>(&mut self, reader: &mut Reader<'a>, read: impl FnOnce(&mut Reader<'a>) -> Result<T, CborError>) -> Result<T, CborError> {
        let start = reader.offset();
        let key = read(reader)?;
        let encoded = reader.since(start);
        if self.last.is_some_and(|last| encoded <= last) {
            return Err(CborError { offset: start, kind: CborErrorKind::KeyOrder });
        }
        self.last = Some(encoded);
        Ok(key)
    }
}

/// What an item is, by its first byte.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Kind {
    /// Major type 0.
    Unsigned,
    /// Major type 1.
    Negative,
    /// Major type 2.
    Bytes,
    /// Major type 3.
    Text,
    /// Major type 4.
    Array,
    /// Major type 5.
    Map,
    /// Major type 6.
    Tag,
    /// `true` or `false`.
    Bool,
    /// `null`.
    Null,
    /// A float, a break, or a simple value this reader does not take.
    Other,
}

impl Kind {
    const fn of(initial: u8) -> Self {
        match initial {
            0x00..=0x1f => Self::Unsigned,
            0x20..=0x3f => Self::Negative,
            0x40..=0x5f => Self::Bytes,
            0x60..=0x7f => Self::Text,
            0x80..=0x9f => Self::Array,
            0xa0..=0xbf => Self::Map,
            0xc0..=0xdf => Self::Tag,
            0xf4 | 0xf5 => Self::Bool,
            0xf6 => Self::Null,
            0xe0..=0xf3 | 0xf7..=0xff => Self::Other,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsigned => "an unsigned integer",
            Self::Negative => "a negative integer",
            Self::Bytes => "a byte string",
            Self::Text => "a text string",
            Self::Array => "an array",
            Self::Map => "a map",
            Self::Tag => "a tag",
            Self::Bool => "true or false",
            Self::Null => "null",
            Self::Other => "a float, a break or a simple value",
        })
    }
}

/// Why bytes are not the CBOR that was asked for, and where.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CborError {
    /// Where the refused item begins, in bytes from the start of the reader's input.
    pub offset: usize,
    /// What is wrong with it.
    pub kind: CborErrorKind,
}

/// What is wrong with an item. Fields are `expected` before `got`, or the bound before the value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the variant says what its fields are")]
pub enum CborErrorKind {
    /// The item needs more bytes than are left.
    Truncated { needed: u64, left: usize },
    /// Bytes follow the last item.
    TrailingBytes { got: usize },
    /// Another kind of item was expected.
    WrongKind { expected: Kind, got: Kind },
    /// A string has not the one length allowed here.
    Length { expected: usize, got: usize },
    /// A string or container is longer than its limit.
    Limit { limit: u64, got: u64 },
    /// An integer or length is not in its shortest form.
    NotShortest,
    /// An indefinite length where none is allowed.
    Indefinite,
    /// A break outside a container of indefinite length.
    UnexpectedBreak,
    /// A header that RFC 8949 reserves.
    Reserved,
    /// A tag, float or simple value that this reader does not take.
    Unsupported,
    /// A text string is not UTF-8.
    NotUtf8,
    /// A map key does not come after the one before it.
    KeyOrder,
    /// Containers are nested deeper than the limit.
    Depth,
    /// More items than the budget.
    Budget,
}

impl fmt::Display for CborError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CBOR at byte {}: ", self.offset)?;
        match self.kind {
            CborErrorKind::Truncated { needed, left } => {
                write!(f, "{needed} bytes needed, {left} left")
            }
            CborErrorKind::TrailingBytes { got } => write!(f, "{got} bytes after the end"),
            CborErrorKind::WrongKind { expected, got } => {
                write!(f, "expected {expected}, got {got}")
            }
            CborErrorKind::Length { expected, got } => {
                write!(f, "expected {expected} bytes, got {got}")
            }
            CborErrorKind::Limit { limit, got } => write!(f, "at most {limit} allowed, got {got}"),
            CborErrorKind::NotShortest => f.write_str("not in shortest form"),
            CborErrorKind::Indefinite => f.write_str("indefinite length"),
            CborErrorKind::UnexpectedBreak => f.write_str("break outside a container"),
            CborErrorKind::Reserved => f.write_str("reserved header"),
            CborErrorKind::Unsupported => f.write_str("unsupported tag, float or simple value"),
            CborErrorKind::NotUtf8 => f.write_str("text is not UTF-8"),
            CborErrorKind::KeyOrder => f.write_str("map keys do not ascend"),
            CborErrorKind::Depth => f.write_str("nested too deep"),
            CborErrorKind::Budget => f.write_str("too many items"),
        }
    }
}

impl core::error::Error for CborError {}

#[derive(Debug)]
struct Head {
    at: usize,
    kind: Kind,
    argument: u64,
    indefinite: bool,
}

const BREAK: u8 = 0xff;
const SIMPLE_TRUE: u64 = 21;
