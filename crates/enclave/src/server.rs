//! Connections: hello, then control frames or TLS. Nothing of a client's bytes is looked at before TLS has ended here. Which clients stay is
//! decided in `places`.

use std::convert::Infallible;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use candor_link::{EnclaveEvent, HELLO_LEN, Hello, Party, Role};
use candor_verify::receipt::Channel;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};

use crate::attester::Attester;
use crate::body::ApiBody;
use crate::boot::Boot;
use crate::control::{self, HostPort};
use crate::places::Limits;
use crate::seat::{Answer, House, Seat};
use crate::serving::Serving;
use crate::session::Session;
use crate::stall::Stall;
use crate::{Config, http};

/// A host that says nothing after connecting is cut off.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Before accepting again after an error: a loop without a pause would burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long whoever waits for an answer has to be told that there is none, once the log is over.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long the operator has to be told why, after everybody else.
const LAST_EVENT: Duration = Duration::from_millis(200);

/// New evidence this often (ADR 0002: at least hourly).
const RE_ATTEST: Duration = Duration::from_secs(50 * 60);

/// Runs an enclave on this socket until its log is over. The socket file is created; a stale one must be removed by the caller.
///
/// # Errors
/// The socket cannot be bound, or the log is over: this boot can sign nothing more, and its keys must end with the process.
pub async fn run(socket: &Path, config: Config, attester: Arc<dyn Attester>) -> std::io::Result<()> {
    let listener = UnixListener::bind(socket)?;
    let port = HostPort::new();
    let house = Arc::new(House::new(Limits {
        places: config.max_connections,
        unpaid_ms: u64::try_from(config.unpaid_max.as_millis()).unwrap_or(u64::MAX),
        unpaid_requests: config.unpaid_requests_max,
    }));
    let tells_panics = config.tells_panics;
    let boot = Arc::new(Boot::new(config, attester, port.clone(), tokio::runtime::Handle::current()));
    tokio::spawn(re_attest(Arc::clone(&boot)));
    tokio::spawn(port.clone().tell_events());
    if tells_panics {
        let events = port.events().clone();
        // What a panic says may quote what was being worked on.
        std::panic::set_hook(Box::new(move |panic| events.note_panic(panic.location().map_or(0, std::panic::Location::line))));
    }
    let mut over = tokio::spawn(log_is_over(Arc::clone(&boot)));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut over => {
                house.close(LAST_WORDS).await;
                tokio::time::sleep(LAST_EVENT).await;
                return Err(std::io::Error::other("the log is over; start the enclave again"));
            }
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, for example: connections that end give some back, and keys and log must not end over it.
            port.events().note(EnclaveEvent::AcceptFailed);
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (boot, port, house) = (Arc::clone(&boot), port.clone(), Arc::clone(&house));
        tokio::spawn(async move { connection(stream, boot, port, house).await });
    }
}

/// Resolves when the boot served and its log has closed.
async fn log_is_over(boot: Arc<Boot>) {
    let mut serves = boot.serves();
    while let Ok(()) = serves.changed().await {
        let closed = serves.borrow().as_ref().map(|serving| serving.ledger().closed());
        if let Some(mut closed) = closed {
            // An error means that the ledger's task is gone, which is as final.
            drop(closed.wait_for(|closed| *closed).await);
            return;
        }
    }
}

async fn connection(mut stream: UnixStream, boot: Arc<Boot>, port: HostPort, house: Arc<House>) {
    let mut hello = [0; HELLO_LEN];
    match tokio::time::timeout(HELLO_TIMEOUT, stream.read_exact(&mut hello)).await {
        Ok(Ok(_)) => {}
        Ok(Err(_)) | Err(_) => return,
    }
    match Hello::parse(&hello).map(|hello| hello.role) {
        Ok(Role::Control) => control::serve(stream, port, boot).await,
        Ok(Role::Client(party)) => {
            let Some(serving) = boot.serving() else { return };
            let Some((seat, gone)) = house.enter(party) else { return port.events().note(EnclaveEvent::ConnectionRefused) };
            tokio::select! {
                () = client(stream, serving, boot, party, Arc::new(seat)) => {}
                // Its place is somebody else's now. Nothing that was paid for runs here.
                _ = gone => port.events().note(EnclaveEvent::ConnectionEnded),
            }
        }
        // Nobody has asked for a connection to an upstream.
        Ok(_) | Err(_) => {}
    }
}

async fn client(stream: UnixStream, serving: Arc<Serving>, boot: Arc<Boot>, party: Party, seat: Arc<Seat>) {
    let acceptor = tokio_rustls::TlsAcceptor::from(serving.tls());
    let (handshake_max, idle_max) = (serving.config().handshake_max, serving.config().idle_max);
    let stream = Stall::new(stream, serving.config().stall_max);
    let Ok(Ok(tls)) = tokio::time::timeout(handshake_max, acceptor.accept(stream)).await else {
        return serving.port().events().note(EnclaveEvent::HandshakeFailed);
    };
    let session = Arc::new(Session::new(serving, boot, Channel::Tls, party, Arc::clone(&seat)));
    let service = hyper::service::service_fn(move |request| turn(Arc::clone(&session), request));
    let mut connection = pin!(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            // Counts from the end of the last answer too, so it is the limit on idle connections.
            .header_read_timeout(idle_max)
            .max_buf_size(64 * 1024)
            .serve_connection(TokioIo::new(tls), service)
    );
    // Errors of one connection concern that connection only; what they would say could quote the client's bytes.
    tokio::select! {
        outcome = connection.as_mut() => {
            drop(outcome);
            return;
        }
        () = seat.unpaid_life() => {}
        () = seat.closing() => {}
    }
    // A request that has begun is still answered, and none after it.
    connection.as_mut().graceful_shutdown();
    drop(connection.await);
}

/// One request and its answer, the last one if nothing was paid for too many.
async fn turn(session: Arc<Session>, request: Request<Incoming>) -> Result<Response<Answer<ApiBody>>, Infallible> {
    let turn = session.turn();
    let mut response = http::route(Arc::clone(&session), request).await?;
    if session.is_spent() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Answer { body, _turn: turn }))
}

async fn re_attest(boot: Arc<Boot>) {
    let mut timer = tokio::time::interval(RE_ATTEST);
    timer.tick().await;
    loop {
        timer.tick().await;
        let Some(serving) = boot.serving() else { continue };
        let (boot, head) = (Arc::clone(&boot), serving.head());
        // A refusal leaves the old evidence, which clients will call stale: nothing to decide here.
        drop(tokio::task::spawn_blocking(move || boot.re_attest(&serving, &head, candor_verify::Hash32::ZERO)).await);
    }
}
