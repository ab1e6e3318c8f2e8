// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {KeyStatus} from "../KeyState.sol";
import {Freshness, ListedId, LogId, Manifest, Record, Terms, WorkloadId} from "../Types.sol";

/// @title Keys of enclaves whose evidence a verifier accepted on this chain, and until when each counts.
/// @notice Registered means *this verifier accepted evidence that names this key*, never more: anybody may bring a verifier. Which
/// verifiers and workloads count is a policy's decision (IWorkloadPolicy), and there are many. Anybody may submit; a submitter can delay,
/// never alter: every word of a Record is bound by the evidence, the operator's signature, the registrar's or the key's own.
///
/// Powers: nobody owns this contract. An operator can retire or revoke its own keys, for good.
///
/// NOT proven by a registration: that the operator is anyone in particular; that the measured code is any good; that the enclave still
/// runs; that `termsData` is the signed terms (the registrar says so; its reader hashes it and compares with `termsHash`).
interface IKeys {
    /// @notice Everything that a registration needs.
    struct Submission {
        /// Who judges the evidence, now and at every renewal.
        address verifier;
        /// The attestation document. Emitted, not stored.
        bytes evidence;
        /// For the verifier.
        bytes verifierData;
        Manifest manifest;
        /// Preimage of the tag in the attested bytes.
        Freshness freshness;
        Terms terms;
        /// By `terms.operator`, over the terms.
        bytes operatorSignature;
        /// By K_sig, over Boot(manifest hash): the key says that this manifest is its own.
        bytes bootSignature;
        /// Unix seconds after which the registrar's signature registers nothing.
        uint64 deadline;
        /// By `terms.registrar`, over Registration(K_sig, manifest hash, verifier, workload id, keccak256(termsData), this registry,
        /// this chain, deadline).
        bytes registrarSignature;
        /// The signed terms in their CBOR form. Emitted and not read here: its digest needs lists that a contract should not read. The
        /// registrar signs for it, so a relayer cannot exchange it.
        bytes termsData;
        /// Of the log that the manifest names as predecessor, if this registry holds it; all zero otherwise.
        Record predecessor;
        /// When the manifest's size of the predecessor was anchored, in Unix seconds; zero for size 0.
        uint64 predecessorAnchoredAt;
    }

    /// @notice Why a boot does not continue the log that its manifest names.
    enum Gap {
        /// This registry holds no key of that log.
        Unknown,
        /// That log has no anchor of the size that the manifest names.
        NotAnchored,
        /// Another boot continued it first.
        Succeeded
    }

    /// @notice Blocks of the registrations before this one, zero for none: of any key, of the same operator, under the same listed id.
    /// With `newest` these are three lists that a client reads backwards, one event at a time, and never the whole chain.
    struct Previous {
        uint64 ofAll;
        uint64 ofOperator;
        uint64 ofListed;
    }

    /// @notice What a client needs to judge a boot by itself, and to show that a verifier lied.
    struct Boot {
        Manifest manifest;
        bytes evidence;
        bytes verifierData;
        Freshness freshness;
        bytes termsData;
        bytes operatorSignature;
    }

    /// @notice A key was registered. With the block's time this is all a client needs to verify the evidence again, from the chain alone.
    event Registered(
        address indexed kSig,
        address indexed operator,
        ListedId indexed listedId,
        Record record,
        uint64 validUntil,
        Previous previous,
        Boot boot
    );

    /// @notice Newer evidence of a registered key. `previousBlock`: of its renewal before, or of its registration.
    event Renewed(
        address indexed kSig,
        uint64 validUntil,
        uint64 documentTime,
        uint64 previousBlock,
        bytes evidence,
        bytes verifierData,
        Freshness freshness
    );

    /// @notice A block's hash and time are kept for good.
    event Pinned(uint64 indexed number, bytes32 blockHash, uint64 time);

    /// @notice `successor` continues `predecessor`, from an anchored (size, root) of it.
    event Succeeded(LogId indexed predecessor, LogId indexed successor, uint64 size, bytes32 root);

