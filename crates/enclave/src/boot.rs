//! From operator terms to a serving node: the phases of one boot (ADR 0002).
//!
//! ```text
//! AwaitingTerms ──Boot──▶ AwaitingModels ──ModelPart…, Start──▶ Ready
//! ```
//!
//! Nothing is read from disk or environment: terms and models come over the link and are judged here. Keys are made at `Start`, after
//! everything they will vouch for is known. A refusal changes nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use candor_engine::Model;
use candor_link::{
    BlockHead, BootRequest, EnclaveEvent, EnclaveReply, HostRequest, ModelPart, Phase, Predecessor, Ready, RefusalCode, Refused,
};
use candor_verify::eip712::{K256, signer};
use candor_verify::evidence::Evidence;
use candor_verify::manifest::{Freshness, Manifest, attested_bytes};
use candor_verify::scheme::{SETTLER_FACTORY, UPTO_PROXY};
use candor_verify::terms::{Chain, ModelSource, OperatorTerms, SignedTerms, storage};
use candor_verify::{Address, Hash32};

use crate::attester::Attester;
use crate::control::{Commands, HostPort};
use crate::keys::{BootKeys, TlsIdentity};
use crate::serving::{Parts, Serving};
use crate::{Config, clock};

/// Largest model that is taken, in bytes: what a node of this kind can hold twice in memory while it is loaded.
const MODEL_MAX: u64 = 4 << 30;

/// One boot: its phase, and what it needs to go on.
pub(crate) struct Boot {
    config: Config,
    attester: Arc<dyn Attester>,
    port: HostPort,
    runtime: tokio::runtime::Handle,
    build_id: Hash32,
    // Guards the phase; held while a model is loaded, because nothing else may happen in a boot meanwhile. Never taken on an async worker.
    phase: Mutex<State>,
    // Set once, when terms were taken: what a new control connection is told without taking the phase.
    has_terms: AtomicBool,
    // Set once, on Ready; read by the connection handlers without taking the phase.
    serving: tokio::sync::watch::Sender<Option<Arc<Serving>>>,
}

enum State {
    AwaitingTerms,
    AwaitingModels(Box<Loading>),
    Ready(Arc<Serving>),
}

struct Loading {
    terms: SignedTerms,
    head: BlockHead,
    predecessor: Option<Predecessor>,
    partial: HashMap<Hash32, Vec<u8>>,
    models: HashMap<Hash32, Arc<Model>>,
}

impl Boot {
    pub(crate) fn new(config: Config, attester: Arc<dyn Attester>, port: HostPort, runtime: tokio::runtime::Handle) -> Self {
        let build_id = candor_verify::hash::sha256(&[b"candor-enclave ", env!("CARGO_PKG_VERSION").as_bytes()]);
        let serving = tokio::sync::watch::Sender::new(None);
        let (phase, has_terms) = (Mutex::new(State::AwaitingTerms), AtomicBool::new(false));
        Self { config, attester, port, runtime, build_id, phase, has_terms, serving }
    }

    /// What this boot serves with, once it serves.
    pub(crate) fn serving(&self) -> Option<Arc<Serving>> {
        self.serving.borrow().clone()
    }

