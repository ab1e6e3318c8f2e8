// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title SHA-256 nodes of an RFC 9162 tree.
/// @notice The only assembly of this repository. A consistency proof hashes about forty nodes; without an allocation per node it costs
/// about half. `nodePlain` is the same function in plain Solidity, and a fuzz test holds the two equal.
library Sha256 {
    /// @notice The precompile did not answer: the call ran out of gas, or this chain has no SHA-256 at address 2.
    error Sha256Failed();

    /// @notice sha256(0x00 || data), RFC 9162 section 2.1.1.
    function leaf(bytes32 data) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(hex"00", data));
    }

    /// @notice sha256(0x01 || left || right), RFC 9162 section 2.1.1.
    function node(bytes32 left, bytes32 right) internal view returns (bytes32 hash) {
        bool ok;
        // Memory-safe: writes only past the free memory pointer, which does not move; nothing is read there later.
        assembly ("memory-safe") {
            let at := mload(0x40)
            mstore8(at, 0x01)
            mstore(add(at, 0x01), left)
            mstore(add(at, 0x21), right)
            ok := staticcall(gas(), 0x02, at, 0x41, at, 0x20)
            ok := and(ok, eq(returndatasize(), 0x20))
            hash := mload(at)
        }
        if (!ok) revert Sha256Failed();
    }

    /// @notice The plain twin of `node`, for tests.
    function nodePlain(bytes32 left, bytes32 right) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(hex"01", left, right));
    }
}
