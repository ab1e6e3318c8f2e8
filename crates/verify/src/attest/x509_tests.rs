//! The certificate reader against a slow calendar, and against bytes that are no certificate.

use alloc::string::ToString as _;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

#[test]
fn days_of_four_centuries_equal_a_day_by_day_count() {
    let mut days = 0_u64;
    for year in 1970..2400_u64 {
        let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        let february = if leap { 29 } else { 28 };
        for (month, length) in (1..).zip([31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31_u8]) {
            for day in 1..=length {
                let midnight = Civil { year, month, day, hour: 0, minute: 0, second: 0 };
                assert_eq!(unix_ms(midnight), Some(days * 86_400_000), "{year}-{month}-{day}");
                days += 1;
            }
            for day in [0, length + 1, 255] {
                let nowhere = Civil { year, month, day, hour: 0, minute: 0, second: 0 };
                assert_eq!(unix_ms(nowhere), None, "{year}-{month}-{day}");
            }
        }
    }
}

#[test]
fn times_are_read_in_their_one_form() {
    let utc = |text: &str| parse_time(&mut Reader::new(&tlv(tag::UTC_TIME, text.as_bytes()))).map_err(|error| error.kind);
    let generalized = |text: &str| parse_time(&mut Reader::new(&tlv(tag::GENERALIZED_TIME, text.as_bytes()))).map_err(|error| error.kind);
    // From the certificates of AWS.
    assert_eq!(utc("191028132805Z"), Ok(1_572_269_285_000));
    assert_eq!(utc("491028142805Z"), Ok(2_519_044_085_000));
    assert_eq!(utc("700101000000Z"), Ok(0));
    assert_eq!(generalized("20500101000000Z"), Ok(2_524_608_000_000));
    assert_eq!(generalized("99991231235959Z"), Ok(253_402_300_799_000));
    for refused in ["691231235959Z", "491028142860Z", "4910281428Z", "491028142805", "491028142805+", "+91028142805Z", ""] {
        assert_eq!(utc(refused), Err(DerErrorKind::Time), "{refused}");
    }
    for refused in ["20491231235959Z", "20500101000000.0Z", "205001010000Z", "2050", ""] {
        assert_eq!(generalized(refused), Err(DerErrorKind::Time), "{refused}");
    }
}

#[test]
fn lengths_have_one_form() {
    let refused: [&[u8]; 6] =
        [&[0x04, 0x80, 0, 0], &[0x04, 0x81, 0x7f], &[0x04, 0x82, 0x00, 0xff], &[0x04, 0x83, 0, 0, 1], &[0x04, 0xff], &[0x04, 0x84]];
    for bytes in refused {
        let mut padded = Vec::from(bytes);
        padded.resize(300, 0);
        let error = Reader::new(&padded).content(tag::OCTET_STRING).unwrap_err();
        assert_eq!(error, DerError { offset: 0, kind: DerErrorKind::Length }, "{bytes:02x?}");
    }
    for length in [0, 1, 127, 128, 255, 256, 1000] {
        let content = Vec::from_iter((0..=250_u8).cycle().take(length));
        let value = tlv(tag::OCTET_STRING, &content);
        let mut reader = Reader::new(&value);
        assert_eq!(reader.content(tag::OCTET_STRING), Ok(&content[..]));
        assert_eq!(reader.end(), Ok(()));
        let truncated = Reader::new(&value[..value.len() - 1]).content(tag::OCTET_STRING);
        assert!(truncated.is_err(), "{length}");
    }
}

#[test]
fn integers_have_one_form() {
    let read = |content: &[u8]| Reader::new(&tlv(tag::INTEGER, content)).unsigned().map(Vec::from).map_err(|error| error.kind);
    assert_eq!(read(&[0]), Ok(Vec::new()));
    assert_eq!(read(&[1]), Ok(Vec::from([1])));
    assert_eq!(read(&[0, 0x80]), Ok(Vec::from([0x80])));
    for refused in [&[][..], &[0x80], &[0xff, 1], &[0, 0], &[0, 0x7f], &[0, 0, 0x80]] {
        assert_eq!(read(refused), Err(DerErrorKind::Integer), "{refused:02x?}");
    }
}

#[test]
fn named_bits_equal_a_bit_by_bit_writing() {
    // Every set of nine named bits has exactly one writing among all of one and two bytes.
    let mut writings = [0_u8; 1 << 9];
    for unused in 0..=255_u8 {
        for first in 0..=255_u8 {
            let one = Reader::new(&tlv(tag::BIT_STRING, &[unused, first])).named_bits();
            let two = [0, 0x80, 0xff].map(|second| Reader::new(&tlv(tag::BIT_STRING, &[unused, first, second])).named_bits());
            for bits in [one].into_iter().chain(two).flatten().filter(|bits| bits & 0x7f == 0) {
                writings[usize::from(bits >> 7)] += 1;
            }
        }
    }
    assert_eq!(writings[0], 0);
    assert!(writings[1..].iter().all(|count| *count == 1), "{writings:?}");
}

