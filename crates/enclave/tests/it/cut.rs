//! Answers that their time cuts: a stream is owed from its first frame on, and nobody holds the engine for nothing without end.

use std::time::Duration;

use base64::Engine as _;
use candor_enclave::{Config, Speed};
use candor_engine::{Model, chat};
use candor_verify::bytes::{Amount, Hash32};
use candor_verify::delivery::Delivery;
use candor_verify::payment::SETTLE_MARGIN_SECONDS;
use candor_verify::receipt::Outcome;
use candor_verify::time::{UnixMs, UnixSeconds};
use candor_verify::transcript::{commitment_of, unsplice};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;

use crate::support::client::{Reply, question, rest, sign};
use crate::support::{Key, World, model, moved, now};

/// More than a second of work.
const LONG: u32 = 8000;

fn config(generation_cap_s: u64) -> Config {
    let mut config = Config::default();
    config.max_running = 1;
    config.generation_cap_s = generation_cap_s;
    // Offered whatever the cap: so that it is the time that cuts.
    config.speed = Some(Speed::UNBOUNDED);
    config
}

/// The frames of a stream that ended as it should, without the delivery, and the delivery.
fn frames(reply: &Reply) -> (Vec<Vec<u8>>, Delivery) {
    let text = reply.text();
    let values: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    let [frames @ .., last, "[DONE]"] = values.as_slice() else { panic!("no end: {:?}", values.last()) };
    let (last, member) = unsplice(last.as_bytes()).expect("a delivery in the last frame");
    let member: Value = serde_json::from_str(&format!("{{{}}}", std::str::from_utf8(member).unwrap())).unwrap();
    let delivery = base64::engine::general_purpose::STANDARD.decode(member["delivery"].as_str().unwrap()).unwrap();
    let frames = frames.iter().map(|frame| frame.as_bytes().to_vec()).chain([last]).collect();
    (frames, Delivery::parse(&delivery).unwrap())
}

#[tokio::test]
async fn a_stream_that_its_time_cuts_is_owed_and_ends_with_its_receipt() {
    let world = World::start(config(1)).await;
    let body = question("a long story", LONG, true);
    let valid_before = now() + 300;
    let payment = world.pay(&Key::of(9), &body, valid_before).await;
    let reply = world.ask(&body, Some(&payment)).await;

    let (frames, delivery) = frames(&reply);
    let (receipt, seed) = (&delivery.receipt, Hash32::from_hex(reply.header("x-candor-transcript-seed").unwrap()).unwrap());
    assert_eq!(receipt.work.outcome, Outcome::CutByNode);
    assert!(0 < receipt.work.completion_tokens && receipt.work.completion_tokens < LONG.into());
    assert_eq!(receipt.work.response_commitment, commitment_of(&seed, frames.iter().map(Vec::as_slice)));
    assert_eq!(receipt.money.charged, receipt.money.max_amount);
    // What it shows can be run again: a beginning of the whole answer.
    let (id, created) = (chat::answer_id(&receipt.work.request_commitment.0), receipt.work.started_at.seconds().0);
    let model = Model::load(&model()).unwrap();
    let decoding = &delivery.decoding;
    let whole = chat::replay(&model, body.to_string().as_bytes(), decoding.seed.0, decoding.max_tokens, &id, created).unwrap();
    assert!(whole.starts_with(&frames) && frames.len() < whole.len());

    assert_eq!(&world.receipts(), std::slice::from_ref(receipt));
    let settlements = world.host.settlements.lock().unwrap();
    assert_eq!((settlements.len(), settlements[0].payment_id), (1, receipt.money.payment_id));
    let moved = moved(&settlements[0]);
    assert_eq!((moved.amount, moved.valid_before), (receipt.money.charged, UnixSeconds(valid_before)));
}

#[tokio::test]
async fn no_answer_runs_into_the_seconds_that_its_settlement_needs() {
    let world = World::start(config(3)).await;
    // It holds the one place at the engine for as long as the node allows, by reading nothing.
    let body = question("a long story", LONG, true);
    let payment = world.pay(&Key::of(9), &body, now() + 300).await;
    let mut idle = world.send(&body, Some(&payment)).await;
    idle.read_exact(&mut [0; 64]).await.unwrap();
    // It has to wait, so its deadline comes before its three seconds are over. It stands still until then too.
    let valid_before = now() + SETTLE_MARGIN_SECONDS + 3 + 2;
    let payment = world.pay(&Key::of(10), &body, valid_before).await;
    let mut late = world.send(&body, Some(&payment)).await;
    tokio::time::sleep(Duration::from_secs(6)).await;

    let (_, delivery) = frames(&Reply::parse(&rest(&mut late).await));
    let work = &delivery.receipt.work;
    assert_eq!(work.outcome, Outcome::Aborted);
    assert!(work.finished_at < UnixMs(valid_before * 1000), "{} is too late for {valid_before}", work.finished_at);
    assert_eq!(world.receipts().len(), 2);
}

#[tokio::test]
async fn a_node_offers_and_charges_no_more_tokens_than_its_cap_has_time_for_and_the_answer_ends_there() {
    let mut config = config(5);
    // Four tokens in what the prompt leaves of five seconds.
    config.speed = Some(Speed { prompt_per_1000_s: 1_000_000, answer_per_1000_s: 1_000 });
    let world = World::start(config).await;
    let body = question("a long story", 64, true);
    let unpaid = world.ask(&body, None).await;
    assert_eq!(unpaid.header("x-candor-max-tokens"), Some("4"));
    let reply = world.ask(&body, Some(&sign(&Key::of(9), &unpaid, now() + 300))).await;
    let (frames, delivery) = frames(&reply);
    let (work, money) = (&delivery.receipt.work, &delivery.receipt.money);
    assert_eq!((work.outcome, work.completion_tokens, delivery.decoding.max_tokens), (Outcome::Length, 4, 4));
    // The story's prices: a hundred for the request, one for a token in, three for each of the four out.
    assert_eq!(money.charged, Amount(100 + u128::from(work.prompt_tokens) + 3 * 4));
    let (id, created) = (chat::answer_id(&work.request_commitment.0), work.started_at.seconds().0);
    let (model, decoding) = (Model::load(&model()).unwrap(), &delivery.decoding);
    let again = chat::replay(&model, body.to_string().as_bytes(), decoding.seed.0, decoding.max_tokens, &id, created).unwrap();
    assert_eq!(again, frames);
    // Whoever asks for no more than that is not told.
    assert_eq!(world.ask(&question("a long story", 4, true), None).await.header("x-candor-max-tokens"), None);
}

#[tokio::test]
async fn a_whole_answer_that_its_time_cuts_costs_nothing_and_counts_against_its_payer() {
    let mut config = config(1);
    config.max_unsettled_per_payer = 1;
    let world = World::start(config).await;
    let body = question("a long story", LONG, false);
    let payment = world.pay(&Key::of(9), &body, now() + 300).await;
    let reply = world.ask(&body, Some(&payment)).await;
    assert!(reply.status == 422 && reply.text().contains(r#""code":"out_of_time""#), "{reply:?}");
    assert!(world.receipts().is_empty() && world.host.settlements.lock().unwrap().is_empty());

    let next = question("a short one", 2, false);
    for (payer, status) in [(9, 429), (10, 200)] {
        let payment = world.pay(&Key::of(payer), &next, now() + 300).await;
        let reply = world.ask(&next, Some(&payment)).await;
        assert_eq!(reply.status, status, "{reply:?}");
        assert_eq!(reply.text().contains("candor_payer_has_unsettled_payments"), status == 429);
    }
}
