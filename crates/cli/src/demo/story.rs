//! The story: balances, a question, its answer, the verdict, the same file again in a fresh process, the lies, and what to try next.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use candor_chain::NewPolicy;
use candor_client::{Buyer, Keep, OwnChain, Provable, SpendBook, VerifiedNode, VerifiedResponse, resolve};
use candor_log::tiles::{Resource, Span};
use candor_report::headline;
use candor_verify::bundle::Bundle;
use candor_verify::bytes::{Address, Amount, Hash32, to_hex};
use candor_verify::grade::Grade;
use candor_verify::tlog::leaf_data;
use candor_verify::verdict::{Outcome, Question, Status, Verdict};
use serde_json::{Value, json};

use super::{Stage, lies, process, shown};
use crate::ask;
use crate::dev::{Role, usd};
use crate::output::{Failure, say};
use crate::page;

/// How long transfer and anchor may take.
const SETTLE_WAIT: Duration = Duration::from_secs(30);

/// Tells it; what a script wants to know of it.
pub(crate) async fn tell(stage: &Stage, question: &str) -> Result<Value, Failure> {
    let chain = &stage.client;
    let deployment = stage.development.deployed().addresses;
    let (payer, payee) = (stage.development.address(Role::Payer), stage.development.address(Role::Payee));
    let before = balances(stage, &payer, &payee).await?;

    let asked = Instant::now();
    let mut node = resolve(chain, &deployment.registry, &stage.policy.policy, &stage.policy.find).await?;
    say!("\n{}", ask::describe(&node));
    let (wallet, book) = (stage.development.wallet(), SpendBook::open(&stage.state.join("spends.json"))?);
    let path = stage.state.join("answer.candor");
    let keep = Keep::At(path.clone());
    let own = OwnChain::new(chain.clone());
    let buyer = Buyer {
        chain: &own,
        wallet: &wallet,
        book: &book,
        spend: &stage.policy.spend,
        policy: &stage.policy.policy,
        keep: &keep,
        pay_again: false,
    };
    let body = body(&node, question)?;
    say!("asked    {question}\n");
    let mut response = ask::stream(&mut node, &buyer, &body, true).await?;
    say!("\nanswered and verified in {:.2} s; waiting for settlement and anchor", asked.elapsed().as_secs_f64());

    let settled = ask::settle(chain, &node, &mut response, &stage.policy.policy, SETTLE_WAIT).await?;
    let judged = &settled.verdict;
    ask::keep_upgraded(&path, &response.bundle, &node, settled.facts.transfer_tx)?;
    four_questions(judged, &node);
    if settled.verified.is_none() || judged.outcome() != Outcome::Verified {
        return Err(Failure::cannot("the demo's own bundle did not verify"));
    }
    let page = stage.state.join("answer.html");
    let shown_on_it = page::Shown {
        file: &path,
        bytes: &response.bundle.encode(),
        bundle: &response.bundle,
        verdict: judged,
        required: stage.policy.policy.require_level,
        transfer_tx: settled.facts.transfer_tx,
        asked_chain: Some(chain.chain_id()),
    };
    page::write(&page, &shown_on_it)?;
    let settlement_gas = money(stage, &response, before, settled.facts.transfer_tx).await?;
    again_offline(stage, &path).await?;
    let refused = lies::refuse_all(stage, &response.bundle, settled.facts.as_chain_facts())?;
    let prove_gas = prove(stage, &response.bundle).await?;
    genuine();
    say!("\nSee it\n  the verdict as a page, with a picture of the proof: {}", page.display());
    try_it(stage, &response.bundle, &path, settled.facts.transfer_tx)?;
    Ok(json!({
        "outcome": judged.outcome().as_str(), "log_level": judged.log_level().as_str(), "assurance": judged.assurance().as_str(),
        "charged": response.bundle.delivery.receipt.money.charged.to_string(), "lies_refused_by": refused,
        "gas": {"registration": stage.registration_gas, "settlement": settlement_gas, "prove": prove_gas},
        "bundle": shown(&path), "page": shown(&page), "state": shown(&stage.state),
    }))
}

