//! Metered payments: what is offered beside `exact`, that the charge is what the receipt meters, and what leaves for the settler.

use candor_enclave::{Config, Speed};
use candor_link::PayerState;
use candor_testhttp::{Draft, Offered};
use candor_verify::bytes::{Address, Amount, Hash32};
use candor_verify::eip712::{K256, signer};
use candor_verify::receipt::Receipt;
use candor_verify::scheme::{Keeper, SETTLER_FACTORY, Scheme, UPTO_PROXY, settler_of};
use candor_verify::terms::OperatorTerms;
use candor_x402::scheme::EIP2612_KEY;
use serde_json::Value;

use crate::support::client::{Reply, delivery, question, sign};
use crate::support::{Key, World, moved, now};

/// The fixture does not end its answer to this before it has to.
const LONG: &str = "a long story";

fn config() -> Config {
    let mut config = Config::default();
    config.speed = Some(Speed::UNBOUNDED);
    config
}

/// A chain with settlers.
fn metered(terms: &mut OperatorTerms) {
    (terms.chains[0].settler_factory, terms.chains[0].upto_proxy) = (SETTLER_FACTORY, UPTO_PROXY);
}

/// A payment of at most what the first entry asks, with no permit of the token beside it.
fn pay(unpaid: &Reply, payer: &Key) -> String {
    let offered = Offered::by(unpaid, Scheme::UptoPermit2);
    let draft = Draft::new(&offered, payer.address(), Hash32([7; 32]), now() + 300);
    draft.header(&payer.sign(&draft.digest()))
}

/// What the receipt meters, by the prices of the terms.
fn metered_by(world: &World, receipt: &Receipt) -> Amount {
    world.terms.prices[0].ceiling.amount(receipt.work.prompt_tokens, receipt.work.completion_tokens).unwrap()
}

#[tokio::test]
async fn both_ways_are_offered_the_metered_one_first_each_signed() {
    let world = World::start_under(config(), metered).await;
    let unpaid = world.ask(&question("hello", 8, false), None).await;
    let [upto, exact] = [Scheme::UptoPermit2, Scheme::ExactEip3009].map(|scheme| Offered::by(&unpaid, scheme));
    assert_eq!((upto.entry, exact.entry, upto.required.accepts.len()), (0, 1, 2));
    assert_eq!((upto.amount(), upto.requirements.asset), (exact.amount(), exact.requirements.asset));
    let k_sig = signer(&K256, &upto.signed.offer.digest(), &upto.signed.signature).unwrap();
    assert_eq!(signer(&K256, &exact.signed.offer.digest(), &exact.signed.signature), Some(k_sig));
    let settler = settler_of(&SETTLER_FACTORY, &k_sig);
    assert_eq!((upto.signed.offer.settler, exact.signed.offer.settler), (settler, Address::ZERO));
    assert_eq!(upto.requirements.through.settler(), settler);
    let extensions = upto.required.extensions.unwrap();
    assert!(extensions.0[EIP2612_KEY]["schema"]["properties"]["signature"].is_object());

    // Where the terms name no settlers there is one way, and no permits are asked for.
    let world = World::start(config()).await;
    let unpaid = world.ask(&question("hello", 8, false), None).await;
    let required = Offered::read(&unpaid).required;
    assert_eq!(required.accepts.len(), 1);
    assert!(!required.extensions.unwrap().0.contains_key(EIP2612_KEY));
}

