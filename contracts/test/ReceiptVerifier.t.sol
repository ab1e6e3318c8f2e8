// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {LogId, PolicyId, ReceiptWords, WorkloadId} from "../src/Types.sol";
import {IEnclaveRegistry} from "../src/interfaces/IEnclaveRegistry.sol";
import {IReceiptVerifier} from "../src/interfaces/IReceiptVerifier.sol";
import {Merkle9162} from "../src/lib/Merkle9162.sol";
import {Signatures} from "../src/lib/Signatures.sol";
import {Fixture} from "./support/Fixture.sol";
import {RefTree} from "./support/RefTree.sol";

contract ReceiptVerifierTest is Fixture {
    uint64 private constant SIZE = 21;
    uint64 private constant SEQUENCE = 13;

    PolicyId private policyId;

    /// Everything that `prove` is given.
    struct Case {
        ReceiptWords receipt;
        bytes signature;
        bytes32 logSalt;
        uint64 anchoredSize;
        bytes32[] inclusion;
        PolicyId policyId;
    }

    function setUp() public override {
        super.setUp();
        registerGood(ENCLAVE_KEY);
        policyId = goodPolicy();
        pass(600);
    }

    function test_prove_saysWhatItProved() public {
        Case memory c = anchored(goodReceipt());
        IReceiptVerifier.Proven memory proven = prove(c);
        assertEq(proven.receiptDigest, harness.receipt(c.receipt));
        assertEq(proven.receiptDigest, verifier.receiptDigest(c.receipt));
        assertEq(proven.kSig, kSig);
        assertEq(proven.operator, operator);
        assertEq(WorkloadId.unwrap(proven.workloadId), WorkloadId.unwrap(workloadId()));
        assertEq(proven.kind, QUORUM);
        assertEq(proven.anchoredAt, START + 600);
    }

    function test_prove_worksUnderALaterAnchor() public {
        Case memory c = anchored(goodReceipt());
        bytes32[] memory leaves = withLeaf(c);
        pass(1 days);
        anchorLeaves(ENCLAVE_KEY, leaves, 40);
        c.anchoredSize = 40;
        c.inclusion = RefTree.path(SEQUENCE, leaves, 0, 40);
        assertEq(prove(c).anchoredAt, START + 600 + 1 days);
    }

    function test_prove_revertsIfVersionIsUnknown() public {
        ReceiptWords memory receipt = goodReceipt();
        receipt.version = 1;
        refused(anchored(receipt), err(IReceiptVerifier.UnsupportedVersion.selector, 2, 1));
    }

    function test_prove_revertsIfSignerIsNotRegistered() public {
        Case memory c = anchored(goodReceipt());
        c.signature = sign(STRANGER_KEY, harness.receipt(c.receipt));
        refused(c, err(IReceiptVerifier.SignerNotRegistered.selector, vm.addr(STRANGER_KEY)));
    }

    function test_prove_revertsIfSignatureIsMalleated() public {
        Case memory c = anchored(goodReceipt());
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(ENCLAVE_KEY, harness.receipt(c.receipt));
        uint256 twin = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141 - uint256(s);
        c.signature = abi.encodePacked(r, twin, uint8(55 - v));
        refusedWith(c, Signatures.SignatureHighS.selector);
    }

    function test_prove_revertsIfManifestIsAnother() public {
        ReceiptWords memory receipt = goodReceipt();
        bytes32 own = receipt.manifestHash;
        receipt.manifestHash = "another boot";
        refused(anchored(receipt), err(IReceiptVerifier.WrongManifest.selector, own, bytes32("another boot")));
    }

    function test_prove_revertsIfLogIsAnother() public {
        ReceiptWords memory receipt = goodReceipt();
        bytes32 own = LogId.unwrap(receipt.logId);
        receipt.logId = LogId.wrap("another log");
        refused(anchored(receipt), err(IReceiptVerifier.WrongLog.selector, own, bytes32("another log")));
    }

    /// Registered is not acceptable.
    function test_prove_revertsIfPolicyDoesNotAccept() public {
        Case memory c = anchored(goodReceipt());
        policies.removeWorkload(policyId, workloadId());
        refused(c, notAccepted(policyId));
        c.policyId = PolicyId.wrap("no such policy");
        refused(c, notAccepted(c.policyId));
        c.policyId = policies.create("other operators", 0);
        policies.proposeWorkload(c.policyId, workloadId());
        policies.proposeOperator(c.policyId, address(0x07e4));
        refused(c, notAccepted(c.policyId));
        policies.proposeOperator(c.policyId, operator);
        prove(c);
    }

    function test_prove_revertsIfMoneyIsOnAnotherChain() public {
        ReceiptWords memory receipt = goodReceipt();
        receipt.money.chainId = 1;
        refused(anchored(receipt), err(IReceiptVerifier.WrongChain.selector, block.chainid, 1));
    }

    /// A chain that splits off keeps registry and anchors, and yet proves nothing of the other's receipts.
    function test_prove_revertsOnAForkedChain() public {
        Case memory c = anchored(goodReceipt());
        uint256 home = block.chainid;
        vm.chainId(999);
        refused(c, err(IReceiptVerifier.WrongChain.selector, 999, home));
    }

    function test_prove_revertsIfASettlerIsNamed() public {
        ReceiptWords memory receipt = goodReceipt();
        receipt.money.settler = address(0x5e771e4);
        refused(anchored(receipt), err(IReceiptVerifier.WrongSettler.selector, address(0), address(0x5e771e4)));
    }

    function test_prove_revertsIfPayeeIsNotTheAttestedOne() public {
        ReceiptWords memory receipt = goodReceipt();
        receipt.money.payee = address(1);
        refused(anchored(receipt), err(IReceiptVerifier.WrongPayee.selector, PAYEE, address(1)));
    }

    // Time.

    function test_prove_acceptsTheSecondOfRegistration() public {
        ReceiptWords memory receipt = goodReceipt();
        receipt.work.finishedAt = START * 1000;
        prove(anchored(receipt));
    }

    function test_prove_revertsIfFinishedBeforeRegistration() public {
        ReceiptWords memory receipt = goodReceipt();
        receipt.work.finishedAt = START * 1000 - 1;
        refused(anchored(receipt), err(IReceiptVerifier.FinishedBeforeValidity.selector, START, START - 1));
    }

    function test_prove_acceptsAClockAheadByTheSkew() public {
        ReceiptWords memory receipt = goodReceipt();
        receipt.work.finishedAt = (START + 600 + 120) * 1000 + 999;
        prove(anchored(receipt));
    }

    function test_prove_revertsIfFinishedAfterTheAnchor() public {
        ReceiptWords memory receipt = goodReceipt();
        receipt.work.finishedAt = (START + 600 + 121) * 1000;
        refused(anchored(receipt), err(IReceiptVerifier.FinishedAfterAnchor.selector, START + 720, START + 721));
    }

    /// `setUp` is 600 seconds after the start.
    function test_prove_acceptsAnAnchorAWeekAfterItWasFinished() public {
        ReceiptWords memory receipt = goodReceipt();
        receipt.work.finishedAt = START * 1000;
        pass(7 days - 600);
        assertEq(prove(anchored(receipt)).anchoredAt, START + 7 days);
    }

    /// A key that lapsed long ago signs, and whoever holds it anchors, what it says was finished in its first second.
    function test_prove_revertsIfAnchoredMoreThanAWeekAfterItWasFinished() public {
        ReceiptWords memory receipt = goodReceipt();
        receipt.work.finishedAt = START * 1000;
        pass(7 days - 599);
        refused(anchored(receipt), err(IReceiptVerifier.AnchoredTooLate.selector, START + 7 days, START + 7 days + 1));
    }

    function test_prove_revertsIfFinishedAfterTheKeyLapsed() public {
        pass(1 days);
        ReceiptWords memory receipt = goodReceipt();
        receipt.work.finishedAt = (START + DOCUMENT_LIFE + 1) * 1000;
        refused(anchored(receipt), outside(IEnclaveRegistry.Status.Lapsed, START + DOCUMENT_LIFE + 1));
    }

    function test_prove_revertsIfFinishedInAGapOfValidity() public {
        pass(1 days);
        renewGood(kSig);
        ReceiptWords memory receipt = goodReceipt();
        receipt.work.finishedAt = (START + 12 hours) * 1000;
        refused(anchored(receipt), outside(IEnclaveRegistry.Status.Lapsed, START + 12 hours));
    }

    function test_prove_holdsAfterRetirementIfAnchoredBefore() public {
        Case memory c = anchored(goodReceipt());
        pass(60);
        retire();
        pass(365 days);
        prove(c);
    }

    function test_prove_revertsIfAnchoredInTheBlockOfInvalidation() public {
        Case memory c = anchored(goodReceipt());
        retire();
        refused(c, err(IReceiptVerifier.AnchoredAfterInvalidation.selector, START + 600, START + 600));
    }

    /// Anchored in time, but the enclave's clock says that it finished after the end.
    function test_prove_revertsIfFinishedAfterInvalidation() public {
        ReceiptWords memory receipt = goodReceipt();
        receipt.work.finishedAt = (START + 700) * 1000;
        Case memory c = anchored(receipt);
        pass(60);
        retire();
        refused(c, outside(IEnclaveRegistry.Status.Invalid, START + 700));
    }

    // Inclusion.

    function test_prove_revertsIfSizeIsNotAnchored() public {
        Case memory c = anchored(goodReceipt());
        c.anchoredSize = SIZE - 1;
        refused(c, abi.encodeWithSelector(IReceiptVerifier.NotAnchored.selector, c.receipt.logId, SIZE - 1));
    }

    function test_prove_revertsIfReceiptWasNeverLogged() public {
        Case memory c = anchored(goodReceipt());
        c.receipt.money.charged = 99;
        c.signature = sign(ENCLAVE_KEY, harness.receipt(c.receipt));
        refusedWith(c, IReceiptVerifier.WrongRoot.selector);
    }

    function test_prove_revertsIfSaltIsAnother() public {
        Case memory c = anchored(goodReceipt());
        c.logSalt = "another";
        refusedWith(c, IReceiptVerifier.WrongRoot.selector);
    }

    /// The index is the sequence number that K_sig signed, not a choice of the prover.
    function test_prove_revertsIfLeafStandsElsewhere() public {
        ReceiptWords memory receipt = goodReceipt();
        receipt.sequence = SEQUENCE + 1;
        Case memory c = anchoredAt(receipt, SEQUENCE);
        refusedWith(c, IReceiptVerifier.WrongRoot.selector);
    }

    function test_prove_revertsIfSequenceIsBeyondTheAnchor() public {
        ReceiptWords memory receipt = goodReceipt();
        receipt.sequence = SIZE;
        Case memory c = anchoredAt(receipt, SEQUENCE);
        refused(c, err(Merkle9162.IndexOutOfRange.selector, SIZE, SIZE));
    }

    function test_prove_revertsIfInclusionIsCut() public {
        Case memory c = anchored(goodReceipt());
        c.inclusion = new bytes32[](2);
        refused(c, err(Merkle9162.ProofLength.selector, 5, 2));
    }

    /// Any word changed is refused: either nobody signed it, or it is out of its type's range.
    function testFuzz_prove_revertsIfAnyBitOfTheReceiptIsChanged(uint256 bit) public {
        Case memory c = anchored(goodReceipt());
        bytes memory call =
            abi.encodeCall(verifier.prove, (c.receipt, c.signature, c.logSalt, c.anchoredSize, c.inclusion, c.policyId));
        bit = bit % (1088 * 8);
        call[4 + bit / 8] ^= bytes1(uint8(1 << (bit % 8)));
        (bool ok,) = address(verifier).staticcall(call);
        assertTrue(!ok, "changed receipt");
    }

    function testFuzz_prove_anywhereInAnyTree(uint64 size, uint64 sequence, bytes32 salt) public {
        size = uint64(bound(size, 1, 60));
        sequence = sequence % size;
        ReceiptWords memory receipt = goodReceipt();
        receipt.sequence = sequence;
        bytes memory signature = sign(ENCLAVE_KEY, harness.receipt(receipt));
        bytes32[] memory leaves = RefTree.someLeaves(size, 7);
        leaves[sequence] = harness.leaf(harness.leafData(salt, harness.receipt(receipt), signature));
        anchorLeaves(ENCLAVE_KEY, leaves, size);
        bytes32[] memory inclusion = RefTree.path(sequence, leaves, 0, size);
        verifier.prove(receipt, signature, salt, size, inclusion, policyId);
    }

    function anchored(ReceiptWords memory receipt) private returns (Case memory) {
        receipt.sequence = SEQUENCE;
        return anchoredAt(receipt, SEQUENCE);
    }

    /// Signs the receipt, logs it at `index` of a tree of SIZE leaves, and anchors that.
    function anchoredAt(ReceiptWords memory receipt, uint64 index) private returns (Case memory c) {
        c.receipt = receipt;
        c.signature = sign(ENCLAVE_KEY, harness.receipt(receipt));
        c.logSalt = LOG_SALT;
        c.anchoredSize = SIZE;
        c.policyId = policyId;
        bytes32[] memory leaves = RefTree.someLeaves(SIZE, 7);
        leaves[index] = leafHashOf(receipt, c.signature);
        anchorLeaves(ENCLAVE_KEY, leaves, SIZE);
        c.inclusion = RefTree.path(index, leaves, 0, SIZE);
    }

    function withLeaf(Case memory c) private view returns (bytes32[] memory leaves) {
        leaves = RefTree.someLeaves(40, 7);
        leaves[SEQUENCE] = leafHashOf(c.receipt, c.signature);
    }

    function prove(Case memory c) private view returns (IReceiptVerifier.Proven memory) {
        return verifier.prove(c.receipt, c.signature, c.logSalt, c.anchoredSize, c.inclusion, c.policyId);
    }

    function refused(Case memory c, bytes memory reason) private {
        vm.expectRevert(reason);
        prove(c);
    }

    function refusedWith(Case memory c, bytes4 selector) private {
        vm.expectPartialRevert(selector);
        prove(c);
    }

    function retire() private {
        vm.prank(operator);
        registry.retire(kSig);
    }

    function notAccepted(PolicyId id) private view returns (bytes memory) {
        return abi.encodeWithSelector(IReceiptVerifier.NotAccepted.selector, id, workloadId(), operator);
    }

    function outside(IEnclaveRegistry.Status status, uint64 finished) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IReceiptVerifier.FinishedOutsideValidity.selector, status, finished);
    }
}
