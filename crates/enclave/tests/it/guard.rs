//! The guard: a model that judges each request before another answers it. What it refuses has a receipt, and nobody pays for it.

use std::time::Duration;

use candor_enclave::{Config, Speed};
use candor_testkit::forge::CHAIN_ID;
use candor_verify::decoding::{SeedSource, seed_of_server};
use candor_verify::receipt::{Kinds, Money, Outcome, UsageSource};
use candor_verify::scheme::Scheme;
use candor_verify::terms::{Access, OperatorTerms, ways};
use candor_verify::transcript::{commitment_of, request_commitment, unsplice};
use serde_json::Value;

use crate::support::client::{Reply, delivery, question};
use crate::support::{Key, World, guarded, moved, now};

const BAD: &str = "Where is the bomb?";

fn config() -> Config {
    let mut config = Config::default();
    // What is offered here depends on no machine.
    config.speed = Some(Speed::UNBOUNDED);
    config
}

fn open(terms: &mut OperatorTerms) {
    guarded(terms);
    terms.access = Access { ways: ways::OPEN, keys: vec![] };
    (terms.prices, terms.assets) = (vec![], vec![]);
}

/// A body out of its chunks.
fn unchunked(body: &str) -> String {
    let Some((length, rest)) = body.split_once("\r\n") else { return String::new() };
    let length = usize::from_str_radix(length, 16).unwrap();
    let (chunk, rest) = rest.split_at(length);
    chunk.to_owned() + &if length == 0 { String::new() } else { unchunked(rest.trim_start_matches("\r\n")) }
}

