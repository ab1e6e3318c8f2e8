//! `candor wallet new|balance`: the key that pays.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_chain::{ChainClient, Signer};
use candor_client::Wallet;
use candor_verify::bytes::Address;
use serde_json::json;

use crate::dev::{self, usd};
use crate::output::{Done, Failure, print_json};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make a wallet: a new key, encrypted with a passphrase, in a file only you can read.
    New {
        /// Where to write it; the state directory's wallet.json if not said.
        path: Option<PathBuf>,
        /// Use the publicly known development key instead: no passphrase, development chains only.
        #[arg(long)]
        dev: bool,
        #[command(flatten)]
        passphrase: Passphrase,
    },
    /// Show what a wallet holds of the development token.
    Balance {
        /// RPC of the chain.
        #[arg(long, default_value = dev::RPC_URL)]
        rpc: String,
        /// Whose balance; the wallet of this state directory, else the development wallet, if not said.
        #[arg(long)]
        address: Option<String>,
        #[command(flatten)]
        passphrase: Passphrase,
    },
}

/// How a passphrase is given.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Passphrase {
    /// File whose first line is the passphrase; asked for on the terminal if not said.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl Passphrase {
    fn get(&self, prompt: &str) -> Result<String, Failure> {
        let text = match &self.passphrase_file {
            Some(path) => std::fs::read_to_string(path).map_err(|error| Failure::cannot(format!("{}: {error}", path.display())))?,
            None => rpassword::prompt_password(prompt)
                .map_err(|error| Failure::cannot(format!("no passphrase: {error} (give one with --passphrase-file)")))?,
        };
        let line = text.lines().next().unwrap_or_default();
        if line.is_empty() { Err(Failure::cannot("the passphrase is empty")) } else { Ok(line.to_owned()) }
    }
}

pub(crate) async fn run(args: Args, state: &Path, json_output: bool) -> Done {
    match args.command {
        Command::New { dev: true, .. } => {
            let address = dev::Role::Payer.address();
            say(
                json_output,
                &json!({"address": address.to_string(), "dev": true}),
                &format!("{address}   the development wallet: its key is public"),
            );
        }
        Command::New { path, passphrase, .. } => {
            let path = path.unwrap_or_else(|| default_path(state));
            let signer = Signer::random();
            let passphrase = passphrase.get("passphrase for the new wallet: ")?;
            signer.store(&path, &passphrase).map_err(|error| Failure::cannot(format!("{}: {error}", path.display())))?;
            let (address, shown) = (signer.address(), path.display().to_string());
            say(json_output, &json!({"address": address.to_string(), "path": shown}), &format!("{address}   in {shown}"));
        }
        Command::Balance { rpc, address, passphrase } => {
            let chain = ChainClient::connect(&rpc, None).await?;
            let address = match address {
                Some(text) => Address::from_hex(&text).ok_or_else(|| Failure::cannot("--address is not an address"))?,
                None => open(state, chain.chain_id(), &passphrase)?.address(),
            };
            let balance = chain.token_balance(&dev::deployment(chain.chain_id()).test_usd, &address).await?;
            say(
                json_output,
                &json!({"address": address.to_string(), "balance": balance.to_string()}),
                &format!("{address}   {}", usd(balance)),
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn say(json_output: bool, value: &serde_json::Value, text: &str) {
    if json_output {
        print_json(value);
    } else {
        println!("{text}");
    }
}

fn default_path(state: &Path) -> PathBuf {
    state.join("wallet.json")
}

/// The wallet of this state directory; on the development chain, without one, the development wallet.
pub(crate) fn open(state: &Path, chain_id: u64, passphrase: &Passphrase) -> Result<Wallet, Failure> {
    let path = default_path(state);
    if path.exists() {
        let passphrase = passphrase.get(&format!("passphrase of {}: ", path.display()))?;
        let signer = Signer::load(&path, &passphrase).map_err(|error| Failure::cannot(format!("{}: {error}", path.display())))?;
        return Ok(Wallet::from_bytes(&signer.to_bytes())?);
    }
    if chain_id == candor_devchain::DEFAULT_CHAIN_ID {
        return Ok(dev::wallet());
    }
    Err(Failure::cannot(format!("no wallet in {}; make one with `candor wallet new`", path.display())))
}
