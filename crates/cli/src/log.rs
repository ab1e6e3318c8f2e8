//! `candor log show|check`: look into a published log, or re-derive all of it from its files, and compare it with its anchors.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_chain::ChainClient;
use candor_log::LogKeys;
use candor_log::check::{Outcome, Report, Step, check};
use candor_log::store::DirReader;
use candor_verify::bytes::{Address, Hash32};
use candor_verify::checkpoint::origin;
use candor_verify::eip712::K256;
use candor_verify::tlog::Tree;
use serde_json::json;

use crate::dev::Development;
use crate::output::{Done, Failure, print_json, read, say};
use crate::policy;
use crate::rpc::RpcArgs;

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
    /// Re-derive every tile, the root and both signatures; with --rpc also compare with every anchor on chain.
    Check {
        /// Directory of one log.
        dir: PathBuf,
        #[command(flatten)]
        rpc: RpcArgs,
        /// The registry; that of the policy, or the development registry, if not said.
        #[arg(long, value_name = "ADDRESS")]
        registry: Option<String>,
        /// Address of K_sig, from evidence that you verified, instead of the registry's.
        #[arg(long, value_name = "ADDRESS", requires = "k_log")]
        k_sig: Option<String>,
        /// Ed25519 key K_log, likewise.
        #[arg(long, value_name = "KEY", requires = "k_sig")]
        k_log: Option<String>,
    },
}

