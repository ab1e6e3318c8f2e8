// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ListedId, Record, WorkloadId} from "../../src/Types.sol";
import {IKeys} from "../../src/interfaces/IKeys.sol";
import {IQuorumVerifier} from "../../src/interfaces/IQuorumVerifier.sol";
import {Fixture} from "./Fixture.sol";

/// Submissions of other operators, workloads and times, and what a registry says of them.
abstract contract KeysFixture is Fixture {
    function flipWord(bytes memory encoded, uint256 word, uint256 flip) internal pure {
        assembly ("memory-safe") {
            let place := add(add(encoded, 0x20), mul(word, 0x20))
            mstore(place, xor(mload(place), flip))
        }
    }

    /// What the evidence of a good submission must attest.
    function attestedBy(IKeys.Submission memory s) internal view returns (bytes32) {
        return harness.attested(s.manifest.kSig, harness.manifest(s.manifest), harness.freshnessTag(s.freshness));
    }

    function withDocumentTime(uint64 documentTime) internal returns (IKeys.Submission memory s) {
        s = goodSubmission(ENCLAVE_KEY);
        signAt(s, documentTime);
    }

    function signAt(IKeys.Submission memory s, uint64 documentTime) internal view {
        signBoot(s);
        IQuorumVerifier.Verdict memory verdict = goodVerdict(s.evidence, s.manifest.kSig, harness.manifest(s.manifest), s.freshness);
        verdict.documentTime = documentTime;
        s.verifierData = signedVerdict(verdict);
    }

    /// A submission of any operator, measured as anything.
    function submissionOf(uint256 enclaveKey, uint256 operatorKey, bytes memory measurements)
        internal
        returns (IKeys.Submission memory s)
    {
        s = goodSubmission(enclaveKey);
        s.terms.operator = vm.addr(operatorKey);
        s.manifest.operator = vm.addr(operatorKey);
        registeredAs = workloadOf(measurements);
        signAll(s);
        s.operatorSignature = sign(operatorKey, s.manifest.termsHash);
        IQuorumVerifier.Verdict memory verdict = goodVerdict(s.evidence, s.manifest.kSig, harness.manifest(s.manifest), s.freshness);
        verdict.innerMeasurements = keccak256(measurements);
        s.verifierData = signedVerdict(verdict);
    }

    function workloadOf(bytes memory measurements) internal view returns (WorkloadId) {
        WorkloadId inner = harness.workloadId(1, keccak256("simulated root"), keccak256(measurements));
        return harness.workloadId(QUORUM, quorum.quorumRoot(), WorkloadId.unwrap(inner));
    }

    /// The record of a submission, from its words alone.
    function recordFor(IKeys.Submission memory s, WorkloadId workload) internal view returns (Record memory) {
        return Record({
            kSig: s.manifest.kSig,
            logId: harness.logId(s.manifest.kSig, s.manifest.kLog),
            manifestHash: harness.manifest(s.manifest),
            verifier: s.verifier,
            verifierCodehash: keccak256(s.verifier.code),
            workloadId: workload,
            operator: s.manifest.operator,
            payee: s.manifest.payee,
            validFrom: s.manifest.bootedAt,
            termsUntil: s.terms.notAfter / 1000
        });
    }

    function expectRegistered(IKeys.Submission memory s, WorkloadId workload, IKeys.Previous memory previous) internal {
        Record memory record = recordFor(s, workload);
        IKeys.Boot memory boot = IKeys.Boot({
            manifest: s.manifest,
            evidence: s.evidence,
            verifierData: s.verifierData,
            freshness: s.freshness,
            termsData: s.termsData,
            operatorSignature: s.operatorSignature
        });
        ListedId listed = harness.listedId(record.verifier, record.verifierCodehash, workload);
        vm.expectEmit(true, true, true, true, address(registry));
        emit IKeys.Registered(record.kSig, record.operator, listed, record, START - 10 + DOCUMENT_LIFE, previous, boot);
    }

    function refused(IKeys.Submission memory s, bytes memory reason) internal {
        vm.expectRevert(reason);
        registry.register(s);
    }
}
