// Reader of the CBOR that attestation hardware writes (attestation.md §1, steps 2 to 6). It knows more than cbor.mjs does (maps, null,
// negative integers, maps and arrays of indefinite length) and still only one form of each: no tags, no floats, no strings in pieces,
// integers and lengths in their shortest form. Who calls it gives the error, because the same fault has another name in another field.
import { toInteger } from "./bytes.mjs";

const UNSIGNED = 0, NEGATIVE = 1, BYTES = 2, TEXT = 3, ARRAY = 4, MAP = 5;
const FALSE = 0xf4, TRUE = 0xf5, NULL = 0xf6, BREAK = 0xff, INDEFINITE = 31;
/** How many lists and maps may be inside one another in a value that nobody knows, and how many items a reader takes in all. */
const MAX_DEPTH = 4, MAX_ITEMS = 256;

export class NotThere extends Error {}

export class HardwareReader {
  #bytes;
  #at = 0;
  #items = 0;

  constructor(bytes) {
    this.#bytes = bytes;
  }

  /** The initial byte of the next value, not taken yet. */
  get #next() {
    if (this.#bytes.length <= this.#at) throw new NotThere("the bytes end early");
    return this.#bytes[this.#at];
  }

  get ended() {
    return this.#at === this.#bytes.length;
  }

  /** Takes a null if it is next. */
  null() {
    return this.#simple(NULL);
  }

  uint() {
    return this.#head(UNSIGNED);
  }

  bytes() {
    return this.#take(this.#head(BYTES));
  }

  text() {
    const bytes = this.#take(this.#head(TEXT));
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      throw new NotThere("text that is not UTF-8");
    }
  }

  /** The head of an array of definite length. */
  array() {
    return this.#head(ARRAY);
  }

  /** The head of a map of definite length. */
  map() {
    return this.#head(MAP);
  }

  /** Reads each member of an array, of definite or indefinite length. */
  eachOfArray(atMost, member) {
    this.#each(ARRAY, atMost, member);
  }

  /** Reads each pair of a map, of definite or indefinite length. */
  eachOfMap(atMost, pair) {
    this.#each(MAP, atMost, pair);
  }

  /** Passes over one value of any known kind. */
  skip(depth = 0) {
    const kind = this.#next >> 5;
    if (depth === MAX_DEPTH && (kind === ARRAY || kind === MAP)) throw new NotThere("nested too deep");
    if (kind === UNSIGNED || kind === NEGATIVE) this.#head(kind);
    else if (kind === BYTES) this.bytes();
    else if (kind === TEXT) this.text();
    else if (kind === ARRAY) this.#each(ARRAY, Infinity, () => this.skip(depth + 1));
    else if (kind === MAP) this.#each(MAP, Infinity, () => { this.skip(depth + 1); this.skip(depth + 1); });
    else if (!this.null() && !this.#simple(FALSE) && !this.#simple(TRUE)) throw new NotThere("a tag, a float or an unknown simple value");
  }

  /** Takes this item of one byte if it is next. */
  #simple(item) {
    const found = this.#next === item;
    if (found) this.#item();
    return found;
  }

  /** Takes the first byte of an item. */
  #item() {
    this.#items += 1;
    if (MAX_ITEMS < this.#items) throw new NotThere(`more than ${MAX_ITEMS} items`);
    const initial = this.#next;
    this.#at += 1;
    return initial;
  }

  /** Each turn takes a byte at least, so a length that is written and not there ends at the end of the bytes. */
  #each(kind, atMost, turn) {
    const indefinite = this.#next === ((kind << 5) | INDEFINITE);
    const length = indefinite ? undefined : this.#head(kind);
    if (indefinite) this.#item();
    for (let count = 0n; indefinite ? !this.#break() : count < length; count += 1n) {
      if (atMost <= count) throw new NotThere(`more than ${atMost} members`);
      turn();
    }
  }

  #break() {
    const found = this.#next === BREAK;
    if (found) this.#at += 1;
    return found;
  }

  #head(kind) {
    if (this.#next >> 5 !== kind) throw new NotThere(`kind ${this.#next >> 5} where kind ${kind} is due`);
    const initial = this.#item();
    const short = initial & 31;
    if (short < 24) return BigInt(short);
    if (27 < short) throw new NotThere("an indefinite or reserved length");
    const size = 1 << (short - 24);
    const value = toInteger(this.#take(BigInt(size)));
    if (value < (size === 1 ? 24n : 1n << BigInt(4 * size))) throw new NotThere(`${value} is not in its shortest form`);
    return value;
  }

  #take(length) {
    if (BigInt(this.#bytes.length - this.#at) < length) throw new NotThere("the bytes end early");
    const from = this.#at;
    this.#at += Number(length);
    return this.#bytes.subarray(from, this.#at);
  }
}
