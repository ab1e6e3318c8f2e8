//! `candor demo`: the main job once, with real processes and sockets, and ten lies that are refused.
//!
//! The demo itself is the client: it starts with nothing but the registry's address and a policy. Chain, enclave and host are processes
//! of the same program. Nothing here is special: each step is what `candor chain`, `serve`, `ask` and `verify` do.

mod lies;
mod process;
mod story;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use candor_chain::ChainClient;
use candor_client::{PolicyFile, template, write_private};

use crate::output::{Done, Failure};
use crate::{dev, policy};
use process::Child;

/// Asked when nobody says what to ask.
const DEFAULT_QUESTION: &str = "What is a receipt?";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The question to ask.
    prompt: Option<String>,
    /// Leave chain and node running at the end.
    #[arg(long)]
    keep: bool,
}

/// Everything that runs while the demo does.
struct Stage {
    state: PathBuf,
    chain: Child,
    node: Child,
    client: ChainClient,
    policy: PolicyFile,
}

pub(crate) async fn run(args: Args, json_output: bool) -> Done {
    let started = Instant::now();
    let question = args.prompt.unwrap_or_else(|| DEFAULT_QUESTION.to_owned());
    if json_output {
        return Err(Failure::cannot("the demo is for people; use `candor ask --json` and `candor verify --json` in scripts"));
    }
    println!("Candor: AI inference that shows its work.");
    println!(
        "Not proven by this run: there is no TEE hardware here. The enclave is SIMULATED: whoever holds the software root could forge it.\n"
    );
    let stage = set_up().await?;
    if let Err(failure) = story::tell(&stage, &question).await {
        // Asked to stop, chain and node end their own processes; killed, they could not.
        stage.node.stop().await;
        stage.chain.stop().await;
        return Err(failure);
    }
    println!("\n{:.1} s, this process {}", started.elapsed().as_secs_f64(), process::peak_memory());
    finish(stage, args.keep).await
}

async fn set_up() -> Result<Stage, Failure> {
    let state = std::env::temp_dir().join(format!("candor-demo-{}", std::process::id()));
    let mut chain = Child::start(&state, &["chain", "--port", "0"])?;
    let up = chain.line().await?;
    let rpc = up["url"].as_str().unwrap_or_default().to_owned();
    println!("chain    pid {:<7} {rpc}   contracts deployed, registry {}", chain.pid(), up["registry"].as_str().unwrap_or_default());
    let mut node = Child::start(&state, &["serve", "--rpc", &rpc, "--listen", "127.0.0.1:0", "--log-listen", "127.0.0.1:0"])?;
    let up = node.line().await?;
    println!(
        "enclave  pid {:<7} {}   SIMULATED, measured and attested by the software hypervisor",
        up["enclave_pid"],
        up["socket"].as_str().unwrap_or_default()
    );
    println!(
        "host     pid {:<7} {}   carries bytes; log at {}",
        up["host_pid"],
        up["api"].as_str().unwrap_or_default(),
        up["log"].as_str().unwrap_or_default()
    );
    println!("node     registered {} by the dev attestor, gas {}", up["k_sig"].as_str().unwrap_or_default(), up["gas"]);
    println!("client   pid {:<7} this process, knows the registry's address and a policy", std::process::id());
    let client = ChainClient::connect(&rpc, None).await?;
    let policy = dev::policy(&state, client.chain_id())?;
    write_private(&policy::default_path(&state), template(&policy).as_bytes())?;
    Ok(Stage { state, chain, node, client, policy })
}

async fn finish(stage: Stage, keep: bool) -> Done {
    let Stage { state, chain, node, .. } = stage;
    if keep {
        println!("chain and node are left running; stop them with: kill {} {}", node.pid(), chain.pid());
        node.leave();
        chain.leave();
        return Ok(ExitCode::SUCCESS);
    }
    node.stop().await;
    chain.stop().await;
    println!("bundle, policy and log stay in {}", state.display());
    Ok(ExitCode::SUCCESS)
}

/// A path for people: relative to here if that is shorter.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
