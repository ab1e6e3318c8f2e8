// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Money, ReceiptWords} from "../src/Types.sol";
import {IProofs} from "../src/interfaces/IProofs.sol";
import {Logged} from "./support/Logged.sol";

/// What `prove` takes of the money in a receipt: schemes that the caller names, and ids that follow from the place in the log.
contract MoneyTest is Logged {
    function setUp() public override {
        super.setUp();
        registerGood(ENCLAVE_KEY);
        policyId = goodPolicy();
        pass(600);
    }

    function test_prove_revertsIfSchemeIsNotNamed() public {
        for (uint8 scheme = 1; scheme <= 4; ++scheme) {
            ReceiptWords memory receipt = goodReceipt();
            receipt.money.scheme = scheme;
            IProofs.ReceiptProof memory c = anchored(receipt);
            c.schemes = ~(uint8(1) << scheme);
            refused(c, err(IProofs.SchemeNotAccepted.selector, uint256(c.schemes), uint256(scheme)));
            c.schemes = uint8(1) << scheme;
            assertEq(registry.prove(c).money.scheme, scheme);
        }
    }

    /// Whatever a caller names: nothing is known of a scheme that this contract was not made for.
    function test_prove_revertsIfSchemeIsUnknown() public {
        ReceiptWords memory receipt = goodReceipt();
        for (uint256 scheme = 5; scheme < 9; ++scheme) {
            receipt.money.scheme = uint8(scheme);
            IProofs.ReceiptProof memory c = anchored(receipt);
            c.schemes = 0xff;
            refused(c, err(IProofs.SchemeNotAccepted.selector, 0xff, scheme));
        }
        receipt.money.scheme = 255;
        IProofs.ReceiptProof memory last = anchored(receipt);
        last.schemes = 0xff;
        refused(last, err(IProofs.SchemeNotAccepted.selector, 0xff, 255));
    }

    function test_prove_revertsIfPayeeIsNotTheAttestedOne() public {
        ReceiptWords memory receipt = goodReceipt();
        receipt.money.payee = address(1);
        refused(anchored(receipt), err(IProofs.WrongPaidTo.selector, PAYEE, address(1)));
        receipt.money.payee = PAYEE;
        registry.prove(anchored(receipt));
    }

    /// Paid on another chain, through a settler: what settled and where is for the caller to read, from the money that is handed
    /// on.
    function test_prove_handsOnMoneyOfAnotherChain() public {
        ReceiptWords memory receipt = goodReceipt();
        receipt.money.chainId = 10;
        receipt.money.settler = address(0x5e771e4);
        IProofs.Proven memory p = registry.prove(anchored(receipt));
        assertEq(p.money.chainId, 10);
        assertEq(p.money.settler, address(0x5e771e4));
    }

    /// A limit: a chain that splits off holds the same keys and trees, so both chains prove a paid receipt. The money says where it
    /// was paid.
    function test_prove_paidReceiptHoldsOnBothSidesOfASplit() public {
        IProofs.ReceiptProof memory c = anchored(goodReceipt());
        vm.chainId(999);
        assertEq(registry.prove(c).money.chainId, c.receipt.money.chainId);
    }

    function test_prove_unpaidReceiptIsOfOneSideOfASplit() public {
        IProofs.ReceiptProof memory c = unpaid(goodReceipt());
        registry.prove(c);
        bytes32 home = c.receipt.money.paymentId;
        vm.chainId(999);
        bytes32 other = harness.unpaidId(999, c.receipt.logId, c.receipt.sequence);
        refused(c, err(IProofs.WrongPaymentId.selector, other, home));
    }

    function test_prove_takesUnpaidWorkOnlyIfNamed() public {
        IProofs.ReceiptProof memory c = unpaid(goodReceipt());
        c.schemes = 0xfe;
        refused(c, err(IProofs.SchemeNotAccepted.selector, 0xfe, 0));
        c.schemes = 1;
        assertEq(registry.prove(c).money.paymentId, harness.unpaidId(block.chainid, c.receipt.logId, c.receipt.sequence));
    }

    /// Unpaid work has one payment id, from its place in its log.
    function test_prove_revertsIfUnpaidIdIsOfAnotherPlace() public {
        IProofs.ReceiptProof memory c = unpaidWithId(harness.unpaidId(block.chainid, recordOf(kSig).logId, BEFORE + 1));
        bytes32 expected = harness.unpaidId(block.chainid, c.receipt.logId, BEFORE);
        refused(c, err(IProofs.WrongPaymentId.selector, expected, c.receipt.money.paymentId));
    }

    function test_prove_revertsIfUnpaidIdIsThatOfUnsettled() public {
        IProofs.ReceiptProof memory c = unpaidWithId(harness.unsettledId(block.chainid, recordOf(kSig).logId, BEFORE));
        bytes32 expected = harness.unpaidId(block.chainid, c.receipt.logId, BEFORE);
        refused(c, err(IProofs.WrongPaymentId.selector, expected, c.receipt.money.paymentId));
    }

    /// Of Money's 12 words: id, scheme and payee have errors of their own.
    function test_prove_revertsIfAnyWordOfUnpaidMoneyIsNotZero() public {
        uint8[9] memory others = [2, 4, 5, 6, 7, 8, 9, 10, 11];
        for (uint256 i = 0; i < others.length; ++i) {
            ReceiptWords memory receipt = goodReceipt();
            receipt.sequence = logSize(ENCLAVE_KEY) + BEFORE;
            uint256[12] memory words = abi.decode(abi.encode(unpaidMoney(receipt)), (uint256[12]));
            words[others[i]] ^= 1;
            receipt.money = abi.decode(abi.encode(words), (Money));
            IProofs.ReceiptProof memory c = anchored(receipt);
            c.schemes = 1;
            refused(c, err(IProofs.MoneyWithoutScheme.selector));
        }
        registry.prove(unpaid(goodReceipt()));
    }

    function test_prove_revertsIfUnpaidWorkNamesAnotherPayee() public {
        ReceiptWords memory receipt = goodReceipt();
        receipt.sequence = BEFORE;
        receipt.money = unpaidMoney(receipt);
        receipt.money.payee = address(0);
        IProofs.ReceiptProof memory c = anchored(receipt);
        c.schemes = 1;
        refused(c, err(IProofs.WrongPaidTo.selector, PAYEE, address(0)));
    }

    function test_prove_takesUnchargedWorkOnlyIfAsked() public {
        for (uint8 scheme = 1; scheme <= 4; ++scheme) {
            IProofs.ReceiptProof memory c =
                uncharged(scheme, harness.unsettledId(block.chainid, recordOf(kSig).logId, nextSequence()));
            c.acceptsUncharged = false;
            refused(c, err(IProofs.NothingCharged.selector));
            c.acceptsUncharged = true;
            assertEq(registry.prove(c).money.charged, 0);
        }
    }

    /// The signed payment's own id stays free, for the answer that it pays.
    function test_prove_revertsIfUnchargedWorkNamesItsPayment() public {
        IProofs.ReceiptProof memory c = uncharged(1, keccak256("payment"));
        bytes32 expected = harness.unsettledId(block.chainid, c.receipt.logId, BEFORE);
        refused(c, err(IProofs.WrongPaymentId.selector, expected, keccak256("payment")));
    }

    function test_prove_revertsIfUnchargedWorkNamesTheUnpaidId() public {
        bytes32 id = harness.unpaidId(block.chainid, recordOf(kSig).logId, BEFORE);
        bytes32 expected = harness.unsettledId(block.chainid, recordOf(kSig).logId, BEFORE);
        refused(uncharged(1, id), err(IProofs.WrongPaymentId.selector, expected, id));
    }

    // Claims.

    /// Of the receipt that `logged` logs next.
    function nextSequence() private view returns (uint64) {
        return logSize(ENCLAVE_KEY) + BEFORE;
    }

    function unpaid(ReceiptWords memory receipt) private returns (IProofs.ReceiptProof memory c) {
        receipt.sequence = nextSequence();
        receipt.money = unpaidMoney(receipt);
        c = anchored(receipt);
        c.schemes = 1;
    }

    function unpaidWithId(bytes32 paymentId) private returns (IProofs.ReceiptProof memory c) {
        ReceiptWords memory receipt = goodReceipt();
        receipt.sequence = nextSequence();
        receipt.money = unpaidMoney(receipt);
        receipt.money.paymentId = paymentId;
        c = anchored(receipt);
        c.schemes = 1;
    }

    /// The money of work that nobody paid for: id, payee and chain, and nothing else.
    function unpaidMoney(ReceiptWords memory receipt) private view returns (Money memory money) {
        money.paymentId = harness.unpaidId(block.chainid, receipt.logId, receipt.sequence);
        money.payee = PAYEE;
        money.chainId = block.chainid;
    }

    function uncharged(uint8 scheme, bytes32 paymentId) private returns (IProofs.ReceiptProof memory c) {
        ReceiptWords memory receipt = goodReceipt();
        receipt.money.scheme = scheme;
        receipt.money.charged = 0;
        receipt.money.paymentId = paymentId;
        c = anchored(receipt);
        c.schemes = uint8(1) << scheme;
        c.acceptsUncharged = true;
    }
}
