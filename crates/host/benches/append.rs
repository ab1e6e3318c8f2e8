//! What a receipt costs on its way into the log: signed by K_sig, stored by the host, covered by a checkpoint signed with both keys, stored
//! with its settlement. Two durable writes per group, so the figure per receipt falls with the size of the group.
//!
//! The floor beside it: the same signatures without a disk.

#[path = "../tests/it/support/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "a bench uses a part")]
mod support;

use std::time::{Duration, Instant};

use candor_host::store::{Store, StoreOptions};
use candor_link::{AppendRequest, CheckpointRequest, LoggedReceipt, Settlement};
use candor_verify::time::UnixSeconds;
use candor_verify::{Address, Hash32};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use support::{Boot, Scratch, settlement_of, world};

const PAYEE: Address = Address([0x77; 20]);
const ASSET: Address = Address([0xaa; 20]);

/// Payments, signed beforehand: that is the client's work.
fn payments(from: u64, count: u64) -> Vec<Settlement> {
    let payer = world::dev_signer(5);
    let nonce = |number: u64| {
        let mut nonce = Hash32::ZERO;
        nonce.0[24..].copy_from_slice(&number.to_be_bytes());
        nonce
    };
    (from..from + count).map(|number| settlement_of(&payer, PAYEE, ASSET, nonce(number), UnixSeconds(4_000_000_000), number)).collect()
}

fn sign(boot: &mut Boot, payments: &[Settlement]) -> Vec<LoggedReceipt> {
    payments.iter().map(|payment| boot.entry(payment.payment_id)).collect()
}

async fn log(store: &Store, boot: &mut Boot, settlements: Vec<Settlement>) {
    let first_index = boot.tree.size();
    let entries = sign(boot, &settlements);
    store.append(boot.log_id(), AppendRequest { first_index, entries }).await.unwrap().wait().await.unwrap();
    let request = CheckpointRequest { first_index, checkpoint: boot.checkpoint(), settlements };
    store.checkpoint(boot.log_id(), Box::new(request)).await.unwrap().wait().await.unwrap();
}

fn append(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut group = c.benchmark_group("append");
    for size in [1, 16, 64] {
        group.throughput(Throughput::Elements(size));
        let mut boot = Boot::offline(1);
        group.bench_function(format!("sign {size} receipts and a checkpoint"), |b| {
            let payments = payments(0, size);
            b.iter(|| {
                drop(sign(&mut boot, &payments));
                boot.checkpoint()
            });
        });
        group.bench_function(format!("the same, durable, group of {size}"), |b| {
            b.iter_custom(|rounds| {
                let (scratch, mut boot) = (Scratch::new("bench"), Boot::offline(1));
                runtime.block_on(async {
                    let store = Store::open(&scratch.path().join("host.db"), StoreOptions::default()).unwrap();
                    store.open_log(&boot.manifest, b"evidence".to_vec()).await.unwrap();
                    let mut spent = Duration::ZERO;
                    for round in 0..rounds {
                        let payments = payments(round * size, size);
                        let started = Instant::now();
                        log(&store, &mut boot, payments).await;
                        spent += started.elapsed();
                    }
                    spent
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
