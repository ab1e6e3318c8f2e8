//! Flat vectors: every digest, commitment and proof of `vectors/*.json` comes out, and every reject is refused by what it names.
//!
//! The same files are read by Solidity (`contracts/test/Vectors.t.sol`). Values are recomputed from the inputs of a case, never from
//! its outputs. Format: `vectors/README.md`.

mod support;

use candor_verify::attest::TrustRoot;
use candor_verify::bytes::{Amount, Hash32};
use candor_verify::cbor::{Reader, Writer};
use candor_verify::checkpoint::{Checkpoint, Cosignature, Ed25519Signature, open_note, verify_ed25519};
use candor_verify::decoding::{Decoding, SeedSource, requested_seed, seed_commitment, seed_from_share, stop_hash};
use candor_verify::eip712::{K256, signer};
use candor_verify::hash::{keccak256, sha256};
use candor_verify::manifest::{Freshness, FurtherKey, Manifest, TeeKind, attested_bytes, keys_hash, listed_id, log_id, workload_id};
use candor_verify::offer::Offer;
use candor_verify::payment::{Authorization, TokenDomain, channel_authorization_digest, offer_nonce, unpaid_id, unsettled_id};
use candor_verify::receipt::{Receipt, receipt_id};
use candor_verify::recovery::{AnswerSecret, BlobHead, KeptAnswer, asked_digest, pad, sealed_chunks, unpad};
use candor_verify::refusal::{Refusal, code_hash};
use candor_verify::registration::{End, Registration};
use candor_verify::scheme::{NonceQuestion, Through, settler_code, settler_of};
use candor_verify::source::SourceRecord;
use candor_verify::tags;
use candor_verify::terms::{Classes, OperatorTerms, SignedPriceList, SignedTerms};
use candor_verify::time::{UnixMs, UnixSeconds};
use candor_verify::tlog::{Tree, leaf_data, leaf_hash, verify_consistency, verify_inclusion};
use candor_verify::transcript::{commitment_of, frame_leaf_hash, question_hash, request_commitment, request_salt, splice, unsplice};
use support::{Case, flat};

#[test]
fn kept_answers() {
    let head = |case: &Case| BlobHead {
        n: case.hash("n"),
        payment_id: case.hash("paymentId"),
        chain_id: case.number("chainId"),
        receipt_id: case.bytes("receiptId").try_into().expect("16 bytes"),
    };
    // Id, key, AAD and head that follow from the inputs of a case.
    let derived = |case: &Case| {
        let secret = AnswerSecret::new(&case.hash("signedDigest"), &case.hash("answerSalt"));
        let asked = asked_digest(case.text("method"), case.text("path"), &case.bytes("body"));
        (secret.answer_id(), secret.key(&case.hash("n")).to_vec(), secret.aad(&asked, &head(case)))
    };
    let (cases, rejects) = flat("recovery");
    for case in cases {
        assert_eq!(derived(&case), (case.hash("answerId"), case.bytes("key"), case.bytes("aad")), "{}", case.name());
        let blob = case.bytes("blob");
        let (read, sealed) = BlobHead::parse(&blob).unwrap_or_else(|error| panic!("{}: {error}", case.name()));
        assert_eq!((read, read.encode()), (head(&case), blob[..BlobHead::LEN].to_vec()), "{}", case.name());
        let content = case.bytes("content");
        let answer = KeptAnswer::parse(&content).unwrap_or_else(|error| panic!("{}: {error}", case.name()));
        assert_eq!(answer.encode(), content, "{}", case.name());
        let plaintext = pad(&content);
        assert_eq!(unpad(&plaintext), Ok(content.as_slice()));
        assert_eq!(sealed.len(), plaintext.len() + 16 * sealed_chunks(sealed).count(), "{}", case.name());
        assert_eq!(receipt_id(&answer.leaf_salt), head(&case).receipt_id);
    }
    for case in rejects {
        let malformed = |key: &str, refuses: fn(&[u8]) -> bool| case.0.get(key).is_some() && refuses(&case.bytes(key));
        let is_malformed = malformed("head", |bytes| BlobHead::parse(bytes).is_err())
            || malformed("plaintext", |bytes| unpad(bytes).is_err())
            || malformed("contentOnly", |bytes| KeptAnswer::parse(bytes).is_err());
        if is_malformed {
            assert_eq!(case.refused_by(), "parse", "{}", case.name());
            continue;
        }
        let by = match derived(&case) {
            (id, _, _) if id != case.hash("answerId") => "answer.id",
            (_, key, _) if key != case.bytes("key") => "answer.key",
            (_, _, aad) if aad != case.bytes("aad") => "answer.aad",
            // Only who opens it can tell: `candor-enclave` does.
            _ => "answer.seal",
        };
        assert_eq!(by, case.refused_by(), "{}", case.name());
    }
}