#[test]
fn extensions_that_no_certificate_of_the_vendor_has_are_noticed_critical_or_not() {
    let read = |id: &[u8], critical, value: &[u8]| {
        let mut found = Extensions::default();
        parse_extension(id, critical, Reader::new(value), &mut found).expect("well formed");
        (found.foreign_constraint, found.unknown_critical)
    };
    for critical in [false, true] {
        for id in [NAME_CONSTRAINTS, POLICY_MAPPINGS, POLICY_CONSTRAINTS, EXTENDED_KEY_USAGE, INHIBIT_ANY_POLICY] {
            assert_eq!(read(id, critical, &[0x30, 0]), (true, critical), "{id:02x?}");
        }
        // Certificate policies and distribution points constrain nothing.
        for id in [&[0x55, 0x1d, 0x20][..], &[0x55, 0x1d, 0x1f], &[0x2a, 0x03]] {
            assert_eq!(read(id, critical, &[0x30, 0]), (false, critical), "{id:02x?}");
        }
        let key_id = tlv(tag::SEQUENCE, &tlv(tag::IMPLICIT_0, &[1; 20]));
        assert_eq!(read(AUTHORITY_KEY_ID, critical, &key_id), (false, critical));
        assert_eq!(read(SUBJECT_KEY_ID, critical, &tlv(tag::OCTET_STRING, &[1; 20])), (false, critical));
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_certificate(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(parse_certificate(&bytes).is_err());
    }

    #[test]
    fn well_nested_bytes_never_panic(value in nested()) {
        if let Err(error) = parse_certificate(&value) {
            prop_assert!(error.offset <= value.len());
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn mutated_certificate_never_panics(edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut certificate = Vec::from(DEVELOPMENT_ROOT);
        for (at, byte) in edits {
            let at = at.index(certificate.len());
            certificate[at] = byte;
        }
        if let Err(error) = parse_certificate(&certificate) {
            prop_assert!(error.offset <= certificate.len());
        }
    }

    #[test]
    fn any_prefix_or_suffix_is_refused(cut in any::<prop::sample::Index>(), tail in proptest::collection::vec(any::<u8>(), 1..4)) {
        prop_assert!(parse_certificate(&DEVELOPMENT_ROOT[..cut.index(DEVELOPMENT_ROOT.len())]).is_err());
        prop_assert!(parse_certificate(&[DEVELOPMENT_ROOT, &tail].concat()).is_err());
    }
}

#[test]
fn development_root_is_read() {
    let certificate = parse_certificate(DEVELOPMENT_ROOT).expect("well formed");
    assert_eq!(certificate.issuer, certificate.subject);
    let constraints = certificate.extensions.basic_constraints.expect("present");
    assert!(constraints.ca && constraints.critical && constraints.path_len.is_none());
    assert_eq!(certificate.extensions.key_usage, Some(KEY_CERT_SIGN | 0x0200));
    assert!(!certificate.extensions.unknown_critical);
    // 2036-11-17T10:34:31Z.
    assert_eq!(certificate.not_after_ms, 2_110_530_871_000);
}

/// DER values of the tags we read, nested at random.
fn nested() -> impl Strategy<Value = Vec<u8>> {
    const TAGS: &[u8] = &[0x01, 0x02, 0x03, 0x04, 0x06, 0x0c, 0x13, 0x17, 0x18, 0x30, 0x31, 0x80, 0xa0, 0xa3];
    let tag = prop::sample::select(TAGS);
    let leaf = (tag.clone(), proptest::collection::vec(any::<u8>(), 0..20)).prop_map(|(tag, content)| tlv(tag, &content));
    leaf.prop_recursive(6, 64, 6, move |inner| {
        (tag.clone(), proptest::collection::vec(inner, 0..6)).prop_map(|(tag, parts)| tlv(tag, &parts.concat()))
    })
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).expect("short").to_be_bytes();
    let length = match (high, low) {
        (0, 0..=0x7f) => Vec::from([low]),
        (0, _) => Vec::from([0x81, low]),
        _ => Vec::from([0x82, high, low]),
    };
    [&[tag], &length[..], content].concat()
}

const DEVELOPMENT_ROOT: &[u8] = include_bytes!("../../../../vectors/attestation/devroot.der");
