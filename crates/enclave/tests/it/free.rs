//! Answers that nobody pays for: who gets them, what their receipts say, and that they keep nobody who pays from being served.

use candor_enclave::{Config, Speed};
use candor_link::Party;
use candor_testhttp::chat_bytes;
use candor_testkit::forge::CHAIN_ID;
use candor_testkit::honest::classes;
use candor_verify::bytes::Hash32;
use candor_verify::decoding::{SeedSource, seed_of_server};
use candor_verify::delivery::Delivery;
use candor_verify::hash::sha256;
use candor_verify::receipt::{Money, Outcome};
use candor_verify::scheme::Scheme;
use candor_verify::terms::{Access, OperatorTerms, ways};
use candor_verify::time::UnixMs;
use candor_verify::transcript::request_commitment;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::client::{Reply, ask_on, delivery, question, rest, without_salt};
use crate::support::{Key, SOMEBODY, World, now};

/// The fixture does not end its answer to this before it has to.
const LONG: &str = "a long story";

const KEY: &str = "ck_a-key-of-this-test-and-of-no-other";

fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    // What is offered here depends on no machine, and a long answer is long.
    config.speed = Some(Speed::UNBOUNDED);
    change(&mut config);
    config
}

/// Whoever pays, and whoever has the key.
fn paid_and_keyed(terms: &mut OperatorTerms) {
    terms.access = Access { ways: ways::PAID | ways::KEYS, keys: vec![Hash32([9; 32]), sha256(&[KEY.as_bytes()])] };
}

/// Anybody; nothing has a price.
fn open(terms: &mut OperatorTerms) {
    terms.access = Access { ways: ways::OPEN, keys: vec![] };
    (terms.prices, terms.assets) = (vec![], vec![]);
}

fn bearer(key: &str) -> String {
    format!("connection: close\r\nauthorization: Bearer {key}\r\n")
}

impl World {
    /// Asks with these header lines.
    async fn ask_with(&self, headers: &str, body: &Value) -> Reply {
        let mut tls = self.tls().await;
        tls.write_all(&chat_bytes(headers, body, None)).await.unwrap();
        Reply::parse(&rest(&mut tls).await)
    }
}

/// The question of this name, without a seed of its own.
fn seedless(name: &str, max_tokens: u32, stream: bool) -> Value {
    let mut body = question(name, max_tokens, stream);
    body.as_object_mut().unwrap().remove("seed");
    body
}

