//! The manifest: every key and promise of one boot, in nineteen words that the attestation commits to.
//!
//! Its keccak256 sits in the attested 64 bytes beside K_sig and a freshness tag, so one hardware signature covers it all. Lists enter
//! as digests; the lists themselves are in the operator terms, which travel with the evidence. Spec: terms-and-manifest.md §2-3.
//! Not here: the attestation formats (`attest`) and what is acceptable (`policy`).

use alloc::vec::Vec;

use crate::VERSION;
use crate::abi::{AbiError, WordReader, Words};
use crate::bytes::{Address, Hash32};
use crate::eip712::{self, Structured, TypedStruct};
use crate::hash::{keccak256, sha256, whole};
use crate::tags;
use crate::terms::OperatorTerms;
use crate::time::UnixSeconds;

/// Keys and promises of one boot.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Manifest {
    /// Address of K_sig (secp256k1), which signs receipts, offers and checkpoints.
    pub k_sig: Address,
    /// K_log (Ed25519 public key), which signs C2SP notes.
    pub k_log: Hash32,
    /// K_hpke (X25519 public key) for sealed requests; zero if this node offers none.
    pub k_hpke: Hash32,
    /// SHA-256 of the SubjectPublicKeyInfo of the TLS key.
    pub tls_spki_hash: Hash32,
    /// [`keys_hash`] of the list of further keys; zero if the list is empty.
    pub keys_hash: Hash32,
    /// EIP-712 digest of the operator terms.
    pub terms_hash: Hash32,
    /// Who signed the terms.
    pub operator: Address,
    /// Who is paid.
    pub payee: Address,
    /// Registry of the boot.
    pub registry: Address,
    /// Chain of registry and anchors.
    pub anchor_chain_id: u64,
    /// Digest of the contracts by chain.
    pub contracts_hash: Hash32,
    /// Digest of the models.
    pub model_set_root: Hash32,
    /// Digest of the prices.
    pub price_table_hash: Hash32,
    /// Log of the boot before; zero for a first or an additional node.
    pub predecessor_log: Hash32,
    /// An anchored size of that log; zero without one.
    pub predecessor_size: u64,
    /// Its root; zero without one.
    pub predecessor_root: Hash32,
    /// SHA-256 of what was built, as the builder names it. Informational: the measurement is what counts.
    pub build_id: Hash32,
    /// Unix seconds: time of a document that the enclave asked for before it made this manifest. No receipt of the boot is older.
    pub booted_at: UnixSeconds,
}

impl Manifest {
    /// Words in the encoding.
    pub const WORDS: usize = 19;

    /// Names of the words, as terms-and-manifest.md §2 has them.
    pub const WORD_NAMES: [&str; Self::WORDS] = [
        "version",
        "kSig",
        "kLog",
        "kHpke",
        "tlsSpkiHash",
        "keysHash",
        "termsHash",
        "operator",
        "payee",
        "registry",
        "anchorChainId",
        "contractsHash",
        "modelSetRoot",
        "priceTableHash",
        "predecessorLog",
        "predecessorSize",
        "predecessorRoot",
        "buildId",
        "bootedAt",
    ];

    /// The manifest of this boot under these terms. Keys, predecessor and build are the boot's own; every other field follows from the
    /// terms, and is set here and nowhere else.
    ///
    /// ```
    /// # use candor_verify::{Address, manifest::Manifest, terms::OperatorTerms};
    /// let boot = Manifest { k_sig: Address([1; 20]), ..Manifest::default() };
    /// let manifest = boot.under(&OperatorTerms { payee: Address([2; 20]), ..OperatorTerms::default() });
    /// assert_eq!((manifest.k_sig, manifest.payee), (Address([1; 20]), Address([2; 20])));
    /// ```
    #[must_use]
    pub fn under(self, terms: &OperatorTerms) -> Self {
        Self {
            terms_hash: terms.digest(),
            operator: terms.operator,
            payee: terms.payee,
            registry: terms.registry,
            anchor_chain_id: terms.anchor_chain_id,
            contracts_hash: terms.contracts_hash(),
            model_set_root: terms.model_set_root(),
            price_table_hash: terms.price_table_hash(),
            ..self
        }
    }

