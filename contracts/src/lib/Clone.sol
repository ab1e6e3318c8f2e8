// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Contracts that differ only in whom they are for: one implementation, and an EIP-1167 proxy with arguments behind its code.
/// @notice A clone's address says everything about it: it is CREATE2 from its factory with salt zero, and the hash of
/// 3d60LL80600a3d3981f3 ‖ 363d3d373d3d3d363d73 ‖ implementation (20) ‖ 5af43d82803e903d91602b57fd5bf3 ‖ arguments, where LL = 45 + their
/// length. The implementation is the factory's first CREATE, so whoever knows a factory's address works out all of its clones offline.
/// @dev NOT proven: that a clone was made by a factory of ours. Anybody may make one, with any arguments, at an address of its own.
library Clone {
    /// @notice The code that runs is not a clone's: the implementation was called itself. In bytes of code.
    error NotAClone(uint256 expected, uint256 got);
    error CloneNotMade(address expected);

    /// The proxy's own code, before the arguments.
    uint256 private constant PROXY = 45;

    /// @notice Makes the clone unless it is there.
    function deploy(address implementation, bytes memory arguments) internal returns (address clone) {
        bytes memory code = initCode(implementation, arguments);
        clone = addressOf(code);
        if (clone.code.length != 0) return clone;
        address made;
        assembly ("memory-safe") {
            made := create2(0, add(code, 0x20), mload(code), 0)
        }
        if (made != clone) revert CloneNotMade(clone);
    }

    /// @notice Where `deploy` makes it, whether it is there yet or not.
    function addressOf(address implementation, bytes memory arguments) internal view returns (address) {
        return addressOf(initCode(implementation, arguments));
    }

    /// @notice 32 bytes of the arguments of the clone that runs, from `offset` on; zeros behind their end.
    /// @param length of all arguments of such a clone.
    function argument(uint256 length, uint256 offset) internal view returns (bytes32 word) {
        uint256 size = address(this).code.length;
        if (size != PROXY + length) revert NotAClone(PROXY + length, size);
        assembly ("memory-safe") {
            extcodecopy(address(), 0x00, add(PROXY, offset), 0x20)
            word := mload(0x00)
        }
    }

    function initCode(address implementation, bytes memory arguments) internal pure returns (bytes memory) {
        // The length is one byte of the code. No arguments of ours are near that.
        assert(arguments.length <= type(uint8).max - PROXY);
        return abi.encodePacked(
            hex"3d60",
            uint8(PROXY + arguments.length),
            hex"80600a3d3981f3363d3d373d3d3d363d73",
            implementation,
            hex"5af43d82803e903d91602b57fd5bf3",
            arguments
        );
    }

    function addressOf(bytes memory code) private view returns (address) {
        return address(uint160(uint256(keccak256(abi.encodePacked(hex"ff", address(this), bytes32(0), keccak256(code))))));
    }
}
