//! The endpoints of one chain as one: the first that is well answers, or several must say the same.
//!
//! Below alloy, so that no caller knows of it. An endpoint that fails, is too slow or is over its limits rests for a while, longer each time, and
//! the next is asked. With [`Pool::agree`] above one a question goes to so many at once, and to more where one says otherwise; answers that differ are asked again for some moments,
//! because endpoints see a new block one after the other; what differs still is an error and never an answer.
//!
//! Trust: without agreement whoever answers is believed, as with one endpoint. Fees, estimates and what waits for a block are never compared:
//! endpoints differ in them by right, and no decision about evidence hangs on them.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use alloy::rpc::json_rpc::{ErrorPayload, Id, Request, RequestPacket, ResponsePacket, ResponsePayload};
use alloy::transports::http::{Http, reqwest};
use alloy::transports::{TransportError, TransportErrorKind, TransportFut, TransportResult};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tower_service::Service;

use crate::alike::Alike;
use crate::health::{Asked, EndpointHealth, RpcFailure};
use crate::rpc::Reach;

/// How long an endpoint is waited for while there is another to ask.
const ATTEMPT: Duration = Duration::from_secs(3);

/// A question that its asker gave up after so long says something of the endpoint; a shorter one of the asker.
const SLOW: Duration = Duration::from_millis(1_500);

/// How long endpoints that must agree are waited for before one more is asked beside them.
const HURRY: Duration = Duration::from_millis(500);

/// First rest of an endpoint that failed; doubles up to 64 times this.
const REST: Duration = Duration::from_secs(1);

/// First pause where every endpoint is over its limits; doubles.
const BACK_OFF: Duration = Duration::from_millis(200);

/// How often a question is asked where every endpoint is over its limits.
const ROUNDS: u32 = 4;

/// Between two looks at endpoints that differ, and how many: a new block reaches all of them within two seconds.
const DIFFER_PAUSE: Duration = Duration::from_millis(400);
const DIFFER_ROUNDS: u32 = 6;

/// What is told to all.
const BROADCAST: &str = "eth_sendRawTransaction";

/// Answers that are never compared.
const FREE: [&str; 7] =
    ["eth_accounts", "eth_blockNumber", "eth_chainId", "eth_estimateGas", "eth_feeHistory", "eth_gasPrice", "eth_maxPriorityFeePerGas"];

/// Several endpoints behind one transport. Clones share the health of each.
#[derive(Clone)]
pub(crate) struct Pool {
    members: Arc<[Arc<Member>]>,
    agree: usize,
}

struct Member {
    name: String,
    http: Http<reqwest::Client>,
    /// The chain of the pool, once it is known.
    chain_id: Arc<OnceLock<u64>>,
    // Guarded for moments.
    health: Mutex<Health>,
    asked: Asked,
}

#[derive(Clone, Copy, Default)]
struct Health {
    failures: u32,
    rests_until: Option<Instant>,
    // It may have been away, and may be back as another chain.
    is_doubtful: bool,
}

/// What came of a question to one endpoint.
enum Said {
    Answer(ResponsePacket),
    /// It answers nobody for a while; with what it said.
    Limited(TransportResult<ResponsePacket>),
    Away(TransportError),
}

/// Endpoints of one chain that do not say the same.
#[derive(Debug)]
pub(crate) struct Differ {
    /// Their names.
    pub(crate) endpoints: String,
}

impl fmt::Display for Differ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} give different answers", self.endpoints)
    }
}

impl std::error::Error for Differ {}

impl Pool {
    pub(crate) fn new(reaches: &[Reach], agree: usize, chain_id: &Arc<OnceLock<u64>>) -> Self {
        let member = |reach: &Reach| {
            // What the others are compared with is not known yet: the first question to each says whether it is of the same chain.
            let health = Mutex::new(Health { is_doubtful: 1 < reaches.len(), ..Health::default() });
            let (name, http) = (reach.endpoint.name().to_owned(), reach.http.clone());
            Arc::new(Member { name, http, chain_id: Arc::clone(chain_id), health, asked: Asked::default() })
        };
        Self { members: reaches.iter().map(member).collect(), agree }
    }

