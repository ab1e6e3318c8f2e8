//! What `explain` shows is what the checks compare: each shown preimage hashes to the shown digest by the shown function, each digest of a
//! verdict is among those shown, and every step that compares one is explained. Over the bundle vectors, right and wrong ones.

mod support;

use std::collections::BTreeSet;

use candor_verify::bundle::Bundle;
use candor_verify::bytes::to_hex;
use candor_verify::check::verify_bundle;
use candor_verify::eip712::K256;
use candor_verify::explain::{Explained, HashFunction, Hashed, Part, SignatureScheme, Signed, explain};
use candor_verify::hash::{hmac_sha256, keccak256, sha256};
use candor_verify::step::Step;
use candor_verify::verdict::{Outcome, Status};
use serde_json::Value;
use sha2::Digest as _;
use support::{Case, Facts, json, policy, read};

/// Steps that compare no hash and no signature: fields, times, lists, and what a chain says.
const PLAIN: [Step; 13] = [
    Step::PolicyOperator,
    Step::PolicyRegistry,
    Step::EvidenceBlock,
    Step::RegistryListed,
    Step::ReceiptTime,
    Step::ReceiptBlock,
    Step::WorkModel,
    Step::PrivacyChannel,
    Step::OfferTerms,
    Step::PaymentTerms,
    Step::ReceiptCharge,
    Step::PaymentTransfer,
    Step::LogAnchored,
];

fn cases() -> Vec<Case> {
    let Value::Array(items) = json("bundle/cases.json") else { panic!("no list") };
    items.into_iter().map(Case).collect()
}

fn case(name: &str) -> Case {
    cases().into_iter().find(|case| case.name() == name).unwrap_or_else(|| panic!("no case {name}"))
}

fn bundle(case: &Case) -> Option<Bundle> {
    Bundle::parse(&read(&format!("bundle/{}", case.text("file")))).ok()
}

fn applied(function: HashFunction, preimage: &[u8]) -> Vec<u8> {
    match function {
        HashFunction::Sha256 => sha256(&[preimage]).0.to_vec(),
        HashFunction::Sha384 => sha2::Sha384::digest(preimage).to_vec(),
        HashFunction::Keccak256 => keccak256(&[preimage]).0.to_vec(),
        HashFunction::HmacSha256 { key } => hmac_sha256(&key, &[preimage]).0.to_vec(),
        other => panic!("unknown {other:?}"),
    }
}

fn hashes(explained: &Explained) -> impl Iterator<Item = &Hashed> {
    explained.parts.iter().filter_map(|part| if let Part::Hashed(hashed) = part { Some(hashed) } else { None })
}

fn signatures(explained: &Explained) -> impl Iterator<Item = &Signed> {
    explained.parts.iter().filter_map(|part| if let Part::Signed(signed) = part { Some(signed) } else { None })
}

fn digests(explained: &Explained) -> BTreeSet<String> {
    hashes(explained).map(|hashed| to_hex(&hashed.digest)).collect()
}

#[test]
fn each_preimage_hashes_to_its_digest_in_every_bundle_also_in_a_refused_one() {
    let mut total = 0;
    for case in cases() {
        let Some(bundle) = bundle(&case) else { continue };
        let explained = explain(&bundle, &K256);
        assert_eq!(explained.iter().map(|step| step.step).collect::<Vec<_>>(), Step::BUNDLE, "{}", case.name());
        for hashed in explained.iter().flat_map(hashes) {
            assert_eq!(to_hex(&applied(hashed.function, &hashed.preimage)), to_hex(&hashed.digest), "{}: {}", case.name(), hashed.name);
            let laid_out: usize = hashed.layout.iter().map(|(_, length)| length).sum();
            assert!(hashed.layout.is_empty() || laid_out == hashed.preimage.len(), "{}: {}", case.name(), hashed.name);
            if let Some(text) = &hashed.type_string {
                assert_eq!(hashed.preimage[..32], keccak256(&[text.as_bytes()]).0, "{}: {}", case.name(), hashed.name);
            }
            total += 1;
        }
    }
    assert!(20_000 < total, "{total}");
}

#[test]
fn every_step_that_compares_a_digest_is_explained_and_no_other() {
    let explained = explain(&bundle(&case("honest_cosigned")).expect("a bundle"), &K256);
    for step in explained {
        let is_explained = hashes(&step).next().is_some() || signatures(&step).next().is_some() || step.step == Step::LogConsistency;
        // A price has no hash, and LOCAL work that is not public has no record to hash: these are told.
        let is_told = [Step::OfferPrice, Step::WorkClaim].contains(&step.step) && !step.parts.is_empty();
        assert_eq!(is_explained || is_told, !PLAIN.contains(&step.step), "{}", step.step.id());
    }
}

