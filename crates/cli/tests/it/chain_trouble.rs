//! The chain goes away, is reset, is another one, or is two: what a buyer is told before anything is signed, and a node that finds back to
//! its chain by itself. Over the real program.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use candor_verify::bytes::Address;
use serde_json::{Value, json};

use crate::support::http::{CHAT, Reply, post, rpc};
use crate::support::liar::{Liar, Lie};
use crate::support::payer::question;
use crate::support::process::{Process, new_directory};
use crate::support::split::log_status;
use crate::support::{Ran, World, eventually};

fn ask(world: &World, further: &[&str]) -> Ran {
    world.candor(&[&["ask", "Hi", "--max-tokens", "8"][..], further].concat())
}

/// The payments in the book, with what is known of each.
fn book(state: &Path) -> Vec<(Vec<u8>, i64)> {
    let path = state.join("client.db");
    if !path.exists() {
        return Vec::new();
    }
    let database = rusqlite::Connection::open(path).unwrap();
    let mut statement = database.prepare("SELECT nonce, state FROM spends ORDER BY nonce").unwrap();
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn a_node_whose_chain_was_reset_is_registered_again_and_sells_and_anchors_and_is_paid_there() {
    let mut world = World::start(&[]);
    let (rpc, log_id) = (world.rpc(), world.node.text("log_id"));
    let wallet = Address::from_hex(&world.chain.text("wallet")).unwrap();
    let first = ask(&world, &["--rpc", &rpc]);
    assert_eq!((first.code, &first.json["verdict"]["log_level"]), (0, &"ANCHORED".into()), "{first:?}");

    world.chain.end();
    let is_told = |status: &Value| status["troubles"]["chain"].is_string();
    let status = eventually("the host notices", || async { log_status(&world).await.filter(is_told) }).await;
    assert_eq!(status["troubles"]["chain"], "unreachable", "{status}");
    let paid = book(&world.state);
    assert_eq!(ask(&world, &["--rpc", &rpc]).code, 2);
    assert_eq!(book(&world.state), paid, "nothing is signed without a chain");

    // Times are whole seconds: of two chains that begin in one, the first blocks are the same, and nobody can tell them apart.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    world.chain = Process::start(&world.state, &["chain", "--port", rpc.rsplit(':').next().unwrap()]);
    assert_eq!(world.rpc(), rpc);
    eventually("the node is registered again", || async {
        let listed = world.candor(&["registry", "list", "--rpc", &rpc]);
        let is_there = |row: &Value| row["log_id"] == *log_id && row["status"] == "valid";
        listed.json.as_array()?.iter().any(is_there).then_some(())
    })
    .await;
    let second = ask(&world, &["--rpc", &rpc]);
    assert_eq!((second.code, &second.json["verdict"]["log_level"]), (0, &"ANCHORED".into()), "{second:?}");
    let charged: u128 = second.json["charged"].as_str().unwrap().parse().unwrap();
    eventually("the transfer on the new chain", || async { world.transfers_from(&wallet).await.contains(&charged).then_some(()) }).await;
    let is_well = |status: &Value| status["troubles"].as_object().is_some_and(serde_json::Map::is_empty);
    let status = eventually("the host is well", || async { log_status(&world).await.filter(is_well) }).await;
    assert_eq!((&status["log"]["id"], &status["registered"]), (&log_id.as_str().into(), &true.into()), "the same boot, the same log");
}

/// The buyer's chain falls silent between the answer and its settlement: what was paid for is shown, kept and judged without it.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_goes_away_after_the_answer_takes_no_answer_away() {
    let world = World::slow(&[]);
    let liar = Liar::start(&world.rpc());
    // Once before: a policy is written, and the wallet is there.
    assert_eq!(ask(&world, &["--rpc", &world.rpc()]).code, 0);
    let mut command = Command::new(env!("CARGO_BIN_EXE_candor"));
    command.arg("--state").arg(&world.state).args(["ask", "What then?", "--max-tokens", "300", "--rpc", &liar.url]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The first of its text has come, so it is paid for.
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    liar.tell(Lie::Down);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains("settlement and anchor were not looked for") && said.contains("VERIFIED · SIMULATED · REPLAYABLE · SELF-LOGGED"),
        "{said}"
    );
    let path = said.split_whitespace().find(|word| word.ends_with(".candor")).unwrap_or_else(|| panic!("{said}"));
    let later = world.candor(&["verify", path, "--rpc", &world.rpc()]);
    assert_eq!((later.code, &later.json["outcome"]), (0, &"verified".into()), "{later:?}");
    // Without a chain from the start nothing is paid, and that is said in two seconds and in one word.
    let paid = book(&world.state);
    let down = ask(&world, &["--rpc", &liar.url]);
    assert_eq!((down.code, &down.json["code"]), (2, &"chain_unavailable".into()), "{down:?}");
    assert_eq!(book(&world.state), paid);
}

