//! The story: balances, a question, its answer, the verdict, the same file again in a fresh process, the lies, and what to try next.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use candor_client::{Again, BundleIndex, Buyer, Keep, KeepMode, OwnChain, Provable, SpendBook, VerifiedNode, VerifiedResponse, resolve};
use candor_verify::bundle::Bundle;
use candor_verify::bytes::{Address, Amount, Hash32, to_hex};
use candor_verify::verdict::{Outcome, Question, Status, Verdict};
use serde_json::{Value, json};

use super::{Stage, by_hand, lies, process, screen, shown};
use crate::ask::{self, Sampling};
use crate::dev::{DATABASE, Role, usd};
use crate::output::{Failure, say};
use crate::{page, prove};

/// How long transfer and anchor may take.
const SETTLE_WAIT: Duration = Duration::from_secs(30);

/// Tells it; what a script wants to know of it.
pub(super) async fn tell(stage: &Stage, question: &str) -> Result<Value, Failure> {
    let chain = &stage.client;
    let deployment = stage.development.deployed().addresses;
    let (payer, payee) = (stage.development.address(Role::Payer), stage.development.address(Role::Payee));
    let before = balances(stage, &payer, &payee).await?;

    let mut node = resolve(chain, &deployment.registry, &stage.policy.policy, &stage.policy.find).await?;
    screen::part("client", "checked all that before it sent a word");
    stage.detail(&ask::describe(&node));
    let (wallet, book) = (stage.development.wallet(), SpendBook::open(&stage.state.join(DATABASE))?);
    let path = stage.state.join("answer.candor");
    let index = BundleIndex::open(&stage.state.join(DATABASE), &stage.state.join("bundles"))?;
    let keep = Keep::at(index, KeepMode::Full, path.clone());
    let own = OwnChain::new(chain.clone());
    let buyer = Buyer {
        chain: &own,
        wallet: Some(&wallet),
        key: None,
        book: &book,
        spend: &stage.policy.spend,
        policy: &stage.policy.policy,
        keep: &keep,
        again: Again::No,
        caller: None,
        race: None,
    };
    screen::asked(question);
    let asked = Instant::now();
    let body = body(&node, question)?;
    let mut response = ask::stream(&mut node, &buyer, &body).await?;
    let seconds = asked.elapsed().as_secs_f64();

    let settled = ask::settle(chain, &mut response, &stage.policy.policy, SETTLE_WAIT).await?;
    let (judged, receipt) = (&settled.verdict, &response.bundle.delivery.receipt);
    ask::keep_upgraded(&keep, &response, judged, settled.facts.transfer_tx)?;
    screen::answered(&response.bundle, seconds, settled.facts.transfer_tx);
    screen::verdict(&response.bundle, judged, stage.policy.policy.require_level);
    if settled.verified.is_none() || judged.outcome() != Outcome::Verified {
        return Err(Failure::cannot("the demo's own bundle did not verify"));
    }
    if stage.is_verbose {
        checks_by_name(judged, &node);
    }
    again_offline(stage, &path).await?;
    let page = draw(stage, &path, &response.bundle, &settled)?;
    let settlement_gas = money(stage, &response, before, settled.facts.transfer_tx).await?;
    let refused = lies::refuse_all(stage, &response.bundle, settled.facts.as_chain_facts())?;
    screen::lies(&refused);
    refused.iter().for_each(|lie| stage.detail(&format!("{}: {}", lie.short, lie.what)));
    let prove_gas = prove_to_contracts(stage, &response.bundle).await?;
    if stage.is_verbose {
        genuine();
        by_hand::try_it(stage, &response.bundle, &path, settled.facts.transfer_tx)?;
    }
    say!();
    screen::to_do("See it", &page.display().to_string(), "the verdict as a page");
    screen::to_do("Share it", &path.display().to_string(), "the evidence");
    screen::to_do("Check it", &format!("{} verify {}", by_hand::candor(stage), by_hand::quoted(&path)), "");
    Ok(json!({
        "outcome": judged.outcome().as_str(), "log_level": judged.log_level().as_str(), "assurance": judged.assurance().as_str(),
        "charged": receipt.money.charged.to_string(), "lies_refused_by": refused.iter().map(|lie| lie.check).collect::<Vec<_>>(),
        "gas": {"registration": stage.registration_gas, "settlement": settlement_gas, "prove": prove_gas},
        "bundle": shown(&path), "page": shown(&page), "state": shown(&stage.state),
    }))
}

