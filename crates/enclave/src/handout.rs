//! Handing out a kept answer: to whoever sends its request and its payment again, once the payment is seen, with proofs as new as that.
//!
//! The blob has everything of a delivery that does not change; checkpoint, inclusion and consistency come from the host's store and are
//! checked here, then the delivery is spliced into the last frame as it was the first time. The answer may be an earlier boot's: then its
//! checkpoint is signed by that boot's key, which the client checks against that boot's evidence. Spec: recovery.md §5.
//!
//! Trust: that the transfer was seen is the host's word; a lie gives an answer away, at the operator's cost.
//! Not here: finding and opening (`kept`), how it is said in HTTP (`reply`).

use std::collections::BTreeSet;

use candor_link::{EnclaveRequest, HostReply};
use candor_verify::delivery::{AnchorLink, Delivery};
use candor_verify::eip712::signer;
use candor_verify::receipt::receipt_id;
use candor_verify::recovery::KeptAnswer;
use candor_verify::tlog::{leaf_data, leaf_hash, verify_consistency, verify_inclusion};
use candor_verify::transcript::splice;
use candor_x402::Libsecp;
use hyper::body::Bytes;

use crate::kept::{self, Sought};
use crate::receipt::{self, Ids};
use crate::refusal::Refusal;
use crate::reply::{self, ApiResponse, Finished};
use crate::serving::Serving;
use crate::settle::{Standing, Wait};
use crate::views::STORE_TIMEOUT;

/// What came of looking for an answer.
pub(crate) enum Found {
    /// The answer, or that its transfer is still pending.
    Response(Box<ApiResponse>),
    /// None, as far as can be told; and the bytes that the host has left for others.
    Nothing { room: u64 },
}

/// Looks for the answer that was paid for with exactly this header, and hands it out if its transfer is seen.
pub(crate) async fn find(serving: &Serving, sought: &Sought) -> Result<Found, Refusal> {
    // Without the host nothing new could be logged either.
    let fetched = kept::fetch(serving.port(), sought).await.map_err(|_| not_now())?;
    let nothing = Found::Nothing { room: fetched.room };
    let Some(answer) = fetched.answer else { return Ok(nothing) };
    let transfer = sought.transfer();
    let standing = serving.settle(&transfer, Wait::AWhile).await;
    let body = match standing {
        // Its time is over without a transfer: as if it had never been.
        Standing::Failed(_) => return Ok(nothing),
        Standing::Pending { .. } => Bytes::new(),
        Standing::Settled { .. } => body(serving, &answer).await.ok_or_else(not_now)?,
    };
    let KeptAnswer { status, content_type, leaf_salt, transcript_seed, .. } = *answer;
    let ids = Ids { receipt_id: receipt::id(&leaf_salt), transcript_seed, ignored: BTreeSet::new() };
    let finished = Finished { status, content_type, body, ids, chain_id: transfer.chain_id, is_kept: true };
    Ok(Found::Response(Box::new(reply::finished(finished, &standing))))
}

/// The answer, or its proofs, cannot be had from the host now. Its payment may have been charged, so nothing is said of that.
fn not_now() -> Refusal {
    Refusal::unavailable("The answer cannot be handed out now. Send the same request with the same payment again.")
        .code("receipt_unavailable")
}

/// The body with the delivery in its last frame; `None` while the host gives no proof that holds.
async fn body(serving: &Serving, answer: &KeptAnswer) -> Option<Bytes> {
    let member = receipt::member(&delivery(serving, answer).await?);
    let (last, before) = answer.frames.split_last()?;
    if !answer.is_stream {
        return splice(last, &member).map(Bytes::from);
    }
    let mut body = Vec::from(receipt::sse(before.iter().map(Vec::as_slice)));
    body.extend_from_slice(&receipt::end_of_stream(last, &member)?);
    Some(body.into())
}

async fn delivery(serving: &Serving, answer: &KeptAnswer) -> Option<Delivery> {
    let (receipt, signature) = (&answer.receipt, &answer.signature);
    let request = EnclaveRequest::FetchReceipt { receipt_id: receipt_id(&answer.leaf_salt) };
    let Ok(HostReply::Receipt(Some(stored))) = serving.port().request(request, STORE_TIMEOUT).await else { return None };
    let proof = stored.proof?;
    let checkpoint = &proof.checkpoint.checkpoint;
    if checkpoint.log_id != receipt.log_id {
        return None;
    }
    let leaf = leaf_data(&answer.leaf_salt, &receipt.digest(), signature);
    let _included = verify_inclusion(leaf_hash(&leaf.0), receipt.sequence, &proof.inclusion, &checkpoint.tree).ok()?;
    let earlier_anchor = match proof.anchored.filter(|anchored| anchored.size != 0) {
        None => None,
        Some(tree) => {
            let _extends = verify_consistency(&tree, &checkpoint.tree, &proof.consistency).ok()?;
            Some(AnchorLink { tree, consistency: proof.consistency })
        }
    };
    let is_of_this_boot = answer.manifest_hash == serving.manifest_hash();
    if is_of_this_boot && signer(&Libsecp, &checkpoint.digest(), &proof.checkpoint.signature) != Some(serving.keys().k_sig()) {
        return None;
    }
    Some(Delivery {
        receipt: receipt.clone(),
        signature: *signature,
        leaf_salt: answer.leaf_salt,
        decoding: answer.decoding.clone(),
        seed_share: answer.seed_share,
        source: answer.source.clone(),
        request_salt: None,
        checkpoint: proof.checkpoint,
        inclusion: proof.inclusion,
        earlier_anchor,
    })
}
