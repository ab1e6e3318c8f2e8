//! `exact` over EIP-3009: each check refuses what it should, by its own string, and in the reference's order.

mod common;

use candor_verify::bytes::{Address, Amount, Hash32, Signature65, to_hex};
use candor_verify::payment::{MAX_SKEW_SECONDS, MAX_TIMEOUT_SECONDS, SETTLE_MARGIN_SECONDS};
use candor_verify::recovery::AnswerSecret;
use candor_verify::time::{UnixMs, UnixSeconds};
use candor_x402::PaymentError;
use candor_x402::extension::{AnswerRecovery, ExtensionError};
use candor_x402::protocol::{JsonObject, encode_header, parse_payment_payload};
use candor_x402::recovery::Retry;
use candor_x402::scheme::Binding;
use candor_x402::scheme::encode_transfer;
use candor_x402::settlement::Intent;
use common::{NOW, World, high_s_twin};
use serde_json::{Value, json};

#[test]
fn a_payment_of_our_client_is_good_and_bound_to_the_offer() {
    let world = World::new();
    let payload = world.committed(4);
    // Over the wire and back.
    let payload = parse_payment_payload(encode_header(&payload).as_bytes()).unwrap();
    let verified = world.verify(&payload).unwrap();
    let offer_digest = world.candidate.offer.digest();
    assert_eq!(verified.binding(), Binding::Offer { client_salt: Hash32([4; 32]), offer_digest });
    assert_eq!(verified.payment_id(), verified.authorization().payment_id(common::CHAIN, &world.requirements.asset));
    assert_eq!(verified.authorization().from, world.payer.address());
}

#[test]
fn a_payment_of_a_stock_client_is_good_for_its_price_only() {
    let world = World::new();
    for echo in [true, false] {
        let verified = world.verify(&world.stock(world.authorization(), echo)).unwrap();
        assert_eq!(verified.binding(), Binding::EqualPriceOnly, "echo {echo}");
    }
}

#[test]
fn each_refusal_has_the_string_of_the_reference() {
    let world = World::new();
    type Change = fn(&mut candor_x402::protocol::PaymentPayload);
    let cases: [(&str, u16, Change); 22] = [
        ("invalid_x402_version", 400, |p| p.x402_version = 1),
        ("unsupported_payment_flow", 402, |p| extra(p, "paymentFlow", "barter".into())),
        ("unsupported_payment_flow", 402, |p| extra(p, "paymentFlow", "upfront".into())),
        ("unsupported_asset_transfer_method", 402, |p| extra(p, "assetTransferMethod", "permit2".into())),
        ("invalid_exact_evm_scheme", 402, |p| p.accepted.scheme = "upto".into()),
        ("invalid_exact_evm_missing_eip712_domain", 402, |p| extra(p, "name", Value::Null)),
        ("invalid_exact_evm_missing_eip712_domain", 402, |p| p.accepted.extra = None),
        ("invalid_exact_evm_network_mismatch", 402, |p| p.accepted.network = "eip155:1".into()),
        ("No matching payment requirements", 402, |p| p.accepted.amount = "999".into()),
        ("No matching payment requirements", 402, |p| p.accepted.asset = Address([1; 20]).to_string()),
        ("No matching payment requirements", 402, |p| p.accepted.max_timeout_seconds = 301),
        ("No matching payment requirements", 402, |p| extra(p, "name", "USD Coin".into())),
        ("extension_echo_mismatch", 402, |p| p.extensions.as_mut().unwrap().0["candor"]["info"]["offers"] = Value::Null),
        ("extension_echo_mismatch", 402, |p| p.extensions = Some(serde_json::from_value(json!({"other": {}})).unwrap())),
        ("invalid_payload", 400, |p| p.payload = JsonObject::default()),
        ("invalid_payload", 400, |p| World::set(p, "nonce", "0x11")),
        ("invalid_payload", 400, |p| World::set(p, "value", 1000)),
        ("invalid_payload", 400, |p| World::set(p, "value", "1e3")),
        ("invalid_payload", 400, |p| World::set(p, "validBefore", "18446744073709551616")),
        ("invalid_exact_evm_failed_to_parse_signature", 402, |p| signature(p, "0x1234".into())),
        ("invalid_exact_evm_failed_to_parse_signature", 402, |p| signature(p, "zz".into())),
        // An ERC-6492 signature is longer.
        ("invalid_exact_evm_failed_to_parse_signature", 402, |p| signature(p, to_hex(&[0x64; 320]).into())),
    ];
    for (code, status, change) in cases {
        let mut payload = world.committed(4);
        change(&mut payload);
        let error = world.verify(&payload).unwrap_err();
        assert_eq!((error.code(), error.status()), (code, status), "{error:?}");
    }
}

