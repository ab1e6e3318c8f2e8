//! `candor replay BUNDLE`: run the model again and compare byte for byte. A second proof that trusts no TEE vendor.
//!
//! Only receipts of the kind REEXEC can be replayed, by whoever has the bundle and the weights. What it shows: these bytes follow from
//! these weights, this request and this seed. What it does not show: who ran them, or when. So the verdict comes first: equal bytes in a
//! bundle that nobody signed are anybody's.
//! - **Invariant:** exit code 0 only if the bytes are equal and, unless `--unsigned` was said, the bundle verifies.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use candor_engine::{ENGINE, Model, chat};
use candor_verify::bundle::Bundle;
use candor_verify::bytes::Hash32;
use candor_verify::check::{ChainFacts, verify_bundle};
use candor_verify::eip712::K256;
use candor_verify::receipt::Kinds;
use serde_json::json;

use crate::output::{Done, Failure, print_json, read, say};
use crate::paint::Line;
use crate::told::Told;
use crate::{dev, policy, verify};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The bundle (a .candor file).
    bundle: PathBuf,
    /// Model container (.cnd1) with the weights the receipt names; the built-in model if not said.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Policy file; the state directory's policy.toml if not said, else hardware roots only.
    #[arg(long, value_name = "FILE", conflicts_with = "unsigned")]
    policy: Option<PathBuf>,
    /// Compare bytes only, without a verdict on the bundle: then "equal" says nothing of who signed it, or that anybody ran it before.
    #[arg(long)]
    unsigned: bool,
}

pub(crate) async fn run(args: Args, state: &Path, json_output: bool) -> Done {
    let bundle = verify::load(&args.bundle, state)?;
    let policy = policy::load(args.policy.as_deref(), state)?.policy;
    let verdict = (!args.unsigned).then(|| verify_bundle(&bundle, &policy, ChainFacts::default(), &K256).0);
    let name = args.bundle.display().to_string();
    let advise = |verdict| policy::bundle_advice(verdict, &bundle, &name, args.policy.as_deref(), state);
    let advice = verdict.as_ref().and_then(advise);
    if let (Some(verdict), false) = (&verdict, json_output) {
        let told = Told { bundle: &bundle, verdict, required: policy.require_level, is_live: false };
        told.brief().iter().for_each(Line::say);
        if let Some(advice) = &advice {
            say!("what to do: {advice}");
        }
        say!();
    }
    let replayed =
        replay(&bundle, args.model.as_deref()).map_err(|failure| match verdict.as_ref().and_then(|verdict| verdict.refused()) {
            Some(check) => {
                Failure::refused(check.id, format!("the bundle is refused by {}, and not replayed: {}", check.id, failure.message()))
            }
            None => failure,
        })?;
    let Replayed { given, again, bytes, differs, is_equal, seconds } = replayed;
    if json_output {
        print_json(&json!({
            "equal": is_equal, "frames": given, "bytes": bytes, "first_difference": differs, "seconds": seconds,
            "verdict": verdict.as_ref().map(candor_report::verdict_json), "advice": advice,
        }));
    } else if is_equal {
        let tokens = bundle.delivery.receipt.work.completion_tokens;
        let unsigned = if args.unsigned { "; whose answer it is was not checked" } else { "" };
        say!("equal: {given} frames, {bytes} bytes, byte for byte, {tokens} tokens in {seconds:.3} s{unsigned}");
    } else {
        let at = differs.map_or(format!("{given} frames, replayed {again}"), |at| format!("frame {at} differs"));
        say!("refused  replay  {at}");
    }
    Ok(match (is_equal, &verdict) {
        (false, _) => ExitCode::from(1),
        (true, None) => ExitCode::SUCCESS,
        (true, Some(verdict)) => verify::exit_code(verdict),
    })
}

/// What came out of running the model again.
struct Replayed {
    given: usize,
    again: usize,
    bytes: usize,
    differs: Option<usize>,
    is_equal: bool,
    seconds: f64,
}

fn replay(bundle: &Bundle, model: Option<&Path>) -> Result<Replayed, Failure> {
    let (work, decoding) = (&bundle.delivery.receipt.work, &bundle.delivery.decoding);
    if !work.kinds.contains(Kinds::REEXEC) {
        return Err(Failure::cannot("this receipt does not claim to be replayable (no REEXEC)"));
    }
    if decoding.engine != ENGINE {
        return Err(Failure::cannot(format!("the answer was made by {}, this program has {ENGINE}", decoding.engine)));
    }
    let given = &bundle.response.frames;
    if given.is_empty() {
        // Nothing is the beginning of every answer: it would equal all of them.
        return Err(Failure::cannot("the bundle has no frame: there is nothing to compare"));
    }
    let container = model.map_or_else(|| Ok(dev::built_in_model()), read)?;
    let model = Model::load(&container).map_err(|error| Failure::cannot(format!("the model is refused: {error}")))?;
    if Hash32(model.digest()) != work.model_id {
        let message =
            format!("the receipt names model {}, this is {}; give the right one with --model", work.model_id, Hash32(model.digest()));
        return Err(Failure::cannot(message));
    }
    let started = Instant::now();
    let id = chat::answer_id(&work.request_commitment.0);
    // By the record's limit: a node may have offered fewer tokens than the request asks for.
    let frames = chat::replay(&model, &bundle.request.body, decoding.seed.0, decoding.max_tokens, &id, work.started_at.seconds().0)
        .map_err(|error| Failure::cannot(format!("the request cannot be run: {error}")))?;
    let differs = given.iter().zip(&frames).position(|(given, again)| given != again);
    // A cut answer holds a beginning of the whole one.
    let is_cut = work.outcome.is_cut() && given.len() < frames.len();
    Ok(Replayed {
        given: given.len(),
        again: frames.len(),
        bytes: given.iter().map(Vec::len).sum(),
        differs,
        is_equal: differs.is_none() && (given.len() == frames.len() || is_cut),
        seconds: started.elapsed().as_secs_f64(),
    })
}
