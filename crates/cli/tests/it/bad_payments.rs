//! Payments that are wrong in one place: refused with the string that x402 clients know, before anything is claimed, run or charged.
//! Over the real program; one chain and one node for the file.

use std::sync::Arc;

use candor_verify::bytes::{Address, Amount, Hash32};
use candor_verify::time::UnixSeconds;
use candor_x402::extension::{AnswerRecovery, SignedOffers};
use candor_x402::protocol::{encode_header, parse_payment_required};
use candor_x402::scheme::encode_transfer;
use hyper::Method;
use serde_json::{Value, json};

use crate::support::http::{CHAT, Http, Reply, chat};
use crate::support::payer::{Draft, Offered, Payer, Signed, buy, now, question};
use crate::support::{World, eventually};

/// One refusal: 402 with fresh requirements that name the same code, or another status without requirements; nothing moved either way.
async fn assert_refused(payer: &Payer, reply: &Reply, status: u16, code: &str) {
    assert_eq!((reply.status, reply.error_code().as_str()), (status, code), "{reply:?}");
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert!(reply.header("payment-response").is_none() && reply.header("x-receipt-id").is_none(), "{reply:?}");
    let requirements = reply.header("payment-required").map(|header| parse_payment_required(header.as_bytes()).unwrap());
    assert_eq!(requirements.is_some(), status == 402, "{reply:?}");
    if let Some(requirements) = requirements {
        assert_eq!(requirements.error.as_deref(), Some(code));
    }
    payer.assert_paid(&[]).await;
}

/// Pays for one request with one thing changed before the signature, for whole and streamed alike.
async fn refuse(name: &str, change: fn(&mut Draft), code: &str) {
    let world = World::shared();
    let payer = Payer::funded(&world).await;
    for stream in [false, true] {
        let body = question(name, stream);
        let offered = Offered::of(&world.api(), &body).await;
        let signed = payer.pay_but(&offered, change);
        assert_refused(&payer, &chat(&world.api(), &body, Some(&signed.header)).await, 402, code).await;
        assert!(!payer.is_used(&signed).await);
    }
    assert_pays(&payer, name).await;
}

/// What was refused spoiled nothing.
async fn assert_pays(payer: &Payer, name: &str) {
    let body = question(name, false);
    let offered = Offered::of(&payer.world.api(), &body).await;
    buy(&payer.world.api(), &body, &payer.pay(&offered).header).await;
    payer.assert_paid(&[offered.amount()]).await;
}

async fn setting(name: &str) -> (Arc<World>, Payer, Value, Offered, Signed) {
    let world = World::shared();
    let payer = Payer::funded(&world).await;
    let body = question(name, false);
    let offered = Offered::of(&world.api(), &body).await;
    let signed = payer.pay(&offered);
    (world, payer, body, offered, signed)
}

#[tokio::test]
async fn a_garbage_payment_header_is_malformed() {
    let (world, payer, body, ..) = setting("garbage").await;
    let short = encode_header(&json!({"x402Version": 2}));
    let typed = encode_header(&json!({"x402Version": 2, "accepted": 7, "payload": {}}));
    for header in ["x", "!!!!", "e30=", "bnVsbA==", &short, &typed] {
        assert_refused(&payer, &chat(&world.api(), &body, Some(header)).await, 400, "invalid_payload").await;
    }
}

#[tokio::test]
async fn a_payment_header_that_came_twice_or_was_merged_is_refused_even_if_both_are_good() {
    let (world, payer, body, _, signed) = setting("twice").await;
    let mut connection = Http::connect(&world.api()).await.unwrap();
    let json = ("content-type", "application/json");
    let payment = ("payment-signature", signed.header.as_str());
    let reply = connection.send(Method::POST, CHAT, &[json, payment, payment], body.to_string().into_bytes()).await;
    assert_refused(&payer, &reply, 400, "invalid_payload").await;
    let merged = format!("{0}, {0}", signed.header);
    assert_refused(&payer, &chat(&world.api(), &body, Some(&merged)).await, 400, "invalid_payload").await;
    buy(&world.api(), &body, &signed.header).await;
}

