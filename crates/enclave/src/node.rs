//! Everything one boot serves with: made at `Start`, never changed but for the newest block, the newest evidence, and the claims.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use candor_engine::Model;
use candor_link::BlockHead;
use candor_verify::bytes::Hash32;
use candor_verify::manifest::Manifest;
use candor_verify::terms::{OperatorTerms, Price, SignedTerms};
use candor_x402::ClaimSet;
use candor_x402::claims::ClaimLimits;
use tokio::sync::Semaphore;

use crate::control::HostPort;
use crate::kept::KeptAnswers;
use crate::keys::{BootKeys, TlsIdentity};
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::{Config, clock, settle};

/// Payments remembered at once: at one per millisecond for as long as a payment may stay open.
const CLAIMS_MAX: usize = 1 << 19;

/// Attestations for challenges at once.
const ATTESTING_MAX: usize = 2;

/// What a boot hands to its node.
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

/// A model with its name and its price: the first price of it that the terms list.
pub(crate) struct Served {
    pub(crate) id: String,
    pub(crate) digest: Hash32,
    pub(crate) model: Arc<Model>,
    pub(crate) price: Price,
}

/// One serving boot.
pub(crate) struct Node {
    config: Config,
    port: HostPort,
    keys: Arc<BootKeys>,
    tls: TlsIdentity,
    manifest: Manifest,
    terms: SignedTerms,
    models: HashMap<String, Arc<Served>>,
    boot_ms: u64,
    ledger: Ledger,
    pub(crate) running: Arc<Semaphore>,
    /// Questions about settlements at once.
    pub(crate) asking: Semaphore,
    /// Attestations for challenges at once: each costs the device a signature and the asker nothing.
    pub(crate) attesting: Arc<Semaphore>,
    pub(crate) metrics: Arc<Metrics>,
    // Guards: claims; held for one synchronous step, never across an await.
    claims: Mutex<ClaimSet>,
    pub(crate) kept: KeptAnswers,
    // Guards: the newest head and evidence; replaced whole.
    head: RwLock<BlockHead>,
    evidence: RwLock<Arc<[u8]>>,
}

impl Node {
    pub(crate) fn start(parts: Parts) -> Arc<Self> {
        let keys = Arc::new(parts.keys);
        let metrics = Arc::new(Metrics::new(clock::now_ms()));
        let ledger = Ledger::start(&parts.runtime, parts.port.clone(), Arc::clone(&keys), &parts.manifest, &parts.config);
        let terms = &parts.terms.terms;
        let models = terms.models.iter().filter_map(|listed| {
            // A model without a price is not for sale.
            let price = terms.prices.iter().find(|price| price.model == listed.digest)?.clone();
            let model = Arc::clone(parts.models.get(&listed.digest)?);
            Some((listed.id.clone(), Arc::new(Served { id: listed.id.clone(), digest: listed.digest, model, price })))
        });
        let limits = ClaimLimits {
            max_claims: CLAIMS_MAX,
            max_open_per_payer: u32::try_from(parts.config.max_unsettled_per_payer).unwrap_or(u32::MAX),
        };
        Arc::new(Self {
            models: models.collect(),
            running: Arc::new(Semaphore::new(parts.config.max_running)),
            asking: Semaphore::new(settle::ASKED_MAX),
            attesting: Arc::new(Semaphore::new(ATTESTING_MAX)),
            port: parts.port,
            keys,
            tls: parts.tls,
            manifest: parts.manifest,
            boot_ms: clock::now_ms(),
            ledger,
            metrics,
            claims: Mutex::new(ClaimSet::new(limits)),
            kept: KeptAnswers::default(),
            head: RwLock::new(parts.head),
            evidence: RwLock::new(parts.evidence.into()),
            terms: parts.terms,
            config: parts.config,
        })
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

    pub(crate) fn terms(&self) -> &OperatorTerms {
        &self.terms.terms
    }

    pub(crate) fn signed_terms(&self) -> &SignedTerms {
        &self.terms
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(crate) fn boot_seconds(&self) -> u64 {
        self.boot_ms / 1000
    }

    pub(crate) fn model(&self, id: &str) -> Option<&Arc<Served>> {
        self.models.get(id)
    }

    /// Models for sale, in the terms' order.
    pub(crate) fn models(&self) -> impl Iterator<Item = &Arc<Served>> {
        self.terms.terms.models.iter().filter_map(|listed| self.models.get(&listed.id))
    }

    pub(crate) fn claims(&self) -> MutexGuard<'_, ClaimSet> {
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

    pub(crate) fn evidence(&self) -> Arc<[u8]> {
        Arc::clone(&self.evidence.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_evidence(&self, evidence: Vec<u8>) {
        *self.evidence.write().unwrap_or_else(PoisonError::into_inner) = evidence.into();
    }
}
