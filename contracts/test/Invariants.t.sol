// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {KeyStatus} from "../src/KeyState.sol";
import {Checkpoint} from "../src/Types.sol";
import {IProofs} from "../src/interfaces/IProofs.sol";
import {Fixture} from "./support/Fixture.sol";
import {Logged} from "./support/Logged.sol";
import {RefTree} from "./support/RefTree.sol";

/// One honest log, one enclave key that also signs lies, a host that sends anything in any order, an operator, and a clock.
contract Handler is Logged {
    /// A tree that this chain saw, at the time it saw it.
    struct Seen {
        uint64 size;
        bytes32 root;
        uint64 seenAt;
    }

    /// What was proven once.
    struct Proof {
        uint256 entry;
        uint64 size;
        /// Zero for an observation.
        uint64 anchoredAt;
        uint64 seenAt;
    }

    Seen[] public anchors;
    Seen[] public observations;
    Proof[] private proofs;
    Entry[] private entries;
    uint256 public liesAccepted;
    /// What of a key's state changed as it must not.
    string public broken;

    /// Compares the key's state before an act with that after it.
    modifier watched() {
        KeyStatus memory before = registry.stateOf(kSig);
        _;
        KeyStatus memory now_ = registry.stateOf(kSig);
        if (now_.validUntil < before.validUntil) broken = "validUntil was lowered";
        if (before.invalidFrom != 0 && now_.invalidFrom != before.invalidFrom) broken = "the retirement changed";
        if (before.revokedAt != 0 && now_.revokedAt != before.revokedAt) broken = "the revocation changed";
        if (before.forked && !now_.forked) broken = "the fork was forgotten";
        if (now_.lastSize < before.lastSize) broken = "the last size was lowered";
        if (now_.registeredBlock != before.registeredBlock) broken = "the registration moved";
    }

    constructor() {
        setUp();
        registerGood(ENCLAVE_KEY);
        policyId = goodPolicy();
        fill(ENCLAVE_KEY, 4);
    }

    /// Logs an answer of about now, and what else happened.
    function grow(uint256 count, uint256 offset) external watched {
        if (90 < logSize(ENCLAVE_KEY)) return;
        uint64 finished = uint64(bound(offset, block.timestamp - 2 hours, block.timestamp + 110));
        if (entries.length < 24) entries.push(append(ENCLAVE_KEY, receiptOf(ENCLAVE_KEY, finished * 1000)));
        fill(ENCLAVE_KEY, count % 9);
    }

    function anchorHonestly(uint256 size) external watched {
        uint64 last = lastOf[kSig].size;
        if (last >= logSize(ENCLAVE_KEY) || registry.stateOf(kSig).revokedAt != 0) return;
        uint64 n = uint64(bound(size, last + 1, logSize(ENCLAVE_KEY)));
        bytes32 root = logRoot(ENCLAVE_KEY, n);
        anchorTree(ENCLAVE_KEY, n, root, logProof(ENCLAVE_KEY, n));
        anchors.push(Seen(n, root, uint64(block.timestamp)));
    }

    /// A tree of the honest log, or one that the key lies about: an observation says no more than who signed it by when.
    function observe(uint256 size, bool honest) external watched {
        uint64 n = uint64(bound(size, 1, logSize(ENCLAVE_KEY)));
        bytes32 root = honest ? logRoot(ENCLAVE_KEY, n) : keccak256(abi.encode("lie", n));
        bool again = registry.observed(kSig, n, root) != 0;
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, n, root);
        registry.observe(recordOf(kSig), words, signature);
        if (!again) observations.push(Seen(n, root, uint64(block.timestamp)));
    }

    /// K_sig signs a checkpoint of another history, with that history's own proof.
    function anchorAFork(uint256 size, uint256 changed) external watched {
        uint64 last = lastOf[kSig].size;
        if (last == 0) return;
        size = bound(size, 1, logSize(ENCLAVE_KEY));
        bytes32[] memory forked = logLeaves(ENCLAVE_KEY);
        forked[changed % (size < last ? size : last)] = "another answer";
        lie(size, RefTree.root(forked, 0, size), size <= last ? new bytes32[](0) : RefTree.proof(last, forked, size));
    }

    /// An older or equal size, with its true root or without.
    function anchorBackwards(uint256 size, bytes32 root) external watched {
        uint64 last = lastOf[kSig].size;
        if (last == 0) return;
        size = bound(size, 0, last);
        lie(size, size % 2 == 0 ? root : RefTree.root(logLeaves(ENCLAVE_KEY), 0, size), new bytes32[](0));
    }

    /// A receipt that stands in no log, with the path of one that does.
    function proveALie(uint256 which, uint256 charged, bool acceptsObservation) external watched {
        if (entries.length == 0 || lastOf[kSig].size <= entries[which % entries.length].index) return;
        IProofs.ReceiptProof memory c = proofOf(entries[which % entries.length], policyId);
        c.receipt.money.charged = bound(charged, 101, type(uint128).max);
        c.signature = sign(ENCLAVE_KEY, harness.receipt(c.receipt));
        c.acceptsObservation = acceptsObservation;
        try registry.prove(c) {
            ++liesAccepted;
        } catch {}
    }

    function reportFork(uint256 size, uint256 chance) external watched {
        if (chance % 16 != 7) return;
        (Checkpoint memory a, bytes memory signatureA) = checkpoint(ENCLAVE_KEY, uint64(bound(size, 1, 1000)), "one");
        (Checkpoint memory b, bytes memory signatureB) = checkpoint(ENCLAVE_KEY, a.size, "another");
        registry.reportFork(recordOf(kSig), a, signatureA, b, signatureB);
    }

    function wait(uint256 time) external watched {
        pass(bound(time, 1, 3 hours));
    }

    /// With a document of any age, so that most raise nothing or are refused.
    function renew(uint256 age) external watched {
        uint64 time = uint64(block.timestamp);
        renewWith(kSig, uint64(age % 2 == 0 ? time - 10 : bound(age, time - 8 days, time + 180)));
    }

    /// Rarely, because it is near the end.
    function retire(uint256 chance) external watched {
        if (chance % 64 != 7) return;
        vm.prank(operator);
        registry.retire(recordOf(kSig));
    }

    /// More rarely, because it is the end.
    function revoke(uint256 chance) external watched {
        if (chance % 128 != 7) return;
        vm.prank(operator);
        registry.revoke(recordOf(kSig));
    }

    /// Proves a receipt under one of the anchored or observed trees, and remembers it if that is taken.
    function prove(uint256 which, uint256 tree, bool byAnchor) external watched {
        if (proofs.length == 32 || entries.length == 0 || (byAnchor ? anchors.length : observations.length) == 0) return;
        which = which % entries.length;
        Seen memory seen = byAnchor ? anchors[tree % anchors.length] : observations[tree % observations.length];
        if (seen.size <= entries[which].index) return;
        Proof memory proof = Proof(which, seen.size, byAnchor ? seen.seenAt : 0, seen.seenAt);
        try registry.prove(claimTo(proof)) {
            proofs.push(proof);
        } catch {}
    }

    function claimTo(Proof memory proof) private view returns (IProofs.ReceiptProof memory) {
        Entry memory entry = entries[proof.entry];
        if (proof.anchoredAt == 0) return observedIn(entry, proof.size, policyId);
        return proofIn(entry, proof.size, proof.anchoredAt, policyId);
    }

    function lie(uint256 size, bytes32 root, bytes32[] memory proof) private {
        Last memory last = lastOf[kSig];
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, uint64(size), root);
        try registry.anchor(recordOf(kSig), words, signature, last.root, last.anchoredAt, proof) {
            ++liesAccepted;
        } catch {}
    }

    // Read by the invariants.

    function checkAnchors() external view {
        uint64 size = 0;
        for (uint256 i = 0; i < anchors.length; ++i) {
            Seen memory seen = anchors[i];
            assertTrue(registry.anchored(kSig, seen.size, seen.root, seen.seenAt), "an anchor is gone");
            assertTrue(seen.root == logRoot(ENCLAVE_KEY, seen.size), "a root of no honest tree");
            assertTrue(size < seen.size, "sizes grow");
            size = seen.size;
        }
        assertEq(registry.stateOf(kSig).lastSize, size);
    }

    function checkObservations() external view {
        for (uint256 i = 0; i < observations.length; ++i) {
            Seen memory seen = observations[i];
            assertEq(registry.observed(kSig, seen.size, seen.root), seen.seenAt);
        }
    }

    /// A revocation takes back what this chain saw in its own second, and nothing before.
    function checkProofs() external view {
        uint64 revokedAt = registry.stateOf(kSig).revokedAt;
        for (uint256 i = 0; i < proofs.length; ++i) {
            if (revokedAt != 0 && revokedAt == proofs[i].seenAt) continue;
            assertEq(registry.prove(claimTo(proofs[i])).seenAt, proofs[i].seenAt);
        }
    }
}

