// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {KeyState} from "../KeyState.sol";
import {Checkpoint, LogId, Record} from "../Types.sol";
import {IAnchors} from "../interfaces/IAnchors.sol";
import {Digests} from "../lib/Digests.sol";
import {Merkle9162} from "../lib/Merkle9162.sol";
import {Signatures} from "../lib/Signatures.sol";
import {Keys} from "./Keys.sol";

/// @dev Part two of CandorRegistry: the trees of each key's log that this chain saw. An anchor continues the one before; an observation stands
/// alone. Neither is ever written again.
abstract contract Anchors is IAnchors, Keys {
    // Invariant: an entry is written once; the sizes of a key only grow.
    mapping(address kSig => mapping(uint64 size => bytes32 rootAndTime)) private _anchors;
    mapping(bytes32 tree => uint64 observedAt) private _observed;

    /// @inheritdoc IAnchors
    function anchor(
        Record calldata record,
        Checkpoint calldata checkpoint,
        bytes calldata signature,
        bytes32 lastRoot,
        uint64 lastAnchoredAt,
        bytes32[] calldata consistency
    ) public {
        KeyState state = _checkRecord(record);
        _checkSigned(record, checkpoint, signature);
        if (state.revokedAt() != 0) revert KeyRevoked(state.revokedAt());
        _checkContinues(record.kSig, state.lastSize(), checkpoint, lastRoot, lastAnchoredAt, consistency);
        _anchors[record.kSig][checkpoint.size] = _commitment(checkpoint.root, uint64(block.timestamp));
        _state[record.kSig] = state.withAnchor(checkpoint.size);
        emit Anchored(
            record.kSig,
            checkpoint.size,
            checkpoint.root,
            checkpoint.timestamp,
            uint64(block.timestamp),
            state.anchoredBlock(),
            signature
        );
    }

    /// @inheritdoc IAnchors
    function observe(Record calldata record, Checkpoint calldata checkpoint, bytes calldata signature) external {
        _checkRecord(record);
        _checkSigned(record, checkpoint, signature);
        bytes32 tree = _tree(record.kSig, checkpoint.size, checkpoint.root);
        // The first time stands. Whoever comes later loses nothing: it is earlier than theirs.
        if (_observed[tree] != 0) return;
        _observed[tree] = uint64(block.timestamp);
        emit Observed(record.kSig, checkpoint.size, checkpoint.root, checkpoint.timestamp, uint64(block.timestamp), signature);
    }

    /// @inheritdoc IAnchors
    function reportFork(
        Record calldata record,
        Checkpoint calldata a,
        bytes calldata signatureA,
        Checkpoint calldata b,
        bytes calldata signatureB
    ) external {
        KeyState state = _checkRecord(record);
        _checkSigned(record, a, signatureA);
        _checkSigned(record, b, signatureB);
        if (a.size != b.size || a.root == b.root) revert NoFork(a.size, b.size);
        _state[record.kSig] = state.withFork();
        emit Forked(record.kSig, a.size, a.root, b.root, signatureA, signatureB);
    }

    /// @inheritdoc IAnchors
    function anchored(address kSig, uint64 size, bytes32 root, uint64 anchoredAt) external view returns (bool) {
        return _isAnchored(kSig, size, root, anchoredAt);
    }

    /// @inheritdoc IAnchors
    function observed(address kSig, uint64 size, bytes32 root) external view returns (uint64 observedAt) {
        return _observedAt(kSig, size, root);
    }

    function _observedAt(address kSig, uint64 size, bytes32 root) internal view returns (uint64) {
        return _observed[_tree(kSig, size, root)];
    }

    function _hasAnchor(address kSig, uint64 size) internal view override returns (bool) {
        return _anchors[kSig][size] != 0;
    }

    function _isAnchored(address kSig, uint64 size, bytes32 root, uint64 anchoredAt) internal view override returns (bool) {
        // slither-disable-next-line incorrect-equality: of hashes, which nobody can nudge
        return anchoredAt != 0 && _anchors[kSig][size] == _commitment(root, anchoredAt);
    }

    /// The tree holds the last anchored one as its beginning.
    function _checkContinues(
        address kSig,
        uint64 last,
        Checkpoint calldata checkpoint,
        bytes32 lastRoot,
        uint64 lastAnchoredAt,
        bytes32[] calldata consistency
    ) private view {
        if (checkpoint.size <= last) revert SizeNotGreater(last, checkpoint.size);
        // slither-disable-next-line incorrect-equality: zero is a log without an anchor, and nothing else
        if (last == 0) {
            if (consistency.length != 0) revert Merkle9162.ProofLength(0, consistency.length);
            return;
        }
        if (!_isAnchored(kSig, last, lastRoot, lastAnchoredAt)) revert NotTheLastAnchor(kSig, last);
        (bytes32 oldRoot, bytes32 newRoot) = Merkle9162.rootsFromConsistency(last, lastRoot, checkpoint.size, consistency);
        if (oldRoot != lastRoot) revert NotFromAnchoredRoot(lastRoot, oldRoot);
        if (newRoot != checkpoint.root) revert NotToSignedRoot(checkpoint.root, newRoot);
    }

    /// A tree with leaves, of this key's log, under this key's signature.
    function _checkSigned(Record calldata record, Checkpoint calldata checkpoint, bytes calldata signature) private pure {
        if (LogId.unwrap(checkpoint.logId) != LogId.unwrap(record.logId)) revert WrongLog(record.logId, checkpoint.logId);
        if (checkpoint.size == 0) revert EmptyTree();
        address signer = Signatures.recover(Digests.checkpoint(checkpoint), signature);
        if (signer != record.kSig) revert WrongSigner(record.kSig, signer);
    }

    function _commitment(bytes32 root, uint64 time) private pure returns (bytes32) {
        return keccak256(abi.encode(root, time));
    }

    function _tree(address kSig, uint64 size, bytes32 root) private pure returns (bytes32) {
        return keccak256(abi.encode(kSig, size, root));
    }
}
