//! The chain as an alloy provider in the same process sees it: deploy, call, revert, logs, fees, faults.

mod support;

use alloy::eips::BlockId;
use alloy::network::TransactionBuilder;
use alloy::primitives::{B256, Bytes, U256, b256, bytes, keccak256};
use alloy::providers::Provider;
use alloy::rpc::types::{Filter, TransactionRequest};
use alloy::sol_types::SolError;
use alloy::transports::TransportError;
use candor_devchain::{Fault, provider, provider_with_wallet};
use serde_json::json;
use support::*;

alloy::sol! {
    #[derive(Debug, PartialEq, Eq)]
    error Refused(uint256 code);
}

#[tokio::test]
async fn a_deployed_contract_can_be_called_and_keeps_its_state() {
    let chain = start();
    let alice = provider_with_wallet(&chain, ALICE.wallet().unwrap());
    let deploy = TransactionRequest::default().with_deploy_code(init_code(&COUNTER));
    let receipt = alice.send_transaction(deploy).await.unwrap().get_receipt().await.unwrap();
    assert!(receipt.status());
    let counter = receipt.contract_address.unwrap();
    assert_eq!(counter, ALICE.address.create(0));
    assert_eq!(alice.get_code_at(counter).await.unwrap(), COUNTER);

    let count = TransactionRequest::default().with_to(counter).with_input(bytes!("01"));
    let receipt = alice.send_transaction(count).await.unwrap().get_receipt().await.unwrap();
    assert_eq!(receipt.logs().len(), 1);
    let read = TransactionRequest::default().with_to(counter);
    assert_eq!(word(&alice.call(read.clone()).await.unwrap()), U256::ONE);
    assert_eq!(alice.get_storage_at(counter, U256::ZERO).await.unwrap(), U256::ONE);

    let before = alice.call(read).block(BlockId::number(1)).await.unwrap();
    assert_eq!(word(&before), U256::ZERO, "history is kept");
    assert_eq!(alice.get_transaction_count(ALICE.address).await.unwrap(), 2);
}

#[tokio::test]
async fn a_custom_error_reaches_the_caller_decodable() {
    let chain = start();
    chain.lock().set_code(REFUSER_AT, refuser(Refused::SELECTOR)).unwrap();
    let call = TransactionRequest::default().with_to(REFUSER_AT);
    for error in [provider(&chain).call(call.clone()).await.unwrap_err(), provider(&chain).estimate_gas(call.clone()).await.unwrap_err()] {
        let payload = error.as_error_resp().unwrap();
        assert_eq!(payload.code, 3);
        assert_eq!(payload.as_decoded_error::<Refused>(), Some(Refused { code: U256::from(42) }));
    }
}

#[tokio::test]
async fn a_transaction_that_reverts_is_mined_with_status_zero() {
    let chain = start();
    chain.lock().set_code(REFUSER_AT, refuser(Refused::SELECTOR)).unwrap();
    let hash = send_call(&chain, 0, REFUSER_AT, Bytes::new()).await;
    let receipt = provider(&chain).get_transaction_receipt(hash).await.unwrap().unwrap();
    assert!(!receipt.status());
    assert_eq!(chain.lock().head().number, 1);
}

#[tokio::test]
async fn a_call_that_never_ends_stops_at_the_gas_cap() {
    let chain = start();
    let call = TransactionRequest::default().with_to(LOOP_AT);
    let error = provider(&chain).call(call.clone()).await.unwrap_err();
    assert!(error.as_error_resp().unwrap().message.contains("out of gas"), "{error}");
    let error = provider(&chain).estimate_gas(call).await.unwrap_err();
    assert!(error.as_error_resp().unwrap().message.contains("gas required exceeds allowance"), "{error}");
}

