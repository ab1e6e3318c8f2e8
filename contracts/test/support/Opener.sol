// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {PolicyId} from "../../src/Types.sol";
import {AnswerProof, Question} from "../../src/answer/Answers.sol";
import {SingleAnswer} from "../../src/answer/SingleAnswer.sol";
import {IProofs} from "../../src/interfaces/IProofs.sol";

/// The smallest contract that acts on an answer: one question, fixed at deployment.
contract Opener is SingleAnswer {
    event Opened(string answer);

    bytes32 private immutable _questionHash;
    bytes32 private immutable _task;
    bytes32 private immutable _modelId;
    bytes32 private immutable _engine;
    PolicyId private immutable _policyId;
    PolicyId private immutable _secondPolicyId;

    constructor(IProofs registry, Question memory q) SingleAnswer(registry) {
        (_questionHash, _task, _modelId, _engine) = (q.questionHash, q.task, q.modelId, q.engine);
        (_policyId, _secondPolicyId) = (q.policyId, q.secondPolicyId);
    }

    function open(AnswerProof[] calldata proofs, string calldata answer) external returns (string memory text) {
        text = _open(Question(_questionHash, _task, _modelId, _engine, _policyId, _secondPolicyId), proofs, answer);
        emit Opened(text);
    }
}
