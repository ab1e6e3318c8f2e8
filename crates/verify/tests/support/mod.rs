//! Reading `vectors/` for the tests of this crate: JSON in, our types out. A missing file, key or case panics, never skips. And what tests of bytes do
//! to them.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use candor_verify::attest::TrustRoot;
use candor_verify::bytes::{Address, Hash32, Signature65, from_hex};
use candor_verify::check::{ChainFacts, TransferFact};
use candor_verify::policy::{Accept, KnownTree, Policy, RegistryRecord, Workloads};
use candor_verify::time::UnixSeconds;
use candor_verify::tlog::Tree;
use candor_verify::verdict::LogLevel;
use proptest::prelude::*;
use serde_json::Value;

pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../vectors").join(name)
}

pub fn read(name: &str) -> Vec<u8> {
    fs::read(path(name)).unwrap_or_else(|error| panic!("vectors/{name}: {error}"))
}

pub fn json(name: &str) -> Value {
    serde_json::from_slice(&read(name)).unwrap_or_else(|error| panic!("vectors/{name}: {error}"))
}

/// The list under `key`, which must not be empty.
pub fn list(file: &Value, key: &str) -> Vec<Case> {
    let items = file[key].as_array().unwrap_or_else(|| panic!("no list {key:?}"));
    assert!(!items.is_empty(), "{key:?} is empty");
    items.iter().cloned().map(Case).collect()
}

/// The cases and the rejects of a flat file.
pub fn flat(name: &str) -> (Vec<Case>, Vec<Case>) {
    let file = json(&format!("{name}.json"));
    let rejects = if file["rejects"].is_null() { Vec::new() } else { list(&file, "rejects") };
    (list(&file, "cases"), rejects)
}

/// One case, with readers that name it when a key is wrong.
#[derive(Clone, Debug)]
pub struct Case(pub Value);

impl Case {
    pub fn get(&self, key: &str) -> &Value {
        assert!(self.0.get(key).is_some(), "no {key:?} in {}", self.0);
        &self.0[key]
    }

    pub fn text(&self, key: &str) -> &str {
        self.get(key).as_str().unwrap_or_else(|| panic!("{key:?} is not a text in {}", self.0))
    }

    pub fn name(&self) -> &str {
        self.text("name")
    }

    pub fn refused_by(&self) -> &str {
        self.text("refusedBy")
    }

    pub fn bytes(&self, key: &str) -> Vec<u8> {
        from_hex(self.text(key)).unwrap_or_else(|| panic!("{key:?} is not hex in {}", self.0))
    }

    pub fn hash(&self, key: &str) -> Hash32 {
        hash(self.get(key))
    }

    pub fn address(&self, key: &str) -> Address {
        address(self.get(key))
    }

    pub fn signature(&self, key: &str) -> Signature65 {
        Signature65::from_hex(self.text(key)).unwrap_or_else(|| panic!("{key:?} is no signature in {}", self.0))
    }

    pub fn addresses(&self, key: &str) -> Vec<Address> {
        self.get(key).as_array().expect("a list").iter().map(address).collect()
    }

    pub fn hashes(&self, key: &str) -> Vec<Hash32> {
        self.get(key).as_array().expect("a list").iter().map(hash).collect()
    }

    /// An integer, or a decimal string above 2^53 − 1.
    pub fn number(&self, key: &str) -> u64 {
        let value = self.get(key);
        value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_else(|| panic!("{key:?} is no number in {}", self.0))
    }

    pub fn flag(&self, key: &str) -> bool {
        self.get(key).as_bool().unwrap_or_else(|| panic!("{key:?} is no flag in {}", self.0))
    }
}

pub fn hash(value: &Value) -> Hash32 {
    Hash32::from_hex(value.as_str().unwrap_or_default()).unwrap_or_else(|| panic!("no hash: {value}"))
}

pub fn address(value: &Value) -> Address {
    Address::from_hex(value.as_str().unwrap_or_default()).unwrap_or_else(|| panic!("no address: {value}"))
}

fn items(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}"))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

fn accepted<T>(json: &Value, any: &str, item: impl Fn(&Value) -> T) -> Accept<T> {
    if json == any { Accept::Any } else { Accept::Only(items(json).iter().map(item).collect()) }
}

