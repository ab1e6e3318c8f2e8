// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Checkpoint, LogId, Record} from "../Types.sol";

/// @title Trees of logs that this chain saw.
/// @notice An *anchor* is proven to continue the anchor before: sizes only grow and every two anchors of a log are consistent, so that a
/// log cannot show this chain two histories. An *observation* stands alone: this key signed this tree by then, and no more. Neither is ever
/// changed or removed. Nobody owns this contract; anyone may send what a registered key signed.
///
/// NOT proven by either: that anyone holds the leaves; that a receipt under it is true; when the leaves were made, only that it was not
/// later. A key that has lapsed or retired may still anchor (its log must be able to end); one that is revoked may not.
interface IAnchors {
    /// @notice A tree was anchored. `previousBlock`: of the anchor before, zero for none; so all anchors of a log can be read backwards.
    event Anchored(
        address indexed kSig,
        uint64 indexed size,
        bytes32 root,
        uint64 timestamp,
        uint64 anchoredAt,
        uint64 previousBlock,
        bytes signature
    );

    /// @notice A tree was seen for the first time.
    event Observed(address indexed kSig, uint64 indexed size, bytes32 root, uint64 timestamp, uint64 observedAt, bytes signature);

    /// @notice The key signed two trees of one size.
    event Forked(address indexed kSig, uint64 size, bytes32 rootA, bytes32 rootB, bytes signatureA, bytes signatureB);

    error WrongLog(LogId expected, LogId got);
    error WrongSigner(address expected, address got);
    error KeyRevoked(uint64 revokedAt);
    error EmptyTree();
    error SizeNotGreater(uint64 latest, uint64 got);
    /// @notice `lastRoot` and `lastAnchoredAt` are not those of the last anchor, which is of this size.
    error NotTheLastAnchor(address kSig, uint64 size);
    /// @notice The proof does not start from the root that is anchored: the log was rewritten, or the proof is of another log.
    error NotFromAnchoredRoot(bytes32 expected, bytes32 got);
    /// @notice The proof does not end in the root that is signed.
    error NotToSignedRoot(bytes32 expected, bytes32 got);
    /// @notice Two trees of different sizes, or the same tree twice.
    error NoFork(uint64 sizeA, uint64 sizeB);

    /// @notice Anchors a tree that continues the last anchor.
    /// @param signature by K_sig over the checkpoint, 65 bytes.
    /// @param lastRoot of the last anchor; ignored for the first.
    /// @param lastAnchoredAt when that was, in Unix seconds; ignored for the first.
    /// @param consistency the RFC 9162 proof from the last anchored size; empty for the first anchor.
    function anchor(
        Record calldata record,
        Checkpoint calldata checkpoint,
        bytes calldata signature,
        bytes32 lastRoot,
        uint64 lastAnchoredAt,
        bytes32[] calldata consistency
    ) external;

    /// @notice Records that this key signed this tree by now; the first time stands, and a second call changes nothing.
    function observe(Record calldata record, Checkpoint calldata checkpoint, bytes calldata signature) external;

    /// @notice Shows this chain two trees of one size under one key's signatures. Changes no proof: clients refuse to pay such a key.
    function reportFork(
        Record calldata record,
        Checkpoint calldata a,
        bytes calldata signatureA,
        Checkpoint calldata b,
        bytes calldata signatureB
    ) external;

    /// @notice Whether this tree of this key was anchored at this time.
    function anchored(address kSig, uint64 size, bytes32 root, uint64 anchoredAt) external view returns (bool);

    /// @notice When this chain first saw this tree of this key as an observation; zero for never.
    function observed(address kSig, uint64 size, bytes32 root) external view returns (uint64 observedAt);
}