    /// @notice `successor` names a predecessor that it does not continue here: no edge, and nobody is refused for it. If what was missing
    /// comes later, or comes back, `link` makes the edge.
    event PredecessorGap(LogId indexed predecessor, LogId indexed successor, Gap gap);

    /// @notice The operator retires the key: what is finished after `invalidFrom` does not count.
    event Retired(address indexed kSig, address indexed operator, uint64 invalidFrom);

    /// @notice The operator revoked the key: trees that this chain sees from `revokedAt` on do not count.
    event Revoked(address indexed kSig, address indexed operator, uint64 revokedAt);

    error TooLong(uint256 maximum, uint256 got);
    error UnsupportedManifestVersion(uint8 expected, uint8 got);
    error UnsupportedTermsVersion(uint8 expected, uint8 got);
    error AlreadyRegistered(address kSig);
    error NotRegistered(address kSig);
    /// @notice The record that was brought is not the registered one. In keccak256(abi.encode(Record)).
    error WrongRecord(bytes32 expected, bytes32 got);
    error WrongRegistry(address expected, address got);
    error WrongChain(uint256 expected, uint256 got);
    error WrongTermsHash(bytes32 expected, bytes32 got);
    error WrongOperator(address expected, address got);
    error WrongPayee(address expected, address got);
    error ZeroPayee();
    error WrongContractsHash(bytes32 expected, bytes32 got);
    error WrongModelSetRoot(bytes32 expected, bytes32 got);
    error WrongPriceTableHash(bytes32 expected, bytes32 got);
    /// @notice In Unix milliseconds.
    error TermsExpired(uint256 now_, uint64 notAfter);
    error WrongRegistrar(address expected, address got);
    /// @notice The registrar's signature was good until then: another one may be made. In Unix seconds.
    error RegistrationExpired(uint256 now_, uint64 deadline);
    /// @notice K_sig did not sign this manifest: somebody else names its key.
    error WrongBootSigner(address expected, address got);

    /// @notice The block is newer than the chain, or so old that the chain no longer says its hash.
    error BlockOutOfRange(uint256 current, uint256 got);
    error WrongBlockHash(bytes32 expected, bytes32 got);
    /// @notice The evidence says no time, and nobody pinned the block that it names.
    error NotPinned(uint256 number);
    /// @notice The evidence is about other bytes: another key, manifest, block or challenge.
    error WrongAttestedBytes(bytes32 expected, bytes32 got);
    error EvidenceFromTheFuture(uint64 latest, uint64 documentTime);
    error EvidenceTooOld(uint64 earliest, uint64 documentTime);
    /// @notice A boot begins before its evidence.
    error BootedAfterItsDocument(uint64 documentTime, uint64 bootedAt);

    /// @notice Without a predecessor its size and root are zero.
    error PredecessorWithoutLog(uint64 size, bytes32 root);
    /// @notice The record that was brought is of another key than that of the log which the manifest names.
    error WrongPredecessor(address expected, address got);
    /// @notice The predecessor has an anchor of this size, and another root or time than what was brought.
    error PredecessorNotAnchored(LogId log, uint64 size);
    /// @notice A log without leaves has one root.
    error WrongPredecessorRoot(bytes32 expected, bytes32 got);
    /// @notice Only its own operator may continue a log; else anyone with an enclave could cut off the rightful successor.
    error PredecessorOfAnotherOperator(address expected, address got);

    /// @notice The manifest that was brought is not that of the record.
    error WrongManifestHash(bytes32 expected, bytes32 got);
    /// @notice The manifest of this log names no predecessor.
    error NoPredecessor(LogId log);
    /// @notice This chain cannot take the edge now either.
    error StillAGap(LogId predecessor, LogId successor, Gap gap);
    /// @notice The log that is named is the same, or one of those that continue it; or more continue it than `link` looks through.
    error PredecessorNotEarlier(LogId predecessor, LogId successor);

    /// @notice The code at the verifier's address is not that which judged the registration.
    error VerifierChanged(bytes32 expected, bytes32 got);
    /// @notice Renewal changes the time, never the workload.
    error WrongWorkload(WorkloadId expected, WorkloadId got);
    error NotTheOperator(address expected, address got);
    error AlreadyRetired(uint64 invalidFrom);
    error AlreadyRevoked(uint64 revokedAt);