pub(crate) async fn run(args: Args, state: &Path, json_output: bool) -> Done {
    let (dir, rpc, registry, k_sig, k_log) = match args.command {
        Command::Show { dir } => return show(&dir, json_output),
        Command::Check { dir, rpc, registry, k_sig, k_log } => (dir, rpc, registry, k_sig, k_log),
    };
    if !dir.join("checkpoint").exists() && !dir.join("tile").exists() {
        return Err(Failure::cannot(format!(
            "{} is no log, or nothing is logged in it yet: expected `checkpoint` and `tile/` in it, as in {}",
            dir.display(),
            state.join("node/host/log/LOG_ID").display()
        )));
    }
    let given = match (&k_sig, &k_log) {
        (Some(k_sig), Some(k_log)) => Some(LogKeys::new(
            Address::from_hex(k_sig).ok_or_else(|| Failure::cannot("--k-sig is not an address"))?,
            Hash32::from_hex(k_log).ok_or_else(|| Failure::cannot("--k-log is not 32 bytes of hex"))?,
        )),
        _ => None,
    };
    // Anchors are read before the files: what is published meanwhile only makes the log longer.
    let (keys, anchors) = match (rpc.is_named(), given) {
        (false, _) if registry.is_some() => return Err(Failure::cannot("--registry is of a chain: name yours with --rpc URL")),
        (true, given) => {
            let chain = rpc.connect().await?;
            let registry = registry_of(registry.as_deref(), state, chain.chain_id())?;
            let (keys, anchors) = from_chain(&chain, &registry, &log_id_of(&dir, given.as_ref())?).await?;
            (given.unwrap_or(keys), Some(anchors))
        }
        (false, Some(keys)) => (keys, None),
        (false, None) => {
            return Err(Failure::cannot(
                "whose log is it? A checkpoint names no keys: let the registry name them with --rpc URL, or give them with --k-sig and --k-log",
            ));
        }
    };
    let report = check(&DirReader::new(&dir), &K256, &keys, anchors.as_deref().unwrap_or_default());
    print(&report, &keys, anchors.as_deref(), json_output);
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn show(dir: &Path, json_output: bool) -> Done {
    let bytes = read(&dir.join("checkpoint"))?;
    let text = String::from_utf8_lossy(&bytes);
    if json_output {
        let mut lines = text.lines();
        let (origin, size, root) = (lines.next(), lines.next(), lines.next());
        print_json(&json!({"origin": origin, "size": size.and_then(|size| size.parse::<u64>().ok()), "root": root}));
    } else {
        say!("{}", text.trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

/// Where keys are looked up: the address that was named, else the policy's registry on this chain, else the development registry.
fn registry_of(named: Option<&str>, state: &Path, chain_id: u64) -> Result<Address, Failure> {
    if let Some(text) = named {
        return Address::from_hex(text).ok_or_else(|| Failure::cannot("--registry is not an address"));
    }
    let policy = policy::load(None, state)?.policy;
    let listed = policy.registries.named().iter().find(|(id, _)| *id == chain_id).map(|(_, address)| *address);
    listed
        .or_else(|| Development::of(chain_id).map(|development| development.deployed().addresses.registry))
        .ok_or_else(|| Failure::cannot(format!("the policy names no registry on chain {chain_id}; name it with --registry ADDRESS")))
}

/// The id of the log in a directory: of the given keys, else from the checkpoint's first line, else the directory's name. It only says
/// what to look for.
fn log_id_of(dir: &Path, keys: Option<&LogKeys>) -> Result<Hash32, Failure> {
    if let Some(keys) = keys {
        return Ok(keys.log_id());
    }
    let text = std::fs::read(dir.join("checkpoint")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next().unwrap_or_default();
    let name = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let from_line = line.rsplit('/').next().and_then(parse_id).filter(|id| origin(id) == line);
    from_line.or_else(|| parse_id(&name)).ok_or_else(|| {
        Failure::refused(
            "log.checkpoint",
            format!("expected a first line like candor/log/LOG_ID in {}/checkpoint, got {line:?}", dir.display()),
        )
    })
}

fn parse_id(text: &str) -> Option<Hash32> {
    Hash32::from_hex(&format!("0x{}", text.trim_start_matches("0x")))
}

/// Keys and anchors of a log, from the registry that it is anchored under.
async fn from_chain(chain: &ChainClient, registry: &Address, log_id: &Hash32) -> Result<(LogKeys, Vec<Tree>), Failure> {
    let unknown = || {
        let what = format!("the registry {registry} on chain {} knows no log {log_id}; another is named with --registry", chain.chain_id());
        Failure::refused("registry.listed", what)
    };
    let k_sig = chain.key_of(registry, log_id).await?.ok_or_else(unknown)?;
    let status = chain.key_status(registry, &k_sig).await?.ok_or_else(unknown)?;
    let registered = chain.registered(registry, &k_sig, &status).await?;
    let manifest = registered.boot?.manifest;
    let keys = LogKeys::new(k_sig, manifest.k_log);
    // The record names the manifest's hash, and the log's id names both keys: the manifest beside it is only what somebody sent.
    let expected = registered.record.manifest_hash;
    if manifest.hash() != expected || keys.log_id() != *log_id {
        let what = format!("expected manifest {expected} of log {log_id}, got {} of {}", manifest.hash(), keys.log_id());
        return Err(Failure::refused("registry.listed", what));
    }
    let anchors = chain.anchors(registry, &k_sig, &status).await?;
    Ok((keys, anchors.iter().map(|anchor| anchor.tree).collect()))
}

fn print(report: &Report, keys: &LogKeys, anchors: Option<&[Tree]>, json_output: bool) {
    let failures: Vec<String> = report.failures().map(ToString::to_string).collect();
    let size = report.checkpoint.map(|checkpoint| checkpoint.tree().size);
    if json_output {
        return print_json(&json!({
            "sound": report.is_sound(), "failures": failures, "log_id": keys.log_id().to_string(), "size": size,
            "anchors": anchors.map(<[Tree]>::len),
        }));
    }
    for check in &report.checks {
        let (mark, detail) = match check.outcome {
            Outcome::Failed => ("REFUSED    ", format!("{} examined", check.examined)),
            Outcome::NotChecked => ("not reached", String::new()),
            Outcome::Passed if check.step == Step::Remembered && anchors.is_none() => {
                ("not checked", "needs the anchors on chain: --rpc URL".into())
            }
            Outcome::Passed if check.step == Step::Remembered => ("ok         ", format!("{} anchors on chain", check.examined)),
            Outcome::Passed => ("ok         ", format!("{} examined", check.examined)),
        };
        say!("  {mark} {:<12} {:<16} {detail}", check.step.as_str(), check.step.spec());
    }
    for failure in &failures {
        say!("               {failure}");
    }
    let newest = anchors.and_then(<[Tree]>::last).map_or(String::new(), |tree| format!(", anchored up to {}", tree.size));
    match (report.is_sound(), size) {
        (true, Some(size)) => say!("\nSOUND: log {}, {size} receipts{newest}", keys.log_id()),
        _ => say!("\nREFUSED: log {}", keys.log_id()),
    }
}
