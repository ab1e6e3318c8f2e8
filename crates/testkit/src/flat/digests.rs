//! Everything that is signed or that the EVM hashes: receipt, offer, checkpoint, payment, decoding, verdict of an attestor.

use candor_verify::abi::Words;
use candor_verify::bytes::{Address, Amount, Hash32, Signature65};
use candor_verify::cbor::Writer;
use candor_verify::checkpoint::{Checkpoint, Cosignature, Ed25519Signature};
use candor_verify::decoding::{Decoding, SeedSource, seed_commitment, seed_from_share, stop_hash};
use candor_verify::eip712;
use candor_verify::hash::keccak256;
use candor_verify::manifest::Manifest;
use candor_verify::offer::Offer;
use candor_verify::payment::{Authorization, TokenDomain, channel_authorization_digest, offer_nonce, unpaid_id, unsettled_id};
use candor_verify::receipt::{Channel, Kinds, Money, Outcome, Receipt, UsageSource, receipt_id};
use candor_verify::refusal::{Refusal, code_hash as refusal_code_hash};
use candor_verify::scheme::{NonceQuestion, SETTLER_FACTORY, Scheme, Through, UPTO_PROXY, settler_code, settler_of};
use candor_verify::source::{Account, DeclaredUsage, SourceRecord};
use candor_verify::time::{UnixMs, UnixSeconds};
use candor_verify::tlog::Tree;
use ed25519_dalek::Signer as _;
use serde_json::{Value, json};

use super::{File, a, address, file, h, hash, hex, number};
use crate::forge::{CHAIN_ID, Key, ed, high_s_twin, integer_seed};
use crate::honest;

pub(super) fn files() -> Vec<File> {
    vec![
        receipts(),
        offers(),
        checkpoints(),
        notes(),
        verdicts(),
        payments(),
        payment_ids(),
        settlers(),
        decodings(),
        seeds(),
        receipt_ids(),
        sources(),
        refusals(),
        channel_authorizations(),
    ]
}

/// A receipt with another value in every field.
pub(super) fn receipt() -> Receipt {
    let manifest = Manifest { payee: a(6), ..Manifest::default() };
    let mut receipt = Receipt { manifest_hash: h(1), log_id: h(2), ..honest::receipt(&manifest, 3) };
    let work = &mut receipt.work;
    (work.source_hash, work.task_hash, work.question_hash, work.answer_hash) = (h(19), h(20), h(21), h(22));
    receipt
}

fn receipts() -> File {
    let plain = receipt();
    let mut channel = receipt();
    channel.money = Money {
        scheme: Scheme::Batch,
        settler: a(0xfe),
        max_amount: Amount(u128::MAX),
        charged: Amount(u128::MAX - 7),
        cumulative_before: Amount(7),
        cumulative_after: Amount(u128::MAX),
        chain_id: u64::MAX,
        ..channel.money
    };
    channel.sequence = u64::MAX;
    let mut proxy = receipt();
    proxy.work.kinds = Kinds::PROXY;
    proxy.work.channel = Channel::Sealed;
    proxy.work.usage_source = UsageSource::UpstreamDeclared;
    proxy.work.outcome = Outcome::UpstreamError;
    let mut left = receipt();
    left.work.outcome = Outcome::Aborted;
    left.money.scheme = Scheme::UptoPermit2;
    let mut free = receipt();
    free.money = Money::unpaid(CHAIN_ID, a(6), &free.log_id, free.sequence);
    let signed = |name: &str, receipt: &Receipt, key: u8| {
        let key = Key::of(key);
        json!({
            "name": name, "encoded": hex(&receipt.encode()), "moneyHash": hash(&receipt.money.struct_hash()),
            "workHash": hash(&receipt.work.struct_hash()), "digest": hash(&receipt.digest()),
            "signature": hex(&key.sign(&receipt.digest()).0), "signer": address(&key.address()),
        })
    };
    let cases = vec![
        signed("exact", &plain, 0x33),
        signed("channel with the largest amounts", &channel, 0x33),
        signed("proxied, sealed, upstream failed", &proxy, 0x34),
        signed("upto, aborted", &left, 0x35),
        signed("nobody paid", &free, 0x33),
    ];
    let mut rejects = malformed_words(
        &plain.encode(),
        &[("unknown scheme", 5, 5), ("unknown channel", 17, 3), ("unknown usage source", 18, 3), ("unknown outcome", 19, 8)],
        6,
    );
    let wrong = |name: &str, signature: Signature65| {
        json!({
            "name": name, "encoded": hex(&plain.encode()), "signature": hex(&signature.0),
            "signer": address(&Key::of(0x33).address()), "refusedBy": "receipt.signature",
        })
    };
    let good = Key::of(0x33).sign(&plain.digest());
    let mut raw_v = good;
    raw_v.0[64] -= 27;
    let mut zero_r = good;
    zero_r.0[..32].fill(0);
    rejects.extend([
        wrong("signed by another key", Key::of(0x34).sign(&plain.digest())),
        wrong("signature of another receipt", Key::of(0x33).sign(&channel.digest())),
        wrong("high s", high_s_twin(&good)),
        wrong("v of 0 or 1", raw_v),
        wrong("r of zero", zero_r),
    ]);
    file("receipt", cases, rejects)
}

