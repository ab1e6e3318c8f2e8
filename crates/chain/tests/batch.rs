//! What one question about a payer costs: requests over a real connection, counted by the server.

mod support;

use std::sync::{Arc, Mutex};

use candor_chain::{ChainClient, ChainError, PayerState};
use candor_devchain::{Reply, SharedChain};
use candor_testhttp::serve;
use candor_verify::scheme::Scheme;
use candor_verify::{Address, Amount, Hash32};
use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use serde_json::{Value, json};
use support::World;

type Asked = Arc<Mutex<Vec<Value>>>;

/// An endpoint of the chain that remembers what it was asked, request by request.
fn endpoint(chain: &SharedChain, takes_batches: bool, asked: &Asked) -> String {
    let (chain, asked) = (chain.clone(), Arc::clone(asked));
    let address = serve(None, move |request: hyper::Request<Bytes>| {
        let (chain, asked) = (chain.clone(), Arc::clone(&asked));
        async move {
            let packet: Value = serde_json::from_slice(request.body()).unwrap();
            let is_refused = packet.is_array() && !takes_batches;
            asked.lock().unwrap().push(packet);
            let said = match chain.answer(request.body()).await {
                _ if is_refused => json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32600, "message": "no batches"}}).to_string(),
                Reply::Body(said) => said,
                other => panic!("{other:?}"),
            };
            Ok(Response::new(Full::new(Bytes::from(said))))
        }
    });
    format!("http://{address}")
}

fn state(asset_has_code: bool, balance: Amount) -> PayerState {
    PayerState { asset_has_code, balance, allowance: Amount::ZERO, permit_nonce: None, nonce_used: false }
}

#[tokio::test]
async fn a_known_token_is_asked_about_a_payer_in_one_request() {
    let world = World::start().await;
    let (asset, payer, nonce) = (world.contracts.test_usd, world.payer.address(), Hash32([7; 32]));
    world.mint(&payer, Amount(5000)).await;
    let asked = Asked::default();
    let client = ChainClient::connect(&endpoint(&world.shared, true, &asked), Some(31337)).await.unwrap();
    let requests = || std::mem::take(&mut *asked.lock().unwrap());
    assert_eq!(requests().len(), 1, "the chain id");

    let state = state(true, Amount(5000));
    assert_eq!(client.payer_state(Scheme::ExactEip3009, &asset, &payer, &nonce).await, Ok(state));
    assert_eq!(requests().len(), 2, "its code, once");
    assert_eq!(client.payer_state(Scheme::ExactEip3009, &asset, &payer, &nonce).await, Ok(state));
    let asked = requests();
    assert_eq!((asked.len(), asked[0].as_array().map(Vec::len)), (1, Some(2)), "{asked:?}");
}

#[tokio::test]
async fn of_two_calls_in_one_request_each_has_its_own_error() {
    let world = World::start().await;
    let (payer, nonce) = (world.payer.address(), Hash32([7; 32]));
    // A contract, and no token: it has neither function.
    let refused = world.client.payer_state(Scheme::ExactEip3009, &world.contracts.registry, &payer, &nonce).await;
    assert!(matches!(refused, Err(ChainError::Rejected { .. })), "{refused:?}");
    // No contract: nobody is asked.
    let nothing = world.client.payer_state(Scheme::ExactEip3009, &Address([1; 20]), &payer, &nonce).await;
    assert_eq!(nothing, Ok(state(false, Amount::ZERO)));
}

#[tokio::test]
async fn an_endpoint_that_takes_no_batches_says_so_at_once() {
    let world = World::start().await;
    let client = ChainClient::connect(&endpoint(&world.shared, false, &Asked::default()), Some(31337)).await.unwrap();
    let refused =
        client.payer_state(Scheme::ExactEip3009, &world.contracts.test_usd, &world.payer.address(), &Hash32([7; 32])).await.unwrap_err();
    assert!(refused.to_string().contains("batch"), "{refused}");
}
