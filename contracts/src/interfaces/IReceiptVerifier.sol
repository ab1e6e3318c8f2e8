// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {LogId, PolicyId, ReceiptWords, WorkloadId} from "../Types.sol";
import {IEnclaveRegistry} from "./IEnclaveRegistry.sol";
import {ILogAnchor} from "./ILogAnchor.sol";
import {IWorkloadPolicy} from "./IWorkloadPolicy.sol";

/// @title Proves a receipt to a contract: signed by an attested key, in an anchored log, under a policy that the caller names.
/// @notice Nobody owns this contract and it stores nothing.
///
/// NOT proven: delivery to the client (only hand-over to the host); that the payment settled (read the token); for PROXY work, anything
/// about the upstream's model; that the receipt's recent block exists (a client with an RPC checks that); that the same receipt was not
/// proven before (a caller that pays out must remember `receiptDigest`); that the enclave's code deserves the policy's acceptance.
interface IReceiptVerifier {
    /// @notice What was proven beyond the words of the receipt. Times in Unix seconds.
    struct Proven {
        /// Identity of the receipt.
        bytes32 receiptDigest;
        address kSig;
        address operator;
        WorkloadId workloadId;
        uint32 kind;
        /// Block time of the anchor: the receipt existed by then.
        uint64 anchoredAt;
    }

    error UnsupportedVersion(uint8 expected, uint8 got);
    error SignerNotRegistered(address got);
    error WrongManifest(bytes32 expected, bytes32 got);
    error WrongLog(LogId expected, LogId got);
    error NotAccepted(PolicyId policyId, WorkloadId workloadId, address operator);
    error WrongChain(uint256 expected, uint256 got);
    /// @notice This contract knows no settler; receipts that name one need a verifier that can recompute its address.
    error WrongSettler(address expected, address got);
    error WrongPayee(address expected, address got);
    error NotAnchored(LogId logId, uint64 size);
    error AnchoredAfterInvalidation(uint64 invalidFrom, uint64 anchoredAt);
    error FinishedBeforeValidity(uint64 validFrom, uint64 finished);
    /// @notice The key was not valid when the answer was finished: lapsed, between two periods, or invalid.
    error FinishedOutsideValidity(IEnclaveRegistry.Status status, uint64 finished);
    error FinishedAfterAnchor(uint64 latest, uint64 finished);
    /// @notice The anchor came later than any honest one of this answer: a key that lapsed long ago proves nothing new.
    error AnchoredTooLate(uint64 latest, uint64 anchoredAt);
    error WrongRoot(bytes32 expected, bytes32 got);

    /// @notice Checks everything that this chain can know about a receipt, or reverts with what is wrong.
    /// @param receipt the receipt's 34 words.
    /// @param signature K_sig's, 65 bytes.
    /// @param logSalt the salt of its leaf.
    /// @param anchoredSize an anchored size of its log that is greater than its sequence number.
    /// @param inclusion the RFC 9162 proof of its leaf, at index `sequence`, in the tree of that size.
    /// @param policyId who decides what is acceptable. Mandatory, because registered is not acceptable.
    function prove(
        ReceiptWords calldata receipt,
        bytes calldata signature,
        bytes32 logSalt,
        uint64 anchoredSize,
        bytes32[] calldata inclusion,
        PolicyId policyId
    ) external view returns (Proven memory);

    /// @notice The EIP-712 digest of a receipt.
    function receiptDigest(ReceiptWords calldata receipt) external pure returns (bytes32);

    /// @notice How far, in seconds, an enclave's clock may run ahead of the chain's.
    function CLOCK_SKEW() external view returns (uint64);

    function registry() external view returns (IEnclaveRegistry);
    function logAnchor() external view returns (ILogAnchor);
    function workloadPolicy() external view returns (IWorkloadPolicy);
}
