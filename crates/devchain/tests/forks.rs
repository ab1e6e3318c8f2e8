//! Blocks that are taken back, and blocks that are final.

mod support;

use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::network::TransactionBuilder;
use alloy::primitives::{B256, U256, bytes};
use alloy::providers::Provider;
use alloy::rpc::types::{Filter, TransactionRequest};
use candor_devchain::{ChainError, Config, ConfigError, DevChain, Fate, Fault, FinalityLag, Mining, SharedChain, provider};
use serde_json::json;
use support::*;

/// Three blocks, each with one count; returns the hashes of the transactions.
async fn three_counts(chain: &SharedChain) -> Vec<B256> {
    let mut sent = Vec::new();
    for nonce in 0..3 {
        sent.push(send_call(chain, nonce, COUNTER_AT, bytes!("01")).await);
        if chain.lock().mining() == Mining::Manual {
            chain.lock().mine().unwrap();
        }
    }
    sent
}

async fn count(chain: &SharedChain, block: BlockId) -> u64 {
    let read = TransactionRequest::default().with_to(COUNTER_AT);
    U256::from_be_slice(&provider(chain).call(read).block(block).await.unwrap()).to()
}

#[tokio::test]
async fn transactions_of_removed_blocks_go_back_to_the_pool() {
    let chain = start_slow();
    let sent = three_counts(&chain).await;
    let waits = send_call(&chain, 3, COUNTER_AT, bytes!("01")).await;
    let block = |number| chain.lock().block(number).unwrap();
    let (kept, gone) = (block(1), block(3));
    let head = chain.lock().reorg(2, Fate::Pooled).unwrap();

    let reader = provider(&chain);
    assert_eq!(head.number, 3, "as many blocks take their place");
    assert_eq!(chain.lock().block(1), Some(kept));
    assert_ne!(head.hash, gone.hash);
    assert_eq!(head.timestamp, gone.timestamp);
    assert!(reader.get_block_by_hash(gone.hash).await.unwrap().is_none());
    assert_eq!(reader.get_block(3.into()).await.unwrap().unwrap().header.parent_hash, block(2).hash);
    assert_eq!(count(&chain, BlockId::latest()).await, 1);
    assert_eq!(reader.get_logs(&Filter::new().from_block(0)).await.unwrap().len(), 1);
    assert_eq!(reader.get_transaction_count(ALICE.address).await.unwrap(), 1);
    assert_eq!(reader.get_transaction_count(ALICE.address).pending().await.unwrap(), 4);
    assert!(reader.get_transaction_receipt(sent[0]).await.unwrap().is_some());
    for hash in &sent[1..] {
        assert!(reader.get_transaction_receipt(*hash).await.unwrap().is_none());
        assert_eq!(reader.get_transaction_by_hash(*hash).await.unwrap().unwrap().block_number, None);
    }

    chain.lock().mine().unwrap();
    let block = reader.get_block(4.into()).await.unwrap().unwrap();
    assert_eq!(block.transactions.hashes().collect::<Vec<_>>(), [sent[1], sent[2], waits]);
    assert_eq!(count(&chain, BlockId::latest()).await, 4);
}

#[tokio::test]
async fn transactions_of_removed_blocks_can_be_dropped() {
    let chain = start_slow();
    let sent = three_counts(&chain).await;
    let behind = send_call(&chain, 3, COUNTER_AT, bytes!("01")).await;
    chain.lock().reorg(1, Fate::Dropped).unwrap();
    let reader = provider(&chain);
    assert!(reader.get_transaction_by_hash(sent[2]).await.unwrap().is_none());
    assert_eq!(reader.get_transaction_count(ALICE.address).pending().await.unwrap(), 2, "what waited is behind a gap now");
    chain.lock().mine().unwrap();
    assert_eq!(count(&chain, BlockId::latest()).await, 2);
    assert_eq!(chain.lock().pool_status().queued, 1);
    // Their sender sends them again.
    assert_eq!(send_call(&chain, 2, COUNTER_AT, bytes!("01")).await, sent[2]);
    chain.lock().mine().unwrap();
    assert!(reader.get_transaction_receipt(behind).await.unwrap().is_some());
}

#[tokio::test]
async fn a_sender_whose_money_came_in_a_removed_block_is_not_taken_back() {
    let chain = start_slow();
    let heir = candor_devchain::dev_accounts::ALL[5];
    chain.lock().set_balance(heir.address, U256::ZERO);
    send(&chain, ALICE, transfer(0).with_to(heir.address).with_value(U256::from(10_u64.pow(18)))).await.unwrap();
    chain.lock().mine().unwrap();
    let spent = send(&chain, heir, transfer(0).with_from(heir.address)).await.unwrap();
    chain.lock().mine().unwrap();
    chain.lock().reorg(2, Fate::Pooled).unwrap();
    assert!(provider(&chain).get_transaction_by_hash(spent).await.unwrap().is_none());
    assert_eq!(chain.lock().pool_status().pending, 1, "Alice's is");
}