#[tokio::test]
async fn an_estimate_is_enough_and_not_much_more() {
    let chain = start();
    let alice = provider_with_wallet(&chain, ALICE.wallet().unwrap());
    let plain = TransactionRequest::default().with_to(BOB.address).with_value(U256::ONE);
    assert_eq!(alice.estimate_gas(plain).await.unwrap(), 21_000);

    let count = TransactionRequest::default().with_to(COUNTER_AT).with_input(bytes!("01"));
    let estimate = alice.estimate_gas(count.clone()).await.unwrap();
    let receipt = alice.send_transaction(count).await.unwrap().get_receipt().await.unwrap();
    assert!(receipt.status());
    assert!(receipt.gas_used <= estimate && estimate <= receipt.gas_used + receipt.gas_used / 4);
}

#[tokio::test]
async fn log_filters_select_by_address_topics_range_and_block() {
    let chain = start();
    for nonce in 0..4 {
        send_call(&chain, nonce, COUNTER_AT, bytes!("01")).await;
    }
    send_call(&chain, 4, CLOCK_READER_AT, Bytes::new()).await;
    let reader = provider(&chain);
    let all = Filter::new().from_block(0);
    let count = async |filter: Filter| reader.get_logs(&filter).await.unwrap().len();
    let topic = |value: u64| B256::from(U256::from(value));

    assert_eq!(count(all.clone()).await, 5);
    assert_eq!(count(all.clone().address(COUNTER_AT)).await, 4);
    assert_eq!(count(all.clone().address(vec![COUNTER_AT, CLOCK_READER_AT])).await, 5);
    assert_eq!(count(all.clone().address(BOB.address)).await, 0);
    assert_eq!(count(all.clone().event_signature(topic(0xaa))).await, 4);
    assert_eq!(count(all.clone().topic1(topic(2))).await, 1, "a null before it is a wildcard");
    assert_eq!(count(all.clone().topic1(vec![topic(2), topic(3), topic(9)])).await, 2);
    assert_eq!(count(Filter::new().from_block(2).to_block(3)).await, 2);
    assert_eq!(count(Filter::new()).await, 1, "without a range only the head");
    assert_eq!(count(Filter::new().from_block(99)).await, 0);
    let second = chain.lock().block(2).unwrap().hash;
    let logs = reader.get_logs(&Filter::new().at_block_hash(second)).await.unwrap();
    assert_eq!(logs.len(), 1);
    assert_eq!(logs[0].block_hash, Some(second));
    assert_eq!(logs[0].topics()[1], topic(2));

    let backwards = Filter::new().from_block(3).to_block(2);
    assert_eq!(code(&reader.get_logs(&backwards).await.unwrap_err()), -32602);
    let unknown = Filter::new().at_block_hash(B256::ZERO);
    assert_eq!(code(&reader.get_logs(&unknown).await.unwrap_err()), -32000);
}

#[tokio::test]
async fn a_log_query_with_more_results_than_the_limit_is_refused() {
    let chain = start();
    // Logs as often as the counter it starts with says: 10,001 times.
    let many = bytes!("6127115b5f5fa0600190038060035700");
    chain.lock().set_code(REFUSER_AT, many).unwrap();
    let request = transfer(0).with_to(REFUSER_AT).with_value(U256::ZERO).with_gas_limit(16_000_000);
    let raw = sign(ALICE, request).await;
    chain.lock().send_raw_transaction(&raw).unwrap();
    let error = provider(&chain).get_logs(&Filter::new()).await.unwrap_err();
    assert_eq!(error.as_error_resp().unwrap().message, "query returned more than 10000 results");
}

#[tokio::test]
async fn blocks_and_transactions_are_found_by_number_and_hash_and_hash_to_what_they_say() {
    let chain = start();
    let hash = send_call(&chain, 0, COUNTER_AT, bytes!("01")).await;
    let reader = provider(&chain);
    let block = reader.get_block_by_number(1.into()).full().await.unwrap().unwrap();
    assert_eq!(block.header.inner.hash_slow(), block.header.hash);
    let encoded = block.clone().map_transactions(|transaction| transaction.inner);
    assert_eq!(encoded.calculate_transactions_root(), Some(block.header.transactions_root));
    assert_eq!(block.header.parent_hash, chain.lock().block(0).unwrap().hash);
    let by_hash = reader.get_block_by_hash(block.header.hash).full().await.unwrap();
    assert_eq!(by_hash, Some(block.clone()));
    let transaction = reader.get_transaction_by_hash(hash).await.unwrap().unwrap();
    assert_eq!(transaction.inner.signer(), ALICE.address);
    assert_eq!(transaction.block_hash, Some(block.header.hash));
    let receipts = reader.get_block_receipts(1.into()).await.unwrap().unwrap();
    assert_eq!(receipts.len(), 1);
    assert_eq!(receipts[0].transaction_hash, hash);
    assert!(reader.get_block_by_number(2.into()).await.unwrap().is_none());
    assert!(reader.get_transaction_receipt(B256::ZERO).await.unwrap().is_none());
}

