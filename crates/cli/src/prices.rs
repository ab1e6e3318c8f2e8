//! `candor prices`: what a running node sells at, between the floors and the ceilings that its operator signed. The registrar signs a list, and
//! the node takes it without a reboot.
//!
//! The list goes into a file of the node's directory, whole or not at all, and the node looks there. A list cannot be taken back, only followed
//! by another: `clear` signs one that has the ceilings, for as long as the one before would have lasted. Spec: terms-and-manifest.md §4.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_chain::Signer;
use candor_client::{is_in_force, price_now, write_private};
use candor_report::{Decimal, decimal_text};
use candor_verify::bytes::Amount;
use candor_verify::eip712::K256;
use candor_verify::terms::{Classes, ListedPrice, OperatorTerms, Price, PriceList, SignedPriceList, SignedTerms};
use candor_verify::time::UnixMs;
use serde_json::{Value, json};

use crate::calendar::HOUR_MS;
use crate::config::{ConfigArg, Settings};
use crate::dev;
use crate::keys;
use crate::output::{Done, Failure, print_json, read, say};

/// Name of the file in a node's directory.
pub(crate) const FILE: &str = "price-list.cbor";

/// Offers last two minutes, and none outlives its list: a shorter one would never be used.
const HOURS: std::ops::RangeInclusive<i64> = 1..=168;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Sign a list and give it to the node. What is not said stays as it is.
    Set(SetArgs),
    /// Show what the terms allow and what is in force.
    Show {
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Go back to the prices of the terms.
    Clear {
        #[command(flatten)]
        config: ConfigArg,
    },
}

#[derive(clap::Args)]
struct SetArgs {
    /// Price of a million prompt tokens, in money: 0.80.
    #[arg(long, value_name = "AMOUNT")]
    input: Option<String>,
    /// Price of a million answer tokens.
    #[arg(long, value_name = "AMOUNT")]
    output: Option<String>,
    /// Price of each request.
    #[arg(long, value_name = "AMOUNT")]
    request: Option<String>,
    /// Only of this model; of all if not said.
    #[arg(long)]
    model: Option<String>,
    /// How long the list is in force; then the prices of the terms count again.
    #[arg(long, value_name = "HOURS", default_value_t = 168, value_parser = clap::value_parser!(i64).range(HOURS))]
    hours: i64,
    #[command(flatten)]
    config: ConfigArg,
}

pub(crate) fn run(args: Args, state: &Path, json_output: bool) -> Done {
    let config = match &args.command {
        Command::Set(SetArgs { config, .. }) | Command::Show { config } | Command::Clear { config } => config,
    };
    let settings = config.load(state)?;
    let node = Node::open(&settings)?;
    match &args.command {
        Command::Show { .. } => {}
        Command::Set(set) => {
            let registrar = node.registrar(&settings)?;
            let until = dev::now().saturating_add(u64::try_from(set.hours).unwrap_or(1) * HOUR_MS);
            node.put(&registrar, node.changed(set)?, until)?;
        }
        Command::Clear { .. } => {
            let Some(current) = node.current() else {
                return Err(Failure::cannot("no list is in force: the prices are those of the terms already"));
            };
            let ceilings = node.terms().prices.iter().map(|price| listed(price, price.ceiling)).collect();
            node.put(&node.registrar(&settings)?, ceilings, current.list.until)?;
        }
    }
    Node::open(&settings)?.show(json_output);
    Ok(ExitCode::SUCCESS)
}

/// The files of a node that serves, or did.
pub(crate) struct Node {
    signed: SignedTerms,
    file: PathBuf,
    newest: Option<SignedPriceList>,
}

fn listed(price: &Price, classes: Classes) -> ListedPrice {
    ListedPrice { model: price.model, chain_id: price.chain_id, asset: price.asset, classes }
}

impl Node {
    fn open(settings: &Settings) -> Result<Self, Failure> {
        let directory = &settings.text.node.data;
        // Of the node that runs; where its halves start apart, of the file that both read.
        let running = directory.join("terms.cbor");
        let bytes = read(settings.text.terms.file.as_ref().filter(|_| !running.exists()).unwrap_or(&running))?;
        let signed = SignedTerms::parse(&bytes).map_err(|error| Failure::cannot(format!("the node's terms: {error}")))?;
        let file = directory.join(FILE);
        let newest = file.exists().then(|| read(&file)).transpose()?.and_then(|bytes| SignedPriceList::parse(&bytes).ok());
        // One of other terms counts for nothing under these.
        let newest = newest.filter(|newest| newest.check(&signed.terms, &K256).is_ok());
        Ok(Self { signed, file, newest })
    }

    fn terms(&self) -> &OperatorTerms {
        &self.signed.terms
    }

    /// The list that is in force now.
    fn current(&self) -> Option<&SignedPriceList> {
        self.newest.as_ref().filter(|newest| is_in_force(&newest.list, dev::now()))
    }

    fn registrar(&self, settings: &Settings) -> Result<Signer, Failure> {
        let registrar = keys::one(&settings.text.keys, "registrar", self.terms().anchor_chain_id)?;
        if registrar.address() != self.terms().registrar {
            let (expected, got) = (self.terms().registrar, registrar.address());
            return Err(Failure::cannot(format!("expected the key of the terms' registrar {expected}, got that of {got}")));
        }
        Ok(registrar)
    }

