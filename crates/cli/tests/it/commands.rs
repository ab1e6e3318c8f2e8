//! What the commands promise to people and scripts: exit codes 0, 1, 2, the check that refused, and that nothing secret is sent to
//! whoever was not verified. Over the real program; one chain and one node for the file.

use std::path::{Path, PathBuf};

use candor_verify::bundle::Bundle;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use crate::support::process::{self, new_directory};
use crate::support::recorder::Recorder;
use crate::support::{World, copy_directory, take_hypervisor};

/// The prompt that nobody unverified may see.
const SECRET: &str = "zanzibar";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A copy of the world's policy with one thing replaced.
fn policy(world: &World, name: &str, from: &str, to: &str) -> PathBuf {
    let template = std::fs::read_to_string(world.state.join("policy.toml")).unwrap();
    assert!(template.contains(from), "{template}");
    let path = world.state.join(name);
    std::fs::write(&path, template.replace(from, to)).unwrap();
    path
}

/// The policy, naming another root of attestation.
fn other_root(world: &World, name: &str) -> PathBuf {
    let template = std::fs::read_to_string(world.state.join("policy.toml")).unwrap();
    let line = template.lines().find(|line| line.starts_with("roots = ")).unwrap().to_owned();
    policy(world, name, &line, &format!("roots = [\"0x{}\"]", "07".repeat(32)))
}

fn statuses<'a>(verdict: &'a Value, id: &str) -> Vec<&'a str> {
    let checks = verdict["checks"].as_array().unwrap();
    checks.iter().filter(|check| check["id"] == id).map(|check| check["status"].as_str().unwrap()).collect()
}

#[test]
fn verify_accepts_a_good_bundle_offline_and_says_what_it_did_not_check() {
    let world = World::shared();
    let ran = world.candor(&["verify", text(world.bundle())]);
    assert_eq!((ran.code, &ran.json["outcome"], &ran.json["refused"]), (0, &"verified".into(), &Value::Null), "{ran:?}");
    assert_ne!(ran.json["log_level"], "ANCHORED", "offline nobody can tell");
    let checks = ran.json["checks"].as_array().unwrap();
    assert!(checks.iter().any(|check| check["status"] == "not checked"), "{ran:?}");
    assert!(checks.iter().all(|check| check["spec"].as_str().is_some_and(|spec| !spec.is_empty())));
    let receipt = Bundle::parse(&std::fs::read(world.bundle()).unwrap()).unwrap().delivery.receipt;
    let facts = &ran.json["facts"];
    assert_eq!(facts["digest"], receipt.digest().to_string());
    assert_eq!(facts["receipt"]["money"]["charged"], receipt.money.charged.to_string());
    assert!(ran.json["claims"].is_null(), "{ran:?}");
}

#[test]
fn verify_with_an_rpc_reaches_anchored() {
    let world = World::shared();
    let ran = world.candor(&["verify", text(world.bundle()), "--rpc", &world.rpc()]);
    assert_eq!((ran.code, &ran.json["outcome"], &ran.json["log_level"]), (0, &"verified".into(), &"ANCHORED".into()), "{ran:?}");
}

#[test]
fn verify_cannot_tell_offline_if_the_policy_requires_an_anchor() {
    let world = World::shared();
    let strict = policy(&world, "anchored.toml", "require_level = \"self-logged\"", "require_level = \"anchored\"");
    let offline = world.candor(&["verify", text(world.bundle()), "--policy", text(&strict)]);
    assert_eq!((offline.code, &offline.json["outcome"]), (2, &"cannot tell".into()), "{offline:?}");
    let online = world.candor(&["verify", text(world.bundle()), "--policy", text(&strict), "--rpc", &world.rpc()]);
    assert_eq!(online.code, 0, "{online:?}");
}

