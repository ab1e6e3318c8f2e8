//! The contracts on the embedded chain, through this crate only: deploy, register, read back, anchor, prove, pay.

mod support;

use std::time::Duration;

use candor_chain::*;
use candor_devchain::{Config, DevChain, Fault, SharedChain};
use candor_verify::checkpoint::{Checkpoint, Ed25519Signature, SignedCheckpoint};
use candor_verify::manifest::Manifest;
use candor_verify::payment::{Authorization, TokenDomain};
use candor_verify::receipt::Receipt;
use candor_verify::scheme::{Keeper, SETTLER_FACTORY, Scheme, Through, Transfer, UPTO_PROXY};
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
async fn a_deployment_is_where_its_code_says_and_is_found_again_whoever_looks() {
    let world = World::start().await;
    let config = DeployConfig { attestors: vec![world.attestor.address()], threshold: 1, with_play_money: true };
    assert_eq!(world.contracts, Deployment::of(31337, &config).unwrap());
    // Another payer, and nothing is sent.
    let (head, before) = (world.client.head().await.unwrap(), world.client.native_balance(&world.gas.address()).await.unwrap());
    let again = Deployment::deploy(&world.client, &world.gas, &config).await.unwrap();
    assert_eq!((again, world.client.head().await.unwrap()), (world.contracts, head));
    assert_eq!(world.client.native_balance(&world.gas.address()).await.unwrap(), before);
    // Clients know the one factory of settlers by its address alone.
    assert_eq!((again.settler_factory, again.upto_proxy), (SETTLER_FACTORY, UPTO_PROXY));
    // Other attestors are another verifier, and the same registry.
    let others = DeployConfig { attestors: vec![world.payer.address(), world.gas.address()], threshold: 2, with_play_money: false };
    let other = Deployment::deploy(&world.client, &world.gas, &others).await.unwrap();
    assert_ne!(other.quorum_verifier, again.quorum_verifier);
    assert_eq!((other.registry, other.workload_policy), (again.registry, again.workload_policy));
    let pieces = Deployment::pieces(&world.client, &config).await.unwrap();
    let missing: Vec<&str> = pieces.iter().filter(|piece| piece.code_hash.is_none()).map(|piece| piece.name).collect();
    assert_eq!((pieces.len(), missing), (7, vec![]));
}

#[tokio::test]
async fn a_chain_without_x402s_proxy_gets_all_but_settlers() {
    let shared = SharedChain::new(DevChain::new(Config::default().with_dev_accounts()).unwrap());
    let client = ChainClient::from_provider(candor_devchain::provider(&shared), None).await.unwrap();
    let config = DeployConfig { attestors: vec![Address([1; 20])], threshold: 1, with_play_money: true };
    let deployment = Deployment::deploy(&client, &dev_signer(0), &config).await.unwrap();
    let pieces = Deployment::pieces(&client, &config).await.unwrap();
    let missing: Vec<Address> = pieces.iter().filter(|piece| piece.code_hash.is_none()).map(|piece| piece.address).collect();
    assert_eq!(missing, [deployment.settler_factory]);
    assert!(!client.has_code(&deployment.upto_proxy).await.unwrap());
}

#[tokio::test]
async fn a_chain_without_the_deterministic_deployer_is_told_apart() {
    let accounts = Config::default().with_dev_accounts();
    let genesis = accounts.genesis.into_iter().filter(|account| account.code.is_empty()).collect();
    let shared = SharedChain::new(DevChain::new(Config { genesis, ..Config::default() }).unwrap());
    let client = ChainClient::from_provider(candor_devchain::provider(&shared), None).await.unwrap();
    let config = DeployConfig { attestors: vec![Address([1; 20])], threshold: 1, with_play_money: true };
    let refused = Deployment::deploy(&client, &support::dev_signer(0), &config).await;
    assert!(matches!(refused, Err(DeployError::NoDeployer)), "{refused:?}");
}

