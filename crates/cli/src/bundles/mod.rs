//! `candor bundles …`: what is kept, found by date, model, payee, charge, verdict and id; shown, exported, imported, pruned.
//!
//! A list is of the index, which is a cache of the files (`candor-client`) and is made what they are before each list. Its verdicts are those of
//! when an answer was kept, and are called that; `--judge`, `show` and `open` judge the file.
//!
//! | file | what |
//! |---|---|
//! | here | the commands, and an answer found by its ids |
//! | `list` | the table and its filters |
//! | `show` | one answer: its verdict in short, and as a page |
//! | `import` | bundles of what was paid for with another client |
//! | `upkeep` | copies elsewhere, and less of what is old |

mod import;
mod list;
mod show;
mod upkeep;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_client::{BundleIndex, IndexedAnswer, Keep, KeepMode, Synced, VerifiedResponse};
use candor_report::money_text;
use candor_verify::bytes::Amount;
use candor_verify::text::one_line;
use candor_verify::time::UnixMs;
use serde_json::{Value, json};

use crate::output::{Done, Failure, note, print_json, say};
use crate::{dev, policy};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List what is kept, newest last: time, verdict when it was kept, model, tokens, charge, file.
    List(list::Args),
    /// Print the file of an answer, by what an SDK calls it (chatcmpl-…), its receipt id or its payment id; the beginning of one is enough.
    Find {
        /// The id, or its beginning.
        id: String,
    },
    /// Show one answer: the verdict in three lines, and what it is about.
    Show(show::Args),
    /// Make the page of an answer's verdict, and open it in a browser if there is one. It holds prompt and answer.
    Open(show::OpenArgs),
    /// Copy answers elsewhere, each in one file that needs nothing beside it. Nothing is written over another file.
    Export(upkeep::ExportArgs),
    /// Make a bundle of an answer that another client paid for, or got for nothing, judge it, and keep it; or keep a bundle that somebody sent.
    ///
    /// Everything is taken as it travelled, byte for byte. A stock client's payment names no offer: a policy accepts it only with
    /// `require_offer_binding = false`, and the verdict then says "equal price only".
    Import(Box<import::Args>),
    /// Erase what is old or too much. Never an answer whose payment is unresolved; a refused one only with --refused.
    Prune(upkeep::PruneArgs),
}

pub(crate) async fn run(args: Args, state: &Path, json_output: bool) -> Done {
    match args.command {
        Command::List(args) => list::run(&args, state, json_output),
        Command::Find { id } => find(&id, state, json_output),
        Command::Show(args) => show::run(&args, state, json_output).await,
        Command::Open(args) => show::open(&args, state, json_output).await,
        Command::Export(args) => upkeep::export(&args, state, json_output),
        Command::Import(args) => import::run(&args, state, json_output).await,
        Command::Prune(args) => upkeep::prune(&args, state, json_output),
    }
}

/// What is kept of an answer.
#[derive(clap::Args)]
pub(crate) struct KeepArg {
    /// What to keep of an answer: `full`, the bundle; `proof`, what verifies against a copy of your own of request and answer, and neither of them;
    /// `none`, only ids and money. A refused answer is kept whole whatever is said: it is the evidence. `proof` for proxy, `full` for everybody else, if not said.
    #[arg(long, value_name = "full|proof|none", value_parser = keep_mode)]
    keep: Option<KeepMode>,
}

impl KeepArg {
    /// Where and how much: in the file that is named, or in the bundles of the state.
    pub(crate) fn place(&self, default: KeepMode, file: Option<PathBuf>, state: &Path) -> Result<Keep, Failure> {
        let (index, mode) = (index(state)?, self.keep.unwrap_or(default));
        match file {
            None => Ok(Keep::new(index, mode)),
            Some(_) if mode == KeepMode::None => Err(Failure::cannot("--bundle names a file, and --keep none keeps none")),
            Some(file) => Ok(Keep::at(index, mode, file)),
        }
    }
}

impl KeepArg {
    /// A proof is worth something beside a copy of the texts. Of a question that was typed in, only `--json` gives one.
    pub(crate) fn check_copy(&self, json_output: bool) -> Result<(), Failure> {
        match (self.keep, json_output) {
            (Some(KeepMode::Proof), false) => Err(Failure::cannot(
                "--keep proof keeps neither question nor answer, and without --json nobody has them as they travelled, so that nothing could be \
                 verified later; with --json they are `request` and `response`",
            )),
            _ => Ok(()),
        }
    }

    /// Whether proofs are kept.
    pub(crate) fn is_proof(&self) -> bool {
        self.keep == Some(KeepMode::Proof)
    }
}

fn keep_mode(word: &str) -> Result<KeepMode, &'static str> {
    KeepMode::parse(word).ok_or("expected full, proof or none")
}

/// Where an answer is kept, in words.
pub(crate) fn kept_where(response: &VerifiedResponse) -> String {
    match &response.path {
        Some(path) => format!("kept in {}", path.display()),
        None => "nothing is kept but ids and money".to_owned(),
    }
}

/// Where bundles are kept.
pub(crate) fn directory(state: &Path) -> PathBuf {
    state.join("bundles")
}

/// The index of this state directory, made if it is not there: for whoever keeps an answer.
pub(crate) fn index(state: &Path) -> Result<BundleIndex, Failure> {
    dev::make_state(state)?;
    Ok(BundleIndex::open(&state.join(dev::DATABASE), &directory(state))?)
}

