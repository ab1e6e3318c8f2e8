//! Cases of bundles as JSON: policy and facts field for field, bytes as 0x hex, in the names of the Rust fields.

use candor_verify::bundle::Bundle;
use candor_verify::bytes::{Hash32, to_hex};
use candor_verify::check::{TransferFact, verify_bundle};
use candor_verify::eip712::K256;
use candor_verify::grade::Grade;
use candor_verify::policy::{Accept, KnownTree, Policy, RegistryRecord, Workloads};
use candor_verify::verdict::Question;
use serde_json::{Value, json};

use crate::cases::{Case, Facts};

/// Every case, one per line.
#[must_use]
pub fn cases_text(cases: &[Case]) -> String {
    let lines: Vec<String> = cases.iter().map(|case| format!("  {}", case_json(case))).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

fn case_json(case: &Case) -> Value {
    json!({
        "name": case.name,
        "file": format!("{}.candor", case.file),
        "policy": policy_json(&case.policy),
        "chain_facts": facts_json(&case.facts),
        "expect": case.expect,
        "log_level": case.level.as_str(),
        "grades": grades_json(case),
    })
}

/// The grade of each question; null of bytes that are no bundle.
fn grades_json(case: &Case) -> Value {
    let Ok(bundle) = Bundle::parse(&case.bytes) else { return Value::Null };
    let (verdict, _) = verify_bundle(&bundle, &case.policy, case.facts.as_chain_facts(), &K256);
    Question::ALL.iter().map(|question| (question.key().to_owned(), json!(verdict.grade(*question).map(Grade::as_str)))).collect()
}

/// `"any"`, or the list.
fn accepted<T>(accept: &Accept<T>, item: impl Fn(&T) -> Value) -> Value {
    match accept {
        Accept::Any => json!("any"),
        Accept::Only(items) => items.iter().map(item).collect(),
    }
}

/// A policy, every field.
#[must_use]
pub fn policy_json(policy: &Policy) -> Value {
    let Policy {
        roots,
        workloads,
        operators,
        registries,
        models,
        max_age_ms,
        skew_ms,
        witnesses,
        witness_threshold,
        require_level,
        require_offer_binding,
    } = policy;
    json!({
        "roots": roots.iter().map(|root| to_hex(&root.fingerprint)).collect::<Vec<_>>(),
        "workloads": match workloads {
            Workloads::DangerousAny => json!("dangerous-any"),
            Workloads::Only(listed) => json!(hashes(listed)),
        },
        "operators": accepted(operators, |operator| json!(operator.to_string())),
        "registries": accepted(registries, |(chain, registry)| json!({ "chain_id": chain, "registry": registry.to_string() })),
        "models": accepted(models, |model| json!(model.to_string())),
        "max_age_ms": max_age_ms,
        "skew_ms": skew_ms,
        "witnesses": hashes(witnesses),
        "witness_threshold": witness_threshold,
        "require_level": require_level.as_str(),
        "require_offer_binding": require_offer_binding,
    })
}

fn hashes(values: &[Hash32]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

fn facts_json(facts: &Facts) -> Value {
    let Facts { anchors, observations, registry, receipt_block_known, evidence_block_known, transfer } = facts;
    json!({
        "anchors": anchors.iter().map(tree_json).collect::<Vec<_>>(),
        "observations": observations.iter().map(tree_json).collect::<Vec<_>>(),
        "registry": registry.as_ref().map(registry_json),
        "receipt_block_known": receipt_block_known,
        "evidence_block_known": evidence_block_known,
        "transfer": transfer.map(|transfer| match transfer {
            TransferFact::Seen => "seen",
            TransferFact::NotYet => "not_yet",
            TransferFact::Otherwise => "otherwise",
        }),
    })
}

fn tree_json(known: &KnownTree) -> Value {
    let KnownTree { log_id, tree, at } = known;
    json!({ "log_id": log_id.to_string(), "size": tree.size, "root": tree.root.to_string(), "at": at.0 })
}

fn registry_json(record: &RegistryRecord) -> Value {
    let RegistryRecord { k_sig, manifest_hash, valid_until, invalid_from, revoked_at, is_forked, has_gap, predecessor_anchored } = record;
    json!({
        "k_sig": k_sig.to_string(), "manifest_hash": manifest_hash.to_string(), "valid_until": valid_until.0,
        "invalid_from": invalid_from.map(|at| at.0), "revoked_at": revoked_at.map(|at| at.0),
        "is_forked": is_forked, "has_gap": has_gap, "predecessor_anchored": predecessor_anchored,
    })
}
