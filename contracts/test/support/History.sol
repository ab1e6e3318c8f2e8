// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// Stands in for the contract of EIP-2935: 32 bytes of input are a number, the answer is the hash of one of the last 8,191 blocks,
/// and a number out of that range reverts. Its hashes are made up, so that a test sees where one came from.
contract History {
    address internal constant ADDRESS = 0x0000F90827F1C53a10cb7A02335B175320002935;

    error NotServed(uint256 number);

    fallback(bytes calldata input) external returns (bytes memory) {
        uint256 number = abi.decode(input, (uint256));
        if (input.length != 32 || number >= block.number || number + 8191 < block.number) revert NotServed(number);
        return abi.encode(keccak256(abi.encode("history", number)));
    }
}
