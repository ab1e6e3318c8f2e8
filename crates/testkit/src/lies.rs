//! The lies: one deviation each, at one stage of the story, and the check that must refuse it.
//!
//! Grouped by the question they would answer wrongly. Each later stage is signed over the lie, so nothing else is wrong with the bundle.

use candor_verify::bundle::Bundle;
use candor_verify::bytes::{Address, Amount, Hash32};
use candor_verify::receipt::{Channel, Kinds, Outcome, Receipt, Scheme, SeedSource, UsageSource};
use candor_verify::time::{UnixMs, UnixSeconds};

use crate::forge::{K_SIG, Key, Lie, NOW_MS, cosign, high_s_twin, integer_seed, upgrade_and_alter, upgrade_and_sign, upgraded};

pub(crate) type Row = (&'static str, &'static str, Lie);

pub(crate) fn lies() -> Vec<Row> {
    [evidence_lies(), work_lies(), money_lies(), log_lies()].concat()
}

fn at_the_end(name: &'static str, expect: &'static str, bundle: fn(&mut Bundle)) -> Row {
    (name, expect, Lie { bundle, ..Lie::default() })
}

fn evidence_lies() -> Vec<Row> {
    vec![
        at_the_end("freshness_nonce_changed", "evidence.binding", |b| b.evidence.freshness.nonce = Hash32([1; 32])),
        at_the_end("freshness_block_changed", "evidence.binding", |b| b.evidence.freshness.block_number += 1),
        at_the_end("manifest_key_changed", "evidence.binding", |b| b.evidence.manifest.k_sig = Address([1; 20])),
        at_the_end("manifest_payee_changed", "evidence.binding", |b| b.evidence.manifest.payee = Address([1; 20])),
        at_the_end("price_table_changed", "evidence.terms", |b| b.evidence.terms.terms.prices[0].per_request = Amount(1)),
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
        ("attested_operator_is_not_the_terms", "evidence.manifest", Lie { manifest: |m| m.operator = Address([1; 20]), ..Lie::default() }),
        ("attested_registry_is_not_the_terms", "evidence.manifest", Lie { manifest: |m| m.registry = Address([1; 20]), ..Lie::default() }),
        ("attested_anchor_chain_is_not_the_terms", "evidence.manifest", Lie { manifest: |m| m.anchor_chain_id = 1, ..Lie::default() }),
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
        at_the_end("document_cut_short", "attest.signature", |b| b.evidence.document.truncate(b.evidence.document.len() - 1)),
        at_the_end("document_signature_altered", "attest.signature", |b| *b.evidence.document.last_mut().expect("not empty") ^= 1),
        at_the_end("document_of_nothing", "attest.size", |b| b.evidence.document.clear()),
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
        receipt("finished_after_the_terms_ended", "receipt.time", |r| r.work.finished_at.0 += 86_400_000),
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
        receipt("sealed_to_no_key", "privacy.channel", |r| r.work.channel = Channel::Sealed),
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
    ]
}

fn money_lies() -> Vec<Row> {
    let offer = |name, expect, offer: fn(&mut candor_verify::offer::Offer)| (name, expect, Lie { offer, ..Lie::default() });
    let paid = |name, expect, authorization: fn(&mut candor_verify::payment::Authorization)| {
        (name, expect, Lie { authorization, ..Lie::default() })
    };
    let receipt = |name, expect, receipt: fn(&mut Receipt)| (name, expect, Lie { receipt, ..Lie::default() });
    vec![
        at_the_end("price_raised_after_signing", "offer.signature", |b| b.offer.amount = Amount(b.offer.amount.0 + 1)),
        offer("offer_of_another_boot", "offer.terms", |o| o.manifest_hash = Hash32([1; 32])),
        (
            "offer_for_another_model",
            "offer.terms",
            Lie { offer: |o| o.model_id = Hash32([1; 32]), receipt: |r| r.work.model_id = Hash32([0x91; 32]), ..Lie::default() },
        ),
        offer("offer_for_another_request", "offer.terms", |o| o.request_commitment = Hash32([1; 32])),
        offer("offer_to_another_payee", "offer.terms", |o| o.payee = Address([1; 20])),
        offer("offer_with_a_settler_under_exact", "offer.terms", |o| o.settler = Address([1; 20])),
        offer("offer_for_other_max_tokens", "offer.terms", |o| o.max_tokens = 65),
        offer("offer_above_the_price_table", "offer.price", |o| o.amount = Amount(o.amount.0 + 1)),
        offer("offer_in_an_asset_without_a_price", "offer.price", |o| o.asset = Address([1; 20])),
        at_the_end("payee_changed_after_signing", "payment.signature", |b| b.payment.authorization.to = Address([1; 20])),
        at_the_end("payment_by_another_payer", "payment.signature", |b| b.payment.authorization.from = Key::of(0x77).address()),
        at_the_end("payment_signature_is_a_high_s_twin", "payment.signature", |b| b.payment.signature = high_s_twin(&b.payment.signature)),
        paid("payment_of_less_than_offered", "payment.terms", |a| a.value = Amount(a.value.0 - 1)),
        paid("payment_to_another_payee", "payment.terms", |a| a.to = Address([1; 20])),
        paid("payment_of_more_than_offered", "payment.terms", |a| a.value = Amount(a.value.0 + 1)),
        paid("payment_not_yet_valid", "payment.terms", |a| a.valid_after = UnixSeconds(NOW_MS / 1000 + 100)),
        paid("payment_expired", "payment.terms", |a| a.valid_before = UnixSeconds(NOW_MS / 1000 + 1)),
        paid("payment_open_for_too_long", "payment.terms", |a| a.valid_before = UnixSeconds(NOW_MS / 1000 + 100_000)),
        at_the_end("client_salt_altered", "payment.binding", |b| b.payment.client_salt = Some(Hash32([1; 32]))),
        paid("payment_bound_to_nothing", "payment.binding", |a| a.nonce = Hash32([1; 32])),
        receipt("receipt_reused_for_another_payment", "receipt.payment", |r| r.money.payment_id = Hash32([1; 32])),
        receipt("receipt_for_another_offer", "receipt.payment", |r| r.money.offer_digest = Hash32([1; 32])),
        receipt("receipt_in_another_asset", "receipt.payment", |r| r.money.asset = Address([1; 20])),
        receipt("receipt_by_another_scheme", "receipt.payment", |r| r.money.scheme = Scheme::UptoPermit2),
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
        at_the_end("checkpoint_time_altered", "log.checkpoint", |b| b.delivery.checkpoint.checkpoint.timestamp.0 += 1),
        at_the_end("note_signature_altered", "log.checkpoint", |b| b.delivery.checkpoint.note_signature.0[0] ^= 1),
        at_the_end("checkpoint_signature_altered", "log.checkpoint", |b| b.delivery.checkpoint.signature.0[0] ^= 1),
        at_the_end("cosignature_by_a_stranger", "log.witnesses", |b| {
            let mut cosignature = cosign(b);
            cosignature.witness = Hash32([1; 32]);
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
            let later = b.later_anchor.as_mut().expect("it is upgraded");
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
