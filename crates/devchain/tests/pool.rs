//! Transactions that wait: what the pool takes, in which order blocks take them, and what is seen meanwhile.

mod support;

use alloy::consensus::proofs::calculate_receipt_root;
use alloy::network::{TransactionBuilder, TransactionResponse};
use alloy::primitives::{Address, B256, Bloom, Bytes, U256, bytes};
use alloy::providers::Provider;
use alloy::rpc::types::{Filter, TransactionRequest};
use candor_devchain::{
    ChainError, MAX_POOL_SLOTS, MAX_QUEUED_PER_SENDER, Mining, SharedChain, dev_accounts, provider, provider_with_wallet,
};
use serde_json::json;
use support::*;

const CAROL: dev_accounts::DevAccount = dev_accounts::ALL[2];

fn from(account: dev_accounts::DevAccount, nonce: u64) -> TransactionRequest {
    transfer(nonce).with_from(account.address)
}

/// Pending and queued.
fn waiting(chain: &SharedChain) -> (usize, usize) {
    let status = chain.lock().pool_status();
    (status.pending, status.queued)
}

/// The hashes of the head's transactions, in their order.
async fn head_transactions(chain: &SharedChain) -> Vec<B256> {
    let head = chain.lock().head().number;
    provider(chain).get_block_by_number(head.into()).await.unwrap().unwrap().transactions.hashes().collect()
}

#[tokio::test]
async fn a_transaction_waits_in_no_block_until_one_is_made() {
    let chain = start_slow();
    let reader = provider(&chain);
    let before = reader.get_balance(BOB.address).await.unwrap();
    let hash = send(&chain, ALICE, transfer(0)).await.unwrap();

    let shown = reader.get_transaction_by_hash(hash).await.unwrap().unwrap();
    assert_eq!((shown.block_hash, shown.block_number, shown.transaction_index), (None, None, None));
    assert_eq!(shown.from(), ALICE.address);
    let raw = rpc(&chain, "eth_getTransactionByHash", json!([hash])).await;
    assert!(raw["result"]["blockHash"].is_null() && raw["result"]["hash"] == json!(hash), "{raw}");
    assert!(reader.get_transaction_receipt(hash).await.unwrap().is_none());
    assert_eq!(reader.get_transaction_count(ALICE.address).await.unwrap(), 0);
    assert_eq!(reader.get_transaction_count(ALICE.address).pending().await.unwrap(), 1);
    assert_eq!(
        reader.get_block_by_number(alloy::eips::BlockNumberOrTag::Pending).await.unwrap().unwrap().number(),
        0,
        "pending is the head"
    );
    assert_eq!(rpc(&chain, "txpool_status", json!([])).await["result"], json!({"pending": "0x1", "queued": "0x0"}));
    assert_eq!(reader.get_balance(BOB.address).await.unwrap(), before);

    rpc(&chain, "evm_mine", json!([])).await;
    let receipt = reader.get_transaction_receipt(hash).await.unwrap().unwrap();
    assert_eq!((receipt.block_number, receipt.status()), (Some(1), true));
    assert_eq!(reader.get_transaction_by_hash(hash).await.unwrap().unwrap().block_number, Some(1));
    assert_eq!(reader.get_transaction_count(ALICE.address).await.unwrap(), 1);
    assert_eq!(reader.get_balance(BOB.address).await.unwrap(), before + U256::ONE);
    assert_eq!(waiting(&chain), (0, 0));
}

#[tokio::test]
async fn alloy_sends_twice_before_a_block_and_finds_both() {
    let chain = start_slow();
    let alice = provider_with_wallet(&chain, ALICE.wallet().unwrap());
    let count = TransactionRequest::default().with_to(COUNTER_AT).with_input(bytes!("01"));
    let first = alice.send_transaction(count.clone()).await.unwrap();
    let second = alice.send_transaction(count).await.unwrap();
    chain.lock().mine().unwrap();
    let (first, second) = (first.get_receipt().await.unwrap(), second.get_receipt().await.unwrap());
    assert_eq!((first.transaction_index, second.transaction_index), (Some(0), Some(1)));
    assert_eq!(alice.get_storage_at(COUNTER_AT, U256::ZERO).await.unwrap(), U256::from(2), "each sees what those before it did");
}

