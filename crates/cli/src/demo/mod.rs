//! `candor demo`: the main job once, with real processes and sockets, and ten lies that are refused.
//!
//! The demo itself is the client: it starts with nothing but the registry's address and a policy. Chain, enclave and host are processes
//! of the same program. Nothing here is special: each step is what `candor chain`, `serve`, `ask` and `verify` do.

mod by_hand;
mod lies;
mod process;
mod screen;
mod story;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Instant;

use candor_chain::ChainClient;
use candor_client::PolicyFile;
use serde_json::{Value, json};

use crate::dev::{self, Development, Role};
use crate::lifetime::asked_to_stop;
use crate::output::{Done, Failure, note, print_json, prose_aside, say};
use crate::policy;
use process::Child;

/// Asked when nobody says what to ask.
const DEFAULT_QUESTION: &str = "What is a receipt?";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The question to ask.
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    prompt: Option<String>,
    /// Leave chain and node running at the end, for what only a chain can show.
    #[arg(long)]
    keep: bool,
    /// Say also process ids, addresses, gas, every check by name, and commands that repeat each step by hand. So does --keep.
    #[arg(short, long)]
    verbose: bool,
}

/// Everything that runs while the demo does.
struct Stage {
    state: PathBuf,
    rpc: String,
    is_kept: bool,
    is_verbose: bool,
    development: Development,
    registration_gas: Option<u64>,
    chain: Child,
    node: Child,
    client: ChainClient,
    policy: PolicyFile,
}

impl Stage {
    /// Says what only somebody who asked for it wants to know.
    fn detail(&self, text: &str) {
        if self.is_verbose {
            screen::detail(text);
        }
    }
}

pub(crate) async fn run(args: Args, json_output: bool) -> Done {
    if json_output {
        prose_aside();
    }
    screen::title();
    // Dropped at a signal, the play takes its processes with it.
    tokio::select! {
        biased;
        () = asked_to_stop() => Err(Failure::cannot("stopped; chain and node end with the demo")),
        played = play(args, json_output) => played,
    }
}

async fn play(args: Args, json_output: bool) -> Done {
    let started = Instant::now();
    let question = args.prompt.unwrap_or_else(|| DEFAULT_QUESTION.to_owned());
    let state = std::env::temp_dir().join(format!("candor-demo-{}", std::process::id()));
    let stage = set_up(state.clone(), args.keep, args.verbose || args.keep).await.inspect_err(|_| tell_where(&state))?;
    let mut summary = match story::tell(&stage, &question).await {
        Ok(summary) => summary,
        Err(failure) => {
            stage.node.stop().await;
            stage.chain.stop().await;
            tell_where(&state);
            return Err(failure);
        }
    };
    let seconds = started.elapsed().as_secs_f64();
    say!();
    screen::end(seconds, stage.is_kept);
    if stage.is_verbose {
        say!("  this process {}", process::peak_memory());
    }
    if json_output {
        summary["seconds"] = seconds.into();
        summary["kept"] = match stage.is_kept {
            true => json!({"rpc": stage.rpc, "chain_pid": stage.chain.pid(), "node_pid": stage.node.pid()}),
            false => Value::Null,
        };
        print_json(&summary);
    }
    finish(stage).await
}

/// Where to read why it failed, if servers said anything.
fn tell_where(state: &Path) {
    let files = ["chain", "node"].map(|name| errors_of(state, name));
    for file in files.iter().filter(|file| std::fs::metadata(file).is_ok_and(|file| file.len() != 0)) {
        note!("what it said is in {}", file.display());
    }
}

fn errors_of(state: &Path, name: &str) -> PathBuf {
    state.join(format!("{name}.err"))
}

async fn set_up(state: PathBuf, is_kept: bool, is_verbose: bool) -> Result<Stage, Failure> {
    // What is kept must not hold on to the terminal or pipe of a demo that is over, and what servers say is not part of the story.
    let errors = |name: &str| -> Result<Stdio, Failure> {
        if is_verbose && !is_kept {
            return Ok(Stdio::inherit());
        }
        let path = errors_of(&state, name);
        let file = std::fs::create_dir_all(&state).and_then(|()| File::create(&path));
        Ok(file.map_err(|error| Failure::cannot(format!("{}: {error}", path.display())))?.into())
    };
    let mut chain = Child::start(&state, &["chain", "--port", "0"], errors("chain")?)?;
    let up = chain.line().await?;
    let rpc = up["url"].as_str().unwrap_or_default().to_owned();
    screen::part("chain", "a development chain on this machine, contracts deployed");
    let detail = |text: String| {
        if is_verbose {
            screen::detail(&text);
        }
    };
    detail(format!("pid {}, {rpc}, registry {}", chain.pid(), up["registry"].as_str().unwrap_or_default()));
    let mut node =
        Child::start(&state, &["serve", "--rpc", &rpc, "--listen", "127.0.0.1:0", "--log-listen", "127.0.0.1:0"], errors("node")?)?;
    let up = node.line().await?;
    let text = |key: &str| up[key].as_str().unwrap_or_default();
    screen::part("enclave", "program measured, keys made inside it, registered on the chain");
    detail(format!("pid {}, {}; registered {}, gas {}", up["enclave_pid"], text("socket"), text("k_sig"), up["gas"]));
    screen::part("host", "carries its bytes, holds none of its keys");
    detail(format!("pid {}, {}, log at {}", up["host_pid"], text("api"), text("log")));
    let client = ChainClient::connect(&rpc, None).await?;
    // The chain that was started above.
    let development = Development::of(client.chain_id()).ok_or_else(|| Failure::cannot("expected the development chain, got another"))?;
    let (deployed, operator) = (development.deployed(), development.address(Role::Operator));
    dev::make_state(&state)?;
    let policy = dev::policy(&dev::tee(&state), deployed, operator)?;
    policy::write_dev(&policy::default_path(&state), &state, deployed, operator)?;
    let registration_gas = up["gas"].as_u64();
    Ok(Stage { state, rpc, is_kept, is_verbose, development, registration_gas, chain, node, client, policy })
}

async fn finish(stage: Stage) -> Done {
    let Stage { chain, node, is_kept, .. } = stage;
    if is_kept {
        say!("chain and node are left running; stop them with: kill {} {}", node.pid(), chain.pid());
        node.leave().await?;
        chain.leave().await?;
        return Ok(ExitCode::SUCCESS);
    }
    node.stop().await;
    chain.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// A path for people.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
