//! Honest parts of a node: terms, evidence, receipts, checkpoints. For the forge, which lies about them, and for tests with a node of their
//! own.
//!
//! A test that needs one field different takes the rest from here, so that a field more in one of these types is one change. Not here: what
//! becomes of a manifest under its terms (`verify::manifest`), and lies (`forge`).

use candor_devtee::{self as devtee, Hypervisor, Measurements};
use candor_verify::bytes::{Address, Amount, Hash32};
use candor_verify::checkpoint::{Checkpoint, Ed25519Signature, SignedCheckpoint};
use candor_verify::decoding::{Decoding, SeedSource};
use candor_verify::evidence::Evidence;
use candor_verify::manifest::{Freshness, Manifest, attested_bytes};
use candor_verify::offer::Offer;
use candor_verify::payment::Authorization;
use candor_verify::receipt::{Channel, Kinds, Money, Outcome, Receipt, UsageSource, Work};
use candor_verify::scheme::Scheme;
use candor_verify::source::{Account, DeclaredUsage, SourceRecord};
use candor_verify::terms::{
    Asset, Chain, Classes, ListedPrice, Model, OperatorTerms, Price, PriceList, SignedPriceList, SignedTerms, storage,
};
use candor_verify::time::UnixMs;
use ed25519_dalek::Signer as _;

use crate::forge::{CHAIN_ID, Key, NOW_MS, OPERATOR, REGISTRAR};

/// The token of [`terms`].
pub const ASSET: Address = Address([0xa5; 20]);

/// The story's terms: one model at one price.
#[must_use]
pub fn terms() -> OperatorTerms {
    terms_for(Model::local("fixture", Hash32([0x91; 32]), 512))
}

/// The same for another model.
#[must_use]
pub fn terms_for(model: Model) -> OperatorTerms {
    OperatorTerms {
        operator: Key::of(OPERATOR).address(),
        payee: Address([0xb0; 20]),
        registrar: Key::of(REGISTRAR).address(),
        registry: Address([0xe1; 20]),
        anchor_chain_id: CHAIN_ID,
        not_after: UnixMs(NOW_MS + 86_400_000),
        flags: 0,
        storage: storage::KEEPS_ANSWERS,
        chains: vec![Chain { chain_id: CHAIN_ID, registry: Address([0xe1; 20]), ..Chain::default() }],
        assets: vec![Asset { chain_id: CHAIN_ID, asset: ASSET, name: "USDC".into(), version: "2".into(), decimals: 6 }],
        prices: vec![Price::at_most(model.digest, CHAIN_ID, ASSET, classes(1_000_000, 3_000_000, 100))],
        models: vec![model],
        endpoints: vec!["https://127.0.0.1:8443".into()],
        ..OperatorTerms::default()
    }
}

/// Prices of tokens in and out, per million, and of a request.
#[must_use]
pub fn classes(input: u128, output: u128, request: u128) -> Classes {
    Classes { input: Amount(input), output: Amount(output), request: Amount(request), ..Classes::default() }
}

/// A list under these terms at half of their ceilings, in force for an hour before and after the story, signed by the registrar.
#[must_use]
pub fn price_list(terms: &OperatorTerms) -> PriceList {
    let half = |price: &Price| {
        let Classes { input, output, request, .. } = price.ceiling;
        let classes = classes(input.0 / 2, output.0 / 2, request.0 / 2);
        ListedPrice { model: price.model, chain_id: price.chain_id, asset: price.asset, classes }
    };
    PriceList {
        terms_hash: terms.digest(),
        number: 7,
        from: UnixMs(NOW_MS - 3_600_000),
        until: UnixMs(NOW_MS + 3_600_000),
        prices: terms.prices.iter().map(half).collect(),
    }
}

/// This list under the registrar's signature.
#[must_use]
pub fn sign_price_list(list: PriceList) -> SignedPriceList {
    SignedPriceList { signature: Key::of(REGISTRAR).sign(&list.digest()), list }
}

/// Where an answer came from, each field with a value of its own.
#[must_use]
pub fn source_record() -> SourceRecord {
    SourceRecord {
        upstream: "up".into(),
        host: "up.example".into(),
        port: 443,
        spki_hash: Hash32([0x95; 32]),
        account: Account::Operator,
        model_asked: "fixture-large".into(),
        model_served: "fixture-large-2026".into(),
        request_id: "req_1".into(),
        usage: DeclaredUsage { input: 12, cache_read: 1, cache_write: 2, output: 4, reasoning: 3, images: 5 },
        tried: vec!["other".into()],
    }
}

/// Consistent terms for this model, signed by their operator, whose encoding has so many bytes: full lists of texts that are stretched.
#[must_use]
pub fn terms_of_length(model: Model, len: usize) -> SignedTerms {
    // Texts of 24 to 255 bytes have heads of one length: a byte more in one of them is a byte more of the whole.
    let text = || "t".repeat(24);
    let (operator, digest) = (Key::of(OPERATOR), model.digest);
    let terms = OperatorTerms {
        anchor_chain_id: 1,
        not_after: UnixMs(u64::MAX),
        chains: (1..=64).map(|chain_id| Chain { chain_id, registry: Address([0xe1; 20]), ..Chain::default() }).collect(),
        assets: (1..=64).map(|chain_id| Asset { chain_id, asset: ASSET, name: text(), version: text(), decimals: 6 }).collect(),
        prices: (1..=64).map(|chain_id| Price::at_most(digest, chain_id, ASSET, classes(0, 0, 10))).collect(),
        endpoints: vec!["https://127.0.0.1:8443/?".to_owned(); 64],
        ..terms_for(model)
    };
    let mut signed = sign_terms(terms, &operator);
    let mut missing = len - signed.encode().len();
    let terms = &mut signed.terms;
    let names = terms.assets.iter_mut().flat_map(|asset| [&mut asset.name, &mut asset.version]);
    for text in names.chain(&mut terms.endpoints) {
        let more = missing.min(231);
        text.push_str(&"t".repeat(more));
        missing -= more;
    }
    sign_terms(signed.terms, &operator)
}

