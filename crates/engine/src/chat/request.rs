//! The body of `POST /v1/chat/completions`: what is read, what is refused, what is ignored.
//!
//! Spec: det-1.md §9. Parsed once into a [`ChatRequest`]; nothing after it looks at JSON again. Refused by name is whatever would change
//! the answer and is not implemented, and whatever is not known: to ignore it would be to answer another question than the one paid for.
//! What is ignored all the same is listed, and whoever sent it is told.

use std::collections::BTreeSet;

use serde_json::value::RawValue;

use super::ApiError;
use super::members::{Field, Members, Raw};
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
    /// Whether it has the member `candor`, which is for whoever sells the answer: it changes no byte of it, and is not read here.
    pub has_candor: bool,
    /// Fields that were sent and change nothing, by name.
    pub ignored: BTreeSet<String>,
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
        // Said as what it is: serde would call it malformed.
        if !text.starts_with('{') {
            return Err(not_json("it is not an object"));
        }
        // The position, not serde's message, which may quote the body.
        let fields: Members<'_> = serde_json::from_str(text).map_err(|error| {
            let what = if error.is_data() { "a field occurs twice, or is malformed, before" } else { "it is not well-formed at" };
            not_json(&format!("{what} line {} column {}", error.line(), error.column()))
        })?;
        let mut ignored = fields.judge(BODY).map_err(|name| ApiError::unsupported_parameter(&name))?;
        let (stream, include_usage) = read_stream(&fields)?;
        if integer("n", fields.get("n"))?.is_some_and(|n| n != 1) {
            return Err(ApiError::unsupported_value("n", "only the value 1"));
        }
        let top_p_e6 = decimal("top_p", fields.get("top_p"), 1_000_000, "a number above 0 and at most 1")?;
        if fields.get("top_p").is_some_and(|raw| is_zero(raw.get())) {
            return Err(ApiError::invalid_value("top_p", "a number above 0 and at most 1"));
        }
        let temperature_e6 = decimal("temperature", fields.get("temperature"), 2_000_000, "a number from 0 to 2")?;
        Ok(Self {
            model: read_model(&fields)?,
            messages: read_messages(&fields, &mut ignored)?,
            stream,
            include_usage,
            max_tokens: read_max_tokens(&fields)?,
            temperature_e6: temperature_e6.unwrap_or(1_000_000),
            top_p_e6: top_p_e6.unwrap_or(1_000_000).max(1),
            top_k: bounded("top_k", fields.get("top_k"), 0)?.unwrap_or(0),
            seed: integer("seed", fields.get("seed"))?,
            stop: read_stop(&fields)?,
            has_candor: fields.get("candor").is_some(),
            ignored,
        })
    }

    /// The same request for at most so many tokens: never more than it asks for, and one at least.
    #[must_use]
    pub fn capped(self, max_tokens: u32) -> Self {
        Self { max_tokens: self.max_tokens.min(max_tokens).max(1), ..self }
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

/// The fields of the body. What is not listed is refused.
const BODY: &[(&str, Field)] = &[
    ("candor", Field::Read),
    ("max_completion_tokens", Field::Read),
    ("max_tokens", Field::Read),
    ("messages", Field::Read),
    ("model", Field::Read),
    ("n", Field::Read),
    ("seed", Field::Read),
    ("stop", Field::Read),
    ("stream", Field::Read),
    ("stream_options", Field::Read),
    ("temperature", Field::Read),
    ("top_k", Field::Read),
    ("top_p", Field::Read),
    // For whoever sells: who asks, what is kept or reused, in which queue. Nothing here keeps, reuses or queues by them.
    ("metadata", Field::Ignored),
    ("prompt_cache_key", Field::Ignored),
    ("prompt_cache_retention", Field::Ignored),
    ("safety_identifier", Field::Ignored),
    ("service_tier", Field::IgnoredIf(&[r#""auto""#, r#""default""#])),
    ("store", Field::Ignored),
    ("user", Field::Ignored),
    // Of tools, which are refused themselves.
    ("parallel_tool_calls", Field::Ignored),
    // Refused unless they say what is done anyway.
    ("frequency_penalty", Field::Zero),
    ("function_call", Field::Only(&[r#""none""#, r#""auto""#])),
    ("functions", Field::Only(&["[]"])),
    ("logit_bias", Field::Only(&["{}"])),
    ("logprobs", Field::Only(&["false"])),
    ("modalities", Field::Only(&[r#"["text"]"#])),
    ("presence_penalty", Field::Zero),
    ("response_format", Field::Only(&[r#"{"type":"text"}"#])),
    ("tool_choice", Field::Only(&[r#""none""#, r#""auto""#])),
    ("tools", Field::Only(&["[]"])),
    ("top_logprobs", Field::Zero),
];

/// The fields of `stream_options`. Padding that hides the length of a frame is privacy: who asks for it is not told that it has it.
const STREAM_OPTIONS: &[(&str, Field)] = &[("include_obfuscation", Field::Only(&["false"])), ("include_usage", Field::Read)];

/// The fields of a message. SDKs send an assistant's turn back with all that it had.
const MESSAGE: &[(&str, Field)] = &[
    ("content", Field::Read),
    ("role", Field::Read),
    // The template has no place for it.
    ("name", Field::Ignored),
    ("annotations", Field::Only(&["[]"])),
    ("audio", Field::Only(&["[]"])),
    ("function_call", Field::Only(&["[]"])),
    ("tool_calls", Field::Only(&["[]"])),
];

/// The fields of a part of a message.
const PART: &[(&str, Field)] = &[("text", Field::Read), ("type", Field::Read)];

fn read_stream(fields: &Members<'_>) -> Result<(bool, bool), ApiError> {
    let stream = boolean("stream", fields.get("stream"))?.unwrap_or(false);
    let Some(raw) = fields.get("stream_options") else { return Ok((stream, false)) };
    if !stream {
        return Err(ApiError::invalid_value("stream_options", "it only when 'stream' is true"));
    }
    let options = object("stream_options", raw)?;
    options.judge(STREAM_OPTIONS).map_err(|name| ApiError::unsupported_parameter(&format!("stream_options.{name}")))?;
    let include_usage = boolean("stream_options.include_usage", options.get("include_usage"))?.unwrap_or(false);
    Ok((stream, include_usage))
}

fn read_model(fields: &Members<'_>) -> Result<String, ApiError> {
    let raw = fields.get("model").ok_or_else(|| ApiError::missing("model"))?;
    let model = string("model", raw)?;
    if !(1..=MAX_MODEL_BYTES).contains(&model.len()) {
        return Err(ApiError::invalid_value("model", "1 to 256 bytes"));
    }
    Ok(model)
}

fn read_max_tokens(fields: &Members<'_>) -> Result<u32, ApiError> {
    let old = bounded("max_tokens", fields.get("max_tokens"), 1)?;
    let new = bounded("max_completion_tokens", fields.get("max_completion_tokens"), 1)?;
    if let (Some(old), Some(new)) = (old, new)
        && old != new
    {
        return Err(ApiError::invalid_value("max_tokens", "the value of 'max_completion_tokens', if both are given"));
    }
    Ok(new.or(old).unwrap_or(DEFAULT_MAX_TOKENS))
}

fn read_stop(fields: &Members<'_>) -> Result<Vec<String>, ApiError> {
    let Some(raw) = fields.get("stop") else { return Ok(Vec::new()) };
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

fn read_messages(fields: &Members<'_>, ignored: &mut BTreeSet<String>) -> Result<Vec<Message>, ApiError> {
    let raw = fields.get("messages").ok_or_else(|| ApiError::missing("messages"))?;
    let raws = array("messages", raw)?;
    if !(1..=MAX_MESSAGES).contains(&raws.len()) {
        return Err(ApiError::invalid_value("messages", "1 to 256 messages"));
    }
    raws.iter().enumerate().map(|(index, raw)| parse_message(&format!("messages[{index}]"), raw, ignored)).collect()
}

fn parse_message(param: &str, raw: &RawValue, ignored: &mut BTreeSet<String>) -> Result<Message, ApiError> {
    let fields = object(param, raw)?;
    let role_param = format!("{param}.role");
    let role = match string(&role_param, fields.get("role").ok_or_else(|| ApiError::missing(&role_param))?)?.as_str() {
        "assistant" => Role::Assistant,
        "developer" | "system" => Role::System,
        "user" => Role::User,
        _ => return Err(ApiError::unsupported_value(&role_param, "'system', 'developer', 'user' and 'assistant'")),
    };
    let named = fields.judge(MESSAGE).map_err(|name| ApiError::unsupported_parameter(&format!("{param}.{name}")))?;
    ignored.extend(named.iter().map(|name| format!("messages.{name}")));
    let content_param = format!("{param}.content");
    let text = match fields.get("content") {
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
        let fields = object(&param, part)?;
        let type_param = format!("{param}.type");
        if string(&type_param, fields.get("type").ok_or_else(|| ApiError::missing(&type_param))?)? != "text" {
            return Err(ApiError::unsupported_value(&type_param, "only 'text'"));
        }
        fields.judge(PART).map_err(|name| ApiError::unsupported_parameter(&format!("{param}.{name}")))?;
        let text_param = format!("{param}.text");
        text.push_str(&string(&text_param, fields.get("text").ok_or_else(|| ApiError::missing(&text_param))?)?);
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

fn object<'a>(param: &str, raw: &'a RawValue) -> Result<Members<'a>, ApiError> {
    serde_json::from_str(raw.get()).map_err(|_| ApiError::wrong_type(param, "an object without repeated fields"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spec_lists_every_field_with_what_is_done_with_it() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/det-1.md");
        let spec = std::fs::read_to_string(path).unwrap();
        let (_, section) = spec.split_once("## 9. Requests").unwrap();
        for (rules, prefix) in [(BODY, ""), (STREAM_OPTIONS, "stream_options."), (MESSAGE, "messages."), (PART, "messages.content.")] {
            for (name, rule) in rules {
                let name = format!("`{prefix}{name}`");
                let row = match rule {
                    Field::Read => "| read |",
                    Field::Ignored | Field::IgnoredIf(_) => "| ignored |",
                    Field::Only(_) | Field::Zero => "| refused but for |",
                };
                let listed = section.lines().find(|line| line.starts_with(row)).unwrap();
                assert!(listed.contains(&name), "{name} is not in the row {row}");
            }
        }
    }
}
