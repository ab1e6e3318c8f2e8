// The Merkle tree of RFC 9162 §2.1: roots, inclusion and consistency. log.md §1 (LOG-1). Sizes and indices are BigInt.
import { equal } from "./bytes.mjs";
import { sha256 } from "./hashes.mjs";

export const LEAF = Uint8Array.of(0), NODE = Uint8Array.of(1);

export const leafHash = (data) => sha256(LEAF, data);
const node = (left, right) => sha256(NODE, left, right);

/**
 * The root over leaf hashes (§2.1.1). Pairing neighbours, with a lone last one carried up, gives the same tree as splitting at powers of
 * two.
 */
export function root(leaves) {
  if (leaves.length === 0) return sha256();
  let level = leaves;
  while (1 < level.length) {
    const above = [];
    for (let at = 0; at < level.length; at += 2) above.push(at + 1 < level.length ? node(level[at], level[at + 1]) : level[at]);
    level = above;
  }
  return level[0];
}

/** §2.1.3.2 */
export function includes(leaf, index, size, path, expectedRoot) {
  if (size <= index) return false;
  let [fn, sn, found] = [index, size - 1n, leaf];
  for (const sibling of path) {
    if (sn === 0n) return false;
    if ((fn & 1n) === 1n || fn === sn) {
      found = node(sibling, found);
      while ((fn & 1n) === 0n && fn !== 0n) [fn, sn] = [fn >> 1n, sn >> 1n];
    } else {
      found = node(found, sibling);
    }
    [fn, sn] = [fn >> 1n, sn >> 1n];
  }
  return sn === 0n && equal(found, expectedRoot);
}

/** §2.1.4.2, for 0 < first: an empty tree is the beginning of every tree and shows nothing. */
export function consistent(first, firstRoot, second, secondRoot, proof) {
  if (first === 0n || second < first) return false;
  if (first === second) return proof.length === 0 && equal(firstRoot, secondRoot);
  // A first tree of a power of two leaves is itself a node of the second, and its hash is then left out of the proof.
  const path = (first & (first - 1n)) === 0n ? [firstRoot, ...proof] : [...proof];
  if (path.length === 0) return false;
  let [fn, sn] = [first - 1n, second - 1n];
  while ((fn & 1n) === 1n) [fn, sn] = [fn >> 1n, sn >> 1n];
  let older = path[0], newer = path[0];
  for (const sibling of path.slice(1)) {
    if (sn === 0n) return false;
    if ((fn & 1n) === 1n || fn === sn) {
      [older, newer] = [node(sibling, older), node(sibling, newer)];
      while ((fn & 1n) === 0n && fn !== 0n) [fn, sn] = [fn >> 1n, sn >> 1n];
    } else {
      newer = node(newer, sibling);
    }
    [fn, sn] = [fn >> 1n, sn >> 1n];
  }
  return sn === 0n && equal(older, firstRoot) && equal(newer, secondRoot);
}
