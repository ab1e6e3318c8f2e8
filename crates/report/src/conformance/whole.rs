//! Cases that are judged by a whole verdict: bundles, proofs, the evidence in a bundle at a moment, and attestation documents.
//!
//! Policy and chain facts have every field of spec/policy.md §1 and vectors/README.md, and no other: a typing error must not turn *none*
//! into *any*.

use candor_verify::attest::{Freshness, TrustRoot, parse_document, verify_document};
use candor_verify::bundle::Bundle;
use candor_verify::bytes::from_hex;
use candor_verify::cbor::CborError;
use candor_verify::check::{ChainFacts, TransferFact, verify_bundle, verify_without_texts};
use candor_verify::eip712::K256;
use candor_verify::evidence::{Evidence, Moment, verify_evidence};
use candor_verify::policy::{Accept, KnownTree, Policy, RegistryRecord, Workloads};
use candor_verify::proof::Proof;
use candor_verify::time::{UnixMs, UnixSeconds};
use candor_verify::tlog::Tree;
use candor_verify::verdict::{LogLevel, Outcome, Verdict};
use serde_json::Value;

use super::case::{Case, PARSE, UnfitCase, as_address, as_bytes, as_hash, as_number};
use super::{CaseEnd, Ruling, Surroundings};
use crate::verdict::grades_json;

type WholeJudge = fn(&Case<'_>, Surroundings<'_>) -> Result<Ruling, UnfitCase>;

/// The judge of a kind that has a file of its own beside each case.
pub(super) fn judge_of(kind: &str) -> Option<WholeJudge> {
    match kind {
        "bundle" => Some(bundle),
        "live" => Some(live),
        "proof" => Some(proof),
        "attestation" => Some(attestation),
        _ => None,
    }
}

fn bundle(case: &Case<'_>, around: Surroundings<'_>) -> Result<Ruling, UnfitCase> {
    let verdict = judged_bundle(case, around)?.map(|judged| judged.verdict);
    Ok(graded(verdict.map_err(|error| error.to_string())))
}

/// The ruling on a bundle or a proof, which tells its level and its grades; or on bytes that are neither.
fn graded(verdict: Result<Verdict, String>) -> Ruling {
    let (ruling, level, grades) = match verdict {
        Err(error) => (unreadable(&error), LogLevel::None, Value::Null),
        Ok(verdict) => (ruling(&verdict), verdict.log_level(), grades_json(&verdict)),
    };
    Ruling { log_level: Some(level.as_str()), grades: Some(grades), ..ruling }
}

/// A bundle of a case with the verdict on it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JudgedBundle {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What they hold.
    pub bundle: Bundle,
    /// By the case's policy and chain facts.
    pub verdict: Verdict,
    /// The level of the log that this policy requires.
    pub required: LogLevel,
    /// The chain that the case has facts of, if it has any.
    pub asked_chain: Option<u64>,
}

pub(super) fn judged_bundle(case: &Case<'_>, around: Surroundings<'_>) -> Result<Result<JudgedBundle, CborError>, UnfitCase> {
    let (policy, facts) = (policy(case.get("policy")?)?, Facts::read(case.get("chain_facts")?)?);
    let bytes = bytes(case, "bundle", around)?;
    Ok(Bundle::parse(&bytes).map(|bundle| {
        let (verdict, _) = verify_bundle(&bundle, &policy, facts.as_chain_facts(), &K256);
        let asked_chain = facts.is_any().then_some(bundle.evidence.manifest.anchor_chain_id);
        JudgedBundle { bytes, bundle, verdict, required: policy.require_level, asked_chain }
    }))
}

