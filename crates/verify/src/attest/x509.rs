//! One certificate of an attestation chain: parse it, then check it against its issuer.
//!
//! The subset of X.509 (RFC 5280) that AWS's chains use: v3, P-384 keys, `ecdsa-with-SHA384` inside and outside, four extensions that are
//! read and others that are passed over. In: DER bytes, unbelieved. Out: a [`Certificate`], still unbelieved; `chain.rs` walks the chain
//! and calls the checks here.
//!
//! Deliberately not here: name and policy constraints and extended key usage (a chain that has one is not AWS's, so it is refused, critical
//! or not), revocation lists (a distribution point is passed over), other curves and algorithms, self-issued exceptions.
//!
//! Invariant: the signed bytes are kept and verified as they came; nothing is re-encoded.

use p384::ecdsa::{Signature, VerifyingKey};

use super::der::{DerError, DerErrorKind, Reader, tag};

/// A well-formed certificate that nobody has vouched for yet.
#[derive(Clone, Debug)]
pub(super) struct Certificate<'a> {
    /// TBSCertificate with tag and length: what the issuer signed.
    pub(super) signed: &'a [u8],
    pub(super) signature: Signature,
    pub(super) issuer: &'a [u8],
    pub(super) subject: &'a [u8],
    pub(super) not_before_ms: u64,
    pub(super) not_after_ms: u64,
    pub(super) key: VerifyingKey,
    pub(super) extensions: Extensions<'a>,
}

/// What the extensions say.
#[derive(Clone, Debug, Default)]
pub(super) struct Extensions<'a> {
    pub(super) basic_constraints: Option<BasicConstraints>,
    /// Named bits, bit 0 highest: [`DIGITAL_SIGNATURE`], [`KEY_CERT_SIGN`].
    pub(super) key_usage: Option<u16>,
    pub(super) subject_key_id: Option<&'a [u8]>,
    pub(super) authority_key_id: Option<&'a [u8]>,
    /// Some extension that constrains what stands below or what the key is for, and that we do not process.
    pub(super) foreign_constraint: bool,
    /// Some critical extension that we do not process, or one that is never critical.
    pub(super) unknown_critical: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct BasicConstraints {
    pub(super) critical: bool,
    pub(super) ca: bool,
    pub(super) path_len: Option<u8>,
}

/// Key usage bit 0.
pub(super) const DIGITAL_SIGNATURE: u16 = 0x8000;
/// Key usage bit 5.
pub(super) const KEY_CERT_SIGN: u16 = 0x0400;

/// Reads one certificate and nothing after it.
pub(super) fn parse_certificate(der: &[u8]) -> Result<Certificate<'_>, DerError> {
    let mut input = Reader::new(der);
    let mut outer = input.open(tag::SEQUENCE)?;
    input.end()?;

    let tbs = outer.value(tag::SEQUENCE)?;
    check_algorithm(&mut outer)?;
    let signature = parse_signature(outer.bit_string()?)?;
    outer.end()?;

    let mut fields = tbs.content;
    check_version(&mut fields)?;
    check_serial(&mut fields)?;
    check_algorithm(&mut fields)?;
    let issuer = parse_name(&mut fields)?;
    let mut validity = fields.open(tag::SEQUENCE)?;
    let not_before_ms = parse_time(&mut validity)?;
    let not_after_ms = parse_time(&mut validity)?;
    validity.end()?;
    let subject = parse_name(&mut fields)?;
    let key = parse_key(&mut fields)?;
    // Unique identifiers ([1], [2]) would stand here; RFC 5280 forbids making them, so they end the parse as a wrong tag. A certificate
    // without extensions cannot pass later checks either.
    let extensions = parse_extensions(&mut fields)?;
    fields.end()?;

    Ok(Certificate { signed: tbs.whole, signature, issuer, subject, not_before_ms, not_after_ms, key, extensions })
}

