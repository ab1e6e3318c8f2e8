//! `candor init`: from nothing to a node with keys, prices and a chain of its own. Asks, or takes options and `--yes`; writes node.toml and
//! keystores; says which address is for what, how much it needs, and what to do next.
//!
//! - **Invariant:** nothing that is there is written over, and nothing is written before every answer is known to fit.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_chain::{ChainClient, Deployment, Rpc, Signer};
use candor_devchain::{DEFAULT_CHAIN_ID, TESTNETS};
use candor_report::{AccessPart, AnchorPart, AssetPart, Decimal, KeysPart, LogPart, MetricsPart, NodeModel, NodePart, NodeText, PricePart};
use candor_verify::bytes::Address;
use serde_json::json;

use crate::config::{FILE, chain_part, deployment_of};
use crate::keys::{self, HOST_ROLES, OPERATOR, keystore};
use crate::output::{Done, Failure, ask, note, print_json, say, write_once};
use crate::wallet::Passphrase;
use crate::{costs, dev, tokens};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Directory for node.toml, keys and the node's data; the state directory if not said.
    directory: Option<PathBuf>,
    /// Chain on which boots are registered and payments settle: 31337 (`candor chain`), or a public one.
    #[arg(long)]
    chain_id: Option<u64>,
    /// Its endpoint; once for each of several.
    #[arg(long = "rpc", value_name = "URL")]
    rpc: Vec<String>,
    /// What `candor deploy` wrote, or will write; deployment.toml beside node.toml if not said. Not needed on 31337.
    #[arg(long, value_name = "FILE")]
    deployment: Option<PathBuf>,
    /// Where an attestor of its quorum is asked; once for each.
    #[arg(long = "attestor", value_name = "URL")]
    attestors: Vec<String>,
    /// Who is paid; a new key payee.json if not said.
    #[arg(long, value_name = "ADDRESS", value_parser = keys::address)]
    payee: Option<Address>,
    /// How clients reach the node: https://NAME:PORT.
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Where the node listens for clients.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<std::net::SocketAddr>,
    /// Where it serves its log.
    #[arg(long, value_name = "ADDRESS")]
    log_listen: Option<std::net::SocketAddr>,
    /// Model container (.cnd1); the small one that is built in if not said.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Name under which it is offered.
    #[arg(long, default_value = "candor-mini")]
    model_id: String,
    /// Token that is taken: USDC where this program knows its address, TestUSD of the deployment, or SYMBOL:ADDRESS:NAME:VERSION:DECIMALS.
    #[arg(long, value_name = "TOKEN")]
    asset: Option<String>,
    /// For a million tokens that are read, in money: 1.00.
    #[arg(long, value_name = "AMOUNT")]
    input_price: Option<String>,
    /// For a million tokens that are written.
    #[arg(long, value_name = "AMOUNT")]
    output_price: Option<String>,
    /// For each request; what settling one payment costs on that chain now, rounded up, if not said.
    #[arg(long, value_name = "AMOUNT")]
    request_price: Option<String>,
    /// What one ether costs in that money, to compare gas with prices.
    #[arg(long, value_name = "AMOUNT", default_value = "3000")]
    ether_price: String,
    /// Sell nothing: answer anybody without payment, with the same receipts.
    #[arg(long)]
    open: bool,
    #[command(flatten)]
    passphrase: Passphrase,
    /// Ask nothing: what is not said is what is proposed. Without --passphrase-file the passphrase is made and kept beside the keys.
    #[arg(long)]
    yes: bool,
}

/// How much is proposed to begin with.
const DAYS: u64 = 30;

/// Payments for which the settling account is funded.
const PAYMENTS: u64 = 1000;

