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

    struct Record {
        address kSig;
        bytes32 logId;
        bytes32 manifestHash;
        address verifier;
        bytes32 verifierCodehash;
        bytes32 workloadId;
        address operator;
        address payee;
        uint64 validFrom;
        uint64 termsUntil;
    }

    struct KeyStatus {
        uint64 validUntil;
        uint64 invalidFrom;
        uint64 revokedAt;
        bool forked;
        uint64 lastSize;
        uint64 registeredBlock;
        uint64 renewedBlock;
        uint64 anchoredBlock;
    }

    struct Submission {
        address verifier;
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
        Record predecessor;
        uint64 predecessorAnchoredAt;
    }

    struct Previous {
        uint64 ofAll;
        uint64 ofOperator;
        uint64 ofListed;
    }

    struct Boot {
        Manifest manifest;
        bytes evidence;
        bytes verifierData;
        Freshness freshness;
        bytes termsData;
        bytes operatorSignature;
    }

    struct ReceiptProof {
        ReceiptWords receipt;
        bytes signature;
        bytes32 logSalt;
        Record record;
        uint64 size;
        uint64 anchoredAt;
        bytes32[] inclusion;
        uint64 observedSize;
        bytes32[] observedInclusion;
        bytes32 policyId;
        uint8 schemes;
        bool acceptsUncharged;
        bool acceptsObservation;
    }

    struct Decoding {
        string engine;
        bytes32 seed;
        uint8 seedSource;
        uint32 temperatureE6;
        uint32 topPE6;
        uint32 topK;
        uint32 maxTokens;
        bytes32 stopHash;
    }

    struct AnswerProof {
        ReceiptProof receipt;
        Decoding decoding;
    }

    struct Proven {
        bytes32 receiptDigest;
        address kSig;
        address operator;
        bytes32 listedId;
        uint32 kinds;
        uint8 outcome;
        bytes32 modelId;
        uint64 finished;
        uint64 seenAt;
        bool inSequence;
        Money money;
    }

    struct PolicyTerms {
        address owner;
        bytes32 salt;
        uint64 delay;
        uint64 maxLookback;
        uint8 operatorsMode;
    }

    struct FirstListing {
        bytes32 listedId;
        uint64 from;
    }

    struct FirstOperator {
        address operator;
        uint64 from;
    }

    struct Policy {
        address owner;
        uint64 delay;
        uint64 maxLookback;
        uint8 operatorsMode;
        bool exists;
    }

    interface CandorRegistry {
        constructor(address policies_);

        event Registered(
            address indexed kSig,
            address indexed operator,
            bytes32 indexed listedId,
            Record record,
            uint64 validUntil,
            Previous previous,
            Boot boot
        );
        event Renewed(
            address indexed kSig,
            uint64 validUntil,
            uint64 documentTime,
            uint64 previousBlock,
            bytes evidence,
            bytes verifierData,
            Freshness freshness
        );
        event Anchored(
            address indexed kSig,
            uint64 indexed size,
            bytes32 root,
            uint64 timestamp,
            uint64 anchoredAt,
            uint64 previousBlock,
            bytes signature
        );

        error TooLong(uint256 maximum, uint256 got);
        error UnsupportedManifestVersion(uint8 expected, uint8 got);
        error UnsupportedTermsVersion(uint8 expected, uint8 got);
        error AlreadyRegistered(address kSig);
        error NotRegistered(address kSig);
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
        error TermsExpired(uint256 now_, uint64 notAfter);
        error WrongRegistrar(address expected, address got);
        error RegistrationExpired(uint256 now_, uint64 deadline);
        error WrongBootSigner(address expected, address got);
        error BlockOutOfRange(uint256 current, uint256 got);
        error WrongBlockHash(bytes32 expected, bytes32 got);
        error NotPinned(uint256 number);
        error WrongAttestedBytes(bytes32 expected, bytes32 got);
        error EvidenceFromTheFuture(uint64 latest, uint64 documentTime);
        error EvidenceTooOld(uint64 earliest, uint64 documentTime);
        error BootedAfterItsDocument(uint64 documentTime, uint64 bootedAt);
        error PredecessorWithoutLog(uint64 size, bytes32 root);
        error WrongPredecessor(address expected, address got);
        error PredecessorNotAnchored(bytes32 log, uint64 size);
        error WrongPredecessorRoot(bytes32 expected, bytes32 got);
        error PredecessorOfAnotherOperator(address expected, address got);
        error WrongManifestHash(bytes32 expected, bytes32 got);
        error NoPredecessor(bytes32 log);
        error StillAGap(bytes32 predecessor, bytes32 successor, uint8 gap);
        error PredecessorNotEarlier(bytes32 predecessor, bytes32 successor);
        error VerifierChanged(bytes32 expected, bytes32 got);
        error WrongWorkload(bytes32 expected, bytes32 got);
        error NotTheOperator(address expected, address got);
        error AlreadyRetired(uint64 invalidFrom);
        error AlreadyRevoked(uint64 revokedAt);
        error WrongLog(bytes32 expected, bytes32 got);
        error WrongSigner(address expected, address got);
        error KeyRevoked(uint64 revokedAt);
        error EmptyTree();
        error SizeNotGreater(uint64 latest, uint64 got);
        error NotTheLastAnchor(address kSig, uint64 size);
        error NotFromAnchoredRoot(bytes32 expected, bytes32 got);
        error NotToSignedRoot(bytes32 expected, bytes32 got);
        error NoFork(uint64 sizeA, uint64 sizeB);
        error UnsupportedVersion(uint8 expected, uint8 got);
        error NotSignedByTheRecord(address expected, address got);
        error WrongManifest(bytes32 expected, bytes32 got);
        error WrongReceiptLog(bytes32 expected, bytes32 got);
        error NotAccepted(bytes32 policyId, bytes32 listedId, address operator);
        error SchemeNotAccepted(uint8 schemes, uint8 got);
        error NothingCharged();
        error WrongPaymentId(bytes32 expected, bytes32 got);
        error MoneyWithoutScheme();
        error WrongPaidTo(address expected, address got);
        error AnchorRequired();
        error NotObserved(address kSig, uint64 size, bytes32 root);
        error NotAnchored(address kSig, uint64 size, bytes32 root);
        error FinishedBeforeBoot(uint64 validFrom, uint64 finished);
        error FinishedAfterValidity(uint64 validUntil, uint64 finished);
        error FinishedAfterSeen(uint64 latest, uint64 finished);
        error SeenTooLate(uint64 latest, uint64 seenAt);
        error FinishedAfterRetirement(uint64 invalidFrom, uint64 finished);
        error SeenAfterRevocation(uint64 revokedAt, uint64 seenAt);

        function register(Submission calldata submission) external returns (Record memory record);
        function link(Record calldata record, Manifest calldata manifest, Record calldata predecessor, uint64 predecessorAnchoredAt) external;
        function renew(Record calldata record, bytes calldata evidence, bytes calldata verifierData, Freshness calldata freshness) external;
        function retire(Record calldata record) external;
        function revoke(Record calldata record) external;
        function anchored(address kSig, uint64 size, bytes32 root, uint64 anchoredAt) external view returns (bool);
        function stateOf(address kSig) external view returns (KeyStatus memory);
        function keyOf(bytes32 logId) external view returns (address kSig);
        function successorOf(bytes32 logId) external view returns (bytes32);
        function newest(bytes32 list) external view returns (uint64 blockNumber);
        function anchor(
            Record calldata record,
            Checkpoint calldata checkpoint,
            bytes calldata signature,
            bytes32 lastRoot,
            uint64 lastAnchoredAt,
            bytes32[] calldata consistency
        ) external;
        function observe(Record calldata record, Checkpoint calldata checkpoint, bytes calldata signature) external;
        function observed(address kSig, uint64 size, bytes32 root) external view returns (uint64 observedAt);
        function policies() external view returns (address);
        function prove(ReceiptProof calldata proof) external view returns (Proven memory);
    }

    interface WorkloadPolicy {
        error DelayTooLong(uint64 maximum, uint64 got);
        error TooManyFirst(uint256 maximum, uint256 got);
        error PolicyExists(bytes32 policyId);
        error NotPolicyOwner(address expected, address got);
        error OperatorsAreNotListed();
        error AlreadyListed(uint64 from);
        error NotListed();
        error AlreadyInForce(uint64 effectiveAt);
        error AlreadyEnded(uint64 end);
        error TooFarBack(uint64 earliest, uint64 got);
        error SinceTheFuture(uint64 now_, uint64 got);

        function create(PolicyTerms calldata terms, FirstListing[] calldata listings, FirstOperator[] calldata operators)
            external
            returns (bytes32 policyId);
        function acceptsAt(bytes32 policyId, bytes32 listedId, address operator_, uint64 finished, uint64 anchoredAt)
            external
            view
            returns (bool);
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
        error NoVerifier(address verifier);
        error DelegatedVerifier(address verifier);
        error VerifierAnswer(uint256 expected, uint256 got);
        error VerifierTime(uint256 got);
        error MalformedHeader(uint256 offset);
        error FieldOverflow(uint256 maximum, uint256 got);
    }

    /// What a contract that acts on an answer is called with (contracts/src/answer/), and what it may say to it.
    interface AnswerTaker {
        error TaskAnswered(bytes32 task);
        error NoQuestion();
        error NoTask();
        error ProofCount(uint256 expected, uint256 got);
        error WrongPolicy(bytes32 expected, bytes32 got);
        error SameVerifier(address verifier);
        error Unpaid(uint8 scheme);
        error NotInSequence();
        error WrongQuestion(bytes32 expected, bytes32 got);
        error WrongTask(bytes32 expected, bytes32 got);
        error WrongAnswer(bytes32 expected, bytes32 got);
        error WrongModel(bytes32 expected, bytes32 got);
        error WrongKinds(uint32 expected, uint32 got);
        error NotComplete(uint8 outcome);
        error WrongDecoding(bytes32 expected, bytes32 got);
        error WrongEngine(bytes32 expected, bytes32 got);
        error ManyAnswers(uint8 seedSource, uint32 temperatureE6);

        function open(AnswerProof[] calldata proofs, string calldata answer) external;
    }

    interface ForwarderFactory {
        function sweep(address payee, address token) external returns (uint256 amount);
        function forwarderOf(address payee) external view returns (address);
    }

    interface SettlerFactory {
        constructor(address proxy);
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
        function decimals() external view returns (uint8);
        function name() external view returns (string);
        function symbol() external view returns (string);
        function DOMAIN_SEPARATOR() external view returns (bytes32);
        function allowance(address owner, address spender) external view returns (uint256);
        function nonces(address owner) external view returns (uint256);
        function authorizationState(address authorizer, bytes32 nonce) external view returns (bool);
    }
}

