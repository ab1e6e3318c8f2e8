// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {TestUSD} from "../src/dev/TestUSD.sol";
import {IEnclaveAuthorizer} from "../src/interfaces/IEnclaveAuthorizer.sol";
import {ForwarderFactory} from "../src/money/ForwarderFactory.sol";
import {Authorizing} from "./support/Authorizing.sol";
import {IBatch, ICollector} from "./support/BatchStandIn.sol";
import {X402} from "./support/X402.sol";

/// Brings a payer's deposit by its allowance.
contract Collector is ICollector {
    function collect(address payer, address token, uint256 amount, bytes32, bytes calldata) external {
        TestUSD(token).transferFrom(payer, msg.sender, amount);
    }
}

/// A payment channel from deposit to payee, through x402's batch settlement: nobody but accepted enclaves moves it.
contract ChannelsTest is Authorizing, X402 {
    uint256 private constant PAYER_KEY = 0x9a7e4;
    uint128 private constant DEPOSIT = 1_000_000;
    IBatch private constant batch = IBatch(BATCH);

    ForwarderFactory private forwarders;
    TestUSD private token;
    address private payer;
    address private receiver;

    function setUp() public override {
        super.setUp();
        placeX402();
        forwarders = new ForwarderFactory{salt: 0}();
        receiver = forwarders.forwarderOf(PAYEE);
        token = new TestUSD();
        payer = vm.addr(PAYER_KEY);
        token.mint(payer, 10 * DEPOSIT);
    }

    function test_channel_paysItsPayee() public {
        IBatch.Channel memory c = opened(authorizer);
        IBatch.Claim[] memory claims = claimed(c, 3000, 2500);
        batch.claimWithSignature(claims, authorization(ENCLAVE_KEY, batch.getClaimBatchDigest(claims)));
        batch.settle(receiver, address(token));
        // The money waits where no code is yet.
        assertEq(token.balanceOf(receiver), 2500);
        assertEq(receiver.code.length, 0);
        vm.prank(vm.addr(STRANGER_KEY));
        forwarders.sweep(PAYEE, address(token));
        assertEq(token.balanceOf(PAYEE), 2500);
    }

    /// Cumulative vouchers: a later claim adds the difference, and the same again adds nothing.
    function test_channel_claimsTheDifference() public {
        IBatch.Channel memory c = opened(authorizer);
        claim(ENCLAVE_KEY, claimed(c, 3000, 2500));
        IBatch.Claim[] memory later = claimed(c, 9000, 9000);
        claim(ENCLAVE_KEY, later);
        claim(ENCLAVE_KEY, later);
        batch.settle(receiver, address(token));
        assertEq(token.balanceOf(receiver), 9000);
    }

    /// Channels outlive reboots.
    function test_channel_isClaimedByTheNextBoot() public {
        IBatch.Channel memory c = opened(authorizer);
        pass(10 days);
        IBatch.Claim[] memory claims = claimed(c, 3000, 3000);
        refuses(ENCLAVE_KEY, claims);
        registerGood(ENCLAVE_KEY + 1);
        claim(ENCLAVE_KEY + 1, claims);
        batch.settle(receiver, address(token));
        assertEq(token.balanceOf(receiver), 3000);
    }

    /// An address without code counts as a key: the authorizer must be made before the first claim. Then the same claim is good.
    function test_channel_isNotClaimedBeforeTheAuthorizerIsMade() public {
        policyId = goodPolicy();
        authorizer = IEnclaveAuthorizer(authorizers.authorizerOf(address(registry), operator, policyId));
        IBatch.Channel memory c = opened(authorizer);
        IBatch.Claim[] memory claims = claimed(c, 3000, 3000);
        bytes32 digest = batch.getClaimBatchDigest(claims);
        bytes32 signed = money.channelAuthorization(block.chainid, address(authorizer), digest);
        bytes memory signature = abi.encode(recordOf(kSig), sign(ENCLAVE_KEY, signed));
        vm.expectRevert(IBatch.InvalidSignature.selector);
        batch.claimWithSignature(claims, signature);
        authorizers.deploy(address(registry), operator, policyId);
        batch.claimWithSignature(claims, signature);
    }

    function test_channel_isNotClaimedByARevokedKey() public {
        IBatch.Channel memory c = opened(authorizer);
        IBatch.Claim[] memory claims = claimed(c, 3000, 3000);
        vm.prank(operator);
        registry.revoke(recordOf(kSig));
        refuses(ENCLAVE_KEY, claims);
    }

    function test_channel_isNotClaimedUnderAPolicyThatRevoked() public {
        IBatch.Channel memory c = opened(authorizer);
        IBatch.Claim[] memory claims = claimed(c, 3000, 3000);
        policies.revokeWorkload(policyId, listedId(), uint64(block.timestamp));
        refuses(ENCLAVE_KEY, claims);
    }

    /// Neither operator nor payee nor enclave is a party of the channel: the two contracts are, and they call nothing.
    function test_channel_isNotClaimedByAnyKeyAlone() public {
        IBatch.Channel memory c = opened(authorizer);
        IBatch.Claim[] memory claims = claimed(c, 3000, 3000);
        address[4] memory others = [operator, PAYEE, kSig, vm.addr(STRANGER_KEY)];
        for (uint256 i = 0; i < others.length; ++i) {
            vm.prank(others[i]);
            vm.expectRevert(IBatch.NotAuthorizedToClaim.selector);
            batch.claim(claims);
            vm.prank(others[i]);
            vm.expectRevert(IBatch.NotAuthorizedToRefund.selector);
            batch.refund(c, 1);
        }
        bytes memory bare = sign(ENCLAVE_KEY, batch.getClaimBatchDigest(claims));
        vm.expectRevert(IBatch.InvalidSignature.selector);
        batch.claimWithSignature(claims, bare);
    }

    /// The batch contract is no token: a forwarder that is told to sweep it says nothing that it understands.
    function test_forwarder_cannotBeMadeToClaim() public {
        opened(authorizer);
        forwarders.deploy(PAYEE);
        vm.expectRevert();
        forwarders.sweep(PAYEE, BATCH);
    }

    /// An authorization is for one list of claims.
    function test_channel_authorizationIsNotForOtherClaims() public {
        IBatch.Channel memory c = opened(authorizer);
        IBatch.Claim[] memory claims = claimed(c, 3000, 2500);
        bytes memory signature = authorization(ENCLAVE_KEY, batch.getClaimBatchDigest(claims));
        claims[0].totalClaimed = 3000;
        vm.expectRevert(IBatch.InvalidSignature.selector);
        batch.claimWithSignature(claims, signature);
    }

    /// Measured code decides how much, the payer how much at most.
    function test_channel_isNotClaimedAboveTheVoucher() public {
        IBatch.Channel memory c = opened(authorizer);
        IBatch.Claim[] memory claims = claimed(c, 3000, 3001);
        bytes memory signature = authorization(ENCLAVE_KEY, batch.getClaimBatchDigest(claims));
        vm.expectRevert(IBatch.ClaimExceedsCeiling.selector);
        batch.claimWithSignature(claims, signature);
    }

    function test_channel_refundsByAnEnclavesWord() public {
        IBatch.Channel memory c = opened(authorizer);
        bytes32 id = batch.getChannelId(c);
        bytes32 digest = batch.getRefundDigest(id, 0, DEPOSIT);
        bytes memory signature = authorization(ENCLAVE_KEY, digest);
        vm.expectRevert(IBatch.InvalidSignature.selector);
        batch.refundWithSignature(c, DEPOSIT - 1, 0, signature);
        batch.refundWithSignature(c, DEPOSIT, 0, signature);
        assertEq(token.balanceOf(payer), 10 * DEPOSIT);
        vm.expectRevert(IBatch.InvalidRefundNonce.selector);
        batch.refundWithSignature(c, DEPOSIT, 0, signature);
    }

    function opened(IEnclaveAuthorizer by) private returns (IBatch.Channel memory c) {
        c = IBatch.Channel({
            payer: payer,
            payerAuthorizer: payer,
            receiver: receiver,
            receiverAuthorizer: address(by),
            token: address(token),
            withdrawDelay: 1 days,
            salt: "salt"
        });
        Collector collector = new Collector();
        vm.prank(payer);
        token.approve(address(collector), DEPOSIT);
        batch.deposit(c, DEPOSIT, address(collector), "");
    }

    /// One claim of `total` on a voucher over `maximum`.
    function claimed(IBatch.Channel memory c, uint128 maximum, uint128 total) private view returns (IBatch.Claim[] memory claims) {
        claims = new IBatch.Claim[](1);
        claims[0].voucher = IBatch.Voucher({channel: c, maxClaimableAmount: maximum});
        claims[0].signature = sign(PAYER_KEY, batch.getVoucherDigest(batch.getChannelId(c), maximum));
        claims[0].totalClaimed = total;
    }

    function claim(uint256 enclaveKey, IBatch.Claim[] memory claims) private {
        batch.claimWithSignature(claims, authorization(enclaveKey, batch.getClaimBatchDigest(claims)));
    }

    function refuses(uint256 enclaveKey, IBatch.Claim[] memory claims) private {
        bytes memory signature = authorization(enclaveKey, batch.getClaimBatchDigest(claims));
        vm.expectRevert(IBatch.InvalidSignature.selector);
        batch.claimWithSignature(claims, signature);
    }
}
