// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {PolicyId, WorkloadId} from "../Types.sol";

/// @title Who accepts which workloads, and from which operators.
/// @notice Anyone may make policies; there is no default and none is better than its owner. Naming a policy means trusting its owner
/// to list only measurements that were built from code worth running.
///
/// Powers of a policy's owner: propose (effective after the policy's own delay, so that its users see it coming) and remove (effective
/// at once). The delay is fixed when the policy is made. Owners cannot be changed: a new owner is a new policy, which each user must
/// choose. Nobody else has any power.
interface IWorkloadPolicy {
    struct Policy {
        address owner;
        /// Seconds between a proposal and its effect.
        uint64 delay;
        /// Whether only listed operators are accepted. Set by the first proposal of an operator and never cleared, so that removing the
        /// last operator accepts nobody rather than everybody.
        bool operatorsListed;
    }

    /// @notice Unix seconds. `acceptedFrom` is zero if it was never proposed; `removedAt` is zero while it is listed. Proposing again
    /// after a removal starts a new entry; the old times stay in the events.
    struct Listing {
        uint64 acceptedFrom;
        uint64 removedAt;
    }

    event PolicyCreated(PolicyId indexed policyId, address indexed owner, bytes32 salt, uint64 delay);
    event WorkloadProposed(PolicyId indexed policyId, WorkloadId indexed workloadId, uint64 acceptedFrom);
    event WorkloadRemoved(PolicyId indexed policyId, WorkloadId indexed workloadId, uint64 removedAt);
    event OperatorProposed(PolicyId indexed policyId, address indexed operator, uint64 acceptedFrom);
    event OperatorRemoved(PolicyId indexed policyId, address indexed operator, uint64 removedAt);

    error DelayTooLong(uint64 maximum, uint64 got);
    error PolicyExists(PolicyId policyId);
    error NotPolicyOwner(address expected, address got);
    error AlreadyListed(uint64 acceptedFrom);
    error NotListed();

    /// @notice Makes a policy of the sender's, with nothing in it, which accepts nothing.
    /// @param delay seconds between a proposal and its effect; zero is for development.
    function create(bytes32 salt, uint64 delay) external returns (PolicyId policyId);

    /// @notice Lists a workload; accepted after the delay.
    function proposeWorkload(PolicyId policyId, WorkloadId workloadId) external;

    /// @notice Ends the acceptance of a workload in this block, or withdraws its proposal.
    function removeWorkload(PolicyId policyId, WorkloadId workloadId) external;

    /// @notice Lists an operator; accepted after the delay. The first one restricts the policy to listed operators *at once*.
    function proposeOperator(PolicyId policyId, address operator) external;

    /// @notice Ends the acceptance of an operator in this block, or withdraws its proposal.
    function removeOperator(PolicyId policyId, address operator) external;

    /// @notice Whether the policy accepts this workload under this operator now. False for a policy that does not exist.
    function accepts(PolicyId policyId, WorkloadId workloadId, address operator) external view returns (bool);

    /// @notice The id of the policy that `owner` makes with `salt`.
    function policyIdOf(address owner, bytes32 salt) external pure returns (PolicyId);

    /// @notice A policy; all zero if it does not exist.
    function policy(PolicyId policyId) external view returns (Policy memory);

    /// @notice Since when, and until when, a workload is listed.
    function workload(PolicyId policyId, WorkloadId workloadId) external view returns (Listing memory);

    /// @notice Since when, and until when, an operator is listed.
    function operator(PolicyId policyId, address operator_) external view returns (Listing memory);
}