/// The index of a state directory that has one, or bundles: whoever only looks makes none.
fn index_of(state: &Path) -> Result<Option<BundleIndex>, Failure> {
    let is_there = state.join(dev::DATABASE).exists() || directory(state).is_dir();
    is_there.then(|| index(state)).transpose()
}

/// The index, made what the files are; `None` if nothing was ever kept. Unknown files are judged by the policy.
fn synced(named: Option<&Path>, state: &Path, anew: bool) -> Result<Option<(BundleIndex, Synced)>, Failure> {
    let policy = policy::load(named, state)?.policy;
    let Some(index) = index_of(state)? else { return Ok(None) };
    let synced = index.sync(&policy, anew)?;
    Ok(Some((index, synced)))
}

/// Every answer that is kept, oldest first.
fn all(state: &Path) -> Result<Vec<IndexedAnswer>, Failure> {
    match synced(None, state, false)? {
        Some((index, _)) => Ok(index.answers(UnixMs(0), UnixMs(u64::MAX))?),
        None => Ok(Vec::new()),
    }
}

/// The one answer with this id; `None` if there is none.
fn by_id(id: &str, state: &Path) -> Result<Option<IndexedAnswer>, Failure> {
    let Some(index) = index_of(state)? else { return Ok(None) };
    let mut found = index.find(id)?;
    if found.iter().all(|answer| answer.file.as_ref().is_none_or(|file| !file.exists())) {
        // Kept by hand, or moved, since somebody looked last.
        drop(synced(None, state, false)?);
        found = index.find(id)?;
    }
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        // What the node calls an answer follows from the request: the same one, paid for again within a minute, is called the same.
        [others @ .., newest] if found.iter().all(|answer| answer.response_id.as_deref() == Some(id)) => {
            let others = others.iter().map(|answer| answer.receipt_id.as_str()).collect::<Vec<_>>().join(", ");
            note!("the same request was answered more than once; this is the newest. Other receipts: {others}");
            Ok(Some(newest.clone()))
        }
        many => {
            let some = many.iter().take(SHOWN_MAX).map(|answer| match &answer.file {
                Some(file) => file.display().to_string(),
                None => format!("receipt {}, of which nothing is kept", answer.receipt_id),
            });
            let some = some.collect::<Vec<_>>().join(", ");
            Err(Failure::cannot(format!("{} answers have an id like {:?}: {some}; say more of it", many.len(), one_line(id))))
        }
    }
}

/// Answers that are named where one was asked for.
const SHOWN_MAX: usize = 5;

/// Shortest text that may be the beginning of an id where a file could be meant.
const ID_MIN: usize = 8;

/// The file that is meant: the one of this name, else that of the answer with this id.
pub(crate) fn locate(named: &Path, state: &Path) -> Result<PathBuf, Failure> {
    let text = named.to_string_lossy();
    let is_id = ID_MIN <= text.len() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if !is_id || named.symlink_metadata().is_ok() || !state.join(dev::DATABASE).exists() {
        return Ok(named.to_owned());
    }
    match by_id(&text, state)? {
        Some(answer) => answer.file.ok_or_else(|| nothing_kept(&answer.receipt_id)),
        None => Err(Failure::cannot(format!("{text}: there is no such file, and no answer with this id is kept"))),
    }
}

fn nothing_kept(receipt_id: &str) -> Failure {
    Failure::cannot(format!("nothing is kept of receipt {receipt_id} but ids and money: it was asked for with --keep none"))
}

fn find(id: &str, state: &Path, json_output: bool) -> Done {
    let missing = || Failure::cannot(format!("no answer with the id {:?} is kept in {}", one_line(id), directory(state).display()));
    let answer = by_id(id, state)?.ok_or_else(missing)?;
    let Some(file) = &answer.file else { return Err(nothing_kept(&answer.receipt_id)) };
    if json_output {
        print_json(&answer_json(&answer));
    } else {
        say!("{}", file.display());
        trouble(&answer).iter().for_each(|trouble| note!("{trouble}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Why a proof cannot be judged, if that is seen without reading it.
fn trouble(answer: &IndexedAnswer) -> Option<String> {
    answer.lost_evidence().map(|path| format!("the evidence that this proof names is gone: it should be in {}", path.display()))
}

/// A row for programs. What the file says stands under `claims`: nobody judged it now.
fn answer_json(answer: &IndexedAnswer) -> Value {
    let when = &answer.when_kept;
    json!({
        "file": answer.file.as_ref().map(|file| file.display().to_string()), "keep": answer.keep.as_str(), "bytes": answer.bytes,
        "receipt_id": answer.receipt_id, "response_id": answer.response_id, "payment_id": answer.payment_id, "trouble": trouble(answer),
        "when_kept": {
            "outcome": when.outcome, "refused": when.refused, "log_level": when.log_level, "judged_at": when.judged_at.0,
        },
        "claims": {
            "finished_at": answer.finished_at.0, "model": answer.model, "model_id": answer.model_id, "payee": answer.payee, "node": answer.node,
            "charged": answer.charged.to_string(), "asset": answer.asset, "chain_id": answer.chain_id, "charge": charge(answer),
            "prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.completion_tokens, "ended": answer.ended,
        },
    })
}

/// What was charged, for people.
fn charge(answer: &IndexedAnswer) -> String {
    if answer.is_unpaid() { "nobody paid".to_owned() } else { money(answer.charged, answer) }
}

/// An amount of the token that an answer was paid in.
fn money(amount: Amount, answer: &IndexedAnswer) -> String {
    money_text(amount, answer.token.as_ref().map(|(name, decimals)| (name.as_str(), *decimals)), &answer.asset)
}
