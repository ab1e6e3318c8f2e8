//! Operator terms, registration, manifest, freshness, workload, prices: what one boot is made of.

use candor_verify::bytes::{Address, Amount, Hash32};
use candor_verify::hash::keccak256;
use candor_verify::manifest::{Freshness, FurtherKey, Manifest, TeeKind, attested_bytes, keys_hash, listed_id, workload_id};
use candor_verify::registration::{End, Registration};
use candor_verify::terms::{
    Access, Asset, Chain, Classes, Egress, Guard, Model, ModelSource, OperatorTerms, Price, PriceList, Pricing, Route, SealedVersion,
    Secret, SignedPriceList, SignedTerms, Trust, Upstream, UpstreamKind, storage, upstream_flags, ways,
};
use candor_verify::time::{UnixMs, UnixSeconds};
use serde_json::{Value, json};

use super::{File, a, address, file, h, hash, hex, number};
use crate::forge::{K_SIG, Key, OPERATOR, REGISTRAR};
use crate::honest;

pub(super) fn files() -> Vec<File> {
    vec![terms(), registrations(), key_ends(), boots(), manifests(), further_keys(), freshness(), workloads(), prices(), price_lists()]
}

/// Terms that use every field, with more than one of each list.
fn full_terms() -> OperatorTerms {
    let mut terms = honest::terms();
    (terms.flags, terms.storage) = (1, storage::ALL);
    terms.chains.push(Chain {
        chain_id: 8453,
        registry: a(9),
        settler_factory: a(1),
        forwarder_factory: a(10),
        authorizer_factory: a(11),
        batch: a(2),
        upto_proxy: a(3),
        channel_policy: h(4),
    });
    terms.assets.push(Asset { chain_id: 8453, asset: a(5), name: "USD Coin".into(), version: "2".into(), decimals: 6 });
    terms.models.push(Model { source_digest: h(12), ..Model::local("größer", h(6), u32::MAX) });
    let proxied = keccak256(&[b"proxied"]);
    terms.models.push(Model {
        id: "proxied".into(),
        source: ModelSource::Upstream,
        digest: proxied,
        source_digest: Hash32::ZERO,
        context_tokens: 131_072,
        routes: vec![
            Route { upstream: "up".into(), model: "big-1".into() },
            Route { upstream: "plain".into(), model: "big-1-local".into() },
        ],
    });
    terms.prices.push(Price::at_most(h(6), 8453, a(5), honest::classes(u128::MAX, 0, 1)));
    let ceiling = Classes {
        cache_read: Amount(11),
        cache_write: Amount(12),
        reasoning: Amount(13),
        image: Amount(14),
        ..honest::classes(15, 16, 17)
    };
    terms.prices.push(Price { floor: honest::classes(1, 2, 0), ..Price::at_most(proxied, 8453, a(5), ceiling) });
    let up = Upstream {
        name: "up".into(),
        kind: UpstreamKind::OpenAi,
        host: "up.example".into(),
        port: 443,
        path: "/v1".into(),
        trust: Trust::Authority,
        trust_anchor: h(7),
        account: "up key".into(),
        pricing: Pricing::CostPlus,
        markup: 1_500,
        flags: upstream_flags::ALL,
    };
    let plain = Upstream {
        name: "plain".into(),
        kind: UpstreamKind::OpenAiCompatible,
        host: "127.0.0.1".into(),
        port: 8000,
        path: String::new(),
        trust: Trust::Plaintext,
        trust_anchor: Hash32::ZERO,
        account: String::new(),
        pricing: Pricing::Fixed,
        markup: 0,
        flags: 0,
    };
    terms.upstreams = vec![up, plain];
    terms.secrets = vec![Secret { name: "up key".into(), min_version: 2 }, Secret { name: "spare".into(), min_version: 0 }];
    terms.sealed =
        [(1, UnixMs(1_800_000_000_000)), (2, UnixMs(u64::MAX))].map(|(version, not_after)| SealedVersion { version, not_after }).into();
    terms.egress = ["w1.example", "w2.example"].map(|host| Egress { host: host.into(), port: 443, purpose: "witness".into() }).into();
    terms.access = Access { ways: ways::ALL, keys: vec![h(13), h(14)] };
    terms.guard = Guard { model: "fixture".into(), upstream: "up".into(), payer_requests_per_minute: 60, payer_tokens_per_day: 1_000_000 };
    terms.endpoints.push("https://node.example:8443".into());
    terms
}

