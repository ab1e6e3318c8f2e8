// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {WorkloadId} from "./Types.sol";
import {IAttestationVerifier} from "./interfaces/IAttestationVerifier.sol";
import {IQuorumVerifier} from "./interfaces/IQuorumVerifier.sol";
import {Digests} from "./lib/Digests.sol";
import {Signatures} from "./lib/Signatures.sol";

contract QuorumVerifier is IQuorumVerifier {
    /// @inheritdoc IQuorumVerifier
    uint32 public constant kind = 0x51;

    /// A quorum of more is a consensus protocol, which this is not; and each signature costs the submitter about 6,000 gas.
    uint256 public constant MAX_MEMBERS = 32;

    /// The six words of a Verdict.
    uint256 private constant VERDICT_LENGTH = 192;

    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant VERDICT_TYPEHASH = keccak256(
        "Verdict(bytes32 evidenceHash,uint256 innerKind,bytes32 innerRoot,bytes32 innerMeasurements,bytes32 attestedHash,uint64 documentTime)"
    );

    /// @inheritdoc IQuorumVerifier
    uint256 public immutable threshold;
    /// @inheritdoc IQuorumVerifier
    bytes32 public immutable quorumRoot;

    // Invariant: written by the constructor only.
    address[] private _members;
    mapping(address member => bool) private _isMember;

    constructor(uint256 threshold_, address[] memory sortedMembers) {
        uint256 count = sortedMembers.length;
        if (count == 0) revert NoMembers();
        if (count > MAX_MEMBERS) revert TooManyMembers(MAX_MEMBERS, count);
        if (threshold_ == 0 || threshold_ > count) revert ThresholdOutOfRange(count, threshold_);
        address previous = address(0);
        for (uint256 i = 0; i < count; ++i) {
            address member = sortedMembers[i];
            if (member <= previous) revert MembersNotSorted(previous, member);
            _isMember[member] = true;
            previous = member;
        }
        _members = sortedMembers;
        threshold = threshold_;
        quorumRoot = keccak256(abi.encode(threshold_, sortedMembers));
    }

    /// @inheritdoc IAttestationVerifier
    function verify(bytes calldata evidence, bytes calldata verifierData) external view returns (Attested memory) {
        if (verifierData.length < VERDICT_LENGTH || (verifierData.length - VERDICT_LENGTH) % Signatures.LENGTH != 0) {
            revert VerifierDataLength(VERDICT_LENGTH, verifierData.length);
        }
        Verdict memory verdict = abi.decode(verifierData[:VERDICT_LENGTH], (Verdict));
        bytes32 evidenceHash = keccak256(evidence);
        if (verdict.evidenceHash != evidenceHash) revert WrongEvidence(evidenceHash, verdict.evidenceHash);
        _checkSignatures(_digest(verdict), verifierData[VERDICT_LENGTH:]);

        WorkloadId inner = Digests.workloadId(verdict.innerKind, verdict.innerRoot, verdict.innerMeasurements);
        return Attested({
            workloadId: Digests.workloadId(kind, quorumRoot, WorkloadId.unwrap(inner)),
            attestedHash: verdict.attestedHash,
            documentTime: verdict.documentTime
        });
    }

    /// @inheritdoc IQuorumVerifier
    function members() external view returns (address[] memory) {
        return _members;
    }

    /// @inheritdoc IQuorumVerifier
    function verdictDigest(Verdict calldata verdict) external view returns (bytes32) {
        return _digest(verdict);
    }

    function _checkSignatures(bytes32 digest, bytes calldata signatures) private view {
        uint256 count = signatures.length / Signatures.LENGTH;
        if (count < threshold) revert TooFewSignatures(threshold, count);
        // Bounded: members are few, and each can stand in an ascending list once.
        address previous = address(0);
        for (uint256 i = 0; i < count; ++i) {
            address signer = Signatures.recover(digest, signatures[i * Signatures.LENGTH:(i + 1) * Signatures.LENGTH]);
            if (signer <= previous) revert SignersNotSorted(previous, signer);
            if (!_isMember[signer]) revert NotAMember(signer);
            previous = signer;
        }
    }

    /// The domain is built per call: after a chain split the two chains must not share verdicts.
    function _digest(Verdict memory verdict) private view returns (bytes32) {
        bytes32 domain =
            keccak256(abi.encode(DOMAIN_TYPEHASH, keccak256("Candor Attestor"), keccak256("2"), block.chainid, address(this)));
        return keccak256(abi.encodePacked(hex"1901", domain, keccak256(abi.encode(VERDICT_TYPEHASH, verdict))));
    }
}
