//! Rules of the chain itself: which transactions are accepted, time, block hashes, snapshots, precompiles.

mod support;

use alloy::consensus::SignableTransaction;
use alloy::consensus::{TxEip4844, TxEnvelope, TxLegacy};
use alloy::eips::eip2718::Encodable2718;
use alloy::eips::eip2930::{AccessList, AccessListItem};
use alloy::network::{TransactionBuilder, TransactionBuilder7702};
use alloy::primitives::{Address, B256, Bytes, TxKind, U256, bytes};
use alloy::providers::Provider;
use alloy::rpc::types::{Authorization, TransactionRequest};
use alloy::signers::SignerSync;
use candor_devchain::{ChainError, Config, DevChain, MAX_SNAPSHOTS, SharedChain, provider};
use serde_json::json;
use support::*;

async fn refusal(chain: &SharedChain, request: TransactionRequest) -> ChainError {
    let raw = sign(ALICE, request).await;
    let before = chain.lock().head();
    let error = chain.lock().send_raw_transaction(&raw).unwrap_err();
    assert_eq!(chain.lock().head(), before, "a refused transaction mines nothing");
    error
}

#[tokio::test]
async fn a_used_nonce_is_too_low() {
    let chain = start();
    let raw = sign(ALICE, transfer(0)).await;
    chain.lock().send_raw_transaction(&raw).unwrap();
    let again = chain.lock().send_raw_transaction(&raw).unwrap_err();
    assert_eq!(again, ChainError::NonceTooLow { expected: 1, got: 0 });
    assert!(again.to_string().starts_with("nonce too low"));
}

#[tokio::test]
async fn a_nonce_after_a_gap_is_too_high() {
    let error = refusal(&start(), transfer(3)).await;
    assert_eq!(error, ChainError::NonceTooHigh { expected: 0, got: 3 });
    assert!(error.to_string().starts_with("nonce too high"));
}

#[tokio::test]
async fn a_sender_who_cannot_pay_is_refused() {
    let chain = start();
    let balance = chain.lock().balance(ALICE.address);
    let error = refusal(&chain, transfer(0).with_value(balance)).await;
    let needed = balance + U256::from(21_000_u64 * 2_000_000_000);
    assert_eq!(error, ChainError::InsufficientFunds { needed, balance });
    assert!(error.to_string().starts_with("insufficient funds"));
}

#[tokio::test]
async fn a_gas_limit_below_the_intrinsic_gas_is_refused() {
    let error = refusal(&start(), transfer(0).with_gas_limit(20_999)).await;
    assert_eq!(error, ChainError::IntrinsicGasTooLow { needed: 21_000, limit: 20_999 });
    assert!(error.to_string().starts_with("intrinsic gas too low"));
}

#[tokio::test]
async fn a_gas_limit_above_the_osaka_cap_is_refused() {
    let error = refusal(&start(), transfer(0).with_gas_limit(16_777_217)).await;
    assert_eq!(error, ChainError::GasLimitTooHigh { cap: 16_777_216, got: 16_777_217 });
}

#[tokio::test]
async fn a_fee_below_the_base_fee_is_refused() {
    let error = refusal(&start(), transfer(0).with_max_fee_per_gas(999_999_999)).await;
    assert_eq!(error, ChainError::FeeTooLow { base_fee: 1_000_000_000 });
}

#[tokio::test]
async fn a_transaction_for_another_chain_is_refused() {
    let error = refusal(&start(), transfer(0).with_chain_id(1)).await;
    assert_eq!(error, ChainError::WrongChain { expected: 31337, got: 1 });
}

#[tokio::test]
async fn bytes_that_are_not_exactly_one_transaction_are_refused() {
    let chain = start();
    let mut raw = sign(ALICE, transfer(0)).await.to_vec();
    raw.push(0);
    for bytes in [&raw[..], &raw[..raw.len() - 2], &[], &[0x02], &[0xff; 9]] {
        assert_eq!(chain.lock().send_raw_transaction(bytes), Err(ChainError::UndecodableTransaction));
    }
}

#[tokio::test]
async fn a_blob_transaction_is_refused_by_type() {
    let blob = TxEip4844 { chain_id: 31337, ..TxEip4844::default() };
    let signature = ALICE.signer().unwrap().sign_hash_sync(&blob.signature_hash()).unwrap();
    let envelope: TxEnvelope = blob.into_signed(signature).into();
    assert_eq!(start().lock().send_raw_transaction(&envelope.encoded_2718()), Err(ChainError::UnsupportedTransactionType { got: 3 }));
}

