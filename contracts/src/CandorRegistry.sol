// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IWorkloadPolicy} from "./interfaces/IWorkloadPolicy.sol";
import {Proofs} from "./registry/Proofs.sol";

/// @title Keys of enclaves, trees of their logs, proofs of their receipts.
/// @notice One contract of three parts, for the cold slots that it saves: which keys are genuine (IKeys), what this chain saw of their logs
/// (IAnchors), and what a receipt proves to a contract (IProofs). Nobody owns it and nothing in it can be changed. It has no list of
/// verifiers: anybody may register through any verifier contract, so *registered alone means nothing*; a policy lists which verifier, by
/// address and code, and which workload counts.
contract CandorRegistry is Proofs {
    constructor(IWorkloadPolicy policies_) Proofs(policies_) {}
}
