//! `candor wallet new|show|fund|export`: who pays, with what, and how money gets there.
//!
//! Not here: signing (`candor-client`).

mod export;
mod file;
mod qr;
mod show;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_chain::{Deployment, Signer, mint_calldata};
use candor_client::read_text;
use candor_report::WalletText;
use candor_verify::bytes::Address;
use candor_verify::payment::{Authorization, TokenDomain};
use candor_verify::text::visible;
use candor_verify::time::UnixSeconds;
use candor_x402::scheme::ToSign;
use serde_json::json;

use crate::chain::WALLET_START;
use crate::dev::{self, Development, Role, usd};
use crate::keys;
use crate::output::{Done, Failure, note, print_json, say, write_once};
use crate::rpc::RpcArgs;

pub(crate) use file::{FILES, KEYSTORE, decrypt, gas_payer, is_there, load, open, signer};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make a wallet: a new key, encrypted with a passphrase, in a file only you can read. Or name a program that signs with a key elsewhere.
    ///
    /// `candor wallet new --address ADDRESS -- PROGRAM ARGUMENTS…` makes a wallet of a hardware wallet or a key service: each payment is shown
    /// to the program, which prints a signature (docs/wallet.md). It is tried once, with a payment of nothing that is long over.
    New(NewArgs),
    /// Show the address with its QR code, what it holds of each asset that the policy may spend, and how many answers that buys.
    ///
    /// A wallet needs no ether: payments are EIP-3009 authorisations, and the node pays the gas.
    Show(show::Args),
    /// Mint play money (TestUSD) to a wallet, where it is deployed.
    Fund {
        #[command(flatten)]
        at: Whose,
        /// Keystore that pays for the transaction. On the development chain an account that everybody knows, if not said; on any other it is
        /// needed.
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
    /// Take the wallet to another program: its keystore, or with --secret the key itself.
    Export(export::Args),
}

#[derive(clap::Args)]
struct NewArgs {
    /// Where to write it; the state directory's wallet.json, or wallet.toml for a program, if not said.
    path: Option<PathBuf>,
    /// Name the publicly known development wallet instead, which needs no file.
    #[arg(long, conflicts_with = "address")]
    dev: bool,
    /// Whose key the program signs with.
    #[arg(long, value_name = "ADDRESS", value_parser = keys::address, requires = "command")]
    address: Option<Address>,
    /// The program and its arguments, after --.
    #[arg(last = true, value_name = "PROGRAM", requires = "address")]
    command: Vec<String>,
    #[command(flatten)]
    passphrase: Passphrase,
}

/// Which wallet, on which chain.
#[derive(clap::Args)]
struct Whose {
    #[command(flatten)]
    rpc: RpcArgs,
    /// Whose; the wallet of this state directory, else the development wallet, if not said.
    #[arg(long, value_parser = keys::address)]
    address: Option<Address>,
    #[command(flatten)]
    passphrase: Passphrase,
}

/// Largest file whose first line is a passphrase, in bytes.
const PASSPHRASE_BYTES_MAX: u64 = 1 << 16;

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
            Some(path) => read_text(path, PASSPHRASE_BYTES_MAX)?,
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
        Command::New(args) if args.dev => development(args.path, state, json_output),
        Command::New(args) => new(args, state, json_output).await,
        Command::Show(args) => show::run(args, state, json_output).await,
        Command::Fund { at, key } => fund(&at, key.as_deref(), state, json_output).await,
        Command::Export(args) => export::run(args, state, json_output),
    }
}

fn development(path: Option<PathBuf>, state: &Path, json_output: bool) -> Done {
    let paths = path.map_or_else(|| FILES.map(|name| state.join(name)).to_vec(), |path| vec![path]);
    if let Some(path) = paths.iter().find(|path| path.exists()) {
        let what = "is another wallet, and candor pays from it; move it away to pay from the development wallet";
        return Err(Failure::cannot(format!("{} {what}", path.display())));
    }
    let address = Development::of(candor_devchain::DEFAULT_CHAIN_ID).map(|development| development.address(Role::Payer));
    let address = address.ok_or_else(|| Failure::cannot("the development chain has no wallet"))?;
    answer(
        json_output,
        &json!({"address": address.to_string(), "dev": true}),
        &format!(
            "{address}   the development wallet; nothing to make: candor pays from it on chain 31337 while there is no {}",
            state.join(KEYSTORE).display()
        ),
    );
    Ok(ExitCode::SUCCESS)
}

