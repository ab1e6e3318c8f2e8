//! The registration: what the registrar key of an operator's terms signs, so that one boot can be registered; and what the operator signs
//! to end its key.
//!
//! Whoever sends it to the registry can change none of it (ADR 0009). Spec: terms-and-manifest.md §1.
//! Not here: the registry, which judges it (`contracts/src/registry/Keys.sol`), and who signs at a node: the host's
//! `Registrar`, on a development chain `crates/cli/src/attestor.rs`.

use crate::abi::Words;
use crate::bytes::{Address, Hash32};
use crate::eip712;
use crate::hash::keccak256;
use crate::manifest::Manifest;
use crate::terms::SignedTerms;
use crate::time::UnixSeconds;

/// What the registrar key signs so that one boot can be registered: nobody can register in another's name, nor through another verifier.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Registration {
    /// Address of K_sig.
    pub k_sig: Address,
    /// Manifest of the boot.
    pub manifest_hash: Hash32,
    /// Contract that judges the evidence: through another one the boot would be another workload.
    pub verifier: Address,
    /// What it must judge the boot to be. Signed for, because any genuine enclave can name this key and manifest in evidence of its own: whoever is
    /// first with that would register the key as other code.
    pub workload_id: Hash32,
    /// keccak256 of the signed terms' CBOR, which the registry emits for clients to read. Signed for, because a registry takes a key
    /// once: with bytes of the sender's choice, whoever is first could make a boot unreadable.
    pub terms_data_hash: Hash32,
    /// Registry it is for.
    pub registry: Address,
    /// Chain of the registry.
    pub chain_id: u64,
    /// Unix seconds after which this signature registers nothing. Another one may be made: it bounds the signature, not the boot.
    pub deadline: UnixSeconds,
}

/// How long a registrar's signature is good, in seconds.
pub const REGISTRATION_SECONDS: u64 = 3_600;

impl Registration {
    /// What the registrar of `terms` signs for the boot of `manifest`, to be judged by this contract to be this workload.
    #[must_use]
    pub fn new(manifest: &Manifest, terms: &SignedTerms, verifier: Address, workload_id: Hash32, deadline: UnixSeconds) -> Self {
        Self {
            k_sig: manifest.k_sig,
            manifest_hash: manifest.hash(),
            verifier,
            workload_id,
            terms_data_hash: keccak256(&[&terms.encode()]),
            registry: manifest.registry,
            chain_id: manifest.anchor_chain_id,
            deadline,
        }
    }

    /// The EIP-712 digest that the registrar signs.
    #[must_use]
    pub fn digest(&self) -> Hash32 {
        const TYPE: &str = "Registration(address kSig,bytes32 manifestHash,address verifier,bytes32 workloadId,bytes32 termsDataHash,address registry,uint256 chainId,uint64 deadline)";
        let data = Words::new().address(&self.k_sig).hash(&self.manifest_hash).address(&self.verifier);
        let data = data.hash(&self.workload_id).hash(&self.terms_data_hash).address(&self.registry).u64(self.chain_id).u64(self.deadline.0);
        eip712::digest(&eip712::candor_domain(), &eip712::hash_struct(TYPE, &data))
    }
}

/// How an operator ends a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: with notice, or at once")]
pub enum End {
    /// Ordinary: receipts that are finished after a notice are invalid.
    Retire,
    /// The key is stolen: nothing counts that is not anchored or observed yet.
    Revoke,
}

impl End {
    /// The EIP-712 digest that the operator signs.
    #[must_use]
    pub fn digest(self, k_sig: &Address, registry: &Address, chain_id: u64) -> Hash32 {
        let type_string = match self {
            Self::Retire => "Retire(address kSig,address registry,uint256 chainId)",
            Self::Revoke => "Revoke(address kSig,address registry,uint256 chainId)",
        };
        let data = Words::new().address(k_sig).address(registry).u64(chain_id);
        eip712::digest(&eip712::candor_domain(), &eip712::hash_struct(type_string, &data))
    }
}
