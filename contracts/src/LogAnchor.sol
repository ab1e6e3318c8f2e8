// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Checkpoint, LogId} from "./Types.sol";
import {IEnclaveRegistry} from "./interfaces/IEnclaveRegistry.sol";
import {ILogAnchor} from "./interfaces/ILogAnchor.sol";
import {Digests} from "./lib/Digests.sol";
import {Merkle9162} from "./lib/Merkle9162.sol";
import {Signatures} from "./lib/Signatures.sol";

/// @dev Deployed by the constructor of EnclaveRegistry.
contract LogAnchor is ILogAnchor {
    struct Anchor {
        bytes32 root;
        uint64 anchoredAt;
    }

    /// @notice Whose keys may anchor.
    IEnclaveRegistry public immutable registry;

    // Invariant: an entry with a time is never written again; sizes of a log only grow.
    mapping(LogId logId => mapping(uint64 size => Anchor)) private _anchors;
    mapping(LogId logId => uint64 size) private _latestSize;

    constructor(IEnclaveRegistry registry_) {
        registry = registry_;
    }

    /// @inheritdoc ILogAnchor
    function anchor(Checkpoint calldata checkpoint, bytes calldata signature, bytes32[] calldata consistency) external {
        LogId logId = checkpoint.logId;
        uint64 size = checkpoint.size;
        address kSig = Signatures.recover(Digests.checkpoint(checkpoint), signature);
        _checkSigner(kSig, logId);

        uint64 last = _latestSize[logId];
        if (size == 0) revert EmptyTree();
        if (size <= last) revert SizeNotGreater(last, size);
        if (last == 0) {
            if (consistency.length != 0) revert Merkle9162.ProofLength(0, consistency.length);
        } else {
            bytes32 lastRoot = _anchors[logId][last].root;
            (bytes32 oldRoot, bytes32 newRoot) = Merkle9162.rootsFromConsistency(last, lastRoot, size, consistency);
            if (oldRoot != lastRoot) revert NotFromAnchoredRoot(lastRoot, oldRoot);
            if (newRoot != checkpoint.root) revert NotToSignedRoot(checkpoint.root, newRoot);
        }

        uint64 anchoredAt = uint64(block.timestamp);
        _anchors[logId][size] = Anchor({root: checkpoint.root, anchoredAt: anchoredAt});
        _latestSize[logId] = size;
        emit Anchored(logId, kSig, size, checkpoint.root, checkpoint.timestamp, anchoredAt, signature);
    }

    /// @inheritdoc ILogAnchor
    function rootAt(LogId logId, uint64 size) external view returns (bytes32 root, uint64 anchoredAt) {
        Anchor storage entry = _anchors[logId][size];
        return (entry.root, entry.anchoredAt);
    }

    /// @inheritdoc ILogAnchor
    function latest(LogId logId) external view returns (uint64 size, bytes32 root, uint64 anchoredAt) {
        size = _latestSize[logId];
        Anchor storage entry = _anchors[logId][size];
        return (size, entry.root, entry.anchoredAt);
    }

    function _checkSigner(address kSig, LogId logId) private view {
        (LogId expected, uint64 invalidFrom) = registry.logOf(kSig);
        if (LogId.unwrap(expected) == 0) revert SignerNotRegistered(kSig);
        if (LogId.unwrap(expected) != LogId.unwrap(logId)) revert WrongLog(expected, logId);
        if (invalidFrom != 0 && invalidFrom <= block.timestamp) revert SignerInvalid(invalidFrom);
    }
}
