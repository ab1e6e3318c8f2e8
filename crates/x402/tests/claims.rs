//! One payment, one execution; and no payer runs up more than the operator allows, or than the payer has.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};

use candor_verify::bytes::Amount;
use candor_verify::payment::{MAX_SKEW_SECONDS, MAX_TIMEOUT_SECONDS, SETTLE_MARGIN_SECONDS};
use candor_verify::scheme::Scheme;
use candor_verify::time::{UnixMs, UnixSeconds};
use candor_x402::claims::{ClaimError, ClaimLimits, Ending, Funds};
use candor_x402::{Claim, ClaimSet, VerifiedPayment};
use common::{NOW, World};

const LIMITS: ClaimLimits = ClaimLimits { max_claims: 100, max_open_per_payer: 3 };
const ENDS: u64 = NOW + MAX_TIMEOUT_SECONDS;

/// A claim of a payer with all the money there is.
fn take(set: &mut ClaimSet, payment: &VerifiedPayment, now: u64) -> Result<Claim, ClaimError> {
    claim_with(set, payment, Amount(u128::MAX), now)
}

/// A claim of a payer with this much, by an answer of this moment.
fn claim_with(set: &mut ClaimSet, payment: &VerifiedPayment, balance: Amount, now: u64) -> Result<Claim, ClaimError> {
    let asked = set.ask_balance(payment, UnixSeconds(now))?;
    set.claim(payment, asked.answered(Funds { balance, ..Funds::default() }), UnixSeconds(now))
}

fn insufficient(needed: u128, got: u128) -> Option<ClaimError> {
    Some(ClaimError::InsufficientBalance { scheme: Scheme::ExactEip3009, needed: Amount(needed), got: Amount(got) })
}

#[test]
fn one_payment_sent_fifty_times_at_once_executes_once() {
    let payment = World::new().paid(1);
    let set = Arc::new(Mutex::new(ClaimSet::new(LIMITS)));
    let (executed, refused, start) = (AtomicUsize::new(0), AtomicUsize::new(0), Barrier::new(50));
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                start.wait();
                let claimed = take(&mut set.lock().unwrap(), &payment, NOW);
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
    let claim = take(&mut set, &payment, NOW).unwrap();
    assert_eq!(take(&mut set, &payment, NOW).err(), Some(ClaimError::InFlight));
    let execution = set.start(claim);
    assert_eq!((execution.payment_id(), execution.stop_at()), (payment.payment_id(), UnixSeconds(ENDS - SETTLE_MARGIN_SECONDS)));
    assert_eq!(take(&mut set, &payment, NOW).err(), Some(ClaimError::InFlight));
    set.finish(execution, Ending::Owed);
    let until = UnixSeconds(ENDS + MAX_SKEW_SECONDS);
    for now in [NOW, ENDS - 1, ENDS, until.0] {
        assert_eq!(take(&mut set, &payment, now).err(), Some(ClaimError::AlreadyExecuted { until }));
    }
    // Forgotten, and expired: not claimable, whatever the clock says afterwards.
    set.expire(until.saturating_add(1));
    assert!(set.is_empty());
    for now in [NOW, ENDS, until.0 + 1] {
        assert!(matches!(take(&mut set, &payment, now), Err(ClaimError::Expired { .. })));
    }
}

#[test]
fn a_released_claim_is_as_if_never_made() {
    let payment = World::new().paid(1);
    let mut set = ClaimSet::new(ClaimLimits { max_open_per_payer: 1, ..LIMITS });
    let claim = take(&mut set, &payment, NOW).unwrap();
    set.release(claim);
    assert!(set.is_empty());
    assert!(take(&mut set, &payment, NOW).is_ok());
}

#[test]
fn a_check_says_what_a_claim_would_and_takes_nothing() {
    let world = World::new();
    let mut set = ClaimSet::new(ClaimLimits { max_open_per_payer: 1, ..LIMITS });
    for _ in 0..2 {
        assert_eq!((set.check(&world.paid(1), UnixSeconds(NOW)), set.len()), (Ok(()), 0));
    }
    let claim = take(&mut set, &world.paid(1), NOW).unwrap();
    assert_eq!(set.check(&world.paid(1), UnixSeconds(NOW)), Err(ClaimError::InFlight));
    assert_eq!(set.check(&world.paid(2), UnixSeconds(NOW)), Err(ClaimError::PayerOpen { limit: 1, got: 1 }));
    set.release(claim);
    assert_eq!(set.check(&world.paid(1), UnixSeconds(NOW)), Ok(()));
    assert!(matches!(set.check(&world.paid(1), UnixSeconds(ENDS)), Err(ClaimError::Expired { .. })));
}

