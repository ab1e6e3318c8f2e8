//! Operator terms, registration, manifest, freshness, workload, prices: what one boot is made of.

use candor_verify::bytes::{Address, Amount, Hash32};
use candor_verify::manifest::{Freshness, Manifest, TeeKind, attested_bytes, workload_id};
use candor_verify::registration::Registration;
use candor_verify::terms::{Asset, Chain, Model, OperatorTerms, Price, SignedTerms, Upstream};
use serde_json::{Value, json};

use super::{File, a, address, file, h, hash, hex, number};
use crate::forge::{K_SIG, Key, OPERATOR, REGISTRAR};
use crate::honest;

pub(super) fn files() -> Vec<File> {
    vec![terms(), registrations(), boots(), manifests(), freshness(), workloads(), prices()]
}

fn full_terms() -> OperatorTerms {
    let mut terms = honest::terms();
    terms.flags = 1;
    terms.chains.push(Chain {
        chain_id: 8453,
        log_anchor: Address::ZERO,
        settler_factory: a(1),
        batch: a(2),
        upto_proxy: a(3),
        channel_policy: h(4),
    });
    terms.assets.push(Asset { chain_id: 8453, asset: a(5), name: "USD Coin".into(), version: "2".into(), decimals: 6 });
    terms.models.push(Model { id: "größer".into(), digest: h(6), context_tokens: u32::MAX });
    terms.prices.push(Price {
        model: h(6),
        chain_id: 8453,
        asset: a(5),
        per_million_prompt: Amount(u128::MAX),
        per_million_completion: Amount(0),
        per_request: Amount(1),
    });
    terms.upstreams.push(Upstream { name: "up".into(), url: "https://up.example/v1".into(), trust_anchor: h(7) });
    terms.endpoints.push("https://node.example:8443".into());
    terms
}

type Change = fn(&mut OperatorTerms);

fn terms() -> File {
    let signed = |terms: OperatorTerms, key: u8| honest::sign_terms(terms, &Key::of(key));
    let case = |name: &str, signed: &SignedTerms| {
        let terms = &signed.terms;
        json!({
            "name": name, "words": hex(terms.words().as_slice()), "digest": hash(&terms.digest()), "signature": hex(&signed.signature.0),
            "operator": address(&terms.operator), "contractsHash": hash(&terms.contracts_hash()),
            "modelSetRoot": hash(&terms.model_set_root()), "priceTableHash": hash(&terms.price_table_hash()), "cbor": hex(&signed.encode()),
        })
    };
    let cases = vec![
        case("one chain, model and price", &signed(honest::terms(), OPERATOR)),
        case("two of everything", &signed(full_terms(), OPERATOR)),
    ];
    let mut rejects = vec![{
        let stranger = signed(honest::terms(), 0x77);
        json!({ "name": "signed by a stranger", "cbor": hex(&stranger.encode()), "refusedBy": "evidence.operator" })
    }];
    let inconsistent: [(&str, Change); 11] = [
        ("unknown flag", |o| o.flags = 2),
        ("payee zero", |o| o.payee = Address::ZERO),
        ("no model", |o| o.models.clear()),
        ("no price", |o| o.prices.clear()),
        ("no endpoint", |o| o.endpoints.clear()),
        ("no log anchor on the anchor chain", |o| o.chains[0].log_anchor = Address::ZERO),
        ("a model twice", |o| o.models.push(o.models[0].clone())),
        ("an asset twice", |o| o.assets.push(o.assets[0].clone())),
        ("a price for an unknown asset", |o| o.prices[0].asset = a(1)),
        ("an escape sequence in a model's id", |o| o.models[0].id = "\u{1b}[2K\rVERIFIED".into()),
        ("a bidirectional control in an endpoint", |o| o.endpoints[0].push('\u{202e}')),
    ];
    for (name, change) in inconsistent {
        let mut terms = honest::terms();
        change(&mut terms);
        rejects.push(json!({ "name": name, "cbor": hex(&signed(terms, OPERATOR).encode()), "refusedBy": "evidence.manifest" }));
    }
    let bytes = signed(honest::terms(), OPERATOR).encode();
    assert_eq!(bytes[..2], [0x8f, 0x01], "fifteen members, version 1");
    let malformed = |name: &str, bytes: Vec<u8>| json!({ "name": name, "cbor": hex(&bytes), "refusedBy": "parse" });
    rejects.extend([
        malformed("unknown field", [&[0x90], &bytes[1..], &[0]].concat()),
        malformed("unknown version", [&[0x8f, 0x02], &bytes[2..]].concat()),
        malformed("trailing byte", [bytes.as_slice(), &[0]].concat()),
        malformed("cut short", bytes[..bytes.len() - 1].to_vec()),
    ]);
    file("terms", cases, rejects)
}