#[tokio::test]
async fn fee_estimates_of_alloy_work() {
    let chain = start();
    send_call(&chain, 0, COUNTER_AT, bytes!("01")).await;
    let reader = provider(&chain);
    let fees = reader.estimate_eip1559_fees().await.unwrap();
    assert!(candor_devchain::BASE_FEE <= u64::try_from(fees.max_fee_per_gas).unwrap());
    assert_eq!(reader.get_gas_price().await.unwrap(), u128::from(candor_devchain::BASE_FEE));
    let history = reader.get_fee_history(10, Default::default(), &[20.0, 50.0]).await.unwrap();
    assert_eq!((history.oldest_block, history.base_fee_per_gas.len()), (0, 3));
    assert_eq!(history.reward, Some(vec![vec![0, 0], vec![0, 0]]));
}

/// The digest was taken before the chain knew of pools, moving fees and reorganisations. It changes only with the form of a block, a receipt
/// or a price that existing programs see.
#[tokio::test]
async fn without_options_every_answer_is_what_it_always_was() {
    let chain = start();
    let mut sent = vec![send_call(&chain, 0, COUNTER_AT, bytes!("01")).await];
    chain.lock().mine().unwrap();
    sent.push(send_call(&chain, 1, CLOCK_READER_AT, Bytes::new()).await);
    let mut text = String::new();
    let mut ask = async |method: &str, params: serde_json::Value| text += &rpc(&chain, method, params).await.to_string();
    for tag in ["0x0", "0x1", "0x2", "0x3", "0x4", "safe", "finalized", "pending", "latest"] {
        ask("eth_getBlockByNumber", json!([tag, true])).await;
        ask("eth_getBlockReceipts", json!([tag])).await;
        ask("eth_getTransactionCount", json!([ALICE.address, tag])).await;
        ask("eth_feeHistory", json!(["0x2", tag, [10.0, 50.0]])).await;
        ask("eth_call", json!([{"to": CLOCK_READER_AT}, tag])).await;
    }
    for hash in sent {
        ask("eth_getTransactionByHash", json!([hash])).await;
        ask("eth_getTransactionReceipt", json!([hash])).await;
    }
    for method in ["eth_gasPrice", "eth_maxPriorityFeePerGas", "eth_blockNumber"] {
        ask(method, json!([])).await;
    }
    ask("eth_feeHistory", json!(["0x0", "latest"])).await;
    ask("eth_getLogs", json!([{"fromBlock": "0x0", "toBlock": "safe"}])).await;
    assert_eq!(keccak256(&text), b256!("a529eb1884db87a48495fa81ac34dadf17058cc619b0fbabd0049c9625f9abfe"), "{text}");
}

#[tokio::test]
async fn a_contract_may_be_the_sender_of_a_call_but_cannot_send_what_it_does_not_have() {
    let chain = start();
    let call = TransactionRequest::default().with_from(COUNTER_AT).with_to(CLOCK_READER_AT);
    assert!(provider(&chain).call(call.clone()).await.is_ok());
    let error = provider(&chain).call(call.with_value(U256::ONE)).await.unwrap_err();
    assert!(error.to_string().contains("insufficient funds"), "{error}");
}

