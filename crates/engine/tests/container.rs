//! Containers that are not the one valid file for their contents: each is refused, by a typed error, without a panic.
//!
//! Spec: det-1.md §1, §2.

use candor_engine::{Model, ModelError, Options, Session, fixture, merkle_root};
use proptest::prelude::*;

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn header_len(bytes: &[u8]) -> usize {
    u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize
}

fn refused(change: impl FnOnce(&mut Vec<u8>)) -> ModelError {
    let mut bytes = fixture::model();
    change(&mut bytes);
    Model::load(&bytes).expect_err("accepted")
}

#[test]
fn the_digest_is_over_the_whole_file() {
    let bytes = fixture::model();
    assert_eq!(Model::load(&bytes).unwrap().digest(), merkle_root(&bytes));
}

#[test]
fn each_header_field_is_checked() {
    assert_eq!(refused(|b| b[0] = b'c'), ModelError::Magic);
    assert_eq!(refused(|b| put(b, 8, 2)), ModelError::Version { expected: 1, got: 2 });
    let len = header_len(&fixture::model()) as u64;
    assert_eq!(refused(|b| put(b, 12, len as u32 + 4)), ModelError::Length { expected: len, got: len + 4 });
    let fields = [
        (16, 266, "vocab"),
        (20, 24, "dim"),
        (20, 8208, "dim"),
        (24, 0, "layers"),
        (24, 129, "layers"),
        (28, 0, "heads"),
        (32, 0, "kv_heads"),
        (32, 3, "kv_heads"),
        (36, 24, "head_dim"),
        (40, u32::MAX, "ffn"),
        (44, 0, "context"),
        (44, 32_769, "context"),
        (48, f32::NAN.to_bits(), "norm_eps"),
        (48, 0, "norm_eps"),
        (52, 2, "flags"),
        (56, 2, "template"),
        (60, 1, "reserved"),
        (64, u32::MAX, "merges"),
        (68, u32::MAX, "specials"),
        (68, 4, "vocab"),
    ];
    for (at, value, field) in fields {
        let error = refused(|b| put(b, at, value));
        assert!(matches!(error, ModelError::Field { name, .. } if name == field), "{field}: {error:?}");
    }
}

#[test]
fn length_must_be_exact() {
    let len = fixture::model().len() as u64;
    assert_eq!(refused(|b| b.push(0)), ModelError::Length { expected: len, got: len + 1 });
    assert_eq!(refused(|b| b.truncate(len as usize - 1)), ModelError::Length { expected: len, got: len - 1 });
    // Tied: the head is too much.
    assert!(matches!(refused(|b| put(b, 52, 1)), ModelError::Length { .. }));
    // A huge shape is refused by arithmetic, before anything is allocated.
    assert!(matches!(refused(|b| put(b, 40, 65_536)), ModelError::Length { .. }));
    for cut in [0, 1, 7, 8, 15, 16, 71, 72, 80, 104, 150] {
        let error = refused(|b| b.truncate(cut));
        assert!(matches!(error, ModelError::Length { .. }), "{cut}: {error:?}");
    }
}

#[test]
fn padding_and_values_are_checked() {
    let header = header_len(&fixture::model());
    let embed = header.next_multiple_of(64);
    assert!(header < embed);
    assert_eq!(refused(|b| b[embed - 1] = 1), ModelError::Padding { offset: embed as u64 - 1 });
    assert_eq!(refused(|b| b[embed + 5] = 0x80), ModelError::Value { tensor: "embed.q".into(), index: 5 });
    let scales = (embed + 265 * 64).next_multiple_of(64);
    for bad in [f32::NAN, f32::INFINITY, -1.0, -0.0] {
        assert_eq!(refused(|b| put(b, scales + 8, bad.to_bits())), ModelError::Value { tensor: "embed.s".into(), index: 2 });
    }
    let norm = (scales + 265 * 4).next_multiple_of(64);
    assert_eq!(refused(|b| put(b, norm, f32::NAN.to_bits())), ModelError::Value { tensor: "final_norm".into(), index: 0 });
    for bad in [1.5, -0.5, -0.0, f32::NAN] {
        let error = refused(|b| {
            let at = b.len() - 4;
            put(b, at, bad.to_bits());
        });
        assert_eq!(error, ModelError::Value { tensor: "rope_freq".into(), index: 7 });
    }
}

#[test]
fn tokenizer_tables_are_checked() {
    assert!(matches!(refused(|b| put(b, 72, 256)), ModelError::Tokenizer { index: 0, .. }));
    assert!(matches!(
        refused(|b| {
            put(b, 80, 116);
            put(b, 84, 104)
        }),
        ModelError::Tokenizer { index: 1, .. }
    ));
    let specials = 72 + 4 * 8;
    assert!(matches!(refused(|b| put(b, specials, 65)), ModelError::Tokenizer { index: 0, .. }));
    assert!(matches!(refused(|b| b[specials + 4] = 0xff), ModelError::Tokenizer { index: 0, .. }));
    assert!(matches!(refused(|b| b[specials + 4] = b'>'), ModelError::Tokenizer { index: 0, .. }));
}

#[test]
fn every_accepted_flip_changes_the_digest() {
    let bytes = fixture::model();
    let digest = Model::load(&bytes).unwrap().digest();
    for at in (0..bytes.len()).step_by(331) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        if let Ok(model) = Model::load(&flipped) {
            assert_ne!(model.digest(), digest, "byte {at}");
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Model::load(&bytes).is_err());
    }

    #[test]
    fn a_mangled_header_is_refused_or_runs(changes in prop::collection::vec((8usize..260, any::<u8>()), 1..6), cut in prop::option::of(0usize..20_000)) {
        let mut bytes = fixture::model();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        if let Some(cut) = cut { bytes.truncate(cut); }
        if let Ok(model) = Model::load(&bytes) {
            let mut session = Session::new(&model, 4, Options::default()).unwrap();
            session.feed(&[0, 1, 2]).unwrap();
            prop_assert!(session.logits().iter().all(|logit| logit.is_finite()));
        }
    }
}