pub(crate) async fn run(args: Args, state: &Path, json_output: bool) -> Done {
    let directory = args.directory.clone().unwrap_or_else(|| state.to_owned());
    let (file, key_directory) = (directory.join(FILE), directory.join("keys"));
    let passphrase = directory.join("passphrase");
    let made_passphrase = (args.yes && args.passphrase.file().is_none()).then_some(&passphrase);
    for path in [Some(&file), Some(&key_directory), made_passphrase].into_iter().flatten() {
        if path.exists() {
            return Err(Failure::cannot(format!(
                "{} is there already, and nothing is written over; name another directory",
                path.display()
            )));
        }
    }
    if !args.yes && json_output {
        return Err(Failure::cannot("with --json nothing is asked; say --yes to take what is proposed"));
    }
    let mut found = Found::ask(&args).await?;
    let text = found.text(&args, &directory)?;
    // Read by the rules that the node has, before anything is written.
    NodeText::parse(&text.to_toml()).map_err(|error| Failure::cannot(format!("node.toml would not be read: {error}")))?;
    if directory == *state {
        dev::make_state(state)?;
    }
    candor_client::private_directory(&directory)?;
    let made = make_keys(&args, &directory, &key_directory)?;
    let mut text = text;
    text.keys = KeysPart {
        directory: Some("keys".into()),
        passphrase_file: made.passphrase_file.clone(),
        payee: Some(args.payee.unwrap_or(made.payee)),
    };
    write_once(&file, text.to_toml().as_bytes())?;
    found.report(&args, &text, &made, &file, json_output);
    Ok(ExitCode::SUCCESS)
}

/// What the answers and the chain say.
struct Found {
    chain_id: u64,
    rpc: Vec<String>,
    /// Wei per gas; `None`: no endpoint answered.
    gas_price: Option<u128>,
    has_deployment: bool,
}

