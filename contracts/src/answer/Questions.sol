// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Questions whose answers a contract can read: what identifies one, and how a contract writes one.
/// @notice Spec: transcript.md section 4. A question is the request as it was received, byte for byte: one space more is another
/// question. So a contract that writes its question hands the body out, and whoever buys the answer sends those bytes.
///
/// WHAT A WRITER CAN GRIND. The engine is public, so whoever chooses a byte of a question can try offline what the answer would be and
/// choose among many: by words, spaces, an ignored member, `seed`, `max_tokens`. Only the task can be chosen without effect, because
/// the model is not shown it. Take no byte from whoever gains by the answer; where several write, each can choose after those before.
library Questions {
    /// @notice This byte cannot stand in a JSON string as it is (or is not ASCII).
    error NotPlain(uint256 offset, bytes1 got);

    bytes16 private constant DIGITS = "0123456789abcdef";

    /// @notice The question hash of a request. The path is with its query; the body is not content-encoded.
    function hashOf(bytes memory method, bytes memory path, bytes memory body) internal pure returns (bytes32) {
        // Lengths in memory are far below 2^64.
        // forge-lint: disable-next-item(unsafe-typecast)
        return keccak256(
            abi.encodePacked(
                "candor/question/1", uint64(method.length), method, uint64(path.length), path, uint64(body.length), body
            )
        );
    }

    /// @notice The question hash of a chat completion, the only request whose answer can be public.
    function ofChat(bytes memory body) internal pure returns (bytes32) {
        return hashOf("POST", "/v1/chat/completions", body);
    }

    /// @notice 0x and 64 lower-case digits: how a body names its task, `"candor":{"public":true,"task":"0x…"}`.
    function hexOf(bytes32 word) internal pure returns (string memory) {
        bytes memory out = new bytes(66);
        (out[0], out[1]) = ("0", "x");
        for (uint256 i = 0; i < 32; ++i) {
            out[2 + 2 * i] = DIGITS[uint8(word[i]) >> 4];
            out[3 + 2 * i] = DIGITS[uint8(word[i]) & 15];
        }
        return string(out);
    }

    /// @notice Refuses text that would end, escape or break the JSON string it is put into: only printable ASCII without `"` and `\` is
    /// taken. What the text says to the model, nothing here can check.
    function checkPlain(string memory text) internal pure {
        bytes memory all = bytes(text);
        for (uint256 i = 0; i < all.length; ++i) {
            bytes1 got = all[i];
            if (got < 0x20 || bytes1(0x7e) < got || got == '"' || got == "\\") revert NotPlain(i, got);
        }
    }
}