#[test]
fn receipts() {
    let (cases, rejects) = flat("receipt");
    for case in cases {
        let receipt = Receipt::parse(&case.bytes("encoded")).unwrap_or_else(|error| panic!("{}: {error:?}", case.name()));
        assert_eq!(receipt.encode(), case.bytes("encoded"), "{}", case.name());
        assert_eq!(receipt.money.struct_hash(), case.hash("moneyHash"), "{}", case.name());
        assert_eq!(receipt.work.struct_hash(), case.hash("workHash"), "{}", case.name());
        assert_eq!(receipt.digest(), case.hash("digest"), "{}", case.name());
        assert_eq!(signer(&K256, &receipt.digest(), &case.signature("signature")), Some(case.address("signer")), "{}", case.name());
    }
    for case in rejects {
        let by = match Receipt::parse(&case.bytes("encoded")) {
            Err(_) => "parse",
            Ok(receipt) if signer(&K256, &receipt.digest(), &case.signature("signature")) != Some(case.address("signer")) => {
                "receipt.signature"
            }
            Ok(_) => "accepted",
        };
        assert_eq!(by, case.refused_by(), "{}", case.name());
    }
}

#[test]
fn offers() {
    let (cases, rejects) = flat("offer");
    for case in cases {
        let offer = Offer::parse(&case.bytes("encoded")).unwrap_or_else(|error| panic!("{}: {error:?}", case.name()));
        assert_eq!((offer.encode(), offer.digest()), (case.bytes("encoded"), case.hash("digest")), "{}", case.name());
    }
    for case in rejects {
        assert_eq!(case.refused_by(), "parse");
        assert!(Offer::parse(&case.bytes("encoded")).is_err(), "{}", case.name());
    }
}

#[test]
fn checkpoints() {
    let checkpoint = |case: &Case| Checkpoint {
        log_id: case.hash("logId"),
        tree: Tree { size: case.number("size"), root: case.hash("root") },
        timestamp: UnixMs(case.number("timestamp")),
    };
    let (cases, rejects) = flat("checkpoint");
    for case in cases {
        let digest = checkpoint(&case).digest();
        assert_eq!(digest, case.hash("digest"), "{}", case.name());
        assert_eq!(signer(&K256, &digest, &case.signature("signature")), Some(case.address("signer")), "{}", case.name());
    }
    for case in rejects {
        assert_eq!(case.refused_by(), "log.checkpoint");
        let recovered = signer(&K256, &checkpoint(&case).digest(), &case.signature("signature"));
        assert_ne!(recovered, Some(case.address("signer")), "{}", case.name());
    }
}

#[test]
fn notes() {
    let signature = |case: &Case, key: &str| Ed25519Signature(case.bytes(key).try_into().expect("64 bytes"));
    let (cases, rejects) = flat("note");
    for case in cases {
        let tree = Tree { size: case.number("size"), root: case.hash("root") };
        let (log, key) = (case.hash("logId"), case.hash("kLog"));
        let checkpoint = Checkpoint { log_id: log, tree, timestamp: UnixMs(0) };
        assert_eq!(checkpoint.note_body(), case.text("body"));
        assert!(verify_ed25519(&key, case.text("body").as_bytes(), &signature(&case, "signature")));
        assert_eq!(checkpoint.note(&key, &signature(&case, "signature")), case.text("note"));
        assert_eq!(open_note(case.text("note"), &log, &key), Ok(tree));
        let time = case.number("time");
        assert_eq!(Cosignature::message(UnixSeconds(time), case.text("body")), case.text("cosigned"));
        let cosignature =
            Cosignature { witness: case.hash("witness"), time: UnixSeconds(time), signature: signature(&case, "cosignature") };
        assert!(cosignature.is_valid(case.text("body")));
    }
    for case in rejects {
        assert_eq!(case.refused_by(), "log.checkpoint");
        assert!(open_note(case.text("note"), &case.hash("logId"), &case.hash("kLog")).is_err(), "{}", case.name());
    }
}

