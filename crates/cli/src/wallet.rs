//! `candor wallet new|fund|balance`: the key that pays.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_chain::{ChainClient, KeystoreError, Signer, keystore_address, mint_calldata};
use candor_client::Wallet;
use candor_verify::bytes::Address;
use candor_verify::text::visible;
use serde_json::json;

use crate::chain::WALLET_START;
use crate::dev::{self, usd};
use crate::output::{Done, Failure, print_json, say};
use crate::rpc::RpcArgs;

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
        /// Name the publicly known development wallet instead, which needs no file.
        #[arg(long)]
        dev: bool,
        #[command(flatten)]
        passphrase: Passphrase,
    },
    /// Mint play money (TestUSD) to a wallet; development chains only.
    Fund {
        #[command(flatten)]
        at: Whose,
    },
    /// Show what a wallet holds of TestUSD, the play money of development chains; other tokens are not looked up.
    Balance {
        #[command(flatten)]
        at: Whose,
    },
}

/// Which wallet, on which chain.
#[derive(clap::Args)]
struct Whose {
    #[command(flatten)]
    rpc: RpcArgs,
    /// Whose; the wallet of this state directory, else the development wallet, if not said.
    #[arg(long)]
    address: Option<String>,
    #[command(flatten)]
    passphrase: Passphrase,
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
            None => rpassword::prompt_password(visible(prompt)).map_err(|error| {
                let what = "a passphrase is needed, and there is no terminal to ask for it; give it with --passphrase-file FILE";
                Failure::cannot(format!("{what} ({error})"))
            })?,
        };
        let line = text.lines().next().unwrap_or_default();
        if line.is_empty() { Err(Failure::cannot("the passphrase is empty")) } else { Ok(line.to_owned()) }
    }

    /// As [`Self::get`]; on a terminal it is asked for again, because a slip makes a wallet that nobody can open.
    fn get_twice(&self, prompt: &str) -> Result<String, Failure> {
        let once = self.get(prompt)?;
        if self.passphrase_file.is_none() && self.get("the same again: ")? != once {
            return Err(Failure::cannot("the two passphrases differ; no wallet was made"));
        }
        Ok(once)
    }
}

pub(crate) async fn run(args: Args, state: &Path, json_output: bool) -> Done {
    match args.command {
        Command::New { dev: true, path, .. } => {
            let path = path.unwrap_or_else(|| default_path(state));
            if path.exists() {
                let what = "is another wallet, and candor pays from it; move it away to pay from the development wallet";
                return Err(Failure::cannot(format!("{} {what}", path.display())));
            }
            let address = dev::Role::Payer.address();
            answer(
                json_output,
                &json!({"address": address.to_string(), "dev": true}),
                &format!(
                    "{address}   the development wallet; nothing to make: candor pays from it on chain 31337 while there is no {}",
                    path.display()
                ),
            );
        }
        Command::New { path, passphrase, .. } => {
            let path = match path {
                Some(path) => path,
                None => {
                    dev::make_state(state)?;
                    default_path(state)
                }
            };
            let signer = Signer::random();
            let passphrase = passphrase.get_twice("passphrase for the new wallet: ")?;
            signer.store(&path, &passphrase).map_err(|error| Failure::cannot(format!("{}: {error}", path.display())))?;
            let (address, shown) = (signer.address(), path.display().to_string());
            let used = if path == default_path(state) { "" } else { "; candor pays from it once it is the wallet.json of a state" };
            let text = format!("{address}   in {shown}, empty{used}; on a development chain: candor wallet fund --address {address}");
            answer(json_output, &json!({"address": address.to_string(), "path": shown}), &text);
        }
        Command::Fund { at } => {
            let (chain, address) = at.find(state).await?;
            candor_devchain::check_chain_id(chain.chain_id())
                .map_err(|error| Failure::cannot(format!("only the play money of a development chain is minted here: {error}")))?;
            let token = dev::deployment(chain.chain_id()).test_usd;
            let sent = chain.send_and_wait(&dev::Role::Faucet.signer(), Some(&token), &mint_calldata(&address, WALLET_START)).await?;
            if !sent.is_success {
                return Err(Failure::cannot(format!("TestUSD at {token} refused to mint; was this chain set up by `candor chain`?")));
            }
            balance(&chain, &address, json_output).await?;
        }
        Command::Balance { at } => {
            let (chain, address) = at.find(state).await?;
            balance(&chain, &address, json_output).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn balance(chain: &ChainClient, address: &Address, json_output: bool) -> Result<(), Failure> {
    let balance = chain.token_balance(&dev::deployment(chain.chain_id()).test_usd, address).await?;
    answer(
        json_output,
        &json!({"address": address.to_string(), "balance": balance.to_string()}),
        &format!("{address}   {} (TestUSD: play money of a development chain)", usd(balance)),
    );
    Ok(())
}

impl Whose {
    /// The chain and the address. No key is opened if the wallet file shows its address.
    async fn find(self, state: &Path) -> Result<(ChainClient, Address), Failure> {
        let chain = self.rpc.connect().await?;
        let path = default_path(state);
        let cannot = |error: KeystoreError| Failure::cannot(format!("{}: {error}", path.display()));
        let address = match &self.address {
            Some(text) => Address::from_hex(text).ok_or_else(|| Failure::cannot("--address is not an address"))?,
            None => match path.exists().then(|| keystore_address(&path)).transpose().map_err(cannot)?.flatten() {
                Some(address) => address,
                None => open(state, chain.chain_id(), &self.passphrase)?.address(),
            },
        };
        Ok((chain, address))
    }
}

fn answer(json_output: bool, value: &serde_json::Value, text: &str) {
    if json_output {
        print_json(value);
    } else {
        say!("{text}");
    }
}

/// Name of the wallet in a state directory.
pub(crate) const FILE: &str = "wallet.json";

fn default_path(state: &Path) -> PathBuf {
    state.join(FILE)
}

/// The wallet of this state directory, to pay with; on the development chain, without one, the development wallet.
pub(crate) fn open(state: &Path, chain_id: u64, passphrase: &Passphrase) -> Result<Wallet, Failure> {
    Ok(Wallet::from_bytes(&signer(state, chain_id, passphrase)?.to_bytes())?)
}

/// A keystore of the caller's choice.
pub(crate) fn load(path: &Path, passphrase: &Passphrase) -> Result<Signer, Failure> {
    let passphrase = passphrase.get(&format!("passphrase of {}: ", path.display()))?;
    Signer::load(path, &passphrase).map_err(|error| Failure::cannot(format!("{}: {error}", path.display())))
}

/// The same, to send transactions with.
pub(crate) fn signer(state: &Path, chain_id: u64, passphrase: &Passphrase) -> Result<Signer, Failure> {
    let path = default_path(state);
    if path.exists() {
        return load(&path, passphrase);
    }
    if chain_id == candor_devchain::DEFAULT_CHAIN_ID {
        return Ok(dev::Role::Payer.signer());
    }
    Err(Failure::cannot(format!("no wallet in {}; make one with `candor wallet new`", path.display())))
}
