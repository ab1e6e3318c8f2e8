//! The contracts on the embedded chain, through this crate only: deploy, register, read back, anchor, prove, pay.

mod support;

use std::time::Duration;

use candor_chain::*;
use candor_devchain::Fault;
use candor_verify::checkpoint::{Checkpoint, Ed25519Signature, SignedCheckpoint};
use candor_verify::manifest::Manifest;
use candor_verify::payment::{Authorization, TokenDomain};
use candor_verify::receipt::Receipt;
use candor_verify::time::{UnixMs, UnixSeconds};
use candor_verify::tlog::{Tree, leaf_data, leaf_hash, node_hash};
use candor_verify::{Address, Amount, Hash32, Signature65};
use support::*;

const K_LOG: Hash32 = Hash32([0x22; 32]);

fn receipt(world: &World, manifest: &Manifest, finished_at: u64) -> Receipt {
    let mut receipt = candor_testkit::honest::receipt(manifest, 1);
    (receipt.money.payer, receipt.money.asset) = (world.payer.address(), world.contracts.test_usd);
    (receipt.work.model_id, receipt.work.started_at, receipt.work.finished_at) = (MODEL, UnixMs(finished_at), UnixMs(finished_at));
    receipt
}

fn signed(k_sig: &Signer, log_id: Hash32, tree: Tree) -> SignedCheckpoint {
    let checkpoint = Checkpoint { log_id, tree, timestamp: UnixMs(5) };
    let signature = k_sig.sign_digest(&checkpoint.digest()).unwrap();
    SignedCheckpoint { checkpoint, note_signature: Ed25519Signature([0; 64]), signature, cosignatures: vec![] }
}

#[tokio::test]
async fn a_deployment_is_where_its_key_says_and_is_found_again() {
    let world = World::start().await;
    assert_eq!(world.contracts, Deployment::of(31337, &world.deployer.address()));
    let config = DeployConfig { attestors: vec![world.attestor.address()], threshold: 1 };
    let again = Deployment::deploy(&world.client, &world.deployer, &config).await.unwrap();
    assert_eq!(again, world.contracts);
    // A key that has done other things cannot have the contracts at the fixed addresses.
    world.client.send_and_wait(&world.gas, Some(&world.contracts.test_usd), &mint_calldata(&world.payee, Amount(1))).await.unwrap();
    let used = Deployment::deploy(&world.client, &world.gas, &config).await;
    assert!(matches!(used, Err(DeployError::DeployerUsed { nonce: 1 })), "{used:?}");
}

#[tokio::test]
async fn a_registration_reads_back_and_renews() {
    let world = World::start().await;
    let k_sig = Signer::random();
    let manifest = world.manifest(&k_sig, K_LOG);
    let registry = world.contracts.registry;
    assert_eq!(world.client.enclave(&registry, &k_sig.address()).await.unwrap(), None);
    world.register(&manifest, &k_sig).await;

    assert_eq!(world.client.enclaves(&registry, 0).await.unwrap(), [k_sig.address()]);
    let record = world.client.enclave(&registry, &k_sig.address()).await.unwrap().unwrap();
    assert_eq!((record.log_id, record.manifest_hash), (manifest.log_id(), manifest.hash()));
    assert_eq!(record.workload_id, workload(&world.attestor.address()));
    let registered = world.client.registered(&registry, &record).await.unwrap();
    assert_eq!(registered.manifest, manifest);
    assert_eq!(registered.document, DOCUMENT);
    assert_eq!(registered.terms_data, world.terms().encode());
    assert_eq!(world.client.newest_renewal(&registry, &record, &registered).await.unwrap(), None);
    let status = world.client.status_at(&registry, &k_sig.address(), record.valid_from).await.unwrap();
    assert_eq!(status, EnclaveStatus::Valid);
    assert_eq!(world.client.signer_of(&registry, &manifest.log_id()).await.unwrap(), Some(k_sig.address()));
    assert_eq!(world.client.successor_of(&registry, &manifest.log_id()).await.unwrap(), None);

    world.shared.lock().increase_time(60).unwrap();
    world.shared.lock().mine().unwrap();
    let head = world.client.head().await.unwrap();
    let newer = world.submission(&manifest, b"a newer document", &head, Signature65([0; 65]));
    let calldata = renew_calldata(&k_sig.address(), &newer.document, &newer.verifier_data, &newer.freshness);
    world.client.send_and_wait(&world.gas, Some(&registry), &calldata).await.unwrap();
    let record = world.client.enclave(&registry, &k_sig.address()).await.unwrap().unwrap();
    let renewal = world.client.newest_renewal(&registry, &record, &registered).await.unwrap().unwrap();
    assert_eq!((renewal.document.as_slice(), renewal.freshness), (&b"a newer document"[..], newer.freshness));
}