#[test]
fn verify_refuses_any_flipped_byte_and_names_the_check() {
    let world = World::shared();
    let whole = std::fs::read(world.bundle()).unwrap();
    let path = world.state.join("flipped.candor");
    let places = 40;
    for place in 0..places {
        let mut bytes = whole.clone();
        let at = (bytes.len() - 1) * place / (places - 1);
        bytes[at] ^= 1 << (place % 8);
        std::fs::write(&path, bytes).unwrap();
        let ran = world.candor(&["verify", text(&path)]);
        assert_eq!((ran.code, &ran.json["outcome"]), (1, &"refused".into()), "byte {at}: {ran:?}");
        assert!(ran.json["refused"].as_str().is_some_and(|check| !check.is_empty()), "byte {at}: {ran:?}");
        assert!(ran.json["facts"].is_null(), "byte {at}: {ran:?}");
    }
}

/// A contract sees a hash of the text; whoever reads the command's words would take the altered one for what was proven.
#[test]
fn nothing_is_said_to_be_proven_of_a_bundle_that_was_altered() {
    let world = World::shared();
    let mut bundle = Bundle::parse(&std::fs::read(world.bundle()).unwrap()).unwrap();
    let frame = bundle.response.frames.iter_mut().find(|frame| frame.len() > 40).unwrap();
    frame.push(b' ');
    let path = world.state.join("altered-answer.candor");
    std::fs::write(&path, bundle.encode()).unwrap();
    // Nobody made a policy of this workload on this chain yet.
    for (command, of_the_honest) in [("prove", 2), ("observe", 0)] {
        let ran = world.candor(&[command, text(&path), "--rpc", &world.rpc()]);
        assert_eq!((ran.code, &ran.json["check"]), (1, &"response.commitment".into()), "{command}: {ran:?}");
        let honest = world.candor(&[command, text(world.bundle()), "--rpc", &world.rpc()]);
        assert_eq!(honest.code, of_the_honest, "{command}: {honest:?}");
    }
}

#[test]
fn verify_refuses_a_cut_or_longer_file() {
    let world = World::shared();
    let whole = std::fs::read(world.bundle()).unwrap();
    let path = world.state.join("length.candor");
    for bytes in [&whole[..whole.len() - 1], &whole[..1], &[], &[&whole[..], &[0]].concat()] {
        std::fs::write(&path, bytes).unwrap();
        let ran = world.candor(&["verify", text(&path)]);
        assert_eq!((ran.code, &ran.json["refused"]), (1, &"bundle.form".into()), "{ran:?}");
    }
}

#[test]
fn verify_accepts_no_simulated_evidence_without_a_policy_that_names_its_root() {
    let world = World::shared();
    let nowhere = new_directory();
    let ran = process::run(&nowhere, &["verify", text(world.bundle())]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.json["refused"].as_str().unwrap().starts_with("attest."), "{ran:?}");
    let advice = ran.json["advice"].as_str().unwrap();
    assert!(["SIMULATED", "--policy FILE", "candor policy new --dev"].iter().all(|word| advice.contains(word)), "{ran:?}");
    std::fs::remove_dir_all(nowhere).unwrap();
}

