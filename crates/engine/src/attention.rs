//! Attention of one token over the keys and values before it, and the cache that keeps them.
//!
//! Spec: det-1.md §5 steps 2 and 3. Sums run over head elements and over positions one after the other; the loops vectorise across what
//! is independent (positions for scores, head elements for values), so the order costs nothing.

use crate::config::Config;
use crate::math::{exp_below_max, sum16};

/// Keys and values of one layer.
pub(crate) struct Cache {
    /// `[kv head · element][position]`: a score pass reads one element of all positions in a row.
    keys: Vec<f32>,
    /// `[position][kv head · element]`.
    values: Vec<f32>,
    capacity: usize,
}

impl Cache {
    pub(crate) fn new(config: &Config, capacity: usize) -> Self {
        let elements = config.key_value() as usize * capacity;
        Self { keys: vec![0.0; elements], values: vec![0.0; elements], capacity }
    }

    /// Stores the rotated key and the value of `position`, which is below the capacity.
    pub(crate) fn store(&mut self, position: usize, key: &[f32], value: &[f32]) {
        for (column, key) in self.keys.chunks_exact_mut(self.capacity).zip(key) {
            column[position] = *key;
        }
        let start = position * value.len();
        self.values[start..start + value.len()].copy_from_slice(value);
    }
}

/// Rotates each head of `row` by the angles of its position. §5 step 2.
pub(crate) fn rotate(row: &mut [f32], angles: &[(f32, f32)]) {
    for head in row.chunks_exact_mut(2 * angles.len()) {
        let (low, high) = head.split_at_mut(angles.len());
        for ((a, b), (cos, sin)) in low.iter_mut().zip(high).zip(angles) {
            (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
        }
    }
}

/// Attends from `query` (all heads) to the first `scores.len()` positions. `scores` is scratch.
pub(crate) fn attend(query: &[f32], cache: &Cache, config: &Config, scores: &mut [f32], out: &mut [f32]) {
    let width = config.head_dim as usize;
    let group = (config.heads / config.kv_heads) as usize;
    let stride = config.key_value() as usize;
    let scale = 1.0 / (config.head_dim as f32).sqrt();
    let heads = query.chunks_exact(width).zip(out.chunks_exact_mut(width));
    for (head, (query, out)) in heads.enumerate() {
        let offset = head / group * width;
        score(query, &cache.keys[offset * cache.capacity..], cache.capacity, scores);
        for score in &mut *scores {
            *score *= scale;
        }
        exp_below_max(scores);
        let inverse = 1.0 / sum16(scores);
        mix(scores, &cache.values, stride, offset, out);
        for out in out {
            *out *= inverse;
        }
    }
}

/// `scores[t] = Σ query[i] · key[i][t]`, in the order of i. Four elements per pass, so that scores are loaded and stored a quarter as often.
#[inline(never)]
fn score(query: &[f32], keys: &[f32], capacity: usize, scores: &mut [f32]) {
    scores.fill(0.0);
    let (quads, _) = query.as_chunks::<4>();
    let len = scores.len();
    for ([q0, q1, q2, q3], keys) in quads.iter().zip(keys.chunks(4 * capacity)) {
        let (k0, rest) = keys.split_at(capacity);
        let (k1, rest) = rest.split_at(capacity);
        let (k2, k3) = rest.split_at(capacity);
        let keys = k0[..len].iter().zip(&k1[..len]).zip(&k2[..len]).zip(&k3[..len]);
        for (score, (((k0, k1), k2), k3)) in scores.iter_mut().zip(keys) {
            *score = (((*score + q0 * k0) + q1 * k1) + q2 * k2) + q3 * k3;
        }
    }
}

/// `out[i] = Σ weights[t] · value[t][i]`, in the order of t, four positions per pass.
#[inline(never)]
fn mix(weights: &[f32], values: &[f32], stride: usize, offset: usize, out: &mut [f32]) {
    out.fill(0.0);
    let width = out.len();
    let (quads, tail) = weights.as_chunks::<4>();
    for ([w0, w1, w2, w3], rows) in quads.iter().zip(values.chunks_exact(4 * stride)) {
        let row = |n: usize| &rows[n * stride + offset..][..width];
        let rows = row(0).iter().zip(row(1)).zip(row(2)).zip(row(3));
        for (out, (((v0, v1), v2), v3)) in out.iter_mut().zip(rows) {
            *out = (((*out + w0 * v0) + w1 * v1) + w2 * v2) + w3 * v3;
        }
    }
    let rest = values.chunks_exact(stride).skip(quads.len() * 4);
    for (weight, row) in tail.iter().zip(rest) {
        for (out, value) in out.iter_mut().zip(&row[offset..][..width]) {
            *out += weight * value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::exp;

    fn pseudo(seed: usize) -> f32 {
        ((seed.wrapping_mul(2_654_435_761) >> 7) % 2_000) as f32 / 500.0 - 2.0
    }

    /// §5 step 3 word by word.
    fn slow(config: &Config, query: &[f32], keys: &[Vec<f32>], values: &[Vec<f32>]) -> Vec<u32> {
        let width = config.head_dim as usize;
        let mut out = Vec::new();
        for g in 0..config.heads as usize {
            let at = g / (config.heads / config.kv_heads) as usize * width;
            let mut e: Vec<f32> = Vec::new();
            for key in keys {
                let mut d = 0f32;
                for i in 0..width {
                    d += query[g * width + i] * key[at + i];
                }
                e.push(d * (1.0 / (width as f32).sqrt()));
            }
            let m = e.iter().copied().fold(f32::NEG_INFINITY, |m, e| if e > m { e } else { m });
            let w: Vec<f32> = e.iter().map(|e| exp(e - m)).collect();
            let z = 1.0 / sum16(&w);
            for i in 0..width {
                let mut o = 0f32;
                for (w, value) in w.iter().zip(values) {
                    o += w * value[at + i];
                }
                out.push((o * z).to_bits());
            }
        }
        out
    }

    #[test]
    fn attention_equals_the_slow_definition() {
        let config = crate::config::tests::small();
        for positions in [1, 2, 3, 4, 5, 16, 33, 50] {
            let row = |seed: usize, len: u32| (0..len as usize).map(|i| pseudo(seed * 977 + i)).collect::<Vec<_>>();
            let keys: Vec<Vec<f32>> = (0..positions).map(|t| row(t + 1, config.key_value())).collect();
            let values: Vec<Vec<f32>> = (0..positions).map(|t| row(t + 500, config.key_value())).collect();
            let query = row(9_999, config.query());
            let mut cache = Cache::new(&config, 64);
            for (t, (key, value)) in keys.iter().zip(&values).enumerate() {
                cache.store(t, key, value);
            }
            let mut out = vec![f32::NAN; config.query() as usize];
            attend(&query, &cache, &config, &mut vec![f32::NAN; positions], &mut out);
            assert_eq!(out.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), slow(&config, &query, &keys, &values));
        }
    }
}