#[tokio::test]
async fn a_payment_header_over_the_limit_is_refused() {
    let (world, payer, body, ..) = setting("long header").await;
    let reply = chat(&world.api(), &body, Some(&"A".repeat(32 * 1024 + 1))).await;
    assert_refused(&payer, &reply, 431, "invalid_payload").await;
}

#[tokio::test]
async fn another_version_of_x402_is_refused() {
    let (world, payer, body, offered, _) = setting("version").await;
    let signed = payer.pay_but(&offered, |draft| draft.version = 1);
    assert_refused(&payer, &chat(&world.api(), &body, Some(&signed.header)).await, 400, "invalid_x402_version").await;
}

#[tokio::test]
async fn a_payment_for_another_request_of_the_same_price_is_refused() {
    let (world, payer, body, offered, signed) = setting("another request").await;
    let mut other = body.clone();
    other["seed"] = 2.into();
    assert_eq!(Offered::of(&world.api(), &other).await.amount(), offered.amount());
    let reply = chat(&world.api(), &other, Some(&signed.header)).await;
    assert_refused(&payer, &reply, 402, "extension_echo_mismatch").await;
    buy(&world.api(), &body, &signed.header).await;
}

#[tokio::test]
async fn a_payment_for_a_cheaper_request_is_refused() {
    let (world, payer, body, _, signed) = setting("cheaper").await;
    let mut dearer = body.clone();
    dearer["max_tokens"] = 9.into();
    let reply = chat(&world.api(), &dearer, Some(&signed.header)).await;
    assert_refused(&payer, &reply, 402, "No matching payment requirements").await;
}

#[tokio::test]
async fn terms_on_another_network_are_refused() {
    refuse("network", |draft| draft.accepted["network"] = "eip155:1".into(), "invalid_exact_evm_network_mismatch").await;
}

#[tokio::test]
async fn terms_in_another_asset_are_refused() {
    let change = |draft: &mut Draft| draft.accepted["asset"] = Address([7; 20]).to_string().into();
    refuse("asset", change, "No matching payment requirements").await;
}

#[tokio::test]
async fn terms_with_another_amount_are_refused() {
    refuse("amount", |draft| draft.accepted["amount"] = "1".into(), "No matching payment requirements").await;
}

#[tokio::test]
async fn terms_to_another_payee_are_refused() {
    let change = |draft: &mut Draft| draft.accepted["payTo"] = Address([7; 20]).to_string().into();
    refuse("payee", change, "No matching payment requirements").await;
}

#[tokio::test]
async fn another_scheme_flow_or_method_is_refused() {
    refuse("scheme", |draft| draft.accepted["scheme"] = "upto".into(), "invalid_exact_evm_scheme").await;
    refuse("flow", |draft| draft.accepted["extra"]["paymentFlow"] = "upfront".into(), "unsupported_payment_flow").await;
    let method = |draft: &mut Draft| draft.accepted["extra"]["assetTransferMethod"] = "permit2".into();
    refuse("method", method, "unsupported_asset_transfer_method").await;
}

#[tokio::test]
async fn a_signature_over_less_or_more_is_refused() {
    let code = "invalid_exact_evm_payload_authorization_value_mismatch";
    refuse("less", |draft| draft.authorization.value.0 -= 1, code).await;
    refuse("more", |draft| draft.authorization.value.0 += 1, code).await;
}

#[tokio::test]
async fn a_signature_for_another_recipient_is_refused() {
    refuse("recipient", |draft| draft.authorization.to = Address([7; 20]), "invalid_exact_evm_recipient_mismatch").await;
}

#[tokio::test]
async fn a_signature_for_another_chain_or_token_is_nobodys() {
    refuse("chain", |draft| draft.domain.chain_id = 1, "invalid_exact_evm_signature").await;
    refuse("token", |draft| draft.domain.asset = Address([7; 20]), "invalid_exact_evm_signature").await;
    refuse("name", |draft| draft.domain.name = "USD Coin".into(), "invalid_exact_evm_signature").await;
}

