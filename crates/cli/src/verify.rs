//! `candor verify BUNDLE`: the verdict, offline or against a chain; with `-v` every check with its evidence.
//!
//! Not here: its JSON (`candor-report`) and how it looks (`told.rs`).

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_client::{Facts, KeptError, KeptFile, chain_facts, cut_notice, facts_without_texts, load_kept, proxied_request, saved_frames};
use candor_report::{bundle_json, explained_json};
use candor_verify::bundle::Bundle;
use candor_verify::bytes::Hash32;
use candor_verify::cbor::CborError;
use candor_verify::eip712::K256;
use candor_verify::explain::explain;
use candor_verify::proof::Proof;
use candor_verify::transcript::request_commitment;
use candor_verify::verdict::{LogLevel, Outcome, Verdict};
use serde_json::{Value, json};

use crate::output::{Done, Failure, print_json, read, say};
use crate::paint::Line;
use crate::rpc::RpcArgs;
use crate::told::Told;
use crate::{bundles, explained, page, policy};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The bundle or the proof (a .candor file), or the id of a kept answer: what an SDK calls it, its receipt id, its payment id.
    bundle: PathBuf,
    /// Your copy of the request's body, byte for byte: with it and --response a proof is its bundle again.
    #[arg(long, value_name = "FILE", requires = "response")]
    request: Option<PathBuf>,
    /// Your copy of the answer, byte for byte: the body, or the stream of events.
    #[arg(long, value_name = "FILE", requires = "request")]
    response: Option<PathBuf>,
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
    is_proof: bool,
}

pub(crate) async fn run(args: Args, state: &Path, json_output: bool) -> Done {
    // Before a chain is asked.
    if let Some(out) = &args.html {
        page::may_be_written(out)?;
    }
    let path = bundles::locate(&args.bundle, state)?;
    let file = match load_kept(&path) {
        Ok(file) => args.with_copy(file)?,
        Err(KeptError::Form(error)) => {
            if json_output {
                print_json(&json!({"outcome": "refused", "refused": FORM, "got": error.to_string()}));
            } else {
                say!("{}", malformed(&path, &error).message());
            }
            return Ok(ExitCode::from(1));
        }
        Err(error) => return Err(unkept(&path, error)),
    };
    if file.proof.is_some() && (args.explain || args.html.is_some()) {
        return Err(Failure::cannot(format!("{} {NEEDS_COPY}", path.display())));
    }
    let judged = args.by.judge_file(&file, &path.display().to_string(), state).await?;
    let bundle = &file.bundle;
    let explained = if args.explain { explain(bundle, &K256) } else { Vec::new() };
    if let Some(out) = &args.html {
        page::write(out, &judged.shown(&path, &file.bytes, bundle))?;
    }
    if json_output {
        let mut value = judged.json(bundle);
        if let Some(out) = &args.html {
            value["page"] = out.display().to_string().into();
        }
        if args.explain {
            value["explained"] = explained_json(&explained);
        }
        print_json(&value);
    } else {
        judged.say(bundle, args.verbose || args.explain);
        explained.iter().for_each(explained::print);
        if let Some(out) = &args.html {
            say!("page: {}", out.display());
        }
    }
    Ok(exit_code(&judged.verdict))
}

impl Args {
    /// A proof with the caller's copy is its bundle again.
    fn with_copy(&self, file: KeptFile) -> Result<KeptFile, Failure> {
        match (&file.proof, &self.request, &self.response) {
            (_, None, _) | (_, _, None) => Ok(file),
            (None, Some(_), Some(_)) => {
                Err(Failure::cannot("--request and --response are for a proof; this is a bundle, which has its own"))
            }
            (Some(proof), Some(request), Some(response)) => {
                let frames = saved_frames(&read(response)?).map_err(|error| Failure::cannot(format!("{}: {error}", response.display())))?;
                let request = as_committed(proof, read(request)?);
                let bundle = proof.with_copy(request, frames).map_err(|error| Failure::cannot(error.to_string()))?;
                Ok(KeptFile::of(bundle))
            }
        }
    }
}

/// The request that a proof is about: as it was saved, or as a proxy sent it on. Which one, the commitment in the receipt says.
fn as_committed(proof: &Proof, saved: Vec<u8>) -> Vec<u8> {
    let committed = proof.delivery.receipt.work.request_commitment;
    let sent_on = proxied_request(&saved);
    match request_commitment(&proof.salt, &proof.method, &proof.path, &sent_on) == committed {
        true => sent_on,
        false => saved,
    }
}