    /// @notice Registers the key of an enclave. Anyone may send it, as long as the chain says the hash of the block the evidence names.
    /// @return record what is to be brought to every later call; it is in the event too.
    function register(Submission calldata submission) external returns (Record memory record);

    /// @notice Makes the edge that a registration could not: the chain had lost the predecessor's anchor or registration, or never had it
    /// until now. Asks of it what `register` would have asked; changes nothing else of either key. Anyone may send it, once or again:
    /// for an edge that is there it does nothing, because who sends it second is not at fault.
    /// @param record of the log that continues the other.
    /// @param manifest of that record; it names the predecessor, with size and root.
    /// @param predecessor the record of the log that the manifest names.
    /// @param predecessorAnchoredAt when the manifest's size of it was anchored, in Unix seconds; zero for size 0.
    function link(Record calldata record, Manifest calldata manifest, Record calldata predecessor, uint64 predecessorAnchoredAt)
        external;

    /// @notice Raises `validUntil` by newer evidence of the same key, manifest and workload, judged by the same verifier. Anyone may send
    /// it, with any document of the last MAX_ANCHOR_DELAY: one that raises nothing changes nothing. After `retire` or `revoke` it is
    /// still taken, up to the end that was declared.
    function renew(Record calldata record, bytes calldata evidence, bytes calldata verifierData, Freshness calldata freshness)
        external;

    /// @notice Keeps hash and time of a block, for evidence that says no time itself. Anyone may send it.
    /// @param header the block's RLP header; its keccak256 must be what the chain says of that number.
    function pin(bytes calldata header) external returns (uint64 number);

    /// @notice Ends a key with RETIRE_NOTICE; only its operator, once.
    function retire(Record calldata record) external;

    /// @notice `retire` for an operator without gas: signs Retire(address kSig,address registry,uint256 chainId) in Candor's domain.
    function retireWithSignature(Record calldata record, bytes calldata operatorSignature) external;

    /// @notice Ends a key now, for every tree that this chain has not seen yet; only its operator, once, also after `retire`.
    function revoke(Record calldata record) external;

    /// @notice `revoke` for an operator without gas: signs Revoke(address kSig,address registry,uint256 chainId) in Candor's domain.
    function revokeWithSignature(Record calldata record, bytes calldata operatorSignature) external;

    /// @notice keccak256(abi.encode(Record)) of a key; zero if it is not registered.
    function recordHash(address kSig) external view returns (bytes32);

    /// @notice Where the key of this record stands; reverts for any other record.
    function statusOf(Record calldata record) external view returns (KeyStatus memory);

    /// @notice Where a key stands; all zero if it is not registered.
    function stateOf(address kSig) external view returns (KeyStatus memory);

    /// @notice The key whose log this is; zero if it is of nobody here.
    function keyOf(LogId logId) external view returns (address kSig);

    /// @notice The log that continues this one; zero if none does.
    function successorOf(LogId logId) external view returns (LogId);

    /// @notice Block of the newest registration in a list (see Previous): zero for all, an operator's address as a word, or a listed id.
    function newest(bytes32 list) external view returns (uint64 blockNumber);

    /// @notice Hash and time of a pinned block; zeros if it is not.
    function pinned(uint64 number) external view returns (bytes32 blockHash, uint64 time);

    /// @notice What a policy lists for this record.
    function listedIdOf(Record calldata record) external pure returns (ListedId);

    /// @notice How far, in seconds, an enclave's clock may be from this chain's.
    function CLOCK_SKEW() external view returns (uint64);

    /// @notice How long, in seconds, a document covers what its enclave does.
    function MAX_EVIDENCE_AGE() external view returns (uint64);

    /// @notice How long, in seconds, after an answer its tree, or after a document its renewal, is taken.
    function MAX_ANCHOR_DELAY() external view returns (uint64);

    /// @notice Notice of a retirement, in seconds.
    function RETIRE_NOTICE() external view returns (uint64);

    /// @notice Of evidence, of verifier data, and of terms.
    function MAX_BYTES() external view returns (uint256);
}
