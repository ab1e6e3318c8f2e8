//! `candor upgrade`: a second boot takes over while buyers go on buying, and either may die on the way. Over the real program; a world per test.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use candor_verify::bundle::Bundle;
use candor_verify::bytes::Hash32;
use candor_verify::time::UnixSeconds;
use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::support::http::{CHAT, Http, Reply, chat};
use crate::support::payer::{Offered, Payer, Signed, assert_settled, buy, is_pending, now, question};
use crate::support::process::{PROGRAM, children_of, is_alive, signal};
use crate::support::split::log_status;
use crate::support::{Ran, World, eventually};

/// A world whose node reads a file, so that its terms can change: at this price per request.
fn priced(request: &str) -> World {
    World::start_after(&[], str::to_owned, |state, token| write_node(state, token, request, ""))
}

fn write_node(state: &Path, token: &str, request: &str, node: &str) {
    let text = format!(
        "version = 1\n\n[node]\n{node}\n[[asset]]\nsymbol = \"USDC\"\nchain_id = 31337\naddress = \"{token}\"\nname = \"USDC\"\nversion = \"2\"\n\
         decimals = 6\n\n[limits]\ngeneration_seconds = 20\n\n[[model]]\nid = \"candor-mini\"\n\n[[model.price]]\nasset = \"USDC\"\n\
         input = \"1\"\noutput = \"3\"\nrequest = \"{request}\"\n"
    );
    candor_client::write_private(&state.join("node.toml"), text.as_bytes()).unwrap();
}

/// Writes other prices and has the node take them.
fn upgrade(world: &World, request: &str, more: &[&str]) -> Ran {
    write_node(&world.state, &world.token().to_string(), request, "");
    world.candor(&[&["upgrade"][..], more].concat())
}

/// The boots of the host, the older one first.
async fn boots(world: &World) -> Vec<Value> {
    log_status(world).await.map(|status| status["boots"].as_array().unwrap().clone()).unwrap_or_default()
}

/// Waits until there is one boot that sells, and says which.
async fn alone(world: &World) -> Value {
    eventually("one boot sells and no other is there", || async {
        let boots = boots(world).await;
        let [boot] = &boots[..] else { return None };
        (boot["stage"] == "selling" && log_status(world).await?["open"] == true).then(|| boot.clone())
    })
    .await
}

/// The children of the node whose command line says this.
fn halves(world: &World, says: &str) -> Vec<u32> {
    let is_it = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().contains(says);
    children_of(world.node.pid()).into_iter().filter(is_it).collect()
}

/// The host that runs now.
fn host_of(world: &World) -> u32 {
    let [host] = halves(world, "\0host\0")[..] else { panic!("one host") };
    host
}

/// What the registry shows as the successor of a log.
async fn successor_of(world: &World, log_id: &str) -> Option<String> {
    let registry = candor_verify::Address::from_hex(&world.chain.text("registry")).unwrap();
    let edge = world.client().await.successor_of(&registry, &Hash32::from_hex(log_id).unwrap()).await.unwrap();
    edge.map(|log| log.to_string())
}

