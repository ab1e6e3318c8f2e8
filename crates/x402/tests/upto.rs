//! `upto` over Permit2: what is verified, what may be charged, and the one call that charges it.

mod common;

use std::collections::VecDeque;

use candor_testkit::honest;
use candor_verify::bytes::{Address, Amount, Hash32, Signature65, to_hex};
use candor_verify::hash::keccak256;
use candor_verify::manifest::Manifest;
use candor_verify::receipt::Receipt;
use candor_verify::scheme::{Keeper, Log, PERMIT2, SETTLER_FACTORY, Scheme, TRANSFER_TOPIC, Through, Transfer, UPTO_PROXY, settler_of};
use candor_verify::time::UnixSeconds;
use candor_x402::claims::{Balance, ClaimError, ClaimLimits, Ending, Funds};
use candor_x402::client::{Ledger, PayError, SentPayment, build_payment};
use candor_x402::error::{PaymentError, PermitError};
use candor_x402::protocol::{PaymentPayload, parse_payment_payload};
use candor_x402::scheme::{
    Binding, CALLDATA_MAX, Calldata, CalldataError, EIP2612_KEY, VerifiedPayment, gas_limit, has_settled, read_call,
};
use candor_x402::settlement::*;
use candor_x402::{ClaimSet, Libsecp};
use common::{CHAIN, Key, NOW, World};
use serde_json::{Value, json};

/// A payment by our own client, with a permit of the token beside it that has this nonce, if any.
fn sent(world: &World, salt: u8, permit_nonce: Option<u64>) -> SentPayment {
    let choice = world.choice().allowing(permit_nonce);
    let reservation = Ledger::default().reserve(world.purchase(salt), choice, UnixSeconds(world.now)).unwrap();
    world.sent(reservation)
}

fn payload(world: &World, salt: u8, permit_nonce: Option<u64>) -> PaymentPayload {
    parse_payment_payload(sent(world, salt, permit_nonce).header().as_bytes()).unwrap()
}

fn paid(world: &World, salt: u8, permit_nonce: Option<u64>) -> VerifiedPayment {
    world.verify(&payload(world, salt, permit_nonce)).unwrap()
}

/// The receipt of this payment that charges so much, signed by K_sig.
fn receipt(world: &World, payment: &VerifiedPayment, charged: u128) -> (Receipt, Signature65) {
    let offer = &world.candidate.offer;
    let manifest = Manifest { k_sig: world.k_sig.address(), ..Manifest::default() };
    let mut receipt = honest::sold(&manifest, 7, offer, payment.authorization());
    receipt.money.charged = Amount(charged);
    let signature = world.k_sig.sign(&receipt.digest());
    (receipt, signature)
}

fn call(world: &World, payment: &VerifiedPayment, charged: u128) -> Calldata {
    let (receipt, signature) = receipt(world, payment, charged);
    let call = payment.settlement(&receipt, &signature, (&SETTLER_FACTORY, &world.k_sig.address()));
    assert_eq!(call.to, SETTLER_FACTORY);
    call.calldata
}

#[test]
fn our_clients_permit_names_the_settler_and_its_nonce_the_offer() {
    let world = World::metered();
    let sent = sent(&world, 4, None);
    let verified = paid(&world, 4, None);
    let settler = settler_of(&SETTLER_FACTORY, &world.k_sig.address());
    assert_eq!(verified.authorization().through, Through::UptoProxy { spender: UPTO_PROXY, facilitator: settler });
    assert_eq!((verified.scheme(), verified.payment_id()), (Scheme::UptoPermit2, sent.payment_id()));
    assert!(matches!(verified.binding(), Binding::Offer { offer_digest, .. } if offer_digest == world.candidate.offer.digest()));
    // What was sent reads back as what was signed.
    assert_eq!(SentPayment::parse(sent.header()), Some(sent));
}

