//! `candor replay BUNDLE`: run the model again and compare byte for byte. A second proof that trusts no TEE vendor.
//!
//! Only receipts of the kind REEXEC can be replayed, by whoever has the bundle and the weights. What it shows: these bytes follow from
//! these weights, this request and this seed. What it does not show: who ran them, or when.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use candor_engine::{ENGINE, Model, chat};
use candor_verify::bytes::Hash32;
use candor_verify::receipt::Kinds;
use serde_json::json;

use crate::output::{Done, Failure, print_json, read, say};
use crate::{dev, verdict};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The bundle (a .candor file). Verify it first: replay judges the bytes, not who signed them.
    bundle: PathBuf,
    /// Model container (.cnd1) with the weights the receipt names; the built-in model if not said.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, _state: &Path, json_output: bool) -> Done {
    let bundle = verdict::load(&args.bundle)?;
    let (work, decoding) = (&bundle.delivery.receipt.work, &bundle.delivery.decoding);
    if !work.kinds.contains(Kinds::REEXEC) {
        return Err(Failure::cannot("this receipt does not claim to be replayable (no REEXEC)"));
    }
    if decoding.engine != ENGINE {
        return Err(Failure::cannot(format!("the answer was made by {}, this program has {ENGINE}", decoding.engine)));
    }
    let container = args.model.map_or_else(|| Ok(dev::built_in_model()), |path| read(&path))?;
    let model = Model::load(&container).map_err(|error| Failure::cannot(format!("the model is refused: {error}")))?;
    if Hash32(model.digest()) != work.model_id {
        let message =
            format!("the receipt names model {}, this is {}; give the right one with --model", work.model_id, Hash32(model.digest()));
        return Err(Failure::cannot(message));
    }
    let started = Instant::now();
    let id = chat::answer_id(&work.request_commitment.0);
    let frames = chat::replay(&model, &bundle.request.body, decoding.seed.0, &id, work.started_at / 1000)
        .map_err(|error| Failure::cannot(format!("the request cannot be run: {error}")))?;
    // An aborted answer holds a beginning of the whole one.
    let given = &bundle.response.frames;
    let differs = given.iter().zip(&frames).position(|(given, again)| given != again);
    let aborted = work.outcome == candor_verify::receipt::Outcome::AbortedByClient;
    let equal = differs.is_none() && (given.len() == frames.len() || (aborted && given.len() < frames.len()));
    let bytes: usize = given.iter().map(Vec::len).sum();
    let seconds = started.elapsed().as_secs_f64();
    if json_output {
        print_json(&json!({"equal": equal, "frames": given.len(), "bytes": bytes, "first_difference": differs, "seconds": seconds}));
    } else if equal {
        say!("equal: {} frames, {bytes} bytes, byte for byte, {} tokens in {seconds:.3} s", given.len(), work.completion_tokens);
    } else {
        let at = differs.map_or(format!("{} frames, replayed {}", given.len(), frames.len()), |at| format!("frame {at} differs"));
        say!("refused  replay  {at}");
    }
    Ok(if equal { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