#[tokio::test]
async fn a_signature_of_somebody_else_is_refused() {
    let (world, payer, body, offered, _) = setting("somebody else").await;
    let thief = Payer::poor(&world);
    let victim = payer.address();
    let signed = thief.pay_but(&offered, |draft| draft.authorization.from = victim);
    assert_refused(&payer, &chat(&world.api(), &body, Some(&signed.header)).await, 402, "invalid_exact_evm_signature").await;
}

#[tokio::test]
async fn an_expired_authorization_is_refused() {
    let code = "invalid_exact_evm_payload_authorization_valid_before";
    refuse("expired", |draft| draft.authorization.valid_before = UnixSeconds(now() - 1), code).await;
    refuse("expires while it runs", |draft| draft.authorization.valid_before = UnixSeconds(now() + 5), code).await;
}

#[tokio::test]
async fn an_authorization_that_stays_open_for_too_long_is_refused() {
    let code = "invalid_exact_evm_payload_authorization_valid_before";
    refuse("open for ever", |draft| draft.authorization.valid_before = UnixSeconds(u64::MAX), code).await;
    refuse("open too long", |draft| draft.authorization.valid_before = UnixSeconds(now() + 600), code).await;
}

#[tokio::test]
async fn an_authorization_that_is_not_valid_yet_is_refused() {
    let code = "invalid_exact_evm_payload_authorization_valid_after";
    refuse("not yet", |draft| draft.authorization.valid_after = UnixSeconds(now() + 200), code).await;
}

#[tokio::test]
async fn a_nonce_that_does_not_commit_to_the_echoed_offer_is_refused() {
    refuse("nonce", |draft| draft.authorization.nonce = Hash32([7; 32]), "candor_nonce_mismatch").await;
}

#[tokio::test]
async fn an_offer_that_the_client_changed_is_refused() {
    let (world, payer, body, offered, _) = setting("changed offer").await;
    let mut cheap = offered.signed.clone();
    cheap.offer.amount = Amount(1);
    let cheap = serde_json::to_value(SignedOffers::from(cheap).to_extensions(&AnswerRecovery::None)).unwrap();
    let signed = payer.pay_but(&offered, |draft| {
        draft.extensions["candor"]["info"]["offers"] = cheap["candor"]["info"]["offers"].clone();
    });
    assert_refused(&payer, &chat(&world.api(), &body, Some(&signed.header)).await, 402, "extension_echo_mismatch").await;
}

#[tokio::test]
async fn a_payer_without_the_money_is_refused_before_anything_runs() {
    let world = World::shared();
    let payer = Payer::poor(&world);
    let body = question("poor", true);
    let offered = Offered::of(&world.api(), &body).await;
    let signed = payer.pay(&offered);
    let reply = chat(&world.api(), &body, Some(&signed.header)).await;
    assert_eq!((reply.status, reply.error_code().as_str()), (402, "invalid_exact_evm_insufficient_balance"));
    assert!(reply.header("retry-after").is_some(), "the chain is not asked about a poor payer all the time: {reply:?}");
    // It was not claimed: soon after the money is there, the very same payment buys.
    world.mint(&payer.address(), crate::support::payer::FUNDS).await;
    let reply = eventually("the money is seen", || async {
        let reply = chat(&world.api(), &body, Some(&signed.header)).await;
        (reply.status != 402).then_some(reply)
    })
    .await;
    assert_eq!(reply.status, 200, "{reply:?}");
    payer.assert_pays(&[offered.amount()]).await;
}

#[tokio::test]
async fn an_authorization_that_was_used_on_the_chain_is_refused() {
    let (world, payer, body, offered, signed) = setting("used").await;
    let transfer = encode_transfer(&signed.authorization, &signed.signature);
    assert!(world.send(&world.token(), &transfer.0).await);
    let reply = chat(&world.api(), &body, Some(&signed.header)).await;
    assert_eq!((reply.status, reply.error_code().as_str()), (402, "invalid_exact_evm_nonce_already_used"), "{reply:?}");
    payer.assert_paid(&[offered.amount()]).await;
}
