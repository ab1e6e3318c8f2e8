// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Checkpoint, Freshness, ListedId, LogId, Manifest, Terms, ReceiptWords, WorkloadId} from "../../src/Types.sol";
import {BlockHeader} from "../../src/lib/BlockHeader.sol";
import {Digests} from "../../src/lib/Digests.sol";
import {Merkle9162} from "../../src/lib/Merkle9162.sol";
import {Sha256} from "../../src/lib/Sha256.sol";
import {Signatures} from "../../src/lib/Signatures.sol";

/// The libraries as external functions, because they read calldata.
contract Harness {
    function inclusion(bytes32 leafHash, uint64 index, uint64 size, bytes32[] calldata proof) external view returns (bytes32) {
        return Merkle9162.rootFromInclusion(leafHash, index, size, proof);
    }

    function consistency(uint64 first, bytes32 firstRoot, uint64 second, bytes32[] calldata proof)
        external
        view
        returns (bytes32, bytes32)
    {
        return Merkle9162.rootsFromConsistency(first, firstRoot, second, proof);
    }

    function inclusionLength(uint64 index, uint64 size) external pure returns (uint256) {
        return Merkle9162.inclusionLength(index, size);
    }

    function consistencyLength(uint64 first, uint64 second) external pure returns (uint256) {
        return Merkle9162.consistencyLength(first, second);
    }

    function node(bytes32 left, bytes32 right) external view returns (bytes32) {
        return Sha256.node(left, right);
    }

    function nodePlain(bytes32 left, bytes32 right) external pure returns (bytes32) {
        return Sha256.nodePlain(left, right);
    }

    function leaf(bytes32 data) external pure returns (bytes32) {
        return Sha256.leaf(data);
    }

    function recover(bytes32 digest, bytes calldata signature) external pure returns (address) {
        return Signatures.recover(digest, signature);
    }

    function receipt(ReceiptWords calldata words) external pure returns (bytes32) {
        return Digests.receipt(words);
    }

    function checkpoint(Checkpoint calldata words) external pure returns (bytes32) {
        return Digests.checkpoint(words);
    }

    function terms(Terms calldata words) external pure returns (bytes32) {
        return Digests.terms(words);
    }

    function manifest(Manifest calldata words) external pure returns (bytes32) {
        return Digests.manifest(words);
    }

    function registration(
        address kSig,
        bytes32 manifestHash,
        address verifier,
        WorkloadId workload,
        bytes32 termsDataHash,
        address registry,
        uint256 chainId,
        uint64 deadline
    ) external pure returns (bytes32) {
        return Digests.registration(kSig, manifestHash, verifier, workload, termsDataHash, registry, chainId, deadline);
    }

    function boot(bytes32 manifestHash) external pure returns (bytes32) {
        return Digests.boot(manifestHash);
    }

    function retire(address kSig, address registry, uint256 chainId) external pure returns (bytes32) {
        return Digests.retire(kSig, registry, chainId);
    }

    function revoke(address kSig, address registry, uint256 chainId) external pure returns (bytes32) {
        return Digests.revoke(kSig, registry, chainId);
    }

    function unpaidId(uint256 chainId, LogId log, uint64 sequence) external pure returns (bytes32) {
        return Digests.unpaidId(chainId, log, sequence);
    }

    function unsettledId(uint256 chainId, LogId log, uint64 sequence) external pure returns (bytes32) {
        return Digests.unsettledId(chainId, log, sequence);
    }

    function listedId(address verifier, bytes32 codehash, WorkloadId workload) external pure returns (ListedId) {
        return Digests.listedId(verifier, codehash, workload);
    }

    function parseHeader(bytes calldata header) external pure returns (uint64 number, uint64 time) {
        return BlockHeader.parse(header);
    }

    function logId(address kSig, bytes32 kLog) external pure returns (LogId) {
        return Digests.logId(kSig, kLog);
    }

    function freshnessTag(Freshness calldata freshness) external pure returns (bytes12) {
        return Digests.freshnessTag(freshness);
    }

    function attested(address kSig, bytes32 manifestHash, bytes12 tag) external pure returns (bytes32) {
        return Digests.attested(kSig, manifestHash, tag);
    }

    function leafData(bytes32 logSalt, bytes32 receiptDigest, bytes calldata signature) external pure returns (bytes32) {
        return Digests.leafData(logSalt, receiptDigest, signature);
    }

    function workloadId(uint256 kind, bytes32 rootFingerprint, bytes32 measurementsHash) external pure returns (WorkloadId) {
        return Digests.workloadId(kind, rootFingerprint, measurementsHash);
    }

    function domainSeparator() external pure returns (bytes32) {
        return Digests.DOMAIN_SEPARATOR;
    }
}
