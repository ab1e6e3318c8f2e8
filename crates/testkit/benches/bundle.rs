//! Offline verification of one bundle: parse, every check, pure Rust. The aim is 5 ms; five P-384 signatures are most of it.

use candor_devtee::Hypervisor;
use candor_testkit::forge::{Forge, Lie};
use candor_verify::bundle::Bundle;
use candor_verify::check::{ChainFacts, verify_bundle};
use candor_verify::eip712::K256;
use criterion::{Criterion, criterion_group, criterion_main};

fn bundle(c: &mut Criterion) {
    let directory = std::env::temp_dir().join(format!("candor-bench-{}", std::process::id()));
    let forge = Forge::new(Hypervisor::open_or_create(&directory).expect("a hypervisor"));
    let (bytes, policy) = (forge.bundle(&Lie::default()).encode(), forge.policy());
    c.bench_function("bundle/parse", |b| b.iter(|| Bundle::parse(&bytes).expect("it parses")));
    c.bench_function("bundle/parse and verify offline", |b| {
        b.iter(|| {
            let bundle = Bundle::parse(&bytes).expect("it parses");
            let (verdict, verified) = verify_bundle(&bundle, &policy, ChainFacts::default(), &K256);
            assert!(verified.is_some(), "{:?}", verdict.refused());
        });
    });
    drop(std::fs::remove_dir_all(directory));
}

criterion_group!(benches, bundle);
criterion_main!(benches);
