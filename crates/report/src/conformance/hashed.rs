//! Cases of what is hashed and signed by nobody: ids, commitments, records, leaves and proofs.
//!
//! Each function makes a case right in every key or ends at the first check that refuses, in the order of spec/conformance.md §3.

use candor_verify::abi::Words;
use candor_verify::bytes::Amount;
use candor_verify::cbor::Reader;
use candor_verify::decoding::{self, Decoding, SeedSource};
use candor_verify::hash::{keccak256, sha256};
use candor_verify::manifest::{self, Freshness, FurtherKey, Manifest, attested_bytes, listed_id, workload_id_of};
use candor_verify::payment::{unpaid_id, unsettled_id};
use candor_verify::receipt;
use candor_verify::scheme::{settler_code, settler_of};
use candor_verify::source::SourceRecord;
use candor_verify::tags;
use candor_verify::terms::Classes;
use candor_verify::tlog::{Tree, leaf_data, leaf_hash, verify_consistency, verify_inclusion};
use candor_verify::transcript::{
    commitment_of, frame_leaf_hash, question_hash, request_commitment, request_salt, splice as spliced, unsplice,
};
use serde_json::Value;

use super::case::{Case, End, PARSE, UnfitCase, as_bytes, parse, require};
use super::hex;

type Judged = Result<(), End>;

pub(super) fn manifest(case: &Case<'_>) -> Judged {
    let manifest = Manifest::parse(&case.bytes("encoded")?).map_err(parse)?;
    case.says("hash", manifest.hash(), "evidence.binding")?;
    case.says("logId", manifest.log_id(), "evidence.binding")
}

pub(super) fn freshness(case: &Case<'_>) -> Judged {
    let freshness = Freshness {
        chain_id: case.number("chainId")?,
        block_number: case.number("blockNumber")?,
        block_hash: case.hash("blockHash")?,
        nonce: case.hash("nonce")?,
    };
    case.says_bytes("tag", &freshness.tag(), "evidence.binding")?;
    let attested = attested_bytes(&case.address("kSig")?, &case.hash("manifestHash")?, &freshness);
    case.says_bytes("attested", &attested, "evidence.binding")
}

pub(super) fn workload(case: &Case<'_>) -> Judged {
    const CHECK: &str = "policy.workload";
    let measured = keccak256(&[&case.bytes("measurements")?]);
    let workload = workload_id_of(case.number("kind")?, &case.hash("rootFingerprint")?, &measured);
    case.says("workloadId", workload, CHECK)?;
    case.says("listedId", listed_id(&case.address("verifier")?, &case.hash("verifierCodehash")?, &workload), CHECK)
}

pub(super) fn further_keys(case: &Case<'_>) -> Judged {
    let key = |value: &Value| {
        let key = Case::of(value, "a key").ok()?;
        Some(FurtherKey { purpose: key.small("purpose").ok()?, algorithm: key.small("algorithm").ok()?, bytes: key.bytes("bytes").ok()? })
    };
    case.says("keysHash", manifest::keys_hash(&case.list("keys", key)?), "evidence.manifest")
}

pub(super) fn source(case: &Case<'_>) -> Judged {
    let bytes = case.bytes("cbor")?;
    let mut reader = Reader::new(&bytes);
    let record = SourceRecord::read(&mut reader).and_then(|record| reader.end().map(|()| record)).map_err(parse)?;
    case.says("sourceHash", record.struct_hash(), "work.claim")
}

pub(super) fn payment_id(case: &Case<'_>) -> Judged {
    let of = match case.text("kind")? {
        "none" => unpaid_id,
        "unsettled" => unsettled_id,
        other => return Err(UnfitCase::new(format!("\"kind\" must be none or unsettled, got {other:?}")).into()),
    };
    case.says("paymentId", of(case.number("anchorChainId")?, &case.hash("logId")?, case.number("sequence")?), "receipt.payment")
}

/// PAY-11
pub(super) fn settler(case: &Case<'_>) -> Judged {
    let (factory, k_sig) = (case.address("factory")?, case.address("kSig")?);
    case.says_bytes("creationCode", &settler_code(&factory, &k_sig), "offer.terms")?;
    case.says("settler", settler_of(&factory, &k_sig), "offer.terms")
}

pub(super) fn price(case: &Case<'_>) -> Judged {
    let (input, output, request) = (case.amount("input")?, case.amount("output")?, case.amount("request")?);
    let classes = Classes { input, output, request, ..Classes::default() };
    let computed = classes.amount(case.number("promptTokens")?, case.number("completionTokens")?);
    let said = case.get("amount")?;
    let same = computed.map_or(said.is_null(), |amount| said.as_str() == Some(amount.to_string().as_str()));
    let computed = computed.map_or("none in 128 bits".to_owned(), |amount| amount.to_string());
    require(same, "offer.price", format!("amount: the case says {said}, computed {computed}"))
}

pub(super) fn amount(case: &Case<'_>) -> Judged {
    let text = case.text("text")?;
    let amount = Amount::from_decimal(text).ok_or(End::Refused { check: PARSE, why: format!("{text:?} is no amount") })?;
    case.says_bytes("word", Words::new().amount(amount).as_slice(), PARSE)
}

