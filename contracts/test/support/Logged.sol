// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Checkpoint, PolicyId, ReceiptWords, Record} from "../../src/Types.sol";
import {IProofs} from "../../src/interfaces/IProofs.sol";
import {Fixture} from "./Fixture.sol";
import {RefTree} from "./RefTree.sol";

/// One log for each key, which a test fills, anchors and observes, and proofs about the receipts in it.
abstract contract Logged is Fixture {
    /// A receipt in a log. `index` is its place, which is its sequence number unless a test signs another.
    struct Entry {
        uint256 key;
        uint64 index;
        ReceiptWords receipt;
        bytes signature;
    }

    /// Leaves before and after the receipt that `logged` logs.
    uint64 internal constant BEFORE = 13;
    uint64 internal constant AFTER = 7;
    uint64 internal constant SIZE = BEFORE + 1 + AFTER;

    /// What `anchored` proofs under; a test sets it.
    PolicyId internal policyId;

    mapping(address kSig => bytes32[]) private _leaves;

    /// A good receipt of this key, finished at this moment.
    function receiptOf(uint256 enclaveKey, uint64 finishedMs) internal view returns (ReceiptWords memory receipt) {
        Record memory record = recordOf(vm.addr(enclaveKey));
        receipt = goodReceipt();
        receipt.manifestHash = record.manifestHash;
        receipt.logId = record.logId;
        receipt.work.startedAt = finishedMs;
        receipt.work.finishedAt = finishedMs;
    }

    /// Leaves that nobody asks about.
    function fill(uint256 enclaveKey, uint256 count) internal {
        bytes32[] storage leaves = _leaves[vm.addr(enclaveKey)];
        for (uint256 i = 0; i < count; ++i) {
            leaves.push(RefTree.leafHash(keccak256(abi.encode(enclaveKey, leaves.length))));
        }
    }

    /// Gives the receipt the next sequence number, signs and logs it.
    function append(uint256 enclaveKey, ReceiptWords memory receipt) internal returns (Entry memory) {
        receipt.sequence = uint64(_leaves[vm.addr(enclaveKey)].length);
        return appendAsIs(enclaveKey, receipt);
    }

    /// Signs and logs a receipt whatever sequence number it says.
    function appendAsIs(uint256 enclaveKey, ReceiptWords memory receipt) internal returns (Entry memory entry) {
        bytes32[] storage leaves = _leaves[vm.addr(enclaveKey)];
        entry.key = enclaveKey;
        entry.index = uint64(leaves.length);
        entry.receipt = receipt;
        entry.signature = sign(enclaveKey, harness.receipt(receipt));
        leaves.push(leafHashOf(receipt, entry.signature));
    }

    function logSize(uint256 enclaveKey) internal view returns (uint64) {
        return uint64(_leaves[vm.addr(enclaveKey)].length);
    }

    /// The leaf hashes of the whole log.
    function logLeaves(uint256 enclaveKey) internal view returns (bytes32[] memory) {
        return _leaves[vm.addr(enclaveKey)];
    }

    function logRoot(uint256 enclaveKey, uint64 size) internal view returns (bytes32) {
        return RefTree.root(_leaves[vm.addr(enclaveKey)], 0, size);
    }

    /// The proof from the last anchor to the tree of this size.
    function logProof(uint256 enclaveKey, uint64 size) internal view returns (bytes32[] memory) {
        uint64 last = lastOf[vm.addr(enclaveKey)].size;
        return last == 0 ? new bytes32[](0) : RefTree.proof(last, _leaves[vm.addr(enclaveKey)], size);
    }

    /// Anchors the whole log.
    function anchorLog(uint256 enclaveKey) internal {
        anchorLeaves(enclaveKey, _leaves[vm.addr(enclaveKey)], logSize(enclaveKey));
    }

    /// Observes the whole log.
    function observeLog(uint256 enclaveKey) internal {
        uint64 size = logSize(enclaveKey);
        (Checkpoint memory words, bytes memory signature) = checkpoint(enclaveKey, size, logRoot(enclaveKey, size));
        registry.observe(recordOf(vm.addr(enclaveKey)), words, signature);
    }

    /// A good proof about the receipt, in the tree of this size that was anchored then.
    function proofIn(Entry memory entry, uint64 size, uint64 anchoredAt, PolicyId policy)
        internal
        view
        returns (IProofs.ReceiptProof memory c)
    {
        c.receipt = entry.receipt;
        c.signature = entry.signature;
        c.logSalt = LOG_SALT;
        c.record = recordOf(vm.addr(entry.key));
        c.size = size;
        c.anchoredAt = anchoredAt;
        if (size != 0) c.inclusion = pathIn(entry, size);
        c.policyId = policy;
        c.schemes = 1 << 1;
    }

    /// A good proof about the receipt, in the tree of this size that was observed, and in no other.
    function observedIn(Entry memory entry, uint64 size, PolicyId policy) internal view returns (IProofs.ReceiptProof memory c) {
        c = proofIn(entry, 0, 0, policy);
        (c.observedSize, c.observedInclusion) = (size, pathIn(entry, size));
        c.acceptsObservation = true;
    }

    function pathIn(Entry memory entry, uint64 size) internal view returns (bytes32[] memory) {
        return RefTree.path(entry.index, _leaves[vm.addr(entry.key)], 0, size);
    }

    /// A good proof about the receipt, in the last anchored tree of its log.
    function proofOf(Entry memory entry, PolicyId policy) internal view returns (IProofs.ReceiptProof memory) {
        Last memory last = lastOf[vm.addr(entry.key)];
        return proofIn(entry, last.size, last.anchoredAt, policy);
    }

    /// Logs a receipt between others; the whole log is anchored.
    function logged(ReceiptWords memory receipt) internal returns (Entry memory entry) {
        fill(ENCLAVE_KEY, BEFORE);
        entry = append(ENCLAVE_KEY, receipt);
        fill(ENCLAVE_KEY, AFTER);
        anchorLog(ENCLAVE_KEY);
    }

    function anchored(ReceiptWords memory receipt) internal returns (IProofs.ReceiptProof memory) {
        return proofOf(logged(receipt), policyId);
    }

    /// Goes to a moment, a block every two seconds. By a moment and not by a duration: the compiler may read `block.timestamp` when
    /// it is used.
    function goTo(uint64 time) internal {
        pass(time - block.timestamp);
    }

    function refused(IProofs.ReceiptProof memory c, bytes memory reason) internal {
        vm.expectRevert(reason);
        registry.prove(c);
    }

    /// For refusals whose arguments are roots that no test should work out again.
    function refusedWith(IProofs.ReceiptProof memory c, bytes4 selector) internal {
        vm.expectPartialRevert(selector);
        registry.prove(c);
    }

    function notAnchored(address signer, uint64 size, bytes32 root) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(IProofs.NotAnchored.selector, signer, size, root);
    }
}
