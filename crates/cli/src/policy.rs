//! `candor policy new`: a commented policy file.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_client::{PolicyFile, template, write_private};
use candor_verify::policy::Policy;
use candor_x402::client::SpendPolicy;
use serde_json::json;

use crate::output::{Done, Failure, print_json};
use crate::{dev, output};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Write a policy file: hardware roots only, nothing may be spent, until you fill in workloads and amounts.
    New {
        /// Where to write it; the state directory's policy.toml if not said.
        path: Option<PathBuf>,
        /// Accept this very program under this state's software root. SIMULATED: for development only.
        #[arg(long)]
        dev: bool,
        /// Chain id of the development registry, with --dev.
        #[arg(long, default_value_t = candor_devchain::DEFAULT_CHAIN_ID, requires = "dev")]
        chain_id: u64,
    },
}

pub(crate) fn run(args: Args, state: &Path, json_output: bool) -> Done {
    let Command::New { path, dev, chain_id } = args.command;
    let path = path.unwrap_or_else(|| default_path(state));
    if path.exists() {
        return Err(Failure::cannot(format!("{} is there already; it was not touched", path.display())));
    }
    let file = if dev { dev::policy(state, chain_id)? } else { PolicyFile::new(Policy::hardware(), SpendPolicy::default()) };
    write_private(&path, template(&file).as_bytes())?;
    if json_output {
        print_json(&json!({"policy": path.display().to_string(), "simulated": dev}));
    } else {
        println!("wrote {}{}", path.display(), if dev { "   (accepts SIMULATED evidence of this program)" } else { "" });
    }
    Ok(ExitCode::SUCCESS)
}

/// `policy.toml` of a state directory.
pub(crate) fn default_path(state: &Path) -> PathBuf {
    state.join("policy.toml")
}

/// The policy to judge by: the file that was named, else the state's, else (nothing there) the hardware policy without a workload.
pub(crate) fn load(named: Option<&Path>, state: &Path) -> Result<PolicyFile, output::Failure> {
    let fallback = default_path(state);
    match named {
        Some(path) => Ok(PolicyFile::read(path)?),
        None if fallback.exists() => Ok(PolicyFile::read(&fallback)?),
        None => Ok(PolicyFile::new(Policy::hardware(), SpendPolicy::default())),
    }
}