#[test]
fn what_cannot_be_judged_is_exit_code_2() {
    let world = World::shared();
    let bundle = text(world.bundle());
    let broken = world.state.join("broken.toml");
    std::fs::write(&broken, "[accept]\nrots = []\n").unwrap();
    for arguments in [
        &["verify", "/nowhere/at.all"][..],
        &["verify", bundle, "--policy", "/nowhere/policy.toml"],
        &["verify", bundle, "--policy", text(&broken)],
        &["verify", bundle, "--rpc", "http://127.0.0.1:1"],
        &["verify"],
        &["verify", bundle, "--no-such-flag"],
        &["no-such-command"],
        &["ask", "Hi", "--rpc", "http://127.0.0.1:1"],
        &["registry", "list", "--rpc", "http://127.0.0.1:1"],
        &["replay", "/nowhere/at.all"],
        &["inspect", "http://127.0.0.1:1"],
        &["inspect", "https://127.0.0.1:1"],
        &["log", "show", "/nowhere"],
        &["log", "check", "/nowhere"],
    ] {
        let ran = world.candor(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {ran:?}");
    }
}

#[test]
fn a_file_that_is_no_bundle_is_refused_by_its_form() {
    let world = World::shared();
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    let verified = world.candor(&["verify", readme]);
    assert_eq!((verified.code, &verified.json["refused"]), (1, &"bundle.form".into()), "{verified:?}");
    let replayed = world.candor(&["replay", readme]);
    assert_eq!((replayed.code, &replayed.json["check"]), (1, &"bundle.form".into()), "{replayed:?}");
}

#[test]
fn wrong_usage_is_json_too_if_json_was_asked_for() {
    let world = World::shared();
    for (arguments, word) in
        [(&["verify"][..], "<BUNDLE>"), (&["verify", "x", "--no-such-flag"], "--no-such-flag"), (&["nonsense"], "nonsense")]
    {
        let ran = world.candor(arguments);
        assert!(ran.code == 2 && ran.json["error"].as_str().is_some_and(|error| error.contains(word)), "{ran:?}");
    }
}

#[test]
fn a_reader_that_has_heard_enough_changes_no_verdict() {
    let world = World::shared();
    let cut = world.state.join("unheard.candor");
    std::fs::write(&cut, [std::fs::read(world.bundle()).unwrap(), vec![0]].concat()).unwrap();
    for (file, code) in [(world.bundle(), 0), (&cut, 1)] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_candor"));
        command.args(["--state", text(&world.state), "verify", text(file)]);
        let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
        // Closed before a line is written, or while it is: both are a pipe without a reader.
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(code), ""));
    }
}

#[test]
fn a_policy_that_was_written_for_another_build_refuses_with_the_next_step_and_is_replaced_only_by_force() {
    let world = World::shared();
    let state = new_directory();
    // The same hypervisor, so that the workload is all that differs.
    take_hypervisor(&world, &state);
    let made = process::run(&state, &["policy", "new", "--dev"]);
    assert_eq!(made.code, 0, "{made:?}");
    let path = state.join("policy.toml");
    let of_this_build = std::fs::read_to_string(&path).unwrap();
    assert!(of_this_build.starts_with("# Written by candor for one build of itself"), "{of_this_build}");
    let workloads = of_this_build.lines().find(|line| line.starts_with("workloads = ")).unwrap();
    let of_another = of_this_build.replace(workloads, &format!("workloads = [\"0x{}\"]", "09".repeat(32)));
    std::fs::write(&path, &of_another).unwrap();

    let asked = process::run(&state, &["ask", "Hi", "--rpc", &world.rpc(), "--max-tokens", "8"]);
    assert_eq!((asked.code, &asked.json["check"]), (1, &"policy.workload".into()), "{asked:?}");
    let direct = process::run(&state, &["ask", "Hi", "--rpc", &world.rpc(), "--node", &world.api()]);
    assert_eq!((direct.code, &direct.json["check"]), (1, &"policy.workload".into()), "{direct:?}");
    let verified = process::run(&state, &["verify", text(world.bundle())]);
    assert_eq!((verified.code, &verified.json["refused"]), (1, &"policy.workload".into()), "{verified:?}");
    for said in [&asked.json["error"], &direct.json["error"], &verified.json["advice"]] {
        let said = said.as_str().unwrap();
        assert!(said.contains("another build") && said.contains("candor policy new --dev --force") && said.contains(text(&path)), "{said}");
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), of_another, "nothing is loosened in silence");

    assert_eq!(process::run(&state, &["policy", "new", "--dev"]).code, 2);
    assert_eq!(process::run(&state, &["policy", "new", "--dev", "--force"]).code, 0);
    assert_eq!(process::run(&state, &["verify", text(world.bundle())]).code, 0);
    std::fs::remove_dir_all(state).unwrap();
}

