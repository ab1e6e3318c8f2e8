//! `candor conformance`: the contract of spec/conformance.md over the real program, alone and driving another one (itself, and shells that
//! answer wrongly). No chain and no node.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

const CANDOR: &str = env!("CARGO_BIN_EXE_candor");

fn vectors() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors").to_owned()
}

struct Ended {
    code: i32,
    lines: Vec<Value>,
}

/// `candor conformance` with these arguments and this input.
fn conformance(arguments: &[&str], input: &str) -> Ended {
    let mut command = Command::new(CANDOR);
    command.arg("conformance").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    // A program that reads nothing closes its end: that is for its exit code to say.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    Ended { code: output.status.code().unwrap(), lines }
}

fn id_case(receipt_id: &str) -> String {
    json!({"kind": "receipt-id", "case": {"leafSalt": format!("0x{}", "00".repeat(32)), "receiptId": receipt_id}}).to_string()
}

const RIGHT: &str = "0xc9ca50c69ce4da3df747b6b1cf811efc";
const WRONG: &str = "0x00000000000000000000000000000000";

fn bundle_case(name: &str) -> String {
    let path = PathBuf::from(vectors()).join("bundle/cases.json");
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let case = cases.into_iter().find(|case| case["name"] == name).unwrap();
    json!({"kind": "bundle", "case": case}).to_string()
}

#[test]
fn each_end_has_its_exit_code_and_what_is_no_case_has_another() {
    let vectors = vectors();
    let accepted = conformance(&[], &id_case(RIGHT));
    assert_eq!((accepted.code, &accepted.lines[0]["verdict"]), (0, &json!("accept")));
    let refused = conformance(&[], &id_case(WRONG));
    assert_eq!((refused.code, &refused.lines[0]["check"]), (10, &json!("receipt.id")));
    let open = conformance(&["--vectors", &vectors], &bundle_case("offline_where_an_anchor_is_required"));
    assert_eq!((open.code, &open.lines[0]["verdict"]), (20, &json!("cannot_tell")));
    let honest = conformance(&["--vectors", &vectors], &bundle_case("honest"));
    assert_eq!((honest.code, &honest.lines[0]["log_level"]), (0, &json!("SELF-LOGGED")));
    for (arguments, input) in [
        (vec![], ""),
        (vec![], "{"),
        (vec![], "{\"kind\":\"no-such\",\"case\":{}}"),
        (vec![], "{\"kind\":\"receipt-id\",\"case\":{}}"),
        (vec!["--no-such-flag"], ""),
        (vec!["--except", "receipt"], ""),
        (vec!["/no/such/file"], ""),
        (vec!["--all", "/no/such/folder"], ""),
        (vec!["--all", vectors.as_str(), "--except", "no-such"], ""),
        (vec!["--all", vectors.as_str(), "--", "/no/such/program"], ""),
        // A case names a file of its folder, and no path.
        (vec!["--vectors", vectors.as_str()], "{\"kind\":\"live\",\"case\":{\"file\":\"../README.md\"}}"),
    ] {
        assert_eq!(conformance(&arguments, input).code, 30, "{arguments:?} {input}");
    }
}

#[test]
fn a_batch_is_answered_line_by_line_and_an_error_ends_nothing() {
    let (right, wrong) = (id_case(RIGHT), id_case(WRONG));
    let all = conformance(&["--batch"], &format!("{right}\n{wrong}\n{right}\n"));
    let verdicts: Vec<&str> = all.lines.iter().map(|line| line["verdict"].as_str().unwrap()).collect();
    assert_eq!((all.code, verdicts), (0, vec!["accept", "refuse", "accept"]));
    let broken = conformance(&["--batch"], &format!("{right}\nno JSON\n{{\"kind\":\"x\",\"case\":{{}}}}\n{wrong}"));
    let codes: Vec<&str> = broken.lines.iter().map(|line| line["error"]["code"].as_str().unwrap_or("verdict")).collect();
    assert_eq!((broken.code, codes), (30, vec!["verdict", "unfit_case", "unknown_kind", "verdict"]));
}

#[test]
fn another_program_is_held_to_every_vector() {
    let vectors = vectors();
    let alone = conformance(&["--json", "--all", &vectors], "");
    let driven = conformance(&["--json", "--all", &vectors, "--batch", "--", CANDOR, "conformance"], "");
    for ended in [&alone, &driven] {
        let report = &ended.lines[0];
        assert_eq!((ended.code, &report["ok"], &report["different"]), (0, &json!(true), &json!(0)), "{report}");
        assert!(900 < report["cases"].as_u64().unwrap(), "{report}");
    }
    assert_eq!(alone.lines, driven.lines);
}

#[test]
fn a_program_that_differs_is_reported_and_so_is_one_that_fails() {
    let folder = crate::support::process::new_directory();
    let case = json!({"name": "zeros", "leafSalt": format!("0x{}", "00".repeat(32)), "receiptId": RIGHT});
    let wrong = json!({"name": "wrong", "leafSalt": format!("0x{}", "00".repeat(32)), "receiptId": WRONG, "refusedBy": "receipt.id"});
    for name in ["bundle", "proof", "attestation"] {
        std::fs::create_dir(folder.join(name)).unwrap();
    }
    std::fs::write(folder.join("receipt-id.json"), json!({"cases": [case], "rejects": [wrong]}).to_string()).unwrap();
    let whole =
        json!([{"name": "nothing", "file": "x", "edits": [], "roots": [], "at_ms": 0, "mode": "historical", "expect": "attest.size"}]);
    for name in ["bundle/cases.json", "bundle/live.json", "proof/cases.json", "attestation/cases.json"] {
        std::fs::write(folder.join(name), whole.to_string()).unwrap();
        std::fs::write(folder.join(name).with_file_name("x"), "").unwrap();
    }
    let folder = folder.to_str().unwrap();
    let ask = |batch: bool, script: &str| {
        let mut arguments = vec!["--json", "--all", folder];
        arguments.extend(["bundle", "live", "proof", "attestation"].into_iter().flat_map(|kind| ["--except", kind]));
        arguments.extend(batch.then_some("--batch"));
        arguments.extend(["--", "sh", "-c", script]);
        let ended = conformance(&arguments, "");
        let report = ended.lines[0].clone();
        (ended.code, report["different"].as_u64().unwrap(), report["kinds"][0]["different"].to_string())
    };
    // Says yes to everything; says the right word with a wrong exit code; says nothing; answers one line of two.
    let accept = r#"cat >/dev/null; echo '{"verdict":"accept","check":null}'"#;
    assert_eq!((ask(false, accept).0, ask(false, accept).1), (10, 1));
    let (code, different, what) = ask(false, &format!("{accept}; exit 10"));
    assert_eq!((code, different), (10, 2));
    assert!(what.contains("exit code 10"), "{what}");
    assert_eq!(ask(false, "exit 0").1, 2);
    let (_, different, what) = ask(true, accept);
    assert_eq!(different, 2);
    assert!(what.contains("2 lines were asked and 1 answered"), "{what}");
    assert_eq!(ask(true, &format!("{accept}; echo '{{\"error\":{{}}}}'")).1, 2, "an error asks for exit code 30");
}
