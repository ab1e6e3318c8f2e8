//! What one question about a payer costs: requests over a real connection, counted by the server.

mod support;

use std::sync::{Arc, Mutex};

use candor_chain::{ChainClient, ChainError, PayerState};
use candor_devchain::{Reply, SharedChain};
use candor_verify::{Address, Amount, Hash32};
use support::World;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

type Asked = Arc<Mutex<Vec<serde_json::Value>>>;

/// The chain over HTTP, remembering what it was asked, request by request.
async fn serve(chain: SharedChain, asked: Asked) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, chain.clone(), Arc::clone(&asked)));
        }
    });
    url
}

async fn connection(mut stream: TcpStream, chain: SharedChain, asked: Asked) {
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        while let Some((body, end)) = request(&read) {
            asked.lock().unwrap().push(serde_json::from_slice(body).unwrap());
            let Reply::Body(text) = chain.answer(body).await else { return };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", text.len());
            stream.write_all(format!("{head}{text}").as_bytes()).await.unwrap();
            read.drain(..end);
        }
        match stream.read(&mut buffer).await {
            Ok(count @ 1..) => read.extend_from_slice(&buffer[..count]),
            _ => return,
        }
    }
}

/// The body of the first request that is here as a whole, and where it ends.
fn request(read: &[u8]) -> Option<(&[u8], usize)> {
    let start = read.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&read[..start]).to_ascii_lowercase();
    let length: usize = head.split_once("content-length: ")?.1.split("\r\n").next()?.parse().ok()?;
    Some((read.get(start..start + length)?, start + length))
}

#[tokio::test]
async fn a_known_token_is_asked_about_a_payer_in_one_request() {
    let world = World::start().await;
    let (asset, payer, nonce) = (world.contracts.test_usd, world.payer.address(), Hash32([7; 32]));
    world.mint(&payer, Amount(5000)).await;
    let asked = Asked::default();
    let client = ChainClient::connect(&serve(world.shared.clone(), Arc::clone(&asked)).await, Some(31337)).await.unwrap();
    let requests = || std::mem::take(&mut *asked.lock().unwrap());
    assert_eq!(requests().len(), 1, "the chain id");

    let state = PayerState { asset_has_code: true, balance: Amount(5000), nonce_used: false };
    assert_eq!(client.payer_state(&asset, &payer, &nonce).await, Ok(state));
    assert_eq!(requests().len(), 2, "its code, once");
    assert_eq!(client.payer_state(&asset, &payer, &nonce).await, Ok(state));
    let asked = requests();
    assert_eq!((asked.len(), asked[0].as_array().map(Vec::len)), (1, Some(2)), "{asked:?}");
}

#[tokio::test]
async fn of_two_calls_in_one_request_each_has_its_own_error() {
    let world = World::start().await;
    let (payer, nonce) = (world.payer.address(), Hash32([7; 32]));
    // A contract, and no token: it has neither function.
    let refused = world.client.payer_state(&world.contracts.registry, &payer, &nonce).await;
    assert!(matches!(refused, Err(ChainError::Rejected { .. })), "{refused:?}");
    // No contract: nobody is asked.
    let nothing = world.client.payer_state(&Address([1; 20]), &payer, &nonce).await;
    assert_eq!(nothing, Ok(PayerState { asset_has_code: false, balance: Amount::ZERO, nonce_used: false }));
}
