//! The checker against every kind of damage, and the directory store that it reads.

mod common;

use std::fs;
use std::path::PathBuf;

use common::{Keys, MemStore, leaf, log_of, publish_all};

use candor_log::check::{FAILURES_MAX, Failure, Outcome, Report, Step, check};
use candor_log::host::HostLog;
use candor_log::note::{CheckpointError, verify_note, write_note};
use candor_log::publish::{After, BATCH_LEAVES_MAX, BatchError, publish, published};
use candor_log::store::{DirReader, DirStore, LogReader, LogStore, StoreError};
use candor_log::tiles::{Resource, Span, TileError};
use candor_verify::checkpoint::NoteError;
use candor_verify::eip712::K256;
use candor_verify::tlog::{Tree, empty_root};
use candor_verify::{Address, Hash32};

fn tile(level: u8, index: u64, width: u16) -> Resource {
    Resource::Tile { level, span: Span::full(index).unwrap().of_width(width).unwrap() }
}

fn entries(index: u64, width: u16) -> Resource {
    Resource::Entries { span: Span::full(index).unwrap().of_width(width).unwrap() }
}

fn published_log(size: u64) -> (Keys, HostLog, MemStore) {
    let (keys, store) = (Keys::new(3), MemStore::default());
    let log = log_of(&keys, size);
    publish_all(&store, &keys, &log).unwrap();
    (keys, log, store)
}

fn checked(store: &dyn LogReader, keys: &Keys) -> Report {
    check(store, &K256, &keys.public, &[])
}

fn outcome(report: &Report, step: Step) -> Outcome {
    report.checks.iter().find(|check| check.step == step).unwrap().outcome
}

/// A directory of this test's own, empty.
fn directory(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _absent = fs::remove_dir_all(&path);
    path
}

#[test]
fn logs_of_all_shapes_are_sound_and_say_what_was_examined() {
    for size in [1, 2, 255, 256, 257, 511, 512, 1000, 65_535, 65_536, 65_537, 66_100] {
        let (keys, log, store) = published_log(size);
        let remembered: Vec<Tree> = [0, 1, size / 2, size].iter().filter_map(|n| log.tree().at(*n)).map(|at| at.tree()).collect();
        let report = check(&store, &K256, &keys.public, &remembered);
        assert!(report.is_sound(), "{size}: {report:#?}");
        assert_eq!(report.checkpoint.unwrap().tree(), log.tree().now().tree());
        let counts: Vec<_> = report.checks.iter().map(|check| check.examined).collect();
        let tiles: u64 = (0..3).map(|level| (size >> (8 * level)).div_ceil(256)).sum();
        assert_eq!(counts, [1, size.div_ceil(256), tiles, 1, remembered.len() as u64], "{size}");
    }
}

#[test]
fn a_flip_of_any_byte_of_any_file_is_found() {
    let (keys, log, store) = published_log(600);
    let files: Vec<Resource> = store.files.borrow().keys().copied().collect();
    assert_eq!(files.len(), 1 + 3 + 3 + 1);
    for resource in files {
        let original = store.files.borrow()[&resource].clone();
        // Every byte of the small files, a stride that meets every position modulo 32 and 34 in the large ones.
        let stride = if original.len() < 600 { 1 } else { 37 };
        for at in (0..original.len()).step_by(stride) {
            let mut bytes = original.clone();
            bytes[at] ^= 1;
            store.files.borrow_mut().insert(resource, bytes);
            let report = checked(&store, &keys);
            assert!(!report.is_sound(), "byte {at} of {resource}");
            let named = report.failures().any(|failure| match failure {
                Failure::Checkpoint(_) | Failure::Text => resource == Resource::Checkpoint,
                Failure::Malformed { resource: named, .. } => *named == resource,
                // An entry shows in the tile over it.
                Failure::Hash { resource: named, .. } => {
                    *named == resource || (matches!(resource, Resource::Entries { .. }) && named.span() == resource.span())
                }
                _ => false,
            });
            assert!(named, "byte {at} of {resource}: {:?}", report.failures().collect::<Vec<_>>());
        }
        store.files.borrow_mut().insert(resource, original);
    }
    assert!(check(&store, &K256, &keys.public, &[log.tree().now().tree()]).is_sound());
}

