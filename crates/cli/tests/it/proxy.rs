//! `candor proxy` to whoever reaches its port: which requests it takes, what its refusals say, how an answer leads to its bundle, and that
//! a flood of connections ends nothing. The real program, in front of a real node.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use candor_verify::bundle::Bundle;
use hyper::Method;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::support::http::{CHAT, Http, Reply, get};
use crate::support::process::{PROGRAM, Process, new_directory, run};
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
async fn a_key_buys_within_its_budget_and_no_more_and_is_refused_when_it_is_taken_away() {
    let world = World::start(&[]);
    let proxy = start(&world, &[]);
    let at = authority(&proxy);
    let ask = async |key: &str, further: Value| {
        let bearer = format!("Bearer {key}");
        send(&at, Method::POST, CHAT, &[JSON, ("authorization", &bearer)], question(further)).await
    };
    let first = ask("any", json!({})).await;
    assert_eq!(first.status, 200, "without keys, anybody: {first:?}");
    let charge = &first.json()["candor"]["charge"];
    let text = charge["text"].as_str().unwrap().split(' ').next().unwrap().to_owned();
    let (out, outside) = (world.state.join("ci.key"), world.state.join("other.key"));
    let new = |name: &str, further: &[&str]| world.candor(&[&["proxy", "key", "new", name][..], further].concat());
    assert_eq!(new("none", &[]).code, 2, "a key without a budget is asked for by that name");
    assert_eq!(new("ci", &["--per-day", &text, "--model", "candor-mini", "--out", out.to_str().unwrap()]).code, 0);
    assert_eq!(new("ci", &["--no-budget"]).code, 2, "no two of one name");
    let other_payee = "0x00000000000000000000000000000000000000aa";
    assert_eq!(new("other", &["--no-budget", "--payee", other_payee, "--out", outside.to_str().unwrap()]).code, 0);
    let keys = std::fs::read_to_string(world.state.join("proxy-keys.toml")).unwrap();
    for file in [&out, &outside, &world.state.join("proxy-keys.toml")] {
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let key = |file: &Path| std::fs::read_to_string(file).unwrap().trim().to_owned();
    let (ci, other) = (key(&out), key(&outside));
    assert!(!keys.contains(&ci) && keys.contains("per_day"));
    // The proxy that runs takes them at once.
    let stranger = ask("any", json!({"seed": 2})).await;
    assert_eq!((stranger.status, stranger.error_code().as_str()), (401, "invalid_api_key"));
    let page = send(&at, Method::GET, "/", &[("accept", "text/html")], Vec::new()).await;
    assert_eq!(page.status, 401, "a browser has no key");
    assert!(page.header("www-authenticate").is_none(), "there is no token to ask for");
    for path in ["/", "/v1/models", "/health"] {
        assert_eq!(send(&at, Method::GET, path, &[], Vec::new()).await.status, 401, "{path}");
    }
    let holder = format!("Bearer {ci}");
    let page = send(&at, Method::GET, "/", &[("accept", "text/html"), ("authorization", &holder)], Vec::new()).await;
    assert_eq!(page.status, 403, "what others asked is for whoever has the token");
    let id = first.header("x-receipt-id").unwrap();
    assert_eq!(send(&at, Method::GET, &format!("/answers/{id}"), &[("authorization", &holder)], Vec::new()).await.status, 403);
    let model = ask(&ci, json!({"model": "another"})).await;
    assert_eq!((model.status, model.error_code().as_str()), (403, "model_not_allowed"));
    let whole = ask(&ci, json!({"seed": 3})).await;
    assert_eq!(whole.status, 200, "{whole:?}");
    for _ in 0..2 {
        let spent = ask(&ci, json!({"seed": 4})).await;
        assert_eq!((spent.status, spent.error_code().as_str(), spent.header("x-should-retry")), (429, "insufficient_quota", Some("false")));
        let message = spent.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(&format!("key \"ci\" has 0.000000 left of {text} in any 24 hours")), "{message}");
    }
    let payee = ask(&other, json!({"seed": 5})).await;
    assert_eq!((payee.status, payee.error_code().as_str()), (404, "no_provider"), "its node is not even asked: {payee:?}");
    assert!(payee.json()["error"]["message"].as_str().unwrap().contains("that this key may pay"), "{payee:?}");
    let list = world.candor(&["proxy", "key", "list"]);
    assert_eq!(
        (list.code, list.json[0]["per_day"].as_str(), &list.json[0]["models"]),
        (0, Some(text.as_str()), &json!(["candor-mini"])),
        "{list:?}"
    );
    assert_eq!(list.json[1]["payees"][0], other_payee);
    // What is left is what the proxy says: nothing of the day, and of an hour there is no limit.
    let left = &list.json[0]["left"][0];
    assert_eq!((&left["of_day"], &left["of_hour"], &left["symbol"]), (&json!("0.000000"), &Value::Null, &json!("TestUSD")), "{left}");
    assert_eq!((&left["spent_in_day"], &list.json[1]["left"]), (&charge["amount"], &json!([])), "{left}");
    let shown = Command::new(PROGRAM).args(["--state", world.state.to_str().unwrap(), "proxy", "key", "list"]).output().unwrap();
    assert!(String::from_utf8_lossy(&shown.stdout).contains("left: 0.000000 TestUSD of the day"), "{shown:?}");
    assert_eq!(world.candor(&["proxy", "key", "remove", "ci"]).code, 0);
    assert_eq!(world.candor(&["proxy", "key", "remove", "ci"]).code, 2);
    assert_eq!(ask(&ci, json!({"seed": 6})).await.status, 401);
    // With the wallet stay the keys: their file is what closes the proxy.
    assert_eq!(world.candor(&["proxy", "key", "new", "last", "--no-budget"]).code, 0);
    let broken = world.state.join("proxy-keys.toml");
    let whole = std::fs::read(&broken).unwrap();
    std::fs::write(&broken, "[[key]]\n").unwrap();
    assert_eq!(ask(&other, json!({"seed": 7})).await.status, 401, "of a broken file no key counts");
    assert!(proxy.logged(|line| line.contains("no key is admitted")).contains("proxy-keys.toml"));
    assert_eq!(world.candor(&["proxy", "key", "new", "more", "--no-budget"]).code, 2, "and none is written over it");
    std::fs::write(&broken, whole).unwrap();
}

