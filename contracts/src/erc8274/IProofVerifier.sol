// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title The inner layer of ERC-8274 (a draft of 2026-05-26; it may change): whether an output came from an input.
interface IProofVerifier {
    /// @param inputHash commitment to the input; the scheme is each verifier's own.
    /// @param outputHash commitment to the output; likewise.
    /// @param metadata what does not change between calls, kept by the outer layer.
    /// @param proof the evidence about this inference.
    function verify(bytes32 inputHash, bytes32 outputHash, bytes calldata metadata, bytes calldata proof) external returns (bool);

    /// @notice "{paradigm}/{variant}".
    function proofSystem() external view returns (string memory);

    /// @notice Identity of this deployment.
    function proofProfile() external view returns (bytes32);
}
