//! How each field of `node.toml` is read. A value is judged where it is read, so that the TOML reader shows its place.

use core::net::SocketAddr;

use candor_verify::bytes::{Address, Hash32};
use candor_verify::terms::{MAX_LIST, MAX_TEXT};
use serde::de::{Deserialize, Deserializer, Error};

use super::{AssetPart, ChainPart, CheckUrls, LogFormat, NODE_VERSION, NodeModel, PricePart};

/// Chains of one node.
const CHAINS_MAX: usize = 8;

/// Longest level text: a level and some targets.
const LEVEL_MAX: usize = 256;

/// Shortest and longest time between anchors, in seconds: a day is the most that buyers would wait for `ANCHORED`.
const ANCHOR_SECONDS: std::ops::RangeInclusive<u64> = 1..=86_400;

fn refused<E: Error>(expected: &str, got: impl std::fmt::Display) -> E {
    E::custom(format!("expected {expected}, got {got}"))
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    String::deserialize(deserializer)
}

fn within<'de, D: Deserializer<'de>>(deserializer: D, range: std::ops::RangeInclusive<u64>) -> Result<u64, D::Error> {
    let got = i64::deserialize(deserializer)?;
    let expected = format!("a number from {} to {}", range.start(), range.end());
    u64::try_from(got).ok().filter(|number| range.contains(number)).ok_or_else(|| refused(&expected, got))
}

fn few<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D, max: usize) -> Result<Vec<T>, D::Error> {
    let items = Vec::deserialize(deserializer)?;
    if items.len() <= max { Ok(items) } else { Err(refused(&format!("at most {max}"), items.len())) }
}

fn parse_address<E: Error>(text: &str) -> Result<Address, E> {
    let address = Address::from_hex(text).filter(|address| !address.is_zero());
    address.ok_or_else(|| refused("0x and 40 hex digits, not all zero", format_args!("{text:?}")))
}

pub(super) fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    within(deserializer, NODE_VERSION..=NODE_VERSION)
}

pub(super) fn chains<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ChainPart>, D::Error> {
    let chains: Vec<ChainPart> = few(deserializer, CHAINS_MAX)?;
    for (at, chain) in chains.iter().enumerate() {
        if chains.iter().take(at).any(|other| other.id == chain.id) {
            return Err(refused("each chain once", chain.id));
        }
        if !chain.rpc.is_empty() && chain.rpc_file.is_some() {
            return Err(Error::custom("expected rpc or rpc_file, got both"));
        }
        if chain.rpc_file.is_none() && !chain.rpc.is_empty() && chain.rpc.len() < usize::from(chain.rpc_agree) {
            return Err(refused("rpc_agree of at most the number of rpc", chain.rpc_agree));
        }
    }
    Ok(chains)
}

pub(super) fn assets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<AssetPart>, D::Error> {
    few(deserializer, MAX_LIST)
}

pub(super) fn models<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<NodeModel>, D::Error> {
    few(deserializer, MAX_LIST)
}

pub(super) fn prices<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PricePart>, D::Error> {
    few(deserializer, CHAINS_MAX)
}

pub(super) fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = text(deserializer)?;
    text.parse().map_err(|_| refused("an address and a port such as \"127.0.0.1:8443\"", format_args!("{text:?}")))
}

pub(super) fn some_listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    listen(deserializer).map(Some)
}

pub(super) fn client_urls<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    urls(deserializer, &["https://"])
}

pub(super) fn log_urls<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    urls(deserializer, &["http://", "https://"])
}

/// What clients are told to connect to: a name or an address that leads somewhere, and nothing more.
fn urls<'de, D: Deserializer<'de>>(deserializer: D, schemes: &[&str]) -> Result<Vec<String>, D::Error> {
    let urls: Vec<String> = few(deserializer, CHAINS_MAX)?;
    for url in &urls {
        let authority = schemes.iter().find_map(|scheme| url.strip_prefix(scheme));
        let expected = format!("{}NAME or {0}NAME:PORT, without a path", schemes.last().copied().unwrap_or_default());
        let is_plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_graphic() && !br#"/?#@\"'<>"#.contains(&byte));
        let Some(authority) = authority.filter(|part| !part.is_empty() && url.len() <= MAX_TEXT && is_plain(part)) else {
            return Err(refused(&expected, format_args!("{url:?}")));
        };
        let bracketed = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(host, _)| host);
        let host = bracketed.unwrap_or_else(|| authority.split_once(':').map_or(authority, |(host, _)| host));
        // Nobody reaches these: they stand for every address of the machine that says them.
        let is_nowhere = host.parse().is_ok_and(|address: core::net::IpAddr| address.is_unspecified());
        if is_nowhere || host.is_empty() {
            return Err(refused("a name or an address under which clients reach the node", format_args!("{url:?}")));
        }
    }
    Ok(urls)
}

