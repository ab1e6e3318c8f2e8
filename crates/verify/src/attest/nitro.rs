//! Steps 1 to 6: from bytes to a [`Document`], well formed and unbelieved.
//!
//! A Nitro attestation document is a COSE_Sign1 whose payload is a CBOR map. The form accepted is what AWS has been seen to send (untagged,
//! counted or break-ended maps, `null` for absent options). Everything else is refused before any cryptography, also tag 18, which AWS's text
//! shows and nobody has seen: a document has one encoding, up to its signature's two halves of s.
//!
//! Not here: any belief. The certificates are still opaque byte strings (`chain.rs`), the signature is only a pair of numbers in range
//! (`verified.rs`).

use alloc::vec::Vec;

use p384::ecdsa::Signature;
use sha2::{Digest as _, Sha256};

use super::TrustRoot;
use super::error::{AttestError, Field};
use super::verified::{MEASUREMENTS_BYTES, check_measurements};
use crate::cbor::values::{CborError, Lengths, Reader};
use crate::evidence::DOCUMENT_MAX;

/// A well-formed attestation document. Nothing in it may be shown as a fact: see [`verify_document`].
///
/// [`verify_document`]: super::verify_document
#[derive(Clone, Debug)]
pub struct Document<'a> {
    pub(super) module_id: &'a str,
    pub(super) timestamp_ms: u64,
    pub(super) pcrs: [Option<&'a [u8; PCR_BYTES]>; PCRS_MAX],
    pub(super) certificate: &'a [u8],
    // Invariant: one or more.
    pub(super) cabundle: Vec<&'a [u8]>,
    pub(super) root: TrustRoot,
    pub(super) public_key: Option<&'a [u8]>,
    pub(super) user_data: Option<&'a [u8]>,
    pub(super) nonce: Option<&'a [u8]>,
    pub(super) payload: &'a [u8],
    /// The payload as a CBOR byte string with its header, as the signature covers it. The header has one form, so these bytes are what any
    /// encoder would write.
    pub(super) payload_item: &'a [u8],
    pub(super) signature: Signature,
}

impl Document<'_> {
    /// When the document says it was made (Unix milliseconds). UNVERIFIED: good only for choosing the time at which to verify it.
    #[must_use]
    pub fn claimed_timestamp_ms(&self) -> u64 {
        self.timestamp_ms
    }

    /// The user data. UNVERIFIED: good only for explaining.
    pub(crate) fn claimed_user_data(&self) -> Option<&[u8]> {
        self.user_data
    }

    /// PCR0, PCR1 and PCR2, of 48 bytes each. UNVERIFIED: good only for explaining.
    ///
    /// # Errors
    /// Why they measure nothing.
    pub fn claimed_measurements(&self) -> Result<[u8; MEASUREMENTS_BYTES], AttestError> {
        check_measurements(self)
    }

    /// The root the document says it stands under. UNVERIFIED: good only for explaining a refusal.
    #[must_use]
    pub fn claimed_root(&self) -> TrustRoot {
        self.root
    }
}