#[test]
fn a_check_forgets_what_is_over_so_that_a_full_set_does_not_stay_full() {
    let (first, second) = (World::new().paid(1), World { payer: common::Key::new(10), ..World::new() }.paid(2));
    let mut set = ClaimSet::new(ClaimLimits { max_claims: 1, ..LIMITS });
    let execution = take(&mut set, &first, NOW).map(|claim| set.start(claim)).unwrap();
    set.finish(execution, Ending::Owed);
    assert_eq!(set.check(&second, UnixSeconds(NOW)), Err(ClaimError::Full { limit: 1 }));
    assert!(matches!(set.check(&second, UnixSeconds(ENDS + MAX_SKEW_SECONDS + 1)), Err(ClaimError::Expired { .. })));
    assert!(set.is_empty());
}

#[test]
fn a_payer_is_capped_by_count_until_the_money_is_seen() {
    let world = World::new();
    let mut set = ClaimSet::new(LIMITS);
    for salt in 1..=3 {
        let claim = take(&mut set, &world.paid(salt), NOW).unwrap();
        let execution = set.start(claim);
        set.finish(execution, Ending::Owed);
    }
    assert_eq!(take(&mut set, &world.paid(4), NOW).err(), Some(ClaimError::PayerOpen { limit: 3, got: 3 }));
    let other = World { payer: common::Key::new(10), ..World::new() };
    assert!(take(&mut set, &other.paid(4), NOW).is_ok(), "another payer is not affected");
    set.settled(&world.paid(1).payment_id());
    set.settled(&world.paid(1).payment_id());
    assert!(take(&mut set, &world.paid(4), NOW).is_ok());
    assert_eq!(take(&mut set, &world.paid(5), NOW).err().map(|error| error.status()), Some(429));

    let mut set = ClaimSet::new(ClaimLimits { max_open_per_payer: 1, ..LIMITS });
    let first = take(&mut set, &world.paid(1), NOW).unwrap();
    assert_eq!(take(&mut set, &world.paid(2), NOW).err(), Some(ClaimError::PayerOpen { limit: 1, got: 1 }));
    // Nothing went out: nothing is owed, but the payment is spent.
    let execution = set.start(first);
    set.finish(execution, Ending::Forgiven);
    assert!(matches!(take(&mut set, &world.paid(1), NOW), Err(ClaimError::AlreadyExecuted { .. })));
    assert!(take(&mut set, &world.paid(2), NOW).is_ok());
    // An unsettled payment stops counting when it can no longer be presented.
    set.expire(UnixSeconds(ENDS + MAX_SKEW_SECONDS + 1));
    assert!(set.is_empty());
}

#[test]
fn work_that_was_wasted_counts_against_its_payer_until_the_payment_is_over() {
    let world = World::new();
    let mut set = ClaimSet::new(ClaimLimits { max_open_per_payer: 1, ..LIMITS });
    let claim = take(&mut set, &world.paid(1), NOW).unwrap();
    let execution = set.start(claim);
    set.finish(execution, Ending::Wasted);
    for now in [NOW, ENDS - 1] {
        assert_eq!(take(&mut set, &world.paid(2), now).err(), Some(ClaimError::PayerOpen { limit: 1, got: 1 }));
    }
    set.expire(UnixSeconds(ENDS + MAX_SKEW_SECONDS + 1));
    assert!(set.is_empty());
}

#[test]
fn a_full_set_refuses_by_name_and_has_room_again_when_payments_end() {
    let world = World::new();
    let mut set = ClaimSet::new(ClaimLimits { max_claims: 1, ..LIMITS });
    let _claim = take(&mut set, &world.paid(1), NOW).unwrap();
    assert_eq!(take(&mut set, &world.paid(2), NOW).err(), Some(ClaimError::Full { limit: 1 }));
    let later = World { now: ENDS + MAX_SKEW_SECONDS + 1, ..World::new() };
    let mut later_payment = World { now: later.now, ..World::new() };
    later_payment.candidate.offer.valid_until = UnixMs((later.now + 60) * 1000);
    assert!(take(&mut set, &later_payment.paid(3), later.now).is_ok());
    assert_eq!(set.len(), 1);
}

