//! Public answers: which request asks for one, and the text that a contract can read. Spec: transcript.md §4.
//!
//! A request asks by its member `candor`. Its question is then hashed without a salt, and so is the text of its answer; whoever writes the
//! question makes it public.

use alloc::string::String;
use core::fmt;

use crate::bytes::Hash32;
use crate::hash::keccak256;
use crate::json::{self, JsonError, Reader};
use crate::transcript::question_hash;

/// The one route that gives public answers.
pub const PATH: &str = "/v1/chat/completions";

/// Members that let an answer be something else than one text.
const NOT_WITH: [&str; 7] = ["tools", "tool_choice", "functions", "function_call", "logprobs", "top_logprobs", "response_format"];

/// What a request for a public answer names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: what a request may say of its publicity")]
pub struct PublicRequest {
    /// The task that the answer is for, verbatim; zero if the request names none.
    pub task: Hash32,
}

/// Why a body is no request for a public answer, though it has a member `candor`, or no body at all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PublicError {
    /// The body is no JSON object, or names a member of some object twice.
    Body,
    /// `candor` has another form than `{"public": bool, "task": "0x…"}`.
    Form,
    /// A task, and no public answer that it could be for.
    Task,
    /// More than one choice, or a member that lets an answer be more than one text.
    Shape,
}

impl fmt::Display for PublicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Body => "the body must be one JSON object in which no object names a member twice",
            Self::Form => "candor must be an object of public (true or false) and task (0x and 64 hex digits), and of nothing else",
            Self::Task => "a task is for a public answer: candor.public must be true",
            Self::Shape => "a public answer is one text: n must be 1, without tools, logprobs or response_format",
        })
    }
}

/// What a body asks: a public answer, or none.
///
/// # Errors
/// [`PublicError`]. A body without a member `candor` that is no JSON either is refused too: whoever takes such bodies asks elsewhere.
pub fn asked(body: &[u8]) -> Result<Option<PublicRequest>, PublicError> {
    let (mut named, mut is_one_text) = (None, true);
    let read = json::read(body, |reader| {
        reader.object(|name, reader| match name {
            "candor" => {
                named = Some(member(reader)?);
                Ok(())
            }
            "n" => {
                is_one_text &= reader.one()?;
                Ok(())
            }
            name => {
                is_one_text &= !NOT_WITH.contains(&name);
                reader.skip()
            }
        })
    });
    read.map_err(|error| match error {
        JsonError::Shape => PublicError::Form,
        JsonError::Syntax(_) | JsonError::Depth | JsonError::Twice => PublicError::Body,
    })?;
    match named {
        None => Ok(None),
        Some(None) => Err(PublicError::Form),
        Some(Some((false, None))) => Ok(None),
        Some(Some((false, Some(_)))) => Err(PublicError::Task),
        Some(Some((true, _))) if !is_one_text => Err(PublicError::Shape),
        Some(Some((true, task))) => Ok(Some(PublicRequest { task: task.unwrap_or_default() })),
    }
}

/// `public` and `task` of the member; `None` if it has another form.
type Member = Option<(bool, Option<Hash32>)>;

fn member(reader: &mut Reader<'_>) -> Result<Member, JsonError> {
    let (mut public, mut task, mut known) = (false, None, true);
    reader.object(|name, reader| {
        match name {
            "public" => public = reader.boolean()?,
            "task" => {
                task = Hash32::from_hex(&reader.string()?);
                known &= task.is_some();
            }
            _ => {
                known = false;
                reader.skip()?;
            }
        }
        Ok(())
    })?;
    Ok(known.then_some((public, task)))
}

/// The three words of a receipt.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: the words of Work about public answers")]
pub struct PublicWords {
    /// The task, verbatim.
    pub task_hash: Hash32,
    /// Of the question.
    pub question_hash: Hash32,
    /// Of the answer's text.
    pub answer_hash: Hash32,
}

/// The words of the answer that these frames are; all zero if it is not public: the request does not ask for that, or not as it may, or the
/// frames hold no one text.
#[must_use]
pub fn words<'a>(method: &str, path: &str, body: &[u8], frames: impl IntoIterator<Item = &'a [u8]>) -> PublicWords {
    let route = path.split('?').next().unwrap_or_default();
    if method != "POST" || route != PATH {
        return PublicWords::default();
    }
    // Whatever asks for nothing here may be any bytes.
    let Some(asked) = asked(body).unwrap_or_default() else { return PublicWords::default() };
    let Some(answer) = answer_text(frames) else { return PublicWords::default() };
    PublicWords { task_hash: asked.task, question_hash: question_hash(method, path, body), answer_hash: keccak256(&[answer.as_bytes()]) }
}

