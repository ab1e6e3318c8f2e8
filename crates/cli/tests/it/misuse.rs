//! What is asked wrongly is refused before anything is sent, paid, written over or made, in words that say what to do instead. No chain and
//! no node: nothing here may get as far as needing one.

use std::path::Path;
use std::process::{Command, Stdio};

use candor_chain::{DeployConfig, Deployment, Piece, Signer};
use candor_report::{ContractText, DeploymentText};
use candor_verify::bytes::Hash32;

use crate::support::Ran;
use crate::support::process::{new_directory, run};

/// Where nobody listens.
const NOBODY: &str = "http://127.0.0.1:1";

/// A deployment file of a chain that has whatever one says.
fn deployment_on(state: &Path, chain_id: u64) -> String {
    let config = DeployConfig { attestors: vec![Signer::random().address()], threshold: 1, with_play_money: true };
    let contract = |piece: &Piece| ContractText {
        name: piece.name.to_owned(),
        address: piece.address,
        init_code_hash: piece.init_code_hash,
        code_hash: Hash32([1; 32]),
    };
    let contracts = Deployment::planned(&config).unwrap().iter().map(contract).collect();
    let text = DeploymentText { chain_id, threshold: 1, attestors: config.attestors, contracts };
    let path = state.join(format!("deployment-{chain_id}.toml"));
    std::fs::write(&path, text.to_toml()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn assert_refused(ran: &Ran, words: &[&str]) {
    let error = ran.json["error"].as_str().unwrap_or_default();
    assert!(ran.code == 2 && words.iter().all(|word| error.contains(word)), "expected {words:?}, got {ran:?}");
}

#[test]
fn values_that_no_node_takes_are_refused_before_anything_is_sent() {
    let state = new_directory();
    for (flag, value) in [
        ("--temperature", "nan"),
        ("--temperature", "inf"),
        ("--temperature", "2.1"),
        ("--top-p", "0"),
        ("--max-tokens", "0"),
        ("--model", ""),
        ("--system", ""),
        ("--stop", ""),
        ("--max-price", "1e3"),
        ("--ask-above", "$1"),
    ] {
        assert_refused(&run(&state, &["ask", "Hi", "--rpc", NOBODY, flag, value]), &[flag]);
    }
    // Nothing was said, and nothing comes in either.
    for words in [&["ask", ""][..], &["ask", " \n"], &["ask"], &["ask", "-"]] {
        assert_refused(&run(&state, &[words, &["--rpc", NOBODY]].concat()), &["the question is empty"]);
    }
    for flag in [["--task", "0x01"], ["--task", "ab"]] {
        assert_refused(&run(&state, &["ask", "Hi", "--public", "--rpc", NOBODY, flag[0], flag[1]]), &["--task"]);
    }
    assert_refused(&run(&state, &["ask", "Hi", "--body", "x", "--rpc", NOBODY]), &["--body"]);
    assert_refused(&run(&state, &["demo", ""]), &["[PROMPT]"]);
    // The one command with codes of its own is not every command that speaks of it.
    assert_refused(&run(&state, &["ask", "conformance", "--rpc", NOBODY, "--max-tokens", "0"]), &["--max-tokens"]);
    assert_eq!(run(&state, &["conformance", "--nonsense"]).code, 30);
    // Gas is spent on no chain by default.
    let attestor = Signer::random().address().to_string();
    assert_refused(&run(&state, &["deploy", "--attestor", &attestor]), &["--rpc URL"]);
    std::fs::remove_dir_all(state).unwrap();
}

/// A bundle is anybody's: the registry that it names would say what its maker likes, and burn what gas it gets.
#[test]
fn no_registry_is_asked_or_paid_that_the_policy_does_not_name() {
    let state = new_directory();
    let vector = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/bundle/honest.candor");
    for command in ["prove", "observe"] {
        let ran = run(&state, &[command, vector, "--rpc", NOBODY, "--send"]);
        assert_eq!((ran.code, &ran.json["check"]), (1, &"policy.registry".into()), "{ran:?}");
    }
    std::fs::remove_dir_all(state).unwrap();
}

#[test]
fn a_bundle_is_written_over_nothing_and_no_directory_is_made_for_it() {
    let state = new_directory();
    let bundle = state.join("paid.candor");
    for beside in ["paid.candor", "paid.refused.candor", "paid.hints.json"] {
        std::fs::write(state.join(beside), "evidence").unwrap();
        let ran = run(&state, &["ask", "Hi", "--rpc", NOBODY, "--bundle", bundle.to_str().unwrap()]);
        assert_refused(&ran, &[beside, "not touched", "nothing was paid"]);
        assert_eq!(std::fs::read(state.join(beside)).unwrap(), b"evidence");
        std::fs::remove_file(state.join(beside)).unwrap();
    }
    let elsewhere = state.join("none").join("paid.candor");
    let path = elsewhere.to_str().unwrap();
    for arguments in [&["ask", "Hi", "--rpc", NOBODY, "--bundle", path][..], &["policy", "new", path], &["policy", "new", "--dev", path]] {
        assert_refused(&run(&state, arguments), &["no directory"]);
    }
    assert!(!state.join("none").exists());
    std::fs::remove_dir_all(state).unwrap();
}

#[test]
fn no_policy_that_accepts_simulated_evidence_is_written_for_a_chain_where_money_is_real() {
    let state = new_directory();
    let operator = Signer::random().address().to_string();
    let policy = |chain_id: u64| {
        let file = deployment_on(&state, chain_id);
        run(&state, &["policy", "new", "--dev", "--deployment", &file, "--operator", &operator])
    };
    for chain_id in [1, 8453, 424_242] {
        assert_refused(&policy(chain_id), &["SIMULATED", &chain_id.to_string()]);
        assert!(!state.join("policy.toml").exists());
    }
    assert_eq!(policy(84532).code, 0);
    let text = std::fs::read_to_string(state.join("policy.toml")).unwrap();
    assert!(text.contains("chain_id = 84532") && text.contains(&operator), "{text}");
    std::fs::remove_dir_all(state).unwrap();
}

#[test]
fn one_port_for_clients_and_log_is_refused_at_once_with_the_flag_that_gives_another() {
    let state = new_directory();
    for (listen, log_listen) in [("127.0.0.1:28843", "127.0.0.1:28843"), ("0.0.0.0:28843", "127.0.0.1:28843")] {
        let ran = run(&state, &["serve", "--rpc", NOBODY, "--listen", listen, "--log-listen", log_listen]);
        assert_refused(&ran, &["one port", "another with --log-listen"]);
    }
    let same = ["serve", "--rpc", NOBODY, "--metrics-listen", "127.0.0.1:8444"];
    assert_refused(&run(&state, &same), &["one port", "another with --metrics-listen"]);
    std::fs::remove_dir_all(state).unwrap();
}

#[test]
fn a_log_or_a_listener_for_metrics_that_cannot_be_meant_is_refused_with_what_can() {
    let state = new_directory();
    for (arguments, says) in [
        (&["--log-format", "xml"][..], &["--log-format", "text", "json"][..]),
        (&["--log-level", "loud"], &["--log-level", "off, error, warn, info, debug", "loud"]),
        (&["--log-level", "host::settl=debug"], &["--log-level", "host::settl", "host::settle"]),
        (&["--metrics-listen", "9464"], &["--metrics-listen", "ADDRESS:PORT", "off"]),
        (&["--metrics-listen", "0.0.0.0:9464"], &["0.0.0.0:9464", "loopback", "--metrics-remote"]),
        (&["--metrics-listen", "[2001:db8::1]:9464"], &["loopback", "--metrics-remote"]),
    ] {
        assert_refused(&run(&state, &[&["serve", "--rpc", NOBODY], arguments].concat()), says);
    }
    std::fs::remove_dir_all(state).unwrap();
}

#[test]
fn a_state_that_cannot_be_made_names_the_flag_that_says_another() {
    for arguments in [&["policy", "new", "--dev"][..], &["wallet", "new"], &["serve", "--rpc", NOBODY]] {
        assert_refused(&run(Path::new("/proc/candor-none"), arguments), &["/proc/candor-none", "--state DIR"]);
    }
}

#[test]
fn a_passphrase_that_nobody_can_be_asked_for_names_the_flag_that_gives_it() {
    let state = new_directory();
    // In a session of its own there is no terminal, whatever the test was started from.
    let mut command = Command::new("setsid");
    command.args(["--wait", env!("CARGO_BIN_EXE_candor"), "--json", "--state", state.to_str().unwrap(), "wallet", "new"]);
    assert_refused(&Ran::of(&command.stdin(Stdio::null()).output().unwrap()), &["no terminal", "--passphrase-file FILE"]);
    assert!(!state.join("wallet.json").exists());
    std::fs::remove_dir_all(state).unwrap();
}

#[test]
fn help_names_the_chains_that_are_taken_and_says_that_a_wallet_needs_no_ether() {
    let help = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_candor")).args(arguments).arg("--help").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let chain = help(&["chain"]);
    assert!(candor_devchain::TESTNETS.iter().all(|(id, _)| chain.contains(&id.to_string())), "{chain}");
    assert!(help(&["wallet", "show"]).contains("needs no ether"));
}