#[test]
fn what_was_signed_is_compared_field_by_field() {
    let world = World::new();
    let base = world.authorization();
    let verify = |authorization| world.verify(&world.stock(authorization, true)).map(|_| ());
    let other = Address([1; 20]);
    assert_eq!(
        verify(candor_verify::payment::Authorization { to: other, ..base }),
        Err(PaymentError::Recipient { expected: world.requirements.pay_to, got: other })
    );
    // Equality, in both directions.
    for got in [Amount(999), Amount(1001), Amount(0), Amount(u128::MAX)] {
        let changed = candor_verify::payment::Authorization { value: got, ..base };
        let error = PaymentError::Value { expected: Amount(1000), got };
        assert_eq!(error.code(), "invalid_exact_evm_payload_authorization_value_mismatch");
        assert_eq!(verify(changed), Err(error));
    }
    let later = candor_verify::payment::Authorization { valid_after: UnixSeconds(NOW + 1), ..base };
    let error = PaymentError::ValidAfter { at_most: UnixSeconds(NOW), got: UnixSeconds(NOW + 1) };
    assert_eq!(error.code(), "invalid_exact_evm_payload_authorization_valid_after");
    assert_eq!(verify(later), Err(error));
    for valid_after in [0, NOW - 600, NOW] {
        assert_eq!(verify(candor_verify::payment::Authorization { valid_after: UnixSeconds(valid_after), ..base }), Ok(()));
    }
}

#[test]
fn the_end_of_a_payment_has_both_bounds() {
    let world = World::new();
    let at_least = NOW + SETTLE_MARGIN_SECONDS + world.generation;
    let at_most = NOW + MAX_TIMEOUT_SECONDS + MAX_SKEW_SECONDS;
    for (valid_before, good) in [(at_least - 1, false), (at_least, true), (at_most, true), (at_most + 1, false), (0, false)] {
        let authorization = candor_verify::payment::Authorization { valid_before: UnixSeconds(valid_before), ..world.authorization() };
        let result = world.verify(&world.stock(authorization, true));
        if good {
            assert!(result.is_ok(), "{valid_before}");
        } else {
            let error = result.unwrap_err();
            assert_eq!(
                error,
                PaymentError::ValidBefore {
                    at_least: UnixSeconds(at_least),
                    at_most: UnixSeconds(at_most),
                    got: UnixSeconds(valid_before)
                }
            );
            assert_eq!(error.code(), "invalid_exact_evm_payload_authorization_valid_before");
        }
    }
}

#[test]
fn a_signature_by_somebody_else_or_over_something_else_is_refused() {
    let mut world = World::new();
    let good = world.committed(4);
    // One bit of what was signed.
    let mut changed = good.clone();
    World::set(&mut changed, "value", "1001");
    assert!(matches!(world.verify(&changed), Err(PaymentError::Signature { got: Some(_), .. })));
    // The same token has another name on another chain, and signs in another domain.
    world.requirements.token_name = "USD Coin".into();
    let mut renamed = good.clone();
    extra(&mut renamed, "name", "USD Coin".into());
    assert_eq!(world.verify(&renamed).unwrap_err().code(), "invalid_exact_evm_signature");
    // The high-s twin: tokens refuse it, so we do.
    let world = World::new();
    let mut twin = good;
    let low = Signature65::from_hex(twin.payload.text("signature").unwrap()).unwrap();
    signature(&mut twin, to_hex(&high_s_twin(&low).0).into());
    assert_eq!(world.verify(&twin), Err(PaymentError::Signature { expected: world.payer.address(), got: None }));
}

