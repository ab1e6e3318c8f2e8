//! `candor conformance`: judges cases of the vectors, JSON in and JSON out, and holds another implementation against them. Spec:
//! conformance.md.
//!
//! Not here: what a case is judged by (`candor-report`), and driving the other program (`drive`).

mod drive;

use std::ffi::OsString;
use std::io::{BufRead as _, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use candor_report::conformance::{Surroundings, UNFIT, UnfitCase, judge};
use serde_json::{Value, json};

use crate::output::{Done, Failure, print_json};

#[derive(clap::Args)]
#[command(after_long_help = HELP)]
pub(crate) struct Args {
    /// One request; standard input if not said.
    file: Option<PathBuf>,
    /// One request per line of the input, one answer per line of the output, in order.
    #[arg(long)]
    batch: bool,
    /// Judge every case of this folder of vectors, by this program or by COMMAND.
    #[arg(long, value_name = "DIR", conflicts_with = "file")]
    all: Option<PathBuf>,
    /// With --all: a kind that COMMAND has no part of. May come more than once.
    #[arg(long, value_name = "KIND", requires = "all")]
    except: Vec<String>,
    /// Where the files lie that a case names instead of holding their bytes.
    #[arg(long, value_name = "DIR", default_value = "vectors")]
    vectors: PathBuf,
    /// With --all: the program that is asked. It is started once per case; with --batch once per kind, and is given --batch.
    #[arg(last = true, value_name = "COMMAND", requires = "all")]
    command: Vec<OsString>,
}

pub(crate) async fn run(args: Args, json_output: bool) -> Done {
    if let Some(folder) = &args.all {
        return drive::all(folder, &args.except, &args.command, args.batch, json_output).await;
    }
    let mut input: Box<dyn Read> = match &args.file {
        None => Box::new(std::io::stdin()),
        Some(path) => Box::new(std::fs::File::open(path).map_err(|error| unfit(format!("{}: {error}", path.display())))?),
    };
    let file = |folder: &str, name: &str| vector_file(&args.vectors, folder, name);
    let around = Surroundings { file: &file, unseal: &unseal };
    if args.batch { batch(input, around) } else { one(&mut input, around) }
}

/// Exit code 30: the input or the usage is wrong.
pub(crate) fn unfit(message: impl Into<String>) -> Failure {
    Failure::cannot(message).with_code(UNFIT)
}

fn one(input: &mut dyn Read, around: Surroundings<'_>) -> Done {
    let mut text = Vec::new();
    let read = input.take(REQUEST_MAX + 1).read_to_end(&mut text).map_err(|error| unfit(format!("standard input: {error}")))?;
    let (answer, code) = answer(&text[..read], around);
    print_json(&answer);
    Ok(ExitCode::from(code))
}

fn batch(input: Box<dyn Read>, around: Surroundings<'_>) -> Done {
    let mut input = std::io::BufReader::new(input);
    let mut worst = 0;
    loop {
        let mut line = Vec::new();
        let read = input.by_ref().take(REQUEST_MAX + 1).read_until(b'\n', &mut line).map_err(|error| unfit(format!("input: {error}")))?;
        if read == 0 {
            return Ok(ExitCode::from(worst));
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let (answer, code) = answer(&line, around);
        print_json(&answer);
        if code == UNFIT {
            worst = UNFIT;
        }
        // What follows in a line that was cut is no line of its own.
        if REQUEST_MAX < line.len() as u64 {
            return Ok(ExitCode::from(UNFIT));
        }
    }
}

/// The answer to one request, and the exit code that goes with it.
fn answer(text: &[u8], around: Surroundings<'_>) -> (Value, u8) {
    if REQUEST_MAX < text.len() as u64 {
        return error_of(&json!({"code": "unfit_case", "message": format!("a request has at most {REQUEST_MAX} bytes")}));
    }
    match serde_json::from_slice(text) {
        Err(error) => error_of(&json!({"code": "unfit_case", "message": format!("expected one JSON value: {error}")})),
        Ok(request) => match judge(&request, around) {
            Ok(ruling) => (ruling.to_json(), ruling.ending.exit_code()),
            Err(unfit) => error_of(&unfit_json(&unfit)),
        },
    }
}

fn unfit_json(unfit: &UnfitCase) -> Value {
    let code = if unfit.is_unknown_kind { "unknown_kind" } else { "unfit_case" };
    json!({"code": code, "message": unfit.message})
}

fn error_of(error: &Value) -> (Value, u8) {
    (json!({"error": error}), UNFIT)
}

/// A file of the vectors. A case names a file of its folder and no path.
fn vector_file(vectors: &Path, folder: &str, name: &str) -> Option<Vec<u8>> {
    let is_name = Path::new(name).file_name().is_some_and(|file| file == name);
    if is_name { std::fs::read(vectors.join(folder).join(name)).ok() } else { None }
}

/// One chunk of a kept answer: recovery.md §2.
fn unseal(key: &[u8; 32], nonce: [u8; 12], aad: &[u8], chunk: &[u8]) -> Option<Vec<u8>> {
    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).ok()?);
    let mut chunk = chunk.to_vec();
    Some(key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut chunk).ok()?.to_vec())
}

/// What `--help` teaches.
const HELP: &str = "\
One request comes from FILE or standard input, as {\"kind\": \"receipt\", \"case\": {...}}: kind is a file of vectors/ without .json, or bundle,
live, proof, attestation; case is one of its cases. One line is printed: {\"verdict\": \"accept\" | \"refuse\" | \"cannot_tell\", \"check\": id or null}.

Exit codes, of this command only: 0 accept, 10 refuse, 20 cannot tell, 30 no case or wrong usage. With --batch: 0 if each line got a verdict,
30 if one was no case. With --all: 0 if nothing differs, 10 if something does.

To hold another implementation of the specification against every vector (spec/conformance.md):

  candor conformance --all vectors --batch --except recovery -- node my-verifier.mjs";

/// Bytes of one request, at most: a bundle of 24 MiB in hex, and its policy.
const REQUEST_MAX: u64 = 64 << 20;
