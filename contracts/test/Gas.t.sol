// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Checkpoint, Freshness, PolicyId, ReceiptWords} from "../src/Types.sol";
import {IEnclaveRegistry} from "../src/interfaces/IEnclaveRegistry.sol";
import {IQuorumVerifier} from "../src/interfaces/IQuorumVerifier.sol";
import {Fixture} from "./support/Fixture.sol";
import {RefTree} from "./support/RefTree.sol";

/// What a whole transaction costs, calldata included. Run with --isolate, which makes each call of a test a transaction.
contract GasTest is Fixture {
    event Gas(string what, uint256 gas);

    /// A Nitro document is about this long.
    uint256 private constant EVIDENCE_LENGTH = 4500;
    uint256 private constant TERMS_LENGTH = 700;

    function test_gas_register() public {
        IEnclaveRegistry.Submission memory s = realistic();
        registry.register(s);
        measured("register, evidence of 4500 bytes", 460_000);
    }

    function test_gas_registerWithoutEvidenceBytes() public {
        registerGood(ENCLAVE_KEY);
        measured("register, evidence of 43 bytes", 335_000);
    }

    function test_gas_renew() public {
        registerGood(ENCLAVE_KEY);
        pass(1 hours);
        bytes memory evidence = noise(EVIDENCE_LENGTH);
        Freshness memory freshness = freshNow();
        IQuorumVerifier.Verdict memory verdict = goodVerdict(evidence, kSig, registry.enclave(kSig).manifestHash, freshness);
        bytes memory data = signedVerdict(verdict);
        registry.renew(kSig, evidence, data, freshness);
        measured("renew, evidence of 4500 bytes", 225_000);
    }

    function test_gas_anchorFirst() public {
        registerGood(ENCLAVE_KEY);
        anchorLeaves(ENCLAVE_KEY, RefTree.someLeaves(100, 1), 100);
        measured("anchor, first", 115_000);
    }

    function test_gas_anchorSteady() public {
        registerGood(ENCLAVE_KEY);
        bytes32[] memory leaves = RefTree.someLeaves(300, 1);
        anchorLeaves(ENCLAVE_KEY, leaves, 150);
        anchorLeaves(ENCLAVE_KEY, leaves, 300);
        measured("anchor, 150 to 300", 110_000);
    }

    function test_gas_proveInTreeOf20() public {
        prove(20, 110_000);
    }

    function test_gas_proveInTreeOf32() public {
        prove(32, 125_000);
    }

    function test_gas_createPolicyAndPropose() public {
        PolicyId id = policies.create("salt", 0);
        measured("policy create", 60_000);
        policies.proposeWorkload(id, workloadId());
        measured("policy propose", 60_000);
    }

    function prove(uint256 depth, uint256 ceiling) private {
        registerGood(ENCLAVE_KEY);
        bytes memory call = proofInTree(depth, goodPolicy());
        // A call that is not static, so that --isolate makes it a transaction.
        (bool ok,) = address(verifier).call(call);
        assertTrue(ok, "proven");
        measured(string.concat("prove, depth ", vm.toString(depth)), ceiling);
    }

    /// A tree of 2^depth leaves that is never built: the proof is made of constants, and the root is what it leads to.
    function proofInTree(uint256 depth, PolicyId policyId) private returns (bytes memory) {
        uint64 size = uint64(1) << uint64(depth);
        ReceiptWords memory receipt = goodReceipt();
        receipt.sequence = uint64(0x5555555555555555) & (size - 1);
        bytes memory signature = sign(ENCLAVE_KEY, harness.receipt(receipt));
        bytes32[] memory proof = new bytes32[](depth);
        for (uint256 i = 0; i < depth; ++i) {
            proof[i] = keccak256(abi.encode("sibling", i));
        }
        anchorRoot(size, harness.inclusion(leafHashOf(receipt, signature), receipt.sequence, size, proof));
        return abi.encodeCall(verifier.prove, (receipt, signature, LOG_SALT, size, proof, policyId));
    }

    function anchorRoot(uint64 size, bytes32 root) private {
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, size, root);
        anchors.anchor(words, signature, new bytes32[](0));
    }

    function realistic() private returns (IEnclaveRegistry.Submission memory s) {
        s = goodSubmission(ENCLAVE_KEY);
        s.evidence = noise(EVIDENCE_LENGTH);
        s.termsData = noise(TERMS_LENGTH);
        signAll(s);
    }

    function noise(uint256 length) private pure returns (bytes memory out) {
        while (out.length < length) out = abi.encodePacked(out, keccak256(out));
    }

    function measured(string memory what, uint256 ceiling) private {
        uint256 gas = vm.lastCallGas().gasTotalUsed;
        emit Gas(what, gas);
        if (gas > ceiling) revert DiffersIn(what, bytes32(ceiling), bytes32(gas));
    }
}
