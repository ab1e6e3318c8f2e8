// Strict reader of the one deterministic CBOR that Candor's own parts travel in (bundle.md §1): arrays of definite length, unsigned
// integers, byte strings, UTF-8 text; each value in its shortest form. It knows no other kind, so a map, a tag, a float or null is a
// refusal. (An attestation document is CBOR of its hardware's making: hardware-cbor.mjs reads that.)
import { Malformed } from "./errors.mjs";
import { hex, toInteger } from "./bytes.mjs";

const UNSIGNED = 0, BYTES = 2, TEXT = 3, ARRAY = 4;
const KIND_NAMES = ["an integer", "a negative integer", "bytes", "text", "an array", "a map", "a tag", "a simple value or a float"];

/** The version of everything that is signed or travels (README.md, Versions). */
export const VERSION = 2n;

export class Reader {
  #bytes;
  #at = 0;

  constructor(bytes) {
    this.#bytes = bytes;
  }

  /** An unsigned integer of at most so many bits. */
  uint(bits) {
    const value = this.#head(UNSIGNED);
    if (value >> BigInt(bits) !== 0n) throw new Malformed(`${value} does not fit into ${bits} bits`);
    return value;
  }

  /** One of a table's codes (README.md, Versions: an unknown code is refused). */
  code(codes) {
    const value = this.uint(64);
    if (!codes.includes(value)) throw new Malformed(`unknown code ${value}`);
    return value;
  }

  bytes(atMost) {
    const length = this.#head(BYTES);
    if (BigInt(atMost) < length) throw new Malformed(`${length} bytes, at most ${atMost}`);
    return this.#take(length);
  }

  bytesOf(length) {
    const bytes = this.bytes(length);
    if (bytes.length !== length) throw new Malformed(`${bytes.length} bytes where ${length} are due`);
    return bytes;
  }

  hash() {
    return this.bytesOf(32);
  }

  address() {
    return this.bytesOf(20);
  }

  /** 16 bytes, big-endian: at most 2^128 - 1 by its form. */
  amount() {
    return toInteger(this.bytesOf(16));
  }

  text(atMost) {
    const length = this.#head(TEXT);
    if (BigInt(atMost) < length) throw new Malformed(`text of ${length} bytes, at most ${atMost}`);
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(this.#take(length));
    } catch (error) {
      throw error instanceof Malformed ? error : new Malformed("text that is not UTF-8");
    }
  }

  /** The number of members of an array that says itself how many: at most `most`. */
  arrayUpTo(most) {
    const found = this.#head(ARRAY);
    if (BigInt(most) < found) throw new Malformed(`an array of ${found} where at most ${most} are due`);
    return Number(found);
  }

  /** The head of an array of exactly so many members. */
  array(length) {
    const found = this.#head(ARRAY);
    if (found !== BigInt(length)) throw new Malformed(`an array of ${found} where ${length} are due`);
  }

  /** The head of an array whose first member is a version, which is looked at before the length (bundle.md §1). */
  versioned(length) {
    const found = this.#head(ARRAY);
    const version = found === 0n ? undefined : this.uint(64);
    if (version !== VERSION) throw new Malformed(`version ${version} where ${VERSION} is due`);
    if (found !== BigInt(length)) throw new Malformed(`an array of ${found} where ${length} are due`);
  }

  list(atMost, member) {
    const length = this.#head(ARRAY);
    if (BigInt(atMost) < length) throw new Malformed(`a list of ${length}, at most ${atMost}`);
    return Array.from({ length: Number(length) }, () => member(this));
  }

  /** An array of no or one member: null, or the member. */
  optional(member) {
    return this.list(1, member)[0] ?? null;
  }

  end() {
    if (this.#at !== this.#bytes.length) throw new Malformed(`${this.#bytes.length - this.#at} bytes after the end`);
  }

  /** The argument of the next head, which must be of this kind and in its shortest form. */
  #head(kind) {
    const initial = this.#take(1n)[0];
    if (initial >> 5 !== kind) throw new Malformed(`${KIND_NAMES[initial >> 5]} where ${KIND_NAMES[kind]} is due`);
    const short = initial & 31;
    if (short < 24) return BigInt(short);
    if (27 < short) throw new Malformed("an indefinite or reserved length");
    const size = 1 << (short - 24);
    const value = toInteger(this.#take(BigInt(size)));
    const least = size === 1 ? 24n : 1n << BigInt(4 * size);
    if (value < least) throw new Malformed(`${value} is not in its shortest form`);
    return value;
  }

  #take(length) {
    if (BigInt(this.#bytes.length - this.#at) < length) throw new Malformed(`the bytes end early, at ${this.#at}`);
    const from = this.#at;
    this.#at += Number(length);
    return this.#bytes.subarray(from, this.#at);
  }
}

/** Reads the whole of `bytes`: nothing may follow the value. */
export function readAll(bytes, read) {
  if (!(bytes instanceof Uint8Array)) throw new TypeError(`not bytes: ${hex(bytes)}`);
  const reader = new Reader(bytes);
  const value = read(reader);
  reader.end();
  return value;
}
