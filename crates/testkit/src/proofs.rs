//! Proofs, honest and lying, made of the bundles of `vectors/bundle`: each case is one deviation, of the proof, of what lies beside it, or of the
//! copy that is brought to it.
//!
//! Deterministic, given the bundles. How a case ends is written by hand. Spec: bundle.md §8.

use candor_verify::bundle::Bundle;
use candor_verify::bytes::to_hex;
use candor_verify::cbor::Writer;
use candor_verify::proof::Proof;
use candor_verify::transcript::{commitment_of, splice};
use candor_verify::verdict::Question;
use serde_json::{Value, json};

use crate::forge::{Lie, delivery};

/// One proof as one caller has it, and how it ends.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "complete: what a case of proof/cases.json says")]
pub struct ProofCase {
    /// The deviation.
    pub name: &'static str,
    /// Name of the file, which cases that differ in the copy share.
    pub file: &'static str,
    /// The file.
    pub bytes: Vec<u8>,
    /// Case of `bundle/cases.json` whose policy and chain facts judge it.
    pub judged_as: &'static str,
    /// Encoding of the evidence that lies beside it, if any.
    pub evidence: Option<Vec<u8>>,
    /// The caller's copy; `None` if the proof is judged alone.
    pub copy: Option<Copied>,
    /// `verified`, `cannot tell`, `parse`, or the id of the check that refuses.
    pub expect: &'static str,
    /// The grade of each question, in their order; `None` of bytes that are no proof.
    pub grades: Option<[&'static str; 4]>,
}

/// What the caller asked and got.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "complete: the two texts that a proof does not hold")]
pub struct Copied {
    /// The request's.
    pub body: Vec<u8>,
    /// Of the answer.
    pub frames: Vec<Vec<u8>>,
}

impl Copied {
    fn of(bundle: &Bundle) -> Self {
        Self { body: bundle.request.body.clone(), frames: bundle.response.frames.clone() }
    }

    /// The same with another last frame.
    fn ending_in(mut self, last: Vec<u8>) -> Self {
        self.frames.pop();
        self.frames.push(last);
        self
    }
}

/// Grades of an offline verdict that holds, on an answer of the built-in engine.
const HELD: [&str; 4] = ["REPLAYABLE", "NOT PROVEN HERE", "SIGNED", "SELF-LOGGED"];
/// The same without frames, that can be run again by nobody.
const ALONE: [&str; 4] = ["LOCAL", "NOT PROVEN HERE", "SIGNED", "SELF-LOGGED"];
/// A check of the first question refused.
const REFUSED: [&str; 4] = ["REFUSED", "NOT REACHED", "NOT REACHED", "NOT REACHED"];

/// Every case. `bundle` gives the bytes of a bundle by its name.
///
/// # Panics
/// If a bundle is missing, or the honest one does not begin as it should.
#[must_use]
pub fn all(bundle: &dyn Fn(&str) -> Vec<u8>) -> Vec<ProofCase> {
    let made = Maker { bundle };
    let mut cases = Vec::new();
    made.whole(&mut cases);
    made.travelled(&mut cases);
    made.another_copy(&mut cases);
    made.alone(&mut cases);
    made.evidence(&mut cases);
    let honest = made.proof_of("proof_of_an_answer", "honest");
    cases.extend(malformed(&honest.bytes, &bundle("honest")).into_iter().map(|(name, bytes)| ProofCase {
        file: name,
        bytes,
        ..honest.unread(name)
    }));
    cases
}

impl ProofCase {
    /// The same, which its reader refuses.
    fn unread(&self, name: &'static str) -> Self {
        Self { name, copy: None, expect: "parse", grades: None, ..self.clone() }
    }

    /// The same file with this copy.
    fn with(&self, name: &'static str, copy: Copied, expect: &'static str, grades: [&'static str; 4]) -> Self {
        Self { name, copy: Some(copy), expect, grades: Some(grades), ..self.clone() }
    }

    fn graded(self, grades: [&'static str; 4]) -> Self {
        Self { grades: Some(grades), ..self }
    }
}

/// Makes them of the bundles that are there.
struct Maker<'a> {
    bundle: &'a dyn Fn(&str) -> Vec<u8>,
}

impl Maker<'_> {
    fn parse(&self, name: &str) -> Bundle {
        Bundle::parse(&(self.bundle)(name)).expect("a bundle")
    }