    /// Changes once, when this boot serves.
    pub(crate) fn serves(&self) -> tokio::sync::watch::Receiver<Option<Arc<Serving>>> {
        self.serving.subscribe()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn terms(&self, state: &mut State, request: BootRequest) -> Result<EnclaveReply, Refused> {
        if !matches!(state, State::AwaitingTerms) {
            return Err(Refused::new(RefusalCode::WrongPhase, "this boot has terms; restart the enclave for others"));
        }
        let refuse = |reason: String| Refused::new(RefusalCode::TermsRefused, reason);
        let signed = SignedTerms::parse(&request.signed_terms).map_err(|error| refuse(error.to_string()))?;
        let terms = &signed.terms;
        if signer(&K256, &terms.digest(), &signed.signature) != Some(terms.operator) {
            return Err(refuse(format!("the terms are not signed by their operator {}", terms.operator)));
        }
        terms.check_consistent().map_err(refuse)?;
        let now_ms = clock::now();
        if terms.not_after <= now_ms {
            return Err(refuse(format!("the terms ended at {} ms, it is {now_ms} ms", terms.not_after)));
        }
        if let Some(what) = not_done_here(terms) {
            return Err(refuse(format!("the terms {what}")));
        }
        if request.head.chain_id != terms.anchor_chain_id {
            return Err(refuse(format!("the anchor chain is {}, the host's head is of {}", terms.anchor_chain_id, request.head.chain_id)));
        }
        let chains = terms.chains.iter().map(|chain| chain.chain_id).chain(terms.assets.iter().map(|asset| asset.chain_id));
        for chain_id in chains.chain([terms.anchor_chain_id]) {
            self.attester.check_chain(chain_id).map_err(|error| refuse(error.to_string()))?;
        }
        let (models, not_after_ms, digest) = (count_of(&terms.models), terms.not_after.0, terms.digest());
        *state = State::AwaitingModels(Box::new(Loading {
            head: request.head,
            predecessor: request.predecessor,
            terms: signed,
            partial: HashMap::new(),
            models: HashMap::new(),
        }));
        self.has_terms.store(true, Ordering::Release);
        self.port.events().note_with(EnclaveEvent::TermsTaken, &[models, not_after_ms], Some(digest));
        Ok(EnclaveReply::Done)
    }

    fn start(&self, state: &mut State) -> Result<EnclaveReply, Refused> {
        let State::AwaitingModels(loading) = state else {
            return Err(wrong_phase(state));
        };
        if let Some(missing) = loading.terms.terms.models.iter().find(|model| !loading.models.contains_key(&model.digest)) {
            return Err(Refused::new(RefusalCode::ModelRefused, format!("model {} ({}) has not arrived", missing.id, missing.digest)));
        }
        let internal = |reason: String| Refused::new(RefusalCode::Internal, reason);
        let keys = BootKeys::generate().map_err(internal)?;
        let tls =
            TlsIdentity::generate(&loading.terms.terms.endpoints).map_err(|reason| Refused::new(RefusalCode::TermsRefused, reason))?;
        let manifest = self.manifest(loading, &keys, &tls)?;
        let evidence = self.attest(&manifest, &loading.terms, &loading.head, Hash32::ZERO)?;
        let serving = Serving::start(Parts {
            config: self.config.clone(),
            port: self.port.clone(),
            runtime: self.runtime.clone(),
            keys,
            tls,
            manifest,
            terms: loading.terms.clone(),
            models: std::mem::take(&mut loading.models),
            head: loading.head,
            evidence,
        })
        .map_err(|reason| Refused::new(RefusalCode::ModelRefused, reason))?;
        *state = State::Ready(Arc::clone(&serving));
        self.serving.send_replace(Some(Arc::clone(&serving)));
        let models = count_of(&serving.terms().models);
        self.port.events().note_with(EnclaveEvent::Serving, &[models], Some(serving.manifest_hash()));
        Ok(EnclaveReply::Ready(Box::new(ready_of(&serving))))
    }

    fn manifest(&self, loading: &Loading, keys: &BootKeys, tls: &TlsIdentity) -> Result<Manifest, Refused> {
        let predecessor = loading.predecessor.as_ref();
        let booted_at = self.attester.now().map_err(|error| Refused::new(RefusalCode::AttestationFailed, error.to_string()))?.seconds();
        let boot = Manifest {
            k_sig: keys.k_sig(),
            k_log: keys.k_log(),
            // Zero: this node offers no sealed requests.
            k_hpke: Hash32::ZERO,
            tls_spki_hash: tls.spki_hash,
            predecessor_log: predecessor.map(|p| p.log_id).unwrap_or_default(),
            predecessor_size: predecessor.map(|p| p.tree.size).unwrap_or_default(),
            predecessor_root: predecessor.map(|p| p.tree.root).unwrap_or_default(),
            build_id: self.build_id,
            booted_at,
            ..Manifest::default()
        };
        Ok(boot.under(&loading.terms.terms))
    }

    /// Evidence for this manifest, dated by this block. Trust: a false block makes the evidence stale or unregistrable, nothing more.
    fn attest(&self, manifest: &Manifest, terms: &SignedTerms, head: &BlockHead, nonce: Hash32) -> Result<Vec<u8>, Refused> {
        let refuse = |reason: String| Refused::new(RefusalCode::AttestationFailed, reason);
        let freshness = Freshness { chain_id: head.chain_id, block_number: head.number, block_hash: head.hash, nonce };
        let attested = attested_bytes(&manifest.k_sig, &manifest.hash(), &freshness);
        let document = self.attester.attest(&attested).map_err(|error| refuse(error.to_string()))?;
        let evidence = Evidence::nitro(document, manifest.clone(), freshness, terms.clone());
        let bytes = evidence.encode();
        // Read back as every client and the registry will: nobody could believe an enclave whose evidence is longer than they take.
        match Evidence::parse(&bytes) {
            Ok(read) if read == evidence => Ok(bytes),
            Ok(_) => Err(refuse("the evidence reads back as another".into())),
            Err(error) => Err(refuse(format!("the evidence cannot be read back: {error}"))),
        }
    }

    /// New evidence under the same manifest; becomes the current one unless it answers a challenge.
    pub(crate) fn re_attest(&self, serving: &Serving, head: &BlockHead, nonce: Hash32) -> Result<Vec<u8>, Refused> {
        if head.chain_id != serving.manifest().anchor_chain_id {
            return Err(Refused::new(RefusalCode::Malformed, "the head is of another chain than the manifest's"));
        }
        let attested = self.attest(serving.manifest(), serving.signed_terms(), head, nonce);
        let evidence = attested.inspect_err(|_| self.port.events().note(EnclaveEvent::AttestationFailed))?;
        if nonce.is_zero() {
            serving.set_evidence(evidence.clone());
            self.port.events().note(EnclaveEvent::EvidenceRenewed);
        }
        Ok(evidence)
    }

    fn request(&self, request: HostRequest) -> Result<EnclaveReply, Refused> {
        let mut state = self.lock();
        match request {
            HostRequest::Boot(boot) => self.terms(&mut state, *boot),
            HostRequest::ModelPart(part) => match &mut *state {
                State::AwaitingModels(loading) => {
                    let (digest, had) = (part.digest, loading.models.len());
                    let (total, taken) = (part.total, loading.take_part(part));
                    if had < loading.models.len() {
                        self.port.events().note_with(EnclaveEvent::ModelTaken, &[total], Some(digest));
                    }
                    taken
                }
                other => Err(wrong_phase(other)),
            },
            HostRequest::Start => self.start(&mut state),
            HostRequest::Attest { nonce, head } => match &*state {
                State::Ready(serving) => self.re_attest(serving, &head, nonce).map(EnclaveReply::Evidence),
                other => Err(wrong_phase(other)),
            },
            HostRequest::Ping => Ok(EnclaveReply::Done),
            HostRequest::Metrics => match &*state {
                State::Ready(serving) => Ok(EnclaveReply::Metrics(Box::new(serving.metrics().published(clock::now())))),
                other => Err(wrong_phase(other)),
            },
            HostRequest::PutPriceList { signed } => match &*state {
                State::Ready(serving) => {
                    serving.take_prices(&signed).map_err(|rule| Refused::new(RefusalCode::PriceListRefused, rule))?;
                    Ok(EnclaveReply::Done)
                }
                other => Err(wrong_phase(other)),
            },
            HostRequest::DenyPayers { payers } => match &*state {
                State::Ready(serving) => {
                    serving.caps().deny(payers);
                    Ok(EnclaveReply::Done)
                }
                other => Err(wrong_phase(other)),
            },
            HostRequest::StopSelling => match &*state {
                State::Ready(serving) => {
                    serving.stop_selling();
                    self.port.events().note(EnclaveEvent::SellingStopped);
                    Ok(EnclaveReply::Done)
                }
                other => Err(wrong_phase(other)),
            },
            HostRequest::HandOver => match &*state {
                State::Ready(serving) => Ok(EnclaveReply::HandedOver { is_idle: serving.hand_over() }),
                other => Err(wrong_phase(other)),
            },
            HostRequest::TakeOver => match &*state {
                State::Ready(serving) => {
                    serving.take_over();
                    Ok(EnclaveReply::Done)
                }
                other => Err(wrong_phase(other)),
            },
        }
    }
}

/// What terms can allow and this build does not do. Named, not ignored: it would sell something that is not there, or give what the operator
/// thinks is guarded.
#[must_use]
pub fn not_done_here(terms: &OperatorTerms) -> Option<&'static str> {
    let rows = [
        (!terms.upstreams.is_empty(), "list upstreams, which this build does not serve"),
        (!terms.secrets.is_empty(), "list secrets, which this build does not take"),
        (!terms.sealed.is_empty(), "offer sealed requests, which this build does not open"),
        (!terms.egress.is_empty(), "allow connections to others, which this build does not make"),
        (!terms.guard.upstream.is_empty(), "name a guard upstream, which this build does not ask"),
        (terms.flags != 0, "allow upfront payments, which this build does not take"),
        (terms.storage & storage::CACHES_PROMPTS != 0, "let prompts be cached, which this build does not do"),
        (
            terms.models.iter().any(|model| model.source != ModelSource::Local),
            "list a model of an upstream, which this build does not serve",
        ),
        (terms.chains.iter().any(names_channels), "name contracts of channels, which this build does not use"),
        (
            terms.chains.iter().any(names_other_settlers),
            "name a factory of settlers or an upto proxy that is not the one clients know, or one without the other",
        ),
    ];
    rows.iter().find_map(|(is_so, what)| is_so.then_some(*what))
}

