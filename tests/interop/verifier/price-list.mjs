// Prices: lists signed by the registrar (terms-and-manifest.md §4) and the amount that a price gives (payment.md §3, PAY-6).
import { equal } from "./bytes.mjs";
import { readAll } from "./cbor.mjs";
import { candorDigest, hashArray } from "./eip712.mjs";
import { recover } from "./signatures.mjs";
import { CLASSES, findPrice, readClasses } from "./terms.mjs";

const MAX_PRICES = 64;
const LONGEST_MS = 7n * 24n * 3_600_000n;
const BEYOND = 1n << 128n;

export function readPriceList(bytes) {
  return readAll(bytes, (r) => {
    r.versioned(7);
    return {
      termsHash: r.hash(), number: r.uint(64), from: r.uint(64), until: r.uint(64),
      prices: r.list(MAX_PRICES, (inner) => {
        inner.array(4);
        return { model: inner.hash(), chainId: inner.uint(64), asset: inner.address(), classes: readClasses(inner) };
      }),
      signature: r.bytesOf(65),
    };
  });
}

export const pricesHash = (list) => hashArray("ListedPrice", list.prices);
export const priceListDigest = (list) => candorDigest("PriceList", { ...list, pricesHash: pricesHash(list) });

/** TERMS-5: why a list is none of these terms, or null. */
export function priceListProblem(list, terms, termsHash) {
  if (!equal(list.termsHash, termsHash)) return "the price list is of other terms";
  const signer = recover(priceListDigest(list), list.signature);
  if (signer === null || !equal(signer, terms.registrar)) return "the price list is not signed by the registrar";
  if (list.number === 0n) return "the price list has no number";
  if (list.until <= list.from) return "the price list is in force for no time";
  if (LONGEST_MS < list.until - list.from) return "the price list is in force for more than seven days";
  return tableProblem(list, terms);
}

function tableProblem(list, terms) {
  if (list.prices.length !== terms.prices.length) return "the price list has another number of prices than the terms";
  const seen = new Set();
  for (const listed of list.prices) {
    const price = findPrice(terms, listed.model, listed.chainId, listed.asset);
    if (price === undefined || seen.has(price)) return "the price list has a price that the terms do not have, or one twice";
    seen.add(price);
    const within = CLASSES.every((name) => price.floor[name] <= listed.classes[name] && listed.classes[name] <= price.ceiling[name]);
    if (!within) return "a listed price is not between its floor and its ceiling";
  }
  return null;
}

/** PAY-6: the amount, or null where it does not exist in 128 bits. No step of the calculation may reach 2^128. */
export function amountOf(classes, inputTokens, outputTokens) {
  const input = inputTokens * classes.input, output = outputTokens * classes.output;
  const sum = input + output;
  if (BEYOND <= input || BEYOND <= output || BEYOND <= sum) return null;
  const amount = classes.request + (sum + 999_999n) / 1_000_000n;
  return amount < BEYOND ? amount : null;
}
