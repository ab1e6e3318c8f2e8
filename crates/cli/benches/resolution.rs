//! What a client asks a chain before it knows of a node, in a registry of many boots by strangers: by listed id, by operator, and by neither.
//!
//! Strangers register through a verifier of their own, after the one node that is looked for, so that a walk from the newest meets them first.
//! Counted at the endpoint, over loopback HTTP; the time is that of all questions, one after the other. The evidence is no real one, so each search
//! ends with what it says of what it found. `BOOTS=1000` makes fewer.

#[path = "../../chain/tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use candor_chain::{ChainClient, DeployConfig, Deployment, Fees, NonceAt, Signer, Transaction};
use candor_client::resolve;
use candor_devchain::{Reply, SharedChain};
use candor_testhttp::serve;
use candor_verify::policy::{Accept, Policy};
use candor_verify::{Amount, Hash32};
use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use support::{DOCUMENT, World};

/// An endpoint of the chain that counts what it is asked.
fn counted(chain: &SharedChain, asked: &Arc<AtomicU64>) -> String {
    let (chain, asked) = (chain.clone(), Arc::clone(asked));
    let address = serve(None, move |request: hyper::Request<Bytes>| {
        let (chain, asked) = (chain.clone(), Arc::clone(&asked));
        async move {
            asked.fetch_add(1, Ordering::Relaxed);
            let Reply::Body(said) = chain.answer(request.body()).await else { panic!("no answer") };
            Ok(Response::new(Full::new(Bytes::from(said))))
        }
    });
    format!("http://{address}")
}

fn k_sig(number: u64) -> Signer {
    let mut bytes = [7; 32];
    bytes[24..].copy_from_slice(&number.to_be_bytes());
    Signer::from_bytes(&bytes).unwrap()
}

#[tokio::main]
async fn main() {
    let boots: u64 = std::env::var("BOOTS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000);
    let mut world = World::start().await;
    let (operator, ours) = (world.operator.address(), k_sig(0));
    world.register(&world.manifest(&ours, Hash32([1; 32])), &ours).await;
    let record = world.record(&ours).await;

    // Strangers: another operator, another attestor, and so another verifier.
    (world.operator, world.attestor) = (support::dev_signer(8), support::dev_signer(9));
    let config = DeployConfig { attestors: vec![world.attestor.address()], threshold: 1, with_play_money: true };
    world.contracts = Deployment::deploy(&world.client, &world.deployer, &config).await.unwrap();
    let (began, mut nonce) = (Instant::now(), world.client.nonce(&world.deployer.address(), NonceAt::Latest).await.unwrap());
    for number in 1..=boots {
        let key = k_sig(number);
        let (manifest, head) = (world.manifest(&key, Hash32([1; 32])), world.client.head().await.unwrap());
        let submission = world.submission(&manifest, DOCUMENT, &head, key.sign_digest(&manifest.boot_digest()).unwrap());
        let tx = Transaction {
            chain_id: head.chain_id,
            nonce,
            gas_limit: 1_000_000,
            fees: Fees { max_fee_per_gas: 2_000_000_000, max_priority_fee_per_gas: 0 },
            to: Some(world.contracts.registry),
            value: Amount::ZERO,
            calldata: submission.calldata().unwrap(),
        };
        world.client.broadcast(&world.deployer.sign_transaction(&tx).unwrap()).await.unwrap();
        nonce += 1;
    }
    println!("{boots} boots of strangers registered in {:.1} s", began.elapsed().as_secs_f64());

    let asked = Arc::new(AtomicU64::new(0));
    let client = ChainClient::connect(&counted(&world.shared, &asked), None).await.unwrap();
    let registry = world.contracts.registry;
    let named = Policy { operators: Accept::Only(vec![operator]), ..Policy::default() };
    for (how, policy, listed) in [
        ("by listed id", Policy::default(), vec![record.listed_id()]),
        ("by operator", named, Vec::new()),
        ("by neither", Policy::default(), Vec::new()),
    ] {
        asked.store(0, Ordering::Relaxed);
        let began = Instant::now();
        let found = resolve(&client, &registry, &policy, &listed).await.expect_err("its evidence is none");
        let (ms, questions) = (began.elapsed().as_secs_f64() * 1e3, asked.load(Ordering::Relaxed));
        let says: String = found.to_string().chars().take(160).collect();
        println!("{how:<14} {questions:>6} questions {ms:>9.1} ms   {says}");
    }
}
