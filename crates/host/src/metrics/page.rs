//! The page of metrics: what is true now, and what was counted until now. docs/operators.md says what each is good for;
//! packaging/prometheus and packaging/grafana use them.
//!
//! **Invariant:** no label takes a value from outside but models and assets, which are the operator's own terms: no payer, no request, no address
//! of anybody. An RPC endpoint is its place in the list.
//! **Invariant:** every family is there from the first look on, so that a rule about it can be wrong only by its name.

use candor_chain::{LATENCY_BOUNDS_MS, LatencyCounts, RpcFailure, STALE_SECONDS};
use candor_link::{EnclaveCounter, EnclaveEvent, EnclaveHistogram, EventLevel};
use candor_verify::{Address, Amount};

use super::counts::Turned;
use super::text::{Decimal, Family, Kind, Labels, Text};
use super::{Conditions, VERSION};
use crate::clock;
use crate::notice::PARTS;
use crate::shared::Shared;

/// All of it.
pub(super) fn page(shared: &Shared, conditions: &Conditions) -> String {
    let mut text = Text::default();
    node(&mut text, shared, conditions);
    enclave(&mut text, shared);
    money(&mut text, shared);
    log(&mut text, shared);
    chain(&mut text, shared);
    store(&mut text, shared);
    connections(&mut text, shared);
    text.into_string()
}

fn node(text: &mut Text, shared: &Shared, conditions: &Conditions) {
    let (status, seller) = (shared.status(), shared.seller());
    let sells = seller.status();
    text.family("build_info", Kind::Gauge, "Version of the host; always 1.").sample(&[("version", VERSION)], 1);
    text.one("start_time_seconds", Kind::Gauge, "When this process started, in Unix seconds.", shared.started.0);
    text.one("ready", Kind::Gauge, "Whether clients are served.", u8::from(conditions.is_ready()));
    let mut family = text.family("ready_condition", Kind::Gauge, "What being ready takes, each 1 if it is so.");
    for (name, is_so) in conditions.each() {
        family.sample(&[("condition", name)], u8::from(is_so));
    }
    let mut family = text.family("trouble", Kind::Gauge, "Parts of the host that do not work now and try again, each 1 if it is so.");
    for part in PARTS {
        family.sample(&[("part", part)], u8::from(status.troubles.contains_key(part)));
    }
    let terms = &seller.terms.terms;
    text.one("terms_not_after_seconds", Kind::Gauge, "When the operator's terms end, in Unix seconds.", terms.not_after.seconds().0);
    let until = sells.valid_until.map_or(0, |until| until.0);
    text.one(
        "registration_valid_until_seconds",
        Kind::Gauge,
        "Until when the registration is good by the newest document on chain, in Unix seconds; 0 if there is none.",
        until,
    );
    let lapse = sells.valid_until.map_or(0, |until| until.saturating_add(STALE_SECONDS).0);
    text.one("registration_lapse_time_seconds", Kind::Gauge, "From when on clients pay this boot no more if no newer document is shown to the registry, in Unix seconds; 0 if it is not registered.", lapse);
    let mut family = text.family("model_info", Kind::Gauge, "Models of the operator's terms; always 1.");
    for model in &terms.models {
        family.sample(&[("model", &model.id), ("digest", &model.digest.to_string())], 1);
    }
}

fn enclave(text: &mut Text, shared: &Shared) {
    let counts = &shared.counts;
    let tables = counts.tables();
    for counter in EnclaveCounter::ALL {
        let name = match counter {
            EnclaveCounter::Requests => "requests_total",
            EnclaveCounter::Quotes => "quotes_total",
            EnclaveCounter::PaymentsRefused => "payments_refused_total",
            EnclaveCounter::Claims => "claims_total",
            EnclaveCounter::Free => "free_total",
            EnclaveCounter::Aborted => "aborted_total",
            EnclaveCounter::RefusedByGuard => "refused_by_guard_total",
            EnclaveCounter::HostUnavailable => "host_unavailable_total",
            EnclaveCounter::Receipts => "receipts_total",
            EnclaveCounter::PromptTokens => "prompt_tokens_total",
            EnclaveCounter::CompletionTokens => "completion_tokens_total",
        };
        text.one(name, Kind::Counter, counter.help(), tables.enclave.counter(counter));
    }
    for (histogram, tally) in EnclaveHistogram::ALL.into_iter().zip(&tables.enclave.histograms) {
        let name = match histogram {
            EnclaveHistogram::FirstFrame => "first_frame_seconds",
            EnclaveHistogram::Answer => "answer_seconds",
            EnclaveHistogram::TokenRate => "answer_tokens_per_second",
        };
        let bounds = histogram.bounds().map(thousandths);
        text.family(name, Kind::Histogram, histogram.help()).histogram(&[], bounds, &tally.buckets, thousandths(tally.sum));
    }
    let mut family = text.family("enclave_events_total", Kind::Counter, "What the enclave told its operator, by event.");
    for (event, count) in EnclaveEvent::ALL.into_iter().zip(&tables.events) {
        let level = match event.level() {
            EventLevel::Error => "error",
            EventLevel::Warning => "warning",
            EventLevel::Info => "info",
        };
        family.sample(&[("event", event.name()), ("level", level)], count);
    }
    text.one("boots_total", Kind::Counter, "Boots of an enclave that came to serve.", counts.boots.get());
    text.one("link_connections_total", Kind::Counter, "Control connections to the enclave.", counts.link_connections.get());
    text.one("link_losses_total", Kind::Counter, "Control connections that ended while the enclave served.", counts.link_losses.get());
    let mut family = text.family("link_round_trip_seconds", Kind::Histogram, "Time for the enclave to answer a ping.");
    latency(&mut family, &[], &counts.round_trip.counts());
}