impl Found {
    async fn ask(args: &Args) -> Result<Self, Failure> {
        let chain_id = match args.chain_id {
            Some(chain_id) => chain_id,
            None if args.yes => DEFAULT_CHAIN_ID,
            None => {
                let known: Vec<String> = TESTNETS.iter().map(|(id, name)| format!("{id} {name}")).collect();
                say!("Chains: {DEFAULT_CHAIN_ID} development (`candor chain`), {}", known.join(", "));
                answered("chain id", &DEFAULT_CHAIN_ID.to_string())?
                    .parse()
                    .map_err(|_| Failure::cannot("chain id: expected a number, such as 31337"))?
            }
        };
        dev::check_simulated(chain_id)?;
        let mut rpc = args.rpc.clone();
        if rpc.is_empty() && chain_id == DEFAULT_CHAIN_ID {
            rpc.push(dev::RPC_URL.to_owned());
        }
        if rpc.is_empty() && !args.yes {
            rpc.push(answered("RPC endpoint of that chain", "")?);
        }
        if rpc.iter().all(String::is_empty) {
            return Err(Failure::cannot(format!("chain {chain_id}: expected an endpoint of it, got none; name one with --rpc URL")));
        }
        let gas_price = match ChainClient::connect(Rpc::of(&rpc, 1), Some(chain_id)).await {
            Ok(chain) => chain.fees().await.ok().map(|fees| fees.max_fee_per_gas),
            // The file can be written all the same; a chain with another id is a slip.
            Err(error) if error.is_temporary() => {
                note!("candor init: {error}; costs are guessed without it");
                None
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self { chain_id, rpc, gas_price, has_deployment: false })
    }

    /// The file without its keys.
    fn text(&mut self, args: &Args, directory: &Path) -> Result<NodeText, Failure> {
        let is_dev = self.chain_id == DEFAULT_CHAIN_ID;
        let mut chain = chain_part(self.chain_id);
        chain.rpc.clone_from(&self.rpc);
        chain.attestors.clone_from(&args.attestors);
        let named = args.deployment.as_ref().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()));
        chain.deployment = named.or_else(|| (!is_dev).then(|| PathBuf::from("deployment.toml")));
        let mut there = chain.clone();
        there.deployment = chain.deployment.as_ref().map(|path| directory.join(path));
        let deployed = match &there.deployment {
            Some(path) if !path.exists() => None,
            _ => Some(deployment_of(&there)?),
        };
        self.has_deployment = deployed.is_some();
        let asset = if args.open && args.asset.is_none() { None } else { Some(asset(args, self.chain_id, deployed.as_ref())?) };
        let prices = asset.as_ref().map(|asset| self.price(args, asset)).transpose()?;
        let mut node = NodePart::default();
        node.listen = args.listen.unwrap_or(node.listen);
        node.log_listen = args.log_listen.unwrap_or(node.log_listen);
        node.urls = args.public_url.iter().cloned().collect();
        if !args.yes && args.public_url.is_none() && args.listen.is_some_and(|listen| listen.ip().is_unspecified()) {
            node.urls = vec![answered("how clients reach it", "https://node.example:8443")?];
        }
        let model = args.model.as_ref().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()));
        Ok(NodeText {
            node,
            chains: vec![chain],
            assets: asset.into_iter().collect(),
            models: vec![NodeModel { id: args.model_id.clone(), file: model, prices: prices.into_iter().collect() }],
            access: AccessPart { paid: !args.open, open: args.open, keys: Vec::new() },
            // On a public chain each costs money: an hour is what a buyer waits for ANCHORED, unless much is at stake.
            anchor: AnchorPart { seconds: (!is_dev).then_some(3600), value: None },
            log: LogPart::default(),
            metrics: MetricsPart { listen: Some(std::net::SocketAddr::from(([127, 0, 0, 1], 9464))), remote: false },
            ..NodeText::default()
        })
    }

    fn price(&self, args: &Args, asset: &AssetPart) -> Result<PricePart, Failure> {
        let ether = amount("--ether-price", &args.ether_price)?;
        let least = self.gas_price.map(|wei| costs::in_money(costs::SETTLE_GAS, wei, ether, asset.decimals));
        // Play money pays for no gas: nothing is lost with it.
        let proposed = match least {
            Some(least) if asset.symbol != tokens::TEST_USD => Decimal::of(least, asset.decimals),
            _ => amount("request price", "0.0001")?,
        };
        let one = |option: &str, said: &Option<String>, question: &str, usual: String| -> Result<Decimal, Failure> {
            match said {
                Some(text) => amount(option, text),
                None if args.yes => amount(option, &usual),
                None => amount(option, &answered(&format!("{} for {question}", asset.symbol), &usual)?),
            }
        };
        if !args.yes
            && let Some(least) = least
        {
            say!("settling one payment costs about {} {} of gas now", candor_report::decimal_text(least, asset.decimals), asset.symbol);
        }
        Ok(PricePart {
            asset: asset.symbol.clone(),
            input: one("--input-price", &args.input_price, "a million tokens read", "1.00".into())?,
            output: one("--output-price", &args.output_price, "a million tokens written", "3.00".into())?,
            request: one("--request-price", &args.request_price, "each request", proposed.to_string())?,
        })
    }

    /// Which address is for what, and what to do next.
    fn report(&self, args: &Args, text: &NodeText, made: &Made, file: &Path, json_output: bool) {
        let anchors = DAYS * 86_400 / text.anchor.seconds.unwrap_or(3600);
        let rows = [
            (OPERATOR, made.address(OPERATOR), "signs the terms; keep a copy of it elsewhere", 0),
            ("registrar", made.address("registrar"), "registers and renews boots", costs::REGISTER_GAS * 10 + costs::RENEW_GAS * DAYS),
            ("gas", made.address("gas"), "settles payments", costs::SETTLE_GAS * PAYMENTS),
            ("anchor", made.address("anchor"), "anchors the log", costs::ANCHOR_GAS * anchors),
        ];
        let payee = text.keys.payee.unwrap_or_default();
        let next = self.next(text, made, file);
        if json_output {
            let account = |(role, address, about, gas): &(&str, Address, &str, u64)| {
                json!({"role": role, "address": address.to_string(), "for": about, "gas": gas,
                       "wei": self.gas_price.map(|price| price.saturating_mul(u128::from(*gas)).to_string())})
            };
            return print_json(&json!({
                "config": file.display().to_string(), "chain_id": self.chain_id, "payee": payee.to_string(),
                "accounts": rows.iter().map(account).collect::<Vec<_>>(), "next": next,
            }));
        }
        say!("wrote {}   every line says what it is for", file.display());
        say!();
        for (role, address, about, gas) in rows {
            let need = match (gas, self.gas_price) {
                (0, _) => "needs nothing to begin with".to_owned(),
                (gas, Some(price)) => format!("fund with {} ether", costs::ether(u128::from(gas).saturating_mul(price))),
                (gas, None) => format!("fund for {gas} gas"),
            };
            say!("  {role:<10} {address}   {about}; {need}");
        }
        let whose =
            if args.payee.is_some() { "gets every payment" } else { "gets every payment: move keys/payee.json to where you keep money" };
        say!("  {:<10} {payee}   {whose}", "payee");
        say!("  for {DAYS} days with {anchors} anchors, and {PAYMENTS} payments, at what gas costs now");
        say!();
        say!("next: {}", next.join("\n      "));
    }

    /// Commands, in their order.
    fn next(&self, text: &NodeText, made: &Made, file: &Path) -> Vec<String> {
        let config = format!("--config {}", file.display());
        let mut out = Vec::new();
        if !self.has_deployment {
            let to = text.chains.first().and_then(|chain| chain.deployment.clone()).unwrap_or_default();
            let to = file.with_file_name("").join(to);
            let play = if text.assets.iter().any(|asset| asset.symbol == tokens::TEST_USD) { " --test-usd" } else { "" };
            let deploy = format!("candor deploy --rpc URL{play} --attestor ADDRESS --key KEYSTORE --out {}", to.display());
            out.push(format!("{deploy}   (or take the file of a deployment that is there)"));
        }
        if self.chain_id == DEFAULT_CHAIN_ID {
            let funded: Vec<String> = HOST_ROLES.iter().map(|role| format!("--fund {}", made.address(role))).collect();
            out.push(format!("candor chain {}   (in another terminal: a chain for trying)", funded.join(" ")));
        }
        out.push(format!("candor doctor {config}   what is still missing"));
        out.push(format!("candor serve {config}"));
        out
    }
}

