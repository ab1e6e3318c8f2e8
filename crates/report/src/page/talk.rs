//! The conversation: what was asked and what was answered, as far as a page has room.
//!
//! A body may be any bytes and an answer of any protocol. What can be read as turns and as one text is shown so; everything else is shown as
//! it was sent. A body that names a member twice is shown as it was sent too: readers disagree about which one counts.
//! Not here: whether any of it is what was signed, which the verdict says and this file repeats beside the words.

use candor_verify::bundle::Request;
use candor_verify::public::answer_text;
use candor_verify::receipt::Outcome;
use candor_verify::step::Step;
use candor_verify::verdict::Status;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::values::grouped;
use super::{Page, said};

/// Turns of a request that are shown: the last ones, which the answer is to.
const TURNS_MAX: usize = 6;

/// Characters of the last turn, and of each before it.
const LAST_TURN_MAX: usize = 1_200;
const EARLIER_TURN_MAX: usize = 240;

pub(super) fn section(page: &Page<'_>) -> String {
    let (asked, answered) = (asked(page), answered(page));
    format!("<section><h2>The conversation</h2><dl class=\"talk\">{asked}{answered}</dl>{}</section>\n", notes(page))
}

fn asked(page: &Page<'_>) -> String {
    let request = &page.bundle.request;
    let turns = turns(&request.body).filter(|turns| !turns.is_empty());
    let turns = turns.unwrap_or_else(|| vec![Turn { role: Role::Sent, text: as_sent(request) }]);
    let is_altered = page.status(Step::RequestCommitment) == Status::Refused;
    let hidden = turns.len().saturating_sub(TURNS_MAX);
    let mut out = String::new();
    if hidden != 0 {
        out.push_str(&format!(
            "<dt>Before</dt><dd class=\"more\">{} earlier turns, in the file</dd>",
            grouped(hidden.try_into().unwrap_or(u128::MAX))
        ));
    }
    for (at, turn) in turns.iter().enumerate().skip(hidden) {
        let is_last = at.saturating_add(1) == turns.len();
        let most = if is_last { LAST_TURN_MAX } else { EARLIER_TURN_MAX };
        let label = if page.is_claim() && is_last { format!("Claimed: {}", turn.role.label().to_lowercase()) } else { turn.role.label() };
        out.push_str(&entry(&label, &said::said(&turn.text, most), if is_altered { "bad" } else { "" }));
    }
    out
}

fn answered(page: &Page<'_>) -> String {
    let frames = &page.bundle.response.frames;
    let text = answer_text(frames.iter().map(Vec::as_slice)).filter(|text| !text.is_empty());
    let (what, text) = match text {
        Some(text) => (if page.is_claim() { "Claimed answer" } else { "Answered" }, text),
        None => (if page.is_claim() { "Claimed answer, as sent" } else { "Answered, as sent" }, frames_as_sent(frames)),
    };
    let class = match page.status(Step::ResponseCommitment) {
        Status::Passed => "ans",
        Status::Refused => "bad",
        _ => "",
    };
    entry(what, &said::said(&text, said::TEXT_MAX), class)
}

fn entry(label: &str, shown: &str, class: &str) -> String {
    let dt = if class == "bad" { " class=\"bad\"" } else { "" };
    let label = said::plain(label, 48);
    if shown.is_empty() {
        return format!("<dt{dt}>{label}</dt><dd class=\"more\">nothing</dd>");
    }
    format!("<dt{dt}>{label}</dt><dd dir=\"auto\" class=\"quote {class}\">{shown}</dd>")
}

/// What a reader must know before quoting.
fn notes(page: &Page<'_>) -> String {
    let [question, answer] = [Step::RequestCommitment, Step::ResponseCommitment].map(|step| page.status(step));
    let mut out = String::new();
    if question == Status::Refused || answer == Status::Refused {
        out.push_str("<p class=\"badnote\">Not what was signed. Do not quote.</p>");
    } else if answer == Status::NotReached {
        out.push_str("<p class=\"badnote\">Not judged: whether anybody signed this. Do not quote.</p>");
    }
    let ended = match page.bundle.delivery.receipt.work.outcome {
        Outcome::Complete => "",
        Outcome::Length => "the limit on tokens ended it",
        Outcome::CutByNode => "not whole: the node cut it, whose time for one answer was over",
        Outcome::Aborted => "not whole: its client left, or the time that its payment gave was over",
        Outcome::RefusedByModel => "the model refused to answer",
        Outcome::RefusedByGuard => "a guard refused to have it answered",
        Outcome::UpstreamError => "the provider failed",
        other => other.as_str(),
    };
    if !ended.is_empty() {
        out.push_str(&format!("<p class=\"small\">How it ended, by the receipt: {ended}.</p>"));
    }
    out
}

