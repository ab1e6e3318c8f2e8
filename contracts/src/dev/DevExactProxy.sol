// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IUptoProxy} from "../interfaces/IUptoProxy.sol";
import {DevProxy} from "./DevProxy.sol";
import {PERMIT2_ADDRESS} from "./ISignatureTransfer.sol";

/// @title A stand-in for x402's `exact` proxy for Permit2 (x402ExactPermit2Proxy) on development chains.
/// @notice Selectors, order of checks, errors and events are those of the deployed one: anybody may settle, and it moves all that is
/// permitted, to `witness.to`. Elsewhere the deployed one is used.
/// @dev Nobody owns it. It asks Permit2 at its canonical address, and works at any address itself; payers sign for its own address.
contract DevExactProxy is DevProxy {
    struct ExactWitness {
        address to;
        /// Unix seconds, the first good one.
        uint256 validAfter;
    }

    address public constant PERMIT2 = PERMIT2_ADDRESS;
    string public constant WITNESS_TYPE_STRING =
        "Witness witness)TokenPermissions(address token,uint256 amount)Witness(address to,uint256 validAfter)";
    bytes32 public constant WITNESS_TYPEHASH = keccak256("Witness(address to,uint256 validAfter)");

    function settle(IUptoProxy.Permit calldata permit, address owner, ExactWitness calldata witness, bytes calldata signature)
        external
        once
    {
        _settle(permit, owner, witness, signature);
        // slither-disable-next-line reentrancy-events: nothing is kept but the lock, which is held
        emit Settled();
    }

    function settleWithPermit(
        IUptoProxy.TokenPermit calldata tokenPermit,
        IUptoProxy.Permit calldata permit,
        address owner,
        ExactWitness calldata witness,
        bytes calldata signature
    ) external once {
        _permitToken(tokenPermit, permit.permitted, owner);
        _settle(permit, owner, witness, signature);
        emit SettledWithPermit();
    }

    function _settle(IUptoProxy.Permit calldata permit, address owner, ExactWitness calldata witness, bytes calldata signature)
        private
    {
        bytes32 witnessHash = keccak256(abi.encode(WITNESS_TYPEHASH, witness));
        _pay(permit, permit.permitted.amount, owner, witness.to, witness.validAfter, witnessHash, WITNESS_TYPE_STRING, signature);
    }
}
