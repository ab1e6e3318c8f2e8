//! Builds bundles with every key in hand: the honest one, and one per lie.
//!
//! The story: operator, registrar, enclave (K_sig, K_log), payer and witness with fixed keys, one request, four frames of answer, a log
//! of six leaves of which ours is number 3. Each stage signs what the stages before it made, lie or not. Only the attestation document is
//! random (its keys are), so everything but that is the same in every run. Not here: which lie is refused by what (`cases`).

use std::cell::RefCell;
use std::collections::BTreeMap;

use candor_devtee::Hypervisor;
use candor_verify::attest::TrustRoot;
use candor_verify::bundle::{Bundle, LaterTree, Request, Response, Sale};
use candor_verify::bytes::{Address, Hash32, Signature65};
use candor_verify::checkpoint::{Checkpoint, Cosignature, Ed25519Signature};
use candor_verify::decoding::{Decoding, SeedSource, seed_commitment, seed_from_share, seed_of_server};
use candor_verify::delivery::{AnchorLink, Delivery};
use candor_verify::eip712::{K256, address_of};
use candor_verify::evidence::{Evidence, Moment, VerifiedEnclave, verify_evidence};
use candor_verify::manifest::{Freshness, Manifest, TeeKind, attested_bytes, workload_id};
use candor_verify::offer::Offer;
use candor_verify::payment::{Authorization, Payment, TokenDomain, offer_nonce};
use candor_verify::policy::{Accept, Policy, Workloads};
use candor_verify::public;
use candor_verify::receipt::{Kinds, Money, Receipt, Work};
use candor_verify::scheme::{SETTLER_FACTORY, Scheme, Through, UPTO_PROXY, settler_of};
use candor_verify::source::SourceRecord;
use candor_verify::terms::{OperatorTerms, SignedPriceList, ways};
use candor_verify::time::{UnixMs, UnixSeconds};
use candor_verify::tlog::{Tree, leaf_data, leaf_hash, node_hash};
use candor_verify::transcript::{commitment_of, request_commitment, root_of};
use ed25519_dalek::Signer as _;
use k256::ecdsa::SigningKey;

use crate::honest::{self, ASSET, greedy, sign_checkpoint, sign_terms, sold};

/// A secp256k1 key that signs digests.
#[derive(Clone, Debug)]
pub struct Key(SigningKey);

impl Key {
    /// The key whose 32 bytes are all `byte` (1 to 254).
    #[must_use]
    pub fn of(byte: u8) -> Self {
        Self(SigningKey::from_slice(&[byte; 32]).expect("a small scalar"))
    }

    /// Its EVM address.
    #[must_use]
    pub fn address(&self) -> Address {
        address_of(&self.0.verifying_key().to_sec1_point(false).as_bytes()[1..]).expect("64 bytes")
    }

    /// A low-s recoverable signature.
    #[must_use]
    pub fn sign(&self, digest: &Hash32) -> Signature65 {
        let (rs, id) = self.0.sign_prehash_recoverable(&digest.0);
        let mut out = [0; 65];
        out[..64].copy_from_slice(&rs.to_bytes());
        out[64] = 27 + id.to_byte();
        Signature65(out)
    }
}

/// A change at one stage. The default changes nothing.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "each field is the stage it changes")]
pub struct Lie {
    pub terms: fn(&mut OperatorTerms),
    pub terms_signer: u8,
    pub manifest: fn(&mut Manifest),
    pub freshness: fn(&mut Freshness),
    pub document_age_ms: u64,
    pub question: fn(&mut Request, &mut Response),
    pub offer: fn(&mut Offer),
    pub authorization: fn(&mut Authorization),
    pub decoding: fn(&mut Decoding),
    pub seed_share: fn(&mut Option<Hash32>),
    pub receipt: fn(&mut Receipt),
    pub receipt_signer: u8,
    /// A change of the honest source record, for work of an upstream; `None` for LOCAL work.
    pub source: Option<fn(&mut SourceRecord)>,
    pub checkpoint: fn(&mut Checkpoint),
    pub bundle: fn(&mut Bundle),
    /// A price list under the terms, from which the offer is made; `None` for none.
    pub price_list: Option<fn(&OperatorTerms) -> SignedPriceList>,
}

