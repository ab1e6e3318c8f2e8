//! The HTTP front end: JSON-RPC over HTTP/1.1 on the loopback interface.
//!
//! Anyone who can reach it can do anything with the chain, so it binds to loopback only, and it refuses requests that a web
//! page from elsewhere makes a browser send: by `Origin`, which browsers always attach to them, and by `Host`, which names the
//! page's own site if that site's name was pointed at this machine meanwhile. Pages served locally are let in. The origin of a
//! page opened from a file is `null`, and so is that of a sandboxed frame in anybody's page: let in only if
//! [`Config::lets_in_null_origin`](crate::Config::lets_in_null_origin) says so.
//!
//! Ownership: [`Server`] owns the accept task, which owns the connection tasks, and the task that makes blocks by the clock; dropping or
//! shutting down the one ends all.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, CONTENT_TYPE, HOST,
    HeaderValue, ORIGIN, VARY,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::error::ChainError;
use crate::shared::{Reply, SharedChain, failure};

/// The largest request body, in bytes: several times the largest transaction.
pub const MAX_REQUEST_BYTES: usize = 4 << 20;

/// The most connections at a time; more wait in the kernel's queue.
pub const MAX_CONNECTIONS: usize = 256;

/// A running HTTP front end. Dropping it stops it at once.
#[derive(Debug)]
#[must_use = "dropping the server stops it"]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    miner: JoinHandle<()>,
}

impl Server {
    /// The address it listens on, with the real port.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What to give to tools as RPC URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops accepting, lets requests in progress finish (for at most two seconds) and returns when all is closed.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        self.miner.abort();
        // The task ends by itself and does not panic; there is nothing to learn from its result.
        drop((&mut self.task).await);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.miner.abort();
        self.task.abort();
    }
}

/// Why the HTTP front end did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// The address is reachable from other machines. (Misuse)
    NotLoopback {
        /// The address asked for.
        got: SocketAddr,
    },
    /// The address cannot be bound. (Unavailable)
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLoopback { got } => {
                write!(f, "a development chain listens on loopback only, not on {got}")
            }
            Self::Bind { address, source } => write!(f, "cannot listen on {address}: {source}"),
        }
    }
}

impl Error for ServeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Bind { source, .. } => Some(source),
            Self::NotLoopback { .. } => None,
        }
    }
}

/// Serves `chain` over HTTP on `address`; port 0 takes a free one.
///
/// # Errors
/// [`ServeError::NotLoopback`] for an address other machines can reach, [`ServeError::Bind`].
pub async fn serve(chain: SharedChain, address: SocketAddr) -> Result<Server, ServeError> {
    if !address.ip().is_loopback() {
        return Err(ServeError::NotLoopback { got: address });
    }
    let bind_error = |source| ServeError::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(bind_error)?;
    let address = listener.local_addr().map_err(bind_error)?;
    let (stop, stopped) = watch::channel(false);
    let miner = chain.clone();
    let miner = tokio::spawn(async move { miner.make_blocks().await });
    let task = tokio::spawn(accept(listener, chain, stopped));
    Ok(Server { address, stop, task, miner })
}

async fn accept(listener: TcpListener, chain: SharedChain, mut stopped: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let permit = Arc::clone(&room).acquire_owned().await;
            (permit, listener.accept().await)
        };
        tokio::select! {
            () = stop_requested(&mut stopped) => break,
            Some(_) = connections.join_next() => {}
            (permit, accepted) = next => match accepted {
                Ok((stream, _)) => {
                    let connection = converse(stream, chain.clone(), stopped.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                // Out of file descriptors, or the peer was gone already: the next attempt may do better.
                Err(_) => sleep(ACCEPT_RETRY).await,
            },
        }
    }
    drop(listener);
    let finish = async { while connections.join_next().await.is_some() {} };
    // Whatever is still busy after that is aborted when the set is dropped.
    drop(timeout(SHUTDOWN_GRACE, finish).await);
}

/// One connection, until the peer closes it or the server stops.
async fn converse(stream: TcpStream, chain: SharedChain, mut stopped: watch::Receiver<bool>) {
    let service = service_fn(move |request| respond(request, chain.clone()));
    let connection =
        http1::Builder::new().timer(TokioTimer::new()).header_read_timeout(READ_TIMEOUT).serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        // The peer's mistakes, and the disconnections of `Fault`, end here and concern no one else.
        _ = connection.as_mut() => {}
        () = stop_requested(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            drop(connection.await);
        }
    }
}

