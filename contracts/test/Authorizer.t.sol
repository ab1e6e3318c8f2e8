// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {CandorRegistry} from "../src/CandorRegistry.sol";
import {PolicyId, Record} from "../src/Types.sol";
import {IEnclaveAuthorizer} from "../src/interfaces/IEnclaveAuthorizer.sol";
import {IKeys} from "../src/interfaces/IKeys.sol";
import {IWorkloadPolicy} from "../src/interfaces/IWorkloadPolicy.sol";
import {Clone} from "../src/lib/Clone.sol";
import {AuthorizerFactory} from "../src/money/AuthorizerFactory.sol";
import {Authorizing} from "./support/Authorizing.sol";

/// Who may speak for an operator's channels, until when, and in which bytes.
contract AuthorizerTest is Authorizing {
    uint256 private constant ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
    uint256 private constant OTHER_OPERATOR_KEY = 0x07e409e7;
    bytes32 private constant DIGEST = keccak256("claims");

    function test_isValid_forAKeyOfTheOperator() public view {
        yes(DIGEST, authorization(ENCLAVE_KEY, DIGEST));
    }

    /// An operator's next boot speaks for the channels of the last one.
    function test_isValid_forEachBootOfTheOperator() public {
        registerGood(ENCLAVE_KEY + 1);
        yes(DIGEST, authorization(ENCLAVE_KEY + 1, DIGEST));
        yes(DIGEST, authorization(ENCLAVE_KEY, DIGEST));
    }

    // Until when: the rule, edge by edge.

    function test_isValid_untilSevenDaysAfterTheLastEvidence() public {
        bytes memory signature = authorization(ENCLAVE_KEY, DIGEST);
        uint256 end = uint256(registry.stateOf(kSig).validUntil) + 7 days;
        assertEq(authorizer.GRACE(), 7 days);
        vm.warp(end);
        yes(DIGEST, signature);
        vm.warp(end + 1);
        no(DIGEST, signature);
    }

    /// Late evidence, from anybody, brings the key back.
    function test_isValid_againAfterARenewal() public {
        bytes memory signature = authorization(ENCLAVE_KEY, DIGEST);
        pass(8 days);
        no(DIGEST, signature);
        renewGood(kSig);
        yes(DIGEST, signature);
    }

    function test_isValid_notOfARevokedKey() public {
        bytes memory signature = authorization(ENCLAVE_KEY, DIGEST);
        vm.prank(operator);
        registry.revoke(recordOf(kSig));
        no(DIGEST, signature);
    }

    /// Retired is not stolen: what was earned may still be claimed.
    function test_isValid_ofARetiredKey() public {
        bytes memory signature = authorization(ENCLAVE_KEY, DIGEST);
        vm.prank(operator);
        registry.retire(recordOf(kSig));
        pass(1 days);
        yes(DIGEST, signature);
    }

    function test_isValid_notUnderAPolicyThatRevokedTheWorkload() public {
        bytes memory signature = authorization(ENCLAVE_KEY, DIGEST);
        pass(600);
        policies.revokeWorkload(policyId, listedId(), uint64(block.timestamp));
        no(DIGEST, signature);
    }

    /// Deprecated: after an hour of notice for answers of now, and for GRACE more for those of before.
    function test_isValid_forSevenDaysAfterADeprecation() public {
        bytes memory signature = authorization(ENCLAVE_KEY, DIGEST);
        policies.deprecateWorkload(policyId, listedId());
        uint256 end = START + 1 hours;
        renewUntil(end + 7 days);
        // Now − 7 days is the last second before the end.
        vm.warp(end + 7 days - 1);
        yes(DIGEST, signature);
        vm.warp(end + 7 days);
        no(DIGEST, signature);
    }

    /// A key that booted after the end of its workload has nothing from before to claim.
    function test_isValid_notOfAKeyThatBootedAfterTheDeprecation() public {
        policies.deprecateWorkload(policyId, listedId());
        // Its manifest says 20 seconds ago: the very end.
        pass(1 hours + 20);
        registerGood(ENCLAVE_KEY + 1);
        assertEq(recordOf(vm.addr(ENCLAVE_KEY + 1)).validFrom, START + 1 hours);
        no(DIGEST, authorization(ENCLAVE_KEY + 1, DIGEST));
    }

    /// One that booted the second before has: f = validFrom, until it is more than seven days ago.
    function test_isValid_ofAKeyThatBootedBeforeTheDeprecation() public {
        policies.deprecateWorkload(policyId, listedId());
        pass(1 hours + 19);
        registerGood(ENCLAVE_KEY + 1);
        bytes memory signature = authorization(ENCLAVE_KEY + 1, DIGEST);
        yes(DIGEST, signature);
        vm.warp(START + 1 hours - 1 + 7 days);
        yes(DIGEST, signature);
        vm.warp(START + 1 hours + 7 days);
        no(DIGEST, signature);
    }

    /// A key that lapsed before the deprecation: f = validUntil.
    function test_isValid_ofAKeyThatLapsedBeforeTheDeprecation() public {
        bytes memory signature = authorization(ENCLAVE_KEY, DIGEST);
        vm.warp(START + 6 days);
        policies.deprecateWorkload(policyId, listedId());
        vm.warp(uint256(registry.stateOf(kSig).validUntil) + 7 days);
        yes(DIGEST, signature);
    }

    /// Listed later, for trees of later: not yet.
    function test_isValid_notBeforeTheListingSpeaks() public {
        policyId = listing(address(this), START + 100);
        authorizer = authorizers.deploy(address(registry), operator, policyId);
        bytes memory signature = authorization(ENCLAVE_KEY, DIGEST);
        vm.warp(START + 99);
        no(DIGEST, signature);
        vm.warp(START + 100);
        yes(DIGEST, signature);
    }

    /// The rule, said plainly, against any moments of asking, renewing, deprecating and revoking.
    function testFuzz_isValid_isWhatTheRuleSays(uint256 asked, uint256 renewed, uint256 deprecated, uint256 ended) public {
        bytes memory signature = authorization(ENCLAVE_KEY, DIGEST);
        uint64 validFrom = recordOf(kSig).validFrom;
        renewed = START + bound(renewed, 0, 5 days);
        deprecated = START + bound(deprecated, 0, 10 days);
        ended = START + bound(ended, 0, 20 days);
        asked = START + bound(asked, 0, 20 days);
        if (renewed <= asked) {
            vm.warp(renewed);
            renewGood(kSig);
        }
        bool ends = deprecated <= asked;
        if (ends) {
            vm.warp(deprecated);
            policies.deprecateWorkload(policyId, listedId());
        }
        bool revoked = ended <= asked;
        if (revoked) {
            vm.warp(ended);
            vm.prank(operator);
            registry.revoke(recordOf(kSig));
        }
        vm.warp(asked);
        uint256 validUntil = registry.stateOf(kSig).validUntil;
        uint256 last = asked < validUntil ? asked : validUntil;
        uint256 earliest = validFrom > asked - 7 days ? validFrom : asked - 7 days;
        uint256 end = ends ? deprecated + 1 hours : type(uint256).max;
        bool expected = !revoked && asked <= validUntil + 7 days && (last < end || earliest < end);
        assertTrue((authorizer.isValidSignature(DIGEST, signature) == YES) == expected, "the rule");
    }

    // Whose.

    function test_isValid_notOfAnotherOperatorsKey() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY + 1);
        s.terms.operator = vm.addr(OTHER_OPERATOR_KEY);
        s.manifest.operator = vm.addr(OTHER_OPERATOR_KEY);
        signAll(s);
        s.operatorSignature = sign(OTHER_OPERATOR_KEY, s.manifest.termsHash);
        register(s);
        no(DIGEST, authorization(ENCLAVE_KEY + 1, DIGEST));
        authorizer = authorizers.deploy(address(registry), vm.addr(OTHER_OPERATOR_KEY), policyId);
        yes(DIGEST, authorization(ENCLAVE_KEY + 1, DIGEST));
    }

    function test_isValid_notOfAKeyThatIsNotRegistered() public view {
        Record memory record = recordOf(kSig);
        record.kSig = vm.addr(STRANGER_KEY);
        no(DIGEST, abi.encode(record, sign(STRANGER_KEY, authorizer.authorizationDigest(DIGEST))));
    }

    function test_isValid_notOfAKeyOfAnotherRegistry() public {
        CandorRegistry other = new CandorRegistry(policies);
        authorizer = authorizers.deploy(address(other), operator, policyId);
        no(DIGEST, authorization(ENCLAVE_KEY, DIGEST));
    }

    function test_isValid_notUnderAPolicyThatListsSomethingElse() public {
        IWorkloadPolicy.FirstListing[] memory none = new IWorkloadPolicy.FirstListing[](0);
        PolicyId empty = policies.create(termsOf(address(0), 0), none, new IWorkloadPolicy.FirstOperator[](0));
        authorizer = authorizers.deploy(address(registry), operator, empty);
        no(DIGEST, authorization(ENCLAVE_KEY, DIGEST));
        authorizer = authorizers.deploy(address(registry), operator, PolicyId.wrap("no such policy"));
        no(DIGEST, authorization(ENCLAVE_KEY, DIGEST));
    }

    /// One key's signature under another's record.
    function test_isValid_notUnderTheRecordOfAnotherKey() public {
        registerGood(ENCLAVE_KEY + 1);
        bytes32 digest = authorizer.authorizationDigest(DIGEST);
        no(DIGEST, abi.encode(recordOf(kSig), sign(ENCLAVE_KEY + 1, digest)));
        yes(DIGEST, abi.encode(recordOf(kSig), sign(ENCLAVE_KEY, digest)));
    }

    function test_isValid_notWithAnyOtherWordInTheRecord() public view {
        for (uint256 i = 0; i < 10; ++i) {
            bytes memory signature = authorization(ENCLAVE_KEY, DIGEST);
            signature[32 * i + 31] ^= 0x01;
            no(DIGEST, signature);
        }
    }

    // For what.

    function test_isValid_notForAnotherDigest() public view {
        no(keccak256("other claims"), authorization(ENCLAVE_KEY, DIGEST));
    }

    /// What was signed for another authorizer of the same operator: another policy's channels.
    function test_isValid_notByTheAuthorizationOfAnotherAuthorizer() public {
        IEnclaveAuthorizer other = authorizers.deploy(address(registry), operator, goodPolicy());
        bytes memory signature = authorization(ENCLAVE_KEY, DIGEST);
        assertEq(bytes32(other.isValidSignature(DIGEST, signature)), bytes32(NO));
        yes(DIGEST, signature);
    }

    function test_isValid_notOnAnotherChain() public {
        bytes memory signature = authorization(ENCLAVE_KEY, DIGEST);
        vm.chainId(999);
        no(DIGEST, signature);
        yes(DIGEST, authorization(ENCLAVE_KEY, DIGEST));
    }

    /// The bare digest, signed without the authorizer's name, is some other statement.
    function test_isValid_notByASignatureOverTheDigestItself() public view {
        no(DIGEST, abi.encode(recordOf(kSig), sign(ENCLAVE_KEY, DIGEST)));
    }

    function test_authorizationDigest_namesChainAndAuthorizer() public view {
        assertEq(authorizer.authorizationDigest(DIGEST), money.channelAuthorization(block.chainid, address(authorizer), DIGEST));
    }

    // In which bytes. Nothing of it reverts.

    function test_isValid_notByTheHighTwin() public view {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(ENCLAVE_KEY, authorizer.authorizationDigest(DIGEST));
        bytes memory twin = abi.encodePacked(r, ORDER - uint256(s), uint8(55 - v));
        no(DIGEST, abi.encode(recordOf(kSig), twin));
    }

    function test_isValid_notByASignatureInAnotherForm() public view {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(ENCLAVE_KEY, authorizer.authorizationDigest(DIGEST));
        no(DIGEST, abi.encode(recordOf(kSig), abi.encodePacked(r, s)));
        no(DIGEST, abi.encode(recordOf(kSig), abi.encodePacked(r, s, v, v)));
        no(DIGEST, abi.encode(recordOf(kSig), abi.encodePacked(r, s, v - 27)));
        no(DIGEST, abi.encode(recordOf(kSig), abi.encodePacked(bytes32(0), s, v)));
        no(DIGEST, abi.encode(recordOf(kSig), ""));
    }

    function testFuzz_isValid_notByOtherBytes(bytes calldata signature, bytes32 digest) public view {
        no(digest, signature);
    }

    /// Of the right length, and beginning as a good one.
    function testFuzz_isValid_notByOtherBytesOfTheRightLength(uint16 from, bytes32 seed) public view {
        bytes memory signature = authorization(ENCLAVE_KEY, DIGEST);
        for (uint256 i = bound(from, 0, 448); i < 480; ++i) {
            signature[i] = keccak256(abi.encode(seed, i))[0];
        }
        no(DIGEST, signature);
    }

    function testFuzz_isValid_notWithAFlippedByte(uint256 place, uint8 flip) public view {
        vm.assume(flip != 0);
        bytes memory signature = authorization(ENCLAVE_KEY, DIGEST);
        place = bound(place, 0, signature.length - 1);
        signature[place] ^= bytes1(flip);
        no(DIGEST, signature);
    }

    /// Every bit of every word beside the fuzz: heads, padding and all.
    function test_isValid_notWithAnyByteFlipped() public view {
        bytes memory good = authorization(ENCLAVE_KEY, DIGEST);
        assertEq(good.length, 480);
        for (uint256 i = 0; i < good.length; ++i) {
            good[i] ^= 0x80;
            no(DIGEST, good);
            good[i] ^= 0x80;
        }
        yes(DIGEST, good);
    }

    function test_isValid_notWithBytesMoreOrLess() public view {
        bytes memory good = authorization(ENCLAVE_KEY, DIGEST);
        no(DIGEST, abi.encodePacked(good, bytes1(0)));
        no(DIGEST, abi.encodePacked(good, bytes32(0)));
        bytes memory less = new bytes(479);
        for (uint256 i = 0; i < 479; ++i) {
            less[i] = good[i];
        }
        no(DIGEST, less);
    }

    /// Its work does not grow with its input.
    function test_isValid_costsTheSameForAnySignature() public view {
        bytes memory call = abi.encodeCall(IEnclaveAuthorizer.isValidSignature, (DIGEST, new bytes(100_000)));
        (bool ok, bytes memory answer) = address(authorizer).staticcall{gas: 200_000}(call);
        assertTrue(ok, "answered");
        assertEq(bytes32(abi.decode(answer, (bytes4))), bytes32(NO));
        call = abi.encodeCall(IEnclaveAuthorizer.isValidSignature, (DIGEST, authorization(ENCLAVE_KEY, DIGEST)));
        (ok, answer) = address(authorizer).staticcall{gas: 60_000}(call);
        assertTrue(ok, "answered");
        assertEq(bytes32(abi.decode(answer, (bytes4))), bytes32(YES));
    }

    /// A limit: where no registry is, nothing is answered. Who asks takes that for a no.
    function test_isValid_revertsWithoutARegistry() public {
        authorizer = authorizers.deploy(address(0x4e9), operator, policyId);
        bytes memory signature = authorization(ENCLAVE_KEY, DIGEST);
        vm.expectRevert();
        authorizer.isValidSignature(DIGEST, signature);
    }

    // What it is.

    function test_authorizer_saysItsThreeWords() public view {
        assertEq(authorizer.registry(), address(registry));
        assertEq(authorizer.operator(), operator);
        assertEq(PolicyId.unwrap(authorizer.policyId()), PolicyId.unwrap(policyId));
    }

    function test_authorizer_hasNoCodeBeforeItIsMade() public {
        PolicyId other = goodPolicy();
        address expected = authorizers.authorizerOf(address(registry), operator, other);
        assertEq(expected.code.length, 0);
        assertEq(address(authorizers.deploy(address(registry), operator, other)), expected);
        assertEq(address(authorizers.deploy(address(registry), operator, other)), expected);
        assertTrue(expected.code.length != 0, "made");
    }

    function testFuzz_authorizerOf_followsFromTheFactoryAndTheWords(address registry_, address operator_, bytes32 id) public {
        bytes20 implementation = bytes20(uint160(uint256(keccak256(abi.encodePacked(hex"d694", address(authorizers), hex"01")))));
        assertEq(authorizers.implementation(), address(implementation));
        bytes memory arguments = abi.encodePacked(registry_, operator_, id);
        bytes memory init = abi.encodePacked(
            hex"3d607580600a3d3981f3363d3d373d3d3d363d73", implementation, hex"5af43d82803e903d91602b57fd5bf3", arguments
        );
        bytes32 hash = keccak256(abi.encodePacked(hex"ff", address(authorizers), bytes32(0), keccak256(init)));
        address expected = address(uint160(uint256(hash)));
        assertEq(authorizers.authorizerOf(registry_, operator_, PolicyId.wrap(id)), expected);
        IEnclaveAuthorizer made = authorizers.deploy(registry_, operator_, PolicyId.wrap(id));
        assertEq(address(made), expected);
        assertEq(made.registry(), registry_);
        assertEq(made.operator(), operator_);
        assertEq(PolicyId.unwrap(made.policyId()), id);
    }

    function test_authorizer_theImplementationSaysNothing() public {
        IEnclaveAuthorizer implementation = IEnclaveAuthorizer(authorizers.implementation());
        bytes memory signature = authorization(ENCLAVE_KEY, DIGEST);
        uint256 size = address(implementation).code.length;
        vm.expectRevert(err(Clone.NotAClone.selector, 117, size));
        implementation.isValidSignature(DIGEST, signature);
    }

    /// Two factories made alike are alike; nothing depends on who made them.
    function test_factory_isTheSameWhoeverMakesIt() public {
        vm.prank(address(0x57a46e4));
        AuthorizerFactory other = new AuthorizerFactory();
        assertTrue(other.implementation() != authorizers.implementation(), "its own implementation");
        assertEq(other.implementation().codehash, authorizers.implementation().codehash);
    }

    /// Renews the key so often that it never lapses before `end`.
    function renewUntil(uint256 end) private {
        uint64 validUntil = registry.stateOf(kSig).validUntil;
        while (validUntil < end) {
            vm.warp(validUntil);
            renewWith(kSig, validUntil);
            validUntil = registry.stateOf(kSig).validUntil;
        }
    }
}
