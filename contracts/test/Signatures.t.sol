// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Signatures} from "../src/lib/Signatures.sol";
import {Base} from "./support/Base.sol";
import {MoneyHarness} from "./support/MoneyHarness.sol";

contract SignaturesTest is Base {
    uint256 private constant ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;

    MoneyHarness private harness = new MoneyHarness();

    function testFuzz_recover_namesTheSigner(uint256 key, bytes32 digest) public view {
        key = bound(key, 1, ORDER - 1);
        assertEq(harness.recover(digest, sign(key, digest)), vm.addr(key));
    }

    function testFuzz_recover_revertsIfSIsHigh(uint256 key, bytes32 digest) public {
        key = bound(key, 1, ORDER - 1);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        uint256 twin = ORDER - uint256(s);
        vm.expectRevert(abi.encodeWithSelector(Signatures.SignatureHighS.selector, ORDER / 2, twin));
        harness.recover(digest, abi.encodePacked(r, twin, uint8(55 - v)));
    }

    function testFuzz_recover_revertsIfLengthIsNot65(uint8 length) public {
        vm.assume(length != 65);
        vm.expectRevert(abi.encodeWithSelector(Signatures.SignatureLength.selector, 65, length));
        harness.recover(0, new bytes(length));
    }

    function testFuzz_recover_revertsIfVIsOther(uint8 v) public {
        vm.assume(v != 27 && v != 28);
        (, bytes32 r, bytes32 s) = vm.sign(1, "digest");
        vm.expectRevert(abi.encodeWithSelector(Signatures.SignatureV.selector, v));
        harness.recover("digest", abi.encodePacked(r, s, v));
    }

    function test_recover_revertsIfNoKeyFits() public {
        vm.expectRevert(Signatures.SignatureInvalid.selector);
        harness.recover("digest", abi.encodePacked(bytes32(0), bytes32(uint256(1)), uint8(27)));
        vm.expectRevert(Signatures.SignatureInvalid.selector);
        harness.recover("digest", abi.encodePacked(bytes32(ORDER), bytes32(uint256(1)), uint8(27)));
        vm.expectRevert(Signatures.SignatureInvalid.selector);
        harness.recover("digest", abi.encodePacked(bytes32(uint256(1)), bytes32(0), uint8(27)));
    }

    /// Half the order itself is low; one more is not.
    function test_recover_acceptsTheLargestLowS() public {
        bytes32 digest = "digest";
        bytes32 r = bytes32(uint256(1));
        assertTrue(harness.recover(digest, abi.encodePacked(r, ORDER / 2, uint8(27))) != address(0), "low");
        vm.expectRevert(abi.encodeWithSelector(Signatures.SignatureHighS.selector, ORDER / 2, ORDER / 2 + 1));
        harness.recover(digest, abi.encodePacked(r, ORDER / 2 + 1, uint8(27)));
    }

    /// Yes exactly where `recover` names this signer, and no where it reverts.
    function testFuzz_isSignedBy_saysWhatRecoverSays(uint256 key, bytes32 digest, uint256 place, uint8 flip) public view {
        key = bound(key, 1, ORDER - 1);
        bytes memory signature = sign(key, digest);
        assertTrue(harness.isSignedBy(vm.addr(key), digest, signature), "signed");
        signature[bound(place, 0, 64)] ^= bytes1(flip);
        bool expected;
        try harness.recover(digest, signature) returns (address signer) {
            expected = signer == vm.addr(key);
        } catch {}
        assertTrue(harness.isSignedBy(vm.addr(key), digest, signature) == expected, "as recover");
    }

    function testFuzz_isSignedBy_noIfLengthIsNot65(uint8 length) public view {
        vm.assume(length != 65);
        assertTrue(!harness.isSignedBy(address(0), 0, new bytes(length)), "length");
    }

    /// No key has the zero address, though a signature that nobody made recovers to it.
    function test_isSignedBy_noForNobody() public view {
        bytes memory signature = abi.encodePacked(bytes32(0), bytes32(uint256(1)), uint8(27));
        assertTrue(!harness.isSignedBy(address(0), "digest", signature), "nobody");
    }
}
