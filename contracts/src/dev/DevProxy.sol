// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IUptoProxy} from "../interfaces/IUptoProxy.sol";
import {ISignatureTransfer, PERMIT2_ADDRESS} from "./ISignatureTransfer.sol";

// slither-disable-next-line missing-inheritance: a token is a contract of its own, TestUSD too
interface ITokenPermit {
    function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;
}

/// @title What x402's two proxies for Permit2 have in common: a lock, an EIP-2612 permit that may fail, and the checks before Permit2's.
/// @dev No constructor and no immutables. The errors and their order are those of the deployed proxies, because clients read them.
abstract contract DevProxy {
    uint256 private constant FREE = 1;
    uint256 private constant BUSY = 2;

    /// In storage and never zero again, as the deployed ones': it costs what that costs.
    uint256 private _guard;

    /// @notice A payment was made. Which one, the token's own event says.
    event Settled();
    /// @notice As `Settled`, behind an EIP-2612 permit that the token took or refused.
    event SettledWithPermit();
    /// @notice The token refused the EIP-2612 permit; the allowance may be there all the same.
    event EIP2612PermitFailedWithReason(address indexed token, address indexed owner, string reason);
    event EIP2612PermitFailedWithPanic(address indexed token, address indexed owner, uint256 errorCode);
    event EIP2612PermitFailedWithData(address indexed token, address indexed owner, bytes data);

    error InvalidAmount();
    error InvalidOwner();
    error InvalidDestination();
    error PaymentTooEarly();
    error Permit2612AmountMismatch();
    error ReentrancyGuardReentrantCall();

    modifier once() {
        if (_guard == BUSY) revert ReentrancyGuardReentrantCall();
        _guard = BUSY;
        _;
        _guard = FREE;
    }

    /// Asks the token to let Permit2 move what is permitted. The token's refusal is told and stops nothing.
    function _permitToken(IUptoProxy.TokenPermit calldata p, IUptoProxy.TokenPermissions calldata permitted, address owner)
        internal
    {
        if (p.value != permitted.amount) revert Permit2612AmountMismatch();
        address token = permitted.token;
        // slither-disable-next-line reentrancy-events: nothing is kept but the lock, which is held
        try ITokenPermit(token).permit(owner, PERMIT2_ADDRESS, p.value, p.deadline, p.v, p.r, p.s) {}
        catch Error(string memory reason) {
            emit EIP2612PermitFailedWithReason(token, owner, reason);
        } catch Panic(uint256 errorCode) {
            emit EIP2612PermitFailedWithPanic(token, owner, errorCode);
        } catch (bytes memory data) {
            emit EIP2612PermitFailedWithData(token, owner, data);
        }
    }

    /// Moves the amount from the owner to the witnessed payee, by Permit2.
    function _pay(
        IUptoProxy.Permit calldata permit,
        uint256 amount,
        address owner,
        address to,
        uint256 validAfter,
        bytes32 witness,
        string memory witnessTypeString,
        bytes calldata signature
    ) internal {
        if (amount == 0) revert InvalidAmount();
        if (owner == address(0)) revert InvalidOwner();
        if (to == address(0)) revert InvalidDestination();
        if (block.timestamp < validAfter) revert PaymentTooEarly();
        ISignatureTransfer(PERMIT2_ADDRESS)
            .permitWitnessTransferFrom(
                permit,
                ISignatureTransfer.TransferDetails({to: to, requestedAmount: amount}),
                owner,
                witness,
                witnessTypeString,
                signature
            );
    }
}
