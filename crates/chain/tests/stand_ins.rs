//! Contracts of others on a development chain: they are there before anything is, and a payment by `upto` goes through them.
//!
//! What each does in detail is tested in `contracts/test/`; here that the code that is placed is that code, and that Rust and contracts mean
//! the same by a permit.

mod support;

use alloy::primitives::{Address as EvmAddress, B256, Bytes, U256};
use alloy::providers::Provider as _;
use alloy::rpc::types::TransactionRequest;
use alloy::sol_types::{SolCall as _, SolEvent as _, SolStruct as _, eip712_domain};
use candor_chain::*;
use candor_devchain::provider;
use candor_verify::hash::keccak256;
use candor_verify::receipt::Receipt;
use candor_verify::scheme::{Keeper, PERMIT2, Scheme, Transfer, UPTO_PROXY};
use candor_verify::tags::PAYMENT_PERMIT2;
use candor_verify::time::UnixSeconds;
use candor_verify::{Address, Amount, Hash32, Signature65};
use support::*;

alloy::sol! {
    struct Money {
        bytes32 paymentId;
        uint8 scheme;
        address payer;
        address payee;
        address asset;
        uint256 chainId;
        address settler;
        uint256 maxAmount;
        uint256 charged;
        uint256 cumulativeBefore;
        uint256 cumulativeAfter;
        bytes32 offerDigest;
    }

    struct Half {
        uint8 version;
        bytes32 manifestHash;
        bytes32 logId;
        uint64 sequence;
        Money money;
        bytes32 workHash;
    }

    struct Settlement {
        Half receipt;
        bytes receiptSignature;
        uint256 nonce;
        uint256 deadline;
        uint256 validAfter;
        bytes permitSignature;
    }

    struct TokenPermissions {
        address token;
        uint256 amount;
    }

    struct Witness {
        address to;
        address facilitator;
        uint256 validAfter;
    }

    struct PermitWitnessTransferFrom {
        TokenPermissions permitted;
        address spender;
        uint256 nonce;
        uint256 deadline;
        Witness witness;
    }

    struct Call3 {
        address target;
        bool allowFailure;
        bytes callData;
    }

    struct Row {
        bool success;
        bytes returnData;
    }

    function settle(address kSig, Settlement[] rows) returns (uint256 failed);
    function settlerOf(address kSig) returns (address);
    function approve(address spender, uint256 value) returns (bool);
    function balanceOf(address account) returns (uint256);
    function invalidateUnorderedNonces(uint256 wordPos, uint256 mask);
    function nonceBitmap(address owner, uint256 word) returns (uint256);
    function aggregate3(Call3[] calls) returns (Row[] results);

    event NotSettled(address indexed kSig, bytes32 indexed paymentId, uint256 row, bytes reason);
}

const MAXIMUM: Amount = Amount(100_000);
const CHARGED: Amount = Amount(2_345);

fn evm(address: Address) -> EvmAddress {
    address.0.into()
}

fn bytes(signature: Signature65) -> Bytes {
    signature.0.to_vec().into()
}

/// What a contract answers, to nobody in particular.
async fn ask<C: alloy::sol_types::SolCall>(world: &World, to: Address, call: C) -> C::Return {
    let request = TransactionRequest::default().to(evm(to)).input(call.abi_encode().into());
    C::abi_decode_returns(&provider(&world.shared).call(request).await.unwrap()).unwrap()
}

