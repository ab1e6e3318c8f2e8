//! `candor ask "…"`: resolve a node, verify it, pay, stream, verify the answer, keep the bundle.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use candor_chain::ChainClient;
use candor_client::{
    Awaited, Buyer, ClientError, Endpoint, Facts, Keep, Progress, VerifiedNode, VerifiedResponse, ask, cut_notice, frame_text,
    keep_as_refused, needs_wallet, resolve, verified_facts, verify_live, write_private,
};
use candor_report::{decimal_text, headline, verdict_json};
use candor_verify::bundle::Bundle;
use candor_verify::bytes::Hash32;
use candor_verify::check::{ChainFacts, VerifiedBundle, verify_bundle};
use candor_verify::eip712::K256;
use candor_verify::policy::Policy;
use candor_verify::text::one_line;
use candor_verify::verdict::{LogLevel, Outcome, Verdict};
use clap::builder::NonEmptyStringValueParser;
use serde_json::json;

use crate::output::{Done, Failure, note, print_json, read, say, write_out};
use crate::rpc::RpcArgs;
use crate::{access, bundles, dev, policy, verify, wallet};

/// How long to wait for the transfer and the anchor before the bundle is kept as it is.
const SETTLE_WAIT: Duration = Duration::from_secs(20);

/// Between two looks for them: short at first, because a transfer takes one block, and never longer than a person notices.
const LOOK_PAUSE_MIN: Duration = Duration::from_millis(50);
const LOOK_PAUSE_MAX: Duration = Duration::from_millis(200);

/// Before what is there is judged again.
const JUDGE_PAUSE: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The question.
    #[arg(value_parser = NonEmptyStringValueParser::new(), required_unless_present = "body")]
    prompt: Option<String>,
    /// Send this file as the request's body, byte for byte, instead of a question: what a contract wrote must not change.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "model", "max_tokens", "temperature", "seed", "public", "task"])]
    body: Option<PathBuf>,
    /// Model to ask; the node's first if not said.
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    model: Option<String>,
    /// Tokens of answer at most.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: u32,
    /// From 0 to 2; 0 always takes the likeliest token.
    #[arg(long, default_value_t = 0.0, value_parser = temperature)]
    temperature: f64,
    /// Seed of the sampling; node and payment make one together if not said.
    #[arg(long)]
    seed: Option<i64>,
    /// Ask for a public answer, which a contract can read: question and answer are then no secret.
    #[arg(long)]
    public: bool,
    /// The task that a public answer is for: 0x and 64 hex digits, named by the contract that waits for it.
    #[arg(long, value_name = "HASH", requires = "public", value_parser = task)]
    task: Option<Hash32>,
    #[command(flatten)]
    rpc: RpcArgs,
    /// Policy file; the state directory's policy.toml if not said.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Ask this node instead of looking in the registry; its evidence is judged all the same.
    #[arg(long, value_name = "URL")]
    node: Option<String>,
    /// Where to write the bundle, a file that must not exist yet; the state directory's bundles/ if not said.
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    #[command(flatten)]
    key: access::KeyArg,
    /// Pay even if an earlier payment for the same question is unresolved. Both may be charged.
    #[arg(long)]
    pay_again: bool,
    #[command(flatten)]
    passphrase: wallet::Passphrase,
}

/// Checked here: JSON has no word for NaN, and a node that is sent `null` takes its default.
fn temperature(text: &str) -> Result<f64, &'static str> {
    text.parse::<f64>().ok().filter(|value| (0.0..=2.0).contains(value)).ok_or("expected a number from 0 to 2")
}