impl Default for Lie {
    fn default() -> Self {
        Self {
            terms: |_| {},
            terms_signer: OPERATOR,
            manifest: |_| {},
            freshness: |_| {},
            document_age_ms: 0,
            question: |_, _| {},
            offer: |_| {},
            authorization: |_| {},
            decoding: |_| {},
            seed_share: |_| {},
            receipt: |_| {},
            receipt_signer: K_SIG,
            source: None,
            checkpoint: |_| {},
            bundle: |_| {},
            price_list: None,
        }
    }
}

impl Lie {
    /// No lie, paid by `upto` under terms with settlers.
    #[must_use]
    pub fn metered() -> Self {
        Self {
            terms: |terms| (terms.chains[0].settler_factory, terms.chains[0].upto_proxy) = (SETTLER_FACTORY, UPTO_PROXY),
            offer: |offer| {
                (offer.scheme, offer.settler) = (Scheme::UptoPermit2, settler_of(&SETTLER_FACTORY, &Key::of(K_SIG).address()));
            },
            ..Self::default()
        }
    }

    /// No lie, under terms by which anybody gets answers, also without paying.
    #[must_use]
    pub fn free() -> Self {
        Self { terms: |terms| terms.access.ways |= ways::OPEN, ..Self::default() }
    }
}

/// Byte of the operator's key.
pub const OPERATOR: u8 = 0x11;
/// Byte of the registrar's key.
pub const REGISTRAR: u8 = 0x22;
/// Byte of K_sig's key ([`Key::of`]).
pub const K_SIG: u8 = 0x33;
pub(crate) const PAYER: u8 = 0x44;
pub(crate) const K_LOG: u8 = 0x55;
const WITNESS: u8 = 0x66;

/// Moment of the story, Unix milliseconds.
pub const NOW_MS: u64 = 1_790_000_000_000;

/// Chain of the story.
pub const CHAIN_ID: u64 = 31337;

/// What a document says: the attested bytes, and when (Unix milliseconds).
type Attested = (Vec<u8>, u64);

/// Every key of the story.
#[derive(Debug)]
pub struct Forge {
    hypervisor: Hypervisor,
    /// Documents made so far, by what they attest and when: bundles that say the same carry the same document.
    documents: RefCell<BTreeMap<Attested, Vec<u8>>>,
}

impl Forge {
    /// A forge on this software hypervisor.
    #[must_use]
    pub fn new(hypervisor: Hypervisor) -> Self {
        Self { hypervisor, documents: RefCell::default() }
    }