#[test]
fn terms() {
    let (cases, rejects) = flat("terms");
    for case in cases {
        let signed = SignedTerms::parse(&case.bytes("cbor")).unwrap_or_else(|error| panic!("{}: {error}", case.name()));
        let terms = &signed.terms;
        assert_eq!(signed.encode(), case.bytes("cbor"), "{}", case.name());
        assert_eq!(terms.words().into_vec(), case.bytes("words"), "{}", case.name());
        assert_eq!(OperatorTerms::WORDS * 32, case.bytes("words").len());
        assert_eq!(terms.digest(), case.hash("digest"), "{}", case.name());
        assert_eq!(terms.contracts_hash(), case.hash("contractsHash"));
        assert_eq!(terms.model_set_root(), case.hash("modelSetRoot"));
        assert_eq!(terms.price_table_hash(), case.hash("priceTableHash"));
        assert_eq!((terms.check_consistent(), terms.operator), (Ok(()), case.address("operator")), "{}", case.name());
        assert_eq!(signer(&K256, &terms.digest(), &case.signature("signature")), Some(terms.operator), "{}", case.name());
    }
    for case in rejects {
        let by = match SignedTerms::parse(&case.bytes("cbor")) {
            Err(_) => "parse",
            Ok(signed) if signer(&K256, &signed.terms.digest(), &signed.signature) != Some(signed.terms.operator) => "evidence.operator",
            Ok(signed) if signed.terms.check_consistent().is_err() => "evidence.manifest",
            Ok(_) => "accepted",
        };
        assert_eq!(by, case.refused_by(), "{}", case.name());
    }
}

#[test]
fn registrations() {
    let (cases, rejects) = flat("registration");
    let registration = |case: &Case| Registration {
        k_sig: case.address("kSig"),
        manifest_hash: case.hash("manifestHash"),
        verifier: case.address("verifier"),
        workload_id: case.hash("workloadId"),
        terms_data_hash: case.hash("termsDataHash"),
        registry: case.address("registry"),
        chain_id: case.number("chainId"),
        deadline: UnixSeconds(case.number("deadline")),
    };
    for case in cases {
        let digest = registration(&case).digest();
        assert_eq!(digest, case.hash("digest"), "{}", case.name());
        assert_eq!(signer(&K256, &digest, &case.signature("signature")), Some(case.address("registrar")));
    }
    for case in rejects {
        assert_eq!(case.refused_by(), "WrongRegistrar");
        assert_ne!(signer(&K256, &registration(&case).digest(), &case.signature("signature")), Some(case.address("registrar")));
    }
}

#[test]
fn ends_of_keys_and_channel_authorizations() {
    let signed = |digest: &Hash32, case: &Case, who: &str| signer(&K256, digest, &case.signature("signature")) == Some(case.address(who));
    let (cases, rejects) = flat("key-end");
    let digest = |case: &Case| {
        let end = match case.text("act") {
            "retire" => End::Retire,
            "revoke" => End::Revoke,
            other => panic!("unknown {other}"),
        };
        end.digest(&case.address("kSig"), &case.address("registry"), case.number("chainId"))
    };
    for case in cases {
        assert_eq!(digest(&case), case.hash("digest"), "{}", case.name());
        assert!(signed(&digest(&case), &case, "operator"), "{}", case.name());
    }
    for case in rejects {
        assert_eq!(case.refused_by(), "signature");
        assert!(!signed(&digest(&case), &case, "operator"), "{}", case.name());
    }

    let (cases, rejects) = flat("channel-authorization");
    let digest = |case: &Case| channel_authorization_digest(case.number("chainId"), &case.address("authorizer"), &case.hash("signed"));
    for case in cases {
        assert_eq!(digest(&case), case.hash("digest"), "{}", case.name());
        assert!(signed(&digest(&case), &case, "signer"), "{}", case.name());
    }
    for case in rejects {
        assert_eq!(case.refused_by(), "signature");
        assert!(!signed(&digest(&case), &case, "signer"), "{}", case.name());
    }
}

