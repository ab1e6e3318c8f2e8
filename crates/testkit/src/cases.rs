//! One case per check of a bundle: the honest ones, and one lie each with the check that must refuse it.
//!
//! A case is a bundle, a policy, and what the caller read from a chain. `vectors/bundle/` is this list on disk.

use candor_verify::bundle::{Bundle, LaterTree, Request, Response};
use candor_verify::bytes::{Address, Amount, Hash32};
use candor_verify::check::{ChainFacts, TransferFact};
use candor_verify::checkpoint::{Cosignature, Ed25519Signature};
use candor_verify::decoding::SeedSource;
use candor_verify::delivery::AnchorLink;
use candor_verify::manifest::Manifest;
use candor_verify::payment::unsettled_id;
use candor_verify::policy::{Accept, KnownTree, Policy, RegistryRecord, Workloads};
use candor_verify::receipt::{Kinds, Outcome, Receipt};
use candor_verify::source::Account;
use candor_verify::terms::{Classes, OperatorTerms, upstream_flags};
use candor_verify::time::{UnixMs, UnixSeconds};
use candor_verify::tlog::{Tree, node_hash};
use candor_verify::verdict::LogLevel;

use crate::forge::{CHAIN_ID, Forge, Lie, NOW_MS, cosign, integer_seed, upgraded};
use crate::lies::{
    ask_publicly, attested_party_lies, by_an_upstream, deep_question, early, free_lies, guarded, guarded_upstream, half, in_plaintext,
    lies, not_public, proxied, sealed, turned_away,
};
use crate::malformed;

/// A case: bytes, the policy and facts to judge them by, and the expected end.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "plain data for tests")]
pub struct Case {
    /// The deviation.
    pub name: &'static str,
    /// Name of the file that holds the bytes, which cases that only differ in the policy share.
    pub file: &'static str,
    /// The encoded bundle, or what claims to be one.
    pub bytes: Vec<u8>,
    /// The policy.
    pub policy: Policy,
    /// What the caller read from a chain.
    pub facts: Facts,
    /// `verified`, `cannot tell`, `parse`, or the id of the check that refuses.
    pub expect: &'static str,
    /// The log level that the verdict must name.
    pub level: LogLevel,
}

/// [`ChainFacts`] that owns its parts.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "any value is valid")]
pub struct Facts {
    /// Anchors of the log.
    pub anchors: Vec<KnownTree>,
    /// Trees of the log that were observed.
    pub observations: Vec<KnownTree>,
    /// The registry's record of K_sig.
    pub registry: Option<RegistryRecord>,
    /// Whether the block in the receipt exists.
    pub receipt_block_known: Option<bool>,
    /// Whether the block in the evidence exists.
    pub evidence_block_known: Option<bool>,
    /// What became of the payment's nonce.
    pub transfer: Option<TransferFact>,
}

impl Facts {
    /// The same, borrowed.
    #[must_use]
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

    /// What an honest chain says about this bundle: registered an hour before, everything seen, anchored a minute after.
    #[must_use]
    pub fn honest(bundle: &Bundle) -> Self {
        let manifest = &bundle.evidence.manifest;
        let tree = bundle.later_trees.first().map_or(bundle.delivery.checkpoint.checkpoint.tree, |later| later.checkpoint.tree);
        let registered = RegistryRecord {
            k_sig: manifest.k_sig,
            manifest_hash: manifest.hash(),
            valid_until: UnixSeconds(NOW_MS / 1000 + 3_600),
            invalid_from: None,
            revoked_at: None,
            is_forked: false,
            has_gap: false,
            predecessor_anchored: None,
        };
        Self {
            anchors: vec![KnownTree { log_id: manifest.log_id(), tree, at: UnixSeconds(ANCHORED_AT) }],
            observations: vec![],
            registry: Some(registered),
            receipt_block_known: Some(true),
            evidence_block_known: Some(true),
            transfer: Some(TransferFact::Seen),
        }
    }
}

/// Block time of the story's anchor, Unix seconds.
const ANCHORED_AT: u64 = NOW_MS / 1000 + 62;

