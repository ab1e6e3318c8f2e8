//! A slot: where one enclave is driven. A host has one, and two while an older boot hands over to a newer one (`overlap`).
//!
//! A slot has its enclave's socket and terms, and what is known of the boot that is connected there. What all boots of a host have in common
//! (store, chains, gas keys, publication) is in `shared`. Not here: who drives it (`control`), when it sells (`overlap`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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

/// Most payments that are remembered so: some dozens each second, which is more than any engine answers. Beyond it every payment counts as one.
const ASKED_MAX: usize = 16_384;

/// Payments about which an enclave asked: it may be at work for them.
#[derive(Debug, Default)]
struct Asked {
    at: HashMap<Hash32, Instant>,
    // Until then every payment counts as asked about, because not all are known that were.
    all_until: Option<Instant>,
}

impl Asked {
    /// What it asked about until now is not known.
    // Trust: whoever is told wrongly that a payment is under way waits for its end; whoever is wrongly told to sign anew pays twice.
    fn about_anything(&mut self, now: Instant) {
        self.at.clear();
        self.all_until = Some(now + ASKED_FOR);
    }

    fn about(&mut self, payment_id: Hash32, now: Instant) {
        if ASKED_MAX <= self.at.len() {
            self.at.retain(|_, at| now < *at + ASKED_FOR);
        }
        match self.at.len() < ASKED_MAX {
            true => drop(self.at.insert(payment_id, now)),
            false => self.about_anything(now),
        }
    }

    fn was_about(&self, payment_id: &Hash32, now: Instant) -> bool {
        self.all_until.is_some_and(|until| now < until) || self.at.get(payment_id).is_some_and(|at| now < *at + ASKED_FOR)
    }
}

