//! A chain that says what it is told to: JSON-RPC over HTTP, a table from method to answer.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

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

/// The server, until the runtime ends.
pub(crate) struct Rpc {
    pub(crate) url: String,
    table: Table,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Rpc {
    /// A chain with one block, which is now.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (table, calls) = (Table::default(), Arc::new(Mutex::new(Vec::new())));
        let rpc = Self { url, table: Arc::clone(&table), calls: Arc::clone(&calls) };
        rpc.says("eth_chainId", Says::Result(json!(format!("0x{CHAIN_ID:x}"))));
        rpc.head(super::now_ms() / 1000);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (table, calls) = (Arc::clone(&table), Arc::clone(&calls));
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(Arc::clone(&table), Arc::clone(&calls), request));
                    drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        rpc
    }

    /// From now on this method is answered so. A call of a contract is `eth_call:SELECTOR`.
    pub(crate) fn says(&self, method: &str, says: Says) {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).insert(method.to_owned(), says);
    }

    /// Every block is this one, of this time.
    pub(crate) fn head(&self, timestamp_s: u64) {
        self.head_at(BLOCK, timestamp_s);
    }

    /// The same with another number.
    pub(crate) fn head_at(&self, number: u64, timestamp_s: u64) {
        self.says("eth_getBlockByNumber", Says::Result(block(number, timestamp_s)));
    }

    /// Methods asked so far.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Number and hash of the one block.
pub(crate) const BLOCK: u64 = 7;

fn block(number: u64, timestamp_s: u64) -> Value {
    let zero = "0x0";
    let hash = h(if number == BLOCK { 0x82 } else { 0x83 });
    json!({
        "number": format!("0x{number:x}"), "hash": hash.to_string(), "parentHash": h(0).to_string(), "sha3Uncles": h(0).to_string(),
        "stateRoot": h(0).to_string(), "transactionsRoot": h(0).to_string(), "receiptsRoot": h(0).to_string(),
        "miner": format!("0x{}", "00".repeat(20)), "logsBloom": format!("0x{}", "00".repeat(256)), "difficulty": zero,
        "gasLimit": zero, "gasUsed": zero, "timestamp": format!("0x{timestamp_s:x}"), "extraData": "0x", "mixHash": h(0).to_string(),
        "nonce": "0x0000000000000000", "baseFeePerGas": zero, "size": zero, "uncles": [], "transactions": [],
    })
}

async fn answer(table: Table, calls: Arc<Mutex<Vec<String>>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let call: Value = serde_json::from_slice(&body).unwrap_or_default();
    let method = call["method"].as_str().unwrap_or_default().to_owned();
    let input = call["params"][0]["input"].as_str().or(call["params"][0]["data"].as_str()).unwrap_or_default();
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
