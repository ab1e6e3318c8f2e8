//! One payment, one execution; and no payer runs up more than the operator allows.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};

use candor_verify::payment::{MAX_SKEW_SECONDS, MAX_TIMEOUT_SECONDS, SETTLE_MARGIN_SECONDS};
use candor_x402::ClaimSet;
use candor_x402::claims::{ClaimError, ClaimLimits, Ending};
use common::{NOW, World};

const LIMITS: ClaimLimits = ClaimLimits { max_claims: 100, max_open_per_payer: 3 };
const ENDS: u64 = NOW + MAX_TIMEOUT_SECONDS;

#[test]
fn one_payment_sent_fifty_times_at_once_executes_once() {
    let payment = World::new().paid(1);
    let set = Arc::new(Mutex::new(ClaimSet::new(LIMITS)));
    let (executed, refused, start) = (AtomicUsize::new(0), AtomicUsize::new(0), Barrier::new(50));
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                start.wait();
                let claimed = set.lock().unwrap().claim(&payment, NOW);
                match claimed {
                    Ok(claim) => {
                        let execution = set.lock().unwrap().start(claim);
                        executed.fetch_add(1, Ordering::SeqCst);
                        set.lock().unwrap().finish(execution, Ending::Owed);
                    }
                    Err(error) => {
                        assert_eq!(error.status(), 409);
                        refused.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    assert_eq!((executed.into_inner(), refused.into_inner()), (1, 49));
}

#[test]
fn a_payment_is_in_flight_then_executed_and_never_claimable_again() {
    // Within a boot by the set, across boots by the boot epoch (tests/exact.rs).
    let payment = World::new().paid(1);
    let mut set = ClaimSet::new(LIMITS);
    let claim = set.claim(&payment, NOW).unwrap();
    assert_eq!(set.claim(&payment, NOW).err(), Some(ClaimError::InFlight));
    let execution = set.start(claim);
    assert_eq!((execution.payment_id(), execution.stop_at_seconds()), (payment.payment_id(), ENDS - SETTLE_MARGIN_SECONDS));
    assert_eq!(set.claim(&payment, NOW).err(), Some(ClaimError::InFlight));
    set.finish(execution, Ending::Owed);
    let until_seconds = ENDS + MAX_SKEW_SECONDS;
    for now in [NOW, ENDS - 1, ENDS, until_seconds] {
        assert_eq!(set.claim(&payment, now).err(), Some(ClaimError::AlreadyExecuted { until_seconds }));
    }
    // Forgotten, and expired: not claimable, whatever the clock says afterwards.
    set.expire(until_seconds + 1);
    assert!(set.is_empty());
    for now in [NOW, ENDS, until_seconds + 1] {
        assert!(matches!(set.claim(&payment, now), Err(ClaimError::Expired { .. })));
    }
}

#[test]
fn a_released_claim_is_as_if_never_made() {
    let payment = World::new().paid(1);
    let mut set = ClaimSet::new(ClaimLimits { max_open_per_payer: 1, ..LIMITS });
    let claim = set.claim(&payment, NOW).unwrap();
    set.release(claim);
    assert!(set.is_empty());
    assert!(set.claim(&payment, NOW).is_ok());
}

#[test]
fn a_check_says_what_a_claim_would_and_takes_nothing() {
    let world = World::new();
    let mut set = ClaimSet::new(ClaimLimits { max_open_per_payer: 1, ..LIMITS });
    for _ in 0..2 {
        assert_eq!((set.check(&world.paid(1), NOW), set.len()), (Ok(()), 0));
    }
    let claim = set.claim(&world.paid(1), NOW).unwrap();
    assert_eq!(set.check(&world.paid(1), NOW), Err(ClaimError::InFlight));
    assert_eq!(set.check(&world.paid(2), NOW), Err(ClaimError::PayerOpen { limit: 1, got: 1 }));
    set.release(claim);
    assert_eq!(set.check(&world.paid(1), NOW), Ok(()));
    assert!(matches!(set.check(&world.paid(1), ENDS), Err(ClaimError::Expired { .. })));
}

#[test]
fn a_check_forgets_what_is_over_so_that_a_full_set_does_not_stay_full() {
    let (first, second) = (World::new().paid(1), World { payer: common::Key::new(10), ..World::new() }.paid(2));
    let mut set = ClaimSet::new(ClaimLimits { max_claims: 1, ..LIMITS });
    let execution = set.claim(&first, NOW).map(|claim| set.start(claim)).unwrap();
    set.finish(execution, Ending::Owed);
    assert_eq!(set.check(&second, NOW), Err(ClaimError::Full { limit: 1 }));
    assert!(matches!(set.check(&second, ENDS + MAX_SKEW_SECONDS + 1), Err(ClaimError::Expired { .. })));
    assert!(set.is_empty());
}

#[test]
fn a_payer_is_capped_by_count_until_the_money_is_seen() {
    let world = World::new();
    let mut set = ClaimSet::new(LIMITS);
    for salt in 1..=3 {
        let claim = set.claim(&world.paid(salt), NOW).unwrap();
        let execution = set.start(claim);
        set.finish(execution, Ending::Owed);
    }
    assert_eq!(set.claim(&world.paid(4), NOW).err(), Some(ClaimError::PayerOpen { limit: 3, got: 3 }));
    let other = World { payer: common::Key::new(10), ..World::new() };
    assert!(set.claim(&other.paid(4), NOW).is_ok(), "another payer is not affected");
    set.settled(&world.paid(1).payment_id());
    set.settled(&world.paid(1).payment_id());
    assert!(set.claim(&world.paid(4), NOW).is_ok());
    assert_eq!(set.claim(&world.paid(5), NOW).err().map(|error| error.status()), Some(429));

    let mut set = ClaimSet::new(ClaimLimits { max_open_per_payer: 1, ..LIMITS });
    let first = set.claim(&world.paid(1), NOW).unwrap();
    assert_eq!(set.claim(&world.paid(2), NOW).err(), Some(ClaimError::PayerOpen { limit: 1, got: 1 }));
    // Nothing went out: nothing is owed, but the payment is spent.
    let execution = set.start(first);
    set.finish(execution, Ending::Forgiven);
    assert!(matches!(set.claim(&world.paid(1), NOW), Err(ClaimError::AlreadyExecuted { .. })));
    assert!(set.claim(&world.paid(2), NOW).is_ok());
    // An unsettled payment stops counting when it can no longer be presented.
    set.expire(ENDS + MAX_SKEW_SECONDS + 1);
    assert!(set.is_empty());
}

#[test]
fn work_that_was_wasted_counts_against_its_payer_until_the_payment_is_over() {
    let world = World::new();
    let mut set = ClaimSet::new(ClaimLimits { max_open_per_payer: 1, ..LIMITS });
    let claim = set.claim(&world.paid(1), NOW).unwrap();
    let execution = set.start(claim);
    set.finish(execution, Ending::Wasted);
    for now in [NOW, ENDS - 1] {
        assert_eq!(set.claim(&world.paid(2), now).err(), Some(ClaimError::PayerOpen { limit: 1, got: 1 }));
    }
    set.expire(ENDS + MAX_SKEW_SECONDS + 1);
    assert!(set.is_empty());
}

#[test]
fn a_full_set_refuses_by_name_and_has_room_again_when_payments_end() {
    let world = World::new();
    let mut set = ClaimSet::new(ClaimLimits { max_claims: 1, ..LIMITS });
    let _claim = set.claim(&world.paid(1), NOW).unwrap();
    assert_eq!(set.claim(&world.paid(2), NOW).err(), Some(ClaimError::Full { limit: 1 }));
    let later = World { now: ENDS + MAX_SKEW_SECONDS + 1, ..World::new() };
    let mut later_payment = World { now: later.now, ..World::new() };
    later_payment.candidate.offer.valid_until = (later.now + 60) * 1000;
    assert!(set.claim(&later_payment.paid(3), later.now).is_ok());
    assert_eq!(set.len(), 1);
}
