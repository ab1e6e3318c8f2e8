//! The node's registrar: signs each boot's registration with a key of its own, gets attestors to sign for its evidence, and pays.
//!
//! Where verdicts come from is one of two: an attestor inside this process, for the development chain, or members of the quorum over HTTP.
//! Either way the registrar judges its own evidence first, by the node's own policy: attestors agree with what it found, or do not count.

use std::sync::Arc;

use candor_attestor::{Attestor, AttestorUrl, NotAttested, Quorum, collect, document_time, is_takeable, judge};
use candor_chain::{ChainClient, KeyStatus, Signer, Submission, Verdict, renew_calldata};
use candor_host::{Registering, Registrar, RegistrarError, Renewed, Renewing};
use candor_link::Ready;
use candor_verify::check::{CLOCK_SKEW_SECONDS, MAX_EVIDENCE_AGE_SECONDS};
use candor_verify::evidence::Evidence;
use candor_verify::policy::Policy;
use candor_verify::registration::{REGISTRATION_SECONDS, Registration};
use candor_verify::time::UnixSeconds;
use serde_json::json;

use crate::deployment::Deployed;
use crate::dev::{self, Development, Role};
use crate::node::REGISTERED;
use crate::output::{Failure, say};

/// Who judges for the contract.
pub(crate) enum Attestors {
    /// One member in this process; the development chain's.
    Here(Box<Attestor>),
    /// Members over HTTP.
    At(Vec<AttestorUrl>),
}

impl Attestors {
    /// Those of a deployment. Without URLs the development chain's own quorum has its one member here; any other is asked over HTTP.
    pub(crate) fn of(urls: Vec<AttestorUrl>, deployed: &Deployed, policy: &Policy, chain: &ChainClient) -> Result<Self, Failure> {
        let quorum = deployed.quorum();
        if let Some(development) = Self::development(&urls, deployed) {
            let attestor = Attestor::new(development.signer(Role::Attestor), policy.clone(), quorum, chain.clone());
            return Ok(Self::Here(Box::new(attestor)));
        }
        let enough = u64::try_from(urls.len()).is_ok_and(|count| quorum.threshold <= count);
        if enough { Ok(Self::At(urls)) } else { Err(Self::too_few(&quorum, urls.len())) }
    }

    fn development(urls: &[AttestorUrl], deployed: &Deployed) -> Option<Development> {
        let development = Development::of(deployed.addresses.chain_id)?;
        let is_its_own = development.deployed().addresses.quorum_verifier == deployed.addresses.quorum_verifier;
        (is_its_own && urls.is_empty()).then_some(development)
    }

    fn too_few(quorum: &Quorum, got: usize) -> Failure {
        Failure::cannot(format!(
            "attestor: expected --attestor URL for at least {} members of the quorum on chain {}, got {got}; start one with: candor attestor \
             --key FILE --policy FILE --deployment FILE --rpc URL",
            quorum.threshold, quorum.chain_id
        ))
    }

    /// For people.
    fn describe(&self, quorum: &Quorum) -> String {
        match self {
            Self::Here(_) => "the development attestor".to_owned(),
            Self::At(_) => format!("{} of {} attestors", quorum.threshold, quorum.members.len()),
        }
    }
}

/// Registers each boot of a node, and renews it.
pub(crate) struct NodeRegistrar {
    pub(crate) chain: ChainClient,
    pub(crate) key: Signer,
    pub(crate) policy: Policy,
    pub(crate) quorum: Quorum,
    pub(crate) attestors: Attestors,
    /// One transaction of the key at a time: boots that run and those that have gone are shown to the registry by tasks of their own, and two
    /// with one nonce would replace each other.
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
}

impl Registrar for NodeRegistrar {
    fn submit<'a>(&'a self, ready: &'a Ready) -> Registering<'a> {
        Box::pin(async move { self.register_or_renew(ready).await })
    }

    fn renew<'a>(&'a self, evidence: &'a [u8]) -> Renewing<'a> {
        Box::pin(async move {
            let evidence = Evidence::parse(evidence).map_err(|error| for_good(&error))?;
            let manifest = &evidence.manifest;
            let status = self.chain.key_status(&manifest.registry, &manifest.k_sig).await.map_err(|error| for_now(&error))?;
            match status {
                Some(status) => self.raise(&evidence, &status).await,
                None => Ok(Renewed::Stands),
            }
        })
    }
}

impl NodeRegistrar {
    async fn register_or_renew(&self, ready: &Ready) -> Result<(), RegistrarError> {
        let evidence = Evidence::parse(&ready.evidence).map_err(|error| for_good(&error))?;
        let manifest = &evidence.manifest;
        match self.chain.key_status(&manifest.registry, &manifest.k_sig).await.map_err(|error| for_now(&error))? {
            Some(status) => self.raise(&evidence, &status).await.map(drop),
            None => self.register(ready, &evidence).await,
        }
    }

