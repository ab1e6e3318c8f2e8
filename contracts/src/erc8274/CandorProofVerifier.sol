// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {PolicyId} from "../Types.sol";
import {AnswerProof, Answers, Question} from "../answer/Answers.sol";
import {IProofs} from "../interfaces/IProofs.sol";
import {IERC165} from "./IERC165.sol";
import {IProofVerifier} from "./IProofVerifier.sol";

/// @title Candor's answers behind the inner layer of ERC-8274.
/// @notice `inputHash` is the question hash of the request (Questions), `outputHash` keccak256 of the assistant's text in UTF-8,
/// `metadata` abi.encode(Metadata), `proof` abi.encode(AnswerProof). True means: this is the only answer that the question has
/// (Answers), under the policy of this deployment. Work whose answer the submitter may have chosen among many is not taken at all,
/// because whoever settles could not see the difference.
///
/// No state. Registry and policy are fixed at deployment, and so is whether it is for simulated evidence: there is one deployment for
/// software roots and one for hardware roots, never one for both. Nothing on chain says which roots a policy's listed ids mean: read the
/// policy, not this name. Nobody owns it.
///
/// Where the draft is silent: `verify` answers false for whatever it refuses, a proof that cannot be read included, and perhaps for want
/// of gas. So *false* says that this proof is none, and never that there is no other: do not settle on it. `check` reverts with the
/// reason. No replay protection, and the task is not looked at: the outer layer does both (the question holds the task).
///
/// NOT proven: what Answers and IProofs say is not.
contract CandorProofVerifier is IProofVerifier, IERC165 {
    /// What the outer layer keeps.
    struct Metadata {
        bytes32 modelId;
        /// keccak256 of the engine's name.
        bytes32 engine;
        /// Whether work is taken that nobody paid for, or of whose payment nothing was charged.
        bool takesUnpaid;
    }

    IProofs public immutable registry;
    PolicyId public immutable policyId;
    /// Whether this deployment is for evidence that software made up.
    bool public immutable simulated;

    constructor(IProofs registry_, PolicyId policyId_, bool simulated_) {
        registry = registry_;
        policyId = policyId_;
        simulated = simulated_;
    }

    /// @inheritdoc IProofVerifier
    function verify(bytes32 inputHash, bytes32 outputHash, bytes calldata metadata, bytes calldata proof)
        external
        view
        returns (bool)
    {
        try this.check(inputHash, outputHash, metadata, proof) {
            return true;
        } catch {
            return false;
        }
    }

    /// @notice As `verify`, but reverts with what is wrong: an error of Answers or of IProofs, or nothing if the bytes cannot be read.
    function check(bytes32 inputHash, bytes32 outputHash, bytes calldata metadata, bytes calldata proof) external view {
        Metadata memory asked = abi.decode(metadata, (Metadata));
        AnswerProof memory shown = abi.decode(proof, (AnswerProof));
        Answers.checkPolicy(policyId, shown.receipt.policyId);
        // slither-disable-next-line uninitialized-local: what is not set below is zero, as its checks want it
        Question memory question;
        question.questionHash = inputHash;
        question.task = shown.receipt.receipt.work.taskHash;
        question.modelId = asked.modelId;
        question.engine = asked.engine;
        Answers.checkWork(question, shown.receipt.receipt.work, shown.decoding, outputHash);
        Answers.checkProven(registry.prove(shown.receipt), asked.takesUnpaid);
    }

    /// @inheritdoc IProofVerifier
    function proofSystem() public view returns (string memory) {
        return simulated ? "tee/simulated" : "tee/candor";
    }

    /// @inheritdoc IProofVerifier
    /// @dev The salt, of which the draft says only that it is the deployment's: keccak256(abi.encode(chain id, registry, policy id)).
    function proofProfile() external view returns (bytes32) {
        return keccak256(abi.encodePacked(proofSystem(), keccak256(abi.encode(block.chainid, registry, policyId))));
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId) external pure returns (bool) {
        return interfaceId == type(IProofVerifier).interfaceId || interfaceId == type(IERC165).interfaceId;
    }
}
