//! The body of `POST /v1/chat/completions`: what is read, what is refused, what is ignored.
//!
//! Spec: det-1.md §9. Parsed once into a [`ChatRequest`]; nothing after it looks at JSON again. Refused by name is whatever would change
//! the answer and is not implemented: to ignore it would be to answer another question than the one paid for.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::ApiError;
use super::number::{is_zero, millionths};
use crate::sampling::{Decoding, seed_from_integer};

/// Bytes of the largest body.
pub const MAX_BODY_BYTES: usize = 1 << 20;
/// JSON nesting: what we read needs 4; the rest is for fields that are ignored.
const MAX_DEPTH: usize = 32;
const MAX_MESSAGES: usize = 256;
const MAX_PARTS: usize = 64;
const MAX_STOPS: usize = 4;
const MAX_STOP_BYTES: usize = 64;
const MAX_MODEL_BYTES: usize = 256;
const DEFAULT_MAX_TOKENS: u32 = 64;

/// A request, parsed: every field is within its limits.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ChatRequest {
    /// The model's id, as written.
    pub model: String,
    /// The conversation, at least one message.
    pub messages: Vec<Message>,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Whether the stream ends with a usage frame.
    pub include_usage: bool,
    /// The most tokens to produce, at least 1.
    pub max_tokens: u32,
    /// Temperature in millionths.
    pub temperature_e6: u32,
    /// Probability mass kept, in millionths.
    pub top_p_e6: u32,
    /// Likeliest tokens kept; 0 keeps all.
    pub top_k: u32,
    /// The seed, if the client chose one.
    pub seed: Option<i64>,
    /// Stop strings.
    pub stop: Vec<String>,
}

/// One message of the conversation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What they say; text parts are joined without anything between.
    pub text: String,
}

/// Who speaks. `developer` is `System`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// The model, earlier in the conversation.
    Assistant,
    /// The application.
    System,
    /// The person.
    User,
}

impl ChatRequest {
    /// Parses the body of a request.
    ///
    /// # Errors
    ///
    /// 413 if it is too large; else 400 with the parameter at fault.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        if body.len() > MAX_BODY_BYTES {
            let message = format!("The request body has {} bytes, the limit is {MAX_BODY_BYTES}.", body.len());
            return Err(ApiError { status: 413, ..ApiError::invalid_request(&message) });
        }
        let not_json = |reason: &str| ApiError::invalid_request(&format!("We could not parse the JSON body of your request: {reason}."));
        check_depth(body)?;
        let text = std::str::from_utf8(body).map_err(|_| not_json("it is not UTF-8"))?;
        let text = text.trim_matches([' ', '\t', '\n', '\r']);
        // Serde would also read the fields from an array.
        if !text.starts_with('{') {
            return Err(not_json("it is not an object"));
        }
        // The position, not serde's message, which may quote the body.
        let fields: Fields<'_> = serde_json::from_str(text).map_err(|error| {
            let what = if error.is_data() { "a field occurs twice, or is malformed, before" } else { "it is not well-formed at" };
            not_json(&format!("{what} line {} column {}", error.line(), error.column()))
        })?;
        fields.refuse_unsupported()?;
        let (stream, include_usage) = fields.stream()?;
        if integer("n", fields.n)?.is_some_and(|n| n != 1) {
            return Err(ApiError::unsupported_value("n", "only the value 1"));
        }
        let top_p_e6 = decimal("top_p", fields.top_p, 1_000_000, "a number above 0 and at most 1")?;
        if fields.top_p.is_some_and(|raw| is_zero(raw.get())) {
            return Err(ApiError::invalid_value("top_p", "a number above 0 and at most 1"));
        }
        Ok(Self {
            model: fields.model()?,
            messages: fields.messages()?,
            stream,
            include_usage,
            max_tokens: fields.max_tokens()?,
            temperature_e6: decimal("temperature", fields.temperature, 2_000_000, "a number from 0 to 2")?.unwrap_or(1_000_000),
            top_p_e6: top_p_e6.unwrap_or(1_000_000).max(1),
            top_k: bounded("top_k", fields.top_k, 0)?.unwrap_or(0),
            seed: integer("seed", fields.seed)?,
            stop: fields.stop()?,
        })
    }

    /// How to decode the answer; `server_seed` is used unless the client chose a seed.
    #[must_use]
    pub fn decoding(&self, server_seed: [u8; 32]) -> Decoding {
        Decoding {
            seed: self.seed.map_or(server_seed, seed_from_integer),
            temperature_e6: self.temperature_e6,
            top_p_e6: self.top_p_e6,
            top_k: self.top_k,
            max_tokens: self.max_tokens,
            stop: self.stop.clone(),
        }
    }
}

