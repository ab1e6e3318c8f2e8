//! A verdict as JSON: every check with its evidence, and what the bundle says, for programs that do not read CBOR. Spec: policy.md §3.
//!
//! Not here: the verdict in words (`candor-cli`), and any opinion about it.

use candor_verify::VERSION;
use candor_verify::bundle::Bundle;
use candor_verify::bytes::to_hex;
use candor_verify::grade::Grade;
use candor_verify::receipt::{Money, Receipt, Work, receipt_id};
use candor_verify::verdict::{Outcome, PaymentBinding, Question, Verdict};
use serde_json::{Map, Value, json};

/// The verdict in one line, for people: `VERIFIED · SIMULATED · REPLAYABLE · ANCHORED`. Outcome first, then what lessens it, then the grades of the
/// work and of the log; a refusal has neither.
#[must_use]
pub fn headline(verdict: &Verdict) -> String {
    headline_words(verdict).join(" · ")
}

/// The words of that line, each in capitals of ASCII: for a header, or a list.
#[must_use]
pub fn headline_words(verdict: &Verdict) -> Vec<String> {
    let outcome = verdict.outcome().as_str().to_ascii_uppercase();
    core::iter::once(outcome).chain(qualities(verdict).into_iter().map(str::to_owned)).collect()
}

/// The word that stands for evidence without hardware.
pub(crate) const SIMULATED: &str = "SIMULATED";

/// What is said behind the outcome, in its order.
pub(crate) fn qualities(verdict: &Verdict) -> Vec<&'static str> {
    let grade = |question| verdict.grade(question).filter(|_| verdict.refused().is_none()).map(Grade::as_str);
    let simulated = (verdict.is_simulated() == Some(true)).then_some(SIMULATED);
    [simulated, grade(Question::Ran), grade(Question::Logged)].into_iter().flatten().collect()
}

/// A verdict on evidence or on a bundle.
#[must_use]
pub fn verdict_json(verdict: &Verdict) -> Value {
    Value::Object(members(verdict))
}

/// The verdict on this bundle, with what the bundle says: the receipt's words as EIP-712 names and nests them, its digest, and its id as
/// `GET /v1/receipts/ID` takes it.
///
/// They are under `facts` if the verdict is *verified*, and under `claims` otherwise: a program that reads a charge out of `facts` cannot
/// take it from a bundle that was refused.
///
/// # Security
/// The verdict must be of this very bundle: JSON of two halves that do not belong together lies.
#[must_use]
pub fn bundle_json(verdict: &Verdict, bundle: &Bundle) -> Value {
    let key = if verdict.outcome() == Outcome::Verified { "facts" } else { "claims" };
    let delivery = &bundle.delivery;
    let said = json!({
        "receipt": receipt_json(&delivery.receipt), "digest": delivery.receipt.digest().to_string(),
        "receiptId": to_hex(&receipt_id(&delivery.leaf_salt)).trim_start_matches("0x"), "offerDigest": bundle.sale.as_ref().map(|sale| sale.offer.digest().to_string()),
    });
    let mut members = members(verdict);
    members.insert(key.to_owned(), said);
    Value::Object(members)
}

/// The grade of each question by its key; null in a verdict on evidence alone.
pub(crate) fn grades_json(verdict: &Verdict) -> Value {
    let grades: Option<Map<_, _>> =
        Question::ALL.iter().map(|question| Some((question.key().to_owned(), verdict.grade(*question)?.as_str().into()))).collect();
    json!(grades)
}

fn members(verdict: &Verdict) -> Map<String, Value> {
    let checks: Vec<Value> = verdict
        .checks()
        .iter()
        .map(|check| {
            json!({
                "id": check.id, "step": check.step.id(), "question": check.step.question().as_str(), "title": check.step.title(),
                "status": check.status.as_str(), "expected": check.expected, "got": check.got, "spec": check.step.spec(),
            })
        })
        .collect();
    Map::from_iter([
        ("outcome".to_owned(), json!(verdict.outcome().as_str())),
        ("refused".to_owned(), json!(verdict.refused().map(|check| check.id))),
        ("grades".to_owned(), grades_json(verdict)),
        ("root".to_owned(), json!(verdict.root().map(|root| to_hex(&root.fingerprint)))),
        ("simulated".to_owned(), json!(verdict.is_simulated())),
        ("log_level".to_owned(), json!(verdict.log_level().as_str())),
        (
            "anchored".to_owned(),
            json!(
                verdict.anchored().map(|known| json!({ "size": known.tree.size, "root": known.tree.root.to_string(), "at": known.at.0 }))
            ),
        ),
        ("assurance".to_owned(), json!(verdict.assurance().as_str())),
        ("payment_binding".to_owned(), json!(verdict.payment_binding().map(PaymentBinding::as_str))),
        ("not_proven".to_owned(), json!(verdict.not_proven())),
        ("checks".to_owned(), Value::Array(checks)),
    ])
}

/// Every word, by the name of receipt.md §1: what an EIP-712 library hashes to the receipt's digest.
fn receipt_json(receipt: &Receipt) -> Value {
    let Receipt { manifest_hash, log_id, sequence, money, work } = receipt;
    json!({
        "version": VERSION, "manifestHash": manifest_hash.to_string(), "logId": log_id.to_string(), "sequence": number(*sequence),
        "money": money_json(money), "work": work_json(work),
    })
}

fn money_json(money: &Money) -> Value {
    let Money {
        payment_id,
        scheme,
        payer,
        payee,
        asset,
        chain_id,
        settler,
        max_amount,
        charged,
        cumulative_before,
        cumulative_after,
        offer_digest,
    } = money;
    json!({
        "paymentId": payment_id.to_string(), "scheme": scheme.code(), "payer": payer.to_string(), "payee": payee.to_string(),
        "asset": asset.to_string(), "chainId": number(*chain_id), "settler": settler.to_string(), "maxAmount": max_amount.to_string(),
        "charged": charged.to_string(), "cumulativeBefore": cumulative_before.to_string(),
        "cumulativeAfter": cumulative_after.to_string(), "offerDigest": offer_digest.to_string(),
    })
}

fn work_json(work: &Work) -> Value {
    let Work {
        kinds,
        channel,
        usage_source,
        outcome,
        model_id,
        request_commitment,
        response_commitment,
        decoding_hash,
        prompt_tokens,
        completion_tokens,
        started_at,
        finished_at,
        block_number,
        block_hash,
        source_hash,
        task_hash,
        question_hash,
        answer_hash,
    } = work;
    json!({
        "kinds": kinds.0, "channel": channel.code(), "usageSource": usage_source.code(), "outcome": outcome.code(),
        "modelId": model_id.to_string(), "requestCommitment": request_commitment.to_string(),
        "responseCommitment": response_commitment.to_string(), "decodingHash": decoding_hash.to_string(),
        "promptTokens": number(*prompt_tokens), "completionTokens": number(*completion_tokens), "startedAt": number(started_at.0),
        "finishedAt": number(finished_at.0), "blockNumber": number(*block_number), "blockHash": block_hash.to_string(),
        "sourceHash": source_hash.to_string(), "taskHash": task_hash.to_string(), "questionHash": question_hash.to_string(),
        "answerHash": answer_hash.to_string(),
    })
}

/// A JSON integer, or a decimal string where some readers would round: what a refused bundle says may be any number.
fn number(value: u64) -> Value {
    if value <= EXACT_MAX { json!(value) } else { json!(value.to_string()) }
}

/// 2^53 − 1, the largest integer up to which JavaScript has every one.
const EXACT_MAX: u64 = 9_007_199_254_740_991;
