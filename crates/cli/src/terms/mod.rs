//! Operator terms: made from node.toml, shown in words, signed here or on another machine. `candor terms show|draft|sign|renew`.
//!
//! A node starts with terms that its file names (`terms.file`), if they say what the file says and last; else with new ones that the operator's
//! key signs at the start. The form of a draft is that of signed terms, with zeros where the signature will be.
//! - **Invariant:** nothing is signed that was not shown in full: `sign` reads one file once, shows it, and signs that.

mod words;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_chain::Signer;
use candor_report::NodeText;
use candor_verify::bytes::{Address, Hash32, Signature65};
use candor_verify::eip712::{K256, signer};
use candor_verify::terms::{self, Access, Asset, Chain, Classes, Guard, OperatorTerms, Price, SignedTerms, storage, ways};
use candor_verify::time::UnixMs;
use serde_json::json;

use crate::calendar::DAY_MS;
use crate::config::{ConfigArg, Settings, deployment_of};
use crate::deployment::Deployed;
use crate::keys::{self, NodeKeys, OPERATOR, keystore};
use crate::node::{Sold, complete, models};
use crate::output::{Done, Failure, is_confirmed, print_json, read, say, write_once};
use crate::wallet::{self, Passphrase};
use crate::{dev, logging};

/// Before their end, operators are warned for so long.
pub(crate) const WARN_DAYS: u64 = 7;

