// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IPayeeForwarder} from "../interfaces/IPayeeForwarder.sol";
import {IToken} from "../interfaces/IToken.sol";
import {Clone} from "../lib/Clone.sol";

/// @dev The implementation behind each forwarder; made by ForwarderFactory. A clone's arguments: the payee (20 bytes).
contract PayeeForwarder is IPayeeForwarder {
    uint256 private constant ARGUMENTS = 20;

    /// @inheritdoc IPayeeForwarder
    /// @dev Whoever calls picks the token, pays for what it burns, and gains nothing: the two calls have fixed selectors, and the second
    /// says the payee. There is no state that a token could find half changed.
    function sweep(address token) external returns (uint256 amount) {
        address to = payee();
        if (token.code.length == 0) revert NotAToken(token);
        amount = IToken(token).balanceOf(address(this));
        // slither-disable-next-line incorrect-equality: nobody gains by sending a token here so that there is one to sweep
        if (amount == 0) return 0;
        (bool ok, bytes memory answer) = token.call(abi.encodeCall(IToken.transfer, (to, amount)));
        if (!ok) revert TransferFailed(token, answer);
        // Some tokens return nothing; one that returns anything must return true.
        // slither-disable-next-line incorrect-equality: the length of what a token says, not a balance
        bool agreed = answer.length == 0 || (answer.length >= 32 && bytes32(answer) == bytes32(uint256(1)));
        if (!agreed) revert TransferRefused(token, answer);
        // slither-disable-next-line reentrancy-events: there is no state; a token that calls back sweeps itself
        emit Swept(token, amount);
    }

    /// @inheritdoc IPayeeForwarder
    function payee() public view returns (address) {
        return address(bytes20(Clone.argument(ARGUMENTS, 0)));
    }
}
