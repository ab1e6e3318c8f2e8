// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title The outer layer of ERC-8274 (a draft of 2026-05-26; it may change): whether an agent may claim an output for a task.
interface IAgentVerifier {
    /// @notice Of every call, whatever its result; the fields are the digest's preimage.
    event VerificationCompleted(
        bytes32 indexed taskId,
        bytes32 indexed agentId,
        bytes32 indexed verificationDigest,
        bool valid,
        bytes32 inputHash,
        bytes32 outputHash,
        bytes32 agentProofProfile
    );

    /// @return valid whether the claim holds.
    /// @return verificationDigest keccak256(abi.encode(taskId, agentId, inputHash, outputHash, valid, agentProofProfile)).
    function verify(bytes32 taskId, bytes32 agentId, bytes32 inputHash, bytes32 outputHash, bytes calldata proof)
        external
        returns (bool valid, bytes32 verificationDigest);
}

/// @title What a settlement contract says of itself under ERC-8274.
interface IAgentVerifiable {
    event AgentVerifierUpdated(address indexed previousVerifier, address indexed newVerifier);

    function getAgentVerifier() external view returns (IAgentVerifier);
}
