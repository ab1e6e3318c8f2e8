// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Half, ReceiptWords} from "../src/Types.sol";
import {Digests} from "../src/lib/Digests.sol";
import {Base} from "./support/Base.sol";
import {MoneyHarness} from "./support/MoneyHarness.sol";

/// vectors/*.json as the contracts about money read them. A missing file, an empty list or a missing key is a failure.
contract MoneyVectorsTest is Base {
    MoneyHarness private harness = new MoneyHarness();

    /// A receipt that shows its money only is the same receipt.
    function test_vectors_receiptAsAHalf() public view {
        string memory json = vm.readFile("../vectors/receipt.json");
        uint256 count;
        for (; vm.keyExistsJson(json, place(".cases", count, "")); ++count) {
            ReceiptWords memory receipt = abi.decode(vm.parseJsonBytes(json, place(".cases", count, ".encoded")), (ReceiptWords));
            Half memory half = Half({
                version: receipt.version,
                manifestHash: receipt.manifestHash,
                logId: receipt.logId,
                sequence: receipt.sequence,
                money: receipt.money,
                workHash: vm.parseJsonBytes32(json, place(".cases", count, ".workHash"))
            });
            assertEq(abi.encode(half).length, 17 * 32);
            assertEq(harness.half(half), harness.receipt(receipt), "half");
            assertEq(harness.half(half), vm.parseJsonBytes32(json, place(".cases", count, ".digest")), "digest");
        }
        assertTrue(count != 0, "no cases");
    }

    function test_vectors_channelAuthorization() public view {
        assertTrue(channelAuthorizations(".cases", true) != 0, "no cases");
    }

    function test_vectors_channelAuthorization_rejects() public view {
        assertTrue(channelAuthorizations(".rejects", false) != 0, "no rejects");
    }

    /// The form is the one of every payment id: a tag, the chain, and what is spent.
    function test_permit2Id_isOfTheSameFormAsTheOthers() public view {
        bytes32 tag = keccak256("candor/payment/permit2/1");
        bytes32 expected = keccak256(abi.encode(tag, uint256(31337), address(0x22), address(0x9a7e4), uint256(7)));
        assertEq(harness.permit2Id(31337, address(0x22), address(0x9a7e4), 7), expected);
        assertEq(Digests.PERMIT2_TAG, tag);
    }

    function channelAuthorizations(string memory list, bool good) private view returns (uint256 count) {
        string memory json = vm.readFile("../vectors/channel-authorization.json");
        for (; vm.keyExistsJson(json, place(list, count, "")); ++count) {
            bytes32 digest = harness.channelAuthorization(
                vm.parseJsonUint(json, place(list, count, ".chainId")),
                vm.parseJsonAddress(json, place(list, count, ".authorizer")),
                vm.parseJsonBytes32(json, place(list, count, ".signed"))
            );
            bool same = digest == vm.parseJsonBytes32(json, place(list, count, ".digest"));
            bool signed = harness.isSignedBy(
                vm.parseJsonAddress(json, place(list, count, ".signer")),
                digest,
                vm.parseJsonBytes(json, place(list, count, ".signature"))
            );
            assertTrue(signed == good && (same || !good), "a case");
        }
    }

    function place(string memory list, uint256 index, string memory key) private pure returns (string memory) {
        return string.concat(list, "[", vm.toString(index), "]", key);
    }
}