contract InvariantsTest is Fixture {
    Handler private handler;

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    function setUp() public override {
        handler = new Handler();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    /// The acts that make something to look at stand twice.
    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[] memory selectors = new bytes4[](15);
        selectors[0] = Handler.grow.selector;
        selectors[1] = Handler.grow.selector;
        selectors[2] = Handler.anchorHonestly.selector;
        selectors[3] = Handler.anchorHonestly.selector;
        selectors[4] = Handler.observe.selector;
        selectors[5] = Handler.anchorAFork.selector;
        selectors[6] = Handler.anchorBackwards.selector;
        selectors[7] = Handler.proveALie.selector;
        selectors[8] = Handler.reportFork.selector;
        selectors[9] = Handler.wait.selector;
        selectors[10] = Handler.renew.selector;
        selectors[11] = Handler.retire.selector;
        selectors[12] = Handler.revoke.selector;
        selectors[13] = Handler.prove.selector;
        selectors[14] = Handler.prove.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), selectors);
    }

    /// CHAIN-01: what is anchored stays, sizes grow, and every anchored root is one of the honest log.
    function invariant_anchoredHistoryIsNeverRewritten() public view {
        handler.checkAnchors();
    }

    function invariant_liesAreNeverAccepted() public view {
        assertEq(handler.liesAccepted(), 0);
    }

    function invariant_theTimeOfAnObservationNeverChanges() public view {
        handler.checkObservations();
    }

    /// validUntil is never lowered; retired, revoked and forked are for good; sizes only grow.
    function invariant_whatWasSaidOfAKeyStands() public view {
        assertTrue(bytes(handler.broken()).length == 0, handler.broken());
    }

    /// Nothing that anyone does makes a proven receipt unprovable, but a revocation in the second that its tree was seen in.
    function invariant_aProvenReceiptStaysProven() public view {
        handler.checkProofs();
    }
}