/// A receipt for this nonce of the payer's, its signature by the enclave's key, and the payer's permit for it.
async fn settlement(world: &World, k_sig: &Signer, nonce: u64) -> Settlement {
    let (asset, payer, settler) = (world.contracts.test_usd, world.payer.address(), settler_of(world, k_sig).await);
    let manifest = world.manifest(k_sig, Hash32([0x22; 32]));
    let mut receipt: Receipt = candor_testkit::honest::receipt(&manifest, nonce);
    let words =
        candor_verify::abi::Words::new().hash(&keccak256(&[PAYMENT_PERMIT2])).u64(31337).address(&PERMIT2).address(&payer).u64(nonce);
    let money = &mut receipt.money;
    (money.payment_id, money.scheme) = (keccak256(&[words.as_slice()]), Scheme::UptoPermit2);
    (money.payer, money.payee, money.asset, money.chain_id) = (payer, world.payee, asset, 31337);
    (money.settler, money.max_amount, money.charged) = (settler, MAXIMUM, CHARGED);
    (money.cumulative_before, money.cumulative_after) = (Amount::ZERO, Amount::ZERO);

    let permit = PermitWitnessTransferFrom {
        permitted: TokenPermissions { token: evm(asset), amount: U256::from(MAXIMUM.0) },
        spender: evm(world.contracts.upto_proxy),
        nonce: U256::from(nonce),
        deadline: U256::from(4_000_000_000_u64),
        witness: Witness { to: evm(world.payee), facilitator: evm(settler), validAfter: U256::ZERO },
    };
    let domain = eip712_domain! { name: "Permit2", chain_id: 31337, verifying_contract: evm(PERMIT2), };
    let digest = Hash32(permit.eip712_signing_hash(&domain).0);
    let money = &receipt.money;
    Settlement {
        receipt: Half {
            version: 2,
            manifestHash: B256::from(receipt.manifest_hash.0),
            logId: B256::from(receipt.log_id.0),
            sequence: receipt.sequence,
            money: Money {
                paymentId: B256::from(money.payment_id.0),
                scheme: 3,
                payer: evm(payer),
                payee: evm(money.payee),
                asset: evm(asset),
                chainId: U256::from(money.chain_id),
                settler: evm(settler),
                maxAmount: U256::from(money.max_amount.0),
                charged: U256::from(money.charged.0),
                cumulativeBefore: U256::ZERO,
                cumulativeAfter: U256::ZERO,
                offerDigest: B256::from(money.offer_digest.0),
            },
            workHash: B256::from(receipt.work.struct_hash().0),
        },
        receiptSignature: bytes(k_sig.sign_digest(&receipt.digest()).unwrap()),
        nonce: permit.nonce,
        deadline: permit.deadline,
        validAfter: U256::ZERO,
        permitSignature: bytes(world.payer.sign_digest(&digest).unwrap()),
    }
}

async fn settler_of(world: &World, k_sig: &Signer) -> Address {
    Address(ask(world, world.contracts.settler_factory, settlerOfCall { kSig: evm(k_sig.address()) }).await.0.0)
}

async fn send(world: &World, from: &Signer, to: &Address, calldata: Vec<u8>) -> TransactionReceipt {
    world.client.send_and_wait(from, Some(to), &calldata).await.unwrap()
}

#[tokio::test]
async fn a_development_chain_has_the_contracts_of_others_before_its_first_transaction() {
    let shared = chain();
    let client = ChainClient::from_provider(provider(&shared), None).await.unwrap();
    assert_eq!(client.head().await.unwrap().number, 0);
    let expected = [PERMIT2, EXACT_PROXY, UPTO_PROXY, MULTICALL3];
    assert_eq!(stand_ins().unwrap().map(|one| one.address), expected);
    for one in stand_ins().unwrap() {
        assert_eq!(client.code_hash(&one.address).await.unwrap(), Some(keccak256(&[&one.code])), "{}", one.name);
    }
}

#[tokio::test]
async fn an_upto_payment_settles_by_its_receipt_through_the_factory() {
    let (world, k_sig) = (World::start().await, Signer::random());
    let (asset, factory) = (world.contracts.test_usd, world.contracts.settler_factory);
    world.mint(&world.payer.address(), Amount(1_000_000)).await;
    send(&world, &world.payer, &asset, approveCall { spender: evm(PERMIT2), value: U256::MAX }.abi_encode()).await;

    let first = settlement(&world, &k_sig, 7).await;
    let calldata = settleCall { kSig: evm(k_sig.address()), rows: vec![first.clone()] }.abi_encode();
    let receipt = send(&world, &world.gas, &factory, calldata.clone()).await;
    assert!(receipt.has_transfer(&asset, &world.payer.address(), &world.payee, CHARGED));
    let bitmap = ask(&world, PERMIT2, nonceBitmapCall { owner: evm(world.payer.address()), word: U256::ZERO }).await;
    assert_eq!(bitmap, U256::from(1 << 7));

    // The same again moves nothing; a second one beside it does, and costs less.
    let second = settlement(&world, &k_sig, 300).await;
    let both = settleCall { kSig: evm(k_sig.address()), rows: vec![first, second] }.abi_encode();
    let again = send(&world, &world.gas, &factory, both).await;
    assert!(again.is_success);
    let refused: Vec<_> = again.logs.iter().filter(|log| log.topics.first() == Some(&Hash32(NotSettled::SIGNATURE_HASH.0))).collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(world.client.token_balance(&asset, &world.payee).await.unwrap(), Amount(2 * CHARGED.0));
    let alone = settlement(&world, &k_sig, 301).await;
    let next = send(&world, &world.gas, &factory, settleCall { kSig: evm(k_sig.address()), rows: vec![alone] }.abi_encode()).await;
    assert!(next.gas_used < receipt.gas_used);
}