/// Whether clients would take a chain's entry for one on which channels can be opened.
fn names_channels(chain: &Chain) -> bool {
    let Chain { chain_id, registry, settler_factory, upto_proxy, .. } = *chain;
    *chain != Chain { chain_id, registry, settler_factory, upto_proxy, ..Chain::default() }
}

/// Metered payments take both, and clients pay through no others.
fn names_other_settlers(chain: &Chain) -> bool {
    ![(Address::ZERO, Address::ZERO), (SETTLER_FACTORY, UPTO_PROXY)].contains(&(chain.settler_factory, chain.upto_proxy))
}

fn count_of<T>(list: &[T]) -> u64 {
    u64::try_from(list.len()).unwrap_or(u64::MAX)
}

fn wrong_phase(state: &State) -> Refused {
    let now = match state {
        State::AwaitingTerms => "awaiting terms",
        State::AwaitingModels(_) => "awaiting models",
        State::Ready(_) => "ready",
    };
    Refused::new(RefusalCode::WrongPhase, format!("the enclave is {now}"))
}

fn ready_of(serving: &Serving) -> Ready {
    let manifest = serving.manifest().clone();
    Ready { boot_signature: serving.keys().sign_boot(&manifest), manifest, evidence: serving.evidence().to_vec() }
}

