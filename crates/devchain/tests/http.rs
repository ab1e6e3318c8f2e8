//! The chain over a real socket: what tools send, what broken or hostile peers send, limits, shutdown.

mod support;

use std::net::SocketAddr;

use alloy::network::TransactionBuilder;
use alloy::primitives::{U256, bytes};
use alloy::providers::{Provider, ProviderBuilder};
use alloy::rpc::types::TransactionRequest;
use candor_devchain::{
    Config, DevChain, Fault, MAX_BATCH, MAX_REQUEST_BYTES, MIN_BLOCK_INTERVAL, Mining, ServeError, Server, SharedChain, serve,
};
use serde_json::{Value, json};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn start_server() -> (SharedChain, Server) {
    let chain = start();
    let server = serve(chain.clone(), SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    (chain, server)
}

/// A response as it came: status, head in lower case, body.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Sends bytes, reads until the server closes.
async fn exchange(server: &Server, request: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    // The server may refuse before it has read everything.
    drop(stream.write_all(request).await);
    let mut bytes = Vec::new();
    drop(stream.read_to_end(&mut bytes).await);
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some(Answer { status: head.split(' ').nth(1)?.parse().ok()?, head: head.to_lowercase(), body: body.to_owned() })
}

async fn post(server: &Server, headers: &str, body: &str) -> Option<Answer> {
    let request =
        format!("POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}", body.len());
    exchange(server, request.as_bytes()).await
}

async fn post_json(server: &Server, body: &str) -> Value {
    let answer = post(server, "content-type: application/json\r\n", body).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: application/json"));
    answer.json()
}

#[tokio::test]
async fn alloy_works_over_http() {
    let (_chain, server) = start_server().await;
    let alice = ProviderBuilder::new().wallet(ALICE.wallet().unwrap()).connect_http(server.url().parse().unwrap());
    let count = TransactionRequest::default().with_to(COUNTER_AT).with_input(bytes!("01"));
    let pending = alice.send_transaction(count).await.unwrap();
    let receipt = alice.get_transaction_receipt(*pending.tx_hash()).await.unwrap().unwrap();
    assert!(receipt.status());
    let read = TransactionRequest::default().with_to(COUNTER_AT);
    assert_eq!(U256::from_be_slice(&alice.call(read).await.unwrap()), U256::ONE);
    server.shutdown().await;
}

#[tokio::test]
async fn a_batch_is_answered_in_order_with_each_error_in_its_place() {
    let (_chain, server) = start_server().await;
    let body = json!([
        {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"},
        {"jsonrpc": "2.0", "id": "two", "method": "no_such", "params": []},
        {"jsonrpc": "2.0", "method": "evm_mine", "params": []},
        7,
        {"jsonrpc": "2.0", "id": 3, "method": "eth_blockNumber", "params": []},
    ]);
    let answer = post_json(&server, &body.to_string()).await;
    let answers = answer.as_array().unwrap();
    assert_eq!(answers.len(), 4, "a notification has no answer");
    assert_eq!(answers[0], json!({"jsonrpc": "2.0", "id": 1, "result": "0x7a69"}));
    assert_eq!((&answers[1]["id"], &answers[1]["error"]["code"]), (&json!("two"), &json!(-32601)));
    assert_eq!((&answers[2]["id"], &answers[2]["error"]["code"]), (&Value::Null, &json!(-32600)));
    assert_eq!(answers[3]["result"], "0x1", "the notification was executed");
}

#[tokio::test]
async fn malformed_requests_get_the_json_rpc_error_for_it() {
    let (_chain, server) = start_server().await;
    let deep = "[".repeat(100_000);
    let long_batch = json!(vec![0; MAX_BATCH + 1]).to_string();
    for (body, code) in [
        ("", -32700),
        ("{", -32700),
        ("\u{0}", -32700),
        (deep.as_str(), -32700),
        ("7", -32600),
        ("[]", -32600),
        (long_batch.as_str(), -32600),
        (r#"{"id":1,"method":"eth_chainId"}"#, -32600),
        (r#"{"jsonrpc":"1.0","id":1,"method":"eth_chainId"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":{},"method":"eth_chainId"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":5}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_call","params":{}}"#, -32602),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[]}"#, -32602),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[{},"latest",{"0x0000000000000000000000000000000000000001":{}}]}"#,
            -32602,
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0x12"]}"#, -32602),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_getLogs","params":[{"topics":[null,null,null,null,null]}]}"#, -32602),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_sendRawTransaction","params":["0xzz"]}"#, -32602),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBlockByNumber","params":["soon"]}"#, -32602),
        (r#"{"jsonrpc":"2.0","id":1,"method":"evm_increaseTime","params":[-5]}"#, -32602),
        (r#"{"jsonrpc":"2.0","id":1,"method":"debug_traceCall","params":[]}"#, -32601),
    ] {
        let answer = post_json(&server, body).await;
        assert_eq!(answer["error"]["code"], code, "{} -> {answer}", &body[..body.len().min(120)]);
        assert_eq!(answer["jsonrpc"], "2.0");
    }
    let alive = post_json(&server, r#"{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber"}"#).await;
    assert_eq!(alive["result"], "0x0");
}

#[tokio::test]
async fn notifications_alone_get_no_content() {
    let (chain, server) = start_server().await;
    let answer = post(&server, "", r#"{"jsonrpc":"2.0","method":"evm_mine"}"#).await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    assert_eq!(chain.lock().head().number, 1);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_declared_or_not() {
    let (_chain, server) = start_server().await;
    let head = "POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
    let declared = format!("{head}content-length: {}\r\n\r\n", MAX_REQUEST_BYTES + 1);
    let chunk = format!("{:x}\r\n{}\r\n", MAX_REQUEST_BYTES + 1, " ".repeat(MAX_REQUEST_BYTES + 1));
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n{chunk}0\r\n\r\n");
    for request in [declared, chunked] {
        let answer = exchange(&server, request.as_bytes()).await.unwrap();
        assert_eq!(answer.status, 413);
        assert_eq!(answer.json()["error"]["code"], -32600);
    }
}

#[tokio::test]
async fn local_pages_are_let_in_and_others_are_not() {
    let (chain, server) = start_server().await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"evm_mine"}"#;
    let local = post(&server, "origin: http://localhost:3000\r\n", body).await.unwrap();
    assert_eq!(local.status, 200);
    assert!(local.head.contains("access-control-allow-origin: http://localhost:3000"));
    let foreign = post(&server, "origin: https://example.com\r\n", body).await.unwrap();
    assert_eq!(foreign.status, 403);
    // A sandboxed frame of any page, and a page whose own name was pointed at this machine.
    let nobody = post(&server, "origin: null\r\n", body).await.unwrap();
    assert_eq!(nobody.status, 403);
    for host in ["rebound.example.com", "rebound.example.com:8545", "127.0.0.1.example.com", "[::2]:1", ""] {
        let request = format!("POST / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        assert_eq!(exchange(&server, request.as_bytes()).await.unwrap().status, 403, "{host}");
    }
    assert_eq!(chain.lock().head().number, 1, "the foreign pages mined nothing");

    let preflight = "OPTIONS / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\norigin: http://127.0.0.1:5173\r\n\
                     access-control-request-method: POST\r\naccess-control-request-headers: content-type\r\n\r\n";
    let answer = exchange(&server, preflight.as_bytes()).await.unwrap();
    assert_eq!(answer.status, 204);
    assert!(answer.head.contains("access-control-allow-headers: content-type"));
    assert!(answer.head.contains("access-control-allow-origin: http://127.0.0.1:5173"));
}

#[tokio::test]
async fn a_page_from_a_file_is_let_in_where_that_was_asked_for() {
    let chain = SharedChain::new(DevChain::new(Config { lets_in_null_origin: true, ..config() }).unwrap());
    let server = serve(chain, SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#;
    let page = post(&server, "origin: null\r\n", body).await.unwrap();
    assert_eq!(page.status, 200);
    assert!(page.head.contains("access-control-allow-origin: null"));
    assert_eq!(post(&server, "origin: https://example.com\r\n", body).await.unwrap().status, 403);
}

#[tokio::test]
async fn get_and_garbage_are_refused() {
    let (_chain, server) = start_server().await;
    let get = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    assert_eq!(exchange(&server, get).await.unwrap().status, 405);
    let garbage = exchange(&server, b"\x16\x03\x01\x02\x00\r\n\r\n").await;
    assert!(garbage.is_none_or(|answer| answer.status == 400));
}

#[tokio::test]
async fn an_address_other_machines_can_reach_is_refused() {
    for address in ["0.0.0.0:0", "192.168.1.2:8545", "[::]:0", "[2001:db8::1]:8545"] {
        let got: SocketAddr = address.parse().unwrap();
        let error = serve(start(), got).await.unwrap_err();
        assert!(matches!(error, ServeError::NotLoopback { got: refused } if refused == got), "{error}");
    }
}

#[tokio::test]
async fn an_address_in_use_is_a_bind_error() {
    let (chain, server) = start_server().await;
    let error = serve(chain, server.local_addr()).await.unwrap_err();
    assert!(matches!(error, ServeError::Bind { .. }), "{error}");
}

#[tokio::test]
async fn a_chain_that_is_down_closes_the_connection_without_an_answer() {
    let (chain, server) = start_server().await;
    chain.set_fault(Fault::Down);
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber"}"#;
    assert!(post(&server, "", body).await.is_none());
    chain.set_fault(Fault::None);
    assert_eq!(post_json(&server, body).await["result"], "0x0");
}

#[tokio::test]
async fn shutdown_closes_idle_connections_and_frees_the_port() {
    let (chain, server) = start_server().await;
    let address = server.local_addr();
    let mut idle = TcpStream::connect(address).await.unwrap();
    server.shutdown().await;
    let mut rest = Vec::new();
    assert_eq!(idle.read_to_end(&mut rest).await.unwrap_or(0), 0);
    let again = serve(chain, address).await.unwrap();
    assert_eq!(again.local_addr(), address);
}

#[tokio::test]
async fn a_served_chain_makes_blocks_by_the_clock_until_it_is_told_not_to() {
    let (chain, server) = start_server().await;
    let wallet = ALICE.wallet().unwrap();
    let alice = ProviderBuilder::new().wallet(wallet).connect_http(server.url().parse().unwrap());
    alice.client().set_poll_interval(MIN_BLOCK_INTERVAL);
    chain.lock().set_mining(Mining::Every(MIN_BLOCK_INTERVAL));
    let count = TransactionRequest::default().with_to(COUNTER_AT).with_input(bytes!("01"));
    let receipt = alice.send_transaction(count).await.unwrap().get_receipt().await.unwrap();
    assert!(receipt.status());
    while chain.lock().head().number < 3 {
        tokio::time::sleep(MIN_BLOCK_INTERVAL).await;
    }
    server.shutdown().await;
    // A block that was being made when the server stopped is made.
    let head = || chain.lock().head().number;
    let mut last = head();
    loop {
        tokio::time::sleep(10 * MIN_BLOCK_INTERVAL).await;
        if head() == last {
            return;
        }
        assert!(head() <= last + 1, "nobody makes blocks any more");
        last = head();
    }
}
