//! `candor bundles import`: bundles of what was paid for with another client, and those that somebody sent.
//!
//! Putting one together out of saved bytes is `candor-client`'s (`assemble`); here are the files. Not here: any check (`candor-verify`).

use std::path::{Path, PathBuf};

use candor_client::{CHAT_PATH, Endpoint, Exchange, KeptFile, assemble, inspect, load_kept, private_directory};
use candor_verify::bundle::Bundle;
use candor_verify::bytes::to_hex;
use candor_verify::receipt::receipt_id;
use candor_verify::step::Step;

use super::directory;
use crate::output::{Done, Failure, note, print_json, read, write_once};
use crate::verify::{By, exit_code, unkept};
use crate::{dev, policy};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A bundle, or a proof with its evidence, that somebody sent: it is judged, and kept beside the others.
    #[arg(conflicts_with_all = ["request", "head", "response", "payment", "payment_required", "evidence"])]
    file: Option<PathBuf>,
    /// File with the body of the request.
    #[arg(long, value_name = "FILE", required_unless_present = "file")]
    request: Option<PathBuf>,
    /// Method of the request.
    #[arg(long, default_value = "POST")]
    method: String,
    /// Path of the request.
    #[arg(long, default_value = CHAT_PATH)]
    path: String,
    /// File with the head of the paid answer: as `curl -D` writes it, or its headers as a JSON object.
    #[arg(long, value_name = "FILE", required_unless_present = "file")]
    head: Option<PathBuf>,
    /// File with the body of the paid answer: JSON, or the whole stream of events.
    #[arg(long, value_name = "FILE", required_unless_present = "file")]
    response: Option<PathBuf>,
    /// File with the value of the header PAYMENT-SIGNATURE that was sent; none if nobody paid.
    #[arg(long, value_name = "FILE")]
    payment: Option<PathBuf>,
    /// File with the value of the header PAYMENT-REQUIRED of the 402; needed only if the payment does not echo its extensions.
    #[arg(long, value_name = "FILE", requires = "payment")]
    payment_required: Option<PathBuf>,
    /// Evidence of the node from the time of the answer: a file with what GET /candor/evidence gave, or https://HOST:PORT to ask the node
    /// now.
    #[arg(long, visible_alias = "node", value_name = "FILE|URL", required_unless_present = "file")]
    evidence: Option<String>,
    /// Where to write the bundle, a file that must not exist yet; the state directory's bundles/ if not said.
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    #[command(flatten)]
    by: By,
}

pub(crate) async fn run(args: &Args, state: &Path, json_output: bool) -> Done {
    let (file, extension) = match &args.file {
        Some(sent) => {
            let file = load_kept(sent).map_err(|error| unkept(sent, error))?;
            let extension = if file.proof.is_some() { "proof.candor" } else { "candor" };
            (file, extension)
        }
        None => (saved(args).await?, "candor"),
    };
    let path = place(args.bundle.as_deref(), &file.bundle, extension, state)?;
    // A refused one lies where refused ones do, unless its place was named.
    let refused_path = if args.bundle.is_none() { path.with_extension("refused.candor") } else { path.clone() };
    let judged = args.by.judge_file(&file, &refused_path.display().to_string(), state).await?;
    let refused = judged.verdict.refused().map(|check| check.step);
    let path = if refused.is_some() { refused_path } else { path };
    write_once(&path, &file.whole())?;
    let policy = policy::load(args.by.policy(), state)?.policy;
    drop(super::index(state)?.sync(&policy, false)?);
    if json_output {
        let mut value = judged.json(&file.bundle);
        value["bundle"] = path.display().to_string().into();
        print_json(&value);
    } else {
        judged.say(&file.bundle, false);
        note!("kept in {}", path.display());
    }
    if !json_output && matches!(refused, Some(Step::ReceiptSignature | Step::ReceiptBoot | Step::ReceiptTime)) {
        note!("the evidence may be of another time or boot than the answer: save GET /candor/evidence when you pay");
    }
    Ok(exit_code(&judged.verdict))
}

/// The bundle of what a client saved.
async fn saved(args: &Args) -> Result<KeptFile, Failure> {
    let named = |path: &Option<PathBuf>| path.as_deref().map(read).transpose();
    let (request, head, response) = (named(&args.request)?, named(&args.head)?, named(&args.response)?);
    let (payment, required) = (named(&args.payment)?, named(&args.payment_required)?);
    let evidence = match args.evidence.as_deref().unwrap_or_default() {
        // Whoever answers: evidence shows by itself whose it is, and the verdict whether the receipt is of the same boot.
        url if url.starts_with("https://") => inspect(&Endpoint::parse(url)?).await?.0.encode(),
        path => read(Path::new(path))?,
    };
    let exchange = Exchange {
        method: &args.method,
        path: &args.path,
        request: &request.unwrap_or_default(),
        head: &head.unwrap_or_default(),
        response: &response.unwrap_or_default(),
        payment: payment.as_deref(),
        required: required.as_deref(),
        evidence: &evidence,
    };
    Ok(KeptFile::of(assemble(&exchange).map_err(|error| Failure::cannot(error.to_string()))?))
}

/// Where a bundle goes: what was named, or the bundles of the state, under its receipt's id.
fn place(named: Option<&Path>, bundle: &Bundle, extension: &str, state: &Path) -> Result<PathBuf, Failure> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    dev::make_state(state)?;
    let directory = directory(state);
    private_directory(&directory)?;
    let id = to_hex(&receipt_id(&bundle.delivery.leaf_salt));
    Ok(directory.join(format!("{}.{extension}", id.trim_start_matches("0x"))))
}
