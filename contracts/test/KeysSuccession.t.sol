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
    /// The registration of the second boot, whose manifest `link` asks for.
    IKeys.Submission private boot;
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

    /// A predecessor that comes later makes no edge by itself, and a gap takes nothing from the rightful successor.
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

    // Linked later.

    /// A reorganisation took the anchor, the boot was registered without it, and the anchor is there again.
    function test_link_makesTheEdgeWhenTheAnchorIsBack() public {
        Record memory record = registeredInAGap(5);
        vm.warp(START + 60);
        anchorLeaves(ENCLAVE_KEY, leaves, 5);
        vm.expectEmit(true, true, true, true, address(registry));
        emit IKeys.Succeeded(predecessor, successor, 5, RefTree.root(leaves, 0, 5));
        registry.link(record, boot.manifest, recordOf(kSig), START + 60);
        assertEq(LogId.unwrap(registry.successorOf(predecessor)), LogId.unwrap(successor));
    }

    /// The same reorganisation took the predecessor's registration.
    function test_link_makesTheEdgeWhenThePredecessorIsBack() public {
        Record memory record = registeredBefore(ENCLAVE_KEY + 1, ENCLAVE_KEY + 2);
        Record memory late = register(goodSubmission(ENCLAVE_KEY + 2));
        vm.expectEmit(true, true, true, true, address(registry));
        emit IKeys.Succeeded(late.logId, successor, 0, EMPTY_ROOT);
        registry.link(record, boot.manifest, late, 0);
        assertEq(LogId.unwrap(registry.successorOf(late.logId)), LogId.unwrap(successor));
    }

    function test_link_isForAnybody() public {
        Record memory record = anchoredAfterAGap();
        vm.prank(vm.addr(STRANGER_KEY));
        registry.link(record, boot.manifest, recordOf(kSig), START);
        assertEq(LogId.unwrap(registry.successorOf(predecessor)), LogId.unwrap(successor));
    }

    function test_link_linksEndedKeys() public {
        Record memory record = anchoredAfterAGap();
        vm.prank(operator);
        registry.revoke(recordOf(kSig));
        vm.prank(operator);
        registry.retire(record);
        registry.link(record, boot.manifest, recordOf(kSig), START);
        assertEq(LogId.unwrap(registry.successorOf(predecessor)), LogId.unwrap(successor));
    }

    /// Whoever else sends it may be faster, and that is nobody's fault.
    function test_link_doesNothingASecondTime() public {
        Record memory record = anchoredAfterAGap();
        registry.link(record, boot.manifest, recordOf(kSig), START);
        vm.recordLogs();
        registry.link(record, boot.manifest, recordOf(kSig), START);
        assertEq(vm.getRecordedLogs().length, 0);
        assertEq(LogId.unwrap(registry.successorOf(predecessor)), LogId.unwrap(successor));
    }

    function test_link_doesNothingForAnEdgeOfTheRegistration() public {
        boot = successorOf(predecessor, 3, root);
        Record memory record = registry.register(boot);
        vm.recordLogs();
        registry.link(record, boot.manifest, recordOf(kSig), START);
        assertEq(vm.getRecordedLogs().length, 0);
        assertEq(LogId.unwrap(registry.successorOf(predecessor)), LogId.unwrap(successor));
    }

    /// The successor went on meanwhile, and has a successor of its own.
    function test_link_linksALogThatIsContinuedItself() public {
        Record memory record = anchoredAfterAGap();
        continued(record, ENCLAVE_KEY + 2);
        registry.link(record, boot.manifest, recordOf(kSig), START);
        assertEq(LogId.unwrap(registry.successorOf(predecessor)), LogId.unwrap(successor));
    }

    function test_link_revertsIfThePredecessorHasASuccessor() public {
        Record memory record = anchoredAfterAGap();
        IKeys.Submission memory s = successorOf(predecessor, 3, root);
        s.manifest.kSig = knownKey(ENCLAVE_KEY + 2);
        signBoot(s);
        Record memory first = registry.register(s);
        notLinked(record, START, stillAGap(IKeys.Gap.Succeeded));
        assertEq(LogId.unwrap(registry.successorOf(predecessor)), LogId.unwrap(first.logId));
    }

    /// Otherwise an enclave of somebody else could wait in a gap, and cut off the rightful successor.
    function test_link_revertsIfThePredecessorIsOfAnotherOperator() public {
        LogId late = harness.logId(vm.addr(ENCLAVE_KEY + 2), K_LOG);
        IKeys.Submission memory s = submissionOf(ENCLAVE_KEY + 1, STRANGER_KEY, "any");
        s.manifest.predecessorLog = late;
        s.manifest.predecessorRoot = EMPTY_ROOT;
        registeredAs = workloadId();
        signBoot(s);
        Record memory record = registry.register(s);
        Record memory other = register(goodSubmission(ENCLAVE_KEY + 2));
        vm.expectRevert(err(IKeys.PredecessorOfAnotherOperator.selector, operator, vm.addr(STRANGER_KEY)));
        registry.link(record, s.manifest, other, 0);
    }

    /// It would name whatever log the sender likes.
    function test_link_revertsIfTheManifestIsAnother() public {
        Record memory record = anchoredAfterAGap();
        boot.manifest.predecessorSize = 3;
        boot.manifest.predecessorRoot = root;
        bytes32 got = harness.manifest(boot.manifest);
        notLinked(record, START, err(IKeys.WrongManifestHash.selector, record.manifestHash, got));
    }

    function test_link_revertsIfTheManifestNamesNoPredecessor() public {
        boot = goodSubmission(ENCLAVE_KEY + 1);
        Record memory record = registry.register(boot);
        notLinked(record, START, err(IKeys.NoPredecessor.selector, LogId.unwrap(successor)));
    }

    function test_link_revertsIfTheSizeIsNotAnchored() public {
        notLinked(registeredInAGap(5), START, stillAGap(IKeys.Gap.NotAnchored));
    }

    function test_link_revertsIfTheTreeWasOnlyObserved() public {
        Record memory record = registeredInAGap(5);
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 5, RefTree.root(leaves, 0, 5));
        registry.observe(recordOf(kSig), words, signature);
        notLinked(record, START, stillAGap(IKeys.Gap.NotAnchored));
    }

    /// What came back is another tree than the manifest names.
    function test_link_revertsIfTheRootWasNotAnchored() public {
        boot = successorOf(predecessor, 5, "rewritten");
        Record memory record = registry.register(boot);
        anchorLeaves(ENCLAVE_KEY, leaves, 5);
        notLinked(record, START, abi.encodeWithSelector(IKeys.PredecessorNotAnchored.selector, predecessor, uint64(5)));
    }

    function test_link_revertsIfItWasAnchoredAtAnotherTime() public {
        Record memory record = anchoredAfterAGap();
        notLinked(record, START + 1, abi.encodeWithSelector(IKeys.PredecessorNotAnchored.selector, predecessor, uint64(5)));
    }

    function test_link_revertsIfThePredecessorIsNotRegistered() public {
        Record memory record = registeredBefore(ENCLAVE_KEY + 1, ENCLAVE_KEY + 2);
        LogId unknown = boot.manifest.predecessorLog;
        notLinked(record, 0, abi.encodeWithSelector(IKeys.StillAGap.selector, unknown, successor, IKeys.Gap.Unknown));
    }

    function test_link_revertsIfTheSuccessorIsNotRegistered() public {
        boot = successorOf(predecessor, 3, root);
        Record memory record = recordFor(boot, workloadId());
        notLinked(record, START, err(IKeys.NotRegistered.selector, record.kSig));
    }

    function test_link_revertsIfTheSuccessorIsForged() public {
        Record memory record = anchoredAfterAGap();
        bytes32 expected = keccak256(abi.encode(record));
        record.logId = recordOf(kSig).logId;
        notLinked(record, START, err(IKeys.WrongRecord.selector, expected, keccak256(abi.encode(record))));
    }

    function test_link_revertsIfThePredecessorIsForged() public {
        Record memory record = anchoredAfterAGap();
        Record memory forged = recordOf(kSig);
        forged.operator = vm.addr(STRANGER_KEY);
        vm.expectRevert(err(IKeys.WrongRecord.selector, registry.recordHash(kSig), keccak256(abi.encode(forged))));
        registry.link(record, boot.manifest, forged, START);
    }

    function test_link_revertsIfTheRecordIsOfAnotherKey() public {
        Record memory record = anchoredAfterAGap();
        Record memory other = register(goodSubmission(ENCLAVE_KEY + 2));
        vm.expectRevert(err(IKeys.WrongPredecessor.selector, kSig, other.kSig));
        registry.link(record, boot.manifest, other, START);
    }

    /// The log that a manifest names itself is registered by now, which it was not at its registration.
    function test_link_aLogDoesNotSucceedItself() public {
        Record memory record = registeredBefore(ENCLAVE_KEY + 1, ENCLAVE_KEY + 1);
        vm.expectRevert(err(IKeys.PredecessorNotEarlier.selector, LogId.unwrap(successor), LogId.unwrap(successor)));
        registry.link(record, boot.manifest, record, 0);
    }

    /// Two boots whose keys were chosen first, and whose manifests name each other.
    function test_link_twoLogsDoNotSucceedEachOther() public {
        Record memory record = registeredBefore(ENCLAVE_KEY + 1, ENCLAVE_KEY + 2);
        Record memory later = continued(record, ENCLAVE_KEY + 2);
        vm.expectRevert(err(IKeys.PredecessorNotEarlier.selector, LogId.unwrap(later.logId), LogId.unwrap(successor)));
        registry.link(record, boot.manifest, later, 0);
    }

    function test_link_looksThroughSixtyThreeLaterLogs() public {
        (Record memory record, Record memory late) = followedBy(63);
        registry.link(record, boot.manifest, late, 0);
        assertEq(LogId.unwrap(registry.successorOf(late.logId)), LogId.unwrap(successor));
    }

    function test_link_revertsIfMoreLogsCameLater() public {
        (Record memory record, Record memory late) = followedBy(64);
        vm.expectRevert(err(IKeys.PredecessorNotEarlier.selector, LogId.unwrap(late.logId), LogId.unwrap(successor)));
        registry.link(record, boot.manifest, late, 0);
    }

    /// Whatever is brought, at whatever time, taken or not: the edge is all that can come of it.
    function testFuzz_link_changesNoStatus(uint64 time, uint64 anchoredAt, uint8 ends, bool isBack) public {
        Record memory record = registeredInAGap(5);
        if (isBack) anchorLeaves(ENCLAVE_KEY, leaves, 5);
        vm.warp(bound(time, START, START + 40 days));
        end(record, ends % 3);
        end(recordOf(kSig), ends / 3 % 3);
        bytes32 before = statusOfBoth(record.kSig);
        bool isTaken = isBack && (anchoredAt % 2 == 0 || anchoredAt == START);
        try registry.link(record, boot.manifest, recordOf(kSig), anchoredAt % 2 == 0 ? START : anchoredAt) {
            assertTrue(isTaken, "linked without an anchor");
        } catch {
            assertTrue(!isTaken, "not linked");
        }
        assertEq(statusOfBoth(record.kSig), before);
        assertEq(LogId.unwrap(registry.successorOf(predecessor)), isTaken ? LogId.unwrap(successor) : bytes32(0));
        assertEq(LogId.unwrap(registry.successorOf(successor)), 0);
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

    /// The second boot, registered while the size that it names is not anchored.
    function registeredInAGap(uint64 size) private returns (Record memory) {
        boot = successorOf(predecessor, size, RefTree.root(leaves, 0, size));
        leavesAGap(boot, IKeys.Gap.NotAnchored);
        return recordFor(boot, workloadId());
    }

    function anchoredAfterAGap() private returns (Record memory record) {
        record = registeredInAGap(5);
        anchorLeaves(ENCLAVE_KEY, leaves, 5);
    }

    /// A boot whose manifest names the log of a boot that is not registered yet.
    function registeredBefore(uint256 enclaveKey, uint256 laterKey) private returns (Record memory) {
        IKeys.Submission memory s = goodSubmission(enclaveKey);
        s.manifest.predecessorLog = harness.logId(vm.addr(laterKey), K_LOG);
        s.manifest.predecessorRoot = EMPTY_ROOT;
        signBoot(s);
        boot = s;
        return registry.register(s);
    }

    /// A boot that continues this log, of which it saw nothing.
    function continued(Record memory record, uint256 enclaveKey) private returns (Record memory) {
        IKeys.Submission memory s = goodSubmission(enclaveKey);
        s.manifest.predecessorLog = record.logId;
        s.manifest.predecessorRoot = EMPTY_ROOT;
        s.predecessor = record;
        signBoot(s);
        Record memory later = registry.register(s);
        assertEq(LogId.unwrap(registry.successorOf(record.logId)), LogId.unwrap(later.logId));
        return later;
    }

    /// The second boot in a gap, continued by this many, one after the other; then the log that it names.
    function followedBy(uint256 count) private returns (Record memory record, Record memory late) {
        record = registeredBefore(ENCLAVE_KEY + 1, ENCLAVE_KEY + 2);
        Record memory last = record;
        for (uint256 i = 0; i < count; ++i) {
            last = continued(last, ENCLAVE_KEY + 3 + i);
        }
        late = register(goodSubmission(ENCLAVE_KEY + 2));
    }

    /// Retires, revokes, or neither.
    function end(Record memory record, uint8 how) private {
        if (how == 0) return;
        vm.prank(operator);
        if (how == 1) registry.retire(record);
        else registry.revoke(record);
    }

    function notLinked(Record memory record, uint64 anchoredAt, bytes memory reason) private {
        vm.expectRevert(reason);
        registry.link(record, boot.manifest, recordOf(kSig), anchoredAt);
    }

    function stillAGap(IKeys.Gap gap) private view returns (bytes memory) {
        return abi.encodeWithSelector(IKeys.StillAGap.selector, predecessor, successor, gap);
    }

    /// Everything that the registry says of the two keys, but the edge.
    function statusOfBoth(address second) private view returns (bytes32) {
        return keccak256(
            abi.encode(
                registry.stateOf(kSig),
                registry.stateOf(second),
                registry.recordHash(kSig),
                registry.recordHash(second),
                registry.keyOf(predecessor),
                registry.keyOf(successor),
                registry.newest(0)
            )
        );
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
