//! What attestors sign for `QuorumVerifier`.

use candor_verify::abi::Words;
use candor_verify::hash::keccak256;
use candor_verify::{Address, Hash32, Signature65, eip712, tags};

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

    /// What `QuorumVerifier` says of this verdict: kind, fingerprint of the quorum, and the inner workload as what it measured.
    #[must_use]
    pub fn workload_id(&self, threshold: u64, members: &[Address]) -> Hash32 {
        let mut sorted = members.to_vec();
        sorted.sort_unstable();
        // abi.encode(uint256, address[]): threshold, where the list begins, its length, its members.
        let list = Words::new().u64(threshold).u64(64).u64(sorted.len().try_into().unwrap_or(u64::MAX));
        let root = keccak256(&[sorted.iter().fold(list, |words, member| words.address(member)).as_slice()]);
        let workload = |kind: u64, root: &Hash32, measured: &Hash32| {
            keccak256(&[Words::new().hash(&keccak256(&[tags::WORKLOAD])).u64(kind).hash(root).hash(measured).as_slice()])
        };
        workload(QUORUM_KIND.into(), &root, &workload(self.inner_kind, &self.inner_root, &self.inner_measurements))
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