#[test]
fn a_missing_file_is_found_and_named() {
    let (keys, _, store) = published_log(600);
    let files: Vec<Resource> = store.files.borrow().keys().copied().collect();
    for resource in files {
        let bytes = store.files.borrow_mut().remove(&resource).unwrap();
        let report = checked(&store, &keys);
        assert_eq!(report.failures().collect::<Vec<_>>(), [&Failure::Missing { resource }]);
        assert!(!report.is_sound());
        store.files.borrow_mut().insert(resource, bytes);
    }
}

#[test]
fn a_truncated_or_prolonged_file_is_found_and_named() {
    let (keys, _, store) = published_log(600);
    for (resource, width) in [(tile(0, 1, 256), 32), (tile(0, 2, 88), 32), (tile(1, 0, 2), 32), (entries(0, 256), 34), (entries(2, 88), 34)]
    {
        let original = store.files.borrow()[&resource].clone();
        for cut in [1, width, original.len()] {
            store.files.borrow_mut().insert(resource, original[..original.len() - cut].to_vec());
            let report = checked(&store, &keys);
            let error = TileError::Length { expected: original.len(), got: original.len() - cut };
            assert_eq!(report.failures().next(), Some(&Failure::Malformed { resource, error }));
        }
        store.files.borrow_mut().insert(resource, [original.clone(), vec![0]].concat());
        let too_long = Failure::Store(StoreError::TooLong { resource, max: original.len() });
        assert_eq!(checked(&store, &keys).failures().next(), Some(&too_long));
        store.files.borrow_mut().insert(resource, original);
    }
    assert!(checked(&store, &keys).is_sound());
}

#[test]
fn checkpoints_of_others_are_rejected_by_name() {
    let (keys, log, store) = published_log(10);
    let note_of = |signed: &candor_verify::checkpoint::SignedCheckpoint| write_note(&keys.public, signed);
    let stored = log.checkpoint().unwrap().clone();
    let reported = |text: String| {
        store.replace_checkpoint(&text).unwrap();
        let report = checked(&store, &keys);
        assert_eq!(outcome(&report, Step::Tiles), Outcome::NotChecked);
        assert_eq!(report.failures().count(), 1);
        report.failures().next().cloned().unwrap()
    };
    // Another boot's keys: another log.
    let other = Keys::new(4);
    let foreign = write_note(&other.public, &other.checkpoint(stored.checkpoint.tree, 1));
    assert_eq!(reported(foreign), Failure::Checkpoint(CheckpointError::Note(NoteError::Origin)));
    // K_log signed this tree, K_sig another.
    let mixed = candor_verify::checkpoint::SignedCheckpoint {
        signature: keys.checkpoint(Tree { size: 9, root: Hash32([1; 32]) }, stored.checkpoint.timestamp.0).signature,
        ..stored.clone()
    };
    let failure = reported(note_of(&mixed));
    assert!(matches!(failure, Failure::Checkpoint(CheckpointError::Eip712Signer { expected, .. }) if expected == keys.public.k_sig()));
    // K_sig signed this tree, K_log another.
    let note_signature = keys.checkpoint(Tree { size: 9, root: Hash32([1; 32]) }, 1).note_signature;
    let mixed = candor_verify::checkpoint::SignedCheckpoint { note_signature, ..stored.clone() };
    assert_eq!(reported(note_of(&mixed)), Failure::Checkpoint(CheckpointError::Note(NoteError::Signature)));
    // No second line, or two of them.
    let text = note_of(&stored);
    let last = text.lines().last().unwrap().to_owned();
    assert_eq!(reported(text.replace(&last, "")), Failure::Checkpoint(CheckpointError::Eip712Line));
    assert_eq!(reported(format!("{text}{last}\n")), Failure::Checkpoint(CheckpointError::Eip712Line));
    // A witness's line is skipped.
    store.replace_checkpoint(&format!("{text}\u{2014} witness.example AAAAAAAA\n")).unwrap();
    assert!(checked(&store, &keys).is_sound());
}

