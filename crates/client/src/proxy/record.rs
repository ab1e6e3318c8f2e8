//! What is told of each request, once, when it is over: for a log line and for the page. Never a word of what was asked or answered.

use std::path::PathBuf;
use std::time::Instant;

use candor_report::{Charge, headline_words};
use candor_verify::text::one_line;
use candor_verify::time::UnixMs;

use crate::ask::VerifiedResponse;
use crate::clock;
use crate::error::ClientError;
use crate::proxy::errors::error_body;

/// Characters of a name of others that are kept: of a model, a path, a code.
const NAME_MAX: usize = 80;

/// What a proxy tells whoever runs it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ProxyEvent {
    /// In words: an answer that was cut, a field that was taken out, a node that was left.
    Notice(String),
    /// A request is over.
    Request(Box<ProxyRecord>),
}

/// One request. Names of others in it are one line each, and short.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProxyRecord {
    /// When it came.
    pub at: UnixMs,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Method.
    pub method: String,
    /// Path, without a query.
    pub path: String,
    /// Model, as the request named it.
    pub model: Option<String>,
    /// Host and port of the node that was asked last.
    pub node: Option<String>,
    /// Status of the response; of an answer that broke off in its stream the status that it would have had.
    pub status: u16,
    /// What was verified, or why there is nothing.
    pub end: ProxyEnd,
}

/// How a request ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ProxyEnd {
    /// It asked for no answer.
    Served,
    /// A verified answer.
    Answered(ProxyAnswer),
    /// None: the code of the error.
    Failed(String),
}

/// A verified answer, in short.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProxyAnswer {
    /// Id of its receipt.
    pub receipt_id: String,
    /// Where it is kept, whole or as a proof; `None` if nothing is.
    pub bundle: Option<PathBuf>,
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
    /// What it cost, for people.
    pub charge: String,
    /// The verdict in words.
    pub verdict: Vec<String>,
    /// How it ended, by its receipt.
    pub outcome: &'static str,
}

/// A request that is not over.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    at: UnixMs,
    began: Instant,
    method: String,
    path: String,
    pub(super) model: Option<String>,
    pub(super) node: Option<String>,
}

impl Begun {
    pub(super) fn now(method: &hyper::Method, path: &str) -> Self {
        Self { at: clock::now(), began: Instant::now(), method: short(method.as_str()), path: short(path), model: None, node: None }
    }

    pub(super) fn over(self, status: u16, end: ProxyEnd) -> ProxyRecord {
        let took_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let Self { at, method, path, model, node, .. } = self;
        ProxyRecord { at, took_ms, method, path, model, node, status, end }
    }

    /// Over with an answer or with what came instead.
    pub(super) fn ended(self, result: Result<&VerifiedResponse, &ClientError>) -> ProxyRecord {
        match result {
            Ok(response) => self.over(200, ProxyEnd::Answered(answer(response))),
            Err(error) => {
                let (status, body) = error_body(error, &[]);
                let code = body["error"]["code"].as_str().unwrap_or("error");
                self.over(status.as_u16(), ProxyEnd::Failed(short(code)))
            }
        }
    }
}

fn answer(response: &VerifiedResponse) -> ProxyAnswer {
    let work = &response.bundle.delivery.receipt.work;
    ProxyAnswer {
        receipt_id: response.receipt_id.clone(),
        bundle: response.path.clone(),
        prompt_tokens: work.prompt_tokens,
        completion_tokens: work.completion_tokens,
        charge: Charge::of(&response.bundle).text(),
        verdict: headline_words(&response.verdict),
        outcome: work.outcome.as_str(),
    }
}

/// One line, and not a long one.
pub(super) fn short(name: &str) -> String {
    let shown: String = name.chars().take(NAME_MAX).collect();
    one_line(&shown).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_others_are_one_short_line() {
        let begun = Begun::now(&hyper::Method::POST, &format!("/{}\n\u{1b}[2KVERIFIED", "x".repeat(5)));
        let record = begun.over(404, ProxyEnd::Served);
        assert_eq!(record.path, "/xxxxx\u{fffd}\u{fffd}[2KVERIFIED");
        assert_eq!(short(&"x".repeat(10_000_000)).len(), NAME_MAX);
    }

    #[test]
    fn a_failure_is_told_by_its_code_and_never_by_its_message() {
        let error = ClientError::Node { status: 400, code: "invalid_value".into(), message: "what was asked".into(), param: None };
        let record = Begun::now(&hyper::Method::POST, "/v1").ended(Err(&error));
        assert!(matches!(&record.end, ProxyEnd::Failed(code) if code == "invalid_value") && record.status == 400);
        assert!(!format!("{record:?}").contains("what was asked"));
    }
}
