// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {PresetPolicy} from "../src/PresetPolicy.sol";
import {ListedId, PolicyId} from "../src/Types.sol";
import {WorkloadPolicy} from "../src/WorkloadPolicy.sol";
import {IWorkloadPolicy} from "../src/interfaces/IWorkloadPolicy.sol";
import {Base} from "./support/Base.sol";

/// The policy of a release follows from its name and its listed ids, for whoever computes it.
contract PresetPolicyTest is Base {
    WorkloadPolicy private policies = new WorkloadPolicy();

    /// The example of docs/contracts.md, also from its words alone.
    function test_theIdFollowsFromNameAndList() public view {
        bytes32 id = PolicyId.unwrap(idOf("candor 0.0.0 example", list(1, 2)));
        assertEq(id, 0xbbe1044b21514467b3f62bba1f13e2a983ccef24a8f440590f6a186b738cd84f);
        bytes32 first = keccak256(abi.encode(PresetPolicy.listingsOf(list(1, 2)), new IWorkloadPolicy.FirstOperator[](0)));
        bytes32 salt = keccak256("candor 0.0.0 example");
        assertEq(id, keccak256(abi.encode(keccak256("candor/policy/1"), address(0), salt, 0, 0, 0, first)));
        assertTrue(id != PolicyId.unwrap(idOf("candor 0.0.1 example", list(1, 2))), "another name");
        assertTrue(id != PolicyId.unwrap(idOf("candor 0.0.0 example", list(1, 3))), "another list");
    }

    /// Anybody creates it, it takes any operator at any time, and nobody can change it.
    function test_nobodyOwnsIt() public {
        vm.prank(address(0xbeef));
        PolicyId id = policies.create(
            PresetPolicy.termsOf("release"), PresetPolicy.listingsOf(list(1, 2)), new IWorkloadPolicy.FirstOperator[](0)
        );
        assertEq(PolicyId.unwrap(id), PolicyId.unwrap(idOf("release", list(1, 2))));
        assertEq(policies.policy(id).owner, address(0));
        assertTrue(policies.acceptsAt(id, ListedId.wrap(bytes32(uint256(2))), address(this), 1, 1), "listed");
        assertTrue(!policies.acceptsAt(id, ListedId.wrap(bytes32(uint256(3))), address(this), 1, 1), "not listed");
        vm.expectRevert(abi.encodeWithSelector(IWorkloadPolicy.NotPolicyOwner.selector, address(0), address(this)));
        policies.proposeWorkload(id, ListedId.wrap(bytes32(uint256(3))), 0);
    }

    function test_listingsOf_revertsIfNotAscending() public {
        this.listingsOf(list(1, 2));
        vm.expectRevert(abi.encodeWithSelector(PresetPolicy.NotSorted.selector, 2, 1));
        this.listingsOf(list(2, 1));
        vm.expectRevert(abi.encodeWithSelector(PresetPolicy.NotSorted.selector, 1, 1));
        this.listingsOf(list(1, 1));
    }

    function listingsOf(ListedId[] calldata ids) external pure {
        PresetPolicy.listingsOf(ids);
    }

    function idOf(string memory release, ListedId[] memory ids) private view returns (PolicyId) {
        return
            policies.policyIdOf(PresetPolicy.termsOf(release), PresetPolicy.listingsOf(ids), new IWorkloadPolicy.FirstOperator[](0));
    }

    function list(uint256 a, uint256 b) private pure returns (ListedId[] memory ids) {
        ids = new ListedId[](2);
        ids[0] = ListedId.wrap(bytes32(a));
        ids[1] = ListedId.wrap(bytes32(b));
    }
}
