// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {CandorRegistry} from "../src/CandorRegistry.sol";
import {KeyState, KeyStates, KeyStatus} from "../src/KeyState.sol";
import {IWorkloadPolicy} from "../src/interfaces/IWorkloadPolicy.sol";

/// The registry's rule by itself, and what it keeps of a key.
contract TimeRule is CandorRegistry {
    constructor() CandorRegistry(IWorkloadPolicy(address(0))) {}

    function checkTimes(uint64 finished, uint64 seenAt, KeyState state, uint64 validFrom) external pure {
        _checkTimes(finished, seenAt, state, validFrom);
    }

    function unpack(KeyState state) external pure returns (KeyStatus memory) {
        return state.unpack();
    }

    function withField(KeyState state, uint8 which, uint256 value) external view returns (KeyState) {
        if (which == 0) return state.withValidUntil(value);
        if (which == 1) return state.withInvalidFrom(value);
        if (which == 2) return state.withRevokedAt(value);
        if (which == 3) return state.withAnchor(value);
        if (which == 4) return state.withFork();
        if (which == 5) return state.withRenewal();
        return KeyStates.registered(value);
    }
}
