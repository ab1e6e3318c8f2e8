//! The paying side: it pays what K_sig signed, what policy allows, and each request once.

mod common;

use std::collections::BTreeSet;

use candor_verify::bytes::{Address, Amount, Hash32};
use candor_verify::payment::MAX_SKEW_SECONDS;
use candor_verify::recovery::KEPT_SECONDS;
use candor_verify::time::{UnixMs, UnixSeconds};
use candor_x402::client::*;
use candor_x402::extension::AnswerRecovery;
use candor_x402::protocol::{PaymentRequired, PaymentRequirements, encode_header, parse_payment_required};
use candor_x402::scheme::RequirementsError;
use common::{Key, NOW, World, paid_by};

fn choose_from(world: &World, required: &PaymentRequired) -> Result<Choice, ChooseError> {
    choose(required, &world.verified_offer().unwrap(), &world.policy(), UnixMs(world.now * 1000))
}

#[test]
fn unknown_schemes_flows_and_chains_are_dropped_and_the_first_good_entry_is_taken() {
    let world = World::new();
    let good = world.requirements.to_entry();
    let mut upfront = good.clone();
    upfront.extra.as_mut().unwrap().0.insert("paymentFlow".into(), "upfront".into());
    let mut barter = good.clone();
    barter.extra.as_mut().unwrap().0.insert("paymentFlow".into(), "barter".into());
    let upto = PaymentRequirements { scheme: "upto".into(), ..good.clone() };
    let solana = PaymentRequirements { network: "solana:x".into(), ..good.clone() };
    let accepts = vec![upto.clone(), solana, upfront, barter, good.clone(), good];
    let required = PaymentRequired { accepts, ..world.required() };
    // Over the wire and back.
    let required = parse_payment_required(encode_header(&required).as_bytes()).unwrap();
    assert_eq!(choose_from(&world, &required).unwrap().requirements(), &world.requirements);
    let barter = PaymentRequirements { scheme: "barter".into(), ..world.requirements.to_entry() };
    let none = PaymentRequired { accepts: vec![upto, barter], ..world.required() };
    let reasons = [RequirementsError::Facilitator, RequirementsError::Scheme].map(SkipReason::Requirements).to_vec();
    assert_eq!(choose_from(&world, &none).err(), Some(ChooseError::NoEntry(reasons)));
}

#[test]
fn nothing_is_paid_that_the_attested_key_did_not_sign() {
    let world = World::new();
    let required = PaymentRequired { extensions: None, ..world.required() };
    assert_eq!(choose_from(&world, &required).err(), Some(ChooseError::NoOffer));
    let rogue = World { k_sig: Key::new(8), ..World::new() };
    assert_eq!(rogue.verified_offer().unwrap_err().id, "offer.signature");
    // Another offer of the same key than the one that was verified.
    let mut other = World::new();
    other.candidate.offer.prompt_tokens += 1;
    assert!(matches!(choose_from(&world, &other.required()), Err(ChooseError::OtherOffer { .. })));
    // The price in the 402 is raised after signing.
    let mut raised = world.required();
    raised.accepts[0].amount = "1001".into();
    assert_eq!(choose_from(&world, &raised).err(), Some(ChooseError::NoEntry(vec![SkipReason::NotTheOffer])));
    let late = World { now: NOW + 121, ..World::new() };
    assert!(matches!(choose_from(&late, &late.required()), Err(ChooseError::OfferExpired { .. })));
}

/// A wallet shows its owner the domain: one that the terms do not name could be another token's.
#[test]
fn an_entry_under_another_domain_than_the_signed_terms_is_not_chosen() {
    let world = World::new();
    for (field, other) in [("name", "USD Coin"), ("name", ""), ("version", "1"), ("version", "2 ")] {
        let mut required = world.required();
        let extra = &mut required.accepts[0].extra.as_mut().unwrap().0;
        assert_ne!(extra.insert(field.into(), other.into()), Some(other.into()), "{field}");
        assert_eq!(choose_from(&world, &required).err(), Some(ChooseError::NoEntry(vec![SkipReason::NotTheOffer])), "{field} {other:?}");
        // An honest entry behind it is taken.
        required.accepts.push(world.requirements.to_entry());
        assert_eq!(choose_from(&world, &required).unwrap().requirements(), &world.requirements);
    }
}

