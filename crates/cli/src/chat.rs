//! `candor chat`: a conversation, each answer bought, verified and kept as by `ask`, with what was spent so far.
//!
//! The whole conversation travels with each question, as every chat does: it gets dearer as it grows. What was kept is upgraded to its
//! anchor at the end, and not between two questions, where somebody waits.

use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use candor_client::{KeepMode, VerifiedResponse, cut_notice};
use candor_verify::bytes::Amount;
use candor_verify::receipt::Outcome;
use candor_verify::verdict::LogLevel;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::ask::{Buying, SETTLE_WAIT, Sampling, Settled, Shop, answer_json, finish, user};
use crate::output::{Done, Failure, note, print_json, prose_aside, write_err};
use crate::paint::Line;
use crate::spinner::Spinner;
use crate::told::{Told, charged};
use crate::{bundles, verify};

/// Longest line that somebody types, in bytes.
const LINE_MAX: u64 = 1 << 16;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    sampling: Sampling,
    #[command(flatten)]
    buying: Buying,
    #[command(flatten)]
    keep: bundles::KeepArg,
}

/// What a line is, if it is no question.
const HELP: &str = "/new forgets the conversation, /spent says what it cost, /quit ends it (Ctrl-D too)";

/// A conversation.
struct Talk {
    messages: Vec<Value>,
    answers: Vec<VerifiedResponse>,
    /// Of the questions that have no answer, and of a line that could not be read.
    failed: Vec<ExitCode>,
}

pub(crate) async fn run(args: Args, state: &Path, json_output: bool) -> Done {
    prose_aside();
    args.sampling.check()?;
    args.keep.check_copy(json_output)?;
    let mut shop = args.buying.open(state, args.keep.place(KeepMode::Full, None, state)?, json_output).await?;
    shop.open_wallet(Some(args.sampling.model.as_deref()), &args.buying, state)?;
    if !json_output {
        note!("{}\n{HELP}", crate::ask::describe(&shop.node));
    }
    // A terminal that closes ends the input and not the program: what was paid for is settled first.
    let _hangup = signal(SignalKind::hangup());
    let mut talk = Talk { messages: Vec::new(), answers: Vec::new(), failed: Vec::new() };
    loop {
        let line = match next_line(json_output) {
            Ok(Some(line)) => line,
            Ok(None) => break,
            // What was paid for is settled and kept all the same.
            Err(failure) => {
                talk.failed.push(failure.report(json_output));
                break;
            }
        };
        match line.trim() {
            "" => {}
            "/quit" | "/exit" => break,
            "/help" => note!("{HELP}"),
            "/new" => {
                talk.messages.clear();
                note!("forgotten; the bundles are kept");
            }
            "/spent" => note!("{}", talk.spent()),
            command if command.starts_with('/') => note!("no such command: {HELP}"),
            question => talk.turn(question, &args, &mut shop, json_output).await,
        }
    }
    Ok(talk.end(&shop, json_output).await)
}

/// A line of whoever talks; `None` at the end.
fn next_line(json_output: bool) -> Result<Option<String>, Failure> {
    if !json_output && std::io::stdin().is_terminal() {
        write_err(format_args!("\n> "));
    }
    let mut line = Vec::new();
    let read = std::io::stdin().lock().take(LINE_MAX).read_until(b'\n', &mut line);
    match read.map_err(|error| Failure::cannot(format!("standard input: {error}")))? {
        0 => Ok(None),
        _ if line.len() as u64 == LINE_MAX && line.last() != Some(&b'\n') => Err(Failure::cannot(format!(
            "expected lines of at most {LINE_MAX} bytes, got a longer one, which was not asked; the conversation ends"
        ))),
        _ => String::from_utf8(line)
            .map(Some)
            .map_err(|_| Failure::cannot("expected text in UTF-8; the line was not asked, and the conversation ends")),
    }
}