    /// How many of them must say the same.
    pub(crate) fn agree(&self) -> usize {
        self.agree
    }

    /// How many endpoints there are, and how many of them do not rest.
    pub(crate) fn health(&self) -> (usize, usize) {
        (self.members.len(), self.members.iter().filter(|member| !member.is_resting()).count())
    }

    /// How each endpoint does, in the order of the list.
    pub(crate) fn each(&self) -> Vec<EndpointHealth> {
        self.members.iter().map(|member| member.asked.health(!member.is_resting())).collect()
    }

    /// Whoever is well in the order of the list, then whoever rests, the one that rests longest last.
    fn order(&self) -> VecDeque<Arc<Member>> {
        let mut members: Vec<_> = self.members.iter().map(|member| (member.rest(), Arc::clone(member))).collect();
        members.sort_by_key(|(rest, _)| *rest);
        members.into_iter().map(|(_, member)| member).collect()
    }

    async fn answer(self, request: RequestPacket) -> TransportResult<ResponsePacket> {
        if 1 < self.members.len() && request.requests().iter().any(|request| request.method() == BROADCAST) {
            return self.everywhere(&request).await;
        }
        let is_free = request.requests().iter().all(|request| FREE.contains(&request.method()));
        if self.agree < 2 || is_free { self.first(&request).await } else { self.agreed(&request).await }
    }

    /// The answer of the first that gives one.
    async fn first(&self, request: &RequestPacket) -> TransportResult<ResponsePacket> {
        for round in 0.. {
            let (mut limited, mut away) = (None, None);
            let mut order = self.order();
            while let Some(member) = order.pop_front() {
                let patience = if order.is_empty() { None } else { Some(ATTEMPT) };
                match member.ask(request.clone(), patience).await {
                    Said::Answer(answer) => return Ok(answer),
                    Said::Limited(said) => limited = Some(said),
                    Said::Away(error) => away = Some(error),
                }
            }
            match limited {
                Some(_) if round + 1 < ROUNDS => sleep(BACK_OFF.saturating_mul(1 << round)).await,
                Some(said) => return said,
                None => return Err(away.unwrap_or_else(|| TransportErrorKind::custom_str("no endpoint"))),
            }
        }
        unreachable!("the last round returns")
    }

    /// A transaction goes to all: whoever takes it and drops it keeps it from nobody. The first that takes it is enough; the others are still told.
    async fn everywhere(&self, request: &RequestPacket) -> TransportResult<ResponsePacket> {
        let mut telling = JoinSet::new();
        for member in self.order() {
            let request = request.clone();
            telling.spawn(async move { member.ask(request, None).await });
        }
        let mut refused = None;
        while let Some(told) = telling.join_next().await {
            match told.map_err(TransportErrorKind::custom)? {
                Said::Answer(answer) if answer.is_success() => {
                    telling.detach_all();
                    return Ok(answer);
                }
                Said::Answer(answer) => refused = Some(Ok(answer)),
                Said::Limited(said) => refused = refused.or(Some(said)),
                Said::Away(error) => refused = refused.or(Some(Err(error))),
            }
        }
        refused.unwrap_or_else(|| Err(TransportErrorKind::custom_str("no endpoint")))
    }

    /// The answer in which so many agree.
    async fn agreed(&self, request: &RequestPacket) -> TransportResult<ResponsePacket> {
        let mut outcome = self.compare(request).await;
        for _ in 1..DIFFER_ROUNDS {
            match &outcome {
                Err(error) if may_pass(error) => {}
                _ => break,
            }
            sleep(DIFFER_PAUSE).await;
            outcome = self.compare(request).await;
        }
        outcome
    }

