//! The registration: what the registrar key of an operator's terms signs, so that one boot can be registered.
//!
//! Whoever sends it to the registry can change none of it (ADR 0009). Spec: terms-and-manifest.md §1.
//! Not here: the registry, which judges it (`contracts/src/EnclaveRegistry.sol`), and who signs at a node: the host's
//! `Registrar`, on a development chain `crates/cli/src/attestor.rs`.

use crate::abi::Words;
use crate::bytes::{Address, Hash32};
use crate::eip712;
use crate::hash::keccak256;
use crate::manifest::Manifest;
use crate::terms::SignedTerms;

/// What the registrar key signs so that one boot can be registered: nobody can register in another's name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Registration {
    /// Address of K_sig.
    pub signer: Address,
    /// Manifest of the boot.
    pub manifest_hash: Hash32,
    /// Kind of evidence, as the registry numbers its verifiers: under another kind the boot would be another workload.
    pub kind: u32,
    /// keccak256 of the signed terms' CBOR, which the registry emits for clients to read. Signed for, because a registry takes a key
    /// once: with bytes of the sender's choice, whoever is first could make a boot unreadable.
    pub terms_data_hash: Hash32,
    /// Registry it is for.
    pub registry: Address,
    /// Chain of the registry.
    pub chain_id: u64,
}

impl Registration {
    /// What the registrar of `terms` signs for the boot of `manifest`.
    #[must_use]
    pub fn new(manifest: &Manifest, terms: &SignedTerms, kind: u32) -> Self {
        Self {
            signer: manifest.k_sig,
            manifest_hash: manifest.hash(),
            kind,
            terms_data_hash: keccak256(&[&terms.encode()]),
            registry: manifest.registry,
            chain_id: manifest.anchor_chain_id,
        }
    }

    /// The EIP-712 digest that the registrar signs.
    #[must_use]
    pub fn digest(&self) -> Hash32 {
        const TYPE: &str =
            "Registration(address signer,bytes32 manifestHash,uint32 kind,bytes32 termsDataHash,address registry,uint256 chainId)";
        let data = Words::new().address(&self.signer).hash(&self.manifest_hash).u64(self.kind.into()).hash(&self.terms_data_hash);
        let struct_hash = eip712::hash_struct(TYPE, &data.address(&self.registry).u64(self.chain_id));
        eip712::digest(&eip712::candor_domain(), &struct_hash)
    }
}
