//! The lies: one deviation each, at one stage of the story, and the check that must refuse it.
//!
//! Grouped by the question they would answer wrongly. Each later stage is signed over the lie, so nothing else is wrong with the bundle.

use candor_verify::bundle::{Bundle, Request, Response, Sale};
use candor_verify::bytes::{Address, Amount, Hash32};
use candor_verify::decoding::SeedSource;
use candor_verify::hash::keccak256;
use candor_verify::manifest::{FurtherKey, keys_hash};
use candor_verify::receipt::{Channel, Kinds, Outcome, Receipt, UsageSource};
use candor_verify::scheme::Scheme;
use candor_verify::source::{Account, SourceRecord};
use candor_verify::terms::{
    Classes, Model, ModelSource, OperatorTerms, Price, PriceList, Pricing, Route, SealedVersion, Secret, SignedPriceList, Trust, Upstream,
    UpstreamKind, ways,
};
use candor_verify::time::{UnixMs, UnixSeconds};

use crate::forge::{
    K_SIG, Key, Lie, NOW_MS, beyond_the_order, cosign, cosign_by, high_s_twin, integer_seed, upgrade_and_alter, upgrade_and_sign, upgraded,
};
use crate::{honest, metered};

pub(crate) type Row = (&'static str, &'static str, Lie);

pub(crate) fn lies() -> Vec<Row> {
    [evidence_lies(), work_lies(), public_lies(), source_lies(), money_lies(), metered::lies(), log_lies()].concat()
}

fn at_the_end(name: &'static str, expect: &'static str, bundle: fn(&mut Bundle)) -> Row {
    (name, expect, Lie { bundle, ..Lie::default() })
}