#[tokio::test]
async fn a_registration_reads_back_and_renews() {
    let world = World::start().await;
    let k_sig = Signer::random();
    let manifest = world.manifest(&k_sig, K_LOG);
    let registry = world.contracts.registry;
    assert_eq!(world.client.key_status(&registry, &k_sig.address()).await.unwrap(), None);
    assert_eq!(world.client.newest_registration(&registry, &RegistrationList::All).await.unwrap(), None);
    world.register(&manifest, &k_sig).await;

    let status = world.status(&k_sig).await;
    assert_eq!((status.invalid_from, status.revoked_at, status.is_forked, status.last_size), (None, None, false, 0));
    let registered = world.client.registered(&registry, &k_sig.address(), &status).await.unwrap();
    let record = registered.record;
    assert_eq!((record.log_id, record.manifest_hash, record.operator), (manifest.log_id(), manifest.hash(), manifest.operator));
    assert_eq!((record.workload_id, record.verifier), (workload(&world.attestor.address()), world.contracts.quorum_verifier));
    let boot = registered.boot.unwrap();
    assert_eq!((&boot.manifest, boot.document.as_slice(), &boot.terms_data), (&manifest, DOCUMENT, &world.terms().encode()));
    assert_eq!(world.client.newest_renewal(&registry, &k_sig.address(), &status).await.unwrap(), None);
    let stale = status.valid_until.saturating_add(STALE_SECONDS);
    assert_eq!((status.standing(stale), status.standing(stale.saturating_add(1))), (Standing::Valid, Standing::Lapsed));
    assert_eq!(world.client.key_of(&registry, &manifest.log_id()).await.unwrap(), Some(k_sig.address()));
    assert_eq!(world.client.successor_of(&registry, &manifest.log_id()).await.unwrap(), None);

    world.shared.lock().increase_time(60).unwrap();
    world.shared.lock().mine().unwrap();
    let head = world.client.head().await.unwrap();
    let newer = world.submission(&manifest, b"a newer document", &head, Signature65([0; 65]));
    let calldata = renew_calldata(&record, &newer.document, &newer.verifier_data, &newer.freshness);
    world.client.send_and_wait(&world.gas, Some(&registry), &calldata).await.unwrap();
    let renewed = world.status(&k_sig).await;
    assert!(status.valid_until < renewed.valid_until);
    let renewal = world.client.newest_renewal(&registry, &k_sig.address(), &renewed).await.unwrap().unwrap();
    assert_eq!((renewal.document.as_slice(), renewal.freshness), (&b"a newer document"[..], newer.freshness));
}

/// Each list is read newest first, from block to block, and holds what it says.
#[tokio::test]
async fn registrations_are_linked_by_operator_and_by_listed_id() {
    let world = World::start().await;
    let registry = world.contracts.registry;
    let keys: Vec<Signer> = (0..3).map(|_| Signer::random()).collect();
    for key in &keys {
        world.register(&world.manifest(key, K_LOG), key).await;
    }
    let record = world.record(&keys[0]).await;
    let expected = [&keys[2], &keys[1], &keys[0]].map(Signer::address);
    for list in [RegistrationList::All, RegistrationList::Operator(record.operator), RegistrationList::Listed(record.listed_id())] {
        let mut next = world.client.newest_registration(&registry, &list).await.unwrap();
        let mut found = Vec::new();
        while let Some(block) = next {
            let (registrations, before) = world.client.registrations_in(&registry, &list, block).await.unwrap();
            found.extend(registrations.iter().map(|registered| registered.record.k_sig));
            next = before;
        }
        assert_eq!(found, expected, "{list:?}");
    }
    let nobody = RegistrationList::Operator(world.payee);
    assert_eq!(world.client.newest_registration(&registry, &nobody).await.unwrap(), None);
}

#[tokio::test]
async fn an_ended_key_says_so_whatever_its_documents_say() {
    let world = World::start().await;
    let k_sig = Signer::random();
    world.register(&world.manifest(&k_sig, K_LOG), &k_sig).await;
    let registry = world.contracts.registry;
    let record = world.record(&k_sig).await;
    let refused = world.client.send_and_wait(&world.gas, Some(&registry), &retire_calldata(&record)).await.unwrap_err();
    assert_eq!(refused.revert_name().as_deref(), Some("NotTheOperator"), "{refused}");
    for (calldata, standing) in [(retire_calldata(&record), Standing::Retired), (revoke_calldata(&record), Standing::Revoked)] {
        world.client.send_and_wait(&world.operator, Some(&registry), &calldata).await.unwrap();
        assert_eq!(world.status(&k_sig).await.standing(UnixSeconds(0)), standing);
    }
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
    let stranger = Signer::random();
    let nobody = Record { k_sig: stranger.address(), ..world.record(&k_sig).await };
    let calldata = anchor_calldata(&nobody, &other, None, &[]);
    let error = world.client.estimate_gas(&world.gas.address(), Some(&world.contracts.registry), &calldata).await.unwrap_err();
    assert_eq!(error.revert_name().as_deref(), Some("NotRegistered"), "{error}");
}

