//! Things that die: the chain stops answering, the enclave is killed, the host is killed, its disk is full. Nothing acknowledged is lost, nothing is
//! charged without an answer begun, the log never forks, and the node recovers by itself. Over the real program; a world per test.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use candor_client::plain;
use candor_verify::bytes::Hash32;
use candor_verify::tlog::{Tree, verify_consistency};
use candor_verify::transcript::unsplice;
use http_body_util::BodyExt as _;
use hyper::Method;

use crate::support::http::{CHAT, Frames, Http, Reply, chat, first_frames, get};
use crate::support::payer::{Offered, Payer, Signed, buy, question};
use crate::support::process::{Process, children_of, signal};
use crate::support::split::{Split, log_status};
use crate::support::{PATIENCE, World, eventually};

/// Asks and pays, and fails unless it is answered.
async fn sell(payer: &Payer, name: &str) -> (Reply, u128) {
    let body = question(name, false);
    let offered = Offered::of(&payer.world.api(), &body).await;
    let reply = buy(&payer.world.api(), &body, &payer.pay(&offered).header).await;
    (reply, offered.amount())
}

/// The current log's newest published checkpoint.
async fn published(world: &World, log_id: &str) -> Option<Tree> {
    use base64::Engine as _;
    let url = format!("{}/log/{}/checkpoint", world.log(), log_id.trim_start_matches("0x"));
    let text = String::from_utf8(plain::get(&url).await.ok()?.to_vec()).ok()?;
    let mut lines = text.lines().skip(1);
    let size = lines.next()?.parse().ok()?;
    let root = base64::engine::general_purpose::STANDARD.decode(lines.next()?).ok()?;
    Some(Tree { size, root: Hash32::from_slice(&root)? })
}

/// Waits until the published log has this many receipts and re-derives all of it.
async fn assert_log(world: &World, log_id: &str, size: u64) -> Tree {
    let tree = eventually("the log is published", || async { published(world, log_id).await.filter(|tree| size <= tree.size) }).await;
    assert_eq!(tree.size, size);
    let checked = world.check_log(log_id);
    assert!(checked.code == 0 && checked.json["sound"] == true, "{checked:?}");
    tree
}

#[tokio::test]
async fn while_the_chain_does_not_answer_payments_get_a_typed_503_and_are_not_charged_and_later_the_same_payment_buys() {
    let world = Arc::new(World::start(&[]));
    let payer = Payer::funded(&world).await;
    for stream in [false, true] {
        let before = payer.balance().await;
        let body = question("chain down", stream);
        let offered = Offered::of(&world.api(), &body).await;
        let signed = payer.pay(&offered);
        world.chain.signal("STOP");
        let reply = chat(&world.api(), &body, Some(&signed.header)).await;
        let health = get(&world.api(), "/health").await;
        world.chain.signal("CONT");
        assert_eq!((reply.status, reply.error_code().as_str()), (503, "chain_unavailable"), "{reply:?}");
        assert!(reply.header("retry-after").is_some() && reply.header("x-receipt-id").is_none());
        assert_eq!(health.status, 200, "the node itself is well");
        assert_eq!(payer.balance().await, before);
        let reply = eventually("the node has its chain back", || async {
            let reply = chat(&world.api(), &body, Some(&signed.header)).await;
            (reply.status != 503).then_some(reply)
        })
        .await;
        assert_eq!(reply.status, 200, "{reply:?}");
        eventually("the transfer", || async { (payer.balance().await == before - offered.amount()).then_some(()) }).await;
    }
}

#[tokio::test]
async fn a_chain_that_stops_after_the_claim_delays_the_charge_and_does_not_repeat_it() {
    let world = Arc::new(World::start(&[]));
    let payer = Payer::funded(&world).await;
    let body = question("chain stops", true);
    let offered = Offered::of(&world.api(), &body).await;
    let signed = payer.pay(&offered);
    let mut connection = Http::connect(&world.api()).await.unwrap();
    let headers = [("content-type", "application/json"), ("payment-signature", signed.header.as_str())];
    let response = connection.open(Method::POST, CHAT, &headers, body.to_string().into_bytes()).await.unwrap();
    // The head is out, so the payment is claimed; the transfer may or may not be.
    world.chain.signal("STOP");
    assert_eq!(response.status(), 200);
    let whole = response.into_body().collect().await.unwrap().to_bytes();
    world.chain.signal("CONT");
    assert!(whole.ends_with(b"data: [DONE]\n\n"), "an answer needs the log, not the chain");
    payer.assert_pays(&[offered.amount()]).await;
    let log_id = world.node.text("log_id");
    assert_log(&world, &log_id, 1).await;
    payer.assert_paid(&[offered.amount()]).await;
}

