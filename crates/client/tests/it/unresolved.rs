//! Payments whose answer never came: sent again and never made again, held against other boots, and freed by the chain once nobody can move
//! them. Over a node and a chain of this process; a process that dies is a task that is aborted, with the book read again from the disk.

use std::sync::Arc;

use candor_client::ClientError;
use candor_testkit::fresh_hypervisor;
use candor_verify::hash::keccak256;
use candor_verify::time::UnixSeconds;
use serde_json::json;

use crate::support::node::{Boot, Conduct, Server};
use crate::support::rpc::Says;
use crate::support::{BODY, CHARGED, RESERVED, Scene, UNRESOLVED, mode, now_ms};

/// Asks, and is killed once the node has the payment.
async fn killed(scene: &Scene) {
    scene.node.conduct(Conduct::Silent);
    let before = scene.node.paid().len();
    tokio::select! {
        result = scene.ask(BODY) => panic!("{result:?}"),
        () = until(|| before < scene.node.paid().len()) => {}
    }
    scene.node.conduct(Conduct::Honest);
}

async fn until(is_so: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("never");
}

#[tokio::test]
async fn killed_between_payment_and_answer_the_same_question_sends_the_same_payment() {
    let scene = Scene::new();
    killed(&scene).await;
    assert!(scene.rows()[0].state == UNRESOLVED && scene.rows()[0].payment.is_some(), "{:?}", scene.rows());
    assert_eq!(mode(&scene.database()), 0o600);
    let response = scene.ask(BODY).await.unwrap();
    let paid = scene.node.paid();
    assert_eq!((paid.len(), scene.node.payments().len()), (2, 1), "one payment, sent twice");
    assert_eq!(paid[0], paid[1], "to the byte");
    assert_eq!(scene.rows().len(), 1);
    let row = &scene.rows()[0];
    assert_eq!((row.state, row.nonce), (CHARGED, response.bundle.sale.as_ref().unwrap().payment.authorization.nonce));
    assert_eq!(row.payment, None, "what is resolved cannot be sent again");
}

#[tokio::test]
async fn killed_before_the_payment_was_sent_the_same_question_makes_a_new_one() {
    let scene = Scene::new();
    killed(&scene).await;
    scene.rewrite(&format!("state = {RESERVED}, payment = NULL"));
    scene.ask(BODY).await.unwrap();
    assert_eq!((scene.node.payments().len(), scene.rows().len()), (2, 1));
}

#[tokio::test]
async fn the_same_question_twice_one_after_the_other_is_bought_twice() {
    let scene = Scene::new();
    let first = scene.ask(BODY).await.unwrap();
    let second = scene.ask(BODY).await.unwrap();
    assert_ne!(first.receipt_id, second.receipt_id);
    assert_eq!(scene.node.payments().len(), 2);
}

#[tokio::test]
async fn the_same_question_twice_at_once_is_two_payments() {
    let scene = Arc::new(Scene::new());
    scene.node.conduct(Conduct::Silent);
    let (one, two) = (Arc::clone(&scene), Arc::clone(&scene));
    let tasks = [tokio::spawn(async move { one.ask(BODY).await.map(drop) }), tokio::spawn(async move { two.ask(BODY).await.map(drop) })];
    until(|| scene.node.paid().len() == 2).await;
    assert_eq!(scene.node.payments().len(), 2, "nobody sends what another is waiting for");
    for task in tasks {
        task.abort();
        assert!(task.await.is_err_and(|ended| ended.is_cancelled()));
    }
    // Both are abandoned now; either is sent again before anything new is made.
    scene.node.conduct(Conduct::Honest);
    scene.ask(BODY).await.unwrap();
    scene.ask(BODY).await.unwrap();
    assert_eq!(scene.node.payments().len(), 2);
    scene.ask(BODY).await.unwrap();
    assert_eq!(scene.node.payments().len(), 3);
}

#[tokio::test]
async fn another_question_is_not_held_up() {
    let scene = Scene::new();
    killed(&scene).await;
    scene.ask(&[BODY, b" "].concat()).await.unwrap();
    assert_eq!(scene.node.payments().len(), 2);
}

#[tokio::test]
async fn a_refused_answer_is_not_paid_for_again() {
    let scene = Scene::new();
    scene.node.conduct(Conduct::ReceiptOfAnotherKey);
    for _ in 0..2 {
        let error = scene.ask(BODY).await.unwrap_err();
        assert!(matches!(&error, ClientError::RefusedAnswer { check: "receipt.signature", .. }), "{error}");
    }
    assert_eq!((scene.node.paid().len(), scene.node.payments().len()), (2, 1));
}

#[tokio::test]
async fn another_boot_is_not_paid_for_what_a_dead_one_may_still_charge_unless_the_user_says_so() {
    let mut scene = Scene::new();
    killed(&scene).await;
    let hypervisor = Arc::new(fresh_hypervisor(&format!("next-{}", now_ms())));
    scene.policy.roots.push(hypervisor.trust_root());
    scene.node = Server::start(Boot::new(hypervisor, 0x34));
    let error = scene.ask(BODY).await.unwrap_err();
    let ClientError::Held { until, .. } = error else { panic!("{error}") };
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains(&format!("unresolved until {until}")), "{error}");
    assert!(scene.node.paid().is_empty(), "it was sent nothing");
    scene.pay_again = true;
    scene.ask(BODY).await.unwrap();
    assert_eq!(scene.node.payments().len(), 1);
}

