// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {KeyState, KeyStates, KeyStatus} from "../KeyState.sol";
import {Freshness, ListedId, LogId, Manifest, Record, Terms, WorkloadId} from "../Types.sol";
import {IKeys} from "../interfaces/IKeys.sol";
import {IAttestationVerifier} from "../interfaces/IAttestationVerifier.sol";
import {BlockHeader} from "../lib/BlockHeader.sol";
import {Digests} from "../lib/Digests.sol";
import {Signatures} from "../lib/Signatures.sol";
import {VerifierCall} from "../lib/VerifierCall.sol";

/// @dev Part one of CandorRegistry: which keys are genuine, and from when until when.
abstract contract Keys is IKeys {
    uint8 internal constant VERSION = 2;

    /// @inheritdoc IKeys
    uint64 public constant CLOCK_SKEW = 120;
    /// @inheritdoc IKeys
    uint64 public constant MAX_EVIDENCE_AGE = 2 hours;
    /// @inheritdoc IKeys
    uint64 public constant MAX_ANCHOR_DELAY = 7 days;
    /// @inheritdoc IKeys
    uint64 public constant RETIRE_NOTICE = 1 hours;
    /// @inheritdoc IKeys
    uint256 public constant MAX_BYTES = 65_536;

    /// sha256 of nothing: the root of a log without leaves.
    bytes32 private constant EMPTY_ROOT = 0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855;

    /// How many logs after its own `link` looks through for a circle: as many boots in a row, each continued by the next.
    uint256 private constant MAX_LATER_LOGS = 64;

    // Invariant: an entry is written once, by `register`.
    mapping(address kSig => bytes32 recordHash) private _recordHash;
    mapping(address kSig => KeyState) internal _state;
    mapping(LogId logId => address kSig) private _keyOf;
    // Invariant: an entry is written once, and no log comes after itself, however many stand between.
    mapping(LogId logId => LogId successor) private _successorOf;
    /// Block of the newest registration: of all (key zero), of an operator, under a listed id.
    mapping(bytes32 list => uint64 blockNumber) private _newest;
    mapping(uint64 number => Pin) private _pins;

    struct Pin {
        bytes32 blockHash;
        uint64 time;
    }

    /// @inheritdoc IKeys
    function register(Submission calldata s) external returns (Record memory record) {
        if (s.termsData.length > MAX_BYTES) revert TooLong(MAX_BYTES, s.termsData.length);
        address kSig = s.manifest.kSig;
        if (_state[kSig].isRegistered()) revert AlreadyRegistered(kSig);
        bytes32 manifestHash = Digests.manifest(s.manifest);
        _checkManifest(s.manifest);
        _checkTerms(s.terms, s.manifest);
        _checkAuthority(s, manifestHash);
        _checkBlock(s.freshness);

        record.kSig = kSig;
        record.logId = Digests.logId(kSig, s.manifest.kLog);
        record.manifestHash = manifestHash;
        record.verifier = s.verifier;
        record.verifierCodehash = VerifierCall.codehash(s.verifier);
        record.operator = s.manifest.operator;
        record.payee = s.manifest.payee;
        record.validFrom = s.manifest.bootedAt;
        record.termsUntil = s.terms.notAfter / 1000;
        uint64 documentTime;
        (record.workloadId, documentTime) = _judged(record, s.evidence, s.verifierData, s.freshness);
        _checkRegistrar(s, record);
        if (record.validFrom > documentTime + CLOCK_SKEW) revert BootedAfterItsDocument(documentTime, record.validFrom);

        // Before the log has a key: no log is its own predecessor, and nothing that comes after this one can be.
        _linkAtRegistration(s, record.logId);
        _recordHash[kSig] = keccak256(abi.encode(record));
        _keyOf[record.logId] = kSig;
        uint64 validUntil = _min(documentTime + MAX_EVIDENCE_AGE, record.termsUntil);
        _state[kSig] = KeyStates.registered(validUntil);
        _emitRegistered(s, record, validUntil);
    }

    /// @inheritdoc IKeys
    function link(Record calldata record, Manifest calldata manifest, Record calldata predecessor, uint64 predecessorAnchoredAt)
        external
    {
        _checkRecord(record);
        bytes32 manifestHash = Digests.manifest(manifest);
        if (manifestHash != record.manifestHash) revert WrongManifestHash(record.manifestHash, manifestHash);
        LogId named = manifest.predecessorLog;
        if (LogId.unwrap(named) == 0) revert NoPredecessor(record.logId);
        // Anybody may have been faster: whoever comes second finds what it wanted.
        if (LogId.unwrap(_successorOf[named]) == LogId.unwrap(record.logId)) return;
        _checkNotLater(named, record.logId);
        (bool isLinked, Gap gap) = _linkNamed(manifest, record.logId, predecessor, predecessorAnchoredAt);
        if (!isLinked) revert StillAGap(named, record.logId, gap);
    }

    /// @inheritdoc IKeys
    function renew(Record calldata record, bytes calldata evidence, bytes calldata verifierData, Freshness calldata freshness)
        external
    {
        KeyState state = _checkRecord(record);
        bytes32 codehash = VerifierCall.codehash(record.verifier);
        if (codehash != record.verifierCodehash) revert VerifierChanged(record.verifierCodehash, codehash);
        if (freshness.chainId != block.chainid) revert WrongChain(block.chainid, freshness.chainId);
        (WorkloadId workloadId, uint64 documentTime) = _judged(record, evidence, verifierData, freshness);
        if (WorkloadId.unwrap(workloadId) != WorkloadId.unwrap(record.workloadId)) {
            revert WrongWorkload(record.workloadId, workloadId);
        }
        if (documentTime + MAX_ANCHOR_DELAY < block.timestamp) {
            revert EvidenceTooOld(uint64(block.timestamp) - MAX_ANCHOR_DELAY, documentTime);
        }
        uint64 validUntil = _min(documentTime + MAX_EVIDENCE_AGE, record.termsUntil);
        // An end that the operator declared stands; what was covered before it may still be shown.
        if (state.invalidFrom() != 0) validUntil = _min(validUntil, state.invalidFrom());
        if (state.revokedAt() != 0) validUntil = _min(validUntil, state.revokedAt() + CLOCK_SKEW);
        if (validUntil <= state.validUntil()) return;
        uint64 previousBlock = state.renewedBlock();
        _state[record.kSig] = state.withValidUntil(validUntil).withRenewal();
        emit Renewed(record.kSig, validUntil, documentTime, previousBlock, evidence, verifierData, freshness);
    }

    /// @inheritdoc IKeys
    function pin(bytes calldata header) external returns (uint64 number) {
        bytes32 blockHash = keccak256(header);
        uint64 time;
        (number, time) = BlockHeader.parse(header);
        bytes32 expected = BlockHeader.hashOf(number);
        if (expected == 0) revert BlockOutOfRange(block.number, number);
        if (blockHash != expected) revert WrongBlockHash(expected, blockHash);
        _pins[number] = Pin({blockHash: blockHash, time: time});
        emit Pinned(number, blockHash, time);
    }

    /// @inheritdoc IKeys
    function retire(Record calldata record) external {
        _retire(record, msg.sender);
    }

    /// @inheritdoc IKeys
    function retireWithSignature(Record calldata record, bytes calldata operatorSignature) external {
        _retire(record, Signatures.recover(Digests.retire(record.kSig, address(this), block.chainid), operatorSignature));
    }

    /// @inheritdoc IKeys
    function revoke(Record calldata record) external {
        _revoke(record, msg.sender);
    }

    /// @inheritdoc IKeys
    function revokeWithSignature(Record calldata record, bytes calldata operatorSignature) external {
        _revoke(record, Signatures.recover(Digests.revoke(record.kSig, address(this), block.chainid), operatorSignature));
    }

    /// @inheritdoc IKeys
    function recordHash(address kSig) external view returns (bytes32) {
        return _recordHash[kSig];
    }

    /// @inheritdoc IKeys
    function statusOf(Record calldata record) external view returns (KeyStatus memory) {
        return _checkRecord(record).unpack();
    }

    /// @inheritdoc IKeys
    function stateOf(address kSig) external view returns (KeyStatus memory) {
        return _state[kSig].unpack();
    }

    /// @inheritdoc IKeys
    function keyOf(LogId logId) external view returns (address kSig) {
        return _keyOf[logId];
    }

    /// @inheritdoc IKeys
    function successorOf(LogId logId) external view returns (LogId) {
        return _successorOf[logId];
    }

    /// @inheritdoc IKeys
    function newest(bytes32 list) external view returns (uint64 blockNumber) {
        return _newest[list];
    }

    /// @inheritdoc IKeys
    function pinned(uint64 number) external view returns (bytes32 blockHash, uint64 time) {
        Pin storage found = _pins[number];
        return (found.blockHash, found.time);
    }

    /// @inheritdoc IKeys
    function listedIdOf(Record calldata record) external pure returns (ListedId) {
        return Digests.listedId(record.verifier, record.verifierCodehash, record.workloadId);
    }

    /// The state of a key whose record this is, and no other.
    function _checkRecord(Record memory record) internal view returns (KeyState state) {
        bytes32 got = keccak256(abi.encode(record));
        bytes32 expected = _recordHash[record.kSig];
        if (expected == 0) revert NotRegistered(record.kSig);
        if (got != expected) revert WrongRecord(expected, got);
        return _state[record.kSig];
    }

    /// Whether any tree of this key is anchored at this size: part two knows.
    function _hasAnchor(address kSig, uint64 size) internal view virtual returns (bool);

    /// Whether this tree of the key is anchored: part two knows.
    function _isAnchored(address kSig, uint64 size, bytes32 root, uint64 anchoredAt) internal view virtual returns (bool);

    // Registration, step by step. The evidence binds the manifest, the manifest binds the terms, the operator signs them, and the terms name
    // the registrar, who signs for verifier, workload, `termsData` and deadline; the key itself signs the manifest: nothing of a submission is the
    // sender's choice, so the same registration makes the same record whoever sends it.

    function _checkManifest(Manifest calldata manifest) private view {
        if (manifest.version != VERSION) revert UnsupportedManifestVersion(VERSION, manifest.version);
        if (manifest.registry != address(this)) revert WrongRegistry(address(this), manifest.registry);
        if (manifest.anchorChainId != block.chainid) revert WrongChain(block.chainid, manifest.anchorChainId);
        if (manifest.payee == address(0)) revert ZeroPayee();
    }

    function _checkTerms(Terms calldata terms, Manifest calldata manifest) private view {
        if (terms.version != VERSION) revert UnsupportedTermsVersion(VERSION, terms.version);
        bytes32 termsHash = Digests.terms(terms);
        if (termsHash != manifest.termsHash) revert WrongTermsHash(manifest.termsHash, termsHash);
        if (terms.operator != manifest.operator) revert WrongOperator(manifest.operator, terms.operator);
        if (terms.payee != manifest.payee) revert WrongPayee(manifest.payee, terms.payee);
        if (terms.registry != address(this)) revert WrongRegistry(address(this), terms.registry);
        if (terms.anchorChainId != block.chainid) revert WrongChain(block.chainid, terms.anchorChainId);
        if (terms.contractsHash != manifest.contractsHash) revert WrongContractsHash(manifest.contractsHash, terms.contractsHash);
        if (terms.modelSetRoot != manifest.modelSetRoot) revert WrongModelSetRoot(manifest.modelSetRoot, terms.modelSetRoot);
        if (terms.priceTableHash != manifest.priceTableHash) {
            revert WrongPriceTableHash(manifest.priceTableHash, terms.priceTableHash);
        }
        if (terms.notAfter <= block.timestamp * 1000) revert TermsExpired(block.timestamp * 1000, terms.notAfter);
    }

    function _checkAuthority(Submission calldata s, bytes32 manifestHash) private view {
        address operator = Signatures.recover(s.manifest.termsHash, s.operatorSignature);
        if (operator != s.manifest.operator) revert WrongOperator(s.manifest.operator, operator);
        // A manifest names keys; evidence of anybody's own code can name anybody's keys. Only the key itself can say that the manifest
        // is its own: otherwise a stranger could register somebody's key first, under a manifest of the stranger's.
        address kSig = Signatures.recover(Digests.boot(manifestHash), s.bootSignature);
        if (kSig != s.manifest.kSig) revert WrongBootSigner(s.manifest.kSig, kSig);
        if (s.deadline < block.timestamp) revert RegistrationExpired(block.timestamp, s.deadline);
    }

    /// The registrar signs for verifier, workload and termsData too: otherwise whoever sees a registration waiting could send it first
    /// through a verifier that lies, or with evidence of an enclave of its own that names this key, or with terms that nobody can read; and a
    /// key registers only once.
    function _checkRegistrar(Submission calldata s, Record memory record) private view {
        bytes32 digest = Digests.registration(
            record.kSig,
            record.manifestHash,
            record.verifier,
            record.workloadId,
            keccak256(s.termsData),
            address(this),
            block.chainid,
            s.deadline
        );
        address registrar = Signatures.recover(digest, s.registrarSignature);
        if (registrar != s.terms.registrar) revert WrongRegistrar(s.terms.registrar, registrar);
    }

    function _checkBlock(Freshness calldata freshness) private view {
        if (freshness.chainId != block.chainid) revert WrongChain(block.chainid, freshness.chainId);
        bytes32 blockHash = BlockHeader.hashOf(freshness.blockNumber);
        if (blockHash == 0) revert BlockOutOfRange(block.number, freshness.blockNumber);
        if (freshness.blockHash != blockHash) revert WrongBlockHash(blockHash, freshness.blockHash);
    }

    /// What the verifier says of evidence that attests this record's key and manifest.
    function _judged(Record memory record, bytes calldata evidence, bytes calldata verifierData, Freshness calldata freshness)
        private
        view
        returns (WorkloadId workloadId, uint64 documentTime)
    {
        if (evidence.length > MAX_BYTES) revert TooLong(MAX_BYTES, evidence.length);
        if (verifierData.length > MAX_BYTES) revert TooLong(MAX_BYTES, verifierData.length);
        IAttestationVerifier.Attested memory attested = VerifierCall.verify(record.verifier, evidence, verifierData);
        bytes32 expected = Digests.attested(record.kSig, record.manifestHash, Digests.freshnessTag(freshness));
        if (attested.attestedHash != expected) revert WrongAttestedBytes(expected, attested.attestedHash);
        workloadId = attested.workloadId;
        documentTime = attested.documentTime == 0 ? _pinnedTime(freshness) : attested.documentTime;
        if (block.timestamp + CLOCK_SKEW < documentTime) {
            revert EvidenceFromTheFuture(uint64(block.timestamp) + CLOCK_SKEW, documentTime);
        }
    }

    /// A kind of TEE without a clock of its own is as old as the block that its evidence names, if somebody kept that block's time.
    function _pinnedTime(Freshness calldata freshness) private view returns (uint64) {
        if (freshness.blockNumber > type(uint64).max) revert NotPinned(freshness.blockNumber);
        Pin storage found = _pins[uint64(freshness.blockNumber)];
        if (found.blockHash == 0 || found.blockHash != freshness.blockHash) revert NotPinned(freshness.blockNumber);
        return found.time;
    }

    function _linkAtRegistration(Submission calldata s, LogId logId) private {
        LogId named = s.manifest.predecessorLog;
        if (LogId.unwrap(named) == 0) {
            (uint64 size, bytes32 root) = (s.manifest.predecessorSize, s.manifest.predecessorRoot);
            if (size != 0 || root != 0) revert PredecessorWithoutLog(size, root);
            return;
        }
        (bool isLinked, Gap gap) = _linkNamed(s.manifest, logId, s.predecessor, s.predecessorAnchoredAt);
        if (!isLinked) emit PredecessorGap(named, logId, gap);
    }

    /// Makes the edge from the log that a manifest names, or says why this chain cannot take it now.
    function _linkNamed(Manifest calldata manifest, LogId logId, Record calldata predecessor, uint64 anchoredAt)
        private
        returns (bool isLinked, Gap gap)
    {
        (LogId named, uint64 size, bytes32 root) = (manifest.predecessorLog, manifest.predecessorSize, manifest.predecessorRoot);
        address kSig = _keyOf[named];
        // What this chain cannot know, lost or gave to another is a gap that verdicts show, and no reason to serve nobody: a manifest is made
        // once, and a chain may go back after it. Only facts of the chain make one: what a sender brings wrongly reverts, or whoever sees a
        // registration waiting could send it first without its edge.
        if (kSig == address(0)) return (false, Gap.Unknown);
        if (predecessor.kSig != kSig) revert WrongPredecessor(kSig, predecessor.kSig);
        _checkRecord(predecessor);
        if (predecessor.operator != manifest.operator) {
            revert PredecessorOfAnotherOperator(predecessor.operator, manifest.operator);
        }
        if (size == 0) {
            if (root != EMPTY_ROOT) revert WrongPredecessorRoot(EMPTY_ROOT, root);
        } else if (!_hasAnchor(kSig, size)) {
            return (false, Gap.NotAnchored);
        } else if (!_isAnchored(kSig, size, root, anchoredAt)) {
            revert PredecessorNotAnchored(named, size);
        }
        if (LogId.unwrap(_successorOf[named]) != 0) return (false, Gap.Succeeded);
        _successorOf[named] = logId;
        emit Succeeded(named, logId, size, root);
        return (true, Gap.Unknown);
    }

    /// A manifest may name its own log, or one that continues it, if keys are chosen first: whoever walks successors would never end. At
    /// registration there is nothing to check, because no log of this chain comes after one without a key.
    function _checkNotLater(LogId predecessor, LogId successor) private view {
        LogId later = successor;
        for (uint256 i = 0; i < MAX_LATER_LOGS && LogId.unwrap(later) != LogId.unwrap(predecessor); ++i) {
            later = _successorOf[later];
            if (LogId.unwrap(later) == 0) return;
        }
        revert PredecessorNotEarlier(predecessor, successor);
    }

    function _retire(Record calldata record, address operator) private {
        KeyState state = _checkRecord(record);
        if (operator != record.operator) revert NotTheOperator(record.operator, operator);
        if (state.invalidFrom() != 0) revert AlreadyRetired(state.invalidFrom());
        uint64 invalidFrom = uint64(block.timestamp) + RETIRE_NOTICE;
        _state[record.kSig] = state.withInvalidFrom(invalidFrom);
        emit Retired(record.kSig, operator, invalidFrom);
    }

    function _revoke(Record calldata record, address operator) private {
        KeyState state = _checkRecord(record);
        if (operator != record.operator) revert NotTheOperator(record.operator, operator);
        if (state.revokedAt() != 0) revert AlreadyRevoked(state.revokedAt());
        _state[record.kSig] = state.withRevokedAt(block.timestamp);
        emit Revoked(record.kSig, operator, uint64(block.timestamp));
    }

    function _emitRegistered(Submission calldata s, Record memory record, uint64 validUntil) private {
        ListedId listedId = Digests.listedId(record.verifier, record.verifierCodehash, record.workloadId);
        Previous memory previous = Previous({
            ofAll: _enlist(0),
            ofOperator: _enlist(bytes32(uint256(uint160(record.operator)))),
            ofListed: _enlist(ListedId.unwrap(listedId))
        });
        Boot memory boot = Boot({
            manifest: s.manifest,
            evidence: s.evidence,
            verifierData: s.verifierData,
            freshness: s.freshness,
            termsData: s.termsData,
            operatorSignature: s.operatorSignature
        });
        emit Registered(record.kSig, record.operator, listedId, record, validUntil, previous, boot);
    }

    function _enlist(bytes32 list) private returns (uint64 previousBlock) {
        previousBlock = _newest[list];
        _newest[list] = uint64(block.number);
    }

    function _min(uint64 a, uint64 b) private pure returns (uint64) {
        return a < b ? a : b;
    }
}
