// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Freshness, LogId, Manifest, Terms, WorkloadId} from "../Types.sol";
import {IAttestationVerifier} from "./IAttestationVerifier.sol";
import {ILogAnchor} from "./ILogAnchor.sol";

/// @title Keys of enclaves whose evidence was checked on this chain, and when each was good.
/// @notice Registered means *genuine and fresh at that block*, never *acceptable*: which workloads to accept is a policy's decision
/// (IWorkloadPolicy), and there are many. Anybody may submit; a submitter can delay, never alter: every field below is bound by the
/// evidence, by the operator's signature, by the registrar's or by the key's own.
///
/// Powers: nobody owns this contract. Its verifiers are fixed at deployment. An operator can retire its own keys, for good.
///
/// NOT proven by a registration: that the operator is anyone in particular; that the measured code is any good; that the enclave still
/// runs; anything the key signed before `validFrom`; that `termsData` is the signed terms (the registrar says so; its reader hashes it and compares
/// with `termsHash`).
interface IEnclaveRegistry {
    /// @notice Where a key stands at a moment. Only `Valid` is good.
    enum Status {
        Unregistered,
        NotYetValid,
        Valid,
        Lapsed,
        Invalid
    }

    /// @notice One kind of evidence and who checks it.
    struct Kind {
        uint32 kind;
        IAttestationVerifier verifier;
    }

    /// @notice What the registry keeps per key. Times in Unix seconds.
    struct Enclave {
        LogId logId;
        /// End of the current period of validity.
        uint64 validUntil;
        /// From here on nothing counts; zero while the key is good.
        uint64 invalidFrom;
        /// When the newest evidence was made.
        uint64 documentTime;
        /// Until when the operator's terms last.
        uint64 termsUntil;
        WorkloadId workloadId;
        bytes32 manifestHash;
        /// keccak256 of the newest evidence; all of it is in the events.
        bytes32 evidenceHash;
        address operator;
        uint64 registeredBlock;
        uint32 kind;
        address payee;
        /// Start of the first period of validity: the block time of registration. The key proves nothing earlier.
        uint64 validFrom;
    }

    /// @notice Everything that a registration needs.
    struct Submission {
        uint32 kind;
        /// The attestation document. Emitted; its keccak256 is stored.
        bytes evidence;
        /// For the verifier of this kind.
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
        /// By `terms.registrar`, over Registration(K_sig, manifest hash, verifier of this kind, keccak256(termsData), this registry, this
        /// chain, deadline).
        bytes registrarSignature;
        /// The signed terms in their CBOR form. Emitted and not read here: its digest needs lists that a contract should not read. The
        /// registrar signs for it, so a relayer cannot exchange it.
        bytes termsData;
    }

    /// @notice A key was registered. With the block's time this is all a client needs to verify the evidence again, from the chain alone.
    event Registered(
        address indexed kSig,
        address indexed operator,
        WorkloadId indexed workloadId,
        Manifest manifest,
        bytes evidence,
        bytes termsData,
        bytes operatorSignature,
        Freshness freshness
    );

    /// @notice Newer evidence of a registered key.
    event Renewed(address indexed kSig, bytes evidence, Freshness freshness);

    /// @notice What the verifier of `kind` was given and said, for each registration and renewal, so that a lying verifier can be shown.
    event Attested(
        address indexed kSig, uint32 indexed kind, bytes32 evidenceHash, uint64 documentTime, uint64 validUntil, bytes verifierData
    );

    /// @notice `successor` continues `predecessor`, from an anchored (size, root) of it.
    event Succeeded(LogId indexed predecessor, LogId indexed successor, uint64 size, bytes32 root);

    /// @notice The operator ended the key.
    event Retired(address indexed kSig, address indexed operator, uint64 invalidFrom);

    error NoKinds();
    error ZeroVerifier(uint32 kind);
    /// @notice The verifier says that it is of another kind.
    error WrongVerifierKind(uint32 expected, uint32 got);
    error DuplicateKind(uint32 kind);
    error UnknownKind(uint32 got);
    error TooLong(uint256 maximum, uint256 got);

