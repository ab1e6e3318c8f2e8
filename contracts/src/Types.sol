// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// The signed structures of Candor as the EVM sees them: every field one 32-byte word, in the order that is signed.
// Spec: receipt.md, terms-and-manifest.md, log.md. The Rust twins are in crates/verify; vectors/ holds both to the same bytes.

/// Identity of a log: sha256("candor/log/1" || K_sig address || K_log).
type LogId is bytes32;

/// Identity of a policy: the hash of everything that it was made with, so the id says what it accepts (WorkloadPolicy).
type PolicyId is bytes32;

/// What runs: kind, root fingerprint and measurements in one hash. A measurement without its root means nothing.
type WorkloadId is bytes32;

/// What policies list: a workload and the contract that judged it. Anybody may register through a contract of their own.
type ListedId is bytes32;

/// Everything about a registered key that never changes. Every field follows from a bundle and the address of the verifier, so whoever calls
/// brings it, and the registry keeps one hash.
struct Record {
    address kSig;
    LogId logId;
    bytes32 manifestHash;
    address verifier;
    /// Of the code that judged the registration; a renewal must be judged by the same. A proxy's hash says nothing of what it calls.
    bytes32 verifierCodehash;
    WorkloadId workloadId;
    address operator;
    address payee;
    /// `bootedAt` of the manifest: Unix seconds.
    uint64 validFrom;
    /// End of the terms: Unix seconds.
    uint64 termsUntil;
}

/// Keys and promises of one boot: 19 words, 608 bytes. Its keccak256 is in the attested 64 bytes.
struct Manifest {
    uint8 version;
    address kSig;
    bytes32 kLog;
    bytes32 kHpke;
    bytes32 tlsSpkiHash;
    bytes32 keysHash;
    bytes32 termsHash;
    address operator;
    address payee;
    address registry;
    uint256 anchorChainId;
    bytes32 contractsHash;
    bytes32 modelSetRoot;
    bytes32 priceTableHash;
    LogId predecessorLog;
    uint64 predecessorSize;
    bytes32 predecessorRoot;
    bytes32 buildId;
    /// Unix seconds.
    uint64 bootedAt;
}

/// encodeData of operator terms: fixed fields as words, lists and nested parts as digests. 20 words.
struct Terms {
    uint8 version;
    address operator;
    address payee;
    address registrar;
    address registry;
    uint256 anchorChainId;
    /// Unix milliseconds.
    uint64 notAfter;
    uint32 flags;
    uint32 storageFlags;
    bytes32 contractsHash;
    bytes32 assetsHash;
    bytes32 modelSetRoot;
    bytes32 priceTableHash;
    bytes32 upstreamsHash;
    bytes32 secretsHash;
    bytes32 sealedHash;
    bytes32 egressHash;
    bytes32 accessHash;
    bytes32 guardHash;
    bytes32 endpointsHash;
}

/// What the freshness tag of an attestation is made of: a block that did not exist earlier, and a challenge if there was one.
struct Freshness {
    uint256 chainId;
    uint256 blockNumber;
    bytes32 blockHash;
    bytes32 nonce;
}

/// The half of a receipt about money. 12 words.
struct Money {
    bytes32 paymentId;
    uint8 scheme;
    address payer;
    address payee;
    address asset;
    uint256 chainId;
    address settler;
    uint256 maxAmount;
    uint256 charged;
    uint256 cumulativeBefore;
    uint256 cumulativeAfter;
    bytes32 offerDigest;
}

/// The half of a receipt about work. 18 words; times in Unix milliseconds by the enclave's clock.
struct Work {
    uint32 kinds;
    uint8 channel;
    uint8 usageSource;
    uint8 outcome;
    bytes32 modelId;
    bytes32 requestCommitment;
    bytes32 responseCommitment;
    bytes32 decodingHash;
    uint64 promptTokens;
    uint64 completionTokens;
    uint64 startedAt;
    uint64 finishedAt;
    uint64 blockNumber;
    bytes32 blockHash;
    bytes32 sourceHash;
    bytes32 taskHash;
    bytes32 questionHash;
    bytes32 answerHash;
}

/// How tokens were chosen, and by whose seed; `Work.decodingHash` is its hashStruct. Spec: receipt.md section 5.
struct Decoding {
    /// Engine and version of its arithmetic, for example `det/1`.
    string engine;
    bytes32 seed;
    /// 1 the request named it, 2 server and payment together, 3 the server alone.
    uint8 seedSource;
    /// In millionths; zero: the likeliest token each time, whatever the seed.
    uint32 temperatureE6;
    uint32 topPE6;
    /// Zero for off.
    uint32 topK;
    uint32 maxTokens;
    /// Zero without stop sequences.
    bytes32 stopHash;
}

/// A receipt as its 34 words. Its identity is the EIP-712 digest, never the signature.
struct ReceiptWords {
    uint8 version;
    bytes32 manifestHash;
    LogId logId;
    uint64 sequence;
    Money money;
    Work work;
}

/// What K_sig says about its log at one moment.
struct Checkpoint {
    LogId logId;
    uint64 size;
    bytes32 root;
    /// Unix milliseconds by the enclave's clock.
    uint64 timestamp;
}

/// A receipt that shows its money and hides its work: 17 words. The digest is the whole receipt's, because EIP-712 nests by hash.
struct Half {
    uint8 version;
    bytes32 manifestHash;
    LogId logId;
    uint64 sequence;
    Money money;
    /// hashStruct of the Work.
    bytes32 workHash;
}