/// Encodings that a strict reader refuses: version, length, codes out of range, an address with high bytes set.
fn malformed_words(encoded: &[u8], codes: &[(&str, usize, u8)], address_word: usize) -> Vec<Value> {
    let reject = |name: &str, bytes: Vec<u8>| json!({ "name": name, "encoded": hex(&bytes), "refusedBy": "parse" });
    let with = |word: usize, byte: usize, value: u8| {
        let mut bytes = encoded.to_vec();
        bytes[word * 32 + byte] = value;
        bytes
    };
    let mut out = vec![
        reject("empty", Vec::new()),
        reject("version of before the first release", with(0, 31, 1)),
        reject("unknown version", with(0, 31, 3)),
        reject("version above one byte", with(0, 30, 1)),
        reject("high byte in an address", with(address_word, 11, 1)),
        reject("one byte more", [encoded, &[0]].concat()),
        reject("one byte less", encoded[..encoded.len() - 1].to_vec()),
        reject("one word more", [encoded, &[0; 32]].concat()),
    ];
    out.extend(codes.iter().map(|(name, word, value)| reject(name, with(*word, 31, *value))));
    out
}

fn offer() -> Offer {
    Offer {
        manifest_hash: h(1),
        request_commitment: h(2),
        model_id: h(3),
        scheme: Scheme::ExactEip3009,
        payee: a(4),
        asset: a(5),
        chain_id: 31337,
        settler: Address::ZERO,
        amount: Amount(305),
        prompt_tokens: 13,
        max_tokens: 64,
        seed_commitment: h(9),
        valid_until: UnixMs(1_790_000_120_000),
        price_list_hash: Hash32::ZERO,
        price_list_number: 0,
    }
}

fn offers() -> File {
    let case = |name: &str, offer: &Offer| json!({ "name": name, "encoded": hex(&offer.encode()), "digest": hash(&offer.digest()) });
    let large = Offer { amount: Amount(u128::MAX), chain_id: u64::MAX, valid_until: UnixMs(u64::MAX), ..offer() };
    let upto = Offer { scheme: Scheme::UptoPermit2, settler: a(6), seed_commitment: Hash32::ZERO, ..offer() };
    let listed = Offer { price_list_hash: h(10), price_list_number: 11, ..offer() };
    let mut rejects = malformed_words(&offer().encode(), &[("unknown scheme", 4, 5)], 5);
    let mut amount = offer().encode();
    amount[9 * 32 + 15] = 1;
    rejects.push(json!({ "name": "amount of 2^128", "encoded": hex(&amount), "refusedBy": "parse" }));
    file(
        "offer",
        vec![
            case("exact", &offer()),
            case("largest numbers", &large),
            case("upto with a settler", &upto),
            case("by a price list", &listed),
        ],
        rejects,
    )
}

