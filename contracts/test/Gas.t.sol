// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Checkpoint, Freshness, PolicyId, ReceiptWords, Record, WorkloadId} from "../src/Types.sol";
import {IAttestationVerifier} from "../src/interfaces/IAttestationVerifier.sol";
import {IKeys} from "../src/interfaces/IKeys.sol";
import {IProofs} from "../src/interfaces/IProofs.sol";
import {IWorkloadPolicy} from "../src/interfaces/IWorkloadPolicy.sol";
import {Logged} from "./support/Logged.sol";

/// Says of any evidence what it is told to: what is left is the registry's own gas.
contract FreeVerifier is IAttestationVerifier {
    function verify(bytes calldata, bytes calldata verifierData) external pure returns (Attested memory) {
        return abi.decode(verifierData, (Attested));
    }
}

/// What a whole transaction costs, calldata included. Run with --isolate, which makes each call of a test a transaction.
contract GasTest is Logged {
    event Gas(string what, uint256 gas);

    /// A Nitro document is about this long.
    uint256 private constant EVIDENCE_LENGTH = 4500;
    uint256 private constant TERMS_LENGTH = 700;

    FreeVerifier private free = new FreeVerifier();

    /// The first of its operator and of its workload: three lists begin.
    function test_gas_registerFirstByAFreeVerifier() public {
        IKeys.Submission memory s = freeSubmission(ENCLAVE_KEY);
        registry.register(s);
        measured("register first, evidence of 4500 bytes, free verifier", 376_000);
    }

    function test_gas_registerNextByAFreeVerifier() public {
        registry.register(freeSubmission(ENCLAVE_KEY));
        IKeys.Submission memory s = freeSubmission(ENCLAVE_KEY + 1);
        registry.register(s);
        measured("register next, evidence of 4500 bytes, free verifier", 322_000);
    }

    function test_gas_registerFirstByAQuorumOfOne() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.evidence = noise(EVIDENCE_LENGTH);
        s.termsData = noise(TERMS_LENGTH);
        signAll(s);
        registry.register(s);
        measured("register first, evidence of 4500 bytes, quorum of one", 391_000);
    }

    /// The anchor that a registration lacked is there again.
    function test_gas_link() public {
        registerGood(ENCLAVE_KEY);
        fill(ENCLAVE_KEY, 100);
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY + 1);
        s.manifest.predecessorLog = recordOf(kSig).logId;
        s.manifest.predecessorSize = 100;
        s.manifest.predecessorRoot = logRoot(ENCLAVE_KEY, 100);
        s.predecessor = recordOf(kSig);
        signBoot(s);
        Record memory record = register(s);
        anchorLog(ENCLAVE_KEY);
        registry.link(record, s.manifest, recordOf(kSig), uint64(block.timestamp));
        measured("link", 86_000);
    }

    function test_gas_renewByAFreeVerifier() public {
        register(freeSubmission(ENCLAVE_KEY));
        pass(1 hours);
        bytes memory evidence = noise(EVIDENCE_LENGTH);
        Freshness memory freshness = freshNow();
        bytes memory data = freeAnswer(kSig, recordOf(kSig).manifestHash, freshness);
        registry.renew(recordOf(kSig), evidence, data, freshness);
        measured("renew, evidence of 4500 bytes, free verifier", 227_000);
    }

    function test_gas_renewByAQuorumOfOne() public {
        registerGood(ENCLAVE_KEY);
        pass(1 hours);
        bytes memory evidence = noise(EVIDENCE_LENGTH);
        Freshness memory freshness = freshNow();
        bytes memory data = signedVerdict(goodVerdict(evidence, kSig, recordOf(kSig).manifestHash, freshness));
        registry.renew(recordOf(kSig), evidence, data, freshness);
        measured("renew, evidence of 4500 bytes, quorum of one", 235_000);
    }

    function test_gas_anchorFirst() public {
        registerGood(ENCLAVE_KEY);
        fill(ENCLAVE_KEY, 100);
        anchorLog(ENCLAVE_KEY);
        measured("anchor, first", 73_500);
    }

    function test_gas_anchorSteady() public {
        registerGood(ENCLAVE_KEY);
        fill(ENCLAVE_KEY, 150);
        anchorLog(ENCLAVE_KEY);
        fill(ENCLAVE_KEY, 150);
        anchorLog(ENCLAVE_KEY);
        measured("anchor, 150 to 300", 88_500);
    }

    function test_gas_observe() public {
        registerGood(ENCLAVE_KEY);
        fill(ENCLAVE_KEY, 100);
        observeLog(ENCLAVE_KEY);
        measured("observe", 68_500);
    }

    function test_gas_proveInTreeOf20() public {
        prove(20, 95_000);
    }

    function test_gas_proveInTreeOf32() public {
        prove(32, 109_000);
    }

    function test_gas_anchorAndProve() public {
        registerGood(ENCLAVE_KEY);
        policyId = goodPolicy();
        fill(ENCLAVE_KEY, 150);
        anchorLog(ENCLAVE_KEY);
        Last memory last = lastOf[kSig];
        fill(ENCLAVE_KEY, 70);
        Entry memory entry = append(ENCLAVE_KEY, goodReceipt());
        fill(ENCLAVE_KEY, 79);
        IProofs.ReceiptProof memory c = proofIn(entry, 300, uint64(block.timestamp), policyId);
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 300, logRoot(ENCLAVE_KEY, 300));
        bytes32[] memory consistency = logProof(ENCLAVE_KEY, 300);
        registry.anchorAndProve(words, signature, last.root, last.anchoredAt, consistency, c);
        measured("anchor 150 to 300 and prove", 139_000);
    }

    function test_gas_pin() public {
        bytes memory header = headerOf600Bytes();
        vm.setBlockhash(999, keccak256(header));
        registry.pin(header);
        measured("pin, header of 600 bytes", 90_000);
    }

    function test_gas_createPolicyAndPropose() public {
        registerGood(ENCLAVE_KEY);
        IWorkloadPolicy.FirstListing[] memory listings = new IWorkloadPolicy.FirstListing[](1);
        listings[0].listedId = listedId();
        PolicyId id = policies.create(termsOf(address(this), 0), listings, new IWorkloadPolicy.FirstOperator[](0));
        measured("policy create, one workload", 104_000);
        policies.proposeWorkload(id, harness.listedId(address(quorum), 0, workloadId()), 0);
        measured("policy propose", 54_500);
    }

    function prove(uint256 depth, uint256 ceiling) private {
        registerGood(ENCLAVE_KEY);
        policyId = goodPolicy();
        bytes memory call = abi.encodeCall(registry.prove, (proofInTree(depth)));
        // A call that is not static, so that --isolate makes it a transaction.
        (bool ok,) = address(registry).call(call);
        assertTrue(ok, "proven");
        measured(string.concat("prove, depth ", vm.toString(depth)), ceiling);
    }

    /// A tree of 2^depth leaves that is never built: the proof is made of constants, and the root is what it leads to.
    function proofInTree(uint256 depth) private returns (IProofs.ReceiptProof memory) {
        uint64 size = uint64(1) << uint64(depth);
        ReceiptWords memory receipt = goodReceipt();
        receipt.sequence = uint64(0x5555555555555555) & (size - 1);
        bytes memory signature = sign(ENCLAVE_KEY, harness.receipt(receipt));
        bytes32[] memory path = new bytes32[](depth);
        for (uint256 i = 0; i < depth; ++i) {
            path[i] = keccak256(abi.encode("sibling", i));
        }
        bytes32 root = harness.inclusion(leafHashOf(receipt, signature), receipt.sequence, size, path);
        anchorTree(ENCLAVE_KEY, size, root, new bytes32[](0));
        return goodProof(receipt, size, path, policyId);
    }

    function freeSubmission(uint256 enclaveKey) private returns (IKeys.Submission memory s) {
        s = goodSubmission(enclaveKey);
        s.verifier = address(free);
        s.evidence = noise(EVIDENCE_LENGTH);
        s.termsData = noise(TERMS_LENGTH);
        registeredAs = WorkloadId.wrap("workload");
        signAll(s);
        s.verifierData = freeAnswer(s.manifest.kSig, harness.manifest(s.manifest), s.freshness);
    }

    function freeAnswer(address signer, bytes32 manifestHash, Freshness memory freshness) private view returns (bytes memory) {
        return abi.encode(
            IAttestationVerifier.Attested({
                workloadId: WorkloadId.wrap("workload"),
                attestedHash: harness.attested(signer, manifestHash, harness.freshnessTag(freshness)),
                documentTime: uint64(block.timestamp) - 10
            })
        );
    }

    /// Of block 999, in the form and length of Ethereum's after Prague.
    function headerOf600Bytes() private pure returns (bytes memory header) {
        bytes memory hash = abi.encodePacked(hex"a0", keccak256("hash"));
        header = abi.encodePacked(hash, hash, hex"94", bytes20(keccak256("fee")), hash, hash, hash, hex"b90100", new bytes(256));
        header = abi.encodePacked(header, hex"80", hex"8203e7", hex"83bebc20", hex"83bebc20", hex"84", uint32(START));
        header = abi.encodePacked(hex"f90255", header, hex"b885", noise(128), bytes5("extra"));
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
