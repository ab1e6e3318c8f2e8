// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Checkpoint, ListedId, LogId, Money, PolicyId, ReceiptWords, Record} from "../Types.sol";
import {IWorkloadPolicy} from "./IWorkloadPolicy.sol";

/// @title Proves a receipt to a contract: signed by a registered key, in a tree that this chain saw in time, under a policy that the caller
/// names.
/// @notice NOT proven: delivery to the client (only hand-over to the host); that a payment settled (read the token); for work that was
/// passed on, anything about the upstream's model; that the receipt's recent block exists (a client with an RPC checks that); that the same
/// receipt was not proven before (a caller that pays out must remember `receiptDigest`); that the policy deserves trust.
interface IProofs {
    /// @notice What a caller brings, and what it is ready to take.
    struct ReceiptProof {
        ReceiptWords receipt;
        /// K_sig's over the receipt, 65 bytes.
        bytes signature;
        /// Salt of the receipt's leaf.
        bytes32 logSalt;
        Record record;
        /// Of an anchored tree, greater than the receipt's sequence number; zero for none.
        uint64 size;
        /// When that tree was anchored, Unix seconds.
        uint64 anchoredAt;
        /// The RFC 9162 proof of the leaf, at index `sequence`, in the tree of that size.
        bytes32[] inclusion;
        /// Of an observed tree that holds the receipt; zero for none. The earlier of the two moments counts, and the anchor gives the
        /// place in the sequence: so an anchor that came too late stands with an observation that came in time.
        uint64 observedSize;
        /// The proof of the leaf in the observed tree.
        bytes32[] observedInclusion;
        /// Who decides what is acceptable. Mandatory, because registered is not acceptable.
        PolicyId policyId;
        /// Bit i: scheme i is taken. Nothing is taken that is not named: unpaid work costs its maker nothing.
        uint8 schemes;
        /// Whether a receipt is taken under a paid scheme of which nothing was charged.
        bool acceptsUncharged;
        /// Whether an observation is taken without an anchor. Then all that stands behind the place in the log is the word of
        /// whoever holds the key, within MAX_ANCHOR_DELAY.
        bool acceptsObservation;
    }

    /// @notice What was proven. Times in Unix seconds.
    struct Proven {
        /// Identity of the receipt.
        bytes32 receiptDigest;
        address kSig;
        address operator;
        ListedId listedId;
        uint32 kinds;
        uint8 outcome;
        bytes32 modelId;
        uint64 finished;
        /// Block time of the anchor, or of the observation if that came earlier: the receipt existed by then.
        uint64 seenAt;
        /// Whether a tree that holds the receipt is an anchor, proven to continue all anchors before. With an earlier observation the anchor may be
        /// later than MAX_ANCHOR_DELAY: then which leaf stands at this place was open until the anchor, to whoever holds the key.
        bool inSequence;
        Money money;
    }

    error UnsupportedVersion(uint8 expected, uint8 got);
    error NotSignedByTheRecord(address expected, address got);
    error WrongManifest(bytes32 expected, bytes32 got);
    error WrongReceiptLog(LogId expected, LogId got);
    error NotAccepted(PolicyId policyId, ListedId listedId, address operator);
    error SchemeNotAccepted(uint8 schemes, uint8 got);
    error NothingCharged();
    error WrongPaymentId(bytes32 expected, bytes32 got);
    /// @notice Scheme none, and yet words about money.
    error MoneyWithoutScheme();
    error WrongPaidTo(address expected, address got);
    /// @notice No anchored tree is shown, and the caller takes nothing less, or none at all is shown.
    error AnchorRequired();
    /// @notice The path of the leaf ends in a root that was not anchored at this size and time: the tree is another, or the receipt is not
    /// in it.
    error NotAnchored(address kSig, uint64 size, bytes32 root);
    /// @notice The path of the leaf ends in a root that was not observed at this size.
    error NotObserved(address kSig, uint64 size, bytes32 root);
    error FinishedBeforeBoot(uint64 validFrom, uint64 finished);
    error FinishedAfterValidity(uint64 validUntil, uint64 finished);
    error FinishedAfterSeen(uint64 latest, uint64 finished);
    /// @notice This chain saw the tree later than any honest one of this answer: a key that lapsed long ago proves nothing new.
    error SeenTooLate(uint64 latest, uint64 seenAt);
    error FinishedAfterRetirement(uint64 invalidFrom, uint64 finished);
    error SeenAfterRevocation(uint64 revokedAt, uint64 seenAt);

    /// @notice Checks everything that this chain can know about a receipt, or reverts with what is wrong.
    function prove(ReceiptProof calldata proof) external view returns (Proven memory);

    /// @notice Anchors the receipt's tree and proves it, in one transaction. The proof's `anchoredAt` is the block's time, so this is for
    /// contracts; and if somebody else anchors the tree first it reverts (`SizeNotGreater`): then `prove` is what is left to call.
    function anchorAndProve(
        Checkpoint calldata checkpoint,
        bytes calldata checkpointSignature,
        bytes32 lastRoot,
        uint64 lastAnchoredAt,
        bytes32[] calldata consistency,
        ReceiptProof calldata proof
    ) external returns (Proven memory);

    /// @notice The EIP-712 digest of a receipt.
    function receiptDigest(ReceiptWords calldata receipt) external pure returns (bytes32);

    /// @notice The policies that `policyId` is looked up in.
    function policies() external view returns (IWorkloadPolicy);
}
