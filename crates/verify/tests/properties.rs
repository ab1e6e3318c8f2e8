//! Properties: every value reads back as written, and fast code agrees with slow references.
//!
//! Slow references of the ABI words, of CBOR and of the log's proofs for small trees are beside the code; here are those that need more
//! than one module, larger trees, and whole structures with arbitrary fields.

mod support;

use candor_verify::bundle::{Bundle, LaterTree};
use candor_verify::bytes::{Address, Amount, Hash32, Signature65};
use candor_verify::checkpoint::{Checkpoint, Cosignature, Ed25519Signature};
use candor_verify::delivery::{AnchorLink, Delivery};
use candor_verify::source::{Account, DeclaredUsage, SourceRecord};
use candor_verify::terms::{
    Access, Asset, Chain, Classes, Egress, Guard, ListedPrice, Model, ModelSource, OperatorTerms, Price, PriceList, Pricing, Route,
    SealedVersion, Secret, SignedPriceList, SignedTerms, Trust, Upstream, UpstreamKind,
};
use candor_verify::time::{UnixMs, UnixSeconds};
use candor_verify::tlog::{Tree, empty_root, leaf_hash, node_hash, verify_consistency, verify_inclusion};
use candor_verify::transcript::{splice, unsplice};
use proptest::collection::vec;
use proptest::prelude::*;

fn hash() -> impl Strategy<Value = Hash32> {
    any::<[u8; 32]>().prop_map(Hash32)
}

fn address() -> impl Strategy<Value = Address> {
    any::<[u8; 20]>().prop_map(Address)
}

fn amount() -> impl Strategy<Value = Amount> {
    any::<u128>().prop_map(Amount)
}

fn signature() -> impl Strategy<Value = Signature65> {
    (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<u8>()).prop_map(|(r, s, v)| {
        let mut bytes = [v; 65];
        bytes[..32].copy_from_slice(&r);
        bytes[32..64].copy_from_slice(&s);
        Signature65(bytes)
    })
}

fn link() -> impl Strategy<Value = Option<AnchorLink>> {
    prop::option::of(
        (any::<u64>(), hash(), vec(hash(), 0..4))
            .prop_map(|(size, root, consistency)| AnchorLink { tree: Tree { size, root }, consistency }),
    )
}

/// Up to two, each larger than the one before: others are no bundle.
fn later_trees() -> impl Strategy<Value = Vec<LaterTree>> {
    let parts = (any::<u64>(), hash(), any::<u64>(), signature(), vec(hash(), 0..4));
    let later = parts.prop_map(|(size, root, timestamp, signature, consistency)| {
        let checkpoint = Checkpoint { log_id: Hash32::ZERO, tree: Tree { size, root }, timestamp: UnixMs(timestamp) };
        LaterTree { checkpoint, signature, consistency }
    });
    vec(later, 0..=2).prop_map(|mut trees| {
        trees.sort_by_key(|later| later.checkpoint.tree.size);
        trees.dedup_by_key(|later| later.checkpoint.tree.size);
        trees
    })
}

fn cosignature() -> impl Strategy<Value = Cosignature> {
    (hash(), any::<u64>(), signature()).prop_map(|(witness, time, signature)| {
        let signature = Ed25519Signature(*signature.0.first_chunk().expect("65 bytes"));
        Cosignature { witness, time: UnixSeconds(time), signature }
    })
}

