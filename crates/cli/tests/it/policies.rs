//! Policies in words, checked and suggested; the first ask of a buyer who has none; and who sells by the eyes of a policy.

use std::io;
use std::path::Path;

use candor_testhttp::serve;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, Response};
use serde_json::{Value, json};

use crate::support::http::{get, post};
use crate::support::liar::Liar;
use crate::support::process::{PROGRAM, Process, new_directory, run};
use crate::support::{Ran, World};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn error(ran: &Ran) -> &str {
    ran.json["error"].as_str().unwrap_or_default()
}

/// What a command says to people.
fn said(state: &Path, arguments: &[&str]) -> String {
    let output = std::process::Command::new(PROGRAM).arg("--state").arg(state).args(arguments).output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

/// A world's policy with one thing replaced.
fn changed(world: &World, name: &str, from: &str, to: &str) -> std::path::PathBuf {
    let policy = std::fs::read_to_string(world.state.join("policy.toml")).unwrap();
    assert!(policy.contains(from), "{policy}");
    let path = world.state.join(name);
    std::fs::write(&path, policy.replacen(from, to, 1)).unwrap();
    path
}

#[test]
fn a_policy_is_shown_in_words_with_amounts_in_money_and_where_it_comes_from() {
    let world = World::shared();
    let shown = world.candor(&["policy", "show"]);
    assert_eq!((shown.code, &shown.json["simulated"], &shown.json["require_offer_binding"]), (0, &true.into(), &true.into()), "{shown:?}");
    let spend = &shown.json["spend"][0];
    assert_eq!((&spend["max_per_request_money"], &spend["max_per_day_money"]), (&"0.010000".into(), &"1.000000".into()), "{spend}");
    assert_eq!(shown.json["file"], text(&world.state.join("policy.toml")));
    let words = said(&world.state, &["policy", "show"]);
    for expected in [
        "SIMULATED evidence under",
        "0.010000 TestUSD a request and 1.000000 TestUSD a day at most",
        "attestation at most 2 h",
        "policy.toml",
    ] {
        assert!(words.contains(expected), "{expected}: {words}");
    }
    // A token that is not known here is asked for its decimals where a chain is named.
    let other = changed(&world, "other-token.toml", &world.token().to_string(), "0x0000000000000000000000000000000000000001");
    let unknown = world.candor(&["policy", "show", "--policy", text(&other)]);
    assert_eq!((unknown.code, &unknown.json["spend"][0]["max_per_day_money"]), (0, &Value::Null), "{unknown:?}");
    let none = new_directory();
    let nobody = run(&none, &["policy", "show"]);
    assert_eq!((nobody.code, &nobody.json["file"], &nobody.json["operators"]), (0, &Value::Null, &json!([])), "{nobody:?}");
    assert!(nobody.json["from"].as_str().unwrap().contains("candor policy suggest") && !none.join("policy.toml").exists());
    std::fs::remove_dir_all(none).unwrap();
}

#[test]
fn a_policy_is_checked_with_the_place_of_each_error_and_a_word_for_each_risk() {
    let world = World::shared();
    let good = world.candor(&["policy", "check"]);
    assert_eq!((good.code, good.json["warnings"].as_array().map(Vec::len)), (1, Some(1)), "{good:?}");
    assert!(good.json["warnings"][0].as_str().unwrap().contains("SIMULATED"), "{good:?}");
    let risky = world.candor(&["policy", "check", text(&changed(&world, "risky.toml", "operators = [", "operators = \"any\" # ["))]);
    assert!(risky.code == 1 && risky.json["warnings"].to_string().contains("accept.operators: \\\"any\\\""), "{risky:?}");
    let slip = world.candor(&["policy", "check", text(&changed(&world, "slip.toml", "operators = ", "operaters = "))]);
    assert!(slip.code == 2 && error(&slip).contains("did you mean `operators`?") && error(&slip).contains("^^"), "{slip:?}");
    let value = world.candor(&["policy", "check", text(&changed(&world, "value.toml", "operators = [\"0x", "operators = [\"0x0x"))]);
    assert!(value.code == 2 && error(&value).contains("accept.operators: expected an address"), "{value:?}");
    assert!(error(&value).contains(" | operators = [\"0x0x") && error(&value).contains("^^^^"), "{value:?}");
    let old = changed(&world, "old.toml", "workloads = [\"0x", &format!("workloads = [\"0x{}\"] # [\"0x", "01".repeat(32)));
    let old = world.candor(&["policy", "check", text(&old)]);
    assert!(old.json["warnings"].to_string().contains("expired: written for another build"), "{old:?}");
    let missing = world.candor(&["policy", "check", "/nonexistent/policy.toml"]);
    assert!(missing.code == 2 && error(&missing).contains("/nonexistent/policy.toml"), "{missing:?}");
}

#[test]
fn a_suggestion_is_printed_with_where_each_line_comes_from_and_written_only_if_asked_for_and_over_no_policy() {
    let world = World::shared();
    let state = new_directory();
    let shown = run(&state, &["policy", "suggest", &world.api()]);
    let policy = shown.json["policy"].as_str().unwrap().to_owned();
    assert!(shown.code == 0 && policy.contains(&format!("# From: the evidence that {} showed", world.api())), "{shown:?}");
    assert!(!policy.contains("roots = [\"aws-nitro"), "no root that it did not show: {policy}");
    assert!(shown.json["written"].is_null() && !state.join("policy.toml").exists());
    // Nobody said yes to a node.
    let unasked = run(&state, &["policy", "suggest", &world.api(), "--write"]);
    assert!(unasked.code == 2 && !state.join("policy.toml").exists(), "{unasked:?}");
    let written = run(&state, &["policy", "suggest", &world.api(), "--write", "--yes"]);
    assert_eq!((written.code, std::fs::read_to_string(state.join("policy.toml")).unwrap()), (0, policy), "{written:?}");
    let again = run(&state, &["policy", "suggest", "--chain-id", "31337", "--write"]);
    assert!(again.code == 2 && error(&again).contains("policy trust"), "{again:?}");
    // It accepts that node, and allows small payments of the token that is known here.
    let asked = run(&state, &["ask", "Hi", "--rpc", &world.rpc(), "--max-tokens", "4"]);
    assert_eq!(asked.code, 0, "{asked:?}");
    std::fs::remove_dir_all(state).unwrap();
}

#[test]
fn what_is_known_of_the_development_chain_is_this_build_and_its_policy_works() {
    let world = World::shared();
    let state = new_directory();
    let shown = run(&state, &["policy", "suggest", "--chain-id", "31337"]);
    assert!(shown.code == 0 && !state.join("policy.toml").exists(), "{shown:?}");
    assert!(shown.json["policy"].as_str().unwrap().contains("# From: this very program"), "{shown:?}");
    let written = run(&state, &["policy", "suggest", "--rpc", &world.rpc(), "--write"]);
    assert_eq!(written.code, 0, "{written:?}");
    let checked = run(&state, &["policy", "check"]);
    assert_eq!((checked.code, checked.json["warnings"].as_array().map(Vec::len)), (1, Some(1)), "{checked:?}");
    std::fs::remove_dir_all(state).unwrap();
}

#[test]
fn a_well_known_document_leads_to_evidence_and_nothing_it_says_of_itself_is_believed() {
    let world = World::shared();
    let state = new_directory();
    let honest = run(&state, &["policy", "suggest", &world.log()]);
    assert_eq!(honest.code, 0, "{honest:?}");
    // Somebody's host that names the node as its own, with an operator of its choice.
    let operator = "0x00000000000000000000000000000000000000aa";
    let document = json!({"endpoints": [world.api()], "operator": operator, "registry": {"chain_id": 1, "address": operator}}).to_string();
    let mirror = serve(None, move |_: Request<Bytes>| {
        std::future::ready(Ok::<_, io::Error>(Response::new(Full::new(Bytes::from(document.clone())))))
    });
    let mirrored = run(&state, &["policy", "suggest", &format!("http://{mirror}")]);
    assert_eq!((mirrored.code, &mirrored.json["found"]), (0, &honest.json["found"]), "{mirrored:?}");
    assert!(!mirrored.json["policy"].as_str().unwrap().contains(operator));
    // One that names nobody, and one that is none.
    let empty = serve(None, |_: Request<Bytes>| std::future::ready(Ok::<_, io::Error>(Response::new(Full::new(Bytes::from("{}"))))));
    let nobody = run(&state, &["policy", "suggest", &format!("http://{empty}")]);
    assert_eq!((nobody.code, &nobody.json["check"]), (1, &"well-known.form".into()), "{nobody:?}");
    let garbage = run(&state, &["policy", "suggest", "node"]);
    assert!(garbage.code == 2 && error(&garbage).contains("https://NODE"), "{garbage:?}");
    std::fs::remove_dir_all(state).unwrap();
}

#[test]
fn off_the_development_chain_a_first_ask_names_what_is_known_and_writes_nothing_by_itself() {
    let state = new_directory();
    let chain = Process::start(&state, &["chain", "--port", "0", "--chain-id", "84532"]);
    let rpc = chain.text("url");
    let ran = run(&state, &["ask", "Hi", "--rpc", &rpc]);
    assert!(ran.code == 2 && error(&ran).contains("no deployment of chain 84532 is known"), "{ran:?}");
    assert!(error(&ran).contains("candor policy suggest https://NODE") && !state.join("policy.toml").exists(), "{ran:?}");
    let suggested = run(&state, &["policy", "suggest", "--rpc", &rpc]);
    assert_eq!((suggested.code, error(&suggested)), (2, error(&ran)), "{suggested:?}");
    // With a node its evidence is looked at; nobody is here to say yes to it.
    let world = World::shared();
    let ran = run(&state, &["ask", "Hi", "--rpc", &rpc, "--node", &world.api()]);
    let command = format!("candor policy suggest {} --state {}", world.api(), state.display());
    assert!(ran.code == 2 && error(&ran).contains(&format!("`{command} --write --yes`")), "{ran:?}");
    assert!(!state.join("policy.toml").exists());
    drop(chain);
    std::fs::remove_dir_all(state).unwrap();
}

#[test]
fn nodes_shows_who_sells_at_which_price_and_whether_the_policy_would_accept_it() {
    let world = World::shared();
    let listed = world.candor(&["nodes", "--rpc", &world.rpc()]);
    let row = listed.json.as_array().unwrap().iter().find(|row| row["endpoint"] == world.api()).unwrap_or_else(|| panic!("{listed:?}"));
    assert_eq!(
        (listed.code, &row["accepted"], &row["payable"], &row["standing"]),
        (0, &true.into(), &true.into(), &"valid".into()),
        "{row}"
    );
    assert_eq!((&row["why"], &row["models"][0]["prices"][0]["decimals"]), (&"yes, SIMULATED".into(), &6.into()), "{row}");
    let words = said(&world.state, &["nodes", "--rpc", &world.rpc()]);
    assert!(words.contains("WOULD YOUR POLICY ACCEPT IT?") && words.contains("a million tokens") && words.contains("USDC"), "{words}");

    // By a policy of other operators: the check that refuses, in words; and an ask by it says that others are there.
    let operators = format!("operators = [\"0x{}\"] # ", "aa".repeat(20));
    let other = changed(&world, "other-operator.toml", "operators = ", &operators);
    let listed = world.candor(&["nodes", "--rpc", &world.rpc(), "--policy", text(&other)]);
    let row = &listed.json[0];
    assert_eq!((listed.code, &row["accepted"], &row["check"]), (0, &false.into(), &"policy.operator".into()), "{listed:?}");
    assert!(row["why"].as_str().unwrap().contains("no: policy.operator: expected"), "{row}");
    let asked = world.candor(&["ask", "Hi", "--rpc", &world.rpc(), "--policy", text(&other)]);
    assert!(asked.code == 2 && error(&asked).contains("1 registered, none by an operator"), "{asked:?}");

    // One that may spend nothing accepts, and pays nobody.
    let unpaid = changed(&world, "unpaid.toml", &world.token().to_string(), "0x0000000000000000000000000000000000000001");
    let listed = world.candor(&["nodes", "--rpc", &world.rpc(), "--policy", text(&unpaid)]);
    assert_eq!((&listed.json[0]["accepted"], &listed.json[0]["payable"]), (&true.into(), &false.into()), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_asks_for_the_evidence_of_those_that_it_shows_and_of_no_others() {
    let world = World::start(&[]);
    let k_sig = world.node.text("k_sig");
    let ended = world.candor(&["registry", "revoke", &k_sig, "--rpc", &world.rpc()]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let chain = Liar::start(&world.rpc());
    let row = |more: &[&str]| {
        let listed = world.candor(&[&["nodes", "--rpc", &chain.url][..], more].concat());
        assert_eq!(listed.code, 0, "{listed:?}");
        listed.json.as_array().unwrap().iter().find(|row| row["k_sig"] == *k_sig).cloned()
    };
    let named = k_sig.trim_start_matches("0x");
    assert_eq!((row(&[]), chain.calls("eth_getLogs", named)), (None, 0));
    assert_eq!(row(&["--all"]).unwrap()["standing"], "revoked");
    assert!(0 < chain.calls("eth_getLogs", named));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_and_its_host_say_the_same_of_themselves_and_what_is_listed_is_what_asks_for_payment() {
    let world = World::shared();
    let (node, host) = (get(&world.api(), "/.well-known/candor.json").await, get(&world.log(), "/.well-known/candor.json").await);
    assert_eq!((node.status, host.status, node.json()), (200, 200, host.json()));
    let said = node.json();
    assert_eq!((&said["k_sig"], &said["endpoints"][0]), (&world.node.text("k_sig").into(), &world.api().into()), "{said}");
    let evidence = get(&world.api(), said["evidence"].as_str().unwrap()).await;
    let evidence = candor_verify::evidence::Evidence::parse(&evidence.body).unwrap();
    assert_eq!(
        (said["manifest"].as_str(), said["terms"].as_str()),
        (Some(evidence.manifest.hash().to_string().as_str()), Some(evidence.terms.terms.digest().to_string().as_str()))
    );
    let listed = get(&world.api(), "/.well-known/x402").await.json();
    assert_eq!((&listed["x402Version"], &listed["kind"]), (&2.into(), &"resource-server".into()), "{listed}");
    let resource = &listed["resources"][0];
    assert_eq!(resource["method"], "POST");
    let path = resource["url"].as_str().unwrap().strip_prefix(&world.api()).unwrap().to_owned();
    let body = json!({"model": said["models"][0]["id"], "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4});
    assert_eq!(post(&world.api(), &path, &body).await.status, 402);
    assert_eq!(post(&world.api(), "/.well-known/x402", &body).await.status, 405);
}