#[tokio::test]
async fn a_nonce_that_is_cancelled_long_after_its_use_is_found_by_its_use() {
    let (world, k_sig) = (World::start().await, Signer::random());
    let (asset, payer, factory) = (world.contracts.test_usd, world.payer.address(), world.contracts.settler_factory);
    world.mint(&payer, Amount(1_000_000)).await;
    send(&world, &world.payer, &asset, approveCall { spender: evm(PERMIT2), value: U256::MAX }.abi_encode()).await;
    let row = settlement(&world, &k_sig, 7).await;
    let payment_id = Hash32(row.receipt.money.paymentId.0);
    let settled = send(&world, &world.gas, &factory, settleCall { kSig: evm(k_sig.address()), rows: vec![row] }.abi_encode()).await;
    for _ in 0..1_001 {
        world.shared.lock().mine().unwrap();
    }
    let cancel = invalidateUnorderedNoncesCall { wordPos: U256::ZERO, mask: U256::from(1 << 7) }.abi_encode();
    assert!(send(&world, &world.payer, &PERMIT2, cancel).await.is_success);

    let mut nonce = Hash32::ZERO;
    nonce.0[31] = 7;
    let transfer = Transfer {
        keeper: Keeper::Permit2 { settler: settler_of(&world, &k_sig).await },
        payment_id,
        asset,
        payer,
        payee: world.payee,
        amount: CHARGED,
        nonce,
        valid_after: UnixSeconds(0),
        valid_before: UnixSeconds(4_000_000_000),
    };
    let found = world.client.nonce_ended(&transfer, UnixSeconds(0)..=transfer.valid_before).await.unwrap();
    assert_eq!(found.map(|at| at.tx_hash), Some(settled.hash));
}

#[tokio::test]
async fn a_permit_is_settled_by_nobody_but_its_settler() {
    let (world, k_sig) = (World::start().await, Signer::random());
    let factory = world.contracts.settler_factory;
    world.mint(&world.payer.address(), Amount(1_000_000)).await;
    let approve = approveCall { spender: evm(PERMIT2), value: U256::MAX }.abi_encode();
    send(&world, &world.payer, &world.contracts.test_usd, approve).await;
    // Another enclave's key signs for it: its settler is not the one that the payer named.
    let (mine, other) = (settlement(&world, &k_sig, 1).await, Signer::random());
    let stolen = settleCall { kSig: evm(other.address()), rows: vec![mine.clone()] }.abi_encode();
    assert!(send(&world, &world.gas, &factory, stolen).await.is_success);
    assert_eq!(world.client.token_balance(&world.contracts.test_usd, &world.payee).await.unwrap(), Amount::ZERO);
    // And is as good as before.
    send(&world, &world.gas, &factory, settleCall { kSig: evm(k_sig.address()), rows: vec![mine] }.abi_encode()).await;
    assert_eq!(world.client.token_balance(&world.contracts.test_usd, &world.payee).await.unwrap(), CHARGED);
}

#[tokio::test]
async fn one_question_asks_many_and_a_bad_one_spoils_no_other() {
    let world = World::start().await;
    world.mint(&world.payee, Amount(9)).await;
    let balance = balanceOfCall { account: evm(world.payee) }.abi_encode();
    let call = |target: Address, data: &[u8]| Call3 { target: evm(target), allowFailure: true, callData: data.to_vec().into() };
    let calls = vec![call(world.contracts.test_usd, &balance), call(world.contracts.test_usd, b"nothing"), call(MULTICALL3, &balance)];
    let rows = ask(&world, MULTICALL3, aggregate3Call { calls }).await;
    assert_eq!(rows.iter().map(|row| row.success).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(rows[0].returnData, Bytes::from(U256::from(9).to_be_bytes::<32>()));
}