fn terms() -> impl Strategy<Value = SignedTerms> {
    let text = || ".{0,40}";
    let chain = (any::<u64>(), address(), address(), hash()).prop_map(|(chain_id, registry, batch, channel_policy)| Chain {
        chain_id,
        registry,
        batch,
        channel_policy,
        ..Chain::default()
    });
    let asset = (any::<u64>(), address(), text(), text(), any::<u8>()).prop_map(|(chain_id, asset, name, version, decimals)| Asset {
        chain_id,
        asset,
        name,
        version,
        decimals,
    });
    let route = (text(), text()).prop_map(|(upstream, model)| Route { upstream, model });
    let source = prop_oneof![Just(ModelSource::Local), Just(ModelSource::Upstream)];
    let model = (text(), source, hash(), hash(), any::<u32>(), vec(route, 0..3)).prop_map(
        |(id, source, digest, source_digest, context_tokens, routes)| Model { id, source, digest, source_digest, context_tokens, routes },
    );
    let price = (hash(), any::<u64>(), address(), classes(), classes()).prop_map(|(model, chain_id, asset, ceiling, floor)| Price {
        model,
        chain_id,
        asset,
        ceiling,
        floor,
    });
    let kind = prop_oneof![Just(UpstreamKind::OpenAiCompatible), Just(UpstreamKind::OpenAi), Just(UpstreamKind::Aci)];
    let trust = prop_oneof![Just(Trust::Plaintext), Just(Trust::RootSet), Just(Trust::Key), Just(Trust::Attested)];
    let numbers = (any::<u16>(), any::<u32>(), any::<u32>());
    let upstream = (text(), kind, text(), text(), trust, hash(), text(), numbers).prop_map(
        |(name, kind, host, path, trust, trust_anchor, account, (port, markup, flags))| {
            let pricing = if flags % 2 == 0 { Pricing::Fixed } else { Pricing::CostPlus };
            Upstream { name, kind, host, port, path, trust, trust_anchor, account, pricing, markup, flags }
        },
    );
    let secret = (text(), any::<u32>()).prop_map(|(name, min_version)| Secret { name, min_version });
    let sealed = (any::<u32>(), any::<u64>()).prop_map(|(version, not_after)| SealedVersion { version, not_after: UnixMs(not_after) });
    let egress = (text(), any::<u16>(), text()).prop_map(|(host, port, purpose)| Egress { host, port, purpose });
    let access = (any::<u32>(), vec(hash(), 0..3)).prop_map(|(ways, keys)| Access { ways, keys });
    let guard =
        (text(), text(), any::<u32>(), any::<u64>()).prop_map(|(model, upstream, payer_requests_per_minute, payer_tokens_per_day)| Guard {
            model,
            upstream,
            payer_requests_per_minute,
            payer_tokens_per_day,
        });
    let lists = (vec(chain, 0..3), vec(asset, 0..3), vec(model, 0..3), vec(price, 0..3), vec(upstream, 0..3), vec(text(), 0..3));
    let rest = (vec(secret, 0..3), vec(sealed, 0..3), vec(egress, 0..3), access, guard);
    (address(), any::<u64>(), any::<u32>(), any::<u32>(), lists, rest, signature()).prop_map(
        |(operator, not_after, flags, storage, lists, rest, signature)| {
            let (chains, assets, models, prices, upstreams, endpoints) = lists;
            let (secrets, sealed, egress, access, guard) = rest;
            let terms = OperatorTerms {
                operator,
                not_after: UnixMs(not_after),
                flags,
                storage,
                chains,
                assets,
                models,
                prices,
                upstreams,
                secrets,
                sealed,
                egress,
                access,
                guard,
                endpoints,
                ..OperatorTerms::default()
            };
            SignedTerms { terms, signature }
        },
    )
}

fn classes() -> impl Strategy<Value = Classes> {
    (amount(), amount(), amount(), amount(), amount(), amount(), amount()).prop_map(
        |(input, cache_read, cache_write, output, reasoning, image, request)| Classes {
            input,
            cache_read,
            cache_write,
            output,
            reasoning,
            image,
            request,
        },
    )
}

fn price_list() -> impl Strategy<Value = SignedPriceList> {
    let price = (hash(), any::<u64>(), address(), classes()).prop_map(|(model, chain_id, asset, classes)| ListedPrice {
        model,
        chain_id,
        asset,
        classes,
    });
    (hash(), any::<u64>(), any::<u64>(), any::<u64>(), vec(price, 0..3), signature()).prop_map(
        |(terms_hash, number, from, until, prices, signature)| {
            let list = PriceList { terms_hash, number, from: UnixMs(from), until: UnixMs(until), prices };
            SignedPriceList { list, signature }
        },
    )
}