fn proxy(world: &World, endpoints: &[&str]) -> (Process, String) {
    let mut arguments = vec!["proxy", "--listen", "127.0.0.1:0"];
    arguments.extend(endpoints.iter().flat_map(|url| ["--rpc", *url]));
    if 1 < endpoints.len() {
        arguments.extend(["--rpc-agree", "2"]);
    }
    let proxy = Process::start(&world.state, &arguments);
    let url = proxy.text("url").trim_end_matches("/v1").to_owned();
    (proxy, url)
}

fn assert_unavailable(reply: &Reply, kind: &str) {
    assert_eq!((reply.status, reply.error_code().as_str()), (503, "chain_unavailable"), "{reply:?}");
    assert_eq!(reply.header("x-should-retry"), Some("false"), "{reply:?}");
    assert_eq!(reply.json()["error"]["candor"]["chain"].as_str(), Some(kind), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_whose_chain_is_in_trouble_says_which_and_signs_nothing_and_goes_on_when_it_is_over() {
    let world = World::start(&[]);
    let liar = Liar::start(&world.rpc());
    let (_alone, alone) = proxy(&world, &[liar.url.as_str()]);
    let (_both, both) = proxy(&world, &[world.rpc().as_str(), liar.url.as_str()]);
    for (at, name) in [(&alone, "alone"), (&both, "both")] {
        let reply = post(at, CHAT, &question(name, false)).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    for (lie, kind) in [(Lie::Down, "down"), (Lie::Silent, "down"), (Lie::ChainId(31338), "wrong_chain")] {
        let paid = book(&world.state);
        liar.tell(lie);
        for at in [&alone, &both] {
            for stream in [false, true] {
                assert_unavailable(&post(at, CHAT, &question(&format!("{lie:?} {stream}"), stream)).await, kind);
            }
        }
        assert_eq!(book(&world.state), paid, "{lie:?}");
        liar.tell(Lie::None);
        for at in [&alone, &both] {
            let reply = post(at, CHAT, &question(&format!("after {lie:?}"), false)).await;
            assert_eq!(reply.status, 200, "{lie:?}: {reply:?}");
        }
    }
}

#[tokio::test]
async fn endpoints_of_two_chains_with_one_id_disagree_and_nothing_is_paid() {
    let world = World::start(&[]);
    let elsewhere = new_directory();
    let genesis = async |url: String| rpc(&url, "eth_getBlockByNumber", json!(["0x0", false])).await["hash"].clone();
    // Two that begin in one second are the same chain, block for block.
    let other = loop {
        let other = Process::start(&elsewhere, &["chain", "--port", "0"]);
        if genesis(other.text("url")).await != genesis(world.rpc()).await {
            break other;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let ran = ask(&world, &["--rpc", &world.rpc(), "--rpc", &other.text("url")]);
    assert_eq!((ran.code, &ran.json["code"]), (2, &"chain_unavailable".into()), "{ran:?}");
    let error = ran.json["error"].as_str().unwrap();
    assert!([world.rpc(), other.text("url")].iter().all(|url| error.contains(url.as_str())), "{error}");
    assert_eq!(book(&world.state), []);
    // With one of them it is bought.
    assert_eq!(ask(&world, &["--rpc", &world.rpc()]).code, 0);
    drop(other);
    std::fs::remove_dir_all(elsewhere).unwrap();
}
