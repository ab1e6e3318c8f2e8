// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Checkpoint, LogId} from "../src/Types.sol";
import {IEnclaveRegistry} from "../src/interfaces/IEnclaveRegistry.sol";
import {Fixture} from "./support/Fixture.sol";
import {RefTree} from "./support/RefTree.sol";

/// One honest log, one enclave key that also signs lies, a host that sends anything in any order, and a clock.
contract Handler is Fixture {
    struct Seen {
        uint64 size;
        bytes32 root;
        uint64 anchoredAt;
    }

    struct Asked {
        uint64 time;
        IEnclaveRegistry.Status status;
    }

    // What the chain said, at the time it said it.
    Seen[] public seen;
    Asked[] public asked;
    uint256 public lies;
    uint256 public liesAccepted;

    bytes32[] private leaves;
    LogId public logId;

    constructor() {
        setUp();
        logId = registerGood(ENCLAVE_KEY);
        for (uint256 i = 0; i < 4; ++i) {
            leaves.push(leaf(i));
        }
    }

    function grow(uint256 count) external {
        count = bound(count, 1, 9);
        for (uint256 i = 0; i < count && leaves.length < 90; ++i) {
            leaves.push(leaf(leaves.length));
        }
    }

    function anchorHonestly(uint256 size) external {
        (uint64 last,,) = anchors.latest(logId);
        if (last >= leaves.length) return;
        size = bound(size, last + 1, leaves.length);
        anchorLeaves(ENCLAVE_KEY, leaves, uint64(size));
        seen.push(Seen(uint64(size), RefTree.root(leaves, 0, size), uint64(block.timestamp)));
    }

    /// K_sig signs a checkpoint of another history, with that history's own proof.
    function anchorAFork(uint256 size, uint256 changed) external {
        (uint64 last,,) = anchors.latest(logId);
        if (last == 0) return;
        size = bound(size, 1, leaves.length);
        bytes32[] memory forked = leaves;
        forked[changed % (size < last ? size : last)] = "another answer";
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, uint64(size), RefTree.root(forked, 0, size));
        bytes32[] memory proof = size <= last ? new bytes32[](0) : RefTree.proof(last, forked, size);
        lie(words, signature, proof);
    }

    /// An older or equal size, with its true root or without.
    function anchorBackwards(uint256 size, bytes32 root) external {
        (uint64 last,,) = anchors.latest(logId);
        if (last == 0) return;
        size = bound(size, 0, last);
        (Checkpoint memory words, bytes memory signature) =
            checkpoint(ENCLAVE_KEY, uint64(size), size % 2 == 0 ? root : RefTree.root(leaves, 0, size));
        lie(words, signature, new bytes32[](0));
    }

    function wait(uint256 time) external {
        pass(bound(time, 1, 3 hours));
    }

    function renew() external {
        renewGood(kSig);
    }

    /// Rarely, because it is the end.
    function retire(uint256 chance) external {
        if (chance % 64 != 7) return;
        vm.prank(operator);
        registry.retire(kSig);
    }

    /// Asks where the key stood at a time that has passed.
    function ask(uint256 time) external {
        if (asked.length == 40) return;
        uint64 past = uint64(bound(time, START - 60, block.timestamp - 1));
        asked.push(Asked(past, registry.statusAt(kSig, past)));
    }

    function lie(Checkpoint memory words, bytes memory signature, bytes32[] memory proof) private {
        ++lies;
        try anchors.anchor(words, signature, proof) {
            ++liesAccepted;
        } catch {}
    }

    function leaf(uint256 i) private pure returns (bytes32) {
        return RefTree.leafHash(keccak256(abi.encode("receipt", i)));
    }

    // Read by the invariants.

    function checkHistory() external view {
        uint64 size = 0;
        for (uint256 i = 0; i < seen.length; ++i) {
            (bytes32 root, uint64 anchoredAt) = anchors.rootAt(logId, seen[i].size);
            assertEq(root, seen[i].root);
            assertEq(anchoredAt, seen[i].anchoredAt);
            assertTrue(size < seen[i].size, "sizes grow");
            size = seen[i].size;
        }
        (uint64 last,,) = anchors.latest(logId);
        assertEq(last, size);
        for (uint64 s = 0; s <= leaves.length; ++s) {
            (bytes32 root,) = anchors.rootAt(logId, s);
            assertTrue(root == 0 || root == RefTree.root(leaves, 0, s), "a root of no honest tree");
        }
    }

    function checkTimeline() external view {
        for (uint256 i = 0; i < asked.length; ++i) {
            assertEq(uint256(registry.statusAt(kSig, asked[i].time)), uint256(asked[i].status));
        }
    }
}

contract InvariantsTest is Fixture {
    Handler private handler;

    function setUp() public override {
        handler = new Handler();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[] memory selectors = new bytes4[](8);
        selectors[0] = Handler.grow.selector;
        selectors[1] = Handler.anchorHonestly.selector;
        selectors[2] = Handler.anchorAFork.selector;
        selectors[3] = Handler.anchorBackwards.selector;
        selectors[4] = Handler.wait.selector;
        selectors[5] = Handler.renew.selector;
        selectors[6] = Handler.retire.selector;
        selectors[7] = Handler.ask.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), selectors);
    }

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    /// CHAIN-01: what is anchored stays, sizes grow, and every anchored root is one of the honest log.
    function invariant_anchoredHistoryIsNeverRewritten() public view {
        handler.checkHistory();
        assertEq(handler.liesAccepted(), 0);
    }

    /// CHAIN-05: the answer about a time that has passed never changes.
    function invariant_statusOfThePastNeverChanges() public view {
        handler.checkTimeline();
    }
}
