//! The story: balances, a question, its answer, the verdict, the same file again in a fresh process, the lies, and what to try next.

use std::path::Path;
use std::time::{Duration, Instant};

use candor_chain::{ProveRequest, create_policy_calldata, policy_id, propose_workload_calldata};
use candor_client::{Buyer, Keep, Node, SpendBook, VerifiedResponse, plain, resolve};
use candor_verify::bundle::Bundle;
use candor_verify::bytes::{Address, Amount, Hash32, to_hex};
use candor_verify::check::verify_bundle;
use candor_verify::eip712::K256;
use candor_verify::verdict::{Outcome, Question, Status, Verdict};

use super::{Stage, lies, process, shown};
use crate::answer;
use crate::dev::{self, Role, usd};
use crate::output::Failure;

/// How long transfer and anchor may take.
const SETTLE_WAIT: Duration = Duration::from_secs(30);

/// Tells it.
pub(crate) async fn tell(stage: &Stage, question: &str) -> Result<(), Failure> {
    let chain = &stage.client;
    let deployment = dev::deployment(chain.chain_id());
    let (payer, payee) = (Role::Payer.address(), Role::Payee.address());
    let before = balances(stage, &payer, &payee).await?;

    let asked = Instant::now();
    let mut node = resolve(chain, &deployment.registry, &stage.policy.policy).await?;
    println!("\n{}", answer::describe(&node));
    let (wallet, book) = (dev::wallet(), SpendBook::open(&stage.state.join("spends.json"))?);
    let path = stage.state.join("answer.candor");
    let keep = Keep::At(path.clone());
    let buyer =
        Buyer { wallet: &wallet, book: &book, spend: &stage.policy.spend, policy: &stage.policy.policy, keep: &keep, pay_again: false };
    let body = body(&node, question)?;
    println!("asked    {question}\n");
    let mut response = answer::stream(&mut node, &buyer, &body, true).await?;
    println!("\nanswered and verified in {:.2} s; waiting for settlement and anchor", asked.elapsed().as_secs_f64());

    let settled = answer::settle(chain, &node, &mut response.bundle, &stage.policy.policy, SETTLE_WAIT).await?;
    let (judged, verified) = verify_bundle(&response.bundle, &stage.policy.policy, settled.facts.as_chain_facts(), &K256);
    answer::keep_upgraded(&path, &response.bundle, &node, settled.facts.transfer_tx)?;
    three_questions(&judged, &node);
    if verified.is_none() || judged.outcome() != Outcome::Verified {
        return Err(Failure::cannot("the demo's own bundle did not verify"));
    }
    money(stage, &response, before, settled.facts.transfer_tx).await?;
    again_offline(stage, &path).await?;
    lies::refuse_all(stage, &response.bundle, settled.facts.as_chain_facts())?;
    try_it(stage, &node, &response.bundle, &path, settled.facts.transfer_tx).await
}

/// The request names its seed, so that the lie about another payment is caught by the payment's own check.
fn body(node: &Node, question: &str) -> Result<Vec<u8>, Failure> {
    let body = answer::request_body(node, None, question, 64, 0.0)?;
    let mut json: serde_json::Value = serde_json::from_slice(&body).map_err(|error| Failure::cannot(error.to_string()))?;
    json["seed"] = 7.into();
    Ok(json.to_string().into_bytes())
}

async fn balances(stage: &Stage, payer: &Address, payee: &Address) -> Result<(Amount, Amount), Failure> {
    let asset = dev::deployment(stage.client.chain_id()).test_usd;
    Ok((stage.client.token_balance(&asset, payer).await?, stage.client.token_balance(&asset, payee).await?))
}

fn three_questions(judged: &Verdict, node: &Node) {
    for question in [Question::Ran, Question::Private, Question::Paid, Question::Logged] {
        let of = |status: Status| judged.checks().iter().filter(move |check| check.step.question == question && check.status == status);
        let passed = of(Status::Passed).count();
        let unmade: Vec<&str> = of(Status::NotChecked).map(|check| check.id).collect();
        let answer = match question {
            Question::Private => {
                "proven to this client (it pinned the attested TLS key), not provable later; a stock TLS client: not proven private".into()
            }
            Question::Ran => format!("model {} in workload {:#}", model_name(node), node.enclave.workload()),
            Question::Paid => "charge = signed = offered = price table, to the attested payee; transfer seen on chain".into(),
            _ => format!("{} (levels: SELF-LOGGED < WITNESSED < ANCHORED)", judged.log_level().as_str()),
        };
        println!("\n{}\n  {answer}", question.as_str());
        if question == Question::Private {
            println!("  checks   tls.key: the server has the key that the evidence names; evidence.binding: the evidence names it");
            continue;
        }
        let names: Vec<&str> = of(Status::Passed).map(|check| check.id).collect();
        println!("  {passed} checks {}", names.join(" "));
        if !unmade.is_empty() {
            println!("  not checked: {}", unmade.join(" "));
        }
    }
    println!("\n{}: {}", judged.outcome().as_str().to_uppercase(), judged.assurance().as_str());
}

fn model_name(node: &Node) -> String {
    node.enclave.order().models.first().map(|model| format!("{} ({:#})", model.id, model.digest)).unwrap_or_default()
}

