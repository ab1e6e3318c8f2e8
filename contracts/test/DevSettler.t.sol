// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {DevPermit2} from "../src/dev/DevPermit2.sol";
import {DevUptoProxy} from "../src/dev/DevUptoProxy.sol";
import {SettlerTest} from "./Settler.t.sol";
import {SettlerFactoryTest} from "./SettlerFactory.t.sol";

/// Everything that is said of a settler, with what a development chain has in the place of Permit2 and the proxy.
contract DevSettlerTest is SettlerTest {
    function setUp() public override {
        super.setUp();
        vm.etch(PERMIT2, address(new DevPermit2()).code);
        vm.etch(UPTO, address(new DevUptoProxy()).code);
    }
}

/// And of the factory.
contract DevSettlerFactoryTest is SettlerFactoryTest {
    function setUp() public override {
        super.setUp();
        vm.etch(PERMIT2, address(new DevPermit2()).code);
        vm.etch(UPTO, address(new DevUptoProxy()).code);
    }
}