/// The text of an answer: `choices[0].message.content` of the one body, or `choices[0].delta.content` of each frame of a stream, joined.
/// `None` if a frame is no JSON object, has a second choice, or if the body has no text.
#[must_use]
pub fn answer_text<'a>(frames: impl IntoIterator<Item = &'a [u8]>) -> Option<String> {
    let mut text = String::new();
    for frame in frames {
        json::read(frame, |reader| {
            reader.object(|name, reader| match name {
                "choices" => reader.array(|index, reader| if index == 0 { choice(reader, &mut text) } else { Err(JsonError::Shape) }),
                _ => reader.skip(),
            })
        })
        .ok()?;
    }
    Some(text)
}

fn choice(reader: &mut Reader<'_>, text: &mut String) -> Result<(), JsonError> {
    reader.object(|name, reader| match name {
        "message" => content(reader, text, true),
        "delta" => content(reader, text, false),
        _ => reader.skip(),
    })
}

/// A delta may have no text; a message without one has no answer that a contract could read.
fn content(reader: &mut Reader<'_>, text: &mut String, is_whole: bool) -> Result<(), JsonError> {
    let mut is_there = false;
    reader.object(|name, reader| {
        if name != "content" {
            return reader.skip();
        }
        if reader.null()? {
            return Ok(());
        }
        text.push_str(&reader.string()?);
        is_there = true;
        Ok(())
    })?;
    if is_there || !is_whole { Ok(()) } else { Err(JsonError::Shape) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: &str = "0x00000000000000000000000000000000000000000000000000000000000000aa";

    #[test]
    fn a_request_asks_for_a_public_answer_by_name() {
        let ask = |candor: &str| asked(alloc::format!(r#"{{"model":"m","messages":[],"candor":{candor}}}"#).as_bytes());
        let mut task = [0; 32];
        task[31] = 0xaa;
        assert_eq!(ask(r#"{"public":true}"#), Ok(Some(PublicRequest { task: Hash32::ZERO })));
        assert_eq!(ask(&alloc::format!(r#"{{"public":true,"task":"{TASK}"}}"#)), Ok(Some(PublicRequest { task: Hash32(task) })));
        assert_eq!((ask("{}"), ask(r#"{"public":false}"#)), (Ok(None), Ok(None)));
        assert_eq!(asked(br#"{"model":"m"}"#), Ok(None));
        assert_eq!(asked(br#"{"n":1,"candor":{"public":true}}"#), Ok(Some(PublicRequest { task: Hash32::ZERO })));
    }

    #[test]
    fn what_asks_otherwise_is_refused_by_name() {
        for (body, error) in [
            (r#"{"candor":{"public":true},"candor":{"public":false}}"#, PublicError::Body),
            (r#"{"messages":[{"a":1,"a":2}],"candor":{"public":true}}"#, PublicError::Body),
            (r#"{"candor":{"public":1}}"#, PublicError::Form),
            (r#"{"candor":true}"#, PublicError::Form),
            (r#"{"candor":{"public":true,"model":"x"}}"#, PublicError::Form),
            (r#"{"candor":{"public":true,"task":"0x00"}}"#, PublicError::Form),
            (&alloc::format!(r#"{{"candor":{{"task":"{TASK}"}}}}"#), PublicError::Task),
            (r#"{"n":2,"candor":{"public":true}}"#, PublicError::Shape),
            (r#"{"n":1.0,"candor":{"public":true}}"#, PublicError::Shape),
            (r#"{"tools":[],"candor":{"public":true}}"#, PublicError::Shape),
            (r#"{"candor":{"public":true},"response_format":{"type":"text"}}"#, PublicError::Shape),
        ] {
            assert_eq!(asked(body.as_bytes()), Err(error), "{body}");
        }
    }

    #[test]
    fn the_text_is_that_of_the_first_choice_unescaped() {
        let stream = [
            r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"Gr\u00f6"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"\u00dfe \"x\""}}]}"#,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
            r#"{"choices":[],"usage":{}}"#,
        ];
        assert_eq!(answer_text(stream.iter().map(|frame| frame.as_bytes())).as_deref(), Some("Größe \"x\""));
        let body = |content: &str| alloc::format!(r#"{{"choices":[{{"message":{{"role":"assistant","content":{content}}}}}]}}"#);
        assert_eq!(answer_text([body("\"YES\"").as_bytes()]).as_deref(), Some("YES"));
        assert_eq!(answer_text([body("null").as_bytes()]), None);
        assert_eq!(answer_text([br#"{"choices":[{"delta":{"content":"a"}},{"delta":{"content":"b"}}]}"#.as_slice()]), None);
        assert_eq!(answer_text([b"no JSON".as_slice()]), None);
    }
}