pub(crate) async fn run(args: Args, state: &Path, json_output: bool) -> Done {
    let key = args.key.load()?;
    let keep = args.bundle.clone().map_or_else(|| Keep::In(bundles::directory(state)), Keep::At);
    keep.check_free()?;
    let own = args.rpc.own_chain().await?;
    let chain = own.client();
    let policy = policy::to_buy_by(args.policy.as_deref(), state, chain.chain_id())?;
    let registry = policy::registry(&policy, args.policy.as_deref(), state)?;
    // A chain in trouble is told as that, and not as a node that is not there.
    let _well = own.check().await.map_err(ClientError::from)?;
    let found = match &args.node {
        None => resolve(chain, &registry, &policy.policy, &policy.find).await,
        Some(url) => verify_live(chain, &policy.policy, Endpoint::parse(url)?, None).await,
    };
    let mut node = match found {
        Ok(node) => node,
        Err(error) => return Err(policy::explain(error, args.node.as_deref(), args.policy.as_deref(), state)),
    };
    if !json_output {
        note!("{}", describe(&node));
    }
    // Nobody is asked for a passphrase to what costs nothing. A body as it is may name any model.
    let is_bought = (args.body.is_some() && key.is_none()) || needs_wallet(node.enclave.terms(), args.model.as_deref(), key.as_ref());
    let wallet = is_bought.then(|| wallet::open(state, chain.chain_id(), &args.passphrase)).transpose()?;
    let book = dev::book(state)?;
    book.settle_up(chain).await;
    let buyer = Buyer {
        chain: &own,
        wallet: wallet.as_ref(),
        key: key.as_ref(),
        book: &book,
        spend: &policy.spend,
        policy: &policy.policy,
        keep: &keep,
        pay_again: args.pay_again,
    };
    let body = match (&args.body, &args.prompt) {
        (Some(file), _) => read(file)?,
        (None, Some(prompt)) => {
            let question = Question {
                model: args.model.as_deref(),
                prompt,
                max_tokens: args.max_tokens,
                temperature: args.temperature,
                seed: args.seed,
                public: args.public.then(|| args.task.unwrap_or_default()),
            };
            question.body(&node)?
        }
        (None, None) => return Err(Failure::cannot("no question")),
    };
    let mut response = stream(&mut node, &buyer, &body, !json_output).await?;
    let settled = settle(chain, &node, &mut response, &policy.policy, SETTLE_WAIT).await;
    // It is paid for and on disk, whatever is said of it from here on.
    let Settled { facts, verdict, trouble, .. } = settled.map_err(|failure| failure.about(&response.path))?;
    if verdict.outcome() == Outcome::Refused {
        response.path = keep_as_refused(&response.path, &response.bundle)?;
    }
    keep_upgraded(&response.path, &response.bundle, &node, facts.transfer_tx)?;
    report(&response, &verdict, trouble.as_deref(), policy.policy.require_level, json_output);
    Ok(verify::exit_code(&verdict))
}

/// What was charged, in the token's own decimals and by its own name, as the signed terms have them.
fn charged(bundle: &Bundle) -> String {
    let money = &bundle.delivery.receipt.money;
    match (&bundle.sale, bundle.evidence.terms.terms.asset(money.chain_id, &money.asset)) {
        (None, _) => "nobody paid".to_owned(),
        (Some(_), Some(asset)) => format!("{} {}", decimal_text(money.charged, asset.decimals), one_line(&asset.name)),
        (Some(_), None) => format!("{} units of {}", money.charged, money.asset),
    }
}

fn report(response: &VerifiedResponse, verdict: &Verdict, trouble: Option<&str>, required: LogLevel, json_output: bool) {
    let path = &response.path;
    let receipt = &response.bundle.delivery.receipt;
    let charged = charged(&response.bundle);
    if json_output {
        print_json(&json!({
            "text": response.text, "receipt_id": response.receipt_id, "bundle": path.display().to_string(),
            "charged": receipt.money.charged.to_string(), "asset": receipt.money.asset.to_string(),
            "prompt_tokens": receipt.work.prompt_tokens, "completion_tokens": receipt.work.completion_tokens,
            "outcome": receipt.work.outcome.as_str(), "cut": cut_notice(&response.bundle), "verdict": verdict_json(verdict),
            "trouble": trouble,
        }));
        return;
    }
    note!(
        "{}   {} + {} tokens, {}   {}",
        headline(verdict),
        receipt.work.prompt_tokens,
        receipt.work.completion_tokens,
        charged,
        path.display()
    );
    if let Some(notice) = cut_notice(&response.bundle) {
        note!("{notice}");
    }
    if let Some(trouble) = trouble {
        note!("{trouble}; settlement and anchor were not looked for. Later: candor verify {} --rpc URL", path.display());
    }
    if verdict.outcome() != Outcome::Verified {
        verify::print(verdict, required);
    }
}

/// One line about who was verified.
pub(crate) fn describe(node: &VerifiedNode) -> String {
    let manifest = node.enclave.manifest();
    let kind = if node.enclave.is_simulated() { "SIMULATED" } else { "hardware" };
    format!("verified enclave {} ({kind}) at {}, payee {}", manifest.k_sig, node.endpoint.authority(), manifest.payee)
}

/// One question and how it is to be answered.
pub(crate) struct Question<'a> {
    /// The node's first if none is named.
    pub(crate) model: Option<&'a str>,
    pub(crate) prompt: &'a str,
    pub(crate) max_tokens: u32,
    pub(crate) temperature: f64,
    pub(crate) seed: Option<i64>,
    /// For a public answer: the task that it is for, or zero.
    pub(crate) public: Option<Hash32>,
}

