//! Everything one boot serves with: made at `Start`, never changed but for the newest block, the newest evidence, and the claims.
//!
//! Every field is private. What a boot was made with is read through a getter; what changes, changes by one of the acts below, each a whole
//! step under its own lock. No lock leaves this file.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use candor_engine::Model;
use candor_link::BlockHead;
use candor_verify::bytes::Hash32;
use candor_verify::manifest::Manifest;
use candor_verify::offer::HONOURED_SECONDS;
use candor_verify::payment::{MAX_SKEW_SECONDS, MAX_TIMEOUT_SECONDS, SETTLE_MARGIN_SECONDS};
use candor_verify::terms::{OperatorTerms, Price, SignedTerms, ways};
use candor_verify::time::{UnixMs, UnixSeconds};
use candor_x402::claims::{Balance, BalanceQuestion, ClaimError, ClaimLimits, Ending};
use candor_x402::{Claim, ClaimSet, Execution, VerifiedPayment};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::caps::Caps;
use crate::control::HostPort;
use crate::guard::Guard;
use crate::kept::Answers;
use crate::keys::{BootKeys, TlsIdentity};
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::prices::{InForce, Prices, Taken};
use crate::queue::{Pays, Place, Queue};
use crate::refusal::Refusal;
use crate::settle::{Elsewhere, Standing, Transfer, Transfers, Wait};
use crate::shares::{ShareLimits, Shares};
use crate::source::Source;
use crate::speed::Speed;
use crate::{Config, clock};

/// Payments remembered at once: at one per millisecond for as long as a payment may stay open.
const CLAIMS_MAX: usize = 1 << 19;

/// Attestations for challenges at once: each costs the device a signature and the asker nothing.
const ATTESTING_MAX: usize = 2;

/// Long requests read at once: whoever sends them has not paid, and takes no core from those who have.
const READING_MAX: usize = 2;

/// What a boot hands over when it begins to serve.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) port: HostPort,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) keys: BootKeys,
    pub(crate) tls: TlsIdentity,
    pub(crate) manifest: Manifest,
    pub(crate) terms: SignedTerms,
    pub(crate) models: HashMap<Hash32, Arc<Model>>,
    pub(crate) head: BlockHead,
    pub(crate) evidence: Vec<u8>,
}

/// Before the terms' end, in milliseconds, every answer is over: its receipt is signed and stored then, and none may be after that end.
const END_MARGIN_MS: u64 = 1000 * SETTLE_MARGIN_SECONDS;

/// A model that is served: its name, where its answers come from and how fast, and its price, the first one that the terms list for it.
pub(crate) struct Served {
    pub(crate) id: String,
    pub(crate) digest: Hash32,
    pub(crate) source: Source,
    pub(crate) speed: Speed,
    /// `None` where it is not for sale, and answers for nothing.
    pub(crate) price: Option<Price>,
}

/// Why no new work is taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ended {
    /// The operator ended the key.
    Key,
    /// Another boot of this node sells now.
    HandedOver,
    /// The terms end before an answer that begins now would have to.
    Terms,
}

/// One serving boot.
pub(crate) struct Serving {
    config: Config,
    port: HostPort,
    keys: Arc<BootKeys>,
    tls: TlsIdentity,
    manifest: Manifest,
    // Of the manifest: each quote names it.
    manifest_hash: Hash32,
    terms: SignedTerms,
    served: HashMap<String, Arc<Served>>,
    guard: Option<Arc<Guard>>,
    booted_at: UnixMs,
    // When it took over from a boot that lived beside it.
    took_over: RwLock<Option<UnixSeconds>>,
    // Held by each answer until it is over; counted.
    running: Arc<()>,
    ledger: Ledger,
    transfers: Transfers,
    metrics: Metrics,
    answers: Answers,
    // Guards: the price lists; held for one synchronous step.
    prices: RwLock<Prices>,
    caps: Caps,
    queue: Queue,
    shares: Shares,
    attesting: Arc<Semaphore>,
    reading: Arc<Semaphore>,
    // Guards: claims, and whether one may still be made that names no offer of this boot; held for one synchronous step, never across an await.
    claims: Mutex<Claims>,
    // Guards: the newest head and evidence; replaced whole.
    head: RwLock<BlockHead>,
    evidence: RwLock<Arc<[u8]>>,
    // The registry says that this boot's key was ended. Never taken back: an operator that ends a key boots another.
    has_ended: AtomicBool,
}

