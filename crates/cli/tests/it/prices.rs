//! `candor prices`: the registrar moves the price of a running node, within what the operator signed, and the bundle has the list.

use candor_verify::bundle::Bundle;
use serde_json::{Value, json};

use crate::support::http::{Http, get};
use crate::support::{Ran, World, eventually};

/// One answer of eight tokens, and its bundle.
fn ask(world: &World, question: &str) -> (Ran, Bundle) {
    let ran = world.candor(&["ask", question, "--rpc", &world.rpc(), "--max-tokens", "8"]);
    assert_eq!((ran.code, &ran.json["verdict"]["outcome"]), (0, &json!("verified")), "{ran:?}");
    let bundle = Bundle::parse(&std::fs::read(ran.json["bundle"].as_str().unwrap()).unwrap()).unwrap();
    (ran, bundle)
}

/// What the node's log port says of its lists.
async fn lists(world: &World) -> Value {
    get(&world.log(), "/price-lists").await.json()
}

/// Waits until the enclave offers by the list of this number; zero for none.
async fn in_force(world: &World, number: u64) {
    eventually("the price is in force", || async {
        let models = get(&world.api(), "/v1/models").await.json();
        (models["data"][0]["candor"]["price_list"]["number"].as_u64().unwrap_or_default() == number).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_is_set_bought_at_verified_published_and_set_back() {
    let world = World::start(&[]);
    let (_, dear) = ask(&world, "The price of the terms");
    let set = world.candor(&["prices", "set", "--input", "0.5", "--output", "1.5", "--request", "0.00005"]);
    assert_eq!((set.code, &set.json["prices"][0]["now"]["input"]), (0, &json!("0.500000")), "{set:?}");
    let number = set.json["number"].as_u64().unwrap();
    in_force(&world, number).await;

    let (ran, cheap) = ask(&world, "The price of the list");
    let sale = cheap.sale.as_ref().unwrap();
    assert_eq!((sale.offer.price_list_number, sale.price_list.as_ref().unwrap().list.number), (number, number));
    assert!(cheap.delivery.receipt.money.charged < dear.delivery.receipt.money.charged);
    // Equal to that very list, and not only below the ceiling.
    let checks = ran.json["verdict"]["checks"].as_array().unwrap();
    let price = checks.iter().find(|check| check["id"] == "offer.price").unwrap();
    assert_eq!(price["status"], "passed", "{price}");

    // Beside the log, for anybody.
    let published = lists(&world).await;
    assert_eq!(published["lists"][0]["number"], number);
    assert_eq!(published["lists"][0]["hash"], sale.offer.price_list_hash.to_string());
    let bytes = get(&world.log(), &format!("/price-lists/{number}")).await;
    assert_eq!((bytes.status, &bytes.body[..]), (200, &sale.price_list.as_ref().unwrap().encode()[..]));
    for path in ["/price-lists/0", "/price-listsx", "/price-lists/01", "/price-lists/x"] {
        assert_eq!(get(&world.log(), path).await.status, 404, "{path}");
    }

    let cleared = world.candor(&["prices", "clear"]);
    assert_eq!((cleared.code, &cleared.json["prices"][0]["now"]), (0, &cleared.json["prices"][0]["ceiling"]), "{cleared:?}");
    in_force(&world, cleared.json["number"].as_u64().unwrap()).await;
    assert_eq!(ask(&world, "The price of the terms again").1.sale.unwrap().offer.price_list_number, cleared.json["number"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_boot_is_given_the_newest_list() {
    let world = World::start(&[]);
    let set = world.candor(&["prices", "set", "--request", "0.00002"]);
    let number = set.json["number"].as_u64().unwrap();
    in_force(&world, number).await;
    crate::support::process::signal("KILL", world.node.pid_of("enclave_pid"));
    eventually("another boot serves by it", || async {
        let mut http = Http::connect(&world.api()).await.ok()?;
        let models = http.try_send(hyper::Method::GET, "/v1/models", &[], Vec::new()).await.ok()?.json();
        (models["data"][0]["candor"]["price_list"]["number"] == number).then_some(())
    })
    .await;
}

#[test]
fn a_price_outside_of_the_terms_is_refused_and_nothing_is_written() {
    let world = World::shared();
    for (option, amount, rule) in [
        ("--input", "1.000001", "signed, 0.100000 to 1.000000, got 1.000001"),
        ("--output", "0.1", "--output: expected a price between the floor and the ceiling"),
        ("--request", "1e3", "expected an amount in digits"),
        ("--model", "no-such-model", "the terms list no model"),
    ] {
        let ran = world.candor(&["prices", "set", option, amount]);
        assert!(ran.code == 2 && ran.json["error"].as_str().unwrap().contains(rule), "{ran:?}");
    }
    assert!(!world.state.join("node/price-list.cbor").exists());
    let clear = world.candor(&["prices", "clear"]);
    assert!(clear.json["error"].as_str().unwrap().contains("no list is in force"), "{clear:?}");
    let shown = world.candor(&["prices", "show"]);
    assert_eq!((shown.code, &shown.json["number"]), (0, &Value::Null), "{shown:?}");
}
