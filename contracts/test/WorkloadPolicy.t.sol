// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {PolicyId, WorkloadId} from "../src/Types.sol";
import {WorkloadPolicy} from "../src/WorkloadPolicy.sol";
import {IWorkloadPolicy} from "../src/interfaces/IWorkloadPolicy.sol";
import {Fixture} from "./support/Fixture.sol";

contract WorkloadPolicyTest is Fixture {
    WorkloadId private constant WORKLOAD = WorkloadId.wrap("workload");
    address private constant OPERATOR = address(0x09e7);
    uint64 private constant DELAY = 2 days;

    PolicyId private policyId;

    function setUp() public override {
        super.setUp();
        policyId = policies.create("salt", DELAY);
    }

    function test_create_namesThePolicyByOwnerAndSalt() public view {
        assertEq(PolicyId.unwrap(policyId), keccak256(abi.encode(address(this), bytes32("salt"))));
        assertEq(PolicyId.unwrap(policyId), PolicyId.unwrap(policies.policyIdOf(address(this), "salt")));
        IWorkloadPolicy.Policy memory policy = policies.policy(policyId);
        assertEq(policy.owner, address(this));
        assertEq(policy.delay, DELAY);
        assertTrue(!policy.operatorsListed, "no operators");
    }

    function test_create_emits() public {
        PolicyId other = policies.policyIdOf(address(this), "other");
        vm.expectEmit(true, true, true, true, address(policies));
        emit IWorkloadPolicy.PolicyCreated(other, address(this), "other", 7);
        policies.create("other", 7);
    }

    function test_create_revertsIfItExists() public {
        vm.expectRevert(err(IWorkloadPolicy.PolicyExists.selector, PolicyId.unwrap(policyId)));
        policies.create("salt", 0);
    }

    function test_create_revertsIfDelayIsTooLong() public {
        vm.expectRevert(err(IWorkloadPolicy.DelayTooLong.selector, 365 days, 365 days + 1));
        policies.create("long", 365 days + 1);
    }

    function test_accepts_nothingByDefault() public view {
        assertTrue(!accepts(), "nothing proposed");
        assertTrue(!policies.accepts(PolicyId.wrap("unknown"), WORKLOAD, OPERATOR), "no such policy");
    }

    function test_proposeWorkload_isAcceptedAfterTheDelay() public {
        vm.expectEmit(true, true, true, true, address(policies));
        emit IWorkloadPolicy.WorkloadProposed(policyId, WORKLOAD, START + DELAY);
        policies.proposeWorkload(policyId, WORKLOAD);
        vm.warp(START + DELAY - 1);
        assertTrue(!accepts(), "too early");
        vm.warp(START + DELAY);
        assertTrue(accepts(), "after the delay");
        assertTrue(!policies.accepts(policyId, WorkloadId.wrap("other"), OPERATOR), "another workload");
        assertEq(policies.workload(policyId, WORKLOAD).acceptedFrom, START + DELAY);
    }

    function test_removeWorkload_isAtOnce() public {
        policies.proposeWorkload(policyId, WORKLOAD);
        vm.warp(START + DELAY);
        vm.expectEmit(true, true, true, true, address(policies));
        emit IWorkloadPolicy.WorkloadRemoved(policyId, WORKLOAD, START + DELAY);
        policies.removeWorkload(policyId, WORKLOAD);
        assertTrue(!accepts(), "same block");
        assertEq(policies.workload(policyId, WORKLOAD).removedAt, START + DELAY);
        policies.proposeWorkload(policyId, WORKLOAD);
        assertTrue(!accepts(), "the delay starts again");
        vm.warp(START + 2 * DELAY);
        assertTrue(accepts(), "after the second delay");
    }

    function test_removeWorkload_withdrawsAProposal() public {
        policies.proposeWorkload(policyId, WORKLOAD);
        policies.removeWorkload(policyId, WORKLOAD);
        vm.warp(START + DELAY);
        assertTrue(!accepts(), "withdrawn");
    }

    function test_proposeWorkload_withoutDelayIsAtOnce() public {
        PolicyId dev = policies.create("dev", 0);
        policies.proposeWorkload(dev, WORKLOAD);
        assertTrue(policies.accepts(dev, WORKLOAD, OPERATOR), "dev");
    }

    function test_proposeWorkload_revertsIfListed() public {
        policies.proposeWorkload(policyId, WORKLOAD);
        vm.expectRevert(err(IWorkloadPolicy.AlreadyListed.selector, bytes32(uint256(START + DELAY))));
        policies.proposeWorkload(policyId, WORKLOAD);
    }

    function test_remove_revertsIfNotListed() public {
        vm.expectRevert(IWorkloadPolicy.NotListed.selector);
        policies.removeWorkload(policyId, WORKLOAD);
        vm.expectRevert(IWorkloadPolicy.NotListed.selector);
        policies.removeOperator(policyId, OPERATOR);
        policies.proposeWorkload(policyId, WORKLOAD);
        policies.removeWorkload(policyId, WORKLOAD);
        vm.expectRevert(IWorkloadPolicy.NotListed.selector);
        policies.removeWorkload(policyId, WORKLOAD);
    }

    function test_proposeOperator_restrictsAtOnceAndAcceptsAfterTheDelay() public {
        policies.proposeWorkload(policyId, WORKLOAD);
        vm.warp(START + DELAY);
        assertTrue(accepts(), "any operator");
        vm.expectEmit(true, true, true, true, address(policies));
        emit IWorkloadPolicy.OperatorProposed(policyId, OPERATOR, START + 2 * DELAY);
        policies.proposeOperator(policyId, OPERATOR);
        assertTrue(!accepts(), "restricted, none accepted yet");
        vm.warp(START + 2 * DELAY);
        assertTrue(accepts(), "listed operator");
        assertTrue(!policies.accepts(policyId, WORKLOAD, address(1)), "another operator");
        assertEq(policies.operator(policyId, OPERATOR).acceptedFrom, START + 2 * DELAY);
    }

    /// Removing the last operator accepts nobody, not everybody.
    function test_removeOperator_neverLoosens() public {
        PolicyId dev = policies.create("dev", 0);
        policies.proposeWorkload(dev, WORKLOAD);
        policies.proposeOperator(dev, OPERATOR);
        assertTrue(policies.accepts(dev, WORKLOAD, OPERATOR), "listed");
        vm.expectEmit(true, true, true, true, address(policies));
        emit IWorkloadPolicy.OperatorRemoved(dev, OPERATOR, START);
        policies.removeOperator(dev, OPERATOR);
        assertTrue(!policies.accepts(dev, WORKLOAD, OPERATOR), "removed");
        assertTrue(!policies.accepts(dev, WORKLOAD, address(1)), "anyone else");
    }

    function test_owner_everyPowerRevertsForOthers() public {
        bytes memory reason = err(IWorkloadPolicy.NotPolicyOwner.selector, address(this), address(0xbad));
        vm.prank(address(0xbad));
        vm.expectRevert(reason);
        policies.proposeWorkload(policyId, WORKLOAD);
        vm.prank(address(0xbad));
        vm.expectRevert(reason);
        policies.removeWorkload(policyId, WORKLOAD);
        vm.prank(address(0xbad));
        vm.expectRevert(reason);
        policies.proposeOperator(policyId, OPERATOR);
        vm.prank(address(0xbad));
        vm.expectRevert(reason);
        policies.removeOperator(policyId, OPERATOR);
        vm.expectRevert(err(IWorkloadPolicy.NotPolicyOwner.selector, address(0), address(this)));
        policies.proposeWorkload(PolicyId.wrap("unknown"), WORKLOAD);
    }

    /// Whatever happens to a policy, a workload is accepted only when its delay has passed since a proposal, and never after a removal.
    function testFuzz_accepts_onlyAfterTheDelayAndBeforeARemoval(uint64 delay, uint64 waited, bool removed) public {
        delay = delay % (365 days + 1);
        PolicyId id = policies.create("fuzz", delay);
        policies.proposeWorkload(id, WORKLOAD);
        vm.warp(uint256(START) + waited);
        if (removed) policies.removeWorkload(id, WORKLOAD);
        assertTrue(policies.accepts(id, WORKLOAD, OPERATOR) == (waited >= delay && !removed), "accepts");
    }

    function accepts() private view returns (bool) {
        return policies.accepts(policyId, WORKLOAD, OPERATOR);
    }
}
