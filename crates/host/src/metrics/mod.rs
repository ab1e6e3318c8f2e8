//! What a host shows to its operator's tools: metrics for Prometheus, and whether it lives and serves. On a listener of its own, for this machine.
//!
//! | room | what |
//! |---|---|
//! | here | who may ask, routes, what being ready takes |
//! | `counts` | what is counted while the host runs |
//! | `page` | the page of metrics |
//! | `text` | its format |
//!
//! ```text
//! GET /metrics   Prometheus text, version 0.0.4
//! GET /live      200 while this process runs and its store's writer does, else 503
//! GET /ready     200 if clients are served, else 503; JSON that says what is missing
//! ```
//!
//! Not here: `/status` and the log, which are for everybody (`http`); what one request or one client did, which nobody is shown.
//!
//! - **Invariant:** on a loopback address, and asked by its name: a page in a browser of this machine that had its own name lead here would be told
//!   what its operator earns. Whoever listens elsewhere said so ([`HostConfig::metrics_remote`](crate::HostConfig::metrics_remote)).

mod counts;
mod page;
mod text;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use counts::{Count, HostCounts, Turned};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::http::uri::Authority;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::shared::Shared;

/// Of this crate, and so of the program: they have one version.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Connections at once: a few tools, each with one. More wait.
const CONNECTIONS: usize = 16;

/// Time for a request's head, against slow ones.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Time of one connection, against those that keep one for nothing.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// What being ready takes.
#[derive(Clone, Copy, Debug)]
struct Conditions {
    enclave: bool,
    registered: bool,
    open: bool,
    store: bool,
}

impl Conditions {
    fn of(shared: &Shared) -> Self {
        let seller = shared.seller();
        Self {
            enclave: seller.current().is_some(),
            registered: seller.status().is_registered,
            open: shared.door.borrow().is_some(),
            store: shared.store.is_alive() && shared.store.health().is_writable(),
        }
    }

    /// Each with its stable name.
    fn each(self) -> [(&'static str, bool); 4] {
        [("enclave", self.enclave), ("registered", self.registered), ("open", self.open), ("store", self.store)]
    }

    fn is_ready(self) -> bool {
        self.each().iter().all(|(_, is_so)| *is_so)
    }
}

type Answer = Response<Full<Bytes>>;

/// Serves until stopped.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let place = Arc::clone(&room).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            // Joined as they end, so that the set does not grow.
            Some(_) = connections.join_next() => continue,
            _ = stopped.changed() => break,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let _place = place;
            let service = service_fn(|request| {
                let answer = answer(&shared, &request);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            let _outcome = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
        });
    }
    connections.abort_all();
}

fn answer(shared: &Shared, request: &Request<Incoming>) -> Answer {
    let is_known = shared.config.metrics_remote || request.headers().get(HOST).is_some_and(is_loopback);
    if !is_known {
        return refused(StatusCode::FORBIDDEN, "this listener answers to loopback names only");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut answer = refused(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    match request.uri().path() {
        "/metrics" => respond(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", page::page(shared, &Conditions::of(shared))),
        "/live" => health(shared.store.is_alive(), &[("store_writer", shared.store.is_alive())]),
        "/ready" => {
            let conditions = Conditions::of(shared);
            health(conditions.is_ready(), &conditions.each())
        }
        _ => refused(StatusCode::NOT_FOUND, "no such resource; there are /metrics, /live and /ready"),
    }
}

/// Whether a Host header names this machine as it calls itself, with whatever port.
fn is_loopback(host: &HeaderValue) -> bool {
    let Some(authority) = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()) else { return false };
    let name = authority.host();
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
}

fn health(is_so: bool, conditions: &[(&str, bool)]) -> Answer {
    let missing: Vec<&str> = conditions.iter().filter(|(_, is_so)| !is_so).map(|(name, _)| *name).collect();
    let status = if is_so { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    respond(status, "application/json", json!({ "ok": is_so, "missing": missing }).to_string())
}

fn refused(status: StatusCode, message: &str) -> Answer {
    respond(status, "application/json", json!({ "error": message }).to_string())
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_loopback_name_in_the_host_header_is_known() {
        let known = |host: &'static str| is_loopback(&HeaderValue::from_static(host));
        for host in ["localhost", "LocalHost:9464", "127.0.0.1:9464", "127.9.9.9", "[::1]:80", "[::1]", "[::ffff:127.0.0.1]:1"] {
            assert!(known(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:9464",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "192.0.2.1",
            "[2001:db8::1]",
            "0.0.0.0",
            "a b",
        ] {
            assert!(!known(host), "{host}");
        }
    }
}