#[test]
fn each_refusal_has_the_string_of_the_reference() {
    let world = World::metered();
    type Change = fn(&mut Value);
    let cases: [(&str, u16, Change); 16] = [
        ("upto_facilitator_mismatch", 402, |p| p["witness"]["facilitator"] = Address([1; 20]).to_string().into()),
        ("invalid_permit2_spender", 402, |p| p["spender"] = Address([1; 20]).to_string().into()),
        ("invalid_permit2_recipient_mismatch", 402, |p| p["witness"]["to"] = Address([1; 20]).to_string().into()),
        ("permit2_amount_mismatch", 402, |p| p["permitted"]["amount"] = "1001".into()),
        ("permit2_amount_mismatch", 402, |p| p["permitted"]["amount"] = "999".into()),
        ("permit2_token_mismatch", 402, |p| p["permitted"]["token"] = Address([1; 20]).to_string().into()),
        ("permit2_deadline_expired", 402, |p| p["deadline"] = (NOW + 65).to_string().into()),
        ("permit2_deadline_expired", 402, |p| p["deadline"] = (NOW + 331).to_string().into()),
        ("permit2_not_yet_valid", 402, |p| p["witness"]["validAfter"] = (NOW + 1).to_string().into()),
        ("invalid_permit2_signature", 402, |p| p["nonce"] = "7".into()),
        ("invalid_permit2_signature", 402, |p| p["from"] = Address([1; 20]).to_string().into()),
        ("invalid_payload", 400, |p| p["nonce"] = "0x07".into()),
        ("invalid_payload", 400, |p| p["permitted"] = Value::Null),
        ("invalid_payload", 400, |p| p["witness"] = "w".into()),
        ("invalid_payload", 400, |p| p["deadline"] = "18446744073709551616".into()),
        ("invalid_payload", 400, |p| *p = Value::Null),
    ];
    for (code, status, change) in cases {
        let mut payload = payload(&world, 4, None);
        change(&mut payload.payload.0["permit2Authorization"]);
        let error = world.verify(&payload).unwrap_err();
        assert_eq!((error.code(), error.status()), (code, status), "{error:?}");
    }
    let mut other = payload(&world, 4, None);
    other.accepted.extra.as_mut().unwrap().0.insert("facilitatorAddress".into(), Address([1; 20]).to_string().into());
    assert_eq!(world.verify(&other), Err(PaymentError::Accepted { field: "extra" }));
    // An EIP-3009 authorization under `upto`, and what stock clients of `exact` send.
    let mut other = payload(&world, 4, None);
    other.payload = World::new().committed(4).payload;
    assert_eq!(world.verify(&other), Err(PaymentError::Malformed { field: "payload.permit2Authorization" }));
    let exact = World::new().committed(4);
    assert_eq!(world.verify(&exact).unwrap_err().code(), "invalid_exact_evm_scheme");
}

#[test]
fn the_high_s_twin_that_permit2_would_take_is_refused_so_that_one_form_counts() {
    let world = World::metered();
    let mut payload = payload(&world, 4, None);
    let signature = Signature65::from_hex(payload.payload.0["signature"].as_str().unwrap()).unwrap();
    payload.payload.0.insert("signature".into(), to_hex(&common::high_s_twin(&signature).0).into());
    let expected = world.payer.address();
    assert_eq!(world.verify(&payload), Err(PaymentError::Permit(PermitError::Signature { expected, got: None })));
}

/// This key's settler alone can use it, and yet its payer may have signed the same nonce for another boot's: Permit2 moves one of the two.
#[test]
fn a_stock_clients_permit_does_not_name_the_boot_though_it_names_its_settler() {
    let mut world = World::metered();
    world.boot = world.now;
    let mut payload = payload(&world, 4, None);
    payload.extensions = None;
    assert!(matches!(world.verify(&payload), Err(PaymentError::NotThisBoot { .. })));
    world.boot = 0;
    let verified = world.verify(&payload).unwrap();
    assert_eq!((verified.binding(), verified.names_boot()), (Binding::EqualPriceOnly, false));
}