/// The verdict as a page, beside the bundle.
fn draw(stage: &Stage, path: &Path, bundle: &Bundle, settled: &ask::Settled) -> Result<PathBuf, Failure> {
    let out = stage.state.join("answer.html");
    let bytes = bundle.encode();
    let content = page::Shown {
        file: path,
        bytes: &bytes,
        bundle,
        verdict: &settled.verdict,
        required: stage.policy.policy.require_level,
        transfer_tx: settled.facts.transfer_tx,
        asked_chain: Some(stage.client.chain_id()),
        // It is for others too.
        is_live: false,
    };
    page::write(&out, &content)?;
    Ok(out)
}

/// The request names its seed, so that the lie about another payment is caught by the payment's own check.
fn body(node: &VerifiedNode, question: &str) -> Result<Vec<u8>, Failure> {
    Sampling { seed: Some(7), ..Sampling::default() }.body(node, &[ask::user(question)], None)
}

async fn balances(stage: &Stage, payer: &Address, payee: &Address) -> Result<(Amount, Amount), Failure> {
    let asset = stage.development.deployed().addresses.test_usd;
    Ok((stage.client.token_balance(&asset, payer).await?, stage.client.token_balance(&asset, payee).await?))
}

/// Every check by name, for somebody who wants to know what the words stand for.
fn checks_by_name(judged: &Verdict, node: &VerifiedNode) {
    say!("\n  model {} in workload {:#}", model_name(node), node.enclave.workload());
    for question in Question::ALL {
        let of = |status: Status| judged.checks().iter().filter(move |check| check.step.question() == question && check.status == status);
        let names = |status: Status| of(status).map(|check| check.id).collect::<Vec<_>>().join(" ");
        say!("  {}", question.as_str());
        for (status, word) in [(Status::Passed, "passed"), (Status::NotChecked, "not checked"), (Status::NotAsked, "not asked")] {
            if of(status).next().is_some() {
                say!("    {word}: {}", names(status));
            }
        }
    }
    // What a client checks besides, which no file shows.
    say!("  at the connection\n    passed: tls.key, the server has the key that the evidence names");
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
    stage.detail(&format!("payer {} -> {}, payee {} -> {}", usd(before.0), usd(after.0), usd(before.1), usd(after.1)));
    let (work, most) = (&receipt.work, response.bundle.delivery.decoding.max_tokens);
    let tokens = format!("{} + {} tokens, offered for at most {most}", work.prompt_tokens, work.completion_tokens);
    stage.detail(&format!("charge {} for {tokens}", usd(receipt.money.charged)));
    let mut gas = None;
    if let Some(hash) = transfer
        && let Some(mined) = stage.client.transaction_receipt(&hash).await?
    {
        stage.detail(&format!("settlement {hash}, gas {}", mined.gas_used));
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
    if code != Some(0) {
        return Err(Failure::cannot(format!("the fresh verifier did not agree:\n{output}")));
    }
    screen::offline();
    stage.detail(output.lines().next().unwrap_or_default());
    Ok(())
}

/// Where the calldata of the proof is kept.
pub(super) const CALLDATA: &str = "prove.calldata";

/// Proves the receipt to a contract: the workload is put under a policy of ours, then one call. Returns what it costs a contract.
async fn prove_to_contracts(stage: &Stage, bundle: &Bundle) -> Result<u64, Failure> {
    let chain = &stage.client;
    let deployment = stage.development.deployed().addresses;
    let registry = &deployment.registry;
    let found = Provable::read(chain, bundle).await?;
    let record = &found.record;
    let policy = prove::policy_of(record);
    let sender = stage.development.signer(Role::Faucet);
    if !chain.policy_exists(&deployment.workload_policy, &policy.id()).await? {
        chain.send_and_wait(&sender, Some(&deployment.workload_policy), &policy.calldata()).await?;
    }
    let proof = found.proof(bundle, policy.id()).ok_or_else(|| Failure::cannot("the chain lost the anchor"))?;
    let proven = chain.prove(registry, &proof).await?;
    let gas = chain.prove_gas(&sender.address(), registry, &proof).await?;
    stage.detail(&format!("CandorRegistry.prove: signed by {}, anchored at {} (Unix seconds); gas {gas}", proven.k_sig, proven.seen_at));
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