fn money(text: &mut Text, shared: &Shared) {
    let mut family = text.family(
        "settlements_open",
        Kind::Gauge,
        "Settlements that are not over: waiting for a transaction, or sent and not in a block that stays.",
    );
    for (chain_id, settler) in &shared.settlers {
        let (open, sent) = settler.open();
        let chain_id = chain_id.to_string();
        family.sample(&[("chain_id", &chain_id), ("state", "waiting")], open.saturating_sub(sent));
        family.sample(&[("chain_id", &chain_id), ("state", "sent")], sent);
    }
    let tables = shared.counts.tables();
    let mut assets: Vec<(u64, Address)> = shared.seller().terms.terms.assets.iter().map(|asset| (asset.chain_id, asset.asset)).collect();
    assets.extend(tables.income.keys());
    assets.sort_unstable();
    assets.dedup();
    let income = |asset: &(u64, Address)| tables.income.get(asset).copied().unwrap_or_default();
    let names = |(chain_id, asset): &(u64, Address)| (chain_id.to_string(), asset.to_string());
    let mut family = text.family("settlements_total", Kind::Counter, "Settlements that moved their money, by asset.");
    for asset in &assets {
        let (chain_id, name) = names(asset);
        family.sample(&[("chain_id", &chain_id), ("asset", &name)], income(asset).settlements);
    }
    let mut family = text.family("settled_units_total", Kind::Counter, "Money that settlements moved, in the smallest unit of the asset.");
    for asset in &assets {
        let (chain_id, name) = names(asset);
        family.sample(&[("chain_id", &chain_id), ("asset", &name)], income(asset).units);
    }
    let mut family = text.family("settlement_failures_total", Kind::Counter, "Settlements that can no longer succeed, by code.");
    for code in crate::settle::failure_codes() {
        family.sample(&[("code", code)], tables.failed.get(code).copied().unwrap_or_default());
    }
    drop(tables);
    let status = shared.status();
    let mut family = text.family("account_balance_wei", Kind::Gauge, "What the accounts hold that pay for gas, as last read.");
    for (name, address) in [("settlement", shared.config.gas_key.address()), ("anchor", shared.config.anchor_key.address())] {
        if let Some(balance) = status.balances.get(&address) {
            family.sample(&[("account", name)], balance);
        }
    }
    let known = |amount: Option<Amount>| amount.map_or(0, |amount| amount.0);
    text.one(
        "account_needed_wei",
        Kind::Gauge,
        "The least that each of them should hold: 100 transactions at what the chain asks now.",
        known(status.needed_wei),
    );
    text.one("settlement_cost_wei", Kind::Gauge, "What one settlement costs now.", known(status.settlement_wei));
}

fn log(text: &mut Text, shared: &Shared) {
    let seller = shared.seller();
    let status = seller.status();
    let state = seller.current().map(|open| open.read().state());
    let (leaves, signed) = state.map_or((0, 0), |state| (state.tree.size, state.checkpoint_size));
    text.one("log_leaves", Kind::Gauge, "Receipts in the log of the boot that is connected.", leaves);
    text.one("log_signed_leaves", Kind::Gauge, "Those of them under its newest checkpoint.", signed);
    text.one("log_published_leaves", Kind::Gauge, "Those of them that are published.", status.published_size);
    text.one("log_anchored_leaves", Kind::Gauge, "Those of them under its newest anchor.", status.anchored_size);
    let lag = if leaves == 0 { 0 } else { signed.saturating_sub(status.anchored_size) };
    text.one("anchor_lag_leaves", Kind::Gauge, "Receipts under a checkpoint that no anchor covers.", lag);
    let waits = status.unanchored_since.map_or(0, |since| clock::now().seconds().since(since));
    text.one(
        "anchor_waiting_seconds",
        Kind::Gauge,
        "For how long the newest checkpoint has waited for an anchor; 0 if it does not.",
        waits,
    );
    let last = status.anchored_at.map_or(0, |at| at.0);
    text.one(
        "anchor_last_time_seconds",
        Kind::Gauge,
        "When the newest anchor of this log was made, in Unix seconds; 0 if there is none.",
        last,
    );
    let counts = &shared.counts;
    text.one("anchors_total", Kind::Counter, "Anchors that this host made.", counts.anchors.get());
    text.one(
        "anchor_failures_total",
        Kind::Counter,
        "Looks at a log that ended without the anchor that was due.",
        counts.anchor_failures.get(),
    );
    text.one("anchor_gas_total", Kind::Counter, "Gas that anchors used.", counts.anchor_gas.get());
}

