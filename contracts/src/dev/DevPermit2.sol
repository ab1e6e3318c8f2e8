// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IUptoProxy} from "../interfaces/IUptoProxy.sol";
import {ISignatureTransfer} from "./ISignatureTransfer.sol";

interface IERC1271 {
    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4);
}

// slither-disable-next-line missing-inheritance: a token is a contract of its own, TestUSD too
interface ITransferFrom {
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

/// @title A stand-in for Permit2 on development chains: its signature transfers of one token, as payments by x402 use them.
/// @notice Selectors, digests, order of checks, errors and what it takes for a signature are Permit2's: tests run both on the same calls.
/// It takes 65 bytes, 64 bytes (EIP-2098), and the high twin of either; an owner with code, an EIP-7702 account too, is asked by ERC-1271
/// alone. So a signature is never the identity of a payment: owner and nonce are. Not here: batches, and the allowances of
/// AllowanceTransfer. Elsewhere the deployed Permit2 is used.
/// @dev Nobody owns it. No constructor and no immutables: the runtime code works at any address it is placed at.
contract DevPermit2 is ISignatureTransfer {
    bytes32 private constant DOMAIN_TYPEHASH = keccak256("EIP712Domain(string name,uint256 chainId,address verifyingContract)");
    bytes32 private constant TOKEN_PERMISSIONS_TYPEHASH = keccak256("TokenPermissions(address token,uint256 amount)");
    bytes32 private constant PERMIT_TRANSFER_FROM_TYPEHASH = keccak256(
        "PermitTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline)TokenPermissions(address token,uint256 amount)"
    );
    /// The rest, from the witness on, is what the caller says.
    string private constant WITNESS_TYPE_BEGIN =
        "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,";

    /// Bit n of word w is nonce 256·w + n of this owner: set if it was used or burned.
    mapping(address owner => mapping(uint256 wordPos => uint256)) public nonceBitmap;

    /// @inheritdoc ISignatureTransfer
    function permitTransferFrom(
        IUptoProxy.Permit memory permit,
        TransferDetails calldata details,
        address owner,
        bytes calldata signature
    ) external {
        bytes32 structHash = keccak256(
            abi.encode(PERMIT_TRANSFER_FROM_TYPEHASH, _permitted(permit), msg.sender, permit.nonce, permit.deadline)
        );
        _transfer(permit, details, owner, structHash, signature);
    }

    /// @inheritdoc ISignatureTransfer
    function permitWitnessTransferFrom(
        IUptoProxy.Permit memory permit,
        TransferDetails calldata details,
        address owner,
        bytes32 witness,
        string calldata witnessTypeString,
        bytes calldata signature
    ) external {
        bytes32 typeHash = keccak256(abi.encodePacked(WITNESS_TYPE_BEGIN, witnessTypeString));
        bytes32 structHash = keccak256(abi.encode(typeHash, _permitted(permit), msg.sender, permit.nonce, permit.deadline, witness));
        _transfer(permit, details, owner, structHash, signature);
    }

    /// @inheritdoc ISignatureTransfer
    function invalidateUnorderedNonces(uint256 wordPos, uint256 mask) external {
        nonceBitmap[msg.sender][wordPos] |= mask;
        emit UnorderedNonceInvalidation(msg.sender, wordPos, mask);
    }

    /// @inheritdoc ISignatureTransfer
    function DOMAIN_SEPARATOR() public view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPEHASH, keccak256("Permit2"), block.chainid, address(this)));
    }

    function _transfer(
        IUptoProxy.Permit memory permit,
        TransferDetails calldata details,
        address owner,
        bytes32 structHash,
        bytes calldata signature
    ) private {
        if (block.timestamp > permit.deadline) revert SignatureExpired(permit.deadline);
        if (details.requestedAmount > permit.permitted.amount) revert InvalidAmount(permit.permitted.amount);
        _useNonce(owner, permit.nonce);
        _checkSignature(owner, keccak256(abi.encodePacked(hex"1901", DOMAIN_SEPARATOR(), structHash)), signature);
        _transferFrom(permit.permitted.token, owner, details.to, details.requestedAmount);
    }

    function _useNonce(address owner, uint256 nonce) private {
        uint256 bit = 1 << (nonce & 0xff);
        uint256 word = nonceBitmap[owner][nonce >> 8];
        if (word & bit != 0) revert InvalidNonce();
        nonceBitmap[owner][nonce >> 8] = word | bit;
    }

    function _checkSignature(address owner, bytes32 digest, bytes calldata signature) private view {
        if (owner.code.length != 0) {
            // A wallet that reverts is heard: its own words are the reason.
            bytes4 answer = IERC1271(owner).isValidSignature(digest, signature);
            if (answer != IERC1271.isValidSignature.selector) revert InvalidContractSignature();
            return;
        }
        address signer = _recover(digest, signature);
        if (signer == address(0)) revert InvalidSignature();
        if (signer != owner) revert InvalidSigner();
    }

    /// A token may answer nothing; whatever else it answers must be true. That it has code nobody looks at.
    function _transferFrom(address token, address from, address to, uint256 amount) private {
        (bool ok, bytes memory answer) = token.call(abi.encodeCall(ITransferFrom.transferFrom, (from, to, amount)));
        bool isTrue = answer.length == 0 || (answer.length >= 32 && abi.decode(answer, (uint256)) == 1);
        require(ok && isTrue, "TRANSFER_FROM_FAILED");
    }

    /// Zero for what recovers nobody. A high s is taken, as Permit2 takes it.
    function _recover(bytes32 digest, bytes calldata signature) private pure returns (address) {
        if (signature.length == 65) {
            return ecrecover(digest, uint8(signature[64]), bytes32(signature[0:32]), bytes32(signature[32:64]));
        }
        if (signature.length != 64) revert InvalidSignatureLength();
        uint256 yParityAndS = uint256(bytes32(signature[32:64]));
        // forge-lint: disable-next-line(unsafe-typecast): one bit
        uint8 v = uint8(27 + (yParityAndS >> 255));
        return ecrecover(digest, v, bytes32(signature[0:32]), bytes32(yParityAndS & ~(uint256(1) << 255)));
    }

    function _permitted(IUptoProxy.Permit memory permit) private pure returns (bytes32) {
        return keccak256(abi.encode(TOKEN_PERMISSIONS_TYPEHASH, permit.permitted.token, permit.permitted.amount));
    }
}