fn checkpoint_json(name: &str, checkpoint: &Checkpoint, signature: &Signature65) -> Value {
    json!({
        "name": name, "logId": hash(&checkpoint.log_id), "size": number(checkpoint.tree.size), "root": hash(&checkpoint.tree.root),
        "timestamp": number(checkpoint.timestamp.0), "digest": hash(&checkpoint.digest()), "signature": hex(&signature.0),
        "signer": address(&Key::of(0x33).address()),
    })
}

fn checkpoints() -> File {
    let small = Checkpoint { log_id: h(1), tree: Tree { size: 12, root: h(2) }, timestamp: UnixMs(1_790_000_002_000) };
    let large = Checkpoint { tree: Tree { size: u64::MAX, root: h(2) }, timestamp: UnixMs(u64::MAX), ..small };
    let good = |checkpoint: &Checkpoint| Key::of(0x33).sign(&checkpoint.digest());
    let reject = |name: &str, signature: &Signature65| {
        let mut case = checkpoint_json(name, &small, signature);
        case["refusedBy"] = json!("log.checkpoint");
        case
    };
    let cases = vec![checkpoint_json("twelve leaves", &small, &good(&small)), checkpoint_json("largest numbers", &large, &good(&large))];
    let rejects = vec![
        reject("signed for another size", &good(&Checkpoint { tree: Tree { size: 13, root: h(2) }, ..small })),
        reject("signed by another key", &Key::of(0x34).sign(&small.digest())),
        reject("high s", &high_s_twin(&good(&small))),
    ];
    file("checkpoint", cases, rejects)
}

/// C2SP notes by K_log, and witnesses' statements over their bodies.
fn notes() -> File {
    let key = ed(0x55);
    let k_log = Hash32(key.verifying_key().to_bytes());
    let checkpoint = Checkpoint { log_id: h(1), tree: Tree { size: 12, root: h(2) }, timestamp: UnixMs(3) };
    let body = checkpoint.note_body();
    let signature = Ed25519Signature(key.sign(body.as_bytes()).to_bytes());
    let note = checkpoint.note(&k_log, &signature);
    let witness = ed(0x66);
    let message = Cosignature::message(UnixSeconds(1_790_000_000), &body);
    let case = json!({
        "name": "twelve leaves", "logId": hash(&checkpoint.log_id), "kLog": hash(&k_log), "size": 12, "root": hash(&checkpoint.tree.root),
        "body": body, "signature": hex(&signature.0), "note": note,
        "witness": hex(&witness.verifying_key().to_bytes()), "time": 1_790_000_000, "cosigned": message,
        "cosignature": hex(&witness.sign(message.as_bytes()).to_bytes()),
    });
    let reject = |name: &str, note: String, k_log: &Hash32, log_id: &Hash32| json!({ "name": name, "note": note, "kLog": hash(k_log), "logId": hash(log_id), "refusedBy": "log.checkpoint" });
    let log = &checkpoint.log_id;
    let rejects = vec![
        reject("another key", note.clone(), &h(9), log),
        reject("another log", note.clone(), &k_log, &h(9)),
        reject("size altered", note.replacen("\n12\n", "\n13\n", 1), &k_log, log),
        reject("size with a leading zero", note.replacen("\n12\n", "\n012\n", 1), &k_log, log),
        reject("an extension line", note.replacen("\n\n", "\nmore\n\n", 1), &k_log, log),
        reject("no signature line", format!("{body}\n"), &k_log, log),
        reject("no empty line", note.replacen("\n\n", "\n", 1), &k_log, log),
    ];
    file("note", vec![case], rejects)
}

