//! Two boots at once: a newer one begins beside the one that sells, takes over, and the older one ends when nothing is left to do (ADR 0016).
//!
//! ```text
//!           newer: Coming ── registered, in a block that stays ──▶ Selling
//! older: Selling ─────────── HandOver, then TakeOver to the newer ─▶ Draining ── idle, and no connection ──▶ gone
//! ```
//!
//! The order of the three acts of a hand-over is the rule that keeps a payment from being executed twice by one node: the door is closed, the
//! older boot confirms that it claims nothing more that names no boot, the newer one is told, the door opens to it. Trust: a host that does
//! it in another order wastes its operator's work; a payment is charged once by its chain, and one that names a boot is taken by that one
//! alone.
//!
//! Crash: nothing of it is on disk. A host that was started again is told both slots and their stages, and does again what was not confirmed:
//! each act can be repeated.
//!
//! Not here: the processes (whoever starts them hears of it by notices), the drive of each (`control`, `boot`).

use std::sync::Arc;
use std::time::Duration;

use candor_link::{EnclaveReply, HostRequest};
use candor_verify::offer::HONOURED_SECONDS;
use candor_verify::payment::{MAX_SKEW_SECONDS, MAX_TIMEOUT_SECONDS};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::anchor::anchor;
use crate::calls::{CallError, Link};
use crate::config::BootConfig;
use crate::notice::Notice;
use crate::registration;
use crate::run::{HostError, check_boot};
use crate::shared::Shared;
use crate::slot::{Slot, Stage, WaitsFor};

/// Between two looks at two slots.
const LOOK: Duration = Duration::from_millis(250);

/// How long a boot may take to confirm that it hands over, or takes over: meanwhile new connections wait.
const CONFIRM: Duration = Duration::from_secs(2);

/// After so long nothing of a boot can matter that sells no more: its last offer is over, and so is every payment that it could have taken for
/// it, with the margin of clocks.
pub const DRAIN_MAX: Duration = Duration::from_secs(HONOURED_SECONDS + MAX_TIMEOUT_SECONDS + 2 * MAX_SKEW_SECONDS);

/// Makes a slot beside the one that sells.
///
/// # Errors
/// `Config` if these terms are not of the same node, or there are two already; as [`check_boot`].
pub(crate) fn begin(shared: &Shared, boot: BootConfig, stage: Stage) -> Result<Arc<Slot>, HostError> {
    let terms = check_boot(&shared.config, &boot)?;
    let seller = shared.seller();
    let (old, new) = (&seller.terms.terms, &terms.terms);
    let rows = [(old.operator, new.operator, "operator"), (old.payee, new.payee, "payee"), (old.registry, new.registry, "registry")];
    if let Some((expected, got, what)) = rows.into_iter().find(|(old, new, _)| old != new) {
        let message =
            format!("{what}: expected {expected}, as the boot that sells has it, got {got}; with it, stop the node and start it again");
        return Err(HostError::Config(message));
    }
    let slot = Arc::new(Slot::new(boot, terms, stage, shared.config.serve_unregistered));
    let mut is_alone = false;
    shared.slots.send_if_modified(|slots| {
        is_alone = slots.len() == 1;
        match (is_alone, stage) {
            (false, _) => {}
            // The older boot first.
            (true, Stage::Draining) => slots.insert(0, Arc::clone(&slot)),
            (true, Stage::Coming | Stage::Selling) => slots.push(Arc::clone(&slot)),
        }
        is_alone
    });
    match is_alone {
        true => Ok(slot),
        false => Err(HostError::Config("another boot is beside the one that sells already".to_owned())),
    }
}

/// Makes the slot of which a host is told when it starts, before any enclave is driven. Without it the one that sells sells all the same, and
/// whoever started the other hears that it is refused, and ends it.
pub(crate) fn begin_with(shared: &Shared, stage: Stage, boot: Result<BootConfig, String>) {
    if stage == Stage::Draining {
        // Crash: the host before this one may have ended before it told the one that sells. Also where the other is refused: it sold until now.
        shared.seller().set_must_take_over(true);
    }
    if let Err(error) = boot.map_err(HostError::Config).and_then(|boot| begin(shared, boot, stage)) {
        shared.notice(&Notice::BootRefused { message: error.to_string() });
    }
}

/// Before a boot of this slot is let in: one that begins beside a boot that drains takes over from it as the one before it did, or whoever loses
/// its connection to that one would be told to pay anew.
pub(crate) fn begins_beside(shared: &Shared, slot: &Slot) {
    let drains_beside = shared.slots().iter().any(|other| other.stage() == Stage::Draining);
    if slot.stage() == Stage::Selling && drains_beside {
        slot.set_must_take_over(true);
    }
}

/// Takes away the slot beside the one that sells, if there is one: its enclave has ended.
pub(crate) fn end_beside(shared: &Shared) {
    let seller = shared.seller();
    for slot in shared.slots().into_iter().filter(|slot| !Arc::ptr_eq(slot, &seller)) {
        remove(shared, &slot);
    }
}

/// Takes a slot away.
pub(crate) fn remove(shared: &Shared, slot: &Arc<Slot>) {
    shared.slots.send_modify(|slots| slots.retain(|other| !Arc::ptr_eq(other, slot)));
    slot.ended.send_replace(true);
    // Its log is one of a former boot from here on.
    shared.set_current(slot, None);
}

