//! The `candor` command: the demo, the three separate programs (chain, node, client), and everything an auditor needs.
//!
//! Exit codes everywhere but in `conformance`: 0 verified or done, 1 refused, 2 cannot tell or wrong usage. `--json` everywhere prints one JSON value.
//! Thin: each command is one module; verdicts come from `candor-verify`.

#![warn(clippy::print_stderr, clippy::print_stdout)] // `say!` and `note!` do not panic when the reader is gone.

mod access;
mod ask;
mod attestor;
mod bundles;
mod calendar;
mod chain;
mod chat;
mod completions;
mod config;
mod conformance;
mod costs;
mod demo;
mod deploy;
mod deployment;
mod dev;
mod doctor;
mod explained;
mod funds;
mod help;
mod init;
mod inspect;
mod keys;
mod lifetime;
mod listeners;
mod log;
mod logging;
mod node;
mod nodes;
mod output;
mod page;
mod paint;
mod policy;
mod prices;
mod prove;
mod proxy;
mod registrar;
mod registry;
mod replay;
mod rpc;
mod spinner;
mod state;
mod status;
mod terms;
mod tokens;
mod told;
mod trust;
mod verify;
mod wallet;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use candor_report::conformance::UNFIT;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::output::Failure;

/// AI inference that shows its work.
///
/// `candor demo` runs everything once. `candor verify FILE` checks a bundle offline. The other commands are the separate programs:
/// `candor chain` (a development chain), `candor serve` (a node), `candor ask` (a client).
#[derive(Parser)]
#[command(name = "candor", version = env!("CANDOR_VERSION"), max_term_width = 110)]
struct Cli {
    /// Directory for keys, bundles and state.
    #[arg(long, global = true, env = "CANDOR_STATE", value_name = "DIR")]
    state: Option<PathBuf>,
    /// Print one JSON value instead of text.
    #[arg(long, global = true)]
    json: bool,
    /// End when standard input closes: for the children of `serve` and `demo`.
    #[arg(long, global = true, hide = true)]
    until_stdin_closes: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run it all once: a paid, verified answer, and ten lies refused. Chain, node and client are separate processes.
    /// With --json the story goes to standard error, and one JSON line with its outcome to standard output.
    Demo(demo::Args),
    /// Check a bundle, offline or against a chain with --rpc.
    Verify(verify::Args),
    /// Judge cases of the vectors, JSON in and JSON out. With --all, hold another implementation against all of them.
    Conformance(conformance::Args),
    /// Start a development chain with the contracts and a funded wallet. With the id of a test network: an empty one. Loopback only.
    Chain(chain::Args),
    /// Start a node: an enclave and its host, registered on the chain.
    Serve(node::ServeArgs),
    /// From nothing to a node of your own: keys, node.toml, next steps. Asks, or takes options and --yes; says whom to fund.
    Init(init::Args),
    /// Look at everything that a node needs before it starts. Keys, funds, chain, contracts, prices, ports: each line says what to do.
    Doctor(doctor::Args),
    /// How a running node is: registration, money, gas, troubles. Its books, too. Also its log, its chain and its store.
    Status(status::Args),
    /// Show what is in force for a node and from where, or check it.
    Config(config::Args),
    /// Show, draft and sign operator terms, here or on another machine.
    Terms(terms::Args),
    /// Ask a verified node, pay, verify the answer, keep the bundle.
    Ask(ask::Args),
    /// Talk with a model, each answer bought and kept as by `ask`.
    Chat(chat::Args),
    /// Show what a bundle proves to a contract, and with which calldata. With --send, to a contract that acts on the answer.
    Prove(prove::Args),
    /// Keep the time of a bundle's tree on chain. Whoever holds the bundle needs nobody for it.
    Observe(prove::ObserveArgs),
    /// Run the model again and compare the answer byte for byte.
    Replay(replay::Args),
    /// An OpenAI endpoint on loopback that verifies and pays for SDKs. It keeps a proof of each answer, or with --keep full the bundle.
    Proxy(proxy::Args),
    /// Show who answers at an endpoint, and judge its evidence. Its certificate too.
    Inspect(inspect::Args),
    /// Deploy the contracts, or compare what a chain has. They have the same addresses everywhere.
    Deploy(deploy::Args),
    /// Run an attestor: judge evidence for the quorum of a registry. It signs what it found.
    Attestor(attestor::Args),
    /// Who sells, at which prices, and whether your policy accepts it.
    Nodes(nodes::Args),
    /// Look into the registry, or end a key of your own.
    Registry(registry::Args),
    /// Look into a log, or re-derive all of it.
    Log(log::Args),
    /// Show, check, suggest or write a policy, or let it trust a node.
    Policy(policy::Args),
    /// List, find, show, export and prune what is kept of answers.
    Bundles(bundles::Args),
    /// New terms or a new release for a running node, without a pause.
    Upgrade(node::UpgradeArgs),
    /// Set what a running node sells at, within its terms, or show it.
    Prices(prices::Args),
    /// Show what a node's accounts hold. Sweep the payee's forwarder; withdraw ether.
    Funds(funds::Args),
    /// Make a key that opens a node without payment.
    Access(access::Args),
    /// Make a wallet, show what it holds and buys, fund or export it.
    Wallet(wallet::Args),
    /// Begin a state directory anew, keeping what was in it.
    State(state::Args),
    /// Print what a shell needs to complete commands and options.
    Completions(completions::CompletionsArgs),
    /// Write the manual pages, for packages.
    #[command(hide = true)]
    Man(completions::ManArgs),
    /// The enclave half of a node: started by `serve`, or as a service of its own.
    #[command(hide = true)]
    Enclave(node::EnclaveArgs),
    /// The host half of a node: started by `serve`, or as a service of its own.
    #[command(hide = true)]
    Host(node::HostArgs),
}

