// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {PolicyId} from "../src/Types.sol";
import {AnswerProof, Answers, Question} from "../src/answer/Answers.sol";
import {SingleAnswer} from "../src/answer/SingleAnswer.sol";
import {IProofs} from "../src/interfaces/IProofs.sol";
import {CandorFixture} from "../src/testing/CandorFixture.sol";
import {Base} from "./support/Base.sol";
import {Opener} from "./support/Opener.sol";

/// What a contract takes for the answer to its question. Every refusal has the accepting case beside it: `answered` is what it spoils.
contract SingleAnswerTest is Base {
    bytes32 private constant MODEL = keccak256("weights");
    bytes32 private constant TASK = keccak256("task");
    bytes private constant BODY = '{"model":"m","messages":[{"role":"user","content":"YES or NO?"}],"temperature":0}';

    CandorFixture private candor;
    Question private asked;
    Opener private opener;
    /// Proven once for the tests that flip bits.
    bytes private call;

    function setUp() public {
        candor = new CandorFixture();
        asked = candor.question(BODY, TASK, MODEL);
        opener = new Opener(candor.registry(), asked);
        call = abi.encodeCall(Opener.open, (candor.answered(asked, "YES"), "YES"));
    }

    function test_open_givesTheText() public {
        assertTrue(same(opener.open(candor.answered(asked, "YES"), "YES"), "YES"), "text");
    }

    /// Nobody ends a question by refusing it: what was refused takes nothing away.
    function test_open_takesTheAnswerAfterARefusal() public {
        AnswerProof[] memory proofs = candor.answered(asked, "NO");
        refused(proofs, "YES", wrong(Answers.WrongAnswer.selector, keccak256("NO"), keccak256("YES")));
        assertTrue(same(opener.open(proofs, "NO"), "NO"), "text");
    }

    function test_open_takesAnEmptyAnswerAndAnyUtf8() public {
        opener.open(candor.answered(asked, ""), "");
        Question memory other = asked;
        other.task = "another";
        new Opener(candor.registry(), other).open(candor.answered(other, unicode"Größe 😀"), unicode"Größe 😀");
    }

    function test_open_revertsIfAnotherAnswer() public {
        AnswerProof[] memory proofs = candor.answered(asked, "YES");
        refused(proofs, "YES ", wrong(Answers.WrongAnswer.selector, keccak256("YES"), keccak256("YES ")));
        opener.open(proofs, "YES");
    }

    /// One byte more, and it is not this question.
    function test_open_revertsIfAnotherQuestion() public {
        Question memory other = candor.question(bytes.concat(BODY, " "), TASK, MODEL);
        bytes memory reason = wrong(Answers.WrongQuestion.selector, asked.questionHash, other.questionHash);
        refused(candor.answered(other, "YES"), "YES", reason);
    }

    function test_open_revertsIfAnotherTask() public {
        Question memory other = candor.question(BODY, "another", MODEL);
        refused(candor.answered(other, "YES"), "YES", wrong(Answers.WrongTask.selector, TASK, "another"));
    }

    /// Each of the questions of one contract is answered once, by whatever proof.
    function test_open_revertsIfTheTaskWasAnswered() public {
        AnswerProof[] memory proofs = candor.answered(asked, "YES");
        opener.open(proofs, "YES");
        bytes memory reason = abi.encodeWithSelector(SingleAnswer.TaskAnswered.selector, TASK);
        refused(proofs, "YES", reason);
        refused(candor.answered(asked, "YES"), "YES", reason);
        new Opener(candor.registry(), asked).open(proofs, "YES");
    }

    /// An operator's terms say what a name means: the name in the question is the same, and the weights are not.
    function test_open_revertsIfTheNameMeansOtherWeights() public {
        Question memory other = candor.question(BODY, TASK, keccak256("weights that always say YES"));
        assertEq(other.questionHash, asked.questionHash);
        refused(candor.answered(other, "YES"), "YES", wrong(Answers.WrongModel.selector, MODEL, other.modelId));
    }

    function test_open_revertsIfAnotherEngine() public {
        CandorFixture.Draft memory made = candor.draft(asked, "YES");
        made.decoding.engine = "det/2";
        refused(made, wrong(Answers.WrongEngine.selector, keccak256("det/1"), keccak256("det/2")));
    }

    /// LOCAL and REEXEC, and nothing else: a run that cannot be repeated may have been chosen, and so may what a provider said.
    function test_open_revertsIfKindsAreOther() public {
        for (uint32 kinds = 0; kinds < 16; ++kinds) {
            CandorFixture.Draft memory made = candor.draft(asked, "YES");
            made.receipt.work.kinds = kinds;
            if (kinds == 5) continue;
            refused(made, wrong(Answers.WrongKinds.selector, 5, kinds));
        }
        accepted(candor.draft(asked, "YES"));
    }

    /// The server had a part in the seed: by sending its share or by being paid again it gets another answer.
    function test_open_revertsIfTheSeedIsTheServers() public {
        for (uint8 source = 0; source < 5; ++source) {
            CandorFixture.Draft memory made = candor.draft(asked, "YES");
            made.decoding.seedSource = source;
            made.decoding.temperatureE6 = 1;
            if (source == 1) continue;
            refused(made, wrong(Answers.ManyAnswers.selector, source, 1));
        }
    }

    function test_open_takesTheSeedOfTheQuestionAtAnyTemperature() public {
        CandorFixture.Draft memory made = candor.draft(asked, "YES");
        made.decoding.temperatureE6 = 2_000_000;
        accepted(made);
    }

    /// At temperature zero no seed chooses anything.
    function test_open_takesAnySeedAtTemperatureZero() public {
        CandorFixture.Draft memory made = candor.draft(asked, "YES");
        made.decoding.seedSource = 2;
        made.decoding.seed = keccak256("share and nonce");
        accepted(made);
    }

    /// Twenty answers bought, each with a seed of its own, to show the one that suits: none of them is taken.
    function test_open_revertsIfOneOfTwentyAnswersIsShown() public {
        for (uint256 i = 0; i < 20; ++i) {
            string memory text = i == 13 ? "YES" : "NO";
            CandorFixture.Draft memory made = candor.draft(asked, text);
            made.decoding.seedSource = 2;
            made.decoding.seed = keccak256(abi.encode(i));
            made.decoding.temperatureE6 = 1_000_000;
            AnswerProof[] memory proofs = one(candor.log(made, asked.policyId));
            refused(proofs, text, wrong(Answers.ManyAnswers.selector, 2, 1_000_000));
        }
        accepted(candor.draft(asked, "NO"));
    }

    /// The record that is shown is the one that was signed for: nobody says *seed of the request* afterwards.
    function test_open_revertsIfTheDecodingIsNotTheReceipts() public {
        CandorFixture.Draft memory made = candor.draft(asked, "YES");
        made.decoding.seedSource = 2;
        made.decoding.temperatureE6 = 1_000_000;
        AnswerProof[] memory proofs = one(candor.log(made, asked.policyId));
        proofs[0].decoding.seedSource = 1;
        vm.expectPartialRevert(Answers.WrongDecoding.selector);
        opener.open(proofs, "YES");
        proofs[0].decoding.seedSource = 2;
        proofs[0].decoding.temperatureE6 = 0;
        vm.expectPartialRevert(Answers.WrongDecoding.selector);
        opener.open(proofs, "YES");
    }

    /// A stream that was cut where it suited: *YES* of *YES, if you believe the seller. I do not.*
    function test_open_revertsIfTheAnswerIsNotComplete() public {
        for (uint8 outcome = 0; outcome < 9; ++outcome) {
            CandorFixture.Draft memory made = candor.draft(asked, "YES");
            made.receipt.work.outcome = outcome;
            if (outcome == 1) continue;
            refused(made, abi.encodeWithSelector(Answers.NotComplete.selector, outcome));
        }
        accepted(candor.draft(asked, "YES"));
    }

    function test_open_revertsIfNobodyPaid() public {
        refused(unpaid(), abi.encodeWithSelector(Answers.Unpaid.selector, 0));
    }

    function test_open_revertsIfNothingWasCharged() public {
        CandorFixture.Draft memory made = candor.draft(asked, "YES");
        made.receipt.money.scheme = 4;
        made.receipt.money.charged = 0;
        AnswerProof memory proof = candor.log(made, asked.policyId);
        proof.receipt.acceptsUncharged = true;
        refused(one(proof), "YES", abi.encodeWithSelector(Answers.Unpaid.selector, 4));
        made.receipt.money.charged = 1;
        accepted(made);
    }

    /// Whatever the proof would take: a tree outside of the sequence can hold anything that the key's holder says.
    function test_open_revertsIfTheTreeWasOnlyObserved() public {
        AnswerProof[] memory proofs = one(candor.logUnanchored(candor.draft(asked, "YES"), asked.policyId));
        assertTrue(!candor.registry().prove(proofs[0].receipt).inSequence, "proven as an observation");
        refused(proofs, "YES", abi.encodeWithSelector(Answers.NotInSequence.selector));
    }

    function test_open_revertsIfThePolicyIsAnother() public {
        AnswerProof[] memory proofs = one(candor.log(candor.draft(asked, "YES"), candor.secondPolicyId()));
        bytes memory reason =
            wrong(Answers.WrongPolicy.selector, PolicyId.unwrap(asked.policyId), PolicyId.unwrap(candor.secondPolicyId()));
        refused(proofs, "YES", reason);
        // The submitter names the right one, and the registry finds that it does not take this verifier.
        proofs[0].receipt.policyId = asked.policyId;
        vm.expectPartialRevert(IProofs.NotAccepted.selector);
        opener.open(proofs, "YES");
    }

    function test_open_takesTwoProofsOfTwoVerifiers() public {
        opener = openerOfTwo();
        assertTrue(same(opener.open(candor.answered(asked, "YES"), "YES"), "YES"), "text");
    }

    /// Two nodes: one offers fewer tokens, and the seed is another's. The answer is the same.
    function test_open_takesTwoDecodingsOfOneAnswer() public {
        opener = openerOfTwo();
        CandorFixture.Draft memory made = candor.draft(asked, "YES");
        AnswerProof memory first = candor.log(made, asked.policyId);
        made.decoding.maxTokens = 32;
        made.decoding.seedSource = 2;
        made.decoding.seed = keccak256("share and nonce");
        opener.open(two(first, candor.log(made, asked.secondPolicyId)), "YES");
    }

    function test_open_revertsIfBothProofsAreOfOneVerifier() public {
        asked.secondPolicyId = asked.policyId;
        opener = new Opener(candor.registry(), asked);
        AnswerProof[] memory proofs = candor.answered(asked, "YES");
        refused(proofs, "YES", abi.encodeWithSelector(Answers.SameVerifier.selector, address(candor.verifier())));
        proofs[1] = proofs[0];
        refused(proofs, "YES", abi.encodeWithSelector(Answers.SameVerifier.selector, address(candor.verifier())));
    }

    /// Each proof is good, and the two do not agree.
    function test_open_revertsIfTwoProofsHaveTwoAnswers() public {
        opener = openerOfTwo();
        AnswerProof memory yes = candor.log(candor.draft(asked, "YES"), asked.policyId);
        AnswerProof memory no = candor.log(candor.draft(asked, "NO"), asked.secondPolicyId);
        refused(two(yes, no), "YES", wrong(Answers.WrongAnswer.selector, keccak256("NO"), keccak256("YES")));
        refused(two(yes, no), "NO", wrong(Answers.WrongAnswer.selector, keccak256("YES"), keccak256("NO")));
    }

    function test_open_revertsIfTwoProofsComeInTheOtherOrder() public {
        opener = openerOfTwo();
        AnswerProof[] memory proofs = candor.answered(asked, "YES");
        (proofs[0], proofs[1]) = (proofs[1], proofs[0]);
        vm.expectPartialRevert(Answers.WrongPolicy.selector);
        opener.open(proofs, "YES");
    }

    function test_open_revertsIfThereIsNotOneProofForEachPolicy() public {
        AnswerProof[] memory proofs = candor.answered(asked, "YES");
        refused(new AnswerProof[](0), "YES", wrong(Answers.ProofCount.selector, 1, 0));
        refused(two(proofs[0], proofs[0]), "YES", wrong(Answers.ProofCount.selector, 1, 2));
        opener = openerOfTwo();
        refused(proofs, "YES", wrong(Answers.ProofCount.selector, 2, 1));
    }

    /// The second proof is judged like the first.
    function test_open_revertsIfTheSecondProofIsNotAsGood() public {
        opener = openerOfTwo();
        AnswerProof memory first = candor.log(candor.draft(asked, "YES"), asked.policyId);
        CandorFixture.Draft memory made = candor.draft(asked, "YES");
        made.receipt.work.outcome = 4;
        AnswerProof memory cut = candor.log(made, asked.secondPolicyId);
        refused(two(first, cut), "YES", abi.encodeWithSelector(Answers.NotComplete.selector, 4));
        AnswerProof memory seen = candor.logUnanchored(candor.draft(asked, "YES"), asked.secondPolicyId);
        refused(two(first, seen), "YES", abi.encodeWithSelector(Answers.NotInSequence.selector));
    }

    /// Zero is what every answer that is not public has: a contract that forgot to ask takes nothing.
    function test_open_revertsIfNothingWasAsked() public {
        Question memory none = asked;
        none.questionHash = 0;
        opener = new Opener(candor.registry(), none);
        refused(candor.answered(none, "YES"), "YES", abi.encodeWithSelector(Answers.NoQuestion.selector));
        none = asked;
        none.task = 0;
        opener = new Opener(candor.registry(), none);
        refused(candor.answered(none, "YES"), "YES", abi.encodeWithSelector(Answers.NoTask.selector));
    }

    /// Of all that a submitter brings, only what the proof says that it would take can be written otherwise, and nothing is taken for it.
    function testFuzz_open_revertsIfAnyBitIsFlipped(uint256 bit) public {
        bit = bound(bit, 32, call.length * 8 - 1);
        bytes memory spoiled = call;
        spoiled[bit / 8] ^= bytes1(uint8(1 << (bit % 8)));
        (bool ok,) = address(opener).call(spoiled);
        if (ok) assertEq(this.meaning(spoiled), this.meaning(call), "accepted as something else");
    }

    /// Every bit of the parts that carry the answer, one after another.
    function test_open_revertsIfAnyBitOfAnswerOrDecodingIsFlipped() public {
        AnswerProof[] memory proofs = candor.answered(asked, "YES");
        for (uint256 bit = 0; bit < 24; ++bit) {
            bytes memory text = "YES";
            text[bit / 8] ^= bytes1(uint8(1 << (bit % 8)));
            vm.expectPartialRevert(Answers.WrongAnswer.selector);
            opener.open(proofs, string(text));
        }
        for (uint256 bit = 0; bit < 256; ++bit) {
            proofs[0].decoding.seed ^= bytes32(1 << bit);
            refusedDecoding(proofs);
            proofs[0].decoding.seed ^= bytes32(1 << bit);
            proofs[0].decoding.stopHash ^= bytes32(1 << bit);
            refusedDecoding(proofs);
            proofs[0].decoding.stopHash ^= bytes32(1 << bit);
        }
        for (uint256 bit = 0; bit < 32; ++bit) {
            uint32 flip = uint32(1 << bit);
            proofs[0].decoding.topPE6 ^= flip;
            refusedDecoding(proofs);
            proofs[0].decoding.topPE6 ^= flip;
            proofs[0].decoding.topK ^= flip;
            refusedDecoding(proofs);
            proofs[0].decoding.topK ^= flip;
            proofs[0].decoding.maxTokens ^= flip;
            refusedDecoding(proofs);
            proofs[0].decoding.maxTokens ^= flip;
            proofs[0].decoding.temperatureE6 ^= flip;
            refusedDecoding(proofs);
            proofs[0].decoding.temperatureE6 ^= flip;
        }
        opener.open(proofs, "YES");
    }

    /// What calldata says, without what a submitter may say as it likes.
    function meaning(bytes calldata encoded) external pure returns (bytes32) {
        (AnswerProof[] memory proofs, string memory text) = abi.decode(encoded[4:], (AnswerProof[], string));
        for (uint256 i = 0; i < proofs.length; ++i) {
            IProofs.ReceiptProof memory c = proofs[i].receipt;
            (c.schemes, c.acceptsUncharged, c.acceptsObservation) = (0, false, false);
        }
        return keccak256(abi.encode(proofs, text));
    }

    function unpaid() private view returns (CandorFixture.Draft memory made) {
        made = candor.draft(asked, "YES");
        delete made.receipt.money;
        made.receipt.money.payee = candor.PAYEE();
        made.receipt.money.chainId = block.chainid;
    }

    function openerOfTwo() private returns (Opener) {
        asked.secondPolicyId = candor.secondPolicyId();
        return new Opener(candor.registry(), asked);
    }

    function refused(CandorFixture.Draft memory made, bytes memory reason) private {
        refused(one(candor.log(made, asked.policyId)), "YES", reason);
    }

    function refused(AnswerProof[] memory proofs, string memory text, bytes memory reason) private {
        vm.expectRevert(reason);
        opener.open(proofs, text);
    }

    function refusedDecoding(AnswerProof[] memory proofs) private {
        vm.expectPartialRevert(Answers.WrongDecoding.selector);
        opener.open(proofs, "YES");
    }

    function accepted(CandorFixture.Draft memory made) private {
        string memory text = made.receipt.work.answerHash == keccak256("YES") ? "YES" : "NO";
        AnswerProof[] memory proofs = one(candor.log(made, asked.policyId));
        assertTrue(same(new Opener(candor.registry(), asked).open(proofs, text), text), "text");
    }

    function one(AnswerProof memory proof) private pure returns (AnswerProof[] memory proofs) {
        proofs = new AnswerProof[](1);
        proofs[0] = proof;
    }

    function two(AnswerProof memory a, AnswerProof memory b) private pure returns (AnswerProof[] memory proofs) {
        proofs = new AnswerProof[](2);
        (proofs[0], proofs[1]) = (a, b);
    }

    function same(string memory a, string memory b) private pure returns (bool) {
        return keccak256(bytes(a)) == keccak256(bytes(b));
    }

    function wrong(bytes4 selector, bytes32 expected, bytes32 got) private pure returns (bytes memory) {
        return abi.encodeWithSelector(selector, expected, got);
    }

    function wrong(bytes4 selector, uint256 expected, uint256 got) private pure returns (bytes memory) {
        return abi.encodeWithSelector(selector, expected, got);
    }
}
