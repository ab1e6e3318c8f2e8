//! What the registry is shown of a boot, while it runs and after it has gone.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::world::World;
use crate::support::{Boot, FakeEnclave, PATIENCE, Scratch, WorldRegistrar, config};
use candor_host::{Host, HostConfig};
use candor_link::EnclaveRequest;

/// Those that were given to renew a boot that has gone.
type Shown = Arc<Mutex<Vec<Vec<u8>>>>;

fn configured(world: &Arc<World>, scratch: &Scratch, enclave: &FakeEnclave) -> (HostConfig, Shown) {
    let mut config = config(world, scratch, &enclave.socket, b"weights");
    let shown = Shown::default();
    config.registrar = Arc::new(WorldRegistrar(Arc::clone(world), Arc::clone(&shown)));
    config.timing.attest = Duration::from_millis(50);
    (config, shown)
}

async fn until_shown(shown: &Shown, evidence: &[u8]) {
    let look = async {
        while !shown.lock().unwrap().iter().any(|one| one == evidence) {
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
    until_shown(&shown, b"newer evidence").await;
    host.stop().await;

    // A host that is started again does not know what was shown, and shows it again.
    let (config, shown) = configured(&world, &scratch, &enclave);
    let host = Host::start(config).await.unwrap();
    until_shown(&shown, b"newer evidence").await;
    host.stop().await;
}