#[test]
fn the_call_says_what_it_moves_and_nothing_in_it_can_be_exchanged() {
    let world = World::metered();
    for permit_nonce in [None, Some(3)] {
        let payment = paid(&world, 4, permit_nonce);
        let calldata = call(&world, &payment, 700);
        assert!(calldata.0.len() <= CALLDATA_MAX && (calldata.0.len() - 4).is_multiple_of(32));
        let intent = Intent::parse(CHAIN, SETTLER_FACTORY, calldata.clone()).unwrap();
        let authorization = payment.authorization();
        let expected = Transfer {
            keeper: Keeper::Permit2 { settler: authorization.through.settler() },
            payment_id: payment.payment_id(),
            asset: world.requirements.asset,
            payer: world.payer.address(),
            payee: world.requirements.pay_to,
            amount: Amount(700),
            nonce: authorization.nonce,
            valid_after: authorization.valid_after,
            // Permit2 still takes it at its deadline.
            valid_before: UnixSeconds(authorization.valid_before.0 + 1),
        };
        assert_eq!((intent.transfer(), intent.to(), intent.asset()), (&expected, SETTLER_FACTORY, world.requirements.asset));
        let (receipt, _) = receipt(&world, &payment, 700);
        assert_eq!(Transfer::of(&receipt.money, authorization), expected);
        // Offsets, lengths and padding have one value each; a byte more or less is no call.
        for word in 0..calldata.0.len() / 32 {
            for byte in [0, 31] {
                let mut other = calldata.clone();
                other.0[4 + word * 32 + byte] ^= 0x80;
                let is_noticed = read_call(CHAIN, &SETTLER_FACTORY, &other) != Ok(expected);
                assert!(is_noticed || is_for_the_chain_to_judge(word, byte, permit_nonce.is_some()), "byte {byte} of word {word}");
            }
        }
        for length in [0, 3, 4, calldata.0.len() - 1, calldata.0.len() - 32] {
            assert!(read_call(CHAIN, &SETTLER_FACTORY, &Calldata(calldata.0[..length].to_vec())).is_err());
        }
        let longer = Calldata([calldata.0.as_slice(), &[0; 32]].concat());
        assert!(matches!(read_call(CHAIN, &SETTLER_FACTORY, &longer), Err(CalldataError::Arguments(_))));
        let other = read_call(CHAIN, &Address([1; 20]), &calldata);
        assert_eq!(other, Err(CalldataError::Contradiction { what: "its receipt is of another settler" }));
        assert_eq!(
            read_call(CHAIN + 1, &SETTLER_FACTORY, &calldata),
            Err(CalldataError::Contradiction { what: "its receipt is of another permit" })
        );
    }
}

/// What is no part of the transfer, nor of the form of the call: hashes, signatures, and what the receipt says besides.
fn is_for_the_chain_to_judge(word: usize, byte: usize, has_permit: bool) -> bool {
    let row = if has_permit { 7 } else { 4 };
    let Some(word) = word.checked_sub(row) else { return has_permit && (1..=5).contains(&word) };
    match word {
        // Manifest, log, offer, work.
        1 | 2 | 15 | 16 => true,
        // Sequence number, maximum, and what only channels have: small numbers.
        3 | 11 | 13 | 14 => byte == 31,
        // r and s of receipt and permit.
        23 | 24 | 27 | 28 => true,
        // v, and zeros behind it.
        25 | 29 => byte == 0,
        _ => false,
    }
}

#[test]
fn a_receipt_that_contradicts_its_permit_is_no_settlement() {
    let world = World::metered();
    let payment = paid(&world, 4, None);
    let contradiction = |charged| read_call(CHAIN, &SETTLER_FACTORY, &call(&world, &payment, charged));
    let what = "its receipt charges nothing, or more than was signed";
    assert!(contradiction(1).is_ok() && contradiction(1000).is_ok());
    assert_eq!(
        (contradiction(0), contradiction(1001)),
        (Err(CalldataError::Contradiction { what }), Err(CalldataError::Contradiction { what }))
    );
}

#[test]
fn a_payer_without_eth_allows_permit2_beside_the_payment() {
    let world = World::metered();
    let payment = paid(&world, 4, Some(3));
    let permit = payment.token_permit().unwrap();
    assert_eq!((permit.value, permit.nonce, permit.deadline), (Amount(1000), 3, payment.authorization().valid_before));
    assert_eq!(paid(&world, 4, None).token_permit(), None);

    type Change = fn(&mut Value);
    let cases: [(&str, Change); 10] = [
        ("eip2612_from_mismatch", |p| p["from"] = Address([1; 20]).to_string().into()),
        ("eip2612_asset_mismatch", |p| p["asset"] = Address([1; 20]).to_string().into()),
        ("eip2612_spender_not_permit2", |p| p["spender"] = Address([1; 20]).to_string().into()),
        // More than 128 bits is no amount of ours.
        ("invalid_eip2612_extension_format", |p| p["amount"] = "115792089237316195423570985008687907853269984665640564039457".into()),
        ("permit2_2612_amount_mismatch", |p| p["amount"] = "999".into()),
        ("eip2612_deadline_expired", |p| p["deadline"] = NOW.to_string().into()),
        // It would be good long after the payment, for anybody to undo what was allowed then.
        ("eip2612_deadline_expired", |p| p["deadline"] = (NOW + 1_000_000).to_string().into()),
        ("invalid_eip2612_extension_format", |p| p["nonce"] = "4".into()),
        ("invalid_eip2612_extension_format", |p| p["nonce"] = json!(3)),
        ("invalid_eip2612_extension_format", |p| p["signature"] = "0x1234".into()),
    ];
    for (code, change) in cases {
        let mut payload = payload(&world, 4, Some(3));
        change(&mut payload.extensions.as_mut().unwrap().0[EIP2612_KEY]["info"]);
        let error = world.verify(&payload).unwrap_err();
        assert_eq!((error.code(), error.status()), (code, 402), "{error:?}");
    }
    // A client that echoes what the 402 said of it allows nothing, and is asked whether the allowance stands.
    let mut echoed = payload(&world, 4, None);
    echoed.extensions = world.required().extensions;
    assert_eq!(world.verify(&echoed).unwrap().token_permit(), None);
}

