//! What is asked, and how it is to be answered: the body of an OpenAI chat request. What cannot be right is refused here, before anything
//! travels.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use candor_client::{VerifiedNode, read_text, text_of};
use candor_verify::bytes::Hash32;
use clap::builder::NonEmptyStringValueParser;
use serde_json::{Value, json};

use crate::output::Failure;

/// Longest text that is read, in bytes: no node takes a longer request.
const TEXT_MAX: u64 = 1 << 20;

/// What stands for standard input where a text or a file is named.
const STDIN: &str = "-";

/// How a question is to be answered.
#[derive(clap::Args, Clone)]
pub(crate) struct Sampling {
    /// Model to ask; the node's first if not said.
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub(crate) model: Option<String>,
    /// What the model is told before the question (its system message).
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) system: Option<String>,
    /// Tokens of answer at most.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_tokens: u32,
    /// From 0 to 2; 0 always takes the likeliest token.
    #[arg(long, default_value_t = 0.0, value_parser = temperature)]
    pub(crate) temperature: f64,
    /// Take tokens only of the likeliest ones, whose chances together are this; above 0, to 1.
    #[arg(long, value_parser = top_p)]
    pub(crate) top_p: Option<f64>,
    /// Seed of the sampling; node and payment make one together if not said.
    #[arg(long)]
    pub(crate) seed: Option<i64>,
    /// End the answer before this text; up to four of them.
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) stop: Vec<String>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { model: None, system: None, max_tokens: 64, temperature: 0.0, top_p: None, seed: None, stop: Vec::new() }
    }
}

/// Texts at which an answer may be told to end.
const STOPS_MAX: usize = 4;

/// Checked here: JSON has no word for NaN, and a node that is sent `null` takes its default.
fn temperature(text: &str) -> Result<f64, &'static str> {
    text.parse::<f64>().ok().filter(|value| (0.0..=2.0).contains(value)).ok_or("expected a number from 0 to 2")
}

fn top_p(text: &str) -> Result<f64, &'static str> {
    text.parse::<f64>().ok().filter(|value| 0.0 < *value && *value <= 1.0).ok_or("expected a number above 0, to 1")
}

impl Sampling {
    /// What clap cannot see.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match self.stop.len() {
            count if STOPS_MAX < count => Err(Failure::cannot(format!("--stop: expected at most {STOPS_MAX} texts, got {count}"))),
            _ => Ok(()),
        }
    }

    /// The request that asks these messages. `public` is the task of a public answer, or zero.
    pub(crate) fn body(&self, node: &VerifiedNode, messages: &[Value], public: Option<Hash32>) -> Result<Vec<u8>, Failure> {
        let mut models = node.enclave.terms().answering_models();
        let model = match &self.model {
            Some(model) => model,
            None => models.next().map(|model| &model.id).ok_or_else(|| Failure::cannot("the node lists no model"))?,
        };
        let system = self.system.iter().map(|text| json!({"role": "system", "content": text}));
        let mut body = json!({
            "model": model, "messages": system.chain(messages.iter().cloned()).collect::<Vec<_>>(), "stream": true,
            "stream_options": {"include_usage": true}, "max_tokens": self.max_tokens, "temperature": self.temperature,
        });
        if let Some(top_p) = self.top_p {
            body["top_p"] = top_p.into();
        }
        if let Some(seed) = self.seed {
            body["seed"] = seed.into();
        }
        if !self.stop.is_empty() {
            body["stop"] = self.stop.clone().into();
        }
        if let Some(task) = public {
            body["candor"] = match task.is_zero() {
                true => json!({"public": true}),
                false => json!({"public": true, "task": task.to_string()}),
            };
        }
        Ok(body.to_string().into_bytes())
    }
}

/// A message of whoever asks.
pub(crate) fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

/// The question: what was said, else what comes in on standard input; and after it each file under its name.
pub(crate) fn text(prompt: Option<&str>, files: &[PathBuf]) -> Result<String, Failure> {
    let is_piped = prompt.is_none() && files.is_empty() && !std::io::stdin().is_terminal();
    let from_stdin = files.iter().filter(|file| is_stdin(file)).count() + usize::from(prompt == Some(STDIN) || is_piped);
    if 1 < from_stdin {
        return Err(Failure::cannot("standard input (-) can be read once; it was named twice"));
    }
    let mut parts = match prompt {
        Some(STDIN) => vec![read(Path::new(STDIN))?],
        None if is_piped => vec![read(Path::new(STDIN))?],
        prompt => prompt.map(str::to_owned).into_iter().collect(),
    };
    for file in files {
        let name = file.file_name().map_or_else(|| STDIN.to_owned(), |name| name.to_string_lossy().into_owned());
        parts.push(format!("{name}:\n{}", read(file)?));
    }
    let text = parts.join("\n\n");
    match text.trim().is_empty() {
        true => Err(Failure::cannot("the question is empty; nothing was asked and nothing was paid")),
        false => Ok(text),
    }
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == STDIN
}

/// A text that a model can be sent.
fn read(path: &Path) -> Result<String, Failure> {
    Ok(match is_stdin(path) {
        true => text_of(std::io::stdin().lock(), Path::new("standard input"), TEXT_MAX)?,
        false => read_text(path, TEXT_MAX)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_what_was_said_and_then_each_file_under_its_name() {
        let directory = std::env::temp_dir().join(format!("candor-question-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let (note, binary, long) = (directory.join("note.txt"), directory.join("b"), directory.join("l"));
        std::fs::write(&note, "line\n").unwrap();
        std::fs::write(&binary, [0xff, 0xfe]).unwrap();
        std::fs::write(&long, vec![b'a'; TEXT_MAX as usize + 1]).unwrap();
        let message = |result: Result<String, Failure>| result.unwrap_err().message().to_owned();
        assert_eq!(text(Some("Sum it up"), std::slice::from_ref(&note)).unwrap(), "Sum it up\n\nnote.txt:\nline\n");
        assert_eq!(text(None, &[note]).unwrap(), "note.txt:\nline\n");
        assert!(message(text(Some(" \n\t"), &[])).contains("empty"));
        assert!(message(text(Some("x"), &[binary])).contains("UTF-8"));
        assert!(message(text(Some("x"), &[long])).contains("at most 1048576 bytes"));
        assert!(message(text(Some("x"), &[directory.join("none")])).contains("No such file"));
        assert!(message(text(Some(STDIN), &[PathBuf::from(STDIN)])).contains("named twice"));
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn numbers_that_no_node_takes_are_refused_here() {
        for bad in ["nan", "inf", "-0.1", "2.1", "", "1e"] {
            assert!(temperature(bad).is_err(), "{bad}");
        }
        for bad in ["nan", "0", "-0.0", "1.01"] {
            assert!(top_p(bad).is_err(), "{bad}");
        }
        assert_eq!((temperature("0"), temperature("2"), top_p("1")), (Ok(0.0), Ok(2.0), Ok(1.0)));
    }
}