/// The payments of this boot.
struct Claims {
    set: ClaimSet,
    // Another boot of this node sells now. Never taken back.
    is_handed_over: bool,
}

impl Serving {
    /// An error names what keeps a boot from serving with these parts.
    pub(crate) fn start(parts: Parts) -> Result<Arc<Self>, String> {
        let guard = guard(&parts.terms.terms, &parts.models, parts.config.speed)?;
        let keys = Arc::new(parts.keys);
        let ledger = Ledger::start(&parts.runtime, parts.port.clone(), Arc::clone(&keys), &parts.manifest, &parts.config);
        let limits = ClaimLimits {
            max_claims: CLAIMS_MAX,
            max_open_per_payer: u32::try_from(parts.config.max_unsettled_per_payer).unwrap_or(u32::MAX),
        };
        let shares = ShareLimits {
            all: parts.config.max_free,
            per_key: parts.config.max_free_per_key,
            per_address: parts.config.max_free_per_address,
        };
        let booted_at = clock::now();
        Ok(Arc::new(Self {
            guard,
            served: served(&parts.terms.terms, &parts.models, parts.config.speed),
            caps: Caps::new(parts.terms.terms.guard.clone()),
            queue: queue(&parts.terms.terms, parts.config.max_running),
            shares: Shares::new(shares),
            attesting: Arc::new(Semaphore::new(ATTESTING_MAX)),
            reading: Arc::new(Semaphore::new(READING_MAX)),
            transfers: Transfers::new(parts.port.clone()),
            port: parts.port,
            keys,
            tls: parts.tls,
            manifest_hash: parts.manifest.hash(),
            manifest: parts.manifest,
            booted_at,
            took_over: RwLock::default(),
            running: Arc::default(),
            ledger,
            metrics: Metrics::new(clock::now()),
            claims: Mutex::new(Claims { set: ClaimSet::new(limits), is_handed_over: false }),
            answers: Answers::default(),
            prices: RwLock::default(),
            head: RwLock::new(parts.head),
            evidence: RwLock::new(parts.evidence.into()),
            has_ended: AtomicBool::new(false),
            terms: parts.terms,
            config: parts.config,
        }))
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn port(&self) -> &HostPort {
        &self.port
    }

    pub(crate) fn keys(&self) -> &BootKeys {
        &self.keys
    }

    pub(crate) fn tls(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(&self.tls.config)
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(crate) fn manifest_hash(&self) -> Hash32 {
        self.manifest_hash
    }

    pub(crate) fn terms(&self) -> &OperatorTerms {
        &self.terms.terms
    }

    pub(crate) fn signed_terms(&self) -> &SignedTerms {
        &self.terms
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(crate) fn answers(&self) -> &Answers {
        &self.answers
    }

    pub(crate) fn booted_at(&self) -> UnixSeconds {
        self.booted_at.seconds()
    }

    pub(crate) fn model(&self, id: &str) -> Option<&Arc<Served>> {
        self.served.get(id)
    }

    /// Who judges requests first, if anybody does.
    pub(crate) fn guard(&self) -> Option<&Arc<Guard>> {
        self.guard.as_ref()
    }

    /// Models for sale, in the terms' order.
    pub(crate) fn models(&self) -> impl Iterator<Item = &Arc<Served>> {
        self.terms.terms.models.iter().filter_map(|listed| self.served.get(&listed.id))
    }

    /// Waits for one of the places at which answers are made. `None` would mean that no more are given out.
    pub(crate) async fn place(&self, pays: Pays) -> Option<Place> {
        self.queue.place(pays).await
    }

    /// What one payer may have.
    pub(crate) fn caps(&self) -> &Caps {
        &self.caps
    }

    /// How much is let in that nobody pays for.
    pub(crate) fn shares(&self) -> &Shares {
        &self.shares
    }

    /// When every answer is over, because the terms are: a receipt after their end would be refused.
    pub(crate) fn ends_at(&self) -> UnixMs {
        self.terms().not_after.saturating_sub(END_MARGIN_MS)
    }

    /// Waits for the attestation device.
    pub(crate) async fn device(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.attesting).acquire_owned().await.ok()
    }

    /// Waits for one of the places at which long requests are read.
    pub(crate) async fn reader(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.reading).acquire_owned().await.ok()
    }

    /// Whether a payment could be claimed now. Takes nothing, so a client that leaves afterwards undoes nothing.
    pub(crate) fn check_claim(&self, payment: &VerifiedPayment) -> Result<(), ClaimError> {
        self.claims().set.check(payment, clock::now().seconds())
    }

    /// Takes no new work from now on.
    pub(crate) fn stop_selling(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
    }

    /// Another boot of this node sells from now on. From when this returns, nothing is claimed that the other could claim too. True if no answer
    /// is being made.
    pub(crate) fn hand_over(&self) -> bool {
        self.claims().is_handed_over = true;
        Arc::strong_count(&self.running) == 1
    }

    /// Another boot of this node sold until now, and claimed until now what names no boot.
    pub(crate) fn take_over(&self) {
        let now = clock::now().seconds();
        let mut took_over = self.took_over.write().unwrap_or_else(PoisonError::into_inner);
        *took_over = Some(took_over.map_or(now, |before| now.max(before)));
    }

    fn took_over(&self) -> Option<UnixSeconds> {
        *self.took_over.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// From when on no earlier boot can have claimed what names no boot: when this one began, or took over.
    pub(crate) fn epoch(&self) -> UnixSeconds {
        self.took_over().map_or(self.booted_at(), |at| at.max(self.booted_at()))
    }

    /// Whether the boot from which this one took over may still be at work.
    pub(crate) fn may_live_beside(&self) -> bool {
        let until = |at: UnixSeconds| at.saturating_add(HONOURED_SECONDS + MAX_TIMEOUT_SECONDS + MAX_SKEW_SECONDS);
        self.took_over().is_some_and(|at| clock::now().seconds() < until(at))
    }

    /// What became of a payment at the boot beside this one; `None` if nothing, as far as the host says.
    pub(crate) async fn elsewhere(&self, payment_id: Hash32) -> Option<Elsewhere> {
        self.transfers.elsewhere(payment_id).await
    }

    /// To be held by an answer until it is over.
    pub(crate) fn running(&self) -> Arc<()> {
        Arc::clone(&self.running)
    }

    /// Whether new work is taken: not after the key was ended, not where the longest answer would be cut by the end of the terms, and after
    /// another boot took over only what was promised: a payment that names an offer of this boot, which no other boot takes.
    pub(crate) fn takes_work(&self, is_promised: bool) -> Result<(), Ended> {
        if self.has_ended.load(Ordering::Relaxed) {
            return Err(Ended::Key);
        }
        if !is_promised && self.claims().is_handed_over {
            return Err(Ended::HandedOver);
        }
        let longest = clock::now().saturating_add(self.config.generation_cap_s.saturating_mul(1000));
        if self.ends_at() < longest { Err(Ended::Terms) } else { Ok(()) }
    }

    /// Whether this boot has not taken the payment before.
    pub(crate) fn check_taken(&self, payment_id: &Hash32) -> Result<(), ClaimError> {
        self.claims().set.check_taken(payment_id)
    }

    /// Before the chain is asked for the payer's balance.
    pub(crate) fn ask_balance(&self, payment: &VerifiedPayment) -> Result<BalanceQuestion, ClaimError> {
        self.claims().set.ask_balance(payment, clock::now().seconds())
    }

    /// Takes a payment for one execution, and its amount from what its payer can still spend.
    pub(crate) fn claim(&self, payment: &VerifiedPayment, balance: Balance, now: UnixSeconds) -> Result<Claim, Refusal> {
        let mut claims = self.claims();
        // Again, and under the lock of the claims: whoever is told that this boot has handed over relies on it from that moment on.
        if claims.is_handed_over && !payment.names_boot() {
            return Err(Ended::HandedOver.into());
        }
        Ok(claims.set.claim(payment, balance, now)?)
    }

    /// Gives a claim back before anything ran.
    pub(crate) fn release(&self, claim: Claim) {
        self.claims().set.release(claim);
    }

    /// The right to run once for a claimed payment.
    pub(crate) fn execute(&self, claim: Claim) -> Execution {
        self.claims().set.start(claim)
    }

    /// Ends an execution.
    pub(crate) fn finish(&self, execution: Execution, ending: Ending) {
        self.claims().set.finish(execution, ending);
    }

    /// Waits for the transfer of an answer and says where it stands. One that is seen frees the payer's credit.
    pub(crate) async fn settle(&self, transfer: &Transfer, wait: Wait) -> Standing {
        let standing = self.transfers.standing(transfer, wait).await;
        if let Standing::Settled { .. } = standing {
            self.claims().set.settled(&transfer.payment_id);
        }
        standing
    }

    /// Frees the payer's credit once the transfer is seen. Whatever else the host says, anyone can still submit the payment until it is over.
    pub(crate) async fn watch(&self, payment_id: Hash32, valid_before: UnixSeconds) {
        // Then the claim is forgotten, and its credit with it.
        let until = valid_before.saturating_add(MAX_SKEW_SECONDS);
        if self.transfers.seen(payment_id, until).await {
            self.claims().set.settled(&payment_id);
        }
    }

    fn claims(&self) -> MutexGuard<'_, Claims> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Trust: the newest block as the host says it. A lie makes evidence stale or a receipt's block unknown, which clients notice.
    pub(crate) fn head(&self) -> BlockHead {
        *self.head.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_head(&self, head: BlockHead) {
        if head.chain_id == self.manifest.anchor_chain_id {
            *self.head.write().unwrap_or_else(PoisonError::into_inner) = head;
        }
    }

    /// Takes a price list, or says by which rule not.
    pub(crate) fn take_prices(&self, bytes: &[u8]) -> Result<(), String> {
        self.prices.write().unwrap_or_else(PoisonError::into_inner).take(bytes, self.terms(), clock::now())
    }

    /// What a model costs now, for a payment that echoes an offer by this list; `None` if it is not for sale.
    pub(crate) fn price(&self, served: &Served, echoed: Option<Hash32>) -> Option<InForce> {
        let ceiling = served.price.as_ref()?;
        Some(self.prices.read().unwrap_or_else(PoisonError::into_inner).price_for(ceiling, echoed, clock::now()))
    }

    /// The price list in force, or the one of this name if it was not replaced long ago.
    pub(crate) fn price_list(&self, named: Option<&Hash32>) -> Option<Arc<Taken>> {
        let (prices, now) = (self.prices.read().unwrap_or_else(PoisonError::into_inner), clock::now());
        named.map_or_else(|| prices.at(now), |digest| prices.named(digest, now))
    }

    pub(crate) fn evidence(&self) -> Arc<[u8]> {
        Arc::clone(&self.evidence.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_evidence(&self, evidence: Vec<u8>) {
        *self.evidence.write().unwrap_or_else(PoisonError::into_inner) = evidence.into();
    }
}

/// Places for answers. Where answers are sold, half of them, and one where there is but one, may be had by who does not pay.
fn queue(terms: &OperatorTerms, places: usize) -> Queue {
    let sells = terms.access.has(ways::PAID) && terms.prices.iter().any(|price| !price.ceiling.is_free());
    Queue::new(places, if sells { places.div_ceil(2) } else { places })
}

/// The model that the terms name as the guard of the others.
fn guard(terms: &OperatorTerms, models: &HashMap<Hash32, Arc<Model>>, speed: Option<Speed>) -> Result<Option<Arc<Guard>>, String> {
    let id = &terms.guard.model;
    if id.is_empty() {
        return Ok(None);
    }
    let listed = terms.models.iter().find(|listed| listed.id == *id);
    let model = listed.and_then(|listed| models.get(&listed.digest)).ok_or_else(|| format!("the guard {id:?} is not here"))?;
    let guard = Guard::new(Arc::clone(model), speed).map_err(|what| format!("the terms name {id:?} as their guard: {what}"))?;
    Ok(Some(Arc::new(guard)))
}

/// The models that the terms list and that are here, if anybody gets their answers: who pays, by their price, or whoever the terms let in.
fn served(terms: &OperatorTerms, models: &HashMap<Hash32, Arc<Model>>, speed: Option<Speed>) -> HashMap<String, Arc<Served>> {
    let served = terms.answering_models().filter_map(|listed| {
        let price = terms.prices.iter().find(|price| price.model == listed.digest).filter(|_| terms.access.has(ways::PAID)).cloned();
        if price.is_none() && !terms.access.has(ways::KEYS | ways::OPEN) {
            return None;
        }
        let source = Source::Local(Arc::clone(models.get(&listed.digest)?));
        let speed = speed.unwrap_or_else(|| source.speed());
        Some((listed.id.clone(), Arc::new(Served { id: listed.id.clone(), digest: listed.digest, source, speed, price })))
    });
    served.collect()
}