#[test]
fn refusals() {
    let (cases, rejects) = flat("refusal");
    for case in cases {
        let refusal = Refusal::parse(&case.bytes("encoded")).unwrap_or_else(|error| panic!("{}: {error:?}", case.name()));
        assert_eq!((refusal.encode(), refusal.digest()), (case.bytes("encoded"), case.hash("digest")), "{}", case.name());
        assert_eq!((refusal.code_hash, code_hash(case.text("code"))), (case.hash("codeHash"), case.hash("codeHash")));
        assert_eq!(signer(&K256, &refusal.digest(), &case.signature("signature")), Some(case.address("signer")), "{}", case.name());
    }
    for case in rejects {
        let by = match Refusal::parse(&case.bytes("encoded")) {
            Err(_) => "parse",
            Ok(refusal) if signer(&K256, &refusal.digest(), &case.signature("signature")) != Some(case.address("signer")) => {
                "refusal.signature"
            }
            Ok(_) => "accepted",
        };
        assert_eq!(by, case.refused_by(), "{}", case.name());
    }
}

#[test]
fn price_lists() {
    let (cases, rejects) = flat("price-list");
    let judged = |case: &Case| {
        let terms = SignedTerms::parse(&case.bytes("terms")).expect("terms").terms;
        SignedPriceList::parse(&case.bytes("cbor")).map(|signed| (signed.check(&terms, &K256), signed, terms))
    };
    for case in cases {
        let (checked, signed, terms) = judged(&case).unwrap_or_else(|error| panic!("{}: {error}", case.name()));
        assert_eq!((checked, signed.encode()), (Ok(()), case.bytes("cbor")), "{}", case.name());
        let list = &signed.list;
        assert_eq!((list.digest(), list.prices_hash()), (case.hash("digest"), case.hash("pricesHash")), "{}", case.name());
        let numbers = ["number", "from", "until"].map(|key| case.number(key));
        assert_eq!(([list.number, list.from.0, list.until.0], terms.registrar), (numbers, case.address("registrar")), "{}", case.name());
    }
    for case in rejects {
        let by = match SignedPriceList::parse(&case.bytes("cbor")) {
            Err(_) => "parse",
            Ok(_) if judged(&case).is_ok_and(|(checked, ..)| checked.is_err()) => "offer.price",
            Ok(_) => "accepted",
        };
        assert_eq!(by, case.refused_by(), "{}", case.name());
    }
}

#[test]
fn sources_and_further_keys() {
    let (cases, rejects) = flat("source");
    let read = |case: &Case| {
        let bytes = case.bytes("cbor");
        let mut r = Reader::new(&bytes);
        SourceRecord::read(&mut r).and_then(|record| r.end().map(|()| record))
    };
    for case in cases {
        let record = read(&case).unwrap_or_else(|error| panic!("{}: {error}", case.name()));
        let mut w = Writer::new();
        record.write(&mut w);
        assert_eq!((w.into_vec(), record.struct_hash()), (case.bytes("cbor"), case.hash("sourceHash")), "{}", case.name());
    }
    for case in rejects {
        let by = match read(&case) {
            Err(_) => "parse",
            Ok(record) if record.struct_hash() != case.hash("sourceHash") => "work.claim",
            Ok(_) => "accepted",
        };
        assert_eq!(by, case.refused_by(), "{}", case.name());
    }

    let keys = |case: &Case| -> Vec<FurtherKey> {
        let number = |value: &serde_json::Value| u16::try_from(value.as_u64().expect("a number")).expect("16 bits");
        let bytes = |value: &serde_json::Value| candor_verify::bytes::from_hex(value.as_str().expect("a text")).expect("hex");
        let list = case.get("keys").as_array().expect("a list");
        let key = |key: &serde_json::Value| FurtherKey {
            purpose: number(&key["purpose"]),
            algorithm: number(&key["algorithm"]),
            bytes: bytes(&key["bytes"]),
        };
        list.iter().map(key).collect()
    };
    let (cases, rejects) = flat("further-keys");
    for case in cases {
        assert_eq!(keys_hash(&keys(&case)), case.hash("keysHash"), "{}", case.name());
    }
    for case in rejects {
        assert_eq!(case.refused_by(), "evidence.manifest");
        assert_ne!(keys_hash(&keys(&case)), case.hash("keysHash"), "{}", case.name());
    }
}

