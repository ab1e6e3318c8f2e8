//! The headers that carry x402 objects: base64 of JSON, one value, bounded.
//!
//! Standard base64 with padding goes out; standard and URL-safe, padded or not, are read (clients differ). Also here: the
//! `Cache-Control` that keeps shared caches away from paid answers. Reference: x402 v2, HTTP transport.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, PAD};
use base64::engine::{DecodePaddingMode, general_purpose::STANDARD};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::types::{JsonObject, PaymentPayload, PaymentRequired, PaymentRequirements, ResourceInfo, SettleResponse};
use super::{MAX_ACCEPTS, ProtocolError, X402_VERSION};

/// Server to client, on a 402. In lower case, as HTTP/2 and the types of header names want it; a name means the same in any case.
pub const HEADER_PAYMENT_REQUIRED: &str = "payment-required";
/// Client to server.
pub const HEADER_PAYMENT_SIGNATURE: &str = "payment-signature";
/// Server to client, once the payment has moved or failed to.
pub const HEADER_PAYMENT_RESPONSE: &str = "payment-response";

/// Longest header value that is read, in bytes. Extensions with JSON schemas pass 8 KiB; 32 KiB is the reference's advice.
pub const MAX_HEADER_BYTES: usize = 32 * 1024;

/// `Cache-Control` of a 402: a price is for one request, so nobody keeps it.
pub const CACHE_CONTROL_UNPAID: &str = "no-store";

/// `Cache-Control` of a paid answer: what the handler wanted, but never shared.
///
/// `public` and `s-maxage` go, `private` comes, unless `no-store` is there already.
#[must_use]
pub fn cache_control_paid(wanted: Option<&str>) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for directive in wanted.unwrap_or_default().split(',').map(str::trim).filter(|d| !d.is_empty()) {
        let name = directive.split('=').next().unwrap_or_default().trim();
        let shared = ["public", "s-maxage", "private"].iter().any(|dropped| name.eq_ignore_ascii_case(dropped));
        if !shared {
            kept.push(directive);
        }
    }
    if !kept.iter().any(|d| d.eq_ignore_ascii_case("no-store")) {
        kept.insert(0, "private");
    }
    kept.join(", ")
}

/// The one value of a header, or `None` if it did not come.
///
/// # Errors
/// `Duplicate` if it came twice, `Merged` if somebody joined two with a comma, `TooLong`.
pub fn parse_single_header<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Result<Option<&'a [u8]>, ProtocolError> {
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(ProtocolError::Duplicate);
    }
    if value.contains(&b',') {
        return Err(ProtocolError::Merged);
    }
    check_length(value)?;
    Ok(Some(value))
}

/// The bytes inside a header value.
///
/// # Errors
/// `TooLong` or `Base64`.
pub fn decode_header(value: &[u8]) -> Result<Vec<u8>, ProtocolError> {
    check_length(value)?;
    let value = value.trim_ascii();
    STANDARD_OR_NOT_PADDED.decode(value).or_else(|_| URL_SAFE_OR_NOT_PADDED.decode(value)).map_err(|_| ProtocolError::Base64)
}

/// The header value of an object.
#[must_use]
pub fn encode_header(object: &impl Serialize) -> String {
    // Our objects have string keys and no failing serializer, so this cannot fail; an empty value would be refused by every reader.
    serde_json::to_vec(object).map(|json| STANDARD.encode(json)).unwrap_or_default()
}

/// Reads a `PAYMENT-SIGNATURE` value. Believes nothing.
///
/// # Errors
/// `TooLong`, `Base64`, `Json`, `Version`.
pub fn parse_payment_payload(value: &[u8]) -> Result<PaymentPayload, ProtocolError> {
    let bytes = decode_header(value)?;
    // The version first: an object of another version has another shape, and the error should say so.
    check_version(&bytes, "PaymentPayload")?;
    from_json(&bytes, "PaymentPayload")
}

/// Reads a `PAYMENT-REQUIRED` value. Entries of `accepts` that are not of the known shape are dropped: the server may offer more than
/// we understand. Believes nothing.
///
/// # Errors
/// `TooLong`, `Base64`, `Json`, `Version`, `Accepts`.
pub fn parse_payment_required(value: &[u8]) -> Result<PaymentRequired, ProtocolError> {
    let bytes = decode_header(value)?;
    check_version(&bytes, "PaymentRequired")?;
    let loose: LooseRequired = from_json(&bytes, "PaymentRequired")?;
    let got = loose.accepts.len();
    if got == 0 || MAX_ACCEPTS < got {
        return Err(ProtocolError::Accepts { limit: MAX_ACCEPTS, got });
    }
    let accepts = loose.accepts.into_iter().filter_map(|entry| serde_json::from_value::<PaymentRequirements>(entry).ok()).collect();
    Ok(PaymentRequired { x402_version: X402_VERSION, error: loose.error, resource: loose.resource, accepts, extensions: loose.extensions })
}

/// Reads a `PAYMENT-RESPONSE` value. Believes nothing: whether money moved is on the chain.
///
/// # Errors
/// `TooLong`, `Base64`, `Json`.
pub fn parse_settle_response(value: &[u8]) -> Result<SettleResponse, ProtocolError> {
    from_json(&decode_header(value)?, "SettleResponse")
}

fn check_length(value: &[u8]) -> Result<(), ProtocolError> {
    if MAX_HEADER_BYTES < value.len() {
        return Err(ProtocolError::TooLong { limit: MAX_HEADER_BYTES, got: value.len() });
    }
    Ok(())
}

