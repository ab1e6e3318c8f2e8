//! The development attestor: judges evidence with `candor-verify` and signs what it found, with a key of its own.
//!
//! It is the one member of the 1-of-1 quorum on a development chain. Being the quorum, it *could* forge: that is what the QUORUM kind
//! says of itself, and its members are in the workload id (ADR 0006). It signs nothing it did not verify.

use candor_chain::{ChainClient, Signer, Submission, Verdict};
use candor_verify::attest;
use candor_verify::bytes::{Hash32, Signature65};
use candor_verify::check::{CLOCK_SKEW_SECONDS, MAX_ANCHOR_DELAY_SECONDS, MAX_EVIDENCE_AGE_SECONDS};
use candor_verify::eip712::K256;
use candor_verify::evidence::{Evidence, Moment, verify_evidence};
use candor_verify::hash::keccak256;
use candor_verify::manifest::{TeeKind, attested_bytes};
use candor_verify::policy::Policy;
use candor_verify::registration::{REGISTRATION_SECONDS, Registration};

use candor_verify::time::{UnixMs, UnixSeconds};

use crate::dev::{self, Role};
use crate::output::Failure;

/// Judges evidence by this policy and signs a verdict over it for the chain's quorum verifier. Returns the data for the verifier, and what
/// it will say that the evidence is.
pub(crate) fn attest(evidence: &Evidence, policy: &Policy, chain_id: u64, key: &Signer) -> Result<(Vec<u8>, Hash32), Failure> {
    // At its own time: whoever kept a document may show it, for as long as the registry takes one.
    let (verdict, enclave) = verify_evidence(evidence, policy, Moment::OwnTime, &K256);
    let Some(enclave) = enclave else {
        let refused = verdict.refused().map_or("evidence", |check| check.id);
        return Err(Failure::cannot(format!("the attestor refused the evidence: {refused}")));
    };
    let document = attest::parse_document(evidence.document()).map_err(|error| Failure::cannot(error.to_string()))?;
    let at = document.claimed_timestamp_ms();
    check_age(UnixMs(at).seconds(), dev::now().seconds())?;
    let verified = attest::verify_document(&document, &policy.roots, at, attest::Freshness::Historical)
        .map_err(|error| Failure::cannot(error.to_string()))?;
    let manifest = enclave.manifest();
    let attested = attested_bytes(&manifest.k_sig, &manifest.hash(), &evidence.freshness);
    let verdict = Verdict {
        evidence_hash: keccak256(&[evidence.document()]),
        inner_kind: TeeKind::Nitro.code().into(),
        inner_root: Hash32(verified.root_fingerprint()),
        inner_measurements: keccak256(&[verified.measurements()]),
        attested_hash: keccak256(&[&attested]),
        document_time: at / 1000,
    };
    let quorum = dev::deployment(chain_id).quorum_verifier;
    let signature = key.sign_digest(&verdict.digest(chain_id, &quorum))?;
    Ok((verdict.verifier_data(&[signature]), verdict.workload_id(1, &[key.address()])))
}

/// A document of the future, or of which no registry takes a renewal any more, gets no verdict.
fn check_age(made: UnixSeconds, now: UnixSeconds) -> Result<(), Failure> {
    if now.saturating_add(CLOCK_SKEW_SECONDS) < made {
        return Err(Failure::cannot(format!("the attestor refused the evidence: it is of {made}, and now is {now}")));
    }
    match is_takeable(made, now) {
        true => Ok(()),
        false => Err(Failure::cannot(format!("the attestor refused the evidence: it is of {made}, more than 7 days old"))),
    }
}

/// Whether a registry still takes a document of this time. Spec: bundle.md §6.
pub(crate) fn is_takeable(made: UnixSeconds, now: UnixSeconds) -> bool {
    now <= made.saturating_add(MAX_ANCHOR_DELAY_SECONDS)
}

/// When a document was made, by its own signed time.
pub(crate) fn document_time(evidence: &Evidence) -> Result<UnixSeconds, Failure> {
    let document = attest::parse_document(evidence.document()).map_err(|error| Failure::cannot(error.to_string()))?;
    Ok(UnixSeconds(document.claimed_timestamp_ms() / 1000))
}

/// Registers a boot: attestor's verdict, registrar's signature, one transaction. Returns its gas.
pub(crate) async fn register(
    chain: &ChainClient,
    evidence: &Evidence,
    boot_signature: Signature65,
    policy: &Policy,
    payer: &Signer,
) -> Result<u64, Failure> {
    let chain_id = chain.chain_id();
    // A week is for renewals. A boot that nobody heard of for hours is not registered any more: it may be gone.
    let (made, now) = (document_time(evidence)?, dev::now().seconds());
    if made.saturating_add(MAX_EVIDENCE_AGE_SECONDS).saturating_add(CLOCK_SKEW_SECONDS) < now {
        return Err(Failure::cannot(format!("the attestor registers no boot by a document of {made}, more than 2 hours old")));
    }
    let (verifier_data, workload) = attest(evidence, policy, chain_id, &Role::Attestor.signer())?;
    let manifest = &evidence.manifest;
    let verifier = dev::deployment(chain_id).quorum_verifier;
    let predecessor = match manifest.predecessor_log.is_zero() {
        true => None,
        false => chain.predecessor(&manifest.registry, &manifest.predecessor_log, manifest.predecessor_size).await?,
    };
    // By the chain's clock, which judges it.
    let deadline = chain.head().await?.timestamp.saturating_add(REGISTRATION_SECONDS);
    let registration = Registration::new(manifest, &evidence.terms, verifier, workload, deadline);
    let submission = Submission {
        verifier,
        document: evidence.document().to_vec(),
        verifier_data,
        manifest: manifest.clone(),
        freshness: evidence.freshness,
        terms: evidence.terms.clone(),
        boot_signature,
        deadline,
        registrar_signature: Role::Registrar.signer().sign_digest(&registration.digest())?,
        predecessor,
    };
    let receipt = chain.send_and_wait(payer, Some(&manifest.registry), &submission.calldata()?).await?;
    if !receipt.is_success {
        return Err(Failure::cannot("the registry refused the registration"));
    }
    Ok(receipt.gas_used)
}