/// When the story's answer was finished, Unix seconds.
const FINISHED: u64 = NOW_MS / 1000 + 2;

/// Every case.
#[must_use]
pub fn all(forge: &Forge, stranger: &Forge) -> Vec<Case> {
    let mut cases = Vec::new();
    accepted(forge, &mut cases);
    public_answers(forge, &mut cases);
    by_policy(forge, stranger, &mut cases);
    on_chain(forge, &mut cases);
    for (name, expect, lie) in lies() {
        cases.push(case(name, &forge.bundle(&lie), forge.policy(), Facts::default(), expect, LogLevel::None));
    }
    let any_party = || Policy { operators: Accept::Any, registries: Accept::Any, ..forge.policy() };
    for (name, expect, lie) in attested_party_lies() {
        cases.push(case(name, &forge.bundle(&lie), any_party(), Facts::default(), expect, LogLevel::None));
    }
    for (name, expect, lie) in free_lies() {
        cases.push(case(name, &forge.free_bundle(&lie), forge.policy(), Facts::default(), expect, LogLevel::None));
    }
    for (name, bytes) in malformed::all(&forge.bundle(&Lie::default())) {
        let (policy, facts) = (forge.policy(), Facts::default());
        cases.push(Case { name, file: name, bytes, policy, facts, expect: "parse", level: LogLevel::None });
    }
    cases
}

fn case(name: &'static str, bundle: &Bundle, policy: Policy, facts: Facts, expect: &'static str, level: LogLevel) -> Case {
    Case { name, file: name, bytes: bundle.encode(), policy, facts, expect, level }
}

