//! `candor ask "…"`: resolve a node, verify it, see the price, pay, stream, verify the answer, keep the bundle.
//!
//! - **Invariant:** standard output has the answer alone, or the price with `--quote`, or one JSON value.
//!
//! | file | what |
//! |---|---|
//! | here | the options, and one question from beginning to end |
//! | `buying` | who is asked and who pays: what `ask` and `chat` share |
//! | `question` | what is asked |
//! | `settled` | the transfer and the anchor afterwards |

mod buying;
mod question;
mod settled;

use std::path::{Path, PathBuf};
use std::time::Duration;

use candor_client::{KeepMode, VerifiedNode, VerifiedResponse, cut_notice, quote};
use candor_report::verdict_json;
use candor_verify::bytes::Hash32;
use candor_verify::offer::Offer;
use candor_verify::receipt::Outcome as WorkOutcome;
use candor_verify::verdict::{LogLevel, Outcome, Verdict};
use serde_json::{Value, json};

pub(crate) use self::buying::{Buying, Price, Shop, stream};
pub(crate) use self::question::{Sampling, text, user};
pub(crate) use self::settled::{Settled, finish, keep_upgraded, settle};
use crate::output::{Done, note, print_json, prose_aside, read, write_result};
use crate::paint::Line;
use crate::spinner::Spinner;
use crate::told::{Told, charged};
use crate::{bundles, page, verify};

/// How long to wait for the transfer and the anchor before the bundle is kept as it is.
pub(crate) const SETTLE_WAIT: Duration = Duration::from_secs(20);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The question; standard input for `-`, or if nothing is said and something is piped in.
    prompt: Option<String>,
    /// Add a text file to the question, under its name; once for each. `-` is standard input.
    #[arg(long = "file", short, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    sampling: Sampling,
    /// Send this file as the request's body, byte for byte, instead of a question: what a contract wrote must not change.
    #[arg(long, value_name = "FILE",
        conflicts_with_all = ["prompt", "files", "model", "system", "max_tokens", "temperature", "top_p", "seed", "stop", "public", "task"])]
    body: Option<PathBuf>,
    /// Ask for a public answer, which a contract can read: question and answer are then no secret.
    #[arg(long)]
    public: bool,
    /// The task that a public answer is for: 0x and 64 hex digits, named by the contract that waits for it.
    #[arg(long, value_name = "HASH", requires = "public", value_parser = task)]
    task: Option<Hash32>,
    /// Show the price and who would be paid. Nothing is paid, and no wallet is needed.
    #[arg(long, conflicts_with_all = ["bundle", "html", "pay_again"])]
    quote: bool,
    #[command(flatten)]
    buying: Buying,
    /// Where to write the bundle, a file that must not exist yet; the state directory's bundles/ if not said.
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    #[command(flatten)]
    keep: bundles::KeepArg,
    /// Draw the verdict as a page too, as `candor verify --html` does; this one says that you held the connection.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Pay even if an earlier payment for the same question is unresolved. Both may be charged.
    #[arg(long)]
    pay_again: bool,
    /// Show every check, and who was asked.
    #[arg(long, short)]
    verbose: bool,
}

fn task(text: &str) -> Result<Hash32, &'static str> {
    Hash32::from_hex(text).filter(|task| !task.is_zero()).ok_or("expected 0x and 64 hex digits, not all zero")
}

pub(crate) async fn run(args: Args, state: &Path, json_output: bool) -> Done {
    prose_aside();
    // Before anybody is asked: what cannot be right costs nothing.
    args.sampling.check()?;
    let question = match &args.body {
        Some(_) => String::new(),
        None => text(args.prompt.as_deref(), &args.files)?,
    };
    if let Some(out) = &args.html {
        page::may_be_written(out)?;
    }
    args.keep.check_copy(json_output)?;
    let keep = args.keep.place(KeepMode::Full, args.bundle.clone(), state)?;
    keep.check_free()?;
    let mut shop = args.buying.open(state, keep, json_output).await?;
    if args.verbose && !json_output {
        note!("{}", describe(&shop.node));
    }
    let body = match &args.body {
        Some(file) => read(file)?,
        None => args.sampling.body(&shop.node, &[user(&question)], args.public.then(|| args.task.unwrap_or_default()))?,
    };
    // A body as it is may name any model.
    let model = if args.body.is_some() { None } else { Some(args.sampling.model.as_deref()) };
    if args.quote {
        return tell_quote(&mut shop, model, &body, json_output).await;
    }
    shop.open_wallet(model, &args.buying, state)?;
    shop.pay_again = args.pay_again;
    let mut response = shop.ask(&body, &args.buying, !json_output).await?;
    let spinner = Spinner::start(!json_output, "verified; waiting for the transfer and the anchor");
    let settled = finish(shop.own.client(), &mut response, &shop.policy.policy, &shop.keep, SETTLE_WAIT).await;
    drop(spinner);
    let Settled { facts, verdict, trouble, .. } = settled?;
    let required = shop.policy.policy.require_level;
    if let Some(out) = &args.html {
        let bytes = response.bundle.encode();
        let asked_chain = trouble.is_none().then(|| shop.own.client().chain_id());
        let (file, bundle, transfer_tx) = (response.path.as_deref().unwrap_or(out), &response.bundle, facts.transfer_tx);
        page::write(
            out,
            &page::Shown { file, bytes: &bytes, bundle, verdict: &verdict, required, transfer_tx, asked_chain, is_live: true },
        )?;
    }
    match json_output {
        true => {
            let mut value = answer_json(&response, &verdict, args.keep.is_proof());
            value["trouble"] = trouble.as_deref().into();
            print_json(&value);
        }
        false => report(&response, &verdict, trouble.as_deref(), required, args.verbose),
    }
    // There is no answer: whoever reads the code alone must not take the empty output for one.
    if response.bundle.delivery.receipt.work.outcome == WorkOutcome::RefusedByGuard && verdict.outcome() == Outcome::Verified {
        return Ok(std::process::ExitCode::from(2));
    }
    Ok(verify::exit_code(&verdict))
}

