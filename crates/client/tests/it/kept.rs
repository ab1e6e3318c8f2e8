//! What is kept of an answer, in each mode, and how it is found again: over a node of this process that answers honestly or lies.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use candor_client::{BundleIndex, KeepMode, KeptError, load_kept, saved_frames};
use candor_verify::check::{ChainFacts, verify_bundle};
use candor_verify::eip712::K256;
use candor_verify::proof::{Kept, Proof, ProofEvidence};
use candor_verify::time::UnixMs;
use candor_verify::transcript::splice;
use candor_verify::verdict::Outcome;

use crate::support::node::Conduct;
use crate::support::{BODY, CHARGED, Scene, UNRESOLVED, mode};

fn proof_in(path: &Path) -> Proof {
    match Kept::parse(&fs::read(path).unwrap()).unwrap() {
        Kept::Proof(proof) => *proof,
        Kept::Bundle(_) => panic!("{} is a bundle", path.display()),
    }
}

fn holds(path: &Path, text: &[u8]) -> bool {
    fs::read(path).unwrap().windows(text.len()).any(|window| window == text)
}

#[tokio::test]
async fn a_proof_holds_neither_text_and_with_the_callers_copy_is_the_very_same_bundle() {
    let scene = Scene::keeping(KeepMode::Proof);
    let response = scene.ask(BODY).await.unwrap();
    let path = response.path.unwrap();
    assert_eq!((path.clone(), mode(&path)), (scene.bundles().join(format!("{}.proof.candor", response.receipt_id)), 0o600));
    for text in [b"What is a receipt?".as_slice(), b"Evidence."] {
        assert!(!holds(&path, text), "{}", String::from_utf8_lossy(text));
    }
    // The evidence lies beside it, once, and for its owner.
    let ProofEvidence::Named(hash) = proof_in(&path).evidence else { panic!("it holds its evidence") };
    let evidence = scene.bundles().join("evidence").join(format!("{hash}.cbor"));
    assert_eq!((fs::read(&evidence).unwrap(), mode(&evidence)), (response.bundle.evidence.encode(), 0o600));
    let file = load_kept(&path).unwrap();
    let alone = file.judge(&scene.policy, ChainFacts::default());
    assert_eq!((alone.outcome(), alone.refused()), (Outcome::CannotTell, None), "never verified by itself");
    // As a client saves it: the body, with the node's member or without it.
    let (proof, body) = (file.proof.unwrap(), &response.bundle.response.frames[0]);
    let delivery = base64::engine::general_purpose::STANDARD.encode(response.bundle.delivery.encode());
    let member = format!(r#""receipt_id":"{}","delivery":"{delivery}""#, response.receipt_id);
    for sent in [body.clone(), splice(body, member.as_bytes()).unwrap()] {
        let again = proof.with_copy(BODY.to_vec(), saved_frames(&sent).unwrap()).unwrap();
        assert_eq!(again.encode(), response.bundle.encode());
        assert_eq!(verify_bundle(&again, &scene.policy, ChainFacts::default(), &K256).0.outcome(), Outcome::Verified);
    }
    let another = proof.with_copy(b"{}".to_vec(), saved_frames(body).unwrap()).unwrap();
    let verdict = verify_bundle(&another, &scene.policy, ChainFacts::default(), &K256).0;
    assert_eq!(verdict.refused().map(|check| check.id), Some("request.commitment"));
    // Without its evidence, or with another, it is not judged at all; and the next answer of the boot writes it again.
    fs::write(&evidence, b"none").unwrap();
    assert!(matches!(load_kept(&path), Err(KeptError::Evidence { .. })));
    let keep = candor_client::Keep::new(scene.index(), KeepMode::Proof);
    keep.upgrade(&path, &response.bundle, &response.verdict).unwrap();
    assert!(load_kept(&path).is_ok());
    fs::remove_file(evidence).unwrap();
    assert!(matches!(load_kept(&path), Err(KeptError::Evidence { .. })));
}

#[tokio::test]
async fn answers_of_one_boot_share_their_evidence() {
    let scene = Scene::keeping(KeepMode::Proof);
    let mut node = scene.verified().await;
    let chain = candor_client::OwnChain::new(scene.chain().await);
    let book = scene.book();
    for _ in 0..3 {
        scene.buy_over(&chain, &mut node, BODY, &book).await.unwrap();
    }
    assert_eq!(fs::read_dir(scene.bundles().join("evidence")).unwrap().count(), 1);
    assert_eq!(scene.kept().iter().filter(|name| name.ends_with(".proof.candor")).count(), 3);
}

#[tokio::test]
async fn of_an_answer_that_is_not_kept_the_row_says_what_it_cost() {
    let scene = Scene::keeping(KeepMode::None);
    let response = scene.ask(BODY).await.unwrap();
    assert_eq!((response.path, scene.kept(), scene.rows()[0].state), (None, vec![], CHARGED));
    let rows = scene.index().find(&response.receipt_id).unwrap();
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((row.keep, row.file.as_ref(), row.charged), (KeepMode::None, None, crate::support::node::price()));
    // And stays when the index is made what the files are.
    scene.index().sync(&scene.policy, true).unwrap();
    assert_eq!(scene.index().find(&response.receipt_id).unwrap().len(), 1);
}

#[tokio::test]
async fn a_refused_answer_is_kept_whole_whatever_the_mode_says() {
    for keep in KeepMode::ALL {
        let scene = Scene::keeping(keep);
        scene.node.conduct(Conduct::ReceiptOfAnotherKey);
        let error = scene.ask(BODY).await.unwrap_err();
        let path = error.kept().unwrap_or_else(|| panic!("{error}"));
        assert!(path.to_str().unwrap().ends_with(".refused.candor") && holds(path, BODY), "{}", path.display());
        assert_eq!(scene.rows()[0].state, UNRESOLVED);
        let rows = scene.index().answers(UnixMs(0), UnixMs(u64::MAX)).unwrap();
        assert_eq!(rows[0].when_kept.refused.as_deref(), Some("receipt.signature"));
        assert!(rows[0].is_refused() && rows[0].file.as_deref() == Some(path));
    }
}

#[tokio::test]
async fn an_answer_is_found_by_each_of_its_ids_and_by_the_beginning_of_one() {
    let scene = Scene::new();
    let (first, second) = (scene.ask(BODY).await.unwrap(), scene.ask(BODY).await.unwrap());
    let index = scene.index();
    let payment_id = first.bundle.delivery.receipt.money.payment_id.to_string();
    for id in [first.receipt_id.as_str(), &first.receipt_id[..10], &payment_id, &payment_id[..12], &payment_id[2..]] {
        let found = index.find(id).unwrap();
        assert_eq!(found.iter().map(|row| row.file.as_ref()).collect::<Vec<_>>(), [first.path.as_ref()], "{id}");
    }
    assert_eq!(index.find("").unwrap().len(), 2);
    for none in ["zz", "chatcmpl-none", "%", "_", "' OR 1=1 --"] {
        assert_eq!(index.find(none).unwrap(), [], "{none}");
    }
    // What is known is the files: one that is gone is forgotten, one that appears is read and judged.
    let moved = scene.bundles().join("of-somebody.candor");
    fs::rename(second.path.as_ref().unwrap(), &moved).unwrap();
    fs::write(scene.bundles().join("none.candor"), "none").unwrap();
    let synced = index.sync(&scene.policy, false).unwrap();
    assert_eq!((synced.read, synced.gone, synced.unreadable.len()), (1, 1, 1), "{synced:?}");
    let found = index.find(&second.receipt_id).unwrap();
    assert_eq!((found[0].file.as_ref(), found[0].when_kept.outcome.as_str()), (Some(&moved), "verified"));
    // A database that is lost is made again from the files.
    drop(index);
    for beside in ["client.db", "client.db-wal", "client.db-shm"] {
        drop(fs::remove_file(scene.state.join(beside)));
    }
    let again = BundleIndex::open(&scene.database(), &scene.bundles()).unwrap();
    assert_eq!(again.sync(&scene.policy, false).unwrap().read, 2);
    assert_eq!(again.find(&first.receipt_id).unwrap()[0].file, first.path);
    // What is a bundle no more has no row.
    fs::write(first.path.unwrap(), "none").unwrap();
    assert_eq!(again.sync(&scene.policy, false).unwrap().unreadable.len(), 2);
    assert_eq!(again.find(&first.receipt_id).unwrap(), []);
}

#[tokio::test]
async fn nothing_is_written_over_another_answer_with_the_same_id() {
    let scene = Scene::new();
    let first = scene.ask(BODY).await.unwrap();
    let path = first.path.unwrap();
    // Somebody else's evidence lies where the next answer of this id would go: it stays, and the answer has another name.
    fs::write(&path, "evidence of another").unwrap();
    let keep = candor_client::Keep::new(scene.index(), KeepMode::Full);
    let refused = keep.turn_refused(None, &first.bundle, "registry.listed").unwrap();
    assert_eq!(refused, path.with_extension("refused.candor"));
    assert_eq!(fs::read(&path).unwrap(), b"evidence of another");
    // The same answer again is the file that is there.
    assert_eq!(keep.turn_refused(None, &first.bundle, "registry.listed").unwrap(), refused);
    fs::write(&refused, "evidence of another").unwrap();
    let second = keep.turn_refused(None, &first.bundle, "registry.listed").unwrap();
    assert_eq!(second, scene.bundles().join(format!("{}-2.refused.candor", first.receipt_id)));
    assert_eq!(fs::read(&refused).unwrap(), b"evidence of another");
}

#[tokio::test]
async fn what_is_erased_is_the_file_its_hints_and_evidence_that_nothing_names() {
    let scene = Scene::keeping(KeepMode::Proof);
    let response = scene.ask(BODY).await.unwrap();
    let (index, path) = (scene.index(), response.path.unwrap());
    fs::write(path.with_extension("hints.json"), "{}").unwrap();
    let evidence = fs::read_dir(scene.bundles().join("evidence")).unwrap().next().unwrap().unwrap().path();
    let partial = scene.bundles().join("0a1b.4711.new");
    fs::write(&partial, "a prompt").unwrap();
    assert_eq!(index.erase_leftovers().unwrap(), 0, "somebody may be writing it");
    fs::File::options().write(true).open(&partial).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    assert!(index.erase_leftovers().unwrap() == 8 && !partial.exists());
    let rested = || fs::File::options().write(true).open(&evidence).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    rested();
    assert_eq!(index.erase_leftovers().unwrap(), 0, "a proof names it");
    let rows = index.find(&response.receipt_id).unwrap();
    assert!(2 < index.erase(&rows[0]).unwrap());
    assert!(!path.exists() && !path.with_extension("hints.json").exists());
    assert_eq!(index.find(&response.receipt_id).unwrap(), []);
    assert!(0 < index.erase_leftovers().unwrap() && !evidence.exists());
}
