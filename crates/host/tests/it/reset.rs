//! A chain that loses what it held under a running host: the boot is registered again, and its log anchored again, whatever the database
//! says. The embedded chain goes back to what it was before the host came.

use std::sync::Arc;
use std::time::Duration;

use crate::support::world::World;
use crate::support::{Boot, Control, FakeEnclave, PATIENCE, Scratch, config};
use candor_devchain::Fault;
use candor_host::Host;
use candor_link::EnclaveRequest;
use candor_verify::Hash32;

/// Waits until the registry has this boot and the chain its log at this size. Serves what the host asks of the enclave meanwhile.
async fn until_anchored(world: &World, boot: &Boot, control: &mut Control, size: u64) {
    let contracts = &world.contracts;
    let look = async {
        loop {
            control.call(EnclaveRequest::Head).await;
            let anchor = world.client.latest_anchor(&contracts.registry, &boot.manifest.k_sig).await.unwrap();
            if anchor.is_some_and(|anchor| anchor.tree.size == size) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("registered and anchored");
}

#[tokio::test]
async fn a_boot_that_the_chain_has_forgotten_is_registered_and_anchored_again() {
    let world = Arc::new(World::start().await);
    let before = world.shared.lock().snapshot().unwrap();
    let scratch = Scratch::new("reset");
    let enclave = FakeEnclave::listen(&scratch);
    let mut boot = Boot::new(&world, 1);
    let host = Host::start(config(&world, &scratch, &enclave.socket, b"weights")).await.unwrap();
    let (mut control, _, _) = enclave.boot(&boot).await;
    let entry = boot.entry(Hash32([9; 32]));
    control.append(0, vec![entry]).await;
    control.checkpoint(0, boot.checkpoint(), vec![]).await;
    until_anchored(&world, &boot, &mut control, 1).await;

    assert!(world.shared.lock().revert(before));
    assert!(world.client.key_status(&world.contracts.registry, &boot.manifest.k_sig).await.unwrap().is_none());
    until_anchored(&world, &boot, &mut control, 1).await;

    // The log goes on from there.
    let entry = boot.entry(Hash32([10; 32]));
    control.append(1, vec![entry]).await;
    control.checkpoint(1, boot.checkpoint(), vec![]).await;
    until_anchored(&world, &boot, &mut control, 2).await;
    host.stop().await;
}

/// Its enclave is gone, and so was the chain when the next one came: the host of both anchors it all the same.
#[tokio::test]
async fn what_a_former_log_still_holds_is_anchored_when_the_chain_takes_transactions_again() {
    let world = Arc::new(World::start().await);
    let scratch = Scratch::new("former");
    let enclave = FakeEnclave::listen(&scratch);
    let mut boot = Boot::new(&world, 1);
    let host = Host::start(config(&world, &scratch, &enclave.socket, b"weights")).await.unwrap();
    let (mut control, _, _) = enclave.boot(&boot).await;
    let entry = boot.entry(Hash32([9; 32]));
    control.append(0, vec![entry]).await;
    control.checkpoint(0, boot.checkpoint(), vec![]).await;
    until_anchored(&world, &boot, &mut control, 1).await;

    let method = "eth_sendRawTransaction".to_owned();
    world.shared.set_fault(Fault::Refuse { method, code: -32000, message: "busy".to_owned() });
    let entry = boot.entry(Hash32([10; 32]));
    control.append(1, vec![entry]).await;
    control.checkpoint(1, boot.checkpoint(), vec![]).await;
    drop(control);
    let next = Boot::new(&world, 2);
    let (mut control, request, _) = enclave.boot(&next).await;
    assert_eq!(request.predecessor.map(|predecessor| predecessor.tree.size), Some(1));
    world.shared.set_fault(Fault::None);
    until_anchored(&world, &boot, &mut control, 2).await;
    host.stop().await;
}
