//! Signed refusals: a node that takes a payment and answers with an error signs that it did, and the client keeps it beside the payment.
//!
//! It is evidence for others, together with the boot's own: by K_sig, of this payment, with this status and code. It decides nothing here: a
//! refusal that is not signed is obeyed just the same. Spec: http.md §6, payment.md §7.

use std::path::PathBuf;

use base64::Engine as _;
use candor_verify::Hash32;
use candor_verify::bytes::to_hex;
use candor_verify::payment::TokenDomain;
use candor_verify::refusal::{Refusal, code_hash, verify_refusal};
use candor_x402::Libsecp;
use candor_x402::client::SentPayment;
use hyper::header::HeaderMap;
use serde_json::json;

use crate::files::{private_directory, write_private};
use crate::resolve::VerifiedNode;
use crate::spend::SpendBook;

/// Header with a refusal and its signature.
const REFUSAL: &str = "x-candor-refusal";

/// What came with a refusal, as its response said it.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    status: u16,
    value: Option<String>,
}

impl Shown {
    /// Of a response that is no answer.
    pub(crate) fn of(status: u16, headers: &HeaderMap) -> Self {
        let value = headers.get(REFUSAL).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        Self { status, value }
    }

    /// Keeps what is signed, and says where; or says what is wrong with it. Nothing if nothing came.
    pub(crate) fn keep(&self, code: &str, sent: &SentPayment, node: &VerifiedNode, book: &SpendBook) -> Option<String> {
        let value = self.value.as_ref()?;
        Some(match self.judge(value, code, sent, node).and_then(|(bytes, refusal)| store(&bytes, &refusal, code, sent, node, book)) {
            Ok(path) => format!("the node signed this refusal, which is kept in {}", path.display()),
            Err(why) => format!("the refusal that came with it is worth nothing: {why}"),
        })
    }

    fn judge(&self, value: &str, code: &str, sent: &SentPayment, node: &VerifiedNode) -> Result<(Vec<u8>, Refusal), String> {
        let bytes = base64::engine::general_purpose::STANDARD.decode(value).map_err(|_| "it is no base64".to_owned())?;
        let manifest = node.enclave.manifest();
        let refusal = verify_refusal(&bytes, &manifest.k_sig, &Libsecp);
        let refusal = refusal.ok_or_else(|| format!("it is not signed by the attested key {}", manifest.k_sig))?;
        let signed_digest = signed_digest(sent, node).ok_or("the terms name no such token")?;
        let rows = [
            ("manifest", manifest.hash().to_string(), refusal.manifest_hash.to_string()),
            ("status", self.status.to_string(), refusal.status.to_string()),
            ("code", code_hash(code).to_string(), refusal.code_hash.to_string()),
            ("payment", signed_digest.to_string(), refusal.signed_digest.to_string()),
        ];
        match rows.into_iter().find(|(_, expected, got)| expected != got) {
            Some((what, expected, got)) => Err(format!("it is of another {what}: expected {expected}, got {got}")),
            None => Ok((bytes, refusal)),
        }
    }
}

/// What the payer signed, by its digest.
fn signed_digest(sent: &SentPayment, node: &VerifiedNode) -> Option<Hash32> {
    let offer = &sent.signed_offer().offer;
    let asset = node.enclave.terms().asset(offer.chain_id, &offer.asset)?;
    let token = TokenDomain { name: asset.name.clone(), version: asset.version.clone(), chain_id: offer.chain_id, asset: offer.asset };
    Some(sent.payment().authorization.digest(&token))
}

/// One file per payment and code, so that a node that is asked again and again fills no disk. Without the payment itself: whoever has that
/// can have the request run.
fn store(
    bytes: &[u8],
    refusal: &Refusal,
    code: &str,
    sent: &SentPayment,
    node: &VerifiedNode,
    book: &SpendBook,
) -> Result<PathBuf, String> {
    let directory = book.refusals();
    private_directory(directory).map_err(|error| error.to_string())?;
    let payment_id = sent.payment_id();
    let name: String = code.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(NAME_MAX).collect();
    let path = directory.join(format!("{payment_id}-{}-{name}.json", refusal.status));
    let authorization = &sent.payment().authorization;
    let content = json!({
        "refusal": to_hex(bytes), "status": refusal.status, "code": code, "at": refusal.at.0, "signer": node.enclave.manifest().k_sig.to_string(),
        "payment_id": payment_id.to_string(), "payer": authorization.from.to_string(), "nonce": authorization.nonce.to_string(),
        "valid_before": authorization.valid_before.0, "request_commitment": refusal.request_commitment.to_string(),
        "is_of_the_offered_request": refusal.request_commitment == sent.signed_offer().offer.request_commitment,
        "endpoint": node.endpoint.authority(), "evidence": to_hex(&node.evidence.encode()),
    });
    write_private(&path, format!("{content:#}\n").as_bytes()).map_err(|error| error.to_string())?;
    Ok(path)
}

/// Characters of a code in a file's name.
const NAME_MAX: usize = 64;