#[test]
fn what_an_honest_verdict_compared_is_what_is_explained() {
    // Steps whose check shows one digest as expected, and as got.
    let one_digest = [
        Step::EvidenceTerms,
        Step::PolicyWorkload,
        Step::RequestCommitment,
        Step::ResponseCommitment,
        Step::WorkDecoding,
        Step::PaymentBinding,
        Step::ReceiptPayment,
    ];
    let by_address = [Step::EvidenceOperator, Step::ReceiptSignature, Step::OfferSignature, Step::PaymentSignature];
    let mut seen = BTreeSet::new();
    for case in cases().into_iter().filter(|case| case.text("expect") == "verified") {
        let bundle = bundle(&case).expect("a bundle");
        let facts = Facts::from_json(case.get("chain_facts"));
        let (verdict, _) = verify_bundle(&bundle, &policy(case.get("policy")), facts.as_chain_facts(), &K256);
        assert_eq!(verdict.outcome(), Outcome::Verified);
        for (check, explained) in verdict.checks().iter().zip(explain(&bundle, &K256)) {
            assert_eq!(check.step, explained.step);
            assert!(signatures(&explained).all(|signed| signed.got.as_ref() == Some(&signed.expected)), "{}: {}", case.name(), check.id);
            if check.status != Status::Passed {
                continue;
            }
            let shown = digests(&explained);
            if one_digest.contains(&check.step) && bundle.sale.is_some() {
                assert!(shown.contains(&check.got), "{}: {} compared {}", case.name(), check.id, check.got);
                seen.insert(check.id);
            }
            if by_address.contains(&check.step) {
                let signed = signatures(&explained).next().unwrap_or_else(|| panic!("{}: nobody signed", check.id));
                assert_eq!((&check.expected, Some(&check.got)), (&signed.expected, signed.got.as_ref()), "{}", case.name());
                assert!(shown.contains(&to_hex(&signed.message)), "{}: the digest that is signed is shown", check.id);
                seen.insert(check.id);
            }
        }
    }
    assert_eq!(seen.len(), one_digest.len() + by_address.len(), "{seen:?}");
}

#[test]
fn the_parts_that_no_check_shows_alone_are_the_ones_of_the_bundle() {
    let bundle = bundle(&case("honest_cosigned")).expect("a bundle");
    let explained = explain(&bundle, &K256);
    let shown = |step: Step| digests(explained.iter().find(|explained| explained.step == step).expect("a step"));
    let (delivery, manifest, terms) = (&bundle.delivery, &bundle.evidence.manifest, &bundle.evidence.terms.terms);
    let expect = [
        (Step::EvidenceBinding, manifest.hash().to_string()),
        (Step::EvidenceManifest, manifest.contracts_hash.to_string()),
        (Step::EvidenceManifest, manifest.model_set_root.to_string()),
        (Step::EvidenceManifest, manifest.price_table_hash.to_string()),
        (Step::ReceiptBoot, delivery.receipt.log_id.to_string()),
        (Step::WorkSeed, delivery.decoding.seed.to_string()),
        (Step::WorkSeed, bundle.sale.as_ref().expect("a sale").offer.seed_commitment.to_string()),
        (Step::LogInclusion, delivery.checkpoint.checkpoint.tree.root.to_string()),
        (Step::LogCheckpoint, delivery.checkpoint.checkpoint.digest().to_string()),
    ];
    for (step, digest) in expect {
        assert!(shown(step).contains(&digest), "{}: {digest}", step.id());
    }
    assert_eq!(terms.digest(), manifest.terms_hash);
    let schemes: Vec<SignatureScheme> = explained.iter().flat_map(signatures).map(|signed| signed.scheme).collect();
    for scheme in [SignatureScheme::Secp256k1, SignatureScheme::Ed25519, SignatureScheme::P384] {
        assert!(schemes.contains(&scheme), "{}", scheme.as_str());
    }
}

#[test]
fn of_a_refused_bundle_the_difference_is_shown() {
    let told = |explained: &[Explained], step: Step, wanted: &str| {
        let parts = &explained.iter().find(|explained| explained.step == step).expect("a step").parts;
        let told =
            parts.iter().find_map(|part| if let Part::Told { name, text } = part { (name == wanted).then(|| text.clone()) } else { None });
        told.unwrap_or_else(|| panic!("{}: {wanted}", step.id()))
    };
    let altered = explain(&bundle(&case("answer_altered")).expect("a bundle"), &K256);
    let said = told(&altered, Step::ResponseCommitment, "response commitment in the receipt");
    let response = altered.iter().find(|explained| explained.step == Step::ResponseCommitment).expect("a step");
    assert!(!digests(response).contains(&said));

    let forged = case("receipt_signed_by_a_stranger");
    let stranger = explain(&bundle(&forged).expect("a bundle"), &K256);
    let receipt = stranger.iter().find(|explained| explained.step == Step::ReceiptSignature).expect("a step");
    let signed = signatures(receipt).next().expect("a signature");
    assert!(signed.got.is_some() && signed.got.as_ref() != Some(&signed.expected), "{signed:?}");
}
