// Offer, EIP-3009 authorization, Permit2 permit, payment id, binding nonce and refusal. payment.md.
import { concat, fromHex, toInteger } from "./bytes.mjs";
import { Malformed } from "./errors.mjs";
import { candorDigest, contractDomain, digestOf, hashStruct } from "./eip712.mjs";
import { keccak256, TAG } from "./hashes.mjs";
import { SCHEME_EXACT, SCHEME_UPTO } from "./receipt.mjs";
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

/** Permit2, at one address on every chain. */
const PERMIT2 = fromHex("0x000000000022d473030f116ddee9f6b43ac78ba3");

/** The payment of a bundle: a scheme, the contracts that were signed beside it, and what all have. */
export function readPayment(r) {
  const members = r.arrayUpTo(11);
  const scheme = r.uint(64);
  const contracts = { [SCHEME_EXACT]: 0, [SCHEME_UPTO]: 2 }[scheme];
  if (contracts === undefined) throw new Malformed(`a payment of the unknown scheme ${scheme}`);
  if (members !== 9 + contracts) throw new Malformed(`a payment of ${members} members by scheme ${scheme}`);
  return {
    scheme, contracts: Array.from({ length: contracts }, () => r.address()), from: r.address(), to: r.address(), value: r.amount(), validAfter: r.uint(64), validBefore: r.uint(64), nonce: r.hash(),
    signature: r.bytesOf(65), clientSalt: r.optional((inner) => inner.hash()),
  };
}

/** What the payer signed: in the domain of the token (`asset` is the terms' entry), or in Permit2's. */
export function authorizationDigest(payment, asset) {
  if (payment.scheme === SCHEME_UPTO) return permitDigest(payment, asset);
  const domain = contractDomain({ name: asset.name, version: asset.version, chainId: asset.chainId, verifyingContract: asset.asset });
  return digestOf(domain, hashStruct("TransferWithAuthorization", payment));
}

/** §2: the witness names the payee, and who alone may submit. */
function permitDigest({ contracts: [spender, facilitator], to, value, validAfter, validBefore, nonce }, { chainId, asset }) {
  const permit = {
    permitted: { token: asset, amount: value }, spender, nonce: toInteger(nonce), deadline: validBefore,
    witness: { to, facilitator, validAfter },
  };
  return digestOf(hashStruct("Permit2Domain", { name: "Permit2", chainId, verifyingContract: PERMIT2 }), hashStruct("PermitWitnessTransferFrom", permit));
}

/** PAY-1: the contract that keeps the nonces is in it, which is the token or Permit2. */
export function paymentId(chainId, asset, { scheme, from, nonce }) {
  const tag = scheme === SCHEME_UPTO ? TAG.paymentPermit2 : TAG.paymentEip3009;
  return keccak256(keccak256(tag), word(chainId), addressWord(keeperOf(scheme, asset)), addressWord(from), nonce);
}

export const keeperOf = (scheme, asset) => (scheme === SCHEME_UPTO ? PERMIT2 : asset);

/** PAY-11: the one factory, and x402's one proxy, on every chain that has them. */
export const SETTLER_FACTORY = fromHex("0x9ce89f0002a038ee6e5fb40b3c30ef6409e57b0b");
export const UPTO_PROXY = fromHex("0x4020a4f3b7b90cca423b9fabcc0ce57c6c240002");

const CLONE_HEAD = fromHex("0x3d604180600a3d3981f3363d3d373d3d3d363d73"), CLONE_TAIL = fromHex("0x5af43d82803e903d91602b57fd5bf3");

/** The address of a contract by what names it. */
const contractAt = (...parts) => keccak256(...parts).subarray(12);

/** PAY-11: the creation code of the settler of this key. */
export const settlerCode = (factory, kSig) =>
  concat(CLONE_HEAD, contractAt(new Uint8Array([0xd6, 0x94]), factory, new Uint8Array([1])), CLONE_TAIL, kSig);

/** PAY-11: where the settler of this key is, by its factory's address alone. */
export const settlerOf = (factory, kSig) =>
  contractAt(new Uint8Array([0xff]), factory, new Uint8Array(32), keccak256(settlerCode(factory, kSig)));

/** PAY-7 */
export const bindingNonce = (digest, clientSalt) => keccak256(TAG.nonce, digest, clientSalt);

/** PAY-10 */
export const readRefusal = (bytes) => readWords(bytes, [
  ["requestCommitment", "bytes32"], ["manifestHash", "bytes32"], ["status", 16], ["codeHash", "bytes32"], ["signedDigest", "bytes32"],
  ["at", 64],
]);
export const refusalDigest = (refusal) => candorDigest("Refusal", refusal);
