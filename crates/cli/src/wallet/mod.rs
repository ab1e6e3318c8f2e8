//! `candor wallet new|fund|balance`: the key that pays.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_chain::{ChainClient, Deployment, KeystoreError, Signer, keystore_address, mint_calldata};
use candor_client::Wallet;
use candor_verify::bytes::Address;
use candor_verify::text::visible;
use serde_json::json;

use crate::chain::WALLET_START;
use crate::dev::{self, Development, Role, usd};
use crate::keys::{missing, own};
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
    /// Mint play money (TestUSD) to a wallet, where it is deployed.
    Fund {
        #[command(flatten)]
        at: Whose,
        /// Keystore that pays for the transaction. On the development chain an account that everybody knows, if not said; on any other it is
        /// needed.
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
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
    /// Of this file, if one is named.
    pub(crate) fn of(passphrase_file: Option<PathBuf>) -> Self {
        Self { passphrase_file }
    }

    /// The file that is named.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        self.passphrase_file.clone()
    }

    pub(crate) fn get(&self, prompt: &str) -> Result<String, Failure> {
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
    pub(crate) fn get_twice(&self, prompt: &str) -> Result<String, Failure> {
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
            let address = known_wallet().address();
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
        Command::Fund { at, key } => {
            let passphrase = at.passphrase.clone();
            let chain = at.rpc.connect().await?;
            let chain_id = chain.chain_id();
            candor_devchain::check_chain_id(chain_id)
                .map_err(|error| Failure::cannot(format!("only the play money of a development chain is minted here: {error}")))?;
            let faucet = match (&key, Development::of(chain_id)) {
                (Some(path), _) => load(path, &passphrase, chain_id)?,
                (None, Some(development)) => development.signer(Role::Faucet),
                (None, None) => return Err(missing("faucet", chain_id, "--key FILE", "candor wallet new FILE, and give it some ether")),
            };
            let (address, token) = (at.find(state, chain_id)?, play_money()?);
            let sent = chain.send_and_wait(&faucet, Some(&token), &mint_calldata(&address, WALLET_START)).await?;
            if !sent.is_success {
                return Err(Failure::cannot(format!(
                    "TestUSD at {token} refused to mint; was this chain set up by `candor chain`, or by `candor deploy --test-usd`?"
                )));
            }
            balance(&chain, &address, json_output).await?;
        }
        Command::Balance { at } => {
            let chain = at.rpc.connect().await?;
            let address = at.find(state, chain.chain_id())?;
            balance(&chain, &address, json_output).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn balance(chain: &ChainClient, address: &Address, json_output: bool) -> Result<(), Failure> {
    let balance = chain.token_balance(&play_money()?, address).await?;
    answer(
        json_output,
        &json!({"address": address.to_string(), "balance": balance.to_string()}),
        &format!("{address}   {} (TestUSD: play money of a development chain)", usd(balance)),
    );
    Ok(())
}

impl Whose {
    /// The address. No key is opened if the wallet file shows its address.
    fn find(&self, state: &Path, chain_id: u64) -> Result<Address, Failure> {
        let path = default_path(state);
        let cannot = |error: KeystoreError| Failure::cannot(format!("{}: {error}", path.display()));
        match &self.address {
            Some(text) => Address::from_hex(text).ok_or_else(|| Failure::cannot("--address is not an address")),
            None => match path.exists().then(|| keystore_address(&path)).transpose().map_err(cannot)?.flatten() {
                Some(address) => Ok(address),
                None => Ok(open(state, chain_id, &self.passphrase)?.address()),
            },
        }
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

/// A keystore of the caller's choice, for use on this chain.
pub(crate) fn load(path: &Path, passphrase: &Passphrase, chain_id: u64) -> Result<Signer, Failure> {
    let passphrase = passphrase.get(&format!("passphrase of {}: ", path.display()))?;
    let signer = decrypt(path, &passphrase)?;
    own(signer.address(), &path.display().to_string(), chain_id)?;
    Ok(signer)
}

/// A keystore whose passphrase is known.
pub(crate) fn decrypt(path: &Path, passphrase: &str) -> Result<Signer, Failure> {
    Signer::load(path, passphrase).map_err(|error| Failure::cannot(format!("{}: {error}", path.display())))
}

/// The token that `fund` mints and `balance` looks up, at one address wherever it is deployed.
fn play_money() -> Result<Address, Failure> {
    Deployment::play_money().map_err(|error| Failure::cannot(error.to_string()))
}

/// The one that needs no file.
fn known_wallet() -> Signer {
    let development = Development::of(candor_devchain::DEFAULT_CHAIN_ID).expect("the development chain is one");
    development.signer(Role::Payer)
}

/// Whether there is one to pay with.
pub(crate) fn is_there(state: &Path, chain_id: u64) -> bool {
    default_path(state).exists() || Development::of(chain_id).is_some()
}

/// The same, to send transactions with.
pub(crate) fn signer(state: &Path, chain_id: u64, passphrase: &Passphrase) -> Result<Signer, Failure> {
    let path = default_path(state);
    if path.exists() {
        return load(&path, passphrase, chain_id);
    }
    let known = Development::of(chain_id).map(|development| development.signer(Role::Payer));
    known.ok_or_else(|| missing("wallet", chain_id, &path.display().to_string(), "candor wallet new"))
}
