// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Blocks of this chain: hashes beyond the last 256, and what a header says.
/// @notice For chains whose block hash is keccak256 of the RLP header, as on Ethereum. On others `hashOf` answers for the last 256 blocks
/// and no header is ever taken.
library BlockHeader {
    /// @notice The bytes are not a header: not one list of strings in their shortest form, too long, or too few items.
    error MalformedHeader(uint256 offset);

    /// EIP-2935: hashes of the last 8,191 blocks, in a contract of the system.
    address internal constant HISTORY = 0x0000F90827F1C53a10cb7A02335B175320002935;
    uint256 internal constant HEADER_MAX = 2048;
    uint256 private constant NUMBER_ITEM = 8;
    uint256 private constant TIME_ITEM = 11;

    /// @notice The hash of a block; zero if this chain no longer says.
    function hashOf(uint256 number) internal view returns (bytes32 blockHash) {
        blockHash = blockhash(number);
        if (blockHash != 0 || number >= block.number) return blockHash;
        (bool ok, bytes memory answer) = HISTORY.staticcall(abi.encode(number));
        if (ok && answer.length == 32) blockHash = abi.decode(answer, (bytes32));
    }

    /// @notice Number and time of a header. Believes nothing: compare its keccak256 with the chain's hash of that number.
    function parse(bytes calldata header) internal pure returns (uint64 number, uint64 time) {
        if (header.length > HEADER_MAX) revert MalformedHeader(HEADER_MAX);
        (uint256 offset, uint256 end) = _list(header);
        for (uint256 item = 0; item <= TIME_ITEM; ++item) {
            uint256 length;
            (offset, length) = _string(header, offset, end);
            if (item == NUMBER_ITEM) number = _uint64(header, offset, length);
            if (item == TIME_ITEM) time = _uint64(header, offset, length);
            offset += length;
        }
    }

    /// A list that is all of the bytes. A header is longer than 55 bytes, so its length is in bytes of its own.
    function _list(bytes calldata header) private pure returns (uint256 offset, uint256 end) {
        if (header.length < 2) revert MalformedHeader(0);
        uint256 head = uint8(header[0]);
        if (head < 0xf8 || head > 0xf9) revert MalformedHeader(0);
        uint256 width = head - 0xf7;
        offset = 1 + width;
        if (header.length < offset) revert MalformedHeader(1);
        uint256 length = width == 1 ? uint8(header[1]) : uint256(uint16(bytes2(header[1:3])));
        if (length <= 55 || (width == 2 && length < 256)) revert MalformedHeader(1);
        end = offset + length;
        if (end != header.length) revert MalformedHeader(1);
    }

    /// Where the next string's bytes are, and how many.
    function _string(bytes calldata header, uint256 offset, uint256 end) private pure returns (uint256 start, uint256 length) {
        if (offset >= end) revert MalformedHeader(offset);
        uint256 head = uint8(header[offset]);
        if (head < 0x80) return (offset, 1);
        if (head <= 0xb7) {
            (start, length) = (offset + 1, head - 0x80);
            if (start + length > end) revert MalformedHeader(offset);
            if (length == 1 && uint8(header[start]) < 0x80) revert MalformedHeader(offset);
            return (start, length);
        }
        // Longer ones are the logs' bloom (256 bytes) and at most a byte or two of length.
        if (head > 0xb9) revert MalformedHeader(offset);
        uint256 width = head - 0xb7;
        start = offset + 1 + width;
        if (start > end) revert MalformedHeader(offset);
        length = width == 1 ? uint8(header[offset + 1]) : uint256(uint16(bytes2(header[offset + 1:offset + 3])));
        if (length <= 55 || (width == 2 && length < 256) || start + length > end) revert MalformedHeader(offset);
    }

    function _uint64(bytes calldata header, uint256 offset, uint256 length) private pure returns (uint64 value) {
        if (length > 8 || (length != 0 && header[offset] == 0)) revert MalformedHeader(offset);
        for (uint256 i = 0; i < length; ++i) {
            value = (value << 8) | uint8(header[offset + i]);
        }
    }
}