#[tokio::test]
async fn legacy_and_access_list_transactions_are_mined_as_what_they_are() {
    let chain = start();
    let reader = provider(&chain);
    let legacy = TransactionRequest { transaction_type: Some(0), max_fee_per_gas: None, max_priority_fee_per_gas: None, ..transfer(0) }
        .with_gas_price(1_000_000_000);
    let listed = legacy
        .clone()
        .with_nonce(1)
        .with_gas_limit(60_000)
        .access_list(AccessList(vec![AccessListItem { address: COUNTER_AT, storage_keys: vec![B256::ZERO] }]));
    let listed = TransactionRequest { transaction_type: Some(1), ..listed };
    for (kind, request) in [(0_u8, legacy), (1, listed)] {
        let raw = sign(ALICE, request).await;
        let hash = chain.lock().send_raw_transaction(&raw).unwrap();
        let receipt = reader.get_transaction_receipt(hash).await.unwrap().unwrap();
        assert_eq!(receipt.transaction_type() as u8, kind);
        assert_eq!(receipt.gas_used, 21_000 + u64::from(kind) * (2_400 + 1_900));
    }
}

#[tokio::test]
async fn a_legacy_transaction_without_chain_id_is_mined() {
    let chain = start();
    let old = TxLegacy {
        chain_id: None,
        nonce: 0,
        gas_price: 100_000_000_000,
        gas_limit: 21_000,
        to: TxKind::Call(BOB.address),
        value: U256::ONE,
        input: Bytes::new(),
    };
    let signature = ALICE.signer().unwrap().sign_hash_sync(&old.signature_hash()).unwrap();
    let envelope: TxEnvelope = old.into_signed(signature).into();
    assert!(chain.lock().send_raw_transaction(&envelope.encoded_2718()).is_ok());
}

#[tokio::test]
async fn an_eip7702_authorization_gives_an_account_code() {
    let chain = start();
    let authorization = Authorization { chain_id: U256::from(31337), address: COUNTER_AT, nonce: 0 };
    let signature = BOB.signer().unwrap().sign_hash_sync(&authorization.signature_hash()).unwrap();
    let request = transfer(0)
        .with_value(U256::ZERO)
        .with_input(bytes!("01"))
        .with_gas_limit(200_000)
        .with_authorization_list(vec![authorization.into_signed(signature)]);
    let raw = sign(ALICE, request).await;
    let hash = chain.lock().send_raw_transaction(&raw).unwrap();
    let reader = provider(&chain);
    let receipt = reader.get_transaction_receipt(hash).await.unwrap().unwrap();
    assert_eq!((receipt.status(), receipt.logs().len()), (true, 1));
    let code = reader.get_code_at(BOB.address).await.unwrap();
    assert_eq!(code, [&[0xef, 0x01, 0x00][..], COUNTER_AT.as_slice()].concat());
    assert_eq!(reader.get_storage_at(BOB.address, U256::ZERO).await.unwrap(), U256::ONE);
}

#[tokio::test]
async fn a_contract_destroyed_while_it_is_created_does_not_exist() {
    let chain = start();
    let request = TransactionRequest { to: Some(TxKind::Create), ..transfer(0) }.with_input(bytes!("60015f555fff")).with_gas_limit(200_000);
    let raw = sign(ALICE, request).await;
    chain.lock().send_raw_transaction(&raw).unwrap();
    let reader = provider(&chain);
    let address = ALICE.address.create(0);
    assert_eq!(reader.get_transaction_count(address).await.unwrap(), 0);
    assert_eq!(reader.get_storage_at(address, U256::ZERO).await.unwrap(), U256::ZERO);
}

#[tokio::test]
async fn blockhash_in_the_evm_is_the_hash_the_rpc_reports_for_256_blocks() {
    let chain = start();
    for _ in 0..299 {
        chain.lock().mine().unwrap();
    }
    let reader = provider(&chain);
    // The transaction will be in block 300: 44 to 299 are in reach, 43 and 300 are not.
    for (number, within) in [(299, true), (298, true), (100, true), (44, true), (43, false)] {
        let id = chain.lock().snapshot().unwrap();
        let reported = reader.get_block_by_number(number.into()).await.unwrap().unwrap();
        let hash = send_call(&chain, 0, BLOCKHASH_CHECK_AT, check(number, reported.header.hash)).await;
        let receipt = reader.get_transaction_receipt(hash).await.unwrap().unwrap();
        assert_eq!(receipt.block_number, Some(300));
        assert_eq!(receipt.status(), within, "block {number}");
        assert!(chain.lock().revert(id));
    }
    let wrong = chain.lock().block(298).unwrap().hash;
    let hash = send_call(&chain, 0, BLOCKHASH_CHECK_AT, check(299, wrong)).await;
    assert!(!reader.get_transaction_receipt(hash).await.unwrap().unwrap().status());
}