#[tokio::test]
async fn an_anchored_receipt_is_proven_under_its_policy_only() {
    let world = World::start().await;
    let k_sig = Signer::random();
    let manifest = world.manifest(&k_sig, K_LOG);
    world.register(&manifest, &k_sig).await;
    let (registry, record) = (world.contracts.registry, world.record(&k_sig).await);

    let receipt = receipt(&world, &manifest, world.client.head().await.unwrap().timestamp.ms().0);
    let signature = k_sig.sign_digest(&receipt.digest()).unwrap();
    let salt = Hash32([0x33; 32]);
    let first = leaf_hash(b"somebody else's");
    let second = leaf_hash(&leaf_data(&salt, &receipt.digest(), &signature).0);
    let one = signed(&k_sig, manifest.log_id(), Tree { size: 1, root: first });
    let two = signed(&k_sig, manifest.log_id(), Tree { size: 2, root: node_hash(&first, &second) });
    assert_eq!(world.client.latest_anchor(&registry, &k_sig.address()).await.unwrap(), None);
    world.client.send_and_wait(&world.gas, Some(&registry), &anchor_calldata(&record, &one, None, &[])).await.unwrap();
    let last = world.client.latest_anchor(&registry, &k_sig.address()).await.unwrap().unwrap();
    let calldata = anchor_calldata(&record, &two, Some(&last), &[second]);
    world.client.send_and_wait(&world.gas, Some(&registry), &calldata).await.unwrap();
    let latest = world.client.latest_anchor(&registry, &k_sig.address()).await.unwrap().unwrap();
    assert_eq!((latest.tree, latest.signature, latest.timestamp), (two.checkpoint.tree, two.signature, two.checkpoint.timestamp));
    let status = world.status(&k_sig).await;
    assert_eq!(world.client.anchors(&registry, &k_sig.address(), &status).await.unwrap(), [last, latest]);
    assert_eq!(world.client.anchors_at(&registry, &k_sig.address(), &status, &[1, 3]).await.unwrap(), [last]);
    assert_eq!(world.client.observed(&registry, &k_sig.address(), &latest.tree).await.unwrap(), None);
    // A successor brings this record, and the time of the anchor that it names.
    let predecessor = world.client.predecessor(&registry, &manifest.log_id(), 1).await.unwrap();
    assert_eq!(predecessor, Some((record, last.anchored_at)));

    let policy = NewPolicy {
        owner: Address::ZERO,
        salt: Hash32([0x44; 32]),
        delay: 0,
        max_lookback: 0,
        listings: vec![(record.listed_id(), UnixSeconds(0))],
    };
    let (policies, policy_id) = (world.contracts.workload_policy, policy.id());
    assert!(!world.client.policy_exists(&policies, &policy_id).await.unwrap());
    let proof = ReceiptProof {
        receipt: receipt.clone(),
        signature,
        log_salt: salt,
        record,
        anchored: Some((HoldingTree { size: 2, inclusion: vec![first] }, latest.anchored_at)),
        observed: None,
        policy_id,
        schemes: vec![receipt.money.scheme],
        accepts_uncharged: false,
        accepts_observation: false,
    };
    let refused = world.client.prove(&registry, &proof).await.unwrap_err();
    assert_eq!(refused.revert_name().as_deref(), Some("NotAccepted"), "{refused}");
    // Anyone may make it, and it is the one that its id says.
    world.client.send_and_wait(&world.gas, Some(&policies), &policy.calldata()).await.unwrap();
    assert!(world.client.policy_exists(&policies, &policy_id).await.unwrap());
    let finished = receipt.work.finished_at.seconds();
    assert!(world.client.policy_accepts(&policies, &policy_id, &record, finished, latest.anchored_at).await.unwrap());
    let proven = world.client.prove(&registry, &proof).await.unwrap();
    assert_eq!((proven.receipt_digest, proven.k_sig, proven.listed_id), (receipt.digest(), k_sig.address(), record.listed_id()));
    assert_eq!((proven.seen_at, proven.finished, proven.is_in_sequence), (latest.anchored_at, finished, true));

    let altered = ReceiptProof { receipt: Receipt { manifest_hash: Hash32([9; 32]), ..receipt }, ..proof };
    let refused = world.client.prove(&registry, &altered).await.unwrap_err();
    assert_eq!(refused.revert_name().as_deref(), Some("NotSignedByTheRecord"), "{refused}");
}

