// Operator terms: reading (TERMS-2), digest and signature (TERMS-1), consistency (TERMS-3). terms-and-manifest.md §1.
// Reading believes nothing; a text or a number here is the operator's only after its signature was checked.
import { equal, hex, isZero, utf8 } from "./bytes.mjs";
import { readAll, VERSION } from "./cbor.mjs";
import { candorDigest, encodeFields, hashArray, isNobody } from "./eip712.mjs";
import { Malformed } from "./errors.mjs";
import { keccak256 } from "./hashes.mjs";

const MAX_BYTES = 65_536, MAX_LIST = 64, MAX_TEXT = 256;

export const LOCAL = 1n, UPSTREAM = 2n;
export const WAY_PAY = 1n, WAY_KEY = 2n, WAY_ANYBODY = 4n;
export const TRUST_PLAINTEXT = 0n, TRUST_KEY = 3n, TRUST_ATTESTATION = 4n;
export const TAKES_BUYERS_KEYS = 2n;
const FIXED_PRICES = 1n, FIRST_ATTESTED_KIND = 16n;
const ALL_FLAGS = 1n, ALL_STORAGE = 3n, ALL_WAYS = 7n, ALL_UPSTREAM_FLAGS = 3n;
const SOURCES = [1n, 2n], KINDS = [1n, 2n, 3n, 16n, 17n, 18n], TRUSTS = [0n, 1n, 2n, 3n, 4n], PRICINGS = [1n, 2n];
export const CLASSES = ["input", "cacheRead", "cacheWrite", "output", "reasoning", "image", "request"];
/** Classes that only answers of an upstream have. */
const UPSTREAM_CLASSES = ["cacheRead", "cacheWrite", "reasoning", "image"];
// The controls of TERMS-3: what could write on a terminal or reorder what a reader sees.
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/u;

export const hasControl = (text) => CONTROL.test(text);

const text = (r) => r.text(MAX_TEXT);
const list = (member) => (r) => r.list(MAX_LIST, member);

export const readClasses = (r) => {
  r.array(7);
  return Object.fromEntries(CLASSES.map((name) => [name, r.amount()]));
};

const readChain = (r) => {
  r.array(8);
  return {
    chainId: r.uint(64), registry: r.address(), settlerFactory: r.address(), forwarderFactory: r.address(), authorizerFactory: r.address(),
    batch: r.address(), uptoProxy: r.address(), channelPolicy: r.hash(),
  };
};
const readAsset = (r) => {
  r.array(5);
  return { chainId: r.uint(64), asset: r.address(), name: text(r), version: text(r), decimals: r.uint(8) };
};
const readRoute = (r) => {
  r.array(2);
  return { upstream: text(r), model: text(r) };
};
const readModel = (r) => {
  r.array(6);
  return {
    id: text(r), source: r.code(SOURCES), digest: r.hash(), sourceDigest: r.hash(), contextTokens: r.uint(32), routes: list(readRoute)(r),
  };
};
const readPrice = (r) => {
  r.array(5);
  return { model: r.hash(), chainId: r.uint(64), asset: r.address(), ceiling: readClasses(r), floor: readClasses(r) };
};
const readUpstream = (r) => {
  r.array(11);
  return {
    name: text(r), kind: r.code(KINDS), host: text(r), port: r.uint(16), path: text(r), trust: r.code(TRUSTS), trustAnchor: r.hash(),
    account: text(r), pricing: r.code(PRICINGS), markup: r.uint(32), flags: r.uint(32),
  };
};
const readSecret = (r) => {
  r.array(2);
  return { name: text(r), minVersion: r.uint(32) };
};
const readSealed = (r) => {
  r.array(2);
  return { version: r.uint(32), notAfter: r.uint(64) };
};
const readEgress = (r) => {
  r.array(3);
  return { host: text(r), port: r.uint(16), purpose: text(r) };
};
const readAccess = (r) => {
  r.array(2);
  return { ways: r.uint(32), keys: r.list(MAX_LIST, (inner) => inner.hash()) };
};
const readGuard = (r) => {
  r.array(4);
  return { model: text(r), upstream: text(r), payerRequestsPerMinute: r.uint(32), payerTokensPerDay: r.uint(64) };
};

