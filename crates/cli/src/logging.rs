//! The log of a node: what its processes say while they run, on standard error, a line for each event. Text for people, or JSON for tools.
//!
//! ```text
//! 2026-11-30T02:01:28.123Z INFO  host::settle  payment 0x3c1f8a02… settled in 0x77aa01bc…: 120 of 0x5fbdb231…
//! {"time":"…","level":"info","target":"host::settle","event":"payment_settled","message":"…","payment_id":"0x…","tx_hash":"0x…",…}
//! ```
//!
//! Everything goes through `tracing`, and what is told is told in [`notice`] and the functions below it, nowhere else: a closed list of events, each with its level,
//! target and fields. Other crates' events are never shown, whatever level is asked for: those of HTTP and RPC libraries hold URLs and bodies.
//!
//! - **Invariant:** no prompt, answer, signature, calldata or RPC URL: notices have none, and the enclave's events have no text at all.
//! - **Invariant:** one event is one line, with no control character: it leaves through `output`.

use std::fmt::{self, Write as _};
use std::path::Path;
use std::str::FromStr;

use candor_client::{ProxyAnswer, ProxyEnd, ProxyRecord};
use candor_host::Notice;
use candor_link::{EventLevel, LogEvent};
use candor_report::{LogFormat, LogPart};
use candor_verify::text::one_line;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::calendar;
use crate::config::Settings;
use crate::dev;
use crate::output::{Failure, note};

/// How a process of a node logs, over what its file says.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct LogArgs {
    /// How the log on standard error looks: text or json; text if nothing says.
    #[arg(long, value_name = "text|json", value_parser = format)]
    log_format: Option<LogFormat>,
    /// What is logged: off, error, warn, info or debug; or by target, for example info,host::settle=debug,enclave=warn. Info if nothing says.
    #[arg(long, value_name = "LEVEL|TARGET=LEVEL,…", value_parser = Levels::from_str)]
    log_level: Option<Levels>,
}

impl LogArgs {
    pub(crate) fn put(self, settings: &mut Settings) {
        settings.set(self.log_format, |text, format| text.log.format = format);
        settings.set(self.log_level, |text, levels| text.log.level = levels.to_string());
    }

    /// By itself, for a process that has no file.
    pub(crate) fn part(self) -> LogPart {
        let usual = LogPart::default();
        LogPart { format: self.log_format.unwrap_or(usual.format), level: self.log_level.map_or(usual.level, |levels| levels.to_string()) }
    }
}

fn format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => Err(format!("expected text or json, got {other:?}")),
    }
}

/// The levels that a file asks for.
pub(crate) fn check(part: &LogPart) -> Result<Levels, Failure> {
    Levels::from_str(&part.level).map_err(|error| Failure::cannot(format!("log.level: {error}")))
}

/// From here on this process logs so. Once per process; a second time changes nothing.
pub(crate) fn start(part: &LogPart) -> Result<(), Failure> {
    let levels = check(part)?;
    drop(tracing::subscriber::set_global_default(Log { format: part.format, levels }));
    Ok(())
}

/// Every target, as `--log-level` knows them.
const TARGETS: [&str; 11] = [
    "enclave",
    "host",
    "host::anchor",
    "host::clients",
    "host::gas",
    "host::link",
    "host::publish",
    "host::registration",
    "host::rpc",
    "host::settle",
    "host::store",
];

/// The target of what `candor serve` does itself.
const SERVE: &str = "serve";

/// The target of `candor proxy`.
const PROXY: &str = "proxy";

/// Which events are shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Levels {
    usual: LevelFilter,
    // Targets with a level of their own; one is good for those below it too.
    special: Vec<(String, LevelFilter)>,
}

impl Levels {
    /// The level of the longest target that fits. Of targets that are not ours nothing is shown.
    fn of(&self, target: &str) -> LevelFilter {
        if !is_ours(target) {
            return LevelFilter::OFF;
        }
        let fits = |named: &str| target == named || target.strip_prefix(named).is_some_and(|rest| rest.starts_with("::"));
        let special = self.special.iter().filter(|(named, _)| fits(named)).max_by_key(|(named, _)| named.len());
        special.map_or(self.usual, |(_, level)| *level)
    }
}

fn is_ours(target: &str) -> bool {
    target == SERVE || target == PROXY || TARGETS.contains(&target)
}

