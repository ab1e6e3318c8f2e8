// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ListedId} from "./Types.sol";
import {IWorkloadPolicy} from "./interfaces/IWorkloadPolicy.sol";

/// @title The policy of one release: its workloads as the listed verifiers judge them, for any operator, without an owner.
/// @notice Who lists what: whoever makes a release publishes its name and its listed ids (verifier, code of the verifier, workload), and
/// from these words alone anybody computes the policy's id (`IWorkloadPolicy.policyIdOf`) and may create it. Nobody can change it
/// afterwards. So nobody can end it either: whoever learns that a listed workload or verifier is broken can only use another policy.
/// What an operator retires or revokes of its own keys counts under every policy.
///
/// NOT proven: that the ids are of the release that is named. Compare them with its measurements.
library PresetPolicy {
    /// @notice Listed ids come by ascending value, each once, so that one release has one id.
    error NotSorted(ListedId previous, ListedId got);

    /// @notice What the policy of this release is made with, beside its list. The name is for example `candor 0.1.0`.
    function termsOf(string memory release) internal pure returns (IWorkloadPolicy.Terms memory terms) {
        terms.salt = keccak256(bytes(release));
        terms.operatorsMode = IWorkloadPolicy.OperatorsMode.Any;
    }

    /// @notice Its list, in force for every moment.
    function listingsOf(ListedId[] memory ids) internal pure returns (IWorkloadPolicy.FirstListing[] memory listings) {
        listings = new IWorkloadPolicy.FirstListing[](ids.length);
        for (uint256 i = 0; i < ids.length; ++i) {
            if (i != 0 && ListedId.unwrap(ids[i]) <= ListedId.unwrap(ids[i - 1])) revert NotSorted(ids[i - 1], ids[i]);
            listings[i].listedId = ids[i];
        }
    }
}