/// What a quorum of attestors says to `QuorumVerifier`: nothing of `verify` reads it, the contract and the attestor must agree.
fn verdicts() -> File {
    let case = |name: &str, threshold: u64, keys: &[u8], signers: &[u8]| {
        let by_address = |bytes: &[u8]| {
            let mut keys: Vec<Key> = bytes.iter().map(|byte| Key::of(*byte)).collect();
            keys.sort_by_key(Key::address);
            keys
        };
        let members: Vec<Address> = by_address(keys).iter().map(Key::address).collect();
        let verifier = a(0xc0);
        let evidence = b"evidence as it travels".as_slice();
        let words = Words::new().hash(&keccak256(&[evidence])).u64(1).hash(&h(2)).hash(&h(3)).hash(&h(4)).u64(1_790_000_000);
        let type_string = "Verdict(bytes32 evidenceHash,uint256 innerKind,bytes32 innerRoot,bytes32 innerMeasurements,bytes32 attestedHash,uint64 documentTime)";
        let domain = eip712::contract_domain("Candor Attestor", "2", 31337, &verifier);
        let digest = eip712::digest(&domain, &eip712::hash_struct(type_string, &words));
        let signatures: Vec<u8> = by_address(signers).iter().flat_map(|key| key.sign(&digest).0).collect();
        // abi.encode(uint256, address[]): threshold, offset, length, members.
        let list = members.iter().fold(Words::new().u64(threshold).u64(64).u64(members.len() as u64), |words, m| words.address(m));
        let quorum_root = keccak256(&[list.as_slice()]);
        let workload = |kind: u64, root: &Hash32, measured: &Hash32| {
            keccak256(&[Words::new().hash(&keccak256(&[candor_verify::tags::WORKLOAD])).u64(kind).hash(root).hash(measured).as_slice()])
        };
        json!({
            "name": name, "chainId": 31337, "verifier": address(&verifier), "threshold": threshold,
            "members": members.iter().map(address).collect::<Vec<_>>(), "evidence": hex(evidence), "innerKind": 1, "innerRoot": hash(&h(2)),
            "innerMeasurements": hash(&h(3)), "attestedHash": hash(&h(4)), "documentTime": 1_790_000_000,
            "digest": hash(&digest), "verifierData": hex(&[words.as_slice(), &signatures].concat()), "quorumRoot": hash(&quorum_root),
            "workloadId": hash(&workload(0x51, &quorum_root, &workload(1, &h(2), &h(3)))),
        })
    };
    file("verdict", vec![case("one of one", 1, &[0x77], &[0x77]), case("two of three", 2, &[0x77, 0x78, 0x79], &[0x79, 0x77])], vec![])
}

fn payments() -> File {
    let (payer, offer) = (Key::of(0x44), offer());
    let domain = TokenDomain { name: "USDC".into(), version: "2".into(), chain_id: 31337, asset: a(5) };
    let case = |name: &str, domain: &TokenDomain, authorization: &Authorization, salt: &Hash32, signature: &Signature65| {
        json!({
            "name": name, "tokenName": domain.name, "tokenVersion": domain.version, "chainId": number(domain.chain_id),
            "asset": address(&domain.asset), "keeper": address(&keeper(domain, authorization)), "scheme": authorization.through.scheme().code(), "contracts": contracts(authorization.through),
            "from": address(&authorization.from), "to": address(&authorization.to),
            "value": authorization.value.to_string(), "validAfter": number(authorization.valid_after.0),
            "validBefore": number(authorization.valid_before.0), "nonce": hash(&authorization.nonce), "offerDigest": hash(&offer.digest()),
            "clientSalt": hash(salt), "digest": hash(&authorization.digest(domain)), "signature": hex(&signature.0),
            "paymentId": hash(&authorization.payment_id(domain.chain_id, &domain.asset)),
        })
    };
    let bound = Authorization {
        through: Through::Token,
        from: payer.address(),
        to: offer.payee,
        value: offer.amount,
        valid_after: UnixSeconds(0),
        valid_before: UnixSeconds(1_790_000_300),
        nonce: offer_nonce(&offer.digest(), &h(7)),
    };
    let largest =
        Authorization { value: Amount(u128::MAX), valid_after: UnixSeconds(u64::MAX - 1), valid_before: UnixSeconds(u64::MAX), ..bound };
    let main = TokenDomain { name: "USD Coin".into(), chain_id: 8453, asset: a(0xfe), ..domain.clone() };
    let sign = |authorization: &Authorization, domain: &TokenDomain| payer.sign(&authorization.digest(domain));
    let permit = Authorization { through: Through::UptoProxy { spender: UPTO_PROXY, facilitator: a(6) }, ..bound };
    let for_another = Authorization { through: Through::UptoProxy { spender: UPTO_PROXY, facilitator: a(7) }, ..bound };
    let by_another = Authorization { through: Through::UptoProxy { spender: a(8), facilitator: a(6) }, ..bound };
    let cases = vec![
        case("bound to its offer", &domain, &bound, &h(7), &sign(&bound, &domain)),
        case("largest numbers, other token", &main, &largest, &h(7), &sign(&largest, &main)),
        case("a permit for a settler", &domain, &permit, &h(7), &sign(&permit, &domain)),
        // Permit2 keeps one list of nonces for all tokens: the same id.
        case("a permit for a settler, of another token", &main, &permit, &h(7), &sign(&permit, &main)),
    ];
    let reject = |name: &str, check: &str, authorization: &Authorization, salt: &Hash32, signature: &Signature65| {
        let mut case = case(name, &domain, authorization, salt, signature);
        case["refusedBy"] = json!(check);
        case
    };
    let dearer = Authorization { value: Amount(306), ..bound };
    let unbound = Authorization { nonce: h(1), ..bound };
    let rejects = vec![
        reject("amount raised after signing", "payment.signature", &dearer, &h(7), &sign(&bound, &domain)),
        reject("signed for another token", "payment.signature", &bound, &h(7), &sign(&bound, &main)),
        reject("signed by another payer", "payment.signature", &bound, &h(7), &Key::of(0x45).sign(&bound.digest(&domain))),
        reject("high s", "payment.signature", &bound, &h(7), &high_s_twin(&sign(&bound, &domain))),
        reject("a permit for another settler", "payment.signature", &for_another, &h(7), &sign(&permit, &domain)),
        reject("a permit through another proxy", "payment.signature", &by_another, &h(7), &sign(&permit, &domain)),
        reject("a permit of another token", "payment.signature", &permit, &h(7), &sign(&permit, &main)),
        reject("a permit that is an authorization of the token", "payment.signature", &bound, &h(7), &sign(&permit, &domain)),
        reject("another salt", "payment.binding", &bound, &h(8), &sign(&bound, &domain)),
        reject("a nonce bound to nothing", "payment.binding", &unbound, &h(7), &sign(&unbound, &domain)),
    ];
    file("payment", cases, rejects)
}

