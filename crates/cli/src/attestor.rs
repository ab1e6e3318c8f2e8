//! `candor attestor`: one member of a quorum, until it is interrupted. It judges evidence that it is shown and signs what it found.
//!
//! It needs nobody's permission and nobody's secrets: a key, a policy of its own, the deployment that it signs for, and a chain endpoint of
//! its own. Independent members are what a quorum is for: other people, other machines, other endpoints. Spec: attestor.md.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use candor_attestor::{Attestor, Told, Watch, serve};
use candor_chain::Signer;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::deployment::DeploymentArg;
use crate::dev::{Development, Role};
use crate::keys::missing;
use crate::lifetime::asked_to_stop;
use crate::output::{Done, Failure, free_address, print_json, say};
use crate::policy;
use crate::rpc::RpcArgs;
use crate::wallet::{self, Passphrase};

/// For answers that are being written when it is stopped.
const GRACE: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Keystore of this attestor, as `candor wallet new` makes it. On the development chain its one attestor, if not said.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// What it accepts; the state directory's policy.toml if not said.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    deployment: DeploymentArg,
    #[command(flatten)]
    rpc: RpcArgs,
    /// Where registrars ask (plain HTTP). Nothing there is secret; for others than this machine name an address, or put a proxy in front.
    #[arg(long, default_value = "127.0.0.1:8446")]
    listen: SocketAddr,
    #[command(flatten)]
    passphrase: Passphrase,
}

pub(crate) async fn run(args: Args, state: &Path, json_output: bool) -> Done {
    let chain = args.rpc.connect().await?;
    let chain_id = chain.chain_id();
    let quorum = args.deployment.on(chain_id)?.quorum();
    let key = key(&args, chain_id)?;
    if !quorum.members.contains(&key.address()) {
        let members: Vec<String> = quorum.members.iter().map(ToString::to_string).collect();
        let what = format!("attestor: {} is no member of the deployment's quorum ({})", key.address(), members.join(", "));
        return Err(Failure::cannot(format!("{what}; a quorum's members are fixed when it is deployed: candor deploy --attestor ADDRESS")));
    }
    let judge = policy::load(args.policy.as_deref(), state)?.policy;
    let listen = free_address(args.listen, "--listen")?;
    let listener = TcpListener::bind(listen).await.map_err(|error| Failure::cannot(format!("--listen {listen}: {error}")))?;
    let url = format!("http://{listen}");
    let stop = asked_to_stop();
    if json_output {
        print_json(
            &json!({"url": url, "attestor": key.address().to_string(), "chain_id": chain_id, "verifier": quorum.verifier.to_string()}),
        );
    } else {
        say!("attestor {} at {url}   {} of {} on chain {chain_id}", key.address(), quorum.threshold, quorum.members.len());
        say!("signs for QuorumVerifier {}; policy: {}", quorum.verifier, policy::name(args.policy.as_deref(), state));
    }
    let telling: Watch = Arc::new(move |told: &Told| tell(told, json_output));
    let attestor = Arc::new(Attestor::new(key, judge, quorum, chain));
    let (stopping, stopped) = watch::channel(false);
    let serving = tokio::spawn(serve(listener, attestor, telling, stopped));
    stop.await;
    stopping.send_replace(true);
    drop(tokio::time::timeout(GRACE, serving).await);
    Ok(ExitCode::SUCCESS)
}

fn key(args: &Args, chain_id: u64) -> Result<Signer, Failure> {
    match (&args.key, Development::of(chain_id)) {
        (Some(path), _) => wallet::load(path, &args.passphrase, chain_id),
        (None, Some(development)) => Ok(development.signer(Role::Attestor)),
        (None, None) => Err(missing("attestor", chain_id, "--key FILE", "candor wallet new FILE")),
    }
}

/// A line per question.
fn tell(told: &Told, json_output: bool) {
    match told {
        Told::Signed { k_sig, attestation } if json_output => {
            print_json(&json!({"signed": true, "k_sig": k_sig.to_string(), "document_time": attestation.verdict.document_time}));
        }
        Told::Signed { k_sig, attestation } => {
            say!("signed    K_sig {k_sig}, document of {} (Unix seconds)", attestation.verdict.document_time);
        }
        Told::Refused { code, message } if json_output => print_json(&json!({"signed": false, "code": code, "message": message})),
        Told::Refused { code, message } => say!("refused   {code}: {message}"),
        _ => {}
    }
}
