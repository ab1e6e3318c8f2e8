//! Equal bytes are worth what the bundle is worth: `candor replay` judges it first, and says "equal" of nothing that it did not compare.

use candor_verify::bundle::Bundle;
use candor_verify::bytes::Hash32;
use candor_verify::receipt::Outcome;

use crate::support::World;

/// The world's bundle with one thing changed, in a file of this name.
fn changed(world: &World, name: &str, change: impl FnOnce(&mut Bundle)) -> String {
    let mut bundle = Bundle::parse(&std::fs::read(world.bundle()).unwrap()).unwrap();
    change(&mut bundle);
    let path = world.state.join(name);
    std::fs::write(&path, bundle.encode()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn replay_prints_both_verdict_and_comparison() {
    let world = World::shared();
    let ran = world.candor(&["replay", world.bundle().to_str().unwrap()]);
    assert_eq!((ran.code, &ran.json["equal"], &ran.json["verdict"]["outcome"]), (0, &true.into(), &"verified".into()), "{ran:?}");
}

#[test]
fn equal_bytes_in_a_bundle_that_does_not_verify_are_refused_unless_only_bytes_were_asked_for() {
    let world = World::shared();
    let file = changed(&world, "unlogged.candor", |bundle| bundle.delivery.leaf_salt = Hash32([1; 32]));
    let ran = world.candor(&["replay", &file]);
    assert_eq!((ran.code, &ran.json["equal"], &ran.json["verdict"]["outcome"]), (1, &true.into(), &"refused".into()), "{ran:?}");
    let ran = world.candor(&["replay", &file, "--unsigned"]);
    assert_eq!((ran.code, &ran.json["equal"], ran.json["verdict"].is_null()), (0, &true.into(), true), "{ran:?}");
    // Nobody's root is named in an empty state: the same bytes are nobody's answer there.
    let nowhere = crate::support::process::new_directory();
    assert_eq!(crate::support::process::run(&nowhere, &["replay", world.bundle().to_str().unwrap()]).code, 1);
    std::fs::remove_dir_all(nowhere).unwrap();
}

#[test]
fn an_answer_without_a_frame_equals_nothing() {
    let world = World::shared();
    let file = changed(&world, "empty.candor", |bundle| {
        bundle.response.frames.clear();
        bundle.delivery.receipt.work.outcome = Outcome::Aborted;
    });
    for (arguments, code) in [(&["replay", &file, "--unsigned"][..], 2), (&["replay", &file], 1)] {
        let ran = world.candor(arguments);
        assert_eq!((ran.code, ran.json["equal"].is_null()), (code, true), "{ran:?}");
        assert!(ran.json["error"].as_str().unwrap().contains("no frame"), "{ran:?}");
    }
}