fn source() -> impl Strategy<Value = SourceRecord> {
    let text = || ".{0,40}";
    let account = prop_oneof![Just(Account::Nobody), Just(Account::Operator), Just(Account::Buyer)];
    let usage = (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(input, output, reasoning)| DeclaredUsage {
        input,
        output,
        reasoning,
        ..DeclaredUsage::default()
    });
    (text(), text(), any::<u16>(), hash(), account, usage, (text(), text(), text()), vec(text(), 0..3)).prop_map(
        |(upstream, host, port, spki_hash, account, usage, (model_asked, model_served, request_id), tried)| SourceRecord {
            upstream,
            host,
            port,
            spki_hash,
            account,
            model_asked,
            model_served,
            request_id,
            usage,
            tried,
        },
    )
}

fn delivery() -> impl Strategy<Value = Delivery> {
    let honest = Bundle::parse(&support::read("bundle/honest.candor")).expect("a bundle").delivery;
    let numbers = (any::<u64>(), any::<u64>(), any::<u32>(), amount());
    let proofs = (vec(hash(), 0..64), prop::option::of(hash()), vec(cosignature(), 0..4), link());
    let beside = (prop::option::of(source()), prop::option::of(hash()));
    ("[a-z/0-9]{0,64}", numbers, proofs, beside, signature(), hash()).prop_map(move |(engine, numbers, proofs, beside, signature, salt)| {
        let mut delivery = honest.clone();
        (delivery.source, delivery.request_salt) = beside;
        (delivery.receipt.sequence, delivery.receipt.work.finished_at) = (numbers.0, UnixMs(numbers.1));
        delivery.decoding.engine = engine;
        (delivery.decoding.top_k, delivery.receipt.money.charged) = (numbers.2, numbers.3);
        (delivery.inclusion, delivery.seed_share, delivery.checkpoint.cosignatures, delivery.earlier_anchor) = proofs;
        (delivery.signature, delivery.leaf_salt) = (signature, salt);
        delivery
    })
}

/// RFC 9162 §2.1.1.
fn root(leaves: &[Hash32]) -> Hash32 {
    match leaves {
        [] => empty_root(),
        [one] => *one,
        many => {
            let (left, right) = many.split_at(many.len().next_power_of_two() / 2);
            node_hash(&root(left), &root(right))
        }
    }
}

/// RFC 9162 §2.1.4.1; with `old` = index and leaves up to it, its first part is also the way of §2.1.3.1.
fn subproof(old: usize, leaves: &[Hash32], whole: bool) -> Vec<Hash32> {
    if old == leaves.len() {
        return if whole { Vec::new() } else { vec![root(leaves)] };
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut proof, sibling) =
        if old <= left.len() { (subproof(old, left, whole), root(right)) } else { (subproof(old - left.len(), right, false), root(left)) };
    proof.push(sibling);
    proof
}

fn path(index: usize, leaves: &[Hash32]) -> Vec<Hash32> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut proof, sibling) =
        if index < left.len() { (path(index, left), root(right)) } else { (path(index - left.len(), right), root(left)) };
    proof.push(sibling);
    proof
}

fn leaves(count: usize) -> Vec<Hash32> {
    (0..count as u64).map(|i| leaf_hash(&i.to_be_bytes())).collect()
}

fn tree(leaves: &[Hash32]) -> Tree {
    Tree { size: leaves.len() as u64, root: root(leaves) }
}