#[test]
fn boots() {
    let (cases, rejects) = flat("boot");
    let digest = |case: &Case| {
        let type_hash = keccak256(&[b"Boot(bytes32 manifestHash)"]);
        candor_verify::eip712::digest(&candor_verify::eip712::candor_domain(), &keccak256(&[&type_hash.0, &case.hash("manifestHash").0]))
    };
    for case in cases {
        assert_eq!(digest(&case), case.hash("digest"), "{}", case.name());
        assert_eq!(signer(&K256, &case.hash("digest"), &case.signature("signature")), Some(case.address("kSig")), "{}", case.name());
    }
    for case in rejects {
        assert_eq!(case.refused_by(), "WrongBootSigner");
        assert_ne!(signer(&K256, &digest(&case), &case.signature("signature")), Some(case.address("kSig")));
    }
    assert_eq!(Manifest::default().boot_digest(), flat("boot").0[1].hash("digest"));
}

#[test]
fn manifests() {
    let (cases, rejects) = flat("manifest");
    for case in cases {
        let manifest = Manifest::parse(&case.bytes("encoded")).unwrap_or_else(|error| panic!("{}: {error:?}", case.name()));
        assert_eq!(manifest.encode(), case.bytes("encoded"), "{}", case.name());
        assert_eq!((manifest.hash(), manifest.log_id()), (case.hash("hash"), case.hash("logId")), "{}", case.name());
        assert_eq!(log_id(&manifest.k_sig, &manifest.k_log), case.hash("logId"));
    }
    for case in rejects {
        assert_eq!(case.refused_by(), "parse");
        assert!(Manifest::parse(&case.bytes("encoded")).is_err(), "{}", case.name());
    }
}

#[test]
fn attested_bytes_and_workloads() {
    let attested = |case: &Case| {
        let freshness = Freshness {
            chain_id: case.number("chainId"),
            block_number: case.number("blockNumber"),
            block_hash: case.hash("blockHash"),
            nonce: case.hash("nonce"),
        };
        (freshness.tag().to_vec(), attested_bytes(&case.address("kSig"), &case.hash("manifestHash"), &freshness).to_vec())
    };
    let (cases, rejects) = flat("freshness");
    for case in cases {
        assert_eq!(attested(&case), (case.bytes("tag"), case.bytes("attested")), "{}", case.name());
    }
    for case in rejects {
        assert_eq!(case.refused_by(), "evidence.binding");
        assert_ne!(attested(&case).1, case.bytes("attested"), "{}", case.name());
    }

    let workload = |case: &Case| workload_id(TeeKind::Nitro, &case.hash("rootFingerprint"), &case.bytes("measurements"));
    let (cases, rejects) = flat("workload");
    assert_eq!(cases[0].hash("rootFingerprint").0, TrustRoot::AWS_NITRO_G1.fingerprint);
    for case in cases {
        assert_eq!((workload(&case), u64::from(TeeKind::Nitro.code())), (case.hash("workloadId"), case.number("kind")), "{}", case.name());
        let listed = listed_id(&case.address("verifier"), &case.hash("verifierCodehash"), &case.hash("workloadId"));
        assert_eq!(listed, case.hash("listedId"), "{}", case.name());
    }
    for case in rejects {
        assert_eq!(case.refused_by(), "policy.workload");
        assert_ne!(workload(&case), case.hash("workloadId"), "{}", case.name());
    }
}

