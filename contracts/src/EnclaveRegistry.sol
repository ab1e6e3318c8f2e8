// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {LogAnchor} from "./LogAnchor.sol";
import {Freshness, LogId, Manifest, Terms, WorkloadId} from "./Types.sol";
import {IAttestationVerifier} from "./interfaces/IAttestationVerifier.sol";
import {IEnclaveRegistry} from "./interfaces/IEnclaveRegistry.sol";
import {ILogAnchor} from "./interfaces/ILogAnchor.sol";
import {Digests} from "./lib/Digests.sol";
import {Signatures} from "./lib/Signatures.sol";

contract EnclaveRegistry is IEnclaveRegistry {
    /// One earlier stretch of validity of a key that lapsed and was renewed later.
    struct Period {
        uint64 from;
        uint64 until;
    }

    /// The version of Manifest and Terms that this contract reads.
    uint8 public constant VERSION = 2;

    /// A Nitro document is 5 KB, a TDX quote with GPU evidence some 30 KB; more than this does not fit a transaction (EIP-7825).
    uint256 public constant MAX_BYTES = 65_536;

    /// How far, in seconds, the clock of the document's maker may run ahead of the chain's.
    uint64 public constant CLOCK_SKEW = 300;

    /// `statusAt` walks this list. A key that lapsed more often needs a reboot, which gives it a new one.
    uint256 public constant MAX_EARLIER_PERIODS = 32;

    /// @inheritdoc IEnclaveRegistry
    ILogAnchor public immutable logAnchor;

    // Invariant: the kinds are written by the constructor only.
    Kind[] private _kinds;
    mapping(uint32 kind => IAttestationVerifier) private _verifiers;

    address[] private _signers;
    mapping(address kSig => Enclave) private _enclaves;
    /// The current period is in Enclave; the first period starts at its `validFrom` unless this list is empty.
    mapping(address kSig => Period[]) private _earlierPeriods;
    /// Start of the current period, if it is not the first.
    mapping(address kSig => uint64) private _renewedFrom;
    mapping(LogId logId => address kSig) private _signerOf;
    mapping(LogId logId => LogId successor) private _successorOf;

    /// The anchors are deployed here, so that each of the two contracts knows the other without a prediction of addresses.
    constructor(Kind[] memory kinds_) {
        if (kinds_.length == 0) revert NoKinds();
        for (uint256 i = 0; i < kinds_.length; ++i) {
            (uint32 kind, IAttestationVerifier verifier) = (kinds_[i].kind, kinds_[i].verifier);
            if (address(verifier) == address(0)) revert ZeroVerifier(kind);
            if (verifier.kind() != kind) revert WrongVerifierKind(kind, verifier.kind());
            if (address(_verifiers[kind]) != address(0)) revert DuplicateKind(kind);
            _verifiers[kind] = verifier;
            _kinds.push(kinds_[i]);
        }
        logAnchor = new LogAnchor(this);
    }

    /// @inheritdoc IEnclaveRegistry
    function register(Submission calldata s) external returns (LogId logId) {
        if (s.termsData.length > MAX_BYTES) revert TooLong(MAX_BYTES, s.termsData.length);
        address kSig = s.manifest.kSig;
        if (_enclaves[kSig].registeredBlock != 0) revert AlreadyRegistered(kSig);

        bytes32 manifestHash = Digests.manifest(s.manifest);
        _checkManifest(s.manifest);
        _checkTerms(s.terms, s.manifest);
        _checkAuthority(s, manifestHash);
        bytes32 expected = _checkFreshness(kSig, manifestHash, s.freshness);
        IAttestationVerifier.Attested memory attested = _checkEvidence(s.kind, s.evidence, s.verifierData, expected);

        logId = Digests.logId(kSig, s.manifest.kLog);
        _linkPredecessor(s.manifest, logId);
        _store(s, manifestHash, logId, attested);
        _emitAttested(kSig, s.kind, s.verifierData, attested);
        _emitRegistered(s, attested.workloadId);
    }

    /// @inheritdoc IEnclaveRegistry
    function renew(address kSig, bytes calldata evidence, bytes calldata verifierData, Freshness calldata freshness) external {
        Enclave storage entry = _registered(kSig);
        if (entry.invalidFrom != 0) revert KeyInvalid(entry.invalidFrom);
        bytes32 expected = _checkFreshness(kSig, entry.manifestHash, freshness);
        IAttestationVerifier.Attested memory attested = _checkEvidence(entry.kind, evidence, verifierData, expected);
        if (WorkloadId.unwrap(attested.workloadId) != WorkloadId.unwrap(entry.workloadId)) {
            revert WrongWorkload(entry.workloadId, attested.workloadId);
        }
        if (attested.documentTime <= entry.documentTime) revert EvidenceNotNewer(entry.documentTime, attested.documentTime);

        uint64 until = _min(attested.validUntil, entry.termsUntil);
        if (until <= entry.validUntil || until < block.timestamp) revert NotExtended(entry.validUntil, until);
        if (entry.validUntil < block.timestamp) _startPeriod(kSig, entry);
        entry.validUntil = until;
        entry.documentTime = attested.documentTime;
        entry.evidenceHash = keccak256(evidence);
        _emitAttested(kSig, entry.kind, verifierData, attested);
        emit Renewed(kSig, evidence, freshness);
    }

    /// @inheritdoc IEnclaveRegistry
    function retire(address kSig) external {
        _retire(kSig, msg.sender);
    }

    /// @inheritdoc IEnclaveRegistry
    function retireWithSignature(address kSig, bytes calldata operatorSignature) external {
        _retire(kSig, Signatures.recover(Digests.retirement(kSig, address(this), block.chainid), operatorSignature));
    }

    /// @inheritdoc IEnclaveRegistry
    function kinds() external view returns (Kind[] memory) {
        return _kinds;
    }

    /// @inheritdoc IEnclaveRegistry
    function enclave(address kSig) external view returns (Enclave memory) {
        return _enclaves[kSig];
    }

    /// @inheritdoc IEnclaveRegistry
    function logOf(address kSig) external view returns (LogId logId, uint64 invalidFrom) {
        Enclave storage entry = _enclaves[kSig];
        return (entry.logId, entry.invalidFrom);
    }

    /// @inheritdoc IEnclaveRegistry
    function signerOf(LogId logId) external view returns (address kSig) {
        return _signerOf[logId];
    }

    /// @inheritdoc IEnclaveRegistry
    function successorOf(LogId logId) external view returns (LogId) {
        return _successorOf[logId];
    }

    /// @inheritdoc IEnclaveRegistry
    function statusAt(address kSig, uint64 time) external view returns (Status) {
        Enclave storage entry = _enclaves[kSig];
        if (entry.registeredBlock == 0) return Status.Unregistered;
        if (time < entry.validFrom) return Status.NotYetValid;
        if (entry.invalidFrom != 0 && entry.invalidFrom <= time) return Status.Invalid;
        if (entry.validUntil < time) return Status.Lapsed;
        if (_currentFrom(kSig, entry) <= time) return Status.Valid;
        Period[] storage periods = _earlierPeriods[kSig];
        for (uint256 i = periods.length; i != 0; --i) {
            Period memory period = periods[i - 1];
            if (period.from <= time) return time <= period.until ? Status.Valid : Status.Lapsed;
        }
        return Status.Lapsed;
    }

    /// @inheritdoc IEnclaveRegistry
    function enclaveCount() external view returns (uint256) {
        return _signers.length;
    }

    /// @inheritdoc IEnclaveRegistry
    function enclaveAt(uint256 index) external view returns (address kSig) {
        return _signers[index];
    }

    // Registration, step by step. The evidence binds the manifest, the manifest binds the terms, the operator signs them, and the
    // terms name the registrar, who signs for kind and `termsData`; the key itself signs the manifest: nothing of a submission is the sender's
    // choice.

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
        // Verifier and termsData are signed for too: otherwise whoever sees a registration waiting could send it first as another workload,
        // or with terms that nobody can read, and a key registers only once.
        address verifier = address(_verifierOf(s.kind));
        bytes32 digest =
            Digests.registration(kSig, manifestHash, verifier, keccak256(s.termsData), address(this), block.chainid, s.deadline);
        address registrar = Signatures.recover(digest, s.registrarSignature);
        if (registrar != s.terms.registrar) revert WrongRegistrar(s.terms.registrar, registrar);
    }

    /// Returns the hash of the 64 bytes that the evidence must attest.
    function _checkFreshness(address kSig, bytes32 manifestHash, Freshness calldata freshness) private view returns (bytes32) {
        if (freshness.chainId != block.chainid) revert WrongChain(block.chainid, freshness.chainId);
        bytes32 blockHash = blockhash(freshness.blockNumber);
        if (blockHash == 0) revert BlockOutOfRange(block.number, freshness.blockNumber);
        if (freshness.blockHash != blockHash) revert WrongBlockHash(blockHash, freshness.blockHash);
        return Digests.attested(kSig, manifestHash, Digests.freshnessTag(freshness));
    }

    function _checkEvidence(uint32 kind, bytes calldata evidence, bytes calldata verifierData, bytes32 expected)
        private
        view
        returns (IAttestationVerifier.Attested memory attested)
    {
        if (evidence.length > MAX_BYTES) revert TooLong(MAX_BYTES, evidence.length);
        if (verifierData.length > MAX_BYTES) revert TooLong(MAX_BYTES, verifierData.length);
        attested = _verifierOf(kind).verify(evidence, verifierData);
        if (attested.attestedHash != expected) revert WrongAttestedBytes(expected, attested.attestedHash);
        uint64 now_ = uint64(block.timestamp);
        if (attested.validUntil <= now_) revert EvidenceExpired(now_, attested.validUntil);
        if (now_ + CLOCK_SKEW < attested.documentTime) revert EvidenceFromTheFuture(now_ + CLOCK_SKEW, attested.documentTime);
    }

    function _verifierOf(uint32 kind) private view returns (IAttestationVerifier verifier) {
        verifier = _verifiers[kind];
        if (address(verifier) == address(0)) revert UnknownKind(kind);
    }

    function _linkPredecessor(Manifest calldata manifest, LogId logId) private {
        LogId predecessor = manifest.predecessorLog;
        (uint64 size, bytes32 root) = (manifest.predecessorSize, manifest.predecessorRoot);
        if (LogId.unwrap(predecessor) == 0) {
            if (size != 0 || root != 0) revert PredecessorWithoutLog(size, root);
            return;
        }
        (bytes32 anchored, uint64 anchoredAt) = logAnchor.rootAt(predecessor, size);
        if (anchoredAt == 0) revert PredecessorNotAnchored(predecessor, size);
        if (anchored != root) revert WrongPredecessorRoot(anchored, root);
        address operator = _enclaves[_signerOf[predecessor]].operator;
        if (operator != manifest.operator) revert PredecessorOfAnotherOperator(operator, manifest.operator);
        LogId successor = _successorOf[predecessor];
        if (LogId.unwrap(successor) != 0) revert AlreadySucceeded(predecessor, successor);
        _successorOf[predecessor] = logId;
        emit Succeeded(predecessor, logId, size, root);
    }

    function _store(Submission calldata s, bytes32 manifestHash, LogId logId, IAttestationVerifier.Attested memory attested)
        private
    {
        Enclave storage entry = _enclaves[s.manifest.kSig];
        uint64 termsUntil = s.terms.notAfter / 1000;
        entry.logId = logId;
        entry.validUntil = _min(attested.validUntil, termsUntil);
        entry.documentTime = attested.documentTime;
        entry.termsUntil = termsUntil;
        entry.workloadId = attested.workloadId;
        entry.manifestHash = manifestHash;
        entry.evidenceHash = keccak256(s.evidence);
        entry.operator = s.manifest.operator;
        entry.registeredBlock = uint64(block.number);
        entry.kind = s.kind;
        entry.payee = s.manifest.payee;
        entry.validFrom = uint64(block.timestamp);
        _signerOf[logId] = s.manifest.kSig;
        _signers.push(s.manifest.kSig);
    }

    function _startPeriod(address kSig, Enclave storage entry) private {
        Period[] storage periods = _earlierPeriods[kSig];
        if (periods.length == MAX_EARLIER_PERIODS) revert TooManyPeriods(MAX_EARLIER_PERIODS);
        periods.push(Period({from: _currentFrom(kSig, entry), until: entry.validUntil}));
        _renewedFrom[kSig] = uint64(block.timestamp);
    }

    function _retire(address kSig, address operator) private {
        Enclave storage entry = _registered(kSig);
        if (operator != entry.operator) revert NotTheOperator(entry.operator, operator);
        if (entry.invalidFrom != 0) revert KeyInvalid(entry.invalidFrom);
        uint64 invalidFrom = uint64(block.timestamp);
        entry.invalidFrom = invalidFrom;
        emit Retired(kSig, operator, invalidFrom);
    }

    /// A function of its own because of the stack's depth.
    function _emitRegistered(Submission calldata s, WorkloadId workloadId) private {
        emit Registered(
            s.manifest.kSig, s.manifest.operator, workloadId, s.manifest, s.evidence, s.termsData, s.operatorSignature, s.freshness
        );
    }

    function _emitAttested(address kSig, uint32 kind, bytes calldata verifierData, IAttestationVerifier.Attested memory attested)
        private
    {
        emit Attested(kSig, kind, _enclaves[kSig].evidenceHash, attested.documentTime, attested.validUntil, verifierData);
    }

    function _registered(address kSig) private view returns (Enclave storage entry) {
        entry = _enclaves[kSig];
        if (entry.registeredBlock == 0) revert NotRegistered(kSig);
    }

    function _currentFrom(address kSig, Enclave storage entry) private view returns (uint64) {
        uint64 renewedFrom = _renewedFrom[kSig];
        return renewedFrom == 0 ? entry.validFrom : renewedFrom;
    }

    function _min(uint64 a, uint64 b) private pure returns (uint64) {
        return a < b ? a : b;
    }
}