#[tokio::test]
async fn each_transaction_of_a_block_has_its_place_gas_and_logs() {
    let chain = start_slow();
    let count = |nonce, tip| {
        let request = transfer(nonce).with_to(COUNTER_AT).with_value(U256::ZERO).with_input(bytes!("01")).with_gas_limit(200_000);
        bidding(request, 9, tip)
    };
    let clock = bidding(from(BOB, 0), 9, 2).with_to(CLOCK_READER_AT).with_value(U256::ZERO).with_gas_limit(200_000);
    let mut sent = vec![send(&chain, ALICE, count(0, 3)).await.unwrap()];
    sent.push(send(&chain, BOB, clock).await.unwrap());
    sent.push(send(&chain, CAROL, bidding(from(CAROL, 0), 9, 1)).await.unwrap());
    sent.push(send(&chain, ALICE, count(1, 0)).await.unwrap());
    chain.lock().mine().unwrap();

    let reader = provider(&chain);
    let block = reader.get_block_by_number(1.into()).full().await.unwrap().unwrap();
    let receipts = reader.get_block_receipts(1.into()).await.unwrap().unwrap();
    let mut gas = 0;
    for (index, receipt) in receipts.iter().enumerate() {
        gas += receipt.gas_used;
        assert_eq!(receipt.transaction_hash, sent[index]);
        assert_eq!(receipt.transaction_index, Some(index as u64));
        assert_eq!(receipt.inner.cumulative_gas_used(), gas);
        assert_eq!(receipt.block_hash, Some(block.header.hash));
        assert_eq!(reader.get_transaction_receipt(sent[index]).await.unwrap().as_ref(), Some(receipt));
        let transaction = reader.get_transaction_by_hash(sent[index]).await.unwrap().unwrap();
        assert_eq!(transaction.transaction_index, Some(index as u64));
        assert_eq!(block.transactions.as_transactions().unwrap()[index], transaction);
    }
    assert_eq!((receipts.len(), block.header.gas_used), (4, gas));
    assert!(receipts[0].gas_used != 21_000, "the counter costs more than a transfer");

    let logs = reader.get_logs(&Filter::new().select(1)).await.unwrap();
    let places: Vec<_> = logs.iter().map(|log| (log.log_index.unwrap(), log.transaction_index.unwrap())).collect();
    assert_eq!(places, [(0, 0), (1, 1), (2, 3)]);
    assert_eq!(receipts.iter().flat_map(|receipt| receipt.inner.logs().to_vec()).collect::<Vec<_>>(), logs);
    let bloom = receipts.iter().fold(Bloom::ZERO, |bloom, receipt| bloom | *receipt.inner.logs_bloom());
    assert_eq!(block.header.logs_bloom, bloom);
    let envelopes: Vec<_> = receipts.into_iter().map(|receipt| receipt.inner.map_logs(|log| log.inner)).collect();
    assert_eq!(block.header.receipts_root, calculate_receipt_root(&envelopes));
    assert_eq!(block.header.inner.hash_slow(), block.header.hash);
    let encoded = block.clone().map_transactions(|transaction| transaction.inner);
    assert_eq!(encoded.calculate_transactions_root(), Some(block.header.transactions_root));
}

#[tokio::test]
async fn the_best_tip_goes_first_and_each_senders_nonces_in_order() {
    let chain = start_slow();
    let low = send(&chain, ALICE, bidding(from(ALICE, 0), 9, 1)).await.unwrap();
    let high_behind_low = send(&chain, ALICE, bidding(from(ALICE, 1), 90, 50)).await.unwrap();
    let middle = send(&chain, BOB, bidding(from(BOB, 0), 9, 2)).await.unwrap();
    // Offers three, and pays two: the cap leaves no more above the base fee. Equal tips go by arrival.
    let capped = send(&chain, CAROL, bidding(from(CAROL, 0), 3, 3)).await.unwrap();
    chain.lock().mine().unwrap();
    assert_eq!(head_transactions(&chain).await, [middle, capped, low, high_behind_low]);
}

#[tokio::test]
async fn a_nonce_behind_a_gap_waits_until_the_gap_is_filled() {
    let chain = start_slow();
    let reader = provider(&chain);
    let later = send(&chain, ALICE, transfer(2)).await.unwrap();
    let first = send(&chain, ALICE, transfer(0)).await.unwrap();
    assert_eq!(waiting(&chain), (1, 1));
    assert_eq!(reader.get_transaction_count(ALICE.address).pending().await.unwrap(), 1);
    chain.lock().mine().unwrap();
    assert_eq!(head_transactions(&chain).await, [first]);
    assert_eq!(waiting(&chain), (0, 1));
    assert!(reader.get_transaction_receipt(later).await.unwrap().is_none());

    let filler = send(&chain, ALICE, transfer(1)).await.unwrap();
    assert_eq!(waiting(&chain), (2, 0));
    assert_eq!(reader.get_transaction_count(ALICE.address).pending().await.unwrap(), 3);
    chain.lock().mine().unwrap();
    assert_eq!(head_transactions(&chain).await, [filler, later]);
}

