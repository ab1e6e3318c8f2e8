//! The log over plain HTTP, read-only: what anybody needs to check it, and nothing else. Nothing here is secret, so there is no TLS; it
//! proves itself by hashes and signatures.
//!
//! ```text
//! GET /logs                              ids of all logs
//! GET /log/<id>/checkpoint, /tile/…      C2SP tlog-tiles, from the published directory
//! GET /log/<id>/consistency?from=&to=    RFC 9162 proofs, from the tree in memory
//! GET /log/<id>/inclusion?index=&size=
//! GET /status                            how the host is
//! GET /.well-known/candor.json           where its node is, as the enclave says it too
//! ```
//!
//! Not here: receipts (the enclave serves them, by unguessable ids), anything per client.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use candor_chain::STALE_SECONDS;
use candor_log::store::{DirReader, LogReader};
use candor_log::tiles::Resource;
use candor_verify::{Address, Hash32};
use candor_x402::discovery::{CANDOR_PATH, candor_document};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clients::Gate;
use crate::clock;
use crate::config::ClientLimits;
use crate::prices;
use crate::publish::{log_directory, log_name};
use crate::shared::Shared;
use crate::slot::{Slot, WaitsFor};
use crate::store::OpenLog;

/// Connections at once. Readers are few; more are closed.
const CONNECTIONS: usize = 256;

/// Connections at once of one address: enough for a checker that reads tiles side by side, an eighth of all.
const CONNECTIONS_PER_ADDRESS: usize = 32;

/// Time for a request's head, against slow ones.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Time of one connection, against idle ones.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);

type Answer = Response<Full<Bytes>>;

