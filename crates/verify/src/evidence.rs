//! Evidence: everything needed to believe in one boot of one enclave, and the function that does.
//!
//! In: an attestation document, a manifest, the freshness preimage and the signed operator terms, none believed. Out:
//! [`VerifiedEnclave`], the only value from which a client may take keys, payee, models and prices. Spec: attestation.md, terms-and-manifest.md.
//!
//! Not proven: that the registry lists it (the client asks its own RPC), that the block in the freshness tag is real (likewise), or
//! that the TEE vendor is honest (see `verdict::Assurance`).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::VERSION;
use crate::attest::{self, TrustRoot, VerifiedDocument};
use crate::bytes::{Address, Hash32, to_hex};
use crate::cbor::{CborError, Reader, Writer};
use crate::eip712::{Recover, signer};
use crate::manifest::{Freshness, FurtherKey, Manifest, TeeKind, attested_bytes, keys_hash, workload_id};
use crate::policy::{Accept, Policy};
use crate::step::Step;
use crate::terms::{OperatorTerms, SIGNED_TERMS_MAX, SignedTerms};
use crate::time::UnixMs;
use crate::verdict::{Assurance, LogLevel, Outcome, Recorded, Recorder, Stop, Verdict};

/// Longest attestation document, in bytes (real ones are under 5 KiB).
pub const DOCUMENT_MAX: usize = 16_384;

/// Attestations in one evidence, at most.
pub const ATTESTATIONS_MAX: usize = 4;

/// Longest collateral of one attestation, in bytes: what its vendor publishes for its verification.
pub const COLLATERAL_MAX: usize = 131_072;

/// Further keys of one boot, at most.
pub const FURTHER_KEYS_MAX: usize = 8;

/// Longest further key, in bytes: the report of a GPU is the longest.
pub const FURTHER_KEY_MAX: usize = 16_384;

/// Longest evidence, in bytes: its parts, with room for the freshness preimage and the heads between them.
pub const EVIDENCE_MAX: usize =
    ATTESTATIONS_MAX * (DOCUMENT_MAX + COLLATERAL_MAX) + FURTHER_KEYS_MAX * FURTHER_KEY_MAX + Manifest::WORDS * 32 + SIGNED_TERMS_MAX + 512;

/// What one device says of this boot, and what is needed to check it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Attestation {
    /// Kind of device: 1 is AWS Nitro's format ([`TeeKind::code`]). Others are read, and refused by the step that would judge them.
    pub kind: u16,
    /// The document as the device wrote it.
    pub document: Vec<u8>,
    /// What its vendor publishes for its verification; empty for Nitro, whose documents carry their chain.
    pub collateral: Vec<u8>,
}

/// Evidence as it travels: in `GET /candor/evidence`, in the registry's event, in a bundle. Nothing is believed yet.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Evidence {
    /// What attests the boot. This version judges exactly one, in Nitro's format.
    pub attestations: Vec<Attestation>,
    /// Keys and promises of the boot.
    pub manifest: Manifest,
    /// Preimage of the freshness tag.
    pub freshness: Freshness,
    /// The terms it runs under.
    pub terms: SignedTerms,
    /// What the manifest's `keysHash` is of. This version judges none, and refuses evidence that has one.
    pub keys: Vec<FurtherKey>,
}

impl Evidence {
    /// Evidence by a document in Nitro's format, of a boot without further keys.
    #[must_use]
    pub fn nitro(document: Vec<u8>, manifest: Manifest, freshness: Freshness, terms: SignedTerms) -> Self {
        let attestation = Attestation { kind: TeeKind::Nitro.code(), document, collateral: Vec::new() };
        Self { attestations: alloc::vec![attestation], manifest, freshness, terms, keys: Vec::new() }
    }

    /// The first document, which binds the manifest; empty if there is none.
    #[must_use]
    pub fn document(&self) -> &[u8] {
        self.attestations.first().map(|attestation| attestation.document.as_slice()).unwrap_or_default()
    }

    /// The root that the document says it stands under, if it can be read at all. UNVERIFIED.
    pub(crate) fn claimed_root(&self) -> Option<TrustRoot> {
        attest::parse_document(self.document()).ok().map(|document| document.claimed_root())
    }

