// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Half, LogId} from "../../src/Types.sol";
import {TestUSD} from "../../src/dev/TestUSD.sol";
import {IReceiptSettler} from "../../src/interfaces/IReceiptSettler.sol";
import {ISettlerFactory} from "../../src/interfaces/ISettlerFactory.sol";
import {IUptoProxy} from "../../src/interfaces/IUptoProxy.sol";
import {SettlerFactory} from "../../src/money/SettlerFactory.sol";
import {MoneyHarness} from "./MoneyHarness.sol";
import {X402} from "./X402.sol";

/// A payer with money, an enclave key with a settler, and settlements whose parts a test changes and signs again.
abstract contract Settling is X402 {
    uint256 internal constant ENCLAVE_KEY = 0xe0c1a7e;
    uint256 internal constant OTHER_ENCLAVE_KEY = 0x07e4e0c1;
    uint256 internal constant PAYER_KEY = 0x9a7e4;
    uint256 internal constant STRANGER_KEY = 0x57a46e4;
    uint64 internal constant START = 1_800_000_000;
    address internal constant PAYEE = address(0x9a1ee);
    uint256 internal constant MAXIMUM = 100_000;
    uint256 internal constant CHARGED = 2_345;
    uint256 internal constant FUNDS = 1e12;

    bytes32 private constant PERMIT_TYPEHASH = keccak256(
        "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,Witness witness)TokenPermissions(address token,uint256 amount)Witness(address to,address facilitator,uint256 validAfter)"
    );

    MoneyHarness internal harness;
    SettlerFactory internal factory;
    TestUSD internal token;
    address internal kSig;
    address internal payer;
    IReceiptSettler internal settler;

    function setUp() public virtual {
        vm.warp(START);
        placeX402();
        harness = new MoneyHarness();
        factory = new SettlerFactory{salt: 0}(IUptoProxy(UPTO));
        token = new TestUSD();
        kSig = vm.addr(ENCLAVE_KEY);
        payer = vm.addr(PAYER_KEY);
        settler = IReceiptSettler(factory.settlerOf(kSig));
        fund(payer);
    }

    /// Gives somebody money, and lets Permit2 move it.
    function fund(address account) internal {
        token.mint(account, FUNDS);
        vm.prank(account);
        token.approve(PERMIT2, type(uint256).max);
    }

    /// A whole, good settlement of this nonce.
    function good(uint256 nonce) internal view returns (IReceiptSettler.Settlement memory s) {
        s = unsigned(nonce);
        signReceipt(s);
        signPermit(s);
    }

    function unsigned(uint256 nonce) internal view returns (IReceiptSettler.Settlement memory s) {
        Half memory r = s.receipt;
        r.version = 2;
        r.manifestHash = keccak256("manifest");
        r.logId = LogId.wrap(keccak256("log"));
        r.sequence = 41;
        r.money.scheme = 3;
        r.money.payer = payer;
        r.money.payee = PAYEE;
        r.money.asset = address(token);
        r.money.chainId = block.chainid;
        r.money.settler = factory.settlerOf(kSig);
        r.money.maxAmount = MAXIMUM;
        r.money.charged = CHARGED;
        r.money.offerDigest = keccak256("offer");
        r.money.paymentId = harness.permit2Id(block.chainid, PERMIT2, payer, nonce);
        r.workHash = keccak256("work");
        s.nonce = nonce;
        s.deadline = block.timestamp + 300;
        s.validAfter = block.timestamp - 60;
    }

    function signReceipt(IReceiptSettler.Settlement memory s) internal view {
        s.receiptSignature = sign(ENCLAVE_KEY, harness.half(s.receipt));
    }

    function signPermit(IReceiptSettler.Settlement memory s) internal view {
        s.permitSignature = sign(PAYER_KEY, permitDigest(s));
    }

    /// What a payer signs for the words of this settlement: Permit2's digest, with x402's witness.
    function permitDigest(IReceiptSettler.Settlement memory s) internal view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,uint256 chainId,address verifyingContract)"),
                keccak256("Permit2"),
                block.chainid,
                PERMIT2
            )
        );
        bytes32 permitted = keccak256(
            abi.encode(
                keccak256("TokenPermissions(address token,uint256 amount)"), s.receipt.money.asset, s.receipt.money.maxAmount
            )
        );
        bytes32 witness = keccak256(
            abi.encode(
                keccak256("Witness(address to,address facilitator,uint256 validAfter)"),
                s.receipt.money.payee,
                s.receipt.money.settler,
                s.validAfter
            )
        );
        return keccak256(
            abi.encodePacked(
                hex"1901", domain, keccak256(abi.encode(PERMIT_TYPEHASH, permitted, UPTO, s.nonce, s.deadline, witness))
            )
        );
    }

    function list(IReceiptSettler.Settlement memory s) internal pure returns (IReceiptSettler.Settlement[] memory rows) {
        rows = new IReceiptSettler.Settlement[](1);
        rows[0] = s;
    }

    /// The settler refuses it with exactly this reason, and nothing moves; through the factory too, which names row and reason.
    function refused(IReceiptSettler.Settlement memory s, bytes memory reason) internal {
        factory.deploy(kSig);
        uint256 before = token.balanceOf(PAYEE);
        vm.expectRevert(reason);
        settler.settle(s);
        vm.expectEmit(true, true, true, true, address(factory));
        emit ISettlerFactory.NotSettled(kSig, s.receipt.money.paymentId, 0, reason);
        assertEq(factory.settle(kSig, list(s)), 1);
        assertEq(token.balanceOf(PAYEE), before);
    }

    /// It is good, and pays what it charges.
    function settled(IReceiptSettler.Settlement memory s) internal {
        factory.deploy(kSig);
        uint256 before = token.balanceOf(PAYEE);
        vm.expectEmit(true, true, true, true, address(settler));
        emit IReceiptSettler.ReceiptSettled(harness.half(s.receipt), s.receipt.money.paymentId, s.receipt.money.charged);
        settler.settle(s);
        assertEq(token.balanceOf(PAYEE), before + s.receipt.money.charged);
    }

    function err(bytes4 selector) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(selector);
    }

    function err(bytes4 selector, bytes32 expected, bytes32 got) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(selector, expected, got);
    }

    function err(bytes4 selector, uint256 expected, uint256 got) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(selector, expected, got);
    }

    function err(bytes4 selector, address expected, address got) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(selector, expected, got);
    }
}
