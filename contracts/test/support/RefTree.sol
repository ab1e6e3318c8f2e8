// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// The slow reference: RFC 9162 section 2.1 written down as its recursive definitions, in plain Solidity.
library RefTree {
    /// MTH(D[lo:hi]) over leaf hashes.
    function root(bytes32[] memory leaves, uint256 lo, uint256 hi) internal pure returns (bytes32) {
        if (hi == lo) return sha256("");
        if (hi - lo == 1) return leaves[lo];
        uint256 k = split(hi - lo);
        return node(root(leaves, lo, lo + k), root(leaves, lo + k, hi));
    }

    /// PATH(m, D[lo:hi]), 2.1.3.1.
    function path(uint256 m, bytes32[] memory leaves, uint256 lo, uint256 hi) internal pure returns (bytes32[] memory) {
        if (hi - lo == 1) return new bytes32[](0);
        uint256 k = split(hi - lo);
        if (m < k) return append(path(m, leaves, lo, lo + k), root(leaves, lo + k, hi));
        return append(path(m - k, leaves, lo + k, hi), root(leaves, lo, lo + k));
    }

    /// PROOF(m, D[0:n]), 2.1.4.1.
    function proof(uint256 m, bytes32[] memory leaves, uint256 n) internal pure returns (bytes32[] memory) {
        return subproof(m, leaves, 0, n, true);
    }

    function subproof(uint256 m, bytes32[] memory leaves, uint256 lo, uint256 hi, bool complete)
        internal
        pure
        returns (bytes32[] memory)
    {
        if (m == hi - lo) return complete ? new bytes32[](0) : append(new bytes32[](0), root(leaves, lo, hi));
        uint256 k = split(hi - lo);
        if (m <= k) return append(subproof(m, leaves, lo, lo + k, complete), root(leaves, lo + k, hi));
        return append(subproof(m - k, leaves, lo + k, hi, false), root(leaves, lo, lo + k));
    }

    function node(bytes32 left, bytes32 right) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0x01), left, right));
    }

    /// The largest power of two smaller than n.
    function split(uint256 n) internal pure returns (uint256 k) {
        k = 1;
        while (k * 2 < n) k *= 2;
    }

    function append(bytes32[] memory list, bytes32 last) internal pure returns (bytes32[] memory longer) {
        longer = new bytes32[](list.length + 1);
        for (uint256 i = 0; i < list.length; ++i) {
            longer[i] = list[i];
        }
        longer[list.length] = last;
    }

    function leafHash(bytes32 data) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0x00), data));
    }

    /// Leaf hashes of n different leaves.
    function someLeaves(uint256 n, uint256 seed) internal pure returns (bytes32[] memory list) {
        list = new bytes32[](n);
        for (uint256 i = 0; i < n; ++i) {
            list[i] = leafHash(keccak256(abi.encode(seed, i)));
        }
    }
}