/// The token that is taken.
fn asset(args: &Args, chain_id: u64, deployed: Option<&crate::deployment::Deployed>) -> Result<AssetPart, Failure> {
    let play = deployed
        .filter(|deployed| deployed.config.with_play_money)
        .map(|deployed| tokens::play_money(chain_id, deployed.addresses.test_usd));
    // Its address is the same on every chain: it can be named before it is there.
    let planned = || Deployment::play_money().ok().filter(|_| deployed.is_none()).map(|address| tokens::play_money(chain_id, address));
    let usdc = tokens::usdc(chain_id);
    let named = args.asset.as_deref();
    let found = match named {
        Some(tokens::TEST_USD) => play.or_else(planned),
        Some("USDC") => usdc,
        Some(text) => return tokens::parse(text, chain_id).map_err(Failure::cannot),
        None => usdc.or(play),
    };
    found.ok_or_else(|| {
        let what = named.unwrap_or("a token");
        Failure::cannot(format!("--asset: {what} is not known on chain {chain_id}; say SYMBOL:ADDRESS:NAME:VERSION:DECIMALS"))
    })
}

/// The keys that were made.
struct Made {
    addresses: Vec<(&'static str, Address)>,
    payee: Address,
    passphrase_file: Option<PathBuf>,
}

impl Made {
    fn address(&self, role: &str) -> Address {
        self.addresses.iter().find(|(known, _)| *known == role).map(|(_, address)| *address).unwrap_or_default()
    }
}

fn make_keys(args: &Args, directory: &Path, key_directory: &Path) -> Result<Made, Failure> {
    let (passphrase, passphrase_file) = match args.passphrase.file() {
        Some(path) => (args.passphrase.get("")?, Some(std::path::absolute(&path).unwrap_or(path))),
        None if args.yes => {
            // As long as a key, so that the keystores are no weaker than they.
            let made = candor_verify::bytes::Hash32(Signer::random().to_bytes()).to_string().trim_start_matches("0x").to_owned();
            write_once(&directory.join("passphrase"), format!("{made}\n").as_bytes())?;
            (made, Some(PathBuf::from("passphrase")))
        }
        None => (args.passphrase.get_twice("passphrase for the node's keys: ")?, None),
    };
    candor_client::private_directory(key_directory)?;
    let make = |role: &'static str| -> Result<(&'static str, Address), Failure> {
        let (signer, path) = (Signer::random(), keystore(key_directory, role));
        signer.store(&path, &passphrase).map_err(|error| Failure::cannot(format!("{}: {error}", path.display())))?;
        Ok((role, signer.address()))
    };
    let mut addresses = vec![make(OPERATOR)?];
    for role in HOST_ROLES {
        addresses.push(make(role)?);
    }
    let payee = match args.payee {
        Some(payee) => payee,
        None => make("payee")?.1,
    };
    Ok(Made { addresses, payee, passphrase_file })
}

/// A question with what is proposed; an empty line takes it.
fn answered(question: &str, proposed: &str) -> Result<String, Failure> {
    let shown = if proposed.is_empty() { String::new() } else { format!(" [{proposed}]") };
    let answer = ask(&format!("{question}{shown}: "))?;
    Ok(if answer.is_empty() { proposed.to_owned() } else { answer })
}

fn amount(option: &str, text: &str) -> Result<Decimal, Failure> {
    Decimal::parse(text).map_err(|error| Failure::cannot(format!("{option}: expected {error}, got {text:?}")))
}
