//! Proofs, honest and lying, made of the bundles of `vectors/bundle`: each case is one deviation, of the proof or of the copy that is brought to it.
//!
//! Deterministic, given the bundles. Spec: bundle.md §8.

use candor_verify::bundle::Bundle;
use candor_verify::cbor::Writer;
use candor_verify::proof::Proof;
use serde_json::{Value, json};

/// One proof, and how it ends.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "complete: what a case of proof/cases.json says")]
pub struct ProofCase {
    /// Its name, and that of its file.
    pub name: &'static str,
    /// The file.
    pub bytes: Vec<u8>,
    /// Case of `bundle/cases.json` whose policy judges it.
    pub policy_of: &'static str,
    /// Bundle whose body and frames are brought as the caller's copy.
    pub copy_of: &'static str,
    /// Bundle whose evidence lies beside it; `None` if the proof holds its own.
    pub evidence_of: Option<&'static str>,
    /// How it ends alone.
    pub alone: &'static str,
    /// How it ends with the copy.
    pub expect: &'static str,
}

/// Every case. `bundle` gives the bytes of a bundle by its name.
///
/// # Panics
/// If a bundle is missing, or the honest one does not begin as it should.
#[must_use]
pub fn all(bundle: &dyn Fn(&str) -> Vec<u8>) -> Vec<ProofCase> {
    let parse = |name: &str| Bundle::parse(&bundle(name)).expect("a bundle");
    let proof = |name: &'static str, of: &'static str| ProofCase {
        name,
        bytes: Proof::of(&parse(of)).encode(),
        policy_of: of,
        copy_of: of,
        evidence_of: None,
        alone: "cannot tell",
        expect: "verified",
    };
    let honest = proof("proof_of_an_answer", "honest");
    let refused = |name, of, check: &'static str| ProofCase { alone: check, expect: check, policy_of: "honest", ..proof(name, of) };
    let copied = |name, copy_of, expect| ProofCase { name, copy_of, expect, ..honest.clone() };
    let naming = Proof::of(&parse("honest")).naming().encode();
    let mut cases = vec![
        honest.clone(),
        ProofCase { name: "proof_that_names_its_evidence", bytes: naming.clone(), evidence_of: Some("honest"), ..honest.clone() },
        proof("proof_of_an_upgraded_bundle", "honest_upgraded_but_offline"),
        proof("proof_of_an_answer_that_nobody_paid_for", "nobody_paid"),
        proof("proof_of_a_public_answer", "public_answer"),
        proof("proof_of_proxied_work", "proxied_work"),
        proof("proof_of_no_frame", "aborted_before_the_first_frame"),
        copied("copy_of_another_request", "request_body_altered", "request.commitment"),
        copied("copy_of_another_answer", "answer_altered", "response.commitment"),
        copied("copy_cut_short", "answer_cut_short", "response.commitment"),
        ProofCase { policy_of: "honest", expect: "request.commitment", ..proof("salt_altered", "request_salt_altered") },
        refused("receipt_of_a_stranger", "receipt_signed_by_a_stranger", "receipt.signature"),
        refused("charge_raised", "charge_raised_after_signing", "receipt.signature"),
        refused("leaf_salt_altered", "leaf_salt_altered", "log.inclusion"),
        ProofCase {
            name: "evidence_that_it_does_not_name",
            bytes: naming,
            evidence_of: Some("answers_a_challenge"),
            alone: "parse",
            expect: "parse",
            ..honest.clone()
        },
    ];
    cases.extend(malformed(&honest.bytes, &bundle("honest")).into_iter().map(|(name, bytes)| ProofCase {
        name,
        bytes,
        alone: "parse",
        expect: "parse",
        ..honest.clone()
    }));
    cases
}

/// The honest proof with one deviation in its form.
fn malformed(bytes: &[u8], bundle: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    assert_eq!(bytes[..10], *b"\x88\x02\x65proof\x82\x01", "eight members, version 2, the word, evidence that it holds");
    let edit = |at: usize, remove: usize, insert: &[u8]| [&bytes[..at], insert, &bytes[at + remove..]].concat();
    let find = |needle: &[u8]| bytes.windows(needle.len()).position(|window| window == needle).expect("the honest proof has it");
    // Three members: salt, method and path.
    let path = b"\x64POST\x74/v1/chat/completions";
    let request = find(path) - 35;
    assert_eq!(bytes[request], 0x83, "salt, method, path");
    let mut tree = Writer::new();
    tree.array(5).u64(8).bytes(&[1; 32]).u64(9).bytes(&[2; 65]).array(0);
    let tree = tree.into_vec();
    vec![
        ("malformed_empty", Vec::new()),
        ("malformed_trailing_byte", [bytes, &[0]].concat()),
        ("malformed_cut_before_the_last_byte", bytes[..bytes.len() - 1].to_vec()),
        ("malformed_version_of_before_the_first_release", edit(1, 1, &[0x01])),
        ("malformed_unknown_version", edit(1, 1, &[0x03])),
        ("malformed_version_not_shortest", edit(1, 1, &[0x18, 0x02])),
        ("malformed_indefinite_array", [&[0x9f], &bytes[1..], &[0xff]].concat()),
        ("malformed_one_member_more", [&[0x89], &bytes[1..], &[0]].concat()),
        ("malformed_another_word", edit(3, 5, b"prove")),
        ("malformed_unknown_evidence_code", edit(9, 1, &[0x02])),
        ("malformed_evidence_in_a_hashs_place", edit(9, 1, &[0x00])),
        (
            "malformed_request_with_a_body",
            [
                &bytes[..request],
                &[0x84],
                &bytes[request + 1..request + 35 + path.len()],
                &[0x41, 0x7b],
                &bytes[request + 35 + path.len()..],
            ]
            .concat(),
        ),
        ("malformed_later_trees_of_one_size", [&bytes[..bytes.len() - 1], &[0x82], &tree, &tree].concat()),
        ("malformed_bundle_in_its_place", bundle.to_vec()),
    ]
}

/// What `proof/cases.json` says.
#[must_use]
pub fn cases_text(cases: &[ProofCase]) -> String {
    let rows: Vec<String> = cases
        .iter()
        .map(|case| {
            let row: Value = json!({
                "name": case.name, "file": format!("{}.candor", case.name), "policy_of": case.policy_of, "copy_of": case.copy_of,
                "evidence_of": case.evidence_of, "alone": case.alone, "expect": case.expect,
            });
            format!("  {row}")
        })
        .collect();
    format!("[\n{}\n]\n", rows.join(",\n"))
}
