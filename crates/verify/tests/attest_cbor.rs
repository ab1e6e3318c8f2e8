//! The CBOR reader: one encoding per value, no panic on any bytes, work bounded by the input.
//!
//! The slow reference is the encoder below, which writes a value in the one form: whatever the reader
//! accepts in its definite mode must re-encode to the very bytes it read.

use candor_verify::attest::parse_document;
use candor_verify::cbor::values::{CborError, CborErrorKind, KeyOrder, Kind, Lengths, Reader};
use proptest::prelude::*;

#[derive(Clone, Debug, PartialEq)]
enum Item {
    Unsigned(u64),
    Bytes(Vec<u8>),
    Text(String),
    Array(Vec<Self>),
    Map(Vec<(u64, Self)>),
    Bool(bool),
    Null,
}

fn encode(item: &Item, out: &mut Vec<u8>) {
    let head = |out: &mut Vec<u8>, major: u8, value: u64| {
        let bytes = value.to_be_bytes();
        match value {
            0..24 => out.push(major << 5 | bytes[7]),
            24..0x100 => out.extend([&[major << 5 | 24], &bytes[7..]].concat()),
            0x100..0x1_0000 => out.extend([&[major << 5 | 25], &bytes[6..]].concat()),
            0x1_0000..0x1_0000_0000 => out.extend([&[major << 5 | 26], &bytes[4..]].concat()),
            _ => out.extend([&[major << 5 | 27], &bytes[..]].concat()),
        }
    };
    match item {
        Item::Unsigned(value) => head(out, 0, *value),
        Item::Bytes(bytes) => {
            head(out, 2, bytes.len() as u64);
            out.extend(bytes);
        }
        Item::Text(text) => {
            head(out, 3, text.len() as u64);
            out.extend(text.as_bytes());
        }
        Item::Array(items) => {
            head(out, 4, items.len() as u64);
            items.iter().for_each(|item| encode(item, out));
        }
        Item::Map(pairs) => {
            head(out, 5, pairs.len() as u64);
            for (key, value) in pairs {
                head(out, 0, *key);
                encode(value, out);
            }
        }
        Item::Bool(value) => out.push(if *value { 0xf5 } else { 0xf4 }),
        Item::Null => out.push(0xf6),
    }
}

fn decode(reader: &mut Reader<'_>) -> Result<Item, CborError> {
    Ok(match reader.peek()? {
        Kind::Bytes => Item::Bytes(reader.bytes(usize::MAX)?.to_vec()),
        Kind::Text => Item::Text(reader.text(usize::MAX)?.to_owned()),
        Kind::Array => {
            let mut items = reader.array(u64::MAX)?;
            let mut list = Vec::new();
            while reader.more(&mut items)? {
                list.push(decode(reader)?);
            }
            Item::Array(list)
        }
        Kind::Map => {
            let mut items = reader.map(u64::MAX)?;
            let mut keys = KeyOrder::new();
            let mut pairs = Vec::new();
            while reader.more(&mut items)? {
                pairs.push((keys.u64(reader)?, decode(reader)?));
            }
            Item::Map(pairs)
        }
        Kind::Bool => Item::Bool(reader.bool()?),
        Kind::Null => reader.null().map(|()| Item::Null)?,
        _ => Item::Unsigned(reader.u64()?),
    })
}