#[test]
fn keys_that_are_made_at_once_are_all_there_and_a_reset_that_keeps_the_wallet_keeps_them() {
    let state = new_directory();
    std::thread::scope(|scope| {
        for name in ["a", "b", "c", "d", "e", "f"] {
            let state = &state;
            scope.spawn(move || assert_eq!(run(state, &["proxy", "key", "new", name, "--no-budget"]).code, 0));
        }
    });
    assert_eq!(run(&state, &["proxy", "key", "list"]).json.as_array().unwrap().len(), 6);
    assert_eq!(run(&state, &["state", "reset", "--keep-wallet"]).code, 0);
    assert_eq!(run(&state, &["proxy", "key", "list"]).json.as_array().unwrap().len(), 6);
    assert_eq!(run(&state, &["state", "reset"]).code, 0);
    assert_eq!(run(&state, &["proxy", "key", "list"]).json, json!([]));
    std::fs::remove_dir_all(state).unwrap();
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
    for (method, path, allowed) in
        [(Method::GET, CHAT, "POST"), (Method::DELETE, "/health", "GET, HEAD"), (Method::POST, "/v1/models", "GET, HEAD")]
    {
        let wrong = send(&at, method, path, &[JSON], Vec::new()).await;
        assert_eq!((wrong.status, wrong.header("allow")), (405, Some(allowed)), "{wrong:?}");
    }
    let long = send(&at, Method::POST, CHAT, &[JSON], vec![b' '; (1 << 20) + 1]).await;
    assert_eq!(long.status, 413, "{long:?}");
    let wrong = send(&at, Method::POST, CHAT, &[JSON], question(json!({"temperature": 5}))).await;
    assert_eq!((wrong.status, &wrong.json()["error"]["param"]), (400, &"temperature".into()), "{wrong:?}");
}

