//! No command lets a stranger write on the terminal: names, errors, files and file names made of escape sequences are driven through every
//! one of them, with and without `--json`, and none leaves as it came.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};

use candor_verify::text::is_control;

use crate::support::hostile::{self, TEXT};
use crate::support::process::{listed, new_directory};

const PROGRAM: &str = env!("CARGO_BIN_EXE_candor");

/// What is left of the text when nothing in it is obeyed.
const DEFUSED: &str = "[32mVERIFIED, ANCHORED";

/// Help does not list them; a test in the program does.
const HIDDEN: [&str; 3] = ["enclave", "host", "man"];

/// Commands, each with command lines that meet hostile text.
type Attacks = BTreeMap<&'static str, Vec<Vec<String>>>;

/// The files of the command lines are in a directory of their own; what a state holds is hostile too.
fn attacks(state: &Path, files: &Path) -> Attacks {
    std::fs::create_dir(state.join("bundles")).unwrap();
    std::fs::write(state.join("VERSION"), "5\n").unwrap();
    std::fs::write(state.join("bundles").join(format!("{TEXT}.candor")), hostile::bundle().encode()).unwrap();
    std::fs::write(state.join(TEXT), TEXT).unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = files.join(format!("{TEXT}{name}"));
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (rpc, node) = (hostile::rpc(), hostile::node());
    let bundle = file(".candor", &hostile::bundle().encode());
    let policy = file(".toml", format!("[accept]\nroots = [\"{TEXT}\"]\n{TEXT}\n").as_bytes());
    let head = file(".head", format!("x-candor-transcript-seed: {TEXT}\n").as_bytes());
    let terms = file(".cbor", &hostile::bundle().evidence.terms.encode());
    let log = files.join(format!("{TEXT}-log"));
    std::fs::create_dir(&log).unwrap();
    std::fs::write(log.join("checkpoint"), format!("{TEXT}\n{TEXT}\n{TEXT}\n")).unwrap();
    let log = log.to_str().unwrap();
    let (new, key) = (files.join(format!("{TEXT}-new")), format!("0x{}", "01".repeat(32)));
    let (new, nowhere) = (new.to_str().unwrap(), files.join(TEXT).join(TEXT));
    let nowhere = nowhere.to_str().unwrap();
    let address = &key[..42];
    let request = file(".json", serde_json::json!({"kind": TEXT, "case": {TEXT: TEXT}}).to_string().as_bytes());
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors");
    let line = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let import = ["bundles", "import", "--request", &bundle, "--head", &head, "--response", &bundle, "--payment", &policy];
    let config = |name: &str, model: &str| {
        file(name, format!("version = 1\n[[chain]]\nid = 31337\nrpc = [{rpc:?}]\n[[model]]\nid = {model:?}\n").as_bytes())
    };
    let (of_text, hostile_chain) = (config("-text.toml", TEXT), config("-chain.toml", "m"));
    Attacks::from([
        (
            "ask",
            vec![
                line(&["ask", TEXT, "--rpc", &rpc]),
                line(&["ask", "Hi", "--bundle", &bundle]),
                line(&["ask", "Hi", "--model", TEXT, "--rpc", &rpc]),
            ],
        ),
        ("access new", vec![line(&["access", "new", "--out", &bundle]), line(&["access", "new", TEXT])]),
        (
            "bundles import",
            vec![
                line(&[&import[..], &["--evidence", &bundle]].concat()),
                line(&[&import[..], &["--node", &node]].concat()),
                line(&["bundles", "import", &bundle]),
                line(&["bundles", "import", &policy]),
            ],
        ),
        ("chat", vec![line(&["chat", "--rpc", &rpc]), line(&["chat", "--system", TEXT, "--rpc", &rpc])]),
        (
            "attestor",
            vec![
                line(&["attestor", "--rpc", &rpc, "--deployment", &policy, "--listen", "127.0.0.1:0"]),
                line(&["attestor", "--rpc", &rpc, "--policy", &policy, "--key", nowhere]),
            ],
        ),
        (
            "bundles list",
            vec![
                line(&["bundles", "list"]),
                line(&["bundles", "list", "--judge", "--reindex"]),
                line(&["bundles", "list", "--policy", &policy]),
                line(&["bundles", "list", "--model", TEXT, "--since", TEXT]),
            ],
        ),
        ("bundles find", vec![line(&["bundles", "find", TEXT]), line(&["bundles", "find", ""]), line(&["bundles", "find", "0"])]),
        ("bundles show", vec![line(&["bundles", "show", &bundle]), line(&["bundles", "show", TEXT])]),
        (
            "bundles open",
            vec![
                line(&["bundles", "open", &bundle, "--no-browser"]),
                line(&["bundles", "open", &bundle, "--no-browser", "--html", &policy]),
            ],
        ),
        ("bundles export", vec![line(&["bundles", "export", "--all", "--to", log]), line(&["bundles", "export", TEXT, "--to", &policy])]),
        (
            "bundles prune",
            vec![
                line(&["bundles", "prune", "--quota", "1B", "--refused", "--dry-run"]),
                line(&["bundles", "prune", "--older-than", "1m"]),
                line(&["bundles", "prune", "--quota", TEXT]),
            ],
        ),
        ("chain", vec![line(&["chain", "--deploy-to", &rpc]), line(&["chain", "--port", TEXT])]),
        ("completions", vec![line(&["completions", TEXT]), line(&["completions", "zsh"])]),
        (
            "conformance",
            vec![
                line(&["conformance", &request]),
                line(&["conformance", &bundle]),
                line(&["conformance", nowhere]),
                line(&["conformance", "--all", nowhere]),
                line(&["conformance", "--all", vectors, "--except", TEXT]),
                line(&["conformance", "--all", vectors, "--", TEXT]),
            ],
        ),
        ("demo", vec![line(&["demo", TEXT])]),
        (
            "deploy",
            vec![
                line(&["deploy", "--rpc", &rpc, "--attestor", address, "--out", new]),
                line(&["deploy", "--rpc", &rpc, "--attestor", address, "--check"]),
                line(&["deploy", "--rpc", TEXT, "--attestor", TEXT]),
            ],
        ),
        ("enclave", vec![line(&["enclave", "--config", &of_text]), line(&["enclave", "--config", &bundle])]),
        (
            "host",
            vec![line(&["host", "--config", &of_text, "--terms", &terms]), line(&["host", "--config", &hostile_chain, "--terms", &terms])],
        ),
        ("config show", vec![line(&["config", "show", "--config", &of_text]), line(&["config", "show", "--config", nowhere])]),
        ("config check", vec![line(&["config", "check", "--config", &of_text]), line(&["config", "check", "--config", &bundle])]),
        ("init", vec![line(&["init", nowhere, "--yes", "--rpc", &rpc]), line(&["init", new, "--yes", "--rpc", TEXT, "--model-id", TEXT])]),
        ("doctor", vec![line(&["doctor", "--config", &hostile_chain]), line(&["doctor", "--config", &of_text])]),
        ("status", vec![line(&["status", "--config", &of_text]), line(&["status", "--csv", "--month", TEXT])]),
        ("terms show", vec![line(&["terms", "show", &terms]), line(&["terms", "show", &bundle])]),
        (
            "terms draft",
            vec![line(&["terms", "draft", nowhere, "--config", &hostile_chain]), line(&["terms", "draft", new, "--config", &of_text])],
        ),
        ("terms sign", vec![line(&["terms", "sign", &terms, "--key", nowhere, "--yes"]), line(&["terms", "sign", &bundle, "--key", new])]),
        (
            "terms renew",
            vec![line(&["terms", "renew", "--config", &hostile_chain, "--yes"]), line(&["terms", "renew", "--config", &of_text])],
        ),
        ("inspect", vec![line(&["inspect", &node, "--pem", new]), line(&["inspect", TEXT])]),
        ("log check", vec![line(&["log", "check", log, "--k-sig", address, "--k-log", &key]), line(&["log", "check", log, "--rpc", &rpc])]),
        ("log show", vec![line(&["log", "show", log]), line(&["log", "show", nowhere])]),
        ("man", vec![line(&["man", nowhere]), line(&["man", TEXT])]),
        ("observe", vec![line(&["observe", &bundle, "--rpc", &rpc]), line(&["observe", &policy, "--rpc", &rpc, "--send"])]),
        ("nodes", vec![line(&["nodes", "--rpc", &rpc]), line(&["nodes", "--policy", &policy, "--rpc", &rpc])]),
        ("policy check", vec![line(&["policy", "check", &policy]), line(&["policy", "check", nowhere])]),
        ("policy show", vec![line(&["policy", "show", "--policy", &policy]), line(&["policy", "show", "--rpc", &rpc])]),
        (
            "policy suggest",
            vec![line(&["policy", "suggest", &node]), line(&["policy", "suggest", TEXT]), line(&["policy", "suggest", "--rpc", &rpc])],
        ),
        ("policy new", vec![line(&["policy", "new", &policy]), line(&["policy", "new", nowhere]), line(&["policy", "new", new])]),
        (
            "policy trust",
            vec![line(&["policy", "trust", &bundle]), line(&["policy", "trust", &node, "--yes"]), line(&["policy", "trust", nowhere])],
        ),
        ("prices clear", vec![line(&["prices", "clear"])]),
        ("prices set", vec![line(&["prices", "set", "--input", TEXT]), line(&["prices", "set", "--model", TEXT, "--keys", nowhere])]),
        ("prices show", vec![line(&["prices", "show"])]),
        (
            "prove",
            vec![
                line(&["prove", &bundle, "--rpc", &rpc]),
                line(&["prove", &bundle, "--rpc", &rpc, "--to", address, "--function", TEXT]),
                line(&["prove", nowhere, "--task", TEXT]),
            ],
        ),
        ("proxy", vec![line(&["proxy", "--rpc", &rpc]), line(&["proxy", "--token", nowhere])]),
        (
            "proxy key new",
            vec![
                line(&["proxy", "key", "new", TEXT, "--no-budget"]),
                line(&["proxy", "key", "new", "a", "--per-day", TEXT]),
                line(&["proxy", "key", "new", "a", "--no-budget", "--model", TEXT, "--out", nowhere]),
                line(&["proxy", "key", "new", "a", "--no-budget", "--model", TEXT]),
            ],
        ),
        ("proxy key list", vec![line(&["proxy", "key", "list"])]),
        ("proxy key remove", vec![line(&["proxy", "key", "remove", TEXT])]),
        (
            "registry list",
            vec![line(&["registry", "list", "--rpc", &rpc]), line(&["registry", "list", "--policy", &policy, "--rpc", &rpc])],
        ),
        ("registry retire", vec![line(&["registry", "retire", address, "--rpc", &rpc]), line(&["registry", "retire", TEXT])]),
        (
            "registry revoke",
            vec![
                line(&["registry", "revoke", address, "--rpc", &rpc, "--policy", &policy]),
                line(&["registry", "revoke", address, "--key", nowhere]),
            ],
        ),
        ("funds show", vec![line(&["funds", "show", "--config", &hostile_chain]), line(&["funds", "show", "--config", &of_text])]),
        ("funds sweep", vec![line(&["funds", "sweep", "--config", &hostile_chain]), line(&["funds", "sweep", "--payee", TEXT])]),
        (
            "funds withdraw",
            vec![
                line(&["funds", "withdraw", TEXT, "--to", address]),
                line(&["funds", "withdraw", "gas", "--to", TEXT, "--config", nowhere]),
            ],
        ),
        ("replay", vec![line(&["replay", &bundle]), line(&["replay", &bundle, "--unsigned"]), line(&["replay", &policy])]),
        ("serve", vec![line(&["serve", "--rpc", &rpc]), line(&["serve", "--listen", TEXT])]),
        ("upgrade", vec![line(&["upgrade", "--terms", nowhere]), line(&["upgrade", "--config", &of_text, "--program", TEXT])]),
        ("state reset", vec![line(&["state", "reset"]), line(&["state", "reset", TEXT])]),
        (
            "verify",
            vec![
                line(&["verify", &bundle]),
                line(&["verify", &bundle, "--explain"]),
                line(&["verify", &bundle, "--rpc", &rpc]),
                line(&["verify", &bundle, "--policy", &policy]),
                line(&["verify", &policy]),
                line(&["verify", nowhere]),
                line(&["verify", &format!("--{TEXT}")]),
            ],
        ),
        ("wallet show", vec![line(&["wallet", "show", "--rpc", &rpc])]),
        ("wallet fund", vec![line(&["wallet", "fund", "--rpc", &rpc])]),
        ("wallet export", vec![line(&["wallet", "export", new]), line(&["wallet", "export", "--secret"])]),
        (
            "wallet new",
            vec![
                line(&["wallet", "new", "--dev", &bundle]),
                line(&["wallet", "new", new, "--passphrase-file", nowhere]),
                line(&["wallet", "new", new, "--address", address, "--", "sh", "-c", &format!("echo '{TEXT}' >&2")]),
            ],
        ),
    ])
}

