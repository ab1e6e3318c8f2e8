//! `candor prove FILE` and `candor observe FILE`: what a bundle is worth to a contract, and how it is shown.
//!
//! The contract judges whom to believe, and this command only asks it: nothing here is a verdict of ours (`candor verify` gives that one). A
//! bundle that does not hold together is refused before anything is asked or sent: no contract sees its text.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_chain::{ChainClient, ChainError, NewPolicy, ReceiptProof, Record, Signer, anchor_calldata, observe_calldata, open_calldata};
use candor_client::{Provable, public_answer};
use candor_verify::attest::parse_document;
use candor_verify::bundle::Bundle;
use candor_verify::bytes::{Address, Hash32, to_hex};
use candor_verify::check::{ChainFacts, verify_bundle};
use candor_verify::eip712::K256;
use candor_verify::policy::{Accept, Policy, Workloads};
use candor_verify::time::UnixSeconds;
use candor_verify::verdict::LogLevel;
use serde_json::{Value, json};

use crate::output::{Done, Failure, print_json, say};
use crate::rpc::RpcArgs;
use crate::wallet::Passphrase;
use crate::{policy, verify, wallet};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The bundle (a .candor file).
    bundle: PathBuf,
    /// The policy to prove under. If not said: the ownerless one that lists just what this bundle's node runs, as the verifier judged it.
    #[arg(long, value_name = "ID", value_parser = hash)]
    policy_id: Option<Hash32>,
    /// The task that the answer must be for; any other is refused here already.
    #[arg(long, value_name = "HASH", value_parser = hash)]
    task: Option<Hash32>,
    /// A contract that acts on the answer. It is called with the proof and the text.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    to: Option<Address>,
    /// Its function, which takes (AnswerProof[] proofs, string answer).
    #[arg(long, value_name = "NAME", default_value = "settle", requires = "to")]
    function: String,
    #[command(flatten)]
    on: On,
}

#[derive(clap::Args)]
pub(crate) struct ObserveArgs {
    /// The bundle (a .candor file).
    bundle: PathBuf,
    #[command(flatten)]
    on: On,
}

/// Which chain, and whether anything is sent.
#[derive(clap::Args)]
struct On {
    #[command(flatten)]
    rpc: RpcArgs,
    /// Policy file that names the registry; the state directory's policy.toml if not said.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Ask this registry, whatever the policy names.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    registry: Option<Address>,
    /// Send what is missing, from the wallet of this state directory: it pays gas.
    #[arg(long)]
    send: bool,
    #[command(flatten)]
    passphrase: Passphrase,
}

fn hash(text: &str) -> Result<Hash32, &'static str> {
    Hash32::from_hex(text).ok_or("expected 0x and 64 hex digits")
}

fn address(text: &str) -> Result<Address, &'static str> {
    Address::from_hex(text).ok_or("expected 0x and 40 hex digits")
}

impl On {
    /// The address comes out of the bundle: whoever made that up has a contract that says what they like, and burns what gas it gets.
    fn check_registry(&self, bundle: &Bundle, state: &Path) -> Result<(), Failure> {
        let named = (bundle.evidence.manifest.anchor_chain_id, bundle.evidence.manifest.registry);
        let is_known = match self.registry {
            Some(registry) => registry == named.1,
            None => policy::load(self.policy.as_deref(), state)?.policy.registries.named().contains(&named),
        };
        if is_known {
            return Ok(());
        }
        let what = "the policy does not name it; if you trust it, name it with --registry";
        Err(Failure::refused("policy.registry", format!("the bundle is of registry {} on chain {}: {what}", named.1, named.0)))
    }
}