fn through(case: &Case) -> Through {
    match (case.number("scheme"), case.addresses("contracts").as_slice()) {
        (1, []) => Through::Token,
        (3, [spender, facilitator]) => Through::UptoProxy { spender: *spender, facilitator: *facilitator },
        other => panic!("{other:?}"),
    }
}

#[test]
fn payments() {
    let (cases, rejects) = flat("payment");
    let read = |case: &Case| {
        let domain = TokenDomain {
            name: case.text("tokenName").into(),
            version: case.text("tokenVersion").into(),
            chain_id: case.number("chainId"),
            asset: case.address("asset"),
        };
        let authorization = Authorization {
            through: through(case),
            from: case.address("from"),
            to: case.address("to"),
            value: Amount::from_decimal(case.text("value")).expect("an amount"),
            valid_after: UnixSeconds(case.number("validAfter")),
            valid_before: UnixSeconds(case.number("validBefore")),
            nonce: case.hash("nonce"),
        };
        (domain, authorization)
    };
    let signed = |case: &Case| {
        let (domain, authorization) = read(case);
        signer(&K256, &authorization.digest(&domain), &case.signature("signature")) == Some(authorization.from)
    };
    let bound = |case: &Case| offer_nonce(&case.hash("offerDigest"), &case.hash("clientSalt")) == case.hash("nonce");
    for case in cases {
        let (domain, authorization) = read(&case);
        assert_eq!(authorization.digest(&domain), case.hash("digest"), "{}", case.name());
        assert_eq!(authorization.payment_id(domain.chain_id, &domain.asset), case.hash("paymentId"), "{}", case.name());
        let question = NonceQuestion::of(authorization.through.scheme(), &domain.asset, &authorization.from, &authorization.nonce);
        assert_eq!(question.map(|question| question.to), Some(case.address("keeper")), "{}", case.name());
        assert!(signed(&case) && bound(&case), "{}", case.name());
    }
    for case in rejects {
        let by = match (signed(&case), bound(&case)) {
            (false, _) => "payment.signature",
            (true, false) => "payment.binding",
            (true, true) => "accepted",
        };
        assert_eq!(by, case.refused_by(), "{}", case.name());
    }
}

#[test]
fn settlers() {
    let is_right = |case: &Case| {
        let (factory, k_sig) = (case.address("factory"), case.address("kSig"));
        settler_code(&factory, &k_sig) == case.bytes("creationCode") && settler_of(&factory, &k_sig) == case.address("settler")
    };
    let (cases, rejects) = flat("settler");
    for case in cases {
        assert!(is_right(&case), "{}", case.name());
    }
    for case in rejects {
        assert!(!is_right(&case) && case.refused_by() == "offer.terms", "{}", case.name());
    }
}

#[test]
fn payment_ids_by_place() {
    let id = |case: &Case| {
        let of = match case.text("kind") {
            "none" => unpaid_id,
            "unsettled" => unsettled_id,
            other => panic!("unknown {other}"),
        };
        of(case.number("anchorChainId"), &case.hash("logId"), case.number("sequence"))
    };
    let (cases, rejects) = flat("payment-id");
    for case in cases {
        assert_eq!(id(&case), case.hash("paymentId"), "{}", case.name());
    }
    for case in rejects {
        assert_eq!(case.refused_by(), "receipt.payment");
        assert_ne!(id(&case), case.hash("paymentId"), "{}", case.name());
    }
}

