// Byte strings: joining, comparing, hex, and big-endian integers. Numbers of the protocol are BigInt throughout, because a u64 does not
// fit into a JavaScript number.
import { Malformed } from "./errors.mjs";

export const ZERO_32 = new Uint8Array(32);

export const concat = (...parts) => Uint8Array.from(Buffer.concat(parts));
export const ascii = (text) => Uint8Array.from(Buffer.from(text, "ascii"));
export const utf8 = (text) => Uint8Array.from(Buffer.from(text, "utf8"));
export const hex = (bytes) => "0x" + Buffer.from(bytes).toString("hex");
export const isZero = (bytes) => bytes.every((byte) => byte === 0);

export function equal(one, other) {
  if (!(one instanceof Uint8Array && other instanceof Uint8Array)) throw new TypeError("not two byte strings");
  return Buffer.compare(one, other) === 0;
}

/** Bytes of `0x` hex; of `length` bytes if that is given. */
export function fromHex(text, length) {
  if (typeof text !== "string" || !/^0x([0-9a-f]{2})*$/.test(text)) throw new Malformed("not lower-case 0x hex of whole bytes");
  const bytes = Uint8Array.from(Buffer.from(text.slice(2), "hex"));
  if (length !== undefined && bytes.length !== length) throw new Malformed(`${bytes.length} bytes of hex where ${length} are due`);
  return bytes;
}

/** An unsigned integer in so many bytes, big-endian. */
export function unsigned(value, size) {
  const integer = BigInt(value);
  if (integer < 0n || integer >> BigInt(8 * size) !== 0n) throw new RangeError(`${value} does not fit into ${size} bytes`);
  return fromHex("0x" + integer.toString(16).padStart(2 * size, "0"));
}
export const u32 = (value) => unsigned(value, 4);
export const u64 = (value) => unsigned(value, 8);

export const toInteger = (bytes) => (bytes.length === 0 ? 0n : BigInt(hex(bytes)));

/** The bytes after their own length as a u64: no boundary between two such parts can move (transcript.md §1). */
export const withLength = (bytes) => concat(u64(bytes.length), bytes);
