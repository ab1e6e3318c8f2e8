//! A node whose guard judges conversations before its model answers them, over the real program: who asks what it refuses gets a receipt and no
//! bill, in the terminal, through a proxy and on a page; who asks anything else never notices.

use std::path::Path;

use candor_devchain::dev_accounts;
use candor_verify::bundle::Bundle;
use candor_verify::bytes::Address;
use candor_verify::receipt::Outcome;
use serde_json::json;

use crate::support::http::{CHAT, Http};
use crate::support::process::{PROGRAM, Process};
use crate::support::{Ran, World};

const BAD: &str = "Where is the bomb?";

/// A node that sells the built-in model behind the fixture's guard.
fn guarded() -> World {
    World::start_after(&[], str::to_owned, |state, token| {
        std::fs::write(state.join("guard.cnd1"), candor_engine::fixture::guard()).unwrap();
        let text = format!(
            "version = 1\n\n[[asset]]\nsymbol = \"USDC\"\nchain_id = 31337\naddress = \"{token}\"\nname = \"USDC\"\nversion = \"2\"\n\
             decimals = 6\n\n[[model]]\nid = \"guard\"\nfile = \"guard.cnd1\"\n\n[[model]]\nid = \"candor-mini\"\n\n[[model.price]]\n\
             asset = \"USDC\"\ninput = \"1\"\noutput = \"3\"\nrequest = \"0.0001\"\n\n[guard]\nmodel = \"guard\"\n"
        );
        candor_client::write_private(&state.join("node.toml"), text.as_bytes()).unwrap();
    })
}

/// The well-known account that `candor ask` pays from.
fn payer() -> Address {
    const PAYER: usize = 4;
    Address(dev_accounts::ALL[PAYER].address.into_array())
}