/// The old size is bound by the proof; the new one is not, since a root does not name its number of leaves: a signature names it.
#[test]
fn a_consistency_proof_is_for_one_old_size() {
    for count in 2..=48 {
        let all = leaves(count);
        for old in 1..count {
            let proof = subproof(old, &all, true);
            for claimed in (1..=count).filter(|claimed| *claimed != old) {
                let lie = Tree { size: claimed as u64, root: root(&all[..old]) };
                assert!(verify_consistency(&lie, &tree(&all), &proof).is_err(), "{old} as {claimed} of {count}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn terms_read_back_as_written(terms in terms()) {
        prop_assert_eq!(SignedTerms::parse(&terms.encode()), Ok(terms));
    }

    #[test]
    fn a_price_list_reads_back_as_written(list in price_list()) {
        prop_assert_eq!(SignedPriceList::parse(&list.encode()), Ok(list));
    }

    #[test]
    fn a_delivery_reads_back_as_written(delivery in delivery()) {
        prop_assert_eq!(Delivery::parse(&delivery.encode()), Ok(delivery));
    }

    #[test]
    fn a_bundle_reads_back_as_written(
        texts in ("[A-Z]{0,16}", "/.{0,100}"),
        body in vec(any::<u8>(), 0..300),
        frames in vec(vec(any::<u8>(), 0..40), 0..40),
        (delivery, terms, later) in (delivery(), terms(), later_trees()),
        (value, valid_before, salt) in (amount(), any::<u64>(), prop::option::of(hash())),
        (is_sold, list) in (any::<bool>(), prop::option::of(price_list())),
    ) {
        let mut bundle = Bundle::parse(&support::read("bundle/honest.candor")).expect("a bundle");
        (bundle.request.method, bundle.request.path) = texts;
        (bundle.request.body, bundle.response.frames) = (body, frames);
        (bundle.delivery, bundle.evidence.terms, bundle.later_trees) = (delivery, terms, later);
        // The log id is not written: it is the bundle's own.
        let log_id = bundle.delivery.checkpoint.checkpoint.log_id;
        bundle.later_trees.iter_mut().for_each(|later| later.checkpoint.log_id = log_id);
        let sale = bundle.sale.as_mut().expect("it is sold");
        (sale.payment.authorization.value, sale.payment.authorization.valid_before) = (value, UnixSeconds(valid_before));
        (sale.payment.client_salt, sale.price_list) = (salt, list);
        if !is_sold {
            bundle.sale = None;
        }
        prop_assert_eq!(Bundle::parse(&bundle.encode()), Ok(bundle));
    }

    #[test]
    fn proofs_of_larger_trees_agree_with_the_recursive_definitions(count in 1..700_usize, a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>()) {
        let all = leaves(count);
        let (index, old) = (a.index(count), b.index(count) + 1);
        let included = verify_inclusion(all[index], index as u64, &path(index, &all), &tree(&all));
        prop_assert!(included.is_ok(), "{:?}", included);
        let extends = verify_consistency(&tree(&all[..old]), &tree(&all), &subproof(old, &all, true));
        prop_assert!(extends.is_ok(), "{:?}", extends);
    }

    #[test]
    fn arbitrary_proofs_are_refused_and_cost_nothing(index in any::<u64>(), size in any::<u64>(), proof in vec(hash(), 0..70)) {
        let tree = Tree { size, root: Hash32([9; 32]) };
        prop_assert!(verify_inclusion(leaf_hash(b""), index, &proof, &tree).is_err());
        let old = Tree { size: index, root: Hash32([8; 32]) };
        prop_assert!(verify_consistency(&old, &tree, &proof).is_err());
    }

    #[test]
    fn a_price_is_the_least_amount_that_covers_the_tokens(
        prompt in 0..u128::from(u64::MAX), completion in 0..u128::from(u64::MAX), request in 0..u128::from(u64::MAX),
        tokens in (0..1_000_000_u64, 0..1_000_000_u64),
    ) {
        let price =
            Classes { input: Amount(prompt), output: Amount(completion), request: Amount(request), ..Classes::default() };
        let metered = prompt * u128::from(tokens.0) + completion * u128::from(tokens.1);
        let amount = price.amount(tokens.0, tokens.1).expect("far below 2^128").0 - request;
        prop_assert!(metered <= amount * 1_000_000);
        prop_assert!(amount == 0 || (amount - 1) * 1_000_000 < metered);
    }

    #[test]
    fn a_splice_is_cut_out_again(head in "[^{}]{0,60}", member in "\"[a-z]{1,8}\":\"[A-Za-z0-9+/=]{0,80}\"") {
        let frame = format!("{{{head}}}").into_bytes();
        let spliced = splice(&frame, member.as_bytes()).expect("it ends in a brace");
        prop_assert_eq!(unsplice(&spliced), Some((frame, member.as_bytes())));
    }

    #[test]
    fn cutting_never_panics(bytes in vec(any::<u8>(), 0..80)) {
        if let Some((frame, member)) = unsplice(&bytes) {
            prop_assert_eq!(splice(&frame, member), Some(bytes.clone()));
        }
    }
}
