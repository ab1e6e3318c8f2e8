//! The smaller contracts: `LogAnchor`, `ReceiptVerifier`, `WorkloadPolicy`, and the quorum verifier's verdict.
//!
//! Calldata makers are pure; reads go through [`ChainClient`]. A proof by `ReceiptVerifier` is what *this endpoint* says the contract
//! says; a contract that calls it needs no endpoint.

use alloy::rpc::types::Filter;
use alloy::sol_types::{SolCall, SolEvent};
use candor_verify::abi::Words;
use candor_verify::checkpoint::SignedCheckpoint;
use candor_verify::hash::keccak256;
use candor_verify::receipt::Receipt;
use candor_verify::time::UnixSeconds;
use candor_verify::{Address, Hash32, Signature65, eip712};

use crate::bindings::{self, LogAnchor, ReceiptVerifier, WorkloadPolicy};
use crate::client::ChainClient;
use crate::convert::{address, b256, evm_address, from_words, hash, hashes, signature_bytes};
use crate::error::ChainError;
use crate::registry::LOG_RANGE;

/// An anchored tree of a log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: what the contract keeps")]
pub struct Anchor {
    /// Leaves.
    pub size: u64,
    /// Root.
    pub root: Hash32,
    /// Block time in Unix seconds.
    pub anchored_at: UnixSeconds,
}

/// Calldata of `LogAnchor.anchor`.
#[must_use]
pub fn anchor_calldata(signed: &SignedCheckpoint, consistency: &[Hash32]) -> Vec<u8> {
    let c = &signed.checkpoint;
    LogAnchor::anchorCall {
        checkpoint: bindings::Checkpoint { logId: b256(&c.log_id), size: c.tree.size, root: b256(&c.tree.root), timestamp: c.timestamp.0 },
        signature: signature_bytes(&signed.signature),
        consistency: hashes(consistency),
    }
    .abi_encode()
}

/// What `ReceiptVerifier.prove` takes.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "complete: what `prove` takes")]
pub struct ProveRequest {
    /// The receipt.
    pub receipt: Receipt,
    /// By K_sig.
    pub signature: Signature65,
    /// Salt of its leaf.
    pub log_salt: Hash32,
    /// An anchored size above its sequence number.
    pub anchored_size: u64,
    /// Inclusion path in that tree.
    pub inclusion: Vec<Hash32>,
    /// Who decides what is acceptable.
    pub policy_id: Hash32,
}

/// What the contract says beyond the receipt's own words.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Proven {
    /// Identity of the receipt.
    pub receipt_digest: Hash32,
    /// Who signed it.
    pub k_sig: Address,
    /// Operator of that key.
    pub operator: Address,
    /// What runs.
    pub workload_id: Hash32,
    /// Kind of evidence.
    pub kind: u32,
    /// Unix seconds by which the receipt existed.
    pub anchored_at: UnixSeconds,
}

impl ProveRequest {
    /// Calldata of `ReceiptVerifier.prove`, for `cast call` or a contract.
    ///
    /// # Errors
    /// `Misuse` only: our own encoding does not fit the contract's, which tests exclude.
    pub fn calldata(&self) -> Result<Vec<u8>, ChainError> {
        Ok(self.call()?.abi_encode())
    }

    fn call(&self) -> Result<ReceiptVerifier::proveCall, ChainError> {
        Ok(ReceiptVerifier::proveCall {
            receipt: from_words::<bindings::ReceiptWords>("receipt", &self.receipt.encode())?,
            signature: signature_bytes(&self.signature),
            logSalt: b256(&self.log_salt),
            anchoredSize: self.anchored_size,
            inclusion: hashes(&self.inclusion),
            policyId: b256(&self.policy_id),
        })
    }
}

/// What an attestor of the quorum kind signs about evidence that it verified. Times in Unix seconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: the contract's Verdict")]
pub struct Verdict {
    /// keccak256 of the document.
    pub evidence_hash: Hash32,
    /// Kind of the document in workload ids.
    pub inner_kind: u64,
    /// Fingerprint of its root.
    pub inner_root: Hash32,
    /// keccak256 of its measurements.
    pub inner_measurements: Hash32,
    /// keccak256 of the 64 attested bytes.
    pub attested_hash: Hash32,
    /// When the document was made.
    pub document_time: u64,
    /// Until when it counts.
    pub valid_until: UnixSeconds,
}

const VERDICT_TYPE: &str = "Verdict(bytes32 evidenceHash,uint256 innerKind,bytes32 innerRoot,bytes32 innerMeasurements,bytes32 attestedHash,uint64 documentTime,uint64 validUntil)";

