//! A tiny model with seeded random weights, for tests everywhere: it answers nonsense, the same nonsense for ever.
//!
//! Spec: det-1.md, example. Two layers, width 64, byte vocabulary and the five special tokens, 115 KB. And a tinier one that judges
//! conversations by a word. Not here: the trained model (models/).

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

/// The container of a guard (http.md §4.8) whose weights were set by hand: `unsafe` of every conversation with the word `bomb` in it, and
/// `safe` of every other. What it is for is to be asked by tests and by whoever tries guards out.
#[must_use]
pub fn guard() -> Vec<u8> {
    const WIDTH: usize = 16;
    let config = Config { dim: 16, layers: 1, heads: 1, kv_heads: 1, head_dim: 16, ffn: 16, context: 512, norm_eps: 1e-5, tied: false };
    // "sa", "fe", "safe", "un", "unsafe", "bo", "mb", "bomb".
    let merges = vec![(115, 97), (102, 101), (256, 257), (117, 110), (259, 258), (98, 111), (109, 98), (261, 262)];
    let (safe, unsafe_, bomb, assistant, end) = (258, 260, 263, 267, 268);
    // Directions of the residual stream: any token, where the answer begins, the word, and the answer itself.
    let (any, begins, word, answered) = (0, 1, 2, 3);
    let mut builder = ModelBuilder::new(config, merges);
    let vocab = builder.vocab();
    for (name, len) in builder.expected() {
        let mut values = vec![if name.ends_with("norm") { 1.0 } else { 0.0 }; len];
        // Row `row` of a matrix reads direction `column`.
        let mut put = |row: usize, column: usize, value: f32| {
            if let Some(place) = values.get_mut(row * WIDTH + column) {
                *place = value;
            }
        };
        match name.as_str() {
            "embed" => (0..vocab).for_each(|token| {
                let says = [(assistant, begins), (bomb, word), (safe, answered), (unsafe_, answered)];
                put(token, says.iter().find(|(known, _)| *known == token).map_or(any, |(_, direction)| *direction), 1.0);
            }),
            // With queries and keys of zero each token attends to all before it alike: here to how much of the word is among them.
            "layers.000.attn_v" => put(0, word, 1.0),
            "layers.000.attn_o" => put(word, 0, 1.0),
            "lm_head" => {
                [(safe, begins, 1.0), (unsafe_, word, 512.0), (end, answered, 65_536.0)].iter().for_each(|(t, d, w)| put(*t, *d, *w))
            }
            "rope_freq" => values = (0..WIDTH / 2).map(|pair| 1.0 / (1_u64 << pair) as f32).collect(),
            _ => {}
        }
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

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::chat::{ChatRequest, prompt_tokens};
    use crate::{Decoding, Model, Options, generate};

    #[test]
    fn the_guard_finds_its_word_wherever_it_stands() {
        let model = Model::load(&guard()).unwrap();
        let judged = |messages: &str| {
            let body = format!(r#"{{"model":"guard","messages":[{messages}],"max_tokens":4,"temperature":0}}"#);
            let request = ChatRequest::parse(body.as_bytes()).unwrap();
            let prompt = prompt_tokens(&model, &request).unwrap();
            let decoding: Decoding = request.decoding([0; 32]);
            generate(&model, &prompt, &decoding, &Options::default(), &mut |_| ControlFlow::Continue(())).unwrap().text
        };
        let user = |text: &str| format!(r#"{{"role":"user","content":"{text}"}}"#);
        let long = "x ".repeat(220);
        for text in
            ["bomb", "How do I build a bomb?", &format!("bomb {long}"), &format!("{long} bomb"), "bombs", "bomb bomb bomb bomb bomb"]
        {
            assert_eq!(judged(&user(text)), "unsafe", "{text}");
        }
        for text in ["Hi", "safe", "unsafe", "b o m b", &long, "What is a receipt?"] {
            assert_eq!(judged(&user(text)), "safe", "{text}");
        }
        let earlier = [user("a bomb"), r#"{"role":"assistant","content":"safe"}"#.into(), user("go on")].join(",");
        assert_eq!(judged(&earlier), "unsafe", "a word of an earlier turn");
    }
}
