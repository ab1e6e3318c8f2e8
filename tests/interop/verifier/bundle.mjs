// A `.candor` file, read and not believed. bundle.md §1 to §3.
import { Malformed } from "./errors.mjs";
import { readAll } from "./cbor.mjs";
import { readEvidence } from "./evidence.mjs";
import { OFFER_BYTES, readOffer, readPayment } from "./payment.mjs";
import { readPriceList } from "./price-list.mjs";
import { readDecoding, readReceipt, readSource, RECEIPT_BYTES } from "./receipt.mjs";

const MIB = 1_048_576;
export const MAX = Object.freeze({
  bundle: 24 * MIB, body: 4 * MIB, frames: 65_536, frame: 4 * MIB, method: 16, path: 2_048, cosignatures: 32, inclusion: 64,
  consistency: 65, laterTrees: 2, priceList: 65_536,
});

export const MAX_BUNDLE_BYTES = MAX.bundle;

/** Of a bundle, and of a proof (§8). */
export function checkSize(bytes) {
  if (MAX.bundle < bytes.length) throw new Malformed(`${bytes.length} bytes, at most ${MAX.bundle}`);
}

export function readBundle(bytes) {
  checkSize(bytes);
  return readAll(bytes, (r) => {
    r.versioned(7);
    const evidence = readEvidence(r.bytes(MAX.bundle));
    r.array(4);
    const request = { salt: r.hash(), method: r.text(MAX.method), path: r.text(MAX.path), body: r.bytes(MAX.body) };
    r.array(2);
    const answer = { seed: r.hash(), frames: r.list(MAX.frames, (inner) => inner.bytes(MAX.frame)) };
    return { evidence, request, answer, ...readTail(r) };
  });
}

/** The parts with which a bundle and a proof end. */
export function readTail(r) {
  const sale = r.optional(readSale);
  const delivery = readDelivery(r.bytes(MAX.bundle));
  const laterTrees = r.list(MAX.laterTrees, readLaterTree);
  // §5: the second is larger than the first. That the first is not smaller than the checkpoint is for `log.consistency` to say.
  if (laterTrees.length === 2 && laterTrees[1].size <= laterTrees[0].size) throw new Malformed("the second later tree is not larger");
  return { sale, delivery, laterTrees };
}

function readSale(r) {
  r.array(4);
  return {
    offer: readOffer(r.bytesOf(OFFER_BYTES)), offerSignature: r.bytesOf(65), payment: readPayment(r),
    priceList: r.optional((inner) => readPriceList(inner.bytes(MAX.priceList))),
  };
}

/** §2 */
function readDelivery(bytes) {
  return readAll(bytes, (r) => {
    r.versioned(11);
    return {
      receipt: readReceipt(r.bytesOf(RECEIPT_BYTES)), signature: r.bytesOf(65), leafSalt: r.hash(), decoding: readDecoding(r),
      seedShare: r.optional((inner) => inner.hash()), source: r.optional(readSource), requestSalt: r.optional((inner) => inner.hash()),
      checkpoint: readCheckpoint(r), inclusion: r.list(MAX.inclusion, (inner) => inner.hash()), earlierAnchor: r.optional(readAnchor),
    };
  });
}

function readCheckpoint(r) {
  r.array(7);
  return {
    logId: r.hash(), size: r.uint(64), root: r.hash(), timestamp: r.uint(64), noteSignature: r.bytesOf(64), signature: r.bytesOf(65),
    cosignatures: r.list(MAX.cosignatures, (inner) => {
      inner.array(3);
      return { witness: inner.hash(), time: inner.uint(64), signature: inner.bytesOf(64) };
    }),
  };
}

const readConsistency = (r) => r.list(MAX.consistency, (inner) => inner.hash());

function readAnchor(r) {
  r.array(3);
  return { size: r.uint(64), root: r.hash(), proof: readConsistency(r) };
}

/** §5 */
function readLaterTree(r) {
  r.array(5);
  return { size: r.uint(64), root: r.hash(), timestamp: r.uint(64), signature: r.bytesOf(65), proof: readConsistency(r) };
}