#[tokio::test]
async fn a_killed_enclave_ends_its_log_and_a_registered_successor_serves_and_takes_no_old_payment() {
    let world = Arc::new(World::start(&[]));
    let payer = Payer::funded(&world).await;
    let old_log = world.node.text("log_id");
    let (first, price) = sell(&payer, "before").await;
    let old_tree = assert_log(&world, &old_log, 1).await;

    // Signed for the boot that is about to die: one names it, the other names nobody.
    let body = question("for the old boot", false);
    let offered = Offered::of(&world.api(), &body).await;
    let (named, stock) = (payer.pay(&offered), payer.pay_stock(&offered));
    signal("KILL", world.node.pid_of("enclave_pid"));
    let new_log = successor(&world, &old_log).await;

    let reply = chat(&world.api(), &body, Some(&named.header)).await;
    assert_eq!((reply.status, reply.error_code().as_str()), (402, "extension_echo_mismatch"), "{reply:?}");
    let reply = chat(&world.api(), &body, Some(&stock.header)).await;
    assert_eq!((reply.status, reply.error_code().as_str()), (402, "candor_not_this_boot"), "{reply:?}");
    assert!(reply.header("retry-after").is_some());
    payer.assert_paid(&[price]).await;

    // The new boot sells, and our client finds and verifies it.
    let (_, second) = sell(&payer, "after").await;
    payer.assert_paid(&[price, second]).await;
    let asked = world.candor(&["ask", "Hi", "--rpc", &world.rpc(), "--max-tokens", "8"]);
    assert_eq!((asked.code, &asked.json["verdict"]["log_level"]), (0, &"ANCHORED".into()), "{asked:?}");
    assert_log(&world, &new_log, 2).await;

    // The old log is as it was, and its receipt is still given.
    assert_eq!(assert_log(&world, &old_log, 1).await, old_tree);
    let receipt = get(&world.api(), &format!("/v1/receipts/{}", first.header("x-receipt-id").unwrap())).await;
    assert_eq!(receipt.status, 200, "{receipt:?}");
    let registry = candor_verify::Address::from_hex(&world.chain.text("registry")).unwrap();
    let edge = world.client().await.successor_of(&registry, &Hash32::from_hex(&old_log).unwrap()).await.unwrap();
    assert_eq!(edge.map(|log| log.to_string()), Some(new_log));
}

#[tokio::test]
async fn an_enclave_killed_in_the_middle_of_an_answer_has_charged_nothing() {
    let world = Arc::new(World::slow(&[]));
    let payer = Payer::funded(&world).await;
    let old_log = world.node.text("log_id");
    let mut body = question("killed in the middle", true);
    // Long enough to be killed in; few enough that every boot offers all of them, whatever speed it measures.
    body["max_tokens"] = 300.into();
    let offered = Offered::of(&world.api(), &body).await;
    let signed = payer.pay(&offered);
    let mut connection = Http::connect(&world.api()).await.unwrap();
    let headers = [("content-type", "application/json"), ("payment-signature", signed.header.as_str())];
    let response = connection.open(Method::POST, CHAT, &headers, body.to_string().into_bytes()).await.unwrap();
    let id = response.headers()["x-receipt-id"].to_str().unwrap().to_owned();
    first_frames(response.into_body(), 2).await;
    signal("KILL", world.node.pid_of("enclave_pid"));
    successor(&world, &old_log).await;
    // Its signature never left the enclave, and there is no receipt.
    assert_eq!(get(&world.api(), &format!("/v1/receipts/{id}")).await.status, 404);
    let reply = chat(&world.api(), &body, Some(&signed.header)).await;
    assert_eq!((reply.status, reply.error_code().as_str()), (402, "extension_echo_mismatch"), "{reply:?}");
    assert!(!payer.is_used(&signed).await);
    payer.assert_paid(&[]).await;
}

