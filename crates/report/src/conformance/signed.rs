//! Cases of what somebody signs: the digest comes out, and the signature is by whom the case names.
//!
//! Each function makes a case right in every key or ends at the first check that refuses, in the order of spec/conformance.md §3.

use candor_verify::abi::Words;
use candor_verify::bytes::{Address, Hash32, Signature65};
use candor_verify::checkpoint::{Checkpoint, Cosignature, Ed25519Signature, open_note, verify_ed25519};
use candor_verify::eip712::{self, K256};
use candor_verify::hash::keccak256;
use candor_verify::manifest::workload_id_of;
use candor_verify::offer::Offer;
use candor_verify::payment::{Authorization, TokenDomain, channel_authorization_digest, offer_nonce};
use candor_verify::receipt::Receipt;
use candor_verify::refusal::{Refusal, code_hash};
use candor_verify::registration::{End as KeyEnd, Registration};
use candor_verify::scheme::{NonceQuestion, Through};
use candor_verify::terms::{SignedPriceList, SignedTerms};
use candor_verify::time::{UnixMs, UnixSeconds};
use candor_verify::tlog::Tree;

use super::case::{Case, End, UnfitCase, as_address, parse, require};

type Judged = Result<(), End>;

pub(super) fn receipt(case: &Case<'_>) -> Judged {
    const CHECK: &str = "receipt.signature";
    let receipt = Receipt::parse(&case.bytes("encoded")?).map_err(parse)?;
    case.says("moneyHash", receipt.money.struct_hash(), CHECK)?;
    case.says("workHash", receipt.work.struct_hash(), CHECK)?;
    case.says("digest", receipt.digest(), CHECK)?;
    case.signed(&receipt.digest(), case.address("signer")?, CHECK)
}

pub(super) fn offer(case: &Case<'_>) -> Judged {
    let offer = Offer::parse(&case.bytes("encoded")?).map_err(parse)?;
    case.says("digest", offer.digest(), "offer.signature")
}

pub(super) fn checkpoint(case: &Case<'_>) -> Judged {
    const CHECK: &str = "log.checkpoint";
    let tree = Tree { size: case.number("size")?, root: case.hash("root")? };
    let digest = Checkpoint { log_id: case.hash("logId")?, tree, timestamp: UnixMs(case.number("timestamp")?) }.digest();
    case.says("digest", digest, CHECK)?;
    case.signed(&digest, case.address("signer")?, CHECK)
}

pub(super) fn note(case: &Case<'_>) -> Judged {
    const CHECK: &str = "log.checkpoint";
    let (log_id, k_log) = (case.hash("logId")?, case.hash("kLog")?);
    let opened = open_note(case.text("note")?, &log_id, &k_log);
    let tree = opened.map_err(|error| End::Refused { check: CHECK, why: error.to_string() })?;
    case.says("size", tree.size, CHECK)?;
    case.says("root", tree.root, CHECK)?;
    let body = Checkpoint { log_id, tree, timestamp: UnixMs(0) }.note_body();
    case.says("body", &body, CHECK)?;
    let signature = Ed25519Signature(case.array("signature")?);
    require(verify_ed25519(&k_log, body.as_bytes(), &signature), CHECK, "K_log did not sign the note's body")?;
    let time = UnixSeconds(case.number("time")?);
    case.says("cosigned", Cosignature::message(time, &body), CHECK)?;
    let cosignature = Cosignature { witness: case.hash("witness")?, time, signature: Ed25519Signature(case.array("cosignature")?) };
    require(cosignature.is_valid(&body), "log.witnesses", "the witness did not sign this body at this time")
}

pub(super) fn terms(case: &Case<'_>) -> Judged {
    const CHECK: &str = "evidence.terms";
    let signed = SignedTerms::parse(&case.bytes("cbor")?).map_err(parse)?;
    let (terms, digest) = (&signed.terms, signed.terms.digest());
    let is_signed = eip712::signer(&K256, &digest, &signed.signature) == Some(terms.operator);
    require(is_signed, "evidence.operator", format!("digest {digest} is not signed by {}", terms.operator))?;
    terms.check_consistent().map_err(|why| End::Refused { check: "evidence.manifest", why })?;
    case.says_bytes("words", terms.words().as_slice(), CHECK)?;
    case.says("digest", digest, CHECK)?;
    case.says("operator", terms.operator, CHECK)?;
    case.says_bytes("signature", &signed.signature.0, CHECK)?;
    case.says("contractsHash", terms.contracts_hash(), CHECK)?;
    case.says("modelSetRoot", terms.model_set_root(), CHECK)?;
    case.says("priceTableHash", terms.price_table_hash(), CHECK)
}

