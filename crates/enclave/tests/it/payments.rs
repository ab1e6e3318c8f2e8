//! Payments, with a host that takes its time or lies about them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use candor_enclave::Config;
use candor_link::{SettlementFailure, SettlementState};
use candor_testhttp::Offered;
use candor_verify::eip712::{K256, signer};
use candor_verify::payment::SETTLE_MARGIN_SECONDS;
use candor_verify::public;
use candor_verify::refusal::{Refusal, code_hash, verify_refusal};
use candor_x402::protocol::parse_payment_payload;
use candor_x402::scheme::{Requirements, parse_payment};

use crate::support::client::{question, without_salt, without_salt_until};
use crate::support::{Key, World, now};

#[tokio::test]
async fn a_payment_whose_time_ran_out_while_the_chain_was_asked_is_not_claimed() {
    let mut config = Config::default();
    config.generation_cap_s = 1;
    let world = World::start(config).await;
    // Open for the work and one margin, and some seconds more: fewer than the chain takes, or far more.
    for (delay, more_s, status) in [(Duration::from_secs(3), 2, 402), (Duration::ZERO, 60, 200)] {
        *world.host.payer_delay.lock().unwrap() = delay;
        let body = question(&format!("{delay:?}"), 2, false);
        let payment = world.pay(&Key::of(9), &body, now() + 1 + SETTLE_MARGIN_SECONDS + more_s).await;
        let reply = world.ask(&body, Some(&payment)).await;
        assert_eq!(reply.status, status, "{reply:?}");
        let refused = reply.text().contains("invalid_exact_evm_payload_authorization_valid_before");
        assert_eq!((refused, world.receipts().len()), (status == 402, usize::from(status == 200)));
    }
}

