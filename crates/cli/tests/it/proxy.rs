//! `candor proxy` to whoever reaches its port: which requests it takes, what its refusals say, how an answer leads to its bundle, and that
//! a flood of connections ends nothing. The real program, in front of a real node.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use hyper::Method;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::support::http::{CHAT, Http, Reply};
use crate::support::process::Process;
use crate::support::{World, eventually};

const JSON: (&str, &str) = ("content-type", "application/json");

fn start(world: &World, further: &[&str]) -> Process {
    let rpc = world.rpc();
    Process::start(&world.state, &[&["proxy", "--rpc", &rpc, "--listen", "127.0.0.1:0"][..], further].concat())
}

fn authority(proxy: &Process) -> String {
    proxy.text("url").trim_start_matches("http://").trim_end_matches("/v1").to_owned()
}

/// One request on a connection of its own; `None` if there is none to be had.
async fn try_send(authority: &str, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Option<Reply> {
    Http::connect(&format!("http://{authority}")).await.ok()?.try_send(method, path, headers, body).await.ok()
}

async fn send(authority: &str, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Reply {
    try_send(authority, method, path, headers, body).await.unwrap()
}

fn question(further: Value) -> Vec<u8> {
    let mut body = json!({"model": "candor-mini", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4});
    body.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    body.to_string().into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_only_its_holders_are_served_and_a_page_is_not_even_then() {
    let world = World::shared();
    let proxy = start(&world, &["--token", "auto"]);
    let (at, file) = (authority(&proxy), proxy.text("token_file"));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let bearer = format!("Bearer {}", std::fs::read_to_string(&file).unwrap().trim());
    let ours = ("authorization", bearer.as_str());
    for (method, path) in [(Method::GET, "/"), (Method::GET, "/v1/models"), (Method::POST, CHAT), (Method::GET, "/nowhere")] {
        let stranger = send(&at, method.clone(), path, &[JSON, ("authorization", "Bearer unused")], question(json!({}))).await;
        assert_eq!((stranger.status, stranger.error_code().as_str()), (401, "invalid_api_key"), "{method} {path}");
        let page = send(&at, method.clone(), path, &[JSON, ours, ("sec-fetch-site", "cross-site")], question(json!({}))).await;
        assert_eq!((page.status, page.error_code().as_str()), (403, "candor_proxy"), "{method} {path}");
    }
    let whole = send(&at, Method::POST, CHAT, &[JSON, ours], question(json!({}))).await;
    assert_eq!(whole.status, 200, "{whole:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_looks_is_told_what_it_is_and_what_it_serves() {
    let world = World::shared();
    let proxy = start(&world, &[]);
    let at = authority(&proxy);
    let about = send(&at, Method::GET, "/", &[], Vec::new()).await;
    assert!(about.status == 200 && about.json()["about"].as_str().unwrap().contains("candor proxy"), "{about:?}");
    let head = send(&at, Method::HEAD, "/", &[], Vec::new()).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    let lost = send(&at, Method::POST, "/v1/embeddings", &[JSON], b"{}".to_vec()).await;
    let said = lost.json();
    let error = &said["error"];
    assert!(lost.status == 404 && error["code"].is_null(), "{lost:?}");
    assert!(["/v1/chat/completions", "/v1/models"].iter().all(|route| error["message"].as_str().unwrap().contains(route)), "{lost:?}");
    let long = send(&at, Method::POST, CHAT, &[JSON], vec![b' '; (1 << 20) + 1]).await;
    assert_eq!(long.status, 413, "{long:?}");
    let wrong = send(&at, Method::POST, CHAT, &[JSON], question(json!({"temperature": 5}))).await;
    assert_eq!((wrong.status, &wrong.json()["error"]["param"]), (400, &"temperature".into()), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_leads_to_its_bundle() {
    let world = World::shared();
    let proxy = start(&world, &["--keep", "full"]);
    let at = authority(&proxy);
    // An assistant's turn that said nothing, as SDKs send it back.
    let messages = json!({"messages": [{"role": "assistant", "content": null}, {"role": "user", "content": "Hi"}]});
    let whole = send(&at, Method::POST, CHAT, &[JSON], question(messages)).await;
    assert_eq!(whole.status, 200, "{whole:?}");
    let bundle = Path::new(whole.header("x-candor-bundle").unwrap());
    assert_eq!(bundle.file_stem().unwrap().to_str(), whole.header("x-receipt-id"));
    assert!(["complete", "length"].contains(&whole.header("x-candor-outcome").unwrap()), "{whole:?}");
    assert_eq!(world.candor(&["verify", bundle.to_str().unwrap()]).code, 0);
    let streamed = send(&at, Method::POST, CHAT, &[JSON], question(json!({"stream": true}))).await;
    let text = String::from_utf8(streamed.body.to_vec()).unwrap();
    let comment = text.lines().find_map(|line| line.strip_prefix(": candor ")).unwrap();
    let kept: Value = serde_json::from_str(comment).unwrap();
    assert!(kept["outcome"].is_string(), "{text}");
    assert!(Path::new(kept["bundle"].as_str().unwrap()).exists() && text.trim_end().ends_with("data: [DONE]"), "{text}");
}

/// Kept at a path, sent back as a header or in the comment of a stream.
fn holds(file: &str, text: &str) -> bool {
    std::fs::read(file).unwrap().windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_keeps_no_text_unless_told_to_and_its_proofs_verify_with_the_callers_copy() {
    let world = World::shared();
    let proxy = start(&world, &[]);
    let directory = crate::support::process::new_directory();
    for stream in [false, true] {
        let asked = "What do you keep of me?";
        let request = question(json!({"messages": [{"role": "user", "content": asked}], "stream": stream}));
        let reply = send(&authority(&proxy), Method::POST, CHAT, &[JSON], request.clone()).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let body = String::from_utf8(reply.body.to_vec()).unwrap();
        let comment = body.lines().find_map(|line| line.strip_prefix(": candor "));
        let kept = comment.map(|kept| serde_json::from_str::<Value>(kept).unwrap()["bundle"].as_str().unwrap().to_owned());
        let proof = kept.unwrap_or_else(|| reply.header("x-candor-bundle").unwrap().to_owned());
        assert!(proof.ends_with(".proof.candor") && !holds(&proof, asked) && !holds(&proof, "chat.completion"), "{proof}");
        let alone = world.candor(&["verify", &proof]);
        assert_eq!((alone.code, &alone.json["outcome"], &alone.json["refused"]), (2, &"cannot tell".into(), &Value::Null), "{alone:?}");
        assert!(alone.json["facts"].is_null() && alone.json["claims"].is_object(), "{alone:?}");
        assert_eq!(world.candor(&["verify", &proof, "--rpc", &world.rpc()]).code, 2, "a chain has no copy either");
        let (mine, answer) = (directory.join("request"), directory.join("response"));
        std::fs::write(&mine, &request).unwrap();
        std::fs::write(&answer, &reply.body).unwrap();
        let copy = ["--request", mine.to_str().unwrap(), "--response", answer.to_str().unwrap()];
        let page = directory.join(format!("{stream}.html"));
        let whole = world.candor(&[&["verify", &proof, "--html", page.to_str().unwrap()][..], &copy].concat());
        assert_eq!((whole.code, &whole.json["outcome"]), (0, &"verified".into()), "{whole:?}");
        assert!(holds(page.to_str().unwrap(), asked));
        std::fs::write(&mine, b"{}").unwrap();
        let another = world.candor(&[&["verify", &proof][..], &copy].concat());
        assert_eq!((another.code, &another.json["refused"]), (1, &"request.commitment".into()), "{another:?}");
        // What needs the texts says so, and does not guess.
        for command in [&["replay", &proof][..], &["verify", &proof, "--explain"], &["bundles", "open", &proof, "--no-browser"]] {
            let ran = world.candor(command);
            assert!(ran.code == 2 && ran.json["error"].as_str().unwrap().contains("--request FILE"), "{command:?}: {ran:?}");
        }
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_what_is_not_kept_the_answer_says_so_and_the_index_what_it_cost() {
    let world = World::shared();
    let proxy = start(&world, &["--keep", "none"]);
    let reply = send(&authority(&proxy), Method::POST, CHAT, &[JSON], question(json!({"max_tokens": 5}))).await;
    assert_eq!((reply.status, reply.header("x-candor-bundle")), (200, None), "{reply:?}");
    let receipt = reply.header("x-receipt-id").unwrap();
    let listed = world.candor(&["bundles", "list"]);
    let row = listed.json.as_array().unwrap().iter().find(|row| row["receipt_id"] == receipt).unwrap();
    assert_eq!((&row["keep"], &row["file"], &row["response_id"]), (&"none".into(), &Value::Null, &reply.json()["id"]), "{row}");
    assert_ne!(row["claims"]["charged"], "0");
    let found = world.candor(&["bundles", "find", receipt]);
    assert!(found.code == 2 && found.json["error"].as_str().unwrap().contains("--keep none"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_a_node_does_not_know_are_dropped_for_whoever_said_so_and_named() {
    let world = World::shared();
    let unknown = |stream| question(json!({"reasoning_effort": "low", "min_p": 0.1, "user": "me", "stream": stream}));
    let plain = start(&world, &[]);
    let refused = send(&authority(&plain), Method::POST, CHAT, &[JSON], unknown(false)).await;
    assert_eq!((refused.status, refused.error_code().as_str(), refused.header("x-candor-dropped")), (400, "unsupported_parameter", None));
    assert_eq!(refused.json()["error"]["param"], "min_p");
    let dropping = start(&world, &["--drop-unknown"]);
    for stream in [false, true] {
        let answer = send(&authority(&dropping), Method::POST, CHAT, &[JSON], unknown(stream)).await;
        assert_eq!((answer.status, answer.header("x-candor-dropped")), (200, Some("min_p, reasoning_effort")), "{answer:?}");
    }
    // What is wrong for another reason is still refused.
    let wrong = send(&authority(&dropping), Method::POST, CHAT, &[JSON], question(json!({"min_p": 1, "temperature": 5}))).await;
    assert_eq!((wrong.status, wrong.json()["error"]["param"].as_str()), (400, Some("temperature")), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_connections_ends_nothing() {
    let world = World::shared();
    let proxy = start(&world, &[]);
    let at = authority(&proxy);
    let status = Command::new("prlimit").args(["--pid", &proxy.pid().to_string(), "--nofile=32:"]).status().unwrap();
    assert!(status.success(), "{status:?}");
    let mut flood = Vec::new();
    for _ in 0..64 {
        flood.push(TcpStream::connect(&at).await.unwrap());
    }
    drop(flood);
    eventually("the proxy serves again", || async {
        let reply = try_send(&at, Method::GET, "/", &[], Vec::new()).await?;
        (reply.status == 200).then_some(())
    })
    .await;
}
