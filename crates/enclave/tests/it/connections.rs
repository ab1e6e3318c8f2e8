//! Clients that hold a connection and do nothing with it: each is cut off by its own limit, and what it owes is in the log.

use std::sync::atomic::Ordering;
use std::time::Duration;

use candor_enclave::Config;
use candor_verify::receipt::Outcome;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::client::{Reply, question, rest};
use crate::support::{Key, SOMEBODY, World, now};

fn config() -> Config {
    let mut config = Config::default();
    config.max_running = 1;
    config
}

#[tokio::test]
async fn a_paid_stream_whose_client_stops_reading_ends_as_aborted_and_frees_its_engine_slot() {
    let mut config = config();
    config.stall_max = Duration::from_millis(400);
    let world = World::start(config).await;
    let payer = Key::of(9);
    let body = question("a long story", 6000, true);
    let payment = world.pay(&payer, &body, now() + 300).await;
    let mut tls = world.send(&body, Some(&payment)).await;
    let mut begin = [0; 512];
    tls.read_exact(&mut begin).await.unwrap();
    assert!(begin.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&begin));

    // It stays connected and reads nothing more. The one engine slot is free again long before its payment ends.
    world.eventually("its receipt is stored", async || !world.receipts().is_empty()).await;
    let receipt = world.receipts().remove(0);
    assert_eq!(receipt.work.outcome, Outcome::Aborted);
    assert!(0 < receipt.work.completion_tokens && receipt.work.completion_tokens < 6000);
    let next = question("a short one", 2, false);
    let payment = world.pay(&payer, &next, now() + 300).await;
    let answered = world.ask(&next, Some(&payment)).await;
    assert_eq!(answered.status, 200, "{answered:?}");

    // What was on its way is still there, and then nothing: no end of the answer.
    let rest = rest(&mut tls).await;
    assert!(!rest.windows(6).any(|window| window == b"[DONE]"));
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_all_of_its_stream() {
    let mut config = config();
    config.stall_max = Duration::from_secs(2);
    let world = World::start(config).await;
    let body = question("a long story", 3000, true);
    let payment = world.pay(&Key::of(9), &body, now() + 300).await;
    let mut tls = world.send(&body, Some(&payment)).await;
    let (mut answer, mut piece) = (Vec::new(), vec![0; 128 << 10]);
    while let Ok(read @ 1..) = tls.read(&mut piece).await {
        answer.extend_from_slice(&piece[..read]);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(answer.windows(12).any(|window| window == b"data: [DONE]"));
    assert!(answer.windows(11).any(|window| window == b"\n: candor {"));
    assert!(!world.receipts().remove(0).work.outcome.is_cut());
}

#[tokio::test]
async fn a_client_that_says_nothing_is_cut_off_before_and_after_its_handshake() {
    let mut config = config();
    config.handshake_max = Duration::from_millis(300);
    config.idle_max = Duration::from_millis(600);
    let world = World::start(config).await;
    let mut silent = world.connect(SOMEBODY).await;
    assert_eq!(rest(&mut silent).await, b"");
    let mut silent = world.tls().await;
    assert_eq!(rest(&mut silent).await, b"");
    // A connection that is kept after an answer, and then idle.
    let mut kept = world.tls().await;
    kept.write_all(b"GET /health HTTP/1.1\r\nhost: node\r\n\r\n").await.unwrap();
    assert!(rest(&mut kept).await.starts_with(b"HTTP/1.1 200 "));
}

#[tokio::test]
async fn whoever_waits_for_an_answer_when_the_log_ends_is_told_that_there_is_none() {
    let world = World::start(Config::default()).await;
    let mut waiting = Vec::new();
    for payer in 9..17 {
        let body = question(&format!("from {payer}"), 8, false);
        let payment = world.pay(&Key::of(payer), &body, now() + 300).await;
        waiting.push((body, payment));
    }
    world.host.contradicts.store(true, Ordering::Relaxed);
    let mut open = Vec::new();
    for (body, payment) in &waiting {
        open.push(world.send(body, Some(payment)).await);
    }
    for mut tls in open {
        let reply = Reply::parse(&rest(&mut tls).await);
        assert!(reply.status == 503 && reply.text().contains(r#""code":"receipt_unavailable""#), "{reply:?}");
    }
    assert!(world.receipts().is_empty() && world.host.settlements.lock().unwrap().is_empty());
}