/// The contract that keeps the payment's nonce.
fn keeper(domain: &TokenDomain, Authorization { through, from, nonce, .. }: &Authorization) -> Address {
    NonceQuestion::of(through.scheme(), &domain.asset, from, nonce).expect("a scheme of one answer each").to
}

/// What was signed beside the payment: nothing, or spender and facilitator.
fn contracts(through: Through) -> Vec<Value> {
    match through {
        Through::Token => vec![],
        Through::UptoProxy { spender, facilitator } => vec![address(&spender), address(&facilitator)],
    }
}

/// Payment ids that come from a place in the log and not from a payment.
fn payment_ids() -> File {
    let case = |name: &str, id: fn(u64, &Hash32, u64) -> Hash32, kind: &str, chain_id: u64, sequence: u64| {
        json!({
            "name": name, "kind": kind, "anchorChainId": number(chain_id), "logId": hash(&h(2)), "sequence": number(sequence),
            "paymentId": hash(&id(chain_id, &h(2), sequence)),
        })
    };
    let mut moved = case("nobody paid, at another place", unpaid_id, "none", CHAIN_ID, 3);
    moved["sequence"] = json!(4);
    moved["refusedBy"] = json!("receipt.payment");
    let cases = vec![
        case("nobody paid", unpaid_id, "none", CHAIN_ID, 3),
        case("nothing charged", unsettled_id, "unsettled", CHAIN_ID, 3),
        case("nobody paid, largest numbers", unpaid_id, "none", u64::MAX, u64::MAX),
    ];
    file("payment-id", cases, vec![moved])
}