/// One slot.
pub(crate) struct Slot {
    pub(crate) boot: BootConfig,
    pub(crate) terms: SignedTerms,
    /// The registry may not know this boot any more: look.
    pub(crate) look: Notify,
    // Whether its registration is in a block that stays: clients may be led to it.
    is_open: AtomicBool,
    // Guarded for moments.
    stage: Mutex<Stage>,
    // Whether its boot is to be told that it takes over before clients are led to it.
    must_take_over: AtomicBool,
    // Whether its boot was told that another one sells: it may have heard it without a word. Nobody can take that back.
    is_told: AtomicBool,
    // Connections of clients that lead to it.
    connections: AtomicUsize,
    // The log of the enclave that is connected, once it is open. Guarded for moments.
    current: Mutex<Option<OpenLog>>,
    // The same of the one that was connected last: it stays open while its connection is made again. Guarded for moments.
    log_id: Mutex<Option<Hash32>>,
    // The control connection, while its enclave is in service. Guarded for moments.
    link: Mutex<Option<Link>>,
    // Charged in this log since its last anchor, of the first asset of the terms. Guarded for moments.
    unanchored_value: Mutex<u128>,
    // Guarded for moments.
    asked: Mutex<Asked>,
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
        let mut asked = Asked::default();
        if stage == Stage::Draining {
            // Crash: it sold, and whom it asked about what is known to nobody any more.
            asked.about_anything(Instant::now());
        }
        Self {
            boot,
            terms,
            look: Notify::new(),
            is_open: AtomicBool::new(is_open),
            stage: Mutex::new(stage),
            must_take_over: AtomicBool::new(false),
            is_told: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            current: Mutex::default(),
            log_id: Mutex::default(),
            link: Mutex::default(),
            unanchored_value: Mutex::default(),
            asked: Mutex::new(asked),
            status: Mutex::new(BootStatus { phase: "enclave not connected", ..BootStatus::default() }),
            ended: watch::Sender::new(false),
        }
    }

    pub(crate) fn stage(&self) -> Stage {
        *lock(&self.stage)
    }

    pub(crate) fn set_stage(&self, stage: Stage) {
        *lock(&self.stage) = stage;
    }

    pub(crate) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::SeqCst)
    }

    /// For `Shared::set_gate`, which looks at the door too.
    pub(crate) fn set_open(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::SeqCst);
    }

    pub(crate) fn must_take_over(&self) -> bool {
        self.must_take_over.load(Ordering::SeqCst)
    }

    pub(crate) fn set_must_take_over(&self, must: bool) {
        self.must_take_over.store(must, Ordering::SeqCst);
    }

    /// Its boot is about to be told that another one sells. True for the first time.
    pub(crate) fn is_told_first(&self) -> bool {
        !self.is_told.swap(true, Ordering::SeqCst)
    }

    /// Another boot is in its place, which was told nothing.
    pub(crate) fn begins_anew(&self) {
        self.is_told.store(false, Ordering::SeqCst);
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// One connection more; to be ended by [`Self::disconnected`].
    pub(crate) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn disconnected(&self) {
        self.connections.fetch_sub(1, Ordering::SeqCst);
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
        lock(&self.current).clone()
    }

    pub(crate) fn current_id(&self) -> Option<Hash32> {
        self.current().map(|open| open.row().manifest.log_id())
    }

    /// For `Shared::set_current`, which counts the change.
    pub(crate) fn set_current(&self, open: Option<OpenLog>) {
        if let Some(open) = &open {
            *lock(&self.log_id) = Some(open.row().manifest.log_id());
        }
        *lock(&self.current) = open;
    }

    /// The log of its enclave, also while that is not connected; `None` before it was for the first time.
    pub(crate) fn log_id(&self) -> Option<Hash32> {
        *lock(&self.log_id)
    }

    /// Its enclave asked about this payment: it may be about to take it.
    pub(crate) fn ask_about(&self, payment_id: Hash32) {
        lock(&self.asked).about(payment_id, Instant::now());
    }

    /// Its enclave asked another host before, which is gone with what it knew.
    pub(crate) fn asked_another_host(&self) {
        lock(&self.asked).about_anything(Instant::now());
    }

    /// Whether its enclave may be at work for this payment.
    pub(crate) fn has_asked_about(&self, payment_id: &Hash32) -> bool {
        lock(&self.asked).was_about(payment_id, Instant::now())
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

#[cfg(test)]
mod tests {
    use candor_testkit::forge::Key;
    use candor_testkit::honest::{sign_terms, terms};

    use super::*;

    fn payment(number: usize) -> Hash32 {
        let mut id = Hash32::ZERO;
        id.0[..8].copy_from_slice(&number.to_be_bytes());
        id
    }

    #[test]
    fn what_was_asked_about_is_known_until_no_boot_can_be_at_work_for_it() {
        let (mut asked, now) = (Asked::default(), Instant::now());
        asked.about(payment(1), now);
        let last = now + ASKED_FOR - Duration::from_secs(1);
        assert!(asked.was_about(&payment(1), last) && !asked.was_about(&payment(2), now));
        assert!(!asked.was_about(&payment(1), now + ASKED_FOR));
    }

    #[test]
    fn of_more_than_are_remembered_every_payment_counts_as_asked_about() {
        let (mut asked, now) = (Asked::default(), Instant::now());
        (0..ASKED_MAX).for_each(|number| asked.about(payment(number), now));
        assert!(!asked.was_about(&payment(ASKED_MAX), now), "those that fit are all known");
        asked.about(payment(ASKED_MAX), now);
        assert!(
            asked.was_about(&payment(0), now) && asked.was_about(&payment(ASKED_MAX), now) && asked.was_about(&payment(usize::MAX), now)
        );
        // From then on each is known again.
        let later = now + ASKED_FOR;
        asked.about(payment(7), later);
        assert!(asked.was_about(&payment(7), later) && !asked.was_about(&payment(0), later));
    }

    #[test]
    fn a_boot_that_drains_for_a_host_that_was_started_again_may_be_at_work_for_any_payment() {
        let slot = |stage| Slot::new(BootConfig::new("socket".into(), Vec::new()), sign_terms(terms(), &Key::of(1)), stage, true);
        let known = [Stage::Coming, Stage::Selling, Stage::Draining].map(|stage| slot(stage).has_asked_about(&payment(1)));
        assert_eq!(known, [false, false, true]);
    }
}
