//! `EnclaveRegistry`: who is registered, their evidence from the events, and the calls that register and renew.
//!
//! Everything read here is as the endpoint says; evidence is believed only after `candor-verify` has verified it. The registry checks
//! that evidence is genuine and fresh, never that anyone should accept it.

use alloy::primitives::Bytes;
use alloy::rpc::types::{Filter, Log};
use alloy::sol_types::{SolCall, SolEvent};
use candor_verify::hash::keccak256;
use candor_verify::manifest::{Freshness, Manifest};
use candor_verify::policy::EnclaveStatus;
use candor_verify::terms::SignedTerms;
use candor_verify::time::UnixSeconds;
use candor_verify::{Address, Hash32, Signature65};

use crate::bindings::{self, EnclaveRegistry};
use crate::client::ChainClient;
use crate::convert::{address, b256, evm_address, freshness, from_words, hash, manifest, registry_freshness, signature_bytes};
use crate::error::ChainError;

/// Entries read at most by [`ChainClient::enclaves`]; a registry with more is read in pages.
const PAGE: u64 = 256;

/// Blocks per `eth_getLogs`, below the limit of every provider we know.
pub(crate) const LOG_RANGE: u64 = 2_000;

/// What the registry keeps about a key. Times in Unix seconds.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct EnclaveRecord {
    /// The key.
    pub k_sig: Address,
    /// Its log.
    pub log_id: Hash32,
    /// Start of its first period of validity.
    pub valid_from: UnixSeconds,
    /// End of the current period.
    pub valid_until: UnixSeconds,
    /// From here on nothing counts; `None` while the key is good.
    pub invalid_from: Option<u64>,
    /// What runs: kind, root and measurements in one hash.
    pub workload_id: Hash32,
    /// Manifest hash.
    pub manifest_hash: Hash32,
    /// keccak256 of the newest evidence.
    pub evidence_hash: Hash32,
    /// Operator.
    pub operator: Address,
    /// Payee.
    pub payee: Address,
    /// Block of the registration; its event is there.
    pub registered_block: u64,
    /// Kind of evidence.
    pub kind: u32,
}

/// A registration as its event shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Registered {
    /// The key.
    pub k_sig: Address,
    /// Keys and promises.
    pub manifest: Manifest,
    /// The attestation document.
    pub document: Vec<u8>,
    /// Preimage of the freshness tag.
    pub freshness: Freshness,
    /// The terms' CBOR, as the submitter sent it: believe it only if its digest is the manifest's terms hash.
    pub terms_data: Vec<u8>,
    /// By the operator over the terms.
    pub operator_signature: Vec<u8>,
    /// Block of the event.
    pub block_number: u64,
}

/// Newer evidence of a registered key.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Renewal {
    /// The attestation document.
    pub document: Vec<u8>,
    /// Preimage of the freshness tag.
    pub freshness: Freshness,
    /// Block of the event.
    pub block_number: u64,
}

/// Everything that a registration needs.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "complete: what `register` takes")]
pub struct Submission {
    /// Kind of evidence, as the registry numbers its verifiers.
    pub kind: u32,
    /// The attestation document.
    pub document: Vec<u8>,
    /// For the verifier of this kind, for example [`crate::Verdict::verifier_data`].
    pub verifier_data: Vec<u8>,
    /// Keys and promises.
    pub manifest: Manifest,
    /// Preimage of the freshness tag.
    pub freshness: Freshness,
    /// The terms and the operator's signature.
    pub terms: SignedTerms,
    /// By K_sig over `Boot`.
    pub boot_signature: Signature65,
    /// Until when the registrar's signature is good.
    pub deadline: UnixSeconds,
    /// By the registrar over `Registration`.
    pub registrar_signature: Signature65,
}

impl Submission {
    /// Calldata of `register`.
    ///
    /// # Errors
    /// `Misuse` only: our own encodings do not fit the contract's, which tests exclude.
    pub fn calldata(&self) -> Result<Vec<u8>, ChainError> {
        let submission = bindings::Submission {
            kind: self.kind,
            evidence: Bytes::copy_from_slice(&self.document),
            verifierData: Bytes::copy_from_slice(&self.verifier_data),
            manifest: from_words::<bindings::Manifest>("manifest", &self.manifest.encode())?,
            freshness: registry_freshness(&self.freshness),
            terms: from_words::<bindings::Terms>("terms", self.terms.terms.words().as_slice())?,
            operatorSignature: signature_bytes(&self.terms.signature),
            bootSignature: signature_bytes(&self.boot_signature),
            deadline: self.deadline.0,
            registrarSignature: signature_bytes(&self.registrar_signature),
            termsData: self.terms.encode().into(),
        };
        Ok(EnclaveRegistry::registerCall { s: submission }.abi_encode())
    }
}

