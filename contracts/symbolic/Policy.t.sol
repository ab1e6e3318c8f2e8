// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ListedId, PolicyId} from "../src/Types.sol";
import {WorkloadPolicy} from "../src/WorkloadPolicy.sol";
import {IWorkloadPolicy} from "../src/interfaces/IWorkloadPolicy.sol";
import {Symbolic} from "./Symbolic.sol";

/// The rules of policies: for every state that one can be in, whoever sends whatever, at any time. Each check takes one step from a state of
/// which only `isSound` is assumed; that a step keeps it sound is a check too, so that what holds of one step holds of any number.
contract PolicySymbolic is Symbolic {
    uint64 private constant NEVER = type(uint64).max;

    WorkloadPolicy private policies;
    uint64 private maxDelay;
    uint64 private notice;

    /// One entry of one policy, a workload's or an operator's: the rules are the same for both.
    struct Entry {
        PolicyId policyId;
        uint160 id;
        bool isOperator;
    }

    /// An act on entries of that kind, on this one or another, of this policy or another.
    struct Act {
        address sender;
        PolicyId policyId;
        uint160 id;
        uint8 which;
        /// `from` or `since`.
        uint64 time;
    }

    function setUp() public {
        policies = WorkloadPolicy(deploy("WorkloadPolicy", ""));
        (maxDelay, notice) = (policies.MAX_DELAY(), policies.RETIRE_NOTICE());
        svm.enableSymbolicStorage(address(policies));
    }

    // Who.

    function check_onlyItsOwnerChangesAPolicy(Entry memory e, address sender, uint40 time) public {
        (IWorkloadPolicy.Policy memory policy, IWorkloadPolicy.Listing memory before) = begin(e, time);
        vm.assume(policy.exists && policy.owner != sender);
        anyCall(sender);
        assert(same(listing(e), before));
    }

    function check_nobodyChangesAPolicyWithoutAnOwner(Entry memory e, address sender, uint40 time) public {
        (IWorkloadPolicy.Policy memory policy, IWorkloadPolicy.Listing memory before) = begin(e, time);
        vm.assume(policy.exists && policy.owner == address(0) && sender != address(0));
        anyCall(sender);
        assert(same(listing(e), before));
        assert(same(policies.policy(e.policyId), policy));
    }

    /// Owner, delay, lookback and mode are for good, for the owner too.
    function check_whatAPolicyIsMadeWithNeverChanges(Entry memory e, address sender, uint40 time) public {
        (IWorkloadPolicy.Policy memory policy,) = begin(e, time);
        vm.assume(policy.exists);
        anyCall(sender);
        assert(same(policies.policy(e.policyId), policy));
    }

    /// So the checks below look at acts on entries of one kind only.
    function check_actsOnOneKindLeaveTheOtherAlone(Entry memory e, Act memory a, uint40 time) public {
        (, IWorkloadPolicy.Listing memory before) = begin(e, time);
        act(!e.isOperator, a);
        assert(same(listing(e), before));
    }

    function check_anActLeavesOtherEntriesAlone(Entry memory e, Act memory a, uint40 time) public {
        (, IWorkloadPolicy.Listing memory before) = begin(e, time);
        vm.assume(e.id != a.id || PolicyId.unwrap(e.policyId) != PolicyId.unwrap(a.policyId));
        act(e.isOperator, a);
        assert(same(listing(e), before));
    }

    /// What the other checks assume of a state holds after any act, too.
    function check_anActLeavesASoundState(Entry memory e, Act memory a, uint40 time) public {
        (IWorkloadPolicy.Policy memory policy,) = begin(e, time);
        act(e.isOperator, a);
        assert(isSound(policy, listing(e)));
    }

    /// And after a policy is made.
    function check_aNewPolicyIsSound(Entry memory e, IWorkloadPolicy.Terms memory terms, uint64 from, address sender, uint40 time)
        public
    {
        begin(e, time);
        IWorkloadPolicy.FirstListing[] memory listings = new IWorkloadPolicy.FirstListing[](1);
        listings[0] = IWorkloadPolicy.FirstListing(ListedId.wrap(bytes32(uint256(e.id))), from);
        vm.prank(sender);
        PolicyId made = policies.create(terms, listings, new IWorkloadPolicy.FirstOperator[](0));
        IWorkloadPolicy.Policy memory policy = policies.policy(made);
        assert(policy.exists && policy.owner == terms.owner && policy.delay == terms.delay);
        assert(policy.maxLookback == terms.maxLookback && policy.operatorsMode == terms.operatorsMode);
        IWorkloadPolicy.Listing memory first = policies.workload(made, listings[0].listedId);
        assert(isSound(policy, first) && first.from == from && first.effectiveAt == 0);
    }

    // From when.

    /// Users of a policy see a new entry coming, for as long as its delay.
    function check_aProposalCountsAfterTheDelay(
        Entry memory e,
        Act memory a,
        uint40 time,
        uint64 later,
        uint64 finished,
        uint64 seen
    ) public {
        (IWorkloadPolicy.Policy memory policy, IWorkloadPolicy.Listing memory before) = begin(e, time);
        vm.assume(before.deprecatedAt == 0);
        act(e.isOperator, a);
        vm.assume(later < uint256(time) + policy.delay);
        assert(!counts(listing(e), later, finished, seen));
    }

    function check_whatIsInForceKeepsItsBeginning(Entry memory e, Act memory a, uint40 time) public {
        (, IWorkloadPolicy.Listing memory before) = begin(e, time);
        vm.assume(isInForce(before, time));
        act(e.isOperator, a);
        IWorkloadPolicy.Listing memory after_ = listing(e);
        assert(isInForce(after_, time) && after_.from == before.from && after_.effectiveAt == before.effectiveAt);
    }

    // Until when.

    /// What was accepted stays so, as far back as no revocation reaches and no notice is owed.
    function check_historyIsNeverErased(Entry memory e, Act memory a, uint40 time, uint64 finished, uint64 seen) public {
        (IWorkloadPolicy.Policy memory policy, IWorkloadPolicy.Listing memory before) = begin(e, time);
        vm.assume(counts(before, time, finished, seen));
        vm.assume(finished < uint256(time) + notice && uint256(seen) + policy.maxLookback < time);
        act(e.isOperator, a);
        assert(counts(listing(e), time, finished, seen));
    }

    /// Not by the owner, and not later.
    function check_aRevokedStretchIsNeverFilledAgain(
        Entry memory e,
        Act memory a,
        uint40 time,
        uint64 later,
        uint64 finished,
        uint64 seen
    ) public {
        (, IWorkloadPolicy.Listing memory before) = begin(e, time);
        vm.assume(before.deprecatedAt != 0 && before.revokedSince != NEVER && before.revokedSince <= seen);
        act(e.isOperator, a);
        assert(!counts(listing(e), later, finished, seen));
        assert(listing(e).deprecatedAt != 0 && listing(e).revokedSince <= before.revokedSince);
    }

    function check_aDeprecatedStretchIsNeverFilledAgain(
        Entry memory e,
        Act memory a,
        uint40 time,
        uint64 later,
        uint64 finished,
        uint64 seen
    ) public {
        (, IWorkloadPolicy.Listing memory before) = begin(e, time);
        vm.assume(before.deprecatedAt != 0 && before.deprecatedAt != NEVER && before.deprecatedAt <= finished);
        act(e.isOperator, a);
        assert(!counts(listing(e), later, finished, seen));
        assert(listing(e).deprecatedAt == before.deprecatedAt);
    }

    function check_aRemovalIsInstant(Entry memory e, uint40 time, uint64 since, uint64 finished, uint64 seen) public {
        (IWorkloadPolicy.Policy memory policy,) = begin(e, time);
        act(e.isOperator, Act(policy.owner, e.policyId, e.id, 3, since));
        assert(!counts(listing(e), time, finished, seen) || seen < since);
        // However much is allowed, never the future: a revocation is of now at the latest.
        assert(since <= time);
    }

    function check_aRevocationReachesBackAsFarAsItMay(Entry memory e, uint40 time, uint64 since, uint64 finished, uint64 seen)
        public
    {
        (IWorkloadPolicy.Policy memory policy, IWorkloadPolicy.Listing memory before) = begin(e, time);
        act(e.isOperator, Act(policy.owner, e.policyId, e.id, 3, since));
        assert(time <= uint256(since) + policy.maxLookback);
        if (seen < since) assert(counts(listing(e), time, finished, seen) == counts(before, time, finished, seen));
    }

    function check_aDeprecationHasNotice(Entry memory e, uint40 time, uint64 finished, uint64 seen) public {
        (IWorkloadPolicy.Policy memory policy, IWorkloadPolicy.Listing memory before) = begin(e, time);
        act(e.isOperator, Act(policy.owner, e.policyId, e.id, 2, 0));
        bool isEarly = finished < uint256(time) + notice;
        assert(counts(listing(e), time, finished, seen) == (isEarly && counts(before, time, finished, seen)));
    }

    // What is accepted.

    /// In force now, begun when the tree was seen, finished before the deprecation, seen before the revocation; so of the workload, and
    /// where operators are listed of the operator.
    function check_acceptsAtIsTheRule(
        PolicyId policyId,
        ListedId listedId,
        address operator,
        uint64 finished,
        uint64 seen,
        uint40 time
    ) public {
        setTime(time);
        IWorkloadPolicy.OperatorsMode mode = policies.policy(policyId).operatorsMode;
        bool expected = counts(policies.workload(policyId, listedId), time, finished, seen)
            && (mode == IWorkloadPolicy.OperatorsMode.Any || counts(policies.operator(policyId, operator), time, finished, seen));
        assert(policies.acceptsAt(policyId, listedId, operator, finished, seen) == expected);
    }

    function counts(IWorkloadPolicy.Listing memory l, uint64 time, uint64 finished, uint64 seen) private pure returns (bool) {
        return isInForce(l, time) && l.from <= seen && finished < l.deprecatedAt && seen < l.revokedSince;
    }

    function isInForce(IWorkloadPolicy.Listing memory l, uint64 time) private pure returns (bool) {
        return l.deprecatedAt != 0 && l.effectiveAt <= time;
    }

    /// Nothing is listed in a policy that does not exist, and what is not listed has no words.
    function isSound(IWorkloadPolicy.Policy memory policy, IWorkloadPolicy.Listing memory l) private view returns (bool) {
        if (l.deprecatedAt == 0) return l.from == 0 && l.effectiveAt == 0 && l.revokedSince == 0;
        return policy.exists && policy.delay <= maxDelay;
    }

    function begin(Entry memory e, uint40 time)
        private
        returns (IWorkloadPolicy.Policy memory policy, IWorkloadPolicy.Listing memory before)
    {
        setTime(time);
        policy = policies.policy(e.policyId);
        vm.assume(policy.delay <= maxDelay);
        before = listing(e);
        vm.assume(isSound(policy, before));
    }

    /// Any function at all; `create` with one entry in each list.
    function anyCall(address sender) private {
        bytes memory data = svm.createCalldata("WorkloadPolicy");
        vm.prank(sender);
        (bool ok,) = address(policies).call(data);
        vm.assume(ok);
    }

    function act(bool onOperator, Act memory a) private {
        vm.assume(a.which < 4);
        ListedId listedId = ListedId.wrap(bytes32(uint256(a.id)));
        vm.prank(a.sender);
        if (onOperator) {
            if (a.which == 0) policies.proposeOperator(a.policyId, address(a.id), a.time);
            else if (a.which == 1) policies.withdrawOperator(a.policyId, address(a.id));
            else if (a.which == 2) policies.deprecateOperator(a.policyId, address(a.id));
            else policies.revokeOperator(a.policyId, address(a.id), a.time);
        } else {
            if (a.which == 0) policies.proposeWorkload(a.policyId, listedId, a.time);
            else if (a.which == 1) policies.withdrawWorkload(a.policyId, listedId);
            else if (a.which == 2) policies.deprecateWorkload(a.policyId, listedId);
            else policies.revokeWorkload(a.policyId, listedId, a.time);
        }
    }

    function listing(Entry memory e) private view returns (IWorkloadPolicy.Listing memory) {
        if (e.isOperator) return policies.operator(e.policyId, address(e.id));
        return policies.workload(e.policyId, ListedId.wrap(bytes32(uint256(e.id))));
    }

    function same(IWorkloadPolicy.Listing memory a, IWorkloadPolicy.Listing memory b) private pure returns (bool) {
        return keccak256(abi.encode(a)) == keccak256(abi.encode(b));
    }

    function same(IWorkloadPolicy.Policy memory a, IWorkloadPolicy.Policy memory b) private pure returns (bool) {
        return keccak256(abi.encode(a)) == keccak256(abi.encode(b));
    }
}
