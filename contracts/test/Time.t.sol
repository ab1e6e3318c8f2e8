// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Checkpoint, Freshness, LogId, PolicyId, Record} from "../src/Types.sol";
import {IAnchors} from "../src/interfaces/IAnchors.sol";
import {IKeys} from "../src/interfaces/IKeys.sol";
import {IProofs} from "../src/interfaces/IProofs.sol";
import {IQuorumVerifier} from "../src/interfaces/IQuorumVerifier.sol";
import {IWorkloadPolicy} from "../src/interfaces/IWorkloadPolicy.sol";
import {Logged} from "./support/Logged.sol";

/// The five lines of the time rule (spec/bundle.md section 6), each up to its last second and one second more. Each edge is an
/// answer that the chain sees, with a neighbour on the other side.
contract TimeRuleTest is Logged {
    uint64 private constant SKEW = 120;
    uint64 private constant WEEK = 7 days;
    /// Of the key that `setUp` registers.
    uint64 private constant VALID_FROM = START - 20;
    uint64 private constant VALID_UNTIL = START - 10 + DOCUMENT_LIFE;
    /// When `setUp` ends.
    uint64 private constant NOW = START + 600;

    function setUp() public override {
        super.setUp();
        registerGood(ENCLAVE_KEY);
        policyId = goodPolicy();
        goTo(NOW);
    }

    // Line 1.

    function test_boot_takesTheFirstSecondOfAClockThatIsBehind() public {
        assertEq(registry.prove(finishedAt((VALID_FROM - SKEW) * 1000)).finished, VALID_FROM - SKEW);
    }

    function test_boot_revertsOneSecondBefore() public {
        refused(
            finishedAt((VALID_FROM - SKEW) * 1000 - 1), err(IProofs.FinishedBeforeBoot.selector, VALID_FROM, VALID_FROM - SKEW - 1)
        );
    }

    // Line 2.

    function test_validity_takesTheLastMillisecondOfTheLastSecond() public {
        goTo(VALID_UNTIL + 60);
        assertEq(registry.prove(finishedAt(VALID_UNTIL * 1000 + 999)).finished, VALID_UNTIL);
    }

    function test_validity_revertsOneSecondAfter() public {
        goTo(VALID_UNTIL + 60);
        refused(finishedAt((VALID_UNTIL + 1) * 1000), err(IProofs.FinishedAfterValidity.selector, VALID_UNTIL, VALID_UNTIL + 1));
    }

    /// A renewal covers what was finished before it was shown, and also before its document was made.
    function test_validity_isRaisedForWhatIsAnchored() public {
        goTo(START + 1 days);
        IProofs.ReceiptProof memory c = finishedAt((START + 12 hours) * 1000);
        refused(c, err(IProofs.FinishedAfterValidity.selector, VALID_UNTIL, START + 12 hours));
        renewGood(kSig);
        registry.prove(c);
    }

    function test_validity_endsWithTheTerms() public {
        uint64 termsUntil = recordOf(kSig).termsUntil;
        goTo(termsUntil + 60);
        renewWith(kSig, termsUntil - 60);
        IProofs.ReceiptProof memory last = finishedAt(termsUntil * 1000);
        IProofs.ReceiptProof memory late = finishedAt((termsUntil + 1) * 1000);
        registry.prove(last);
        refused(late, err(IProofs.FinishedAfterValidity.selector, termsUntil, termsUntil + 1));
    }

    // Line 3.

    function test_seen_takesAClockAheadByTheSkew() public {
        assertEq(registry.prove(finishedAt((NOW + SKEW) * 1000 + 999)).finished, NOW + SKEW);
    }

    function test_seen_revertsIfTheClockIsAheadByMore() public {
        refused(finishedAt((NOW + SKEW + 1) * 1000), err(IProofs.FinishedAfterSeen.selector, NOW + SKEW, NOW + SKEW + 1));
    }

    // Line 4.

    function test_seen_takesAnAnchorAWeekAfterItWasFinished() public {
        goTo(START + WEEK);
        assertEq(registry.prove(finishedAt(START * 1000)).seenAt, START + WEEK);
    }

    /// A key that lapsed long ago signs, and whoever holds it anchors, what it says was finished in its first second.
    function test_seen_revertsIfAnchoredASecondMoreThanAWeekLater() public {
        goTo(START + WEEK + 1);
        refused(finishedAt(START * 1000 + 999), err(IProofs.SeenTooLate.selector, START + WEEK, START + WEEK + 1));
    }

    function test_seen_holdsForObservationsToo() public {
        goTo(START + WEEK + 1);
        Entry memory late = append(ENCLAVE_KEY, receiptOf(ENCLAVE_KEY, START * 1000));
        Entry memory good = append(ENCLAVE_KEY, receiptOf(ENCLAVE_KEY, (START + 1) * 1000));
        observeLog(ENCLAVE_KEY);
        refused(observedIn(late, 2, policyId), err(IProofs.SeenTooLate.selector, START + WEEK, START + WEEK + 1));
        assertEq(registry.prove(observedIn(good, 2, policyId)).seenAt, START + WEEK + 1);
    }

    // Line 5, retired.

    function test_retired_takesTheLastSecondOfTheNotice() public {
        retire();
        goTo(NOW + 1 hours + 60);
        assertEq(registry.prove(finishedAt((NOW + 1 hours) * 1000 + 999)).finished, NOW + 1 hours);
    }

    function test_retired_revertsOneSecondAfterTheNotice() public {
        retire();
        goTo(NOW + 1 hours + 60);
        refused(
            finishedAt((NOW + 1 hours + 1) * 1000), err(IProofs.FinishedAfterRetirement.selector, NOW + 1 hours, NOW + 1 hours + 1)
        );
    }

    /// The log of a retired key must be able to end: what counts is when the answer was finished.
    function test_retired_takesAnAnchorDaysLater() public {
        retire();
        goTo(NOW + 6 days);
        registry.prove(finishedAt(NOW * 1000));
    }

    // Line 5, revoked.

    function test_revoked_takesWhatWasAnchoredASecondBefore() public {
        IProofs.ReceiptProof memory c = finishedAt(NOW * 1000);
        goTo(NOW + 1);
        revoke();
        goTo(NOW + 365 days);
        registry.prove(c);
    }

    function test_revoked_revertsIfAnchoredInTheSameSecond() public {
        IProofs.ReceiptProof memory c = finishedAt(NOW * 1000);
        revoke();
        refused(c, err(IProofs.SeenAfterRevocation.selector, NOW, NOW));
    }

    function test_revoked_anchorsNothingMore() public {
        revoke();
        fill(ENCLAVE_KEY, 1);
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, 1, logRoot(ENCLAVE_KEY, 1));
        vm.expectRevert(err(IAnchors.KeyRevoked.selector, bytes32(uint256(NOW))));
        registry.anchor(recordOf(kSig), words, signature, 0, 0, new bytes32[](0));
    }

    /// Observations are still taken, as evidence; they prove nothing.
    function test_revoked_revertsIfObservedAfter() public {
        revoke();
        goTo(NOW + 1);
        Entry memory entry = append(ENCLAVE_KEY, receiptOf(ENCLAVE_KEY, NOW * 1000));
        observeLog(ENCLAVE_KEY);
        refused(observedIn(entry, 1, policyId), err(IProofs.SeenAfterRevocation.selector, NOW, NOW + 1));
    }

    function test_revoked_afterRetirementCutsTheNoticeShort() public {
        retire();
        goTo(NOW + 60);
        IProofs.ReceiptProof memory early = finishedAt((NOW + 60) * 1000);
        goTo(NOW + 120);
        IProofs.ReceiptProof memory late = finishedAt((NOW + 60) * 1000);
        revoke();
        registry.prove(early);
        refused(late, err(IProofs.SeenAfterRevocation.selector, NOW + 120, NOW + 120));
    }

    /// Both ends are kept: a revocation does not forgive what was finished after the retirement.
    function test_revoked_afterRetirementKeepsThatEnd() public {
        retire();
        goTo(NOW + 1 hours + 60);
        IProofs.ReceiptProof memory c = finishedAt((NOW + 1 hours + 1) * 1000);
        goTo(NOW + 2 hours);
        revoke();
        refused(c, err(IProofs.FinishedAfterRetirement.selector, NOW + 1 hours, NOW + 1 hours + 1));
    }

    /// An answer of the enclave's own future, seen before the revocation, is covered by a renewal up to the skew, and not beyond.
    function test_revoked_validityIsRaisedUpToTheSkew() public {
        goTo(START + 1 days);
        IProofs.ReceiptProof memory last = finishedAt((START + 1 days + SKEW) * 1000);
        goTo(START + 1 days + 1);
        revoke();
        renewGood(kSig);
        registry.prove(last);
        assertEq(registry.stateOf(kSig).validUntil, START + 1 days + 1 + SKEW);
    }

    // Of any edge.

    /// The rule as it is written in the specification, in unbounded arithmetic.
    function testFuzz_prove_isTheTimeRule(uint256 finished, uint256 seenAt, uint256 retiredAt, uint256 revokedAt) public {
        finished = bound(finished, VALID_FROM - 300, VALID_UNTIL + 300);
        seenAt = bound(seenAt, START, START + 8 days);
        retiredAt = bound(retiredAt, START, START + 3 hours);
        revokedAt = bound(revokedAt, START, START + 8 days);
        bool isRevoked = revokedAt % 3 == 0;
        bool holds = VALID_FROM <= finished + SKEW && finished <= VALID_UNTIL && finished <= seenAt + SKEW
            && seenAt <= finished + WEEK && finished <= retiredAt + 1 hours && (!isRevoked || seenAt < revokedAt);

        Entry memory entry = append(ENCLAVE_KEY, receiptOf(ENCLAVE_KEY, uint64(finished) * 1000));
        vm.warp(seenAt);
        observeLog(ENCLAVE_KEY);
        vm.warp(retiredAt);
        retire();
        vm.warp(revokedAt);
        if (isRevoked) revoke();
        try registry.prove(observedIn(entry, 1, policyId)) {
            assertTrue(holds, "proven against the rule");
        } catch {
            assertTrue(!holds, "refused against the rule");
        }
    }

    /// Whatever an enclave's clock says, the answer is a refusal by name and no overflow.
    function testFuzz_prove_refusesAnyTimeByName(uint64 finishedMs) public {
        vm.assume(finishedMs / 1000 < VALID_FROM - SKEW || NOW + SKEW < finishedMs / 1000);
        IProofs.ReceiptProof memory c = finishedAt(finishedMs);
        uint64 finished = finishedMs / 1000;
        if (finished < VALID_FROM) refusedWith(c, IProofs.FinishedBeforeBoot.selector);
        else if (finished <= VALID_UNTIL) refusedWith(c, IProofs.FinishedAfterSeen.selector);
        else refusedWith(c, IProofs.FinishedAfterValidity.selector);
    }

    function finishedAt(uint64 finishedMs) private returns (IProofs.ReceiptProof memory) {
        return anchored(receiptOf(ENCLAVE_KEY, finishedMs));
    }

    function retire() private {
        vm.prank(operator);
        registry.retire(recordOf(kSig));
    }

    function revoke() private {
        vm.prank(operator);
        registry.revoke(recordOf(kSig));
    }
}