pub(super) fn decoding(case: &Case<'_>) -> Judged {
    const CHECK: &str = "work.decoding";
    let stops = case.list("stops", |stop| stop.as_str().map(str::to_owned))?;
    let code = case.small("seedSource")?;
    let seed_source = SeedSource::from_code(code).ok_or_else(|| UnfitCase::new(format!("\"seedSource\" must be 1 to 3, got {code}")))?;
    let decoding = Decoding {
        engine: case.text("engine")?.into(),
        seed: case.hash("seed")?,
        seed_source,
        temperature_e6: case.small("temperatureE6")?,
        top_p_e6: case.small("topPE6")?,
        top_k: case.small("topK")?,
        max_tokens: case.small("maxTokens")?,
        stop_hash: decoding::stop_hash(&stops),
    };
    case.says("stopHash", decoding.stop_hash, CHECK)?;
    case.says("decodingHash", decoding.struct_hash(), CHECK)
}

pub(super) fn seed(case: &Case<'_>) -> Judged {
    const CHECK: &str = "work.seed";
    let seed = case.hash("seed")?;
    if case.has("requestSeed") {
        let Some(integer) = decoding::requested_seed(&seed) else { return require(false, CHECK, "the seed is no integer of 64 bits") };
        return case.says("requestSeed", integer, CHECK);
    }
    let share = case.hash("share")?;
    case.says("commitment", decoding::seed_commitment(&share), CHECK)?;
    case.says("seed", decoding::seed_from_share(&share, &case.hash("nonce")?), CHECK)
}

pub(super) fn receipt_id(case: &Case<'_>) -> Judged {
    case.says_bytes("receiptId", &receipt::receipt_id(&case.hash("leafSalt")?), "receipt.id")
}

pub(super) fn request(case: &Case<'_>) -> Judged {
    const CHECK: &str = "request.commitment";
    let (method, path, body) = (case.text("method")?, case.text("path")?, case.bytes("body")?);
    if case.has("bootSecret") {
        case.says("salt", request_salt(&case.hash("bootSecret")?, case.number("bucket")?, method, path, &body), CHECK)?;
    }
    case.says("commitment", request_commitment(&case.hash("salt")?, method, path, &body), CHECK)
}

pub(super) fn question(case: &Case<'_>) -> Judged {
    case.says("questionHash", question_hash(case.text("method")?, case.text("path")?, &case.bytes("body")?), "question")?;
    case.says("answerHash", keccak256(&[case.text("answer")?.as_bytes()]), "answer")
}

pub(super) fn response(case: &Case<'_>) -> Judged {
    const CHECK: &str = "response.commitment";
    let (seed, frames) = (case.hash("seed")?, case.list("frames", as_bytes)?);
    if case.has("leafHashes") {
        let leaves: Vec<_> = (0..).zip(&frames).map(|(index, frame)| frame_leaf_hash(&seed, index, frame)).collect();
        require(leaves == case.hashes("leafHashes")?, CHECK, format!("leaf hashes computed: {}", join(&leaves)))?;
    }
    case.says("commitment", commitment_of(&seed, frames.iter().map(Vec::as_slice)), CHECK)
}

pub(super) fn splice(case: &Case<'_>) -> Judged {
    const CHECK: &str = "response.commitment";
    let text = case.text("spliced")?;
    let (frame, member) = unsplice(text.as_bytes()).ok_or(End::Refused { check: PARSE, why: "no spliced last member".into() })?;
    case.says("frame", String::from_utf8_lossy(&frame), CHECK)?;
    case.says("member", String::from_utf8_lossy(member), CHECK)?;
    require(spliced(&frame, member).as_deref() == Some(text.as_bytes()), CHECK, "spliced again it is other bytes")
}

pub(super) fn leaf(case: &Case<'_>) -> Judged {
    const CHECK: &str = "log.inclusion";
    let data = leaf_data(&case.hash("logSalt")?, &case.hash("receiptDigest")?, &case.signature("signature")?);
    case.says("leafData", data, CHECK)?;
    case.says("leafHash", leaf_hash(&data.0), CHECK)
}

pub(super) fn inclusion(case: &Case<'_>) -> Judged {
    let tree = Tree { size: case.number("size")?, root: case.hash("root")? };
    let proven = verify_inclusion(case.hash("leafHash")?, case.number("index")?, &case.hashes("proof")?, &tree);
    proven.map(drop).map_err(|error| End::Refused { check: "log.inclusion", why: error.to_string() })
}

pub(super) fn consistency(case: &Case<'_>) -> Judged {
    let first = Tree { size: case.number("first")?, root: case.hash("firstRoot")? };
    let second = Tree { size: case.number("second")?, root: case.hash("secondRoot")? };
    let proven = verify_consistency(&first, &second, &case.hashes("proof")?);
    proven.map(drop).map_err(|error| End::Refused { check: "log.consistency", why: error.to_string() })
}

pub(super) fn domain_tag(case: &Case<'_>) -> Judged {
    const CHECK: &str = "tag";
    let tag = case.bytes("tag")?;
    require(tags::ALL.contains(&tag.as_slice()), CHECK, "no tag of domain-tags.md")?;
    case.says("sha256", sha256(&[&tag]), CHECK)?;
    case.says("keccak256", keccak256(&[&tag]), CHECK)
}

fn join(hashes: &[candor_verify::Hash32]) -> String {
    hashes.iter().map(|hash| hex(&hash.0)).collect::<Vec<_>>().join(" ")
}