fn accepted(forge: &Forge, cases: &mut Vec<Case>) {
    let honest = forge.bundle(&Lie::default());
    let mut cosigned = honest.clone();
    cosigned.delivery.checkpoint.cosignatures = vec![cosign(&honest)];
    let mut push = |name, bundle: &Bundle, policy, expect, level| cases.push(case(name, bundle, policy, Facts::default(), expect, level));
    let (itself, witnessed) = (LogLevel::SelfLogged, LogLevel::Witnessed);
    let witnesses = |require_level| Policy { witness_threshold: 1, require_level, ..forge.policy() };
    push("honest", &honest, forge.policy(), "verified", itself);
    push("honest_cosigned", &cosigned, witnesses(witnessed), "verified", witnessed);
    push("honest_cosigned_where_no_witness_is_asked_for", &cosigned, forge.policy(), "verified", itself);
    push("honest_upgraded_but_offline", &upgraded(honest.clone()), forge.policy(), "verified", itself);
    push("not_cosigned_where_witnesses_are_required", &honest, witnesses(witnessed), "cannot tell", itself);
    push("not_cosigned_where_witnesses_are_only_named", &honest, witnesses(itself), "verified", itself);
    let anchored = Policy { require_level: LogLevel::Anchored, ..forge.policy() };
    push("offline_where_an_anchor_is_required", &honest, anchored, "cannot tell", itself);
    let any = Policy { workloads: Workloads::DangerousAny, ..forge.policy() };
    push("any_workload_where_the_policy_says_so", &honest, any, "verified", itself);
    let named = Policy { models: Accept::Only(vec![Hash32([0x91; 32])]), ..forge.policy() };
    push("model_that_the_policy_names", &honest, named, "verified", itself);
    let open = Policy { operators: Accept::Any, registries: Accept::Any, ..forge.policy() };
    push("any_operator_and_registry_where_the_policy_names_none", &honest, open, "verified", itself);
    let metered = forge.bundle(&Lie::metered());
    push("honest_upto", &metered, forge.policy(), "verified", itself);
    let nothing = Lie {
        terms: |terms| {
            (Lie::metered().terms)(terms);
            let price = &mut terms.prices[0];
            (price.ceiling.input, price.ceiling.request, price.floor) = (Amount::ZERO, Amount::ZERO, Classes::default());
        },
        receipt: |r| {
            (r.work.completion_tokens, r.money.charged) = (0, Amount::ZERO);
            r.money.payment_id = unsettled_id(CHAIN_ID, &r.log_id, r.sequence);
        },
        ..Lie::metered()
    };
    push("upto_that_comes_to_nothing", &forge.bundle(&nothing), forge.policy(), "verified", itself);
    let mut by_list = forge.bundle(&Lie { price_list: Some(half), ..Lie::metered() });
    push("upto_by_a_price_list", &by_list, forge.policy(), "verified", itself);
    by_list.sale.as_mut().expect("it is sold").price_list = None;
    push("upto_by_a_price_list_that_is_not_shown", &by_list, forge.policy(), "verified", itself);
    let mut stock = honest.clone();
    stock.sale.as_mut().expect("it is sold").payment.client_salt = None;
    let unbound = Policy { require_offer_binding: false, ..forge.policy() };
    push("stock_client_where_binding_is_not_required", &stock, unbound, "verified", itself);
    push("stock_client_where_binding_is_required", &stock, forge.policy(), "payment.binding", LogLevel::None);

    let length = Lie { receipt: |r| (r.work.outcome, r.work.completion_tokens) = (Outcome::Length, 64), ..Lie::default() };
    push("ended_by_the_token_limit", &forge.bundle(&length), forge.policy(), "verified", itself);
    let chosen = Lie {
        offer: |o| o.seed_commitment = Hash32::ZERO,
        decoding: |d| (d.seed_source, d.seed) = (SeedSource::Request, integer_seed(42)),
        seed_share: |s| *s = None,
        ..Lie::default()
    };
    push("seed_named_by_the_request", &forge.bundle(&chosen), forge.policy(), "verified", itself);
    push("sealed_to_an_attested_key", &forge.bundle(&sealed()), forge.policy(), "verified", itself);
    push("proxied_work", &forge.bundle(&by_an_upstream()), forge.policy(), "verified", itself);
    let plain = Lie { terms: in_plaintext, source: Some(|s| s.spki_hash = Hash32::ZERO), ..Lie::default() };
    push("proxied_work_in_plaintext", &forge.bundle(&plain), forge.policy(), "verified", itself);
    let takes_keys: fn(&mut OperatorTerms) = |o| {
        proxied(o);
        o.upstreams[0].flags = upstream_flags::TAKES_BUYERS_KEYS;
    };
    let by_buyer = Lie { terms: takes_keys, source: Some(|s| s.account = Account::Buyer), ..Lie::default() };
    push("proxied_work_with_a_buyers_key", &forge.bundle(&by_buyer), forge.policy(), "verified", itself);
    let failed = Lie { receipt: |r| r.work.outcome = Outcome::UpstreamError, ..by_an_upstream() };
    push("proxied_work_whose_upstream_failed", &forge.bundle(&failed), forge.policy(), "verified", itself);
    let unreached = Lie { source: Some(|s| (s.spki_hash, s.account) = (Hash32::ZERO, Account::Nobody)), ..failed };
    let passed_over = Lie { source: Some(|s| s.tried.clear()), ..by_an_upstream() };
    push("proxied_work_that_passed_a_route_over", &forge.bundle(&passed_over), forge.policy(), "verified", itself);
    let longest_text = Lie { source: Some(|s| s.model_served = "m".repeat(256)), ..by_an_upstream() };
    push("source_text_of_256_bytes", &forge.bundle(&longest_text), forge.policy(), "verified", itself);
    let longest_engine = Lie { decoding: |d| d.engine = "e".repeat(64), ..Lie::default() };
    push("engine_of_64_bytes", &forge.bundle(&longest_engine), forge.policy(), "verified", itself);
    push("proxied_work_whose_upstream_was_not_reached", &forge.bundle(&unreached), forge.policy(), "verified", itself);
    let listed = Lie { price_list: Some(half), ..Lie::default() };
    push("offer_by_a_price_list", &forge.bundle(&listed), forge.policy(), "verified", itself);
    let not_shown = Lie { bundle: |b| b.sale.as_mut().expect("it is sold").price_list = None, ..listed };
    push("offer_by_a_price_list_that_is_not_shown", &forge.bundle(&not_shown), forge.policy(), "verified", itself);
    // The floor of 12 tokens in and 64 out is 31 units. With its list this bundle is refused; without it nothing of its price passes.
    let at_the_floor = Lie { offer: |o| o.amount.0 = 31, ..not_shown };
    push("offer_at_the_floor_by_a_price_list_that_is_not_shown", &forge.bundle(&at_the_floor), forge.policy(), "verified", itself);
    let only_local = Lie { receipt: |receipt| receipt.work.kinds = Kinds::LOCAL, ..Lie::default() };
    push("local_work_that_nobody_promises_to_replay", &forge.bundle(&only_local), forge.policy(), "verified", itself);
    let silent = Lie {
        question: |_, response| response.frames.clear(),
        receipt: |receipt| (receipt.work.outcome, receipt.work.completion_tokens) = (Outcome::Aborted, 0),
        ..Lie::default()
    };
    push("aborted_before_the_first_frame", &forge.bundle(&silent), forge.policy(), "verified", itself);
    push("nobody_paid", &forge.free_bundle(&Lie::free()), forge.policy(), "verified", itself);
    let priced_at_nothing = Lie { terms: |o| o.prices[0].floor = Classes::default(), ..Lie::default() };
    push("nobody_paid_where_a_list_may_say_so", &forge.free_bundle(&priced_at_nothing), forge.policy(), "verified", itself);
    let chosen_free =
        Lie { decoding: |d| (d.seed_source, d.seed) = (SeedSource::Request, integer_seed(42)), seed_share: |s| *s = None, ..Lie::free() };
    push("nobody_paid_and_the_request_named_the_seed", &forge.free_bundle(&chosen_free), forge.policy(), "verified", itself);
    let turned_away = Lie { terms: guarded, receipt: turned_away, ..Lie::default() };
    push("refused_by_a_guard", &forge.free_bundle(&turned_away), forge.policy(), "verified", itself);
    let turned_away = Lie { terms: guarded_upstream, ..turned_away };
    push("refused_by_a_guard_before_an_upstream", &forge.free_bundle(&turned_away), forge.policy(), "verified", itself);
    let booted = Lie { manifest: |m| m.booted_at = UnixSeconds(NOW_MS / 1000 + 120), ..Lie::default() };
    push("booted_when_it_answered_by_a_clock_that_is_ahead", &forge.bundle(&booted), forge.policy(), "verified", itself);
    type End = (&'static str, fn(&mut Receipt));
    let ends: [End; 3] = [
        ("cut_by_the_node", |r| r.work.outcome = Outcome::CutByNode),
        ("client_went_away", |r| r.work.outcome = Outcome::Aborted),
        ("refused_by_the_model", |r| r.work.outcome = Outcome::RefusedByModel),
    ];
    for (name, receipt) in ends {
        push(name, &forge.bundle(&Lie { receipt, ..Lie::default() }), forge.policy(), "verified", itself);
    }
    let oldest = Lie { document_age_ms: 2 * 3_600_000, ..Lie::default() };
    push("evidence_as_old_as_the_policy_allows", &forge.bundle(&oldest), forge.policy(), "verified", itself);
    push("started_as_long_before_its_document_as_the_skew", &forge.bundle(&early()), forge.policy(), "verified", itself);
    let last = Lie { terms: |o| o.not_after = UnixMs(NOW_MS + 2_000), ..Lie::default() };
    push("finished_in_the_last_millisecond_of_the_terms", &forge.bundle(&last), forge.policy(), "verified", itself);
    let challenged = Lie { freshness: |f| f.nonce = Hash32([0x85; 32]), ..Lie::default() };
    push("answers_a_challenge", &forge.bundle(&challenged), forge.policy(), "verified", itself);
    let first = Lie { bundle: |b| b.delivery.earlier_anchor = None, ..Lie::default() };
    push("nothing_anchored_before", &forge.bundle(&first), forge.policy(), "verified", itself);

    // The neutral point as a key, under which this signature is right for every message but by the strict rule.
    let neutral = |length: usize| (0..length).map(|at| u8::from(at == 0)).collect::<Vec<u8>>();
    let witness = Hash32(neutral(32).try_into().expect("32 bytes"));
    let signature = Ed25519Signature(neutral(64).try_into().expect("64 bytes"));
    let mut unsigned = honest;
    unsigned.delivery.checkpoint.cosignatures = vec![Cosignature { witness, time: UnixSeconds(NOW_MS / 1000), signature }];
    let named = Policy { witnesses: vec![witness], ..forge.policy() };
    push("cosignature_by_a_key_of_small_order", &unsigned, named, "log.witnesses", LogLevel::None);
}

/// Answers that are asked to be public. Spec: transcript.md §4.
fn public_answers(forge: &Forge, cases: &mut Vec<Case>) {
    type Question = fn(&mut Request, &mut Response);
    let rows: [(&'static str, Question); 5] = [
        ("public_answer", |q, _| ask_publicly(q)),
        ("public_answer_in_one_body", |q, r| {
            ask_publicly(q);
            r.frames = vec![br#"{"choices":[{"index":0,"message":{"role":"assistant","content":"Gr\u00f6\u00dfe"}}]}"#.to_vec()];
        }),
        ("public_answer_with_frames_that_add_nothing", |q, r| {
            ask_publicly(q);
            r.frames.insert(0, br#"{"choices":[{"delta":{"role":"assistant","content":null}}]}"#.to_vec());
            r.frames.push(br#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#.to_vec());
            r.frames.push(br#"{"choices":[],"usage":{"total_tokens":16}}"#.to_vec());
        }),
        ("public_answer_whose_task_is_in_capitals", |q, _| {
            ask_publicly(q);
            let body = String::from_utf8(core::mem::take(&mut q.body)).expect("text");
            q.body = body.replace("00aa", "00AA").into_bytes();
        }),
        ("public_answer_asked_32_deep", |q, _| q.body = deep_question(31)),
    ];
    for (name, question) in rows.into_iter().chain(not_public().map(|(_, honest, question)| (honest, question))) {
        let bundle = forge.bundle(&Lie { question, ..Lie::default() });
        cases.push(case(name, &bundle, forge.policy(), Facts::default(), "verified", LogLevel::SelfLogged));
    }
}

fn by_policy(forge: &Forge, stranger: &Forge, cases: &mut Vec<Case>) {
    let honest = forge.bundle(&Lie::default());
    let mut push = |name, policy, expect| {
        cases.push(Case { file: "honest", ..case(name, &honest, policy, Facts::default(), expect, LogLevel::None) });
    };
    let own = || forge.policy();
    push("evidence_from_another_root", stranger.policy(), "attest.root");
    push("simulated_evidence_under_the_hardware_policy", Policy::hardware(), "attest.root");
    let hardware_any = Policy { workloads: Workloads::DangerousAny, ..Policy::hardware() };
    push("simulated_evidence_under_the_hardware_policy_for_any_workload", hardware_any, "attest.root");
    push("no_root_in_the_policy", Policy { roots: vec![], ..own() }, "attest.root");
    push("no_workload_in_the_policy", Policy { workloads: Workloads::Only(vec![]), ..own() }, "policy.workload");
    push("another_workload_in_the_policy", Policy { workloads: Workloads::Only(vec![Hash32([1; 32])]), ..own() }, "policy.workload");
    push("another_operator_in_the_policy", Policy { operators: Accept::Only(vec![Address([1; 20])]), ..own() }, "policy.operator");
    push(
        "same_registry_on_another_chain_in_the_policy",
        Policy { registries: Accept::Only(vec![(1, Address([0xe1; 20]))]), ..own() },
        "policy.registry",
    );
    push("another_model_in_the_policy", Policy { models: Accept::Only(vec![Hash32([1; 32])]), ..own() }, "work.model");
    push("younger_evidence_in_the_policy", Policy { max_age_ms: 1_000, skew_ms: 0, ..own() }, "receipt.time");
}

/// Cases whose caller has read a chain.
fn on_chain(forge: &Forge, cases: &mut Vec<Case>) {
    let honest = forge.bundle(&Lie::default());
    let later = upgraded(honest.clone());
    let strict = || Policy { require_level: LogLevel::Anchored, ..forge.policy() };
    let mut push = |name, bundle: &Bundle, policy, facts: Facts, expect, level| {
        cases.push(case(name, bundle, policy, facts, expect, level));
    };
    push("anchored", &honest, strict(), Facts::honest(&honest), "verified", LogLevel::Anchored);
    let unsettled = Facts { transfer: Some(TransferFact::NotYet), ..Facts::honest(&honest) };
    push("not_charged_so_far", &honest, strict(), unsettled, "verified", LogLevel::Anchored);
    push("anchored_later", &later, strict(), Facts::honest(&later), "verified", LogLevel::Anchored);
    // The tree that was anchored is the checkpoint's own: nothing is between the two.
    let mut same = honest.clone();
    let checkpoint = honest.delivery.checkpoint.checkpoint;
    same.later_trees = vec![LaterTree { checkpoint, signature: honest.delivery.checkpoint.signature, consistency: vec![] }];
    push("anchored_as_it_stands", &same, strict(), Facts::honest(&same), "verified", LogLevel::Anchored);
    push(
        "anchored_before_the_key_was_revoked",
        &later,
        strict(),
        registry(&later, |r| r.revoked_at = Some(UnixSeconds(ANCHORED_AT + 1))),
        "verified",
        LogLevel::Anchored,
    );
    let retired = registry(&honest, |r| r.invalid_from = Some(UnixSeconds(FINISHED)));
    push("finished_in_the_last_second_of_a_retired_key", &honest, strict(), retired, "verified", LogLevel::Anchored);
    // The registry has not been shown the bundle's own document: whoever holds the bundle can show it.
    let not_renewed = registry(&honest, |r| r.valid_until = UnixSeconds(NOW_MS / 1000 - 3_600));
    push("finished_after_the_last_renewal_on_chain", &honest, strict(), not_renewed, "verified", LogLevel::Anchored);
    let in_time = anchors(&honest, |anchor| anchor.at = UnixSeconds(FINISHED + 7 * 86_400));
    push("anchored_a_week_after_it_was_finished", &honest, strict(), in_time, "verified", LogLevel::Anchored);
    let too_late = anchors(&honest, |anchor| anchor.at = UnixSeconds(FINISHED + 7 * 86_400 + 1));
    push("anchored_more_than_a_week_after_it_was_finished", &honest, strict(), too_late.clone(), "cannot tell", LogLevel::SelfLogged);
    // Nothing shows that its key had not lapsed when it was signed: also who asks for no anchor is not told that it is verified.
    push("anchored_too_late_where_no_anchor_is_required", &honest, forge.policy(), too_late.clone(), "cannot tell", LogLevel::SelfLogged);
    let seen_late = Facts { anchors: vec![], observations: too_late.anchors.clone(), ..too_late.clone() };
    push("observed_too_late_where_no_anchor_is_required", &honest, forge.policy(), seen_late, "cannot tell", LogLevel::SelfLogged);
    let mut cosigned = honest.clone();
    cosigned.delivery.checkpoint.cosignatures = vec![cosign(&honest)];
    let witnessed = Policy { witness_threshold: 1, require_level: LogLevel::Witnessed, ..forge.policy() };
    push("cosigned_and_anchored_too_late", &cosigned, witnessed, too_late.clone(), "cannot tell", LogLevel::Witnessed);
    // An observation kept the time, and the anchor came later: both count.
    let observed = |facts: Facts, at: u64| Facts { observations: vec![KnownTree { at: UnixSeconds(at), ..facts.anchors[0] }], ..facts };
    push("observed_in_time_and_anchored_later", &honest, strict(), observed(too_late, FINISHED + 60), "verified", LogLevel::Anchored);
    let only_observed = Facts { anchors: vec![], ..observed(Facts::honest(&honest), FINISHED + 60) };
    push("observed_and_never_anchored", &honest, strict(), only_observed.clone(), "cannot tell", LogLevel::SelfLogged);
    push("observed_in_time_where_no_anchor_is_required", &honest, forge.policy(), only_observed, "verified", LogLevel::SelfLogged);
    let rescued = observed(registry(&honest, |r| r.revoked_at = Some(UnixSeconds(ANCHORED_AT))), ANCHORED_AT - 1);
    push("observed_before_the_key_was_revoked_and_anchored_after", &honest, strict(), rescued, "verified", LogLevel::Anchored);
    let free = forge.free_bundle(&Lie::free());
    let free_facts = Facts { transfer: None, ..Facts::honest(&free) };
    push("nobody_paid_and_anchored", &free, strict(), free_facts, "verified", LogLevel::Anchored);
    let unseen = Facts { anchors: vec![], ..Facts::honest(&honest) };
    push("registered_but_not_anchored_yet", &honest, forge.policy(), unseen.clone(), "verified", LogLevel::SelfLogged);
    push("not_anchored_where_an_anchor_is_required", &honest, strict(), unseen, "cannot tell", LogLevel::SelfLogged);
    let other_log = anchors(&honest, |anchor| anchor.log_id = Hash32([1; 32]));
    push("anchor_of_another_log", &honest, strict(), other_log, "cannot tell", LogLevel::SelfLogged);

    // The earlier tree holds the receipt, and no proof in the bundle says so.
    let mut four = honest.clone();
    let earlier = four.delivery.earlier_anchor.as_mut().expect("it has one");
    let [_, pair01, pair45] = <[Hash32; 3]>::try_from(honest.delivery.inclusion.clone()).expect("three siblings");
    let tree = Tree { size: 4, root: node_hash(&pair01, &earlier.consistency[0]) };
    *earlier = AnchorLink { tree, consistency: vec![pair45] };
    let at_four = anchors(&four, |anchor| anchor.tree = tree);
    push("anchored_only_at_an_earlier_tree_that_holds_it", &four, strict(), at_four, "cannot tell", LogLevel::SelfLogged);

    // A chain that goes back takes blocks of honest answers too.
    let no_evidence_block = Facts { evidence_block_known: Some(false), ..Facts::honest(&honest) };
    push("block_of_the_evidence_is_not_in_the_chain", &honest, forge.policy(), no_evidence_block, "cannot tell", LogLevel::Anchored);
    let no_receipt_block = Facts { receipt_block_known: Some(false), ..Facts::honest(&honest) };
    push("block_of_the_receipt_is_not_in_the_chain", &honest, forge.policy(), no_receipt_block, "cannot tell", LogLevel::Anchored);
    // There may be an anchor from before the end, of a size that the bundle does not name.
    let revoked = || registry(&honest, |r| r.revoked_at = Some(UnixSeconds(ANCHORED_AT)));
    push("seen_after_the_key_was_revoked", &honest, forge.policy(), revoked(), "cannot tell", LogLevel::Anchored);
    let unseen = Facts { anchors: vec![], ..revoked() };
    push("key_was_revoked_and_nothing_is_anchored", &honest, forge.policy(), unseen, "cannot tell", LogLevel::SelfLogged);
    let both = registry(&honest, |r| (r.invalid_from, r.revoked_at) = (Some(UnixSeconds(FINISHED)), Some(UnixSeconds(ANCHORED_AT))));
    push("revoked_after_it_was_retired", &honest, forge.policy(), both, "cannot tell", LogLevel::Anchored);
    let stale = Facts {
        anchors: vec![KnownTree { at: UnixSeconds(FINISHED + 7 * 86_400 + 1), ..Facts::honest(&honest).anchors[0] }],
        ..registry(&honest, |r| r.revoked_at = Some(UnixSeconds(u64::MAX)))
    };
    push("revoked_key_whose_anchor_came_too_late", &honest, forge.policy(), stale, "cannot tell", LogLevel::SelfLogged);
    // What the registry says beside: it is told, and no reason to refuse a receipt.
    let manifest: fn(&mut Manifest) =
        |m| (m.predecessor_log, m.predecessor_size, m.predecessor_root) = (Hash32([0x70; 32]), 7, Hash32([0x71; 32]));
    let continued = forge.bundle(&Lie { manifest, ..Lie::default() });
    let forked = registry(&continued, |r| (r.is_forked, r.has_gap) = (true, true));
    push("answer_of_a_key_that_forked_in_a_log_with_a_gap", &continued, strict(), forked, "verified", LogLevel::Anchored);
    let left_behind = registry(&continued, |r| r.predecessor_anchored = Some(8));
    push("in_a_log_that_continues_a_part_of_the_one_before", &continued, strict(), left_behind, "verified", LogLevel::Anchored);

    let mut refuse = |name, bundle, facts, expect| push(name, bundle, forge.policy(), facts, expect, LogLevel::None);
    let cancelled = Facts { transfer: Some(TransferFact::Otherwise), ..Facts::honest(&honest) };
    refuse("authorization_cancelled_or_used_for_something_else", &honest, cancelled, "payment.transfer");
    refuse("registry_lists_another_key", &honest, registry(&honest, |r| r.k_sig = Address([1; 20])), "registry.listed");
    refuse("registry_lists_another_manifest", &honest, registry(&honest, |r| r.manifest_hash = Hash32([1; 32])), "registry.listed");
    // Also the bundle's own document had run out.
    let old = forge.bundle(&Lie { document_age_ms: 2 * 3_600_000, ..Lie::default() });
    let lapsed = |bundle: &Bundle| registry(bundle, |r| r.valid_until = UnixSeconds(FINISHED - 1));
    refuse("registration_lapsed_before_the_receipt", &old, lapsed(&old), "registry.listed");
    let retired = registry(&honest, |r| r.invalid_from = Some(UnixSeconds(FINISHED - 1)));
    refuse("finished_after_the_key_was_retired", &honest, retired, "registry.listed");
    let revoked = registry(&honest, |r| r.revoked_at = Some(UnixSeconds(FINISHED - 120)));
    refuse("finished_after_the_key_was_revoked", &honest, revoked, "registry.listed");
    let both = registry(&honest, |r| (r.invalid_from, r.revoked_at) = (Some(UnixSeconds(FINISHED - 1)), Some(UnixSeconds(ANCHORED_AT))));
    refuse("revoked_after_it_was_retired_and_finished_between", &honest, both, "registry.listed");
    refuse("fork_at_the_anchored_size", &honest, anchors(&honest, |anchor| anchor.tree.root = Hash32([1; 32])), "log.consistency");
    let earlier = |anchor: &mut KnownTree| anchor.tree = Tree { size: 2, root: Hash32([1; 32]) };
    let observed = |tree: Tree| {
        let facts = Facts::honest(&honest);
        Facts { observations: vec![KnownTree { tree, ..facts.anchors[0] }], ..facts }
    };
    let ours = honest.delivery.checkpoint.checkpoint.tree;
    refuse("fork_that_was_only_observed", &honest, observed(Tree { root: Hash32([1; 32]), ..ours }), "log.consistency");
    let earlier_fork = observed(Tree { size: 2, root: Hash32([1; 32]) });
    refuse("fork_at_the_earlier_anchor_that_was_only_observed", &honest, earlier_fork, "log.consistency");
    refuse("fork_at_the_earlier_anchor", &honest, anchors(&honest, earlier), "log.consistency");
    refuse("fork_at_the_later_anchor", &later, anchors(&later, |anchor| anchor.tree.root = Hash32([1; 32])), "log.consistency");
    refuse(
        "anchored_before_it_was_finished",
        &honest,
        anchors(&honest, |anchor| anchor.at = UnixSeconds(NOW_MS / 1000 - 119)),
        "log.anchored",
    );
}

fn registry(bundle: &Bundle, change: impl FnMut(&mut RegistryRecord)) -> Facts {
    let mut facts = Facts::honest(bundle);
    facts.registry.iter_mut().for_each(change);
    facts
}

fn anchors(bundle: &Bundle, change: impl Fn(&mut KnownTree)) -> Facts {
    let mut facts = Facts::honest(bundle);
    facts.anchors.iter_mut().for_each(change);
    facts
}