/// A proof with the evidence that lies beside it, if any does; by the caller's copy, or alone.
fn proof(case: &Case<'_>, around: Surroundings<'_>) -> Result<Ruling, UnfitCase> {
    let (policy, facts) = (policy(case.get("policy")?)?, Facts::read(case.get("chain_facts")?)?);
    let bytes = bytes(case, "proof", around)?;
    let beside = if case.get("evidence")?.is_null() { None } else { Some(case.bytes("evidence")?) };
    let copy = match case.get("copy")? {
        Value::Null => None,
        copy => {
            let copy = members(copy, "a copy", &["body", "frames"])?;
            Some((copy.bytes("body")?, copy.list("frames", as_bytes)?))
        }
    };
    let proof = match read_proof(&bytes, beside.as_deref()) {
        Err(error) => return Ok(graded(Err(error))),
        Ok(proof) => proof,
    };
    let is_alone = copy.is_none();
    let (body, frames) = copy.unwrap_or_default();
    // Evidence that nobody brings is an input that is missing, and no fault of the proof.
    let bundle = proof.with_copy(body, frames).map_err(|error| UnfitCase::new(error.to_string()))?;
    let facts = facts.as_chain_facts();
    Ok(graded(Ok(match is_alone {
        true => verify_without_texts(&bundle, &policy, facts, &K256),
        false => verify_bundle(&bundle, &policy, facts, &K256).0,
    })))
}

fn read_proof(bytes: &[u8], beside: Option<&[u8]>) -> Result<Proof, String> {
    let proof = Proof::parse(bytes).map_err(|error| error.to_string())?;
    let Some(beside) = beside else { return Ok(proof) };
    let evidence = Evidence::parse(beside).map_err(|error| error.to_string())?;
    proof.holding(evidence).map_err(|error| error.to_string())
}

fn live(case: &Case<'_>, around: Surroundings<'_>) -> Result<Ruling, UnfitCase> {
    let policy = policy(case.get("policy")?)?;
    let nonce = if case.get("nonce")?.is_null() { None } else { Some(case.hash("nonce")?) };
    let moment = Moment::Live { now: UnixMs(case.number("now_ms")?), nonce };
    Ok(match Bundle::parse(&bytes(case, "bundle", around)?) {
        Err(error) => unreadable(&error.to_string()),
        Ok(bundle) => ruling(&verify_evidence(&bundle.evidence, &policy, moment, &K256).0),
    })
}

fn attestation(case: &Case<'_>, around: Surroundings<'_>) -> Result<Ruling, UnfitCase> {
    let mut document = bytes(case, "attestation", around)?;
    // Offsets are into the file as it is, so the last edit goes first.
    for edit in case.list("edits", Some)?.into_iter().rev() {
        let edit = Case::of(edit, "an edit")?;
        let (at, remove, insert) = (edit.small::<usize>("at")?, edit.small::<usize>("remove")?, bare_hex(edit.get("insert")?)?);
        let end = at.checked_add(remove).filter(|end| *end <= document.len());
        let end = end.ok_or_else(|| UnfitCase::new(format!("an edit at {at} goes beyond the {} bytes of the file", document.len())))?;
        drop(document.splice(at..end, insert));
    }
    let root = |root| bare_hex(root).ok()?.try_into().ok().map(|fingerprint| TrustRoot { fingerprint });
    let (roots, at_ms) = (case.list("roots", root)?, case.number("at_ms")?);
    let freshness = match case.text("mode")? {
        "historical" => Freshness::Historical,
        "live" => Freshness::Live { max_age_ms: case.number("max_age_ms")?, skew_ms: case.number("skew_ms")? },
        other => return Err(UnfitCase::new(format!("\"mode\" must be historical or live, got {other:?}"))),
    };
    let verified = parse_document(&document).and_then(|document| verify_document(&document, &roots, at_ms, freshness));
    Ok(match verified {
        Ok(_) => Ruling::end(CaseEnd::Accept),
        Err(error) => Ruling { check: Some(error.check().into()), why: Some(error.to_string()), ..Ruling::end(CaseEnd::Refuse) },
    })
}

