// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {WorkloadId} from "../Types.sol";

/// @title What one kind of attestation verifier tells the registry about a piece of evidence.
/// @notice One contract per kind; the registry's list of kinds is fixed when it is deployed.
interface IAttestationVerifier {
    /// @notice What the evidence shows, if the verifier accepts it.
    struct Attested {
        /// Kind, root fingerprint and measurements in one hash.
        WorkloadId workloadId;
        /// keccak256 of the 64 attested bytes: K_sig (20), manifest hash (32), freshness tag (12).
        bytes32 attestedHash;
        /// When the document was made, Unix seconds, by the clock of whoever made it.
        uint64 documentTime;
        /// Until when it counts, Unix seconds.
        uint64 validUntil;
    }

    /// @notice The number of this kind in a workload id.
    function kind() external view returns (uint32);

    /// @notice Accepts evidence and says what it shows, or reverts.
    /// @dev Genuine is all that is proven. NOT proven, and left to the caller: that it is fresh (`attestedHash` holds a tag; compare it),
    /// that it has not expired (compare `validUntil` with the clock), that the workload is one that anybody should accept (a policy).
    /// @param evidence the attestation document.
    /// @param verifierData what this kind needs beside it; its form is the kind's.
    function verify(bytes calldata evidence, bytes calldata verifierData) external view returns (Attested memory);
}
