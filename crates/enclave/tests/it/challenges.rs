//! Challenges for fresh evidence cost the device a signature and the asker nothing: everybody gets a turn, nobody more than a share.

use std::sync::Arc;
use std::time::Duration;

use candor_enclave::Config;

use crate::support::World;
use crate::support::client::get_on;

fn challenge(number: u64) -> String {
    format!("/candor/evidence?nonce=0x{number:064x}")
}

#[tokio::test]
async fn a_new_client_verifies_while_others_ask_without_end() {
    let world = Arc::new(World::start_with(Config::default(), Duration::from_millis(100)).await);
    // More than the device takes at once, each asking again as soon as it was answered.
    for number in 1..=8 {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            loop {
                world.get(&challenge(number)).await;
            }
        });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    for number in 100..105 {
        let reply = world.get(&challenge(number)).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
}

#[tokio::test]
async fn one_connection_has_eight_challenges_and_as_much_other_evidence_as_it_likes() {
    let world = World::start(Config::default()).await;
    let mut tls = world.tls().await;
    let mut statuses = Vec::new();
    let unchallenged = "/candor/evidence".to_owned();
    for path in (1..=9).map(challenge).chain([unchallenged]) {
        statuses.push(get_on(&mut tls, &path).await.status);
    }
    assert_eq!(statuses, [[200; 8].as_slice(), &[429, 200]].concat());
}