/// Reads a document (steps 1 to 6).
///
/// # Errors
/// An [`AttestError`] of check `attest.size`, `attest.cose`, `attest.protected`, `attest.payload`, `attest.signature`, `attest.fields` or
/// `attest.pcrs`.
///
/// # Security
/// Proves nothing but the form. Two byte strings may be the same document: (r, n − s) verifies wherever (r, s) does. Identity is [`VerifiedDocument::payload_digest`](super::VerifiedDocument::payload_digest).
///
/// # Examples
/// ```
/// let refused = candor_verify::attest::parse_document(&[]).unwrap_err();
/// assert_eq!(refused.check(), "attest.size");
/// ```
pub fn parse_document(bytes: &[u8]) -> Result<Document<'_>, AttestError> {
    check_size(bytes)?;
    let mut outer = Reader::new(bytes, Lengths::Definite, OUTER_ITEMS_MAX);
    open_outer(&mut outer)?;
    check_headers(&mut outer)?;
    let start = outer.offset();
    let payload = outer.bytes(PAYLOAD_BYTES_MAX).map_err(AttestError::Payload)?;
    let payload_item = outer.since(start);
    if payload.is_empty() {
        return Err(AttestError::PayloadEmpty);
    }
    let signature = parse_signature(&mut outer)?;
    outer.end().map_err(AttestError::Cose)?;

    let fields = parse_payload(payload)?;
    let missing = AttestError::FieldMissing;
    // The digest has one value and was compared; only its presence is left to ask.
    fields.digest.ok_or(missing(Field::Digest))?;
    let cabundle = fields.cabundle.ok_or(missing(Field::CaBundle))?;
    let root = cabundle.first().ok_or(AttestError::FieldEmpty(Field::CaBundle))?;
    Ok(Document {
        module_id: fields.module_id.ok_or(missing(Field::ModuleId))?,
        timestamp_ms: fields.timestamp_ms.ok_or(missing(Field::Timestamp))?,
        pcrs: fields.pcrs.ok_or(missing(Field::Pcrs))?,
        certificate: fields.certificate.ok_or(missing(Field::Certificate))?,
        root: TrustRoot { fingerprint: Sha256::digest(root).into() },
        cabundle,
        public_key: fields.public_key.flatten(),
        user_data: fields.user_data.flatten(),
        nonce: fields.nonce.flatten(),
        payload,
        payload_item,
        signature,
    })
}

fn check_size(bytes: &[u8]) -> Result<(), AttestError> {
    match bytes.len() {
        1..=DOCUMENT_MAX => Ok(()),
        got => Err(AttestError::Size { limit: DOCUMENT_MAX, got }),
    }
}

fn open_outer(outer: &mut Reader<'_>) -> Result<(), AttestError> {
    match outer.array_header(u64::MAX).map_err(AttestError::Cose)? {
        COSE_SIGN1_ELEMENTS => Ok(()),
        got => Err(AttestError::CoseElements { expected: COSE_SIGN1_ELEMENTS, got }),
    }
}

fn check_headers(outer: &mut Reader<'_>) -> Result<(), AttestError> {
    let protected = outer.bytes(PROTECTED_BYTES_MAX).map_err(AttestError::Headers)?;
    if protected != PROTECTED_ES384 {
        let got = Vec::from(protected);
        return Err(AttestError::ProtectedHeader { expected: PROTECTED_ES384, got });
    }
    // The limit of no entries refuses all but the empty map.
    outer.map_header(0).map_err(AttestError::Headers).map(|_| ())
}

fn parse_signature(outer: &mut Reader<'_>) -> Result<Signature, AttestError> {
    let bytes = outer.byte_array::<SIGNATURE_BYTES>().map_err(AttestError::SignatureForm)?;
    // Refuses r or s of zero or not below the group order. High s stays: AWS signs so.
    Signature::from_slice(bytes).map_err(|_| AttestError::SignatureRange)
}

/// What was found so far; the outer `Option` is "seen", so that a second one is noticed.
#[derive(Default)]
struct Fields<'a> {
    module_id: Option<&'a str>,
    digest: Option<()>,
    timestamp_ms: Option<u64>,
    pcrs: Option<[Option<&'a [u8; PCR_BYTES]>; PCRS_MAX]>,
    certificate: Option<&'a [u8]>,
    cabundle: Option<Vec<&'a [u8]>>,
    public_key: Option<Option<&'a [u8]>>,
    user_data: Option<Option<&'a [u8]>>,
    nonce: Option<Option<&'a [u8]>>,
}

