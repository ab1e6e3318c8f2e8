//! Drives an enclave from its welcome to service: terms, models, start, log, registration; then heads and fresh evidence.
//!
//! Everything is repeated from the welcome on if the connection breaks: the enclave says where it stands. Spec: link.md §8.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use candor_chain::ChainError;
use candor_link::{BootRequest, EnclaveReply, HostRequest, MAX_MODEL_PART, ModelPart, Phase, Predecessor, Ready, RefusalCode, Refused};
use candor_verify::Hash32;
use candor_verify::scheme::PERMIT2;
use candor_verify::terms::OperatorTerms;
use candor_verify::tlog::{Tree, empty_root};

use crate::anchor::anchor;
use crate::calls::{CallError, Link};
use crate::config::ModelFile;
use crate::notice::Notice;
use crate::overlap;
use crate::prices::keep_priced;
use crate::registration::{keep_registered, remember_evidence};
use crate::shared::{Shared, block_head};
use crate::slot::{Slot, Stage};
use crate::store::StoreError;

/// Former logs that are looked at for a predecessor.
const FORMER: usize = 8;

/// Why an enclave does not get into service, or stopped being driven.
#[derive(Debug)]
pub(crate) enum DriveError {
    /// A call to the enclave gave nothing.
    Call(CallError),
    /// The anchor chain does not answer.
    Chain(ChainError),
    /// What the chain holds of a former log cannot be read or remembered.
    Anchor(String),
    /// A model that the terms list cannot be read.
    Model { digest: Hash32, message: String },
    /// The store does not answer.
    Store(StoreError),
    /// The enclave that runs booted under other terms.
    Terms { expected: Hash32, got: Hash32 },
}

impl std::fmt::Display for DriveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Call(error) => error.fmt(f),
            Self::Chain(error) => write!(f, "boot: {error}"),
            Self::Anchor(message) => write!(f, "boot: {message}"),
            Self::Model { digest, message } => write!(f, "boot: model {digest:#}: {message}"),
            Self::Store(error) => write!(f, "boot: {error}"),
            Self::Terms { expected, got } => {
                write!(
                    f,
                    "boot: expected an enclave under the terms {expected:#}, got one that booted under {got:#}; start the enclave again"
                )
            }
        }
    }
}

