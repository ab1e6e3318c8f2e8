// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title What is called of x402's `upto` proxy for Permit2, the spender that payers sign for.
/// @notice It moves `amount`, at most what was permitted and not zero, from the payer to `witness.to`, once per Permit2 nonce, if
/// `witness.facilitator` is who calls. Canonical at 0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002.
interface IUptoProxy {
    struct TokenPermissions {
        address token;
        uint256 amount;
    }

    /// @notice Permit2's PermitTransferFrom.
    struct Permit {
        TokenPermissions permitted;
        uint256 nonce;
        /// Unix seconds, the last good one.
        uint256 deadline;
    }

    struct Witness {
        address to;
        address facilitator;
        /// Unix seconds, the first good one.
        uint256 validAfter;
    }

    /// @notice An EIP-2612 permit for Permit2. If the token refuses it the proxy goes on: the allowance may be there already.
    struct TokenPermit {
        /// Must be what the Permit2 permit permits.
        uint256 value;
        uint256 deadline;
        bytes32 r;
        bytes32 s;
        uint8 v;
    }

    function settle(Permit calldata permit, uint256 amount, address owner, Witness calldata witness, bytes calldata signature)
        external;

    function settleWithPermit(
        TokenPermit calldata tokenPermit,
        Permit calldata permit,
        uint256 amount,
        address owner,
        Witness calldata witness,
        bytes calldata signature
    ) external;

    /// @notice The Permit2 that it asks.
    function PERMIT2() external view returns (address);
}
