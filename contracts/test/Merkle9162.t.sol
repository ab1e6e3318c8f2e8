// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Merkle9162} from "../src/lib/Merkle9162.sol";
import {Sha256} from "../src/lib/Sha256.sol";
import {Base} from "./support/Base.sol";
import {Harness} from "./support/Harness.sol";
import {RefTree} from "./support/RefTree.sol";

contract Merkle9162Test is Base {
    /// Trees up to this size are tried whole: every shape of a ragged right edge up to five levels, and one leaf beyond.
    uint64 private constant LARGEST = 33;

    Harness private harness = new Harness();

    function test_inclusion_everyLeafOfEverySmallTree() public view {
        bytes32[] memory leaves = RefTree.someLeaves(LARGEST, 1);
        for (uint64 n = 1; n <= LARGEST; ++n) {
            bytes32 root = RefTree.root(leaves, 0, n);
            for (uint64 i = 0; i < n; ++i) {
                bytes32[] memory proof = RefTree.path(i, leaves, 0, n);
                assertEq(harness.inclusion(leaves[i], i, n, proof), root);
                assertEq(harness.inclusionLength(i, n), proof.length);
            }
        }
    }

    function test_inclusion_wrongIndexNeverLeadsToTheRoot() public view {
        bytes32[] memory leaves = RefTree.someLeaves(LARGEST, 2);
        for (uint64 n = 2; n <= LARGEST; n += 3) {
            bytes32 root = RefTree.root(leaves, 0, n);
            for (uint64 i = 0; i < n; ++i) {
                bytes32[] memory proof = RefTree.path(i, leaves, 0, n);
                for (uint64 j = 0; j < n; ++j) {
                    if (j != i) assertTrue(!leadsTo(leaves[i], j, n, proof, root), "another index");
                }
            }
        }
    }

    function test_consistency_everyPairOfSmallTrees() public view {
        bytes32[] memory leaves = RefTree.someLeaves(LARGEST, 3);
        for (uint64 n = 2; n <= LARGEST; ++n) {
            bytes32 root = RefTree.root(leaves, 0, n);
            for (uint64 m = 1; m < n; ++m) {
                bytes32 old = RefTree.root(leaves, 0, m);
                bytes32[] memory proof = RefTree.proof(m, leaves, n);
                (bytes32 gotOld, bytes32 gotNew) = harness.consistency(m, old, n, proof);
                assertEq(gotOld, old);
                assertEq(gotNew, root);
                assertEq(harness.consistencyLength(m, n), proof.length);
            }
        }
    }

    function test_consistency_aRewrittenLeafNeverPasses() public view {
        bytes32[] memory honest = RefTree.someLeaves(LARGEST, 4);
        for (uint64 n = 2; n <= LARGEST; n += 2) {
            for (uint64 m = 1; m < n; ++m) {
                bytes32[] memory forked = RefTree.someLeaves(LARGEST, 4);
                forked[m - 1] = keccak256("another answer");
                bytes32 old = RefTree.root(honest, 0, m);
                // The forger's own proof, for the forger's own new root, from the root that everybody knows.
                (bytes32 gotOld, bytes32 gotNew) = harness.consistency(m, old, n, RefTree.proof(m, forked, n));
                assertTrue(gotOld != old || gotNew != RefTree.root(forked, 0, n), "fork");
            }
        }
    }

    function test_inclusion_revertsIfIndexIsNotInTheTree() public {
        vm.expectRevert(abi.encodeWithSelector(Merkle9162.IndexOutOfRange.selector, 5, 5));
        harness.inclusion(0, 5, 5, new bytes32[](3));
        vm.expectRevert(abi.encodeWithSelector(Merkle9162.IndexOutOfRange.selector, 0, 0));
        harness.inclusion(0, 0, 0, new bytes32[](0));
    }

    function test_inclusion_revertsIfProofHasAnotherLength() public {
        bytes32[] memory leaves = RefTree.someLeaves(LARGEST, 5);
        for (uint64 n = 1; n <= LARGEST; n += 4) {
            for (uint64 i = 0; i < n; ++i) {
                bytes32[] memory proof = RefTree.path(i, leaves, 0, n);
                vm.expectRevert(abi.encodeWithSelector(Merkle9162.ProofLength.selector, proof.length, proof.length + 1));
                harness.inclusion(leaves[i], i, n, RefTree.append(proof, 0));
                if (proof.length == 0) continue;
                vm.expectRevert(abi.encodeWithSelector(Merkle9162.ProofLength.selector, proof.length, proof.length - 1));
                harness.inclusion(leaves[i], i, n, truncated(proof));
            }
        }
    }

    function test_consistency_revertsIfProofHasAnotherLength() public {
        bytes32[] memory leaves = RefTree.someLeaves(LARGEST, 6);
        for (uint64 n = 2; n <= LARGEST; n += 4) {
            for (uint64 m = 1; m < n; ++m) {
                bytes32[] memory proof = RefTree.proof(m, leaves, n);
                bytes32 old = RefTree.root(leaves, 0, m);
                vm.expectRevert(abi.encodeWithSelector(Merkle9162.ProofLength.selector, proof.length, proof.length + 1));
                harness.consistency(m, old, n, RefTree.append(proof, 0));
                vm.expectRevert(abi.encodeWithSelector(Merkle9162.ProofLength.selector, proof.length, proof.length - 1));
                harness.consistency(m, old, n, truncated(proof));
                vm.expectRevert(abi.encodeWithSelector(Merkle9162.ProofLength.selector, proof.length, 0));
                harness.consistency(m, old, n, new bytes32[](0));
            }
        }
    }

    function test_consistency_revertsIfNotAPrefix() public {
        vm.expectRevert(abi.encodeWithSelector(Merkle9162.NotAPrefix.selector, 4, 0));
        harness.consistency(0, 0, 4, new bytes32[](0));
        vm.expectRevert(abi.encodeWithSelector(Merkle9162.NotAPrefix.selector, 4, 4));
        harness.consistency(4, 0, 4, new bytes32[](0));
        vm.expectRevert(abi.encodeWithSelector(Merkle9162.NotAPrefix.selector, 4, 5));
        harness.consistency(5, 0, 4, new bytes32[](0));
    }

    /// An inner node cannot be passed off as a leaf: the two have different prefixes.
    function test_inclusion_nodeAsLeafIsAnotherHash() public view {
        bytes32[] memory leaves = RefTree.someLeaves(4, 7);
        bytes32 left = RefTree.node(leaves[0], leaves[1]);
        assertTrue(harness.leaf(left) != left, "prefix");
        bytes32[] memory proof = RefTree.append(new bytes32[](0), RefTree.node(leaves[2], leaves[3]));
        // As a tree of two leaves the inner nodes would fit, if they were leaf hashes.
        assertTrue(harness.inclusion(harness.leaf(left), 0, 2, proof) != RefTree.root(leaves, 0, 4), "second preimage");
    }

    /// Limit, pinned: an inclusion proof does not bind the size of the tree (index 0 of 3 and of 4 have the same path). Callers take the
    /// root that is stored *for that size*.
    function test_inclusion_doesNotBindTheSize() public view {
        bytes32[] memory leaves = RefTree.someLeaves(4, 8);
        bytes32[] memory proof = RefTree.path(0, leaves, 0, 4);
        assertEq(harness.inclusion(leaves[0], 0, 3, proof), harness.inclusion(leaves[0], 0, 4, proof));
    }

    function testFuzz_inclusion_aFlippedBitNeverLeadsToTheRoot(uint256 seed, uint256 n, uint256 i, uint256 place, uint256 bit)
        public
        view
    {
        n = bound(n, 2, 70);
        i = bound(i, 0, n - 1);
        bytes32[] memory leaves = RefTree.someLeaves(n, seed);
        bytes32 root = RefTree.root(leaves, 0, n);
        bytes32[] memory proof = RefTree.path(i, leaves, 0, n);
        assertEq(harness.inclusion(leaves[i], uint64(i), uint64(n), proof), root);
        bytes32 flip = bytes32(1 << (bit % 256));
        assertTrue(!leadsTo(leaves[i] ^ flip, uint64(i), uint64(n), proof, root), "leaf");
        place = place % proof.length;
        proof[place] ^= flip;
        assertTrue(!leadsTo(leaves[i], uint64(i), uint64(n), proof, root), "proof");
    }

    function testFuzz_consistency_aFlippedBitNeverPasses(uint256 seed, uint256 m, uint256 n, uint256 place, uint256 bit)
        public
        view
    {
        n = bound(n, 2, 70);
        m = bound(m, 1, n - 1);
        bytes32[] memory leaves = RefTree.someLeaves(n, seed);
        (bytes32 old, bytes32 root) = (RefTree.root(leaves, 0, m), RefTree.root(leaves, 0, n));
        bytes32[] memory proof = RefTree.proof(m, leaves, n);
        (bytes32 gotOld, bytes32 gotNew) = harness.consistency(uint64(m), old, uint64(n), proof);
        assertTrue(gotOld == old && gotNew == root, "good proof");
        proof[place % proof.length] ^= bytes32(1 << (bit % 256));
        (gotOld, gotNew) = harness.consistency(uint64(m), old, uint64(n), proof);
        assertTrue(gotOld != old || gotNew != root, "flipped");
    }

    /// Sizes no test can build: the same root as by the other known algorithm (inner path, then right border).
    function testFuzz_inclusion_agreesWithInnerAndBorder(bytes32 leafHash, uint64 index, uint64 size, uint256 seed) public view {
        size = size == 0 ? 1 : size;
        index = index % size;
        (uint256 inner, uint256 border) = decompose(index, size);
        bytes32[] memory proof = new bytes32[](inner + border);
        for (uint256 k = 0; k < proof.length; ++k) {
            proof[k] = keccak256(abi.encode(seed, k));
        }
        bytes32 root = leafHash;
        for (uint256 k = 0; k < proof.length; ++k) {
            bool proofIsRight = k < inner && (index >> k) & 1 == 0;
            root = proofIsRight ? RefTree.node(root, proof[k]) : RefTree.node(proof[k], root);
        }
        assertEq(harness.inclusion(leafHash, index, size, proof), root);
        assertTrue(proof.length <= 64, "bounded");
    }

    /// No consistency proof is longer than 64 + 1 hashes, whatever the sizes.
    function testFuzz_consistencyLength_isBounded(uint64 first, uint64 second) public view {
        vm.assume(first != 0 && first < second);
        assertTrue(harness.consistencyLength(first, second) <= 65, "bounded");
    }

    function testFuzz_node_isItsPlainTwin(bytes32 left, bytes32 right) public view {
        assertEq(harness.node(left, right), harness.nodePlain(left, right));
    }

    function test_leaf_hasItsPrefix() public view {
        assertEq(harness.leaf("data"), sha256(abi.encodePacked(bytes1(0), bytes32("data"))));
    }

    function test_node_revertsIfThePrecompileFails() public {
        vm.mockCallRevert(address(2), "", "");
        vm.expectRevert(Sha256.Sha256Failed.selector);
        harness.node(0, 0);
    }

    /// A chain without the precompile answers a call to an empty account with success and no bytes.
    function test_node_revertsIfThereIsNoPrecompile() public {
        vm.mockCall(address(2), "", "");
        vm.expectRevert(Sha256.Sha256Failed.selector);
        harness.node(0, 0);
    }

    function leadsTo(bytes32 leafHash, uint64 index, uint64 size, bytes32[] memory proof, bytes32 root)
        private
        view
        returns (bool)
    {
        try harness.inclusion(leafHash, index, size, proof) returns (bytes32 got) {
            return got == root;
        } catch {
            return false;
        }
    }

    function truncated(bytes32[] memory list) private pure returns (bytes32[] memory shorter) {
        shorter = new bytes32[](list.length - 1);
        for (uint256 i = 0; i < shorter.length; ++i) {
            shorter[i] = list[i];
        }
    }

    /// inner = bits in which index and the last index differ; border = ones of the index above them.
    function decompose(uint64 index, uint64 size) private pure returns (uint256 inner, uint256 border) {
        for (uint256 x = index ^ (size - 1); x != 0; x >>= 1) {
            ++inner;
        }
        for (uint256 y = uint256(index) >> inner; y != 0; y >>= 1) {
            border += y & 1;
        }
    }
}
