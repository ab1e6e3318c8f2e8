//! Attestation vectors: every case of `vectors/attestation/cases.json` has the outcome it names.
//!
//! An unexpected accept fails as loudly as an unexpected refusal, and a refusal by another check than
//! the one named fails too. Format: `vectors/attestation/README.md`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use candor_verify::attest::{AttestError, Freshness, TrustRoot, VerifiedDocument, parse_document, verify_document};
use serde_json::Value;

#[test]
fn every_attestation_case_has_the_outcome_it_names() {
    let cases: Vec<Value> = serde_json::from_slice(&read("cases.json")).expect("cases.json is JSON");
    assert!(200 < cases.len(), "cases.json lost its cases: {}", cases.len());

    let mut by_expectation = BTreeMap::<String, u32>::new();
    let mut wrong = Vec::new();
    for case in &cases {
        let case = Case::from_json(case);
        let got = match case.run() {
            Ok(_) => "accept",
            Err(error) => {
                assert!(error.to_string().starts_with(error.check()), "{error}");
                error.check()
            }
        };
        if got != case.expect {
            wrong.push(format!("{}: expected {}, got {got}", case.name, case.expect));
        }
        *by_expectation.entry(case.expect.clone()).or_default() += 1;
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));

    // Each check has at least one case that it refuses.
    for check in CHECKS {
        assert!(by_expectation.contains_key(*check), "no case for {check}");
    }
}

#[test]
fn aws_document_of_2026_says_what_its_readme_says() {
    let verified = accept("aws_2026_indefinite_map_high_s");
    assert_eq!(verified.module_id(), "i-0340e0cb833504eb6-enc019c12d31f78864d");
    assert_eq!(verified.timestamp_ms(), 1_770_918_962_724);
    assert!(verified.is_hardware_root());
    assert_eq!(verified.root(), TrustRoot::AWS_NITRO_G1);
    assert_eq!(verified.root_fingerprint(), TrustRoot::AWS_NITRO_G1.fingerprint);
    let pcr0 = "9baef83909784e4d2cb84466c02931bb8125e948b62029029e80bfa1698bfd7069408e4ab20d1c99c859e8f774cce0ff";
    let pcr1 = "4b4d5b3661b3efc12920900c80e126e4ce783c522de6c02a2a5bf7af3a2b9327b86776f188e4be1c1c404a129dbda493";
    let pcr2 = "769925c8ae0c5c2d1aa86de149213b1c5dec642557bf0c426c6581f0e562a042d1c7d2578443515d103f74ce55337666";
    let pcr4 = "eb85f08a56f45ba20730ca9f061557e0d8361000b03348bb7afb1af949bcd6af7a7bb863e93e8a89326ff79bb021074b";
    assert_eq!(verified.pcr(0).unwrap().as_slice(), unhex(pcr0));
    assert_eq!(verified.pcr(4).unwrap().as_slice(), unhex(pcr4));
    assert_eq!(verified.pcr(15), Some(&[0; 48]));
    assert_eq!(verified.pcr(16), None);
    assert_eq!(verified.pcr(255), None);
    assert_eq!(verified.measurements().as_slice(), unhex(&[pcr0, pcr1, pcr2].concat()));
    assert_eq!(
        verified.user_data(),
        unhex(concat!(
            "1220b735546536e78ee12beea2d384fcda35f7491446c6858f79fa7ad5e4ae89b49f",
            "1220abf9d7453422eb419fc1391604b070a81bd6a61f4d9ae0ee71ab24d77670c154"
        ))
    );
    assert_eq!(verified.nonce().unwrap(), unhex("0123456789abcdef0123456789abcdef01234567"));
    assert_eq!(verified.public_key(), Some(&b"dummy"[..]));
    // 2026-02-12T20:56:02Z; the rest of the chain ends on 2026-02-13T17:00:33Z and later.
    assert_eq!(verified.leaf_not_after_ms(), 1_770_929_762_000);
    assert_eq!(verified.chain_not_after_ms(), 1_770_929_762_000);
}

#[test]
fn aws_document_of_2025_says_what_its_readme_says() {
    let verified = accept("aws_2025_definite_map_null_options");
    assert_eq!(verified.timestamp_ms(), 1_736_179_625_472);
    assert!(verified.is_hardware_root());
    let pcr0 = "8bb159f202bb95d6d4d98e0e103918246cea734f1d57cd263e4fd56075ed53f6fa8c68854817a32749a241e11874c26b";
    assert_eq!(verified.pcr(0).unwrap().as_slice(), unhex(pcr0));
    assert_eq!(verified.user_data(), b"");
    assert_eq!(verified.nonce(), None);
    assert_eq!(verified.public_key().unwrap().len(), 294);
}

#[test]
fn emulated_document_is_never_hardware() {
    let verified = accept("emulated_under_its_root");
    assert!(!verified.is_hardware_root());
    assert!(!verified.root().is_hardware());
    assert_eq!(verified.user_data(), b"hello-user-data");
    // Naming the hardware root beside its own does not make it hardware.
    let mut case = case("emulated_under_its_root");
    case.roots.push(TrustRoot::AWS_NITRO_G1);
    assert!(!case.run().expect("accepted under its own root").is_hardware_root());
}

#[test]
fn signature_twins_have_one_identity() {
    let [document, twin] = ["aws_2026_indefinite_map_high_s", "signature_twin_with_low_s_is_the_same_document"];
    assert_ne!(case(twin).bytes, case(document).bytes);
    assert_eq!(accept(twin), accept(document));
}

