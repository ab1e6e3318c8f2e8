// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "./Vm.sol";

/// What every test needs: cheat codes, comparisons that say what differed, signatures as 65 bytes.
abstract contract Base {
    Vm internal constant vm = Vm(0x7109709ECfa91a80626fF3989D68f67F5b1DD12D);

    error Differs(bytes32 expected, bytes32 got);
    error DiffersIn(string what, bytes32 expected, bytes32 got);

    function assertEq(bytes32 got, bytes32 expected) internal pure {
        if (got != expected) revert Differs(expected, got);
    }

    function assertEq(uint256 got, uint256 expected) internal pure {
        assertEq(bytes32(got), bytes32(expected));
    }

    function assertEq(address got, address expected) internal pure {
        assertEq(uint160(got), uint160(expected));
    }

    function assertEq(bytes32 got, bytes32 expected, string memory what) internal pure {
        if (got != expected) revert DiffersIn(what, expected, got);
    }

    function assertTrue(bool condition, string memory what) internal pure {
        if (!condition) revert DiffersIn(what, bytes32(uint256(1)), 0);
    }

    function sign(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function bound(uint256 value, uint256 low, uint256 high) internal pure returns (uint256) {
        return low + value % (high - low + 1);
    }
}
