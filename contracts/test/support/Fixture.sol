// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {CandorRegistry} from "../../src/CandorRegistry.sol";
import {QuorumVerifier} from "../../src/QuorumVerifier.sol";
import {Checkpoint, Freshness, ListedId, Manifest, PolicyId, ReceiptWords, Record, WorkloadId} from "../../src/Types.sol";
import {WorkloadPolicy} from "../../src/WorkloadPolicy.sol";
import {IKeys} from "../../src/interfaces/IKeys.sol";
import {IProofs} from "../../src/interfaces/IProofs.sol";
import {IQuorumVerifier} from "../../src/interfaces/IQuorumVerifier.sol";
import {IWorkloadPolicy} from "../../src/interfaces/IWorkloadPolicy.sol";
import {Base} from "./Base.sol";
import {Harness} from "./Harness.sol";
import {RefTree} from "./RefTree.sol";

/// A deployed set of contracts, one attestor (1-of-1), one operator, and builders whose parts a test changes and signs again.
abstract contract Fixture is Base {
    uint256 internal constant ATTESTOR_KEY = 0xa77e5707;
    uint256 internal constant OPERATOR_KEY = 0x09e7a704;
    uint256 internal constant REGISTRAR_KEY = 0x4e915714;
    uint256 internal constant ENCLAVE_KEY = 0xe0c1a7e;
    uint256 internal constant STRANGER_KEY = 0x57a46e4;

    uint32 internal constant QUORUM = 0x51;
    uint64 internal constant START = 1_800_000_000;
    /// How long a document covers what its enclave does; good ones are ten seconds old.
    uint64 internal constant DOCUMENT_LIFE = 2 hours;
    address internal constant PAYEE = address(0x9a1ee);
    bytes32 internal constant K_LOG = keccak256("K_log");
    bytes32 internal constant LOG_SALT = keccak256("log salt");

    Harness internal harness;
    QuorumVerifier internal quorum;
    WorkloadPolicy internal policies;
    CandorRegistry internal registry;

    address internal operator;
    address internal kSig;

    /// The last anchor of a key, as `anchor` asks for it.
    struct Last {
        uint64 size;
        bytes32 root;
        uint64 anchoredAt;
    }

    /// What the registrar takes the enclave to be; `goodSubmission` sets it.
    WorkloadId internal registeredAs;

    mapping(address kSig => uint256 key) private _keyOf;
    mapping(address kSig => Record) private _recordOf;
    mapping(address kSig => Last) internal lastOf;

    function setUp() public virtual {
        vm.warp(START);
        vm.roll(1000);
        operator = vm.addr(OPERATOR_KEY);
        kSig = vm.addr(ENCLAVE_KEY);
        harness = new Harness();
        address[] memory members = new address[](1);
        members[0] = vm.addr(ATTESTOR_KEY);
        quorum = new QuorumVerifier(1, members);
        policies = new WorkloadPolicy();
        registry = new CandorRegistry(policies);
    }

    // Registration.

    /// The address of a key that `signBoot` can sign with.
    function knownKey(uint256 enclaveKey) internal returns (address signer) {
        signer = vm.addr(enclaveKey);
        _keyOf[signer] = enclaveKey;
    }

    /// A whole, good submission for the enclave with this key.
    function goodSubmission(uint256 enclaveKey) internal returns (IKeys.Submission memory s) {
        knownKey(enclaveKey);
        registeredAs = workloadId();
        s.verifier = address(quorum);
        s.evidence = abi.encodePacked("attestation document of ", vm.addr(enclaveKey));
        s.termsData = "terms in CBOR";
        s.terms.version = 2;
        s.terms.operator = operator;
        s.terms.payee = PAYEE;
        s.terms.registrar = vm.addr(REGISTRAR_KEY);
        s.terms.registry = address(registry);
        s.terms.anchorChainId = block.chainid;
        s.terms.notAfter = uint64(block.timestamp + 30 days) * 1000 + 999;
        s.terms.contractsHash = keccak256("contracts");
        s.terms.assetsHash = keccak256("assets");
        s.terms.modelSetRoot = keccak256("models");
        s.terms.priceTableHash = keccak256("prices");
        s.terms.storageFlags = 1;
        s.terms.upstreamsHash = keccak256("upstreams");
        s.terms.secretsHash = keccak256("secrets");
        s.terms.sealedHash = keccak256("sealed");
        s.terms.egressHash = keccak256("egress");
        s.terms.accessHash = keccak256("access");
        s.terms.guardHash = keccak256("guard");
        s.terms.endpointsHash = keccak256("endpoints");
        Manifest memory m = s.manifest;
        m.version = 2;
        m.kSig = vm.addr(enclaveKey);
        m.kLog = K_LOG;
        m.tlsSpkiHash = keccak256("tls");
        m.operator = operator;
        m.payee = PAYEE;
        m.registry = address(registry);
        m.anchorChainId = block.chainid;
        m.contractsHash = s.terms.contractsHash;
        m.modelSetRoot = s.terms.modelSetRoot;
        m.priceTableHash = s.terms.priceTableHash;
        m.buildId = keccak256("build");
        m.bootedAt = uint64(block.timestamp) - 20;
        s.freshness = freshNow();
        s.deadline = uint64(block.timestamp) + 1 hours;
        signAll(s);
    }

    /// Binds and signs everything again, from the terms down to the verdict.
    function signAll(IKeys.Submission memory s) internal view {
        s.manifest.termsHash = harness.terms(s.terms);
        s.operatorSignature = sign(OPERATOR_KEY, s.manifest.termsHash);
        signBoot(s);
    }

    /// Signs what follows from the manifest: the registrar's consent and the attestor's verdict.
    function signBoot(IKeys.Submission memory s) internal view {
        s.bootSignature = sign(_keyOf[s.manifest.kSig], harness.boot(harness.manifest(s.manifest)));
        s.registrarSignature = sign(REGISTRAR_KEY, registrationDigest(s, block.chainid));
        s.verifierData = signedVerdict(goodVerdict(s.evidence, s.manifest.kSig, harness.manifest(s.manifest), s.freshness));
    }

    /// What a registrar signs for this submission on this chain.
    function registrationDigest(IKeys.Submission memory s, uint256 chainId) internal view returns (bytes32) {
        bytes32 manifestHash = harness.manifest(s.manifest);
        return harness.registration(
            s.manifest.kSig, manifestHash, s.verifier, registeredAs, keccak256(s.termsData), address(registry), chainId, s.deadline
        );
    }

    function freshNow() internal view returns (Freshness memory) {
        return Freshness({
            chainId: block.chainid,
            blockNumber: block.number - 1,
            blockHash: blockhash(block.number - 1),
            nonce: keccak256("challenge")
        });
    }

    function goodVerdict(bytes memory evidence, address signer, bytes32 manifestHash, Freshness memory freshness)
        internal
        view
        returns (IQuorumVerifier.Verdict memory)
    {
        return IQuorumVerifier.Verdict({
            evidenceHash: keccak256(evidence),
            innerKind: 1,
            innerRoot: keccak256("simulated root"),
            innerMeasurements: keccak256("PCR0 PCR1 PCR2"),
            attestedHash: harness.attested(signer, manifestHash, harness.freshnessTag(freshness)),
            documentTime: uint64(block.timestamp) - 10
        });
    }

    function signedVerdict(IQuorumVerifier.Verdict memory verdict) internal view returns (bytes memory) {
        return abi.encodePacked(abi.encode(verdict), sign(ATTESTOR_KEY, quorum.verdictDigest(verdict)));
    }

    function workloadId() internal pure returns (WorkloadId) {
        bytes32 inner = keccak256(
            abi.encode(keccak256("candor/workload/1"), uint256(1), keccak256("simulated root"), keccak256("PCR0 PCR1 PCR2"))
        );
        address[] memory members = new address[](1);
        members[0] = vm.addr(ATTESTOR_KEY);
        bytes32 root = keccak256(abi.encode(uint256(1), members));
        return WorkloadId.wrap(keccak256(abi.encode(keccak256("candor/workload/1"), uint256(0x51), root, inner)));
    }

    function registerGood(uint256 enclaveKey) internal returns (Record memory) {
        return register(goodSubmission(enclaveKey));
    }

    /// Registers and remembers the record.
    function register(IKeys.Submission memory s) internal returns (Record memory record) {
        record = registry.register(s);
        _recordOf[record.kSig] = record;
    }

    /// The record that `register` remembered.
    function recordOf(address signer) internal view returns (Record memory) {
        return _recordOf[signer];
    }

    /// Renews with a good document made now.
    function renewGood(address signer) internal {
        renewWith(signer, uint64(block.timestamp) - 10);
    }

    /// Renews with a document made then.
    function renewWith(address signer, uint64 documentTime) internal {
        bytes memory evidence = abi.encodePacked("renewed document of ", signer, documentTime);
        Freshness memory freshness = freshNow();
        IQuorumVerifier.Verdict memory verdict = goodVerdict(evidence, signer, recordOf(signer).manifestHash, freshness);
        verdict.documentTime = documentTime;
        registry.renew(recordOf(signer), evidence, signedVerdict(verdict), freshness);
    }

    /// Lets time pass, a block every two seconds.
    function pass(uint256 time) internal {
        vm.warp(block.timestamp + time);
        vm.roll(block.number + time / 2 + 1);
    }

    // Log.

    function checkpoint(uint256 enclaveKey, uint64 size, bytes32 root)
        internal
        view
        returns (Checkpoint memory words, bytes memory signature)
    {
        words.logId = harness.logId(vm.addr(enclaveKey), K_LOG);
        words.size = size;
        words.root = root;
        words.timestamp = uint64(block.timestamp) * 1000;
        signature = sign(enclaveKey, harness.checkpoint(words));
    }

    /// Anchors the first `size` leaves, with the proof from the last anchor.
    function anchorLeaves(uint256 enclaveKey, bytes32[] memory leaves, uint64 size) internal {
        Last memory last = lastOf[vm.addr(enclaveKey)];
        bytes32[] memory proof = last.size == 0 ? new bytes32[](0) : RefTree.proof(last.size, leaves, size);
        anchorTree(enclaveKey, size, RefTree.root(leaves, 0, size), proof);
    }

    /// Anchors a signed tree and remembers it as the last.
    function anchorTree(uint256 enclaveKey, uint64 size, bytes32 root, bytes32[] memory proof) internal {
        address signer = vm.addr(enclaveKey);
        (Checkpoint memory words, bytes memory signature) = checkpoint(enclaveKey, size, root);
        Last memory last = lastOf[signer];
        registry.anchor(recordOf(signer), words, signature, last.root, last.anchoredAt, proof);
        lastOf[signer] = Last({size: size, root: root, anchoredAt: uint64(block.timestamp)});
    }

    // Receipts.

    function goodReceipt() internal view returns (ReceiptWords memory receipt) {
        receipt.version = 2;
        receipt.manifestHash = recordOf(kSig).manifestHash;
        receipt.logId = recordOf(kSig).logId;
        receipt.money.paymentId = keccak256("payment");
        receipt.money.scheme = 1;
        receipt.money.payer = address(0x9a7e4);
        receipt.money.payee = PAYEE;
        receipt.money.asset = address(0xa55e7);
        receipt.money.chainId = block.chainid;
        receipt.money.maxAmount = 100;
        receipt.money.charged = 100;
        receipt.money.offerDigest = keccak256("offer");
        receipt.work.kinds = 5;
        receipt.work.channel = 2;
        receipt.work.usageSource = 1;
        receipt.work.outcome = 1;
        receipt.work.modelId = keccak256("model");
        receipt.work.requestCommitment = keccak256("request");
        receipt.work.responseCommitment = keccak256("response");
        receipt.work.decodingHash = keccak256("decoding");
        receipt.work.promptTokens = 12;
        receipt.work.completionTokens = 34;
        receipt.work.startedAt = uint64(block.timestamp) * 1000 + 100;
        receipt.work.finishedAt = uint64(block.timestamp) * 1000 + 900;
        receipt.work.blockNumber = uint64(block.number);
        receipt.work.blockHash = keccak256("block");
    }

    function leafHashOf(ReceiptWords memory receipt, bytes memory signature) internal view returns (bytes32) {
        return harness.leaf(harness.leafData(LOG_SALT, harness.receipt(receipt), signature));
    }

    /// What `prove` is given for a receipt in a tree; the signature is K_sig's.
    function goodProof(ReceiptWords memory receipt, uint64 size, bytes32[] memory inclusion, PolicyId policyId)
        internal
        view
        returns (IProofs.ReceiptProof memory c)
    {
        c.receipt = receipt;
        c.signature = sign(ENCLAVE_KEY, harness.receipt(receipt));
        c.logSalt = LOG_SALT;
        c.record = recordOf(kSig);
        c.size = size;
        c.anchoredAt = lastOf[kSig].anchoredAt;
        c.inclusion = inclusion;
        c.policyId = policyId;
        c.schemes = 1 << 1;
    }

    function listedId() internal view returns (ListedId) {
        return registry.listedIdOf(recordOf(kSig));
    }

    /// An ownerless policy that has listed the good workload from the first, for any operator.
    function goodPolicy() internal returns (PolicyId) {
        IWorkloadPolicy.FirstListing[] memory listings = new IWorkloadPolicy.FirstListing[](1);
        listings[0] = IWorkloadPolicy.FirstListing({listedId: listedId(), from: 0});
        return policies.create(termsOf(address(0), 0), listings, new IWorkloadPolicy.FirstOperator[](0));
    }

    /// Terms of a policy that takes any operator.
    function termsOf(address owner, uint64 delay) internal pure returns (IWorkloadPolicy.Terms memory) {
        return IWorkloadPolicy.Terms({
            owner: owner, salt: "test", delay: delay, maxLookback: 1 days, operatorsMode: IWorkloadPolicy.OperatorsMode.Any
        });
    }

    /// `bytes` of a custom error without arguments or with words only.
    function err(bytes4 selector) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(selector);
    }

    function err(bytes4 selector, bytes32 a) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(selector, a);
    }

    function err(bytes4 selector, bytes32 a, bytes32 b) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(selector, a, b);
    }

    function err(bytes4 selector, uint256 a, uint256 b) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(selector, a, b);
    }

    function err(bytes4 selector, address a) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(selector, a);
    }

    function err(bytes4 selector, address a, address b) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(selector, a, b);
    }
}