struct Turn {
    role: Role,
    text: String,
}

enum Role {
    User,
    Model,
    Instruction,
    /// The request as a whole, which could not be read as turns.
    Sent,
    Other(String),
}

impl Role {
    fn of(name: &str) -> Self {
        match name {
            "user" => Self::User,
            "assistant" => Self::Model,
            "system" | "developer" => Self::Instruction,
            other => Self::Other(other.to_owned()),
        }
    }

    fn label(&self) -> String {
        match self {
            Self::User => "Asked".to_owned(),
            Self::Model => "Said before".to_owned(),
            Self::Instruction => "Instruction".to_owned(),
            Self::Sent => "Asked, as sent".to_owned(),
            Self::Other(name) => name.chars().take(24).collect(),
        }
    }
}

/// The members of a body that hold words, by the APIs that a node speaks.
#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    system: Option<Content>,
    #[serde(default)]
    instructions: Option<Content>,
    #[serde(default)]
    messages: Vec<Message>,
    #[serde(default)]
    prompt: Option<Content>,
    #[serde(default)]
    input: Option<Content>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    role: String,
    #[serde(default)]
    content: Option<Content>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
    Other(IgnoredAny),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Part {
    Plain(String),
    Text { text: String },
    Other(IgnoredAny),
}

impl Content {
    /// Its words; a part without words is named, so that nobody takes the rest for the whole.
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Parts(parts) => {
                let texts = parts.into_iter().map(|part| match part {
                    Part::Plain(text) | Part::Text { text } => text,
                    Part::Other(IgnoredAny) => "(a part that is no text, in the file)".to_owned(),
                });
                texts.collect::<Vec<_>>().join("\n")
            }
            Self::Other(IgnoredAny) => "(no text, in the file)".to_owned(),
        }
    }
}

/// The turns of a body, oldest first; `None` if it is no JSON that can be read so.
fn turns(body: &[u8]) -> Option<Vec<Turn>> {
    // A list would be read too, member by member in the order of ours.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    let Body { system, instructions, messages, prompt, input } = serde_json::from_slice(body).ok()?;
    let before = [system, instructions].into_iter().flatten().map(|content| (Role::Instruction, content));
    let messages = messages.into_iter().map(|message| (Role::of(&message.role), message.content.unwrap_or(Content::Other(IgnoredAny))));
    let after = [prompt, input].into_iter().flatten().map(|content| (Role::User, content));
    Some(before.chain(messages).chain(after).map(|(role, content)| Turn { role, text: content.into_text() }).collect())
}

fn as_sent(request: &Request) -> String {
    format!("{} {}\n{}", request.method, request.path, String::from_utf8_lossy(&request.body))
}

fn frames_as_sent(frames: &[Vec<u8>]) -> String {
    frames.iter().map(|frame| String::from_utf8_lossy(frame)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Option<Vec<(String, String)>> {
        Some(turns(body.as_bytes())?.into_iter().map(|turn| (turn.role.label(), turn.text)).collect())
    }

    #[test]
    fn words_are_found_in_the_bodies_of_every_api() {
        let asked = |text: &str| Some(vec![("Asked".to_owned(), text.to_owned())]);
        assert_eq!(read(r#"{"model":"m","messages":[{"role":"user","content":"Why?"}]}"#), asked("Why?"));
        let parts = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"Why?"},{"type":"image_url","image_url":{}}]}]}"#;
        assert_eq!(read(parts), asked("Why?\n(a part that is no text, in the file)"));
        assert_eq!(read(r#"{"prompt":"Why?"}"#), asked("Why?"));
        assert_eq!(read(r#"{"input":["Why?","How?"]}"#), asked("Why?\nHow?"));
        let turns =
            read(r#"{"system":"Be brief.","messages":[{"role":"assistant","content":null},{"role":"tool","content":"42"}]}"#).unwrap();
        let labels: Vec<&str> = turns.iter().map(|(label, _)| label.as_str()).collect();
        assert_eq!(labels, ["Instruction", "Said before", "tool"]);
    }

    #[test]
    fn what_cannot_be_read_as_turns_is_not_guessed_at() {
        assert_eq!(turns(b"\xff\xfe").map(|turns| turns.len()), None);
        assert_eq!(read("not JSON"), None);
        assert_eq!(read("[1]"), None);
        assert_eq!(read("{}"), Some(Vec::new()));
        assert_eq!(read(r#"{"messages":[{"role":"user","content":"a"}],"messages":[{"role":"user","content":"b"}]}"#), None, "named twice");
        assert_eq!(read(r#"{"messages":[{"role":"user","content":"a","content":"b"}]}"#), None, "named twice");
        assert_eq!(read(&format!("{{\"messages\":{}", "[".repeat(100_000))), None, "too deep to read");
    }
}