    /// A policy that accepts what this forge makes, and nothing else.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let root = self.hypervisor.root_fingerprint();
        Policy {
            roots: vec![TrustRoot { fingerprint: root }],
            workloads: Workloads::Only(vec![workload_id(TeeKind::Nitro, &Hash32(root), &honest::image().concatenated())]),
            operators: Accept::Only(vec![Key::of(OPERATOR).address()]),
            registries: Accept::Only(vec![(CHAIN_ID, Address([0xe1; 20]))]),
            witnesses: vec![witness_key()],
            ..Policy::default()
        }
    }

    /// A bundle with this lie in it, honest everywhere else.
    #[must_use]
    pub fn bundle(&self, lie: &Lie) -> Bundle {
        let evidence = self.evidence(lie);
        let (mut request, mut response) = (honest_request(), honest_response());
        (lie.question)(&mut request, &mut response);
        let commitment = request_commitment(&request.salt, &request.method, &request.path, &request.body);
        let share = Hash32([0x71; 32]);
        let price_list = lie.price_list.map(|list| list(&evidence.terms.terms));
        let offer = offer(&evidence, commitment, &share, price_list.as_ref(), lie);
        let client_salt = Hash32([0x72; 32]);
        let (authorization, domain) = authorization(&offer, &client_salt, lie);
        let payment =
            Payment { authorization, signature: Key::of(PAYER).sign(&authorization.digest(&domain)), client_salt: Some(client_salt) };
        let mut decoding = greedy(seed_from_share(&share, &authorization.nonce));
        (lie.decoding)(&mut decoding);
        let receipt = receipt(&evidence, &offer, &authorization, &request, &response, &decoding, lie);
        let delivery = delivery(receipt, decoding, share, lie);
        let offer_signature = Key::of(K_SIG).sign(&offer.digest());
        let sale = Some(Sale { offer, offer_signature, payment, price_list });
        let mut bundle = Bundle { evidence, request, response, sale, delivery, later_trees: vec![] };
        (lie.bundle)(&mut bundle);
        bundle
    }

    /// A bundle of the same answer for which nobody paid, with this lie in it. Honest is [`Lie::free`].
    #[must_use]
    pub fn free_bundle(&self, lie: &Lie) -> Bundle {
        let mut bundle = self.bundle(&Lie { bundle: |_| {}, receipt: |_| {}, decoding: |_| {}, ..*lie });
        let share = Hash32([0x71; 32]);
        let mut decoding = Decoding { seed_source: SeedSource::Server, ..greedy(seed_of_server(&share)) };
        (lie.decoding)(&mut decoding);
        let manifest = &bundle.evidence.manifest;
        let mut receipt = bundle.delivery.receipt.clone();
        receipt.manifest_hash = manifest.hash();
        receipt.money = Money::unpaid(manifest.anchor_chain_id, manifest.payee, &receipt.log_id, receipt.sequence);
        receipt.work.decoding_hash = decoding.struct_hash();
        (lie.receipt)(&mut receipt);
        bundle.delivery = Delivery { request_salt: Some(bundle.request.salt), ..delivery(receipt, decoding, share, lie) };
        bundle.sale = None;
        (lie.bundle)(&mut bundle);
        bundle
    }

    /// The verified enclave of evidence with this lie in it.
    ///
    /// # Panics
    /// If the policy refuses it.
    pub fn enclave(&self, lie: &Lie) -> VerifiedEnclave {
        let (verdict, enclave) = verify_evidence(&self.evidence(lie), &self.policy(), Moment::OwnTime, &K256);
        enclave.unwrap_or_else(|| panic!("{verdict:?}"))
    }

    /// Evidence with this lie in it.
    #[must_use]
    pub fn evidence(&self, lie: &Lie) -> Evidence {
        let mut terms = honest::terms();
        (lie.terms)(&mut terms);
        let boot = Manifest {
            k_sig: Key::of(K_SIG).address(),
            k_log: Hash32(ed(K_LOG).verifying_key().to_bytes()),
            tls_spki_hash: Hash32([0x81; 32]),
            booted_at: UnixSeconds(NOW_MS / 1000 - 4 * 3_600),
            ..Manifest::default()
        };
        let mut manifest = boot.under(&terms);
        (lie.manifest)(&mut manifest);
        let mut freshness = Freshness { chain_id: CHAIN_ID, block_number: 7, block_hash: Hash32([0x82; 32]), nonce: Hash32::ZERO };
        (lie.freshness)(&mut freshness);
        let user_data = attested_bytes(&manifest.k_sig, &manifest.hash(), &freshness);
        let at = NOW_MS - lie.document_age_ms;
        let document = self.document(&user_data, at);
        Evidence::nitro(document, manifest, freshness, sign_terms(terms, &Key::of(lie.terms_signer)))
    }
}