fn check_version(bytes: &[u8], expected: &'static str) -> Result<(), ProtocolError> {
    let version: VersionOnly = from_json(bytes, expected)?;
    if version.x402_version != X402_VERSION {
        return Err(ProtocolError::Version { expected: X402_VERSION, got: version.x402_version });
    }
    Ok(())
}

fn from_json<T: DeserializeOwned>(bytes: &[u8], expected: &'static str) -> Result<T, ProtocolError> {
    // serde_json quotes the offending text in its message, which may be a signature: only the place is kept.
    serde_json::from_slice(bytes).map_err(|error| ProtocolError::Json { expected, line: error.line(), column: error.column() })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VersionOnly {
    x402_version: u64,
}

#[derive(Deserialize)]
struct LooseRequired {
    #[serde(default)]
    error: Option<String>,
    resource: ResourceInfo,
    accepts: Vec<Value>,
    #[serde(default)]
    extensions: Option<JsonObject>,
}

const STANDARD_OR_NOT_PADDED: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, PAD.with_decode_padding_mode(DecodePaddingMode::Indifferent));
const URL_SAFE_OR_NOT_PADDED: GeneralPurpose =
    GeneralPurpose::new(&alphabet::URL_SAFE, PAD.with_decode_padding_mode(DecodePaddingMode::Indifferent));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_came_twice_or_was_merged_is_refused() {
        let one: [&[u8]; 1] = [b"YQ=="];
        assert_eq!(parse_single_header(one.into_iter()), Ok(Some(b"YQ==".as_slice())));
        assert_eq!(parse_single_header(std::iter::empty()), Ok(None));
        let two: [&[u8]; 2] = [b"YQ==", b"YQ=="];
        assert_eq!(parse_single_header(two.into_iter()), Err(ProtocolError::Duplicate));
        let merged: [&[u8]; 1] = [b"YQ==, YQ=="];
        assert_eq!(parse_single_header(merged.into_iter()), Err(ProtocolError::Merged));
    }

    #[test]
    fn both_alphabets_and_missing_padding_are_read_and_garbage_is_not() {
        let bytes = [0xfb, 0xff, 0xfe, 0x01];
        for text in ["+//+AQ==", "+//+AQ", "-__-AQ==", "-__-AQ", " +//+AQ== "] {
            assert_eq!(decode_header(text.as_bytes()).as_deref(), Ok(bytes.as_slice()), "{text}");
        }
        for text in ["+_/+AQ==", "*", "A", "AQ=A", "\u{e9}"] {
            assert_eq!(decode_header(text.as_bytes()), Err(ProtocolError::Base64), "{text}");
        }
    }

    #[test]
    fn a_header_is_read_up_to_the_limit_and_not_beyond() {
        let long = vec![b'A'; MAX_HEADER_BYTES];
        assert!(decode_header(&long).is_ok());
        let longer = vec![b'A'; MAX_HEADER_BYTES + 1];
        let expected = ProtocolError::TooLong { limit: MAX_HEADER_BYTES, got: MAX_HEADER_BYTES + 1 };
        assert_eq!(decode_header(&longer), Err(expected.clone()));
        assert_eq!(parse_single_header([longer.as_slice()].into_iter()), Err(expected));
    }

    #[test]
    fn no_shared_cache_may_keep_a_paid_answer() {
        assert_eq!(CACHE_CONTROL_UNPAID, "no-store");
        for (wanted, expected) in [
            (None, "private"),
            (Some(""), "private"),
            (Some("max-age=60"), "private, max-age=60"),
            (Some("public, S-MaxAge=9, max-age=60"), "private, max-age=60"),
            (Some("private"), "private"),
            (Some("no-store"), "no-store"),
            (Some("Public, no-store"), "no-store"),
        ] {
            assert_eq!(cache_control_paid(wanted), expected, "{wanted:?}");
        }
    }

    #[test]
    fn another_version_is_named_before_its_shape_is_complained_about() {
        let value = STANDARD.encode(br#"{"x402Version":1,"scheme":"exact"}"#);
        assert_eq!(parse_payment_payload(value.as_bytes()), Err(ProtocolError::Version { expected: 2, got: 1 }));
    }

    #[test]
    fn json_errors_do_not_quote_the_text() {
        let value = STANDARD.encode(br#"{"x402Version":2,"accepted":"0xdeadbeef"}"#);
        let error = parse_payment_payload(value.as_bytes()).unwrap_err();
        assert!(matches!(error, ProtocolError::Json { expected: "PaymentPayload", .. }));
        assert!(!format!("{error} {error:?}").contains("deadbeef"));
    }

    #[test]
    fn unknown_entries_of_accepts_are_dropped_and_too_many_are_refused() {
        let good = r#"{"scheme":"s","network":"n:1","amount":"1","asset":"a","payTo":"p","maxTimeoutSeconds":1,"extra":null,"new":1}"#;
        let body = |accepts: &str| STANDARD.encode(format!(r#"{{"x402Version":2,"resource":{{"url":"u"}},"accepts":[{accepts}]}}"#));
        let read = parse_payment_required(body(&format!(r#"{{"odd":true}},{good}"#)).as_bytes()).unwrap();
        assert_eq!(read.accepts.len(), 1);
        assert_eq!(parse_payment_required(body("").as_bytes()), Err(ProtocolError::Accepts { limit: 32, got: 0 }));
        let many = vec![good; 33].join(",");
        assert_eq!(parse_payment_required(body(&many).as_bytes()), Err(ProtocolError::Accepts { limit: 32, got: 33 }));
    }
}
