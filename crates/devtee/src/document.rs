//! The attestation document as AWS writes it since 2026: untagged COSE_Sign1, break-ended payload map,
//! `null` for absent options, keys in AWS's order.

use p384::ecdsa::signature::Signer as _;
use p384::ecdsa::{Signature, SigningKey};

/// What the payload will say.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    pub(crate) module_id: String,
    pub(crate) timestamp_ms: u64,
    pub(crate) pcrs: Vec<(u8, [u8; 48])>,
    pub(crate) public_key: Option<Vec<u8>>,
    pub(crate) user_data: Option<Vec<u8>>,
    pub(crate) nonce: Option<Vec<u8>>,
}

impl Payload {
    /// The payload with the chain it stands under: `cabundle` root first, then the leaf.
    pub(crate) fn to_cbor(&self, cabundle: &[Vec<u8>], leaf: &[u8]) -> Vec<u8> {
        let mut out = vec![INDEFINITE_MAP];
        text(&mut out, "module_id");
        text(&mut out, &self.module_id);
        text(&mut out, "digest");
        text(&mut out, "SHA384");
        text(&mut out, "timestamp");
        head(&mut out, UNSIGNED, self.timestamp_ms);
        text(&mut out, "pcrs");
        head(&mut out, MAP, count(self.pcrs.len()));
        for (index, value) in &self.pcrs {
            head(&mut out, UNSIGNED, u64::from(*index));
            bytes(&mut out, value);
        }
        text(&mut out, "certificate");
        bytes(&mut out, leaf);
        text(&mut out, "cabundle");
        head(&mut out, ARRAY, count(cabundle.len()));
        cabundle.iter().for_each(|certificate| bytes(&mut out, certificate));
        for (key, value) in [("public_key", &self.public_key), ("user_data", &self.user_data), ("nonce", &self.nonce)] {
            text(&mut out, key);
            match value {
                Some(value) => bytes(&mut out, value),
                None => out.push(NULL),
            }
        }
        out.push(BREAK);
        out
    }
}

/// COSE_Sign1 over `payload` by `key`, ES384.
pub(crate) fn sign(payload: &[u8], key: &SigningKey) -> Vec<u8> {
    let mut signed = b"\x84\x6aSignature1".to_vec();
    bytes(&mut signed, &PROTECTED_ES384);
    bytes(&mut signed, &[]);
    bytes(&mut signed, payload);
    let signature: Signature = key.sign(&signed);

    let mut out = Vec::new();
    head(&mut out, ARRAY, 4);
    bytes(&mut out, &PROTECTED_ES384);
    head(&mut out, MAP, 0);
    bytes(&mut out, payload);
    bytes(&mut out, &signature.to_bytes());
    out
}

fn head(out: &mut Vec<u8>, major: u8, value: u64) {
    let be = value.to_be_bytes();
    let (info, width) = match value {
        0..24 => (be[7], 0),
        24..0x100 => (24, 1),
        0x100..0x1_0000 => (25, 2),
        0x1_0000..0x1_0000_0000 => (26, 4),
        _ => (27, 8),
    };
    out.push(major << 5 | info);
    out.extend(&be[8 - width..]);
}

fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    head(out, BYTES, count(value.len()));
    out.extend(value);
}

fn text(out: &mut Vec<u8>, value: &str) {
    head(out, TEXT, count(value.len()));
    out.extend(value.as_bytes());
}

fn count(length: usize) -> u64 {
    u64::try_from(length).expect("a usize fits a u64 on every target we build for")
}

const UNSIGNED: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const INDEFINITE_MAP: u8 = 0xbf;
const NULL: u8 = 0xf6;
const BREAK: u8 = 0xff;
/// `{1: -35}`.
const PROTECTED_ES384: [u8; 4] = [0xa1, 0x01, 0x38, 0x22];
