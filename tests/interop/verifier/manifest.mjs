// The manifest of one boot, its hash, its log's id, and agreement with the terms. terms-and-manifest.md §2 and §3.
import { equal } from "./bytes.mjs";
import { hashArray } from "./eip712.mjs";
import { keccak256, sha256, TAG } from "./hashes.mjs";
import { contractsHash, modelSetRoot, priceTableHash } from "./terms.mjs";
import { readWords } from "./words.mjs";

export const MANIFEST_BYTES = 608;

/** MAN-1 */
export const readManifest = (bytes) => readWords(bytes, [
  ["kSig", "address"], ["kLog", "bytes32"], ["kHpke", "bytes32"], ["tlsSpkiHash", "bytes32"], ["keysHash", "bytes32"],
  ["termsHash", "bytes32"], ["operator", "address"], ["payee", "address"], ["registry", "address"], ["anchorChainId", 64],
  ["contractsHash", "bytes32"], ["modelSetRoot", "bytes32"], ["priceTableHash", "bytes32"], ["predecessorLog", "bytes32"],
  ["predecessorSize", 64], ["predecessorRoot", "bytes32"], ["buildId", "bytes32"], ["bootedAt", 64],
]);

export const manifestHash = (bytes) => keccak256(bytes);
export const logId = (manifest) => sha256(TAG.log, manifest.kSig, manifest.kLog);

/** keysHash of the further keys: zero if there are none. Keys are {purpose, algorithm, bytes}. */
export function keysHash(keys) {
  if (keys.length === 0) return new Uint8Array(32);
  return hashArray("Key", keys.map(({ purpose, algorithm, bytes }) => ({ purpose, algorithm, digest: sha256(bytes) })));
}

/** MAN-2, the words that manifest and terms share: where they differ, or null. */
export function disagreement(manifest, terms) {
  for (const name of ["operator", "payee", "registry"]) {
    if (!equal(manifest[name], terms[name])) return `another ${name} than the terms'`;
  }
  if (manifest.anchorChainId !== terms.anchorChainId) return "another anchor chain than the terms'";
  if (!equal(manifest.contractsHash, contractsHash(terms))) return "other chains than the terms'";
  if (!equal(manifest.modelSetRoot, modelSetRoot(terms))) return "other models than the terms'";
  if (!equal(manifest.priceTableHash, priceTableHash(terms))) return "other prices than the terms'";
  return null;
}