#[test]
fn the_checks_come_in_the_order_of_the_reference() {
    // Everything is wrong at once; mending the first complaint uncovers the next.
    let world = World::new();
    let wrong = candor_verify::payment::Authorization {
        to: Address([1; 20]),
        value: Amount(1),
        valid_after: UnixSeconds(NOW + 9),
        valid_before: UnixSeconds(NOW),
        ..world.authorization()
    };
    let mut payload = world.stock(wrong, false);
    payload.accepted.scheme = "upto".into();
    payload.accepted.network = "eip155:1".into();
    extra(&mut payload, "name", Value::Null);
    let code = |payload: &_| world.verify(payload).unwrap_err().code();
    assert_eq!(code(&payload), "invalid_exact_evm_scheme");
    payload.accepted.scheme = "exact".into();
    assert_eq!(code(&payload), "invalid_exact_evm_missing_eip712_domain");
    extra(&mut payload, "name", "USDC".into());
    assert_eq!(code(&payload), "invalid_exact_evm_network_mismatch");
    payload.accepted.network = "eip155:31337".into();
    let good_signature = payload.payload.0["signature"].clone();
    signature(&mut payload, "0x".into());
    assert_eq!(code(&payload), "invalid_exact_evm_failed_to_parse_signature");
    signature(&mut payload, to_hex(&[1; 65]).into());
    assert_eq!(code(&payload), "invalid_exact_evm_signature");
    signature(&mut payload, good_signature);
    assert_eq!(code(&payload), "invalid_exact_evm_recipient_mismatch");
    let to = world.requirements.pay_to;
    let payload = world.stock(candor_verify::payment::Authorization { to, ..wrong }, false);
    assert_eq!(code(&payload), "invalid_exact_evm_payload_authorization_valid_before");
    let ends = NOW + 300;
    let payload = world.stock(candor_verify::payment::Authorization { to, valid_before: UnixSeconds(ends), ..wrong }, false);
    assert_eq!(code(&payload), "invalid_exact_evm_payload_authorization_valid_after");
    let payload = world
        .stock(candor_verify::payment::Authorization { to, valid_before: UnixSeconds(ends), valid_after: UnixSeconds(0), ..wrong }, false);
    assert_eq!(code(&payload), "invalid_exact_evm_payload_authorization_value_mismatch");
}

#[test]
fn a_payment_for_another_request_at_the_same_price_is_refused() {
    // For our client (nonce) and for a stock client that echoes (extension).
    let mut world = World::new();
    let ours = world.committed(4);
    let stock = world.stock(world.authorization(), true);
    let got = world.candidate.offer.digest();
    world.candidate = World::candidate(&world.enclave, &world.requirements, 2);
    let expected = vec![world.candidate.offer.digest()];
    for payload in [&ours, &stock] {
        assert_eq!(world.verify(payload), Err(PaymentError::OtherOffer { expected: expected.clone(), got }));
    }
    // The echo is swapped for the other request's: the nonce still tells.
    let mut swapped = ours;
    swapped.extensions = Some(candor_x402::extension::echo_with_salt(&world.extensions(), &Hash32([4; 32])));
    assert!(matches!(world.verify(&swapped), Err(PaymentError::Nonce { .. })));
}

#[test]
fn the_previous_bucket_still_counts_and_an_ended_offer_does_not() {
    let world = World::new();
    let payload = world.committed(4);
    let newer = World::candidate(&world.enclave, &world.requirements, 2);
    assert!(world.verify_against(&payload, &[newer.clone(), world.candidate.clone()]).is_ok());
    assert!(matches!(world.verify_against(&payload, std::slice::from_ref(&newer)), Err(PaymentError::OtherOffer { .. })));
    let three = [newer.clone(), newer, world.candidate.clone()];
    assert!(matches!(world.verify_against(&payload, &three), Err(PaymentError::Misuse { .. })));
    let world = World { now: NOW + 121, ..world };
    let valid_until = (NOW + 120) * 1000;
    assert_eq!(
        world.verify(&payload),
        Err(PaymentError::OfferExpired { valid_until: UnixMs(valid_until), got: UnixMs((NOW + 121) * 1000) })
    );
}