/// Whether the bundle holds together: what a contract is shown of it, and what is said of it here, is what was signed. Whom to believe is for the
/// contract's policy to say, so root, workload, operator and model are taken as the bundle has them.
fn check_whole(bundle: &Bundle, named: Option<&Path>, state: &Path) -> Result<(), Failure> {
    let claimed = parse_document(bundle.evidence.document()).map(|document| document.claimed_root());
    let policy = Policy {
        roots: claimed.into_iter().collect(),
        workloads: Workloads::DangerousAny,
        operators: Accept::Any,
        registries: Accept::Any,
        models: Accept::Any,
        require_offer_binding: false,
        require_level: LogLevel::SelfLogged,
        // Cosignatures by others than these are refused.
        ..policy::load(named, state)?.policy
    };
    let (verdict, _) = verify_bundle(bundle, &policy, ChainFacts::default(), &K256);
    match verdict.refused() {
        None => Ok(()),
        Some(check) => {
            let what = format!("the bundle was altered, or is of nobody: expected {}, got {}", check.expected, check.got);
            Err(Failure::refused(check.id, format!("{what}; nothing was sent")))
        }
    }
}

/// A bundle beside its chain, and whose transactions there are.
struct Stage {
    bundle: Bundle,
    chain: ChainClient,
    found: Provable,
    signer: Option<Signer>,
}

impl Stage {
    async fn open(file: &Path, on: &On, state: &Path) -> Result<Self, Failure> {
        let bundle = verify::load(file, state)?;
        check_whole(&bundle, on.policy.as_deref(), state)?;
        on.check_registry(&bundle, state)?;
        let chain = on.rpc.connect().await?;
        let found = Provable::read(&chain, &bundle).await?;
        let signer = on.send.then(|| wallet::signer(state, chain.chain_id(), &on.passphrase)).transpose()?;
        Ok(Self { bundle, chain, found, signer })
    }

    /// Sends a call and waits for its block; `None` if nothing is to be sent.
    async fn send(&self, to: &Address, calldata: &[u8]) -> Result<Option<(Hash32, u64)>, Failure> {
        let Some(signer) = &self.signer else { return Ok(None) };
        let sent = self.chain.send_and_wait(signer, Some(to), calldata).await.map_err(refusal)?;
        match sent.is_success {
            true => Ok(Some((sent.hash, sent.gas_used))),
            false => Err(Failure::refused(CONTRACT, format!("transaction {} reverted", sent.hash))),
        }
    }

    /// Gas of a call, by whoever sends it; else by nobody in particular.
    async fn gas(&self, to: &Address, calldata: &[u8]) -> Result<u64, Failure> {
        let from = self.signer.as_ref().map_or(self.found.registry, Signer::address);
        self.chain.estimate_gas(&from, Some(to), calldata).await.map_err(refusal)
    }

    /// Has the bundle's own tree anchored, if the chain has no anchor with the receipt and the bundle can continue the last one.
    async fn anchor(&mut self) -> Result<(), Failure> {
        if self.found.anchored.is_some() || self.signer.is_none() {
            return Ok(());
        }
        let delivery = &self.bundle.delivery;
        let last = self.found.last_anchor;
        let earlier = delivery.earlier_anchor.as_ref();
        let continues = match &last {
            None => Some([].as_slice()),
            Some(last) => earlier.filter(|link| link.tree == last.tree).map(|link| link.consistency.as_slice()),
        };
        // The node anchored something else meanwhile: the way from there is the log's to show.
        let Some(consistency) = continues else { return Ok(()) };
        let calldata = anchor_calldata(&self.found.record, &delivery.checkpoint, last.as_ref(), consistency);
        self.send(&self.found.registry, &calldata).await?;
        self.found = Provable::read(&self.chain, &self.bundle).await?;
        Ok(())
    }
}

/// The name under which a contract's refusal is told.
const CONTRACT: &str = "contract";

/// A contract that says no refuses; whatever else goes wrong says nothing.
fn refusal(error: ChainError) -> Failure {
    let reason =
        || error.revert().filter(|reason| !reason.is_empty()).unwrap_or_else(|| "it gives no reason; has it that function?".into());
    match error.is_revert() {
        true => Failure::refused(CONTRACT, format!("the contract refuses: {}", reason())),
        false => error.into(),
    }
}

