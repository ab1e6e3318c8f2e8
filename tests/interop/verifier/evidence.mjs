// Evidence as it travels, the freshness tag, the 64 attested bytes, and workload ids. attestation.md §2 to §4.
import { concat } from "./bytes.mjs";
import { readAll } from "./cbor.mjs";
import { keccak256, sha256, TAG } from "./hashes.mjs";
import { MANIFEST_BYTES, manifestHash, readManifest } from "./manifest.mjs";
import { readTerms } from "./terms.mjs";
import { addressWord, word } from "./words.mjs";

const MAX_DOCUMENTS = 4, MAX_DOCUMENT_BYTES = 16_384, MAX_COLLATERAL_BYTES = 131_072, MAX_KEYS = 8, MAX_KEY_BYTES = 16_384;
const MAX_TERMS_BYTES = 65_536;
const TAG_BYTES = 12;

export const NITRO = 1n;

export function readEvidence(bytes) {
  return readAll(bytes, (r) => {
    r.versioned(6);
    const documents = r.list(MAX_DOCUMENTS, (inner) => {
      inner.array(3);
      return { kind: inner.uint(64), document: inner.bytes(MAX_DOCUMENT_BYTES), collateral: inner.bytes(MAX_COLLATERAL_BYTES) };
    });
    const encoded = r.bytesOf(MANIFEST_BYTES);
    const manifest = { ...readManifest(encoded), hash: manifestHash(encoded) };
    r.array(4);
    const preimage = { chainId: r.uint(64), blockNumber: r.uint(64), blockHash: r.hash(), nonce: r.hash() };
    const terms = readTerms(r.bytes(MAX_TERMS_BYTES));
    const keys = r.list(MAX_KEYS, (inner) => {
      inner.array(3);
      return { purpose: inner.uint(16), algorithm: inner.uint(16), bytes: inner.bytes(MAX_KEY_BYTES) };
    });
    return { documents, manifest, preimage, terms, keys };
  });
}

export const freshnessTag = ({ chainId, blockNumber, blockHash, nonce }) =>
  sha256(TAG.fresh, word(chainId), word(blockNumber), blockHash, nonce).subarray(0, TAG_BYTES);

/** ATT-2: what `user_data` has to be. */
export const attestedBytes = (kSig, hashOfManifest, tag) => concat(kSig, hashOfManifest, tag);

export const workloadId = (kind, rootFingerprint, measurements) => workloadOf(kind, rootFingerprint, keccak256(measurements));

/** The same with the last word as it stands: under a quorum of attestors that is the inner workload id. */
export const workloadOf = (kind, root, measured) => keccak256(keccak256(TAG.workload), word(kind), root, measured);

export const listedId = (verifier, verifierCodeHash, workload) =>
  keccak256(keccak256(TAG.listed), addressWord(verifier), verifierCodeHash, workload);
