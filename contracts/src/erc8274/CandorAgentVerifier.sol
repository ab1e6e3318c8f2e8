// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Questions} from "../answer/Questions.sol";
import {CandorProofVerifier} from "./CandorProofVerifier.sol";
import {IAgentVerifier} from "./IAgentVerifier.sol";
import {IERC165} from "./IERC165.sol";

/// @title Candor's answers behind the outer layer of ERC-8274: questions of one form, each task once, and the one answer that counts.
/// @notice `asker` names what each task asks (`ask`), before anybody can answer it. A claim is valid if the answer to that question, by
/// these weights and this engine, is `accepted`: a settlement contract of the draft completes on `valid` whatever the output is, so
/// *valid* must mean *the answer is this*, and not *this is an answer*. The request's body is
///
///     before ‖ text ‖ between ‖ task as 0x and 64 digits ‖ rest
///
/// Powers: `asker` writes the texts, and whoever writes them can know the answers (Questions): it must be somebody who gains by none, as must
/// whoever deployed this and wrote the form. Neither can change a task that is asked, nor anything else.
///
/// Where the draft is silent: `agentId` is the digest of the weights, the one agent that evidence can name. A task is used up by the
/// first valid claim *for each caller*, so a stranger who calls first takes nothing from a settlement contract. The profile is the inner
/// verifier's. What is refused gives valid = false, which may only mean that the proof was bad: do not settle on it before a deadline.
///
/// NOT proven: what the inner verifier says is not; who brought the proof. A settlement contract that pays whoever brings it pays whoever copies
/// it first: pay a party that is fixed before, or put it into the task.
contract CandorAgentVerifier is IAgentVerifier, IERC165 {
    /// What every question of this deployment has.
    struct Form {
        string before;
        string between;
        string rest;
    }

    /// @notice Everything that whoever wants to buy the answer needs: the body to send.
    event Asked(bytes32 indexed taskId, bytes32 indexed questionHash, string body);

    error NotTheAsker(address expected, address got);
    error NoTask();
    error AlreadyAsked(bytes32 taskId);

    CandorProofVerifier public immutable proofVerifier;
    address public immutable asker;
    /// The agent: digest of the weights.
    bytes32 public immutable modelId;
    /// keccak256 of the engine's name.
    bytes32 public immutable engine;
    bool public immutable takesUnpaid;
    /// keccak256 of the answer that makes a claim valid.
    bytes32 public immutable accepted;

    Form private _form;

    /// The question of a task; zero if it was not asked.
    mapping(bytes32 taskId => bytes32) public questionOf;
    /// Whether a caller had its valid claim of a task.
    mapping(address caller => mapping(bytes32 taskId => bool)) public used;

    constructor(
        CandorProofVerifier proofVerifier_,
        address asker_,
        CandorProofVerifier.Metadata memory metadata,
        string memory acceptedAnswer,
        Form memory form_
    ) {
        proofVerifier = proofVerifier_;
        // slither-disable-next-line missing-zero-check: a verifier that nobody may ask answers nobody
        asker = asker_;
        modelId = metadata.modelId;
        engine = metadata.engine;
        takesUnpaid = metadata.takesUnpaid;
        accepted = keccak256(bytes(acceptedAnswer));
        _form = form_;
    }

    /// @notice Says what a task asks, for good.
    /// @param text goes into a JSON string as it is: printable ASCII without `"` and `\`.
    function ask(bytes32 taskId, string calldata text) external {
        if (msg.sender != asker) revert NotTheAsker(asker, msg.sender);
        if (taskId == 0) revert NoTask();
        if (questionOf[taskId] != 0) revert AlreadyAsked(taskId);
        Questions.checkPlain(text);
        string memory body = string.concat(_form.before, text, _form.between, Questions.hexOf(taskId), _form.rest);
        bytes32 questionHash = Questions.ofChat(bytes(body));
        questionOf[taskId] = questionHash;
        emit Asked(taskId, questionHash, body);
    }

    /// @inheritdoc IAgentVerifier
    function verify(bytes32 taskId, bytes32 agentId, bytes32 inputHash, bytes32 outputHash, bytes calldata proof)
        external
        returns (bool valid, bytes32 verificationDigest)
    {
        bytes32 questionHash = questionOf[taskId];
        valid = questionHash != 0 && inputHash == questionHash && agentId == modelId && outputHash == accepted
            && !used[msg.sender][taskId] && proofVerifier.verify(inputHash, outputHash, _metadata(), proof);
        if (valid) used[msg.sender][taskId] = true;
        bytes32 profile = proofVerifier.proofProfile();
        verificationDigest = keccak256(abi.encode(taskId, agentId, inputHash, outputHash, valid, profile));
        emit VerificationCompleted(taskId, agentId, verificationDigest, valid, inputHash, outputHash, profile);
    }

    /// @notice The parts of a body.
    function form() external view returns (Form memory) {
        return _form;
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId) external pure returns (bool) {
        return interfaceId == type(IAgentVerifier).interfaceId || interfaceId == type(IERC165).interfaceId;
    }

    function _metadata() private view returns (bytes memory) {
        return abi.encode(CandorProofVerifier.Metadata({modelId: modelId, engine: engine, takesUnpaid: takesUnpaid}));
    }
}
