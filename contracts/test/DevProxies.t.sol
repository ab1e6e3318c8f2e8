// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {DevExactProxy} from "../src/dev/DevExactProxy.sol";
import {DevPermit2} from "../src/dev/DevPermit2.sol";
import {DevProxy} from "../src/dev/DevProxy.sol";
import {DevUptoProxy} from "../src/dev/DevUptoProxy.sol";
import {ISignatureTransfer} from "../src/dev/ISignatureTransfer.sol";
import {TestUSD} from "../src/dev/TestUSD.sol";
import {IUptoProxy} from "../src/interfaces/IUptoProxy.sol";
import {Permits} from "./support/Permits.sol";
import {Vm} from "./support/Vm.sol";

/// A token whose permit fails in one of three ways, and whose transfers settle once more from inside.
contract Unwilling {
    uint256 private how;
    address private target;
    bytes private planned;
    bytes public answer;

    error OfItsOwn(uint256 value);

    function fail(uint256 how_) external {
        how = how_;
    }

    function plan(address target_, bytes calldata planned_) external {
        (target, planned) = (target_, planned_);
    }

    function permit(address, address, uint256 value, uint256, uint8, bytes32, bytes32) external view {
        require(how != 1, "no permits");
        assert(how != 2);
        if (how == 3) revert OfItsOwn(value);
    }

    function transferFrom(address, address, uint256) external returns (bool) {
        (, answer) = target.call(planned);
        return true;
    }
}

