//! Several endpoints as one, over real connections: who is asked, who is left out, and who must agree.

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use candor_chain::{ChainClient, ChainError, Fees, Outage, Rpc, RpcEndpoint, Transaction};
use candor_devchain::{Config, DevChain, Reply, SharedChain};
use candor_testhttp::serve;
use candor_verify::{Address, Amount};
use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use serde_json::{Value, json};
use support::dev_signer;

/// How an endpoint answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mood {
    Well,
    /// HTTP status.
    Status(u16),
    /// JSON-RPC error code.
    Error(i64),
    Hangs,
    /// Another balance than the chain's.
    Lies,
    /// Takes transactions and keeps them.
    Drops,
}

/// An endpoint of a chain, in a mood that the test changes, with what it was asked and its last `x-api-key`.
#[derive(Clone)]
struct Door {
    url: String,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<Mutex<Vec<String>>>,
    key: Arc<Mutex<Option<String>>>,
}

impl Door {
    fn to(chain: &SharedChain, mood: Mood) -> Self {
        let (mood, asked, key) =
            (Arc::new(Mutex::new(mood)), Arc::<Mutex<Vec<String>>>::default(), Arc::<Mutex<Option<String>>>::default());
        let (chain, its_mood, its_asked, its_key) = (chain.clone(), Arc::clone(&mood), Arc::clone(&asked), Arc::clone(&key));
        let address = serve(None, move |request: hyper::Request<Bytes>| {
            let (chain, asked) = (chain.clone(), Arc::clone(&its_asked));
            let mood = *its_mood.lock().unwrap();
            *its_key.lock().unwrap() = request.headers().get("x-api-key").map(|value| value.to_str().unwrap().to_owned());
            async move {
                let packet: Value = serde_json::from_slice(request.body()).unwrap();
                let (method, id) = (packet["method"].as_str().unwrap_or("batch").to_owned(), packet["id"].clone());
                asked.lock().unwrap().push(method.clone());
                let body = |text: String| Ok(Response::new(Full::new(Bytes::from(text))));
                match mood {
                    Mood::Hangs => std::future::pending().await,
                    Mood::Status(status) => Ok(Response::builder().status(status).body(Full::new(Bytes::new())).unwrap()),
                    Mood::Error(code) => body(json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": "no"}}).to_string()),
                    Mood::Lies if method == "eth_getBalance" => body(json!({"jsonrpc": "2.0", "id": id, "result": "0x7"}).to_string()),
                    Mood::Drops if method == "eth_sendRawTransaction" => {
                        body(json!({"jsonrpc": "2.0", "id": id, "result": format!("0x{}", "11".repeat(32))}).to_string())
                    }
                    Mood::Well | Mood::Lies | Mood::Drops => match chain.answer(request.body()).await {
                        Reply::Body(said) => body(said),
                        other => panic!("{other:?}"),
                    },
                }
            }
        });
        Self { url: format!("http://{address}"), mood, asked, key }
    }

    fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// What it was asked since the last look.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

fn chain(chain_id: u64) -> SharedChain {
    SharedChain::new(DevChain::new(Config { chain_id, ..Config::default() }.with_dev_accounts()).unwrap())
}

fn rpc(doors: &[&Door], agree: usize) -> Rpc {
    Rpc { endpoints: doors.iter().map(|door| RpcEndpoint { url: door.url.clone(), headers: Vec::new() }).collect(), agree }
}

fn payer() -> Address {
    dev_signer(4).address()
}

async fn balance(client: &ChainClient) -> Result<Amount, ChainError> {
    client.native_balance(&payer()).await
}

#[tokio::test]
async fn whoever_fails_rests_and_the_next_is_asked() {
    let chain = chain(31337);
    for mood in [Mood::Status(500), Mood::Status(429), Mood::Error(429), Mood::Error(-32005), Mood::Hangs] {
        let (one, two) = (Door::to(&chain, Mood::Well), Door::to(&chain, Mood::Well));
        let client = ChainClient::connect(rpc(&[&one, &two], 1), None).await.unwrap();
        let expected = balance(&client).await.unwrap();
        assert_eq!(client.health(), (2, 2), "{mood:?}");
        drop((one.asked(), two.asked()));

        one.is(mood);
        assert_eq!(balance(&client).await, Ok(expected), "{mood:?}");
        assert_eq!((one.asked().len(), client.health()), (1, (2, 1)), "{mood:?}");
        assert_eq!(two.asked(), ["eth_chainId", "eth_getBalance"], "before the first question, whether it is of this chain");
        assert_eq!(balance(&client).await, Ok(expected), "{mood:?}");
        assert_eq!((one.asked().len(), two.asked().len()), (0, 1), "it rests: {mood:?}");
        // With nobody else left it is asked all the same, for its chain first.
        one.is(Mood::Well);
        two.is(Mood::Status(503));
        assert_eq!(balance(&client).await, Ok(expected), "{mood:?}");
        assert_eq!(one.asked(), ["eth_chainId", "eth_getBalance"], "{mood:?}");
        assert_eq!(client.health(), (2, 1), "{mood:?}");
    }
}

#[tokio::test]
async fn an_endpoint_that_its_asker_gave_up_rests_too() {
    let chain = chain(31337);
    let (one, two) = (Door::to(&chain, Mood::Well), Door::to(&chain, Mood::Well));
    let client = ChainClient::connect(rpc(&[&one, &two], 1), None).await.unwrap().with_timeout(Duration::from_secs(2));
    one.is(Mood::Hangs);
    assert!(matches!(balance(&client).await, Err(ChainError::Timeout { .. })));
    balance(&client).await.expect("the other answers at once");
}

#[tokio::test]
async fn one_that_is_over_its_limits_for_a_moment_is_asked_again() {
    let chain = chain(31337);
    let one = Door::to(&chain, Mood::Well);
    let client = ChainClient::connect(rpc(&[&one], 1), None).await.unwrap();
    one.asked();
    one.is(Mood::Error(-32005));
    let (balance, ()) = tokio::join!(balance(&client), async {
        while one.asked.lock().unwrap().len() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        one.is(Mood::Well);
    });
    assert!(balance.is_ok(), "{balance:?}");
    // And where it goes on it is told, after a few times.
    one.is(Mood::Status(429));
    one.asked();
    let refused = client.native_balance(&payer()).await;
    assert!(matches!(refused, Err(ChainError::Unavailable { .. })), "{refused:?}");
    assert_eq!(one.asked().len(), 4);
}

#[tokio::test]
async fn what_a_contract_refuses_is_an_answer_and_nobody_rests() {
    let chain = chain(31337);
    let (one, two) = (Door::to(&chain, Mood::Well), Door::to(&chain, Mood::Well));
    let client = ChainClient::connect(rpc(&[&one, &two], 1), None).await.unwrap();
    two.asked();
    let refused = client.call(&Address([0x4e; 20]), &[]).await;
    assert!(refused.is_ok(), "no code: {refused:?}");
    one.is(Mood::Error(3));
    assert!(matches!(client.call(&payer(), &[]).await, Err(ChainError::Rejected { code: 3, .. })));
    assert_eq!((two.asked().len(), client.health()), (0, (2, 2)));
}

#[tokio::test]
async fn endpoints_that_must_agree_and_differ_give_no_answer() {
    let chain = chain(31337);
    let (one, two, three) = (Door::to(&chain, Mood::Well), Door::to(&chain, Mood::Well), Door::to(&chain, Mood::Well));
    let client = ChainClient::connect(rpc(&[&one, &two, &three], 2), None).await.unwrap();
    let expected = balance(&client).await.unwrap();
    // A liar among three keeps nobody from what the two others say, and is not believed.
    for liar in [&one, &two, &three] {
        liar.is(Mood::Lies);
        assert_eq!(balance(&client).await, Ok(expected));
        liar.is(Mood::Well);
    }
    // With one that is away, a liar and an honest one are no two that agree.
    for (liar, away) in [(&one, &three), (&two, &three), (&three, &one)] {
        liar.is(Mood::Lies);
        away.is(Mood::Status(500));
        let refused = balance(&client).await.unwrap_err();
        let ChainError::Differ { endpoints, .. } = &refused else { panic!("{refused:?}") };
        assert!(endpoints.contains(&liar.url) && !endpoints.contains(&away.url) && refused.is_temporary(), "{refused}");
        liar.is(Mood::Well);
        away.is(Mood::Well);
    }
    // A limit is no answer, and no agreement, whatever else is said beside it.
    for door in [&one, &two, &three] {
        door.is(Mood::Error(429));
    }
    assert!(matches!(balance(&client).await, Err(ChainError::Unavailable { outage: Outage::Status(429), .. })));
    for door in [&one, &two, &three] {
        door.is(Mood::Well);
    }
    assert_eq!(balance(&client).await, Ok(expected));
    // One that is silent cannot speak for a third: the next is heard in its place.
    two.is(Mood::Status(500));
    assert_eq!(balance(&client).await, Ok(expected));
    three.is(Mood::Lies);
    assert!(matches!(balance(&client).await, Err(ChainError::Differ { .. })));
    // And one alone is no two.
    three.is(Mood::Status(500));
    assert!(matches!(balance(&client).await, Err(ChainError::Unavailable { .. })));
}

#[tokio::test]
async fn a_transaction_goes_to_all_and_whoever_drops_it_keeps_it_from_nobody() {
    let chain = chain(31337);
    let (one, two) = (Door::to(&chain, Mood::Drops), Door::to(&chain, Mood::Well));
    let client = ChainClient::connect(rpc(&[&one, &two], 1), None).await.unwrap();
    let tx = Transaction {
        chain_id: 31337,
        nonce: 0,
        gas_limit: 21_000,
        fees: Fees { max_fee_per_gas: 2_000_000_000, max_priority_fee_per_gas: 0 },
        to: Some(payer()),
        value: Amount(1),
        calldata: Vec::new(),
    };
    let signed = dev_signer(3).sign_transaction(&tx).unwrap();
    client.broadcast(&signed).await.unwrap();
    client.wait_for(&signed.hash, Duration::from_secs(30)).await.unwrap();
}

#[tokio::test]
async fn endpoints_of_two_chains_are_refused_also_if_the_other_is_heard_of_later() {
    let (ours, other) = (chain(31337), chain(84532));
    let (one, two) = (Door::to(&ours, Mood::Well), Door::to(&other, Mood::Well));
    for expected in [None, Some(31337), Some(84532)] {
        let refused = ChainClient::connect(rpc(&[&one, &two], 1), expected).await.unwrap_err();
        assert!(matches!(&refused, ChainError::Misuse { detail, .. } if detail.contains("of chain")), "{refused}");
    }
    two.is(Mood::Status(500));
    let client = ChainClient::connect(rpc(&[&one, &two], 1), None).await.unwrap();
    two.is(Mood::Well);
    one.is(Mood::Status(500));
    two.asked();
    assert!(matches!(balance(&client).await, Err(ChainError::Unavailable { .. })));
    assert_eq!(two.asked(), ["eth_chainId"], "it is asked nothing else");
}

#[tokio::test]
async fn at_the_start_as_many_must_answer_as_must_agree() {
    let chain = chain(31337);
    let (one, two) = (Door::to(&chain, Mood::Status(500)), Door::to(&chain, Mood::Well));
    ChainClient::connect(rpc(&[&one, &two], 1), Some(31337)).await.unwrap();
    let refused = ChainClient::connect(rpc(&[&one, &two], 2), Some(31337)).await;
    assert!(matches!(refused, Err(ChainError::Unavailable { .. })), "{refused:?}");
    for (doors, agree) in [(vec![], 1), (vec![&two], 2), (vec![&two], 0), (vec![&two, &two], 1)] {
        let refused = ChainClient::connect(rpc(&doors, agree), None).await;
        assert!(matches!(refused, Err(ChainError::Misuse { .. })), "{agree}: {refused:?}");
    }
}

#[tokio::test]
async fn an_endpoint_in_two_spellings_is_no_two() {
    let chain = chain(31337);
    let door = Door::to(&chain, Mood::Well);
    let endpoint = |url: String| RpcEndpoint { url, headers: Vec::new() };
    let twice = Rpc { endpoints: vec![endpoint(door.url.clone()), endpoint(format!("{}/", door.url))], agree: 2 };
    let refused = ChainClient::connect(twice, None).await.unwrap_err();
    assert!(matches!(&refused, ChainError::Misuse { detail, .. } if detail.contains("named twice")), "{refused}");
}

#[tokio::test]
async fn a_limit_of_a_moment_is_waited_for_where_several_must_agree() {
    let chain = chain(31337);
    let (one, two) = (Door::to(&chain, Mood::Well), Door::to(&chain, Mood::Well));
    let client = ChainClient::connect(rpc(&[&one, &two], 2), None).await.unwrap();
    // By its HTTP status, and by an error, which is the answer to the question about its chain too.
    for mood in [Mood::Status(429), Mood::Error(-32005)] {
        two.is(mood);
        two.asked();
        let (balance, ()) = tokio::join!(balance(&client), async {
            while two.asked.lock().unwrap().len() < 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            two.is(Mood::Well);
        });
        assert!(balance.is_ok(), "{mood:?}: {balance:?}");
    }
}

#[tokio::test]
async fn headers_go_along_and_are_never_told() {
    let chain = chain(31337);
    let door = Door::to(&chain, Mood::Well);
    let with = |value: &str| {
        let endpoint = RpcEndpoint { url: door.url.clone(), headers: vec![("X-Api-Key".to_owned(), value.to_owned())] };
        Rpc { endpoints: vec![endpoint], agree: 1 }
    };
    let client = ChainClient::connect(with("SECRET-1"), None).await.unwrap();
    assert_eq!(door.key.lock().unwrap().as_deref(), Some("SECRET-1"));
    assert!(!format!("{client:?} {:?}", with("SECRET-1")).contains("SECRET"));
    let refused = ChainClient::connect(with("SECRET\n2"), None).await.unwrap_err();
    assert!(!refused.to_string().contains("SECRET"), "{refused}");
}
