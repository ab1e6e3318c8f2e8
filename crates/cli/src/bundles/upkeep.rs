//! `candor bundles export|prune`: answers copied elsewhere, each in one file; and less of what is old, or more than is wanted.
//!
//! - **Invariant:** nothing is erased that may still be needed to be paid back or to be believed: no answer whose payment is unresolved, and no refused
//!   one unless that is asked for by name.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_client::{BundleIndex, IndexedAnswer, load_kept};
use candor_verify::bytes::Hash32;
use candor_verify::time::UnixMs;
use serde_json::json;

use super::{all, by_id, directory, index, nothing_kept};
use crate::output::{Done, Failure, is_confirmed, print_json, say, write_once};
use crate::verify::unkept;
use crate::{calendar, dev};

#[derive(clap::Args)]
pub(crate) struct ExportArgs {
    /// The answer, by an id of it.
    #[arg(required_unless_present = "all")]
    id: Option<String>,
    /// Every answer.
    #[arg(long, conflicts_with = "id")]
    all: bool,
    /// A file that must not exist yet, or a directory that does.
    #[arg(long, value_name = "FILE|DIR")]
    to: PathBuf,
}

pub(crate) fn export(args: &ExportArgs, state: &Path, json_output: bool) -> Done {
    let files: Vec<PathBuf> = match &args.id {
        Some(id) => {
            let answer = by_id(id, state)?.ok_or_else(|| Failure::cannot("no answer with this id is kept"))?;
            vec![answer.file.ok_or_else(|| nothing_kept(&answer.receipt_id))?]
        }
        None => all(state)?.into_iter().filter_map(|answer| answer.file).collect(),
    };
    if args.all && !args.to.is_dir() {
        return Err(Failure::cannot(format!("{}: expected a directory, for every answer a file", args.to.display())));
    }
    let mut written = Vec::new();
    for file in files {
        let name = file.file_name().unwrap_or_default();
        let to = if args.to.is_dir() { args.to.join(name) } else { args.to.clone() };
        let whole = load_kept(&file).map_err(|error| unkept(&file, error))?.whole();
        write_once(&to, &whole)?;
        if !json_output {
            say!("{}", to.display());
        }
        written.push(to.display().to_string());
    }
    if json_output {
        print_json(&json!({"files": written}));
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(clap::Args)]
pub(crate) struct PruneArgs {
    /// Answers that ended longer ago than this: 30d, 12h.
    #[arg(long, value_name = "TIME", value_parser = duration, required_unless_present = "quota")]
    older_than: Option<u64>,
    /// The oldest ones, until all of them together are no larger than this: 1GB, 500MB.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    quota: Option<u64>,
    /// Refused answers too. They are the evidence against a node.
    #[arg(long)]
    refused: bool,
    /// Say what would be erased, and erase nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

pub(crate) fn prune(args: &PruneArgs, state: &Path, json_output: bool) -> Done {
    let all = all(state)?;
    let unresolved = if all.is_empty() { Vec::new() } else { dev::book(state)?.unresolved()? };
    let chosen = args.choose(&all, &unresolved, &directory(state), dev::now());
    let bytes: u64 = chosen.iter().map(|answer| answer.bytes).sum();
    let left: u64 = all.iter().map(|answer| answer.bytes).sum::<u64>().saturating_sub(bytes);
    let is_too_much = args.quota.is_some_and(|quota| quota < left);
    if !json_output {
        // Before anybody is asked.
        for answer in &chosen {
            let file = answer.file.as_deref().unwrap_or(Path::new("")).display();
            say!("{}  {:>10} bytes  {file}", calendar::utc(answer.finished_at.0), answer.bytes);
        }
    }
    let question = format!("erase {} answers, {bytes} bytes, from {}? [y/N] ", chosen.len(), directory(state).display());
    let is_done = !args.dry_run && !chosen.is_empty() && (args.yes || is_confirmed(json_output, &question)?);
    let freed = if is_done { erase(&chosen, &index(state)?)? } else { 0 };
    if json_output {
        let files: Vec<_> = chosen.iter().filter_map(|answer| Some(answer.file.as_ref()?.display().to_string())).collect();
        print_json(&json!({"files": files, "bytes": bytes, "erased": is_done, "freed": freed, "left": left, "above_quota": is_too_much}));
        return Ok(ExitCode::SUCCESS);
    }
    match is_done {
        true => say!("erased {} answers; {freed} bytes are free, {left} are kept", chosen.len()),
        false => say!("nothing was erased; {} answers of {bytes} bytes would be, and {left} bytes kept", chosen.len()),
    }
    if is_too_much {
        say!("that is more than the quota: what is left is refused or unresolved, or lies elsewhere");
    }
    Ok(ExitCode::SUCCESS)
}

/// How many bytes that freed.
fn erase(chosen: &[&IndexedAnswer], index: &BundleIndex) -> Result<u64, Failure> {
    let mut freed = 0_u64;
    for answer in chosen {
        freed = freed.saturating_add(index.erase(answer)?);
    }
    Ok(freed.saturating_add(index.erase_leftovers()?))
}

impl PruneArgs {
    /// What goes, oldest first, of all answers in that order.
    fn choose<'a>(&self, all: &'a [IndexedAnswer], unresolved: &[Hash32], directory: &Path, now: UnixMs) -> Vec<&'a IndexedAnswer> {
        let unresolved: Vec<String> = unresolved.iter().map(Hash32::to_string).collect();
        let before = self.older_than.map(|age| now.saturating_sub(age));
        let mut total: u64 = all.iter().map(|answer| answer.bytes).sum();
        let mut chosen = Vec::new();
        for answer in all {
            // What somebody put elsewhere is theirs.
            let is_ours = answer.file.as_ref().is_some_and(|file| file.starts_with(directory));
            let is_needed = unresolved.contains(&answer.payment_id) || (answer.is_refused() && !self.refused);
            let is_old = before.is_some_and(|before| answer.finished_at < before);
            let is_too_much = self.quota.is_some_and(|quota| quota < total);
            if is_ours && !is_needed && (is_old || is_too_much) {
                total = total.saturating_sub(answer.bytes);
                chosen.push(answer);
            }
        }
        chosen
    }
}