#[test]
fn a_signed_root_that_the_entries_do_not_have_is_found() {
    let (keys, log, store) = published_log(300);
    let lie = Tree { root: Hash32([9; 32]), ..log.tree().now().tree() };
    store.replace_checkpoint(&write_note(&keys.public, &keys.checkpoint(lie, 1))).unwrap();
    let report = checked(&store, &keys);
    assert_eq!(report.failures().collect::<Vec<_>>(), [&Failure::Root { expected: lie, got: log.tree().now().tree() }]);
    assert_eq!(outcome(&report, Step::Tiles), Outcome::Passed);
}

#[test]
fn a_fork_or_a_rollback_is_found_against_a_remembered_tree() {
    let (keys, log, store) = published_log(300);
    let now = log.tree().now().tree();
    let fork = Tree { size: 200, root: Hash32([9; 32]) };
    let report = check(&store, &K256, &keys.public, &[now, fork]);
    let got = log.tree().at(200).unwrap().tree();
    assert_eq!(report.failures().collect::<Vec<_>>(), [&Failure::Remembered { expected: fork, got }]);
    // The log was longer once.
    let longer = log_of(&keys, 301).tree().now().tree();
    let report = check(&store, &K256, &keys.public, &[longer]);
    assert_eq!(report.failures().collect::<Vec<_>>(), [&Failure::Remembered { expected: longer, got: now }]);
    // An empty tree with another root is nobody's beginning.
    let report = check(&store, &K256, &keys.public, &[Tree { size: 0, root: Hash32::ZERO }]);
    assert_eq!(report.failures().count(), 1);
    assert!(check(&store, &K256, &keys.public, &[Tree { size: 0, root: empty_root() }, now]).is_sound());
}

#[test]
fn a_wholly_rewritten_log_is_consistent_with_itself_and_refuted_by_memory() {
    // Both keys are in the wrong hands: only what others remember helps. This pins what `check` alone cannot detect.
    let (keys, log, _) = published_log(300);
    let leaves = (0..300).map(|i| if i == 7 { leaf(1_000_000) } else { leaf(i) });
    let unsigned = HostLog::load(&K256, keys.public, leaves.clone(), None).unwrap();
    let signed = keys.checkpoint(unsigned.tree().now().tree(), 5);
    let rewritten = HostLog::load(&K256, keys.public, leaves, Some(signed)).unwrap();
    let store = MemStore::default();
    publish_all(&store, &keys, &rewritten).unwrap();
    assert!(checked(&store, &keys).is_sound());
    assert!(!check(&store, &K256, &keys.public, &[log.tree().at(8).unwrap().tree()]).is_sound());
    assert!(check(&store, &K256, &keys.public, &[log.tree().at(7).unwrap().tree()]).is_sound());
}

#[test]
fn a_complete_tile_stands_in_for_a_deleted_partial_one() {
    let keys = Keys::new(3);
    let store = MemStore::default();
    publish_all(&store, &keys, &log_of(&keys, 200)).unwrap();
    let old = store.fetch(Resource::Checkpoint).unwrap().unwrap();
    publish_all(&store, &keys, &log_of(&keys, 300)).unwrap();
    assert_eq!(store.fetch(tile(0, 0, 200)), Ok(None), "partials of a complete tile are deleted");
    assert_eq!(store.fetch(entries(0, 200)), Ok(None));
    // A reader that fetched the old checkpoint just before.
    store.replace_checkpoint(&String::from_utf8(old).unwrap()).unwrap();
    let report = checked(&store, &keys);
    assert!(report.is_sound(), "{report:#?}");
    assert_eq!(report.checkpoint.unwrap().tree().size, 200);
}

