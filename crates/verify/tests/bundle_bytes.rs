//! Invariant 7: any flipped byte of a bundle is refused, and the refusal names the check. Also: no other bytes are a bundle.
//!
//! The flips run over every byte of the fullest bundle there is (cosigned, with an earlier anchor) and of an upgraded one, which has a
//! later anchor. One mask per byte, another in each run of eight bytes; outside the attestation document, whose own vectors are
//! elsewhere, two masks; in the later anchor every bit. Nothing is sampled at random.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use candor_verify::bundle::Bundle;
use candor_verify::check::{ChainFacts, verify_bundle};
use candor_verify::delivery::Delivery;
use candor_verify::eip712::K256;
use candor_verify::evidence::Evidence;
use candor_verify::policy::Policy;
use candor_verify::terms::SignedTerms;
use candor_verify::verdict::Outcome;
use proptest::prelude::*;
use support::{flipped, mutated, policy_of, read};

const FULLEST: &str = "honest_cosigned";
const UPGRADED: &str = "honest_upgraded_but_offline";

/// How bytes end: `parse`, `verified`, `cannot tell`, or the check that refuses.
fn end(bytes: &[u8], policy: &Policy) -> &'static str {
    let Ok(bundle) = Bundle::parse(bytes) else { return "parse" };
    let (verdict, verified) = verify_bundle(&bundle, policy, ChainFacts::default(), &K256);
    assert_eq!(verified.is_some(), verdict.outcome() == Outcome::Verified);
    verdict.refused().map_or(verdict.outcome().as_str(), |check| check.id)
}

#[test]
fn any_flipped_byte_of_a_bundle_is_refused_by_a_named_check() {
    // Every part of a bundle is under a check of its own.
    let ends = flip_all(FULLEST, 0);
    for check in [
        "parse",
        "evidence.binding",
        "evidence.terms",
        "evidence.operator",
        "receipt.signature",
        "request.commitment",
        "response.commitment",
        "work.decoding",
        "work.seed",
        "offer.signature",
        "payment.signature",
        "payment.binding",
        "log.inclusion",
        "log.checkpoint",
        "log.witnesses",
        "log.consistency",
    ] {
        assert!(ends.contains_key(check), "no flip was refused by {check}");
    }
}

#[test]
fn any_flipped_byte_of_an_upgraded_bundle_is_refused_offline() {
    flip_all(UPGRADED, 0);
}

/// A price list, a source record, and a salt that came with the delivery: what the fullest bundle of a sale does not have.
#[test]
fn any_flipped_byte_of_a_bundle_with_further_parts_is_refused() {
    for (name, check) in [("offer_by_a_price_list", "offer.price"), ("proxied_work", "work.claim"), ("nobody_paid", "request.commitment")] {
        assert!(flip_all(name, 0).contains_key(check), "{name}: no flip was refused by {check}");
    }
}

#[test]
fn any_flipped_bit_of_a_later_anchor_is_refused_offline() {
    let bytes = read(&format!("bundle/{UPGRADED}.candor"));
    let plain = Bundle { later_trees: vec![], ..Bundle::parse(&bytes).expect("a bundle") }.encode();
    let ends = flip_all(UPGRADED, plain.len() - 1);
    assert!(ends.keys().eq(["log.consistency", "parse"].iter()), "{ends:?}");
}

/// Flips every byte from `from` on, and says which were refused by which check. From 0, with few masks per byte; else with every bit.
fn flip_all(name: &str, from: usize) -> BTreeMap<&'static str, BTreeSet<usize>> {
    let (bytes, policy) = (read(&format!("bundle/{name}.candor")), policy_of(name));
    assert_eq!(end(&bytes, &policy), "verified");
    let document = Bundle::parse(&bytes).expect("a bundle").evidence.document().to_vec();
    let start = bytes.windows(document.len()).position(|window| window == document).expect("it is inside");
    let in_document = start..start + document.len();
    let masks = |at: usize| {
        let first = 1u8 << (at % 8);
        if from != 0 {
            return (0..8).map(|bit| 1 << bit).collect();
        }
        if in_document.contains(&at) { vec![first] } else { vec![first, first.rotate_left(3)] }
    };
    let ends = flipped(&bytes, from, masks, |bytes| end(bytes, &policy));
    for not_refused in ["verified", "cannot tell", ""] {
        assert_eq!(ends.get(not_refused), None, "{name}: bytes that may be anything");
    }
    ends
}

#[test]
fn a_bundle_cut_at_any_length_or_with_a_byte_more_is_no_bundle() {
    let bytes = read(&format!("bundle/{FULLEST}.candor"));
    for len in 0..bytes.len() {
        assert!(Bundle::parse(&bytes[..len]).is_err(), "cut to {len}");
    }
    for byte in [0x00, 0x80, 0xff] {
        assert!(Bundle::parse(&[bytes.as_slice(), &[byte]].concat()).is_err(), "{byte:#04x} more");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_read_back_as_written(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(bundle) = Bundle::parse(&bytes) {
            prop_assert_eq!(bundle.encode(), &bytes[..]);
        }
        if let Ok(delivery) = Delivery::parse(&bytes) {
            prop_assert_eq!(delivery.encode(), &bytes[..]);
        }
        if let Ok(evidence) = Evidence::parse(&bytes) {
            prop_assert_eq!(evidence.encode(), &bytes[..]);
        }
        if let Ok(terms) = SignedTerms::parse(&bytes) {
            prop_assert_eq!(terms.encode(), &bytes[..]);
        }
    }

    #[test]
    fn mutated_bundles_never_panic_and_have_one_encoding(bytes in mutated("bundle/anchored_later.candor")) {
        if let Ok(bundle) = Bundle::parse(&bytes) {
            prop_assert_eq!(bundle.encode(), &bytes[..]);
        }
    }

    #[test]
    fn a_part_put_in_anothers_place_never_panics(from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>(), len in 1..200_usize) {
        let original = read("bundle/anchored_later.candor");
        let mut bytes = original.clone();
        let (from, to) = (from.index(bytes.len() - len), to.index(bytes.len() - len));
        bytes[to..to + len].copy_from_slice(&original[from..from + len]);
        if let Ok(bundle) = Bundle::parse(&bytes) {
            prop_assert_eq!(bundle.encode(), &bytes[..]);
        }
    }
}
