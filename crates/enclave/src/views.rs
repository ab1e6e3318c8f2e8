//! What can be read without paying: models, evidence, receipts, health.

use std::sync::Arc;
use std::time::Duration;

use candor_link::{EnclaveRequest, HostReply, RefusalCode, StoredReceipt};
use candor_log::tree::FullTree;
use candor_verify::bytes::{Hash32, from_hex, to_hex};
use candor_verify::terms::ways;
use candor_x402::protocol::Eip155;
use hyper::StatusCode;
use serde_json::json;

use crate::boot::Boot;
use crate::refusal::Refusal;
use crate::reply::{self, ApiResponse};
use crate::serving::{Served, Serving};

/// How long a challenge waits for the device. Whoever came first is served first, so that nobody is starved by others who ask without end.
const ATTEST_WAIT: Duration = Duration::from_secs(5);

/// How long the host may take to find a receipt, or evidence.
pub(crate) const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// What is served, at which price.
pub(crate) fn models(serving: &Serving) -> ApiResponse {
    let data: Vec<_> = serving.models().map(|served| model(serving, served)).collect();
    reply::json(&json!({"object": "list", "data": data}))
}

fn model(serving: &Serving, served: &Served) -> serde_json::Value {
    let in_force = serving.price(served, None);
    let price = in_force.as_ref().map(|in_force| {
        let price = &in_force.price;
        json!({
            "network": Eip155(price.chain_id).to_string(), "asset": price.asset.to_string(),
            "per_million_prompt_tokens": price.ceiling.input.to_string(),
            "per_million_completion_tokens": price.ceiling.output.to_string(),
            "per_request": price.ceiling.request.to_string(),
        })
    });
    json!({
        "id": served.id, "object": "model", "created": serving.booted_at().0, "owned_by": serving.terms().operator.to_string(),
        "candor": {
            "digest": served.digest.to_string(), "engine": served.source.engine(),
            "context_tokens": served.source.context_tokens(), "generation_cap_seconds": serving.config().generation_cap_s,
            "access": ways_of(serving), "price": price, "price_list": in_force.and_then(|in_force| in_force.list).map(|taken| json!({
                "hash": taken.digest.to_string(), "number": taken.signed.list.number, "until": taken.signed.list.until.0,
            })),
        },
    })
}

/// The price list in force, or the one of this hash if an offer may still name it.
pub(crate) fn price_list(serving: &Serving, named: Option<&str>) -> Result<ApiResponse, Refusal> {
    let digest = named.map(Hash32::from_hex);
    let found = match digest {
        Some(None) => None,
        Some(Some(digest)) => serving.price_list(Some(&digest)),
        None => serving.price_list(None),
    };
    let found =
        found.ok_or_else(|| Refusal::new(404, "There is no such price list now; without one the prices are those of the terms."))?;
    Ok(reply::with_body(StatusCode::OK, "application/cbor", found.signed.encode()))
}

/// Who gets answers, in words.
fn ways_of(serving: &Serving) -> Vec<&'static str> {
    let rows = [(ways::PAID, "paid"), (ways::KEYS, "key"), (ways::OPEN, "open")];
    rows.iter().filter(|(way, _)| serving.terms().access.has(*way)).map(|(_, word)| *word).collect()
}

