//! `candor conformance --all`: every case of a folder of vectors, judged by this program or by another one, and a report of what differs.
//!
//! The other program is not trusted with more than its own standard output: it has a time limit, its output a size, and an exit code that
//! does not fit its answer is a difference. Spec: conformance.md §4.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use candor_report::conformance::{CaseEnd, Suite, SuiteCase, Surroundings, UNFIT};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::{answer, unfit, unseal, vector_file};
use crate::output::{Done, Failure, print_json, read, say};

/// What became of the cases of one kind.
struct Compared {
    kind: String,
    cases: usize,
    // Name, what was expected, what came.
    different: Vec<(String, Value, Value)>,
}

pub(super) async fn all(folder: &Path, except: &[String], command: &[OsString], batch: bool, json_output: bool) -> Done {
    let suites = suites(folder)?;
    if let Some(unknown) = except.iter().find(|kind| !suites.contains_key(*kind)) {
        return Err(unfit(format!("--except {unknown}: {} has no such kind; it has {}", folder.display(), kinds(&suites))));
    }
    let mut compared = Vec::new();
    for (kind, suite) in suites.into_iter().filter(|(kind, _)| !except.contains(kind)) {
        let answers = match command.split_first() {
            None => suite.cases.iter().map(|case| Ok(ours(&case.request))).collect(),
            Some((program, arguments)) => Asked { program, arguments, batch }.all(&suite.cases).await?,
        };
        let different = suite.cases.iter().zip(answers).filter_map(|(case, answer)| {
            let got = answer.unwrap_or_else(|fault| json!({"fault": fault}));
            (!case.expected.is(&got)).then(|| (case.name.clone(), case.expected.to_json(), got))
        });
        let compared_kind = Compared { kind, cases: suite.cases.len(), different: different.collect() };
        if !json_output {
            say_kind(&compared_kind);
        }
        compared.push(compared_kind);
    }
    Ok(finish(&compared, except, json_output))
}

/// The judgement of this program, by the same way as one that came from outside.
fn ours(request: &Value) -> Value {
    let around = Surroundings { file: &|_, _| None, unseal: &unseal };
    answer(request.to_string().as_bytes(), around).0
}