/// Where the settler of a key is.
fn settlers() -> File {
    let case = |name: &str, factory: Address, k_sig: u8| {
        let k_sig = a(k_sig);
        json!({
            "name": name, "factory": address(&factory), "kSig": address(&k_sig), "creationCode": hex(&settler_code(&factory, &k_sig)),
            "settler": address(&settler_of(&factory, &k_sig)),
        })
    };
    let moved = |name: &str, field: &str, of: &Value| {
        let mut case = case(name, a(1), 2);
        case[field] = of[field].clone();
        case["refusedBy"] = json!("offer.terms");
        case
    };
    let cases = vec![
        case("of a key", a(1), 2),
        case("of another key", a(1), 3),
        case("by another factory", a(4), 2),
        case("by the one factory", SETTLER_FACTORY, 2),
    ];
    let rejects = vec![
        moved("another key's", "settler", &cases[1]),
        moved("another factory's", "settler", &cases[2]),
        moved("made by another key's code", "creationCode", &cases[1]),
    ];
    file("settler", cases, rejects)
}

fn sources() -> File {
    let case = |name: &str, source: &SourceRecord| {
        let mut w = Writer::new();
        source.write(&mut w);
        json!({ "name": name, "cbor": hex(&w.into_vec()), "sourceHash": hash(&source.struct_hash()) })
    };
    let record = honest::source_record();
    let plain = SourceRecord {
        spki_hash: Hash32::ZERO,
        account: Account::Nobody,
        request_id: String::new(),
        usage: DeclaredUsage::default(),
        tried: vec![],
        ..record.clone()
    };
    let mut other = case("another model served", &record);
    other["cbor"] = case("", &SourceRecord { model_served: "smaller".into(), ..record.clone() })["cbor"].clone();
    other["refusedBy"] = json!("work.claim");
    let mut unknown = case("an account of nobody known", &record);
    let bytes = candor_verify::bytes::from_hex(unknown["cbor"].as_str().expect("text")).expect("hex");
    let at = bytes.windows(2).position(|pair| pair == [0x95, 0x01]).expect("the account follows the key");
    unknown["cbor"] = hex(&[&bytes[..=at], &[0x03], &bytes[at + 2..]].concat());
    unknown["refusedBy"] = json!("parse");
    file("source", vec![case("an account of the operator", &record), case("plaintext, nothing declared", &plain)], vec![other, unknown])
}

fn refusals() -> File {
    let key = Key::of(0x33);
    let case = |name: &str, refusal: &Refusal, code: &str, signature: &Signature65| {
        json!({
            "name": name, "encoded": hex(&refusal.encode()), "code": code, "codeHash": hash(&refusal.code_hash),
            "digest": hash(&refusal.digest()), "signature": hex(&signature.0), "signer": address(&key.address()),
        })
    };
    let of = |status: u16, code: &str| Refusal {
        request_commitment: h(1),
        manifest_hash: h(2),
        status,
        code_hash: refusal_code_hash(code),
        signed_digest: h(4),
        at: UnixMs(1_790_000_000_000),
    };
    let (down, pending) = (of(503, "chain_unavailable"), Refusal { at: UnixMs(u64::MAX), ..of(409, "settlement_pending") });
    let good = |refusal: &Refusal| key.sign(&refusal.digest());
    let mut stranger = case("signed by another key", &down, "chain_unavailable", &Key::of(0x34).sign(&down.digest()));
    stranger["refusedBy"] = json!("refusal.signature");
    let mut softened = case("another status after signing", &Refusal { status: 409, ..down }, "chain_unavailable", &good(&down));
    softened["refusedBy"] = json!("refusal.signature");
    let mut wide = down.encode();
    wide[3 * 32 + 29] = 1;
    let malformed = |name: &str, bytes: Vec<u8>| json!({ "name": name, "encoded": hex(&bytes), "refusedBy": "parse" });
    let mut old = down.encode();
    old[31] = 1;
    file(
        "refusal",
        vec![
            case("a chain that does not answer", &down, "chain_unavailable", &good(&down)),
            case("a settlement that is waited for", &pending, "settlement_pending", &good(&pending)),
        ],
        vec![
            stranger,
            softened,
            malformed("status above 16 bits", wide),
            malformed("version of before the first release", old),
            malformed("one byte less", down.encode()[1..].to_vec()),
        ],
    )
}