pub(crate) fn health(serving: &Serving) -> ApiResponse {
    let open = serving.ledger().has_room().is_ok();
    let status = if open { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    reply::with_body(status, "application/json", json!({"status": if open { "ok" } else { "no receipt can be stored" }}).to_string())
}

/// Current evidence.
pub(crate) fn evidence(serving: &Serving) -> ApiResponse {
    reply::with_body(StatusCode::OK, "application/cbor", serving.evidence().to_vec())
}

/// Evidence of a boot that may be over, for who got an answer of it late: `at` names the moment of the answer in Unix milliseconds.
pub(crate) async fn former_evidence(serving: &Serving, manifest: &str, query: &str) -> Result<ApiResponse, Refusal> {
    let not_found = || Refusal::new(404, "There is no evidence of this manifest.");
    let not_after_ms = match query.strip_prefix("at=").map(str::parse::<u64>) {
        None if query.is_empty() => u64::MAX,
        Some(Ok(at_ms)) => at_ms,
        None | Some(Err(_)) => return Err(Refusal::new(400, "at must be a time in Unix milliseconds.")),
    };
    let request = EnclaveRequest::FetchEvidence { manifest_hash: Hash32::from_hex(manifest).ok_or_else(not_found)?, not_after_ms };
    match serving.port().request(request, STORE_TIMEOUT).await {
        Ok(HostReply::Evidence(Some(evidence))) => Ok(reply::with_body(StatusCode::OK, "application/cbor", evidence)),
        Ok(HostReply::Evidence(None)) => Err(not_found()),
        Ok(_) | Err(_) => Err(store_unreachable()),
    }
}

fn store_unreachable() -> Refusal {
    Refusal::unavailable("The receipt store cannot be reached now.").code(RefusalCode::Unavailable.as_str())
}

/// Evidence made for a challenge.
pub(crate) async fn fresh_evidence(boot: &Arc<Boot>, serving: &Arc<Serving>, nonce: Hash32) -> Result<ApiResponse, Refusal> {
    let Ok(Some(permit)) = tokio::time::timeout(ATTEST_WAIT, serving.device()).await else {
        return Err(Refusal::too_many("The attestation device is busy.").code("attestation_busy"));
    };
    // After the wait: the newest block.
    let (boot, serving, head) = (Arc::clone(boot), Arc::clone(serving), serving.head());
    let attested = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        boot.re_attest(&serving, &head, nonce)
    });
    match attested.await {
        Ok(Ok(evidence)) => Ok(reply::with_body(StatusCode::OK, "application/cbor", evidence)),
        Ok(Err(_)) | Err(_) => Err(Refusal::new(500, "The attestation device refused.")),
    }
}

/// A receipt from the host's store, by the 32 hex digits of its id.
pub(crate) async fn receipt(serving: &Serving, id: &str, query: &str) -> Result<ApiResponse, Refusal> {
    let not_found = || Refusal::new(404, "There is no receipt with this id.");
    let id = from_hex(&format!("0x{id}")).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    let request = EnclaveRequest::FetchReceipt { receipt_id: id.ok_or_else(not_found)? };
    match serving.port().request(request, STORE_TIMEOUT).await {
        Ok(HostReply::Receipt(Some(stored))) => stored_receipt(&stored, query),
        Ok(HostReply::Receipt(None)) => Err(not_found()),
        Ok(_) | Err(_) => Err(store_unreachable()),
    }
}

/// A stored receipt, and with `prefix=k` the proof that the first k frames are the beginning of what it commits to.
fn stored_receipt(stored: &StoredReceipt, query: &str) -> Result<ApiResponse, Refusal> {
    let mut tree = FullTree::new();
    for leaf in &stored.frame_leaf_hashes {
        tree.push(*leaf).map_err(|_| Refusal::new(500, "The stored receipt has too many frames."))?;
    }
    let hashes = |list: &[Hash32]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let prefix = match query.strip_prefix("prefix=").map(str::parse::<u64>) {
        None => None,
        Some(Ok(size)) if size != 0 && size <= tree.size() => tree.now().consistency_from(size).map(|proof| (size, proof)),
        Some(_) => return Err(Refusal::new(400, format!("prefix must be a number from 1 to {}.", tree.size()))),
    };
    let proof = stored.proof.as_ref().map(|proof| {
        let c = &proof.checkpoint.checkpoint;
        json!({"size": c.tree.size, "root": c.tree.root.to_string(), "timestamp": c.timestamp.0, "inclusion": hashes(&proof.inclusion)})
    });
    Ok(reply::json(&json!({
        "object": "candor.receipt",
        "receipt": to_hex(&stored.receipt), "signature": to_hex(&stored.signature.0), "leaf_data": stored.leaf_data.to_string(),
        "frames": tree.size(), "frames_root": tree.now().tree().root.to_string(), "checkpoint": proof,
        "prefix": prefix.map(|(size, proof)| json!({"frames": size, "consistency": hashes(&proof)})),
    })))
}