#[test]
fn prices_and_amounts() {
    let amount = |case: &Case, key: &str| Amount::from_decimal(case.text(key)).expect("an amount");
    let price = |case: &Case| {
        let classes = Classes {
            input: amount(case, "input"),
            output: amount(case, "output"),
            request: amount(case, "request"),
            ..Classes::default()
        };
        classes.amount(case.number("promptTokens"), case.number("completionTokens"))
    };
    let expected = |case: &Case| case.get("amount").as_str().map(|text| Amount::from_decimal(text).expect("an amount"));
    let (cases, rejects) = flat("price");
    cases.iter().for_each(|case| assert_eq!(price(case), expected(case), "{}", case.name()));
    for case in rejects {
        assert_eq!(case.refused_by(), "offer.price");
        assert_ne!(price(&case), expected(&case), "{}", case.name());
    }

    let (cases, rejects) = flat("amount");
    for case in cases {
        let word = candor_verify::abi::Words::new().amount(amount(&case, "text"));
        assert_eq!(word.as_slice(), case.bytes("word"), "{}", case.name());
    }
    rejects.iter().for_each(|case| assert_eq!(Amount::from_decimal(case.text("text")), None, "{}", case.name()));
}

#[test]
fn decoding_seeds_and_ids() {
    let digest = |case: &Case| {
        let number = |key: &str| u32::try_from(case.number(key)).expect("32 bits");
        let stops: Vec<String> = case.get("stops").as_array().expect("a list").iter().map(|s| s.as_str().expect("a text").into()).collect();
        let decoding = Decoding {
            engine: case.text("engine").into(),
            seed: case.hash("seed"),
            seed_source: SeedSource::from_code(u8::try_from(case.number("seedSource")).expect("a byte")).expect("a source"),
            temperature_e6: number("temperatureE6"),
            top_p_e6: number("topPE6"),
            top_k: number("topK"),
            max_tokens: number("maxTokens"),
            stop_hash: stop_hash(&stops),
        };
        (decoding.stop_hash, decoding.struct_hash())
    };
    let (cases, rejects) = flat("decoding");
    for case in cases {
        assert_eq!(digest(&case), (case.hash("stopHash"), case.hash("decodingHash")), "{}", case.name());
    }
    for case in rejects {
        assert_eq!(case.refused_by(), "work.decoding");
        assert_ne!(digest(&case).1, case.hash("decodingHash"), "{}", case.name());
    }

    let (cases, rejects) = flat("seed");
    for case in cases {
        if case.0.get("requestSeed").is_some() {
            let seed = case.text("requestSeed").parse().expect("an i64");
            assert_eq!(requested_seed(&case.hash("seed")), Some(seed), "{}", case.name());
        } else {
            assert_eq!(seed_commitment(&case.hash("share")), case.hash("commitment"), "{}", case.name());
            assert_eq!(seed_from_share(&case.hash("share"), &case.hash("nonce")), case.hash("seed"), "{}", case.name());
        }
    }
    for case in rejects {
        assert_eq!(case.refused_by(), "work.seed");
        if case.0.get("requestSeed").is_some() {
            assert_eq!(requested_seed(&case.hash("seed")), None, "{}", case.name());
        } else {
            assert_ne!(seed_commitment(&case.hash("share")), case.hash("commitment"), "{}", case.name());
        }
    }
    for case in flat("receipt-id").0 {
        assert_eq!(receipt_id(&case.hash("leafSalt")).to_vec(), case.bytes("receiptId"), "{}", case.name());
    }
}

