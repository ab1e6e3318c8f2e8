// Strict reader of DER (X.690), as far as certificates need it: one-byte tags, definite lengths in their shortest form, integers and
// booleans in their one encoding. A certificate that two readers could read differently is none.
import { toInteger } from "./bytes.mjs";

export const TAG = Object.freeze({
  boolean: 0x01, integer: 0x02, bitString: 0x03, octetString: 0x04, oid: 0x06, utf8String: 0x0c, printableString: 0x13, utcTime: 0x17,
  generalizedTime: 0x18, sequence: 0x30, set: 0x31,
});
export const contextTag = (number) => 0xa0 | number;
export const contextPrimitive = (number) => 0x80 | number;

export class NotDer extends Error {}

export class Der {
  #bytes;
  #at = 0;

  constructor(bytes) {
    this.#bytes = bytes;
  }

  get ended() {
    return this.#at === this.#bytes.length;
  }

  /** The tag that comes next, or null at the end. */
  get tag() {
    return this.ended ? null : this.#bytes[this.#at];
  }

  end() {
    if (!this.ended) throw new NotDer("bytes after the end");
  }

  /** The contents of the next value, which must have this tag. */
  contents(tag) {
    return this.element(tag).contents;
  }

  /** The next value with its own tag and length, and without. */
  element(tag) {
    if (this.tag !== tag) throw new NotDer(`tag ${this.tag} where ${tag} is due`);
    const from = this.#at;
    this.#at += 1;
    const contents = this.#take(this.#length());
    return { whole: this.#bytes.subarray(from, this.#at), contents };
  }

  /** Reads the contents of the next value, all of them. */
  inside(tag, read) {
    return readDer(this.contents(tag), read);
  }

  /** A non-negative integer. */
  unsigned() {
    const bytes = this.contents(TAG.integer);
    if (bytes.length === 0 || (bytes[0] & 0x80) !== 0) throw new NotDer("an empty or negative integer");
    if (1 < bytes.length && bytes[0] === 0 && (bytes[1] & 0x80) === 0) throw new NotDer("an integer with a leading zero");
    return toInteger(bytes);
  }

  /** DEFAULT FALSE: DER leaves a false out, so what is written is true, as ff. */
  optionalTrue() {
    if (this.tag !== TAG.boolean) return false;
    const bytes = this.contents(TAG.boolean);
    if (bytes.length !== 1 || bytes[0] !== 0xff) throw new NotDer("a boolean that is not true as ff");
    return true;
  }

  /** A bit string of whole bytes. */
  bitString() {
    const bytes = this.contents(TAG.bitString);
    if (bytes.length === 0 || bytes[0] !== 0) throw new NotDer("a bit string with unused bits");
    return bytes.subarray(1);
  }

  /** A bit string of named bits: no trailing zero bit, and the unused ones zero. As a set of bit numbers. */
  namedBits() {
    const bytes = this.contents(TAG.bitString);
    const unused = bytes[0];
    if (bytes.length < 2 || 7 < unused) throw new NotDer("an empty list of bits, or more unused ones than a byte has");
    const last = bytes[bytes.length - 1];
    if ((last & ((1 << unused) - 1)) !== 0 || (last & (1 << unused)) === 0) throw new NotDer("bits that are not in their shortest form");
    const isSet = (bit) => (bytes[1 + (bit >> 3)] & (0x80 >> (bit & 7))) !== 0;
    return new Set(Array.from({ length: 8 * (bytes.length - 1) }, (_, bit) => bit).filter(isSet));
  }

  #length() {
    const first = this.#take(1)[0];
    if (first < 0x80) return first;
    const size = first & 0x7f;
    // Two bytes suffice for all that a document of 16,384 bytes can hold; 80 is BER's indefinite length.
    if (size === 0 || 2 < size) throw new NotDer("an indefinite length, or one of more than two bytes");
    const length = Number(toInteger(this.#take(size)));
    if (length < (size === 1 ? 0x80 : 0x100)) throw new NotDer("a length that is not in its shortest form");
    return length;
  }

  #take(length) {
    if (this.#bytes.length - this.#at < length) throw new NotDer("the bytes end early");
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }
}

export function readDer(bytes, read) {
  const reader = new Der(bytes);
  const value = read(reader);
  reader.end();
  return value;
}
