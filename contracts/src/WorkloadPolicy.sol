// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ListedId, PolicyId} from "./Types.sol";
import {IWorkloadPolicy} from "./interfaces/IWorkloadPolicy.sol";

contract WorkloadPolicy is IWorkloadPolicy {
    /// A longer delay is a policy that can never be corrected; and the sum with a block time stays far from overflow.
    uint64 public constant MAX_DELAY = 365 days;
    /// @inheritdoc IWorkloadPolicy
    uint64 public constant RETIRE_NOTICE = 1 hours;
    /// @inheritdoc IWorkloadPolicy
    uint256 public constant MAX_FIRST = 64;

    uint64 private constant NEVER = type(uint64).max;
    bytes32 private constant POLICY_TAG = keccak256("candor/policy/1");

    mapping(PolicyId policyId => Policy) private _policies;
    // Invariant: of an entry that is in force only the two ends change, each once and from NEVER.
    mapping(PolicyId policyId => mapping(ListedId listedId => Listing)) private _listings;
    mapping(PolicyId policyId => mapping(address operator => Listing)) private _operators;

    /// @inheritdoc IWorkloadPolicy
    function create(Terms calldata terms, FirstListing[] calldata listings, FirstOperator[] calldata operators)
        external
        returns (PolicyId policyId)
    {
        if (terms.delay > MAX_DELAY) revert DelayTooLong(MAX_DELAY, terms.delay);
        if (listings.length + operators.length > MAX_FIRST) revert TooManyFirst(MAX_FIRST, listings.length + operators.length);
        if (terms.operatorsMode == OperatorsMode.Any && operators.length != 0) revert OperatorsAreNotListed();
        policyId = policyIdOf(terms, listings, operators);
        if (_policies[policyId].exists) revert PolicyExists(policyId);
        _policies[policyId] = Policy({
            owner: terms.owner, delay: terms.delay, maxLookback: terms.maxLookback, operatorsMode: terms.operatorsMode, exists: true
        });
        emit PolicyCreated(policyId, terms.owner, terms);
        for (uint256 i = 0; i < listings.length; ++i) {
            _list(_listings[policyId][listings[i].listedId], listings[i].from, 0);
            emit WorkloadProposed(policyId, listings[i].listedId, listings[i].from, 0);
        }
        for (uint256 i = 0; i < operators.length; ++i) {
            _list(_operators[policyId][operators[i].operator], operators[i].from, 0);
            emit OperatorProposed(policyId, operators[i].operator, operators[i].from, 0);
        }
    }

    /// @inheritdoc IWorkloadPolicy
    function proposeWorkload(PolicyId policyId, ListedId listedId, uint64 from) external {
        uint64 effectiveAt = uint64(block.timestamp) + _owned(policyId).delay;
        _list(_listings[policyId][listedId], from, effectiveAt);
        emit WorkloadProposed(policyId, listedId, from, effectiveAt);
    }

    /// @inheritdoc IWorkloadPolicy
    function proposeOperator(PolicyId policyId, address operator_, uint64 from) external {
        Policy storage found = _owned(policyId);
        if (found.operatorsMode == OperatorsMode.Any) revert OperatorsAreNotListed();
        uint64 effectiveAt = uint64(block.timestamp) + found.delay;
        _list(_operators[policyId][operator_], from, effectiveAt);
        emit OperatorProposed(policyId, operator_, from, effectiveAt);
    }

    /// @inheritdoc IWorkloadPolicy
    function withdrawWorkload(PolicyId policyId, ListedId listedId) external {
        _owned(policyId);
        _withdraw(_listings[policyId][listedId]);
        emit WorkloadWithdrawn(policyId, listedId);
    }

    /// @inheritdoc IWorkloadPolicy
    function withdrawOperator(PolicyId policyId, address operator_) external {
        _owned(policyId);
        _withdraw(_operators[policyId][operator_]);
        emit OperatorWithdrawn(policyId, operator_);
    }

    /// @inheritdoc IWorkloadPolicy
    function deprecateWorkload(PolicyId policyId, ListedId listedId) external {
        _owned(policyId);
        uint64 end = _deprecate(_listings[policyId][listedId]);
        emit WorkloadDeprecated(policyId, listedId, end);
    }

    /// @inheritdoc IWorkloadPolicy
    function deprecateOperator(PolicyId policyId, address operator_) external {
        _owned(policyId);
        uint64 end = _deprecate(_operators[policyId][operator_]);
        emit OperatorDeprecated(policyId, operator_, end);
    }

    /// @inheritdoc IWorkloadPolicy
    function revokeWorkload(PolicyId policyId, ListedId listedId, uint64 since) external {
        _revoke(_owned(policyId), _listings[policyId][listedId], since);
        emit WorkloadRevoked(policyId, listedId, since);
    }

    /// @inheritdoc IWorkloadPolicy
    function revokeOperator(PolicyId policyId, address operator_, uint64 since) external {
        _revoke(_owned(policyId), _operators[policyId][operator_], since);
        emit OperatorRevoked(policyId, operator_, since);
    }

    /// @inheritdoc IWorkloadPolicy
    function acceptsAt(PolicyId policyId, ListedId listedId, address operator_, uint64 finished, uint64 anchoredAt)
        external
        view
        returns (bool)
    {
        if (!_accepts(_listings[policyId][listedId], finished, anchoredAt)) return false;
        return
            _policies[policyId].operatorsMode == OperatorsMode.Any
                || _accepts(_operators[policyId][operator_], finished, anchoredAt);
    }

    /// @inheritdoc IWorkloadPolicy
    function policyIdOf(Terms calldata terms, FirstListing[] calldata listings, FirstOperator[] calldata operators)
        public
        pure
        returns (PolicyId)
    {
        bytes32 first = keccak256(abi.encode(listings, operators));
        return PolicyId.wrap(
            keccak256(abi.encode(POLICY_TAG, terms.owner, terms.salt, terms.delay, terms.maxLookback, terms.operatorsMode, first))
        );
    }

    /// @inheritdoc IWorkloadPolicy
    function policy(PolicyId policyId) external view returns (Policy memory) {
        return _policies[policyId];
    }

    /// @inheritdoc IWorkloadPolicy
    function workload(PolicyId policyId, ListedId listedId) external view returns (Listing memory) {
        return _listings[policyId][listedId];
    }

    /// @inheritdoc IWorkloadPolicy
    function operator(PolicyId policyId, address operator_) external view returns (Listing memory) {
        return _operators[policyId][operator_];
    }

    /// Listed once and never again: what was deprecated or revoked is history, and no later act can fill it with other words.
    function _list(Listing storage listing, uint64 from, uint64 effectiveAt) private {
        if (listing.deprecatedAt != 0) revert AlreadyListed(listing.from);
        listing.from = from;
        listing.effectiveAt = effectiveAt;
        listing.deprecatedAt = NEVER;
        listing.revokedSince = NEVER;
    }

    function _withdraw(Listing storage listing) private {
        if (listing.deprecatedAt == 0) revert NotListed();
        if (listing.effectiveAt <= block.timestamp) revert AlreadyInForce(listing.effectiveAt);
        // Withdrawing would undo an end: the entry could be proposed again.
        if (listing.deprecatedAt != NEVER) revert AlreadyEnded(listing.deprecatedAt);
        if (listing.revokedSince != NEVER) revert AlreadyEnded(listing.revokedSince);
        listing.from = 0;
        listing.effectiveAt = 0;
        listing.deprecatedAt = 0;
        listing.revokedSince = 0;
    }

    function _deprecate(Listing storage listing) private returns (uint64 end) {
        if (listing.deprecatedAt == 0) revert NotListed();
        if (listing.deprecatedAt != NEVER) revert AlreadyEnded(listing.deprecatedAt);
        end = uint64(block.timestamp) + RETIRE_NOTICE;
        listing.deprecatedAt = end;
    }

    /// A revocation may reach back as far as the policy allows, and a second one only further back.
    function _revoke(Policy storage found, Listing storage listing, uint64 since) private {
        if (listing.deprecatedAt == 0) revert NotListed();
        uint64 now_ = uint64(block.timestamp);
        if (since > now_) revert SinceTheFuture(now_, since);
        if (now_ - since > found.maxLookback) revert TooFarBack(now_ - found.maxLookback, since);
        if (since >= listing.revokedSince) revert AlreadyEnded(listing.revokedSince);
        listing.revokedSince = since;
    }

    function _accepts(Listing storage listing, uint64 finished, uint64 anchoredAt) private view returns (bool) {
        return listing.deprecatedAt != 0 && listing.effectiveAt <= block.timestamp && listing.from <= anchoredAt
            && finished < listing.deprecatedAt && anchoredAt < listing.revokedSince;
    }

    /// The policy, if the sender owns it. Nobody owns one without an owner: no sender is the zero address.
    function _owned(PolicyId policyId) private view returns (Policy storage found) {
        found = _policies[policyId];
        if (!found.exists || found.owner != msg.sender) revert NotPolicyOwner(found.owner, msg.sender);
    }
}
