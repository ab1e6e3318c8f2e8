//! `candor bundles list`: the table of what is kept, and which rows of it are asked for. Not here: what a row is made of (`candor-client`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_client::{IndexedAnswer, KeptError, load_kept};
use candor_report::Decimal;
use candor_verify::bytes::Amount;
use candor_verify::check::ChainFacts;
use candor_verify::policy::Policy;
use candor_verify::text::one_line;
use candor_verify::time::UnixMs;
use candor_verify::verdict::{Outcome, PaymentBinding, Verdict};
use serde_json::{Value, json};

use super::{answer_json, charge, directory, money, synced};
use crate::output::{Done, print_json, say};
use crate::verify::{FORM, unkept};
use crate::{calendar, dev, policy, tokens};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Answers that ended from then on: a day (2026-11-30), a moment (2026-11-30T09:30:00Z), or so long ago (7d, 12h, 30m).
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<UnixMs>,
    /// Answers that ended before.
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    until: Option<UnixMs>,
    /// Of this model: its name, or the beginning of its digest.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Paid to this address.
    #[arg(long, value_name = "ADDRESS")]
    payee: Option<String>,
    /// With this verdict when they were kept: verified, refused, cannot-tell, or the check that refused.
    #[arg(long, value_name = "VERDICT")]
    verdict: Option<String>,
    /// Charged more than this, in the token's unit: 0.01.
    #[arg(long, value_name = "AMOUNT", value_parser = tokens::amount)]
    over: Option<Decimal>,
    /// Charged less than this.
    #[arg(long, value_name = "AMOUNT", value_parser = tokens::amount)]
    under: Option<Decimal>,
    /// The newest so many.
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
    /// Judge each file now, offline, instead of showing the verdict of when it was kept.
    #[arg(long)]
    judge: bool,
    /// Read every file anew into the index first; without it only those that are new, gone or of another size.
    #[arg(long)]
    reindex: bool,
    /// Policy file; the state directory's policy.toml if not said, else hardware roots only.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, state: &Path, json_output: bool) -> Done {
    let (since, until) = (args.since.unwrap_or_default(), args.until.unwrap_or(UnixMs(u64::MAX)));
    let (mut answers, found) = match synced(args.policy.as_deref(), state, args.reindex)? {
        Some((index, found)) => (index.answers(since, until)?, found),
        None => Default::default(),
    };
    answers.retain(|answer| args.takes(answer));
    let hidden = args.limit.map_or(0, |limit| answers.len().saturating_sub(limit));
    let answers = answers.split_off(hidden);
    // What is none says nothing of when, what and how much.
    let (unreadable, incomplete) = if args.is_filtered() { Default::default() } else { (found.unreadable, found.incomplete) };
    if args.judge {
        let policy = policy::load(args.policy.as_deref(), state)?.policy;
        let others = unreadable.into_iter().map(|(path, _)| path).chain(incomplete);
        return judged(&answers, others, &policy, state, json_output);
    }
    if json_output {
        let none = unreadable
            .iter()
            .map(|(path, _)| json!({"file": path.display().to_string(), "when_kept": {"outcome": "refused", "refused": FORM}}));
        let lost = incomplete.iter().map(|path| json!({"file": path.display().to_string(), "trouble": NEVER_READ}));
        print_json(&answers.iter().map(answer_json).chain(none).chain(lost).collect::<Value>());
        return Ok(ExitCode::SUCCESS);
    }
    if !answers.is_empty() {
        row(["TIME", "VERDICT WHEN KEPT", "MODEL", "TOKENS", "CHARGE", "FILE"]);
    }
    for answer in &answers {
        let tokens = format!("{} + {}", answer.prompt_tokens, answer.completion_tokens);
        let file = answer.file.as_deref().map_or_else(|| format!("none (receipt {})", answer.receipt_id), |file| shown(file, state));
        row([&calendar::utc(answer.finished_at.0), &verdict(answer), &answer.model, &tokens, &charge(answer), &file]);
    }
    for (path, error) in &unreadable {
        say!("REFUSED {FORM}   {}: {error}", path.display());
    }
    incomplete.iter().for_each(|path| say!("{EVIDENCE_GONE}   {}: {NEVER_READ}", path.display()));
    let sums = sums(&answers);
    let charged = if sums.is_empty() { String::new() } else { format!(", charged {}", sums.join(" and ")) };
    let more = if hidden == 0 { String::new() } else { format!(" ({hidden} older ones are not shown)") };
    say!("{} answers in {}{charged}{more}", answers.len(), directory(state).display());
    Ok(ExitCode::SUCCESS)
}

