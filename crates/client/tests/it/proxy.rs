//! The proxy over several nodes of this process, each of which does what a test wants: who is asked and paid, who is left, what a payment that was
//! left becomes, and what a node that lies gets through to an SDK.

use std::sync::Arc;
use std::time::Duration;

use candor_client::{Endpoint, Keep, KeepMode, OwnChain, PolicyFile, Proxy, ProxyConfig, ProxyEvent, ProxyKeys};
use candor_testhttp::{Http, Reply};
use candor_testkit::fresh_hypervisor;
use candor_verify::hash::sha256;
use hyper::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::node::{Boot, Conduct, Server};
use crate::support::{CHARGED, Scene, wallet};

const CHAT: &str = "/v1/chat/completions";

/// Several nodes at different prices, and a proxy that may ask them.
struct Several {
    scene: Scene,
    /// The second at twice the price of the first, and so on.
    nodes: Vec<Server>,
    url: String,
    events: mpsc::UnboundedReceiver<ProxyEvent>,
    serving: tokio::task::JoinHandle<()>,
}

impl Several {
    async fn new(count: u8, max_unresolved: u32) -> Self {
        Self::keeping(count, max_unresolved, KeepMode::Full).await
    }

    async fn keeping(count: u8, max_unresolved: u32, mode: KeepMode) -> Self {
        Self::with(count, max_unresolved, mode, None, "").await
    }

    /// Whose token has these decimals, if it is known; and with a file of keys.
    async fn with(count: u8, max_unresolved: u32, mode: KeepMode, decimals: Option<u8>, keys: &str) -> Self {
        let mut scene = Scene::new();
        let mut nodes = Vec::new();
        for at in 0..count {
            let hypervisor = Arc::new(fresh_hypervisor(&format!("{}-{at}", scene.state.file_name().unwrap().to_str().unwrap())));
            scene.policy.roots.push(hypervisor.trust_root());
            nodes.push(Server::start(Boot::selling_at(hypervisor, 0x40 + at, u128::from(at) + 1)));
        }
        scene.spend.assets[0].max_unresolved = max_unresolved;
        scene.spend.assets[0].max_per_day = candor_verify::bytes::Amount(1_000_000);
        let (events, received) = mpsc::unbounded_channel();
        let limit = scene.spend.assets[0];
        let decimals = decimals.map(|decimals| ((limit.network.0, limit.asset), decimals)).into_iter().collect();
        let config = ProxyConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            chain: OwnChain::new(scene.chain().await),
            registry: candor_verify::bytes::Address([0xe1; 20]),
            nodes: nodes.iter().map(|node| Endpoint::parse(&node.url()).unwrap()).collect(),
            policy: PolicyFile::new(scene.policy.clone(), scene.spend.clone()),
            decimals,
            wallet: Some(wallet()),
            key: None,
            book: scene.book(),
            keep: Keep::new(scene.index(), mode),
            token: None,
            keys: (!keys.is_empty()).then(|| {
                let file = scene.state.join("proxy-keys.toml");
                std::fs::write(&file, keys).unwrap();
                ProxyKeys::open(&file).unwrap()
            }),
            drops_unknown: false,
            events,
        };
        let proxy = Proxy::bind(config).await.unwrap();
        let url = format!("http://{}", proxy.local_addr().unwrap());
        Self { scene, nodes, url, events: received, serving: tokio::spawn(proxy.serve()) }
    }

    async fn ask(&self, further: Value) -> Reply {
        self.ask_as("nobody", further).await
    }

    async fn ask_as(&self, key: &str, further: Value) -> Reply {
        let mut body = json!({"model": "fixture", "messages": [{"role": "user", "content": "What is a receipt?"}], "max_tokens": 64});
        body.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        let bearer = format!("Bearer {key}");
        let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
        Http::connect(&self.url).await.unwrap().send(Method::POST, CHAT, &headers, body.to_string().into_bytes()).await
    }

    /// How many payments each node was sent.
    fn payments(&self) -> Vec<usize> {
        self.nodes.iter().map(|node| node.payments().len()).collect()
    }

    fn authority(&self, at: usize) -> String {
        self.nodes[at].url().trim_start_matches("https://").to_owned()
    }

    /// Every notice so far.
    fn notices(&mut self) -> String {
        let mut out = String::new();
        while let Ok(event) = self.events.try_recv() {
            if let ProxyEvent::Notice(line) = event {
                out.push_str(&line);
                out.push('\n');
            }
        }
        out
    }
}

