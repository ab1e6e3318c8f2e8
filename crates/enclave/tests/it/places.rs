//! Who may stay connected: who pays, as long as it likes; who does not, until its place is needed or its time is over.

use std::time::Duration;

use candor_enclave::Config;
use candor_link::Party;
use tokio::io::AsyncReadExt as _;

use crate::support::client::{ask_on, get_on, question, rest, sign};
use crate::support::{Key, World, now};

/// In these tests nobody is cut off for being idle.
const LONG: Duration = Duration::from_secs(3600);

const CROWD: Party = Party([9; 8]);

#[tokio::test]
async fn whoever_pays_each_quote_is_served_on_one_connection_a_thousand_times() {
    let world = World::start(Config::default()).await;
    let (mut tls, payer) = (world.tls().await, Key::of(9));
    for number in 0..1000 {
        let body = question(&format!("question {number}"), 1, false);
        let unpaid = ask_on(&mut tls, &body, None).await;
        let payment = sign(&payer, &unpaid, now() + 300);
        let answered = ask_on(&mut tls, &body, Some(&payment)).await;
        assert_eq!((answered.status, answered.header("connection")), (200, None), "{number}: {answered:?}");
    }
    // Quotes that nobody pays are counted from the last payment on.
    let body = question("how much is it?", 1, false);
    for number in 1..=64 {
        let unpaid = ask_on(&mut tls, &body, None).await;
        assert_eq!((unpaid.status, unpaid.header("connection")), (402, (number == 64).then_some("close")), "{number}: {unpaid:?}");
    }
    assert_eq!(rest(&mut tls).await, b"", "the connection ends, so that no pool keeps it");
}

#[tokio::test]
async fn where_every_place_is_taken_a_newcomer_is_served_and_the_longest_unpaid_is_ended() {
    let mut config = Config::default();
    (config.max_connections, config.idle_max, config.unpaid_max) = (4, LONG, LONG);
    let world = World::start(config).await;
    let mut crowd = Vec::new();
    for _ in 0..4 {
        let mut tls = world.tls_of(CROWD).await;
        assert_eq!(get_on(&mut tls, "/health").await.status, 200);
        crowd.push(tls);
    }
    assert_eq!(world.get("/health").await.status, 200);
    assert_eq!(rest(&mut crowd[0]).await, b"");
    for tls in &mut crowd[1..] {
        assert_eq!(get_on(tls, "/health").await.status, 200);
    }
}

#[tokio::test]
async fn a_running_answer_is_ended_for_nobody() {
    let mut config = Config::default();
    config.max_connections = 1;
    let world = World::start(config).await;
    let body = question("a long story", 3000, true);
    let payment = world.pay(&Key::of(9), &body, now() + 300).await;
    let mut tls = world.send(&body, Some(&payment)).await;
    let mut begin = [0; 512];
    tls.read_exact(&mut begin).await.unwrap();
    assert!(begin.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&begin));
    let mut newcomer = world.connect(CROWD).await;
    assert_eq!(rest(&mut newcomer).await, b"");
    assert!(rest(&mut tls).await.windows(12).any(|window| window == b"data: [DONE]"));
    assert_eq!(world.get("/health").await.status, 200);
}

#[tokio::test]
async fn an_unpaid_connection_ends_after_its_time() {
    let mut config = Config::default();
    (config.idle_max, config.unpaid_max) = (LONG, Duration::from_secs(2));
    let world = World::start(config).await;
    let mut tls = world.tls().await;
    assert_eq!(get_on(&mut tls, "/health").await.status, 200);
    assert_eq!(rest(&mut tls).await, b"");
}

#[tokio::test]
async fn an_unpaid_connection_ends_after_its_requests_and_a_payment_gives_it_as_many_again() {
    let mut config = Config::default();
    config.unpaid_requests_max = 3;
    let world = World::start(config).await;
    let mut tls = world.tls().await;
    for number in 0..4 {
        let body = question(&format!("question {number}"), 1, false);
        let unpaid = ask_on(&mut tls, &body, None).await;
        let payment = sign(&Key::of(9), &unpaid, now() + 300);
        assert_eq!(ask_on(&mut tls, &body, Some(&payment)).await.status, 200);
    }
    for last in [None, None, Some("close")] {
        assert_eq!(get_on(&mut tls, "/health").await.header("connection"), last);
    }
    assert_eq!(rest(&mut tls).await, b"");
}