impl Verdict {
    fn words(&self) -> Words {
        Words::new()
            .hash(&self.evidence_hash)
            .u64(self.inner_kind)
            .hash(&self.inner_root)
            .hash(&self.inner_measurements)
            .hash(&self.attested_hash)
            .u64(self.document_time)
            .u64(self.valid_until.0)
    }

    /// The EIP-712 digest that a member signs, for one `QuorumVerifier` on one chain.
    #[must_use]
    pub fn digest(&self, chain_id: u64, quorum_verifier: &Address) -> Hash32 {
        let domain = eip712::contract_domain("Candor Attestor", "1", chain_id, quorum_verifier);
        eip712::digest(&domain, &eip712::hash_struct(VERDICT_TYPE, &self.words()))
    }

    /// The verifier data of a submission: the verdict's words, then signatures by ascending signer.
    #[must_use]
    pub fn verifier_data(&self, signatures: &[Signature65]) -> Vec<u8> {
        let mut data = self.words().into_vec();
        for signature in signatures {
            data.extend_from_slice(&signature.0);
        }
        data
    }
}

/// The registry's number of the quorum kind.
pub const QUORUM_KIND: u32 = 0x51;

/// keccak256(abi.encode(owner, salt)): the policy that `owner` makes with `salt`.
#[must_use]
pub fn policy_id(owner: &Address, salt: &Hash32) -> Hash32 {
    keccak256(&[Words::new().address(owner).hash(salt).as_slice()])
}

/// Calldata of `WorkloadPolicy.create`; `delay_s` is zero for development only.
#[must_use]
pub fn create_policy_calldata(salt: &Hash32, delay_s: u64) -> Vec<u8> {
    WorkloadPolicy::createCall { salt: b256(salt), delay: delay_s }.abi_encode()
}

/// Calldata of `WorkloadPolicy.proposeWorkload`.
#[must_use]
pub fn propose_workload_calldata(policy_id: &Hash32, workload_id: &Hash32) -> Vec<u8> {
    WorkloadPolicy::proposeWorkloadCall { policyId: b256(policy_id), workloadId: b256(workload_id) }.abi_encode()
}

impl ChainClient {
    /// The largest anchor of a log; `None` if it has none.
    ///
    /// # Errors
    /// As the transport.
    pub async fn latest_anchor(&self, log_anchor: &Address, log_id: &Hash32) -> Result<Option<Anchor>, ChainError> {
        let latest = self.view(log_anchor, &LogAnchor::latestCall { logId: b256(log_id) }).await?;
        let anchor = Anchor { size: latest.size, root: hash(latest.root), anchored_at: UnixSeconds(latest.anchoredAt) };
        Ok((anchor.anchored_at != UnixSeconds(0)).then_some(anchor))
    }

    /// The anchor at exactly this size; `None` if there is none.
    ///
    /// # Errors
    /// As the transport.
    pub async fn anchor_at(&self, log_anchor: &Address, log_id: &Hash32, size: u64) -> Result<Option<Anchor>, ChainError> {
        let found = self.view(log_anchor, &LogAnchor::rootAtCall { logId: b256(log_id), size }).await?;
        let anchor = Anchor { size, root: hash(found.root), anchored_at: UnixSeconds(found.anchoredAt) };
        Ok((anchor.anchored_at != UnixSeconds(0)).then_some(anchor))
    }

    /// Every anchor of a log, smallest first, from the contract's events since `from_block`. The contract's own word for the largest is
    /// the cross-check: an endpoint that forgets events is an error, and not a log with fewer anchors.
    ///
    /// # Errors
    /// As the transport; `Malformed` if the events do not end in the largest anchor.
    pub async fn anchors(&self, log_anchor: &Address, log_id: &Hash32, from_block: u64) -> Result<Vec<Anchor>, ChainError> {
        let filter = Filter::new().address(evm_address(log_anchor)).event_signature(LogAnchor::Anchored::SIGNATURE_HASH);
        let filter = filter.topic1(b256(log_id));
        let latest = self.latest_anchor(log_anchor, log_id).await?;
        let (head, mut from) = (self.head().await?.number, from_block);
        let mut anchors = Vec::new();
        while from <= head {
            let to = from.saturating_add(LOG_RANGE - 1).min(head);
            for log in self.logs(&filter.clone().from_block(from).to_block(to)).await? {
                // A node that ignores the filter must not slip in another.
                let Ok(event) = LogAnchor::Anchored::decode_log_data_validate(log.data()) else { continue };
                if log.address() == evm_address(log_anchor) && event.logId == b256(log_id) {
                    anchors.push(Anchor { size: event.size, root: hash(event.root), anchored_at: UnixSeconds(event.anchoredAt) });
                }
            }
            from = to.saturating_add(1);
        }
        // One may be newer than what the contract said before: it grows while we read.
        match latest {
            Some(latest) if !anchors.contains(&latest) => Err(ChainError::Malformed {
                what: "Anchored events",
                detail: format!("expected one for size {}, the endpoint shows {} others", latest.size, anchors.len()),
            }),
            _ => Ok(anchors),
        }
    }

