//! What stands folded at the end of a page: every check with what was expected and found, whole values, and what the words mean.

use candor_verify::bytes::{Hash32, to_hex};
use candor_verify::hash::sha256;
use candor_verify::receipt::receipt_id;
use candor_verify::source::SourceRecord;
use candor_verify::verdict::{Check, Question, Status};

use super::picture::{State, icon};
use super::{EVIDENCE_MAX, NAME_MAX, Page, said};

pub(super) fn section(page: &Page<'_>) -> String {
    let all = page.verdict.checks().len();
    let checks: String = Question::ALL.map(|question| checks(page, question)).concat();
    let values: String =
        values(page).iter().map(|(name, value)| format!("<tr><th scope=\"row\">{name}</th><td><code>{value}</code></td></tr>")).collect();
    let words: String = WORDS.iter().map(|(word, meaning)| format!("<dt>{word}</dt><dd>{meaning}</dd>")).collect();
    format!(
        "<div class=\"folds\">\n<details><summary>All {all} checks, with what was expected and found</summary>{checks}</details>\n\
         <details><summary>Full values</summary><table class=\"kv full\">{values}</table></details>\n\
         <details><summary>Words on this page</summary><dl class=\"words\">{words}</dl></details>\n</div>\n"
    )
}

fn checks(page: &Page<'_>, question: Question) -> String {
    let rows: String = page.verdict.checks().iter().filter(|check| check.step.question() == question).map(check).collect();
    if rows.is_empty() {
        return rows;
    }
    format!("<table class=\"checks\"><caption>{}</caption>{rows}</table>\n", question.as_str())
}

fn check(check: &Check) -> String {
    let shown = |text: &str| format!("<code>{}</code>", said::said(text, EVIDENCE_MAX));
    let (expected, got) = (shown(&check.expected), shown(&check.got));
    let evidence = match check.status {
        Status::Passed if check.expected == check.got => format!("<i>as expected</i> {got}"),
        Status::NotChecked => format!("<i>needs</i> {expected}"),
        Status::NotAsked => format!("<i>would be asked for by</i> {expected}"),
        Status::NotReached => String::new(),
        _ => format!("<i>expected</i> {expected}<br><i>got</i> {got}"),
    };
    // A refusal may have a more specific name than its step.
    let inner = if check.id == check.step.id() { String::new() } else { format!(" <code>({})</code>", check.id) };
    format!(
        "<tr id=\"c-{id}\"><td class=\"st\">{}{}</td><td><code class=\"id\">{id}</code>{inner}<p>{}</p></td><td>{evidence}</td></tr>\n",
        icon(State::of_check(check)),
        check.status.as_str(),
        check.step.title(),
        id = check.step.id()
    )
}

/// Names and values as markup, those that are there.
fn values(page: &Page<'_>) -> Vec<(&'static str, String)> {
    let (evidence, delivery, request) = (&page.bundle.evidence, &page.bundle.delivery, &page.bundle.request);
    let (receipt, manifest) = (&delivery.receipt, &evidence.manifest);
    let (money, work, tree) = (&receipt.money, &receipt.work, &delivery.checkpoint.checkpoint.tree);
    let hash = |hash: &Hash32| if hash.is_zero() { String::new() } else { hash.to_string() };
    let decoding = &delivery.decoding;
    let measured = page.measurements();
    let pcr = |at: usize| measured.and_then(|all| all.as_chunks::<48>().0.get(at).map(|pcr| to_hex(pcr))).unwrap_or_default();
    let mut rows = vec![
        ("File, SHA-256", sha256(&[page.content.bytes]).to_string()),
        ("Root certificate", page.verdict.root().map(|root| Hash32(root.fingerprint).to_string()).unwrap_or_default()),
        ("Workload", page.workload().map(|workload| workload.to_string()).unwrap_or_default()),
        ("PCR0", pcr(0)),
        ("PCR1", pcr(1)),
        ("PCR2", pcr(2)),
        ("Manifest", receipt.manifest_hash.to_string()),
        ("Receipt key, K_sig", manifest.k_sig.to_string()),
        ("Operator", manifest.operator.to_string()),
        ("Registry", format!("{} on chain {}", manifest.registry, manifest.anchor_chain_id)),
        ("Receipt", receipt.digest().to_string()),
        ("Receipt id", to_hex(&receipt_id(&delivery.leaf_salt)).trim_start_matches("0x").to_owned()),
        ("Model digest", work.model_id.to_string()),
        ("Asked at", format!("{} {}", said::name(&request.method, NAME_MAX), said::name(&request.path, NAME_MAX))),
        ("Request", work.request_commitment.to_string()),
        ("Response", work.response_commitment.to_string()),
        ("Task", hash(&work.task_hash)),
        ("Public question", hash(&work.question_hash)),
        ("Public answer", hash(&work.answer_hash)),
        ("Offer", hash(&money.offer_digest)),
        ("Payment id", money.payment_id.to_string()),
        ("Payee", money.payee.to_string()),
    ];
    if page.bundle.sale.is_some() {
        rows.extend([("Payer", money.payer.to_string()), ("Token contract", money.asset.to_string())]);
    }
    rows.extend([
        ("Transaction, a hint", page.content.transfer_tx.map(|tx| tx.to_string()).unwrap_or_default()),
        ("Log", receipt.log_id.to_string()),
        ("Log root", format!("{} of {}", tree.root, tree.size)),
        ("Engine, seed", format!("{}, {}", said::name(&decoding.engine, NAME_MAX), decoding.seed)),
    ]);
    rows.extend(delivery.source.iter().flat_map(source));
    rows.retain(|(_, value)| !value.is_empty());
    rows
}

/// Where relayed work came from. What the provider itself says is said to be its word.
fn source(source: &SourceRecord) -> [(&'static str, String); 5] {
    let name = |text: &str| said::name(text, NAME_MAX);
    let key = if source.spki_hash.is_zero() { String::new() } else { source.spki_hash.to_string() };
    [
        ("Provider", format!("{}, {}:{}", name(&source.upstream), name(&source.host), source.port)),
        ("Provider’s key", key),
        ("Model asked there", name(&source.model_asked)),
        ("It says it served", name(&source.model_served)),
        ("Its id of the request", name(&source.request_id)),
    ]
}

/// The words that a page cannot do without, and what each is weaker or stronger than.
const WORDS: [(&str, &str); 9] = [
    ("Enclave", "a part of a computer whose memory even its owner cannot read; here its program is measured"),
    ("Measurement", "a fingerprint of the program that was started"),
    ("Attestation document", "the hardware’s signed statement of that measurement; SIMULATED: a software stand-in signed it"),
    ("Manifest", "the list of keys, prices and terms that the enclave was started with"),
    ("Receipt", "the enclave’s signed statement: request, answer, model, tokens, charge"),
    ("What ran", "REPLAYABLE: the same model gives the same bytes again, so anyone can repeat it. Below: LOCAL, RELAYED"),
    (
        "Who saw it",
        "SEALED: locked to a key that only the enclave has. PROVEN TO YOU: whoever drew this page held the connection. Else NOT PROVEN HERE",
    ),
    ("The payment", "SETTLED: a chain shows the transfer. Below: SIGNED, NOBODY PAID"),
    ("Can it be denied", "ANCHORED: the log’s state is written on a blockchain. Below: WITNESSED, SELF-LOGGED"),
];
