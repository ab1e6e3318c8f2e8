//! An answer that was paid for and is refused: it is kept as evidence, the error names file and check, and its payment is not made again.
//! Over a node of this process that lies as each test says.

use candor_client::ClientError;
use candor_verify::bundle::Bundle;
use candor_verify::check::{ChainFacts, verify_bundle};
use candor_verify::eip712::K256;

use crate::support::node::Conduct;
use crate::support::{BODY, Scene, mode};

#[tokio::test]
async fn an_honest_answer_is_kept_under_its_receipts_id() {
    let scene = Scene::new();
    for conduct in [Conduct::Honest, Conduct::Streamed] {
        scene.node.conduct(conduct);
        let response = scene.ask(BODY).await.unwrap();
        let path = scene.bundles().join(format!("{}.candor", response.receipt_id));
        assert_eq!(response.path.as_ref(), Some(&path));
        assert_eq!((std::fs::read(&path).unwrap(), mode(&path)), (response.bundle.encode(), 0o600));
    }
}

#[tokio::test]
async fn a_refused_answer_is_kept_as_evidence_and_named_with_its_check() {
    let scene = Scene::new();
    for conduct in [Conduct::ReceiptOfAnotherKey, Conduct::StreamOfAnotherKey] {
        scene.node.conduct(conduct);
        let body = [BODY, conduct_name(conduct)].concat();
        let error = scene.ask(&body).await.unwrap_err();
        let ClientError::RefusedAnswer { check: "receipt.signature", kept: Ok(path), .. } = &error else { panic!("{error}") };
        assert_eq!((error.exit_code(), error.check(), error.kept()), (1, Some("receipt.signature"), Some(path.as_path())));
        assert!(error.to_string().contains(&path.display().to_string()) && error.to_string().contains("receipt.signature"), "{error}");
        assert!(path.starts_with(scene.bundles()) && path.to_str().unwrap().ends_with(".refused.candor"), "{}", path.display());
        assert_eq!(mode(path), 0o600);
        // Anybody can judge it again, with the same end.
        let bundle = Bundle::parse(&std::fs::read(path).unwrap()).unwrap();
        let (verdict, verified) = verify_bundle(&bundle, &scene.policy, ChainFacts::default(), &K256);
        assert!(verified.is_none() && verdict.refused().is_some_and(|check| check.id == "receipt.signature"));
    }
    assert!(scene.kept().iter().all(|name| name.ends_with(".refused.candor")), "{:?}", scene.kept());
}

/// Makes a request of its own, still JSON.
fn conduct_name(conduct: Conduct) -> &'static [u8] {
    if conduct == Conduct::StreamOfAnotherKey { b" " } else { b"" }
}

#[tokio::test]
async fn a_receipt_id_that_is_not_the_receipts_is_refused_and_names_no_file() {
    let scene = Scene::new();
    scene.node.conduct(Conduct::AnotherReceiptId);
    let error = scene.ask(BODY).await.unwrap_err();
    let ClientError::RefusedAnswer { check: "response.form", kept: Ok(path), .. } = &error else { panic!("{error}") };
    assert_eq!(path.parent(), Some(scene.bundles().as_path()), "{}", path.display());
}

#[tokio::test]
async fn an_answer_of_which_no_bundle_can_be_made_says_so() {
    let scene = Scene::new();
    scene.node.conduct(Conduct::NoDelivery);
    let error = scene.ask(BODY).await.unwrap_err();
    let ClientError::RefusedAnswer { check: "response.form", kept: Err(why), .. } = &error else { panic!("{error}") };
    assert!(error.exit_code() == 1 && why.contains("no bundle"), "{error}");
    assert!(scene.kept().is_empty());
}

#[tokio::test]
async fn a_bundle_that_cannot_be_written_does_not_hide_the_refusal() {
    let scene = Scene::new();
    scene.node.conduct(Conduct::ReceiptOfAnotherKey);
    std::fs::write(scene.bundles(), b"a file where a directory should be").unwrap();
    let error = scene.ask(BODY).await.unwrap_err();
    assert!(matches!(&error, ClientError::RefusedAnswer { check: "receipt.signature", kept: Err(_), .. }), "{error}");
}

#[tokio::test]
async fn a_settlement_statement_of_another_chain_is_refused_and_its_answer_kept() {
    let scene = Scene::new();
    for conduct in [Conduct::Settled("eip155:1", true), Conduct::Settled("base-sepolia", true), Conduct::Statement("not base64!")] {
        scene.node.conduct(conduct);
        let error = scene.ask(BODY).await.unwrap_err();
        let ClientError::RefusedAnswer { check: "payment.response", kept: Ok(path), .. } = &error else { panic!("{error}") };
        assert!(error.exit_code() == 1 && path.to_str().unwrap().ends_with(".refused.candor"), "{error}");
    }
    assert_eq!(scene.node.payments().len(), 1, "and is not paid again");
    // The statement of the payment's own chain is one, and shows nothing more.
    scene.node.conduct(Conduct::Settled("eip155:31337", true));
    scene.ask(BODY).await.unwrap();
    assert_eq!(scene.node.payments().len(), 1);
}
