// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IUptoProxy} from "../interfaces/IUptoProxy.sol";
import {DevProxy} from "./DevProxy.sol";
import {PERMIT2_ADDRESS} from "./ISignatureTransfer.sol";

/// @title A stand-in for x402's `upto` proxy (x402UptoPermit2Proxy) on development chains.
/// @notice Selectors, order of checks, errors and events are those of the deployed one: only `witness.facilitator` may settle, and says how
/// much of the maximum. Elsewhere the deployed one is used.
/// @dev Nobody owns it. It asks Permit2 at its canonical address, and works at any address itself; payers sign for its own address.
contract DevUptoProxy is IUptoProxy, DevProxy {
    address public constant PERMIT2 = PERMIT2_ADDRESS;
    string public constant WITNESS_TYPE_STRING =
        "Witness witness)TokenPermissions(address token,uint256 amount)Witness(address to,address facilitator,uint256 validAfter)";
    bytes32 public constant WITNESS_TYPEHASH = keccak256("Witness(address to,address facilitator,uint256 validAfter)");

    error AmountExceedsPermitted();
    error UnauthorizedFacilitator();

    /// @inheritdoc IUptoProxy
    function settle(Permit calldata permit, uint256 amount, address owner, Witness calldata witness, bytes calldata signature)
        external
        once
    {
        _check(permit, amount, witness);
        _settle(permit, amount, owner, witness, signature);
        // slither-disable-next-line reentrancy-events: nothing is kept but the lock, which is held
        emit Settled();
    }

    /// @inheritdoc IUptoProxy
    function settleWithPermit(
        TokenPermit calldata tokenPermit,
        Permit calldata permit,
        uint256 amount,
        address owner,
        Witness calldata witness,
        bytes calldata signature
    ) external once {
        _check(permit, amount, witness);
        _permitToken(tokenPermit, permit.permitted, owner);
        _settle(permit, amount, owner, witness, signature);
        emit SettledWithPermit();
    }

    function _check(Permit calldata permit, uint256 amount, Witness calldata witness) private view {
        if (amount > permit.permitted.amount) revert AmountExceedsPermitted();
        if (msg.sender != witness.facilitator) revert UnauthorizedFacilitator();
    }

    function _settle(Permit calldata permit, uint256 amount, address owner, Witness calldata witness, bytes calldata signature)
        private
    {
        bytes32 witnessHash = keccak256(abi.encode(WITNESS_TYPEHASH, witness));
        _pay(permit, amount, owner, witness.to, witness.validAfter, witnessHash, WITNESS_TYPE_STRING, signature);
    }
}