/// The request names its seed, so that the lie about another payment is caught by the payment's own check.
fn body(node: &VerifiedNode, question: &str) -> Result<Vec<u8>, Failure> {
    let question = ask::Question { model: None, prompt: question, max_tokens: 64, temperature: 0.0, seed: None, public: None };
    let body = question.body(node)?;
    let mut json: serde_json::Value = serde_json::from_slice(&body).map_err(|error| Failure::cannot(error.to_string()))?;
    json["seed"] = 7.into();
    Ok(json.to_string().into_bytes())
}

async fn balances(stage: &Stage, payer: &Address, payee: &Address) -> Result<(Amount, Amount), Failure> {
    let asset = stage.development.deployed().addresses.test_usd;
    Ok((stage.client.token_balance(&asset, payer).await?, stage.client.token_balance(&asset, payee).await?))
}

fn four_questions(judged: &Verdict, node: &VerifiedNode) {
    for question in Question::ALL {
        let of = |status: Status| judged.checks().iter().filter(move |check| check.step.question() == question && check.status == status);
        let passed = of(Status::Passed).count();
        let unmade: Vec<&str> = of(Status::NotChecked).map(|check| check.id).collect();
        let answer = match question {
            Question::Private => {
                "proven to this client (it pinned the attested TLS key), not provable later; a stock TLS client: not proven private".into()
            }
            Question::Ran => format!("model {} in workload {:#}", model_name(node), node.enclave.workload()),
            Question::Paid => "charge = signed = offered = price table, to the attested payee; transfer seen on chain".into(),
            _ => "in a log that only grew, in a tree that a chain saw (SELF-LOGGED < WITNESSED < ANCHORED)".into(),
        };
        let grade = match question {
            // This client pinned the attested key when it connected, which no file shows.
            Question::Private => "PROVEN TO YOU",
            _ => judged.grade(question).map_or("", Grade::as_str),
        };
        say!("\n{}  {grade}\n  {answer}", question.as_str());
        if question == Question::Private {
            say!("  checks   tls.key: the server has the key that the evidence names; evidence.binding: the evidence names it");
            continue;
        }
        let names: Vec<&str> = of(Status::Passed).map(|check| check.id).collect();
        say!("  {passed} checks {}", names.join(" "));
        if !unmade.is_empty() {
            say!("  not checked: {}", unmade.join(" "));
        }
    }
    say!("\n{}", headline(judged));
    say!("who could still forge this? {}", judged.assurance().as_str());
}

fn model_name(node: &VerifiedNode) -> String {
    node.enclave.terms().models.first().map(|model| format!("{} ({:#})", model.id, model.digest)).unwrap_or_default()
}

/// Balances and charge agree. Returns the gas of the settlement.
async fn money(
    stage: &Stage,
    response: &VerifiedResponse,
    before: (Amount, Amount),
    transfer: Option<Hash32>,
) -> Result<Option<u64>, Failure> {
    let after = balances(stage, &stage.development.address(Role::Payer), &stage.development.address(Role::Payee)).await?;
    let receipt = &response.bundle.delivery.receipt;
    say!("\npayer  {} -> {}", usd(before.0), usd(after.0));
    say!("payee  {} -> {}", usd(before.1), usd(after.1));
    let work = &receipt.work;
    say!(
        "charge {} for {} + {} tokens (offered for at most {})",
        usd(receipt.money.charged),
        work.prompt_tokens,
        work.completion_tokens,
        response.bundle.delivery.decoding.max_tokens
    );
    let mut gas = None;
    if let Some(hash) = transfer
        && let Some(mined) = stage.client.transaction_receipt(&hash).await?
    {
        say!("settlement {hash}, gas {}", mined.gas_used);
        gas = Some(mined.gas_used);
    }
    let paid = before.0.checked_sub(after.0);
    if paid != Some(receipt.money.charged) || after.1.checked_sub(before.1) != paid {
        return Err(Failure::cannot("the balances do not show the charge"));
    }
    Ok(gas)
}

