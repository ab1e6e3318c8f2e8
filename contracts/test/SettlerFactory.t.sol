// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {DevProxy} from "../src/dev/DevProxy.sol";
import {ISignatureTransfer} from "../src/dev/ISignatureTransfer.sol";
import {IReceiptSettler} from "../src/interfaces/IReceiptSettler.sol";
import {ISettlerFactory} from "../src/interfaces/ISettlerFactory.sol";
import {IUptoProxy} from "../src/interfaces/IUptoProxy.sol";
import {SettlerFactory} from "../src/money/SettlerFactory.sol";
import {Settling} from "./support/Settling.sol";
import {Vm} from "./support/Vm.sol";

/// A payer that burns whatever gas it is given when it is asked for its signature.
contract Burner {
    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) {
        while (true) {}
        return 0;
    }
}

/// A payer that refuses with more bytes than anybody wants.
contract Shouter {
    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) {
        assembly {
            revert(0, 100000)
        }
    }
}

/// A token that calls the settler again while it moves.
contract Reentrant {
    bytes private again;
    uint256 public moved;
    bytes public answer;

    function plan(address target, bytes calldata call) external {
        again = abi.encode(target, call);
    }

    function transferFrom(address, address, uint256 value) external returns (bool) {
        (address target, bytes memory call) = abi.decode(again, (address, bytes));
        (, answer) = target.call(call);
        moved += value;
        return true;
    }
}

