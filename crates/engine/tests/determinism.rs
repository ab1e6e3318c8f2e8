//! The promise itself: the same bits for any number of threads, any prefill chunk, any way to reach a position; and for ever.
//!
//! Spec: det-1.md §5, §6. Not here: other CPUs and SIMD widths (CI runs the golden values on what it has).

use std::ops::ControlFlow;

use candor_engine::{Config, Decoding, Finish, GenerateError, Model, Options, Session, chat, fixture, generate};
use proptest::prelude::*;

fn decoding() -> Decoding {
    Decoding { seed: [1; 32], temperature_e6: 0, top_p_e6: 1_000_000, top_k: 0, max_tokens: 8, stop: vec![] }
}

fn split(threads: usize, prefill_chunk: usize) -> Options {
    Options { threads, prefill_chunk, split_above: 0 }
}

fn logits_after(model: &Model, parts: &[&[u32]], options: Options) -> Vec<u32> {
    let mut session = Session::new(model, 256, options).unwrap();
    for part in parts {
        session.feed(part).unwrap();
    }
    session.logits().iter().map(|logit| logit.to_bits()).collect()
}

#[test]
fn threads_and_chunks_do_not_change_a_bit() {
    let grouped = fixture::model();
    let tied = fixture::random(
        Config { dim: 48, layers: 3, heads: 3, kv_heads: 3, head_dim: 32, ffn: 80, context: 256, norm_eps: 1e-6, tied: true },
        7,
    );
    for bytes in [grouped, tied] {
        let model = Model::load(&bytes).unwrap();
        let prompt: Vec<u32> = (0..101).map(|i| i * 37 % model.tokenizer().vocab()).collect();
        let expected = logits_after(&model, &[&prompt], Options::default());
        let sampled = Decoding { temperature_e6: 1_000_000, max_tokens: 20, ..decoding() };
        let tokens = generate(&model, &prompt, &sampled, &Options::default(), &mut |_| ControlFlow::Continue(())).unwrap();
        for threads in [1, 2, 3] {
            for chunk in [1, 3, 32, usize::MAX] {
                let options = split(threads, chunk);
                assert_eq!(logits_after(&model, &[&prompt], options), expected, "{options:?}");
                let again = generate(&model, &prompt, &sampled, &options, &mut |_| ControlFlow::Continue(())).unwrap();
                assert_eq!(again, tokens, "{options:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_way_to_feed_gives_the_same_logits(tokens in prop::collection::vec(0u32..265, 1..60), cut in 0usize..60, threads in 1usize..4, chunk in 1usize..70) {
        let model = Model::load(&fixture::model()).unwrap();
        let expected = logits_after(&model, &[&tokens], Options::default());
        let (a, b) = tokens.split_at(cut.min(tokens.len()));
        prop_assert_eq!(logits_after(&model, &[a, b], split(threads, chunk)), expected);
    }
}

#[test]
fn each_prefix_has_the_logits_it_has_alone() {
    let model = Model::load(&fixture::model()).unwrap();
    let tokens: Vec<u32> = b"a prefix cache must not change bits".iter().map(|byte| u32::from(*byte)).collect();
    let mut session = Session::new(&model, 64, Options::default()).unwrap();
    for (at, token) in tokens.iter().enumerate() {
        session.feed(&[*token]).unwrap();
        let alone = logits_after(&model, &[&tokens[..=at]], Options::default());
        assert_eq!(session.logits().iter().map(|l| l.to_bits()).collect::<Vec<_>>(), alone);
    }
}

/// The independent implementation `reference/det1.py` gives the same tokens and the same hash of the logits' bits.
/// Changing any of these is changing det/1: a new engine name, not a new value here.
#[test]
fn golden_values_of_the_fixture_hold() {
    let model = Model::load(&fixture::model()).unwrap();
    let digest: String = model.digest().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, "7bcd0dfb5e439a6c657c4fcf861c5521adfa6230792b5b3c3181bef310548a8f");
    let prompt = [260, 262, 72, 105, 264, 263];
    let done = generate(&model, &prompt, &decoding(), &Options::default(), &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(done.tokens, GOLDEN_TOKENS);
    let bits = logits_after(&model, &[&prompt], Options::default());
    let hash = bits.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, bits| (hash ^ u64::from(*bits)).wrapping_mul(0x100_0000_01b3));
    assert_eq!(format!("{hash:016x}"), "c323cf70b28a1506");
    let body = br#"{"model":"m","messages":[{"role":"user","content":"What is a receipt?"}],"max_tokens":24,"seed":42,"top_p":0.95}"#;
    let frames = chat::replay(&model, body, [0; 32], 24, "chatcmpl-0", 1_763_640_000).unwrap();
    assert_eq!(String::from_utf8_lossy(&frames[0]), GOLDEN_BODY);
}

const GOLDEN_TOKENS: [u32; 8] = [91, 79, 71, 65, 126, 100, 50, 58];
const GOLDEN_BODY: &str = r##"{"id":"chatcmpl-0","object":"chat.completion","created":1763640000,"model":"m","system_fingerprint":"det/1","choices":[{"index":0,"message":{"role":"assistant","content":"TUk $�=#mnZ#AHX\u001a#r)=gznC","refusal":null},"logprobs":null,"finish_reason":"length"}],"usage":{"prompt_tokens":22,"completion_tokens":24,"total_tokens":46}}"##;

#[test]
fn generation_is_metered_and_bounded() {
    let model = Model::load(&fixture::model()).unwrap();
    let mut steps = 0;
    let done = generate(&model, &[260, 65], &decoding(), &Options::default(), &mut |step| {
        assert_eq!(step.index, steps);
        steps += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!((done.usage.prompt_tokens, done.usage.completion_tokens), (2, steps));
    assert!(done.finish == Finish::Stop || steps == 8);

    let run =
        |prompt: &[u32], decoding: Decoding| generate(&model, prompt, &decoding, &Options::default(), &mut |_| ControlFlow::Continue(()));
    assert_eq!(run(&[], decoding()), Err(GenerateError::EmptyPrompt));
    assert_eq!(run(&[265], decoding()), Err(GenerateError::UnknownToken { got: 265 }));
    let long = Decoding { max_tokens: 256, ..decoding() };
    assert_eq!(run(&[1], long), Err(GenerateError::ContextLength { limit: 256, requested: 257 }));
    let hot = Decoding { temperature_e6: 2_000_001, ..decoding() };
    assert_eq!(run(&[1], hot), Err(GenerateError::Parameter { name: "temperature_e6", got: 2_000_001 }));
}

#[test]
fn a_session_refuses_what_does_not_fit_and_stays_usable() {
    let model = Model::load(&fixture::model()).unwrap();
    assert!(Session::new(&model, 257, Options::default()).is_err());
    let mut session = Session::new(&model, 2, Options::default()).unwrap();
    assert!(session.feed(&[1, 2, 3]).is_err());
    assert!(session.feed(&[1, 999]).is_err());
    session.feed(&[]).unwrap();
    session.feed(&[1, 2]).unwrap();
    assert_eq!(session.feed(&[3]), Err(GenerateError::ContextLength { limit: 2, requested: 3 }));
}

#[test]
fn weights_that_overflow_give_the_same_answer_twice() {
    let mut bytes = fixture::model();
    // The scales of the embedding, pushed to the largest float: every sum overflows.
    let header = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let scales = (header.next_multiple_of(64) + 265 * 64).next_multiple_of(64);
    for row in 0..265 {
        bytes[scales + 4 * row..][..4].copy_from_slice(&f32::MAX.to_le_bytes());
    }
    let model = Model::load(&bytes).unwrap();
    let first = logits_after(&model, &[&[1, 2, 3]], Options::default());
    assert!(first.iter().all(|bits| f32::from_bits(*bits).is_finite()));
    assert_eq!(logits_after(&model, &[&[1], &[2, 3]], split(3, 1)), first);
}