/// As on geth: a simulation at `latest` runs *in* the head block, which cannot see its own hash.
#[tokio::test]
async fn the_heads_own_hash_is_seen_by_a_call_at_pending_but_not_at_latest() {
    let chain = start();
    chain.lock().mine().unwrap();
    chain.lock().mine().unwrap();
    let reader = provider(&chain);
    let head = chain.lock().head();
    let previous = chain.lock().block(1).unwrap();
    let call = |number, hash| TransactionRequest::default().with_to(BLOCKHASH_CHECK_AT).with_input(check(number, hash));
    assert!(reader.call(call(head.number, head.hash)).pending().await.is_ok());
    assert!(reader.call(call(head.number, head.hash)).latest().await.is_err());
    assert!(reader.call(call(previous.number, previous.hash)).latest().await.is_ok());
    assert!(reader.estimate_gas(call(head.number, head.hash)).pending().await.is_ok());
    assert!(reader.estimate_gas(call(previous.number, previous.hash)).latest().await.is_ok());
}

#[tokio::test]
async fn the_evm_and_the_header_have_the_same_time() {
    let chain = start();
    chain.lock().increase_time(77).unwrap();
    let hash = send_call(&chain, 0, CLOCK_READER_AT, Bytes::new()).await;
    let receipt = provider(&chain).get_transaction_receipt(hash).await.unwrap().unwrap();
    let seen = U256::from_be_slice(&receipt.logs()[0].data().data);
    assert_eq!(seen, U256::from(GENESIS_TIME + 77));
    assert_eq!(chain.lock().head().timestamp, GENESIS_TIME + 77);
    assert_eq!(receipt.logs()[0].block_timestamp, Some(GENESIS_TIME + 77));
}

#[tokio::test]
async fn time_travel_over_rpc_moves_the_next_block_and_calls() {
    let chain = start();
    let reader = provider(&chain);
    assert_eq!(rpc(&chain, "evm_increaseTime", json!([100])).await["result"], 100);
    assert_eq!(rpc(&chain, "evm_increaseTime", json!(["0x10"])).await["result"], 116);
    let read = TransactionRequest::default().with_to(CLOCK_READER_AT);
    let words = |out: Bytes| (U256::from_be_slice(&out[..32]), U256::from_be_slice(&out[32..]));
    let now = U256::from(GENESIS_TIME + 116);
    let latest = words(reader.call(read.clone()).latest().await.unwrap());
    assert_eq!(latest, (now, U256::ZERO), "the head's number, the clock's time");
    let pending = words(reader.call(read.clone()).pending().await.unwrap());
    assert_eq!(pending, (now, U256::ONE));
    let genesis = words(reader.call(read).number(0).await.unwrap());
    assert_eq!(genesis, (U256::from(GENESIS_TIME), U256::ZERO));

    let target = GENESIS_TIME + 5_000;
    rpc(&chain, "evm_setNextBlockTimestamp", json!([target])).await;
    rpc(&chain, "evm_mine", json!([])).await;
    assert_eq!(chain.lock().head().timestamp, target);
    let past = rpc(&chain, "evm_setNextBlockTimestamp", json!([target - 1])).await;
    assert_eq!(past["error"]["code"], -32000);
    rpc(&chain, "anvil_mine", json!(["0x3", "0x0a"])).await;
    assert_eq!(chain.lock().head().number, 4);
    assert_eq!(chain.lock().head().timestamp, target + 20);
    let many = rpc(&chain, "anvil_mine", json!([10_001])).await;
    assert_eq!(many["error"]["code"], -32000);
}

#[test]
fn the_system_clock_never_makes_block_times_go_back() {
    let mut chain = DevChain::new(Config::default()).unwrap();
    let mut last = chain.head().timestamp;
    chain.increase_time(3_600).unwrap();
    for _ in 0..5 {
        let next = chain.mine().unwrap().timestamp;
        assert!(last <= next);
        last = next;
    }
}