/// The story's question, asked to be public.
pub(crate) fn ask_publicly(request: &mut Request) {
    let task = "0x00000000000000000000000000000000000000000000000000000000000000aa";
    let body =
        format!(r#"{{"model":"fixture","messages":[{{"role":"user","content":"YES?"}}],"candor":{{"public":true,"task":"{task}"}}}}"#);
    request.body = body.into_bytes();
}

/// A lie in the receipt of a public answer.
fn public(name: &'static str, receipt: fn(&mut Receipt)) -> Row {
    (name, "work.claim", Lie { question: |request, _| ask_publicly(request), receipt, ..Lie::default() })
}

type Asked = fn(&mut Request, &mut Response);

/// Answers that are asked to be public and are not: none can be asked for so, or was given. By the name of the receipt that claims one, and
/// of the one that is honest about it.
pub(crate) fn not_public() -> [(&'static str, &'static str, Asked); 7] {
    [
        ("public_answer_asked_with_a_member_twice", "zeros_for_an_answer_asked_with_a_member_twice", |q, _| {
            q.body = br#"{"model":"fixture","messages":[{"role":"user","role":"user","content":"?"}],"candor":{"public":true}}"#.to_vec();
        }),
        ("public_answer_asked_twice", "zeros_for_an_answer_asked_twice", |q, _| {
            q.body = br#"{"model":"fixture","messages":[],"n":2,"candor":{"public":true}}"#.to_vec();
        }),
        ("public_answer_asked_with_tools", "zeros_for_an_answer_asked_with_tools", |q, _| {
            q.body = br#"{"model":"fixture","messages":[],"tools":[],"candor":{"public":true}}"#.to_vec();
        }),
        ("public_answer_asked_33_deep", "zeros_for_an_answer_asked_33_deep", |q, _| q.body = deep_question(32)),
        ("public_answer_of_another_route", "zeros_for_an_answer_of_another_route", |q, _| {
            ask_publicly(q);
            q.path = "/v1/completions".into();
        }),
        ("public_answer_without_a_text", "zeros_for_an_answer_without_a_text", |q, r| {
            ask_publicly(q);
            r.frames = vec![br#"{"choices":[{"message":{"content":null}}]}"#.to_vec()];
        }),
        ("public_answer_of_two_choices", "zeros_for_an_answer_of_two_choices", |q, r| {
            ask_publicly(q);
            r.frames = vec![br#"{"choices":[{"message":{"content":"YES"}},{"message":{"content":"NO"}}]}"#.to_vec()];
        }),
    ]
}

/// Receipts that claim a public answer all the same.
fn public_lies() -> Vec<Row> {
    let receipt: fn(&mut Receipt) = |r| (r.work.question_hash, r.work.answer_hash) = (Hash32([1; 32]), keccak256(&[b"YES"]));
    not_public().map(|(name, _, question)| (name, "work.claim", Lie { question, receipt, ..Lie::default() })).into()
}

/// A question whose objects and lists are inside one another, one more than so many lists.
pub(crate) fn deep_question(lists: usize) -> Vec<u8> {
    let (open, close) = ("[".repeat(lists), "]".repeat(lists));
    format!(r#"{{"model":"fixture","messages":[],"more":{open}{close},"candor":{{"public":true}}}}"#).into_bytes()
}

/// Work that began as long before its document as clocks may differ, with a payment that was open then.
pub(crate) fn early() -> Lie {
    Lie {
        authorization: |a| a.valid_before = UnixSeconds(NOW_MS / 1000 + 200),
        receipt: |r| r.work.started_at = UnixMs(NOW_MS - 120_000),
        ..Lie::default()
    }
}

pub(crate) fn sale(bundle: &mut Bundle) -> &mut Sale {
    bundle.sale.as_mut().expect("it is sold")
}

/// Terms whose model is an upstream's, and another's if that fails.
pub(crate) fn proxied(terms: &mut OperatorTerms) {
    let model = &mut terms.models[0];
    (model.source, model.digest) = (ModelSource::Upstream, keccak256(&[model.id.as_bytes()]));
    model.routes = ["other", "up"].map(|up| Route { upstream: up.into(), model: "fixture-large".into() }).into();
    terms.prices[0].model = model.digest;
    let up = |name: &str| Upstream {
        name: name.into(),
        kind: UpstreamKind::OpenAiCompatible,
        host: "up.example".into(),
        port: 443,
        path: "/v1".into(),
        trust: Trust::Key,
        trust_anchor: Hash32([0x95; 32]),
        account: "up key".into(),
        pricing: Pricing::Fixed,
        markup: 0,
        flags: 0,
    };
    terms.upstreams = vec![up("up"), up("other")];
    terms.secrets = vec![Secret { name: "up key".into(), min_version: 0 }];
}

/// Work of an upstream, as those terms allow it.
pub(crate) fn by_an_upstream() -> Lie {
    Lie { terms: proxied, source: Some(|_| {}), ..Lie::default() }
}

/// The same, reached without TLS.
pub(crate) fn in_plaintext(terms: &mut OperatorTerms) {
    proxied(terms);
    terms.upstreams.iter_mut().for_each(|up| (up.trust, up.trust_anchor) = (Trust::Plaintext, Hash32::ZERO));
}

/// Terms that take sealed requests, in their last millisecond when the work of the story begins.
fn takes_sealed(terms: &mut OperatorTerms) {
    terms.sealed = vec![SealedVersion { version: 1, not_after: UnixMs(NOW_MS + 1_000) }];
}

/// The same a millisecond later.
fn took_sealed(terms: &mut OperatorTerms) {
    terms.sealed = vec![SealedVersion { version: 1, not_after: UnixMs(NOW_MS + 999) }];
}

/// Work that was sealed to an attested key.
pub(crate) fn sealed() -> Lie {
    Lie {
        terms: takes_sealed,
        manifest: |m| m.k_hpke = Hash32([0x84; 32]),
        receipt: |r| r.work.channel = Channel::Sealed,
        ..Lie::default()
    }
}

/// Lies about where an answer came from.
fn source_lies() -> Vec<Row> {
    let source = |name, source: fn(&mut SourceRecord)| (name, "work.claim", Lie { source: Some(source), ..by_an_upstream() });
    let unrouted: fn(&mut OperatorTerms) = |o| {
        proxied(o);
        o.models[0].routes.truncate(1);
    };
    let reversed: fn(&mut OperatorTerms) = |o| {
        proxied(o);
        o.models[0].routes.reverse();
    };
    let without_account: fn(&mut OperatorTerms) = |o| {
        proxied(o);
        o.upstreams[0].account.clear();
    };
    vec![
        ("local_work_of_an_upstreams_model", "work.claim", Lie { terms: proxied, ..Lie::default() }),
        ("proxied_work_whose_source_does_not_travel", "work.claim", Lie { bundle: |b| b.delivery.source = None, ..by_an_upstream() }),
        ("proxied_work_by_an_upstream_that_is_no_route", "work.claim", Lie { terms: unrouted, ..by_an_upstream() }),
        ("proxied_work_that_tried_a_later_route_before", "work.claim", Lie { terms: reversed, ..by_an_upstream() }),
        ("proxied_work_on_an_account_that_the_terms_do_not_have", "work.claim", Lie { terms: without_account, ..by_an_upstream() }),
        ("proxied_work_with_a_key_in_plaintext", "work.claim", Lie { terms: in_plaintext, ..by_an_upstream() }),
        (
            "source_altered",
            "work.claim",
            Lie { bundle: |b| b.delivery.source.as_mut().expect("it has one").usage.output += 1, ..by_an_upstream() },
        ),
        source("proxied_work_of_another_model_there", |s| s.model_asked = "fixture-small".into()),
        source("proxied_work_at_another_host", |s| s.host = "down.example".into()),
        source("proxied_work_at_another_port", |s| s.port = 8443),
        source("proxied_work_by_another_key", |s| s.spki_hash = Hash32([1; 32])),
        source("proxied_work_without_a_key_under_tls", |s| s.spki_hash = Hash32::ZERO),
        source("proxied_work_with_a_buyers_key_that_is_not_taken", |s| s.account = Account::Buyer),
        ("source_text_of_257_bytes", "parse", Lie { source: Some(|s| s.model_served = "m".repeat(257)), ..by_an_upstream() }),
        source("proxied_work_that_tried_no_upstream", |s| s.tried = vec!["nowhere".into()]),
        source("proxied_work_that_tried_one_route_twice", |s| s.tried.push("other".into())),
        source("proxied_work_with_an_escape_sequence", |s| s.model_served.push_str("\u{1b}[2K\rVERIFIED")),
    ]
}

/// A price list at half of the ceilings.
pub(crate) fn half(terms: &OperatorTerms) -> SignedPriceList {
    honest::sign_price_list(honest::price_list(terms))
}

/// The same with a change under the registrar's signature.
fn resigned(terms: &OperatorTerms, change: fn(&mut PriceList)) -> SignedPriceList {
    let mut list = honest::price_list(terms);
    change(&mut list);
    honest::sign_price_list(list)
}

fn listed(name: &'static str, price_list: fn(&OperatorTerms) -> SignedPriceList) -> Row {
    (name, "offer.price", Lie { price_list: Some(price_list), ..Lie::default() })
}

/// Terms whose ceilings are below ten, and whose floors follow from them.
fn a_few_units(terms: &mut OperatorTerms) {
    let Price { model, chain_id, asset, .. } = terms.prices[0];
    terms.prices[0] = Price::at_most(model, chain_id, asset, honest::classes(9, 9, 9));
}

/// Terms that sell for nothing.
/// Terms by which a model of its own judges each request first.
pub(crate) fn guarded(terms: &mut OperatorTerms) {
    terms.models.push(Model::local("guard", Hash32([0x96; 32]), 512));
    terms.guard.model = "guard".into();
}

/// The same before a model of an upstream.
pub(crate) fn guarded_upstream(terms: &mut OperatorTerms) {
    proxied(terms);
    guarded(terms);
}

/// A refusal that claims an upstream was asked all the same.
fn relayed_refusal(receipt: &mut Receipt) {
    (receipt.work.outcome, receipt.work.completion_tokens) = (Outcome::RefusedByGuard, 0);
}

/// What a guard refused: no model answered it, and nobody pays for it.
pub(crate) fn turned_away(receipt: &mut Receipt) {
    (receipt.work.outcome, receipt.work.completion_tokens, receipt.work.kinds) = (Outcome::RefusedByGuard, 0, Kinds::LOCAL);
}

fn costs_nothing(terms: &mut OperatorTerms) {
    (terms.prices[0].ceiling, terms.prices[0].floor) = (Classes::default(), Classes::default());
}

/// Lies about answers that nobody paid for.
pub(crate) fn free_lies() -> Vec<Row> {
    let receipt = |name, expect, receipt: fn(&mut Receipt)| (name, expect, Lie { receipt, ..Lie::free() });
    let at_the_end = |name, expect, bundle: fn(&mut Bundle)| (name, expect, Lie { bundle, ..Lie::free() });
    let refusal = |name, receipt: fn(&mut Receipt)| (name, "work.claim", Lie { terms: guarded, receipt, ..Lie::default() });
    vec![
        ("refused_by_a_guard_that_the_terms_do_not_have", "work.claim", Lie { receipt: turned_away, ..Lie::default() }),
        refusal("refused_by_a_guard_after_tokens_of_an_answer", |r| {
            turned_away(r);
            r.work.completion_tokens = 1;
        }),
        (
            "refused_by_a_guard_and_an_upstream_at_once",
            "work.claim",
            Lie { terms: guarded_upstream, receipt: relayed_refusal, ..by_an_upstream() },
        ),
        refusal("refused_by_a_guard_and_promised_to_be_run_again", |r| {
            turned_away(r);
            r.work.kinds = Kinds::LOCAL.and(Kinds::REEXEC);
        }),
        receipt("free_work_with_another_payment_id", "receipt.payment", |r| r.money.payment_id = Hash32([1; 32])),
        receipt("free_work_with_a_payer", "receipt.payment", |r| r.money.payer = Address([1; 20])),
        receipt("free_work_for_another_payee", "receipt.payment", |r| r.money.payee = Address([1; 20])),
        receipt("free_work_on_another_chain", "receipt.payment", |r| r.money.chain_id = 1),
        receipt("free_work_that_is_charged", "receipt.payment", |r| r.money.charged = Amount(1)),
        receipt("free_work_that_names_an_offer", "receipt.payment", |r| r.money.offer_digest = Hash32([1; 32])),
        receipt("free_work_under_a_scheme", "receipt.payment", |r| r.money.scheme = Scheme::ExactEip3009),
        ("free_work_that_the_terms_sell", "receipt.charge", Lie::default()),
        // Nobody wrote these floors, and they are not nothing.
        ("free_work_at_a_price_of_a_few_units", "receipt.charge", Lie { terms: a_few_units, ..Lie::default() }),
        ("free_work_with_a_seed_that_its_share_does_not_give", "work.seed", Lie { decoding: |d| d.seed = Hash32([1; 32]), ..Lie::free() }),
        (
            "free_work_with_a_seed_of_a_payment",
            "work.seed",
            Lie { decoding: |d| d.seed_source = SeedSource::ServerAndPayment, ..Lie::free() },
        ),
        at_the_end("free_work_without_its_salt", "request.commitment", |b| b.delivery.request_salt = None),
        at_the_end("free_work_with_another_salt", "request.commitment", |b| b.delivery.request_salt = Some(Hash32([1; 32]))),
        receipt("free_work_beyond_its_decoding_record", "work.claim", |r| r.work.completion_tokens = 65),
    ]
}

fn further_keys() -> Vec<FurtherKey> {
    vec![FurtherKey { purpose: 1, algorithm: 1, bytes: vec![1; 32] }, FurtherKey { purpose: 3, algorithm: 3, bytes: vec![2; 32] }]
}

/// Lies about whom evidence is of, to a policy that takes any operator and registry: nothing else could refuse them.
pub(crate) fn attested_party_lies() -> Vec<Row> {
    let attested = |name, lie: Lie| (name, "evidence.manifest", lie);
    vec![
        attested("attested_operator_is_not_the_terms", Lie { manifest: |m| m.operator = Address([1; 20]), ..Lie::default() }),
        attested("attested_registry_is_not_the_terms", Lie { manifest: |m| m.registry = Address([1; 20]), ..Lie::default() }),
        attested(
            "attested_anchor_chain_is_not_the_terms",
            Lie { manifest: |m| m.anchor_chain_id = 1, freshness: |f| f.chain_id = 1, ..Lie::default() },
        ),
    ]
}

fn evidence_lies() -> Vec<Row> {
    vec![
        at_the_end("freshness_nonce_changed", "evidence.binding", |b| b.evidence.freshness.nonce = Hash32([1; 32])),
        at_the_end("freshness_block_changed", "evidence.binding", |b| b.evidence.freshness.block_number += 1),
        at_the_end("manifest_key_changed", "evidence.binding", |b| b.evidence.manifest.k_sig = Address([1; 20])),
        at_the_end("manifest_payee_changed", "evidence.binding", |b| b.evidence.manifest.payee = Address([1; 20])),
        at_the_end("price_table_changed", "evidence.terms", |b| b.evidence.terms.terms.prices[0].ceiling.request = Amount(1)),
        at_the_end("model_list_changed", "evidence.terms", |b| b.evidence.terms.terms.models[0].digest = Hash32([1; 32])),
        ("terms_signed_by_a_stranger", "evidence.operator", Lie { terms_signer: 0x77, ..Lie::default() }),
        ("attested_payee_is_not_the_terms", "evidence.manifest", Lie { manifest: |m| m.payee = Address([1; 20]), ..Lie::default() }),
        (
            "attested_prices_are_not_the_terms",
            "evidence.manifest",
            Lie { manifest: |m| m.price_table_hash = Hash32([1; 32]), ..Lie::default() },
        ),
        (
            "attested_models_are_not_the_terms",
            "evidence.manifest",
            Lie { manifest: |m| m.model_set_root = Hash32([1; 32]), ..Lie::default() },
        ),
        ("attested_keys_that_do_not_travel", "evidence.manifest", Lie { manifest: |m| m.keys_hash = Hash32([1; 32]), ..Lie::default() }),
        (
            "attested_contracts_are_not_the_terms",
            "evidence.manifest",
            Lie { manifest: |m| m.contracts_hash = Hash32([1; 32]), ..Lie::default() },
        ),
        ("freshness_from_another_chain", "evidence.manifest", Lie { freshness: |f| f.chain_id = 1, ..Lie::default() }),
        ("terms_whose_price_names_no_model", "evidence.manifest", Lie { terms: |o| o.prices[0].model = Hash32([1; 32]), ..Lie::default() }),
        at_the_end("terms_signature_is_a_high_s_twin", "evidence.operator", |b| {
            b.evidence.terms.signature = high_s_twin(&b.evidence.terms.signature)
        }),
        at_the_end("document_cut_short", "attest.signature", |b| {
            let document = &mut b.evidence.attestations[0].document;
            document.truncate(document.len() - 1);
        }),
        at_the_end("document_signature_altered", "attest.signature", |b| {
            *b.evidence.attestations[0].document.last_mut().expect("not empty") ^= 1
        }),
        at_the_end("document_of_nothing", "attest.size", |b| b.evidence.attestations[0].document.clear()),
        at_the_end("no_attestation_document", "attest.kind", |b| b.evidence.attestations.clear()),
        at_the_end("two_attestation_documents", "attest.kind", |b| b.evidence.attestations.push(b.evidence.attestations[0].clone())),
        at_the_end("document_of_another_kind", "attest.kind", |b| b.evidence.attestations[0].kind = 2),
        at_the_end("collateral_beside_a_document_that_has_none", "attest.kind", |b| b.evidence.attestations[0].collateral.push(1)),
        at_the_end("a_further_key_that_is_not_attested", "evidence.manifest", |b| b.evidence.keys = further_keys()),
        (
            "further_keys_that_this_version_does_not_judge",
            "evidence.keys",
            Lie { manifest: |m| m.keys_hash = keys_hash(&further_keys()), bundle: |b| b.evidence.keys = further_keys(), ..Lie::default() },
        ),
        (
            "booted_after_its_document",
            "evidence.manifest",
            Lie { manifest: |m| m.booted_at = UnixSeconds(NOW_MS / 1000 + 121), ..Lie::default() },
        ),
        ("terms_with_an_unknown_flag", "evidence.manifest", Lie { terms: |o| o.flags = 1 << 31, ..Lie::default() }),
        ("terms_ended_before_the_document", "evidence.manifest", Lie { terms: |o| o.not_after = UnixMs(NOW_MS - 1), ..Lie::default() }),
    ]
}

fn work_lies() -> Vec<Row> {
    let receipt = |name, expect, receipt: fn(&mut Receipt)| (name, expect, Lie { receipt, ..Lie::default() });
    vec![
        ("receipt_signed_by_a_stranger", "receipt.signature", Lie { receipt_signer: 0x77, ..Lie::default() }),
        at_the_end("charge_raised_after_signing", "receipt.signature", |b| b.delivery.receipt.money.charged = Amount(9_999)),
        at_the_end("model_swapped_after_signing", "receipt.signature", |b| b.delivery.receipt.work.model_id = Hash32([1; 32])),
        at_the_end("receipt_signature_is_a_high_s_twin", "receipt.signature", |b| {
            b.delivery.signature = high_s_twin(&b.delivery.signature)
        }),
        at_the_end("receipt_signature_with_v_of_0_or_1", "receipt.signature", |b| b.delivery.signature.0[64] -= 27),
        receipt("receipt_of_another_boot", "receipt.boot", |r| r.manifest_hash = Hash32([1; 32])),
        receipt("receipt_of_another_log", "receipt.boot", |r| r.log_id = Hash32([1; 32])),
        receipt("finished_before_it_started", "receipt.time", |r| r.work.finished_at = r.work.started_at.saturating_sub(1)),
        (
            "finished_before_the_boot",
            "receipt.time",
            Lie {
                manifest: |m| m.booted_at = UnixSeconds(NOW_MS / 1000 + 120),
                receipt: |r| (r.work.started_at, r.work.finished_at) = (UnixMs(NOW_MS - 1), UnixMs(NOW_MS - 1)),
                ..Lie::default()
            },
        ),
        ("finished_after_the_terms_ended", "receipt.time", Lie { terms: |o| o.not_after = UnixMs(NOW_MS + 1_999), ..Lie::default() }),
        (
            "started_longer_before_its_document_than_the_skew",
            "receipt.time",
            Lie { receipt: |r| r.work.started_at = UnixMs(NOW_MS - 120_001), ..early() },
        ),
        ("evidence_too_old_for_the_receipt", "receipt.time", Lie { document_age_ms: 3 * 3_600_000, ..Lie::default() }),
        at_the_end("request_body_altered", "request.commitment", |b| b.request.body[0] ^= 1),
        at_the_end("request_path_altered", "request.commitment", |b| b.request.path.push('?')),
        at_the_end("request_salt_altered", "request.commitment", |b| b.request.salt = Hash32([1; 32])),
        at_the_end("answer_altered", "response.commitment", |b| b.response.frames[1][40] ^= 1),
        at_the_end("answer_with_a_frame_more", "response.commitment", |b| b.response.frames.push(Vec::new())),
        at_the_end("answer_cut_short", "response.commitment", |b| drop(b.response.frames.pop())),
        at_the_end("answer_frames_swapped", "response.commitment", |b| b.response.frames.swap(0, 1)),
        at_the_end("answer_seed_altered", "response.commitment", |b| b.response.seed = Hash32([1; 32])),
        receipt("model_that_the_terms_do_not_list", "work.model", |r| r.work.model_id = Hash32([1; 32])),
        receipt("local_work_counted_by_an_upstream", "work.claim", |r| r.work.usage_source = UsageSource::UpstreamDeclared),
        (
            "sealed_to_no_key",
            "privacy.channel",
            Lie { terms: takes_sealed, receipt: |r| r.work.channel = Channel::Sealed, ..Lie::default() },
        ),
        ("sealed_where_the_terms_take_no_sealed_requests", "privacy.channel", Lie { terms: |_| {}, ..sealed() }),
        ("sealed_in_a_form_that_had_ended", "privacy.channel", Lie { terms: took_sealed, ..sealed() }),
        receipt("local_work_with_a_source", "work.claim", |r| r.work.source_hash = Hash32([1; 32])),
        receipt("answer_hash_of_an_answer_that_is_not_public", "work.claim", |r| r.work.answer_hash = Hash32([1; 32])),
        receipt("task_of_an_answer_that_is_not_public", "work.claim", |r| r.work.task_hash = Hash32([1; 32])),
        receipt("question_of_an_answer_that_is_not_public", "work.claim", |r| r.work.question_hash = Hash32([1; 32])),
        public("public_answer_of_another_text", |r| r.work.answer_hash = keccak256(&[b"NO"])),
        public("public_answer_for_another_task", |r| r.work.task_hash = Hash32([1; 32])),
        public("public_answer_to_another_question", |r| r.work.question_hash = Hash32([1; 32])),
        public("public_answer_whose_receipt_is_silent", |r| {
            (r.work.task_hash, r.work.question_hash, r.work.answer_hash) = (Hash32::ZERO, Hash32::ZERO, Hash32::ZERO);
        }),
        receipt("proxied_work_of_a_local_model", "work.claim", |r| r.work.kinds = Kinds::PROXY),
        at_the_end("salt_in_the_delivery_of_a_paid_answer", "request.commitment", |b| b.delivery.request_salt = Some(b.request.salt)),
        (
            "seed_of_the_server_alone_under_a_payment",
            "work.seed",
            Lie { decoding: |d| d.seed_source = SeedSource::Server, ..Lie::default() },
        ),
        receipt("local_and_proxy_at_once", "work.claim", |r| r.work.kinds = Kinds(3)),
        receipt("unknown_kind", "work.claim", |r| r.work.kinds = Kinds(9)),
        receipt("local_work_whose_upstream_failed", "work.claim", |r| r.work.outcome = Outcome::UpstreamError),
        receipt("more_tokens_than_offered", "work.claim", |r| r.work.completion_tokens = 65),
        receipt("cut_after_more_tokens_than_offered", "work.claim", |r| {
            (r.work.outcome, r.work.completion_tokens) = (Outcome::CutByNode, 65);
        }),
        receipt("other_prompt_count_than_offered", "work.claim", |r| r.work.prompt_tokens = 13),
        receipt("length_without_reaching_the_limit", "work.claim", |r| r.work.outcome = Outcome::Length),
        at_the_end("decoding_altered", "work.decoding", |b| b.delivery.decoding.temperature_e6 = 1),
        ("seed_that_is_not_the_committed_one", "work.seed", Lie { decoding: |d| d.seed = Hash32([1; 32]), ..Lie::default() }),
        ("seed_share_that_was_not_committed", "work.seed", Lie { seed_share: |s| *s = Some(Hash32([1; 32])), ..Lie::default() }),
        (
            "seed_named_by_the_request_beside_a_committed_share",
            "work.seed",
            Lie {
                decoding: |d| (d.seed_source, d.seed) = (SeedSource::Request, integer_seed(42)),
                seed_share: |s| *s = None,
                ..Lie::default()
            },
        ),
        (
            "seed_of_the_server_passed_off_as_the_requests",
            "work.seed",
            Lie {
                offer: |o| o.seed_commitment = Hash32::ZERO,
                decoding: |d| d.seed_source = SeedSource::Request,
                seed_share: |s| *s = None,
                ..Lie::default()
            },
        ),
        ("seed_share_missing", "work.seed", Lie { seed_share: |s| *s = None, ..Lie::default() }),
        (
            "seed_share_beside_a_seed_that_the_request_named",
            "work.seed",
            Lie {
                offer: |o| o.seed_commitment = Hash32::ZERO,
                decoding: |d| (d.seed_source, d.seed) = (SeedSource::Request, integer_seed(42)),
                ..Lie::default()
            },
        ),
        ("engine_of_65_bytes", "parse", Lie { decoding: |d| d.engine = "e".repeat(65), ..Lie::default() }),
    ]
}

fn money_lies() -> Vec<Row> {
    let offer = |name, expect, offer: fn(&mut candor_verify::offer::Offer)| (name, expect, Lie { offer, ..Lie::default() });
    let paid = |name, expect, authorization: fn(&mut candor_verify::payment::Authorization)| {
        (name, expect, Lie { authorization, ..Lie::default() })
    };
    let receipt = |name, expect, receipt: fn(&mut Receipt)| (name, expect, Lie { receipt, ..Lie::default() });
    vec![
        at_the_end("price_raised_after_signing", "offer.signature", |b| sale(b).offer.amount.0 += 1),
        offer("offer_of_another_boot", "offer.terms", |o| o.manifest_hash = Hash32([1; 32])),
        (
            "offer_for_another_model",
            "offer.terms",
            Lie { offer: |o| o.model_id = Hash32([1; 32]), receipt: |r| r.work.model_id = Hash32([0x91; 32]), ..Lie::default() },
        ),
        ("offer_where_nobody_may_pay", "offer.terms", Lie { terms: |o| o.access.ways = ways::OPEN, ..Lie::default() }),
        offer("offer_for_another_request", "offer.terms", |o| o.request_commitment = Hash32([1; 32])),
        offer("offer_to_another_payee", "offer.terms", |o| o.payee = Address([1; 20])),
        offer("offer_with_a_settler_under_exact", "offer.terms", |o| o.settler = Address([1; 20])),
        offer("offer_by_no_scheme", "offer.terms", |o| o.scheme = Scheme::None),
        offer("offer_for_other_max_tokens", "offer.terms", |o| o.max_tokens = 65),
        offer("offer_above_the_price_table", "offer.price", |o| o.amount = Amount(o.amount.0 + 1)),
        ("offer_for_nothing", "offer.price", Lie { terms: costs_nothing, ..Lie::default() }),
        offer("offer_with_the_number_of_no_list", "offer.price", |o| o.price_list_number = 1),
        listed("price_list_of_other_terms", |o| resigned(o, |list| list.terms_hash = Hash32([1; 32]))),
        listed("price_list_signed_by_a_stranger", |o| {
            let list = honest::price_list(o);
            SignedPriceList { signature: Key::of(0x77).sign(&list.digest()), list }
        }),
        listed("price_list_above_the_ceiling", |o| resigned(o, |list| list.prices[0].classes.output.0 = 3_000_001)),
        listed("price_list_below_the_floor", |o| resigned(o, |list| list.prices[0].classes.output.0 = 299_999)),
        listed("price_list_without_a_number", |o| resigned(o, |list| list.number = 0)),
        listed("price_list_in_force_for_too_long", |o| resigned(o, |list| list.until.0 = list.from.0 + 7 * 86_400_000 + 1)),
        listed("price_list_not_in_force_yet", |o| resigned(o, |list| list.from.0 = NOW_MS + 1_001)),
        listed("price_list_that_ends_before_the_offer", |o| resigned(o, |list| list.until.0 = NOW_MS + 119_999)),
        listed("price_list_that_leaves_a_price_out", |o| resigned(o, |list| list.prices.clear())),
        ("offer_below_its_price_list", "offer.price", Lie { price_list: Some(half), offer: |o| o.amount.0 -= 1, ..Lie::default() }),
        (
            "offer_names_another_number_than_its_price_list",
            "offer.price",
            Lie { price_list: Some(half), offer: |o| o.price_list_number = 8, ..Lie::default() },
        ),
        (
            "offer_above_the_ceiling_by_a_price_list_that_is_not_shown",
            "offer.price",
            Lie { price_list: Some(half), offer: |o| o.amount.0 = 305, bundle: |b| sale(b).price_list = None, ..Lie::default() },
        ),
        (
            "offer_below_the_floor_by_a_price_list_that_is_not_shown",
            "offer.price",
            Lie { price_list: Some(half), offer: |o| o.amount.0 = 30, bundle: |b| sale(b).price_list = None, ..Lie::default() },
        ),
        (
            "offer_for_nothing_by_a_price_list_that_is_not_shown",
            "offer.price",
            Lie {
                terms: |o| o.prices[0].floor = Classes::default(),
                price_list: Some(half),
                offer: |o| o.amount = Amount::ZERO,
                bundle: |b| sale(b).price_list = None,
                ..Lie::default()
            },
        ),
        (
            "offer_by_a_price_list_without_a_number_that_is_not_shown",
            "offer.price",
            Lie { price_list: Some(half), offer: |o| o.price_list_number = 0, bundle: |b| sale(b).price_list = None, ..Lie::default() },
        ),
        at_the_end("price_list_that_the_offer_does_not_name", "offer.price", |b| {
            sale(b).price_list = Some(half(&b.evidence.terms.terms.clone()));
        }),
        offer("offer_in_an_asset_without_a_price", "offer.price", |o| o.asset = Address([1; 20])),
        at_the_end("payee_changed_after_signing", "payment.signature", |b| sale(b).payment.authorization.to = Address([1; 20])),
        at_the_end("payment_by_another_payer", "payment.signature", |b| sale(b).payment.authorization.from = Key::of(0x77).address()),
        at_the_end("payment_signature_is_a_high_s_twin", "payment.signature", |b| {
            sale(b).payment.signature = high_s_twin(&sale(b).payment.signature);
        }),
        paid("payment_of_less_than_offered", "payment.terms", |a| a.value = Amount(a.value.0 - 1)),
        paid("payment_to_another_payee", "payment.terms", |a| a.to = Address([1; 20])),
        paid("payment_of_more_than_offered", "payment.terms", |a| a.value = Amount(a.value.0 + 1)),
        paid("payment_not_yet_valid", "payment.terms", |a| a.valid_after = UnixSeconds(NOW_MS / 1000 + 100)),
        paid("payment_expired", "payment.terms", |a| a.valid_before = UnixSeconds(NOW_MS / 1000 + 1)),
        paid("payment_open_for_too_long", "payment.terms", |a| a.valid_before = UnixSeconds(NOW_MS / 1000 + 100_000)),
        at_the_end("client_salt_altered", "payment.binding", |b| sale(b).payment.client_salt = Some(Hash32([1; 32]))),
        paid("payment_bound_to_nothing", "payment.binding", |a| a.nonce = Hash32([1; 32])),
        ("refused_by_a_guard_and_charged", "receipt.charge", Lie { terms: guarded, receipt: turned_away, ..Lie::default() }),
        receipt("receipt_reused_for_another_payment", "receipt.payment", |r| r.money.payment_id = Hash32([1; 32])),
        receipt("receipt_for_another_offer", "receipt.payment", |r| r.money.offer_digest = Hash32([1; 32])),
        receipt("receipt_in_another_asset", "receipt.payment", |r| r.money.asset = Address([1; 20])),
        receipt("receipt_by_another_scheme", "receipt.payment", |r| r.money.scheme = Scheme::UptoPermit2),
        // Zero under `exact`, as the offer's is: it is of no other payment.
        receipt("receipt_with_a_settler_under_exact", "receipt.payment", |r| r.money.settler = Address([1; 20])),
        receipt("receipt_for_another_payer", "receipt.payment", |r| r.money.payer = Address([1; 20])),
        receipt("receipt_on_another_chain", "receipt.payment", |r| r.money.chain_id = 1),
        receipt("charge_above_what_was_signed", "receipt.charge", |r| r.money.charged = Amount(r.money.charged.0 + 1)),
        receipt("maximum_that_was_not_signed", "receipt.charge", |r| r.money.max_amount = Amount(r.money.max_amount.0 + 1)),
        receipt("charge_below_what_exact_moves", "receipt.charge", |r| r.money.charged = Amount(r.money.charged.0 - 1)),
        receipt("charge_to_another_payee", "receipt.charge", |r| r.money.payee = Address([1; 20])),
        receipt("channel_fields_under_exact", "receipt.charge", |r| r.money.cumulative_after = Amount(1)),
    ]
}

fn log_lies() -> Vec<Row> {
    let checkpoint =
        |name, expect, checkpoint: fn(&mut candor_verify::checkpoint::Checkpoint)| (name, expect, Lie { checkpoint, ..Lie::default() });
    vec![
        at_the_end("leaf_salt_altered", "log.inclusion", |b| b.delivery.leaf_salt = Hash32([1; 32])),
        at_the_end("inclusion_path_altered", "log.inclusion", |b| b.delivery.inclusion[0] = Hash32([1; 32])),
        at_the_end("inclusion_path_too_long", "log.inclusion", |b| b.delivery.inclusion.push(Hash32([1; 32]))),
        ("receipt_never_logged", "log.inclusion", Lie { checkpoint: |c| c.tree.root = Hash32([1; 32]), ..Lie::default() }),
        ("sequence_that_is_not_its_place", "log.inclusion", Lie { receipt: |r| r.sequence = 2, ..Lie::default() }),
        checkpoint("checkpoint_of_another_log", "log.checkpoint", |c| c.log_id = Hash32([1; 32])),
        // Its note names this log, and what K_sig signed another.
        at_the_end("checkpoint_of_another_log_under_a_note_of_this_one", "log.checkpoint", |b| {
            let signed = &mut b.delivery.checkpoint;
            signed.checkpoint.log_id = Hash32([1; 32]);
            signed.signature = Key::of(K_SIG).sign(&signed.checkpoint.digest());
        }),
        at_the_end("note_signature_with_s_beyond_the_order", "log.checkpoint", |b| {
            b.delivery.checkpoint.note_signature = beyond_the_order(&b.delivery.checkpoint.note_signature);
        }),
        at_the_end("checkpoint_time_altered", "log.checkpoint", |b| b.delivery.checkpoint.checkpoint.timestamp.0 += 1),
        at_the_end("note_signature_altered", "log.checkpoint", |b| b.delivery.checkpoint.note_signature.0[0] ^= 1),
        at_the_end("checkpoint_signature_altered", "log.checkpoint", |b| b.delivery.checkpoint.signature.0[0] ^= 1),
        at_the_end("cosignature_by_a_stranger", "log.witnesses", |b| b.delivery.checkpoint.cosignatures = vec![cosign_by(b, 0x77)]),
        at_the_end("cosignature_with_s_beyond_the_order", "log.witnesses", |b| {
            let mut cosignature = cosign(b);
            cosignature.signature = beyond_the_order(&cosignature.signature);
            b.delivery.checkpoint.cosignatures = vec![cosignature];
        }),
        at_the_end("cosignature_time_altered", "log.witnesses", |b| {
            let mut cosignature = cosign(b);
            cosignature.time.0 += 1;
            b.delivery.checkpoint.cosignatures = vec![cosignature];
        }),
        at_the_end("cosignature_altered", "log.witnesses", |b| {
            let mut cosignature = cosign(b);
            cosignature.signature.0[0] ^= 1;
            b.delivery.checkpoint.cosignatures = vec![cosignature];
        }),
        at_the_end("cosignature_twice", "log.witnesses", |b| b.delivery.checkpoint.cosignatures = vec![cosign(b), cosign(b)]),
        at_the_end("log_rewritten_since_the_anchor", "log.consistency", |b| {
            b.delivery.earlier_anchor.as_mut().expect("it has one").tree.root = Hash32([1; 32]);
        }),
        at_the_end("consistency_path_altered", "log.consistency", |b| {
            b.delivery.earlier_anchor.as_mut().expect("it has one").consistency[0] = Hash32([1; 32]);
        }),
        at_the_end("earlier_anchor_without_leaves", "log.consistency", |b| {
            let link = b.delivery.earlier_anchor.as_mut().expect("it has one");
            link.tree.size = 0;
            link.consistency.clear();
        }),
        at_the_end("later_anchor_of_another_tree", "log.consistency", |b| {
            upgrade_and_sign(b, |later| later.checkpoint.tree.root = Hash32([1; 32]));
        }),
        at_the_end("later_anchor_path_too_long", "log.consistency", |b| {
            upgrade_and_sign(b, |later| later.consistency.push(Hash32([1; 32])));
        }),
        at_the_end("later_anchor_that_is_earlier", "log.consistency", |b| {
            let earlier = b.delivery.earlier_anchor.clone().expect("it has one");
            *b = upgraded(b.clone());
            let later = b.later_trees.first_mut().expect("it is upgraded");
            (later.checkpoint.tree, later.consistency) = (earlier.tree, earlier.consistency);
            later.signature = Key::of(K_SIG).sign(&later.checkpoint.digest());
        }),
        // The proof from 6 to 8 is as good for 7: only the signature names the size.
        at_the_end("later_anchor_size_altered", "log.consistency", |b| {
            upgrade_and_alter(b, |later| later.checkpoint.tree.size -= 1);
        }),
        at_the_end("later_anchor_time_altered", "log.consistency", |b| {
            upgrade_and_alter(b, |later| later.checkpoint.timestamp.0 += 1);
        }),
        at_the_end("later_anchor_root_altered", "log.consistency", |b| {
            upgrade_and_alter(b, |later| later.checkpoint.tree.root = Hash32([1; 32]));
        }),
        at_the_end("later_anchor_signed_by_a_stranger", "log.consistency", |b| {
            upgrade_and_alter(b, |later| later.signature = Key::of(0x77).sign(&later.checkpoint.digest()));
        }),
        at_the_end("later_anchor_signature_is_a_high_s_twin", "log.consistency", |b| {
            upgrade_and_alter(b, |later| later.signature = high_s_twin(&later.signature));
        }),
        at_the_end("later_anchor_of_another_log", "log.consistency", |b| {
            // Written without its log id, so it reads as one of this log, which K_sig did not sign.
            upgrade_and_sign(b, |later| later.checkpoint.log_id = Hash32([1; 32]));
        }),
    ]
}
