//! Caps on what one payer has, by the terms, and payers that the operator does not serve. A refusal charges nothing.

use candor_enclave::Config;
use candor_link::{EnclaveReply, HostRequest, Party};
use candor_testhttp::chat_bytes;
use candor_verify::hash::sha256;
use candor_verify::terms::{Access, OperatorTerms, ways};
use tokio::io::AsyncWriteExt as _;

use crate::support::client::{Reply, question, rest, without_salt};
use crate::support::{Key, World};

const KEY: &str = "ck_a-key-of-this-test-and-of-no-other";

fn assert_refused(reply: &Reply, status: u16, code: &str) {
    assert!(reply.status == status && reply.text().contains(&format!(r#""code":"{code}""#)), "{reply:?}");
    assert_eq!(reply.header("payment-required"), None);
}

fn capped(requests: u32, tokens: u64) -> impl FnOnce(&mut OperatorTerms) {
    move |terms| {
        terms.access = Access { ways: ways::PAID | ways::KEYS, keys: vec![sha256(&[KEY.as_bytes()])] };
        (terms.guard.payer_requests_per_minute, terms.guard.payer_tokens_per_day) = (requests, tokens);
    }
}

async fn buy(world: &World, payer: u8, name: &str) -> Reply {
    let body = question(name, 2, false);
    let payment = without_salt(&world.ask(&body, None).await, &Key::of(payer));
    world.ask(&body, Some(&payment)).await
}

async fn by_key(world: &World, name: &str) -> Reply {
    let mut tls = world.tls_of(Party([2; 8])).await;
    let headers = format!("connection: close\r\nauthorization: Bearer {KEY}\r\n");
    tls.write_all(&chat_bytes(&headers, &question(name, 2, false), None)).await.unwrap();
    Reply::parse(&rest(&mut tls).await)
}

#[tokio::test]
async fn a_payer_and_a_key_have_so_many_requests_a_minute_and_another_has_its_own() {
    let world = World::start_under(Config::default(), capped(1, 0)).await;
    assert_eq!(buy(&world, 9, "first").await.status, 200);
    let refused = buy(&world, 9, "second").await;
    assert_refused(&refused, 429, "candor_payer_requests");
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds));
    assert_eq!(buy(&world, 10, "another's").await.status, 200);
    assert_eq!(by_key(&world, "a key's").await.status, 200);
    assert_refused(&by_key(&world, "again").await, 429, "candor_payer_requests");
    assert_eq!((world.receipts().len(), world.host.settlements.lock().unwrap().len()), (3, 2));
}

#[tokio::test]
async fn a_payer_has_so_many_tokens_a_day() {
    let world = World::start_under(Config::default(), capped(0, 1)).await;
    // What goes over was begun below.
    assert_eq!(buy(&world, 9, "first").await.status, 200);
    let refused = buy(&world, 9, "second").await;
    assert_refused(&refused, 429, "candor_payer_tokens");
    assert!(86_000 < refused.header("retry-after").unwrap().parse::<u64>().unwrap());
}

#[tokio::test]
async fn a_denied_payer_is_refused_and_not_charged_until_the_list_is_another() {
    let world = World::start(Config::default()).await;
    let payers = vec![Key::of(9).address()];
    assert_eq!(world.say(HostRequest::DenyPayers { payers }).await, EnclaveReply::Done);
    assert_refused(&buy(&world, 9, "denied").await, 403, "candor_payer_denied");
    assert_eq!(buy(&world, 10, "not denied").await.status, 200);
    assert_eq!(world.say(HostRequest::DenyPayers { payers: vec![] }).await, EnclaveReply::Done);
    assert_eq!(buy(&world, 9, "denied").await.status, 200);
}
