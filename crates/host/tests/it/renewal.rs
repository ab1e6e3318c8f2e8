//! What the registry is shown of a boot, while it runs and after it has gone.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::world::World;
use crate::support::{Boot, FakeEnclave, PATIENCE, Scratch, WorldRegistrar, config};
use candor_chain::retire_calldata;
use candor_host::{Host, HostConfig};
use candor_link::{EnclaveReply, EnclaveRequest, HostRequest, ToEnclave};

/// Those that were given to renew a boot that has gone.
type Shown = Arc<Mutex<Vec<Vec<u8>>>>;

fn configured(world: &Arc<World>, scratch: &Scratch, enclave: &FakeEnclave) -> (HostConfig, Shown) {
    let mut config = config(world, scratch, &enclave.socket, b"weights");
    let shown = Shown::default();
    config.boot.registrar = Arc::new(WorldRegistrar(Arc::clone(world), Arc::clone(&shown)));
    config.timing.attest = Duration::from_millis(50);
    (config, shown)
}

fn times(shown: &Shown, evidence: &[u8]) -> usize {
    shown.lock().unwrap().iter().filter(|one| *one == evidence).count()
}

async fn until_shown(shown: &Shown, evidence: &[u8], expected: usize) {
    let look = async {
        while times(shown, evidence) < expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("shown to the registry");
}

/// The last hours of a dead enclave are valid only by its last document, and nobody else may have it.
#[tokio::test]
async fn the_last_evidence_of_an_enclave_that_has_gone_is_shown_to_the_registry() {
    let world = Arc::new(World::start().await);
    let scratch = Scratch::new("gone");
    let enclave = FakeEnclave::listen(&scratch);
    let boot = Boot::new(&world, 1);
    let (config, shown) = configured(&world, &scratch, &enclave);
    let host = Host::start(config).await.unwrap();
    let (mut control, _, _) = enclave.boot(&boot).await;
    // Fresh evidence is made while it runs, and the registry is not told each time.
    for _ in 0..10 {
        control.call(EnclaveRequest::Head).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(shown.lock().unwrap().is_empty(), "a boot that runs is no former one");
    drop(control);
    // What was sent may be taken back by the chain, so there is another look; what stands is not looked at again.
    until_shown(&shown, b"newer evidence", 2).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(times(&shown, b"newer evidence"), 2, "more looks than that");
    host.stop().await;

    // A host that is started again does not know what was shown, and shows it again.
    let (config, shown) = configured(&world, &scratch, &enclave);
    let host = Host::start(config).await.unwrap();
    until_shown(&shown, b"newer evidence", 1).await;
    host.stop().await;
}

/// Clients refuse such a key, and what it answers could not be proven: no node goes on selling under it.
#[tokio::test]
async fn a_key_that_its_operator_ends_sells_no_more() {
    let world = Arc::new(World::start().await);
    let scratch = Scratch::new("ended");
    let enclave = FakeEnclave::listen(&scratch);
    let boot = Boot::new(&world, 1);
    let (config, _) = configured(&world, &scratch, &enclave);
    let host = Host::start(config).await.unwrap();
    let (mut control, _, _) = enclave.boot(&boot).await;
    let (registry, k_sig) = (world.contracts.registry, boot.manifest.k_sig);
    let mut is_retired = false;
    let stopped = async {
        loop {
            if let (false, Some(status)) = (is_retired, world.client.key_status(&registry, &k_sig).await.unwrap()) {
                let record = world.client.registered(&registry, &k_sig, &status).await.unwrap().record;
                world.client.send_and_wait(&world.operator, Some(&registry), &retire_calldata(&record)).await.unwrap();
                is_retired = true;
            }
            match control.next().await.expect("the connection is open") {
                ToEnclave::Request { request: HostRequest::StopSelling, .. } => return is_retired,
                ToEnclave::Request { id, request: HostRequest::Attest { .. } } => {
                    control.reply(id, EnclaveReply::Evidence(b"newer evidence".to_vec())).await;
                }
                ToEnclave::Request { id, .. } => control.reply(id, EnclaveReply::Done).await,
                ToEnclave::Reply { .. } | ToEnclave::HeadUpdate(_) => {}
            }
        }
    };
    assert!(tokio::time::timeout(PATIENCE, stopped).await.expect("told to stop"), "and not before");
    host.stop().await;
}