    /// The one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.array(6).u64(VERSION.into()).array(self.attestations.len());
        for attestation in &self.attestations {
            w.array(3).u64(attestation.kind.into()).bytes(&attestation.document).bytes(&attestation.collateral);
        }
        w.bytes(&self.manifest.encode());
        let f = &self.freshness;
        w.array(4).u64(f.chain_id).u64(f.block_number).bytes(&f.block_hash.0).bytes(&f.nonce.0);
        w.bytes(&self.terms.encode()).array(self.keys.len());
        for key in &self.keys {
            w.array(3).u64(key.purpose.into()).u64(key.algorithm.into()).bytes(&key.bytes);
        }
        w.into_vec()
    }

    /// Reads the one encoding. Believes nothing.
    ///
    /// # Errors
    /// Where and why the bytes are not evidence.
    pub fn parse(bytes: &[u8]) -> Result<Self, CborError> {
        let mut r = Reader::new(bytes);
        r.versioned_array_of(6, VERSION)?;
        let attestations = r.list(ATTESTATIONS_MAX, |r| {
            r.array_of(3)?;
            Ok(Attestation { kind: r.u16()?, document: r.bytes(DOCUMENT_MAX)?.to_vec(), collateral: r.bytes(COLLATERAL_MAX)?.to_vec() })
        })?;
        let manifest = r.words(Manifest::parse)?;
        r.array_of(4)?;
        let freshness = Freshness { chain_id: r.u64()?, block_number: r.u64()?, block_hash: r.hash()?, nonce: r.hash()? };
        let terms = SignedTerms::parse(r.bytes(SIGNED_TERMS_MAX)?)?;
        let keys = r.list(FURTHER_KEYS_MAX, |r| {
            r.array_of(3)?;
            Ok(FurtherKey { purpose: r.u16()?, algorithm: r.u16()?, bytes: r.bytes(FURTHER_KEY_MAX)?.to_vec() })
        })?;
        r.end()?;
        Ok(Self { attestations, manifest, freshness, terms, keys })
    }
}

/// At which moment evidence is judged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "live and historical are all there is")]
pub enum Moment {
    /// Now: the document must be recent, and answer the challenge if there was one.
    Live {
        /// Unix milliseconds by the caller's clock.
        now: UnixMs,
        /// The challenge, if the caller made one.
        nonce: Option<Hash32>,
    },
    /// In a bundle: the document is judged at its own time, which the receipt's time must fit.
    OwnTime,
}

/// An enclave that a policy accepts: its keys, its promises, and under which root.
///
/// Only [`verify_evidence`] and the check of a bundle make one:
///
/// ```compile_fail,E0451
/// fn forge(real: candor_verify::evidence::VerifiedEnclave) -> candor_verify::evidence::VerifiedEnclave {
///     candor_verify::evidence::VerifiedEnclave { hardware: true, ..real }
/// }
/// ```
///
/// ```compile_fail,E0277
/// fn make<T: Default>() -> T { T::default() }
/// let forged: candor_verify::evidence::VerifiedEnclave = make();
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub struct VerifiedEnclave {
    manifest: Manifest,
    terms: OperatorTerms,
    workload: Hash32,
    document_time: UnixMs,
    hardware: bool,
    freshness: Freshness,
}

impl VerifiedEnclave {
    /// Keys and promises of the boot.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The terms it runs under.
    #[must_use]
    pub fn terms(&self) -> &OperatorTerms {
        &self.terms
    }

    /// Its workload id.
    #[must_use]
    pub fn workload(&self) -> Hash32 {
        self.workload
    }

    /// Time of the attestation document, Unix milliseconds.
    #[must_use]
    pub fn document_time(&self) -> UnixMs {
        self.document_time
    }

    /// Whether the evidence is SIMULATED: its root is not a compiled-in hardware root.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        !self.hardware
    }

    /// Who could still forge what this enclave signs.
    #[must_use]
    pub fn assurance(&self) -> Assurance {
        if self.hardware { Assurance::NitroVendorAndCloudOperator } else { Assurance::Simulated }
    }

    /// The block that the evidence names, for a caller who can check it on chain.
    #[must_use]
    pub fn freshness(&self) -> &Freshness {
        &self.freshness
    }
}

