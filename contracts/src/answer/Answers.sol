// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Decoding, PolicyId, Work} from "../Types.sol";
import {IProofs} from "../interfaces/IProofs.sol";
import {Digests} from "../lib/Digests.sol";

/// What is asked, of which weights, and who is believed about it.
struct Question {
    /// Of the whole request (Questions).
    bytes32 questionHash;
    /// The task that the request names. Never zero.
    bytes32 task;
    /// Digest of the weights. A model's *name* fixes nothing: each operator's terms say what it means there.
    bytes32 modelId;
    /// keccak256 of the engine's name, for example keccak256("det/1"). Another engine gives the same weights another answer.
    bytes32 engine;
    PolicyId policyId;
    /// Zero: one proof is enough. Otherwise a second proof, judged by another verifier under this policy, must have the same answer:
    /// then whoever wants to forge must break two kinds of evidence.
    PolicyId secondPolicyId;
}

/// One receipt about an answer, and the decoding record that travels with it. (Of two receipts the records may differ: a node may offer
/// fewer tokens, and at temperature zero the seed means nothing.)
struct AnswerProof {
    IProofs.ReceiptProof receipt;
    Decoding decoding;
}

/// @title Checks that an answer is the only one that its question has.
/// @notice The model ran in the enclave and the run can be repeated; weights and engine are named; the seed was fixed in the question, or
/// the likeliest token is taken each time; the model itself ended the answer; the receipt stands in the sequence of its log's anchors.
/// So buying a hundred answers and showing the best one is worth nothing: they are all the same.
///
/// NOT proven: that the answer is right; that nobody knew it when the question was written (Questions); that the policy deserves trust.
library Answers {
    error NoQuestion();
    error NoTask();
    /// @notice One proof for each policy.
    error ProofCount(uint256 expected, uint256 got);
    error WrongPolicy(PolicyId expected, PolicyId got);
    /// @notice Both proofs were judged by this verifier: they are one kind of evidence.
    error SameVerifier(address verifier);
    /// @notice Scheme none, or a payment of which nothing was charged.
    error Unpaid(uint8 scheme);
    /// @notice This chain saw the tree as an observation only.
    error NotInSequence();
    error WrongQuestion(bytes32 expected, bytes32 got);
    error WrongTask(bytes32 expected, bytes32 got);
    error WrongAnswer(bytes32 expected, bytes32 got);
    error WrongModel(bytes32 expected, bytes32 got);
    /// @notice The model did not run in the enclave, or the run cannot be repeated: whoever bought it may have chosen.
    error WrongKinds(uint32 expected, uint32 got);
    /// @notice Cut, refused or failed: the beginning of an answer is not the answer.
    error NotComplete(uint8 outcome);
    error WrongDecoding(bytes32 expected, bytes32 got);
    error WrongEngine(bytes32 expected, bytes32 got);
    /// @notice The server had a part in the seed, and the temperature is not zero: one question has many answers.
    error ManyAnswers(uint8 seedSource, uint32 temperatureE6);

    uint32 internal constant LOCAL_AND_REEXEC = 1 | 4;
    uint8 internal constant COMPLETE = 1;
    uint8 internal constant SEED_OF_REQUEST = 1;

    /// @notice Proves that this text is the answer to this question, under each of its policies, or reverts with what is wrong.
    function prove(IProofs registry, Question memory question, AnswerProof[] calldata proofs, bytes32 answerHash) internal view {
        bool two = PolicyId.unwrap(question.secondPolicyId) != 0;
        if (proofs.length != (two ? 2 : 1)) revert ProofCount(two ? 2 : 1, proofs.length);
        if (question.task == 0) revert NoTask();
        _proveOne(registry, question, question.policyId, proofs[0], answerHash);
        if (!two) return;
        // By address: two quorums of one size have one code and other members.
        address verifier = proofs[0].receipt.record.verifier;
        if (verifier == proofs[1].receipt.record.verifier) revert SameVerifier(verifier);
        _proveOne(registry, question, question.secondPolicyId, proofs[1], answerHash);
    }

    function _proveOne(
        IProofs registry,
        Question memory question,
        PolicyId policyId,
        AnswerProof calldata proof,
        bytes32 answerHash
    ) private view {
        checkPolicy(policyId, proof.receipt.policyId);
        checkWork(question, proof.receipt.receipt.work, proof.decoding, answerHash);
        checkProven(registry.prove(proof.receipt), false);
    }

    function checkPolicy(PolicyId expected, PolicyId got) internal pure {
        if (PolicyId.unwrap(expected) != PolicyId.unwrap(got)) revert WrongPolicy(expected, got);
    }

    /// @notice That the work of a receipt is this question's whole answer, and the only one there is.
    function checkWork(Question memory question, Work memory work, Decoding memory decoding, bytes32 answerHash) internal pure {
        // Every receipt of an answer that is not public has zero here.
        if (question.questionHash == 0) revert NoQuestion();
        if (work.questionHash != question.questionHash) revert WrongQuestion(question.questionHash, work.questionHash);
        if (work.taskHash != question.task) revert WrongTask(question.task, work.taskHash);
        if (work.answerHash != answerHash) revert WrongAnswer(work.answerHash, answerHash);
        if (work.modelId != question.modelId) revert WrongModel(question.modelId, work.modelId);
        if (work.kinds != LOCAL_AND_REEXEC) revert WrongKinds(LOCAL_AND_REEXEC, work.kinds);
        if (work.outcome != COMPLETE) revert NotComplete(work.outcome);
        bytes32 decodingHash = Digests.decoding(decoding);
        if (work.decodingHash != decodingHash) revert WrongDecoding(work.decodingHash, decodingHash);
        bytes32 engine = keccak256(bytes(decoding.engine));
        if (engine != question.engine) revert WrongEngine(question.engine, engine);
        if (decoding.seedSource != SEED_OF_REQUEST && decoding.temperatureE6 != 0) {
            revert ManyAnswers(decoding.seedSource, decoding.temperatureE6);
        }
    }

    /// @notice That the receipt has a place in its log's sequence and somebody paid, whatever the proof said it would take.
    function checkProven(IProofs.Proven memory proven, bool takesUnpaid) internal pure {
        if (!proven.inSequence) revert NotInSequence();
        if (proven.money.charged == 0 && !takesUnpaid) revert Unpaid(proven.money.scheme);
    }
}