#[test]
fn refusals_carry_expected_and_got() {
    let stale = case("live_one_millisecond_too_old").run().unwrap_err();
    assert_eq!(stale, AttestError::Stale { oldest_ms: 1_770_918_962_725, got_ms: 1_770_918_962_724 });
    let root = case("emulated_under_aws").run().unwrap_err();
    let got = TrustRoot { fingerprint: unhex(DEVELOPMENT_ROOT).try_into().unwrap() };
    assert_eq!(root, AttestError::UntrustedRoot { expected: vec![TrustRoot::AWS_NITRO_G1], got });
    assert!(root.to_string().contains(DEVELOPMENT_ROOT), "{root}");
    assert_eq!(case("debug_mode_genuine").run().unwrap_err(), AttestError::DebugPcrZero { index: 0 });
}

#[test]
fn document_limit_is_16384_bytes() {
    let mut bytes = read("aws-us-east-2-2026-02-12.cose");
    bytes.resize(16_384, 0);
    assert_eq!(parse_document(&bytes).unwrap_err().check(), "attest.cose");
    bytes.push(0);
    assert_eq!(parse_document(&bytes).unwrap_err(), AttestError::Size { limit: 16_384, got: 16_385 });
}

/// Every byte in release; every 37th in debug builds, where elliptic curves are fifty times slower.
#[test]
fn any_flipped_byte_of_an_aws_document_is_refused() {
    let step = if cfg!(debug_assertions) { 37 } else { 1 };
    std::thread::scope(|scope| {
        for name in ["aws_2026_indefinite_map_high_s", "aws_2025_definite_map_null_options"] {
            scope.spawn(move || {
                let mut case = case(name);
                for at in (0..case.bytes.len()).step_by(step) {
                    // Another bit from byte to byte; all eight would take eight times as long.
                    let bit = 1 << (at % 8);
                    case.bytes[at] ^= bit;
                    let error = case.run().expect_err(&format!("{name}: byte {at} flipped by {bit:#04x} was accepted"));
                    assert!(CHECKS.contains(&error.check()), "unknown check {}", error.check());
                    case.bytes[at] ^= bit;
                }
                assert_eq!(case.run().map(|verified| verified.is_hardware_root()), Ok(true), "unflipped again");
            });
        }
    });
}

#[test]
fn any_flipped_bit_of_the_document_frame_is_refused() {
    for name in ["aws_2026_indefinite_map_high_s", "aws_2025_definite_map_null_options"] {
        let mut case = case(name);
        for at in 0..24 {
            for bit in 0..8 {
                case.bytes[at] ^= 1 << bit;
                assert!(case.run().is_err(), "{name}: bit {bit} of byte {at}");
                case.bytes[at] ^= 1 << bit;
            }
        }
    }
}

#[test]
fn any_truncation_of_an_aws_document_is_refused() {
    let bytes = read("aws-us-east-2-2026-02-12.cose");
    for length in 0..bytes.len() {
        assert!(parse_document(&bytes[..length]).is_err(), "{length} bytes were accepted");
    }
}

/// Every check that a document can fail.
const CHECKS: &[&str] = &[
    "attest.size",
    "attest.cose",
    "attest.protected",
    "attest.payload",
    "attest.fields",
    "attest.pcrs",
    "attest.root",
    "attest.cert.der",
    "attest.cert.chain",
    "attest.cert.constraints",
    "attest.cert.validity",
    "attest.cert.signature",
    "attest.signature",
    "attest.freshness",
    "attest.debug",
];

const DEVELOPMENT_ROOT: &str = "0d75012766fb2e1e5776b4f7136f9c2485f848d2cb7279a717585df724b53d27";

struct Case {
    name: String,
    bytes: Vec<u8>,
    roots: Vec<TrustRoot>,
    at_ms: u64,
    /// Age and skew of the live mode.
    live: Option<(u64, u64)>,
    expect: String,
}

impl Case {
    fn from_json(json: &Value) -> Self {
        let name = json["name"].as_str().expect("name").to_owned();
        let number = |json: &Value| json.as_u64().unwrap_or_else(|| panic!("{name}: number expected"));
        let mut bytes = read(json["file"].as_str().expect("file"));
        // Offsets are into the file as it is, so the last edit goes first.
        for edit in json["edits"].as_array().expect("edits").iter().rev() {
            let at = number(&edit["at"]) as usize;
            let insert = unhex(edit["insert"].as_str().expect("insert"));
            bytes.splice(at..at + number(&edit["remove"]) as usize, insert);
        }
        let roots = json["roots"].as_array().expect("roots").iter();
        let roots =
            roots.map(|root| TrustRoot { fingerprint: unhex(root.as_str().expect("root")).try_into().expect("32 bytes") }).collect();
        let live = match json["mode"].as_str().expect("mode") {
            "historical" => None,
            "live" => Some((number(&json["max_age_ms"]), number(&json["skew_ms"]))),
            mode => panic!("{name}: unknown mode {mode}"),
        };
        let at_ms = number(&json["at_ms"]);
        let expect = json["expect"].as_str().expect("expect").to_owned();
        Self { name, bytes, roots, at_ms, live, expect }
    }

    fn run(&self) -> Result<VerifiedDocument, AttestError> {
        let freshness = match self.live {
            None => Freshness::Historical,
            Some((max_age_ms, skew_ms)) => Freshness::Live { max_age_ms, skew_ms },
        };
        verify_document(&parse_document(&self.bytes)?, &self.roots, self.at_ms, freshness)
    }
}

fn case(name: &str) -> Case {
    let cases: Vec<Value> = serde_json::from_slice(&read("cases.json")).expect("cases.json is JSON");
    let found = cases.iter().find(|case| case["name"] == name);
    Case::from_json(found.unwrap_or_else(|| panic!("no case {name}")))
}

fn accept(name: &str) -> VerifiedDocument {
    case(name).run().unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn read(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../vectors/attestation");
    fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn unhex(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "odd hex {hex}");
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
}