/// Many receipts at once, and the settler's making.
contract SettlerFactoryTest is Settling {
    function test_settle_makesTheSettlerAtItsFirstUse() public {
        assertEq(address(settler).code.length, 0);
        assertEq(factory.settle(kSig, list(good(1))), 0);
        assertEq(token.balanceOf(PAYEE), CHARGED);
        assertEq(settler.kSig(), kSig);
    }

    function test_settle_ofNoRowsMakesTheSettler() public {
        assertEq(factory.settle(kSig, new IReceiptSettler.Settlement[](0)), 0);
        assertEq(settler.kSig(), kSig);
    }

    function test_settle_takesAHundredButTheBadOne() public {
        IReceiptSettler.Settlement[] memory rows = new IReceiptSettler.Settlement[](100);
        uint256 sum;
        for (uint256 i = 0; i < rows.length; ++i) {
            rows[i] = unsigned(i);
            rows[i].receipt.money.charged = 10 + i;
            signReceipt(rows[i]);
            signPermit(rows[i]);
            if (i != 37) sum += 10 + i;
        }
        rows[37].receipt.money.charged += 1;
        vm.recordLogs();
        assertEq(factory.settle(kSig, rows), 1);
        assertEq(token.balanceOf(PAYEE), sum);
        Vm.Log memory log = only(vm.getRecordedLogs(), ISettlerFactory.NotSettled.selector);
        assertEq(log.topics[2], rows[37].receipt.money.paymentId);
        (uint256 row, bytes memory reason) = abi.decode(log.data, (uint256, bytes));
        assertEq(row, 37);
        assertEq(bytes32(bytes4(reason)), bytes32(IReceiptSettler.NotSignedByTheKey.selector));
    }

    /// One row twice: the second finds the nonce used.
    function test_settle_namesTheRowThatIsThereTwice() public {
        IReceiptSettler.Settlement[] memory rows = new IReceiptSettler.Settlement[](2);
        (rows[0], rows[1]) = (good(1), good(1));
        vm.expectEmit(true, true, true, true, address(factory));
        emit ISettlerFactory.NotSettled(
            kSig, rows[1].receipt.money.paymentId, 1, abi.encodeWithSelector(ISignatureTransfer.InvalidNonce.selector)
        );
        assertEq(factory.settle(kSig, rows), 1);
        assertEq(token.balanceOf(PAYEE), CHARGED);
    }

    /// A payer that burns gas burns that of its own row.
    function test_settle_goesOnBehindARowThatBurnsItsGas() public {
        IReceiptSettler.Settlement[] memory rows = new IReceiptSettler.Settlement[](2);
        (rows[0], rows[1]) = (paidBy(address(new Burner())), good(1));
        vm.expectEmit(true, true, true, true, address(factory));
        emit ISettlerFactory.NotSettled(kSig, rows[0].receipt.money.paymentId, 0, "");
        uint256 before = gasleft();
        assertEq(factory.settle(kSig, rows), 1);
        assertTrue(before - gasleft() < 2 * factory.ROW_GAS(), "bounded");
        assertEq(token.balanceOf(PAYEE), CHARGED);
    }

    function test_settle_keepsTheBeginningOfALongReason() public {
        IReceiptSettler.Settlement memory s = paidBy(address(new Shouter()));
        vm.recordLogs();
        assertEq(factory.settle(kSig, list(s)), 1);
        Vm.Log memory log = only(vm.getRecordedLogs(), ISettlerFactory.NotSettled.selector);
        (, bytes memory reason) = abi.decode(log.data, (uint256, bytes));
        assertEq(reason.length, factory.MAX_REASON());
    }

    /// Too little gas is nobody's refusal: it undoes everything, so that an estimate of gas finds enough for every row.
    function test_settle_revertsIfARowWouldBeShortOfGas() public {
        factory.deploy(kSig);
        IReceiptSettler.Settlement[] memory rows = new IReceiptSettler.Settlement[](2);
        (rows[0], rows[1]) = (good(1), good(2));
        bytes memory call = abi.encodeCall(ISettlerFactory.settle, (kSig, rows));
        (bool ok, bytes memory reason) = address(factory).call{gas: 600_000}(call);
        assertTrue(!ok && bytes4(reason) == ISettlerFactory.TooLittleGas.selector, "short");
        assertEq(token.balanceOf(PAYEE), 0);
        (ok,) = address(factory).call{gas: 800_000}(call);
        assertTrue(ok, "enough");
        assertEq(token.balanceOf(PAYEE), 2 * CHARGED);
    }

    /// Whatever gas a batch is sent with: all rows or none. (No row is refused for want of gas.)
    function testFuzz_settle_isNeverHalfDoneForWantOfGas(uint256 gas) public {
        factory.deploy(kSig);
        IReceiptSettler.Settlement[] memory rows = new IReceiptSettler.Settlement[](3);
        for (uint256 i = 0; i < 3; ++i) {
            rows[i] = good(i);
        }
        gas = bound(gas, 0, 1_000_000);
        (bool ok, bytes memory answer) = address(factory).call{gas: gas}(abi.encodeCall(ISettlerFactory.settle, (kSig, rows)));
        assertTrue(!ok || abi.decode(answer, (uint256)) == 0, "no row fails");
        assertEq(token.balanceOf(PAYEE), ok ? 3 * CHARGED : 0);
    }

    /// A token that settles again from inside of its transfer: its own payment again, and a good one of another token.
    function test_settle_isNotFooledByATokenThatReenters() public {
        Reentrant hostile = new Reentrant();
        IReceiptSettler.Settlement memory s = unsigned(1);
        s.receipt.money.asset = address(hostile);
        signReceipt(s);
        signPermit(s);
        hostile.plan(address(settler), abi.encodeCall(IReceiptSettler.settle, (s)));
        vm.recordLogs();
        assertEq(factory.settle(kSig, list(s)), 0);
        assertEq(hostile.moved(), CHARGED);
        assertEq(bytes32(bytes4(hostile.answer())), bytes32(DevProxy.ReentrancyGuardReentrantCall.selector));
        only(vm.getRecordedLogs(), IReceiptSettler.ReceiptSettled.selector);

        s = unsigned(2);
        s.receipt.money.asset = address(hostile);
        signReceipt(s);
        signPermit(s);
        IReceiptSettler.Settlement memory other = good(3);
        hostile.plan(address(settler), abi.encodeCall(IReceiptSettler.settle, (other)));
        assertEq(factory.settle(kSig, list(s)), 0);
        // The proxy is busy; afterwards the other is as good as before.
        assertEq(token.balanceOf(PAYEE), 0);
        settled(other);
    }

    // Addresses.

    function testFuzz_settlerOf_followsFromTheFactoryAndTheKey(address key) public {
        bytes20 implementation = bytes20(uint160(uint256(keccak256(abi.encodePacked(hex"d694", address(factory), hex"01")))));
        assertEq(factory.implementation(), address(implementation));
        bytes memory runtime = abi.encodePacked(hex"363d3d373d3d3d363d73", implementation, hex"5af43d82803e903d91602b57fd5bf3", key);
        bytes32 init = keccak256(abi.encodePacked(hex"3d604180600a3d3981f3", runtime));
        bytes32 hash = keccak256(abi.encodePacked(hex"ff", address(factory), bytes32(0), init));
        address expected = address(uint160(uint256(hash)));
        assertEq(factory.settlerOf(key), expected);
        assertEq(address(factory.deploy(key)), expected);
        assertEq(keccak256(expected.code), keccak256(runtime));
        assertEq(IReceiptSettler(expected).kSig(), key);
    }

    function test_deploy_isDoneOnce() public {
        IReceiptSettler first = factory.deploy(kSig);
        bytes32 code = address(first).codehash;
        assertEq(address(factory.deploy(kSig)), address(first));
        assertEq(address(first).codehash, code);
        assertTrue(factory.settlerOf(vm.addr(STRANGER_KEY)) != address(first), "one for each key");
    }

    /// A chain without the proxy gets no factory: what would stand there could only refuse.
    function test_constructor_revertsWithoutTheProxy() public {
        vm.expectRevert();
        new SettlerFactory(IUptoProxy(address(0x9209)));
    }

    function paidBy(address wallet) private view returns (IReceiptSettler.Settlement memory s) {
        s = unsigned(9);
        s.receipt.money.payer = wallet;
        s.receipt.money.paymentId = harness.permit2Id(block.chainid, PERMIT2, wallet, 9);
        signReceipt(s);
        signPermit(s);
    }

    function only(Vm.Log[] memory logs, bytes32 topic) private pure returns (Vm.Log memory found) {
        uint256 count;
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].topics[0] != topic) continue;
            found = logs[i];
            ++count;
        }
        assertEq(count, 1);
    }
}
