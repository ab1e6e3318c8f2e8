// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Sha256} from "./Sha256.sol";

/// @title Inclusion and consistency proofs of RFC 9162, SHA-256.
/// @notice The functions return the roots that a proof leads to; the caller compares them with roots it *stored*. A proof against a root
/// that came with the proof proves nothing.
/// @dev Sections 2.1.3.2 and 2.1.4.2, step by step. Every loop halves a uint64, so no proof takes more than 65 hashes per root.
/// NOT proven here: that the leaf hash is a leaf's (the caller hashes with the 0x00 prefix), or that the roots are anyone's.
library Merkle9162 {
    /// @notice There is no leaf with this index in a tree of this size.
    error IndexOutOfRange(uint64 size, uint64 got);

    /// @notice Only a smaller tree with at least one leaf is a prefix: 0 < first < second.
    error NotAPrefix(uint64 second, uint64 first);

    /// @notice A proof has exactly one right length.
    error ProofLength(uint256 expected, uint256 got);

    /// @notice The root of a tree of `size` leaves in which `leafHash` stands at `index`, if `proof` is right.
    function rootFromInclusion(bytes32 leafHash, uint64 index, uint64 size, bytes32[] calldata proof)
        internal
        view
        returns (bytes32 root)
    {
        if (index >= size) revert IndexOutOfRange(size, index);
        uint256 fn = index;
        uint256 sn = size - 1;
        root = leafHash;
        for (uint256 i = 0; i < proof.length; ++i) {
            if (sn == 0) revert ProofLength(inclusionLength(index, size), proof.length);
            if (fn & 1 == 1 || fn == sn) {
                root = Sha256.node(proof[i], root);
                (fn, sn) = _skipMissingSiblings(fn, sn);
            } else {
                root = Sha256.node(root, proof[i]);
            }
            fn >>= 1;
            sn >>= 1;
        }
        if (sn != 0) revert ProofLength(inclusionLength(index, size), proof.length);
    }

    /// @notice The roots of the trees of `first` and `second` leaves that `proof` leads to. The second is a continuation of the first if
    /// and only if both equal the true roots.
    /// @param firstRoot the known root of the first tree; it starts the path when `first` is a power of two.
    function rootsFromConsistency(uint64 first, bytes32 firstRoot, uint64 second, bytes32[] calldata proof)
        internal
        view
        returns (bytes32 oldRoot, bytes32 newRoot)
    {
        if (first == 0 || first >= second) revert NotAPrefix(second, first);
        uint256 next = 0;
        if (first & (first - 1) == 0) {
            oldRoot = firstRoot;
        } else {
            if (proof.length == 0) revert ProofLength(consistencyLength(first, second), 0);
            oldRoot = proof[0];
            next = 1;
        }
        newRoot = oldRoot;
        (uint256 fn, uint256 sn) = _firstBoundary(first, second);
        for (; next < proof.length; ++next) {
            if (sn == 0) revert ProofLength(consistencyLength(first, second), proof.length);
            bytes32 sibling = proof[next];
            if (fn & 1 == 1 || fn == sn) {
                oldRoot = Sha256.node(sibling, oldRoot);
                newRoot = Sha256.node(sibling, newRoot);
                (fn, sn) = _skipMissingSiblings(fn, sn);
            } else {
                newRoot = Sha256.node(newRoot, sibling);
            }
            fn >>= 1;
            sn >>= 1;
        }
        if (sn != 0) revert ProofLength(consistencyLength(first, second), proof.length);
    }

    /// @notice How many hashes an inclusion proof has. Precondition: index < size.
    function inclusionLength(uint64 index, uint64 size) internal pure returns (uint256) {
        return _steps(index, size - 1);
    }

    /// @notice How many hashes a consistency proof has. Precondition: 0 < first < second.
    function consistencyLength(uint64 first, uint64 second) internal pure returns (uint256 length) {
        (uint256 fn, uint256 sn) = _firstBoundary(first, second);
        length = _steps(fn, sn);
        if (first & (first - 1) != 0) ++length;
    }

    /// Levels at which a node at `fn` has a sibling, in a level that ends at `sn`.
    function _steps(uint256 fn, uint256 sn) private pure returns (uint256 steps) {
        for (; sn != 0; ++steps) {
            if (fn & 1 == 1 || fn == sn) (fn, sn) = _skipMissingSiblings(fn, sn);
            fn >>= 1;
            sn >>= 1;
        }
    }

    /// RFC 9162 2.1.4.2 step 3: up to the largest complete subtree at the end of the first tree.
    function _firstBoundary(uint64 first, uint64 second) private pure returns (uint256 fn, uint256 sn) {
        fn = first - 1;
        sn = second - 1;
        while (fn & 1 == 1) {
            fn >>= 1;
            sn >>= 1;
        }
    }

    /// A last node without a right sibling moves up unhashed until it is a right child.
    function _skipMissingSiblings(uint256 fn, uint256 sn) private pure returns (uint256, uint256) {
        while (fn & 1 == 0 && fn != 0) {
            fn >>= 1;
            sn >>= 1;
        }
        return (fn, sn);
    }
}