/// Terms with an upstream whose attestation names the key that it is trusted by.
fn attested_terms() -> OperatorTerms {
    let mut terms = full_terms();
    (terms.upstreams[0].kind, terms.upstreams[0].trust) = (UpstreamKind::Tinfoil, Trust::Attested);
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
        case("an attested upstream", &signed(attested_terms(), OPERATOR)),
    ];
    let mut rejects = vec![{
        let stranger = signed(honest::terms(), 0x77);
        json!({ "name": "signed by a stranger", "cbor": hex(&stranger.encode()), "refusedBy": "evidence.operator" })
    }];
    let inconsistent: [(&str, Change); 22] = [
        ("unknown flag", |o| o.flags = 2),
        ("unknown storage flag", |o| o.storage = 4),
        ("payee zero", |o| o.payee = Address::ZERO),
        ("no model", |o| o.models.clear()),
        ("no price", |o| o.prices.clear()),
        ("no endpoint", |o| o.endpoints.clear()),
        ("another registry on the anchor chain", |o| o.chains[0].registry = Address::ZERO),
        ("unknown way", |o| o.access.ways |= 8),
        ("a chain twice", |o| o.chains.push(o.chains[0].clone())),
        ("two prices of a model in one asset", |o| o.prices.push(o.prices[0].clone())),
        ("a model twice", |o| o.models.push(o.models[0].clone())),
        ("an asset twice", |o| o.assets.push(o.assets[0].clone())),
        ("a price for an unknown asset", |o| o.prices[0].asset = a(1)),
        ("a floor above its ceiling", |o| o.prices[0].floor.request = Amount(101)),
        ("a LOCAL model priced by an upstream's class", |o| o.prices[0].ceiling.reasoning = Amount(1)),
        ("a LOCAL model with a route", |o| o.models[0].routes.push(Route { upstream: "up".into(), model: "m".into() })),
        ("a model of an upstream without a route", |o| {
            (o.models[0].source, o.models[0].digest) = (ModelSource::Upstream, keccak256(&[b"fixture"]));
            o.prices[0].model = o.models[0].digest;
        }),
        ("nobody gets answers", |o| o.access.ways = 0),
        ("keys that give no access", |o| o.access.keys.push(h(1))),
        ("a guard that is no model", |o| o.guard.model = "other".into()),
        ("an escape sequence in a model's id", |o| o.models[0].id = "\u{1b}[2K\rVERIFIED".into()),
        ("a bidirectional control in an endpoint", |o| o.endpoints[0].push('\u{202e}')),
    ];
    // Rules about upstreams need terms that have some.
    let of_upstreams: [(&str, Change); 19] = [
        ("an attested upstream trusted by a key", |o| o.upstreams[0].kind = UpstreamKind::Aci),
        ("an upstream trusted by an attestation that it has not", |o| o.upstreams[0].trust = Trust::Attested),
        ("the digest of an upstream's model is not of its id", |o| {
            o.models[2].digest = h(1);
            o.prices[2].model = h(1);
        }),
        ("a model of an upstream with a sourceDigest", |o| o.models[2].source_digest = h(1)),
        ("a trust anchor in plaintext", |o| o.upstreams[1].trust_anchor = h(1)),
        ("no trust anchor under TLS", |o| o.upstreams[0].trust_anchor = Hash32::ZERO),
        ("unknown flag of an upstream", |o| o.upstreams[0].flags = 4),
        ("a route to an unknown upstream", |o| o.models[2].routes[0].upstream = "other".into()),
        ("an account that is no secret", |o| o.upstreams[0].account = "other".into()),
        ("an upstream twice", |o| o.upstreams.push(o.upstreams[0].clone())),
        ("a secret twice", |o| o.secrets.push(o.secrets[0].clone())),
        ("a key twice", |o| o.access.keys.push(o.access.keys[0])),
        ("a form of sealed requests twice", |o| o.sealed.push(o.sealed[0])),
        ("a guard that is no upstream", |o| o.guard.upstream = "other".into()),
        ("an upstream without a port", |o| o.upstreams[0].port = 0),
        ("an upstream without a host", |o| o.upstreams[0].host.clear()),
        ("an upstream of fixed prices with a markup", |o| o.upstreams[0].pricing = Pricing::Fixed),
        ("a secret without a name", |o| o.secrets[1].name.clear()),
        ("an egress without a port", |o| o.egress[0].port = 0),
    ];
    let all = inconsistent.map(|row| (honest::terms(), row)).into_iter().chain(of_upstreams.map(|row| (full_terms(), row)));
    for (mut terms, (name, change)) in all {
        change(&mut terms);
        rejects.push(json!({ "name": name, "cbor": hex(&signed(terms, OPERATOR).encode()), "refusedBy": "evidence.manifest" }));
    }
    let (bytes, full) = (signed(honest::terms(), OPERATOR).encode(), signed(full_terms(), OPERATOR).encode());
    assert_eq!(bytes[..2], [0x95, 0x02], "twenty-one members, version 2");
    let malformed = |name: &str, bytes: Vec<u8>| json!({ "name": name, "cbor": hex(&bytes), "refusedBy": "parse" });
    rejects.extend([
        malformed("unknown field", [&[0x96], &bytes[1..], &[0]].concat()),
        malformed("version of before the first release", [&[0x95, 0x01], &bytes[2..]].concat()),
        malformed("unknown version", [&[0x95, 0x03], &bytes[2..]].concat()),
        malformed("trailing byte", [bytes.as_slice(), &[0]].concat()),
        malformed("unknown source of a model", with_code(&bytes, b"\x67fixture", 0, (1, 3))),
        malformed("unknown kind of an upstream", with_code(&full, b"\x8b\x65plain", 0, (1, 4))),
        malformed("unknown trust of an upstream", with_code(&full, PLAIN_PATH, 0, (0, 5))),
        // Between trust and pricing lie an anchor of 32 bytes and an account without a name.
        malformed("unknown pricing of an upstream", with_code(&full, PLAIN_PATH, 1 + 34 + 1, (1, 3))),
        malformed("cut short", bytes[..bytes.len() - 1].to_vec()),
    ]);
    file("terms", cases, rejects)
}

