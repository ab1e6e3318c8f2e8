//! Keeps the boots of this host registered and valid: the current one by evidence made for it, former ones by the newest that was kept.
//!
//! The registry gives a key two hours for each document, and takes a document for a week (spec/bundle.md section 6). So the enclave attests every
//! hour, on chain a renewal is due once a day, and an enclave that has gone is renewed once more, by its last document: what it answered in its
//! last hours is then provable too. Spec: link.md §8.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use candor_chain::{ChainError, KeyStatus};
use candor_link::{EnclaveReply, HostRequest, Ready};
use candor_verify::Hash32;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::boot::DriveError;
use crate::calls::{CallError, Link};
use crate::clock;
use crate::notice::Notice;
use crate::registrar::Renewed;
use crate::shared::Shared;
use crate::slot::{Slot, Stage};
use crate::store::OpenLog;

/// Between looks for this boot in the registry. One question, for what is rare, and noticed at once if the chain was seen to go back.
const LOOK: Duration = Duration::from_secs(30);

/// Looks in a row that must not find it before it is registered again.
const MISSES: u32 = 3;

/// Former boots whose last evidence is shown to the registry: those of the last days, however often a node was started.
const FORMER: usize = 32;

/// Keeps this evidence for clients who come for an answer after the boot has gone, and for the registry.
pub(crate) async fn remember_evidence(shared: &Shared, ready: &Ready) {
    match shared.store.put_evidence(ready.manifest.hash(), clock::now().0, ready.evidence.clone()).await {
        Ok(()) => shared.clear_trouble("store"),
        // Such a client then cannot verify the boot; everybody else is served.
        Err(error) => shared.trouble("store", error.to_string()),
    }
}

/// Registers with the boot's evidence, has fresh evidence made every interval, renews when it is due, and registers again if the registry
/// forgot. Each retry has fresh evidence too, because a registry takes a first document about its last blocks only.
pub(crate) async fn keep_registered(shared: &Arc<Shared>, slot: &Arc<Slot>, link: &Link, mut ready: Ready) -> DriveError {
    let timing = shared.config.timing;
    let mut failures = 0_u32;
    // When the registry was last shown evidence; `None` if it has to be shown some.
    let mut shown: Option<Instant> = None;
    let (mut is_first, mut has_ended) = (true, false);
    // A host that was started again finds its boot registered, and keeps nobody waiting.
    look(shared, slot, &ready).await.ok();
    loop {
        if !is_first {
            match attest(shared, link).await {
                Ok(evidence) => {
                    shared.clear_trouble("attestation");
                    ready.evidence = evidence;
                    remember_evidence(shared, &ready).await;
                }
                Err(DriveError::Call(error @ (CallError::Lost | CallError::Timeout | CallError::Unexpected))) => return error.into(),
                Err(error) => {
                    shared.trouble("attestation", error.to_string());
                    tokio::time::sleep(timing.retry.saturating_mul(1 << failures.min(6))).await;
                    failures = failures.saturating_add(1);
                    continue;
                }
            }
        }
        is_first = false;
        if shown.is_none_or(|at| timing.renew <= at.elapsed()) {
            if let Err(error) = slot.boot.registrar.submit(&ready).await {
                shared.trouble("registration", error.message);
                let pause = if error.is_temporary { timing.retry.saturating_mul(1 << failures.min(8)) } else { timing.attest };
                failures = failures.saturating_add(1);
                tokio::time::sleep(pause).await;
                continue;
            }
            failures = 0;
            shared.clear_trouble("registration");
            slot.update(|status| status.is_registered = true);
            if shown.replace(Instant::now()).is_none() {
                shared.notice(&Notice::Registered { log_id: ready.manifest.log_id() });
            }
        }
        match until_due(shared, slot, &ready, has_ended).await {
            Due::Evidence => {}
            Due::Registration => shown = None,
            Due::End => {
                has_ended = true;
                shared.trouble("registration", "its operator ended the key of this boot: it takes no new work; boot another".to_owned());
                if let Err(error) = link.call(HostRequest::StopSelling, timing.request).await {
                    return error.into();
                }
            }
        }
    }
}

/// What a wait ended with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Due {
    /// Fresh evidence.
    Evidence,
    /// The registry knows this boot no more.
    Registration,
    /// The operator ended its key.
    End,
}