/// The bytes that a case is about: in it, or in the file that it names.
fn bytes(case: &Case<'_>, folder: &str, around: Surroundings<'_>) -> Result<Vec<u8>, UnfitCase> {
    if case.has("bytes") {
        return case.bytes("bytes");
    }
    let name = case.text("file")?;
    let missing =
        || UnfitCase::new(format!("no file {name:?} in {folder}/ of the vectors: name their folder, or give \"bytes\" as 0x hex"));
    (around.file)(folder, name).ok_or_else(missing)
}

/// Hex as vectors/attestation writes it, without 0x.
fn bare_hex(value: &Value) -> Result<Vec<u8>, UnfitCase> {
    let bytes = value.as_str().and_then(|text| from_hex(&format!("0x{text}")));
    bytes.ok_or_else(|| UnfitCase::new("expected hex digits without 0x"))
}

fn unreadable(error: &str) -> Ruling {
    Ruling { check: Some(PARSE.into()), why: Some(error.into()), ..Ruling::end(CaseEnd::Refuse) }
}

fn ruling(verdict: &Verdict) -> Ruling {
    if let Some(check) = verdict.refused() {
        let why = format!("expected {}, got {}", check.expected, check.got);
        return Ruling { check: Some(check.id.into()), why: Some(why), ..Ruling::end(CaseEnd::Refuse) };
    }
    Ruling::end(match verdict.outcome() {
        Outcome::Verified => CaseEnd::Accept,
        _ => CaseEnd::CannotTell,
    })
}

/// The object's members, which must be exactly these.
fn members<'a>(value: &'a Value, what: &str, keys: &[&str]) -> Result<Case<'a>, UnfitCase> {
    let case = Case::of(value, what)?;
    let unknown = value.as_object().into_iter().flatten().map(|(key, _)| key).find(|key| !keys.contains(&key.as_str()));
    match unknown {
        Some(key) => Err(UnfitCase::new(format!("{what} must have {}, and nothing else; it has {key:?}", keys.join(", ")))),
        None => Ok(case),
    }
}

fn accepted<T>(case: &Case<'_>, key: &str, any: &str, item: impl FnMut(&Value) -> Option<T>) -> Result<Accept<T>, UnfitCase> {
    if case.get(key)? == any { Ok(Accept::Any) } else { Ok(Accept::Only(case.list(key, item)?)) }
}

fn policy(value: &Value) -> Result<Policy, UnfitCase> {
    let case = members(value, "a policy", &POLICY)?;
    let registry = |entry: &Value| {
        let entry = members(entry, "a registry", &["chain_id", "registry"]).ok()?;
        Some((entry.number("chain_id").ok()?, entry.address("registry").ok()?))
    };
    let level = case.text("require_level")?;
    let levels = [LogLevel::SelfLogged, LogLevel::Witnessed, LogLevel::Anchored];
    let require_level = levels.into_iter().find(|known| known.as_str() == level);
    Ok(Policy {
        roots: case.list("roots", |root| as_hash(root).map(|hash| TrustRoot { fingerprint: hash.0 }))?,
        workloads: match accepted(&case, "workloads", "dangerous-any", as_hash)? {
            Accept::Any => Workloads::DangerousAny,
            Accept::Only(listed) => Workloads::Only(listed),
        },
        operators: accepted(&case, "operators", "any", as_address)?,
        registries: accepted(&case, "registries", "any", registry)?,
        models: accepted(&case, "models", "any", as_hash)?,
        max_age_ms: case.number("max_age_ms")?,
        skew_ms: case.number("skew_ms")?,
        witnesses: case.hashes("witnesses")?,
        witness_threshold: case.small("witness_threshold")?,
        require_level: require_level
            .ok_or_else(|| UnfitCase::new(format!("\"require_level\" must be a level of the log, got {level:?}")))?,
        require_offer_binding: case.flag("require_offer_binding")?,
    })
}

/// Every field of spec/policy.md §1.
const POLICY: [&str; 11] = [
    "roots",
    "workloads",
    "operators",
    "registries",
    "models",
    "max_age_ms",
    "skew_ms",
    "witnesses",
    "witness_threshold",
    "require_level",
    "require_offer_binding",
];