pub(super) fn registration(case: &Case<'_>) -> Judged {
    const CHECK: &str = "WrongRegistrar";
    let registration = Registration {
        k_sig: case.address("kSig")?,
        manifest_hash: case.hash("manifestHash")?,
        verifier: case.address("verifier")?,
        workload_id: case.hash("workloadId")?,
        terms_data_hash: case.hash("termsDataHash")?,
        registry: case.address("registry")?,
        chain_id: case.number("chainId")?,
        deadline: UnixSeconds(case.number("deadline")?),
    };
    case.says("digest", registration.digest(), CHECK)?;
    case.signed(&registration.digest(), case.address("registrar")?, CHECK)
}

pub(super) fn boot(case: &Case<'_>) -> Judged {
    const CHECK: &str = "WrongBootSigner";
    let digest = candor_verify::manifest::boot_digest(&case.hash("manifestHash")?);
    case.says("digest", digest, CHECK)?;
    case.signed(&digest, case.address("kSig")?, CHECK)
}

pub(super) fn key_end(case: &Case<'_>) -> Judged {
    const CHECK: &str = "signature";
    let end = match case.text("act")? {
        "retire" => KeyEnd::Retire,
        "revoke" => KeyEnd::Revoke,
        other => return Err(UnfitCase::new(format!("\"act\" must be retire or revoke, got {other:?}")).into()),
    };
    let digest = end.digest(&case.address("kSig")?, &case.address("registry")?, case.number("chainId")?);
    case.says("digest", digest, CHECK)?;
    case.signed(&digest, case.address("operator")?, CHECK)
}

pub(super) fn channel_authorization(case: &Case<'_>) -> Judged {
    const CHECK: &str = "signature";
    let digest = channel_authorization_digest(case.number("chainId")?, &case.address("authorizer")?, &case.hash("signed")?);
    case.says("digest", digest, CHECK)?;
    case.signed(&digest, case.address("signer")?, CHECK)
}

pub(super) fn refusal(case: &Case<'_>) -> Judged {
    const CHECK: &str = "refusal.signature";
    let refusal = Refusal::parse(&case.bytes("encoded")?).map_err(parse)?;
    let named = code_hash(case.text("code")?);
    require(named == refusal.code_hash, CHECK, format!("code hash {named} of the code, {} of the encoding", refusal.code_hash))?;
    case.says("codeHash", refusal.code_hash, CHECK)?;
    case.says("digest", refusal.digest(), CHECK)?;
    case.signed(&refusal.digest(), case.address("signer")?, CHECK)
}

pub(super) fn price_list(case: &Case<'_>) -> Judged {
    const CHECK: &str = "offer.price";
    let signed = SignedPriceList::parse(&case.bytes("cbor")?).map_err(parse)?;
    let (list, terms) = (&signed.list, case.signed_terms("terms")?.terms);
    case.says("number", list.number, CHECK)?;
    case.says("from", list.from, CHECK)?;
    case.says("until", list.until, CHECK)?;
    case.says("pricesHash", list.prices_hash(), CHECK)?;
    case.says("digest", list.digest(), CHECK)?;
    case.says("registrar", terms.registrar, CHECK)?;
    let refused = |(expected, got)| End::Refused { check: CHECK, why: format!("expected {expected}, got {got}") };
    signed.check(&terms, &K256).map_err(refused)
}

/// Through which contract a payment moves: its scheme, and what was signed beside it.
fn through(case: &Case<'_>) -> Result<Through, UnfitCase> {
    let contracts = case.list("contracts", as_address)?;
    match (case.number("scheme")?, contracts.as_slice()) {
        (1, []) => Ok(Through::Token),
        (3, [spender, facilitator]) => Ok(Through::UptoProxy { spender: *spender, facilitator: *facilitator }),
        _ => Err(UnfitCase::new("scheme and contracts must be those of a payment for one answer".to_owned())),
    }
}

