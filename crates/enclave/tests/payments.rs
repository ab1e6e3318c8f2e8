//! Payments, with a host that takes its time or lies about them.

mod support;

use std::time::Duration;

use candor_enclave::Config;
use candor_link::{SettlementFailure, SettlementState};
use candor_verify::payment::SETTLE_MARGIN_SECONDS;

use support::client::question;
use support::{Key, World, now};

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
        assert!(reply.status == 503 && reply.text().contains(r#""code":"settlement_pending""#), "{reply:?}");
        assert!(reply.header("retry-after").is_some() && !reply.text().contains("harged"), "{reply:?}");
    }
    // The answer is there as soon as the transfer is seen, and as often as it is asked for.
    *world.host.settlement.lock().unwrap() = None;
    for _ in 0..2 {
        assert_eq!(world.ask(&body, Some(&payment)).await.status, 200);
    }
    assert_eq!(world.receipts().len(), 1);
}

#[tokio::test]
async fn a_payer_who_takes_its_answers_never_runs_out_of_places_for_them() {
    let world = World::start(Config::default()).await;
    // More than are kept for one payer.
    for number in 0..70 {
        let body = question(&format!("question {number}"), 1, false);
        let payment = world.pay(&Key::of(9), &body, now() + 300).await;
        let reply = world.ask(&body, Some(&payment)).await;
        assert_eq!(reply.status, 200, "{number}: {reply:?}");
    }
}