#[tokio::test]
async fn revert_restores_blocks_state_edits_and_clock() {
    let chain = start();
    send_call(&chain, 0, COUNTER_AT, bytes!("01")).await;
    chain.lock().set_storage(COUNTER_AT, U256::from(1), U256::from(5));
    let head = chain.lock().head();
    let id = rpc(&chain, "evm_snapshot", json!([])).await["result"].clone();

    let hash = send_call(&chain, 1, COUNTER_AT, bytes!("01")).await;
    chain.lock().increase_time(1_000).unwrap();
    chain.lock().set_balance(BOB.address, U256::from(7));
    chain.lock().set_storage(COUNTER_AT, U256::from(1), U256::from(6));
    chain.lock().set_nonce(BOB.address, 9);
    let later = chain.lock().snapshot().unwrap();

    assert_eq!(rpc(&chain, "evm_revert", json!([id])).await["result"], true);
    assert_eq!(chain.lock().head(), head);
    assert_eq!(chain.lock().now(), GENESIS_TIME);
    let reader = provider(&chain);
    assert_eq!(reader.get_storage_at(COUNTER_AT, U256::ZERO).await.unwrap(), U256::ONE);
    assert_eq!(reader.get_storage_at(COUNTER_AT, U256::ONE).await.unwrap(), U256::from(5));
    assert_eq!(reader.get_balance(BOB.address).await.unwrap(), chain.lock().balance(ALL_EQUAL));
    assert_eq!(reader.get_transaction_count(BOB.address).await.unwrap(), 0);
    assert!(reader.get_transaction_receipt(hash).await.unwrap().is_none());
    assert_eq!(rpc(&chain, "evm_revert", json!([id])).await["result"], false, "used up");
    assert!(!chain.lock().revert(later), "later snapshots are gone too");

    // The same nonce is free again, and a different block takes the place of the old one: a reorganisation.
    let other = send_call(&chain, 1, CLOCK_READER_AT, Bytes::new()).await;
    assert_ne!(other, hash);
    assert_eq!(reader.get_block_number().await.unwrap(), 2);
}

#[test]
fn snapshots_are_bounded() {
    let mut chain = DevChain::new(config()).unwrap();
    for _ in 0..MAX_SNAPSHOTS {
        chain.snapshot().unwrap();
    }
    let full = ChainError::Full { what: "snapshots", limit: MAX_SNAPSHOTS };
    assert_eq!(chain.snapshot(), Err(full));
}

#[tokio::test]
async fn accounts_can_be_edited_over_rpc() {
    let chain = start();
    let reader = provider(&chain);
    let who = Address::with_last_byte(0x77);
    for (method, params) in [
        ("anvil_setCode", json!([who, COUNTER])),
        ("hardhat_setBalance", json!([who, "0x10"])),
        ("anvil_setNonce", json!([who, "0x5"])),
        ("anvil_setStorageAt", json!([who, "0x0", B256::from(U256::from(41))])),
    ] {
        let answer = rpc(&chain, method, params).await;
        assert!(answer.get("error").is_none(), "{method}: {answer}");
    }
    let read = TransactionRequest::default().with_to(who);
    assert_eq!(U256::from_be_slice(&reader.call(read).await.unwrap()), U256::from(41));
    assert_eq!(reader.get_balance(who).await.unwrap(), U256::from(16));
    assert_eq!(reader.get_transaction_count(who).await.unwrap(), 5);
    let bad = rpc(&chain, "anvil_setCode", json!([who, "0xef0100"])).await;
    assert_eq!(bad["error"]["code"], -32602);
}

#[tokio::test]
async fn genesis_code_and_storage_are_there_at_block_zero() {
    let at = Address::with_last_byte(0x55);
    let config = config().with_contract(at, COUNTER, vec![(U256::ZERO, U256::from(9))]);
    let chain = SharedChain::new(DevChain::new(config).unwrap());
    let reader = provider(&chain);
    let read = TransactionRequest::default().with_to(at);
    assert_eq!(U256::from_be_slice(&reader.call(read).number(0).await.unwrap()), U256::from(9));
    assert_eq!(reader.get_transaction_count(at).await.unwrap(), 1);
    let beyond = reader.get_balance(at).number(5).await.unwrap_err();
    assert!(beyond.to_string().contains("block 5 not found: the head is 0"), "{beyond}");
}

/// The precompile at 0x100 (EIP-7951) answers, so the rules are Osaka's. Vector from the EIP's reference tests.
#[tokio::test]
async fn p256verify_answers_as_osaka_says() {
    let input = bytes!(
        "4cee90eb86eaa050036147a12d49004b6b9c72bd725d39d4785011fe190f0b4d"
        "a73bd4903f0ce3b639bbbf6e8e80d16931ff4bcf5993d58468e8fb19086e8cac"
        "36dbcd03009df8c59286b162af3bd7fcc0450c9aa81be5d10d312af6c66b1d60"
        "4aebd3099c618202fcfe16ae7770b0c49ab5eadf74b754204a3bb6060e44eff3"
        "7618b065f9832de4ca6ca971a7a1adc826d0f7c00181a5fb2ddf79ae00b4e10e"
    );
    let mut p256 = [0_u8; 20];
    p256[18] = 1;
    let call = TransactionRequest::default().with_to(p256.into()).with_input(input);
    let out = provider(&start()).call(call).await.unwrap();
    assert_eq!(U256::from_be_slice(&out), U256::ONE);
}

/// An account no test touches: it still has what genesis gave to each.
const ALL_EQUAL: Address = candor_devchain::dev_accounts::ALL[9].address;

fn check(number: u64, hash: B256) -> Bytes {
    [B256::from(U256::from(number)), hash].concat().into()
}
