//! One chain behind a lock, and the JSON-RPC envelope around its methods.
//!
//! Both front ends hand request bytes to [`SharedChain::answer`] and carry back what it returns; parsing, batches,
//! notifications, limits and injected faults are therefore the same in process and over HTTP.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::chain::DevChain;
use crate::config::{MIN_BLOCK_INTERVAL, Mining};
use crate::error::ChainError;
use crate::fault::Fault;

/// The most requests in one batch.
pub const MAX_BATCH: usize = 1000;

/// The most bytes the answers of one batch may take; requests after that are refused unexecuted.
pub const MAX_RESPONSE_BYTES: usize = 64 << 20;

/// A chain that several clients use. Clones share the chain.
#[derive(Clone, Debug)]
pub struct SharedChain {
    /// Guards the whole chain; held for one request at a time, never across an await.
    chain: Arc<Mutex<DevChain>>,
}

/// What a front end sends back. This list is complete.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub enum Reply {
    /// This JSON text.
    Body(String),
    /// Nothing: there were only notifications.
    Nothing,
    /// No answer at all, as if the node were gone; see [`Fault`].
    Disconnect,
}

impl SharedChain {
    /// Puts a chain where several clients can use it.
    #[must_use]
    pub fn new(chain: DevChain) -> Self {
        Self { chain: Arc::new(Mutex::new(chain)) }
    }

    /// The chain itself, for tests that steer it. Requests wait while the guard lives; do not hold it across an await.
    pub fn lock(&self) -> MutexGuard<'_, DevChain> {
        // A panic in a test that held the guard leaves a whole chain: every change is made after all that can fail.
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a block each time [`Mining::Every`] says so, for as long as this is awaited. [`serve`](crate::serve) does; a chain that is used
    /// in process only needs it if its blocks shall come by the clock.
    pub async fn make_blocks(&self) {
        let mut mining = self.lock().watch_mining();
        loop {
            let now = *mining.borrow_and_update();
            let waited = match now {
                Mining::Every(interval) => timeout(interval.max(MIN_BLOCK_INTERVAL), mining.changed()).await,
                Mining::Instant | Mining::Manual => Ok(mining.changed().await),
            };
            match waited {
                Ok(Ok(())) => {}
                // The chain is gone.
                Ok(Err(_)) => return,
                Err(_) => self.make_block().await,
            }
        }
    }

    async fn make_block(&self) {
        let chain = self.clone();
        // The EVM may run for seconds: not on a thread that serves sockets. A chain that is full makes no more blocks.
        drop(tokio::task::spawn_blocking(move || drop(chain.lock().mine())).await);
    }

    /// What goes wrong for JSON-RPC clients from now on.
    pub fn set_fault(&self, fault: Fault) {
        self.lock().set_fault(fault);
    }

    /// [`Config::lets_in_null_origin`](crate::Config::lets_in_null_origin).
    pub(crate) fn lets_in_null_origin(&self) -> bool {
        self.lock().lets_in_null_origin()
    }

    /// Answers one JSON-RPC request or batch. Needs a tokio runtime only under [`Fault::Slow`].
    pub async fn answer(&self, body: &[u8]) -> Reply {
        self.delay().await;
        self.answer_now(body)
    }

    /// Waits as long as [`Fault::Slow`] says.
    pub(crate) async fn delay(&self) {
        let delay_ms = match self.lock().fault() {
            Fault::Slow { delay_ms } => *delay_ms,
            _ => return,
        };
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
    }

    /// [`SharedChain::answer`] without the delay; blocks while the EVM runs.
    pub(crate) fn answer_now(&self, body: &[u8]) -> Reply {
        if *self.lock().fault() == Fault::Down {
            return Reply::Disconnect;
        }
        let Ok(packet) = serde_json::from_slice::<Value>(body) else {
            return Reply::Body(failure(&Value::Null, &ChainError::NotJson));
        };
        let reply = match &packet {
            Value::Array(batch) => self.answer_batch(batch),
            request => self.answer_one(request).map_or(Reply::Nothing, Reply::Body),
        };
        match self.lock().fault() {
            Fault::LoseSendReply if sends_a_transaction(&packet) => Reply::Disconnect,
            _ => reply,
        }
    }

