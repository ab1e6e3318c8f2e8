//! `candor registry list`: registered enclaves with what a policy says of their evidence, rebuilt from the chain alone. `candor registry retire`
//! and `revoke`: an operator ends a key of its own.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_chain::{Record, retire_calldata, revoke_calldata};
use candor_client::{Candidate, candidates};
use candor_verify::bytes::Address;
use candor_verify::eip712::K256;
use candor_verify::evidence::{Evidence, Moment, verify_evidence};
use candor_verify::policy::Policy;
use candor_verify::text::one_line;
use serde_json::{Value, json};

use crate::dev::{Development, Role};
use crate::keys::missing;
use crate::output::{Done, Failure, print_json, say};
use crate::rpc::RpcArgs;
use crate::wallet::Passphrase;
use crate::{dev, policy, wallet};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List registered enclaves, oldest first.
    List {
        #[command(flatten)]
        rpc: RpcArgs,
        /// Policy file; the state directory's policy.toml if not said.
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// How many of the newest are looked at.
        #[arg(long, value_name = "N", default_value_t = 100)]
        newest: usize,
    },
    /// End a key in an ordinary way: what it finishes from an hour on does not count, and clients pay it no more.
    Retire(End),
    /// End a stolen key at once: nothing counts that the chain has not seen yet. For good, and a public accusation of oneself.
    Revoke(End),
}

/// A key that its operator ends.
#[derive(clap::Args)]
struct End {
    /// The key, as `candor registry list` shows it.
    #[arg(value_name = "K_SIG", value_parser = key)]
    k_sig: Address,
    #[command(flatten)]
    rpc: RpcArgs,
    /// Policy file that names the registry; the state directory's policy.toml if not said.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The operator's keystore, which pays gas too; on the development chain its operator if not said.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    passphrase: Passphrase,
}

fn key(text: &str) -> Result<Address, &'static str> {
    Address::from_hex(text).ok_or("expected 0x and 40 hex digits")
}

pub(crate) async fn run(args: Args, state: &Path, json_output: bool) -> Done {
    match args.command {
        Command::List { rpc, policy, newest } => list(&rpc, policy.as_deref(), newest, state, json_output).await,
        Command::Retire(end) => end_key(&end, retire_calldata, state, json_output).await,
        Command::Revoke(end) => end_key(&end, revoke_calldata, state, json_output).await,
    }
}

async fn end_key(end: &End, calldata: fn(&Record) -> Vec<u8>, state: &Path, json_output: bool) -> Done {
    let chain = end.rpc.connect().await?;
    let chain_id = chain.chain_id();
    let signer = match (&end.key, Development::of(chain_id)) {
        (Some(path), _) => wallet::load(path, &end.passphrase, chain_id)?,
        (None, Some(development)) => development.signer(Role::Operator),
        (None, None) => {
            return Err(missing("operator", chain_id, "--key FILE", "candor wallet new FILE, before the terms are signed with it"));
        }
    };
    let judge = policy::to_buy_by(end.policy.as_deref(), state, chain.chain_id())?;
    let registry = policy::registry(&judge, end.policy.as_deref(), state)?;
    let status = chain.key_status(&registry, &end.k_sig).await?;
    let status = status.ok_or_else(|| Failure::cannot(format!("registry {registry} does not know the key {}", end.k_sig)))?;
    let record = chain.registered(&registry, &end.k_sig, &status).await?.record;
    chain.send_and_wait(&signer, Some(&registry), &calldata(&record)).await?;
    let status = chain.key_status(&registry, &end.k_sig).await?.unwrap_or(status);
    let (invalid_from, revoked_at) = (status.invalid_from.map(|at| at.0), status.revoked_at.map(|at| at.0));
    if json_output {
        print_json(&json!({"k_sig": end.k_sig.to_string(), "invalid_from": invalid_from, "revoked_at": revoked_at}));
    } else {
        let show = |at: Option<u64>| at.map_or("never".to_owned(), |at| format!("{at} (Unix seconds)"));
        say!("{}: retired from {}, revoked {}", end.k_sig, show(invalid_from), show(revoked_at));
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(rpc: &RpcArgs, policy: Option<&Path>, newest: usize, state: &Path, json_output: bool) -> Done {
    let chain = rpc.connect().await?;
    let judge = policy::to_buy_by(policy, state, chain.chain_id())?;
    let registry = policy::registry(&judge, policy, state)?;
    let found = candidates(&chain, &registry, newest).await?;
    let mut rows = Vec::new();
    for candidate in &found {
        rows.push(row(candidate, &candidate.evidence(&chain, &registry).await?, &judge.policy));
    }
    if json_output {
        print_json(&Value::from(rows));
        return Ok(ExitCode::SUCCESS);
    }
    for row in &rows {
        let text = |key: &str| one_line(row[key].as_str().unwrap_or("unknown")).into_owned();
        let (until, now) = (row["valid_until"].as_u64().unwrap_or_default(), dev::now().seconds().0);
        let registered = match row["status"].as_str() {
            Some("valid") if now <= until => format!("registered, for {} min more by its newest document on chain", (until - now) / 60),
            Some("valid") => {
                format!("registered; its newest document on chain counted until {} min ago, a renewal is due", (now - until) / 60)
            }
            _ => format!("registered, {} now", text("status")),
        };
        say!("K_sig     {}\n  registry  {registered}\n  evidence  {}", text("k_sig"), text("policy"));
        say!("  endpoint  {}\n  K_log     {}\n  log       {}", text("endpoint"), text("k_log"), text("log_id"));
        say!("  listed    {}", text("listed_id"));
    }
    let more = if rows.len() == newest { " (the newest; --newest N shows others)" } else { "" };
    say!("{}{more} in registry {registry}. Registered is not running: `candor inspect ENDPOINT` asks who answers.", rows.len());
    Ok(ExitCode::SUCCESS)
}

fn row(candidate: &Candidate, evidence: &Result<Evidence, String>, policy: &Policy) -> Value {
    let (judged, endpoint) = match evidence {
        Err(what) => (format!("unreadable: {what}"), None),
        Ok(evidence) => {
            let (verdict, enclave) = verify_evidence(evidence, policy, Moment::OwnTime, &K256);
            let refused = verdict.refused().map_or("refused".into(), |check| format!("refused {}", check.id));
            let accepted = enclave.map(|enclave| if enclave.is_simulated() { "accepted, SIMULATED" } else { "accepted, hardware" });
            (accepted.map_or(refused, str::to_owned), evidence.terms.terms.endpoints.first().cloned())
        }
    };
    // From the evidence, for `candor log check`; the registry's record has only its part in the log's id.
    let k_log = evidence.as_ref().ok().map(|evidence| evidence.manifest.k_log.to_string());
    let record = &candidate.registered.record;
    json!({
        "k_log": k_log, "k_sig": record.k_sig.to_string(), "status": candidate.standing.as_str(), "policy": judged,
        "listed_id": record.listed_id().to_string(), "operator": record.operator.to_string(), "log_id": record.log_id.to_string(),
        "valid_from": record.valid_from.0, "valid_until": candidate.status.valid_until.0, "endpoint": endpoint,
    })
}
