//! What a node says in its headers: under which manifest it runs, and that it refused what was paid. Over a node of this process that says
//! what each test wants.

use candor_client::{ClientError, OwnChain};
use candor_verify::bytes::from_hex;
use candor_verify::eip712::K256;
use candor_verify::evidence::Evidence;
use candor_verify::refusal::{code_hash, verify_refusal};
use serde_json::Value;

use crate::support::node::Conduct;
use crate::support::{BODY, Scene, UNRESOLVED, mode};

/// The kept refusals of a scene.
fn refusals(scene: &Scene) -> Vec<(std::path::PathBuf, Value)> {
    let Ok(entries) = std::fs::read_dir(scene.state.join("refusals")) else { return Vec::new() };
    let read = |path: &std::path::Path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    entries.map(|entry| entry.unwrap().path()).map(|path| (path.clone(), read(&path))).collect()
}

#[tokio::test]
async fn another_boot_is_seen_before_the_next_prompt_and_is_sent_none() {
    let scene = Scene::new();
    let chain = OwnChain::new(scene.chain().await);
    let mut node = scene.verified().await;
    scene.buy_over(&chain, &mut node, BODY, &scene.book()).await.unwrap();
    assert_eq!((scene.node.quotes(), scene.node.paid().len()), (1, 1));
    scene.node.conduct(Conduct::AnotherBoot);
    let error = scene.buy_over(&chain, &mut node, BODY, &scene.book()).await.unwrap_err();
    assert!(matches!(error, ClientError::AnotherBoot { .. }), "{error}");
    assert_eq!((error.exit_code(), error.check()), (1, Some("node.boot")));
    assert_eq!(scene.node.quotes(), 2, "the request whose answer said so");
    // Not on this connection, not on another, and not when it says that it is the old one again.
    scene.node.conduct(Conduct::Honest);
    assert!(matches!(scene.buy_over(&chain, &mut node, BODY, &scene.book()).await, Err(ClientError::AnotherBoot { .. })));
    assert!(matches!(node.another().await, Err(ClientError::AnotherBoot { .. })));
    assert_eq!((scene.node.quotes(), scene.node.paid().len()), (2, 1), "it was sent nothing more");
    // Whoever verifies it anew may ask it.
    scene.ask(BODY).await.unwrap();
}

#[tokio::test]
async fn another_boot_that_answers_a_payment_leaves_it_unresolved() {
    let scene = Scene::new();
    let before = scene.node.paid().len();
    // Seen at the paid request: the price still came from the boot that was verified.
    scene.node.conduct(Conduct::Silent);
    tokio::select! {
        result = scene.ask(BODY) => panic!("{result:?}"),
        () = async { while scene.node.paid().len() == before { tokio::time::sleep(std::time::Duration::from_millis(10)).await } } => {}
    }
    scene.node.conduct(Conduct::AnotherBoot);
    let error = scene.ask(BODY).await.unwrap_err();
    assert!(matches!(&error, ClientError::Unresolved { what, .. } if what.contains("node.boot")), "{error}");
    assert_eq!(scene.node.payments().len(), 1, "it is not made again");
    assert_eq!(scene.rows()[0].state, UNRESOLVED);
}

#[tokio::test]
async fn a_signed_refusal_is_kept_beside_the_payment_that_it_refused() {
    let scene = Scene::new();
    scene.node.conduct(Conduct::SignedError(402, "settlement_failed", true));
    let error = scene.ask(BODY).await.unwrap_err();
    let kept = refusals(&scene);
    let [(path, file)] = kept.as_slice() else { panic!("{kept:?}") };
    let ClientError::Unresolved { payment_id, what, .. } = &error else { panic!("{error}") };
    assert!(what.contains("the node signed this refusal") && what.contains(&path.display().to_string()), "{what}");
    assert_eq!((mode(path), &file["payment_id"]), (0o600, &Value::from(payment_id.to_string())));
    // Anybody can check it, with the boot's evidence that is beside it.
    let bytes = |key: &str| from_hex(file[key].as_str().unwrap()).unwrap();
    let evidence = Evidence::parse(&bytes("evidence")).unwrap();
    let refusal = verify_refusal(&bytes("refusal"), &evidence.manifest.k_sig, &K256).unwrap();
    assert_eq!((refusal.status, refusal.code_hash, refusal.manifest_hash), (402, code_hash("settlement_failed"), evidence.manifest.hash()));
    assert_eq!(file["is_of_the_offered_request"], true);
    let text = std::fs::read_to_string(path).unwrap();
    assert!(scene.node.paid().iter().all(|payment| !text.contains(payment)), "whoever has the payment can have it run");
    // Refused again it is the same file.
    assert!(scene.ask(BODY).await.is_err());
    assert_eq!(refusals(&scene).len(), 1);
}

#[tokio::test]
async fn a_refusal_that_is_not_the_nodes_or_not_of_this_response_is_not_kept_and_is_obeyed_all_the_same() {
    let scene = Scene::new();
    let cases = [
        (Conduct::SignedError(402, "settlement_failed", false), "not signed by the attested key"),
        (Conduct::OtherRefusal, "of another status"),
    ];
    for (conduct, why) in cases {
        scene.node.conduct(conduct);
        let error = scene.ask(BODY).await.unwrap_err();
        assert!(matches!(&error, ClientError::Unresolved { what, .. } if what.contains(why)), "{conduct:?}: {error}");
        assert!(refusals(&scene).is_empty(), "{conduct:?}");
    }
    scene.node.conduct(Conduct::Error(402, "settlement_failed"));
    let error = scene.ask(BODY).await.unwrap_err().to_string();
    assert!(!error.contains("the refusal that came with it") && !error.contains("signed this refusal"), "{error}");
}