/// The same file, offline, in a process that was not there.
async fn again_offline(stage: &Stage, path: &Path) -> Result<(), Failure> {
    let (code, output) = process::run_once(&stage.state, &["verify", &shown(path)]).await?;
    let line = output.lines().find(|line| line.starts_with("VERIFIED") || line.starts_with("REFUSED")).unwrap_or_default();
    say!("\nthe same file, offline, in a fresh process: exit {}  {line}", code.unwrap_or(-1));
    if code == Some(0) { Ok(()) } else { Err(Failure::cannot(format!("the fresh verifier did not agree:\n{output}"))) }
}

/// Commands that can be pasted as they are. What needs the chain is listed only if the chain stays.
fn try_it(stage: &Stage, bundle: &Bundle, path: &Path, transfer: Option<Hash32>) -> Result<(), Failure> {
    let program = std::env::current_exe().map(|path| quoted(&path)).unwrap_or_else(|_| "candor".into());
    let candor = format!("{program} --state {}", quoted(&stage.state));
    let (file, flipped) = (quoted(path), stage.state.join("flipped.candor"));
    say!("\nTry it yourself");
    say!("  the same file, every check\n    {candor} verify {file}");
    say!("  one bit of it flipped: refused, by name");
    say!(
        "    python3 -c 'import sys; d = bytearray(open(sys.argv[1], \"rb\").read()); d[9000] ^= 1; open(sys.argv[2], \"wb\").write(d)' {file} {}",
        quoted(&flipped)
    );
    say!("    {candor} verify {}", quoted(&flipped));
    say!("  the model again, byte for byte\n    {candor} replay {file}");
    let leaf = stage.state.join("leaf");
    let delivery = &bundle.delivery;
    let preimage = [candor_verify::tags::LEAF, &delivery.leaf_salt.0, &delivery.receipt.digest().0, &delivery.signature.0].concat();
    std::fs::write(&leaf, preimage).map_err(|error| Failure::cannot(format!("{}: {error}", leaf.display())))?;
    let (entries, offset) = leaf_in_log(stage, bundle)?;
    let hash = to_hex(&leaf_data(&delivery.leaf_salt, &delivery.receipt.digest(), &delivery.signature).0);
    say!("  the receipt's leaf by hand, and where the log has it: both lines print {}", hash.trim_start_matches("0x"));
    say!("    sha256sum {}", quoted(&leaf));
    say!("    od -An -v -tx1 -w32 -j{offset} -N32 {} | tr -d ' '", quoted(&entries));
    if !stage.is_kept {
        say!("  on chain: the demo with --keep leaves chain and node running, and prints what to ask them");
        return Ok(());
    }
    let (rpc, deployment) = (&stage.rpc, stage.development.deployed().addresses);
    let log = entries.ancestors().find(|directory| directory.join("checkpoint").exists()).unwrap_or(&entries);
    say!("  the same file against the chain\n    {candor} verify {file} --rpc {rpc}");
    say!("  who is registered, and the whole log against its anchors");
    say!("    {candor} registry list --rpc {rpc}\n    {candor} log check {} --rpc {rpc}", quoted(log));
    say!("  the chain without us; `cast` is Foundry's: https://getfoundry.sh, or npm install @foundry-rs/cast-linux-amd64");
    if let Some(hash) = transfer {
        say!("    cast receipt {hash} --rpc-url {rpc}");
    }
    say!("  the proof to a contract: digest of the receipt, K_sig, operator, listed id, kinds and outcome of the work, model,");
    say!("  Unix times of answer and anchor, whether the anchor is in sequence, and the money");
    say!(
        "    cast decode-abi 'prove()((bytes32,address,address,bytes32,uint32,uint8,bytes32,uint64,uint64,bool,(bytes32,uint8,address,address,address,uint256,address,uint256,uint256,uint256,uint256,bytes32)))' $(cast call {} --data $(cat {}) --rpc-url {rpc})",
        deployment.registry,
        quoted(&stage.state.join(CALLDATA))
    );
    Ok(())
}