impl From<CallError> for DriveError {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl From<ChainError> for DriveError {
    fn from(error: ChainError) -> Self {
        Self::Chain(error)
    }
}

/// Brings the enclave from where it stands into service: booted, with its log open.
pub(crate) async fn bring_into_service(shared: &Arc<Shared>, slot: &Arc<Slot>, link: &Link, phase: Phase) -> Result<Ready, DriveError> {
    match &phase {
        // One that this host has not met: as after a restart of it.
        Phase::Ready(ready) if slot.log_id() != Some(ready.manifest.log_id()) => slot.asked_another_host(),
        Phase::Ready(_) => {}
        Phase::AwaitingTerms | Phase::AwaitingModels => {
            slot.begins_anew();
            overlap::begins_beside(shared, slot);
        }
    }
    // Invariant: after it is known whether this boot is to be told that it takes over.
    shared.set_gate(slot, shared.config.serve_unregistered);
    let ready = boot(shared, slot, link, phase).await?;
    overlap::keep_from_selling(slot, link).await?;
    let log_id = open_log(shared, slot, &ready).await?;
    // Before a client is let in; nothing is said where the list is empty, as at a boot that was never told of one.
    if !slot.boot.denied.is_empty() {
        let payers = slot.boot.denied.clone();
        done(link.call(HostRequest::DenyPayers { payers }, shared.config.timing.request).await?)?;
    }
    slot.update(|status| status.phase = "ready");
    slot.set_link(Some(link.clone()));
    shared.notice(&Notice::Ready { log_id });
    Ok(ready)
}

/// Keeps it in service until something fails: new blocks, the registration, fresh evidence.
pub(crate) async fn keep_in_service(shared: &Arc<Shared>, slot: &Arc<Slot>, link: &Link, ready: Ready) -> DriveError {
    tokio::select! {
        error = heads(shared, link) => error,
        error = counts(shared, slot, link) => error,
        error = keep_priced(shared, slot, link) => error,
        error = keep_registered(shared, slot, link, ready) => error,
    }
}

async fn boot(shared: &Arc<Shared>, slot: &Arc<Slot>, link: &Link, phase: Phase) -> Result<Ready, DriveError> {
    if let Phase::Ready(ready) = phase {
        return of_these_terms(slot, *ready);
    }
    if phase == Phase::AwaitingTerms {
        has_settlers(shared, &slot.terms.terms).await?;
        slot.update(|status| status.phase = "booting");
        let predecessor = predecessor(shared, slot).await?;
        let boot = BootRequest { signed_terms: slot.boot.signed_terms.clone(), head: shared.fresh_head().await?, predecessor };
        done(link.call(HostRequest::Boot(Box::new(boot)), shared.config.timing.request).await?)?;
    }
    slot.update(|status| status.phase = "loading models");
    for model in &slot.terms.terms.models {
        let file = slot.boot.models.iter().find(|file| file.digest == model.digest);
        let missing = || DriveError::Model { digest: model.digest, message: format!("the terms list {}, no file is given", model.id) };
        send_model(link, file.ok_or_else(missing)?, shared.config.timing.boot_step).await?;
    }
    match link.call(HostRequest::Start, shared.config.timing.boot_step).await? {
        EnclaveReply::Ready(ready) => Ok(*ready),
        _ => Err(CallError::Unexpected.into()),
    }
}

/// Whether each chain has what metered payments settle through, where these terms name settlers. Without it every answer would be given away.
/// That the factory is the one clients know, the enclave checks.
async fn has_settlers(shared: &Shared, terms: &OperatorTerms) -> Result<(), DriveError> {
    let refused = |message| Err(CallError::Refused(Refused::new(RefusalCode::TermsRefused, message)).into());
    for chain in terms.chains.iter().filter(|chain| !chain.settler_factory.is_zero()) {
        let Some(client) = shared.chains.get(&chain.chain_id) else {
            return refused(format!("the terms name settlers for chain {}, of which this host has no endpoint", chain.chain_id));
        };
        let through = [("SettlerFactory", chain.settler_factory), ("x402UptoPermit2Proxy", chain.upto_proxy), ("Permit2", PERMIT2)];
        for (name, at) in through {
            if !client.has_code(&at).await? {
                return refused(format!("the terms name settlers for chain {}, which has no {name} at {at}", chain.chain_id));
            }
        }
    }
    Ok(())
}

/// An enclave that booted before this host has the terms of then. Under others this host would show an end and prices that are not its own.
fn of_these_terms(slot: &Slot, ready: Ready) -> Result<Ready, DriveError> {
    let (expected, got) = (slot.terms.terms.digest(), ready.manifest.terms_hash);
    if expected == got { Ok(ready) } else { Err(DriveError::Terms { expected, got }) }
}

fn done(reply: EnclaveReply) -> Result<(), CallError> {
    if reply == EnclaveReply::Done { Ok(()) } else { Err(CallError::Unexpected) }
}

/// In pieces, from the beginning, each acknowledged before the next: a load must not fill the connection.
async fn send_model(link: &Link, model: &ModelFile, within: Duration) -> Result<(), DriveError> {
    let failed = |message: String| DriveError::Model { digest: model.digest, message };
    let path = model.path.clone();
    let opened = blocking(move || {
        let file = File::open(path)?;
        let total = file.metadata()?.len();
        Ok((file, total))
    });
    let (mut file, total) = opened.await.map_err(failed)?;
    let mut offset = 0;
    while offset < total {
        let (returned, bytes) = blocking(move || {
            let mut bytes = Vec::with_capacity(MAX_MODEL_PART.min(usize::try_from(total - offset).unwrap_or(MAX_MODEL_PART)));
            file.by_ref().take(MAX_MODEL_PART as u64).read_to_end(&mut bytes)?;
            Ok((file, bytes))
        })
        .await
        .map_err(failed)?;
        file = returned;
        if bytes.is_empty() {
            return Err(failed("the file became shorter while it was read".to_owned()));
        }
        let next = offset + bytes.len() as u64;
        let part = ModelPart { digest: model.digest, offset, total: total.max(next), bytes };
        done(link.call(HostRequest::ModelPart(part), within).await?)?;
        offset = next;
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// The newest log of this operator that nobody continued yet, at an anchored size. What it still holds is anchored first. That may be the log of
/// a boot that goes on beside this one: it grows beyond the size that is named, and is anchored beyond it.
async fn predecessor(shared: &Arc<Shared>, slot: &Arc<Slot>) -> Result<Option<Predecessor>, DriveError> {
    let terms = &slot.terms.terms;
    let ids = shared.store.log_ids().await.map_err(DriveError::Store)?;
    let slots = shared.slots();
    let later: Vec<_> = slots.iter().skip_while(|other| !Arc::ptr_eq(other, slot)).skip(1).filter_map(|other| other.log_id()).collect();
    // An enclave that is started again while another is to take over from it is not that one's successor.
    for log_id in ids.iter().rev().filter(|log_id| !later.contains(log_id)).take(FORMER) {
        let Some(open) = shared.store.log(log_id).await.map_err(DriveError::Store)? else { continue };
        let m = &open.row().manifest;
        if (m.operator, m.registry, m.anchor_chain_id) != (terms.operator, terms.registry, terms.anchor_chain_id) {
            continue;
        }
        let chain = &shared.config.anchor_chain;
        let successor = chain.successor_of(&terms.registry, log_id).await?;
        if successor.is_some() {
            // Continued already: this node goes on as an additional one.
            return Ok(None);
        }
        if let Err(message) = anchor(shared, &open).await {
            shared.trouble("anchor", message);
        }
        let held = shared.anchorer.lock().await.refresh(&open, None).await.map_err(DriveError::Anchor)?;
        if let Some((_, anchor)) = held {
            // One that is registered and never answered anything is continued at its beginning.
            let tree = anchor.map_or(Tree { size: 0, root: empty_root() }, |anchor| anchor.tree);
            return Ok(Some(Predecessor { log_id: *log_id, tree }));
        }
    }
    Ok(None)
}

/// A full disk at boot is waited for: the enclave has its keys already, and a new boot would need the same disk.
async fn open_log(shared: &Arc<Shared>, slot: &Arc<Slot>, ready: &Ready) -> Result<Hash32, DriveError> {
    // One slot after another: which logs stay open beside this one is known when each has said which is its own.
    let opening = shared.opening.lock().await;
    let opened = loop {
        // Also one whose connection is being made again: its log goes on, and so does what it keeps.
        let others: Vec<_> = shared.slots().into_iter().filter(|other| !Arc::ptr_eq(other, slot)).collect();
        let beside = (!others.is_empty()).then(|| others.iter().filter_map(|other| other.log_id()).collect());
        match shared.store.open_log_beside(&ready.manifest, ready.evidence.clone(), beside).await {
            Ok(open) => break open,
            Err(error @ (StoreError::Full | StoreError::Io(_))) => {
                shared.trouble_once("store", error.to_string());
                tokio::time::sleep(shared.config.timing.retry.saturating_mul(8)).await;
            }
            Err(error) => return Err(DriveError::Store(error)),
        }
    };
    shared.set_current(slot, Some(opened.clone()));
    drop(opening);
    remember_evidence(shared, ready).await;
    // What the chain holds of it: after a restart of the host, perhaps more than the database says.
    let mut anchorer = shared.anchorer.lock().await;
    if let Err(message) = anchorer.refresh(&opened, None).await {
        shared.trouble("anchor", message);
    }
    Ok(ready.manifest.log_id())
}

/// Between two questions for what the enclave counts: it shows a new snapshot once a minute.
const COUNTS_EVERY: Duration = Duration::from_secs(15);

/// Fetches what the enclave counts. Ends only with the connection.
async fn counts(shared: &Shared, slot: &Slot, link: &Link) -> DriveError {
    loop {
        if slot.stage() != Stage::Selling {
            // Of two boots those of the one that sells are shown.
            tokio::time::sleep(COUNTS_EVERY).await;
            continue;
        }
        match link.call(HostRequest::Metrics, shared.config.timing.request).await {
            Ok(EnclaveReply::Metrics(counts)) => shared.counts.enclave(&counts),
            Err(error @ CallError::Lost) => return error.into(),
            // Graphs that stand still for a moment; whether the enclave answers at all is asked by others.
            Ok(_) | Err(_) => {}
        }
        tokio::time::sleep(COUNTS_EVERY).await;
    }
}

/// Tells the enclave of each new block, and notices when it no longer answers.
async fn heads(shared: &Arc<Shared>, link: &Link) -> DriveError {
    let mut seen = shared.head.subscribe();
    let mut ping = tokio::time::interval(shared.config.timing.request);
    ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            changed = seen.changed() => {
                if changed.is_err() {
                    return CallError::Lost.into();
                }
                let head = *seen.borrow_and_update();
                if let Some(head) = head
                    && let Err(error) = link.head(block_head(&head)).await
                {
                    return error.into();
                }
            }
            _ = ping.tick() => {
                let asked = Instant::now();
                if let Err(error) = link.call(HostRequest::Ping, shared.config.timing.request).await {
                    return error.into();
                }
                shared.counts.round_trip.take(asked.elapsed());
            }
        }
    }
}
