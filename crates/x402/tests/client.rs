//! The paying side: it pays what K_sig signed, what policy allows, and each request once.

mod common;

use candor_verify::bytes::{Address, Amount, Hash32};
use candor_verify::payment::MAX_SKEW_SECONDS;
use candor_x402::Libsecp;
use candor_x402::client::*;
use candor_x402::protocol::{PaymentRequired, PaymentRequirements, TermsError, encode_header, parse_payment_required};
use common::{Key, NOW, World};

fn choose_from(world: &World, required: &PaymentRequired) -> Result<Choice, ChooseError> {
    choose(required, &world.policy(), &world.k_sig.address(), world.now * 1000, &Libsecp)
}

#[test]
fn unknown_schemes_flows_and_chains_are_dropped_and_the_first_good_entry_is_taken() {
    let world = World::new();
    let good = world.terms.to_requirements();
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
    assert_eq!(choose_from(&world, &required).unwrap().terms(), &world.terms);
    let none = PaymentRequired { accepts: vec![upto], ..world.required() };
    let reasons = vec![SkipReason::Terms(TermsError::Scheme)];
    assert_eq!(choose_from(&world, &none).err(), Some(ChooseError::NoEntry(reasons)));
}

#[test]
fn nothing_is_paid_that_the_attested_key_did_not_sign() {
    let world = World::new();
    let required = PaymentRequired { extensions: None, ..world.required() };
    assert_eq!(choose_from(&world, &required).err(), Some(ChooseError::NoOffer));
    let rogue = World { k_sig: Key::new(8), ..World::new() };
    let expected = ChooseError::OfferSigner { expected: world.k_sig.address(), got: Some(rogue.k_sig.address()) };
    assert_eq!(choose_from(&world, &rogue.required()).err(), Some(expected));
    // The price in the 402 is raised after signing.
    let mut raised = world.required();
    raised.accepts[0].amount = "1001".into();
    assert_eq!(choose_from(&world, &raised).err(), Some(ChooseError::NoEntry(vec![SkipReason::NotTheOffer])));
    let late = World { now: NOW + 121, ..World::new() };
    assert!(matches!(choose_from(&late, &late.required()), Err(ChooseError::OfferExpired { .. })));
}

#[test]
fn the_policy_names_what_it_does_not_allow() {
    let world = World::new();
    let refuse = |policy: SpendPolicy| match choose(&world.required(), &policy, &world.k_sig.address(), NOW * 1000, &Libsecp) {
        Err(ChooseError::NoEntry(reasons)) => reasons[0],
        other => panic!("{other:?}"),
    };
    let asset = PolicyError::Asset { network: world.terms.network, asset: world.terms.asset };
    assert_eq!(refuse(SpendPolicy::default()), SkipReason::Policy(asset));
    let payee = PolicyError::Payee { got: world.terms.pay_to };
    assert_eq!(refuse(SpendPolicy { payees: vec![Address([1; 20])], ..world.policy() }), SkipReason::Policy(payee));
    let mut small = world.policy();
    small.assets[0].max_per_request = Amount(999);
    assert_eq!(refuse(small), SkipReason::Policy(PolicyError::PerRequest { limit: Amount(999), got: Amount(1000) }));
}

#[test]
fn one_request_is_paid_once_and_a_dead_enclave_is_waited_for() {
    let world = World::new();
    let (mut ledger, request) = (Ledger::default(), Hash32([1; 32]));
    let ends = ledger.reserve(request, world.choice(), NOW).unwrap().valid_before();
    assert_eq!(ends, NOW + 300);
    let until = ends + MAX_SKEW_SECONDS;
    // The ledger survives a restart of the client.
    let mut ledger = Ledger::new(ledger.spends().copied().collect::<Vec<_>>());
    assert_eq!(ledger.reserve(request, world.choice(), until).err(), Some(LedgerError::Unresolved { until }));
    assert_eq!(ledger.reserve(request, world.choice(), until + 1).err(), Some(LedgerError::AskTheChain { valid_before: ends }));
    let early = Resolution::UnusedAt { block_seconds: ends - 1 };
    assert_eq!(ledger.resolve(&request, early), Err(LedgerError::TooEarly { at_least: ends, got: ends - 1 }));
    assert_eq!(ledger.resolve(&request, Resolution::UnusedAt { block_seconds: ends }), Ok(()));
    assert!(ledger.reserve(request, world.choice(), until + 1).is_ok());
    assert_eq!(ledger.resolve(&request, Resolution::Charged), Ok(()));
    assert_eq!(ledger.reserve(request, world.choice(), until + 2).err(), Some(LedgerError::AlreadyPaid));
    assert_eq!(ledger.resolve(&request, Resolution::NeverSent), Err(LedgerError::AlreadyPaid));
    assert_eq!(ledger.resolve(&Hash32([2; 32]), Resolution::Charged), Err(LedgerError::Unknown));
}

#[test]
fn the_budget_of_a_day_counts_unresolved_payments_and_rolls() {
    let world = World::new();
    let mut ledger = Ledger::default();
    for n in 0..20 {
        let _reserved = ledger.reserve(Hash32([n; 32]), world.choice(), NOW).unwrap();
        if n < 10 {
            ledger.resolve(&Hash32([n; 32]), Resolution::Charged).unwrap();
        }
    }
    let full = LedgerError::PerDay { limit: Amount(20_000), got: Amount(21_000) };
    assert_eq!(ledger.reserve(Hash32([99; 32]), world.choice(), NOW + 10).err(), Some(full));
    assert_eq!(ledger.resolve(&Hash32([19; 32]), Resolution::NeverSent), Ok(()));
    assert!(ledger.reserve(Hash32([99; 32]), world.choice(), NOW + 10).is_ok());
    // A day later the charged ones are history; the unresolved ones still count.
    assert_eq!(ledger.day_total(world.terms.network, &world.terms.asset, NOW + 86_400), Amount(10_000));
}

#[test]
fn a_signature_of_another_key_is_not_sent() {
    let world = World::new();
    let reservation = Ledger::default().reserve(Hash32([1; 32]), world.choice(), NOW).unwrap();
    let other = Key::new(33);
    let result = build_payment(reservation, world.payer.address(), Hash32([2; 32]), &Libsecp, |digest| other.sign(digest));
    assert_eq!(result.err(), Some(PayError::Signer { expected: world.payer.address(), got: Some(other.address()) }));
}