#[tokio::test]
async fn reorganisations_over_rpc_where_blocks_are_made_at_once() {
    let chain = start();
    let sent = three_counts(&chain).await;
    let answer = rpc(&chain, "devchain_reorg", json!([2, "pooled"])).await;
    assert_eq!(answer["result"], json!(chain.lock().head().hash));
    assert_eq!(chain.lock().pool_status().pending, 2);
    assert_eq!(count(&chain, BlockId::latest()).await, 1);
    rpc(&chain, "evm_mine", json!([])).await;
    assert_eq!(provider(&chain).get_transaction_receipt(sent[2]).await.unwrap().unwrap().block_number, Some(4));
    assert!(rpc(&chain, "anvil_reorg", json!(["0x1", []])).await["error"].is_null());
    assert!(provider(&chain).get_transaction_by_hash(sent[2]).await.unwrap().is_none());

    for (method, params) in [
        ("devchain_reorg", json!([1])),
        ("devchain_reorg", json!([1, "kept"])),
        ("devchain_reorg", json!([1, true])),
        ("anvil_reorg", json!([])),
        ("anvil_reorg", json!([1, [["0x00", 1]]])),
    ] {
        assert_eq!(rpc(&chain, method, params).await["error"]["code"], -32602, "{method}");
    }
}

#[tokio::test]
async fn a_reorganisation_goes_no_deeper_than_genesis_and_uses_up_later_snapshots() {
    let chain = start();
    let early = chain.lock().snapshot().unwrap();
    three_counts(&chain).await;
    let late = chain.lock().snapshot().unwrap();
    let before = chain.lock().head();
    for got in [4, u64::MAX] {
        assert_eq!(chain.lock().reorg(got, Fate::Dropped), Err(ChainError::ReorgTooDeep { deepest: 3, got }));
    }
    assert_eq!(chain.lock().reorg(0, Fate::Pooled), Ok(before), "nothing is replaced by nothing");
    chain.lock().set_balance(BOB.address, U256::from(7));
    chain.lock().reorg(3, Fate::Dropped).unwrap();
    assert_ne!(chain.lock().balance(BOB.address), U256::from(7), "edits since go with the blocks");
    assert!(!chain.lock().revert(late));
    assert!(chain.lock().revert(early));
    assert_eq!(chain.lock().head().number, 0);
}

#[test]
fn empty_blocks_are_replaced_by_others() {
    let mut chain = DevChain::new(config()).unwrap();
    let mut seen = vec![chain.mine().unwrap().hash];
    for _ in 0..3 {
        let hash = chain.reorg(1, Fate::Pooled).unwrap().hash;
        assert!(!seen.contains(&hash));
        seen.push(hash);
    }
}

#[tokio::test]
async fn safe_and_finalized_lag_in_every_method_that_takes_a_tag() {
    let finality = FinalityLag { safe_lag: 1, finalized_lag: 2 };
    let chain = start_with(Config { finality, ..config() });
    let sent = three_counts(&chain).await;
    let reader = provider(&chain);
    for (tag, number) in [(BlockNumberOrTag::Latest, 3), (BlockNumberOrTag::Safe, 2), (BlockNumberOrTag::Finalized, 1)] {
        let block = BlockId::from(tag);
        let shown = reader.get_block_by_number(tag).await.unwrap().unwrap();
        assert_eq!((shown.number(), shown.header.hash), (number, chain.lock().block(number).unwrap().hash));
        assert_eq!(count(&chain, block).await, number, "eth_call at {tag}");
        assert_eq!(reader.get_storage_at(COUNTER_AT, U256::ZERO).block_id(block).await.unwrap(), U256::from(number));
        assert_eq!(reader.get_transaction_count(ALICE.address).block_id(block).await.unwrap(), number);
        let then = reader.get_balance(ALICE.address).number(number).await.unwrap();
        assert_eq!(reader.get_balance(ALICE.address).block_id(block).await.unwrap(), then);
        assert_eq!(reader.get_block_receipts(block).await.unwrap().unwrap()[0].transaction_hash, sent[number as usize - 1]);
        let logs = reader.get_logs(&Filter::new().from_block(0).to_block(tag)).await.unwrap();
        assert_eq!(logs.len() as u64, number);
        assert_eq!(reader.get_fee_history(1, tag, &[]).await.unwrap().oldest_block, number);
    }
    let none = reader.get_logs(&Filter::new().from_block(3).to_block(BlockNumberOrTag::Safe)).await.unwrap();
    assert!(none.is_empty(), "a poller that is ahead of the tag is told nothing, and no error");

    chain.set_fault(Fault::Lag { blocks: 2 });
    assert_eq!(reader.get_block_by_number(BlockNumberOrTag::Safe).await.unwrap().unwrap().number(), 0);
    chain.set_fault(Fault::None);
    chain.lock().set_finality(FinalityLag { safe_lag: 9, finalized_lag: 10 }).unwrap();
    assert_eq!(count(&chain, BlockId::finalized()).await, 0, "genesis, before there are enough blocks");
}

#[tokio::test]
async fn unless_asked_otherwise_the_head_is_final() {
    let chain = start();
    three_counts(&chain).await;
    for block in [BlockId::safe(), BlockId::finalized()] {
        assert_eq!(count(&chain, block).await, 3);
    }
}

#[test]
fn finalized_before_safe_is_refused() {
    let got = FinalityLag { safe_lag: 2, finalized_lag: 1 };
    let refused = DevChain::new(Config { finality: got, ..config() }).map(drop);
    assert_eq!(refused, Err(ConfigError::FinalizedBeforeSafe { got }));
    assert_eq!(DevChain::new(config()).unwrap().set_finality(got), Err(ConfigError::FinalizedBeforeSafe { got }));
}