/// Judges evidence. The verdict has one check per step, whether it passed or not; the enclave is there only if all passed.
pub fn verify_evidence(evidence: &Evidence, policy: &Policy, moment: Moment, recover: &dyn Recover) -> (Verdict, Option<VerifiedEnclave>) {
    let mut recorder = Recorder::new(Step::EVIDENCE);
    let result = check_evidence(&mut recorder, evidence, policy, moment, recover);
    let Recorded { checks, complete } = recorder.finish();
    let enclave = result.ok().filter(|_| complete);
    let verdict = Verdict {
        checks,
        outcome: if enclave.is_some() { Outcome::Verified } else { Outcome::Refused },
        grades: None,
        claimed_root: evidence.claimed_root(),
        anchored: None,
        log_level: LogLevel::None,
        assurance: enclave.as_ref().map_or(Assurance::None, VerifiedEnclave::assurance),
        not_proven: alloc::vec!["that the registry lists this enclave, and that the block it names exists: ask a chain".into()],
    };
    (verdict, enclave)
}

/// The steps themselves, in order; shared with bundles.
pub(crate) fn check_evidence(
    checks: &mut Recorder,
    evidence: &Evidence,
    policy: &Policy,
    moment: Moment,
    recover: &dyn Recover,
) -> Result<VerifiedEnclave, Stop> {
    let document = check_document(checks, evidence, policy, moment)?;
    let manifest = &evidence.manifest;
    let terms = &evidence.terms.terms;

    let expected = attested_bytes(&manifest.k_sig, &manifest.hash(), &evidence.freshness);
    checks.equal(Step::EvidenceBinding, to_hex(&expected), to_hex(document.user_data()))?;
    checks.equal(Step::EvidenceTerms, manifest.terms_hash, terms.digest())?;
    check_operator(checks, evidence, recover)?;
    check_manifest(checks, evidence, UnixMs(document.timestamp_ms()), policy.skew_ms)?;

    let workload = workload_id(TeeKind::Nitro, &Hash32(document.root_fingerprint()), document.measurements());
    let ok = policy.workloads.accepts(&workload);
    checks.require(Step::PolicyWorkload, ok, policy.workloads.to_string(), workload.to_string())?;
    let ok = policy.operators.accepts(&manifest.operator);
    checks.require(Step::PolicyOperator, ok, policy.operators.to_string(), manifest.operator.to_string())?;
    let registry = (manifest.anchor_chain_id, manifest.registry);
    let on = |(chain_id, address): &(u64, Address)| format!("{address} on {chain_id}");
    let expected = match &policy.registries {
        Accept::Any => Accept::Any,
        Accept::Only(listed) => Accept::Only(listed.iter().map(on).collect::<Vec<_>>()),
    };
    checks.require(Step::PolicyRegistry, policy.registries.accepts(&registry), expected.to_string(), on(&registry))?;

    Ok(VerifiedEnclave {
        manifest: manifest.clone(),
        terms: terms.clone(),
        workload,
        document_time: UnixMs(document.timestamp_ms()),
        hardware: document.is_hardware_root(),
        freshness: evidence.freshness,
    })
}

fn check_document(checks: &mut Recorder, evidence: &Evidence, policy: &Policy, moment: Moment) -> Result<VerifiedDocument, Stop> {
    let [Attestation { kind, document, collateral }] = evidence.attestations.as_slice() else {
        let got = format!("{} of them", evidence.attestations.len());
        return Err(checks.refuse(Step::AttestDocument, "attest.kind", "one attestation document", got));
    };
    if *kind != TeeKind::Nitro.code() || !collateral.is_empty() {
        let got = format!("kind {kind} with {} bytes of collateral", collateral.len());
        return Err(checks.refuse(Step::AttestDocument, "attest.kind", "a document of kind 1 (Nitro), which has no collateral", got));
    }
    let result = attest::parse_document(document).and_then(|document| match moment {
        Moment::Live { now, .. } => {
            let freshness = attest::Freshness::Live { max_age_ms: policy.max_age_ms, skew_ms: policy.skew_ms };
            // A clock behind the hypervisor's must not refuse a leaf certificate that is seconds old: within the skew, the document's own
            // time counts. Later than that, ours does, and the certificate is not valid yet.
            let claimed = UnixMs(document.claimed_timestamp_ms());
            let within_skew = now < claimed && claimed <= now.saturating_add(policy.skew_ms);
            attest::verify_document(&document, &policy.roots, if within_skew { claimed.0 } else { now.0 }, freshness)
        }
        Moment::OwnTime => {
            attest::verify_document(&document, &policy.roots, document.claimed_timestamp_ms(), attest::Freshness::Historical)
        }
    });
    let document = match result {
        Ok(document) => document,
        Err(error) => {
            let wanted = "a genuine document under a root that the policy names";
            return Err(checks.refuse(Step::AttestDocument, error.check(), wanted, error.to_string()));
        }
    };
    if let Moment::Live { nonce: Some(nonce), .. } = moment {
        // The challenge travels inside the freshness tag, not in the document's own nonce field (attestation.md §3).
        if nonce != evidence.freshness.nonce {
            return Err(checks.refuse(Step::AttestDocument, "attest.nonce", nonce.to_string(), evidence.freshness.nonce.to_string()));
        }
    }
    let kind = if document.is_hardware_root() { "hardware" } else { "SIMULATED" };
    let got = format!("{kind} root {}", to_hex(&document.root_fingerprint()));
    checks.require(Step::AttestDocument, true, "a root that the policy names", got)?;
    Ok(document)
}

