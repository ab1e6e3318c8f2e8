//! The node's chain endpoint fails and lies: gone, silent, another chain, everybody rich, everybody poor, transfers that never were.
//! Nobody is charged without an answer, errors are typed, a lie costs the operator an answer at most, and with the truth the node goes on
//! by itself. Over the real program; the clients ask the chain themselves.

use std::sync::Arc;

use candor_x402::protocol::parse_settle_response;

use crate::support::http::{Reply, chat, get};
use crate::support::liar::{Liar, Lie, Transfer};
use crate::support::payer::{Offered, Payer, assert_settled, buy, is_pending, question};
use crate::support::process::{self, new_directory};
use crate::support::split::Split;
use crate::support::{World, eventually};

/// A world whose node hears of the chain through a liar, who is honest so far.
fn world() -> (Arc<World>, Liar) {
    let mut liar = None;
    let world = World::start_through(&[], |chain| liar.insert(Liar::start(chain)).url.clone());
    (Arc::new(world), liar.unwrap())
}

/// Sells one answer for what it costs, now that the endpoint is honest.
async fn assert_sells(world: &Arc<World>) {
    let payer = Payer::funded(world).await;
    let body = question("honest again", false);
    let offered = Offered::of(&world.api(), &body).await;
    buy(&world.api(), &body, &payer.pay(&offered).header).await;
    payer.assert_paid(&[offered.amount()]).await;
}

/// What was asked for the moment the truth was told is not yet what is heard: an answer that blames the chain is asked for again.
async fn heard(world: &World, body: &serde_json::Value, header: &str) -> Reply {
    eventually("the node hears the truth", || async {
        let reply = chat(&world.api(), body, Some(header)).await;
        (reply.status != 503).then_some(reply)
    })
    .await
}

#[tokio::test]
async fn an_endpoint_that_is_gone_or_silent_is_a_typed_503_and_no_charge_and_then_the_same_payment_buys() {
    let (world, liar) = world();
    for (lie, stream) in [(Lie::Down, false), (Lie::Down, true), (Lie::Silent, false), (Lie::Silent, true)] {
        let payer = Payer::funded(&world).await;
        let body = question(&format!("{lie:?}"), stream);
        let offered = Offered::of(&world.api(), &body).await;
        let signed = payer.pay(&offered);
        liar.tell(lie);
        let reply = chat(&world.api(), &body, Some(&signed.header)).await;
        assert_eq!((reply.status, reply.error_code().as_str()), (503, "chain_unavailable"), "{lie:?}: {reply:?}");
        assert!(reply.header("retry-after").is_some() && reply.header("x-receipt-id").is_none());
        assert_eq!(get(&world.api(), "/health").await.status, 200, "the node itself is well");
        payer.assert_paid(&[]).await;
        liar.tell(Lie::None);
        let reply = heard(&world, &body, &signed.header).await;
        assert_eq!(reply.status, 200, "{lie:?}: {reply:?}");
        payer.assert_pays(&[offered.amount()]).await;
    }
}

#[tokio::test]
async fn where_everybody_is_poor_a_payment_is_refused_before_it_is_claimed_and_buys_when_the_truth_is_told() {
    let (world, liar) = world();
    for stream in [false, true] {
        let payer = Payer::funded(&world).await;
        let body = question("poor", stream);
        let offered = Offered::of(&world.api(), &body).await;
        let signed = payer.pay(&offered);
        liar.tell(Lie::Balance(0));
        let reply = chat(&world.api(), &body, Some(&signed.header)).await;
        assert_eq!((reply.status, reply.error_code().as_str()), (402, "invalid_exact_evm_insufficient_balance"), "{reply:?}");
        payer.assert_paid(&[]).await;
        liar.tell(Lie::None);
        // What was said of the payer holds for a few seconds.
        let reply = eventually("the node hears the truth", || async {
            let reply = heard(&world, &body, &signed.header).await;
            (reply.status != 402).then_some(reply)
        })
        .await;
        assert_eq!(reply.status, 200, "{reply:?}");
        payer.assert_pays(&[offered.amount()]).await;
    }
}