pub fn policy(json: &Value) -> Policy {
    let levels = [LogLevel::None, LogLevel::SelfLogged, LogLevel::Witnessed, LogLevel::Anchored];
    Policy {
        roots: items(&json["roots"]).iter().map(|root| TrustRoot { fingerprint: hash(root).0 }).collect(),
        workloads: match accepted(&json["workloads"], "dangerous-any", hash) {
            Accept::Any => Workloads::DangerousAny,
            Accept::Only(listed) => Workloads::Only(listed),
        },
        operators: accepted(&json["operators"], "any", address),
        registries: accepted(&json["registries"], "any", |entry| (number(&entry["chain_id"]), address(&entry["registry"]))),
        models: accepted(&json["models"], "any", hash),
        max_age_ms: number(&json["max_age_ms"]),
        skew_ms: number(&json["skew_ms"]),
        witnesses: items(&json["witnesses"]).iter().map(hash).collect(),
        witness_threshold: usize::try_from(number(&json["witness_threshold"])).expect("small"),
        require_level: *levels.iter().find(|level| level.as_str() == json["require_level"]).expect("a level"),
        require_offer_binding: json["require_offer_binding"].as_bool().expect("a flag"),
    }
}

/// The policy of a case of `bundle/cases.json`.
pub fn policy_of(name: &str) -> Policy {
    let cases = json("bundle/cases.json");
    let case = cases.as_array().and_then(|cases| cases.iter().find(|case| case["name"] == name)).expect("the case");
    policy(&case["policy"])
}

/// A file of the vectors with up to five bytes replaced, taken out or put in.
pub fn mutated(name: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let original = read(name);
    prop::collection::vec((any::<prop::sample::Index>(), 0..3_u8, any::<u8>()), 1..6).prop_map(move |edits| {
        let mut bytes = original.clone();
        for (at, kind, value) in edits {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = value,
                1 => drop(bytes.drain(at..at + 1)),
                _ => bytes.insert(at, value),
            }
        }
        bytes
    })
}

/// Flips every byte from `from` on, under each of its masks, and says by `end` which ended how.
pub fn flipped(
    bytes: &[u8],
    from: usize,
    masks: impl Fn(usize) -> Vec<u8> + Sync,
    end: impl Fn(&[u8]) -> &'static str + Sync,
) -> BTreeMap<&'static str, BTreeSet<usize>> {
    let next = AtomicUsize::new(from);
    let ends = Mutex::new(BTreeMap::<_, BTreeSet<usize>>::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                let mut flipped = bytes.to_vec();
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if bytes.len() <= at {
                        return;
                    }
                    for mask in masks(at) {
                        flipped[at] ^= mask;
                        let end = end(&flipped);
                        ends.lock().expect("no panic yet").entry(end).or_default().insert(at);
                        flipped[at] = bytes[at];
                    }
                }
            });
        }
    });
    ends.into_inner().expect("no panic")
}

/// What a caller read from a chain, with the lists that [`ChainFacts`] borrows.
#[derive(Debug)]
pub struct Facts {
    anchors: Vec<KnownTree>,
    observations: Vec<KnownTree>,
    registry: Option<RegistryRecord>,
    receipt_block_known: Option<bool>,
    evidence_block_known: Option<bool>,
    transfer: Option<TransferFact>,
}

impl Facts {
    pub fn from_json(json: &Value) -> Self {
        let tree = |json: &Value| KnownTree {
            log_id: hash(&json["log_id"]),
            tree: Tree { size: number(&json["size"]), root: hash(&json["root"]) },
            at: UnixSeconds(number(&json["at"])),
        };
        let moment = |json: &Value| (!json.is_null()).then(|| UnixSeconds(number(json)));
        let record = |json: &Value| RegistryRecord {
            k_sig: address(&json["k_sig"]),
            manifest_hash: hash(&json["manifest_hash"]),
            valid_until: UnixSeconds(number(&json["valid_until"])),
            invalid_from: moment(&json["invalid_from"]),
            revoked_at: moment(&json["revoked_at"]),
            is_forked: json["is_forked"].as_bool().unwrap(),
            has_gap: json["has_gap"].as_bool().unwrap(),
            predecessor_anchored: (!json["predecessor_anchored"].is_null()).then(|| number(&json["predecessor_anchored"])),
        };
        Self {
            anchors: items(&json["anchors"]).iter().map(tree).collect(),
            observations: items(&json["observations"]).iter().map(tree).collect(),
            registry: (!json["registry"].is_null()).then(|| record(&json["registry"])),
            receipt_block_known: json["receipt_block_known"].as_bool(),
            evidence_block_known: json["evidence_block_known"].as_bool(),
            transfer: json["transfer"].as_str().map(|transfer| match transfer {
                "seen" => TransferFact::Seen,
                "not_yet" => TransferFact::NotYet,
                "otherwise" => TransferFact::Otherwise,
                other => panic!("unknown {other}"),
            }),
        }
    }

    pub fn as_chain_facts(&self) -> ChainFacts<'_> {
        ChainFacts {
            anchors: &self.anchors,
            observations: &self.observations,
            registry: self.registry.as_ref(),
            receipt_block_known: self.receipt_block_known,
            evidence_block_known: self.evidence_block_known,
            transfer: self.transfer,
        }
    }
}