#[tokio::test]
async fn batches_work_in_process() {
    let chain = start();
    let client = candor_devchain::client(&chain);
    let mut batch = client.new_batch();
    let id = batch.add_call::<_, String>("eth_chainId", &()).unwrap();
    let number = batch.add_call::<_, String>("eth_blockNumber", &()).unwrap();
    batch.send().await.unwrap();
    assert_eq!((id.await.unwrap().as_str(), number.await.unwrap().as_str()), ("0x7a69", "0x0"));
}

#[tokio::test]
async fn a_chain_that_is_down_gives_a_transport_error_and_recovers() {
    let chain = start();
    let reader = provider(&chain);
    chain.set_fault(Fault::Down);
    assert!(reader.get_block_number().await.unwrap_err().is_transport_error());
    chain.set_fault(Fault::None);
    assert_eq!(reader.get_block_number().await.unwrap(), 0);
}

#[tokio::test]
async fn a_lagging_node_shows_the_chain_as_it_was() {
    let chain = start();
    send_call(&chain, 0, COUNTER_AT, bytes!("01")).await;
    let hash = send_call(&chain, 1, COUNTER_AT, bytes!("01")).await;
    let reader = provider(&chain);
    chain.set_fault(Fault::Lag { blocks: 1 });
    assert_eq!(reader.get_block_number().await.unwrap(), 1);
    assert!(reader.get_transaction_receipt(hash).await.unwrap().is_none());
    assert_eq!(reader.get_transaction_count(ALICE.address).await.unwrap(), 1);
    assert_eq!(reader.get_storage_at(COUNTER_AT, U256::ZERO).await.unwrap(), U256::ONE);
    let head = chain.lock().head().hash;
    assert!(reader.get_block_by_hash(head).await.unwrap().is_none());
    chain.set_fault(Fault::None);
    assert!(reader.get_transaction_receipt(hash).await.unwrap().is_some());
}

#[tokio::test]
async fn a_dropped_transaction_is_acknowledged_and_never_mined() {
    let chain = start();
    let reader = provider(&chain);
    let raw = sign(ALICE, transfer(0)).await;
    chain.set_fault(Fault::DropTransactions);
    let pending = reader.send_raw_transaction(&raw).await.unwrap();
    assert!(reader.get_transaction_receipt(*pending.tx_hash()).await.unwrap().is_none());
    assert_eq!(chain.lock().head().number, 0);
}

#[tokio::test]
async fn a_lost_reply_hides_that_the_transaction_was_mined() {
    let chain = start();
    let reader = provider(&chain);
    let raw = sign(ALICE, transfer(0)).await;
    chain.set_fault(Fault::LoseSendReply);
    assert!(reader.send_raw_transaction(&raw).await.unwrap_err().is_transport_error());
    assert_eq!(reader.get_block_number().await.unwrap(), 1);
}

#[tokio::test]
async fn a_lying_node_answers_what_the_test_says() {
    let chain = start();
    let reader = provider(&chain);
    chain.set_fault(Fault::Answer { method: "eth_blockNumber".to_owned(), result: "0xff".into() });
    assert_eq!(reader.get_block_number().await.unwrap(), 255);
    assert_eq!(reader.get_chain_id().await.unwrap(), 31337, "other methods tell the truth");
    chain.set_fault(Fault::Refuse { method: "eth_chainId".to_owned(), code: -32016, message: "header not here".to_owned() });
    assert_eq!(code(&reader.get_chain_id().await.unwrap_err()), -32016);
}

#[tokio::test]
async fn a_slow_node_answers_late() {
    let chain = start();
    let reader = provider(&chain);
    // In an hour: anything else comes first.
    chain.set_fault(Fault::Slow { delay_ms: 3_600_000 });
    let asked = tokio::time::timeout(std::time::Duration::from_millis(20), async { reader.get_block_number().await });
    assert!(asked.await.is_err(), "it waits");
    chain.set_fault(Fault::Slow { delay_ms: 1 });
    assert_eq!(reader.get_block_number().await.unwrap(), 0, "and answers");
}

fn word(bytes: &Bytes) -> U256 {
    U256::from_be_slice(bytes)
}

fn code(error: &TransportError) -> i64 {
    error.as_error_resp().expect("an error response").code
}
