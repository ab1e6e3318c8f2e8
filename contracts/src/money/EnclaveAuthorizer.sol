// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {KeyStatus} from "../KeyState.sol";
import {ListedId, PolicyId, Record} from "../Types.sol";
import {IEnclaveAuthorizer} from "../interfaces/IEnclaveAuthorizer.sol";
import {IKeys} from "../interfaces/IKeys.sol";
import {IProofs} from "../interfaces/IProofs.sol";
import {IWorkloadPolicy} from "../interfaces/IWorkloadPolicy.sol";
import {Clone} from "../lib/Clone.sol";
import {Digests} from "../lib/Digests.sol";
import {Signatures} from "../lib/Signatures.sol";

/// @dev The implementation behind each authorizer; made by AuthorizerFactory. A clone's arguments: registry (20 bytes), operator (20),
/// policy id (32).
contract EnclaveAuthorizer is IEnclaveAuthorizer {
    /// @inheritdoc IEnclaveAuthorizer
    uint64 public constant GRACE = 7 days;

    bytes4 private constant VALID = 0x1626ba7e;
    bytes4 private constant INVALID = 0xffffffff;
    uint256 private constant ARGUMENTS = 72;

    // Of abi.encode(Record, bytes): 10 words, the place and the length of 65 bytes, and these with 31 zeros.
    // slither-disable-start unused-state: bounds of slices, which slither does not see as uses
    uint256 private constant RECORD_END = 320;
    uint256 private constant LENGTH_AT = 352;
    uint256 private constant BYTES_AT = 384;
    uint256 private constant BYTES_END = 449;
    uint256 private constant TOTAL = 480;

    // slither-disable-end unused-state

    /// @inheritdoc IEnclaveAuthorizer
    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        if (!_isEncoding(signature)) return INVALID;
        IKeys keys = IKeys(registry());
        address kSig = address(uint160(uint256(bytes32(signature[0:32]))));
        if (keys.recordHash(kSig) != keccak256(signature[0:RECORD_END])) return INVALID;
        // The registry hashed a record to this: each word fits its type, and the decoder finds nothing to revert on.
        Record memory record = abi.decode(signature[0:RECORD_END], (Record));
        if (!Signatures.isSignedBy(kSig, authorizationDigest(digest), signature[BYTES_AT:BYTES_END])) return INVALID;
        return _mayClaim(keys, record) ? VALID : INVALID;
    }

    /// @inheritdoc IEnclaveAuthorizer
    function authorizationDigest(bytes32 digest) public view returns (bytes32) {
        return Digests.channelAuthorization(block.chainid, address(this), digest);
    }

    /// @inheritdoc IEnclaveAuthorizer
    function registry() public view returns (address) {
        return address(bytes20(Clone.argument(ARGUMENTS, 0)));
    }

    /// @inheritdoc IEnclaveAuthorizer
    function operator() public view returns (address) {
        return address(bytes20(Clone.argument(ARGUMENTS, 20)));
    }

    /// @inheritdoc IEnclaveAuthorizer
    function policyId() public view returns (PolicyId) {
        return PolicyId.wrap(Clone.argument(ARGUMENTS, 40));
    }

    /// One encoding, so that no byte can be flipped unnoticed.
    function _isEncoding(bytes calldata signature) private pure returns (bool) {
        return signature.length == TOTAL && uint256(bytes32(signature[RECORD_END:LENGTH_AT])) == LENGTH_AT
            && uint256(bytes32(signature[LENGTH_AT:BYTES_AT])) == Signatures.LENGTH && bytes31(signature[BYTES_END:TOTAL]) == 0;
    }

    /// Whether the key of this registered record counts now, in whole seconds of this chain.
    function _mayClaim(IKeys keys, Record memory record) private view returns (bool) {
        if (record.operator != operator()) return false;
        KeyStatus memory status = keys.stateOf(record.kSig);
        uint64 now_ = uint64(block.timestamp);
        if (status.revokedAt != 0 || status.validUntil + GRACE < now_) return false;
        IWorkloadPolicy policies = IProofs(address(keys)).policies();
        PolicyId policy = policyId();
        ListedId listed = Digests.listedId(record.verifier, record.verifierCodehash, record.workloadId);
        uint64 last = now_ < status.validUntil ? now_ : status.validUntil;
        if (policies.acceptsAt(policy, listed, record.operator, last, now_)) return true;
        uint64 earliest = now_ < record.validFrom + GRACE ? record.validFrom : now_ - GRACE;
        return policies.acceptsAt(policy, listed, record.operator, earliest, now_);
    }
}