pub(crate) async fn run(args: Args, state: &Path, json_output: bool) -> Done {
    let mut stage = Stage::open(&args.bundle, &args.on, state).await?;
    let work = &stage.bundle.delivery.receipt.work;
    if let Some(task) = args.task
        && work.task_hash != task
    {
        return Err(Failure::refused("task", format!("expected an answer for task {task}, this one is for {}", work.task_hash)));
    }
    stage.anchor().await?;
    let policy_id = match args.policy_id {
        Some(id) => id,
        None => own_policy(&stage).await?,
    };
    let Some(proof) = stage.found.proof(&stage.bundle, policy_id) else {
        let what = "the chain saw no tree that holds this receipt. Wait for the node's anchor (`candor verify FILE --rpc URL` shows it), or anchor and keep \
                    the time yourself: --send, `candor observe FILE --send`";
        return Err(Failure::cannot(what));
    };
    let proven = stage.chain.prove(&stage.found.registry, &proof).await.map_err(refusal)?;
    let calldata = proof.calldata()?;
    let gas = stage.gas(&stage.found.registry, &calldata).await?;
    let answer = public_answer(&stage.bundle);
    let mut value = json!({
        "registry": stage.found.registry.to_string(), "policyId": policy_id.to_string(), "receiptDigest": proven.receipt_digest.to_string(),
        "kSig": proven.k_sig.to_string(), "operator": proven.operator.to_string(), "listedId": proven.listed_id.to_string(),
        "finished": proven.finished.0, "seenAt": proven.seen_at.0, "inSequence": proven.is_in_sequence, "gas": gas,
        "questionHash": work_hash(&stage, |work| work.question_hash), "task": work_hash(&stage, |work| work.task_hash),
        "answer": answer, "calldata": to_hex(&calldata),
    });
    if let Some(to) = &args.to {
        value["call"] = act(&stage, &proof, to, &args.function, answer.as_deref()).await?;
    }
    if json_output {
        print_json(&value);
    } else {
        tell(&value);
    }
    Ok(ExitCode::SUCCESS)
}

fn work_hash(stage: &Stage, of: fn(&candor_verify::receipt::Work) -> Hash32) -> Option<String> {
    Some(of(&stage.bundle.delivery.receipt.work)).filter(|hash| !hash.is_zero()).map(|hash| hash.to_string())
}

/// The call of a contract that acts on the answer: shown, and sent if so asked.
async fn act(stage: &Stage, proof: &ReceiptProof, to: &Address, function: &str, answer: Option<&str>) -> Result<Value, Failure> {
    let answer =
        answer.ok_or_else(|| Failure::refused("public", "the answer is not public: ask with --public, or with the contract's own body"))?;
    let calldata = open_calldata(function, proof, &stage.bundle.delivery.decoding, answer)?;
    let gas = stage.gas(to, &calldata).await?;
    let sent = stage.send(to, &calldata).await?;
    Ok(json!({
        "to": to.to_string(), "function": function, "gas": sent.map_or(gas, |(_, used)| used),
        "tx": sent.map(|(tx_hash, _)| tx_hash.to_string()), "calldata": to_hex(&calldata),
    }))
}

/// The policy that nobody owns and that lists just this workload, as its verifier judged it: whoever makes it makes the same one.
pub(crate) fn policy_of(record: &Record) -> NewPolicy {
    NewPolicy { owner: Address::ZERO, salt: Hash32::ZERO, delay: 0, max_lookback: 0, listings: vec![(record.listed_id(), UnixSeconds(0))] }
}