#[test]
fn the_policy_names_what_it_does_not_allow() {
    let world = World::new();
    let refuse = |policy: SpendPolicy| match choose(&world.required(), &world.verified_offer().unwrap(), &policy, UnixMs(NOW * 1000)) {
        Err(ChooseError::NoEntry(reasons)) => reasons[0],
        other => panic!("{other:?}"),
    };
    let asset = PolicyError::Asset { network: world.requirements.network, asset: world.requirements.asset };
    assert_eq!(refuse(SpendPolicy::default()), SkipReason::Policy(asset));
    let mut small = world.policy();
    small.assets[0].max_per_request = Amount(999);
    let asset = world.requirements.asset;
    assert_eq!(refuse(small), SkipReason::Policy(PolicyError::PerRequest { asset, limit: Amount(999), got: Amount(1000) }));
}

#[test]
fn what_cannot_be_paid_is_said_in_words_with_amount_and_asset() {
    let asset = Address([7; 20]);
    let per_request = SkipReason::Policy(PolicyError::PerRequest { asset, limit: Amount(200), got: Amount(301) });
    let said = ChooseError::NoEntry(vec![SkipReason::Requirements(RequirementsError::Scheme), per_request]).to_string();
    for words in ["the price is 301", "allows 200 per request", &asset.to_string(), "its scheme is neither `exact` nor `upto`; "] {
        assert!(said.contains(words), "{words}: {said}");
    }
    for debug in ["Policy(", "PerRequest", "None", "{"] {
        assert!(!said.contains(debug), "{debug}: {said}");
    }
}

/// A ledger after its client has started again.
fn restarted(ledger: &Ledger) -> Ledger {
    Ledger::new(ledger.spends().cloned().collect::<Vec<_>>())
}

const REQUEST: Hash32 = Hash32([1; 32]);

fn seller(world: &World) -> Seller {
    Seller { boot: world.enclave.manifest().hash(), payee: world.requirements.pay_to }
}

/// Another boot of the same operator.
fn other(world: &World) -> Seller {
    Seller { boot: Hash32([2; 32]), ..seller(world) }
}

#[test]
fn an_unresolved_payment_is_sent_again_to_its_boot_and_holds_the_request_elsewhere() {
    let world = World::new();
    let mut ledger = Ledger::default();
    let reservation = world.reserve(&mut ledger, 1);
    let (nonce, ends) = (reservation.nonce(), reservation.valid_before());
    assert_eq!(ends, UnixSeconds(NOW + 300));
    let sent = world.sent(reservation);
    ledger.sent(sent.clone()).unwrap();
    let mut ledger = restarted(&ledger);
    assert_eq!(ledger.resume(&REQUEST, &seller(&world), &[], ends.saturating_sub(1)), Ok(Some(sent.clone())));
    assert_eq!(SentPayment::parse(sent.header()), Some(sent));
    // Another request is another matter, and so is an ask that still waits for its own answer.
    assert_eq!(ledger.resume(&Hash32([9; 32]), &seller(&world), &[], UnixSeconds(NOW)), Ok(None));
    assert_eq!(ledger.resume(&REQUEST, &seller(&world), &[nonce], UnixSeconds(NOW)), Ok(None));
    // A boot that cannot run it, or a time at which nobody can.
    let until = ends.saturating_add(MAX_SKEW_SECONDS);
    assert_eq!(ledger.resume(&REQUEST, &other(&world), &[], UnixSeconds(NOW)), Err(LedgerError::Unresolved { until }));
    assert_eq!(ledger.resume(&REQUEST, &seller(&world), &[], ends), Err(LedgerError::Unresolved { until }));
    assert_eq!(
        ledger.resume(&REQUEST, &seller(&world), &[], until.saturating_add(1)),
        Err(LedgerError::AskTheChain { valid_before: ends })
    );
}