    /// The one encoding: 608 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Words::new()
            .u64(VERSION.into())
            .address(&self.k_sig)
            .hash(&self.k_log)
            .hash(&self.k_hpke)
            .hash(&self.tls_spki_hash)
            .hash(&self.keys_hash)
            .hash(&self.terms_hash)
            .address(&self.operator)
            .address(&self.payee)
            .address(&self.registry)
            .u64(self.anchor_chain_id)
            .hash(&self.contracts_hash)
            .hash(&self.model_set_root)
            .hash(&self.price_table_hash)
            .hash(&self.predecessor_log)
            .u64(self.predecessor_size)
            .hash(&self.predecessor_root)
            .hash(&self.build_id)
            .u64(self.booted_at.0)
            .into_vec()
    }

    /// Reads the one encoding. Believes nothing.
    ///
    /// # Errors
    /// `Version`, `Length` or `Range`.
    pub fn parse(bytes: &[u8]) -> Result<Self, AbiError> {
        let mut r = WordReader::versioned(bytes, Self::WORDS, VERSION)?;
        Ok(Self {
            k_sig: r.address()?,
            k_log: r.hash()?,
            k_hpke: r.hash()?,
            tls_spki_hash: r.hash()?,
            keys_hash: r.hash()?,
            terms_hash: r.hash()?,
            operator: r.address()?,
            payee: r.address()?,
            registry: r.address()?,
            anchor_chain_id: r.u64()?,
            contracts_hash: r.hash()?,
            model_set_root: r.hash()?,
            price_table_hash: r.hash()?,
            predecessor_log: r.hash()?,
            predecessor_size: r.u64()?,
            predecessor_root: r.hash()?,
            build_id: r.hash()?,
            booted_at: UnixSeconds(r.u64()?),
        })
    }

    /// keccak256 of the encoding: what the attestation carries.
    #[must_use]
    pub fn hash(&self) -> Hash32 {
        keccak256(&[&self.encode()])
    }

    /// The EIP-712 digest by which K_sig says that this manifest is its own. A registry asks for it: evidence of anybody's own code can
    /// name anybody's keys.
    #[must_use]
    pub fn boot_digest(&self) -> Hash32 {
        boot_digest(&self.hash())
    }

    /// Log id of this boot: sha256(tag ‖ K_sig address ‖ K_log).
    #[must_use]
    pub fn log_id(&self) -> Hash32 {
        log_id(&self.k_sig, &self.k_log)
    }
}

/// [`Manifest::boot_digest`] of the manifest with this hash.
#[must_use]
pub fn boot_digest(manifest_hash: &Hash32) -> Hash32 {
    let struct_hash = eip712::hash_struct("Boot(bytes32 manifestHash)", &Words::new().hash(manifest_hash));
    eip712::digest(&eip712::candor_domain(), &struct_hash)
}

/// Log id from the two keys that sign its checkpoints.
#[must_use]
pub fn log_id(k_sig: &Address, k_log: &Hash32) -> Hash32 {
    log_id_of(k_sig, k_log, sha256)
}

/// What [`log_id`] hashes.
#[must_use]
pub fn log_id_preimage(k_sig: &Address, k_log: &Hash32) -> Vec<u8> {
    log_id_of(k_sig, k_log, whole)
}

fn log_id_of<T>(k_sig: &Address, k_log: &Hash32, with: impl FnOnce(&[&[u8]]) -> T) -> T {
    with(&[tags::LOG, &k_sig.0, &k_log.0])
}

/// A key or a piece of evidence that a manifest names besides its own: for requests sealed otherwise, for signatures that others read, of
/// a device beside the enclave.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct FurtherKey {
    /// What it is for: 1 sealed requests, 2 signatures over answers, 3 evidence of a device.
    pub purpose: u16,
    /// Of what kind it is: 1 X-Wing public key, 2 RSA SubjectPublicKeyInfo, 3 report of an NVIDIA GPU.
    pub algorithm: u16,
    /// The key, or the evidence. At most [`crate::evidence::FURTHER_KEY_MAX`] bytes.
    pub bytes: Vec<u8>,
}

