//! The frames of an answer: the exact JSON of each SSE `data:` value, or the one whole body.
//!
//! Spec: det-1.md §8: field order and escaping are fixed, since the transcript hashes these bytes and replay compares them. Each frame is
//! an object ending in `}`, so that the enclave can splice the receipt in before it. Not here: `data:`, `[DONE]`, the receipt.

use serde::Serialize;

use crate::{ENGINE, Finish, Usage};

/// The `finish_reason` of what a guard refused.
const FILTERED: &str = "content_filter";

/// What all frames of one answer share.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Head {
    /// The answer's id, for example `chatcmpl-…`.
    pub id: String,
    /// When it began, Unix seconds.
    pub created: u64,
    /// The model's id, as the request named it.
    pub model: String,
}

/// Renders a streamed answer. It keeps no state: the caller calls it in the order of the methods.
#[derive(Clone, Debug)]
pub struct StreamRenderer {
    /// Up to and including `"choices":[`.
    prefix: Vec<u8>,
    include_usage: bool,
}

impl StreamRenderer {
    /// A renderer for this answer; `include_usage` as the request's `stream_options` said.
    #[must_use]
    pub fn new(head: &Head, include_usage: bool) -> Self {
        Self { prefix: open(head, "chat.completion.chunk"), include_usage }
    }