/// Serves until stopped.
pub(crate) async fn serve(listener: TcpListener, node: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let limits = ClientLimits { max_connections: CONNECTIONS, max_per_address: CONNECTIONS_PER_ADDRESS, ..ClientLimits::default() };
    let gate = Gate::new(&limits);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => break,
        };
        while connections.try_join_next().is_some() {}
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(pass) = gate.enter(peer) else { continue };
        let node = Arc::clone(&node);
        connections.spawn(async move {
            let _pass = pass;
            let service = service_fn(|request| {
                let node = Arc::clone(&node);
                async move { Ok::<_, Infallible>(answer(&node, &request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            // Broken connections are readers' daily life and nobody's news.
            let _outcome = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
        });
    }
    connections.abort_all();
}

async fn answer(node: &Arc<Shared>, request: &Request<Incoming>) -> Answer {
    if request.method() != Method::GET {
        let mut answer = refusal(StatusCode::METHOD_NOT_ALLOWED, "only GET");
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return answer;
    }
    let path = request.uri().path();
    let query = request.uri().query().unwrap_or_default();
    if path == "/status" {
        return status(node).await;
    }
    if path == CANDOR_PATH {
        let seller = node.seller();
        return match seller.current() {
            Some(open) => json_answer(&candor_document(&seller.terms.terms, &open.row().manifest)),
            None => refusal(StatusCode::SERVICE_UNAVAILABLE, "no enclave serves here now"),
        };
    }
    if path == "/logs" {
        return match node.store.log_ids().await {
            Ok(ids) => json_answer(&json!({ "logs": ids.iter().map(Hash32::to_string).collect::<Vec<_>>() })),
            Err(_) => refusal(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer"),
        };
    }
    if let Some(rest) = path.strip_prefix("/price-lists") {
        return price_lists(node, rest).await;
    }
    let parts = path.strip_prefix("/log/").and_then(|rest| rest.split_once('/'));
    let Some((log_id, rest)) = parts.and_then(|(id, rest)| Some((Hash32::from_hex(&format!("0x{id}"))?, rest))) else {
        return not_found();
    };
    match rest {
        "consistency" | "inclusion" => match node.store.log(&log_id).await {
            Ok(Some(open)) => proof(&open, rest, query),
            Ok(None) => not_found(),
            Err(_) => refusal(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer"),
        },
        _ => match Resource::parse(rest) {
            Some(resource) => file(node, &log_id, resource).await,
            None => not_found(),
        },
    }
}

/// The price lists of the terms that this node serves under: their numbers, or one of them. Kept ones never change.
async fn price_lists(node: &Arc<Shared>, rest: &str) -> Answer {
    let seller = node.seller();
    let directory = prices::directory(node, &seller);
    let number = rest.strip_prefix('/').map(|text| text.parse::<u64>().ok().filter(|number| number.to_string() == text));
    let terms = seller.terms.terms.digest();
    let found = tokio::task::spawn_blocking(move || match number {
        None => {
            let rows = prices::numbers(&directory).into_iter().filter_map(|number| prices::read(&directory, number));
            let rows: Vec<_> = rows
                .take(prices::LISTS_MAX)
                .map(|signed| {
                    let list = &signed.list;
                    json!({ "number": list.number, "from": list.from.0, "until": list.until.0, "hash": list.digest().to_string() })
                })
                .collect();
            Some(json_answer(&json!({ "terms": terms.to_string(), "lists": rows })))
        }
        Some(number) => {
            let signed = prices::read(&directory, number?)?;
            Some(respond(StatusCode::OK, "application/cbor", "public, max-age=31536000, immutable", signed.encode()))
        }
    });
    match found.await {
        Ok(Some(answer)) if rest.is_empty() || rest.starts_with('/') => answer,
        Ok(_) => not_found(),
        Err(_) => refusal(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer"),
    }
}

/// A file of the published log. Everything but the checkpoint never changes.
async fn file(node: &Shared, log_id: &Hash32, resource: Resource) -> Answer {
    let reader = DirReader::new(&log_directory(&node.config.data_dir, log_id));
    match tokio::task::spawn_blocking(move || reader.fetch(resource)).await {
        Ok(Ok(Some(bytes))) => {
            let (kind, cache) = match resource {
                Resource::Checkpoint => ("text/plain; charset=utf-8", "no-store"),
                Resource::Tile { .. } | Resource::Entries { .. } => ("application/octet-stream", "public, max-age=31536000, immutable"),
            };
            respond(StatusCode::OK, kind, cache, bytes)
        }
        Ok(Ok(None)) => not_found(),
        Ok(Err(_)) | Err(_) => refusal(StatusCode::SERVICE_UNAVAILABLE, "the log directory does not answer"),
    }
}

fn number(query: &str, name: &str) -> Option<u64> {
    let mut values = query.split('&').filter_map(|pair| pair.split_once('=')).filter(|(key, _)| *key == name);
    let (value, second) = (values.next()?.1, values.next());
    let is_plain = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    value.parse().ok().filter(|_| is_plain && second.is_none())
}

/// Proofs are about signed sizes only: up to the newest checkpoint.
fn proof(open: &OpenLog, kind: &str, query: &str) -> Answer {
    let log = open.read();
    let signed = log.checkpoint().map_or(0, |signed| signed.checkpoint.tree.size);
    let names = if kind == "consistency" { ("from", "to") } else { ("index", "size") };
    let (Some(first), Some(size)) = (number(query, names.0), number(query, names.1)) else {
        return refusal(StatusCode::BAD_REQUEST, &format!("expected ?{}=<number>&{}=<number>", names.0, names.1));
    };
    let at = log.tree().at(size).filter(|_| size <= signed);
    let hashes = at.and_then(|at| if kind == "consistency" { at.consistency_from(first) } else { at.inclusion(first) });
    match (at, hashes) {
        (Some(at), Some(hashes)) => json_answer(&json!({
            "log": open.row().manifest.log_id().to_string(),
            names.0: first,
            names.1: size,
            "root": at.tree().root.to_string(),
            "hashes": hashes.iter().map(Hash32::to_string).collect::<Vec<_>>(),
        })),
        _ => refusal(StatusCode::BAD_REQUEST, &format!("no such tree: the newest checkpoint has size {signed}")),
    }
}

/// The log of a slot's boot, once it is open.
fn log_of(slot: &Slot) -> Option<Value> {
    let (status, open) = (slot.status(), slot.current()?);
    let (state, manifest) = (open.read().state(), &open.row().manifest);
    Some(json!({
        "id": manifest.log_id().to_string(),
        "path": format!("/log/{}", log_name(&manifest.log_id())),
        "k_sig": manifest.k_sig.to_string(),
        "size": state.tree.size,
        "checkpoint": state.checkpoint_size,
        "published": status.published_size,
        "anchored": status.anchored_size,
    }))
}

/// One boot of this host: there are two while one hands over to the other.
fn boot_of(slot: &Slot) -> Value {
    let status = slot.status();
    json!({
        "stage": slot.stage().as_str(),
        "phase": status.phase,
        "registered": status.is_registered,
        "terms": slot.terms.terms.digest().to_string(),
        "log": log_of(slot),
        "connections": slot.connections(),
        "waits_for": status.waits_for.map(WaitsFor::as_str),
    })
}

async fn status(node: &Arc<Shared>) -> Answer {
    let (status, seller) = (node.status(), node.seller());
    let sells = seller.status();
    let head = *node.head.borrow();
    let (endpoints, well) = node.config.anchor_chain.health();
    let now = clock::now().seconds();
    let account = |at: &Address| json!({ "address": at.to_string(), "wei": status.balances.get(at).map(ToString::to_string) });
    json_answer(&json!({
        "phase": sells.phase,
        "registered": sells.is_registered,
        "head": head.map(|head| json!({ "chain_id": head.chain_id, "number": head.number, "hash": head.hash.to_string() })),
        "log": log_of(&seller),
        "boots": node.slots().iter().map(|slot| boot_of(slot)).collect::<Vec<_>>(),
        "open": node.door.borrow().is_some(),
        "valid_until": sells.valid_until.map(|until| until.0),
        "lapses_in_s": sells.valid_until.map(|until| until.saturating_add(STALE_SECONDS).since(now)),
        "unanchored_s": sells.unanchored_since.map(|since| now.since(since)),
        "gas_account": account(&node.config.gas_key.address()),
        "anchor_account": account(&node.config.anchor_key.address()),
        "settlement_wei": status.settlement_wei.map(|wei| wei.to_string()),
        "rpc": { "endpoints": endpoints, "well": well },
        "troubles": status.troubles.iter().map(|(part, trouble)| (*part, trouble.code)).collect::<HashMap<_, _>>(),
    }))
}

fn json_answer(value: &Value) -> Answer {
    respond(StatusCode::OK, "application/json", "no-store", value.to_string().into_bytes())
}

fn refusal(status: StatusCode, message: &str) -> Answer {
    respond(status, "application/json", "no-store", json!({ "error": message }).to_string().into_bytes())
}

fn not_found() -> Answer {
    refusal(StatusCode::NOT_FOUND, "no such resource")
}

fn respond(status: StatusCode, kind: &'static str, cache: &'static str, body: Vec<u8>) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    // Public data: a page of anybody may check it in the browser.
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}
