//! The one route of an attestor, over plain HTTP: `POST /v1/attest`. Spec: attestor.md.
//!
//! Nothing here is secret: evidence is public, and an answer proves itself by its signature. So there is no TLS; who wants some puts a proxy
//! in front. What a stranger can do is ask: body, time, connections, judgements at once and questions a minute are bounded.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use candor_verify::bytes::Address;
use candor_verify::evidence::Evidence;
use candor_verify::time::UnixSeconds;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::attestor::{Attestor, SignedVerdict};
use crate::form::{PATH, QUESTION_MAX, Question, write_answer, write_error};
use crate::judge::NotAttested;
use crate::rate::{Open, Rate};

/// Connections at once; more are closed. Registrars are few, and each asks once.
const CONNECTIONS: usize = 64;

/// Judgements at once: each is some P-384 signatures of work, and the machine has other things to do.
const JUDGEMENTS: usize = 4;

/// Time for a request's head, against slow ones.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for a request's body and its answer, which includes a few questions to a chain.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Time of one connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);

/// What was answered to a question, for the operator's eyes.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Told {
    /// A verdict was signed.
    Signed {
        /// About the evidence of this key.
        k_sig: Address,
        /// What was signed.
        attestation: Box<SignedVerdict>,
    },
    /// Nothing was signed.
    Refused {
        /// A stable word.
        code: &'static str,
        /// Why.
        message: String,
    },
}

/// Where [`Told`] goes.
pub type Watch = Arc<dyn Fn(&Told) + Send + Sync>;

/// What connections share.
struct Desk {
    attestor: Arc<Attestor>,
    judging: Semaphore,
    // Guarded for moments, never across an await.
    rate: Mutex<Rate>,
    started: Instant,
    watch: Watch,
}

type Answer = Response<Full<Bytes>>;

/// Serves until stopped.
pub async fn serve(listener: TcpListener, attestor: Arc<Attestor>, watch: Watch, mut stopped: watch::Receiver<bool>) {
    let desk = Arc::new(Desk { attestor, judging: Semaphore::new(JUDGEMENTS), rate: Mutex::default(), started: Instant::now(), watch });
    let (mut connections, open) = (JoinSet::new(), Arc::new(Open::default()));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => break,
        };
        while connections.try_join_next().is_some() {}
        let Ok((stream, peer)) = accepted else {
            // Out of file descriptors, most likely: they come back.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        if CONNECTIONS <= connections.len() {
            continue;
        }
        let Some(place) = open.enter(peer.ip()) else { continue };
        let desk = Arc::clone(&desk);
        connections.spawn(async move {
            let _place = place;
            let service = service_fn(|request| {
                let desk = Arc::clone(&desk);
                async move { Ok::<_, Infallible>(answer(&desk, request, peer).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            // Broken connections are daily life and nobody's news.
            let _outcome = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
        });
    }
    connections.abort_all();
}

async fn answer(desk: &Desk, request: Request<Incoming>, peer: SocketAddr) -> Answer {
    if request.uri().path() != PATH {
        return refuse(StatusCode::NOT_FOUND, "not_found", &format!("expected {PATH}"));
    }
    if request.method() != Method::POST {
        let mut answer = refuse(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "expected POST");
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return answer;
    }
    if !desk.takes(peer.ip()) {
        return later(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "too many questions of your address in this minute");
    }
    match tokio::time::timeout(REQUEST_TIMEOUT, judged(desk, request.into_body())).await {
        Ok(answer) => answer,
        Err(_elapsed) => later(StatusCode::SERVICE_UNAVAILABLE, "timeout", "no answer in time"),
    }
}

/// Reads the body, and answers it.
async fn judged(desk: &Desk, body: Incoming) -> Answer {
    let body = match Limited::new(body, QUESTION_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, "too_large", &format!("expected at most {QUESTION_MAX} bytes"));
        }
        Err(_) => return refuse(StatusCode::BAD_REQUEST, "malformed", "the body ended early"),
    };
    let question = match Question::parse(&body) {
        Ok(question) => question,
        Err(what) => return refuse(StatusCode::BAD_REQUEST, "malformed", &what),
    };
    let (told, answer) = match attest(desk, &question).await {
        Ok((k_sig, attestation)) => {
            let answer = respond(StatusCode::OK, &write_answer(&attestation));
            (Told::Signed { k_sig, attestation: Box::new(attestation) }, answer)
        }
        Err(refusal) => {
            let (code, message) = (refusal.code(), refusal.to_string());
            let status = status(&refusal);
            // What an endpoint says may name it: strangers get the word, the operator the sentence.
            let shown = if matches!(refusal, NotAttested::Chain(_) | NotAttested::Signing(_)) { "try again later" } else { &message };
            let answer = if refusal.is_temporary() { later(status, code, shown) } else { refuse(status, code, shown) };
            (Told::Refused { code, message }, answer)
        }
    };
    (desk.watch)(&told);
    answer
}

async fn attest(desk: &Desk, question: &Question) -> Result<(Address, SignedVerdict), NotAttested> {
    let quorum = desk.attestor.quorum();
    let (expected, got) = ((quorum.chain_id, quorum.verifier), (question.chain_id, question.verifier));
    if expected != got {
        return Err(NotAttested::AnotherQuorum { expected, got });
    }
    let evidence = Evidence::parse(&question.evidence).map_err(|error| NotAttested::Malformed(error.to_string()))?;
    let (k_sig, now) = (evidence.manifest.k_sig, now());
    let judged = {
        // It is never closed, so it is always given.
        let _turn = desk.judging.acquire().await;
        let attestor = Arc::clone(&desk.attestor);
        let judging = tokio::task::spawn_blocking(move || attestor.judge(&evidence, now)).await;
        judging.map_err(|_| NotAttested::Malformed("it could not be judged".to_owned()))??
    };
    Ok((k_sig, desk.attestor.sign(judged, now).await?))
}

/// Spec: attestor.md §3.
fn status(refusal: &NotAttested) -> StatusCode {
    match refusal {
        NotAttested::Malformed(_) => StatusCode::BAD_REQUEST,
        NotAttested::AnotherQuorum { .. } | NotAttested::AnotherRegistry { .. } => StatusCode::CONFLICT,
        NotAttested::Refused { .. } | NotAttested::FromTheFuture { .. } | NotAttested::TooOld { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        NotAttested::UnknownBlock { .. } | NotAttested::BlockNotYet { .. } | NotAttested::Chain(_) | NotAttested::Signing(_) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

impl Desk {
    fn takes(&self, who: IpAddr) -> bool {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner).takes(who, self.started.elapsed())
    }
}

/// This crate's one look at a clock.
fn now() -> UnixSeconds {
    UnixSeconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

fn refuse(status: StatusCode, code: &str, message: &str) -> Answer {
    respond(status, &write_error(code, message))
}

/// A refusal that may be another answer soon.
fn later(status: StatusCode, code: &str, message: &str) -> Answer {
    let mut answer = refuse(status, code, message);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    answer
}

fn respond(status: StatusCode, value: &Value) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
