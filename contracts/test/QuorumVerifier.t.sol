// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {QuorumVerifier} from "../src/QuorumVerifier.sol";
import {WorkloadId} from "../src/Types.sol";
import {IAttestationVerifier} from "../src/interfaces/IAttestationVerifier.sol";
import {IQuorumVerifier} from "../src/interfaces/IQuorumVerifier.sol";
import {Signatures} from "../src/lib/Signatures.sol";
import {Fixture} from "./support/Fixture.sol";

/// Two of three named attestors.
contract QuorumVerifierTest is Fixture {
    bytes private constant EVIDENCE = "attestation document";

    QuorumVerifier private twoOfThree;
    /// Sorted by address.
    uint256[3] private keys;

    function setUp() public override {
        super.setUp();
        keys = [uint256(101), 102, 103];
        for (uint256 i = 0; i < 3; ++i) {
            for (uint256 j = i + 1; j < 3; ++j) {
                if (vm.addr(keys[j]) < vm.addr(keys[i])) (keys[i], keys[j]) = (keys[j], keys[i]);
            }
        }
        twoOfThree = new QuorumVerifier(2, members());
    }

    function test_verify_acceptsAnyTwo() public view {
        IQuorumVerifier.Verdict memory verdict = goodVerdict();
        for (uint256 i = 0; i < 3; ++i) {
            for (uint256 j = i + 1; j < 3; ++j) {
                IAttestationVerifier.Attested memory attested = twoOfThree.verify(EVIDENCE, signedBy(verdict, keys[i], keys[j]));
                assertEq(WorkloadId.unwrap(attested.workloadId), expectedWorkload(verdict));
                assertEq(attested.attestedHash, verdict.attestedHash);
                assertEq(attested.documentTime, verdict.documentTime);
            }
        }
    }

    function test_verify_acceptsAllThree() public view {
        IQuorumVerifier.Verdict memory verdict = goodVerdict();
        bytes memory third = sign(keys[2], twoOfThree.verdictDigest(verdict));
        twoOfThree.verify(EVIDENCE, abi.encodePacked(signedBy(verdict, keys[0], keys[1]), third));
    }

    function test_verify_revertsIfEvidenceIsAnother() public {
        bytes memory data = signedBy(goodVerdict(), keys[0], keys[1]);
        vm.expectRevert(err(IQuorumVerifier.WrongEvidence.selector, keccak256("other"), keccak256(EVIDENCE)));
        twoOfThree.verify("other", data);
    }

    function test_verify_revertsIfTooFewSign() public {
        IQuorumVerifier.Verdict memory verdict = goodVerdict();
        refused(
            abi.encodePacked(abi.encode(verdict), sign(keys[0], twoOfThree.verdictDigest(verdict))),
            err(IQuorumVerifier.TooFewSignatures.selector, 2, 1)
        );
        refused(abi.encode(verdict), err(IQuorumVerifier.TooFewSignatures.selector, 2, 0));
    }

    function test_verify_revertsIfOneSignsTwice() public {
        address signer = vm.addr(keys[0]);
        refused(signedBy(goodVerdict(), keys[0], keys[0]), err(IQuorumVerifier.SignersNotSorted.selector, signer, signer));
    }

    function test_verify_revertsIfSignersAreNotSorted() public {
        refused(
            signedBy(goodVerdict(), keys[1], keys[0]),
            err(IQuorumVerifier.SignersNotSorted.selector, vm.addr(keys[1]), vm.addr(keys[0]))
        );
    }

    function test_verify_revertsIfSignerIsNoMember() public {
        uint256 strangerKey = 1000;
        while (vm.addr(strangerKey) < vm.addr(keys[0])) ++strangerKey;
        refused(signedBy(goodVerdict(), keys[0], strangerKey), err(IQuorumVerifier.NotAMember.selector, vm.addr(strangerKey)));
    }

    function test_verify_revertsIfLengthIsWrong() public {
        bytes memory good = signedBy(goodVerdict(), keys[0], keys[1]);
        refused(abi.encodePacked(good, uint8(0)), err(IQuorumVerifier.VerifierDataLength.selector, 192, good.length + 1));
        refused(new bytes(191), err(IQuorumVerifier.VerifierDataLength.selector, 192, 191));
        refused("", err(IQuorumVerifier.VerifierDataLength.selector, 192, 0));
    }

    function test_verify_revertsIfSignatureIsHigh() public {
        IQuorumVerifier.Verdict memory verdict = goodVerdict();
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(keys[0], twoOfThree.verdictDigest(verdict));
        uint256 twin = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141 - uint256(s);
        bytes memory second = sign(keys[1], twoOfThree.verdictDigest(verdict));
        bytes memory data = abi.encodePacked(abi.encode(verdict), r, twin, uint8(55 - v), second);
        vm.expectPartialRevert(Signatures.SignatureHighS.selector);
        twoOfThree.verify(EVIDENCE, data);
    }

    /// A verdict for one verifier, or one chain, is not one for another.
    function test_verify_revertsIfVerdictIsForAnotherDomain() public {
        QuorumVerifier other = new QuorumVerifier(2, members());
        bytes memory data = signedBy(goodVerdict(), keys[0], keys[1]);
        vm.expectRevert();
        other.verify(EVIDENCE, data);
        vm.chainId(5);
        vm.expectRevert();
        twoOfThree.verify(EVIDENCE, data);
    }

    function testFuzz_verify_revertsIfAnyBitOfTheVerdictIsChanged(uint256 bit) public {
        bytes memory data = signedBy(goodVerdict(), keys[0], keys[1]);
        bit = bit % (192 * 8);
        data[bit / 8] ^= bytes1(uint8(1 << (bit % 8)));
        vm.expectRevert();
        twoOfThree.verify(EVIDENCE, data);
    }

    function test_verdictDigest_isItsEip712Definition() public view {
        IQuorumVerifier.Verdict memory v = goodVerdict();
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Candor Attestor"),
                keccak256("2"),
                block.chainid,
                address(twoOfThree)
            )
        );
        bytes32 typeHash = keccak256(
            "Verdict(bytes32 evidenceHash,uint256 innerKind,bytes32 innerRoot,bytes32 innerMeasurements,bytes32 attestedHash,uint64 documentTime)"
        );
        bytes32 structHash = keccak256(
            abi.encode(typeHash, v.evidenceHash, v.innerKind, v.innerRoot, v.innerMeasurements, v.attestedHash, v.documentTime)
        );
        assertEq(twoOfThree.verdictDigest(v), keccak256(abi.encodePacked(hex"1901", domain, structHash)));
    }

    function test_members_andRootAreThoseOfTheConstructor() public view {
        address[] memory got = twoOfThree.members();
        assertEq(got.length, 3);
        for (uint256 i = 0; i < 3; ++i) {
            assertEq(got[i], vm.addr(keys[i]));
        }
        assertEq(twoOfThree.threshold(), 2);
        assertEq(twoOfThree.kind(), QUORUM);
        assertEq(twoOfThree.quorumRoot(), keccak256(abi.encode(uint256(2), got)));
    }

    function test_constructor_revertsIfThereAreNoMembers() public {
        vm.expectRevert(IQuorumVerifier.NoMembers.selector);
        new QuorumVerifier(1, new address[](0));
    }

    function test_constructor_revertsIfThereAreTooManyMembers() public {
        vm.expectRevert(err(IQuorumVerifier.TooManyMembers.selector, 32, 33));
        new QuorumVerifier(1, new address[](33));
    }

    function test_constructor_revertsIfMembersAreNotSorted() public {
        address[] memory list = members();
        (list[0], list[1]) = (list[1], list[0]);
        vm.expectRevert(err(IQuorumVerifier.MembersNotSorted.selector, list[0], list[1]));
        new QuorumVerifier(2, list);
        list[0] = list[1];
        vm.expectRevert(err(IQuorumVerifier.MembersNotSorted.selector, list[0], list[0]));
        new QuorumVerifier(2, list);
        list[0] = address(0);
        vm.expectRevert(err(IQuorumVerifier.MembersNotSorted.selector, address(0), address(0)));
        new QuorumVerifier(2, list);
    }

    function test_constructor_revertsIfThresholdIsOutOfRange() public {
        address[] memory list = members();
        vm.expectRevert(err(IQuorumVerifier.ThresholdOutOfRange.selector, 3, 0));
        new QuorumVerifier(0, list);
        vm.expectRevert(err(IQuorumVerifier.ThresholdOutOfRange.selector, 3, 4));
        new QuorumVerifier(4, list);
    }

    function goodVerdict() private view returns (IQuorumVerifier.Verdict memory) {
        return IQuorumVerifier.Verdict({
            evidenceHash: keccak256(EVIDENCE),
            innerKind: 1,
            innerRoot: keccak256("root"),
            innerMeasurements: keccak256("measurements"),
            attestedHash: keccak256("attested"),
            documentTime: uint64(block.timestamp)
        });
    }

    function signedBy(IQuorumVerifier.Verdict memory verdict, uint256 a, uint256 b) private view returns (bytes memory) {
        bytes32 digest = twoOfThree.verdictDigest(verdict);
        return abi.encodePacked(abi.encode(verdict), sign(a, digest), sign(b, digest));
    }

    function expectedWorkload(IQuorumVerifier.Verdict memory verdict) private view returns (bytes32) {
        bytes32 tag = keccak256("candor/workload/1");
        bytes32 inner = keccak256(abi.encode(tag, verdict.innerKind, verdict.innerRoot, verdict.innerMeasurements));
        return keccak256(abi.encode(tag, uint256(0x51), keccak256(abi.encode(uint256(2), members())), inner));
    }

    function members() private view returns (address[] memory list) {
        list = new address[](3);
        for (uint256 i = 0; i < 3; ++i) {
            list[i] = vm.addr(keys[i]);
        }
    }

    function refused(bytes memory data, bytes memory reason) private {
        vm.expectRevert(reason);
        twoOfThree.verify(EVIDENCE, data);
    }
}