/// Host, port and path of the upstream without TLS, as terms encode them.
const PLAIN_PATH: &[u8] = b"\x69127.0.0.1\x19\x1f\x40\x60";

/// Terms in which the code so many bytes behind this place, which is the first of the pair, is the second.
fn with_code(bytes: &[u8], place: &[u8], behind: usize, (from, to): (u8, u8)) -> Vec<u8> {
    let at = bytes.windows(place.len()).position(|window| window == place).expect("the terms have it") + place.len() + behind;
    assert_eq!(bytes[at], from, "a code");
    let mut bytes = bytes.to_vec();
    bytes[at] = to;
    bytes
}

fn registrations() -> File {
    let case = |name: &str, registration: Registration| {
        let key = Key::of(REGISTRAR);
        json!({
            "name": name, "kSig": address(&registration.k_sig), "manifestHash": hash(&registration.manifest_hash),
            "verifier": address(&registration.verifier), "workloadId": hash(&registration.workload_id),
            "termsDataHash": hash(&registration.terms_data_hash),
            "registry": address(&registration.registry), "chainId": number(registration.chain_id), "deadline": number(registration.deadline.0),
            "digest": hash(&registration.digest()), "signature": hex(&key.sign(&registration.digest()).0), "registrar": address(&key.address()),
        })
    };
    let dev = Registration {
        k_sig: a(1),
        manifest_hash: h(2),
        verifier: a(6),
        workload_id: h(5),
        terms_data_hash: h(4),
        registry: a(3),
        chain_id: 31337,
        deadline: UnixSeconds(1_790_003_600),
    };
    let exchanged = |name: &str, key: &str, value: Value| {
        let mut case = case(name, dev);
        case[key] = value;
        case["refusedBy"] = json!("WrongRegistrar");
        case
    };
    let rejects = vec![
        exchanged("terms data exchanged after signing", "termsDataHash", hash(&h(5))),
        exchanged("verifier exchanged after signing", "verifier", address(&a(7))),
        exchanged("registered as another workload", "workloadId", hash(&h(6))),
        exchanged("deadline put off after signing", "deadline", json!(1_790_003_601_u64)),
    ];
    let largest = Registration { chain_id: u64::MAX, deadline: UnixSeconds(u64::MAX), ..dev };
    file("registration", vec![case("dev chain", dev), case("largest numbers", largest)], rejects)
}

