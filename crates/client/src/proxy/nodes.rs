//! The nodes that a proxy may ask: every one that the policy accepts and that was verified live, a few at most, with what is known of each.
//!
//! They are looked for in the registry (or are those that were named), verified anew in the background well before their evidence is old, and
//! looked for at once when none of them answers. A node that failed is remembered with the reason, and asked after the others for a while.
//! Not here: in which order they are asked (`rank`), and asking (`buy`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use candor_report::LiveNode;
use candor_verify::bytes::{Address, Amount};
use candor_verify::terms::{Classes, Model, SignedPriceList};
use candor_verify::time::UnixMs;
use tokio::task::JoinSet;

use super::ProxyConfig;
use super::rank::{Known, Price, rank};
use super::record::short;
use super::wishes::Wishes;
use crate::clock;
use crate::error::ClientError;
use crate::prices::{is_in_force, list_of, price_now};
use crate::resolve::{Before, Place, VerifiedNode, random32, resolve_each, verify_live};

/// Nodes that are kept: each is verified again and again, and a registry may hold any number.
const NODES_MAX: usize = 8;

/// A node is asked until its evidence is so old, well before the policy's age limit.
const EVIDENCE_AGE_MS: u64 = 30 * 60 * 1000;

/// In the background evidence is asked for again after this long.
const RENEW_AGE_MS: u64 = 20 * 60 * 1000;

/// Between two looks in the background: for new nodes, new prices, evidence that grows old, and payments of which the chain can tell by now.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// So long a node that failed is asked after the others, and one that could not be verified is not tried again in the background.
const FAILING_MS: u64 = 60 * 1000;

/// Longest wait for the price list in force: the ceiling of the terms stands in for it.
const PRICE_LIST_WAIT: Duration = Duration::from_secs(5);

/// Failures that are remembered: a registry may hold any number of dead boots.
const FAILED_MAX: usize = 256;

/// The nodes.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    // Guards the list; held for one step, never across an await.
    kept: Mutex<Vec<Arc<Kept>>>,
    // Keys that could not be verified, when and why; likewise.
    failed: Mutex<BTreeMap<Address, (UnixMs, String)>>,
    // Held while nodes are looked for, so that it happens once; since when the last look counts.
    looking: tokio::sync::Mutex<Option<Instant>>,
}

/// One node, verified.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) node: VerifiedNode,
    verified_at: UnixMs,
    // Guards what changes; held for one step.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    price_list: Option<SignedPriceList>,
    latency_ms: Option<u64>,
    failing: Option<(UnixMs, String)>,
    answers: u64,
}

/// How a look for nodes begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Look {
    /// The first node will do: somebody waits.
    ForOne,
    /// For all, as nobody waits.
    ForAll,
}

impl Nodes {
    /// Looks for nodes, and for what they sell at. Whoever waited while another looked takes what that one found.
    pub(super) async fn look(&self, config: &ProxyConfig, look: Look) -> Result<(), ClientError> {
        let asked_at = Instant::now();
        let mut looked = self.looking.lock().await;
        if look == Look::ForOne && looked.is_some_and(|at| asked_at <= at) && !self.fresh().is_empty() {
            return Ok(());
        }
        let began = Instant::now();
        // Perhaps another boot is registered by now, and payments to the last one can be told from the chain.
        config.book.settle_up(config.chain.client()).await;
        let result = if config.nodes.is_empty() { self.look_up(config, look).await } else { self.look_at(config).await };
        if result.is_ok() {
            *looked = Some(began);
        }
        drop(looked);
        let mut reads = JoinSet::new();
        for kept in self.fresh() {
            reads.spawn(async move { kept.read_prices().await });
        }
        while reads.join_next().await.is_some() {}
        result
    }

    /// Those of the registry.
    async fn look_up(&self, config: &ProxyConfig, look: Look) -> Result<(), ClientError> {
        let place =
            Place { chain: config.chain.client(), registry: &config.registry, policy: &config.policy.policy, listed: &config.policy.find };
        let before = |k_sig: &Address| match (self.is_good(k_sig), look) {
            // Somebody waits because those that were found do not answer.
            (true, Look::ForAll) => Before::Found,
            (false, Look::ForAll) => self.why_failed(k_sig).map_or(Before::Unknown, Before::Failed),
            (_, Look::ForOne) => Before::Unknown,
        };
        let most = if look == Look::ForOne { 1 } else { NODES_MAX };
        resolve_each(&place, most, &before, &mut |k_sig, found| match found {
            Ok(node) => self.put(node),
            Err(why) => {
                // It was verified once, and cannot be talked to now.
                lock(&self.kept).retain(|kept| kept.k_sig() != k_sig);
                self.remember(k_sig, why);
            }
        })
        .await
    }