impl Loading {
    fn take_part(&mut self, part: ModelPart) -> Result<EnclaveReply, Refused> {
        let refuse = |reason: String| Refused::new(RefusalCode::ModelRefused, reason);
        let Some(listed) = self.terms.terms.model(&part.digest) else {
            return Err(refuse(format!("the terms list no model {}", part.digest)));
        };
        if self.models.contains_key(&part.digest) {
            return Ok(EnclaveReply::Done);
        }
        if MODEL_MAX < part.total {
            return Err(refuse(format!("a model of {} bytes; the limit is {MODEL_MAX}", part.total)));
        }
        let bytes = self.partial.entry(part.digest).or_default();
        if part.offset == 0 {
            bytes.clear();
        }
        let have = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if have != part.offset {
            return Err(refuse(format!("a part at {have} was expected, got one at {}", part.offset)));
        }
        bytes.extend_from_slice(&part.bytes);
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) < part.total {
            return Ok(EnclaveReply::Done);
        }
        let bytes = self.partial.remove(&part.digest).unwrap_or_default();
        // The digest is over the bytes that were copied into this memory, not over what the host said they were; nothing else is read of
        // bytes that nobody vouches for.
        let digest = Hash32(candor_engine::merkle_root(&bytes));
        if digest != part.digest {
            return Err(refuse(format!("expected model {}, got {digest}", part.digest)));
        }
        let model = Model::load(&bytes).map_err(|error| refuse(error.to_string()))?;
        // What the operator signed is what clients are told, and what prompts are counted against.
        let context = model.config().context;
        if context != listed.context_tokens {
            return Err(refuse(format!("the terms say {} tokens of context for {}, it has {context}", listed.context_tokens, listed.id)));
        }
        self.models.insert(part.digest, Arc::new(model));
        Ok(EnclaveReply::Done)
    }
}

