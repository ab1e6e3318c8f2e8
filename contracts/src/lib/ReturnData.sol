// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title What the last call returned, and no more of it than the reader wants.
/// @dev To be read at once, before any other call. Solidity's own `catch (bytes memory)` copies whatever came: a callee that returns
/// megabytes is paid for by its caller.
library ReturnData {
    /// @notice Its first `maximum` bytes.
    function read(uint256 maximum) internal pure returns (bytes memory data) {
        uint256 length;
        assembly ("memory-safe") {
            length := returndatasize()
        }
        if (length > maximum) length = maximum;
        data = new bytes(length);
        assembly ("memory-safe") {
            returndatacopy(add(data, 0x20), 0, length)
        }
    }
}
