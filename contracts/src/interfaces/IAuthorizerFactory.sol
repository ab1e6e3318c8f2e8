// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {PolicyId} from "../Types.sol";
import {IEnclaveAuthorizer} from "./IEnclaveAuthorizer.sol";

/// @title Makes the authorizer of each (registry, operator, policy). Nobody owns it.
interface IAuthorizerFactory {
    /// @notice Makes this authorizer, unless it is there. Nothing is asked of its three words.
    function deploy(address registry, address operator, PolicyId policyId) external returns (IEnclaveAuthorizer);

    /// @notice This authorizer, whether it is there yet or not.
    function authorizerOf(address registry, address operator, PolicyId policyId) external view returns (address);

    /// @notice What the authorizers are clones of.
    function implementation() external view returns (address);
}