    /// The proof of a bundle alone, judged as the bundle is.
    fn proof_of(&self, name: &'static str, of: &'static str) -> ProofCase {
        let bytes = Proof::of(&self.parse(of)).encode();
        ProofCase { name, file: name, bytes, judged_as: of, evidence: None, copy: None, expect: "cannot tell", grades: Some(ALONE) }
    }

    /// With the copy it is the very same bundle again.
    fn whole(&self, cases: &mut Vec<ProofCase>) {
        let unpaid = ["REPLAYABLE", "NOT PROVEN HERE", "NOBODY PAID", "SELF-LOGGED"];
        let relayed = ["RELAYED", "NOT PROVEN HERE", "SIGNED", "SELF-LOGGED"];
        let anchored = ["REPLAYABLE", "NOT PROVEN HERE", "SETTLED", "ANCHORED"];
        for (name, of, grades) in [
            ("proof_of_an_answer", "honest", HELD),
            ("proof_of_an_upgraded_bundle", "honest_upgraded_but_offline", HELD),
            ("proof_of_an_anchored_answer", "anchored", anchored),
            ("proof_of_an_answer_that_nobody_paid_for", "nobody_paid", unpaid),
            ("proof_of_a_public_answer", "public_answer", HELD),
            ("proof_of_proxied_work", "proxied_work", relayed),
            ("proof_of_no_frame", "aborted_before_the_first_frame", ALONE),
        ] {
            cases.push(self.proof_of(name, of).with(name, Copied::of(&self.parse(of)), "verified", grades));
        }
    }

