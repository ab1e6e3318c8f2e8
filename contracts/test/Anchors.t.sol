// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {KeyStates, KeyStatus} from "../src/KeyState.sol";
import {Checkpoint, LogId, Record} from "../src/Types.sol";
import {IAnchors} from "../src/interfaces/IAnchors.sol";
import {IKeys} from "../src/interfaces/IKeys.sol";
import {Merkle9162} from "../src/lib/Merkle9162.sol";
import {Signatures} from "../src/lib/Signatures.sol";
import {Fixture} from "./support/Fixture.sol";
import {RefTree} from "./support/RefTree.sol";

/// Anchors: each continues the one before. Observations and forks: Observations.t.sol.
contract AnchorsTest is Fixture {
    bytes32[] private leaves;
    bytes32[] private none;

    function setUp() public override {
        super.setUp();
        registerGood(ENCLAVE_KEY);
        leaves = RefTree.someLeaves(40, 9);
    }

    // What an anchor leaves behind.

    function test_anchor_keepsTheFirst() public {
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        assertTrue(registry.anchored(kSig, 3, root(3), START), "anchored");
    }

    function test_anchor_keepsEveryAnchor() public {
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        vm.warp(START + 60);
        anchorLeaves(ENCLAVE_KEY, leaves, 40);
        assertTrue(registry.anchored(kSig, 3, root(3), START), "the first");
        assertTrue(registry.anchored(kSig, 40, root(40), START + 60), "the second");
    }

    function test_anchor_setsSizeAndBlockOnly() public {
        KeyStatus memory expected = registry.stateOf(kSig);
        expected.lastSize = 3;
        expected.anchoredBlock = 1234;
        vm.roll(1234);
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        assertEq(keccak256(abi.encode(registry.stateOf(kSig))), keccak256(abi.encode(expected)));
    }

    function test_anchor_emitsTheSignedCheckpoint() public {
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 3, root(3));
        vm.expectEmit(true, true, true, true, address(registry));
        emit IAnchors.Anchored(kSig, 3, words.root, START * 1000, START, 0, signature);
        registry.anchor(recordOf(kSig), words, signature, 0, 0, none);
    }

    function test_anchor_anyoneMaySend() public {
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 3, root(3));
        vm.prank(address(0xa27));
        registry.anchor(recordOf(kSig), words, signature, 0, 0, none);
        assertEq(registry.stateOf(kSig).lastSize, 3);
    }

    /// A list that is read backwards: each names the block of the one before.
    function test_anchor_emitsTheBlockOfTheAnchorBefore() public {
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        vm.roll(1500);
        anchorLeaves(ENCLAVE_KEY, leaves, 7);
        vm.roll(1700);
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 9, root(9));
        bytes32[] memory proof = RefTree.proof(7, leaves, 9);
        vm.expectEmit(true, true, true, true, address(registry));
        emit IAnchors.Anchored(kSig, 9, words.root, START * 1000, START, 1500, signature);
        registry.anchor(recordOf(kSig), words, signature, root(7), START, proof);
    }

    /// Two anchors in a block name it: a reader takes all events of a block before it goes back.
    function test_anchor_twiceInOneBlockNamesThatBlock() public {
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 7, root(7));
        bytes32[] memory proof = RefTree.proof(3, leaves, 7);
        vm.expectEmit(true, true, true, true, address(registry));
        emit IAnchors.Anchored(kSig, 7, words.root, START * 1000, START, 1000, signature);
        registry.anchor(recordOf(kSig), words, signature, root(3), START, proof);
    }

    function test_anchor_ignoresTheLastAnchorForTheFirst() public {
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 3, root(3));
        registry.anchor(recordOf(kSig), words, signature, "any", 77, none);
        assertTrue(registry.anchored(kSig, 3, root(3), START), "anchored");
    }

    function testFuzz_anchor_takesEveryContinuation(uint256 first, uint256 second, uint256 third) public {
        first = bound(first, 1, 38);
        second = bound(second, first + 1, 39);
        third = bound(third, second + 1, 40);
        anchorLeaves(ENCLAVE_KEY, leaves, uint64(first));
        anchorLeaves(ENCLAVE_KEY, leaves, uint64(second));
        anchorLeaves(ENCLAVE_KEY, leaves, uint64(third));
        assertEq(registry.stateOf(kSig).lastSize, third);
    }

    // Which keys may.

    /// Limit, pinned: a log must be able to end after its key has lapsed, so a lapsed key anchors. Receipts are bounded elsewhere,
    /// by the time they were finished.
    function test_anchor_aLapsedKeyMay() public {
        vm.warp(START + 1 days);
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        assertEq(registry.stateOf(kSig).lastSize, 3);
    }

    function test_anchor_aRetiredKeyMay() public {
        vm.prank(operator);
        registry.retire(recordOf(kSig));
        vm.warp(START + 1 days);
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        assertEq(registry.stateOf(kSig).lastSize, 3);
    }

    function test_anchor_revertsIfRevoked() public {
        vm.prank(operator);
        registry.revoke(recordOf(kSig));
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 3, root(3));
        refused(words, signature, err(IAnchors.KeyRevoked.selector, bytes32(uint256(START))));
    }

    function test_anchor_revertsIfNotRegistered() public {
        Record memory record = recordOf(kSig);
        record.kSig = vm.addr(STRANGER_KEY);
        (Checkpoint memory words, bytes memory signature) = checkpoint(STRANGER_KEY, 3, root(3));
        vm.expectRevert(err(IKeys.NotRegistered.selector, record.kSig));
        registry.anchor(record, words, signature, 0, 0, none);
    }

    /// A record of the sender's making, for a log of its choice.
    function test_anchor_revertsIfTheRecordIsForged() public {
        Record memory record = recordOf(kSig);
        record.logId = LogId.wrap("another log");
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 3, root(3));
        vm.expectRevert(err(IKeys.WrongRecord.selector, registry.recordHash(kSig), keccak256(abi.encode(record))));
        registry.anchor(record, words, signature, 0, 0, none);
    }

    // What is signed.

    function test_anchor_revertsIfAnotherKeySigned() public {
        (Checkpoint memory words,) = checkpoint(ENCLAVE_KEY, 3, root(3));
        bytes memory signature = sign(STRANGER_KEY, harness.checkpoint(words));
        refused(words, signature, err(IAnchors.WrongSigner.selector, kSig, vm.addr(STRANGER_KEY)));
    }

    function testFuzz_anchor_revertsIfAnyWordIsChanged(uint256 word, uint256 flip) public {
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 3, root(3));
        word = word % 3;
        flip &= type(uint64).max;
        // Size zero has an error of its own.
        vm.assume(flip != 0 && (word != 0 || flip != 3));
        if (word == 0) words.size ^= uint64(flip);
        if (word == 1) words.root ^= bytes32(flip);
        if (word == 2) words.timestamp ^= uint64(flip);
        address recovered = harness.recover(harness.checkpoint(words), signature);
        refused(words, signature, err(IAnchors.WrongSigner.selector, kSig, recovered));
    }

    function test_anchor_revertsIfSignatureIsCut() public {
        (Checkpoint memory words,) = checkpoint(ENCLAVE_KEY, 3, root(3));
        refused(words, new bytes(64), err(Signatures.SignatureLength.selector, 65, 64));
    }

    function test_anchor_revertsIfTheLogIsOfAnotherKey() public {
        LogId other = registerGood(ENCLAVE_KEY + 1).logId;
        (Checkpoint memory words,) = checkpoint(ENCLAVE_KEY + 1, 3, root(3));
        bytes memory signature = sign(ENCLAVE_KEY, harness.checkpoint(words));
        refused(words, signature, abi.encodeWithSelector(IAnchors.WrongLog.selector, recordOf(kSig).logId, other));
    }

    function test_anchor_revertsIfTreeIsEmpty() public {
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 0, sha256(""));
        refused(words, signature, err(IAnchors.EmptyTree.selector));
    }

    // It only grows.

    function test_anchor_revertsIfTheSizeIsTheLast() public {
        anchorLeaves(ENCLAVE_KEY, leaves, 10);
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 10, "fork");
        refused(words, signature, err(IAnchors.SizeNotGreater.selector, 10, 10));
    }

    /// Not even the same tree: its time stands.
    function test_anchor_revertsIfTheTreeIsTheLast() public {
        anchorLeaves(ENCLAVE_KEY, leaves, 10);
        vm.warp(START + 60);
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 10, root(10));
        refusedFrom(words, signature, root(10), START, none, err(IAnchors.SizeNotGreater.selector, 10, 10));
    }

    /// A rollback to a tree that was anchored, and that the key did sign.
    function test_anchor_revertsIfItRollsBackToAnEarlierAnchor() public {
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 3, root(3));
        anchorLeaves(ENCLAVE_KEY, leaves, 10);
        refused(words, signature, err(IAnchors.SizeNotGreater.selector, 10, 3));
    }

    function test_anchor_revertsIfItRollsBackBetweenAnchors() public {
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        anchorLeaves(ENCLAVE_KEY, leaves, 10);
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 9, root(9));
        bytes32[] memory proof = RefTree.proof(3, leaves, 9);
        refusedFrom(words, signature, root(3), START, proof, err(IAnchors.SizeNotGreater.selector, 10, 9));
    }

    // It continues the last anchor.

    /// A branch from an earlier anchor, proven from there.
    function test_anchor_revertsIfItContinuesAnEarlierAnchor() public {
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        vm.warp(START + 60);
        anchorLeaves(ENCLAVE_KEY, leaves, 10);
        bytes32[] memory forked = leaves;
        forked[5] = "another answer";
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 20, RefTree.root(forked, 0, 20));
        bytes32[] memory proof = RefTree.proof(3, forked, 20);
        refusedFrom(words, signature, root(3), START, proof, notTheLast(10));
    }

    function test_anchor_revertsIfTheLastRootIsAnother() public {
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 7, root(7));
        refusedFrom(words, signature, "another root", START, RefTree.proof(3, leaves, 7), notTheLast(3));
    }

    function test_anchor_revertsIfTheLastTimeIsAnother() public {
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 7, root(7));
        refusedFrom(words, signature, root(3), START + 1, RefTree.proof(3, leaves, 7), notTheLast(3));
    }

    function test_anchor_revertsIfTheLastTimeIsZero() public {
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 7, root(7));
        refusedFrom(words, signature, root(3), 0, RefTree.proof(3, leaves, 7), notTheLast(3));
    }

    /// An observed tree of the last size is no anchor, whatever its key signed.
    function test_anchor_revertsIfItContinuesAnObservation() public {
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        bytes32[] memory forked = leaves;
        forked[1] = "another answer";
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 3, RefTree.root(forked, 0, 3));
        registry.observe(recordOf(kSig), words, signature);
        bytes32 observedRoot = words.root;
        (words, signature) = checkpoint(ENCLAVE_KEY, 7, RefTree.root(forked, 0, 7));
        refusedFrom(words, signature, observedRoot, START, RefTree.proof(3, forked, 7), notTheLast(3));
    }

    function test_anchor_revertsIfTheFirstHasAProof() public {
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 3, root(3));
        refusedFrom(words, signature, 0, 0, new bytes32[](1), err(Merkle9162.ProofLength.selector, 0, 1));
    }

    function test_anchor_revertsIfTheProofIsMissing() public {
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 7, root(7));
        refusedFrom(words, signature, root(3), START, none, err(Merkle9162.ProofLength.selector, 4, 0));
    }

    function test_anchor_revertsIfTheProofIsTooLong() public {
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 7, root(7));
        bytes32[] memory proof = RefTree.append(RefTree.proof(3, leaves, 7), "one more");
        refusedFrom(words, signature, root(3), START, proof, err(Merkle9162.ProofLength.selector, 4, 5));
    }

    /// The log was rewritten below its last anchor, and proves its own new history.
    function test_anchor_revertsIfTheLogWasRewritten() public {
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        bytes32[] memory forked = leaves;
        forked[1] = "another answer";
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 7, RefTree.root(forked, 0, 7));
        bytes memory reason = err(IAnchors.NotFromAnchoredRoot.selector, root(3), RefTree.root(forked, 0, 3));
        refusedFrom(words, signature, root(3), START, RefTree.proof(3, forked, 7), reason);
    }

    function test_anchor_revertsIfTheProofEndsElsewhere() public {
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 7, "another root");
        bytes memory reason = err(IAnchors.NotToSignedRoot.selector, bytes32("another root"), root(7));
        refusedFrom(words, signature, root(3), START, RefTree.proof(3, leaves, 7), reason);
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
        bytes32 lastRoot = root(first);
        vm.expectRevert();
        registry.anchor(recordOf(kSig), words, signature, lastRoot, START, proof);
    }

    // Nothing is ever truncated.

    function test_anchor_revertsIfTheSizeDoesNotFit() public {
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 2 ** 42, "root");
        refused(words, signature, err(KeyStates.FieldOverflow.selector, 2 ** 42 - 1, 2 ** 42));
    }

    function test_anchor_takesTheGreatestSizeThatFits() public {
        anchorTree(ENCLAVE_KEY, 2 ** 42 - 1, "root", none);
        assertEq(registry.stateOf(kSig).lastSize, 2 ** 42 - 1);
        assertEq(registry.stateOf(kSig).registeredBlock, 1000);
    }

    function test_anchor_revertsIfTheBlockDoesNotFit() public {
        vm.roll(2 ** 35);
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 3, root(3));
        refused(words, signature, err(KeyStates.FieldOverflow.selector, 2 ** 35 - 1, 2 ** 35));
    }

    function test_anchor_takesTheGreatestBlockThatFits() public {
        vm.roll(2 ** 35 - 1);
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        assertEq(registry.stateOf(kSig).anchoredBlock, 2 ** 35 - 1);
    }

    // The view, at every neighbour of what is anchored.

    function test_anchored_isFalseForNeighbours() public {
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        assertTrue(!registry.anchored(kSig, 2, root(3), START), "a smaller size");
        assertTrue(!registry.anchored(kSig, 4, root(3), START), "a greater size");
        assertTrue(!registry.anchored(kSig, 3, root(2), START), "another root");
        assertTrue(!registry.anchored(kSig, 3, root(3), START - 1), "a second before");
        assertTrue(!registry.anchored(kSig, 3, root(3), START + 1), "a second after");
        assertTrue(!registry.anchored(kSig, 3, root(3), 0), "no time");
        assertTrue(!registry.anchored(vm.addr(STRANGER_KEY), 3, root(3), START), "another key");
    }

    function test_anchored_isFalseForWhatNobodyAnchored() public view {
        assertTrue(!registry.anchored(kSig, 0, 0, 0), "zeros");
        assertTrue(!registry.anchored(kSig, 0, sha256(""), START), "the empty tree");
    }

    function root(uint256 size) private view returns (bytes32) {
        return RefTree.root(leaves, 0, size);
    }

    function notTheLast(uint64 size) private view returns (bytes memory) {
        return abi.encodeWithSelector(IAnchors.NotTheLastAnchor.selector, kSig, size);
    }

    function refused(Checkpoint memory words, bytes memory signature, bytes memory reason) private {
        refusedFrom(words, signature, 0, 0, none, reason);
    }

    function refusedFrom(
        Checkpoint memory words,
        bytes memory signature,
        bytes32 lastRoot,
        uint64 lastAnchoredAt,
        bytes32[] memory proof,
        bytes memory reason
    ) private {
        vm.expectRevert(reason);
        registry.anchor(recordOf(kSig), words, signature, lastRoot, lastAnchoredAt, proof);
    }
}
