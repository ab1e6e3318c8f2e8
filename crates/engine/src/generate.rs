//! From prompt tokens to an answer, one step at a time, metered.
//!
//! Spec: det-1.md §7. Not here: the API's frames (`chat`), deadlines: whoever has one returns `Break` from the callback.

use std::ops::ControlFlow;

use crate::sampling::Sampler;
use crate::stop::StopScanner;
use crate::text::TextDecoder;
use crate::tokenizer::Special;
use crate::{Decoding, GenerateError, Model, Options, Session};

/// Why generation ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Finish {
    /// The caller broke off.
    Cancelled,
    /// `max_tokens` were produced.
    Length,
    /// The model ended the answer, or a stop string did.
    Stop,
}

/// Tokens used. Spec: det-1.md §7.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    /// Tokens of the prompt, special ones included.
    pub prompt_tokens: u32,
    /// Tokens produced, without `<|end|>`.
    pub completion_tokens: u32,
}

/// One produced token.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Its index in the answer, from 0.
    pub index: u32,
    /// Its id.
    pub token: u32,
    /// The text it released: whole characters, none at or past a stop string; often empty.
    pub text: &'a str,
}

/// An answer, whole or broken off.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Generated {
    /// The tokens produced, without `<|end|>`.
    pub tokens: Vec<u32>,
    /// The whole text.
    pub text: String,
    /// The bytes of `text` that no step released: what was held back when the answer ended. Zero if cancelled.
    pub tail_bytes: usize,
    /// Why it ended.
    pub finish: Finish,
    /// What it used.
    pub usage: Usage,
}

impl Generated {
    /// The end of the text, which no step released.
    #[must_use]
    pub fn tail(&self) -> &str {
        self.text.get(self.text.len().saturating_sub(self.tail_bytes)..).unwrap_or_default()
    }
}

/// Answers `prompt`, calling `on_step` after each token; `Break` ends the answer there, as [`Finish::Cancelled`].
///
/// The result depends on model, prompt and decoding alone: `options` decide only how fast it comes.
///
/// # Errors
///
/// Any [`GenerateError`], before the first step.
pub fn generate(
    model: &Model,
    prompt: &[u32],
    decoding: &Decoding,
    options: &Options,
    on_step: &mut dyn FnMut(Step<'_>) -> ControlFlow<()>,
) -> Result<Generated, GenerateError> {
    decoding.check()?;
    let requested = prompt.len() as u64 + u64::from(decoding.max_tokens);
    let limit = model.config().context;
    if requested > limit.into() {
        return Err(GenerateError::ContextLength { limit, requested });
    }
    if prompt.is_empty() {
        return Err(GenerateError::EmptyPrompt);
    }
    let mut session = Session::new(model, requested as usize, *options)?;
    session.feed(prompt)?;

    let mut answer = Answer::new(model, decoding);
    let finish = loop {
        let index = answer.tokens.len() as u32;
        let token = answer.sampler.sample(session.logits(), model.tokenizer(), decoding, index.into());
        if token == model.tokenizer().special(Special::End) {
            break Finish::Stop;
        }
        let released = answer.text.len();
        let stopped = answer.push(model, token);
        let text = answer.text.get(released..).unwrap_or_default();
        if on_step(Step { index, token, text }).is_break() {
            break Finish::Cancelled;
        }
        if stopped {
            break Finish::Stop;
        }
        if answer.tokens.len() >= decoding.max_tokens as usize {
            break Finish::Length;
        }
        session.feed(&[token])?;
    };
    Ok(answer.end(finish, prompt.len() as u32))
}

/// An answer under way.
struct Answer {
    sampler: Sampler,
    decoder: TextDecoder,
    scanner: StopScanner,
    /// Text decoded by the current token; kept for its allocation.
    decoded: String,
    tokens: Vec<u32>,
    text: String,
}

impl Answer {
    fn new(model: &Model, decoding: &Decoding) -> Self {
        let tokens = Vec::with_capacity(decoding.max_tokens.min(model.config().context) as usize);
        let scanner = StopScanner::new(&decoding.stop);
        Self { sampler: Sampler::default(), decoder: TextDecoder::default(), scanner, decoded: String::new(), tokens, text: String::new() }
    }

    /// Adds a token and the text it releases; true if a stop string is complete.
    fn push(&mut self, model: &Model, token: u32) -> bool {
        self.tokens.push(token);
        self.decoded.clear();
        self.decoder.push(model.tokenizer().token_bytes(token), &mut self.decoded);
        self.scanner.push(&self.decoded, &mut self.text)
    }

    fn end(mut self, finish: Finish, prompt_tokens: u32) -> Generated {
        let released = self.text.len();
        let mut finish = finish;
        if finish != Finish::Cancelled {
            self.decoded.clear();
            self.decoder.finish(&mut self.decoded);
            // An incomplete character at the end is U+FFFD, which a stop string may contain.
            if self.scanner.push(&self.decoded, &mut self.text) {
                finish = Finish::Stop;
            }
            self.scanner.finish(&mut self.text);
        }
        let usage = Usage { prompt_tokens, completion_tokens: self.tokens.len() as u32 };
        Generated { tail_bytes: self.text.len() - released, tokens: self.tokens, text: self.text, finish, usage }
    }
}