    error UnsupportedManifestVersion(uint8 expected, uint8 got);
    error UnsupportedTermsVersion(uint8 expected, uint8 got);
    error AlreadyRegistered(address kSig);
    error NotRegistered(address kSig);
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

    /// @notice The block is newer than the chain or older than its last 256 blocks; only within those can its hash be checked.
    error BlockOutOfRange(uint256 current, uint256 got);
    error WrongBlockHash(bytes32 expected, bytes32 got);
    /// @notice The evidence is about other bytes: another key, manifest, block or challenge.
    error WrongAttestedBytes(bytes32 expected, bytes32 got);
    error EvidenceExpired(uint64 now_, uint64 validUntil);
    error EvidenceFromTheFuture(uint64 latest, uint64 documentTime);

    /// @notice Without a predecessor its size and root are zero.
    error PredecessorWithoutLog(uint64 size, bytes32 root);
    error PredecessorNotAnchored(LogId log, uint64 size);
    error WrongPredecessorRoot(bytes32 expected, bytes32 got);
    error AlreadySucceeded(LogId log, LogId successor);
    /// @notice Only its own operator may continue a log; else anyone with an enclave could cut off the rightful successor.
    error PredecessorOfAnotherOperator(address expected, address got);

    /// @notice Renewal changes the time, never the workload.
    error WrongWorkload(WorkloadId expected, WorkloadId got);
    error EvidenceNotNewer(uint64 current, uint64 got);
    error NotExtended(uint64 current, uint64 got);
    error TooManyPeriods(uint256 maximum);
    error KeyInvalid(uint64 invalidFrom);
    error NotTheOperator(address expected, address got);

    /// @notice Registers the key of an enclave. Anyone may send it, within 256 blocks of the block the evidence names.
    /// @return logId the log of this boot.
    function register(Submission calldata submission) external returns (LogId logId);

    /// @notice Extends the validity of a registered key by newer evidence of the same key, manifest and workload. Anyone may send it. If
    /// the key had lapsed, a new period starts now and the gap stays a gap.
    function renew(address kSig, bytes calldata evidence, bytes calldata verifierData, Freshness calldata freshness) external;

    /// @notice Ends a key from this block on; only its operator. It cannot be undone: anchor what the log still holds first, because
    /// nothing of it can be anchored afterwards.
    function retire(address kSig) external;

    /// @notice `retire` for an operator without gas. It signs, in Candor's domain, the EIP-712 type
    /// Retirement(address signer,address registry,uint256 chainId).
    function retireWithSignature(address kSig, bytes calldata operatorSignature) external;

    /// @notice The anchors of all logs of this registry. Deployed by its constructor, so the two cannot be mismatched.
    function logAnchor() external view returns (ILogAnchor);

    /// @notice The kinds that this registry knows.
    function kinds() external view returns (Kind[] memory);

    /// @notice What is kept about a key; all zero if it is not registered.
    function enclave(address kSig) external view returns (Enclave memory);

    /// @notice The part that anchoring needs: `logId` is zero if the key is not registered.
    function logOf(address kSig) external view returns (LogId logId, uint64 invalidFrom);

    /// @notice The key whose log this is; zero if it is of nobody here.
    function signerOf(LogId logId) external view returns (address kSig);

    /// @notice The log that continues this one; zero if none does.
    function successorOf(LogId logId) external view returns (LogId);

    /// @notice Where the key stands at `time` (Unix seconds). For a time before the current block's, what was `Valid` stays so and what
    /// was not never becomes so; a time to come is answered as if nothing more happened.
    function statusAt(address kSig, uint64 time) external view returns (Status);

    /// @notice How many keys were ever registered.
    function enclaveCount() external view returns (uint256);

    /// @notice The i-th of them, in order of registration. Reverts past the end.
    function enclaveAt(uint256 index) external view returns (address kSig);
}
