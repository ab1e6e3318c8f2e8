//! What an attestation document and each certificate of its chain hash to, and who signed them. Spec: attestation.md §1.
//!
//! Shown, not judged: a document that does not parse says why, and a chain is shown as it stands, whatever its root.

use alloc::format;
use alloc::string::{String, ToString};

use p384::ecdsa::{Signature, VerifyingKey, signature::hazmat::PrehashVerifier as _};
use sha2::{Digest as _, Sha384};

use super::nitro::{Document, parse_document};
use super::verified::sig_structure;
use super::x509::parse_certificate;
use crate::bytes::{Hash32, to_hex};
use crate::explain::{HashFunction, Sheet, SignatureScheme};

pub(crate) fn explain_document(bytes: &[u8], sheet: &mut Sheet<'_>) {
    let document = match parse_document(bytes) {
        Ok(document) => document,
        Err(error) => return sheet.told("document", format!("{} bytes that are no document: {error}", bytes.len())),
    };
    let Some(root) = document.cabundle.first() else { return };
    sheet.sha256("root fingerprint", root.to_vec(), &Hash32(document.claimed_root().fingerprint), &[]);
    match explain_chain(&document, sheet) {
        Err(why) => sheet.told("certificates", why),
        Ok(key) => {
            let message = sig_structure(&document).concat();
            signed("document", message, &document.signature, &key, sheet);
        }
    }
    sheet.told("document time, Unix milliseconds", document.claimed_timestamp_ms().to_string());
}

/// Each certificate below the root with its issuer's key. The key of the last one is that of the document.
fn explain_chain(document: &Document<'_>, sheet: &mut Sheet<'_>) -> Result<VerifyingKey, String> {
    let mut issuer: Option<VerifyingKey> = None;
    for (der, at) in document.cabundle.iter().chain(core::iter::once(&document.certificate)).zip(0_usize..) {
        let certificate = parse_certificate(der).map_err(|error| format!("certificate {at} does not parse: {error}"))?;
        // The root is believed by its fingerprint.
        if let Some(key) = &issuer {
            signed(&format!("certificate {at}"), certificate.signed.to_vec(), &certificate.signature, key, sheet);
        }
        issuer = Some(certificate.key);
    }
    issuer.ok_or("there is no certificate".into())
}

fn signed(name: &str, message: alloc::vec::Vec<u8>, signature: &Signature, key: &VerifyingKey, sheet: &mut Sheet<'_>) {
    let digest = Sha384::digest(&message);
    sheet.hashed(&format!("{name}, digest"), HashFunction::Sha384, message, &digest, &[]);
    let holds = key.verify_prehash(&digest, signature).is_ok();
    let key = to_hex(key.to_sec1_point(false).as_bytes());
    sheet.signed_by_key(&format!("{name}, signature"), SignatureScheme::P384, &digest, &signature.to_bytes(), key, holds);
}
