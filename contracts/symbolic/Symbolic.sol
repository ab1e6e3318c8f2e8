// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// The part of halmos' cheat codes that these checks use.
interface Svm {
    /// Whatever was never written may hold anything.
    function enableSymbolicStorage(address target) external;
    /// Any call of any function of this contract that may change something; arrays have at most two entries.
    function createCalldata(string memory contractName) external returns (bytes memory);
}

/// The part of the cheat codes of forge that halmos has too.
interface SymbolicVm {
    function assume(bool condition) external pure;
    function warp(uint256 timestamp) external;
    function roll(uint256 number) external;
    function prank(address sender) external;
    function getCode(string calldata path) external view returns (bytes memory);
}

/// What every symbolic check needs. A check is a function `check_…`: halmos runs it for all values of its arguments at once, and it fails if
/// any of them reaches an `assert` that does not hold.
abstract contract Symbolic {
    SymbolicVm internal constant vm = SymbolicVm(0x7109709ECfa91a80626fF3989D68f67F5b1DD12D);
    Svm internal constant svm = Svm(0xF3993A62377BCd56AE39D773740A5390411E8BC9);

    /// A contract as forge built it: where the source names `new`, compiling a check would compile its contract again.
    function deploy(string memory name, bytes memory arguments) internal returns (address made) {
        string memory file = string.concat("out/symbolic/", name, ".sol/", name, ".json");
        bytes memory code = abi.encodePacked(vm.getCode(file), arguments);
        assembly ("memory-safe") {
            made := create(0, add(code, 0x20), mload(code))
        }
        assert(made != address(0));
    }

    /// Any moment of the next thousand years: sums with it do not overflow. In Unix seconds.
    function setTime(uint256 time) internal {
        vm.assume(time < 1 << 35);
        vm.warp(time);
    }
}
