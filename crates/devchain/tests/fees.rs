//! What gas costs: a base fee that follows demand, transactions that wait for it to fall, and what estimators are told.

mod support;

use alloy::eips::BlockNumberOrTag;
use alloy::eips::eip1559::BaseFeeParams;
use alloy::network::TransactionBuilder;
use alloy::primitives::bytes;
use alloy::providers::Provider;
use candor_devchain::{BASE_FEE, BaseFee, ChainError, Config, MAX_BASE_FEE, Mining, SharedChain, dev_accounts, provider};
use serde_json::json;
use support::*;

fn start_moving() -> SharedChain {
    start_with(Config { mining: Mining::Manual, base_fee: BaseFee::Moving, ..config() })
}

async fn base_fee_of(chain: &SharedChain, number: u64) -> u64 {
    provider(chain).get_block_by_number(number.into()).await.unwrap().unwrap().header.base_fee_per_gas.unwrap()
}

#[tokio::test]
async fn the_base_fee_moves_by_eip_1559() {
    let chain = start_moving();
    // Gas used in a block, and the base fee of the next: half of 60,000,000 is the target, an eighth the most it moves.
    let mut nonce = 0;
    for (burnt, expected) in [
        (vec![], 765_625_000),
        (vec![], 669_921_875),
        (vec![15_000_000, 15_000_000], 669_921_875),
        (vec![16_000_000, 16_000_000, 16_000_000], 669_921_875 + 50_244_140),
        (vec![16_000_000, 16_000_000, 16_000_000, 12_000_000], 720_166_015 + 90_020_751),
        (vec![6_000_000], 810_186_766 - 81_018_676),
    ] {
        for gas in burnt {
            send(&chain, ALICE, burning(nonce, gas)).await.unwrap();
            nonce += 1;
        }
        let head = chain.lock().mine().unwrap();
        assert_eq!(chain.lock().next_base_fee(), expected, "after block {}", head.number);
        let block = provider(&chain).get_block(head.number.into()).await.unwrap().unwrap();
        assert_eq!(block.header.inner.next_block_base_fee(BaseFeeParams::ethereum()), Some(expected));
        assert_eq!(provider(&chain).get_gas_price().await.unwrap(), u128::from(expected));
    }
    assert_eq!(base_fee_of(&chain, 1).await, 875_000_000, "genesis was empty");
}

#[tokio::test]
async fn the_base_fee_neither_vanishes_nor_overflows() {
    let chain = start_moving();
    chain.lock().set_next_base_fee(7).unwrap();
    for _ in 0..3 {
        chain.lock().mine().unwrap();
    }
    assert_eq!(base_fee_of(&chain, 3).await, 7, "an eighth of seven is nothing");

    chain.lock().set_next_base_fee(0).unwrap();
    for nonce in 0..3 {
        send(&chain, ALICE, burning(nonce, 16_000_000)).await.unwrap();
    }
    chain.lock().mine().unwrap();
    assert_eq!(base_fee_of(&chain, 4).await, 0);
    assert_eq!(chain.lock().next_base_fee(), 1, "it rises by at least one");

    let error = chain.lock().set_next_base_fee(MAX_BASE_FEE + 1);
    assert_eq!(error, Err(ChainError::BaseFeeTooHigh { limit: MAX_BASE_FEE, got: MAX_BASE_FEE + 1 }));
    chain.lock().set_next_base_fee(MAX_BASE_FEE).unwrap();
    chain.lock().mine().unwrap();
    assert_eq!(chain.lock().next_base_fee(), MAX_BASE_FEE / 8 * 7);
}

#[tokio::test]
async fn a_transaction_below_the_base_fee_waits_until_it_falls() {
    let chain = start_moving();
    let reader = provider(&chain);
    rpc(&chain, "anvil_setNextBlockBaseFeePerGas", json!(["0xb2d05e00"])).await;
    let cheap = send(&chain, ALICE, bidding(transfer(0), 2, 1)).await.unwrap();
    let behind = send(&chain, ALICE, bidding(transfer(1), 50, 1)).await.unwrap();
    assert_eq!(reader.get_transaction_count(ALICE.address).pending().await.unwrap(), 2);
    for expected in [3_000_000_000, 2_625_000_000, 2_296_875_000, 2_009_765_625] {
        chain.lock().mine().unwrap();
        let head = chain.lock().head().number;
        assert_eq!(base_fee_of(&chain, head).await, expected);
        assert!(reader.get_transaction_receipt(cheap).await.unwrap().is_none());
        assert!(reader.get_transaction_receipt(behind).await.unwrap().is_none(), "its nonce comes second, whatever it bids");
    }
    chain.lock().mine().unwrap();
    let receipt = reader.get_transaction_receipt(cheap).await.unwrap().unwrap();
    assert_eq!((receipt.block_number, receipt.effective_gas_price), (Some(5), 2_000_000_000), "the cap, which leaves less than its tip");
    let receipt = reader.get_transaction_receipt(behind).await.unwrap().unwrap();
    assert_eq!((receipt.block_number, receipt.effective_gas_price), (Some(5), 1_758_544_922 + GWEI));
}