    /// The frame that opens the answer: the role, and empty content.
    #[must_use]
    pub fn first(&self) -> Vec<u8> {
        self.chunk(&[r#"{"role":"assistant","content":""}"#, r#","logprobs":null,"finish_reason":null}]"#])
    }

    /// The frame for the text a token released; none for no text.
    #[must_use]
    pub fn text(&self, text: &str) -> Option<Vec<u8>> {
        let delta = [r#"{"content":"#, &json(&text), "}", r#","logprobs":null,"finish_reason":null}]"#];
        (!text.is_empty()).then(|| self.chunk(&delta))
    }

    /// The frames that end the answer: those to send at once, and the last one. `tail` is text no token released. None if cancelled.
    #[must_use]
    pub fn end(&self, tail: &str, finish: Finish, usage: Usage) -> Option<(Vec<Vec<u8>>, Vec<u8>)> {
        let mut frames: Vec<Vec<u8>> = self.text(tail).into_iter().collect();
        let mut ends = self.finish(finish_reason(finish)?, usage);
        let last = ends.pop()?;
        frames.extend(ends);
        Some((frames, last))
    }

    /// All frames of a refusal in this text, instead of an answer.
    pub(super) fn refused(&self, text: &str, usage: Usage) -> Vec<Vec<u8>> {
        let refusal = self.chunk(&[r#"{"refusal":"#, &json(&text), "}", r#","logprobs":null,"finish_reason":null}]"#]);
        let mut frames = vec![self.first(), refusal];
        frames.extend(self.finish(FILTERED, usage));
        frames
    }

    /// The frame that says why an answer ended, and the one of its usage if that was asked for.
    fn finish(&self, reason: &str, usage: Usage) -> Vec<Vec<u8>> {
        let mut frames = vec![self.chunk(&["{}", r#","logprobs":null,"finish_reason":""#, reason, r#""}]"#])];
        if self.include_usage {
            frames.push([&self.prefix, b"],\"usage\":".as_slice(), usage_json(usage).as_bytes(), b"}"].concat());
        }
        frames
    }

    /// A frame with one choice, from the delta on.
    fn chunk(&self, rest: &[&str]) -> Vec<u8> {
        let usage = if self.include_usage { r#","usage":null}"# } else { "}" };
        let mut frame = self.prefix.clone();
        frame.extend(br#"{"index":0,"delta":"#);
        for part in rest.iter().chain([&usage]) {
            frame.extend(part.as_bytes());
        }
        frame
    }
}

/// The body of an answer that is not streamed. None if cancelled.
#[must_use]
pub fn whole_body(head: &Head, text: &str, finish: Finish, usage: Usage) -> Option<Vec<u8>> {
    Some(whole(head, &json(&text), "null", finish_reason(finish)?, usage))
}

/// The body of a refusal in this text, instead of an answer.
pub(super) fn whole_refusal(head: &Head, text: &str, usage: Usage) -> Vec<u8> {
    whole(head, "null", &json(&text), FILTERED, usage)
}

/// The one body with this content and this refusal, both JSON.
fn whole(head: &Head, content: &str, refusal: &str, reason: &str, usage: Usage) -> Vec<u8> {
    let parts = [
        r#"{"index":0,"message":{"role":"assistant","content":"#,
        content,
        r#","refusal":"#,
        refusal,
        r#"},"logprobs":null,"finish_reason":""#,
        reason,
        r#""}],"usage":"#,
        &usage_json(usage),
        "}",
    ];
    let mut body = open(head, "chat.completion");
    body.extend(parts.concat().into_bytes());
    body
}

fn open(head: &Head, object: &str) -> Vec<u8> {
    let Head { id, created, model } = head;
    let (id, model) = (json(id), json(model));
    format!(r#"{{"id":{id},"object":"{object}","created":{created},"model":{model},"system_fingerprint":"{ENGINE}","choices":["#)
        .into_bytes()
}

fn usage_json(usage: Usage) -> String {
    let Usage { prompt_tokens, completion_tokens } = usage;
    let total = u64::from(prompt_tokens) + u64::from(completion_tokens);
    format!(r#"{{"prompt_tokens":{prompt_tokens},"completion_tokens":{completion_tokens},"total_tokens":{total}}}"#)
}

fn finish_reason(finish: Finish) -> Option<&'static str> {
    match finish {
        Finish::Length => Some("length"),
        Finish::Stop => Some("stop"),
        Finish::Cancelled => None,
    }
}

/// serde_json escapes as §8 says. Serialising a string into memory cannot fail.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head { id: "c\"1".into(), created: 5, model: "m".into() }
    }

    fn text(frame: &[u8]) -> &str {
        std::str::from_utf8(frame).unwrap()
    }

    const USAGE: Usage = Usage { prompt_tokens: 6, completion_tokens: 2 };

    #[test]
    fn stream_frames_are_these_bytes() {
        let plain = StreamRenderer::new(&head(), false);
        let prefix = r#"{"id":"c\"1","object":"chat.completion.chunk","created":5,"model":"m","system_fingerprint":"det/1","choices":["#;
        let first = format!(r#"{prefix}{{"index":0,"delta":{{"role":"assistant","content":""}},"logprobs":null,"finish_reason":null}}]}}"#);
        assert_eq!(text(&plain.first()), first);
        let content = format!(r#"{prefix}{{"index":0,"delta":{{"content":"a\n\u001f€\u007f"}},"logprobs":null,"finish_reason":null}}]}}"#);
        assert_eq!(text(&plain.text("a\n\u{1f}€\u{7f}").unwrap()), content.replace("\\u007f", "\u{7f}"));
        assert_eq!(plain.text(""), None);
        let (rest, last) = plain.end("", Finish::Stop, USAGE).unwrap();
        assert!(rest.is_empty());
        assert_eq!(text(&last), format!(r#"{prefix}{{"index":0,"delta":{{}},"logprobs":null,"finish_reason":"stop"}}]}}"#));
        assert_eq!(plain.end("", Finish::Cancelled, USAGE), None);
    }

    #[test]
    fn usage_is_null_until_the_usage_frame() {
        let renderer = StreamRenderer::new(&head(), true);
        let (rest, last) = renderer.end("x", Finish::Length, USAGE).unwrap();
        assert_eq!(rest.len(), 2);
        for frame in rest.iter().chain([&renderer.first()]) {
            assert!(text(frame).ends_with(r#","usage":null}"#));
        }
        assert!(text(&last).ends_with(r#""choices":[],"usage":{"prompt_tokens":6,"completion_tokens":2,"total_tokens":8}}"#));
    }

    #[test]
    fn whole_bodies_are_these_bytes() {
        let body = whole_body(&head(), "hi", Finish::Length, USAGE).unwrap();
        let expected = r#"{"id":"c\"1","object":"chat.completion","created":5,"model":"m","system_fingerprint":"det/1","choices":[{"index":0,"message":{"role":"assistant","content":"hi","refusal":null},"logprobs":null,"finish_reason":"length"}],"usage":{"prompt_tokens":6,"completion_tokens":2,"total_tokens":8}}"#;
        assert_eq!(text(&body), expected);
    }

    #[test]
    fn refusals_are_these_bytes() {
        let usage = Usage { prompt_tokens: 6, completion_tokens: 0 };
        let tail = r#""logprobs":null,"finish_reason":"content_filter"}]"#;
        let said = text(&whole_refusal(&head(), "no", usage)).to_owned();
        let message = r#""choices":[{"index":0,"message":{"role":"assistant","content":null,"refusal":"no"},"#;
        let used = r#""usage":{"prompt_tokens":6,"completion_tokens":0,"total_tokens":6}}"#;
        assert!(said.ends_with(&format!("{message}{tail},{used}")), "{said}");
        let frames = StreamRenderer::new(&head(), true).refused("no", usage);
        let ends = [
            r#""delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"usage":null}"#.to_owned(),
            r#""delta":{"refusal":"no"},"logprobs":null,"finish_reason":null}],"usage":null}"#.to_owned(),
            format!(r#""delta":{{}},{tail},"usage":null}}"#),
            format!(r#""choices":[],{used}"#),
        ];
        assert_eq!(frames.len(), ends.len());
        for (frame, end) in frames.iter().zip(ends) {
            assert!(text(frame).ends_with(&end), "{}", text(frame));
        }
        assert_eq!(StreamRenderer::new(&head(), false).refused("no", usage).len(), 3);
    }

    #[test]
    fn every_frame_is_json() {
        let renderer = StreamRenderer::new(&head(), true);
        let (mut frames, last) = renderer.end("x", Finish::Stop, USAGE).unwrap();
        frames.extend([last, renderer.first(), whole_body(&head(), "\u{2028}", Finish::Stop, USAGE).unwrap()]);
        for frame in frames {
            assert!(serde_json::from_slice::<serde_json::Value>(&frame).unwrap().is_object());
            assert_eq!(frame.last(), Some(&b'}'));
        }
    }
}
