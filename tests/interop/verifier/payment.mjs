// Offer, EIP-3009 authorization, payment id, binding nonce and refusal. payment.md.
import { Malformed } from "./errors.mjs";
import { candorDigest, contractDomain, digestOf, hashStruct } from "./eip712.mjs";
import { keccak256, TAG } from "./hashes.mjs";
import { addressWord, readWords, word } from "./words.mjs";

export const OFFER_BYTES = 512;

/** T and s of §5, in seconds: how long a payment may stay open, and by how much clocks may differ. */
export const LONGEST_OPEN_S = 300n, CLOCK_SKEW_S = 30n;

/** PAY-4 */
export const readOffer = (bytes) => readWords(bytes, [
  ["manifestHash", "bytes32"], ["requestCommitment", "bytes32"], ["modelId", "bytes32"], ["scheme", [0n, 1n, 2n, 3n, 4n]],
  ["payee", "address"], ["asset", "address"], ["chainId", 64], ["settler", "address"], ["amount", "amount"], ["promptTokens", 64],
  ["maxTokens", 64], ["seedCommitment", "bytes32"], ["validUntil", 64], ["priceListHash", "bytes32"], ["priceListNumber", 64],
]);

export const offerDigest = (offer) => candorDigest("Offer", offer);

/** The payment of a bundle. Only scheme 1 has a form here. */
export function readPayment(r) {
  r.array(9);
  const scheme = r.uint(64);
  if (scheme !== 1n) throw new Malformed(`a payment of the unknown scheme ${scheme}`);
  return {
    scheme, from: r.address(), to: r.address(), value: r.amount(), validAfter: r.uint(64), validBefore: r.uint(64), nonce: r.hash(),
    signature: r.bytesOf(65), clientSalt: r.optional((inner) => inner.hash()),
  };
}

/** What the payer signed, in the domain of the token: `asset` is the terms' entry. */
export const authorizationDigest = (payment, asset) => digestOf(
  contractDomain({ name: asset.name, version: asset.version, chainId: asset.chainId, verifyingContract: asset.asset }),
  hashStruct("TransferWithAuthorization", payment),
);

/** PAY-1 */
export const paymentId = (chainId, asset, from, nonce) =>
  keccak256(keccak256(TAG.paymentEip3009), word(chainId), addressWord(asset), addressWord(from), nonce);

/** PAY-7 */
export const bindingNonce = (digest, clientSalt) => keccak256(TAG.nonce, digest, clientSalt);

/** PAY-10 */
export const readRefusal = (bytes) => readWords(bytes, [
  ["requestCommitment", "bytes32"], ["manifestHash", "bytes32"], ["status", 16], ["codeHash", "bytes32"], ["signedDigest", "bytes32"],
  ["at", 64],
]);
export const refusalDigest = (refusal) => candorDigest("Refusal", refusal);