fn chain(text: &mut Text, shared: &Shared) {
    let head = *shared.head.borrow();
    text.one(
        "chain_head_number",
        Kind::Gauge,
        "Newest block of the anchor chain that the enclave is told of; 0 while the chain is away.",
        head.map_or(0, |head| head.number),
    );
    text.one(
        "chain_head_time_seconds",
        Kind::Gauge,
        "Time of that block, in Unix seconds; 0 while the chain is away.",
        head.map_or(0, |head| head.timestamp.0),
    );
    let mut endpoints = Vec::new();
    for (chain_id, chain) in &shared.chains {
        for (at, health) in chain.endpoints_health().into_iter().enumerate() {
            endpoints.push((chain_id.to_string(), at.to_string(), health));
        }
    }
    endpoints.sort_by(|(chain, at, _), (other, other_at, _)| (chain, at).cmp(&(other, other_at)));
    let mut family = text.family(
        "rpc_endpoint_up",
        Kind::Gauge,
        "Whether an endpoint is asked, by its place in the list: one that failed rests for a while.",
    );
    for (chain_id, at, health) in &endpoints {
        family.sample(&[("chain_id", chain_id), ("endpoint", at)], u8::from(health.is_well));
    }
    let mut family = text.family("rpc_requests_total", Kind::Counter, "Questions to an endpoint.");
    for (chain_id, at, health) in &endpoints {
        family.sample(&[("chain_id", chain_id), ("endpoint", at)], health.requests);
    }
    let mut family = text.family("rpc_failures_total", Kind::Counter, "Questions to an endpoint that came to nothing, by kind.");
    for (chain_id, at, health) in &endpoints {
        for (kind, count) in RpcFailure::ALL.iter().zip(health.failures) {
            family.sample(&[("chain_id", chain_id), ("endpoint", at), ("kind", kind.as_str())], count);
        }
    }
    let mut family = text.family("rpc_answer_seconds", Kind::Histogram, "Time for an endpoint to answer.");
    for (chain_id, at, health) in &endpoints {
        latency(&mut family, &[("chain_id", chain_id), ("endpoint", at)], &health.latency);
    }
}

fn store(text: &mut Text, shared: &Shared) {
    let store = &shared.store;
    let counts = store.health();
    text.one("store_bytes", Kind::Gauge, "Bytes of the database on disk, its journal included.", store.bytes());
    let quota = store.quota_bytes().map_or_else(|| "+Inf".to_owned(), |bytes| bytes.to_string());
    text.one("store_quota_bytes", Kind::Gauge, "Most bytes of the database; +Inf if there is no quota.", quota);
    text.one("store_writes_total", Kind::Counter, "Writes that were asked for.", counts.writes.get());
    text.one("store_groups_total", Kind::Counter, "Groups of writes that were made durable together.", counts.groups.get());
    text.one("store_failures_total", Kind::Counter, "Groups, and writes for want of room, that failed.", counts.failures.get());
    text.one("store_writable", Kind::Gauge, "Whether the last write that had to be durable was.", u8::from(counts.is_writable()));
    let mut family = text.family("store_write_seconds", Kind::Histogram, "Time to make a group of writes durable.");
    latency(&mut family, &[], &counts.latency.counts());
}

fn connections(text: &mut Text, shared: &Shared) {
    let counts = &shared.counts;
    let (begun, ended) = (counts.connections.get(), counts.connections_ended.get());
    text.one("connections_open", Kind::Gauge, "Connections of clients.", begun.saturating_sub(ended));
    text.one("connections_max", Kind::Gauge, "Most connections of clients at once.", shared.config.clients.max_connections);
    text.one("connections_total", Kind::Counter, "Connections of clients that were taken.", begun);
    let mut family = text.family("connections_refused_total", Kind::Counter, "Connections of clients that were closed at once, by reason.");
    for why in Turned::ALL {
        family.sample(&[("reason", why.as_str())], counts.turned_count(why));
    }
}

fn latency(family: &mut Family<'_>, labels: Labels<'_>, counts: &LatencyCounts) {
    let sum = Decimal { value: counts.sum_us, places: 6 };
    family.histogram(labels, LATENCY_BOUNDS_MS.map(thousandths), &counts.buckets, sum);
}

fn thousandths(value: u64) -> Decimal {
    Decimal { value, places: 3 }
}
