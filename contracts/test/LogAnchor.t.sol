// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Checkpoint, LogId} from "../src/Types.sol";
import {ILogAnchor} from "../src/interfaces/ILogAnchor.sol";
import {Merkle9162} from "../src/lib/Merkle9162.sol";
import {Signatures} from "../src/lib/Signatures.sol";
import {Fixture} from "./support/Fixture.sol";
import {RefTree} from "./support/RefTree.sol";

contract LogAnchorTest is Fixture {
    LogId private logId;
    bytes32[] private leaves;

    function setUp() public override {
        super.setUp();
        logId = registerGood(ENCLAVE_KEY);
        leaves = RefTree.someLeaves(40, 9);
    }

    function test_anchor_keepsEveryAnchor() public {
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        pass(60);
        anchorLeaves(ENCLAVE_KEY, leaves, 40);
        (bytes32 root, uint64 anchoredAt) = anchors.rootAt(logId, 3);
        assertEq(root, RefTree.root(leaves, 0, 3));
        assertEq(anchoredAt, START);
        (root, anchoredAt) = anchors.rootAt(logId, 40);
        assertEq(root, RefTree.root(leaves, 0, 40));
        assertEq(anchoredAt, START + 60);
        (uint64 size, bytes32 latestRoot, uint64 latestAt) = anchors.latest(logId);
        assertEq(size, 40);
        assertEq(latestRoot, root);
        assertEq(latestAt, anchoredAt);
    }

    function test_rootAt_isZeroForWhatIsNotAnchored() public {
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        (bytes32 root, uint64 anchoredAt) = anchors.rootAt(logId, 2);
        assertTrue(root == 0 && anchoredAt == 0, "size between");
        (root, anchoredAt) = anchors.rootAt(LogId.wrap("unknown"), 3);
        assertTrue(root == 0 && anchoredAt == 0, "unknown log");
        (uint64 size,,) = anchors.latest(LogId.wrap("unknown"));
        assertEq(size, 0);
    }

    function test_anchor_emitsTheSignedCheckpoint() public {
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 3, RefTree.root(leaves, 0, 3));
        vm.expectEmit(true, true, true, true, address(anchors));
        emit ILogAnchor.Anchored(logId, kSig, 3, words.root, words.timestamp, START, signature);
        vm.prank(address(0xa27));
        anchors.anchor(words, signature, new bytes32[](0));
    }

    /// Limit, pinned: a log must be able to end after its key has lapsed, so a lapsed key anchors. Receipts are bounded elsewhere, by
    /// the time they were finished.
    function test_anchor_aLapsedKeyMay() public {
        pass(1 days);
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
    }

    function test_anchor_revertsIfSignerIsNotRegistered() public {
        (Checkpoint memory words,) = checkpoint(ENCLAVE_KEY, 3, "root");
        bytes memory signature = sign(STRANGER_KEY, harness.checkpoint(words));
        refused(words, signature, err(ILogAnchor.SignerNotRegistered.selector, vm.addr(STRANGER_KEY)));
    }

    function test_anchor_revertsIfAnyWordIsChanged() public {
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 3, RefTree.root(leaves, 0, 3));
        words.timestamp ^= 1;
        vm.expectPartialRevert(ILogAnchor.SignerNotRegistered.selector);
        anchors.anchor(words, signature, new bytes32[](0));
    }

    function test_anchor_revertsIfSignatureIsCut() public {
        (Checkpoint memory words,) = checkpoint(ENCLAVE_KEY, 3, "root");
        refused(words, new bytes(64), err(Signatures.SignatureLength.selector, 65, 64));
    }

    function test_anchor_revertsIfSignerIsInvalid() public {
        vm.prank(operator);
        registry.retire(kSig);
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 3, "root");
        refused(words, signature, err(ILogAnchor.SignerInvalid.selector, bytes32(uint256(START))));
    }

    function test_anchor_revertsIfLogIsAnothers() public {
        registerGood(ENCLAVE_KEY + 1);
        (Checkpoint memory words,) = checkpoint(ENCLAVE_KEY, 3, "root");
        bytes memory signature = sign(ENCLAVE_KEY + 1, harness.checkpoint(words));
        bytes32 own = LogId.unwrap(harness.logId(vm.addr(ENCLAVE_KEY + 1), K_LOG));
        refused(words, signature, err(ILogAnchor.WrongLog.selector, own, LogId.unwrap(logId)));
    }

    function test_anchor_revertsIfTreeIsEmpty() public {
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 0, sha256(""));
        refused(words, signature, err(ILogAnchor.EmptyTree.selector));
    }

    function test_anchor_revertsIfSizeDoesNotGrow() public {
        anchorLeaves(ENCLAVE_KEY, leaves, 10);
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 10, "fork");
        refused(words, signature, err(ILogAnchor.SizeNotGreater.selector, 10, 10));
        (words, signature) = checkpoint(ENCLAVE_KEY, 9, RefTree.root(leaves, 0, 9));
        refused(words, signature, err(ILogAnchor.SizeNotGreater.selector, 10, 9));
    }

    function test_anchor_revertsIfFirstHasAProof() public {
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 3, RefTree.root(leaves, 0, 3));
        vm.expectRevert(err(Merkle9162.ProofLength.selector, 0, 1));
        anchors.anchor(words, signature, new bytes32[](1));
    }

    function test_anchor_revertsIfProofIsMissing() public {
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 7, RefTree.root(leaves, 0, 7));
        refused(words, signature, err(Merkle9162.ProofLength.selector, 4, 0));
    }

    /// The log was rewritten below its last anchor, and proves its own new history.
    function test_anchor_revertsIfLogWasRewritten() public {
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        bytes32[] memory forked = leaves;
        forked[1] = "another answer";
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 7, RefTree.root(forked, 0, 7));
        bytes32[] memory proof = RefTree.proof(3, forked, 7);
        bytes memory reason = err(ILogAnchor.NotFromAnchoredRoot.selector, RefTree.root(leaves, 0, 3), RefTree.root(forked, 0, 3));
        vm.expectRevert(reason);
        anchors.anchor(words, signature, proof);
    }

    function test_anchor_revertsIfProofEndsElsewhere() public {
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 7, "another root");
        bytes32[] memory proof = RefTree.proof(3, leaves, 7);
        vm.expectRevert(err(ILogAnchor.NotToSignedRoot.selector, bytes32("another root"), RefTree.root(leaves, 0, 7)));
        anchors.anchor(words, signature, proof);
    }

    /// A fork of any leaf below the anchor is refused, whatever the sizes.
    function testFuzz_anchor_revertsIfAnyAnchoredLeafIsChanged(uint256 first, uint256 second, uint256 changed) public {
        first = bound(first, 1, 39);
        second = bound(second, first + 1, 40);
        anchorLeaves(ENCLAVE_KEY, leaves, uint64(first));
        bytes32[] memory forked = leaves;
        forked[changed % first] ^= bytes32(uint256(1));
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, uint64(second), RefTree.root(forked, 0, second));
        bytes32[] memory proof = RefTree.proof(first, forked, second);
        vm.expectRevert();
        anchors.anchor(words, signature, proof);
    }

    function refused(Checkpoint memory words, bytes memory signature, bytes memory reason) private {
        vm.expectRevert(reason);
        anchors.anchor(words, signature, new bytes32[](0));
    }
}
