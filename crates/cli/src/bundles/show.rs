//! `candor bundles show|open`: one kept answer, found by its id or its file: its verdict in short, and as a page in a browser.
//!
//! Not here: the whole verdict (`candor verify`), and the page (`candor-report`).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use candor_client::{KeptFile, load_kept, private_directory};
use candor_verify::bytes::to_hex;
use candor_verify::receipt::receipt_id;
use candor_verify::text::one_line;

use super::locate;
use crate::output::{Done, Failure, print_json, say};
use crate::page;
use crate::paint::Line;
use crate::verify::{By, NEEDS_COPY, exit_code, unkept};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The answer: an id of it, or its file.
    answer: PathBuf,
    #[command(flatten)]
    by: By,
}

#[derive(clap::Args)]
pub(crate) struct OpenArgs {
    /// The answer: an id of it, or its file.
    answer: PathBuf,
    /// Where to write the page; the state directory's pages/ if not said.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Say where the page is, and open no browser.
    #[arg(long)]
    no_browser: bool,
    #[command(flatten)]
    by: By,
}

pub(crate) async fn run(args: &Args, state: &Path, json_output: bool) -> Done {
    let path = locate(&args.answer, state)?;
    let file = load_kept(&path).map_err(|error| unkept(&path, error))?;
    let judged = args.by.judge_file(&file, &path.display().to_string(), state).await?;
    if json_output {
        let mut value = judged.json(&file.bundle);
        value["bundle"] = path.display().to_string().into();
        value["keep"] = file.mode().as_str().into();
        print_json(&value);
    } else {
        judged.told(&file.bundle).brief().iter().for_each(Line::say);
        about(&file, &path);
        if file.proof.is_some() {
            say!("this {NEEDS_COPY}");
        }
    }
    Ok(exit_code(&judged.verdict))
}

/// What the file says. Behind the verdict, which says what that is worth.
fn about(file: &KeptFile, path: &Path) {
    let (bundle, receipt) = (&file.bundle, &file.bundle.delivery.receipt);
    let (money, terms) = (&receipt.money, &bundle.evidence.terms.terms);
    let id = to_hex(&receipt_id(&bundle.delivery.leaf_salt));
    say!();
    say!("ended      {}", receipt.work.outcome.as_str());
    say!("model      {}", receipt.work.model_id);
    say!("payee      {}", money.payee);
    if let Some(node) = terms.endpoints.first() {
        say!("node       {}", one_line(node));
    }
    say!("receipt    {}", id.trim_start_matches("0x"));
    say!("payment    {}", money.payment_id);
    say!("kept       {} in {}", file.mode().as_str(), path.display());
}

pub(crate) async fn open(args: &OpenArgs, state: &Path, json_output: bool) -> Done {
    let path = locate(&args.answer, state)?;
    let file = load_kept(&path).map_err(|error| unkept(&path, error))?;
    if file.proof.is_some() {
        return Err(Failure::cannot(format!("{} {NEEDS_COPY}", path.display())));
    }
    let out = match &args.html {
        Some(out) => out.clone(),
        None => {
            // Within the state: it holds prompt and answer, as the bundle does.
            let directory = state.join("pages");
            private_directory(&directory)?;
            directory.join(path.file_name().unwrap_or_default()).with_extension("html")
        }
    };
    page::may_be_written(&out)?;
    let judged = args.by.judge_file(&file, &path.display().to_string(), state).await?;
    page::write(&out, &judged.shown(&path, &file.bytes, &file.bundle))?;
    let is_opened = !args.no_browser && !json_output && open_page(&out);
    if json_output {
        let mut value = judged.json(&file.bundle);
        value["page"] = out.display().to_string().into();
        print_json(&value);
    } else {
        judged.told(&file.bundle).brief().iter().for_each(Line::say);
        say!("page: {}{}", out.display(), if is_opened { "" } else { "   (no browser was opened; it is a file for any)" });
    }
    Ok(exit_code(&judged.verdict))
}

/// Opens a file in the browser of whoever asks; whether one was found. It is told nothing but the path.
fn open_page(path: &Path) -> bool {
    let named = std::env::var_os("BROWSER").map(PathBuf::from);
    let openers = named.into_iter().chain(["xdg-open", "open"].map(PathBuf::from));
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    openers.into_iter().any(|opener| {
        let mut command = Command::new(opener);
        command.arg(&path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // A browser outlives us.
        command.spawn().is_ok()
    })
}