/// A question of 200 tokens whose answer a stop sequence ends early: at what the fixture says there as its fourth character.
async fn ended_early(world: &World) -> Value {
    let body = question("hello", 16, false);
    let unpaid = world.ask(&body, None).await;
    let paid = world.ask(&body, Some(&pay(&unpaid, &Key::of(30)))).await;
    let text = paid.text();
    let (_, after) = text.split_once(r#""content":""#).unwrap();
    let mut body = question("hello", 200, false);
    body["stop"] = after.chars().nth(3).unwrap().to_string().into();
    body
}

#[tokio::test]
async fn what_is_charged_is_what_the_receipt_meters_and_exact_moves_all_of_it() {
    let world = World::start_under(config(), metered).await;
    // Who sets a large limit pays for what came.
    let mut body = ended_early(&world).await;
    for is_stream in [false, true] {
        body["stream"] = is_stream.into();
        let unpaid = world.ask(&body, None).await;
        let most = Offered::by(&unpaid, Scheme::UptoPermit2).amount();
        let paid = world.ask(&body, Some(&pay(&unpaid, &Key::of(9 + u8::from(is_stream))))).await;
        assert_eq!(paid.status, 200, "{paid:?}");
        let receipt = delivery(&paid).receipt;
        let money = &receipt.money;
        assert!(receipt.work.completion_tokens < 20, "{}", receipt.work.completion_tokens);
        assert_eq!((money.scheme, money.charged, money.max_amount.0), (Scheme::UptoPermit2, metered_by(&world, &receipt), most));
        assert!(money.charged.0 < most && money.charged != Amount::ZERO);
        let settlements = world.host.settlements.lock().unwrap();
        let settlement = settlements.last().unwrap();
        let transfer = moved(settlement);
        assert_eq!((settlement.scheme, settlement.to, settlement.payment_id), (Scheme::UptoPermit2, SETTLER_FACTORY, money.payment_id));
        assert_eq!((transfer.amount, transfer.payer, transfer.payee), (money.charged, money.payer, money.payee));
        assert_eq!(transfer.keeper, Keeper::Permit2 { settler: money.settler });
    }
    // Beside it, whoever pays `exact` moves what was signed.
    let unpaid = world.ask(&body, None).await;
    let paid = world.ask(&body, Some(&sign(&Key::of(20), &unpaid, now() + 300))).await;
    let money = delivery(&paid).receipt.money;
    assert_eq!((money.scheme, money.charged), (Scheme::ExactEip3009, money.max_amount));
}

#[tokio::test]
async fn a_charge_never_exceeds_what_was_signed_and_a_stream_that_is_cut_pays_for_what_went_out() {
    let world = World::start_under(config(), metered).await;
    let body = question(LONG, 6, true);
    let unpaid = world.ask(&body, None).await;
    let paid = world.ask(&body, Some(&pay(&unpaid, &Key::of(9)))).await;
    let receipt = delivery(&paid).receipt;
    assert_eq!((receipt.work.completion_tokens, receipt.money.charged), (6, receipt.money.max_amount));
    assert_eq!(metered_by(&world, &receipt), receipt.money.charged);
}

#[tokio::test]
async fn whoever_has_not_allowed_permit2_is_told_so_with_fresh_requirements_before_anything_runs() {
    let world = World::start_under(config(), metered).await;
    let poor = PayerState {
        asset_has_code: true,
        balance: Amount(u128::MAX),
        allowance: Amount::ZERO,
        permit_nonce: Some(0),
        nonce_used: false,
        passes: true,
    };
    *world.host.payer.lock().unwrap() = Some(poor);
    let body = question("hello", 8, false);
    let unpaid = world.ask(&body, None).await;
    let payment = pay(&unpaid, &Key::of(9));
    let refused = world.ask(&body, Some(&payment)).await;
    assert!(refused.status == 412 && refused.text().contains(r#""code":"permit2_allowance_required""#), "{refused:?}");
    assert!(refused.header("payment-required").is_some(), "another payment would do");
    assert!(world.host.settlements.lock().unwrap().is_empty());
    // Allowed, and refused by what its payer's account or the token decides.
    *world.host.payer.lock().unwrap() = Some(PayerState { allowance: Amount(u128::MAX), passes: false, ..poor });
    let refused = world.ask(&body, Some(&payment)).await;
    assert!(refused.status == 402 && refused.text().contains(r#""code":"permit2_simulation_failed""#), "{refused:?}");
    assert!(world.host.settlements.lock().unwrap().is_empty());
    // The same payment does, once it would pass.
    *world.host.payer.lock().unwrap() = None;
    assert_eq!(world.ask(&body, Some(&payment)).await.status, 200);
}
