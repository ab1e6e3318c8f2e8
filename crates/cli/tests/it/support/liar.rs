//! A JSON-RPC endpoint in front of a real chain that lies on demand: what a bad provider, or whoever sits before it, can tell a node.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use candor_testhttp::{Http, serve};
use candor_verify::bytes::{Address, Hash32, from_hex};
use candor_verify::hash::keccak256;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Method, Request, Response};
use serde_json::{Value, json};

/// What it says instead of the truth.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Lie {
    /// None.
    #[default]
    None,
    /// Closes every connection when it has a request.
    Down,
    /// Takes every request and never answers.
    Silent,
    /// Says which chain it is, and answers everything else with a text that quotes the URL.
    Quotes(Form),
    /// Is another chain.
    ChainId(u64),
    /// Everybody has this much of every token.
    Balance(u128),
    /// Keeps transactions that move this payer's money to itself, and says that they were executed.
    Moved(Transfer),
}

/// How a URL is quoted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// In a body that is no JSON.
    Text,
    /// In place of the result.
    Result,
    /// In a JSON-RPC error.
    Error,
    /// In the body of a 401.
    Unauthorized,
}

/// A transfer that does not happen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Transfer {
    pub(crate) asset: Address,
    pub(crate) from: Address,
    pub(crate) to: Address,
    pub(crate) amount: u128,
    /// Of the authorization that it uses up.
    pub(crate) nonce: Hash32,
}

/// `balanceOf(address)`.
const BALANCE_OF: &str = "0x70a08231";

#[derive(Default)]
struct State {
    lie: Lie,
    // Hashes of transactions that were kept back, with the transfer that they would have made.
    kept_back: Vec<(Hash32, Transfer)>,
    // Every call, as JSON.
    calls: Vec<String>,
}

/// The endpoint, until the test process ends.
pub(crate) struct Liar {
    /// `http://` of it.
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

impl Liar {
    /// In front of this chain, telling the truth.
    pub(crate) fn start(chain: &str) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let (shared, chain) = (Arc::clone(&state), chain.to_owned());
        let address = serve(None, move |request| answer(chain.clone(), Arc::clone(&shared), request));
        Self { url: format!("http://{address}"), state }
    }

    /// From now on.
    pub(crate) fn tell(&self, lie: Lie) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).lie = lie;
    }

    /// How many calls of this method named this.
    pub(crate) fn calls(&self, method: &str, named: &str) -> usize {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.calls.iter().filter(|call| call.contains(method) && call.contains(named)).count()
    }

    /// How many transactions were kept back.
    pub(crate) fn kept_back(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).kept_back.len()
    }
}

async fn answer(chain: String, state: Arc<Mutex<State>>, request: Request<Bytes>) -> io::Result<Response<Full<Bytes>>> {
    let asked_at = request.uri().to_string();
    let body = request.into_body();
    let packet: Value = serde_json::from_slice(&body).map_err(io::Error::other)?;
    let lie = state.lock().unwrap_or_else(PoisonError::into_inner).lie;
    match lie {
        Lie::Down => return Err(io::ErrorKind::ConnectionReset.into()),
        Lie::Silent => std::future::pending().await,
        Lie::Quotes(Form::Text) if packet["method"] != "eth_chainId" => return Ok(response(200, quote(&asked_at))),
        Lie::Quotes(Form::Unauthorized) if packet["method"] != "eth_chainId" => return Ok(response(401, quote(&asked_at))),
        _ => {}
    }
    let said = match &packet {
        Value::Array(batch) => {
            let mut said = Vec::new();
            for asked in batch {
                said.push(say(&chain, &state, lie, asked, &asked_at).await?);
            }
            Value::Array(said)
        }
        asked => say(&chain, &state, lie, asked, &asked_at).await?,
    };
    Ok(response(200, said.to_string()))
}