#[tokio::test]
async fn where_everybody_is_rich_the_operator_works_for_nothing_and_a_whole_answer_is_kept_back() {
    let (world, liar) = world();
    let payer = Payer::poor(&world);
    liar.tell(Lie::Balance(u128::MAX));
    // A stream starts before its transfer: the credit that an operator gives to strangers, capped per payer.
    let body = question("rich stream", true);
    let offered = Offered::of(&world.api(), &body).await;
    let reply = chat(&world.api(), &body, Some(&payer.pay(&offered).header)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(reply.body.ends_with(b"data: [DONE]\n\n"));

    let body = question("rich", false);
    let offered = Offered::of(&world.api(), &body).await;
    let signed = payer.pay(&offered);
    let reply = chat(&world.api(), &body, Some(&signed.header)).await;
    // The authorization stays open until it ends, so its failure is not final before; the answer is kept back as long.
    assert!(is_pending(&reply) && reply.header("retry-after").is_some(), "{reply:?}");
    assert!(!String::from_utf8_lossy(&reply.body).contains("choices"), "{reply:?}");

    liar.tell(Lie::None);
    let body = question("not rich", true);
    let offered = Offered::of(&world.api(), &body).await;
    let reply = heard(&world, &body, &payer.pay(&offered).header).await;
    assert_eq!((reply.status, reply.error_code().as_str()), (402, "invalid_exact_evm_insufficient_balance"), "{reply:?}");
    assert!(world.transfers_from(&payer.address()).await.is_empty());
    assert_sells(&world).await;
}

#[tokio::test]
async fn an_invented_transfer_costs_the_operator_the_answer_and_the_client_nothing() {
    let (world, liar) = world();
    let payer = Payer::funded(&world).await;
    let body = question("invented", false);
    let offered = Offered::of(&world.api(), &body).await;
    let signed = payer.pay(&offered);
    let a = &signed.authorization;
    liar.tell(Lie::Moved(Transfer { asset: world.token(), from: a.from, to: a.to, amount: a.value.0, nonce: a.nonce }));
    let reply = buy(&world.api(), &body, &signed.header).await;
    assert!(liar.kept_back() != 0, "the transaction went past the liar");
    let said = parse_settle_response(reply.header("payment-response").unwrap().as_bytes()).unwrap();
    assert!(said.success, "{said:?}");
    // Served, and unpaid: the client's own chain says so.
    payer.assert_paid(&[]).await;
    assert!(!payer.is_used(&signed).await);
    liar.tell(Lie::None);
    // The account of the host has a number less than it believes. It finds out and goes on.
    assert_sells(&world).await;
    assert_settled(&chat(&world.api(), &body, Some(&signed.header)).await);
    assert!(payer.transfers_at_most(&[offered.amount()]).await);
}

#[tokio::test]
async fn an_endpoint_that_says_it_is_another_chain_starts_no_node_and_moves_a_running_one_nowhere() {
    let (world, liar) = world();
    liar.tell(Lie::ChainId(31338));
    assert_sells(&world).await;

    // A host knows its chain by the file of its node, and does nothing on another.
    let ended = Split::ended();
    let other = Liar::start(&ended.rpc());
    other.tell(Lie::ChainId(31338));
    let mut host = Split::host(&ended.state, &Split::host_arguments_over(&ended, &other.url));
    assert_eq!(host.wait(), Some(2));
    let said = std::fs::read_to_string(ended.state.join("host.err")).unwrap();
    assert!(said.contains("expected chain 31337"), "{said}");

    // A whole node for a chain where money has a value: no policy is written for it, and nothing starts.
    other.tell(Lie::ChainId(1));
    let state = new_directory();
    let arguments = ["serve", "--rpc", &other.url, "--listen", "127.0.0.1:0", "--log-listen", "127.0.0.1:0"];
    let ran = process::run(&state, &arguments);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.json["error"].as_str().unwrap().contains("SIMULATED evidence is not made for chain 1"), "{ran:?}");
    std::fs::remove_dir_all(state).unwrap();
}
