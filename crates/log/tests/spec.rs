//! The example at the top of spec/log.md is what this code computes, and every MUST of the spec names a test that exists.

mod common;

use common::{Keys, MemStore, publish_all};

use candor_log::LeafData;
use candor_log::host::HostLog;
use candor_log::store::LogReader;
use candor_log::tiles::Resource;
use candor_verify::Hash32;
use candor_verify::bytes::to_hex;
use candor_verify::eip712::K256;

const SPEC: &str = include_str!("../../../spec/log.md");

const TESTS: [&str; 7] = [
    include_str!("check.rs"),
    include_str!("faults.rs"),
    include_str!("oracles.rs"),
    include_str!("sequencer.rs"),
    include_str!("simulation.rs"),
    include_str!("../src/edge.rs"),
    include_str!("../src/tiles.rs"),
];

#[test]
fn the_example_of_the_spec_is_what_the_code_computes() {
    let keys = Keys::new(1);
    let leaves = [1, 2, 3].map(|byte| LeafData(Hash32([byte; 32])));
    let unsigned = HostLog::load(&K256, keys.public, leaves, None).unwrap();
    let tree = unsigned.tree().now().tree();
    let signed = keys.checkpoint(tree, 1_700_000_000_000);
    let log = HostLog::load(&K256, keys.public, leaves, Some(signed.clone())).unwrap();
    let store = MemStore::default();
    publish_all(&store, &keys, &log).unwrap();
    let checkpoint = String::from_utf8(store.fetch(Resource::Checkpoint).unwrap().unwrap()).unwrap();
    let files: Vec<String> = store.files.borrow().keys().map(ToString::to_string).collect();
    assert_eq!(files, ["checkpoint", "tile/0/000.p/3", "tile/entries/000.p/3"]);
    let mut expected = vec![
        keys.public.k_sig().to_string(),
        keys.public.k_log().to_string(),
        keys.public.log_id().to_string(),
        tree.root.to_string(),
        signed.checkpoint.digest().to_string(),
        to_hex(&signed.signature.0),
        checkpoint,
    ];
    expected.extend(leaves.map(|leaf| leaf.hash().to_string()));
    expected.extend(log.tree().now().inclusion(2).unwrap().iter().map(ToString::to_string));
    for text in expected {
        assert!(SPEC.contains(&text), "spec/log.md does not show\n{text}");
    }
}

#[test]
fn every_must_of_the_spec_has_its_tests() {
    let rows: Vec<&str> = SPEC.lines().filter(|line| line.starts_with("| LOG-")).collect();
    for (number, row) in (1..).zip(&rows) {
        assert!(row.starts_with(&format!("| LOG-{number} |")), "{row}");
        assert!(SPEC.contains(&format!("**LOG-{number}**")), "LOG-{number} has a row and no rule");
        let tests: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "{row}");
        for test in tests {
            let found = TESTS.iter().any(|source| source.contains(&format!("fn {test}(")));
            assert!(found, "{row}: no test {test}");
        }
    }
    assert!(!SPEC.contains(&format!("**LOG-{}**", rows.len() + 1)), "a rule without a row");
    assert!(10 < rows.len());
}
