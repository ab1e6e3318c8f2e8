//! A chain that says what it is told to: JSON-RPC over HTTP, a table from method to answer.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use candor_testhttp::serve;
use candor_verify::time::UnixSeconds;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, Response};
use serde_json::{Value, json};

use super::{CHAIN_ID, h};

/// What a method is answered with.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    /// A result.
    Result(Value),
    /// These bytes instead of JSON-RPC.
    Bytes(&'static str),
    /// Nothing, for ever.
    Nothing,
}

type Table = Arc<Mutex<BTreeMap<String, Says>>>;

/// The server, until the process ends.
pub(crate) struct Rpc {
    pub(crate) url: String,
    table: Table,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Rpc {
    /// A chain with one block, which is now.
    pub(crate) fn start() -> Self {
        let (table, calls) = (Table::default(), Arc::new(Mutex::new(Vec::new())));
        let (shared, made) = (Arc::clone(&table), Arc::clone(&calls));
        let address = serve(None, move |request| answer(Arc::clone(&shared), Arc::clone(&made), request));
        let rpc = Self { url: format!("http://{address}"), table, calls };
        rpc.says("eth_chainId", Says::Result(json!(format!("0x{CHAIN_ID:x}"))));
        rpc.head(UnixSeconds(super::now_ms() / 1000));
        rpc
    }

    /// From now on this method is answered so. A call of a contract is `eth_call:SELECTOR`, a search for
    /// an event `eth_getLogs:` and the first ten characters of its (first) topic.
    pub(crate) fn says(&self, method: &str, says: Says) {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).insert(method.to_owned(), says);
    }

    /// Every block is this one, of this time.
    pub(crate) fn head(&self, timestamp: UnixSeconds) {
        self.head_at(BLOCK, timestamp);
    }

    /// The same with another number.
    pub(crate) fn head_at(&self, number: u64, timestamp: UnixSeconds) {
        self.says("eth_getBlockByNumber", Says::Result(block(number, timestamp)));
    }

    /// Methods asked so far.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Number and hash of the one block.
pub(crate) const BLOCK: u64 = 7;

fn block(number: u64, timestamp: UnixSeconds) -> Value {
    let zero = "0x0";
    let hash = h(if number == BLOCK { 0x82 } else { 0x83 });
    json!({
        "number": format!("0x{number:x}"), "hash": hash.to_string(), "parentHash": h(0).to_string(), "sha3Uncles": h(0).to_string(),
        "stateRoot": h(0).to_string(), "transactionsRoot": h(0).to_string(), "receiptsRoot": h(0).to_string(),
        "miner": format!("0x{}", "00".repeat(20)), "logsBloom": format!("0x{}", "00".repeat(256)), "difficulty": zero,
        "gasLimit": zero, "gasUsed": zero, "timestamp": format!("0x{:x}", timestamp.0), "extraData": "0x", "mixHash": h(0).to_string(),
        "nonce": "0x0000000000000000", "baseFeePerGas": zero, "size": zero, "uncles": [], "transactions": [],
    })
}

async fn answer(table: Table, calls: Arc<Mutex<Vec<String>>>, request: Request<Bytes>) -> io::Result<Response<Full<Bytes>>> {
    let call: Value = serde_json::from_slice(request.body()).unwrap_or_default();
    let method = call["method"].as_str().unwrap_or_default().to_owned();
    let params = &call["params"][0];
    let topic = &params["topics"][0];
    let input = [&params["input"], &params["data"], topic, &topic[0]].into_iter().find_map(Value::as_str).unwrap_or_default();
    let selector = format!("{method}:{}", input.chars().take(10).collect::<String>());
    calls.lock().unwrap_or_else(PoisonError::into_inner).push(if input.is_empty() { method.clone() } else { selector.clone() });
    let says = {
        let table = table.lock().unwrap_or_else(PoisonError::into_inner);
        table.get(&selector).or_else(|| table.get(&method)).cloned()
    };
    let text = match says {
        Some(Says::Result(result)) => json!({"jsonrpc": "2.0", "id": call["id"], "result": result}).to_string(),
        Some(Says::Bytes(bytes)) => bytes.to_owned(),
        Some(Says::Nothing) => std::future::pending().await,
        None => json!({"jsonrpc": "2.0", "id": call["id"], "error": {"code": -32601, "message": "no such method"}}).to_string(),
    };
    let response = Response::builder().header("content-type", "application/json").body(Full::new(Bytes::from(text)));
    Ok(response.unwrap_or_default())
}
