// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Freshness, ListedId, Record, WorkloadId} from "../src/Types.sol";
import {IKeys} from "../src/interfaces/IKeys.sol";
import {VerifierCall} from "../src/lib/VerifierCall.sol";
import {Headers} from "./support/Headers.sol";
import {KeysFixture} from "./support/KeysFixture.sol";

/// Answers every call with these bytes.
contract Answers {
    bytes private _answer;

    constructor(bytes memory answer) {
        _answer = answer;
    }

    fallback(bytes calldata) external returns (bytes memory) {
        return _answer;
    }
}

/// Answers with this many zero bytes.
contract AnswersLong {
    uint256 private immutable _length;

    constructor(uint256 length) {
        _length = length;
    }

    fallback() external {
        uint256 length = _length;
        assembly {
            return(0, length)
        }
    }
}

/// Refuses with these bytes, and as many zeros after them.
contract Refuses {
    bytes private _reason;
    uint256 private immutable _zeros;

    constructor(bytes memory reason, uint256 zeros) {
        _reason = reason;
        _zeros = zeros;
    }

    fallback() external {
        bytes memory reason = _reason;
        uint256 zeros = _zeros;
        assembly {
            revert(add(reason, 0x20), add(mload(reason), zeros))
        }
    }
}

/// Burns all gas it is given.
contract Burns {
    fallback() external {
        assembly {
            invalid()
        }
    }
}

/// Makes a call of its own, and answers with what is good except for the workload, which says whether the call went well.
contract Reenters {
    address private _target;
    bytes private _call;
    bytes32 private _attestedHash;

    function prepare(address target, bytes calldata call_, bytes32 attestedHash) external {
        _target = target;
        _call = call_;
        _attestedHash = attestedHash;
    }

    fallback(bytes calldata) external returns (bytes memory) {
        (bool ok,) = _target.call(_call);
        return abi.encode(ok, _attestedHash, block.timestamp - 10);
    }
}

/// Says no time, and of every document that it attests these bytes.
contract Clockless {
    bytes32 private _attestedHash;

    function attest(bytes32 attestedHash) external {
        _attestedHash = attestedHash;
    }

    fallback(bytes calldata) external returns (bytes memory) {
        return abi.encode(bytes32("clockless"), _attestedHash, uint256(0));
    }
}

