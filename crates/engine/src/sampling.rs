//! Choosing the next token: a pure function of logits, parameters, seed and index.
//!
//! Spec: det-1.md §6. Parameters are integers, so that a receipt can hash them and nobody argues about the decimals of a float.

use sha2::{Digest, Sha256};

use crate::GenerateError;
use crate::math::exp;
use crate::tokenizer::{Special, Tokenizer};

const TAG: &[u8] = b"candor/sample/1";

/// How to decode: everything besides model and prompt that the answer depends on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decoding {
    /// Drives the choice of tokens; not used at temperature 0.
    pub seed: [u8; 32],
    /// Temperature in millionths, 0..=2,000,000. 0 takes the likeliest token.
    pub temperature_e6: u32,
    /// Probability mass kept, in millionths, 1..=1,000,000.
    pub top_p_e6: u32,
    /// Number of likeliest tokens kept; 0 keeps all.
    pub top_k: u32,
    /// The most tokens to produce, at least 1.
    pub max_tokens: u32,
    /// Strings that end the answer before themselves, at most 4, none empty.
    pub stop: Vec<String>,
}

impl Decoding {
    /// Checks the limits stated at the fields.
    pub(crate) fn check(&self) -> Result<(), GenerateError> {
        let empty = self.stop.iter().filter(|stop| stop.is_empty()).count();
        let fields = [
            ("temperature_e6", self.temperature_e6.into(), self.temperature_e6 <= 2_000_000),
            ("top_p_e6", self.top_p_e6.into(), (1..=1_000_000).contains(&self.top_p_e6)),
            ("max_tokens", self.max_tokens.into(), self.max_tokens > 0),
            ("stop", self.stop.len() as u64, self.stop.len() <= 4 && empty == 0),
        ];
        match fields.into_iter().find(|(_, _, ok)| !ok) {
            Some((name, got, _)) => Err(GenerateError::Parameter { name, got }),
            None => Ok(()),
        }
    }
}

/// The 32-byte seed of a request's integer `seed`: its two's complement, sign-extended, big-endian.
#[must_use]
pub fn seed_from_integer(seed: i64) -> [u8; 32] {
    let mut bytes = [if seed < 0 { 0xff } else { 0 }; 32];
    let (_, low) = bytes.split_at_mut(24);
    low.copy_from_slice(&seed.to_be_bytes());
    bytes
}

/// Samples tokens, keeping its buffers.
#[derive(Default)]
pub(crate) struct Sampler {
    /// The order of §6 as integers: the larger, the earlier.
    keys: Vec<u64>,
    cumulative: Vec<f64>,
}

impl Sampler {
    /// The token at `index` of the answer. `logits` are finite.
    pub(crate) fn sample(&mut self, logits: &[f32], tokenizer: &Tokenizer, decoding: &Decoding, index: u64) -> u32 {
        let end = tokenizer.special(Special::End);
        let ordinary = logits.iter().take(tokenizer.ordinary() as usize).zip(0u32..);
        let candidates = ordinary.chain(logits.get(end as usize).map(|logit| (logit, end)));
        if decoding.temperature_e6 == 0 {
            return candidates.map(|(logit, id)| order_key(*logit, id)).max().map_or(end, id_of);
        }
        let temperature = decoding.temperature_e6 as f32 / 1_000_000.0;
        let max = candidates.clone().map(|(logit, _)| *logit).fold(f32::MIN, f32::max);
        self.keys.clear();
        // Without weight a candidate can neither be drawn nor change a sum: leaving it out here keeps the sort short.
        self.keys.extend(candidates.filter(|(logit, _)| exp((*logit - max) / temperature) > 0.0).map(|(logit, id)| order_key(*logit, id)));
        let top_k = decoding.top_k as usize;
        if (1..self.keys.len()).contains(&top_k) {
            self.keys.select_nth_unstable_by(top_k - 1, |a, b| b.cmp(a));
            self.keys.truncate(top_k);
        }
        self.keys.sort_unstable_by(|a, b| b.cmp(a));
        self.draw(logits, max, temperature, decoding, index).unwrap_or(end)
    }

    /// §6 steps 3 to 5 over the ordered candidates. None only if there are none.
    fn draw(&mut self, logits: &[f32], max: f32, temperature: f32, decoding: &Decoding, index: u64) -> Option<u32> {
        self.cumulative.clear();
        let mut sum = 0f64;
        for key in &self.keys {
            let logit = logits.get(id_of(*key) as usize)?;
            sum += f64::from(exp((logit - max) / temperature));
            self.cumulative.push(sum);
        }
        if decoding.top_p_e6 < 1_000_000 {
            let enough = sum * (f64::from(decoding.top_p_e6) / 1_000_000.0);
            let kept = self.cumulative.iter().take_while(|cumulative| **cumulative < enough).count() + 1;
            self.cumulative.truncate(kept);
        }
        let target = uniform(&decoding.seed, index) * self.cumulative.last()?;
        let drawn = self.cumulative.iter().position(|cumulative| *cumulative > target);
        let at = drawn.unwrap_or(self.cumulative.len() - 1);
        self.keys.get(at).map(|key| id_of(*key))
    }
}

/// Orders by logit, equal logits by falling id, as one integer.
fn order_key(logit: f32, id: u32) -> u64 {
    // + 0.0 turns −0 into +0. Positive floats order as their bits, negative ones in reverse.
    let bits = (logit + 0.0).to_bits();
    let ordered = if bits >> 31 == 0 { bits | 1 << 31 } else { !bits };
    u64::from(ordered) << 32 | u64::from(!id)
}

