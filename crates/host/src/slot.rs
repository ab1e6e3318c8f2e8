//! A slot: where one enclave is driven. A host has one, and two while an older boot hands over to a newer one (`overlap`).
//!
//! A slot has its enclave's socket and terms, and what is known of the boot that is connected there. What all boots of a host have in common
//! (store, chains, gas keys, publication) is in `shared`. Not here: who drives it (`control`), when it sells (`overlap`).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use candor_link::LoggedReceipt;
use candor_verify::Hash32;
use candor_verify::payment::{MAX_SKEW_SECONDS, MAX_TIMEOUT_SECONDS};
use candor_verify::receipt::Receipt;
use candor_verify::terms::SignedTerms;
use candor_verify::time::UnixSeconds;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::calls::Link;
use crate::config::BootConfig;
use crate::store::OpenLog;

/// What a slot's boot is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: before, while and after it sells")]
pub enum Stage {
    /// It boots beside the one that sells, and takes over once it is registered.
    Coming,
    /// Clients are led to it.
    Selling,
    /// It sells no more, and ends when nothing is left to do.
    Draining,
}

impl Stage {
    /// In `/status`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Coming => "coming",
            Self::Selling => "selling",
            Self::Draining => "draining",
        }
    }
}

/// What is known of the boot of a slot. Nothing per client.
#[derive(Clone, Debug, Default)]
pub(crate) struct BootStatus {
    pub(crate) phase: &'static str,
    pub(crate) is_registered: bool,
    pub(crate) published_size: u64,
    pub(crate) anchored_size: u64,
    /// Since when its newest checkpoint waits for an anchor.
    pub(crate) unanchored_since: Option<UnixSeconds>,
    /// Until when the registration is good, by the newest document on chain.
    pub(crate) valid_until: Option<UnixSeconds>,
    /// When the newest anchor of this log was made.
    pub(crate) anchored_at: Option<UnixSeconds>,
    /// For what a boot that drains waits.
    pub(crate) waits_for: Option<WaitsFor>,
}

/// What a boot that drains waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum WaitsFor {
    /// Answers that are being made, logged, or wait for their transfer.
    Answers,
    /// So many connections of clients, which may pay offers that it made and send again what it was paid for.
    Connections(usize),
    /// Its control connection is gone.
    Enclave,
}

impl WaitsFor {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Answers => "answers",
            Self::Connections(_) => "connections",
            Self::Enclave => "enclave",
        }
    }
}

/// How long a boot can be at work for a payment after it asked about it: until the payment's end, and the margin of clocks.
const ASKED_FOR: Duration = Duration::from_secs(MAX_TIMEOUT_SECONDS + 2 * MAX_SKEW_SECONDS);

/// Most payments that are remembered so: some dozens each second, which is more than any engine answers. Of more, one is not remembered, and
/// whoever sends it to the other boot is told to pay anew.
const ASKED_MAX: usize = 16_384;

/// One slot.
pub(crate) struct Slot {
    pub(crate) boot: BootConfig,
    pub(crate) terms: SignedTerms,
    /// Whether its registration is in a block that stays: clients may be led to it.
    pub(crate) gate: watch::Sender<bool>,
    /// The log of the enclave that is connected, once it is open.
    pub(crate) current: watch::Sender<Option<OpenLog>>,
    /// The registry may not know this boot any more: look.
    pub(crate) look: Notify,
    stage: watch::Sender<Stage>,
    /// Whether its boot is to be told that it takes over before clients are led to it.
    pub(crate) must_take_over: watch::Sender<bool>,
    /// Connections of clients that lead to it.
    pub(crate) connections: watch::Sender<usize>,
    // The control connection, while its enclave is in service. Guarded for moments.
    link: Mutex<Option<Link>>,
    // Charged in this log since its last anchor, of the first asset of the terms. Guarded for moments.
    unanchored_value: Mutex<u128>,
    // Payments about which its enclave asked, and when: it may be at work for them. Guarded for moments.
    asked: Mutex<HashMap<Hash32, Instant>>,
    // Guarded for moments.
    status: Mutex<BootStatus>,
    /// Set once, when the slot is no more.
    pub(crate) ended: watch::Sender<bool>,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("socket", &self.boot.enclave_socket).field("stage", &self.stage()).finish_non_exhaustive()
    }
}

impl Slot {
    pub(crate) fn new(boot: BootConfig, terms: SignedTerms, stage: Stage, is_open: bool) -> Self {
        Self {
            boot,
            terms,
            gate: watch::Sender::new(is_open),
            current: watch::Sender::new(None),
            look: Notify::new(),
            stage: watch::Sender::new(stage),
            must_take_over: watch::Sender::new(false),
            connections: watch::Sender::new(0),
            link: Mutex::new(None),
            unanchored_value: Mutex::new(0),
            asked: Mutex::default(),
            status: Mutex::new(BootStatus { phase: "enclave not connected", ..BootStatus::default() }),
            ended: watch::Sender::new(false),
        }
    }

    pub(crate) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    pub(crate) fn set_stage(&self, stage: Stage) {
        self.stage.send_replace(stage);
    }

    pub(crate) fn link(&self) -> Option<Link> {
        lock(&self.link).clone()
    }

    pub(crate) fn set_link(&self, link: Option<Link>) {
        *lock(&self.link) = link;
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut BootStatus)) {
        change(&mut lock(&self.status));
    }

    pub(crate) fn status(&self) -> BootStatus {
        lock(&self.status).clone()
    }

    pub(crate) fn current(&self) -> Option<OpenLog> {
        self.current.borrow().clone()
    }

    pub(crate) fn current_id(&self) -> Option<Hash32> {
        self.current().map(|open| open.row().manifest.log_id())
    }

    /// Its enclave asked about this payment: it may be about to take it.
    pub(crate) fn ask_about(&self, payment_id: Hash32) {
        let mut asked = lock(&self.asked);
        if ASKED_MAX <= asked.len() {
            asked.retain(|_, at| at.elapsed() < ASKED_FOR);
        }
        if asked.len() < ASKED_MAX {
            asked.insert(payment_id, Instant::now());
        }
    }

    /// Whether its enclave may be at work for this payment.
    pub(crate) fn has_asked_about(&self, payment_id: &Hash32) -> bool {
        lock(&self.asked).get(payment_id).is_some_and(|at| at.elapsed() < ASKED_FOR)
    }

    /// What these receipts charged, of the first asset of the terms.
    pub(crate) fn charged(&self, entries: &[LoggedReceipt]) -> u128 {
        let Some(asset) = self.terms.terms.assets.first() else { return 0 };
        let charged = entries.iter().filter_map(|entry| Receipt::parse(&entry.receipt).ok()).map(|receipt| receipt.money);
        let charged = charged.filter(|money| (money.chain_id, money.asset) == (asset.chain_id, asset.asset));
        charged.fold(0, |sum, money| sum.saturating_add(money.charged.0))
    }

    /// Receipts that charged so much are in the log.
    pub(crate) fn count(&self, charged: u128) {
        let mut value = lock(&self.unanchored_value);
        *value = value.saturating_add(charged);
    }

    /// An anchor was made: what is charged from now on is counted anew.
    pub(crate) fn count_anew(&self) {
        *lock(&self.unanchored_value) = 0;
    }

    /// What was charged since the last anchor.
    pub(crate) fn unanchored(&self) -> u128 {
        *lock(&self.unanchored_value)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is one step: a panic while holding the lock leaves a whole value.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
