// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {KeyStates} from "../src/KeyState.sol";
import {Freshness, Record, WorkloadId} from "../src/Types.sol";
import {IKeys} from "../src/interfaces/IKeys.sol";
import {IQuorumVerifier} from "../src/interfaces/IQuorumVerifier.sol";
import {VerifierCall} from "../src/lib/VerifierCall.sol";
import {KeysFixture} from "./support/KeysFixture.sol";

/// Newer evidence of a registered key: it raises, up to every end, and does nothing else.
contract KeysRenewTest is KeysFixture {
    struct Renewal {
        bytes evidence;
        IQuorumVerifier.Verdict verdict;
        Freshness freshness;
    }

    /// The key is registered in block 1000 and counts until here.
    uint64 private constant FIRST_END = START - 10 + DOCUMENT_LIFE;

    function setUp() public override {
        super.setUp();
        registerGood(ENCLAVE_KEY);
    }

    // What it does.

    function test_renew_raisesTheEnd() public {
        later(1 hours, 2800);
        renew(renewal(START + 1 hours - 10));
        assertEq(registry.stateOf(kSig).validUntil, START + 3 hours - 10);
    }

    function test_renew_setsTheBlockOfTheRenewalOnly() public {
        later(1 hours, 2800);
        renew(renewal(START + 1 hours - 10));
        assertEq(registry.stateOf(kSig).renewedBlock, 2800);
        assertEq(registry.stateOf(kSig).registeredBlock, 1000);
    }

    function test_renew_leavesTheRecord() public {
        bytes32 before = registry.recordHash(kSig);
        later(1 hours, 2800);
        renew(renewal(START + 1 hours - 10));
        assertEq(registry.recordHash(kSig), before);
    }

    function test_renew_anyoneMaySend() public {
        later(1 hours, 2800);
        Renewal memory r = renewal(START + 1 hours - 10);
        bytes memory data = signedVerdict(r.verdict);
        vm.prank(address(0xbad));
        registry.renew(recordOf(kSig), r.evidence, data, r.freshness);
        assertEq(registry.stateOf(kSig).validUntil, START + 3 hours - 10);
    }

    /// The period has no gaps: what an enclave finished while nobody renewed its key is covered once somebody does.
    function test_renew_afterALapseCoversTheGap() public {
        later(5 hours, 10_000);
        renew(renewal(START + 5 hours - 10));
        assertEq(registry.statusOf(recordOf(kSig)).validUntil, START + 7 hours - 10);
        assertEq(recordOf(kSig).validFrom, START - 20);
    }

    // Its event, which links back.

    function test_renew_emitsAllOfItAndTheBlockOfTheRegistration() public {
        later(1 hours, 2800);
        expectRenewed(START + 1 hours - 10, 1000);
    }

    function test_renew_emitsTheBlockOfTheRenewalBefore() public {
        later(1 hours, 2800);
        renew(renewal(START + 1 hours - 10));
        later(2 hours, 4600);
        expectRenewed(START + 2 hours - 10, 2800);
    }

    /// What raised nothing is in no list.
    function test_renew_emitsTheBlockOfTheLastThatRaised() public {
        later(1 hours, 2800);
        renew(renewal(START + 1 hours - 10));
        later(2 hours, 4600);
        renew(renewal(START + 1 hours - 10));
        expectRenewed(START + 2 hours - 10, 2800);
    }

    function test_renew_twiceInOneBlockNamesThatBlock() public {
        later(1 hours, 2800);
        renew(renewal(START + 30 minutes));
        expectRenewed(START + 1 hours, 2800);
    }

    // What raises nothing.

    function test_renew_changesNothingIfTheEndIsTheSame() public {
        later(1 hours, 2800);
        changesNothing(renewal(START - 10));
    }

    function test_renew_changesNothingIfTheDocumentIsOlder() public {
        later(1 hours, 2800);
        changesNothing(renewal(START - 1 days));
    }

    function test_renew_changesNothingIfTheTermsAreOver() public {
        registerUntil(START + 1 hours);
        later(30 minutes, 1900);
        changesNothing(renewal(START + 30 minutes));
    }

    function test_renew_raisesByASecond() public {
        later(1 hours, 2800);
        renew(renewal(START - 9));
        assertEq(registry.stateOf(kSig).validUntil, FIRST_END + 1);
    }

    // The age of a document.

    function test_renew_takesADocumentOfTheGreatestAge() public {
        later(7 days, 300_000);
        renew(renewal(START));
        assertEq(registry.stateOf(kSig).validUntil, START + DOCUMENT_LIFE);
    }

    function test_renew_revertsIfTheDocumentIsTooOld() public {
        later(7 days + 1, 300_000);
        refused(renewal(START), err(IKeys.EvidenceTooOld.selector, START + 1, START));
    }

    /// Whether it would raise anything is asked later.
    function test_renew_revertsIfADocumentThatRaisesNothingIsTooOld() public {
        refused(renewal(START - 7 days - 1), err(IKeys.EvidenceTooOld.selector, START - 7 days, START - 7 days - 1));
    }

    function test_renew_takesADocumentAheadByTheSkew() public {
        renew(renewal(START + 120));
        assertEq(registry.stateOf(kSig).validUntil, START + 120 + DOCUMENT_LIFE);
    }

    function test_renew_revertsIfTheDocumentIsFromTheFuture() public {
        refused(renewal(START + 121), err(IKeys.EvidenceFromTheFuture.selector, START + 120, START + 121));
    }

    // Freshness: the document has its own time, so its block is only part of the attested bytes.

    function test_renew_takesABlockThatTheChainForgot() public {
        later(1 hours, 1_000_000);
        Renewal memory r = renewal(START + 1 hours - 10);
        r.freshness.blockNumber = 1_000_000 - 8192;
        r.freshness.blockHash = "long forgotten";
        attest(r);
        renew(r);
        assertEq(registry.stateOf(kSig).validUntil, START + 3 hours - 10);
    }

    /// Pinned: the hash of a recent block is not compared either.
    function test_renew_takesARecentBlockOfAnyHash() public {
        later(1 hours, 2800);
        Renewal memory r = renewal(START + 1 hours - 10);
        r.freshness.blockHash = "not the chain's";
        attest(r);
        renew(r);
        assertEq(registry.stateOf(kSig).validUntil, START + 3 hours - 10);
    }

    function test_renew_revertsIfFreshnessNamesAnotherChain() public {
        later(1 hours, 2800);
        Renewal memory r = renewal(START + 1 hours - 10);
        r.freshness.chainId = 1;
        attest(r);
        refused(r, err(IKeys.WrongChain.selector, block.chainid, 1));
    }

    // The ends that it does not pass.

    function test_renew_endsWithTheTerms() public {
        registerUntil(START + 150 minutes);
        later(1 hours, 2800);
        renew(renewal(START + 1 hours - 10));
        assertEq(registry.stateOf(kSig).validUntil, START + 150 minutes);
    }

    function test_renew_endsWithTheRetirement() public {
        later(3 hours, 6400);
        retire();
        renew(renewal(START + 3 hours - 10));
        assertEq(registry.stateOf(kSig).validUntil, START + 4 hours);
    }

    function test_renew_endsASkewAfterTheRevocation() public {
        later(3 hours, 6400);
        revoke();
        renew(renewal(START + 3 hours - 10));
        assertEq(registry.stateOf(kSig).validUntil, START + 3 hours + 120);
    }

    function test_renew_endsWithTheSoonerOfBoth() public {
        later(3 hours, 6400);
        retire();
        later(3 hours + 30 minutes, 7300);
        revoke();
        renew(renewal(START + 3 hours + 29 minutes));
        assertEq(registry.stateOf(kSig).validUntil, START + 3 hours + 30 minutes + 120);
    }

    /// A document that ends before the retirement raises to its own end.
    function test_renew_raisesARetiredKeyToTheEndOfTheDocument() public {
        later(3 hours, 6400);
        retire();
        renew(renewal(START + 1 hours));
        assertEq(registry.stateOf(kSig).validUntil, START + 3 hours);
    }

    /// Neither act voids what a document covers already.
    function test_renew_doesNotLowerTheEndOfARetiredKey() public {
        later(10 minutes, 1300);
        retire();
        changesNothing(renewal(START + 10 minutes));
    }

    function test_renew_doesNotLowerTheEndOfARevokedKey() public {
        later(10 minutes, 1300);
        revoke();
        changesNothing(renewal(START + 10 minutes));
    }

    /// The rule in one line, against the contract.
    function testFuzz_renew_followsTheRule(uint256 now_, uint256 age, uint256 retiredAfter, uint256 revokedAfter) public {
        now_ = bound(now_, 0, 20 days);
        age = bound(age, 0, 7 days);
        uint256 end = START + now_ - age + 2 hours;
        if (end > START + 30 days) end = START + 30 days;
        if (retiredAfter % 2 == 0) {
            uint256 retiredAt = START + retiredAfter % (now_ + 1);
            vm.warp(retiredAt);
            retire();
            if (end > retiredAt + 1 hours) end = retiredAt + 1 hours;
        }
        if (revokedAfter % 2 == 0) {
            uint256 revokedAt = START + revokedAfter % (now_ + 1);
            vm.warp(revokedAt);
            revoke();
            if (end > revokedAt + 120) end = revokedAt + 120;
        }
        if (end < FIRST_END) end = FIRST_END;
        vm.warp(START + now_);
        renew(renewal(uint64(START + now_ - age)));
        assertEq(registry.stateOf(kSig).validUntil, end);
    }

    // Refused.

    function test_renew_revertsIfNotRegistered() public {
        Renewal memory r = renewal(START);
        Record memory record;
        record.kSig = vm.addr(STRANGER_KEY);
        refusedWithRecord(record, r, err(IKeys.NotRegistered.selector, record.kSig));
    }

    function test_renew_revertsIfTheRecordIsAnother() public {
        Record memory record = recordOf(kSig);
        record.termsUntil += 1;
        bytes memory reason = err(IKeys.WrongRecord.selector, registry.recordHash(kSig), keccak256(abi.encode(record)));
        refusedWithRecord(record, renewal(START), reason);
    }

    /// Renewal changes the time, never the workload.
    function test_renew_revertsIfTheWorkloadIsAnother() public {
        Renewal memory r = renewal(START);
        r.verdict.innerMeasurements = keccak256("patched");
        bytes memory reason = abi.encodeWithSelector(IKeys.WrongWorkload.selector, workloadId(), workloadOf("patched"));
        refused(r, reason);
    }

    function test_renew_revertsIfTheEvidenceIsOfAnotherKey() public {
        Renewal memory r = renewal(START);
        bytes32 expected = r.verdict.attestedHash;
        r.verdict.attestedHash =
            harness.attested(vm.addr(STRANGER_KEY), recordOf(kSig).manifestHash, harness.freshnessTag(r.freshness));
        refused(r, err(IKeys.WrongAttestedBytes.selector, expected, r.verdict.attestedHash));
    }

    function test_renew_revertsIfTheEvidenceIsOfAnotherManifest() public {
        Renewal memory r = renewal(START);
        bytes32 expected = r.verdict.attestedHash;
        r.verdict.attestedHash = harness.attested(kSig, "another manifest", harness.freshnessTag(r.freshness));
        refused(r, err(IKeys.WrongAttestedBytes.selector, expected, r.verdict.attestedHash));
    }

    function test_renew_revertsIfTheChallengeIsAnother() public {
        Renewal memory r = renewal(START);
        bytes32 got = r.verdict.attestedHash;
        r.freshness.nonce = "another challenge";
        bytes32 expected = harness.attested(kSig, recordOf(kSig).manifestHash, harness.freshnessTag(r.freshness));
        refused(r, err(IKeys.WrongAttestedBytes.selector, expected, got));
    }

    function test_renew_revertsIfTheVerifierRefuses() public {
        Renewal memory r = renewal(START);
        bytes32 verified = keccak256(r.evidence);
        r.evidence = "another document";
        refused(r, err(IQuorumVerifier.WrongEvidence.selector, keccak256("another document"), verified));
    }

    function test_renew_revertsIfTheCodeOfTheVerifierChanged() public {
        bytes32 before = address(quorum).codehash;
        Renewal memory r = renewal(START);
        bytes memory data = signedVerdict(r.verdict);
        vm.etch(address(quorum), address(policies).code);
        vm.expectRevert(err(IKeys.VerifierChanged.selector, before, address(policies).codehash));
        registry.renew(recordOf(kSig), r.evidence, data, r.freshness);
    }

    function test_renew_revertsIfTheVerifierIsGone() public {
        Renewal memory r = renewal(START);
        bytes memory data = signedVerdict(r.verdict);
        vm.etch(address(quorum), "");
        vm.expectRevert(err(VerifierCall.NoVerifier.selector, address(quorum)));
        registry.renew(recordOf(kSig), r.evidence, data, r.freshness);
    }

    function test_renew_revertsIfTheEvidenceIsTooLong() public {
        Renewal memory r = renewal(START);
        r.evidence = new bytes(65_537);
        refused(r, err(IKeys.TooLong.selector, 65_536, 65_537));
    }

    function test_renew_revertsIfTheVerifierDataIsTooLong() public {
        Renewal memory r = renewal(START);
        vm.expectRevert(err(IKeys.TooLong.selector, 65_536, 65_537));
        registry.renew(recordOf(kSig), r.evidence, new bytes(65_537), r.freshness);
    }

    // Nothing is ever truncated.

    function test_renew_revertsIfTheEndDoesNotFit() public {
        vm.warp(2 ** 36 - 3 hours);
        register(submissionOf(ENCLAVE_KEY + 1, OPERATOR_KEY, "PCR0 PCR1 PCR2"));
        vm.warp(2 ** 36 - 1 hours);
        kSig = vm.addr(ENCLAVE_KEY + 1);
        Renewal memory r = renewal(2 ** 36 - 2 hours);
        refused(r, err(KeyStates.FieldOverflow.selector, 2 ** 36 - 1, 2 ** 36));
    }

    function test_renew_takesTheGreatestEndThatFits() public {
        vm.warp(2 ** 36 - 3 hours);
        register(submissionOf(ENCLAVE_KEY + 1, OPERATOR_KEY, "PCR0 PCR1 PCR2"));
        vm.warp(2 ** 36 - 1 hours);
        kSig = vm.addr(ENCLAVE_KEY + 1);
        renew(renewal(2 ** 36 - 2 hours - 1));
        assertEq(registry.stateOf(kSig).validUntil, 2 ** 36 - 1);
    }

    function test_renew_revertsIfTheBlockDoesNotFit() public {
        later(1 hours, 2 ** 35);
        refused(renewal(START + 1 hours), err(KeyStates.FieldOverflow.selector, 2 ** 35 - 1, 2 ** 35));
    }

    function test_renew_takesTheGreatestBlockThatFits() public {
        later(1 hours, 2 ** 35 - 1);
        renew(renewal(START + 1 hours));
        assertEq(registry.stateOf(kSig).renewedBlock, 2 ** 35 - 1);
        assertEq(registry.stateOf(kSig).anchoredBlock, 0);
    }

    function later(uint256 time, uint256 number) private {
        vm.warp(START + time);
        vm.roll(number);
    }

    /// A second key under terms that end then, as `kSig`.
    function registerUntil(uint64 termsUntil) private {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY + 1);
        s.terms.notAfter = termsUntil * 1000;
        signAll(s);
        register(s);
        kSig = vm.addr(ENCLAVE_KEY + 1);
    }

    function retire() private {
        vm.prank(operator);
        registry.retire(recordOf(kSig));
    }

    function revoke() private {
        vm.prank(operator);
        registry.revoke(recordOf(kSig));
    }

    /// A good document that was made then.
    function renewal(uint64 documentTime) private view returns (Renewal memory r) {
        r.evidence = abi.encodePacked("document of ", documentTime);
        r.freshness = freshNow();
        r.verdict = goodVerdict(r.evidence, kSig, recordOf(kSig).manifestHash, r.freshness);
        r.verdict.documentTime = documentTime;
    }

    /// Binds changed freshness.
    function attest(Renewal memory r) private view {
        r.verdict.attestedHash = harness.attested(kSig, recordOf(kSig).manifestHash, harness.freshnessTag(r.freshness));
    }

    function renew(Renewal memory r) private {
        registry.renew(recordOf(kSig), r.evidence, signedVerdict(r.verdict), r.freshness);
    }

    function expectRenewed(uint64 documentTime, uint64 previousBlock) private {
        Renewal memory r = renewal(documentTime);
        bytes memory data = signedVerdict(r.verdict);
        vm.expectEmit(true, true, true, true, address(registry));
        emit IKeys.Renewed(kSig, documentTime + DOCUMENT_LIFE, documentTime, previousBlock, r.evidence, data, r.freshness);
        registry.renew(recordOf(kSig), r.evidence, data, r.freshness);
    }

    function changesNothing(Renewal memory r) private {
        bytes32 before = keccak256(abi.encode(registry.stateOf(kSig)));
        vm.recordLogs();
        renew(r);
        assertEq(vm.getRecordedLogs().length, 0);
        assertEq(keccak256(abi.encode(registry.stateOf(kSig))), before);
    }

    function refused(Renewal memory r, bytes memory reason) private {
        refusedWithRecord(recordOf(kSig), r, reason);
    }

    function refusedWithRecord(Record memory record, Renewal memory r, bytes memory reason) private {
        bytes memory data = signedVerdict(r.verdict);
        vm.expectRevert(reason);
        registry.renew(record, r.evidence, data, r.freshness);
    }
}