fn id_of(key: u64) -> u32 {
    !(key as u32)
}

/// The uniform number in 0..1 at `index`. §6 step 5.
fn uniform(seed: &[u8; 32], index: u64) -> f64 {
    let hash: [u8; 32] = Sha256::new().chain_update(TAG).chain_update(seed).chain_update(index.to_be_bytes()).finalize().into();
    let first = hash.iter().take(8).fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    (first >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokenizer() -> Tokenizer {
        Tokenizer::new(vec![], Tokenizer::TEMPLATE_SPECIALS.map(String::from).to_vec()).unwrap()
    }

    fn decoding() -> Decoding {
        Decoding { seed: [3; 32], temperature_e6: 1_000_000, top_p_e6: 1_000_000, top_k: 0, max_tokens: 1, stop: vec![] }
    }

    /// §6 word by word.
    fn slow(logits: &[f32], decoding: &Decoding, index: u64) -> u32 {
        let mut ids: Vec<usize> = (0..256).chain([260]).collect();
        ids.sort_by(|a, b| logits[*b].partial_cmp(&logits[*a]).unwrap().then(a.cmp(b)));
        if decoding.temperature_e6 == 0 {
            return ids[0] as u32;
        }
        if decoding.top_k > 0 {
            ids.truncate(decoding.top_k as usize);
        }
        let t = decoding.temperature_e6 as f32 / 1_000_000.0;
        let w: Vec<f32> = ids.iter().map(|i| exp((logits[*i] - logits[ids[0]]) / t)).collect();
        let mut cum = vec![];
        let mut sum = 0f64;
        for w in &w {
            sum += f64::from(*w);
            cum.push(sum);
        }
        if decoding.top_p_e6 < 1_000_000 {
            let keep = cum.iter().position(|c| *c >= sum * (f64::from(decoding.top_p_e6) / 1_000_000.0)).unwrap();
            cum.truncate(keep + 1);
        }
        let target = uniform(&decoding.seed, index) * cum.last().unwrap();
        ids[cum.iter().position(|c| *c > target).unwrap()] as u32
    }

    proptest! {
        #[test]
        fn sampling_equals_the_slow_definition(
            logits in prop::collection::vec(prop_oneof![(-30i32..30).prop_map(|i| i as f32 / 2.0), -200f32..5.0, Just(-0.0)], 261),
            temperature_e6 in prop_oneof![Just(0u32), 1u32..2_000_000],
            top_p_e6 in prop_oneof![Just(1_000_000u32), 1u32..1_000_000],
            top_k in 0u32..400,
            index: u64,
        ) {
            let decoding = Decoding { temperature_e6, top_p_e6, top_k, ..decoding() };
            let got = Sampler::default().sample(&logits, &tokenizer(), &decoding, index);
            prop_assert_eq!(got, slow(&logits, &decoding, index));
        }
    }

    #[test]
    fn structural_tokens_are_never_chosen() {
        let mut logits = vec![0f32; 261];
        logits[256..260].fill(100.0);
        for temperature_e6 in [0, 2_000_000] {
            for index in 0..50 {
                let token = Sampler::default().sample(&logits, &tokenizer(), &Decoding { temperature_e6, ..decoding() }, index);
                assert!(token < 256 || token == 260);
            }
        }
    }

    #[test]
    fn ties_go_to_the_lower_id_and_zeros_are_equal() {
        let mut logits = vec![-1f32; 261];
        logits[7] = -0.0;
        logits[9] = 0.0;
        let greedy = Decoding { temperature_e6: 0, ..decoding() };
        assert_eq!(Sampler::default().sample(&logits, &tokenizer(), &greedy, 0), 7);
    }

    #[test]
    fn uniform_numbers_are_the_stated_hash() {
        let hash = Sha256::digest([b"candor/sample/1".as_slice(), &[3; 32], &[0, 0, 0, 0, 0, 0, 1, 2]].concat());
        let first = u64::from_be_bytes(hash[..8].try_into().unwrap());
        assert_eq!(uniform(&[3; 32], 258), (first >> 11) as f64 / 2f64.powi(53));
    }

    #[test]
    fn integer_seeds_are_sign_extended() {
        assert_eq!(seed_from_integer(1)[24..], [0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(seed_from_integer(-1), [0xff; 32]);

        // The same vectors that the verifier reads.
        let vectors: serde_json::Value = serde_json::from_str(include_str!("../../../vectors/seed.json")).unwrap();
        let named: Vec<_> = vectors["cases"].as_array().unwrap().iter().filter(|case| case["requestSeed"].is_string()).collect();
        assert!(named.len() >= 4);
        for case in named {
            let seed = seed_from_integer(case["requestSeed"].as_str().unwrap().parse().unwrap());
            let hex: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(case["seed"], format!("0x{hex}"), "{}", case["name"]);
        }
    }

    #[test]
    fn parameters_outside_their_limits_are_refused() {
        let cases = [
            Decoding { temperature_e6: 2_000_001, ..decoding() },
            Decoding { top_p_e6: 0, ..decoding() },
            Decoding { top_p_e6: 1_000_001, ..decoding() },
            Decoding { max_tokens: 0, ..decoding() },
            Decoding { stop: vec![String::new()], ..decoding() },
            Decoding { stop: vec!["x".into(); 5], ..decoding() },
        ];
        for case in cases {
            assert!(matches!(case.check(), Err(GenerateError::Parameter { .. })), "{case:?}");
        }
        assert_eq!(decoding().check(), Ok(()));
    }
}
