//! Answers the enclave's requests from store and chain. What cannot be answered is a typed refusal, never silence.
//!
//! Nothing here is believed by the enclave beyond what link.md §5 says a lie may cost.

use std::sync::Arc;
use std::time::Duration;

use candor_chain::{ChainClient, ChainError};
use candor_link::{
    AnchoredProof, AppendRequest, CheckpointRequest, CheckpointStored, EnclaveRequest, HostReply, PayerQuery, PayerState, PayerTrial,
    RefusalCode, Refused, SettlementState, StoredReceipt,
};
use candor_verify::Hash32;
use candor_x402::settlement::Intent;
use tokio::time::{Instant, timeout_at};

use crate::settle::state_of;
use crate::shared::{QUESTION, Shared};
use crate::slot::{Slot, Stage};
use crate::store::{StoreError, Waiting, log_state};

/// A disk that refuses is the operator's to mend, so the operator is told; the enclave asks again by itself.
fn refuse(shared: &Shared, error: &StoreError) -> HostReply {
    if let StoreError::Full | StoreError::Io(_) = error {
        shared.trouble_once("store", error.to_string());
    }
    HostReply::Refused(error.refusal())
}

/// Refused before it could be queued, or waiting for the disk.
pub(crate) type Queued<T> = Result<Waiting<T>, Refused>;

fn no_log_yet() -> Refused {
    Refused::new(RefusalCode::Unavailable, "the log is not open yet")
}

pub(crate) async fn queue_append(shared: &Shared, slot: &Slot, request: AppendRequest) -> Queued<u64> {
    let log_id = slot.current_id().ok_or_else(no_log_yet)?;
    shared.store.append(log_id, request).await.map_err(|error| error.refusal())
}

pub(crate) async fn appended(shared: &Shared, queued: Queued<u64>) -> HostReply {
    match queued {
        Ok(waiting) => match waiting.wait().await {
            Ok(size) => {
                shared.clear_trouble("store");
                HostReply::Appended { size }
            }
            Err(error) => refuse(shared, &error),
        },
        Err(refused) => HostReply::Refused(refused),
    }
}

pub(crate) async fn queue_checkpoint(
    shared: &Shared,
    slot: &Slot,
    request: Box<CheckpointRequest>,
) -> Queued<(CheckpointStored, Vec<Intent>)> {
    let log_id = slot.current_id().ok_or_else(no_log_yet)?;
    // A settlement on a chain that this host cannot reach would never happen; the enclave learns it before anything is stored.
    if let Some(unknown) = request.settlements.iter().find(|s| !shared.settlers.contains_key(&s.chain_id)) {
        return Err(Refused::new(RefusalCode::Malformed, format!("this host settles nothing on chain {}", unknown.chain_id)));
    }
    shared.store.checkpoint(log_id, request).await.map_err(|error| error.refusal())
}

pub(crate) async fn checkpoint_stored(shared: &Shared, queued: Queued<(CheckpointStored, Vec<Intent>)>) -> HostReply {
    let outcome = match queued {
        Ok(waiting) => waiting.wait().await,
        Err(refused) => return HostReply::Refused(refused),
    };
    match outcome {
        Ok((stored, intents)) => {
            // Crash: between the commit and this line: the settlers load open intents from the database at start.
            for intent in intents {
                if let Some(settler) = shared.settlers.get(&intent.chain_id()) {
                    settler.offer(intent);
                }
            }
            shared.stored.send_modify(|count| *count = count.wrapping_add(1));
            HostReply::CheckpointStored(stored)
        }
        Err(error) => refuse(shared, &error),
    }
}

/// Everything that does not write to the log. A piece of an answer needs no order: the enclave waits for each before it sends the next.
pub(crate) async fn answer(shared: &Arc<Shared>, slot: &Slot, request: EnclaveRequest) -> HostReply {
    match request {
        EnclaveRequest::Head => shared.head().await.map_or_else(HostReply::Refused, HostReply::Head),
        // Without it nothing is claimed: a boot that drains and has connected again is told so first.
        EnclaveRequest::PayerState(_) if slot.stage() == Stage::Draining && slot.link().is_none() => HostReply::Refused(no_log_yet()),
        EnclaveRequest::PayerState(query) => {
            // The id leaves out all that is not asked.
            if let Some(payment_id) = query.scheme.payment_id(query.chain_id, &query.asset, &query.payer, &query.nonce) {
                slot.ask_about(payment_id);
            }
            payer_state(shared, &query).await
        }
        EnclaveRequest::AwaitSettlement { payment_id, timeout_ms } => await_settlement(shared, slot, payment_id, timeout_ms).await,
        EnclaveRequest::FetchReceipt { receipt_id } => match fetch_receipt(shared, receipt_id).await {
            Ok(stored) => HostReply::Receipt(stored.map(Box::new)),
            Err(error) => refuse(shared, &error),
        },
        EnclaveRequest::LogState { log_id } => match shared.store.log(&log_id).await {
            Ok(open) => HostReply::LogState(log_state(open.as_ref())),
            Err(error) => refuse(shared, &error),
        },
        EnclaveRequest::StoreAnswer(part) => {
            shared.store.store_answer(part).await.map_or_else(|error| refuse(shared, &error), |size| HostReply::AnswerStored { size })
        }
        EnclaveRequest::FetchAnswer { answer_id, offset } => {
            shared.store.answer(answer_id, offset).await.map_or_else(|error| refuse(shared, &error), HostReply::Answer)
        }
        EnclaveRequest::AckAnswer { answer_id } => {
            shared.store.erase_answer(answer_id).await.map_or_else(|error| refuse(shared, &error), |()| HostReply::AnswerErased)
        }
        EnclaveRequest::FetchEvidence { manifest_hash, not_after_ms } => {
            shared.store.evidence(manifest_hash, not_after_ms).await.map_or_else(|error| refuse(shared, &error), HostReply::Evidence)
        }
        // Terms with upstreams boot no enclave yet.
        EnclaveRequest::OpenUpstream(_) => HostReply::Refused(Refused::new(RefusalCode::Malformed, "the terms name no upstream")),
        // `control` queues these itself, in the order in which they came.
        EnclaveRequest::Append(_) | EnclaveRequest::Checkpoint(_) => {
            HostReply::Refused(Refused::new(RefusalCode::Internal, "a write to the log came another way"))
        }
    }
}