pub(super) fn payment(case: &Case<'_>) -> Judged {
    let token = TokenDomain {
        name: case.text("tokenName")?.into(),
        version: case.text("tokenVersion")?.into(),
        chain_id: case.number("chainId")?,
        asset: case.address("asset")?,
    };
    let authorization = Authorization {
        through: through(case)?,
        from: case.address("from")?,
        to: case.address("to")?,
        value: case.amount("value")?,
        valid_after: UnixSeconds(case.number("validAfter")?),
        valid_before: UnixSeconds(case.number("validBefore")?),
        nonce: case.hash("nonce")?,
    };
    let digest = authorization.digest(&token);
    case.says("digest", digest, "payment.signature")?;
    case.signed(&digest, authorization.from, "payment.signature")?;
    // A stock client has no salt, and its nonce commits to nothing.
    if !case.get("clientSalt")?.is_null() {
        case.says("nonce", offer_nonce(&case.hash("offerDigest")?, &case.hash("clientSalt")?), "payment.binding")?;
    }
    let question = NonceQuestion::of(authorization.through.scheme(), &token.asset, &authorization.from, &authorization.nonce);
    if let Some(question) = question {
        case.says("keeper", question.to, "receipt.payment")?;
    }
    case.says("paymentId", authorization.payment_id(token.chain_id, &token.asset), "receipt.payment")
}

/// A quorum's statement, as `QuorumVerifier` reads it: attestation.md §4.
pub(super) fn quorum_verdict(case: &Case<'_>) -> Judged {
    const CHECK: &str = "policy.workload";
    const TYPE: &str = "Verdict(bytes32 evidenceHash,uint256 innerKind,bytes32 innerRoot,bytes32 innerMeasurements,bytes32 attestedHash,uint64 documentTime)";
    const QUORUM_KIND: u64 = 0x51;
    let members = case.list("members", as_address)?;
    let (inner_kind, inner_root, measured) = (case.number("innerKind")?, case.hash("innerRoot")?, case.hash("innerMeasurements")?);
    let root = quorum_root(case.number("threshold")?, &members);
    case.says("quorumRoot", root, CHECK)?;
    let inner = workload_id_of(inner_kind, &inner_root, &measured);
    case.says("workloadId", workload_id_of(QUORUM_KIND, &root, &inner), CHECK)?;

    let words = Words::new().hash(&keccak256(&[&case.bytes("evidence")?])).u64(inner_kind).hash(&inner_root).hash(&measured);
    let words = words.hash(&case.hash("attestedHash")?).u64(case.number("documentTime")?);
    let domain = eip712::contract_domain("Candor Attestor", "2", case.number("chainId")?, &case.address("verifier")?);
    let digest = eip712::digest(&domain, &eip712::hash_struct(TYPE, &words));
    case.says("digest", digest, CHECK)?;
    let data = case.bytes("verifierData")?;
    let Some(signatures) = data.strip_prefix(words.as_slice()) else {
        return require(false, CHECK, "the verifier data do not begin with the words of the verdict");
    };
    let signers = ascending_signers(&digest, signatures, &members);
    let enough = signers.is_some_and(|count| case.number("threshold").is_ok_and(|threshold| threshold <= count));
    require(enough, CHECK, "the verifier data have not signatures of enough members, by ascending signer")
}

/// keccak256(abi.encode(threshold, members)): the list lies behind the two words of the head.
fn quorum_root(threshold: u64, members: &[Address]) -> Hash32 {
    let head = Words::new().u64(threshold).u64(64).u64(u64::try_from(members.len()).unwrap_or(u64::MAX));
    keccak256(&[members.iter().fold(head, Words::address).as_slice()])
}

/// How many members signed, if each signature is a member's and their addresses ascend.
fn ascending_signers(digest: &Hash32, signatures: &[u8], members: &[Address]) -> Option<u64> {
    let (each, []) = signatures.as_chunks::<65>() else { return None };
    let signers = each.iter().map(|signature| eip712::signer(&K256, digest, &Signature65(*signature)));
    let signers = signers.map(|signer| signer.filter(|signer| members.contains(signer))).collect::<Option<Vec<_>>>()?;
    let ascends = signers.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
    ascends.then(|| u64::try_from(signers.len()).unwrap_or(u64::MAX))
}
