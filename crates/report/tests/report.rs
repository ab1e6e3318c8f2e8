//! Policy text and verdict JSON against spec/ and vectors/: nothing that they name is missing, and nothing refused looks like a fact.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use candor_report::{PolicyText, PolicyTextError, SpendLimit, bundle_json, verdict_json};
use candor_verify::attest::TrustRoot;
use candor_verify::bundle::Bundle;
use candor_verify::bytes::{Address, Amount, Hash32, from_hex};
use candor_verify::check::{ChainFacts, verify_bundle};
use candor_verify::eip712::K256;
use candor_verify::policy::{Accept, Policy, Workloads};
use candor_verify::receipt::Receipt;
use candor_verify::verdict::{LogLevel, Outcome, PaymentBinding, Verdict};
use serde_json::Value;

fn file(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn text(path: &str) -> String {
    String::from_utf8(file(path)).unwrap()
}

fn bundle(name: &str) -> Bundle {
    Bundle::parse(&file(&format!("vectors/bundle/{name}.candor"))).unwrap()
}

/// The verdict by a policy file that names the vectors' root, and says this besides.
fn judge(bundle: &Bundle, besides: &str) -> Verdict {
    let cases: Value = serde_json::from_slice(&file("vectors/bundle/cases.json")).unwrap();
    let honest = cases.as_array().unwrap().iter().find(|case| case["name"] == "honest").unwrap();
    let root = honest["policy"]["roots"][0].as_str().unwrap();
    let text = format!("[accept]\nroots = [\"{root}\"]\nworkloads = \"dangerous-any\"\n{besides}");
    let policy = PolicyText::parse(&text).unwrap().policy;
    verify_bundle(bundle, &policy, ChainFacts::default(), &K256).0
}

/// A policy in which no field has its default.
fn sample() -> PolicyText {
    let policy = Policy {
        roots: vec![TrustRoot::AWS_NITRO_G1, TrustRoot { fingerprint: [7; 32] }],
        workloads: Workloads::Only(vec![Hash32([1; 32])]),
        operators: Accept::Only(vec![Address([2; 20])]),
        registries: Accept::Only(vec![(31337, Address([3; 20])), (1, Address([4; 20]))]),
        models: Accept::Only(vec![Hash32([5; 32]), Hash32([6; 32])]),
        max_age_ms: 1_501,
        skew_ms: 251,
        witnesses: vec![Hash32([8; 32])],
        witness_threshold: 1,
        require_level: LogLevel::Anchored,
        require_offer_binding: false,
    };
    let limit = SpendLimit {
        chain_id: 31337,
        asset: Address([9; 20]),
        max_per_request: Amount(10),
        max_per_day: Amount(u128::MAX),
        max_unresolved: 7,
    };
    PolicyText { policy, spend: vec![limit], find: vec![Hash32([10; 32]), Hash32([11; 32])] }
}

#[test]
fn a_policy_file_has_the_fields_of_the_spec_and_no_others() {
    let spec = text("spec/policy.md");
    let section = spec.split("\n## ").find(|section| section.starts_with("1. Fields")).unwrap();
    let of_spec: BTreeSet<&str> = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let written: toml::Table = toml::from_str(&sample().to_toml()).unwrap();
    let mut of_file = BTreeSet::new();
    for section in ["accept", "log"] {
        of_file.extend(written[section].as_table().unwrap().keys().map(String::as_str));
    }
    assert_eq!(of_file, of_spec);
}

#[test]
fn every_field_of_a_policy_file_is_read_as_it_was_written() {
    assert_eq!(PolicyText::parse(&sample().to_toml()), Ok(sample()));
    let any = Policy { workloads: Workloads::DangerousAny, operators: Accept::Only(vec![]), ..Policy::default() };
    let any = PolicyText { policy: any, spend: Vec::new(), find: Vec::new() };
    assert_eq!(PolicyText::parse(&any.to_toml()), Ok(any), "any, and an empty list, are told apart");
    let default = PolicyText { policy: Policy::default(), spend: Vec::new(), find: Vec::new() };
    assert_eq!(PolicyText::parse(&default.to_toml()), Ok(default.clone()));
    assert_eq!(PolicyText::parse(""), Ok(default));
}

#[test]
fn an_unknown_field_is_refused_at_its_place_with_the_fields_that_there_are() {
    let Err(PolicyTextError::Toml(message)) = PolicyText::parse("[accept]\nrots = []") else { panic!("it was read") };
    for word in ["line 2", "^^^^", "rots", "`roots`", "`skew_ms`", "`require_offer_binding`"] {
        assert!(message.contains(word), "{word}: {message}");
    }
}

#[test]
fn a_malformed_value_is_refused_by_the_name_of_its_field() {
    let spend = |limits: &str| format!("[[spend]]\nchain_id = 1\nasset = \"0x{}\"\n{limits}", "01".repeat(20));
    for (text, name) in [
        ("[accept]\nroots = [\"aws\"]".to_owned(), "accept.roots"),
        ("[accept]\nworkloads = [\"0x01\"]".into(), "accept.workloads"),
        ("[accept]\noperators = [\"0x01\"]".into(), "accept.operators"),
        ("[accept]\noperators = \"all\"".into(), "accept.operators"),
        ("[accept]\nworkloads = \"any\"".into(), "accept.workloads"),
        ("[accept]\nmodels = [\"candor-mini\"]".into(), "accept.models"),
        ("[accept]\nregistries = [{ chain_id = 1, address = \"0x...\" }]".into(), "accept.registries.address"),
        ("[find]\nlisted = [\"0x01\"]".into(), "find.listed"),
        (format!("[find]\nlisted = [{}]", format!("\"0x{}\",", "01".repeat(32)).repeat(33)), "find.listed"),
        ("[log]\nrequire_level = \"notarised\"".into(), "log.require_level"),
        ("[log]\nwitnesses = [\"key\"]".into(), "log.witnesses"),
        (spend("max_per_request = \"1e3\"\nmax_per_day = \"1\""), "spend.max_per_request"),
        (spend("max_per_request = \"1\"\nmax_per_day = \"01\""), "spend.max_per_day"),
    ] {
        let error = PolicyText::parse(&text).unwrap_err();
        assert!(matches!(&error, PolicyTextError::Value { field, .. } if *field == name), "{name}: {error:?}");
        assert!(error.to_string().starts_with(name), "{error}");
    }
    let without_witnesses = PolicyText::parse("[log]\nwitness_threshold = 1");
    assert_eq!(without_witnesses, Err(PolicyTextError::Threshold { expected: 1, got: 0 }));
}

#[test]
fn an_answer_that_a_stock_client_paid_for_is_verified_only_by_a_policy_file_that_says_so() {
    let stock = bundle("stock_client_where_binding_is_not_required");
    let accepted = judge(&stock, "require_offer_binding = false");
    assert_eq!((accepted.outcome(), accepted.payment_binding()), (Outcome::Verified, Some(PaymentBinding::EqualPriceOnly)));
    assert_eq!(verdict_json(&accepted)["payment_binding"], "equal price only");
    let refused = judge(&stock, "");
    assert_eq!((refused.refused().map(|check| check.id), refused.payment_binding()), (Some("payment.binding"), None));
    assert_eq!(verdict_json(&refused)["payment_binding"], Value::Null);
    // One that names its offer does so under either policy.
    for besides in ["", "require_offer_binding = false"] {
        assert_eq!(verdict_json(&judge(&bundle("honest"), besides))["payment_binding"], "offer");
    }
}

#[test]
fn the_json_of_a_bundle_has_every_word_of_its_receipt_under_the_name_of_the_spec() {
    let honest = bundle("honest");
    let json = bundle_json(&judge(&honest, ""), &honest);
    assert_eq!((&json["outcome"], &json["claims"]), (&"verified".into(), &Value::Null));
    let facts = &json["facts"];
    let names = names_of_words();
    assert_eq!(names.len(), Receipt::WORDS, "{names:?}");
    let receipt = &facts["receipt"];
    let encoded: Vec<u8> = names
        .iter()
        .flat_map(|name| {
            let places = [&receipt[name], &receipt["money"][name], &receipt["work"][name]];
            word(places.into_iter().find(|value| !value.is_null()).unwrap_or_else(|| panic!("no {name} in {receipt}")))
        })
        .collect();
    assert_eq!(encoded, honest.delivery.receipt.encode());
    assert_eq!(facts["digest"], honest.delivery.receipt.digest().to_string());
    assert_eq!(facts["offerDigest"], receipt["money"]["offerDigest"]);
    assert_eq!(facts["receiptId"].as_str().map(str::len), Some(32));
}

/// The names in the example at the top of receipt.md, in the order of the words.
fn names_of_words() -> Vec<String> {
    let spec = text("spec/receipt.md");
    let example = spec.split("```").nth(1).unwrap();
    let name = |line: &str| {
        let mut columns = line.trim_start_matches(|c: char| c.is_ascii_alphabetic()).split_whitespace();
        columns.next()?.parse::<usize>().ok()?;
        columns.next().map(str::to_owned)
    };
    example.lines().filter_map(name).collect()
}

/// A value as the 32 bytes that it stands for.
fn word(value: &Value) -> [u8; 32] {
    let bytes = match value {
        Value::Number(number) => number.as_u64().unwrap().to_be_bytes().to_vec(),
        Value::String(text) => from_hex(text).unwrap_or_else(|| text.parse::<u128>().unwrap().to_be_bytes().to_vec()),
        other => panic!("{other} is no word"),
    };
    let mut word = [0; 32];
    word[32 - bytes.len()..].copy_from_slice(&bytes);
    word
}

#[test]
fn what_a_bundle_says_is_no_fact_unless_it_is_verified() {
    let honest = bundle("honest");
    let mut raised = honest.clone();
    raised.delivery.receipt.money.charged = Amount(u128::MAX);
    raised.delivery.receipt.sequence = u64::MAX;
    for (bundle, besides, outcome) in
        [(&raised, "", Outcome::Refused), (&honest, "[log]\nrequire_level = \"anchored\"", Outcome::CannotTell)]
    {
        let verdict = judge(bundle, besides);
        assert_eq!(verdict.outcome(), outcome);
        let json = bundle_json(&verdict, bundle);
        assert!(json["facts"].is_null(), "{json}");
        assert_eq!(json["claims"]["receipt"]["money"]["charged"], bundle.delivery.receipt.money.charged.to_string());
        assert_eq!(json["claims"]["digest"], bundle.delivery.receipt.digest().to_string());
    }
    let json = bundle_json(&judge(&raised, ""), &raised);
    assert_eq!(json["claims"]["receipt"]["sequence"], "18446744073709551615", "no reader of JSON rounds it");
}

#[test]
fn a_verdict_alone_says_nothing_of_a_receipt() {
    let honest = bundle("honest");
    let (alone, whole) = (verdict_json(&judge(&honest, "")), bundle_json(&judge(&honest, ""), &honest));
    let keys = |json: &Value| json.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let names = [
        "anchored",
        "assurance",
        "checks",
        "grades",
        "log_level",
        "not_proven",
        "outcome",
        "payment_binding",
        "refused",
        "root",
        "simulated",
    ];
    let of_verdict = BTreeSet::from(names.map(String::from));
    assert_eq!(keys(&alone), of_verdict);
    assert_eq!(keys(&whole).difference(&keys(&alone)).collect::<Vec<_>>(), ["facts"]);
}
