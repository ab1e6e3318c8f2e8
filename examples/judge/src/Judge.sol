// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {PolicyId} from "candor/Types.sol";
import {AnswerProof, Question} from "candor/answer/Answers.sol";
import {Questions} from "candor/answer/Questions.sol";
import {SingleAnswer} from "candor/answer/SingleAnswer.sol";
import {IProofs} from "candor/interfaces/IProofs.sol";

/// @title An escrow that pays when a model answers YES to the escrow's own question.
/// @notice The payer deposits; a reporter, who gains nothing either way, writes what happened; the question is this contract's own words
/// around that report. Then anybody buys the answer (send `body()` to a node) and brings it. YES pays the payee. NO, or any other text, pays
/// the payer back: the question has one answer, so there is nothing to wait for. What is no answer (cut, refused, failed) changes
/// nothing, and after the deadline the payer may take the deposit back.
///
/// Trusts: the reporter (it can write what suits, and tell the model what to say), the policy, and the model's judgement.
contract Judge is SingleAnswer {
    error IsAParty(address reporter);
    error NotTheReporter(address expected, address got);
    error AlreadyReported();
    error NotReported();
    error TooEarly(uint256 deadline);
    error NothingLeft();
    error NotPaid(address to);

    event Reported(string body);
    event Judged(string answer, address paidTo);

    /// The model ends its answer long before 64 tokens, or does not answer as it was told.
    string private constant BEFORE =
        '{"model":"candor-mini","messages":[{"role":"system","content":"Answer with YES or NO and nothing else."},{"role":"user","content":"Was everything that was ordered delivered? Report: ';
    string private constant BETWEEN = '"}],"temperature":0,"max_tokens":64,"candor":{"public":true,"task":"';
    string private constant AFTER = '"}}';

    address public immutable payer;
    address public immutable payee;
    address public immutable reporter;
    uint256 public immutable deadline;
    bytes32 private immutable _modelId;
    PolicyId private immutable _policyId;

    string public report;
    bool public isReported;

    constructor(IProofs registry, PolicyId policyId, bytes32 modelId, address payee_, address reporter_, uint256 deadline_)
        payable
        SingleAnswer(registry)
    {
        if (reporter_ == msg.sender || reporter_ == payee_) revert IsAParty(reporter_);
        (payer, payee, reporter, deadline) = (msg.sender, payee_, reporter_, deadline_);
        (_modelId, _policyId) = (modelId, policyId);
    }

    /// @notice What happened, in printable ASCII without `"` and `\`. Once.
    function reportDelivery(string calldata text) external {
        if (msg.sender != reporter) revert NotTheReporter(reporter, msg.sender);
        if (isReported) revert AlreadyReported();
        Questions.checkPlain(text);
        (report, isReported) = (text, true);
        emit Reported(body());
    }

    /// @notice Pays by the answer.
    function settle(AnswerProof[] calldata proofs, string calldata answer) external {
        string calldata text = _open(question(), proofs, answer);
        address to = keccak256(bytes(text)) == keccak256("YES") ? payee : payer;
        emit Judged(text, to);
        _pay(to);
    }

    /// @notice After the deadline, without an answer: back to the payer.
    function refund() external {
        if (block.timestamp <= deadline) revert TooEarly(deadline);
        _pay(payer);
    }

    /// @notice What this contract asks, of which weights, and whom it believes.
    function question() public view returns (Question memory) {
        return Question({
            questionHash: Questions.ofChat(bytes(body())),
            task: task(),
            modelId: _modelId,
            engine: keccak256("det/1"),
            policyId: _policyId,
            secondPolicyId: PolicyId.wrap(0)
        });
    }

    /// @notice The body to send to /v1/chat/completions, byte for byte.
    function body() public view returns (string memory) {
        if (!isReported) revert NotReported();
        return string.concat(BEFORE, report, BETWEEN, Questions.hexOf(task()), AFTER);
    }

    /// @notice This escrow's own name for its question: an answer to another escrow's is none to this one's.
    function task() public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this)));
    }

    function _pay(address to) private {
        uint256 amount = address(this).balance;
        if (amount == 0) revert NothingLeft();
        (bool ok,) = to.call{value: amount}("");
        if (!ok) revert NotPaid(to);
    }
}