impl Talk {
    /// One question and its answer. What fails is told, and the conversation goes on without that question.
    async fn turn(&mut self, question: &str, args: &Args, shop: &mut Shop, json_output: bool) {
        self.messages.push(user(question));
        let asked = match args.sampling.body(&shop.node, &self.messages, None) {
            Ok(body) => shop.ask(&body, &args.buying, !json_output).await,
            Err(failure) => Err(failure),
        };
        match asked {
            Ok(response) => {
                match response.bundle.delivery.receipt.work.outcome {
                    // It was no turn: with it in the conversation the guard would refuse the next one too.
                    Outcome::RefusedByGuard => drop(self.messages.pop()),
                    _ => self.messages.push(json!({"role": "assistant", "content": response.text})),
                }
                self.answers.push(response);
                self.tell(shop, args.keep.is_proof(), json_output);
            }
            Err(failure) => {
                drop(self.messages.pop());
                self.failed.push(failure.report(json_output));
            }
        }
    }

    /// What stands under the answer that just came.
    fn tell(&self, shop: &Shop, has_copy: bool, json_output: bool) {
        let Some(response) = self.answers.last() else { return };
        if json_output {
            let mut value = answer_json(response, &response.verdict, has_copy);
            value["spent"] = self.spent().into();
            return print_json(&value);
        }
        let told = self.told(response, shop.policy.policy.require_level);
        told.headline().note();
        Line::new().dim(format!("{}; {}; {}", charged(&response.bundle), self.spent(), bundles::kept_where(response))).note();
        if let Some(notice) = cut_notice(&response.bundle) {
            note!("{notice}");
        }
    }

    fn told<'a>(&self, response: &'a VerifiedResponse, required: LogLevel) -> Told<'a> {
        Told { bundle: &response.bundle, verdict: &response.verdict, required, is_live: true }
    }

    /// What the conversation cost, in each money.
    fn spent(&self) -> String {
        let mut sums: Vec<(&VerifiedResponse, Amount)> = Vec::new();
        for response in self.answers.iter().filter(|response| response.bundle.sale.is_some()) {
            let money = &response.bundle.delivery.receipt.money;
            let of = |other: &VerifiedResponse| {
                let other = &other.bundle.delivery.receipt.money;
                (other.chain_id, other.asset) == (money.chain_id, money.asset)
            };
            match sums.iter_mut().find(|(other, _)| of(other)) {
                Some((_, sum)) => *sum = Amount(sum.0.saturating_add(money.charged.0)),
                None => sums.push((response, money.charged)),
            }
        }
        let text = sums.iter().map(|(response, sum)| crate::told::money(&response.bundle, *sum)).collect::<Vec<_>>().join(", ");
        let answers = self.answers.len();
        format!("{} for {answers} answer{}", if text.is_empty() { "nothing" } else { &text }, if answers == 1 { "" } else { "s" })
    }

    /// Upgrades what was kept, and says how it ended. The exit code is that of the worst answer, or of a question that was not answered.
    async fn end(mut self, shop: &Shop, json_output: bool) -> ExitCode {
        let spinner = Spinner::start(!json_output, "waiting for transfers and anchors; Ctrl-C leaves the bundles as they are");
        let mut ends = std::mem::take(&mut self.failed);
        let begun = Instant::now();
        for response in &mut self.answers {
            let left = SETTLE_WAIT.saturating_sub(begun.elapsed());
            match finish(shop.own.client(), response, &shop.policy.policy, &shop.keep, left).await {
                Ok(Settled { verdict, .. }) => {
                    ends.push(verify::exit_code(&verdict));
                    response.verdict = verdict;
                }
                Err(failure) => ends.push(failure.report(json_output)),
            }
        }
        drop(spinner);
        if !json_output && !self.answers.is_empty() {
            note!("{}", self.spent());
            for response in &self.answers {
                self.told(response, shop.policy.policy.require_level)
                    .headline()
                    .dim(format!("   {}", bundles::kept_where(response)))
                    .note();
            }
        }
        // A refusal is worse than not to know.
        [1, 2].map(ExitCode::from).into_iter().find(|worst| ends.contains(worst)).unwrap_or(ExitCode::SUCCESS)
    }
}