    /// What is in force for a price of the terms.
    fn classes(&self, price: &Price) -> Classes {
        *price_now(price, self.current())
    }

    fn changed(&self, set: &SetArgs) -> Result<Vec<ListedPrice>, Failure> {
        let terms = self.terms();
        let named = match &set.model {
            None => None,
            Some(id) => Some(
                terms
                    .models
                    .iter()
                    .find(|model| model.id == *id)
                    .ok_or_else(|| Failure::cannot(format!("the terms list no model {id:?}")))?
                    .digest,
            ),
        };
        if terms.prices.is_empty() {
            return Err(Failure::cannot("this node sells nothing: its terms have no price"));
        }
        let mut prices = Vec::new();
        for price in &terms.prices {
            let mut classes = self.classes(price);
            if named.is_none_or(|digest| digest == price.model) {
                let decimals = terms.asset(price.chain_id, &price.asset).map_or(0, |asset| asset.decimals);
                let Price { floor, ceiling, .. } = price;
                for (option, text, class, (floor, ceiling)) in [
                    ("--input", &set.input, &mut classes.input, (floor.input, ceiling.input)),
                    ("--output", &set.output, &mut classes.output, (floor.output, ceiling.output)),
                    ("--request", &set.request, &mut classes.request, (floor.request, ceiling.request)),
                ] {
                    let Some(text) = text else { continue };
                    *class = money(text, decimals)?;
                    if !(floor..=ceiling).contains(class) {
                        let [floor, ceiling] = [floor, ceiling].map(|limit| decimal_text(limit, decimals));
                        return Err(Failure::cannot(format!(
                            "{option}: expected a price between the floor and the ceiling that the operator signed, {floor} to {ceiling}, got \
                             {text}; nothing was written. Higher ones need new terms (candor terms renew)"
                        )));
                    }
                }
            }
            prices.push(listed(price, classes));
        }
        Ok(prices)
    }

    /// Signs and writes. What the node would refuse is refused here, by the same rules.
    fn put(&self, registrar: &Signer, prices: Vec<ListedPrice>, until: UnixMs) -> Result<(), Failure> {
        let now = dev::now();
        // By the clock, so that a lost file does not begin at one again.
        let number = self.newest.as_ref().map_or(0, |newest| newest.list.number).saturating_add(1).max(now.seconds().0);
        let list = PriceList { terms_hash: self.terms().digest(), number, from: now, until, prices };
        let signature = registrar.sign_digest(&list.digest())?;
        let signed = SignedPriceList { list, signature };
        signed
            .check(self.terms(), &K256)
            .map_err(|(expected, got)| Failure::cannot(format!("expected {expected}, got {got}; nothing was written")))?;
        Ok(write_private(&self.file, &signed.encode())?)
    }

    fn show(&self, json_output: bool) {
        let current = self.current();
        let rows: Vec<Value> = self.terms().prices.iter().map(|price| self.row(price)).collect();
        if json_output {
            return print_json(&json!({
                "terms": self.terms().digest().to_string(), "number": current.map(|current| current.list.number),
                "until": current.map(|current| current.list.until.0), "prices": rows,
            }));
        }
        match current {
            Some(current) => say!("list {} until {}", current.list.number, crate::calendar::utc(current.list.until.0)),
            None => say!("no list: the prices of the terms"),
        }
        for row in rows {
            let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            say!("{}   {}", text("model"), text("asset"));
            for class in ["input", "output", "request"] {
                let of = |key: &str| row[key][class].as_str().unwrap_or_default().to_owned();
                say!("   {class:<8} {}   from {} to {}", of("now"), of("floor"), of("ceiling"));
            }
        }
    }

    /// What each model costs now, in a line for people: by the list in force, else by the terms.
    pub(crate) fn in_force(settings: &Settings) -> Option<Vec<(String, String)>> {
        let node = Self::open(settings).ok()?;
        let by = node.current().map_or_else(|| "the terms".to_owned(), |current| format!("list {}", current.list.number));
        let line = |price: &Price| {
            let row = node.row(price);
            let now = |class: &str| row["now"][class].as_str().unwrap_or_default().to_owned();
            let (model, asset) = (row["model"].as_str().unwrap_or_default(), row["asset"].as_str().unwrap_or_default());
            let said = format!("{} in, {} out, {} a request, {asset}, by {by}", now("input"), now("output"), now("request"));
            (model.to_owned(), said)
        };
        Some(node.terms().prices.iter().map(line).collect())
    }

    fn row(&self, price: &Price) -> Value {
        let terms = self.terms();
        let asset = terms.asset(price.chain_id, &price.asset);
        let decimals = asset.map_or(0, |asset| asset.decimals);
        let said = |classes: &Classes| json!({"input": decimal_text(classes.input, decimals), "output": decimal_text(classes.output, decimals), "request": decimal_text(classes.request, decimals)});
        json!({
            "model": terms.model(&price.model).map(|model| model.id.clone()), "asset": asset.map(|asset| asset.name.clone()),
            "now": said(&self.classes(price)), "floor": said(&price.floor), "ceiling": said(&price.ceiling),
        })
    }
}

/// Money with decimals as the smallest unit. Nothing is rounded.
fn money(text: &str, decimals: u8) -> Result<Amount, Failure> {
    let amount = Decimal::parse(text).and_then(|amount| amount.units(decimals));
    amount.map_err(|error| Failure::cannot(format!("expected {error}, got {text:?}")))
}