/// Days and a year of nodes, their hosts, and people who wish them ill. Each ends in what verifies and what does not.
contract StoriesTest is Logged {
    uint64 private constant HOUR = 1 hours;

    function setUp() public override {
        super.setUp();
        registerGood(ENCLAVE_KEY);
        policyId = goodPolicy();
    }

    /// The node serves for 40 hours before anyone registers it: the host sends its 20th document. The first hour counts too.
    function test_story_registeredWithItsTwentiethDocument() public {
        uint256 key = 0x20;
        goTo(START + 40 hours);
        registerBootedAt(key, START);
        Entry memory first = append(key, receiptOf(key, (START + HOUR / 2) * 1000));
        Entry memory last = append(key, receiptOf(key, (START + 40 hours) * 1000));
        anchorLog(key);
        registry.prove(proofOf(first, policyId));
        registry.prove(proofOf(last, policyId));
    }

    /// Registered eight days after it booted: what it did in the first day nobody can show any more.
    function test_story_registeredTooLateForItsFirstDay() public {
        uint256 key = 0x20;
        goTo(START + 8 days);
        registerBootedAt(key, START);
        Entry memory first = append(key, receiptOf(key, (START + HOUR / 2) * 1000));
        Entry memory second = append(key, receiptOf(key, (START + 1 days) * 1000));
        anchorLog(key);
        refused(proofOf(first, policyId), err(IProofs.SeenTooLate.selector, START + HOUR / 2 + 7 days, START + 8 days));
        registry.prove(proofOf(second, policyId));
    }

    /// An anchor each hour, a renewal once a day. The operator retires the node at hour 23 and its host shows nothing more: a
    /// stranger who kept the document of hour 22 covers every answer up to the end that was declared.
    function test_story_aStrangerRenewsARetiredKey() public {
        Entry[] memory entries = new Entry[](24);
        for (uint64 hour = 0; hour < 24; ++hour) {
            goTo(START + hour * HOUR);
            if (hour == 23) retire(ENCLAVE_KEY);
            entries[hour] = append(ENCLAVE_KEY, receiptOf(ENCLAVE_KEY, (START + hour * HOUR) * 1000));
            anchorLog(ENCLAVE_KEY);
        }
        uint64 covered = START - 10 + DOCUMENT_LIFE;
        refused(hourly(entries[2], 2), err(IProofs.FinishedAfterValidity.selector, covered, START + 2 * HOUR));
        goTo(START + 2 days);
        vm.prank(vm.addr(STRANGER_KEY));
        renewWith(kSig, START + 22 * HOUR);
        for (uint64 hour = 0; hour < 24; ++hour) {
            registry.prove(hourly(entries[hour], hour));
        }
    }

    /// A document made after the retirement covers up to the end that was declared, and the day after nothing.
    function test_story_aRetiredKeyIsNotProlonged() public {
        goTo(START + 23 * HOUR);
        retire(ENCLAVE_KEY);
        goTo(START + 26 * HOUR);
        renewGood(kSig);
        Entry memory last = append(ENCLAVE_KEY, receiptOf(ENCLAVE_KEY, START * 1000 + 24 * HOUR * 1000));
        Entry memory late = append(ENCLAVE_KEY, receiptOf(ENCLAVE_KEY, START * 1000 + 24 * HOUR * 1000 + 1000));
        anchorLog(ENCLAVE_KEY);
        registry.prove(proofOf(last, policyId));
        refused(proofOf(late, policyId), err(IProofs.FinishedAfterValidity.selector, START + 24 * HOUR, START + 24 * HOUR + 1));
    }

    /// The enclave died at hour 11 and its host slept. On day six the chain no longer knows the block that the last document names,
    /// and does not ask: renewed, anchored and proven by whoever kept document and checkpoint.
    function test_story_aDeadEnclaveIsRenewedOnDaySix() public {
        Entry memory entry = diesAtHour11();
        goTo(START + 6 days);
        assertEq(registry.stateOf(kSig).validUntil, START - 10 + DOCUMENT_LIFE);
        renewOf(kSig, START + 10 * HOUR, oldBlock);
        anchorLog(ENCLAVE_KEY);
        registry.prove(proofOf(entry, policyId));
    }

    function test_story_aDeadEnclaveIsRenewedOnTheLastSecondOfAWeek() public {
        diesAtHour11();
        goTo(START + 10 * HOUR + 7 days);
        renewOf(kSig, START + 10 * HOUR, oldBlock);
        assertEq(registry.stateOf(kSig).validUntil, START + 10 * HOUR + DOCUMENT_LIFE);
    }

    function test_story_aDeadEnclaveIsNotRenewedAfterAWeek() public {
        diesAtHour11();
        uint64 oldest = START + 10 * HOUR + 1;
        goTo(oldest + 7 days);
        (bytes memory evidence, bytes memory data) = document(kSig, oldest - 1, oldBlock);
        Record memory record = recordOf(kSig);
        vm.expectRevert(err(IKeys.EvidenceTooOld.selector, oldest, oldest - 1));
        registry.renew(record, evidence, data, oldBlock);
    }

    /// Observed, then stolen and revoked. The host never anchored: the observation alone carries the receipt, for a caller who
    /// takes one.
    function test_story_observedBeforeARevocationAndNeverAnchored() public {
        Entry memory entry = append(ENCLAVE_KEY, receiptOf(ENCLAVE_KEY, START * 1000));
        observeLog(ENCLAVE_KEY);
        goTo(START + 60);
        revoke(ENCLAVE_KEY);
        IProofs.ReceiptProof memory c = observedIn(entry, 1, policyId);
        c.acceptsObservation = false;
        refused(c, err(IProofs.AnchorRequired.selector));
        c.acceptsObservation = true;
        assertTrue(!registry.prove(c).inSequence, "an observation is in no sequence");
    }

    function test_story_observedAndAnchoredBeforeARevocation() public {
        Entry memory entry = append(ENCLAVE_KEY, receiptOf(ENCLAVE_KEY, START * 1000));
        observeLog(ENCLAVE_KEY);
        goTo(START + 30);
        anchorLog(ENCLAVE_KEY);
        goTo(START + 60);
        revoke(ENCLAVE_KEY);
        assertTrue(registry.prove(proofOf(entry, policyId)).inSequence, "anchored");
        assertEq(registry.prove(observedIn(entry, 1, policyId)).seenAt, START);
    }

    /// A client observed its answer's tree at once; the host anchored eight days later. The anchor alone is too late; with the observation
    /// it stands, in its place in the sequence.
    function test_story_observedInTimeAndAnchoredTooLate() public {
        Entry memory entry = append(ENCLAVE_KEY, receiptOf(ENCLAVE_KEY, START * 1000));
        observeLog(ENCLAVE_KEY);
        goTo(START + 8 days);
        anchorLog(ENCLAVE_KEY);
        refused(proofOf(entry, policyId), err(IProofs.SeenTooLate.selector, START + 7 days, START + 8 days));
        assertTrue(!registry.prove(observedIn(entry, 1, policyId)).inSequence, "an observation is in no sequence");
        IProofs.ReceiptProof memory both = proofOf(entry, policyId);
        (both.observedSize, both.observedInclusion) = (1, pathIn(entry, 1));
        assertTrue(registry.prove(both).inSequence, "anchored");
    }

    /// A thief of a key that lapsed, unnoticed, writes any time into a receipt and observes it. After a week it proves nothing;
    /// within it, a caller who takes observations takes the thief's word. That limit is what `inSequence` says.
    function test_story_aThiefOfALapsedKey() public {
        goTo(START + 6 days);
        Entry memory forged = append(ENCLAVE_KEY, receiptOf(ENCLAVE_KEY, (START + HOUR) * 1000));
        observeLog(ENCLAVE_KEY);
        goTo(START + HOUR + 7 days + 1);
        Entry memory late = append(ENCLAVE_KEY, receiptOf(ENCLAVE_KEY, (START + HOUR) * 1000));
        observeLog(ENCLAVE_KEY);
        assertTrue(!registry.prove(observedIn(forged, 1, policyId)).inSequence, "the thief's word");
        refused(observedIn(late, 2, policyId), err(IProofs.SeenTooLate.selector, START + HOUR + 7 days, START + HOUR + 7 days + 1));
    }

    // A year.

    uint256 private constant MONTHS = 12;
    uint64 private constant MONTH = 30 days;
    /// Of the month: nothing is anchored from this day until the next.
    uint256 private constant OUTAGE_MONTH = 5;
    uint64 private constant OUTAGE_FROM = 10;
    uint64 private constant OUTAGE_UNTIL = 18;
    uint256 private constant STOLEN_MONTH = 8;
    uint64 private constant STOLEN_DAY = 20;
    /// Days 1 to 28 of a month have an answer each; the key retires on day 29.
    uint64 private constant LAST_DAY = 29;

    /// An answer of the year, and the error that it ends in: zero if it is proven.
    struct Expected {
        Entry entry;
        uint64 size;
        uint64 anchoredAt;
        bytes4 refusal;
    }

    Expected[] private answers;

    /// A key each month that continues the one before, a document and an anchor a day, an outage of eight days, a theft, and a
    /// retirement at the end of each month. At the end of the year every answer still says what it said.
    function test_story_aYear() public {
        PolicyId owned = policies.create(
            termsOf(address(this), 0), new IWorkloadPolicy.FirstListing[](0), new IWorkloadPolicy.FirstOperator[](0)
        );
        policies.proposeWorkload(owned, listedId(), 0);
        for (uint256 month = 0; month < MONTHS; ++month) {
            liveAMonth(month);
        }
        goTo(START + 13 * MONTH);
        uint256 proven = 0;
        for (uint256 i = 0; i < answers.length; ++i) {
            Expected memory e = answers[i];
            IProofs.ReceiptProof memory c = proofIn(e.entry, e.size, e.anchoredAt, owned);
            if (e.refusal == 0) {
                registry.prove(c);
                ++proven;
            } else {
                refusedWith(c, e.refusal);
            }
        }
        // Not proven: the first day of the outage, nine of the thief, and the one after the end of each month but the thief's.
        assertEq(proven, MONTHS * 28 - 1 - 9);
        assertEq(answers.length, MONTHS * 29 - 1);
        assertUnbroken();
    }

    function liveAMonth(uint256 month) private {
        uint256 key = keyOf(month);
        goTo(START + uint64(month) * MONTH + HOUR);
        succeed(month);
        for (uint64 day = 1; day < LAST_DAY; ++day) {
            uint64 time = START + uint64(month) * MONTH + day * 1 days + HOUR;
            goTo(time);
            bool dark = month == OUTAGE_MONTH && OUTAGE_FROM <= day && day < OUTAGE_UNTIL;
            bool stolen = month == STOLEN_MONTH && STOLEN_DAY <= day;
            if (month == STOLEN_MONTH && day == STOLEN_DAY) revoke(key);
            answer(key, time, stolen ? IProofs.NotAnchored.selector : bytes4(0));
            if (!dark && !stolen) showDay(key);
        }
        if (month == STOLEN_MONTH) return;
        endOfMonth(month);
    }

    /// The operator retires the key on day 29; an answer after its notice counts no more.
    function endOfMonth(uint256 month) private {
        uint256 key = keyOf(month);
        uint64 day29 = START + uint64(month) * MONTH + LAST_DAY * 1 days + HOUR;
        goTo(day29 - 60);
        renewGood(vm.addr(key));
        goTo(day29);
        retire(key);
        goTo(day29 + HOUR + 60);
        answer(key, day29 + HOUR + 1, IProofs.FinishedAfterRetirement.selector);
        showAnchor(key);
    }

    function answer(uint256 key, uint64 finished, bytes4 refusal) private {
        Entry memory entry = append(key, receiptOf(key, finished * 1000));
        answers.push();
        Expected storage e = answers[answers.length - 1];
        e.entry = entry;
        e.refusal = refusal;
        e.size = entry.index + 1;
    }

    function showDay(uint256 key) private {
        renewGood(vm.addr(key));
        showAnchor(key);
    }

    /// Anchors the log: every answer since the last anchor is under this one, and those older than a week are too late.
    function showAnchor(uint256 key) private {
        anchorLog(key);
        for (uint256 i = answers.length; 0 < i; --i) {
            Expected storage e = answers[i - 1];
            if (e.entry.key != key || e.anchoredAt != 0) break;
            e.size = logSize(key);
            e.anchoredAt = uint64(block.timestamp);
            if (e.entry.receipt.work.finishedAt / 1000 + 7 days < block.timestamp) e.refusal = IProofs.SeenTooLate.selector;
        }
    }

    /// Registers the key of this month, which continues the log of the month before. (That of the first month is registered.)
    function succeed(uint256 month) private {
        if (month == 0) return;
        address before = vm.addr(keyOf(month - 1));
        IKeys.Submission memory s = goodSubmission(keyOf(month));
        s.manifest.predecessorLog = recordOf(before).logId;
        s.manifest.predecessorSize = lastOf[before].size;
        s.manifest.predecessorRoot = lastOf[before].root;
        s.predecessor = recordOf(before);
        s.predecessorAnchoredAt = lastOf[before].anchoredAt;
        signAll(s);
        register(s);
    }

    /// Every log of the year is continued by the next.
    function assertUnbroken() private view {
        for (uint256 month = 0; month + 1 < MONTHS; ++month) {
            LogId log = recordOf(vm.addr(keyOf(month))).logId;
            LogId next = recordOf(vm.addr(keyOf(month + 1))).logId;
            assertEq(LogId.unwrap(registry.successorOf(log)), LogId.unwrap(next));
        }
    }

    function keyOf(uint256 month) private pure returns (uint256) {
        return ENCLAVE_KEY + month;
    }

    // Acts.

    /// Block of the last document of `diesAtHour11`.
    Freshness private oldBlock;

    /// Serves until hour 11; its last document is of hour 10. Then more blocks than the chain remembers.
    function diesAtHour11() private returns (Entry memory entry) {
        goTo(START + 10 * HOUR);
        oldBlock = freshNow();
        goTo(START + 11 * HOUR);
        entry = append(ENCLAVE_KEY, receiptOf(ENCLAVE_KEY, (START + 11 * HOUR) * 1000));
        vm.roll(block.number + 8192);
    }

    function registerBootedAt(uint256 key, uint64 bootedAt) private {
        IKeys.Submission memory s = goodSubmission(key);
        s.manifest.bootedAt = bootedAt;
        signAll(s);
        register(s);
    }

    function document(address signer, uint64 time, Freshness memory freshness)
        private
        view
        returns (bytes memory evidence, bytes memory data)
    {
        evidence = abi.encodePacked("old document of ", signer, time);
        IQuorumVerifier.Verdict memory verdict = goodVerdict(evidence, signer, recordOf(signer).manifestHash, freshness);
        verdict.documentTime = time;
        data = signedVerdict(verdict);
    }

    /// Renews with a document of that time, which names that block.
    function renewOf(address signer, uint64 time, Freshness memory freshness) private {
        (bytes memory evidence, bytes memory data) = document(signer, time, freshness);
        registry.renew(recordOf(signer), evidence, data, freshness);
    }

    function retire(uint256 key) private {
        vm.prank(operator);
        registry.retire(recordOf(vm.addr(key)));
    }

    function revoke(uint256 key) private {
        vm.prank(operator);
        registry.revoke(recordOf(vm.addr(key)));
    }

    /// A proof under the anchor of this hour, when the log had a leaf for each hour before.
    function hourly(Entry memory entry, uint64 hour) private view returns (IProofs.ReceiptProof memory) {
        return proofIn(entry, hour + 1, START + hour * HOUR, policyId);
    }
}