#[tokio::test]
async fn a_replacement_needs_a_tenth_more_on_both_fee_and_tip() {
    let chain = start_slow();
    let reader = provider(&chain);
    let bid = |max_fee: u128, tip: u128| transfer(0).with_max_fee_per_gas(max_fee).with_max_priority_fee_per_gas(tip);
    let old = send(&chain, ALICE, bid(10 * GWEI, 2 * GWEI)).await.unwrap();
    for (max_fee, tip) in
        [(11 * GWEI, 2 * GWEI), (10 * GWEI, 3 * GWEI), (11 * GWEI - 1, 3 * GWEI), (20 * GWEI, 2_200_000_000 - 1), (9 * GWEI, GWEI)]
    {
        let error = send(&chain, ALICE, bid(max_fee, tip)).await.unwrap_err();
        assert_eq!(error, ChainError::ReplacementUnderpriced, "{max_fee} {tip}");
        assert_eq!(error.to_string(), "replacement transaction underpriced");
    }
    let new = send(&chain, ALICE, bid(11 * GWEI, 2_200_000_000)).await.unwrap();
    assert!(reader.get_transaction_by_hash(old).await.unwrap().is_none(), "the old one is forgotten");
    assert_eq!(waiting(&chain), (1, 0));
    chain.lock().mine().unwrap();
    assert_eq!(head_transactions(&chain).await, [new]);
}

#[tokio::test]
async fn the_same_transaction_again_is_known_and_later_its_nonce_is_too_low() {
    let chain = start_slow();
    send(&chain, ALICE, transfer(0)).await.unwrap();
    let again = send(&chain, ALICE, transfer(0)).await.unwrap_err();
    assert_eq!((again.clone(), again.to_string().as_str(), again.code()), (ChainError::AlreadyKnown, "already known", -32000));
    chain.lock().mine().unwrap();
    assert_eq!(send(&chain, ALICE, transfer(0)).await, Err(ChainError::NonceTooLow { expected: 1, got: 0 }));
    assert_eq!(waiting(&chain), (0, 0));
}

#[tokio::test]
async fn what_can_be_in_no_block_is_refused_at_the_door() {
    let chain = start_slow();
    let balance = chain.lock().balance(ALICE.address);
    let needed = balance + U256::from(21_000_u64 * 2_000_000_000);
    for (request, expected) in [
        (transfer(0).with_gas_limit(20_999), ChainError::IntrinsicGasTooLow { needed: 21_000, limit: 20_999 }),
        (transfer(0).with_value(balance), ChainError::InsufficientFunds { needed, balance }),
        (transfer(0).with_gas_limit(16_777_217), ChainError::GasLimitTooHigh { cap: 16_777_216, got: 16_777_217 }),
        (bidding(transfer(0), 2, 3), ChainError::TipAboveFeeCap),
        (transfer(0).with_chain_id(1), ChainError::WrongChain { expected: 31337, got: 1 }),
    ] {
        assert_eq!(send(&chain, ALICE, request).await, Err(expected));
    }
    let large = transfer(0).with_to(COUNTER_AT).with_input(Bytes::from(vec![0; 131_072])).with_gas_limit(16_000_000);
    assert!(matches!(send(&chain, ALICE, large).await, Err(ChainError::OversizedTransaction { limit: 131_072, .. })));
    assert!(send(&chain, ALICE, transfer(u64::MAX)).await.is_err());
    assert_eq!(waiting(&chain), (0, 0));
}

#[tokio::test]
async fn a_sender_must_be_able_to_pay_all_that_waits() {
    let chain = start_slow();
    let one = U256::from(21_000_u64 * 2_000_000_000) + U256::ONE;
    chain.lock().set_balance(ALICE.address, one * U256::from(2));
    for nonce in 0..2 {
        send(&chain, ALICE, transfer(nonce)).await.unwrap();
    }
    let error = send(&chain, ALICE, transfer(2)).await.unwrap_err();
    assert_eq!(error, ChainError::InsufficientFunds { needed: one * U256::from(3), balance: one * U256::from(2) });
    assert!(error.to_string().starts_with("insufficient funds for gas * price + value"));
}

#[tokio::test]
async fn who_cannot_pay_any_more_is_forgotten_when_a_block_is_made() {
    let chain = start_slow();
    let poor = send(&chain, ALICE, transfer(0)).await.unwrap();
    let rich = send(&chain, BOB, from(BOB, 0)).await.unwrap();
    chain.lock().set_balance(ALICE.address, U256::from(5));
    chain.lock().mine().unwrap();
    assert_eq!(head_transactions(&chain).await, [rich]);
    assert!(provider(&chain).get_transaction_by_hash(poor).await.unwrap().is_none());
    assert_eq!(waiting(&chain), (0, 0));
}