#[tokio::test]
async fn a_host_that_says_too_early_that_a_payment_expired_is_not_repeated() {
    let world = World::start(Config::default()).await;
    let body = question("what it costs", 2, false);
    let payment = world.pay(&Key::of(9), &body, now() + 300).await;
    *world.host.settlement.lock().unwrap() = Some(SettlementState::Failed { code: SettlementFailure::Expired });
    for _ in 0..2 {
        let reply = world.ask(&body, Some(&payment)).await;
        assert!(reply.status == 409 && reply.text().contains(r#""code":"settlement_pending""#), "{reply:?}");
        assert!(reply.header("retry-after").is_some() && !reply.text().contains("harged"), "{reply:?}");
    }
    // The answer is there as soon as the transfer is seen, and as often as it is asked for.
    *world.host.settlement.lock().unwrap() = None;
    for _ in 0..2 {
        assert_eq!(world.ask(&body, Some(&payment)).await.status, 200);
    }
    assert_eq!(world.receipts().len(), 1);
}

/// The refusal that a response carries, if this key signed it.
fn signed_refusal(k_sig: &candor_verify::Address, reply: &crate::support::client::Reply) -> Option<Refusal> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(reply.header("x-candor-refusal")?).unwrap();
    let other = verify_refusal(&bytes, &candor_verify::Address([1; 20]), &K256);
    assert_eq!(other, None, "of nobody else");
    Some(verify_refusal(&bytes, k_sig, &K256).expect("signed by K_sig"))
}

#[tokio::test]
async fn a_refusal_of_a_paid_request_is_signed_and_of_another_it_is_not() {
    let world = World::start(Config::default()).await;
    let body = question("refused", 2, false);
    let unpaid = world.ask(&body, None).await;
    assert_eq!((unpaid.status, unpaid.header("x-candor-refusal")), (402, None), "nobody paid");
    let payment = world.pay(&Key::of(9), &body, now() + 300).await;
    *world.host.settlement.lock().unwrap() = Some(SettlementState::Failed { code: SettlementFailure::Expired });
    let reply = world.ask(&body, Some(&payment)).await;
    assert_eq!(reply.status, 409, "{reply:?}");
    let payload = parse_payment_payload(payment.as_bytes()).unwrap();
    let (paid, echoed) = parse_payment(&payload).unwrap();
    let offer = echoed.unwrap();
    assert_eq!(unpaid.header("x-candor-manifest"), Some(offer.offer.manifest_hash.to_string().as_str()));
    let k_sig = signer(&K256, &offer.offer.digest(), &offer.signature).unwrap();
    let refusal = signed_refusal(&k_sig, &reply).expect("a signed refusal");
    let domain = Requirements::parse(&payload.accepted).unwrap().token();
    assert_eq!(
        (refusal.request_commitment, refusal.manifest_hash, refusal.status, refusal.code_hash, refusal.signed_digest),
        (
            offer.offer.request_commitment,
            offer.offer.manifest_hash,
            409,
            code_hash("settlement_pending"),
            paid.authorization.digest(&domain)
        )
    );
    // Whoever makes up a signature, or sends no request, gets the same status and no evidence.
    let mut forged = payload.clone();
    forged.payload = serde_json::from_value(serde_json::json!({
        "signature": format!("0x{}1b", "11".repeat(64)), "authorization": serde_json::to_value(&payload.payload).unwrap()["authorization"],
    }))
    .unwrap();
    let forged = candor_x402::protocol::encode_header(&forged);
    let reply = world.ask(&body, Some(&forged)).await;
    assert!(reply.status != 200 && reply.header("x-candor-refusal").is_none(), "{reply:?}");
}

#[tokio::test]
async fn a_public_answer_says_what_was_asked_and_answered() {
    let world = World::start(Config::default()).await;
    let task = format!("0x{}", "ab".repeat(32));
    for stream in [true, false] {
        let mut body = question(&format!("public {stream}"), 6, stream);
        body["candor"] = serde_json::json!({"public": true, "task": task});
        let payment = world.pay(&Key::of(9), &body, now() + 300).await;
        let reply = world.ask(&body, Some(&payment)).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let work = world.receipts().last().unwrap().work.clone();
        let text = frames(&reply);
        let values: Vec<&[u8]> =
            text.iter().map(|line| line.trim_start_matches("data: ").as_bytes()).filter(|line| *line != b"[DONE]").collect();
        let sent = body.to_string();
        let words = public::words("POST", "/v1/chat/completions", sent.as_bytes(), values);
        assert_eq!(
            (work.task_hash.to_string(), work.question_hash, work.answer_hash),
            (task.clone(), words.question_hash, words.answer_hash)
        );
        assert!(!words.answer_hash.is_zero());
    }
    // What is asked otherwise is refused before a price is made, and nothing is public that did not ask.
    let mut twice = question("asked wrongly", 2, false);
    twice["candor"] = serde_json::json!({"public": true, "model": "x"});
    let reply = world.ask(&twice, None).await;
    assert!(reply.status == 400 && reply.text().contains(r#""param":"candor""#), "{reply:?}");
    let body = question("private", 2, false);
    let payment = world.pay(&Key::of(9), &body, now() + 300).await;
    assert_eq!(world.ask(&body, Some(&payment)).await.status, 200);
    assert!(world.receipts().last().unwrap().work.question_hash.is_zero());
}

#[tokio::test]
async fn a_kept_stream_and_a_kept_whole_answer_are_given_again_and_nothing_runs_again() {
    let world = World::start(Config::default()).await;
    for stream in [true, false] {
        let body = question(&format!("kept {stream}"), 6, stream);
        let payment = world.pay(&Key::of(9), &body, now() + 300).await;
        let first = world.ask(&body, Some(&payment)).await;
        assert_eq!((first.status, first.header("x-candor-answer-recovery")), (200, Some("kept")), "{first:?}");
        let made = world.receipts().len();
        let again = world.ask(&body, Some(&payment)).await;
        assert_eq!((again.status, again.header("x-candor-answer-recovery")), (200, Some("kept")), "{again:?}");
        assert!(again.header("payment-response").is_some());
        for header in ["content-type", "x-receipt-id", "x-candor-transcript-seed"] {
            assert_eq!(first.header(header), again.header(header), "{header}");
        }
        // The same frames; the delivery is as new as the answer to the retry, and here nothing came between.
        assert_eq!(frames(&first), frames(&again));
        assert_eq!(world.receipts().len(), made);
        // For another request the same payment gets nothing, and is known to be taken.
        let other = question("another", 6, stream);
        assert_eq!(world.ask(&other, Some(&payment)).await.status, 402);
        // The host holds a ciphertext only.
        let blobs = world.host.answers.lock().unwrap().values().flatten().copied().collect::<Vec<u8>>();
        assert!(!String::from_utf8_lossy(&blobs).contains("chatcmpl"));
    }
}

#[tokio::test]
async fn an_answer_that_was_paid_for_and_cannot_be_handed_out_is_not_called_uncharged() {
    let world = World::start(Config::default()).await;
    let body = question("paid and withheld", 6, true);
    let payment = world.pay(&Key::of(9), &body, now() + 300).await;
    assert_eq!(world.ask(&body, Some(&payment)).await.status, 200);
    world.host.hides_receipts.store(true, Ordering::Relaxed);
    let reply = world.ask(&body, Some(&payment)).await;
    assert!(reply.status == 503 && reply.text().contains(r#""code":"receipt_unavailable""#), "{reply:?}");
    assert!(!reply.text().contains("harged") && reply.header("payment-required").is_none(), "{reply:?}");
    world.host.hides_receipts.store(false, Ordering::Relaxed);
    assert_eq!(world.ask(&body, Some(&payment)).await.status, 200);
}

/// The values of all frames, or the whole body, as they came.
fn frames(reply: &crate::support::client::Reply) -> Vec<String> {
    reply.text().lines().filter(|line| line.starts_with("data: ") || line.starts_with('{')).map(str::to_owned).collect()
}

#[tokio::test]
async fn before_its_transfer_is_seen_a_kept_answer_is_given_to_nobody() {
    let world = World::start(Config::default()).await;
    let body = question("pending", 2, true);
    let payment = world.pay(&Key::of(9), &body, now() + 300).await;
    *world.host.settlement.lock().unwrap() = Some(SettlementState::Failed { code: SettlementFailure::Unknown });
    let first = world.ask(&body, Some(&payment)).await;
    assert_eq!(first.status, 200);
    let again = world.ask(&body, Some(&payment)).await;
    assert!(again.status == 409 && again.text().contains(r#""code":"settlement_pending""#), "{again:?}");
    assert!(again.header("retry-after").is_some() && !again.text().contains("data: "), "{again:?}");
}

#[tokio::test]
async fn without_room_for_its_answer_nothing_is_claimed_and_without_a_salt_none_is_needed() {
    let world = World::start(Config::default()).await;
    world.host.is_full.store(true, std::sync::atomic::Ordering::Relaxed);
    let body = question("no room", 2, false);
    let payment = world.pay(&Key::of(9), &body, now() + 300).await;
    let reply = world.ask(&body, Some(&payment)).await;
    assert!(reply.status == 402 && reply.text().contains(r#""code":"answer_store_full""#), "{reply:?}");
    assert!(reply.header("payment-required").is_some() && world.receipts().is_empty());
    // From now on clients are told before they pay: none is kept, and they are served without.
    let unpaid = world.ask(&body, None).await;
    assert_eq!(Offered::read(&unpaid).required.extensions.unwrap().0["candor"]["info"]["answerRecovery"], "none");
    let unsalted = without_salt(&unpaid, &Key::of(10));
    let reply = world.ask(&body, Some(&unsalted)).await;
    assert_eq!((reply.status, reply.header("x-candor-answer-recovery")), (200, Some("none")), "{reply:?}");
    assert!(world.host.answers.lock().unwrap().is_empty());
    let again = world.ask(&body, Some(&unsalted)).await;
    assert!(again.status == 409 && again.text().contains("candor_payment_already_executed"), "{again:?}");
    // With room again the same payment buys.
    world.host.is_full.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(world.ask(&body, Some(&payment)).await.status, 200);
}

/// Its offer or its time is over by now, and it was executed: a 402 would ask its payer for another one.
#[tokio::test]
async fn a_payment_that_was_executed_is_told_so_when_its_time_is_short_too() {
    let mut config = Config::default();
    config.generation_cap_s = 1;
    let world = World::start(config).await;
    let body = question("short of time", 2, false);
    let unpaid = world.ask(&body, None).await;
    let payment = without_salt_until(&unpaid, &Key::of(9), now() + 1 + SETTLE_MARGIN_SECONDS + 2);
    assert_eq!(world.ask(&body, Some(&payment)).await.status, 200);
    tokio::time::sleep(Duration::from_secs(4)).await;
    let again = world.ask(&body, Some(&payment)).await;
    assert!(again.status == 409 && again.text().contains("candor_payment_already_executed"), "{again:?}");
    // One that was never taken is too short.
    let other = without_salt_until(&unpaid, &Key::of(10), now() + 1);
    assert_eq!(world.ask(&body, Some(&other)).await.status, 402);
}

/// The attack: strangers make up headers, and each look costs the host a read.
#[tokio::test]
async fn looks_for_answers_that_are_not_there_are_counted_like_unpaid_quotes() {
    let world = World::start(Config::default()).await;
    let body = question("guessing", 2, false);
    let mut tls = world.tls().await;
    // It pays too little time: never claimed, and counted twice each, as a look and as a quote.
    let payment = world.pay(&Key::of(9), &body, now() + 1).await;
    assert_eq!(crate::support::client::ask_on(&mut tls, &body, None).await.status, 402);
    for number in 0..31 {
        assert_eq!(crate::support::client::ask_on(&mut tls, &body, Some(&payment)).await.status, 402, "{number}");
    }
    let refused = crate::support::client::ask_on(&mut tls, &body, Some(&payment)).await;
    assert_eq!((refused.status, refused.header("connection")), (429, Some("close")), "{refused:?}");
}

/// The attack: one payment, and its answer fetched without end.
#[tokio::test]
async fn a_kept_answer_is_given_again_as_often_as_a_connection_has_quotes() {
    let world = World::start(Config::default()).await;
    let body = question("again and again", 2, false);
    let payment = world.pay(&Key::of(9), &body, now() + 300).await;
    assert_eq!(world.ask(&body, Some(&payment)).await.status, 200);
    let mut tls = world.tls().await;
    for number in 1..=64 {
        let reply = crate::support::client::ask_on(&mut tls, &body, Some(&payment)).await;
        assert_eq!((reply.status, reply.header("connection")), (200, (number == 64).then_some("close")), "{number}");
    }
    // On another it goes on.
    assert_eq!(world.ask(&body, Some(&payment)).await.status, 200);
}

#[tokio::test]
async fn whoever_has_an_answer_has_it_erased_and_only_with_its_payment() {
    let world = World::start(Config::default()).await;
    let body = question("received", 2, false);
    let payment = world.pay(&Key::of(9), &body, now() + 300).await;
    assert_eq!(world.ask(&body, Some(&payment)).await.status, 200);
    let unsalted = without_salt(&world.ask(&body, None).await, &Key::of(9));
    assert_eq!(world.received(&unsalted).await.status, 400);
    assert_eq!(world.host.answers.lock().unwrap().len(), 1);
    assert_eq!(world.received(&payment).await.status, 204);
    assert!(world.host.answers.lock().unwrap().is_empty());
    let again = world.ask(&body, Some(&payment)).await;
    assert!(again.status == 409 && again.text().contains("candor_payment_already_executed"), "{again:?}");
}