/// What `candor verify` says a bundle cost, in the token's decimals.
fn charge_of(world: &World, bundle: &str) -> String {
    let facts = world.candor(&["verify", bundle]).json;
    let charged: u128 = facts["facts"]["receipt"]["money"]["charged"].as_str().unwrap().parse().unwrap();
    format!("0.{charged:06}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_answer_shows_receipt_bundle_charge_and_verdict_in_its_head_and_its_body() {
    let world = World::shared();
    let proxy = start(&world, &["--keep", "full"]);
    let at = authority(&proxy);
    // An assistant's turn that said nothing, as SDKs send it back.
    let messages = json!({"messages": [{"role": "assistant", "content": null}, {"role": "user", "content": "Hi"}]});
    let whole = send(&at, Method::POST, CHAT, &[JSON], question(messages)).await;
    assert_eq!(whole.status, 200, "{whole:?}");
    let file = whole.header("x-candor-bundle").unwrap();
    let bundle = Path::new(file);
    assert_eq!(bundle.file_stem().unwrap().to_str(), whole.header("x-receipt-id"));
    assert!(["complete", "length"].contains(&whole.header("x-candor-outcome").unwrap()), "{whole:?}");
    assert_eq!(whole.header("x-candor-verdict"), Some("VERIFIED, SIMULATED, REPLAYABLE, SELF-LOGGED"));
    let charge = charge_of(&world, file);
    assert_eq!(whole.header("x-candor-charge"), Some(format!("{charge} USDC").as_str()));
    assert_eq!(whole.header("x-candor-node"), Some(world.api().trim_start_matches("https://")));

    let said = whole.json();
    let candor = &said["candor"];
    assert_eq!((candor["receipt_id"].as_str(), candor["bundle"].as_str()), (whole.header("x-receipt-id"), Some(file)));
    assert_eq!(candor["verdict"], json!(["VERIFIED", "SIMULATED", "REPLAYABLE", "SELF-LOGGED"]));
    assert_eq!((&candor["charge"]["text"], &candor["charge"]["decimals"]), (&json!(format!("{charge} USDC")), &json!(6)));
    // To the digit, and a number: what OpenRouter's clients read.
    let body = String::from_utf8(whole.body.to_vec()).unwrap();
    assert!(said["usage"]["cost"].is_number() && body.contains(&format!("\"cost\":{charge}")), "{body}");
    // The bundle keeps what the node sent: without ours.
    let kept = Bundle::parse(&std::fs::read(bundle).unwrap()).unwrap();
    let sent = String::from_utf8(kept.response.frames[0].clone()).unwrap();
    assert!(!sent.contains("candor\"") && !sent.contains("\"cost\""), "{sent}");
    let ours = body.replace(&format!(",\"cost\":{charge}"), "");
    assert!(ours.starts_with(sent.strip_suffix('}').unwrap()), "{ours}\n{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_shows_the_same_in_its_last_frame_and_in_a_comment() {
    let world = World::shared();
    let proxy = start(&world, &["--keep", "full"]);
    let options = json!({"stream": true, "stream_options": {"include_usage": true}});
    let streamed = send(&authority(&proxy), Method::POST, CHAT, &[JSON], question(options)).await;
    assert_eq!(streamed.header("x-candor-node"), Some(world.api().trim_start_matches("https://")));
    let text = String::from_utf8(streamed.body.to_vec()).unwrap();
    let comment = text.lines().find_map(|line| line.strip_prefix(": candor ")).unwrap();
    let kept: Value = serde_json::from_str(comment).unwrap();
    let frames: Vec<Value> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: {"))
        .map(|line| serde_json::from_str(&format!("{{{line}")).unwrap())
        .collect();
    let (last, earlier) = frames.split_last().unwrap();
    assert!(1 < frames.len() && earlier.iter().all(|frame| frame["candor"].is_null()), "{text}");
    assert_eq!(last["candor"], kept);
    assert!(last["usage"]["cost"].is_number() && kept["outcome"].is_string(), "{text}");
    let file = kept["bundle"].as_str().unwrap();
    assert_eq!(kept["charge"]["text"], format!("{} USDC", charge_of(&world, file)));
    assert!(Path::new(file).exists() && text.trim_end().ends_with("data: [DONE]"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_is_one_log_line_with_its_charge_and_receipt_and_no_word_of_the_prompt() {
    const SECRET: &str = "my-own-secret-words";
    let world = World::shared();
    let proxy = start(&world, &["--log-format", "json"]);
    let at = authority(&proxy);
    let asked = json!({"messages": [{"role": "user", "content": SECRET}]});
    let answer = send(&at, Method::POST, CHAT, &[JSON], question(asked.clone())).await;
    let receipt_id = answer.header("x-receipt-id").unwrap();
    let line: Value = serde_json::from_str(&proxy.logged(|line| line.contains(receipt_id))).unwrap();
    assert_eq!((&line["target"], &line["event"], &line["level"]), (&json!("proxy"), &json!("request"), &json!("info")));
    assert_eq!((&line["model"], &line["status"], &line["method"]), (&json!("candor-mini"), &json!(200), &json!("POST")));
    assert_eq!(line["charge"].as_str(), answer.header("x-candor-charge"));
    assert!(line["ms"].is_u64() && line["prompt_tokens"].is_u64() && line["completion_tokens"].is_u64(), "{line}");
    assert!(line["verdict"].as_str().unwrap().starts_with("VERIFIED"), "{line}");
    // A model's name is anybody's text: it stays one line, and a short one.
    let hostile = json!({"model": format!("\u{1b}[2K\r\nVERIFIED{}", "x".repeat(100_000)), "messages": asked["messages"]});
    let refused = send(&at, Method::POST, CHAT, &[JSON], question(hostile)).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    let line = proxy.logged(|line| line.contains("invalid_value"));
    assert!(line.len() < 1_000 && !line.contains('\u{1b}'), "{line}");
    assert!(proxy.log().iter().all(|line| !line.contains(SECRET)), "{:#?}", proxy.log());
    assert_eq!(proxy.log().iter().filter(|line| line.contains(receipt_id)).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_whether_an_answer_can_be_had_and_what_it_needs() {
    let mut world = World::start(&[]);
    let proxy = start(&world, &[]);
    let at = authority(&proxy);
    let well = send(&at, Method::GET, "/health", &[], Vec::new()).await;
    assert_eq!((well.status, &well.json()["status"]), (200, &json!("ok")), "{well:?}");
    let head = send(&at, Method::HEAD, "/health", &[], Vec::new()).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    world.node.end();
    eventually("it is told that no node answers", || async {
        let ill = send(&at, Method::GET, "/health", &[], Vec::new()).await;
        let says = ill.json()["needs"].to_string();
        (ill.status == 503 && says.contains("a verified node")).then_some(())
    })
    .await;
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
        let id = Path::new(&proof).file_name().unwrap().to_str().unwrap().trim_end_matches(".proof.candor").to_owned();
        let shown = send(&authority(&proxy), Method::GET, &format!("/answers/{id}"), &[("accept", "text/html")], Vec::new()).await;
        let shown = shown.text();
        assert!(shown.contains("<span>Cannot tell</span>") && shown.contains("A proof holds neither question nor answer"), "{shown}");
        assert!(shown.contains("Your own copy of both") && !shown.contains("What was read from a chain"));
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

/// A second node on the chain of a world, under the same software root, with a directory of its own.
fn second_node(world: &World, directory: &Path) -> (Process, String) {
    let config = directory.join("node.toml");
    std::fs::write(&config, format!("version = 1\n[node]\ndata = {:?}\n", directory.join("node"))).unwrap();
    let (rpc, config) = (world.rpc(), config.to_str().unwrap().to_owned());
    let listen = ["--listen", "127.0.0.1:0", "--log-listen", "127.0.0.1:0"];
    (Process::start(&world.state, &[&["serve", "--config", &config, "--rpc", &rpc][..], &listen].concat()), config)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_the_cheaper_is_paid_and_when_it_dies_the_other() {
    let world = World::start(&[]);
    let directory = new_directory();
    let (mut second, config) = second_node(&world, &directory);
    let (dear, cheap) = (world.api().replace("https://", ""), second.text("api").replace("https://", ""));
    let set = world.candor(&["prices", "set", "--config", &config, "--input", "0.5", "--output", "1.5", "--request", "0.00005"]);
    assert_eq!(set.code, 0, "{set:?}");
    eventually("the list is in force", || async {
        let models = get(&format!("https://{cheap}"), "/v1/models").await.json();
        models["data"][0]["candor"]["price_list"]["number"].is_u64().then_some(())
    })
    .await;
    let proxy = start(&world, &[]);
    let at = authority(&proxy);
    eventually("both nodes are verified", || async {
        let health = send(&at, Method::GET, "/health", &[], Vec::new()).await.json();
        (health["nodes"].as_array().unwrap().len() == 2).then_some(())
    })
    .await;
    // Its price list may be read a moment after it is verified.
    let first = eventually("the cheaper one is asked", || async {
        let reply = send(&at, Method::POST, CHAT, &[JSON], question(json!({}))).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        (reply.header("x-candor-node") == Some(cheap.as_str())).then_some(reply)
    })
    .await;
    // Whoever asks says who may answer.
    let only = send(&at, Method::POST, CHAT, &[JSON], question(json!({"provider": {"only": [dear]}}))).await;
    assert_eq!((only.status, only.header("x-candor-node")), (200, Some(dear.as_str())), "{only:?}");
    let cost = |reply: &Reply| reply.json()["candor"]["charge"]["amount"].as_str().unwrap().parse::<u128>().unwrap();
    assert!(cost(&first) < cost(&only));
    second.end();
    let other = send(&at, Method::POST, CHAT, &[JSON], question(json!({"seed": 2}))).await;
    assert_eq!((other.status, other.header("x-candor-node")), (200, Some(dear.as_str())), "{other:?}");
    assert!(proxy.logged(|line| line.contains("another node is asked")).contains(&cheap));
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_shown_each_request_and_the_verdict_of_each_answer_and_programs_are_not() {
    let world = World::shared();
    let proxy = start(&world, &["--keep", "full"]);
    let at = authority(&proxy);
    let hostile = json!({"model": "<script>alert(1)</script>"});
    assert_eq!(send(&at, Method::POST, CHAT, &[JSON], question(hostile)).await.status, 404);
    let answer = send(&at, Method::POST, CHAT, &[JSON], question(json!({}))).await;
    let id = answer.header("x-receipt-id").unwrap();
    let browser = ("accept", "text/html,application/xhtml+xml");
    let page = send(&at, Method::GET, "/", &[browser], Vec::new()).await;
    let html = page.text();
    assert!(
        html.contains(&format!("/answers/{id}")) && html.contains(answer.header("x-candor-charge").unwrap().trim_end_matches(" USDC")),
        "{html}"
    );
    assert!(!html.contains("<script") && html.contains("&lt;script&gt;"), "{html}");
    assert_eq!(
        (page.header("refresh"), page.header("cache-control"), page.header("x-frame-options")),
        (Some("5"), Some("no-store"), Some("DENY"))
    );
    assert!(page.header("content-security-policy").unwrap().contains("frame-ancestors 'none'"));
    let still = send(&at, Method::GET, "/?still", &[browser], Vec::new()).await;
    assert_eq!((still.status, still.header("refresh")), (200, None));
    let verdict = send(&at, Method::GET, &format!("/answers/{id}"), &[browser], Vec::new()).await;
    assert!(
        verdict.status == 200 && verdict.text().contains("data-candor=\"verdict\"") && verdict.text().contains("<span>Verified</span>")
    );
    assert!(verdict.header("content-security-policy").unwrap().contains("frame-ancestors 'none'"));
    for path in ["/answers/../../policy", "/answers/%2e%2e%2fwallet", &format!("/answers/{}", "0".repeat(32)), "/answers/"] {
        assert_eq!(send(&at, Method::GET, path, &[browser], Vec::new()).await.status, 404, "{path}");
    }
    // Nothing of it is for pages of others, and nothing is bought by looking.
    for path in ["/", &format!("/answers/{id}")] {
        for site in ["cross-site", "same-site"] {
            assert_eq!(send(&at, Method::GET, path, &[browser, ("sec-fetch-site", site)], Vec::new()).await.status, 403, "{path} {site}");
        }
        assert_eq!(send(&at, Method::POST, path, &[JSON, browser], Vec::new()).await.status, 405, "{path}");
    }
    assert!(send(&at, Method::GET, "/", &[], Vec::new()).await.json()["about"].is_string());
}
