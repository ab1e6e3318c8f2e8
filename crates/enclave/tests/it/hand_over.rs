//! A boot that hands over to another of its node, and one that takes over: what each takes then, whatever its host says besides (ADR 0016).

use std::time::Duration;

use candor_enclave::Config;
use candor_link::{EnclaveReply, HostRequest, SettlementFailure, SettlementState};
use candor_verify::bytes::Hash32;
use tokio::io::AsyncReadExt as _;

use crate::support::client::{Reply, ask_on, question, sign, sign_stock};
use crate::support::{Key, World, now};

/// What a stock payment must be good for, from the epoch of a boot on: T + s.
const HORIZON: u64 = 330;

async fn config() -> Config {
    let mut config = Config::default();
    config.generation_cap_s = 5;
    config
}

async fn hand_over(world: &World) -> bool {
    match world.say(HostRequest::HandOver).await {
        EnclaveReply::HandedOver { is_idle } => is_idle,
        other => panic!("{other:?}"),
    }
}

fn assert_handed_over(reply: &Reply) {
    assert!(reply.status == 503 && reply.text().contains("candor_boot_handed_over"), "{reply:?}");
    assert_eq!((reply.header("retry-after"), reply.header("connection")), (Some("1"), Some("close")));
}

#[tokio::test]
async fn a_boot_that_hands_over_makes_no_offer_and_takes_only_what_names_one_that_it_made() {
    let world = World::start(config().await).await;
    let body = question("before", 2, false);
    let unpaid = world.ask(&body, None).await;
    // Late enough that the boot itself is no reason to refuse what names none.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let stock = |number: u8| sign_stock(&Key::of(9), &unpaid, Hash32([number; 32]), now() + HORIZON);
    assert_eq!(world.ask(&body, Some(&stock(1))).await.status, 200, "it sells");
    assert!(hand_over(&world).await);

    assert_handed_over(&world.ask(&body, None).await);
    assert_handed_over(&world.ask(&body, Some(&stock(2))).await);
    // What it promised it keeps, and what was paid before is told so.
    let paid = sign(&Key::of(10), &unpaid, now() + 300);
    assert_eq!(world.ask(&body, Some(&paid)).await.status, 200);
    assert_eq!(world.receipts().len(), 2);
    let again = world.ask(&body, Some(&stock(1))).await;
    assert_eq!((again.status, again.text().contains("candor_payment_already_executed")), (409, true), "{again:?}");
    // An offer of another question is none of this one: it makes no other instead.
    assert_handed_over(&world.ask(&question("another", 2, false), Some(&sign(&Key::of(11), &unpaid, now() + 300))).await);
    // The enclave answers what costs nothing for as long as it is there, and says the same as often as it is told.
    assert_eq!(world.get("/health").await.status, 200);
    assert!(hand_over(&world).await);
}

#[tokio::test]
async fn a_stock_payment_whose_payer_is_looked_up_while_the_boot_hands_over_is_not_claimed() {
    let world = World::start(config().await).await;
    let body = question("in between", 2, false);
    let unpaid = world.ask(&body, None).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    *world.host.payer_delay.lock().unwrap() = Duration::from_secs(2);
    let stock = sign_stock(&Key::of(9), &unpaid, Hash32([3; 32]), now() + HORIZON);
    let bound = sign(&Key::of(10), &unpaid, now() + 300);
    let (named_none, named_this, ()) = tokio::join!(world.ask(&body, Some(&stock)), world.ask(&body, Some(&bound)), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(hand_over(&world).await);
    });
    assert_handed_over(&named_none);
    assert_eq!((named_this.status, world.receipts().len()), (200, 1), "{named_this:?}");
}

#[tokio::test]
async fn a_boot_is_not_idle_while_an_answer_is_made() {
    let world = World::start(config().await).await;
    let body = question("long", 4000, true);
    let paid = world.pay(&Key::of(9), &body, now() + 300).await;
    let mut streaming = world.send(&body, Some(&paid)).await;
    // Its head is here, and of the rest no more than fits on the way.
    let mut head = [0; 64];
    streaming.read_exact(&mut head).await.unwrap();
    assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
    assert!(!hand_over(&world).await);
    drop(streaming);
    world.eventually("it was left, and is over", async || hand_over(&world).await).await;
}

#[tokio::test]
async fn what_an_earlier_boot_could_claim_until_the_hand_over_is_not_taken_by_the_one_that_takes_over() {
    let world = World::start(config().await).await;
    let body = question("after", 2, false);
    let unpaid = world.ask(&body, None).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    // Good for a boot that nobody lived beside.
    let valid_before = now() + HORIZON - 1;
    let stock = |number: u8| sign_stock(&Key::of(9), &unpaid, Hash32([number; 32]), valid_before);
    assert_eq!(world.ask(&body, Some(&stock(1))).await.status, 200);
    assert_eq!(world.say(HostRequest::TakeOver).await, EnclaveReply::Done);
    let unknown = SettlementState::Failed { code: SettlementFailure::Unknown };
    *world.host.settlement.lock().unwrap() = Some(unknown);
    let refused = world.ask(&body, Some(&stock(2))).await;
    assert!(refused.status == 402 && refused.text().contains("candor_not_this_boot"), "{refused:?}");
    assert!(refused.header("retry-after").is_some());
    // What the boot beside it may be at work for is not to be paid for anew.
    *world.host.settlement.lock().unwrap() = Some(SettlementState::Pending { tx_hash: None });
    let told = world.ask(&body, Some(&stock(3))).await;
    assert!(told.status == 409 && told.text().contains("candor_payment_in_flight"), "{told:?}");
    *world.host.settlement.lock().unwrap() = None;
    let told = world.ask(&body, Some(&stock(4))).await;
    assert!(told.status == 409 && told.text().contains("candor_payment_already_executed"), "{told:?}");
    // It sells to whoever names it, at once.
    let mut tls = world.tls().await;
    let offered = ask_on(&mut tls, &body, None).await;
    assert_eq!(ask_on(&mut tls, &body, Some(&sign(&Key::of(10), &offered, now() + 300))).await.status, 200);
}