#[test]
fn a_payment_answers_the_offer_that_was_echoed_of_this_bucket_or_the_one_before() {
    let world = World::new();
    // The client holds the previous bucket's offer; the current one is another.
    let (current, previous) = (World::candidate(&world.enclave, &world.requirements, 2), world.candidate.clone());
    let candidates = [current, previous.clone()];
    let stock = world.stock(world.authorization(), true);
    for payload in [&stock, &world.committed(1)] {
        assert_eq!(world.verify_against(payload, &candidates).unwrap().answers(), Some(&previous));
    }
    let silent = world.stock(world.authorization(), false);
    assert_eq!(world.verify_against(&silent, &candidates).unwrap().answers(), None);
}

#[test]
fn a_payment_that_was_good_is_refused_at_the_claim_once_too_little_time_is_left() {
    let world = World::new();
    let needed = SETTLE_MARGIN_SECONDS + world.generation;
    let payment = world.verify(&world.stock(world.authorization(), true)).unwrap();
    let valid_before = payment.authorization().valid_before;
    assert_eq!(payment.check_open(valid_before.saturating_sub(needed), world.generation), Ok(()));
    let late = payment.check_open(valid_before.saturating_sub(needed - 1), world.generation).unwrap_err();
    assert_eq!((late.code(), late.status()), ("invalid_exact_evm_payload_authorization_valid_before", 402));
}

#[test]
fn an_offer_that_contradicts_our_own_terms_accepts_nothing() {
    let mut world = World::new();
    let payload = world.committed(4);
    world.candidate.offer.amount = Amount(1);
    let error = world.verify(&payload).unwrap_err();
    assert_eq!((error.code(), error.status()), ("unexpected_verify_error", 500));
}

#[test]
fn a_payment_that_could_be_for_an_earlier_boot_is_refused_unless_it_names_this_one() {
    let horizon = MAX_TIMEOUT_SECONDS + MAX_SKEW_SECONDS;
    let mut world = World { boot: NOW, ..World::new() };
    assert!(world.verify(&world.committed(4)).is_ok(), "our client names the boot");
    // A stock client, clocks equal, at the moment of boot.
    let authorization = world.authorization();
    let error = world.verify(&world.stock(authorization, true)).unwrap_err();
    let expected =
        PaymentError::NotThisBoot { later_than: UnixSeconds(NOW + horizon), got: UnixSeconds(NOW + 300), retry_after_seconds: 31 };
    assert_eq!(error, expected);
    assert_eq!((error.code(), error.status(), error.retry_after_seconds()), ("candor_not_this_boot", 402, Some(31)));
    // The wait is enough, and never more than twice the skew.
    world.now = NOW + 31;
    assert!(world.verify(&world.stock(world.authorization(), true)).is_ok());
    let short = candor_verify::payment::Authorization { valid_before: UnixSeconds(NOW + 31 + 70), ..world.authorization() };
    assert_eq!(world.verify(&world.stock(short, true)).unwrap_err().retry_after_seconds(), Some(2 * MAX_SKEW_SECONDS));
}

#[test]
fn whatever_an_earlier_boot_could_accept_this_boot_refuses() {
    // The earlier boot ran until the very second of this one.
    let last = World { boot: NOW - 9999, now: NOW, ..World::new() };
    let horizon = NOW + MAX_TIMEOUT_SECONDS + MAX_SKEW_SECONDS;
    for valid_before in (NOW..horizon + 40).step_by(7).chain([horizon, horizon + 1]) {
        let payload =
            last.stock(candor_verify::payment::Authorization { valid_before: UnixSeconds(valid_before), ..last.authorization() }, false);
        for now in (NOW..NOW + 400).step_by(13) {
            let next = World { boot: NOW, now, ..World::new() };
            assert!(last.verify(&payload).is_err() || next.verify(&payload).is_err(), "{valid_before} at {now}");
        }
    }
}