#[test]
fn a_hostile_log_costs_no_more_than_its_failures() {
    struct Hostile<'a>(&'a str, std::cell::Cell<usize>);
    impl LogReader for Hostile<'_> {
        fn fetch(&self, resource: Resource) -> Result<Option<Vec<u8>>, StoreError> {
            self.1.set(self.1.get() + 1);
            Ok(Some(if resource == Resource::Checkpoint { self.0.as_bytes().to_vec() } else { vec![0; resource.bytes_max()] }))
        }
    }
    let keys = Keys::new(3);
    let huge = Tree { size: candor_log::SIZE_MAX, root: Hash32::ZERO };
    let note = write_note(&keys.public, &keys.checkpoint(huge, 1));
    let hostile = Hostile(&note, std::cell::Cell::new(0));
    let report = checked(&hostile, &keys);
    assert!(hostile.1.get() < 8 * FAILURES_MAX, "{} fetches", hostile.1.get());
    assert!(report.failures().count() <= FAILURES_MAX);
    assert_eq!(outcome(&report, Step::Root), Outcome::NotChecked);
    assert!(!report.is_sound());
    let beyond = write_note(&keys.public, &keys.checkpoint(Tree { size: candor_log::SIZE_MAX + 1, root: Hash32::ZERO }, 1));
    let report = checked(&Hostile(&beyond, std::cell::Cell::new(0)), &keys);
    assert_eq!(report.failures().next(), Some(&Failure::Size { expected: candor_log::SIZE_MAX, got: candor_log::SIZE_MAX + 1 }));
}

#[test]
fn a_note_is_read_by_c2sp_readers_and_says_who_signed_for_contracts() {
    let keys = Keys::new(3);
    let log = log_of(&keys, 10);
    let note = write_note(&keys.public, log.checkpoint().unwrap());
    // K_log's line is what C2SP wants; verify's own reader skips the other.
    assert_eq!(candor_verify::checkpoint::open_note(&note, &keys.public.log_id(), &keys.public.k_log()), Ok(log.tree().now().tree()));
    let body = note.split_once("\n\n").map(|(body, _)| format!("{body}\n")).unwrap();
    let theirs = tlog_tiles::Checkpoint::from_bytes(body.as_bytes()).unwrap();
    assert_eq!((theirs.size(), theirs.hash().0, theirs.extension()), (10, log.tree().now().tree().root.0, ""));
    let verified = verify_note(&K256, &keys.public, &note).unwrap();
    assert_eq!(verified.checkpoint(), log.checkpoint().unwrap().checkpoint);
    assert_eq!(verified.signature(), log.checkpoint().unwrap().signature);
    // Another K_sig under the same origin cannot be asked for: the log id is made of both keys.
    let other = candor_log::LogKeys::new(Address([1; 20]), keys.public.k_log());
    assert_eq!(verify_note(&K256, &other, &note), Err(CheckpointError::Note(NoteError::Origin)));
}

#[test]
fn a_directory_holds_a_log_that_grows_and_survives_strangers() {
    let root = directory("grows");
    let keys = Keys::new(3);
    {
        let store = DirStore::open(&root).unwrap();
        assert_eq!(DirStore::open(&root).err(), Some(StoreError::Locked));
        for size in [1, 200, 256, 700] {
            let tree = publish_all(&store, &keys, &log_of(&keys, size)).unwrap();
            assert_eq!(published(&store, &K256, &keys.public), Ok(Some(tree)));
            assert!(checked(&store, &keys).is_sound());
        }
    }
    assert!(root.join("tile/0/001").is_file() && root.join("tile/entries/002.p/188").is_file());
    assert!(!root.join("tile/0/000.p").exists(), "partials of a complete tile are deleted");
    // A torn temporary file of a dead process is neither read nor in the way.
    fs::write(root.join("checkpoint.tmp"), b"torn").unwrap();
    fs::write(root.join("tile/0/002.tmp"), b"torn").unwrap();
    let store = DirStore::open(&root).unwrap();
    let log = log_of(&keys, 800);
    publish_all(&store, &keys, &log).unwrap();
    assert!(checked(&DirReader::new(&root), &keys).is_sound());
    // What is there with other bytes is never overwritten.
    assert_eq!(store.put(tile(0, 0, 256), &[1; 8192]), Err(StoreError::Conflict { resource: tile(0, 0, 256) }));
    // A file beyond its length is not read into memory.
    fs::write(root.join("tile/0/000"), vec![0; 8193]).unwrap();
    assert_eq!(store.fetch(tile(0, 0, 256)), Err(StoreError::TooLong { resource: tile(0, 0, 256), max: 8192 }));
    assert!(!checked(&store, &keys).is_sound());
    // A directory in place of a file is an error, not an absence.
    fs::remove_file(root.join("checkpoint")).unwrap();
    assert_eq!(store.fetch(Resource::Checkpoint), Ok(None));
    fs::create_dir(root.join("checkpoint")).unwrap();
    assert!(matches!(store.fetch(Resource::Checkpoint), Err(StoreError::Io { operation: "read", .. })));
    drop(store);
    fs::remove_dir_all(&root).unwrap();
}

