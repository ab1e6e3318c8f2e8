// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {DevMulticall3} from "../src/dev/DevMulticall3.sol";
import {Base} from "./support/Base.sol";

/// Counts, keeps what it is sent, and refuses when asked to.
contract Counter {
    uint256 public count;
    address public lastCaller;

    error No(uint256 count);

    function add(uint256 n) external payable returns (uint256) {
        lastCaller = msg.sender;
        return count += n;
    }

    function refuse() external payable {
        revert No(++count);
    }
}

contract DevMulticall3Test is Base {
    DevMulticall3 private constant MULTICALL = DevMulticall3(0xcA11bde05977b3631167028862bE2a173976CA11);
    bytes private constant FAILED = abi.encodeWithSignature("Error(string)", "Multicall3: call failed");

    Counter private counter;
    bytes private add;
    bytes private refuse;

    function setUp() public {
        vm.etch(address(MULTICALL), address(new DevMulticall3()).code);
        counter = new Counter();
        (add, refuse) = (abi.encodeCall(Counter.add, (3)), abi.encodeCall(Counter.refuse, ()));
        vm.deal(address(this), 1 ether);
    }

    function test_selectors_areMulticall3s() public pure {
        assertEq(bytes32(DevMulticall3.aggregate3.selector), bytes32(bytes4(0x82ad56cb)));
        assertEq(bytes32(DevMulticall3.aggregate3Value.selector), bytes32(bytes4(0x174dea71)));
        assertEq(bytes32(DevMulticall3.tryAggregate.selector), bytes32(bytes4(0xbce38bd7)));
        assertEq(bytes32(DevMulticall3.aggregate.selector), bytes32(bytes4(0x252dba42)));
        assertEq(bytes32(DevMulticall3.getEthBalance.selector), bytes32(bytes4(keccak256("getEthBalance(address)"))));
    }

    function test_aggregate3_isolatesARowThatMayFail() public {
        DevMulticall3.Result[] memory results = MULTICALL.aggregate3(rows(true));
        assertEq(results.length, 4);
        answered(results[0], true, abi.encode(3));
        answered(results[1], false, abi.encodeWithSelector(Counter.No.selector, 4));
        // The failed row left nothing.
        answered(results[2], true, abi.encode(6));
        // Nobody is there: no answer, and no failure.
        answered(results[3], true, "");
        assertEq(counter.count(), 6);
        assertEq(counter.lastCaller(), address(MULTICALL));
    }

    function test_aggregate3_revertsAllIfARowMayNotFail() public {
        vm.expectRevert(FAILED);
        MULTICALL.aggregate3(rows(false));
        assertEq(counter.count(), 0);
    }

    function test_tryAggregate_isToldWhetherAllMustSucceed() public {
        DevMulticall3.Result[] memory results = MULTICALL.tryAggregate(false, calls());
        answered(results[0], true, abi.encode(3));
        answered(results[1], false, abi.encodeWithSelector(Counter.No.selector, 4));
        answered(results[2], true, abi.encode(6));
        vm.expectRevert(FAILED);
        MULTICALL.tryAggregate(true, calls());
        (uint256 number,, DevMulticall3.Result[] memory same) = MULTICALL.tryBlockAndAggregate(false, calls());
        assertEq(number, block.number);
        answered(same[2], true, abi.encode(12));
        vm.expectRevert(FAILED);
        MULTICALL.blockAndAggregate(calls());
    }

    function test_aggregate_needsEveryCall() public {
        vm.expectRevert(FAILED);
        MULTICALL.aggregate(calls());
        DevMulticall3.Call[] memory two = new DevMulticall3.Call[](2);
        (two[0], two[1]) = (calls()[0], calls()[2]);
        vm.roll(77);
        (uint256 number, bytes[] memory answers) = MULTICALL.aggregate(two);
        assertEq(number, 77);
        assertEq(keccak256(answers[0]), keccak256(abi.encode(3)));
        assertEq(keccak256(answers[1]), keccak256(abi.encode(6)));
        (,, DevMulticall3.Result[] memory results) = MULTICALL.blockAndAggregate(two);
        answered(results[1], true, abi.encode(12));
    }

    function test_aggregate3Value_isSentTheSum() public {
        DevMulticall3.Call3Value[] memory sent = new DevMulticall3.Call3Value[](2);
        sent[0] = DevMulticall3.Call3Value(address(counter), false, 5, add);
        sent[1] = DevMulticall3.Call3Value(address(counter), false, 7, add);
        DevMulticall3.Result[] memory results = MULTICALL.aggregate3Value{value: 12}(sent);
        answered(results[1], true, abi.encode(6));
        assertEq(address(counter).balance, 12);
        // More than the sum, and less while there is money of somebody else's.
        vm.expectRevert("Multicall3: value mismatch");
        MULTICALL.aggregate3Value{value: 13}(sent);
        vm.deal(address(MULTICALL), 100);
        vm.expectRevert("Multicall3: value mismatch");
        MULTICALL.aggregate3Value{value: 11}(sent);
        vm.deal(address(MULTICALL), 0);
        vm.expectRevert(FAILED);
        MULTICALL.aggregate3Value{value: 11}(sent);
        // A value that nobody has fails like any call.
        sent[1] = DevMulticall3.Call3Value(address(counter), true, type(uint256).max, add);
        vm.expectRevert("Multicall3: value mismatch");
        MULTICALL.aggregate3Value{value: 5}(sent);
    }

    /// What a failed row was to be sent counts in the sum, and stays: it is whoever's who asks for it.
    function test_aggregate3Value_isolatesARowThatMayFail() public {
        DevMulticall3.Call3Value[] memory sent = new DevMulticall3.Call3Value[](2);
        sent[0] = DevMulticall3.Call3Value(address(counter), true, 5, refuse);
        sent[1] = DevMulticall3.Call3Value(address(counter), false, 7, add);
        DevMulticall3.Result[] memory results = MULTICALL.aggregate3Value{value: 12}(sent);
        answered(results[0], false, abi.encodeWithSelector(Counter.No.selector, 1));
        answered(results[1], true, abi.encode(3));
        assertEq(address(counter).balance, 7);
        assertEq(address(MULTICALL).balance, 5);
        sent[0].allowFailure = false;
        vm.expectRevert(FAILED);
        MULTICALL.aggregate3Value{value: 12}(sent);
    }

    function test_getters_sayWhatTheChainSays() public {
        vm.roll(300);
        vm.warp(1_800_000_000);
        vm.chainId(84532);
        vm.setBlockhash(299, keccak256("last"));
        vm.setBlockhash(298, keccak256("before"));
        vm.deal(address(0xa11), 42);
        assertEq(MULTICALL.getBlockNumber(), 300);
        assertEq(MULTICALL.getCurrentBlockTimestamp(), 1_800_000_000);
        assertEq(MULTICALL.getChainId(), 84532);
        assertEq(MULTICALL.getLastBlockHash(), keccak256("last"));
        assertEq(MULTICALL.getBlockHash(298), keccak256("before"));
        assertEq(MULTICALL.getEthBalance(address(0xa11)), 42);
        assertEq(MULTICALL.getCurrentBlockGasLimit(), block.gaslimit);
        assertEq(MULTICALL.getCurrentBlockCoinbase(), block.coinbase);
        assertEq(MULTICALL.getCurrentBlockDifficulty(), block.prevrandao);
        assertEq(MULTICALL.getBasefee(), block.basefee);
    }

    /// Four rows: good, bad, good, and one to an address with no code.
    function rows(bool mayFail) private view returns (DevMulticall3.Call3[] memory list) {
        list = new DevMulticall3.Call3[](4);
        list[0] = DevMulticall3.Call3(address(counter), false, add);
        list[1] = DevMulticall3.Call3(address(counter), mayFail, refuse);
        list[2] = DevMulticall3.Call3(address(counter), false, add);
        list[3] = DevMulticall3.Call3(address(0xe0a), false, add);
    }

    function calls() private view returns (DevMulticall3.Call[] memory list) {
        list = new DevMulticall3.Call[](3);
        list[0] = DevMulticall3.Call(address(counter), add);
        list[1] = DevMulticall3.Call(address(counter), refuse);
        list[2] = DevMulticall3.Call(address(counter), add);
    }

    function answered(DevMulticall3.Result memory result, bool success, bytes memory returnData) private pure {
        assertTrue(result.success == success, "success");
        assertEq(keccak256(result.returnData), keccak256(returnData));
    }
}