impl Drop for Several {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[tokio::test]
async fn the_cheapest_node_is_asked_and_nobody_else() {
    let several = Several::new(3, 2).await;
    let reply = several.ask(json!({})).await;
    assert_eq!((reply.status, reply.header("x-candor-node")), (200, Some(several.authority(0).as_str())), "{reply:?}");
    assert_eq!(several.payments(), [1, 0, 0]);
    assert!(several.nodes[1..].iter().all(|node| node.quotes() == 0), "nobody else sees the prompt");
}

#[tokio::test]
async fn a_node_that_fails_before_a_payment_was_signed_is_left_for_the_next() {
    for conduct in [
        Conduct::NoQuote,
        Conduct::QuoteError(429, "too_many_quotes"),
        Conduct::QuoteError(503, "chain_unavailable"),
        Conduct::QuoteError(500, "internal"),
        Conduct::TooDear,
        Conduct::AnotherBoot,
    ] {
        let several = Several::new(2, 2).await;
        several.nodes[0].conduct(conduct);
        let reply = several.ask(json!({})).await;
        assert_eq!((reply.status, reply.header("x-candor-node")), (200, Some(several.authority(1).as_str())), "{conduct:?}: {reply:?}");
        assert_eq!(several.payments(), [0, 1], "{conduct:?}");
    }
}

#[tokio::test]
async fn what_a_node_says_of_the_request_itself_is_said_to_whoever_asked() {
    let several = Several::new(2, 2).await;
    several.nodes[0].conduct(Conduct::QuoteError(400, "invalid_value"));
    let reply = several.ask(json!({})).await;
    assert_eq!((reply.status, reply.error_code().as_str(), several.nodes[1].quotes()), (400, "invalid_value", 0), "{reply:?}");
}

#[tokio::test]
async fn a_node_that_dies_with_the_payment_is_left_another_is_paid_and_the_late_answer_is_kept() {
    let mut several = Several::new(2, 2).await;
    several.nodes[0].conduct(Conduct::Dead);
    let reply = several.ask(json!({})).await;
    assert_eq!((reply.status, reply.header("x-candor-node")), (200, Some(several.authority(1).as_str())), "{reply:?}");
    assert_eq!(several.payments(), [1, 1]);
    let states = |scene: &Scene| -> Vec<bool> { scene.rows().iter().map(|row| row.state == CHARGED).collect() };
    assert_eq!(states(&several.scene).iter().filter(|charged| !**charged).count(), 1, "the first may still be charged");
    // It comes back with the answer that was paid for: sent again, never made again.
    several.nodes[0].conduct(Conduct::Honest);
    for _ in 0..200 {
        if several.scene.kept().len() == 2 && states(&several.scene).iter().all(|charged| *charged) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(several.scene.kept().len(), 2);
    assert!(states(&several.scene).iter().all(|charged| *charged));
    assert_eq!(several.payments(), [1, 1]);
    let notices = several.notices();
    assert!(notices.contains("its payment is followed") && notices.contains("answered late"), "{notices}");
}

#[tokio::test]
async fn a_node_whose_terms_give_the_token_other_decimals_than_it_has_is_not_paid() {
    // As the terms of the fixture have them, and as another token would.
    for (decimals, status, paid) in [(6, 200, 1), (18, 502, 0)] {
        let several = Several::with(1, 1, KeepMode::Full, Some(decimals), "").await;
        let reply = several.ask(json!({})).await;
        assert_eq!((reply.status, several.scene.rows().len()), (status, paid), "{reply:?}");
    }
}

/// A file with one key of this name, which is the key too.
fn key(name: &str, limits: &str) -> String {
    format!("[[key]]\nname = \"{name}\"\nhash = \"{}\"\n{limits}\n", sha256(&[name.as_bytes()]))
}

#[tokio::test]
async fn a_budget_that_is_too_small_for_one_node_buys_from_a_cheaper_one() {
    let several = Several::with(2, 2, KeepMode::Full, Some(6), &key("a", "")).await;
    let price = several.ask_as("a", json!({})).await.json()["candor"]["charge"]["amount"].as_str().unwrap().parse().unwrap();
    for (limit, amount, status) in
        [("per_request", price, 200), ("per_day", price, 200), ("per_hour", price - 1, 429), ("per_request", price - 1, 502)]
    {
        let amount = candor_report::decimal_text(candor_verify::bytes::Amount(amount), 6);
        let several = Several::with(2, 2, KeepMode::Full, Some(6), &key("a", &format!("{limit} = \"{amount}\""))).await;
        let dear_first = several.ask_as("a", json!({"provider": {"order": [several.authority(1)]}})).await;
        assert_eq!(dear_first.status, status, "{limit} {amount}: {dear_first:?}");
        assert_eq!(several.payments(), [usize::from(status == 200), 0]);
        if status == 200 && limit == "per_day" {
            let spent = several.ask_as("a", json!({"seed": 1})).await;
            assert_eq!((spent.status, spent.error_code().as_str()), (429, "insufficient_quota"), "{spent:?}");
        }
    }
    // Without the token's own decimals nobody knows how much money a unit is.
    for (limits, status) in [("per_day = \"1000\"", 502), ("", 200)] {
        let unknown = Several::with(1, 2, KeepMode::Full, None, &key("a", limits)).await;
        let reply = unknown.ask_as("a", json!({})).await;
        assert_eq!((reply.status, unknown.scene.rows().len()), (status, usize::from(status == 200)), "{reply:?}");
    }
}

#[tokio::test]
async fn what_one_caller_asked_and_paid_is_nothing_to_another() {
    let keys = key("a", "") + &key("b", "");
    let several = Several::with(1, 2, KeepMode::Full, Some(6), &keys).await;
    several.nodes[0].conduct(Conduct::Error(402, "insufficient_funds"));
    let held = several.ask_as("a", json!({})).await;
    assert_eq!((held.status, held.error_code().as_str()), (402, "candor_unresolved"), "{held:?}");
    several.nodes[0].conduct(Conduct::Honest);
    let other = several.ask_as("b", json!({})).await;
    assert_eq!((other.status, several.scene.rows().len()), (200, 2), "a payment of its own: {other:?}");
    assert_eq!(several.ask_as("c", json!({})).await.status, 401);
}

#[tokio::test]
async fn whoever_asks_again_while_their_payment_is_followed_pays_no_second_time_and_gets_the_late_answer() {
    let mut several = Several::keeping(1, 1, KeepMode::Proof).await;
    several.nodes[0].conduct(Conduct::Error(402, "insufficient_funds"));
    for _ in 0..3 {
        let reply = several.ask(json!({})).await;
        assert_eq!((reply.status, reply.error_code().as_str()), (402, "candor_unresolved"), "{reply:?}");
        assert_eq!(several.scene.rows().len(), 1, "one payment, whoever asks");
    }
    several.nodes[0].conduct(Conduct::Honest);
    let mut said = String::new();
    for _ in 0..200 {
        said.push_str(&several.notices());
        if said.contains("answered late") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Its texts were read by nobody: it is kept whole, though proofs are kept of others.
    let kept = several.scene.kept();
    assert!(kept.iter().any(|name| name.ends_with(".candor") && !name.ends_with(".proof.candor")), "{kept:?} {said}");
    let reply = several.ask(json!({})).await;
    assert_eq!((reply.status, several.scene.rows().len(), several.scene.rows()[0].state), (200, 1, CHARGED), "{reply:?}");
    // That one was given; another is another answer.
    assert_eq!(several.ask(json!({})).await.status, 200);
    assert_eq!(several.scene.rows().len(), 2);
}

#[tokio::test]
async fn never_more_payments_stand_unresolved_than_the_policy_allows() {
    for (max_unresolved, paid) in [(0, [1, 0, 0]), (1, [1, 0, 0]), (2, [1, 1, 0]), (3, [1, 1, 1])] {
        let several = Several::new(3, max_unresolved).await;
        several.nodes.iter().for_each(|node| node.conduct(Conduct::Error(402, "insufficient_funds")));
        let reply = several.ask(json!({})).await;
        assert_eq!((reply.status, reply.error_code().as_str()), (402, "candor_unresolved"), "{reply:?}");
        assert_eq!(reply.header("x-should-retry"), Some("false"));
        assert_eq!(several.payments(), paid, "max_unresolved = {max_unresolved}");
        let said = reply.json()["error"]["candor"]["tried"].clone();
        let tried = said.as_array().unwrap();
        let why = tried.iter().map(|row| row["why"].as_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(why.iter().filter(|why| why.contains("max_unresolved")).count(), 3 - paid.iter().sum::<usize>(), "{why:?}");
    }
}

#[tokio::test]
async fn what_other_requests_left_unresolved_counts_too_and_first_payments_are_made_all_the_same() {
    let several = Several::new(3, 2).await;
    several.nodes[0].conduct(Conduct::Error(402, "insufficient_funds"));
    several.nodes[1].conduct(Conduct::Error(402, "insufficient_funds"));
    assert_eq!(several.ask(json!({})).await.status, 402);
    assert_eq!(several.payments(), [1, 1, 0]);
    // Another question is a payment of its own.
    several.nodes[0].conduct(Conduct::Honest);
    let only = json!({"seed": 1, "provider": {"only": [several.authority(0)]}});
    assert_eq!(several.ask(only).await.status, 200);
    // And may not be paid for twice while two are unresolved.
    several.nodes[0].conduct(Conduct::Error(402, "insufficient_funds"));
    let first = json!({"seed": 2, "provider": {"order": [several.authority(0)]}});
    assert_eq!(several.ask(first).await.status, 402);
    assert_eq!(several.payments()[1..], [1, 0]);
}

#[tokio::test]
async fn what_was_paid_beside_another_counts_while_it_is_waited_for() {
    let several = Arc::new(Several::new(3, 3).await);
    several.nodes[0].conduct(Conduct::Error(402, "insufficient_funds"));
    several.nodes[1].conduct(Conduct::Silent);
    let waiting = tokio::spawn({
        let several = Arc::clone(&several);
        async move { several.ask(json!({})).await }
    });
    while several.payments() != [1, 1, 0] {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Two are unresolved, the first of another request is the third: a fourth would be too many.
    let first = json!({"seed": 1, "provider": {"order": [several.authority(0)]}});
    assert_eq!(several.ask(first).await.status, 402);
    assert_eq!(several.payments(), [2, 1, 0]);
    waiting.abort();
}

#[tokio::test]
async fn a_stream_that_breaks_in_its_middle_is_an_error_and_nobody_else_continues_it() {
    let several = Several::new(2, 2).await;
    several.nodes[0].conduct(Conduct::CutStream);
    several.nodes[1].conduct(Conduct::Streamed);
    let headers = [("content-type", "application/json")];
    let body = json!({"model": "fixture", "messages": [{"role": "user", "content": "Q"}], "stream": true}).to_string();
    let mut http = Http::connect(&several.url).await.unwrap();
    let response = http.open(Method::POST, CHAT, &headers, body.into_bytes()).await.unwrap();
    assert_eq!(response.headers()["x-candor-node"].to_str().unwrap(), several.authority(0));
    // The frame that was held and is no end, and the error.
    let frames = candor_testhttp::first_frames(response.into_body(), 1).await;
    let error: Value = serde_json::from_slice(&frames[0]).unwrap();
    assert_eq!(error["error"]["code"], "candor_unresolved", "{error}");
    assert_eq!(several.payments(), [1, 0]);
}

#[tokio::test]
async fn a_paid_answer_that_is_refused_may_be_bought_elsewhere_and_is_kept_as_evidence() {
    let several = Several::new(2, 2).await;
    several.nodes[0].conduct(Conduct::ReceiptOfAnotherKey);
    let reply = several.ask(json!({})).await;
    assert_eq!((reply.status, reply.header("x-candor-node")), (200, Some(several.authority(1).as_str())), "{reply:?}");
    assert_eq!(several.payments(), [1, 1]);
    assert_eq!(several.scene.kept().iter().filter(|name| name.ends_with(".refused.candor")).count(), 1);
    let strict = Several::new(2, 1).await;
    strict.nodes[0].conduct(Conduct::ReceiptOfAnotherKey);
    let reply = strict.ask(json!({})).await;
    assert_eq!((reply.status, reply.error_code().as_str()), (402, "candor_answer_refused"), "{reply:?}");
    assert_eq!(strict.payments(), [1, 0]);
}

#[tokio::test]
async fn a_request_may_say_who_answers_it_and_at_what_price_and_the_node_never_sees_it() {
    let several = Several::new(3, 2).await;
    let node = |reply: &Reply| reply.header("x-candor-node").unwrap_or_default().to_owned();
    let only = several.ask(json!({"provider": {"only": [several.nodes[2].url()]}})).await;
    assert_eq!((only.status, node(&only)), (200, several.authority(2)), "{only:?}");
    let order = several.ask(json!({"provider": {"order": ["elsewhere:1", several.authority(1)]}})).await;
    assert_eq!((order.status, node(&order)), (200, several.authority(1)), "{order:?}");
    assert!(several.nodes.iter().flat_map(Server::bodies).all(|body| !body.contains("provider")));
    // The cheapest asks 1 and 3 dollars per million tokens.
    let cap = |prompt: &str| json!({"provider": {"max_price": {"prompt": prompt}, "order": [several.authority(2)]}});
    let under = several.ask(cap("0.99")).await;
    assert_eq!((under.status, under.error_code().as_str()), (404, "no_provider"), "{under:?}");
    let capped = several.ask(cap("2.5")).await;
    assert_eq!((capped.status, node(&capped)), (200, several.authority(0)), "{capped:?}");
    // Without fallbacks the first one fails alone.
    several.nodes[1].conduct(Conduct::NoQuote);
    let strict = several.ask(json!({"provider": {"order": [several.authority(1)], "allow_fallbacks": false}})).await;
    assert_eq!(strict.status, 502, "{strict:?}");
    let nobody = several.ask(json!({"provider": {"only": ["elsewhere:1"]}})).await;
    assert_eq!((nobody.status, nobody.error_code().as_str()), (404, "no_provider"), "{nobody:?}");
    let unknown = several.ask(json!({"provider": {"sort": "price"}})).await;
    assert_eq!((unknown.status, &unknown.json()["error"]["param"]), (400, &json!("provider.sort")), "{unknown:?}");
}

#[tokio::test]
async fn a_node_cannot_say_what_only_the_proxy_says() {
    let several = Several::new(1, 2).await;
    several.nodes[0].conduct(Conduct::Lying);
    let reply = several.ask(json!({"stream": true})).await;
    let text = reply.text().into_owned();
    assert!(reply.status == 200 && !text.contains("forged") && !text.contains('\r'), "{text}");
    let frames: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect();
    let [first, last] = frames.as_slice() else { panic!("{text}") };
    assert!(first["candor"].is_null() && first["usage"] == json!({"total_tokens": 9}), "{first}");
    assert_eq!((&last["candor"]["verdict"][0], &last["candor"]["charge"]["text"]), (&json!("VERIFIED"), &json!("0.000304 USDC")), "{last}");
    assert_eq!(last["usage"]["cost"].to_string(), "0.000304");
}

#[tokio::test]
async fn models_and_health_are_of_every_node() {
    let several = Several::new(2, 2).await;
    let health = candor_testhttp::get(&several.url, "/health").await;
    let nodes = health.json()["nodes"].as_array().unwrap().len();
    assert_eq!((health.status, nodes), (200, 2), "{health:?}");
}
