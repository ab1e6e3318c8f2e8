// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {KeyStatus} from "../src/KeyState.sol";
import {Checkpoint, LogId, Record} from "../src/Types.sol";
import {IAnchors} from "../src/interfaces/IAnchors.sol";
import {IKeys} from "../src/interfaces/IKeys.sol";
import {Signatures} from "../src/lib/Signatures.sol";
import {Fixture} from "./support/Fixture.sol";
import {RefTree} from "./support/RefTree.sol";

/// Trees that stand alone, and two trees of one size.
contract ObservationsTest is Fixture {
    bytes32[] private leaves;

    function setUp() public override {
        super.setUp();
        registerGood(ENCLAVE_KEY);
        leaves = RefTree.someLeaves(10, 9);
    }

    // Observations.

    function test_observe_keepsItsTime() public {
        observeTree(3, root(3));
        assertEq(registry.observed(kSig, 3, root(3)), START);
    }

    function test_observe_emitsTheSignedCheckpoint() public {
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 3, root(3));
        vm.expectEmit(true, true, true, true, address(registry));
        emit IAnchors.Observed(kSig, 3, words.root, START * 1000, START, signature);
        registry.observe(recordOf(kSig), words, signature);
    }

    function test_observe_anyoneMaySend() public {
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 3, root(3));
        vm.prank(address(0xa27));
        registry.observe(recordOf(kSig), words, signature);
        assertEq(registry.observed(kSig, 3, root(3)), START);
    }

    function test_observe_changesNothingOfTheKey() public {
        bytes32 before = stateHash();
        observeTree(3, root(3));
        assertEq(stateHash(), before);
    }

    /// The first time stands, also under a second signature of a later moment.
    function test_observe_twiceKeepsTheFirstTime() public {
        observeTree(3, root(3));
        vm.warp(START + 60);
        observeTree(3, root(3));
        assertEq(registry.observed(kSig, 3, root(3)), START);
    }

    function test_observe_twiceEmitsOnce() public {
        observeTree(3, root(3));
        vm.warp(START + 60);
        vm.recordLogs();
        observeTree(3, root(3));
        assertEq(vm.getRecordedLogs().length, 0);
    }

    /// An honest checkpoint that two people carry is no fork.
    function test_observe_twiceIsNoFork() public {
        observeTree(3, root(3));
        vm.warp(START + 60);
        observeTree(3, root(3));
        assertTrue(!registry.stateOf(kSig).forked, "forked");
    }

    /// Each tree has its own time, whatever the order.
    function test_observe_takesASmallerTreeLater() public {
        observeTree(7, root(7));
        vm.warp(START + 60);
        observeTree(3, root(3));
        assertEq(registry.observed(kSig, 7, root(7)), START);
        assertEq(registry.observed(kSig, 3, root(3)), START + 60);
    }

    /// Limit, pinned: two trees of one size are both kept and nothing is said of a fork; `reportFork` is for that.
    function test_observe_takesTwoRootsOfOneSize() public {
        observeTree(3, root(3));
        vm.warp(START + 60);
        observeTree(3, "fork");
        assertEq(registry.observed(kSig, 3, root(3)), START);
        assertEq(registry.observed(kSig, 3, "fork"), START + 60);
        assertTrue(!registry.stateOf(kSig).forked, "forked");
    }

    function test_observe_takesASizeThatNoAnchorTakes() public {
        observeTree(type(uint64).max, "root");
        assertEq(registry.observed(kSig, type(uint64).max, "root"), START);
    }

    function test_observe_aLapsedKeyMay() public {
        vm.warp(START + 10 days);
        observeTree(3, root(3));
        assertEq(registry.observed(kSig, 3, root(3)), START + 10 days);
    }

    /// What a revoked key shows has a time after its revocation, and a proof compares the two.
    function test_observe_aRevokedKeyMay() public {
        vm.prank(operator);
        registry.revoke(recordOf(kSig));
        vm.warp(START + 60);
        observeTree(3, root(3));
        assertEq(registry.observed(kSig, 3, root(3)), START + 60);
    }

    // Beside anchors.

    function test_observe_isNoAnchor() public {
        observeTree(3, root(3));
        assertTrue(!registry.anchored(kSig, 3, root(3), START), "anchored");
    }

    function test_anchor_isNoObservation() public {
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        assertEq(registry.observed(kSig, 3, root(3)), 0);
    }

    function test_anchor_ofAnObservedTreeKeepsBothTimes() public {
        observeTree(3, root(3));
        vm.warp(START + 60);
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        assertEq(registry.observed(kSig, 3, root(3)), START);
        assertTrue(registry.anchored(kSig, 3, root(3), START + 60), "anchored");
    }

    function test_observe_ofAnAnchoredTreeKeepsBothTimes() public {
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        vm.warp(START + 60);
        observeTree(3, root(3));
        assertEq(registry.observed(kSig, 3, root(3)), START + 60);
        assertTrue(registry.anchored(kSig, 3, root(3), START), "anchored");
    }

    /// Anchors continue anchors: an observation of a greater tree is not in their way.
    function test_anchor_belowAnObservation() public {
        observeTree(7, root(7));
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        anchorLeaves(ENCLAVE_KEY, leaves, 5);
        assertEq(registry.stateOf(kSig).lastSize, 5);
    }

    function test_observed_isZeroForNeighbours() public {
        observeTree(3, root(3));
        assertEq(registry.observed(kSig, 2, root(3)), 0);
        assertEq(registry.observed(kSig, 4, root(3)), 0);
        assertEq(registry.observed(kSig, 3, root(2)), 0);
        assertEq(registry.observed(vm.addr(STRANGER_KEY), 3, root(3)), 0);
    }

    function test_observe_revertsIfNotRegistered() public {
        Record memory record = recordOf(kSig);
        record.kSig = vm.addr(STRANGER_KEY);
        (Checkpoint memory words, bytes memory signature) = checkpoint(STRANGER_KEY, 3, root(3));
        vm.expectRevert(err(IKeys.NotRegistered.selector, record.kSig));
        registry.observe(record, words, signature);
    }

    function test_observe_revertsIfTheRecordIsForged() public {
        Record memory record = recordOf(kSig);
        record.logId = LogId.wrap("another log");
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 3, root(3));
        vm.expectRevert(err(IKeys.WrongRecord.selector, registry.recordHash(kSig), keccak256(abi.encode(record))));
        registry.observe(record, words, signature);
    }

    function test_observe_revertsIfAnotherKeySigned() public {
        (Checkpoint memory words,) = checkpoint(ENCLAVE_KEY, 3, root(3));
        bytes memory signature = sign(STRANGER_KEY, harness.checkpoint(words));
        vm.expectRevert(err(IAnchors.WrongSigner.selector, kSig, vm.addr(STRANGER_KEY)));
        registry.observe(recordOf(kSig), words, signature);
    }

    function test_observe_revertsIfTheLogIsOfAnotherKey() public {
        (Checkpoint memory words,) = checkpoint(ENCLAVE_KEY + 1, 3, root(3));
        bytes memory signature = sign(ENCLAVE_KEY, harness.checkpoint(words));
        vm.expectRevert(abi.encodeWithSelector(IAnchors.WrongLog.selector, recordOf(kSig).logId, words.logId));
        registry.observe(recordOf(kSig), words, signature);
    }

    function test_observe_revertsIfTreeIsEmpty() public {
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 0, sha256(""));
        vm.expectRevert(err(IAnchors.EmptyTree.selector));
        registry.observe(recordOf(kSig), words, signature);
    }

    function test_observe_revertsIfSignatureIsCut() public {
        (Checkpoint memory words,) = checkpoint(ENCLAVE_KEY, 3, root(3));
        vm.expectRevert(err(Signatures.SignatureLength.selector, 65, 64));
        registry.observe(recordOf(kSig), words, new bytes(64));
    }

    // Forks.

    function test_reportFork_setsTheBitOnly() public {
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        KeyStatus memory expected = registry.stateOf(kSig);
        expected.forked = true;
        reportFork(3, root(3), 3, "fork");
        assertEq(stateHash(), keccak256(abi.encode(expected)));
    }

    function test_reportFork_emitsBothTrees() public {
        (Checkpoint memory a, bytes memory signatureA) = checkpoint(ENCLAVE_KEY, 3, root(3));
        (Checkpoint memory b, bytes memory signatureB) = checkpoint(ENCLAVE_KEY, 3, "fork");
        vm.expectEmit(true, true, true, true, address(registry));
        emit IAnchors.Forked(kSig, 3, root(3), "fork", signatureA, signatureB);
        registry.reportFork(recordOf(kSig), a, signatureA, b, signatureB);
    }

    /// Proofs of what was seen stand: an honest payer did nothing wrong.
    function test_reportFork_leavesAnchorsAndObservations() public {
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        observeTree(3, "fork");
        reportFork(3, root(3), 3, "fork");
        assertTrue(registry.anchored(kSig, 3, root(3), START), "anchored");
        assertEq(registry.observed(kSig, 3, "fork"), START);
    }

    function test_reportFork_leavesTheLogGoingOn() public {
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        reportFork(3, root(3), 3, "fork");
        anchorLeaves(ENCLAVE_KEY, leaves, 7);
        assertTrue(registry.stateOf(kSig).forked, "still forked");
        assertEq(registry.stateOf(kSig).lastSize, 7);
    }

    function test_reportFork_twiceIsHarmless() public {
        reportFork(3, root(3), 3, "fork");
        bytes32 before = stateHash();
        reportFork(7, root(7), 7, "fork");
        assertEq(stateHash(), before);
    }

    function test_reportFork_ofARevokedKey() public {
        vm.prank(operator);
        registry.revoke(recordOf(kSig));
        reportFork(3, root(3), 3, "fork");
        assertTrue(registry.stateOf(kSig).forked, "forked");
    }

    function test_reportFork_revertsIfTheTreeIsTheSame() public {
        reportRefused(3, root(3), 3, root(3), err(IAnchors.NoFork.selector, 3, 3));
    }

    /// The same tree signed at two times is what every honest log does.
    function test_reportFork_revertsIfOnlyTheTimesDiffer() public {
        (Checkpoint memory a, bytes memory signatureA) = checkpoint(ENCLAVE_KEY, 3, root(3));
        Checkpoint memory b = Checkpoint({logId: a.logId, size: 3, root: a.root, timestamp: a.timestamp + 1});
        bytes memory signatureB = sign(ENCLAVE_KEY, harness.checkpoint(b));
        vm.expectRevert(err(IAnchors.NoFork.selector, 3, 3));
        registry.reportFork(recordOf(kSig), a, signatureA, b, signatureB);
    }

    function test_reportFork_revertsIfTheSizesDiffer() public {
        reportRefused(3, root(3), 5, root(5), err(IAnchors.NoFork.selector, 3, 5));
    }

    function test_reportFork_revertsIfAnotherKeySignedTheFirst() public {
        (Checkpoint memory a,) = checkpoint(ENCLAVE_KEY, 3, root(3));
        (Checkpoint memory b, bytes memory signatureB) = checkpoint(ENCLAVE_KEY, 3, "fork");
        bytes memory signatureA = sign(STRANGER_KEY, harness.checkpoint(a));
        vm.expectRevert(err(IAnchors.WrongSigner.selector, kSig, vm.addr(STRANGER_KEY)));
        registry.reportFork(recordOf(kSig), a, signatureA, b, signatureB);
    }

    function test_reportFork_revertsIfAnotherKeySignedTheSecond() public {
        (Checkpoint memory a, bytes memory signatureA) = checkpoint(ENCLAVE_KEY, 3, root(3));
        (Checkpoint memory b,) = checkpoint(ENCLAVE_KEY, 3, "fork");
        bytes memory signatureB = sign(STRANGER_KEY, harness.checkpoint(b));
        vm.expectRevert(err(IAnchors.WrongSigner.selector, kSig, vm.addr(STRANGER_KEY)));
        registry.reportFork(recordOf(kSig), a, signatureA, b, signatureB);
    }

    function test_reportFork_revertsIfTheFirstIsOfAnotherLog() public {
        (Checkpoint memory a,) = checkpoint(ENCLAVE_KEY + 1, 3, root(3));
        (Checkpoint memory b, bytes memory signatureB) = checkpoint(ENCLAVE_KEY, 3, "fork");
        bytes memory signatureA = sign(ENCLAVE_KEY, harness.checkpoint(a));
        vm.expectRevert(abi.encodeWithSelector(IAnchors.WrongLog.selector, recordOf(kSig).logId, a.logId));
        registry.reportFork(recordOf(kSig), a, signatureA, b, signatureB);
    }

    function test_reportFork_revertsIfTheSecondIsOfAnotherLog() public {
        (Checkpoint memory a, bytes memory signatureA) = checkpoint(ENCLAVE_KEY, 3, root(3));
        (Checkpoint memory b,) = checkpoint(ENCLAVE_KEY + 1, 3, "fork");
        bytes memory signatureB = sign(ENCLAVE_KEY, harness.checkpoint(b));
        vm.expectRevert(abi.encodeWithSelector(IAnchors.WrongLog.selector, recordOf(kSig).logId, b.logId));
        registry.reportFork(recordOf(kSig), a, signatureA, b, signatureB);
    }

    function test_reportFork_revertsIfTheTreesAreEmpty() public {
        reportRefused(0, sha256(""), 0, "fork", err(IAnchors.EmptyTree.selector));
    }

    function test_reportFork_revertsIfNotRegistered() public {
        Record memory record = recordOf(kSig);
        record.kSig = vm.addr(STRANGER_KEY);
        (Checkpoint memory a, bytes memory signatureA) = checkpoint(STRANGER_KEY, 3, root(3));
        (Checkpoint memory b, bytes memory signatureB) = checkpoint(STRANGER_KEY, 3, "fork");
        vm.expectRevert(err(IKeys.NotRegistered.selector, record.kSig));
        registry.reportFork(record, a, signatureA, b, signatureB);
    }

    function test_reportFork_revertsIfTheRecordIsForged() public {
        Record memory record = recordOf(kSig);
        record.payee = address(this);
        (Checkpoint memory a, bytes memory signatureA) = checkpoint(ENCLAVE_KEY, 3, root(3));
        (Checkpoint memory b, bytes memory signatureB) = checkpoint(ENCLAVE_KEY, 3, "fork");
        vm.expectRevert(err(IKeys.WrongRecord.selector, registry.recordHash(kSig), keccak256(abi.encode(record))));
        registry.reportFork(record, a, signatureA, b, signatureB);
    }

    function root(uint256 size) private view returns (bytes32) {
        return RefTree.root(leaves, 0, size);
    }

    function stateHash() private view returns (bytes32) {
        return keccak256(abi.encode(registry.stateOf(kSig)));
    }

    function observeTree(uint64 size, bytes32 treeRoot) private {
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, size, treeRoot);
        registry.observe(recordOf(kSig), words, signature);
    }

    function reportFork(uint64 sizeA, bytes32 rootA, uint64 sizeB, bytes32 rootB) private {
        (Checkpoint memory a, bytes memory signatureA) = checkpoint(ENCLAVE_KEY, sizeA, rootA);
        (Checkpoint memory b, bytes memory signatureB) = checkpoint(ENCLAVE_KEY, sizeB, rootB);
        registry.reportFork(recordOf(kSig), a, signatureA, b, signatureB);
    }

    function reportRefused(uint64 sizeA, bytes32 rootA, uint64 sizeB, bytes32 rootB, bytes memory reason) private {
        (Checkpoint memory a, bytes memory signatureA) = checkpoint(ENCLAVE_KEY, sizeA, rootA);
        (Checkpoint memory b, bytes memory signatureB) = checkpoint(ENCLAVE_KEY, sizeB, rootB);
        vm.expectRevert(reason);
        registry.reportFork(recordOf(kSig), a, signatureA, b, signatureB);
    }
}