    /// Timestamp (Unix milliseconds by the enclave's clock) and K_sig's signature of the checkpoint of this anchor, from the contract's
    /// event; `None` if the endpoint does not show it (yet).
    ///
    /// # Security
    /// As the endpoint says: believe it only after checking the signature.
    ///
    /// # Errors
    /// As the transport; `Malformed` if the event's signature is not 65 bytes.
    pub async fn anchored_checkpoint(
        &self,
        log_anchor: &Address,
        log_id: &Hash32,
        anchor: &Anchor,
    ) -> Result<Option<(u64, Signature65)>, ChainError> {
        let size = anchor.size;
        let filter = Filter::new().address(evm_address(log_anchor)).event_signature(LogAnchor::Anchored::SIGNATURE_HASH);
        let filter = filter.topic1(b256(log_id)).topic3(alloy::primitives::U256::from(size));
        let mut to = self.head().await?.number;
        loop {
            let from = to.saturating_sub(LOG_RANGE - 1);
            for log in self.logs(&filter.clone().from_block(from).to_block(to)).await? {
                // A node that ignores the filter must not slip in another.
                let Ok(event) = LogAnchor::Anchored::decode_log_data_validate(log.data()) else { continue };
                if log.address() != evm_address(log_anchor) || event.logId != b256(log_id) || event.size != size {
                    continue;
                }
                let malformed =
                    || ChainError::Malformed { what: "Anchored event", detail: format!("{} signature bytes", event.signature.len()) };
                let signature = <[u8; 65]>::try_from(event.signature.as_ref()).map_err(|_| malformed())?;
                return Ok(Some((event.timestamp, Signature65(signature))));
            }
            // Blocks before the anchor's cannot have its event.
            let is_before = self.block_by_number(from).await?.is_none_or(|block| block.timestamp < anchor.anchored_at);
            match from.checked_sub(1) {
                Some(before) if !is_before => to = before,
                _ => return Ok(None),
            }
        }
    }

    /// Asks the contract to prove a receipt.
    ///
    /// # Errors
    /// `Rejected` with the reason ([`ChainError::revert`]) if it does not.
    pub async fn prove(&self, receipt_verifier: &Address, request: &ProveRequest) -> Result<Proven, ChainError> {
        let proven = self.view(receipt_verifier, &request.call()?).await?;
        Ok(Proven {
            receipt_digest: hash(proven.receiptDigest),
            k_sig: address(proven.kSig),
            operator: address(proven.operator),
            workload_id: hash(proven.workloadId),
            kind: proven.kind,
            anchored_at: UnixSeconds(proven.anchoredAt),
        })
    }

    /// Gas of proving a receipt in a transaction.
    ///
    /// # Errors
    /// As [`Self::prove`].
    pub async fn prove_gas(&self, from: &Address, receipt_verifier: &Address, request: &ProveRequest) -> Result<u64, ChainError> {
        self.estimate_gas(from, Some(receipt_verifier), &request.calldata()?).await
    }

    /// Whether a policy accepts a workload under an operator now.
    ///
    /// # Errors
    /// As the transport.
    pub async fn policy_accepts(
        &self,
        workload_policy: &Address,
        policy_id: &Hash32,
        workload_id: &Hash32,
        operator: &Address,
    ) -> Result<bool, ChainError> {
        let call =
            WorkloadPolicy::acceptsCall { policyId: b256(policy_id), workloadId: b256(workload_id), operator: evm_address(operator) };
        self.view(workload_policy, &call).await
    }

    /// Owner of a policy; `None` if it does not exist.
    ///
    /// # Errors
    /// As the transport.
    pub async fn policy_owner(&self, workload_policy: &Address, policy_id: &Hash32) -> Result<Option<Address>, ChainError> {
        let policy = self.view(workload_policy, &WorkloadPolicy::policyCall { policyId: b256(policy_id) }).await?;
        let owner = address(policy.owner);
        Ok((!owner.is_zero()).then_some(owner))
    }
}
