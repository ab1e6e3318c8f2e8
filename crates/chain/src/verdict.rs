//! What attestors sign for `QuorumVerifier`.

use candor_verify::abi::Words;
use candor_verify::hash::keccak256;
use candor_verify::manifest::workload_id_of;
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

    /// What `QuorumVerifier` says of this verdict: kind, fingerprint of the quorum, and the inner workload as what it measured.
    #[must_use]
    pub fn workload_id(&self, threshold: u64, members: &[Address]) -> Hash32 {
        let mut sorted = members.to_vec();
        sorted.sort_unstable();
        // abi.encode(uint256, address[]): threshold, where the list begins, its length, its members.
        let list = Words::new().u64(threshold).u64(64).u64(sorted.len().try_into().unwrap_or(u64::MAX));
        let root = keccak256(&[sorted.iter().fold(list, |words, member| words.address(member)).as_slice()]);
        let inner = workload_id_of(self.inner_kind, &self.inner_root, &self.inner_measurements);
        workload_id_of(QUORUM_KIND.into(), &root, &inner)
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn hash(case: &Value, key: &str) -> Hash32 {
        Hash32::from_hex(case[key].as_str().unwrap()).unwrap()
    }

    fn address(value: &Value) -> Address {
        Address::from_hex(value.as_str().unwrap()).unwrap()
    }

    /// The same file is read by `contracts/test/Vectors.t.sol`. A quorum is a set: the order of its members says nothing.
    #[test]
    fn a_verdict_is_that_of_the_vectors() {
        let file: Value = serde_json::from_str(include_str!("../../../vectors/verdict.json")).unwrap();
        let cases = file["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 2);
        for case in cases {
            let verdict = Verdict {
                evidence_hash: keccak256(&[&candor_verify::bytes::from_hex(case["evidence"].as_str().unwrap()).unwrap()]),
                inner_kind: case["innerKind"].as_u64().unwrap(),
                inner_root: hash(case, "innerRoot"),
                inner_measurements: hash(case, "innerMeasurements"),
                attested_hash: hash(case, "attestedHash"),
                document_time: case["documentTime"].as_u64().unwrap(),
            };
            assert_eq!(verdict.digest(case["chainId"].as_u64().unwrap(), &address(&case["verifier"])), hash(case, "digest"));
            let threshold = case["threshold"].as_u64().unwrap();
            let mut members: Vec<Address> = case["members"].as_array().unwrap().iter().map(address).collect();
            assert_eq!(verdict.workload_id(threshold, &members), hash(case, "workloadId"));
            members.reverse();
            assert_eq!(verdict.workload_id(threshold, &members), hash(case, "workloadId"));
            assert_ne!(verdict.workload_id(threshold + 1, &members), hash(case, "workloadId"));
        }
    }
}
