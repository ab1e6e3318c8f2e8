//! Rust types of the contracts, as much of each as this crate calls, reads or explains.
//!
//! Written by hand and not generated, because the generator cannot place structs that several interfaces share; the test
//! `the_bindings_are_those_of_the_artifacts` compares every function, event and error with the committed ABIs, so they cannot drift.
//! Creation code comes from the artifacts themselves. Nothing here is public: callers see `candor-verify`'s types.

#![allow(clippy::too_many_arguments, reason = "generated from interfaces whose functions and events have so many")]

use alloy::json_abi::ContractObject;
use alloy::primitives::Bytes;

alloy::sol! {
    #![sol(all_derives = true)]

    struct Manifest {
        uint8 version;
        address kSig;
        bytes32 kLog;
        bytes32 kHpke;
        bytes32 tlsSpkiHash;
        bytes32 keysHash;
        bytes32 termsHash;
        address operator;
        address payee;
        address registry;
        uint256 anchorChainId;
        bytes32 contractsHash;
        bytes32 modelSetRoot;
        bytes32 priceTableHash;
        bytes32 predecessorLog;
        uint64 predecessorSize;
        bytes32 predecessorRoot;
        bytes32 buildId;
        uint64 bootedAt;
    }

    struct Terms {
        uint8 version;
        address operator;
        address payee;
        address registrar;
        address registry;
        uint256 anchorChainId;
        uint64 notAfter;
        uint32 flags;
        uint32 storageFlags;
        bytes32 contractsHash;
        bytes32 assetsHash;
        bytes32 modelSetRoot;
        bytes32 priceTableHash;
        bytes32 upstreamsHash;
        bytes32 secretsHash;
        bytes32 sealedHash;
        bytes32 egressHash;
        bytes32 accessHash;
        bytes32 guardHash;
        bytes32 endpointsHash;
    }

    struct Freshness {
        uint256 chainId;
        uint256 blockNumber;
        bytes32 blockHash;
        bytes32 nonce;
    }

    struct Money {
        bytes32 paymentId;
        uint8 scheme;
        address payer;
        address payee;
        address asset;
        uint256 chainId;
        address settler;
        uint256 maxAmount;
        uint256 charged;
        uint256 cumulativeBefore;
        uint256 cumulativeAfter;
        bytes32 offerDigest;
    }

    struct Work {
        uint32 kinds;
        uint8 channel;
        uint8 usageSource;
        uint8 outcome;
        bytes32 modelId;
        bytes32 requestCommitment;
        bytes32 responseCommitment;
        bytes32 decodingHash;
        uint64 promptTokens;
        uint64 completionTokens;
        uint64 startedAt;
        uint64 finishedAt;
        uint64 blockNumber;
        bytes32 blockHash;
        bytes32 sourceHash;
        bytes32 taskHash;
        bytes32 questionHash;
        bytes32 answerHash;
    }

    struct ReceiptWords {
        uint8 version;
        bytes32 manifestHash;
        bytes32 logId;
        uint64 sequence;
        Money money;
        Work work;
    }

    struct Checkpoint {
        bytes32 logId;
        uint64 size;
        bytes32 root;
        uint64 timestamp;
    }

    struct Kind {
        uint32 kind;
        address verifier;
    }

    struct Enclave {
        bytes32 logId;
        uint64 validUntil;
        uint64 invalidFrom;
        uint64 documentTime;
        uint64 termsUntil;
        bytes32 workloadId;
        bytes32 manifestHash;
        bytes32 evidenceHash;
        address operator;
        uint64 registeredBlock;
        uint32 kind;
        address payee;
        uint64 validFrom;
    }

    struct Submission {
        uint32 kind;
        bytes evidence;
        bytes verifierData;
        Manifest manifest;
        Freshness freshness;
        Terms terms;
        bytes operatorSignature;
        bytes bootSignature;
        uint64 deadline;
        bytes registrarSignature;
        bytes termsData;
    }

    struct Proven {
        bytes32 receiptDigest;
        address kSig;
        address operator;
        bytes32 workloadId;
        uint32 kind;
        uint64 anchoredAt;
    }

    struct Policy {
        address owner;
        uint64 delay;
        bool operatorsListed;
    }

    interface EnclaveRegistry {
        constructor(Kind[] memory kinds_);

        event Registered(
            address indexed kSig,
            address indexed operator,
            bytes32 indexed workloadId,
            Manifest manifest,
            bytes evidence,
            bytes termsData,
            bytes operatorSignature,
            Freshness freshness
        );
        event Renewed(address indexed kSig, bytes evidence, Freshness freshness);

        error NoKinds();
        error ZeroVerifier(uint32 kind);
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
        error TermsExpired(uint256 now_, uint64 notAfter);
        error WrongRegistrar(address expected, address got);
        error RegistrationExpired(uint256 now_, uint64 deadline);
        error WrongBootSigner(address expected, address got);
        error BlockOutOfRange(uint256 current, uint256 got);
        error WrongBlockHash(bytes32 expected, bytes32 got);
        error WrongAttestedBytes(bytes32 expected, bytes32 got);
        error EvidenceExpired(uint64 now_, uint64 validUntil);
        error EvidenceFromTheFuture(uint64 latest, uint64 documentTime);
        error PredecessorWithoutLog(uint64 size, bytes32 root);
        error PredecessorNotAnchored(bytes32 log, uint64 size);
        error WrongPredecessorRoot(bytes32 expected, bytes32 got);
        error AlreadySucceeded(bytes32 log, bytes32 successor);
        error PredecessorOfAnotherOperator(address expected, address got);
        error WrongWorkload(bytes32 expected, bytes32 got);
        error EvidenceNotNewer(uint64 current, uint64 got);
        error NotExtended(uint64 current, uint64 got);
        error TooManyPeriods(uint256 maximum);
        error KeyInvalid(uint64 invalidFrom);
        error NotTheOperator(address expected, address got);

        function register(Submission calldata s) external returns (bytes32 logId);
        function renew(address kSig, bytes calldata evidence, bytes calldata verifierData, Freshness calldata freshness) external;
        function retire(address kSig) external;
        function logAnchor() external view returns (address);
        function enclave(address kSig) external view returns (Enclave memory);
        function signerOf(bytes32 logId) external view returns (address kSig);
        function successorOf(bytes32 logId) external view returns (bytes32);
        function statusAt(address kSig, uint64 time) external view returns (uint8);
        function enclaveCount() external view returns (uint256);
        function enclaveAt(uint256 index) external view returns (address kSig);
    }

    interface LogAnchor {
        event Anchored(
            bytes32 indexed logId, address indexed kSig, uint64 indexed size, bytes32 root, uint64 timestamp, uint64 anchoredAt, bytes signature
        );

        error SignerNotRegistered(address got);
        error SignerInvalid(uint64 invalidFrom);
        error WrongLog(bytes32 expected, bytes32 got);
        error EmptyTree();
        error SizeNotGreater(uint64 latest, uint64 got);
        error NotFromAnchoredRoot(bytes32 expected, bytes32 got);
        error NotToSignedRoot(bytes32 expected, bytes32 got);

        function anchor(Checkpoint calldata checkpoint, bytes calldata signature, bytes32[] calldata consistency) external;
        function rootAt(bytes32 logId, uint64 size) external view returns (bytes32 root, uint64 anchoredAt);
        function latest(bytes32 logId) external view returns (uint64 size, bytes32 root, uint64 anchoredAt);
    }

    interface ReceiptVerifier {
        constructor(address registry_, address workloadPolicy_);

        error UnsupportedVersion(uint8 expected, uint8 got);
        error SignerNotRegistered(address got);
        error WrongManifest(bytes32 expected, bytes32 got);
        error WrongLog(bytes32 expected, bytes32 got);
        error NotAccepted(bytes32 policyId, bytes32 workloadId, address operator);
        error WrongChain(uint256 expected, uint256 got);
        error WrongSettler(address expected, address got);
        error WrongPayee(address expected, address got);
        error NotAnchored(bytes32 logId, uint64 size);
        error AnchoredAfterInvalidation(uint64 invalidFrom, uint64 anchoredAt);
        error FinishedBeforeValidity(uint64 validFrom, uint64 finished);
        error FinishedOutsideValidity(uint8 status, uint64 finished);
        error FinishedAfterAnchor(uint64 latest, uint64 finished);
        error AnchoredTooLate(uint64 latest, uint64 anchoredAt);
        error WrongRoot(bytes32 expected, bytes32 got);

        function prove(
            ReceiptWords calldata receipt,
            bytes calldata signature,
            bytes32 logSalt,
            uint64 anchoredSize,
            bytes32[] calldata inclusion,
            bytes32 policyId
        ) external view returns (Proven memory);
    }

    interface WorkloadPolicy {
        error DelayTooLong(uint64 maximum, uint64 got);
        error PolicyExists(bytes32 policyId);
        error NotPolicyOwner(address expected, address got);
        error AlreadyListed(uint64 acceptedFrom);
        error NotListed();

        function create(bytes32 salt, uint64 delay) external returns (bytes32 policyId);
        function proposeWorkload(bytes32 policyId, bytes32 workloadId) external;
        function removeWorkload(bytes32 policyId, bytes32 workloadId) external;
        function accepts(bytes32 policyId, bytes32 workloadId, address operator) external view returns (bool);
        function policy(bytes32 policyId) external view returns (Policy memory);
    }

    /// Errors of the libraries that the contracts share.
    interface Libraries {
        error NotAPrefix(uint64 second, uint64 first);
        error ProofLength(uint256 expected, uint256 got);
        error Sha256Failed();
        error SignatureHighS(uint256 maximum, uint256 got);
        error SignatureInvalid();
        error SignatureLength(uint256 expected, uint256 got);
        error SignatureV(uint8 got);
        error IndexOutOfRange(uint64 size, uint64 got);
    }

    interface QuorumVerifier {
        constructor(uint256 threshold_, address[] memory sortedMembers);

        error NoMembers();
        error TooManyMembers(uint256 maximum, uint256 got);
        error MembersNotSorted(address previous, address got);
        error ThresholdOutOfRange(uint256 members, uint256 got);
        error VerifierDataLength(uint256 minimum, uint256 got);
        error WrongEvidence(bytes32 expected, bytes32 got);
        error TooFewSignatures(uint256 expected, uint256 got);
        error SignersNotSorted(address previous, address got);
        error NotAMember(address got);

        function quorumRoot() external view returns (bytes32);
    }

    interface TestUSD {
        event Transfer(address indexed from, address indexed to, uint256 value);
        event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);
        event AuthorizationCanceled(address indexed authorizer, bytes32 indexed nonce);

        function mint(address to, uint256 value) external returns (bool);
        function balanceOf(address account) external view returns (uint256);
        function authorizationState(address authorizer, bytes32 nonce) external view returns (bool);
    }
}