#[tokio::test]
async fn a_transaction_can_be_made_to_vanish() {
    let chain = start_slow();
    let hash = send(&chain, ALICE, transfer(0)).await.unwrap();
    assert_eq!(rpc(&chain, "anvil_dropTransaction", json!([hash])).await["result"], json!(hash));
    assert!(rpc(&chain, "anvil_dropTransaction", json!([hash])).await["result"].is_null());
    chain.lock().mine().unwrap();
    assert!(provider(&chain).get_transaction_by_hash(hash).await.unwrap().is_none());
}

#[tokio::test]
async fn a_block_takes_no_more_gas_than_its_limit() {
    let chain = start_slow();
    let mut sent = Vec::new();
    for nonce in 0..4 {
        sent.push(send(&chain, ALICE, bidding(burning(nonce, 16_000_000), 9, 1)).await.unwrap());
    }
    let small = send(&chain, BOB, from(BOB, 0)).await.unwrap();
    chain.lock().mine().unwrap();
    assert_eq!(head_transactions(&chain).await, [sent[0], sent[1], sent[2], small], "what fits beside is taken");
    chain.lock().mine().unwrap();
    assert_eq!(head_transactions(&chain).await, [sent[3]]);
}

#[tokio::test]
async fn the_pool_is_bounded_per_sender_behind_a_gap() {
    let chain = start_slow();
    let last = u64::try_from(MAX_QUEUED_PER_SENDER).unwrap();
    for nonce in 1..=last {
        send(&chain, ALICE, transfer(nonce)).await.unwrap();
    }
    let full = send(&chain, ALICE, transfer(last + 1)).await.unwrap_err();
    assert!(matches!(full, ChainError::PoolFull { limit: MAX_QUEUED_PER_SENDER, .. }), "{full}");
    assert!(full.to_string().starts_with("txpool is full"));
    send(&chain, BOB, from(BOB, 5)).await.unwrap();
    send(&chain, ALICE, bidding(transfer(1), 9, 1)).await.expect("a replacement needs no room");
    send(&chain, ALICE, transfer(0)).await.expect("nor does what fills the gap");
    assert_eq!(waiting(&chain), (MAX_QUEUED_PER_SENDER + 1, 1));
    send(&chain, ALICE, transfer(last + 1)).await.unwrap();
}

#[tokio::test]
async fn the_pool_is_bounded_in_all() {
    let chain = start_slow();
    let slots = u64::try_from(MAX_POOL_SLOTS).unwrap();
    // One that takes two slots, so that the last but one place is for a small one only.
    let large = from(BOB, 0).with_to(Address::with_last_byte(9)).with_input(Bytes::from(vec![0; 40_000])).with_gas_limit(1_000_000);
    for nonce in 0..slots - 1 {
        send(&chain, ALICE, transfer(nonce)).await.unwrap();
    }
    let full = Err(ChainError::PoolFull { what: "slots of 32 KiB", limit: MAX_POOL_SLOTS });
    assert_eq!(send(&chain, BOB, large).await, full);
    send(&chain, BOB, from(BOB, 0)).await.unwrap();
    assert_eq!(send(&chain, CAROL, from(CAROL, 0)).await, full);
    send(&chain, BOB, bidding(from(BOB, 0), 9, 1)).await.expect("a replacement needs no room");
    while waiting(&chain) != (0, 0) {
        chain.lock().mine().unwrap();
    }
    assert_eq!(chain.lock().head().number, 2, "4096 transfers of 21,000 gas are more than one block takes");
    send(&chain, CAROL, from(CAROL, 0)).await.unwrap();
}

#[tokio::test]
async fn mining_can_be_switched_over_rpc() {
    let chain = start();
    assert_eq!(chain.lock().mining(), Mining::Instant);
    rpc(&chain, "evm_setAutomine", json!([false])).await;
    let waits = send(&chain, ALICE, transfer(0)).await.unwrap();
    assert_eq!(chain.lock().head().number, 0);
    rpc(&chain, "evm_setIntervalMining", json!([2])).await;
    assert_eq!(chain.lock().mining(), Mining::Every(std::time::Duration::from_secs(2)));
    rpc(&chain, "evm_setIntervalMining", json!([0])).await;
    assert_eq!(chain.lock().mining(), Mining::Manual);
    rpc(&chain, "anvil_setAutomine", json!([true])).await;
    let at_once = send(&chain, BOB, from(BOB, 0)).await.unwrap();
    assert_eq!(head_transactions(&chain).await, [at_once]);
    assert_eq!(waiting(&chain), (1, 0), "what waited is not forgotten");
    chain.lock().mine().unwrap();
    assert_eq!(head_transactions(&chain).await, [waits]);
}