fn check_operator(checks: &mut Recorder, evidence: &Evidence, recover: &dyn Recover) -> Result<(), Stop> {
    let terms = &evidence.terms;
    let recovered = signer(recover, &terms.terms.digest(), &terms.signature);
    checks.signed(Step::EvidenceOperator, terms.terms.operator, recovered)
}

/// The manifest must be what follows from the terms and the further keys, the terms must have been in force, and the boot older than its
/// document.
fn check_manifest(checks: &mut Recorder, evidence: &Evidence, document_time: UnixMs, skew_ms: u64) -> Result<(), Stop> {
    let (manifest, terms) = (&evidence.manifest, &evidence.terms.terms);
    let follows = Manifest { keys_hash: keys_hash(&evidence.keys), ..manifest.clone() }.under(terms);
    if *manifest != follows {
        let (expected, got) = first_difference(&follows, manifest);
        return checks.require(Step::EvidenceManifest, false, expected, got);
    }
    // They are attested, and what they say is judged by nothing here: bytes that nobody checks could say anything.
    if let Some(key) = evidence.keys.first() {
        let got = format!("{} of them, the first of purpose {} and algorithm {}", evidence.keys.len(), key.purpose, key.algorithm);
        return Err(checks.refuse(Step::EvidenceManifest, "evidence.keys", "no further keys, which this version does not judge", got));
    }
    if evidence.freshness.chain_id != manifest.anchor_chain_id {
        let on = |chain_id: u64| format!("freshness chain {chain_id}");
        return checks.require(Step::EvidenceManifest, false, on(manifest.anchor_chain_id), on(evidence.freshness.chain_id));
    }
    if let Err(reason) = terms.check_consistent() {
        return checks.require(Step::EvidenceManifest, false, "consistent terms", reason);
    }
    if terms.not_after < document_time {
        let expected = format!("terms in force at {document_time} ms");
        return checks.require(Step::EvidenceManifest, false, expected, format!("notAfter {} ms", terms.not_after));
    }
    if document_time.saturating_add(skew_ms) < manifest.booted_at.ms() {
        let expected = format!("a boot before its document of {document_time} ms");
        return checks.require(Step::EvidenceManifest, false, expected, format!("bootedAt {} s", manifest.booted_at));
    }
    checks.require(Step::EvidenceManifest, true, "equal fields", "equal fields")
}

/// The first field in which two manifests differ, with both its values. Only words for people: that they differ is known before.
fn first_difference(expected: &Manifest, got: &Manifest) -> (String, String) {
    let named = |manifest: &Manifest| {
        [
            format!("operator {}", manifest.operator),
            format!("payee {}", manifest.payee),
            format!("registry {}", manifest.registry),
            format!("anchor chain {}", manifest.anchor_chain_id),
            format!("contracts {}", manifest.contracts_hash),
            format!("models {}", manifest.model_set_root),
            format!("prices {}", manifest.price_table_hash),
            format!("further keys {}", manifest.keys_hash),
        ]
    };
    let whole = || (format!("manifest {}", expected.hash()), format!("manifest {}", got.hash()));
    named(expected).into_iter().zip(named(got)).find(|(expected, got)| expected != got).unwrap_or_else(whole)
}