fn parse_payload(payload: &[u8]) -> Result<Fields<'_>, AttestError> {
    let mut reader = Reader::new(payload, Lengths::DefiniteOrIndefinite, PAYLOAD_ITEMS_MAX);
    let mut fields = Fields::default();
    let mut unknown: Vec<&str> = Vec::new();
    let mut map = reader.map(PAYLOAD_FIELDS_MAX).map_err(AttestError::Payload)?;
    while reader.more(&mut map).map_err(AttestError::Payload)? {
        let key = reader.text(KEY_BYTES_MAX).map_err(AttestError::Payload)?;
        if let Some(field) = Field::from_key(key) {
            parse_field(&mut reader, field, &mut fields)?;
            continue;
        }
        // Signed but not ours to read: passed over, once each.
        if UNKNOWN_FIELDS_MAX <= unknown.len() || unknown.contains(&key) {
            return Err(AttestError::UnknownFields { limit: UNKNOWN_FIELDS_MAX });
        }
        unknown.push(key);
        reader.skip(UNKNOWN_DEPTH_MAX).map_err(AttestError::Payload)?;
    }
    reader.end().map_err(AttestError::Payload)?;
    Ok(fields)
}

fn parse_field<'a>(reader: &mut Reader<'a>, field: Field, fields: &mut Fields<'a>) -> Result<(), AttestError> {
    match field {
        Field::ModuleId => {
            let text = reader.text(MODULE_ID_BYTES_MAX).map_err(in_field(field))?;
            if text.is_empty() { Err(AttestError::FieldEmpty(field)) } else { set(&mut fields.module_id, text, field) }
        }
        Field::Digest => match reader.text(DIGEST_BYTES_MAX).map_err(in_field(field))? {
            DIGEST_SHA384 => set(&mut fields.digest, (), field),
            _ => Err(AttestError::Digest),
        },
        Field::Timestamp => match reader.u64().map_err(in_field(field))? {
            0 => Err(AttestError::FieldEmpty(field)),
            timestamp_ms => set(&mut fields.timestamp_ms, timestamp_ms, field),
        },
        Field::Pcrs => set(&mut fields.pcrs, parse_pcrs(reader)?, field),
        Field::Certificate => set(&mut fields.certificate, parse_certificate_bytes(reader, field)?, field),
        Field::CaBundle => set(&mut fields.cabundle, parse_cabundle(reader)?, field),
        Field::PublicKey => {
            let key = parse_optional(reader, PUBLIC_KEY_BYTES_MAX, field)?;
            match key {
                Some([]) => Err(AttestError::FieldEmpty(field)),
                _ => set(&mut fields.public_key, key, field),
            }
        }
        Field::UserData => {
            let data = parse_optional(reader, USER_DATA_BYTES_MAX, field)?;
            set(&mut fields.user_data, data, field)
        }
        Field::Nonce => {
            let nonce = parse_optional(reader, NONCE_BYTES_MAX, field)?;
            set(&mut fields.nonce, nonce, field)
        }
    }
}

fn parse_pcrs<'a>(reader: &mut Reader<'a>) -> Result<[Option<&'a [u8; PCR_BYTES]>; PCRS_MAX], AttestError> {
    let mut pcrs = [None; PCRS_MAX];
    let mut map = reader.map(PCR_COUNT_MAX).map_err(AttestError::PcrForm)?;
    while reader.more(&mut map).map_err(AttestError::PcrForm)? {
        let index = reader.u64().map_err(AttestError::PcrForm)?;
        let value = reader.byte_array::<PCR_BYTES>().map_err(AttestError::PcrForm)?;
        let slot = usize::try_from(index).ok().and_then(|index| pcrs.get_mut(index));
        let Some(slot) = slot else {
            return Err(AttestError::PcrIndex { limit: PCR_INDEX_MAX, got: index });
        };
        if slot.replace(value).is_some() {
            return Err(AttestError::PcrRepeated { index });
        }
    }
    if pcrs.iter().any(Option::is_some) { Ok(pcrs) } else { Err(AttestError::FieldEmpty(Field::Pcrs)) }
}

