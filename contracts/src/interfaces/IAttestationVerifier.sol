// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {WorkloadId} from "../Types.sol";

/// @title What an attestation verifier tells the registry about a piece of evidence.
/// @notice Anybody may deploy one and register through it; which of them to believe, by address and code, is a policy's decision.
interface IAttestationVerifier {
    /// @notice What the evidence shows, if the verifier accepts it. Three words, and the registry reads no more.
    struct Attested {
        /// Kind, root fingerprint and measurements in one hash.
        WorkloadId workloadId;
        /// keccak256 of the 64 attested bytes: K_sig (20), manifest hash (32), freshness tag (12).
        bytes32 attestedHash;
        /// When the document was made, Unix seconds, as it says itself under its signature. Zero for kinds whose documents say no time:
        /// then the block in the freshness tag gives it (IKeys.pin).
        uint64 documentTime;
    }

    /// @notice Accepts evidence and says what it shows, or reverts.
    /// @dev Genuine is all that is proven, and at the document's own time: certificates are compared with that, never with the block's, so
    /// that what a document covers can be shown for as long as the registry takes it. NOT proven, and left to the caller: that it is fresh
    /// (`attestedHash` holds a tag; compare it), that it is not too old, that the workload is one that anybody should accept (a policy).
    /// @param evidence the attestation document.
    /// @param verifierData what this verifier needs beside it; the form is its own.
    function verify(bytes calldata evidence, bytes calldata verifierData) external view returns (Attested memory);
}
