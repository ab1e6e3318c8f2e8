//! Part three of `CandorRegistry`, and `WorkloadPolicy`: what a receipt proves to a contract, under a policy that the caller names.
//!
//! Calldata makers are pure; reads go through [`ChainClient`]. A proof is what *this endpoint* says the contract says; a contract that
//! calls it needs no endpoint.

use alloy::sol_types::{SolCall, SolValue};
use candor_verify::abi::Words;
use candor_verify::decoding::Decoding;
use candor_verify::hash::keccak256;
use candor_verify::receipt::Receipt;
use candor_verify::scheme::Scheme;
use candor_verify::time::UnixSeconds;
use candor_verify::{Address, Hash32, Signature65};

use crate::bindings::{self, CandorRegistry, WorkloadPolicy};
use crate::client::ChainClient;
use crate::convert::{address, b256, evm_address, from_words, hash, hashes, signature_bytes};
use crate::error::ChainError;
use crate::registry::Record;

/// What `prove` takes.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "complete: what `prove` takes")]
pub struct ReceiptProof {
    /// The receipt.
    pub receipt: Receipt,
    /// By K_sig.
    pub signature: Signature65,
    /// Salt of its leaf.
    pub log_salt: Hash32,
    /// Of the key.
    pub record: Record,
    /// An anchored tree, and when it was anchored.
    pub anchored: Option<(HoldingTree, UnixSeconds)>,
    /// An observed tree; where both are shown the earlier moment counts.
    pub observed: Option<HoldingTree>,
    /// Who decides what is acceptable.
    pub policy_id: Hash32,
    /// Schemes that are taken, and no others.
    pub schemes: Vec<Scheme>,
    /// Whether a paid scheme of which nothing was charged is taken.
    pub accepts_uncharged: bool,
    /// Whether an observation is taken without an anchor.
    pub accepts_observation: bool,
}

/// The place of a receipt in a tree of its log.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: what RFC 9162 asks for")]
pub struct HoldingTree {
    /// Leaves; more than the receipt's sequence number.
    pub size: u64,
    /// Inclusion path of the leaf.
    pub inclusion: Vec<Hash32>,
}

/// What the contract says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Proven {
    /// Identity of the receipt.
    pub receipt_digest: Hash32,
    /// Who signed it.
    pub k_sig: Address,
    /// Operator of that key.
    pub operator: Address,
    /// What ran, and who judged it.
    pub listed_id: Hash32,
    /// When the answer was finished.
    pub finished: UnixSeconds,
    /// By when the receipt existed.
    pub seen_at: UnixSeconds,
    /// Whether a tree that holds it is an anchor, which continues all anchors before.
    pub is_in_sequence: bool,
}

impl ReceiptProof {
    /// Calldata of `prove`, for `cast call` or a contract.
    ///
    /// # Errors
    /// `Misuse` only: our own encoding does not fit the contract's, which tests exclude.
    pub fn calldata(&self) -> Result<Vec<u8>, ChainError> {
        Ok(self.call()?.abi_encode())
    }

    fn call(&self) -> Result<CandorRegistry::proveCall, ChainError> {
        Ok(CandorRegistry::proveCall { proof: self.words()? })
    }

    fn words(&self) -> Result<bindings::ReceiptProof, ChainError> {
        Ok(bindings::ReceiptProof {
            receipt: from_words::<bindings::ReceiptWords>("receipt", &self.receipt.encode())?,
            signature: signature_bytes(&self.signature),
            logSalt: b256(&self.log_salt),
            record: (&self.record).into(),
            size: self.anchored.as_ref().map_or(0, |(tree, _)| tree.size),
            anchoredAt: self.anchored.as_ref().map_or(0, |(_, at)| at.0),
            inclusion: self.anchored.as_ref().map_or_else(Vec::new, |(tree, _)| hashes(&tree.inclusion)),
            observedSize: self.observed.as_ref().map_or(0, |tree| tree.size),
            observedInclusion: self.observed.as_ref().map_or_else(Vec::new, |tree| hashes(&tree.inclusion)),
            policyId: b256(&self.policy_id),
            schemes: self.schemes.iter().fold(0, |bits, scheme| bits | 1_u8.checked_shl(scheme.code().into()).unwrap_or(0)),
            acceptsUncharged: self.accepts_uncharged,
            acceptsObservation: self.accepts_observation,
        })
    }
}

/// Calldata of `function NAME(AnswerProof[] proofs, string answer)` of a contract that acts on a public answer, under one proof.
///
/// # Errors
/// `Misuse` for a name that is none, or as [`ReceiptProof::calldata`].
pub fn open_calldata(name: &str, proof: &ReceiptProof, decoding: &Decoding, answer: &str) -> Result<Vec<u8>, ChainError> {
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$');
    if name.is_empty() || !is_name(name) || name.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(ChainError::Misuse { what: "function", detail: format!("{name:?} is no name of a function") });
    }
    let Decoding { engine, seed, seed_source, temperature_e6, top_p_e6, top_k, max_tokens, stop_hash } = decoding;
    let decoding = bindings::Decoding {
        engine: engine.clone(),
        seed: b256(seed),
        seedSource: seed_source.code(),
        temperatureE6: *temperature_e6,
        topPE6: *top_p_e6,
        topK: *top_k,
        maxTokens: *max_tokens,
        stopHash: b256(stop_hash),
    };
    let proofs = vec![bindings::AnswerProof { receipt: proof.words()?, decoding }];
    let call = bindings::AnswerTaker::openCall { proofs, answer: answer.to_owned() };
    let arguments = bindings::AnswerTaker::openCall::SIGNATURE.strip_prefix("open").unwrap_or_default();
    let selector = keccak256(&[name.as_bytes(), arguments.as_bytes()]);
    let mut calldata = call.abi_encode();
    for (byte, selected) in calldata.iter_mut().zip(selector.0).take(4) {
        *byte = selected;
    }
    Ok(calldata)
}

