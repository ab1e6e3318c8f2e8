// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Half, Money} from "../Types.sol";
import {IReceiptSettler} from "../interfaces/IReceiptSettler.sol";
import {IUptoProxy} from "../interfaces/IUptoProxy.sol";
import {Clone} from "../lib/Clone.sol";
import {Digests} from "../lib/Digests.sol";
import {Signatures} from "../lib/Signatures.sol";

/// @dev The implementation behind each settler; made by SettlerFactory. A clone's arguments: K_sig (20 bytes).
contract ReceiptSettler is IReceiptSettler {
    /// @inheritdoc IReceiptSettler
    IUptoProxy public immutable proxy;
    /// @inheritdoc IReceiptSettler
    address public immutable permit2;

    uint8 private constant VERSION = 2;
    uint8 private constant SCHEME_UPTO = 3;
    uint256 private constant ARGUMENTS = 20;

    /// Reverts on a chain that has no such proxy.
    constructor(IUptoProxy proxy_) {
        proxy = proxy_;
        permit2 = proxy_.PERMIT2();
    }

    /// @inheritdoc IReceiptSettler
    function settle(Settlement calldata s) external {
        bytes32 digest = _checkReceipt(s);
        Money calldata money = s.receipt.money;
        proxy.settle(_permit(s), money.charged, money.payer, _witness(s), s.permitSignature);
        // slither-disable-next-line reentrancy-events: there is no state, and Permit2 takes each permit once
        emit ReceiptSettled(digest, money.paymentId, money.charged);
    }

    /// @inheritdoc IReceiptSettler
    function settleWithPermit(IUptoProxy.TokenPermit calldata tokenPermit, Settlement calldata s) external {
        bytes32 digest = _checkReceipt(s);
        Money calldata money = s.receipt.money;
        proxy.settleWithPermit(tokenPermit, _permit(s), money.charged, money.payer, _witness(s), s.permitSignature);
        // slither-disable-next-line reentrancy-events: there is no state, and Permit2 takes each permit once
        emit ReceiptSettled(digest, money.paymentId, money.charged);
    }

    /// @inheritdoc IReceiptSettler
    function kSig() public view returns (address) {
        return address(bytes20(Clone.argument(ARGUMENTS, 0)));
    }

    /// The receipt's digest, if this settler's key signed it for this settler, this chain and this permit.
    function _checkReceipt(Settlement calldata s) private view returns (bytes32 digest) {
        Half calldata receipt = s.receipt;
        Money calldata money = receipt.money;
        if (receipt.version != VERSION) revert UnsupportedVersion(VERSION, receipt.version);
        if (money.scheme != SCHEME_UPTO) revert WrongScheme(SCHEME_UPTO, money.scheme);
        if (money.chainId != block.chainid) revert WrongChain(block.chainid, money.chainId);
        if (money.settler != address(this)) revert WrongSettler(address(this), money.settler);
        if (money.charged == 0) revert NothingCharged();
        if (money.charged > money.maxAmount) revert ChargedAboveMaximum(money.maxAmount, money.charged);
        bytes32 paymentId = Digests.permit2Id(block.chainid, permit2, money.payer, s.nonce);
        if (money.paymentId != paymentId) revert WrongPaymentId(paymentId, money.paymentId);
        digest = Digests.half(receipt);
        address signer = Signatures.recover(digest, s.receiptSignature);
        address key = kSig();
        if (signer != key) revert NotSignedByTheKey(key, signer);
    }

    /// What the payer must have signed, word for word: Permit2 refuses another token, maximum, nonce or deadline.
    function _permit(Settlement calldata s) private pure returns (IUptoProxy.Permit memory) {
        Money calldata money = s.receipt.money;
        return IUptoProxy.Permit({
            permitted: IUptoProxy.TokenPermissions({token: money.asset, amount: money.maxAmount}),
            nonce: s.nonce,
            deadline: s.deadline
        });
    }

    /// And to whom, through whom, and from when.
    function _witness(Settlement calldata s) private view returns (IUptoProxy.Witness memory) {
        return IUptoProxy.Witness({to: s.receipt.money.payee, facilitator: address(this), validAfter: s.validAfter});
    }
}
