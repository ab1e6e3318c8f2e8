// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {CandorRegistry} from "../CandorRegistry.sol";
import {PresetPolicy} from "../PresetPolicy.sol";
import {Checkpoint, Decoding, Freshness, ListedId, Manifest, PolicyId, ReceiptWords, Record, Terms, WorkloadId} from "../Types.sol";
import {WorkloadPolicy} from "../WorkloadPolicy.sol";
import {AnswerProof, Question} from "../answer/Answers.sol";
import {Questions} from "../answer/Questions.sol";
import {IAttestationVerifier} from "../interfaces/IAttestationVerifier.sol";
import {IKeys} from "../interfaces/IKeys.sol";
import {IProofs} from "../interfaces/IProofs.sol";
import {IWorkloadPolicy} from "../interfaces/IWorkloadPolicy.sol";
import {Digests} from "../lib/Digests.sol";
import {Sha256} from "../lib/Sha256.sol";

/// The cheat codes that this needs; forge has them at this address whether a test uses forge-std or not.
interface CandorVm {
    function addr(uint256 key) external pure returns (address);
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function setBlockhash(uint256 number, bytes32 blockHash) external;
}

/// @title Believes whatever it is told. FOR TESTS: a policy that lists it accepts anything.
contract TestVerifier is IAttestationVerifier {
    /// @inheritdoc IAttestationVerifier
    function verify(bytes calldata, bytes calldata verifierData) external pure returns (Attested memory) {
        return abi.decode(verifierData, (Attested));
    }
}

