//! `candor log show|check`: look into a published log, or re-derive all of it from its files.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_log::LogKeys;
use candor_log::check::check;
use candor_log::store::DirReader;
use candor_verify::bytes::{Address, Hash32};
use candor_verify::eip712::K256;
use serde_json::json;

use crate::output::{Done, Failure, print_json, read};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Print the checkpoint of a log directory.
    Show {
        /// Directory of one log (contains `checkpoint` and `tile/`).
        dir: PathBuf,
    },
    /// Re-derive every tile, the root and both signatures.
    Check {
        /// Directory of one log.
        dir: PathBuf,
        /// Address of K_sig, from the evidence (`candor inspect`, `candor registry list`).
        #[arg(long)]
        k_sig: String,
        /// Ed25519 key K_log, from the evidence.
        #[arg(long)]
        k_log: String,
    },
}

pub(crate) async fn run(args: Args, _state: &Path, json_output: bool) -> Done {
    match args.command {
        Command::Show { dir } => show(&dir, json_output),
        Command::Check { dir, k_sig, k_log } => {
            let k_sig = Address::from_hex(&k_sig).ok_or_else(|| Failure::cannot("--k-sig is not an address"))?;
            let k_log = Hash32::from_hex(&k_log).ok_or_else(|| Failure::cannot("--k-log is not 32 bytes of hex"))?;
            check_all(&dir, &LogKeys::new(k_sig, k_log), json_output)
        }
    }
}

fn show(dir: &Path, json_output: bool) -> Done {
    let bytes = read(&dir.join("checkpoint"))?;
    let text = String::from_utf8_lossy(&bytes);
    if json_output {
        let mut lines = text.lines();
        let (origin, size, root) = (lines.next(), lines.next(), lines.next());
        print_json(&json!({"origin": origin, "size": size.and_then(|size| size.parse::<u64>().ok()), "root": root}));
    } else {
        print!("{text}");
    }
    Ok(ExitCode::SUCCESS)
}

fn check_all(dir: &Path, keys: &LogKeys, json_output: bool) -> Done {
    let reader = DirReader::new(dir);
    let report = check(&reader, &K256, keys, &[]);
    let failures: Vec<String> = report.failures().map(ToString::to_string).collect();
    if json_output {
        print_json(&json!({"sound": report.is_sound(), "failures": failures}));
    } else {
        for check in &report.checks {
            println!("{:<12} {:?}, {} examined   {}", check.step.as_str(), check.outcome, check.examined, check.step.spec());
        }
        for failure in &failures {
            println!("  {failure}");
        }
    }
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
