//! Speed of det/1: loading, prompt and answer, in tokens a second on one thread.
//!
//! The fixture, a random model of the size of the trained one (2.85 M parameters), and the container in `CANDOR_MODEL`, if set.
//! `cargo bench -p candor-engine`

use std::hint::black_box;
use std::ops::ControlFlow;

use candor_engine::{Config, Decoding, Model, Options, Session, fixture, generate};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn engine(criterion: &mut Criterion) {
    let three_million =
        Config { dim: 192, layers: 6, heads: 6, kv_heads: 6, head_dim: 32, ffn: 512, context: 512, norm_eps: 1e-5, tied: true };
    let mut models = vec![("fixture".to_owned(), fixture::model()), ("3m".to_owned(), fixture::random(three_million, 1))];
    if let Some(path) = std::env::var_os("CANDOR_MODEL") {
        let bytes = std::fs::read(&path).expect("CANDOR_MODEL names a readable file");
        models.push((path.to_string_lossy().into_owned(), bytes));
    }
    for (name, bytes) in models {
        let model = Model::load(&bytes).expect("a valid model");
        bench_model(criterion, &name, &bytes, &model);
    }
}

fn bench_model(criterion: &mut Criterion, name: &str, bytes: &[u8], model: &Model) {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(20);
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("load", |bencher| bencher.iter(|| Model::load(black_box(bytes))));

    let prompt: Vec<u32> = (0..64).collect();
    group.throughput(Throughput::Elements(prompt.len() as u64));
    group.bench_function("prefill 64", |bencher| {
        bencher.iter(|| {
            let mut session = Session::new(model, 128, Options::default())?;
            session.feed(black_box(&prompt)).map(|()| session.logits().iter().sum::<f32>())
        });
    });

    for (label, temperature_e6) in [("greedy", 0), ("sampled", 1_000_000)] {
        // Seed and length are chosen so that random weights rarely end early; the tokens produced are counted.
        let decoding = Decoding { seed: [1; 32], temperature_e6, top_p_e6: 1_000_000, top_k: 0, max_tokens: 128, stop: vec![] };
        let run = || generate(model, black_box(&[1, 2, 3]), &decoding, &Options::default(), &mut |_| ControlFlow::Continue(()));
        let produced = run().map_or(0, |done| done.usage.completion_tokens);
        group.throughput(Throughput::Elements(produced.into()));
        group.bench_function(format!("generate {produced} {label}"), |bencher| bencher.iter(run));
    }
    group.finish();
}

criterion_group!(benches, engine);
criterion_main!(benches);