#[tokio::test]
async fn an_endpoint_that_shows_few_blocks_at_once_is_asked_more_often() {
    let world = World::start().await;
    let k_sig = Signer::random();
    let manifest = world.manifest(&k_sig, K_LOG);
    world.register(&manifest, &k_sig).await;
    let (registry, record) = (world.contracts.registry, world.record(&k_sig).await);
    let mut anchors: Vec<Anchor> = Vec::new();
    let leaf = leaf_hash(b"a leaf");
    let trees = [Tree { size: 1, root: leaf }, Tree { size: 2, root: node_hash(&leaf, &leaf) }];
    for (tree, proof) in trees.into_iter().zip([vec![], vec![leaf]]) {
        for _ in 0..50 {
            world.shared.lock().mine().unwrap();
        }
        let signed = signed(&k_sig, manifest.log_id(), tree);
        let calldata = anchor_calldata(&record, &signed, anchors.last(), &proof);
        world.client.send_and_wait(&world.gas, Some(&registry), &calldata).await.unwrap();
        anchors.push(world.client.latest_anchor(&registry, &k_sig.address()).await.unwrap().unwrap());
    }
    let status = world.status(&k_sig).await;
    for blocks in [1_000, 7, 1] {
        world.shared.set_fault(Fault::NarrowLogs { blocks });
        assert_eq!(world.client.anchors(&registry, &k_sig.address(), &status).await.unwrap(), anchors, "{blocks}");
        assert_eq!(world.client.anchors_at(&registry, &k_sig.address(), &status, &[1, 2]).await.unwrap(), anchors, "{blocks}");
    }
    // One that shows nothing at all says so itself.
    world.shared.set_fault(Fault::NarrowLogs { blocks: 0 });
    let error = world.client.anchors(&registry, &k_sig.address(), &status).await.unwrap_err();
    assert!(error.to_string().contains("more than 0 blocks"), "{error}");
}

#[tokio::test]
async fn an_endpoint_that_hides_an_anchor_is_found_out() {
    let world = World::start().await;
    let k_sig = Signer::random();
    let manifest = world.manifest(&k_sig, K_LOG);
    world.register(&manifest, &k_sig).await;
    let (registry, record) = (world.contracts.registry, world.record(&k_sig).await);
    let leaf = leaf_hash(b"a leaf");
    let trees = [Tree { size: 1, root: leaf }, Tree { size: 2, root: node_hash(&leaf, &leaf) }];
    let one = signed(&k_sig, manifest.log_id(), trees[0]);
    world.client.send_and_wait(&world.gas, Some(&registry), &anchor_calldata(&record, &one, None, &[])).await.unwrap();
    let first = world.client.latest_anchor(&registry, &k_sig.address()).await.unwrap().unwrap();
    let two = signed(&k_sig, manifest.log_id(), trees[1]);
    world.client.send_and_wait(&world.gas, Some(&registry), &anchor_calldata(&record, &two, Some(&first), &[leaf])).await.unwrap();
    let status = world.status(&k_sig).await;
    // The last alone, as the endpoint would show it if it had lost the others.
    let block = format!("0x{:x}", status.anchored_block);
    let filter = serde_json::json!({"address": registry.to_string(), "fromBlock": block, "toBlock": block});
    let question = serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "eth_getLogs", "params": [filter]});
    let candor_devchain::Reply::Body(body) = world.shared.answer(question.to_string().as_bytes()).await else { panic!("no answer") };
    let shown = serde_json::from_str::<serde_json::Value>(&body).unwrap()["result"].clone();
    assert_eq!(shown.as_array().map(Vec::len), Some(1));
    world.shared.set_fault(Fault::Answer { method: "eth_getLogs".into(), result: shown });
    let error = world.client.anchors(&registry, &k_sig.address(), &status).await.unwrap_err();
    assert!(matches!(&error, ChainError::Malformed { what: "Anchored events", .. }), "{error}");
}

