//! A DER writer, as much as the certificates of a simulated chain need.

/// One value: tag, shortest length, contents.
pub(crate) fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let shortest: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
    let head = match (shortest.as_slice(), content.len()) {
        (_, 0..0x80) => vec![tag, shortest.first().copied().unwrap_or(0)],
        // At most eight bytes of length: the low bits of the count.
        (long, _) => [&[tag, 0x80 | long.len().to_le_bytes()[0]], long].concat(),
    };
    [&head, content].concat()
}

/// A SEQUENCE of values already written.
pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    value(SEQUENCE, &parts.concat())
}

/// An INTEGER that is not negative, from big-endian bytes.
pub(crate) fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let shortest: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
    match shortest.first() {
        Some(0..=0x7f) => value(INTEGER, &shortest),
        // Zero, or a first bit that would read as a sign.
        _ => value(INTEGER, &[&[0], &shortest[..]].concat()),
    }
}

/// A BIT STRING of whole bytes.
pub(crate) fn bit_string(bytes: &[u8]) -> Vec<u8> {
    value(BIT_STRING, &[&[0], bytes].concat())
}

/// UTCTime until 2049, GeneralizedTime after (RFC 5280 §4.1.2.5), of Unix seconds.
pub(crate) fn time(unix_s: u64) -> Vec<u8> {
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    let (year, month, day) = civil(days);
    let rest = format!("{month:02}{day:02}{:02}{:02}{:02}Z", second / 3_600, second / 60 % 60, second % 60);
    match year {
        ..2050 => value(UTC_TIME, format!("{:02}{rest}", year % 100).as_bytes()),
        _ => value(GENERALIZED_TIME, format!("{year:04}{rest}").as_bytes()),
    }
}

/// Year, month and day of the Gregorian calendar, from days since 1970.
fn civil(mut days: u64) -> (u64, u8, u64) {
    let mut year = 1970;
    loop {
        let leap = u64::from(is_leap(year));
        if days < 365 + leap {
            break;
        }
        days -= 365 + leap;
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    for (month, length) in (1..).zip([31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30]) {
        if days < length {
            return (year, month, days + 1);
        }
        days -= length;
    }
    (year, 12, days + 1)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

pub(crate) const TRUE: &[u8] = &[0x01, 0x01, 0xff];
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const PRINTABLE_STRING: u8 = 0x13;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_in_their_one_form() {
        assert_eq!(value(4, &[]), [4, 0]);
        assert_eq!(value(4, &[7; 127])[..2], [4, 0x7f]);
        assert_eq!(value(4, &[7; 128])[..3], [4, 0x81, 0x80]);
        assert_eq!(value(4, &[7; 256])[..4], [4, 0x82, 1, 0]);
        assert_eq!(unsigned(&[0, 0]), [2, 1, 0]);
        assert_eq!(unsigned(&[0, 0x7f]), [2, 1, 0x7f]);
        assert_eq!(unsigned(&[0x80]), [2, 2, 0, 0x80]);
    }

    #[test]
    fn times_of_aws_certificates_are_written_as_aws_did() {
        assert_eq!(time(1_572_269_285)[2..], *b"191028132805Z");
        assert_eq!(time(2_519_044_085)[2..], *b"491028142805Z");
        assert_eq!(time(0)[2..], *b"700101000000Z");
        assert_eq!(time(1_709_164_800)[2..], *b"240229000000Z");
        assert_eq!(time(1_735_603_199)[2..], *b"241230235959Z");
        assert_eq!(time(2_524_607_999)[2..], *b"491231235959Z");
        assert_eq!(time(2_524_608_000)[..2], [GENERALIZED_TIME, 15]);
        assert_eq!(time(2_524_608_000)[2..], *b"20500101000000Z");
    }
}