impl Question<'_> {
    /// An OpenAI chat request.
    pub(crate) fn body(&self, node: &VerifiedNode) -> Result<Vec<u8>, Failure> {
        let models = &node.enclave.terms().models;
        let model = match self.model {
            Some(model) => model,
            None => models.first().map(|model| model.id.as_str()).ok_or_else(|| Failure::cannot("the node lists no model"))?,
        };
        let mut body = json!({
            "model": model, "messages": [{"role": "user", "content": self.prompt}], "stream": true,
            "stream_options": {"include_usage": true}, "max_tokens": self.max_tokens, "temperature": self.temperature,
        });
        if let Some(seed) = self.seed {
            body["seed"] = seed.into();
        }
        if let Some(task) = self.public {
            body["candor"] = match task.is_zero() {
                true => json!({"public": true}),
                false => json!({"public": true, "task": task.to_string()}),
            };
        }
        Ok(body.to_string().into_bytes())
    }
}

fn task(text: &str) -> Result<Hash32, &'static str> {
    Hash32::from_hex(text).filter(|task| !task.is_zero()).ok_or("expected 0x and 64 hex digits, not all zero")
}

/// Asks, and shows the answer as it streams.
pub(crate) async fn stream(node: &mut VerifiedNode, buyer: &Buyer<'_>, body: &[u8], show: bool) -> Result<VerifiedResponse, Failure> {
    let mut print = |progress: Progress<'_>| {
        if let (true, Progress::Frame(frame) | Progress::Body(frame)) = (show, &progress) {
            write_out(format_args!("{}", frame_text(frame)));
        }
    };
    let response = ask(node, buyer, body, &mut print).await;
    if show {
        say!();
    }
    Ok(response?)
}

/// What the chain says once the money has moved and the log is anchored, and the verdict with it.
#[derive(Debug)]
pub(crate) struct Settled {
    /// For further verdicts.
    pub(crate) facts: Facts,
    pub(crate) verdict: Verdict,
    /// `None` if the verdict refuses.
    pub(crate) verified: Option<VerifiedBundle>,
    /// Why the chain, or the log on the way to its anchor, was not asked to the end; then the verdict is the one without them.
    pub(crate) trouble: Option<String>,
}

/// Waits until the transfer is seen and a tree that holds the receipt is anchored, upgrades the bundle to it, and judges it. A chain that
/// cannot be asked ends the waiting and not the command: the answer is paid for and there.
pub(crate) async fn settle(
    chain: &ChainClient,
    node: &VerifiedNode,
    response: &mut VerifiedResponse,
    policy: &Policy,
    wait: Duration,
) -> Result<Settled, Failure> {
    match settled(chain, node, response, policy, wait).await {
        Err(error @ (ClientError::Chain(_) | ClientError::Unreachable { .. })) => {
            let (verdict, verified) = verify_bundle(&response.bundle, policy, ChainFacts::default(), &K256);
            Ok(Settled { facts: Facts::default(), verdict, verified, trouble: Some(error.to_string()) })
        }
        done => Ok(done?),
    }
}

async fn settled(
    chain: &ChainClient,
    node: &VerifiedNode,
    response: &mut VerifiedResponse,
    policy: &Policy,
    wait: Duration,
) -> Result<Settled, ClientError> {
    let deadline = Instant::now() + wait;
    let mut awaited = Awaited::of(chain, &response.bundle);
    let mut pause = LOOK_PAUSE_MIN;
    loop {
        let is_over = deadline <= Instant::now();
        if awaited.look(chain, &response.bundle).await? || is_over {
            if response.bundle.later_trees.is_empty()
                && let Some(url) = node.log_url()
            {
                awaited.add(&mut response.bundle, url).await?;
            }
            // With a log to ask, the bundle is upgraded even if its own tree is the anchored one: then it says so by itself.
            if !response.bundle.later_trees.is_empty() || node.log_url().is_none() || is_over {
                let facts = verified_facts(chain, &response.bundle, &response.verified, policy).await?;
                let (verdict, verified) = verify_bundle(&response.bundle, policy, facts.as_chain_facts(), &K256);
                let is_settled = facts.transfer_tx.is_some() || response.bundle.sale.is_none();
                if is_over || (is_settled && verdict.log_level() == LogLevel::Anchored) {
                    return Ok(Settled { facts, verdict, verified, trouble: None });
                }
                // The endpoint shows one thing and not yet the other, or never will.
                pause = JUDGE_PAUSE;
            }
        }
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(LOOK_PAUSE_MAX);
    }
}

/// Writes the bundle again with what settlement added, and the hints beside it that no verdict reads.
pub(crate) fn keep_upgraded(path: &Path, bundle: &Bundle, node: &VerifiedNode, transfer: Option<Hash32>) -> Result<(), Failure> {
    write_private(path, &bundle.encode())?;
    let hints = json!({
        "node": node.endpoint.authority(), "log": node.log_url(), "transfer": transfer.map(|hash| hash.to_string()),
        "note": "locations only; no verdict reads this file",
    });
    write_private(&path.with_extension("hints.json"), hints.to_string().as_bytes())?;
    Ok(())
}