/// What an operator signs to end a key.
fn key_ends() -> File {
    let case = |name: &str, act: &str, end: End, chain_id: u64| {
        let digest = end.digest(&a(1), &a(3), chain_id);
        let key = Key::of(OPERATOR);
        json!({
            "name": name, "act": act, "kSig": address(&a(1)), "registry": address(&a(3)), "chainId": number(chain_id),
            "digest": hash(&digest), "signature": hex(&key.sign(&digest).0), "operator": address(&key.address()),
        })
    };
    let mut turned = case("a retirement passed off as a revocation", "retire", End::Retire, 31337);
    turned["act"] = json!("revoke");
    turned["refusedBy"] = json!("signature");
    let mut moved = case("a revocation on another chain", "revoke", End::Revoke, 31337);
    moved["chainId"] = json!(1);
    moved["refusedBy"] = json!("signature");
    let cases = vec![
        case("retired", "retire", End::Retire, 31337),
        case("revoked", "revoke", End::Revoke, 31337),
        case("revoked on the largest chain", "revoke", End::Revoke, u64::MAX),
    ];
    file("key-end", cases, vec![turned, moved])
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
        keys_hash: h(5),
        build_id: h(9),
        booted_at: UnixSeconds(1_789_990_000),
        ..Manifest::default()
    };
    boot.under(&honest::terms())
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
    let large = Manifest { anchor_chain_id: u64::MAX, predecessor_size: u64::MAX, booted_at: UnixSeconds(u64::MAX), ..manifest() };
    let reject = |name: &str, bytes: Vec<u8>| json!({ "name": name, "encoded": hex(&bytes), "refusedBy": "parse" });
    let bytes = manifest().encode();
    let with = |at: usize, value: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        bytes
    };
    let rejects = vec![
        reject("version of before the first release", with(31, 1)),
        reject("unknown version", with(31, 3)),
        reject("high byte in K_sig", with(32 + 11, 1)),
        reject("anchor chain id of 2^64", with(10 * 32 + 23, 1)),
        reject("one word less", bytes[..576].to_vec()),
        reject("one byte more", [bytes.as_slice(), &[0]].concat()),
    ];
    let cases = vec![case("with a predecessor", &manifest()), case("zeros", &zero), case("largest numbers", &large)];
    file("manifest", cases, rejects)
}

