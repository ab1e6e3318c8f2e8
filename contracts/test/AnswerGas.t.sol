// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Question} from "../src/answer/Answers.sol";
import {CandorAgentVerifier} from "../src/erc8274/CandorAgentVerifier.sol";
import {CandorProofVerifier} from "../src/erc8274/CandorProofVerifier.sol";
import {CandorFixture} from "../src/testing/CandorFixture.sol";
import {Base} from "./support/Base.sol";
import {Opener} from "./support/Opener.sol";

/// What it costs to act on an answer, as whole transactions, calldata included; in trees of 2^20 leaves. Run with --isolate.
contract AnswerGasTest is Base {
    event Gas(string what, uint256 gas);

    bytes32 private constant MODEL = keccak256("weights");
    bytes32 private constant TASK = keccak256("task");

    CandorFixture private candor;
    Opener private opener;
    Opener private openerOfTwo;
    CandorAgentVerifier private agent;

    function setUp() public {
        candor = new CandorFixture();
        opener = new Opener(candor.registry(), asked());
        openerOfTwo = new Opener(candor.registry(), askedOfTwo());
        CandorProofVerifier inner = new CandorProofVerifier(candor.registry(), candor.policyId(), true);
        CandorProofVerifier.Metadata memory terms = CandorProofVerifier.Metadata(MODEL, keccak256("det/1"), false);
        agent = new CandorAgentVerifier(inner, address(this), terms, "YES", CandorAgentVerifier.Form("", "", ""));
        agent.ask(TASK, "");
    }

    function test_gas_openUnderOnePolicy() public {
        opener.open(candor.answered(asked(), "YES"), "YES");
        measured("open, one policy", 133_500);
    }

    function test_gas_openUnderTwoPolicies() public {
        openerOfTwo.open(candor.answered(askedOfTwo(), "YES"), "YES");
        measured("open, two policies", 214_500);
    }

    function test_gas_agentVerify() public {
        Question memory question = asked();
        question.questionHash = agent.questionOf(TASK);
        bytes memory proof = abi.encode(candor.answered(question, "YES")[0]);
        (bool valid,) = agent.verify(TASK, MODEL, question.questionHash, keccak256("YES"), proof);
        assertTrue(valid, "valid");
        measured("ERC-8274 verify, outer layer", 152_000);
    }

    function asked() private view returns (Question memory) {
        return candor.question("{}", TASK, MODEL);
    }

    function askedOfTwo() private view returns (Question memory question) {
        question = asked();
        question.secondPolicyId = candor.secondPolicyId();
    }

    function measured(string memory what, uint256 ceiling) private {
        uint256 gas = vm.lastCallGas().gasTotalUsed;
        emit Gas(what, gas);
        if (gas > ceiling) revert DiffersIn(what, bytes32(ceiling), bytes32(gas));
    }
}