    /// Attestors' verdict, registrar's signature, one transaction.
    async fn register(&self, ready: &Ready, evidence: &Evidence) -> Result<(), RegistrarError> {
        // A week is for renewals. A boot that nobody heard of for hours is not registered any more: it may be gone.
        let (made, now) = (document_time(evidence).map_err(|error| for_good(&error))?, dev::now().seconds());
        if made.saturating_add(MAX_EVIDENCE_AGE_SECONDS).saturating_add(CLOCK_SKEW_SECONDS) < now {
            return Err(for_now(&format!("no boot is registered by a document of {made}, more than 2 hours old")));
        }
        let (verdict, verifier_data) = self.verdict(evidence, now).await?;
        let (manifest, verifier) = (&evidence.manifest, self.quorum.verifier);
        let predecessor = match manifest.predecessor_log.is_zero() {
            true => None,
            false => {
                let found = self.chain.predecessor(&manifest.registry, &manifest.predecessor_log, manifest.predecessor_size).await;
                found.map_err(|error| for_now(&error))?
            }
        };
        // By the chain's clock, which judges it.
        let head = self.chain.head().await.map_err(|error| for_now(&error))?;
        let deadline = head.timestamp.saturating_add(REGISTRATION_SECONDS);
        let registration = Registration::new(manifest, &evidence.terms, verifier, self.quorum.workload_id(&verdict), deadline);
        let submission = Submission {
            verifier,
            document: evidence.document().to_vec(),
            verifier_data,
            manifest: manifest.clone(),
            freshness: evidence.freshness,
            terms: evidence.terms.clone(),
            boot_signature: ready.boot_signature,
            deadline,
            registrar_signature: self.key.sign_digest(&registration.digest()).map_err(|error| for_now(&error))?,
            predecessor,
        };
        let calldata = submission.calldata().map_err(|error| for_good(&error))?;
        let turn = self.turn.lock().await;
        let sent = self.chain.send_and_wait(&self.key, Some(&manifest.registry), &calldata).await.map_err(|error| for_now(&error))?;
        drop(turn);
        if !sent.is_success {
            return Err(for_now(&"the registry refused the registration"));
        }
        let (k_sig, log_id) = (manifest.k_sig.to_string(), manifest.log_id().to_string());
        let by = self.attestors.describe(&self.quorum);
        say!("{REGISTERED}{}", json!({"k_sig": k_sig, "log_id": log_id, "gas": sent.gas_used, "attested_by": by}));
        Ok(())
    }

    /// Renews, if the document is newer than what the registry was shown, and not too old.
    async fn raise(&self, evidence: &Evidence, status: &KeyStatus) -> Result<Renewed, RegistrarError> {
        let manifest = &evidence.manifest;
        let registered = self.chain.registered(&manifest.registry, &manifest.k_sig, status).await.map_err(|error| for_now(&error))?;
        // A host that was started again hears of a boot that it registered in its former life: what raises nothing is not sent.
        let (made, now) = (document_time(evidence).map_err(|error| for_good(&error))?, dev::now().seconds());
        // What the contract would make of it: an end that the operator declared is not moved.
        let record = registered.record;
        let ends = [Some(record.terms_until), status.invalid_from, status.revoked_at.map(|at| at.saturating_add(CLOCK_SKEW_SECONDS))];
        let until = ends.into_iter().flatten().fold(made.saturating_add(MAX_EVIDENCE_AGE_SECONDS), UnixSeconds::min);
        if until <= status.valid_until || !is_takeable(made, now) {
            return Ok(Renewed::Stands);
        }
        let (_, data) = self.verdict(evidence, now).await?;
        let calldata = renew_calldata(&record, evidence.document(), &data, &evidence.freshness);
        let _turn = self.turn.lock().await;
        self.chain.send_and_wait(&self.key, Some(&manifest.registry), &calldata).await.map_err(|error| for_now(&error))?;
        Ok(Renewed::Sent)
    }

    /// What the registrar finds, and what its contract takes for it.
    async fn verdict(&self, evidence: &Evidence, now: UnixSeconds) -> Result<(Verdict, Vec<u8>), RegistrarError> {
        let found = *judge(evidence, &self.policy, &self.quorum, now).map_err(|refusal| of_refusal(&refusal))?.verdict();
        match &self.attestors {
            Attestors::Here(attestor) => {
                let attested = attestor.attest(evidence, now).await.map_err(|refusal| of_refusal(&refusal))?;
                Ok((found, attested.verdict.verifier_data(&[attested.signature])))
            }
            Attestors::At(urls) => {
                let collected = collect(urls, &self.quorum, &evidence.encode(), &found).await;
                // Members' clocks and deployments change, and the last document of a boot that has gone is worth asking again for.
                let collected = collected.map_err(|error| for_now(&error))?;
                Ok((found, collected.verifier_data))
            }
        }
    }
}

fn of_refusal(refusal: &NotAttested) -> RegistrarError {
    // Whatever it is, the next evidence is another.
    RegistrarError { is_temporary: true, message: format!("the evidence was refused: {refusal}") }
}

fn for_now(error: &dyn std::fmt::Display) -> RegistrarError {
    RegistrarError { is_temporary: true, message: error.to_string() }
}

fn for_good(error: &dyn std::fmt::Display) -> RegistrarError {
    RegistrarError { is_temporary: false, message: error.to_string() }
}
