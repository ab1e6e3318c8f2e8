// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IReceiptSettler} from "../src/interfaces/IReceiptSettler.sol";
import {Settling} from "./support/Settling.sol";

/// What a whole settlement costs, calldata included, as Gas.t.sol measures: run with --isolate. Payee and proxy were used before; each
/// permit opens a new word of Permit2's nonces, as random nonces do.
contract SettleGasTest is Settling {
    event Gas(string what, uint256 gas);

    function setUp() public override {
        super.setUp();
        token.mint(PAYEE, 1);
        kSig = vm.addr(OTHER_ENCLAVE_KEY);
        IReceiptSettler.Settlement memory before = unsigned(fresh("before"));
        before.receiptSignature = sign(OTHER_ENCLAVE_KEY, harness.half(before.receipt));
        signPermit(before);
        factory.settle(kSig, list(before));
        kSig = vm.addr(ENCLAVE_KEY);
        assertEq(token.balanceOf(PAYEE), CHARGED + 1);
    }

    function test_gas_settle() public {
        factory.deploy(kSig);
        IReceiptSettler.Settlement memory s = good(fresh("one"));
        settler.settle(s);
        measured("settle-upto", 1, 108_500);
    }

    function test_gas_settleFirst() public {
        IReceiptSettler.Settlement[] memory rows = list(good(fresh("first")));
        factory.settle(kSig, rows);
        measured("settle-upto-first", 1, 161_000);
    }

    function test_gas_settleAHundred() public {
        factory.deploy(kSig);
        IReceiptSettler.Settlement[] memory rows = new IReceiptSettler.Settlement[](100);
        for (uint256 i = 0; i < 100; ++i) {
            rows[i] = unsigned(fresh(vm.toString(i)));
            rows[i].receipt.sequence = uint64(i);
            rows[i].receipt.money.charged = CHARGED + i;
            signReceipt(rows[i]);
            signPermit(rows[i]);
        }
        uint256 failed = factory.settle(kSig, rows);
        measured("settle-upto-x100", 100, 62_000);
        assertEq(failed, 0);
    }

    function fresh(string memory name) private pure returns (uint256) {
        return uint256(keccak256(bytes(name)));
    }

    /// Per receipt.
    function measured(string memory what, uint256 receipts, uint256 ceiling) private {
        uint256 gas = vm.lastCallGas().gasTotalUsed / receipts;
        emit Gas(what, gas);
        if (gas > ceiling) revert DiffersIn(what, bytes32(ceiling), bytes32(gas));
    }
}