fn check_version(fields: &mut Reader<'_>) -> Result<(), DerError> {
    let error = fields.error(DerErrorKind::Version);
    let mut version = fields.open(tag::EXPLICIT_0)?;
    match version.unsigned()? {
        [V3] => version.end(),
        _ => Err(error),
    }
}

fn check_serial(fields: &mut Reader<'_>) -> Result<(), DerError> {
    let error = fields.error(DerErrorKind::Integer);
    match fields.unsigned()?.len() {
        1..=SERIAL_BYTES_MAX => Ok(()),
        _ => Err(error),
    }
}

fn check_algorithm(fields: &mut Reader<'_>) -> Result<(), DerError> {
    let error = fields.error(DerErrorKind::SignatureAlgorithm);
    if fields.content(tag::SEQUENCE)? == ECDSA_WITH_SHA384 { Ok(()) } else { Err(error) }
}

/// Ecdsa-Sig-Value. High s is accepted: AWS signs so.
fn parse_signature(mut bits: Reader<'_>) -> Result<Signature, DerError> {
    let error = bits.error(DerErrorKind::SignatureRange);
    let mut numbers = bits.open(tag::SEQUENCE)?;
    bits.end()?;
    let r = scalar(numbers.unsigned()?).ok_or(error)?;
    let s = scalar(numbers.unsigned()?).ok_or(error)?;
    numbers.end()?;
    // Refuses zero and anything not below the group order.
    Signature::from_scalars(r, s).map_err(|_| error)
}

fn scalar(shortest: &[u8]) -> Option<[u8; 48]> {
    let mut padded = [0_u8; 48];
    let start = padded.len().checked_sub(shortest.len())?;
    padded.get_mut(start..)?.copy_from_slice(shortest);
    Some(padded)
}

/// The whole name, for comparison byte by byte: a chain whose issuer re-encodes a name is not AWS's.
fn parse_name<'a>(fields: &mut Reader<'a>) -> Result<&'a [u8], DerError> {
    let error = fields.error(DerErrorKind::Name);
    let name = fields.value(tag::SEQUENCE)?;
    let mut parts = name.content;
    for _ in 0..NAME_PARTS_MAX {
        let mut part = parts.open(tag::SET)?;
        let mut attribute = part.open(tag::SEQUENCE)?;
        part.end()?;
        attribute.content(tag::OID)?;
        match attribute.peek() {
            Some(tag::PRINTABLE_STRING) => attribute.content(tag::PRINTABLE_STRING)?,
            _ => attribute.content(tag::UTF8_STRING)?,
        };
        attribute.end()?;
        if parts.is_empty() {
            return Ok(name.whole);
        }
    }
    Err(error)
}

fn parse_key(fields: &mut Reader<'_>) -> Result<VerifyingKey, DerError> {
    let error = fields.error(DerErrorKind::PublicKey);
    let mut info = fields.open(tag::SEQUENCE)?;
    if info.content(tag::SEQUENCE)? != EC_PUBLIC_KEY_P384 {
        return Err(error);
    }
    let point = info.content(tag::BIT_STRING)?;
    info.end()?;
    match point {
        // No unused bits; uncompressed. The point must lie on the curve with both numbers reduced.
        [0, sec1 @ ..] if sec1.first() == Some(&0x04) && sec1.len() == SEC1_BYTES => VerifyingKey::from_sec1_bytes(sec1).map_err(|_| error),
        _ => Err(error),
    }
}

