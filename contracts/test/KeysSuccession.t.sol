// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Checkpoint, LogId, Record} from "../src/Types.sol";
import {IKeys} from "../src/interfaces/IKeys.sol";
import {KeysFixture} from "./support/KeysFixture.sol";
import {RefTree} from "./support/RefTree.sol";

/// A boot that continues the log of another.
contract KeysSuccessionTest is KeysFixture {
    /// sha256 of nothing.
    bytes32 private constant EMPTY_ROOT = 0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855;

    LogId private predecessor;
    LogId private successor;
    bytes32[] private leaves;
    bytes32 private root;

    /// A registered log with an anchor of three leaves.
    function setUp() public override {
        super.setUp();
        predecessor = registerGood(ENCLAVE_KEY).logId;
        successor = harness.logId(vm.addr(ENCLAVE_KEY + 1), K_LOG);
        leaves = RefTree.someLeaves(5, 1);
        root = RefTree.root(leaves, 0, 3);
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
    }

    // Taken.

    function test_register_linksAnAnchoredPredecessor() public {
        IKeys.Submission memory s = successorOf(predecessor, 3, root);
        vm.expectEmit(true, true, true, true, address(registry));
        emit IKeys.Succeeded(predecessor, successor, 3, root);
        registry.register(s);
        assertEq(LogId.unwrap(registry.successorOf(predecessor)), LogId.unwrap(successor));
    }

    /// Any anchor will do: the host of the successor may not have heard of the last.
    function test_register_linksAnEarlierAnchor() public {
        vm.warp(START + 60);
        anchorLeaves(ENCLAVE_KEY, leaves, 5);
        registry.register(successorOf(predecessor, 3, root));
        assertEq(LogId.unwrap(registry.successorOf(predecessor)), LogId.unwrap(successor));
    }

    function test_register_linksAPredecessorWithoutLeaves() public {
        Record memory empty = register(goodSubmission(ENCLAVE_KEY + 2));
        IKeys.Submission memory s = successorOf(empty.logId, 0, EMPTY_ROOT);
        s.predecessor = empty;
        s.predecessorAnchoredAt = 0;
        vm.expectEmit(true, true, true, true, address(registry));
        emit IKeys.Succeeded(empty.logId, successor, 0, EMPTY_ROOT);
        registry.register(s);
        assertEq(LogId.unwrap(registry.successorOf(empty.logId)), LogId.unwrap(successor));
    }

    /// A successor that saw nothing of an anchored log says so: size zero is taken of any log.
    function test_register_linksSizeZeroOfAnAnchoredPredecessor() public {
        registry.register(successorOf(predecessor, 0, EMPTY_ROOT));
        assertEq(LogId.unwrap(registry.successorOf(predecessor)), LogId.unwrap(successor));
    }

    function test_register_linksARevokedPredecessor() public {
        vm.prank(operator);
        registry.revoke(recordOf(kSig));
        registry.register(successorOf(predecessor, 3, root));
        assertEq(LogId.unwrap(registry.successorOf(predecessor)), LogId.unwrap(successor));
    }

    function test_register_leavesThePredecessorItsAnchors() public {
        registry.register(successorOf(predecessor, 3, root));
        anchorLeaves(ENCLAVE_KEY, leaves, 5);
        assertEq(registry.stateOf(kSig).lastSize, 5);
    }

    function test_register_makesNoEdgeWithoutAPredecessor() public {
        vm.recordLogs();
        registry.register(goodSubmission(ENCLAVE_KEY + 1));
        // Registered, and nothing of a predecessor.
        assertEq(vm.getRecordedLogs().length, 1);
    }

    // A gap is shown, and refuses nobody.

    function test_register_saysThatThePredecessorIsUnknown() public {
        IKeys.Submission memory s = successorOf(LogId.wrap("of another registry"), 3, root);
        vm.expectEmit(true, true, true, true, address(registry));
        emit IKeys.PredecessorGap(LogId.wrap("of another registry"), successor, IKeys.Gap.Unknown);
        registry.register(s);
        assertEq(registry.keyOf(successor), vm.addr(ENCLAVE_KEY + 1));
    }

    function test_register_makesNoEdgeFromAnUnknownPredecessor() public {
        LogId unknown = harness.logId(vm.addr(ENCLAVE_KEY + 2), K_LOG);
        registry.register(successorOf(unknown, 3, root));
        assertEq(LogId.unwrap(registry.successorOf(unknown)), 0);
    }

    /// A gap stays a gap when the predecessor comes later, and it takes nothing from the rightful successor.
    function test_register_leavesALatePredecessorFree() public {
        LogId unknown = harness.logId(vm.addr(ENCLAVE_KEY + 2), K_LOG);
        registry.register(successorOf(unknown, 0, EMPTY_ROOT));
        Record memory late = register(goodSubmission(ENCLAVE_KEY + 2));
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY + 3);
        s.manifest.predecessorLog = unknown;
        s.manifest.predecessorRoot = EMPTY_ROOT;
        s.predecessor = late;
        signBoot(s);
        Record memory rightful = registry.register(s);
        assertEq(LogId.unwrap(registry.successorOf(unknown)), LogId.unwrap(rightful.logId));
    }

    /// A manifest is made once, and the chain may take back the anchor that it names: the boot would never register.
    function test_register_saysThatTheSizeIsNotAnchored() public {
        leavesAGap(successorOf(predecessor, 2, RefTree.root(leaves, 0, 2)), IKeys.Gap.NotAnchored);
        assertEq(LogId.unwrap(registry.successorOf(predecessor)), 0);
    }

    /// An observation stands alone: nobody showed that it continues an anchor.
    function test_register_makesNoEdgeFromATreeThatWasOnlyObserved() public {
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 5, RefTree.root(leaves, 0, 5));
        registry.observe(recordOf(kSig), words, signature);
        leavesAGap(successorOf(predecessor, 5, words.root), IKeys.Gap.NotAnchored);
    }

    /// Two nodes of one operator booted at once after the same log: the first continues it, and both serve.
    function test_register_saysThatThePredecessorHasASuccessor() public {
        registry.register(successorOf(predecessor, 3, root));
        IKeys.Submission memory s = successorOf(predecessor, 3, root);
        s.manifest.kSig = knownKey(ENCLAVE_KEY + 2);
        signBoot(s);
        leavesAGap(s, IKeys.Gap.Succeeded);
        assertEq(LogId.unwrap(registry.successorOf(predecessor)), LogId.unwrap(successor));
    }

    // Refused.

    function test_register_revertsIfThereIsASizeWithoutAPredecessor() public {
        refused(
            successorOf(LogId.wrap(0), 3, 0), abi.encodeWithSelector(IKeys.PredecessorWithoutLog.selector, uint64(3), bytes32(0))
        );
    }

    function test_register_revertsIfThereIsARootWithoutAPredecessor() public {
        refused(
            successorOf(LogId.wrap(0), 0, "root"),
            abi.encodeWithSelector(IKeys.PredecessorWithoutLog.selector, uint64(0), bytes32("root"))
        );
    }

    function test_register_revertsIfTheRootWasNotAnchored() public {
        refusedAsNotAnchored(successorOf(predecessor, 3, "rewritten"), 3);
    }

    /// What the sender may choose makes no gap: whoever sees a registration waiting could take its edge away.
    function test_register_revertsIfItWasAnchoredAtAnotherTime() public {
        IKeys.Submission memory s = successorOf(predecessor, 3, root);
        s.predecessorAnchoredAt = START - 1;
        refusedAsNotAnchored(s, 3);
    }

    function test_register_revertsIfItWasAnchoredAtNoTime() public {
        IKeys.Submission memory s = successorOf(predecessor, 3, root);
        s.predecessorAnchoredAt = 0;
        refusedAsNotAnchored(s, 3);
    }

    function test_register_revertsIfAPredecessorWithoutLeavesHasARoot() public {
        refused(successorOf(predecessor, 0, root), err(IKeys.WrongPredecessorRoot.selector, EMPTY_ROOT, root));
    }

    /// Anyone with an enclave could otherwise cut off the rightful successor of somebody's log.
    function test_register_revertsIfThePredecessorIsOfAnotherOperator() public {
        IKeys.Submission memory s = submissionOf(ENCLAVE_KEY + 1, STRANGER_KEY, "any");
        s.manifest.predecessorLog = predecessor;
        s.manifest.predecessorSize = 3;
        s.manifest.predecessorRoot = root;
        s.predecessor = recordOf(kSig);
        s.predecessorAnchoredAt = START;
        registeredAs = workloadId();
        signBoot(s);
        refused(s, err(IKeys.PredecessorOfAnotherOperator.selector, operator, vm.addr(STRANGER_KEY)));
    }

    function test_register_revertsIfTheRecordIsOfAnotherKey() public {
        Record memory other = register(goodSubmission(ENCLAVE_KEY + 2));
        IKeys.Submission memory s = successorOf(predecessor, 3, root);
        s.predecessor = other;
        refused(s, err(IKeys.WrongPredecessor.selector, kSig, other.kSig));
    }

    function test_register_revertsIfThereIsNoRecord() public {
        IKeys.Submission memory s = successorOf(predecessor, 3, root);
        delete s.predecessor;
        refused(s, err(IKeys.WrongPredecessor.selector, kSig, address(0)));
    }

    /// The right key with a record of the sender's making, in which the operator is the stranger.
    function test_register_revertsIfTheRecordIsForged() public {
        IKeys.Submission memory s = successorOf(predecessor, 3, root);
        s.predecessor.operator = vm.addr(STRANGER_KEY);
        refused(s, err(IKeys.WrongRecord.selector, registry.recordHash(kSig), keccak256(abi.encode(s.predecessor))));
    }

    /// The second boot, naming this tree as what it continues; the right record and the right time with it.
    function successorOf(LogId log, uint64 size, bytes32 logRoot) private returns (IKeys.Submission memory s) {
        s = goodSubmission(ENCLAVE_KEY + 1);
        s.manifest.predecessorLog = log;
        s.manifest.predecessorSize = size;
        s.manifest.predecessorRoot = logRoot;
        s.predecessor = recordOf(kSig);
        s.predecessorAnchoredAt = START;
        signBoot(s);
    }

    function leavesAGap(IKeys.Submission memory s, IKeys.Gap gap) private {
        LogId named = harness.logId(s.manifest.kSig, K_LOG);
        vm.expectEmit(true, true, true, true, address(registry));
        emit IKeys.PredecessorGap(predecessor, named, gap);
        registry.register(s);
        assertEq(registry.keyOf(named), s.manifest.kSig);
    }

    function refusedAsNotAnchored(IKeys.Submission memory s, uint64 size) private {
        refused(s, abi.encodeWithSelector(IKeys.PredecessorNotAnchored.selector, predecessor, size));
    }

    /// The id of a log is of two keys and not of the manifest, which can therefore name its own: whoever walks successors would never end.
    function test_register_aLogDoesNotSucceedItself() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        LogId own = harness.logId(kSig, K_LOG);
        s.manifest.predecessorLog = own;
        s.manifest.predecessorRoot = sha256("");
        signBoot(s);
        // The sender knows the whole record beforehand.
        s.predecessor = recordFor(s, workloadId());
        try registry.register(s) returns (Record memory) {} catch {}
        assertTrue(LogId.unwrap(registry.successorOf(own)) != LogId.unwrap(own), "the log is its own successor");
    }
}