fn registrations() -> File {
    let case = |name: &str, registration: Registration| {
        let key = Key::of(REGISTRAR);
        json!({
            "name": name, "signer": address(&registration.signer), "manifestHash": hash(&registration.manifest_hash),
            "kind": registration.kind, "termsDataHash": hash(&registration.terms_data_hash), "registry": address(&registration.registry), "chainId": number(registration.chain_id),
            "digest": hash(&registration.digest()), "signature": hex(&key.sign(&registration.digest()).0), "registrar": address(&key.address()),
        })
    };
    let dev = Registration { signer: a(1), manifest_hash: h(2), kind: 0x51, terms_data_hash: h(4), registry: a(3), chain_id: 31337 };
    let mut exchanged = case("terms data exchanged after signing", dev);
    exchanged["termsDataHash"] = hash(&h(5));
    exchanged["refusedBy"] = json!("WrongRegistrar");
    let mut another_kind = case("kind exchanged after signing", dev);
    another_kind["kind"] = json!(1);
    another_kind["refusedBy"] = json!("WrongRegistrar");
    let cases = vec![case("dev chain", dev), case("largest chain id", Registration { chain_id: u64::MAX, ..dev })];
    file("registration", cases, vec![exchanged, another_kind])
}

fn manifest() -> Manifest {
    let boot = Manifest {
        k_sig: a(1),
        k_log: h(2),
        k_hpke: h(3),
        tls_spki_hash: h(4),
        predecessor_log: h(6),
        predecessor_size: 7,
        predecessor_root: h(8),
        build_id: h(9),
        ..Manifest::default()
    };
    Manifest { keys_hash: h(5), ..boot.under(&honest::terms()) }
}

fn boots() -> File {
    let case = |name: &str, m: &Manifest, key: &Key| {
        json!({
            "name": name, "manifestHash": hash(&m.hash()), "digest": hash(&m.boot_digest()), "kSig": address(&Key::of(K_SIG).address()),
            "signature": hex(&key.sign(&m.boot_digest()).0),
        })
    };
    let mut stranger = case("signed by a stranger", &manifest(), &Key::of(REGISTRAR));
    stranger["refusedBy"] = json!("WrongBootSigner");
    let cases = vec![case("with a predecessor", &manifest(), &Key::of(K_SIG)), case("zeros", &Manifest::default(), &Key::of(K_SIG))];
    file("boot", cases, vec![stranger])
}

fn manifests() -> File {
    let case = |name: &str, m: &Manifest| json!({ "name": name, "encoded": hex(&m.encode()), "hash": hash(&m.hash()), "logId": hash(&m.log_id()) });
    let zero = Manifest::default();
    let large = Manifest { anchor_chain_id: u64::MAX, predecessor_size: u64::MAX, ..manifest() };
    let reject = |name: &str, bytes: Vec<u8>| json!({ "name": name, "encoded": hex(&bytes), "refusedBy": "parse" });
    let bytes = manifest().encode();
    let with = |at: usize, value: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        bytes
    };
    let rejects = vec![
        reject("unknown version", with(31, 2)),
        reject("high byte in K_sig", with(32 + 11, 1)),
        reject("anchor chain id of 2^64", with(10 * 32 + 23, 1)),
        reject("one word less", bytes[..544].to_vec()),
        reject("one byte more", [bytes.as_slice(), &[0]].concat()),
    ];
    let cases = vec![case("with a predecessor", &manifest()), case("zeros", &zero), case("largest numbers", &large)];
    file("manifest", cases, rejects)
}

