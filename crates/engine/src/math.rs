//! The scalar functions of det/1: sums in a fixed tree, exp, sine and cosine, RMS norm, quantising a row of activations.
//!
//! Spec: det-1.md §4, in its order. Only `+ - * / sqrt` of IEEE 754 are used, each rounded once: Rust never contracts them, and no function
//! of the platform's libm is called. The loops are written over arrays of 16 so that LLVM vectorises them; the definition does not depend on it.
//!
//! Not here: matrix products (`linear`), attention.

#![allow(clippy::approx_constant, clippy::excessive_precision, reason = "constants are written as in the spec, digit for digit")]

/// Lanes of the fixed sum tree.
const LANES: usize = 16;

/// 1.5 · 2^23: adding it to |v| < 2^22 leaves the integer nearest to v (half to even) in the low bits of the sum.
const ROUNDER: f32 = 12_582_912.0;

/// §4.1: the sum of `term(x)` over `values` in sixteen lanes and a pairwise tree.
#[inline(always)]
fn sum16_by(values: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (blocks, tail) = values.as_chunks::<LANES>();
    for block in blocks {
        for (lane, value) in lanes.iter_mut().zip(block) {
            *lane += term(*value);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(tail) {
        *lane += term(*value);
    }
    for width in [8, 4, 2, 1] {
        let (low, high) = lanes.split_at_mut(width);
        for (low, high) in low.iter_mut().zip(high) {
            *low += *high;
        }
    }
    lanes[0]
}

/// §4.1: the sum of `values`.
#[inline(never)]
pub(crate) fn sum16(values: &[f32]) -> f32 {
    sum16_by(values, |x| x)
}

/// §4.2: e^x. Zero below −87 and for NaN, e^88 above 88. Relative error below 3e-7.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let bounded = if x < 88.0 { x } else { 88.0 };
    let t = bounded * 1.442_695_04 + ROUNDER;
    let k = t - ROUNDER;
    let r = (bounded - k * 0.693_359_375) - k * -2.121_944_40e-4;
    let mut p = 1.987_569_150_0e-4;
    for c in [1.398_199_950_7e-3, 8.333_451_907_3e-3, 4.166_579_589_4e-2, 1.666_666_545_9e-1, 5.000_000_120_1e-1] {
        p = p * r + c;
    }
    let y = ((p * r) * r + r) + 1.0;
    // 2^k from its exponent bits; k is in -126..=127 whenever the result is used.
    let power = f32::from_bits(t.to_bits().wrapping_sub(ROUNDER.to_bits()).wrapping_add(127) << 23);
    if x >= -87.0 { y * power } else { 0.0 }
}

/// Replaces each score by `exp(score − max)`, where NaN is not a maximum. §5 step 3.
#[inline(never)]
pub(crate) fn exp_below_max(scores: &mut [f32]) {
    let mut max = f32::NEG_INFINITY;
    for score in &*scores {
        max = if *score > max { *score } else { max };
    }
    for score in scores {
        *score = exp(*score - max);
    }
}

/// §4.3: (sin a, cos a) for 0 ≤ a ≤ 32768.
pub(crate) fn sin_cos(a: f64) -> (f64, f64) {
    const SIN: [f64; 6] = [
        -1.666_666_666_666_663_243_48e-01,
        8.333_333_333_322_489_461_24e-03,
        -1.984_126_982_985_794_931_34e-04,
        2.755_731_370_707_006_767_89e-06,
        -2.505_076_025_340_686_341_95e-08,
        1.589_690_995_211_550_102_21e-10,
    ];
    const COS: [f64; 6] = [
        4.166_666_666_666_660_190_37e-02,
        -1.388_888_888_887_410_957_49e-03,
        2.480_158_728_947_672_941_78e-05,
        -2.755_731_435_139_066_330_35e-07,
        2.087_572_321_298_174_827_90e-09,
        -1.135_964_755_778_819_482_65e-11,
    ];
    let horner = |c: &[f64; 6], z: f64| c[0] + z * (c[1] + z * (c[2] + z * (c[3] + z * (c[4] + z * c[5]))));
    let quadrant = (a * 0.636_619_772_367_581_343_08 + 0.5) as u32;
    let k = f64::from(quadrant);
    let r = ((a - k * 1.570_796_326_734_125_614_17) - k * 6.077_100_506_303_965_976_60e-11) - k * 2.022_266_248_795_950_631_54e-21;
    let z = r * r;
    let s = r + (r * z) * horner(&SIN, z);
    let c = (1.0 - 0.5 * z) + (z * z) * horner(&COS, z);
    match quadrant % 4 {
        0 => (s, c),
        1 => (c, -s),
        2 => (-s, -c),
        _ => (-c, s),
    }
}

/// §4.5: writes the quantised row and returns its scale. The integers are stored as i16, the form the matrix kernel wants.
#[inline(never)]
pub(crate) fn quantise(row: &[f32], out: &mut [i16]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (blocks, tail) = row.as_chunks::<LANES>();
    for block in blocks {
        for (lane, value) in lanes.iter_mut().zip(block) {
            // NaN compares false and is left out.
            *lane = if value.abs() > *lane { value.abs() } else { *lane };
        }
    }
    let max = lanes.iter().chain(tail).fold(0f32, |max, value| if value.abs() > max { value.abs() } else { max });
    // 2^-100: below it 127 / max overflows.
    if max < f32::from_bits((127 - 100) << 23) {
        out.fill(0);
        return 0.0;
    }
    let inverse = 127.0 / max;
    for (out, value) in out.iter_mut().zip(row) {
        let scaled = value * inverse;
        // Overflowed rows hold infinities and NaN; zero is what they become, on every CPU.
        let bounded = if scaled.abs() <= 127.5 { scaled } else { 0.0 };
        *out = (bounded + ROUNDER).to_bits().wrapping_sub(ROUNDER.to_bits()) as i16;
    }
    max / 127.0
}

/// §4.7: the RMS norm of `x` under `weight`.
#[inline(never)]
pub(crate) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let mean = sum16_by(x, |x| x * x) / x.len() as f32;
    let scale = 1.0 / (mean + eps).sqrt();
    for ((out, x), w) in out.iter_mut().zip(x).zip(weight) {
        *out = (x * scale) * w;
    }
}