impl Forge {
    fn document(&self, user_data: &[u8], at_ms: u64) -> Vec<u8> {
        let make = || honest::document(&self.hypervisor, user_data, at_ms);
        self.documents.borrow_mut().entry((user_data.to_vec(), at_ms)).or_insert_with(make).clone()
    }
}

pub(crate) fn ed(byte: u8) -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&[byte; 32])
}

/// Public key of the story's witness.
#[must_use]
pub fn witness_key() -> Hash32 {
    Hash32(ed(WITNESS).verifying_key().to_bytes())
}

/// The same signature by arithmetic, s in the upper half: wallets and the token may take it, we do not.
#[must_use]
pub fn high_s_twin(signature: &Signature65) -> Signature65 {
    let rs = k256::ecdsa::Signature::from_slice(&signature.0[..64]).expect("a signature");
    let twin = k256::ecdsa::Signature::from_scalars(rs.r().to_bytes(), (-*rs.s()).to_bytes()).expect("its twin");
    let mut out = [0; 65];
    out[..64].copy_from_slice(&twin.to_bytes());
    out[64] = 55 - signature.0[64];
    Signature65(out)
}

/// The witness's cosignature on a bundle's checkpoint.
#[must_use]
pub fn cosign(bundle: &Bundle) -> Cosignature {
    cosign_by(bundle, WITNESS)
}

/// The same by the key of this byte.
pub(crate) fn cosign_by(bundle: &Bundle, witness: u8) -> Cosignature {
    let (time, body) = (NOW_MS / 1000, bundle.delivery.checkpoint.checkpoint.note_body());
    let key = ed(witness);
    let signature = Ed25519Signature(key.sign(Cosignature::message(UnixSeconds(time), &body).as_bytes()).to_bytes());
    Cosignature { witness: Hash32(key.verifying_key().to_bytes()), time: UnixSeconds(time), signature }
}

