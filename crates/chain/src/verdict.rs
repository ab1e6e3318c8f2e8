//! What attestors sign for `QuorumVerifier`.

use candor_verify::abi::Words;
use candor_verify::{Address, Hash32, Signature65, eip712};

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
    /// When the document was made, by its own signed time.
    pub document_time: u64,
}

const VERDICT_TYPE: &str =
    "Verdict(bytes32 evidenceHash,uint256 innerKind,bytes32 innerRoot,bytes32 innerMeasurements,bytes32 attestedHash,uint64 documentTime)";

impl Verdict {
    fn words(&self) -> Words {
        Words::new()
            .hash(&self.evidence_hash)
            .u64(self.inner_kind)
            .hash(&self.inner_root)
            .hash(&self.inner_measurements)
            .hash(&self.attested_hash)
            .u64(self.document_time)
    }

    /// The EIP-712 digest that a member signs, for one `QuorumVerifier` on one chain.
    #[must_use]
    pub fn digest(&self, chain_id: u64, quorum_verifier: &Address) -> Hash32 {
        let domain = eip712::contract_domain("Candor Attestor", "2", chain_id, quorum_verifier);
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

/// The number of the quorum kind in workload ids.
pub const QUORUM_KIND: u32 = 0x51;
