//! `candor verify BUNDLE`: the verdict, offline or against a chain; with `-v` every check with its evidence.
//!
//! Not here: its JSON (`candor-report`) and how it looks (`told.rs`).

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_client::{Facts, chain_facts, cut_notice};
use candor_report::{bundle_json, explained_json};
use candor_verify::bundle::Bundle;
use candor_verify::bytes::Hash32;
use candor_verify::cbor::CborError;
use candor_verify::check::verify_bundle;
use candor_verify::eip712::K256;
use candor_verify::explain::explain;
use candor_verify::verdict::{LogLevel, Outcome, Verdict};
use serde_json::{Value, json};

use crate::output::{Done, Failure, print_json, read, say};
use crate::paint::Line;
use crate::rpc::RpcArgs;
use crate::told::Told;
use crate::{explained, page, policy};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The bundle (a .candor file).
    bundle: PathBuf,
    /// Show also what each check hashes and whose signatures it takes: preimages, digests, signers. With --json whole, as text in short.
    #[arg(long)]
    explain: bool,
    /// Show every check.
    #[arg(long, short)]
    verbose: bool,
    /// Write the verdict as a page too: one HTML file with a picture of the proof, which needs no network. It holds prompt and answer.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    by: By,
}

/// What a bundle is judged by.
#[derive(clap::Args)]
pub(crate) struct By {
    /// Policy file; the state directory's policy.toml if not said, else hardware roots only.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    rpc: RpcArgs,
}

/// A verdict on a bundle, and what to do about it.
pub(crate) struct Judged {
    pub(crate) verdict: Verdict,
    required: LogLevel,
    /// The transaction that moved the money, if a chain showed it.
    transfer_tx: Option<Hash32>,
    /// The chain that was asked, if one was.
    asked_chain: Option<u64>,
    advice: Option<String>,
    /// What cut the answer short, if anything did.
    cut: Option<String>,
}

pub(crate) async fn run(args: Args, state: &Path, json_output: bool) -> Done {
    // Before a chain is asked.
    if let Some(out) = &args.html {
        page::may_be_written(out)?;
    }
    let bytes = read(&args.bundle)?;
    let bundle = match Bundle::parse(&bytes) {
        Ok(bundle) => bundle,
        Err(error) => {
            if json_output {
                print_json(&json!({"outcome": "refused", "refused": FORM, "got": error.to_string()}));
            } else {
                say!("{}", malformed(&args.bundle, &error).message());
            }
            return Ok(ExitCode::from(1));
        }
    };
    let judged = args.by.judge(&bundle, &args.bundle.display().to_string(), state).await?;
    let explained = if args.explain { explain(&bundle, &K256) } else { Vec::new() };
    if let Some(out) = &args.html {
        let Judged { verdict, required, transfer_tx, asked_chain, .. } = &judged;
        let (required, transfer_tx, asked_chain) = (*required, *transfer_tx, *asked_chain);
        page::write(
            out,
            &page::Shown {
                file: &args.bundle,
                bytes: &bytes,
                bundle: &bundle,
                verdict,
                required,
                transfer_tx,
                asked_chain,
                is_live: false,
            },
        )?;
    }
    if json_output {
        let mut value = judged.json(&bundle);
        if let Some(out) = &args.html {
            value["page"] = out.display().to_string().into();
        }
        if args.explain {
            value["explained"] = explained_json(&explained);
        }
        print_json(&value);
    } else {
        judged.say(&bundle, args.verbose || args.explain);
        explained.iter().for_each(explained::print);
        if let Some(out) = &args.html {
            say!("page: {}", out.display());
        }
    }
    Ok(exit_code(&judged.verdict))
}

impl By {
    /// Judges a bundle; `name` is what advice calls it.
    pub(crate) async fn judge(&self, bundle: &Bundle, name: &str, state: &Path) -> Result<Judged, Failure> {
        let policy = policy::load(self.policy.as_deref(), state)?.policy;
        let (facts, asked_chain) = match self.rpc.is_named() {
            false => (Facts::default(), None),
            true => {
                let chain = self.rpc.connect().await?;
                (chain_facts(&chain, bundle, &policy).await?, Some(chain.chain_id()))
            }
        };
        let (verdict, _) = verify_bundle(bundle, &policy, facts.as_chain_facts(), &K256);
        let advice = policy::bundle_advice(&verdict, bundle, name, self.policy.as_deref(), state);
        // Of a refused bundle it would be anybody's word.
        let cut = cut_notice(bundle).filter(|_| verdict.refused().is_none());
        Ok(Judged { verdict, required: policy.require_level, transfer_tx: facts.transfer_tx, asked_chain, advice, cut })
    }
}

impl Judged {
    /// For programs.
    pub(crate) fn json(&self, bundle: &Bundle) -> Value {
        let mut value = bundle_json(&self.verdict, bundle);
        value["advice"] = self.advice.as_deref().into();
        value
    }

    /// For people.
    pub(crate) fn say(&self, bundle: &Bundle, is_verbose: bool) {
        let told = Told { bundle, verdict: &self.verdict, required: self.required, is_live: false };
        if is_verbose {
            told.whole();
        } else {
            told.say();
            Line::new().dim("-v shows every check, --html FILE draws them").say();
        }
        if let Some(caveat) = told.caveat() {
            say!("{caveat}");
        }
        if let Some(notice) = &self.cut {
            say!("{notice}");
        }
        if let Some(advice) = &self.advice {
            say!("what to do: {advice}");
        }
    }
}

/// 0 verified, 1 refused, 2 cannot tell.
pub(crate) fn exit_code(verdict: &Verdict) -> ExitCode {
    match verdict.outcome() {
        Outcome::Verified => ExitCode::SUCCESS,
        Outcome::Refused => ExitCode::from(1),
        _ => ExitCode::from(2),
    }
}

/// A bundle from a file. Spec: bundle.md §4: what is no bundle is refused.
pub(crate) fn load(path: &Path) -> Result<Bundle, Failure> {
    Bundle::parse(&read(path)?).map_err(|error| malformed(path, &error))
}

/// The check that every other one needs.
pub(crate) const FORM: &str = "bundle.form";

fn malformed(path: &Path, error: &CborError) -> Failure {
    let what = "is no bundle, or not the whole of one: expected a .candor file as `candor ask` keeps it";
    Failure::refused(FORM, format!("REFUSED by {FORM} (bundle.md §1): {} {what}. It cannot be read: {error}", path.display()))
}