alloy::sol! {
    /// A contract of OP-stack chains (`submit::data_fee`).
    interface GasPriceOracle {
        function getL1Fee(bytes memory data) external view returns (uint256);
    }
}

/// Code of a contract, from its committed artifact.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Artifact {
    AuthorizerFactory,
    CandorRegistry,
    DevExactProxy,
    DevMulticall3,
    DevPermit2,
    DevUptoProxy,
    ForwarderFactory,
    QuorumVerifier,
    SettlerFactory,
    TestUsd,
    WorkloadPolicy,
}

impl Artifact {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AuthorizerFactory => "AuthorizerFactory",
            Self::CandorRegistry => "CandorRegistry",
            Self::DevExactProxy => "DevExactProxy",
            Self::DevMulticall3 => "DevMulticall3",
            Self::DevPermit2 => "DevPermit2",
            Self::DevUptoProxy => "DevUptoProxy",
            Self::ForwarderFactory => "ForwarderFactory",
            Self::QuorumVerifier => "QuorumVerifier",
            Self::SettlerFactory => "SettlerFactory",
            Self::TestUsd => "TestUSD",
            Self::WorkloadPolicy => "WorkloadPolicy",
        }
    }

    fn json(self) -> &'static str {
        match self {
            Self::AuthorizerFactory => include_str!("../../../contracts/artifacts/AuthorizerFactory.json"),
            Self::CandorRegistry => include_str!("../../../contracts/artifacts/CandorRegistry.json"),
            Self::DevExactProxy => include_str!("../../../contracts/artifacts/DevExactProxy.json"),
            Self::DevMulticall3 => include_str!("../../../contracts/artifacts/DevMulticall3.json"),
            Self::DevPermit2 => include_str!("../../../contracts/artifacts/DevPermit2.json"),
            Self::DevUptoProxy => include_str!("../../../contracts/artifacts/DevUptoProxy.json"),
            Self::ForwarderFactory => include_str!("../../../contracts/artifacts/ForwarderFactory.json"),
            Self::QuorumVerifier => include_str!("../../../contracts/artifacts/QuorumVerifier.json"),
            Self::SettlerFactory => include_str!("../../../contracts/artifacts/SettlerFactory.json"),
            Self::TestUsd => include_str!("../../../contracts/artifacts/TestUSD.json"),
            Self::WorkloadPolicy => include_str!("../../../contracts/artifacts/WorkloadPolicy.json"),
        }
    }

    /// `None` if the artifact is not one; the tests hold all of them to this.
    pub(crate) fn creation_code(self) -> Option<Bytes> {
        let object = serde_json::from_str::<ContractObject>(self.json()).ok()?;
        object.bytecode.filter(|code| !code.is_empty())
    }

    /// The code that a chain keeps: of contracts that have no constructor, which may be placed. `None` as with `creation_code`.
    pub(crate) fn runtime_code(self) -> Option<Bytes> {
        let object = serde_json::from_str::<ContractObject>(self.json()).ok()?;
        object.deployed_bytecode.filter(|code| !code.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use alloy::sol_types::{SolEvent, SolInterface};

    use super::*;

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
        use super::{CandorRegistry as R, QuorumVerifier as Q, TestUSD as T, WorkloadPolicy as P};
        check::<R::CandorRegistryCalls, R::CandorRegistryErrors>(Artifact::CandorRegistry.json());
        check::<P::WorkloadPolicyCalls, P::WorkloadPolicyErrors>(Artifact::WorkloadPolicy.json());
        check::<Q::QuorumVerifierCalls, Q::QuorumVerifierErrors>(Artifact::QuorumVerifier.json());
        assert!(has_event::<R::Registered>(Artifact::CandorRegistry.json()));
        assert!(has_event::<R::Renewed>(Artifact::CandorRegistry.json()));
        assert!(has_event::<R::Anchored>(Artifact::CandorRegistry.json()));
        assert!(has_event::<T::Transfer>(Artifact::TestUsd.json()));
        assert!(has_event::<T::AuthorizationUsed>(Artifact::TestUsd.json()));
        assert!(has_event::<T::AuthorizationCanceled>(Artifact::TestUsd.json()));
        let abi = serde_json::from_str::<ContractObject>(Artifact::TestUsd.json()).unwrap().abi.unwrap();
        let functions: BTreeSet<[u8; 4]> = abi.functions().map(|function| function.selector().0).collect();
        assert!(selectors::<T::TestUSDCalls>().is_subset(&functions));
        let abi = serde_json::from_str::<ContractObject>(Artifact::ForwarderFactory.json()).unwrap().abi.unwrap();
        let functions: BTreeSet<[u8; 4]> = abi.functions().map(|function| function.selector().0).collect();
        assert!(selectors::<super::ForwarderFactory::ForwarderFactoryCalls>().is_subset(&functions));
    }

    #[test]
    fn every_artifact_has_code() {
        use Artifact::*;
        for artifact in [AuthorizerFactory, CandorRegistry, ForwarderFactory, QuorumVerifier, SettlerFactory, TestUsd, WorkloadPolicy] {
            assert!(artifact.creation_code().is_some(), "{}", artifact.name());
        }
        for artifact in [DevExactProxy, DevMulticall3, DevPermit2, DevUptoProxy] {
            assert!(artifact.runtime_code().is_some(), "{}", artifact.name());
        }
    }
}
