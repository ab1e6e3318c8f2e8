// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IProofs} from "../interfaces/IProofs.sol";
import {AnswerProof, Answers, Question} from "./Answers.sol";

/// @title A contract that acts on the answer to a question of its own.
/// @notice Inherit, say what is asked (`Question`) and hand `_open` what somebody brings: it returns the text, once for each task, or
/// reverts. Anybody may buy the answer, from any node that the policy accepts, and bring it; one question has one answer (Answers),
/// so it does not matter who did.
///
/// Decide for yourself: who writes the question. Whoever chooses a byte of it chooses among its answers, offline and for nothing: the
/// engine and the weights are public. Take no byte from whoever gains (Questions says what can be ground); what is done with a text
/// that you do not expect; what is done if no answer comes (a deadline: a model may never end this answer, a node may be gone).
///
/// NOT proven: that the answer is right. That anybody was charged what it is worth: an operator can pay itself.
abstract contract SingleAnswer {
    /// @notice The answer to this task was used.
    error TaskAnswered(bytes32 task);

    /// @notice Where proofs are proven: a CandorRegistry.
    IProofs public immutable candor;

    // Invariant: an entry is set once and never cleared.
    mapping(bytes32 task => bool) private _answered;

    constructor(IProofs registry) {
        candor = registry;
    }

    /// @dev The text of the answer to this question. Each task is answered once.
    /// @param proofs one for each policy of the question, in that order.
    /// @param answer the whole text of the assistant.
    // slither-disable-next-line dead-code: for the contracts that inherit this
    function _open(Question memory question, AnswerProof[] calldata proofs, string calldata answer)
        internal
        returns (string calldata)
    {
        if (_answered[question.task]) revert TaskAnswered(question.task);
        _answered[question.task] = true;
        Answers.prove(candor, question, proofs, keccak256(bytes(answer)));
        return answer;
    }
}