    /// One look at whether so many agree: as many are asked as must, and another in the place of each that fails or says otherwise. So a liar
    /// among many keeps nobody from an answer, and fewer liars than must agree never make one.
    async fn compare(&self, request: &RequestPacket) -> TransportResult<ResponsePacket> {
        let (mut order, mut asked, mut hurry) = (self.order(), JoinSet::new(), 0);
        let (mut answers, mut failed): (Vec<Alike>, _) = (Vec::new(), None);
        let is_logs = asks_for_logs(request);
        loop {
            let most = answers.iter().map(Alike::count).max().unwrap_or(0);
            while most + asked.len() < self.agree + hurry
                && let Some(member) = order.pop_front()
            {
                let (request, patience) = (request.clone(), if order.is_empty() { None } else { Some(ATTEMPT) });
                asked.spawn(async move { (member.name.clone(), member.ask(request, patience).await) });
            }
            let said = match timeout(HURRY, asked.join_next()).await {
                Ok(said) => said,
                // One that takes its time is not waited for alone.
                Err(_) if !order.is_empty() => {
                    hurry += 1;
                    continue;
                }
                Err(_) => asked.join_next().await,
            };
            let Some(said) = said else { break };
            match said.map_err(TransportErrorKind::custom)? {
                (name, Said::Answer(answer)) => match Alike::join(&mut answers, name, &answer, is_logs) {
                    Some(alike) if self.agree <= alike.count() => return alike.answer(),
                    Some(_) => {}
                    None => failed = Some(TransportErrorKind::custom_str("an answer that makes no sense")),
                },
                (_, Said::Away(error)) => failed = Some(error),
                // What says that it is a limit is never an answer here: whoever says so could say anything beside it.
                (_, Said::Limited(_)) => failed = Some(TransportErrorKind::http_error(429, String::new())),
            }
        }
        if 1 < answers.len() {
            let names: Vec<String> = answers.into_iter().flat_map(Alike::into_names).collect();
            return Err(TransportErrorKind::custom(Differ { endpoints: names.join(" and ") }));
        }
        Err(failed.unwrap_or_else(|| TransportErrorKind::custom_str("no endpoint")))
    }
}

impl Service<RequestPacket> for Pool {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RequestPacket) -> Self::Future {
        Box::pin(self.clone().answer(request))
    }
}

impl Member {
    fn health(&self) -> std::sync::MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until when it rests; `None` if it does not.
    fn rest(&self) -> Option<Instant> {
        self.health().rests_until.filter(|until| Instant::now() < *until)
    }

    fn is_resting(&self) -> bool {
        self.rest().is_some()
    }

    fn is_well(&self) {
        let mut health = self.health();
        (health.failures, health.rests_until) = (0, None);
    }

    fn failed(&self, how: RpcFailure) {
        self.asked.failed(how);
        let mut health = self.health();
        health.rests_until = Some(Instant::now() + REST.saturating_mul(1 << health.failures.min(6)));
        health.failures = health.failures.saturating_add(1);
        health.is_doubtful = true;
    }

    async fn ask(&self, request: RequestPacket, patience: Option<Duration>) -> Said {
        let mut turn = Turn { member: self, began: Instant::now(), is_over: false };
        self.asked.began();
        let is_logs = asks_for_logs(&request);
        let asked_for: Vec<Id> = request.requests().iter().map(|request| request.id().clone()).collect();
        let asked = async {
            self.check_chain().await?;
            self.http.clone().call(request).await
        };
        let answer = match patience {
            Some(patience) => timeout(patience, asked).await.unwrap_or_else(|_| Err(TransportErrorKind::custom_str("too slow"))),
            None => asked.await,
        };
        turn.is_over = true;
        let took = turn.began.elapsed();
        match answer {
            Ok(answer) if is_over_limits(&answer, &asked_for, is_logs) => {
                self.failed(RpcFailure::Limited);
                Said::Limited(Ok(answer))
            }
            // Whoever says no has answered; a batch that is not answered is this endpoint's way.
            Ok(answer) => {
                self.asked.answered(took);
                self.is_well();
                Said::Answer(answer)
            }
            Err(error) if error.as_transport_err().is_some_and(is_limit) => {
                self.failed(RpcFailure::Limited);
                Said::Limited(Err(error))
            }
            Err(error) => {
                self.failed(if patience.is_some_and(|patience| patience <= took) { RpcFailure::Slow } else { RpcFailure::Away });
                Said::Away(error)
            }
        }
    }