fn parse_cabundle<'a>(reader: &mut Reader<'a>) -> Result<Vec<&'a [u8]>, AttestError> {
    let field = Field::CaBundle;
    let mut cabundle = Vec::new();
    let mut array = reader.array(CABUNDLE_MAX).map_err(in_field(field))?;
    while reader.more(&mut array).map_err(in_field(field))? {
        cabundle.push(parse_certificate_bytes(reader, field)?);
    }
    if cabundle.is_empty() { Err(AttestError::FieldEmpty(field)) } else { Ok(cabundle) }
}

fn parse_certificate_bytes<'a>(reader: &mut Reader<'a>, field: Field) -> Result<&'a [u8], AttestError> {
    match reader.bytes(CERTIFICATE_BYTES_MAX).map_err(in_field(field))? {
        [] => Err(AttestError::FieldEmpty(field)),
        certificate => Ok(certificate),
    }
}

/// An optional field that is there: `null` or bytes.
fn parse_optional<'a>(reader: &mut Reader<'a>, limit: usize, field: Field) -> Result<Option<&'a [u8]>, AttestError> {
    if reader.null_if_next().map_err(in_field(field))? {
        return Ok(None);
    }
    reader.bytes(limit).map_err(in_field(field)).map(Some)
}

fn in_field(field: Field) -> impl Fn(CborError) -> AttestError {
    move |error| AttestError::FieldForm { field, error }
}

fn set<T>(slot: &mut Option<T>, value: T, field: Field) -> Result<(), AttestError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(AttestError::FieldRepeated(field)),
    }
}

/// SHA-384.
pub(super) const PCR_BYTES: usize = 48;
/// AWS: registers 0 to 31.
pub(super) const PCRS_MAX: usize = 32;
const PCR_COUNT_MAX: u64 = 32;
const PCR_INDEX_MAX: u64 = 31;

/// AWS's limit; within the document's it cannot be reached.
const PAYLOAD_BYTES_MAX: usize = 16_384;
/// The outer array has a tag and five headers.
const OUTER_ITEMS_MAX: u32 = 8;
/// Nine fields, 32 registers, 8 certificates and 16 unknown fields need 140.
const PAYLOAD_ITEMS_MAX: u32 = 256;
/// Nine known fields and as many unknown ones as below.
const PAYLOAD_FIELDS_MAX: u64 = 25;
/// Ours: room for what AWS may add, and a bound for the search for duplicates.
const UNKNOWN_FIELDS_MAX: usize = 16;
/// Ours: enough for an array of maps.
const UNKNOWN_DEPTH_MAX: u8 = 4;
/// Ours: the longest real key has 11 bytes.
const KEY_BYTES_MAX: usize = 64;
/// Ours: real ones have 39.
const MODULE_ID_BYTES_MAX: usize = 128;
/// "SHA384" and no longer name.
const DIGEST_BYTES_MAX: usize = 6;
/// Ours: real chains have 4.
const CABUNDLE_MAX: u64 = 8;
/// AWS: 1 to 1,024.
const CERTIFICATE_BYTES_MAX: usize = 1_024;
/// AWS: 1 to 1,024.
const PUBLIC_KEY_BYTES_MAX: usize = 1_024;
/// AWS: 0 to 512.
const USER_DATA_BYTES_MAX: usize = 512;
/// AWS: 0 to 512.
const NONCE_BYTES_MAX: usize = 512;

const COSE_SIGN1_ELEMENTS: u64 = 4;
/// Long enough to show what came instead.
const PROTECTED_BYTES_MAX: usize = 64;
/// `{1: -35}`: ES384.
pub(super) const PROTECTED_ES384: [u8; 4] = [0xa1, 0x01, 0x38, 0x22];
/// r and s, 48 bytes each.
const SIGNATURE_BYTES: usize = 96;
const DIGEST_SHA384: &str = "SHA384";