/// Returns when the server stops, or is gone.
async fn stop_requested(stopped: &mut watch::Receiver<bool>) {
    drop(stopped.wait_for(|stop| *stop).await);
}

async fn respond(request: Request<Incoming>, chain: SharedChain) -> Result<Response<Full<Bytes>>, Disconnected> {
    if !request.headers().get(HOST).is_some_and(names_this_machine) {
        return Ok(plain(StatusCode::FORBIDDEN, "this development chain answers to localhost and loopback addresses only\n"));
    }
    let origin = request.headers().get(ORIGIN).cloned();
    let is_let_in = |origin: &HeaderValue| names_this_machine(origin) || (origin == "null" && chain.lets_in_null_origin());
    if origin.as_ref().is_some_and(|origin| !is_let_in(origin)) {
        return Ok(plain(StatusCode::FORBIDDEN, "this development chain serves local pages only\n"));
    }
    let mut response = match *request.method() {
        Method::POST => answer(request.into_body(), &chain).await?,
        Method::OPTIONS => preflight(),
        _ => plain(StatusCode::METHOD_NOT_ALLOWED, "JSON-RPC 2.0 over POST\n"),
    };
    if let Some(origin) = origin {
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        response.headers_mut().insert(VARY, HeaderValue::from_static("origin"));
    }
    Ok(response)
}

async fn answer(body: Incoming, chain: &SharedChain) -> Result<Response<Full<Bytes>>, Disconnected> {
    // A declared length is refused before a byte of it is read.
    if u64::try_from(MAX_REQUEST_BYTES).is_ok_and(|limit| limit < body.size_hint().lower()) {
        return Ok(too_large());
    }
    let body = match timeout(READ_TIMEOUT, Limited::new(body, MAX_REQUEST_BYTES).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Ok(too_large()),
        Ok(Err(_)) | Err(_) => return Err(Disconnected),
    };
    chain.delay().await;
    let chain = chain.clone();
    // The EVM may run for a good part of a second: not on a thread that serves sockets.
    let reply = tokio::task::spawn_blocking(move || chain.answer_now(&body)).await;
    match reply {
        Ok(Reply::Body(body)) => Ok(text(StatusCode::OK, JSON, body)),
        Ok(Reply::Nothing) => Ok(text(StatusCode::NO_CONTENT, JSON, String::new())),
        Ok(Reply::Disconnect) | Err(_) => Err(Disconnected),
    }
}

fn too_large() -> Response<Full<Bytes>> {
    let error = ChainError::RequestTooLarge { limit: MAX_REQUEST_BYTES };
    text(StatusCode::PAYLOAD_TOO_LARGE, JSON, failure(&Value::Null, &error))
}

fn preflight() -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::NO_CONTENT, PLAIN, String::new());
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, OPTIONS"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

/// Whether the host of an `Origin` (`http://localhost:3000`) or a `Host` (`localhost:8545`) is this machine by a name that nobody else can
/// point here.
fn names_this_machine(value: &HeaderValue) -> bool {
    let Some(uri) = value.to_str().ok().and_then(|value| value.parse::<Uri>().ok()) else { return false };
    match uri.host() {
        Some("localhost" | "[::1]") => true,
        Some(host) => host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback()),
        None => false,
    }
}

fn plain(status: StatusCode, message: &'static str) -> Response<Full<Bytes>> {
    text(status, PLAIN, message.to_owned())
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Makes hyper close the connection without an answer.
#[derive(Debug)]
struct Disconnected;

impl fmt::Display for Disconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("disconnected")
    }
}

impl Error for Disconnected {}

const JSON: &str = "application/json";
const PLAIN: &str = "text/plain; charset=utf-8";

/// For a whole request head, and again for a whole body; also how long an idle connection is kept.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local() {
        for name in ["http://localhost:3000", "http://127.0.0.1:8080", "http://[::1]:1", "https://localhost", "localhost", "127.0.0.2:8545"]
        {
            assert!(names_this_machine(&HeaderValue::from_static(name)), "{name}");
        }
        for name in ["null", "https://example.com", "http://localhost.example.com", "http://127.0.0.1.example.com", "", "http://10.0.0.1"] {
            assert!(!names_this_machine(&HeaderValue::from_static(name)), "{name}");
        }
    }
}
