// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ListedId, PolicyId} from "../Types.sol";

/// @title Who accepts which workloads, judged by which verifiers, from which operators, and for which stretch of time.
/// @notice Anyone may make policies; there is no default and none is better than its owner. A policy's id is the hash of what it was made
/// with, so the id alone says what it accepts at first, and one without an owner never accepts anything else.
///
/// Powers of a policy's owner, and of nobody else: propose (effective after the policy's own delay, so that its users see it coming),
/// withdraw what is not in force yet, deprecate (for answers that are finished an hour from now or later), and revoke (for trees that this chain saw
/// since a moment, at most `maxLookback` ago). None of it can be undone: an entry that ended is never listed again. Delay, lookback and mode are fixed;
/// owners cannot be changed: a new owner is a new policy, which each user must choose.
///
/// NOT proven by a policy: that its owner looked at the code; that a listed verifier is one whose logic cannot change under the same code
/// (no owner, no proxy, no storage that is written later). An owner who can list can, after the delay, make true what suits:
/// a contract that decides about money names a policy without an owner, or one whose owner it would let decide.
interface IWorkloadPolicy {
    enum OperatorsMode {
        /// Whoever operates it.
        Any,
        /// Those that are listed. The first list may be empty, which accepts nobody yet.
        Listed
    }

    /// @notice What a policy is made with, beside its first lists.
    struct Terms {
        /// Zero: nobody, and nothing ever changes.
        address owner;
        bytes32 salt;
        /// Seconds between a proposal and its effect; zero is for development.
        uint64 delay;
        /// How many seconds a revocation may reach back.
        uint64 maxLookback;
        OperatorsMode operatorsMode;
    }

    /// @notice A listing that is in force from the first. `from`: Unix seconds, see Listing.
    struct FirstListing {
        ListedId listedId;
        uint64 from;
    }

    struct FirstOperator {
        address operator;
        uint64 from;
    }

    struct Policy {
        address owner;
        uint64 delay;
        uint64 maxLookback;
        OperatorsMode operatorsMode;
        bool exists;
    }

    /// @notice Unix seconds. All zero: not listed. Without an end the two ends are 2^64 - 1.
    struct Listing {
        /// Counts for trees that this chain saw from then on. May lie in the past: a release is listed after it runs.
        uint64 from;
        /// Counts at all from then on.
        uint64 effectiveAt;
        /// Counts for answers that were finished before.
        uint64 deprecatedAt;
        /// Counts for trees that this chain saw before.
        uint64 revokedSince;
    }

    event PolicyCreated(PolicyId indexed policyId, address indexed owner, Terms terms);
    event WorkloadProposed(PolicyId indexed policyId, ListedId indexed listedId, uint64 from, uint64 effectiveAt);
    event WorkloadWithdrawn(PolicyId indexed policyId, ListedId indexed listedId);
    event WorkloadDeprecated(PolicyId indexed policyId, ListedId indexed listedId, uint64 deprecatedAt);
    event WorkloadRevoked(PolicyId indexed policyId, ListedId indexed listedId, uint64 revokedSince);
    event OperatorProposed(PolicyId indexed policyId, address indexed operator, uint64 from, uint64 effectiveAt);
    event OperatorWithdrawn(PolicyId indexed policyId, address indexed operator);
    event OperatorDeprecated(PolicyId indexed policyId, address indexed operator, uint64 deprecatedAt);
    event OperatorRevoked(PolicyId indexed policyId, address indexed operator, uint64 revokedSince);

    error DelayTooLong(uint64 maximum, uint64 got);
    error TooManyFirst(uint256 maximum, uint256 got);
    error PolicyExists(PolicyId policyId);
    error NotPolicyOwner(address expected, address got);
    /// @notice This policy takes any operator; a list would only look as if it decided something.
    error OperatorsAreNotListed();
    error AlreadyListed(uint64 from);
    error NotListed();
    /// @notice It cannot be withdrawn any more: deprecate or revoke it.
    error AlreadyInForce(uint64 effectiveAt);
    /// @notice It ended then, and cannot end again, or later.
    error AlreadyEnded(uint64 end);
    error TooFarBack(uint64 earliest, uint64 got);
    error SinceTheFuture(uint64 now_, uint64 got);

    /// @notice Makes the policy that these words name. Anyone may send it: the sender decides nothing.
    function create(Terms calldata terms, FirstListing[] calldata listings, FirstOperator[] calldata operators)
        external
        returns (PolicyId policyId);

    /// @notice Lists a workload as a verifier judged it, after the delay, for trees seen from `from` on.
    function proposeWorkload(PolicyId policyId, ListedId listedId, uint64 from) external;

    /// @notice Takes back a proposal that is not in force yet; it may be proposed again.
    function withdrawWorkload(PolicyId policyId, ListedId listedId) external;

    /// @notice Ends a workload with an hour's notice, for answers finished later.
    function deprecateWorkload(PolicyId policyId, ListedId listedId) external;

    /// @notice Ends a workload for trees that this chain saw since `since`; again only for an earlier moment.
    function revokeWorkload(PolicyId policyId, ListedId listedId, uint64 since) external;

    /// @notice As `proposeWorkload`, for an operator.
    function proposeOperator(PolicyId policyId, address operator_, uint64 from) external;

    /// @notice As `withdrawWorkload`, for an operator.
    function withdrawOperator(PolicyId policyId, address operator_) external;

    /// @notice As `deprecateWorkload`, for an operator.
    function deprecateOperator(PolicyId policyId, address operator_) external;

    /// @notice As `revokeWorkload`, for an operator.
    function revokeOperator(PolicyId policyId, address operator_, uint64 since) external;

    /// @notice Whether the policy accepts an answer that was finished then, in a tree that this chain saw then, of this workload under
    /// this operator. False for a policy that does not exist.
    /// @param finished Unix seconds by the enclave's clock.
    /// @param anchoredAt Unix seconds, block time.
    function acceptsAt(PolicyId policyId, ListedId listedId, address operator_, uint64 finished, uint64 anchoredAt)
        external
        view
        returns (bool);

    /// @notice The id of the policy that these words make.
    function policyIdOf(Terms calldata terms, FirstListing[] calldata listings, FirstOperator[] calldata operators)
        external
        pure
        returns (PolicyId);

    /// @notice A policy; all zero if it does not exist.
    function policy(PolicyId policyId) external view returns (Policy memory);

    /// @notice How a workload is listed.
    function workload(PolicyId policyId, ListedId listedId) external view returns (Listing memory);

    /// @notice How an operator is listed.
    function operator(PolicyId policyId, address operator_) external view returns (Listing memory);

    /// @notice Notice of a deprecation, in seconds.
    function RETIRE_NOTICE() external view returns (uint64);

    /// @notice How many entries the first lists may have together.
    function MAX_FIRST() external view returns (uint256);
}
