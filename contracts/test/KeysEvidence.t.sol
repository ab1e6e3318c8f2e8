// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Manifest} from "../src/Types.sol";
import {IKeys} from "../src/interfaces/IKeys.sol";
import {IQuorumVerifier} from "../src/interfaces/IQuorumVerifier.sol";
import {History} from "./support/History.sol";
import {KeysFixture} from "./support/KeysFixture.sol";

/// What a registration asks of the evidence: a block that the chain still knows, a document of the right time, and every word
/// bound.
contract KeysEvidenceTest is KeysFixture {
    address private constant HISTORY = 0x0000F90827F1C53a10cb7A02335B175320002935;

    // Blocks.

    function test_register_takesTheOldestOfTheLast256Blocks() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.freshness.blockNumber = 744;
        s.freshness.blockHash = blockhash(744);
        signBoot(s);
        registry.register(s);
    }

    function test_register_takesAnOlderBlockFromTheHistory() public {
        vm.etch(HISTORY, type(History).runtimeCode);
        registry.register(submissionAtBlock(9000, 810, keccak256(abi.encode("history", uint256(810)))));
    }

    /// The history is not asked for what the chain says itself.
    function test_register_takesTheChainsHashBeforeThatOfTheHistory() public {
        vm.etch(HISTORY, type(History).runtimeCode);
        bytes32 other = keccak256(abi.encode("history", uint256(999)));
        IKeys.Submission memory s = submissionAtBlock(1000, 999, other);
        refused(s, err(IKeys.WrongBlockHash.selector, blockhash(999), other));
    }

    function test_register_revertsIfTheHistorySaysAnotherHash() public {
        vm.etch(HISTORY, type(History).runtimeCode);
        IKeys.Submission memory s = submissionAtBlock(9000, 810, "fork");
        refused(s, err(IKeys.WrongBlockHash.selector, keccak256(abi.encode("history", uint256(810))), bytes32("fork")));
    }

    function test_register_revertsIfBlockIsTooOldForTheHistory() public {
        vm.etch(HISTORY, type(History).runtimeCode);
        IKeys.Submission memory s = submissionAtBlock(9000, 808, "any");
        refused(s, err(IKeys.BlockOutOfRange.selector, 9000, 808));
    }

    function test_register_revertsIfTheHistoryDoesNotAnswer32Bytes() public {
        vm.etch(HISTORY, hex"00");
        vm.mockCall(HISTORY, abi.encode(uint256(810)), abi.encode("any", "more"));
        IKeys.Submission memory s = submissionAtBlock(9000, 810, "any");
        refused(s, err(IKeys.BlockOutOfRange.selector, 9000, 810));
    }

    function test_register_revertsIfBlockIsTooOldAndThereIsNoHistory() public {
        IKeys.Submission memory s = submissionAtBlock(1000, 743, "any");
        refused(s, err(IKeys.BlockOutOfRange.selector, 1000, 743));
    }

    /// Not even if the history would say a hash.
    function test_register_revertsIfBlockIsTheCurrentOne() public {
        vm.etch(HISTORY, hex"00");
        vm.mockCall(HISTORY, abi.encode(uint256(1000)), abi.encode("hash"));
        IKeys.Submission memory s = submissionAtBlock(1000, 1000, "hash");
        refused(s, err(IKeys.BlockOutOfRange.selector, 1000, 1000));
    }

    function test_register_revertsIfBlockIsOfTheFuture() public {
        IKeys.Submission memory s = submissionAtBlock(1000, type(uint256).max, 0);
        refused(s, err(IKeys.BlockOutOfRange.selector, 1000, type(uint256).max));
    }

    function test_register_revertsIfBlockHashIsNotTheChains() public {
        IKeys.Submission memory s = submissionAtBlock(1000, 999, "fork");
        refused(s, err(IKeys.WrongBlockHash.selector, blockhash(999), bytes32("fork")));
    }

    /// The same evidence, once its block is gone from the chain's memory.
    function test_register_revertsIfEvidenceIsReplayedLater() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        vm.roll(1256);
        refused(s, err(IKeys.BlockOutOfRange.selector, 1256, 999));
    }

    // Evidence.

    function test_register_revertsIfChallengeIsAnother() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        bytes32 attested = attestedBy(s);
        s.freshness.nonce = "another challenge";
        refused(s, err(IKeys.WrongAttestedBytes.selector, attestedBy(s), attested));
    }

    function test_register_revertsIfEvidenceAttestsAnotherManifest() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        bytes32 attested = attestedBy(s);
        bytes memory verdict = s.verifierData;
        s.manifest.tlsSpkiHash = "another TLS key";
        signBoot(s);
        s.verifierData = verdict;
        refused(s, err(IKeys.WrongAttestedBytes.selector, attestedBy(s), attested));
    }

    function test_register_revertsIfEvidenceAttestsAnotherKey() public {
        bytes32 attested = attestedBy(goodSubmission(ENCLAVE_KEY + 1));
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        IQuorumVerifier.Verdict memory verdict = goodVerdict(s.evidence, kSig, harness.manifest(s.manifest), s.freshness);
        verdict.attestedHash = attested;
        s.verifierData = signedVerdict(verdict);
        refused(s, err(IKeys.WrongAttestedBytes.selector, attestedBy(s), attested));
    }

    /// The verifier's refusal is handed on as it is.
    function test_register_revertsIfEvidenceIsAnother() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        bytes32 verified = keccak256(s.evidence);
        s.evidence = "another document";
        refused(s, err(IQuorumVerifier.WrongEvidence.selector, keccak256("another document"), verified));
    }

    /// A document ends when its two hours do, however late it comes: nothing counts from the time of its registration.
    function test_register_takesADocumentThatIsOver() public {
        IKeys.Submission memory s = withDocumentTime(START - 3 hours);
        s.manifest.bootedAt = START - 3 hours;
        signAt(s, START - 3 hours);
        registry.register(s);
        assertEq(registry.stateOf(kSig).validUntil, START - 1 hours);
    }

    function test_register_takesADocumentAheadByTheSkew() public {
        registry.register(withDocumentTime(START + 120));
        assertEq(registry.stateOf(kSig).validUntil, START + 120 + DOCUMENT_LIFE);
    }

    function test_register_revertsIfDocumentIsFromTheFuture() public {
        refused(withDocumentTime(START + 121), err(IKeys.EvidenceFromTheFuture.selector, START + 120, START + 121));
    }

    function test_register_takesABootAheadOfItsDocumentByTheSkew() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.manifest.bootedAt = START + 110;
        signBoot(s);
        assertEq(registry.register(s).validFrom, START + 110);
    }

    function test_register_revertsIfItBootedAfterItsDocument() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.manifest.bootedAt = START + 111;
        signBoot(s);
        refused(s, err(IKeys.BootedAfterItsDocument.selector, START - 10, START + 111));
    }

    function test_register_takesBytesOfTheGreatestLength() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.evidence = new bytes(65_536);
        s.termsData = new bytes(65_536);
        signBoot(s);
        registry.register(s);
    }

    function test_register_revertsIfTermsDataIsTooLong() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.termsData = new bytes(65_537);
        signBoot(s);
        refused(s, err(IKeys.TooLong.selector, 65_536, 65_537));
    }

    function test_register_revertsIfEvidenceIsTooLong() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.evidence = new bytes(65_537);
        signBoot(s);
        refused(s, err(IKeys.TooLong.selector, 65_536, 65_537));
    }

    function test_register_revertsIfVerifierDataIsTooLong() public {
        IKeys.Submission memory s = goodSubmission(ENCLAVE_KEY);
        s.verifierData = new bytes(65_537);
        refused(s, err(IKeys.TooLong.selector, 65_536, 65_537));
    }

    /// Nothing of the manifest is the sender's choice: any word changed, the submission is refused.
    function testFuzz_register_revertsIfAnyWordOfTheManifestIsChanged(uint256 word, uint256 flip) public {
        IKeys.Submission memory s = changedManifest(bound(word, 0, 18), flip);
        vm.expectRevert();
        registry.register(s);
    }

    /// Nor is it the registrar's or the key's alone, both signing what was changed: the evidence binds every word.
    function testFuzz_register_revertsIfAnyWordOfTheManifestIsNotTheAttestedOne(uint256 word, uint256 flip) public {
        // The key stays, or it could not sign.
        word = bound(word, 0, 18);
        vm.assume(word != 1);
        IKeys.Submission memory s = changedManifest(word, flip);
        bytes memory verdict = s.verifierData;
        signBoot(s);
        s.verifierData = verdict;
        vm.expectRevert();
        registry.register(s);
    }

    function changedManifest(uint256 word, uint256 flip) private returns (IKeys.Submission memory s) {
        s = goodSubmission(ENCLAVE_KEY);
        bytes memory encoded = abi.encode(s.manifest);
        // The low bits, so that the word stays in the range of its type.
        flip &= word == 0 ? type(uint8).max : word == 15 || word == 18 ? type(uint64).max : type(uint160).max;
        vm.assume(flip != 0);
        flipWord(encoded, word, flip);
        s.manifest = abi.decode(encoded, (Manifest));
    }

    function submissionAtBlock(uint256 current, uint256 number, bytes32 hash) private returns (IKeys.Submission memory s) {
        vm.roll(current);
        s = goodSubmission(ENCLAVE_KEY);
        s.freshness.blockNumber = number;
        s.freshness.blockHash = hash;
        signBoot(s);
    }
}