#[test]
fn a_policy_without_a_registry_says_what_to_fill_in_and_reads_back_once_it_is() {
    let world = World::shared();
    let state = new_directory();
    assert_eq!(process::run(&state, &["policy", "new"]).code, 0);
    let ran = process::run(&state, &["ask", "Hi", "--rpc", &world.rpc()]);
    let error = ran.json["error"].as_str().unwrap();
    assert!(ran.code == 2 && error.contains("accept.registries") && error.contains("--dev"), "{ran:?}");
    // The example is an example: with the marks taken away it is a policy.
    let path = state.join("policy.toml");
    let template = std::fs::read_to_string(&path).unwrap();
    let section = template.split_once("# [[spend]]").unwrap().1.split("#\n").next().unwrap().replace("# ", "");
    std::fs::write(&path, format!("{template}\n[[spend]]{section}")).unwrap();
    let ran = process::run(&state, &["verify", text(world.bundle())]);
    assert_eq!(ran.code, 1, "{ran:?}");
    std::fs::remove_dir_all(state).unwrap();
}

#[test]
fn a_new_wallet_is_funded_on_the_development_chain_pays_and_shows_its_balance_without_its_passphrase() {
    let world = World::shared();
    let state = new_directory();
    let rpc = world.rpc();
    take_hypervisor(&world, &state);
    let passphrase = state.join("passphrase");
    std::fs::write(&passphrase, "correct horse\n").unwrap();
    let made = process::run(&state, &["wallet", "new", "--passphrase-file", text(&passphrase)]);
    assert_eq!(made.code, 0, "{made:?}");
    let empty = process::run(&state, &["wallet", "show", "--rpc", &rpc]);
    assert_eq!(
        (empty.code, &empty.json["address"], &empty.json["assets"][0]["balance"]),
        (0, &made.json["address"], &"0".into()),
        "{empty:?}"
    );
    let funded = process::run(&state, &["wallet", "fund", "--rpc", &rpc]);
    assert_eq!((funded.code, &funded.json["balance"]), (0, &"1000000000".into()), "{funded:?}");
    let asked = process::run(&state, &["ask", "Hi", "--rpc", &rpc, "--max-tokens", "8", "--passphrase-file", text(&passphrase)]);
    assert_eq!(asked.code, 0, "{asked:?}");
    let named = process::run(&state, &["wallet", "new", "--dev"]);
    assert!(named.code == 2 && named.json["error"].as_str().unwrap().contains("another wallet"), "{named:?}");
    std::fs::remove_dir_all(state).unwrap();
}

#[test]
fn replay_gives_the_same_bytes() {
    let world = World::shared();
    let ran = world.candor(&["replay", text(world.bundle())]);
    assert_eq!((ran.code, &ran.json["equal"]), (0, &true.into()), "{ran:?}");
}

#[test]
fn replay_finds_a_changed_frame() {
    let world = World::shared();
    let mut bundle = Bundle::parse(&std::fs::read(world.bundle()).unwrap()).unwrap();
    let at = bundle.response.frames.len() / 2;
    bundle.response.frames[at].push(b' ');
    let path = world.state.join("frame.candor");
    std::fs::write(&path, bundle.encode()).unwrap();
    let ran = world.candor(&["replay", text(&path)]);
    assert_eq!((ran.code, &ran.json["first_difference"]), (1, &at.into()), "{ran:?}");
}

#[test]
fn replay_refuses_an_answer_that_was_cut_and_does_not_say_so() {
    let world = World::shared();
    let mut bundle = Bundle::parse(&std::fs::read(world.bundle()).unwrap()).unwrap();
    drop(bundle.response.frames.pop());
    let path = world.state.join("cut.candor");
    std::fs::write(&path, bundle.encode()).unwrap();
    let ran = world.candor(&["replay", text(&path)]);
    assert_eq!((ran.code, &ran.json["equal"]), (1, &false.into()), "{ran:?}");
}