#[test]
fn requests_and_responses() {
    let request = |case: &Case| request_commitment(&case.hash("salt"), case.text("method"), case.text("path"), &case.bytes("body"));
    let (cases, rejects) = flat("request");
    for case in cases {
        let (method, path, body) = (case.text("method"), case.text("path"), case.bytes("body"));
        let salt = request_salt(&case.hash("bootSecret"), case.number("bucket"), method, path, &body);
        assert_eq!((salt, request(&case)), (case.hash("salt"), case.hash("commitment")), "{}", case.name());
    }
    for case in rejects {
        assert_eq!(case.refused_by(), "request.commitment");
        assert_ne!(request(&case), case.hash("commitment"), "{}", case.name());
    }

    let question = |case: &Case| question_hash(case.text("method"), case.text("path"), &case.bytes("body")) == case.hash("questionHash");
    let answer = |case: &Case| keccak256(&[case.text("answer").as_bytes()]) == case.hash("answerHash");
    let (cases, rejects) = flat("question");
    cases.iter().for_each(|case| assert!(question(case) && answer(case), "{}", case.name()));
    for case in rejects {
        let by = match (question(&case), answer(&case)) {
            (false, _) => "question",
            (true, false) => "answer",
            (true, true) => "accepted",
        };
        assert_eq!(by, case.refused_by(), "{}", case.name());
    }

    let frames = |case: &Case| -> Vec<Vec<u8>> {
        let list = case.get("frames").as_array().expect("a list");
        list.iter().map(|frame| candor_verify::bytes::from_hex(frame.as_str().expect("a text")).expect("hex")).collect()
    };
    let response = |case: &Case| commitment_of(&case.hash("seed"), frames(case).iter().map(Vec::as_slice));
    let (cases, rejects) = flat("response");
    for case in cases {
        let leaves: Vec<Hash32> = (0..).zip(frames(&case)).map(|(i, frame)| frame_leaf_hash(&case.hash("seed"), i, &frame)).collect();
        assert_eq!((response(&case), leaves), (case.hash("commitment"), case.hashes("leafHashes")), "{}", case.name());
    }
    for case in rejects {
        assert_eq!(case.refused_by(), "response.commitment");
        assert_ne!(response(&case), case.hash("commitment"), "{}", case.name());
    }

    let (cases, rejects) = flat("splice");
    for case in cases {
        let (frame, member, spliced) = (case.text("frame"), case.text("member"), case.text("spliced"));
        assert_eq!(splice(frame.as_bytes(), member.as_bytes()).as_deref(), Some(spliced.as_bytes()), "{}", case.name());
        assert_eq!(unsplice(spliced.as_bytes()), Some((frame.as_bytes().to_vec(), member.as_bytes())), "{}", case.name());
    }
    rejects.iter().for_each(|case| assert_eq!(unsplice(case.text("spliced").as_bytes()), None, "{}", case.name()));
}

#[test]
fn leaves_and_proofs() {
    let (cases, rejects) = flat("leaf");
    let data = |case: &Case| leaf_data(&case.hash("logSalt"), &case.hash("receiptDigest"), &case.signature("signature"));
    for case in cases {
        let data = data(&case);
        assert_eq!((data, leaf_hash(&data.0)), (case.hash("leafData"), case.hash("leafHash")), "{}", case.name());
    }
    for case in rejects {
        assert_eq!(case.refused_by(), "log.inclusion");
        assert_ne!(data(&case), case.hash("leafData"), "{}", case.name());
    }

    let mut seen = [0; 2];
    for case in flat("inclusion").0 {
        let tree = Tree { size: case.number("size"), root: case.hash("root") };
        let result = verify_inclusion(case.hash("leafHash"), case.number("index"), &case.hashes("proof"), &tree);
        assert_eq!(result.is_ok(), case.flag("valid"), "{}: {result:?}", case.name());
        assert!(case.flag("valid") || case.refused_by() == "log.inclusion");
        seen[usize::from(case.flag("valid"))] += 1;
    }
    for case in flat("consistency").0 {
        let tree = |size: &str, root: &str| Tree { size: case.number(size), root: case.hash(root) };
        let result = verify_consistency(&tree("first", "firstRoot"), &tree("second", "secondRoot"), &case.hashes("proof"));
        assert_eq!(result.is_ok(), case.flag("valid"), "{}: {result:?}", case.name());
        assert!(case.flag("valid") || case.refused_by() == "log.consistency");
        seen[usize::from(case.flag("valid"))] += 1;
    }
    assert!(20 < seen[0] && 20 < seen[1], "accepting and rejecting proofs: {seen:?}");
}

#[test]
fn domain_tags_are_the_listed_ones() {
    let cases = flat("domain-tags").0;
    assert_eq!(
        cases.iter().map(|case| case.bytes("tag")).collect::<Vec<_>>(),
        tags::ALL.iter().map(|tag| tag.to_vec()).collect::<Vec<_>>()
    );
    for case in cases {
        assert_eq!(case.name().as_bytes(), case.bytes("tag"));
        assert_eq!(sha256(&[&case.bytes("tag")]), case.hash("sha256"));
        assert_eq!(keccak256(&[&case.bytes("tag")]), case.hash("keccak256"));
    }
}