    /// The copy as a client saves it, with the delivery in its last frame.
    fn travelled(&self, cases: &mut Vec<ProofCase>) {
        for (name, file, of) in [
            ("copy_as_it_travelled", "proof_of_an_answer", "honest"),
            ("copy_as_it_travelled_in_one_body", "proof_of_an_answer_in_one_body", "public_answer_in_one_body"),
        ] {
            cases.push(self.proof_of(file, of).with(name, travelled(&self.parse(of)), "verified", HELD));
        }
        // An answer whose last frame ends in a member of that name by itself.
        let own = ending_in(&self.parse("honest"), br#"{"choices":[{"delta":{"content":" evidence."}}],"candor":{"delivery":"AAEC"}}"#);
        let proof = ProofCase { bytes: Proof::of(&own).encode(), ..self.proof_of("proof_of_an_answer_with_a_member_of_its_own", "honest") };
        cases.push(proof.with("copy_with_a_member_of_its_own", Copied::of(&own), "verified", HELD));
        cases.push(proof.with("copy_with_a_member_of_its_own_as_it_travelled", travelled(&own), "verified", HELD));
        let without = Copied::of(&own).ending_in(br#"{"choices":[{"delta":{"content":" evidence."}}]}"#.to_vec());
        cases.push(proof.with("copy_without_its_own_member", without, "response.commitment", REFUSED));
    }

    /// Copies that are not what the receipt commits to.
    fn another_copy(&self, cases: &mut Vec<ProofCase>) {
        let bundle = self.parse("honest");
        let honest = self.proof_of("proof_of_an_answer", "honest");
        for (name, of, expect) in [
            ("copy_of_another_request", "request_body_altered", "request.commitment"),
            ("copy_of_another_answer", "answer_altered", "response.commitment"),
            ("copy_cut_short", "answer_cut_short", "response.commitment"),
        ] {
            cases.push(honest.with(name, Copied::of(&self.parse(of)), expect, REFUSED));
        }
        for (name, of, expect) in [
            ("salt_altered", "request_salt_altered", "request.commitment"),
            ("path_altered", "request_path_altered", "request.commitment"),
            ("seed_altered", "answer_seed_altered", "response.commitment"),
        ] {
            let proof = ProofCase { judged_as: "honest", ..self.proof_of(name, of) };
            cases.push(proof.with(name, Copied::of(&bundle), expect, REFUSED));
        }
        let (copy, sent) = (Copied::of(&bundle), travelled(&bundle));
        let last = sent.frames.last().expect("it has frames").clone();
        let text = String::from_utf8(last.clone()).expect("JSON");
        let unclosed = text.strip_suffix('}').expect("an object");
        let mut early = copy.clone();
        early.frames[0] = splice(&early.frames[0], MEMBER).expect("an object");
        let with_its_end = Copied { frames: [sent.frames.clone(), vec![b"[DONE]".to_vec()]].concat(), ..copy.clone() };
        for (name, copy) in [
            ("copy_of_another_answer_as_it_travelled", travelled(&self.parse("answer_altered"))),
            ("copy_spliced_twice", copy.clone().ending_in(splice(&last, MEMBER).expect("an object"))),
            ("copy_with_the_member_in_its_first_frame", early),
            ("copy_with_a_member_after_it", copy.clone().ending_in(format!(r#"{unclosed},"x":0}}"#).into_bytes())),
            ("copy_written_again", copy.ending_in(text.replace(r#","candor":{"#, r#", "candor": {"#).into_bytes())),
            ("copy_with_the_end_of_its_stream", with_its_end),
        ] {
            cases.push(honest.with(name, copy, "response.commitment", REFUSED));
        }
        let lie = "public_answer_of_another_text";
        let proof = self.proof_of("proof_of_a_public_answer_of_another_text", lie);
        cases.push(proof.with("public_answer_of_another_text", Copied::of(&self.parse(lie)), "work.claim", REFUSED));
    }

    /// Without a copy: what needs no text is judged.
    fn alone(&self, cases: &mut Vec<ProofCase>) {
        let unpaid = ["LOCAL", "NOT PROVEN HERE", "NOBODY PAID", "SELF-LOGGED"];
        let relayed = ["RELAYED", "NOT PROVEN HERE", "SIGNED", "SELF-LOGGED"];
        let anchored = ["LOCAL", "NOT PROVEN HERE", "SETTLED", "ANCHORED"];
        for (name, file, of, grades) in [
            ("alone", "proof_of_an_answer", "honest", ALONE),
            ("alone_and_anchored", "proof_of_an_anchored_answer", "anchored", anchored),
            ("alone_and_nobody_paid", "proof_of_an_answer_that_nobody_paid_for", "nobody_paid", unpaid),
            ("alone_and_public", "proof_of_a_public_answer", "public_answer", ALONE),
            ("alone_and_proxied", "proof_of_proxied_work", "proxied_work", relayed),
            ("alone_and_public_with_another_text", "proof_of_a_public_answer_of_another_text", "public_answer_of_another_text", ALONE),
        ] {
            cases.push(ProofCase { name, ..self.proof_of(file, of) }.graded(grades));
        }
        // Only a copy can show these.
        for (name, file, of) in [
            ("alone_with_another_salt", "salt_altered", "request_salt_altered"),
            ("alone_with_another_path", "path_altered", "request_path_altered"),
            ("alone_with_another_seed", "seed_altered", "answer_seed_altered"),
        ] {
            cases.push(ProofCase { name, judged_as: "honest", ..self.proof_of(file, of) });
        }
        let unlogged = ["LOCAL", "NOT PROVEN HERE", "SIGNED", "REFUSED"];
        let unfair = ["LOCAL", "NOT PROVEN HERE", "REFUSED", "NOT REACHED"];
        for (name, of, expect, grades) in [
            ("receipt_of_a_stranger", "receipt_signed_by_a_stranger", "receipt.signature", REFUSED),
            ("charge_raised", "charge_raised_after_signing", "receipt.signature", REFUSED),
            ("free_without_its_salt", "free_work_without_its_salt", "request.commitment", REFUSED),
            ("free_with_another_salt", "free_work_with_another_salt", "request.commitment", REFUSED),
            ("paid_with_a_salt_in_its_delivery", "salt_in_the_delivery_of_a_paid_answer", "request.commitment", REFUSED),
            ("more_tokens_than_offered", "more_tokens_than_offered", "work.claim", REFUSED),
            ("source_of_local_work", "local_work_with_a_source", "work.claim", REFUSED),
            ("source_that_does_not_travel", "proxied_work_whose_source_does_not_travel", "work.claim", REFUSED),
            ("source_at_another_host", "proxied_work_at_another_host", "work.claim", REFUSED),
            ("receipt_for_another_payer", "receipt_for_another_payer", "receipt.payment", unfair),
            ("leaf_salt_altered", "leaf_salt_altered", "log.inclusion", unlogged),
        ] {
            cases.push(ProofCase { expect, ..self.proof_of(name, of) }.graded(grades));
        }
        let (name, judged_as) = ("another_model_in_the_policy", "another_model_in_the_policy");
        cases.push(ProofCase { name, judged_as, expect: "work.model", ..self.proof_of("proof_of_an_answer", "honest") }.graded(REFUSED));
    }

    /// Evidence that is named, and lies beside the proof.
    fn evidence(&self, cases: &mut Vec<ProofCase>) {
        let bundle = self.parse("honest");
        let (own, other) = (Some(bundle.evidence.encode()), Some(self.parse("answers_a_challenge").evidence.encode()));
        let holding = self.proof_of("proof_of_an_answer", "honest");
        let naming = ProofCase { bytes: Proof::of(&bundle).naming().encode(), ..self.proof_of("proof_that_names_its_evidence", "honest") };
        let with = |proof: &ProofCase, name, evidence: &Option<Vec<u8>>| ProofCase {
            evidence: evidence.clone(),
            ..proof.with(name, Copied::of(&bundle), "verified", HELD)
        };
        cases.push(with(&naming, "proof_that_names_its_evidence", &own));
        cases.push(with(&holding, "evidence_that_it_holds_already", &own));
        cases.push(ProofCase { name: "alone_and_names_its_evidence", evidence: own, ..naming.clone() });
        for (proof, name) in [(&naming, "evidence_that_it_does_not_name"), (&holding, "evidence_that_it_does_not_hold")] {
            cases.push(ProofCase { evidence: other.clone(), ..proof.unread(name) });
        }
    }
}

/// Inside of a member that is spliced. Whoever cuts it out does not look into it.
const MEMBER: &[u8] = br#""delivery":"AAEC""#;

fn travelled(bundle: &Bundle) -> Copied {
    let last = bundle.response.frames.last().expect("it has frames");
    Copied::of(bundle).ending_in(splice(last, MEMBER).expect("an object"))
}

/// The honest answer with another last frame, signed over and logged.
fn ending_in(honest: &Bundle, last: &[u8]) -> Bundle {
    let mut bundle = honest.clone();
    bundle.response.frames = Copied::of(honest).ending_in(last.to_vec()).frames;
    let mut receipt = honest.delivery.receipt.clone();
    receipt.work.response_commitment = commitment_of(&bundle.response.seed, bundle.response.frames.iter().map(Vec::as_slice));
    let share = honest.delivery.seed_share.expect("its seed is of both");
    bundle.delivery = delivery(receipt, honest.delivery.decoding.clone(), share, &Lie::default());
    bundle
}

/// The honest proof with one deviation in its form.
fn malformed(bytes: &[u8], bundle: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    assert_eq!(bytes[..10], *b"\x88\x02\x65proof\x82\x01", "eight members, version 2, the word, evidence that it holds");
    let edit = |at: usize, remove: usize, insert: &[u8]| [&bytes[..at], insert, &bytes[at + remove..]].concat();
    let find = |needle: &[u8]| bytes.windows(needle.len()).position(|window| window == needle).expect("the honest proof has it");
    // Three members: salt, method and path.
    let path = b"\x64POST\x74/v1/chat/completions";
    let method = find(path);
    let request = method - 35;
    assert_eq!(bytes[request], 0x83, "salt, method, path");
    let mut tree = Writer::new();
    tree.array(5).u64(8).bytes(&[1; 32]).u64(9).bytes(&[2; 65]).array(0);
    let tree = tree.into_vec();
    let end = method + path.len();
    vec![
        ("malformed_empty", Vec::new()),
        ("malformed_trailing_byte", [bytes, &[0]].concat()),
        ("malformed_cut_before_the_last_byte", bytes[..bytes.len() - 1].to_vec()),
        ("malformed_version_of_before_the_first_release", edit(1, 1, &[0x01])),
        ("malformed_unknown_version", edit(1, 1, &[0x03])),
        ("malformed_version_not_shortest", edit(1, 1, &[0x18, 0x02])),
        ("malformed_array_length_not_shortest", edit(0, 1, &[0x98, 0x08])),
        ("malformed_indefinite_array", [&[0x9f], &bytes[1..], &[0xff]].concat()),
        ("malformed_map_for_array", edit(0, 1, &[0xa4])),
        ("malformed_tagged", [&[0xd9, 0xd9, 0xf7], bytes].concat()),
        ("malformed_one_member_more", [&[0x89], &bytes[1..], &[0]].concat()),
        ("malformed_one_member_less", [&[0x87], &bytes[1..bytes.len() - 1]].concat()),
        ("malformed_another_word", edit(3, 5, b"prove")),
        ("malformed_word_as_bytes", edit(2, 1, &[0x45])),
        ("malformed_unknown_evidence_code", edit(9, 1, &[0x02])),
        ("malformed_evidence_in_a_hashs_place", edit(9, 1, &[0x00])),
        ("malformed_hash_in_its_evidences_place", [&bytes[..10], &[0x58, 0x20], &[7; 32], &bytes[request..]].concat()),
        ("malformed_request_with_a_body", [&bytes[..request], &[0x84], &bytes[request + 1..end], &[0x41, 0x7b], &bytes[end..]].concat()),
        ("malformed_method_of_17_bytes", edit(method, 1, &[&[0x71], b"PROPPATCHPROP".as_slice()].concat())),
        ("malformed_path_not_utf8", edit(end - 1, 1, &[0xff])),
        ("malformed_later_trees_null", edit(bytes.len() - 1, 1, &[0xf6])),
        ("malformed_later_trees_of_one_size", [&bytes[..bytes.len() - 1], &[0x82], &tree, &tree].concat()),
        ("malformed_bundle_in_its_place", bundle.to_vec()),
    ]
}

/// What `proof/cases.json` says. `bundles` is what `bundle/cases.json` says: policies and chain facts are its own.
///
/// # Panics
/// If a case is judged as one that is not there.
#[must_use]
pub fn cases_text(cases: &[ProofCase], bundles: &Value) -> String {
    let lines: Vec<String> = cases.iter().map(|case| format!("  {}", case_json(case, bundles))).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

fn case_json(case: &ProofCase, bundles: &Value) -> Value {
    let named = |item: &&Value| item["name"] == case.judged_as;
    let judged_as = bundles.as_array().and_then(|items| items.iter().find(named)).expect("a case of bundle/cases.json");
    let copy = case.copy.as_ref().map(
        |Copied { body, frames }| json!({"body": to_hex(body), "frames": frames.iter().map(|frame| to_hex(frame)).collect::<Vec<_>>()}),
    );
    let is_refused = !["verified", "cannot tell"].contains(&case.expect);
    let graded = |grades: [&str; 4]| -> Value {
        Question::ALL.iter().map(|question| question.key().to_owned()).zip(grades.map(Value::from)).collect()
    };
    json!({
        "name": case.name,
        "file": format!("{}.candor", case.file),
        "evidence": case.evidence.as_deref().map(to_hex),
        "copy": copy,
        "policy": judged_as["policy"],
        "chain_facts": judged_as["chain_facts"],
        "expect": case.expect,
        // The grade of the last question is the level.
        "log_level": case.grades.filter(|_| !is_refused).map_or("NOT LOGGED", |[.., level]| level),
        "grades": case.grades.map(graded),
    })
}