#[test]
fn replay_with_other_weights_is_refused() {
    let world = World::shared();
    let shape = candor_engine::Config {
        dim: 64,
        layers: 1,
        heads: 4,
        kv_heads: 2,
        head_dim: 16,
        ffn: 128,
        context: 256,
        norm_eps: 1e-5,
        tied: false,
    };
    let other = world.state.join("other.cnd1");
    std::fs::write(&other, candor_engine::fixture::random(shape, 3)).unwrap();
    let ran = world.candor(&["replay", text(world.bundle()), "--model", text(&other)]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.json["error"].as_str().unwrap().contains("names model"), "{ran:?}");
}

#[test]
fn log_show_and_check_read_the_published_directory() {
    let world = World::at_rest();
    let log_id = world.node.text("log_id");
    let directory = world.log_directory(&log_id);
    let shown = world.candor(&["log", "show", text(&directory)]);
    assert!(shown.code == 0 && shown.json["size"].as_u64().is_some_and(|size| 1 <= size), "{shown:?}");
    let checked = world.check_log(&log_id);
    assert_eq!((checked.code, &checked.json["sound"]), (0, &true.into()), "{checked:?}");
}

#[test]
fn log_check_with_an_rpc_takes_keys_and_anchors_from_the_chain() {
    let world = World::at_rest();
    let (log_id, rpc) = (world.node.text("log_id"), world.rpc());
    let directory = world.log_directory(&log_id);
    let ran = world.candor(&["log", "check", text(&directory), "--rpc", &rpc]);
    assert_eq!((ran.code, &ran.json["sound"], &ran.json["log_id"]), (0, &true.into(), &log_id.into()), "{ran:?}");
    assert!(ran.json["anchors"].as_u64().is_some_and(|anchors| 1 <= anchors), "{ran:?}");
    // Nobody says whose log it is; a place that is no log; a log that this registry does not know.
    let ran = world.candor(&["log", "check", text(&directory)]);
    assert!(ran.code == 2 && ran.json["error"].as_str().unwrap().contains("--rpc"), "{ran:?}");
    assert_eq!(world.candor(&["log", "check", text(&world.state), "--rpc", &rpc]).code, 2);
    let stranger = world.candor(&["log", "check", text(&directory), "--rpc", &rpc, "--registry", &format!("0x{}", "01".repeat(20))]);
    assert_ne!(stranger.code, 0, "{stranger:?}");
}

#[test]
fn log_check_refuses_a_log_that_was_put_back_to_before_an_anchor() {
    // Its own, so that nothing is published while it is copied.
    let world = World::start(&[]);
    let (log_id, rpc) = (world.node.text("log_id"), world.rpc());
    let ask = || assert_eq!(world.candor(&["ask", "Hi", "--rpc", &rpc, "--max-tokens", "4"]).code, 0);
    ask();
    let copy = world.state.join("old-log");
    copy_directory(&world.log_directory(&log_id), &copy);
    let shown = world.candor(&["log", "show", text(&copy)]);
    // `ask` ends when a tree with its receipt is anchored.
    ask();
    let ran = world.candor(&["log", "check", text(&copy), "--rpc", &rpc]);
    assert_eq!((ran.code, &ran.json["sound"], &ran.json["size"]), (1, &false.into(), &shown.json["size"]), "{ran:?}");
    assert!(ran.json["failures"][0].as_str().unwrap().contains("at size"), "{ran:?}");
}

