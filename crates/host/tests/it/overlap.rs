//! One boot takes over from another: in which order a host tells them, whom it leads clients to, and what it does when one of them does not answer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use candor_host::{BootConfig, Host, HostConfig, HostError, ModelFile, Notice, Stage};
use candor_link::*;
use candor_verify::Hash32;
use tokio::net::TcpStream;

use crate::answers::{kept, piece};
use crate::support::running::Running;
use crate::support::world::{MODEL, World};
use crate::support::*;

/// A boot beside the one of this host, at a socket of its own.
fn beside(running: &Running) -> (FakeEnclave, BootConfig) {
    let enclave = FakeEnclave::listen_at(&running.scratch, "other.sock");
    let mut config = BootConfig::new(enclave.socket.clone(), running.world.terms().encode());
    config.models = vec![ModelFile { digest: MODEL, path: running.scratch.path().join("model.bin") }];
    (enclave, config)
}

/// What the enclave that sells is asked next, but for what it is asked at any time.
async fn next(control: &mut Control) -> (u64, HostRequest) {
    let next = async {
        loop {
            match control.next_request().await {
                (id, HostRequest::Attest { .. }) => control.reply(id, EnclaveReply::Evidence(b"evidence".to_vec())).await,
                other => return other,
            }
        }
    };
    // Not as long as the host goes on to ask whether it is there.
    tokio::time::timeout(PATIENCE, next).await.expect("it is asked something")
}

/// Where the notices of a host go.
fn noting(config: &mut HostConfig) -> Arc<Mutex<Vec<Notice>>> {
    let notices = Arc::<Mutex<Vec<Notice>>>::default();
    let sink = Arc::clone(&notices);
    config.notices = Arc::new(move |notice| sink.lock().unwrap().push(notice.clone()));
    notices
}

/// A host that is started again beside a boot that drains, which listens at the socket of [`beside`].
fn drains_beside(config: &mut HostConfig) {
    let mut other = config.boot.clone();
    other.enclave_socket.set_file_name("other.sock");
    config.beside = Some((Stage::Draining, Ok(other)));
}

/// Nobody is led anywhere, though somebody wants to be.
async fn assert_nobody_is_led(host: &Host, enclave: &FakeEnclave) -> TcpStream {
    let waiting = TcpStream::connect(host.client_address()).await.unwrap();
    let led = tokio::time::timeout(Duration::from_millis(300), enclave.accept()).await;
    assert!(led.is_err());
    waiting
}

/// What the host says of a payment of which it knows nothing.
async fn about_a_payment(control: &mut Control, number: u8) -> SettlementState {
    match control.call(EnclaveRequest::AwaitSettlement { payment_id: Hash32([number; 32]), timeout_ms: 0 }).await {
        HostReply::Settlement(state) => state,
        other => panic!("{other:?}"),
    }
}