/** TERMS-2: signed terms as they travel. */
export function readTerms(bytes) {
  if (MAX_BYTES < bytes.length) throw new Malformed(`terms of ${bytes.length} bytes, at most ${MAX_BYTES}`);
  return readAll(bytes, (r) => {
    r.versioned(21);
    return {
      version: VERSION, operator: r.address(), payee: r.address(), registrar: r.address(), registry: r.address(), anchorChainId: r.uint(64),
      notAfter: r.uint(64), flags: r.uint(32), storage: r.uint(32), chains: list(readChain)(r), assets: list(readAsset)(r),
      models: list(readModel)(r), prices: list(readPrice)(r), upstreams: list(readUpstream)(r), secrets: list(readSecret)(r),
      sealed: list(readSealed)(r), egress: list(readEgress)(r), access: readAccess(r), guard: readGuard(r), endpoints: list(text)(r),
      signature: r.bytesOf(65),
    };
  });
}

/** The 20 words from which a contract checks terms. */
export const termsWords = (terms) => encodeFields("OperatorTerms", terms);
export const termsDigest = (terms) => candorDigest("OperatorTerms", terms);
export const contractsHash = (terms) => hashArray("Chain", terms.chains);
export const modelSetRoot = (terms) => hashArray("Model", terms.models);
export const priceTableHash = (terms) => hashArray("Price", terms.prices);

export const findModel = (terms, digest) => terms.models.find((model) => equal(model.digest, digest));
export const findUpstream = (terms, name) => terms.upstreams.find((upstream) => upstream.name === name);
export const findAsset = (terms, chainId, asset) => terms.assets.find((one) => one.chainId === chainId && equal(one.asset, asset));
export const findPrice = (terms, model, chainId, asset) =>
  terms.prices.find((price) => equal(price.model, model) && price.chainId === chainId && equal(price.asset, asset));

/** TERMS-3: what is inconsistent in these terms, or null. */
export function inconsistency(terms) {
  const first = (list, problem) => list.map((one) => problem(terms, one)).find((found) => found !== null);
  return (
    flagsProblem(terms) ?? partiesProblem(terms) ?? twiceProblem(terms) ?? first(terms.models, modelProblem) ??
    first(terms.prices, priceProblem) ?? first(terms.upstreams, upstreamProblem) ?? accessProblem(terms) ?? guardProblem(terms) ??
    namesProblem(terms) ?? (textsOf(terms).some(hasControl) ? "a text has a control" : null)
  );
}

const beyond = (flags, known) => (flags & ~known) !== 0n;

function flagsProblem(terms) {
  if (beyond(terms.flags, ALL_FLAGS)) return "an unknown flag";
  if (beyond(terms.storage, ALL_STORAGE)) return "an unknown storage flag";
  if (beyond(terms.access.ways, ALL_WAYS)) return "an unknown way";
  return terms.upstreams.some((upstream) => beyond(upstream.flags, ALL_UPSTREAM_FLAGS)) ? "an unknown flag of an upstream" : null;
}

function partiesProblem(terms) {
  if ([terms.operator, terms.payee, terms.registrar, terms.registry].some(isNobody)) return "a party is zero";
  if (terms.models.length === 0) return "no model";
  if (terms.endpoints.length === 0) return "no endpoint";
  if (terms.prices.length === 0 && (terms.access.ways & WAY_PAY) !== 0n) return "no price, and anybody may pay";
  const anchor = terms.chains.find((chain) => chain.chainId === terms.anchorChainId);
  if (anchor === undefined || !equal(anchor.registry, terms.registry)) return "the anchor chain's registry is not the terms'";
  return null;
}