/// A field's JSON text. `null` is read as absent.
type Raw<'a> = Option<&'a RawValue>;

/// The fields that are looked at; serde refuses a second occurrence of any, and ignores all others.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    model: Raw<'a>,
    messages: Raw<'a>,
    stream: Raw<'a>,
    stream_options: Raw<'a>,
    max_tokens: Raw<'a>,
    max_completion_tokens: Raw<'a>,
    temperature: Raw<'a>,
    top_p: Raw<'a>,
    top_k: Raw<'a>,
    seed: Raw<'a>,
    stop: Raw<'a>,
    n: Raw<'a>,
    // Refused unless they say nothing.
    audio: Raw<'a>,
    frequency_penalty: Raw<'a>,
    function_call: Raw<'a>,
    functions: Raw<'a>,
    logit_bias: Raw<'a>,
    logprobs: Raw<'a>,
    modalities: Raw<'a>,
    prediction: Raw<'a>,
    presence_penalty: Raw<'a>,
    response_format: Raw<'a>,
    tool_choice: Raw<'a>,
    tools: Raw<'a>,
    top_logprobs: Raw<'a>,
    web_search_options: Raw<'a>,
}

#[derive(Deserialize)]
struct MessageFields<'a> {
    #[serde(borrow)]
    role: Raw<'a>,
    content: Raw<'a>,
    audio: Raw<'a>,
    function_call: Raw<'a>,
    tool_calls: Raw<'a>,
}

#[derive(Deserialize)]
struct PartFields<'a> {
    #[serde(borrow)]
    r#type: Raw<'a>,
    text: Raw<'a>,
}

#[derive(Deserialize)]
struct StreamOptions<'a> {
    #[serde(borrow)]
    include_usage: Raw<'a>,
}

