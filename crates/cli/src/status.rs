//! `candor status`: how a node is, for its operator: what the host says of itself, what its books say of the money. `--month` writes the
//! books as CSV.
//!
//! The books are read from the node's own directory, so this is for its machine. What anybody may know is at `/status` of the log's port.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use candor_client::plain;
use candor_host::store::{BookedSale, Books};
use candor_report::{NodeText, decimal_text};
use candor_verify::bytes::{Address, Amount};
use candor_verify::receipt::Outcome;
use candor_verify::terms::SignedTerms;
use candor_verify::time::UnixMs;
use candor_x402::settlement::SettlementStatus;
use serde_json::{Value, json};

use crate::calendar::DAY_MS;
use crate::config::{ConfigArg, Settings};
use crate::output::{Done, Failure, print_json, write_out};
use crate::paint::{Ink, Line};
use crate::{calendar, costs, dev, prices};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Show it again every two seconds, until interrupted.
    #[arg(long)]
    watch: bool,
    /// Write the books of one month (UTC), one line for each answer: 2026-11.
    #[arg(long, value_name = "YYYY-MM", requires = "csv", conflicts_with = "watch")]
    month: Option<String>,
    /// As comma-separated values.
    #[arg(long, requires = "month")]
    csv: bool,
}

/// Between two looks with `--watch`.
const EVERY: Duration = Duration::from_secs(2);