impl Command {
    /// Whether it reads or writes the state directory. The demo and the halves of a node have directories of their own; a chain, a judge of
    /// cases, a new key and what speaks of the commands keep nothing; and `state` is for what the others refuse.
    fn uses_state(&self) -> bool {
        let has_its_own = matches!(self, Self::Demo(_) | Self::State(_) | Self::Enclave(_) | Self::Host(_));
        !has_its_own && !matches!(self, Self::Chain(_) | Self::Conformance(_) | Self::Access(_) | Self::Completions(_) | Self::Man(_))
    }
}

fn main() -> ExitCode {
    let cli = match help::command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    // Before standard input becomes the lifeline.
    let handed = match &cli.command {
        Command::Host(args) if args.expects_keys() => match node::Handed::read() {
            Ok(handed) => Some(handed),
            Err(failure) => return failure.report(cli.json),
        },
        _ => None,
    };
    if cli.until_stdin_closes {
        lifetime::follow_parent();
    }
    let state = match cli.state.map_or_else(dev::default_state, Ok) {
        Ok(state) => state,
        Err(failure) => return failure.report(cli.json),
    };
    if cli.command.uses_state()
        && let Err(failure) = state::check(&state)
    {
        return failure.report(cli.json);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::cannot(format!("no runtime: {error}")).report(cli.json),
    };
    let json = cli.json;
    let result = runtime.block_on(async {
        match cli.command {
            Command::Demo(args) => demo::run(args, json).await,
            Command::Verify(args) => verify::run(args, &state, json).await,
            Command::Chain(args) => chain::run(args, &state, json).await,
            Command::Conformance(args) => conformance::run(args, json).await,
            Command::Serve(args) => node::serve(args, &state, json).await,
            Command::Init(args) => init::run(args, &state, json).await,
            Command::Doctor(args) => doctor::run(args, &state, json).await,
            Command::Status(args) => status::run(args, &state, json).await,
            Command::Config(args) => config::run(args, &state, json),
            Command::Terms(args) => terms::run(args, &state, json),
            Command::Ask(args) => ask::run(args, &state, json).await,
            Command::Chat(args) => chat::run(args, &state, json).await,
            Command::Prove(args) => prove::run(args, &state, json).await,
            Command::Observe(args) => prove::observe(args, &state, json).await,
            Command::Replay(args) => replay::run(args, &state, json).await,
            Command::Proxy(args) => proxy::run(args, &state, json).await,
            Command::Inspect(args) => inspect::run(args, &state, json).await,
            Command::Deploy(args) => deploy::run(args, &state, json).await,
            Command::Attestor(args) => attestor::run(args, &state, json).await,
            Command::Nodes(args) => nodes::run(args, &state, json).await,
            Command::Registry(args) => registry::run(args, &state, json).await,
            Command::Log(args) => log::run(args, &state, json).await,
            Command::Policy(args) => policy::run(args, &state, json).await,
            Command::Bundles(args) => bundles::run(args, &state, json).await,
            Command::Upgrade(args) => node::upgrade(args, &state, json).await,
            Command::Prices(args) => prices::run(args, &state, json),
            Command::Funds(args) => funds::run(args, &state, json).await,
            Command::Access(args) => access::run(args, json),
            Command::Wallet(args) => wallet::run(args, &state, json).await,
            Command::State(args) => state::run(args, &state, json),
            Command::Completions(args) => completions::completions(&args, json),
            Command::Man(args) => completions::man(&args, json),
            Command::Enclave(args) => node::enclave(args, &state).await,
            Command::Host(args) => node::host(args, &state, handed).await,
        }
    });
    let code = result.unwrap_or_else(|failure| failure.report(json));
    // An answer that is still being computed keeps nobody waiting.
    runtime.shutdown_timeout(LAST_TASKS);
    output::finish(code)
}

/// Help, version, or what is wrong with the arguments. Those are not parsed, so `--json` is looked for by hand.
fn usage(error: &clap::Error) -> ExitCode {
    // The contract of conformance.md has a code of its own for wrong usage.
    let command = Cli::command();
    let is_command = |argument: &std::ffi::OsString| command.get_subcommands().any(|known| argument == known.get_name());
    let is_conformance = std::env::args_os().skip(1).find(is_command).is_some_and(|named| named == "conformance");
    let code = if is_conformance { UNFIT } else { 2 };
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let text = error.render().to_string();
        return Failure::cannot(text.trim_start_matches("error: ").trim_end()).with_code(code).report(true);
    }
    // Arguments are shown as they came, and may be the name of somebody's file.
    let text = error.render();
    if error.use_stderr() {
        output::write_err(format_args!("{text}"));
        return ExitCode::from(code);
    }
    output::write_out(format_args!("{text}"));
    ExitCode::SUCCESS
}

/// How long blocking work may go on once the command has its result.
const LAST_TASKS: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    /// Help does not list them, and so the test that drives every command names them.
    #[test]
    fn the_hidden_commands_are_the_halves_of_a_node_and_what_packages_are_made_with() {
        let command = super::Cli::command();
        let hidden: Vec<&str> = command.get_subcommands().filter(|command| command.is_hide_set()).map(clap::Command::get_name).collect();
        assert_eq!(hidden, ["man", "enclave", "host"]);
    }
}