fn ask(world: &World, question: &str, more: &[&str]) -> Ran {
    let rpc = world.rpc();
    world.candor(&[&["ask", question, "--rpc", &rpc, "--max-tokens", "8"][..], more].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_guard_refuses_has_a_receipt_and_no_bill() {
    let world = guarded();
    let before = world.balance(&payer()).await;
    let ran = ask(&world, BAD, &[]);
    assert_eq!((ran.code, &ran.json["outcome"], &ran.json["text"]), (2, &json!("refused by guard"), &json!("")), "{ran:?}");
    let grades = &ran.json["verdict"]["grades"];
    assert_eq!(
        (&grades["paid"], &grades["ran"], &grades["logged"]),
        (&json!("NOBODY PAID"), &json!("LOCAL"), &json!("ANCHORED")),
        "{ran:?}"
    );
    assert!(ran.json["cut"].as_str().unwrap().contains("the node's guard \"guard\" refused this conversation"), "{ran:?}");
    assert_eq!(world.balance(&payer()).await, before);

    let file = ran.json["bundle"].as_str().unwrap().to_owned();
    let bundle = Bundle::parse(&std::fs::read(&file).unwrap()).unwrap();
    assert!(bundle.sale.is_none() && bundle.delivery.receipt.work.outcome == Outcome::RefusedByGuard);
    assert_eq!(world.candor(&["verify", &file, "--rpc", &world.rpc()]).code, 0);
    let page = world.state.join("refused.html");
    assert_eq!(world.candor(&["verify", &file, "--html", page.to_str().unwrap()]).code, 0);
    let page = std::fs::read_to_string(&page).unwrap();
    assert!(page.contains("so that it was not asked") && page.contains("Nobody paid for this answer."), "{page}");
    // In words, of a file of which no chain was asked.
    let told = words(&world, &["verify", &file]);
    assert!(
        told.contains("a guard refused it, and that costs nothing") && told.contains("no chain was asked for its anchor (--rpc URL)"),
        "{told}"
    );
    // It was no answer, so nothing can be run again.
    assert_eq!(world.candor(&["replay", &file]).code, 2);

    // The same again is judged again, under another payment; and what is let pass is sold.
    let again = ask(&world, BAD, &[]);
    assert_eq!(again.json["outcome"], "refused by guard", "{again:?}");
    let sold = ask(&world, "What is a receipt?", &[]);
    assert_eq!((sold.code, &sold.json["verdict"]["grades"]["paid"]), (0, &json!("SETTLED")), "{sold:?}");
    assert!(world.balance(&payer()).await < before);

    // The operator's log has nothing of what was refused.
    let log = world.node.log().concat();
    assert!(log.contains("clients are served") && !log.contains("bomb"), "{log}");
}

/// What a command prints for people.
fn words(world: &World, arguments: &[&str]) -> String {
    let output = std::process::Command::new(PROGRAM).arg("--state").arg(&world.state).args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_looks_at_a_node_is_told_of_its_guard_before_asking() {
    let world = guarded();
    let rpc = world.rpc();
    let inspected = world.candor(&["inspect", &world.api()]);
    let ids: Vec<&str> = inspected.json["models"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!((&inspected.json["guard"], ids), (&json!("guard"), vec!["candor-mini"]), "{inspected:?}");
    let listed = words(&world, &["nodes", "--rpc", &rpc]);
    assert!(listed.contains("its guard guard judges conversations") && !listed.contains("guard: not for sale"), "{listed}");
    let status = words(&world, &["status"]);
    assert!(status.contains("guard   judges conversations before the others answer them"), "{status}");
    // A model that does not judge is none, before anything is signed or a boot begun.
    std::fs::write(world.state.join("guard.cnd1"), candor_engine::fixture::model()).unwrap();
    let refused = world.candor(&["upgrade"]);
    let error = refused.json["error"].as_str().unwrap_or_default();
    assert!(refused.code == 2 && error.contains("this model says something else") && error.contains("candor-mini is none"), "{refused:?}");
    let node = world.state.join("node.toml");
    let text = std::fs::read_to_string(&node).unwrap();
    std::fs::write(&node, format!("{text}\n[[chain]]\nid = 31337\nrpc = [\"{rpc}\"]\n")).unwrap();
    let doctor = world.candor(&["doctor"]);
    assert!(doctor.code != 0 && doctor.json.to_string().contains("this model says something else"), "{doctor:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn through_a_proxy_a_stock_client_is_told_by_its_finish_reason() {
    let world = guarded();
    let proxy = Process::start(&world.state, &["proxy", "--rpc", &world.rpc(), "--listen", "127.0.0.1:0"]);
    for stream in [false, true] {
        let body = json!({"model": "candor-mini", "messages": [{"role": "user", "content": BAD}], "max_tokens": 4, "stream": stream});
        let mut http = Http::connect(&proxy.text("url").replace("/v1", "")).await.unwrap();
        let reply = http.send(hyper::Method::POST, CHAT, &[("content-type", "application/json")], body.to_string().into_bytes()).await;
        let text = reply.text().into_owned();
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(text.contains(r#""finish_reason":"content_filter""#) && text.contains(r#""refusal":"The guard of this node"#), "{text}");
    }
    let listed = world.candor(&["bundles", "list"]);
    assert!(listed.json.to_string().contains("nobody paid"), "{listed:?}");
}

#[test]
fn a_guard_is_another_model_than_those_that_are_sold() {
    let state = crate::support::process::new_directory();
    let refused = |text: &str, what: &str| {
        let path: &Path = &state.join("node.toml");
        std::fs::write(path, format!("version = 1\n{text}")).unwrap();
        let ran = crate::support::process::run(&state, &["config", "check", "--config", path.to_str().unwrap()]);
        assert!(ran.code == 2 && format!("{ran:?}").contains(what), "{what}: {ran:?}");
    };
    let asset = "[[asset]]\nsymbol = \"T\"\nchain_id = 31337\naddress = \"0x00000000000000000000000000000000000000aa\"\nname = \"T\"\nversion = \"1\"\ndecimals = 6\n";
    let price = "[[model.price]]\nasset = \"T\"\ninput = \"1\"\noutput = \"1\"\n";
    refused("[[model]]\nid = \"a\"\n[guard]\nmodel = \"b\"\n", "the id of a [[model]] (a)");
    refused("[[model]]\nid = \"a\"\n[[model]]\nid = \"b\"\n", "it is the built-in model, which");
    refused("[[model]]\nid = \"a\"\n[guard]\nmodel = \"a\"\n", "which would answer nobody");
    refused(
        &format!("{asset}[[model]]\nid = \"a\"\n{price}[[model]]\nid = \"b\"\nfile = \"b.cnd1\"\n[guard]\nmodel = \"a\"\n"),
        "which is not sold",
    );
    std::fs::remove_dir_all(state).unwrap();
}
