// Signatures over digests and notes. A secp256k1 signature has one form here (README.md, Signatures): r ‖ s ‖ v, v 27 or 28, s in the
// lower half; the twin that EIP-2 forbids would let a byte be flipped unnoticed.
import { ed25519 } from "@noble/curves/ed25519";
import { secp256k1 } from "@noble/curves/secp256k1";
import { sha512 } from "@noble/hashes/sha512";
import { concat, equal, toInteger } from "./bytes.mjs";
import { keccak256 } from "./hashes.mjs";

const ORDER = secp256k1.CURVE.n;

/** The address whose key signed the digest, or null: there is none for this signature. */
export function recover(digest, signature) {
  if (digest.length !== 32 || signature.length !== 65) return null;
  const [r, s, v] = [toInteger(signature.subarray(0, 32)), toInteger(signature.subarray(32, 64)), signature[64]];
  if (v !== 27 && v !== 28) return null;
  if (r === 0n || ORDER <= r || s === 0n || ORDER / 2n < s) return null;
  try {
    const key = new secp256k1.Signature(r, s, v - 27).recoverPublicKey(digest).toRawBytes(false);
    return keccak256(key.subarray(1)).subarray(12);
  } catch {
    return null; // r is the abscissa of no point
  }
}

/**
 * RFC 8032 in the strict reading (README.md, Signatures): S below the order, no point of small order, and R compared as bytes with what it
 * has to be, not times the cofactor. The library's own check multiplies by it.
 */
export function verifyEd25519(key, message, signature) {
  if (key.length !== 32 || signature.length !== 64) return false;
  const [r, s] = [signature.subarray(0, 32), littleEndian(signature.subarray(32))];
  if (ed25519.CURVE.n <= s) return false;
  const [signer, commitment] = [pointOf(key), pointOf(r)];
  if (signer === null || commitment === null || signer.isSmallOrder() || commitment.isSmallOrder()) return false;
  const challenge = littleEndian(sha512(concat(r, key, message))) % ed25519.CURVE.n;
  const due = times(ed25519.ExtendedPoint.BASE, s).subtract(times(signer, challenge));
  return equal(due.toRawBytes(), Uint8Array.from(r));
}

/** Also of an encoding that is not reduced: who names a key has said which bytes it is. */
function pointOf(bytes) {
  try {
    return ed25519.ExtendedPoint.fromHex(bytes, true);
  } catch {
    return null;
  }
}

const times = (point, scalar) => (scalar === 0n ? ed25519.ExtendedPoint.ZERO : point.multiplyUnsafe(scalar));
const littleEndian = (bytes) => toInteger(Uint8Array.from(bytes).reverse());