/// Calldata of `renew`.
#[must_use]
pub fn renew_calldata(k_sig: &Address, document: &[u8], verifier_data: &[u8], freshness: &Freshness) -> Vec<u8> {
    EnclaveRegistry::renewCall {
        kSig: evm_address(k_sig),
        evidence: Bytes::copy_from_slice(document),
        verifierData: Bytes::copy_from_slice(verifier_data),
        freshness: registry_freshness(freshness),
    }
    .abi_encode()
}

impl ChainClient {
    /// Keys in order of registration, from the `start`-th on, at most 256 of them.
    ///
    /// # Errors
    /// As the transport.
    pub async fn enclaves(&self, registry: &Address, start: u64) -> Result<Vec<Address>, ChainError> {
        let count = self.enclave_count(registry).await?;
        let mut keys = Vec::new();
        for index in start..count.min(start.saturating_add(PAGE)) {
            keys.push(self.enclave_at(registry, index).await?);
        }
        Ok(keys)
    }

    /// How many keys were ever registered.
    ///
    /// # Errors
    /// As the transport.
    pub async fn enclave_count(&self, registry: &Address) -> Result<u64, ChainError> {
        let count = self.view(registry, &EnclaveRegistry::enclaveCountCall {}).await?;
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }

    /// The key that was registered as the `index`-th, from zero.
    ///
    /// # Errors
    /// As the transport; `Rejected` if there are fewer.
    pub async fn enclave_at(&self, registry: &Address, index: u64) -> Result<Address, ChainError> {
        self.view(registry, &EnclaveRegistry::enclaveAtCall { index: alloy::primitives::U256::from(index) }).await.map(address)
    }

    /// What the registry keeps about a key; `None` if it is not registered.
    ///
    /// # Errors
    /// As the transport.
    pub async fn enclave(&self, registry: &Address, k_sig: &Address) -> Result<Option<EnclaveRecord>, ChainError> {
        let e = self.view(registry, &EnclaveRegistry::enclaveCall { kSig: evm_address(k_sig) }).await?;
        Ok((e.registeredBlock != 0).then(|| EnclaveRecord {
            k_sig: *k_sig,
            log_id: hash(e.logId),
            valid_from: UnixSeconds(e.validFrom),
            valid_until: UnixSeconds(e.validUntil),
            invalid_from: (e.invalidFrom != 0).then_some(e.invalidFrom),
            workload_id: hash(e.workloadId),
            manifest_hash: hash(e.manifestHash),
            evidence_hash: hash(e.evidenceHash),
            operator: address(e.operator),
            payee: address(e.payee),
            registered_block: e.registeredBlock,
            kind: e.kind,
        }))
    }

    /// Where a key stands at `time` (Unix seconds).
    ///
    /// # Errors
    /// As the transport.
    pub async fn status_at(&self, registry: &Address, k_sig: &Address, time: UnixSeconds) -> Result<EnclaveStatus, ChainError> {
        let call = EnclaveRegistry::statusAtCall { kSig: evm_address(k_sig), time: time.0 };
        match self.view(registry, &call).await? {
            0 => Ok(EnclaveStatus::Unregistered),
            1 => Ok(EnclaveStatus::NotYetValid),
            2 => Ok(EnclaveStatus::Valid),
            3 => Ok(EnclaveStatus::Lapsed),
            4 => Ok(EnclaveStatus::Invalid),
            got => Err(ChainError::Malformed { what: "statusAt", detail: format!("status {got}") }),
        }
    }