/// What a caller read from a chain, with the lists that [`ChainFacts`] borrows.
struct Facts {
    anchors: Vec<KnownTree>,
    observations: Vec<KnownTree>,
    registry: Option<RegistryRecord>,
    receipt_block_known: Option<bool>,
    evidence_block_known: Option<bool>,
    transfer: Option<TransferFact>,
}

impl Facts {
    fn read(value: &Value) -> Result<Self, UnfitCase> {
        let keys = ["anchors", "observations", "registry", "receipt_block_known", "evidence_block_known", "transfer"];
        let case = members(value, "chain facts", &keys)?;
        let tree = |value: &Value| {
            let tree = members(value, "a tree", &["log_id", "size", "root", "at"]).ok()?;
            let at = UnixSeconds(tree.number("at").ok()?);
            Some(KnownTree {
                log_id: tree.hash("log_id").ok()?,
                tree: Tree { size: tree.number("size").ok()?, root: tree.hash("root").ok()? },
                at,
            })
        };
        let known = |key: &str| if case.get(key)?.is_null() { Ok(None) } else { case.flag(key).map(Some) };
        let registry = case.get("registry")?;
        Ok(Self {
            anchors: case.list("anchors", tree)?,
            observations: case.list("observations", tree)?,
            registry: if registry.is_null() { None } else { Some(record(registry)?) },
            receipt_block_known: known("receipt_block_known")?,
            evidence_block_known: known("evidence_block_known")?,
            transfer: if case.get("transfer")?.is_null() { None } else { Some(transfer(case.text("transfer")?)?) },
        })
    }

    /// Whether a chain was asked at all.
    fn is_any(&self) -> bool {
        let Self { anchors, observations, registry, receipt_block_known, evidence_block_known, transfer } = self;
        let is_empty = anchors.is_empty() && observations.is_empty() && registry.is_none() && transfer.is_none();
        !is_empty || receipt_block_known.is_some() || evidence_block_known.is_some()
    }

    fn as_chain_facts(&self) -> ChainFacts<'_> {
        ChainFacts {
            anchors: &self.anchors,
            observations: &self.observations,
            registry: self.registry.as_ref(),
            receipt_block_known: self.receipt_block_known,
            evidence_block_known: self.evidence_block_known,
            transfer: self.transfer,
        }
    }
}

fn transfer(word: &str) -> Result<TransferFact, UnfitCase> {
    match word {
        "seen" => Ok(TransferFact::Seen),
        "not_yet" => Ok(TransferFact::NotYet),
        "otherwise" => Ok(TransferFact::Otherwise),
        other => Err(UnfitCase::new(format!("\"transfer\" must be seen, not_yet or otherwise, got {other:?}"))),
    }
}

fn record(value: &Value) -> Result<RegistryRecord, UnfitCase> {
    let keys = ["k_sig", "manifest_hash", "valid_until", "invalid_from", "revoked_at", "is_forked", "has_gap", "predecessor_anchored"];
    let case = members(value, "the registry's record", &keys)?;
    let moment = |key: &str| match case.get(key)? {
        Value::Null => Ok(None),
        value => as_number(value).map(|at| Some(UnixSeconds(at))).ok_or_else(|| UnfitCase::new(format!("{key:?} must be null or seconds"))),
    };
    Ok(RegistryRecord {
        k_sig: case.address("k_sig")?,
        manifest_hash: case.hash("manifest_hash")?,
        valid_until: UnixSeconds(case.number("valid_until")?),
        invalid_from: moment("invalid_from")?,
        revoked_at: moment("revoked_at")?,
        is_forked: case.flag("is_forked")?,
        has_gap: case.flag("has_gap")?,
        predecessor_anchored: match case.get("predecessor_anchored")? {
            Value::Null => None,
            _ => Some(case.number("predecessor_anchored")?),
        },
    })
}