/// Terms that end sooner are not begun with: a boot would register, and stop selling at once.
const LEFT_MIN_MS: u64 = 60 * 60 * 1000;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show what terms allow, in words, and who signed them.
    Show {
        /// Signed terms or a draft; those that the node works with if not said.
        file: Option<PathBuf>,
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Write the terms that follow from node.toml, not signed: to be signed on another machine. Asks no chain.
    Draft {
        /// Where to write them.
        file: PathBuf,
        #[command(flatten)]
        config: ConfigArg,
        /// Whose terms, if the operator's keystore is not in keys.directory.
        #[arg(long, value_name = "ADDRESS", value_parser = keys::address)]
        operator: Option<Address>,
    },
    /// Show a draft and sign it with the operator's key. Needs neither a chain nor the node's other files.
    Sign {
        /// The draft.
        draft: PathBuf,
        /// Keystore of the operator.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        #[command(flatten)]
        passphrase: Passphrase,
        /// Where to write the signed terms; terms.file of node.toml is to name it.
        #[arg(long, value_name = "FILE", default_value = "terms.cbor")]
        out: PathBuf,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Draft and sign with the operator's key in keys.directory, into terms.file. The node takes them when it is started again.
    Renew {
        #[command(flatten)]
        config: ConfigArg,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

pub(crate) fn run(args: Args, state: &Path, json_output: bool) -> Done {
    match args.command {
        Command::Show { file, config } => show(file, &config, state, json_output),
        Command::Draft { file, config, operator } => {
            let terms = drafted(&mut config.load(state)?, operator)?;
            write_once(&file, &SignedTerms { terms: terms.clone(), signature: UNSIGNED }.encode())?;
            answer(
                &terms,
                None,
                json_output,
                &format!("wrote {}; sign it with: candor terms sign {0} --key OPERATOR.json", file.display()),
            );
            Ok(ExitCode::SUCCESS)
        }
        Command::Sign { draft, key, passphrase, out, yes } => {
            let terms = parse(&draft)?.terms;
            let prompt = format!("passphrase of {}: ", key.display());
            let signer = || wallet::decrypt(&key, &passphrase.get(&prompt)?);
            sign_into(&terms, signer, &out, yes, json_output)
        }
        Command::Renew { config, yes } => {
            let mut settings = config.load(state)?;
            let out = settings.text.terms.file.clone();
            let out = out.ok_or_else(|| {
                Failure::cannot("terms.file: expected where to write them, got none; without it a node signs new terms at each start")
            })?;
            let terms = drafted(&mut settings, None)?;
            let part = settings.text.keys.clone();
            let Some(directory) = &part.directory else {
                return Err(Failure::cannot("keys.directory: expected the directory with operator.json, got none"));
            };
            let key = keystore(directory, OPERATOR);
            let passphrase = Passphrase::of(part.passphrase_file.clone());
            let signer = || wallet::decrypt(&key, &passphrase.get(&format!("passphrase of {}: ", key.display()))?);
            sign_into(&terms, signer, &out, yes, json_output)
        }
    }
}

/// What stands where a signature will be.
const UNSIGNED: Signature65 = Signature65([0; 65]);

fn show(file: Option<PathBuf>, config: &ConfigArg, state: &Path, json_output: bool) -> Done {
    let path = match file {
        Some(path) => path,
        None => {
            let settings = config.load(state)?;
            settings.text.terms.file.clone().unwrap_or_else(|| settings.text.node.data.join("terms.cbor"))
        }
    };
    let signed = parse(&path)?;
    let by = if signed.signature == UNSIGNED { None } else { signed_by(&signed) };
    let who = match by {
        None => "not signed: a draft".to_owned(),
        Some(by) if by == signed.terms.operator => format!("signed by their operator, {by}"),
        Some(by) => format!("REFUSED: signed by {by}, and their operator is {}", signed.terms.operator),
    };
    let is_refused = by.is_some_and(|by| by != signed.terms.operator);
    answer(&signed.terms, by, json_output, &who);
    Ok(ExitCode::from(u8::from(is_refused)))
}

fn answer(terms: &OperatorTerms, by: Option<Address>, json_output: bool, last: &str) {
    let rows = words::of(terms);
    if json_output {
        // A list: fields repeat, and none may hide another.
        let rows: Vec<serde_json::Value> = rows.into_iter().map(|(field, value)| json!({"field": field, "value": value})).collect();
        let (digest, by) = (terms.digest().to_string(), by.map(|by| by.to_string()));
        return print_json(&json!({"terms": rows, "digest": digest, "signed_by": by, "not_after_ms": terms.not_after.0}));
    }
    words::say(&rows);
    say!("{last}");
}

fn parse(path: &Path) -> Result<SignedTerms, Failure> {
    SignedTerms::parse(&read(path)?).map_err(|error| Failure::cannot(format!("{}: no terms: {error}", path.display())))
}

fn signed_by(signed: &SignedTerms) -> Option<Address> {
    signer(&K256, &signed.terms.digest(), &signed.signature)
}

/// Shows, asks, signs, writes.
fn sign_into(terms: &OperatorTerms, key: impl FnOnce() -> Result<Signer, Failure>, out: &Path, yes: bool, json_output: bool) -> Done {
    terms.check_consistent().map_err(|rule| Failure::cannot(format!("the draft: {rule}")))?;
    if terms.not_after <= dev::now() {
        return Err(Failure::cannot("the draft has ended already; write a new one with: candor terms draft"));
    }
    match json_output {
        true => words::note(&words::of(terms)),
        false => words::say(&words::of(terms)),
    }
    if !yes && !is_confirmed(json_output, "sign these terms? [y/N] ")? {
        return Err(Failure::cannot("nothing was signed"));
    }
    let key = key()?;
    if key.address() != terms.operator {
        return Err(Failure::cannot(format!(
            "operator: expected the key of {}, as the draft says, got that of {}",
            terms.operator,
            key.address()
        )));
    }
    let signed = SignedTerms { terms: terms.clone(), signature: key.sign_digest(&terms.digest())? };
    // Signed terms are no secret; they replace older ones in one step.
    replace(out, &signed.encode())?;
    match json_output {
        true => answer(terms, Some(key.address()), true, ""),
        false => say!("wrote {}, good until {}; node.toml names it with terms.file", out.display(), words::day(terms.not_after)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Replaces signed terms in one step: a node that reads meanwhile reads the old or the new. What is no terms stays as it is: it may be a key.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let other = path.symlink_metadata().is_ok() && parse(path).is_err();
    if other {
        return Err(Failure::cannot(format!(
            "{}: expected signed terms or no file, got something else, which was not touched",
            path.display()
        )));
    }
    Ok(candor_client::write_private(path, bytes)?)
}

/// The terms that follow from a file, without asking a chain.
fn drafted(settings: &mut Settings, operator: Option<Address>) -> Result<OperatorTerms, Failure> {
    let Some(chain) = settings.chain().cloned() else {
        return Err(Failure::cannot(format!("{}: expected a [[chain]], got none; candor init writes one", settings.name())));
    };
    let deployed = deployment_of(&chain)?;
    complete(settings, chain.id)?;
    let (operator, registrar) = addresses(settings, operator, chain.id)?;
    let payee = settings
        .text
        .keys
        .payee
        .ok_or_else(|| keys::missing("payee", chain.id, "keys.payee", "candor wallet new FILE, which shows the address"))?;
    let directory = settings.text.node.data.clone();
    candor_client::private_directory(&directory)?;
    let sold = models(settings, &directory)?;
    draft(&settings.text, &deployed, Who { operator, registrar, payee: keys::own(payee, "payee", chain.id)? }, &sold)
}

/// Of operator and registrar, from their keystores, without opening them.
fn addresses(settings: &Settings, operator: Option<Address>, chain_id: u64) -> Result<(Address, Address), Failure> {
    let Some(directory) = &settings.text.keys.directory else {
        return Err(keys::missing(OPERATOR, chain_id, "keys.directory", "candor init"));
    };
    let of = |role: &str| -> Result<Address, Failure> { keys::own(keys::address_in(&keystore(directory, role))?, role, chain_id) };
    Ok((operator.map_or_else(|| of(OPERATOR), Ok)?, of("registrar")?))
}

/// Whose terms they are, and whom they name.
#[derive(Clone, Copy)]
struct Who {
    operator: Address,
    registrar: Address,
    payee: Address,
}

/// The terms with which a node starts: those that its file names, if they say the same, else new ones.
pub(crate) fn for_node(settings: &Settings, deployed: &Deployed, keys: &NodeKeys, sold: &[Sold]) -> Result<SignedTerms, Failure> {
    let registrar = keys.host.registrar.address();
    if let Some(operator) = &keys.operator {
        let terms = draft(&settings.text, deployed, Who { operator: operator.address(), registrar, payee: keys.payee }, sold)?;
        let signature = operator.sign_digest(&terms.digest())?;
        return Ok(SignedTerms { terms, signature });
    }
    let path = settings.text.terms.file.as_ref().ok_or_else(|| Failure::cannot("terms.file: expected signed terms, got none"))?;
    let signed = parse(path)?;
    let refused =
        |what: String| Failure::cannot(format!("{}: {what}; sign new ones with: candor terms renew, or draft and sign", path.display()));
    let operator = signed_by(&signed).filter(|by| *by == signed.terms.operator);
    let operator = operator
        .ok_or_else(|| refused(format!("expected the signature of the operator {}, got another or none", signed.terms.operator)))?;
    keys::own(operator, OPERATOR, deployed.addresses.chain_id)?;
    let mut wanted = draft(&settings.text, deployed, Who { operator, registrar, payee: keys.payee }, sold)?;
    wanted.not_after = signed.terms.not_after;
    if let Some((field, says, signed)) = words::first_difference(&wanted, &signed.terms) {
        return Err(refused(format!("{field}: node.toml says {says}, the signed terms say {signed}")));
    }
    let left = signed.terms.not_after.0.saturating_sub(dev::now().0);
    if left < LEFT_MIN_MS {
        return Err(refused(format!("they end at {}", words::day(signed.terms.not_after))));
    }
    // Their draft may have been made under another file, or by somebody else.
    let longest = settings.text.terms.days.saturating_add(1).saturating_mul(DAY_MS);
    if longest < left {
        return Err(refused(format!(
            "terms.days says {}, and they are good until {}",
            settings.text.terms.days,
            words::day(signed.terms.not_after)
        )));
    }
    if left < WARN_DAYS * DAY_MS {
        logging::terms_end(path, &words::day(signed.terms.not_after));
    }
    Ok(signed)
}

/// The terms that follow from values that are complete. Those with which no enclave boots are refused here, before anybody signs.
fn draft(text: &NodeText, deployed: &Deployed, who: Who, sold: &[Sold]) -> Result<OperatorTerms, Failure> {
    let terms = follow(text, deployed, who, sold)?;
    let refused = |what: &dyn std::fmt::Display| Failure::cannot(format!("the terms that follow from node.toml: {what}"));
    terms.check_consistent().map_err(|rule| refused(&rule))?;
    if let Some(what) = candor_enclave::not_done_here(&terms) {
        return Err(refused(&format!("they {what}")));
    }
    Ok(terms)
}

fn follow(text: &NodeText, deployed: &Deployed, who: Who, sold: &[Sold]) -> Result<OperatorTerms, Failure> {
    let registry = deployed.addresses.registry;
    let anchor_chain_id = deployed.addresses.chain_id;
    let chains = text.chains.iter().map(|chain| chain.id).filter(|id| *id != anchor_chain_id);
    let mut listed = vec![Chain { chain_id: anchor_chain_id, registry, ..Chain::default() }];
    listed.extend(chains.map(|chain_id| Chain { chain_id, ..Chain::default() }));
    let assets = text.assets.iter().map(|asset| Asset {
        chain_id: asset.chain_id,
        asset: asset.address,
        name: asset.name.clone(),
        version: asset.version.clone(),
        decimals: asset.decimals,
    });
    let days = text.terms.days;
    let mut ways = 0;
    for (is_open, way) in [(text.access.paid, ways::PAID), (!text.access.keys.is_empty(), ways::KEYS), (text.access.open, ways::OPEN)] {
        ways |= if is_open { way } else { 0 };
    }
    Ok(OperatorTerms {
        operator: who.operator,
        payee: who.payee,
        registrar: who.registrar,
        registry,
        anchor_chain_id,
        not_after: UnixMs(dev::now().0.saturating_add(days.saturating_mul(DAY_MS))),
        flags: 0,
        storage: if text.storage.keep_answers { storage::KEEPS_ANSWERS } else { 0 },
        chains: listed,
        assets: assets.collect(),
        prices: prices(text, sold)?,
        models: sold.iter().map(|model| terms::Model::local(&model.id, model.digest, model.context_tokens)).collect(),
        access: Access { ways, keys: text.access.keys.clone() },
        guard: Guard {
            model: text.guard.model.clone().unwrap_or_default(),
            upstream: String::new(),
            payer_requests_per_minute: text.guard.payer_requests_per_minute,
            payer_tokens_per_day: text.guard.payer_tokens_per_day,
        },
        endpoints: endpoints(text)?,
        ..OperatorTerms::default()
    })
}

fn prices(text: &NodeText, sold: &[Sold]) -> Result<Vec<Price>, Failure> {
    let digest = |id: &str| sold.iter().find(|model| model.id == id).map_or(Hash32::ZERO, |model| model.digest);
    let mut out = Vec::new();
    for model in &text.models {
        for price in &model.prices {
            let asset = text.asset(&price.asset);
            let asset = asset.ok_or_else(|| Failure::cannot(format!("model {}: no [[asset]] {}", model.id, price.asset)))?;
            let units = |amount: &candor_report::Decimal| {
                amount.units(asset.decimals).map_err(|error| Failure::cannot(format!("model {}: expected {error}, got {amount}", model.id)))
            };
            let ceiling = Classes {
                input: units(&price.input)?,
                output: units(&price.output)?,
                request: units(&price.request)?,
                ..Classes::default()
            };
            out.push(Price::at_most(digest(&model.id), asset.chain_id, asset.address, ceiling));
        }
    }
    Ok(out)
}

/// Where clients are told to connect to. Nobody reaches "every address of this machine".
fn endpoints(text: &NodeText) -> Result<Vec<String>, Failure> {
    let node = &text.node;
    let of = |urls: &[String], scheme: &str, listen: std::net::SocketAddr, field: &str| {
        if !urls.is_empty() {
            return Ok(urls.to_vec());
        }
        if listen.ip().is_unspecified() {
            let what =
                format!("{field}: expected how clients reach {listen}, such as \"{scheme}://node.example:{}\", got nothing", listen.port());
            return Err(Failure::cannot(format!("{what}; say it in node.toml or with --public-url")));
        }
        Ok(vec![format!("{scheme}://{listen}")])
    };
    let mut out = of(&node.urls, "https", node.listen, "node.urls")?;
    // The log is for whoever checks it; without an address of its own it is where the host listens.
    out.extend(of(&node.log_urls, "http", node.log_listen, "node.log_urls")?);
    Ok(out)
}
