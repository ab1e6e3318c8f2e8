// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// Block headers in RLP, written the plain way, and their parts for tests that spoil one.
library Headers {
    bytes32 internal constant EMPTY_OMMERS = 0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347;
    bytes32 internal constant EMPTY_TRIE = 0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421;
    uint256 internal constant NUMBER = 8;
    uint256 internal constant TIME = 11;

    /// A header of the sizes of today: 21 items.
    function header(uint64 number, uint64 time) internal pure returns (bytes memory) {
        return list(items(number, time));
    }

    /// The items of such a header, each in its encoding.
    function items(uint64 number, uint64 time) internal pure returns (bytes[] memory all) {
        all = new bytes[](21);
        all[0] = word(keccak256("parent"));
        all[1] = word(EMPTY_OMMERS);
        all[2] = text(abi.encodePacked(address(0xc01bba5e)));
        all[3] = word(keccak256("state"));
        all[4] = word(keccak256("transactions"));
        all[5] = word(keccak256("receipts"));
        all[6] = text(new bytes(256));
        all[7] = integer(0);
        all[NUMBER] = integer(number);
        all[9] = integer(36_000_000);
        all[10] = integer(17_123_456);
        all[TIME] = integer(time);
        all[12] = text("builder");
        all[13] = word(keccak256("randao"));
        all[14] = text(new bytes(8));
        all[15] = integer(1_000_000_007);
        all[16] = word(keccak256("withdrawals"));
        all[17] = integer(131_072);
        all[18] = integer(0);
        all[19] = word(keccak256("beacon root"));
        all[20] = word(keccak256("requests"));
    }

    /// The first `count` of these items.
    function first(bytes[] memory all, uint256 count) internal pure returns (bytes[] memory some) {
        some = new bytes[](count);
        for (uint256 i = 0; i < count; ++i) {
            some[i] = all[i];
        }
    }

    /// A list of encoded items.
    function list(bytes[] memory all) internal pure returns (bytes memory) {
        return framed(0xc0, join(all));
    }

    function join(bytes[] memory all) internal pure returns (bytes memory payload) {
        for (uint256 i = 0; i < all.length; ++i) {
            payload = bytes.concat(payload, all[i]);
        }
    }

    /// A string: a byte below 0x80 stands for itself.
    function text(bytes memory content) internal pure returns (bytes memory) {
        if (content.length == 1 && uint8(content[0]) < 0x80) return content;
        return framed(0x80, content);
    }

    function word(bytes32 content) internal pure returns (bytes memory) {
        return text(abi.encodePacked(content));
    }

    /// Big-endian without leading zeros; zero is the empty string.
    function integer(uint256 value) internal pure returns (bytes memory) {
        return text(shortest(value));
    }

    function shortest(uint256 value) internal pure returns (bytes memory content) {
        for (; value != 0; value /= 256) {
            content = bytes.concat(bytes1(uint8(value % 256)), content);
        }
    }

    function framed(uint256 base, bytes memory content) internal pure returns (bytes memory) {
        if (content.length <= 55) return bytes.concat(bytes1(uint8(base + content.length)), content);
        bytes memory length = shortest(content.length);
        return bytes.concat(bytes1(uint8(base + 55 + length.length)), length, content);
    }
}
