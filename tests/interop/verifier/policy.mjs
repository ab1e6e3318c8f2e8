// Policy and chain facts: what the caller accepts, and what the caller read from a chain. policy.md §1; bundle.md §5 and §6. Both are
// parameters of a verdict. Nothing here has a default that accepts anything, and an unknown or missing field is an error: a typing error
// must not turn "none" into "any".
import { fromHex } from "./bytes.mjs";

export const LEVELS = Object.freeze(["SELF-LOGGED", "WITNESSED", "ANCHORED"]);
export const ANY = "any";
const DANGEROUS_ANY = "dangerous-any";
const TRANSFERS = ["seen", "not_yet", "otherwise"];
const U64 = (1n << 64n) - 1n;

/** The caller's own input is wrong: no verdict about anything. */
export class WrongUsage extends Error {}

/**
 * JSON with integers of any size: those that a JavaScript number could not hold become decimal strings, as the vectors write them
 * elsewhere.
 */
export function parseJson(text) {
  const token = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g;
  return JSON.parse(text.replace(token, (found) => (/^\d{16,}$/.test(found) ? `"${found}"` : found)));
}

/** Reads exactly these fields of an object. */
export function readFields(value, fields) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw new WrongUsage("not an object");
  const unknown = Object.keys(value).filter((name) => !Object.hasOwn(fields, name));
  if (0 < unknown.length) throw new WrongUsage(`unknown field ${unknown.join(", ")}`);
  return Object.fromEntries(Object.entries(fields).map(([name, read]) => {
    if (!Object.hasOwn(value, name)) throw new WrongUsage(`no field ${name}`);
    try {
      return [name, read(value[name])];
    } catch (error) {
      throw new WrongUsage(`${name}: ${error.message}`);
    }
  }));
}

export const readInteger = (value) => {
  const wellFormed = Number.isSafeInteger(value) ? 0 <= value : typeof value === "string" && /^(0|[1-9][0-9]*)$/.test(value);
  if (!wellFormed || U64 < BigInt(value)) throw new WrongUsage("not an unsigned integer of 64 bits");
  return BigInt(value);
};
const readBoolean = (value) => {
  if (typeof value !== "boolean") throw new WrongUsage("not a boolean");
  return value;
};
const oneOf = (words) => (value) => {
  if (!words.includes(value)) throw new WrongUsage(`not one of ${words.join(", ")}`);
  return value;
};
const listOf = (read) => (value) => {
  if (!Array.isArray(value)) throw new WrongUsage("not a list");
  return value.map(read);
};
const orNull = (read) => (value) => (value === null ? null : read(value));
const orAny = (word, read) => (value) => (value === word ? ANY : read(value));
const hash = (value) => fromHex(value, 32);
const address = (value) => fromHex(value, 20);

export const readPolicy = (value) => readFields(value, {
  roots: listOf(hash),
  workloads: orAny(DANGEROUS_ANY, listOf(hash)),
  operators: orAny(ANY, listOf(address)),
  registries: orAny(ANY, listOf((one) => readFields(one, { chain_id: readInteger, registry: address }))),
  models: orAny(ANY, listOf(hash)),
  max_age_ms: readInteger,
  skew_ms: readInteger,
  witnesses: listOf(hash),
  witness_threshold: readInteger,
  require_level: oneOf(LEVELS),
  require_offer_binding: readBoolean,
});

const bytes = (value) => fromHex(value);

/** What lies beside a proof and its caller's copy, each null if there is none. bundle.md §8 */
export const readBeside = orNull(bytes);
export const readCopy = orNull((value) => readFields(value, { body: bytes, frames: listOf(bytes) }));

const readSighting = (value) => readFields(value, { log_id: hash, size: readInteger, root: hash, at: readInteger });

export const readChainFacts = (value) => readFields(value, {
  anchors: listOf(readSighting),
  observations: listOf(readSighting),
  registry: orNull((record) => readFields(record, {
    k_sig: address, manifest_hash: hash, valid_until: readInteger, invalid_from: orNull(readInteger), revoked_at: orNull(readInteger),
    is_forked: readBoolean, has_gap: readBoolean, predecessor_anchored: orNull(readInteger),
  })),
  receipt_block_known: orNull(readBoolean),
  evidence_block_known: orNull(readBoolean),
  transfer: orNull(oneOf(TRANSFERS)),
});