#[test]
fn an_unwritable_directory_is_an_error_with_its_file() {
    let root = directory("unwritable");
    let keys = Keys::new(3);
    let store = DirStore::open(&root).unwrap();
    // `tile` is a file: nothing can be created below it.
    fs::write(root.join("tile"), b"").unwrap();
    let error = publish_all(&store, &keys, &log_of(&keys, 3)).unwrap_err();
    assert!(matches!(error, StoreError::Io { resource, operation: "create directory", .. } if resource == tile(0, 0, 3)), "{error:?}");
    assert_eq!(store.fetch(Resource::Checkpoint), Ok(None), "no checkpoint without its tiles");
    fs::remove_file(root.join("tile")).unwrap();
    publish_all(&store, &keys, &log_of(&keys, 3)).unwrap();
    assert!(checked(&store, &keys).is_sound());
    fs::remove_dir_all(&root).unwrap();
}

#[test]
fn nothing_is_published_over_another_log_or_a_later_state() {
    let (keys, log, store) = published_log(300);
    let batch = |log: &HostLog| log.batch(published(&store, &K256, &keys.public).unwrap());
    // The database was put back from a copy.
    let earlier = log_of(&keys, 200);
    assert_eq!(batch(&earlier), Err(BatchError::NotOurs { expected: earlier.tree().now().tree(), got: log.tree().now().tree() }));
    let unsigned = HostLog::load(&K256, keys.public, (0..400).map(leaf), None).unwrap();
    assert_eq!(batch(&unsigned), Err(BatchError::NothingSigned));
    let other = Keys::new(5);
    assert!(published(&store, &K256, &other.public).is_err());
    // A fork of the same size.
    let leaves: Vec<_> = (0..300).map(|i| leaf(i + 1)).collect();
    let fork = HostLog::load(&K256, keys.public, leaves.iter().copied(), None).unwrap();
    let signed = keys.checkpoint(fork.tree().now().tree(), 1);
    let fork = HostLog::load(&K256, keys.public, leaves, Some(signed)).unwrap();
    assert!(matches!(batch(&fork), Err(BatchError::NotOurs { .. })));
    // And without a checkpoint to warn, the tiles do.
    store.files.borrow_mut().remove(&Resource::Checkpoint);
    assert!(matches!(publish_all(&store, &keys, &fork), Err(StoreError::Conflict { .. })));
}

#[test]
fn a_large_log_is_published_in_batches_and_only_the_last_has_the_checkpoint() {
    let keys = Keys::new(3);
    let size = 3 * BATCH_LEAVES_MAX + 77;
    // Some of it is published already, at an odd size.
    let store = MemStore::default();
    publish_all(&store, &keys, &log_of(&keys, 1001)).unwrap();
    let log = log_of(&keys, size);
    let mut at = published(&store, &K256, &keys.public).unwrap();
    let mut batches = 0;
    loop {
        let batch = log.batch(at).unwrap();
        assert!(batch.files().len() < 600);
        publish(&store, &batch).unwrap();
        batches += 1;
        match batch.after() {
            After::Published(tree) => {
                assert_eq!(tree, log.tree().now().tree());
                break;
            }
            After::More(tree) => {
                assert_eq!(tree.size % 256, 0);
                // Meanwhile the old checkpoint holds with the files that it needs.
                assert!(check(&store, &K256, &keys.public, &[]).is_sound());
                at = Some(tree);
            }
        }
    }
    assert_eq!(batches, 3);
    assert!(checked(&store, &keys).is_sound());
    let files = store.files.borrow();
    let spare = |resource: &&Resource| resource.completed() != **resource && files.contains_key(&resource.completed());
    assert_eq!(files.keys().filter(spare).count(), 0, "partials of complete tiles are deleted in every batch");
}