/// `eth_call` of `authorizationState(address,bytes32)`.
fn authorization_state() -> String {
    let hash = keccak256(&[b"authorizationState(address,bytes32)"]).to_string();
    format!("eth_call:{}", &hash[..10])
}

fn word(value: bool) -> Says {
    Says::Result(json!(format!("0x{:064x}", u8::from(value))))
}

#[tokio::test]
async fn a_payment_that_nobody_can_move_any_more_is_freed_by_the_chain() {
    let scene = Scene::new();
    // All of the day's budget, and none of it answered.
    for at in 0..3 {
        scene.node.conduct(Conduct::Error(402, "insufficient_funds"));
        let body = [BODY, &vec![b' '; at]].concat();
        assert!(matches!(scene.ask(&body).await.unwrap_err(), ClientError::Unresolved { .. }));
    }
    scene.node.conduct(Conduct::Honest);
    let more = &[BODY, b"     "].concat();
    let is_over = |error: &ClientError| matches!(error, ClientError::Spend(what) if what.contains("the day would come to"));
    let (chain, ended) = (scene.chain().await, now_ms() / 1000 - 600);
    scene.rpc.says(&authorization_state(), word(false));

    // Before the deadline an unused authorization shows nothing, and nothing is asked.
    scene.book().settle_up(&chain).await;
    assert!(!scene.rpc.calls().contains(&authorization_state()));
    assert!(is_over(&scene.ask(more).await.unwrap_err()));

    // After it, a block from before it shows nothing either.
    scene.rewrite(&format!("valid_before = {ended}"));
    let held = scene.ask(BODY).await.unwrap_err();
    assert!(matches!(&held, ClientError::Held { .. }) && held.to_string().contains("ask the chain"), "{held}");
    scene.rpc.head(UnixSeconds(ended - 1));
    scene.book().settle_up(&chain).await;
    assert_eq!(scene.rows().len(), 3);

    // A chain that cannot be asked changes nothing.
    for says in [Says::Bytes("not JSON"), Says::Result(json!("0x")), Says::Result(json!(null))] {
        scene.rpc.head(UnixSeconds(ended));
        scene.rpc.says(&authorization_state(), says.clone());
        scene.book().settle_up(&chain).await;
        scene.rpc.says("eth_getBlockByNumber", says);
        scene.book().settle_up(&chain).await;
        assert_eq!(scene.rows().len(), 3);
    }

    // A block from the deadline on shows that the money never moved.
    scene.rpc.head(UnixSeconds(ended));
    scene.rpc.says(&authorization_state(), word(false));
    scene.book().settle_up(&chain).await;
    assert!(scene.rows().is_empty(), "{:?}", scene.rows());
    scene.rpc.head(UnixSeconds(now_ms() / 1000));
    scene.ask(more).await.unwrap();
}

#[tokio::test]
async fn a_payment_that_moved_is_spent_and_no_longer_holds_its_request() {
    let scene = Scene::new();
    killed(&scene).await;
    scene.rewrite(&format!("valid_before = {}", now_ms() / 1000 - 600));
    scene.rpc.says(&authorization_state(), word(true));
    scene.book().settle_up(&scene.chain().await).await;
    assert_eq!((scene.rows().len(), scene.rows()[0].state), (1, CHARGED));
    scene.ask(BODY).await.unwrap();
    assert_eq!(scene.node.payments().len(), 2);
    // It counts: the third of a budget of three is the last.
    scene.ask(BODY).await.unwrap();
    assert!(matches!(scene.ask(BODY).await.unwrap_err(), ClientError::Spend(_)));
}

#[tokio::test]
async fn a_payment_that_somebody_waits_for_is_left_to_them() {
    let scene = Scene::new();
    scene.node.conduct(Conduct::Silent);
    scene.rpc.says(&authorization_state(), word(false));
    tokio::select! {
        result = scene.ask(BODY) => panic!("{result:?}"),
        () = async {
            until(|| !scene.node.paid().is_empty()).await;
            scene.rewrite(&format!("valid_before = {}", now_ms() / 1000 - 600));
            scene.book().settle_up(&scene.chain().await).await;
        } => {}
    }
    assert_eq!(scene.rows().len(), 1);
}

#[tokio::test]
async fn a_chain_that_never_answers_does_not_hold_up_a_start() {
    let scene = Scene::new();
    killed(&scene).await;
    scene.rewrite(&format!("valid_before = {}", now_ms() / 1000 - 600));
    let chain = scene.chain().await;
    scene.rpc.says("eth_getBlockByNumber", Says::Nothing);
    // Asked at the same time, it gives up before the chain's own patience is at its end.
    let book = scene.book();
    tokio::select! {
        biased;
        head = chain.finalized() => panic!("the chain was waited for: {head:?}"),
        () = book.settle_up(&chain) => {}
    }
    assert_eq!(scene.rows().len(), 1);
}