async fn new(args: NewArgs, state: &Path, json_output: bool) -> Done {
    let is_own = args.path.is_none();
    let path = match args.path {
        Some(path) => path,
        None => {
            dev::make_state(state)?;
            // One of either kind: two would be a question each time.
            if let Some(there) = FILES.map(|name| state.join(name)).iter().find(|path| path.exists()) {
                return Err(Failure::cannot(format!("{} is there already, and candor pays from it; it was not touched", there.display())));
            }
            state.join(if args.address.is_some() { file::PROGRAM } else { KEYSTORE })
        }
    };
    let address = match args.address {
        Some(address) => name_program(address, args.command, &path).await?,
        None => {
            let signer = Signer::random();
            let passphrase = args.passphrase.get_twice("passphrase for the new wallet: ")?;
            signer.store(&path, &passphrase).map_err(|error| Failure::cannot(format!("{}: {error}", path.display())))?;
            signer.address()
        }
    };
    let shown = path.display().to_string();
    if json_output {
        print_json(&json!({"address": address.to_string(), "path": shown}));
        return Ok(ExitCode::SUCCESS);
    }
    say!("{address}   in {shown}");
    qr::say(&address);
    match is_own {
        true => say!(
            "next: send it what your policy may spend (candor wallet show says what, and waits for it with --wait); on a development chain: \
             candor wallet fund"
        ),
        false => say!("next: candor pays from it once it is the {KEYSTORE} or {} of a state directory", file::PROGRAM),
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a wallet of a program, once it has shown that it signs as this address.
async fn name_program(address: Address, command: Vec<String>, path: &Path) -> Result<Address, Failure> {
    if path.exists() {
        return Err(Failure::cannot(format!("{} is there already and was not touched", path.display())));
    }
    let text = WalletText::new(address, command).map_err(|error| Failure::cannot(error.to_string()))?;
    note!("asking the program to sign a payment of nothing, from the wallet to itself, that was over in 1970");
    let nothing = Authorization { from: address, to: address, valid_before: UnixSeconds(1), ..Authorization::default() };
    let domain = TokenDomain { name: "Candor trial".into(), version: "1".into(), chain_id: 0, asset: Address::default() };
    file::of_program(text.clone()).sign(ToSign::Payment(&nothing), &domain).await?;
    // Somebody may have made one while the program was asked.
    write_once(path, text.to_toml().as_bytes())?;
    Ok(address)
}

async fn fund(at: &Whose, key: Option<&Path>, state: &Path, json_output: bool) -> Done {
    let chain = at.rpc.connect().await?;
    let chain_id = chain.chain_id();
    candor_devchain::check_chain_id(chain_id)
        .map_err(|error| Failure::cannot(format!("only the play money of a development chain is minted here: {error}")))?;
    let faucet = gas_payer(key, &at.passphrase, chain_id)?;
    let (address, token) = (at.find(state, chain_id)?, play_money()?);
    chain.send_and_wait(&faucet, Some(&token), &mint_calldata(&address, WALLET_START)).await?;
    let balance = chain.token_balance(&token, &address).await?;
    answer(
        json_output,
        &json!({"address": address.to_string(), "asset": token.to_string(), "balance": balance.to_string()}),
        &format!("{address}   {} (TestUSD: play money of a development chain)", usd(balance)),
    );
    Ok(ExitCode::SUCCESS)
}

impl Whose {
    /// Whose it is, and what signs, where no chain has to be asked: a named address, or a wallet of one's own. Of an address that somebody names, nobody
    /// knows who signs.
    fn own(&self, state: &Path) -> Result<Option<(Address, Option<&'static str>)>, Failure> {
        match (self.address, file::find_own(state)?) {
            (Some(address), _) => Ok(Some((address, None))),
            (None, Some(kind)) => Ok(Some((kind.address(&self.passphrase)?, Some(kind.word())))),
            (None, None) => Ok(None),
        }
    }

    fn find(&self, state: &Path, chain_id: u64) -> Result<Address, Failure> {
        self.address.map_or_else(|| file::find(state, chain_id)?.address(&self.passphrase), Ok)
    }
}

fn answer(json_output: bool, value: &serde_json::Value, text: &str) {
    if json_output {
        print_json(value);
    } else {
        say!("{text}");
    }
}

/// The token that `fund` mints, at one address wherever it is deployed.
fn play_money() -> Result<Address, Failure> {
    Deployment::play_money().map_err(|error| Failure::cannot(error.to_string()))
}