#[test]
fn log_check_finds_a_changed_byte_and_a_wrong_key() {
    let world = World::at_rest();
    let log_id = world.node.text("log_id");
    let listed = world.candor(&["registry", "list", "--rpc", &world.rpc()]);
    let row = &listed.json[0];
    let (k_sig, k_log) = (row["k_sig"].as_str().unwrap(), row["k_log"].as_str().unwrap());
    let copy = world.state.join("copied-log");
    copy_directory(&world.log_directory(&log_id), &copy);
    let sound = world.candor(&["log", "check", text(&copy), "--k-sig", k_sig, "--k-log", k_log]);
    assert_eq!(sound.code, 0, "{sound:?}");
    let other = format!("0x{}", "01".repeat(20));
    let wrong = world.candor(&["log", "check", text(&copy), "--k-sig", &other, "--k-log", k_log]);
    assert_eq!((wrong.code, &wrong.json["sound"]), (1, &false.into()), "{wrong:?}");
    let mut files = Vec::new();
    list_files(&copy, &mut files);
    // A partial file of a smaller size is nobody's any more (log.md LOG-7).
    let size = sound.json["size"].to_string();
    files.retain(|file| file.parent().unwrap().extension().is_none_or(|end| end != "p") || file.ends_with(&size));
    assert!(3 <= files.len(), "{files:?}");
    for file in files {
        let whole = std::fs::read(&file).unwrap();
        let mut bytes = whole.clone();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        let ran = world.candor(&["log", "check", text(&copy), "--k-sig", k_sig, "--k-log", k_log]);
        assert!(ran.code == 1 && !ran.json["failures"].as_array().unwrap().is_empty(), "{}: {ran:?}", file.display());
        std::fs::write(&file, whole).unwrap();
    }
}

fn list_files(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        // An empty file (a lock) is no part of the log.
        match path.is_dir() {
            true => list_files(&path, into),
            false if path.metadata().unwrap().len() != 0 => into.push(path),
            false => {}
        }
    }
}

#[test]
fn registry_list_shows_the_node_and_what_the_policy_says_of_it() {
    let world = World::shared();
    let listed = world.candor(&["registry", "list", "--rpc", &world.rpc()]);
    assert_eq!(listed.code, 0, "{listed:?}");
    let row = &listed.json[0];
    assert_eq!((&row["k_sig"], &row["status"]), (&world.node.text("k_sig").into(), &"valid".into()));
    assert_eq!((&row["policy"], &row["endpoint"]), (&"accepted, SIMULATED".into(), &world.api().into()));
    let other = other_root(&world, "list-other-root.toml");
    let listed = world.candor(&["registry", "list", "--rpc", &world.rpc(), "--policy", text(&other)]);
    assert!(listed.json[0]["policy"].as_str().unwrap().starts_with("refused attest."), "{listed:?}");
}

