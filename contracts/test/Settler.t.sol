// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Half} from "../src/Types.sol";
import {DevProxy} from "../src/dev/DevProxy.sol";
import {DevUptoProxy} from "../src/dev/DevUptoProxy.sol";
import {ISignatureTransfer} from "../src/dev/ISignatureTransfer.sol";
import {IReceiptSettler} from "../src/interfaces/IReceiptSettler.sol";
import {IUptoProxy} from "../src/interfaces/IUptoProxy.sol";
import {Clone} from "../src/lib/Clone.sol";
import {Signatures} from "../src/lib/Signatures.sol";
import {Settling} from "./support/Settling.sol";

/// A payer that is a contract: says yes to what one key signed.
contract Wallet {
    address private immutable owner;

    constructor(address owner_) {
        owner = owner_;
    }

    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        return Signatures.isSignedBy(owner, digest, signature) ? bytes4(0x1626ba7e) : bytes4(0xffffffff);
    }
}

/// One receipt and one permit: what is charged, and what is refused, each by its own reason.
contract SettlerTest is Settling {
    uint256 private constant ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;

    function test_settle_chargesWhatTheReceiptSays() public {
        settled(good(1));
        assertEq(token.balanceOf(PAYEE), CHARGED);
        assertEq(token.balanceOf(payer), FUNDS - CHARGED);
    }

    /// Whoever submits: a submitter can delay, never alter.
    function test_settle_mayBeSentByAnybody() public {
        factory.deploy(kSig);
        IReceiptSettler.Settlement memory s = good(1);
        vm.prank(vm.addr(STRANGER_KEY));
        settler.settle(s);
        assertEq(token.balanceOf(PAYEE), CHARGED);
    }

    function test_settle_chargesAtMostTheMaximum() public {
        IReceiptSettler.Settlement memory s = unsigned(1);
        s.receipt.money.charged = MAXIMUM + 1;
        signReceipt(s);
        signPermit(s);
        refused(s, err(IReceiptSettler.ChargedAboveMaximum.selector, MAXIMUM, MAXIMUM + 1));
        s.receipt.money.charged = MAXIMUM;
        signReceipt(s);
        settled(s);
    }

    function test_settle_revertsIfNothingIsCharged() public {
        IReceiptSettler.Settlement memory s = good(1);
        s.receipt.money.charged = 0;
        signReceipt(s);
        refused(s, err(IReceiptSettler.NothingCharged.selector));
        s.receipt.money.charged = 1;
        signReceipt(s);
        settled(s);
    }

    /// The id of an answer that was not charged is no payment's.
    function test_settle_revertsIfTheReceiptNamesThePlaceInTheLog() public {
        IReceiptSettler.Settlement memory s = good(1);
        bytes32 expected = s.receipt.money.paymentId;
        s.receipt.money.paymentId = harness.unsettledId(block.chainid, s.receipt.logId, s.receipt.sequence);
        signReceipt(s);
        refused(s, err(IReceiptSettler.WrongPaymentId.selector, expected, s.receipt.money.paymentId));
    }

    function test_settle_revertsIfAlreadySettled() public {
        IReceiptSettler.Settlement memory s = good(1);
        settled(s);
        refused(s, err(ISignatureTransfer.InvalidNonce.selector));
    }

    /// Two answers of one permit (the first was never settled): of the two at most one is charged.
    function test_settle_revertsIfAnotherReceiptUsedThePermit() public {
        IReceiptSettler.Settlement memory s = good(1);
        s.receipt.sequence = 40;
        s.receipt.money.charged = 7;
        signReceipt(s);
        settled(s);
        refused(good(1), err(ISignatureTransfer.InvalidNonce.selector));
    }

    // The receipt's own words.

    function test_settle_revertsIfVersionIsOther() public {
        IReceiptSettler.Settlement memory s = good(1);
        s.receipt.version = 1;
        signReceipt(s);
        refused(s, err(IReceiptSettler.UnsupportedVersion.selector, 2, 1));
        s.receipt.version = 3;
        signReceipt(s);
        refused(s, err(IReceiptSettler.UnsupportedVersion.selector, 2, 3));
    }

    function test_settle_revertsIfSchemeIsNotUpto() public {
        uint8[5] memory others = [0, 1, 2, 4, 255];
        for (uint256 i = 0; i < others.length; ++i) {
            IReceiptSettler.Settlement memory s = good(1);
            s.receipt.money.scheme = others[i];
            signReceipt(s);
            refused(s, err(IReceiptSettler.WrongScheme.selector, 3, uint256(others[i])));
        }
        settled(good(1));
    }

    function test_settle_revertsIfChainIsAnother() public {
        IReceiptSettler.Settlement memory s = good(1);
        uint256 here = block.chainid;
        s.receipt.money.chainId = here + 1;
        signReceipt(s);
        refused(s, err(IReceiptSettler.WrongChain.selector, here, here + 1));
    }

    /// The same contracts stand at the same addresses on every chain; a receipt is for one.
    function test_settle_isRefusedOnAnotherChain() public {
        IReceiptSettler.Settlement memory s = good(1);
        // Not `block.chainid`: the compiler reads it where it is used.
        uint256 here = s.receipt.money.chainId;
        vm.chainId(here + 1);
        refused(s, err(IReceiptSettler.WrongChain.selector, here + 1, here));
    }

    function test_settle_revertsIfReceiptIsForAnotherSettler() public {
        IReceiptSettler.Settlement memory s = good(1);
        s.receipt.money.settler = address(0x5e771e4);
        signReceipt(s);
        refused(s, err(IReceiptSettler.WrongSettler.selector, address(settler), address(0x5e771e4)));
    }

    /// Each word of the receipt is signed or has a value of its own: none can be another.
    function test_settle_revertsIfAnyWordOfTheReceiptIsOther() public {
        factory.deploy(kSig);
        for (uint256 i = 0; i < 17; ++i) {
            IReceiptSettler.Settlement memory s = good(1);
            uint256[17] memory words = abi.decode(abi.encode(s.receipt), (uint256[17]));
            words[i] ^= 1;
            s.receipt = abi.decode(abi.encode(words), (Half));
            try settler.settle(s) {
                revert DiffersIn("a word that nothing binds", 0, bytes32(i));
            } catch {}
        }
        settled(good(1));
    }

    // What the payer signed: no word of the enclave's can change it.

    function test_settle_revertsIfPayeeIsNotThePayers() public {
        IReceiptSettler.Settlement memory s = good(1);
        s.receipt.money.payee = vm.addr(STRANGER_KEY);
        signReceipt(s);
        refused(s, err(ISignatureTransfer.InvalidSigner.selector));
    }

    function test_settle_revertsIfAssetIsNotThePayers() public {
        IReceiptSettler.Settlement memory s = good(1);
        s.receipt.money.asset = address(0xa55e7);
        signReceipt(s);
        refused(s, err(ISignatureTransfer.InvalidSigner.selector));
    }

    function test_settle_revertsIfMaximumIsNotThePayers() public {
        IReceiptSettler.Settlement memory s = good(1);
        s.receipt.money.maxAmount = MAXIMUM + 1;
        signReceipt(s);
        refused(s, err(ISignatureTransfer.InvalidSigner.selector));
    }

    function test_settle_revertsIfPayerIsNotWhoSigned() public {
        IReceiptSettler.Settlement memory s = good(1);
        s.receipt.money.payer = vm.addr(STRANGER_KEY);
        fund(vm.addr(STRANGER_KEY));
        s.receipt.money.paymentId = harness.permit2Id(block.chainid, PERMIT2, vm.addr(STRANGER_KEY), 1);
        signReceipt(s);
        refused(s, err(ISignatureTransfer.InvalidSigner.selector));
    }

    function test_settle_revertsIfNonceIsNotThePayers() public {
        IReceiptSettler.Settlement memory s = good(1);
        s.nonce = 2;
        bytes32 expected = harness.permit2Id(block.chainid, PERMIT2, payer, 2);
        refused(s, err(IReceiptSettler.WrongPaymentId.selector, expected, s.receipt.money.paymentId));
        s.receipt.money.paymentId = expected;
        signReceipt(s);
        refused(s, err(ISignatureTransfer.InvalidSigner.selector));
    }

    function test_settle_revertsIfTimesAreNotThePayers() public {
        IReceiptSettler.Settlement memory s = good(1);
        s.deadline += 1;
        refused(s, err(ISignatureTransfer.InvalidSigner.selector));
        s = good(1);
        s.validAfter -= 1;
        refused(s, err(ISignatureTransfer.InvalidSigner.selector));
    }

    function test_settle_worksUntilTheDeadline() public {
        IReceiptSettler.Settlement memory s = good(1);
        vm.warp(s.deadline + 1);
        refused(s, abi.encodeWithSelector(ISignatureTransfer.SignatureExpired.selector, s.deadline));
        vm.warp(s.deadline);
        settled(s);
    }

    function test_settle_worksFromValidAfterOn() public {
        IReceiptSettler.Settlement memory s = good(1);
        vm.warp(s.validAfter - 1);
        refused(s, err(DevProxy.PaymentTooEarly.selector));
        vm.warp(s.validAfter);
        settled(s);
    }

    // Whose receipt, whose permit.

    /// Another enclave, genuine or rogue, signs a receipt for this settler.
    function test_settle_revertsIfReceiptIsAnotherEnclaves() public {
        IReceiptSettler.Settlement memory s = good(1);
        s.receiptSignature = sign(OTHER_ENCLAVE_KEY, harness.half(s.receipt));
        refused(s, err(IReceiptSettler.NotSignedByTheKey.selector, kSig, vm.addr(OTHER_ENCLAVE_KEY)));
    }

    /// Another enclave has a settler too. The permit names ours.
    function test_settle_byAnotherEnclavesSettlerIsRefused() public {
        IReceiptSettler other = factory.deploy(vm.addr(OTHER_ENCLAVE_KEY));
        IReceiptSettler.Settlement memory s = good(1);
        s.receipt.money.settler = address(other);
        s.receiptSignature = sign(OTHER_ENCLAVE_KEY, harness.half(s.receipt));
        vm.expectRevert(ISignatureTransfer.InvalidSigner.selector);
        other.settle(s);
        refused(s, err(IReceiptSettler.WrongSettler.selector, address(settler), address(other)));
    }

    /// Nobody but the settler may use the permit, whatever amount.
    function test_proxy_refusesAForeignCaller() public {
        IReceiptSettler.Settlement memory s = good(1);
        IUptoProxy.Permit memory permit =
            IUptoProxy.Permit(IUptoProxy.TokenPermissions(address(token), MAXIMUM), s.nonce, s.deadline);
        IUptoProxy.Witness memory witness = IUptoProxy.Witness(PAYEE, address(settler), s.validAfter);
        vm.expectRevert(DevUptoProxy.UnauthorizedFacilitator.selector);
        IUptoProxy(UPTO).settle(permit, MAXIMUM, payer, witness, s.permitSignature);
        witness.facilitator = address(this);
        vm.expectRevert(ISignatureTransfer.InvalidSigner.selector);
        IUptoProxy(UPTO).settle(permit, MAXIMUM, payer, witness, s.permitSignature);
    }

    // Signatures.

    function test_settle_revertsIfReceiptSignatureIsTheHighTwin() public {
        IReceiptSettler.Settlement memory s = good(1);
        (uint8 v, bytes32 r, bytes32 low) = vm.sign(ENCLAVE_KEY, harness.half(s.receipt));
        uint256 high = ORDER - uint256(low);
        s.receiptSignature = abi.encodePacked(r, high, uint8(55 - v));
        refused(s, err(Signatures.SignatureHighS.selector, ORDER / 2, high));
    }

    function test_settle_revertsIfReceiptSignatureIsMalformed() public {
        IReceiptSettler.Settlement memory s = good(1);
        (uint8 v, bytes32 r, bytes32 low) = vm.sign(ENCLAVE_KEY, harness.half(s.receipt));
        s.receiptSignature = abi.encodePacked(r, low);
        refused(s, err(Signatures.SignatureLength.selector, 65, 64));
        s.receiptSignature = abi.encodePacked(r, low, v, v);
        refused(s, err(Signatures.SignatureLength.selector, 65, 66));
        s.receiptSignature = "";
        refused(s, err(Signatures.SignatureLength.selector, 65, 0));
        s.receiptSignature = abi.encodePacked(r, low, v - 27);
        refused(s, abi.encodeWithSelector(Signatures.SignatureV.selector, v - 27));
        s.receiptSignature = abi.encodePacked(bytes32(0), low, v);
        refused(s, err(Signatures.SignatureInvalid.selector));
    }

    /// Permit2 takes the 64-byte form too, and the high twin: the signature is never the payment's identity, the nonce is.
    function test_settle_takesAnyFormOfThePayersSignatureOnce() public {
        IReceiptSettler.Settlement memory s = good(1);
        (uint8 v, bytes32 r, bytes32 low) = vm.sign(PAYER_KEY, permitDigest(s));
        s.permitSignature = abi.encodePacked(r, bytes32(uint256(low) | (uint256(v - 27) << 255)));
        settled(s);
        s.permitSignature = abi.encodePacked(r, ORDER - uint256(low), uint8(55 - v));
        refused(s, err(ISignatureTransfer.InvalidNonce.selector));
        signPermit(s);
        refused(s, err(ISignatureTransfer.InvalidNonce.selector));
    }

    function test_settle_takesAPayerThatIsAContract() public {
        Wallet wallet = new Wallet(payer);
        fund(address(wallet));
        IReceiptSettler.Settlement memory s = unsigned(1);
        s.receipt.money.payer = address(wallet);
        s.receipt.money.paymentId = harness.permit2Id(block.chainid, PERMIT2, address(wallet), 1);
        signReceipt(s);
        s.permitSignature = sign(STRANGER_KEY, permitDigest(s));
        refused(s, err(ISignatureTransfer.InvalidContractSignature.selector));
        signPermit(s);
        settled(s);
    }

    /// A byte of the call flipped: refused, or the very same charge (padding, which nothing signs).
    function testFuzz_settle_withAFlippedByteChargesNothingElse(uint256 place, uint8 flip) public {
        vm.assume(flip != 0);
        factory.deploy(kSig);
        bytes memory call = abi.encodeCall(IReceiptSettler.settle, (good(1)));
        place = bound(place, 4, call.length - 1);
        call[place] ^= bytes1(flip);
        (bool ok,) = address(settler).call(call);
        assertEq(token.balanceOf(PAYEE), ok ? CHARGED : 0);
        assertEq(token.balanceOf(payer), ok ? FUNDS - CHARGED : FUNDS);
    }

    // EIP-2612.

    function test_settleWithPermit_needsNoAllowance() public {
        factory.deploy(kSig);
        withoutAllowance();
        IReceiptSettler.Settlement memory s = good(1);
        vm.expectRevert("TRANSFER_FROM_FAILED");
        settler.settle(s);
        settler.settleWithPermit(tokenPermit(MAXIMUM), s);
        assertEq(token.balanceOf(PAYEE), CHARGED);
    }

    function test_settleWithPermit_worksAtTheFirstUse() public {
        withoutAllowance();
        vm.expectEmit(true, true, true, true, address(settler));
        IReceiptSettler.Settlement memory s = good(1);
        emit IReceiptSettler.ReceiptSettled(harness.half(s.receipt), s.receipt.money.paymentId, CHARGED);
        factory.settleWithPermit(kSig, tokenPermit(MAXIMUM), s);
        assertEq(token.balanceOf(PAYEE), CHARGED);
    }

    function test_settleWithPermit_revertsIfValueIsNotTheMaximum() public {
        IUptoProxy.TokenPermit memory p = tokenPermit(MAXIMUM - 1);
        IReceiptSettler.Settlement memory s = good(1);
        vm.expectRevert(DevProxy.Permit2612AmountMismatch.selector);
        factory.settleWithPermit(kSig, p, s);
    }

    /// Somebody else sent the token's permit first: the allowance is there.
    function test_settleWithPermit_worksIfThePermitWasUsed() public {
        withoutAllowance();
        IUptoProxy.TokenPermit memory p = tokenPermit(MAXIMUM);
        token.permit(payer, PERMIT2, p.value, p.deadline, p.v, p.r, p.s);
        factory.settleWithPermit(kSig, p, good(1));
        assertEq(token.balanceOf(PAYEE), CHARGED);
    }

    function test_settleWithPermit_checksTheReceiptToo() public {
        IReceiptSettler.Settlement memory s = good(1);
        s.receiptSignature = sign(OTHER_ENCLAVE_KEY, harness.half(s.receipt));
        IUptoProxy.TokenPermit memory p = tokenPermit(MAXIMUM);
        vm.expectRevert(err(IReceiptSettler.NotSignedByTheKey.selector, kSig, vm.addr(OTHER_ENCLAVE_KEY)));
        factory.settleWithPermit(kSig, p, s);
    }

    // What it is.

    function test_settler_saysItsKeyAndContracts() public {
        factory.deploy(kSig);
        assertEq(settler.kSig(), kSig);
        assertEq(address(settler.proxy()), UPTO);
        assertEq(settler.permit2(), PERMIT2);
    }

    function test_settler_theImplementationSettlesNothing() public {
        IReceiptSettler implementation = IReceiptSettler(factory.implementation());
        uint256 size = address(implementation).code.length;
        vm.expectRevert(err(Clone.NotAClone.selector, 65, size));
        implementation.kSig();
        IReceiptSettler.Settlement memory s = unsigned(1);
        s.receipt.money.settler = address(implementation);
        signReceipt(s);
        signPermit(s);
        vm.expectRevert(err(Clone.NotAClone.selector, 65, size));
        implementation.settle(s);
    }

    function test_settler_takesNoEther() public {
        address made = address(factory.deploy(kSig));
        vm.deal(address(this), 1 ether);
        (bool ok,) = made.call{value: 1}("");
        assertTrue(!ok, "refused");
    }

    /// Selectors as in x402's own documents.
    function test_proxy_isCalledByItsSelectors() public pure {
        assertEq(bytes32(IUptoProxy.settle.selector), bytes32(bytes4(0xff11e7b4)));
        assertEq(bytes32(IUptoProxy.settleWithPermit.selector), bytes32(bytes4(0x016c1748)));
        assertEq(bytes32(IUptoProxy.PERMIT2.selector), bytes32(bytes4(0x6afdd850)));
    }

    function withoutAllowance() private {
        vm.prank(payer);
        token.approve(PERMIT2, 0);
    }

    /// The payer's EIP-2612 permit of this value for Permit2.
    function tokenPermit(uint256 value) private view returns (IUptoProxy.TokenPermit memory p) {
        p.value = value;
        p.deadline = block.timestamp + 300;
        bytes32 hash = keccak256(abi.encode(token.PERMIT_TYPEHASH(), payer, PERMIT2, value, token.nonces(payer), p.deadline));
        (p.v, p.r, p.s) = vm.sign(PAYER_KEY, keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), hash)));
    }
}
