// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {PolicyId} from "../src/Types.sol";
import {AnswerProof, Answers, Question} from "../src/answer/Answers.sol";
import {Questions} from "../src/answer/Questions.sol";
import {CandorAgentVerifier} from "../src/erc8274/CandorAgentVerifier.sol";
import {CandorProofVerifier} from "../src/erc8274/CandorProofVerifier.sol";
import {IAgentVerifiable, IAgentVerifier} from "../src/erc8274/IAgentVerifier.sol";
import {IERC165} from "../src/erc8274/IERC165.sol";
import {IProofVerifier} from "../src/erc8274/IProofVerifier.sol";
import {CandorFixture} from "../src/testing/CandorFixture.sol";
import {Base} from "./support/Base.sol";

/// Both layers of the draft ERC-8274, as a settlement contract meets them.
contract Erc8274Test is Base {
    bytes32 private constant MODEL = keccak256("weights");
    bytes32 private constant ENGINE = keccak256("det/1");
    bytes32 private constant TASK = bytes32(uint256(7));
    bytes32 private constant YES = keccak256("YES");

    CandorFixture private candor;
    CandorProofVerifier private inner;
    CandorAgentVerifier private outer;
    Question private asked;
    bytes private metadata;

    function setUp() public {
        candor = new CandorFixture();
        inner = new CandorProofVerifier(candor.registry(), candor.policyId(), true);
        CandorProofVerifier.Metadata memory terms = CandorProofVerifier.Metadata(MODEL, ENGINE, false);
        metadata = abi.encode(terms);
        CandorAgentVerifier.Form memory form = CandorAgentVerifier.Form({
            before: '{"model":"m","messages":[{"role":"user","content":"',
            between: '"}],"temperature":0,"candor":{"public":true,"task":"',
            rest: '"}}'
        });
        outer = new CandorAgentVerifier(inner, address(this), terms, "YES", form);
        asked = candor.question(bytes(bodyOf("Is it done?", TASK)), TASK, MODEL);
    }

    // The inner layer.

    function test_verify_isTrueForTheAnswer() public {
        assertTrue(inner.verify(asked.questionHash, YES, metadata, proofOf(candor.draft(asked, "YES"))), "valid");
    }

    function test_verify_isFalseForAnotherQuestionOrAnswer() public {
        bytes memory proof = proofOf(candor.draft(asked, "YES"));
        refused(keccak256("other"), YES, metadata, proof, Answers.WrongQuestion.selector);
        refused(0, YES, metadata, proof, Answers.NoQuestion.selector);
        refused(asked.questionHash, keccak256("NO"), metadata, proof, Answers.WrongAnswer.selector);
    }

    function test_verify_isFalseForOtherWeightsOrEngine() public {
        bytes memory proof = proofOf(candor.draft(asked, "YES"));
        refused(asked.questionHash, YES, abi.encode(keccak256("other"), ENGINE, false), proof, Answers.WrongModel.selector);
        refused(asked.questionHash, YES, abi.encode(MODEL, keccak256("det/2"), false), proof, Answers.WrongEngine.selector);
    }

    /// The submitter may have bought many and chosen.
    function test_verify_isFalseForOneAnswerOfMany() public {
        CandorFixture.Draft memory made = candor.draft(asked, "YES");
        (made.decoding.seedSource, made.decoding.temperatureE6) = (2, 1);
        refused(asked.questionHash, YES, metadata, proofOf(made), Answers.ManyAnswers.selector);
        made = candor.draft(asked, "YES");
        made.receipt.work.kinds = 1;
        refused(asked.questionHash, YES, metadata, proofOf(made), Answers.WrongKinds.selector);
        made = candor.draft(asked, "YES");
        made.receipt.work.outcome = 2;
        refused(asked.questionHash, YES, metadata, proofOf(made), Answers.NotComplete.selector);
    }

    function test_verify_takesUnpaidWorkOnlyIfAsked() public {
        CandorFixture.Draft memory made = candor.draft(asked, "YES");
        delete made.receipt.money;
        made.receipt.money.payee = candor.PAYEE();
        made.receipt.money.chainId = block.chainid;
        bytes memory proof = proofOf(made);
        refused(asked.questionHash, YES, metadata, proof, Answers.Unpaid.selector);
        assertTrue(inner.verify(asked.questionHash, YES, abi.encode(MODEL, ENGINE, true), proof), "asked for");
    }

    function test_verify_isFalseForAnObservation() public {
        AnswerProof memory proof = candor.logUnanchored(candor.draft(asked, "YES"), candor.policyId());
        refused(asked.questionHash, YES, metadata, abi.encode(proof), Answers.NotInSequence.selector);
    }

    /// Hardware and software have a deployment each, and neither takes the other's.
    function test_verify_isFalseUnderAnotherPolicy() public {
        bytes memory proof = abi.encode(candor.log(candor.draft(asked, "YES"), candor.secondPolicyId()));
        refused(asked.questionHash, YES, metadata, proof, Answers.WrongPolicy.selector);
        CandorProofVerifier other = new CandorProofVerifier(candor.registry(), candor.secondPolicyId(), false);
        assertTrue(other.verify(asked.questionHash, YES, metadata, proof), "its own");
        assertTrue(!other.verify(asked.questionHash, YES, metadata, proofOf(candor.draft(asked, "YES"))), "the first's");
    }

    /// What cannot be read is no reason to revert: a settlement contract would stand still.
    function test_verify_isFalseForWhatCannotBeRead() public {
        bytes memory proof = proofOf(candor.draft(asked, "YES"));
        assertTrue(!inner.verify(asked.questionHash, YES, metadata, ""), "no proof");
        assertTrue(!inner.verify(asked.questionHash, YES, metadata, new bytes(4000)), "zeros");
        assertTrue(!inner.verify(asked.questionHash, YES, "", proof), "no metadata");
        assertTrue(!inner.verify(asked.questionHash, YES, abi.encode(MODEL, ENGINE, 2), proof), "not a bool");
    }

    function testFuzz_verify_isFalseIfAnyBitIsFlipped(uint256 bit) public {
        bytes memory proof = proofOf(candor.draft(asked, "YES"));
        bytes32 before = this.meaning(proof);
        bit = bound(bit, 0, proof.length * 8 - 1);
        proof[bit / 8] ^= bytes1(uint8(1 << (bit % 8)));
        if (inner.verify(asked.questionHash, YES, metadata, proof)) assertEq(this.meaning(proof), before);
    }

    function test_profileNamesRegistryPolicyAndRoots() public {
        bytes32 salt = keccak256(abi.encode(block.chainid, candor.registry(), candor.policyId()));
        assertEq(inner.proofProfile(), keccak256(abi.encodePacked("tee/simulated", salt)));
        CandorProofVerifier hardware = new CandorProofVerifier(candor.registry(), candor.policyId(), false);
        assertEq(hardware.proofProfile(), keccak256(abi.encodePacked("tee/candor", salt)));
    }

    /// The functions of the draft, and no others, make the ids.
    function test_interfacesAreTheDrafts() public view {
        bytes4 proofs = bytes4(keccak256("verify(bytes32,bytes32,bytes,bytes)")) ^ bytes4(keccak256("proofSystem()"))
            ^ bytes4(keccak256("proofProfile()"));
        bytes4 agents = bytes4(keccak256("verify(bytes32,bytes32,bytes32,bytes32,bytes)"));
        assertTrue(inner.supportsInterface(proofs) && inner.supportsInterface(0x01ffc9a7), "inner");
        assertTrue(outer.supportsInterface(agents) && outer.supportsInterface(0x01ffc9a7), "outer");
        assertTrue(!inner.supportsInterface(agents) && !outer.supportsInterface(proofs), "each its own");
        assertTrue(!inner.supportsInterface(0xffffffff) && !outer.supportsInterface(0xffffffff), "none");
        assertTrue(IAgentVerifiable.getAgentVerifier.selector == bytes4(keccak256("getAgentVerifier()")), "settlement");
    }

    // The outer layer.

    function test_agent_isValidForTheAnswerToTheTask() public {
        bytes memory proof = askedAndProven();
        bytes32 digest = keccak256(abi.encode(TASK, MODEL, asked.questionHash, YES, true, inner.proofProfile()));
        vm.expectEmit(true, true, true, true, address(outer));
        emit IAgentVerifier.VerificationCompleted(TASK, MODEL, digest, true, asked.questionHash, YES, inner.proofProfile());
        (bool valid, bytes32 got) = outer.verify(TASK, MODEL, asked.questionHash, YES, proof);
        assertTrue(valid, "valid");
        assertEq(got, digest);
    }

    /// Who settles sees the same whether a proof was none or nobody asked, and an event says so.
    function test_agent_isInvalidForATaskThatWasNotAsked() public {
        bytes memory proof = proofOf(candor.draft(asked, "YES"));
        bytes32 digest = keccak256(abi.encode(TASK, MODEL, asked.questionHash, YES, false, inner.proofProfile()));
        vm.expectEmit(true, true, true, true, address(outer));
        emit IAgentVerifier.VerificationCompleted(TASK, MODEL, digest, false, asked.questionHash, YES, inner.proofProfile());
        (bool valid, bytes32 got) = outer.verify(TASK, MODEL, asked.questionHash, YES, proof);
        assertTrue(!valid, "not asked");
        assertEq(got, digest);
        assertTrue(!claim(0, 0, YES, proof), "no task, no question");
    }

    function test_agent_takesATaskOnceForEachCaller() public {
        bytes memory proof = askedAndProven();
        assertTrue(claim(TASK, asked.questionHash, YES, proof), "first");
        assertTrue(!claim(TASK, asked.questionHash, YES, proof), "second");
        vm.prank(address(0xbeef));
        assertTrue(claim(TASK, asked.questionHash, YES, proof), "another caller's");
    }

    function test_agent_isNotUsedUpByABadClaim() public {
        bytes memory proof = askedAndProven();
        assertTrue(!claim(TASK, asked.questionHash, YES, "bad"), "bad");
        assertTrue(claim(TASK, asked.questionHash, YES, proof), "good");
    }

    /// Proven, and not what was to be proven: under the draft a settlement contract completes on *valid*.
    function test_agent_isInvalidForAnotherAnswerThanTheOneThatCounts() public {
        outer.ask(TASK, "Is it done?");
        bytes memory proof = proofOf(candor.draft(asked, "NO"));
        assertTrue(inner.verify(asked.questionHash, keccak256("NO"), metadata, proof), "an answer");
        assertTrue(!claim(TASK, asked.questionHash, keccak256("NO"), proof), "not the one");
        assertTrue(!claim(TASK, asked.questionHash, YES, proof), "not proven");
    }

    function test_agent_isInvalidForAnotherQuestionOrAgent() public {
        bytes memory proof = askedAndProven();
        Question memory other = candor.question(bytes(bodyOf("Is it raining?", TASK)), TASK, MODEL);
        assertTrue(!claim(TASK, other.questionHash, YES, proofOf(candor.draft(other, "YES"))), "another question");
        (bool valid,) = outer.verify(TASK, keccak256("another agent"), asked.questionHash, YES, proof);
        assertTrue(!valid, "another agent");
        assertTrue(claim(TASK, asked.questionHash, YES, proof), "this one");
    }

    function test_ask_handsOutTheBody() public {
        vm.expectEmit(true, true, true, true, address(outer));
        emit CandorAgentVerifier.Asked(TASK, asked.questionHash, bodyOf("Is it done?", TASK));
        outer.ask(TASK, "Is it done?");
        assertEq(outer.questionOf(TASK), asked.questionHash);
    }

    function test_ask_revertsIfNotTheAskerOrAskedBefore() public {
        vm.prank(address(0xbeef));
        vm.expectRevert(abi.encodeWithSelector(CandorAgentVerifier.NotTheAsker.selector, address(this), address(0xbeef)));
        outer.ask(TASK, "Is it done?");
        vm.expectRevert(abi.encodeWithSelector(CandorAgentVerifier.NoTask.selector));
        outer.ask(0, "Is it done?");
        outer.ask(TASK, "Is it done?");
        vm.expectRevert(abi.encodeWithSelector(CandorAgentVerifier.AlreadyAsked.selector, TASK));
        outer.ask(TASK, "Is it done now?");
        vm.expectRevert(abi.encodeWithSelector(Questions.NotPlain.selector, 0, bytes1('"')));
        outer.ask("other", '"');
    }

    function meaning(bytes calldata proof) external pure returns (bytes32) {
        AnswerProof memory shown = abi.decode(proof, (AnswerProof));
        (shown.receipt.schemes, shown.receipt.acceptsUncharged, shown.receipt.acceptsObservation) = (0, false, false);
        return keccak256(abi.encode(shown));
    }

    function askedAndProven() private returns (bytes memory) {
        outer.ask(TASK, "Is it done?");
        return proofOf(candor.draft(asked, "YES"));
    }

    function claim(bytes32 task, bytes32 inputHash, bytes32 outputHash, bytes memory proof) private returns (bool valid) {
        (valid,) = outer.verify(task, MODEL, inputHash, outputHash, proof);
    }

    function proofOf(CandorFixture.Draft memory made) private returns (bytes memory) {
        return abi.encode(candor.log(made, candor.policyId()));
    }

    /// False, and for this reason.
    function refused(bytes32 inputHash, bytes32 outputHash, bytes memory data, bytes memory proof, bytes4 reason) private {
        assertTrue(!inner.verify(inputHash, outputHash, data, proof), "refused");
        vm.expectPartialRevert(reason);
        inner.check(inputHash, outputHash, data, proof);
    }

    function bodyOf(string memory text, bytes32 task) private pure returns (string memory) {
        return string.concat(
            '{"model":"m","messages":[{"role":"user","content":"',
            text,
            '"}],"temperature":0,"candor":{"public":true,"task":"',
            Questions.hexOf(task),
            '"}}'
        );
    }
}
