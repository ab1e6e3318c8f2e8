//! A tiny model with seeded random weights, for tests everywhere: it answers nonsense, the same nonsense for ever.
//!
//! Spec: det-1.md, example. Two layers, width 64, byte vocabulary and the five special tokens, 115 KB. Not here: the trained model (models/).

use crate::{Config, ModelBuilder};

/// The container of the fixture. Its digest is a golden value of the tests: it changes only with the format.
#[must_use]
pub fn model() -> Vec<u8> {
    random(Config { dim: 64, layers: 2, heads: 4, kv_heads: 2, head_dim: 16, ffn: 128, context: 256, norm_eps: 1e-5, tied: false }, 1)
}

/// A random model of another shape, for benches and property tests; empty if the shape is refused.
#[must_use]
pub fn random(config: Config, seed: u64) -> Vec<u8> {
    let pairs = config.head_dim / 2;
    let width = config.dim.max(1) as usize;
    // Merges "th", "he", "the", " the": enough to leave the bytes.
    let mut builder = ModelBuilder::new(config, vec![(116, 104), (104, 101), (256, 101), (32, 258)]);
    let mut state = seed;
    for (name, len) in builder.expected() {
        let values = if name == "rope_freq" {
            // Any falling sequence will do; powers of two are exact.
            (0..pairs).map(|pair| 1.0 / (1u64 << (pair * 16 / pairs).min(62)) as f32).collect()
        } else if name.ends_with("norm") {
            vec![1.0; len]
        } else {
            let is_token_table = name == "embed" || name == "lm_head";
            let scale = |index: usize| if is_token_table { token_scale(index / width) } else { 0.25 };
            (0..len).map(|index| uniform(&mut state) * scale(index)).collect()
        };
        builder = builder.tensor(&name, values);
    }
    builder.build().unwrap_or_default()
}

/// Printable characters and merges get larger logits than other bytes, so that the nonsense is mostly text, with a few bytes that are not.
fn token_scale(token: usize) -> f32 {
    if (32..127).contains(&token) || token >= 256 { 0.5 } else { 0.0625 }
}

/// splitmix64, as a float in -1..1 with 24 bits.
fn uniform(state: &mut u64) -> f32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    (z >> 40) as f32 / 8_388_608.0 - 1.0
}
