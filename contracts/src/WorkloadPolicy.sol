// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {PolicyId, WorkloadId} from "./Types.sol";
import {IWorkloadPolicy} from "./interfaces/IWorkloadPolicy.sol";

contract WorkloadPolicy is IWorkloadPolicy {
    /// A longer delay is a policy that can never be corrected; and the sum with a block time stays far from overflow.
    uint64 public constant MAX_DELAY = 365 days;

    mapping(PolicyId policyId => Policy) private _policies;
    mapping(PolicyId policyId => mapping(WorkloadId workloadId => Listing)) private _workloads;
    mapping(PolicyId policyId => mapping(address operator => Listing)) private _operators;

    /// @inheritdoc IWorkloadPolicy
    function create(bytes32 salt, uint64 delay) external returns (PolicyId policyId) {
        if (delay > MAX_DELAY) revert DelayTooLong(MAX_DELAY, delay);
        policyId = policyIdOf(msg.sender, salt);
        if (_policies[policyId].owner != address(0)) revert PolicyExists(policyId);
        _policies[policyId] = Policy({owner: msg.sender, delay: delay, operatorsListed: false});
        emit PolicyCreated(policyId, msg.sender, salt, delay);
    }

    /// @inheritdoc IWorkloadPolicy
    function proposeWorkload(PolicyId policyId, WorkloadId workloadId) external {
        uint64 acceptedFrom = _list(policyId, _workloads[policyId][workloadId]);
        emit WorkloadProposed(policyId, workloadId, acceptedFrom);
    }

    /// @inheritdoc IWorkloadPolicy
    function removeWorkload(PolicyId policyId, WorkloadId workloadId) external {
        uint64 removedAt = _unlist(policyId, _workloads[policyId][workloadId]);
        emit WorkloadRemoved(policyId, workloadId, removedAt);
    }

    /// @inheritdoc IWorkloadPolicy
    function proposeOperator(PolicyId policyId, address operator_) external {
        uint64 acceptedFrom = _list(policyId, _operators[policyId][operator_]);
        _policies[policyId].operatorsListed = true;
        emit OperatorProposed(policyId, operator_, acceptedFrom);
    }

    /// @inheritdoc IWorkloadPolicy
    function removeOperator(PolicyId policyId, address operator_) external {
        uint64 removedAt = _unlist(policyId, _operators[policyId][operator_]);
        emit OperatorRemoved(policyId, operator_, removedAt);
    }

    /// @inheritdoc IWorkloadPolicy
    function accepts(PolicyId policyId, WorkloadId workloadId, address operator_) external view returns (bool) {
        if (!_isAccepted(_workloads[policyId][workloadId])) return false;
        return !_policies[policyId].operatorsListed || _isAccepted(_operators[policyId][operator_]);
    }

    /// @inheritdoc IWorkloadPolicy
    function policyIdOf(address owner, bytes32 salt) public pure returns (PolicyId) {
        return PolicyId.wrap(keccak256(abi.encode(owner, salt)));
    }

    /// @inheritdoc IWorkloadPolicy
    function policy(PolicyId policyId) external view returns (Policy memory) {
        return _policies[policyId];
    }

    /// @inheritdoc IWorkloadPolicy
    function workload(PolicyId policyId, WorkloadId workloadId) external view returns (Listing memory) {
        return _workloads[policyId][workloadId];
    }

    /// @inheritdoc IWorkloadPolicy
    function operator(PolicyId policyId, address operator_) external view returns (Listing memory) {
        return _operators[policyId][operator_];
    }

    function _list(PolicyId policyId, Listing storage listing) private returns (uint64 acceptedFrom) {
        uint64 delay = _checkOwner(policyId).delay;
        if (_isListed(listing)) revert AlreadyListed(listing.acceptedFrom);
        acceptedFrom = uint64(block.timestamp) + delay;
        listing.acceptedFrom = acceptedFrom;
        listing.removedAt = 0;
    }

    function _unlist(PolicyId policyId, Listing storage listing) private returns (uint64 removedAt) {
        _checkOwner(policyId);
        if (!_isListed(listing)) revert NotListed();
        removedAt = uint64(block.timestamp);
        listing.removedAt = removedAt;
    }

    function _checkOwner(PolicyId policyId) private view returns (Policy storage found) {
        found = _policies[policyId];
        if (found.owner != msg.sender) revert NotPolicyOwner(found.owner, msg.sender);
    }

    function _isListed(Listing storage listing) private view returns (bool) {
        return listing.acceptedFrom != 0 && listing.removedAt == 0;
    }

    function _isAccepted(Listing storage listing) private view returns (bool) {
        return _isListed(listing) && listing.acceptedFrom <= block.timestamp;
    }
}