/// The same signature by arithmetic, with the order added to S: a reader that reduces S takes it.
pub(crate) fn beyond_the_order(signature: &Ed25519Signature) -> Ed25519Signature {
    let mut order = [0; 32];
    order[..16].copy_from_slice(&0x14de_f9de_a2f7_9cd6_5812_631a_5cf5_d3ed_u128.to_le_bytes());
    order[31] = 0x10;
    let mut out = *signature;
    let mut carry = 0;
    for (byte, more) in out.0[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(more) + carry;
        (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
    out
}

/// The bundle with the way to a tree anchored later: two more leaves, which make the log's tree complete.
#[must_use]
pub fn upgraded(mut bundle: Bundle) -> Bundle {
    let six = bundle.delivery.checkpoint.checkpoint.tree;
    let [_, pair01, pair45] = <[Hash32; 3]>::try_from(bundle.delivery.inclusion.clone()).expect("three siblings");
    let left = bundle.delivery.earlier_anchor.as_ref().map(|link| node_hash(&pair01, &link.consistency[0])).expect("it has one");
    let pair67 = node_hash(&leaf_hash(&[6; 32]), &leaf_hash(&[7; 32]));
    let tree = Tree { size: 8, root: node_hash(&left, &node_hash(&pair45, &pair67)) };
    // From 6 to 8: the last complete subtree of the six, its new sibling, and everything left of both.
    let consistency = vec![pair45, pair67, left];
    candor_verify::tlog::verify_consistency(&six, &tree, &consistency).map(|_| ()).expect("the story's log only grows");
    let checkpoint = Checkpoint { log_id: bundle.delivery.receipt.log_id, tree, timestamp: UnixMs(NOW_MS + 60_000) };
    bundle.later_trees = vec![LaterTree { checkpoint, signature: Key::of(K_SIG).sign(&checkpoint.digest()), consistency }];
    bundle
}

/// Upgrades the bundle, changes the later anchor, and has K_sig sign what came out: nothing is wrong but the tree.
pub(crate) fn upgrade_and_sign(bundle: &mut Bundle, change: fn(&mut LaterTree)) {
    *bundle = upgraded(bundle.clone());
    let later = bundle.later_trees.first_mut().expect("it is upgraded");
    change(later);
    later.signature = Key::of(K_SIG).sign(&later.checkpoint.digest());
}

/// Upgrades the bundle and changes the later anchor after K_sig signed it.
pub(crate) fn upgrade_and_alter(bundle: &mut Bundle, change: fn(&mut LaterTree)) {
    *bundle = upgraded(bundle.clone());
    change(bundle.later_trees.first_mut().expect("it is upgraded"));
}

/// The seed of a request that names this integer, as det-1.md §6 says.
pub(crate) fn integer_seed(seed: i64) -> Hash32 {
    let mut bytes = [if seed < 0 { 0xff } else { 0 }; 32];
    bytes[24..].copy_from_slice(&seed.to_be_bytes());
    Hash32(bytes)
}

pub(crate) fn honest_request() -> Request {
    Request {
        salt: Hash32([0x73; 32]),
        method: "POST".into(),
        path: "/v1/chat/completions".into(),
        body: br#"{"model":"fixture","messages":[{"role":"user","content":"What is a receipt?"}]}"#.to_vec(),
    }
}

pub(crate) fn honest_response() -> Response {
    let frames =
        ["A", " receipt", " is", " evidence."].map(|word| format!(r#"{{"choices":[{{"delta":{{"content":"{word}"}}}}]}}"#).into_bytes());
    Response { seed: Hash32([0x74; 32]), frames: frames.to_vec() }
}

fn offer(evidence: &Evidence, commitment: Hash32, share: &Hash32, price_list: Option<&SignedPriceList>, lie: &Lie) -> Offer {
    let terms = &evidence.terms.terms;
    let model_id = terms.models.first().map(|model| model.digest).unwrap_or_default();
    let ceiling = terms.prices.first().map(|price| &price.ceiling);
    let listed = price_list.and_then(|signed| signed.list.price(&model_id, CHAIN_ID, &ASSET));
    let mut offer = Offer {
        manifest_hash: evidence.manifest.hash(),
        request_commitment: commitment,
        model_id,
        scheme: Scheme::ExactEip3009,
        payee: evidence.manifest.payee,
        asset: ASSET,
        chain_id: CHAIN_ID,
        settler: Address::ZERO,
        amount: listed.or(ceiling).and_then(|classes| classes.amount(12, 64)).unwrap_or_default(),
        prompt_tokens: 12,
        max_tokens: 64,
        seed_commitment: seed_commitment(share),
        valid_until: UnixMs(NOW_MS + 120_000),
        price_list_hash: price_list.map(|signed| signed.list.digest()).unwrap_or_default(),
        price_list_number: price_list.map(|signed| signed.list.number).unwrap_or_default(),
    };
    (lie.offer)(&mut offer);
    offer
}

fn authorization(offer: &Offer, client_salt: &Hash32, lie: &Lie) -> (Authorization, TokenDomain) {
    let mut authorization = Authorization {
        through: match offer.scheme {
            Scheme::UptoPermit2 => Through::UptoProxy { spender: UPTO_PROXY, facilitator: offer.settler },
            _ => Through::Token,
        },
        from: Key::of(PAYER).address(),
        to: offer.payee,
        value: offer.amount,
        valid_after: UnixSeconds(0),
        valid_before: UnixSeconds(NOW_MS / 1000 + 300),
        nonce: offer_nonce(&offer.digest(), client_salt),
    };
    (lie.authorization)(&mut authorization);
    let domain = TokenDomain { name: "USDC".into(), version: "2".into(), chain_id: offer.chain_id, asset: offer.asset };
    (authorization, domain)
}

fn receipt(
    evidence: &Evidence,
    offer: &Offer,
    authorization: &Authorization,
    request: &Request,
    response: &Response,
    decoding: &Decoding,
    lie: &Lie,
) -> Receipt {
    let mut receipt = sold(&evidence.manifest, 3, offer, authorization);
    let frames = || response.frames.iter().map(Vec::as_slice);
    let public = public::words(&request.method, &request.path, &request.body, frames());
    receipt.work = Work {
        task_hash: public.task_hash,
        question_hash: public.question_hash,
        answer_hash: public.answer_hash,
        request_commitment: request_commitment(&request.salt, &request.method, &request.path, &request.body),
        response_commitment: commitment_of(&response.seed, frames()),
        decoding_hash: decoding.struct_hash(),
        started_at: UnixMs(NOW_MS + 1_000),
        finished_at: UnixMs(NOW_MS + 2_000),
        block_number: 9,
        block_hash: Hash32([0x83; 32]),
        ..receipt.work
    };
    if offer.scheme.is_metered() {
        let (terms, model_id) = (&evidence.terms.terms, &receipt.work.model_id);
        let list = lie.price_list.map(|list| list(terms).list);
        let listed = list.as_ref().and_then(|list| list.price(model_id, offer.chain_id, &offer.asset));
        let ceiling = terms.price(model_id, offer.chain_id, &offer.asset).map(|price| &price.ceiling);
        let metered = listed.or(ceiling).and_then(|classes| classes.amount(receipt.work.prompt_tokens, receipt.work.completion_tokens));
        receipt.money.charged = offer.scheme.charge(authorization.value, metered.unwrap_or_default());
    }
    if let Some(source) = source(lie) {
        (receipt.work.kinds, receipt.work.source_hash) = (Kinds::PROXY, source.struct_hash());
    }
    (lie.receipt)(&mut receipt);
    receipt
}

/// Where the work came from, if not from the enclave.
fn source(lie: &Lie) -> Option<SourceRecord> {
    lie.source.map(|change| {
        let mut record = honest::source_record();
        change(&mut record);
        record
    })
}

/// Leaf hashes of the story's log: the receipt at its sequence among others.
fn leaves(receipt_leaf: Hash32) -> Vec<Hash32> {
    (0..6_u8).map(|i| if i == 3 { receipt_leaf } else { leaf_hash(&[i; 32]) }).collect()
}

pub(crate) fn delivery(receipt: Receipt, decoding: Decoding, share: Hash32, lie: &Lie) -> Delivery {
    let (signature, leaf_salt) = (Key::of(lie.receipt_signer).sign(&receipt.digest()), Hash32([0x75; 32]));
    let leaves = leaves(leaf_hash(&leaf_data(&leaf_salt, &receipt.digest(), &signature).0));
    let [l0, l1, l2, l3, l4, l5] = <[Hash32; 6]>::try_from(leaves.clone()).expect("six leaves");
    let (pair01, pair45) = (node_hash(&l0, &l1), node_hash(&l4, &l5));
    // Earlier anchor of two leaves: a complete subtree, so the proof from it is its siblings on the way up.
    let earlier = AnchorLink { tree: Tree { size: 2, root: pair01 }, consistency: vec![node_hash(&l2, &l3), pair45] };
    let mut checkpoint =
        Checkpoint { log_id: receipt.log_id, tree: Tree { size: 6, root: root_of(&leaves) }, timestamp: UnixMs(NOW_MS + 2_100) };
    (lie.checkpoint)(&mut checkpoint);
    let mut seed_share = Some(share);
    (lie.seed_share)(&mut seed_share);
    Delivery {
        receipt,
        signature,
        leaf_salt,
        decoding,
        seed_share,
        source: source(lie),
        request_salt: None,
        checkpoint: sign_checkpoint(checkpoint, &Key::of(K_SIG), &ed(K_LOG)),
        inclusion: vec![l2, pair01, pair45],
        earlier_anchor: Some(earlier),
    }
}
