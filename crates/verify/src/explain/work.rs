//! The steps about the receipt and the work: its two halves, the commitments to request and answer, how tokens were chosen.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::{HashFunction, Layout, Sheet};
use crate::bundle::Bundle;
use crate::bytes::Hash32;
use crate::decoding::{self, SeedSource};
use crate::hash::keccak256;
use crate::manifest::log_id_preimage;
use crate::public;
use crate::tags;
use crate::transcript;

pub(super) fn receipt(bundle: &Bundle, sheet: &mut Sheet<'_>) {
    let delivery = &bundle.delivery;
    let receipt = &delivery.receipt;
    sheet.typed("money half", &receipt.money.to_struct());
    sheet.typed("work half", &receipt.work.to_struct());
    sheet.message("receipt", &receipt.message());
    sheet.signed("K_sig's signature over the receipt", &receipt.digest(), &delivery.signature, &bundle.evidence.manifest.k_sig);
}

pub(super) fn boot(bundle: &Bundle, sheet: &mut Sheet<'_>) {
    let (manifest, receipt) = (&bundle.evidence.manifest, &bundle.delivery.receipt);
    super::evidence::manifest_hash(manifest, sheet);
    let layout: Layout<'_> = &[("tag", tags::LOG.len()), ("K_sig", 20), ("K_log", 32)];
    sheet.sha256("log id", log_id_preimage(&manifest.k_sig, &manifest.k_log), &manifest.log_id(), layout);
    sheet.told("manifest hash in the receipt", receipt.manifest_hash.to_string());
    sheet.told("log id in the receipt", receipt.log_id.to_string());
}

pub(super) fn request(bundle: &Bundle, sheet: &mut Sheet<'_>) {
    let request = &bundle.request;
    let (salt, method, path, body) = (&request.salt, request.method.as_str(), request.path.as_str(), request.body.as_slice());
    let preimage = transcript::request_preimage(salt, method, path, body);
    let commitment = transcript::request_commitment(salt, method, path, body);
    let parts = lengths_first(method, path, body);
    let layout: Vec<(&str, usize)> = [("tag", tags::REQUEST.len()), ("salt", 32)].into_iter().chain(parts).collect();
    sheet.sha256("request commitment", preimage, &commitment, &layout);
    sheet.told("request commitment in the receipt", bundle.delivery.receipt.work.request_commitment.to_string());
}

fn lengths_first<'a>(method: &str, path: &str, body: &[u8]) -> [(&'a str, usize); 6] {
    let lengths = [method.len(), path.len(), body.len()];
    let [method, path, body] = lengths;
    [("length of method", 8), ("method", method), ("length of path", 8), ("path", path), ("length of body", 8), ("body", body)]
}

/// Each frame, blinded, as a leaf; then the tree over the leaves, and the commitment to its root.
pub(super) fn response(bundle: &Bundle, sheet: &mut Sheet<'_>) {
    let (seed, frames) = (&bundle.response.seed, &bundle.response.frames);
    let mut leaves = Vec::with_capacity(frames.len());
    for (frame, index) in frames.iter().zip(0_u64..) {
        let blind = transcript::frame_blind(seed, index);
        let function = HashFunction::HmacSha256 { key: *seed };
        sheet.hashed(&format!("blind of frame {index}"), function, index.to_be_bytes().to_vec(), &blind.0, &[("index", 8)]);
        let leaf = transcript::frame_leaf_hash(seed, index, frame);
        let layout: Layout<'_> = &[("0x00", 1), ("blind", 32), ("frame", frame.len())];
        sheet.sha256(&format!("leaf of frame {index}"), transcript::frame_leaf_preimage(seed, index, frame), &leaf, layout);
        leaves.push(leaf);
    }
    let root = transcript::root_of(&leaves);
    sheet.told("root of the leaves (RFC 9162 §2.1.1)", root.to_string());
    let count = u64::try_from(frames.len()).unwrap_or(u64::MAX);
    let commitment = transcript::commitment_of(seed, frames.iter().map(Vec::as_slice));
    let layout: Layout<'_> = &[("tag", tags::RESPONSE.len()), ("number of frames", 8), ("root", 32)];
    sheet.sha256("response commitment", transcript::response_preimage(count, &root), &commitment, layout);
    sheet.told("response commitment in the receipt", bundle.delivery.receipt.work.response_commitment.to_string());
}

/// The source of PROXY work, and the hashes of a public answer.
pub(super) fn claim(bundle: &Bundle, sheet: &mut Sheet<'_>) {
    if let Some(source) = &bundle.delivery.source {
        sheet.typed("usage", &source.usage.to_struct());
        sheet.typed("source record", &source.to_struct());
    }
    let work = &bundle.delivery.receipt.work;
    sheet.told("source hash in the receipt", work.source_hash.to_string());
    let request = &bundle.request;
    let (method, path, body) = (request.method.as_str(), request.path.as_str(), request.body.as_slice());
    let frames = || bundle.response.frames.iter().map(Vec::as_slice);
    let words = public::words(method, path, body, frames());
    if words != public::PublicWords::default() {
        let parts = lengths_first(method, path, body);
        let layout: Vec<(&str, usize)> = [("tag", tags::QUESTION.len())].into_iter().chain(parts).collect();
        sheet.keccak256("question hash", transcript::question_preimage(method, path, body), &words.question_hash, &layout);
        let text = public::answer_text(frames()).unwrap_or_default();
        sheet.keccak256("answer hash", text.into_bytes(), &words.answer_hash, &[]);
    }
    let show = |hash: &Hash32| hash.to_string();
    let said = format!("task {}, question {}, answer {}", show(&work.task_hash), show(&work.question_hash), show(&work.answer_hash));
    sheet.told("public words in the receipt", said);
}

pub(super) fn decoding(bundle: &Bundle, sheet: &mut Sheet<'_>) {
    let decoding = &bundle.delivery.decoding;
    let engine = decoding.engine.as_bytes();
    sheet.keccak256("engine", engine.to_vec(), &keccak256(&[engine]), &[]);
    sheet.typed("decoding hash", &decoding.to_struct());
    sheet.told("decoding hash in the receipt", bundle.delivery.receipt.work.decoding_hash.to_string());
}

pub(super) fn seed(bundle: &Bundle, sheet: &mut Sheet<'_>) {
    let decoding = &bundle.delivery.decoding;
    sheet.told("seed", format!("{}, chosen by: {}", decoding.seed, decoding.seed_source.as_str()));
    if decoding.seed_source == SeedSource::Request {
        let integer = decoding::requested_seed(&decoding.seed);
        return sheet.told("as an integer", integer.map_or("none".to_string(), |integer| integer.to_string()));
    }
    let Some(share) = &bundle.delivery.seed_share else { return sheet.told("seed share", "none") };
    let layout: Layout<'_> = &[("tag", tags::SEED_SHARE.len()), ("share", 32)];
    sheet.sha256("seed commitment", decoding::seed_commitment_preimage(share), &decoding::seed_commitment(share), layout);
    if let Some(sale) = &bundle.sale {
        sheet.told("seed commitment in the offer", sale.offer.seed_commitment.to_string());
    }
    let nonce = bundle.sale.as_ref().map_or(Hash32::ZERO, |sale| sale.payment.authorization.nonce);
    let layout: Layout<'_> = &[("tag", tags::SEED.len()), ("share", 32), ("nonce, zero if nobody paid", 32)];
    sheet.sha256("seed from the share", decoding::seed_preimage(share, &nonce), &decoding::seed_from_share(share, &nonce), layout);
}