    /// The registration event of a key, which is in the block that the registry remembers.
    ///
    /// # Errors
    /// `Malformed` if the event is not there or unreadable.
    pub async fn registered(&self, registry: &Address, record: &EnclaveRecord) -> Result<Registered, ChainError> {
        let what = "Registered event";
        let block = record.registered_block;
        let filter =
            registry_filter(registry, EnclaveRegistry::Registered::SIGNATURE_HASH, &record.k_sig).from_block(block).to_block(block);
        let logs = self.logs(&filter).await?;
        let decoded = logs.iter().find_map(|log| decode::<EnclaveRegistry::Registered>(registry, log, |e| e.kSig, &record.k_sig));
        let event = decoded.ok_or(ChainError::Malformed { what, detail: format!("none in block {block}") })?;
        Ok(Registered {
            k_sig: record.k_sig,
            manifest: manifest(&event.manifest)?,
            document: event.evidence.to_vec(),
            freshness: freshness(&event.freshness)?,
            terms_data: event.termsData.to_vec(),
            operator_signature: event.operatorSignature.to_vec(),
            block_number: block,
        })
    }

    /// The newest renewal of a key: the one whose document has the hash that the registry keeps. `None` if it was never renewed.
    ///
    /// # Errors
    /// `Malformed` if the registry names a document that no event shows.
    pub async fn newest_renewal(
        &self,
        registry: &Address,
        record: &EnclaveRecord,
        registered: &Registered,
    ) -> Result<Option<Renewal>, ChainError> {
        if keccak256(&[&registered.document]) == record.evidence_hash {
            return Ok(None);
        }
        // Backwards from the head: the newest is what is asked for, and a lapsed key's last is not far from its end either.
        let mut to = self.head().await?.number;
        while record.registered_block <= to {
            let from = to.saturating_sub(LOG_RANGE - 1).max(record.registered_block);
            let filter = registry_filter(registry, EnclaveRegistry::Renewed::SIGNATURE_HASH, &record.k_sig).from_block(from).to_block(to);
            let logs = self.logs(&filter).await?;
            for log in logs.iter().rev() {
                let Some(event) = decode::<EnclaveRegistry::Renewed>(registry, log, |e| e.kSig, &record.k_sig) else { continue };
                if keccak256(&[&event.evidence]) == record.evidence_hash {
                    let block_number = log.block_number.unwrap_or(to);
                    return Ok(Some(Renewal { document: event.evidence.to_vec(), freshness: freshness(&event.freshness)?, block_number }));
                }
            }
            let Some(before) = from.checked_sub(1) else { break };
            to = before;
        }
        Err(ChainError::Malformed { what: "Renewed event", detail: format!("none for the evidence {:#}", record.evidence_hash) })
    }

    /// The anchors' contract of a registry.
    ///
    /// # Errors
    /// As the transport.
    pub async fn log_anchor_of(&self, registry: &Address) -> Result<Address, ChainError> {
        self.view(registry, &EnclaveRegistry::logAnchorCall {}).await.map(address)
    }

    /// The key whose log this is; `None` if it is of nobody here.
    ///
    /// # Errors
    /// As the transport.
    pub async fn signer_of(&self, registry: &Address, log_id: &Hash32) -> Result<Option<Address>, ChainError> {
        let k_sig = self.view(registry, &EnclaveRegistry::signerOfCall { logId: b256(log_id) }).await.map(address)?;
        Ok((!k_sig.is_zero()).then_some(k_sig))
    }

    /// The log that continues this one; `None` if none does.
    ///
    /// # Errors
    /// As the transport.
    pub async fn successor_of(&self, registry: &Address, log_id: &Hash32) -> Result<Option<Hash32>, ChainError> {
        let successor = self.view(registry, &EnclaveRegistry::successorOfCall { logId: b256(log_id) }).await.map(hash)?;
        Ok((!successor.is_zero()).then_some(successor))
    }
}

fn registry_filter(registry: &Address, event: alloy::primitives::B256, k_sig: &Address) -> Filter {
    Filter::new().address(evm_address(registry)).event_signature(event).topic1(evm_address(k_sig))
}

/// An event of this registry about this key; a node that ignores the filter must not slip in another.
fn decode<E: SolEvent>(registry: &Address, log: &Log, key_of: impl Fn(&E) -> alloy::primitives::Address, k_sig: &Address) -> Option<E> {
    if log.address() != evm_address(registry) {
        return None;
    }
    let event = E::decode_log_data_validate(log.data()).ok()?;
    (key_of(&event) == evm_address(k_sig)).then_some(event)
}
