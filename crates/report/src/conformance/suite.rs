//! A folder of vectors as requests: what another implementation is asked, and the end that each case must have.
//!
//! What a case says of its own end is taken out of the request, its name and the name of its file with it: whoever answers by them would
//! pass without judging anything.

use serde_json::{Map, Value, json};

use super::case::{Case, PARSE, UnfitCase};
use super::{CaseEnd, answer_json, hex};

/// The end that a case must have.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Expected {
    /// How it ends.
    pub ending: CaseEnd,
    /// The check that refuses.
    pub check: Option<String>,
    /// For bundles and proofs: the level of the log.
    pub log_level: Option<String>,
    /// For bundles and proofs: the grade of each question, null of bytes that are none.
    pub grades: Option<Value>,
}

impl Expected {
    /// Whether the answer of another program, `{"verdict": …, "check": …}`, is this end.
    #[must_use]
    pub fn is(&self, answer: &Value) -> bool {
        let same_level = self.log_level.as_deref().is_none_or(|level| answer["log_level"] == level);
        let same_grades = self.grades.as_ref().is_none_or(|grades| answer["grades"] == *grades);
        answer["verdict"] == self.ending.as_str() && answer["check"].as_str() == self.check.as_deref() && same_level && same_grades
    }

    /// In the form of an answer.
    #[must_use]
    pub fn to_json(&self) -> Value {
        answer_json(self.ending, self.check.as_deref(), self.log_level.as_deref(), self.grades.as_ref(), None)
    }

    fn accept() -> Self {
        Self { ending: CaseEnd::Accept, check: None, log_level: None, grades: None }
    }

    fn refuse(check: &str) -> Self {
        Self { ending: CaseEnd::Refuse, check: Some(check.into()), log_level: None, grades: None }
    }

    /// In the words of the files that hold whole verdicts.
    fn of_word(word: &str) -> Self {
        match word {
            "verified" | "accept" => Self::accept(),
            "cannot tell" => Self { ending: CaseEnd::CannotTell, check: None, log_level: None, grades: None },
            check => Self::refuse(check),
        }
    }
}

/// One case: its name, the request, and its end.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SuiteCase {
    /// The name that the file has for it.
    pub name: String,
    /// What a program is asked.
    pub request: Value,
    /// What it must answer.
    pub expected: Expected,
}

/// The cases of one file.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Suite {
    /// The kind of its requests.
    pub kind: String,
    /// In the order of the file.
    pub cases: Vec<SuiteCase>,
}

impl Suite {
    /// Files in folders of their own: kind, folder, name.
    pub const WHOLE: [(&'static str, &'static str, &'static str); 4] = [
        ("bundle", "bundle", "cases.json"),
        ("live", "bundle", "live.json"),
        ("proof", "proof", "cases.json"),
        ("attestation", "attestation", "cases.json"),
    ];

    /// The cases of a file with this content. `file` gives the bytes that cases name, by folder and name.
    ///
    /// # Errors
    /// [`UnfitCase`]: the content is no file of vectors, or a file that a case names is missing.
    pub fn read(kind: &str, content: &Value, file: &dyn Fn(&str, &str) -> Option<Vec<u8>>) -> Result<Self, UnfitCase> {
        let cases = match Self::WHOLE.iter().find(|(whole, ..)| *whole == kind) {
            Some((_, folder, _)) => list(content, kind)?.iter().map(|case| whole(kind, folder, case, file)).collect::<Result<_, _>>()?,
            None => flat(kind, content)?,
        };
        Ok(Self { kind: kind.into(), cases })
    }
}

fn list<'a>(value: &'a Value, what: &str) -> Result<&'a [Value], UnfitCase> {
    let list = value.as_array().filter(|list| !list.is_empty());
    list.map(Vec::as_slice).ok_or_else(|| UnfitCase::new(format!("{what} must be a list of cases, and not empty")))
}

fn flat(kind: &str, content: &Value) -> Result<Vec<SuiteCase>, UnfitCase> {
    let read = |case: &Value, is_reject: bool| {
        let members = Case::of(case, "a case")?;
        let is_wrong = is_reject || case["valid"] == Value::Bool(false);
        // Texts that are no amounts name no check: only their reader can refuse them.
        let check = if kind == "amount" && !members.has("refusedBy") { PARSE } else { case["refusedBy"].as_str().unwrap_or_default() };
        if is_wrong && check.is_empty() {
            return Err(UnfitCase::new(format!("{kind}: the reject {} names no check in \"refusedBy\"", case["name"])));
        }
        asked(kind, case, None, if is_wrong { Expected::refuse(check) } else { Expected::accept() })
    };
    let right = list(&content["cases"], "\"cases\"")?.iter().map(|case| read(case, false));
    let wrong = content["rejects"].as_array().into_iter().flatten().map(|case| read(case, true));
    right.chain(wrong).collect()
}

fn whole(kind: &str, folder: &str, case: &Value, file: &dyn Fn(&str, &str) -> Option<Vec<u8>>) -> Result<SuiteCase, UnfitCase> {
    let members = Case::of(case, "a case")?;
    let name = members.text("file")?;
    let bytes = file(folder, name).ok_or_else(|| UnfitCase::new(format!("no file {name:?} in {folder}/ of the vectors")))?;
    let log_level = case["log_level"].as_str().map(str::to_owned);
    let grades = case.get("grades").cloned();
    asked(kind, case, Some(&bytes), Expected { log_level, grades, ..Expected::of_word(members.text("expect")?) })
}

/// The request of a case, without what it says of its end.
fn asked(kind: &str, case: &Value, bytes: Option<&[u8]>, expected: Expected) -> Result<SuiteCase, UnfitCase> {
    let name = Case::of(case, "a case")?.text("name")?.to_owned();
    let members = case.as_object().into_iter().flatten().filter(|(key, _)| !TOLD.contains(&key.as_str()));
    let mut members: Map<String, Value> = members.map(|(key, value)| (key.clone(), value.clone())).collect();
    if let Some(bytes) = bytes {
        members.insert("bytes".into(), hex(bytes).into());
    }
    Ok(SuiteCase { name, request: json!({"kind": kind, "case": members}), expected })
}

/// What a case says about itself.
const TOLD: [&str; 7] = ["name", "file", "refusedBy", "valid", "expect", "log_level", "grades"];
