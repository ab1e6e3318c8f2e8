//! Evidence without money, over the real program: a node that answers anybody, a node that answers who has a key, and a client that needs no
//! wallet. Receipt, log, anchor and bundle are as ever, and the verdict says that nobody paid.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use candor_devchain::dev_accounts;
use candor_verify::bundle::Bundle;
use candor_verify::bytes::Address;
use serde_json::{Value, json};

use crate::support::http::{CHAT, Http, chat};
use crate::support::process::{PROGRAM, Process, new_directory, run};
use crate::support::{Ran, World};

/// The well-known account that `candor ask` pays from.
fn payer() -> Address {
    const PAYER: usize = 4;
    Address(dev_accounts::ALL[PAYER].address.into_array())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn ask(world: &World, question: &str, more: &[&str]) -> Ran {
    let rpc = world.rpc();
    world.candor(&[&["ask", question, "--rpc", &rpc, "--max-tokens", "8"][..], more].concat())
}

/// The verdict says that nobody paid, and is as good as any.
fn assert_nobody_paid(ran: &Ran) -> PathBuf {
    assert_eq!(ran.code, 0, "{ran:?}");
    let verdict = &ran.json["verdict"];
    assert_eq!((&verdict["outcome"], &verdict["grades"]["paid"]), (&json!("verified"), &json!("NOBODY PAID")), "{ran:?}");
    assert_eq!((&verdict["grades"]["logged"], &ran.json["charged"]), (&json!("ANCHORED"), &json!("0")), "{ran:?}");
    PathBuf::from(ran.json["bundle"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_node_answers_and_its_answers_are_verified_anchored_replayed_and_shown_as_paid_by_nobody() {
    let world = World::start(&["--open"]);
    let before = world.balance(&payer()).await;
    let file = assert_nobody_paid(&ask(&world, "Who pays for this?", &[]));
    let bundle = Bundle::parse(&std::fs::read(&file).unwrap()).unwrap();
    assert!(bundle.sale.is_none() && bundle.delivery.request_salt == Some(bundle.request.salt));
    assert_eq!(world.balance(&payer()).await, before);

    // Offline, against the chain, run again, as a page, in the list.
    let offline = world.candor(&["verify", text(&file)]);
    assert_eq!((offline.code, &offline.json["grades"]["paid"]), (0, &json!("NOBODY PAID")), "{offline:?}");
    let rpc = world.rpc();
    assert_eq!(world.candor(&["verify", text(&file), "--rpc", &rpc]).code, 0);
    let replayed = world.candor(&["replay", text(&file)]);
    assert_eq!((replayed.code, &replayed.json["equal"]), (0, &json!(true)), "{replayed:?}");
    let page = world.state.join("free.html");
    assert_eq!(world.candor(&["verify", text(&file), "--html", text(&page)]).code, 0);
    assert!(std::fs::read_to_string(&page).unwrap().contains("Nobody paid for this answer."));
    let listed = world.candor(&["bundles", "list"]);
    assert!(listed.json.to_string().contains("nobody paid"), "{listed:?}");
    // In words, too.
    let output = std::process::Command::new(PROGRAM).arg("--state").arg(&world.state).args(["verify", text(&file)]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("NOBODY PAID"), "{output:?}");

    // A flipped byte is refused here as anywhere.
    let mut forged = bundle;
    forged.delivery.receipt.work.completion_tokens += 1;
    let path = world.state.join("forged.candor");
    std::fs::write(&path, forged.encode()).unwrap();
    assert_eq!(world.candor(&["verify", text(&path)]).code, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_without_a_wallet_is_enough_where_nothing_costs() {
    let world = World::start(&["--open"]);
    // A keystore that nobody can open: who is asked for its passphrase fails.
    std::fs::write(world.state.join("wallet.json"), "{}").unwrap();
    assert_nobody_paid(&ask(&world, "No wallet", &[]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_client_was_given_becomes_a_bundle_without_a_payment() {
    let world = World::start(&["--open"]);
    let directory = new_directory();
    for stream in [false, true] {
        let body = json!({"model": "candor-mini", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4, "stream": stream});
        // A stock SDK: it always sends a key.
        let headers = [("content-type", "application/json"), ("authorization", "Bearer sk-unused")];
        let mut http = Http::connect(&world.api()).await.unwrap();
        let reply = http.send(hyper::Method::POST, CHAT, &headers, body.to_string().into_bytes()).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let head: serde_json::Map<String, Value> =
            reply.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().into())).collect();
        let file = |name: &str, bytes: &[u8]| {
            let path = directory.join(name);
            std::fs::write(&path, bytes).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let [request, head, response] = [
            file("request", body.to_string().as_bytes()),
            file("head.json", Value::Object(head).to_string().as_bytes()),
            file("response", &reply.body),
        ];
        let (api, out) = (world.api(), directory.join(format!("{stream}.candor")));
        let arguments = ["bundles", "import", "--request", &request, "--head", &head, "--response", &response];
        let ran = world.candor(&[&arguments[..], &["--evidence", &api, "--bundle", text(&out)]].concat());
        assert_eq!((ran.code, &ran.json["grades"]["paid"]), (0, &json!("NOBODY PAID")), "{ran:?}");
    }
    std::fs::remove_dir_all(directory).unwrap();
}

/// A key in a file of its owner's, and its hash.
fn new_key(directory: &Path, name: &str) -> (String, String) {
    let path = directory.join(name);
    let ran = run(directory, &["access", "new", "--out", text(&path)]);
    assert_eq!((ran.code, &ran.json["key"]), (0, &Value::Null), "{ran:?}");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    (path.to_str().unwrap().to_owned(), ran.json["hash"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_key_is_answered_for_nothing_and_who_has_none_pays_at_the_same_node() {
    let directory = new_directory();
    let ((file, hash), (wrong, _)) = (new_key(&directory, "key"), new_key(&directory, "wrong"));
    let world = World::start(&["--access-key-hash", &hash]);
    let before = world.balance(&payer()).await;
    assert_nobody_paid(&ask(&world, "With a key", &["--access-key-file", &file]));
    assert_eq!(world.balance(&payer()).await, before);
    let paid = ask(&world, "Without one", &[]);
    assert_eq!((paid.code, &paid.json["verdict"]["grades"]["paid"]), (0, &json!("SETTLED")), "{paid:?}");

    // A key that opens nothing there does not leave this machine, and is no reason to pay.
    let refused = ask(&world, "With another", &["--access-key-file", &wrong]);
    let error = refused.json["error"].as_str().unwrap();
    assert!(refused.code == 2 && error.contains("expected a key that the terms of") && error.contains("not sent"), "{refused:?}");
    let body = json!({"model": "candor-mini", "messages": [{"role": "user", "content": "Hi"}]});
    let mut http = Http::connect(&world.api()).await.unwrap();
    let key = format!("Bearer {}", std::fs::read_to_string(&wrong).unwrap().trim());
    let headers = [("content-type", "application/json"), ("authorization", key.as_str())];
    let told = http.send(hyper::Method::POST, CHAT, &headers, body.to_string().into_bytes()).await;
    assert_eq!((told.status, told.error_code().as_str(), told.header("payment-required")), (401, "invalid_api_key", None), "{told:?}");
    assert_eq!(chat(&world.api(), &body, None).await.status, 402);

    // The key is in no file and no output of either side.
    let secret = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    assert!(!world.node.said().concat().contains(&secret));
    let searched = std::process::Command::new("grep").args(["-r", "-l", "-F", &secret, text(&world.state)]).output().unwrap();
    assert!(searched.stdout.is_empty(), "{searched:?}");

    // The proxy shows it for its SDKs, and pays nothing.
    let rpc = world.rpc();
    let proxy =
        Process::start(&world.state, &["proxy", "--rpc", &rpc, "--listen", "127.0.0.1:0", "--access-key-file", &file, "--keep", "full"]);
    let mut http = Http::connect(proxy.text("url").trim_end_matches("/v1")).await.unwrap();
    let headers = [("content-type", "application/json"), ("authorization", "Bearer sk-unused")];
    let reply = http.send(hyper::Method::POST, CHAT, &headers, body.to_string().into_bytes()).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let kept = Bundle::parse(&std::fs::read(reply.header("x-candor-bundle").unwrap()).unwrap()).unwrap();
    assert!(kept.sale.is_none());
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_key_file_that_others_can_read_or_that_holds_no_key_is_refused() {
    let directory = new_directory();
    let (file, _) = new_key(&directory, "key");
    let again = run(&directory, &["access", "new", "--out", &file]);
    assert!(again.code == 2 && again.json["error"].as_str().unwrap().contains("not touched"), "{again:?}");
    let asked = |file: &str| {
        let ran = run(&directory, &["ask", "Hi", "--rpc", "http://127.0.0.1:9", "--access-key-file", file]);
        assert_eq!(ran.code, 2, "{ran:?}");
        ran.json["error"].as_str().unwrap().to_owned()
    };
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(asked(&file).contains("chmod 600"));
    std::fs::write(&file, "short\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(asked(&file).contains("expected a key of 32 to 256"));
    assert!(asked(directory.join("none").to_str().unwrap()).contains("none"));
    std::fs::remove_dir_all(directory).unwrap();
}
