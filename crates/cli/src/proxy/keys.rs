//! `candor proxy key`: who may ask through a proxy, and how much each may spend.
//!
//! - **Invariant:** a key is no argument of any command and is in no file of the state, which has its SHA-256: it is printed once, or lies in a
//!   file of its owner's.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_chain::TokenWords;
use candor_client::{ProxyToken, SpendBook, SpentBy, read_text, write_private};
use candor_report::{Decimal, PROXY_KEYS_MAX, ProxyKeyText, ProxyKeysText, decimal_text, is_key_name};
use candor_verify::bytes::{Address, Amount};
use candor_verify::hash::sha256;
use candor_x402::client::AssetLimit;
use serde_json::{Value, json};

use crate::output::{Done, Failure, print_json, say, write_once};
use crate::{dev, keys, policy, tokens};

/// The file of the state that has them.
pub(crate) const FILE: &str = "proxy-keys.toml";

const LOCK: &str = "proxy-keys.lock";

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make a key with a budget, and print it once: a program sends it as its API key. A running proxy takes it at once, and from then on serves
    /// only who has a key or the token.
    New(Box<NewArgs>),
    /// Show the keys, what each may do, and what is left of its hour and its day.
    List,
    /// Take a key away: a running proxy refuses it from the next request on.
    Remove {
        /// The key's name.
        name: String,
    },
}

#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("budget").required(true).multiple(true)))]
struct NewArgs {
    /// Whose it is: 1 to 64 letters, digits, -, _ and .
    #[arg(value_parser = name)]
    name: String,
    /// Most that one request may cost, in the money of the asset that is paid.
    #[arg(long, value_name = "AMOUNT", value_parser = tokens::amount, group = "budget")]
    per_request: Option<Decimal>,
    /// Most that may be spent with it in any hour.
    #[arg(long, value_name = "AMOUNT", value_parser = tokens::amount, group = "budget")]
    per_hour: Option<Decimal>,
    /// Most that may be spent with it in any 24 hours.
    #[arg(long, value_name = "AMOUNT", value_parser = tokens::amount, group = "budget")]
    per_day: Option<Decimal>,
    /// No budget of its own: whoever has it can spend all that the policy allows.
    #[arg(long, group = "budget", conflicts_with_all = ["per_request", "per_hour", "per_day"])]
    no_budget: bool,
    /// A model that may be asked, once for each; any, if none is named.
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,
    /// A payee that may be paid, once for each; any of the policy's, if none is named.
    #[arg(long = "payee", value_name = "ADDRESS", value_parser = keys::address)]
    payees: Vec<Address>,
    /// Write the key to this file, which must not exist yet, instead of printing it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

fn name(text: &str) -> Result<String, &'static str> {
    is_key_name(text).then(|| text.to_owned()).ok_or("expected 1 to 64 letters, digits, -, _ and .")
}

/// Where the keys of a state are.
pub(super) fn path(state: &Path) -> PathBuf {
    state.join(FILE)
}

pub(super) fn run(args: Args, state: &Path, json_output: bool) -> Done {
    match args.command {
        Command::New(args) => new(*args, state, json_output),
        Command::List => list(&open(state)?, state, json_output),
        Command::Remove { name } => remove(&name, state, json_output),
    }
}

/// Held while the file is read and written anew: of two commands at once neither is lost.
fn lock(state: &Path) -> Result<File, Failure> {
    let path = state.join(LOCK);
    let locked = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).and_then(|file| {
        file.lock()?;
        Ok(file)
    });
    locked.map_err(|error| Failure::cannot(format!("{}: {error}", path.display())))
}

fn open(state: &Path) -> Result<ProxyKeysText, Failure> {
    let path = path(state);
    // Only a file that is not there is one without keys: of another the keys would be written over.
    if path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return Ok(ProxyKeysText::default());
    }
    ProxyKeysText::parse(&read_text(&path, ProxyKeysText::BYTES_MAX)?)
        .map_err(|error| Failure::cannot(format!("{}: {error}", path.display())))
}