impl Commands for Boot {
    fn phase(&self) -> Phase {
        match self.serving() {
            Some(serving) => Phase::Ready(Box::new(ready_of(&serving))),
            None if self.has_terms.load(Ordering::Acquire) => Phase::AwaitingModels,
            None => Phase::AwaitingTerms,
        }
    }

    fn handle(&self, request: HostRequest) -> EnclaveReply {
        self.request(request).unwrap_or_else(EnclaveReply::Refused)
    }

    fn head(&self, head: BlockHead) {
        if let Some(serving) = self.serving() {
            serving.set_head(head);
        }
    }
}

#[cfg(test)]
mod tests {
    use candor_engine::fixture;
    use candor_testkit::forge::{Key, OPERATOR};
    use candor_testkit::honest::{sign_terms, terms_of_length};
    use candor_verify::bytes::Address;
    use candor_verify::evidence::DOCUMENT_MAX;
    use candor_verify::terms::{Model, SIGNED_TERMS_MAX};
    use candor_verify::time::UnixMs;

    use super::*;
    use crate::attester::AttesterError;

    /// A device whose documents have so many bytes.
    struct NoTee(usize);

    impl Attester for NoTee {
        fn attest(&self, _: &[u8; 64]) -> Result<Vec<u8>, AttesterError> {
            Ok(vec![0; self.0])
        }

        fn now(&self) -> Result<UnixMs, AttesterError> {
            Ok(clock::now())
        }

        fn check_chain(&self, _: u64) -> Result<(), AttesterError> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn the_phase_is_told_while_a_model_is_loaded() {
        let boot = Arc::new(boot(0));
        // As a load holds it.
        let loading = boot.lock();
        let (asked, (sender, receiver)) = (Arc::clone(&boot), std::sync::mpsc::channel());
        std::thread::spawn(move || sender.send(asked.phase()));
        let phase = receiver.recv_timeout(std::time::Duration::from_secs(10));
        assert_eq!(phase, Ok(Phase::AwaitingTerms), "it does not wait for the load");
        drop(loading);
    }

    /// A boot whose device makes documents of so many bytes.
    fn boot(document: usize) -> Boot {
        Boot::new(Config::default(), Arc::new(NoTee(document)), HostPort::new(), tokio::runtime::Handle::current())
    }

    /// Terms that an enclave boots with, for the fixture, whose signed encoding has so many bytes.
    fn terms_of(len: usize) -> Vec<u8> {
        let digest = Hash32(candor_engine::merkle_root(&fixture::model()));
        let bytes = terms_of_length(Model::local("fixture", digest, 256), len).encode();
        assert_eq!(bytes.len(), len);
        bytes
    }

    fn offer(boot: &Boot, signed_terms: Vec<u8>) -> EnclaveReply {
        let head = BlockHead { chain_id: 1, ..BlockHead::default() };
        boot.handle(HostRequest::Boot(Box::new(BootRequest { signed_terms, head, predecessor: None })))
    }