#[test]
fn a_payment_that_echoed_a_salt_is_sent_to_a_later_boot_of_its_payee_too() {
    let world = World { recovery: AnswerRecovery::Echo { salt: Hash32([7; 32]) }, ..World::new() };
    let mut ledger = Ledger::default();
    let reservation = world.reserve(&mut ledger, 1);
    let (nonce, ends) = (reservation.nonce(), reservation.valid_before());
    let sent = world.sent(reservation);
    assert!(sent.echoes_salt() && SentPayment::parse(sent.header()).is_some_and(|read| read == sent));
    ledger.sent(sent.clone()).unwrap();
    for now in [UnixSeconds(NOW), ends.saturating_sub(1), ends, ends.saturating_add(KEPT_SECONDS - 1)] {
        assert_eq!(ledger.resume(&REQUEST, &seller(&world), &[], now), Ok(Some(sent.clone())), "{now}");
        assert_eq!(ledger.resume(&REQUEST, &other(&world), &[], now), Ok(Some(sent.clone())), "{now}");
    }
    // Somebody waits for it; it is another's; its answer is erased.
    assert_eq!(ledger.resume(&REQUEST, &other(&world), &[nonce], UnixSeconds(NOW)), Ok(None));
    let stranger = Seller { payee: Address([9; 20]), ..other(&world) };
    assert_eq!(
        ledger.resume(&REQUEST, &stranger, &[], UnixSeconds(NOW)),
        Err(LedgerError::Unresolved { until: ends.saturating_add(MAX_SKEW_SECONDS) })
    );
    let gone = ledger.resume(&REQUEST, &other(&world), &[], ends.saturating_add(KEPT_SECONDS));
    assert_eq!(gone, Err(LedgerError::AskTheChain { valid_before: ends }));
}

#[test]
fn an_unused_authorization_frees_its_request_once_it_can_no_longer_move() {
    frees_its_request_after(&World::new(), 0);
    // Permit2 takes a permit in the second of its deadline.
    frees_its_request_after(&World::metered(), 1);
}

fn frees_its_request_after(world: &World, last: u64) {
    let mut ledger = Ledger::default();
    let reservation = world.reserve(&mut ledger, 1);
    let (nonce, ends) = (reservation.nonce(), reservation.valid_before());
    ledger.sent(world.sent(reservation)).unwrap();
    let over = ends.saturating_add(last);
    let early = over.saturating_sub(1);
    let refused = Err(LedgerError::TooEarly { at_least: over, got: early });
    assert_eq!(ledger.resolve(&nonce, Resolution::UnusedAt { block_time: early }), refused);
    assert_eq!(ledger.resolve(&nonce, Resolution::NeverSent), Err(LedgerError::AlreadyPaid));
    assert_eq!(ledger.resolve(&nonce, Resolution::UnusedAt { block_time: over }), Ok(()));
    assert_eq!(ledger.resume(&REQUEST, &other(world), &[], over.saturating_add(1)), Ok(None));
    assert_eq!(ledger.resolve(&nonce, Resolution::Charged { amount: None }), Err(LedgerError::Unknown));
}

#[test]
fn an_answer_that_was_given_up_is_asked_for_first_and_holds_up_nothing() {
    let world = World { recovery: AnswerRecovery::Echo { salt: Hash32([7; 32]) }, ..World::new() };
    let mut ledger = Ledger::default();
    let reservation = world.reserve(&mut ledger, 1);
    let (nonce, ends) = (reservation.nonce(), reservation.valid_before());
    assert_eq!(ledger.resolve(&nonce, Resolution::GivenUp), Err(LedgerError::Unknown), "it was sent to nobody");
    let sent = world.sent(reservation);
    ledger.sent(sent.clone()).unwrap();
    for _ in 0..2 {
        ledger.resolve(&nonce, Resolution::GivenUp).unwrap();
    }
    let mut ledger = restarted(&ledger);
    let later = ends.saturating_add(300);
    assert_eq!(ledger.resume(&REQUEST, &other(&world), &[], later), Ok(Some(sent)));
    let stranger = Seller { payee: Address([9; 20]), ..other(&world) };
    assert_eq!(ledger.resume(&REQUEST, &stranger, &[], later), Ok(None));
    // It counts as charged, until the chain says that it never moved.
    let day = |ledger: &Ledger, now| ledger.day_total(world.requirements.network, &world.requirements.asset, now);
    assert_eq!((day(&ledger, later), day(&ledger, later.saturating_add(86_400))), (Amount(1000), Amount::ZERO));
    assert_eq!(ledger.resolve(&nonce, Resolution::NeverSent), Err(LedgerError::AlreadyPaid));
    let mut unused = restarted(&ledger);
    assert_eq!(unused.resolve(&nonce, Resolution::UnusedAt { block_time: ends }), Ok(()));
    assert_eq!(unused.spends().count(), 0);
    // After its week it is nothing any more.
    let week = ends.saturating_add(KEPT_SECONDS);
    assert_eq!(ledger.resume(&REQUEST, &other(&world), &[], week), Ok(None));
    assert!(ledger.reserve(world.purchase(2), world.choice(), week).is_ok());
    assert_eq!(ledger.spends().count(), 1);
}

