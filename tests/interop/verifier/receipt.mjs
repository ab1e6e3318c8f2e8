// The receipt and the two records that it names: decoding and source. receipt.md.
import { concat, toInteger, u64, ZERO_32 } from "./bytes.mjs";
import { candorDigest, hashStruct } from "./eip712.mjs";
import { keccak256, sha256, TAG } from "./hashes.mjs";
import { readWords, word } from "./words.mjs";

export const RECEIPT_BYTES = 1_088;

export const SCHEME_NONE = 0n, SCHEME_EXACT = 1n, SCHEME_UPTO = 3n;
export const KIND_LOCAL = 1n, KIND_PROXY = 2n, KIND_REEXEC = 4n;
export const SEALED = 1n, TLS = 2n;
export const COUNTED = 1n;
export const OUTCOME_LENGTH = 2n, OUTCOME_REFUSED_BY_GUARD = 6n, OUTCOME_UPSTREAM_ERROR = 7n;
export const SEED_OF_REQUEST = 1n, SEED_OF_BOTH = 2n, SEED_OF_SERVER = 3n;
export const ACCOUNT_OPERATOR = 1n, ACCOUNT_BUYER = 2n;

const MONEY = [
  ["paymentId", "bytes32"], ["scheme", [0n, 1n, 2n, 3n, 4n]], ["payer", "address"], ["payee", "address"], ["asset", "address"],
  ["chainId", 64], ["settler", "address"], ["maxAmount", "amount"], ["charged", "amount"], ["cumulativeBefore", "amount"],
  ["cumulativeAfter", "amount"], ["offerDigest", "bytes32"],
];
const WORK = [
  ["kinds", 32], ["channel", [1n, 2n]], ["usageSource", [1n, 2n]], ["outcome", [1n, 2n, 3n, 4n, 5n, 6n, 7n]], ["modelId", "bytes32"],
  ["requestCommitment", "bytes32"], ["responseCommitment", "bytes32"], ["decodingHash", "bytes32"], ["promptTokens", 64],
  ["completionTokens", 64], ["startedAt", 64], ["finishedAt", 64], ["blockNumber", 64], ["blockHash", "bytes32"], ["sourceHash", "bytes32"],
  ["taskHash", "bytes32"], ["questionHash", "bytes32"], ["answerHash", "bytes32"],
];
const pick = (value, fields) => Object.fromEntries(fields.map(([name]) => [name, value[name]]));

/** RCPT-2 */
export function readReceipt(bytes) {
  const flat = readWords(bytes, [["manifestHash", "bytes32"], ["logId", "bytes32"], ["sequence", 64], ...MONEY, ...WORK]);
  const { version, manifestHash, logId, sequence } = flat;
  return { version, manifestHash, logId, sequence, money: pick(flat, MONEY), work: pick(flat, WORK) };
}

export const receiptDigest = (receipt) => candorDigest("Receipt", receipt);
export const moneyHash = (receipt) => hashStruct("Money", receipt.money);
export const workHash = (receipt) => hashStruct("Work", receipt.work);

/** RCPT-12: the payment id of work that nobody paid for; with the other tag, of a payment of which nothing is charged. */
export const unpaidId = (tag, anchorChainId, logId, sequence) => keccak256(keccak256(tag), word(anchorChainId), logId, word(sequence));

const MAX_ENGINE_BYTES = 64;

export function readDecoding(r) {
  r.array(8);
  return {
    engine: r.text(MAX_ENGINE_BYTES), seed: r.hash(), seedSource: r.code([1n, 2n, 3n]), temperatureE6: r.uint(32), topPE6: r.uint(32),
    topK: r.uint(32), maxTokens: r.uint(32), stopHash: r.hash(),
  };
}

export const decodingHash = (decoding) => hashStruct("Decoding", decoding);

/** Stop sequences are bytes. */
export function stopHash(stops) {
  if (stops.length === 0) return ZERO_32;
  return sha256(TAG.stop, ...stops.map((stop) => concat(u64(stop.length), stop)));
}

export const seedCommitment = (share) => sha256(TAG.seedShare, share);
export const seedOf = (share, nonce) => sha256(TAG.seed, share, nonce);

/** The integer that a request named, sign-extended to 32 bytes; null for another form. */
export function requestSeed(seed) {
  const value = BigInt.asIntN(256, toInteger(seed));
  return BigInt.asIntN(64, value) === value ? value : null;
}

export const receiptId = (leafSalt) => keccak256(TAG.receiptId, leafSalt).subarray(0, 16);

const MAX_SOURCE_TEXT = 256, MAX_TRIED = 64;

export function readSource(r) {
  r.array(10);
  const text = () => r.text(MAX_SOURCE_TEXT);
  const source = {
    upstream: text(), host: text(), port: r.uint(16), spkiHash: r.hash(), account: r.code([0n, 1n, 2n]), modelAsked: text(),
    modelServed: text(), requestId: text(),
  };
  r.array(6);
  const usage = {
    input: r.uint(64), cacheRead: r.uint(64), cacheWrite: r.uint(64), output: r.uint(64), reasoning: r.uint(64), images: r.uint(64),
  };
  return { ...source, usage, tried: r.list(MAX_TRIED, (inner) => inner.text(MAX_SOURCE_TEXT)) };
}

export const sourceHash = (source) => hashStruct("Source", source);
