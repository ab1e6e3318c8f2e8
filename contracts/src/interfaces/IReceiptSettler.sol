// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Half} from "../Types.sol";
import {IUptoProxy} from "./IUptoProxy.sol";

/// @title Charges a payer's `upto` permit by the receipt of one enclave key, and by nothing else.
/// @notice One for each K_sig, which is in its code. A payer names it as the permit's facilitator and so names the attested key: no other
/// enclave, genuine or rogue, can use the permit. What is charged is what that key's receipt says, to the payee that both signed, once:
/// Permit2 keeps the nonce, so nothing is kept here. Anyone may submit; a submitter can delay, never alter. Nobody owns it.
///
/// NOT proven by a settlement: that the key is registered, attested or still good (no registry is asked: permits that name a revoked or
/// lapsed key can be charged until their deadline, by whoever holds the key, up to the maximum and to the payee that the payer signed);
/// that the work was done, delivered or logged; that the asset is worth anything, is a contract at all, or moves what it is told to (its
/// `Transfer` says so: an asset with fees hands the payee less). A receipt of which nothing is charged settles nothing.
interface IReceiptSettler {
    /// @notice A receipt and the permit that it charges. Payer, payee, asset, maximum and charge are the receipt's words.
    struct Settlement {
        Half receipt;
        /// K_sig's over the receipt, 65 bytes.
        bytes receiptSignature;
        /// Of the Permit2 permit.
        uint256 nonce;
        /// Of the Permit2 permit, Unix seconds.
        uint256 deadline;
        /// Of the permit's witness, Unix seconds.
        uint256 validAfter;
        /// The payer's over the Permit2 permit, in any form that Permit2 takes.
        bytes permitSignature;
    }

    /// @notice The proxy took this receipt's charge from its payer.
    event ReceiptSettled(bytes32 indexed receiptDigest, bytes32 indexed paymentId, uint256 amount);

    error UnsupportedVersion(uint8 expected, uint8 got);
    /// @notice Only x402's `upto` names a facilitator (spec/receipt.md, schemes).
    error WrongScheme(uint8 expected, uint8 got);
    error WrongChain(uint256 expected, uint256 got);
    /// @notice The receipt is for another settler: another enclave's, or another deployment's.
    error WrongSettler(address expected, address got);
    error NothingCharged();
    error ChargedAboveMaximum(uint256 maximum, uint256 got);
    /// @notice The receipt is of another permit than that of this nonce, payer, Permit2 and chain.
    error WrongPaymentId(bytes32 expected, bytes32 got);
    error NotSignedByTheKey(address expected, address got);

    /// @notice Charges one permit, or reverts: with an error of this contract, of Signatures, of the proxy, of Permit2 or of the token.
    function settle(Settlement calldata settlement) external;

    /// @notice As `settle`, after an EIP-2612 permit that lets Permit2 move the payer's asset.
    function settleWithPermit(IUptoProxy.TokenPermit calldata tokenPermit, Settlement calldata settlement) external;

    /// @notice The key whose receipts it takes.
    function kSig() external view returns (address);

    /// @notice x402's proxy.
    function proxy() external view returns (IUptoProxy);

    /// @notice The Permit2 whose nonces it takes: the proxy's.
    function permit2() external view returns (address);
}