impl FromStr for Levels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut usual, mut special) = (None, Vec::<(String, LevelFilter)>::new());
        for part in text.split(',') {
            match part.split_once('=') {
                None if usual.is_some() => return Err(format!("{text:?} has two levels without a target")),
                None => usual = Some(level(part)?),
                Some((target, _)) if !is_ours(target) => {
                    return Err(format!("there is no target {target:?}; there are {}, {SERVE}, {PROXY}", TARGETS.join(", ")));
                }
                Some((target, _)) if special.iter().any(|(named, _)| named == target) => {
                    return Err(format!("{target} has two levels"));
                }
                Some((target, named)) => special.push((target.to_owned(), level(named)?)),
            }
        }
        Ok(Self { usual: usual.unwrap_or(LevelFilter::INFO), special })
    }
}

fn level(text: &str) -> Result<LevelFilter, String> {
    match text {
        "off" => Ok(LevelFilter::OFF),
        "error" => Ok(LevelFilter::ERROR),
        "warn" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        _ => Err(format!("expected a level (off, error, warn, info, debug), got {text:?}")),
    }
}

impl fmt::Display for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.usual)?;
        self.special.iter().try_for_each(|(target, level)| write!(f, ",{target}={level}"))
    }
}

/// Writes events. There are no spans: a line says everything by itself.
struct Log {
    format: LogFormat,
    levels: Levels,
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.levels.of(metadata.target())
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let (metadata, mut said) = (event.metadata(), Said::default());
        event.record(&mut said);
        let line = said.line(self.format, metadata, &calendar::utc_millis(dev::now().0));
        note!("{line}");
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// What one event says.
#[derive(Default)]
struct Said {
    message: String,
    fields: Map<String, Value>,
}

impl Said {
    fn line(self, format: LogFormat, metadata: &Metadata<'_>, time: &str) -> String {
        let (level, target) = (metadata.level(), metadata.target());
        match format {
            // A message that quotes a system that was asked may have lines: it stays one event.
            LogFormat::Text => format!("{time} {level:<5} {target}  {}", self.message.replace(['\n', '\r'], " ")),
            LogFormat::Json => {
                let mut line = Map::new();
                line.insert("time".to_owned(), time.into());
                line.insert("level".to_owned(), level.as_str().to_ascii_lowercase().into());
                line.insert("target".to_owned(), target.into());
                line.insert("event".to_owned(), self.fields.get("event").cloned().unwrap_or_default());
                line.insert("message".to_owned(), self.message.into());
                line.extend(self.fields);
                crate::output::escaped(&Value::Object(line).to_string())
            }
        }
    }

    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.fields.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            // Writing to a String cannot fail.
            "message" => drop(write!(self.message, "{value:?}")),
            _ => self.put(field, format!("{value:?}")),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match (field.name(), serde_json::from_str(value)) {
            (DETAILS, Ok(Value::Object(details))) => self.fields.extend(details),
            _ => self.put(field, value),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}

/// The field whose members become those of the line: names that `tracing` would have to know beforehand.
const DETAILS: &str = "details";

macro_rules! told {
    ($level:ident, $target:expr, $event:expr, $message:expr $(, $field:ident = $value:expr)* $(,)?) => {
        tracing::event!(target: $target, Level::$level, event = $event, $($field = $value,)* "{}", $message)
    };
}

macro_rules! told_by_enclave {
    ($level:ident, $event:expr) => {
        told!($level, "enclave", $event.event.name(), $event, details = details($event))
    };
}

/// An event's own fields, by their names: members of a line of JSON.
fn details(event: &LogEvent) -> String {
    let integers = event.event.integers().iter().zip(&event.integers).map(|(name, value)| ((*name).to_owned(), (*value).into()));
    let digest = event.event.digest().zip(event.digest).map(|(name, digest)| (name.to_owned(), digest.to_string().into()));
    let fields: Map<String, Value> = integers.chain(digest).chain([("count".to_owned(), event.count.into())]).collect();
    Value::Object(fields).to_string()
}

/// What every line about a request has.
macro_rules! told_of_request {
    ($level:ident, $record:expr, $message:expr $(, $field:ident = $value:expr)* $(,)?) => {
        told!(
            $level,
            PROXY,
            "request",
            one_line($message),
            method = $record.method.as_str(),
            path = $record.path.as_str(),
            status = u64::from($record.status),
            ms = $record.took_ms
            $(, $field = $value)*
        )
    };
}

/// Puts one request of a proxy into the log: a line that says what it cost and where its receipt is, and no word of what was asked.
pub(crate) fn proxied(record: &ProxyRecord) {
    let ProxyRecord { method, path, status, took_ms, .. } = record;
    let (model, node) = (record.model.as_deref().unwrap_or("-"), record.node.as_deref().unwrap_or("-"));
    match &record.end {
        ProxyEnd::Answered(answer) => {
            let ProxyAnswer { receipt_id, prompt_tokens, completion_tokens, charge, outcome, .. } = answer;
            let (verdict, bundle) =
                (answer.verdict.join(" · "), answer.bundle.as_ref().map_or_else(String::new, |path| path.display().to_string()));
            let message = format!(
                "{method} {path} {status} {model} {prompt_tokens} + {completion_tokens} tokens, {charge}, {verdict}, {took_ms} ms, receipt {receipt_id}"
            );
            told_of_request!(
                INFO,
                record,
                &message,
                model = model,
                node = node,
                prompt_tokens = *prompt_tokens,
                completion_tokens = *completion_tokens,
                charge = charge.as_str(),
                verdict = verdict.as_str(),
                outcome = *outcome,
                receipt_id = receipt_id.as_str(),
                bundle = bundle.as_str(),
            );
        }
        ProxyEnd::Failed(code) => {
            let message = format!("{method} {path} {status} {code} {model}, {took_ms} ms");
            told_of_request!(WARN, record, &message, model = model, node = node, code = code.as_str());
        }
        // Lists, pages, health: nothing is bought, and a page looks every few seconds.
        _ => told_of_request!(DEBUG, record, &format!("{method} {path} {status}, {took_ms} ms")),
    }
}

/// What a proxy has to tell besides, in words.
pub(crate) fn proxy_notice(line: &str) {
    told!(WARN, PROXY, "notice", one_line(line));
}

/// Puts what a host tells into the log.
pub(crate) fn notice(notice: &Notice) {
    match notice {
        Notice::Listening { clients, http } => {
            told!(INFO, "host", "listening", notice, clients = display(clients), log = display(http))
        }
        Notice::Metrics { address } => told!(INFO, "host", "metrics_listening", notice, address = display(address)),
        Notice::EnclaveConnected => told!(INFO, "host::link", "enclave_connected", notice),
        Notice::EnclaveLost { .. } => told!(WARN, "host::link", "enclave_lost", notice),
        Notice::Ready { log_id } => told!(INFO, "host::link", "enclave_ready", notice, log_id = display(log_id)),
        Notice::Registered { log_id } => told!(INFO, "host::registration", "registered", notice, log_id = display(log_id)),
        Notice::Open => told!(INFO, "host::registration", "open", notice),
        Notice::Anchored { log_id, size, tx_hash, gas_used } => told!(
            INFO,
            "host::anchor",
            "anchored",
            notice,
            log_id = display(log_id),
            size = *size,
            tx_hash = display(tx_hash),
            gas_used = *gas_used,
        ),
        Notice::Settled { payment_id, tx_hash, chain_id, asset, amount } => told!(
            INFO,
            "host::settle",
            "payment_settled",
            notice,
            payment_id = display(payment_id),
            tx_hash = display(tx_hash),
            chain_id = *chain_id,
            asset = display(asset),
            amount = display(amount),
        ),
        Notice::SettlementFailed { payment_id, code } => {
            told!(WARN, "host::settle", "payment_failed", notice, payment_id = display(payment_id), code = *code)
        }
        Notice::Enclave(event) => match event.event.level() {
            EventLevel::Error => told_by_enclave!(ERROR, event),
            EventLevel::Warning => told_by_enclave!(WARN, event),
            EventLevel::Info => told_by_enclave!(INFO, event),
        },
        Notice::Trouble { part, .. } | Notice::Recovered { part } => about_a_part(notice, part),
        Notice::HandingOver { log_id } => told!(INFO, "host", "handing_over", notice, log_id = display(log_id)),
        Notice::HandedOver { from, to } => {
            told!(INFO, "host", "handed_over", notice, from = display(from), log_id = display(to))
        }
        Notice::Drained { log_id, still: None } => told!(INFO, "host", "drained", notice, log_id = display(log_id)),
        Notice::Drained { log_id, .. } => told!(WARN, "host", "drained", notice, log_id = display(log_id)),
        Notice::BootRefused { .. } => told!(ERROR, "host", "boot_refused", notice),
        // One that a later version adds is told too.
        _ => told!(INFO, "host", "notice", notice),
    }
}

macro_rules! told_by_part {
    ($notice:expr, $part:expr, $($($name:literal)|+ => $target:literal,)*) => {
        match ($part, matches!($notice, Notice::Recovered { .. })) {
            $(($($name)|+, true) => told!(INFO, $target, "recovered", $notice, part = $part),
            ($($name)|+, false) => told!(WARN, $target, "trouble", $notice, part = $part),)*
            (_, true) => told!(INFO, "host", "recovered", $notice, part = $part),
            (_, false) => told!(WARN, "host", "trouble", $notice, part = $part),
        }
    };
}

fn about_a_part(notice: &Notice, part: &str) {
    told_by_part!(notice, part,
        "anchor" => "host::anchor",
        "clients" => "host::clients",
        "gas" => "host::gas",
        "enclave" => "host::link",
        "publish" => "host::publish",
        "attestation" | "registration" => "host::registration",
        "chain" => "host::rpc",
        "payers" | "prices" | "settlement" => "host::settle",
        "answers" | "store" => "host::store",
    );
}

/// What `candor serve` does with the two halves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Half {
    Enclave,
    Host,
}

/// A half of the node ended, and another takes its place. `how` is for people.
pub(crate) fn half_ended(half: Half, how: &str) {
    match half {
        Half::Enclave => {
            told!(WARN, "serve", "enclave_ended", format_args!("the enclave ended ({how}); starting another, whose log continues this one"))
        }
        Half::Host => told!(WARN, "serve", "host_ended", format_args!("the host ended ({how}); starting it again, its log goes on")),
    }
}

/// The enclave beside the one that sells ended. `what` says which it was, for people.
pub(crate) fn beside_ended(what: &str, how: &str) {
    told!(WARN, "serve", "enclave_beside_ended", format_args!("{what} ended ({how})"));
}

/// Neither of two boots sells: the halves end, and are started again.
pub(crate) fn begins_anew(why: &str) {
    told!(WARN, "serve", "begins_anew", format_args!("the node begins anew: {why}"));
}

/// The files of a boot cannot be written, which runs without them.
pub(crate) fn files_not_written(failure: &Failure) {
    let message = format!("the new boot sells, and its files are not in force yet: {}; tried again until they are", failure.message());
    told!(WARN, "serve", "files_not_written", message);
}

/// They are written now.
pub(crate) fn files_written() {
    told!(INFO, "serve", "files_written", "the files of the boot that sells are in force");
}

/// A second enclave was started, which is to take over.
pub(crate) fn upgrading(program: &Path) {
    told!(INFO, "serve", "upgrading", format_args!("started a second enclave ({}), which is to take over", program.display()));
}

/// `serve` said something to its host that it does not understand, which is a bug of ours.
pub(crate) fn no_order() {
    told!(WARN, "host", "no_order", "standard input: expected what to do, got something else; nothing was done");
}

/// A policy was written for clients on this machine.
pub(crate) fn wrote_policy(path: &Path, chain_id: u64) {
    let message = format!("wrote {}: it accepts SIMULATED evidence of this very program, on chain {chain_id} only", path.display());
    told!(INFO, "serve", "policy_written", message, chain_id = chain_id);
}

/// The terms of the node are good for some days more.
pub(crate) fn terms_end(path: &Path, until: &str) {
    told!(WARN, "serve", "terms_end", format_args!("the terms in {} end at {until}: sign new ones before (candor terms)", path.display()));
}

/// A published address cannot be reached from here.
pub(crate) fn unreachable(url: &str, why: &str) {
    told!(WARN, "serve", "address_unreachable", format_args!("{url} cannot be reached from here: {why}; clients may not reach it either"));
}

/// `serve` was asked to stop.
pub(crate) fn stopping() {
    told!(INFO, "serve", "stopping", "asked to stop: the halves end first");
}

#[cfg(test)]
mod tests {
    use candor_link::EnclaveEvent;
    use candor_verify::bytes::{Address, Amount, Hash32};

