// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {LogId, Money, PolicyId, ReceiptWords} from "./Types.sol";
import {IEnclaveRegistry} from "./interfaces/IEnclaveRegistry.sol";
import {ILogAnchor} from "./interfaces/ILogAnchor.sol";
import {IReceiptVerifier} from "./interfaces/IReceiptVerifier.sol";
import {IWorkloadPolicy} from "./interfaces/IWorkloadPolicy.sol";
import {Digests} from "./lib/Digests.sol";
import {Merkle9162} from "./lib/Merkle9162.sol";
import {Sha256} from "./lib/Sha256.sol";
import {Signatures} from "./lib/Signatures.sol";

contract ReceiptVerifier is IReceiptVerifier {
    /// The version of receipts that this contract reads.
    uint8 public constant VERSION = 2;

    /// @inheritdoc IReceiptVerifier
    /// @dev In true time an answer is finished before its anchor's block, so this pays only for the difference of two clocks: NTP keeps
    /// an honest enclave within a second, and a block's time may be a few slots old. Two minutes is generous to both and useless to a
    /// liar, who gains nothing by a receipt from the future.
    uint64 public constant CLOCK_SKEW = 120;

    /// How long after an answer its tree may be anchored, in seconds: whoever gets hold of a key that lapsed long ago cannot have had a
    /// receipt anchored then.
    uint64 public constant MAX_ANCHOR_DELAY = 7 days;

    /// @inheritdoc IReceiptVerifier
    IEnclaveRegistry public immutable registry;
    /// @inheritdoc IReceiptVerifier
    ILogAnchor public immutable logAnchor;
    /// @inheritdoc IReceiptVerifier
    IWorkloadPolicy public immutable workloadPolicy;

    constructor(IEnclaveRegistry registry_, IWorkloadPolicy workloadPolicy_) {
        registry = registry_;
        logAnchor = registry_.logAnchor();
        workloadPolicy = workloadPolicy_;
    }

    /// @inheritdoc IReceiptVerifier
    function prove(
        ReceiptWords calldata receipt,
        bytes calldata signature,
        bytes32 logSalt,
        uint64 anchoredSize,
        bytes32[] calldata inclusion,
        PolicyId policyId
    ) external view returns (Proven memory proven) {
        if (receipt.version != VERSION) revert UnsupportedVersion(VERSION, receipt.version);
        proven.receiptDigest = Digests.receipt(receipt);
        proven.kSig = Signatures.recover(proven.receiptDigest, signature);

        IEnclaveRegistry.Enclave memory enclave = registry.enclave(proven.kSig);
        if (enclave.registeredBlock == 0) revert SignerNotRegistered(proven.kSig);
        _checkReceipt(receipt, enclave);
        if (!workloadPolicy.accepts(policyId, enclave.workloadId, enclave.operator)) {
            revert NotAccepted(policyId, enclave.workloadId, enclave.operator);
        }

        bytes32 leafHash = Sha256.leaf(Digests.leafData(logSalt, proven.receiptDigest, signature));
        proven.anchoredAt = _checkAnchored(leafHash, receipt, anchoredSize, inclusion);
        _checkTimes(receipt.work.finishedAt / 1000, proven, enclave);

        proven.operator = enclave.operator;
        proven.workloadId = enclave.workloadId;
        proven.kind = enclave.kind;
    }

    /// @inheritdoc IReceiptVerifier
    function receiptDigest(ReceiptWords calldata receipt) external pure returns (bytes32) {
        return Digests.receipt(receipt);
    }

    /// The receipt is of this key's boot, and its money moves on this chain to the registered payee.
    function _checkReceipt(ReceiptWords calldata receipt, IEnclaveRegistry.Enclave memory enclave) private view {
        if (receipt.manifestHash != enclave.manifestHash) revert WrongManifest(enclave.manifestHash, receipt.manifestHash);
        if (LogId.unwrap(receipt.logId) != LogId.unwrap(enclave.logId)) revert WrongLog(enclave.logId, receipt.logId);
        Money calldata money = receipt.money;
        if (money.chainId != block.chainid) revert WrongChain(block.chainid, money.chainId);
        if (money.settler != address(0)) revert WrongSettler(address(0), money.settler);
        if (money.payee != enclave.payee) revert WrongPayee(enclave.payee, money.payee);
    }

    /// The leaf stands at its sequence number under a root that this chain stored. Returns when that was.
    function _checkAnchored(bytes32 leafHash, ReceiptWords calldata receipt, uint64 anchoredSize, bytes32[] calldata inclusion)
        private
        view
        returns (uint64 anchoredAt)
    {
        bytes32 root;
        (root, anchoredAt) = logAnchor.rootAt(receipt.logId, anchoredSize);
        if (anchoredAt == 0) revert NotAnchored(receipt.logId, anchoredSize);
        bytes32 got = Merkle9162.rootFromInclusion(leafHash, receipt.sequence, anchoredSize, inclusion);
        if (got != root) revert WrongRoot(root, got);
    }

    /// The key was good when the answer was finished, and the anchor, whose time nobody can choose, bears it out. `finished` in seconds.
    function _checkTimes(uint64 finished, Proven memory proven, IEnclaveRegistry.Enclave memory enclave) private view {
        if (enclave.invalidFrom != 0 && enclave.invalidFrom <= proven.anchoredAt) {
            revert AnchoredAfterInvalidation(enclave.invalidFrom, proven.anchoredAt);
        }
        if (finished < enclave.validFrom) revert FinishedBeforeValidity(enclave.validFrom, finished);
        if (finished + MAX_ANCHOR_DELAY < proven.anchoredAt) {
            revert AnchoredTooLate(finished + MAX_ANCHOR_DELAY, proven.anchoredAt);
        }
        if (proven.anchoredAt + CLOCK_SKEW < finished) revert FinishedAfterAnchor(proven.anchoredAt + CLOCK_SKEW, finished);
        IEnclaveRegistry.Status status = registry.statusAt(proven.kSig, finished);
        if (status != IEnclaveRegistry.Status.Valid) revert FinishedOutsideValidity(status, finished);
    }
}