/// A policy for any operator, and what it lists from the first.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: what such a policy is made with")]
pub struct NewPolicy {
    /// Who may change it; the zero address for nobody.
    pub owner: Address,
    /// Any word: a second policy of the same content has another.
    pub salt: Hash32,
    /// Seconds between a proposal and its effect.
    pub delay: u64,
    /// How many seconds a revocation may reach back.
    pub max_lookback: u64,
    /// Listed ids, each with the Unix second from which the trees count that hold its receipts.
    pub listings: Vec<(Hash32, UnixSeconds)>,
}

impl NewPolicy {
    /// keccak256(tag ‖ owner ‖ salt ‖ delay ‖ lookback ‖ mode ‖ hash of the first lists): the id says what the policy was made with.
    #[must_use]
    pub fn id(&self) -> Hash32 {
        let (_, listings, operators) = self.parts();
        let first = keccak256(&[&(listings, operators).abi_encode_params()]);
        let words = Words::new()
            .hash(&keccak256(&[b"candor/policy/1"]))
            .address(&self.owner)
            .hash(&self.salt)
            .u64(self.delay)
            .u64(self.max_lookback)
            .u64(ANY_OPERATOR.into())
            .hash(&first);
        keccak256(&[words.as_slice()])
    }

    /// Calldata of `WorkloadPolicy.create`, which anyone may send.
    #[must_use]
    pub fn calldata(&self) -> Vec<u8> {
        let (terms, listings, operators) = self.parts();
        WorkloadPolicy::createCall { terms, listings, operators }.abi_encode()
    }

    fn parts(&self) -> (bindings::PolicyTerms, Vec<bindings::FirstListing>, Vec<bindings::FirstOperator>) {
        let terms = bindings::PolicyTerms {
            owner: evm_address(&self.owner),
            salt: b256(&self.salt),
            delay: self.delay,
            maxLookback: self.max_lookback,
            operatorsMode: ANY_OPERATOR,
        };
        let listings = self.listings.iter().map(|(id, from)| bindings::FirstListing { listedId: b256(id), from: from.0 }).collect();
        (terms, listings, Vec::new())
    }
}

/// `OperatorsMode.Any`.
const ANY_OPERATOR: u8 = 0;

impl ChainClient {
    /// Where a registry looks policies up.
    ///
    /// # Errors
    /// As the transport.
    pub async fn policies_of(&self, registry: &Address) -> Result<Address, ChainError> {
        self.view(registry, &CandorRegistry::policiesCall {}).await.map(address)
    }

    /// Asks the contract to prove a receipt.
    ///
    /// # Errors
    /// `Rejected` with the reason ([`ChainError::revert`]) if it does not.
    pub async fn prove(&self, registry: &Address, proof: &ReceiptProof) -> Result<Proven, ChainError> {
        let proven = self.view(registry, &proof.call()?).await?;
        Ok(Proven {
            receipt_digest: hash(proven.receiptDigest),
            k_sig: address(proven.kSig),
            operator: address(proven.operator),
            listed_id: hash(proven.listedId),
            finished: UnixSeconds(proven.finished),
            seen_at: UnixSeconds(proven.seenAt),
            is_in_sequence: proven.inSequence,
        })
    }

    /// Gas of proving a receipt in a transaction.
    ///
    /// # Errors
    /// As [`Self::prove`].
    pub async fn prove_gas(&self, from: &Address, registry: &Address, proof: &ReceiptProof) -> Result<u64, ChainError> {
        self.estimate_gas(from, Some(registry), &proof.calldata()?).await
    }

    /// Whether a policy accepts an answer of a workload under an operator, finished and seen then.
    ///
    /// # Errors
    /// As the transport.
    pub async fn policy_accepts(
        &self,
        workload_policy: &Address,
        policy_id: &Hash32,
        record: &Record,
        finished: UnixSeconds,
        seen_at: UnixSeconds,
    ) -> Result<bool, ChainError> {
        let call = WorkloadPolicy::acceptsAtCall {
            policyId: b256(policy_id),
            listedId: b256(&record.listed_id()),
            operator_: evm_address(&record.operator),
            finished: finished.0,
            anchoredAt: seen_at.0,
        };
        self.view(workload_policy, &call).await
    }

    /// Whether somebody made this policy.
    ///
    /// # Errors
    /// As the transport.
    pub async fn policy_exists(&self, workload_policy: &Address, policy_id: &Hash32) -> Result<bool, ChainError> {
        Ok(self.view(workload_policy, &WorkloadPolicy::policyCall { policyId: b256(policy_id) }).await?.exists)
    }
}