/// Digest of a list of further keys: the EIP-712 encoding of an array of `Key(uint16 purpose,uint16 algorithm,bytes32 digest)` with the
/// SHA-256 of each; zero if the list is empty.
#[must_use]
pub fn keys_hash(keys: &[FurtherKey]) -> Hash32 {
    if keys.is_empty() { Hash32::ZERO } else { eip712::array(keys.iter().map(FurtherKey::struct_hash)) }
}

impl Structured for FurtherKey {
    fn to_struct(&self) -> TypedStruct {
        const TYPE: &str = "Key(uint16 purpose,uint16 algorithm,bytes32 digest)";
        let data = Words::new().u64(self.purpose.into()).u64(self.algorithm.into()).hash(&sha256(&[&self.bytes]));
        TypedStruct::new(TYPE, data)
    }
}

/// What the freshness tag is made of: a block that did not exist earlier, and a challenge if there was one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "complete: a field more is another version")]
pub struct Freshness {
    /// Chain of the block.
    pub chain_id: u64,
    /// Its number.
    pub block_number: u64,
    /// Its hash.
    pub block_hash: Hash32,
    /// The challenge; zero if nobody challenged.
    pub nonce: Hash32,
}

impl Freshness {
    /// First 12 bytes of sha256(tag ‖ u256 chain id ‖ u256 block number ‖ block hash ‖ nonce).
    #[must_use]
    pub fn tag(&self) -> [u8; 12] {
        self.tag_hash().0.first_chunk::<12>().copied().unwrap_or_default()
    }

    /// The hash whose beginning the tag is.
    #[must_use]
    pub fn tag_hash(&self) -> Hash32 {
        sha256(&[&self.tag_preimage()])
    }

    /// What is hashed to the tag.
    #[must_use]
    pub fn tag_preimage(&self) -> Vec<u8> {
        let words = Words::new().u64(self.chain_id).u64(self.block_number).hash(&self.block_hash).hash(&self.nonce);
        [tags::FRESH, words.as_slice()].concat()
    }
}

/// The attested 64 bytes: `[0:20]` K_sig address, `[20:52]` manifest hash, `[52:64]` freshness tag.
#[must_use]
pub fn attested_bytes(k_sig: &Address, manifest_hash: &Hash32, freshness: &Freshness) -> [u8; 64] {
    let mut out = [0; 64];
    let parts = k_sig.0.iter().chain(&manifest_hash.0).copied().chain(freshness.tag());
    for (to, from) in out.iter_mut().zip(parts) {
        *to = from;
    }
    out
}

/// Kind of TEE in a workload id. `simulated` is no kind: it is Nitro's format under another root.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TeeKind {
    /// AWS Nitro Enclaves documents.
    Nitro,
}

impl TeeKind {
    /// The number in a workload id and in evidence.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::Nitro => 1,
        }
    }
}

/// workloadId = keccak256(keccak256(tag) ‖ u256 kind ‖ root fingerprint ‖ keccak256(measurements)): a measurement without its root
/// means nothing. For Nitro the measurements are PCR0 ‖ PCR1 ‖ PCR2 (144 bytes). Spec: attestation.md §4.
#[must_use]
pub fn workload_id(kind: TeeKind, root_fingerprint: &Hash32, measurements: &[u8]) -> Hash32 {
    workload_id_of(kind.code().into(), root_fingerprint, &keccak256(&[measurements]))
}

/// [`workload_id`] of any kind in a contract's numbers, from the hash of its measurements: for the quorum (0x51) these are the workload
/// that its attestors judged.
#[must_use]
pub fn workload_id_of(kind: u64, root_fingerprint: &Hash32, measurements_hash: &Hash32) -> Hash32 {
    keccak256(&[workload_id_preimage(kind, root_fingerprint, measurements_hash).as_slice()])
}

/// What [`workload_id_of`] hashes.
#[must_use]
pub fn workload_id_preimage(kind: u64, root_fingerprint: &Hash32, measurements_hash: &Hash32) -> Words {
    Words::new().hash(&keccak256(&[tags::WORKLOAD])).u64(kind).hash(root_fingerprint).hash(measurements_hash)
}