#[test]
fn a_client_sends_no_permit_that_another_key_signed() {
    let world = World::metered();
    let reservation = Ledger::default().reserve(world.purchase(4), world.choice().allowing(Some(3)), UnixSeconds(world.now)).unwrap();
    let ((authorization, token), allowance) = (reservation.to_sign(), reservation.allowance_to_sign().unwrap());
    let signature = world.payer.sign(&authorization.digest(&token));
    let other = Key::new(8);
    let allowing = other.sign(&allowance.digest(&token));
    let expected = PayError::Signer { expected: world.payer.address(), got: Some(other.address()) };
    assert_eq!(build_payment(reservation, &Libsecp, &signature, Some(&allowing)).err(), Some(expected));
}

fn claims() -> ClaimSet {
    ClaimSet::new(ClaimLimits { max_claims: 100, max_open_per_payer: 9 })
}

fn funds(set: &mut ClaimSet, payment: &VerifiedPayment, allowance: u128) -> Balance {
    let funds = Funds { balance: Amount(10_000), allowance: Amount(allowance), permit_nonce: Some(3) };
    set.ask_balance(payment, UnixSeconds(NOW)).unwrap().answered(funds)
}

#[test]
fn what_permit2_may_move_is_reserved_as_the_balance_is() {
    let (world, mut set) = (World::metered(), claims());
    let claim = |set: &mut ClaimSet, salt, allowance| {
        let payment = paid(&world, salt, None);
        let balance = funds(set, &payment, allowance);
        set.claim(&payment, balance, UnixSeconds(NOW))
    };
    let refused = |needed, got| Some(ClaimError::AllowanceRequired { needed: Amount(needed), got: Amount(got) });
    let error = claim(&mut set, 1, 999).err();
    assert_eq!(error, refused(1000, 999));
    assert_eq!((error.unwrap().status(), error.unwrap().code()), (412, "permit2_allowance_required"));
    let first = claim(&mut set, 1, 1999).unwrap();
    assert_eq!(claim(&mut set, 2, 1999).err(), refused(2000, 1999));
    assert!(claim(&mut set, 2, 2000).is_ok());
    // What has moved is gone from an allowance that is asked for afterwards.
    let execution = set.start(first);
    set.finish(execution, Ending::Owed);
    set.settled(&paid(&world, 1, None).payment_id());
    assert_eq!(claim(&mut set, 3, 1999).err(), refused(2000, 1999));
    assert!(claim(&mut set, 3, 2000).is_ok());
}

#[test]
fn a_payment_that_sets_the_allowance_is_alone() {
    let (world, mut set) = (World::metered(), claims());
    let claim = |set: &mut ClaimSet, salt, permit| {
        let payment = paid(&world, salt, permit);
        let balance = funds(set, &payment, 5000);
        set.claim(&payment, balance, UnixSeconds(NOW))
    };
    assert_eq!(claim(&mut set, 1, Some(4)).err(), Some(ClaimError::AllowanceNonce { expected: Some(3), got: 4 }));
    let alone = claim(&mut set, 1, Some(3)).unwrap();
    for permit in [None, Some(3)] {
        let refused = claim(&mut set, 2, permit).unwrap_err();
        assert_eq!((refused, refused.status(), refused.retry_after_seconds()), (ClaimError::AllowanceChanges, 429, Some(1)));
    }
    set.release(alone);
    let _standing = claim(&mut set, 2, None).unwrap();
    assert_eq!(claim(&mut set, 1, Some(3)).err(), Some(ClaimError::AllowanceChanges));
    // A token that takes no permits.
    let (mut set, payment) = (claims(), paid(&world, 1, Some(3)));
    let funds = Funds { balance: Amount(10_000), allowance: Amount(0), permit_nonce: None };
    let balance = set.ask_balance(&payment, UnixSeconds(NOW)).unwrap().answered(funds);
    let refused = set.claim(&payment, balance, UnixSeconds(NOW)).err();
    assert_eq!(refused, Some(ClaimError::AllowanceNonce { expected: None, got: 3 }));
}