/// The price of this very request, which is not sent again with a payment.
async fn tell_quote(shop: &mut Shop, model: Option<Option<&str>>, body: &[u8], json_output: bool) -> Done {
    let node = shop.node.endpoint.authority();
    // Whoever asked for it would have had the answer.
    let quoted = match shop.is_bought(model) {
        false => None,
        true => quote(&mut shop.node, &shop.policy.policy, &shop.policy.spend, body).await?,
    };
    let Some(quoted) = quoted else {
        match json_output {
            true => print_json(&json!({"node": node, "free": true})),
            false => write_result(format_args!("it costs nothing at {node}\n")),
        }
        return Ok(std::process::ExitCode::SUCCESS);
    };
    let (offer, price) = (&quoted.offer, Price::of(&quoted.offer, shop.node.enclave.terms()));
    if json_output {
        print_json(&json!({
            "node": node, "free": false, "price": price.decimal(), "amount": offer.amount.to_string(), "asset": offer.asset.to_string(),
            "asset_name": price.name(), "chain_id": offer.chain_id, "payee": offer.payee.to_string(), "prompt_tokens": offer.prompt_tokens,
            "max_tokens": offer.max_tokens, "valid_until": offer.valid_until.0, "refused_by_policy": quoted.refusal,
        }));
    } else {
        let Offer { prompt_tokens, max_tokens, payee, chain_id, .. } = offer;
        let refusal = quoted.refusal.map(|refusal| format!("your policy would not pay it: {refusal}\n")).unwrap_or_default();
        let charge = if offer.scheme.is_metered() { "at most; what comes is charged" } else { "whatever comes" };
        write_result(format_args!(
            "{price} for {prompt_tokens} tokens read and at most {max_tokens} written, {charge}\n\
             to {payee}, the payee that {node} is attested with, on chain {chain_id}; nothing was paid\n{refusal}"
        ));
    }
    Ok(std::process::ExitCode::SUCCESS)
}

/// An answer for programs. With `has_copy` also its texts as they travelled, for who keeps a proof of it.
pub(crate) fn answer_json(response: &VerifiedResponse, verdict: &Verdict, has_copy: bool) -> Value {
    let receipt = &response.bundle.delivery.receipt;
    let mut value = json!({
        "text": response.text, "receipt_id": response.receipt_id, "bundle": response.path.as_ref().map(|path| path.display().to_string()),
        "charged": receipt.money.charged.to_string(), "charge": charged(&response.bundle), "asset": receipt.money.asset.to_string(),
        "prompt_tokens": receipt.work.prompt_tokens, "completion_tokens": receipt.work.completion_tokens,
        "outcome": receipt.work.outcome.as_str(), "cut": cut_notice(&response.bundle), "verdict": verdict_json(verdict),
    });
    if has_copy {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let frames = response.bundle.response.frames.iter().map(|frame| format!("data: {}\n\n", text(frame)));
        value["request"] = text(&response.bundle.request.body).into();
        value["response"] = frames.chain(["data: [DONE]\n\n".to_owned()]).collect::<String>().into();
    }
    value
}

/// What stands under an answer: three lines, or every check, and where its evidence is.
fn report(response: &VerifiedResponse, verdict: &Verdict, trouble: Option<&str>, required: LogLevel, is_verbose: bool) {
    let told = Told { bundle: &response.bundle, verdict, required, is_live: true };
    note!("");
    let is_whole = is_verbose || verdict.outcome() != Outcome::Verified;
    match is_whole {
        true => told.whole(),
        false => told.brief().iter().for_each(Line::say),
    }
    for notice in told.caveat().map(str::to_owned).into_iter().chain(cut_notice(&response.bundle)) {
        note!("{notice}");
    }
    note!("{}", bundles::kept_where(response));
    if let Some(trouble) = trouble {
        let file = response.path.as_ref().map_or_else(|| "FILE".to_owned(), |path| path.display().to_string());
        note!("{trouble}; settlement and anchor were not looked for. Later: candor verify {file} --rpc URL");
    }
}

/// One line about who was verified.
pub(crate) fn describe(node: &VerifiedNode) -> String {
    let manifest = node.enclave.manifest();
    let kind = if node.enclave.is_simulated() { "SIMULATED" } else { "hardware" };
    format!("verified enclave {} ({kind}) at {}, payee {}", manifest.k_sig, node.endpoint.authority(), manifest.payee)
}
