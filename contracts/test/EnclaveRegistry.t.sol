// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {EnclaveRegistry} from "../src/EnclaveRegistry.sol";
import {Freshness, LogId, Manifest, WorkloadId} from "../src/Types.sol";
import {IAttestationVerifier} from "../src/interfaces/IAttestationVerifier.sol";
import {IEnclaveRegistry} from "../src/interfaces/IEnclaveRegistry.sol";
import {IQuorumVerifier} from "../src/interfaces/IQuorumVerifier.sol";
import {Signatures} from "../src/lib/Signatures.sol";
import {Fixture} from "./support/Fixture.sol";
import {RefTree} from "./support/RefTree.sol";

/// A verifier that only says of which kind it is.
contract OfKind {
    uint32 public immutable kind;

    constructor(uint32 kind_) {
        kind = kind_;
    }
}

contract EnclaveRegistryTest is Fixture {
    // What a registration leaves behind.

    function test_register_storesWhatTheEvidenceShows() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        LogId logId = registry.register(s);

        IEnclaveRegistry.Enclave memory e = registry.enclave(kSig);
        assertEq(LogId.unwrap(e.logId), LogId.unwrap(logId));
        assertEq(LogId.unwrap(e.logId), sha256(abi.encodePacked("candor/log/1", kSig, K_LOG)));
        assertEq(WorkloadId.unwrap(e.workloadId), WorkloadId.unwrap(workloadId()));
        assertEq(e.manifestHash, keccak256(abi.encode(s.manifest)));
        assertEq(e.evidenceHash, keccak256(s.evidence));
        assertEq(e.operator, operator);
        assertEq(e.payee, PAYEE);
        assertEq(e.kind, QUORUM);
        assertEq(e.registeredBlock, block.number);
        assertEq(e.validFrom, START);
        assertEq(e.validUntil, START + DOCUMENT_LIFE);
        assertEq(e.documentTime, START - 10);
        assertEq(e.termsUntil, START + 30 days);
        assertEq(e.invalidFrom, 0);
        assertEq(registry.signerOf(logId), kSig);
        assertEq(registry.enclaveCount(), 1);
        assertEq(registry.enclaveAt(0), kSig);
        (LogId got, uint64 invalidFrom) = registry.logOf(kSig);
        assertEq(LogId.unwrap(got), LogId.unwrap(logId));
        assertEq(invalidFrom, 0);
    }

    function test_register_emitsTheWholeEvidence() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        vm.expectEmit(true, true, true, true, address(registry));
        emit IEnclaveRegistry.Attested(kSig, QUORUM, keccak256(s.evidence), START - 10, START + DOCUMENT_LIFE, s.verifierData);
        vm.expectEmit(true, true, true, true, address(registry));
        emit IEnclaveRegistry.Registered(
            kSig, operator, workloadId(), s.manifest, s.evidence, s.termsData, s.operatorSignature, s.freshness
        );
        registry.register(s);
    }

    function test_register_endsWithTheTermsIfThatIsSooner() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.terms.notAfter = (START + 60) * 1000 + 999;
        signAll(s);
        registry.register(s);
        assertEq(registry.enclave(kSig).validUntil, START + 60);
    }

    function test_register_anyoneMaySend() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        vm.prank(address(0xbad));
        registry.register(s);
        assertEq(registry.enclave(kSig).operator, operator);
    }

    function test_enclaveAt_revertsPastTheEnd() public {
        vm.expectRevert();
        registry.enclaveAt(0);
    }

    // Whatever does not belong together is refused by name.

    function test_register_revertsIfAlreadyRegistered() public {
        registerGood(ENCLAVE_KEY);
        refused(goodSubmission(ENCLAVE_KEY), err(IEnclaveRegistry.AlreadyRegistered.selector, kSig));
    }

    function test_register_revertsIfManifestVersionIsUnknown() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.manifest.version = 1;
        signBoot(s);
        refused(s, err(IEnclaveRegistry.UnsupportedManifestVersion.selector, 2, 1));
    }

    function test_register_revertsIfTermsVersionIsUnknown() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.terms.version = 1;
        signAll(s);
        refused(s, err(IEnclaveRegistry.UnsupportedTermsVersion.selector, 2, 1));
    }

    function test_register_revertsIfManifestNamesAnotherRegistry() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.manifest.registry = address(1);
        signBoot(s);
        refused(s, err(IEnclaveRegistry.WrongRegistry.selector, address(registry), address(1)));
    }

    function test_register_revertsIfTermsNamesAnotherRegistry() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.terms.registry = address(1);
        signAll(s);
        refused(s, err(IEnclaveRegistry.WrongRegistry.selector, address(registry), address(1)));
    }

    function test_register_revertsIfManifestNamesAnotherChain() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.manifest.anchorChainId = 1;
        signBoot(s);
        refused(s, err(IEnclaveRegistry.WrongChain.selector, block.chainid, 1));
    }

    function test_register_revertsIfTermsNamesAnotherChain() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.terms.anchorChainId = 1;
        signAll(s);
        refused(s, err(IEnclaveRegistry.WrongChain.selector, block.chainid, 1));
    }

    function test_register_revertsIfFreshnessNamesAnotherChain() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.freshness.chainId = 1;
        signBoot(s);
        refused(s, err(IEnclaveRegistry.WrongChain.selector, block.chainid, 1));
    }

    function test_register_revertsIfPayeeIsZero() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.terms.payee = address(0);
        s.manifest.payee = address(0);
        signAll(s);
        refused(s, err(IEnclaveRegistry.ZeroPayee.selector));
    }

    function test_register_revertsIfTermsIsNotTheManifestsTerms() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.terms.flags = 1;
        refused(s, err(IEnclaveRegistry.WrongTermsHash.selector, s.manifest.termsHash, harness.terms(s.terms)));
    }

    function test_register_revertsIfOperatorsDiffer() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.terms.operator = address(1);
        signAll(s);
        refused(s, err(IEnclaveRegistry.WrongOperator.selector, operator, address(1)));
    }

    function test_register_revertsIfOperatorDidNotSign() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.operatorSignature = sign(STRANGER_KEY, s.manifest.termsHash);
        refused(s, err(IEnclaveRegistry.WrongOperator.selector, operator, vm.addr(STRANGER_KEY)));
    }

    function test_register_revertsIfOperatorSignatureIsCut() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.operatorSignature = new bytes(64);
        refused(s, err(Signatures.SignatureLength.selector, 65, 64));
    }

    function test_register_revertsIfPayeesDiffer() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.terms.payee = address(1);
        signAll(s);
        refused(s, err(IEnclaveRegistry.WrongPayee.selector, PAYEE, address(1)));
    }

    function test_register_revertsIfContractsDiffer() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.terms.contractsHash = "other";
        signAll(s);
        refused(s, err(IEnclaveRegistry.WrongContractsHash.selector, keccak256("contracts"), bytes32("other")));
    }

    function test_register_revertsIfModelsDiffer() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.terms.modelSetRoot = "other";
        signAll(s);
        refused(s, err(IEnclaveRegistry.WrongModelSetRoot.selector, keccak256("models"), bytes32("other")));
    }

    function test_register_revertsIfPricesDiffer() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.terms.priceTableHash = "other";
        signAll(s);
        refused(s, err(IEnclaveRegistry.WrongPriceTableHash.selector, keccak256("prices"), bytes32("other")));
    }

    function test_register_revertsIfTermsIsOver() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.terms.notAfter = START * 1000;
        signAll(s);
        refused(s, err(IEnclaveRegistry.TermsExpired.selector, uint256(START) * 1000, uint256(START) * 1000));
    }

    function test_register_revertsIfRegistrarDidNotSign() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.registrarSignature = sign(STRANGER_KEY, registrationDigest(s, block.chainid));
        refused(s, err(IEnclaveRegistry.WrongRegistrar.selector, vm.addr(REGISTRAR_KEY), vm.addr(STRANGER_KEY)));
    }

    /// The registrar's consent is to one boot in one registry on one chain.
    function test_register_revertsIfRegistrarSignedForAnotherChain() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.registrarSignature = sign(REGISTRAR_KEY, registrationDigest(s, 1));
        refusedWith(s, IEnclaveRegistry.WrongRegistrar.selector);
    }

    /// Nor can a sender put the end of the registrar's signature off.
    function test_register_revertsIfTheDeadlineIsNotTheSignedOne() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.deadline += 1;
        refusedWith(s, IEnclaveRegistry.WrongRegistrar.selector);
    }

    function test_register_takesARegistrationUpToItsDeadlineAndNotAfter() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.deadline = uint64(block.timestamp) - 1;
        signBoot(s);
        refused(s, err(IEnclaveRegistry.RegistrationExpired.selector, block.timestamp, uint256(s.deadline)));
        s.deadline = uint64(block.timestamp);
        signBoot(s);
        registry.register(s);
    }

    // Freshness.

    function test_register_acceptsTheOldestOfTheLast256Blocks() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.freshness.blockNumber = block.number - 256;
        s.freshness.blockHash = blockhash(block.number - 256);
        signBoot(s);
        registry.register(s);
    }

    function test_register_revertsIfBlockIsTooOld() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.freshness.blockNumber = block.number - 257;
        signBoot(s);
        refused(s, err(IEnclaveRegistry.BlockOutOfRange.selector, block.number, block.number - 257));
    }

    function test_register_revertsIfBlockIsTheCurrentOne() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.freshness.blockNumber = block.number;
        s.freshness.blockHash = 0;
        signBoot(s);
        refused(s, err(IEnclaveRegistry.BlockOutOfRange.selector, block.number, block.number));
    }

    function test_register_revertsIfBlockHashIsNotTheChains() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.freshness.blockHash = "fork";
        signBoot(s);
        refused(s, err(IEnclaveRegistry.WrongBlockHash.selector, blockhash(block.number - 1), bytes32("fork")));
    }

    /// The same evidence, once its block is gone from the chain's memory.
    function test_register_revertsIfEvidenceIsReplayedLater() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        vm.roll(block.number + 256);
        refusedWith(s, IEnclaveRegistry.BlockOutOfRange.selector);
    }

    function test_register_revertsIfChallengeIsAnother() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.freshness.nonce = "another challenge";
        refusedWith(s, IEnclaveRegistry.WrongAttestedBytes.selector);
    }

    // Evidence.

    function test_register_revertsIfKindIsUnknown() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.kind = 1;
        signBoot(s);
        refused(s, err(IEnclaveRegistry.UnknownKind.selector, bytes32(uint256(1))));
    }

    function test_register_revertsIfEvidenceAttestsAnotherManifest() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        bytes memory verdict = s.verifierData;
        s.manifest.tlsSpkiHash = "another TLS key";
        signBoot(s);
        s.verifierData = verdict;
        refusedWith(s, IEnclaveRegistry.WrongAttestedBytes.selector);
    }

    function test_register_revertsIfEvidenceIsAnother() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        bytes32 verified = keccak256(s.evidence);
        s.evidence = "another document";
        refused(s, err(IQuorumVerifier.WrongEvidence.selector, keccak256("another document"), verified));
    }

    function test_register_revertsIfEvidenceHasExpired() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        IQuorumVerifier.Verdict memory verdict = goodVerdict(s.evidence, kSig, harness.manifest(s.manifest), s.freshness);
        verdict.validUntil = START;
        s.verifierData = signedVerdict(verdict);
        refused(s, err(IEnclaveRegistry.EvidenceExpired.selector, START, START));
    }

    function test_register_revertsIfEvidenceIsFromTheFuture() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        IQuorumVerifier.Verdict memory verdict = goodVerdict(s.evidence, kSig, harness.manifest(s.manifest), s.freshness);
        verdict.documentTime = START + 301;
        s.verifierData = signedVerdict(verdict);
        refused(s, err(IEnclaveRegistry.EvidenceFromTheFuture.selector, START + 300, START + 301));
    }

    function test_register_revertsIfBytesAreTooLong() public {
        bytes memory tooLong = new bytes(65_537);
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.evidence = tooLong;
        signBoot(s);
        refused(s, err(IEnclaveRegistry.TooLong.selector, 65_536, 65_537));
        s = goodSubmission(ENCLAVE_KEY);
        s.termsData = tooLong;
        refused(s, err(IEnclaveRegistry.TooLong.selector, 65_536, 65_537));
        s = goodSubmission(ENCLAVE_KEY);
        s.verifierData = tooLong;
        refused(s, err(IEnclaveRegistry.TooLong.selector, 65_536, 65_537));
    }

    /// Nothing of a submission but `termsData` is the sender's choice: any other word changed, it is refused.
    function testFuzz_register_revertsIfAnyWordOfTheManifestIsChanged(uint256 word, uint256 flip) public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        bytes memory encoded = abi.encode(s.manifest);
        word = word % 18;
        // The low bits, so that the word stays in the range of its type.
        uint256 mask = word == 0 || word == 15 ? 0xff : type(uint160).max;
        flip = flip & mask;
        vm.assume(flip != 0);
        assembly ("memory-safe") {
            let place := add(add(encoded, 0x20), mul(word, 0x20))
            mstore(place, xor(mload(place), flip))
        }
        s.manifest = abi.decode(encoded, (Manifest));
        vm.expectRevert();
        registry.register(s);
    }

    /// Evidence of a stranger's own code can name anybody's key; the key does not sign the stranger's manifest.
    function test_register_revertsIfTheKeyDidNotSignTheManifest() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.bootSignature = sign(STRANGER_KEY, harness.boot(harness.manifest(s.manifest)));
        refused(s, err(IEnclaveRegistry.WrongBootSigner.selector, kSig, vm.addr(STRANGER_KEY)));

        // The key's signature of its own manifest is public; it is of no use under another.
        s = goodSubmission(ENCLAVE_KEY);
        bytes memory honest = s.bootSignature;
        s.manifest.buildId = keccak256("a manifest of the stranger's");
        signBoot(s);
        s.bootSignature = honest;
        refusedWith(s, IEnclaveRegistry.WrongBootSigner.selector);
    }

    /// The registrar signs for the verifier: under another, the same evidence would be another workload.
    function test_register_revertsIfKindWasExchanged() public {
        IEnclaveRegistry.Kind[] memory kinds = new IEnclaveRegistry.Kind[](2);
        kinds[0] = IEnclaveRegistry.Kind({kind: QUORUM, verifier: quorum});
        kinds[1] = IEnclaveRegistry.Kind({kind: 1, verifier: IAttestationVerifier(address(new OfKind(1)))});
        registry = new EnclaveRegistry(kinds);
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.kind = 1;
        refusedWith(s, IEnclaveRegistry.WrongRegistrar.selector);
    }

    /// A key registers once. Were `termsData` not signed for, whoever saw this submission waiting could send it first with bytes that no
    /// client can read.
    function test_register_revertsIfTermsDataWasExchanged() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        bytes memory termsData = s.termsData;
        s.termsData = "garbage of a front-runner";
        refusedWith(s, IEnclaveRegistry.WrongRegistrar.selector);
        s.termsData = termsData;
        registry.register(s);
    }

    // Succession.

    function test_register_linksAnAnchoredPredecessor() public {
        (LogId predecessor, bytes32 root) = anchoredPredecessor();
        IEnclaveRegistry.Submission memory s = successorOf(predecessor, 3, root);
        LogId successor = harness.logId(s.manifest.kSig, K_LOG);
        vm.expectEmit(true, true, true, true, address(registry));
        emit IEnclaveRegistry.Succeeded(predecessor, successor, 3, root);
        registry.register(s);
        assertEq(LogId.unwrap(registry.successorOf(predecessor)), LogId.unwrap(successor));
        // Later anchors of the predecessor stay possible.
        anchorLeaves(ENCLAVE_KEY, RefTree.someLeaves(5, 1), 5);
    }

    function test_register_revertsIfPredecessorIsHalfNamed() public {
        refused(
            successorOf(LogId.wrap(0), 3, 0),
            abi.encodeWithSelector(IEnclaveRegistry.PredecessorWithoutLog.selector, uint64(3), bytes32(0))
        );
        refused(
            successorOf(LogId.wrap(0), 0, "root"),
            abi.encodeWithSelector(IEnclaveRegistry.PredecessorWithoutLog.selector, uint64(0), bytes32("root"))
        );
    }

    function test_register_revertsIfPredecessorIsNotAnchored() public {
        (LogId predecessor, bytes32 root) = anchoredPredecessor();
        refused(
            successorOf(predecessor, 2, root),
            abi.encodeWithSelector(IEnclaveRegistry.PredecessorNotAnchored.selector, predecessor, uint64(2))
        );
    }

    function test_register_revertsIfPredecessorHadAnotherRoot() public {
        (LogId predecessor, bytes32 root) = anchoredPredecessor();
        refused(
            successorOf(predecessor, 3, "rewritten"),
            err(IEnclaveRegistry.WrongPredecessorRoot.selector, root, bytes32("rewritten"))
        );
    }

    function test_register_revertsIfPredecessorHasASuccessor() public {
        (LogId predecessor, bytes32 root) = anchoredPredecessor();
        registry.register(successorOf(predecessor, 3, root));
        IEnclaveRegistry.Submission memory s = successorOf(predecessor, 3, root);
        s.manifest.kSig = knownKey(ENCLAVE_KEY + 2);
        signBoot(s);
        LogId first = harness.logId(vm.addr(ENCLAVE_KEY + 1), K_LOG);
        refused(s, abi.encodeWithSelector(IEnclaveRegistry.AlreadySucceeded.selector, predecessor, first));
    }

    /// Anyone with an enclave could otherwise cut off the rightful successor of somebody's log.
    function test_register_revertsIfPredecessorIsOfAnotherOperator() public {
        (LogId predecessor, bytes32 root) = anchoredPredecessor();
        IEnclaveRegistry.Submission memory s = successorOf(predecessor, 3, root);
        address stranger = vm.addr(STRANGER_KEY);
        s.terms.operator = stranger;
        s.manifest.operator = stranger;
        signAll(s);
        s.operatorSignature = sign(STRANGER_KEY, s.manifest.termsHash);
        refused(s, err(IEnclaveRegistry.PredecessorOfAnotherOperator.selector, operator, stranger));
    }

    // Renewal.

    function test_renew_extends() public {
        registerGood(ENCLAVE_KEY);
        pass(1 hours);
        renewGood(kSig);
        IEnclaveRegistry.Enclave memory e = registry.enclave(kSig);
        assertEq(e.validFrom, START);
        assertEq(e.validUntil, START + 3 hours);
        assertEq(e.documentTime, START + 1 hours - 10);
        assertStatus(START + 150 minutes, IEnclaveRegistry.Status.Valid);
    }

    function test_renew_emitsTheEvidence() public {
        registerGood(ENCLAVE_KEY);
        pass(1 hours);
        bytes memory evidence = abi.encodePacked("renewed document of ", kSig, block.timestamp);
        vm.expectEmit(true, true, true, true, address(registry));
        emit IEnclaveRegistry.Renewed(kSig, evidence, freshNow());
        renewGood(kSig);
        assertEq(registry.enclave(kSig).evidenceHash, keccak256(evidence));
    }

    function test_renew_afterALapseLeavesTheGap() public {
        registerGood(ENCLAVE_KEY);
        pass(5 hours);
        assertStatus(START + 3 hours, IEnclaveRegistry.Status.Lapsed);
        renewGood(kSig);
        pass(10 hours);
        renewGood(kSig);
        assertStatus(START - 1, IEnclaveRegistry.Status.NotYetValid);
        assertStatus(START, IEnclaveRegistry.Status.Valid);
        assertStatus(START + 2 hours, IEnclaveRegistry.Status.Valid);
        assertStatus(START + 2 hours + 1, IEnclaveRegistry.Status.Lapsed);
        assertStatus(START + 5 hours - 1, IEnclaveRegistry.Status.Lapsed);
        assertStatus(START + 5 hours, IEnclaveRegistry.Status.Valid);
        assertStatus(START + 7 hours, IEnclaveRegistry.Status.Valid);
        assertStatus(START + 7 hours + 1, IEnclaveRegistry.Status.Lapsed);
        assertStatus(START + 15 hours, IEnclaveRegistry.Status.Valid);
        assertStatus(START + 17 hours, IEnclaveRegistry.Status.Valid);
        assertStatus(START + 17 hours + 1, IEnclaveRegistry.Status.Lapsed);
        assertEq(registry.enclave(kSig).validFrom, START);
    }

    function test_renew_revertsIfItLapsedTooOften() public {
        registerGood(ENCLAVE_KEY);
        for (uint256 i = 0; i < 32; ++i) {
            pass(3 hours);
            renewGood(kSig);
        }
        pass(3 hours);
        renewRefused(kSig, 0, err(IEnclaveRegistry.TooManyPeriods.selector, bytes32(uint256(32))));
    }

    function test_renew_revertsIfNotRegistered() public {
        renewRefused(kSig, 0, err(IEnclaveRegistry.NotRegistered.selector, kSig));
    }

    function test_renew_revertsIfRetired() public {
        registerGood(ENCLAVE_KEY);
        vm.prank(operator);
        registry.retire(kSig);
        pass(60);
        renewRefused(kSig, 0, err(IEnclaveRegistry.KeyInvalid.selector, bytes32(uint256(START))));
    }

    function test_renew_revertsIfEvidenceIsNotNewer() public {
        registerGood(ENCLAVE_KEY);
        pass(60);
        renewRefused(kSig, 60, err(IEnclaveRegistry.EvidenceNotNewer.selector, START - 10, START - 10));
    }

    function test_renew_revertsIfItExtendsNothing() public {
        IEnclaveRegistry.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.terms.notAfter = (START + 1 hours) * 1000;
        signAll(s);
        registry.register(s);
        pass(30 minutes);
        renewRefused(kSig, 0, err(IEnclaveRegistry.NotExtended.selector, START + 1 hours, START + 1 hours));
        pass(31 minutes);
        renewRefused(kSig, 0, err(IEnclaveRegistry.NotExtended.selector, START + 1 hours, START + 1 hours));
    }

    function test_renew_revertsIfWorkloadIsAnother() public {
        registerGood(ENCLAVE_KEY);
        pass(60);
        Freshness memory freshness = freshNow();
        IQuorumVerifier.Verdict memory verdict = goodVerdict("new", kSig, registry.enclave(kSig).manifestHash, freshness);
        verdict.innerMeasurements = "patched";
        bytes memory data = signedVerdict(verdict);
        vm.expectPartialRevert(IEnclaveRegistry.WrongWorkload.selector);
        registry.renew(kSig, "new", data, freshness);
    }

    function test_renew_revertsIfEvidenceIsOfAnotherKey() public {
        registerGood(ENCLAVE_KEY);
        pass(60);
        Freshness memory freshness = freshNow();
        IQuorumVerifier.Verdict memory verdict =
            goodVerdict("new", vm.addr(STRANGER_KEY), registry.enclave(kSig).manifestHash, freshness);
        bytes memory data = signedVerdict(verdict);
        vm.expectPartialRevert(IEnclaveRegistry.WrongAttestedBytes.selector);
        registry.renew(kSig, "new", data, freshness);
    }

    // Retirement.

    function test_retire_endsTheKeyNow() public {
        registerGood(ENCLAVE_KEY);
        pass(60);
        vm.expectEmit(true, true, true, true, address(registry));
        emit IEnclaveRegistry.Retired(kSig, operator, START + 60);
        vm.prank(operator);
        registry.retire(kSig);
        assertStatus(START + 59, IEnclaveRegistry.Status.Valid);
        assertStatus(START + 60, IEnclaveRegistry.Status.Invalid);
        assertStatus(START + 10 hours, IEnclaveRegistry.Status.Invalid);
    }

    function test_retireWithSignature_anyoneMayCarryIt() public {
        registerGood(ENCLAVE_KEY);
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256("Retirement(address signer,address registry,uint256 chainId)"), kSig, address(registry), block.chainid
            )
        );
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", harness.domainSeparator(), structHash));
        registry.retireWithSignature(kSig, sign(OPERATOR_KEY, digest));
        assertEq(registry.enclave(kSig).invalidFrom, START);
    }

    function test_retire_revertsIfNotTheOperator() public {
        registerGood(ENCLAVE_KEY);
        vm.expectRevert(err(IEnclaveRegistry.NotTheOperator.selector, operator, address(this)));
        registry.retire(kSig);
        // Not the enclave itself either, and no signature for another chain.
        bytes32 digest = harness.retirement(kSig, address(registry), block.chainid);
        vm.expectRevert(err(IEnclaveRegistry.NotTheOperator.selector, operator, kSig));
        registry.retireWithSignature(kSig, sign(ENCLAVE_KEY, digest));
        bytes memory elsewhere = sign(OPERATOR_KEY, harness.retirement(kSig, address(registry), 1));
        vm.expectPartialRevert(IEnclaveRegistry.NotTheOperator.selector);
        registry.retireWithSignature(kSig, elsewhere);
    }

    function test_retire_revertsIfNotRegistered() public {
        vm.expectRevert(err(IEnclaveRegistry.NotRegistered.selector, kSig));
        registry.retire(kSig);
    }

    /// An end cannot be moved.
    function test_retire_revertsIfRetired() public {
        registerGood(ENCLAVE_KEY);
        vm.prank(operator);
        registry.retire(kSig);
        pass(60);
        vm.expectRevert(err(IEnclaveRegistry.KeyInvalid.selector, bytes32(uint256(START))));
        vm.prank(operator);
        registry.retire(kSig);
    }

    function test_statusAt_ofAnUnknownKey() public view {
        assertStatus(START, IEnclaveRegistry.Status.Unregistered);
    }

    // Deployment.

    function test_constructor_revertsIfListOfKindsIsWrong() public {
        IEnclaveRegistry.Kind[] memory kinds = new IEnclaveRegistry.Kind[](0);
        vm.expectRevert(IEnclaveRegistry.NoKinds.selector);
        new EnclaveRegistry(kinds);

        kinds = new IEnclaveRegistry.Kind[](1);
        kinds[0].kind = QUORUM;
        vm.expectRevert(err(IEnclaveRegistry.ZeroVerifier.selector, bytes32(uint256(QUORUM))));
        new EnclaveRegistry(kinds);

        kinds[0] = IEnclaveRegistry.Kind({kind: 1, verifier: quorum});
        vm.expectRevert(err(IEnclaveRegistry.WrongVerifierKind.selector, 1, QUORUM));
        new EnclaveRegistry(kinds);

        kinds = new IEnclaveRegistry.Kind[](2);
        kinds[0] = IEnclaveRegistry.Kind({kind: QUORUM, verifier: quorum});
        kinds[1] = IEnclaveRegistry.Kind({kind: QUORUM, verifier: quorum});
        vm.expectRevert(err(IEnclaveRegistry.DuplicateKind.selector, bytes32(uint256(QUORUM))));
        new EnclaveRegistry(kinds);
    }

    function test_kinds_areTheListOfTheConstructor() public view {
        IEnclaveRegistry.Kind[] memory kinds = registry.kinds();
        assertEq(kinds.length, 1);
        assertEq(kinds[0].kind, QUORUM);
        assertEq(address(kinds[0].verifier), address(quorum));
        assertEq(address(anchors.registry()), address(registry));
    }

    function anchoredPredecessor() private returns (LogId predecessor, bytes32 root) {
        predecessor = registerGood(ENCLAVE_KEY);
        bytes32[] memory leaves = RefTree.someLeaves(3, 1);
        anchorLeaves(ENCLAVE_KEY, leaves, 3);
        root = RefTree.root(leaves, 0, 3);
    }

    function successorOf(LogId predecessor, uint64 size, bytes32 root) private returns (IEnclaveRegistry.Submission memory s) {
        s = goodSubmission(ENCLAVE_KEY + 1);
        s.manifest.predecessorLog = predecessor;
        s.manifest.predecessorSize = size;
        s.manifest.predecessorRoot = root;
        signBoot(s);
    }

    function refused(IEnclaveRegistry.Submission memory s, bytes memory reason) private {
        vm.expectRevert(reason);
        registry.register(s);
    }

    function refusedWith(IEnclaveRegistry.Submission memory s, bytes4 selector) private {
        vm.expectPartialRevert(selector);
        registry.register(s);
    }

    /// A renewal with a document that is `age` seconds older than a good one.
    function renewRefused(address signer, uint64 age, bytes memory reason) private {
        Freshness memory freshness = freshNow();
        IQuorumVerifier.Verdict memory verdict = goodVerdict("new", signer, registry.enclave(signer).manifestHash, freshness);
        verdict.documentTime -= age;
        bytes memory data = signedVerdict(verdict);
        vm.expectRevert(reason);
        registry.renew(signer, "new", data, freshness);
    }

    function assertStatus(uint64 time, IEnclaveRegistry.Status expected) private view {
        assertEq(uint256(registry.statusAt(kSig, time)), uint256(expected));
    }
}
