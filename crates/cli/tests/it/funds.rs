//! `candor funds`: what a node's accounts hold, a forwarder that is swept, ether that goes back, and an account that a running node uses.

use std::path::PathBuf;

use candor_devchain::dev_accounts;
use candor_verify::bytes::{Address, Amount};
use serde_json::Value;

use crate::support::{Ran, World};

/// A file for the world's chain, whose node has this directory.
fn config(world: &World, name: &str, data: &str) -> PathBuf {
    let path = world.state.join(name);
    let rpc = world.rpc();
    std::fs::write(&path, format!("version = 1\n[node]\ndata = {data:?}\n[[chain]]\nid = 31337\nrpc = [{rpc:?}]\n")).unwrap();
    path
}

fn address_of<'a>(shown: &'a Ran, whose: &str) -> &'a Value {
    let rows = shown.json["funds"].as_array().unwrap();
    &rows.iter().find(|row| row["whose"] == whose).unwrap_or_else(|| panic!("{whose}: {shown:?}"))["address"]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_at_a_forwarder_goes_to_its_payee_whoever_sends_it() {
    let world = World::shared();
    let file = config(&world, "funds.toml", "elsewhere");
    let file = file.to_str().unwrap();
    let shown = world.candor(&["funds", "show", "--config", file]);
    assert_eq!(shown.code, 0, "{shown:?}");
    for whose in ["registrar", "gas", "anchor", "payee", "forwarder"] {
        assert!(Address::from_hex(address_of(&shown, whose).as_str().unwrap()).is_some(), "{whose}");
    }
    // A payee of its own, so that no other test's payments count.
    let payee = Address([0x51; 20]);
    let nothing = world.candor(&["funds", "sweep", "--config", file, "--payee", &payee.to_string()]);
    assert_eq!((nothing.code, nothing.json["swept"].as_array().map(Vec::len)), (0, Some(0)), "{nothing:?}");
    let forwarder = Address::from_hex(nothing.json["forwarder"].as_str().unwrap()).unwrap();
    world.mint(&forwarder, 1_234).await;
    let swept = world.candor(&["funds", "sweep", "--config", file, "--payee", &payee.to_string()]);
    assert_eq!((swept.code, &swept.json["swept"][0]["amount"]), (0, &Value::from("1234")), "{swept:?}");
    assert_eq!((world.balance(&payee).await, world.balance(&forwarder).await), (Amount(1_234), Amount::ZERO));
}

#[test]
fn a_chain_that_does_not_answer_is_a_row_and_hides_no_other() {
    let world = World::shared();
    let deaf = |name: &str, first: &str, second: &str| {
        let path = world.state.join(name);
        std::fs::write(&path, format!("version = 1\n[node]\ndata = \"elsewhere\"\n{first}{second}")).unwrap();
        world.candor(&["funds", "show", "--config", path.to_str().unwrap()])
    };
    let well = format!("[[chain]]\nid = 31337\nrpc = [{:?}]\n", world.rpc());
    let away = "[[chain]]\nid = 84532\nrpc = [\"http://127.0.0.1:1\"]\n";
    for (name, first, second) in [("second.toml", well.as_str(), away), ("first.toml", away, well.as_str())] {
        let shown = deaf(name, first, second);
        let rows = shown.json["funds"].as_array().unwrap_or_else(|| panic!("{shown:?}"));
        let trouble: Vec<_> = rows.iter().filter(|row| row["trouble"].is_string()).map(|row| &row["chain_id"]).collect();
        assert_eq!((shown.code, trouble), (2, vec![&Value::from(84532)]), "{shown:?}");
        assert!(["gas", "payee"].iter().all(|whose| rows.iter().any(|row| row["whose"] == *whose)), "{shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ether_goes_back_from_an_account_that_no_running_node_uses() {
    let world = World::start(&[]);
    let (ours, other) = (world.state.join("node"), config(&world, "idle.toml", "elsewhere"));
    std::fs::create_dir_all(world.state.join("elsewhere")).unwrap();
    let running = config(&world, "running.toml", ours.to_str().unwrap());
    let to = Address([0x52; 20]);
    let withdraw = |file: &PathBuf, more: &[&str]| {
        let words = ["funds", "withdraw", "gas", "--config", file.to_str().unwrap(), "--to", &to.to_string()];
        world.candor(&[&words[..], more].concat())
    };
    let refused = withdraw(&running, &["--amount", "1", "--yes"]);
    assert!(refused.code == 2 && refused.json["error"].as_str().unwrap().contains("another `candor serve`"), "{refused:?}");
    let unasked = withdraw(&other, &["--amount", "1"]);
    assert!(unasked.code == 2 && unasked.json["error"].as_str().unwrap().contains("--yes"), "{unasked:?}");
    let too_much = withdraw(&other, &["--amount", "1000000000", "--yes"]);
    assert!(too_much.code == 2 && too_much.json["error"].as_str().unwrap().contains("nothing was sent"), "{too_much:?}");
    let chain = world.client().await;
    assert_eq!(chain.native_balance(&to).await.unwrap(), Amount::ZERO);
    let sent = withdraw(&other, &["--amount", "1.5", "--yes"]);
    assert_eq!((sent.code, &sent.json["wei"]), (0, &Value::from("1500000000000000000")), "{sent:?}");
    assert_eq!(chain.native_balance(&to).await.unwrap(), Amount(1_500_000_000_000_000_000));
    // The rest, but for the gas: what is left is dust.
    let rest = withdraw(&other, &["--yes"]);
    assert_eq!(rest.code, 0, "{rest:?}");
    let gas = Address::from_hex(rest.json["from"].as_str().unwrap()).unwrap();
    assert!(dev_accounts::ALL.iter().any(|known| known.address.into_array() == gas.0));
    assert!(chain.native_balance(&gas).await.unwrap() < Amount(10_000_000_000_000_000), "less than a hundredth of an ether");
}
