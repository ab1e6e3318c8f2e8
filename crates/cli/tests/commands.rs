//! What the commands promise to people and scripts: exit codes 0, 1, 2, the check that refused, and that nothing secret is sent to
//! whoever was not verified. Over the real program; one chain and one node for the file.

mod support;

use std::path::{Path, PathBuf};

use candor_verify::bundle::Bundle;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use support::World;
use support::process::{self, new_directory};
use support::recorder::Recorder;

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
    let strict = policy(&world, "anchored.toml", "require = \"self-logged\"", "require = \"anchored\"");
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
    ] {
        let ran = world.candor(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {ran:?}");
    }
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
    let world = World::shared();
    assert!(world.bundle().exists());
    let log_id = world.node.text("log_id");
    let directory = world.log_directory(&log_id);
    let shown = world.candor(&["log", "show", text(&directory)]);
    assert!(shown.code == 0 && shown.json["size"].as_u64().is_some_and(|size| 1 <= size), "{shown:?}");
    let checked = world.check_log(&log_id);
    assert_eq!((checked.code, &checked.json["sound"]), (0, &true.into()), "{checked:?}");
}

#[test]
fn log_check_finds_a_changed_byte_and_a_wrong_key() {
    let world = World::shared();
    assert!(world.bundle().exists());
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

fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn registry_list_shows_the_node_and_what_the_policy_says_of_it() {
    let world = World::shared();
    let listed = world.candor(&["registry", "list", "--rpc", &world.rpc()]);
    assert_eq!(listed.code, 0, "{listed:?}");
    let row = &listed.json[0];
    assert_eq!((&row["k_sig"], &row["status"]), (&world.node.text("k_sig").into(), &"Valid".into()));
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
    let ran = world.candor(&["inspect", &world.api(), "--policy", text(&other)]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.json["verdict"]["refused"].as_str().unwrap().starts_with("attest."), "{ran:?}");
    assert_eq!(statuses(&ran.json["verdict"], "evidence.binding"), ["not reached"], "nothing is believed after it");
}

#[tokio::test(flavor = "multi_thread")]
async fn inspect_refuses_a_server_that_shows_anothers_evidence_and_writes_no_certificate() {
    let world = World::shared();
    let recorder = Recorder::start(world.api()).await;
    let pem = world.state.join("refused.pem");
    let (state, url, file) = (world.state.clone(), recorder.url.clone(), text(&pem).to_owned());
    let ran = tokio::task::spawn_blocking(move || process::run(&state, &["inspect", &url, "--pem", &file])).await.unwrap();
    assert_eq!((ran.code, &ran.json["tls_key_attested"]), (1, &false.into()), "{ran:?}");
    assert!(!pem.exists());
}

/// Asks this node for an answer to the secret prompt.
async fn ask(world: &World, node: &str, policy: Option<&Path>) -> support::Ran {
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
    let recorder = Recorder::start(world.api()).await;
    let ran = ask(&world, &recorder.url, None).await;
    assert_eq!((ran.code, &ran.json["check"]), (1, &"tls.key".into()), "{ran:?}");
    recorder.assert_only_evidence();
    // It relayed the genuine evidence, made for this very challenge: the key is what it lacked.
    assert_eq!(recorder.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_a_root_that_the_policy_does_not_name_is_sent_no_byte_of_the_prompt() {
    let world = World::shared();
    let recorder = Recorder::start(world.api()).await;
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
    for file in [world.bundle().to_owned(), world.state.join("spends.json"), world.state.join("policy.toml")] {
        let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.display());
    }
}