    /// One that was away may be back as another chain: then it answers nothing here. Alone it says so to whoever compares.
    async fn check_chain(&self) -> TransportResult<()> {
        let Some(expected) = self.chain_id.get().filter(|_| self.health().is_doubtful) else { return Ok(()) };
        let request = Request::new("eth_chainId", Id::Number(0), ()).serialize().map_err(TransportError::ser_err)?;
        let answer = self.http.clone().call(request.into()).await?;
        // One that is over its limits says nothing of its chain.
        if is_over_limits(&answer, &[Id::Number(0)], false) {
            return Err(TransportErrorKind::http_error(429, String::new()));
        }
        let ResponsePacket::Single(answer) = answer else {
            return Err(TransportErrorKind::custom_str("a batch for a question"));
        };
        let got = match &answer.payload {
            ResponsePayload::Success(value) => serde_json::from_str::<alloy::primitives::U64>(value.get()).ok().map(|id| id.to::<u64>()),
            ResponsePayload::Failure(_) => None,
        };
        if got != Some(*expected) {
            return Err(TransportErrorKind::custom_str("another chain"));
        }
        self.health().is_doubtful = false;
        Ok(())
    }
}

/// A question under way. One that its asker drops after a while was too slow.
struct Turn<'a> {
    member: &'a Member,
    began: Instant,
    is_over: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.is_over && SLOW <= self.began.elapsed() {
            self.member.failed(RpcFailure::Slow);
        }
    }
}

/// Whether another look may say otherwise: endpoints that differ see a new block one after the other, and a limit is of a moment.
fn may_pass(error: &TransportError) -> bool {
    error.as_transport_err().is_some_and(|kind| is_limit(kind) || kind.as_custom().is_some_and(|error| error.is::<Differ>()))
}

fn asks_for_logs(request: &RequestPacket) -> bool {
    request.requests().iter().any(|request| request.method() == "eth_getLogs")
}

/// Whether an endpoint says by its HTTP status that too much was asked.
fn is_limit(kind: &TransportErrorKind) -> bool {
    kind.as_http_error().is_some_and(|error| error.status == 429)
}

/// Whether an answer says that too much was asked. Providers use one code for that and for a range of events that is too long.
fn is_over_limits(answer: &ResponsePacket, asked: &[Id], is_logs: bool) -> bool {
    let says_so = |error: &ErrorPayload| {
        let message = error.message.to_ascii_lowercase();
        error.code == 429 || (error.code == -32005 && !is_logs) || is_of_rate(&message)
    };
    let mut responses = answer.responses().iter().filter(|response| asked.contains(&response.id));
    responses.any(|response| matches!(&response.payload, ResponsePayload::Failure(error) if says_so(error)))
}

/// Whether an error's text, in lower case, is of too many questions.
pub(crate) fn is_of_rate(message: &str) -> bool {
    ["too many requests", "rate limit", "request rate", "compute units per second"].iter().any(|part| message.contains(part))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn packet(value: &Value) -> ResponsePacket {
        serde_json::from_value(value.clone()).unwrap()
    }

    #[test]
    fn a_limit_of_a_range_is_no_limit_of_questions() {
        let said = |code: i64, message: &str| packet(&json!({"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": message}}));
        for (code, message, of_logs, of_others) in [
            (-32005, "query returned more than 10000 results", false, true),
            (-32005, "daily request count exceeded, request rate limited", true, true),
            (429, "slow down", true, true),
            (-32000, "header not found", false, false),
            (3, "execution reverted", false, false),
        ] {
            let answer = said(code, message);
            let says = |is_logs| is_over_limits(&answer, &[Id::Number(1)], is_logs);
            assert_eq!((says(true), says(false)), (of_logs, of_others), "{message}");
            assert!(!is_over_limits(&answer, &[Id::Number(2)], false), "nobody asked that");
        }
    }
}
