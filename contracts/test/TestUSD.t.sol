// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {TestUSD} from "../src/dev/TestUSD.sol";
import {Base} from "./support/Base.sol";

/// A wallet that is a contract: it accepts one digest.
contract Wallet {
    bytes32 private accepted;

    function accept(bytes32 digest) external {
        accepted = digest;
    }

    function isValidSignature(bytes32 digest, bytes calldata) external view returns (bytes4) {
        return digest == accepted ? bytes4(0x1626ba7e) : bytes4(0xffffffff);
    }
}

contract TestUSDTest is Base {
    uint256 private constant PAYER_KEY = 0xbeef;
    address private constant TO = address(0x70);
    bytes32 private constant NONCE = keccak256("nonce");
    uint256 private constant NOW = 1_800_000_000;

    TestUSD private usd;
    address private payer;

    function setUp() public {
        vm.warp(NOW);
        usd = new TestUSD();
        payer = vm.addr(PAYER_KEY);
        usd.mint(payer, 1000);
    }

    function test_identity_isUsdcs() public view {
        assertEq(keccak256(bytes(usd.name())), keccak256("USDC"));
        assertEq(keccak256(bytes(usd.version())), keccak256("2"));
        assertEq(usd.decimals(), 6);
        assertEq(usd.TRANSFER_WITH_AUTHORIZATION_TYPEHASH(), 0x7c7c6cdb67a18743f49ec6fa9b35f50d52ed05cbed4cc592e13b44501c1a2267);
        assertEq(usd.RECEIVE_WITH_AUTHORIZATION_TYPEHASH(), 0xd099cc98ef71107a616c4f0f941f04c322d8e254fe26b3c6668db87aae413de8);
        assertEq(usd.CANCEL_AUTHORIZATION_TYPEHASH(), 0x158b0a9edf7a828aad02f63cd515c68ef2f50ba807396f6d12842833a1597429);
        assertEq(usd.PERMIT_TYPEHASH(), 0x6e71edae12b1b97f4d1f60370fef10105fa2faae0126114a169c64845d6126c9);
    }

    function test_selectors_areUsdcs() public view {
        bytes4[7] memory selectors = [
            bytes4(keccak256("transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)")),
            bytes4(keccak256("transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)")),
            bytes4(keccak256("receiveWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)")),
            usd.authorizationState.selector,
            usd.DOMAIN_SEPARATOR.selector,
            usd.nonces.selector,
            usd.version.selector
        ];
        bytes4[7] memory expected = [bytes4(0xe3ee160e), 0xcf092995, 0x88b7ab63, 0xe94a0102, 0x3644e515, 0x7ecebe00, 0x54fd4d50];
        for (uint256 i = 0; i < 7; ++i) {
            assertEq(bytes32(selectors[i]), bytes32(expected[i]));
        }
    }

    /// The dev chain places the runtime code at the addresses that SDKs know, without a constructor.
    function test_runtimeCode_worksAtAnyAddress() public {
        TestUSD placed = TestUSD(0x036CbD53842c5426634e7929541eC2318f3dCF7e);
        vm.etch(address(placed), address(usd).code);
        vm.chainId(84532);
        placed.mint(payer, 5);
        // Domain separator of USDC on Base Sepolia, as published.
        assertEq(placed.DOMAIN_SEPARATOR(), domain(address(placed)));
        assertEq(placed.balanceOf(payer), 5);
    }

    function test_transferWithAuthorization_movesOnceInBothForms() public {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(PAYER_KEY, transferDigest(100, 0, NOW + 1, NONCE));
        vm.expectEmit(true, true, true, true, address(usd));
        emit TestUSD.AuthorizationUsed(payer, NONCE);
        vm.expectEmit(true, true, true, true, address(usd));
        emit TestUSD.Transfer(payer, TO, 100);
        usd.transferWithAuthorization(payer, TO, 100, 0, NOW + 1, NONCE, v, r, s);
        assertEq(usd.balanceOf(TO), 100);
        assertTrue(usd.authorizationState(payer, NONCE), "used");
        vm.expectRevert("FiatTokenV2: authorization is used or canceled");
        usd.transferWithAuthorization(payer, TO, 100, 0, NOW + 1, NONCE, v, r, s);
        vm.expectRevert("FiatTokenV2: authorization is used or canceled");
        usd.transferWithAuthorization(payer, TO, 100, 0, NOW + 1, NONCE, abi.encodePacked(r, s, v));
        bytes memory other = sign(PAYER_KEY, transferDigest(50, 0, NOW + 1, "other"));
        usd.transferWithAuthorization(payer, TO, 50, 0, NOW + 1, "other", other);
        assertEq(usd.balanceOf(TO), 150);
        assertEq(usd.balanceOf(payer), 850);
    }

    function test_transferWithAuthorization_bothBoundsAreStrict() public {
        bytes memory signature = sign(PAYER_KEY, transferDigest(1, NOW, NOW + 1, NONCE));
        vm.expectRevert("FiatTokenV2: authorization is not yet valid");
        usd.transferWithAuthorization(payer, TO, 1, NOW, NOW + 1, NONCE, signature);
        signature = sign(PAYER_KEY, transferDigest(1, 0, NOW, NONCE));
        vm.expectRevert("FiatTokenV2: authorization is expired");
        usd.transferWithAuthorization(payer, TO, 1, 0, NOW, NONCE, signature);
    }

    function test_transferWithAuthorization_revertsIfBalanceIsTooLow() public {
        bytes memory signature = sign(PAYER_KEY, transferDigest(1001, 0, NOW + 1, NONCE));
        vm.expectRevert("ERC20: transfer amount exceeds balance");
        usd.transferWithAuthorization(payer, TO, 1001, 0, NOW + 1, NONCE, signature);
        assertTrue(!usd.authorizationState(payer, NONCE), "not used up by a failed transfer");
    }

    function test_transferWithAuthorization_revertsIfSignatureIsWrong() public {
        bytes32 digest = transferDigest(1, 0, NOW + 1, NONCE);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(PAYER_KEY, digest);
        refused("FiatTokenV2: invalid signature", sign(1, digest));
        refused("ECRecover: invalid signature length", abi.encodePacked(r, s));
        uint256 twin = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141 - uint256(s);
        refused("ECRecover: invalid signature 's' value", abi.encodePacked(r, twin, uint8(55 - v)));
        refused("ECRecover: invalid signature 'v' value", abi.encodePacked(r, s, uint8(29)));
        refused("ECRecover: invalid signature", abi.encodePacked(bytes32(0), s, v));
    }

    function testFuzz_transferWithAuthorization_revertsIfAnyFieldIsChanged(uint256 value, address to, uint256 after_, bytes32 nonce)
        public
    {
        bytes memory signature = sign(PAYER_KEY, transferDigest(1, 0, NOW + 1, NONCE));
        vm.assume(value != 1 || to != TO || after_ != 0 || nonce != NONCE);
        vm.expectRevert();
        usd.transferWithAuthorization(payer, to, value, after_, NOW + 1, nonce, signature);
    }

    function test_receiveWithAuthorization_onlyByThePayee() public {
        bytes32 structHash = keccak256(abi.encode(usd.RECEIVE_WITH_AUTHORIZATION_TYPEHASH(), payer, TO, 5, 0, NOW + 1, NONCE));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(PAYER_KEY, typed(structHash));
        vm.expectRevert("FiatTokenV2: caller must be the payee");
        usd.receiveWithAuthorization(payer, TO, 5, 0, NOW + 1, NONCE, v, r, s);
        vm.expectRevert("FiatTokenV2: caller must be the payee");
        usd.receiveWithAuthorization(payer, TO, 5, 0, NOW + 1, NONCE, abi.encodePacked(r, s, v));
        // Not a transfer authorization: the types differ.
        vm.expectRevert("FiatTokenV2: invalid signature");
        usd.transferWithAuthorization(payer, TO, 5, 0, NOW + 1, NONCE, v, r, s);
        vm.prank(TO);
        usd.receiveWithAuthorization(payer, TO, 5, 0, NOW + 1, NONCE, v, r, s);
        assertEq(usd.balanceOf(TO), 5);
    }

    function test_cancelAuthorization_burnsTheNonce() public {
        bytes32 digest = typed(keccak256(abi.encode(usd.CANCEL_AUTHORIZATION_TYPEHASH(), payer, NONCE)));
        vm.expectRevert("FiatTokenV2: invalid signature");
        usd.cancelAuthorization(payer, NONCE, sign(1, digest));
        vm.expectEmit(true, true, true, true, address(usd));
        emit TestUSD.AuthorizationCanceled(payer, NONCE);
        usd.cancelAuthorization(payer, NONCE, sign(PAYER_KEY, digest));
        refused("FiatTokenV2: authorization is used or canceled", sign(PAYER_KEY, transferDigest(1, 0, NOW + 1, NONCE)));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(PAYER_KEY, digest);
        vm.expectRevert("FiatTokenV2: authorization is used or canceled");
        usd.cancelAuthorization(payer, NONCE, v, r, s);
    }

    /// A signer with code is asked, and its answer alone counts: not the key that may be behind its address.
    function test_erc1271_theWalletDecides() public {
        Wallet wallet = new Wallet();
        usd.mint(address(wallet), 10);
        bytes32 structHash =
            keccak256(abi.encode(usd.TRANSFER_WITH_AUTHORIZATION_TYPEHASH(), address(wallet), TO, 4, 0, NOW + 1, NONCE));
        vm.expectRevert("FiatTokenV2: invalid signature");
        usd.transferWithAuthorization(address(wallet), TO, 4, 0, NOW + 1, NONCE, "anything");
        wallet.accept(typed(structHash));
        usd.transferWithAuthorization(address(wallet), TO, 4, 0, NOW + 1, NONCE, "anything");
        assertEq(usd.balanceOf(TO), 4);

        bytes memory good = sign(PAYER_KEY, transferDigest(1, 0, NOW + 1, NONCE));
        vm.etch(payer, address(new Wallet()).code);
        refused("FiatTokenV2: invalid signature", good);
        vm.etch(payer, hex"00");
        refused("FiatTokenV2: invalid signature", good);
    }

    function test_permit_allowsInBothForms() public {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(PAYER_KEY, permitDigest(7, 0, NOW));
        usd.permit(payer, TO, 7, NOW, v, r, s);
        assertEq(usd.allowance(payer, TO), 7);
        assertEq(usd.nonces(payer), 1);
        vm.expectRevert("EIP2612: invalid signature");
        usd.permit(payer, TO, 7, NOW, v, r, s);
        usd.permit(payer, TO, 8, NOW, sign(PAYER_KEY, permitDigest(8, 1, NOW)));
        assertEq(usd.allowance(payer, TO), 8);
        vm.expectRevert("FiatTokenV2: permit is expired");
        usd.permit(payer, TO, 8, NOW - 1, "");
    }

    function test_erc20_movesAndRefuses() public {
        vm.prank(payer);
        usd.transfer(TO, 10);
        vm.prank(payer);
        usd.approve(address(this), 5);
        usd.transferFrom(payer, TO, 3);
        assertEq(usd.allowance(payer, address(this)), 2);
        assertEq(usd.balanceOf(TO), 13);
        assertEq(usd.totalSupply(), 1000);
        vm.expectRevert("ERC20: transfer amount exceeds allowance");
        usd.transferFrom(payer, TO, 3);
        vm.expectRevert("ERC20: transfer amount exceeds balance");
        usd.transfer(TO, 1);
        vm.expectRevert("ERC20: transfer to the zero address");
        usd.transfer(address(0), 0);
        vm.prank(address(0));
        vm.expectRevert("ERC20: transfer from the zero address");
        usd.transfer(TO, 0);
        vm.expectRevert("ERC20: approve to the zero address");
        usd.approve(address(0), 1);
        vm.prank(address(0));
        vm.expectRevert("ERC20: approve from the zero address");
        usd.approve(TO, 1);
    }

    function test_mint_isOpenButNotForNothing() public {
        vm.prank(address(0xa11));
        usd.mint(TO, 1);
        vm.expectRevert("FiatToken: mint to the zero address");
        usd.mint(address(0), 1);
        vm.expectRevert("FiatToken: mint amount not greater than 0");
        usd.mint(TO, 0);
    }

    function refused(string memory reason, bytes memory signature) private {
        vm.expectRevert(bytes(reason));
        usd.transferWithAuthorization(payer, TO, 1, 0, NOW + 1, NONCE, signature);
    }

    function transferDigest(uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce) private view returns (bytes32) {
        return
            typed(
                keccak256(abi.encode(usd.TRANSFER_WITH_AUTHORIZATION_TYPEHASH(), payer, TO, value, validAfter, validBefore, nonce))
            );
    }

    function permitDigest(uint256 value, uint256 nonce, uint256 deadline) private view returns (bytes32) {
        return typed(keccak256(abi.encode(usd.PERMIT_TYPEHASH(), payer, TO, value, nonce, deadline)));
    }

    function typed(bytes32 structHash) private view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", domain(address(usd)), structHash));
    }

    function domain(address token) private view returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("USDC"),
                keccak256("2"),
                block.chainid,
                token
            )
        );
    }
}
