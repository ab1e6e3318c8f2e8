// Hash functions and the domain tags that hashes of Candor begin with (domain-tags.md §2). Only the tags that a verifier computes with
// are here.
import { createHash, createHmac } from "node:crypto";
import { keccak_256 } from "@noble/hashes/sha3";
import { ascii, concat } from "./bytes.mjs";

export function sha256(...parts) {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return Uint8Array.from(hash.digest());
}
export const keccak256 = (...parts) => keccak_256(concat(...parts));
export const hmacSha256 = (key, ...parts) => Uint8Array.from(createHmac("sha256", key).update(concat(...parts)).digest());

export const TAG = Object.freeze({
  evidence: ascii("candor/evidence/1"),
  request: ascii("candor/request/1"),
  requestSalt: ascii("candor/request-salt/1"),
  response: ascii("candor/response/1"),
  leaf: ascii("candor/leaf/1"),
  log: ascii("candor/log/1"),
  fresh: ascii("candor/fresh/1"),
  nonce: ascii("candor/nonce/1"),
  seed: ascii("candor/seed/1"),
  seedShare: ascii("candor/seed-share/1"),
  stop: ascii("candor/stop/1"),
  workload: ascii("candor/workload/1"),
  listed: ascii("candor/listed/1"),
  paymentEip3009: ascii("candor/payment/eip3009/1"),
  paymentNone: ascii("candor/payment/none/1"),
  paymentPermit2: ascii("candor/payment/permit2/1"),
  paymentUnsettled: ascii("candor/payment/unsettled/1"),
  question: ascii("candor/question/1"),
  receiptId: ascii("candor/receipt-id/1"),
  checkpointKey: ascii("candor/checkpoint-eip712/1"),
});