async fn money(stage: &Stage, response: &VerifiedResponse, before: (Amount, Amount), transfer: Option<Hash32>) -> Result<(), Failure> {
    let after = balances(stage, &Role::Payer.address(), &Role::Payee.address()).await?;
    let receipt = &response.bundle.delivery.receipt;
    println!("\npayer  {} -> {}", usd(before.0), usd(after.0));
    println!("payee  {} -> {}", usd(before.1), usd(after.1));
    let work = &receipt.work;
    println!(
        "charge {} for {} + {} tokens (offered for at most {})",
        usd(receipt.money.charged),
        work.prompt_tokens,
        work.completion_tokens,
        response.bundle.offer.max_tokens
    );
    if let Some(hash) = transfer
        && let Some(mined) = stage.client.transaction_receipt(&hash).await?
    {
        println!("settlement {hash}, gas {}", mined.gas_used);
    }
    let paid = before.0.checked_sub(after.0);
    if paid != Some(receipt.money.charged) || after.1.checked_sub(before.1) != paid {
        return Err(Failure::cannot("the balances do not show the charge"));
    }
    Ok(())
}

/// The same file, offline, in a process that was not there.
async fn again_offline(stage: &Stage, path: &Path) -> Result<(), Failure> {
    let (code, output) = process::run_once(&stage.state, &["verify", &shown(path)]).await?;
    let line = output.lines().find(|line| line.starts_with("VERIFIED") || line.starts_with("REFUSED")).unwrap_or_default();
    println!("\nthe same file, offline, in a fresh process: exit {}  {line}", code.unwrap_or(-1));
    if code == Some(0) { Ok(()) } else { Err(Failure::cannot(format!("the fresh verifier did not agree:\n{output}"))) }
}

async fn try_it(stage: &Stage, node: &Node, bundle: &Bundle, path: &Path, transfer: Option<Hash32>) -> Result<(), Failure> {
    let program = std::env::current_exe().map(|path| shown(&path)).unwrap_or_else(|_| "candor".into());
    let file = shown(path);
    let policy = shown(&crate::policy::default_path(&stage.state));
    println!("\nTry it yourself");
    println!(
        "  flip a byte     cp {file} /tmp/flipped.candor && printf '\\xff' | dd of=/tmp/flipped.candor bs=1 seek=9000 conv=notrunc status=none"
    );
    println!("                  {program} verify /tmp/flipped.candor --policy {policy}");
    println!("  the whole one   {program} verify {file} --policy {policy}");
    let (salt, receipt) = (&bundle.delivery.leaf_salt, &bundle.delivery.receipt);
    let preimage = [candor_verify::tags::LEAF, &salt.0, &receipt.digest().0, &bundle.delivery.signature.0].concat();
    println!("  the leaf        printf '{}' | xxd -r -p | sha256sum", to_hex(&preimage).trim_start_matches("0x"));
    if let Some(hash) = transfer {
        println!("  the transfer    cast receipt {hash} --rpc-url RPC     (while the chain runs: --keep)");
    }
    prove(stage, node, bundle).await?;
    genuine();
    Ok(())
}

/// Proves the receipt to a contract: the workload is put under a policy of ours, then one call.
async fn prove(stage: &Stage, node: &Node, bundle: &Bundle) -> Result<(), Failure> {
    let chain = &stage.client;
    let deployment = dev::deployment(chain.chain_id());
    let manifest = node.enclave.manifest();
    let Some(record) = chain.enclave(&deployment.registry, &manifest.k_sig).await? else {
        return Err(Failure::cannot("the registry lost the enclave"));
    };
    let (owner, salt) = (Role::Faucet.signer(), candor_verify::hash::keccak256(&[&manifest.k_sig.0]));
    let id = policy_id(&owner.address(), &salt);
    let policies = &deployment.workload_policy;
    for calldata in [create_policy_calldata(&salt, 0), propose_workload_calldata(&id, &record.workload_id)] {
        chain.send_and_wait(&owner, Some(policies), &calldata).await?;
    }
    let Some(later) = &bundle.later_anchor else { return Err(Failure::cannot("the bundle was not upgraded to an anchor")) };
    let receipt = &bundle.delivery.receipt;
    let url = node.log_url().unwrap_or_default();
    let request = ProveRequest {
        receipt: receipt.clone(),
        signature: bundle.delivery.signature,
        log_salt: bundle.delivery.leaf_salt,
        anchored_size: later.checkpoint.tree.size,
        inclusion: plain::inclusion(url, &receipt.log_id, receipt.sequence, later.checkpoint.tree.size).await?,
        policy_id: id,
    };
    let proven = chain.prove(&deployment.receipt_verifier, &request).await?;
    let gas = chain.prove_gas(&owner.address(), &deployment.receipt_verifier, &request).await?;
    println!("  on chain        ReceiptVerifier.prove says: signed by {}, anchored at {}; gas {gas}", proven.k_sig, proven.anchored_at_s);
    let file = stage.state.join("prove.calldata");
    std::fs::write(&file, to_hex(&request.calldata()?)).map_err(|error| Failure::cannot(error.to_string()))?;
    println!("                  cast call {} --data $(cat {}) --rpc-url RPC", deployment.receipt_verifier, shown(&file));
    Ok(())
}

/// A genuine AWS document, judged by the same code under the hardware root.
fn genuine() {
    use candor_verify::attest::{Freshness, TrustRoot, parse_document, verify_document};
    const DOCUMENT: &[u8] = include_bytes!("../../../../vectors/attestation/aws-us-east-2-2026-02-12.cose");
    let result = parse_document(DOCUMENT).and_then(|document| {
        verify_document(&document, &[TrustRoot::AWS_NITRO_G1], document.claimed_timestamp_ms(), Freshness::Historical)
    });
    match result {
        Ok(verified) => println!(
            "  real hardware   a genuine AWS Nitro document of {} ms verifies by the same code under AWS's root ({})",
            verified.timestamp_ms(),
            verified.module_id()
        ),
        Err(error) => println!("  real hardware   REFUSED {}: {error}", error.check()),
    }
}