pub(crate) async fn run(args: Args, state: &Path, json_output: bool) -> Done {
    let settings = in_force(&args.config.load(state)?);
    if let Some(month) = &args.month {
        return books_of(&settings, month, json_output);
    }
    let mut stop = std::pin::pin!(crate::lifetime::asked_to_stop());
    loop {
        let code = show(&settings, args.watch, json_output).await?;
        if !args.watch {
            return Ok(code);
        }
        tokio::select! {
            () = &mut stop => return Ok(ExitCode::SUCCESS),
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// What the node was started with, options included; the file itself if it never was.
fn in_force(settings: &Settings) -> Settings {
    let written = settings.text.node.data.join("in-force.toml");
    Settings::read(&written).unwrap_or_else(|_| settings.clone())
}

async fn show(settings: &Settings, is_watched: bool, json_output: bool) -> Result<ExitCode, Failure> {
    let url = format!("http://{}/status", reachable(settings.text.node.log_listen));
    let live: Option<Value> = match plain::get(&url).await {
        Ok(body) => serde_json::from_slice(&body).ok(),
        Err(_) => None,
    };
    let money = Money::of(settings)?;
    let terms =
        settings.text.terms.file.as_ref().and_then(|path| std::fs::read(path).ok()).and_then(|bytes| SignedTerms::parse(&bytes).ok());
    if json_output {
        print_json(&json!({
            "running": live.is_some(), "host": live, "money": money.json(&settings.text),
            "terms_until_ms": terms.as_ref().map(|signed| signed.terms.not_after.0),
        }));
    } else {
        if is_watched {
            // Home, and everything below it gone: a screen that stands still.
            crate::output::clear();
        }
        print(settings, live.as_ref(), &money, terms.as_ref());
    }
    // 0: it serves and nothing troubles it; 1: it runs and does not; 2: nobody answers.
    Ok(ExitCode::from(match &live {
        None => 2,
        Some(live) => u8::from(live["open"] != true || live["troubles"].as_object().is_some_and(|troubles| !troubles.is_empty())),
    }))
}

/// An address that stands for all of this machine's is asked on loopback.
pub(crate) fn reachable(listen: std::net::SocketAddr) -> std::net::SocketAddr {
    match (listen.ip().is_unspecified(), listen.is_ipv6()) {
        (false, _) => listen,
        (true, false) => ([127, 0, 0, 1], listen.port()).into(),
        (true, true) => (std::net::Ipv6Addr::LOCALHOST, listen.port()).into(),
    }
}

fn print(settings: &Settings, live: Option<&Value>, money: &Money, terms: Option<&SignedTerms>) {
    let (text, now) = (&settings.text, dev::now());
    let row = |ink: Ink, sign: &str, what: &str, found: String| Line::new().put(ink, sign).plain(format!(" {what:<12} {found}")).say();
    let well = |what: &str, found: String| row(Ink::Good, "✓", what, found);
    let warn = |what: &str, found: String| row(Ink::Warn, "!", what, found);
    let ill = |what: &str, found: String| row(Ink::Bad, "✗", what, found);
    match live {
        None => ill("node", format!("nobody answers at {}", reachable(text.node.log_listen))),
        Some(live) => {
            let (phase, open) = (live["phase"].as_str().unwrap_or("?"), live["open"].as_bool().unwrap_or_default());
            let found = format!("{phase}, {}", if open { "clients are served" } else { "no client is served" });
            if open {
                well("node", found)
            } else {
                warn("node", found)
            }
            print_live(live, &well, &warn, &ill);
        }
    }
    if let Some(signed) = terms {
        let until = signed.terms.not_after;
        let days = until.0.saturating_sub(now.0) / DAY_MS;
        let found = format!("until {} ({days} days), operator {}", calendar::utc(until.0), signed.terms.operator);
        if until <= now {
            ill("terms", format!("ended at {}; candor terms renew, and start again", calendar::utc(until.0)));
        } else if days < crate::terms::WARN_DAYS {
            warn("terms", format!("{found}; candor terms renew"))
        } else {
            well("terms", found)
        }
    }
    let in_force = prices::Node::in_force(settings);
    for model in &text.models {
        let at_most = || {
            let prices = model.prices.iter();
            prices
                .map(|price| format!("at most {} in, {} out, {} a request {}", price.input, price.output, price.request, price.asset))
                .collect()
        };
        let listed: Vec<String> = match &in_force {
            Some(known) => known.iter().filter(|(id, _)| *id == model.id).map(|(_, said)| said.clone()).collect(),
            // Of a node that never served.
            None => at_most(),
        };
        if text.guard.model.as_ref() == Some(&model.id) {
            well("guard", format!("{}   judges conversations before the others answer them", model.id));
            continue;
        }
        well("model", format!("{}   {}", model.id, if listed.is_empty() { "without payment".to_owned() } else { listed.join("; ") }));
    }
    well("24 hours", format!("{} answers, {} tokens read, {} written{}", money.answers, money.prompt, money.completion, money.words(text)));
    if money.cut != 0 {
        warn("24 hours", format!("{} answers were cut by the node's time: limits.generation_seconds", money.cut));
    }
    if money.pending != 0 {
        warn("settlements", format!("{} are open, oldest payment {}", money.pending, money.oldest.clone().unwrap_or_default()));
    }
    for (code, count) in &money.failed {
        ill("settlements", format!("{count} not paid in 24 hours: {code}"));
    }
    well("store", format!("{} MiB{}", money.bytes / 1_048_576, text.storage.quota_mib.map(|mib| format!(" of {mib}")).unwrap_or_default()));
}

/// What the host says of itself.
fn print_live(live: &Value, well: &dyn Fn(&str, String), warn: &dyn Fn(&str, String), ill: &dyn Fn(&str, String)) {
    let until = live["valid_until"].as_u64();
    match (live["registered"].as_bool(), until) {
        (Some(true), Some(until)) => {
            let lapses = live["lapses_in_s"].as_u64().unwrap_or_default();
            let found = format!(
                "registered; its newest document counts until {}, buyers pay for {} h more",
                calendar::utc(until.saturating_mul(1000)),
                lapses / 3600
            );
            if lapses < 86_400 { warn("registry", found) } else { well("registry", found) }
        }
        (Some(true), None) => well("registry", "registered".to_owned()),
        _ => warn("registry", "not registered yet".to_owned()),
    }
    // One boot needs no line of its own: all the others are about it.
    for boot in live["boots"].as_array().into_iter().flatten().filter(|boot| boot["stage"] != "selling") {
        let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        let (stage, log) = (text(&boot["stage"]), text(&boot["log"]["id"]));
        let found = match stage.as_str() {
            "coming" if boot["registered"] == true => {
                format!("another one, log {log}, is registered and takes over when that is in a block that stays")
            }
            "coming" => format!("another one is coming: {}; the one that sells is as before", text(&boot["phase"])),
            _ => match boot["waits_for"].as_str() {
                Some("connections") => {
                    format!("the former one, log {log}, ends when its clients have gone: {} connections", boot["connections"])
                }
                Some("answers") => format!("the former one, log {log}, finishes its answers"),
                Some(_) => format!("the former one, log {log}, does not answer; it may be gone"),
                None => format!("the former one, log {log}, ends now"),
            },
        };
        warn("boot", found);
    }
    let log = &live["log"];
    if log.is_object() {
        let (size, anchored) = (log["checkpoint"].as_u64().unwrap_or_default(), log["anchored"].as_u64().unwrap_or_default());
        let since = live["unanchored_s"].as_u64();
        let found =
            format!("{size} receipts signed, {anchored} anchored{}", since.map(|s| format!(", the rest since {s} s")).unwrap_or_default());
        if since.is_some_and(|seconds| 2 * 3600 < seconds) { warn("log", found) } else { well("log", found) }
    }
    let settlement = live["settlement_wei"].as_str().and_then(|text| text.parse::<u128>().ok()).filter(|wei| *wei != 0);
    for (role, name) in [("gas", "gas_account"), ("anchor", "anchor_account")] {
        let account = &live[name];
        let address = account["address"].as_str().unwrap_or("?");
        match account["wei"].as_str().and_then(|text| text.parse::<u128>().ok()) {
            None => warn("gas", format!("{role} {address}: balance not read yet")),
            Some(wei) => {
                let lasts = settlement.filter(|_| role == "gas").map(|cost| wei / cost);
                let found = format!(
                    "{role} {address} has {} ether{}",
                    costs::ether_held(wei),
                    lasts.map(|count| format!(", enough for {count} payments")).unwrap_or_default()
                );
                if wei == 0 { ill("gas", found) } else { well("gas", found) }
            }
        }
    }
    let (endpoints, healthy) = (live["rpc"]["endpoints"].as_u64().unwrap_or_default(), live["rpc"]["well"].as_u64().unwrap_or_default());
    let found = format!(
        "{healthy} of {endpoints} endpoints are well{}",
        live["head"]["number"].as_u64().map(|n| format!(", block {n}")).unwrap_or_default()
    );
    if healthy < endpoints {
        warn("chain", found)
    } else {
        well("chain", found)
    }
    for (part, code) in live["troubles"].as_object().into_iter().flatten() {
        ill("trouble", format!("{part}: {}", code.as_str().unwrap_or("?")));
    }
}

/// The last 24 hours, and what is open.
#[derive(Default)]
struct Money {
    answers: u64,
    prompt: u64,
    completion: u64,
    cut: u64,
    free: u64,
    /// By chain and token: charged, and of it what is settled.
    charged: BTreeMap<(u64, Address), (Amount, Amount)>,
    failed: BTreeMap<&'static str, u64>,
    pending: usize,
    oldest: Option<String>,
    bytes: u64,
}

impl Money {
    fn of(settings: &Settings) -> Result<Self, Failure> {
        let cannot = |error: &dyn std::fmt::Display| Failure::cannot(error.to_string());
        let mut money = Self::default();
        let Some(books) = Books::open(&settings.text.node.data.join("host")).map_err(|error| cannot(&error))? else { return Ok(money) };
        let now = dev::now();
        let since = UnixMs(now.0.saturating_sub(DAY_MS));
        books
            .sales(since, UnixMs(u64::MAX), &mut |sale| {
                money.count(&sale);
                true
            })
            .map_err(|error| cannot(&error))?;
        let open = books.open_settlements().map_err(|error| cannot(&error))?;
        money.pending = open.len();
        money.oldest = open.first().map(|(payment, _)| format!("{payment:#}"));
        money.bytes = books.bytes().map_err(|error| cannot(&error))?;
        Ok(money)
    }

    fn count(&mut self, sale: &BookedSale) {
        let (money, work) = (&sale.receipt.money, &sale.receipt.work);
        self.answers += 1;
        self.prompt = self.prompt.saturating_add(work.prompt_tokens);
        self.completion = self.completion.saturating_add(work.completion_tokens);
        self.cut += u64::from(work.outcome == Outcome::CutByNode);
        if !money.scheme.is_paid() {
            self.free += 1;
            return;
        }
        let sum = self.charged.entry((money.chain_id, money.asset)).or_default();
        sum.0 = Amount(sum.0.0.saturating_add(money.charged.0));
        match sale.settlement {
            Some(SettlementStatus::Settled { .. }) => sum.1 = Amount(sum.1.0.saturating_add(money.charged.0)),
            Some(SettlementStatus::Failed { code }) => *self.failed.entry(code.as_str()).or_default() += 1,
            Some(SettlementStatus::Expired) => *self.failed.entry("expired").or_default() += 1,
            Some(SettlementStatus::Pending { .. }) | None => {}
        }
    }

    fn words(&self, text: &NodeText) -> String {
        let free = if self.free == 0 { String::new() } else { format!(", {} without payment", self.free) };
        let sums = self.charged.iter().map(|((chain_id, asset), (charged, settled))| {
            let (symbol, decimals) = known(text, *chain_id, asset);
            format!(", charged {} {symbol}, settled {}", decimal_text(*charged, decimals), decimal_text(*settled, decimals))
        });
        sums.collect::<String>() + &free
    }

    fn json(&self, text: &NodeText) -> Value {
        let sums = self.charged.iter().map(|((chain_id, asset), (charged, settled))| {
            let (symbol, decimals) = known(text, *chain_id, asset);
            json!({"chain_id": chain_id, "asset": asset.to_string(), "symbol": symbol, "charged": decimal_text(*charged, decimals),
                   "settled": decimal_text(*settled, decimals)})
        });
        json!({
            "hours": 24, "answers": self.answers, "without_payment": self.free, "prompt_tokens": self.prompt, "completion_tokens": self.completion,
            "cut_by_node": self.cut, "sums": sums.collect::<Vec<_>>(), "settlements_open": self.pending, "settlements_failed": self.failed,
            "store_bytes": self.bytes,
        })
    }
}

/// Symbol and decimals of a token; one that the file does not name any more is counted in its smallest unit.
fn known(text: &NodeText, chain_id: u64, asset: &Address) -> (String, u8) {
    let found = text.assets.iter().find(|part| part.chain_id == chain_id && part.address == *asset);
    found.map_or_else(|| (asset.to_string(), 0), |part| (part.symbol.clone(), part.decimals))
}

/// One line for each answer of a month, the newest first.
fn books_of(settings: &Settings, month: &str, json_output: bool) -> Done {
    let (since, until) =
        calendar::month(month).ok_or_else(|| Failure::cannot(format!("--month: expected a month such as 2026-11, got {month:?}")))?;
    let cannot = |error: &dyn std::fmt::Display| Failure::cannot(error.to_string());
    let directory = settings.text.node.data.join("host");
    let books = Books::open(&directory).map_err(|error| cannot(&error))?;
    let books = books.ok_or_else(|| Failure::cannot(format!("{}: no database of a host", directory.display())))?;
    let mut rows = Vec::new();
    if !json_output {
        write_out(format_args!("{}\n", COLUMNS.join(",")));
    }
    let read = books.sales(UnixMs(since), UnixMs(until), &mut |sale| {
        let row = columns(settings, &sale);
        match json_output {
            true => rows.push(Value::Object(COLUMNS.iter().map(|name| (*name).to_owned()).zip(row.into_iter().map(Value::from)).collect())),
            false => write_out(format_args!("{}\n", row.join(","))),
        }
        true
    });
    read.map_err(|error| cannot(&error))?;
    if json_output {
        print_json(&json!({"month": month, "rows": rows}));
    }
    Ok(ExitCode::SUCCESS)
}

/// The columns of the books. None of them has a comma or a quote in it.
const COLUMNS: [&str; 14] = [
    "finished",
    "log_id",
    "sequence",
    "model_id",
    "outcome",
    "prompt_tokens",
    "completion_tokens",
    "scheme",
    "chain_id",
    "asset",
    "charged",
    "payer",
    "settlement",
    "transaction",
];

fn columns(settings: &Settings, sale: &BookedSale) -> [String; 14] {
    let (receipt, money, work) = (&sale.receipt, &sale.receipt.money, &sale.receipt.work);
    let (symbol, decimals) = known(&settings.text, money.chain_id, &money.asset);
    let (state, transaction) = match sale.settlement {
        None => ("none", String::new()),
        Some(SettlementStatus::Settled { tx_hash, .. }) => ("settled", tx_hash.to_string()),
        Some(SettlementStatus::Pending { tx_hash }) => ("open", tx_hash.map(|hash| hash.to_string()).unwrap_or_default()),
        Some(SettlementStatus::Failed { code }) => (code.as_str(), String::new()),
        Some(SettlementStatus::Expired) => ("expired", String::new()),
    };
    [
        calendar::utc(work.finished_at.0),
        receipt.log_id.to_string(),
        receipt.sequence.to_string(),
        work.model_id.to_string(),
        work.outcome.as_str().to_owned(),
        work.prompt_tokens.to_string(),
        work.completion_tokens.to_string(),
        money.scheme.as_str().to_owned(),
        money.chain_id.to_string(),
        symbol,
        decimal_text(money.charged, decimals),
        money.payer.to_string(),
        state.to_owned(),
        transaction,
    ]
}
