//! The shape of a model and the order of its tensors: everything about the file's layout that follows from its header.
//!
//! Spec: det-1.md §1. Not here: bytes (`container`, `builder`).

use crate::ModelError;

/// A matrix product sums at most this many terms of 127 · 127: far below the 133,144 at which i32 could overflow.
pub(crate) const MAX_COLUMNS: u32 = 65_536;
pub(crate) const MAX_MERGES: u32 = 200_000;
pub(crate) const MAX_SPECIALS: u32 = 1_024;
/// Key (or value) elements of a full context: bounds the cache to 1 GiB each, whatever the header says.
const MAX_CACHE: u64 = 1 << 28;

/// The shape of a llama-family decoder. Any values may be written here; [`ModelBuilder`](crate::ModelBuilder) and
/// [`Model::load`](crate::Model::load) refuse those outside the limits of det-1.md §1.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Width of the residual stream.
    pub dim: u32,
    /// Number of blocks.
    pub layers: u32,
    /// Query heads.
    pub heads: u32,
    /// Key/value heads; divides `heads`.
    pub kv_heads: u32,
    /// Width of one head.
    pub head_dim: u32,
    /// Width of the feed-forward layer.
    pub ffn: u32,
    /// Tokens of prompt and answer together.
    pub context: u32,
    /// Added to the mean square under the root of RMS norm.
    pub norm_eps: f32,
    /// Whether the output projection is the embedding.
    pub tied: bool,
}

/// How a tensor's elements are stored, and their number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Matrix { rows: u32, columns: u32 },
    Vector { len: u32 },
}

impl Config {
    /// Width of all query heads.
    pub(crate) fn query(&self) -> u32 {
        self.heads * self.head_dim
    }

    /// Width of all key (or value) heads.
    pub(crate) fn key_value(&self) -> u32 {
        self.kv_heads * self.head_dim
    }

    /// Checks every field against the limits of the spec, in the header's order.
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        let sixteens = |value: u32, max: u32| value.is_multiple_of(16) && (16..=max).contains(&value);
        let fields = [
            ("dim", self.dim, sixteens(self.dim, 8_192)),
            ("layers", self.layers, (1..=128).contains(&self.layers)),
            ("heads", self.heads, (1..=256).contains(&self.heads)),
            ("kv_heads", self.kv_heads, self.kv_heads >= 1 && self.heads.is_multiple_of(self.kv_heads)),
            ("head_dim", self.head_dim, sixteens(self.head_dim, 256)),
            ("ffn", self.ffn, sixteens(self.ffn, MAX_COLUMNS)),
            ("context", self.context, (16..=32_768).contains(&self.context)),
            ("norm_eps", self.norm_eps.to_bits(), (1e-12..=0.1).contains(&self.norm_eps)),
        ];
        for (name, got, ok) in fields {
            if !ok {
                return Err(ModelError::Field { name, got: got.into() });
            }
        }
        // From here on no product can overflow: each factor has been bounded above.
        if self.query() > 16_384 {
            return Err(ModelError::Field { name: "heads * head_dim", got: self.query().into() });
        }
        let cache = u64::from(self.layers) * u64::from(self.key_value()) * u64::from(self.context);
        if cache > MAX_CACHE {
            return Err(ModelError::Field { name: "layers * kv_heads * head_dim * context", got: cache });
        }
        Ok(())
    }

    /// The tensors (matrices still whole) in the order of the file. `self` has been checked.
    pub(crate) fn tensors(&self, vocab: u32) -> Vec<(String, Kind)> {
        let matrix = |rows, columns| Kind::Matrix { rows, columns };
        let vector = |len| Kind::Vector { len };
        let mut all = vec![("embed".into(), matrix(vocab, self.dim)), ("final_norm".into(), vector(self.dim))];
        for layer in 0..self.layers {
            let parts = [
                ("attn_k", matrix(self.key_value(), self.dim)),
                ("attn_norm", vector(self.dim)),
                ("attn_o", matrix(self.dim, self.query())),
                ("attn_q", matrix(self.query(), self.dim)),
                ("attn_v", matrix(self.key_value(), self.dim)),
                ("ffn_down", matrix(self.dim, self.ffn)),
                ("ffn_gate", matrix(self.ffn, self.dim)),
                ("ffn_norm", vector(self.dim)),
                ("ffn_up", matrix(self.ffn, self.dim)),
            ];
            all.extend(parts.map(|(name, kind)| (format!("layers.{layer:03}.{name}"), kind)));
        }
        if !self.tied {
            all.push(("lm_head".into(), matrix(vocab, self.dim)));
        }
        all.push(("rope_freq".into(), vector(self.head_dim / 2)));
        all
    }
}

/// Where the next tensor starts after `end` bytes.
pub(crate) fn align(end: u64) -> u64 {
    end.next_multiple_of(64)
}

/// The length of a file with this header and these tensors. No overflow: at most 2^12 tensors of under 2^33 bytes.
pub(crate) fn file_len(header: u64, tensors: &[(String, Kind)]) -> u64 {
    tensors.iter().fold(header, |end, (_, kind)| match *kind {
        Kind::Matrix { rows, columns } => align(align(end) + u64::from(rows) * u64::from(columns)) + 4 * u64::from(rows),
        Kind::Vector { len } => align(end) + 4 * u64::from(len),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn small() -> Config {
        Config { dim: 64, layers: 2, heads: 4, kv_heads: 2, head_dim: 16, ffn: 128, context: 256, norm_eps: 1e-5, tied: true }
    }

    #[test]
    fn tensor_names_are_in_byte_order() {
        let names: Vec<String> = Config { tied: false, layers: 12, ..small() }
            .tensors(300)
            .into_iter()
            .flat_map(|(name, kind)| match kind {
                Kind::Matrix { .. } => vec![format!("{name}.q"), format!("{name}.s")],
                Kind::Vector { .. } => vec![name],
            })
            .collect();
        let mut sorted = names.clone();
        sorted.sort();
        assert_eq!(names, sorted);
    }

    #[test]
    fn each_field_outside_its_limit_is_named() {
        let cases: [(&str, Config); 11] = [
            ("dim", Config { dim: 24, ..small() }),
            ("dim", Config { dim: 0, ..small() }),
            ("layers", Config { layers: 0, ..small() }),
            ("heads", Config { heads: 257, ..small() }),
            ("kv_heads", Config { kv_heads: 3, ..small() }),
            ("kv_heads", Config { kv_heads: 0, ..small() }),
            ("head_dim", Config { head_dim: 8, ..small() }),
            ("ffn", Config { ffn: u32::MAX, ..small() }),
            ("context", Config { context: 32_769, ..small() }),
            ("norm_eps", Config { norm_eps: f32::NAN, ..small() }),
            ("heads * head_dim", Config { heads: 256, kv_heads: 256, head_dim: 256, ..small() }),
        ];
        for (field, config) in cases {
            assert!(matches!(config.check(), Err(ModelError::Field { name, .. }) if name == field), "{field}");
        }
        assert_eq!(small().check(), Ok(()));
    }
}