/// Verifiers that nobody vouches for. They can lie about their own evidence, which a policy sees in the listed id; they can do
/// nothing else.
contract VerifiersTest is KeysFixture {
    uint256 private constant LIMIT = 20_000_000;
    bytes32 private constant LIED = "a workload that never ran";

    // Who can be one.

    function test_register_revertsIfThereIsNoContract() public {
        refused(submissionTo(address(0xdead)), err(VerifierCall.NoVerifier.selector, address(0xdead)));
    }

    function test_register_revertsIfTheVerifierIsZero() public {
        refused(submissionTo(address(0)), err(VerifierCall.NoVerifier.selector, address(0)));
    }

    /// A precompile answers calls and has no code that a policy could name.
    function test_register_revertsIfTheVerifierIsAPrecompile() public {
        refused(submissionTo(address(4)), err(VerifierCall.NoVerifier.selector, address(4)));
    }

    /// An account that lends its code from a good verifier (EIP-7702) can lend other code tomorrow.
    function test_register_revertsIfTheCodeIsDelegated() public {
        address account = vm.addr(STRANGER_KEY);
        vm.etch(account, abi.encodePacked(hex"ef0100", address(quorum)));
        refused(submissionTo(account), err(VerifierCall.DelegatedVerifier.selector, account));
    }

    function test_renew_revertsIfTheCodeIsDelegated() public {
        registerGood(ENCLAVE_KEY);
        Freshness memory freshness = freshNow();
        vm.etch(address(quorum), abi.encodePacked(hex"ef0100", address(policies)));
        vm.expectRevert(err(VerifierCall.DelegatedVerifier.selector, address(quorum)));
        registry.renew(recordOf(kSig), "new", "", freshness);
    }

    // Answers.

    /// Pinned: registered alone means nothing. Anybody's verifier may say anything of a key that agrees, under a listed id of its
    /// own.
    function test_register_throughALiarIsUnderAnotherListedId() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.verifier = address(new Answers(abi.encode(workloadId(), attestedBy(s), START)));
        signBoot(s);
        Record memory record = registry.register(s);
        assertEq(WorkloadId.unwrap(record.workloadId), WorkloadId.unwrap(workloadId()));
        ListedId honest = harness.listedId(address(quorum), address(quorum).codehash, workloadId());
        assertEq(registry.newest(ListedId.unwrap(honest)), 0);
    }

    function test_register_revertsIfTheAnswerIsEmpty() public {
        answerRefused(0);
    }

    function test_register_revertsIfTheAnswerIsAByteShort() public {
        answerRefused(95);
    }

    function test_register_revertsIfTheAnswerIsAByteLong() public {
        answerRefused(97);
    }

    function test_register_revertsIfTheAnswerIsMegabytes() public {
        answerRefused(96 * 20_000);
    }

    /// Words that follow good ones are not ignored.
    function test_register_revertsIfTheAnswerHasAFourthWord() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.verifier = address(new Answers(abi.encode(workloadId(), attestedBy(s), START, START)));
        signBoot(s);
        refused(s, err(VerifierCall.VerifierAnswer.selector, 96, 128));
    }

    function test_register_revertsIfTheTimeDoesNotFit() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.verifier = address(new Answers(abi.encode(workloadId(), attestedBy(s), uint256(2 ** 40))));
        signBoot(s);
        refused(s, err(VerifierCall.VerifierTime.selector, bytes32(uint256(2 ** 40))));
    }

    /// A time whose low bits alone would be good.
    function test_register_revertsIfOnlyTheLowBitsOfTheTimeAreGood() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        uint256 time = 2 ** 64 + uint256(START);
        s.verifier = address(new Answers(abi.encode(workloadId(), attestedBy(s), time)));
        signBoot(s);
        refused(s, err(VerifierCall.VerifierTime.selector, bytes32(time)));
    }

    function test_register_revertsIfTheGreatestTimeIsOfTheFuture() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.verifier = address(new Answers(abi.encode(workloadId(), attestedBy(s), uint256(2 ** 40 - 1))));
        signBoot(s);
        refused(s, err(IKeys.EvidenceFromTheFuture.selector, START + 120, 2 ** 40 - 1));
    }

    function test_register_revertsIfTheAnswerIsOfOtherBytes() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.verifier = address(new Answers(abi.encode(workloadId(), bytes32("other bytes"), START)));
        signBoot(s);
        refused(s, err(IKeys.WrongAttestedBytes.selector, attestedBy(s), bytes32("other bytes")));
    }

    // Refusals.

    function test_register_handsARefusalOn() public {
        refused(submissionTo(address(new Refuses("no", 0))), "no");
    }

    function test_register_handsAnEmptyRefusalOn() public {
        assertEq(refusalOf(address(new Refuses("", 0))).length, 0);
    }

    function test_register_handsARefusalOfTheGreatestLengthOn() public {
        bytes memory reason = refusalOf(address(new Refuses("no", 1022)));
        assertEq(keccak256(reason), keccak256(bytes.concat("no", new bytes(1022))));
    }

    function test_register_cutsALongerRefusal() public {
        bytes memory reason = refusalOf(address(new Refuses("no", 1023)));
        assertEq(keccak256(reason), keccak256(bytes.concat("no", new bytes(1022))));
    }

    function test_register_cutsARefusalOfMegabytes() public {
        bytes memory reason = refusalOf(address(new Refuses("no", 2_000_000)));
        assertEq(keccak256(reason), keccak256(bytes.concat("no", new bytes(1022))));
    }

    /// The sender loses the gas that it gave, and nothing is stored.
    function test_register_revertsIfTheVerifierBurnsAllGas() public {
        bytes memory reason = refusalOf(address(new Burns()));
        assertEq(reason.length, 0);
        assertEq(registry.recordHash(kSig), 0);
        assertEq(registry.newest(0), 0);
    }

    /// Whoever waits behind such a submission still registers.
    function test_register_goesOnAfterAVerifierThatBurnsAllGas() public {
        refusalOf(address(new Burns()));
        registerGood(ENCLAVE_KEY);
        assertTrue(registry.recordHash(kSig) != 0, "registered");
    }

    // It is called without the right to write.

    function test_register_aVerifierCannotRegister() public {
        bytes memory call_ = abi.encodeCall(IKeys.register, (goodSubmission(ENCLAVE_KEY + 1)));
        cannotBeReentered(call_);
    }

    function test_register_aVerifierCannotRegisterTheSameKey() public {
        bytes memory call_ = abi.encodeCall(IKeys.register, (goodSubmission(ENCLAVE_KEY)));
        IKeys.Submission memory s = reentering(call_);
        assertEq(WorkloadId.unwrap(registry.register(s).workloadId), 0);
    }

    function test_register_aVerifierCannotPin() public {
        bytes memory header = Headers.header(998, START - 14);
        vm.setBlockhash(998, keccak256(header));
        cannotBeReentered(abi.encodeCall(IKeys.pin, (header)));
        (bytes32 blockHash,) = registry.pinned(998);
        assertEq(blockHash, keccak256(header));
    }

    function test_register_aVerifierCannotRetire() public {
        Record memory record = registerGood(ENCLAVE_KEY + 1);
        bytes32 digest = harness.retire(record.kSig, address(registry), block.chainid);
        cannotBeReentered(abi.encodeCall(IKeys.retireWithSignature, (record, sign(OPERATOR_KEY, digest))));
    }

    // What the registrar and the record bind.

    /// Front-running: whoever sees a submission waiting sends it through a verifier that accepts everything. The registrar signed
    /// for the verifier.
    function test_register_revertsIfTheVerifierWasExchanged() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.verifier = liarFor(s);
        s.verifierData = "";
        address recovered = harness.recover(registrationDigest(s, block.chainid), s.registrarSignature);
        refused(s, err(IKeys.WrongRegistrar.selector, vm.addr(REGISTRAR_KEY), recovered));
    }

    function test_register_goesOnAfterAFrontRunner() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        address verifier = s.verifier;
        s.verifier = liarFor(s);
        try registry.register(s) returns (Record memory) {} catch {}
        s.verifier = verifier;
        assertEq(registry.register(s).verifier, address(quorum));
    }

    /// A stranger with a verifier, a registrar and an operator of its own still lacks the key's word for its manifest.
    function test_register_revertsIfALiarAttestsSomebodysKey() public {
        IKeys.Submission memory honest = goodSubmission(ENCLAVE_KEY);
        IKeys.Submission memory s = submissionOf(ENCLAVE_KEY, STRANGER_KEY, "any");
        s.verifier = liarFor(s);
        signBoot(s);
        s.bootSignature = honest.bootSignature;
        address recovered = harness.recover(harness.boot(harness.manifest(s.manifest)), s.bootSignature);
        refused(s, err(IKeys.WrongBootSigner.selector, kSig, recovered));
    }

    /// Another verifier with the right words on its lips: the record names the one that judged.
    function test_renew_revertsThroughAnotherVerifier() public {
        Record memory record = registerGood(ENCLAVE_KEY);
        Freshness memory freshness = freshNow();
        bytes32 attested = harness.attested(kSig, record.manifestHash, harness.freshnessTag(freshness));
        record.verifier = address(new Answers(abi.encode(workloadId(), attested, START)));
        vm.expectRevert(err(IKeys.WrongRecord.selector, registry.recordHash(kSig), keccak256(abi.encode(record))));
        registry.renew(record, "new", "", freshness);
    }

    /// A key that came through a liar is the liar's for ever, and nobody else's policy is touched.
    function test_renew_throughTheLiarThatRegistered() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.verifier = liarFor(s);
        signBoot(s);
        Record memory record = registry.register(s);
        vm.warp(START + 60);
        registry.renew(record, "anything", "", s.freshness);
        // The liar says the same time again.
        assertEq(registry.stateOf(kSig).validUntil, START + DOCUMENT_LIFE);
    }

    // Kinds without a clock: as old as the block that the evidence names.

    function test_register_revertsIfNobodyPinnedTheBlock() public {
        refused(withoutClock(), err(IKeys.NotPinned.selector, bytes32(uint256(999))));
    }

    function test_register_takesTheTimeOfThePinnedBlock() public {
        IKeys.Submission memory s = pinnedWithoutClock();
        registry.register(s);
        assertEq(registry.stateOf(kSig).validUntil, START - 100 + DOCUMENT_LIFE);
    }

    function test_register_revertsIfAnotherBlockIsPinned() public {
        bytes memory header = Headers.header(998, START - 100);
        vm.setBlockhash(998, keccak256(header));
        registry.pin(header);
        refused(withoutClock(), err(IKeys.NotPinned.selector, bytes32(uint256(999))));
    }

    /// The block came before the document, and the boot may have come later than the block by the skew only.
    function test_register_revertsIfItBootedAfterThePinnedBlock() public {
        pinBlock(999, START - 200);
        IKeys.Submission memory s = withoutClock();
        s.manifest.bootedAt = START - 79;
        signThroughAClocklessVerifier(s);
        refused(s, err(IKeys.BootedAfterItsDocument.selector, START - 200, START - 79));
    }

    function test_renew_takesTheTimeOfAPinnedBlockThatTheChainForgot() public {
        Record memory record = registry.register(pinnedWithoutClock());
        vm.warp(START + 1 hours);
        vm.roll(3000);
        Freshness memory freshness = pinBlock(2990, START + 1 hours - 20);
        vm.roll(100_000);
        renewWithoutClock(record, freshness);
        assertEq(registry.stateOf(kSig).validUntil, START + 3 hours - 20);
    }

    function test_renew_revertsIfNobodyPinnedTheBlock() public {
        Record memory record = registry.register(pinnedWithoutClock());
        Freshness memory freshness = freshNow();
        freshness.blockNumber = 998;
        renewRefusedAsNotPinned(record, freshness);
    }

    /// No chain is asked at a renewal: the hash must be the pinned one, or another fork's document would have this block's time.
    function test_renew_revertsIfThePinnedHashIsAnother() public {
        Record memory record = registry.register(pinnedWithoutClock());
        Freshness memory freshness = freshNow();
        freshness.blockHash = "fork";
        renewRefusedAsNotPinned(record, freshness);
    }

    /// A block that nobody pinned has no hash: zero is not equal to it.
    function test_renew_revertsIfTheHashIsZero() public {
        Record memory record = registry.register(pinnedWithoutClock());
        Freshness memory freshness = freshNow();
        freshness.blockNumber = 998;
        freshness.blockHash = 0;
        renewRefusedAsNotPinned(record, freshness);
    }

    /// Nor is a number cut until it is that of a pinned block.
    function test_renew_revertsIfOnlyTheLowBitsOfTheNumberArePinned() public {
        Record memory record = registry.register(pinnedWithoutClock());
        Freshness memory freshness = freshNow();
        freshness.blockNumber += 2 ** 64;
        renewRefusedAsNotPinned(record, freshness);
    }

    function test_renew_revertsIfThePinnedBlockIsTooOld() public {
        Record memory record = registry.register(pinnedWithoutClock());
        Freshness memory freshness = freshNow();
        vm.warp(START - 100 + 7 days + 1);
        prepareClockless(record, freshness);
        vm.expectRevert(err(IKeys.EvidenceTooOld.selector, START - 99, START - 100));
        registry.renew(record, "new", "", freshness);
    }

    /// A good submission to be judged by another contract.
    function submissionTo(address verifier) private returns (IKeys.Submission memory s) {
        s = goodSubmission(ENCLAVE_KEY);
        s.verifier = verifier;
        signBoot(s);
    }

    /// A verifier that accepts this submission whatever its evidence.
    function liarFor(IKeys.Submission memory s) private returns (address) {
        registeredAs = WorkloadId.wrap(LIED);
        return address(new Answers(abi.encode(LIED, attestedBy(s), START)));
    }

    function answerRefused(uint256 length) private {
        IKeys.Submission memory s = submissionTo(address(new AnswersLong(length)));
        refused(s, err(VerifierCall.VerifierAnswer.selector, 96, length));
    }

    /// What a registration that was given LIMIT of gas reverts with.
    function refusalOf(address verifier) private returns (bytes memory) {
        bytes memory input = abi.encodeCall(IKeys.register, (submissionTo(verifier)));
        (bool ok, bytes memory reason) = address(registry).call{gas: LIMIT}(input);
        assertTrue(!ok, "refused");
        return reason;
    }

    /// A submission through a verifier that makes this call; its workload is then 1 if the call went well.
    function reentering(bytes memory call_) private returns (IKeys.Submission memory s) {
        Reenters verifier = new Reenters();
        s = submissionTo(address(verifier));
        registeredAs = WorkloadId.wrap(0);
        signBoot(s);
        verifier.prepare(address(registry), call_, attestedBy(s));
    }

    /// The call fails inside of a verification, and only there: the same call is good outside.
    function cannotBeReentered(bytes memory call_) private {
        assertEq(WorkloadId.unwrap(registry.register(reentering(call_)).workloadId), 0);
        (bool ok,) = address(registry).call(call_);
        assertTrue(ok, "the call is good outside");
    }

    function pinBlock(uint64 number, uint64 time) private returns (Freshness memory freshness) {
        bytes memory header = Headers.header(number, time);
        vm.setBlockhash(number, keccak256(header));
        registry.pin(header);
        freshness.chainId = block.chainid;
        freshness.blockNumber = number;
        freshness.blockHash = keccak256(header);
    }

    function pinnedWithoutClock() private returns (IKeys.Submission memory) {
        pinBlock(999, START - 100);
        return withoutClock();
    }

    /// A submission through a verifier that says no time.
    function withoutClock() private returns (IKeys.Submission memory s) {
        s = goodSubmission(ENCLAVE_KEY);
        signThroughAClocklessVerifier(s);
    }

    function signThroughAClocklessVerifier(IKeys.Submission memory s) private {
        s.verifier = address(new Clockless());
        Clockless(s.verifier).attest(attestedBy(s));
        registeredAs = WorkloadId.wrap("clockless");
        signBoot(s);
    }

    function prepareClockless(Record memory record, Freshness memory freshness) private {
        Clockless(record.verifier).attest(harness.attested(kSig, record.manifestHash, harness.freshnessTag(freshness)));
    }

    function renewWithoutClock(Record memory record, Freshness memory freshness) private {
        prepareClockless(record, freshness);
        registry.renew(record, "new", "", freshness);
    }

    function renewRefusedAsNotPinned(Record memory record, Freshness memory freshness) private {
        prepareClockless(record, freshness);
        vm.expectRevert(err(IKeys.NotPinned.selector, bytes32(freshness.blockNumber)));
        registry.renew(record, "new", "", freshness);
    }
}
