//! What the tests of the development chain share: hand-written contracts and short ways to start and sign.
#![allow(dead_code, reason = "each test binary uses its part")]

use alloy::eips::eip2718::Encodable2718;
use alloy::network::{EthereumWallet, NetworkTransactionBuilder, TransactionBuilder};
use alloy::primitives::{Address, B256, Bytes, U256, bytes};
use alloy::rpc::types::TransactionRequest;
use candor_devchain::dev_accounts::{self, DevAccount};
use candor_devchain::{ChainError, Clock, Config, DevChain, Mining, SharedChain};
use serde_json::{Value, json};

pub(crate) const ALICE: DevAccount = dev_accounts::ALL[0];
pub(crate) const BOB: DevAccount = dev_accounts::ALL[1];
pub(crate) const GENESIS_TIME: u64 = 1_800_000_000;
pub(crate) const GWEI: u128 = 1_000_000_000;

/// Without calldata returns slot 0; with calldata adds one to it and logs the new value: topic 0 is 0xaa, topic 1 the value.
pub(crate) const COUNTER: Bytes = bytes!("36600c575f545f5260205ff35b5f54600101805f55805f5260aa60205fa200");

/// Reverts with the error of that selector and the argument 42.
pub(crate) fn refuser(selector: [u8; 4]) -> Bytes {
    [&[0x63][..], &selector, &[0x60, 0xe0, 0x1b, 0x5f, 0x52, 0x60, 0x2a, 0x60, 0x04, 0x52, 0x60, 0x24, 0x5f, 0xfd]].concat().into()
}

/// What a registry does: stops unless `blockhash(word 0) == word 1`, else sets slot 0 to 1.
pub(crate) const BLOCKHASH_CHECK: Bytes = bytes!("5f354060203514600d575f5ffd5b60015f5500");

/// Logs and returns the block's time; returns the block's number after it.
pub(crate) const CLOCK_READER: Bytes = bytes!("425f5260205fa04360205260405ff3");

/// Runs for ever.
pub(crate) const LOOP: Bytes = bytes!("5b5f56");

pub(crate) const COUNTER_AT: Address = Address::with_last_byte(0xc0);
pub(crate) const REFUSER_AT: Address = Address::with_last_byte(0xc1);
pub(crate) const BLOCKHASH_CHECK_AT: Address = Address::with_last_byte(0xc2);
pub(crate) const CLOCK_READER_AT: Address = Address::with_last_byte(0xc3);
pub(crate) const LOOP_AT: Address = Address::with_last_byte(0xc4);

/// The dev accounts and all contracts above but the refuser, on a clock that stands still.
pub(crate) fn config() -> Config {
    Config { genesis_timestamp: Some(GENESIS_TIME), clock: Clock::Manual, ..Config::default() }
        .with_dev_accounts()
        .with_contract(COUNTER_AT, COUNTER, vec![])
        .with_contract(BLOCKHASH_CHECK_AT, BLOCKHASH_CHECK, vec![])
        .with_contract(CLOCK_READER_AT, CLOCK_READER, vec![])
        .with_contract(LOOP_AT, LOOP, vec![])
}

pub(crate) fn start() -> SharedChain {
    start_with(config())
}

/// A chain whose transactions wait until the test calls `mine`.
pub(crate) fn start_slow() -> SharedChain {
    start_with(Config { mining: Mining::Manual, ..config() })
}

pub(crate) fn start_with(config: Config) -> SharedChain {
    SharedChain::new(DevChain::new(config).expect("the test configuration is valid"))
}

/// Code whose execution deploys `runtime`.
pub(crate) fn init_code(runtime: &Bytes) -> Bytes {
    let length = u8::try_from(runtime.len()).expect("test contracts are small");
    [&[0x60, length, 0x80, 0x60, 0x09, 0x5f, 0x39, 0x5f, 0xf3][..], runtime].concat().into()
}

/// A request with everything filled in, so that one field can be made wrong.
pub(crate) fn transfer(nonce: u64) -> TransactionRequest {
    TransactionRequest::default()
        .with_from(ALICE.address)
        .with_to(BOB.address)
        .with_value(U256::ONE)
        .with_nonce(nonce)
        .with_chain_id(31337)
        .with_gas_limit(21_000)
        .with_max_fee_per_gas(2_000_000_000)
        .with_max_priority_fee_per_gas(0)
}

pub(crate) async fn sign(account: DevAccount, request: TransactionRequest) -> Bytes {
    let wallet: EthereumWallet = account.wallet().expect("a valid key");
    let signed = request.build(&wallet).await.expect("a complete request");
    signed.encoded_2718().into()
}

/// Signs and sends straight into the chain.
pub(crate) async fn send(chain: &SharedChain, account: DevAccount, request: TransactionRequest) -> Result<B256, ChainError> {
    let raw = sign(account, request).await;
    chain.lock().send_raw_transaction(&raw)
}

/// The same with other fees, in gwei.
pub(crate) fn bidding(request: TransactionRequest, max_fee: u128, tip: u128) -> TransactionRequest {
    request.with_max_fee_per_gas(max_fee * GWEI).with_max_priority_fee_per_gas(tip * GWEI)
}

/// A call that uses up exactly the gas it is given.
pub(crate) fn burning(nonce: u64, gas: u64) -> TransactionRequest {
    transfer(nonce).with_to(LOOP_AT).with_value(U256::ZERO).with_gas_limit(gas)
}

/// Sends a call of `to` from Alice straight into the chain, with her next nonce.
pub(crate) async fn send_call(chain: &SharedChain, nonce: u64, to: Address, data: Bytes) -> B256 {
    let request = transfer(nonce).with_to(to).with_value(U256::ZERO).with_input(data).with_gas_limit(200_000);
    let raw = sign(ALICE, request).await;
    chain.lock().send_raw_transaction(&raw).expect("a valid transaction")
}

/// One JSON-RPC request through the front door; returns the whole response object.
pub(crate) async fn rpc(chain: &SharedChain, method: &str, params: Value) -> Value {
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    match chain.answer(request.to_string().as_bytes()).await {
        candor_devchain::Reply::Body(text) => serde_json::from_str(&text).expect("answers are JSON"),
        other => panic!("no answer: {other:?}"),
    }
}
