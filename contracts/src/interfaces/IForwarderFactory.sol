// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IPayeeForwarder} from "./IPayeeForwarder.sol";

/// @title Makes the forwarder of each payee. Nobody owns it.
interface IForwarderFactory {
    error ZeroPayee();

    /// @notice Sweeps one token of this payee's forwarder, which is made at its first use.
    function sweep(address payee, address token) external returns (uint256 amount);

    /// @notice Makes the forwarder of this payee, unless it is there.
    function deploy(address payee) external returns (IPayeeForwarder);

    /// @notice The forwarder of this payee, whether it is there yet or not.
    function forwarderOf(address payee) external view returns (address);

    /// @notice What the forwarders are clones of.
    function implementation() external view returns (address);
}
