//! The forward pass: tokens in, logits of the last one out, keys and values kept.
//!
//! Spec: det-1.md §5, in its order. Every row is computed by itself from the rows before it, so how the prompt is cut into chunks, and over
//! how many threads the work is split, cannot change a bit. All buffers are allocated when the session starts.
//!
//! Not here: choosing the next token (`sampling`), when to stop (`generate`).

use std::thread;

use crate::attention::{Cache, attend, rotate};
use crate::container::Layer;
use crate::linear::{Matrix, Options, Rows, linear};
use crate::math::{quantise, rms_norm, swiglu};
use crate::{GenerateError, Model};

/// One sequence being read and written.
pub struct Session<'m> {
    model: &'m Model,
    options: Options,
    caches: Vec<Cache>,
    /// Tokens fed so far.
    position: usize,
    capacity: usize,
    buffers: Buffers,
    logits: Vec<f32>,
}

/// Scratch for a chunk of tokens; each is `[token][element]`.
struct Buffers {
    /// Tokens these buffers are for.
    chunk: usize,
    residual: Vec<f32>,
    /// A norm's output, then a block's.
    hidden: Vec<f32>,
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    attended: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
    quantised: Vec<i16>,
    scales: Vec<f32>,
    /// `[thread][position]`.
    scores: Vec<f32>,
}

impl<'m> Session<'m> {
    /// A session for at most `capacity` tokens. Takes `8 · layers · kv_heads · head_dim · capacity` bytes and some scratch.
    ///
    /// # Errors
    ///
    /// [`GenerateError::ContextLength`] if `capacity` exceeds the model's context.
    pub fn new(model: &'m Model, capacity: usize, options: Options) -> Result<Self, GenerateError> {
        let limit = model.config.context;
        if capacity > limit as usize {
            return Err(GenerateError::ContextLength { limit, requested: capacity as u64 });
        }
        let config = &model.config;
        let chunk = options.prefill_chunk.clamp(1, capacity.max(1));
        let floats = |width: u32| vec![0f32; width as usize * chunk];
        let widest = config.dim.max(config.query()).max(config.ffn) as usize;
        let threads = options.threads.clamp(1, chunk);
        let buffers = Buffers {
            chunk,
            residual: floats(config.dim),
            hidden: floats(config.dim),
            query: floats(config.query()),
            key: floats(config.key_value()),
            value: floats(config.key_value()),
            attended: floats(config.query()),
            gate: floats(config.ffn),
            up: floats(config.ffn),
            quantised: vec![0; widest * chunk],
            scales: vec![0.0; chunk],
            scores: vec![0.0; capacity.max(1) * threads],
        };
        let caches = model.layers.iter().map(|_| Cache::new(config, capacity.max(1))).collect();
        let logits = vec![0.0; model.tokenizer.vocab() as usize];
        Ok(Self { model, options, caches, position: 0, capacity, buffers, logits })
    }

    /// Reads `tokens`; afterwards [`Self::logits`] are those of the last one. Nothing is read if an error is returned.
    ///
    /// # Errors
    ///
    /// [`GenerateError::UnknownToken`]; [`GenerateError::ContextLength`] if they exceed the capacity.
    pub fn feed(&mut self, tokens: &[u32]) -> Result<(), GenerateError> {
        let vocab = self.model.tokenizer.vocab();
        if let Some(got) = tokens.iter().copied().find(|token| *token >= vocab) {
            return Err(GenerateError::UnknownToken { got });
        }
        if tokens.len() > self.capacity - self.position {
            let requested = self.position as u64 + tokens.len() as u64;
            return Err(GenerateError::ContextLength { limit: self.capacity as u32, requested });
        }
        for chunk in tokens.chunks(self.buffers.chunk) {
            self.feed_chunk(chunk);
            self.position += chunk.len();
        }
        if let Some(rest) = tokens.len().checked_sub(1) {
            self.project(rest % self.buffers.chunk);
        }
        Ok(())
    }

    /// The logits after the last token fed, one per token of the vocabulary, all finite; zeros before the first.
    #[must_use]
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    fn feed_chunk(&mut self, tokens: &[u32]) {
        let model = self.model;
        let width = model.config.dim as usize;
        for (token, row) in tokens.iter().zip(self.buffers.residual.chunks_exact_mut(width)) {
            model.embed.dequantise(*token as usize, row);
        }
        for (index, layer) in model.layers.iter().enumerate() {
            self.attention_block(index, layer, tokens.len());
            self.feed_forward_block(layer, tokens.len());
        }
    }

    /// §5 steps 1 to 4.
    fn attention_block(&mut self, index: usize, layer: &Layer, tokens: usize) {
        let config = &self.model.config;
        let options = &self.options;
        let buffers = &mut self.buffers;
        buffers.norm(&layer.attn_norm, config.norm_eps, tokens);
        buffers.quantise_hidden(tokens);
        let rows = Rows { values: &buffers.quantised[..tokens * layer.attn_q.columns], scales: &buffers.scales[..tokens] };
        linear(&layer.attn_q, rows, part(&mut buffers.query, &layer.attn_q, tokens), options);
        linear(&layer.attn_k, rows, part(&mut buffers.key, &layer.attn_k, tokens), options);
        linear(&layer.attn_v, rows, part(&mut buffers.value, &layer.attn_v, tokens), options);

        let pairs = config.head_dim as usize / 2;
        let angles = self.model.rope.chunks_exact(pairs).skip(self.position);
        let queries = buffers.query.chunks_exact_mut(config.query() as usize);
        let keys = buffers.key.chunks_exact_mut(config.key_value() as usize);
        let values = buffers.value.chunks_exact(config.key_value() as usize);
        let cache = &mut self.caches[index];
        for (offset, (((query, key), value), angles)) in queries.zip(keys).zip(values).zip(angles).take(tokens).enumerate() {
            rotate(query, angles);
            rotate(key, angles);
            cache.store(self.position + offset, key, value);
        }

        self.attend_all(index, tokens);
        let buffers = &mut self.buffers;
        let width = layer.attn_o.columns;
        quantise_rows(&buffers.attended[..tokens * width], width, &mut buffers.quantised, &mut buffers.scales);
        let rows = Rows { values: &buffers.quantised[..tokens * width], scales: &buffers.scales[..tokens] };
        linear(&layer.attn_o, rows, part(&mut buffers.hidden, &layer.attn_o, tokens), &self.options);
        buffers.add_hidden(tokens * layer.attn_o.scales.len());
    }