/// Whether a new connection of a client reaches this enclave.
async fn assert_led_to(host: &Host, enclave: &FakeEnclave) {
    let client = TcpStream::connect(host.client_address()).await.unwrap();
    assert!(matches!(enclave.accept().await.0, candor_link::Role::Client(_)));
    drop(client);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_boot_confirms_before_the_newer_one_is_told_and_the_door_opens_after_both() {
    let mut running = Running::start("hand-over", |_| ()).await;
    let (other, config) = beside(&running);
    assert_led_to(&running.host, &running.enclave).await;
    while running.json("/status").await["registered"] != true {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    running.host.begin(config.clone()).unwrap();
    let refused = running.host.begin(config).unwrap_err();
    assert!(matches!(&refused, HostError::Config(what) if what.contains("already")), "{refused}");
    let newer = Boot::new(&running.world, 2);
    let (mut new_control, request, _) = other.boot(&newer).await;
    // It continues the log of the one that goes on beside it.
    assert_eq!(request.predecessor.map(|named| named.log_id), Some(running.boot.log_id()));

    let (id, told) = next(&mut running.control).await;
    assert_eq!(told, HostRequest::HandOver);
    // New connections wait while it has not confirmed; none is led anywhere.
    let waiting = TcpStream::connect(running.host.client_address()).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(300), next(&mut new_control)).await;
    assert!(early.is_err(), "{early:?}");
    running.control.reply(id, EnclaveReply::HandedOver { is_idle: false }).await;
    let (id, told) = next(&mut new_control).await;
    assert_eq!(told, HostRequest::TakeOver);
    new_control.reply(id, EnclaveReply::Done).await;
    let (role, led) = other.accept().await;
    assert!(matches!(role, candor_link::Role::Client(_)));

    // It is asked until nothing is left to do, and let go then.
    for is_idle in [false, true] {
        let (id, asked) = next(&mut running.control).await;
        assert_eq!(asked, HostRequest::HandOver);
        running.control.reply(id, EnclaveReply::HandedOver { is_idle }).await;
    }
    while running.control.next().await.is_some() {}
    let status = running.json("/status").await;
    assert_eq!((status["boots"].as_array().unwrap().len(), &status["boots"][0]["stage"]), (1, &"selling".into()), "{status}");
    drop((waiting, led));
    assert_led_to(&running.host, &other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_older_boot_does_not_confirm_it_sells_on() {
    let mut notices = Arc::default();
    let mut running = Running::start("no-confirm", |config| notices = noting(config)).await;
    let (other, config) = beside(&running);
    running.host.begin(config).unwrap();
    let (mut new_control, _, _) = other.boot(&Boot::new(&running.world, 2)).await;
    let (id, told) = next(&mut running.control).await;
    assert_eq!(told, HostRequest::HandOver);
    // Before it could hear it: it may sell nothing more from then on, whatever the host hears of it, and whoever started both has to know.
    let is_said = |notice: &&Notice| matches!(notice, Notice::HandingOver { log_id } if *log_id == running.boot.log_id());
    let said = |notices: &Mutex<Vec<Notice>>| notices.lock().unwrap().iter().filter(is_said).count();
    assert_eq!(said(&notices), 1);
    let refused = Refused::new(RefusalCode::Internal, "not now");
    running.control.reply(id, EnclaveReply::Refused(refused)).await;
    assert_led_to(&running.host, &running.enclave).await;
    // And asks again, or if it says nothing; the newer one has heard of nothing.
    let (_, told) = next(&mut running.control).await;
    assert_eq!(told, HostRequest::HandOver);
    assert_led_to(&running.host, &running.enclave).await;
    assert_eq!(said(&notices), 1, "once is enough");
    let (id, told) = next(&mut running.control).await;
    assert_eq!(told, HostRequest::HandOver);
    running.control.reply(id, EnclaveReply::HandedOver { is_idle: true }).await;
    let (id, told) = next(&mut new_control).await;
    assert_eq!(told, HostRequest::TakeOver);
    new_control.reply(id, EnclaveReply::Done).await;
    assert_led_to(&running.host, &other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_boot_that_goes_before_it_sells_leaves_the_older_one_selling() {
    let mut running = Running::start("goes", |config| config.serve_unregistered = true).await;
    let (other, config) = beside(&running);
    running.host.begin(config).unwrap();
    let mut control = other.control(Phase::AwaitingTerms).await;
    let (id, _) = control.next_request().await;
    let refused = Refused::new(RefusalCode::TermsRefused, "no");
    control.reply(id, EnclaveReply::Refused(refused)).await;
    while control.next().await.is_some() {}
    assert_led_to(&running.host, &running.enclave).await;
    let status = running.json("/status").await;
    assert_eq!(status["boots"].as_array().unwrap().len(), 1, "{status}");
    // There is room for another.
    let (_other, config) = beside(&running);
    running.host.begin(config).unwrap();
    running.host.end_beside();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_stops_waits_for_no_boot_that_does_not_confirm() {
    let mut running = Running::start("stops", |_| ()).await;
    let (other, config) = beside(&running);
    running.host.begin(config).unwrap();
    let _control = other.boot(&Boot::new(&running.world, 2)).await;
    assert_eq!(next(&mut running.control).await.1, HostRequest::HandOver);
    // Less than it gives a boot to confirm.
    tokio::time::timeout(Duration::from_millis(1_500), running.host.stop()).await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_started_again_in_a_drain_knows_of_both_before_it_leads_or_tells_anybody() {
    let mut running = Running::start("again", drains_beside).await;
    // The host before may have ended before the one that sells was told.
    let (id, told) = next(&mut running.control).await;
    assert_eq!(told, HostRequest::TakeOver);
    let waiting = assert_nobody_is_led(&running.host, &running.enclave).await;
    running.control.reply(id, EnclaveReply::Done).await;
    assert!(matches!(running.enclave.accept().await.0, Role::Client(_)));
    drop(waiting);
    // What the older boot asked the host before is not known: it may be at work for any payment, also before it has connected.
    assert_eq!(about_a_payment(&mut running.control, 7).await, SettlementState::Pending { tx_hash: None });
    let (other, _) = beside(&running);
    let older = Boot::new(&running.world, 2);
    let mut control = other.control(Phase::Ready(Box::new(older.ready()))).await;
    let (id, told) = next(&mut control).await;
    assert_eq!(told, HostRequest::HandOver, "before anything else");
    control.reply(id, EnclaveReply::HandedOver { is_idle: true }).await;
    let (id, _) = next(&mut control).await;
    control.reply(id, EnclaveReply::HandedOver { is_idle: true }).await;
    while control.next().await.is_some() {}
    let unknown = SettlementState::Failed { code: SettlementFailure::Unknown };
    assert_eq!(about_a_payment(&mut running.control, 7).await, unknown, "it has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_boot_asked_another_host_before_it_handed_over_is_not_known_to_this_one() {
    let world = Arc::new(World::start().await);
    let scratch = Scratch::new("before");
    let (enclave, other) = (FakeEnclave::listen(&scratch), FakeEnclave::listen_at(&scratch, "other.sock"));
    let config = config(&world, &scratch, &enclave.socket, b"weights");
    let beside = BootConfig { enclave_socket: other.socket.clone(), ..config.boot.clone() };
    let mut host = Host::start(config).await.unwrap();
    // It was booted by a host before this one.
    let mut control = enclave.control(Phase::Ready(Box::new(Boot::new(&world, 1).ready()))).await;
    assert_led_to(&host, &enclave).await;
    host.begin(beside).unwrap();
    let (mut new_control, _, _) = other.boot(&Boot::new(&world, 2)).await;
    let (id, told) = next(&mut control).await;
    assert_eq!(told, HostRequest::HandOver);
    control.reply(id, EnclaveReply::HandedOver { is_idle: false }).await;
    let (id, told) = next(&mut new_control).await;
    assert_eq!(told, HostRequest::TakeOver);
    new_control.reply(id, EnclaveReply::Done).await;
    assert_eq!(about_a_payment(&mut new_control, 7).await, SettlementState::Pending { tx_hash: None });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_boot_that_begins_beside_one_that_drains_is_told_so_and_ends_nothing_of_it() {
    let mut running = Running::start("anew", drains_beside).await;
    let (id, told) = next(&mut running.control).await;
    assert_eq!(told, HostRequest::TakeOver);
    running.control.reply(id, EnclaveReply::Done).await;
    // The one that drains is about to store an answer with its receipt when it loses its connection.
    let (other, _) = beside(&running);
    let mut older = Boot::new(&running.world, 2);
    let mut control = other.control(Phase::Ready(Box::new(older.ready()))).await;
    let (id, _) = next(&mut control).await;
    control.reply(id, EnclaveReply::HandedOver { is_idle: false }).await;
    let (entry, settlement, blob) = kept(&mut older, 1, 9, 300);
    assert_eq!(control.append(0, vec![entry]).await, HostReply::Appended { size: 1 });
    let stored = control.call(EnclaveRequest::StoreAnswer(piece(9, &blob, 0, blob.len()))).await;
    assert!(matches!(stored, HostReply::AnswerStored { .. }), "{stored:?}");
    drop(control);
    while running.json("/status").await["boots"][0]["log"] != serde_json::Value::Null {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    // Meanwhile the one that sells dies, and another boots in its place.
    drop(running.control);
    let newer = Boot::new(&running.world, 3);
    let (mut control, _, _) = running.enclave.boot(&newer).await;
    let (id, told) = next(&mut control).await;
    assert_eq!(told, HostRequest::TakeOver);
    let _waiting = assert_nobody_is_led(&running.host, &running.enclave).await;
    control.reply(id, EnclaveReply::Done).await;
    assert!(matches!(running.enclave.accept().await.0, Role::Client(_)));

    let mut control = other.control(Phase::Ready(Box::new(older.ready()))).await;
    let (id, _) = next(&mut control).await;
    control.reply(id, EnclaveReply::HandedOver { is_idle: false }).await;
    let stored = control.checkpoint(0, older.checkpoint(), vec![settlement]).await;
    assert!(matches!(stored, HostReply::CheckpointStored(_)), "its leaf and its answer are there: {stored:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_boot_that_drains_for_too_long_or_is_refused_is_let_go_with_a_word_and_the_other_sells_on() {
    for is_refused in [false, true] {
        let mut notices = Arc::default();
        let mut running = Running::start("too-long", |config| {
            drains_beside(config);
            config.timing.drain = Duration::from_millis(300);
            notices = noting(config);
        })
        .await;
        let (id, told) = next(&mut running.control).await;
        assert_eq!(told, HostRequest::TakeOver);
        running.control.reply(id, EnclaveReply::Done).await;
        let (other, _) = beside(&running);
        let older = Boot::new(&running.world, 2);
        if is_refused {
            let mut control = other.control(Phase::AwaitingTerms).await;
            let (id, _) = control.next_request().await;
            control.reply(id, EnclaveReply::Refused(Refused::new(RefusalCode::TermsRefused, "no"))).await;
            while control.next().await.is_some() {}
        } else {
            let mut control = other.control(Phase::Ready(Box::new(older.ready()))).await;
            while let Some(message) = control.next().await {
                let ToEnclave::Request { id, request } = message else { continue };
                let reply = match request {
                    HostRequest::HandOver => EnclaveReply::HandedOver { is_idle: false },
                    HostRequest::Attest { .. } => EnclaveReply::Evidence(b"evidence".to_vec()),
                    _ => EnclaveReply::Done,
                };
                control.reply(id, reply).await;
            }
        }
        let is_said = |notice: &Notice| match is_refused {
            true => matches!(notice, Notice::BootRefused { .. }),
            false => matches!(notice, Notice::Drained { still: Some("answers"), .. }),
        };
        let said = async {
            while !notices.lock().unwrap().iter().any(is_said) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, said).await.expect("it is said");
        assert_eq!(running.json("/status").await["boots"].as_array().map(Vec::len), Some(1));
        assert_led_to(&running.host, &running.enclave).await;
        assert!(tokio::time::timeout(Duration::from_millis(100), running.host.ended()).await.is_err(), "it goes on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_boot_that_drains_and_cannot_be_driven_is_refused_and_the_other_is_told_that_it_takes_over() {
    let mut notices = Arc::default();
    let mut running = Running::start("cannot", |config| {
        config.beside = Some((Stage::Draining, Err("no file".to_owned())));
        notices = noting(config);
    })
    .await;
    assert!(notices.lock().unwrap().contains(&Notice::BootRefused { message: "no file".to_owned() }));
    let (id, told) = next(&mut running.control).await;
    assert_eq!(told, HostRequest::TakeOver);
    running.control.reply(id, EnclaveReply::Done).await;
    assert_led_to(&running.host, &running.enclave).await;
}