fn items() -> impl Strategy<Value = Item> {
    let number = prop_oneof![any::<u64>(), any::<u16>().prop_map(u64::from), 0..30_u64];
    let leaf = prop_oneof![
        number.prop_map(Item::Unsigned),
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(Item::Bytes),
        ".{0,30}".prop_map(Item::Text),
        any::<bool>().prop_map(Item::Bool),
        Just(Item::Null),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..30).prop_map(Item::Array),
            proptest::collection::btree_map(any::<u64>(), inner, 0..8).prop_map(|pairs| Item::Map(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(item in items()) {
        let mut bytes = Vec::new();
        encode(&item, &mut bytes);
        for lengths in [Lengths::Definite, Lengths::DefiniteOrIndefinite] {
            let mut reader = Reader::new(&bytes, lengths, u32::MAX);
            prop_assert_eq!(&decode(&mut reader).unwrap(), &item);
            prop_assert_eq!(reader.end(), Ok(()));
            let mut skipper = Reader::new(&bytes, lengths, u32::MAX);
            prop_assert_eq!(skipper.skip(16), Ok(()));
            prop_assert_eq!(skipper.end(), Ok(()));
        }
    }

    #[test]
    fn what_is_read_has_one_writing(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let mut reader = Reader::new(&bytes, Lengths::Definite, 1000);
        if let Ok(item) = decode(&mut reader) {
            let mut again = Vec::new();
            encode(&item, &mut again);
            prop_assert_eq!(&again[..], &bytes[..reader.offset()]);
        }
    }

    #[test]
    fn mutated_writings_are_another_value_or_refused(item in items(), at in any::<prop::sample::Index>(), mask in 1..=255_u8) {
        let mut bytes = Vec::new();
        encode(&item, &mut bytes);
        let at = at.index(bytes.len());
        bytes[at] ^= mask;
        let mut reader = Reader::new(&bytes, Lengths::Definite, 10_000);
        if let Ok(other) = decode(&mut reader).and_then(|other| reader.end().map(|()| other)) {
            prop_assert_ne!(other, item);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), depth in 0..8_u8, budget in 0..50_u32) {
        for lengths in [Lengths::Definite, Lengths::DefiniteOrIndefinite] {
            let mut reader = Reader::new(&bytes, lengths, budget);
            let error = loop {
                if let Err(error) = reader.skip(depth) {
                    break error;
                }
            };
            prop_assert!(reader.offset() <= bytes.len());
            prop_assert!(error.offset <= bytes.len());
            prop_assert!(!error.to_string().is_empty());
            prop_assert!(parse_document(&bytes).is_err());
        }
    }
}

#[test]
fn every_three_bytes_are_read_without_panic_and_have_one_writing() {
    for value in 0..=0xff_ffff_u32 {
        let bytes = &value.to_be_bytes()[1..];
        let mut reader = Reader::new(bytes, Lengths::Definite, 8);
        if let Ok(item) = decode(&mut reader) {
            let mut again = Vec::new();
            encode(&item, &mut again);
            assert_eq!(again, bytes[..reader.offset()]);
        }
    }
}

#[test]
fn each_refusal_has_its_kind() {
    let skip = |hex: &[u8], lengths| Reader::new(hex, lengths, 100).skip(3).unwrap_err().kind;
    let both = |hex: &[u8]| {
        let kind = skip(hex, Lengths::Definite);
        assert_eq!(kind, skip(hex, Lengths::DefiniteOrIndefinite), "{hex:02x?}");
        kind
    };
    assert_eq!(both(&[]), CborErrorKind::Truncated { needed: 1, left: 0 });
    assert_eq!(both(&[0x18, 0x17]), CborErrorKind::NotShortest);
    assert_eq!(both(&[0x19, 0x00, 0xff]), CborErrorKind::NotShortest);
    assert_eq!(both(&[0x1a, 0, 0, 0xff, 0xff]), CborErrorKind::NotShortest);
    assert_eq!(both(&[0x1b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]), CborErrorKind::NotShortest);
    assert_eq!(both(&[0x58, 0x01, 0x00]), CborErrorKind::NotShortest);
    assert_eq!(both(&[0x5f, 0xff]), CborErrorKind::Indefinite);
    assert_eq!(both(&[0x7f, 0xff]), CborErrorKind::Indefinite);
    for reserved in [0x1c, 0x1d, 0x1e, 0x1f, 0x3f, 0x5c, 0x7d, 0x9e, 0xbc, 0xbd, 0xbe] {
        assert_eq!(both(&[reserved]), CborErrorKind::Reserved, "{reserved:02x}");
    }
    for unsupported in [0xc0, 0xd2, 0xe0, 0xf3, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc] {
        assert_eq!(both(&[unsupported, 0, 0, 0, 0, 0, 0, 0, 0]), CborErrorKind::Unsupported, "{unsupported:02x}");
    }
    assert_eq!(both(&[0xff]), CborErrorKind::UnexpectedBreak);
    assert_eq!(both(&[0x61, 0xff]), CborErrorKind::NotUtf8);
    assert_eq!(both(&[0x81, 0x81, 0x81, 0x81, 0x00]), CborErrorKind::Depth);
    assert_eq!(both(&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), CborErrorKind::Truncated { needed: u64::MAX, left: 0 });
    assert_eq!(both(&[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), CborErrorKind::Truncated { needed: u64::MAX, left: 0 });
    assert_eq!(both(&[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), CborErrorKind::Truncated { needed: u64::MAX, left: 0 });
    // Counted maps need two bytes a pair.
    assert_eq!(both(&[0xa2, 0x00, 0x00, 0x00]), CborErrorKind::Truncated { needed: 4, left: 3 });

    assert_eq!(skip(&[0x9f, 0xff], Lengths::Definite), CborErrorKind::Indefinite);
    assert_eq!(Reader::new(&[0x9f, 0xff], Lengths::DefiniteOrIndefinite, 9).skip(1), Ok(()));
    assert_eq!(skip(&[0x9f, 0x00], Lengths::DefiniteOrIndefinite), CborErrorKind::Truncated { needed: 1, left: 0 });
    assert_eq!(skip(&[0xbf, 0x00, 0xff], Lengths::DefiniteOrIndefinite), CborErrorKind::UnexpectedBreak);

    let reader = |bytes| Reader::new(bytes, Lengths::DefiniteOrIndefinite, 2);
    let kind = |error: CborError| error.kind;
    assert_eq!(reader(&[0x9f, 0xff]).array_header(9).map_err(kind), Err(CborErrorKind::Indefinite));
    assert_eq!(reader(&[0x83, 0, 0, 0]).array(2).map(|_| ()).map_err(kind), Err(CborErrorKind::Limit { limit: 2, got: 3 }));
    assert_eq!(reader(&[0x43, 0, 0, 0]).bytes(2).map_err(kind), Err(CborErrorKind::Limit { limit: 2, got: 3 }));
    assert_eq!(reader(&[0x43, 0, 0, 0]).byte_array::<2>().map_err(kind), Err(CborErrorKind::Length { expected: 2, got: 3 }));
    assert_eq!(reader(&[0x00]).bool().map_err(kind), Err(CborErrorKind::WrongKind { expected: Kind::Bool, got: Kind::Unsigned }));
    assert_eq!(
        reader(&[0xd2, 0x80]).array_header(9).map_err(kind),
        Err(CborErrorKind::WrongKind { expected: Kind::Array, got: Kind::Tag })
    );
    assert_eq!(reader(&[0x82, 0x00, 0x00]).skip(1).map_err(kind), Err(CborErrorKind::Budget));
    assert_eq!(reader(&[0x00]).end().map_err(kind), Err(CborErrorKind::TrailingBytes { got: 1 }));

    let mut indefinite = reader(&[0x9f, 0x00, 0x00, 0xff]);
    let mut items = indefinite.array(1).unwrap();
    assert_eq!(items.left(), None);
    assert_eq!(indefinite.more(&mut items), Ok(true));
    assert_eq!(indefinite.u64(), Ok(0));
    assert_eq!(indefinite.more(&mut items).map_err(kind), Err(CborErrorKind::Limit { limit: 1, got: 2 }));
}

#[test]
fn map_keys_ascend_by_their_encoded_bytes() {
    // 24 (1818) comes after 23 (17) and before "" (60): bytewise, not by value.
    let bytes = [0xa3, 0x17, 0xf6, 0x18, 0x18, 0xf6, 0x60, 0xf6];
    let mut reader = Reader::new(&bytes, Lengths::Definite, 9);
    let mut keys = KeyOrder::new();
    assert_eq!(reader.map_header(3), Ok(3));
    assert_eq!(keys.u64(&mut reader), Ok(23));
    reader.null().unwrap();
    assert_eq!(keys.u64(&mut reader), Ok(24));
    reader.null().unwrap();
    assert_eq!(keys.text(&mut reader, 0), Ok(""));
    reader.null().unwrap();
    assert_eq!(reader.end(), Ok(()));

    for (first, second) in [(1_u8, 1_u8), (2, 1)] {
        let bytes = [0xa2, first, 0xf6, second, 0xf6];
        let mut reader = Reader::new(&bytes, Lengths::Definite, 9);
        let mut keys = KeyOrder::new();
        assert_eq!(reader.map_header(2), Ok(2));
        keys.u64(&mut reader).unwrap();
        reader.null().unwrap();
        assert_eq!(keys.u64(&mut reader), Err(CborError { offset: 3, kind: CborErrorKind::KeyOrder }));
    }
}