fn further_keys() -> File {
    let key = |purpose: u16, algorithm: u16, bytes: &[u8]| FurtherKey { purpose, algorithm, bytes: bytes.to_vec() };
    let case = |name: &str, keys: &[FurtherKey]| {
        let list: Vec<Value> =
            keys.iter().map(|key| json!({ "purpose": key.purpose, "algorithm": key.algorithm, "bytes": hex(&key.bytes) })).collect();
        json!({ "name": name, "keys": list, "keysHash": hash(&keys_hash(keys)) })
    };
    let two = [key(1, 1, b"an X-Wing key"), key(3, 3, b"a report of a GPU")];
    let mut swapped = case("in another order", &two);
    swapped["keys"] = case("", &[two[1].clone(), two[0].clone()])["keys"].clone();
    swapped["refusedBy"] = json!("evidence.manifest");
    file("further-keys", vec![case("none", &[]), case("one", &two[..1]), case("two", &two)], vec![swapped])
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
        // Which contract judged it, and with which code, makes of a workload what a policy on a chain lists.
        let (verifier, code) = (a(0xc0), h(0xc1));
        json!({
            "name": name, "kind": 1, "rootFingerprint": hash(root), "measurements": hex(measurements), "workloadId": hash(&id),
            "verifier": address(&verifier), "verifierCodehash": hash(&code), "listedId": hash(&listed_id(&verifier, &code, &id)),
        })
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
    let case = |name: &str, [input, output, request]: [u128; 3], prompt: u64, completion: u64| -> Value {
        let classes = honest::classes(input, output, request);
        json!({
            "name": name, "input": input.to_string(), "output": output.to_string(), "request": request.to_string(),
            "promptTokens": number(prompt), "completionTokens": number(completion),
            "amount": classes.amount(prompt, completion).map(|amount| amount.to_string()),
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

/// Price lists under the story's terms, whose ceiling is the price of every offer without one.
fn price_lists() -> File {
    let terms = honest::sign_terms(honest::terms(), &Key::of(OPERATOR));
    let case = |name: &str, signed: &SignedPriceList| {
        let list = &signed.list;
        json!({
            "name": name, "terms": hex(&terms.encode()), "cbor": hex(&signed.encode()), "number": number(list.number),
            "from": number(list.from.0), "until": number(list.until.0), "pricesHash": hash(&list.prices_hash()),
            "digest": hash(&list.digest()), "registrar": address(&terms.terms.registrar),
        })
    };
    let changed = |change: fn(&mut PriceList)| {
        let mut list = honest::price_list(&terms.terms);
        change(&mut list);
        honest::sign_price_list(list)
    };
    let reject = |name: &str, signed: &SignedPriceList| {
        let mut case = case(name, signed);
        case["refusedBy"] = json!("offer.price");
        case
    };
    let stranger = {
        let list = honest::price_list(&terms.terms);
        SignedPriceList { signature: Key::of(0x77).sign(&list.digest()), list }
    };
    let cases = vec![
        case("half of the ceilings", &changed(|_| {})),
        case(
            "the ceilings for seven days",
            &changed(|list| {
                list.prices[0].classes = honest::terms().prices[0].ceiling;
                (list.number, list.until.0) = (u64::MAX, list.from.0 + 7 * 86_400_000);
            }),
        ),
        case("the floors", &changed(|list| list.prices[0].classes = honest::terms().prices[0].floor)),
    ];
    let mut rejects = vec![
        reject("above a ceiling", &changed(|list| list.prices[0].classes.request.0 = 101)),
        reject("below a floor", &changed(|list| list.prices[0].classes.request.0 = 9)),
        reject("a price missing", &changed(|list| list.prices.clear())),
        reject("a price of another model", &changed(|list| list.prices[0].model = h(1))),
        reject("under other terms", &changed(|list| list.terms_hash = h(1))),
        reject("number zero", &changed(|list| list.number = 0)),
        reject("a second more than seven days", &changed(|list| list.until.0 = list.from.0 + 7 * 86_400_000 + 1_000)),
        reject("over before it begins", &changed(|list| list.until = list.from)),
        reject("signed by a stranger", &stranger),
    ];
    let bytes = changed(|_| {}).encode();
    assert_eq!(bytes[..2], [0x87, 0x02], "seven members, version 2");
    let malformed = |name: &str, bytes: &[u8]| json!({ "name": name, "cbor": hex(bytes), "refusedBy": "parse" });
    rejects.extend([
        malformed("version of before the first release", &[&[0x87, 0x01], &bytes[2..]].concat()),
        malformed("trailing byte", &[bytes.as_slice(), &[0]].concat()),
    ]);
    file("price-list", cases, rejects)
}