fn pid(ran: &Ran, key: &str) -> u32 {
    u32::try_from(ran.json[key].as_u64().unwrap_or_else(|| panic!("{ran:?}"))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn new_terms_are_taken_without_a_refused_sale_and_the_old_boot_ends_with_its_log_continued() {
    let world = Arc::new(priced("0.0001"));
    let old_log = world.node.text("log_id");
    let over = Arc::new(AtomicBool::new(false));
    let buyer = {
        let (world, over) = (Arc::clone(&world), Arc::clone(&over));
        std::thread::spawn(move || {
            let mut bundles = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let name = format!("Question {}", bundles.len());
                let ran = world.candor(&["ask", &name, "--rpc", &world.rpc(), "--max-tokens", "4"]);
                assert_eq!((ran.code, &ran.json["verdict"]["outcome"]), (0, &json!("verified")), "{ran:?}");
                bundles.push(PathBuf::from(ran.json["bundle"].as_str().unwrap()));
            }
            bundles
        })
    };
    eventually("the old boot has sold", || async { (log_status(&world).await?["log"]["anchored"] != 0).then_some(()) }).await;
    let ran = upgrade(&world, "0.0002", &["--wait"]);
    assert_eq!((ran.code, &ran.json["state"]), (0, &json!("drained")), "{ran:?}");
    let new_log = ran.json["log_id"].as_str().unwrap().to_owned();
    tokio::time::sleep(Duration::from_secs(2)).await;
    over.store(true, Ordering::Relaxed);
    let bundles = buyer.join().unwrap();

    // Every sale was answered, by the one or the other, each under its own terms; and each by the new one once it had begun.
    let read = |path: &PathBuf| Bundle::parse(&std::fs::read(path).unwrap()).unwrap();
    let logs: Vec<(String, u128)> = bundles
        .iter()
        .map(read)
        .map(|bundle| (bundle.delivery.receipt.log_id.to_string(), bundle.evidence.terms.terms.prices[0].ceiling.request.0))
        .collect();
    let begins = logs.iter().position(|(log, _)| *log == new_log).unwrap();
    assert!(begins != 0 && logs[..begins].iter().all(|row| *row == (old_log.clone(), 100)), "{logs:?}");
    assert!(logs[begins..].iter().all(|row| *row == (new_log.clone(), 200)), "{logs:?}");

    // The new log names the old one at a size that was anchored; what the old one got later is anchored too.
    let newest = read(bundles.last().unwrap());
    let manifest = &newest.evidence.manifest;
    assert_eq!((manifest.predecessor_log.to_string(), manifest.predecessor_size != 0), (old_log.clone(), true));
    assert_eq!(successor_of(&world, &old_log).await, Some(new_log.clone()));
    for path in &bundles {
        let verified = world.candor(&["verify", path.to_str().unwrap(), "--rpc", &world.rpc()]);
        assert_eq!((verified.code, &verified.json["log_level"]), (0, &json!("ANCHORED")), "{path:?}: {verified:?}");
    }
    let checked = world.check_log(&old_log);
    assert!(checked.code == 0 && checked.json["sound"] == true && checked.json["size"] == begins, "{checked:?}");

    // The old enclave is gone, and the node is one boot again, whose files are those in force.
    assert_eq!(alone(&world).await["log"]["id"], new_log.as_str());
    assert!(!is_alive(pid(&ran, "former_pid")) && is_alive(pid(&ran, "enclave_pid")));
    let shown = world.candor(&["prices", "show"]);
    assert_eq!(shown.json["prices"][0]["ceiling"]["request"], "0.000200", "{shown:?}");
    // And it may be upgraded again, at the first one's socket; also where a file cannot be written: both boots go on, and it is written later.
    let in_the_way = world.state.join("node/former-terms.cbor");
    std::fs::create_dir(&in_the_way).unwrap();
    let again = upgrade(&world, "0.0003", &["--wait"]);
    assert_eq!((again.code, &again.json["state"]), (0, &json!("drained")), "{again:?}");
    assert_eq!(successor_of(&world, &new_log).await.as_deref(), again.json["log_id"].as_str());
    world.node.logged(|line| line.contains("its files are not in force yet"));
    world.node.logged(|line| line.contains("the files of the boot that sells are in force"));
    let shown = world.candor(&["prices", "show"]);
    assert_eq!(shown.json["prices"][0]["ceiling"]["request"], "0.000300", "{shown:?}");
}

/// A question that the slow model does not end by itself for long.
const LONG: &str = "across the hand-over";

fn long() -> Value {
    let mut body = question(LONG, true);
    body["max_tokens"] = 1900.into();
    body
}

/// A streamed answer of a slow model, begun.
async fn open_stream(payer: &Payer) -> (Offered, Signed, Incoming) {
    let body = long();
    let offered = Offered::of(&payer.world.api(), &body).await;
    let signed = payer.pay(&offered);
    let mut connection = Http::connect(&payer.world.api()).await.unwrap();
    let response = connection.open(Method::POST, CHAT, &paid(&signed), body.to_string().into_bytes()).await.unwrap();
    assert_eq!(response.status(), 200);
    (offered, signed, response.into_body())
}

fn paid(signed: &Signed) -> [(&str, &str); 2] {
    [("content-type", "application/json"), ("payment-signature", signed.header.as_str())]
}

/// What a connection says to a question, with a payment or without.
async fn ask_on(connection: &mut Http, body: &Value, signed: Option<&Signed>) -> Reply {
    let headers = signed.map_or(vec![("content-type", "application/json")], |signed| paid(signed).to_vec());
    connection.send(Method::POST, CHAT, &headers, body.to_string().into_bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_runs_across_the_hand_over_and_an_offer_of_the_old_boot_is_honoured_by_it() {
    let world = Arc::new(World::slow(&[]));
    let payer = Payer::funded(&world).await;
    let old_log = world.node.text("log_id");
    let (offered, running, stream) = open_stream(&payer).await;
    // Connections of clients that asked the old boot, and have not paid yet.
    let body = question("an offer of the old boot", false);
    let mut connections = Vec::new();
    for _ in 0..3 {
        connections.push(Http::connect(&world.api()).await.unwrap());
    }
    let offer = Offered::read(&ask_on(&mut connections[0], &body, None).await);
    // One that is quiet for a quarter of a minute is closed.
    for other in &mut connections[1..] {
        assert_eq!(other.send(Method::GET, "/health", &[], Vec::new()).await.status, 200);
    }

    let ran = world.candor(&["upgrade"]);
    assert_eq!((ran.code, &ran.json["state"]), (0, &json!("handed_over")), "{ran:?}");
    let new_log = ran.json["log_id"].as_str().unwrap().to_owned();
    let both: Vec<_> = boots(&world).await.iter().map(|boot| (boot["stage"].clone(), boot["log"]["id"].clone())).collect();
    assert_eq!(both, [(json!("draining"), json!(old_log)), (json!("selling"), json!(new_log))]);
    eventually("the older one says for what it waits", || async { (boots(&world).await[0]["waits_for"] == "answers").then_some(()) }).await;
    let refused = world.candor(&["upgrade"]);
    assert!(refused.code == 2 && refused.json["error"].as_str().unwrap().contains("one upgrade at a time"), "{refused:?}");
    let shown = world.candor(&["status"]);
    assert_eq!(shown.json["host"]["boots"][0]["waits_for"], "answers", "{shown:?}");

    // The old boot makes no new offer, and takes no payment that names no boot; what it offered it keeps.
    for signed in [None, Some(payer.pay_stock(&offer))] {
        let mut connection = connections.pop().unwrap();
        let told = ask_on(&mut connection, &body, signed.as_ref()).await;
        assert_eq!((told.status, told.error_code().as_str()), (503, "candor_boot_handed_over"), "{told:?}");
        assert_eq!((told.header("retry-after"), told.header("connection")), (Some("1"), Some("close")));
    }
    let bound = payer.pay(&offer);
    let mut reply = ask_on(&mut connections[0], &body, Some(&bound)).await;
    if is_pending(&reply) {
        // By now the new boot has what the old one made.
        reply = buy(&world.api(), &body, &bound.header).await;
    }
    assert_settled(&reply);
    drop(connections);
    // A stock payment that the old boot could have taken is not taken by the new one.
    let stock = payer.pay_but(&Offered::of(&world.api(), &body).await, |draft| {
        draft.extensions = Value::Null;
        draft.authorization.valid_before = UnixSeconds(now() + 300);
    });
    let early = chat(&world.api(), &body, Some(&stock.header)).await;
    assert_eq!((early.status, early.error_code().as_str()), (402, "candor_not_this_boot"), "{early:?}");

    // Nor is whoever lost its connection to the old boot asked for another payment, while that one is at work for it.
    let told = chat(&world.api(), &long(), Some(&running.header)).await;
    assert_eq!((told.status, told.error_code().as_str()), (409, "candor_payment_in_flight"), "{told:?}");

    let whole = stream.collect().await.unwrap().to_bytes();
    assert!(whole.ends_with(b"data: [DONE]\n\n"));
    let mut amounts = eventually("both are paid", || async {
        let made = world.transfers_from(&payer.address()).await;
        (1 < made.len()).then_some(made)
    })
    .await;
    amounts.sort_unstable();
    assert_eq!(amounts, [offer.amount(), offered.amount()], "each once");
    // Whoever lost the answer of the old boot has it from the new one, also when the old one has gone.
    assert_eq!(alone(&world).await["log"]["id"], json!(new_log));
    assert_eq!(buy(&world.api(), &body, &bound.header).await.header("x-candor-answer-recovery"), Some("kept"));
    // Its process ends a moment after it is in no list any more.
    eventually("the old process has gone", || async { (!is_alive(pid(&ran, "former_pid"))).then_some(()) }).await;
    let checked = world.check_log(&old_log);
    assert_eq!((checked.code, &checked.json["sound"], &checked.json["size"]), (0, &json!(true), &json!(2)), "{checked:?}");
    // Sold by the new one, which nothing was sold by before.
    let third = question("and now", false);
    buy(&world.api(), &third, &payer.pay(&Offered::of(&world.api(), &third).await).header).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_boot_or_the_host_may_die_while_it_drains_and_the_new_one_sells_on() {
    let world = Arc::new(World::slow(&[]));
    let payer = Payer::funded(&world).await;
    // The old boot: what it was making is lost, and was not charged.
    let (_, lost, stream) = open_stream(&payer).await;
    let first = world.candor(&["upgrade"]);
    assert_eq!(first.code, 0, "{first:?}");
    let older = boots(&world).await[0].clone();
    signal("KILL", pid(&first, "former_pid"));
    let ended = stream.collect().await.map(|whole| whole.to_bytes());
    let text = ended.as_ref().map(|bytes| String::from_utf8_lossy(bytes.get(bytes.len().saturating_sub(300)..).unwrap_or_default()));
    assert!(ended.is_err(), "it ends without its last frame: {older} {text:?}");
    let first_log = alone(&world).await["log"]["id"].clone();
    assert_eq!(first_log, first.json["log_id"]);
    assert!(!payer.is_used(&lost).await);
    payer.assert_paid(&[]).await;
    let logged = world.node.logged(|line| line.contains("the enclave that has handed over, before it was done"));
    assert!(logged.contains("WARN"), "{logged}");

    // The host: it comes back with both, and the old one still drains, or is done by then.
    let (offered, running, stream) = open_stream(&payer).await;
    let second = world.candor(&["upgrade"]);
    assert_eq!(second.code, 0, "{second:?}");
    signal("KILL", host_of(&world));
    assert!(stream.collect().await.is_err(), "its bytes went through the host");
    // Whoever comes with its payment then meets the new boot, which knows nothing of it, and a host that has forgotten: nobody is told to pay anew,
    // while the old boot may be at work for it or after. What it made is kept, if it was whole.
    let told = eventually("the old boot has executed it", || async {
        // Not while there is no host.
        let mut connection = Http::connect(&world.api()).await.ok()?;
        let reply = connection.try_send(Method::POST, CHAT, &paid(&running), long().to_string().into_bytes()).await.ok()?;
        match reply.status {
            409 => (reply.error_code() == "candor_payment_already_executed").then_some(reply),
            200 => Some(reply),
            _ => panic!("{reply:?}"),
        }
    })
    .await;
    assert!(told.status == 409 || told.header("x-candor-answer-recovery") == Some("kept"), "{told:?}");
    // What was handed over until then has its receipt, and is charged once.
    eventually("the old boot logs it with the new host, and ends", || async {
        world.node.log().iter().any(|line| line.contains("has nothing left to do")).then_some(())
    })
    .await;
    assert_eq!(alone(&world).await["log"]["id"], second.json["log_id"]);
    let checked = world.check_log(first_log.as_str().unwrap());
    assert_eq!((checked.code, &checked.json["sound"], &checked.json["size"]), (0, &json!(true), &json!(1)), "{checked:?}");
    payer.assert_pays(&[offered.amount()]).await;
    let asked = world.candor(&["ask", "Hi", "--rpc", &world.rpc(), "--max-tokens", "4"]);
    assert_eq!(asked.code, 0, "{asked:?}");

    // `serve` hears of the hand-over from a host that is gone by then, and tells the next one of it: nothing is handed over twice.
    let handed_over = || world.node.log().iter().filter(|line| line.contains("has handed over to log")).count();
    let (before, (_, _, stream)) = (handed_over(), open_stream(&payer).await);
    let asking = {
        let world = Arc::clone(&world);
        std::thread::spawn(move || world.candor(&["upgrade"]))
    };
    let stages = || async { boots(&world).await.iter().map(|boot| boot["stage"].as_str().unwrap().to_owned()).collect::<Vec<_>>() };
    eventually("a new boot is on its way", || async { (stages().await.len() == 2).then_some(()) }).await;
    let host = host_of(&world);
    signal("STOP", world.node.pid());
    eventually("it sells", || async { (stages().await == ["draining", "selling"]).then_some(()) }).await;
    signal("KILL", host);
    signal("CONT", world.node.pid());
    let third = asking.join().unwrap();
    assert_eq!((third.code, &third.json["state"]), (0, &json!("handed_over")), "{third:?}");
    drop(stream);
    assert_eq!(alone(&world).await["log"]["id"], third.json["log_id"]);
    assert_eq!(handed_over(), before + 1);

    // A host that comes back and cannot drive the old one: that one is ended, and the new one sells on.
    let (_, _, stream) = open_stream(&payer).await;
    let fourth = world.candor(&["upgrade"]);
    assert_eq!(fourth.code, 0, "{fourth:?}");
    std::fs::remove_file(world.state.join("node/former-terms.cbor")).unwrap();
    signal("KILL", host_of(&world));
    assert!(stream.collect().await.is_err(), "its bytes went through the host");
    eventually("the old one is ended", || async { (!is_alive(pid(&fourth, "former_pid"))).then_some(()) }).await;
    assert_eq!(alone(&world).await["log"]["id"], fourth.json["log_id"]);
    let asked = world.candor(&["ask", "Hi", "--rpc", &world.rpc(), "--max-tokens", "4"]);
    assert_eq!(asked.code, 0, "{asked:?}");

    // Both end with the node, in the middle of another.
    let (_, _, _stream) = open_stream(&payer).await;
    assert_eq!(world.candor(&["upgrade"]).code, 0);
    let all = children_of(world.node.pid());
    drop(payer);
    let mut world = Arc::into_inner(world).unwrap();
    world.node.signal("TERM");
    assert_eq!(world.node.wait(), Some(0));
    assert!(2 < all.len() && all.iter().all(|pid| !is_alive(*pid)), "{all:?}");
    assert!(!world.state.join("node/serve.sock").exists());
}

/// Linux's `O_NONBLOCK`: a pipe that nobody reads is not opened, and not waited for.
const NONBLOCKING: i32 = 0o4000;

#[tokio::test(flavor = "multi_thread")]
async fn a_new_boot_that_is_not_registered_never_takes_over_whatever_dies_meanwhile() {
    let world = Arc::new(priced("0.0001"));
    let (log, enclave) = (world.node.text("log_id"), world.node.pid_of("enclave_pid"));
    let body = question("a buyer of the new release", false);
    let before = Offered::of(&world.api(), &body).await;
    let sells = || {
        let asked = world.candor(&["ask", "Hi", "--rpc", &world.rpc(), "--max-tokens", "4"]);
        assert_eq!((asked.code, &asked.json["charged"]), (0, &json!("117")), "{asked:?}");
    };
    // A program that is none.
    let failed = upgrade(&world, "0.0002", &["--program", "/bin/false"]);
    let told = |ran: &Ran| ran.json["error"].as_str().unwrap_or_default().to_owned();
    assert!(failed.code == 2 && told(&failed).contains("its enclave ended") && told(&failed).contains("sells on"), "{failed:?}");
    assert_eq!(alone(&world).await["log"]["id"], json!(log));
    sells();
    // Files that are none change nothing either.
    for arguments in [["--terms", "/nowhere"], ["--program", "/nowhere"]] {
        let refused = upgrade(&world, "0.0002", &arguments);
        assert!(refused.code == 2 && told(&refused).contains("nothing was changed"), "{refused:?}");
    }

    // While one is prepared, which takes as long as its files do, the node goes on, and nobody begins another.
    let pipe = world.state.join("terms.pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let asking = {
        let (world, pipe) = (Arc::clone(&world), pipe.clone());
        std::thread::spawn(move || world.candor(&["upgrade", "--terms", pipe.to_str().unwrap()]))
    };
    // There is no writer before there is a reader.
    let mut terms =
        eventually("its terms are read", || async { std::fs::OpenOptions::new().write(true).custom_flags(NONBLOCKING).open(&pipe).ok() })
            .await;
    let second = upgrade(&world, "0.0001", &["--program", "/bin/false"]);
    assert!(second.code == 2 && told(&second).contains("being prepared"), "{second:?}");
    let host = host_of(&world);
    signal("KILL", host);
    eventually("another host", || async { (log_status(&world).await?["open"] == true && !is_alive(host)).then_some(()) }).await;
    sells();
    terms.write_all(b"no terms").unwrap();
    drop(terms);
    let refused = asking.join().unwrap();
    assert!(refused.code == 2 && told(&refused).contains("terms"), "{refused:?}");
    sells();

    // A release that this node's own policy does not accept is never registered.
    let program = world.state.join("candor-other");
    std::fs::copy(PROGRAM, &program).unwrap();
    std::fs::OpenOptions::new().append(true).open(&program).unwrap().write_all(b"another release").unwrap();
    let program = program.to_str().unwrap().to_owned();
    write_node(&world.state, &world.token().to_string(), "0.0002", "policy = \"node/own-policy.toml\"");
    let asking = {
        let (world, program) = (Arc::clone(&world), program.clone());
        std::thread::spawn(move || world.candor(&["upgrade", "--program", &program]))
    };
    let on_its_way = || async {
        let status = log_status(&world).await?;
        let boots = status["boots"].as_array().unwrap();
        let stages: Vec<_> = boots.iter().map(|boot| (boot["stage"].as_str().unwrap(), boot["phase"].as_str().unwrap())).collect();
        let is_refused = status["troubles"]["registration"].is_string();
        (stages == [("selling", "ready"), ("coming", "ready")] && is_refused && status["open"] == true).then_some(())
    };
    eventually("the new boot is not registered", on_its_way).await;
    sells();
    let second = world.candor(&["upgrade"]);
    assert!(second.code == 2 && told(&second).contains("on its way to take over already"), "{second:?}");
    // The host comes back with both.
    let host = host_of(&world);
    signal("KILL", host);
    eventually("another host", || async { halves(&world, "\0host\0").iter().any(|other| *other != host).then_some(()) }).await;
    eventually("it has both", on_its_way).await;
    sells();
    // Its enclave ends: the node sells on, and whoever asked is told.
    let [other] = halves(&world, "candor-other")[..] else { panic!("one enclave of the other program") };
    signal("KILL", other);
    let failed = asking.join().unwrap();
    assert!(failed.code == 2 && told(&failed).contains("its enclave ended"), "{failed:?}");
    assert_eq!(alone(&world).await["log"]["id"], json!(log));
    assert!(is_alive(enclave) && !world.state.join("node/next-in-force.toml").exists());
    sells();

    // Where the operator leaves it to the node, the new release takes over; and no buyer accepts it before its policy does.
    let ran = upgrade(&world, "0.0002", &["--program", &program, "--wait"]);
    assert_eq!((ran.code, &ran.json["state"]), (0, &json!("drained")), "{ran:?}");
    assert!(!is_alive(enclave) && halves(&world, "candor-other") == [pid(&ran, "enclave_pid")]);
    let asked = world.candor(&["ask", "Hi", "--rpc", &world.rpc(), "--max-tokens", "4"]);
    // It found the new boot and refused it, and the old one is not to be had any more.
    assert!(asked.code != 0 && told(&asked).contains("refused policy.workload"), "{asked:?}");
    let offered = Offered::of(&world.api(), &body).await;
    assert_eq!(offered.amount(), before.amount() + 100, "by the new terms, of which the price per request alone is another");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_old_boot_may_have_handed_over_and_the_new_one_goes_the_node_begins_anew() {
    let world = Arc::new(priced("0.0001"));
    let (log, enclave) = (world.node.text("log_id"), world.node.pid_of("enclave_pid"));
    let asking = {
        let world = Arc::clone(&world);
        std::thread::spawn(move || upgrade(&world, "0.0002", &[]))
    };
    let [new] = eventually("a new boot is on its way", || async {
        <[u32; 1]>::try_from(halves(&world, "\0enclave\0").into_iter().filter(|pid| *pid != enclave).collect::<Vec<_>>()).ok()
    })
    .await;
    // It hears nothing any more, as far as anybody can tell.
    signal("STOP", enclave);
    world.node.logged(|line| line.contains("is told to hand over"));
    signal("KILL", new);
    let failed = asking.join().unwrap();
    assert!(failed.code == 2 && failed.json["error"].as_str().unwrap().contains("begins anew"), "{failed:?}");
    let next = alone(&world).await["log"]["id"].clone();
    assert!(next != json!(log) && !is_alive(enclave));
    let asked = world.candor(&["ask", "Hi", "--rpc", &world.rpc(), "--max-tokens", "4"]);
    assert_eq!((asked.code, &asked.json["charged"]), (0, &json!("117")), "it sells, as before: {asked:?}");
    // And may be upgraded.
    let ran = upgrade(&world, "0.0002", &["--wait"]);
    assert_eq!((ran.code, &ran.json["state"]), (0, &json!("drained")), "{ran:?}");
}