fn row(cells: [&str; 6]) {
    let [time, verdict, model, tokens, charge, file] = cells.map(|cell| one_line(cell).chars().take(CELL_MAX).collect::<String>());
    say!("{time:<20}  {verdict:<26}  {model:<14}  {tokens:>11}  {charge:>15}  {file}");
}

/// Of a proof that nobody can judge any more.
const EVIDENCE_GONE: &str = "EVIDENCE GONE";

/// Of one that was not read before.
const NEVER_READ: &str = "the evidence that this proof names is not beside it, in evidence/";

/// Most characters of a cell: names are the operator's to choose.
const CELL_MAX: usize = 120;

/// As short as it can be said: within the directory of bundles, its name.
fn shown(file: &Path, state: &Path) -> String {
    file.strip_prefix(directory(state)).unwrap_or(file).display().to_string()
}

fn verdict(answer: &IndexedAnswer) -> String {
    match &answer.when_kept.refused {
        _ if answer.lost_evidence().is_some() => EVIDENCE_GONE.to_owned(),
        Some(check) => format!("REFUSED {check}"),
        None => format!("{}, {}", answer.when_kept.outcome, answer.when_kept.log_level),
    }
}

/// What the rows come to, by token.
fn sums(answers: &[IndexedAnswer]) -> Vec<String> {
    let mut sums: BTreeMap<_, (Amount, &IndexedAnswer)> = BTreeMap::new();
    for answer in answers.iter().filter(|answer| !answer.is_unpaid() && !answer.is_refused()) {
        let sum = sums.entry((&answer.chain_id, &answer.asset)).or_insert((Amount::ZERO, answer));
        sum.0 = sum.0.checked_add(answer.charged).unwrap_or(Amount(u128::MAX));
    }
    sums.into_values().map(|(sum, answer)| money(sum, answer)).collect()
}

impl Args {
    fn is_filtered(&self) -> bool {
        let Self { since, until, model, payee, verdict, over, under, .. } = self;
        let moments = since.is_some() || until.is_some();
        moments || model.is_some() || payee.is_some() || verdict.is_some() || over.is_some() || under.is_some()
    }

    fn takes(&self, answer: &IndexedAnswer) -> bool {
        let units = |decimal: &Decimal| match &answer.token {
            Some((_, decimals)) => decimal.units(*decimals).ok(),
            // Nothing is nothing in every token.
            None if answer.is_unpaid() => Some(Amount(u128::from(!decimal.is_zero()))),
            None => None,
        };
        let is_model = |named: &String| answer.model == *named || answer.model_id.starts_with(&named.to_ascii_lowercase());
        let is_verdict = |named: &String| {
            let outcome = named.replace('-', " ");
            answer.when_kept.outcome == outcome || answer.when_kept.refused.as_deref() == Some(named.as_str())
        };
        self.model.as_ref().is_none_or(is_model)
            && self.payee.as_ref().is_none_or(|payee| answer.payee.eq_ignore_ascii_case(payee))
            && self.verdict.as_ref().is_none_or(is_verdict)
            && self.over.as_ref().is_none_or(|over| units(over).is_some_and(|over| over < answer.charged))
            && self.under.as_ref().is_none_or(|under| units(under).is_some_and(|under| answer.charged < under))
    }
}

/// A day, a moment, or so long ago.
fn moment(text: &str) -> Result<UnixMs, String> {
    if let Some(moment) = calendar::moment(text) {
        return Ok(UnixMs(moment));
    }
    let ago = calendar::duration_ms(text).map(|ago| dev::now().saturating_sub(ago));
    ago.ok_or_else(|| "expected a day (2026-11-30), a moment (2026-11-30T09:30:00Z) or a time ago (7d, 12h, 30m)".to_owned())
}

