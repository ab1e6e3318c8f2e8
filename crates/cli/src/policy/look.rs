//! `candor policy show`: the policy in force, in words. `candor policy check`: whether a file is one, and what in it is risky.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_client::{PolicyFile, read_text};
use candor_report::{PolicyText, PolicyTextError};
use serde_json::json;

use super::words;
use super::{default_path, is_of_one_build, load, nobody, path_of};
use crate::dev;
use crate::output::{Done, Failure, print_json, say};
use crate::rpc::RpcArgs;

#[derive(clap::Args)]
pub(super) struct ShowArgs {
    /// Policy file; the state directory's policy.toml if not said.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    rpc: RpcArgs,
}

#[derive(clap::Args)]
pub(super) struct CheckArgs {
    /// Policy file; the state directory's policy.toml if not said.
    file: Option<PathBuf>,
}

/// The chain is asked only if somebody names one: for the decimals of tokens that are not known here.
pub(super) async fn show(args: ShowArgs, state: &Path, json_output: bool) -> Done {
    let path = path_of(args.policy.as_deref(), state);
    let is_there = args.policy.is_some() || path.exists();
    let file = if is_there { load(args.policy.as_deref(), state)? } else { PolicyFile::new(nobody(), Default::default()) };
    let chain = if args.rpc.is_named() { Some(args.rpc.connect().await?) } else { None };
    let moneys = words::moneys(&file, chain.as_ref()).await?;
    let source = match is_there {
        true => path.display().to_string(),
        false => format!(
            "no policy file at {}: nobody is accepted and nothing is spent; `candor policy suggest` shows what could be (on chain {} `candor \
             ask` writes one that accepts this build)",
            path.display(),
            candor_devchain::DEFAULT_CHAIN_ID
        ),
    };
    if json_output {
        let mut value = words::json(&file, &moneys);
        value["file"] = is_there.then(|| path.display().to_string()).into();
        value["from"] = source.into();
        value["warnings"] = warnings(&file, &path, is_there, state).into();
        print_json(&value);
        return Ok(ExitCode::SUCCESS);
    }
    say!("{source}");
    for (question, answer) in words::rows(&file, &moneys) {
        say!("  {question:<14} {answer}");
    }
    for warning in warnings(&file, &path, is_there, state) {
        say!("warning: {warning}");
    }
    Ok(ExitCode::SUCCESS)
}

/// 0: nothing to say. 1: it can be read, and has risky values. 2: it is no policy.
pub(super) fn check(args: &CheckArgs, state: &Path, json_output: bool) -> Done {
    let path = args.file.clone().unwrap_or_else(|| default_path(state));
    let file = read(&path)?;
    let warnings = warnings(&file, &path, true, state);
    let code = u8::from(!warnings.is_empty());
    if json_output {
        print_json(&json!({"ok": warnings.is_empty(), "file": path.display().to_string(), "warnings": warnings}));
        return Ok(ExitCode::from(code));
    }
    for warning in &warnings {
        say!("warning: {warning}");
    }
    let said = match warnings.len() {
        0 => "every field can be read, and none is risky".to_owned(),
        1 => "every field can be read; 1 is risky".to_owned(),
        risky => format!("every field can be read; {risky} are risky"),
    };
    say!("{}: {said}; in words: candor policy show --policy {}", path.display(), path.display());
    Ok(ExitCode::from(code))
}

/// Reads a file as every command does, and shows the place of what is wrong with it.
fn read(path: &Path) -> Result<PolicyFile, Failure> {
    let text = read_text(path, PolicyFile::BYTES_MAX)?;
    let wrong = |error: PolicyTextError| Failure::cannot(format!("{}: {error}{}", path.display(), place(&error, &text)));
    PolicyText::parse(&text).map(PolicyFile::from).map_err(wrong)
}

/// Line and caret of a value that its field cannot have; the TOML reader shows the place of everything else itself.
fn place(error: &PolicyTextError, text: &str) -> String {
    let PolicyTextError::Value { field, got, .. } = error else { return String::new() };
    let name = field.rsplit('.').next().unwrap_or(field);
    let stands = |line: &&str| line.contains(got.as_str()) && !line.trim_start().starts_with('#');
    let mut numbered = text.lines().enumerate();
    // A list may go over several lines, so that the name stands on another.
    let found = numbered.clone().find(|(_, line)| stands(line) && line.contains(name)).or_else(|| numbered.find(|(_, line)| stands(line)));
    let Some((at, line)) = found else { return String::new() };
    let column = line.find(got.as_str()).map_or(0, |byte| line[..byte].chars().count());
    let (number, indent) = (at + 1, " ".repeat(column));
    format!("\n{number} | {line}\n{} | {indent}{}", " ".repeat(number.to_string().len()), "^".repeat(got.chars().count().max(1)))
}

fn warnings(file: &PolicyFile, path: &Path, is_there: bool, state: &Path) -> Vec<String> {
    let mut out = words::warnings(file);
    // A build is accepted by what it measures: the next one is another.
    let is_expired =
        is_there && is_of_one_build(path) && dev::workload(state).is_some_and(|workload| !file.policy.workloads.accepts(&workload));
    if is_expired {
        out.push("accept.workloads: expired: written for another build of candor (candor policy new --dev --force)".into());
    }
    out
}