#[test]
fn an_allowance_is_what_the_reference_signs() {
    // Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline) of EIP-2612, whose spender is Permit2.
    let world = World::metered();
    let reservation = Ledger::default().reserve(world.purchase(4), world.choice().allowing(Some(3)), UnixSeconds(world.now)).unwrap();
    let allowance = reservation.allowance_to_sign().unwrap();
    let data = candor_x402::scheme::ToSign::Allowance(&allowance).typed_data(&world.requirements.token());
    assert_eq!((&data["primaryType"], &data["message"]["spender"]), (&json!("Permit"), &json!(PERMIT2.to_string())));
    assert_eq!((&data["message"]["value"], &data["message"]["nonce"]), (&json!("1000"), &json!("3")));
    assert_eq!(Hash32::from_hex(data["digest"].as_str().unwrap()), Some(allowance.digest(&world.requirements.token())));
}

/// A chain for one metered payment: every transaction succeeds, and in some of them the settler moves the money.
struct Rows {
    machine: Machine,
    now_ms: u64,
    block: u64,
    /// Logs of each transaction that is to come; without any the row failed.
    logs: Vec<Vec<Log>>,
    sent: Vec<TxReceipt>,
    /// The nonce is used, and no log says by what.
    is_used: bool,
}

impl Rows {
    fn run(&mut self, event: Event) {
        let mut actions = VecDeque::from(self.machine.step(event, self.now_ms));
        while let Some(action) = actions.pop_front() {
            let answer = match action {
                Action::Persist(record) => {
                    Event::Persisted { payment_id: record.intent.payment_id(), revision: record.revision, result: PersistResult::Durable }
                }
                Action::Chain(request) => Event::Chain(self.answer(request)),
                _ => continue,
            };
            actions.extend(self.machine.step(answer, self.now_ms));
        }
    }

    fn answer(&mut self, request: ChainRequest) -> ChainAnswer {
        let at = BlockRef { number: self.block, timestamp: UnixSeconds(self.now_ms / 1000) };
        match request {
            ChainRequest::SignAndBroadcast { purpose, account_nonce, gas_level, .. } => {
                let hash = Hash32([u8::try_from(self.sent.len()).unwrap() + 1; 32]);
                self.block += 1;
                let (from, status, logs) = (Address([0x6a; 20]), TxStatus::Success, self.logs.remove(0));
                self.sent.push(TxReceipt { hash, from, status, logs, block: self.block, confirmations: 9 });
                ChainAnswer::Broadcast { purpose, account_nonce, gas_level, outcome: BroadcastOutcome::Sent { hash } }
            }
            ChainRequest::Simulate { payment_id, .. } => ChainAnswer::Simulated { payment_id, reverts_at: None },
            ChainRequest::QueryReceipt { payment_id, hashes } => {
                let receipt = self.sent.iter().find(|sent| hashes.contains(&sent.hash)).unwrap().clone();
                ChainAnswer::ReceiptFound { payment_id, receipt }
            }
            ChainRequest::QueryAuthorization { transfer } => {
                let used = AuthorizationState::Used { transaction: None };
                let state = if self.is_used { used } else { AuthorizationState::Unused };
                ChainAnswer::AuthorizationState { payment_id: transfer.payment_id, state, at }
            }
            ChainRequest::QueryAccountNonce => ChainAnswer::AccountNonce { next: u64::try_from(self.sent.len()).unwrap(), at },
        }
    }