/// Each file, judged now.
fn judged(answers: &[IndexedAnswer], unreadable: impl Iterator<Item = PathBuf>, policy: &Policy, state: &Path, json_output: bool) -> Done {
    let (mut rows, mut count) = (Vec::new(), 0_usize);
    let kept = answers.iter().filter_map(|answer| Some((answer.file.clone()?, Some(answer))));
    for (path, answer) in kept.chain(unreadable.map(|path| (path, None))) {
        let judged = match load_kept(&path) {
            Ok(file) => Judged::Verdict(file.judge(policy, ChainFacts::default())),
            Err(KeptError::Form(_)) => Judged::NoBundle,
            // One that cannot be judged hides none of the others.
            Err(error) => Judged::CannotTell(unkept(&path, error).message().to_owned()),
        };
        if json_output {
            rows.push(judged_json(&path, &judged, answer));
        } else {
            say_judged(&path, &judged, answer, state);
        }
        count = count.saturating_add(1);
    }
    if json_output {
        print_json(&rows.into_iter().collect());
    } else {
        say!("{count} files in {}", directory(state).display());
    }
    Ok(ExitCode::SUCCESS)
}

/// What is found of one file now.
enum Judged {
    Verdict(Verdict),
    /// It is none.
    NoBundle,
    /// Why it cannot be judged.
    CannotTell(String),
}

impl Judged {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Verdict(verdict) => verdict.outcome(),
            Self::NoBundle => Outcome::Refused,
            Self::CannotTell(_) => Outcome::CannotTell,
        }
    }

    fn refused(&self) -> Option<&'static str> {
        match self {
            Self::Verdict(verdict) => verdict.refused().map(|check| check.id),
            Self::NoBundle => Some(FORM),
            Self::CannotTell(_) => None,
        }
    }

    fn binding(&self) -> Option<PaymentBinding> {
        if let Self::Verdict(verdict) = self { verdict.payment_binding() } else { None }
    }
}

/// What the file says is a fact only if it is verified, and is shown behind its verdict for that reason.
fn judged_json(path: &Path, judged: &Judged, answer: Option<&IndexedAnswer>) -> Value {
    let mut value = json!({
        "file": path.file_name().unwrap_or_default().to_string_lossy(), "path": path.display().to_string(),
        "outcome": judged.outcome().as_str(), "refused": judged.refused(), "payment_binding": judged.binding().map(PaymentBinding::as_str),
    });
    match judged {
        Judged::Verdict(verdict) => value["log_level"] = verdict.log_level().as_str().into(),
        Judged::NoBundle => {}
        Judged::CannotTell(why) => value["trouble"] = why.as_str().into(),
    }
    if let Some(answer) = answer {
        let key = if judged.outcome() == Outcome::Verified { "facts" } else { "claims" };
        value[key] = answer_json(answer)["claims"].take();
    }
    value
}

fn say_judged(path: &Path, judged: &Judged, answer: Option<&IndexedAnswer>, state: &Path) {
    let said = match (judged, judged.refused()) {
        (_, Some(check)) => format!("REFUSED {check}"),
        (Judged::Verdict(verdict), None) => format!("{}, {}", verdict.outcome().as_str(), verdict.log_level().as_str()),
        (Judged::CannotTell(why), _) => return say!("{:<32}   {why}", judged.outcome().as_str()),
        (Judged::NoBundle, None) => String::new(),
    };
    let file = shown(path, state);
    let Some(answer) = answer else { return say!("{said:<32}   {file}") };
    let is_equal_price = judged.binding() == Some(PaymentBinding::EqualPriceOnly);
    let binding = if is_equal_price { "   equal price only" } else { "" };
    let (time, model) = (calendar::utc(answer.finished_at.0), one_line(&answer.model));
    say!("{said:<32}   {time}   {model}   {}   {}   {file}{binding}", charge(answer), answer.ended);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_days_moments_and_times_ago() {
        assert_eq!(moment("2026-02-12"), Ok(UnixMs(1_770_854_400_000)));
        assert_eq!(moment("2026-02-12T09:30:00Z"), Ok(UnixMs(1_770_888_600_000)));
        let ago = dev::now().0 - moment("7d").unwrap().0;
        assert!((604_800_000..604_900_000).contains(&ago), "{ago}");
        for bad in ["", "yesterday", "2026-02-30", "2026-2-3", "-1d", "d", "1y", "99999999999999999999d", "2026-02-12T25:00:00Z"] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }
}