/// Waits for another boot that is registered and serves; its log.
async fn successor(world: &World, old_log: &str) -> String {
    eventually("a registered successor", || async {
        let status = log_status(world).await?;
        let id = status["log"]["id"].as_str()?.to_owned();
        let listed = world.candor(&["registry", "list", "--rpc", &world.rpc()]);
        let is_valid = listed.json.as_array()?.iter().any(|row| row["log_id"] == *id && row["status"] == "valid");
        (id != old_log && is_valid && Http::connect(&world.api()).await.is_ok()).then_some(id)
    })
    .await
}

/// Lets no file of this process grow beyond its first kilobyte, or all of them again: a full disk, for one process.
fn fill_disk(pid: u32, is_full: bool) {
    let limit = if is_full { "--fsize=1024:" } else { "--fsize=unlimited:" };
    let status = Command::new("prlimit").args(["--pid", &pid.to_string(), limit]).status().unwrap();
    assert!(status.success(), "{status:?}");
}

/// A streamed answer that was begun.
async fn open_stream(payer: &Payer, name: &str) -> (Signed, Offered, hyper::body::Incoming) {
    let body = question(name, true);
    let offered = Offered::of(&payer.world.api(), &body).await;
    let signed = payer.pay(&offered);
    let mut connection = Http::connect(&payer.world.api()).await.unwrap();
    let headers = [("content-type", "application/json"), ("payment-signature", signed.header.as_str())];
    let response = connection.open(Method::POST, CHAT, &headers, body.to_string().into_bytes()).await.unwrap();
    assert_eq!(response.status(), 200);
    (signed, offered, response.into_body())
}

/// What came of an answer until nothing more comes.
async fn until_quiet(stream: &mut hyper::body::Incoming) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Ok(piece) = tokio::time::timeout(Duration::from_secs(2), stream.frame()).await {
        bytes.extend_from_slice(&piece.expect("it is not over").unwrap().into_data().unwrap());
    }
    assert_no_end(&bytes);
    bytes
}

/// The frames of an answer, without the one that has the receipt.
fn assert_no_end(bytes: &[u8]) {
    let frames = Frames::default().push(bytes);
    assert!(!frames.is_empty() && frames.iter().all(|frame| unsplice(frame).is_none() && frame != b"[DONE]"), "{frames:?}");
}

fn assert_no_receipt(reply: &Reply) {
    assert_eq!((reply.status, reply.error_code().as_str()), (503, "receipt_unavailable"), "{reply:?}");
    assert!(reply.header("payment-response").is_none() && reply.header("retry-after").is_some(), "{reply:?}");
}

#[tokio::test]
async fn on_a_full_disk_nothing_is_claimed_and_nothing_ends_and_with_room_what_was_begun_is_delivered() {
    let world = Arc::new(World::start(&[]));
    let (payer, other) = (Payer::funded(&world).await, Payer::funded(&world).await);
    let host = world.node.pid_of("host_pid");
    let (_, price) = sell(&payer, "room").await;
    fill_disk(host, true);
    // Begun before anybody knows. Its receipt has no place, so it has no end and no charge.
    let (_, begun, mut stream) = open_stream(&payer, "begun").await;
    let mut bytes = until_quiet(&mut stream).await;
    payer.assert_paid(&[price]).await;
    let mut refused = Vec::new();
    for stream in [false, true] {
        let body = question("full", stream);
        // Prices are still told.
        let offered = Offered::of(&world.api(), &body).await;
        let signed = other.pay(&offered);
        let reply = chat(&world.api(), &body, Some(&signed.header)).await;
        assert_no_receipt(&reply);
        assert!(reply.header("x-receipt-id").is_none(), "nothing was begun: {reply:?}");
        assert_eq!(get(&world.api(), "/health").await.status, 503);
        refused.push((body, offered.amount(), signed));
    }
    other.assert_paid(&[]).await;
    fill_disk(host, false);

    bytes.extend_from_slice(&stream.collect().await.unwrap().to_bytes());
    assert!(bytes.ends_with(b"data: [DONE]\n\n"));
    payer.assert_pays(&[price, begun.amount()]).await;
    let mut prices = Vec::new();
    for (body, price, signed) in refused {
        let reply = eventually("the same payment buys", || async {
            let reply = chat(&world.api(), &body, Some(&signed.header)).await;
            (reply.status != 503).then_some(reply)
        })
        .await;
        assert_eq!(reply.status, 200, "{reply:?}");
        prices.push(price);
        other.assert_pays(&prices).await;
    }
    assert_log(&world, &world.node.text("log_id"), 4).await;
}