#[test]
fn what_a_guard_refused_is_sent_to_nobody_again_and_counts_until_a_chain_shows_it_unused() {
    let world = World { recovery: AnswerRecovery::Echo { salt: Hash32([7; 32]) }, ..World::new() };
    let mut ledger = Ledger::default();
    let reservation = world.reserve(&mut ledger, 1);
    let (nonce, ends) = (reservation.nonce(), reservation.valid_before());
    assert_eq!(ledger.resolve(&nonce, Resolution::TurnedAway), Err(LedgerError::Unknown), "it was sent to nobody");
    let sent = world.sent(reservation);
    ledger.sent(sent.clone()).unwrap();
    for _ in 0..2 {
        ledger.resolve(&nonce, Resolution::TurnedAway).unwrap();
    }
    let mut ledger = restarted(&ledger);
    assert_eq!(ledger.resume(&REQUEST, &seller(&world), &[], UnixSeconds(NOW)), Ok(None));
    assert_eq!(
        (ledger.sent(sent), ledger.resolve(&nonce, Resolution::NeverSent)),
        (Err(LedgerError::AlreadyPaid), Err(LedgerError::AlreadyPaid))
    );
    let day = ledger.day_total(world.requirements.network, &world.requirements.asset, UnixSeconds(NOW));
    assert_eq!((day, ledger.open().count()), (Amount(1000), 1));
    // If the enclave was not what it was shown to be, it moved; else it never will.
    let mut moved = restarted(&ledger);
    assert_eq!((moved.resolve(&nonce, Resolution::Charged { amount: None }), moved.open().count()), (Ok(()), 0));
    let early = Resolution::UnusedAt { block_time: ends.saturating_sub(1) };
    assert_eq!(ledger.resolve(&nonce, early), Err(LedgerError::TooEarly { at_least: ends, got: ends.saturating_sub(1) }));
    assert_eq!(ledger.resolve(&nonce, Resolution::UnusedAt { block_time: ends }), Ok(()));
    assert_eq!(ledger.spends().count(), 0);
}

#[test]
fn a_request_that_was_answered_may_be_bought_again() {
    let world = World::new();
    let mut ledger = Ledger::default();
    for salt in 1..3 {
        let reservation = world.reserve(&mut ledger, salt);
        let nonce = reservation.nonce();
        ledger.sent(world.sent(reservation)).unwrap();
        ledger.resolve(&nonce, Resolution::Charged { amount: None }).unwrap();
        assert_eq!(ledger.resolve(&nonce, Resolution::UnusedAt { block_time: UnixSeconds(u64::MAX) }), Err(LedgerError::AlreadyPaid));
        assert_eq!(ledger.resume(&REQUEST, &seller(&world), &[], UnixSeconds(NOW)), Ok(None));
    }
    // The same salt under the same offer would be the same payment.
    assert_eq!(ledger.reserve(world.purchase(1), world.choice(), UnixSeconds(NOW)).err(), Some(LedgerError::AlreadyPaid));
    assert_eq!(ledger.day_total(world.requirements.network, &world.requirements.asset, UnixSeconds(NOW)), Amount(2000));
}

#[test]
fn an_abandoned_reservation_was_sent_to_nobody_and_is_forgotten() {
    let world = World::new();
    let mut ledger = Ledger::default();
    let reservation = world.reserve(&mut ledger, 1);
    // While its ask lives it counts.
    assert_eq!(ledger.resume(&REQUEST, &seller(&world), &[reservation.nonce()], UnixSeconds(NOW)), Ok(None));
    assert_eq!(ledger.spends().count(), 1);
    let mut ledger = restarted(&ledger);
    assert_eq!(ledger.resume(&REQUEST, &seller(&world), &[], UnixSeconds(NOW)), Ok(None));
    assert_eq!(ledger.spends().count(), 0);
    assert_eq!(ledger.sent(world.sent(reservation)), Err(LedgerError::Unknown));
}