fn freshness() -> File {
    let case = |name: &str, f: &Freshness| {
        let (k_sig, manifest_hash) = (a(1), manifest().hash());
        json!({
            "name": name, "chainId": number(f.chain_id), "blockNumber": number(f.block_number), "blockHash": hash(&f.block_hash),
            "nonce": hash(&f.nonce), "tag": hex(&f.tag()), "kSig": address(&k_sig), "manifestHash": hash(&manifest_hash),
            "attested": hex(&attested_bytes(&k_sig, &manifest_hash, f)),
        })
    };
    let block = Freshness { chain_id: 31337, block_number: 7, block_hash: h(2), nonce: Hash32::ZERO };
    let challenged = Freshness { nonce: h(3), ..block };
    let large = Freshness { chain_id: u64::MAX, block_number: u64::MAX, ..challenged };
    let mut stolen = case("tag of another challenge", &challenged);
    stolen["nonce"] = hash(&h(4));
    stolen["refusedBy"] = json!("evidence.binding");
    file("freshness", vec![case("no challenge", &block), case("challenged", &challenged), case("largest numbers", &large)], vec![stolen])
}

fn workloads() -> File {
    let case = |name: &str, root: &Hash32, measurements: &[u8]| {
        let id = workload_id(TeeKind::Nitro, root, measurements);
        json!({ "name": name, "kind": 1, "rootFingerprint": hash(root), "measurements": hex(measurements), "workloadId": hash(&id) })
    };
    let counting: Vec<u8> = (0..144).collect();
    let aws = Hash32(candor_verify::attest::TrustRoot::AWS_NITRO_G1.fingerprint);
    let mut moved = case("measurement under another root", &h(1), &counting);
    moved["rootFingerprint"] = hash(&aws);
    moved["refusedBy"] = json!("policy.workload");
    file(
        "workload",
        vec![case("AWS root", &aws, &counting), case("another root", &h(1), &counting), case("ones", &aws, &[1; 144])],
        vec![moved],
    )
}

fn prices() -> File {
    let case = |name: &str, price: [u128; 3], prompt: u64, completion: u64| -> Value {
        let [per_million_prompt, per_million_completion, per_request] = price.map(Amount);
        let table = Price { per_million_prompt, per_million_completion, per_request, ..Price::default() };
        json!({
            "name": name, "perMillionPrompt": per_million_prompt.to_string(), "perMillionCompletion": per_million_completion.to_string(),
            "perRequest": per_request.to_string(), "promptTokens": number(prompt), "completionTokens": number(completion),
            "amount": table.amount(prompt, completion).map(|amount| amount.to_string()),
        })
    };
    let mut cheap = case("rounded down", [1_000_000, 2_500_000, 10], 3, 1);
    cheap["amount"] = json!("15");
    cheap["refusedBy"] = json!("offer.price");
    let cases = vec![
        case("free tokens", [0, 0, 10], 1_000, 1_000),
        case("rounded up", [1_000_000, 2_500_000, 10], 3, 1),
        case("one millionth", [1, 0, 0], 1, 0),
        case("exact million", [1, 1, 0], 1_000_000, 1_000_000),
        case("no price in 128 bits", [u128::MAX, 0, 0], 2, 0),
        case("no sum in 128 bits", [0, 0, u128::MAX], 0, 0),
        case("no sum in 128 bits with a token", [1_000_000, 0, u128::MAX], 1, 0),
    ];
    file("price", cases, vec![cheap])
}
