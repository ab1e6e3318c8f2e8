// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {KeyStatus} from "../src/KeyState.sol";
import {ListedId, LogId, Record, Terms, WorkloadId} from "../src/Types.sol";
import {IKeys} from "../src/interfaces/IKeys.sol";
import {Signatures} from "../src/lib/Signatures.sol";
import {IQuorumVerifier} from "../src/interfaces/IQuorumVerifier.sol";
import {KeysFixture} from "./support/KeysFixture.sol";

/// What a registration leaves behind, and what of its papers is refused. Blocks, documents and what they bind: KeysEvidence.t.sol;
/// predecessors: KeysSuccession.t.sol.
contract KeysTest is KeysFixture {
    bytes32 private constant ALL = 0;

    // What a registration leaves behind.

    function test_register_returnsTheRecordThatTheEvidenceShows() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        Record memory record = registry.register(s);
        assertEq(record.kSig, kSig);
        assertEq(LogId.unwrap(record.logId), sha256(abi.encodePacked("candor/log/1", kSig, K_LOG)), "logId");
        assertEq(record.manifestHash, keccak256(abi.encode(s.manifest)), "manifestHash");
        assertEq(record.verifier, address(quorum));
        assertEq(record.verifierCodehash, keccak256(address(quorum).code), "verifierCodehash");
        assertEq(WorkloadId.unwrap(record.workloadId), WorkloadId.unwrap(workloadId()), "workloadId");
        assertEq(record.operator, operator);
        assertEq(record.payee, PAYEE);
        assertEq(record.validFrom, START - 20);
        assertEq(record.termsUntil, START + 30 days);
    }

    function test_register_keepsTheHashOfItsRecord() public {
        Record memory record = registry.register(goodSubmission(ENCLAVE_KEY));
        assertEq(registry.recordHash(kSig), keccak256(abi.encode(record)));
    }

    function test_register_setsTheStateOfItsKey() public {
        KeyStatus memory expected;
        expected.validUntil = START - 10 + DOCUMENT_LIFE;
        expected.registeredBlock = 1000;
        expected.renewedBlock = 1000;
        Record memory record = registry.register(goodSubmission(ENCLAVE_KEY));
        assertEq(keccak256(abi.encode(registry.statusOf(record))), keccak256(abi.encode(expected)), "statusOf");
        assertEq(keccak256(abi.encode(registry.stateOf(kSig))), keccak256(abi.encode(expected)), "stateOf");
    }

    function test_register_keepsWhoseLogItIs() public {
        Record memory record = registry.register(goodSubmission(ENCLAVE_KEY));
        assertEq(registry.keyOf(record.logId), kSig);
    }

    function test_register_emitsTheWholeSubmission() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        expectRegistered(s, workloadId(), IKeys.Previous({ofAll: 0, ofOperator: 0, ofListed: 0}));
        registry.register(s);
    }

    function test_register_endsWithTheTermsIfThatIsSooner() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.terms.notAfter = (START + 60) * 1000 + 999;
        signAll(s);
        registry.register(s);
        assertEq(registry.stateOf(kSig).validUntil, START + 60);
    }

    function test_register_anyoneMaySend() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        vm.prank(address(0xbad));
        registry.register(s);
        assertEq(registry.recordHash(kSig), keccak256(abi.encode(recordFor(s, workloadId()))));
    }

    // Three lists, read backwards.

    function test_register_linksTheListOfAll() public {
        registerGood(ENCLAVE_KEY);
        assertEq(registry.newest(ALL), 1000);
        vm.roll(2000);
        IKeys.Submission memory s = submissionOf(ENCLAVE_KEY + 1, STRANGER_KEY, "other workload");
        expectRegistered(s, workloadOf("other workload"), IKeys.Previous({ofAll: 1000, ofOperator: 0, ofListed: 0}));
        registry.register(s);
        assertEq(registry.newest(ALL), 2000);
    }

    function test_register_linksTheListOfItsOperator() public {
        registerGood(ENCLAVE_KEY);
        vm.roll(2000);
        registry.register(submissionOf(ENCLAVE_KEY + 1, STRANGER_KEY, "other workload"));
        vm.roll(3000);
        IKeys.Submission memory s = submissionOf(ENCLAVE_KEY + 2, OPERATOR_KEY, "third workload");
        expectRegistered(s, workloadOf("third workload"), IKeys.Previous({ofAll: 2000, ofOperator: 1000, ofListed: 0}));
        registry.register(s);
        assertEq(registry.newest(bytes32(uint256(uint160(operator)))), 3000);
        assertEq(registry.newest(bytes32(uint256(uint160(vm.addr(STRANGER_KEY))))), 2000);
    }

    function test_register_linksTheListOfItsListedId() public {
        Record memory first = registerGood(ENCLAVE_KEY);
        vm.roll(2000);
        Record memory second = registry.register(submissionOf(ENCLAVE_KEY + 1, OPERATOR_KEY, "other workload"));
        vm.roll(3000);
        IKeys.Submission memory s = submissionOf(ENCLAVE_KEY + 2, STRANGER_KEY, "PCR0 PCR1 PCR2");
        expectRegistered(s, workloadId(), IKeys.Previous({ofAll: 2000, ofOperator: 0, ofListed: 1000}));
        registry.register(s);
        assertEq(registry.newest(ListedId.unwrap(registry.listedIdOf(first))), 3000);
        assertEq(registry.newest(ListedId.unwrap(registry.listedIdOf(second))), 2000);
    }

    /// Two registrations in a block name it: a reader takes all events of a block before it goes back.
    function test_register_twoInOneBlockNameThatBlock() public {
        registerGood(ENCLAVE_KEY);
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY + 1);
        expectRegistered(s, workloadId(), IKeys.Previous({ofAll: 1000, ofOperator: 1000, ofListed: 1000}));
        registry.register(s);
    }

    function test_newest_isZeroForAnEmptyList() public view {
        assertEq(registry.newest(ALL), 0);
        assertEq(registry.newest("nobody"), 0);
    }

    /// The same workload under another verifier is another listed id, and so is another code at the same address.
    function test_listedIdOf_isOfVerifierCodeAndWorkload() public {
        Record memory record = registerGood(ENCLAVE_KEY);
        bytes32 expected =
            keccak256(abi.encode(keccak256("candor/listed/1"), address(quorum), keccak256(address(quorum).code), workloadId()));
        assertEq(ListedId.unwrap(registry.listedIdOf(record)), expected);
    }

    // Views of what is not there.

    function test_views_areZeroForAnUnknownKey() public view {
        KeyStatus memory zero;
        assertEq(registry.recordHash(kSig), 0);
        assertEq(keccak256(abi.encode(registry.stateOf(kSig))), keccak256(abi.encode(zero)));
        assertEq(registry.keyOf(harness.logId(kSig, K_LOG)), address(0));
        assertEq(LogId.unwrap(registry.successorOf(harness.logId(kSig, K_LOG))), 0);
    }

    function test_statusOf_revertsIfNotRegistered() public {
        Record memory record;
        record.kSig = kSig;
        vm.expectRevert(err(IKeys.NotRegistered.selector, kSig));
        registry.statusOf(record);
    }

    /// Every word of a record is in its hash.
    function testFuzz_statusOf_revertsIfAnyWordOfTheRecordIsChanged(uint256 word, uint256 flip) public {
        Record memory record = registerGood(ENCLAVE_KEY);
        bytes32 expected = keccak256(abi.encode(record));
        bytes memory encoded = abi.encode(record);
        // All but the key, whose record would be another.
        word = bound(word, 1, 9);
        flip &= word >= 8 ? type(uint64).max : word == 3 || word == 6 || word == 7 ? type(uint160).max : type(uint256).max;
        vm.assume(flip != 0);
        flipWord(encoded, word, flip);
        record = abi.decode(encoded, (Record));
        vm.expectRevert(err(IKeys.WrongRecord.selector, expected, keccak256(encoded)));
        registry.statusOf(record);
    }

    function test_constants_areThoseOfTheSpecification() public view {
        assertEq(registry.CLOCK_SKEW(), 120);
        assertEq(registry.MAX_EVIDENCE_AGE(), 2 hours);
        assertEq(registry.MAX_ANCHOR_DELAY(), 7 days);
        assertEq(registry.RETIRE_NOTICE(), 1 hours);
        assertEq(registry.MAX_BYTES(), 65_536);
    }

    // Whatever does not belong together is refused by name.

    function test_register_revertsIfAlreadyRegistered() public {
        registerGood(ENCLAVE_KEY);
        refused(goodSubmission(ENCLAVE_KEY), err(IKeys.AlreadyRegistered.selector, kSig));
    }

    /// Not under another manifest, log or operator either: a key is of one boot.
    function test_register_revertsIfTheKeyIsRegisteredUnderAnotherManifest() public {
        registerGood(ENCLAVE_KEY);
        IKeys.Submission memory s = submissionOf(ENCLAVE_KEY, STRANGER_KEY, "other workload");
        s.manifest.kLog = "another log";
        signBoot(s);
        refused(s, err(IKeys.AlreadyRegistered.selector, kSig));
    }

    function test_register_revertsIfManifestVersionIsUnknown() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.manifest.version = 1;
        signBoot(s);
        refused(s, err(IKeys.UnsupportedManifestVersion.selector, 2, 1));
    }

    function test_register_revertsIfTermsVersionIsUnknown() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.terms.version = 3;
        signAll(s);
        refused(s, err(IKeys.UnsupportedTermsVersion.selector, 2, 3));
    }

    function test_register_revertsIfManifestNamesAnotherRegistry() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.manifest.registry = address(1);
        signBoot(s);
        refused(s, err(IKeys.WrongRegistry.selector, address(registry), address(1)));
    }

    function test_register_revertsIfTermsNameAnotherRegistry() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.terms.registry = address(1);
        signAll(s);
        refused(s, err(IKeys.WrongRegistry.selector, address(registry), address(1)));
    }

    function test_register_revertsIfManifestNamesAnotherChain() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.manifest.anchorChainId = 1;
        signBoot(s);
        refused(s, err(IKeys.WrongChain.selector, block.chainid, 1));
    }

    function test_register_revertsIfTermsNameAnotherChain() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.terms.anchorChainId = 1;
        signAll(s);
        refused(s, err(IKeys.WrongChain.selector, block.chainid, 1));
    }

    function test_register_revertsIfFreshnessNamesAnotherChain() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.freshness.chainId = 1;
        signBoot(s);
        refused(s, err(IKeys.WrongChain.selector, block.chainid, 1));
    }

    function test_register_revertsIfPayeeIsZero() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.terms.payee = address(0);
        s.manifest.payee = address(0);
        signAll(s);
        refused(s, err(IKeys.ZeroPayee.selector));
    }

    function test_register_revertsIfTermsAreNotTheManifests() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.terms.flags = 1;
        refused(s, err(IKeys.WrongTermsHash.selector, s.manifest.termsHash, harness.terms(s.terms)));
    }

    /// All twenty words of the terms are under the hash that the manifest names.
    function testFuzz_register_revertsIfAnyWordOfTheTermsIsChanged(uint256 word, uint256 flip) public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        bytes memory encoded = abi.encode(s.terms);
        // Not the version, which is looked at first.
        word = bound(word, 1, 19);
        flip &= word == 7 || word == 8 ? type(uint32).max : word == 6 ? type(uint64).max : type(uint160).max;
        vm.assume(flip != 0);
        flipWord(encoded, word, flip);
        s.terms = abi.decode(encoded, (Terms));
        refused(s, err(IKeys.WrongTermsHash.selector, s.manifest.termsHash, harness.terms(s.terms)));
    }

    function test_register_revertsIfOperatorsDiffer() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.terms.operator = address(1);
        signAll(s);
        refused(s, err(IKeys.WrongOperator.selector, operator, address(1)));
    }

    function test_register_revertsIfOperatorDidNotSign() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.operatorSignature = sign(STRANGER_KEY, s.manifest.termsHash);
        refused(s, err(IKeys.WrongOperator.selector, operator, vm.addr(STRANGER_KEY)));
    }

    function test_register_revertsIfOperatorSignatureIsCut() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.operatorSignature = new bytes(64);
        refused(s, err(Signatures.SignatureLength.selector, 65, 64));
    }

    function test_register_revertsIfPayeesDiffer() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.terms.payee = address(1);
        signAll(s);
        refused(s, err(IKeys.WrongPayee.selector, PAYEE, address(1)));
    }

    function test_register_revertsIfContractsDiffer() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.terms.contractsHash = "other";
        signAll(s);
        refused(s, err(IKeys.WrongContractsHash.selector, keccak256("contracts"), bytes32("other")));
    }

    function test_register_revertsIfModelsDiffer() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.terms.modelSetRoot = "other";
        signAll(s);
        refused(s, err(IKeys.WrongModelSetRoot.selector, keccak256("models"), bytes32("other")));
    }

    function test_register_revertsIfPricesDiffer() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.terms.priceTableHash = "other";
        signAll(s);
        refused(s, err(IKeys.WrongPriceTableHash.selector, keccak256("prices"), bytes32("other")));
    }

    function test_register_revertsIfTermsAreOver() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.terms.notAfter = START * 1000;
        signAll(s);
        refused(s, err(IKeys.TermsExpired.selector, uint256(START) * 1000, uint256(START) * 1000));
    }

    /// A millisecond is left of these terms, and that is not over.
    function test_register_takesTermsThatAreAlmostOver() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.terms.notAfter = START * 1000 + 1;
        signAll(s);
        registry.register(s);
        assertEq(registry.stateOf(kSig).validUntil, START);
    }

    function test_register_revertsIfRegistrarDidNotSign() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.registrarSignature = sign(STRANGER_KEY, registrationDigest(s, block.chainid));
        refused(s, err(IKeys.WrongRegistrar.selector, vm.addr(REGISTRAR_KEY), vm.addr(STRANGER_KEY)));
    }

    /// The registrar's consent is to one boot in one registry on one chain.
    function test_register_revertsIfRegistrarSignedForAnotherChain() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.registrarSignature = sign(REGISTRAR_KEY, registrationDigest(s, 1));
        refusedForRegistrar(s);
    }

    function test_register_revertsIfRegistrarSignedForAnotherRegistry() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        bytes32 digest = harness.registration(
            kSig,
            harness.manifest(s.manifest),
            s.verifier,
            workloadId(),
            keccak256(s.termsData),
            address(policies),
            block.chainid,
            s.deadline
        );
        s.registrarSignature = sign(REGISTRAR_KEY, digest);
        refusedForRegistrar(s);
    }

    /// Front-running: an enclave of the stranger's own, genuine and of other code, attests the very bytes of a submission that waits. The
    /// registrar signed for the workload.
    function test_register_revertsIfTheEvidenceIsOfAnotherWorkload() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        IQuorumVerifier.Verdict memory verdict = goodVerdict(s.evidence, kSig, harness.manifest(s.manifest), s.freshness);
        verdict.innerMeasurements = keccak256("the stranger's code");
        s.verifierData = signedVerdict(verdict);
        registeredAs = workloadOf("the stranger's code");
        refusedForRegistrar(s);
    }

    /// A sender cannot put the end of the registrar's signature off.
    function test_register_revertsIfTheDeadlineIsNotTheSignedOne() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.deadline += 1;
        refusedForRegistrar(s);
    }

    /// A key registers once. Were `termsData` not signed for, whoever saw this submission waiting could send it first with bytes
    /// that no client can read.
    function test_register_revertsIfTermsDataWasExchanged() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.termsData = "garbage of a front-runner";
        refusedForRegistrar(s);
    }

    function test_register_takesARegistrationAtItsDeadline() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.deadline = START;
        signBoot(s);
        registry.register(s);
    }

    function test_register_revertsIfTheDeadlineIsOver() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.deadline = START - 1;
        signBoot(s);
        refused(s, err(IKeys.RegistrationExpired.selector, START, START - 1));
    }

    /// Evidence of a stranger's own code can name anybody's key; the key does not sign the stranger's manifest.
    function test_register_revertsIfTheKeyDidNotSignTheManifest() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.bootSignature = sign(STRANGER_KEY, harness.boot(harness.manifest(s.manifest)));
        refused(s, err(IKeys.WrongBootSigner.selector, kSig, vm.addr(STRANGER_KEY)));
    }

    /// The key's signature of its own manifest is public; it is of no use under another.
    function test_register_revertsIfTheKeySignedAnotherManifest() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        bytes memory honest = s.bootSignature;
        s.manifest.buildId = keccak256("a manifest of the stranger's");
        signBoot(s);
        s.bootSignature = honest;
        address recovered = harness.recover(harness.boot(harness.manifest(s.manifest)), honest);
        refused(s, err(IKeys.WrongBootSigner.selector, kSig, recovered));
    }

    /// Refused because the registrar signed something else than this submission.
    function refusedForRegistrar(IKeys.Submission memory s) private {
        address recovered = harness.recover(registrationDigest(s, block.chainid), s.registrarSignature);
        refused(s, err(IKeys.WrongRegistrar.selector, vm.addr(REGISTRAR_KEY), recovered));
    }
}
