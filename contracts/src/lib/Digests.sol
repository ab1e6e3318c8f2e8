// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Checkpoint, Decoding, Freshness, Half, ListedId, LogId, Manifest, Terms, ReceiptWords, WorkloadId} from "../Types.sol";

/// @title Every hash of the protocol that a contract recomputes, in one place.
/// @notice EIP-712 digests are under one domain, {name: "Candor", version: "2"}: no chain id and no contract, because each struct that
/// needs a replay scope carries it as a field, and whoever reads the struct compares that field with its own chain and address.
/// @dev Type strings and tags equal those of crates/verify (receipt.rs, terms/, tags.rs); test/Vectors.t.sol compares the bytes.
library Digests {
    bytes32 internal constant DOMAIN_SEPARATOR =
        keccak256(abi.encode(keccak256("EIP712Domain(string name,string version)"), keccak256("Candor"), keccak256("2")));

    bytes32 internal constant MONEY_TYPEHASH = keccak256(
        "Money(bytes32 paymentId,uint8 scheme,address payer,address payee,address asset,uint256 chainId,address settler,uint256 maxAmount,uint256 charged,uint256 cumulativeBefore,uint256 cumulativeAfter,bytes32 offerDigest)"
    );
    bytes32 internal constant WORK_TYPEHASH = keccak256(
        "Work(uint32 kinds,uint8 channel,uint8 usageSource,uint8 outcome,bytes32 modelId,bytes32 requestCommitment,bytes32 responseCommitment,bytes32 decodingHash,uint64 promptTokens,uint64 completionTokens,uint64 startedAt,uint64 finishedAt,uint64 blockNumber,bytes32 blockHash,bytes32 sourceHash,bytes32 taskHash,bytes32 questionHash,bytes32 answerHash)"
    );
    bytes32 internal constant RECEIPT_TYPEHASH = keccak256(
        "Receipt(uint8 version,bytes32 manifestHash,bytes32 logId,uint64 sequence,Money money,Work work)Money(bytes32 paymentId,uint8 scheme,address payer,address payee,address asset,uint256 chainId,address settler,uint256 maxAmount,uint256 charged,uint256 cumulativeBefore,uint256 cumulativeAfter,bytes32 offerDigest)Work(uint32 kinds,uint8 channel,uint8 usageSource,uint8 outcome,bytes32 modelId,bytes32 requestCommitment,bytes32 responseCommitment,bytes32 decodingHash,uint64 promptTokens,uint64 completionTokens,uint64 startedAt,uint64 finishedAt,uint64 blockNumber,bytes32 blockHash,bytes32 sourceHash,bytes32 taskHash,bytes32 questionHash,bytes32 answerHash)"
    );
    bytes32 internal constant DECODING_TYPEHASH = keccak256(
        "Decoding(string engine,bytes32 seed,uint8 seedSource,uint32 temperatureE6,uint32 topPE6,uint32 topK,uint32 maxTokens,bytes32 stopHash)"
    );
    bytes32 internal constant CHECKPOINT_TYPEHASH =
        keccak256("Checkpoint(bytes32 logId,uint64 size,bytes32 root,uint64 timestamp)");
    bytes32 internal constant TERMS_TYPEHASH = keccak256(
        "OperatorTerms(uint8 version,address operator,address payee,address registrar,address registry,uint256 anchorChainId,uint64 notAfter,uint32 flags,uint32 storage,Chain[] chains,Asset[] assets,Model[] models,Price[] prices,Upstream[] upstreams,Secret[] secrets,SealedVersion[] sealed,Egress[] egress,Access access,Guard guard,string[] endpoints)Access(uint32 ways,bytes32[] keys)Asset(uint256 chainId,address asset,string name,string version,uint8 decimals)Chain(uint256 chainId,address registry,address settlerFactory,address forwarderFactory,address authorizerFactory,address batch,address uptoProxy,bytes32 channelPolicy)Classes(uint256 input,uint256 cacheRead,uint256 cacheWrite,uint256 output,uint256 reasoning,uint256 image,uint256 request)Egress(string host,uint16 port,string purpose)Guard(string model,string upstream,uint32 payerRequestsPerMinute,uint64 payerTokensPerDay)Model(string id,uint8 source,bytes32 digest,bytes32 sourceDigest,uint32 contextTokens,Route[] routes)Price(bytes32 model,uint256 chainId,address asset,Classes ceiling,Classes floor)Route(string upstream,string model)SealedVersion(uint32 version,uint64 notAfter)Secret(string name,uint32 minVersion)Upstream(string name,uint8 kind,string host,uint16 port,string path,uint8 trust,bytes32 trustAnchor,string account,uint8 pricing,uint32 markup,uint32 flags)"
    );
    bytes32 internal constant REGISTRATION_TYPEHASH = keccak256(
        "Registration(address kSig,bytes32 manifestHash,address verifier,bytes32 workloadId,bytes32 termsDataHash,address registry,uint256 chainId,uint64 deadline)"
    );
    bytes32 internal constant BOOT_TYPEHASH = keccak256("Boot(bytes32 manifestHash)");
    bytes32 internal constant RETIRE_TYPEHASH = keccak256("Retire(address kSig,address registry,uint256 chainId)");
    bytes32 internal constant REVOKE_TYPEHASH = keccak256("Revoke(address kSig,address registry,uint256 chainId)");
    bytes32 internal constant WORKLOAD_TAG = keccak256("candor/workload/1");
    bytes32 internal constant LISTED_TAG = keccak256("candor/listed/1");
    bytes32 internal constant UNPAID_TAG = keccak256("candor/payment/none/1");
    bytes32 internal constant UNSETTLED_TAG = keccak256("candor/payment/unsettled/1");

    /// @notice What is signed for a struct: keccak256(0x1901 || domain || hashStruct).
    function typed(bytes32 structHash) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", DOMAIN_SEPARATOR, structHash));
    }

    /// @notice The digest of a receipt: its identity, and what K_sig signs.
    function receipt(ReceiptWords calldata words) internal pure returns (bytes32) {
        bytes32 moneyHash = keccak256(abi.encode(MONEY_TYPEHASH, words.money));
        bytes32 workHash = keccak256(abi.encode(WORK_TYPEHASH, words.work));
        return typed(
            keccak256(
                abi.encode(RECEIPT_TYPEHASH, words.version, words.manifestHash, words.logId, words.sequence, moneyHash, workHash)
            )
        );
    }

    /// @notice hashStruct of a decoding record, which a receipt's work carries.
    function decoding(Decoding memory words) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                DECODING_TYPEHASH,
                keccak256(bytes(words.engine)),
                words.seed,
                words.seedSource,
                words.temperatureE6,
                words.topPE6,
                words.topK,
                words.maxTokens,
                words.stopHash
            )
        );
    }

    /// @notice The digest of a checkpoint, which K_sig signs.
    function checkpoint(Checkpoint calldata words) internal pure returns (bytes32) {
        return typed(keccak256(abi.encode(CHECKPOINT_TYPEHASH, words)));
    }

    /// @notice The digest of operator terms, which the operator signs and the manifest carries.
    function terms(Terms calldata words) internal pure returns (bytes32) {
        return typed(keccak256(abi.encode(TERMS_TYPEHASH, words)));
    }

    /// @notice The digest that a registrar signs for one boot, to be judged by one verifier to be one workload, until one moment.
    function registration(
        address kSig,
        bytes32 manifest_,
        address verifier,
        WorkloadId workload,
        bytes32 termsDataHash,
        address registry,
        uint256 chainId,
        uint64 deadline
    ) internal pure returns (bytes32) {
        return typed(
            keccak256(
                abi.encode(REGISTRATION_TYPEHASH, kSig, manifest_, verifier, workload, termsDataHash, registry, chainId, deadline)
            )
        );
    }

    /// @notice The digest by which K_sig says that a manifest is its own.
    function boot(bytes32 manifest_) internal pure returns (bytes32) {
        return typed(keccak256(abi.encode(BOOT_TYPEHASH, manifest_)));
    }

    /// @notice The digest that an operator signs to retire a key of its own, with notice.
    function retire(address kSig, address registry, uint256 chainId) internal pure returns (bytes32) {
        return typed(keccak256(abi.encode(RETIRE_TYPEHASH, kSig, registry, chainId)));
    }

    /// @notice The digest that an operator signs to revoke a key of its own, at once.
    function revoke(address kSig, address registry, uint256 chainId) internal pure returns (bytes32) {
        return typed(keccak256(abi.encode(REVOKE_TYPEHASH, kSig, registry, chainId)));
    }

    /// @notice The payment id of work that nobody paid for, from its place in the log.
    function unpaidId(uint256 chainId, LogId log, uint64 sequence) internal pure returns (bytes32) {
        return keccak256(abi.encode(UNPAID_TAG, chainId, log, sequence));
    }

    /// @notice The payment id of a signed payment of which nothing is charged.
    function unsettledId(uint256 chainId, LogId log, uint64 sequence) internal pure returns (bytes32) {
        return keccak256(abi.encode(UNSETTLED_TAG, chainId, log, sequence));
    }

    /// @notice What a policy lists: a workload, and which contract with which code judged it.
    function listedId(address verifier, bytes32 codehash, WorkloadId workloadId_) internal pure returns (ListedId) {
        return ListedId.wrap(keccak256(abi.encode(LISTED_TAG, verifier, codehash, workloadId_)));
    }

    /// @notice keccak256 of the manifest's 608 bytes.
    function manifest(Manifest calldata words) internal pure returns (bytes32) {
        return keccak256(abi.encode(words));
    }

    /// @notice The log of a boot, from the two keys that sign its checkpoints.
    function logId(address kSig, bytes32 kLog) internal pure returns (LogId) {
        return LogId.wrap(sha256(abi.encodePacked("candor/log/1", kSig, kLog)));
    }

    /// @notice The 12 bytes that tie an attestation to a block and a challenge.
    function freshnessTag(Freshness calldata f) internal pure returns (bytes12) {
        return bytes12(sha256(abi.encodePacked("candor/fresh/1", f.chainId, f.blockNumber, f.blockHash, f.nonce)));
    }

    /// @notice keccak256 of the attested 64 bytes: K_sig (20), manifest hash (32), freshness tag (12).
    function attested(address kSig, bytes32 manifestHash, bytes12 tag) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(kSig, manifestHash, tag));
    }

    /// @notice The 32 bytes that the log holds for one signed receipt. The salt keeps equal receipts unlinkable.
    function leafData(bytes32 logSalt, bytes32 receiptDigest, bytes calldata signature) internal pure returns (bytes32) {
        return sha256(abi.encodePacked("candor/leaf/1", logSalt, receiptDigest, signature));
    }

    /// @notice The workload of a kind, the fingerprint of its root, and the hash of its measurements. No bit masks.
    function workloadId(uint256 kind, bytes32 rootFingerprint, bytes32 measurementsHash) internal pure returns (WorkloadId) {
        return WorkloadId.wrap(keccak256(abi.encode(WORKLOAD_TAG, kind, rootFingerprint, measurementsHash)));
    }

    // Money.

    bytes32 internal constant CHANNEL_AUTHORIZATION_TYPEHASH =
        keccak256("ChannelAuthorization(uint256 chainId,address authorizer,bytes32 digest)");
    bytes32 internal constant PERMIT2_TAG = keccak256("candor/payment/permit2/1");

    /// @notice The digest of a receipt whose work is shown as its hash: the same as that of the whole receipt.
    function half(Half calldata words) internal pure returns (bytes32) {
        bytes32 money = keccak256(abi.encode(MONEY_TYPEHASH, words.money));
        return typed(
            keccak256(
                abi.encode(RECEIPT_TYPEHASH, words.version, words.manifestHash, words.logId, words.sequence, money, words.workHash)
            )
        );
    }

    /// @notice The payment id of a Permit2 permit: never of its signature or amounts, because its nonce is what is spent.
    function permit2Id(uint256 chainId, address permit2, address owner, uint256 nonce) internal pure returns (bytes32) {
        return keccak256(abi.encode(PERMIT2_TAG, chainId, permit2, owner, nonce));
    }

    /// @notice The digest by which K_sig says that an authorizer, on one chain, may stand for this digest of another contract.
    function channelAuthorization(uint256 chainId, address authorizer, bytes32 digest) internal pure returns (bytes32) {
        return typed(keccak256(abi.encode(CHANNEL_AUTHORIZATION_TYPEHASH, chainId, authorizer, digest)));
    }
}