#[tokio::test]
async fn refusals_of_contracts_have_names() {
    let world = World::start().await;
    let k_sig = Signer::random();
    let manifest = world.manifest(&k_sig, K_LOG);
    world.register(&manifest, &k_sig).await;
    let head = world.client.head().await.unwrap();
    let again = world.submission(&manifest, DOCUMENT, &head, Signature65([0; 65])).calldata().unwrap();
    let error = world.client.send_and_wait(&world.deployer, Some(&world.contracts.registry), &again).await.unwrap_err();
    assert_eq!(error.revert_name().as_deref(), Some("AlreadyRegistered"), "{error}");

    let other = signed(&Signer::random(), manifest.log_id(), Tree { size: 1, root: Hash32([1; 32]) });
    let calldata = anchor_calldata(&other, &[]);
    let error = world.client.estimate_gas(&world.gas.address(), Some(&world.contracts.log_anchor), &calldata).await.unwrap_err();
    assert_eq!(error.revert_name().as_deref(), Some("SignerNotRegistered"), "{error}");
}

#[tokio::test]
async fn an_anchored_receipt_is_proven_under_its_policy_only() {
    let world = World::start().await;
    let k_sig = Signer::random();
    let manifest = world.manifest(&k_sig, K_LOG);
    world.register(&manifest, &k_sig).await;
    let record = world.client.enclave(&world.contracts.registry, &k_sig.address()).await.unwrap().unwrap();

    let receipt = receipt(&world, &manifest, record.valid_from.ms().0);
    let signature = k_sig.sign_digest(&receipt.digest()).unwrap();
    let salt = Hash32([0x33; 32]);
    let first = leaf_hash(b"somebody else's");
    let second = leaf_hash(&leaf_data(&salt, &receipt.digest(), &signature).0);
    let one = signed(&k_sig, manifest.log_id(), Tree { size: 1, root: first });
    let two = signed(&k_sig, manifest.log_id(), Tree { size: 2, root: node_hash(&first, &second) });
    let anchor = world.contracts.log_anchor;
    assert_eq!(world.client.latest_anchor(&anchor, &manifest.log_id()).await.unwrap(), None);
    world.client.send_and_wait(&world.gas, Some(&anchor), &anchor_calldata(&one, &[])).await.unwrap();
    world.client.send_and_wait(&world.gas, Some(&anchor), &anchor_calldata(&two, &[second])).await.unwrap();
    let latest = world.client.latest_anchor(&anchor, &manifest.log_id()).await.unwrap().unwrap();
    assert_eq!((latest.size, latest.root), (2, two.checkpoint.tree.root));
    assert_eq!(world.client.anchor_at(&anchor, &manifest.log_id(), 1).await.unwrap().unwrap().root, first);
    assert_eq!(world.client.anchor_at(&anchor, &manifest.log_id(), 3).await.unwrap(), None);

    let policy_salt = Hash32([0x44; 32]);
    let policy_id = policy_id(&world.deployer.address(), &policy_salt);
    let policies = world.contracts.workload_policy;
    assert_eq!(world.client.policy_owner(&policies, &policy_id).await.unwrap(), None);
    let request = ProveRequest { receipt: receipt.clone(), signature, log_salt: salt, anchored_size: 2, inclusion: vec![first], policy_id };
    let refused = world.client.prove(&world.contracts.receipt_verifier, &request).await.unwrap_err();
    assert_eq!(refused.revert_name().as_deref(), Some("NotAccepted"), "{refused}");
    world.client.send_and_wait(&world.deployer, Some(&policies), &create_policy_calldata(&policy_salt, 0)).await.unwrap();
    world
        .client
        .send_and_wait(&world.deployer, Some(&policies), &propose_workload_calldata(&policy_id, &record.workload_id))
        .await
        .unwrap();
    assert!(world.client.policy_accepts(&policies, &policy_id, &record.workload_id, &record.operator).await.unwrap());
    let proven = world.client.prove(&world.contracts.receipt_verifier, &request).await.unwrap();
    assert_eq!((proven.receipt_digest, proven.k_sig), (receipt.digest(), k_sig.address()));
    assert_eq!(proven.anchored_at, latest.anchored_at);

    let altered = ProveRequest { receipt: Receipt { manifest_hash: Hash32([9; 32]), ..receipt }, ..request };
    let refused = world.client.prove(&world.contracts.receipt_verifier, &altered).await.unwrap_err();
    assert_eq!(refused.revert_name().as_deref(), Some("SignerNotRegistered"), "{refused}");
}