async fn payer_state(shared: &Shared, query: &PayerQuery) -> HostReply {
    let Some(chain) = shared.chains.get(&query.chain_id) else {
        let message = format!("this host does not know chain {}", query.chain_id);
        return HostReply::Refused(Refused::new(RefusalCode::Malformed, message));
    };
    let chain = chain.clone().with_timeout(QUESTION);
    let asked =
        tokio::join!(chain.payer_state(query.scheme, &query.asset, &query.payer, &query.nonce), passes(&chain, query.trial.as_ref()));
    let answers = asked.0.and_then(|state| asked.1.map(|passes| (state, passes)));
    match answers {
        Ok((state, passes)) => {
            shared.clear_trouble("payers");
            HostReply::PayerState(PayerState {
                asset_has_code: state.asset_has_code,
                balance: state.balance,
                allowance: state.allowance,
                permit_nonce: state.permit_nonce,
                nonce_used: state.nonce_used,
                passes,
            })
        }
        Err(error) => {
            // A chain that is away is told by those who follow it; an endpoint that is there and cannot say this is told here.
            if !error.is_temporary() {
                shared.trouble_once("payers", error.to_string());
            }
            HostReply::Refused(Refused::new(RefusalCode::Unavailable, error.to_string()))
        }
    }
}

/// Gas of a trial: what a settler leaves its row.
const TRIAL_GAS: u64 = 500_000;

async fn passes(chain: &ChainClient, trial: Option<&PayerTrial>) -> Result<bool, ChainError> {
    match trial {
        Some(PayerTrial { from, to, calldata }) => Ok(chain.try_call(from, to, calldata, TRIAL_GAS).await?.is_some()),
        None => Ok(true),
    }
}

async fn await_settlement(shared: &Shared, slot: &Slot, payment_id: Hash32, timeout_ms: u64) -> HostReply {
    let deadline = Instant::now() + Duration::from_millis(timeout_ms);
    loop {
        // Before the look, so that an end between look and wait is not missed.
        let ends: Vec<_> = shared.settlers.iter().map(|(chain_id, settler)| (*chain_id, settler.end_of(payment_id))).collect();
        let record = match shared.store.intent(payment_id).await {
            Ok(record) => record,
            Err(error) => return refuse(shared, &error),
        };
        let mut state = state_of(record.as_ref());
        if record.is_none()
            && shared.slots().iter().any(|other| !std::ptr::eq(&raw const **other, slot) && other.has_asked_about(&payment_id))
        {
            // The boot beside this one may be at work for it.
            state = SettlementState::Pending { tx_hash: None };
        }
        if matches!(state, SettlementState::Pending { .. })
            && let Some(included) = shared.settlers.values().find_map(|settler| settler.included(&payment_id))
        {
            // Good enough for an answer: what a reorganisation takes is sent again until the payment's end.
            state = included;
        }
        if !matches!(state, SettlementState::Pending { .. }) || deadline <= Instant::now() {
            return HostReply::Settlement(state);
        }
        let chain = record.map(|record| record.intent.chain_id());
        let Some((_, end)) = ends.into_iter().find(|(chain_id, _)| Some(*chain_id) == chain) else {
            return HostReply::Settlement(state);
        };
        let _deadline_is_checked_above = timeout_at(deadline, end.ended()).await;
    }
}

async fn fetch_receipt(shared: &Shared, receipt_id: [u8; 16]) -> Result<Option<StoredReceipt>, StoreError> {
    let Some(row) = shared.store.receipt(receipt_id).await? else { return Ok(None) };
    let proof = match shared.store.log(&row.log_id).await? {
        Some(open) => {
            let anchor = shared.store.newest_anchor(row.log_id).await?;
            let log = open.read();
            log.checkpoint().and_then(|signed| {
                let at = log.tree().at(signed.checkpoint.tree.size)?;
                let inclusion = at.inclusion(row.sequence)?;
                let anchored = anchor.map(|anchor| anchor.tree).filter(|tree| tree.size <= signed.checkpoint.tree.size);
                let consistency = anchored.and_then(|tree| at.consistency_from(tree.size)).unwrap_or_default();
                Some(AnchoredProof { checkpoint: signed.clone(), inclusion, anchored, consistency })
            })
        }
        None => None,
    };
    Ok(Some(StoredReceipt {
        receipt: row.receipt,
        signature: row.signature,
        leaf_data: row.leaf_data,
        frame_leaf_hashes: row.frame_leaf_hashes,
        proof,
    }))
}