/// listedId = keccak256(keccak256(tag) ‖ verifier ‖ code hash of the verifier ‖ workload id): what policies on a chain list. A workload
/// means nothing without the contract that judged it: anybody may register through a contract of their own. Spec: attestation.md §4.
#[must_use]
pub fn listed_id(verifier: &Address, code_hash: &Hash32, workload: &Hash32) -> Hash32 {
    let words = Words::new().hash(&keccak256(&[tags::LISTED])).address(verifier).hash(code_hash).hash(workload);
    keccak256(&[words.as_slice()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_reads_back_as_written_and_every_byte_counts() {
        let manifest = Manifest { k_sig: Address([1; 20]), anchor_chain_id: 31337, predecessor_size: 9, ..Manifest::default() };
        let bytes = manifest.encode();
        assert_eq!(bytes.len(), 608);
        assert_eq!(Manifest::parse(&bytes), Ok(manifest.clone()));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x80;
            if let Ok(other) = Manifest::parse(&flipped) {
                assert_ne!(other.hash(), manifest.hash(), "byte {at}");
            }
        }
    }

    #[test]
    fn what_follows_from_the_terms_replaces_whatever_was_there_and_the_boots_own_stays() {
        let mut bytes: Vec<u8> = (0..608).map(|at| u8::from(at % 32 == 31)).collect();
        bytes[31] = VERSION;
        let ones = Manifest::parse(&bytes).unwrap();
        let terms = crate::terms::tests::sample();
        let manifest = ones.clone().under(&terms);
        let from_the_terms = Manifest::default().under(&terms);
        assert_eq!(
            Manifest {
                k_sig: ones.k_sig,
                k_log: ones.k_log,
                k_hpke: ones.k_hpke,
                tls_spki_hash: ones.tls_spki_hash,
                predecessor_log: ones.predecessor_log,
                predecessor_size: ones.predecessor_size,
                predecessor_root: ones.predecessor_root,
                keys_hash: ones.keys_hash,
                build_id: ones.build_id,
                booted_at: ones.booted_at,
                ..from_the_terms
            },
            manifest
        );
        assert_eq!(manifest.terms_hash, terms.digest());
    }

    #[test]
    fn the_attested_bytes_have_their_places() {
        let freshness = Freshness { chain_id: 31337, block_number: 2, block_hash: Hash32([3; 32]), nonce: Hash32::ZERO };
        let bytes = attested_bytes(&Address([1; 20]), &Hash32([2; 32]), &freshness);
        assert_eq!(bytes[..20], [1; 20]);
        assert_eq!(bytes[20..52], [2; 32]);
        assert_eq!(bytes[52..], freshness.tag());
        assert_ne!(freshness.tag(), Freshness { nonce: Hash32([1; 32]), ..freshness }.tag());
    }

    #[test]
    fn further_keys_are_told_apart_by_each_part_and_by_their_order() {
        let key = |purpose, algorithm, byte| FurtherKey { purpose, algorithm, bytes: alloc::vec![byte; 3] };
        assert_eq!(keys_hash(&[]), Hash32::ZERO);
        let lists = [
            alloc::vec![key(1, 1, 1)],
            alloc::vec![key(2, 1, 1)],
            alloc::vec![key(1, 2, 1)],
            alloc::vec![key(1, 1, 2)],
            alloc::vec![key(1, 1, 1), key(1, 1, 2)],
            alloc::vec![key(1, 1, 2), key(1, 1, 1)],
        ];
        for (i, a) in lists.iter().enumerate() {
            for (j, b) in lists.iter().enumerate() {
                assert_eq!(i == j, keys_hash(a) == keys_hash(b));
            }
        }
    }

    #[test]
    fn a_workload_id_names_its_root() {
        let a = workload_id(TeeKind::Nitro, &Hash32([1; 32]), &[0; 144]);
        assert_ne!(a, workload_id(TeeKind::Nitro, &Hash32([2; 32]), &[0; 144]));
        assert_ne!(a, workload_id(TeeKind::Nitro, &Hash32([1; 32]), &[1; 144]));
    }
}