#[tokio::test]
async fn a_payment_is_found_where_it_happened() {
    let world = World::start().await;
    let (asset, payer) = (world.contracts.test_usd, world.payer.address());
    world.mint(&payer, Amount(5000)).await;
    let authorization = Authorization {
        through: Through::Token,
        from: payer,
        to: world.payee,
        value: Amount(1000),
        valid_after: UnixSeconds(0),
        valid_before: UnixSeconds(4_000_000_000),
        nonce: Hash32([7; 32]),
    };
    let transfer = Transfer {
        keeper: Keeper::Token,
        payment_id: authorization.payment_id(31337, &asset),
        asset,
        payer,
        payee: world.payee,
        amount: authorization.value,
        nonce: authorization.nonce,
        valid_after: authorization.valid_after,
        valid_before: authorization.valid_before,
    };
    let state =
        |asset_has_code, balance| PayerState { asset_has_code, balance, allowance: Amount::ZERO, permit_nonce: None, nonce_used: false };
    let nothing = world.client.payer_state(Scheme::ExactEip3009, &Address([1; 20]), &payer, &authorization.nonce).await.unwrap();
    assert_eq!(nothing, state(false, Amount::ZERO));
    let before = world.client.payer_state(Scheme::ExactEip3009, &asset, &payer, &authorization.nonce).await.unwrap();
    assert_eq!(before, state(true, Amount(5000)));
    // Code that was seen is not asked for again.
    world.shared.set_fault(Fault::Refuse { method: "eth_getCode".to_owned(), code: -32000, message: "busy".to_owned() });
    assert_eq!(world.client.payer_state(Scheme::ExactEip3009, &asset, &payer, &authorization.nonce).await, Ok(before));
    world.shared.set_fault(Fault::None);

    let domain = TokenDomain { name: "USDC".into(), version: "2".into(), chain_id: 31337, asset };
    let signature = world.payer.sign_digest(&authorization.digest(&domain)).unwrap();
    let calldata = candor_x402_calldata(&authorization, &signature);
    let receipt = world.client.send_and_wait(&world.gas, Some(&asset), &calldata).await.unwrap();
    assert_eq!(receipt.from, world.gas.address());
    assert!(receipt.has_transfer(&asset, &payer, &world.payee, Amount(1000)));
    assert!(!receipt.has_transfer(&asset, &payer, &world.payee, Amount(1001)));
    let found = world.client.nonce_ended(&transfer, UnixSeconds(0)..=UnixSeconds(u64::MAX)).await.unwrap();
    assert_eq!(found, Some(LogPosition { tx_hash: receipt.hash, block_number: receipt.block_number }));
    let other =
        world.client.nonce_ended(&Transfer { nonce: Hash32([8; 32]), ..transfer }, UnixSeconds(0)..=UnixSeconds(u64::MAX)).await.unwrap();
    assert_eq!(other, None);
    assert!(world.client.payer_state(Scheme::ExactEip3009, &asset, &payer, &authorization.nonce).await.unwrap().nonce_used);

    // Long ago: found by its time, between the newest blocks and the first.
    let then = world.client.block_by_number(receipt.block_number).await.unwrap().unwrap().timestamp;
    for _ in 0..4_100 {
        world.shared.lock().increase_time(1).unwrap();
        world.shared.lock().mine().unwrap();
    }
    let found = world.client.nonce_ended(&transfer, then..=then.saturating_add(300)).await.unwrap();
    assert_eq!(found, Some(LogPosition { tx_hash: receipt.hash, block_number: receipt.block_number }));
    assert_eq!(world.client.nonce_ended(&transfer, then.saturating_add(10)..=then.saturating_add(300)).await.unwrap(), None);
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