#[test]
fn the_budget_of_a_day_counts_unresolved_payments_and_rolls() {
    let world = World::new();
    let mut ledger = Ledger::default();
    let mut last = None;
    for n in 0..20 {
        let reserved = world.reserve(&mut ledger, n);
        last = Some(reserved.nonce());
        if n < 10 {
            ledger.resolve(&reserved.nonce(), Resolution::Charged { amount: None }).unwrap();
        }
    }
    let full = LedgerError::PerDay { limit: Amount(20_000), got: Amount(21_000) };
    assert_eq!(ledger.reserve(world.purchase(99), world.choice(), UnixSeconds(NOW + 10)).err(), Some(full));
    assert_eq!(ledger.resolve(&last.unwrap(), Resolution::NeverSent), Ok(()));
    assert!(ledger.reserve(world.purchase(99), world.choice(), UnixSeconds(NOW + 10)).is_ok());
    // A day later the charged ones are history; the unresolved ones still count.
    assert_eq!(ledger.day_total(world.requirements.network, &world.requirements.asset, UnixSeconds(NOW + 86_400)), Amount(10_000));
}

#[test]
fn a_stored_payment_that_is_not_ours_is_not_read() {
    let world = World::new();
    for payload in [world.stock(world.authorization(), true), world.stock(world.authorization(), false)] {
        assert_eq!(SentPayment::parse(&encode_header(&payload)), None);
    }
    assert_eq!(SentPayment::parse(""), None);
    let sent = world.sent(world.reserve(&mut Ledger::default(), 1));
    let signature = candor_verify::bytes::to_hex(&sent.payment().signature.0);
    assert!(!format!("{sent:?}").contains(&signature[2..]), "{sent:?}");
}

#[test]
fn a_signature_of_another_key_is_not_sent() {
    let world = World::new();
    let reservation = world.reserve(&mut Ledger::default(), 1);
    let other = Key::new(33);
    let result = paid_by(&other, reservation);
    assert_eq!(result.err(), Some(PayError::Signer { expected: world.payer.address(), got: Some(other.address()) }));
}

#[test]
fn beside_payments_that_were_left_no_more_are_reserved_than_the_policy_allows_and_what_ended_does_not_count() {
    let world = World::new();
    let mut ledger = Ledger::default();
    let mut left = BTreeSet::new();
    let beside = |ledger: &mut Ledger, left: &BTreeSet<Hash32>, salt: u8| {
        ledger.reserve_beside(world.purchase(salt), world.choice(), left, UnixSeconds(world.now))
    };
    let first = world.reserve(&mut ledger, 1);
    left.insert(first.nonce());
    ledger.sent(world.sent(first)).unwrap();
    // One was left, two may be: another is paid.
    let second = beside(&mut ledger, &left, 2).unwrap();
    left.insert(second.nonce());
    ledger.sent(world.sent(second)).unwrap();
    let refused = beside(&mut ledger, &left, 3).unwrap_err();
    assert!(matches!(refused, LedgerError::TooManyUnresolved { limit: 2, got: 2, .. }), "{refused}");
    assert!(refused.to_string().contains("max_unresolved"));
    // A first payment for another request is none beside another.
    let other = world.reserve(&mut ledger, 4);
    assert!(beside(&mut ledger, &left, 5).is_err(), "and does not make room");
    ledger.resolve(&other.nonce(), Resolution::NeverSent).unwrap();
    // What is charged is not unresolved, and what is not known counts for nothing.
    let charged = *left.iter().next().unwrap();
    ledger.resolve(&charged, Resolution::Charged { amount: None }).unwrap();
    left.insert(Hash32([0xee; 32]));
    assert!(beside(&mut ledger, &left, 6).is_ok());
}

#[test]
fn a_maximum_counts_for_the_day_until_it_can_move_no_more() {
    let world = World::metered();
    let mut ledger = Ledger::default();
    let reservation = world.reserve(&mut ledger, 1);
    let (nonce, ends, signed) = (reservation.nonce(), reservation.valid_before(), world.requirements.amount);
    ledger.sent(world.sent(reservation)).unwrap();
    ledger.resolve(&nonce, Resolution::Charged { amount: Some(Amount(1)) }).unwrap();
    let total = |now| ledger.day_total(world.requirements.network, &world.requirements.asset, now);
    assert_eq!((total(UnixSeconds(world.now)), total(ends)), (signed, signed));
    assert_eq!(total(ends.saturating_add(MAX_SKEW_SECONDS + 1)), Amount(1));
}