fn parse_extensions<'a>(fields: &mut Reader<'a>) -> Result<Extensions<'a>, DerError> {
    let mut wrapper = fields.open(tag::EXPLICIT_3)?;
    let mut list = wrapper.open(tag::SEQUENCE)?;
    wrapper.end()?;

    let mut found = Extensions::default();
    let mut seen: [&[u8]; EXTENSIONS_MAX] = [&[]; EXTENSIONS_MAX];
    for slot in 0..EXTENSIONS_MAX {
        if list.is_empty() {
            return Ok(found);
        }
        let repeated = list.error(DerErrorKind::RepeatedExtension);
        let mut extension = list.open(tag::SEQUENCE)?;
        let id = extension.content(tag::OID)?;
        if seen.contains(&id) {
            return Err(repeated);
        }
        if let Some(free) = seen.get_mut(slot) {
            *free = id;
        }
        let critical = extension.true_if_next()?;
        let value = extension.open(tag::OCTET_STRING)?;
        extension.end()?;
        parse_extension(id, critical, value, &mut found)?;
    }
    if list.is_empty() { Ok(found) } else { Err(list.error(DerErrorKind::TooManyExtensions)) }
}

fn parse_extension<'a>(id: &[u8], critical: bool, mut value: Reader<'a>, found: &mut Extensions<'a>) -> Result<(), DerError> {
    match id {
        BASIC_CONSTRAINTS => {
            let mut fields = value.open(tag::SEQUENCE)?;
            let ca = fields.true_if_next()?;
            let path_len = if fields.is_empty() { None } else { Some(parse_path_len(&mut fields)?) };
            fields.end()?;
            found.basic_constraints = Some(BasicConstraints { critical, ca, path_len });
        }
        KEY_USAGE => found.key_usage = Some(value.named_bits()?),
        SUBJECT_KEY_ID => {
            found.subject_key_id = Some(value.content(tag::OCTET_STRING)?);
            // RFC 5280 §4.2.1.2: as below.
            found.unknown_critical |= critical;
        }
        AUTHORITY_KEY_ID => {
            // Only the key identifier: issuer and serial, the other form, name no key.
            let mut fields = value.open(tag::SEQUENCE)?;
            found.authority_key_id = Some(fields.content(tag::IMPLICIT_0)?);
            fields.end()?;
            // RFC 5280 §4.2.1.1: conforming CAs mark it as non-critical.
            found.unknown_critical |= critical;
        }
        NAME_CONSTRAINTS | POLICY_MAPPINGS | POLICY_CONSTRAINTS | EXTENDED_KEY_USAGE | INHIBIT_ANY_POLICY => {
            found.foreign_constraint = true;
            found.unknown_critical |= critical;
            return Ok(());
        }
        _ => {
            found.unknown_critical |= critical;
            return Ok(());
        }
    }
    value.end()
}

fn parse_path_len(fields: &mut Reader<'_>) -> Result<u8, DerError> {
    let error = fields.error(DerErrorKind::Integer);
    match fields.unsigned()? {
        [] => Ok(0),
        [value] => Ok(*value),
        _ => Err(error),
    }
}

/// UTCTime until 2049, GeneralizedTime from 2050 (RFC 5280 §4.1.2.5), both in whole seconds of UTC.
fn parse_time(fields: &mut Reader<'_>) -> Result<u64, DerError> {
    let error = fields.error(DerErrorKind::Time);
    let (year, rest) = match fields.peek() {
        Some(tag::GENERALIZED_TIME) => match fields.content(tag::GENERALIZED_TIME)? {
            [y0, y1, y2, y3, rest @ ..] => {
                let (century, of_century) = (pair(*y0, *y1), pair(*y2, *y3));
                let year = century.zip(of_century).map(|(high, low)| u64::from(high).saturating_mul(100).saturating_add(u64::from(low)));
                (year.filter(|year| 2050 <= *year), rest)
            }
            _ => return Err(error),
        },
        _ => match fields.content(tag::UTC_TIME)? {
            [y0, y1, rest @ ..] => {
                let year = pair(*y0, *y1).map(u64::from).map(|year| match year {
                    0..50 => year.saturating_add(2000),
                    _ => year.saturating_add(1900),
                });
                (year, rest)
            }
            _ => return Err(error),
        },
    };
    let [m0, m1, d0, d1, h0, h1, n0, n1, s0, s1, b'Z'] = rest else {
        return Err(error);
    };
    let time = || {
        unix_ms(Civil {
            year: year?,
            month: pair(*m0, *m1)?,
            day: pair(*d0, *d1)?,
            hour: pair(*h0, *h1)?,
            minute: pair(*n0, *n1)?,
            second: pair(*s0, *s1)?,
        })
    };
    time().ok_or(error)
}

