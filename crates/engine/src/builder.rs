//! Writing a container: f32 tensors in, the one valid file out.
//!
//! Spec: det-1.md §1 "Quantising". Used by the fixture and by whoever imports weights; the trainer in tools/ writes the same bytes in Python.

use std::collections::BTreeMap;

use crate::config::{Config, Kind, align};
use crate::container::{FIXED_HEADER, FLAG_TIED, MAGIC, TEMPLATE, VERSION};
use crate::tokenizer::Tokenizer;
use crate::{Model, ModelError};

/// Collects a model's parts and writes its container.
#[derive(Clone, Debug)]
pub struct ModelBuilder {
    config: Config,
    merges: Vec<(u32, u32)>,
    specials: Vec<String>,
    tensors: BTreeMap<String, Vec<f32>>,
}

impl ModelBuilder {
    /// A model of this shape with these merges, in rank order. The five special tokens of the template come with it.
    #[must_use]
    pub fn new(config: Config, merges: Vec<(u32, u32)>) -> Self {
        Self { config, merges, specials: Tokenizer::TEMPLATE_SPECIALS.map(String::from).to_vec(), tensors: BTreeMap::new() }
    }

    /// Adds one more special token after the template's.
    #[must_use]
    pub fn special(mut self, name: &str) -> Self {
        self.specials.push(name.to_owned());
        self
    }

    /// Gives the tensor `name` (a matrix without its `.q`/`.s`), row-major `[out, in]`; a second value replaces the first.
    #[must_use]
    pub fn tensor(mut self, name: &str, values: Vec<f32>) -> Self {
        self.tensors.insert(name.to_owned(), values);
        self
    }

    /// The number of tokens this model will have: rows of `embed`.
    #[must_use]
    pub fn vocab(&self) -> usize {
        256 + self.merges.len() + self.specials.len()
    }

    /// Names and lengths (elements) of the tensors to give, in the file's order; empty if the shape is refused.
    #[must_use]
    pub fn expected(&self) -> Vec<(String, usize)> {
        let (Ok(()), Ok(vocab)) = (self.config.check(), u32::try_from(self.vocab())) else {
            return Vec::new();
        };
        let len = |kind| match kind {
            Kind::Matrix { rows, columns } => rows as usize * columns as usize,
            Kind::Vector { len } => len as usize,
        };
        self.config.tensors(vocab).into_iter().map(|(name, kind)| (name, len(kind))).collect()
    }

    /// Quantises the matrices and writes the container.
    ///
    /// # Errors
    ///
    /// [`ModelError::Tensor`] and [`ModelError::Shape`] for tensors, and whatever [`Model::load`] would say about the file.
    pub fn build(&self) -> Result<Vec<u8>, ModelError> {
        self.config.check()?;
        // Refuses tables too large for the header's fields, and every rule of §2.
        Tokenizer::new(self.merges.clone(), self.specials.clone())?;
        let vocab = self.vocab() as u32;
        let order = self.config.tensors(vocab);
        if let Some(unknown) = self.tensors.keys().find(|name| !order.iter().any(|(known, _)| known == *name)) {
            return Err(ModelError::Tensor { name: unknown.clone() });
        }
        let mut file = self.header(vocab);
        for (name, kind) in order {
            let Some(values) = self.tensors.get(&name) else {
                return Err(ModelError::Tensor { name });
            };
            let expected = match kind {
                Kind::Matrix { rows, columns } => u64::from(rows) * u64::from(columns),
                Kind::Vector { len } => len.into(),
            };
            if values.len() as u64 != expected {
                return Err(ModelError::Shape { name, expected, got: values.len() as u64 });
            }
            match kind {
                Kind::Matrix { columns, .. } => write_matrix(&mut file, values, columns as usize),
                Kind::Vector { .. } => write_floats(&mut file, values),
            }
        }
        // What we write, we can read: the remaining rules are on values, and they have one home.
        Model::load(&file)?;
        Ok(file)
    }

    fn header(&self, vocab: u32) -> Vec<u8> {
        let names: usize = self.specials.iter().map(|name| 4 + name.len()).sum();
        let len = FIXED_HEADER + 8 * self.merges.len() as u32 + names as u32;
        let config = &self.config;
        let mut file = MAGIC.to_vec();
        let fields = [
            VERSION,
            len,
            vocab,
            config.dim,
            config.layers,
            config.heads,
            config.kv_heads,
            config.head_dim,
            config.ffn,
            config.context,
            config.norm_eps.to_bits(),
            if config.tied { FLAG_TIED } else { 0 },
            TEMPLATE,
            0,
            self.merges.len() as u32,
            self.specials.len() as u32,
        ];
        let merges = self.merges.iter().flat_map(|(left, right)| [*left, *right]);
        for word in fields.into_iter().chain(merges) {
            file.extend(word.to_le_bytes());
        }
        for name in &self.specials {
            file.extend((name.len() as u32).to_le_bytes());
            file.extend(name.as_bytes());
        }
        file
    }
}

fn write_matrix(file: &mut Vec<u8>, values: &[f32], columns: usize) {
    let scales: Vec<f32> = values.chunks(columns).map(row_scale).collect();
    pad(file);
    for (row, scale) in values.chunks(columns).zip(&scales) {
        file.extend(row.iter().map(|w| quantised(*w, *scale).cast_unsigned()));
    }
    write_floats(file, &scales);
}

fn write_floats(file: &mut Vec<u8>, values: &[f32]) {
    pad(file);
    for value in values {
        file.extend(value.to_le_bytes());
    }
}

fn pad(file: &mut Vec<u8>) {
    file.resize(align(file.len() as u64) as usize, 0);
}

fn row_scale(row: &[f32]) -> f32 {
    row.iter().fold(0f32, |max, w| if w.abs() > max { w.abs() } else { max }) / 127.0
}

fn quantised(w: f32, scale: f32) -> i8 {
    if scale > 0.0 {
        // `as` turns NaN into 0; the clamp keeps -128 out.
        (w / scale).round_ties_even().clamp(-127.0, 127.0) as i8
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_round_half_to_even_and_reach_127() {
        let row = [127.0, -127.0, 0.5, 1.5, 2.5, -0.5, -1.5, 0.0];
        let scale = row_scale(&row);
        assert_eq!(scale, 1.0);
        assert_eq!(row.map(|w| quantised(w, scale)), [127, -127, 0, 2, 2, 0, -2, 0]);
        assert_eq!(quantised(3.0, row_scale(&[0.0])), 0);
    }

    #[test]
    fn missing_unknown_and_misshapen_tensors_are_named() {
        let config = crate::config::tests::small();
        let mut builder = ModelBuilder::new(config, vec![]);
        for (name, len) in builder.expected() {
            builder = builder.tensor(&name, vec![0.5; len]);
        }
        assert!(builder.build().is_ok());
        let unknown = builder.clone().tensor("layers.002.attn_k", vec![]).build();
        assert_eq!(unknown, Err(ModelError::Tensor { name: "layers.002.attn_k".into() }));
        let short = builder.clone().tensor("final_norm", vec![1.0; 63]).build();
        assert_eq!(short, Err(ModelError::Shape { name: "final_norm".into(), expected: 64, got: 63 }));
        let infinite = builder.clone().tensor("final_norm", vec![f32::INFINITY; 64]).build();
        assert_eq!(infinite, Err(ModelError::Value { tensor: "final_norm".into(), index: 0 }));
        builder.tensors.remove("embed");
        assert_eq!(builder.build(), Err(ModelError::Tensor { name: "embed".into() }));
    }
}