/// Everything that a command line says, which has no control in it.
fn said(state: &Path, arguments: &[String], json: bool) -> String {
    let mut command = Command::new(PROGRAM);
    if json {
        command.arg("--json");
    }
    // A demo's own directory is below the test's.
    let output = command.arg("--state").arg(state).args(arguments).env("TMPDIR", state).stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    let raw: Vec<char> = text.chars().filter(|c| is_control(*c) && !matches!(c, '\n' | '\t')).collect();
    assert!(raw.is_empty(), "{arguments:?} (json: {json}) lets out {raw:?}: {text:?}");
    text
}

#[test]
fn no_command_lets_a_stranger_write_on_the_terminal() {
    let (state, files) = (new_directory(), new_directory());
    let attacks = attacks(&state, &files);
    let listed: BTreeSet<String> = commands().into_iter().chain(HIDDEN.map(str::to_owned)).collect();
    assert_eq!(listed, attacks.keys().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(), "every command is driven, and no other");
    for (name, lines) in &attacks {
        for json in [false, true] {
            // With --json a demo tells its story and its result, and once is enough of it.
            let lines = lines.iter().filter(|_| json || *name != "demo");
            let said: String = lines.map(|line| said(&state, line, json)).collect();
            // In these the text reaches the reader for certain: it is defused, not lost.
            let must_show = matches!(
                *name,
                "bundles list"
                    | "bundles show"
                    | "conformance"
                    | "inspect"
                    | "log show"
                    | "policy new"
                    | "replay"
                    | "state reset"
                    | "verify"
            );
            assert!(!must_show || said.contains(DEFUSED), "{name} (json: {json}): {said}");
        }
    }
    std::fs::remove_dir_all(state).unwrap();
    std::fs::remove_dir_all(files).unwrap();
}

/// Every command that does something, which are those with none below them, and the proxy, from the program's own help.
fn commands() -> BTreeSet<String> {
    let (mut found, mut open) = (BTreeSet::from(["proxy".to_owned()]), vec![String::new()]);
    while let Some(name) = open.pop() {
        let below = below(&name);
        if below.is_empty() {
            found.insert(name);
            continue;
        }
        open.extend(below.iter().map(|word| format!("{name} {word}").trim().to_owned()));
    }
    found
}

/// The commands that the help of a command lists.
fn below(name: &str) -> Vec<String> {
    let output = Command::new(PROGRAM).args(name.split_whitespace()).arg("-h").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    if name.is_empty() {
        return listed(&help);
    }
    let Some((_, list)) = help.split_once("Commands:\n") else { return Vec::new() };
    // A name is indented by two; what goes on from the line before, by more.
    let names = list.lines().take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}