fn duration(text: &str) -> Result<u64, &'static str> {
    calendar::duration_ms(text).ok_or("expected a time such as 30d, 12h or 45m")
}

/// Bytes, in the units of disks: a thousand each.
fn size(text: &str) -> Result<u64, &'static str> {
    const WRONG: &str = "expected a size such as 1GB, 500MB or 20000";
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return Err(WRONG),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or(WRONG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_whose_payment_is_open_stays_whatever_is_asked_for() {
        let state = std::env::temp_dir().join(format!("candor-prune-{}", std::process::id()));
        let directory = state.join("bundles");
        candor_client::private_directory(&directory).unwrap();
        std::fs::write(directory.join("a.candor"), include_bytes!("../../../../vectors/bundle/honest.candor")).unwrap();
        let index = candor_client::BundleIndex::open(&state.join(dev::DATABASE), &directory).unwrap();
        // By a policy that accepts nobody it is refused.
        index.sync(&candor_verify::policy::Policy::default(), false).unwrap();
        let answers = index.answers(UnixMs(0), UnixMs(u64::MAX)).unwrap();
        let payment = Hash32::from_hex(&answers[0].payment_id).unwrap();
        let args = |refused| PruneArgs { older_than: Some(0), quota: Some(0), refused, dry_run: false, yes: true };
        let chosen = |refused, unresolved: &[Hash32]| args(refused).choose(&answers, unresolved, &directory, dev::now()).len();
        assert_eq!((chosen(true, &[]), chosen(true, &[payment]), chosen(false, &[])), (1, 0, 0));
        // Nor does anything go that lies elsewhere.
        assert_eq!(args(true).choose(&answers, &[], &state.join("other"), dev::now()).len(), 0);
        std::fs::remove_dir_all(state).unwrap();
    }

    #[test]
    fn sizes_are_whole_numbers_with_the_units_of_disks() {
        assert_eq!((size("1GB"), size("500MB"), size("7")), (Ok(1_000_000_000), Ok(500_000_000), Ok(7)));
        for bad in ["", "GB", "1.5GB", "-1", "1 GB", "1gb", "99999999999TB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