/// Every payment of `World` is of 1000 units.
#[test]
fn a_balance_pays_for_what_is_open_before_it_pays_for_more() {
    let world = World::new();
    let mut set = ClaimSet::new(ClaimLimits { max_open_per_payer: 100, ..LIMITS });
    let first = claim_with(&mut set, &world.paid(1), Amount(2500), NOW).unwrap();
    let second = claim_with(&mut set, &world.paid(2), Amount(2500), NOW).unwrap();
    assert_eq!(set.open_sum(&world.paid(3)), Amount(2000));
    let refused = claim_with(&mut set, &world.paid(3), Amount(2500), NOW).unwrap_err();
    assert_eq!(Some(refused), insufficient(3000, 2500));
    assert_eq!((refused.code(), refused.status()), ("invalid_exact_evm_insufficient_balance", 402));
    let later = NOW + refused.retry_after_seconds().unwrap();
    // Another asset or payer has another account.
    let other = World { payer: common::Key::new(10), ..World::new() };
    assert!(claim_with(&mut set, &other.paid(3), Amount(1000), NOW).is_ok());
    // What was given back or forgiven is free again, what is owed is not.
    set.release(first);
    let execution = set.start(second);
    set.finish(execution, Ending::Owed);
    assert_eq!(claim_with(&mut set, &world.paid(3), Amount(1999), later).err(), insufficient(2000, 1999));
    let third = claim_with(&mut set, &world.paid(3), Amount(2000), later + 10).unwrap();
    let execution = set.start(third);
    set.finish(execution, Ending::Forgiven);
    assert_eq!(set.open_sum(&world.paid(4)), Amount(1000));
    // Until the payment can no longer be executed, and not before.
    let over = ENDS + MAX_SKEW_SECONDS + 1;
    set.expire(UnixSeconds(over - 1));
    assert_eq!(set.open_sum(&world.paid(4)), Amount(1000));
    set.expire(UnixSeconds(over));
    assert_eq!(set.open_sum(&world.paid(4)), Amount::ZERO);
    assert!(set.is_empty());
}

/// Both are asked for before either is claimed, and the chain says to both that the payer has the price of one.
#[test]
fn of_two_payments_on_one_balance_at_once_one_is_claimed() {
    let world = World::new();
    let set = Arc::new(Mutex::new(ClaimSet::new(LIMITS)));
    let start = Barrier::new(2);
    let claimed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for salt in 1..=2 {
            let (payment, set, start, claimed) = (world.paid(salt), &set, &start, &claimed);
            scope.spawn(move || {
                let asked = set.lock().unwrap().ask_balance(&payment, UnixSeconds(NOW)).unwrap();
                start.wait();
                let result = set.lock().unwrap().claim(
                    &payment,
                    asked.answered(Funds { balance: Amount(1000), ..Funds::default() }),
                    UnixSeconds(NOW),
                );
                match result {
                    Ok(_claim) => claimed.fetch_add(1, Ordering::SeqCst),
                    Err(error) => {
                        assert_eq!(Some(error), insufficient(2000, 1000));
                        0
                    }
                }
            });
        }
    });
    assert_eq!(claimed.into_inner(), 1);
}

#[test]
fn a_balance_from_before_a_settlement_still_has_to_pay_for_it() {
    let world = World::new();
    let mut set = ClaimSet::new(LIMITS);
    let claim = claim_with(&mut set, &world.paid(1), Amount(1000), NOW).unwrap();
    let execution = set.start(claim);
    set.finish(execution, Ending::Owed);
    // Asked before the transfer is seen: the thousand may be those that have just gone.
    let asked = set.ask_balance(&world.paid(2), UnixSeconds(NOW)).unwrap();
    set.settled(&world.paid(1).payment_id());
    assert_eq!(
        set.claim(&world.paid(2), asked.answered(Funds { balance: Amount(1000), ..Funds::default() }), UnixSeconds(NOW)).err(),
        insufficient(2000, 1000)
    );
    // Asked after it was seen: they are others.
    assert!(claim_with(&mut set, &world.paid(2), Amount(1000), NOW + 3).is_ok());
}

#[test]
fn a_payer_found_poor_is_refused_for_seconds_without_a_question() {
    let world = World::new();
    let mut set = ClaimSet::new(LIMITS);
    assert_eq!(claim_with(&mut set, &world.paid(1), Amount(999), NOW).err(), insufficient(1000, 999));
    for (salt, now) in [(1, NOW), (1, NOW + 2), (2, NOW + 2)] {
        assert_eq!(set.ask_balance(&world.paid(salt), UnixSeconds(now)).err(), insufficient(1000, 999));
    }
    // A cheaper payment may be within what it has.
    let cheap = World::cheap();
    assert!(set.ask_balance(&cheap.paid(3), UnixSeconds(NOW + 2)).is_ok());
    assert!(set.ask_balance(&world.paid(1), UnixSeconds(NOW + 3)).is_ok());
}