impl By {
    /// The policy file that was named.
    pub(crate) fn policy(&self) -> Option<&Path> {
        self.policy.as_deref()
    }

    /// Judges a bundle, or a proof without its texts; `name` is what advice calls it.
    pub(crate) async fn judge_file(&self, file: &KeptFile, name: &str, state: &Path) -> Result<Judged, Failure> {
        let (policy, bundle) = (policy::load(self.policy(), state)?.policy, &file.bundle);
        let (facts, asked_chain) = match self.rpc.is_named() {
            false => (Facts::default(), None),
            true => {
                let chain = self.rpc.connect().await?;
                let facts = match file.proof {
                    None => chain_facts(&chain, bundle, &policy).await?,
                    Some(_) => facts_without_texts(&chain, bundle, &policy).await?,
                };
                (facts, Some(chain.chain_id()))
            }
        };
        let verdict = file.judge(&policy, facts.as_chain_facts());
        let advice = policy::bundle_advice(&verdict, bundle, name, self.policy(), state);
        // Of a refused bundle it would be anybody's word.
        let cut = cut_notice(bundle).filter(|_| verdict.refused().is_none());
        let is_proof = file.proof.is_some();
        Ok(Judged { verdict, required: policy.require_level, transfer_tx: facts.transfer_tx, asked_chain, advice, cut, is_proof })
    }
}

impl Judged {
    /// As it is put on a page.
    pub(crate) fn shown<'a>(&'a self, file: &'a Path, bytes: &'a [u8], bundle: &'a Bundle) -> page::Shown<'a> {
        let Self { verdict, required, transfer_tx, asked_chain, .. } = self;
        let (required, transfer_tx, asked_chain) = (*required, *transfer_tx, *asked_chain);
        page::Shown { file, bytes, bundle, verdict, required, transfer_tx, asked_chain, is_live: false }
    }

    /// As it is told.
    pub(crate) fn told<'a>(&'a self, bundle: &'a Bundle) -> Told<'a> {
        Told { bundle, verdict: &self.verdict, required: self.required, is_live: false }
    }

    /// For programs.
    pub(crate) fn json(&self, bundle: &Bundle) -> Value {
        let mut value = bundle_json(&self.verdict, bundle);
        value["advice"] = self.advice.as_deref().into();
        value
    }

    /// For people.
    pub(crate) fn say(&self, bundle: &Bundle, is_verbose: bool) {
        let told = self.told(bundle);
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
        if self.is_proof && self.verdict.refused().is_none() {
            say!("this {NEEDS_COPY}");
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

/// A bundle from a file, or of the kept answer with this id. Spec: bundle.md §4: what is no bundle is refused.
pub(crate) fn load(named: &Path, state: &Path) -> Result<Bundle, Failure> {
    let path = bundles::locate(named, state)?;
    let file = load_kept(&path).map_err(|error| unkept(&path, error))?;
    match file.proof {
        None => Ok(file.bundle),
        Some(_) => Err(Failure::cannot(format!("{} {NEEDS_COPY}", path.display()))),
    }
}

/// Why a proof is not enough.
pub(crate) const NEEDS_COPY: &str =
    "is a proof, which holds neither request nor answer: show your copy, candor verify PROOF --request FILE --response FILE";

/// What is wrong with a file that cannot be judged.
pub(crate) fn unkept(path: &Path, error: KeptError) -> Failure {
    match error {
        KeptError::File(error) => error.into(),
        KeptError::Form(error) => malformed(path, &error),
        KeptError::Evidence { path: evidence, what } => Failure::cannot(format!(
            "{}: a proof whose evidence should be in {}: {what}; `candor bundles export` copies both in one file",
            path.display(),
            evidence.display()
        )),
        other => Failure::cannot(format!("{}: {other:?}", path.display())),
    }
}

/// The check that every other one needs.
pub(crate) const FORM: &str = "bundle.form";

fn malformed(path: &Path, error: &CborError) -> Failure {
    let what = "is no bundle, or not the whole of one: expected a .candor file as `candor ask` keeps it";
    Failure::refused(FORM, format!("REFUSED by {FORM} (bundle.md §1): {} {what}. It cannot be read: {error}", path.display()))
}