#[tokio::test]
async fn a_disk_that_stays_full_ends_the_log_without_a_charge_and_a_successor_serves_when_there_is_room() {
    // Without a durable step for so long its log ends: longer than either answer takes, which is to be made by then.
    let world = Arc::new(World::slow(&["--confirm-seconds", "20"]));
    let (payer, other) = (Payer::funded(&world).await, Payer::funded(&world).await);
    let (host, old_log) = (world.node.pid_of("host_pid"), world.node.text("log_id"));
    let (_, price) = sell(&payer, "room").await;
    assert_log(&world, &old_log, 1).await;
    // Long enough that the other answer is begun before this one finds no room for its receipt.
    let mut body = question("whole", false);
    body["max_tokens"] = 300.into();
    let offered = Offered::of(&world.api(), &body).await;
    let unanswered = payer.pay(&offered);
    fill_disk(host, true);
    let headers = [("content-type", "application/json"), ("payment-signature", unanswered.header.as_str())];
    let mut connection = Http::connect(&world.api()).await.unwrap();
    let whole = connection.send(Method::POST, CHAT, &headers, body.to_string().into_bytes());
    let streamed = async {
        let (signed, _, mut stream) = open_stream(&other, "streamed").await;
        let mut bytes = Vec::new();
        let end = loop {
            match tokio::time::timeout(PATIENCE, stream.frame()).await.expect("an end in time") {
                Some(Ok(piece)) => bytes.extend_from_slice(&piece.into_data().unwrap()),
                end => break end,
            }
        };
        assert!(matches!(end, Some(Err(_))), "cut, and not ended");
        assert_no_end(&bytes);
        signed
    };
    let (reply, cut) = tokio::join!(whole, streamed);
    assert_no_receipt(&reply);
    fill_disk(host, false);
    let new_log = successor(&world, &old_log).await;
    for (payer, signed) in [(&payer, &unanswered), (&other, &cut)] {
        assert!(!payer.is_used(signed).await);
    }
    let (_, second) = sell(&payer, "after").await;
    payer.assert_paid(&[price, second]).await;
    other.assert_paid(&[]).await;
    assert_log(&world, &old_log, 1).await;
    assert_log(&world, &new_log, 1).await;
}

#[tokio::test]
async fn a_node_survives_several_dead_enclaves_and_chains_their_logs() {
    let world = Arc::new(World::start(&[]));
    let payer = Payer::funded(&world).await;
    let registry = candor_verify::Address::from_hex(&world.chain.text("registry")).unwrap();
    let mut log = world.node.text("log_id");
    let mut pid = world.node.pid_of("enclave_pid");
    for round in 0..3 {
        sell(&payer, &format!("round {round}")).await;
        assert_log(&world, &log, 1).await;
        signal("KILL", pid);
        let next = successor(&world, &log).await;
        let edge = world.client().await.successor_of(&registry, &Hash32::from_hex(&log).unwrap()).await.unwrap();
        assert_eq!(edge.map(|log| log.to_string()).as_ref(), Some(&next), "round {round}");
        log = next;
        pid = child_of(world.node.pid(), "enclave");
    }
    sell(&payer, "last").await;
}

/// The child of a process whose command line has this word.
fn child_of(parent: u32, word: &str) -> u32 {
    let is_it =
        |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.split('\0').any(|arg| arg == word));
    children_of(parent).into_iter().find(is_it).unwrap()
}