    /// Settles by 700 of what was signed, for so many seconds.
    fn settle(logs: Vec<Vec<Log>>, is_used: bool, seconds: u64) -> (Option<SettlementStatus>, usize) {
        let world = World::metered();
        let payment = paid(&world, 4, None);
        let intent = Intent::parse(CHAIN, SETTLER_FACTORY, call(&world, &payment, 700)).unwrap();
        let machine = Machine::new(MachineConfig::new(CHAIN, Address([0x6a; 20])), vec![]);
        let mut rows = Self { machine, now_ms: world.now * 1000, block: 1, logs, sent: vec![], is_used };
        rows.run(Event::Intent(intent));
        for _second in 0..seconds {
            rows.now_ms += 1_000;
            rows.run(Event::Tick);
        }
        (rows.machine.status(&payment.payment_id()), rows.sent.len())
    }
}

/// What the settler and the token say when the money moves.
fn charge(world: &World, payment: &VerifiedPayment, amount: u128) -> Vec<Log> {
    let (settler, topic) =
        (payment.authorization().through.settler(), |at: &Address| Hash32::from_slice(&[&[0; 12], &at.0[..]].concat()).unwrap());
    let data = [vec![0; 16], amount.to_be_bytes().to_vec()].concat();
    let (from, to) = (topic(&world.payer.address()), topic(&world.requirements.pay_to));
    let event = keccak256(&[b"ReceiptSettled(bytes32,bytes32,uint256)"]);
    vec![
        Log { address: world.requirements.asset, topics: vec![TRANSFER_TOPIC, from, to], data: data.clone() },
        Log { address: settler, topics: vec![event, Hash32([1; 32]), payment.payment_id()], data },
    ]
}

#[test]
fn a_row_that_failed_in_a_transaction_that_succeeded_is_tried_again() {
    let world = World::metered();
    let moved = charge(&world, &paid(&world, 4, None), 700);
    let (status, sent) = Rows::settle(vec![vec![], moved.clone()], false, 30);
    assert!(matches!(status, Some(SettlementStatus::Settled { by: SettledBy::Us, .. })) && sent == 2, "{status:?}");
    let at_once = Rows::settle(vec![moved], false, 3);
    assert!(matches!(at_once, (Some(SettlementStatus::Settled { .. }), 1)), "{at_once:?}");
    // Each costs gas: not for ever.
    let failed = Rows::settle(vec![vec![]; 3], false, 60);
    assert_eq!(failed, (Some(SettlementStatus::Failed { code: FailureCode::TransactionFailed }), 3));
    // A token that takes a fee has moved what it moves.
    let less = Rows::settle(vec![charge(&world, &paid(&world, 4, None), 699)], false, 3);
    assert_eq!(less, (Some(SettlementStatus::Failed { code: FailureCode::TransferEventMismatch }), 1));
}

/// Permit2's plain transfer uses a nonce up and says nothing: what was sent for it is not asked about for ever.
#[test]
fn a_nonce_that_its_payer_used_up_in_silence_is_told_as_used() {
    let (status, sent) = Rows::settle(vec![vec![]], true, 5);
    assert!(matches!(status, Some(SettlementStatus::Pending { .. })) && sent == 1, "{status:?}");
    let (status, sent) = Rows::settle(vec![vec![]], true, 2_000);
    assert_eq!((status, sent), (Some(SettlementStatus::Failed { code: FailureCode::NonceAlreadyUsed }), 1));
}

#[test]
fn a_trial_is_the_settlers_own_call_for_the_whole_maximum_and_a_token_gets_none() {
    let world = World::metered();
    for permit_nonce in [None, Some(3)] {
        let payment = paid(&world, 4, permit_nonce);
        let trial = payment.trial().unwrap();
        assert_eq!((trial.from, trial.call.to), (payment.authorization().through.settler(), UPTO_PROXY));
        let head = if permit_nonce.is_some() { 15 } else { 10 };
        assert_eq!(trial.call.calldata.0.len(), 4 + (head + 4) * 32);
        assert!(gas_limit(&call(&world, &payment, 700)) > 700_000);
    }
    assert_eq!(World::new().paid(4).trial(), None, "whoever sees it can submit it");
}

#[test]
fn a_settler_that_comes_back_with_a_failure_has_not_settled() {
    let world = World::metered();
    let (plain, permitted) = (call(&world, &paid(&world, 4, None), 700), call(&world, &paid(&world, 4, Some(3)), 700));
    let mut one = [0; 32];
    one[31] = 1;
    assert!(has_settled(&plain, &[0; 32]) && !has_settled(&plain, &one) && !has_settled(&plain, &[]));
    // That one reverts as a whole, and returns nothing.
    assert!(has_settled(&permitted, &[]));
}