    use super::*;

    #[test]
    fn levels_are_read_and_written_and_what_is_no_level_or_target_is_named() {
        for (text, shown) in [
            ("info", "info"),
            ("host::settle=debug", "info,host::settle=debug"),
            ("warn,host=error,enclave=off", "warn,host=error,enclave=off"),
        ] {
            let levels = text.parse::<Levels>().unwrap();
            assert_eq!(levels.to_string(), shown);
            assert_eq!(shown.parse::<Levels>().unwrap(), levels);
        }
        for (text, says) in [
            ("loud", "expected a level"),
            ("", "expected a level"),
            ("INFO", "expected a level"),
            ("info,warn", "two levels"),
            ("hyper=debug", "no target"),
            ("host::settl=debug", "no target"),
            ("host=info,host=warn", "two levels"),
            ("host=", "expected a level"),
        ] {
            let error = text.parse::<Levels>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn the_longest_target_decides_and_of_other_crates_nothing_is_shown() {
        let levels: Levels = "warn,host=error,host::settle=debug".parse().unwrap();
        for (target, level) in [
            ("host::settle", LevelFilter::DEBUG),
            ("host::anchor", LevelFilter::ERROR),
            ("host", LevelFilter::ERROR),
            ("serve", LevelFilter::WARN),
            ("alloy_transport_http", LevelFilter::OFF),
            ("hyper::proto", LevelFilter::OFF),
            ("hostile", LevelFilter::OFF),
        ] {
            assert_eq!(levels.of(target), level, "{target}");
        }
    }

    /// The lines of what is told meanwhile.
    fn lines(format: LogFormat, tell: impl FnOnce()) -> Vec<(&'static str, String)> {
        use std::sync::{Arc, Mutex};
        struct Kept(LogFormat, Arc<Mutex<Vec<(&'static str, String)>>>);
        impl Subscriber for Kept {
            fn enabled(&self, metadata: &Metadata<'_>) -> bool {
                is_ours(metadata.target())
            }
            fn new_span(&self, _: &Attributes<'_>) -> Id {
                Id::from_u64(1)
            }
            fn record(&self, _: &Id, _: &Record<'_>) {}
            fn record_follows_from(&self, _: &Id, _: &Id) {}
            fn event(&self, event: &Event<'_>) {
                let mut said = Said::default();
                event.record(&mut said);
                let line = said.line(self.0, event.metadata(), "2026-11-30T02:01:28.123Z");
                self.1.lock().unwrap().push((event.metadata().target(), line));
            }
            fn enter(&self, _: &Id) {}
            fn exit(&self, _: &Id) {}
        }
        let kept = Arc::<Mutex<Vec<_>>>::default();
        tracing::subscriber::with_default(Kept(format, Arc::clone(&kept)), tell);
        let lines = kept.lock().unwrap();
        lines.clone()
    }

    fn settled() -> Notice {
        Notice::Settled {
            payment_id: Hash32([0x3c; 32]),
            tx_hash: Hash32([0x77; 32]),
            chain_id: 31337,
            asset: Address([0x5f; 20]),
            amount: Amount(120),
        }
    }

    #[test]
    fn a_line_for_people_has_time_level_and_target_and_short_digests() {
        let said = lines(LogFormat::Text, || notice(&settled()));
        let expected = "2026-11-30T02:01:28.123Z INFO  host::settle  payment 0x3c3c3c3c… settled in 0x77777777…: 120 of 0x5f5f5f5f…";
        assert_eq!(said, [("host::settle", expected.to_owned())]);
    }

    #[test]
    fn a_line_for_tools_is_one_object_with_an_event_of_the_list_and_whole_digests() {
        let event = LogEvent { event: EnclaveEvent::ModelTaken, count: 1, integers: vec![16], digest: Some(Hash32([0xab; 32])) };
        let said = lines(LogFormat::Json, || {
            notice(&settled());
            notice(&Notice::Enclave(event));
        });
        let read: Vec<Value> = said.iter().map(|(_, line)| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read[0]["event"], "payment_settled");
        assert_eq!(read[0]["payment_id"], format!("0x{}", "3c".repeat(32)));
        assert_eq!((read[0]["level"].as_str(), read[0]["time"].as_str()), (Some("info"), Some("2026-11-30T02:01:28.123Z")));
        assert_eq!((read[1]["event"].as_str(), read[1]["target"].as_str()), (Some("model_taken"), Some("enclave")));
        assert_eq!((read[1]["bytes"].as_u64(), read[1]["count"].as_u64()), (Some(16), Some(1)));
        assert_eq!(read[1]["model"], format!("0x{}", "ab".repeat(32)));
    }

    #[test]
    fn every_part_has_a_target_and_one_message_is_one_line_however_it_was_written() {
        for part in candor_host::PARTS {
            let hostile = || {
                notice(&Notice::Trouble { part, message: "a\r\n2026-11-30T02:01:28.123Z INFO  host  forged \u{1b}[2K\u{202e}".to_owned() });
                notice(&Notice::Recovered { part });
            };
            for format in [LogFormat::Text, LogFormat::Json] {
                let said = lines(format, hostile);
                assert_eq!(said.len(), 2);
                assert!(
                    said.iter().all(|(target, line)| *target != "host" && TARGETS.contains(target) && !line.contains(['\n', '\r'])),
                    "{said:?}"
                );
            }
        }
    }
}