/// @title Any answer to any question, proven, inside your own forge tests.
/// @notice `new CandorFixture()` deploys a real registry and real policies; only the evidence is made up, by two test verifiers. Give your
/// contract `registry` and a policy id, and take from `answered` what somebody would bring. To see what your contract refuses, take
/// a `draft`, spoil it, and `log` it. Each receipt comes from a boot of its own, under a tree of 2^20 leaves that nobody has: what it costs
/// to prove is what it costs in life.
/// @dev Works with forge-std and without. Changes no time; gives the block before a hash where the test's chain has none.
contract CandorFixture {
    /// What a node says of one answer, before it is signed. Boot, log and place are filled in by `log`.
    struct Draft {
        ReceiptWords receipt;
        Decoding decoding;
    }

    CandorVm private constant VM = CandorVm(0x7109709ECfa91a80626fF3989D68f67F5b1DD12D);
    uint256 private constant OPERATOR_KEY = uint256(keccak256("operator of the fixture"));
    uint256 private constant REGISTRAR_KEY = uint256(keccak256("registrar of the fixture"));
    bytes32 private constant K_LOG = keccak256("K_log of the fixture");
    WorkloadId private constant WORKLOAD = WorkloadId.wrap(keccak256("workload of the fixture"));
    uint64 private constant SIZE = 2 ** 20;
    uint256 private constant DEPTH = 20;

    address public constant PAYEE = address(0x9a1ee);
    string public constant ENGINE = "det/1";

    WorkloadPolicy public immutable policies;
    CandorRegistry public immutable registry;
    TestVerifier public immutable verifier;
    TestVerifier public immutable secondVerifier;
    /// Takes what the first verifier judged, from any operator, and nothing else.
    PolicyId public immutable policyId;
    /// Takes what the second verifier judged, from any operator, and nothing else.
    PolicyId public immutable secondPolicyId;

    uint256 private _boots;

    constructor() {
        policies = new WorkloadPolicy();
        registry = new CandorRegistry(policies);
        verifier = new TestVerifier();
        secondVerifier = new TestVerifier();
        policyId = _policyOf("first", verifier);
        secondPolicyId = _policyOf("second", secondVerifier);
    }

    /// @notice What your contract asks if this is the body that it wants to have sent to /v1/chat/completions.
    function question(bytes memory body, bytes32 task, bytes32 modelId) external view returns (Question memory asked) {
        asked.questionHash = Questions.ofChat(body);
        asked.task = task;
        asked.modelId = modelId;
        asked.engine = keccak256(bytes(ENGINE));
        asked.policyId = policyId;
    }

    /// @notice The answer, proven under each policy of the question: what somebody brings who bought it.
    function answered(Question memory asked, string memory answer) external returns (AnswerProof[] memory proofs) {
        bool two = PolicyId.unwrap(asked.secondPolicyId) != 0;
        proofs = new AnswerProof[](two ? 2 : 1);
        proofs[0] = log(draft(asked, answer), asked.policyId);
        if (two) proofs[1] = log(draft(asked, answer), asked.secondPolicyId);
    }

    /// @notice What an honest node says of this answer: it is whole, public, paid for, and the only one.
    function draft(Question memory asked, string memory answer) public view returns (Draft memory made) {
        made.decoding.engine = ENGINE;
        made.decoding.seed = bytes32(uint256(1));
        made.decoding.seedSource = 1;
        made.decoding.topPE6 = 1_000_000;
        made.decoding.maxTokens = 64;
        ReceiptWords memory receipt = made.receipt;
        receipt.version = 2;
        receipt.money.paymentId = keccak256("payment");
        receipt.money.scheme = 1;
        receipt.money.payer = address(0x9a7e4);
        receipt.money.payee = PAYEE;
        receipt.money.asset = address(0xa55e7);
        receipt.money.chainId = block.chainid;
        receipt.money.maxAmount = 300;
        receipt.money.charged = 300;
        receipt.money.offerDigest = keccak256("offer");
        receipt.work.kinds = 1 | 4;
        receipt.work.channel = 2;
        receipt.work.usageSource = 1;
        receipt.work.outcome = 1;
        receipt.work.modelId = asked.modelId;
        receipt.work.requestCommitment = keccak256("request");
        receipt.work.responseCommitment = keccak256(bytes(answer));
        receipt.work.promptTokens = 12;
        receipt.work.completionTokens = 3;
        receipt.work.startedAt = uint64(block.timestamp) * 1000;
        receipt.work.finishedAt = uint64(block.timestamp) * 1000;
        receipt.work.taskHash = asked.task;
        receipt.work.questionHash = asked.questionHash;
        receipt.work.answerHash = keccak256(bytes(answer));
    }

    /// @notice Boots a node that this policy takes, has it sign the draft, and anchors its log.
    function log(Draft memory made, PolicyId policy) public returns (AnswerProof memory) {
        return _log(made, policy, true);
    }

    /// @notice As `log`, but this chain only observed the tree: nothing says that the log continues what it showed before.
    function logUnanchored(Draft memory made, PolicyId policy) external returns (AnswerProof memory) {
        return _log(made, policy, false);
    }

    function _log(Draft memory made, PolicyId policy, bool anchors) private returns (AnswerProof memory proof) {
        (uint256 key, Record memory record) = _boot(_verifierOf(policy));
        ReceiptWords memory receipt = made.receipt;
        receipt.manifestHash = record.manifestHash;
        receipt.logId = record.logId;
        receipt.sequence = 0;
        receipt.work.decodingHash = Digests.decoding(made.decoding);
        if (receipt.money.charged == 0) {
            receipt.money.paymentId = receipt.money.scheme == 0
                ? Digests.unpaidId(block.chainid, record.logId, 0)
                : Digests.unsettledId(block.chainid, record.logId, 0);
        }
        bytes32 digest = registry.receiptDigest(receipt);

        proof.decoding = made.decoding;
        IProofs.ReceiptProof memory c = proof.receipt;
        c.receipt = receipt;
        c.signature = _sign(key, digest);
        c.logSalt = keccak256(abi.encode("salt", key));
        c.record = record;
        c.size = SIZE;
        c.policyId = policy;
        c.schemes = receipt.money.scheme < 8 ? uint8(1) << receipt.money.scheme : 0;
        c.inclusion = new bytes32[](DEPTH);
        bytes32 root = Sha256.leaf(sha256(abi.encodePacked("candor/leaf/1", c.logSalt, digest, c.signature)));
        for (uint256 i = 0; i < DEPTH; ++i) {
            c.inclusion[i] = keccak256(abi.encode("sibling", i));
            root = Sha256.node(root, c.inclusion[i]);
        }
        _show(key, record, root, anchors);
        if (anchors) {
            c.anchoredAt = uint64(block.timestamp);
            return proof;
        }
        c.acceptsObservation = true;
        (c.observedSize, c.observedInclusion) = (c.size, c.inclusion);
        (c.size, c.inclusion) = (0, new bytes32[](0));
    }

    function _show(uint256 key, Record memory record, bytes32 root, bool anchors) private {
        Checkpoint memory words =
            Checkpoint({logId: record.logId, size: SIZE, root: root, timestamp: uint64(block.timestamp) * 1000});
        bytes memory signature = _sign(key, Digests.typed(keccak256(abi.encode(Digests.CHECKPOINT_TYPEHASH, words))));
        if (anchors) registry.anchor(record, words, signature, 0, 0, new bytes32[](0));
        else registry.observe(record, words, signature);
    }

    /// A fresh key, registered through this verifier.
    function _boot(TestVerifier judge) private returns (uint256 key, Record memory) {
        key = uint256(keccak256(abi.encode("K_sig of the fixture", ++_boots)));
        IKeys.Submission memory s;
        s.verifier = address(judge);
        s.evidence = "made up";
        s.termsData = "made up";
        s.deadline = uint64(block.timestamp);
        s.freshness = _freshness();
        Terms memory terms = s.terms;
        terms.version = 2;
        terms.operator = VM.addr(OPERATOR_KEY);
        terms.payee = PAYEE;
        terms.registrar = VM.addr(REGISTRAR_KEY);
        terms.registry = address(registry);
        terms.anchorChainId = block.chainid;
        terms.notAfter = uint64(block.timestamp + 30 days) * 1000;
        Manifest memory manifest = s.manifest;
        manifest.version = 2;
        manifest.kSig = VM.addr(key);
        manifest.kLog = K_LOG;
        manifest.termsHash = Digests.typed(keccak256(abi.encode(Digests.TERMS_TYPEHASH, terms)));
        manifest.operator = terms.operator;
        manifest.payee = terms.payee;
        manifest.registry = terms.registry;
        manifest.anchorChainId = terms.anchorChainId;
        manifest.bootedAt = uint64(block.timestamp);
        _signBoot(s, key);
        return (key, registry.register(s));
    }

    function _signBoot(IKeys.Submission memory s, uint256 key) private view {
        bytes32 manifestHash = keccak256(abi.encode(s.manifest));
        Freshness memory f = s.freshness;
        bytes12 tag = bytes12(sha256(abi.encodePacked("candor/fresh/1", f.chainId, f.blockNumber, f.blockHash, f.nonce)));
        s.verifierData = abi.encode(
            IAttestationVerifier.Attested({
                workloadId: WORKLOAD,
                attestedHash: Digests.attested(s.manifest.kSig, manifestHash, tag),
                documentTime: uint64(block.timestamp)
            })
        );
        s.operatorSignature = _sign(OPERATOR_KEY, s.manifest.termsHash);
        s.bootSignature = _sign(key, Digests.boot(manifestHash));
        bytes32 registration = Digests.registration(
            s.manifest.kSig,
            manifestHash,
            s.verifier,
            WORKLOAD,
            keccak256(s.termsData),
            address(registry),
            block.chainid,
            s.deadline
        );
        s.registrarSignature = _sign(REGISTRAR_KEY, registration);
    }

    function _freshness() private returns (Freshness memory) {
        uint256 number = block.number - 1;
        bytes32 blockHash = blockhash(number);
        if (blockHash == 0) {
            blockHash = keccak256(abi.encode("block", number));
            VM.setBlockhash(number, blockHash);
        }
        return Freshness({chainId: block.chainid, blockNumber: number, blockHash: blockHash, nonce: 0});
    }

    function _policyOf(string memory release, TestVerifier judge) private returns (PolicyId) {
        ListedId[] memory ids = new ListedId[](1);
        ids[0] = Digests.listedId(address(judge), address(judge).codehash, WORKLOAD);
        IWorkloadPolicy.FirstOperator[] memory operators = new IWorkloadPolicy.FirstOperator[](0);
        return policies.create(PresetPolicy.termsOf(release), PresetPolicy.listingsOf(ids), operators);
    }

    /// Another policy than these two is told that the first verifier judged.
    function _verifierOf(PolicyId policy) private view returns (TestVerifier) {
        return PolicyId.unwrap(policy) == PolicyId.unwrap(secondPolicyId) ? secondVerifier : verifier;
    }

    function _sign(uint256 key, bytes32 digest) private pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = VM.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }
}