    /// Those that were named.
    async fn look_at(&self, config: &ProxyConfig) -> Result<(), ClientError> {
        let mut last = None;
        for endpoint in &config.nodes {
            if self.fresh().iter().any(|kept| kept.authority() == endpoint.authority() && kept.is_good()) {
                continue;
            }
            match verify_live(config.chain.client(), &config.policy.policy, endpoint.clone(), None).await {
                Ok(node) => self.put(node),
                Err(error) => {
                    lock(&self.kept).retain(|kept| kept.authority() != endpoint.authority());
                    last = Some(error);
                }
            }
        }
        match last {
            Some(error) if self.fresh().is_empty() => Err(error),
            _ => Ok(()),
        }
    }

    /// Looks now and then, for ever.
    pub(super) async fn watch(&self, config: &ProxyConfig) {
        loop {
            // What cannot be found now is found later, or by whoever needs it.
            drop(self.look(config, Look::ForAll).await);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Those that may be asked for this, in their order, by what is wished.
    pub(super) fn ranked(&self, wishes: &Wishes, config: &ProxyConfig) -> Vec<Arc<Kept>> {
        // A node that may not be paid sees no prompt either. The policy pays the attested payee alone.
        let may_be_paid = |kept: &Kept| wishes.payees.is_empty() || wishes.payees.contains(&kept.node.enclave.manifest().payee);
        let is_wished = |kept: &Arc<Kept>| {
            may_be_paid(kept)
                && is_one_of(kept, wishes.only.as_deref())
                && (wishes.max_price.is_none() || kept.price(wishes, config).is_some())
        };
        let fresh: Vec<Arc<Kept>> = self.fresh().into_iter().filter(is_wished).collect();
        let sells = |kept: &&Arc<Kept>| wishes.model.as_deref().is_none_or(|name| kept.model(name).is_some());
        // If nobody sells the model, somebody has to say so.
        let fresh = if fresh.iter().any(|kept| sells(&kept)) { fresh.into_iter().filter(|kept| sells(&kept)).collect() } else { fresh };
        let known: Vec<Known> = fresh.iter().map(|kept| kept.known(wishes, config)).collect();
        // Without randomness the first of equals is first.
        let random = || random32().map_or(0, |bytes| u64::from_be_bytes(std::array::from_fn(|at| bytes.0[at])));
        let ranked: Vec<Arc<Kept>> = rank(&known, random).into_iter().filter_map(|at| fresh.get(at).cloned()).collect();
        let place = |kept: &Arc<Kept>| wishes.order.iter().position(|name| kept.is_called(name)).unwrap_or(usize::MAX);
        let mut ordered = ranked;
        ordered.sort_by_key(place);
        if !wishes.allow_fallbacks {
            let named = ordered.iter().filter(|kept| place(kept) != usize::MAX).count();
            ordered.truncate(if wishes.order.is_empty() { 1 } else { named });
        }
        ordered
    }

    /// Those whose evidence is not too old.
    pub(super) fn fresh(&self) -> Vec<Arc<Kept>> {
        let now = clock::now();
        lock(&self.kept).iter().filter(|kept| now.since(kept.verified_at) < EVIDENCE_AGE_MS).cloned().collect()
    }

    /// One that is not asked any more: another boot answers in its place.
    pub(super) fn drop_node(&self, gone: &Kept) {
        lock(&self.kept).retain(|kept| kept.k_sig() != gone.k_sig());
    }

    /// None is asked any more before it is verified anew.
    pub(super) fn drop_all(&self) {
        lock(&self.kept).clear();
    }

    /// What is known of each, for people.
    pub(super) fn shown(&self) -> Vec<LiveNode> {
        self.fresh().iter().map(|kept| kept.shown()).collect()
    }

    /// A node that was just verified, in the place of an earlier boot there. The oldest goes when there are too many.
    fn put(&self, node: VerifiedNode) {
        let (authority, k_sig) = (node.endpoint.authority(), node.enclave.manifest().k_sig);
        let mut kept = lock(&self.kept);
        let before = kept.iter().find(|kept| kept.k_sig() == k_sig).map(|kept| kept.lock().latency_ms);
        let state = State { latency_ms: before.flatten(), ..State::default() };
        kept.retain(|kept| kept.authority() != authority && kept.k_sig() != k_sig);
        kept.push(Arc::new(Kept { node, verified_at: clock::now(), state: Mutex::new(state) }));
        if NODES_MAX < kept.len() {
            kept.remove(0);
        }
        drop(kept);
        lock(&self.failed).remove(&k_sig);
    }

    fn remember(&self, k_sig: Address, why: String) {
        let mut failed = lock(&self.failed);
        failed.retain(|_, (at, _)| clock::now().since(*at) < FAILING_MS);
        if failed.len() < FAILED_MAX {
            failed.insert(k_sig, (clock::now(), why));
        }
    }

    fn why_failed(&self, k_sig: &Address) -> Option<String> {
        let failed = lock(&self.failed);
        failed.get(k_sig).filter(|(at, _)| clock::now().since(*at) < FAILING_MS).map(|(_, why)| why.clone())
    }

    fn is_good(&self, k_sig: &Address) -> bool {
        lock(&self.kept).iter().any(|kept| kept.k_sig() == *k_sig && kept.is_good())
    }
}

impl Kept {
    pub(super) fn authority(&self) -> String {
        self.node.endpoint.authority()
    }

    fn k_sig(&self) -> Address {
        self.node.enclave.manifest().k_sig
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Whether nothing speaks for verifying it again.
    fn is_good(&self) -> bool {
        clock::now().since(self.verified_at) < RENEW_AGE_MS && self.failing().is_none()
    }

    /// It failed, for this reason.
    pub(super) fn fails(&self, why: &str) {
        self.lock().failing = Some((clock::now(), short(why)));
    }

    /// It named a price after so long.
    pub(super) fn measured(&self, took_ms: u64) {
        let mut state = self.lock();
        // The newest counts a quarter: one slow answer is not a slow node.
        let average = |before: u64| before.saturating_mul(3).saturating_add(took_ms) / 4;
        state.latency_ms = Some(state.latency_ms.map_or(took_ms, average));
    }

    pub(super) fn answered(&self) {
        let mut state = self.lock();
        (state.failing, state.answers) = (None, state.answers.saturating_add(1));
    }

    /// Why it is asked after the others, if it is.
    fn failing(&self) -> Option<String> {
        let state = self.lock();
        state.failing.as_ref().filter(|(at, _)| clock::now().since(*at) < FAILING_MS).map(|(_, why)| why.clone())
    }

    /// Whether it is meant by an operator's address, its host and port, or its URL.
    fn is_called(&self, name: &str) -> bool {
        let name = name.trim_end_matches('/');
        let authority = self.authority();
        name.strip_prefix("https://").unwrap_or(name).eq_ignore_ascii_case(&authority)
            || name.eq_ignore_ascii_case(&self.node.enclave.manifest().operator.to_string())
    }

    pub(super) fn model(&self, name: &str) -> Option<&Model> {
        self.node.enclave.terms().answering_models().find(|model| model.id == name)
    }

    fn known(&self, wishes: &Wishes, config: &ProxyConfig) -> Known {
        let (price, failing) = (self.price(wishes, config), self.failing());
        let latency_ms = self.lock().latency_ms;
        Known { price, latency_ms, is_failing: failing.is_some() }
    }

    /// What it asks for a request of this size, in the first asset of the policy that it takes.
    fn price(&self, wishes: &Wishes, config: &ProxyConfig) -> Option<Price> {
        let terms = self.node.enclave.terms();
        let model = wishes.model.as_deref().map_or_else(|| terms.answering_models().next(), |name| self.model(name))?;
        if config.key.is_some() || terms.is_given_away(&model.digest) {
            return Some(Price { asset: 0, amount: Amount::ZERO });
        }
        let mut assets = config.policy.spend.assets.iter().enumerate();
        assets.find_map(|(asset, limit)| {
            let classes = self.classes(model, limit.network.0, &limit.asset)?;
            let known = terms.asset(limit.network.0, &limit.asset)?;
            if !config.agrees(known) || !wishes.max_price.allows(&classes, known) {
                return None;
            }
            let amount = classes.amount(wishes.size.prompt_tokens, wishes.size.completion_tokens)?;
            Some(Price { asset, amount })
        })
    }

    /// What a model costs now: by the list in force, or the ceiling.
    pub(super) fn classes(&self, model: &Model, chain_id: u64, asset: &Address) -> Option<Classes> {
        let price = self.node.enclave.terms().price(&model.digest, chain_id, asset)?;
        let state = self.lock();
        let list = state.price_list.as_ref().filter(|signed| is_in_force(&signed.list, clock::now()));
        Some(*price_now(price, list))
    }

    /// Reads the list in force. Only the order of nodes follows from it: what is paid is what the offer says, which is held to its own list.
    async fn read_prices(&self) {
        let read = async {
            let mut node = self.node.another().await.ok()?;
            list_of(&mut node.http, self.node.enclave.terms()).await.ok()
        };
        if let Ok(Some(list)) = tokio::time::timeout(PRICE_LIST_WAIT, read).await {
            self.lock().price_list = list;
        }
    }

    fn shown(&self) -> LiveNode {
        let terms = self.node.enclave.terms();
        let mut prices = Vec::new();
        for price in &terms.prices {
            if let (Some(model), Some(asset)) = (terms.model(&price.model), terms.asset(price.chain_id, &price.asset))
                && let Some(classes) = self.classes(model, price.chain_id, &price.asset)
            {
                prices.push((short(&model.id), classes, asset.clone()));
            }
        }
        let state = self.lock();
        let (latency_ms, answers) = (state.latency_ms, state.answers);
        drop(state);
        LiveNode {
            authority: self.authority(),
            operator: terms.operator,
            is_simulated: self.node.enclave.is_simulated(),
            verified_at: self.verified_at,
            prices,
            latency_ms,
            answers,
            failing: self.failing(),
        }
    }
}

fn is_one_of(kept: &Kept, names: Option<&[String]>) -> bool {
    names.is_none_or(|names| names.iter().any(|name| kept.is_called(name)))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
