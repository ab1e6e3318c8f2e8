// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Checkpoint, LogId} from "../Types.sol";

/// @title Checkpoints of logs, each proven to continue the one before.
/// @notice Immutable and monotone: an anchored (size, root) is never changed or removed, sizes only grow, and every two anchors of a log
/// are consistent. So a log cannot show this chain two histories. Nobody owns this contract; anyone may send a signed checkpoint.
///
/// NOT proven by an anchor: that anyone holds the leaves; that a receipt under it is true; when the leaves were made, only that it was
/// not after `anchoredAt`. A key that has lapsed may still anchor (its log must be able to end); a key that is invalid may not.
interface ILogAnchor {
    /// @notice A checkpoint was anchored; `signature` is K_sig's.
    event Anchored(
        LogId indexed logId,
        address indexed kSig,
        uint64 indexed size,
        bytes32 root,
        uint64 timestamp,
        uint64 anchoredAt,
        bytes signature
    );

    error SignerNotRegistered(address got);
    error SignerInvalid(uint64 invalidFrom);
    error WrongLog(LogId expected, LogId got);
    error EmptyTree();
    error SizeNotGreater(uint64 latest, uint64 got);
    /// @notice The proof does not start from the root that is anchored: the log was rewritten, or the proof is of another log.
    error NotFromAnchoredRoot(bytes32 expected, bytes32 got);
    /// @notice The proof does not end in the root that is signed.
    error NotToSignedRoot(bytes32 expected, bytes32 got);

    /// @notice Anchors a checkpoint.
    /// @param checkpoint of a registered log, larger than its last anchor.
    /// @param signature by that log's K_sig, 65 bytes.
    /// @param consistency the RFC 9162 proof from the last anchored size; empty for the first anchor.
    function anchor(Checkpoint calldata checkpoint, bytes calldata signature, bytes32[] calldata consistency) external;

    /// @notice The root anchored at exactly this size and when (Unix seconds, block time); zeros if there is none.
    function rootAt(LogId logId, uint64 size) external view returns (bytes32 root, uint64 anchoredAt);

    /// @notice The largest anchor of a log; zeros if there is none.
    function latest(LogId logId) external view returns (uint64 size, bytes32 root, uint64 anchoredAt);
}