#[tokio::test]
async fn a_killed_host_loses_no_acknowledged_receipt_and_continues_the_same_log() {
    let mut split = Split::start().await;
    let world = Arc::clone(&split.world);
    let payer = Payer::funded(&world).await;
    let log = split.log_id().await;
    let (mut receipts, mut prices, mut trees) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..3_u64 {
        for name in ["a", "b"] {
            let (reply, price) = sell(&payer, &format!("{name} {round}")).await;
            receipts.push(reply.header("x-receipt-id").unwrap().to_owned());
            prices.push(price);
        }
        // Killed at once: what is acknowledged must be on the disk, published or not.
        split.kill_host();
        split.restart_host().await;
        assert_eq!(split.log_id().await, log, "the enclave lives, so does its log");
        for id in &receipts {
            let stored = get(&world.api(), &format!("/v1/receipts/{id}")).await;
            assert!(stored.status == 200 && !stored.json()["checkpoint"].is_null(), "{stored:?}");
        }
        trees.push(assert_log(&world, &log, receipts.len() as u64).await);
    }
    payer.assert_paid(&prices).await;
    let id = Hash32::from_hex(&log).unwrap();
    for pair in trees.windows(2) {
        let proof = plain::consistency(&world.log(), &id, pair[0].size, pair[1].size).await.unwrap();
        assert!(verify_consistency(&pair[0], &pair[1], &proof).is_ok(), "a fork between {pair:?}");
    }
}

#[tokio::test]
async fn a_host_killed_during_answers_charges_each_payer_at_most_once_and_only_with_a_receipt() {
    let mut split = Split::start().await;
    let world = Arc::clone(&split.world);
    let log = split.log_id().await;
    let mut payers = Vec::new();
    for at in 0..6 {
        let payer = Payer::funded(&world).await;
        let body = question(&format!("killed during {at}"), at % 2 == 0);
        let offered = Offered::of(&world.api(), &body).await;
        let signed = payer.pay(&offered);
        payers.push((payer, body, offered, signed));
    }
    let mut tasks = tokio::task::JoinSet::new();
    for (_, body, _, signed) in &payers {
        let (api, body, header) = (world.api(), body.to_string().into_bytes(), signed.header.clone());
        tasks.spawn(async move {
            let mut connection = Http::connect(&api).await.ok()?;
            let headers = [("content-type", "application/json"), ("payment-signature", header.as_str())];
            let response = connection.open(Method::POST, CHAT, &headers, body).await.ok()?;
            let whole = response.into_body().collect().await.ok()?;
            Some(whole.to_bytes())
        });
    }
    // Any moment will do: the rules hold at each.
    tokio::time::sleep(Duration::from_millis(15)).await;
    split.kill_host();
    while tasks.join_next().await.is_some() {}
    split.restart_host().await;
    assert_eq!(split.log_id().await, log);
    // Whoever asks again with the same payment gets an answer, or the word that it was taken.
    let mut charged = 0;
    for (payer, body, offered, signed) in &payers {
        let reply = eventually("an answer or a refusal", || async {
            let reply = chat(&world.api(), body, Some(&signed.header)).await;
            let is_in_flight = reply.status != 200 && reply.error_code() == "candor_payment_in_flight";
            (reply.status != 503 && !is_in_flight).then_some(reply)
        })
        .await;
        assert!([200, 402, 409].contains(&reply.status), "{reply:?}");
        if reply.status == 200 {
            payer.assert_pays(&[offered.amount()]).await;
        }
        charged += payer.world.transfers_from(&payer.address()).await.len() as u64;
        let left = payer.balance().await;
        assert!([crate::support::payer::FUNDS, crate::support::payer::FUNDS - offered.amount()].contains(&left), "{left}");
    }
    // One receipt per charge at least; receipts beyond that are of transfers still on their way.
    let tree = eventually("the log is published", || async { published(&world, &log).await.filter(|tree| charged <= tree.size) }).await;
    assert!(tree.size <= payers.len() as u64);
    let checked = world.check_log(&log);
    assert!(checked.code == 0 && checked.json["sound"] == true, "{checked:?}");
}