/// Creation code of a contract, from its committed artifact.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Artifact {
    EnclaveRegistry,
    QuorumVerifier,
    ReceiptVerifier,
    TestUsd,
    WorkloadPolicy,
}

impl Artifact {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::EnclaveRegistry => "EnclaveRegistry",
            Self::QuorumVerifier => "QuorumVerifier",
            Self::ReceiptVerifier => "ReceiptVerifier",
            Self::TestUsd => "TestUSD",
            Self::WorkloadPolicy => "WorkloadPolicy",
        }
    }

    fn json(self) -> &'static str {
        match self {
            Self::EnclaveRegistry => include_str!("../../../contracts/artifacts/EnclaveRegistry.json"),
            Self::QuorumVerifier => include_str!("../../../contracts/artifacts/QuorumVerifier.json"),
            Self::ReceiptVerifier => include_str!("../../../contracts/artifacts/ReceiptVerifier.json"),
            Self::TestUsd => include_str!("../../../contracts/artifacts/TestUSD.json"),
            Self::WorkloadPolicy => include_str!("../../../contracts/artifacts/WorkloadPolicy.json"),
        }
    }

    /// `None` if the artifact is not one; the tests hold all of them to this.
    pub(crate) fn creation_code(self) -> Option<Bytes> {
        let object = serde_json::from_str::<ContractObject>(self.json()).ok()?;
        object.bytecode.filter(|code| !code.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use alloy::sol_types::{SolEvent, SolInterface};

    use super::*;

    const LOG_ANCHOR: &str = include_str!("../../../contracts/artifacts/LogAnchor.json");

    fn selectors<I: SolInterface>() -> BTreeSet<[u8; 4]> {
        (0..I::COUNT).map(|index| I::selector_at(index).unwrap()).collect()
    }

    /// Every function and error of a binding is one of the artifact's, by its selector.
    fn check<Calls: SolInterface, Errors: SolInterface>(json: &str) {
        let abi = serde_json::from_str::<ContractObject>(json).unwrap().abi.unwrap();
        let functions = abi.functions().map(|function| function.selector().0).collect();
        assert!(selectors::<Calls>().is_subset(&functions), "a function of {} is not in the ABI", Calls::NAME);
        let errors: BTreeSet<[u8; 4]> = abi.errors().map(|error| error.selector().0).collect();
        let ours = selectors::<Errors>();
        assert!(ours.is_subset(&errors), "an error of {} is not in the ABI", Errors::NAME);
        let library = selectors::<Libraries::LibrariesErrors>();
        let is_known = |selector: [u8; 4]| ours.contains(&selector) || library.contains(&selector);
        let missing: Vec<_> = abi.errors().filter(|e| !is_known(e.selector().0)).map(|e| e.signature()).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    fn has_event<E: SolEvent>(json: &str) -> bool {
        let abi = serde_json::from_str::<ContractObject>(json).unwrap().abi.unwrap();
        abi.events().any(|event| event.selector() == E::SIGNATURE_HASH)
    }

    #[test]
    fn the_bindings_are_those_of_the_artifacts() {
        use super::{EnclaveRegistry as R, LogAnchor as A, QuorumVerifier as Q, ReceiptVerifier as V, TestUSD as T, WorkloadPolicy as P};
        check::<R::EnclaveRegistryCalls, R::EnclaveRegistryErrors>(Artifact::EnclaveRegistry.json());
        check::<A::LogAnchorCalls, A::LogAnchorErrors>(LOG_ANCHOR);
        check::<V::ReceiptVerifierCalls, V::ReceiptVerifierErrors>(Artifact::ReceiptVerifier.json());
        check::<P::WorkloadPolicyCalls, P::WorkloadPolicyErrors>(Artifact::WorkloadPolicy.json());
        check::<Q::QuorumVerifierCalls, Q::QuorumVerifierErrors>(Artifact::QuorumVerifier.json());
        assert!(has_event::<R::Registered>(Artifact::EnclaveRegistry.json()));
        assert!(has_event::<R::Renewed>(Artifact::EnclaveRegistry.json()));
        assert!(has_event::<A::Anchored>(LOG_ANCHOR));
        assert!(has_event::<T::Transfer>(Artifact::TestUsd.json()));
        assert!(has_event::<T::AuthorizationUsed>(Artifact::TestUsd.json()));
        assert!(has_event::<T::AuthorizationCanceled>(Artifact::TestUsd.json()));
        let abi = serde_json::from_str::<ContractObject>(Artifact::TestUsd.json()).unwrap().abi.unwrap();
        let functions: BTreeSet<[u8; 4]> = abi.functions().map(|function| function.selector().0).collect();
        assert!(selectors::<T::TestUSDCalls>().is_subset(&functions));
    }

    #[test]
    fn every_artifact_has_creation_code() {
        use Artifact::{EnclaveRegistry, QuorumVerifier, ReceiptVerifier, TestUsd, WorkloadPolicy};
        for artifact in [EnclaveRegistry, QuorumVerifier, ReceiptVerifier, TestUsd, WorkloadPolicy] {
            assert!(artifact.creation_code().is_some(), "{}", artifact.name());
        }
    }
}