    /// §5 step 3 for each token of the chunk, the tokens split over threads.
    fn attend_all(&mut self, index: usize, tokens: usize) {
        let config = &self.model.config;
        let width = config.query() as usize;
        let first = self.position;
        let work = 2 * width * tokens * (first + tokens);
        let share = tokens.div_ceil(self.options.threads_for(work).min(tokens));
        let buffers = &mut self.buffers;
        let cache = &self.caches[index];
        let queries = buffers.query[..tokens * width].chunks(share * width);
        let outputs = buffers.attended[..tokens * width].chunks_mut(share * width);
        let scratch = buffers.scores.chunks_mut(self.capacity);
        let mut jobs = queries.zip(outputs).zip(scratch).enumerate().map(|(job, ((queries, outputs), scores))| {
            move || {
                let rows = queries.chunks_exact(width).zip(outputs.chunks_exact_mut(width));
                for (offset, (query, out)) in rows.enumerate() {
                    let position = first + job * share + offset;
                    attend(query, cache, config, &mut scores[..=position], out);
                }
            }
        });
        if share == tokens {
            if let Some(mut job) = jobs.next() {
                job();
            }
        } else {
            thread::scope(|scope| {
                for job in jobs {
                    scope.spawn(job);
                }
            });
        }
    }

    /// §5 step 5.
    fn feed_forward_block(&mut self, layer: &Layer, tokens: usize) {
        let options = &self.options;
        let buffers = &mut self.buffers;
        buffers.norm(&layer.ffn_norm, self.model.config.norm_eps, tokens);
        buffers.quantise_hidden(tokens);
        let rows = Rows { values: &buffers.quantised[..tokens * layer.ffn_gate.columns], scales: &buffers.scales[..tokens] };
        linear(&layer.ffn_gate, rows, part(&mut buffers.gate, &layer.ffn_gate, tokens), options);
        linear(&layer.ffn_up, rows, part(&mut buffers.up, &layer.ffn_up, tokens), options);
        let width = layer.ffn_down.columns;
        swiglu(&mut buffers.gate[..tokens * width], &buffers.up);
        quantise_rows(&buffers.gate[..tokens * width], width, &mut buffers.quantised, &mut buffers.scales);
        let rows = Rows { values: &buffers.quantised[..tokens * width], scales: &buffers.scales[..tokens] };
        linear(&layer.ffn_down, rows, part(&mut buffers.hidden, &layer.ffn_down, tokens), options);
        buffers.add_hidden(tokens * layer.ffn_down.scales.len());
    }

    /// The logits of row `row` of the last chunk.
    fn project(&mut self, row: usize) {
        let model = self.model;
        let width = model.config.dim as usize;
        let buffers = &mut self.buffers;
        rms_norm(&buffers.residual[row * width..][..width], &model.final_norm, model.config.norm_eps, &mut buffers.hidden[..width]);
        buffers.quantise_hidden(1);
        let rows = Rows { values: &buffers.quantised[..width], scales: &buffers.scales[..1] };
        linear(model.head.as_ref().unwrap_or(&model.embed), rows, &mut self.logits, &self.options);
        for logit in &mut self.logits {
            *logit = if logit.is_finite() { *logit } else { f32::MIN };
        }
    }
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("position", &self.position).field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

impl Buffers {
    /// `hidden = norm(residual)` for the first `tokens` rows.
    fn norm(&mut self, weight: &[f32], eps: f32, tokens: usize) {
        let width = weight.len();
        let rows = self.residual.chunks_exact(width).zip(self.hidden.chunks_exact_mut(width));
        for (row, out) in rows.take(tokens) {
            rms_norm(row, weight, eps, out);
        }
    }

    fn quantise_hidden(&mut self, tokens: usize) {
        let width = self.hidden.len() / self.chunk;
        quantise_rows(&self.hidden[..tokens * width], width, &mut self.quantised, &mut self.scales);
    }

    fn add_hidden(&mut self, elements: usize) {
        for (residual, hidden) in self.residual[..elements].iter_mut().zip(&self.hidden) {
            *residual += hidden;
        }
    }
}

/// Where `matrix` writes its outputs for `tokens` tokens.
fn part<'a>(buffer: &'a mut [f32], matrix: &Matrix, tokens: usize) -> &'a mut [f32] {
    &mut buffer[..tokens * matrix.scales.len()]
}

fn quantise_rows(rows: &[f32], width: usize, out: &mut [i16], scales: &mut [f32]) {
    let rows = rows.chunks_exact(width).zip(out.chunks_exact_mut(width));
    for ((row, out), scale) in rows.zip(scales) {
        *scale = quantise(row, out);
    }
}