/// What is said to one call.
async fn say(chain: &str, state: &Mutex<State>, lie: Lie, asked: &Value, asked_at: &str) -> io::Result<Value> {
    state.lock().unwrap_or_else(PoisonError::into_inner).calls.push(asked.to_string());
    let invented = match lie {
        Lie::Quotes(Form::Result) if asked["method"] != "eth_chainId" => Some(json!(quote(asked_at))),
        Lie::Quotes(Form::Error) if asked["method"] != "eth_chainId" => {
            return Ok(json!({"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -32000, "message": quote(asked_at)}}));
        }
        Lie::ChainId(id) if asked["method"] == "eth_chainId" => Some(json!(format!("{id:#x}"))),
        Lie::Balance(units) if is_balance(asked) => Some(json!(format!("0x{units:064x}"))),
        Lie::Moved(transfer) if asked["method"] == "eth_sendRawTransaction" => keep_back(state, asked, transfer),
        _ => None,
    };
    let invented = match invented {
        Some(invented) => Some(invented),
        // Told once, told for ever: a liar that wants to be believed does not contradict itself.
        None => receipt(chain, state, asked).await?,
    };
    match invented {
        Some(result) => Ok(json!({"jsonrpc": "2.0", "id": asked["id"], "result": result})),
        None => serde_json::from_slice(&forward(chain, asked.to_string().into()).await?).map_err(io::Error::other),
    }
}

fn quote(asked_at: &str) -> String {
    format!("nothing is known of {asked_at}")
}

fn response(status: u16, body: String) -> Response<Full<Bytes>> {
    Response::builder().status(status).header("content-type", "application/json").body(Full::new(body.into())).unwrap()
}

fn is_balance(asked: &Value) -> bool {
    let call = &asked["params"][0];
    let data = call["input"].as_str().or(call["data"].as_str()).unwrap_or_default();
    asked["method"] == "eth_call" && data.starts_with(BALANCE_OF)
}

/// The hash of a transaction that moves this payer's money, which goes no further.
fn keep_back(state: &Mutex<State>, asked: &Value, transfer: Transfer) -> Option<Value> {
    let raw = from_hex(asked["params"][0].as_str()?)?;
    if !raw.windows(20).any(|window| window == transfer.from.0) {
        return None;
    }
    let hash = keccak256(&[&raw]);
    state.lock().unwrap_or_else(PoisonError::into_inner).kept_back.push((hash, transfer));
    Some(json!(hash.to_string()))
}

/// The receipt of a transaction that was kept back.
async fn receipt(chain: &str, state: &Mutex<State>, asked: &Value) -> io::Result<Option<Value>> {
    if asked["method"] != "eth_getTransactionReceipt" {
        return Ok(None);
    }
    let found = {
        let state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.kept_back.iter().find(|(hash, _)| asked["params"][0] == hash.to_string()).copied()
    };
    let Some((hash, transfer)) = found else { return Ok(None) };
    let question = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_getBlockByNumber", "params": ["latest", false]});
    let head: Value = serde_json::from_slice(&forward(chain, question.to_string().into()).await?).unwrap();
    let (number, block) = (&head["result"]["number"], &head["result"]["hash"]);
    let topic = |address: &Address| format!("0x{}{}", "0".repeat(24), address.to_string().trim_start_matches("0x"));
    let log = |index: u8, event: &str, third: String, data: String| {
        json!({
            "address": transfer.asset.to_string(), "data": data,
            "topics": [keccak256(&[event.as_bytes()]).to_string(), topic(&transfer.from), third],
            "blockNumber": number, "blockHash": block, "transactionHash": hash.to_string(), "transactionIndex": "0x0",
            "logIndex": format!("0x{index:x}"), "removed": false,
        })
    };
    let used = log(0, "AuthorizationUsed(address,bytes32)", transfer.nonce.to_string(), "0x".into());
    let moved = log(1, "Transfer(address,address,uint256)", topic(&transfer.to), format!("0x{:064x}", transfer.amount));
    Ok(Some(json!({
        "type": "0x2", "status": "0x1", "transactionHash": hash.to_string(), "transactionIndex": "0x0", "blockNumber": number,
        "blockHash": block, "from": Address([7; 20]).to_string(), "to": transfer.asset.to_string(), "contractAddress": null,
        "cumulativeGasUsed": "0xffff", "gasUsed": "0xffff", "effectiveGasPrice": "0x1", "logsBloom": format!("0x{}", "0".repeat(512)),
        "logs": [used, moved],
    })))
}

async fn forward(chain: &str, body: Bytes) -> io::Result<Bytes> {
    let headers = [("content-type", "application/json")];
    let reply = Http::connect(chain).await?.try_send(Method::POST, "/", &headers, body.into()).await.map_err(io::Error::other)?;
    Ok(reply.body)
}