impl Fields<'_> {
    fn refuse_unsupported(&self) -> Result<(), ApiError> {
        let silent = |raw: Raw<'_>, nothing: &[&str]| raw.is_none_or(|raw| nothing.contains(&compact(raw).as_str()));
        let zero = |raw: Raw<'_>| raw.is_none_or(|raw| is_zero(raw.get()));
        let fields = [
            ("tools", silent(self.tools, &["[]"])),
            ("tool_choice", silent(self.tool_choice, &[r#""none""#, r#""auto""#])),
            ("functions", silent(self.functions, &["[]"])),
            ("function_call", silent(self.function_call, &[r#""none""#, r#""auto""#])),
            ("response_format", silent(self.response_format, &[r#"{"type":"text"}"#])),
            ("logprobs", silent(self.logprobs, &["false"])),
            ("top_logprobs", zero(self.top_logprobs)),
            ("logit_bias", silent(self.logit_bias, &["{}"])),
            ("frequency_penalty", zero(self.frequency_penalty)),
            ("presence_penalty", zero(self.presence_penalty)),
            ("modalities", silent(self.modalities, &[r#"["text"]"#])),
            ("audio", self.audio.is_none()),
            ("prediction", self.prediction.is_none()),
            ("web_search_options", self.web_search_options.is_none()),
        ];
        match fields.into_iter().find(|(_, ok)| !ok) {
            Some((param, _)) => Err(ApiError::unsupported_parameter(param)),
            None => Ok(()),
        }
    }

    fn stream(&self) -> Result<(bool, bool), ApiError> {
        let stream = boolean("stream", self.stream)?.unwrap_or(false);
        let Some(raw) = self.stream_options else { return Ok((stream, false)) };
        if !stream {
            return Err(ApiError::invalid_value("stream_options", "it only when 'stream' is true"));
        }
        let options: StreamOptions<'_> = object("stream_options", raw)?;
        let include_usage = boolean("stream_options.include_usage", options.include_usage)?.unwrap_or(false);
        Ok((stream, include_usage))
    }

    fn model(&self) -> Result<String, ApiError> {
        let raw = self.model.ok_or_else(|| ApiError::missing("model"))?;
        let model = string("model", raw)?;
        if !(1..=MAX_MODEL_BYTES).contains(&model.len()) {
            return Err(ApiError::invalid_value("model", "1 to 256 bytes"));
        }
        Ok(model)
    }

    fn max_tokens(&self) -> Result<u32, ApiError> {
        let old = bounded("max_tokens", self.max_tokens, 1)?;
        let new = bounded("max_completion_tokens", self.max_completion_tokens, 1)?;
        if let (Some(old), Some(new)) = (old, new)
            && old != new
        {
            return Err(ApiError::invalid_value("max_tokens", "the value of 'max_completion_tokens', if both are given"));
        }
        Ok(new.or(old).unwrap_or(DEFAULT_MAX_TOKENS))
    }

    fn stop(&self) -> Result<Vec<String>, ApiError> {
        let Some(raw) = self.stop else { return Ok(Vec::new()) };
        let stops = match raw.get().starts_with('[') {
            true => serde_json::from_str(raw.get()).map_err(|_| ApiError::wrong_type("stop", "a string or an array of strings"))?,
            false => vec![string("stop", raw)?],
        };
        let fits = |stop: &String| (1..=MAX_STOP_BYTES).contains(&stop.len());
        if stops.len() > MAX_STOPS || !stops.iter().all(fits) {
            return Err(ApiError::invalid_value("stop", "at most 4 strings of 1 to 64 bytes"));
        }
        Ok(stops)
    }

    fn messages(&self) -> Result<Vec<Message>, ApiError> {
        let raw = self.messages.ok_or_else(|| ApiError::missing("messages"))?;
        let raws = array("messages", raw)?;
        if !(1..=MAX_MESSAGES).contains(&raws.len()) {
            return Err(ApiError::invalid_value("messages", "1 to 256 messages"));
        }
        raws.iter().enumerate().map(|(index, raw)| parse_message(&format!("messages[{index}]"), raw)).collect()
    }
}

fn parse_message(param: &str, raw: &RawValue) -> Result<Message, ApiError> {
    let fields: MessageFields<'_> = object(param, raw)?;
    let role_param = format!("{param}.role");
    let role = match string(&role_param, fields.role.ok_or_else(|| ApiError::missing(&role_param))?)?.as_str() {
        "assistant" => Role::Assistant,
        "developer" | "system" => Role::System,
        "user" => Role::User,
        _ => return Err(ApiError::unsupported_value(&role_param, "'system', 'developer', 'user' and 'assistant'")),
    };
    for (name, field) in [("audio", fields.audio), ("function_call", fields.function_call), ("tool_calls", fields.tool_calls)] {
        if field.is_some_and(|raw| compact(raw) != "[]") {
            return Err(ApiError::unsupported_parameter(&format!("{param}.{name}")));
        }
    }
    let content_param = format!("{param}.content");
    let text = match fields.content {
        // SDKs send an assistant's turn that said nothing back as it came.
        None if role == Role::Assistant => String::new(),
        None => return Err(ApiError::missing(&content_param)),
        Some(content) if content.get().starts_with('[') => parse_parts(&content_param, content)?,
        Some(content) => string(&content_param, content)?,
    };
    Ok(Message { role, text })
}

fn parse_parts(param: &str, raw: &RawValue) -> Result<String, ApiError> {
    let parts = array(param, raw)?;
    if !(1..=MAX_PARTS).contains(&parts.len()) {
        return Err(ApiError::invalid_value(param, "1 to 64 parts"));
    }
    let mut text = String::new();
    for (index, part) in parts.into_iter().enumerate() {
        let param = format!("{param}[{index}]");
        let fields: PartFields<'_> = object(&param, part)?;
        let type_param = format!("{param}.type");
        if string(&type_param, fields.r#type.ok_or_else(|| ApiError::missing(&type_param))?)? != "text" {
            return Err(ApiError::unsupported_value(&type_param, "only 'text'"));
        }
        let text_param = format!("{param}.text");
        text.push_str(&string(&text_param, fields.text.ok_or_else(|| ApiError::missing(&text_param))?)?);
    }
    Ok(text)
}

/// Bounds the nesting of the whole body, ignored fields included, before any reader sees it.
fn check_depth(body: &[u8]) -> Result<(), ApiError> {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(ApiError::invalid_request("The JSON body of your request is nested more than 32 deep."));
        }
    }
    Ok(())
}

/// Serde reads structs from arrays too; the API does not.
fn object<'a, T: Deserialize<'a>>(param: &str, raw: &'a RawValue) -> Result<T, ApiError> {
    let error = || ApiError::wrong_type(param, "an object without repeated fields");
    if !raw.get().starts_with('{') {
        return Err(error());
    }
    serde_json::from_str(raw.get()).map_err(|_| error())
}

fn array<'a>(param: &str, raw: &'a RawValue) -> Result<Vec<&'a RawValue>, ApiError> {
    serde_json::from_str(raw.get()).map_err(|_| ApiError::wrong_type(param, "an array"))
}

fn string(param: &str, raw: &RawValue) -> Result<String, ApiError> {
    serde_json::from_str(raw.get()).map_err(|_| ApiError::wrong_type(param, "a string of Unicode text"))
}

fn boolean(param: &str, raw: Raw<'_>) -> Result<Option<bool>, ApiError> {
    let parse = |raw: &RawValue| serde_json::from_str(raw.get()).map_err(|_| ApiError::wrong_type(param, "a boolean"));
    raw.map(parse).transpose()
}

fn integer(param: &str, raw: Raw<'_>) -> Result<Option<i64>, ApiError> {
    let parse = |raw: &RawValue| serde_json::from_str(raw.get()).map_err(|_| ApiError::wrong_type(param, "a 64-bit integer"));
    raw.map(parse).transpose()
}

/// An integer from `min` to 2^32 − 1.
fn bounded(param: &str, raw: Raw<'_>, min: u32) -> Result<Option<u32>, ApiError> {
    let error = || ApiError::invalid_value(param, &format!("an integer from {min} to {}", u32::MAX));
    let narrow = |value| u32::try_from(value).ok().filter(|value| *value >= min).ok_or_else(error);
    integer(param, raw)?.map(narrow).transpose()
}

/// A number from 0 to `max` millionths.
fn decimal(param: &str, raw: Raw<'_>, max: u32, expected: &str) -> Result<Option<u32>, ApiError> {
    let parse = |raw: &RawValue| {
        if raw.get().starts_with(['"', '{', '[', 't', 'f']) {
            return Err(ApiError::wrong_type(param, "a number"));
        }
        let value = millionths(raw.get()).and_then(|value| u32::try_from(value).ok());
        value.filter(|value| *value <= max).ok_or_else(|| ApiError::invalid_value(param, expected))
    };
    raw.map(parse).transpose()
}

/// The JSON text without white space; only compared with constants that have none inside strings.
fn compact(raw: &RawValue) -> String {
    raw.get().split_ascii_whitespace().collect()
}