    fn answer_batch(&self, batch: &[Value]) -> Reply {
        if batch.is_empty() {
            let error = ChainError::InvalidRequest { reason: "an empty batch" };
            return Reply::Body(failure(&Value::Null, &error));
        }
        if MAX_BATCH < batch.len() {
            let error = ChainError::BatchTooLong { limit: MAX_BATCH, got: batch.len() };
            return Reply::Body(failure(&Value::Null, &error));
        }
        let mut body = String::new();
        for request in batch {
            let answer = if body.len() < MAX_RESPONSE_BYTES {
                self.answer_one(request)
            } else {
                let error = ChainError::ResponseTooLarge { limit: MAX_RESPONSE_BYTES };
                request.get("id").map(|id| failure(id, &error))
            };
            if let Some(answer) = answer {
                body.push(if body.is_empty() { '[' } else { ',' });
                body.push_str(&answer);
            }
        }
        if body.is_empty() {
            return Reply::Nothing;
        }
        body.push(']');
        Reply::Body(body)
    }

    /// `None` for a notification.
    fn answer_one(&self, request: &Value) -> Option<String> {
        let call = match Call::parse(request) {
            Ok(call) => call,
            Err(error) => {
                let id = request.get("id").filter(|id| is_id(id));
                return Some(failure(id.unwrap_or(&Value::Null), &error));
            }
        };
        let result = self.execute(&call);
        let id = call.id?;
        Some(match result {
            Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string(),
            Err(error) => failure(id, &error),
        })
    }

    fn execute(&self, call: &Call<'_>) -> Result<Value, ChainError> {
        let mut chain = self.lock();
        match chain.fault() {
            Fault::Answer { method, result } if method == call.method => Ok(result.clone()),
            Fault::Refuse { method, code, message } if method == call.method => {
                Err(ChainError::Injected { code: *code, message: message.clone() })
            }
            Fault::NarrowLogs { blocks } if call.method == "eth_getLogs" && *blocks < range_of(call.params) => {
                Err(ChainError::Injected { code: -32005, message: format!("more than {blocks} blocks") })
            }
            _ => chain.call_method(call.method, call.params),
        }
    }
}

/// How many blocks a filter of `eth_getLogs` spans; the largest number where it does not say.
fn range_of(params: &[Value]) -> u64 {
    let end = |name: &str| {
        let hex = params.first()?.get(name)?.as_str()?.strip_prefix("0x")?;
        u64::from_str_radix(hex, 16).ok()
    };
    match (end("fromBlock"), end("toBlock")) {
        (Some(from), Some(to)) => to.saturating_sub(from).saturating_add(1),
        _ => u64::MAX,
    }
}

/// One well-formed JSON-RPC 2.0 request.
struct Call<'a> {
    /// `None` makes it a notification.
    id: Option<&'a Value>,
    method: &'a str,
    params: &'a [Value],
}

impl<'a> Call<'a> {
    fn parse(request: &'a Value) -> Result<Self, ChainError> {
        let invalid = |reason| ChainError::InvalidRequest { reason };
        let Value::Object(fields) = request else {
            return Err(invalid("not an object"));
        };
        if fields.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return Err(invalid("jsonrpc is not \"2.0\""));
        }
        let id = fields.get("id");
        if id.is_some_and(|id| !is_id(id)) {
            return Err(invalid("id is neither string, number nor null"));
        }
        let method = fields.get("method").and_then(Value::as_str);
        let params = match fields.get("params") {
            None | Some(Value::Null) => &[],
            Some(Value::Array(params)) => params.as_slice(),
            Some(_) => {
                return Err(ChainError::InvalidParams { reason: "parameters are by position, in an array".to_owned() });
            }
        };
        Ok(Self { id, method: method.ok_or(invalid("method is not a string"))?, params })
    }
}

fn is_id(value: &Value) -> bool {
    matches!(value, Value::Null | Value::Number(_) | Value::String(_))
}

fn sends_a_transaction(packet: &Value) -> bool {
    let sends = |request: &Value| request.get("method").is_some_and(|method| method == "eth_sendRawTransaction");
    match packet {
        Value::Array(batch) => batch.iter().any(sends),
        request => sends(request),
    }
}

/// An error response. `data` is left out when there is none: some clients read null data as revert data.
pub(crate) fn failure(id: &Value, error: &ChainError) -> String {
    let mut object = json!({"code": error.code(), "message": error.to_string()});
    if let (Some(data), Value::Object(fields)) = (error.data(), &mut object) {
        fields.insert("data".to_owned(), Value::String(data.to_string()));
    }
    json!({"jsonrpc": "2.0", "id": id, "error": object}).to_string()
}
