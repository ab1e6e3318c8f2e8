// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {PolicyId} from "../Types.sol";
import {IAuthorizerFactory} from "../interfaces/IAuthorizerFactory.sol";
import {IEnclaveAuthorizer} from "../interfaces/IEnclaveAuthorizer.sol";
import {Clone} from "../lib/Clone.sol";
import {EnclaveAuthorizer} from "./EnclaveAuthorizer.sol";

contract AuthorizerFactory is IAuthorizerFactory {
    /// @inheritdoc IAuthorizerFactory
    address public immutable implementation = address(new EnclaveAuthorizer());

    /// @inheritdoc IAuthorizerFactory
    function deploy(address registry, address operator, PolicyId policyId) external returns (IEnclaveAuthorizer) {
        return IEnclaveAuthorizer(Clone.deploy(implementation, abi.encodePacked(registry, operator, policyId)));
    }

    /// @inheritdoc IAuthorizerFactory
    function authorizerOf(address registry, address operator, PolicyId policyId) external view returns (address) {
        return Clone.addressOf(implementation, abi.encodePacked(registry, operator, policyId));
    }
}