/// §5 step 5: the gate, `silu(g) · u`, written over `gate`.
#[inline(never)]
pub(crate) fn swiglu(gate: &mut [f32], up: &[f32]) {
    for (g, u) in gate.iter_mut().zip(up) {
        *g = (*g / (1.0 + exp(-*g))) * u;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// §4.1 word by word.
    fn slow_sum(values: &[f32]) -> f32 {
        let mut lane = [0f32; 16];
        for (i, v) in values.iter().enumerate() {
            lane[i % 16] += v;
        }
        for i in 0..8 {
            lane[i] += lane[i + 8];
        }
        for i in 0..4 {
            lane[i] += lane[i + 4];
        }
        for i in 0..2 {
            lane[i] += lane[i + 2];
        }
        lane[0] + lane[1]
    }

    proptest! {
        #[test]
        fn sum_equals_the_slow_definition(values in prop::collection::vec(-1e6f32..1e6, 0..200)) {
            prop_assert_eq!(sum16(&values).to_bits(), slow_sum(&values).to_bits());
        }

        #[test]
        fn softmax_equals_the_slow_definition(values in prop::collection::vec(-200f32..200.0, 1..100)) {
            let mut fast = values.clone();
            exp_below_max(&mut fast);
            let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            for (fast, value) in fast.iter().zip(&values) {
                prop_assert_eq!(fast.to_bits(), exp(value - max).to_bits());
            }
        }

        #[test]
        fn exp_is_near_the_real_exponential(x in -87f32..88.0) {
            let real = f64::from(x).exp();
            prop_assert!((f64::from(exp(x)) / real - 1.0).abs() < 3e-7, "{} {}", exp(x), real);
        }

        #[test]
        fn sine_and_cosine_are_near_the_real_ones(a in 0f64..32768.0) {
            let (s, c) = sin_cos(a);
            prop_assert!((s - a.sin()).abs() < 1e-11 && (c - a.cos()).abs() < 1e-11);
        }

        #[test]
        fn quantised_rows_equal_the_slow_definition(row in prop::collection::vec(prop_oneof![8 => -1e4f32..1e4, 1 => Just(f32::NAN), 1 => Just(f32::INFINITY), 1 => Just(0.0)], 1..70)) {
            let mut out = vec![0i16; row.len()];
            let scale = quantise(&row, &mut out);
            let max = row.iter().filter(|v| !v.is_nan()).fold(0f32, |m, v| m.max(v.abs()));
            for (q, v) in out.iter().zip(&row) {
                let t = v * (127.0 / max);
                let expected = if max > 0.0 && t.abs() <= 127.5 { t.round_ties_even() as i16 } else { 0 };
                prop_assert_eq!(*q, expected);
                prop_assert!((-127..=127).contains(q));
            }
            prop_assert_eq!(scale.to_bits(), if max > 0.0 { max / 127.0 } else { 0.0 }.to_bits());
        }
    }

    #[test]
    fn exp_outside_its_range_is_as_stated() {
        assert_eq!(exp(-87.1), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(f32::NAN), 0.0);
        assert_eq!(exp(1e30), exp(88.0));
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn activations_too_small_to_invert_are_zero() {
        let mut out = [1i16; 2];
        assert_eq!(quantise(&[1e-40, -1e-31], &mut out), 0.0);
        assert_eq!(out, [0, 0]);
    }
}
