// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IForwarderFactory} from "../interfaces/IForwarderFactory.sol";
import {IPayeeForwarder} from "../interfaces/IPayeeForwarder.sol";
import {Clone} from "../lib/Clone.sol";
import {PayeeForwarder} from "./PayeeForwarder.sol";

contract ForwarderFactory is IForwarderFactory {
    /// @inheritdoc IForwarderFactory
    address public immutable implementation = address(new PayeeForwarder());

    /// @inheritdoc IForwarderFactory
    function sweep(address payee, address token) external returns (uint256 amount) {
        return deploy(payee).sweep(token);
    }

    /// @inheritdoc IForwarderFactory
    function deploy(address payee) public returns (IPayeeForwarder) {
        if (payee == address(0)) revert ZeroPayee();
        return IPayeeForwarder(Clone.deploy(implementation, abi.encodePacked(payee)));
    }

    /// @inheritdoc IForwarderFactory
    function forwarderOf(address payee) external view returns (address) {
        return Clone.addressOf(implementation, abi.encodePacked(payee));
    }
}
