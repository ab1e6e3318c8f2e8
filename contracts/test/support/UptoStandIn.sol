// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IUptoProxy} from "../../src/interfaces/IUptoProxy.sol";

interface ISignatureTransfer {
    struct Details {
        address to;
        uint256 requestedAmount;
    }

    function permitWitnessTransferFrom(
        IUptoProxy.Permit calldata permit,
        Details calldata details,
        address owner,
        bytes32 witness,
        string calldata witnessType,
        bytes calldata signature
    ) external;
}

interface ITokenPermit {
    function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;
}

/// x402's `upto` proxy as its callers see it: selectors, order of checks, errors and events. Stands at the canonical address where the
/// deployed code is not at hand (support/X402.sol). No constructor and no immutables.
contract UptoStandIn is IUptoProxy {
    address public constant PERMIT2 = 0x000000000022D473030F116dDEE9F6B43aC78BA3;
    string public constant WITNESS_TYPE_STRING =
        "Witness witness)TokenPermissions(address token,uint256 amount)Witness(address to,address facilitator,uint256 validAfter)";
    bytes32 public constant WITNESS_TYPEHASH = keccak256("Witness(address to,address facilitator,uint256 validAfter)");

    uint256 private constant FREE = 1;
    uint256 private constant BUSY = 2;

    /// In storage and never zero again, as the deployed one's: it costs what that costs.
    uint256 private _guard;

    event Settled();
    event SettledWithPermit();
    event EIP2612PermitFailedWithReason(address indexed token, address indexed owner, string reason);
    event EIP2612PermitFailedWithData(address indexed token, address indexed owner, bytes data);

    error AmountExceedsPermitted();
    error UnauthorizedFacilitator();
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

    function settle(Permit calldata permit, uint256 amount, address owner, Witness calldata witness, bytes calldata signature)
        external
        once
    {
        if (amount > permit.permitted.amount) revert AmountExceedsPermitted();
        if (msg.sender != witness.facilitator) revert UnauthorizedFacilitator();
        _settle(permit, amount, owner, witness, signature);
        emit Settled();
    }

    function settleWithPermit(
        TokenPermit calldata p,
        Permit calldata permit,
        uint256 amount,
        address owner,
        Witness calldata witness,
        bytes calldata signature
    ) external once {
        if (amount > permit.permitted.amount) revert AmountExceedsPermitted();
        if (msg.sender != witness.facilitator) revert UnauthorizedFacilitator();
        if (p.value != permit.permitted.amount) revert Permit2612AmountMismatch();
        address token = permit.permitted.token;
        try ITokenPermit(token).permit(owner, PERMIT2, p.value, p.deadline, p.v, p.r, p.s) {}
        catch Error(string memory reason) {
            emit EIP2612PermitFailedWithReason(token, owner, reason);
        } catch (bytes memory data) {
            emit EIP2612PermitFailedWithData(token, owner, data);
        }
        _settle(permit, amount, owner, witness, signature);
        emit SettledWithPermit();
    }

    function _settle(Permit calldata permit, uint256 amount, address owner, Witness calldata witness, bytes calldata signature)
        private
    {
        if (amount == 0) revert InvalidAmount();
        if (owner == address(0)) revert InvalidOwner();
        if (witness.to == address(0)) revert InvalidDestination();
        if (block.timestamp < witness.validAfter) revert PaymentTooEarly();
        ISignatureTransfer(PERMIT2)
            .permitWitnessTransferFrom(
                permit,
                ISignatureTransfer.Details({to: witness.to, requestedAmount: amount}),
                owner,
                keccak256(abi.encode(WITNESS_TYPEHASH, witness)),
                WITNESS_TYPE_STRING,
                signature
            );
    }
}