/// Waits until fresh evidence is due, until its operator ends the key of this boot, or until the registry that knew this boot knows it no more: its chain was reset, or took back the
/// block of the registration.
async fn until_due(shared: &Shared, slot: &Arc<Slot>, ready: &Ready, has_ended: bool) -> Due {
    let due = Instant::now() + shared.config.timing.attest;
    // Not before it was: somebody else may register this node, and take time for it.
    let (mut was_listed, mut misses) = (false, 0_u32);
    loop {
        match look(shared, slot, ready).await {
            Ok(Some(status)) if !has_ended && (status.invalid_from.is_some() || status.revoked_at.is_some() || status.is_forked) => {
                return Due::End;
            }
            Ok(Some(_)) => (was_listed, misses) = (true, 0),
            // An endpoint behind others, or a chain that goes back by a block, says so for a moment.
            Ok(None) if was_listed && misses < MISSES => misses = misses.saturating_add(1),
            Ok(None) if was_listed => {
                slot.update(|status| status.is_registered = false);
                // Nobody new is led to it until it is there again.
                shared.set_gate(slot, shared.config.serve_unregistered);
                shared.trouble("registration", "the registry knows this boot no more; it is registered again".to_owned());
                return Due::Registration;
            }
            // A chain that does not answer says nothing of the registry.
            Ok(None) | Err(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep_until(due) => return Due::Evidence,
            () = tokio::time::sleep(if misses == 0 && slot.is_open() { LOOK } else { shared.config.timing.retry.saturating_mul(8) }) => {}
            () = slot.look.notified() => {}
        }
    }
}

/// How the registry has this boot. Opens the door to clients once it has it in a block that stays; it is closed again when the registry knows the boot no
/// more.
async fn look(shared: &Shared, slot: &Slot, ready: &Ready) -> Result<Option<KeyStatus>, ChainError> {
    let chain = &shared.config.anchor_chain;
    let status = chain.key_status(&ready.manifest.registry, &ready.manifest.k_sig).await?;
    slot.update(|shown| shown.valid_until = status.map(|status| status.valid_until));
    if let Some(status) = status
        && !slot.is_open()
        && status.registered_block <= chain.safe(shared.config.finality).await?.number
    {
        shared.set_gate(slot, true);
        if slot.stage() == Stage::Selling {
            shared.notice(&Notice::Open);
        }
    }
    Ok(status)
}

async fn attest(shared: &Arc<Shared>, link: &Link) -> Result<Vec<u8>, DriveError> {
    let head = shared.fresh_head().await?;
    match link.call(HostRequest::Attest { nonce: Hash32::ZERO, head }, shared.config.timing.boot_step).await? {
        EnclaveReply::Evidence(evidence) => Ok(evidence),
        _ => Err(CallError::Unexpected.into()),
    }
}

/// Shows the registry the last evidence of each boot that has gone, until stopped.
// Crash: a host that was started again begins anew with all of them; what raises nothing is not sent.
pub(crate) async fn renew_former(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut logs = shared.logs.subscribe();
    let mut shown = Shown::default();
    loop {
        let changed = tokio::select! {
            _ = stopped.changed() => return,
            changed = logs.changed() => changed.is_ok(),
            () = tokio::time::sleep(shared.config.timing.gone) => false,
        };
        let slots = shared.slots();
        let ids: Vec<_> = slots.iter().filter_map(|slot| slot.current_id()).collect();
        if changed && ids.len() < slots.len() {
            // Lost a moment ago: it may be back soon.
            continue;
        }
        for id in &ids {
            // Its evidence grows; when it has gone, its last one is shown.
            shown.forget(*id);
        }
        renew_those_that_left(&shared, &ids, &mut shown).await;
    }
}

/// Shows the registry the last evidence of a boot that ends in order, by its own registrar: that of the boot after it may accept other code.
pub(crate) async fn renew_last(shared: &Shared, slot: &Slot, open: &OpenLog) {
    let newest = shared.store.evidence(open.row().manifest.hash(), u64::MAX >> 1).await;
    let Ok(Some(evidence)) = newest else { return };
    if let Err(error) = slot.boot.registrar.renew(&evidence).await {
        let message = format!("the last evidence of log {:#}: {error}", open.row().manifest.log_id());
        shared.notice(&Notice::Trouble { part: "registration", message });
    }
}

/// Transactions for one boot that has gone, at most: an endpoint that shows an old state for ever must not cost one each half hour.
const SENT_MAX: u32 = 3;

/// What the registry was shown of boots that have gone.
#[derive(Default)]
struct Shown(BTreeMap<Hash32, Look>);

/// How far one is.
enum Look {
    Sent { times: u32, last: Instant },
    Done,
}

impl Shown {
    /// Whether to look at it: not if nothing is left to do, and after a transaction only when no chain takes its block back any more.
    fn is_due(&self, id: Hash32, stays: Duration) -> bool {
        match self.0.get(&id) {
            None => true,
            Some(Look::Sent { last, .. }) => stays <= last.elapsed(),
            Some(Look::Done) => false,
        }
    }

    fn sent(&mut self, id: Hash32) {
        let before = match self.0.get(&id) {
            Some(Look::Sent { times, .. }) => *times,
            Some(Look::Done) | None => 0,
        };
        let times = before.saturating_add(1);
        let look = if SENT_MAX <= times { Look::Done } else { Look::Sent { times, last: Instant::now() } };
        self.0.insert(id, look);
    }

    fn done(&mut self, id: Hash32) {
        self.0.insert(id, Look::Done);
    }

    /// It runs again.
    fn forget(&mut self, id: Hash32) {
        self.0.remove(&id);
    }
}

/// One look at every former boot that is not done with.
async fn renew_those_that_left(shared: &Shared, open: &[Hash32], shown: &mut Shown) {
    // A store that does not answer is told of elsewhere.
    let Ok(ids) = shared.store.log_ids().await else { return };
    let former = ids.into_iter().rev().take(FORMER).filter(|id| !open.contains(id));
    for id in former {
        if !shown.is_due(id, shared.config.timing.stays) {
            continue;
        }
        let Ok(Some(former)) = shared.store.log(&id).await else { continue };
        let newest = shared.store.evidence(former.row().manifest.hash(), u64::MAX >> 1).await;
        let Ok(newest) = newest else { continue };
        let evidence = newest.unwrap_or_else(|| former.row().evidence.clone());
        match shared.seller().boot.registrar.renew(&evidence).await {
            // In a block, which the chain may take back: looked at again when it would have.
            Ok(Renewed::Sent) => shown.sent(id),
            Ok(Renewed::Stands) => shown.done(id),
            Err(error) => {
                let message = format!("the last evidence of log {id:#}: {error}");
                shared.notice(&Notice::Trouble { part: "registration", message });
                if !error.is_temporary {
                    shown.done(id);
                }
            }
        }
    }
}
