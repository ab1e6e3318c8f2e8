// Reader of fixed lists of EVM ABI words: manifest, receipt, offer, refusal. A word whose unused bytes are not zero is another encoding
// of the same value, and is refused.
import { Malformed } from "./errors.mjs";
import { isZero, toInteger, unsigned } from "./bytes.mjs";
import { VERSION } from "./cbor.mjs";

/** 32 bytes, an integer right-aligned. */
export const word = (value) => unsigned(value, 32);

/** 32 bytes, an address right-aligned. */
export const addressWord = (address) => {
  const bytes = new Uint8Array(32);
  bytes.set(address, 12);
  return bytes;
};

/**
 * Reads exactly the named fields, a word each. The kind of a field is "bytes32", "address", "amount" (below 2^128) or a number of bits; an
 * array is the list of known codes. The first word is the version.
 */
export function readWords(bytes, fields) {
  if (bytes.length !== 32 * (fields.length + 1)) throw new Malformed(`${bytes.length} bytes where ${32 * (fields.length + 1)} are due`);
  const version = toInteger(bytes.subarray(0, 32));
  if (version !== VERSION) throw new Malformed(`version ${version} where ${VERSION} is due`);
  const read = ([name, kind], index) => [name, readWord(bytes.subarray(32 * (index + 1), 32 * (index + 2)), kind, name)];
  return { version, ...Object.fromEntries(fields.map(read)) };
}

function readWord(bytes, kind, name) {
  if (kind === "bytes32") return bytes;
  if (kind === "address") {
    if (!isZero(bytes.subarray(0, 12))) throw new Malformed(`${name}: high bytes in an address`);
    return bytes.subarray(12);
  }
  const value = toInteger(bytes);
  if (Array.isArray(kind)) {
    if (!kind.includes(value)) throw new Malformed(`${name}: unknown code ${value}`);
    return value;
  }
  const bits = kind === "amount" ? 128 : kind;
  if (value >> BigInt(bits) !== 0n) throw new Malformed(`${name}: ${value} does not fit into ${bits} bits`);
  return value;
}
