//! Certificates shaped like those of AWS: a plan says what is in one, `issue` signs it.
//!
//! Five kinds with the extensions, key usages and name parts seen in AWS's documents, whose names here
//! say `not-Amazon` and `SIMULATED`. Tests change a plan before it is signed to make chains that are
//! correctly signed and wrong.

use p384::ecdsa::signature::Signer as _;
use p384::ecdsa::{Signature, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

use crate::der;

/// What a certificate will say.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) serial: Vec<u8>,
    /// A Name in DER.
    pub(crate) subject: Vec<u8>,
    pub(crate) not_before_s: u64,
    pub(crate) not_after_s: u64,
    pub(crate) extensions: Vec<Extension>,
}

#[derive(Clone, Debug)]
pub(crate) enum Extension {
    /// Critical, as in all of AWS's.
    BasicConstraints {
        ca: bool,
        path_len: Option<u8>,
    },
    KeyUsage {
        critical: bool,
        unused_bits: u8,
        bits: u8,
    },
    SubjectKeyId,
    AuthorityKeyId,
    CrlDistributionPoint(String),
    /// Anything: its OID, whether critical, its value.
    #[cfg_attr(not(test), expect(dead_code, reason = "for wrong chains in tests"))]
    Raw {
        id: Vec<u8>,
        critical: bool,
        value: Vec<u8>,
    },
}

/// Who signs: a name in DER and a key.
#[derive(Clone)]
pub(crate) struct Issuer<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) key: &'a SigningKey,
}

/// The certificate of `key` under `issuer`, in DER.
pub(crate) fn issue(plan: &Plan, key: &VerifyingKey, issuer: &Issuer<'_>) -> Vec<u8> {
    let algorithm = der::sequence(&[&der::value(der::OID, ECDSA_WITH_SHA384)]);
    let curve = der::sequence(&[&der::value(der::OID, EC_PUBLIC_KEY), &der::value(der::OID, SECP384R1)]);
    let issuer_key = issuer.key.verifying_key();
    let extensions: Vec<u8> = plan.extensions.iter().flat_map(|extension| extension.to_der(key, issuer_key)).collect();
    let tbs = der::sequence(&[
        &der::value(EXPLICIT_0, &der::unsigned(&[2])),
        &der::unsigned(&plan.serial),
        &algorithm,
        issuer.name,
        &der::sequence(&[&der::time(plan.not_before_s), &der::time(plan.not_after_s)]),
        &plan.subject,
        &der::sequence(&[&curve, &der::bit_string(&point(key))]),
        &der::value(EXPLICIT_3, &der::sequence(&[&extensions])),
    ]);
    let signature: Signature = issuer.key.sign(&tbs);
    let (r, s) = signature.split_bytes();
    let numbers = der::sequence(&[&der::unsigned(&r), &der::unsigned(&s)]);
    der::sequence(&[&tbs, &algorithm, &der::bit_string(&numbers)])
}

impl Extension {
    fn to_der(&self, key: &VerifyingKey, issuer_key: &VerifyingKey) -> Vec<u8> {
        let (id, critical, value) = match self {
            Self::BasicConstraints { ca, path_len } => {
                let ca = if *ca { der::TRUE } else { &[] };
                let path_len = path_len.map(|length| der::unsigned(&[length])).unwrap_or_default();
                (&BASIC_CONSTRAINTS[..], true, der::sequence(&[ca, &path_len]))
            }
            Self::KeyUsage { critical, unused_bits, bits } => {
                (&KEY_USAGE[..], *critical, der::value(der::BIT_STRING, &[*unused_bits, *bits]))
            }
            Self::SubjectKeyId => (&SUBJECT_KEY_ID[..], false, der::value(der::OCTET_STRING, &key_id(key))),
            Self::AuthorityKeyId => (&AUTHORITY_KEY_ID[..], false, der::sequence(&[&der::value(IMPLICIT_0, &key_id(issuer_key))])),
            Self::CrlDistributionPoint(url) => {
                let name = der::value(EXPLICIT_0, &der::value(EXPLICIT_0, &der::value(URL, url.as_bytes())));
                (&CRL_DISTRIBUTION_POINTS[..], false, der::sequence(&[&der::sequence(&[&name])]))
            }
            Self::Raw { id, critical, value } => (&id[..], *critical, value.clone()),
        };
        let critical = if critical { der::TRUE } else { &[] };
        der::sequence(&[&der::value(der::OID, id), critical, &der::value(der::OCTET_STRING, &value)])
    }
}

/// A Name of these parts, in this order.
pub(crate) fn name(parts: &[(Part, &str)]) -> Vec<u8> {
    let parts: Vec<u8> = parts
        .iter()
        .flat_map(|(part, text)| {
            let tag = if matches!(part, Part::Country) { der::PRINTABLE_STRING } else { der::UTF8_STRING };
            let id = der::value(der::OID, &[0x55, 0x04, part.id()]);
            der::value(der::SET, &der::sequence(&[&id, &der::value(tag, text.as_bytes())]))
        })
        .collect();
    der::sequence(&[&parts])
}

/// A part of a name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    CommonName,
    Country,
    Locality,
    State,
    Organization,
    Unit,
}

impl Part {
    const fn id(self) -> u8 {
        match self {
            Self::CommonName => 3,
            Self::Country => 6,
            Self::Locality => 7,
            Self::State => 8,
            Self::Organization => 10,
            Self::Unit => 11,
        }
    }
}

/// The uncompressed point: 04 ‖ x ‖ y.
fn point(key: &VerifyingKey) -> Vec<u8> {
    key.to_sec1_point(false).as_bytes().to_vec()
}

/// RFC 7093 §2 method 1: the leftmost 160 bits of the SHA-256 of the point.
pub(crate) fn key_id(key: &VerifyingKey) -> Vec<u8> {
    Sha256::digest(point(key)).iter().copied().take(20).collect()
}

const EXPLICIT_0: u8 = 0xa0;
const EXPLICIT_3: u8 = 0xa3;
const IMPLICIT_0: u8 = 0x80;
/// GeneralName: uniformResourceIdentifier.
const URL: u8 = 0x86;

const ECDSA_WITH_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const SECP384R1: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const SUBJECT_KEY_ID: [u8; 3] = [0x55, 0x1d, 0x0e];
const KEY_USAGE: [u8; 3] = [0x55, 0x1d, 0x0f];
const BASIC_CONSTRAINTS: [u8; 3] = [0x55, 0x1d, 0x13];
const CRL_DISTRIBUTION_POINTS: [u8; 3] = [0x55, 0x1d, 0x1f];
const AUTHORITY_KEY_ID: [u8; 3] = [0x55, 0x1d, 0x23];
