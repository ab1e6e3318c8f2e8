//! The matrix product of det/1: int8 by int8 into i32, one f32 multiplication at the end, split over threads as the caller likes.
//!
//! Spec: det-1.md §4.6. The integer sum is exact, so neither the order of its terms nor the split can change a bit. Weights are widened to
//! i16 when the model is loaded: LLVM then compiles the loop in [`dot`] to `pmaddwd` on plain x86-64 (measured 30 G multiply-adds a second
//! on one core, against 9 from int8 and 103 for AVX-512-VNNI intrinsics, which would need unsafe code).

use std::thread;

/// Columns the kernel takes at once; the config makes every width a multiple of it.
const STEP: usize = 16;

/// How to compute, never what: no choice here changes a bit of the result.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Options {
    /// Threads to use, at least 1. They are started per product, so they help large models only.
    pub threads: usize,
    /// Prompt tokens to run through the layers together, at least 1: more is faster and takes more memory.
    pub prefill_chunk: usize,
    /// Work (multiply-adds) up to which a product is not split over threads.
    pub split_above: usize,
}

impl Default for Options {
    /// One thread, 32 tokens at once, splitting from 4 M multiply-adds (about 150 µs).
    fn default() -> Self {
        Self { threads: 1, prefill_chunk: 32, split_above: 1 << 22 }
    }
}

impl Options {
    /// The threads to use for `work` multiply-adds.
    pub(crate) fn threads_for(&self, work: usize) -> usize {
        if work > self.split_above { self.threads.max(1) } else { 1 }
    }
}

/// Quantised weights, one scale per output row.
pub(crate) struct Matrix {
    pub(crate) columns: usize,
    /// Row-major, in -127..=127.
    pub(crate) weights: Vec<i16>,
    pub(crate) scales: Vec<f32>,
}

impl Matrix {
    /// Writes row `row` in f32: the embedding of a token. §5.
    pub(crate) fn dequantise(&self, row: usize, out: &mut [f32]) {
        let (Some(scale), Some(weights)) = (self.scales.get(row), self.weights.chunks_exact(self.columns).nth(row)) else {
            return;
        };
        for (out, weight) in out.iter_mut().zip(weights) {
            *out = f32::from(*weight) * scale;
        }
    }
}

/// Quantised activations: `scales.len()` rows.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) values: &'a [i16],
    pub(crate) scales: &'a [f32],
}

/// `out = matrix · x`, one output row of `matrix.scales.len()` for each row of `x`.
pub(crate) fn linear(matrix: &Matrix, x: Rows<'_>, out: &mut [f32], options: &Options) {
    let threads = options.threads_for(matrix.weights.len() * x.scales.len());
    let rows = matrix.scales.len();
    if threads == 1 {
        product(&matrix.weights, &matrix.scales, x, out);
    } else if x.scales.len() >= threads {
        let share = x.scales.len().div_ceil(threads);
        thread::scope(|scope| {
            let inputs = x.values.chunks(share * matrix.columns).zip(x.scales.chunks(share));
            for ((values, scales), out) in inputs.zip(out.chunks_mut(share * rows)) {
                scope.spawn(move || product(&matrix.weights, &matrix.scales, Rows { values, scales }, out));
            }
        });
    } else {
        let share = rows.div_ceil(threads);
        let inputs = x.values.chunks(matrix.columns).zip(x.scales.chunks(1));
        for ((values, scales), out) in inputs.zip(out.chunks_mut(rows)) {
            thread::scope(|scope| {
                let parts = matrix.weights.chunks(share * matrix.columns).zip(matrix.scales.chunks(share));
                for ((weights, row_scales), out) in parts.zip(out.chunks_mut(share)) {
                    scope.spawn(move || product(weights, row_scales, Rows { values, scales }, out));
                }
            });
        }
    }
}

fn product(weights: &[i16], scales: &[f32], x: Rows<'_>, out: &mut [f32]) {
    let (Some(columns), Some(tokens)) =
        (weights.len().checked_div(scales.len()), x.values.len().checked_div(weights.len() / scales.len().max(1)))
    else {
        return;
    };
    let rows = weights.chunks_exact(columns).zip(scales);
    if let (1, [scale]) = (tokens, x.scales) {
        for ((row, row_scale), out) in rows.zip(out) {
            *out = dot(row, x.values) as f32 * (row_scale * scale);
        }
        return;
    }
    // The row stays in the first-level cache while all tokens use it.
    for (index, (row, row_scale)) in rows.enumerate() {
        let inputs = x.values.chunks_exact(columns).zip(x.scales);
        for ((values, scale), out) in inputs.zip(out.chunks_exact_mut(scales.len())) {
            out[index] = dot(row, values) as f32 * (row_scale * scale);
        }
    }
}

/// The exact integer dot product. Both lengths are a multiple of [`STEP`].
///
/// Not inlined, and with sixteen separate sums: in this form LLVM finds `pmaddwd`. `wrapping_*` only keep the overflow checks of
/// the build profile out of the loop: |sum| ≤ 65,536 · 127 · 127 < 2^31.
#[inline(never)]
fn dot(weights: &[i16], values: &[i16]) -> i32 {
    let (weights, _) = weights.as_chunks::<STEP>();
    let (values, _) = values.as_chunks::<STEP>();
    let mut sums = [0i32; STEP];
    for (weights, values) in weights.iter().zip(values) {
        for i in 0..STEP {
            sums[i] = sums[i].wrapping_add(i32::from(weights[i]).wrapping_mul(i32::from(values[i])));
        }
    }
    sums.iter().fold(0, |total, sum| total.wrapping_add(*sum))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// §4.6 word by word.
    fn slow(matrix: &Matrix, x: Rows<'_>) -> Vec<u32> {
        let mut out = Vec::new();
        for (t, sx) in x.scales.iter().enumerate() {
            for (r, sw) in matrix.scales.iter().enumerate() {
                let mut acc = 0i64;
                for i in 0..matrix.columns {
                    acc += i64::from(matrix.weights[r * matrix.columns + i]) * i64::from(x.values[t * matrix.columns + i]);
                }
                out.push((acc as f32 * (sw * sx)).to_bits());
            }
        }
        out
    }

    fn int8(len: usize) -> impl Strategy<Value = Vec<i16>> {
        prop::collection::vec(-127i16..=127, len)
    }

    proptest! {
        #[test]
        fn any_split_equals_the_slow_definition(
            (columns, rows, tokens, weights, values) in (1usize..6, 1usize..9, 1usize..6).prop_flat_map(|(c, r, t)| (Just(c * 16), Just(r), Just(t), int8(c * 16 * r), int8(c * 16 * t))),
            threads in 1usize..5,
        ) {
            let scales = |n: usize| (0..n).map(|i| 0.01 + i as f32 * 0.37).collect::<Vec<_>>();
            let matrix = Matrix { columns, weights, scales: scales(rows) };
            let x_scales = scales(tokens);
            let x = Rows { values: &values, scales: &x_scales };
            let mut out = vec![0f32; rows * tokens];
            linear(&matrix, x, &mut out, &Options { threads, split_above: 0, ..Options::default() });
            prop_assert_eq!(out.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), slow(&matrix, x));
        }
    }

    #[test]
    fn the_widest_row_of_extremes_does_not_overflow() {
        let n = crate::config::MAX_COLUMNS as usize;
        assert_eq!(dot(&vec![-127; n], &vec![127; n]), -127 * 127 * 65_536);
    }
}