    fn load(boot: &Boot) -> EnclaveReply {
        let bytes = fixture::model();
        let digest = Hash32(candor_engine::merkle_root(&bytes));
        boot.handle(HostRequest::ModelPart(ModelPart { digest, offset: 0, total: u64::try_from(bytes.len()).unwrap(), bytes }))
    }

    fn assert_refused(reply: EnclaveReply, code: RefusalCode, says: &str) {
        assert!(matches!(&reply, EnclaveReply::Refused(refused) if refused.code == code && refused.message.contains(says)), "{reply:?}");
    }

    #[tokio::test]
    async fn the_longest_terms_boot_with_the_longest_document_and_a_byte_more_is_refused_by_name_before_keys_exist() {
        let boot = boot(DOCUMENT_MAX);
        assert_refused(offer(&boot, terms_of(SIGNED_TERMS_MAX + 1)), RefusalCode::TermsRefused, "before byte 65536");
        assert_eq!(boot.phase(), Phase::AwaitingTerms);
        assert_eq!(offer(&boot, terms_of(SIGNED_TERMS_MAX)), EnclaveReply::Done);
        assert_eq!(load(&boot), EnclaveReply::Done);
        let EnclaveReply::Ready(ready) = boot.handle(HostRequest::Start) else { panic!("it boots") };
        assert_eq!(Evidence::parse(&ready.evidence).unwrap().terms.encode().len(), SIGNED_TERMS_MAX);
    }

    #[tokio::test]
    async fn contracts_that_this_build_does_not_use_are_refused_by_name() {
        let (channels, settlers) = ("contracts of channels", "is not the one clients know");
        type Change = (fn(&mut Chain), &'static str);
        let changes: [Change; 7] = [
            (|chain| chain.settler_factory = SETTLER_FACTORY, settlers),
            (|chain| (chain.settler_factory, chain.upto_proxy) = (Address([1; 20]), UPTO_PROXY), settlers),
            (|chain| chain.forwarder_factory = Address([1; 20]), channels),
            (|chain| chain.authorizer_factory = Address([1; 20]), channels),
            (|chain| chain.batch = Address([1; 20]), channels),
            (|chain| (chain.settler_factory, chain.upto_proxy) = (SETTLER_FACTORY, Address([1; 20])), settlers),
            (|chain| chain.channel_policy = Hash32([1; 32]), channels),
        ];
        for (change, what) in changes {
            let mut terms = SignedTerms::parse(&terms_of(SIGNED_TERMS_MAX)).unwrap().terms;
            change(terms.chains.last_mut().unwrap());
            let boot = boot(0);
            let reply = offer(&boot, sign_terms(terms, &Key::of(OPERATOR)).encode());
            assert_refused(reply, RefusalCode::TermsRefused, what);
            assert_eq!(boot.phase(), Phase::AwaitingTerms);
        }
    }

    #[tokio::test]
    async fn a_model_of_another_context_than_the_terms_say_is_refused() {
        let digest = Hash32(candor_engine::merkle_root(&fixture::model()));
        let boot = boot(0);
        let terms = terms_of_length(Model::local("fixture", digest, 512), SIGNED_TERMS_MAX);
        assert_eq!(offer(&boot, terms.encode()), EnclaveReply::Done);
        assert_refused(load(&boot), RefusalCode::ModelRefused, "512 tokens of context for fixture, it has 256");
        assert_refused(boot.handle(HostRequest::Start), RefusalCode::ModelRefused, "has not arrived");
    }

    #[tokio::test]
    async fn evidence_that_nobody_could_read_does_not_get_into_service() {
        let boot = boot(DOCUMENT_MAX + 1);
        assert_eq!(offer(&boot, terms_of(SIGNED_TERMS_MAX)), EnclaveReply::Done);
        assert_eq!(load(&boot), EnclaveReply::Done);
        assert_refused(boot.handle(HostRequest::Start), RefusalCode::AttestationFailed, "cannot be read back");
        assert!(boot.serving().is_none());
        assert_eq!(boot.phase(), Phase::AwaitingModels);
    }
}