/// Watches over two slots until stopped.
pub(crate) async fn run(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    // Crash: at any await; the next host is told of both, and repeats what was not confirmed.
    tokio::select! {
        () = watch_over(&shared) => {}
        _ = stopped.changed() => {}
    }
}

async fn watch_over(shared: &Arc<Shared>) {
    let mut slots = shared.slots.subscribe();
    let mut drains_since = None;
    loop {
        let beside = slots.borrow_and_update().clone();
        match &beside[..] {
            [older, newer] if newer.stage() == Stage::Coming && newer.is_open() => hand_over(shared, older, newer).await,
            [older, _] if older.stage() == Stage::Draining => {
                let since = *drains_since.get_or_insert_with(Instant::now);
                if drain(shared, older, since).await {
                    drains_since = None;
                }
            }
            _ => drains_since = None,
        }
        let waits = take_over(shared).await;
        tokio::select! {
            // With one slot there is nothing to look at until there are two.
            changed = slots.changed(), if beside.len() < 2 && !waits => if changed.is_err() { return },
            () = tokio::time::sleep(LOOK), if beside.len() == 2 || waits => {}
        }
    }
}

/// From the older boot to the newer one. Not done, and tried again, unless the older one confirms it or is gone.
async fn hand_over(shared: &Arc<Shared>, older: &Arc<Slot>, newer: &Arc<Slot>) {
    if newer.link().is_none() {
        return;
    }
    // First, so that an enclave that connects again from now on is told before it is answered anything. New connections wait for the moment that
    // this takes, and meet the newer boot.
    older.set_stage(Stage::Draining);
    shared.lead_clients();
    if let Some(link) = older.link() {
        // Crash: before it is told. Nobody can take that back, so it sells nothing more if the newer boot goes without having taken over: whoever
        // started the two has to know, whatever this host still hears.
        if older.is_told_first() {
            shared.notice(&Notice::HandingOver { log_id: older.current_id().unwrap_or_default() });
        }
        if let Err(error) = told(&link).await
            && error != CallError::Lost
        {
            // It may still claim, so the newer one waits. It may have heard it, too: then it sends whoever is led to it away, to come again.
            older.set_stage(Stage::Selling);
            shared.lead_clients();
            return shared.trouble_once("enclave", format!("the older boot does not hand over: {error}"));
        }
    }
    // Crash: from here on the older one sells no more. A host that is started again before it said so does all of this again.
    newer.set_must_take_over(true);
    newer.set_stage(Stage::Selling);
    shared.set_seller(newer);
    shared.notice(&Notice::HandedOver { from: older.current_id().unwrap_or_default(), to: newer.current_id().unwrap_or_default() });
    take_over(shared).await;
}

/// Tells the boot that sells that it took over, if it was not told, and leads clients to it. True if that is still to be done.
async fn take_over(shared: &Arc<Shared>) -> bool {
    let seller = shared.seller();
    if !seller.must_take_over() {
        return false;
    }
    let Some(link) = seller.link() else { return true };
    match link.call(HostRequest::TakeOver, CONFIRM).await {
        Ok(_) => {
            seller.set_must_take_over(false);
            shared.clear_trouble("enclave");
            shared.lead_clients();
            false
        }
        Err(error) => {
            shared.trouble_once("enclave", format!("the newer boot does not take over: {error}"));
            true
        }
    }
}

/// Tells a boot that another sells. Whether it is idle.
async fn told(link: &Link) -> Result<bool, CallError> {
    match link.call(HostRequest::HandOver, CONFIRM).await? {
        EnclaveReply::HandedOver { is_idle } => Ok(is_idle),
        _ => Err(CallError::Unexpected),
    }
}

/// Tells the boot of a draining slot that it sells no more, before anything else happens there.
pub(crate) async fn keep_from_selling(slot: &Slot, link: &Link) -> Result<(), CallError> {
    if slot.stage() == Stage::Draining {
        told(link).await?;
    }
    Ok(())
}

/// One look at a boot that drains. True if it has ended, and its slot is gone.
async fn drain(shared: &Arc<Shared>, slot: &Arc<Slot>, since: Instant) -> bool {
    let connections = slot.connections();
    let waits_for = match slot.link() {
        None => Some(WaitsFor::Enclave),
        Some(link) => match told(&link).await {
            Err(_) => Some(WaitsFor::Enclave),
            Ok(false) => Some(WaitsFor::Answers),
            Ok(true) => (connections != 0).then_some(WaitsFor::Connections(connections)),
        },
    };
    slot.update(|status| status.waits_for = waits_for);
    if waits_for.is_some() && since.elapsed() < shared.config.timing.drain {
        return false;
    }
    let log_id = slot.current_id().unwrap_or_default();
    if let Some(open) = slot.current() {
        // Whatever fails here is tried again as for any boot that has gone.
        if let Err(message) = anchor(shared, &open).await {
            shared.notice(&Notice::Trouble { part: "anchor", message });
        }
        registration::renew_last(shared, slot, &open).await;
    }
    remove(shared, slot);
    shared.notice(&Notice::Drained { log_id, still: waits_for.map(WaitsFor::as_str) });
    true
}