fn new(args: NewArgs, state: &Path, json_output: bool) -> Done {
    let NewArgs { name, per_request, per_hour, per_day, no_budget: _, models, payees, out } = args;
    dev::make_state(state)?;
    let _lock = lock(state)?;
    let mut known = open(state)?;
    if known.keys.iter().any(|key| key.name == name) {
        return Err(Failure::cannot(format!("there is a key {name:?} already; `candor proxy key remove {name}` takes it away")));
    }
    if PROXY_KEYS_MAX <= known.keys.len() {
        return Err(Failure::cannot(format!("expected at most {PROXY_KEYS_MAX} keys, got one more: remove some")));
    }
    let key = ProxyToken::random()?;
    known.keys.push(ProxyKeyText { name: name.clone(), hash: sha256(&[key.as_bytes()]), per_request, per_hour, per_day, models, payees });
    // What is written has to be what a proxy reads.
    let text = known.to_toml();
    ProxyKeysText::parse(&text).map_err(|error| Failure::cannot(error.to_string()))?;
    // Crash: a file with a key that nobody admits yet; a second try names another file.
    if let Some(path) = &out {
        write_once(path, format!("{key}\n").as_bytes())?;
    }
    write_private(&path(state), text.as_bytes())?;
    let file = out.map(|path| path.display().to_string());
    if json_output {
        let shown = file.is_none().then_some(&key);
        print_json(&json!({"name": name, "key": shown, "file": file}));
        return Ok(ExitCode::SUCCESS);
    }
    match file {
        None => say!("{key}\nkey {name:?}, shown once: the API key of whoever may ask with it"),
        Some(file) => say!("key {name:?} in {file}: the API key of whoever may ask with it"),
    }
    say!("A proxy of this state serves keys and its token only, from now on.");
    Ok(ExitCode::SUCCESS)
}

fn list(known: &ProxyKeysText, state: &Path, json_output: bool) -> Done {
    // Whoever only looks makes no book.
    let book = state.join(dev::DATABASE).exists().then(|| dev::book(state)).transpose()?;
    let assets = policy::load(None, state)?.spend.assets;
    let mut rows = Vec::new();
    for key in &known.keys {
        rows.push((key, Left::all(key, book.as_ref(), &assets)?));
    }
    if json_output {
        print_json(&Value::Array(rows.iter().map(|(key, left)| as_json(key, left)).collect()));
        return Ok(ExitCode::SUCCESS);
    }
    if known.keys.is_empty() {
        say!("No keys: `candor proxy key new NAME --per-day AMOUNT` makes one.");
    }
    for (key, left) in &rows {
        say!("{}   {}", key.name, may(key));
        left.iter().for_each(|left| say!("   {}", left.words()));
    }
    Ok(ExitCode::SUCCESS)
}

/// What is left of a key's hour and day in one asset. A limit is in the money of any asset, and holds for each by itself.
struct Left {
    spent: SpentBy,
    words: Option<TokenWords>,
    per_hour: Option<Decimal>,
    per_day: Option<Decimal>,
}

impl Left {
    /// In each asset of the policy, and in each that was paid with; of a key without such a budget, none.
    fn all(key: &ProxyKeyText, book: Option<&SpendBook>, assets: &[AssetLimit]) -> Result<Vec<Self>, Failure> {
        let ProxyKeyText { name, per_hour, per_day, .. } = key;
        if per_hour.is_none() && per_day.is_none() {
            return Ok(Vec::new());
        }
        let mut spent = book.map_or(Ok(Vec::new()), |book| book.spent_by(name))?;
        for AssetLimit { network, asset, .. } in assets {
            if !spent.iter().any(|spent| (spent.network, spent.asset) == (*network, *asset)) {
                spent.push(SpentBy { network: *network, asset: *asset, in_hour: Amount::ZERO, in_day: Amount::ZERO });
            }
        }
        let left = |spent: SpentBy| {
            let words = tokens::known(spent.network.0, &spent.asset);
            Self { spent, words, per_hour: *per_hour, per_day: *per_day }
        };
        Ok(spent.into_iter().map(left).collect())
    }