/// Every kind of the folder.
fn suites(folder: &Path) -> Result<BTreeMap<String, Suite>, Failure> {
    let wrong = |error: &dyn std::fmt::Display| unfit(format!("{}: {error}", folder.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| wrong(&error))? {
        let path = entry.map_err(|error| wrong(&error))?.path();
        if path.extension().is_some_and(|extension| extension == "json")
            && let Some(kind) = path.file_stem()
        {
            files.push((kind.to_string_lossy().into_owned(), path));
        }
    }
    files.extend(Suite::WHOLE.iter().map(|(kind, inner, name)| ((*kind).to_owned(), folder.join(inner).join(name))));
    let mut suites = BTreeMap::new();
    for (kind, path) in files {
        let named = |error: &dyn std::fmt::Display| unfit(format!("{}: {error}", path.display()));
        let content = serde_json::from_slice(&read(&path).map_err(|failure| unfit(failure.message()))?).map_err(|error| named(&error))?;
        let suite = Suite::read(&kind, &content, &|inner, name| vector_file(folder, inner, name)).map_err(|error| named(&error))?;
        suites.insert(kind, suite);
    }
    Ok(suites)
}

fn kinds(suites: &BTreeMap<String, Suite>) -> String {
    suites.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// The other program.
struct Asked<'a> {
    program: &'a OsString,
    arguments: &'a [OsString],
    batch: bool,
}

/// An answer, or what was no answer.
type Answer = Result<Value, String>;

impl Asked<'_> {
    async fn all(&self, cases: &[SuiteCase]) -> Result<Vec<Answer>, Failure> {
        if self.batch { self.together(cases).await } else { self.one_by_one(cases).await }
    }

    async fn one_by_one(&self, cases: &[SuiteCase]) -> Result<Vec<Answer>, Failure> {
        let mut answers = Vec::with_capacity(cases.len());
        for case in cases {
            let ran = self.run(&case.request.to_string(), ONE_TIMEOUT).await?;
            answers.push(ran.and_then(|(code, output)| single(code, &output)));
        }
        Ok(answers)
    }

    async fn together(&self, cases: &[SuiteCase]) -> Result<Vec<Answer>, Failure> {
        let lines: Vec<String> = cases.iter().map(|case| case.request.to_string()).collect();
        let ran = self.run(&lines.join("\n"), BATCH_TIMEOUT).await?;
        let answers = ran.and_then(|(code, output)| many(code, &output, cases.len()));
        Ok(answers.unwrap_or_else(|fault| cases.iter().map(|_| Err(fault.clone())).collect()))
    }

    /// Its exit code and output, given this input and a line feed. A program that cannot be started is a fault of the usage, not of it.
    async fn run(&self, input: &str, timeout: Duration) -> Result<Result<(i32, String), String>, Failure> {
        let mut child = Command::new(self.program)
            .args(self.arguments)
            .args(self.batch.then_some("--batch"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| unfit(format!("{} cannot be started: {error}", self.program.to_string_lossy())))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        // Both ways at once: a program may answer before it has read everything, or end without reading.
        let write = async {
            if let Some(mut stdin) = stdin {
                drop(stdin.write_all(format!("{input}\n").as_bytes()).await);
            }
        };
        let read = async {
            let mut output = Vec::new();
            match stdout {
                None => Ok(output),
                Some(stdout) => stdout.take(OUTPUT_MAX).read_to_end(&mut output).await.map(|_| output),
            }
        };
        let talk = async {
            let ((), output) = tokio::join!(write, read);
            let output = output.map_err(|error| format!("its output could not be read: {error}"))?;
            let status = child.wait().await.map_err(|error| format!("its end could not be seen: {error}"))?;
            let code = status.code().ok_or("it was ended by a signal")?;
            String::from_utf8(output).map(|output| (code, output)).map_err(|_| "its output is not UTF-8".to_owned())
        };
        Ok(tokio::time::timeout(timeout, talk).await.unwrap_or_else(|_| Err(format!("it did not end within {} s", timeout.as_secs()))))
    }
}

/// The answer of a program that was given one case: its exit code must say the same.
fn single(code: i32, output: &str) -> Answer {
    let answer: Value = serde_json::from_str(output.trim()).map_err(|error| format!("exit code {code}, and no JSON value: {error}"))?;
    let said = if answer["error"].is_null() { code_of(&answer) } else { Some(UNFIT) };
    match said.map(i32::from) {
        Some(said) if said == code => Ok(answer),
        Some(said) => Err(format!("exit code {code} beside {answer}, which asks for {said}")),
        None => Err(format!("no verdict: {answer}")),
    }
}

/// The answers of a program that was given a line for each case.
fn many(code: i32, output: &str, cases: usize) -> Result<Vec<Answer>, String> {
    let lines: Vec<&str> = output.lines().collect();
    if lines.len() != cases {
        return Err(format!("{cases} lines were asked and {} answered; exit code {code}", lines.len()));
    }
    let answers: Vec<Answer> =
        lines.into_iter().map(|line| serde_json::from_str(line).map_err(|error| format!("no JSON value: {error}"))).collect();
    let is_error = |answer: &Answer| answer.as_ref().is_ok_and(|answer| !answer["error"].is_null());
    let wanted = if answers.iter().any(is_error) { UNFIT } else { 0 };
    if i32::from(wanted) == code { Ok(answers) } else { Err(format!("exit code {code}, and its answers ask for {wanted}")) }
}

fn code_of(answer: &Value) -> Option<u8> {
    CaseEnd::ALL.into_iter().find(|ending| answer["verdict"] == ending.as_str()).map(CaseEnd::exit_code)
}

fn say_kind(compared: &Compared) {
    let Compared { kind, cases, different } = compared;
    match different.len() {
        0 => say!("  equal      {kind:<22} {cases}"),
        count => say!("  DIFFERENT  {kind:<22} {count} of {cases}"),
    }
    for (name, expected, got) in different.iter().take(SHOWN) {
        say!("               {name}\n                 expected {expected}\n                 got      {got}");
    }
    if SHOWN < different.len() {
        say!("               and {} more, which --json shows", different.len() - SHOWN);
    }
}

fn finish(compared: &[Compared], except: &[String], json_output: bool) -> ExitCode {
    let cases: usize = compared.iter().map(|compared| compared.cases).sum();
    let different: usize = compared.iter().map(|compared| compared.different.len()).sum();
    if json_output {
        let kind = |compared: &Compared| {
            let different = compared.different.iter().map(|(name, expected, got)| json!({"name": name, "expected": expected, "got": got}));
            json!({"kind": compared.kind, "cases": compared.cases, "different": different.collect::<Vec<_>>()})
        };
        let kinds: Vec<Value> = compared.iter().map(kind).collect();
        print_json(&json!({"ok": different == 0, "cases": cases, "different": different, "except": except, "kinds": kinds}));
    } else {
        say!("{cases} cases of {} kinds, {different} different", compared.len());
        if !except.is_empty() {
            say!("not asked: {}", except.join(", "));
        }
    }
    ExitCode::from(if different == 0 { 0 } else { CaseEnd::Refuse.exit_code() })
}

/// How long a program may take for one case.
const ONE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long it may take for a kind. The largest has hundreds of bundles, each with a dozen signatures.
const BATCH_TIMEOUT: Duration = Duration::from_secs(600);

/// Bytes of its output that are read: a thousand answers with a reason of some kilobytes each.
const OUTPUT_MAX: u64 = 16 << 20;

/// Differences of one kind that are shown as text.
const SHOWN: usize = 5;
