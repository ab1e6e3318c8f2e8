// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Questions} from "../src/answer/Questions.sol";
import {Base} from "./support/Base.sol";

/// What a contract needs to write a question. (That its hash is the spec's: Vectors.t.sol.)
contract QuestionsTest is Base {
    function test_hashOf_knowsWhereEachPartEnds() public pure {
        bytes32 question = Questions.hashOf("POST", "/v1/chat/completions", "{}");
        assertEq(question, Questions.ofChat("{}"));
        assertTrue(question != Questions.hashOf("POST", "/v1/chat/completions{", "}"), "path and body");
        assertTrue(question != Questions.hashOf("POS", "T/v1/chat/completions", "{}"), "method and path");
        assertTrue(question != Questions.ofChat("{} "), "a space");
    }

    function test_hexOf_is0xAnd64LowerCaseDigits() public pure {
        bytes32 word = 0x00010203040506070809a0b0c0d0e0f0ffeeddccbbaa99887766554433221100;
        assertEq(
            keccak256(bytes(Questions.hexOf(word))), keccak256("0x00010203040506070809a0b0c0d0e0f0ffeeddccbbaa99887766554433221100")
        );
    }

    function test_checkPlain_takesPrintableAsciiWithoutQuoteAndBackslash() public {
        for (uint256 value = 0; value < 256; ++value) {
            // forge-lint: disable-next-line(unsafe-typecast)
            bytes1 got = bytes1(uint8(value));
            bytes memory text = bytes.concat("ab", got, "c");
            bool plain = 0x20 <= value && value <= 0x7e && got != '"' && got != "\\";
            if (!plain) vm.expectRevert(abi.encodeWithSelector(Questions.NotPlain.selector, 2, got));
            this.checkPlain(string(text));
        }
        this.checkPlain("");
    }

    function checkPlain(string calldata text) external pure {
        Questions.checkPlain(text);
    }
}
