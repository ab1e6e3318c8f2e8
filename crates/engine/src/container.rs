//! The model container `.cnd1`: from bytes to a [`Model`], digested over the very bytes it is read from.
//!
//! Spec: det-1.md §1, read strictly: one valid file per contents, every limit checked before anything is allocated from it, the total
//! length known from the header before the first tensor is read. Writing is `builder`; meaning of the fields is `config`.

use std::fmt;

use crate::ModelError;
use crate::config::{Config, Kind, MAX_MERGES, MAX_SPECIALS, align, file_len};
use crate::digest::merkle_root;
use crate::linear::Matrix;
use crate::math::sin_cos;
use crate::tokenizer::{MAX_SPECIAL_NAME, Tokenizer};

pub(crate) const MAGIC: [u8; 8] = *b"CND1\r\n\x1a\n";
pub(crate) const VERSION: u32 = 1;
pub(crate) const FIXED_HEADER: u32 = 72;
pub(crate) const FLAG_TIED: u32 = 1;
/// `candor-chat/1`.
pub(crate) const TEMPLATE: u32 = 1;

/// A model in memory: weights, tokenizer, and the digest of the file both came from.
pub struct Model {
    pub(crate) config: Config,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) embed: Matrix,
    pub(crate) layers: Vec<Layer>,
    pub(crate) final_norm: Vec<f32>,
    /// Absent if tied to `embed`.
    pub(crate) head: Option<Matrix>,
    /// Cosines and sines of every position, `head_dim / 2` each.
    pub(crate) rope: Vec<(f32, f32)>,
    digest: [u8; 32],
}

/// One block.
pub(crate) struct Layer {
    pub(crate) attn_norm: Vec<f32>,
    pub(crate) attn_q: Matrix,
    pub(crate) attn_k: Matrix,
    pub(crate) attn_v: Matrix,
    pub(crate) attn_o: Matrix,
    pub(crate) ffn_norm: Vec<f32>,
    pub(crate) ffn_gate: Matrix,
    pub(crate) ffn_up: Matrix,
    pub(crate) ffn_down: Matrix,
}

impl Model {
    /// Reads a container. Takes about twice the file's size in memory (weights are widened once, for speed).
    ///
    /// # Errors
    ///
    /// Any [`ModelError`] of reading; the first rule of det-1.md §1 or §2 that the bytes break.
    pub fn load(bytes: &[u8]) -> Result<Self, ModelError> {
        let mut header = Header { bytes, at: 0 };
        if header.take(8)? != MAGIC {
            return Err(ModelError::Magic);
        }
        let version = header.u32()?;
        if version != VERSION {
            return Err(ModelError::Version { expected: VERSION, got: version });
        }
        let header_len = header.u32()?;
        let vocab = header.u32()?;
        let config = read_config(&mut header)?;
        let tokenizer = read_tokenizer(&mut header, vocab)?;
        if header.at != header_len as usize {
            return Err(ModelError::Length { expected: header.at as u64, got: header_len.into() });
        }

        let expected = file_len(header.at as u64, &config.tensors(vocab));
        let got = bytes.len() as u64;
        if expected != got {
            return Err(ModelError::Length { expected, got });
        }
        let tensors = config.tensors(vocab);
        let mut file = Tensors { bytes, at: header.at, order: tensors.iter() };
        let embed = file.matrix()?;
        let final_norm = file.vector()?;
        let layers = (0..config.layers).map(|_| file.layer()).collect::<Result<_, _>>()?;
        let head = if config.tied { None } else { Some(file.matrix()?) };
        let rope = rope_table(&file.vector()?, config.context)?;
        Ok(Self { config, tokenizer, embed, layers, final_norm, head, rope, digest: merkle_root(bytes) })
    }

    /// The digest of the container this model was read from: what a receipt names.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The model's shape.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The model's tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model").field("config", &self.config).field("digest", &self.digest).finish_non_exhaustive()
    }
}

fn read_config(header: &mut Header<'_>) -> Result<Config, ModelError> {
    let mut config = Config {
        dim: header.u32()?,
        layers: header.u32()?,
        heads: header.u32()?,
        kv_heads: header.u32()?,
        head_dim: header.u32()?,
        ffn: header.u32()?,
        context: header.u32()?,
        norm_eps: f32::from_bits(header.u32()?),
        tied: false,
    };
    for (name, allowed) in [("flags", 0..=FLAG_TIED), ("template", TEMPLATE..=TEMPLATE), ("reserved", 0..=0)] {
        let got = header.u32()?;
        if !allowed.contains(&got) {
            return Err(ModelError::Field { name, got: got.into() });
        }
        config.tied |= name == "flags" && got == FLAG_TIED;
    }
    config.check()?;
    Ok(config)
}

