// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {KeyState} from "../KeyState.sol";
import {Checkpoint, ListedId, LogId, Money, PolicyId, ReceiptWords, Record} from "../Types.sol";
import {IProofs} from "../interfaces/IProofs.sol";
import {IWorkloadPolicy} from "../interfaces/IWorkloadPolicy.sol";
import {Digests} from "../lib/Digests.sol";
import {Merkle9162} from "../lib/Merkle9162.sol";
import {Sha256} from "../lib/Sha256.sol";
import {Signatures} from "../lib/Signatures.sol";
import {Anchors} from "./Anchors.sol";

/// @dev Part three of CandorRegistry: a receipt, proven to whoever calls.
abstract contract Proofs is IProofs, Anchors {
    /// @inheritdoc IProofs
    IWorkloadPolicy public immutable policies;

    uint8 private constant SCHEME_NONE = 0;
    uint8 private constant SCHEME_MAX = 4;

    constructor(IWorkloadPolicy policies_) {
        policies = policies_;
    }

    /// @inheritdoc IProofs
    function prove(ReceiptProof calldata c) public view returns (Proven memory proven) {
        ReceiptWords calldata receipt = c.receipt;
        if (receipt.version != VERSION) revert UnsupportedVersion(VERSION, receipt.version);
        proven.receiptDigest = Digests.receipt(receipt);
        proven.kSig = Signatures.recover(proven.receiptDigest, c.signature);
        if (proven.kSig != c.record.kSig) revert NotSignedByTheRecord(c.record.kSig, proven.kSig);
        KeyState state = _checkRecord(c.record);
        if (receipt.manifestHash != c.record.manifestHash) revert WrongManifest(c.record.manifestHash, receipt.manifestHash);
        if (LogId.unwrap(receipt.logId) != LogId.unwrap(c.record.logId)) revert WrongReceiptLog(c.record.logId, receipt.logId);
        _checkMoney(c, receipt.money);

        bytes32 leaf = Sha256.leaf(Digests.leafData(c.logSalt, proven.receiptDigest, c.signature));
        (proven.seenAt, proven.inSequence) = _seen(c, leaf);
        uint64 finished = receipt.work.finishedAt / 1000;
        _checkTimes(finished, proven.seenAt, state, c.record.validFrom);

        proven.listedId = Digests.listedId(c.record.verifier, c.record.verifierCodehash, c.record.workloadId);
        proven.operator = c.record.operator;
        if (!policies.acceptsAt(c.policyId, proven.listedId, proven.operator, finished, proven.seenAt)) {
            revert NotAccepted(c.policyId, proven.listedId, proven.operator);
        }
        proven.kinds = receipt.work.kinds;
        proven.outcome = receipt.work.outcome;
        proven.modelId = receipt.work.modelId;
        proven.finished = finished;
        proven.money = receipt.money;
    }

    /// @inheritdoc IProofs
    function anchorAndProve(
        Checkpoint calldata checkpoint,
        bytes calldata checkpointSignature,
        bytes32 lastRoot,
        uint64 lastAnchoredAt,
        bytes32[] calldata consistency,
        ReceiptProof calldata c
    ) external returns (Proven memory proven) {
        anchor(c.record, checkpoint, checkpointSignature, lastRoot, lastAnchoredAt, consistency);
        return prove(c);
    }

    /// @inheritdoc IProofs
    function receiptDigest(ReceiptWords calldata receipt) external pure returns (bytes32) {
        return Digests.receipt(receipt);
    }

    /// The caller names the schemes that it takes; what nobody paid, or was charged, for says so by its payment id.
    function _checkMoney(ReceiptProof calldata c, Money calldata money) private view {
        if (money.scheme > SCHEME_MAX || (c.schemes >> money.scheme) & 1 == 0) revert SchemeNotAccepted(c.schemes, money.scheme);
        if (money.payee != c.record.payee) revert WrongPaidTo(c.record.payee, money.payee);
        (LogId logId, uint64 sequence) = (c.receipt.logId, c.receipt.sequence);
        if (money.scheme == SCHEME_NONE) {
            bytes32 id = Digests.unpaidId(block.chainid, logId, sequence);
            if (money.paymentId != id) revert WrongPaymentId(id, money.paymentId);
            bool nothing = money.payer == address(0) && money.asset == address(0) && money.settler == address(0)
                && money.chainId == block.chainid && money.maxAmount == 0 && money.charged == 0 && money.cumulativeBefore == 0
                && money.cumulativeAfter == 0 && money.offerDigest == 0;
            if (!nothing) revert MoneyWithoutScheme();
        } else if (money.charged == 0) {
            if (!c.acceptsUncharged) revert NothingCharged();
            bytes32 id = Digests.unsettledId(block.chainid, logId, sequence);
            if (money.paymentId != id) revert WrongPaymentId(id, money.paymentId);
        }
    }

    /// When this chain first saw the leaf, by the trees that are shown, and whether it stands in the sequence of the log's anchors.
    function _seen(ReceiptProof calldata c, bytes32 leaf) private view returns (uint64 seenAt, bool inSequence) {
        (address kSig, uint64 sequence) = (c.record.kSig, c.receipt.sequence);
        inSequence = c.size != 0;
        if (inSequence) {
            bytes32 root = Merkle9162.rootFromInclusion(leaf, sequence, c.size, c.inclusion);
            if (!_isAnchored(kSig, c.size, root, c.anchoredAt)) revert NotAnchored(kSig, c.size, root);
            seenAt = c.anchoredAt;
        } else if (!c.acceptsObservation || c.observedSize == 0) {
            revert AnchorRequired();
        }
        if (c.observedSize != 0) {
            bytes32 root = Merkle9162.rootFromInclusion(leaf, sequence, c.observedSize, c.observedInclusion);
            uint64 observedAt = _observedAt(kSig, c.observedSize, root);
            if (observedAt == 0) revert NotObserved(kSig, c.observedSize, root);
            if (!inSequence || observedAt < seenAt) seenAt = observedAt;
        }
    }

    /// The five lines of the time rule (spec/bundle.md section 6), in whole seconds, for the trees that are shown. crates/verify judges by the
    /// earliest tree that it knows of; test/Time.t.sol holds the edges of each line.
    function _checkTimes(uint64 finished, uint64 seenAt, KeyState state, uint64 validFrom) internal pure {
        if (finished + CLOCK_SKEW < validFrom) revert FinishedBeforeBoot(validFrom, finished);
        if (state.validUntil() < finished) revert FinishedAfterValidity(state.validUntil(), finished);
        if (seenAt + CLOCK_SKEW < finished) revert FinishedAfterSeen(seenAt + CLOCK_SKEW, finished);
        if (finished + MAX_ANCHOR_DELAY < seenAt) revert SeenTooLate(finished + MAX_ANCHOR_DELAY, seenAt);
        (uint64 invalidFrom, uint64 revokedAt) = (state.invalidFrom(), state.revokedAt());
        if (invalidFrom != 0 && invalidFrom < finished) revert FinishedAfterRetirement(invalidFrom, finished);
        if (revokedAt != 0 && revokedAt <= seenAt) revert SeenAfterRevocation(revokedAt, seenAt);
    }
}
