// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IUptoProxy} from "../interfaces/IUptoProxy.sol";

// Where Permit2 is on every chain that has it.
address constant PERMIT2_ADDRESS = 0x000000000022D473030F116dDEE9F6B43aC78BA3;

/// @title What is called of Permit2's signature transfers.
/// @notice A token's owner signs that a spender, who is whoever calls, may move up to an amount once, until a deadline; with a witness,
/// also what else the spender asked the owner to sign.
interface ISignatureTransfer {
    struct TransferDetails {
        address to;
        uint256 requestedAmount;
    }

    /// @notice The owner burned these nonces of one word without a payment.
    event UnorderedNonceInvalidation(address indexed owner, uint256 word, uint256 mask);

    error SignatureExpired(uint256 signatureDeadline);
    error InvalidAmount(uint256 maxAmount);
    error InvalidNonce();
    error InvalidSignatureLength();
    error InvalidSignature();
    error InvalidSigner();
    error InvalidContractSignature();

    function permitTransferFrom(
        IUptoProxy.Permit memory permit,
        TransferDetails calldata details,
        address owner,
        bytes calldata signature
    ) external;

    function permitWitnessTransferFrom(
        IUptoProxy.Permit memory permit,
        TransferDetails calldata details,
        address owner,
        bytes32 witness,
        string calldata witnessTypeString,
        bytes calldata signature
    ) external;

    function invalidateUnorderedNonces(uint256 wordPos, uint256 mask) external;

    function nonceBitmap(address owner, uint256 wordPos) external view returns (uint256);

    function DOMAIN_SEPARATOR() external view returns (bytes32);
}
