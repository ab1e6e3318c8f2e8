//! A chain in trouble at the moment of a payment: nothing is signed, nothing is held, and with the chain back the same question is bought.
//! And a payment whose node has lost its chain: its client is told so, and sends it again.

use candor_chain::{ChainError, Rpc, RpcEndpoint};
use candor_client::{ChainTrouble, ClientError, OwnChain};
use candor_verify::time::UnixSeconds;
use serde_json::json;

use crate::support::node::Conduct;
use crate::support::rpc::{BLOCK, Rpc as Door, Says};
use crate::support::{BODY, CHAIN_ID, Scene, now_ms};

/// Asks over these endpoints a node that was verified while all was well; the trouble that kept it from paying.
async fn trouble(scene: &Scene, chain: &OwnChain, happens: impl FnOnce()) -> ChainTrouble {
    let mut node = scene.verified().await;
    happens();
    let error = scene.buy_over(chain, &mut node, BODY, &scene.book()).await.unwrap_err();
    assert_eq!((error.exit_code(), error.code(), error.check()), (2, Some("chain_unavailable"), None));
    assert!(error.to_string().starts_with("nothing was paid: "), "{error}");
    assert!(scene.node.paid().is_empty() && scene.rows().is_empty(), "something was signed");
    match error {
        ClientError::ChainTrouble(trouble) => *trouble,
        other => panic!("{other}"),
    }
}

/// Two endpoints of which so many must agree.
fn both(scene: &Scene, second: &Door, agree: usize) -> Rpc {
    let endpoint = |url: &String| RpcEndpoint { url: url.clone(), headers: Vec::new() };
    Rpc { endpoints: vec![endpoint(&scene.rpc.url), endpoint(&second.url)], agree }
}

async fn one(scene: &Scene) -> OwnChain {
    OwnChain::new(scene.chain().await)
}

#[tokio::test]
async fn an_endpoint_that_hangs_is_down_before_a_payment_is_signed() {
    let scene = Scene::new();
    let chain = one(&scene).await;
    let found = trouble(&scene, &chain, || scene.rpc.says("eth_getBlockByNumber", Says::Nothing)).await;
    assert!(matches!(&found, ChainTrouble::Down { error: ChainError::Timeout { .. }, .. }), "{found:?}");
    // It does not wait as long as a read does.
    let read = scene.chain().await;
    tokio::select! {
        biased;
        head = read.head() => panic!("the chain was waited for: {head:?}"),
        checked = chain.check() => assert_eq!(checked.unwrap_err().kind(), "down"),
    }
    scene.rpc.head(UnixSeconds(now_ms() / 1000));
    scene.buy_over(&chain, &mut scene.verified().await, BODY, &scene.book()).await.unwrap();
}

#[tokio::test]
async fn an_endpoint_that_talks_nonsense_is_down_too() {
    for says in [Says::Bytes("<html>not JSON</html>"), Says::Result(json!(null)), Says::Result(json!({"a": []}))] {
        let scene = Scene::new();
        let found = trouble(&scene, &one(&scene).await, || scene.rpc.says("eth_getBlockByNumber", says)).await;
        assert!(matches!(&found, ChainTrouble::Down { error: ChainError::Malformed { .. }, .. }), "{found:?}");
    }
}

#[tokio::test]
async fn an_endpoint_that_leads_to_another_chain_is_noticed_though_it_was_right_at_the_start() {
    let scene = Scene::new();
    let found = trouble(&scene, &one(&scene).await, || scene.rpc.says("eth_chainId", Says::Result(json!("0x1")))).await;
    assert!(matches!(&found, ChainTrouble::WrongChain { expected: CHAIN_ID, got: 1, .. }), "{found:?}");
}

#[tokio::test]
async fn a_chain_that_lost_blocks_is_told_once_and_gone_on_with() {
    let scene = Scene::new();
    let chain = one(&scene).await;
    assert!(chain.check().await.is_ok());
    scene.rpc.head_at(BLOCK - 1, UnixSeconds(now_ms() / 1000));
    let found = chain.check().await.unwrap_err();
    assert!(matches!(found, ChainTrouble::WentBack { from: BLOCK, to, .. } if to == BLOCK - 1), "{found:?}");
    assert!(chain.check().await.is_ok());
}

#[tokio::test]
async fn a_second_endpoint_contradicts_the_first_and_must_be_heard() {
    let scene = Scene::new();
    let second = Door::start();
    let chain = OwnChain::connect(both(&scene, &second, 2)).await.unwrap();
    assert!(chain.check().await.is_ok());
    let found = trouble(&scene, &chain, || second.says("eth_getBlockByNumber", Says::Nothing)).await;
    assert!(matches!(&found, ChainTrouble::Down { endpoint, .. } if *endpoint == second.url), "{found:?}");
    second.head_at(BLOCK + 1, UnixSeconds(now_ms() / 1000));
    let found = trouble(&scene, &chain, || {}).await;
    assert_eq!(found.kind(), "disagree", "{found}");
}

#[tokio::test]
async fn a_second_endpoint_of_another_chain_is_refused_at_the_start() {
    let scene = Scene::new();
    let second = Door::start();
    second.says("eth_chainId", Says::Result(json!("0x1")));
    let error = OwnChain::connect(both(&scene, &second, 1)).await.unwrap_err();
    assert!(matches!(&error, ClientError::Chain(what) if what.contains("is of chain ")), "{error}");
    let none = OwnChain::connect(Rpc { endpoints: Vec::new(), agree: 1 }).await.unwrap_err();
    assert!(matches!(&none, ClientError::Chain(what) if what.contains("got 0")), "{none}");
}

#[tokio::test]
async fn a_node_without_its_chain_is_told_as_that_and_the_payment_that_left_is_sent_again() {
    let scene = Scene::new();
    let (chain, mut node) = (one(&scene).await, scene.verified().await);
    scene.node.conduct(Conduct::Error(503, "chain_unavailable"));
    let error = scene.buy_over(&chain, &mut node, BODY, &scene.book()).await.unwrap_err();
    let ClientError::Unresolved { what, .. } = &error else { panic!("{error}") };
    assert!(what.contains("503 chain_unavailable") && !what.contains("cannot be asked at"), "{what}");
    // And if the chain is away for us too, that is said beside it.
    scene.rpc.says("eth_getBlockByNumber", Says::Bytes("not JSON"));
    let error = scene.buy_over(&chain, &mut node, BODY, &scene.book()).await.unwrap_err();
    assert!(matches!(&error, ClientError::Unresolved { what, .. } if what.contains("the chain cannot be asked at")), "{error}");
    scene.rpc.head(UnixSeconds(now_ms() / 1000));
    scene.node.conduct(Conduct::Honest);
    scene.buy_over(&chain, &mut node, BODY, &scene.book()).await.unwrap();
    assert_eq!((scene.node.payments().len(), scene.rows().len()), (1, 1), "one payment");
}

#[tokio::test]
async fn a_second_endpoint_stands_in_for_a_silent_first() {
    let scene = Scene::new();
    let second = Door::start();
    let chain = OwnChain::connect(both(&scene, &second, 1)).await.unwrap();
    scene.rpc.says("eth_getBlockByNumber", Says::Nothing);
    assert!(chain.check().await.is_ok());
    second.says("eth_getBlockByNumber", Says::Nothing);
    assert_eq!(chain.check().await.unwrap_err().kind(), "down");
}