const twice = (keys) => new Set(keys).size !== keys.length;

function twiceProblem(terms) {
  const lists = {
    "the id of a model": terms.models.map((model) => model.id),
    "the digest of a model": terms.models.map((model) => hex(model.digest)),
    "a chain": terms.chains.map((chain) => chain.chainId),
    "an asset": terms.assets.map((asset) => `${asset.chainId} ${hex(asset.asset)}`),
    "an upstream": terms.upstreams.map((upstream) => upstream.name),
    "a secret": terms.secrets.map((secret) => secret.name),
    "a key": terms.access.keys.map(hex),
    "a form of sealed requests": terms.sealed.map((sealed) => sealed.version),
    "a price": terms.prices.map((price) => `${hex(price.model)} ${price.chainId} ${hex(price.asset)}`),
  };
  const found = Object.entries(lists).find(([, keys]) => twice(keys));
  return found === undefined ? null : `${found[0]} twice`;
}

function modelProblem(terms, model) {
  if (model.source === LOCAL) return model.routes.length === 0 ? null : "a LOCAL model with a route";
  if (model.routes.length === 0) return "a model of an upstream without a route";
  if (!equal(model.digest, keccak256(utf8(model.id)))) return "the digest of a model of an upstream is not of its id";
  if (!isZero(model.sourceDigest)) return "a model of an upstream with a sourceDigest";
  return model.routes.every((route) => findUpstream(terms, route.upstream)) ? null : "a route to an upstream that is not listed";
}

function priceProblem(terms, price) {
  const model = findModel(terms, price.model);
  if (model === undefined) return "a price for a model that is not listed";
  if (findAsset(terms, price.chainId, price.asset) === undefined) return "a price in an asset that is not listed";
  if (CLASSES.some((name) => price.ceiling[name] < price.floor[name])) return "a floor above its ceiling";
  const own = UPSTREAM_CLASSES.every((name) => price.ceiling[name] === 0n && price.floor[name] === 0n);
  return model.source !== LOCAL || own ? null : "a price of a LOCAL model for a class that its answers do not have";
}

function upstreamProblem(terms, upstream) {
  if (upstream.name === "" || upstream.host === "" || upstream.port === 0n) return "an upstream without a name, a host or a port";
  if ((upstream.trust === TRUST_PLAINTEXT) !== isZero(upstream.trustAnchor)) return "a trust anchor in plaintext, or none elsewhere";
  if ((FIRST_ATTESTED_KIND <= upstream.kind) !== (upstream.trust === TRUST_ATTESTATION)) return "an upstream's kind and its trust differ";
  if (upstream.pricing === FIXED_PRICES && upstream.markup !== 0n) return "an upstream of fixed prices with a markup";
  const known = upstream.account === "" || terms.secrets.some((secret) => secret.name === upstream.account);
  return known ? null : "an account that is no listed secret";
}

function accessProblem(terms) {
  const { ways, keys } = terms.access;
  if (ways === 0n) return "nobody gets answers";
  return ((ways & WAY_KEY) !== 0n) === (0 < keys.length) ? null : "keys and ways of access differ";
}

function guardProblem(terms) {
  const { model, upstream } = terms.guard;
  if (model !== "" && !terms.models.some((one) => one.id === model)) return "a guard that is no listed model";
  return upstream === "" || findUpstream(terms, upstream) ? null : "a guard that is no listed upstream";
}

function namesProblem(terms) {
  if (terms.secrets.some((secret) => secret.name === "")) return "a secret without a name";
  return terms.egress.some((egress) => egress.host === "" || egress.port === 0n) ? "an egress without a host or a port" : null;
}

/** Each text of a structure, however deep. */
export function textsOf(value) {
  if (typeof value === "string") return [value];
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return [];
  return Object.values(value).flatMap(textsOf);
}

/** TERMS-4: what a registry emits and a registration names. */
export const termsDataHash = (bytes) => keccak256(bytes);
