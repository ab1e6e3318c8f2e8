// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Checkpoint, ListedId, LogId, PolicyId, ReceiptWords, Record, WorkloadId} from "../src/Types.sol";
import {IAnchors} from "../src/interfaces/IAnchors.sol";
import {IKeys} from "../src/interfaces/IKeys.sol";
import {IProofs} from "../src/interfaces/IProofs.sol";
import {IWorkloadPolicy} from "../src/interfaces/IWorkloadPolicy.sol";
import {Merkle9162} from "../src/lib/Merkle9162.sol";
import {Signatures} from "../src/lib/Signatures.sol";
import {Logged} from "./support/Logged.sol";
import {RefTree} from "./support/RefTree.sol";

/// What `prove` refuses, by name, and the nearest proof that it takes. Money is in Money.t.sol, the time rule in Time.t.sol.
contract ProofsTest is Logged {
    uint256 private constant OTHER_KEY = 0x07e4;

    function setUp() public override {
        super.setUp();
        registerGood(ENCLAVE_KEY);
        policyId = goodPolicy();
        pass(600);
    }

    // What is proven.

    function test_prove_saysWhatItProved() public {
        ReceiptWords memory receipt = goodReceipt();
        receipt.work.outcome = 3;
        receipt.work.finishedAt = (START + 599) * 1000 + 999;
        IProofs.ReceiptProof memory c = anchored(receipt);
        pass(60);
        IProofs.Proven memory p = registry.prove(c);
        assertEq(p.receiptDigest, harness.receipt(c.receipt), "receiptDigest");
        assertEq(bytes32(uint256(uint160(p.kSig))), bytes32(uint256(uint160(kSig))), "kSig");
        assertEq(bytes32(uint256(uint160(p.operator))), bytes32(uint256(uint160(operator))), "operator");
        ListedId listed = harness.listedId(address(quorum), address(quorum).codehash, workloadId());
        assertEq(ListedId.unwrap(p.listedId), ListedId.unwrap(listed), "listedId");
        assertEq(bytes32(uint256(p.kinds)), bytes32(uint256(5)), "kinds");
        assertEq(bytes32(uint256(p.outcome)), bytes32(uint256(3)), "outcome");
        assertEq(p.modelId, keccak256("model"), "modelId");
        assertEq(bytes32(uint256(p.finished)), bytes32(uint256(START + 599)), "finished");
        assertEq(bytes32(uint256(p.seenAt)), bytes32(uint256(START + 600)), "seenAt");
        assertTrue(p.inSequence, "inSequence");
        assertEq(keccak256(abi.encode(p.money)), keccak256(abi.encode(c.receipt.money)), "money");
    }

    function test_receiptDigest_isTheDigestThatIsProven() public {
        IProofs.ReceiptProof memory c = anchored(goodReceipt());
        assertEq(registry.receiptDigest(c.receipt), registry.prove(c).receiptDigest);
    }

    function test_policies_areThoseOfTheConstructor() public view {
        assertEq(address(registry.policies()), address(policies));
    }

    /// Anyone may prove, also what was proven before: a caller that pays out must remember the digest.
    function test_prove_doesNotRemember() public {
        IProofs.ReceiptProof memory c = anchored(goodReceipt());
        vm.prank(vm.addr(STRANGER_KEY));
        bytes32 first = registry.prove(c).receiptDigest;
        assertEq(registry.prove(c).receiptDigest, first);
    }

    function test_prove_worksUnderEachAnchorThatHoldsTheReceipt() public {
        Entry memory entry = logged(goodReceipt());
        pass(1 days);
        fill(ENCLAVE_KEY, 19);
        anchorLog(ENCLAVE_KEY);
        assertEq(registry.prove(proofOf(entry, policyId)).seenAt, START + 600 + 1 days);
        assertEq(registry.prove(proofIn(entry, SIZE, START + 600, policyId)).seenAt, START + 600);
    }

    function testFuzz_prove_anywhereInAnyTree(uint64 size, uint64 sequence) public {
        size = uint64(bound(size, 1, 60));
        sequence = sequence % size;
        fill(ENCLAVE_KEY, sequence);
        Entry memory entry = append(ENCLAVE_KEY, goodReceipt());
        fill(ENCLAVE_KEY, size - sequence - 1);
        anchorLog(ENCLAVE_KEY);
        assertTrue(registry.prove(proofOf(entry, policyId)).inSequence, "proven");
    }

    // Receipt, signature, record.

    function test_prove_revertsIfVersionIsUnknown() public {
        ReceiptWords memory receipt = goodReceipt();
        receipt.version = 1;
        refused(anchored(receipt), err(IProofs.UnsupportedVersion.selector, 2, 1));
        receipt.version = 3;
        refused(anchored(receipt), err(IProofs.UnsupportedVersion.selector, 2, 3));
        receipt.version = 2;
        registry.prove(anchored(receipt));
    }

    function test_prove_revertsIfAnotherKeySigned() public {
        IProofs.ReceiptProof memory c = anchored(goodReceipt());
        c.signature = sign(STRANGER_KEY, harness.receipt(c.receipt));
        refused(c, err(IProofs.NotSignedByTheRecord.selector, kSig, vm.addr(STRANGER_KEY)));
    }

    function test_prove_revertsIfTheRecordIsOfAnotherKey() public {
        IProofs.ReceiptProof memory c = anchored(goodReceipt());
        c.record = registerGood(OTHER_KEY);
        refused(c, err(IProofs.NotSignedByTheRecord.selector, vm.addr(OTHER_KEY), kSig));
        c.record = recordOf(kSig);
        registry.prove(c);
    }

    function test_prove_revertsIfSignatureIsMalleated() public {
        IProofs.ReceiptProof memory c = anchored(goodReceipt());
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(ENCLAVE_KEY, harness.receipt(c.receipt));
        uint256 order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
        uint256 twin = order - uint256(s);
        c.signature = abi.encodePacked(r, twin, uint8(55 - v));
        refused(c, err(Signatures.SignatureHighS.selector, order / 2, twin));
        c.signature = abi.encodePacked(r, s, v);
        registry.prove(c);
    }

    /// The leaf holds the signature, so that one receipt has one leaf: a second signature by the same key is no twin.
    function test_prove_revertsIfSignatureIsNotTheLoggedOne() public {
        IProofs.ReceiptProof memory c = anchored(goodReceipt());
        bytes32 digest = harness.receipt(c.receipt);
        (uint8 v, bytes32 r, bytes32 s) = vm.signWithNonceUnsafe(ENCLAVE_KEY, digest, 12345);
        c.signature = abi.encodePacked(r, s, v);
        assertEq(harness.recover(digest, c.signature), kSig);
        refusedWith(c, IProofs.NotAnchored.selector);
    }

    function test_prove_revertsIfKeyIsNotRegistered() public {
        IProofs.ReceiptProof memory c = anchored(goodReceipt());
        c.record.kSig = vm.addr(STRANGER_KEY);
        c.signature = sign(STRANGER_KEY, harness.receipt(c.receipt));
        refused(c, err(IKeys.NotRegistered.selector, vm.addr(STRANGER_KEY)));
    }

    /// Each word of a record is the registered one, or the proof is refused. Without it a payee, or a verifier, would be the
    /// caller's choice.
    function test_prove_revertsIfAWordOfTheRecordIsAnother() public {
        IProofs.ReceiptProof memory c = anchored(goodReceipt());
        bytes32 expected = registry.recordHash(kSig);
        // The first word is K_sig, which has an error of its own.
        for (uint256 i = 1; i < 10; ++i) {
            uint256[10] memory words = abi.decode(abi.encode(recordOf(kSig)), (uint256[10]));
            words[i] ^= 1;
            c.record = abi.decode(abi.encode(words), (Record));
            refused(c, err(IKeys.WrongRecord.selector, expected, keccak256(abi.encode(c.record))));
        }
        c.record = recordOf(kSig);
        registry.prove(c);
    }

    function test_prove_revertsIfManifestIsAnother() public {
        ReceiptWords memory receipt = goodReceipt();
        bytes32 own = receipt.manifestHash;
        receipt.manifestHash = "another boot";
        refused(anchored(receipt), err(IProofs.WrongManifest.selector, own, bytes32("another boot")));
    }

    function test_prove_revertsIfLogIsAnother() public {
        ReceiptWords memory receipt = goodReceipt();
        LogId own = receipt.logId;
        receipt.logId = LogId.wrap("another log");
        refused(anchored(receipt), err(IProofs.WrongReceiptLog.selector, LogId.unwrap(own), bytes32("another log")));
    }

    /// The words of a receipt are the first 1,088 bytes of a proof. Any bit changed is refused: nobody signed it, or it is out of
    /// its range.
    function testFuzz_prove_revertsIfAnyBitOfTheReceiptIsChanged(uint256 bit) public {
        assertChangeIsRefused(bit % (1088 * 8));
    }

    /// Salt, record, size and time of the anchor; the rest of a proof is what the caller chooses, or lies outside the words in
    /// front.
    function testFuzz_prove_revertsIfAnyBitOfSaltRecordOrAnchorIsChanged(uint256 bit) public {
        assertChangeIsRefused(35 * 256 + bit % (13 * 256));
    }

    function testFuzz_prove_revertsIfAnyBitOfTheSignatureIsChanged(uint256 bit) public {
        IProofs.ReceiptProof memory c = anchored(goodReceipt());
        bit = bit % (65 * 8);
        c.signature[bit / 8] ^= bytes1(uint8(1 << (bit % 8)));
        vm.expectRevert();
        registry.prove(c);
    }

    // Policy.

    /// Registered is not acceptable.
    function test_prove_revertsIfPolicyDoesNotExist() public {
        IProofs.ReceiptProof memory c = anchored(goodReceipt());
        c.policyId = PolicyId.wrap("no such policy");
        refused(c, notAccepted(c.policyId));
        c.policyId = policyId;
        registry.prove(c);
    }

    /// The same measurement, as somebody else's verifier judged it.
    function test_prove_revertsIfAnotherVerifierIsListed() public {
        assertNotListed(harness.listedId(address(0x07e4), address(quorum).codehash, workloadId()));
    }

    /// The verifier's address, with other code than judged the registration.
    function test_prove_revertsIfOtherCodeIsListed() public {
        assertNotListed(harness.listedId(address(quorum), keccak256("other code"), workloadId()));
    }

    function test_prove_revertsIfAnotherWorkloadIsListed() public {
        assertNotListed(harness.listedId(address(quorum), address(quorum).codehash, WorkloadId.wrap("another workload")));
    }

    function test_prove_revertsIfOperatorIsNotListed() public {
        IProofs.ReceiptProof memory c = anchored(goodReceipt());
        c.policyId = policyOf(listedId(), IWorkloadPolicy.OperatorsMode.Listed, address(0x07e4));
        refused(c, notAccepted(c.policyId));
        c.policyId = policyOf(listedId(), IWorkloadPolicy.OperatorsMode.Listed, operator);
        registry.prove(c);
    }

    /// The policy is asked about the second that the enclave says it was finished in, not about the block's.
    function test_prove_revertsIfFinishedWhenTheWorkloadWasDeprecated() public {
        PolicyId owned = ownedPolicy();
        policies.deprecateWorkload(owned, listedId());
        uint64 end = uint64(block.timestamp) + 1 hours;
        pass(1 hours + 60);
        IProofs.ReceiptProof memory late = finishedAt(end * 1000);
        late.policyId = owned;
        IProofs.ReceiptProof memory early = finishedAt(end * 1000 - 1);
        early.policyId = owned;
        refused(late, notAccepted(owned));
        registry.prove(early);
    }

    /// The policy is asked about the block that saw the tree, not about the enclave's second.
    function test_prove_revertsIfSeenWhenTheWorkloadWasRevoked() public {
        PolicyId owned = ownedPolicy();
        IProofs.ReceiptProof memory early = anchored(goodReceipt());
        early.policyId = owned;
        pass(60);
        IProofs.ReceiptProof memory late = finishedAt((START + 600) * 1000);
        late.policyId = owned;
        policies.revokeWorkload(owned, listedId(), uint64(block.timestamp));
        refused(late, notAccepted(owned));
        registry.prove(early);
    }

    // Inclusion.

    function test_prove_revertsIfReceiptWasNeverLogged() public {
        IProofs.ReceiptProof memory c = anchored(goodReceipt());
        c.receipt.money.charged = 99;
        c.signature = sign(ENCLAVE_KEY, harness.receipt(c.receipt));
        bytes32 leaf = leafHashOf(c.receipt, c.signature);
        refused(c, notAnchored(kSig, SIZE, harness.inclusion(leaf, BEFORE, SIZE, c.inclusion)));
    }

    function test_prove_revertsIfSaltIsAnother() public {
        IProofs.ReceiptProof memory c = anchored(goodReceipt());
        c.logSalt = "another";
        bytes32 leaf = harness.leaf(harness.leafData("another", harness.receipt(c.receipt), c.signature));
        refused(c, notAnchored(kSig, SIZE, harness.inclusion(leaf, BEFORE, SIZE, c.inclusion)));
    }

    /// The index is the sequence number that K_sig signed, not a choice of the prover.
    function test_prove_revertsIfLeafStandsElsewhere() public {
        ReceiptWords memory receipt = goodReceipt();
        receipt.sequence = BEFORE + 1;
        fill(ENCLAVE_KEY, BEFORE);
        Entry memory entry = appendAsIs(ENCLAVE_KEY, receipt);
        fill(ENCLAVE_KEY, AFTER);
        anchorLog(ENCLAVE_KEY);
        refusedWith(proofOf(entry, policyId), IProofs.NotAnchored.selector);
    }

    function test_prove_revertsIfSequenceIsBeyondTheTree() public {
        ReceiptWords memory receipt = goodReceipt();
        receipt.sequence = SIZE;
        fill(ENCLAVE_KEY, SIZE - 1);
        Entry memory entry = appendAsIs(ENCLAVE_KEY, receipt);
        anchorLog(ENCLAVE_KEY);
        refused(proofOf(entry, policyId), err(Merkle9162.IndexOutOfRange.selector, SIZE, SIZE));
    }

    /// The path of the true leaf leads to the true root in a tree of this size too: the size is part of what was anchored.
    function test_prove_revertsIfSizeIsAnother() public {
        IProofs.ReceiptProof memory c = anchored(goodReceipt());
        c.size = SIZE + 1;
        refused(c, notAnchored(kSig, SIZE + 1, logRoot(ENCLAVE_KEY, SIZE)));
        c.size = SIZE;
        registry.prove(c);
    }

    function test_prove_revertsIfPathIsCut() public {
        IProofs.ReceiptProof memory c = anchored(goodReceipt());
        bytes32[] memory path = c.inclusion;
        c.inclusion = new bytes32[](path.length - 1);
        for (uint256 i = 0; i < c.inclusion.length; ++i) {
            c.inclusion[i] = path[i];
        }
        refused(c, err(Merkle9162.ProofLength.selector, path.length, path.length - 1));
    }

    function test_prove_revertsIfPathIsLonger() public {
        IProofs.ReceiptProof memory c = anchored(goodReceipt());
        uint256 length = c.inclusion.length;
        c.inclusion = RefTree.append(c.inclusion, keccak256("one more"));
        refused(c, err(Merkle9162.ProofLength.selector, length, length + 1));
    }

    function testFuzz_prove_revertsIfAnyBitOfThePathIsChanged(uint256 bit) public {
        IProofs.ReceiptProof memory c = anchored(goodReceipt());
        bit = bit % (c.inclusion.length * 256);
        c.inclusion[bit / 256] ^= bytes32(1 << (bit % 256));
        refusedWith(c, IProofs.NotAnchored.selector);
    }

    // Anchor and observation.

    function test_prove_revertsIfAnchorIsOfAnotherTime() public {
        IProofs.ReceiptProof memory c = anchored(goodReceipt());
        bytes memory reason = notAnchored(kSig, SIZE, logRoot(ENCLAVE_KEY, SIZE));
        c.anchoredAt = START + 599;
        refused(c, reason);
        c.anchoredAt = START + 601;
        refused(c, reason);
        c.anchoredAt = START + 600;
        registry.prove(c);
    }

    /// An observation is no anchor, whatever time is named for it.
    function test_prove_takesAnObservationOnlyIfAsked() public {
        (Entry memory entry, IProofs.ReceiptProof memory c) = observedOnly();
        c.acceptsObservation = false;
        refused(c, err(IProofs.AnchorRequired.selector));
        c.acceptsObservation = true;
        IProofs.Proven memory p = registry.prove(c);
        assertTrue(!p.inSequence, "an observation is in no sequence");
        assertEq(p.seenAt, START + 600);
        c = proofIn(entry, SIZE, START + 600, policyId);
        c.acceptsObservation = true;
        refused(c, notAnchored(kSig, SIZE, logRoot(ENCLAVE_KEY, SIZE)));
    }

    /// The tree of the client's checkpoint is observed, the host anchors a larger one later: the earlier moment, and the place.
    function test_prove_takesTheTimeOfAnEarlierObservation() public {
        (Entry memory entry,) = observedOnly();
        fill(ENCLAVE_KEY, 3);
        pass(60);
        anchorLog(ENCLAVE_KEY);
        IProofs.ReceiptProof memory c = proofOf(entry, policyId);
        assertEq(registry.prove(c).seenAt, START + 660);
        (c.observedSize, c.observedInclusion) = (SIZE, pathIn(entry, SIZE));
        IProofs.Proven memory p = registry.prove(c);
        assertTrue(p.inSequence, "by the anchor");
        assertEq(p.seenAt, START + 600);
    }

    function test_prove_keepsTheTimeOfAnEarlierAnchor() public {
        Entry memory entry = logged(goodReceipt());
        pass(60);
        observeLog(ENCLAVE_KEY);
        IProofs.ReceiptProof memory c = proofOf(entry, policyId);
        (c.observedSize, c.observedInclusion) = (SIZE, c.inclusion);
        assertEq(registry.prove(c).seenAt, START + 600);
    }

    /// An anchor is not an observation, and what is shown must be there, though another tree would do.
    function test_prove_revertsIfNothingWasObserved() public {
        IProofs.ReceiptProof memory c = anchored(goodReceipt());
        (c.observedSize, c.observedInclusion) = (SIZE, c.inclusion);
        refused(c, abi.encodeWithSelector(IProofs.NotObserved.selector, kSig, SIZE, logRoot(ENCLAVE_KEY, SIZE)));
        (c.observedSize, c.observedInclusion) = (0, new bytes32[](0));
        registry.prove(c);
    }

    function test_prove_revertsIfTheReceiptIsNotInTheObservedTree() public {
        (Entry memory entry, IProofs.ReceiptProof memory c) = observedOnly();
        c.observedInclusion[0] ^= bytes32(uint256(1));
        refusedWith(c, IProofs.NotObserved.selector);
        c.observedInclusion = pathIn(entry, SIZE);
        registry.prove(c);
    }

    function test_prove_revertsIfNoTreeIsShown() public {
        (, IProofs.ReceiptProof memory c) = observedOnly();
        c.observedSize = 0;
        refused(c, err(IProofs.AnchorRequired.selector));
        c.observedSize = SIZE;
        registry.prove(c);
    }

    /// The key that signed the tree must be the receipt's: another boot's anchor of the same tree is not one.
    function test_prove_revertsIfTheTreeIsAnotherKeys() public {
        registerGood(OTHER_KEY);
        fill(ENCLAVE_KEY, BEFORE);
        Entry memory entry = append(ENCLAVE_KEY, goodReceipt());
        bytes32 root = logRoot(ENCLAVE_KEY, BEFORE + 1);
        anchorTree(OTHER_KEY, BEFORE + 1, root, new bytes32[](0));
        refused(proofIn(entry, BEFORE + 1, START + 600, policyId), notAnchored(kSig, BEFORE + 1, root));
        anchorTree(ENCLAVE_KEY, BEFORE + 1, root, new bytes32[](0));
        registry.prove(proofOf(entry, policyId));
    }

    // Both in one transaction.

    function test_anchorAndProve_anchorsAndProves() public {
        IProofs.ReceiptProof memory c = unanchored();
        IProofs.Proven memory p = anchorAndProve(c, SIZE);
        assertTrue(p.inSequence, "anchored");
        assertEq(p.seenAt, START + 600);
        assertEq(p.receiptDigest, harness.receipt(c.receipt));
        assertTrue(registry.anchored(kSig, SIZE, logRoot(ENCLAVE_KEY, SIZE), START + 600), "stays");
    }

    function test_anchorAndProve_continuesTheLastAnchor() public {
        anchored(goodReceipt());
        pass(60);
        IProofs.ReceiptProof memory c = unanchored();
        assertEq(anchorAndProve(c, 2 * SIZE).seenAt, START + 660);
    }

    /// The transaction is one: what is not proven is not anchored.
    function test_anchorAndProve_anchorsNothingIfNothingIsProven() public {
        IProofs.ReceiptProof memory c = unanchored();
        c.schemes = 0;
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, SIZE, logRoot(ENCLAVE_KEY, SIZE));
        vm.expectRevert(err(IProofs.SchemeNotAccepted.selector, 0, 1));
        registry.anchorAndProve(words, signature, 0, 0, new bytes32[](0), c);
        assertEq(registry.stateOf(kSig).lastSize, 0);
    }

    function test_anchorAndProve_revertsIfTheClaimIsOfAnotherTime() public {
        IProofs.ReceiptProof memory c = unanchored();
        c.anchoredAt = START + 599;
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, SIZE, logRoot(ENCLAVE_KEY, SIZE));
        vm.expectRevert(notAnchored(kSig, SIZE, words.root));
        registry.anchorAndProve(words, signature, 0, 0, new bytes32[](0), c);
    }

    function test_anchorAndProve_revertsIfTheTreeIsAnchored() public {
        IProofs.ReceiptProof memory c = anchored(goodReceipt());
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, SIZE, logRoot(ENCLAVE_KEY, SIZE));
        vm.expectRevert(err(IAnchors.SizeNotGreater.selector, SIZE, SIZE));
        registry.anchorAndProve(words, signature, words.root, START + 600, new bytes32[](0), c);
    }

    // Claims.

    function finishedAt(uint64 finishedMs) private returns (IProofs.ReceiptProof memory) {
        return anchored(receiptOf(ENCLAVE_KEY, finishedMs));
    }

    /// A proof in a tree that was observed at START + 600 and not anchored.
    function observedOnly() private returns (Entry memory entry, IProofs.ReceiptProof memory) {
        fill(ENCLAVE_KEY, BEFORE);
        entry = append(ENCLAVE_KEY, goodReceipt());
        fill(ENCLAVE_KEY, AFTER);
        observeLog(ENCLAVE_KEY);
        return (entry, observedIn(entry, SIZE, policyId));
    }

    /// A proof in a tree that the next transaction anchors.
    function unanchored() private returns (IProofs.ReceiptProof memory) {
        fill(ENCLAVE_KEY, BEFORE);
        Entry memory entry = append(ENCLAVE_KEY, goodReceipt());
        fill(ENCLAVE_KEY, AFTER);
        return proofIn(entry, logSize(ENCLAVE_KEY), uint64(block.timestamp), policyId);
    }

    function anchorAndProve(IProofs.ReceiptProof memory c, uint64 size) private returns (IProofs.Proven memory) {
        (Checkpoint memory words, bytes memory signature) = checkpoint(ENCLAVE_KEY, size, logRoot(ENCLAVE_KEY, size));
        Last memory last = lastOf[kSig];
        return registry.anchorAndProve(words, signature, last.root, last.anchoredAt, logProof(ENCLAVE_KEY, size), c);
    }

    function assertChangeIsRefused(uint256 bit) private {
        bytes memory call = abi.encodeCall(registry.prove, (anchored(goodReceipt())));
        // After the selector comes the word that says where the proof is.
        call[36 + bit / 8] ^= bytes1(uint8(1 << (bit % 8)));
        (bool ok,) = address(registry).staticcall(call);
        assertTrue(!ok, "a changed proof");
    }

    /// A policy that lists only this does not take the good receipt; one that lists what was registered does.
    function assertNotListed(ListedId listed) private {
        IProofs.ReceiptProof memory c = anchored(goodReceipt());
        c.policyId = policyOf(listed, IWorkloadPolicy.OperatorsMode.Any, address(0));
        refused(c, notAccepted(c.policyId));
        c.policyId = policyOf(listedId(), IWorkloadPolicy.OperatorsMode.Any, address(0));
        registry.prove(c);
    }

    /// An ownerless policy with one workload, and one operator if they are listed.
    function policyOf(ListedId listed, IWorkloadPolicy.OperatorsMode mode, address listedOperator) private returns (PolicyId) {
        IWorkloadPolicy.Terms memory terms = termsOf(address(0), 0);
        terms.salt = "proofs";
        terms.operatorsMode = mode;
        IWorkloadPolicy.FirstListing[] memory listings = new IWorkloadPolicy.FirstListing[](1);
        listings[0].listedId = listed;
        uint256 count = mode == IWorkloadPolicy.OperatorsMode.Any ? 0 : 1;
        IWorkloadPolicy.FirstOperator[] memory operators = new IWorkloadPolicy.FirstOperator[](count);
        if (count != 0) operators[0].operator = listedOperator;
        return policies.create(terms, listings, operators);
    }

    function ownedPolicy() private returns (PolicyId owned) {
        owned = policies.create(
            termsOf(address(this), 0), new IWorkloadPolicy.FirstListing[](0), new IWorkloadPolicy.FirstOperator[](0)
        );
        policies.proposeWorkload(owned, listedId(), 0);
    }

    function notAccepted(PolicyId id) private view returns (bytes memory) {
        return abi.encodeWithSelector(IProofs.NotAccepted.selector, id, listedId(), operator);
    }
}
