// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAttestationVerifier} from "./IAttestationVerifier.sol";

/// @title Verifier of kind QUORUM: t of n named attestors have verified the evidence off chain and sign what they saw.
/// @notice Powers: any t members together can forge a verdict about any evidence. That is said in the workload id, whose root
/// fingerprint is (t, members), so no policy accepts them without naming them. The list is fixed at deployment: no owner, no rotation.
/// The kind and root that the attestors checked are carried inside and enter the workload id too.
/// @dev `verifierData` = the 6 ABI words of the Verdict, then the signatures of 65 bytes each, by ascending signer address, with nothing
/// between and nothing after. EIP-712 domain {name: "Candor Attestor", version: "2", chainId, verifyingContract}.
interface IQuorumVerifier is IAttestationVerifier {
    /// @notice What an attestor signs. Times in Unix seconds.
    struct Verdict {
        bytes32 evidenceHash;
        uint256 innerKind;
        bytes32 innerRoot;
        bytes32 innerMeasurements;
        bytes32 attestedHash;
        /// The inner document's own signed time; for an inner kind without one, that of the block in its freshness tag, which each
        /// attestor reads from a chain of its own. Never an attestor's clock.
        uint64 documentTime;
    }

    error NoMembers();
    error TooManyMembers(uint256 maximum, uint256 got);
    /// @notice Members are listed once each, by ascending address, so that one set has one fingerprint. Zero is no member.
    error MembersNotSorted(address previous, address got);
    error ThresholdOutOfRange(uint256 members, uint256 got);

    /// @notice `verifierData` is not 192 bytes and then whole signatures.
    error VerifierDataLength(uint256 minimum, uint256 got);
    error WrongEvidence(bytes32 expected, bytes32 got);
    error TooFewSignatures(uint256 expected, uint256 got);
    /// @notice Signatures come by ascending signer; so none counts twice.
    error SignersNotSorted(address previous, address got);
    error NotAMember(address got);

    /// @notice The number of this kind in a workload id: 0x51.
    function kind() external view returns (uint32);

    /// @notice How many members must sign.
    function threshold() external view returns (uint256);

    /// @notice Everyone who may sign, by ascending address.
    function members() external view returns (address[] memory);

    /// @notice keccak256(abi.encode(threshold, members)): the root fingerprint of this kind.
    function quorumRoot() external view returns (bytes32);

    /// @notice The EIP-712 digest that a member signs for this contract on this chain.
    function verdictDigest(Verdict calldata verdict) external view returns (bytes32);
}