#[tokio::test]
async fn an_interrupted_serve_ends_with_everything_it_started() {
    let mut world = World::start(&[]);
    let pids = ["enclave_pid", "host_pid"].map(|key| world.node.pid_of(key));
    world.node.signal("INT");
    assert_eq!(world.node.wait(), Some(0));
    eventually("both halves end", || async { (!pids.iter().any(|pid| crate::support::process::is_alive(*pid))).then_some(()) }).await;
}

/// Waits until no process of these is left.
async fn all_end(pids: &[u32]) {
    eventually("every process ends", || async { (!pids.iter().any(|pid| crate::support::process::is_alive(*pid))).then_some(()) }).await;
}

#[tokio::test]
async fn both_halves_end_with_a_serve_that_was_killed_and_the_next_one_has_the_node() {
    let mut world = World::start(&[]);
    let pids = ["enclave_pid", "host_pid"].map(|key| world.node.pid_of(key));
    // Itself alone, and not its group.
    world.node.signal("KILL");
    assert_eq!(world.node.wait(), None);
    all_end(&pids).await;
    let (rpc, listen, log_listen) = (world.rpc(), world.api().replace("https://", ""), world.log().replace("http://", ""));
    world.node = Process::start(&world.state, &["serve", "--rpc", &rpc, "--listen", &listen, "--log-listen", &log_listen]);
    sell(&Payer::funded(&Arc::new(world)).await, "afterwards").await;
}

#[tokio::test]
async fn a_serve_that_is_terminated_or_hung_up_ends_with_everything_it_started() {
    for name in ["TERM", "HUP"] {
        let mut world = World::start(&[]);
        let pids = ["enclave_pid", "host_pid"].map(|key| world.node.pid_of(key));
        world.node.signal(name);
        assert_eq!(world.node.wait(), Some(0), "{name}");
        all_end(&pids).await;
    }
}

#[test]
fn what_a_test_under_nohup_starts_is_ended_by_a_hangup() {
    const UNDER_NOHUP: &str = "CANDOR_TEST_UNDER_NOHUP";
    if std::env::var_os(UNDER_NOHUP).is_none() {
        // This test again in a process that ignores the signal.
        let mut again = Command::new("nohup");
        again.arg(std::env::current_exe().unwrap()).args(["--exact", "faults::what_a_test_under_nohup_starts_is_ended_by_a_hangup"]);
        let ran = again.env(UNDER_NOHUP, "1").stdin(Stdio::null()).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
        assert!(String::from_utf8_lossy(&ran.stdout).contains("1 passed"), "{ran:?}");
        return;
    }
    let state = crate::support::process::new_directory();
    let mut chain = Process::start(&state, &["chain", "--port", "0"]);
    chain.signal("HUP");
    assert_eq!(chain.wait(), Some(0));
    std::fs::remove_dir_all(state).unwrap();
}

#[tokio::test]
async fn serve_starts_a_killed_host_again_and_its_log_goes_on() {
    let world = Arc::new(World::start(&[]));
    let payer = Payer::funded(&world).await;
    let log = world.node.text("log_id");
    sell(&payer, "before").await;
    signal("KILL", world.node.pid_of("host_pid"));
    eventually("the host is back", || async {
        let status = log_status(&world).await?;
        (status["log"]["id"] == *log && Http::connect(&world.api()).await.is_ok()).then_some(())
    })
    .await;
    sell(&payer, "after").await;
    assert_log(&world, &log, 2).await;
    let told = |line: &String| line.contains(" WARN  serve  the host ended (signal: 9 (SIGKILL);") && line.contains("starting it again");
    assert!(world.node.log().iter().any(told), "{:#?}", world.node.log());
}

