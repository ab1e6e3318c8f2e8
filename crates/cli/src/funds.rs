//! `candor funds show|sweep|withdraw`: what a node's accounts hold, the payee's money that lies at its forwarder, and ether that goes back.
//!
//! Payments go to the payee, whose key is not with the node; a payee who takes payments through a forwarder (docs/contracts.md) has them sent on by
//! anybody: `sweep`. What a node's own accounts hold is ether for gas: `withdraw` sends it on, when a node ends or a key is to be changed.
//! - **Invariant:** no account of a node that runs is touched: it would replace that node's transactions.

use std::path::Path;
use std::process::ExitCode;

use candor_chain::{ChainClient, sweep_calldata};
use candor_report::{ChainPart, Decimal, NodeText, decimal_text};
use candor_verify::bytes::{Address, Amount};
use candor_verify::text::one_line;
use serde_json::{Value, json};

use crate::config::{ConfigArg, Settings, UNKNOWN, chain_of, chain_part, rpc_of};
use crate::dev::{self, Development};
use crate::keys::{self, HOST_ROLES};
use crate::output::{Done, Failure, is_confirmed, print_json, say};
use crate::wallet::{self, Passphrase};
use crate::{costs, node};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show what each account holds on each chain of the file, and what waits at the payee's forwarder. Exit code 2: one did not answer.
    Show {
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Send what lies at the payee's forwarder to the payee. Anybody may; nobody can send it elsewhere.
    Sweep {
        #[command(flatten)]
        config: ConfigArg,
        /// Whose; keys.payee of the file if not said.
        #[arg(long, value_name = "ADDRESS", value_parser = keys::address)]
        payee: Option<Address>,
        /// Chain id; the first chain of the file if not said.
        #[arg(long, value_name = "ID")]
        chain_id: Option<u64>,
        /// Keystore that pays for the transaction; a known account on the development chain, if not said.
        #[arg(long, value_name = "FILE")]
        key: Option<std::path::PathBuf>,
        #[command(flatten)]
        passphrase: Passphrase,
    },
    /// Send the ether of one of the node's accounts elsewhere. The node must not run.
    Withdraw {
        #[command(flatten)]
        config: ConfigArg,
        /// Whose: registrar, gas or anchor.
        #[arg(value_parser = HOST_ROLES)]
        role: String,
        /// Where it goes.
        #[arg(long, value_name = "ADDRESS", value_parser = keys::address)]
        to: Address,
        /// How much, in ether; all but the gas of this transaction if not said.
        #[arg(long, value_name = "ETHER", value_parser = ether)]
        amount: Option<Amount>,
        /// Chain id; the first chain of the file if not said.
        #[arg(long, value_name = "ID")]
        chain_id: Option<u64>,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
}

fn ether(text: &str) -> Result<Amount, String> {
    let amount =
        Decimal::parse(text).and_then(|amount| amount.units(costs::ETHER_DECIMALS)).map_err(|error| format!("expected {error}"))?;
    if amount == Amount::ZERO { Err("expected more than nothing".into()) } else { Ok(amount) }
}

pub(crate) async fn run(args: Args, state: &Path, json_output: bool) -> Done {
    match args.command {
        Command::Show { config } => show(&config.load(state)?, json_output).await,
        Command::Sweep { config, payee, chain_id, key, passphrase } => {
            let settings = config.load(state)?;
            let at = At::of(settings, chain_id).await?;
            let payee = match payee {
                Some(payee) => payee,
                None => at.payee()?,
            };
            sweep(&at, &payee, key.as_deref(), &passphrase, json_output).await
        }
        Command::Withdraw { config, role, to, amount, chain_id, yes } => {
            let settings = config.load(state)?;
            // Held until the transaction is in a block.
            let _held = node::hold(&settings.text.node.data)?;
            let at = At::of(settings, chain_id).await?;
            withdraw(&at, &role, &to, amount, yes, json_output).await
        }
    }
}

/// A node's file and one of its chains.
struct At {
    settings: Settings,
    chain: ChainClient,
}

impl At {
    async fn of(settings: Settings, chain_id: Option<u64>) -> Result<Self, Failure> {
        let first = settings.connect().await?;
        let chain = match chain_id {
            None => first,
            Some(id) => chain_of(&settings.text, id, &first).await?,
        };
        match chain_id {
            Some(id) if chain.chain_id() != id => Err(Failure::cannot(format!("--chain-id: {} has no chain {id}", settings.name()))),
            _ => Ok(Self { settings, chain }),
        }
    }

    fn payee(&self) -> Result<Address, Failure> {
        let known = || Development::of(self.chain.chain_id()).map(|development| development.address(dev::Role::Payee));
        let payee = self.settings.text.keys.payee.or_else(known);
        payee.ok_or_else(|| Failure::cannot("payee: expected keys.payee in the file, or --payee ADDRESS; got none"))
    }

    /// The payee's forwarder and the factory that makes it.
    async fn forwarder(&self, payee: &Address) -> Result<(Address, Address), Failure> {
        let factory = self.settings.deployed(self.chain.chain_id())?.addresses.forwarder_factory;
        Ok((factory, self.chain.forwarder_of(&factory, payee).await?))
    }
}

/// Tokens of a file on one chain, with symbol, address and decimals.
fn tokens(text: &NodeText, settings: &Settings, chain_id: u64) -> Vec<(String, Address, u8)> {
    let listed: Vec<_> = text.assets.iter().filter(|asset| asset.chain_id == chain_id).collect();
    if listed.is_empty() && Development::of(chain_id).is_some() {
        let play = settings.deployed(chain_id).map(|deployed| deployed.addresses.test_usd);
        return play.into_iter().map(|address| ("TestUSD".to_owned(), address, 6)).collect();
    }
    listed.into_iter().map(|asset| (one_line(&asset.symbol).into_owned(), asset.address, asset.decimals)).collect()
}

async fn show(settings: &Settings, json_output: bool) -> Done {
    let parts = match settings.text.chains.as_slice() {
        [] => vec![chain_part(UNKNOWN)],
        parts => parts.to_vec(),
    };
    let (mut rows, mut code) = (Vec::new(), ExitCode::SUCCESS);
    for (at, part) in parts.iter().enumerate() {
        // One that does not answer hides none of the others, nor what it said before.
        if let Err(failure) = held_on(part, at == 0, settings, &mut rows).await {
            rows.push(json!({"chain_id": part.id, "trouble": failure.message()}));
            code = ExitCode::from(2);
        }
    }
    if json_output {
        print_json(&json!({"funds": rows}));
        return Ok(code);
    }
    for row in &rows {
        let text = |key: &str| row[key].as_str().unwrap_or_default();
        let chain = format!("chain {:<8}", row["chain_id"].to_string());
        match row["trouble"].as_str() {
            Some(trouble) => say!("{chain} not known: {trouble}"),
            None => say!("{chain} {:<10} {}  {:>16} {}", text("whose"), text("address"), text("shown"), text("unit")),
        }
    }
    say!("what waits at the forwarder goes to the payee with: candor funds sweep");
    Ok(code)
}

/// A row for each account of the node on one chain.
async fn held_on(part: &ChainPart, is_first: bool, settings: &Settings, rows: &mut Vec<Value>) -> Result<(), Failure> {
    let chain = ChainClient::connect(rpc_of(part)?, Some(part.id).filter(|id| *id != UNKNOWN)).await?;
    let chain_id = chain.chain_id();
    // Boots are registered and anchored on the first chain only.
    for role in HOST_ROLES.into_iter().filter(|role| is_first || *role == "gas") {
        let account = keys::address_of(&settings.text.keys, role, chain_id)?;
        let wei = chain.native_balance(&account).await?;
        rows.push(json!({"chain_id": chain_id, "whose": role, "address": account.to_string(), "unit": "ether",
            "amount": wei.to_string(), "shown": costs::ether_held(wei.0)}));
    }
    let at = At { settings: settings.clone(), chain };
    let Ok(payee) = at.payee() else { return Ok(()) };
    // A deployment is of one chain; elsewhere there is no forwarder of ours to look at.
    let forwarder = at.forwarder(&payee).await.ok().map(|(_, forwarder)| ("forwarder", forwarder));
    for (symbol, token, decimals) in tokens(&settings.text, settings, chain_id) {
        for (whose, account) in std::iter::once(("payee", payee)).chain(forwarder) {
            let held = at.chain.token_balance(&token, &account).await?;
            rows.push(json!({"chain_id": chain_id, "whose": whose, "address": account.to_string(), "unit": symbol,
                "amount": held.to_string(), "shown": decimal_text(held, decimals)}));
        }
    }
    Ok(())
}

async fn sweep(at: &At, payee: &Address, key: Option<&Path>, passphrase: &Passphrase, json_output: bool) -> Done {
    let chain_id = at.chain.chain_id();
    let (factory, forwarder) = at.forwarder(payee).await?;
    let waiting = tokens(&at.settings.text, &at.settings, chain_id);
    let signer = wallet::gas_payer(key, passphrase, chain_id)?;
    let mut swept = Vec::new();
    for (symbol, token, decimals) in waiting {
        let held = at.chain.token_balance(&token, &forwarder).await?;
        if held == Amount::ZERO {
            continue;
        }
        let mined = at.chain.send_and_wait(&signer, Some(&factory), &sweep_calldata(payee, &token)).await?;
        if !json_output {
            say!("{} {symbol} sent on to {payee}   transaction {}", decimal_text(held, decimals), mined.hash);
        }
        swept.push(json!({"token": token.to_string(), "amount": held.to_string(), "transaction": mined.hash.to_string()}));
    }
    match (json_output, swept.is_empty()) {
        (true, _) => print_json(&json!({"payee": payee.to_string(), "forwarder": forwarder.to_string(), "swept": swept})),
        (false, true) => say!("nothing lies at {forwarder}, the forwarder of {payee}"),
        (false, false) => {}
    }
    Ok(ExitCode::SUCCESS)
}

async fn withdraw(at: &At, role: &str, to: &Address, amount: Option<Amount>, yes: bool, json_output: bool) -> Done {
    let part = &at.settings.text.keys;
    // Another node on this machine may have the same keystores.
    let _keystores = keys::hold(part)?;
    let signer = keys::one(part, role, at.chain.chain_id())?;
    let from = signer.address();
    let has = at.chain.native_balance(&from).await?;
    // Twice what it would cost now: a transaction that waits is sent again at a higher price.
    let gas = at.chain.estimate_gas(&from, Some(to), &[]).await?;
    let fee = u128::from(gas).saturating_add(u128::from(gas) / 4).saturating_mul(at.chain.fees().await?.max_fee_per_gas).saturating_mul(2);
    let most = has.0.saturating_sub(fee);
    let wei = amount.unwrap_or(Amount(most));
    if most == 0 || most < wei.0 {
        return Err(Failure::cannot(format!(
            "{role}: {from} has {} ether on chain {}, of which {} are for the gas of sending; nothing was sent",
            costs::ether_held(has.0),
            at.chain.chain_id(),
            costs::ether(fee)
        )));
    }
    let shown = decimal_text(wei, costs::ETHER_DECIMALS);
    let question = format!("send {shown} ether of {role} ({from}) to {to} on chain {}? [y/N] ", at.chain.chain_id());
    if !yes && !is_confirmed(json_output, &question)? {
        return Err(Failure::cannot("you did not say yes; nothing was sent"));
    }
    let mined = at.chain.transfer_and_wait(&signer, to, wei).await?;
    match json_output {
        true => print_json(&json!({"role": role, "from": from.to_string(), "to": to.to_string(), "wei": wei.to_string(),
            "transaction": mined.hash.to_string()})),
        false => say!("{shown} ether sent to {to}   transaction {}", mined.hash),
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ether_is_read_to_the_last_wei_and_nothing_is_no_amount() {
        assert_eq!(ether("0.000000000000000001"), Ok(Amount(1)));
        assert_eq!(ether("2"), Ok(Amount(2_000_000_000_000_000_000)));
        for bad in ["0", "0.0000000000000000001", "-1", "1e3", "one", ""] {
            assert!(ether(bad).is_err(), "{bad}");
        }
    }
}