#[test]
fn inspect_judges_by_the_policy() {
    let world = World::shared();
    let pem = world.state.join("inspected.pem");
    let ran = world.candor(&["inspect", &world.api(), "--pem", text(&pem)]);
    assert_eq!((ran.code, &ran.json["tls_key_attested"]), (0, &true.into()), "{ran:?}");
    assert!(std::fs::read_to_string(&pem).unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    let other = other_root(&world, "inspect-other-root.toml");
    let unwritten = world.state.join("unwritten.pem");
    let ran = world.candor(&["inspect", &world.api(), "--policy", text(&other), "--pem", text(&unwritten)]);
    assert_eq!((ran.code, &ran.json["tls_key_attested"]), (1, &false.into()), "{ran:?}");
    assert!(!unwritten.exists(), "nobody vouches for that certificate");
    assert!(ran.json["verdict"]["refused"].as_str().unwrap().starts_with("attest."), "{ran:?}");
    assert_eq!(statuses(&ran.json["verdict"], "evidence.binding"), ["not reached"], "nothing is believed after it");
}

#[test]
fn a_port_that_is_taken_names_the_flag_that_chooses_another() {
    let world = World::shared();
    let taken = world.api().replace("https://", "");
    let port = taken.rsplit(':').next().unwrap();
    for (arguments, flag) in
        [(&["chain", "--port", port][..], "--port"), (&["proxy", "--rpc", &world.rpc(), "--listen", &taken], "--listen")]
    {
        let ran = world.candor(arguments);
        assert!(ran.code == 2 && ran.json["error"].as_str().unwrap().ends_with(flag), "{ran:?}");
    }
}

#[test]
fn inspect_of_a_port_without_tls_says_so() {
    let world = World::shared();
    let ran = world.candor(&["inspect", &world.log().replace("http://", "https://")]);
    assert!(ran.code == 2 && ran.json["error"].as_str().unwrap().contains("expected TLS"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn inspect_refuses_a_server_that_shows_anothers_evidence_and_writes_no_certificate() {
    let world = World::shared();
    let recorder = Recorder::start(world.api());
    let pem = world.state.join("refused.pem");
    let (state, url, file) = (world.state.clone(), recorder.url.clone(), text(&pem).to_owned());
    let ran = tokio::task::spawn_blocking(move || process::run(&state, &["inspect", &url, "--pem", &file])).await.unwrap();
    assert_eq!((ran.code, &ran.json["tls_key_attested"]), (1, &false.into()), "{ran:?}");
    assert!(!pem.exists());
}

/// Asks this node for an answer to the secret prompt.
async fn ask(world: &World, node: &str, policy: Option<&Path>) -> crate::support::Ran {
    let (state, rpc, node, policy) = (world.state.clone(), world.rpc(), node.to_owned(), policy.map(Path::to_owned));
    let ask = move || {
        let mut arguments = vec!["ask", SECRET, "--rpc", &rpc, "--node", &node, "--max-tokens", "8"];
        if let Some(policy) = &policy {
            arguments.extend(["--policy", text(policy)]);
        }
        process::run(&state, &arguments)
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_another_tls_key_is_sent_no_byte_of_the_prompt() {
    let world = World::shared();
    let recorder = Recorder::start(world.api());
    let ran = ask(&world, &recorder.url, None).await;
    assert_eq!((ran.code, &ran.json["check"]), (1, &"tls.key".into()), "{ran:?}");
    recorder.assert_only_evidence();
    // It relayed the genuine evidence, made for this very challenge: the key is what it lacked.
    assert_eq!(recorder.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_a_root_that_the_policy_does_not_name_is_sent_no_byte_of_the_prompt() {
    let world = World::shared();
    let recorder = Recorder::start(world.api());
    let other = other_root(&world, "ask-other-root.toml");
    let ran = ask(&world, &recorder.url, Some(&other)).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.json["check"].as_str().unwrap().starts_with("attest."), "{ran:?}");
    recorder.assert_only_evidence();
    // The registry has no node for this policy either.
    let ran = world.candor(&["ask", SECRET, "--rpc", &world.rpc(), "--policy", text(&other)]);
    assert_ne!(ran.code, 0, "{ran:?}");
    assert!(!ran.json["error"].as_str().unwrap().contains(SECRET), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_sent_no_byte_of_the_prompt() {
    let world = World::shared();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = vec![0; 4096];
        let read = stream.read(&mut bytes).await.unwrap();
        bytes.truncate(read);
        drop(tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 200 OK\r\n\r\n").await);
        drop(tokio::io::AsyncWriteExt::shutdown(&mut stream).await);
        drop(stream.read_to_end(&mut bytes).await);
        bytes
    });
    let ran = ask(&world, &url, None).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    let bytes = server.await.unwrap();
    assert!(!bytes.is_empty() && !bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()));
}

#[test]
fn ask_pays_nothing_beyond_the_policys_amounts() {
    let world = World::shared();
    let state = new_directory();
    for (name, from) in [("per-request.toml", "max_per_request = \"10000\""), ("per-day.toml", "max_per_day = \"1000000\"")] {
        let key = from.split(' ').next().unwrap();
        let poor = policy(&world, name, from, &format!("{key} = \"10\""));
        let bundle = state.join("none.candor");
        let arguments = ["ask", "Hi", "--rpc", &world.rpc(), "--policy", text(&poor), "--bundle", text(&bundle)];
        let ran = process::run(&state, &arguments);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.json["error"].as_str().unwrap().starts_with("not paid"), "{ran:?}");
        assert!(!bundle.exists());
    }
    std::fs::remove_dir_all(state).unwrap();
}

#[test]
fn ask_keeps_its_book_and_its_bundle_to_its_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::shared();
    for file in [world.bundle().to_owned(), world.state.join("client.db"), world.state.join("policy.toml")] {
        let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.display());
    }
}