pub(super) fn check_urls<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CheckUrls, D::Error> {
    match text(deserializer)?.as_str() {
        "warn" => Ok(CheckUrls::Warn),
        "require" => Ok(CheckUrls::Require),
        other => Err(refused("\"warn\" or \"require\"", format_args!("{other:?}"))),
    }
}

pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Address, D::Error> {
    parse_address(&text(deserializer)?)
}

pub(super) fn some_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Address>, D::Error> {
    address(deserializer).map(Some)
}

pub(super) fn denied<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Address>, D::Error> {
    /// As many as an enclave is told of (link.md): whoever denies more wants a list of who is served.
    const DENIED_MAX: usize = 4_096;
    let texts: Vec<String> = few(deserializer, DENIED_MAX)?;
    texts.iter().map(|text| parse_address(text)).collect()
}

pub(super) fn terms_days<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    within(deserializer, 1..=366)
}

pub(super) fn chain_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    within(deserializer, 1..=i64::MAX.unsigned_abs())
}

pub(super) fn agree<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    within(deserializer, 1..=16).map(|agree| u16::try_from(agree).unwrap_or(u16::MAX))
}

pub(super) fn gwei<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    within(deserializer, 1..=u64::from(u32::MAX)).map(|gwei| u32::try_from(gwei).ok())
}

pub(super) fn symbol<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = text(deserializer)?;
    let is_symbol = (1..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if is_symbol { Ok(text) } else { Err(refused("1 to 16 letters, digits, - . _", format_args!("{text:?}"))) }
}

pub(super) fn short_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = text(deserializer)?;
    let is_plain = (1..=64).contains(&text.len()) && !text.chars().any(char::is_control);
    if is_plain { Ok(text) } else { Err(refused("1 to 64 characters, as the token's domain has them", format_args!("{text:?}"))) }
}

pub(super) fn decimals<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    within(deserializer, 0..=18).map(|decimals| u8::try_from(decimals).unwrap_or(u8::MAX))
}

pub(super) fn model_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = text(deserializer)?;
    let is_id = (1..=128).contains(&text.len()) && !text.chars().any(char::is_control);
    if is_id { Ok(text) } else { Err(refused("1 to 128 characters, none of them a control", format_args!("{text:?}"))) }
}

pub(super) fn key_hashes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Hash32>, D::Error> {
    let texts: Vec<String> = few(deserializer, MAX_LIST)?;
    // Not quoted: it may be the key itself.
    let parse = |text: &String| {
        Hash32::from_hex(text).ok_or_else(|| Error::custom("expected the SHA-256 of a key, 0x and 64 hex digits, got another text"))
    };
    texts.iter().map(parse).collect()
}

pub(super) fn generation_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    // The most that a payment may stay open for an answer, less what settling takes.
    within(deserializer, 1..=200)
}

pub(super) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    within(deserializer, 1..=1_000_000).map(|count| usize::try_from(count).unwrap_or(usize::MAX))
}

pub(super) fn some_count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    count(deserializer).map(Some)
}

pub(super) fn anchor_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    within(deserializer, ANCHOR_SECONDS).map(Some)
}

pub(super) fn renewal_hours<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    // Clients pay no key whose newest document on chain is older than half a week.
    within(deserializer, 1..=72)
}

pub(super) fn quota<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    within(deserializer, 16..=u64::from(u32::MAX)).map(Some)
}

pub(super) fn log_format<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LogFormat, D::Error> {
    match text(deserializer)?.as_str() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => Err(refused("\"text\" or \"json\"", format_args!("{other:?}"))),
    }
}

pub(super) fn log_level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    const LEVELS: [&str; 5] = ["off", "error", "warn", "info", "debug"];
    let text = text(deserializer)?;
    let is_part = |part: &str| LEVELS.contains(&part.rsplit_once('=').map_or(part, |(_, level)| level));
    let is_level = text.len() <= LEVEL_MAX && !text.chars().any(char::is_control) && text.split(',').all(is_part);
    if is_level {
        Ok(text)
    } else {
        Err(refused("off, error, warn, info or debug, or target=level with commas between", format_args!("{text:?}")))
    }
}