/// What K_sig signs so that an enclave speaks for a channel.
fn channel_authorizations() -> File {
    let key = Key::of(0x33);
    let case = |name: &str, chain_id: u64, signed: &Hash32| {
        json!({
            "name": name, "chainId": number(chain_id), "authorizer": address(&a(1)), "signed": hash(signed),
            "digest": hash(&channel_authorization_digest(chain_id, &a(1), signed)),
            "signature": hex(&key.sign(&channel_authorization_digest(chain_id, &a(1), signed)).0), "signer": address(&key.address()),
        })
    };
    let mut moved = case("replayed on another chain", CHAIN_ID, &h(2));
    moved["chainId"] = json!(1);
    moved["refusedBy"] = json!("signature");
    file("channel-authorization", vec![case("dev chain", CHAIN_ID, &h(2)), case("largest chain id", u64::MAX, &h(3))], vec![moved])
}

fn decodings() -> File {
    let case = |name: &str, decoding: &Decoding, stops: &[&str]| {
        let stops: Vec<String> = stops.iter().map(|stop| (*stop).to_owned()).collect();
        let decoding = Decoding { stop_hash: stop_hash(&stops), ..decoding.clone() };
        json!({
            "name": name, "engine": decoding.engine, "seed": hash(&decoding.seed), "seedSource": decoding.seed_source.code(),
            "temperatureE6": decoding.temperature_e6, "topPE6": decoding.top_p_e6, "topK": decoding.top_k, "maxTokens": decoding.max_tokens,
            "stops": stops, "stopHash": hash(&decoding.stop_hash), "decodingHash": hash(&decoding.struct_hash()),
        })
    };
    let greedy = honest::greedy(h(1));
    let sampled = Decoding { seed_source: SeedSource::Request, temperature_e6: 700_000, top_p_e6: 950_000, top_k: 40, ..greedy.clone() };
    let largest = Decoding { temperature_e6: u32::MAX, top_k: u32::MAX, max_tokens: u32::MAX, ..greedy.clone() };
    let mut hotter = case("temperature altered", &greedy, &[]);
    hotter["temperatureE6"] = json!(1);
    hotter["refusedBy"] = json!("work.decoding");
    let mut merged = case("two stops joined to one", &sampled, &["a", "b"]);
    merged["stops"] = json!(["ab"]);
    merged["refusedBy"] = json!("work.decoding");
    let cases = vec![
        case("greedy", &greedy, &[]),
        case("sampled with stops", &sampled, &["\n\n", "é", ""]),
        case("largest numbers", &largest, &["a"]),
    ];
    file("decoding", cases, vec![hotter, merged])
}

fn seeds() -> File {
    let shared = |name: &str, share: Hash32, nonce: Hash32| {
        json!({
            "name": name, "share": hash(&share), "nonce": hash(&nonce), "commitment": hash(&seed_commitment(&share)),
            "seed": hash(&seed_from_share(&share, &nonce)),
        })
    };
    let named = |name: &str, seed: i64| json!({ "name": name, "requestSeed": seed.to_string(), "seed": hash(&integer_seed(seed)) });
    let mut other = shared("another share than the committed one", h(1), h(2));
    other["share"] = hash(&h(3));
    other["refusedBy"] = json!("work.seed");
    let no_integer =
        |name: &str, seed: Hash32| json!({ "name": name, "requestSeed": "none", "seed": hash(&seed), "refusedBy": "work.seed" });
    let mut sign_lost = integer_seed(-1);
    sign_lost.0[0] = 0;
    let cases = vec![
        shared("share and nonce", h(1), h(2)),
        shared("the server's share alone", h(1), Hash32::ZERO),
        named("zero", 0),
        named("minus one", -1),
        named("largest", i64::MAX),
        named("smallest", i64::MIN),
    ];
    let rejects = vec![
        other,
        no_integer("2 to the 63, one too large for an integer", {
            let mut seed = Hash32::ZERO;
            seed.0[24] = 0x80;
            seed
        }),
        no_integer("minus one with a byte of its sign lost", sign_lost),
    ];
    file("seed", cases, rejects)
}

fn receipt_ids() -> File {
    let case = |name: &str, salt: &Hash32| json!({ "name": name, "leafSalt": hash(salt), "receiptId": hex(&receipt_id(salt)) });
    file("receipt-id", vec![case("zeros", &Hash32::ZERO), case("sevens", &h(7))], vec![])
}