#[tokio::test]
async fn fees_below_the_base_fee_are_replaced_by_higher_ones() {
    let chain = start_slow();
    chain.lock().set_next_base_fee(5_000_000_000).unwrap();
    send(&chain, ALICE, bidding(transfer(0), 2, 1)).await.unwrap();
    chain.lock().mine().unwrap();
    let new = send(&chain, ALICE, bidding(transfer(0), 8, 2)).await.unwrap();
    chain.lock().mine().unwrap();
    let receipt = provider(&chain).get_transaction_receipt(new).await.unwrap().unwrap();
    assert_eq!((receipt.block_number, receipt.effective_gas_price), (Some(2), 7 * GWEI), "fixed: it stays where it was set");
}

#[tokio::test]
async fn where_blocks_are_made_at_once_the_base_fee_that_was_set_is_named_in_the_refusal() {
    let chain = start();
    chain.lock().set_next_base_fee(3_000_000_000).unwrap();
    assert_eq!(send(&chain, ALICE, transfer(0)).await, Err(ChainError::FeeTooLow { base_fee: 3_000_000_000 }));
    assert!(send(&chain, ALICE, bidding(transfer(0), 3, 0)).await.is_ok());
}

#[tokio::test]
async fn snapshots_remember_the_base_fee_of_the_next_block() {
    let chain = start_moving();
    chain.lock().set_next_base_fee(11).unwrap();
    let id = chain.lock().snapshot().unwrap();
    chain.lock().mine().unwrap();
    assert_eq!(chain.lock().next_base_fee(), 10);
    assert!(chain.lock().revert(id));
    assert_eq!(chain.lock().next_base_fee(), 11);
}

#[tokio::test]
async fn fee_history_has_base_fees_shares_of_gas_and_tips() {
    let chain = start_moving();
    let reader = provider(&chain);
    for (account, gas, tip) in [(0, 6_000_000, 1), (1, 3_000_000, 5), (2, 21_000, 9)] {
        let account = dev_accounts::ALL[account];
        let request = bidding(burning(0, gas), 20, tip).with_from(account.address);
        let request = if gas == 21_000 { request.with_to(BOB.address) } else { request };
        send(&chain, account, request).await.unwrap();
    }
    chain.lock().mine().unwrap();
    chain.lock().mine().unwrap();

    let history = reader.get_fee_history(10, BlockNumberOrTag::Latest, &[0.0, 50.0, 90.0, 100.0]).await.unwrap();
    let first = base_fee_of(&chain, 1).await;
    let fees = [BASE_FEE, first, base_fee_of(&chain, 2).await, chain.lock().next_base_fee()];
    assert_eq!(history.oldest_block, 0);
    assert_eq!(history.base_fee_per_gas, fees.map(u128::from));
    assert_eq!(history.gas_used_ratio, [0.0, 9_021_000.0 / 60_000_000.0, 0.0]);
    // Two thirds of the gas paid one gwei, nearly all of the last third five.
    assert_eq!(history.reward.unwrap(), [vec![0; 4], vec![GWEI, GWEI, 5 * GWEI, 9 * GWEI], vec![0; 4]]);

    let older = reader.get_fee_history(1, BlockNumberOrTag::Number(1), &[]).await.unwrap();
    assert_eq!((older.oldest_block, older.base_fee_per_gas), (1, [fees[1], fees[2]].map(u128::from).to_vec()));
    assert_eq!(reader.get_max_priority_fee_per_gas().await.unwrap(), 5 * GWEI, "the median of recent tips");
    assert_eq!(reader.get_gas_price().await.unwrap(), u128::from(fees[3]) + 5 * GWEI);
    let estimate = reader.estimate_eip1559_fees().await.unwrap();
    assert!(u128::from(fees[3]) + estimate.max_priority_fee_per_gas <= estimate.max_fee_per_gas);
}

#[tokio::test]
async fn percentiles_out_of_range_panic_nobody() {
    let chain = start_slow();
    send_call(&chain, 0, COUNTER_AT, bytes!("01")).await;
    chain.lock().mine().unwrap();
    for odd in [-1.0, 1e300, 101.0, f64::MIN_POSITIVE] {
        let answer = rpc(&chain, "eth_feeHistory", json!(["0x2", "latest", [odd]])).await;
        assert_eq!(answer["result"]["reward"][1], json!(["0x0"]), "{answer}");
    }
}