fn assert_refused(reply: &Reply, status: u16, code: &str) {
    assert!(reply.status == status && reply.text().contains(&format!(r#""code":"{code}""#)), "{reply:?}");
    assert_eq!(reply.header("payment-required"), None, "{reply:?}");
}

/// What every answer that nobody paid for has and has not.
fn assert_given(world: &World, reply: &Reply, body: &Value) -> Delivery {
    assert_eq!(reply.status, 200, "{reply:?}");
    for absent in ["payment-required", "payment-response", "x-candor-answer-recovery", "x-candor-refusal"] {
        assert_eq!(reply.header(absent), None, "{absent}");
    }
    assert!(reply.header("x-receipt-id").is_some() && reply.header("x-candor-transcript-seed").is_some());
    let delivery = delivery(reply);
    let (receipt, manifest) = (&delivery.receipt, world.receipts());
    assert!(manifest.contains(receipt), "the host has it");
    assert_eq!(receipt.money, Money::unpaid(CHAIN_ID, receipt.money.payee, &receipt.log_id, receipt.sequence));
    let commitment = request_commitment(&delivery.request_salt.unwrap(), "POST", "/v1/chat/completions", body.to_string().as_bytes());
    assert_eq!(receipt.work.request_commitment, commitment);
    assert_eq!(receipt.work.decoding_hash, delivery.decoding.struct_hash());
    assert!(
        world.host.settlements.lock().unwrap().is_empty() && world.host.answers.lock().unwrap().is_empty(),
        "nothing to settle or keep"
    );
    delivery
}

#[tokio::test]
async fn an_open_node_answers_anybody_and_the_receipt_says_that_nobody_paid() {
    let world = World::start_under(config(|_| {}), open).await;
    for stream in [true, false] {
        let body = seedless("who pays?", 4, stream);
        let given = assert_given(&world, &world.ask(&body, None).await, &body);
        let (decoding, share) = (&given.decoding, given.seed_share.unwrap());
        assert_eq!((decoding.seed_source, decoding.seed), (SeedSource::Server, seed_of_server(&share)));
        assert_eq!(given.receipt.work.outcome, Outcome::Length);
        // The same again is another answer, under other salts.
        let again = assert_given(&world, &world.ask(&body, None).await, &body);
        assert!(again.request_salt != given.request_salt && again.leaf_salt != given.leaf_salt && again.seed_share != given.seed_share);
        // What SDKs always send is not looked at where no key opens anything.
        assert_given(&world, &world.ask_with(&bearer("sk-unused"), &body).await, &body);
        let named = question("who pays?", 4, stream);
        let given = assert_given(&world, &world.ask(&named, None).await, &named);
        assert_eq!((given.decoding.seed_source, given.seed_share), (SeedSource::Request, None));
    }
    let models = world.get("/v1/models").await.text().into_owned();
    assert!(models.contains(r#""access":["open"]"#) && models.contains(r#""price":null"#), "{models}");
}

#[tokio::test]
async fn a_request_that_is_refused_or_changed_is_so_without_a_price_too() {
    let slow = Speed { prompt_per_1000_s: 10_000_000, answer_per_1000_s: 10_000 };
    let world = World::start_under(config(|config| (config.generation_cap_s, config.speed) = (2, Some(slow))), open).await;
    let mut wrong = question("hello", 4, false);
    wrong["min_p"] = 1.into();
    assert_refused(&world.ask(&wrong, None).await, 400, "unsupported_parameter");
    let mut named = question("hello", 4, false);
    named["user"] = "u".into();
    assert_eq!(world.ask(&named, None).await.header("x-candor-ignored"), Some("user"));
    // Fewer tokens than were asked for: no 402 says so, and the answer does.
    let long = question("hello", 6000, true);
    let reply = world.ask(&long, None).await;
    let most: u64 = reply.header("x-candor-max-tokens").unwrap().parse().unwrap();
    assert_eq!(assert_given(&world, &reply, &long).decoding.max_tokens, u32::try_from(most).unwrap());
}

#[tokio::test]
async fn who_has_a_key_is_served_beside_who_pays_and_a_wrong_key_is_told_no_price() {
    let world = World::start_under(Config::default(), paid_and_keyed).await;
    let body = question("a key", 2, false);
    assert_given(&world, &world.ask_with(&bearer(KEY), &body).await, &body);
    let unpaid = world.ask(&body, None).await;
    assert_eq!(unpaid.status, 402);
    for wrong in ["ck_a-key-of-this-test-and-of-no-othex", "", &sha256(&[KEY.as_bytes()]).to_string()] {
        let refused = world.ask_with(&bearer(wrong), &body).await;
        assert_refused(&refused, 401, "invalid_api_key");
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
        assert!(!refused.text().contains(KEY), "{refused:?}");
    }
    // Who pays is served, whatever its SDK sends beside.
    let payment = without_salt(&unpaid, &Key::of(9));
    let mut tls = world.tls().await;
    tls.write_all(&chat_bytes(&bearer("sk-unused"), &body, Some(&payment))).await.unwrap();
    let paid = Reply::parse(&rest(&mut tls).await);
    assert_eq!((paid.status, delivery(&paid).receipt.money.scheme), (200, Scheme::ExactEip3009), "{paid:?}");
    assert_eq!(delivery(&paid).request_salt, None);
    assert_eq!(world.host.settlements.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn where_nothing_is_sold_no_price_is_told_and_no_payment_taken() {
    let keyed = World::start_under(Config::default(), |terms| {
        open(terms);
        terms.access = Access { ways: ways::KEYS, keys: vec![sha256(&[KEY.as_bytes()])] };
    })
    .await;
    let sold = World::start_under(Config::default(), |_| {}).await;
    let body = question("nothing to buy", 2, false);
    let refused = keyed.ask(&body, None).await;
    assert_refused(&refused, 401, "candor_key_needed");
    let payment = without_salt(&sold.ask(&body, None).await, &Key::of(9));
    for world in [&keyed, &World::start_under(config(|_| {}), open).await] {
        assert_refused(&world.ask(&body, Some(&payment)).await, 400, "candor_not_sold");
        assert!(world.receipts().is_empty());
    }
}

#[tokio::test]
async fn a_model_that_costs_nothing_is_given_to_anybody() {
    let world = World::start_under(Config::default(), |terms| {
        terms.prices[0].ceiling = classes(0, 0, 0);
        terms.prices[0].floor = classes(0, 0, 0);
    })
    .await;
    let body = question("for nothing", 2, true);
    assert_given(&world, &world.ask(&body, None).await, &body);
}

/// A request whose answer nobody reads: it holds its place.
async fn begin(world: &World, party: Party, headers: &str) -> tokio_rustls::client::TlsStream<tokio::net::UnixStream> {
    let mut tls = world.tls_of(party).await;
    tls.write_all(&chat_bytes(headers, &question(LONG, 6000, true), None)).await.unwrap();
    let mut head = [0; 12];
    tls.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    tls
}

#[tokio::test]
async fn an_address_and_a_key_have_their_shares_and_the_node_its_bound() {
    let config = config(|config| {
        config.max_running = 8;
        config.max_free = 3;
        config.max_free_per_key = 1;
        config.max_free_per_address = 1;
    });
    let world = World::start_under(config, |terms| {
        open(terms);
        terms.access = Access { ways: ways::OPEN | ways::KEYS, keys: vec![sha256(&[KEY.as_bytes()])] };
    })
    .await;
    let body = question("too many", 1, false);
    let mine = begin(&world, SOMEBODY, "").await;
    let refused = world.ask(&body, None).await;
    assert_refused(&refused, 429, "candor_free_share");
    assert_eq!(refused.header("retry-after"), Some("1"));
    // A key's share is its own, from whatever address.
    let keyed = begin(&world, SOMEBODY, &bearer(KEY)).await;
    assert_refused(&world.ask_with(&bearer(KEY), &body).await, 429, "candor_free_share");
    let theirs = begin(&world, Party([2; 8]), "").await;
    let mut other = world.tls_of(Party([3; 8])).await;
    let refused = ask_on(&mut other, &body, None).await;
    assert_refused(&refused, 429, "candor_free_busy");
    assert_eq!(refused.header("retry-after"), Some("5"));
    // Who leaves makes room.
    drop((mine, keyed, theirs));
    world.eventually("there is room again", async || world.ask(&body, None).await.status == 200).await;
}

#[tokio::test]
async fn a_flood_that_pays_nothing_keeps_nobody_who_pays_from_being_served() {
    let config = config(|config| {
        config.max_running = 2;
        config.max_free_per_key = 64;
    });
    let world = World::start_under(config, paid_and_keyed).await;
    let _held = begin(&world, SOMEBODY, &bearer(KEY)).await;
    let mut waiting = Vec::new();
    for number in 0..20 {
        let mut tls = world.tls_of(Party([number; 8])).await;
        tls.write_all(&chat_bytes(&bearer(KEY), &question(LONG, 6000, true), None)).await.unwrap();
        waiting.push(tls);
    }
    let body = question("who pays", 4, false);
    let payment = without_salt(&world.ask(&body, None).await, &Key::of(9));
    let paid = world.ask(&body, Some(&payment)).await;
    assert_eq!(paid.status, 200, "{paid:?}");
}

#[tokio::test]
async fn free_work_waits_its_time_for_a_place_and_is_then_told_to_come_again() {
    let config = config(|config| {
        config.max_running = 1;
        config.free_wait_max = std::time::Duration::from_millis(200);
    });
    let world = World::start_under(config, open).await;
    let _held = begin(&world, SOMEBODY, "").await;
    assert_refused(&world.ask(&question("waits", 1, false), None).await, 429, "candor_free_busy");
}

#[tokio::test]
async fn who_leaves_a_whole_answer_that_nobody_paid_for_frees_the_engine() {
    let config = config(|config| {
        config.max_running = 1;
        config.max_free = 1;
        config.generation_cap_s = 3600;
    });
    let world = World::start_under(config, open).await;
    let next = question("next", 1, false);
    // Whoever of the two comes first has the only place: if it is not the long one, it is asked for again.
    let running = async || {
        let mut tls = world.tls_of(Party([2; 8])).await;
        tls.write_all(&chat_bytes("", &question(LONG, 6000, false), None)).await.unwrap();
        tls.flush().await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        (world.ask(&next, None).await.status == 429).then_some(tls)
    };
    let mut tls = running().await;
    for _ in 0..100 {
        tls = if tls.is_none() { running().await } else { break };
    }
    drop(tls.expect("it runs"));
    world.eventually("it is over", async || world.ask(&next, None).await.status == 200).await;
    assert!(world.receipts().iter().all(|receipt| receipt.work.completion_tokens <= 1), "what nobody waited for has no receipt");
}

#[tokio::test]
async fn unpaid_requests_of_a_connection_are_counted_and_a_keys_are_not() {
    let world = World::start_under(Config::default(), |terms| {
        open(terms);
        terms.access = Access { ways: ways::OPEN | ways::KEYS, keys: vec![sha256(&[KEY.as_bytes()])] };
    })
    .await;
    let mut wrong = question("hello", 1, false);
    wrong["min_p"] = 1.into();
    let mut tls = world.tls().await;
    for number in 1..=64 {
        let refused = ask_on(&mut tls, &wrong, None).await;
        assert_eq!(refused.header("connection"), (number == 64).then_some("close"), "{number}");
    }
    let mut tls = world.tls().await;
    for _ in 0..70 {
        tls.write_all(&chat_bytes(&format!("authorization: Bearer {KEY}\r\n"), &question("k", 1, true), None)).await.unwrap();
        let reply = crate::support::client::next_answer(&mut tls).await;
        assert_eq!((reply.status, reply.header("connection")), (200, None));
    }
}

#[tokio::test]
async fn terms_that_end_take_no_work_whose_receipt_would_be_too_late() {
    // The longest answer and the margin would just not fit.
    let over = World::start_under(config(|config| config.generation_cap_s = 3), |terms| {
        paid_and_keyed(terms);
        terms.not_after = UnixMs((now() + 8) * 1000);
    })
    .await;
    let body = question("too late", 1, false);
    for reply in [over.ask(&body, None).await, over.ask_with(&bearer(KEY), &body).await] {
        assert_refused(&reply, 503, "candor_terms_ended");
        assert_eq!(reply.header("retry-after"), None);
    }
    assert!(over.receipts().is_empty());
}

#[tokio::test]
async fn a_stream_that_begins_before_the_terms_end_is_over_before_they_are() {
    let not_after = UnixMs((now() + 14) * 1000);
    let config = config(|config| {
        config.generation_cap_s = 3;
        config.max_running = 1;
    });
    let world = World::start_under(config, |terms| {
        open(terms);
        terms.not_after = not_after;
    })
    .await;
    let body = question(LONG, 6000, true);
    let given = assert_given(&world, &world.ask(&body, None).await, &body);
    assert!(given.receipt.work.finished_at <= not_after);
    let last = question("later", 1, false);
    world.eventually("they end", async || world.ask(&last, None).await.status == 503).await;
    assert_refused(&world.ask(&last, None).await, 503, "candor_terms_ended");
    assert!(world.receipts().iter().all(|receipt| receipt.work.finished_at <= not_after));
}