/// These terms, signed by this key.
#[must_use]
pub fn sign_terms(terms: OperatorTerms, operator: &Key) -> SignedTerms {
    SignedTerms { signature: operator.sign(&terms.digest()), terms }
}

/// Evidence of this boot, in a document that this hypervisor signs at this moment (Unix milliseconds).
#[must_use]
pub fn evidence(hypervisor: &Hypervisor, at_ms: u64, manifest: Manifest, freshness: Freshness, terms: SignedTerms) -> Evidence {
    let attested = attested_bytes(&manifest.k_sig, &manifest.hash(), &freshness);
    Evidence::nitro(document(hypervisor, &attested, at_ms), manifest, freshness, terms)
}

/// The document alone.
pub(crate) fn document(hypervisor: &Hypervisor, attested: &[u8], at_ms: u64) -> Vec<u8> {
    let request = devtee::Request { user_data: Some(attested), ..devtee::Request::default() };
    hypervisor.attest(&image(), &request, at_ms).expect("it attests")
}

/// What every document here measures.
pub(crate) fn image() -> Measurements {
    Measurements::of_image(b"candor testkit image")
}

/// An offer, each field with a value of its own.
#[must_use]
pub fn offer() -> Offer {
    Offer {
        manifest_hash: Hash32([1; 32]),
        request_commitment: Hash32([2; 32]),
        model_id: Hash32([3; 32]),
        scheme: Scheme::ExactEip3009,
        payee: Address([4; 20]),
        asset: Address([5; 20]),
        chain_id: CHAIN_ID,
        settler: Address::ZERO,
        amount: Amount(6),
        prompt_tokens: 7,
        max_tokens: 8,
        seed_commitment: Hash32([9; 32]),
        valid_until: UnixMs(10),
        price_list_hash: Hash32::ZERO,
        price_list_number: 0,
    }
}

/// Decoding without chance, from this seed.
#[must_use]
pub fn greedy(seed: Hash32) -> Decoding {
    Decoding {
        engine: "det/1".into(),
        seed,
        seed_source: SeedSource::ServerAndPayment,
        temperature_e6: 0,
        top_p_e6: 1_000_000,
        top_k: 0,
        max_tokens: 64,
        stop_hash: Hash32::ZERO,
    }
}

/// A receipt of this boot about nothing that anybody could look up, with another value in every field.
#[must_use]
pub fn receipt(manifest: &Manifest, sequence: u64) -> Receipt {
    Receipt {
        manifest_hash: manifest.hash(),
        log_id: manifest.log_id(),
        sequence,
        money: Money {
            payment_id: Hash32([4; 32]),
            scheme: Scheme::ExactEip3009,
            payer: Address([5; 20]),
            payee: manifest.payee,
            asset: Address([7; 20]),
            chain_id: CHAIN_ID,
            settler: Address::ZERO,
            max_amount: Amount(1_000),
            charged: Amount(1_000),
            cumulative_before: Amount::ZERO,
            cumulative_after: Amount::ZERO,
            offer_digest: Hash32([8; 32]),
        },
        work: Work {
            kinds: Kinds::LOCAL.and(Kinds::REEXEC),
            channel: Channel::Tls,
            usage_source: UsageSource::Counted,
            outcome: Outcome::Complete,
            model_id: Hash32([9; 32]),
            request_commitment: Hash32([10; 32]),
            response_commitment: Hash32([11; 32]),
            decoding_hash: Hash32([12; 32]),
            prompt_tokens: 13,
            completion_tokens: 14,
            started_at: UnixMs(NOW_MS),
            finished_at: UnixMs(NOW_MS + 1_500),
            block_number: 17,
            block_hash: Hash32([18; 32]),
            source_hash: Hash32::ZERO,
            task_hash: Hash32::ZERO,
            question_hash: Hash32::ZERO,
            answer_hash: Hash32::ZERO,
        },
    }
}

/// The receipt of this payment for this offer. What was answered, when, and after which block is still [`receipt`]'s.
#[must_use]
pub fn sold(manifest: &Manifest, sequence: u64, offer: &Offer, authorization: &Authorization) -> Receipt {
    let mut receipt = receipt(manifest, sequence);
    receipt.money = Money {
        payment_id: authorization.payment_id(offer.chain_id, &offer.asset),
        scheme: offer.scheme,
        payer: authorization.from,
        payee: authorization.to,
        asset: offer.asset,
        chain_id: offer.chain_id,
        settler: offer.settler,
        max_amount: authorization.value,
        charged: authorization.value,
        offer_digest: offer.digest(),
        ..receipt.money
    };
    receipt.work = Work {
        model_id: offer.model_id,
        request_commitment: offer.request_commitment,
        prompt_tokens: offer.prompt_tokens,
        completion_tokens: 4,
        ..receipt.work
    };
    receipt
}

/// This checkpoint under both keys of its log, with no cosignature.
#[must_use]
pub fn sign_checkpoint(checkpoint: Checkpoint, k_sig: &Key, k_log: &ed25519_dalek::SigningKey) -> SignedCheckpoint {
    SignedCheckpoint {
        checkpoint,
        note_signature: Ed25519Signature(k_log.sign(checkpoint.note_body().as_bytes()).to_bytes()),
        signature: k_sig.sign(&checkpoint.digest()),
        cosignatures: vec![],
    }
}
