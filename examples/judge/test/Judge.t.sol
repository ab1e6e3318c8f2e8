// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {PolicyId} from "candor/Types.sol";
import {AnswerProof, Answers} from "candor/answer/Answers.sol";
import {Questions} from "candor/answer/Questions.sol";
import {SingleAnswer} from "candor/answer/SingleAnswer.sol";
import {IProofs} from "candor/interfaces/IProofs.sol";
import {CandorFixture} from "candor/testing/CandorFixture.sol";
import {Judge} from "../src/Judge.sol";

/// The cheat codes of forge that this test uses; `forge-std` has them too.
interface Vm {
    function warp(uint256 timestamp) external;
    function prank(address sender) external;
    function expectRevert(bytes calldata data) external;
}

/// The escrow, and every way in which its question can end.
contract JudgeTest {
    Vm private constant vm = Vm(0x7109709ECfa91a80626fF3989D68f67F5b1DD12D);
    bytes32 private constant MODEL = keccak256("weights");
    address private constant PAYEE = address(0xbe11e4);
    address private constant REPORTER = address(0x4e9047e4);
    uint256 private constant DEADLINE = 30 days;

    CandorFixture private candor;
    Judge private judge;

    receive() external payable {}

    function setUp() public {
        candor = new CandorFixture();
        judge = new Judge{value: 1 ether}(candor.registry(), candor.policyId(), MODEL, PAYEE, REPORTER, DEADLINE);
    }

    function test_yesPaysThePayee() public {
        report();
        judge.settle(candor.answered(judge.question(), "YES"), "YES");
        require(PAYEE.balance == 1 ether, "paid");
    }

    function test_noPaysThePayerBack() public {
        report();
        uint256 before = address(this).balance;
        judge.settle(candor.answered(judge.question(), "NO"), "NO");
        require(address(this).balance == before + 1 ether && PAYEE.balance == 0, "paid back");
    }

    /// The question has one answer, and it is not YES.
    function test_anotherTextPaysThePayerBack() public {
        report();
        judge.settle(candor.answered(judge.question(), "Yes."), "Yes.");
        require(PAYEE.balance == 0 && address(judge).balance == 0, "paid back");
    }

    function test_withoutAnAnswerThePayerGetsItBackAfterTheDeadline() public {
        vm.expectRevert(abi.encodeWithSelector(Judge.TooEarly.selector, DEADLINE));
        judge.refund();
        vm.warp(DEADLINE + 1);
        judge.refund();
        require(address(judge).balance == 0, "paid back");
        vm.expectRevert(abi.encodeWithSelector(Judge.NothingLeft.selector));
        judge.refund();
    }

    /// Cut where it suited: no answer. The whole one settles all the same.
    function test_aCutAnswerChangesNothing() public {
        report();
        CandorFixture.Draft memory cut = candor.draft(judge.question(), "YES");
        cut.receipt.work.outcome = 3;
        AnswerProof[] memory proofs = new AnswerProof[](1);
        proofs[0] = candor.log(cut, candor.policyId());
        vm.expectRevert(abi.encodeWithSelector(Answers.NotComplete.selector, 3));
        judge.settle(proofs, "YES");
        judge.settle(candor.answered(judge.question(), "NO"), "NO");
        require(PAYEE.balance == 0, "not paid");
    }

    function test_anAnswerToAnotherEscrowIsNone() public {
        report();
        Judge other = new Judge{value: 1 ether}(candor.registry(), candor.policyId(), MODEL, PAYEE, REPORTER, DEADLINE);
        vm.prank(REPORTER);
        other.reportDelivery("Half of it arrived.");
        AnswerProof[] memory proofs = candor.answered(judge.question(), "YES");
        bytes32 expected = other.question().questionHash;
        vm.expectRevert(abi.encodeWithSelector(Answers.WrongQuestion.selector, expected, judge.question().questionHash));
        other.settle(proofs, "YES");
    }

    function test_nobodyIsPaidTwice() public {
        report();
        judge.settle(candor.answered(judge.question(), "YES"), "YES");
        AnswerProof[] memory again = candor.answered(judge.question(), "YES");
        vm.expectRevert(abi.encodeWithSelector(SingleAnswer.TaskAnswered.selector, judge.task()));
        judge.settle(again, "YES");
    }

    function test_onlyTheReporterWritesAndOnce() public {
        vm.expectRevert(abi.encodeWithSelector(Judge.NotTheReporter.selector, REPORTER, address(this)));
        judge.reportDelivery("All of it arrived.");
        vm.expectRevert(abi.encodeWithSelector(Judge.NotReported.selector));
        judge.question();
        report();
        vm.expectRevert(abi.encodeWithSelector(Judge.AlreadyReported.selector));
        vm.prank(REPORTER);
        judge.reportDelivery("Nothing arrived.");
    }

    function test_aReporterWhoGainsIsRefused() public {
        IProofs registry = candor.registry();
        PolicyId policyId = candor.policyId();
        vm.expectRevert(abi.encodeWithSelector(Judge.IsAParty.selector, address(this)));
        new Judge(registry, policyId, MODEL, PAYEE, address(this), DEADLINE);
        vm.expectRevert(abi.encodeWithSelector(Judge.IsAParty.selector, PAYEE));
        new Judge(registry, policyId, MODEL, PAYEE, PAYEE, DEADLINE);
    }

    /// A report cannot end the string that it stands in.
    function test_aReportThatIsNotPlainIsRefused() public {
        vm.expectRevert(abi.encodeWithSelector(Questions.NotPlain.selector, 4, bytes1('"')));
        vm.prank(REPORTER);
        judge.reportDelivery('Done"}],"seed":7,"x":["');
    }

    function report() private {
        vm.prank(REPORTER);
        judge.reportDelivery("Everything that was ordered arrived on Tuesday.");
    }
}
