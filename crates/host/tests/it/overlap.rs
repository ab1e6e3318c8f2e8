//! One boot takes over from another: in which order a host tells them, whom it leads clients to, and what it does when one of them does not answer.

use candor_host::{BootConfig, Host, HostError, ModelFile, Stage};
use candor_link::*;
use tokio::net::TcpStream;

use crate::support::running::Running;
use crate::support::world::MODEL;
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
    loop {
        match control.next_request().await {
            (id, HostRequest::Attest { .. }) => control.reply(id, EnclaveReply::Evidence(b"evidence".to_vec())).await,
            other => return other,
        }
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
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    running.host.begin(config.clone(), Stage::Coming).unwrap();
    let refused = running.host.begin(config, Stage::Coming).unwrap_err();
    assert!(matches!(&refused, HostError::Config(what) if what.contains("already")), "{refused}");
    let newer = Boot::new(&running.world, 2);
    let (mut new_control, request, _) = other.boot(&newer).await;
    // It continues the log of the one that goes on beside it.
    assert_eq!(request.predecessor.map(|named| named.log_id), Some(running.boot.log_id()));

    let (id, told) = next(&mut running.control).await;
    assert_eq!(told, HostRequest::HandOver);
    // New connections wait while it has not confirmed; none is led anywhere.
    let waiting = TcpStream::connect(running.host.client_address()).await.unwrap();
    let early = tokio::time::timeout(std::time::Duration::from_millis(300), next(&mut new_control)).await;
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
    let mut running = Running::start("no-confirm", |_| ()).await;
    let (other, config) = beside(&running);
    running.host.begin(config, Stage::Coming).unwrap();
    let (mut new_control, _, _) = other.boot(&Boot::new(&running.world, 2)).await;
    let (id, told) = next(&mut running.control).await;
    assert_eq!(told, HostRequest::HandOver);
    let refused = Refused::new(RefusalCode::Internal, "not now");
    running.control.reply(id, EnclaveReply::Refused(refused)).await;
    assert_led_to(&running.host, &running.enclave).await;
    // And asks again; the newer one has heard of nothing.
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
    running.host.begin(config, Stage::Coming).unwrap();
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
    running.host.begin(config, Stage::Coming).unwrap();
    running.host.end_beside();
}