fn pair(high: u8, low: u8) -> Option<u8> {
    match (high, low) {
        (b'0'..=b'9', b'0'..=b'9') => high.checked_sub(b'0')?.checked_mul(10)?.checked_add(low.checked_sub(b'0')?),
        _ => None,
    }
}

struct Civil {
    year: u64,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
}

/// Unix milliseconds of a date of the Gregorian calendar; `None` if there is no such date, if it is before 1970, or for a leap second
/// (which X.509 times do not have).
fn unix_ms(time: Civil) -> Option<u64> {
    let Civil { year, month, day, hour, minute, second } = time;
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (days_before_month, days_in_month) = match (month, leap) {
        (1, _) => (0_u64, 31),
        (2, false) => (31, 28),
        (2, true) => (31, 29),
        (3, _) => (59, 31),
        (4, _) => (90, 30),
        (5, _) => (120, 31),
        (6, _) => (151, 30),
        (7, _) => (181, 31),
        (8, _) => (212, 31),
        (9, _) => (243, 30),
        (10, _) => (273, 31),
        (11, _) => (304, 30),
        (12, _) => (334, 31),
        _ => return None,
    };
    let exists = matches!(day, 1..) && day <= days_in_month && hour < 24 && minute < 60 && second < 60;
    if !exists {
        return None;
    }
    let leap_day_passed = u64::from(leap && 2 < month);
    let days = days_before_year(year)?
        .checked_sub(days_before_year(1970)?)?
        .checked_add(days_before_month)?
        .checked_add(leap_day_passed)?
        .checked_add(u64::from(day).checked_sub(1)?)?;
    let minutes = days.checked_mul(24)?.checked_add(u64::from(hour))?.checked_mul(60)?;
    let seconds = minutes.checked_add(u64::from(minute))?.checked_mul(60)?;
    seconds.checked_add(u64::from(second))?.checked_mul(1000)
}

/// Days from the year 1 to the first of January of `year`.
fn days_before_year(year: u64) -> Option<u64> {
    let before = year.checked_sub(1)?;
    let leap_days = before.checked_div(4)?.checked_sub(before.checked_div(100)?)?.checked_add(before.checked_div(400)?)?;
    before.checked_mul(365)?.checked_add(leap_days)
}

/// The version field holds 2 for v3.
const V3: u8 = 2;
/// RFC 5280 §4.1.2.2: at most 20 bytes.
const SERIAL_BYTES_MAX: usize = 20;
/// Real names have at most six parts.
const NAME_PARTS_MAX: usize = 16;
/// Real certificates have at most five.
const EXTENSIONS_MAX: usize = 16;
/// 04 and two numbers of 48 bytes.
const SEC1_BYTES: usize = 97;

/// OID 1.2.840.10045.4.3.3, without parameters.
const ECDSA_WITH_SHA384: &[u8] = &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
/// OIDs 1.2.840.10045.2.1 (id-ecPublicKey) and 1.3.132.0.34 (secp384r1).
const EC_PUBLIC_KEY_P384: &[u8] = &[
    0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, // id-ecPublicKey
    0x06, 5, 0x2b, 0x81, 0x04, 0x00, 0x22, // secp384r1
];
const SUBJECT_KEY_ID: &[u8] = &[0x55, 0x1d, 0x0e];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x1e];
const POLICY_MAPPINGS: &[u8] = &[0x55, 0x1d, 0x21];
const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 0x23];
const POLICY_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x24];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const INHIBIT_ANY_POLICY: &[u8] = &[0x55, 0x1d, 0x36];

#[cfg(test)]
#[path = "x509_tests.rs"]
mod tests;
