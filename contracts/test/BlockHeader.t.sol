// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IKeys} from "../src/interfaces/IKeys.sol";
import {BlockHeader} from "../src/lib/BlockHeader.sol";
import {Fixture} from "./support/Fixture.sol";
import {Headers} from "./support/Headers.sol";

/// Number and time of a header, one test for each wrong encoding, and `pin`.
contract BlockHeaderTest is Fixture {
    address private constant HISTORY = 0x0000F90827F1C53a10cb7A02335B175320002935;
    uint64 private constant NUMBER = 999;
    uint64 private constant TIME = START - 12;

    // Headers that are right.

    /// The first block of Ethereum after its genesis.
    function test_parse_readsBlockOneOfEthereum() public view {
        bytes memory header = blockOne();
        assertEq(keccak256(header), 0x88e96d4537bea4d9c05d12549907b32561d3bf31f45aae734cdc119f13406cb6, "hash");
        (uint64 number, uint64 time) = harness.parseHeader(header);
        assertEq(number, 1);
        assertEq(time, 1_438_269_988);
    }

    function test_parse_readsAHeaderOfToday() public view {
        (uint64 number, uint64 time) = harness.parseHeader(Headers.header(NUMBER, TIME));
        assertEq(number, NUMBER);
        assertEq(time, TIME);
    }

    function testFuzz_parse_readsEveryNumberAndTime(uint64 number, uint64 time, uint256 shiftA, uint256 shiftB) public view {
        // Numbers of all lengths.
        number >>= shiftA % 65;
        time >>= shiftB % 65;
        (uint64 gotNumber, uint64 gotTime) = harness.parseHeader(Headers.header(number, time));
        assertEq(gotNumber, number);
        assertEq(gotTime, time);
    }

    /// Later forks add items to the end.
    function test_parse_takesUnknownItemsAfterTheTime() public view {
        bytes[] memory all = Headers.items(NUMBER, TIME);
        all[20] = Headers.text(new bytes(600));
        (uint64 number, uint64 time) = harness.parseHeader(Headers.list(all));
        assertEq(number, NUMBER);
        assertEq(time, TIME);
    }

    function test_parse_takesAHeaderOfTheGreatestLength() public view {
        bytes memory header = ofLength(2048);
        assertEq(header.length, 2048);
        (uint64 number,) = harness.parseHeader(header);
        assertEq(number, NUMBER);
    }

    function test_parse_takesAListWithOneByteOfLength() public view {
        bytes[] memory all = small();
        bytes memory header = Headers.list(all);
        assertEq(uint8(header[0]), 0xf8);
        (uint64 number, uint64 time) = harness.parseHeader(header);
        assertEq(number, NUMBER);
        assertEq(time, TIME);
    }

    // The list.

    function test_parse_revertsIfThereIsNothing() public {
        malformed("", 0);
    }

    function test_parse_revertsIfThereIsOneByte() public {
        malformed(hex"f9", 0);
    }

    function test_parse_revertsIfTheLengthIsCut() public {
        malformed(hex"f902", 1);
    }

    function test_parse_revertsIfItIsTooLong() public {
        malformed(ofLength(2049), 2048);
    }

    function test_parse_revertsIfItIsAString() public {
        malformed(Headers.framed(0x80, Headers.join(Headers.items(NUMBER, TIME))), 0);
    }

    /// A list of up to 55 bytes has its length in the first byte: no header is so short.
    function test_parse_revertsIfItIsAShortList() public {
        bytes[] memory all = new bytes[](12);
        for (uint256 i = 0; i < 12; ++i) {
            all[i] = Headers.integer(1);
        }
        malformed(Headers.list(all), 0);
    }

    function test_parse_revertsIfTheLengthIsOfThreeBytes() public {
        bytes memory payload = Headers.join(Headers.items(NUMBER, TIME));
        malformed(bytes.concat(hex"fa00", bytes2(uint16(payload.length)), payload), 0);
    }

    function test_parse_revertsIfTheLengthIsOfTwoBytesWithoutNeed() public {
        bytes memory payload = Headers.join(small());
        malformed(bytes.concat(hex"f9", bytes2(uint16(payload.length)), payload), 1);
    }

    function test_parse_revertsIfTheLengthIsOfOneByteWithoutNeed() public {
        // 55 bytes: the most that the first byte can say.
        bytes memory payload = bytes.concat(hex"01010101010101010101010a", new bytes(43));
        malformed(bytes.concat(hex"f837", payload), 1);
    }

    function test_parse_revertsIfThereIsATrailingByte() public {
        malformed(bytes.concat(Headers.header(NUMBER, TIME), hex"00"), 1);
    }

    function test_parse_revertsIfTheLastByteIsMissing() public {
        bytes memory header = Headers.header(NUMBER, TIME);
        assembly ("memory-safe") {
            mstore(header, sub(mload(header), 1))
        }
        malformed(header, 1);
    }

    // Its items.

    function test_parse_revertsIfItEndsBeforeTheTime() public {
        bytes memory header = Headers.list(Headers.first(Headers.items(NUMBER, TIME), 11));
        malformed(header, header.length);
    }

    function test_parse_takesAHeaderThatEndsWithTheTime() public view {
        (, uint64 time) = harness.parseHeader(Headers.list(Headers.first(Headers.items(NUMBER, TIME), 12)));
        assertEq(time, TIME);
    }

    /// A list in the place of any item that is walked over would hide a second header in the first.
    function testFuzz_parse_revertsIfAnItemIsAList(uint256 item, bytes memory content) public {
        vm.assume(content.length < 300);
        item = item % 12;
        spoiled(item, Headers.framed(0xc0, content), 0);
    }

    function test_parse_revertsIfAByteIsFramedWithoutNeed() public {
        spoiled(10, hex"8105", 0);
    }

    function test_parse_takesAByteThatNeedsItsFrame() public view {
        bytes[] memory all = Headers.items(NUMBER, TIME);
        all[10] = hex"8180";
        harness.parseHeader(Headers.list(all));
    }

    function test_parse_revertsIfAStringHasALongLengthWithoutNeed() public {
        spoiled(4, bytes.concat(hex"b837", new bytes(55)), 0);
    }

    function test_parse_revertsIfAStringHasALongerLengthWithoutNeed() public {
        spoiled(6, bytes.concat(hex"b900ff", new bytes(255)), 0);
    }

    function test_parse_revertsIfAStringHasALengthOfThreeBytes() public {
        spoiled(6, bytes.concat(hex"ba000100", new bytes(256)), 0);
    }

    function test_parse_takesAStringOf56Bytes() public view {
        bytes[] memory all = Headers.items(NUMBER, TIME);
        all[6] = bytes.concat(hex"b838", new bytes(56));
        (uint64 number,) = harness.parseHeader(Headers.list(all));
        assertEq(number, NUMBER);
    }

    function test_parse_revertsIfAShortStringRunsOut() public {
        runsOut(hex"88ffff");
    }

    function test_parse_revertsIfALongStringRunsOut() public {
        runsOut(hex"b838ffff");
    }

    function test_parse_revertsIfALengthRunsOut() public {
        runsOut(hex"b8");
    }

    function test_parse_revertsIfALengthOfTwoBytesRunsOut() public {
        runsOut(hex"b901");
    }

    // Integers.

    function test_parse_revertsIfTheNumberHasALeadingZero() public {
        spoiled(Headers.NUMBER, hex"830003e7", 1);
    }

    function test_parse_revertsIfTheTimeHasALeadingZero() public {
        spoiled(Headers.TIME, hex"83000102", 1);
    }

    function test_parse_revertsIfTheNumberIsAZeroByte() public {
        spoiled(Headers.NUMBER, hex"00", 0);
    }

    function test_parse_revertsIfTheTimeIsAZeroByte() public {
        spoiled(Headers.TIME, hex"00", 0);
    }

    function test_parse_revertsIfTheNumberHasNineBytes() public {
        spoiled(Headers.NUMBER, hex"89010000000000000000", 1);
    }

    function test_parse_revertsIfTheTimeHasNineBytes() public {
        spoiled(Headers.TIME, hex"89010000000000000000", 1);
    }

    // Pinning.

    function test_pin_keepsHashAndTime() public {
        bytes memory header = ofTheChain();
        assertEq(registry.pin(header), NUMBER);
        assertPinned(header);
    }

    function test_pin_emitsBoth() public {
        bytes memory header = ofTheChain();
        vm.expectEmit(true, true, true, true, address(registry));
        emit IKeys.Pinned(NUMBER, keccak256(header), TIME);
        registry.pin(header);
    }

    function test_pin_anyoneMaySend() public {
        bytes memory header = ofTheChain();
        vm.prank(address(0xbad));
        registry.pin(header);
        assertPinned(header);
    }

    function test_pin_twiceIsHarmless() public {
        bytes memory header = ofTheChain();
        registry.pin(header);
        registry.pin(header);
        assertPinned(header);
    }

    function test_pinned_staysWhenTheChainForgets() public {
        bytes memory header = ofTheChain();
        registry.pin(header);
        vm.roll(1_000_000);
        assertPinned(header);
    }

    function test_pin_takesAnOlderBlockFromTheHistory() public {
        bytes memory header = Headers.header(NUMBER, TIME);
        vm.roll(5000);
        vm.etch(HISTORY, hex"00");
        vm.mockCall(HISTORY, abi.encode(uint256(NUMBER)), abi.encode(keccak256(header)));
        registry.pin(header);
        assertPinned(header);
    }

    function test_pinned_isZeroForAnotherNumber() public {
        registry.pin(ofTheChain());
        (bytes32 blockHash, uint64 time) = registry.pinned(NUMBER - 1);
        assertEq(blockHash, 0);
        assertEq(time, 0);
    }

    function test_pin_revertsIfTheHashIsNotTheChains() public {
        bytes memory header = Headers.header(NUMBER, TIME);
        bytes32 chains = blockhash(NUMBER);
        vm.expectRevert(err(IKeys.WrongBlockHash.selector, chains, keccak256(header)));
        registry.pin(header);
    }

    /// The right header with another time in it.
    function test_pin_revertsIfTheTimeIsAnother() public {
        bytes32 chains = keccak256(ofTheChain());
        bytes memory header = Headers.header(NUMBER, TIME + 1);
        vm.expectRevert(err(IKeys.WrongBlockHash.selector, chains, keccak256(header)));
        registry.pin(header);
    }

    function test_pin_revertsIfTheBlockIsTheCurrentOne() public {
        vm.expectRevert(err(IKeys.BlockOutOfRange.selector, 1000, 1000));
        registry.pin(Headers.header(1000, TIME));
    }

    function test_pin_revertsIfTheBlockIsOfTheFuture() public {
        vm.expectRevert(err(IKeys.BlockOutOfRange.selector, 1000, type(uint64).max));
        registry.pin(Headers.header(type(uint64).max, TIME));
    }

    function test_pin_revertsIfTheChainForgotTheBlock() public {
        bytes memory header = ofTheChain();
        vm.roll(1256);
        vm.expectRevert(err(IKeys.BlockOutOfRange.selector, 1256, NUMBER));
        registry.pin(header);
    }

    /// What the chain hashed is not enough: a chain whose headers are other bytes has no pins.
    function test_pin_revertsIfWhatTheChainHashedIsNoHeader() public {
        bytes memory other = "a header of another kind of chain";
        vm.setBlockhash(NUMBER, keccak256(other));
        vm.expectRevert(malformedAt(0));
        registry.pin(other);
    }

    function testFuzz_pin_revertsIfAnyByteIsChanged(uint256 place, uint8 flip) public {
        bytes memory header = ofTheChain();
        vm.assume(flip != 0);
        place = place % header.length;
        header[place] = bytes1(uint8(header[place]) ^ flip);
        vm.expectRevert();
        registry.pin(header);
    }

    function malformedAt(uint256 offset) private pure returns (bytes memory) {
        return abi.encodeWithSelector(BlockHeader.MalformedHeader.selector, offset);
    }

    /// A header that is what the chain hashed for block NUMBER.
    function ofTheChain() private returns (bytes memory header) {
        header = Headers.header(NUMBER, TIME);
        vm.setBlockhash(NUMBER, keccak256(header));
    }

    function assertPinned(bytes memory header) private view {
        (bytes32 blockHash, uint64 time) = registry.pinned(NUMBER);
        assertEq(blockHash, keccak256(header));
        assertEq(time, TIME);
    }

    function malformed(bytes memory header, uint256 offset) private {
        vm.expectRevert(malformedAt(offset));
        harness.parseHeader(header);
    }

    /// A header with these bytes as one item; refused at `within` bytes after the item's first.
    function spoiled(uint256 item, bytes memory encoding, uint256 within) private {
        bytes[] memory all = Headers.items(NUMBER, TIME);
        uint256 offset = 3;
        for (uint256 i = 0; i < item; ++i) {
            offset += all[i].length;
        }
        all[item] = encoding;
        malformed(Headers.list(all), offset + within);
    }

    /// A header whose twelfth item is its last and longer than what is left.
    function runsOut(bytes memory encoding) private {
        bytes[] memory all = Headers.first(Headers.items(NUMBER, TIME), 12);
        all[11] = encoding;
        bytes memory header = Headers.list(all);
        malformed(header, header.length - encoding.length);
    }

    /// A header of between 56 and 255 bytes: no chain has one, and the form is that of a list all the same.
    function small() private pure returns (bytes[] memory all) {
        all = Headers.first(Headers.items(NUMBER, TIME), 12);
        for (uint256 i = 2; i < 7; ++i) {
            all[i] = Headers.integer(i);
        }
    }

    function ofLength(uint256 length) private pure returns (bytes memory) {
        bytes[] memory all = Headers.items(NUMBER, TIME);
        all[20] = "";
        // Three bytes of the list, three of the string.
        all[20] = Headers.text(new bytes(length - 6 - Headers.join(all).length));
        return Headers.list(all);
    }

    function blockOne() private pure returns (bytes memory) {
        bytes[] memory all = new bytes[](15);
        all[0] = Headers.word(0xd4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3);
        all[1] = Headers.word(Headers.EMPTY_OMMERS);
        all[2] = Headers.text(hex"05a56e2d52c817161883f50c441c3228cfe54d9f");
        all[3] = Headers.word(0xd67e4d450343046425ae4271474353857ab860dbc0a1dde64b41b5cd3a532bf3);
        all[4] = Headers.word(Headers.EMPTY_TRIE);
        all[5] = Headers.word(Headers.EMPTY_TRIE);
        all[6] = Headers.text(new bytes(256));
        all[7] = Headers.integer(17_171_480_576);
        all[8] = Headers.integer(1);
        all[9] = Headers.integer(5000);
        all[10] = Headers.integer(0);
        all[11] = Headers.integer(1_438_269_988);
        all[12] = Headers.text("Geth/v1.0.0/linux/go1.4.2");
        all[13] = Headers.word(0x969b900de27b6ac6a67742365dd65f55a0526c41fd18e1b16f1a1215c2e66f59);
        all[14] = Headers.text(hex"539bd4979fef1ec4");
        return Headers.list(all);
    }
}
