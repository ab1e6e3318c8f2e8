// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IUptoProxy} from "../../src/interfaces/IUptoProxy.sol";
import {Signatures} from "../../src/lib/Signatures.sol";
import {X402} from "./X402.sol";

/// Answers every call with the same bytes, or reverts with them: a token, a wallet, whatever is called. Keeps them where it runs, so an
/// account that delegates to it answers with its own.
contract Says {
    bytes private words;
    bool private fails;

    function say(bytes calldata words_, bool fails_) external {
        (words, fails) = (words_, fails_);
    }

    fallback() external {
        bytes memory answer = words;
        if (fails) {
            assembly ("memory-safe") {
                revert(add(answer, 32), mload(answer))
            }
        }
        assembly ("memory-safe") {
            return(add(answer, 32), mload(answer))
        }
    }
}

/// A wallet that says yes to what its key signed. The key is its own if nobody gave it another: that of an account that delegates to it.
contract KeyWallet {
    address private immutable OWNER;

    constructor(address owner) {
        OWNER = owner;
    }

    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        address owner = OWNER == address(0) ? address(this) : OWNER;
        return Signatures.isSignedBy(owner, digest, signature) ? bytes4(0x1626ba7e) : bytes4(0xffffffff);
    }
}

/// What a payer signs for Permit2, worked out here and not asked of any contract.
abstract contract Permits is X402 {
    string internal constant UPTO_WITNESS =
        "Witness witness)TokenPermissions(address token,uint256 amount)Witness(address to,address facilitator,uint256 validAfter)";
    string internal constant EXACT_WITNESS =
        "Witness witness)TokenPermissions(address token,uint256 amount)Witness(address to,uint256 validAfter)";
    uint256 internal constant ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;

    function digestOf(IUptoProxy.Permit memory permit, address spender) internal view returns (bytes32) {
        string memory text =
            "PermitTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline)TokenPermissions(address token,uint256 amount)";
        return typed(keccak256(abi.encode(keccak256(bytes(text)), permittedHash(permit), spender, permit.nonce, permit.deadline)));
    }

    function digestOf(IUptoProxy.Permit memory permit, address spender, bytes32 witness, string memory witnessType)
        internal
        view
        returns (bytes32)
    {
        string memory text = "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,";
        bytes32 typeHash = keccak256(abi.encodePacked(text, witnessType));
        return typed(keccak256(abi.encode(typeHash, permittedHash(permit), spender, permit.nonce, permit.deadline, witness)));
    }

    function permittedHash(IUptoProxy.Permit memory permit) private pure returns (bytes32) {
        bytes32 typeHash = keccak256("TokenPermissions(address token,uint256 amount)");
        return keccak256(abi.encode(typeHash, permit.permitted.token, permit.permitted.amount));
    }

    function typed(bytes32 structHash) private view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,uint256 chainId,address verifyingContract)"),
                keccak256("Permit2"),
                block.chainid,
                PERMIT2
            )
        );
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    /// The 64 bytes of EIP-2098.
    function short(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, bytes32(uint256(s) | (uint256(v - 27) << 255)));
    }

    /// The other signature of the same key, digest and nonce point.
    function highTwin(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, ORDER - uint256(s), uint8(55 - v));
    }
}
