//! OpenAI chat completions over det/1: one code path for the enclave that answers and for the replay that checks the answer.
//!
//! [`ChatRequest::parse`] reads the body, [`prompt_tokens`] applies the template, [`answer`] generates and renders frame by frame, and
//! [`replay`] is those three in a row. Pure: no clock, no randomness; id, time and seed are parameters.
//!
//! Spec: det-1.md §3 (template), §8 (frames), §9 (requests). Not here: HTTP, SSE framing, the receipt spliced into the last frame, model ids.

mod error;
mod members;
mod number;
mod render;
mod request;

use std::fmt;
use std::ops::ControlFlow;

pub use error::ApiError;
pub use render::{Head, StreamRenderer, whole_body};
pub use request::{ChatRequest, MAX_BODY_BYTES, Message, Role};

use crate::tokenizer::{MAX_TOKEN_BYTES, Special};
use crate::{Finish, Model, Options, Step, Usage, generate};

/// The prompt of `request` under the template `candor-chat/1`. Linear in the request's text, and it ends where the text cannot fit any more:
/// who sends a mebibyte of it makes nobody count a mebibyte.
///
/// # Errors
///
/// 400 `context_length_exceeded` if the prompt and `max_tokens` do not fit into the model's context.
pub fn prompt_tokens(model: &Model, request: &ChatRequest) -> Result<Vec<u32>, ApiError> {
    prompt_of(model, &request.messages, request.max_tokens)
}

/// The same for a conversation that another model than the request's reads, and `max_tokens` of what it says.
///
/// # Errors
///
/// As of [`prompt_tokens`].
pub fn prompt_of(model: &Model, messages: &[Message], max_tokens: u32) -> Result<Vec<u32>, ApiError> {
    let (tokenizer, context) = (model.tokenizer(), model.config().context);
    let text: u64 = messages.iter().map(|message| message.text.len() as u64).sum();
    if u64::from(context) * (MAX_TOKEN_BYTES as u64) < text {
        return Err(ApiError::messages_beyond_context(context));
    }
    let mut tokens = vec![tokenizer.special(Special::Begin)];
    for message in messages {
        tokens.push(tokenizer.special(match message.role {
            Role::System => Special::System,
            Role::User => Special::User,
            Role::Assistant => Special::Assistant,
        }));
        tokenizer.encode_within(&message.text, context as usize, &mut tokens);
        if tokens.len() > context as usize {
            return Err(ApiError::messages_beyond_context(context));
        }
        tokens.push(tokenizer.special(Special::End));
    }
    tokens.push(tokenizer.special(Special::Assistant));
    if tokens.len() as u64 + u64::from(max_tokens) > context.into() {
        return Err(ApiError::context_length(context, tokens.len() as u64, max_tokens));
    }
    Ok(tokens)
}

/// How an answer ended, and what remains to be sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Completed {
    /// The last frame, an object ending in `}`, which the caller sends once the receipt is in it. None if cancelled.
    pub last_frame: Option<Vec<u8>>,
    /// Why the answer ended.
    pub finish: Finish,
    /// Tokens used, also if cancelled.
    pub usage: Usage,
}

/// Generates and renders the answer to `request`, whose prompt is `prompt`.
///
/// Every frame but the last goes to `on_frame` as soon as it is complete, with the tokens that were made up to it; `Break` cancels. After a
/// token without a frame, which is each one of a whole (not streamed) answer, `on_frame` is called with an empty frame, so that a caller can
/// always cancel. `server_seed` is used unless the request chose a seed.
///
/// # Errors
///
/// 400 `context_length_exceeded`; 500 if `prompt` is not one that [`prompt_tokens`] made.
pub fn answer(
    model: &Model,
    request: &ChatRequest,
    prompt: &[u32],
    server_seed: [u8; 32],
    head: &Head,
    options: &Options,
    on_frame: &mut dyn FnMut(&[u8], u32) -> ControlFlow<()>,
) -> Result<Completed, ApiError> {
    let decoding = request.decoding(server_seed);
    let mut tokens = 0_u32;
    if !request.stream {
        let mut on_token = |_: Step<'_>| {
            tokens += 1;
            on_frame(&[], tokens)
        };
        let done = generate(model, prompt, &decoding, options, &mut on_token).map_err(ApiError::from_generate)?;
        let last_frame = whole_body(head, &done.text, done.finish, done.usage);
        return Ok(Completed { last_frame, finish: done.finish, usage: done.usage });
    }
    let renderer = StreamRenderer::new(head, request.include_usage);
    let mut opened = false;
    let mut open = |on_frame: &mut dyn FnMut(&[u8], u32) -> ControlFlow<()>| {
        if opened {
            return ControlFlow::Continue(());
        }
        opened = true;
        on_frame(&renderer.first(), 0)
    };
    let done = generate(model, prompt, &decoding, options, &mut |step| {
        open(on_frame)?;
        tokens += 1;
        match renderer.text(step.text) {
            Some(frame) => on_frame(&frame, tokens),
            None => on_frame(&[], tokens),
        }
    })
    .map_err(ApiError::from_generate)?;

    let Some((rest, last_frame)) = renderer.end(done.tail(), done.finish, done.usage) else {
        return Ok(Completed { last_frame: None, finish: Finish::Cancelled, usage: done.usage });
    };
    // An answer of no token has not been opened yet.
    let mut sent = open(on_frame);
    for frame in &rest {
        if sent.is_continue() {
            sent = on_frame(frame, tokens);
        }
    }
    if sent.is_break() {
        return Ok(Completed { last_frame: None, finish: Finish::Cancelled, usage: done.usage });
    }
    Ok(Completed { last_frame: Some(last_frame), finish: done.finish, usage: done.usage })
}

/// The frames of a refusal in this text, in the form that `request` asked for: what is sent instead of an answer by whoever judges requests
/// before a model sees them. The last one is as that of an answer. Spec: http.md §4.8.
#[must_use]
pub fn refusal(request: &ChatRequest, head: &Head, text: &str, usage: Usage) -> Vec<Vec<u8>> {
    match request.stream {
        true => StreamRenderer::new(head, request.include_usage).refused(text, usage),
        false => vec![render::whole_refusal(head, text, usage)],
    }
}

/// Id of an answer in its frames: from the request commitment, so that whoever replays makes the same bytes.
#[must_use]
pub fn answer_id(request_commitment: &[u8; 32]) -> String {
    let hex: String = request_commitment.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    format!("chatcmpl-{hex}")
}

/// All frames of the answer to `body`, as [`answer`] makes them; the last is without the receipt. `max_tokens` is the decoding record's: a
/// node may have offered fewer tokens than were asked for, and never more count than those.
///
/// # Errors
///
/// Whatever the API would have answered instead.
pub fn replay(model: &Model, body: &[u8], seed: [u8; 32], max_tokens: u32, id: &str, created: u64) -> Result<Vec<Vec<u8>>, ApiError> {
    let request = ChatRequest::parse(body)?.capped(max_tokens);
    let prompt = prompt_tokens(model, &request)?;
    let head = Head { id: id.to_owned(), created, model: request.model.clone() };
    let mut frames = Vec::new();
    let done = answer(model, &request, &prompt, seed, &head, &Options::default(), &mut |frame, _| {
        if !frame.is_empty() {
            frames.push(frame.to_vec());
        }
        ControlFlow::Continue(())
    })?;
    frames.extend(done.last_frame);
    Ok(frames)
}

impl fmt::Display for Finish {
    /// The API's `finish_reason`; `cancelled` never appears in a frame.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "cancelled",
            Self::Length => "length",
            Self::Stop => "stop",
        })
    }
}