#[tokio::test]
async fn a_second_serve_of_the_same_state_is_refused_and_the_first_goes_on() {
    let world = Arc::new(World::start(&[]));
    let payer = Payer::funded(&world).await;
    let terms = std::fs::read(world.state.join("node/terms.cbor")).unwrap();
    let rpc = world.rpc();
    let second = world.candor(&["serve", "--rpc", &rpc, "--listen", "127.0.0.1:0", "--log-listen", "127.0.0.1:0"]);
    let error = second.json["error"].as_str().unwrap();
    assert_eq!(second.code, 2, "{second:?}");
    for word in [&format!("process {}", world.node.pid()), "--state", "--listen", "--log-listen"] {
        assert!(error.contains(word), "{error}");
    }
    assert_eq!(std::fs::read(world.state.join("node/terms.cbor")).unwrap(), terms, "it touched nothing");
    sell(&payer, "still here").await;
    // The addresses are the first one's too, whatever the state.
    let other = crate::support::process::new_directory();
    let listen = world.api().replace("https://", "");
    let third = crate::support::process::run(&other, &["serve", "--rpc", &rpc, "--listen", &listen, "--log-listen", "127.0.0.1:0"]);
    assert!(third.code == 2 && third.json["error"].as_str().unwrap().contains("--listen"), "{third:?}");
    std::fs::remove_dir_all(other).unwrap();
}

#[tokio::test]
async fn whatever_ends_the_demo_its_four_processes_end_with_it() {
    for name in ["KILL", "TERM", "HUP", "INT"] {
        let state = crate::support::process::new_directory();
        let mut demo = Process::spawn(&state, "demo", &["demo"]);
        demo.line(|line| line.trim_start_matches([' ', '+', '✓']).starts_with("host "));
        let own = children_of(demo.pid());
        let all: Vec<u32> = own.iter().copied().chain(own.iter().flat_map(|pid| children_of(*pid))).collect();
        assert_eq!(all.len(), 4, "chain, serve, enclave, host: {all:?}");
        demo.signal(name);
        assert_eq!(demo.wait(), if name == "KILL" { None } else { Some(2) }, "{name}");
        all_end(&all).await;
        drop(std::fs::remove_dir_all(std::env::temp_dir().join(format!("candor-demo-{}", demo.pid()))));
        std::fs::remove_dir_all(state).unwrap();
    }
}

/// What servers say is not part of the story, so whoever needs it is told where it is.
#[tokio::test]
async fn a_demo_that_fails_says_where_its_servers_said_why() {
    let state = crate::support::process::new_directory();
    let mut demo = Process::spawn(&state, "demo", &["demo"]);
    demo.line(|line| line.trim_start_matches([' ', '+', '✓']).starts_with("host "));
    // The first that it started.
    signal("KILL", children_of(demo.pid()).into_iter().min().unwrap());
    assert_eq!(demo.wait(), Some(2));
    let said = std::fs::read_to_string(state.join("demo.err")).unwrap();
    let file = said.lines().find_map(|line| line.strip_prefix("what it said is in ")).unwrap_or_else(|| panic!("{said}"));
    assert!(!std::fs::read_to_string(file).unwrap().is_empty());
    std::fs::remove_dir_all(Path::new(file).parent().unwrap()).unwrap();
    std::fs::remove_dir_all(state).unwrap();
}

#[tokio::test]
async fn a_kept_demo_leaves_chain_and_node_to_their_own_signals() {
    let nowhere = crate::support::process::new_directory();
    let ran = crate::support::process::run(&nowhere, &["demo", "--keep", "Who are you?"]);
    assert_eq!((ran.code, &ran.json["outcome"], &ran.json["log_level"]), (0, &"verified".into(), &"ANCHORED".into()), "{ran:?}");
    assert_eq!(ran.json["lies_refused_by"].as_array().unwrap().len(), 10);
    let pids = ["node_pid", "chain_pid"].map(|key| u32::try_from(ran.json["kept"][key].as_u64().unwrap()).unwrap());
    let state = ran.json["state"].as_str().unwrap().to_owned();
    let asked = crate::support::process::run(
        Path::new(&state),
        &["ask", "Hi", "--rpc", ran.json["kept"]["rpc"].as_str().unwrap(), "--max-tokens", "4"],
    );
    let halves = children_of(pids[0]);
    pids.iter().for_each(|pid| signal("TERM", *pid));
    assert_eq!((asked.code, halves.len()), (0, 2), "{asked:?}");
    all_end(&[&pids[..], &halves].concat()).await;
    std::fs::remove_dir_all(state).unwrap();
    std::fs::remove_dir_all(nowhere).unwrap();
}