#[tokio::test]
async fn a_payment_is_found_where_it_happened() {
    let world = World::start().await;
    let (asset, payer) = (world.contracts.test_usd, world.payer.address());
    world.mint(&payer, Amount(5000)).await;
    let authorization = Authorization {
        from: payer,
        to: world.payee,
        value: Amount(1000),
        valid_after: UnixSeconds(0),
        valid_before: UnixSeconds(4_000_000_000),
        nonce: Hash32([7; 32]),
    };
    let nothing = world.client.payer_state(&Address([1; 20]), &payer, &authorization.nonce).await.unwrap();
    assert_eq!(nothing, PayerState { asset_has_code: false, balance: Amount::ZERO, nonce_used: false });
    let before = world.client.payer_state(&asset, &payer, &authorization.nonce).await.unwrap();
    assert_eq!(before, PayerState { asset_has_code: true, balance: Amount(5000), nonce_used: false });
    // Code that was seen is not asked for again.
    world.shared.set_fault(Fault::Refuse { method: "eth_getCode".to_owned(), code: -32000, message: "busy".to_owned() });
    assert_eq!(world.client.payer_state(&asset, &payer, &authorization.nonce).await, Ok(before));
    world.shared.set_fault(Fault::None);

    let domain = TokenDomain { name: "USDC".into(), version: "2".into(), chain_id: 31337, asset };
    let signature = world.payer.sign_digest(&authorization.digest(&domain)).unwrap();
    let calldata = candor_x402_calldata(&authorization, &signature);
    let receipt = world.client.send_and_wait(&world.gas, Some(&asset), &calldata).await.unwrap();
    assert_eq!(receipt.from, world.gas.address());
    assert!(receipt.has_transfer(&asset, &payer, &world.payee, Amount(1000)));
    assert!(!receipt.has_transfer(&asset, &payer, &world.payee, Amount(1001)));
    let found =
        world.client.authorization_ended(&asset, &payer, &authorization.nonce, UnixSeconds(0)..=UnixSeconds(u64::MAX)).await.unwrap();
    assert_eq!(found, Some(LogPosition { tx_hash: receipt.hash, block_number: receipt.block_number }));
    let other = world.client.authorization_ended(&asset, &payer, &Hash32([8; 32]), UnixSeconds(0)..=UnixSeconds(u64::MAX)).await.unwrap();
    assert_eq!(other, None);
    assert!(world.client.payer_state(&asset, &payer, &authorization.nonce).await.unwrap().nonce_used);

    // Long ago: found by its time, between the newest blocks and the first.
    let then = world.client.block_by_number(receipt.block_number).await.unwrap().unwrap().timestamp;
    for _ in 0..4_100 {
        world.shared.lock().increase_time(1).unwrap();
        world.shared.lock().mine().unwrap();
    }
    let nonce = &authorization.nonce;
    let found = world.client.authorization_ended(&asset, &payer, nonce, then..=then.saturating_add(300)).await.unwrap();
    assert_eq!(found, Some(LogPosition { tx_hash: receipt.hash, block_number: receipt.block_number }));
    assert_eq!(
        world.client.authorization_ended(&asset, &payer, nonce, then.saturating_add(10)..=then.saturating_add(300)).await.unwrap(),
        None
    );
    assert_eq!(world.client.token_balance(&asset, &world.payee).await.unwrap(), Amount(1000));
}