/// File and offset of the receipt's leaf in the published log. Spec: log.md §4: entries are 2 bytes of length and 32 of leaf.
fn leaf_in_log(stage: &Stage, bundle: &Bundle) -> Result<(PathBuf, u64), Failure> {
    let receipt = &bundle.delivery.receipt;
    let log = stage.state.join("node/host/log").join(receipt.log_id.to_string().trim_start_matches("0x"));
    let position = receipt.sequence % 256;
    // The log may have grown since: any bundle of its row that reaches this far.
    let widths = u16::try_from(position + 1).into_iter().flat_map(|first| first..=256);
    let spans = widths.filter_map(|width| Span::full(receipt.sequence / 256)?.of_width(width));
    let file = spans.map(|span| log.join(Resource::Entries { span }.to_string())).find(|file| file.exists());
    let file = file.ok_or_else(|| Failure::cannot(format!("no entries are published in {}", log.display())))?;
    Ok((file, position * 34 + 2))
}

/// A path as a shell reads it.
fn quoted(path: &Path) -> String {
    let text = shown(path);
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte));
    if is_plain { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// Where the calldata of the proof is kept.
const CALLDATA: &str = "prove.calldata";

/// Proves the receipt to a contract: the workload is put under a policy of ours, then one call. Returns what it costs a contract.
async fn prove(stage: &Stage, bundle: &Bundle) -> Result<u64, Failure> {
    let chain = &stage.client;
    let deployment = stage.development.deployed().addresses;
    let registry = &deployment.registry;
    let found = Provable::read(chain, bundle).await?;
    let record = &found.record;
    // Nobody owns it: it accepts what this workload answers, and nobody can ever change that.
    let policy = NewPolicy {
        owner: Address::ZERO,
        salt: Hash32::ZERO,
        delay: 0,
        max_lookback: 0,
        listings: vec![(record.listed_id(), record.valid_from)],
    };
    let sender = stage.development.signer(Role::Faucet);
    if !chain.policy_exists(&deployment.workload_policy, &policy.id()).await? {
        chain.send_and_wait(&sender, Some(&deployment.workload_policy), &policy.calldata()).await?;
    }
    let proof = found.proof(bundle, policy.id()).ok_or_else(|| Failure::cannot("the chain lost the anchor"))?;
    let proven = chain.prove(registry, &proof).await?;
    let gas = chain.prove_gas(&sender.address(), registry, &proof).await?;
    say!("\non chain       CandorRegistry.prove: signed by {}, anchored at {} (Unix seconds); gas {gas}", proven.k_sig, proven.seen_at);
    let file = stage.state.join(CALLDATA);
    std::fs::write(&file, to_hex(&proof.calldata()?)).map_err(|error| Failure::cannot(error.to_string()))?;
    Ok(gas)
}

/// A genuine AWS document, judged by the same code under the hardware root.
fn genuine() {
    use candor_verify::attest::{Freshness, TrustRoot, parse_document, verify_document};
    const DOCUMENT: &[u8] = include_bytes!("../../../../vectors/attestation/aws-us-east-2-2026-02-12.cose");
    let result = parse_document(DOCUMENT).and_then(|document| {
        verify_document(&document, &[TrustRoot::AWS_NITRO_G1], document.claimed_timestamp_ms(), Freshness::Historical)
    });
    match result {
        Ok(verified) => say!(
            "real hardware  a genuine AWS Nitro document of {} ms verifies by the same code under AWS's root ({})",
            verified.timestamp_ms(),
            verified.module_id()
        ),
        Err(error) => say!("real hardware  REFUSED {}: {error}", error.check()),
    }
}
