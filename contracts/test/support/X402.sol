// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {DevExactProxy} from "../../src/dev/DevExactProxy.sol";
import {DevUptoProxy} from "../../src/dev/DevUptoProxy.sol";
import {Base} from "./Base.sol";
import {BatchStandIn} from "./BatchStandIn.sol";

/// The contracts of others that payments go through, at the addresses that they have on every chain. Permit2 is the real one, compiled
/// from its npm package. x402's three are in no package: if their deployed code (0x hex, as eth_getCode answers) is in cache/deployed/ as
/// exact.hex, upto.hex and batch.hex the tests run against that, and otherwise against stand-ins of ours. README.md says what they were last
/// run against.
abstract contract X402 is Base {
    address internal constant PERMIT2 = 0x000000000022D473030F116dDEE9F6B43aC78BA3;
    address internal constant EXACT = 0x402085c248EeA27D92E8b30b2C58ed07f9E20001;
    address internal constant UPTO = 0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002;
    address internal constant BATCH = 0x4020074e9dF2ce1deE5A9C1b5c3f541D02a10003;

    /// Made with `new`, not by `type().runtimeCode`: of a contract in src/ that is as old as the last compilation of the test.
    function placeX402() internal {
        vm.etch(PERMIT2, realPermit2());
        _place(EXACT, "cache/deployed/exact.hex", address(new DevExactProxy()).code);
        _place(UPTO, "cache/deployed/upto.hex", address(new DevUptoProxy()).code);
        _place(BATCH, "cache/deployed/batch.hex", type(BatchStandIn).runtimeCode);
    }

    function realPermit2() internal view returns (bytes memory) {
        return vm.parseJsonBytes(vm.readFile("cache/permit2.json"), ".runtime");
    }

    function _place(address target, string memory deployed, bytes memory standIn) private {
        vm.etch(target, vm.exists(deployed) ? vm.parseBytes(vm.readFile(deployed)) : standIn);
    }
}