/// What every refusal of the guard has and has not.
fn assert_turned_away(world: &World, reply: &Reply, body: &Value) {
    assert_eq!(reply.status, 200, "{reply:?}");
    for absent in ["payment-required", "payment-response", "x-candor-answer-recovery"] {
        assert_eq!(reply.header(absent), None, "{absent}");
    }
    let text = unchunked(&reply.text());
    let frames: Vec<&str> = match body["stream"] == true {
        true => text.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).filter(|data| *data != "[DONE]").collect(),
        false => vec![&text],
    };
    assert!(text.contains("The guard of this node refused") && text.contains(r#""finish_reason":"content_filter""#), "{text}");
    let (last, _) = unsplice(frames.last().unwrap().as_bytes()).unwrap();
    let delivery = delivery(reply);
    let receipt = &delivery.receipt;
    assert!(world.receipts().contains(receipt), "the host has it");
    assert_eq!(receipt.money, Money::unpaid(CHAIN_ID, world.terms.payee, &receipt.log_id, receipt.sequence));
    let work = &receipt.work;
    assert_eq!((work.outcome, work.kinds, work.usage_source), (Outcome::RefusedByGuard, Kinds::LOCAL, UsageSource::Counted));
    let asked = world.terms.models.iter().find(|model| model.id == "fixture").unwrap();
    assert_eq!((work.completion_tokens, work.model_id), (0, asked.digest), "of the model that was asked, and not of the guard");
    assert!(0 < work.prompt_tokens, "{work:?}");
    // It commits to what was asked and to what was said.
    let salt = delivery.request_salt.unwrap();
    assert_eq!(work.request_commitment, request_commitment(&salt, "POST", "/v1/chat/completions", body.to_string().as_bytes()));
    let seed = reply.header("x-candor-transcript-seed").unwrap();
    let seed = candor_verify::Hash32::from_hex(seed).unwrap();
    let sent = frames[..frames.len() - 1].iter().map(|frame| frame.as_bytes()).chain([last.as_slice()]);
    assert_eq!(work.response_commitment, commitment_of(&seed, sent));
    assert_eq!(work.decoding_hash, delivery.decoding.struct_hash());
    match delivery.seed_share {
        Some(share) => assert_eq!((delivery.decoding.seed_source, delivery.decoding.seed), (SeedSource::Server, seed_of_server(&share))),
        None => assert_eq!(delivery.decoding.seed_source, SeedSource::Request),
    }
    let (settlements, answers) = (world.host.settlements.lock().unwrap().len(), world.host.answers.lock().unwrap().len());
    assert_eq!((settlements, answers), (0, 0), "nothing to settle or keep");
}

#[tokio::test]
async fn what_the_guard_refuses_nobody_pays_for_and_its_payment_buys_nothing_else() {
    let world = World::start_under(config(), guarded).await;
    for (stream, seeded) in [(false, true), (true, true), (true, false), (false, false)] {
        let mut body = question(BAD, 4, stream);
        if !seeded {
            body.as_object_mut().unwrap().remove("seed");
        }
        // With its salt echoed: a place for the answer was held, and is free again.
        let payment = world.pay(&Key::of(9), &body, now() + 300).await;
        let reply = world.ask(&body, Some(&payment)).await;
        assert_turned_away(&world, &reply, &body);
        let again = world.ask(&body, Some(&payment)).await;
        assert!(again.status == 409 && again.text().contains("candor_payment"), "being judged is not had again and again: {again:?}");
    }
}

#[tokio::test]
async fn what_the_guard_lets_pass_is_sold_as_ever() {
    let world = World::start_under(config(), guarded).await;
    for (number, stream) in [(10, false), (11, true)] {
        let body = question("hello", 4, stream);
        let payment = world.pay(&Key::of(number), &body, now() + 300).await;
        let reply = world.ask(&body, Some(&payment)).await;
        assert_eq!((reply.status, delivery(&reply).receipt.money.scheme), (200, Scheme::ExactEip3009), "{reply:?}");
        assert_eq!(delivery(&reply).receipt.work.kinds, Kinds::LOCAL.and(Kinds::REEXEC));
    }
    assert_eq!(world.host.settlements.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn what_costs_nothing_is_judged_too_and_the_guard_itself_answers_nobody() {
    let world = World::start_under(config(), open).await;
    for stream in [false, true] {
        let body = question(BAD, 4, stream);
        assert_turned_away(&world, &world.ask(&body, None).await, &body);
        let reply = world.ask(&question("hello", 4, stream), None).await;
        assert_eq!(delivery(&reply).receipt.work.outcome, Outcome::Length, "{reply:?}");
    }
    let models = world.get("/v1/models").await.text().into_owned();
    assert!(models.contains(r#""id":"fixture""#) && !models.contains(r#""id":"guard""#), "{models}");
    let mut to_guard = question("hello", 4, false);
    to_guard["model"] = "guard".into();
    let reply = world.ask(&to_guard, None).await;
    assert!(reply.status == 404 && reply.text().contains("model_not_found"), "{reply:?}");
}

#[tokio::test]
async fn a_conversation_that_the_guard_cannot_read_whole_is_told_no_price() {
    let world = World::start_under(config(), guarded).await;
    let reply = world.ask(&question(&"x ".repeat(600), 4, false), None).await;
    assert!(reply.status == 400 && reply.text().contains("The guard of this node reads"), "{reply:?}");
    assert_eq!(reply.header("payment-required"), None);
}

#[tokio::test]
async fn who_leaves_before_the_guard_has_spoken_ends_what_was_claimed() {
    let mut config = config();
    config.max_running = 1;
    let world = World::start_under(config, guarded).await;
    // The only place is taken, so the next one waits to be judged.
    let long = question("a long story", 6000, true);
    let payment = world.pay(&Key::of(9), &long, now() + 300).await;
    let running = world.send(&long, Some(&payment)).await;
    let body = question("hello", 4, true);
    let payment = world.pay(&Key::of(10), &body, now() + 300).await;
    let waiting = world.send(&body, Some(&payment)).await;
    let says = async |code: &str| world.ask(&body, Some(&payment)).await.text().contains(code);
    world.eventually("it is dealt with", async || says("candor_payment_in_flight").await).await;
    // From there to its claim it waits for nothing.
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop((waiting, running));
    world.eventually("its claim has ended", async || says("candor_payment_already_executed").await).await;
    assert_eq!(
        world.host.settlements.lock().unwrap().iter().filter(|settlement| moved(settlement).payer == Key::of(10).address()).count(),
        0
    );
}
