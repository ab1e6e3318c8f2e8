// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Who signed a digest, under one rule: 65 bytes r || s || v, low s (EIP-2), v 27 or 28.
/// @notice One signature has one form here, so a twin made without the key is refused. Still, a signature is never an identity: a key
/// can sign the same digest twice.
/// @dev NOT proven: that the signer is registered, attested or allowed. Never returns the zero address.
library Signatures {
    /// @notice A signature is 65 bytes; the 64-byte form of EIP-2098 is not one of ours.
    error SignatureLength(uint256 expected, uint256 got);

    /// @notice s is above half the group order: the malleable twin of another signature.
    error SignatureHighS(uint256 maximum, uint256 got);

    /// @notice v is neither 27 nor 28.
    error SignatureV(uint8 got);

    /// @notice No key has made this signature: r or s is out of range, or there is no such point.
    error SignatureInvalid();

    uint256 internal constant LENGTH = 65;

    /// n / 2 of secp256k1 (SEC 2, section 2.4.1).
    uint256 internal constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    /// @notice The address whose key signed `digest`.
    function recover(bytes32 digest, bytes calldata signature) internal pure returns (address signer) {
        if (signature.length != LENGTH) revert SignatureLength(LENGTH, signature.length);
        bytes32 r = bytes32(signature[0:32]);
        bytes32 s = bytes32(signature[32:64]);
        uint8 v = uint8(signature[64]);
        if (uint256(s) > HALF_ORDER) revert SignatureHighS(HALF_ORDER, uint256(s));
        if (v != 27 && v != 28) revert SignatureV(v);
        signer = ecrecover(digest, v, r, s);
        if (signer == address(0)) revert SignatureInvalid();
    }

    /// @notice Whether the key of `signer` signed `digest`, under the same rule. Never reverts, for callers whose answer is yes or no.
    function isSignedBy(address signer, bytes32 digest, bytes calldata signature) internal pure returns (bool) {
        if (signature.length != LENGTH) return false;
        bytes32 s = bytes32(signature[32:64]);
        uint8 v = uint8(signature[64]);
        if (uint256(s) > HALF_ORDER || (v != 27 && v != 28)) return false;
        address got = ecrecover(digest, v, bytes32(signature[0:32]), s);
        return got != address(0) && got == signer;
    }
}
