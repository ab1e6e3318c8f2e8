// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {PolicyId} from "../../src/Types.sol";
import {IEnclaveAuthorizer} from "../../src/interfaces/IEnclaveAuthorizer.sol";
import {IWorkloadPolicy} from "../../src/interfaces/IWorkloadPolicy.sol";
import {AuthorizerFactory} from "../../src/money/AuthorizerFactory.sol";
import {Fixture} from "./Fixture.sol";
import {MoneyHarness} from "./MoneyHarness.sol";

/// A registered key, a policy whose owner is the test, and the authorizer of both.
abstract contract Authorizing is Fixture {
    bytes4 internal constant YES = 0x1626ba7e;
    bytes4 internal constant NO = 0xffffffff;

    AuthorizerFactory internal authorizers;
    IEnclaveAuthorizer internal authorizer;
    PolicyId internal policyId;
    MoneyHarness internal money = new MoneyHarness();

    function setUp() public virtual override {
        super.setUp();
        registerGood(ENCLAVE_KEY);
        policyId = listing(address(this), 0);
        authorizers = new AuthorizerFactory{salt: 0}();
        authorizer = authorizers.deploy(address(registry), operator, policyId);
    }

    /// A policy that lists the good workload from a moment on.
    function listing(address owner, uint64 from) internal returns (PolicyId) {
        IWorkloadPolicy.FirstListing[] memory listings = new IWorkloadPolicy.FirstListing[](1);
        listings[0] = IWorkloadPolicy.FirstListing({listedId: listedId(), from: from});
        return policies.create(termsOf(owner, 0), listings, new IWorkloadPolicy.FirstOperator[](0));
    }

    /// What a registered enclave hands out for a digest.
    function authorization(uint256 enclaveKey, bytes32 digest) internal view returns (bytes memory) {
        return abi.encode(recordOf(vm.addr(enclaveKey)), sign(enclaveKey, authorizer.authorizationDigest(digest)));
    }

    function yes(bytes32 digest, bytes memory signature) internal view {
        assertEq(bytes32(authorizer.isValidSignature(digest, signature)), bytes32(YES));
    }

    function no(bytes32 digest, bytes memory signature) internal view {
        assertEq(bytes32(authorizer.isValidSignature(digest, signature)), bytes32(NO));
    }
}
