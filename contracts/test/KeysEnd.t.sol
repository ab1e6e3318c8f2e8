// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {KeyStates, KeyStatus} from "../src/KeyState.sol";
import {Record} from "../src/Types.sol";
import {IKeys} from "../src/interfaces/IKeys.sol";
import {Signatures} from "../src/lib/Signatures.sol";
import {KeysFixture} from "./support/KeysFixture.sol";

/// How an operator ends a key: with notice, or at once. And what fits into the one slot of a key.
contract KeysEndTest is KeysFixture {
    bytes32 private constant RETIRE = keccak256("Retire(address kSig,address registry,uint256 chainId)");
    bytes32 private constant REVOKE = keccak256("Revoke(address kSig,address registry,uint256 chainId)");

    function setUp() public override {
        super.setUp();
        registerGood(ENCLAVE_KEY);
        vm.warp(START + 60);
        vm.roll(1030);
    }

    // Retirement.

    function test_retire_endsTheKeyAfterTheNotice() public {
        KeyStatus memory expected = registry.stateOf(kSig);
        expected.invalidFrom = START + 60 + 1 hours;
        retire();
        assertState(expected);
    }

    function test_retire_emitsItsEnd() public {
        vm.expectEmit(true, true, true, true, address(registry));
        emit IKeys.Retired(kSig, operator, START + 60 + 1 hours);
        retire();
    }

    /// A key whose documents are over can still be ended.
    function test_retire_endsALapsedKey() public {
        vm.warp(START + 10 days);
        retire();
        assertEq(registry.stateOf(kSig).invalidFrom, START + 10 days + 1 hours);
    }

    function test_retire_revertsIfSentByAnotherThanTheOperator() public {
        vm.expectRevert(err(IKeys.NotTheOperator.selector, operator, address(this)));
        registry.retire(recordOf(kSig));
    }

    /// The enclave cannot end itself: its host could make it.
    function test_retire_revertsIfSentByTheKeyItself() public {
        vm.prank(kSig);
        vm.expectRevert(err(IKeys.NotTheOperator.selector, operator, kSig));
        registry.retire(recordOf(kSig));
    }

    function test_retire_revertsIfRegistrarSends() public {
        vm.prank(vm.addr(REGISTRAR_KEY));
        vm.expectRevert(err(IKeys.NotTheOperator.selector, operator, vm.addr(REGISTRAR_KEY)));
        registry.retire(recordOf(kSig));
    }

    /// An end cannot be moved.
    function test_retire_revertsIfRetired() public {
        retire();
        vm.warp(START + 120);
        vm.prank(operator);
        vm.expectRevert(err(IKeys.AlreadyRetired.selector, bytes32(uint256(START + 60 + 1 hours))));
        registry.retire(recordOf(kSig));
    }

    function test_retire_revertsIfNotRegistered() public {
        Record memory record = recordOf(kSig);
        record.kSig = vm.addr(STRANGER_KEY);
        vm.prank(operator);
        vm.expectRevert(err(IKeys.NotRegistered.selector, record.kSig));
        registry.retire(record);
    }

    /// A stranger cannot make itself the operator.
    function test_retire_revertsIfTheRecordIsForged() public {
        Record memory record = recordOf(kSig);
        record.operator = address(this);
        vm.expectRevert(err(IKeys.WrongRecord.selector, registry.recordHash(kSig), keccak256(abi.encode(record))));
        registry.retire(record);
    }

    function test_retire_revertsIfTheOperatorIsOfAnotherKey() public {
        Record memory record = register(submissionOf(ENCLAVE_KEY + 1, STRANGER_KEY, "any"));
        vm.prank(operator);
        vm.expectRevert(err(IKeys.NotTheOperator.selector, vm.addr(STRANGER_KEY), operator));
        registry.retire(record);
    }

    function test_retireWithSignature_anyoneMayCarryIt() public {
        vm.expectEmit(true, true, true, true, address(registry));
        emit IKeys.Retired(kSig, operator, START + 60 + 1 hours);
        registry.retireWithSignature(recordOf(kSig), signedAct(OPERATOR_KEY, RETIRE, kSig, address(registry), block.chainid));
        assertEq(registry.stateOf(kSig).invalidFrom, START + 60 + 1 hours);
    }

    function test_retireWithSignature_revertsIfRetired() public {
        retire();
        bytes memory signature = signedAct(OPERATOR_KEY, RETIRE, kSig, address(registry), block.chainid);
        vm.expectRevert(err(IKeys.AlreadyRetired.selector, bytes32(uint256(START + 60 + 1 hours))));
        registry.retireWithSignature(recordOf(kSig), signature);
    }

    function test_retireWithSignature_revertsIfTheKeySigned() public {
        bytes memory signature = signedAct(ENCLAVE_KEY, RETIRE, kSig, address(registry), block.chainid);
        vm.expectRevert(err(IKeys.NotTheOperator.selector, operator, kSig));
        registry.retireWithSignature(recordOf(kSig), signature);
    }

    function test_retireWithSignature_revertsIfSignedForAnotherChain() public {
        refusedRetirement(signedAct(OPERATOR_KEY, RETIRE, kSig, address(registry), 1));
    }

    function test_retireWithSignature_revertsIfSignedForAnotherRegistry() public {
        refusedRetirement(signedAct(OPERATOR_KEY, RETIRE, kSig, address(policies), block.chainid));
    }

    function test_retireWithSignature_revertsIfSignedForAnotherKey() public {
        refusedRetirement(signedAct(OPERATOR_KEY, RETIRE, vm.addr(STRANGER_KEY), address(registry), block.chainid));
    }

    function test_retireWithSignature_revertsIfSignedAsARevocation() public {
        refusedRetirement(signedAct(OPERATOR_KEY, REVOKE, kSig, address(registry), block.chainid));
    }

    function test_retireWithSignature_revertsIfTheSignatureIsCut() public {
        vm.expectRevert(err(Signatures.SignatureLength.selector, 65, 64));
        registry.retireWithSignature(recordOf(kSig), new bytes(64));
    }

    /// Who carries a signature is nobody: the operator as sender does not make a stranger's signature good.
    function test_retireWithSignature_revertsIfTheOperatorCarriesAStrangersSignature() public {
        bytes memory signature = signedAct(STRANGER_KEY, RETIRE, kSig, address(registry), block.chainid);
        vm.prank(operator);
        vm.expectRevert(err(IKeys.NotTheOperator.selector, operator, vm.addr(STRANGER_KEY)));
        registry.retireWithSignature(recordOf(kSig), signature);
    }

    // Revocation.

    function test_revoke_endsTheKeyNow() public {
        KeyStatus memory expected = registry.stateOf(kSig);
        expected.revokedAt = START + 60;
        revoke();
        assertState(expected);
    }

    function test_revoke_emitsItsTime() public {
        vm.expectEmit(true, true, true, true, address(registry));
        emit IKeys.Revoked(kSig, operator, START + 60);
        revoke();
    }

    function test_revoke_afterARetirementKeepsBoth() public {
        KeyStatus memory expected = registry.stateOf(kSig);
        expected.invalidFrom = START + 60 + 1 hours;
        expected.revokedAt = START + 90;
        retire();
        vm.warp(START + 90);
        revoke();
        assertState(expected);
    }

    function test_revoke_beforeARetirementKeepsBoth() public {
        KeyStatus memory expected = registry.stateOf(kSig);
        expected.invalidFrom = START + 90 + 1 hours;
        expected.revokedAt = START + 60;
        revoke();
        vm.warp(START + 90);
        retire();
        assertState(expected);
    }

    function test_revoke_revertsIfSentByAnotherThanTheOperator() public {
        vm.expectRevert(err(IKeys.NotTheOperator.selector, operator, address(this)));
        registry.revoke(recordOf(kSig));
    }

    function test_revoke_revertsIfSentByTheKeyItself() public {
        vm.prank(kSig);
        vm.expectRevert(err(IKeys.NotTheOperator.selector, operator, kSig));
        registry.revoke(recordOf(kSig));
    }

    function test_revoke_revertsIfRevoked() public {
        revoke();
        vm.warp(START + 120);
        vm.prank(operator);
        vm.expectRevert(err(IKeys.AlreadyRevoked.selector, bytes32(uint256(START + 60))));
        registry.revoke(recordOf(kSig));
    }

    function test_revoke_revertsIfNotRegistered() public {
        Record memory record = recordOf(kSig);
        record.kSig = vm.addr(STRANGER_KEY);
        vm.prank(operator);
        vm.expectRevert(err(IKeys.NotRegistered.selector, record.kSig));
        registry.revoke(record);
    }

    function test_revoke_revertsIfTheRecordIsForged() public {
        Record memory record = recordOf(kSig);
        record.operator = address(this);
        vm.expectRevert(err(IKeys.WrongRecord.selector, registry.recordHash(kSig), keccak256(abi.encode(record))));
        registry.revoke(record);
    }

    function test_revokeWithSignature_anyoneMayCarryIt() public {
        vm.expectEmit(true, true, true, true, address(registry));
        emit IKeys.Revoked(kSig, operator, START + 60);
        registry.revokeWithSignature(recordOf(kSig), signedAct(OPERATOR_KEY, REVOKE, kSig, address(registry), block.chainid));
        assertEq(registry.stateOf(kSig).revokedAt, START + 60);
    }

    function test_revokeWithSignature_revertsIfRevoked() public {
        revoke();
        bytes memory signature = signedAct(OPERATOR_KEY, REVOKE, kSig, address(registry), block.chainid);
        vm.expectRevert(err(IKeys.AlreadyRevoked.selector, bytes32(uint256(START + 60))));
        registry.revokeWithSignature(recordOf(kSig), signature);
    }

    function test_revokeWithSignature_revertsIfTheKeySigned() public {
        bytes memory signature = signedAct(ENCLAVE_KEY, REVOKE, kSig, address(registry), block.chainid);
        vm.expectRevert(err(IKeys.NotTheOperator.selector, operator, kSig));
        registry.revokeWithSignature(recordOf(kSig), signature);
    }

    function test_revokeWithSignature_revertsIfSignedForAnotherChain() public {
        refusedRevocation(signedAct(OPERATOR_KEY, REVOKE, kSig, address(registry), 1));
    }

    function test_revokeWithSignature_revertsIfSignedForAnotherRegistry() public {
        refusedRevocation(signedAct(OPERATOR_KEY, REVOKE, kSig, address(policies), block.chainid));
    }

    function test_revokeWithSignature_revertsIfSignedForAnotherKey() public {
        refusedRevocation(signedAct(OPERATOR_KEY, REVOKE, vm.addr(STRANGER_KEY), address(registry), block.chainid));
    }

    function test_revokeWithSignature_revertsIfSignedAsARetirement() public {
        refusedRevocation(signedAct(OPERATOR_KEY, RETIRE, kSig, address(registry), block.chainid));
    }

    function test_revokeWithSignature_revertsIfTheSignatureIsCut() public {
        vm.expectRevert(err(Signatures.SignatureLength.selector, 65, 64));
        registry.revokeWithSignature(recordOf(kSig), new bytes(64));
    }

    // The slot: every field where it belongs, and nothing truncated.

    /// Eight different values, each read back: no field is in another's place.
    function test_stateOf_showsEveryFieldInItsPlace() public {
        vm.roll(1040);
        renewGood(kSig);
        vm.roll(1050);
        anchorTree(ENCLAVE_KEY, 77, "root", new bytes32[](0));
        vm.warp(START + 70);
        retire();
        vm.warp(START + 80);
        revoke();
        KeyStatus memory expected = KeyStatus({
            validUntil: START + 50 + DOCUMENT_LIFE,
            invalidFrom: START + 70 + 1 hours,
            revokedAt: START + 80,
            forked: false,
            lastSize: 77,
            registeredBlock: 1000,
            renewedBlock: 1040,
            anchoredBlock: 1050
        });
        assertState(expected);
    }

    function test_register_revertsIfTheEndDoesNotFit() public {
        vm.warp(2 ** 36);
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY + 1);
        refused(s, err(KeyStates.FieldOverflow.selector, 2 ** 36 - 1, 2 ** 36 - 10 + 2 hours));
    }

    function test_register_takesTheGreatestEndThatFits() public {
        vm.warp(2 ** 36 - 1 + 10 - 2 hours);
        registerGood(ENCLAVE_KEY + 1);
        assertEq(registry.stateOf(vm.addr(ENCLAVE_KEY + 1)).validUntil, 2 ** 36 - 1);
        assertEq(registry.stateOf(vm.addr(ENCLAVE_KEY + 1)).invalidFrom, 0);
    }

    function test_register_revertsIfTheBlockDoesNotFit() public {
        vm.roll(2 ** 35);
        refused(goodSubmission(ENCLAVE_KEY + 1), err(KeyStates.FieldOverflow.selector, 2 ** 35 - 1, 2 ** 35));
    }

    function test_register_takesTheGreatestBlockThatFits() public {
        vm.roll(2 ** 35 - 1);
        registerGood(ENCLAVE_KEY + 1);
        assertEq(registry.stateOf(vm.addr(ENCLAVE_KEY + 1)).registeredBlock, 2 ** 35 - 1);
        assertEq(registry.stateOf(vm.addr(ENCLAVE_KEY + 1)).renewedBlock, 2 ** 35 - 1);
    }

    function test_retire_revertsIfTheEndDoesNotFit() public {
        vm.warp(2 ** 36 - 1 hours);
        vm.prank(operator);
        vm.expectRevert(err(KeyStates.FieldOverflow.selector, 2 ** 36 - 1, 2 ** 36));
        registry.retire(recordOf(kSig));
    }

    function test_retire_takesTheGreatestEndThatFits() public {
        vm.warp(2 ** 36 - 1 hours - 1);
        KeyStatus memory expected = registry.stateOf(kSig);
        expected.invalidFrom = 2 ** 36 - 1;
        retire();
        assertState(expected);
    }

    function test_revoke_revertsIfTheTimeDoesNotFit() public {
        vm.warp(2 ** 36);
        vm.prank(operator);
        vm.expectRevert(err(KeyStates.FieldOverflow.selector, 2 ** 36 - 1, 2 ** 36));
        registry.revoke(recordOf(kSig));
    }

    function test_revoke_takesTheGreatestTimeThatFits() public {
        vm.warp(2 ** 36 - 1);
        KeyStatus memory expected = registry.stateOf(kSig);
        expected.revokedAt = 2 ** 36 - 1;
        revoke();
        assertState(expected);
    }

    function retire() private {
        vm.prank(operator);
        registry.retire(recordOf(kSig));
    }

    function revoke() private {
        vm.prank(operator);
        registry.revoke(recordOf(kSig));
    }

    /// An act in Candor's domain, written out.
    function actDigest(bytes32 typehash, address key, address registry_, uint256 chainId) private pure returns (bytes32) {
        bytes32 domain =
            keccak256(abi.encode(keccak256("EIP712Domain(string name,string version)"), keccak256("Candor"), keccak256("2")));
        return keccak256(abi.encodePacked(hex"1901", domain, keccak256(abi.encode(typehash, key, registry_, chainId))));
    }

    function signedAct(uint256 signer, bytes32 typehash, address key, address registry_, uint256 chainId)
        private
        pure
        returns (bytes memory)
    {
        return sign(signer, actDigest(typehash, key, registry_, chainId));
    }

    function refusedRetirement(bytes memory signature) private {
        address recovered = harness.recover(actDigest(RETIRE, kSig, address(registry), block.chainid), signature);
        vm.expectRevert(err(IKeys.NotTheOperator.selector, operator, recovered));
        registry.retireWithSignature(recordOf(kSig), signature);
    }

    function refusedRevocation(bytes memory signature) private {
        address recovered = harness.recover(actDigest(REVOKE, kSig, address(registry), block.chainid), signature);
        vm.expectRevert(err(IKeys.NotTheOperator.selector, operator, recovered));
        registry.revokeWithSignature(recordOf(kSig), signature);
    }

    /// Both views say the same.
    function assertState(KeyStatus memory expected) private view {
        assertEq(keccak256(abi.encode(registry.stateOf(kSig))), keccak256(abi.encode(expected)), "stateOf");
        assertEq(keccak256(abi.encode(registry.statusOf(recordOf(kSig)))), keccak256(abi.encode(expected)), "statusOf");
    }
}