#[test]
fn signatures_are_in_no_debug_and_no_error() {
    let world = World::new();
    let payload = world.committed(4);
    let hex = payload.payload.text("signature").unwrap()[2..18].to_owned();
    let verified = world.verify(&payload).unwrap();
    let calldata = encode_transfer(verified.authorization(), verified.signature());
    let intent = Intent::parse(verified.chain_id(), verified.asset(), calldata).unwrap();
    let mut changed = payload.clone();
    World::set(&mut changed, "value", "1001");
    let error = world.verify(&changed).unwrap_err();
    let shown = format!("{payload:?} {verified:?} {intent:?} {error:?} {error}");
    assert!(!shown.contains(&hex), "{shown}");
    let decimal = format!("{:?}", &verified.signature().0[..8]);
    assert!(!shown.contains(decimal.trim_matches(['[', ']'])), "{shown}");
}

fn extra(payload: &mut candor_x402::protocol::PaymentPayload, key: &str, value: Value) {
    payload.accepted.extra.as_mut().unwrap().0.insert(key.into(), value);
}

fn signature(payload: &mut candor_x402::protocol::PaymentPayload, value: Value) {
    payload.payload.0.insert("signature".into(), value);
}

/// A world whose answers are kept for who echoes this salt.
fn keeping(salt: u8) -> World {
    World { recovery: AnswerRecovery::Echo { salt: Hash32([salt; 32]) }, ..World::new() }
}

#[test]
fn a_salt_is_taken_in_its_one_form_and_only_where_the_402_had_one() {
    let world = keeping(0xab);
    assert!(world.verify(&world.committed(4)).is_ok() && world.verify(&world.stock(world.authorization(), true)).is_ok());
    // Whoever leaves it out pays as well, and has no answer kept.
    let without = World::new().committed(4);
    assert!(world.verify(&without).is_ok());
    let mut payload = world.committed(4);
    payload.extensions.as_mut().unwrap().0["candor"]["info"]["answerSalt"] = Hash32([1; 32]).to_string().into();
    assert!(world.verify(&payload).is_ok(), "another salt is as good");
    for value in ["0x00", &Hash32([0xab; 32]).to_string().to_uppercase().replace("0X", "0x")] {
        payload.extensions.as_mut().unwrap().0["candor"]["info"]["answerSalt"] = value.into();
        let refused = world.verify(&payload).unwrap_err();
        assert_eq!((refused.code(), refused.status()), ("extension_echo_mismatch", 402), "{value}");
    }
    let refused = World::new().verify(&world.committed(4)).unwrap_err();
    assert_eq!(refused, PaymentError::Echo(ExtensionError::NotOffered { field: "answerSalt" }));
    assert_eq!(refused.code(), "extension_echo_mismatch");
}

#[test]
fn a_retry_names_its_answer_by_the_header_alone() {
    let world = keeping(7);
    let payload = world.committed(4);
    let retry = Retry::read(&payload).unwrap();
    let verified = world.verify(&payload).unwrap();
    let signed_digest = verified.authorization().digest(&world.requirements.token());
    assert_eq!(retry.secret.answer_id(), AnswerSecret::new(&signed_digest, &Hash32([7; 32])).answer_id());
    assert_eq!((retry.payment_id, retry.chain_id), (verified.payment_id(), verified.chain_id()));
    assert_eq!(retry.valid_before, verified.authorization().valid_before);
    // Another salt, another signature's content, and no salt at all.
    assert_ne!(Retry::read(&keeping(8).committed(4)).unwrap().secret.answer_id(), retry.secret.answer_id());
    assert_ne!(Retry::read(&world.committed(5)).unwrap().secret.answer_id(), retry.secret.answer_id());
    assert!(Retry::read(&World::new().committed(4)).is_none());
    // Not by what this boot sells for: the accepted price may be any by now.
    let mut dearer = payload;
    dearer.accepted.amount = "7".into();
    assert_eq!(Retry::read(&dearer).unwrap().secret.answer_id(), retry.secret.answer_id());
}