/// The (v, r, s) overload, written out so that this test does not share the encoder it checks.
fn candor_x402_calldata(a: &Authorization, signature: &candor_verify::Signature65) -> Vec<u8> {
    let words = candor_verify::abi::Words::new()
        .address(&a.from)
        .address(&a.to)
        .amount(a.value)
        .u64(a.valid_after.0)
        .u64(a.valid_before.0)
        .hash(&a.nonce)
        .u64(signature.0[64].into());
    [&[0xe3, 0xee, 0x16, 0x0e], words.as_slice(), &signature.0[..64]].concat()
}

#[tokio::test]
async fn the_same_bytes_may_be_broadcast_twice() {
    let world = World::start().await;
    let tx = Transaction {
        chain_id: 31337,
        nonce: world.client.nonce(&world.gas.address(), NonceAt::Pending).await.unwrap(),
        gas_limit: 100_000,
        fees: world.client.fees().await.unwrap(),
        to: Some(world.contracts.test_usd),
        value: Amount::ZERO,
        calldata: mint_calldata(&world.payee, Amount(3)),
    };
    let signed = world.gas.sign_transaction(&tx).unwrap();
    assert!(!world.client.knows(&signed.hash).await.unwrap());
    world.client.broadcast(&signed).await.unwrap();
    world.client.broadcast(&signed).await.unwrap();
    assert_eq!(world.client.wait_for(&signed.hash, Duration::from_secs(5)).await.unwrap().hash, signed.hash);
    let other = world.gas.sign_transaction(&Transaction { gas_limit: 100_001, ..tx }).unwrap();
    assert!(matches!(world.client.broadcast(&other).await, Err(ChainError::Rejected { .. })));
    assert_eq!(world.client.token_balance(&world.contracts.test_usd, &world.payee).await.unwrap(), Amount(3));
}

#[tokio::test]
async fn another_chain_than_expected_is_refused_at_connect() {
    let world = World::start().await;
    let wrong = ChainClient::from_provider(candor_devchain::provider(&world.shared), Some(1)).await;
    assert!(matches!(wrong, Err(ChainError::Misuse { .. })));
    let url = ChainClient::connect("not a url", None).await;
    assert!(matches!(url, Err(ChainError::Misuse { .. })));
    // Port 1 on loopback: nobody listens.
    let down = ChainClient::connect("http://127.0.0.1:1", None).await;
    assert!(down.as_ref().is_err_and(ChainError::is_temporary), "{down:?}");
}

#[tokio::test]
async fn no_error_shows_more_of_an_rpc_url_than_scheme_host_and_port() {
    // Port 1 on loopback: nobody listens.
    for url in ["http://name:SECRET1@127.0.0.1:1/v2/SECRET2?token=SECRET3", "ftp://127.0.0.1/SECRET4", "http://127.0.0.1:SECRET5/"] {
        let error = ChainClient::connect(url, None).await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("SECRET"), "{shown}");
        assert_eq!(error.kind() == "unreachable", shown.contains("the chain at http://127.0.0.1:1/… cannot be reached"), "{shown}");
    }
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_is_a_timeout_or_unavailable() {
    let world = World::start().await;
    let client = world.client.clone().with_timeout(Duration::from_millis(50));
    world.shared.set_fault(Fault::Slow { delay_ms: 2_000 });
    assert!(matches!(client.head().await, Err(ChainError::Timeout { .. })));
    world.shared.set_fault(Fault::Down);
    assert!(matches!(client.head().await, Err(ChainError::Unavailable { .. })));
    world.shared.set_fault(Fault::None);
    assert!(client.head().await.is_ok());
}

#[tokio::test]
async fn the_same_chain_over_http() {
    let world = World::start().await;
    let server = candor_devchain::serve(world.shared.clone(), ([127, 0, 0, 1], 0).into()).await.unwrap();
    let client = ChainClient::connect(&server.url(), Some(31337)).await.unwrap();
    assert_eq!(client.head().await.unwrap(), world.client.head().await.unwrap());
    let receipt = client.send_and_wait(&world.gas, Some(&world.contracts.test_usd), &mint_calldata(&world.payee, Amount(9))).await.unwrap();
    assert!(receipt.has_transfer(&world.contracts.test_usd, &Address::ZERO, &world.payee, Amount(9)));
}