/// x402's two proxies, in front of the real Permit2.
contract DevProxiesTest is Permits {
    uint256 internal constant PAYER_KEY = 0x9a7e4;
    uint256 private constant NOW = 1_800_000_000;
    uint256 private constant MAXIMUM = 1000;
    uint256 private constant FUNDS = 1_000_000;
    address private constant TO = address(0x9a1ee);
    address private constant THEIR_PAYER = 0x70997970C51812dc3A010C7d01b50e0d17dc79C8;
    address private constant THEIR_PAYEE = 0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC;
    address private constant THEIR_FACILITATOR = 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266;
    bytes32 private constant EXACT_TYPEHASH = keccak256("Witness(address to,uint256 validAfter)");
    bytes32 private constant UPTO_TYPEHASH = keccak256("Witness(address to,address facilitator,uint256 validAfter)");

    DevExactProxy private exact = DevExactProxy(EXACT);
    DevUptoProxy private upto = DevUptoProxy(UPTO);
    TestUSD private usd;
    address private payer;

    function setUp() public virtual {
        vm.warp(NOW);
        placeX402();
        usd = new TestUSD();
        payer = vm.addr(PAYER_KEY);
        usd.mint(payer, FUNDS);
        vm.prank(payer);
        usd.approve(PERMIT2, type(uint256).max);
    }

    function test_gettersAndSelectors_areX402s() public view {
        assertEq(exact.PERMIT2(), PERMIT2);
        assertEq(upto.PERMIT2(), PERMIT2);
        assertEq(exact.WITNESS_TYPEHASH(), 0xd97b3239a7f32295517bd14cb074edfdd188dfe5eb42f802bb26d4fd1eb12c37);
        assertEq(upto.WITNESS_TYPEHASH(), 0xd4171c445a74218b01d4fd8af34ff1106580ea1e36ff837e64484bfaa2253b75);
        assertEq(keccak256(bytes(exact.WITNESS_TYPE_STRING())), keccak256(bytes(EXACT_WITNESS)));
        assertEq(keccak256(bytes(upto.WITNESS_TYPE_STRING())), keccak256(bytes(UPTO_WITNESS)));
        bytes32 exactPermit = keccak256(
            "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,Witness witness)TokenPermissions(address token,uint256 amount)Witness(address to,uint256 validAfter)"
        );
        assertEq(exactPermit, 0xebc156cd23678a74c94df13d772ef5478420637f0c94bd10d509e1dc98f521c7);
        bytes4[7] memory selectors = [
            exact.settle.selector,
            exact.settleWithPermit.selector,
            upto.settle.selector,
            upto.settleWithPermit.selector,
            upto.PERMIT2.selector,
            upto.WITNESS_TYPEHASH.selector,
            upto.WITNESS_TYPE_STRING.selector
        ];
        bytes4[7] memory expected = [bytes4(0x13cd3b53), 0xfa340378, 0xff11e7b4, 0x016c1748, 0x6afdd850, 0x2c03ae6a, 0x156e2152];
        for (uint256 i = 0; i < 7; ++i) {
            assertEq(bytes32(selectors[i]), bytes32(expected[i]));
        }
    }

    // What others signed: the key is a development key that everybody knows, the digests were checked against other implementations.

    function test_exact_settlesWhatAnotherImplementationSigned() public {
        TestUSD there = onBaseSepolia();
        IUptoProxy.Permit memory permit = IUptoProxy.Permit(IUptoProxy.TokenPermissions(address(there), 1000), 7, 2_000_000_000);
        DevExactProxy.ExactWitness memory witness = DevExactProxy.ExactWitness(THEIR_PAYEE, 0);
        bytes32 digest = digestOf(permit, EXACT, keccak256(abi.encode(EXACT_TYPEHASH, witness)), EXACT_WITNESS);
        assertEq(digest, 0xf2792f847adc59d344469ba1e39ccda24dd3366505cc5931a20bf413ebb0cf34);
        exact.settle(
            permit,
            THEIR_PAYER,
            witness,
            hex"b99dca3d6e9db55fdcab6e367086a76a2bdb26d380f57ed0c50c608697641ada7bb3f8223578ad426a21c549cd74361c518273288fd95b08076177661eebdc331c"
        );
        assertEq(there.balanceOf(THEIR_PAYEE), 1000);
        assertEq(ISignatureTransfer(PERMIT2).nonceBitmap(THEIR_PAYER, 0), 1 << 7);
    }

    function test_upto_settlesWhatAnotherImplementationSigned() public {
        TestUSD there = onBaseSepolia();
        IUptoProxy.Permit memory permit = IUptoProxy.Permit(IUptoProxy.TokenPermissions(address(there), 100_000), 8, 2_000_000_000);
        IUptoProxy.Witness memory witness = IUptoProxy.Witness(THEIR_PAYEE, THEIR_FACILITATOR, 0);
        bytes32 digest = digestOf(permit, UPTO, keccak256(abi.encode(UPTO_TYPEHASH, witness)), UPTO_WITNESS);
        assertEq(digest, 0x2b62580c3074b96ddc05a730f5b70f18f93e9e71dc4d1b1762694c6ca1182717);
        vm.prank(THEIR_FACILITATOR);
        upto.settle(
            permit,
            2345,
            THEIR_PAYER,
            witness,
            hex"71b0df78ced06fc5d8e1c9d3e33ee8f4e702495f80f559ad778dfd6d2162597228745115a4f8bf5e370badb7de75235d957bfe7a25771d70d52ea61e010131591c"
        );
        assertEq(there.balanceOf(THEIR_PAYEE), 2345);
        assertEq(there.balanceOf(THEIR_PAYER), FUNDS - 2345);
    }

    // Exact.

    function test_exact_movesAllThatIsPermittedWhoeverSends() public {
        vm.expectEmit(true, true, true, true, EXACT);
        emit DevProxy.Settled();
        vm.prank(address(0x57a46e4));
        settleExact(1, MAXIMUM, payer, TO, NOW);
        assertEq(usd.balanceOf(TO), MAXIMUM);
    }

    /// Each has its error, and of two the earlier: amount, owner, payee, time, and then Permit2's.
    function test_exact_checksInThisOrder() public {
        expect(DevProxy.InvalidAmount.selector);
        settleExact(1, 0, address(0), address(0), NOW + 1);
        expect(DevProxy.InvalidOwner.selector);
        settleExact(1, MAXIMUM, address(0), address(0), NOW + 1);
        expect(DevProxy.InvalidDestination.selector);
        settleExact(1, MAXIMUM, payer, address(0), NOW + 1);
        vm.warp(NOW + 1000);
        expect(DevProxy.PaymentTooEarly.selector);
        settleExact(1, MAXIMUM, payer, TO, NOW + 1001);
        vm.expectRevert(abi.encodeWithSelector(ISignatureTransfer.SignatureExpired.selector, NOW + 300));
        settleExact(1, MAXIMUM, payer, TO, NOW + 1000);
        vm.warp(NOW);
        settleExact(1, MAXIMUM, payer, TO, NOW);
        vm.expectRevert(ISignatureTransfer.InvalidNonce.selector);
        settleExact(1, MAXIMUM, payer, TO, NOW);
        vm.expectRevert(ISignatureTransfer.InvalidSigner.selector);
        settleExact(2, MAXIMUM, address(0x57a46e4), TO, NOW);
    }

    /// The witness is signed: another payee or time is another signature.
    function test_exact_revertsIfTheWitnessIsNotThePayers() public {
        (IUptoProxy.Permit memory permit, DevExactProxy.ExactWitness memory witness, bytes memory signature) =
            exactly(1, MAXIMUM, TO, NOW);
        witness.to = address(0xbad);
        vm.expectRevert(ISignatureTransfer.InvalidSigner.selector);
        exact.settle(permit, payer, witness, signature);
        (witness.to, witness.validAfter) = (TO, NOW - 1);
        vm.expectRevert(ISignatureTransfer.InvalidSigner.selector);
        exact.settle(permit, payer, witness, signature);
        // Nor is a permit for one proxy one for the other.
        vm.expectRevert(ISignatureTransfer.InvalidSigner.selector);
        upto.settle(permit, MAXIMUM, payer, IUptoProxy.Witness(TO, address(this), NOW), signature);
    }

    function test_exactWithPermit_needsNoAllowance() public {
        withoutAllowance();
        IUptoProxy.TokenPermit memory p = tokenPermit(MAXIMUM);
        vm.expectEmit(true, true, true, true, EXACT);
        emit DevProxy.SettledWithPermit();
        settleExactWithPermit(p, 1, MAXIMUM, payer, NOW);
        assertEq(usd.balanceOf(TO), MAXIMUM);
        assertEq(usd.allowance(payer, PERMIT2), 0);
    }

    /// The value is looked at before all else; the token is asked before the other checks.
    function test_exactWithPermit_checksInThisOrder() public {
        IUptoProxy.TokenPermit memory p = tokenPermit(MAXIMUM);
        expect(DevProxy.Permit2612AmountMismatch.selector);
        settleExactWithPermit(p, 1, 0, address(0), NOW + 1);
        expect(DevProxy.Permit2612AmountMismatch.selector);
        settleExactWithPermit(p, 1, MAXIMUM + 1, payer, NOW);
        expect(DevProxy.InvalidOwner.selector);
        settleExactWithPermit(p, 1, MAXIMUM, address(0), NOW + 1);
        expect(DevProxy.PaymentTooEarly.selector);
        settleExactWithPermit(p, 1, MAXIMUM, payer, NOW + 1);
    }

    // Upto.

    function test_upto_movesWhatTheFacilitatorSays() public {
        vm.expectEmit(true, true, true, true, UPTO);
        emit DevProxy.Settled();
        settleUpto(1, 1, payer, TO, address(this), NOW);
        settleUpto(2, MAXIMUM, payer, TO, address(this), NOW);
        assertEq(usd.balanceOf(TO), MAXIMUM + 1);
    }

    function test_upto_checksInThisOrder() public {
        expect(DevUptoProxy.AmountExceedsPermitted.selector);
        settleUpto(1, MAXIMUM + 1, address(0), address(0), address(0xfac), NOW + 1);
        expect(DevUptoProxy.UnauthorizedFacilitator.selector);
        settleUpto(1, 0, address(0), address(0), address(0xfac), NOW + 1);
        expect(DevProxy.InvalidAmount.selector);
        settleUpto(1, 0, address(0), address(0), address(this), NOW + 1);
        expect(DevProxy.InvalidOwner.selector);
        settleUpto(1, MAXIMUM, address(0), address(0), address(this), NOW + 1);
        expect(DevProxy.InvalidDestination.selector);
        settleUpto(1, MAXIMUM, payer, address(0), address(this), NOW + 1);
        vm.warp(NOW + 1000);
        expect(DevProxy.PaymentTooEarly.selector);
        settleUpto(1, MAXIMUM, payer, TO, address(this), NOW + 1001);
        vm.expectRevert(abi.encodeWithSelector(ISignatureTransfer.SignatureExpired.selector, NOW + 300));
        settleUpto(1, MAXIMUM, payer, TO, address(this), NOW + 1000);
        vm.warp(NOW);
        settleUpto(1, MAXIMUM, payer, TO, address(this), NOW);
        vm.expectRevert(ISignatureTransfer.InvalidNonce.selector);
        settleUpto(1, MAXIMUM, payer, TO, address(this), NOW);
    }

    function test_uptoWithPermit_checksInThisOrder() public {
        IUptoProxy.TokenPermit memory p = tokenPermit(MAXIMUM - 1);
        expect(DevUptoProxy.AmountExceedsPermitted.selector);
        settleUptoWithPermit(p, MAXIMUM + 1, address(0xfac));
        expect(DevUptoProxy.UnauthorizedFacilitator.selector);
        settleUptoWithPermit(p, MAXIMUM, address(0xfac));
        expect(DevProxy.Permit2612AmountMismatch.selector);
        settleUptoWithPermit(p, 0, address(this));
        p = tokenPermit(MAXIMUM);
        expect(DevProxy.InvalidAmount.selector);
        settleUptoWithPermit(p, 0, address(this));
        withoutAllowance();
        vm.expectEmit(true, true, true, true, UPTO);
        emit DevProxy.SettledWithPermit();
        settleUptoWithPermit(p, 400, address(this));
        assertEq(usd.balanceOf(TO), 400);
        assertEq(usd.allowance(payer, PERMIT2), MAXIMUM - 400);
    }

    // Both.

    /// A token that refuses its permit is heard, in an event by the kind of its answer, and stops nothing.
    function test_aFailedTokenPermitIsToldAndStopsNothing() public {
        Unwilling token = new Unwilling();
        for (uint256 i = 0; i < 2; ++i) {
            address proxy = i == 0 ? EXACT : UPTO;
            for (uint256 how = 0; how < 4; ++how) {
                token.fail(how);
                vm.recordLogs();
                settleEither(i == 0, address(token), 10 * i + how, true);
                Vm.Log[] memory logs = vm.getRecordedLogs();
                assertEq(logs.length, how == 0 ? 1 : 2);
                assertEq(logs[logs.length - 1].topics[0], DevProxy.SettledWithPermit.selector);
                if (how == 0) continue;
                assertEq(logs[0].emitter, proxy);
                assertEq(address(uint160(uint256(logs[0].topics[1]))), address(token));
                assertEq(address(uint160(uint256(logs[0].topics[2]))), payer);
                (bytes32 topic, bytes memory data) = told(how);
                assertEq(logs[0].topics[0], topic);
                assertEq(keccak256(logs[0].data), keccak256(data));
            }
        }
    }

    /// A token that settles another payment from inside of its transfer finds the proxy busy, and the other payment stays good.
    function test_aProxyIsNotEnteredTwice() public {
        Unwilling token = new Unwilling();
        for (uint256 i = 0; i < 2; ++i) {
            (IUptoProxy.Permit memory permit, DevExactProxy.ExactWitness memory witness, bytes memory signature) =
                exactly(20, MAXIMUM, TO, NOW);
            token.plan(
                i == 0 ? EXACT : UPTO,
                i == 0
                    ? abi.encodeCall(DevExactProxy.settle, (permit, payer, witness, signature))
                    : abi.encodeCall(IUptoProxy.settle, (permit, 1, payer, IUptoProxy.Witness(TO, address(token), NOW), signature))
            );
            settleEither(i == 0, address(token), 30 + i, false);
            assertEq(bytes32(bytes4(token.answer())), bytes32(DevProxy.ReentrancyGuardReentrantCall.selector));
            assertEq(usd.balanceOf(TO), 0);
        }
        settleExact(20, MAXIMUM, payer, TO, NOW);
        assertEq(usd.balanceOf(TO), MAXIMUM);
    }

    /// The chain and the token of those signatures.
    function onBaseSepolia() private returns (TestUSD there) {
        vm.chainId(84532);
        there = TestUSD(0x036CbD53842c5426634e7929541eC2318f3dCF7e);
        vm.etch(address(there), address(usd).code);
        there.mint(THEIR_PAYER, FUNDS);
        vm.prank(THEIR_PAYER);
        there.approve(PERMIT2, FUNDS);
    }

    function told(uint256 how) private pure returns (bytes32 topic, bytes memory data) {
        if (how == 1) return (DevProxy.EIP2612PermitFailedWithReason.selector, abi.encode("no permits"));
        if (how == 2) return (DevProxy.EIP2612PermitFailedWithPanic.selector, abi.encode(1));
        return
            (
                DevProxy.EIP2612PermitFailedWithData.selector,
                abi.encode(abi.encodeWithSelector(Unwilling.OfItsOwn.selector, MAXIMUM))
            );
    }

    function expect(bytes4 selector) private {
        vm.expectRevert(selector);
    }

    function exactly(uint256 nonce, uint256 amount, address to, uint256 validAfter)
        private
        view
        returns (IUptoProxy.Permit memory permit, DevExactProxy.ExactWitness memory witness, bytes memory signature)
    {
        return exactly(address(usd), nonce, amount, to, validAfter);
    }

    function exactly(address token, uint256 nonce, uint256 amount, address to, uint256 validAfter)
        private
        view
        returns (IUptoProxy.Permit memory permit, DevExactProxy.ExactWitness memory witness, bytes memory signature)
    {
        permit = IUptoProxy.Permit(IUptoProxy.TokenPermissions(token, amount), nonce, NOW + 300);
        witness = DevExactProxy.ExactWitness(to, validAfter);
        bytes32 witnessHash = keccak256(abi.encode(EXACT_TYPEHASH, witness));
        signature = sign(PAYER_KEY, digestOf(permit, EXACT, witnessHash, EXACT_WITNESS));
    }

    function uptoThat(address token, uint256 nonce, address to, address facilitator, uint256 validAfter)
        private
        view
        returns (IUptoProxy.Permit memory permit, IUptoProxy.Witness memory witness, bytes memory signature)
    {
        permit = IUptoProxy.Permit(IUptoProxy.TokenPermissions(token, MAXIMUM), nonce, NOW + 300);
        witness = IUptoProxy.Witness(to, facilitator, validAfter);
        bytes32 witnessHash = keccak256(abi.encode(UPTO_TYPEHASH, witness));
        signature = sign(PAYER_KEY, digestOf(permit, UPTO, witnessHash, UPTO_WITNESS));
    }

    function settleExact(uint256 nonce, uint256 amount, address owner, address to, uint256 validAfter) private {
        (IUptoProxy.Permit memory permit, DevExactProxy.ExactWitness memory witness, bytes memory signature) =
            exactly(nonce, amount, to, validAfter);
        exact.settle(permit, owner, witness, signature);
    }

    function settleExactWithPermit(
        IUptoProxy.TokenPermit memory p,
        uint256 nonce,
        uint256 amount,
        address owner,
        uint256 validAfter
    ) private {
        (IUptoProxy.Permit memory permit, DevExactProxy.ExactWitness memory witness, bytes memory signature) =
            exactly(nonce, amount, TO, validAfter);
        exact.settleWithPermit(p, permit, owner, witness, signature);
    }

    function settleUpto(uint256 nonce, uint256 amount, address owner, address to, address facilitator, uint256 validAfter) private {
        (IUptoProxy.Permit memory permit, IUptoProxy.Witness memory witness, bytes memory signature) =
            uptoThat(address(usd), nonce, to, facilitator, validAfter);
        upto.settle(permit, amount, owner, witness, signature);
    }

    function settleUptoWithPermit(IUptoProxy.TokenPermit memory p, uint256 amount, address facilitator) private {
        (IUptoProxy.Permit memory permit, IUptoProxy.Witness memory witness, bytes memory signature) =
            uptoThat(address(usd), 1, TO, facilitator, NOW);
        upto.settleWithPermit(p, permit, amount, payer, witness, signature);
    }

    /// All of the maximum, by the one proxy or the other, with a token permit that nobody signed or with none.
    function settleEither(bool isExact, address token, uint256 nonce, bool isWithPermit) private {
        IUptoProxy.TokenPermit memory p = IUptoProxy.TokenPermit(MAXIMUM, NOW, 0, 0, 27);
        if (isExact) {
            (IUptoProxy.Permit memory permit, DevExactProxy.ExactWitness memory witness, bytes memory signature) =
                exactly(token, nonce, MAXIMUM, TO, NOW);
            if (isWithPermit) exact.settleWithPermit(p, permit, payer, witness, signature);
            else exact.settle(permit, payer, witness, signature);
        } else {
            (IUptoProxy.Permit memory permit, IUptoProxy.Witness memory witness, bytes memory signature) =
                uptoThat(token, nonce, TO, address(this), NOW);
            if (isWithPermit) upto.settleWithPermit(p, permit, MAXIMUM, payer, witness, signature);
            else upto.settle(permit, MAXIMUM, payer, witness, signature);
        }
    }

    function withoutAllowance() private {
        vm.prank(payer);
        usd.approve(PERMIT2, 0);
    }

    /// What the payer signs for the token, so that Permit2 may move it.
    function tokenPermit(uint256 value) private view returns (IUptoProxy.TokenPermit memory) {
        bytes32 structHash = keccak256(abi.encode(usd.PERMIT_TYPEHASH(), payer, PERMIT2, value, usd.nonces(payer), NOW + 300));
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", usd.DOMAIN_SEPARATOR(), structHash));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(PAYER_KEY, digest);
        return IUptoProxy.TokenPermit(value, NOW + 300, r, s, v);
    }
}

/// The same in front of our Permit2, as on a development chain.
contract DevProxiesOnDevPermit2Test is DevProxiesTest {
    function setUp() public override {
        super.setUp();
        vm.etch(PERMIT2, address(new DevPermit2()).code);
    }
}
