// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ListedId, PolicyId} from "../src/Types.sol";
import {IWorkloadPolicy} from "../src/interfaces/IWorkloadPolicy.sol";
import {Fixture} from "./support/Fixture.sol";

/// Ends of a listing at the edges of their numbers, and before it is in force.
contract PolicyEndsTest is Fixture {
    ListedId private constant WORKLOAD = ListedId.wrap("workload");

    function test_revoke_ofTheEndOfTimeIsRefusedByName() public {
        PolicyId id = create(1 days);
        vm.expectRevert(err(IWorkloadPolicy.SinceTheFuture.selector, START, type(uint64).max));
        policies.revokeWorkload(id, WORKLOAD, type(uint64).max);
    }

    /// A lookback without end is what an owner means who may revoke anything.
    function test_revoke_worksUnderALookbackWithoutEnd() public {
        PolicyId id = create(type(uint64).max);
        policies.revokeWorkload(id, WORKLOAD, START);
    }

    /// "None of it can be undone: an entry that ended is never listed again."
    function test_withdraw_doesNotUndoARevocation() public {
        PolicyId id = create(1 days);
        ListedId other = ListedId.wrap("other");
        policies.proposeWorkload(id, other, 0);
        policies.revokeWorkload(id, other, START);
        try policies.withdrawWorkload(id, other) {} catch {}
        try policies.proposeWorkload(id, other, 0) {} catch {}
        vm.warp(START + 10 days);
        assertTrue(!policies.acceptsAt(id, other, operator, START + 9 days, START + 9 days), "revoked and accepted");
    }

    function create(uint64 maxLookback) private returns (PolicyId) {
        IWorkloadPolicy.Terms memory terms = termsOf(address(this), 2 days);
        terms.maxLookback = maxLookback;
        IWorkloadPolicy.FirstListing[] memory listings = new IWorkloadPolicy.FirstListing[](1);
        listings[0].listedId = WORKLOAD;
        return policies.create(terms, listings, new IWorkloadPolicy.FirstOperator[](0));
    }
}