/// The ownerless policy of just this bundle's workload, as its verifier judged it. Made if something may be sent, because `prove` wants it there.
async fn own_policy(stage: &Stage) -> Result<Hash32, Failure> {
    let policy = policy_of(&stage.found.record);
    let (policies, id) = (stage.chain.policies_of(&stage.found.registry).await?, policy.id());
    if !stage.chain.policy_exists(&policies, &id).await? && stage.send(&policies, &policy.calldata()).await?.is_none() {
        let what = format!("nobody made the policy {id} yet, which lists just what this node runs");
        let call = to_hex(&policy.calldata());
        return Err(Failure::cannot(format!(
            "{what}; --send makes it, or name another with --policy-id\ncalldata for {policies}, by which anybody makes it:\n{call}"
        )));
    }
    Ok(id)
}

fn tell(value: &Value) {
    let text = |key: &str| value[key].as_str().unwrap_or("none").to_owned();
    say!("proven to any contract on this chain, by {}:", text("registry"));
    say!("  a receipt of {} (operator {})", text("kSig"), text("operator"));
    say!("  under policy {}, as listed id {}", text("policyId"), text("listedId"));
    let place =
        if value["inSequence"] == true { "anchored, in its log's sequence" } else { "observed only: somebody who holds the key said so" };
    say!("  finished at {}, on chain by {} (Unix seconds), {place}", value["finished"], value["seenAt"]);
    match value["answer"].as_str() {
        Some(answer) => say!("  public answer {answer:?}\n  to question {}, task {}", text("questionHash"), text("task")),
        None => say!("  the answer itself is not public: a contract learns that it was given, and not what it says"),
    }
    say!("  gas {}", value["gas"]);
    match &value["call"] {
        Value::Null => say!("calldata of prove:\n{}", text("calldata")),
        call => {
            let part = |key: &str| call[key].as_str().unwrap_or_default().to_owned();
            match call["tx"].as_str() {
                Some(tx) => say!("called {} of {}: transaction {tx}, gas {}", part("function"), part("to"), call["gas"]),
                None => say!(
                    "{} of {} would take it, gas {}; --send sends it:\n{}",
                    part("function"),
                    part("to"),
                    call["gas"],
                    part("calldata")
                ),
            }
        }
    }
}

pub(crate) async fn observe(args: ObserveArgs, state: &Path, json_output: bool) -> Done {
    let stage = Stage::open(&args.bundle, &args.on, state).await?;
    let (registry, signed) = (stage.found.registry, &stage.bundle.delivery.checkpoint);
    let tree = signed.checkpoint.tree;
    let at = stage.chain.observed(&registry, &stage.found.record.k_sig, &tree).await?;
    let calldata = observe_calldata(&stage.found.record, &signed.checkpoint, &signed.signature);
    let gas = stage.gas(&registry, &calldata).await?;
    // The first time stands: another transaction would change nothing.
    let sent = if at.is_some() { None } else { stage.send(&registry, &calldata).await? };
    let at = match sent {
        Some(_) => stage.chain.observed(&registry, &stage.found.record.k_sig, &tree).await?,
        None => at,
    };
    let value = json!({
        "registry": registry.to_string(), "size": tree.size, "root": tree.root.to_string(), "observedAt": at.map(|at| at.0),
        "gas": sent.map_or(gas, |(_, used)| used), "tx": sent.map(|(tx_hash, _)| tx_hash.to_string()), "calldata": to_hex(&calldata),
    });
    if json_output {
        print_json(&value);
        return Ok(ExitCode::SUCCESS);
    }
    match at {
        None if stage.found.anchored.is_some() => {
            say!("the chain has an anchor that holds this receipt, and keeps its time by that; --send shows the tree besides, gas {gas}")
        }
        Some(at) => say!("the chain saw the tree of this bundle (size {}) at {at} (Unix seconds): its receipt existed by then", tree.size),
        None => {
            say!(
                "nobody has shown the chain the tree of this bundle (size {}); --send shows it, gas {gas}\n{}",
                tree.size,
                to_hex(&calldata)
            )
        }
    }
    Ok(ExitCode::SUCCESS)
}