fn read_tokenizer(header: &mut Header<'_>, vocab: u32) -> Result<Tokenizer, ModelError> {
    let merge_count = header.u32()?;
    let special_count = header.u32()?;
    for (name, got, max) in [("merges", merge_count, MAX_MERGES), ("specials", special_count, MAX_SPECIALS)] {
        if got > max {
            return Err(ModelError::Field { name, got: got.into() });
        }
    }
    if vocab != 256 + merge_count + special_count {
        return Err(ModelError::Field { name: "vocab", got: vocab.into() });
    }
    let pairs = header.take(merge_count as usize * 8)?;
    let (pairs, _) = pairs.as_chunks::<4>();
    let (pairs, _) = pairs.as_chunks::<2>();
    let merges = pairs.iter().map(|[left, right]| (u32::from_le_bytes(*left), u32::from_le_bytes(*right))).collect();
    let mut specials = Vec::new();
    for index in 0..special_count {
        let len = header.u32()?;
        if len > MAX_SPECIAL_NAME {
            return Err(ModelError::Tokenizer { rule: "a special token's name has at most 64 bytes", index });
        }
        let name = std::str::from_utf8(header.take(len as usize)?);
        let Ok(name) = name else {
            return Err(ModelError::Tokenizer { rule: "a special token's name is UTF-8", index });
        };
        specials.push(name.to_owned());
    }
    Tokenizer::new(merges, specials)
}

/// The cosine and sine of each position and pair. §5 step 2.
fn rope_table(freq: &[f32], context: u32) -> Result<Vec<(f32, f32)>, ModelError> {
    for (index, freq) in freq.iter().enumerate() {
        if !(0.0..=1.0).contains(freq) || freq.is_sign_negative() {
            return Err(ModelError::Value { tensor: "rope_freq".into(), index: index as u64 });
        }
    }
    let angles = (0..context).flat_map(|position| freq.iter().map(move |freq| f64::from(position) * f64::from(*freq)));
    Ok(angles
        .map(|angle| {
            let (sin, cos) = sin_cos(angle);
            (cos as f32, sin as f32)
        })
        .collect())
}

/// A cursor over the header, which knows only that bytes may run out.
struct Header<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Header<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], ModelError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(taken) = rest.get(..len) else {
            let expected = (self.at as u64).saturating_add(len as u64);
            return Err(ModelError::Length { expected, got: self.bytes.len() as u64 });
        };
        self.at += len;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, ModelError> {
        let bytes = self.take(4)?;
        Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }
}

/// A cursor over the tensors, in the file's order.
struct Tensors<'a> {
    bytes: &'a [u8],
    at: usize,
    order: std::slice::Iter<'a, (String, Kind)>,
}

impl<'a> Tensors<'a> {
    fn matrix(&mut self) -> Result<Matrix, ModelError> {
        let Some((name, Kind::Matrix { rows, columns })) = self.order.next() else {
            return Err(ModelError::Tensor { name: "matrix".into() });
        };
        let weights = self.aligned(*rows as usize * *columns as usize)?;
        if let Some(index) = weights.iter().position(|byte| *byte == 0x80) {
            return Err(ModelError::Value { tensor: format!("{name}.q"), index: index as u64 });
        }
        let weights = weights.iter().map(|byte| i16::from(byte.cast_signed())).collect();
        let scales = self.floats(*rows)?;
        if let Some(index) = scales.iter().position(|scale| !scale.is_finite() || scale.is_sign_negative()) {
            return Err(ModelError::Value { tensor: format!("{name}.s"), index: index as u64 });
        }
        Ok(Matrix { columns: *columns as usize, weights, scales })
    }

    fn vector(&mut self) -> Result<Vec<f32>, ModelError> {
        let Some((name, Kind::Vector { len })) = self.order.next() else {
            return Err(ModelError::Tensor { name: "vector".into() });
        };
        let values = self.floats(*len)?;
        match values.iter().position(|value| !value.is_finite()) {
            Some(index) => Err(ModelError::Value { tensor: name.clone(), index: index as u64 }),
            None => Ok(values),
        }
    }

    fn layer(&mut self) -> Result<Layer, ModelError> {
        // Struct fields are evaluated as written: this is the file's order.
        Ok(Layer {
            attn_k: self.matrix()?,
            attn_norm: self.vector()?,
            attn_o: self.matrix()?,
            attn_q: self.matrix()?,
            attn_v: self.matrix()?,
            ffn_down: self.matrix()?,
            ffn_gate: self.matrix()?,
            ffn_norm: self.vector()?,
            ffn_up: self.matrix()?,
        })
    }

    fn floats(&mut self, len: u32) -> Result<Vec<f32>, ModelError> {
        let (floats, _) = self.aligned(len as usize * 4)?.as_chunks::<4>();
        Ok(floats.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }

    /// The next `len` bytes after the padding, which must be zero.
    fn aligned(&mut self, len: usize) -> Result<&'a [u8], ModelError> {
        let start = align(self.at as u64) as usize;
        let end = start + len;
        let (Some(padding), Some(taken)) = (self.bytes.get(self.at..start), self.bytes.get(start..end)) else {
            return Err(ModelError::Length { expected: end as u64, got: self.bytes.len() as u64 });
        };
        if let Some(index) = padding.iter().position(|byte| *byte != 0) {
            return Err(ModelError::Padding { offset: (self.at + index) as u64 });
        }
        self.at = end;
        Ok(taken)
    }
}
