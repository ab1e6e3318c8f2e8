//! `candor registry list`: every registered enclave with what a policy says of its evidence, rebuilt from the chain alone.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_chain::ChainClient;
use candor_client::{Candidate, candidates};
use candor_verify::eip712::K256;
use candor_verify::evidence::{Moment, verify_evidence};
use candor_verify::policy::Policy;
use candor_verify::text::one_line;
use serde_json::{Value, json};

use crate::output::{Done, print_json, say};
use crate::{ask, dev, policy};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List registered enclaves, oldest first.
    List {
        /// RPC of the registry's chain.
        #[arg(long, default_value = dev::RPC_URL)]
        rpc: String,
        /// Policy file; the state directory's policy.toml if not said.
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
    },
}

pub(crate) async fn run(args: Args, state: &Path, json_output: bool) -> Done {
    let Command::List { rpc, policy } = args.command;
    let chain = ChainClient::connect(&rpc, None).await?;
    let judge = ask::client_policy(policy.as_deref(), state, chain.chain_id())?;
    let registry = policy::registry(&judge, policy.as_deref(), state)?;
    let rows: Vec<Value> = candidates(&chain, &registry).await?.iter().map(|candidate| row(candidate, &judge.policy)).collect();
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
    }
    say!("{} in registry {registry}. Registered is not running: `candor inspect ENDPOINT` asks who answers.", rows.len());
    Ok(ExitCode::SUCCESS)
}

fn row(candidate: &Candidate, policy: &Policy) -> Value {
    let (judged, endpoint) = match &candidate.evidence {
        Err(what) => (format!("unreadable: {what}"), None),
        Ok(evidence) => {
            let (verdict, enclave) = verify_evidence(evidence, policy, Moment::OwnTime, &K256);
            let refused = verdict.refused().map_or("refused".into(), |check| format!("refused {}", check.id));
            let accepted = enclave.map(|enclave| if enclave.is_simulated() { "accepted, SIMULATED" } else { "accepted, hardware" });
            (accepted.map_or(refused, str::to_owned), evidence.terms.terms.endpoints.first().cloned())
        }
    };
    // From the evidence, for `candor log check`; the registry's record has only its part in the log's id.
    let k_log = candidate.evidence.as_ref().ok().map(|evidence| evidence.manifest.k_log.to_string());
    json!({
        "k_log": k_log, "k_sig": candidate.record.k_sig.to_string(), "status": candidate.standing.as_str(), "policy": judged,
        "operator": candidate.record.operator.to_string(), "log_id": candidate.record.log_id.to_string(),
        "valid_from": candidate.record.valid_from.0, "valid_until": candidate.status.valid_until.0, "endpoint": endpoint,
    })
}