    /// Of a limit, by the rules of the proxy; `None` without one, and of a token whose decimals are not known here.
    fn of(&self, limit: Option<Decimal>, spent: Amount) -> Option<Amount> {
        let units = limit?.units(self.words.as_ref()?.decimals).unwrap_or(Amount::ZERO);
        Some(units.checked_sub(spent).unwrap_or(Amount::ZERO))
    }

    fn of_hour(&self) -> Option<Amount> {
        self.of(self.per_hour, self.spent.in_hour)
    }

    fn of_day(&self) -> Option<Amount> {
        self.of(self.per_day, self.spent.in_day)
    }

    fn money(&self, amount: Amount) -> String {
        tokens::money(amount, self.words.as_ref(), &self.spent.asset)
    }

    fn words(&self) -> String {
        let left = [(self.of_hour(), "hour"), (self.of_day(), "day")];
        let left: Vec<String> = left.iter().filter_map(|(left, of)| left.map(|left| format!("{} of the {of}", self.money(left)))).collect();
        match left.is_empty() {
            true => format!("spent in 24 hours: {}", self.money(self.spent.in_day)),
            false => format!("left: {}", left.join(", ")),
        }
    }

    fn json(&self) -> Value {
        let SpentBy { network, asset, in_hour, in_day } = self.spent;
        let words = self.words.as_ref();
        let decimal = |amount: Option<Amount>| Some(decimal_text(amount?, words?.decimals));
        json!({
            "chain_id": network.0, "asset": asset.to_string(), "symbol": words.map(|words| &words.symbol),
            "of_hour": decimal(self.of_hour()), "of_day": decimal(self.of_day()),
            "spent_in_hour": in_hour.to_string(), "spent_in_day": in_day.to_string(),
        })
    }
}

fn as_json(key: &ProxyKeyText, left: &[Left]) -> Value {
    let amount = |amount: &Option<Decimal>| amount.map(|amount| amount.to_string());
    json!({
        "left": left.iter().map(Left::json).collect::<Vec<_>>(),
        "name": key.name,
        "per_request": amount(&key.per_request),
        "per_hour": amount(&key.per_hour),
        "per_day": amount(&key.per_day),
        "models": key.models,
        "payees": key.payees.iter().map(Address::to_string).collect::<Vec<_>>(),
    })
}

/// What somebody may do with a key, in words.
fn may(key: &ProxyKeyText) -> String {
    let limits = [(key.per_request, "a request"), (key.per_hour, "an hour"), (key.per_day, "a day")];
    let mut words: Vec<String> = limits.iter().filter_map(|(limit, of)| limit.map(|limit| format!("{limit} {of}"))).collect();
    if words.is_empty() {
        words.push("no budget: all that the policy allows".into());
    }
    if !key.models.is_empty() {
        words.push(format!("asks {}", key.models.join(", ")));
    }
    if !key.payees.is_empty() {
        words.push(format!("pays {}", key.payees.iter().map(Address::to_string).collect::<Vec<_>>().join(", ")));
    }
    words.join("; ")
}

fn remove(name: &str, state: &Path, json_output: bool) -> Done {
    dev::make_state(state)?;
    let _lock = lock(state)?;
    let mut known = open(state)?;
    let count = known.keys.len();
    known.keys.retain(|key| key.name != name);
    if known.keys.len() == count {
        return Err(Failure::cannot(format!("there is no key {name:?}; `candor proxy key list` shows those that are there")));
    }
    write_private(&path(state), known.to_toml().as_bytes())?;
    if json_output {
        print_json(&json!({"removed": name}));
    } else {
        say!("key {name:?} is refused from now on");
    }
    Ok(ExitCode::SUCCESS)
}
